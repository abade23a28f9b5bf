/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A landing's session on this side. A set that was sent is remembered, so that only what changed
 * since is sent; the landing keeps what it has, and this side's memory ends with the session.
 */
#include "daemon/landing_api.h"

#include "api/unix.h"
#include "base/log.h"
#include "base/memory.h"
#include "daemon/daemon.h"
#include "daemon/edge_plane.h"
#include "daemon/peer_stream.h"
#include "fabric/driver.h"
#include "fabric/landings.h"
#include "fabric/reports.h"
#include "state/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct session {
	struct peer_stream stream;
	struct landing_api *api;
	struct session *next;
	struct arena arena; /* of `hello` */
	struct peer_hello hello; /* `node` NULL: it has not said who it is */
	struct landing_set *sent; /* NULL: nothing was sent yet */
	struct arena cuts_arena;
	struct wire_list cuts; /* that were sent last */
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

/* A backend that was declared gone speaks again: its silence must count as use from now on. */
struct comeback {
	struct change change;
	struct daemon *daemon;
	struct image_forgotten forgotten;
};

static json_t *backend_json(const struct image_forgotten *forgotten)
{
	char text[IP_TEXT_BYTES];
	return forgotten->address.family == IP_NONE
		   ? json_pack("{s:s}", "backend", forgotten->backend)
		   : json_pack("{s:s, s:s}", "backend", forgotten->backend, "address",
			       ip_address_format(&forgotten->address, text));
}

static int build_comeback(struct change *change, struct change_draft *draft, struct error *err)
{
	struct comeback *comeback = (struct comeback *)change;
	char key[RECORD_KEY_BYTES];
	(void)err;
	const struct image_forgotten *gone = &comeback->forgotten;
	size_t at = 0;
	if (!image_forgotten(draft->image, gone->backend, &gone->address, &at))
		return CHANGE_NOTHING;
	int result = draft_delete(draft, record_forgotten_key(gone->backend, &gone->address, key));
	draft->what = backend_json(gone);
	return result < 0 ? result : CHANGE_COMMIT;
}

static void comeback_done(struct change *change, int result, const struct error *err,
			  uint64_t sequence)
{
	struct comeback *comeback = (struct comeback *)change;
	if (result == 0 && sequence)
		daemon_event(comeback->daemon, "backend.returned",
			     backend_json(&comeback->forgotten));
	(void)err;
	free(comeback);
}

/* The first of them, if there is one; others with the next report. */
static const struct image_forgotten *find_comeback(const struct image *image, const char *backend,
						   const struct report *report)
{
	const struct image_forgotten *forgotten = NULL;
	for (size_t i = 0; !forgotten && i < report->said.owned.count; i++) {
		size_t at = 0;
		forgotten =
		    image_forgotten(image, backend, &report->said.owned.items[i].address, &at);
	}
	return forgotten;
}

static void remember_comeback(struct daemon *daemon, const struct peer_hello *who)
{
	static const char kind[] = "backend.return";
	struct comeback *comeback = NULL;
	const struct report *report = reports_find(daemon->reports, who);
	const struct image_forgotten *forgotten =
	    report ? find_comeback(&daemon->image, who->node, report) : NULL;
	if (!forgotten || changes_pending(daemon->changes, kind) || daemon_store_rests(daemon))
		return;
	comeback = must_alloc(1, sizeof(*comeback));
	comeback->daemon = daemon;
	comeback->change.kind = kind;
	comeback->change.build = build_comeback;
	comeback->change.done = comeback_done;
	snprintf(comeback->change.who, sizeof(comeback->change.who), "fairlead");
	snprintf(comeback->change.why, sizeof(comeback->change.why), "it reports again");
	comeback->forgotten = *forgotten;
	changes_submit(daemon->changes, &comeback->change);
}

/* --- what a landing is told ------------------------------------------------------------------- */

/*
 * Before the first apply there is nothing to be said, and what a landing has stays: it may be that
 * this node lost its store, while the backend's flows live. For the same reason a name that is no
 * backend gets no configuration: an empty one would end the flows of a machine whose --node was
 * mistyped. And what a landing was told by a newer state than this one, or by more than the records
 * that can be read, stays: only one that has nothing is told what they say.
 */
static void tell_configuration(struct session *session, const struct digest *has)
{
	struct daemon *daemon = session->api->daemon;
	struct landing_set *wanted = NULL;
	struct peer_message message = {.number = PEER_CONFIGURE};
	struct arena arena;
	if (!daemon->image.fabric)
		return;
	must_succeed(landings_update(daemon->landings, &daemon->image));
	int result = must_succeed(landings_wanted(daemon->landings, session->hello.node, &wanted));
	if (result < 0) {
		struct error err = {0};
		error_set(&err, result, "what %s is to be cannot be said: %s", session->hello.node,
			  error_text(result));
		daemon_event(daemon, "landing.not_told", json_pack("{s:s}", "error", err.text));
		return;
	}
	if (!wanted)
		return;
	bool lands = memcmp(has, &wanted->generation, sizeof(*has)) == 0;
	reports_set_lands(daemon->reports, &session->hello, lands, clock_now_ms(daemon->clock));
	bool is_partial = daemon->replica.standing != REPLICA_CURRENT ||
			  image_unread_meaning(&daemon->image) ||
			  image_unread_under(&daemon->image, "member/");
	if (!lands && is_partial && !landing_generation_is_none(has))
		return;
	if (!session->sent && lands)
		session->sent = landing_set_ref(wanted);
	/* What was sent is the landing's to carry out, and to try again. */
	if (session->sent && memcmp(&session->sent->generation, &wanted->generation,
				    sizeof(wanted->generation)) == 0)
		return;
	arena_init(&arena, 0);
	must_succeed(landing_set_diff(session->sent, wanted, &arena, &message.configure));
	peer_stream_send(&session->stream, &message);
	landing_set_unref(session->sent);
	session->sent = landing_set_ref(wanted);
	arena_done(&arena);
}

