/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leases, by the embedded engine. The file says which leases there are and how long each may live;
 * when one ends is known here only, so that keeping one alive costs no write.
 */
#include "store/sqlite.h"

#include "base/clock.h"

#include <limits.h>
#include <stdlib.h>

#define EXPIRY_RETRY_MS 1000u

static struct sqlite_lease *lease_find(const struct sqlite_store *store, uint64_t id)
{
	for (size_t i = 0; i < store->lease_count; i++) {
		if (store->leases[i].id == id)
			return &store->leases[i];
	}
	return NULL;
}

struct sqlite_lease *sqlite_lease_find_alive(const struct sqlite_store *store, uint64_t id)
{
	struct sqlite_lease *lease = lease_find(store, id);
	return lease && clock_now_ms(store->clock) < lease->deadline_ms ? lease : NULL;
}

int sqlite_lease_gone(uint64_t id, struct error *err)
{
	return error_set(err, -FL_ENOTFOUND, "store: lease %llu is not alive",
			 (unsigned long long)id);
}

static int lease_grant(struct sqlite_store *store, uint64_t ttl_ms, uint64_t *ret_lease,
		       struct error *err)
{
	if (store->lease_count == STORE_LEASES)
		return error_set(err, -FL_EEXHAUSTED,
				 "store: %u leases are alive, the most it takes", STORE_LEASES);
	uint64_t id = store->last_lease + 1;
	int result = sqlite_file_begin(&store->file, err);
	if (result < 0)
		return result;
	sqlite3_stmt *add = sqlite_file_statement(&store->file, STATEMENT_LEASE_ADD);
	sqlite_bind_number(add, 1, id);
	sqlite_bind_number(add, 2, ttl_ms);
	result = sqlite_file_run(&store->file, add, err);
	if (result == 0) {
		sqlite3_stmt *set =
		    sqlite_file_statement(&store->file, STATEMENT_STATE_SET_LAST_LEASE);
		sqlite_bind_number(set, 1, id);
		result = sqlite_file_run(&store->file, set, err);
	}
	result = sqlite_file_end(&store->file, result, err);
	if (result < 0)
		return result;
	store->last_lease = id;
	store->leases[store->lease_count++] = (struct sqlite_lease){
	    .id = id, .ttl_ms = ttl_ms, .deadline_ms = clock_now_ms(store->clock) + ttl_ms};
	*ret_lease = id;
	return 0;
}

static int lease_drop_steps(struct sqlite_store *store, uint64_t id, uint64_t *revision,
			    struct error *err)
{
	sqlite3_stmt *delete_keys =
	    sqlite_file_statement(&store->file, STATEMENT_LEASE_DELETE_KEYS);
	sqlite_bind_number(delete_keys, 1, id);
	sqlite_bind_number(delete_keys, 2, *revision + 1);
	int result = sqlite_file_run(&store->file, delete_keys, err);
	if (result == 0 && sqlite3_changes(store->file.db) > 0) {
		++*revision;
		result = sqlite_revision_set(store, *revision, err);
	}
	if (result < 0)
		return result;
	sqlite3_stmt *remove = sqlite_file_statement(&store->file, STATEMENT_LEASE_REMOVE);
	sqlite_bind_number(remove, 1, id);
	return sqlite_file_run(&store->file, remove, err);
}

/* Ends a lease: deletes its keys and forgets it. */
static int lease_drop(struct sqlite_store *store, struct sqlite_lease *lease, struct error *err)
{
	uint64_t revision = store->revision;
	int result = sqlite_file_begin(&store->file, err);
	if (result < 0)
		return result;
	result = lease_drop_steps(store, lease->id, &revision, err);
	result = sqlite_file_end(&store->file, result, err);
	if (result < 0)
		return result;
	store->revision = revision;
	*lease = store->leases[--store->lease_count];
	return 0;
}

void sqlite_leases_expire(struct sqlite_store *store)
{
	uint64_t now_ms = clock_now_ms(store->clock);
	if (now_ms < store->expiry_retry_ms)
		return;
	for (size_t i = 0; i < store->lease_count;) {
		struct sqlite_lease *lease = &store->leases[i];
		if (now_ms < lease->deadline_ms) {
			i++;
		} else if (lease_drop(store, lease, NULL) < 0) {
			store->expiry_retry_ms = now_ms + EXPIRY_RETRY_MS;
			return;
		}
	}
}

static void lease_finish(const struct sqlite_request *request, int result, const struct error *err,
			 uint64_t lease, uint64_t ttl_ms)
{
	bool failed = result < 0;
	request->lease_done(request->context, result, failed ? err : NULL, failed ? 0 : lease,
			    failed ? 0 : ttl_ms);
}

