/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The landing's decapsulation, packet by packet: every verdict, every drop reason, each frame cut
 * at every length, the ECN table of RFC 6040, and frames with random bytes in them. What comes out
 * must be the link header with the inner protocol, and the inner packet to its last byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "abi/landing.h"
#include "base/netaddr.h"
#include "base/random.h"
#include "frame_bytes.h"
#include "landing.skel.h"
#include "tests/seed.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINK 14
#define FRAME_MAX 1024
#define PAYLOAD 32 /* bytes behind the inner IP header */

#define OWN_V4 "10.0.1.11"
#define OWN_V6 "fd00:1::11"
#define EDGE_V4 "10.0.1.2"
#define EDGE_V6 "fd00:1::2"
#define CLIENT_V4 "192.0.2.10"
#define CLIENT_V6 "2001:db8:c::10"
#define SERVICE_V4 "198.51.100.7"
#define SERVICE_V6 "2001:db8:f::7"

static struct landing_bpf *program;
static uint64_t dropped_ever[DROP_REASONS]; /* over all tests */

struct frame {
	uint8_t bytes[FRAME_MAX];
	size_t length;
	size_t outer; /* bytes of the outer header */
	bool outer_v6, inner_v6;
};

static void put_address(uint8_t *at, const char *text)
{
	struct ip_address address;
	assert_int_equal(ip_address_parse(text, &address), 0);
	memcpy(at, address.bytes, address.family == IP_V4 ? 4 : 16);
}

static void fix_checksum(uint8_t *ip)
{
	checksum_v4(ip, (ip[0] & 15u) * 4u);
}

/* An IP header of 20 or 40 bytes for `length` bytes behind it. */
static void put_ip(uint8_t *ip, bool v6, uint8_t protocol, size_t length, const char *source,
		   const char *destination)
{
	memset(ip, 0, v6 ? 40 : 20);
	if (v6) {
		ip[0] = 0x60;
		put16(ip + 4, length);
		ip[6] = protocol;
		ip[7] = 64;
		put_address(ip + 8, source);
		put_address(ip + 24, destination);
	} else {
		ip[0] = 0x45;
		put16(ip + 2, 20 + length);
		ip[8] = 64;
		ip[9] = protocol;
		put_address(ip + 12, source);
		put_address(ip + 16, destination);
		fix_checksum(ip);
	}
}

static uint8_t *outer_of(struct frame *frame)
{
	return frame->bytes + LINK;
}

static uint8_t *inner_of(struct frame *frame)
{
	return frame->bytes + LINK + frame->outer;
}

static size_t inner_length(const struct frame *frame)
{
	return frame->length - LINK - frame->outer;
}

/* A packet for a service, as an edge sends it. */
static struct frame make_tunnel(bool outer_v6, bool inner_v6)
{
	struct frame frame = {
	    .outer = outer_v6 ? 40 : 20, .outer_v6 = outer_v6, .inner_v6 = inner_v6};
	size_t inner = (inner_v6 ? 40u : 20u) + PAYLOAD;
	memcpy(frame.bytes, "\x02\x00\x00\x00\x00\x0b\x02\x00\x00\x00\x00\x02", 12);
	put16(frame.bytes + 12, outer_v6 ? 0x86dd : 0x0800);
	put_ip(outer_of(&frame), outer_v6, inner_v6 ? 41 : 4, inner, outer_v6 ? EDGE_V6 : EDGE_V4,
	       outer_v6 ? OWN_V6 : OWN_V4);
	put_ip(inner_of(&frame), inner_v6, 17, PAYLOAD, inner_v6 ? CLIENT_V6 : CLIENT_V4,
	       inner_v6 ? SERVICE_V6 : SERVICE_V4);
	uint8_t *payload = inner_of(&frame) + (inner_v6 ? 40 : 20);
	for (size_t i = 0; i < PAYLOAD; i++)
		payload[i] = (uint8_t)(0xa0 + i);
	frame.length = LINK + frame.outer + inner;
	return frame;
}

