/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded engine of the store: one node, one SQLite file, no threads.
 *
 * A call copies its arguments into a request and queues it; dispatch runs the queue in order, each
 * change in a SQLite transaction of its own, and then tells the watches. `revision` and
 * `compacted` mirror the file's state row and move only after a commit, so a change that failed
 * leaves no trace in memory either. A watch is a cursor over the record table and nothing else: it
 * cannot lose or repeat an event, and it needs no memory while it waits. History is never compacted
 * past a watch that is still catching up.
 *
 * The descriptor is an eventfd that is readable as long as a dispatch is owed.
 */
#include "store/engine.h"

#include "base/arena.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/digest.h"
#include "store/sqlite_file.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define HISTORY_REVISIONS 1000u
#define OUTCOMES_KEPT 4096
#define WATCH_BURST 256u /* revisions told to one watch in one dispatch */
#define EXPIRY_RETRY_MS 1000u
#define AFTER_ANY_KEY 0x7f /* see bound_after() */
#define AFTER_THIS_KEY 0x01

struct sqlite_store;

struct request {
	struct request *next;
	struct arena arena; /* the copied arguments, then the results */
	/* Does the work and calls the completion; `cancelled` means the store is closing. */
	void (*run)(struct request *request, struct sqlite_store *store, bool cancelled);
	void *context;
	union {
		struct {
			struct store_range range;
			store_range_fn *range_done;
		};
		struct {
			struct store_txn txn;
			store_txn_fn *txn_done;
		};
		struct {
			uint64_t lease;
			uint64_t ttl_ms;
			store_lease_fn *lease_done;
		};
	};
};

struct sqlite_watch {
	struct store_watch base;
	struct sqlite_watch *next;
	store_watch_fn *on_events;
	void *context;
	uint64_t next_revision; /* the first that was not told yet */
	bool over; /* it was told of an error */
	bool cancelled; /* during a dispatch, whose end frees it */
	char *prefix; /* owned, as is `prefix_end` */
	char *prefix_end; /* the first text after all keys with the prefix */
};

struct lease {
	uint64_t id;
	uint64_t ttl_ms;
	uint64_t deadline_ms;
};

struct sqlite_store {
	struct store base;
	struct sqlite_file file;
	const struct clock *clock;
	uint64_t history_revisions;
	uint64_t revision;
	uint64_t compacted; /* changes up to this revision may be gone */
	uint64_t last_lease;
	uint64_t expiry_retry_ms; /* after a failed expiry, not before this */
	struct lease *leases; /* room for STORE_LEASES */
	size_t lease_count;
	struct request *first_request;
	struct request **last_request;
	struct sqlite_watch *watches;
	int event_fd;
	bool dispatching;
	bool closing;
};

static struct sqlite_store *sqlite_of(struct store *store)
{
	return (struct sqlite_store *)store;
}

static int no_memory(struct error *err)
{
	return error_set(err, -ENOMEM, "store: out of memory");
}

static void arm(struct sqlite_store *store)
{
	/* Fails only if the counter is full, and then the descriptor is readable already. */
	(void)eventfd_write(store->event_fd, 1);
}

/* --- requests --------------------------------------------------------------------------------- */

static void request_free(struct request *request)
{
	if (!request)
		return;
	arena_done(&request->arena);
	free(request);
}

/* NULL when the call cannot be queued; cannot_queue() says why. */
static struct request *request_new(const struct sqlite_store *store)
{
	struct request *request = store->closing ? NULL : calloc(1, sizeof(*request));
	if (request)
		arena_init(&request->arena, 0);
	return request;
}

static int cannot_queue(const struct sqlite_store *store, struct error *err)
{
	return store->closing ? error_set(err, -ECANCELED, "store: it is being closed")
			      : no_memory(err);
}

static void request_queue(struct sqlite_store *store, struct request *request)
{
	*store->last_request = request;
	store->last_request = &request->next;
	arm(store);
}

static int cancelled_error(struct error *err)
{
	return error_set(err, -ECANCELED, "store: it was closed before the call was done");
}

static void bind_text(sqlite3_stmt *statement, int index, const char *text)
{
	/* Cannot fail: the index is right and nothing is copied. */
	(void)sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
}

static void bind_number(sqlite3_stmt *statement, int index, uint64_t number)
{
	(void)sqlite3_bind_int64(statement, index, (sqlite3_int64)number);
}

static uint64_t column_number(sqlite3_stmt *statement, int column)
{
	return (uint64_t)sqlite3_column_int64(statement, column);
}

