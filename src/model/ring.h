/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ring: a version's table at one site. Each of `length` entries names a backend as an ordinal into
 * the version's backend list; abi/pick.h says how a hash picks one: in proportion, so the place of
 * a hash scales with the ring's length. What a version carries is its base ring. What edges forward
 * by is the effective one, in which the entries of dead and unhealthy backends are refilled.
 *
 * Apportionment is exact: backend i owns floor or ceil of length * weight_i / sum of weights
 * entries (largest remainder, ties to the lower ordinal). Movement is minimal: built from a
 * previous ring, an entry keeps its backend whenever that backend is still there and still owed an
 * entry, so the number of entries that change is the least the new weights allow.
 *
 * Pure; any thread.
 */
#ifndef FAIRLEAD_MODEL_RING_H
#define FAIRLEAD_MODEL_RING_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RING_KEY_BYTES 16
#define RING_PAGE_ENTRIES 4096u
#define RING_MAX_ENTRIES 65536u
#define RING_NONE 0xffffu

struct ring {
	uint32_t length; /* a power of two, RING_PAGE_ENTRIES…RING_MAX_ENTRIES */
	uint16_t *entries; /* borrowed from the version's arena */
};

/* Entries a ring needs so that no backend's share is off by more than 1 % of itself where the
 * weights allow, within the limits above. */
uint32_t ring_length_for(const uint32_t *weights, size_t count);

/*
 * Fill `ring->entries`, whose storage the caller provides, with `ring->length` entries for `count`
 * backends of `weights` (sum > 0). `previous` may be NULL; `carried[i]` says
 * which new ordinal the previous ring's backend i has now, RING_NONE if it is gone. A previous ring
 * of another length is read at the proportional place. `key` (the version's seed) settles which
 * entries move, so that nobody can foresee them.
 * -FL_EINVALID when the weights sum to zero or there are more than MODEL_MAX_BACKENDS; -ENOMEM.
 * Entries of `previous` must be below `carried_count` or count as gone.
 */
must_check int ring_build(const uint32_t *weights, size_t count, const uint8_t key[RING_KEY_BYTES],
			  const struct ring *previous, const uint16_t *carried,
			  size_t carried_count, struct ring *ring);

/*
 * The effective ring of `base`: its entries, with those of ejected backends refilled. `ejected[i]`
 * says whether ordinal i is ejected, for each ordinal that `base` names; `ret_entries` takes
 * base->length ordinals. Returns how many entries were refilled.
 *
 * It is a function of the set alone: in whatever order backends were ejected, and on whatever
 * machine, the ring is the same. An entry whose own backend is not ejected never changes, and a
 * refilled one changes again only when the backend that it got is ejected, too. As long as one
 * backend of the ring is left, every entry names one that is left; if none is, the effective ring
 * is the base ring (PROTOCOL.md rule 20, serve-all).
 *
 * The rule belongs to pick algorithm 2 and never changes: an entry walks the base ring's places
 * place = (start + i * step) mod length, i = 0, 1, …, until the backend there is not ejected. The
 * step is odd and the length a power of two, so the walk meets each place once before it meets one
 * twice. Start and step are drawn by SipHash-2-4 from the entry's number, under a key derived from
 * `key` (the version's seed). So each entry has a walk of its own, and what one dead backend leaves
 * goes to the others as independent draws by weight. One walk for all entries would do that for one
 * death only: after many, the entries that lie between two live places would all go to the second
 * of them.
 *
 * A walk takes length / live entries steps on average: 4,096 entries of 1,000 backends with one of
 * them ejected take some microseconds, with all but one of them ejected some milliseconds.
 */
uint32_t ring_effective(const struct ring *base, const uint8_t key[RING_KEY_BYTES],
			const bool *ejected, uint16_t *ret_entries);

/* Entries whose backend differs, `carried` as above; for `plan` and the tests. */
uint32_t ring_moved(const struct ring *previous, const uint16_t *carried, size_t carried_count,
		    const struct ring *ring);

#endif
