/* SPDX-License-Identifier: Apache-2.0 */
#include "edge_case.h"

#include <bpf/bpf.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture fixture;
const enum ip_family families[2] = {IP_V4, IP_V6};

int case_enter(void **state)
{
	(void)state;
	return fixture_enter(&fixture) ? 0 : -1;
}

int case_leave(void **state)
{
	(void)state;
	fixture_leave(&fixture);
	return 0;
}

int case_start(void **state)
{
	(void)state;
	fixture_start(&fixture);
	return 0;
}

int case_stop(void **state)
{
	(void)state;
	fixture_reset(&fixture);
	return 0;
}

/* Packets */

static void build_to(const struct ip_address *address, struct frame *frame)
{
	frame_build(frame, address, IPPROTO_TCP, 777, 80, 5);
}

uint32_t case_run_to(const struct ip_address *address, struct frame *frame, struct frame *ret_out)
{
	build_to(address, frame);
	return fixture_run(&fixture, frame, ret_out);
}

void assert_leads(const struct ip_address *address, size_t backend)
{
	struct frame frame;
	struct frame out;
	struct frame expected;
	assert_int_equal(case_run_to(address, &frame, &out), XDP_TX);
	frame_expect(&expected, &frame, &fixture, backend);
	assert_int_equal(out.length, expected.length);
	assert_memory_equal(out.bytes, expected.bytes, expected.length);
}

void assert_serves(const struct ip_address *address, enum fixture_service version)
{
	struct frame frame;
	build_to(address, &frame);
	assert_leads(address, fixture_pick(&fixture, version, &frame));
}

void assert_drops(const struct ip_address *address, unsigned reason)
{
	struct frame frame;
	uint64_t before = fixture_drops(&fixture, reason);
	assert_int_equal(case_run_to(address, &frame, NULL), XDP_DROP);
	assert_int_equal(fixture_drops(&fixture, reason), before + 1);
}

void assert_all_served(void)
{
	for (size_t f = 0; f < 2; f++) {
		struct ip_address web = fixture_service_address(WEB, families[f]);
		struct ip_address late = fixture_service_address(LATE, families[f]);
		struct ip_address other = fixture_service_address(OTHER, families[f]);
		struct ip_address closing = fixture_service_address(CLOSING, families[f]);
		assert_serves(&web, WEB);
		assert_serves(&late, LATE);
		assert_serves(&other, OTHER);
		assert_drops(&closing, DROP_REFUSED);
	}
}

void assert_wire_serves(bool native)
{
	int wire = fixture_open_wire(&fixture, native);
	for (uint16_t port = 100; port < 150; port++) {
		for (size_t f = 0; f < 2; f++) {
			struct ip_address web = fixture_service_address(WEB, families[f]);
			struct frame frame;
			struct frame out = {.length = 0};
			struct frame expected;
			frame_build(&frame, &web, IPPROTO_TCP, port, 80, port);
			frame_expect(&expected, &frame, &fixture,
				     fixture_pick(&fixture, WEB, &frame));
			edge_heartbeat(fixture.edge);
			assert_int_equal(send(wire, frame.bytes, frame.length, 0), frame.length);
			assert_true(fixture_receive_tunnel(wire, &out, 0));
			assert_int_equal(out.length, expected.length);
			assert_memory_equal(out.bytes, expected.bytes, expected.length);
		}
	}
	fixture_close_wire(&fixture, wire, native);
}

bool traffic_send(struct traffic *traffic, const struct ip_address *address)
{
	struct frame frame;
	struct frame out;
	frame_build(&frame, address, IPPROTO_TCP, (uint16_t)traffic->sent, 80, 100);
	if (send(traffic->wire, frame.bytes, frame.length, 0) != (ssize_t)frame.length)
		return false;
	traffic->sent++;
	bool is_full = traffic->sent - traffic->received == TRAFFIC_WINDOW;
	if (is_full && !fixture_receive_tunnel(traffic->wire, &out, 0))
		return false;
	traffic->received += is_full;
	while (fixture_receive_tunnel(traffic->wire, &out, MSG_DONTWAIT))
		traffic->received++;
	return true;
}

