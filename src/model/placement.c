/* SPDX-License-Identifier: Apache-2.0 */
#include "model/placement.h"

#include <inttypes.h>
#include <string.h>

#define DAY_MS 86400000u

/* The states that hold slots: borrowed for one call. */
struct holders {
	const struct service_state *const *states;
	size_t count;
};

/* --- reading --- */

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

/* --- slots --- */

/* The slots of a pool that a service may have: `count` from `first`. */
struct block {
	uint32_t first;
	uint32_t count;
};

/*
 * Slot 0 is never given out: at site 0 its address is the pool's own, which for IPv4 many take for
 * a network's and for IPv6 is every router's anycast address (RFC 4291 section 2.6.1). A version
 * that holds it, from before this was so, keeps it.
 */
static struct block service_block(const struct pool *pool, uint32_t service)
{
	uint32_t slots = pool_slot_count(pool);
	uint64_t first = (uint64_t)service * pool->slots_per_service;
	uint64_t end = pool->slots_per_service ? first + pool->slots_per_service : slots;
	if (end > slots)
		return (struct block){0};
	if (first == 0 && end > 0)
		first = 1;
	return (struct block){.first = (uint32_t)first, .count = (uint32_t)(end - first)};
}

/* Slots are looked through a window at a time, so that a pool of a million of them needs neither
 * memory nor a look at every holder for every slot. */
#define WINDOW_SLOTS 4096u

struct window {
	uint32_t first;
	uint8_t taken[WINDOW_SLOTS / 8];
};

static void window_take(struct window *window, uint32_t slot)
{
	uint32_t at = slot - window->first;
	if (slot >= window->first && at < WINDOW_SLOTS)
		window->taken[at / 8] |= (uint8_t)(1u << at % 8);
}

static void window_fill(struct window *window, const struct placement *placement, uint8_t pool,
			const struct holders *holders)
{
	memset(window->taken, 0, sizeof(window->taken));
	for (size_t i = 0; i < holders->count; i++) {
		const struct service_state *state = holders->states[i];
		for (size_t j = 0; j < state->binding_count; j++) {
			if (state->bindings[j].pool == pool)
				window_take(window, state->bindings[j].slot);
		}
	}
	for (size_t i = 0; i < placement->used_slot_count; i++) {
		if (placement->used_slots[i].pool == pool)
			window_take(window, placement->used_slots[i].slot);
	}
}

/* The lowest slot of the block that nobody ever held. */
static bool unused_slot(const struct placement *placement, uint8_t pool, struct block block,
			const struct holders *holders, uint32_t *ret_slot)
{
	struct window window;
	for (uint32_t i = 0; i < block.count; i++) {
		if (i % WINDOW_SLOTS == 0) {
			window.first = block.first + i;
			window_fill(&window, placement, pool, holders);
		}
		uint32_t at = i % WINDOW_SLOTS;
		if (!(window.taken[at / 8] >> at % 8 & 1)) {
			*ret_slot = block.first + i;
			return true;
		}
	}
	return false;
}

static bool slot_is_held(const struct holders *holders, uint8_t pool, uint32_t slot)
{
	for (size_t i = 0; i < holders->count; i++) {
		const struct service_state *state = holders->states[i];
		for (size_t j = 0; j < state->binding_count; j++) {
			if (state->bindings[j].pool == pool && state->bindings[j].slot == slot)
				return true;
		}
	}
	return false;
}

/* Nobody gets a slot before every edge has dropped what it meant; then the service that held it at
 * once, another only after quarantine. */
static bool slot_is_clean(const struct placed_slot *used, uint32_t service,
			  const struct placement_moment *now)
{
	if (used->sequence > now->applied_sequence)
		return false;
	return used->service == service ||
	       (now->wall_ms >= used->free_wall_ms &&
		now->wall_ms - used->free_wall_ms >= now->quarantine_ms);
}

/* Own slots before those of others, then the one that is free for longest. */
static bool slot_is_better(const struct placed_slot *used, const struct placed_slot *best,
			   uint32_t service)
{
	bool is_own = used->service == service, best_is_own = best && best->service == service;
	if (!best || is_own != best_is_own)
		return !best || is_own;
	return used->free_wall_ms < best->free_wall_ms;
}

static const struct placed_slot *reusable_slot(const struct placement *placement, uint8_t pool,
					       struct block block, uint32_t service,
					       const struct holders *holders,
					       const struct placement_moment *now)
{
	const struct placed_slot *best = NULL;
	for (size_t i = 0; i < placement->used_slot_count; i++) {
		const struct placed_slot *used = &placement->used_slots[i];
		if (used->pool != pool || used->slot < block.first ||
		    used->slot - block.first >= block.count)
			continue;
		if (slot_is_clean(used, service, now) && slot_is_better(used, best, service) &&
		    !slot_is_held(holders, pool, used->slot))
			best = used;
	}
	return best;
}

static bool pool_choose(const struct placement *placement, uint8_t pool, uint32_t service,
			const struct holders *holders, const struct placement_moment *now,
			struct binding *ret_binding)
{
	struct block block = service_block(&placement->pools[pool].pool, service);
	uint32_t slot;
	if (unused_slot(placement, pool, block, holders, &slot)) {
		*ret_binding = (struct binding){.pool = pool, .slot = slot, .number = 1};
		return true;
	}
	const struct placed_slot *used =
	    reusable_slot(placement, pool, block, service, holders, now);
	if (!used)
		return false;
	*ret_binding =
	    (struct binding){.pool = pool, .slot = used->slot, .number = used->binding_number + 1};
	return true;
}

