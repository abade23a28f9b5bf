/* SPDX-License-Identifier: Apache-2.0 */
/* Placement: numbers survive edits of the file, and slots come back no sooner than is safe. */
#include "model/placement.h"
#include "tests/addresses.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define QUARANTINE_MS 1000u

static struct arena arena;
static struct pool pools[2];
static struct site sites[3];
static struct service services[3];
static struct fabric fabric;

/* Sites fra and nyc, services web and api, two slots of IPv4 and plenty of IPv6 at each site. */
static int set_up(void **state)
{
	(void)state;
	arena_init(&arena, 0);
	pools[0] = (struct pool){.prefix = prefix("2001:db8:f::/108"), .site_bits = 4};
	pools[1] = (struct pool){.prefix = prefix("198.51.100.0/30"), .site_bits = 1};
	sites[0] = (struct site){.name = "fra"};
	sites[1] = (struct site){.name = "nyc"};
	sites[2] = (struct site){.name = "lon"};
	services[0] = (struct service){.name = "web"};
	services[1] = (struct service){.name = "api"};
	services[2] = (struct service){.name = "mail"};
	fabric = (struct fabric){.pools = pools,
				 .pool_count = 2,
				 .sites = sites,
				 .site_count = 2,
				 .services = services,
				 .service_count = 2};
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	arena_done(&arena);
	return 0;
}

static struct placement *update(const struct placement *previous,
				const struct service_state *const *states, size_t count)
{
	struct placement *placement = NULL;
	struct error err = {0};
	int result = placement_update(previous, &fabric, states, count, &arena, &placement, &err);
	assert_string_equal(err.text, "");
	assert_int_equal(result, 0);
	return placement;
}

static void numbers_survive_edits(void **state)
{
	(void)state;
	struct placement *one = update(NULL, NULL, 0);
	assert_int_equal(placement_site(one, "nyc"), 1);
	assert_int_equal(placement_service(one, "api"), 1);
	assert_int_equal(placement_site(one, "lon"), UINT32_MAX);

	/* Everything in another order, and a service in front. */
	struct pool first = pools[0];
	pools[0] = pools[1];
	pools[1] = first;
	sites[0].name = "nyc";
	sites[1].name = "fra";
	services[0].name = "aaa";
	services[2].name = "web";
	fabric.service_count = 3;
	struct placement *two = update(one, NULL, 0);
	assert_int_equal(placement_site(two, "nyc"), 1);
	assert_int_equal(placement_service(two, "web"), 0);
	assert_int_equal(placement_service(two, "aaa"), 2);
	assert_int_equal(two->pools[0].pool.prefix.length, 108);
	assert_int_equal(two->pool_count, 2);
}

static void indices_are_free_only_without_a_state(void **state)
{
	(void)state;
	struct service_state web = {.name = "web"};
	const struct service_state *states[] = {&web};
	struct placement *one = update(NULL, NULL, 0);
	/* web left the file, but its versions still drain: mail gets another index. */
	services[0].name = "mail";
	struct placement *two = update(one, states, 1);
	assert_int_equal(placement_service(two, "web"), 0);
	assert_int_equal(placement_service(two, "mail"), 2);
	/* Now it is gone: its index is free. */
	services[2].name = "shop";
	fabric.service_count = 3;
	struct placement *three = update(two, NULL, 0);
	assert_int_equal(placement_service(three, "web"), UINT32_MAX);
	assert_int_equal(placement_service(three, "shop"), 0);
}

static void site_numbers_run_out(void **state)
{
	(void)state;
	struct error err = {0};
	struct placement *one = update(NULL, NULL, 0), *two = NULL;
	fabric.site_count = 3;
	assert_int_equal(placement_update(one, &fabric, NULL, 0, &arena, &two, &err),
			 -FL_EEXHAUSTED);
	assert_non_null(strstr(err.text, "no number left for site lon"));
	assert_null(two);
	/* A site that left gives its number up when it is needed, and not before. */
	sites[0].name = "nyc";
	sites[1].name = "lon";
	fabric.site_count = 2;
	two = update(one, NULL, 0);
	assert_int_equal(placement_site(two, "lon"), 0);
	assert_int_equal(placement_site(two, "nyc"), 1);
}

