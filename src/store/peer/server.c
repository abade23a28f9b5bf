/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session lives until its line is down and its last call is done: the store's completions name
 * it. Nothing is sent once the line is down.
 */
#include "store/peer/server.h"

#include "wire/peer.h"

#include <stdlib.h>
#include <string.h>

/* A call of the peer that the store has not done yet. */
struct served_call {
	struct store_session *session;
	uint64_t number;
};

struct served_watch {
	struct served_watch *next;
	struct store_session *session;
	uint64_t number;
	char *prefix; /* owned; until the store's watch is there */
	struct store_watch *watch; /* NULL while the store is asked for its revision */
	bool asking; /* the answer to that is still to come: the call names this watch */
	bool over; /* the peer was told that it has ended, or has cancelled it */
};

struct store_session {
	struct store *store;
	struct store_id id; /* as it was when the session began */
	struct peer_line line;
	const char *refusal; /* borrowed; "": changes are taken */
	bool up;
	bool serves; /* the peer was told whose store this is */
	size_t references; /* the owner's, and one for each completion to come */
	struct served_watch *watches;
	struct store_session_state state;
};

/* --- sending ---------------------------------------------------------------------------------- */

static void send_message(struct store_session *session, const struct peer_message *message)
{
	struct buffer frame;
	if (!session->up)
		return;
	/* A replica that took in another history: what it says now is nothing that the peer asked.
	 */
	struct store_id id = store_id(session->store);
	if (!store_id_equal(&id, &session->id)) {
		session->line.cut(session->line.context);
		return;
	}
	buffer_init(&frame, 0);
	/* The store's own limits are those of the messages, so only memory can be missing. The peer
	 * then waits for an answer that never comes, unless its line ends. */
	if (peer_encode(message, &frame, NULL) < 0 ||
	    !session->line.send(session->line.context, frame.data, frame.length))
		session->line.cut(session->line.context);
	buffer_done(&frame);
}

static void violation(struct store_session *session)
{
	session->state.violations++;
	session->line.cut(session->line.context);
}

/* A sentence that came from elsewhere, fit for a message; in `arena`. */
static const char *fit(const struct error *err, struct arena *arena)
{
	const char *text = *err->text ? wire_clean_text(err->text, PEER_SENTENCE_MAX, arena) : NULL;
	return text ? text : error_text(err->code);
}

static void send_failure(struct store_session *session, uint64_t call, const struct error *err)
{
	struct arena arena;
	arena_init(&arena, 0);
	send_message(session,
		     &(struct peer_message){.number = PEER_STORE_FAILED,
					    .store_failed = {.call = call,
							     .code = (uint64_t)-err->code,
							     .sentence = fit(err, &arena)}});
	arena_done(&arena);
}

static bool is_slow(const struct store_session *session)
{
	return session->line.queued(session->line.context) > STORE_SESSION_QUEUE_BYTES;
}

/* --- lives ------------------------------------------------------------------------------------ */

static void release(struct store_session *session)
{
	if (--session->references == 0)
		free(session);
}

/* NULL when the peer has too many under way, takes no answers, wants a change that is not decided
 * here, or there is no memory: it was told. */
static struct served_call *begin_call(struct store_session *session, uint64_t number, bool changes)
{
	struct error err = {0};
	struct served_call *call = NULL;
	if (changes && *session->refusal)
		error_set(&err, -FL_ESTATE, "store: %s", session->refusal);
	else if (session->state.calls >= STORE_SESSION_CALLS)
		error_set(&err, -FL_EEXHAUSTED, "store: more than %u calls at once",
			  STORE_SESSION_CALLS);
	else if (is_slow(session))
		error_set(&err, -FL_EEXHAUSTED, "store: the answers to earlier calls are not read");
	else if (!(call = malloc(sizeof(*call))))
		error_set(&err, -ENOMEM, "store: the authority is out of memory");
	if (!call) {
		session->state.refused++;
		send_failure(session, number, &err);
		return NULL;
	}
	*call = (struct served_call){.session = session, .number = number};
	session->state.calls++;
	session->references++;
	return call;
}

static void end_call(struct served_call *call)
{
	struct store_session *session = call->session;
	session->state.calls--;
	free(call);
	release(session);
}

/* The store took the call not: nothing happened. */
static void refuse_call(struct served_call *call, const struct error *err)
{
	send_failure(call->session, call->number, err);
	end_call(call);
}

