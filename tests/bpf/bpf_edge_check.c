/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The check: what somebody else does to maps, pins and programs is found, said, and set back or
 * told of.
 */
#include "edge_case.h"

#include <bpf/bpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* What somebody else does to the maps is found, said and set back, each thing once. */
static void test_check_repairs_maps(void **state)
{
	(void)state;
	assert_int_equal(case_check().repaired, 0);
	case_empty("addresses", 0, 2048, sizeof(uint64_t));
	struct edge_check result = case_check();
	assert_int_equal(result.repaired, FIXTURE_ADDRESSES);
	assert_int_equal(result.standing, 0);
	assert_non_null(strstr(result.text, "198.51.100."));
	assert_all_served();

	case_empty("spans", 0, 64, sizeof(uint64_t));
	assert_int_equal(case_check().repaired, 2); /* one site of each family is held */
	assert_all_served();

	case_empty("settings", 0, 1, sizeof(struct edge_map_settings));
	result = case_check();
	assert_int_equal(result.repaired, 1);
	assert_non_null(strstr(result.text, "settings"));
	fixture_drain(&fixture);
	assert_all_served();
	assert_int_equal(case_check().repaired, 0);
}

/* The large records: what they said is known to whoever published it, who does so again. */
static void test_check_tells_of_damage(void **state)
{
	(void)state;
	struct edge_map_descriptor before;
	struct ip_address web = fixture_service_address(WEB, IP_V4);
	uint32_t descriptor = case_descriptor(&web, &before);
	const struct {
		const char *map, *text;
		uint32_t first;
		size_t bytes;
	} cases[] = {
	    {"descriptors", "the descriptor of 198.51.100.", descriptor,
	     sizeof(struct edge_map_descriptor)},
	    {"ring_pages", "the ring of ", before.first_page, sizeof(struct edge_map_page)},
	    {"ring_pages", "the ring of ", before.second_page, sizeof(struct edge_map_page)},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		case_empty(cases[i].map, cases[i].first, 1, cases[i].bytes);
		for (int again = 0; again < 2; again++) {
			struct edge_check result = case_check();
			assert_int_equal(result.damaged, 1);
			assert_int_equal(result.repaired + result.standing, 0);
			assert_non_null(strstr(result.text, cases[i].text));
		}
		fixture_publish(&fixture);
		assert_int_equal(case_check().damaged, 0);
		assert_all_served();
	}
}

/* Where a backend is and how it is reached, in each byte of its record. */
static void test_check_repairs_backends(void **state)
{
	(void)state;
	for (size_t offset = 0; offset < sizeof(struct edge_map_backend); offset++) {
		case_tamper("backends", 1, offset, 0xa5);
		struct edge_check result = case_check();
		assert_int_equal(result.repaired, 1);
		assert_non_null(strstr(result.text, "how backend "));
		assert_int_equal(case_check().repaired, 0);
	}
	assert_all_served();
	case_empty("backends", 0, FIXTURE_BACKENDS + 1, sizeof(struct edge_map_backend));
	assert_int_equal(case_check().repaired, FIXTURE_BACKENDS);
	assert_all_served();
}

static bool is_pinned(const char *name)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", fixture.pins, name);
	return access(path, F_OK) == 0;
}

/* Pins are for the next process; without them, forwarding ends with this one. */
static void test_check_repairs_pins(void **state)
{
	(void)state;
	char map[64];
	snprintf(map, sizeof(map), "%s/backends", case_status().layout);
	const char *const pins[] = {map, "links/edge0"};
	for (size_t i = 0; i < 2; i++) {
		fixture_command("rm %s/%s", fixture.pins, pins[i]);
		struct edge_check result = case_check();
		assert_int_equal(result.repaired, 1);
		assert_non_null(strstr(result.text, pins[i]));
		assert_true(is_pinned(pins[i]));
	}
	fixture_command("rm -r %s", fixture.pins);
	assert_int_equal(case_check().repaired, 1);
	assert_true(is_pinned(map) && is_pinned("links/edge0"));
	assert_second_edge_is_refused();
	assert_true(case_status().adopted);
}

/* Another program in our link's place, and the link cut off its interface. */
static void test_check_repairs_programs(void **state)
{
	(void)state;
	char path[256];
	snprintf(path, sizeof(path), "%s/links/edge0", fixture.pins);
	int link_fd = bpf_obj_get(path);
	assert_true(link_fd >= 0);
	assert_int_equal(bpf_link_update(link_fd, fixture.pass_fd, NULL), 0);
	struct edge_check result = case_check();
	assert_int_equal(result.repaired, 1);
	assert_non_null(strstr(result.text, "edge0"));
	assert_int_equal(case_status().interfaces[0].program_id, case_status().program_id);

	assert_int_equal(bpf_link_detach(link_fd), 0);
	close(link_fd);
	assert_int_equal(case_status().interfaces[0].program_id, 0);
	result = case_check();
	assert_int_equal(result.repaired, 1);
	assert_non_null(strstr(result.text, "taken off interface edge0"));
	assert_int_equal(case_status().interfaces[0].program_id, case_status().program_id);
	assert_int_equal(case_check().repaired, 0);
	fixture_neighbours(); /* attaching flaps the carrier, which flushes them */
	fixture_drain(&fixture);
	assert_wire_serves(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    EDGE_CASE(test_check_repairs_maps),     EDGE_CASE(test_check_tells_of_damage),
	    EDGE_CASE(test_check_repairs_backends), EDGE_CASE(test_check_repairs_pins),
	    EDGE_CASE(test_check_repairs_programs),
	};
	return cmocka_run_group_tests(tests, case_enter, case_leave);
}
