/* SPDX-License-Identifier: Apache-2.0 */
/* Records: what is written is read back equal, and what was damaged is refused with a sentence. */
#include "base/arena.h"
#include "state/records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct service_state sample_state(struct version_status versions[2],
					 struct binding bindings[2])
{
	versions[0] = (struct version_status){.number = 1,
					      .state = VERSION_DRAINING,
					      .sequence = 2,
					      .changed_sequence = 9,
					      .changed_wall_ms = 1795332664123u,
					      .served = true,
					      .reopened = true};
	versions[1] = (struct version_status){
	    .number = 2, .state = VERSION_SERVING, .sequence = 7, .cut = true, .dismantled = true};
	versions[1].digest.bytes[0] = 0xab;
	bindings[0] = (struct binding){.pool = 1,
				       .slot = 5,
				       .version = 1,
				       .number = 3,
				       .sequence = 9,
				       .refusing = true,
				       .changed_wall_ms = 17};
	bindings[1] = (struct binding){.slot = 6,
				       .version = 2,
				       .number = 1,
				       .is_late = true,
				       .reclaiming = true,
				       .released = true};
	struct service_state state = {.name = "web",
				      .index = 4,
				      .next_version = 3,
				      .versions = versions,
				      .version_count = 2,
				      .bindings = bindings,
				      .binding_count = 2,
				      .rollout = {.base = 1,
						  .target = 2,
						  .share = 3277,
						  .step = 1,
						  .step_wall_ms = 99,
						  .paused = true}};
	state.rollout.salt[15] = 0x7f;
	return state;
}

static void a_service_state_round_trips(void **unused)
{
	(void)unused;
	struct version_status versions[2];
	struct binding bindings[2];
	struct service_state state = sample_state(versions, bindings);
	struct buffer first, second;
	struct arena arena;
	struct service_state *back;
	arena_init(&arena, 0);
	buffer_init(&first, 0);
	buffer_init(&second, 0);
	assert_int_equal(record_service_put(&state, &first), 0);
	assert_int_equal(record_service_parse(first.data, first.length, &arena, &back, NULL), 0);
	assert_string_equal(back->name, "web");
	assert_int_equal(back->binding_count, 2);
	assert_memory_equal(back->versions, versions, sizeof(versions));
	assert_memory_equal(back->bindings, bindings, sizeof(bindings));
	assert_memory_equal(&back->rollout, &state.rollout, sizeof(state.rollout));
	assert_int_equal(record_service_put(back, &second), 0);
	assert_string_equal(first.data, second.data);
	buffer_done(&first);
	buffer_done(&second);
	arena_done(&arena);
}

/* Every truncation is refused; nothing crashes. */
static void a_damaged_service_state_is_refused(void **unused)
{
	(void)unused;
	struct version_status versions[2];
	struct binding bindings[2];
	struct service_state state = sample_state(versions, bindings);
	struct buffer value;
	buffer_init(&value, 0);
	assert_int_equal(record_service_put(&state, &value), 0);
	for (size_t length = 0; length < value.length; length++) {
		struct arena arena;
		struct service_state *back;
		struct error err = {0};
		arena_init(&arena, 0);
		assert_int_equal(record_service_parse(value.data, length, &arena, &back, &err),
				 -FL_ECORRUPT);
		assert_non_null(strstr(err.text, "service state"));
		arena_done(&arena);
	}
	buffer_done(&value);
}

static void a_placement_round_trips(void **unused)
{
	(void)unused;
	struct placed_pool pools[1] = {{.pool = {.site_bits = 4, .slots_per_service = 256}}};
	assert_int_equal(ip_prefix_parse("2001:db8:f::/108", &pools[0].pool.prefix), 0);
	struct placed_slot slots[1] = {{.slot = 3,
					.service = PLACEMENT_NO_SERVICE,
					.free_wall_ms = 5,
					.binding_number = 6,
					.sequence = 7}};
	const char *sites[] = {"fra", "nyc"};
	const char *services[] = {"web", ""};
	const struct placement placement = {.pools = pools,
					    .pool_count = 1,
					    .sites = sites,
					    .site_count = 2,
					    .services = services,
					    .service_count = 2,
					    .used_slots = slots,
					    .used_slot_count = 1};
	struct arena arena;
	struct buffer value;
	struct placement *back;
	arena_init(&arena, 0);
	buffer_init(&value, 0);
	assert_int_equal(record_placement_put(&placement, &value), 0);
	assert_int_equal(record_placement_parse(value.data, value.length, &arena, &back, NULL), 0);
	assert_memory_equal(back->used_slots, slots, sizeof(slots));
	assert_memory_equal(&back->pools[0].pool.prefix, &pools[0].pool.prefix,
			    sizeof(pools[0].pool.prefix));
	assert_string_equal(back->sites[1], "nyc");
	assert_string_equal(back->services[1], "");
	for (size_t length = 0; length < value.length; length++) {
		struct placement *none;
		assert_int_equal(record_placement_parse(value.data, length, &arena, &none, NULL),
				 -FL_ECORRUPT);
	}
	buffer_done(&value);
	arena_done(&arena);
}

/* What the parser takes up to 2^32 - 1 must not be written as something that it refuses. */
static void the_largest_numbers_round_trip(void **unused)
{
	(void)unused;
	struct version_status versions[2];
	struct binding bindings[2];
	struct placed_pool pools[1] = {{.pool = {.slots_per_service = UINT32_MAX}}};
	struct placed_slot slots[1] = {{.slot = UINT32_MAX, .service = UINT32_MAX}};
	const struct placement placement = {
	    .pools = pools, .pool_count = 1, .used_slots = slots, .used_slot_count = 1};
	struct service_state state = sample_state(versions, bindings);
	struct service_state *state_back;
	struct placement *placement_back;
	struct buffer value;
	struct arena arena;
	state.index = state.next_version = versions[1].number = UINT32_MAX;
	state.rollout.base = state.rollout.target = UINT32_MAX;
	bindings[1].slot = bindings[1].version = UINT32_MAX;
	assert_int_equal(ip_prefix_parse("10.0.0.0/8", &pools[0].pool.prefix), 0);

	arena_init(&arena, 0);
	buffer_init(&value, 0);
	assert_int_equal(record_service_put(&state, &value), 0);
	assert_int_equal(record_service_parse(value.data, value.length, &arena, &state_back, NULL),
			 0);
	assert_int_equal(state_back->index, UINT32_MAX);
	assert_int_equal(state_back->next_version, UINT32_MAX);
	assert_memory_equal(state_back->versions, versions, sizeof(versions));
	assert_memory_equal(state_back->bindings, bindings, sizeof(bindings));
	assert_memory_equal(&state_back->rollout, &state.rollout, sizeof(state.rollout));
	buffer_done(&value);

	buffer_init(&value, 0);
	assert_int_equal(record_placement_put(&placement, &value), 0);
	assert_int_equal(
	    record_placement_parse(value.data, value.length, &arena, &placement_back, NULL), 0);
	assert_memory_equal(placement_back->used_slots, slots, sizeof(slots));
	assert_int_equal(placement_back->pools[0].pool.slots_per_service, UINT32_MAX);
	buffer_done(&value);
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_service_state_round_trips),
	    cmocka_unit_test(a_damaged_service_state_is_refused),
	    cmocka_unit_test(a_placement_round_trips),
	    cmocka_unit_test(the_largest_numbers_round_trip),
	};
	return cmocka_run_group_tests_name("records", tests, NULL, NULL);
}