/* --- calls ------------------------------------------------------------------------------------ */

static struct peer_record record_row(const struct store_record *record)
{
	return (struct peer_record){.key = record->key,
				    .value = {record->value, record->value_length},
				    .create_revision = record->create_revision,
				    .mod_revision = record->mod_revision,
				    .lease = record->lease};
}

static void on_page(void *context, int result, const struct error *err,
		    const struct store_page *page)
{
	struct served_call *call = context;
	struct peer_record *rows = NULL;
	struct error no_memory = {0};
	if (result == 0) {
		rows = calloc(page->count + 1, sizeof(*rows));
		if (!rows)
			error_set(&no_memory, -ENOMEM, "store: the authority is out of memory");
	}
	if (!rows) {
		send_failure(call->session, call->number, err ? err : &no_memory);
		end_call(call);
		return;
	}
	for (size_t i = 0; i < page->count; i++)
		rows[i] = record_row(&page->records[i]);
	send_message(call->session,
		     &(struct peer_message){.number = PEER_STORE_PAGE,
					    .store_page = {.call = call->number,
							   .revision = page->revision,
							   .more = page->more,
							   .records = {rows, page->count}}});
	free(rows);
	end_call(call);
}

static void take_range(struct store_session *session, const struct peer_store_range *wanted)
{
	const struct store_range range = {.key = wanted->key,
					  .prefix = wanted->prefix,
					  .after = *wanted->after ? wanted->after : NULL,
					  .limit = (size_t)wanted->limit,
					  .revision = wanted->revision};
	struct error err = {0};
	struct served_call *call = begin_call(session, wanted->call, false);
	if (call && store_range(session->store, &range, on_page, call, &err) < 0)
		refuse_call(call, &err);
}

static void on_txn(void *context, int result, const struct error *err,
		   const struct store_txn_outcome *outcome)
{
	struct served_call *call = context;
	struct arena arena;
	(void)result; /* with an outcome, `err` says whether a compare failed */
	arena_init(&arena, 0);
	if (outcome)
		send_message(
		    call->session,
		    &(struct peer_message){
			.number = PEER_STORE_OUTCOME,
			.store_outcome = {.call = call->number,
					  .conflict = err ? fit(err, &arena) : "",
					  .revision = outcome->revision,
					  .repeated = outcome->repeated,
					  .failed_compare = outcome->failed_compare,
					  .failed_mod_revision = outcome->failed_mod_revision}});
	else
		send_failure(call->session, call->number, err);
	arena_done(&arena);
	end_call(call);
}

static void take_txn(struct store_session *session, const struct peer_store_txn *wanted)
{
	struct store_compare compares[STORE_TXN_COMPARES];
	struct store_op ops[STORE_TXN_OPS];
	for (size_t i = 0; i < wanted->compares.count; i++) {
		const struct peer_compare *row = &wanted->compares.items[i];
		compares[i] =
		    (struct store_compare){.key = row->key, .mod_revision = row->mod_revision};
	}
	for (size_t i = 0; i < wanted->ops.count; i++) {
		const struct peer_op *row = &wanted->ops.items[i];
		ops[i] = (struct store_op){.kind = row->deletes ? STORE_DELETE : STORE_PUT,
					   .key = row->key,
					   .value = row->value.data,
					   .value_length = row->value.length,
					   .lease = row->lease};
	}
	const struct store_txn txn = {.compares = compares,
				      .compare_count = wanted->compares.count,
				      .ops = ops,
				      .op_count = wanted->ops.count,
				      .id = *wanted->id ? wanted->id : NULL};
	struct error err = {0};
	struct served_call *call = begin_call(session, wanted->call, true);
	if (call && store_txn(session->store, &txn, on_txn, call, &err) < 0)
		refuse_call(call, &err);
}

static void on_lease(void *context, int result, const struct error *err, uint64_t lease,
		     uint64_t ttl_ms)
{
	struct served_call *call = context;
	if (result == 0)
		send_message(
		    call->session,
		    &(struct peer_message){
			.number = PEER_STORE_LEASED,
			.store_leased = {.call = call->number, .lease = lease, .ttl_ms = ttl_ms}});
	else
		send_failure(call->session, call->number, err);
	end_call(call);
}