/*
 * Keys are printable ASCII, so all that begin with `prefix` lie in [prefix, prefix + 0x7f), and
 * `key` + 0x01 is a bound between `key` and whatever key comes next.
 */
static char *bound_after(struct arena *arena, const char *text, bool prefix)
{
	return arena_printf(arena, "%s%c", text, prefix ? AFTER_ANY_KEY : AFTER_THIS_KEY);
}

/* --- range ------------------------------------------------------------------------------------ */

/* The columns of RANGE and EVENTS: key, value, create_revision, mod_revision, lease. */
static bool record_copy(sqlite3_stmt *row, struct arena *arena, struct store_record *ret_record)
{
	const char *key = (const char *)sqlite3_column_text(row, 0);
	const char *value = sqlite3_column_blob(row, 1);
	size_t length = (size_t)sqlite3_column_bytes(row, 1);
	if (!key || (length && !value))
		return false;
	struct store_record record = {
	    .key = arena_strdup(arena, key),
	    .value = arena_strndup(arena, value ? value : "", length),
	    .value_length = length,
	    .create_revision = column_number(row, 2),
	    .mod_revision = column_number(row, 3),
	    .lease = column_number(row, 4),
	};
	if (!record.key || !record.value)
		return false;
	*ret_record = record;
	return true;
}

static int range_collect(struct sqlite_store *store, sqlite3_stmt *rows, size_t limit,
			 struct arena *arena, struct store_page *page, struct error *err)
{
	struct store_record *records = arena_array(arena, limit, sizeof(*records));
	if (!records)
		return no_memory(err);
	page->records = records;
	size_t bytes = 0;
	for (;;) {
		int status = sqlite3_step(rows);
		if (status == SQLITE_DONE)
			return 0;
		if (status != SQLITE_ROW)
			return sqlite_file_error(&store->file, status, err);
		bytes += (size_t)sqlite3_column_bytes(rows, 1);
		if (page->count == limit || (page->count && bytes > STORE_PAGE_BYTES)) {
			page->more = true;
			return 0;
		}
		if (!record_copy(rows, arena, &records[page->count]))
			return no_memory(err);
		page->count++;
	}
}

static int range_read(struct sqlite_store *store, const struct store_range *range,
		      struct arena *arena, struct store_page *page, struct error *err)
{
	page->revision = range->revision ? range->revision : store->revision;
	if (page->revision > store->revision)
		return error_set(
		    err, -FL_EINVALID, "store: revision %llu was asked for, but the newest is %llu",
		    (unsigned long long)page->revision, (unsigned long long)store->revision);
	if (page->revision < store->compacted)
		return error_set(err, -FL_ECOMPACTED,
				 "store: revision %llu was asked for, but history begins at %llu",
				 (unsigned long long)page->revision,
				 (unsigned long long)store->compacted);

	const char *from = range->key;
	const char *to = bound_after(arena, range->key, range->prefix);
	const char *after = range->after ? bound_after(arena, range->after, false) : "";
	if (!to || !after)
		return no_memory(err);
	if (strcmp(after, from) > 0)
		from = after;
	size_t limit =
	    range->limit && range->limit < STORE_PAGE_RECORDS ? range->limit : STORE_PAGE_RECORDS;
	sqlite3_stmt *rows = sqlite_file_statement(&store->file, STATEMENT_RANGE);
	bind_text(rows, 1, from);
	bind_text(rows, 2, to);
	bind_number(rows, 3, page->revision);
	bind_number(rows, 4, limit + 1);
	int result = range_collect(store, rows, limit, arena, page, err);
	sqlite3_reset(rows);
	return result;
}

static void range_run(struct request *request, struct sqlite_store *store, bool cancelled)
{
	struct error err;
	struct store_page page = {0};
	int result = cancelled ? cancelled_error(&err)
			       : range_read(store, &request->range, &request->arena, &page, &err);
	if (result < 0)
		request->range_done(request->context, result, &err, NULL);
	else
		request->range_done(request->context, 0, NULL, &page);
}

static int sqlite_range(struct store *base, const struct store_range *range, store_range_fn *done,
			void *context, struct error *err)
{
	struct sqlite_store *store = sqlite_of(base);
	struct request *request = request_new(store);
	if (!request)
		return cannot_queue(store, err);
	request->run = range_run;
	request->context = context;
	request->range = *range;
	request->range_done = done;
	request->range.key = arena_strdup(&request->arena, range->key);
	if (range->after)
		request->range.after = arena_strdup(&request->arena, range->after);
	if (!request->range.key || (range->after && !request->range.after)) {
		request_free(request);
		return no_memory(err);
	}
	request_queue(store, request);
	return 0;
}

