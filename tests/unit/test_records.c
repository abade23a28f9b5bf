/* SPDX-License-Identifier: Apache-2.0 */
/* Records: what is written is read back equal, and what was damaged is refused with a sentence. */
#include "base/arena.h"
#include "state/config_records.h"
#include "state/placement_records.h"
#include "state/records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
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

static void the_records_of_numbers_round_trip(void **unused)
{
	(void)unused;
	struct placed_pool_record pool = {
	    .placed = {.pool = {.site_bits = 4, .slots_per_service = 256}, .removed = true},
	    .since = 12};
	struct freed_slot_record slot = {
	    .slot = {.free_wall_ms = 5, .binding_number = 6, .sequence = 7}, .service = "web"};
	struct placed_pool_record pool_back = {0};
	struct freed_slot_record slot_back = {0};
	char site_back[MODEL_NAME_BYTES];
	struct buffer values[3];
	for (size_t i = 0; i < 3; i++)
		buffer_init(&values[i], 0);
	assert_int_equal(ip_prefix_parse("2001:db8:f::/108", &pool.placed.pool.prefix), 0);
	assert_int_equal(placed_pool_put(&pool, &values[0]), 0);
	assert_int_equal(placed_site_put("fra", &values[1]), 0);
	assert_int_equal(freed_slot_put(&slot, &values[2]), 0);
	assert_string_equal(values[2].data, "{\"binding_number\":6,\"free_ms\":5,\"level\":1,"
					    "\"sequence\":7,\"service\":\"web\"}");

	assert_int_equal(placed_pool_parse(values[0].data, values[0].length, &pool_back, NULL), 0);
	assert_int_equal(pool_back.since, 12);
	assert_true(pool_back.placed.removed);
	assert_true(pool_equal(&pool_back.placed.pool, &pool.placed.pool));
	assert_int_equal(placed_site_parse(values[1].data, values[1].length, site_back, NULL), 0);
	assert_string_equal(site_back, "fra");
	assert_int_equal(freed_slot_parse(values[2].data, values[2].length, &slot_back, NULL), 0);
	assert_memory_equal(&slot_back, &slot, sizeof(slot));

	for (size_t length = 0; length < values[0].length; length++)
		assert_int_equal(placed_pool_parse(values[0].data, length, &pool_back, NULL),
				 -FL_ECORRUPT);
	for (size_t length = 0; length < values[1].length; length++)
		assert_int_equal(placed_site_parse(values[1].data, length, site_back, NULL),
				 -FL_ECORRUPT);
	for (size_t length = 0; length < values[2].length; length++)
		assert_int_equal(freed_slot_parse(values[2].data, length, &slot_back, NULL),
				 -FL_ECORRUPT);
	for (size_t i = 0; i < 3; i++)
		buffer_done(&values[i]);
}

/* Each key has one form: two records of one thing would contradict each other. */
static void keys_of_numbers_have_one_form(void **unused)
{
	(void)unused;
	static const char *const BAD[] = {
	    "",          "0",           "00",          "00/",
	    "00/1",      "08/0000001",  "00/00000001", "00/0000001x",
	    "0/0000001", "00/0000001/", "-1/0000001",  "00/4294967296"};
	char key[RECORD_KEY_BYTES];
	uint8_t pool = 9;
	uint32_t slot = 9;
	size_t number = 0;
	for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++)
		assert_int_equal(freed_slot_key_parse(BAD[i], &pool, &slot), -FL_ECORRUPT);
	freed_slot_key(7, 12345678, key);
	assert_string_equal(key, "placement/slot/07/12345678");
	assert_int_equal(
	    freed_slot_key_parse(record_key_rest(key, RECORD_FREED_SLOT), &pool, &slot), 0);
	assert_int_equal(pool, 7);
	assert_int_equal(slot, 12345678);
	assert_int_equal(placed_number_parse("012", 3, 255, &number), 0);
	assert_int_equal(number, 12);
	assert_int_equal(placed_number_parse("12", 3, 255, &number), -FL_ECORRUPT);
	assert_int_equal(placed_number_parse("256", 3, 255, &number), -FL_ECORRUPT);
}

static void the_first_releases_placement_is_read(void **unused)
{
	(void)unused;
	static const char TEXT[] =
	    "{\"pools\":[{\"prefix\":\"2001:db8:f::/108\",\"removed\":false,\"site_bits\":4,"
	    "\"slots_per_service\":4294967295}],\"services\":[\"web\",\"\"],"
	    "\"sites\":[\"fra\",\"nyc\"],\"used_slots\":[{\"binding_number\":6,\"free_ms\":5,"
	    "\"pool\":0,\"sequence\":7,\"service\":4294967295,\"slot\":3}]}";
	struct placement *placement;
	struct arena arena;
	arena_init(&arena, 0);
	assert_int_equal(old_placement_parse(TEXT, sizeof(TEXT) - 1, &arena, &placement, NULL), 0);
	assert_int_equal(placement->used_slots[0].service, PLACEMENT_NO_SERVICE);
	assert_int_equal(placement->used_slots[0].slot, 3);
	assert_int_equal(placement->pools[0].pool.slots_per_service, UINT32_MAX);
	assert_string_equal(placement->sites[1], "nyc");
	assert_string_equal(placement->services[1], "");
	for (size_t length = 0; length < sizeof(TEXT) - 1; length++)
		assert_int_equal(old_placement_parse(TEXT, length, &arena, &placement, NULL),
				 -FL_ECORRUPT);
	arena_done(&arena);
}

