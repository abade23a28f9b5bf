/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/member/authority.h"

#include "base/memory.h"
#include "daemon/daemon.h"
#include "store/peer/client.h"

#include <stdlib.h>

struct authority {
	struct daemon *daemon;
	struct store *store;
	struct follower *follower;
	uv_poll_t poll;
	uv_timer_t timer;
	bool started;
	bool follows; /* there is a line */
	bool dispatching;
};

int authority_open(struct daemon *daemon, struct authority **ret_authority, struct error *err)
{
	struct authority *authority = must_alloc(1, sizeof(*authority));
	authority->daemon = daemon;
	int result = must_succeed(store_open_peer(&authority->store, err));
	if (result < 0) {
		free(authority);
		return result;
	}
	must_succeed(follower_new(authority->store, daemon->store, &authority->follower));
	*ret_authority = authority;
	return 0;
}

static void on_timer(uv_timer_t *timer);

static void dispatch(struct authority *authority)
{
	authority->dispatching = true;
	store_dispatch(authority->store);
	authority->dispatching = false;
	int timeout_ms = store_timeout_ms(authority->store);
	if (timeout_ms < 0)
		uv_timer_stop(&authority->timer);
	else
		uv_timer_start(&authority->timer, on_timer, (uint64_t)timeout_ms, 0);
}

static void on_timer(uv_timer_t *timer)
{
	dispatch(timer->data);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	dispatch(poll->data);
}

void authority_start(struct authority *authority)
{
	uv_loop_t *loop = &authority->daemon->loop;
	uv_poll_init(loop, &authority->poll, store_fd(authority->store));
	authority->poll.data = authority;
	uv_timer_init(loop, &authority->timer);
	authority->timer.data = authority;
	authority->started = true;
	uv_poll_start(&authority->poll, UV_READABLE, on_readable);
	dispatch(authority);
}

struct store *authority_store(const struct authority *authority)
{
	return authority->store;
}

void authority_join(struct authority *authority, const struct peer_line *line)
{
	authority->follows = true;
	store_peer_up(authority->store, line);
}

void authority_leave(struct authority *authority)
{
	ASSERT(!authority->dispatching);
	authority->follows = false;
	follower_leave(authority->follower);
	store_peer_down(authority->store);
	if (authority->started)
		dispatch(authority);
}

void authority_run(struct authority *authority, uint64_t now_ms)
{
	if (!authority->follows)
		return;
	follower_run(authority->follower, now_ms);
	authority_wake(authority);
}

void authority_wake(struct authority *authority)
{
	if (authority->started)
		uv_timer_start(&authority->timer, on_timer, 0, 0);
}

void authority_stop(struct authority *authority)
{
	if (!authority)
		return;
	follower_stop(authority->follower);
	if (authority->started) {
		uv_close((uv_handle_t *)&authority->poll, NULL);
		uv_close((uv_handle_t *)&authority->timer, NULL);
	}
	store_close(authority->store);
}

void authority_free(struct authority *authority)
{
	if (!authority)
		return;
	follower_free(authority->follower);
	free(authority);
}

const struct follower *authority_follower(const struct authority *authority)
{
	return authority->follower;
}