void traffic_collect(struct traffic *traffic)
{
	struct frame out;
	while (traffic->received < traffic->sent && fixture_receive_tunnel(traffic->wire, &out, 0))
		traffic->received++;
}

/* The edge */

void assert_child_aborts(void (*action)(void))
{
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		const struct rlimit none = {0, 0};
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL);
		if (!freopen("/dev/null", "w", stderr))
			_exit(3);
		action();
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

void assert_second_edge_is_refused(void)
{
	static const char *const names[] = {"edge0"};
	char name[16]; /* the kernel's, cut to this length */
	char holder[64];
	struct error err = {0};
	struct edge *second = NULL;
	struct edge_options options = {.pin_root = fixture.pins,
				       .interfaces = names,
				       .interface_count = 1,
				       .source_v4 = fixture_address("10.1.0.1")};
	assert_int_equal(prctl(PR_GET_NAME, name), 0);
	snprintf(holder, sizeof(holder), "process %ld (%s)", (long)getpid(), name);
	assert_int_equal(edge_open(&options, &second, &err), -EBUSY);
	assert_null(second);
	assert_non_null(strstr(err.text, fixture.pins));
	assert_non_null(strstr(err.text, holder));
	assert_int_equal(edge_remove(fixture.pins, &err), -EBUSY);
	assert_non_null(strstr(err.text, holder));
	assert_all_served();

	fixture_close(&fixture);
	assert_int_equal(edge_open(&options, &second, &err), 0);
	edge_close(second);
	fixture_start(&fixture);
	assert_all_served();
}

struct edge_status case_status(void)
{
	struct edge_status status;
	assert_int_equal(edge_status(fixture.edge, &status), 0);
	return status;
}

int case_publish(struct error *err)
{
	*err = (struct error){0};
	int result = edge_publish(fixture.edge, &fixture.desired, err);
	fixture_aim(&fixture);
	return result;
}

struct edge_selfcheck case_check(void)
{
	struct edge_selfcheck result;
	struct error err;
	assert_int_equal(edge_selfcheck(fixture.edge, &result, &err), 0);
	return result;
}

/* Maps */

uint32_t case_descriptor(const struct ip_address *address,
			 struct edge_map_descriptor *ret_descriptor)
{
	int words_fd = fixture_map(&fixture, "addresses");
	int descriptors_fd = fixture_map(&fixture, "descriptors");
	uint32_t found = 0;
	const uint64_t *words =
	    mmap(NULL, EDGE_MAP_ADDRESSES * sizeof(*words), PROT_READ, MAP_SHARED, words_fd, 0);
	assert_ptr_not_equal(words, MAP_FAILED);
	for (uint32_t i = 0; i < EDGE_MAP_ADDRESSES && found == 0; i++) {
		struct edge_map_descriptor descriptor;
		uint32_t number = EDGE_WORD_DESCRIPTOR(words[i]);
		if (number == 0)
			continue;
		assert_int_equal(bpf_map_lookup_elem(descriptors_fd, &number, &descriptor), 0);
		if (memcmp(descriptor.address, address->bytes, 16) != 0)
			continue;
		found = number;
		if (ret_descriptor)
			*ret_descriptor = descriptor;
	}
	munmap((void *)(uintptr_t)words, EDGE_MAP_ADDRESSES * sizeof(*words));
	close(words_fd);
	close(descriptors_fd);
	return found;
}

struct bpf_map_info case_map_info(const char *map)
{
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);
	int map_fd = fixture_map(&fixture, map);
	assert_int_equal(bpf_obj_get_info_by_fd(map_fd, &info, &size), 0);
	close(map_fd);
	return info;
}

void case_tamper(const char *map, uint32_t key, size_t offset, uint8_t value)
{
	_Alignas(8) uint8_t record[sizeof(struct edge_map_page)];
	int map_fd = fixture_map(&fixture, map);
	assert_int_equal(bpf_map_lookup_elem(map_fd, &key, record), 0);
	record[offset] = value;
	assert_int_equal(bpf_map_update_elem(map_fd, &key, record, 0), 0);
	close(map_fd);
}
