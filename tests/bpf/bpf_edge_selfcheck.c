/* SPDX-License-Identifier: Apache-2.0 */
/* The check: what somebody else does to pins, links and programs is found, said, and set back. */
#include "edge_case.h"

#include <bpf/bpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

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
		struct edge_selfcheck result = case_check();
		assert_int_equal(result.repaired, 1);
		assert_non_null(strstr(result.text, pins[i]));
		assert_true(is_pinned(pins[i]));
	}
	fixture_command("rm -r %s", fixture.pins);
	assert_int_equal(case_check().repaired, 1);
	assert_true(is_pinned(map) && is_pinned("links/edge0"));
	assert_second_edge_is_refused();
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
	struct edge_selfcheck result = case_check();
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
	    EDGE_CASE(test_check_repairs_pins),
	    EDGE_CASE(test_check_repairs_programs),
	};
	return cmocka_run_group_tests(tests, case_enter, case_leave);
}