/* Put `length` bytes of options or extension headers behind the fixed outer header. */
static void insert_behind_outer(struct frame *frame, const void *bytes, size_t length)
{
	uint8_t *at = inner_of(frame);
	memmove(at + length, at, inner_length(frame));
	memcpy(at, bytes, length);
	frame->length += length;
	frame->outer += length;
	uint8_t *outer = outer_of(frame);
	if (frame->outer_v6) {
		put16(outer + 4, get16(outer + 4) + length);
	} else {
		outer[0] = (uint8_t)(outer[0] + length / 4);
		put16(outer + 2, get16(outer + 2) + length);
		fix_checksum(outer);
	}
}

static struct landing_counts read_counts(void)
{
	const uint32_t zero = 0;
	struct landing_counts sum = {0};
	int cpus = libbpf_num_possible_cpus();
	struct landing_counts *counts = calloc((size_t)cpus, sizeof(*counts));
	assert_non_null(counts);
	int fd = bpf_map__fd(program->maps.landing_counts);
	assert_int_equal(bpf_map_lookup_elem(fd, &zero, counts), 0);
	for (int cpu = 0; cpu < cpus; cpu++) {
		sum.passed += counts[cpu].passed;
		for (size_t i = 0; i < 4; i++)
			sum.accepted[i] += counts[cpu].accepted[i];
		for (size_t i = 0; i < DROP_REASONS; i++)
			sum.drops[i] += counts[cpu].drops[i];
	}
	free(counts);
	return sum;
}

/* What became of a frame. */
struct outcome {
	uint32_t verdict; /* XDP_… */
	bool accepted; /* it is taken for a tunnel packet */
	bool outer_v6, inner_v6; /* the kind of tunnel */
	unsigned reason; /* the drop counter that moved, 0 if none */
	struct frame out;
};

/* Runs the program; exactly one counter must move, by one. */
static struct outcome run(const struct frame *frame)
{
	struct outcome outcome = {0};
	struct landing_counts before = read_counts();
	struct bpf_test_run_opts options = {
	    .sz = sizeof(options),
	    .data_in = frame->bytes,
	    .data_size_in = (uint32_t)frame->length,
	    .data_out = outcome.out.bytes,
	    .data_size_out = sizeof(outcome.out.bytes),
	    .repeat = 1,
	};
	int fd = bpf_program__fd(program->progs.landing_decapsulate);
	assert_int_equal(bpf_prog_test_run_opts(fd, &options), 0);
	outcome.verdict = options.retval;
	outcome.out.length = options.data_size_out;

	struct landing_counts after = read_counts();
	uint64_t moved = after.passed - before.passed;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t count = after.accepted[i] - before.accepted[i];
		if (!count)
			continue;
		outcome.accepted = true;
		outcome.outer_v6 = i & 2;
		outcome.inner_v6 = i & 1;
		moved += count;
	}
	for (unsigned i = 0; i < DROP_REASONS; i++) {
		uint64_t count = after.drops[i] - before.drops[i];
		if (!count)
			continue;
		outcome.reason = i;
		dropped_ever[i] += count;
		moved += count;
	}
	assert_int_equal(moved, 1);
	assert_int_equal(outcome.verdict == XDP_DROP, outcome.reason != 0);
	return outcome;
}

static void assert_passed(const struct frame *frame)
{
	struct outcome outcome = run(frame);
	assert_int_equal(outcome.verdict, XDP_PASS);
	assert_false(outcome.accepted);
	assert_int_equal(outcome.out.length, frame->length);
	assert_memory_equal(outcome.out.bytes, frame->bytes, frame->length);
}

static void assert_dropped(const struct frame *frame, enum drop_reason reason)
{
	struct outcome outcome = run(frame);
	assert_int_equal(outcome.verdict, XDP_DROP);
	assert_int_equal(outcome.reason, reason);
}

