/* SPDX-License-Identifier: Apache-2.0 */
#include "model/placement.h"

#include <string.h>

#define DAY_MS 86400000u

static uint32_t name_find(const char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (!strcmp(names[i], name))
			return (uint32_t)i;
	}
	return UINT32_MAX;
}

uint32_t placement_site(const struct placement *placement, const char *site)
{
	return name_find(placement->sites, placement->site_count, site);
}

uint32_t placement_service(const struct placement *placement, const char *name)
{
	return name_find(placement->services, placement->service_count, name);
}

struct ip_address placement_address(const struct placement *placement,
				    const struct binding *binding, const char *site)
{
	uint32_t number = placement_site(placement, site);
	if (number == UINT32_MAX || binding->pool >= placement->pool_count)
		return (struct ip_address){.family = IP_NONE};
	const struct pool *pool = &placement->pools[binding->pool].pool;
	if (number >= pool_site_count(pool))
		return (struct ip_address){.family = IP_NONE};
	return pool_address(pool, number, binding->slot);
}

uint32_t pool_rollouts_per_day(const struct pool *pool, size_t services, uint64_t stale_ms,
			       uint64_t quiet_ms)
{
	uint64_t held_ms = stale_ms + quiet_ms;
	if (!services || !held_ms)
		return UINT32_MAX;
	uint64_t slots =
	    pool->slots_per_service ? pool->slots_per_service : pool_usable_slots(pool) / services;
	if (slots < 2)
		return 0;
	/* One slot serves; each of the others can drain one old version at a time. */
	uint64_t rollouts = (slots - 1) * DAY_MS / held_ms;
	return rollouts < UINT32_MAX ? (uint32_t)rollouts : UINT32_MAX;
}

uint8_t placement_held_pools(const struct service_state *const *states, size_t state_count)
{
	uint8_t held = 0;
	for (size_t i = 0; i < state_count; i++) {
		for (size_t j = 0; j < states[i]->binding_count; j++)
			held |= (uint8_t)(1u << states[i]->bindings[j].pool);
	}
	return held;
}

bool placement_is_burned(const struct placement *placement, uint8_t pool, uint32_t slot)
{
	const struct placement_recovery *recovery = &placement->recovery;
	for (size_t i = 0; i < recovery->address_count; i++) {
		uint32_t site;
		uint32_t burned;
		if (pool_locate(&placement->pools[pool].pool, &recovery->addresses[i], &site,
				&burned) &&
		    burned == slot)
			return true;
	}
	return false;
}

uint64_t placement_number_after(const struct placement *placement, uint64_t next, uint64_t given)
{
	return given < placement->recovery.sequence ? next + placement->recovery.numbers : next;
}

int placement_free(struct placement *placement, const struct binding *binding, uint32_t service,
		   uint64_t sequence, uint64_t wall_ms, struct arena *arena)
{
	struct placed_slot freed = {.pool = binding->pool,
				    .slot = binding->slot,
				    .service = service,
				    .free_wall_ms = wall_ms,
				    .sequence = sequence,
				    .binding_number = binding->number};
	size_t count = placement->used_slot_count;
	struct placed_slot *slots = arena_array(arena, count + 1, sizeof(slots[0]));
	if (!slots)
		return -ENOMEM;
	if (count)
		memcpy(slots, placement->used_slots, count * sizeof(slots[0]));
	size_t at = 0;
	while (at < count && (slots[at].pool != freed.pool || slots[at].slot != freed.slot))
		at++;
	slots[at] = freed;
	placement->used_slots = slots;
	placement->used_slot_count = at < count ? count : count + 1;
	return 0;
}