static void take_lease(struct store_session *session, const struct peer_store_lease *wanted)
{
	struct store *store = session->store;
	struct error err = {0};
	struct served_call *call = begin_call(session, wanted->call, true);
	int result = 0;
	if (!call)
		return;
	if (wanted->verb == PEER_LEASE_GRANT)
		result = store_lease_grant(store, wanted->ttl_ms, on_lease, call, &err);
	else if (wanted->verb == PEER_LEASE_KEEP_ALIVE)
		result = store_lease_keep_alive(store, wanted->lease, on_lease, call, &err);
	else
		result = store_lease_revoke(store, wanted->lease, on_lease, call, &err);
	if (result < 0)
		refuse_call(call, &err);
}

/* --- watches ---------------------------------------------------------------------------------- */

static void free_watch(struct served_watch *watch)
{
	store_watch_cancel(watch->watch);
	free(watch->prefix);
	free(watch);
}

/* Frees those that are over; one that is being asked for is freed by its answer. */
static void sweep_watches(struct store_session *session)
{
	for (struct served_watch **place = &session->watches; *place;) {
		struct served_watch *watch = *place;
		if (watch->over && !watch->asking) {
			*place = watch->next;
			session->state.watches--;
			free_watch(watch);
		} else {
			place = &watch->next;
		}
	}
}

/* The peer hears no more of it. The watch is swept later, since its own callback may be running. */
static void end_watch(struct served_watch *watch, const struct error *err)
{
	struct arena arena;
	arena_init(&arena, 0);
	watch->over = true;
	send_message(watch->session,
		     &(struct peer_message){.number = PEER_STORE_WATCH_OVER,
					    .store_watch_over = {.watch = watch->number,
								 .code = (uint64_t)-err->code,
								 .sentence = fit(err, &arena)}});
	arena_done(&arena);
}

/* One message of at most as many events as it takes. */
static bool send_events(struct served_watch *watch, uint64_t revision,
			const struct store_event *events, size_t count, bool more)
{
	struct peer_event *rows = calloc(count, sizeof(*rows));
	if (!rows)
		return false;
	for (size_t i = 0; i < count; i++) {
		const struct peer_record row = record_row(&events[i].record);
		rows[i] = (struct peer_event){.deleted = events[i].kind == STORE_DELETE,
					      .key = row.key,
					      .value = row.value,
					      .create_revision = row.create_revision,
					      .mod_revision = row.mod_revision,
					      .lease = row.lease};
	}
	send_message(watch->session,
		     &(struct peer_message){.number = PEER_STORE_EVENTS,
					    .store_events = {.watch = watch->number,
							     .revision = revision,
							     .more = more,
							     .events = {rows, count}}});
	free(rows);
	return true;
}

static void on_events(void *context, int result, const struct error *err, uint64_t revision,
		      const struct store_event *events, size_t count)
{
	struct served_watch *watch = context;
	struct error slow = {0};
	if (watch->over)
		return;
	if (result < 0) {
		end_watch(watch, err);
		return;
	}
	bool sent = !is_slow(watch->session);
	for (size_t at = 0; sent && at < count;) {
		size_t part = count - at;
		part = part < PEER_STORE_RECORDS_MAX ? part : PEER_STORE_RECORDS_MAX;
		sent = send_events(watch, revision, events + at, part, at + part < count);
		at += part;
	}
	if (sent)
		return;
	watch->session->state.resynchronised++;
	error_set(&slow, -FL_ECOMPACTED,
		  "store: what this watch tells was not read fast enough; read anew");
	end_watch(watch, &slow);
}

static void start_watch(struct served_watch *watch, uint64_t revision)
{
	struct store_session *session = watch->session;
	struct error err = {0};
	if (store_watch(session->store, watch->prefix, revision, on_events, watch, &watch->watch,
			&err) < 0) {
		end_watch(watch, &err);
		return;
	}
	send_message(session, &(struct peer_message){.number = PEER_STORE_WATCHING,
						     .store_watching = {.watch = watch->number,
									.revision = revision}});
}

/* A watch "from now" tells from the revision after the one that the store has now. */
static void on_revision(void *context, int result, const struct error *err,
			const struct store_page *page)
{
	struct served_watch *watch = context;
	struct store_session *session = watch->session;
	watch->asking = false;
	if (!watch->over && result < 0)
		end_watch(watch, err);
	else if (!watch->over)
		start_watch(watch, page->revision + 1);
	sweep_watches(session);
	release(session);
}

