/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frozen engine: a snapshot as a store that can be read and not changed, so that a daemon
 * whose store is lost takes the same path as any other. Of all keys only acks can be written, and
 * live as long as the process.
 *
 * A call is queued and done by the next dispatch, as the interface wants it; the descriptor is an
 * eventfd that is readable as long as one is queued.
 */
#include "base/arena.h"
#include "base/search.h"
#include "state/records.h"
#include "state/snapshot.h"
#include "store/engine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MOST_ACKS 16u /* this node's own, and room for tests */

struct frozen_store;

struct frozen_call {
	struct frozen_call *next;
	struct arena arena;
	void (*run)(struct frozen_call *call, struct frozen_store *store, bool cancelled);
	void *context;
	struct store_range range;
	struct store_op op; /* of a txn: the ack */
	union {
		store_range_fn *range_done;
		store_txn_fn *txn_done;
	};
};

struct frozen_watch {
	struct store_watch base;
	struct frozen_watch *next;
	store_watch_fn *on_events;
	void *context;
	bool cancelled; /* during a dispatch, whose end frees it */
	char *prefix; /* owned */
};

struct frozen_ack {
	char key[STORE_KEY_BYTES + 1];
	char value[32]; /* and a NUL */
	size_t length;
	uint64_t created, revision;
};

struct frozen_store {
	struct store base;
	struct snapshot snapshot;
	char *why; /* owned */
	uint64_t revision;
	struct frozen_ack acks[MOST_ACKS]; /* by rising keys */
	size_t ack_count;
	struct frozen_watch *watches;
	struct frozen_call *first;
	struct frozen_call **last;
	int event_fd;
	bool dispatching;
	bool closing;
};

static struct frozen_store *frozen_of(struct store *store)
{
	return (struct frozen_store *)store;
}

static int refuse(const struct frozen_store *store, struct error *err)
{
	return error_set(err, -FL_ESTATE, "%s", store->why);
}

static int out_of_memory(struct error *err)
{
	return error_set(err, -ENOMEM, "store: out of memory");
}

static bool begins_with(const char *key, const char *prefix)
{
	return strncmp(key, prefix, strlen(prefix)) == 0;
}

/* --- calls --- */

static struct frozen_call *call_new(struct frozen_store *store)
{
	struct frozen_call *call = store->closing ? NULL : calloc(1, sizeof(*call));
	if (call)
		arena_init(&call->arena, 0);
	return call;
}

static void call_free(struct frozen_call *call)
{
	arena_done(&call->arena);
	free(call);
}

static int call_queue(struct frozen_store *store, struct frozen_call *call, bool complete,
		      struct error *err)
{
	if (call && complete) {
		*store->last = call;
		store->last = &call->next;
		(void)eventfd_write(store->event_fd, 1);
		return 0;
	}
	if (call)
		call_free(call);
	return store->closing ? error_set(err, -ECANCELED, "store: it is being closed")
			      : out_of_memory(err);
}

static int cancelled_error(struct error *err)
{
	return error_set(err, -ECANCELED, "store: it was closed before the call was done");
}

/* --- acks --- */

static struct store_record ack_record(const struct frozen_ack *ack)
{
	return (struct store_record){.key = ack->key,
				     .value = ack->value,
				     .value_length = ack->length,
				     .create_revision = ack->created,
				     .mod_revision = ack->revision};
}

static int compare_ack(const void *acks, size_t place, const void *key)
{
	const struct frozen_ack *list = acks;
	return strcmp(list[place].key, key);
}

static int ack_put(struct frozen_store *store, const struct store_op *op,
		   const struct frozen_ack **ret_ack, struct error *err)
{
	bool found = false;
	size_t place = search_place(store->acks, store->ack_count, op->key, compare_ack, &found);
	struct frozen_ack *ack = &store->acks[place];
	if (op->value_length >= sizeof(ack->value) || (!found && store->ack_count == MOST_ACKS))
		return error_set(err, -FL_ELIMIT, "store: the ack %s does not fit", op->key);
	store->revision++;
	if (!found) {
		memmove(ack + 1, ack, (store->ack_count - place) * sizeof(*ack));
		store->ack_count++;
		memcpy(ack->key, op->key, strlen(op->key) + 1);
		ack->created = store->revision;
	}
	memcpy(ack->value, op->value, op->value_length);
	ack->value[op->value_length] = '\0';
	ack->length = op->value_length;
	ack->revision = store->revision;
	*ret_ack = ack;
	return 0;
}

/* --- range --- */

/* Whether all keys of a range are such as a snapshot would have, if there were any. */
static bool can_tell(const struct store_range *range)
{
	if (begins_with(range->key, record_rows[RECORD_OLD_ACK].key))
		return true;
	for (size_t i = 0; i < SNAPSHOT_PARTS; i++) {
		const struct snapshot_part *part = &snapshot_parts[i];
		if (part->prefix ? begins_with(range->key, part->key)
				 : !range->prefix && strcmp(range->key, part->key) == 0)
			return true;
	}
	return false;
}