static void lease_grant_run(struct sqlite_request *request, struct sqlite_store *store,
			    bool cancelled)
{
	struct error err;
	uint64_t lease = 0;
	int result =
	    cancelled ? sqlite_cancelled(&err) : lease_grant(store, request->ttl_ms, &lease, &err);
	lease_finish(request, result, &err, lease, request->ttl_ms);
}

static void lease_keep_alive_run(struct sqlite_request *request, struct sqlite_store *store,
				 bool cancelled)
{
	struct error err;
	struct sqlite_lease *lease =
	    cancelled ? NULL : sqlite_lease_find_alive(store, request->lease);
	if (lease) {
		lease->deadline_ms = clock_now_ms(store->clock) + lease->ttl_ms;
		lease_finish(request, 0, NULL, lease->id, lease->ttl_ms);
		return;
	}
	int result = cancelled ? sqlite_cancelled(&err) : sqlite_lease_gone(request->lease, &err);
	lease_finish(request, result, &err, 0, 0);
}

static void lease_revoke_run(struct sqlite_request *request, struct sqlite_store *store,
			     bool cancelled)
{
	struct error err;
	struct sqlite_lease *lease =
	    cancelled ? NULL : sqlite_lease_find_alive(store, request->lease);
	int result = 0;
	if (cancelled)
		result = sqlite_cancelled(&err);
	else if (!lease)
		result = sqlite_lease_gone(request->lease, &err);
	else
		result = lease_drop(store, lease, &err);
	lease_finish(request, result, &err, request->lease, 0);
}

static int lease_request(struct store *base,
			 void (*run)(struct sqlite_request *, struct sqlite_store *, bool),
			 uint64_t lease, uint64_t ttl_ms, store_lease_fn *done, void *context,
			 struct error *err)
{
	struct sqlite_store *store = sqlite_of(base);
	int result = sqlite_check_writable(store, err);
	if (result < 0)
		return result;
	struct sqlite_request *request = sqlite_request_new(store);
	if (!request)
		return sqlite_cannot_queue(store, err);
	request->run = run;
	request->context = context;
	request->lease = lease;
	request->ttl_ms = ttl_ms;
	request->lease_done = done;
	sqlite_request_queue(store, request);
	return 0;
}

int sqlite_lease_grant(struct store *base, uint64_t ttl_ms, store_lease_fn *done, void *context,
		       struct error *err)
{
	return lease_request(base, lease_grant_run, 0, ttl_ms, done, context, err);
}

int sqlite_lease_keep_alive(struct store *base, uint64_t lease, store_lease_fn *done, void *context,
			    struct error *err)
{
	return lease_request(base, lease_keep_alive_run, lease, 0, done, context, err);
}

int sqlite_lease_revoke(struct store *base, uint64_t lease, store_lease_fn *done, void *context,
			struct error *err)
{
	return lease_request(base, lease_revoke_run, lease, 0, done, context, err);
}

int sqlite_timeout_ms(const struct store *base)
{
	const struct sqlite_store *store = (const struct sqlite_store *)base;
	if (store->lease_count == 0)
		return -1;
	uint64_t due_ms = UINT64_MAX;
	for (size_t i = 0; i < store->lease_count; i++) {
		if (store->leases[i].deadline_ms < due_ms)
			due_ms = store->leases[i].deadline_ms;
	}
	if (due_ms < store->expiry_retry_ms)
		due_ms = store->expiry_retry_ms;
	uint64_t now_ms = clock_now_ms(store->clock);
	if (now_ms >= due_ms)
		return 0;
	return due_ms - now_ms < INT_MAX ? (int)(due_ms - now_ms) : INT_MAX;
}

int sqlite_leases_load(struct sqlite_store *store, struct error *err)
{
	store->leases = calloc(STORE_LEASES, sizeof(*store->leases));
	if (!store->leases)
		return sqlite_no_memory(err);
	uint64_t now_ms = clock_now_ms(store->clock);
	sqlite3_stmt *row = sqlite_file_statement(&store->file, STATEMENT_LEASE_ALL);
	int status = sqlite3_step(row);
	for (; status == SQLITE_ROW && store->lease_count < STORE_LEASES;
	     status = sqlite3_step(row)) {
		uint64_t ttl_ms = sqlite_column_number(row, 1);
		store->leases[store->lease_count++] =
		    (struct sqlite_lease){.id = sqlite_column_number(row, 0),
					  .ttl_ms = ttl_ms,
					  .deadline_ms = now_ms + ttl_ms};
	}
	sqlite3_reset(row);
	if (status == SQLITE_ROW)
		return sqlite_file_error(&store->file, SQLITE_CORRUPT, err);
	return status == SQLITE_DONE ? 0 : sqlite_file_error(&store->file, status, err);
}