/* --- txn -------------------------------------------------------------------------------------- */

/* The present of a key; all zero when it is absent. */
struct present {
	uint64_t mod_revision;
	uint64_t create_revision;
};

static int present_find(struct sqlite_store *store, const char *key, struct present *ret_present,
			struct error *err)
{
	struct present present = {0};
	sqlite3_stmt *row = sqlite_file_statement(&store->file, STATEMENT_RECORD_FIND);
	bind_text(row, 1, key);
	int status = sqlite3_step(row);
	if (status == SQLITE_ROW && sqlite3_column_int(row, 2) == 0)
		present = (struct present){.mod_revision = column_number(row, 0),
					   .create_revision = column_number(row, 1)};
	sqlite3_reset(row);
	if (status != SQLITE_ROW && status != SQLITE_DONE)
		return sqlite_file_error(&store->file, status, err);
	*ret_present = present;
	return 0;
}

static struct lease *lease_find(const struct sqlite_store *store, uint64_t id)
{
	for (size_t i = 0; i < store->lease_count; i++) {
		if (store->leases[i].id == id)
			return &store->leases[i];
	}
	return NULL;
}

/* Present and within its time; a lease may outlive its deadline while its expiry cannot be written.
 */
static struct lease *lease_find_alive(const struct sqlite_store *store, uint64_t id)
{
	struct lease *lease = lease_find(store, id);
	return lease && clock_now_ms(store->clock) < lease->deadline_ms ? lease : NULL;
}

static int lease_gone(uint64_t id, struct error *err)
{
	return error_set(err, -FL_ENOTFOUND, "store: lease %llu is not alive",
			 (unsigned long long)id);
}

static int txn_compare(struct sqlite_store *store, const struct store_txn *txn,
		       struct store_txn_outcome *outcome, struct error *err)
{
	for (size_t i = 0; i < txn->compare_count; i++) {
		const struct store_compare *compare = &txn->compares[i];
		struct present present = {0};
		int result = present_find(store, compare->key, &present, err);
		if (result < 0)
			return result;
		if (present.mod_revision == compare->mod_revision)
			continue;
		outcome->failed_compare = i;
		outcome->failed_mod_revision = present.mod_revision;
		return error_set(err, -FL_ECONFLICT, "store: %s is at revision %llu, not %llu",
				 compare->key, (unsigned long long)present.mod_revision,
				 (unsigned long long)compare->mod_revision);
	}
	return 0;
}

static int record_add(struct sqlite_store *store, const struct store_op *op, uint64_t revision,
		      uint64_t create_revision, struct error *err)
{
	sqlite3_stmt *add = sqlite_file_statement(&store->file, STATEMENT_RECORD_ADD);
	bind_text(add, 1, op->key);
	bind_number(add, 2, revision);
	bind_number(add, 3, create_revision);
	bind_number(add, 4, op->lease);
	bind_number(add, 5, op->kind == STORE_DELETE);
	/* A null pointer would bind NULL, and an empty value is not NULL. */
	(void)sqlite3_bind_blob64(add, 6, op->value_length ? op->value : "", op->value_length,
				  SQLITE_STATIC);
	return sqlite_file_run(&store->file, add, err);
}

/* Does one op as part of `revision`; sets `*changed` if it changed anything. */
static int txn_op(struct sqlite_store *store, const struct store_op *op, uint64_t revision,
		  bool *changed, struct error *err)
{
	struct present present = {0};
	int result = present_find(store, op->key, &present, err);
	if (result < 0)
		return result;
	if (op->kind == STORE_DELETE && present.mod_revision == 0)
		return 0;
	if (op->lease && !lease_find_alive(store, op->lease))
		return lease_gone(op->lease, err);
	uint64_t create_revision = present.mod_revision ? present.create_revision : revision;
	*changed = true;
	return record_add(store, op, revision, op->kind == STORE_DELETE ? 0 : create_revision, err);
}

static int revision_set(struct sqlite_store *store, uint64_t revision, struct error *err)
{
	sqlite3_stmt *set = sqlite_file_statement(&store->file, STATEMENT_STATE_SET_REVISION);
	bind_number(set, 1, revision);
	return sqlite_file_run(&store->file, set, err);
}