static struct service_state holder(const char *name, uint32_t index, struct version_status *version,
				   struct binding *bindings, size_t count)
{
	*version = (struct version_status){.number = 3, .state = VERSION_DRAINING};
	return (struct service_state){.name = name,
				      .index = index,
				      .versions = version,
				      .version_count = 1,
				      .bindings = bindings,
				      .binding_count = count};
}

static void held_pools_cannot_change(void **state)
{
	(void)state;
	struct version_status version;
	struct binding binding = {.pool = 1, .slot = 1, .version = 3};
	struct service_state web = holder("web", 0, &version, &binding, 1);
	const struct service_state *states[] = {&web};
	struct placement *one = update(NULL, NULL, 0), *two = NULL;
	struct error err = {0};

	pools[1].site_bits = 0;
	assert_int_equal(placement_update(one, &fabric, states, 1, &arena, &two, &err), -FL_ESTATE);
	assert_string_equal(
	    err.text,
	    "pool 198.51.100.0/30 cannot be reshaped: version 3 of web holds slot 1 of it; leave "
	    "it out of the file, with another pool in its place, until `fairlead get pools` lists "
	    "it no more");

	/* It leaves, and is forwarded until nobody holds a slot of it. */
	fabric.pool_count = 1;
	two = update(one, states, 1);
	assert_true(two->pools[1].removed);
	assert_int_equal(placement_held_pools(states, 1), 1 << 1);
	/* Until then it cannot come back in another shape, nor another one that overlaps it. */
	fabric.pool_count = 2;
	assert_int_equal(placement_update(two, &fabric, states, 1, &arena, &two, &err), -FL_ESTATE);
	pools[1].prefix = prefix("198.51.100.0/24");
	assert_int_equal(placement_update(two, &fabric, states, 1, &arena, &two, &err), -FL_ESTATE);
	assert_non_null(strstr(err.text, "pool 198.51.100.0/24 overlaps pool 198.51.100.0/30, "
					 "which is leaving: version 3 of web holds slot 1"));
	pools[1].prefix = prefix("198.51.100.0/30");
	binding.pool = 0;
	/* It comes back to its number, in a new shape. */
	struct placement *three = update(two, states, 1);
	assert_false(three->pools[1].removed);
	assert_int_equal(three->pools[1].pool.site_bits, 0);
}

/* The slots of a pool in another shape are other addresses. */
static void a_reshaped_pool_forgets_its_slots(void **state)
{
	(void)state;
	struct placement *one = update(NULL, NULL, 0);
	const struct binding slots[] = {{.pool = 0, .slot = 5}, {.pool = 1, .slot = 1}};
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(placement_free(one, &slots[i], 0, 1, 10, &arena), 0);
	struct placement *same = update(one, NULL, 0);
	assert_int_equal(same->used_slot_count, 2);
	pools[0].site_bits = 3;
	struct placement *two = update(one, NULL, 0);
	assert_int_equal(two->used_slot_count, 1);
	assert_int_equal(two->used_slots[0].pool, 1);
	assert_int_equal(two->used_slots[0].slot, 1);
}

static void pools_beyond_the_limit_take_removed_places(void **state)
{
	(void)state;
	struct placement *placement = NULL;
	for (unsigned i = 0; i < 3 * MODEL_MAX_POOLS; i++) {
		pools[0].prefix.address.bytes[2] = (uint8_t)i;
		placement = update(placement, NULL, 0);
		assert_true(placement->pool_count <= MODEL_MAX_POOLS);
	}
	assert_int_equal(placement->pool_count, MODEL_MAX_POOLS);
}

static const struct placement_moment NOW = {
    .wall_ms = 50000, .quarantine_ms = QUARANTINE_MS, .applied_sequence = 100};

