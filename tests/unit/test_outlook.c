/* SPDX-License-Identifier: Apache-2.0 */
/* The outlook: whom a version waits for, by name, and who has its connections. */
#include "fabric/outlook.h"

#include "../addresses.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#define INTERVAL_MS 1000u
#define QUIET_MS 5000u
#define STALE_MS 8000u
#define DRAINED_MS 20000u /* since when version 1 drains */
#define HEAD 9u

/* Version 1 of `web` drains, on two backends; version 2 serves. Two edges, a name server. */
struct bench {
	uint64_t now_ms;
	struct clock clock;
	const char *site;
	struct placed_pool pool;
	struct placement placement;
	struct fabric fabric;
	struct member members[3];
	struct image_member records[3];
	struct backend backends[2];
	struct version version;
	struct image_version image_version;
	struct image_version *version_list;
	struct version_status versions[2];
	struct binding bindings[2];
	struct service_state state;
	const struct service_state *states;
	struct service config;
	struct image_service service;
	struct image_service *services;
	struct image image;
	struct observations *observations;
	struct reports *reports;
	struct landings *landings;
	struct driver *driver;
	struct arena arena;
	struct outlook outlook;
};

static uint64_t bench_now(void *context)
{
	const struct bench *bench = context;
	return bench->now_ms;
}

static struct ledger_position entry(uint64_t sequence)
{
	struct ledger_position position = {.sequence = sequence};
	memset(position.digest.bytes, (int)sequence, DIGEST_BYTES);
	return position;
}

static void node_says(struct bench *bench, size_t index, uint64_t applied, uint64_t packet_ago_ms)
{
	const struct member *member = &bench->members[index];
	const struct activity activity = {address("198.51.100.1"), .new_flow_ago_ms = QUIET_MS,
					  .packet_ago_ms = packet_ago_ms};
	bool is_edge = member->roles == MEMBER_EDGE;
	const struct observation said = {.node = member->name,
					 .instance = "i",
					 .is_edge = is_edge,
					 .edge_applied = entry(is_edge ? applied : 0),
					 .activity = &activity,
					 .activity_count = is_edge,
					 .is_names = !is_edge,
					 .names_applied = entry(is_edge ? 0 : applied)};
	assert_int_equal(
	    observations_take(bench->observations, &bench->image, &said, bench->now_ms), 0);
}

static void backend_says(struct bench *bench, const char *name, const char *owned, uint32_t count)
{
	const struct report_moment moment = {
	    .now_ms = bench->now_ms, .interval_ms = INTERVAL_MS, .image = &bench->image};
	const struct peer_hello who = {.node = name, .boot_id = "b", .instance = "i"};
	struct arena arena;
	arena_init(&arena, 0);
	struct peer_end *end = arena_array(&arena, 1, sizeof(*end));
	struct peer_count *counts = arena_array(&arena, 1, sizeof(*counts));
	assert_true(end && counts);
	end->address = address(owned);
	*counts = (struct peer_count){.address = address("198.51.100.1"), .connections = count};
	const struct peer_report said = {.owned = {end, 1},
					 .counts = {counts, count != 0},
					 .cookies_known = true,
					 .cookies_ms = UINT64_MAX};
	assert_int_equal(reports_take(bench->reports, &who, &said, &arena, &moment, NULL), 0);
	arena_done(&arena);
}

/* Everyone is heard and has applied everything, and nothing is used. */
static void all_is_well(struct bench *bench)
{
	for (size_t i = 0; i < 3; i++)
		node_says(bench, i, HEAD, QUIET_MS);
	backend_says(bench, "a", "10.0.0.1", 0);
	backend_says(bench, "b", "10.0.0.2", 0);
}

static void tell(void *context, const char *event, json_t *fields)
{
	(void)context;
	(void)event;
	json_decref(fields);
}

