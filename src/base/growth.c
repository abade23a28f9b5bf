/* SPDX-License-Identifier: Apache-2.0 */
#include "base/growth.h"

uint64_t growth_look(struct growth *growth, uint64_t now_ms, uint64_t value)
{
	if (!growth->known || value < growth->base)
		*growth = (struct growth){.known = true, .began_ms = now_ms, .base = value};
	if (now_ms - growth->began_ms >= GROWTH_WINDOW_MS) {
		growth->before = value - growth->base;
		growth->began_ms = now_ms;
		growth->base = value;
	}
	const uint64_t present = value - growth->base;
	return present > growth->before ? present : growth->before;
}
