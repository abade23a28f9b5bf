/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `./dev bench dataplane` runs: that the entry hands on the frames it should, all flows once
 * and evenly over the versions; that the floor really parses and encapsulates; that the edge behind
 * the entry forwards, however many packets went before. A benchmark that measures something else
 * is worse than none.
 */
#include "bench/dataplane_rig.h"
#include "tests/seed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define LINK_HEADER 14
#define SOME 300 /* packets of each kind that are looked at */
#define FEW 8 /* the same where each takes the kernel an RCU grace period */

static struct rig *rig;

static const enum ip_family families[] = {IP_V4, IP_V6};
static const enum rig_kind kinds[] = {RIG_SYN, RIG_ESTABLISHED, RIG_UDP};

static size_t ip_header(enum ip_family family)
{
	return family == IP_V4 ? 20 : 40;
}

static struct rig_frame packet(const struct rig_case *rig_case, uint32_t number, uint32_t more)
{
	struct rig_frame out = {0};
	struct error err = {0};
	int result = rig_packet(rig, rig_case, number, more, &out, &err);
	if (result < 0)
		print_error("%s\n", err.text);
	assert_int_equal(result, 0);
	return out;
}

/* Call `check` for `count` packets of every family and kind. */
static void each(enum rig_program program, uint32_t count,
		 void (*check)(const struct rig_case *rig_case, uint32_t number))
{
	for (size_t f = 0; f < 2; f++) {
		for (size_t k = 0; k < 3; k++) {
			struct rig_case rig_case = {families[f], kinds[k], program, STAMP_FLOWS,
						    RIG_VERSIONS};
			for (uint32_t i = 0; i < count; i++)
				check(&rig_case, i * 3001);
		}
	}
}

static void check_entry(const struct rig_case *rig_case, uint32_t number)
{
	struct rig_frame expected;
	struct rig_frame out = packet(rig_case, number, 0);
	rig_frame_build(rig_case, number, &expected);
	assert_int_equal(out.length, expected.length);
	assert_memory_equal(out.bytes, expected.bytes, expected.length);
}

static void test_entry(void **state)
{
	(void)state;
	each(RIG_ENTRY, SOME, check_entry);
}

/* In 2^20 packets each flow comes once, and no version has much more of them than another. */
static void test_flows(void **state)
{
	(void)state;
	uint8_t *seen = calloc(STAMP_FLOWS, 1);
	uint32_t shares[RIG_VERSIONS] = {0};
	assert_non_null(seen);
	for (uint32_t i = 0; i < STAMP_FLOWS; i++) {
		uint32_t flow = stamp_flow(i, STAMP_FLOWS);
		assert_true(flow < STAMP_FLOWS);
		assert_int_equal(seen[flow]++, 0);
		shares[stamp_version(flow, RIG_VERSIONS)]++;
	}
	for (uint32_t i = 0; i < RIG_VERSIONS; i++)
		assert_in_range(shares[i], STAMP_FLOWS / RIG_VERSIONS * 9 / 10,
				STAMP_FLOWS / RIG_VERSIONS * 11 / 10);
	assert_int_equal(stamp_flow(12345, 1), 0);
	free(seen);
}

