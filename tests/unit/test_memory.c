/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation of the modules below the store fails in turn (failing_memory.h): base, wire,
 * model, config, control, and what of dataplane and landing needs no kernel. Each returns -ENOMEM,
 * leaks nothing, and leaves its arguments as they were. The store and the daemon's state are in
 * test_memory_state.c, naming in test_naming_memory.c.
 */
#include "base/arena.h"
#include "base/buffer.h"
#include "base/file.h"
#include "base/memory.h"
#include "config/config.h"
#include "control/command.h"
#include "control/protocol.h"
#include "control/render.h"
#include "dataplane/slots.h"
#include "failing_memory.h"
#include "landing/sockets.h"
#include "model/placement.h"
#include "model/version.h"
#include "plan/plan.h"
#include "wire/peer.h"
#include "yaml/findings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static const char file_text[] =
    "fabric: example\n"
    "zone: svc.example.net\n"
    "nameservers: {ns1: [10.0.0.2]}\n"
    "pools:\n"
    "  - {prefix: \"2001:db8:f::/108\", site_bits: 4, slots_per_service: 256}\n"
    "  - {prefix: 198.51.100.0/26, site_bits: 1}\n"
    "sites:\n"
    "  fra: {location: [50.11, 8.68], clients: [192.0.2.0/25]}\n"
    "  nyc: {location: [40.71, -74.01]}\n"
    "services:\n"
    "  web:\n"
    "    ports: [tcp/80, tcp/443]\n"
    "    health: {http: {port: 80, path: /healthz}, interval: 2s, fall: 3, rise: 2}\n"
    "    rollout: {shares: [5%, 25%, 100%], pause: 60s}\n"
    "    backends:\n"
    "      - {name: web1, site: fra, address: 10.0.1.11, weight: 10}\n"
    "      - {name: web2, site: nyc, address: \"2001:db8:1::12\", weight: 10}\n";

/* The same with another backend, so that there is something to plan. */
static char *changed_text(void)
{
	char *text = strdup(file_text);
	assert_non_null(text);
	char *at = strstr(text, "10.0.1.11");
	assert_non_null(at);
	at[8] = '4';
	return text;
}

/* What the steps work with, made while there is memory. */
static struct {
	struct arena arena;
	struct fabric *fabric;
	struct fabric *changed;
	struct placement *placement;
	struct version *version;
	struct plan *plan;
	struct buffer encoded;
} sample;

static struct fabric *parse(const char *text, struct arena *arena)
{
	static struct findings findings;
	struct fabric *fabric = NULL;
	assert_int_equal(config_parse(text, strlen(text), "f", arena, &fabric, &findings), 0);
	return fabric;
}

static int setup(void **state)
{
	if (failing_memory_setup(state) < 0)
		return -1;
	struct random random;
	char *changed = changed_text();
	random_init_seeded(&random, 1);
	arena_init(&sample.arena, 0);
	sample.fabric = parse(file_text, &sample.arena);
	sample.changed = parse(changed, &sample.arena);
	free(changed);
	assert_int_equal(
	    placement_update(NULL, sample.fabric, NULL, 0, &sample.arena, &sample.placement, NULL),
	    0);
	assert_int_equal(version_build(sample.fabric, &sample.fabric->services[0], 1, NULL, &random,
				       &sample.arena, &sample.version, NULL),
			 0);
	assert_int_equal(
	    plan_build(sample.fabric, sample.changed, NULL, 0, &sample.arena, &sample.plan, NULL),
	    0);
	buffer_init(&sample.encoded, 0);
	version_encode(sample.version, &sample.encoded);
	return sample.encoded.status;
}

static int teardown(void **state)
{
	(void)state;
	buffer_done(&sample.encoded);
	arena_done(&sample.arena);
	return 0;
}

/* Most steps allocate from an arena, whose failures are then NULLs. */
static size_t arena_limit;

static int in_arena(int (*step)(struct arena *arena))
{
	struct arena arena;
	arena_init(&arena, arena_limit);
	int result = step(&arena);
	arena_done(&arena);
	return result;
}

/* Most of what a step wants of its arena lies in a block that is there already: so the arena ends
 * at each place as well. */
static void each_in_arena(const char *name, int (*step)(void *context), unsigned least)
{
	failing_memory_each(name, step, NULL, least);
	unsigned failures = 0;
	for (arena_limit = 1;; arena_limit += 16, failures++) {
		int result = step(NULL);
		if (result == 0)
			break;
		if (result != -ENOMEM)
			fail_msg("%s: %d in an arena of %zu bytes", name, result, arena_limit);
	}
	arena_limit = 0;
	assert_true(failures > 0);
}

/* --- base --- */

static int arena_step(struct arena *arena)
{
	return arena_alloc(arena, 100) && arena_array(arena, 3, 40000) &&
		       arena_strdup(arena, "text") && arena_strndup(arena, "text", 2) &&
		       arena_printf(arena, "%070000d", 1)
		   ? 0
		   : -ENOMEM;
}

