/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/slots.h"
#include "dataplane/edge.h"

#include <stdlib.h>
#include <string.h>

/* A state is one of these, or the time since which the entry rests, plus SLOT_RESTING. */
enum { SLOT_FREE = 0, SLOT_USED = 1, SLOT_RESTING = 2 };

int slots_init(struct slots *slots, uint32_t first, uint32_t count)
{
	uint64_t *states = calloc(count, sizeof(*states));
	if (!states)
		return -ENOMEM;
	*slots = (struct slots){.states = states, .first = first, .count = count, .cursor = first};
	return 0;
}

void slots_done(struct slots *slots)
{
	free(slots->states);
	*slots = (struct slots){0};
}

int slots_grow(struct slots *slots, uint32_t count)
{
	ASSERT(count >= slots->count);
	uint64_t *states = realloc(slots->states, count * sizeof(*states));
	if (!states)
		return -ENOMEM;
	memset(states + slots->count, 0, (count - slots->count) * sizeof(*states));
	slots->states = states;
	slots->count = count;
	return 0;
}

static bool is_free(uint64_t state, uint64_t now_ms)
{
	return state == SLOT_FREE ||
	       (state >= SLOT_RESTING && now_ms - (state - SLOT_RESTING) >= EDGE_GRACE_MS);
}

/* The first run in [from, to) whose entries are free, or, with `resting`, free or at rest. */
static uint32_t find_run(const struct slots *slots, uint32_t from, uint32_t to, uint32_t run,
			 uint64_t now_ms, bool resting)
{
	uint32_t length = 0;
	for (uint32_t at = from; at < to; at++) {
		uint64_t state = slots->states[at];
		bool fits = resting ? state != SLOT_USED : is_free(state, now_ms);
		length = fits ? length + 1 : 0;
		if (length == run)
			return at + 1 - run;
	}
	return UINT32_MAX;
}

int slots_take(struct slots *slots, uint32_t run, uint64_t now_ms, uint32_t *ret_first,
	       bool *ret_resting)
{
	ASSERT(run > 0);
	uint32_t first = find_run(slots, slots->cursor, slots->count, run, now_ms, false);
	if (first == UINT32_MAX)
		first = find_run(slots, slots->first, slots->count, run, now_ms, false);
	if (first == UINT32_MAX) {
		if (ret_resting)
			*ret_resting = find_run(slots, slots->first, slots->count, run, now_ms,
						true) != UINT32_MAX;
		return -FL_EEXHAUSTED;
	}
	for (uint32_t i = 0; i < run; i++)
		slots->states[first + i] = SLOT_USED;
	slots->cursor = first + run < slots->count ? first + run : slots->first;
	*ret_first = first;
	return 0;
}

uint32_t slots_free(const struct slots *slots, uint64_t now_ms)
{
	uint32_t count = 0;
	for (uint32_t at = slots->first; at < slots->count; at++)
		count += is_free(slots->states[at], now_ms);
	return count;
}

bool slots_used(const struct slots *slots, uint32_t entry)
{
	return entry < slots->count && slots->states[entry] == SLOT_USED;
}

void slots_retire(struct slots *slots, uint32_t first, uint32_t run, uint64_t now_ms)
{
	for (uint32_t i = 0; i < run; i++) {
		ASSERT(slots_used(slots, first + i));
		slots->states[first + i] = SLOT_RESTING + now_ms;
	}
}
