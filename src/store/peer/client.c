/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames wait in a list for store_dispatch(), which works them off in order. Each line has a
 * number, and what was made or sent while there was one remembers it: so dispatch sees which calls
 * and watches lost their line, after it has looked at all that came over it.
 */
#include "store/peer/client.h"

#include "store/engine.h"
#include "wire/peer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MOST_IN_FLIGHT 64u /* calls; further ones wait here */
#define MOST_ARRIVALS_BYTES (64u << 20) /* that wait for a dispatch */

struct arrival {
	struct arrival *next;
	uint64_t line;
	size_t length;
	char frame[];
};

/* What a call wants to be answered by is its `answer`; another message breaks the protocol. */
struct call {
	struct call *next;
	uint64_t number;
	uint64_t line; /* over which it goes; the last one if there was none */
	enum peer_number answer;
	bool sent;
	struct buffer frame; /* until it is sent */
	void *context;
	union {
		store_range_fn *range_done;
		store_txn_fn *txn_done;
		store_lease_fn *lease_done;
	};
};

struct watch {
	struct store_watch base;
	struct watch *next;
	uint64_t number;
	uint64_t line; /* that was the last one when it was made, or when it was sent */
	bool sent;
	uint64_t next_revision; /* the first that was not told yet; 0: from now, wherever that is */
	char *prefix; /* owned */
	store_watch_fn *on_events;
	void *context;
	bool over; /* it was told of an error */
	bool cancelled; /* during a dispatch, whose end frees it */
	/* The parts of a revision that came so far. */
	struct arena parts;
	struct store_event *events;
	size_t event_count;
};

struct peer_client {
	struct store base;
	struct peer_line line; /* while `up` */
	bool up;
	bool ready; /* its server has said whose store it is */
	bool dispatching;
	bool closing;
	uint64_t line_number; /* of the line, or of the last one */
	uint64_t taken_line; /* over which the frame came that is being taken */
	uint64_t last_number; /* of calls and watches */
	struct store_id id; /* whose revisions these are; zero: nobody said so yet */
	uint64_t revision; /* the newest of them that was heard of */
	struct arrival *first_arrival;
	struct arrival **last_arrival;
	size_t arrival_bytes;
	struct call *calls; /* in the order in which they were made */
	struct watch *watches;
	uint64_t skipped;
	uint64_t violations;
	int event_fd;
};

static struct peer_client *client_of(struct store *store)
{
	return (struct peer_client *)store;
}

static int no_memory(struct error *err)
{
	return error_set(err, -ENOMEM, "store: out of memory");
}

static void arm(struct peer_client *client)
{
	/* Fails only if the counter is full, and then the descriptor is readable already. */
	(void)eventfd_write(client->event_fd, 1);
}

/* --- what is told from outside ---------------------------------------------------------------- */

/* What came over the line makes no sense. */
static void violation(struct peer_client *client)
{
	client->violations++;
	if (client->up && client->taken_line == client->line_number)
		client->line.cut(client->line.context);
}

void store_peer_up(struct store *store, const struct peer_line *line)
{
	struct peer_client *client = client_of(store);
	ASSERT(!client->up);
	client->up = true;
	client->ready = false;
	client->line = *line;
	client->line_number++;
}

void store_peer_take(struct store *store, const void *frame, size_t length)
{
	struct peer_client *client = client_of(store);
	ASSERT(client->up);
	struct arrival *arrival = NULL;
	if (client->arrival_bytes + length <= MOST_ARRIVALS_BYTES)
		arrival = malloc(sizeof(*arrival) + length);
	if (!arrival) {
		/* A frame that cannot be kept is lost, so the line has to end. */
		client->line.cut(client->line.context);
		return;
	}
	*arrival = (struct arrival){.line = client->line_number, .length = length};
	memcpy(arrival->frame, frame, length);
	*client->last_arrival = arrival;
	client->last_arrival = &arrival->next;
	client->arrival_bytes += length;
	arm(client);
}