/* Who cannot read a level says so, and does not call the record damaged. */
static void a_higher_level_is_unsupported(void **unused)
{
	(void)unused;
	static const char HIGHER[] = "{\"level\":9,\"something\":\"new\"}";
	static const char VERSION[] = "\0\0\0\022fairlead version 4, and so on";
	struct arena arena;
	struct service_state *state;
	struct service service;
	struct version *version;
	struct error err = {0};
	uint64_t number;
	arena_init(&arena, 0);
	assert_int_equal(record_service_parse(HIGHER, sizeof(HIGHER) - 1, &arena, &state, &err),
			 -FL_EUNSUPPORTED);
	assert_string_equal(err.text, "the stored service state has level 9; this program reads up "
				      "to level 1");
	assert_int_equal(
	    config_service_parse(HIGHER, sizeof(HIGHER) - 1, "web", &arena, &service, &err),
	    -FL_EUNSUPPORTED);
	assert_int_equal(
	    record_sequence_parse(RECORD_FORGOTTEN, HIGHER, sizeof(HIGHER) - 1, &number, &err),
	    -FL_EUNSUPPORTED);
	assert_int_equal(record_version_parse(VERSION, sizeof(VERSION) - 1, &arena, &version, &err),
			 -FL_EUNSUPPORTED);
	assert_int_equal(record_level(HIGHER, sizeof(HIGHER) - 1), 9);
	assert_int_equal(record_level("17", 2), 1);
	assert_int_equal(record_level("{", 1), 1);
	assert_int_equal(record_service_parse("{\"level\":0}", 11, &arena, &state, &err),
			 -FL_ECORRUPT);
	assert_int_equal(record_service_parse(" {\"level\":2}", 12, &arena, &state, &err),
			 -FL_ECORRUPT);
	/* A level has 32 bits. */
	assert_int_equal(record_service_parse("{\"level\":4294967295}", 20, &arena, &state, &err),
			 -FL_EUNSUPPORTED);
	assert_int_equal(record_service_parse("{\"level\":4294967296}", 20, &arena, &state, &err),
			 -FL_ECORRUPT);
	arena_done(&arena);
}

static void a_sequence_is_all_of_its_record(void **unused)
{
	(void)unused;
	static const char *const BAD[] = {"", "x", "1x", "-1", "1.0", " 1", "99999999999999999999"};
	uint64_t number = 0;
	for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++)
		assert_int_equal(
		    record_sequence_parse(RECORD_FORGOTTEN, BAD[i], strlen(BAD[i]), &number, NULL),
		    -FL_ECORRUPT);
	assert_int_equal(record_sequence_parse(RECORD_FORGOTTEN, "170", 3, &number, NULL), 0);
	assert_int_equal(number, 170);
}

static void the_end_of_a_service_round_trips(void **unused)
{
	(void)unused;
	static const char *const BAD[] = {
	    "",
	    "7",
	    "{}",
	    "{\"given\":1,\"level\":1,\"next_version\":0,\"removed\":1}",
	    "{\"given\":-1,\"level\":1,\"next_version\":1,\"removed\":1}",
	    "{\"given\":1,\"level\":1,\"next_version\":1}"};
	const struct ended_service ended = {
	    .next_version = UINT32_MAX, .given = 12, .removed = INT64_MAX};
	struct ended_service back = {0};
	struct buffer value;
	buffer_init(&value, 0);
	assert_int_equal(record_ended_put(&ended, &value), 0);
	assert_int_equal(record_ended_parse(value.data, value.length, &back, NULL), 0);
	assert_memory_equal(&back, &ended, sizeof(ended));
	buffer_done(&value);
	for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++)
		assert_int_equal(record_ended_parse(BAD[i], strlen(BAD[i]), &back, NULL),
				 -FL_ECORRUPT);
	assert_memory_equal(&back, &ended, sizeof(ended));
}

static void every_key_has_its_type(void **unused)
{
	(void)unused;
	for (enum record_type type = 0; type < RECORD_UNKNOWN; type++) {
		char key[RECORD_KEY_BYTES];
		const struct record_row *row = &record_rows[type];
		snprintf(key, sizeof(key), "%s%s", row->key, row->is_prefix ? "x" : "");
		assert_int_equal(record_type_of(key), type);
		assert_string_equal(record_key_rest(key, type), row->is_prefix ? "x" : "");
		if (type)
			assert_true(strcmp(record_rows[type - 1].key, row->key) < 0);
	}
	assert_int_equal(record_type_of("config/other/x"), RECORD_UNKNOWN);
	assert_int_equal(record_type_of("configuration"), RECORD_UNKNOWN);
}

/* What the parser takes up to 2^32 - 1 must not be written as something that it refuses. */
static void the_largest_numbers_round_trip(void **unused)
{
	(void)unused;
	struct version_status versions[2];
	struct binding bindings[2];
	struct service_state state = sample_state(versions, bindings);
	struct service_state *state_back;
	struct buffer value;
	struct arena arena;
	state.index = state.next_version = versions[1].number = UINT32_MAX;
	state.rollout.base = state.rollout.target = UINT32_MAX;
	bindings[1].slot = bindings[1].version = UINT32_MAX;

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
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_service_state_round_trips),
	    cmocka_unit_test(a_damaged_service_state_is_refused),
	    cmocka_unit_test(the_records_of_numbers_round_trip),
	    cmocka_unit_test(keys_of_numbers_have_one_form),
	    cmocka_unit_test(the_first_releases_placement_is_read),
	    cmocka_unit_test(a_higher_level_is_unsupported),
	    cmocka_unit_test(a_sequence_is_all_of_its_record),
	    cmocka_unit_test(the_end_of_a_service_round_trips),
	    cmocka_unit_test(every_key_has_its_type),
	    cmocka_unit_test(the_largest_numbers_round_trip),
	};
	return cmocka_run_group_tests_name("records", tests, NULL, NULL);
}