/* What a txn asks for, so that an id that is used for something else is noticed. */
static int txn_digest(const struct store_txn *txn, struct digest *ret_digest, struct error *err)
{
	struct buffer bytes;
	buffer_init(&bytes, 0);
	for (size_t i = 0; i < txn->compare_count; i++)
		buffer_printf(&bytes, "compare %s %llu\n", txn->compares[i].key,
			      (unsigned long long)txn->compares[i].mod_revision);
	for (size_t i = 0; i < txn->op_count; i++) {
		const struct store_op *op = &txn->ops[i];
		struct digest value;
		char hex[DIGEST_HEX_BYTES];
		digest_of(op->value_length ? op->value : "", op->value_length, &value);
		hex_encode(value.bytes, sizeof(value.bytes), hex);
		buffer_printf(&bytes, "op %d %s %s %llu\n", (int)op->kind, op->key, hex,
			      (unsigned long long)op->lease);
	}
	int result = bytes.status;
	if (result == 0)
		digest_of(bytes.length ? bytes.data : "", bytes.length, ret_digest);
	buffer_done(&bytes);
	return result < 0 ? no_memory(err) : 0;
}

/* Looks the id up; sets `outcome->repeated` if an earlier call succeeded. */
static int outcome_find(struct sqlite_store *store, const char *id, const struct digest *digest,
			struct store_txn_outcome *outcome, struct error *err)
{
	sqlite3_stmt *row = sqlite_file_statement(&store->file, STATEMENT_OUTCOME_FIND);
	bind_text(row, 1, id);
	int result = 0;
	int status = sqlite3_step(row);
	if (status == SQLITE_ROW) {
		const void *before = sqlite3_column_blob(row, 1);
		if (!before || sqlite3_column_bytes(row, 1) != DIGEST_BYTES ||
		    memcmp(before, digest->bytes, DIGEST_BYTES) != 0)
			result = error_set(err, -FL_EINVALID,
					   "store: the txn id %s was used for another txn", id);
		outcome->revision = column_number(row, 0);
		outcome->repeated = true;
	} else if (status != SQLITE_DONE) {
		result = sqlite_file_error(&store->file, status, err);
	}
	sqlite3_reset(row);
	return result;
}

static int outcome_remember(struct sqlite_store *store, const char *id, const struct digest *digest,
			    uint64_t revision, struct error *err)
{
	sqlite3_stmt *add = sqlite_file_statement(&store->file, STATEMENT_OUTCOME_ADD);
	bind_text(add, 1, id);
	bind_number(add, 2, revision);
	(void)sqlite3_bind_blob(add, 3, digest->bytes, DIGEST_BYTES, SQLITE_STATIC);
	int result = sqlite_file_run(&store->file, add, err);
	if (result < 0)
		return result;
	sqlite3_int64 number = sqlite3_last_insert_rowid(store->file.db);
	sqlite3_stmt *forget = sqlite_file_statement(&store->file, STATEMENT_OUTCOME_FORGET);
	(void)sqlite3_bind_int64(forget, 1, number - OUTCOMES_KEPT);
	return sqlite_file_run(&store->file, forget, err);
}

/* Everything of a txn between BEGIN and COMMIT. `digest` is NULL when it has no id. */
static int txn_steps(struct sqlite_store *store, const struct store_txn *txn,
		     const struct digest *digest, struct store_txn_outcome *outcome,
		     struct error *err)
{
	int result = txn->id ? outcome_find(store, txn->id, digest, outcome, err) : 0;
	if (result < 0 || outcome->repeated)
		return result;
	result = txn_compare(store, txn, outcome, err);
	bool changed = false;
	for (size_t i = 0; result == 0 && i < txn->op_count; i++)
		result = txn_op(store, &txn->ops[i], store->revision + 1, &changed, err);
	if (result < 0)
		return result;

	outcome->revision = store->revision + (changed ? 1 : 0);
	if (changed)
		result = revision_set(store, outcome->revision, err);
	if (result == 0 && txn->id)
		result = outcome_remember(store, txn->id, digest, outcome->revision, err);
	return result;
}

static int txn_do(struct sqlite_store *store, const struct store_txn *txn,
		  struct store_txn_outcome *outcome, struct error *err)
{
	outcome->revision = store->revision;
	struct digest digest;
	int result = txn->id ? txn_digest(txn, &digest, err) : 0;
	if (result < 0)
		return result;
	result = sqlite_file_begin(&store->file, err);
	if (result < 0)
		return result;
	result = txn_steps(store, txn, txn->id ? &digest : NULL, outcome, err);
	result = sqlite_file_end(&store->file, result, err);
	if (result == 0 && !outcome->repeated)
		store->revision = outcome->revision;
	return result;
}

