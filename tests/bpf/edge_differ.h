/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One frame through the program and through its reference: the verdict, the whole frame that comes
 * out, every counter of every bound address and of every drop reason must be the same. The program
 * runs with its headroom full of 0xff, so that a byte that it does not write shows.
 */
#ifndef FAIRLEAD_TESTS_EDGE_DIFFER_H
#define FAIRLEAD_TESTS_EDGE_DIFFER_H

#include "edge_reference.h"

#include <stdio.h>

/* What has been counted since the start, by each of the two. */
struct tally {
	uint64_t drops[DROP_REASONS];
	struct edge_counters counters[WORLD_BINDINGS];
};

struct differ {
	struct world world;
	struct tally expected;
	uint64_t frames;
	uint64_t verdicts[5]; /* frames by XDP_… */
};

/* As world_enter() and world_leave(). */
bool differ_enter(struct differ *differ);
void differ_leave(struct differ *differ);

/* Whether both agree on the frame; if not, `report` says in what they do not. */
bool differ_agrees(struct differ *differ, const struct frame *frame, FILE *report);

#endif