static bool is_in(const struct store_range *range, const char *key)
{
	bool matches = range->prefix ? begins_with(key, range->key) : strcmp(key, range->key) == 0;
	return matches && (!range->after || strcmp(key, range->after) > 0);
}

/* False when the page is full and the record does not fit any more. */
static bool page_add(struct store_page *page, struct store_record *records, size_t limit,
		     size_t *bytes, const struct store_record *record)
{
	*bytes += record->value_length;
	if (page->count == limit || (page->count && *bytes > STORE_PAGE_BYTES)) {
		page->more = true;
		return false;
	}
	records[page->count++] = *record;
	return true;
}

static void collect(const struct frozen_store *store, const struct store_range *range,
		    struct store_record *records, size_t limit, struct store_page *page)
{
	size_t bytes = 0;
	for (size_t i = 0; i < store->snapshot.count; i++) {
		const struct store_record *record = &store->snapshot.records[i];
		if (is_in(range, record->key) && !page_add(page, records, limit, &bytes, record))
			return;
	}
	for (size_t i = 0; i < store->ack_count; i++) {
		const struct store_record record = ack_record(&store->acks[i]);
		if (is_in(range, record.key) && !page_add(page, records, limit, &bytes, &record))
			return;
	}
}

static int range_read(struct frozen_call *call, const struct frozen_store *store,
		      struct store_page *page, struct error *err)
{
	const struct store_range *range = &call->range;
	size_t limit =
	    range->limit && range->limit < STORE_PAGE_RECORDS ? range->limit : STORE_PAGE_RECORDS;
	if (!can_tell(range))
		return refuse(store, err);
	struct store_record *records = arena_array(&call->arena, limit, sizeof(*records));
	if (!records)
		return out_of_memory(err);
	page->records = records;
	page->revision = store->revision;
	collect(store, range, records, limit, page);
	return 0;
}

static void range_run(struct frozen_call *call, struct frozen_store *store, bool cancelled)
{
	struct error err;
	struct store_page page = {0};
	int result = cancelled ? cancelled_error(&err) : range_read(call, store, &page, &err);
	call->range_done(call->context, result, result < 0 ? &err : NULL,
			 result < 0 ? NULL : &page);
}

static int frozen_range(struct store *base, const struct store_range *range, store_range_fn *done,
			void *context, struct error *err)
{
	struct frozen_store *store = frozen_of(base);
	struct frozen_call *call = call_new(store);
	bool complete = false;
	if (call) {
		call->run = range_run;
		call->context = context;
		call->range_done = done;
		call->range = *range;
		call->range.key = arena_strdup(&call->arena, range->key);
		if (range->after)
			call->range.after = arena_strdup(&call->arena, range->after);
		complete = call->range.key && !range->after == !call->range.after;
	}
	return call_queue(store, call, complete, err);
}

/* --- txn --- */

static void tell(struct frozen_store *store, const struct frozen_ack *ack)
{
	const struct store_event event = {.kind = STORE_PUT, .record = ack_record(ack)};
	for (struct frozen_watch *watch = store->watches; watch; watch = watch->next) {
		if (!watch->cancelled && begins_with(ack->key, watch->prefix))
			watch->on_events(watch->context, 0, NULL, ack->revision, &event, 1);
	}
}

static void txn_run(struct frozen_call *call, struct frozen_store *store, bool cancelled)
{
	struct error err;
	const struct frozen_ack *ack = NULL;
	int result = 0;
	if (cancelled)
		result = cancelled_error(&err);
	else if (!call->op.key)
		result = refuse(store, &err);
	else if (call->op.kind == STORE_PUT)
		result = ack_put(store, &call->op, &ack, &err);
	const struct store_txn_outcome outcome = {.revision = store->revision};
	call->txn_done(call->context, result, result < 0 ? &err : NULL,
		       result < 0 ? NULL : &outcome);
	if (ack)
		tell(store, ack);
}

/* One op on an ack; a deletion finds none, since none outlives the process. Anything else is
 * queued without an op, and refused. */
static int frozen_txn(struct store *base, const struct store_txn *txn, store_txn_fn *done,
		      void *context, struct error *err)
{
	struct frozen_store *store = frozen_of(base);
	struct frozen_call *call = call_new(store);
	bool complete = true;
	if (call) {
		call->run = txn_run;
		call->context = context;
		call->txn_done = done;
	}
	if (call && txn->op_count == 1 && !txn->compare_count &&
	    begins_with(txn->ops[0].key, record_rows[RECORD_OLD_ACK].key)) {
		const struct store_op *op = &txn->ops[0];
		call->op = *op;
		call->op.key = arena_strdup(&call->arena, op->key);
		call->op.value = arena_strndup(&call->arena, op->value_length ? op->value : "",
					       op->value_length);
		complete = call->op.key && call->op.value;
	}
	return call_queue(store, call, complete, err);
}

