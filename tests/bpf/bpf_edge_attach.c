/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge and its machine: interfaces that come, go and change their names, modes of XDP, sysctls,
 * source addresses, and what an edge refuses to start on.
 */
#include "edge_case.h"

#include "frame_bytes.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static int open_on(const char *const *interfaces, size_t count, bool generic, struct error *err)
{
	struct edge_options options = {
	    .pin_root = fixture.pins,
	    .interfaces = interfaces,
	    .interface_count = count,
	    .force_generic = generic,
	    .source_v4 = fixture_address("10.1.0.1"),
	    .source_v6 = fixture_address("fd00:1::1"),
	    .clock = &fixture.clock,
	};
	*err = (struct error){0};
	return edge_open(&options, &fixture.edge, err);
}

/* Frames over a cable, through the program as it is attached, in both modes. */
static void test_real_frames(void **state)
{
	(void)state;
	static const char *const names[] = {"edge0"};
	struct error err;
	assert_int_equal(case_status().interfaces[0].mode, EDGE_NATIVE);
	assert_wire_serves(true);
	fixture_close(&fixture);
	assert_int_equal(open_on(names, 1, true, &err), 0);
	fixture_publish(&fixture);
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
	assert_int_equal(case_status().interfaces[0].mode, EDGE_GENERIC);
	fixture_drain(&fixture);
	assert_wire_serves(false);
}

static void test_missing_interface(void **state)
{
	(void)state;
	static const char *const names[] = {"edge0", "edge7"};
	struct error err;
	fixture_close(&fixture);
	assert_int_equal(open_on(names + 1, 1, false, &err), 0);
	assert_int_equal(edge_attach(fixture.edge, &err), -FL_EUNAVAILABLE);
	assert_non_null(strstr(err.text, "edge7"));
	fixture_close(&fixture);

	assert_int_equal(open_on(names, 2, false, &err), 0);
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
	assert_int_equal(case_status().interfaces[1].ifindex, 0);
	assert_int_equal(case_status().interfaces[1].mode, EDGE_DETACHED);
	/* It comes, goes, and comes again as another interface. */
	for (int i = 0; i < 2; i++) {
		fixture_command("ip link add edge7 type veth peer name wire7 && "
				"ip link set edge7 up");
		fixture_drain(&fixture);
		assert_int_not_equal(case_status().interfaces[1].ifindex, 0);
		assert_int_equal(case_status().interfaces[1].mode, EDGE_NATIVE);
		assert_int_equal(case_status().interfaces[1].program_id, case_status().program_id);
		fixture_command("ip link del edge7");
		fixture_drain(&fixture);
		assert_int_equal(case_status().interfaces[1].ifindex, 0);
		assert_int_equal(case_status().interfaces[1].mode, EDGE_DETACHED);
	}
	assert_int_equal(case_status().interfaces[0].mode, EDGE_NATIVE);
}

/* A name that belongs to another interface now: the pinned link is not mistaken for its own. */
static void test_renamed_interface(void **state)
{
	(void)state;
	struct error err;
	fixture_close(&fixture);
	fixture_command("ip link set edge0 down && ip link set edge0 name edge8 && "
			"ip link add edge0 type veth peer name wire8 && ip link set edge0 up && "
			"ip -6 addr add fd00:1::1/64 dev edge0 nodad");
	fixture_open(&fixture);
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
	assert_int_equal(case_status().interfaces[0].mode, EDGE_NATIVE);
	fixture_command("! ip -d link show edge8 | grep -q xdp");
	fixture_reset(&fixture);
	fixture_command("ip link del edge0 && ip link set edge8 name edge0 && "
			"ip link set edge0 up && ip -6 addr replace fd00:1::1/64 dev edge0 nodad");
	fixture_neighbours();
	fixture_start(&fixture);
	assert_all_served();
}

static void test_foreign_program(void **state)
{
	(void)state;
	static const char *const names[] = {"edge0"};
	struct error err;
	fixture_reset(&fixture);
	assert_int_equal(bpf_xdp_attach((int)fixture.edge0, fixture.fill_fd, 0, NULL), 0);
	assert_int_equal(open_on(names, 1, false, &err), 0);
	assert_int_equal(edge_attach(fixture.edge, &err), -FL_EUNAVAILABLE);
	assert_non_null(strstr(err.text, "another XDP program"));
	assert_non_null(strstr(err.text, "xdp off"));
	assert_int_equal(bpf_xdp_detach((int)fixture.edge0, 0, NULL), 0);
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
}