/* What lands is the link header with the inner protocol, and the inner packet as it was. */
static void assert_landed(struct frame *frame)
{
	struct outcome outcome = run(frame);
	assert_int_equal(outcome.verdict, XDP_PASS);
	assert_true(outcome.accepted);
	assert_int_equal(outcome.outer_v6, frame->outer_v6);
	assert_int_equal(outcome.inner_v6, frame->inner_v6);
	assert_int_equal(outcome.out.length, frame->length - frame->outer);
	assert_memory_equal(outcome.out.bytes, frame->bytes, 12);
	assert_int_equal(get16(outcome.out.bytes + 12), frame->inner_v6 ? 0x86dd : 0x0800);
	assert_memory_equal(outcome.out.bytes + LINK, inner_of(frame), inner_length(frame));
}

static void test_every_combination_lands(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		const bool outer_v6 = kind & 2;
		const bool inner_v6 = kind & 1;
		struct frame frame = make_tunnel(outer_v6, inner_v6);
		assert_landed(&frame);
		/* Padding of the link behind the packet stays behind it. */
		memset(frame.bytes + frame.length, 0xee, 7);
		frame.length += 7;
		assert_landed(&frame);
	}
}

static void test_options_of_the_outer_header_are_taken_off_too(void **state)
{
	(void)state;
	uint8_t no_operation[40];
	memset(no_operation, 1, sizeof(no_operation));
	for (size_t length = 4; length <= 40; length += 4) {
		struct frame frame = make_tunnel(false, true);
		insert_behind_outer(&frame, no_operation, length);
		assert_landed(&frame);
	}
	/* The option that Linux's own tunnels send (RFC 2473, section 4.1.1). */
	uint8_t limit[8] = {41, 0, 4, 1, 4, 1, 1, 0};
	struct frame frame = make_tunnel(true, true);
	insert_behind_outer(&frame, limit, sizeof(limit));
	outer_of(&frame)[6] = 60;
	assert_landed(&frame);
	/* Hop-by-hop options before it, and an atomic fragment header (RFC 6946). */
	limit[0] = 60;
	uint8_t chain[24] = {60, 0, 1, 4, 0, 0, 0, 0, 44, 0, 1, 4,
			     0,  0, 0, 0, 4, 0, 0, 0, 1,  2, 3, 4};
	frame = make_tunnel(true, false);
	insert_behind_outer(&frame, chain, sizeof(chain));
	outer_of(&frame)[6] = 0;
	assert_landed(&frame);
}

static void test_what_is_not_ours_passes_untouched(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		const bool outer_v6 = kind & 2;
		const bool inner_v6 = kind & 1;
		struct frame frame = make_tunnel(outer_v6, inner_v6);
		put_address(outer_of(&frame) + (outer_v6 ? 24 : 16),
			    outer_v6 ? "fd00:1::12" : "10.0.1.12"); /* another machine's */
		assert_passed(&frame);

		frame = make_tunnel(outer_v6, inner_v6);
		outer_of(&frame)[outer_v6 ? 6 : 9] = 6; /* TCP to this machine itself */
		assert_passed(&frame);

		frame = make_tunnel(outer_v6, inner_v6);
		outer_of(&frame)[0] ^= 0x10; /* a version that does not go with the link header */
		assert_passed(&frame);

		frame = make_tunnel(outer_v6, inner_v6);
		put16(frame.bytes + 12, 0x8100); /* a VLAN tag */
		assert_passed(&frame);
		put16(frame.bytes + 12, 0x0806); /* ARP */
		assert_passed(&frame);
	}
	struct frame frame = make_tunnel(false, false);
	outer_of(&frame)[0] = 0x44; /* a header shorter than a header can be */
	assert_passed(&frame);
}

static void test_headers_that_cannot_be_followed_pass(void **state)
{
	(void)state;
	uint8_t routing[8] = {41, 0, 0, 0, 0, 0, 0, 0};
	struct frame frame = make_tunnel(true, true);
	insert_behind_outer(&frame, routing, sizeof(routing));
	outer_of(&frame)[6] = 43;
	assert_passed(&frame);

	uint8_t chain[40];
	for (size_t i = 0; i < sizeof(chain); i += 8)
		memcpy(chain + i, (const uint8_t[8]){60, 0, 1, 4, 0, 0, 0, 0}, 8);
	chain[32] = 41;
	frame = make_tunnel(true, true);
	insert_behind_outer(&frame, chain, sizeof(chain)); /* one more than we walk */
	outer_of(&frame)[6] = 60;
	assert_passed(&frame);

	uint8_t too_far[8] = {41, 255, 1, 4, 0, 0, 0, 0};
	frame = make_tunnel(true, true);
	insert_behind_outer(&frame, too_far, sizeof(too_far));
	outer_of(&frame)[6] = 60;
	assert_dropped(&frame, DROP_LANDING_OUTER_MALFORMED); /* it says that a tunnel follows */
}