static int set_up(void **state)
{
	static struct bench bench;
	static const struct rollout_policy whole = {.shares = {SHARE_WHOLE}, .share_count = 1};
	bench = (struct bench){
	    .now_ms = 1000000,
	    .site = "fra",
	    .members = {{.name = "edge1", .roles = MEMBER_EDGE},
			{.name = "edge2", .roles = MEMBER_EDGE},
			{.name = "ns1", .roles = MEMBER_NAMES}},
	    .backends = {{.name = "a", .site = "fra", .address = address("10.0.0.1"), .weight = 1},
			 {.name = "b", .site = "fra", .address = address("10.0.0.2"), .weight = 1}},
	    .versions = {{.number = 1,
			  .state = VERSION_DRAINING,
			  .sequence = 1,
			  .changed_sequence = 8,
			  .changed_wall_ms = 1000000 - DRAINED_MS,
			  .served = true},
			 {.number = 2, .state = VERSION_SERVING, .sequence = 5}},
	    .bindings = {{.slot = 1, .version = 1, .number = 1, .sequence = 3},
			 {.slot = 2, .version = 2, .number = 1, .sequence = 5}}};
	bench.clock = (struct clock){.now_ms = bench_now, .wall_ms = bench_now, .context = &bench};
	bench.pool.pool = (struct pool){.prefix = prefix("198.51.100.0/24")};
	bench.placement = (struct placement){
	    .pools = &bench.pool, .pool_count = 1, .sites = &bench.site, .site_count = 1};
	bench.config = (struct service){.name = "web", .rollout = whole};
	bench.fabric = (struct fabric){.settings = {.report_interval_ms = INTERVAL_MS,
						    .quiet_ms = QUIET_MS,
						    .stale_ms = STALE_MS},
				       .pools = &bench.pool.pool,
				       .pool_count = 1};
	bench.version =
	    (struct version){.number = 1, .backends = bench.backends, .backend_count = 2};
	bench.image_version.version = &bench.version;
	bench.version_list = &bench.image_version;
	bench.state =
	    (struct service_state){.name = "web",
				   .rollout = {.base = 2, .target = 2, .share = SHARE_WHOLE},
				   .versions = bench.versions,
				   .version_count = 2,
				   .bindings = bench.bindings,
				   .binding_count = 2};
	bench.service = (struct image_service){.name = "web",
					       .state = &bench.state,
					       .configured = &bench.config,
					       .mod_revision = 1,
					       .versions = &bench.version_list,
					       .version_count = 1};
	bench.services = &bench.service;
	bench.states = &bench.state;
	bench.image = (struct image){.fabric = &bench.fabric,
				     .placement = &bench.placement,
				     .services = &bench.services,
				     .service_count = 1,
				     .states = &bench.states,
				     .state_count = 1,
				     .members = bench.records,
				     .member_count = 3,
				     .head = {.sequence = HEAD},
				     .revision = 1};
	for (size_t i = 0; i < 3; i++)
		bench.records[i].member = &bench.members[i];
	for (uint64_t i = 1; i <= HEAD; i++)
		bench.image.chain[i] = entry(i);
	arena_init(&bench.arena, 0);
	*state = &bench;
	assert_int_equal(observations_new(&bench.observations), 0);
	assert_int_equal(reports_new(&bench.reports), 0);
	assert_int_equal(landings_new(&bench.landings), 0);
	const struct driver_options options = {.image = &bench.image,
					       .observations = bench.observations,
					       .reports = bench.reports,
					       .landings = bench.landings,
					       .clock = &bench.clock,
					       .steady = &bench.clock,
					       .tell = tell};
	return driver_new(&options, &bench.driver);
}

static int tear_down(void **state)
{
	struct bench *bench = *state;
	driver_free(bench->driver);
	landings_free(bench->landings);
	reports_free(bench->reports);
	observations_free(bench->observations);
	arena_done(&bench->arena);
	return 0;
}

/* What version 1 waits for first; NULL: for nothing. */
static const char *first_wait(struct bench *bench)
{
	assert_int_equal(
	    outlook_find(bench->driver, &bench->state, 0, &bench->arena, &bench->outlook), 0);
	return bench->outlook.wait_count ? bench->outlook.waits[0].text : NULL;
}

static void nothing_is_in_its_way(void **state)
{
	struct bench *bench = *state;
	all_is_well(bench);
	bench->now_ms += STALE_MS; /* since the name server acknowledged */
	all_is_well(bench);
	assert_null(first_wait(bench));
	assert_int_equal(bench->outlook.limit_ms, UINT64_MAX);
}