static void test_generic_mode(void **state)
{
	(void)state;
	static const char *const names[] = {"edge0"};
	struct error err;
	assert_int_equal(case_status().interfaces[0].mode, EDGE_NATIVE);
	fixture_close(&fixture);
	assert_int_equal(open_on(names, 1, true, &err), 0);
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
	assert_int_equal(case_status().interfaces[0].mode, EDGE_GENERIC);
	assert_int_equal(case_status().interfaces[0].program_id, case_status().program_id);
}

/* What kept it out of the driver at the last start may have gone. */
static void test_generic_is_tried_natively_again(void **state)
{
	(void)state;
	static const char *const names[] = {"edge0"};
	struct error err;
	fixture_close(&fixture);
	assert_int_equal(open_on(names, 1, true, &err), 0);
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
	assert_int_equal(case_status().interfaces[0].mode, EDGE_GENERIC);
	fixture_close(&fixture);
	assert_int_equal(open_on(names, 1, false, &err), 0);
	fixture_publish(&fixture);
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
	assert_int_equal(case_status().interfaces[0].mode, EDGE_NATIVE);
	assert_int_equal(case_status().interfaces[0].refused, 0);
	fixture_drain(&fixture);
	assert_wire_serves(true);
}

/* One whose driver refuses, for it has fewer queues than its far end: then no driver is asked,
 * since a native program could not redirect to it. */
static void test_all_interfaces_have_one_mode(void **state)
{
	(void)state;
	static const char *const names[] = {"edge0", "edge1"};
	struct error err;
	fixture_close(&fixture);
	fixture_command("ip link add edge1 numrxqueues 1 numtxqueues 1 type veth peer name wire1 "
			"numtxqueues 4");
	fixture_command("ip link set edge1 up && ip link set wire1 up");
	assert_int_equal(open_on(names, 2, false, &err), 0);
	fixture_publish(&fixture);
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
	const struct edge_status status = case_status();
	assert_int_equal(status.interfaces[0].mode, EDGE_GENERIC);
	assert_int_equal(status.interfaces[1].mode, EDGE_GENERIC);
	assert_int_equal(status.interfaces[0].refused, 0);
	assert_int_not_equal(status.interfaces[1].refused, 0);
	fixture_drain(&fixture);
	assert_wire_serves(false);
	fixture_command("ip link del edge1");
}

/* Frames larger than a page lie in several pieces; the headers are in the first. */
static void test_large_frames(void **state)
{
	(void)state;
	static const char *const names[] = {"edge0"};
	static uint8_t bytes[9000], out[9100];
	struct error err;
	struct frame frame;
	fixture_close(&fixture);
	fixture_command("ip link set wire0 mtu 9000 && ip link set edge0 mtu 9000");
	assert_int_equal(open_on(names, 1, false, &err), 0);
	fixture_publish(&fixture);
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
	assert_int_equal(case_status().interfaces[0].mode, EDGE_NATIVE);
	fixture_drain(&fixture);
	for (size_t f = 0; f < 2; f++) {
		const struct ip_address address = fixture_service_address(WEB, families[f]);
		const size_t header = families[f] == IP_V4 ? 20 : 40;
		const size_t total = 8000;
		frame_build(&frame, &address, IPPROTO_TCP, 1, 80, 0);
		put16(frame.bytes + 14 + (families[f] == IP_V4 ? 2 : 4),
		      families[f] == IP_V4 ? total : total - header);
		frame_checksum(&frame);
		memcpy(bytes, frame.bytes, frame.length);
		if (families[f] == IP_V6) /* that was no IPv4 header */
			memcpy(bytes + 24, frame.bytes + 24, 2);
		struct xdp_md context = {.data_end = 14 + total, .ingress_ifindex = fixture.edge0};
		struct bpf_test_run_opts options = {.sz = sizeof(options),
						    .data_in = bytes,
						    .data_size_in = 14 + total,
						    .data_out = out,
						    .data_size_out = sizeof(out),
						    .ctx_in = &context,
						    .ctx_size_in = sizeof(context),
						    .repeat = 1};
		const int program = edge_program_fd(fixture.edge);
		assert_int_equal(bpf_prog_test_run_opts(program, &options), 0);
		assert_int_equal(options.retval, XDP_TX);
		assert_in_range(options.data_size_out, 14 + total + 20, 14 + total + 40);
		/* A byte more than the frame has is still seen. */
		options.data_size_in--;
		context.data_end--;
		options.data_size_out = sizeof(out);
		assert_int_equal(bpf_prog_test_run_opts(program, &options), 0);
		assert_int_equal(options.retval, XDP_DROP);
	}
	fixture_command("ip link set edge0 mtu 1500 && ip link set wire0 mtu 1500");
}

