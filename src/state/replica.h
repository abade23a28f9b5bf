/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replica: a node's own durable copy of the fabric's state, the only one that it acts by. Every
 * start takes the same path: open the replica, load the image from it, publish, answer; then take
 * in what is newer. What differs is only whether the replica can be changed, and where it stands.
 *
 * It is FOLDER/store.db, opened for changes. Where that cannot be (the disk is full or takes
 * nothing), its content is read into memory without a trace. Where it cannot be read either
 * (damaged, missing), or where the program ended uncleanly REPLICA_CRASHES times in a row soon
 * after starting on it, the last good copy is, FOLDER/replica.good, with which the daemon ran well
 * for a while. A replica in memory takes no change and says why; no file is touched, since each may
 * be evidence.
 *
 * A replica stands at its node's *mark* when it has the newest ledger entry that the node
 * acknowledged (mark.h), or that a copy beside the store has, if that is a newer one; or when a
 * recovery went on without that entry (recovery.h). One that does not is older than what the node
 * does, or has another history: nothing of it is published over maps that forward, and orders are
 * refused. A start writes the newer one of the two marks into the file, since maps end with the
 * machine's power.
 */
#ifndef FAIRLEAD_STATE_REPLICA_H
#define FAIRLEAD_STATE_REPLICA_H

#include "base/clock.h"
#include "ledger/ledger.h"
#include "state/copies.h"
#include "state/crashes.h"
#include "state/image.h"
#include "state/mark.h"
#include "store/store.h"

#include <stdbool.h>
#include <sys/stat.h>

#define REPLICA_CRASHES 3u
#define REPLICA_TIMEOUT_MS 30000 /* for one call of the store */

struct replica_options {
	const char *folder;
	const char *node;
	const struct clock *clock;
	const struct disk *disk;
	struct mark_note pinned; /* the mark that the pinned maps hold */
	bool follows; /* changes are decided elsewhere: what is missing here is filled from there */
	/* May be NULL; called as soon as the store is held, before it is read. */
	void (*owned)(void *context);
	void *context;
};

enum replica_kind {
	REPLICA_STORE, /* the file, open for changes */
	REPLICA_READ, /* the file's content in memory */
	REPLICA_GOOD, /* the last good copy's */
	REPLICA_NOTHING, /* there is neither, though this node had one: an empty store */
};

enum replica_standing {
	REPLICA_CURRENT, /* at the mark, or beyond it */
	REPLICA_OLDER, /* it ends before the mark */
	REPLICA_FORKED, /* the mark's entry is another one here */
};

struct replica {
	enum replica_kind kind;
	enum replica_standing standing;
	struct store *store; /* owned by who opened */
	struct ledger_signer *signer; /* likewise; NULL unless it can be changed */
	struct crashes crashes;
	bool crashed; /* the last good copy is used for that reason */
	struct mark mark; /* in the file */
	struct ledger_position acknowledged; /* the newer one of that and the pinned maps' */
	bool has_peers; /* by the same */
	/* "" or a sentence: what is wrong, and what to do. */
	char why[1400]; /* it cannot be changed */
	char awaits[1000]; /* others may have more: fabric/standing.h */
	char behind[1000]; /* it is not current */
	char refusal[1900]; /* orders are refused: the first of these that there is */
	/* The store's file as it was when it could not be used: has somebody done something? */
	struct stat file;
	int fault; /* the code of why */
};

/*
 * Counts the start, opens, and loads `ret_image`; on failure both are left closed and empty, and
 * the start does not count. -EBUSY (another daemon's), -FL_ESTATE (another node's state) and all
 * that store_open_sqlite() and image_load() return, if nothing can stand in either.
 */
must_check int replica_open(const struct replica_options *options, struct replica *ret_replica,
			    struct image *ret_image, struct error *err);

/* May orders be taken by it? */
static inline bool replica_is_writable(const struct replica *replica)
{
	return replica->kind == REPLICA_STORE && replica->standing == REPLICA_CURRENT &&
	       !*replica->awaits;
}

/*
 * The replica took in what was decided elsewhere, which `image` shows: does it have the
 * marked entry by now? After each revision, and after image_load() read everything anew; the latter
 * blocks, and fails as ledger_range() does.
 */
void replica_moved(struct replica *replica, const struct image *image);
must_check int replica_judge(struct replica *replica, const struct image *image, struct error *err);

/* Nothing is to be decided by it for now, and why; "": it may. True when that was not so before. */
bool replica_await(struct replica *replica, const char *why);

/* A peer remembers that this node acknowledged the entry. The replica may lack it then. Durable as
 * an acknowledgement is; one that is older than what is known changes nothing. */
must_check int replica_learn(struct replica *replica, const struct image *image,
			     const struct ledger_position *position, struct error *err);

/* The maps forward by something, of which the replica knows nothing and nobody kept a mark. */
void replica_set_behind_maps(struct replica *replica);

/* Durably, before it is told: the entry is acknowledged, or decided. The pinned maps must hold it
 * too, which is the caller's to do. */
must_check int replica_acknowledge(struct replica *replica, const struct mark_note *note,
				   struct error *err);

/*
 * Might the store be used again, which could not? Cheap unless something changed: then it opens
 * and reads it. The caller starts anew if so.
 */
bool replica_may_return(const struct replica *replica, const struct replica_options *options);

/* A good copy is there: what a release before this one kept in its place has had its day. */
void replica_remove_former(const char *folder);

/* "store", "read-only store", "last good copy", "nothing". */
const char *replica_kind_name(enum replica_kind kind);

#endif
