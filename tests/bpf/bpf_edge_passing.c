/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What edges pass to each other, one packet at a time: out of an edge that is behind, and into one
 * that is not. The fixture's edge is both in turn. The last test checks that every reason for
 * dropping such a packet was reached.
 */
#include "edge_case.h"
#include "frame_bytes.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define PEERS 3
#define HEADERS (8 + 12) /* UDP and the form */

static bool reached[DROP_REASONS];
static const char *const peer_texts[PEERS] = {"10.1.0.21", "fd00:1::21", "10.1.0.22"};
static const uint8_t tokens[PEERS][8] = {"\1\2\3\4\5\6\7", "\xff\xfe\xfd\xfc\xfb\xfa\xf9", "third"};
static const uint8_t own_token[8] = {9, 8, 7, 6, 5, 4, 3, 2};
static const uint8_t former_token[8] = {1, 1, 2, 3, 5, 8, 13, 21};

static uint64_t word(const uint8_t token[8])
{
	uint64_t value;
	memcpy(&value, token, sizeof(value));
	return value;
}

static void set_passing(bool is_behind, size_t peer_count)
{
	struct error err = {0};
	struct edge_peer peers[PEERS];
	struct ip_address fence[PEERS];
	for (size_t i = 0; i < PEERS; i++) {
		fence[i] = fixture_address(peer_texts[i]);
		peers[i] = (struct edge_peer){.address = fence[i], .token = word(tokens[i])};
	}
	const struct edge_passing passing = {.is_behind = is_behind,
					     .peers = peers,
					     .peer_count = peer_count,
					     .tokens = {word(own_token), word(former_token)},
					     .fence = fence,
					     .fence_count = PEERS};
	assert_int_equal(edge_set_passing(fixture.edge, &passing, &err), 0);
}

static uint64_t passed(void)
{
	struct edge_passes passes;
	assert_int_equal(edge_passes(fixture.edge, &passes), 0);
	return passes.passed;
}

static uint64_t taken(void)
{
	struct edge_passes passes;
	assert_int_equal(edge_passes(fixture.edge, &passes), 0);
	return passes.taken;
}

static void assert_frame_drops(const struct frame *frame, unsigned reason)
{
	const uint64_t before = fixture_drops(&fixture, reason);
	const uint64_t passed_before = passed();
	assert_int_equal(fixture_run(&fixture, frame, NULL), XDP_DROP);
	if (fixture_drops(&fixture, reason) != before + 1)
		fail_msg("not dropped as '%s'", drop_label(reason));
	assert_int_equal(passed(), passed_before);
	reached[reason] = true;
}

/* An address of a site that is held, and one of a site that is not; of each family. */
static const char *const unknown[] = {"198.51.100.50", "198.51.100.7", "2001:db8:f::3:7777",
				      "2001:db8:f::5:1"};

static void build_unknown(struct frame *frame, size_t which, uint16_t port)
{
	struct ip_address address = fixture_address(unknown[which]);
	frame_build(frame, &address, IPPROTO_TCP, port, 80, 30);
}

static void age(struct frame *frame)
{
	if (frame->bytes[12] == 0x08) {
		frame->bytes[14 + 8]--;
		frame_checksum(frame);
	} else {
		frame->bytes[14 + 7]--;
	}
}

