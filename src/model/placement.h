/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement: the numbers that must outlive any edit of the file. Pools, sites and services get
 * numbers when they are first seen, and keep them, so that reordering the file moves no address;
 * slots are handed out and taken back, with quarantine before another service may have one.
 */
#ifndef FAIRLEAD_MODEL_PLACEMENT_H
#define FAIRLEAD_MODEL_PLACEMENT_H

#include "base/arena.h"
#include "model/fabric.h"
#include "model/lifecycle.h"

struct placed_pool {
	/* Numbered by its place, below MODEL_MAX_POOLS. A new pool takes the place of a removed one
	 * only when no other is left. */
	struct pool pool;
	/* It is in the file no more. While a version holds a slot of it, it is forwarded as before,
	 * and *leaving*; no version gets one. */
	bool removed;
};

struct placed_slot {
	uint8_t pool;
	uint32_t slot;
	uint32_t service; /* index of the service that held it last */
	uint64_t free_wall_ms; /* since when; for quarantine */
	uint64_t sequence; /* ledger entry that freed it */
	uint64_t binding_number; /* of its last binding: the next one is higher */
};

#define PLACEMENT_NO_SERVICE UINT32_MAX /* the service that held it is gone */

/*
 * The last recovery: the fabric goes on from a state that is older than what its nodes did, and of
 * the ledger entries in between nothing is known. What those may have given out gets no second
 * meaning: numbers of versions and bindings go on above all that they can have reached, and the
 * addresses of which it is known that they gave them out are given to nobody before it is proven
 * that no connection uses them. Where that is not known, every free slot rests for `quarantine`.
 */
struct placement_recovery {
	uint64_t sequence; /* the ledger entry that says so; 0: there was none */
	uint64_t wall_ms;
	uint64_t lost_sequence; /* the newest entry that is known to be lost */
	struct digest lost_digest;
	uint32_t numbers; /* what was not given a number since counts on from so many more */
	bool all_rest; /* which addresses the lost entries gave out is not known */
	struct ip_address *addresses; /* that they did, rising */
	size_t address_count;
};

struct placement {
	struct placed_pool *pools;
	size_t pool_count;
	const char **sites; /* the site's number is its place */
	size_t site_count;
	const char **services; /* the service's index is its place; "" for a free index */
	size_t service_count;
	struct placed_slot *used_slots; /* slots that were held once and are free now */
	size_t used_slot_count;
	struct placement_recovery recovery;
};

/*
 * Take in a changed fabric: new pools, sites and services get numbers, gone ones keep theirs while
 * they may be needed: a service until its last version is gone (no state in `states` bears its
 * name), a site until no other number is left. The result is a new placement in `arena`, which
 * borrows nothing; `previous` may be NULL. -FL_EEXHAUSTED when a pool has no number left for a site
 * or no block of slots for a service; -FL_ESTATE when a pool is reshaped whose slots a version
 * holds, or a new one overlaps one that is leaving (the error names a slot).
 */
must_check int placement_update(const struct placement *previous, const struct fabric *fabric,
				const struct service_state *const *states, size_t state_count,
				struct arena *arena, struct placement **ret_placement,
				struct error *err);

/* What a used slot waits for before it is free. */
struct placement_moment {
	uint64_t wall_ms;
	uint64_t quarantine_ms; /* for another service */
	/* Until then a name server that was removed may have answered any address: slots rest from
	 * then on at the earliest (PROTOCOL.md rule 10). 0: none was. */
	uint64_t names_removed_ms;
	/* The highest ledger entry that every node not removed has applied. A slot freed later may
	 * still mean its last version at some edge: nobody gets it. */
	uint64_t applied_sequence;
};

/* The pools, a bit each, in which some version has a slot. */
uint8_t placement_held_pools(const struct service_state *const *states, size_t state_count);

/* The numbers of the family's pools that `fabric` has, in its order, which is that in which they
 * are used; and the same as a bit each. */
uint8_t placement_pools(const struct placement *placement, const struct fabric *fabric,
			uint8_t family, uint8_t ret_pools[MODEL_MAX_POOLS], size_t *ret_count);

