/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded engine of the store: one node, one SQLite file, no threads.
 *
 * A call copies its arguments into a request and queues it (sqlite_request.c); dispatch runs the
 * queue in order, each change in a SQLite transaction of its own, and then tells the watches. What
 * each call does is in sqlite_range.c, sqlite_txn.c, sqlite_lease.c and sqlite_watch.c.
 *
 * The descriptor is an eventfd that is readable as long as a dispatch is owed.
 */
#include "store/sqlite.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define HISTORY_REVISIONS 1000u

static int sqlite_fd(const struct store *base)
{
	return ((const struct sqlite_store *)base)->event_fd;
}

static struct sqlite_request *queue_take(struct sqlite_store *store)
{
	struct sqlite_request *first = store->first_request;
	store->first_request = NULL;
	store->last_request = &store->first_request;
	return first;
}

static void queue_run(struct sqlite_store *store, struct sqlite_request *queue, bool cancelled)
{
	while (queue) {
		struct sqlite_request *request = queue;
		queue = request->next;
		request->run(request, store, cancelled);
		sqlite_request_free(request);
	}
}

static void sqlite_dispatch(struct store *base)
{
	struct sqlite_store *store = sqlite_of(base);
	ASSERT(!store->dispatching);
	store->dispatching = true;
	eventfd_t count;
	(void)eventfd_read(store->event_fd, &count);
	sqlite_leases_expire(store);
	queue_run(store, queue_take(store), false);
	sqlite_watches_tell(store);
	sqlite_compact(store);
	store->dispatching = false;
}

void sqlite_close(struct store *base)
{
	struct sqlite_store *store = sqlite_of(base);
	ASSERT(!store->dispatching);
	store->dispatching = true;
	store->closing = true;
	queue_run(store, queue_take(store), true);
	sqlite_watches_drop(store);
	sqlite_file_close(&store->file);
	if (store->event_fd >= 0)
		close(store->event_fd);
	free(store->leases);
	free(store->why);
	free(store);
}

static struct store_id sqlite_id(const struct store *base)
{
	return ((const struct sqlite_store *)base)->id;
}

static const struct store_engine sqlite_engine = {
    .range = sqlite_range,
    .txn = sqlite_txn,
    .watch = sqlite_watch,
    .watch_cancel = sqlite_watch_cancel,
    .lease_grant = sqlite_lease_grant,
    .lease_keep_alive = sqlite_lease_keep_alive,
    .lease_revoke = sqlite_lease_revoke,
    .id = sqlite_id,
    .fd = sqlite_fd,
    .timeout_ms = sqlite_timeout_ms,
    .dispatch = sqlite_dispatch,
    .close = sqlite_close,
};

struct sqlite_store *sqlite_store_new(const struct clock *clock)
{
	struct sqlite_store *store = calloc(1, sizeof(*store));
	if (!store)
		return NULL;
	store->base.engine = &sqlite_engine;
	store->file.lock_fd = -1;
	store->clock = clock;
	store->history_revisions = HISTORY_REVISIONS;
	store->last_request = &store->first_request;
	store->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (store->event_fd >= 0)
		return store;
	free(store);
	return NULL;
}

static int state_load(struct sqlite_store *store, struct error *err)
{
	sqlite3_stmt *row = sqlite_file_statement(&store->file, STATEMENT_STATE_READ);
	int status = sqlite3_step(row);
	if (status == SQLITE_ROW) {
		store->revision = sqlite_column_number(row, 0);
		store->compacted = sqlite_column_number(row, 1);
		store->last_lease = sqlite_column_number(row, 2);
	}
	sqlite3_reset(row);
	if (status == SQLITE_DONE)
		return sqlite_file_error(&store->file, SQLITE_CORRUPT, err);
	return status == SQLITE_ROW ? 0 : sqlite_file_error(&store->file, status, err);
}

static int id_load(struct sqlite_store *store, struct error *err)
{
	sqlite3_stmt *row = sqlite_file_statement(&store->file, STATEMENT_AUTHORITY_READ);
	int status = sqlite3_step(row);
	const void *id = status == SQLITE_ROW ? sqlite3_column_blob(row, 0) : NULL;
	if (id && sqlite3_column_bytes(row, 0) == (int)sizeof(store->id))
		memcpy(store->id.bytes, id, sizeof(store->id));
	sqlite3_reset(row);
	if (status != SQLITE_ROW && status != SQLITE_DONE)
		return sqlite_file_error(&store->file, status, err);
	return store_id_is_known(&store->id) ? 0
					     : sqlite_file_error(&store->file, SQLITE_CORRUPT, err);
}

int sqlite_load(struct sqlite_store *store, struct store **ret_store, struct error *err)
{
	int result = state_load(store, err);
	if (result == 0)
		result = id_load(store, err);
	if (result == 0 && !store->why)
		result = sqlite_leases_load(store, err);
	if (result < 0) {
		sqlite_close(&store->base);
		return result;
	}
	*ret_store = &store->base;
	return 0;
}

int store_open_sqlite(const struct store_sqlite_options *options, struct store **ret_store,
		      struct error *err)
{
	struct sqlite_store *store = sqlite_store_new(options->clock);
	if (!store)
		return sqlite_no_memory(err);
	if (options->history_revisions)
		store->history_revisions = options->history_revisions;
	int result = sqlite_file_open(options->folder, &store->file, err);
	if (result < 0) {
		sqlite_close(&store->base);
		return result;
	}
	return sqlite_load(store, ret_store, err);
}
