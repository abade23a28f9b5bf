/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement over a change of the file: who keeps which number.
 */
#include "model/placement.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct update {
	const struct fabric *fabric;
	const struct service_state *const *states;
	size_t state_count;
	struct arena *arena;
	struct placement *placement; /* being made */
	const char **names; /* of the services that were numbered before, sorted */
	size_t name_count;
	uint32_t hole; /* below it no number is free */
	struct error *err;
};

static int no_memory(struct update *update)
{
	return error_set(update->err, -ENOMEM, "no memory for the placement of the fabric");
}

/* --- the previous placement --- */

static int copy_names(struct update *update, const char *const *names, size_t count, size_t more,
		      const char ***ret_names)
{
	const char **copy = arena_array(update->arena, count + more, sizeof(copy[0]));
	if (!copy)
		return no_memory(update);
	for (size_t i = 0; i < count; i++) {
		copy[i] = arena_strdup(update->arena, names[i]);
		if (!copy[i])
			return no_memory(update);
	}
	*ret_names = copy;
	return 0;
}

/* A copy with room for what the fabric may add. */
static int copy_placement(struct update *update, const struct placement *previous)
{
	const struct placement none = {0};
	const struct placement *from = previous ? previous : &none;
	struct placement *to = update->placement;
	to->pools = arena_array(update->arena, MODEL_MAX_POOLS, sizeof(to->pools[0]));
	to->used_slots =
	    arena_array(update->arena, from->used_slot_count, sizeof(to->used_slots[0]));
	if (!to->pools || !to->used_slots)
		return no_memory(update);
	if (from->pool_count)
		memcpy(to->pools, from->pools, from->pool_count * sizeof(to->pools[0]));
	to->pool_count = from->pool_count;
	if (from->used_slot_count)
		memcpy(to->used_slots, from->used_slots,
		       from->used_slot_count * sizeof(to->used_slots[0]));
	to->used_slot_count = from->used_slot_count;

	to->recovery = from->recovery;
	to->recovery.addresses =
	    arena_array(update->arena, from->recovery.address_count, sizeof(struct ip_address));
	if (!to->recovery.addresses)
		return no_memory(update);
	if (from->recovery.address_count)
		memcpy(to->recovery.addresses, from->recovery.addresses,
		       from->recovery.address_count * sizeof(struct ip_address));

	int result = copy_names(update, from->sites, from->site_count, update->fabric->site_count,
				&to->sites);
	if (result < 0)
		return result;
	to->site_count = from->site_count;
	result = copy_names(update, from->services, from->service_count,
			    update->fabric->service_count, &to->services);
	to->service_count = from->service_count;
	return result;
}

/* --- pools --- */

/* Somebody who holds a slot of the pool; NULL: nobody does. */
static const struct binding *pool_holder(const struct update *update, size_t pool,
					 const struct service_state **ret_state)
{
	for (size_t i = 0; i < update->state_count; i++) {
		const struct service_state *state = update->states[i];
		for (size_t j = 0; j < state->binding_count; j++) {
			if (state->bindings[j].pool != pool)
				continue;
			*ret_state = state;
			return &state->bindings[j];
		}
	}
	return NULL;
}

static bool pool_is_held(const struct update *update, size_t pool)
{
	const struct service_state *state;
	return pool_holder(update, pool, &state);
}

/* Refuse to change what a pool's slots mean under a version that holds one. */
static int pool_must_be_free(struct update *update, size_t pool)
{
	char prefix[IP_TEXT_BYTES];
	const struct service_state *state;
	const struct binding *held = pool_holder(update, pool, &state);
	if (!held)
		return 0;
	ip_prefix_format(&update->placement->pools[pool].pool.prefix, prefix);
	return error_set(update->err, -FL_ESTATE,
			 "pool %s cannot be reshaped: version %" PRIu32 " of %s holds slot %" PRIu32
			 " of it; leave it out of the file, with another pool in its place, until "
			 "`fairlead get pools` lists it no more",
			 prefix, held->version, state->name, held->slot);
}

/* Slots of a pool that changed its shape are other addresses: forget them, quarantine and all. */
static void forget_slots(struct placement *placement, size_t pool)
{
	size_t kept = 0;
	for (size_t i = 0; i < placement->used_slot_count; i++) {
		if (placement->used_slots[i].pool != pool)
			placement->used_slots[kept++] = placement->used_slots[i];
	}
	placement->used_slot_count = kept;
}