static int step_arena(void *context)
{
	(void)context;
	return in_arena(arena_step);
}

static int step_buffer(void *context)
{
	struct buffer buffer;
	(void)context;
	buffer_init(&buffer, 0);
	for (int i = 0; i < 100; i++)
		buffer_printf(&buffer, "%0200d", i);
	int result = buffer.status;
	char *taken = buffer_take(&buffer);
	assert_int_equal(result == 0, taken != NULL);
	free(taken);
	buffer_done(&buffer);
	return result;
}

static int step_read(void *context)
{
	struct buffer bytes;
	struct error err = {0};
	(void)context;
	buffer_init(&bytes, 0);
	int result = file_read("/proc/self/maps", &bytes, &err);
	assert_int_equal(err.code, result);
	buffer_done(&bytes);
	return result;
}

static void test_base(void **state)
{
	(void)state;
	each_in_arena("arena", step_arena, 3);
	failing_memory_each("buffer", step_buffer, NULL, 3);
	failing_memory_each("file_read", step_read, NULL, 1);
}

/* --- model --- */

static int build_step(struct arena *arena)
{
	struct random random;
	struct version *version = NULL;
	random_init_seeded(&random, 1);
	int result = version_build(sample.fabric, &sample.fabric->services[0], 2, sample.version,
				   &random, arena, &version, NULL);
	assert_int_equal(result < 0, !version);
	return result;
}

static int step_build(void *context)
{
	(void)context;
	return in_arena(build_step);
}

static int step_encode(void *context)
{
	struct buffer bytes;
	(void)context;
	buffer_init(&bytes, 0);
	version_encode(sample.version, &bytes);
	int result = bytes.status;
	buffer_done(&bytes);
	return result;
}

static int step_digest(void *context)
{
	struct digest digest;
	(void)context;
	return version_digest(sample.version, &digest);
}

static int decode_step(struct arena *arena)
{
	struct version *version = NULL;
	return version_decode(sample.encoded.data, sample.encoded.length, arena, &version);
}

static int step_decode(void *context)
{
	(void)context;
	return in_arena(decode_step);
}

static int placement_step(struct arena *arena)
{
	struct placement *placement = NULL;
	int result =
	    placement_update(sample.placement, sample.changed, NULL, 0, arena, &placement, NULL);
	assert_int_equal(result < 0, !placement);
	if (!placement)
		return result;
	const struct binding binding = {.slot = 3, .version = 1, .number = 1};
	struct placement before = *placement;
	result = placement_free(placement, &binding, 0, 7, 1000, arena);
	if (result < 0)
		assert_memory_equal(&before, placement, sizeof(before));
	return result;
}

static int step_placement(void *context)
{
	(void)context;
	return in_arena(placement_step);
}

static int lifecycle_step(struct arena *arena)
{
	struct service_state service = {.name = "web", .next_version = 1};
	const struct binding binding = {.slot = 1};
	const uint8_t salt[16] = {0};
	struct error err = {0};
	int result =
	    lifecycle_publish(&service, sample.version, &binding, 1, salt, 2, 1000, arena, &err);
	if (result < 0) {
		assert_int_equal(service.version_count, 0);
		assert_int_equal(service.binding_count, 0);
		return result;
	}
	const struct rollout_policy policy = {.shares = {SHARE_WHOLE}, .share_count = 1};
	const struct version_observation held = {.held = true};
	const struct binding_observation seen = {.applied_by_all_ms = 1};
	const struct service_observation observations = {
	    .wall_ms = 2000, .policy = &policy, .versions = &held, .bindings = &seen};
	struct transition transitions[LIFECYCLE_MAX_TRANSITIONS];
	result = lifecycle_next(&service, &observations, arena, transitions);
	return result < 0 ? result : 0;
}

static int step_lifecycle(void *context)
{
	(void)context;
	return in_arena(lifecycle_step);
}

static void test_model(void **state)
{
	(void)state;
	each_in_arena("version_build", step_build, 2);
	failing_memory_each("version_encode", step_encode, NULL, 2);
	failing_memory_each("version_digest", step_digest, NULL, 2);
	each_in_arena("version_decode", step_decode, 1);
	each_in_arena("placement", step_placement, 1);
	each_in_arena("lifecycle", step_lifecycle, 1);
}

/* --- config --- */

static int parse_step(struct arena *arena)
{
	static struct findings findings;
	struct fabric *fabric = NULL;
	int result = config_parse(file_text, strlen(file_text), "f", arena, &fabric, &findings);
	assert_int_equal(result < 0, !fabric);
	return result;
}

static int step_parse(void *context)
{
	(void)context;
	return in_arena(parse_step);
}