/* It went past the edges, whatever it is. */
static void test_a_packet_without_a_tunnel_is_dropped(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		static const uint8_t protocols[] = {1, 6, 17, 58, 132, 4, 41};
		for (size_t i = 0; i < sizeof(protocols); i++) {
			struct frame frame = make_tunnel(v6, v6);
			outer_of(&frame)[v6 ? 6 : 9] = protocols[i];
			put_address(outer_of(&frame) + (v6 ? 24 : 16),
				    v6 ? SERVICE_V6 : SERVICE_V4);
			assert_dropped(&frame, DROP_LANDING_BARE);
			frame.length = LINK + (v6 ? 40 : 20);
			assert_dropped(&frame, DROP_LANDING_BARE);
			frame.length--;
			assert_passed(&frame);
		}
	}
}

static void set_own(uint32_t ifindex, const void *link, uint32_t next_ifindex, const void *next)
{
	const uint32_t zero = 0;
	struct landing_own own = {.items = {{.ifindex = ifindex}, {.ifindex = next_ifindex}}};
	memcpy(own.items[0].address, link, 6);
	memcpy(own.items[1].address, next, 6);
	int fd = bpf_map__fd(program->maps.landing_own);
	assert_int_equal(bpf_map_update_elem(fd, &zero, &own, BPF_ANY), 0);
}

/* A bridge or a switch floods frames for others; the kernel drops them. */
static void test_frames_for_others_pass(void **state)
{
	(void)state;
	static const char own[] = "\x02\x00\x00\x00\x00\x0b", bridge[] = "\x02\x00\x00\x00\x00\x0c";
	/* The kernel runs the program as if frames came in on the loopback interface. */
	set_own(1, own, 1, bridge);
	for (unsigned kind = 0; kind < 4; kind++) {
		struct frame frame = make_tunnel(kind & 2, kind & 1);
		assert_landed(&frame);
		for (size_t i = 0; i < 6; i++) {
			frame.bytes[i] ^= 0x40;
			assert_passed(&frame);
			frame.bytes[i] ^= 0x40;
		}
		memcpy(frame.bytes, bridge, 6);
		assert_landed(&frame);
		put_address(outer_of(&frame) + (kind & 2 ? 24 : 16),
			    kind & 2 ? SERVICE_V6 : SERVICE_V4);
		frame.bytes[0] ^= 0x40;
		assert_passed(&frame);
	}
	/* Of another interface than those that are known. */
	set_own(7, own, 8, bridge);
	struct frame frame = make_tunnel(false, false);
	frame.bytes[0] ^= 0x40;
	assert_landed(&frame);
	set_own(0, own, 0, bridge);
}

static void test_only_edges_are_believed(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		const bool outer_v6 = kind & 2;
		const bool inner_v6 = kind & 1;
		struct frame frame = make_tunnel(outer_v6, inner_v6);
		put_address(outer_of(&frame) + (outer_v6 ? 8 : 12),
			    outer_v6 ? "fd00:1::3" : "10.0.1.3");
		if (!outer_v6)
			fix_checksum(outer_of(&frame));
		assert_dropped(&frame, DROP_LANDING_NOT_EDGE);
	}
}

