/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process finds pinned: it adopts it, takes over from another release without losing a
 * packet, and refuses what contradicts itself or is in use.
 */
#include "edge_case.h"

#include <bpf/bpf.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void test_adoption(void **state)
{
	(void)state;
	struct ip_address web = fixture_service_address(WEB, IP_V6);
	assert_false(case_status().adopted);
	assert_all_served();
	uint64_t packets = fixture_counters(&fixture, &web).packets;
	uint64_t refused = fixture_drops(&fixture, DROP_REFUSED);
	uint32_t descriptor = case_descriptor(&web, NULL);

	fixture_close(&fixture);
	fixture_open(&fixture);
	assert_true(case_status().adopted);
	assert_int_equal(case_status().addresses, FIXTURE_ADDRESSES);
	assert_int_equal(case_status().rings, 4);
	assert_int_equal(case_status().backend_count, FIXTURE_BACKENDS);
	assert_int_equal(fixture_counters(&fixture, &web).packets, packets);
	assert_int_equal(fixture_drops(&fixture, DROP_REFUSED), refused);
	assert_all_served(); /* before anything is published */
	fixture_publish(&fixture);
	assert_int_equal(case_descriptor(&web, NULL), descriptor);
	assert_int_equal(fixture_counters(&fixture, &web).packets, packets + 1);
	assert_all_served();
}

/* Pins that contradict themselves are refused, with a word on how to get out of it. */
static void test_corrupt_pins(void **state)
{
	(void)state;
	static const char *const interfaces[] = {"edge0"};
	struct edge_options options = {
	    .pin_root = fixture.pins, .interfaces = interfaces, .interface_count = 1};
	struct ip_address web = fixture_service_address(WEB, IP_V4);
	const struct {
		const char *map;
		uint32_t key;
		size_t offset;
		uint8_t value;
	} cases[] = {
	    {"descriptors", case_descriptor(&web, NULL),
	     offsetof(struct edge_map_descriptor, address), 7},
	    {"descriptors", case_descriptor(&web, NULL),
	     offsetof(struct edge_map_descriptor, first_page), 3},
	    {"descriptors", case_descriptor(&web, NULL),
	     offsetof(struct edge_map_descriptor, service) + 63, 'x'},
	    {"descriptors", case_descriptor(&web, NULL),
	     offsetof(struct edge_map_descriptor, port_count), 9},
	    {"backends", 1, offsetof(struct edge_map_backend, family), 5},
	    {"settings", 0, offsetof(struct edge_map_settings, pools4), 99},
	    {"settings", 0, offsetof(struct edge_map_settings, pool4[0].slot_bits), 9},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct edge *edge = NULL;
		struct error err = {0};
		case_tamper(cases[i].map, cases[i].key, cases[i].offset, cases[i].value);
		fixture_close(&fixture);
		assert_int_equal(edge_open(&options, &edge, &err), -FL_ECORRUPT);
		assert_null(edge);
		assert_non_null(strstr(err.text, "fairlead detach"));
		fixture_reset(&fixture);
		fixture_start(&fixture);
	}
	assert_all_served();
}

/* Two edges never share their pins: the second would withdraw what the first one serves. */
static void test_second_edge_is_refused(void **state)
{
	(void)state;
	assert_second_edge_is_refused();
}

/* Whatever else lies in the pin root stays there, even under names like ours. */
static void test_pins_of_others_stay(void **state)
{
	(void)state;
	static const char *const others[] = {"other", "0123456789abcdef/other", "links/other",
					     "programs/other", "a-folder/other"};
	char path[256];
	uint32_t key = 0;
	fixture_command("mkdir %s/0123456789abcdef %s/a-folder %s/fedcba9876543210", fixture.pins,
			fixture.pins, fixture.pins);
	int map_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "other", sizeof(key), sizeof(key), 1, NULL);
	assert_true(map_fd >= 0);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", fixture.pins, others[i]);
		assert_int_equal(bpf_obj_pin(map_fd, path), 0);
	}
	close(map_fd);
	fixture_close(&fixture);
	fixture_start(&fixture); /* attaching sweeps */
	assert_all_served();
	snprintf(path, sizeof(path), "%s/fedcba9876543210", fixture.pins);
	assert_int_equal(access(path, F_OK), -1);
	fixture_close(&fixture);
	struct error err = {0};
	assert_int_equal(edge_remove(fixture.pins, &err), 0);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", fixture.pins, others[i]);
		assert_int_equal(unlink(path), 0);
	}
	fixture_command("test -z \"$(find %s -type f)\" && rm -rf %s", fixture.pins, fixture.pins);
	fixture_command("! ip -d link show edge0 | grep -q xdp");
	fixture_start(&fixture);
}