/* Dispatch sees by the numbers which lines are gone, so that no notice is needed for it. */
void store_peer_down(struct store *store)
{
	struct peer_client *client = client_of(store);
	ASSERT(client->up);
	client->up = false;
	client->ready = false;
	arm(client);
}

void store_peer_state_read(const struct store *store, struct store_peer_state *ret_state)
{
	const struct peer_client *client = (const struct peer_client *)store;
	struct store_peer_state state = {
	    .ready = client->ready, .skipped = client->skipped, .violations = client->violations};
	for (const struct call *call = client->calls; call; call = call->next)
		state.calls++;
	for (const struct watch *watch = client->watches; watch; watch = watch->next)
		state.unsettled += !watch->over && !watch->next_revision;
	*ret_state = state;
}

/* --- sending ---------------------------------------------------------------------------------- */

/* False when the line took it not: its end will be told. */
static bool send_message(struct peer_client *client, const struct peer_message *message)
{
	struct buffer frame;
	buffer_init(&frame, 0);
	bool sent = peer_encode(message, &frame, NULL) == 0 &&
		    client->line.send(client->line.context, frame.data, frame.length);
	buffer_done(&frame);
	if (!sent)
		client->line.cut(client->line.context);
	return sent;
}

static void send_calls(struct peer_client *client)
{
	size_t in_flight = 0;
	for (struct call *call = client->calls; call && client->ready; call = call->next) {
		if (call->line != client->line_number)
			continue;
		if (in_flight++ == MOST_IN_FLIGHT)
			return;
		if (call->sent)
			continue;
		call->sent =
		    client->line.send(client->line.context, call->frame.data, call->frame.length);
		if (!call->sent)
			return;
		buffer_done(&call->frame);
	}
}

static void send_watch(struct peer_client *client, struct watch *watch)
{
	watch->line = client->line_number;
	watch->sent = send_message(
	    client, &(struct peer_message){.number = PEER_STORE_WATCH,
					   .store_watch = {.watch = watch->number,
							   .prefix = watch->prefix,
							   .revision = watch->next_revision}});
}

static void send_watches(struct peer_client *client)
{
	for (struct watch *watch = client->watches; watch; watch = watch->next) {
		if (!watch->sent && !watch->over && !watch->cancelled)
			send_watch(client, watch);
	}
}

/* --- calls ------------------------------------------------------------------------------------ */

/* Queues a call whose message, but for the number, is `message`. */
static int make_call(struct peer_client *client, struct peer_message *message, uint64_t *number,
		     const struct call *template, struct error *err)
{
	if (client->closing)
		return error_set(err, -ECANCELED, "store: it is being closed");
	struct call *call = malloc(sizeof(*call));
	if (!call)
		return no_memory(err);
	*call = *template;
	call->line = client->line_number;
	call->number = *number = ++client->last_number;
	buffer_init(&call->frame, 0);
	int result = peer_encode(message, &call->frame, err);
	if (result < 0) {
		buffer_done(&call->frame);
		free(call);
		return result;
	}
	struct call **end = &client->calls;
	while (*end)
		end = &(*end)->next;
	*end = call;
	send_calls(client);
	arm(client);
	return 0;
}

static int client_range(struct store *store, const struct store_range *range, store_range_fn *done,
			void *context, struct error *err)
{
	struct peer_message message = {
	    .number = PEER_STORE_RANGE,
	    .store_range = {.prefix = range->prefix,
			    .key = range->key,
			    .after = range->after,
			    .limit = range->limit < UINT32_MAX ? range->limit : UINT32_MAX,
			    .revision = range->revision}};
	const struct call template = {
	    .answer = PEER_STORE_PAGE, .context = context, .range_done = done};
	return make_call(client_of(store), &message, &message.store_range.call, &template, err);
}

