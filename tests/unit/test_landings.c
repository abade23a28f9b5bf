/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What landings are to be: kept up to date by what changed, it is the same as looked at anew; what
 * is sent of it adds up at the other end, and what does not is refused. FAIRLEAD_SEED=N repeats a
 * walk.
 */
#include "fabric/landings.h"

#include "../addresses.h"
#include "../seed.h"
#include "base/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVICES 4u
#define VERSIONS 3u
#define BACKENDS 5u
#define STEPS 600u

/* A small fabric that can be changed at will; the image of it is made by hand. */
struct world {
	struct random random;
	struct image image;
	struct placement placement;
	struct placed_pool pools[2];
	const char *sites[2];
	struct image_member members[2];
	struct member nodes[2];
	struct image_service services[SERVICES];
	struct image_service *list[SERVICES];
	struct service_state states[SERVICES];
	struct version_status statuses[SERVICES][VERSIONS];
	struct binding bindings[SERVICES][2 * VERSIONS];
	struct image_version versions[SERVICES][VERSIONS];
	struct image_version *version_list[SERVICES][VERSIONS];
	struct version contents[SERVICES][VERSIONS];
	struct backend backends[SERVICES][VERSIONS][BACKENDS];
	struct backend_listener listeners[SERVICES][VERSIONS][BACKENDS];
};

static const char *const backend_names[BACKENDS] = {"a", "b", "c", "d", "e"};

static unsigned below(struct world *world, unsigned bound)
{
	return (unsigned)random_below(&world->random, bound);
}

static void draw_version(struct world *world, unsigned s, unsigned v)
{
	struct version *version = &world->contents[s][v];
	*version = (struct version){.number = v + 1, .backends = world->backends[s][v]};
	for (unsigned b = 0; b < BACKENDS; b++) {
		struct backend *backend = &version->backends[version->backend_count];
		struct backend_listener *listener = &world->listeners[s][v][version->backend_count];
		if (below(world, 2))
			continue;
		*backend = (struct backend){
		    .name = backend_names[b],
		    .address = address(below(world, 4) ? "10.0.0.1" : "2001:db8::1"),
		    .listeners = listener};
		backend->address.bytes[3] = (uint8_t)(b + 1 + 10 * below(world, 2));
		if (below(world, 2)) {
			backend->listener_count = 1;
			*listener = (struct backend_listener){
			    .protocol = 6, .service_port = 80, .port = (uint16_t)(8080 + s)};
			if (below(world, 2))
				listener->address = address(below(world, 2) ? "127.0.0.1" : "::1");
		}
		version->backend_count++;
	}
}

static void draw_service(struct world *world, unsigned s)
{
	struct service_state *state = &world->states[s];
	state->binding_count = 0;
	for (unsigned v = 0; v < VERSIONS; v++) {
		draw_version(world, s, v);
		world->statuses[s][v] =
		    (struct version_status){.number = v + 1, .cut = below(world, 4) == 0};
		for (unsigned pool = 0; pool < 2 && below(world, 3); pool++)
			state->bindings[state->binding_count++] = (struct binding){
			    .pool = (uint8_t)pool, .slot = 1 + s * VERSIONS + v, .version = v + 1};
	}
	world->services[s].state = below(world, 8) ? state : NULL;
	world->services[s].mod_revision = ++world->image.revision;
}

static void world_init(struct world *world, uint64_t seed)
{
	static const char *const names[SERVICES] = {"dns", "mail", "shop", "web"};
	*world = (struct world){.sites = {"fra", "nyc"}};
	random_init_seeded(&world->random, seed);
	world->pools[0].pool = (struct pool){.prefix = prefix("198.51.100.0/24"), .site_bits = 1};
	world->pools[1].pool = (struct pool){.prefix = prefix("2001:db8:f::/108"), .site_bits = 4};
	world->placement = (struct placement){
	    .pools = world->pools, .pool_count = 2, .sites = world->sites, .site_count = 2};
	world->nodes[0] = (struct member){.name = "edge1",
					  .roles = MEMBER_EDGE,
					  .sources = {address("192.0.2.1")},
					  .source_count = 1};
	world->nodes[1] = (struct member){.name = "names1",
					  .roles = MEMBER_NAMES,
					  .sources = {address("192.0.2.2")},
					  .source_count = 1};
	for (unsigned m = 0; m < 2; m++)
		world->members[m] =
		    (struct image_member){.member = &world->nodes[m], .mod_revision = 1};
	world->image = (struct image){.placement = &world->placement,
				      .placement_revision = 1,
				      .services = world->list,
				      .service_count = SERVICES,
				      .members = world->members,
				      .members_revision = 1,
				      .member_count = 2,
				      .revision = 1};
	for (unsigned s = 0; s < SERVICES; s++) {
		struct image_service *service = &world->services[s];
		snprintf(service->name, sizeof(service->name), "%s", names[s]);
		service->versions = world->version_list[s];
		service->version_count = VERSIONS;
		world->list[s] = service;
		world->states[s] = (struct service_state){.name = names[s],
							  .versions = world->statuses[s],
							  .version_count = VERSIONS,
							  .bindings = world->bindings[s]};
		for (unsigned v = 0; v < VERSIONS; v++) {
			world->versions[s][v].version = &world->contents[s][v];
			world->version_list[s][v] = &world->versions[s][v];
		}
		draw_service(world, s);
	}
}

