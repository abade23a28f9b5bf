/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Origin: what a start takes its state from. That is the store, unless
 *
 * - it cannot be used (damaged, missing, on a disk that is full, read-only or broken): then the
 *   newest snapshot, or the last good one if that is damaged too;
 * - the program crashed ORIGIN_CRASHES times in a row soon after starting on a state that is newer
 *   than the last good snapshot: then that one.
 *
 * From a snapshot nothing is changed, neither on disk nor in the fabric: the node forwards and
 * answers, refuses orders, and says why. It is a store like any other to the rest of the daemon
 * (store_open_frozen()).
 *
 * FOLDER/snapshot is the newest one, FOLDER/snapshot.good the last that the daemon ran well with;
 * daemon/snapshots.h writes them.
 */
#ifndef FAIRLEAD_DAEMON_ORIGIN_H
#define FAIRLEAD_DAEMON_ORIGIN_H

#include "base/clock.h"
#include "daemon/crashes.h"
#include "ledger/ledger.h"
#include "state/image.h"
#include "store/store.h"

#include <stdbool.h>
#include <sys/stat.h>

#define ORIGIN_CRASHES 3u
#define ORIGIN_NEWEST "snapshot"
#define ORIGIN_GOOD "snapshot.good"
#define ORIGIN_TIMEOUT_MS 30000 /* for one call of the store */

enum origin_kind {
	ORIGIN_STORE,
	ORIGIN_SNAPSHOT, /* the store cannot be used */
	ORIGIN_LAST_GOOD, /* what is newer crashed */
};

struct origin_options {
	const char *folder;
	const char *node;
	const struct clock *clock;
	const struct disk *disk;
	/* May be NULL; called as soon as the store is held, before it is read. */
	void (*owned)(void *context);
	void *context;
};

struct origin {
	enum origin_kind kind;
	struct store *store; /* owned by who opened */
	struct ledger_signer *signer; /* likewise; NULL unless the kind is ORIGIN_STORE */
	struct crashes crashes;
	char why[1900]; /* why it is not the store, and what to do; "" when it is */
	/* The store's file as it was when it could not be used: has somebody done something? */
	struct stat file;
	int fault; /* the code of why */
};

/*
 * Counts the start, opens, and loads `ret_image`; on failure both are left closed and empty, and
 * the start does not count. -EBUSY (another daemon's), -FL_ESTATE (another node's state) and all
 * that store_open_sqlite() and image_load() return, if no snapshot can stand in either.
 */
must_check int origin_open(const struct origin_options *options, struct origin *ret_origin,
			   struct image *ret_image, struct error *err);

/*
 * Might the store be used again, which could not? Cheap unless something changed: then it opens
 * and reads it. The caller starts anew if so.
 */
bool origin_may_return(const struct origin *origin, const struct origin_options *options);

/* "store", "snapshot", "last good snapshot". */
const char *origin_name(enum origin_kind kind);

#endif