/* The family's lowest-numbered pool, or -1. */
static int family_pool(const struct placement *placement, uint8_t family)
{
	for (size_t i = 0; i < placement->pool_count; i++) {
		const struct placed_pool *placed = &placement->pools[i];
		if (!placed->removed && placed->pool.prefix.address.family == family)
			return (int)i;
	}
	return -1;
}

static const uint8_t FAMILIES[PLACEMENT_FAMILIES] = {IP_V4, IP_V6};

/* Whose slot it is most use to wait for: a draining version's before a closing one's and that
 * before any other's, the oldest first. */
static unsigned holder_rank(enum version_state state)
{
	switch (state) {
	case VERSION_DRAINING:
		return 2;
	case VERSION_CLOSING:
		return 1;
	case VERSION_STAGED:
	case VERSION_READY:
	case VERSION_SERVING:
	case VERSION_RETIRED:
		break;
	}
	return 0;
}

static const char *holder_reason(const struct binding *binding, enum version_state state)
{
	if (binding->is_late)
		return "it means that version for clients that still hold an older answer; it is "
		       "reclaimed when no connection uses it";
	switch (state) {
	case VERSION_STAGED:
	case VERSION_READY:
		return "that version is about to serve";
	case VERSION_SERVING:
		return "that version has clients";
	case VERSION_DRAINING:
		return "that version waits for its connections to end; `fairlead rollout cut` "
		       "ends them";
	case VERSION_CLOSING:
		return "that version's last connections are being counted; try again in a moment";
	case VERSION_RETIRED:
		break;
	}
	return "it is being freed";
}

static int exhausted(const struct placement *placement, uint8_t pool, uint32_t service,
		     const struct holders *holders, struct error *err)
{
	struct block block = service_block(&placement->pools[pool].pool, service);
	const struct service_state *owner = NULL;
	const struct binding *held = NULL;
	enum version_state held_state = VERSION_SERVING;
	for (size_t i = 0; i < holders->count; i++) {
		const struct service_state *state = holders->states[i];
		for (size_t j = 0; j < state->binding_count; j++) {
			const struct binding *binding = &state->bindings[j];
			if (binding->pool != pool || binding->slot < block.first ||
			    binding->slot - block.first >= block.count)
				continue;
			enum version_state is = service_version(state, binding->version)->state;
			if (held && holder_rank(is) <= holder_rank(held_state))
				continue;
			owner = state;
			held = binding;
			held_state = is;
		}
	}

	char prefix[IP_TEXT_BYTES];
	ip_prefix_format(&placement->pools[pool].pool.prefix, prefix);
	const char *name = service < placement->service_count ? placement->services[service] : "?";
	if (!held)
		return error_set(err, -FL_EEXHAUSTED,
				 "pool %s has no free slot for service %s: all %" PRIu32
				 " were freed a moment ago or are in quarantine since "
				 "another service had them",
				 prefix, name, block.count);
	return error_set(err, -FL_EEXHAUSTED,
			 "pool %s has no free slot for service %s: slot %" PRIu32
			 " is held by version %" PRIu32 " of %s (%s), because %s",
			 prefix, name, held->slot, held->version, owner->name,
			 version_state_name(held_state), holder_reason(held, held_state));
}

int placement_choose(const struct placement *placement, uint32_t index,
		     const struct service_state *const *states, size_t state_count,
		     const struct placement_moment *now, struct binding *ret_bindings,
		     size_t *ret_count, struct error *err)
{
	struct holders holders = {.states = states, .count = state_count};
	struct binding chosen[PLACEMENT_FAMILIES];
	size_t count = 0;
	for (size_t i = 0; i < PLACEMENT_FAMILIES; i++) {
		int pool = family_pool(placement, FAMILIES[i]);
		if (pool < 0)
			continue;
		if (!pool_choose(placement, (uint8_t)pool, index, &holders, now, &chosen[count]))
			return exhausted(placement, (uint8_t)pool, index, &holders, err);
		count++;
	}
	memcpy(ret_bindings, chosen, count * sizeof(chosen[0]));
	*ret_count = count;
	return 0;
}

uint8_t placement_exhausted(const struct placement *placement, uint32_t index,
			    const struct service_state *const *states, size_t state_count,
			    const struct placement_moment *now)
{
	struct holders holders = {.states = states, .count = state_count};
	uint8_t full = 0;
	for (size_t i = 0; i < PLACEMENT_FAMILIES; i++) {
		struct binding binding;
		int pool = family_pool(placement, FAMILIES[i]);
		if (pool >= 0 &&
		    !pool_choose(placement, (uint8_t)pool, index, &holders, now, &binding))
			full |= (uint8_t)(1u << pool);
	}
	return full;
}

bool placement_has_room_for_all(const struct placement *placement,
				const struct service_state *const *states, size_t state_count)
{
	const struct holders holders = {.states = states, .count = state_count};
	for (size_t i = 0; i < PLACEMENT_FAMILIES; i++) {
		uint32_t slot;
		int pool = family_pool(placement, FAMILIES[i]);
		if (pool < 0)
			continue;
		const struct pool *shared = &placement->pools[pool].pool;
		if (shared->slots_per_service ||
		    !unused_slot(placement, (uint8_t)pool, service_block(shared, 0), &holders,
				 &slot))
			return false;
	}
	return true;
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