static int choose(const struct placement *placement, uint32_t index,
		  const struct service_state *const *states, size_t count, struct error *err,
		  struct binding *ret_bindings)
{
	size_t families = 0;
	int result = placement_choose(placement, &fabric, index, states, count, &NOW, ret_bindings,
				      &families, err);
	assert_int_equal(families, result < 0 ? 0 : 2);
	uint8_t full = placement_exhausted(placement, &fabric, index, states, count, &NOW);
	assert_int_equal(full != 0, result == -FL_EEXHAUSTED);
	return result;
}

static void each_family_gets_the_lowest_free_slot(void **state)
{
	(void)state;
	struct placement *placement = update(NULL, NULL, 0);
	struct version_status version;
	struct binding held[] = {{.pool = 1, .slot = 0, .version = 3},
				 {.pool = 0, .slot = 0, .version = 3},
				 {.pool = 0, .slot = 1, .version = 3}};
	struct service_state web = holder("web", 0, &version, held, 3);
	const struct service_state *states[] = {&web};
	struct binding chosen[PLACEMENT_FAMILIES];
	assert_int_equal(choose(placement, 1, states, 1, NULL, chosen), 0);
	assert_int_equal(chosen[0].pool, 1);
	assert_int_equal(chosen[0].slot, 1);
	assert_int_equal(chosen[0].number, 1);
	assert_int_equal(chosen[1].pool, 0);
	assert_int_equal(chosen[1].slot, 2);

	char text[IP_TEXT_BYTES];
	struct ip_address address = placement_address(placement, &chosen[0], "nyc");
	assert_string_equal(ip_address_format(&address, text), "198.51.100.3");
	address = placement_address(placement, &chosen[1], "nyc");
	assert_string_equal(ip_address_format(&address, text), "2001:db8:f::1:2");
	address = placement_address(placement, &chosen[1], "lon");
	assert_int_equal(address.family, IP_NONE);
}

static void full_pools_are_named(void **state)
{
	(void)state;
	struct placement *placement = update(NULL, NULL, 0);
	struct version_status version;
	struct binding held[] = {{.pool = 1, .slot = 0, .version = 3},
				 {.pool = 1, .slot = 1, .version = 3}};
	struct service_state web = holder("web", 0, &version, held, 2);
	const struct service_state *states[] = {&web};
	struct binding chosen[PLACEMENT_FAMILIES];
	struct error err = {0};
	assert_int_equal(choose(placement, 1, states, 1, &err, chosen), -FL_EEXHAUSTED);
	assert_string_equal(err.text, "pool 198.51.100.0/30 has no free slot for service api");
	assert_int_equal(placement_exhausted(placement, &fabric, 1, states, 1, &NOW), 1 << 1);
}

/* The fabric's order counts, not that in which pools were first seen; what the first has no room
 * for, the next takes; one that left the file gives none. */
static void pools_are_used_in_the_files_order(void **state)
{
	(void)state;
	struct binding chosen[PLACEMENT_FAMILIES];
	struct pool more[] = {
	    pools[0], pools[1], {.prefix = prefix("203.0.113.0/29"), .site_bits = 1}};
	struct placement *placement = update(NULL, NULL, 0);
	fabric.pools = more;
	fabric.pool_count = 3;
	placement = update(placement, NULL, 0);
	assert_int_equal(choose(placement, 1, NULL, 0, NULL, chosen), 0);
	assert_int_equal(chosen[0].pool, 1);

	struct version_status version;
	struct binding held[] = {{.pool = 1, .slot = 1, .version = 3}};
	struct service_state web = holder("web", 0, &version, held, 1);
	const struct service_state *states[] = {&web};
	assert_int_equal(choose(placement, 1, states, 1, NULL, chosen), 0);
	assert_int_equal(chosen[0].pool, 2);
	assert_true(placement_has_room_for_all(placement, &fabric, states, 1));

	struct pool first = more[1];
	more[1] = more[2];
	more[2] = first;
	placement = update(placement, NULL, 0);
	assert_int_equal(choose(placement, 1, NULL, 0, NULL, chosen), 0);
	assert_int_equal(chosen[0].pool, 2);

	fabric.pool_count = 2;
	placement = update(placement, states, 1);
	assert_int_equal(placement->pool_count, 3);
	struct binding all[] = {{.pool = 2, .slot = 1, .version = 3},
				{.pool = 2, .slot = 2, .version = 3},
				{.pool = 2, .slot = 3, .version = 3}};
	web = holder("web", 0, &version, all, 3);
	struct error err = {0};
	assert_int_equal(choose(placement, 1, states, 1, &err, chosen), -FL_EEXHAUSTED);
	assert_string_equal(err.text, "pool 203.0.113.0/29 has no free slot for service api");
}