static int client_txn(struct store *store, const struct store_txn *txn, store_txn_fn *done,
		      void *context, struct error *err)
{
	struct peer_compare compares[STORE_TXN_COMPARES];
	struct peer_op ops[STORE_TXN_OPS];
	for (size_t i = 0; i < txn->compare_count; i++)
		compares[i] = (struct peer_compare){.key = txn->compares[i].key,
						    .mod_revision = txn->compares[i].mod_revision};
	for (size_t i = 0; i < txn->op_count; i++) {
		const struct store_op *op = &txn->ops[i];
		ops[i] = (struct peer_op){.deletes = op->kind == STORE_DELETE,
					  .key = op->key,
					  .value = {op->value, op->value_length},
					  .lease = op->lease};
	}
	struct peer_message message = {.number = PEER_STORE_TXN,
				       .store_txn = {.id = txn->id,
						     .compares = {compares, txn->compare_count},
						     .ops = {ops, txn->op_count}}};
	const struct call template = {
	    .answer = PEER_STORE_OUTCOME, .context = context, .txn_done = done};
	return make_call(client_of(store), &message, &message.store_txn.call, &template, err);
}

static int lease_call(struct store *store, unsigned verb, uint64_t lease, uint64_t ttl_ms,
		      store_lease_fn *done, void *context, struct error *err)
{
	struct peer_message message = {
	    .number = PEER_STORE_LEASE,
	    .store_lease = {.verb = verb, .lease = lease, .ttl_ms = ttl_ms}};
	const struct call template = {
	    .answer = PEER_STORE_LEASED, .context = context, .lease_done = done};
	return make_call(client_of(store), &message, &message.store_lease.call, &template, err);
}

static int client_lease_grant(struct store *store, uint64_t ttl_ms, store_lease_fn *done,
			      void *context, struct error *err)
{
	return lease_call(store, PEER_LEASE_GRANT, 0, ttl_ms, done, context, err);
}

static int client_lease_keep_alive(struct store *store, uint64_t lease, store_lease_fn *done,
				   void *context, struct error *err)
{
	return lease_call(store, PEER_LEASE_KEEP_ALIVE, lease, 0, done, context, err);
}

static int client_lease_revoke(struct store *store, uint64_t lease, store_lease_fn *done,
			       void *context, struct error *err)
{
	return lease_call(store, PEER_LEASE_REVOKE, lease, 0, done, context, err);
}

/* Takes the call out of the list first: its callback may make others. */
static void finish_failed(struct peer_client *client, struct call **place, const struct error *err)
{
	struct call *call = *place;
	*place = call->next;
	switch ((int)call->answer) {
	case PEER_STORE_PAGE:
		call->range_done(call->context, err->code, err, NULL);
		break;
	case PEER_STORE_OUTCOME:
		call->txn_done(call->context, err->code, err, NULL);
		break;
	default:
		call->lease_done(call->context, err->code, err, 0, 0);
		break;
	}
	buffer_done(&call->frame);
	free(call);
	send_calls(client);
}

static struct call **find_call(struct peer_client *client, uint64_t number)
{
	struct call **place = &client->calls;
	while (*place && (*place)->number != number)
		place = &(*place)->next;
	return place;
}

static void finish_page(const struct call *call, const struct peer_store_page *page,
			struct arena *arena)
{
	struct store_record *records =
	    arena_array(arena, page->records.count + 1, sizeof(*records));
	struct error err = {0};
	if (!records) {
		call->range_done(call->context, no_memory(&err), &err, NULL);
		return;
	}
	for (size_t i = 0; i < page->records.count; i++) {
		const struct peer_record *record = &page->records.items[i];
		records[i] = (struct store_record){.key = record->key,
						   .value = record->value.data,
						   .value_length = record->value.length,
						   .create_revision = record->create_revision,
						   .mod_revision = record->mod_revision,
						   .lease = record->lease};
	}
	const struct store_page told = {.records = records,
					.count = page->records.count,
					.more = page->more,
					.revision = page->revision};
	call->range_done(call->context, 0, NULL, &told);
}