static void who_is_waited_for_has_a_name(void **state)
{
	struct bench *bench = *state;
	all_is_well(bench);
	bench->now_ms += 1;
	assert_string_equal(first_wait(bench), "resolvers have forgotten it, after settings.stale");
	assert_int_equal(bench->outlook.waits[0].left_ms, STALE_MS - 1);

	backend_says(bench, "b", "10.0.0.2", 7);
	assert_string_equal(first_wait(bench), "its connections have ended");
	bench->now_ms += 4 * INTERVAL_MS;
	for (size_t i = 0; i < 3; i++)
		node_says(bench, i, HEAD, QUIET_MS);
	backend_says(bench, "a", "10.0.0.1", 0);
	assert_string_equal(first_wait(bench),
			    "the connections are known that each backend has (b: "
			    "it does not report)");
	all_is_well(bench);
	bench->versions[0].changed_wall_ms = bench->now_ms;
	assert_string_equal(first_wait(bench),
			    "every backend has counted since DNS named it last (a has not)");
}

static void nodes_that_lag_have_names_too(void **state)
{
	struct bench *bench = *state;
	all_is_well(bench);
	observations_free(bench->observations);
	assert_int_equal(observations_new(&bench->observations), 0);
	driver_free(bench->driver);
	const struct driver_options options = {.image = &bench->image,
					       .observations = bench->observations,
					       .reports = bench->reports,
					       .landings = bench->landings,
					       .clock = &bench->clock,
					       .steady = &bench->clock,
					       .tell = tell};
	assert_int_equal(driver_new(&options, &bench->driver), 0);
	node_says(bench, 0, HEAD, QUIET_MS);
	node_says(bench, 1, 2, QUIET_MS);
	node_says(bench, 2, 7, QUIET_MS);
	assert_string_equal(first_wait(bench),
			    "every node has applied its addresses (edge2 has not)");
	node_says(bench, 1, HEAD, QUIET_MS);
	assert_string_equal(first_wait(bench),
			    "every name server has ceased to name it (ns1 has not)");
	bench->now_ms += 4 * INTERVAL_MS;
	node_says(bench, 0, HEAD, QUIET_MS);
	node_says(bench, 2, HEAD, QUIET_MS);
	backend_says(bench, "a", "10.0.0.1", 0);
	backend_says(bench, "b", "10.0.0.2", 0);
	assert_string_equal(first_wait(bench), "every node is heard (edge2 is not)");
	/* Of a staged version it is the edge that is heard and lags. */
	bench->versions[0].state = VERSION_STAGED;
	bench->versions[0].sequence = HEAD;
	node_says(bench, 1, HEAD - 1, QUIET_MS);
	assert_string_equal(first_wait(bench),
			    "every edge that is heard holds it (edge2 does not)");
	bench->now_ms += OBSERVATION_EDGE_HEARD_MS + 1;
	assert_string_equal(first_wait(bench), "every edge that is heard holds it (none is heard)");
}

/* Whosesoever they are: they keep it from closing. */
static void strangers_hold_connections_too(void **state)
{
	struct bench *bench = *state;
	all_is_well(bench);
	backend_says(bench, "a", "10.0.0.1", 2);
	backend_says(bench, "z", "10.0.0.9", 5);
	assert_string_equal(first_wait(bench), "its connections have ended");
	assert_int_equal(bench->outlook.holder_count, 3);
	const struct connection_holder *holders = bench->outlook.holders;
	assert_string_equal(holders[2].backend, "z");
	assert_null(holders[2].of);
	assert_int_equal(holders[0].connections, 2);
	assert_int_equal(holders[1].connections, 0);
	assert_int_equal(holders[2].connections, 5);
	assert_true(holders[0].known && holders[1].known && holders[2].known);
}

static void a_packet_is_the_use_of_udp(void **state)
{
	struct bench *bench = *state;
	bench->version.ports[0] =
	    (struct service_port){.protocol = SERVICE_UDP, .first = 53, .last = 53};
	bench->version.port_count = 1;
	all_is_well(bench);
	bench->now_ms += STALE_MS;
	all_is_well(bench);
	assert_null(first_wait(bench));
	node_says(bench, 1, HEAD, 1200);
	assert_string_equal(first_wait(bench),
			    "no packet has come for settings.quiet, for UDP the only sign");
	assert_int_equal(bench->outlook.waits[0].left_ms, QUIET_MS - 1200);
	assert_true(bench->outlook.has_udp && bench->outlook.packets_known);
	assert_int_equal(bench->outlook.packet_ago_ms, 1200);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(nothing_is_in_its_way),         TEST(who_is_waited_for_has_a_name),
	    TEST(nodes_that_lag_have_names_too), TEST(strangers_hold_connections_too),
	    TEST(a_packet_is_the_use_of_udp),
	};
#undef TEST
	return cmocka_run_group_tests(tests, NULL, NULL);
}
