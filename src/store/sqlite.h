/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the embedded engine share: its state, the queue of calls, and what one part
 * needs of another. Private to src/store.
 *
 *   sqlite.c        opening, the queue, dispatch, closing
 *   sqlite_range.c  reading
 *   sqlite_txn.c    compare, then set
 *   sqlite_lease.c  grant, keep alive, revoke, expire
 *   sqlite_watch.c  telling of changes, and compacting what nobody is still to be told
 *   sqlite_import.c taking in what another store holds
 *   sqlite_copy.c   a copy of the file on disk, and one in memory
 *   sqlite_file.c   the file, its lock, its schema and statements
 *
 * `id`, `revision` and `compacted` mirror the file's rows and move only after a commit, so a change
 * that failed leaves no trace in memory either.
 */
#ifndef FAIRLEAD_STORE_SQLITE_H
#define FAIRLEAD_STORE_SQLITE_H

#include "base/arena.h"
#include "store/engine.h"
#include "store/sqlite_file.h"

struct sqlite_store;

/* Keys are printable ASCII, so all that begin with a prefix lie before the prefix and this byte. */
#define AFTER_ANY_KEY 0x7f

struct sqlite_request {
	struct sqlite_request *next;
	struct arena arena; /* the copied arguments, then the results */
	/* Does the work and calls the completion; `cancelled` means the store is closing. */
	void (*run)(struct sqlite_request *request, struct sqlite_store *store, bool cancelled);
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
		struct {
			struct store_import import;
			store_import_fn *import_done;
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

struct sqlite_lease {
	uint64_t id;
	uint64_t ttl_ms;
	uint64_t deadline_ms;
};

struct sqlite_store {
	struct store base;
	struct sqlite_file file;
	const struct clock *clock;
	char *why; /* owned; it cannot be changed, for this reason; NULL: it can */
	uint64_t history_revisions;
	struct store_id id;
	uint64_t revision;
	uint64_t compacted; /* changes up to this revision may be gone */
	uint64_t last_lease;
	uint64_t expiry_retry_ms; /* after a failed expiry, not before this */
	struct sqlite_lease *leases; /* room for STORE_LEASES */
	size_t lease_count;
	struct sqlite_request *first_request;
	struct sqlite_request **last_request;
	struct sqlite_watch *watches;
	int event_fd;
	bool dispatching;
	bool closing;
};

static inline struct sqlite_store *sqlite_of(struct store *store)
{
	return (struct sqlite_store *)store;
}

/* --- sqlite.c --------------------------------------------------------------------------------- */

/* Make the descriptor readable: another dispatch is owed. */
void sqlite_arm(struct sqlite_store *store);

/* NULL when the call cannot be queued; sqlite_cannot_queue() says why. */
struct sqlite_request *sqlite_request_new(const struct sqlite_store *store);
/* Only of a request that was not queued; NULL is fine. */
void sqlite_request_free(struct sqlite_request *request);
/* Hands the request over to the queue, which runs and frees it. */
void sqlite_request_queue(struct sqlite_store *store, struct sqlite_request *request);

/* The sentences that several calls need; each sets `err` and returns its code. */
int sqlite_no_memory(struct error *err);
int sqlite_cannot_queue(const struct sqlite_store *store, struct error *err);
int sqlite_cancelled(struct error *err);

/* 0, or -FL_ESTATE with the reason for which the store cannot be changed. */
must_check int sqlite_check_writable(const struct sqlite_store *store, struct error *err);

/*
 * The rest of opening, once options and file are in place: the file's rows, and its leases, which a
 * store that cannot be changed has no use for. `store` is moved in any case.
 */
must_check int sqlite_load(struct sqlite_store *store, struct store **ret_store, struct error *err);
/* With a descriptor, an empty queue and no file yet; NULL without memory for it. */
struct sqlite_store *sqlite_store_new(const struct clock *clock);
void sqlite_close(struct store *base);

/* Writes the state row's revision, within the caller's transaction. */
must_check int sqlite_revision_set(struct sqlite_store *store, uint64_t revision,
				   struct error *err);

/* --- sqlite_range.c --------------------------------------------------------------------------- */

int sqlite_range(struct store *base, const struct store_range *range, store_range_fn *done,
		 void *context, struct error *err);

/*
 * Copies the record at the cursor of RANGE or EVENTS, which select key, value, create_revision,
 * mod_revision and lease in this order. False when out of memory.
 */
bool sqlite_record_copy(sqlite3_stmt *row, struct arena *arena, struct store_record *ret_record);

/* --- sqlite_txn.c ----------------------------------------------------------------------------- */

int sqlite_txn(struct store *base, const struct store_txn *txn, store_txn_fn *done, void *context,
	       struct error *err);

/* --- sqlite_lease.c --------------------------------------------------------------------------- */

int sqlite_lease_grant(struct store *base, uint64_t ttl_ms, store_lease_fn *done, void *context,
		       struct error *err);
int sqlite_lease_keep_alive(struct store *base, uint64_t lease, store_lease_fn *done, void *context,
			    struct error *err);
int sqlite_lease_revoke(struct store *base, uint64_t lease, store_lease_fn *done, void *context,
			struct error *err);

/* The file's leases; no time has passed for one while nobody could keep it alive. */
must_check int sqlite_leases_load(struct sqlite_store *store, struct error *err);

/*
 * Present and within its time, or NULL, for which sqlite_lease_gone() is the sentence: a lease may
 * outlive its deadline while its expiry cannot be written.
 */
struct sqlite_lease *sqlite_lease_find_alive(const struct sqlite_store *store, uint64_t id);
int sqlite_lease_gone(uint64_t id, struct error *err);

/*
 * Nobody waits for an expiry, so a failure (a full disk, say) is not reported but tried again
 * later; until then the lease counts as dead for puts and keep-alives.
 */
void sqlite_leases_expire(struct sqlite_store *store);

/* Until the next expiry: the only thing that is ever due by time alone. */
int sqlite_timeout_ms(const struct store *base);

/* --- sqlite_watch.c --------------------------------------------------------------------------- */

int sqlite_watch(struct store *base, const char *prefix, uint64_t from_revision,
		 store_watch_fn *on_events, void *context, struct store_watch **ret_watch,
		 struct error *err);
void sqlite_watch_cancel(struct store_watch *base);

/* Tells each watch of what it has not been told yet, then frees those that were cancelled. */
void sqlite_watches_tell(struct sqlite_store *store);
/* Frees them all and tells nobody. */
void sqlite_watches_drop(struct sqlite_store *store);

/*
 * Once per `history_revisions`, so that each change pays for a constant share. A failure is not an
 * error of anybody's call: the file grows a little and the next dispatch tries again.
 */
void sqlite_compact(struct sqlite_store *store);

#endif
