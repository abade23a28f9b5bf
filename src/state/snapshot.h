/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshot: the part of the store that a node needs to forward and to answer, as it was at one
 * revision, in one file.
 *
 * The file, numbers in network byte order:
 *   "fairlead snapshot 1\n"
 *   u32 length, NODE, 0         whose it is
 *   u64 revision, u64 sequence  of the store, and of the ledger's last entry then
 *   u64 wall_ms                 when it was taken; for people
 *   for each record, by rising keys:
 *     u32 length, KEY, 0, u32 length, VALUE, 0, u64 create_revision, u64 mod_revision
 *   u32 0
 *   SHA-256 of all that stands before it
 *
 * There is one way to write a given content, and a reader refuses any other. Acks are not in it:
 * what an earlier process applied says nothing about what the next one holds. Of the ledger it has
 * the head only.
 *
 * Nothing here logs. Any thread, one at a time for each object.
 */
#ifndef FAIRLEAD_STATE_SNAPSHOT_H
#define FAIRLEAD_STATE_SNAPSHOT_H

#include "base/buffer.h"
#include "base/digest.h"
#include "base/disk.h"
#include "base/error.h"
#include "store/store.h"

#define SNAPSHOT_NODE_BYTES 64u
#define SNAPSHOT_MAX_BYTES (256u << 20)

/* What of the store is in a snapshot, by rising keys. */
struct snapshot_part {
	const char *key;
	bool prefix; /* all keys that begin so */
};

#define SNAPSHOT_PARTS 9
extern const struct snapshot_part snapshot_parts[SNAPSHOT_PARTS];

struct snapshot_head {
	char node[SNAPSHOT_NODE_BYTES];
	uint64_t revision;
	uint64_t sequence;
	uint64_t wall_ms;
};

/* --- writing ---------------------------------------------------------------------------------- */

/* A record's bytes. */
void snapshot_put_record(const struct store_record *record, struct buffer *bytes);

/* The file before is kept until the commit. Each fails with a sentence that names the file, and
 * the writer is over then. */
struct snapshot_writer {
	struct disk_draft draft;
	struct digest_stream stream;
	size_t length;
};

must_check int snapshot_writer_begin(struct snapshot_writer *writer, const struct disk *disk,
				     const char *path, const struct snapshot_head *head,
				     struct error *err);
/* Bytes of snapshot_put_record(), of any number of records. */
must_check int snapshot_writer_add(struct snapshot_writer *writer, const void *bytes, size_t length,
				   struct error *err);
must_check int snapshot_writer_commit(struct snapshot_writer *writer, struct error *err);
void snapshot_writer_abandon(struct snapshot_writer *writer);

/* --- reading ---------------------------------------------------------------------------------- */

struct snapshot {
	struct snapshot_head head;
	struct store_record *records; /* owned; by rising keys; texts lie in `bytes` */
	size_t count;
	struct buffer bytes;
};

/* -ENOENT, -FL_ECORRUPT, -FL_ELIMIT, -EIO …, each with a sentence. */
must_check int snapshot_read(const struct disk *disk, const char *path,
			     struct snapshot *ret_snapshot, struct error *err);

/* The same from memory, which is moved in any case; `path` is for the sentence. */
must_check int snapshot_parse(const char *path, struct buffer *bytes, struct snapshot *ret_snapshot,
			      struct error *err);

/* Safe on a zeroed one. */
void snapshot_done(struct snapshot *snapshot);

/* NULL when there is none. */
const struct store_record *snapshot_find(const struct snapshot *snapshot, const char *key);

/* --- a store made of it ----------------------------------------------------------------------- */

/*
 * A store that shows the snapshot (moved in any case) and takes no change: a txn is -FL_ESTATE
 * with the sentence `why`, and nothing changed. Only acks are taken, and kept in memory: they say
 * what this process does, and no other reads them. What a snapshot does not have, such as the
 * ledger's entries, cannot be read: -FL_ESTATE likewise.
 */
must_check int store_open_frozen(struct snapshot *snapshot, const char *why,
				 struct store **ret_store, struct error *err);

#endif