/* The form that carries `frame`'s packet from `from` to `to`; ports and flow label as in `like`. */
static void wrap(struct frame *ret, const struct frame *frame, const struct ip_address *from,
		 const struct ip_address *to, const uint8_t token[8], uint16_t source_port,
		 uint32_t label)
{
	bool v4 = to->family == IP_V4;
	bool inner_v4 = frame->bytes[12] == 0x08;
	size_t header = v4 ? 20 : 40;
	size_t inner = inner_v4 ? get16(frame->bytes + 16) : 40u + get16(frame->bytes + 18);
	uint8_t outer[40 + HEADERS] = {0};
	if (v4) {
		outer[0] = 0x45;
		outer[1] = 0x28; /* the class 0x2b without its ECN */
		put16(outer + 2, inner + header + HEADERS);
		put16(outer + 6, 0x4000);
		outer[8] = 64;
		outer[9] = IPPROTO_UDP;
		memcpy(outer + 12, from->bytes, 4);
		memcpy(outer + 16, to->bytes, 4);
		checksum_v4(outer, 20);
	} else {
		put16(outer, 0x6280u | label >> 16);
		put16(outer + 2, label & 0xffff);
		put16(outer + 4, inner + HEADERS);
		outer[6] = IPPROTO_UDP;
		outer[7] = 64;
		memcpy(outer + 8, from->bytes, 16);
		memcpy(outer + 24, to->bytes, 16);
	}
	uint8_t *udp = outer + header;
	put16(udp, source_port);
	put16(udp + 2, 7123);
	put16(udp + 4, inner + HEADERS);
	memcpy(udp + 8, "fl\1", 3);
	udp[11] = inner_v4 ? 4 : 6;
	memcpy(udp + 12, token, 8);
	*ret = *frame;
	put16(ret->bytes + 12, v4 ? 0x0800 : 0x86dd);
	frame_insert(ret, 14, outer, header + HEADERS);
}

static const uint8_t *transport_of(const struct frame *frame)
{
	return frame->bytes + (frame->bytes[12] == 0x08 ? 34 : 54);
}

/* The one that the frame was passed on to; byte for byte what the form says. */
static size_t assert_passed_on(const struct frame *frame)
{
	struct frame out;
	struct frame inner = *frame;
	struct frame expected;
	const uint64_t before = passed();
	assert_int_equal(fixture_run(&fixture, frame, &out), XDP_TX);
	assert_int_equal(passed(), before + 1);
	size_t peer = 0;
	while (peer < PEERS && memcmp(transport_of(&out) + 12, tokens[peer], 8) != 0)
		peer++;
	assert_true(peer < PEERS);
	const struct ip_address to = fixture_address(peer_texts[peer]);
	const struct ip_address from =
	    fixture_address(to.family == IP_V4 ? "10.1.0.1" : "fd00:1::1");
	const uint16_t port = (uint16_t)get16(transport_of(&out));
	const uint32_t label = (out.bytes[15] & 15u) << 16 | get16(out.bytes + 16);
	assert_true(port >= 0xc000);
	age(&inner);
	wrap(&expected, &inner, &from, &to, tokens[peer], port, label);
	memcpy(expected.bytes, "\2\0\0\0\0\x31", 6);
	expected.bytes[5] = (uint8_t)(0x31 + peer);
	memcpy(expected.bytes + 6, "\2\0\0\0\0\1", 6);
	assert_int_equal(out.length, expected.length);
	assert_memory_equal(out.bytes, expected.bytes, expected.length);
	return peer;
}

/* An edge that is not behind drops what it does not know. */
static void test_only_who_is_behind_passes_on(void **state)
{
	(void)state;
	struct frame frame;
	for (size_t i = 0; i < 4; i++) {
		const unsigned reason = i % 2 ? DROP_NO_SITE : DROP_NO_BINDING;
		build_unknown(&frame, i, 1000);
		assert_frame_drops(&frame, reason);
		set_passing(false, PEERS);
		assert_frame_drops(&frame, reason);
		set_passing(true, 0);
		assert_frame_drops(&frame, reason);
		set_passing(true, PEERS);
		(void)assert_passed_on(&frame);
		set_passing(false, PEERS);
		assert_frame_drops(&frame, reason);
	}
}

/* The daemon has been silent for long: nobody waits for this edge. */
static void test_who_has_no_daemon_passes_on(void **state)
{
	(void)state;
	const uint32_t zero = 0;
	struct edge_map_settings settings;
	struct frame frame;
	int map = fixture_map(&fixture, "settings");
	set_passing(false, PEERS);
	build_unknown(&frame, 0, 1000);
	assert_frame_drops(&frame, DROP_NO_BINDING);
	assert_int_equal(bpf_map_lookup_elem(map, &zero, &settings), 0);
	settings.heartbeat -= settings.heartbeat_limit + 1;
	assert_int_equal(bpf_map_update_elem(map, &zero, &settings, 0), 0);
	const uint64_t before = passed();
	assert_int_equal(fixture_run(&fixture, &frame, NULL), XDP_TX);
	assert_int_equal(passed(), before + 1);
	close(map);
}

