/* SPDX-License-Identifier: Apache-2.0 */
/* The gate: no client is led to a backend that is not known to be well. */
#include "fabric/gate.h"

#include "../addresses.h"
#include "base/alarms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#define NOW_MS 100000u
#define INTERVAL_MS 10000u /* the default, for want of a configuration */

/* One version of one service, two backends, one edge, which is heard. */
struct world {
	struct placed_pool pool;
	const char *site;
	struct placement placement;
	struct member node;
	struct image_member member;
	struct backend_listener listener;
	struct backend backends[2];
	struct version version;
	struct image_version image_version;
	struct image_version *version_list;
	struct version_status status;
	struct binding binding;
	struct service_state state;
	struct image_service service;
	struct image_service *services;
	struct image image;
	struct observations *observations;
	struct reports *reports;
	struct landings *landings;
};

static struct sights sights_of(struct world *world, uint64_t now_ms)
{
	return (struct sights){.image = &world->image,
			       .observations = world->observations,
			       .reports = world->reports,
			       .now_ms = now_ms};
}

/* `lost` NULL: the edge has a next hop for everybody. */
static void edge_says(struct world *world, const char *lost, uint64_t now_ms)
{
	const struct ip_address unreached = lost ? address(lost) : (struct ip_address){0};
	const struct observation observation = {.node = "edge1",
						.instance = "e",
						.is_edge = true,
						.unreached = &unreached,
						.unreached_count = lost != NULL};
	assert_int_equal(
	    observations_take(world->observations, &world->image, &observation, now_ms), 0);
}

struct word {
	const char *name, *owns, *instance;
	bool not_configured;
	enum alarm_code alarm;
	const char *subject; /* of the alarm; NULL: there is none */
};

static int landing_says(struct world *world, const struct word *word, uint64_t now_ms)
{
	const struct report_moment moment = {
	    .now_ms = now_ms, .interval_ms = INTERVAL_MS, .image = &world->image};
	const struct peer_hello who = {
	    .node = word->name, .boot_id = "b", .instance = word->instance ? word->instance : "i"};
	struct landing_set *set = NULL;
	struct arena arena;
	assert_int_equal(landings_update(world->landings, &world->image), 0);
	assert_int_equal(landings_wanted(world->landings, word->name, &set), 0);
	arena_init(&arena, 0);
	struct peer_end *owned = arena_array(&arena, 1, sizeof(*owned));
	struct peer_alarm *alarm = arena_array(&arena, 1, sizeof(*alarm));
	assert_non_null(owned);
	assert_non_null(alarm);
	const char *owns = word->owns ? word->owns : *word->name == 'a' ? "10.0.0.1" : "10.0.0.2";
	if (*owns)
		owned->address = address(owns);
	*alarm =
	    (struct peer_alarm){.code = alarm_rows[word->alarm].code,
				.severity = alarm_severity_name(alarm_rows[word->alarm].severity),
				.subject = word->subject,
				.text = "the sky falls"};
	struct peer_report said = {.owned = {owned, *owns != 0},
				   .cookies_known = true,
				   .cookies_ms = UINT64_MAX,
				   .alarms = {alarm, word->subject != NULL}};
	said.generation.bytes[0] = 1;
	if (set && !word->not_configured)
		said.generation = set->generation;
	int result = reports_take(world->reports, &who, &said, &arena, &moment, NULL);
	arena_done(&arena);
	return result;
}

#define SAY(world, now_ms, ...)                                                                    \
	assert_int_equal(landing_says(world, &(const struct word){__VA_ARGS__}, now_ms), 0)

static int setup(void **state)
{
	static struct world world;
	world = (struct world){
	    .site = "fra",
	    .node = {.name = "edge1", .roles = MEMBER_EDGE},
	    .listener = {.protocol = 6, .service_port = 80, .port = 8080},
	    .backends = {{.name = "a", .address = address("10.0.0.1"), .weight = 10},
			 {.name = "b", .address = address("10.0.0.2"), .weight = 10}},
	    .status = {.number = 1},
	    .binding = {.slot = 1, .version = 1},
	};
	world.backends[0].listeners = &world.listener;
	world.backends[0].listener_count = 1;
	world.pool.pool = (struct pool){.prefix = prefix("198.51.100.0/24"), .site_bits = 1};
	world.placement = (struct placement){
	    .pools = &world.pool, .pool_count = 1, .sites = &world.site, .site_count = 1};
	world.member = (struct image_member){.member = &world.node, .mod_revision = 1};
	world.version =
	    (struct version){.number = 1, .backends = world.backends, .backend_count = 2};
	world.image_version.version = &world.version;
	world.version_list = &world.image_version;
	world.state = (struct service_state){.name = "web",
					     .versions = &world.status,
					     .version_count = 1,
					     .bindings = &world.binding,
					     .binding_count = 1};
	world.service = (struct image_service){.name = "web",
					       .state = &world.state,
					       .mod_revision = 1,
					       .versions = &world.version_list,
					       .version_count = 1};
	world.services = &world.service;
	world.image = (struct image){.placement = &world.placement,
				     .placement_revision = 1,
				     .services = &world.services,
				     .service_count = 1,
				     .members = &world.member,
				     .members_revision = 1,
				     .member_count = 1,
				     .revision = 1};
	*state = &world;
	return observations_new(&world.observations) || reports_new(&world.reports) ||
	       landings_new(&world.landings);
}

