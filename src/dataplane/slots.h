/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slots: which entries of a map are in use. A retired entry rests for EDGE_GRACE_MS before it is
 * given out again, because a packet that looked it up may still be reading it. A packet's stay in
 * the program is microseconds; the grace is longer by five orders of magnitude. Pure; no map here.
 */
#ifndef FAIRLEAD_DATAPLANE_SLOTS_H
#define FAIRLEAD_DATAPLANE_SLOTS_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct slots {
	uint64_t *states; /* owned */
	uint32_t first; /* entries below are never given out */
	uint32_t count;
	uint32_t cursor; /* where the next search starts */
};

must_check int slots_init(struct slots *slots, uint32_t first, uint32_t count);
void slots_done(struct slots *slots);
/* Add free entries until there are `count`, which is no fewer than now. */
must_check int slots_grow(struct slots *slots, uint32_t count);
/* How many entries are free at this moment, at rest ones not counted. */
uint32_t slots_free(const struct slots *slots, uint64_t now_ms);

/*
 * Take `run` entries in a row; they are in use from now on. -FL_EEXHAUSTED if there is no such
 * run; `ret_resting` (NULL is fine) then says whether one comes free by mere waiting.
 */
must_check int slots_take(struct slots *slots, uint32_t run, uint64_t now_ms, uint32_t *ret_first,
			  bool *ret_resting);

bool slots_used(const struct slots *slots, uint32_t entry);

/* Give the entries, which must be in use, back to rest. */
void slots_retire(struct slots *slots, uint32_t first, uint32_t run, uint64_t now_ms);

#endif