/*
 * Choose a free slot of each family for the next version of service `index`: in the first of the
 * family's pools, in the fabric's order, that has one. There, first a slot that this service held,
 * then one that nobody ever held, then one of another service whose quarantine is over; of
 * several, the one that is free for longest. Fills `ret_bindings` (room for PLACEMENT_FAMILIES) for
 * lifecycle_publish(). -FL_EEXHAUSTED with a sentence that names the pools.
 */
#define PLACEMENT_FAMILIES 2
must_check int placement_choose(const struct placement *placement, const struct fabric *fabric,
				uint32_t index, const struct service_state *const *states,
				size_t state_count, const struct placement_moment *moment,
				struct binding *ret_bindings, size_t *ret_count, struct error *err);

/* The pools, a bit each, of the families in which placement_choose() would find no slot for the
 * service. */
uint8_t placement_exhausted(const struct placement *placement, const struct fabric *fabric,
			    uint32_t index, const struct service_state *const *states,
			    size_t state_count, const struct placement_moment *moment);

/*
 * Whether placement_exhausted() is 0 for every service at any moment, as far as one look at all
 * bindings shows: in each family a pool that all services share has a slot that was never held.
 */
bool placement_has_room_for_all(const struct placement *placement, const struct fabric *fabric,
				const struct service_state *const *states, size_t state_count);

/* The services that want a slot of each family at the same time, because an order cannot be carried
 * out without: their indices, and PLACEMENT_NO_SERVICE for each that has none yet. */
struct placement_wants {
	const uint32_t *services;
	size_t count;
};

/* Where there are too few slots for all who want one: pools, a bit each. */
struct placement_shortage {
	const struct placement_wants *wants; /* borrowed */
	/* Of each family, IPv4 first: who wants a slot and has none of its own, and how many slots
	 * there are for them, counted up to that. */
	size_t lacking[PLACEMENT_FAMILIES];
	size_t common[PLACEMENT_FAMILIES];
	uint8_t of_wanting; /* who wants one, and has none of its own, is to give one up for it */
	uint8_t of_all; /* that is not enough: so is everybody, for after the quarantine */
};

void placement_find_shortage(const struct placement *placement, const struct fabric *fabric,
			     const struct placement_wants *wants,
			     const struct service_state *const *states, size_t state_count,
			     const struct placement_moment *moment,
			     struct placement_shortage *ret_shortage);

/* The pools, a bit each, in which service `index` is to give a slot up because of a shortage: in
 * all pools of a family or in none. */
uint8_t placement_wanted(const struct placement *placement, const struct fabric *fabric,
			 const struct placement_shortage *shortage, uint32_t index,
			 const struct service_state *const *states, size_t state_count,
			 const struct placement_moment *moment);

/*
 * Record that the ledger entry `sequence` frees `binding`'s slot, before the FREE is applied to the
 * service's state. The list of used slots is replaced, not written to: a shallow copy of a
 * placement can take the change, and be thrown away when the entry is not committed.
 */
must_check int placement_free(struct placement *placement, const struct binding *binding,
			      uint32_t service, uint64_t sequence, uint64_t wall_ms,
			      struct arena *arena);

/* Is an address of the slot one that a recovery holds back? */
bool placement_is_burned(const struct placement *placement, uint8_t pool, uint32_t slot);

/* The number that counts on from `next`, what it would be without a recovery; `given`: the ledger
 * entry that gave the last one, 0 when there was none. */
uint64_t placement_number_after(const struct placement *placement, uint64_t next, uint64_t given);

/* Index of a service, or UINT32_MAX. */
uint32_t placement_service(const struct placement *placement, const char *name);

/* The address of a binding at a site; IP_NONE when the site is not numbered. */
struct ip_address placement_address(const struct placement *placement,
				    const struct binding *binding, const char *site);

/* Number of a site, or UINT32_MAX. */
uint32_t placement_site(const struct placement *placement, const char *site);

/* For `validate`: how many rollouts a day the pool allows each of `services`, with slots held for
 * `stale_ms` + `quiet_ms`; UINT32_MAX when not bounded by slots. */
uint32_t pool_rollouts_per_day(const struct pool *pool, size_t services, uint64_t stale_ms,
			       uint64_t quiet_ms);

#endif
