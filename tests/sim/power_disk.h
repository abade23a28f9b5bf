/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulated disk whose power can be cut at any write, sync or change of a name.
 *
 * What was synced is kept. What was not, each sector of 512 bytes for itself, is kept, lost, or
 * was never written (zeros, beyond the old end); names change in the order in which they were
 * changed, up to some point, as a journaling file system keeps them. From the cut on every call
 * fails, until power_disk_restore(). The same seed loses the same.
 *
 * The product sees it as a `struct disk`, and SQLite as its default VFS. One thread.
 */
#ifndef FAIRLEAD_TESTS_POWER_DISK_H
#define FAIRLEAD_TESTS_POWER_DISK_H

#include "base/disk.h"
#include "base/random.h"

#include <stdbool.h>
#include <stdint.h>

#define POWER_DISK_MACHINES 101

/*
 * There may be several machines, each with a disk of its own, whose power goes alone. The functions
 * below are about the machine that was selected last; 0 at first. Files below `folder` (borrowed)
 * are on that machine's disk, and all others on the disk of machine 0.
 */
void power_disk_select(unsigned machine, const char *folder);

/* Begin with an empty disk. `cut_at`: the event (from 1) at which the power goes; 0: it stays. */
void power_disk_reset(uint64_t seed, uint64_t cut_at);
/* The power is back: what the cut left is all there is. The next cut is at `cut_at` from here. */
void power_disk_restore(uint64_t cut_at);
/* The process that uses the disk is killed: every call fails until the disk is restored, and all
 * that was written is kept. */
void power_disk_stop(void);
void power_disk_done(void);

bool power_disk_is_cut(void);
uint64_t power_disk_events(void); /* since the reset or the last restore */

/* Would a power loss now keep all that the files hold whose paths begin with `prefix`? */
bool power_disk_is_synced(const char *prefix);

/* What an operator keeps of a disk, and puts back: files whose paths begin with `prefix`. What is
 * there of those is gone then; what is put back is durable. Nothing may have them open. */
struct power_copy;
struct power_copy *power_disk_copy(const char *prefix);
void power_disk_put_back(const struct power_copy *copy, const char *prefix);
void power_copy_free(struct power_copy *copy);

extern const struct disk power_disk;
/* Make it SQLite's default, for all databases that are opened from now on. */
void power_disk_register(void);

#endif