static void heard_of(struct peer_client *client, uint64_t revision)
{
	client->revision = revision > client->revision ? revision : client->revision;
}

static void finish_txn(const struct call *call, const struct peer_store_outcome *outcome)
{
	const struct store_txn_outcome told = {.revision = outcome->revision,
					       .repeated = outcome->repeated,
					       .failed_compare = (size_t)outcome->failed_compare,
					       .failed_mod_revision = outcome->failed_mod_revision};
	struct error err = {0};
	if (*outcome->conflict)
		error_set(&err, -FL_ECONFLICT, "%s", outcome->conflict);
	call->txn_done(call->context, err.code, err.code ? &err : NULL, &told);
}

/* The answer to `number`. One that nobody waits for belongs to a call that its line's end ended. */
static void take_answer(struct peer_client *client, uint64_t number,
			const struct peer_message *message, struct arena *arena)
{
	struct call **place = find_call(client, number);
	struct call *call = *place;
	if (!call)
		return;
	if (!call->sent || call->answer != message->number) {
		violation(client);
		return;
	}
	*place = call->next;
	switch ((int)message->number) {
	case PEER_STORE_PAGE:
		finish_page(call, &message->store_page, arena);
		break;
	case PEER_STORE_OUTCOME:
		heard_of(client, message->store_outcome.revision);
		finish_txn(call, &message->store_outcome);
		break;
	default:
		call->lease_done(call->context, 0, NULL, message->store_leased.lease,
				 message->store_leased.ttl_ms);
		break;
	}
	free(call);
	send_calls(client);
}

static void take_failure(struct peer_client *client, const struct peer_store_failed *failed)
{
	struct call **place = find_call(client, failed->call);
	struct error err = {0};
	if (!*place)
		return;
	/* A conflict has an outcome, which this message cannot tell. */
	if (!(*place)->sent || failed->code == FL_ECONFLICT) {
		violation(client);
		return;
	}
	error_set(&err, -(int)failed->code, "%s", failed->sentence);
	finish_failed(client, place, &err);
}

/* --- watches ---------------------------------------------------------------------------------- */

static int client_watch(struct store *store, const char *prefix, uint64_t from_revision,
			store_watch_fn *on_events, void *context, struct store_watch **ret_watch,
			struct error *err)
{
	struct peer_client *client = client_of(store);
	if (client->closing)
		return error_set(err, -ECANCELED, "store: it is being closed");
	struct watch *watch = calloc(1, sizeof(*watch));
	char *copy = strdup(prefix);
	if (!watch || !copy) {
		free(watch);
		free(copy);
		return no_memory(err);
	}
	*watch = (struct watch){.base = {store},
				.next = client->watches,
				.number = ++client->last_number,
				.line = client->line_number,
				.next_revision = from_revision,
				.prefix = copy,
				.on_events = on_events,
				.context = context};
	arena_init(&watch->parts, 0);
	client->watches = watch;
	if (client->ready)
		send_watch(client, watch);
	arm(client);
	*ret_watch = &watch->base;
	return 0;
}

static void watch_free(struct watch *watch)
{
	arena_done(&watch->parts);
	free(watch->prefix);
	free(watch);
}

static void free_cancelled(struct peer_client *client)
{
	for (struct watch **place = &client->watches; *place;) {
		struct watch *watch = *place;
		if (watch->cancelled) {
			*place = watch->next;
			watch_free(watch);
		} else {
			place = &watch->next;
		}
	}
}