/* Who gives a slot up when several want one: pool 1 has 7 slots for all, pool 0 plenty. */
static void wants_are_met_together(void **state)
{
	(void)state;
	static const struct {
		unsigned own[3]; /* slots of web, api and mail, without the late ones */
		unsigned late[3];
		unsigned freed[3]; /* a moment ago */
		size_t wants[3]; /* of these services */
		size_t want_count;
		uint8_t gives[3]; /* who is to give one up? */
	} cases[] = {
	    /* One is free, and one wants it. */
	    {{1, 1}, {2, 2}, {0}, {0}, 1, {0, 0, 0}},
	    /* Two want it: each gives one of its own up, and nobody else. */
	    {{1, 1}, {2, 2}, {0}, {0, 1}, 2, {1, 1, 0}},
	    {{1, 1, 1}, {1, 1, 1}, {0}, {0, 1}, 2, {1, 1, 0}},
	    /* What the one got back already, the nodes have to apply; the other takes the free one.
	     */
	    {{1, 1}, {1, 2}, {1, 0}, {0, 1}, 2, {0, 0, 0}},
	    {{1, 1}, {1, 2}, {1, 0}, {0, 1, 2}, 3, {0, 1, 1}},
	    /* A service without a slot can have only what rested: everybody gives up. */
	    {{1, 1}, {3, 2}, {0}, {2}, 1, {1, 1, 1}},
	    /* What was given up already rests for it. */
	    {{1, 1}, {2, 2}, {1, 0}, {2}, 1, {0, 0, 1}},
	};
	pools[1] = (struct pool){.prefix = prefix("198.51.100.0/28"), .site_bits = 1};
	fabric.service_count = 3;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct placement *placement = update(NULL, NULL, 0);
		struct version_status versions[3];
		struct binding held[3][7];
		struct service_state holders[3];
		const struct service_state *states[3];
		uint32_t slot = 1;
		for (uint32_t s = 0; s < 3; s++) {
			size_t count = 0;
			for (unsigned n = 0; n < cases[i].own[s] + cases[i].late[s]; n++)
				held[s][count++] =
				    (struct binding){.pool = 1,
						     .slot = slot++,
						     .version = 3,
						     .is_late = n >= cases[i].own[s]};
			holders[s] = holder(services[s].name, s, &versions[s], held[s], count);
			versions[s].state = VERSION_SERVING;
			states[s] = &holders[s];
			for (unsigned n = 0; n < cases[i].freed[s]; n++) {
				struct binding freed = {.pool = 1, .slot = slot++};
				assert_int_equal(
				    placement_free(placement, &freed, s, 101, 50000, &arena), 0);
			}
		}
		uint32_t wanting[3];
		for (size_t w = 0; w < cases[i].want_count; w++)
			wanting[w] = (uint32_t)cases[i].wants[w];
		const struct placement_wants wants = {.services = wanting,
						      .count = cases[i].want_count};
		struct placement_shortage shortage;
		placement_find_shortage(placement, &fabric, &wants, states, 3, &NOW, &shortage);
		for (uint32_t s = 0; s < 3; s++) {
			uint8_t wanted =
			    placement_wanted(placement, &fabric, &shortage, s, states, 3, &NOW);
			assert_int_equal(wanted, cases[i].gives[s] << 1);
		}
	}
}

/* Slots 1 and 2 of the IPv4 pool are for web, which is the only service. */
static void give_two_slots(void)
{
	pools[1] = (struct pool){
	    .prefix = prefix("198.51.100.0/29"), .site_bits = 1, .slots_per_service = 3};
	fabric.service_count = 1;
}