/* --- watch and lease --- */

static int frozen_watch(struct store *base, const char *prefix, uint64_t from_revision,
			store_watch_fn *on_events, void *context, struct store_watch **ret_watch,
			struct error *err)
{
	struct frozen_store *store = frozen_of(base);
	struct frozen_watch *watch = calloc(1, sizeof(*watch));
	char *copy = strdup(prefix);
	(void)from_revision; /* what was before it, nobody can tell any more */
	if (!watch || !copy) {
		free(watch);
		free(copy);
		return out_of_memory(err);
	}
	*watch = (struct frozen_watch){.base.store = base,
				       .next = store->watches,
				       .on_events = on_events,
				       .context = context,
				       .prefix = copy};
	store->watches = watch;
	*ret_watch = &watch->base;
	return 0;
}

static void watches_sweep(struct frozen_store *store, bool all)
{
	struct frozen_watch **place = &store->watches;
	while (*place) {
		struct frozen_watch *watch = *place;
		if (!all && !watch->cancelled) {
			place = &watch->next;
			continue;
		}
		*place = watch->next;
		free(watch->prefix);
		free(watch);
	}
}

static void frozen_watch_cancel(struct store_watch *base)
{
	struct frozen_watch *watch = (struct frozen_watch *)base;
	struct frozen_store *store = frozen_of(base->store);
	watch->cancelled = true;
	if (!store->dispatching)
		watches_sweep(store, false);
}

static int frozen_lease_grant(struct store *base, uint64_t ttl_ms, store_lease_fn *done,
			      void *context, struct error *err)
{
	(void)ttl_ms, (void)done, (void)context;
	return refuse(frozen_of(base), err);
}

static int frozen_lease_other(struct store *base, uint64_t lease, store_lease_fn *done,
			      void *context, struct error *err)
{
	(void)lease, (void)done, (void)context;
	return refuse(frozen_of(base), err);
}

/* --- running --- */

static struct store_id frozen_id(const struct store *base)
{
	(void)base;
	return (struct store_id){0};
}

static int frozen_fd(const struct store *base)
{
	return ((const struct frozen_store *)base)->event_fd;
}

static int frozen_timeout_ms(const struct store *base)
{
	(void)base;
	return -1;
}

static void run_queue(struct frozen_store *store, bool cancelled)
{
	struct frozen_call *queue = store->first;
	store->first = NULL;
	store->last = &store->first;
	store->dispatching = true;
	while (queue) {
		struct frozen_call *call = queue;
		queue = call->next;
		call->run(call, store, cancelled);
		call_free(call);
	}
	store->dispatching = false;
	watches_sweep(store, false);
}

static void frozen_dispatch(struct store *base)
{
	struct frozen_store *store = frozen_of(base);
	eventfd_t count;
	(void)eventfd_read(store->event_fd, &count);
	run_queue(store, false);
}

static void frozen_close(struct store *base)
{
	struct frozen_store *store = frozen_of(base);
	store->closing = true;
	run_queue(store, true);
	watches_sweep(store, true);
	snapshot_done(&store->snapshot);
	if (store->event_fd >= 0)
		close(store->event_fd);
	free(store->why);
	free(store);
}

static const struct store_engine frozen_engine = {
    .range = frozen_range,
    .txn = frozen_txn,
    .watch = frozen_watch,
    .watch_cancel = frozen_watch_cancel,
    .lease_grant = frozen_lease_grant,
    .lease_keep_alive = frozen_lease_other,
    .lease_revoke = frozen_lease_other,
    .id = frozen_id,
    .fd = frozen_fd,
    .timeout_ms = frozen_timeout_ms,
    .dispatch = frozen_dispatch,
    .close = frozen_close,
};

int store_open_frozen(struct snapshot *snapshot, const char *why, struct store **ret_store,
		      struct error *err)
{
	struct frozen_store *store = calloc(1, sizeof(*store));
	if (!store) {
		snapshot_done(snapshot);
		return out_of_memory(err);
	}
	store->base.engine = &frozen_engine;
	store->snapshot = *snapshot;
	*snapshot = (struct snapshot){0};
	store->revision = store->snapshot.head.revision;
	store->last = &store->first;
	store->why = strdup(why);
	store->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int result = 0;
	if (!store->why)
		result = out_of_memory(err);
	else if (store->event_fd < 0)
		result =
		    error_set(err, -errno, "store: cannot make an eventfd: %s", error_text(-errno));
	if (result < 0) {
		frozen_close(&store->base);
		return result;
	}
	*ret_store = &store->base;
	return 0;
}