static void txn_run(struct request *request, struct sqlite_store *store, bool cancelled)
{
	struct error err;
	struct store_txn_outcome outcome = {0};
	int result =
	    cancelled ? cancelled_error(&err) : txn_do(store, &request->txn, &outcome, &err);
	bool has_outcome = result == 0 || result == -FL_ECONFLICT;
	request->txn_done(request->context, result, result < 0 ? &err : NULL,
			  has_outcome ? &outcome : NULL);
}

static bool txn_copy(const struct store_txn *txn, struct arena *arena, struct store_txn *ret_txn)
{
	struct store_compare *compares = arena_array(arena, txn->compare_count, sizeof(*compares));
	struct store_op *ops = arena_array(arena, txn->op_count, sizeof(*ops));
	char *id = txn->id ? arena_strdup(arena, txn->id) : NULL;
	if (!compares || !ops || (txn->id && !id))
		return false;
	for (size_t i = 0; i < txn->compare_count; i++) {
		compares[i] = txn->compares[i];
		compares[i].key = arena_strdup(arena, txn->compares[i].key);
		if (!compares[i].key)
			return false;
	}
	for (size_t i = 0; i < txn->op_count; i++) {
		const struct store_op *op = &txn->ops[i];
		ops[i] = *op;
		ops[i].key = arena_strdup(arena, op->key);
		ops[i].value =
		    arena_strndup(arena, op->value_length ? op->value : "", op->value_length);
		if (!ops[i].key || !ops[i].value)
			return false;
	}
	*ret_txn = (struct store_txn){.compares = compares,
				      .compare_count = txn->compare_count,
				      .ops = ops,
				      .op_count = txn->op_count,
				      .id = id};
	return true;
}

static int sqlite_txn(struct store *base, const struct store_txn *txn, store_txn_fn *done,
		      void *context, struct error *err)
{
	struct sqlite_store *store = sqlite_of(base);
	struct request *request = request_new(store);
	if (!request)
		return cannot_queue(store, err);
	request->run = txn_run;
	request->context = context;
	request->txn_done = done;
	if (!txn_copy(txn, &request->arena, &request->txn)) {
		request_free(request);
		return no_memory(err);
	}
	request_queue(store, request);
	return 0;
}

/* --- lease ------------------------------------------------------------------------------------ */

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
	bind_number(add, 1, id);
	bind_number(add, 2, ttl_ms);
	result = sqlite_file_run(&store->file, add, err);
	if (result == 0) {
		sqlite3_stmt *set =
		    sqlite_file_statement(&store->file, STATEMENT_STATE_SET_LAST_LEASE);
		bind_number(set, 1, id);
		result = sqlite_file_run(&store->file, set, err);
	}
	result = sqlite_file_end(&store->file, result, err);
	if (result < 0)
		return result;
	store->last_lease = id;
	store->leases[store->lease_count++] = (struct lease){
	    .id = id, .ttl_ms = ttl_ms, .deadline_ms = clock_now_ms(store->clock) + ttl_ms};
	*ret_lease = id;
	return 0;
}

static int lease_drop_steps(struct sqlite_store *store, uint64_t id, uint64_t *revision,
			    struct error *err)
{
	sqlite3_stmt *delete_keys =
	    sqlite_file_statement(&store->file, STATEMENT_LEASE_DELETE_KEYS);
	bind_number(delete_keys, 1, id);
	bind_number(delete_keys, 2, *revision + 1);
	int result = sqlite_file_run(&store->file, delete_keys, err);
	if (result == 0 && sqlite3_changes(store->file.db) > 0) {
		++*revision;
		result = revision_set(store, *revision, err);
	}
	if (result < 0)
		return result;
	sqlite3_stmt *remove = sqlite_file_statement(&store->file, STATEMENT_LEASE_REMOVE);
	bind_number(remove, 1, id);
	return sqlite_file_run(&store->file, remove, err);
}

/* Ends a lease: deletes its keys and forgets it. */
static int lease_drop(struct sqlite_store *store, struct lease *lease, struct error *err)
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

/*
 * Nobody waits for an expiry, so a failure (a full disk, say) is not reported but tried again
 * later; until then the lease counts as dead for puts and keep-alives.
 */