static void test_only_service_addresses_are_served(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		const bool outer_v6 = kind & 2;
		const bool inner_v6 = kind & 1;
		struct frame frame = make_tunnel(outer_v6, inner_v6);
		put_address(inner_of(&frame) + (inner_v6 ? 24 : 16),
			    inner_v6 ? "2001:db8:10::7" : "198.51.100.64");
		assert_dropped(&frame, DROP_LANDING_NOT_IN_POOL);

		frame = make_tunnel(outer_v6, inner_v6);
		put_address(inner_of(&frame) + (inner_v6 ? 8 : 12),
			    inner_v6 ? "2001:db8:f::9" : "198.51.100.9");
		assert_dropped(&frame, DROP_LANDING_SOURCE_IN_POOL);
	}
}

static void test_fragments_and_wrong_checksums_are_dropped(void **state)
{
	(void)state;
	static const uint8_t fields[][2] = {{0x20, 0x00}, {0x00, 0x01}, {0x1f, 0xff}};
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		struct frame frame = make_tunnel(false, false);
		memcpy(outer_of(&frame) + 6, fields[i], 2);
		fix_checksum(outer_of(&frame));
		assert_dropped(&frame, DROP_LANDING_OUTER_FRAGMENT);
	}
	struct frame frame = make_tunnel(false, true);
	outer_of(&frame)[6] = 0x40; /* don't fragment: what edges send */
	fix_checksum(outer_of(&frame));
	assert_landed(&frame);
	outer_of(&frame)[10] ^= 0x80;
	assert_dropped(&frame, DROP_LANDING_OUTER_CHECKSUM);

	uint8_t fragment[8] = {41, 0, 0, 1, 0, 0, 0, 1};
	frame = make_tunnel(true, true);
	insert_behind_outer(&frame, fragment, sizeof(fragment));
	outer_of(&frame)[6] = 44;
	assert_dropped(&frame, DROP_LANDING_OUTER_FRAGMENT);
	inner_of(&frame)[-8 + 3] = 0;
	inner_of(&frame)[-8 + 2] = 1; /* the offset's high byte */
	assert_dropped(&frame, DROP_LANDING_OUTER_FRAGMENT);
}

static void test_wrong_inner_headers_are_dropped(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		const bool outer_v6 = kind & 2;
		const bool inner_v6 = kind & 1;
		struct frame frame = make_tunnel(outer_v6, inner_v6);
		inner_of(&frame)[0] ^= 0x20; /* 4 becomes 6 and 6 becomes 4 */
		assert_dropped(&frame, DROP_LANDING_INNER_MALFORMED);

		frame = make_tunnel(outer_v6, inner_v6);
		uint8_t *length = inner_of(&frame) + (inner_v6 ? 4 : 2);
		put16(length, get16(length) + 1);
		assert_dropped(&frame, DROP_LANDING_INNER_MALFORMED);
	}
	struct frame frame = make_tunnel(false, false);
	inner_of(&frame)[0] = 0x44;
	assert_dropped(&frame, DROP_LANDING_INNER_MALFORMED);
	frame = make_tunnel(false, false);
	put16(inner_of(&frame) + 2, 19);
	assert_dropped(&frame, DROP_LANDING_INNER_MALFORMED);
}

static void test_a_frame_cut_anywhere_never_lands(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		const bool outer_v6 = kind & 2;
		const bool inner_v6 = kind & 1;
		const struct frame whole = make_tunnel(outer_v6, inner_v6);
		for (size_t length = LINK; length < whole.length; length++) {
			struct frame frame = whole;
			frame.length = length;
			/* Without the whole outer header nobody can say whose it is. */
			if (length < LINK + whole.outer)
				assert_passed(&frame);
			else
				assert_dropped(&frame, DROP_LANDING_OUTER_MALFORMED);
		}
	}
}

static void test_an_inner_packet_cut_anywhere_never_lands(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		const bool outer_v6 = kind & 2;
		const bool inner_v6 = kind & 1;
		const struct frame whole = make_tunnel(outer_v6, inner_v6);
		for (size_t cut = 1; cut <= inner_length(&whole); cut++) {
			struct frame frame = whole;
			uint8_t *length = outer_of(&frame) + (outer_v6 ? 4 : 2);
			put16(length, get16(length) - cut);
			if (!outer_v6)
				fix_checksum(outer_of(&frame));
			/* The bytes are still there, but behind the packet. */
			assert_dropped(&frame, DROP_LANDING_INNER_MALFORMED);
			frame.length -= cut;
			assert_dropped(&frame, DROP_LANDING_INNER_MALFORMED);
		}
	}
}

