/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landing's decapsulation once more, in plain C and written from docs/design/landing.md: what shall
 * happen to any frame at all on a machine with the addresses below. Of the program it shares the
 * numbers of the drop reasons and nothing else.
 */
#ifndef FAIRLEAD_TESTS_LANDING_REFERENCE_H
#define FAIRLEAD_TESTS_LANDING_REFERENCE_H

#include "abi/drop.h"
#include "frame.h"

/* The machine's own addresses, its edges, and its pools: text of both families. */
#define LANDING_WORLD_EACH 4
extern const char *const landing_own[LANDING_WORLD_EACH];
extern const char *const landing_edges[LANDING_WORLD_EACH];
extern const char *const landing_pools[LANDING_WORLD_EACH];

/* Where frames for the machine come to. */
extern const uint8_t landing_link[6];

/* Parse the texts above; once, before the rest. */
void landing_reference_init(void);

enum landing_outcome {
	LANDING_PASSED, /* untouched */
	LANDING_ACCEPTED, /* taken out of its tunnel */
	LANDING_DROPPED,
};

struct landing_reference {
	enum landing_outcome outcome;
	unsigned reason; /* of a drop, else 0 */
	bool outer_v6, inner_v6; /* of what is accepted */
	struct frame out; /* unless it is dropped */
};

/* Whether the address at `bytes` lies in one of the pools. */
bool landing_in_pools(const uint8_t *bytes, bool v6);

void landing_judge(const struct frame *frame, struct landing_reference *ret_judgement);

#endif