static uint32_t sum16(const uint8_t *bytes, size_t length)
{
	uint32_t sum = 0;
	for (size_t i = 0; i < length; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* An outer header of the frame's own family, from us to a backend on the rig's link. */
static void assert_outer(const struct rig_case *rig_case, const struct rig_frame *out)
{
	static const uint8_t source6[16] = {0xfd, [3] = 1, [15] = 1};
	static const uint8_t backends6[14] = {0xfd, [3] = 1, [13] = 1};
	static const uint8_t links[5] = {2, 0, 0, 0, 1};
	const uint8_t *ip = out->bytes + LINK_HEADER;
	size_t inner = STAMP_FRAME - LINK_HEADER;
	assert_int_equal(out->length, STAMP_FRAME + ip_header(rig_case->family));
	assert_memory_equal(out->bytes, links, sizeof(links));
	assert_memory_equal(out->bytes + 6, "\x02\0\0\0\0\x01", 6);
	if (rig_case->family == IP_V4) {
		assert_memory_equal(out->bytes + 12, "\x08\0\x45\0", 4);
		assert_int_equal(ip[2] << 8 | ip[3], inner + 20);
		assert_memory_equal(ip + 4, "\0\0\x40\0\x40\x04", 6);
		assert_int_equal(sum16(ip, 20), 0xffff);
		assert_memory_equal(ip + 12, "\x0a\x01\0\x01\x0a\x01\x01", 7);
	} else {
		assert_memory_equal(out->bytes + 12, "\x86\xdd\x60", 3);
		assert_int_equal(ip[4] << 8 | ip[5], inner);
		assert_memory_equal(ip + 6, "\x29\x40", 2);
		assert_memory_equal(ip + 8, source6, sizeof(source6));
		assert_memory_equal(ip + 24, backends6, sizeof(backends6));
	}
}

/* The inner packet, but for what ages: time to live, and with it the IPv4 checksum. */
static void assert_inner(const struct rig_case *rig_case, uint32_t number,
			 const struct rig_frame *out, uint8_t hops)
{
	struct rig_frame expected;
	bool v4 = rig_case->family == IP_V4;
	rig_frame_build(rig_case, number, &expected);
	uint8_t *ip = expected.bytes + LINK_HEADER;
	const uint8_t *inner = out->bytes + LINK_HEADER + ip_header(rig_case->family);
	ip[v4 ? 8 : 7] = hops;
	if (v4) {
		assert_int_equal(sum16(inner, 20), 0xffff);
		memcpy(ip + 10, inner + 10, 2);
	}
	assert_memory_equal(inner, ip, STAMP_FRAME - LINK_HEADER);
}

static void check_floor(const struct rig_case *rig_case, uint32_t number)
{
	struct rig_frame out = packet(rig_case, number, 0);
	assert_outer(rig_case, &out);
	assert_inner(rig_case, number, &out, RIG_TTL);
}

static void test_floor(void **state)
{
	(void)state;
	each(RIG_FLOOR, SOME, check_floor);
}

static uint32_t backends_seen[RIG_BACKENDS + 1];

static void check_edge(const struct rig_case *rig_case, uint32_t number)
{
	struct rig_frame alone = packet(rig_case, number, 0);
	assert_outer(rig_case, &alone);
	assert_inner(rig_case, number, &alone, RIG_TTL - 1);
	uint8_t backend = alone.bytes[5];
	assert_in_range(backend, 1, RIG_BACKENDS);
	assert_int_equal(alone.bytes[LINK_HEADER + ip_header(rig_case->family) - 1], backend);
	backends_seen[backend]++;
}

static void test_edge(void **state)
{
	(void)state;
	each(RIG_EDGE, SOME, check_edge);
	for (size_t i = 1; i <= RIG_BACKENDS; i++)
		assert_in_range(backends_seen[i], 1, 2 * 3 * SOME / 8);
}

static void check_again(const struct rig_case *rig_case, uint32_t number)
{
	struct rig_frame alone = packet(rig_case, number, 0);
	struct rig_frame third = packet(rig_case, number - 2, 2);
	/* Nobody writes what moving alone puts in front. */
	size_t unwritten =
	    rig_case->program == RIG_MOVE ? LINK_HEADER + ip_header(rig_case->family) : 0;
	assert_int_equal(third.length, alone.length);
	assert_memory_equal(third.bytes + unwritten, alone.bytes + unwritten,
			    alone.length - unwritten);
}

/* A packet comes out the same whether it is the first, or others were encapsulated before it. */
static void test_again(void **state)
{
	(void)state;
	each(RIG_ENTRY, FEW, check_again);
	each(RIG_MOVE, FEW, check_again);
	each(RIG_FLOOR, FEW, check_again);
	each(RIG_EDGE, FEW, check_again);
}

/* A time of packets that were not forwarded is refused. */
static void test_time(void **state)
{
	(void)state;
	struct rig_case rig_case = {IP_V4, RIG_ESTABLISHED, RIG_EDGE, STAMP_FLOWS, RIG_VERSIONS};
	struct error err = {0};
	double ns = 0;
	assert_int_equal(rig_time(rig, &rig_case, 1000, &ns, &err), 0);
	assert_true(ns > 0);
	assert_int_equal(rig_publish(rig, 1, &err), 0);
	assert_int_equal(rig_time(rig, &rig_case, 1000, &ns, &err), -FL_ESTATE);
	assert_int_equal(rig_publish(rig, RIG_VERSIONS, &err), 0);
	assert_int_equal(rig_time(rig, &rig_case, 1000, &ns, &err), 0);
}

static int open_rig(void **state)
{
	(void)state;
	struct error err = {0};
	int result = rig_open(seed_choose((uint64_t)time(NULL)), &rig, &err);
	if (result < 0)
		print_error("%s\n", err.text);
	return result;
}

static int close_rig(void **state)
{
	(void)state;
	rig_close(rig);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_entry), cmocka_unit_test(test_flows),
	    cmocka_unit_test(test_floor), cmocka_unit_test(test_again),
	    cmocka_unit_test(test_edge),  cmocka_unit_test(test_time),
	};
	return cmocka_run_group_tests(tests, open_rig, close_rig);
}