static const struct store_range nothing = {.key = "~", .limit = 1}; /* only for the revision */

static void take_watch(struct store_session *session, const struct peer_store_watch *wanted)
{
	struct error err = {0};
	for (const struct served_watch *other = session->watches; other; other = other->next) {
		if (other->number == wanted->watch && !other->over) {
			violation(session);
			return;
		}
	}
	struct served_watch *watch = calloc(1, sizeof(*watch));
	char *prefix = strdup(wanted->prefix);
	if (!watch || !prefix) {
		/* The peer must not believe that it is told of changes. */
		free(watch);
		free(prefix);
		session->line.cut(session->line.context);
		return;
	}
	*watch = (struct served_watch){.next = session->watches,
				       .session = session,
				       .number = wanted->watch,
				       .prefix = prefix};
	session->watches = watch;
	if (session->state.watches++ >= STORE_SESSION_WATCHES) {
		session->state.refused++;
		error_set(&err, -FL_EEXHAUSTED, "store: more than %u watches at once",
			  STORE_SESSION_WATCHES);
		end_watch(watch, &err);
	} else if (wanted->revision) {
		start_watch(watch, wanted->revision);
	} else if (store_range(session->store, &nothing, on_revision, watch, &err) < 0) {
		end_watch(watch, &err);
	} else {
		watch->asking = true;
		session->references++;
	}
}

static void take_unwatch(struct store_session *session, uint64_t number)
{
	for (struct served_watch *watch = session->watches; watch; watch = watch->next) {
		if (watch->number != number || watch->over)
			continue;
		watch->over = true;
		/* Nothing more is told from here on, also by a dispatch that is under way. */
		store_watch_cancel(watch->watch);
		watch->watch = NULL;
	}
}

/* --- the session ------------------------------------------------------------------------------ */

static void on_serves(void *context, int result, const struct error *err,
		      const struct store_page *page)
{
	struct store_session *session = context;
	(void)err;
	if (result == 0) {
		session->serves = true;
		send_message(session, &(struct peer_message){
					  .number = PEER_STORE_SERVES,
					  .store_serves = {.level = PEER_LEVEL,
							   .history = {session->id.bytes,
								       sizeof(session->id.bytes)},
							   .revision = page->revision}});
	} else if (session->up) {
		session->line.cut(session->line.context);
	}
	release(session);
}

int store_session_up(struct store *store, const struct peer_line *line, const char *refusal,
		     struct store_session **ret_session, struct error *err)
{
	struct store_session *session = malloc(sizeof(*session));
	if (!session)
		return error_set(err, -ENOMEM, "store: out of memory");
	*session = (struct store_session){.store = store,
					  .id = store_id(store),
					  .line = *line,
					  .refusal = refusal,
					  .up = true,
					  .references = 2};
	int result = store_range(store, &nothing, on_serves, session, err);
	if (result < 0) {
		free(session);
		return result;
	}
	*ret_session = session;
	return 0;
}

void store_session_take(struct store_session *session, const void *frame, size_t length)
{
	struct arena arena;
	struct peer_message message;
	ASSERT(session->up);
	arena_init(&arena, 0);
	int result = peer_decode(frame, length, &arena, &message, NULL);
	sweep_watches(session);
	if (result == -FL_EUNSUPPORTED) {
		session->state.skipped++;
	} else if (result < 0 || !session->serves) {
		violation(session);
	} else {
		switch ((int)message.number) {
		case PEER_STORE_RANGE:
			take_range(session, &message.store_range);
			break;
		case PEER_STORE_TXN:
			take_txn(session, &message.store_txn);
			break;
		case PEER_STORE_LEASE:
			take_lease(session, &message.store_lease);
			break;
		case PEER_STORE_WATCH:
			take_watch(session, &message.store_watch);
			break;
		case PEER_STORE_UNWATCH:
			take_unwatch(session, message.store_unwatch.watch);
			break;
		default:
			violation(session);
			break;
		}
	}
	arena_done(&arena);
}

void store_session_down(struct store_session *session)
{
	if (!session)
		return;
	session->up = false;
	for (struct served_watch *watch = session->watches; watch; watch = watch->next)
		watch->over = true;
	sweep_watches(session);
	release(session);
}

void store_session_state_read(const struct store_session *session,
			      struct store_session_state *ret_state)
{
	*ret_state = session->state;
}
