/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/landing/landing_session.h"

#include "base/memory.h"
#include "daemon/daemon.h"
#include "daemon/edge_plane.h"
#include "fabric/driver.h"
#include "fabric/landings.h"
#include "fabric/reports.h"
#include "state/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
	struct comeback *comeback = NULL;
	const struct report *report = reports_find(daemon->reports, who);
	const struct image_forgotten *forgotten =
	    report ? find_comeback(&daemon->image, who->node, report) : NULL;
	if (!forgotten || changes_pending(daemon->changes, LEDGER_KIND_RETURN) ||
	    daemon_store_rests(daemon))
		return;
	comeback = must_alloc(1, sizeof(*comeback));
	comeback->daemon = daemon;
	comeback->change.kind = LEDGER_KIND_RETURN;
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
static void tell_configuration(struct landing_session *session, const struct digest *has)
{
	struct daemon *daemon = session->daemon;
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
	reports_set_lands(daemon->reports, &session->hello, lands,
			  landings_fence_revision(daemon->landings), clock_now_ms(daemon->clock));
	if (session->replicates)
		return;
	bool is_partial = daemon->replica.standing != REPLICA_CURRENT || *daemon->replica.awaits ||
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
	session->send(session->context, &message);
	landing_set_unref(session->sent);
	session->sent = landing_set_ref(wanted);
	arena_done(&arena);
}

/* Addresses whose flows the operator ordered to be ended. By a state older than what this node did,
 * an address may mean a version whose flows nobody ordered to be ended. */
static void tell_cuts(struct landing_session *session)
{
	if (session->replicates || session->daemon->replica.standing != REPLICA_CURRENT ||
	    *session->daemon->replica.awaits)
		return;
	const struct wire_list cuts = landings_cuts(session->daemon->landings);
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
	session->send(session->context, &message);
}

void landing_session_tell(struct landing_session *session, const struct digest *has)
{
	tell_configuration(session, has);
	tell_cuts(session);
}

/* --- what a landing says ---------------------------------------------------------------------- */

static void refuse(struct landing_session *session, const struct error *err)
{
	struct arena arena;
	arena_init(&arena, 0);
	const char *sentence = must_have(wire_clean_text(err->text, PEER_SENTENCE_MAX, &arena));
	session->send(session->context,
		      &(struct peer_message){
			  .number = PEER_REFUSED,
			  .refused = {.code = (uint64_t)-err->code, .sentence = sentence}});
	arena_done(&arena);
}

/* The least of this edge's ways to the landing's addresses; 0: not known. */
static uint32_t path_mtu(const struct landing_session *session, const struct peer_report *report)
{
	uint32_t least = 0;
	const struct edge_plane *edge = session->daemon->edge;
	for (size_t i = 0; edge && i < report->owned.count; i++) {
		uint32_t mtu = edge_plane_path_mtu(edge, &report->owned.items[i].address);
		if (mtu && (!least || mtu < least))
			least = mtu;
	}
	return least;
}

static void take_report(struct landing_session *session, const struct peer_report *report,
			struct arena *arena)
{
	struct daemon *daemon = session->daemon;
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
	session->send(session->context,
		      &(struct peer_message){.number = PEER_HEARD,
					     .heard = {.interval_ms = moment.interval_ms,
						       .closing_sequence = closing.sequence,
						       .closing_hash = closing.digest,
						       .path_mtu = path_mtu(session, report)}});
}

bool landing_session_take(struct landing_session *session, const struct peer_message *message,
			  struct arena *arena)
{
	if (message->number == PEER_HELLO && !session->hello.node) {
		session->hello = message->hello;
		session->arena = *arena;
		*arena = (struct arena){0};
		return true;
	}
	if (message->number != PEER_REPORT || !session->hello.node)
		return false;
	take_report(session, &message->report, arena);
	return true;
}

void landing_session_init(struct landing_session *session, struct daemon *daemon,
			  landing_session_send_fn *send, void *context)
{
	*session = (struct landing_session){.daemon = daemon, .send = send, .context = context};
	arena_init(&session->arena, 0);
	arena_init(&session->cuts_arena, 0);
}

void landing_session_done(struct landing_session *session)
{
	landing_set_unref(session->sent);
	arena_done(&session->cuts_arena);
	arena_done(&session->arena);
}
