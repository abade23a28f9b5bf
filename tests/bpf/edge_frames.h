/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames for the edge, at random but with the structure that it looks at: addresses in and out of
 * the world's pools, ports at the ends of the versions' ranges, options, extension headers,
 * fragments, QUIC, and every length where something changes. All follows from the random source.
 */
#ifndef FAIRLEAD_TESTS_EDGE_FRAMES_H
#define FAIRLEAD_TESTS_EDGE_FRAMES_H

#include "base/random.h"
#include "edge_world.h"

/* The longest frame: with an outer header it still fits struct frame. */
#define FRAMES_MAX (FRAME_BYTES - 40)

/* A new frame; most are right in every respect, so that they get far. */
void frames_make(struct random *random, const struct world *world, struct frame *ret_frame);

/* Change something of a frame: a field, a length, an address, a header more, or a cut. */
void frames_damage(struct random *random, const struct world *world, struct frame *frame);

#endif