static const struct pool *fabric_pool(const struct fabric *fabric, const struct ip_prefix *prefix)
{
	for (size_t i = 0; i < fabric->pool_count; i++) {
		if (ip_prefix_equal(&fabric->pools[i].prefix, prefix))
			return &fabric->pools[i];
	}
	return NULL;
}

/* What became of the pools that have a number. */
static int keep_pools(struct update *update)
{
	struct placement *placement = update->placement;
	for (size_t i = 0; i < placement->pool_count; i++) {
		struct placed_pool *placed = &placement->pools[i];
		const struct pool *now = fabric_pool(update->fabric, &placed->pool.prefix);
		bool is_same = now && pool_equal(now, &placed->pool);
		int result = now && !is_same ? pool_must_be_free(update, i) : 0;
		if (result < 0)
			return result;
		if (now && !is_same) {
			forget_slots(placement, i);
			placed->pool = *now;
		}
		placed->removed = !now;
	}
	return 0;
}

/* An address means one slot: a pool that is leaving keeps its addresses until it is gone. */
static int must_not_overlap(struct update *update, const struct pool *pool, size_t leaving)
{
	char prefix[IP_TEXT_BYTES];
	char other[IP_TEXT_BYTES];
	const struct service_state *state;
	const struct ip_prefix *held = &update->placement->pools[leaving].pool.prefix;
	const struct binding *binding = pool_holder(update, leaving, &state);
	if (!binding || !ip_prefix_overlaps(held, &pool->prefix))
		return 0;
	ip_prefix_format(&pool->prefix, prefix);
	ip_prefix_format(held, other);
	return error_set(update->err, -FL_ESTATE,
			 "pool %s overlaps pool %s, which is leaving: version %" PRIu32
			 " of %s holds slot %" PRIu32
			 " of it; take another prefix, or apply this when `fairlead get pools` "
			 "lists %s no more",
			 prefix, other, binding->version, state->name, binding->slot, other);
}

static int number_pool(struct update *update, const struct pool *pool)
{
	struct placement *placement = update->placement;
	size_t at = placement->pool_count;
	for (size_t i = 0; i < placement->pool_count; i++) {
		const struct placed_pool *placed = &placement->pools[i];
		if (ip_prefix_equal(&placed->pool.prefix, &pool->prefix))
			return 0;
		int result = placed->removed ? must_not_overlap(update, pool, i) : 0;
		if (result < 0)
			return result;
		if (at == MODEL_MAX_POOLS && placed->removed && !pool_is_held(update, i))
			at = i;
	}
	if (at == MODEL_MAX_POOLS)
		return error_set(update->err, -FL_EEXHAUSTED,
				 "there are more than %d pools, with those that are leaving: "
				 "`fairlead get pools` lists them",
				 MODEL_MAX_POOLS);
	if (at == placement->pool_count)
		placement->pool_count++;
	forget_slots(placement, at);
	placement->pools[at] = (struct placed_pool){.pool = *pool};
	return 0;
}

/* --- sites --- */

/* The pool that cannot number so many sites; NULL when all can. One that is leaving counts. */
static const struct pool *narrow_pool(const struct update *update, uint32_t number)
{
	const struct placement *placement = update->placement;
	for (size_t i = 0; i < placement->pool_count; i++) {
		const struct placed_pool *placed = &placement->pools[i];
		if (number >= pool_site_count(&placed->pool) &&
		    (!placed->removed || pool_is_held(update, i)))
			return &placed->pool;
	}
	return NULL;
}

static int no_site_number(struct update *update, const struct pool *pool, const char *name)
{
	char prefix[IP_TEXT_BYTES];
	ip_prefix_format(&pool->prefix, prefix);
	return error_set(update->err, -FL_EEXHAUSTED,
			 "pool %s has no number left for site %s: its site_bits %u make room for "
			 "%" PRIu32 " sites",
			 prefix, name, pool->site_bits, pool_site_count(pool));
}