static struct landings *update_new(const struct world *world)
{
	struct landings *landings;
	assert_int_equal(landings_new(&landings), 0);
	assert_int_equal(landings_update(landings, &world->image), 0);
	return landings;
}

static struct landing_set *wanted(struct landings *landings, const char *name)
{
	struct landing_set *set;
	assert_int_equal(landings_wanted(landings, name, &set), 0);
	return set;
}

static size_t count(struct landings *landings, const char *name, enum landing_list list)
{
	const struct landing_set *set = wanted(landings, name);
	return set ? set->lists[list].count : 0;
}

static bool same_generation(const struct landing_set *a, const struct landing_set *b)
{
	return a && b && memcmp(&a->generation, &b->generation, sizeof(a->generation)) == 0;
}

/* --- what is wanted --------------------------------------------------------------------------- */

static void a_landing_gets_what_its_services_say(void **state)
{
	(void)state;
	static struct world world;
	world_init(&world, 1);
	for (unsigned s = 0; s < SERVICES; s++) {
		world.services[s].state = NULL;
		world.states[s].binding_count = 0;
	}
	/* web: version 1 on both pools, a with a listener of IPv4, b without one. */
	struct backend_listener *listener = &world.listeners[3][0][0];
	*listener = (struct backend_listener){
	    .protocol = 6, .service_port = 80, .address = address("127.0.0.1"), .port = 8080};
	world.contents[3][0].backend_count = 2;
	world.backends[3][0][0] = (struct backend){.name = "a",
						   .address = address("10.0.0.1"),
						   .listeners = listener,
						   .listener_count = 1};
	world.backends[3][0][1] = (struct backend){.name = "b", .address = address("10.0.0.2")};
	world.bindings[3][0] = (struct binding){.pool = 0, .slot = 5, .version = 1};
	world.bindings[3][1] = (struct binding){.pool = 1, .slot = 5, .version = 1};
	world.statuses[3][0].cut = true;
	world.states[3].binding_count = 2;
	world.services[3].state = &world.states[3];
	struct landings *landings = update_new(&world);
	assert_null(wanted(landings, "c"));
	assert_int_equal(count(landings, "a", LANDING_POOLS), 2);
	assert_int_equal(count(landings, "a", LANDING_EDGES), 1); /* not the name server */
	assert_int_equal(count(landings, "a", LANDING_ADDRESSES), 1);
	assert_int_equal(count(landings, "b", LANDING_LISTENERS), 0);
	/* At each site; not for IPv6, which a listener of IPv4 cannot take. */
	assert_int_equal(count(landings, "a", LANDING_LISTENERS), 2);
	const struct peer_listener *rows = wanted(landings, "a")->lists[LANDING_LISTENERS].items;
	char text[IP_TEXT_BYTES];
	assert_string_equal(ip_prefix_format(&rows[0].destination, text), "198.51.100.5/32");
	assert_string_equal(ip_prefix_format(&rows[1].destination, text), "198.51.100.133/32");
	assert_int_equal(rows[0].port, 80);
	assert_int_equal(rows[0].listen_port, 8080);
	assert_int_equal(landings_cuts(landings).count, 4);

	/* The service ends: so do its landings. */
	world.services[3].state = NULL;
	world.image.revision++;
	assert_int_equal(landings_update(landings, &world.image), 0);
	assert_null(wanted(landings, "a"));
	assert_int_equal(landings_cuts(landings).count, 0);
	landings_free(landings);
}

static void an_unchanged_landing_keeps_its_set(void **state)
{
	(void)state;
	static struct world world;
	world_init(&world, 2);
	struct landings *landings = update_new(&world);
	const struct landing_set *before = wanted(landings, "a");
	assert_non_null(before);
	/* A record that changed, and means the same to landings. */
	world.services[0].mod_revision = ++world.image.revision;
	assert_int_equal(landings_update(landings, &world.image), 0);
	assert_ptr_equal(wanted(landings, "a"), before);
	/* A placement that changed in what is no landing's affair. */
	world.image.placement_revision = ++world.image.revision;
	assert_int_equal(landings_update(landings, &world.image), 0);
	assert_ptr_equal(wanted(landings, "a"), before);
	/* An edge is on the fence until it is none any more. */
	world.nodes[1].roles = MEMBER_EDGE;
	world.image.members_revision = ++world.image.revision;
	assert_int_equal(landings_update(landings, &world.image), 0);
	assert_int_equal(count(landings, "a", LANDING_EDGES), 2);
	landings_free(landings);
}