static int teardown(void **state)
{
	struct world *world = *state;
	observations_free(world->observations);
	reports_free(world->reports);
	landings_free(world->landings);
	return 0;
}

/* How many it waits for; the first of them is `name`, for this reason. */
static void assert_waits(struct world *world, uint64_t now_ms, size_t count, const char *name,
			 enum gate_reason reason)
{
	struct gate_wait wait = {.reason = GATE_OPEN};
	const struct sights sights = sights_of(world, now_ms);
	assert_int_equal(gate_find(&sights, world->landings, &world->version, &wait, 1), count);
	assert_int_equal(wait.reason, reason);
	if (name)
		assert_string_equal(wait.backend->name, name);
}

static void backends_that_report_well_are_not_waited_for(void **state)
{
	struct world *world = *state;
	edge_says(world, NULL, NOW_MS);
	assert_waits(world, NOW_MS, 2, "a", GATE_NEVER_REPORTED);
	SAY(world, NOW_MS, .name = "a");
	assert_waits(world, NOW_MS, 1, "b", GATE_NEVER_REPORTED);
	SAY(world, NOW_MS, .name = "b", .not_configured = true);
	assert_waits(world, NOW_MS, 1, "b", GATE_NOT_CONFIGURED);
	SAY(world, NOW_MS, .name = "b");
	assert_waits(world, NOW_MS, 0, NULL, GATE_OPEN);
	assert_waits(world, NOW_MS + 3 * INTERVAL_MS + 1, 2, "a", GATE_SILENT);
}

/* Of a version that is only planned nobody was told yet, and no edge looks for its backends. */
static void what_is_planned_waits_for_reports_only(void **state)
{
	struct world *world = *state;
	struct gate_wait wait;
	struct sights sights = sights_of(world, NOW_MS);
	assert_int_equal(gate_find(&sights, NULL, &world->version, &wait, 1), 2);
	assert_int_equal(wait.reason, GATE_NEVER_REPORTED);
	SAY(world, NOW_MS, .name = "a", .not_configured = true);
	SAY(world, NOW_MS, .name = "b");
	assert_int_equal(gate_find(&sights, NULL, &world->version, &wait, 1), 0);
	sights = sights_of(world, NOW_MS + 3 * INTERVAL_MS + 1);
	assert_int_equal(gate_find(&sights, NULL, &world->version, &wait, 1), 2);
	assert_int_equal(wait.reason, GATE_SILENT);
}

static void whose_report_it_is_matters(void **state)
{
	struct world *world = *state;
	edge_says(world, NULL, NOW_MS);
	SAY(world, NOW_MS, .name = "b");
	SAY(world, NOW_MS, .name = "a", .owns = "");
	assert_waits(world, NOW_MS, 1, "a", GATE_ELSEWHERE);
	SAY(world, NOW_MS, .name = "a", .instance = "j");
	assert_waits(world, NOW_MS, 0, NULL, GATE_OPEN);
	assert_int_equal(
	    landing_says(world, &(const struct word){.name = "a", .instance = "k"}, NOW_MS),
	    -FL_ECONFLICT);
	assert_waits(world, NOW_MS, 1, "a", GATE_DISPUTED);
}