/* What an edge that is behind knows is not passed on, nor what it refuses. */
static void test_what_is_known_stays(void **state)
{
	(void)state;
	struct frame frame;
	struct ip_address closing = fixture_service_address(CLOSING, IP_V4);
	struct ip_address web = fixture_service_address(WEB, IP_V4);
	set_passing(true, PEERS);
	const uint64_t before = passed();
	assert_all_served();
	assert_int_equal(passed(), before);
	frame_build(&frame, &closing, IPPROTO_TCP, 5, 80, 0);
	assert_frame_drops(&frame, DROP_REFUSED);
	frame_build(&frame, &web, IPPROTO_TCP, 5, 81, 0);
	assert_frame_drops(&frame, DROP_PORT);
	build_unknown(&frame, 0, 9);
	frame.bytes[14 + 8] = 1;
	frame_checksum(&frame);
	assert_frame_drops(&frame, DROP_TTL);
}

/* A flow keeps its peer, and clients spread over all of them. */
static void test_a_flow_keeps_its_peer(void **state)
{
	(void)state;
	bool met[PEERS] = {false};
	set_passing(true, PEERS);
	for (unsigned client = 0; client < 64; client++) {
		struct frame frame;
		build_unknown(&frame, client % 4, 1000);
		frame.bytes[frame.bytes[12] == 0x08 ? 29 : 37] = (uint8_t)client;
		if (frame.bytes[12] == 0x08)
			frame_checksum(&frame);
		const size_t peer = assert_passed_on(&frame);
		met[peer] = true;
		frame.bytes[frame_transport(&frame) + 13] = 0x10;
		assert_int_equal(assert_passed_on(&frame), peer);
	}
	for (size_t i = 0; i < PEERS; i++)
		assert_true(met[i]);
	set_passing(true, 1);
	for (size_t i = 0; i < 4; i++) {
		struct frame frame;
		build_unknown(&frame, i, 1000);
		assert_int_equal(assert_passed_on(&frame), 0);
	}
}

static void test_too_big_to_pass_on(void **state)
{
	(void)state;
	struct frame frame;
	struct ip_address address = fixture_address(unknown[0]);
	set_passing(true, 1);
	frame_build(&frame, &address, IPPROTO_UDP, 5, 80, 1500 - 20 - HEADERS - 28);
	(void)assert_passed_on(&frame);
	frame_build(&frame, &address, IPPROTO_UDP, 5, 80, 1500 - 20 - HEADERS - 28 + 1);
	assert_frame_drops(&frame, DROP_TOO_BIG);
}

static void test_no_headroom(void **state)
{
	(void)state;
	struct frame frame;
	struct ip_address address = fixture_address(unknown[0]);
	set_passing(true, 1);
	frame_build(&frame, &address, IPPROTO_UDP, 5, 80, 64 - 14 - 28);
	const uint64_t before = fixture_drops(&fixture, DROP_HEADROOM);
	assert_int_equal(fixture_run_program(fixture.crowd_fd, fixture.edge0, &frame, NULL),
			 XDP_DROP);
	assert_int_equal(fixture_drops(&fixture, DROP_HEADROOM), before + 1);
}

/* Empty the rate's bucket of every CPU, filled last at `filled_ns`. */
static void set_bucket(uint64_t filled_ns)
{
	const uint32_t zero = 0;
	const int cpus = libbpf_num_possible_cpus();
	struct edge_map_passes *values = calloc((size_t)cpus, sizeof(*values));
	int map = fixture_map(&fixture, "passes_of_cpu");
	assert_non_null(values);
	assert_int_equal(bpf_map_lookup_elem(map, &zero, values), 0);
	for (int i = 0; i < cpus; i++) {
		values[i].left = 0;
		values[i].filled_ns = filled_ns;
	}
	assert_int_equal(bpf_map_update_elem(map, &zero, values, BPF_ANY), 0);
	free(values);
	close(map);
}