/* A bridge has no driver, and its port's one may merge what the program then finds too large. */
static void test_a_device_below_that_merges_is_named(void **state)
{
	(void)state;
	static const char *const names[] = {"bridge0"};
	struct error err;
	fixture_close(&fixture);
	fixture_command("ip link add port0 type veth peer name far0");
	fixture_command("ip link add bridge0 type bridge && ip link set port0 master bridge0");
	fixture_command("ip link set bridge0 up && ip link set port0 up && ip link set far0 up");
	fixture_command("ethtool -K port0 gro on");
	assert_int_equal(open_on(names, 1, false, &err), 0);
	fixture_publish(&fixture);
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
	assert_int_equal(case_status().interfaces[0].mode, EDGE_GENERIC);
	assert_string_equal(case_status().interfaces[0].merging, "port0");
	fixture_command("ethtool -K port0 gro off");
	fixture_drain(&fixture);
	assert_string_equal(case_status().interfaces[0].merging, "");
	fixture_command("ethtool -K port0 gro on");
	fixture_drain(&fixture);
	assert_string_equal(case_status().interfaces[0].merging, "port0");
	fixture_command("ip link del port0 && ip link del bridge0");
}

static void read_settings(char *text, size_t size)
{
	/* NOLINTNEXTLINE(cert-env33-c): a fixed command of the tests */
	FILE *settings = popen("cd /proc/sys/net && grep . ipv4/conf/*/forwarding "
			       "ipv4/conf/*/accept_local ipv4/conf/*/rp_filter "
			       "ipv6/conf/*/forwarding ipv6/conf/*/accept_ra",
			       "r");
	if (!settings)
		abort(); /* no test can go on */
	size_t length = fread(text, 1, size - 1, settings);
	assert_in_range(length, 1, size - 2);
	text[length] = '\0';
	assert_int_equal(pclose(settings), 0);
}

static void test_sysctls_are_undone(void **state)
{
	(void)state;
	char before[4096];
	char after[4096];
	fixture_reset(&fixture);
	fixture_command("echo 1 > /proc/sys/net/ipv6/conf/wire0/forwarding && "
			"echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter");
	read_settings(before, sizeof(before));
	fixture_start(&fixture);
	fixture_command("cd /proc/sys/net && grep -q 1 ipv4/conf/edge0/forwarding && "
			"grep -q 1 ipv4/conf/edge0/accept_local && "
			"grep -q 2 ipv4/conf/edge0/rp_filter && "
			"grep -q 1 ipv6/conf/all/forwarding && "
			"grep -q 2 ipv6/conf/edge0/accept_ra");
	fixture_close(&fixture);
	fixture_start(&fixture); /* a second start does not take the first one's values for old */
	fixture_reset(&fixture);
	read_settings(after, sizeof(after));
	assert_string_equal(before, after);
	fixture_start(&fixture);
}

/* A source that is not this machine's is refused at the start, and told of when it goes later. */
static void test_source_is_on_this_machine(void **state)
{
	(void)state;
	static const char *const names[] = {"edge0"};
	struct error err = {0};
	struct edge_options options = {.pin_root = fixture.pins,
				       .interfaces = names,
				       .interface_count = 1,
				       .source_v4 = fixture_address("10.1.0.1")};
	static const char *const strangers[] = {"10.1.0.99", "192.168.7.7", "fd00:1::99",
						"fd99::1"};
	fixture_close(&fixture);
	for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
		struct ip_address stranger = fixture_address(strangers[i]);
		options.source_v4 =
		    stranger.family == IP_V4 ? stranger : fixture_address("10.1.0.1");
		options.source_v6 =
		    stranger.family == IP_V6 ? stranger : fixture_address("fd00:1::1");
		assert_int_equal(edge_open(&options, &fixture.edge, &err), -EADDRNOTAVAIL);
		assert_non_null(strstr(err.text, strangers[i]));
	}
	fixture_start(&fixture);
	assert_int_equal(case_status().missing_source_count, 0);
	fixture_command("ip addr del fd00:1::1/64 dev edge0");
	fixture_drain(&fixture);
	assert_int_equal(case_status().missing_source_count, 1);
	struct ip_address lost = fixture_address("fd00:1::1");
	assert_true(ip_address_equal(&case_status().missing_sources[0], &lost));
	fixture_command("ip addr del 10.1.0.1/24 dev edge0");
	fixture_drain(&fixture);
	assert_int_equal(case_status().missing_source_count, 2);
	fixture_command("ip addr add 10.1.0.1/24 dev edge0 && "
			"ip -6 addr add fd00:1::1/64 dev edge0 nodad");
	fixture_neighbours();
	fixture_drain(&fixture);
	assert_int_equal(case_status().missing_source_count, 0);
	assert_all_served();
}

