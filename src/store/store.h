/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Store: the fabric's shared state, as keys and values under one revision counter.
 *
 * Every engine keeps the same promises, and tests/unit/store_contract.c holds it to them:
 * - Each txn that changes something gets the next revision; revisions start at 1, never repeat and
 *   have no gaps. A record carries the revision that created it and the one that changed it last.
 * - A txn is all or nothing, also across kill -9 and power loss: what was acknowledged is kept.
 * - A watch sees every change under its prefix once, in order of revision, and all changes of one
 *   revision together.
 * - A key that hangs on a lease is deleted when the lease expires or is revoked.
 *
 * Everything is asynchronous, so that an engine may live across a network. A call copies what it is
 * given, queues it and returns; its completion, and every watch event, is delivered by
 * store_dispatch() and by nothing else. Poll store_fd() for reading with store_timeout_ms() as the
 * timeout, and dispatch when either fires. A callback may make any call of this header but
 * store_dispatch(), store_wait() and store_close(). What a callback is given is borrowed until it
 * returns. Two calls in flight may take effect in either order; who needs an order waits.
 *
 * A call that returns non-zero queued nothing and its completion is never called. Every other
 * completion is called exactly once, at the latest by store_close() with -ECANCELED.
 *
 * One thread owns a store and makes all calls. Nothing here logs.
 */
#ifndef FAIRLEAD_STORE_STORE_H
#define FAIRLEAD_STORE_STORE_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct clock;
struct disk;
struct store;

/*
 * Limits; over them a call returns -FL_ELIMIT. etcd takes 1.5 MiB for a whole request with its
 * framing and 128 ops of each kind, and two engines must not differ in what they take.
 */
#define STORE_KEY_BYTES 512u /* of printable ASCII without the space; not empty */
#define STORE_VALUE_BYTES 1048576u /* 1 MiB */
#define STORE_TXN_BYTES 1556480u /* 1520 KiB: all keys and values together */
#define STORE_TXN_OPS 128u
#define STORE_TXN_COMPARES 128u
#define STORE_TXN_ID_BYTES 64u
#define STORE_PAGE_RECORDS 1000u /* of one page at most */
#define STORE_PAGE_BYTES 8388608u /* of one page at most: 8 MiB */
#define STORE_LEASES 4096u /* alive at once; more is -FL_EEXHAUSTED */
#define STORE_LEASE_TTL_MAX_MS 86400000u /* a day */

struct store_record {
	const char *key;
	const char *value; /* any bytes; a NUL that does not count follows them */
	size_t value_length;
	uint64_t create_revision;
	uint64_t mod_revision;
	uint64_t lease; /* 0: none */
};

/*
 * Where a result says "unknown", the call may or may not have taken effect: -EIO,
 * -FL_EUNAVAILABLE and -ECANCELED. Any other negative result means that nothing changed.
 * `err` holds the sentence, and is NULL when `result` is 0.
 */

/* --- range: read one key, or a page of those under a prefix, in the order of their bytes ------ */

struct store_range {
	const char *key; /* the key, or the prefix; "" with `prefix` means all */
	bool prefix;
	const char
	    *after; /* leave out keys up to and with this one: the last key of a page, or NULL */
	size_t limit; /* records; 0 means STORE_PAGE_RECORDS, which also bounds it */
	uint64_t revision; /* what was true at this revision; 0 means now */
};

struct store_page {
	const struct store_record *records;
	size_t count;
	bool more; /* the limit cut the page short: go on with `after` and the same `revision` */
	uint64_t revision; /* that of the store, or the one asked for */
};

typedef void store_range_fn(void *context, int result, const struct error *err,
			    const struct store_page *page);

/*
 * A key that is not there gives an empty page, not an error. Results: -FL_ECOMPACTED (the history
 * no longer reaches back to `revision`), -FL_EINVALID (a revision of the future).
 */
must_check int store_range(struct store *store, const struct store_range *range,
			   store_range_fn *done, void *context, struct error *err);

/* --- txn: compare, then set ------------------------------------------------------------------- */

struct store_compare {
	const char *key;
	uint64_t mod_revision; /* must be the key's; 0: the key must be absent */
};

enum store_op_kind { STORE_PUT, STORE_DELETE };

struct store_op {
	enum store_op_kind kind;
	const char *key; /* each key at most once in a txn */
	const void *value; /* STORE_PUT only */
	size_t value_length;
	uint64_t lease; /* STORE_PUT: the key lives as long as this lease; 0: for good */
};