static void client_watch_cancel(struct store_watch *base)
{
	struct watch *watch = (struct watch *)base;
	struct peer_client *client = client_of(base->store);
	bool known = client->ready && watch->sent && watch->line == client->line_number;
	watch->cancelled = true;
	if (known && !watch->over)
		(void)send_message(
		    client, &(struct peer_message){.number = PEER_STORE_UNWATCH,
						   .store_unwatch = {.watch = watch->number}});
	if (!client->dispatching)
		free_cancelled(client);
}

static void drop_parts(struct watch *watch)
{
	arena_done(&watch->parts);
	arena_init(&watch->parts, 0);
	watch->events = NULL;
	watch->event_count = 0;
}

static void end_watch(struct watch *watch, const struct error *err)
{
	watch->over = true;
	drop_parts(watch);
	watch->on_events(watch->context, err->code, err, 0, NULL, 0);
}

/* NULL: it was cancelled, or is over. */
static struct watch *find_watch(const struct peer_client *client, uint64_t number)
{
	for (struct watch *watch = client->watches; watch; watch = watch->next) {
		if (watch->number == number && !watch->cancelled && !watch->over)
			return watch;
	}
	return NULL;
}

/* Events whose texts live as long as those of `rows`. NULL without memory. */
static struct store_event *make_events(const struct peer_store_events *rows, struct arena *arena)
{
	struct store_event *events = arena_array(arena, rows->events.count, sizeof(*events));
	for (size_t i = 0; events && i < rows->events.count; i++) {
		const struct peer_event *row = &rows->events.items[i];
		events[i] =
		    (struct store_event){.kind = row->deleted ? STORE_DELETE : STORE_PUT,
					 .record = {.key = row->key,
						    .value = row->deleted ? NULL : row->value.data,
						    .value_length = row->value.length,
						    .create_revision = row->create_revision,
						    .mod_revision = row->mod_revision,
						    .lease = row->lease}};
	}
	return events;
}

/* Puts a copy of these events behind those of the same revision that came before. */
static bool keep_part(struct watch *watch, const struct store_event *part, size_t count)
{
	struct arena *arena = &watch->parts;
	size_t before = watch->event_count;
	struct store_event *events = arena_array(arena, before + count, sizeof(*events));
	if (!events)
		return false;
	if (before)
		memcpy(events, watch->events, before * sizeof(*events));
	memcpy(events + before, part, count * sizeof(*events));
	for (size_t i = before; i < before + count; i++) {
		struct store_record *record = &events[i].record;
		record->key = arena_strdup(arena, record->key);
		if (record->value)
			record->value = arena_strndup(arena, record->value, record->value_length);
		if (!record->key || (events[i].kind == STORE_PUT && !record->value))
			return false;
	}
	watch->events = events;
	watch->event_count = before + count;
	return true;
}

static void take_events(struct peer_client *client, const struct peer_store_events *rows,
			struct arena *arena)
{
	struct watch *watch = find_watch(client, rows->watch);
	if (!watch)
		return;
	if (!watch->next_revision || rows->revision < watch->next_revision) {
		violation(client);
		return;
	}
	const struct store_event *events = make_events(rows, arena);
	size_t count = rows->events.count;
	bool parts = rows->more || watch->event_count;
	struct error err = {0};
	if (!events || (parts && !keep_part(watch, events, count))) {
		/* It cannot be told of this revision, and so of none that follows. */
		error_set(&err, -FL_ECOMPACTED, "store: no memory for what a watch is to be told");
		end_watch(watch, &err);
		return;
	}
	if (rows->more)
		return;
	heard_of(client, rows->revision);
	watch->next_revision = rows->revision + 1;
	watch->on_events(watch->context, 0, NULL, rows->revision, parts ? watch->events : events,
			 parts ? watch->event_count : count);
	drop_parts(watch);
}

static void take_watching(struct peer_client *client, const struct peer_store_watching *watching)
{
	struct watch *watch = find_watch(client, watching->watch);
	if (!watch)
		return;
	if (watch->next_revision && watch->next_revision != watching->revision)
		violation(client);
	else
		watch->next_revision = watching->revision;
}