/* Addresses whose flows the operator ordered to be ended. By a state older than what this node did,
 * an address may mean a version whose flows nobody ordered to be ended. */
static void tell_cuts(struct session *session)
{
	if (session->api->daemon->replica.standing != REPLICA_CURRENT)
		return;
	const struct wire_list cuts = landings_cuts(session->api->daemon->landings);
	size_t bytes = cuts.count * sizeof(struct peer_address);
	if (cuts.count == session->cuts.count &&
	    (!bytes || memcmp(cuts.items, session->cuts.items, bytes) == 0))
		return;
	struct peer_message message = {.number = PEER_CUT};
	memcpy(&message.cut.addresses, &cuts, sizeof(cuts));
	arena_done(&session->cuts_arena);
	arena_init(&session->cuts_arena, 0);
	void *kept = must_have(arena_alloc(&session->cuts_arena, bytes + 1));
	if (bytes)
		memcpy(kept, cuts.items, bytes);
	session->cuts = (struct wire_list){.items = kept, .count = cuts.count};
	peer_stream_send(&session->stream, &message);
}

/* --- what a landing says ---------------------------------------------------------------------- */

static void refuse(struct session *session, const struct error *err)
{
	struct arena arena;
	arena_init(&arena, 0);
	const char *sentence = must_have(wire_clean_text(err->text, PEER_SENTENCE_MAX, &arena));
	peer_stream_send(&session->stream,
			 &(struct peer_message){
			     .number = PEER_REFUSED,
			     .refused = {.code = (uint64_t)-err->code, .sentence = sentence}});
	arena_done(&arena);
}

/* The least of this edge's ways to the landing's addresses; 0: not known. */
static uint32_t path_mtu(const struct session *session)
{
	uint32_t least = 0;
	const struct edge_plane *edge = session->api->daemon->edge;
	const struct wire_list none = {0};
	const struct wire_list *list =
	    session->sent ? &session->sent->lists[LANDING_ADDRESSES] : &none;
	const struct peer_address *rows = list->items;
	for (size_t i = 0; edge && i < list->count; i++) {
		uint32_t mtu = edge_plane_path_mtu(edge, &rows[i].address);
		if (mtu && (!least || mtu < least))
			least = mtu;
	}
	return least;
}

static void take_report(struct session *session, const struct peer_report *report,
			struct arena *arena)
{
	struct daemon *daemon = session->api->daemon;
	const struct report_moment moment = {.now_ms = clock_now_ms(daemon->clock),
					     .interval_ms =
						 image_report_interval_ms(&daemon->image),
					     .image = &daemon->image};
	struct error err = {0};
	if (must_succeed(
		reports_take(daemon->reports, &session->hello, report, arena, &moment, &err)) < 0) {
		refuse(session, &err);
		return;
	}
	remember_comeback(daemon, &session->hello);
	tell_configuration(session, &report->generation);
	tell_cuts(session);
	const struct ledger_position closing = driver_closing(daemon->driver);
	peer_stream_send(&session->stream,
			 &(struct peer_message){.number = PEER_HEARD,
						.heard = {.interval_ms = moment.interval_ms,
							  .closing_sequence = closing.sequence,
							  .closing_hash = closing.digest,
							  .path_mtu = path_mtu(session)}});
}

static void on_message(struct peer_stream *stream, const struct peer_message *message,
		       struct arena *arena)
{
	struct session *session = stream->context;
	if (session->api->stopped)
		return;
	if (message->number == PEER_HELLO && !session->hello.node) {
		session->hello = message->hello;
		session->arena = *arena;
		*arena = (struct arena){0};
	} else if (message->number == PEER_REPORT && session->hello.node) {
		take_report(session, &message->report, arena);
	} else {
		peer_stream_end(stream, "it says what no landing says here");
	}
}

/* --- sessions --------------------------------------------------------------------------------- */

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
	if (session->hello.node)
		log_event(LOG_LEVEL_DEBUG, "landing.gone", "backend", session->hello.node, "why",
			  why, NULL);
}

static void on_session_closed(struct peer_stream *stream)
{
	struct session *session = stream->context;
	session->api->open_handles--;
	landing_set_unref(session->sent);
	arena_done(&session->cuts_arena);
	arena_done(&session->arena);
	free(session);
}

static void on_connection(uv_stream_t *listener, int status)
{
	struct landing_api *api = listener->data;
	if (status < 0)
		return;
	struct session *session = must_alloc(1, sizeof(*session));
	session->api = api;
	arena_init(&session->arena, 0);
	arena_init(&session->cuts_arena, 0);
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
