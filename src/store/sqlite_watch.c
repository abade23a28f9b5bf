/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches and compaction, by the embedded engine. A watch is a cursor over the record table and
 * nothing else: it cannot lose or repeat an event, and it needs no memory while it waits. History
 * is never compacted past a watch that is still catching up. Watches of the same keys that stand at
 * the newest revision are told from one reading of it, however many they are.
 */
#include "store/sqlite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WATCH_BURST 256u /* revisions told to one watch in one dispatch */

/* The events of one revision, gathered row by row. */
struct event_batch {
	struct arena arena;
	struct store_event *events;
	size_t count;
	size_t capacity;
	uint64_t revision;
};

static void event_batch_clear(struct event_batch *batch)
{
	arena_done(&batch->arena);
	batch->count = 0;
}

static bool event_batch_add(struct event_batch *batch, sqlite3_stmt *row)
{
	if (batch->count == batch->capacity) {
		size_t capacity = batch->capacity ? 2 * batch->capacity : 16;
		struct store_event *events =
		    realloc(batch->events, capacity * sizeof(*batch->events));
		if (!events)
			return false;
		batch->events = events;
		batch->capacity = capacity;
	}
	struct store_event event = {.kind = sqlite3_column_int(row, 5) ? STORE_DELETE : STORE_PUT};
	if (!sqlite_record_copy(row, &batch->arena, &event.record))
		return false;
	batch->events[batch->count++] = event;
	batch->revision = event.record.mod_revision;
	return true;
}

/* The callback may cancel the watch, start others and queue calls: none of them runs SQL now. */
static void batch_tell(struct event_batch *batch, struct sqlite_watch *watch)
{
	if (batch->count && !watch->cancelled)
		watch->on_events(watch->context, 0, NULL, batch->revision, batch->events,
				 batch->count);
	event_batch_clear(batch);
}

static int watch_tell_rows(struct sqlite_store *store, struct sqlite_watch *watch,
			   sqlite3_stmt *rows, struct event_batch *batch, struct error *err)
{
	while (!watch->cancelled) {
		int status = sqlite3_step(rows);
		if (status != SQLITE_ROW && status != SQLITE_DONE)
			return sqlite_file_error(&store->file, status, err);
		bool next =
		    status == SQLITE_DONE || sqlite_column_number(rows, 3) != batch->revision;
		if (next)
			batch_tell(batch, watch);
		if (status == SQLITE_DONE)
			return 0;
		if (!event_batch_add(batch, rows))
			return sqlite_no_memory(err);
	}
	return 0;
}

static sqlite3_stmt *select_events(struct sqlite_store *store, const struct sqlite_watch *watch,
				   uint64_t to)
{
	sqlite3_stmt *rows = sqlite_file_statement(&store->file, STATEMENT_EVENTS);
	sqlite_bind_number(rows, 1, watch->next_revision);
	sqlite_bind_number(rows, 2, to);
	sqlite_bind_text(rows, 3, watch->prefix);
	sqlite_bind_text(rows, 4, watch->prefix_end);
	return rows;
}

/* The newest revision, read for the first watch that is told of it alone. */
struct newest {
	uint64_t revision; /* 0: nothing was read yet */
	const char *prefix; /* of the watch for which it was read, which lives until all are told */
	struct event_batch batch;
};

static int read_newest(struct sqlite_store *store, const struct sqlite_watch *watch,
		       struct newest *newest, struct error *err)
{
	int status, result = 0;
	sqlite3_stmt *rows = select_events(store, watch, watch->next_revision);
	event_batch_clear(&newest->batch);
	newest->revision = 0;
	while (result == 0 && (status = sqlite3_step(rows)) != SQLITE_DONE) {
		if (status != SQLITE_ROW)
			result = sqlite_file_error(&store->file, status, err);
		else if (!event_batch_add(&newest->batch, rows))
			result = sqlite_no_memory(err);
	}
	sqlite3_reset(rows);
	if (result < 0)
		return result;
	newest->revision = watch->next_revision;
	newest->prefix = watch->prefix;
	return 0;
}

static int tell_newest(struct sqlite_store *store, struct sqlite_watch *watch,
		       struct newest *newest, struct error *err)
{
	const struct event_batch *batch = &newest->batch;
	if (newest->revision != watch->next_revision ||
	    strcmp(newest->prefix, watch->prefix) != 0) {
		int result = read_newest(store, watch, newest, err);
		if (result < 0)
			return result;
	}
	if (batch->count)
		watch->on_events(watch->context, 0, NULL, newest->revision, batch->events,
				 batch->count);
	return 0;
}

/* Tell of the changes up to and with revision `to`. */
static int watch_tell_to(struct sqlite_store *store, struct sqlite_watch *watch, uint64_t to,
			 struct newest *newest, struct error *err)
{
	int result;
	if (watch->next_revision <= store->compacted)
		return error_set(err, -FL_ECOMPACTED,
				 "store: a watch asks for revision %llu, but history begins after "
				 "%llu; read everything again",
				 (unsigned long long)watch->next_revision,
				 (unsigned long long)store->compacted);
	if (watch->next_revision == to) {
		result = tell_newest(store, watch, newest, err);
	} else {
		struct event_batch batch = {0};
		arena_init(&batch.arena, 0);
		sqlite3_stmt *rows = select_events(store, watch, to);
		result = watch_tell_rows(store, watch, rows, &batch, err);
		sqlite3_reset(rows);
		event_batch_clear(&batch);
		free(batch.events);
	}
	if (result == 0)
		watch->next_revision = to + 1;
	return result;
}

