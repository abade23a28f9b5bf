/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/landing/own_landing.h"

#include "base/log.h"
#include "base/memory.h"
#include "daemon/daemon.h"
#include "daemon/edge_plane.h"
#include "daemon/landing/landing_session.h"
#include "daemon/landing/landing_talk.h"
#include "daemon/member/peers.h"
#include "kernel/boot.h"

#include <stdlib.h>

struct own_landing {
	struct daemon *daemon;
	struct landing_plane *plane;
	struct landing_talk talk;
	struct landing_session session;
	uv_timer_t timer;
	bool started;
	bool reported; /* the last report went to a voter */
	int open_handles;
	uint64_t next_ms; /* until the next report */
	char boot_id[BOOT_ID_BYTES];
};

/* What the daemon says to its own landing is understood, or one of the two has a fault. */
static void take_answer(void *context, const struct peer_message *message)
{
	struct own_landing *landing = context;
	struct error err = {0};
	uint64_t next_ms;
	if (landing_talk_take(&landing->talk, message, &next_ms, &err) < 0) {
		log_event(LOG_LEVEL_ERROR, "landing.not_told", "error", err.text, NULL);
		landing_set_unref(landing->session.sent);
		landing->session.sent = NULL;
	}
	if (next_ms != LANDING_TALK_LATER)
		landing->next_ms = next_ms;
}

void own_landing_answered(struct own_landing *landing, const struct peer_message *message)
{
	take_answer(landing, message);
}

/* A voter that does not answer in time knows of no closing that it told of: what another life of it
 * said proves nothing. */
static void report_to_voter(struct own_landing *landing, const struct peer_message *message)
{
	struct daemon *daemon = landing->daemon;
	if (landing->reported && landing->talk.awaiting)
		landing_talk_lost(&landing->talk);
	landing->reported = daemon->peers && peers_tell_voter(daemon->peers, message);
	landing->talk.awaiting = landing->reported;
	landing_session_tell(&landing->session, &message->report.generation);
	landing_plane_carry_out(landing->plane);
}

static void on_timer(uv_timer_t *timer)
{
	struct own_landing *landing = timer->data;
	struct arena arena;
	struct peer_message message;
	arena_init(&arena, 0);
	landing->next_ms = landing->talk.interval_ms;
	if (landing_talk_report(&landing->talk, &arena, &message)) {
		if (landing->daemon->decides)
			(void)landing_session_take(&landing->session, &message, &arena);
		else
			report_to_voter(landing, &message);
	}
	arena_done(&arena);
	uv_timer_start(timer, on_timer, landing->next_ms, 0);
}

int own_landing_open(struct daemon *daemon, struct own_landing **ret_landing, struct error *err)
{
	struct own_landing *landing = must_alloc(1, sizeof(*landing));
	landing->daemon = daemon;
	int result = boot_id_read(landing->boot_id, err);
	if (result == 0)
		result = landing_plane_open(daemon->options, &landing->plane, err);
	if (result < 0) {
		free(landing);
		return result;
	}
	if (daemon->edge)
		edge_plane_share(daemon->edge, landing->plane);
	landing_talk_init(&landing->talk, landing->plane);
	landing_session_init(&landing->session, daemon, take_answer, landing);
	*ret_landing = landing;
	return 0;
}

void own_landing_start(struct own_landing *landing)
{
	struct arena none;
	const struct peer_message hello = {.number = PEER_HELLO,
					   .hello = {.level = PEER_LEVEL,
						     .node = landing->daemon->options->node,
						     .boot_id = landing->boot_id,
						     .instance = landing->daemon->instance}};
	arena_init(&none, 0);
	(void)landing_session_take(&landing->session, &hello, &none);
	landing_plane_start(landing->plane, &landing->daemon->loop);
	uv_timer_init(&landing->daemon->loop, &landing->timer);
	landing->timer.data = landing;
	landing->started = true;
	uv_timer_start(&landing->timer, on_timer, 0, 0);
}

bool own_landing_counters(const struct own_landing *landing, struct landing_counters *ret_counters)
{
	struct error err;
	return landing_plane_counters(landing->plane, ret_counters, &err) == 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct own_landing *landing = handle->data;
	landing->open_handles--;
}

void own_landing_close(struct own_landing *landing)
{
	if (!landing)
		return;
	struct error err = {0};
	if (landing->started) {
		landing_plane_stop(landing->plane);
		landing->open_handles = 1;
		uv_close((uv_handle_t *)&landing->timer, on_closed);
		while (landing->open_handles)
			uv_run(&landing->daemon->loop, UV_RUN_NOWAIT);
	}
	if (landing->daemon->edge)
		edge_plane_share(landing->daemon->edge, NULL);
	landing_session_done(&landing->session);
	if (landing_plane_close(landing->plane, &err) < 0)
		log_event(LOG_LEVEL_ERROR, "landing.failed", "error", err.text, NULL);
	free(landing);
}
