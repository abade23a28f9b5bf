/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program that runs is taken over by the next process of the same build, and by none that would
 * read other maps through it than those that are pinned.
 */
#include "edge_case.h"

#include <bpf/bpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void reopen(void)
{
	fixture_close(&fixture);
	fixture_open(&fixture);
	fixture_drain(&fixture);
}

static void go_on(void)
{
	struct error err;
	fixture_publish(&fixture);
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
	fixture_drain(&fixture);
	assert_int_equal(case_status().interfaces[0].program_id, case_status().program_id);
	assert_wire_serves(true);
	assert_all_served();
}

static void pin_path(const char *program, char path[256])
{
	snprintf(path, 256, "%s/programs/%s_%s", fixture.pins, case_status().build_id, program);
}

/* What the interface runs is not exchanged, from the moment of opening until after attaching. */
static void test_the_same_build(void **state)
{
	(void)state;
	uint32_t program = case_status().program_id;
	reopen();
	assert_int_equal(case_status().program_id, program);
	assert_wire_serves(true);
	go_on();
	assert_int_equal(case_status().program_id, program);
}

/* The heartbeat that is taken over is this edge's: without one, the program asks the kernel. */
static void test_the_heart_goes_on(void **state)
{
	(void)state;
	struct ip_address web = fixture_service_address(WEB, IP_V4);
	reopen();
	go_on();
	uint64_t asked = fixture_counters(&fixture, &web).asked_fib;
	usleep((EDGE_STALE_MS + 100) * 1000);
	assert_serves(&web, WEB);
	assert_int_equal(fixture_counters(&fixture, &web).asked_fib, asked + 1);
	edge_heartbeat(fixture.edge);
	assert_serves(&web, WEB);
	assert_int_equal(fixture_counters(&fixture, &web).asked_fib, asked + 1);
}

/* A program whose maps were unpinned says what was: the new maps get one of their own. */
static void test_other_maps(void **state)
{
	(void)state;
	uint32_t program = case_status().program_id;
	char layout[17];
	memcpy(layout, case_status().layout, sizeof(layout));
	fixture_close(&fixture);
	fixture_command("rm %s/%s/*", fixture.pins, layout);
	fixture_open(&fixture);
	assert_int_not_equal(case_status().program_id, program);
	go_on();
	program = case_status().program_id;
	reopen();
	assert_int_equal(case_status().program_id, program);
}

/* The same of a set that is whole, but for one map that another has taken the place of. */
static void test_another_map_in_place(void **state)
{
	(void)state;
	struct bpf_map_info info = case_map_info("drops");
	uint32_t program = case_status().program_id;
	char path[256];
	snprintf(path, sizeof(path), "%s/%s/drops", fixture.pins, case_status().layout);
	struct bpf_map_create_opts options = {.sz = sizeof(options), .map_flags = info.map_flags};
	int map_fd = bpf_map_create(info.type, "drops", info.key_size, info.value_size,
				    info.max_entries, &options);
	assert_true(map_fd >= 0);
	fixture_close(&fixture);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(bpf_obj_pin(map_fd, path), 0);
	close(map_fd);
	fixture_open(&fixture);
	assert_true(case_status().adopted);
	assert_int_not_equal(case_status().program_id, program);
	go_on();
}

static void put_in_place(int program_fd)
{
	uint32_t program = case_status().program_id;
	char path[256];
	pin_path("edge", path);
	assert_int_equal(unlink(path), 0);
	if (program_fd >= 0)
		assert_int_equal(bpf_obj_pin(program_fd, path), 0);
	reopen();
	assert_int_not_equal(case_status().program_id, program);
	go_on();
}

/* What is pinned under the program's name is no program of ours, our other one, or nothing. */
static void test_another_program_in_place(void **state)
{
	(void)state;
	char path[256];
	pin_path("heartbeat", path);
	put_in_place(fixture.pass_fd);
	put_in_place(-1);
	int heartbeat_fd = bpf_obj_get(path);
	assert_true(heartbeat_fd >= 0);
	put_in_place(heartbeat_fd);
	close(heartbeat_fd);
}

/* What a process left that ended between two steps of pinning. */
static void test_an_unfinished_pin(void **state)
{
	(void)state;
	char path[256];
	char layout[17];
	pin_path("edge_new", path);
	memcpy(layout, case_status().layout, sizeof(layout));
	assert_int_equal(bpf_obj_pin(edge_program_fd(fixture.edge), path), 0);
	fixture_close(&fixture);
	fixture_command("rm %s/%s/*", fixture.pins, layout);
	fixture_open(&fixture);
	go_on();
	assert_int_equal(access(path, F_OK), -1);
}

/* Another build's programs are removed once this one's are in force; all, when the edge is. */
static void test_pins_are_removed(void **state)
{
	(void)state;
	char other[256];
	char own[256];
	struct error err;
	snprintf(other, sizeof(other), "%s/programs/0123456789abcdef_edge", fixture.pins);
	pin_path("edge", own);
	assert_int_equal(bpf_obj_pin(edge_program_fd(fixture.edge), other), 0);
	reopen();
	assert_int_equal(access(other, F_OK), 0);
	go_on();
	assert_int_equal(access(other, F_OK), -1);
	assert_int_equal(access(own, F_OK), 0);
	fixture_close(&fixture);
	assert_int_equal(edge_remove(fixture.pins, &err), 0);
	fixture_command("! test -e %s", fixture.pins);
	fixture_start(&fixture);
}

/* They are pinned again, so that the next process finds them. */
static void test_pins_are_made_again(void **state)
{
	(void)state;
	uint32_t program = case_status().program_id;
	fixture_command("rm -r %s/programs", fixture.pins);
	struct edge_check result = case_check();
	assert_int_equal(result.repaired, 1);
	assert_non_null(strstr(result.text, "/programs/"));
	reopen();
	assert_int_equal(case_status().program_id, program);
	go_on();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    EDGE_CASE(test_the_same_build),
	    EDGE_CASE(test_the_heart_goes_on),
	    EDGE_CASE(test_other_maps),
	    EDGE_CASE(test_another_map_in_place),
	    EDGE_CASE(test_another_program_in_place),
	    EDGE_CASE(test_an_unfinished_pin),
	    EDGE_CASE(test_pins_are_removed),
	    EDGE_CASE(test_pins_are_made_again),
	};
	return cmocka_run_group_tests(tests, case_enter, case_leave);
}