static void watch_tell(struct sqlite_store *store, struct sqlite_watch *watch,
		       struct newest *newest)
{
	if (watch->over || watch->cancelled || watch->next_revision > store->revision)
		return;
	uint64_t to = store->revision;
	if (to - watch->next_revision >= WATCH_BURST)
		to = watch->next_revision + WATCH_BURST - 1;
	struct error err;
	int result = watch_tell_to(store, watch, to, newest, &err);
	if (result == 0) {
		if (to < store->revision)
			sqlite_arm(store);
		return;
	}
	watch->over = true;
	watch->on_events(watch->context, result, &err, 0, NULL, 0);
}

static void watch_free(struct sqlite_watch *watch)
{
	free(watch->prefix);
	free(watch->prefix_end);
	free(watch);
}

static void watches_sweep(struct sqlite_store *store)
{
	for (struct sqlite_watch **at = &store->watches; *at;) {
		struct sqlite_watch *watch = *at;
		if (!watch->cancelled) {
			at = &watch->next;
			continue;
		}
		*at = watch->next;
		watch_free(watch);
	}
}

void sqlite_watches_tell(struct sqlite_store *store)
{
	struct newest newest = {0};
	arena_init(&newest.batch.arena, 0);
	/* New watches go to the front, so this ends. */
	for (struct sqlite_watch *watch = store->watches; watch; watch = watch->next)
		watch_tell(store, watch, &newest);
	event_batch_clear(&newest.batch);
	free(newest.batch.events);
	watches_sweep(store);
}

void sqlite_watches_drop(struct sqlite_store *store)
{
	while (store->watches) {
		struct sqlite_watch *watch = store->watches;
		store->watches = watch->next;
		watch_free(watch);
	}
}

int sqlite_watch(struct store *base, const char *prefix, uint64_t from_revision,
		 store_watch_fn *on_events, void *context, struct store_watch **ret_watch,
		 struct error *err)
{
	struct sqlite_store *store = sqlite_of(base);
	struct sqlite_watch *watch = store->closing ? NULL : calloc(1, sizeof(*watch));
	if (!watch)
		return sqlite_cannot_queue(store, err);
	watch->base.store = base;
	watch->on_events = on_events;
	watch->context = context;
	watch->next_revision = from_revision ? from_revision : store->revision + 1;
	watch->prefix = strdup(prefix);
	if (asprintf(&watch->prefix_end, "%s%c", prefix, AFTER_ANY_KEY) < 0)
		watch->prefix_end = NULL;
	if (!watch->prefix || !watch->prefix_end) {
		watch_free(watch);
		return sqlite_no_memory(err);
	}
	watch->next = store->watches;
	store->watches = watch;
	if (watch->next_revision <= store->revision)
		sqlite_arm(store);
	*ret_watch = &watch->base;
	return 0;
}

void sqlite_watch_cancel(struct store_watch *base)
{
	struct sqlite_store *store = sqlite_of(base->store);
	((struct sqlite_watch *)base)->cancelled = true;
	if (!store->dispatching)
		watches_sweep(store);
}

/* --- compaction ------------------------------------------------------------------------------- */

static uint64_t compaction_target(const struct sqlite_store *store)
{
	if (store->revision < store->history_revisions)
		return 0;
	uint64_t target = store->revision - store->history_revisions;
	for (const struct sqlite_watch *watch = store->watches; watch; watch = watch->next) {
		if (!watch->over && watch->next_revision <= target)
			target = watch->next_revision - 1;
	}
	return target;
}

static int compact_to(struct sqlite_store *store, uint64_t target)
{
	static const enum sqlite_statement steps[] = {STATEMENT_COMPACT_SUPERSEDED,
						      STATEMENT_COMPACT_DELETED};
	int result = sqlite_file_begin(&store->file, NULL);
	if (result < 0)
		return result;
	for (size_t i = 0; result == 0 && i < sizeof(steps) / sizeof(*steps); i++) {
		sqlite3_stmt *step = sqlite_file_statement(&store->file, steps[i]);
		sqlite_bind_number(step, 1, store->compacted);
		sqlite_bind_number(step, 2, target);
		result = sqlite_file_run(&store->file, step, NULL);
	}
	if (result == 0) {
		sqlite3_stmt *set =
		    sqlite_file_statement(&store->file, STATEMENT_STATE_SET_COMPACTED);
		sqlite_bind_number(set, 1, target);
		result = sqlite_file_run(&store->file, set, NULL);
	}
	return sqlite_file_end(&store->file, result, NULL);
}

void sqlite_compact(struct sqlite_store *store)
{
	uint64_t target = compaction_target(store);
	if (target < store->compacted + store->history_revisions)
		return;
	if (compact_to(store, target) == 0)
		store->compacted = target;
}
