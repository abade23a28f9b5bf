/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/landing/landing_api.h"

#include "api/unix.h"
#include "base/log.h"
#include "base/memory.h"
#include "daemon/daemon.h"
#include "daemon/landing/landing_session.h"
#include "daemon/member/peer_stream.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct session {
	struct peer_stream stream;
	struct landing_api *api;
	struct session *next;
	struct landing_session talk;
};

struct landing_api {
	struct daemon *daemon;
	uv_pipe_t listener;
	struct session *sessions;
	unsigned session_count, most;
	int open_handles;
	bool stopped;
	char path[108]; /* "" until it is ours */
};

static void send_to(void *context, const struct peer_message *message)
{
	struct session *session = context;
	peer_stream_send(&session->stream, message);
}

static void on_message(struct peer_stream *stream, const struct peer_message *message,
		       struct arena *arena)
{
	struct session *session = stream->context;
	if (!session->api->stopped && !landing_session_take(&session->talk, message, arena))
		peer_stream_end(stream, "it says what no landing says here");
}

static void on_session_end(struct peer_stream *stream, const char *why)
{
	struct session *session = stream->context;
	struct landing_api *api = session->api;
	for (struct session **at = &api->sessions; *at; at = &(*at)->next) {
		if (*at == session) {
			*at = session->next;
			break;
		}
	}
	api->session_count--;
	if (session->talk.hello.node)
		log_event(LOG_LEVEL_DEBUG, "landing.gone", "backend", session->talk.hello.node,
			  "why", why, NULL);
}

static void on_session_closed(struct peer_stream *stream)
{
	struct session *session = stream->context;
	session->api->open_handles--;
	landing_session_done(&session->talk);
	free(session);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct landing_api *api = listener->data;
	if (status < 0)
		return;
	struct session *session = must_alloc(1, sizeof(*session));
	session->api = api;
	landing_session_init(&session->talk, api->daemon, send_to, session);
	session->stream.context = session;
	session->stream.on_message = on_message;
	session->stream.on_end = on_session_end;
	session->stream.on_closed = on_session_closed;
	peer_stream_init(&session->stream, listener->loop);
	api->open_handles++;
	api->session_count++;
	session->next = api->sessions;
	api->sessions = session;
	if (uv_accept(listener, (uv_stream_t *)&session->stream.pipe) < 0)
		peer_stream_end(&session->stream, "it is gone");
	else if (!api_unix_is_trusted(&session->stream.pipe))
		peer_stream_end(&session->stream, "it is not root's");
	else if (api->session_count > api->most)
		peer_stream_end(&session->stream, "there are too many");
	else
		peer_stream_start(&session->stream);
}

int landing_api_open(struct daemon *daemon, const char *path, unsigned most,
		     struct landing_api **ret_api, struct error *err)
{
	struct stat found;
	if (lstat(path, &found) == 0 && !S_ISSOCK(found.st_mode))
		return error_set(err, -EEXIST,
				 "%s is in the way: it is not a socket; move it, or choose another "
				 "--run-dir",
				 path);
	struct landing_api *api = must_alloc(1, sizeof(*api));
	api->daemon = daemon;
	api->most = most;
	api->listener.data = api;
	uv_pipe_init(&daemon->loop, &api->listener, 0);
	api->open_handles = 1;
	/* The local API's socket beside it says that no other daemon runs: this one is stale. */
	(void)unlink(path);
	int result = api_unix_listen(&api->listener, path, (int)most, on_connection, err);
	if (result < 0) {
		landing_api_close(api);
		return result;
	}
	snprintf(api->path, sizeof(api->path), "%s", path);
	*ret_api = api;
	return 0;
}

void landing_api_stop(struct landing_api *api)
{
	if (api)
		api->stopped = true;
}

static void on_listener_closed(uv_handle_t *handle)
{
	struct landing_api *api = handle->data;
	api->open_handles--;
}

void landing_api_close(struct landing_api *api)
{
	if (!api)
		return;
	uv_loop_t *loop = api->listener.loop;
	while (api->sessions)
		peer_stream_end(&api->sessions->stream, "this daemon stops");
	uv_close((uv_handle_t *)&api->listener, on_listener_closed);
	while (api->open_handles)
		uv_run(loop, UV_RUN_NOWAIT);
	if (*api->path)
		unlink(api->path);
	free(api);
}