/* A new number if every pool has one left, else that of the first site that left the file. */
static int number_site(struct update *update, const char *name)
{
	struct placement *placement = update->placement;
	if (placement_site(placement, name) != UINT32_MAX)
		return 0;
	uint32_t number = (uint32_t)placement->site_count;
	const struct pool *narrow = narrow_pool(update, number);
	for (uint32_t i = 0; narrow && i < placement->site_count; i++) {
		if (fabric_site(update->fabric, placement->sites[i]))
			continue;
		number = i;
		narrow = narrow_pool(update, number);
	}
	if (narrow)
		return no_site_number(update, narrow, name);
	placement->sites[number] = arena_strdup(update->arena, name);
	if (!placement->sites[number])
		return no_memory(update);
	if (number == placement->site_count)
		placement->site_count++;
	return 0;
}

/* --- services --- */

static bool has_state(const struct update *update, const char *name)
{
	for (size_t i = 0; i < update->state_count; i++) {
		if (!strcmp(update->states[i]->name, name))
			return true;
	}
	return false;
}

/* An index is free when its service left the file and its last version is gone. What slots it
 * held belong to nobody then: they wait out their quarantine, whoever gets the index next. */
static void drop_services(struct update *update)
{
	struct placement *placement = update->placement;
	for (size_t i = 0; i < placement->service_count; i++) {
		const char *name = placement->services[i];
		if (!*name || fabric_service(update->fabric, name) || has_state(update, name))
			continue;
		placement->services[i] = "";
		for (size_t j = 0; j < placement->used_slot_count; j++) {
			if (placement->used_slots[j].service == i)
				placement->used_slots[j].service = PLACEMENT_NO_SERVICE;
		}
	}
}

static int block_must_fit(struct update *update, uint32_t index, const char *name)
{
	const struct fabric *fabric = update->fabric;
	for (size_t i = 0; i < fabric->pool_count; i++) {
		const struct pool *pool = &fabric->pools[i];
		uint64_t end = ((uint64_t)index + 1) * pool->slots_per_service;
		if (end <= pool_slot_count(pool))
			continue;
		char prefix[IP_TEXT_BYTES];
		ip_prefix_format(&pool->prefix, prefix);
		return error_set(update->err, -FL_EEXHAUSTED,
				 "pool %s has no block of %" PRIu32
				 " slots left for service %s: lower slots_per_service or "
				 "widen the pool",
				 prefix, pool->slots_per_service, name);
	}
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* So that numbering takes no look at every service for every service. */
static int sort_names(struct update *update)
{
	const struct placement *placement = update->placement;
	update->name_count = placement->service_count;
	update->names =
	    arena_array(update->arena, placement->service_count + 1, sizeof(update->names[0]));
	if (!update->names)
		return no_memory(update);
	for (size_t i = 0; i < placement->service_count; i++)
		update->names[i] = placement->services[i];
	qsort(update->names, update->name_count, sizeof(update->names[0]), compare_names);
	return 0;
}

static int number_service(struct update *update, const char *name)
{
	struct placement *placement = update->placement;
	if (bsearch(&name, update->names, update->name_count, sizeof(name), compare_names))
		return 0;
	while (update->hole < placement->service_count && *placement->services[update->hole])
		update->hole++;
	uint32_t index = update->hole;
	int result = block_must_fit(update, index, name);
	if (result < 0)
		return result;
	placement->services[index] = arena_strdup(update->arena, name);
	if (!placement->services[index])
		return no_memory(update);
	if (index == placement->service_count)
		placement->service_count++;
	return 0;
}

int placement_update(const struct placement *previous, const struct fabric *fabric,
		     const struct service_state *const *states, size_t state_count,
		     struct arena *arena, struct placement **ret_placement, struct error *err)
{
	struct update update = {.fabric = fabric,
				.states = states,
				.state_count = state_count,
				.arena = arena,
				.placement = arena_alloc(arena, sizeof(struct placement)),
				.err = err};
	if (!update.placement)
		return no_memory(&update);
	int result = copy_placement(&update, previous);
	if (!result)
		result = keep_pools(&update);
	for (size_t i = 0; !result && i < fabric->pool_count; i++)
		result = number_pool(&update, &fabric->pools[i]);
	for (size_t i = 0; !result && i < fabric->site_count; i++)
		result = number_site(&update, fabric->sites[i].name);
	if (!result) {
		drop_services(&update);
		result = sort_names(&update);
	}
	for (size_t i = 0; !result && i < fabric->service_count; i++)
		result = number_service(&update, fabric->services[i].name);
	if (result < 0)
		return result;
	*ret_placement = update.placement;
	return 0;
}