/* An interface that carries nothing says so, and takes its IPv6 source along. */
static void test_link_is_down(void **state)
{
	(void)state;
	assert_int_equal(case_status().interfaces[0].link, EDGE_LINK_UP);
	fixture_command("ip link set wire0 down");
	assert_int_equal(case_status().interfaces[0].link, EDGE_LINK_NO_CARRIER);
	fixture_command("ip link set wire0 up && ip link set edge0 down");
	fixture_drain(&fixture);
	assert_int_equal(case_status().interfaces[0].link, EDGE_LINK_DOWN);
	assert_int_equal(case_status().missing_source_count, 1);
	fixture_command("ip link set edge0 up && ip -6 addr add fd00:1::1/64 dev edge0 nodad");
	fixture_neighbours();
	fixture_drain(&fixture);
	assert_int_equal(case_status().interfaces[0].link, EDGE_LINK_UP);
	assert_int_equal(case_status().missing_source_count, 0);
	assert_all_served();
}

/* What stands in the way */

static void test_no_privileges(void **state)
{
	(void)state;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		static const char *const names[] = {"edge0"};
		struct error err;
		if (setuid(65534) < 0)
			_exit(2);
		int result = open_on(names, 1, false, &err);
		_exit(result == -FL_EPRIVILEGE && strstr(err.text, "CAP_BPF") ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* The program needs nothing of the kernel's own type information. */
static void test_no_kernel_btf(void **state)
{
	(void)state;
	fixture_reset(&fixture);
	assert_int_equal(mount("none", "/sys/kernel/btf", "tmpfs", 0, NULL), 0);
	assert_int_equal(access("/sys/kernel/btf/vmlinux", F_OK), -1);
	fixture_start(&fixture);
	assert_all_served();
	assert_int_equal(umount("/sys/kernel/btf"), 0);
}

static void test_bad_places(void **state)
{
	(void)state;
	static const char *const names[] = {"edge0", "edge0"};
	static const char *const bad_names[] = {"", "a.b", "a/b", "name-of-sixteen-", "a b"};
	struct error err;
	struct fixture elsewhere = fixture;
	struct edge_options options = {.interfaces = names, .interface_count = 1};
	char folder[] = "/tmp/fairlead-not-bpffs-XXXXXX";
	char pins[64];
	assert_non_null(mkdtemp(folder));
	snprintf(pins, sizeof(pins), "%s/edge", folder);
	options.pin_root = pins;
	assert_int_equal(edge_open(&options, &elsewhere.edge, &err), -FL_EUNAVAILABLE);
	assert_non_null(strstr(err.text, "mount -t bpf"));
	assert_int_equal(rmdir(folder), 0); /* nothing was made in it */
	options.pin_root = "relative";
	assert_int_equal(edge_open(&options, &elsewhere.edge, &err), -FL_EINVALID);
	options.pin_root = fixture.pins;
	options.interface_count = 2;
	assert_int_equal(edge_open(&options, &elsewhere.edge, &err), -FL_EINVALID);
	assert_non_null(strstr(err.text, "named twice"));
	options.interface_count = 0;
	assert_int_equal(edge_open(&options, &elsewhere.edge, &err), -FL_EINVALID);
	options.interface_count = 1;
	for (size_t i = 0; i < sizeof(bad_names) / sizeof(bad_names[0]); i++) {
		options.interfaces = bad_names + i;
		assert_int_equal(edge_open(&options, &elsewhere.edge, &err), -FL_EINVALID);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    EDGE_CASE(test_real_frames),
	    EDGE_CASE(test_missing_interface),
	    EDGE_CASE(test_renamed_interface),
	    EDGE_CASE(test_foreign_program),
	    EDGE_CASE(test_generic_mode),
	    EDGE_CASE(test_generic_is_tried_natively_again),
	    EDGE_CASE(test_all_interfaces_have_one_mode),
	    EDGE_CASE(test_large_frames),
	    EDGE_CASE(test_a_device_below_that_merges_is_named),
	    EDGE_CASE(test_sysctls_are_undone),
	    EDGE_CASE(test_source_is_on_this_machine),
	    EDGE_CASE(test_link_is_down),
	    EDGE_CASE(test_no_privileges),
	    EDGE_CASE(test_no_kernel_btf),
	    EDGE_CASE(test_bad_places),
	};
	return cmocka_run_group_tests(tests, case_enter, case_leave);
}