static void take_watch_over(struct peer_client *client, const struct peer_store_watch_over *over)
{
	struct watch *watch = find_watch(client, over->watch);
	struct error err = {0};
	if (!watch)
		return;
	error_set(&err, -(int)over->code, "%s", over->sentence);
	end_watch(watch, &err);
}

/* --- lines ------------------------------------------------------------------------------------ */

/* Revisions that the watches know mean nothing any more. */
static void end_watches(struct peer_client *client, const char *why)
{
	struct error err = {0};
	error_set(&err, -FL_ECOMPACTED, "store: %s", why);
	uint64_t last = client->last_number;
	for (struct watch *watch = client->watches; watch; watch = watch->next) {
		if (watch->number <= last && !watch->over && !watch->cancelled)
			end_watch(watch, &err);
	}
}

static bool is_gone(const struct peer_client *client, uint64_t line)
{
	return !client->up || line != client->line_number;
}

/* Calls and watches that callbacks make here wait for the next dispatch. */
static void end_what_lost_its_line(struct peer_client *client)
{
	uint64_t last = client->last_number;
	struct error err = {0};
	error_set(&err, -FL_EUNAVAILABLE,
		  "store: there is no line to the authority, or it broke before the answer came");
	for (struct call **place = &client->calls; *place && (*place)->number <= last;) {
		if (is_gone(client, (*place)->line))
			finish_failed(client, place, &err);
		else
			place = &(*place)->next;
	}
	error_set(&err, -FL_ECOMPACTED,
		  "store: the line broke before the authority said from where this watch tells");
	for (struct watch *watch = client->watches; watch; watch = watch->next) {
		if (watch->over || watch->cancelled || watch->number > last ||
		    !is_gone(client, watch->line))
			continue;
		drop_parts(watch);
		watch->sent = false;
		if (!watch->next_revision)
			end_watch(watch, &err);
	}
}

static void take_serves(struct peer_client *client, const struct peer_store_serves *serves)
{
	uint64_t line = client->taken_line;
	/* What an earlier line's server said is not so of this one's. */
	if (is_gone(client, line))
		return;
	if (client->ready) {
		violation(client);
		return;
	}
	end_what_lost_its_line(client);
	struct store_id before = client->id;
	uint64_t heard = client->revision;
	memcpy(client->id.bytes, serves->history.data, sizeof(client->id.bytes));
	client->revision = serves->revision;
	if (store_id_is_known(&before) && !store_id_equal(&before, &client->id))
		end_watches(client, "another history is served now");
	else if (serves->revision < heard)
		end_watches(client, "the history that is served went back");
	/* A callback may have ended the line. */
	client->ready = !is_gone(client, line);
	if (client->ready) {
		send_watches(client);
		send_calls(client);
	}
}

