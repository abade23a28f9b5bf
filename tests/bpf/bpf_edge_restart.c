/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process finds that an earlier one attached: it reads what that holds, leaves it alone
 * until it attaches maps of its own, and loses no packet then, be the other of its release or of
 * another.
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

static struct digest digest_of_version(enum fixture_service version)
{
	return fixture.versions[version].digest;
}

static void assert_holds(bool holds)
{
	for (size_t f = 0; f < 2; f++) {
		struct ip_address web = fixture_service_address(WEB, families[f]);
		struct ip_address closing = fixture_service_address(CLOSING, families[f]);
		struct digest version = digest_of_version(WEB);
		struct digest other = digest_of_version(OTHER);
		assert_int_equal(edge_holds(fixture.edge, &web, &version), holds);
		assert_false(edge_holds(fixture.edge, &web, &other));
		version = digest_of_version(CLOSING);
		assert_false(edge_holds(fixture.edge, &closing, &version)); /* no new flows */
	}
}

/* What is in force is read, and goes on until this process attaches. */
static void test_restart(void **state)
{
	(void)state;
	struct ip_address web = fixture_service_address(WEB, IP_V6);
	struct error err;
	assert_all_served();
	assert_holds(true);
	fixture_close(&fixture);
	fixture_open(&fixture);
	assert_true(edge_is_forwarding(fixture.edge));
	assert_holds(true);
	assert_int_equal(case_status().addresses, FIXTURE_ADDRESSES);
	assert_int_equal(case_status().rings, 0);
	assert_int_equal(case_status().interfaces[0].mode, EDGE_NATIVE);
	assert_wire_serves(true);
	fixture_publish(&fixture);
	assert_wire_serves(true);
	assert_int_equal(fixture_counters(&fixture, &web).packets, 0);
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
	fixture_drain(&fixture);
	assert_holds(true);
	assert_int_equal(case_status().addresses, FIXTURE_ADDRESSES);
	assert_int_equal(case_status().interfaces[0].program_id, case_status().program_id);
	assert_wire_serves(true);
	assert_all_served();
	fixture_command("test -e %s/%s/addresses && ! test -e %s/%s_new", fixture.pins,
			case_status().layout, fixture.pins, case_status().layout);
}

/* What was acknowledged is known as long as the maps are there, and needs no open edge. */
static void test_mark_is_kept(void **state)
{
	struct edge_mark mark = {.sequence = 41, .digest.bytes = {7}};
	struct edge_mark found;
	struct error err;
	(void)state;
	assert_int_equal(edge_mark_get(fixture.pins, &found), -ENOENT);
	for (unsigned i = 0; i < 3; i++) {
		mark.sequence++;
		mark.has_peers = i == 1;
		assert_int_equal(edge_mark_set(fixture.edge, &mark, &err), 0);
		fixture_close(&fixture);
		assert_int_equal(edge_mark_get(fixture.pins, &found), 0);
		assert_int_equal(found.sequence, mark.sequence);
		assert_int_equal(found.has_peers, mark.has_peers);
		assert_memory_equal(&found.digest, &mark.digest, sizeof(mark.digest));
		fixture_open(&fixture);
	}
}

/* Maps that contradict themselves are not believed, and in nobody's way. */
static void test_corrupt_pins(void **state)
{
	(void)state;
	struct ip_address web = fixture_service_address(WEB, IP_V4);
	const struct {
		const char *map;
		uint32_t key;
		size_t offset;
		uint8_t value;
	} cases[] = {
	    {"descriptors", case_descriptor(&web, NULL),
	     offsetof(struct edge_map_descriptor, family), 7},
	    {"spans", 0, 7, 1}, /* its length */
	    {"spans", 0, 3, 1}, /* its first word */
	    {"addresses", 0, 3, 1}, /* a descriptor's number */
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct error err;
		case_tamper(cases[i].map, cases[i].key, cases[i].offset, cases[i].value);
		fixture_close(&fixture);
		fixture_open(&fixture);
		assert_true(edge_is_forwarding(fixture.edge));
		assert_holds(false);
		fixture_publish(&fixture);
		assert_int_equal(edge_attach(fixture.edge, &err), 0);
		fixture_drain(&fixture);
		assert_holds(true);
		assert_all_served();
	}
}

/* An edge that holds nothing forwards nothing. */
static void test_nothing_was_published(void **state)
{
	(void)state;
	fixture.desired.binding_count = 0;
	fixture_publish(&fixture);
	assert_false(edge_is_forwarding(fixture.edge));
	fixture_close(&fixture);
	fixture_open(&fixture);
	assert_false(edge_is_forwarding(fixture.edge));
}

