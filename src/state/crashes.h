/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crashes: how often in a row the daemon ended uncleanly soon after its start, kept on disk.
 *
 * The count is written before anything is opened, as if this start had crashed already; an orderly
 * end takes that back, and running well for a while sets it to nothing. So whatever ends a process
 * without a word (a bug, the kernel, a power cut) has been counted before it happens.
 *
 * FOLDER/starts is a line of each "fairlead starts 1", "crashes N", "sequence N" and "program X".
 * One that is missing or malformed counts as none: it is here to help, never to stand in the way.
 * Another program than the one that crashed begins anew: it may be the cure.
 */
#ifndef FAIRLEAD_STATE_CRASHES_H
#define FAIRLEAD_STATE_CRASHES_H

#include "base/disk.h"

#include <limits.h>
#include <stdint.h>

#define CRASHES_PROGRAM_BYTES 64

struct crashes {
	const struct disk *disk;
	char path[PATH_MAX];
	char program[CRASHES_PROGRAM_BYTES]; /* which file this process runs */
	unsigned count; /* before this start */
	uint64_t sequence; /* the ledger entry that the latest of them stood on; 0: not known */
};

/* What earlier starts left. Never fails: what cannot be read is nothing. */
void crashes_read(struct crashes *crashes, const struct disk *disk, const char *folder);

/* Each writes the file. One that fails leaves it as it was: the count is less certain then, and a
 * disk that takes nothing is told of by the store. */

/* This start counts as a crash on `sequence` (0: it is not known yet) until something else is
 * said. */
void crashes_expect(const struct crashes *crashes, uint64_t sequence);
/* It ended in order: what was before it stands again. */
void crashes_take_back(const struct crashes *crashes);
/* It runs well: none. */
void crashes_forget(struct crashes *crashes);

#endif