/* What was freed and is held again belongs to its holder, whatever the list of free slots says. */
static void held_slots_are_not_reused(void **state)
{
	(void)state;
	give_two_slots();
	struct placement *placement = update(NULL, NULL, 0);
	struct version_status version;
	struct binding slots[] = {{.pool = 1, .slot = 1, .version = 3},
				  {.pool = 1, .slot = 2, .version = 3}};
	struct service_state web = holder("web", 0, &version, slots, 2);
	const struct service_state *states[] = {&web};
	struct binding chosen[PLACEMENT_FAMILIES];
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(placement_free(placement, &slots[i], 0, 1, 10 + i, &arena), 0);
	assert_int_equal(choose(placement, 0, states, 1, NULL, chosen), -FL_EEXHAUSTED);
	/* Slot 1 was free for longer, but only slot 2 is not held. */
	web.binding_count = 1;
	assert_int_equal(choose(placement, 0, states, 1, NULL, chosen), 0);
	assert_int_equal(chosen[0].slot, 2);
}

/* Without a pool of a family there is no binding of it, and that is no shortage. */
static void a_fabric_may_have_one_family_only(void **state)
{
	(void)state;
	struct binding chosen[PLACEMENT_FAMILIES];
	size_t count = 0;
	struct error err = {0};
	fabric.pool_count = 1;
	struct placement *placement = update(NULL, NULL, 0);
	assert_int_equal(
	    placement_choose(placement, &fabric, 0, NULL, 0, &NOW, chosen, &count, &err), 0);
	assert_int_equal(count, 1);
	assert_int_equal(placement->pools[chosen[0].pool].pool.prefix.address.family, IP_V6);
	assert_int_equal(placement_exhausted(placement, &fabric, 0, NULL, 0, &NOW), 0);
}

/* A site that has a number, but not in this pool; a pool that is not there. */
static void some_bindings_have_no_address(void **state)
{
	(void)state;
	fabric.pool_count = 1;
	fabric.site_count = 3;
	struct placement *placement = update(NULL, NULL, 0);
	const struct pool narrow = {.prefix = prefix("198.51.100.0/30"), .site_bits = 1};
	struct placed_pool placed[] = {placement->pools[0], {.pool = narrow}};
	placement->pools = placed;
	placement->pool_count = 2;
	struct binding binding = {.pool = 1, .slot = 0};
	assert_int_equal(placement_address(placement, &binding, "nyc").family, IP_V4);
	assert_int_equal(placement_address(placement, &binding, "lon").family, IP_NONE);
	binding.pool = 2;
	assert_int_equal(placement_address(placement, &binding, "nyc").family, IP_NONE);
}

/* Its address at the first site is the pool's own: nobody gets it, not even from a block or after
 * it was held; who holds it already keeps it. */
static void slot_0_is_not_given_out(void **state)
{
	(void)state;
	struct binding chosen[PLACEMENT_FAMILIES];
	struct placement *placement = update(NULL, NULL, 0);
	assert_int_equal(choose(placement, 0, NULL, 0, NULL, chosen), 0);
	assert_int_equal(chosen[0].slot, 1);
	assert_int_equal(chosen[1].slot, 1);

	struct version_status version;
	struct binding held[] = {{.pool = 1, .slot = 0, .version = 3}};
	struct service_state web = holder("web", 0, &version, held, 1);
	const struct service_state *states[] = {&web};
	assert_int_equal(choose(placement, 0, states, 1, NULL, chosen), 0);
	assert_int_equal(chosen[0].slot, 1);
	assert_int_equal(placement_free(placement, &held[0], 0, 1, 1, &arena), 0);
	struct binding other[] = {{.pool = 1, .slot = 1, .version = 3}};
	web = holder("web", 0, &version, other, 1);
	assert_int_equal(choose(placement, 0, states, 1, NULL, chosen), -FL_EEXHAUSTED);

	pools[0].slots_per_service = 4;
	placement = update(NULL, NULL, 0);
	assert_int_equal(choose(placement, 0, NULL, 0, NULL, chosen), 0);
	assert_int_equal(chosen[1].slot, 1);
	assert_int_equal(choose(placement, 1, NULL, 0, NULL, chosen), 0);
	assert_int_equal(chosen[1].slot, 4);
}