static void test_the_rate(void **state)
{
	(void)state;
	struct frame frame;
	struct timespec now;
	set_passing(true, 1);
	build_unknown(&frame, 0, 5);
	set_bucket(0);
	(void)assert_passed_on(&frame); /* a second's worth has come since */
	clock_gettime(CLOCK_MONOTONIC, &now);
	set_bucket((uint64_t)(now.tv_sec + 3600) * 1000000000u);
	assert_frame_drops(&frame, DROP_PASS_LIMIT);
	set_bucket((uint64_t)(now.tv_sec - 1) * 1000000000u);
	(void)assert_passed_on(&frame);
}

/* --- what others passed on --- */

static void wrap_from(struct frame *ret, const struct frame *frame, size_t peer)
{
	const struct ip_address from = fixture_address(peer_texts[peer]);
	const struct ip_address to =
	    fixture_address(from.family == IP_V4 ? "10.1.0.1" : "fd00:1::1");
	wrap(ret, frame, &from, &to, own_token, 0xc123, 0x12345);
}

static void build_web(struct frame *frame, size_t family)
{
	struct ip_address address = fixture_service_address(WEB, families[family]);
	frame_build(frame, &address, IPPROTO_TCP, 40000, 80, 30);
}

static void assert_placed(const struct frame *wrapped, const struct frame *frame)
{
	struct frame out;
	struct frame expected;
	const uint64_t before = taken();
	assert_int_equal(fixture_run(&fixture, wrapped, &out), XDP_TX);
	frame_expect(&expected, frame, &fixture, fixture_pick(&fixture, WEB, frame));
	assert_int_equal(out.length, expected.length);
	assert_memory_equal(out.bytes, expected.bytes, expected.length);
	assert_int_equal(taken(), before + 1);
}

/* As if it had come from the client; every family in every. */
static void test_it_is_placed(void **state)
{
	(void)state;
	set_passing(false, 0);
	for (size_t family = 0; family < 2; family++) {
		for (size_t peer = 0; peer < PEERS; peer++) {
			struct frame frame;
			struct frame wrapped;
			struct ip_address address = fixture_service_address(WEB, families[family]);
			build_web(&frame, family);
			struct edge_counters before = fixture_counters(&fixture, &address);
			wrap_from(&wrapped, &frame, peer);
			assert_placed(&wrapped, &frame);
			struct edge_counters after = fixture_counters(&fixture, &address);
			assert_int_equal(after.new_flows, before.new_flows + 1);
			assert_int_equal(after.packets, before.packets + 1);
		}
	}
}

static void test_the_former_token_is_good(void **state)
{
	(void)state;
	struct frame frame;
	struct frame wrapped;
	build_web(&frame, 0);
	wrap_from(&wrapped, &frame, 0);
	memcpy(wrapped.bytes + 14 + 20 + 12, former_token, 8);
	set_passing(false, 0);
	assert_placed(&wrapped, &frame);
}

/* Also by an edge that is behind itself. */
static void test_it_is_passed_on_once(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4; i++) {
		struct frame frame;
		struct frame wrapped;
		build_unknown(&frame, i, 40000);
		wrap_from(&wrapped, &frame, i % PEERS);
		for (int behind = 0; behind < 2; behind++) {
			set_passing(behind, PEERS);
			assert_frame_drops(&wrapped, DROP_PASSED_UNKNOWN);
		}
	}
}

static void test_whoever_has_no_token_is_dropped(void **state)
{
	(void)state;
	struct frame frame;
	struct frame wrapped;
	set_passing(false, 0);
	for (size_t peer = 0; peer < 2; peer++) {
		const size_t header = peer ? 40 : 20;
		for (unsigned bit = 0; bit < 64; bit++) {
			build_web(&frame, 0);
			wrap_from(&wrapped, &frame, peer);
			wrapped.bytes[14 + header + 12 + bit / 8] ^= (uint8_t)(1u << bit % 8);
			assert_frame_drops(&wrapped, DROP_PASSED_TOKEN);
		}
		memset(wrapped.bytes + 14 + header + 12, 0, 8);
		assert_frame_drops(&wrapped, DROP_PASSED_TOKEN);
	}
	/* Nor is 0 one where this edge has no token yet. */
	struct error err = {0};
	struct ip_address fence = fixture_address(peer_texts[1]);
	const struct edge_passing none = {.fence = &fence, .fence_count = 1};
	assert_int_equal(edge_set_passing(fixture.edge, &none, &err), 0);
	assert_frame_drops(&wrapped, DROP_PASSED_TOKEN);
}