static void test_the_outer_length_must_hold_its_own_header(void **state)
{
	(void)state;
	struct frame frame = make_tunnel(false, false);
	put16(outer_of(&frame) + 2, 19);
	fix_checksum(outer_of(&frame));
	assert_dropped(&frame, DROP_LANDING_OUTER_MALFORMED);

	uint8_t limit[8] = {41, 0, 4, 1, 4, 1, 1, 0};
	frame = make_tunnel(true, true);
	insert_behind_outer(&frame, limit, sizeof(limit));
	outer_of(&frame)[6] = 60;
	put16(outer_of(&frame) + 4, 7);
	assert_dropped(&frame, DROP_LANDING_OUTER_MALFORMED);
}

static uint8_t get_ecn(const uint8_t *ip, bool v6)
{
	return v6 ? ip[1] >> 4 & 3 : ip[1] & 3;
}

static void set_ecn(uint8_t *ip, bool v6, unsigned ecn)
{
	ip[1] = (uint8_t)(v6 ? (ip[1] & 0xcf) | ecn << 4 : (ip[1] & 0xfc) | ecn);
	if (!v6)
		fix_checksum(ip);
}

static void test_congestion_marks_go_to_the_inner_packet(void **state)
{
	(void)state;
	enum { NOT_ECT, ECT1, ECT0, CE, DROPPED };
	/* RFC 6040, figure 4: [inner][outer]. */
	static const unsigned expected[4][4] = {
	    [NOT_ECT] = {[NOT_ECT] = NOT_ECT, [ECT0] = NOT_ECT, [ECT1] = NOT_ECT, [CE] = DROPPED},
	    [ECT0] = {[NOT_ECT] = ECT0, [ECT0] = ECT0, [ECT1] = ECT1, [CE] = CE},
	    [ECT1] = {[NOT_ECT] = ECT1, [ECT0] = ECT1, [ECT1] = ECT1, [CE] = CE},
	    [CE] = {[NOT_ECT] = CE, [ECT0] = CE, [ECT1] = CE, [CE] = CE},
	};
	for (unsigned kind = 0; kind < 4; kind++) {
		const bool outer_v6 = kind & 2;
		const bool inner_v6 = kind & 1;
		for (unsigned pair = 0; pair < 16; pair++) {
			unsigned inner = pair >> 2;
			unsigned outer = pair & 3;
			struct frame frame = make_tunnel(outer_v6, inner_v6);
			inner_of(&frame)[1] = inner_v6 ? 0x0f : 0xfc; /* DSCP, flow label */
			set_ecn(inner_of(&frame), inner_v6, inner);
			set_ecn(outer_of(&frame), outer_v6, outer);
			if (expected[inner][outer] == DROPPED) {
				assert_dropped(&frame, DROP_LANDING_ECN);
				continue;
			}
			struct outcome outcome = run(&frame);
			assert_true(outcome.accepted);
			uint8_t *landed = outcome.out.bytes + LINK;
			assert_int_equal(get_ecn(landed, inner_v6), expected[inner][outer]);
			if (!inner_v6)
				assert_int_equal(checksum(landed, 20), 0);
			/* But for the mark and its checksum nothing changed. */
			set_ecn(landed, inner_v6, inner);
			assert_memory_equal(landed, inner_of(&frame), inner_length(&frame));
		}
	}
}