static void leases_expire(struct sqlite_store *store)
{
	uint64_t now_ms = clock_now_ms(store->clock);
	if (now_ms < store->expiry_retry_ms)
		return;
	for (size_t i = 0; i < store->lease_count;) {
		struct lease *lease = &store->leases[i];
		if (now_ms < lease->deadline_ms) {
			i++;
		} else if (lease_drop(store, lease, NULL) < 0) {
			store->expiry_retry_ms = now_ms + EXPIRY_RETRY_MS;
			return;
		}
	}
}

static void lease_finish(const struct request *request, int result, const struct error *err,
			 uint64_t lease, uint64_t ttl_ms)
{
	bool failed = result < 0;
	request->lease_done(request->context, result, failed ? err : NULL, failed ? 0 : lease,
			    failed ? 0 : ttl_ms);
}

static void lease_grant_run(struct request *request, struct sqlite_store *store, bool cancelled)
{
	struct error err;
	uint64_t lease = 0;
	int result =
	    cancelled ? cancelled_error(&err) : lease_grant(store, request->ttl_ms, &lease, &err);
	lease_finish(request, result, &err, lease, request->ttl_ms);
}

static void lease_keep_alive_run(struct request *request, struct sqlite_store *store,
				 bool cancelled)
{
	struct error err;
	struct lease *lease = cancelled ? NULL : lease_find_alive(store, request->lease);
	if (lease) {
		lease->deadline_ms = clock_now_ms(store->clock) + lease->ttl_ms;
		lease_finish(request, 0, NULL, lease->id, lease->ttl_ms);
		return;
	}
	int result = cancelled ? cancelled_error(&err) : lease_gone(request->lease, &err);
	lease_finish(request, result, &err, 0, 0);
}

static void lease_revoke_run(struct request *request, struct sqlite_store *store, bool cancelled)
{
	struct error err;
	struct lease *lease = cancelled ? NULL : lease_find_alive(store, request->lease);
	int result = 0;
	if (cancelled)
		result = cancelled_error(&err);
	else if (!lease)
		result = lease_gone(request->lease, &err);
	else
		result = lease_drop(store, lease, &err);
	lease_finish(request, result, &err, request->lease, 0);
}

static int lease_request(struct store *base,
			 void (*run)(struct request *, struct sqlite_store *, bool), uint64_t lease,
			 uint64_t ttl_ms, store_lease_fn *done, void *context, struct error *err)
{
	struct sqlite_store *store = sqlite_of(base);
	struct request *request = request_new(store);
	if (!request)
		return cannot_queue(store, err);
	request->run = run;
	request->context = context;
	request->lease = lease;
	request->ttl_ms = ttl_ms;
	request->lease_done = done;
	request_queue(store, request);
	return 0;
}

static int sqlite_lease_grant(struct store *base, uint64_t ttl_ms, store_lease_fn *done,
			      void *context, struct error *err)
{
	return lease_request(base, lease_grant_run, 0, ttl_ms, done, context, err);
}

static int sqlite_lease_keep_alive(struct store *base, uint64_t lease, store_lease_fn *done,
				   void *context, struct error *err)
{
	return lease_request(base, lease_keep_alive_run, lease, 0, done, context, err);
}

static int sqlite_lease_revoke(struct store *base, uint64_t lease, store_lease_fn *done,
			       void *context, struct error *err)
{
	return lease_request(base, lease_revoke_run, lease, 0, done, context, err);
}

/* --- watch ------------------------------------------------------------------------------------ */

/* The events of one revision, gathered row by row. */
struct batch {
	struct arena arena;
	struct store_event *events;
	size_t count;
	size_t capacity;
	uint64_t revision;
};

static void batch_clear(struct batch *batch)
{
	arena_done(&batch->arena);
	batch->count = 0;
}

static bool batch_add(struct batch *batch, sqlite3_stmt *row)
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
	if (!record_copy(row, &batch->arena, &event.record))
		return false;
	batch->events[batch->count++] = event;
	batch->revision = event.record.mod_revision;
	return true;
}

/* The callback may cancel the watch, start others and queue calls: none of them runs SQL now. */
static void batch_tell(struct batch *batch, struct sqlite_watch *watch)
{
	if (batch->count && !watch->cancelled)
		watch->on_events(watch->context, 0, NULL, batch->revision, batch->events,
				 batch->count);
	batch_clear(batch);
}