static void take_frame(struct peer_client *client, const struct arrival *arrival)
{
	struct arena arena;
	struct peer_message message;
	arena_init(&arena, 0);
	client->taken_line = arrival->line;
	int result = peer_decode(arrival->frame, arrival->length, &arena, &message, NULL);
	if (result == -FL_EUNSUPPORTED) {
		client->skipped++;
	} else if (result < 0) {
		violation(client);
	} else {
		switch (message.number) {
		case PEER_STORE_SERVES:
			take_serves(client, &message.store_serves);
			break;
		case PEER_STORE_PAGE:
			take_answer(client, message.store_page.call, &message, &arena);
			break;
		case PEER_STORE_OUTCOME:
			take_answer(client, message.store_outcome.call, &message, &arena);
			break;
		case PEER_STORE_LEASED:
			take_answer(client, message.store_leased.call, &message, &arena);
			break;
		case PEER_STORE_FAILED:
			take_failure(client, &message.store_failed);
			break;
		case PEER_STORE_WATCHING:
			take_watching(client, &message.store_watching);
			break;
		case PEER_STORE_EVENTS:
			take_events(client, &message.store_events, &arena);
			break;
		case PEER_STORE_WATCH_OVER:
			take_watch_over(client, &message.store_watch_over);
			break;
		case PEER_HELLO:
		case PEER_REPORT:
		case PEER_CONFIGURE:
		case PEER_CUT:
		case PEER_HEARD:
		case PEER_REFUSED:
		case PEER_BEAT:
		case PEER_PARTING:
		case PEER_JOIN_ASK:
		case PEER_JOIN_TAKE:
		case PEER_JOIN_REFUSE:
		case PEER_WARNING:
		case PEER_OBSERVATION:
		case PEER_API_CALL:
		case PEER_API_ANSWER:
		case PEER_FOREMOST:
		case PEER_PATH_TRY:
		case PEER_PATH_SEEN:
		case PEER_STANDING:
		case PEER_STORE_RANGE:
		case PEER_STORE_TXN:
		case PEER_STORE_LEASE:
		case PEER_STORE_WATCH:
		case PEER_STORE_UNWATCH:
			violation(client);
			break;
		}
	}
	arena_done(&arena);
}

/* --- the engine ------------------------------------------------------------------------------- */

static struct store_id client_id(const struct store *store)
{
	return ((const struct peer_client *)store)->id;
}

static int client_fd(const struct store *store)
{
	return ((const struct peer_client *)store)->event_fd;
}

/* Leases are the server's, so nothing is ever due by time alone. */
static int client_timeout_ms(const struct store *store)
{
	(void)store;
	return -1;
}

static void client_dispatch(struct store *store)
{
	struct peer_client *client = client_of(store);
	ASSERT(!client->dispatching);
	client->dispatching = true;
	eventfd_t count;
	(void)eventfd_read(client->event_fd, &count);
	struct arrival *arrivals = client->first_arrival;
	client->first_arrival = NULL;
	client->last_arrival = &client->first_arrival;
	client->arrival_bytes = 0;
	while (arrivals) {
		struct arrival *arrival = arrivals;
		arrivals = arrival->next;
		take_frame(client, arrival);
		free(arrival);
	}
	end_what_lost_its_line(client);
	free_cancelled(client);
	client->dispatching = false;
}

static void client_close(struct store *store)
{
	struct peer_client *client = client_of(store);
	ASSERT(!client->dispatching);
	client->dispatching = true;
	client->closing = true;
	client->ready = false;
	struct error err = {0};
	error_set(&err, -ECANCELED, "store: it was closed before the call was done");
	while (client->calls)
		finish_failed(client, &client->calls, &err);
	for (struct watch *watch = client->watches; watch; watch = watch->next)
		watch->cancelled = true;
	free_cancelled(client);
	while (client->first_arrival) {
		struct arrival *arrival = client->first_arrival;
		client->first_arrival = arrival->next;
		free(arrival);
	}
	close(client->event_fd);
	free(client);
}

static const struct store_engine client_engine = {
    .range = client_range,
    .txn = client_txn,
    .watch = client_watch,
    .watch_cancel = client_watch_cancel,
    .lease_grant = client_lease_grant,
    .lease_keep_alive = client_lease_keep_alive,
    .lease_revoke = client_lease_revoke,
    .id = client_id,
    .fd = client_fd,
    .timeout_ms = client_timeout_ms,
    .dispatch = client_dispatch,
    .close = client_close,
};

int store_open_peer(struct store **ret_store, struct error *err)
{
	struct peer_client *client = calloc(1, sizeof(*client));
	if (!client)
		return no_memory(err);
	client->base.engine = &client_engine;
	client->last_arrival = &client->first_arrival;
	client->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (client->event_fd < 0) {
		int result =
		    error_set(err, -errno, "store: cannot make an eventfd: %s", strerror(errno));
		free(client);
		return result;
	}
	*ret_store = &client->base;
	return 0;
}