/* All services share both pools: a slot to spare in each is one for anybody. */
static void pools_with_room_for_all_are_exhausted_for_nobody(void **state)
{
	(void)state;
	struct placement *placement = update(NULL, NULL, 0);
	struct version_status version;
	struct binding held[] = {{.pool = 1, .slot = 1, .version = 3}};
	struct service_state web = holder("web", 0, &version, held, 1);
	const struct service_state *states[] = {&web};
	assert_true(placement_has_room_for_all(placement, &fabric, NULL, 0));
	assert_int_equal(placement_exhausted(placement, &fabric, 1, NULL, 0, &NOW), 0);
	assert_false(placement_has_room_for_all(placement, &fabric, states, 1));
	assert_int_equal(placement_exhausted(placement, &fabric, 1, states, 1, &NOW), 1 << 1);
	/* Whether each block has one, this look does not tell. */
	pools[0].slots_per_service = 4;
	assert_false(placement_has_room_for_all(update(NULL, NULL, 0), &fabric, NULL, 0));
}

/* Slot 1 of the IPv4 pool is the only one that is not held; who may have it, and when? */
static void used_slots_wait(void **state)
{
	(void)state;
	static const struct {
		uint32_t service; /* that held it last */
		uint64_t freed_ms;
		uint64_t sequence;
		int result;
	} cases[] = {
	    /* The same service at once. */
	    {1, 49999, 100, 0},
	    /* Another only after quarantine. */
	    {0, 49001, 90, -FL_EEXHAUSTED},
	    {0, 49000, 90, 0},
	    /* The clock went back: no quarantine is over. */
	    {0, 50001, 90, -FL_EEXHAUSTED},
	    /* Nobody before every node has dropped what it meant. */
	    {1, 49000, 101, -FL_EEXHAUSTED},
	    {0, 40000, 101, -FL_EEXHAUSTED},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct placement *placement = update(NULL, NULL, 0);
		struct version_status version;
		struct binding held = {.pool = 1, .slot = 0, .version = 3};
		struct service_state web = holder("web", 0, &version, &held, 1);
		const struct service_state *states[] = {&web};
		struct binding freed = {.pool = 1, .slot = 1, .number = 6};
		assert_int_equal(placement_free(placement, &freed, cases[i].service,
						cases[i].sequence, cases[i].freed_ms, &arena),
				 0);
		struct binding chosen[PLACEMENT_FAMILIES];
		assert_int_equal(choose(placement, 1, states, 1, NULL, chosen), cases[i].result);
		if (cases[i].result == 0) {
			assert_int_equal(chosen[0].slot, 1);
			assert_int_equal(chosen[0].number, 7);
		}
	}
}

static void used_slots_are_taken_in_order(void **state)
{
	(void)state;
	struct placement *placement = update(NULL, NULL, 0);
	/* Both IPv4 slots were used: the own one comes before the older one of another. */
	struct binding slots[] = {{.pool = 1, .slot = 0}, {.pool = 1, .slot = 1}};
	assert_int_equal(placement_free(placement, &slots[0], 0, 1, 10, &arena), 0);
	assert_int_equal(placement_free(placement, &slots[1], 1, 1, 20, &arena), 0);
	struct binding chosen[PLACEMENT_FAMILIES];
	assert_int_equal(choose(placement, 1, NULL, 0, NULL, chosen), 0);
	assert_int_equal(chosen[0].slot, 1);
	/* Freed again, a slot has one record, the newest; a copy made before keeps the old one. */
	struct placement before = *placement;
	assert_int_equal(placement_free(placement, &slots[1], 0, 1, 5, &arena), 0);
	assert_int_equal(before.used_slots[1].free_wall_ms, 20);
	assert_int_equal(placement->used_slot_count, 2);
	assert_int_equal(choose(placement, 0, NULL, 0, NULL, chosen), 0);
	assert_int_equal(chosen[0].slot, 1);
}