static void test_who_is_no_edge_is_dropped(void **state)
{
	(void)state;
	struct frame frame;
	struct frame wrapped;
	struct error err = {0};
	build_web(&frame, 0);
	wrap_from(&wrapped, &frame, 0);
	set_passing(false, 0);
	assert_placed(&wrapped, &frame);
	wrapped.bytes[14 + 15] = 23;
	frame_checksum(&wrapped);
	assert_frame_drops(&wrapped, DROP_PASSED_NOT_EDGE);
	wrap_from(&wrapped, &frame, 1);
	wrapped.bytes[14 + 8 + 15] = 0x23;
	assert_frame_drops(&wrapped, DROP_PASSED_NOT_EDGE);
	/* Who left the fence. */
	struct ip_address fence = fixture_address(peer_texts[1]);
	const struct edge_passing less = {
	    .tokens = {word(own_token)}, .fence = &fence, .fence_count = 1};
	wrap_from(&wrapped, &frame, 0);
	assert_int_equal(edge_set_passing(fixture.edge, &less, &err), 0);
	assert_frame_drops(&wrapped, DROP_PASSED_NOT_EDGE);
	wrap_from(&wrapped, &frame, 1);
	assert_placed(&wrapped, &frame);
}

static void test_it_holds_nothing_but_a_clients_packet(void **state)
{
	(void)state;
	struct frame frame;
	struct frame wrapped;
	struct frame twice;
	struct ip_address other = fixture_address("10.1.0.1");
	set_passing(false, 0);
	build_web(&frame, 0);
	wrap_from(&wrapped, &frame, 0);
	wrap_from(&twice, &wrapped, 0);
	assert_frame_drops(&twice, DROP_PASSED_INNER);
	frame_build(&frame, &other, IPPROTO_TCP, 1, 80, 0);
	wrap_from(&wrapped, &frame, 0);
	assert_frame_drops(&wrapped, DROP_PASSED_INNER);
	/* The family is not the one that the form names. */
	build_web(&frame, 0);
	wrap_from(&wrapped, &frame, 0);
	wrapped.bytes[14 + 20 + 11] = 6;
	assert_frame_drops(&wrapped, DROP_PASSED_INNER);
	/* Longer than the form has room for, though the frame goes on. */
	for (size_t family = 0; family < 2; family++) {
		build_web(&frame, family);
		wrap_from(&wrapped, &frame, 0);
		wrapped.length += 8;
		const size_t at = 14 + 20 + HEADERS + (family ? 4 : 2);
		put16(wrapped.bytes + at, get16(wrapped.bytes + at) + 1);
		assert_frame_drops(&wrapped, DROP_PASSED_INNER);
	}
	/* What is wrong with the packet itself is found as ever. */
	build_web(&frame, 0);
	frame.bytes[frame_transport(&frame) + 12] = 0;
	wrap_from(&wrapped, &frame, 0);
	assert_frame_drops(&wrapped, DROP_L4_LENGTH);
}

/* The end of the frame wherever it may be: nothing is read behind it, and nothing goes on. */
static void test_truncated(void **state)
{
	(void)state;
	set_passing(false, 0);
	for (size_t peer = 0; peer < 2; peer++) {
		struct frame frame;
		struct frame wrapped;
		build_web(&frame, peer);
		wrap_from(&wrapped, &frame, peer);
		const size_t whole = wrapped.length;
		const size_t head = 14 + (peer ? 40 : 20);
		for (size_t length = 14; length < whole; length++) {
			const uint64_t before = taken();
			wrapped.length = length;
			if (length >= head + 8)
				assert_frame_drops(&wrapped, DROP_PASSED_MALFORMED);
			else
				assert_int_not_equal(fixture_run(&fixture, &wrapped, NULL), XDP_TX);
			assert_int_equal(taken(), before);
		}
	}
}