static int watch_tell_rows(struct sqlite_store *store, struct sqlite_watch *watch,
			   sqlite3_stmt *rows, struct batch *batch, struct error *err)
{
	while (!watch->cancelled) {
		int status = sqlite3_step(rows);
		if (status != SQLITE_ROW && status != SQLITE_DONE)
			return sqlite_file_error(&store->file, status, err);
		bool next = status == SQLITE_DONE || column_number(rows, 3) != batch->revision;
		if (next)
			batch_tell(batch, watch);
		if (status == SQLITE_DONE)
			return 0;
		if (!batch_add(batch, rows))
			return no_memory(err);
	}
	return 0;
}

/* Tell of the changes up to and with revision `to`. */
static int watch_tell_to(struct sqlite_store *store, struct sqlite_watch *watch, uint64_t to,
			 struct error *err)
{
	if (watch->next_revision <= store->compacted)
		return error_set(err, -FL_ECOMPACTED,
				 "store: a watch asks for revision %llu, but history begins after "
				 "%llu; read everything again",
				 (unsigned long long)watch->next_revision,
				 (unsigned long long)store->compacted);
	struct batch batch = {0};
	arena_init(&batch.arena, 0);
	sqlite3_stmt *rows = sqlite_file_statement(&store->file, STATEMENT_EVENTS);
	bind_number(rows, 1, watch->next_revision);
	bind_number(rows, 2, to);
	bind_text(rows, 3, watch->prefix);
	bind_text(rows, 4, watch->prefix_end);
	int result = watch_tell_rows(store, watch, rows, &batch, err);
	sqlite3_reset(rows);
	batch_clear(&batch);
	free(batch.events);
	if (result == 0)
		watch->next_revision = to + 1;
	return result;
}

