/* SPDX-License-Identifier: Apache-2.0 */
/* From a version's seed to the key words of pick algorithm 2. Pure; any thread. */
#ifndef FAIRLEAD_DATAPLANE_PICK_KEY_H
#define FAIRLEAD_DATAPLANE_PICK_KEY_H

#include "abi/pick.h"

#include <stdbool.h>
#include <stdint.h>

#define PICK_SEED_BYTES 16

/*
 * The words are SHA-256 of "fairlead pick 2", the seed and the number of the block, so that none of
 * them tells anything of another. `by_source`: neither the ports nor the lower half of an IPv6
 * address count, by words of 0.
 */
void pick_key_expand(const uint8_t seed[PICK_SEED_BYTES], bool by_source, struct pick_key *ret_key,
		     struct pick_key6 *ret_key6);

#endif