static void test_malformed(void **state)
{
	(void)state;
	static const struct {
		size_t at;
		uint8_t value;
	} changes[] = {{20 + 4, 0xff}, {20 + 5, 0},  {20 + 7, 1},  {20 + 8, 0},
		       {20 + 9, 'x'},  {20 + 10, 0}, {20 + 10, 2}, {20 + 11, 5}};
	struct frame frame;
	struct frame wrapped;
	set_passing(false, 0);
	build_web(&frame, 0);
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		wrap_from(&wrapped, &frame, 0);
		wrapped.bytes[14 + changes[i].at] = changes[i].value;
		assert_frame_drops(&wrapped, DROP_PASSED_MALFORMED);
	}
	wrap_from(&wrapped, &frame, 0);
	put16(wrapped.bytes + 14 + 6, 0x2000); /* more fragments */
	frame_checksum(&wrapped);
	assert_frame_drops(&wrapped, DROP_PASSED_MALFORMED);
	wrap_from(&wrapped, &frame, 0);
	wrapped.bytes[14 + 8] ^= 1;
	assert_frame_drops(&wrapped, DROP_PASSED_CHECKSUM);
}

/* What is for somebody else, or for another port, is not this edge's. */
static void test_what_is_not_passed_on_is_the_kernels(void **state)
{
	(void)state;
	struct frame frame;
	struct frame wrapped;
	struct frame out;
	set_passing(false, 0);
	for (size_t peer = 0; peer < 2; peer++) {
		const size_t header = peer ? 40 : 20;
		const size_t changes[] = {5, 14 + header - 1, 14 + header + 3,
					  14 + (peer ? 6u : 9u)};
		for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
			build_web(&frame, 0);
			wrap_from(&wrapped, &frame, peer);
			wrapped.bytes[changes[i]] ^= 2;
			if (!peer)
				frame_checksum(&wrapped);
			assert_int_equal(fixture_run(&fixture, &wrapped, &out), XDP_PASS);
			assert_memory_equal(out.bytes, wrapped.bytes, wrapped.length);
		}
	}
}

/* A larger set of maps has a program of its own, which goes on taking what is passed on. */
static void test_after_growth(void **state)
{
	(void)state;
	struct frame frame;
	struct frame wrapped;
	struct error err = {0};
	static uint16_t ring[EDGE_RING_PAGES * EDGE_RING_PAGE];
	static struct edge_version versions[20];
	static struct edge_binding bindings[FIXTURE_ADDRESSES + 20];
	set_passing(true, PEERS);
	for (size_t i = 0; i < EDGE_RING_PAGES * EDGE_RING_PAGE; i++)
		ring[i] = (uint16_t)(i % FIXTURE_BACKENDS);
	memcpy(bindings, fixture.bindings, sizeof(fixture.bindings));
	for (unsigned i = 0; i < 20; i++) {
		char text[32];
		versions[i] = fixture.versions[WEB];
		versions[i].ring = ring;
		versions[i].ring_length = EDGE_RING_PAGES * EDGE_RING_PAGE;
		memset(versions[i].digest.bytes, (int)i, sizeof(versions[i].digest.bytes));
		snprintf(text, sizeof(text), "2001:db8:f::4:%x", i);
		bindings[FIXTURE_ADDRESSES + i] = (struct edge_binding){
		    .address = fixture_address(text), .version = &versions[i], .number = 100 + i};
	}
	fixture.desired.bindings = bindings;
	fixture.desired.binding_count = FIXTURE_ADDRESSES + 20;
	assert_int_equal(edge_publish(fixture.edge, &fixture.desired, &err), 0);
	fixture_aim(&fixture);
	build_web(&frame, 0);
	wrap_from(&wrapped, &frame, 0);
	assert_placed(&wrapped, &frame);
	build_unknown(&frame, 0, 1000);
	(void)assert_passed_on(&frame);
}