static void watch_tell(struct sqlite_store *store, struct sqlite_watch *watch)
{
	if (watch->over || watch->cancelled || watch->next_revision > store->revision)
		return;
	uint64_t to = store->revision;
	if (to - watch->next_revision >= WATCH_BURST)
		to = watch->next_revision + WATCH_BURST - 1;
	struct error err;
	int result = watch_tell_to(store, watch, to, &err);
	if (result == 0) {
		if (to < store->revision)
			arm(store);
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

static void watches_tell(struct sqlite_store *store)
{
	/* New watches go to the front, so this ends. */
	for (struct sqlite_watch *watch = store->watches; watch; watch = watch->next)
		watch_tell(store, watch);
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

static int sqlite_watch(struct store *base, const char *prefix, uint64_t from_revision,
			store_watch_fn *on_events, void *context, struct store_watch **ret_watch,
			struct error *err)
{
	struct sqlite_store *store = sqlite_of(base);
	struct sqlite_watch *watch = store->closing ? NULL : calloc(1, sizeof(*watch));
	if (!watch)
		return cannot_queue(store, err);
	watch->base.store = base;
	watch->on_events = on_events;
	watch->context = context;
	watch->next_revision = from_revision ? from_revision : store->revision + 1;
	watch->prefix = strdup(prefix);
	if (asprintf(&watch->prefix_end, "%s%c", prefix, AFTER_ANY_KEY) < 0)
		watch->prefix_end = NULL;
	if (!watch->prefix || !watch->prefix_end) {
		watch_free(watch);
		return no_memory(err);
	}
	watch->next = store->watches;
	store->watches = watch;
	if (watch->next_revision <= store->revision)
		arm(store);
	*ret_watch = &watch->base;
	return 0;
}

static void sqlite_watch_cancel(struct store_watch *base)
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
		bind_number(step, 1, store->compacted);
		bind_number(step, 2, target);
		result = sqlite_file_run(&store->file, step, NULL);
	}
	if (result == 0) {
		sqlite3_stmt *set =
		    sqlite_file_statement(&store->file, STATEMENT_STATE_SET_COMPACTED);
		bind_number(set, 1, target);
		result = sqlite_file_run(&store->file, set, NULL);
	}
	return sqlite_file_end(&store->file, result, NULL);
}

/*
 * Once per `history_revisions`, so that each change pays for a constant share. A failure is not an
 * error of anybody's call: the file grows a little and the next dispatch tries again.
 */
static void compact(struct sqlite_store *store)
{
	uint64_t target = compaction_target(store);
	if (target < store->compacted + store->history_revisions)
		return;
	if (compact_to(store, target) == 0)
		store->compacted = target;
}

/* --- running ---------------------------------------------------------------------------------- */

static int sqlite_fd(const struct store *base)
{
	return ((const struct sqlite_store *)base)->event_fd;
}

static int sqlite_timeout_ms(const struct store *base)
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

static struct request *queue_take(struct sqlite_store *store)
{
	struct request *first = store->first_request;
	store->first_request = NULL;
	store->last_request = &store->first_request;
	return first;
}

static void queue_run(struct sqlite_store *store, struct request *queue, bool cancelled)
{
	while (queue) {
		struct request *request = queue;
		queue = request->next;
		request->run(request, store, cancelled);
		request_free(request);
	}
}

static void sqlite_dispatch(struct store *base)
{
	struct sqlite_store *store = sqlite_of(base);
	ASSERT(!store->dispatching);
	store->dispatching = true;
	eventfd_t count;
	(void)eventfd_read(store->event_fd, &count);
	leases_expire(store);
	queue_run(store, queue_take(store), false);
	watches_tell(store);
	watches_sweep(store);
	compact(store);
	store->dispatching = false;
}

static void sqlite_close(struct store *base)
{
	struct sqlite_store *store = sqlite_of(base);
	ASSERT(!store->dispatching);
	store->dispatching = true;
	store->closing = true;
	queue_run(store, queue_take(store), true);
	while (store->watches) {
		struct sqlite_watch *watch = store->watches;
		store->watches = watch->next;
		watch_free(watch);
	}
	sqlite_file_close(&store->file);
	if (store->event_fd >= 0)
		close(store->event_fd);
	free(store->leases);
	free(store);
}

static const struct store_engine sqlite_engine = {
    .range = sqlite_range,
    .txn = sqlite_txn,
    .watch = sqlite_watch,
    .watch_cancel = sqlite_watch_cancel,
    .lease_grant = sqlite_lease_grant,
    .lease_keep_alive = sqlite_lease_keep_alive,
    .lease_revoke = sqlite_lease_revoke,
    .fd = sqlite_fd,
    .timeout_ms = sqlite_timeout_ms,
    .dispatch = sqlite_dispatch,
    .close = sqlite_close,
};

static int state_load(struct sqlite_store *store, struct error *err)
{
	sqlite3_stmt *row = sqlite_file_statement(&store->file, STATEMENT_STATE_READ);
	int status = sqlite3_step(row);
	if (status == SQLITE_ROW) {
		store->revision = column_number(row, 0);
		store->compacted = column_number(row, 1);
		store->last_lease = column_number(row, 2);
	}
	sqlite3_reset(row);
	if (status == SQLITE_DONE)
		return sqlite_file_error(&store->file, SQLITE_CORRUPT, err);
	return status == SQLITE_ROW ? 0 : sqlite_file_error(&store->file, status, err);
}

/* No time has passed for a lease while nobody could keep it alive. */
static int leases_load(struct sqlite_store *store, struct error *err)
{
	store->leases = calloc(STORE_LEASES, sizeof(*store->leases));
	if (!store->leases)
		return no_memory(err);
	uint64_t now_ms = clock_now_ms(store->clock);
	sqlite3_stmt *row = sqlite_file_statement(&store->file, STATEMENT_LEASE_ALL);
	int status = sqlite3_step(row);
	for (; status == SQLITE_ROW && store->lease_count < STORE_LEASES;
	     status = sqlite3_step(row)) {
		uint64_t ttl_ms = column_number(row, 1);
		store->leases[store->lease_count++] = (struct lease){
		    .id = column_number(row, 0), .ttl_ms = ttl_ms, .deadline_ms = now_ms + ttl_ms};
	}
	sqlite3_reset(row);
	if (status == SQLITE_ROW)
		return sqlite_file_error(&store->file, SQLITE_CORRUPT, err);
	return status == SQLITE_DONE ? 0 : sqlite_file_error(&store->file, status, err);
}

int store_open_sqlite(const struct store_sqlite_options *options, struct store **ret_store,
		      struct error *err)
{
	struct sqlite_store *store = calloc(1, sizeof(*store));
	if (!store)
		return no_memory(err);
	store->base.engine = &sqlite_engine;
	store->file.lock_fd = -1;
	store->clock = options->clock;
	store->history_revisions =
	    options->history_revisions ? options->history_revisions : HISTORY_REVISIONS;
	store->last_request = &store->first_request;
	store->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int result = 0;
	if (store->event_fd < 0)
		result =
		    error_set(err, -errno, "store: cannot make an eventfd: %s", strerror(errno));
	if (result == 0)
		result = sqlite_file_open(options->folder, &store->file, err);
	if (result == 0)
		result = state_load(store, err);
	if (result == 0)
		result = leases_load(store, err);
	if (result < 0) {
		sqlite_close(&store->base);
		return result;
	}
	*ret_store = &store->base;
	return 0;
}