static void blocks_keep_services_apart(void **state)
{
	(void)state;
	struct error err = {0};
	struct binding chosen[PLACEMENT_FAMILIES];
	pools[0].slots_per_service = 32768;
	struct placement *placement = update(NULL, NULL, 0), *full = NULL;
	assert_int_equal(choose(placement, 1, NULL, 0, NULL, chosen), 0);
	assert_int_equal(chosen[1].slot, 32768);
	fabric.service_count = 3;
	assert_int_equal(placement_update(placement, &fabric, NULL, 0, &arena, &full, &err),
			 -FL_EEXHAUSTED);
	assert_non_null(strstr(err.text, "no block of 32768 slots left for service mail"));
}

/* A service of that index left; what it held waits out its quarantine for the next of the index. */
static void indices_carry_no_slots_over(void **state)
{
	(void)state;
	pools[1] = (struct pool){.prefix = prefix("198.51.100.0/32")};
	fabric.site_count = 1;
	fabric.service_count = 1;
	struct placement *one = update(NULL, NULL, 0);
	struct binding slot = {.pool = 1, .slot = 0};
	assert_int_equal(placement_free(one, &slot, 0, 1, 49500, &arena), 0);
	services[0].name = "other";
	struct placement *two = update(one, NULL, 0);
	assert_int_equal(placement_service(two, "other"), 0);
	struct binding chosen[PLACEMENT_FAMILIES];
	struct error err = {0};
	assert_int_equal(choose(two, 0, NULL, 0, &err, chosen), -FL_EEXHAUSTED);
	assert_non_null(strstr(err.text, "no free slot"));
}

static void running_out_of_memory_is_an_error(void **state)
{
	(void)state;
	int result = -ENOMEM;
	for (size_t limit = 16; result == -ENOMEM; limit += 16) {
		struct arena small;
		struct placement *placement = NULL;
		arena_init(&small, limit);
		result = placement_update(NULL, &fabric, NULL, 0, &small, &placement, NULL);
		assert_int_equal(placement != NULL, result == 0);
		arena_done(&small);
	}
	assert_int_equal(result, 0);
}

static void rollouts_a_day_follow_from_slots(void **state)
{
	(void)state;
	const uint64_t day_ms = 86400000, hour_ms = 3600000;
	struct pool shared = {.prefix = prefix("198.51.100.0/26"), .site_bits = 1};
	assert_int_equal(pool_rollouts_per_day(&shared, 1, day_ms - hour_ms, hour_ms), 30);
	assert_int_equal(pool_rollouts_per_day(&shared, 4, day_ms - hour_ms, hour_ms), 6);
	assert_int_equal(pool_rollouts_per_day(&shared, 17, day_ms, 0), 0);
	assert_int_equal(pool_rollouts_per_day(&shared, 1, 0, 0), UINT32_MAX);
	shared.slots_per_service = 3;
	assert_int_equal(pool_rollouts_per_day(&shared, 4, hour_ms, hour_ms), 24);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(numbers_survive_edits),
	    TEST(indices_are_free_only_without_a_state),
	    TEST(site_numbers_run_out),
	    TEST(held_pools_cannot_change),
	    TEST(a_reshaped_pool_forgets_its_slots),
	    TEST(pools_beyond_the_limit_take_removed_places),
	    TEST(each_family_gets_the_lowest_free_slot),
	    TEST(full_pools_are_named),
	    TEST(pools_are_used_in_the_files_order),
	    TEST(wants_are_met_together),
	    TEST(held_slots_are_not_reused),
	    TEST(a_fabric_may_have_one_family_only),
	    TEST(some_bindings_have_no_address),
	    TEST(slot_0_is_not_given_out),
	    TEST(pools_with_room_for_all_are_exhausted_for_nobody),
	    TEST(used_slots_wait),
	    TEST(used_slots_are_taken_in_order),
	    TEST(blocks_keep_services_apart),
	    TEST(indices_carry_no_slots_over),
	    TEST(running_out_of_memory_is_an_error),
	    TEST(rollouts_a_day_follow_from_slots),
	};
	return cmocka_run_group_tests_name("placement", tests, NULL, NULL);
}