/* Nothing is passed on to a peer that nobody answers for, while there is another one. */
static void test_peers_that_are_not_reached(void **state)
{
	(void)state;
	struct error err = {0};
	struct edge_peer peers[2] = {
	    {.address = fixture_address("10.1.0.99"), .token = 1},
	    {.address = fixture_address(peer_texts[0]), .token = word(tokens[0])}};
	const struct edge_passing passing = {.is_behind = true, .peers = peers, .peer_count = 2};
	assert_int_equal(edge_set_passing(fixture.edge, &passing, &err), 0);
	for (unsigned client = 0; client < 32; client++) {
		struct frame frame;
		build_unknown(&frame, 0, 1000);
		frame.bytes[29] = (uint8_t)client;
		frame_checksum(&frame);
		assert_int_equal(assert_passed_on(&frame), 0);
	}
}

/* Peers are no backends of anybody's, and one that is a backend, too, stays one. */
static void test_peers_are_no_backends(void **state)
{
	(void)state;
	struct error err = {0};
	struct ip_address *unreached;
	size_t count;
	set_passing(true, PEERS);
	assert_int_equal(case_status().backend_count, FIXTURE_BACKENDS);
	const struct edge_peer lost = {.address = fixture_address("10.1.0.99"), .token = 1};
	const struct edge_passing passing = {.is_behind = true, .peers = &lost, .peer_count = 1};
	assert_int_equal(edge_set_passing(fixture.edge, &passing, &err), 0);
	assert_int_equal(edge_unreached(fixture.edge, &unreached, &count), 0);
	assert_int_equal(count, 0);
	free(unreached);
	const struct edge_peer both = {.address = fixture.backends[0].address, .token = 1};
	const struct edge_passing backend = {.peers = &both, .peer_count = 1};
	assert_int_equal(edge_set_passing(fixture.edge, &backend, &err), 0);
	assert_int_equal(case_status().backend_count, FIXTURE_BACKENDS);
	const struct edge_passing none = {0};
	assert_int_equal(edge_set_passing(fixture.edge, &none, &err), 0);
	assert_all_served();
}

static void test_every_reason_was_reached(void **state)
{
	(void)state;
	bool missing = false;
#define X(name, number, label, text)                                                               \
	if (!reached[number]) {                                                                    \
		fprintf(stderr, "no test reaches DROP_%s\n", #name);                               \
		missing = true;                                                                    \
	}
	EDGE_PASSING_DROPS(X)
#undef X
	assert_false(missing);
}

static int start(void **state)
{
	if (case_start(state) < 0)
		return -1;
	for (size_t i = 0; i < PEERS; i++)
		fixture_command("ip neigh replace %s dev edge0 lladdr 02:00:00:00:00:%02zx "
				"nud permanent",
				peer_texts[i], 0x31 + i);
	return 0;
}

#define PASSING_CASE(test) cmocka_unit_test_setup_teardown(test, start, case_stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    PASSING_CASE(test_only_who_is_behind_passes_on),
	    PASSING_CASE(test_who_has_no_daemon_passes_on),
	    PASSING_CASE(test_what_is_known_stays),
	    PASSING_CASE(test_a_flow_keeps_its_peer),
	    PASSING_CASE(test_too_big_to_pass_on),
	    PASSING_CASE(test_no_headroom),
	    PASSING_CASE(test_the_rate),
	    PASSING_CASE(test_it_is_placed),
	    PASSING_CASE(test_the_former_token_is_good),
	    PASSING_CASE(test_it_is_passed_on_once),
	    PASSING_CASE(test_whoever_has_no_token_is_dropped),
	    PASSING_CASE(test_who_is_no_edge_is_dropped),
	    PASSING_CASE(test_it_holds_nothing_but_a_clients_packet),
	    PASSING_CASE(test_truncated),
	    PASSING_CASE(test_malformed),
	    PASSING_CASE(test_what_is_not_passed_on_is_the_kernels),
	    PASSING_CASE(test_after_growth),
	    PASSING_CASE(test_peers_that_are_not_reached),
	    PASSING_CASE(test_peers_are_no_backends),
	    cmocka_unit_test(test_every_reason_was_reached),
	};
	return cmocka_run_group_tests(tests, case_enter, case_leave);
}