struct store_txn {
	const struct store_compare *compares;
	size_t compare_count;
	const struct store_op *ops;
	size_t op_count;
	/*
	 * Idempotency key: printable, chosen at random by the caller; NULL for none. While it is
	 * remembered (for the last few thousand txns at least), the txn takes effect at most once:
	 * a retry after a lost reply returns the first success, with `repeated` set. A refusal
	 * changed nothing, is not remembered, and is judged anew. The same id with other contents
	 * is -FL_EINVALID.
	 */
	const char *id;
};

struct store_txn_outcome {
	uint64_t revision; /* that the txn made; the store's if it changed nothing */
	bool repeated; /* an earlier call with this id did it */
	/* With -FL_ECONFLICT only: the first compare that failed, and the key's mod_revision now.
	 */
	size_t failed_compare;
	uint64_t failed_mod_revision;
};

/* `outcome` is NULL unless `result` is 0 or -FL_ECONFLICT. */
typedef void store_txn_fn(void *context, int result, const struct error *err,
			  const struct store_txn_outcome *outcome);

/*
 * All compares must hold, then all ops are done. Deleting an absent key does nothing; a txn that
 * changes nothing makes no revision. Results: -FL_ECONFLICT (a compare failed), -FL_ENOTFOUND
 * (a put names a lease that is not alive), -ENOSPC, -EROFS, -EIO (unknown), -FL_ECORRUPT.
 */
must_check int store_txn(struct store *store, const struct store_txn *txn, store_txn_fn *done,
			 void *context, struct error *err);

/* --- watch ------------------------------------------------------------------------------------ */

struct store_watch;

struct store_event {
	enum store_op_kind kind;
	/* After STORE_DELETE: `key` and `mod_revision` (of the deletion); the rest is empty. */
	struct store_record record;
};

/*
 * All events of one revision, in the order of the txn's ops. With `result` < 0 there are none and
 * none will follow: -FL_ECOMPACTED means that changes may have been missed, so read everything
 * again with store_range() and watch from there.
 */
typedef void store_watch_fn(void *context, int result, const struct error *err, uint64_t revision,
			    const struct store_event *events, size_t count);

/*
 * `from_revision`: the first to tell of. To miss nothing, pass that of a store_page plus 1; 0 means
 * whatever comes after this call. A watch that has ended by an error is still to be cancelled.
 */
must_check int store_watch(struct store *store, const char *prefix, uint64_t from_revision,
			   store_watch_fn *on_events, void *context, struct store_watch **ret_watch,
			   struct error *err);

/* No callback comes after this. May be called from the watch's own callback; NULL is fine. */
void store_watch_cancel(struct store_watch *watch);

/* --- lease ------------------------------------------------------------------------------------ */

/* Done with `lease` (not 0, never used again) and its time to live as granted. */
typedef void store_lease_fn(void *context, int result, const struct error *err, uint64_t lease,
			    uint64_t ttl_ms);

/*
 * A lease lives for `ttl_ms` (1…STORE_LEASE_TTL_MAX_MS) after its grant or its last keep-alive, by
 * the clock the store was opened with. When a store is opened again, each lease starts anew with
 * its full time. An engine may round `ttl_ms` up to whole seconds.
 */
must_check int store_lease_grant(struct store *store, uint64_t ttl_ms, store_lease_fn *done,
				 void *context, struct error *err);
/* Result -FL_ENOTFOUND: it has expired, and its keys are gone. */
must_check int store_lease_keep_alive(struct store *store, uint64_t lease, store_lease_fn *done,
				      void *context, struct error *err);
/* Delete its keys, in one revision, and the lease. -FL_ENOTFOUND as above. */
must_check int store_lease_revoke(struct store *store, uint64_t lease, store_lease_fn *done,
				  void *context, struct error *err);

/* --- whose history ---------------------------------------------------------------------------- */

/*
 * Names the history whose revisions a store counts, at random when it began: (id, revision) means
 * the same content wherever it is kept.
 */
struct store_id {
	uint8_t bytes[16];
};

/*
 * All zero while it is not known: an engine across a network learns it when it first hears from the
 * other side. When another id takes its place, every watch ends with -FL_ECOMPACTED.
 */
struct store_id store_id(const struct store *store);
bool store_id_is_known(const struct store_id *id);
bool store_id_equal(const struct store_id *a, const struct store_id *b);

