/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies: the files beside a node's store that hold an earlier state of it whole, and may hold a
 * newer one when an older store was put back. They are looked at without a trace, and one can take
 * the store's place while nobody has it open.
 */
#ifndef FAIRLEAD_STATE_COPIES_H
#define FAIRLEAD_STATE_COPIES_H

#include "base/disk.h"
#include "base/error.h"
#include "ledger/ledger.h"

#include <limits.h>
#include <stdbool.h>

#define COPY_GOOD_FILE "replica.good" /* the daemon ran well with it for a while */
#define COPY_PROVING_FILE "replica.proving" /* it may yet */

/* By rising usefulness; ends with NULL. */
extern const char *const copy_names[];

/* The newest ledger entry that the file names; nothing else of it is looked at. -ENOENT. */
must_check int copy_head(const char *folder, const char *name, struct ledger_position *ret_head);

/* Does a store's ledger hold the entry? True also for sequence 0. Blocks; fails as ledger_range()
 * does. */
must_check int copy_has_entry(struct store *store, const struct ledger_position *position,
			      bool *ret_has, struct error *err);

struct copy_verdict {
	struct ledger_position head;
	bool has_mark; /* entry and hash lie in its ledger; true also for one with sequence 0 */
	bool has_state;
};

/* Reads the whole file: is it sound, and are the two positions in its ledger? Blocks. */
must_check int copy_judge(const char *folder, const char *name, const struct ledger_position *mark,
			  const struct ledger_position *state, struct copy_verdict *ret_verdict,
			  struct error *err);

/*
 * The copy's content becomes the store; what was the store is kept as `store.db.aside-STAMP`. After
 * a power loss at any step the one or the other is the store, or there is none, which a start takes
 * for a lost one. The copy stays. Nobody may have the store open.
 */
must_check int copy_take_place(const char *folder, const struct disk *disk, const char *name,
			       uint64_t stamp, struct error *err);

#endif