static int findings_step(struct arena *arena)
{
	static const char wrong[] = "fabric: 7\nzone: [\"x\"]\nsites: {fra: {location: 3}}\n";
	static struct findings findings;
	struct fabric *fabric = NULL;
	int result = config_parse(wrong, strlen(wrong), "f", arena, &fabric, &findings);
	if (result != -FL_EINVALID)
		return result;
	struct buffer text;
	buffer_init(&text, 0);
	findings_render(&findings, &text);
	json_t *json = findings_json(&findings);
	result = text.status < 0 ? text.status : json ? 0 : -ENOMEM;
	json_decref(json);
	buffer_done(&text);
	return result;
}

static int step_findings(void *context)
{
	(void)context;
	return in_arena(findings_step);
}

static int step_emit(void *context)
{
	struct buffer text;
	(void)context;
	buffer_init(&text, 0);
	config_emit(sample.fabric, &text);
	config_capacity_render(sample.fabric, &text);
	int result = text.status;
	buffer_done(&text);
	return result;
}

static int plan_step(struct arena *arena)
{
	struct plan *plan = NULL;
	const struct plan_live_version live = {.number = 1, .state = "serving"};
	const struct plan_live_service service = {.name = "web",
						  .current = sample.version,
						  .next_version = 2,
						  .versions = &live,
						  .version_count = 1};
	return plan_build(sample.fabric, sample.changed, &service, 1, arena, &plan, NULL);
}

static int step_plan(void *context)
{
	(void)context;
	return in_arena(plan_step);
}

static int step_plan_shown(void *context)
{
	struct buffer text;
	(void)context;
	buffer_init(&text, 0);
	plan_render(sample.plan, &text);
	json_t *json = plan_json(sample.plan);
	json_t *capacity = config_capacity_json(sample.fabric);
	int result = text.status < 0 ? text.status : json && capacity ? 0 : -ENOMEM;
	json_decref(json);
	json_decref(capacity);
	buffer_done(&text);
	return result;
}

static void test_config(void **state)
{
	(void)state;
	each_in_arena("config_parse", step_parse, 3);
	each_in_arena("findings", step_findings, 5);
	failing_memory_each("config_emit", step_emit, NULL, 2);
	each_in_arena("plan_build", step_plan, 1);
	failing_memory_each("plan shown", step_plan_shown, NULL, 1);
}

/* --- wire --- */

static const struct peer_op wire_op = {.key = "key", .value = {"value", 5}};
static const struct peer_message wire_message = {
    .number = PEER_STORE_TXN,
    .store_txn = {.call = 1, .id = "id", .ops = {&wire_op, 1}},
};
static struct buffer wire_frame;

static int step_message(void *context)
{
	struct buffer bytes;
	(void)context;
	buffer_init(&bytes, 0);
	int result = peer_encode(&wire_message, &bytes, NULL);
	buffer_done(&bytes);
	return result;
}

static int message_step(struct arena *arena)
{
	struct peer_message message = {.number = PEER_CUT};
	int result = peer_decode(wire_frame.data, wire_frame.length, arena, &message, NULL);
	assert_int_equal(message.number, result ? PEER_CUT : PEER_STORE_TXN);
	return result == 0 && !wire_clean_text("text", 4, arena) ? -ENOMEM : result;
}

static int step_take_message(void *context)
{
	(void)context;
	return in_arena(message_step);
}

static void test_wire(void **state)
{
	(void)state;
	buffer_init(&wire_frame, 0);
	assert_int_equal(peer_encode(&wire_message, &wire_frame, NULL), 0);
	failing_memory_each("peer_encode", step_message, NULL, 2);
	each_in_arena("peer_decode", step_take_message, 1);
	buffer_done(&wire_frame);
}

/* --- planes --- */

static int step_slots(void *context)
{
	struct slots slots;
	(void)context;
	int result = slots_init(&slots, 1, 1000);
	if (result == 0)
		slots_done(&slots);
	return result;
}

static int step_connections(void *context)
{
	struct connection_table table = {0};
	struct landing_connections *connections = NULL;
	size_t count = 0;
	int result = 0;
	(void)context;
	for (unsigned i = 0; i < 100 && result == 0; i++) {
		const struct ip_address address = {.family = IP_V4,
						   .bytes = {10, 0, 0, (uint8_t)i}};
		result = connection_table_add(&table, &address);
	}
	if (result == 0)
		connection_table_take(&table, &connections, &count);
	free(connections);
	connection_table_done(&table);
	return result;
}

static void test_planes(void **state)
{
	(void)state;
	failing_memory_each("slots", step_slots, NULL, 1);
	failing_memory_each("connection_table", step_connections, NULL, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_base),   cmocka_unit_test(test_model),
	    cmocka_unit_test(test_config), cmocka_unit_test(test_wire),
	    cmocka_unit_test(test_planes),
	};
	return cmocka_run_group_tests_name("memory", tests, setup, teardown);
}
