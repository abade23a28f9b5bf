/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a counter grows: by how much within the present window of time or the one before, so that
 * an alarm stands from the first growth until a whole window has passed without. Pure.
 */
#ifndef FAIRLEAD_BASE_GROWTH_H
#define FAIRLEAD_BASE_GROWTH_H

#include <stdbool.h>
#include <stdint.h>

#define GROWTH_WINDOW_MS 10000u

struct growth { /* all zero at first */
	bool known;
	uint64_t began_ms; /* of the present window */
	uint64_t base; /* the value then */
	uint64_t before; /* growth in the window before */
};

/* A counter that begins anew, as when its owner did, has not grown. `now_ms` only goes forward. */
uint64_t growth_look(struct growth *growth, uint64_t now_ms, uint64_t value);

#endif
