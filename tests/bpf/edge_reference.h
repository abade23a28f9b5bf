/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge once more, in plain C over a byte array and written from docs/design/dataplane.md: what
 * shall happen to any frame at all in the world that is published. Of the program it shares the
 * numbers of the drop reasons and nothing else, not even the hash.
 */
#ifndef FAIRLEAD_TESTS_EDGE_REFERENCE_H
#define FAIRLEAD_TESTS_EDGE_REFERENCE_H

#include "edge_world.h"

#define REFERENCE_NO_BINDING WORLD_BINDINGS

struct reference {
	uint32_t verdict; /* XDP_… */
	unsigned reason; /* of a drop, else 0 */
	struct frame out; /* unless it is dropped */
	size_t
	    binding; /* whose counters move: its place in world.bindings, or REFERENCE_NO_BINDING */
	struct edge_counters counts; /* by how much they move */
};

void reference_judge(const struct world *world, const struct frame *frame,
		     struct reference *ret_judgement);

/* SipHash-1-3 of `length` bytes under a key of 16 bytes. */
uint64_t reference_hash(const uint8_t *key, const uint8_t *bytes, size_t length);

#endif