/* --- running ---------------------------------------------------------------------------------- */

/* Readable when store_dispatch() has something to do. Owned by the store; the same for its life. */
int store_fd(const struct store *store);

/* Milliseconds until store_dispatch() is due by time alone: 0 now, -1 never. */
int store_timeout_ms(const struct store *store);

/*
 * Do what is due: complete calls, expire leases, tell watches. Work that callbacks add waits for
 * the next call, so this always returns.
 */
void store_dispatch(struct store *store);

/*
 * Block: poll and dispatch until `*done`, for start-up, commands and tests. -ETIMEDOUT after
 * `timeout_ms` of the machine's clock.
 */
must_check int store_wait(struct store *store, const bool *done, int timeout_ms, struct error *err);

/* Completes what is outstanding with -ECANCELED, drops all watches. NULL is fine. */
void store_close(struct store *store);

/* --- the embedded engine ---------------------------------------------------------------------- */

struct store_sqlite_options {
	const char *folder; /* the state folder; made with mode 0700 if it is not there */
	const struct clock *clock; /* borrowed until store_close() */
	uint64_t history_revisions; /* kept for watches and old ranges at least; 0: the default */
};

/*
 * Opens or makes `folder`/store.db: one node, one file (SQLite), nothing to set up. Blocks: it
 * checks the whole file. Errors, each with a sentence: -EBUSY (another process has it open; names
 * the process), -FL_ECORRUPT (fails its check), -FL_EUNSUPPORTED (written by a newer Fairlead),
 * -EACCES, -EROFS, -ENOSPC, -EIO, -ENOMEM.
 */
must_check int store_open_sqlite(const struct store_sqlite_options *options,
				 struct store **ret_store, struct error *err);

struct store_copy_options {
	/* Of a store.db, or of what store_sqlite_copy() wrote; NULL for an empty store. */
	const char *path;
	const struct clock *clock; /* borrowed until store_close() */
	const char *why; /* copied: the sentence of every call that would change something */
};

/*
 * Opens the file's content as a store in memory, at its revision. Nothing on disk is made, changed,
 * locked or held open, so this works on a disk that is full or read-only. The store can be read
 * and watched; whatever would change it is -FL_ESTATE with the sentence `why`. Blocks and fails as
 * store_open_sqlite() does; -ENOENT when there is no such file.
 */
must_check int store_open_copy(const struct store_copy_options *options, struct store **ret_store,
			       struct error *err);

/*
 * The present value of one key of such a file, without a trace and without checking or reading the
 * rest of it. -FL_ENOTFOUND when the key is not there; fails as store_open_copy() does.
 */
struct buffer;
must_check int store_copy_peek(const char *path, const char *key, struct buffer *ret_value,
			       struct error *err);

/*
 * Writes what `folder`/store.db holds, at one revision, to `path`, through `disk`: a database of
 * its own that can be put in the store's place. It is durable, and read back whole, when this
 * returns 0; after a failure or a power loss `path` holds what was there before, the new one, or
 * nothing if it did not exist. Blocks for as long as that takes. Any thread may call it, also while
 * another one has the store open and changes it.
 */
must_check int store_sqlite_copy(const char *folder, const struct disk *disk, const char *path,
				 struct error *err);

/*
 * What another store holds, for a replica of it: with the authority's own revision numbers, so that
 * a replica is a verbatim copy of a part of its history.
 */
struct store_import {
	struct store_id authority; /* the id that the replica then has */
	uint64_t revision; /* up to which it is imported */
	/* Changes after the replica's revision, up to and with `revision`, by rising mod_revisions;
	 * with `replace`: all records that are alive at `revision`. */
	const struct store_event *events;
	size_t count;
	bool replace; /* forget everything else, history and txn ids too */
};

typedef void store_import_fn(void *context, int result, const struct error *err);

/*
 * Takes it in, all of it or nothing, in one durable step; watches of the replica are told of the
 * revisions after that, or end with -FL_ECOMPACTED after a replacement. `store` is one of
 * store_open_sqlite(), and takes no txn from anybody else. What `import` points to is borrowed
 * until `done`. Results: those of a txn, and -FL_EINVALID for an import that does not continue what
 * the replica holds (another id, revisions that do not rise).
 */
must_check int store_sqlite_import(struct store *store, const struct store_import *import,
				   store_import_fn *done, void *context, struct error *err);

#endif