static void an_alarm_is_waited_out(void **state)
{
	struct world *world = *state;
	char text[GATE_TEXT];
	struct gate_wait wait;
	const struct sights sights = sights_of(world, NOW_MS);
	edge_says(world, NULL, NOW_MS);
	SAY(world, NOW_MS, .name = "a");
	SAY(world, NOW_MS, .name = "b", .alarm = ALARM_UNDERLAY_DOWN, .subject = "interface/eth0");
	assert_waits(world, NOW_MS, 1, "b", GATE_ALARM);
	assert_int_equal(gate_find(&sights, world->landings, &world->version, &wait, 1), 1);
	assert_string_equal(gate_text(&wait, text), "its landing says: the sky falls");
	/* What was set back already is none, nor is what is about another address of the name, or
	 * about a listener of other versions. */
	SAY(world, NOW_MS, .name = "b", .alarm = ALARM_RULE_LOST, .subject = "rule/50");
	assert_waits(world, NOW_MS, 0, NULL, GATE_OPEN);
	SAY(world, NOW_MS, .name = "b", .alarm = ALARM_TUNNEL_END_GONE, .subject = "address/::9");
	assert_waits(world, NOW_MS, 0, NULL, GATE_OPEN);
	SAY(world, NOW_MS, .name = "a", .alarm = ALARM_LISTENER_NONE, .subject = "listener/* 8081");
	assert_waits(world, NOW_MS, 0, NULL, GATE_OPEN);
	SAY(world, NOW_MS, .name = "a", .alarm = ALARM_LISTENER_NONE, .subject = "listener/* 8080");
	assert_waits(world, NOW_MS, 1, "a", GATE_ALARM);
}

static void an_edge_without_a_next_hop_is_waited_for(void **state)
{
	struct world *world = *state;
	char text[GATE_TEXT];
	struct gate_wait wait;
	const struct sights sights = sights_of(world, NOW_MS);
	SAY(world, NOW_MS, .name = "a");
	SAY(world, NOW_MS, .name = "b");
	edge_says(world, "10.0.0.2", NOW_MS);
	assert_waits(world, NOW_MS, 1, "b", GATE_NO_NEXT_HOP);
	assert_int_equal(gate_find(&sights, world->landings, &world->version, &wait, 1), 1);
	assert_string_equal(gate_text(&wait, text), "edge edge1 has no next hop for it");
	/* Publishing waits for edges that are heard. */
	SAY(world, NOW_MS + OBSERVATION_EDGE_HEARD_MS + 1, .name = "a");
	SAY(world, NOW_MS + OBSERVATION_EDGE_HEARD_MS + 1, .name = "b");
	assert_waits(world, NOW_MS + OBSERVATION_EDGE_HEARD_MS + 1, 0, NULL, GATE_OPEN);
	edge_says(world, "10.0.0.9", NOW_MS + OBSERVATION_EDGE_HEARD_MS + 1);
	assert_waits(world, NOW_MS + OBSERVATION_EDGE_HEARD_MS + 1, 0, NULL, GATE_OPEN);
}

static void whoever_takes_no_flow_or_cannot_report_is_not_waited_for(void **state)
{
	struct world *world = *state;
	edge_says(world, NULL, NOW_MS);
	SAY(world, NOW_MS, .name = "a");
	world->backends[1].weight = 0;
	assert_waits(world, NOW_MS, 0, NULL, GATE_OPEN);
	world->backends[1].weight = 1;
	world->backends[1].no_landing = true;
	assert_waits(world, NOW_MS, 0, NULL, GATE_OPEN);
	edge_says(world, "10.0.0.2", NOW_MS);
	assert_waits(world, NOW_MS, 1, "b", GATE_NO_NEXT_HOP);
}

static void each_wait_is_told_of_once(void **state)
{
	struct gate_news *news;
	const struct backend a = {.name = "a"};
	const struct backend b = {.name = "b"};
	const struct gate_wait first = {.backend = &a, .reason = GATE_SILENT};
	const struct gate_wait other = {.backend = &b, .reason = GATE_SILENT};
	(void)state;
	assert_int_equal(gate_news_new(&news), 0);
	assert_false(gate_news_note(news, "web", 1, NULL));
	assert_true(gate_news_note(news, "web", 1, &first));
	assert_false(gate_news_note(news, "web", 1, &first));
	assert_true(gate_news_note(news, "mail", 1, &first));
	assert_true(gate_news_note(news, "web", 1, &other));
	assert_false(gate_news_note(news, "web", 1, NULL));
	assert_false(gate_news_note(news, "mail", 1, &first));
	assert_true(gate_news_note(news, "web", 2, &other));
	gate_news_free(news);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    TEST(backends_that_report_well_are_not_waited_for),
	    TEST(what_is_planned_waits_for_reports_only),
	    TEST(whose_report_it_is_matters),
	    TEST(an_alarm_is_waited_out),
	    TEST(an_edge_without_a_next_hop_is_waited_for),
	    TEST(whoever_takes_no_flow_or_cannot_report_is_not_waited_for),
	    cmocka_unit_test(each_wait_is_told_of_once),
	};
	return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