/* Bytes changed at random must be judged, never land by accident, and be counted once. */
static void test_random_damage_is_always_judged(void **state)
{
	(void)state;
	struct random random;
	random_init_seeded(&random, seed_choose(1));
	for (int round = 0; round < 20000; round++) {
		uint64_t kind = random_below(&random, 4);
		struct frame frame = make_tunnel(kind & 2, kind & 1);
		size_t headers = frame.outer + (frame.inner_v6 ? 40 : 20);
		for (uint64_t left = 1 + random_below(&random, 3); left; left--)
			frame.bytes[LINK + random_below(&random, headers)] =
			    (uint8_t)random_u64(&random);
		if (random_below(&random, 4) == 0)
			frame.length = LINK + random_below(&random, frame.length - LINK);
		struct outcome outcome = run(&frame);
		assert_true(outcome.verdict == XDP_PASS || outcome.verdict == XDP_DROP);
		if (!outcome.accepted)
			continue;
		/* Whatever was damaged, the inner destination is still in a pool. */
		const uint8_t *landed = outcome.out.bytes + LINK;
		static const uint8_t pool_v6[13] = {0x20, 0x01, 0x0d, 0xb8, 0, 0x0f};
		if (outcome.inner_v6) {
			assert_memory_equal(landed + 24, pool_v6, sizeof(pool_v6));
			assert_int_equal(landed[24 + 13] >> 4, 0);
		} else {
			assert_memory_equal(landed + 16, "\xc6\x33\x64", 3);
			assert_in_range(landed[19], 0, 63);
		}
	}
}

static void test_every_drop_reason_was_reached(void **state)
{
	(void)state;
#define X(name, number, label, text) assert_true(dropped_ever[number] > 0);
	LANDING_DROPS(X)
#undef X
}

static void allow(const struct bpf_map *map, const char *text)
{
	const uint32_t one = 1;
	struct ip_address address;
	assert_int_equal(ip_address_parse(text, &address), 0);
	struct landing_address_key key = {.family = address.family};
	memcpy(key.bytes, address.bytes, sizeof(key.bytes));
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(map), &key, &one, BPF_ANY), 0);
}

static void allow_pool(const char *text)
{
	const uint32_t one = 1;
	struct ip_prefix prefix;
	assert_int_equal(ip_prefix_parse(text, &prefix), 0);
	struct landing_pool_key key = {.length = LANDING_POOL_KEY_BITS + prefix.length,
				       .family = prefix.address.family};
	memcpy(key.bytes, prefix.address.bytes, sizeof(key.bytes));
	int fd = bpf_map__fd(program->maps.landing_pools);
	assert_int_equal(bpf_map_update_elem(fd, &key, &one, BPF_ANY), 0);
}

static int set_up(void **state)
{
	(void)state;
	program = landing_bpf__open_and_load();
	if (!program) {
		fprintf(stderr, "cannot load the program: %s; are we root?\n", strerror(errno));
		return -1;
	}
	allow(program->maps.landing_addresses, OWN_V4);
	allow(program->maps.landing_addresses, OWN_V6);
	allow(program->maps.landing_edges, EDGE_V4);
	allow(program->maps.landing_edges, EDGE_V6);
	allow_pool("198.51.100.0/26");
	allow_pool("2001:db8:f::/108");
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	landing_bpf__destroy(program);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_every_combination_lands),
	    cmocka_unit_test(test_options_of_the_outer_header_are_taken_off_too),
	    cmocka_unit_test(test_what_is_not_ours_passes_untouched),
	    cmocka_unit_test(test_headers_that_cannot_be_followed_pass),
	    cmocka_unit_test(test_a_packet_without_a_tunnel_is_dropped),
	    cmocka_unit_test(test_frames_for_others_pass),
	    cmocka_unit_test(test_only_edges_are_believed),
	    cmocka_unit_test(test_only_service_addresses_are_served),
	    cmocka_unit_test(test_fragments_and_wrong_checksums_are_dropped),
	    cmocka_unit_test(test_wrong_inner_headers_are_dropped),
	    cmocka_unit_test(test_a_frame_cut_anywhere_never_lands),
	    cmocka_unit_test(test_an_inner_packet_cut_anywhere_never_lands),
	    cmocka_unit_test(test_the_outer_length_must_hold_its_own_header),
	    cmocka_unit_test(test_congestion_marks_go_to_the_inner_packet),
	    cmocka_unit_test(test_random_damage_is_always_judged),
	    cmocka_unit_test(test_every_drop_reason_was_reached),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
