/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames for landing, at random but with the structure that it looks at: tunnels of every pair of
 * families, options and extension headers, fragments, congestion marks, edges and strangers,
 * addresses in and out of the pools. All follows from the random source.
 */
#ifndef FAIRLEAD_TESTS_LANDING_FRAMES_H
#define FAIRLEAD_TESTS_LANDING_FRAMES_H

#include "base/random.h"
#include "landing_reference.h"

/* A new frame; most are right in every respect, so that they get far. */
void landing_frames_make(struct random *random, struct frame *ret_frame);

/* Change something of a frame: a byte, a length, or a cut. */
void landing_frames_damage(struct random *random, struct frame *frame);

#endif