/* A process that finds some maps and not the others fills a set of its own, and packets see only
 * the one or the other. */
static void test_some_pins_are_gone(void **state)
{
	(void)state;
	char layout[17];
	memcpy(layout, case_status().layout, sizeof(layout));
	uint32_t descriptors = case_map_info("descriptors").id;
	assert_wire_serves(true);
	fixture_close(&fixture);
	fixture_command("rm %s/%s/addresses", fixture.pins, layout);
	fixture_open(&fixture);
	assert_false(case_status().adopted);
	assert_int_equal(case_status().addresses, 0);
	assert_true(edge_is_forwarding(fixture.edge));
	assert_int_not_equal(case_map_info("descriptors").id, descriptors);
	assert_wire_serves(true);
	fixture_publish(&fixture);
	assert_wire_serves(true);
	struct error err;
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
	fixture_neighbours();
	fixture_drain(&fixture);
	assert_wire_serves(true);
	assert_all_served();
}

/* Replacement */

struct link_now {
	uint32_t link_id, program_id;
};

static struct link_now link_now(void)
{
	char path[256];
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);
	snprintf(path, sizeof(path), "%s/links/edge0", fixture.pins);
	int link_fd = bpf_obj_get(path);
	assert_true(link_fd >= 0);
	assert_int_equal(bpf_obj_get_info_by_fd(link_fd, &info, &size), 0);
	close(link_fd);
	return (struct link_now){info.id, info.prog_id};
}

/* Another release takes over: the same link, another program and other maps; and back again. */
static void test_replacement(void **state)
{
	(void)state;
	char old_layout[32];
	char path[256];
	struct link_now before = link_now();
	snprintf(old_layout, sizeof(old_layout), "%s", case_status().layout);
	fixture_close(&fixture);

	fixture_command("%s %s", EDGE_PUBLISHER_NEXT, fixture.pins);
	struct link_now next = link_now();
	assert_int_equal(next.link_id, before.link_id);
	assert_int_not_equal(next.program_id, before.program_id);
	snprintf(path, sizeof(path), "%s/%s", fixture.pins, old_layout);
	assert_int_equal(access(path, F_OK), -1);

	fixture_command("%s %s", EDGE_PUBLISHER, fixture.pins);
	struct link_now back = link_now();
	assert_int_equal(back.link_id, before.link_id);
	assert_int_not_equal(back.program_id, next.program_id);
	assert_int_equal(access(path, F_OK), 0);
	fixture_start(&fixture);
	assert_true(case_status().adopted);
	assert_all_served();
}

/* Until it attaches, a new release leaves what is attached as it is. */
static void test_open_changes_nothing(void **state)
{
	(void)state;
	struct link_now before = link_now();
	fixture_close(&fixture);
	fixture_open(&fixture);
	fixture_publish(&fixture);
	assert_int_equal(link_now().program_id, before.program_id);
	struct error err;
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
	assert_int_equal(link_now().link_id, before.link_id);
	assert_int_equal(link_now().program_id, case_status().program_id);
}

/* Frames all the time while another release takes over, and hands back: each one arrives. */
static void test_replacement_under_traffic(void **state)
{
	(void)state;
	struct ip_address web = fixture_service_address(WEB, IP_V6);
	int status;
	fixture_close(&fixture);
	struct traffic traffic = {.wire = fixture_open_wire(&fixture, true)};
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		char command[600];
		snprintf(command, sizeof(command), "%s %s && %s %s && %s %s", EDGE_PUBLISHER_NEXT,
			 fixture.pins, EDGE_PUBLISHER, fixture.pins, EDGE_PUBLISHER_NEXT,
			 fixture.pins);
		_exit(system(command) == 0 ? 0 : 1); /* NOLINT(cert-env33-c) */
	}
	while (waitpid(child, &status, WNOHANG) == 0)
		assert_true(traffic_send(&traffic, &web));
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	traffic_collect(&traffic);
	assert_true(traffic.sent > 1000);
	assert_int_equal(traffic.received, traffic.sent);
	fixture_close_wire(&fixture, traffic.wire, true);
	fixture_open(&fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    EDGE_CASE(test_adoption),
	    EDGE_CASE(test_corrupt_pins),
	    EDGE_CASE(test_second_edge_is_refused),
	    EDGE_CASE(test_pins_of_others_stay),
	    EDGE_CASE(test_some_pins_are_gone),
	    EDGE_CASE(test_replacement),
	    EDGE_CASE(test_open_changes_nothing),
	    EDGE_CASE(test_replacement_under_traffic),
	};
	return cmocka_run_group_tests(tests, case_enter, case_leave);
}
