/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which slot a next version gets, and where slots are short. Everything here only reads.
 */
#include "model/placement.h"

#include <inttypes.h>
#include <string.h>

/* The states that hold slots: borrowed for one call. */
struct holders {
	const struct service_state *const *states;
	size_t count;
};

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

static bool is_rested(uint64_t since_wall_ms, const struct placement_moment *now)
{
	if (since_wall_ms < now->names_removed_ms)
		since_wall_ms = now->names_removed_ms;
	return now->wall_ms >= since_wall_ms && now->wall_ms - since_wall_ms >= now->quarantine_ms;
}

/* Do all slots still rest whose last meaning is older than the recovery? */
static bool all_rest(const struct placement *placement, const struct placement_moment *now)
{
	return placement->recovery.all_rest && !is_rested(placement->recovery.wall_ms, now);
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
		if (!(window.taken[at / 8] >> at % 8 & 1) &&
		    !placement_is_burned(placement, pool, block.first + i)) {
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

static bool slot_has_rested(const struct placed_slot *used, const struct placement_moment *now)
{
	return is_rested(used->free_wall_ms, now);
}

/* Nobody gets a slot before every edge has dropped what it meant; then the service that held it at
 * once, another only after quarantine. */
static bool slot_is_clean(const struct placed_slot *used, uint32_t service,
			  const struct placement_moment *now)
{
	if (used->sequence > now->applied_sequence)
		return false;
	return used->service == service || slot_has_rested(used, now);
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

/* The best of the free slots that were held once: the service's own ones only, or anybody's. */
static const struct placed_slot *reusable_slot(const struct placement *placement, uint8_t pool,
					       struct block block, uint32_t service, bool only_own,
					       const struct holders *holders,
					       const struct placement_moment *now)
{
	const struct placed_slot *best = NULL;
	for (size_t i = 0; i < placement->used_slot_count; i++) {
		const struct placed_slot *used = &placement->used_slots[i];
		if (used->pool != pool || used->slot < block.first ||
		    used->slot - block.first >= block.count ||
		    (only_own && used->service != service))
			continue;
		if (used->sequence < placement->recovery.sequence && all_rest(placement, now))
			continue;
		if (slot_is_clean(used, service, now) && slot_is_better(used, best, service) &&
		    !slot_is_held(holders, pool, used->slot) &&
		    !placement_is_burned(placement, pool, used->slot))
			best = used;
	}
	return best;
}

/* A slot that only this service may have comes first: others can have the rest. */
static bool pool_choose(const struct placement *placement, uint8_t pool, uint32_t service,
			const struct holders *holders, const struct placement_moment *now,
			struct binding *ret_binding)
{
	struct block block = service_block(&placement->pools[pool].pool, service);
	uint32_t slot;
	const struct placed_slot *used =
	    reusable_slot(placement, pool, block, service, true, holders, now);
	if (!used && !all_rest(placement, now) &&
	    unused_slot(placement, pool, block, holders, &slot)) {
		*ret_binding = (struct binding){
		    .pool = pool, .slot = slot, .number = placement_number_after(placement, 1, 0)};
		return true;
	}
	if (!used)
		used = reusable_slot(placement, pool, block, service, false, holders, now);
	if (!used)
		return false;
	*ret_binding = (struct binding){
	    .pool = pool,
	    .slot = used->slot,
	    .number = placement_number_after(placement, used->binding_number + 1, used->sequence)};
	return true;
}

static const uint8_t FAMILIES[PLACEMENT_FAMILIES] = {IP_V4, IP_V6};

uint8_t placement_pools(const struct placement *placement, const struct fabric *fabric,
			uint8_t family, uint8_t ret_pools[MODEL_MAX_POOLS], size_t *ret_count)
{
	uint8_t bits = 0;
	size_t count = 0;
	for (size_t i = 0; i < fabric->pool_count; i++) {
		const struct ip_prefix *prefix = &fabric->pools[i].prefix;
		for (size_t p = 0; prefix->address.family == family && p < placement->pool_count;
		     p++) {
			const struct placed_pool *placed = &placement->pools[p];
			if (placed->removed || !ip_prefix_equal(&placed->pool.prefix, prefix))
				continue;
			ret_pools[count++] = (uint8_t)p;
			bits |= (uint8_t)(1u << p);
		}
	}
	*ret_count = count;
	return bits;
}

static bool family_choose(const struct placement *placement, const uint8_t *pools, size_t count,
			  uint32_t service, const struct holders *holders,
			  const struct placement_moment *now, struct binding *ret_binding)
{
	for (size_t i = 0; i < count; i++) {
		if (pool_choose(placement, pools[i], service, holders, now, ret_binding))
			return true;
	}
	return false;
}

static int exhausted(const struct placement *placement, const uint8_t *pools, size_t count,
		     uint32_t service, const struct placement_moment *now, struct error *err)
{
	char prefix[IP_TEXT_BYTES];
	const char *name = service < placement->service_count ? placement->services[service] : "?";
	ip_prefix_format(&placement->pools[pools[0]].pool.prefix, prefix);
	if (all_rest(placement, now))
		return error_set(
		    err, -FL_EEXHAUSTED,
		    "pool %s gives out no slot yet: the fabric goes on from an older "
		    "state, and which addresses the lost entries gave out is not known, "
		    "so that all rest for `quarantine` since then",
		    prefix);
	if (count == 1)
		return error_set(err, -FL_EEXHAUSTED, "pool %s has no free slot for service %s",
				 prefix, name);
	return error_set(
	    err, -FL_EEXHAUSTED,
	    "pool %s and the %zu after it in the file have no free slot for service %s", prefix,
	    count - 1, name);
}

int placement_choose(const struct placement *placement, const struct fabric *fabric, uint32_t index,
		     const struct service_state *const *states, size_t state_count,
		     const struct placement_moment *now, struct binding *ret_bindings,
		     size_t *ret_count, struct error *err)
{
	struct holders holders = {.states = states, .count = state_count};
	struct binding chosen[PLACEMENT_FAMILIES];
	size_t count = 0;
	for (size_t i = 0; i < PLACEMENT_FAMILIES; i++) {
		uint8_t pools[MODEL_MAX_POOLS];
		size_t pool_count;
		if (!placement_pools(placement, fabric, FAMILIES[i], pools, &pool_count))
			continue;
		if (!family_choose(placement, pools, pool_count, index, &holders, now,
				   &chosen[count]))
			return exhausted(placement, pools, pool_count, index, now, err);
		count++;
	}
	memcpy(ret_bindings, chosen, count * sizeof(chosen[0]));
	*ret_count = count;
	return 0;
}

uint8_t placement_exhausted(const struct placement *placement, const struct fabric *fabric,
			    uint32_t index, const struct service_state *const *states,
			    size_t state_count, const struct placement_moment *now)
{
	struct holders holders = {.states = states, .count = state_count};
	uint8_t full = 0;
	for (size_t i = 0; i < PLACEMENT_FAMILIES; i++) {
		struct binding binding;
		uint8_t pools[MODEL_MAX_POOLS];
		size_t count;
		uint8_t bits = placement_pools(placement, fabric, FAMILIES[i], pools, &count);
		if (bits && !family_choose(placement, pools, count, index, &holders, now, &binding))
			full |= bits;
	}
	return full;
}

bool placement_has_room_for_all(const struct placement *placement, const struct fabric *fabric,
				const struct service_state *const *states, size_t state_count)
{
	const struct holders holders = {.states = states, .count = state_count};
	if (placement->recovery.all_rest)
		return false;
	for (size_t i = 0; i < PLACEMENT_FAMILIES; i++) {
		uint8_t pools[MODEL_MAX_POOLS];
		size_t count;
		bool has_room = false;
		if (!placement_pools(placement, fabric, FAMILIES[i], pools, &count))
			continue;
		for (size_t p = 0; p < count && !has_room; p++) {
			const struct pool *shared = &placement->pools[pools[p]].pool;
			uint32_t slot;
			has_room = !shared->slots_per_service &&
				   unused_slot(placement, pools[p], service_block(shared, 0),
					       &holders, &slot);
		}
		if (!has_room)
			return false;
	}
	return true;
}

/* --- what is short when several want a slot --- */

struct shortage_look {
	const struct placement *placement;
	const struct placement_wants *wants;
	struct holders holders;
	const struct placement_moment *now;
	const uint8_t *pools; /* of one family */
	size_t pool_count;
};

static bool is_wanting(const struct placement_wants *wants, uint32_t service)
{
	for (size_t i = 0; i < wants->count; i++) {
		if (wants->services[i] == service)
			return true;
	}
	return false;
}

static bool is_shared(const struct shortage_look *look, size_t place)
{
	return !look->placement->pools[look->pools[place]].pool.slots_per_service;
}

/* A free slot that was held once: nobody holds it again. */
static bool is_free(const struct shortage_look *look, const struct placed_slot *used)
{
	return !slot_is_held(&look->holders, used->pool, used->slot);
}

/* Has the service a slot that nobody else may have, be it that the nodes still have to apply its
 * freeing? Who has no number yet will have a block that nobody had. */
static bool has_own_slot(const struct shortage_look *look, uint32_t service)
{
	const struct placement_moment soon = {.wall_ms = look->now->wall_ms,
					      .quarantine_ms = look->now->quarantine_ms,
					      .names_removed_ms = look->now->names_removed_ms,
					      .applied_sequence = UINT64_MAX};
	for (size_t i = 0; i < look->pool_count; i++) {
		struct binding binding;
		uint8_t pool = look->pools[i];
		struct block all = service_block(&look->placement->pools[pool].pool, 0);
		if (!is_shared(look, i) &&
		    (service == PLACEMENT_NO_SERVICE ||
		     pool_choose(look->placement, pool, service, &look->holders, &soon, &binding)))
			return true;
		if (is_shared(look, i) && service != PLACEMENT_NO_SERVICE &&
		    reusable_slot(look->placement, pool, all, service, true, &look->holders, &soon))
			return true;
	}
	return false;
}

/* Does the service hold slots of these pools that it will give up in time? */
static bool has_to_give(const struct shortage_look *look, uint32_t service)
{
	for (size_t i = 0; i < look->holders.count; i++) {
		const struct service_state *state = look->holders.states[i];
		for (size_t b = 0; state->index == service && b < state->binding_count; b++) {
			const struct binding *binding = &state->bindings[b];
			enum version_state is = service_version(state, binding->version)->state;
			if (memchr(look->pools, binding->pool, look->pool_count) &&
			    (binding->is_late || is == VERSION_DRAINING || is == VERSION_CLOSING))
				return true;
		}
	}
	return false;
}

/* The slots of a window of a shared pool that nobody ever held. */
static size_t count_unused(const struct shortage_look *look, uint8_t pool, size_t most)
{
	struct block block = service_block(&look->placement->pools[pool].pool, 0);
	struct window window;
	size_t count = 0;
	for (uint32_t i = 0; i < block.count && count < most; i++) {
		uint32_t at = i % WINDOW_SLOTS;
		if (at == 0) {
			window.first = block.first + i;
			window_fill(&window, look->placement, pool, &look->holders);
		}
		count += !(window.taken[at / 8] >> at % 8 & 1);
	}
	return count;
}

/* The slots that anybody may have, as far as `most`, and those that somebody else than who wants
 * one gave up and that rest until anybody may. */
static size_t count_common(const struct shortage_look *look, size_t most, size_t *ret_resting)
{
	size_t common = 0;
	*ret_resting = 0;
	for (size_t i = 0; i < look->pool_count && common < most; i++) {
		if (is_shared(look, i))
			common += count_unused(look, look->pools[i], most - common);
	}
	for (size_t i = 0; i < look->placement->used_slot_count && common < most; i++) {
		const struct placed_slot *used = &look->placement->used_slots[i];
		const uint8_t *at = memchr(look->pools, used->pool, look->pool_count);
		if (!at || !is_shared(look, (size_t)(at - look->pools)) || !used->slot ||
		    !is_free(look, used))
			continue;
		if (used->sequence <= look->now->applied_sequence &&
		    slot_has_rested(used, look->now))
			common++;
		else if (!is_wanting(look->wants, used->service))
			(*ret_resting)++;
	}
	return common;
}

static void family_shortage(const struct shortage_look *look, uint8_t bits, size_t family,
			    struct placement_shortage *shortage)
{
	size_t lacking = 0;
	size_t giving = 0;
	size_t resting = 0;
	for (size_t i = 0; i < look->wants->count; i++) {
		uint32_t service = look->wants->services[i];
		if (has_own_slot(look, service))
			continue;
		lacking++;
		giving += service != PLACEMENT_NO_SERVICE && has_to_give(look, service);
	}
	size_t common = lacking ? count_common(look, lacking, &resting) : 0;
	shortage->lacking[family] = lacking;
	shortage->common[family] = common;
	if (common >= lacking)
		return;
	shortage->of_wanting |= bits;
	if (common + giving + resting >= lacking)
		return;
	for (size_t i = 0; i < look->pool_count; i++) {
		if (is_shared(look, i))
			shortage->of_all |= (uint8_t)(1u << look->pools[i]);
	}
}

void placement_find_shortage(const struct placement *placement, const struct fabric *fabric,
			     const struct placement_wants *wants,
			     const struct service_state *const *states, size_t state_count,
			     const struct placement_moment *now,
			     struct placement_shortage *ret_shortage)
{
	*ret_shortage = (struct placement_shortage){.wants = wants};
	for (size_t i = 0; i < PLACEMENT_FAMILIES && wants->count; i++) {
		uint8_t pools[MODEL_MAX_POOLS];
		struct shortage_look look = {.placement = placement,
					     .wants = wants,
					     .holders = {.states = states, .count = state_count},
					     .now = now,
					     .pools = pools};
		uint8_t bits =
		    placement_pools(placement, fabric, FAMILIES[i], pools, &look.pool_count);
		if (bits)
			family_shortage(&look, bits, i, ret_shortage);
	}
}

uint8_t placement_wanted(const struct placement *placement, const struct fabric *fabric,
			 const struct placement_shortage *shortage, uint32_t index,
			 const struct service_state *const *states, size_t state_count,
			 const struct placement_moment *now)
{
	uint8_t wanted = shortage->of_all;
	if (!shortage->of_wanting || !is_wanting(shortage->wants, index))
		return wanted;
	for (size_t i = 0; i < PLACEMENT_FAMILIES; i++) {
		uint8_t pools[MODEL_MAX_POOLS];
		struct shortage_look look = {.placement = placement,
					     .wants = shortage->wants,
					     .holders = {.states = states, .count = state_count},
					     .now = now,
					     .pools = pools};
		uint8_t bits =
		    placement_pools(placement, fabric, FAMILIES[i], pools, &look.pool_count);
		if ((bits & shortage->of_wanting) && !has_own_slot(&look, index))
			wanted |= bits;
	}
	return wanted;
}