/* The landings of a fabric that changes step by step, and a landing that is sent each step. */
static void what_changed_adds_up(void **state)
{
	(void)state;
	static struct world world;
	struct landing_set *sent[BACKENDS] = {NULL};
	struct landing_set *held[BACKENDS] = {NULL};
	unsigned differences = 0;
	world_init(&world, seed_choose(1));
	struct landings *landings = update_new(&world);
	for (unsigned step = 0; step < STEPS; step++) {
		if (below(&world, 10) == 0) {
			world.pools[1].removed = below(&world, 2);
			world.placement.site_count = 1 + below(&world, 2);
			world.image.placement_revision = ++world.image.revision;
		} else {
			draw_service(&world, below(&world, SERVICES));
		}
		if (below(&world, 3) == 0)
			continue; /* several changes at once */
		assert_int_equal(landings_update(landings, &world.image), 0);
		struct landings *anew = update_new(&world);
		assert_int_equal(landings_cuts(landings).count, landings_cuts(anew).count);
		for (unsigned b = 0; b < BACKENDS; b++) {
			struct landing_set *ours = wanted(landings, backend_names[b]);
			struct landing_set *theirs = wanted(anew, backend_names[b]);
			assert_int_equal(!ours, !theirs);
			if (!ours)
				continue;
			assert_true(same_generation(ours, theirs));
			assert_false(landing_generation_is_none(&ours->generation));
			if (sent[b] && same_generation(sent[b], ours))
				continue;
			struct arena arena;
			struct peer_configure message;
			struct landing_set *next;
			arena_init(&arena, 0);
			differences += sent[b] != NULL;
			assert_int_equal(landing_set_diff(sent[b], ours, &arena, &message), 0);
			assert_int_equal(landing_set_apply(held[b], &message, &next, NULL), 0);
			assert_true(same_generation(next, ours));
			landing_set_unref(held[b]);
			landing_set_unref(sent[b]);
			held[b] = next;
			sent[b] = landing_set_ref(ours);
			arena_done(&arena);
		}
		landings_free(anew);
	}
	assert_true(differences > STEPS / 4);
	for (unsigned b = 0; b < BACKENDS; b++) {
		landing_set_unref(held[b]);
		landing_set_unref(sent[b]);
	}
	landings_free(landings);
}

static void a_difference_to_something_else_is_refused(void **state)
{
	(void)state;
	const struct peer_address edges[] = {
	    {address("10.0.0.2")}, {address("10.0.0.1")}, {address("10.0.0.2")}};
	const struct wire_list one[LANDING_LISTS] = {[LANDING_EDGES] = {edges, 1}};
	const struct wire_list two[LANDING_LISTS] = {[LANDING_EDGES] = {edges, 3}};
	struct landing_set *first;
	struct landing_set *second;
	struct landing_set *result = NULL;
	struct peer_configure message;
	struct arena arena;
	struct error err = {0};
	arena_init(&arena, 0);
	assert_int_equal(landing_set_new(one, &first), 0);
	assert_int_equal(landing_set_new(two, &second), 0);
	assert_int_equal(second->lists[LANDING_EDGES].count, 2);
	assert_int_equal(landing_set_diff(first, second, &arena, &message), 0);
	assert_int_equal(message.edges_added.count, 1);
	assert_int_equal(message.edges_removed.count, 0);
	/* Nothing is there, or something else than what it was made from. */
	assert_int_equal(landing_set_apply(NULL, &message, &result, &err), -FL_ECONFLICT);
	assert_int_equal(landing_set_apply(second, &message, &result, &err), -FL_ECONFLICT);
	/* It does not lead to what it says. */
	message.edges_added.count = 0;
	assert_int_equal(landing_set_apply(first, &message, &result, &err), -FL_ECONFLICT);
	assert_true(*err.text);
	assert_null(result);
	/* All of it takes the place of whatever is there. */
	assert_int_equal(landing_set_diff(NULL, second, &arena, &message), 0);
	assert_true(message.whole);
	assert_int_equal(landing_set_apply(first, &message, &result, &err), 0);
	assert_true(same_generation(result, second));
	landing_set_unref(result);
	landing_set_unref(first);
	landing_set_unref(second);
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_landing_gets_what_its_services_say),
	    cmocka_unit_test(an_unchanged_landing_keeps_its_set),
	    cmocka_unit_test(what_changed_adds_up),
	    cmocka_unit_test(a_difference_to_something_else_is_refused),
	};
	return cmocka_run_group_tests_name("landings", tests, NULL, NULL);
}