static void pin_path(const char *folder, const char *leaf, char path[256])
{
	snprintf(path, 256, "%s/%s/%s", fixture.pins, folder, leaf);
}

/*
 * A process that ended while it attached left two sets of maps. The one is believed that a program
 * on an interface reads.
 */
static void test_ended_while_attaching(void **state)
{
	(void)state;
	char layout[17];
	char new[32];
	char links[256];
	char kept[256];
	struct error err;
	memcpy(layout, case_status().layout, sizeof(layout));
	snprintf(new, sizeof(new), "%s_new", layout);
	for (int switched = 0; switched < 2; switched++) {
		/* The set before: it serves nothing but one address. */
		struct ip_address web = fixture_service_address(WEB, IP_V4);
		struct digest version = digest_of_version(WEB);
		for (size_t i = 0; i < FIXTURE_ADDRESSES; i++) {
			if (ip_address_equal(&fixture.bindings[i].address, &web))
				fixture.desired.bindings = &fixture.bindings[i];
		}
		fixture.desired.binding_count = 1;
		fixture_publish(&fixture);
		struct bpf_map_info before = case_map_info("addresses");
		int program_fd = dup(edge_program_fd(fixture.edge));
		fixture_command("mkdir %s/kept", fixture.pins);
		static const char *const maps[] = {"addresses", "spans", "descriptors"};
		for (size_t i = 0; i < 3; i++) {
			int map_fd = fixture_map(&fixture, maps[i]);
			pin_path("kept", maps[i], kept);
			assert_int_equal(bpf_obj_pin(map_fd, kept), 0);
			close(map_fd);
		}
		fixture_close(&fixture);
		/* The set after, whose pins have not got their place yet. */
		fixture_start(&fixture);
		assert_int_not_equal(case_map_info("addresses").id, before.id);
		fixture_close(&fixture);
		fixture_command("mv %s/%s %s/%s && mv %s/kept %s/%s", fixture.pins, layout,
				fixture.pins, new, fixture.pins, fixture.pins, layout);
		pin_path("links", "edge0", links);
		int link_fd = bpf_obj_get(links);
		assert_true(link_fd >= 0);
		if (!switched)
			assert_int_equal(bpf_link_update(link_fd, program_fd, NULL), 0);
		close(link_fd);
		close(program_fd);
		fixture_open(&fixture);
		assert_true(edge_holds(fixture.edge, &web, &version));
		struct ip_address other = fixture_service_address(OTHER, IP_V6);
		version = digest_of_version(OTHER);
		assert_int_equal(edge_holds(fixture.edge, &other, &version), switched);
		fixture_publish(&fixture);
		assert_int_equal(edge_attach(fixture.edge, &err), 0);
		fixture_drain(&fixture);
		assert_all_served();
		fixture_command("! test -e %s/%s", fixture.pins, new);
	}
}

/* What earlier releases pinned of their programs is removed with their maps. */
static void test_pinned_programs_are_removed(void **state)
{
	(void)state;
	char path[256];
	fixture_command("mkdir %s/programs", fixture.pins);
	pin_path("programs", "0123456789abcdef_edge", path);
	assert_int_equal(bpf_obj_pin(edge_program_fd(fixture.edge), path), 0);
	fixture_close(&fixture);
	fixture_start(&fixture);
	fixture_command("! test -e %s/programs", fixture.pins);
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
	fixture_command("cd %s && mkdir 0123456789abcdef a-folder fedcba9876543210 programs",
			fixture.pins);
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

/* Of maps some of which are gone nothing is known but that they are in force. */
static void test_some_pins_are_gone(void **state)
{
	(void)state;
	char layout[17];
	memcpy(layout, case_status().layout, sizeof(layout));
	assert_wire_serves(true);
	fixture_close(&fixture);
	fixture_command("rm %s/%s/addresses", fixture.pins, layout);
	fixture_open(&fixture);
	assert_true(edge_is_forwarding(fixture.edge));
	assert_holds(false);
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
	    EDGE_CASE(test_restart),
	    EDGE_CASE(test_mark_is_kept),
	    EDGE_CASE(test_corrupt_pins),
	    EDGE_CASE(test_nothing_was_published),
	    EDGE_CASE(test_ended_while_attaching),
	    EDGE_CASE(test_pinned_programs_are_removed),
	    EDGE_CASE(test_second_edge_is_refused),
	    EDGE_CASE(test_pins_of_others_stay),
	    EDGE_CASE(test_some_pins_are_gone),
	    EDGE_CASE(test_replacement),
	    EDGE_CASE(test_open_changes_nothing),
	    EDGE_CASE(test_replacement_under_traffic),
	};
	return cmocka_run_group_tests(tests, case_enter, case_leave);
}
