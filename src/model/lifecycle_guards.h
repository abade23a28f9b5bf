/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guards of the tables in lifecycle.h: what is in the way of a move, and whether a barrier
 * stands. Private to src/model; everything here only reads.
 */
#ifndef FAIRLEAD_MODEL_LIFECYCLE_GUARDS_H
#define FAIRLEAD_MODEL_LIFECYCLE_GUARDS_H

#include "model/lifecycle_wait.h"

/* What one call of lifecycle_next() works on. */
struct next_step {
	const struct service_state *state;
	const struct service_observation *seen;
	struct arena *arena;
	struct transition *transitions;
	int count;
	int status;
};

/* How the barrier of an address, or of a version with all its addresses, stands. */
enum barrier {
	BARRIER_WAITS,
	BARRIER_PROVEN,
	BARRIER_IN_USE,
	BARRIER_OVERDUE, /* neither proven nor in use for as long as clients may be refused */
};

/* A wall clock may go back; then no time has passed. */
uint64_t guard_since(const struct next_step *step, uint64_t wall_ms);

bool guard_slot_is_wanted(const struct next_step *step, uint8_t pool);
bool guard_pool_is_leaving(const struct next_step *step, uint8_t pool);

/* Is no connection counted at the address, and with UDP ports no packet seen for `quiet`? Known,
 * not merely not heard of. */
bool guard_is_unused(const struct next_step *step, const struct binding_observation *seen);

bool guard_is_overdue(const struct next_step *step, uint64_t changed_wall_ms);
bool guard_has_address(const struct service_state *state, uint32_t version);

enum barrier guard_binding(const struct next_step *step, size_t index);
enum barrier guard_version(const struct next_step *step, const struct version_status *version);

/* What is in the way of the next move of a version that is no closing one. */
struct version_waits guard_move(const struct next_step *step, size_t index);

#endif
