/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clamp of the MSS, packet by packet: what it lowers, what it leaves, and what it cannot see;
 * then random frames beside its reference. Every packet goes on to the next filter.
 */
#include "base/netaddr.h"
#include "clamp_reference.h"
#include "frame_bytes.h"
#include "frame_run.h"
#include "landing.skel.h"
#include "landing_differ.h"
#include "tests/seed.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define LIMIT_V4 1420u
#define LIMIT_V6 1400u
#define FRAMES 50000

#define SYN 0x02
#define SYN_ACK 0x12
#define ACK 0x10

static struct landing_differ differ; /* the program, with the reference's pools in its maps */

/* --- running --- */

static void set_limits(uint32_t v4, uint32_t v6)
{
	const uint32_t zero = 0;
	const struct landing_mss mss = {.v4 = v4, .v6 = v6};
	int fd = bpf_map__fd(differ.program->maps.landing_mss);
	assert_int_equal(bpf_map_update_elem(fd, &zero, &mss, 0), 0);
}

static void read_counts(uint64_t *ret_clamped, uint64_t *ret_unclamped)
{
	const uint32_t zero = 0;
	int cpus = libbpf_num_possible_cpus();
	struct landing_counts *counts = calloc((size_t)cpus, sizeof(*counts));
	assert_non_null(counts);
	int fd = bpf_map__fd(differ.program->maps.landing_counts);
	assert_int_equal(bpf_map_lookup_elem(fd, &zero, counts), 0);
	*ret_clamped = *ret_unclamped = 0;
	for (int cpu = 0; cpu < cpus; cpu++) {
		*ret_clamped += counts[cpu].clamped;
		*ret_unclamped += counts[cpu].unclamped;
	}
	free(counts);
}

/* What the program made of the frame, which it may have changed in `ret_out`. */
static enum clamp_outcome run(const struct frame *frame, struct frame *ret_out)
{
	uint64_t clamped, unclamped, clamped_after, unclamped_after;
	read_counts(&clamped, &unclamped);
	int fd = bpf_program__fd(differ.program->progs.landing_clamp);
	assert_int_equal((int)frame_run(fd, NULL, 0, frame, ret_out), TC_ACT_UNSPEC);
	read_counts(&clamped_after, &unclamped_after);
	clamped = clamped_after - clamped;
	unclamped = unclamped_after - unclamped;
	assert_in_range(clamped + unclamped, 0, 1);
	return clamped ? CLAMP_LOWERED : unclamped ? CLAMP_UNSEEN : CLAMP_UNTOUCHED;
}

/* --- frames --- */

static void put_address(uint8_t *at, const char *text)
{
	struct ip_address address;
	assert_int_equal(ip_address_parse(text, &address), 0);
	memcpy(at, address.bytes, address.family == IP_V4 ? 4 : 16);
}

/* A frame's parts, as far as the tests change them. */
struct draft {
	bool v6;
	size_t ip_options; /* bytes */
	uint8_t flags;
	const void *options; /* of TCP */
	size_t option_bytes; /* a multiple of 4 */
	size_t payload; /* bytes */
};

static size_t tcp_at(const struct draft *draft)
{
	return FRAME_LINK + (draft->v6 ? 40 : 20 + draft->ip_options);
}

static uint32_t sum_of(const uint8_t *bytes, size_t length)
{
	return 0xffffu - checksum(bytes, length);
}

/* With the pseudo header; 0 if it is right. */
static unsigned tcp_checksum(const struct frame *frame, const struct draft *draft)
{
	size_t at = tcp_at(draft);
	const uint8_t *ip = frame->bytes + FRAME_LINK;
	uint32_t sum = sum_of(ip + (draft->v6 ? 8 : 12), draft->v6 ? 32 : 8);
	sum += IPPROTO_TCP + (uint32_t)(frame->length - at);
	sum += sum_of(frame->bytes + at, frame->length - at);
	return 0xffffu - checksum_fold(sum);
}

static struct frame make(const struct draft *draft)
{
	struct frame frame = {0};
	size_t at = tcp_at(draft);
	size_t tcp_bytes = 20 + draft->option_bytes;
	uint8_t *ip = frame.bytes + FRAME_LINK;
	uint8_t *tcp = frame.bytes + at;
	frame.length = at + tcp_bytes + draft->payload;
	memcpy(frame.bytes, "\x02\0\0\0\0\x0b\x02\0\0\0\0\x02", 12);
	put16(frame.bytes + 12, draft->v6 ? 0x86dd : 0x0800);
	if (draft->v6) {
		ip[0] = 0x60;
		put16(ip + 4, frame.length - at);
		ip[6] = IPPROTO_TCP;
		ip[7] = 64;
		put_address(ip + 8, "2001:db8:f::7");
		put_address(ip + 24, "2001:db8:c::10");
	} else {
		ip[0] = (uint8_t)(0x45 + draft->ip_options / 4);
		put16(ip + 2, frame.length - FRAME_LINK);
		ip[6] = 0x40;
		ip[8] = 64;
		ip[9] = IPPROTO_TCP;
		put_address(ip + 12, "198.51.100.7");
		put_address(ip + 16, "192.0.2.10");
		memset(ip + 20, 1, draft->ip_options);
		checksum_v4(ip, 20 + draft->ip_options);
	}
	memcpy(tcp, (const uint8_t[12]){0, 80, 0x9c, 0x40, 1, 2, 3, 4, 5, 6, 7, 8}, 12);
	tcp[12] = (uint8_t)(tcp_bytes / 4 << 4);
	tcp[13] = draft->flags;
	put16(tcp + 14, 64240);
	if (draft->options)
		memcpy(tcp + 20, draft->options, draft->option_bytes);
	memset(tcp + tcp_bytes, 0xa5, draft->payload);
	put16(tcp + 16, tcp_checksum(&frame, draft));
	return frame;
}

/* As Linux writes them: MSS, SACK permitted, timestamps, window scale. */
static const uint8_t usual[20] = {2, 4, 0x05, 0xb4, 4, 2, 8, 10, 0, 1,
				  2, 3, 0,    0,    0, 0, 1, 3,  3, 7};

static struct draft usual_draft(bool v6)
{
	return (struct draft){
	    .v6 = v6, .flags = SYN_ACK, .options = usual, .option_bytes = sizeof(usual)};
}

static void assert_left(const struct frame *frame, enum clamp_outcome expected)
{
	static struct frame out;
	assert_int_equal(run(frame, &out), expected);
	assert_true(frame_equal(frame, &out));
}

/* The MSS, its checksum, and no other byte. */
static void assert_lowered(const struct draft *draft)
{
	static struct frame out;
	struct frame frame = make(draft);
	assert_int_equal(run(&frame, &out), CLAMP_LOWERED);
	assert_int_equal(tcp_checksum(&out, draft), 0);
	uint8_t *tcp = frame.bytes + tcp_at(draft);
	put16(tcp + 22, draft->v6 ? LIMIT_V6 : LIMIT_V4);
	memcpy(tcp + 16, out.bytes + tcp_at(draft) + 16, 2);
	assert_true(frame_equal(&frame, &out));
}

/* --- tests --- */

static void test_a_syn_from_a_pool_offers_what_fits_ipv4(void **state)
{
	(void)state;
	struct draft draft = usual_draft(false);
	assert_lowered(&draft);
	draft.flags = SYN;
	draft.payload = 34; /* fast open */
	assert_lowered(&draft);
	draft.option_bytes = 4;
	assert_lowered(&draft);
	for (draft.ip_options = 4; draft.ip_options <= 40; draft.ip_options += 4)
		assert_lowered(&draft);
}

static void test_a_syn_from_a_pool_offers_what_fits_ipv6(void **state)
{
	(void)state;
	struct draft draft = usual_draft(true);
	assert_lowered(&draft);
	draft.flags = SYN;
	draft.payload = 34;
	assert_lowered(&draft);
	draft.option_bytes = 4;
	assert_lowered(&draft);
}

static void test_an_mss_is_never_raised(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		const unsigned limit = v6 ? LIMIT_V6 : LIMIT_V4;
		struct draft draft = usual_draft(v6);
		for (unsigned mss = limit - 2; mss <= limit + 2; mss++) {
			uint8_t option[4] = {2, 4};
			put16(option + 2, mss);
			draft.options = option;
			draft.option_bytes = sizeof(option);
			const struct frame frame = make(&draft);
			if (mss <= limit)
				assert_left(&frame, CLAMP_UNTOUCHED);
			else
				assert_lowered(&draft);
		}
	}
}

static void test_before_a_limit_is_known_all_stays(void **state)
{
	(void)state;
	set_limits(0, 0);
	for (unsigned v6 = 0; v6 < 2; v6++) {
		const struct draft draft = usual_draft(v6);
		const struct frame frame = make(&draft);
		assert_left(&frame, CLAMP_UNTOUCHED);
	}
	set_limits(LIMIT_V4, LIMIT_V6);
}

static void test_what_comes_from_elsewhere_stays(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		const struct draft draft = usual_draft(v6);
		struct frame frame = make(&draft);
		put_address(frame.bytes + FRAME_LINK + (v6 ? 8 : 12),
			    v6 ? "2001:db8:10::7" : "198.51.100.64");
		assert_left(&frame, CLAMP_UNTOUCHED);
	}
}

static void test_what_is_no_syn_stays(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct draft draft = usual_draft(v6);
		draft.flags = ACK;
		struct frame frame = make(&draft);
		assert_left(&frame, CLAMP_UNTOUCHED);
		draft = usual_draft(v6);
		frame = make(&draft);
		frame.bytes[FRAME_LINK + (v6 ? 6 : 9)] = IPPROTO_UDP;
		assert_left(&frame, CLAMP_UNTOUCHED);
		frame.bytes[FRAME_LINK + 6] = IPPROTO_DSTOPTS; /* in IPv4: a fragment */
		assert_left(&frame, CLAMP_UNTOUCHED);
		frame = make(&draft);
		put16(frame.bytes + 12, 0x8100);
		assert_left(&frame, CLAMP_UNTOUCHED);
	}
	const struct draft draft = usual_draft(false);
	static const uint8_t fields[][2] = {{0x20, 0x00}, {0x00, 0x01}, {0x1f, 0xff}};
	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		struct frame frame = make(&draft);
		memcpy(frame.bytes + FRAME_LINK + 6, fields[i], 2);
		assert_left(&frame, CLAMP_UNTOUCHED);
	}
}

static void test_an_mss_that_is_not_seen_stays_and_is_counted(void **state)
{
	(void)state;
	static const uint8_t other_options[][20] = {
	    {1, 1, 19, 18}, /* MD5 (RFC 2385) */
	    {29, 16}, /* AO (RFC 5925) */
	    {4, 2, 2, 4, 0x05, 0xb4},
	    {2, 3, 0x05, 0xb4},
	    {2, 0, 0x05, 0xb4},
	    {0},
	};
	for (unsigned v6 = 0; v6 < 2; v6++) {
		struct draft draft = usual_draft(v6);
		for (size_t i = 0; i < sizeof(other_options) / sizeof(*other_options); i++) {
			draft.options = other_options[i];
			const struct frame frame = make(&draft);
			assert_left(&frame, CLAMP_UNSEEN);
		}
		draft.options = NULL;
		draft.option_bytes = 0;
		struct frame frame = make(&draft);
		assert_left(&frame, CLAMP_UNSEEN);
		/* What looks like the option is payload. */
		draft.payload = sizeof(usual);
		frame = make(&draft);
		memcpy(frame.bytes + tcp_at(&draft) + 20, usual, sizeof(usual));
		assert_left(&frame, CLAMP_UNSEEN);
	}
}

/* Neither happens at this hook; if it did, a write would go astray. */
static void test_a_frame_longer_or_shorter_than_its_packet_stays(void **state)
{
	(void)state;
	for (unsigned v6 = 0; v6 < 2; v6++) {
		const struct draft draft = usual_draft(v6);
		const struct frame whole = make(&draft);
		for (size_t bytes = 1; bytes <= 40; bytes++) {
			struct frame frame = whole;
			frame.length += bytes;
			assert_left(&frame, CLAMP_UNSEEN);
			frame.length = whole.length - bytes;
			assert_left(&frame, frame.length < tcp_at(&draft) + 20 ? CLAMP_UNTOUCHED
									       : CLAMP_UNSEEN);
		}
	}
}

/* A frame that is right in most respects. */
static void make_any(struct random *random, struct frame *ret_frame)
{
	uint8_t options[40];
	struct draft draft = {.v6 = one_in(random, 2),
			      .ip_options = one_in(random, 4) ? 4 * random_below(random, 11) : 0,
			      .flags = one_in(random, 4) ? (uint8_t)random_u64(random) : SYN_ACK,
			      .options = options,
			      .option_bytes = 4 * random_below(random, 11),
			      .payload = one_in(random, 4) ? 2 * random_below(random, 33) : 0};
	random_fill(random, options, sizeof(options));
	if (!one_in(random, 4))
		options[0] = 2;
	if (!one_in(random, 4))
		options[1] = 4;
	if (!one_in(random, 4))
		put16(options + 2, 1390 + random_below(random, 80));
	*ret_frame = make(&draft);
	uint8_t *tcp = ret_frame->bytes + tcp_at(&draft);
	if (one_in(random, 4))
		put16(tcp + 16, one_in(random, 2) ? random_u64(random) : 0xffff);
	if (one_in(random, 8))
		tcp[12] = (uint8_t)random_u64(random);
	if (one_in(random, 8)) {
		size_t reach = tcp_at(&draft) + 24;
		reach = reach < ret_frame->length ? reach : ret_frame->length;
		ret_frame->bytes[12 + random_below(random, reach - 12)] ^=
		    (uint8_t)(1u << random_below(random, 8));
	}
	if (one_in(random, 8))
		ret_frame->length += random_below(random, 12);
	else if (one_in(random, 8))
		ret_frame->length -= random_below(random, ret_frame->length - FRAME_LINK - 40 + 1);
}

static void test_the_program_agrees_with_its_reference(void **state)
{
	(void)state;
	static struct frame frame, expected, out;
	unsigned seen[3] = {0};
	struct random random;
	random_init_seeded(&random, seed_choose((uint64_t)time(NULL)));
	for (unsigned i = 0; i < FRAMES; i++) {
		make_any(&random, &frame);
		expected = frame;
		enum clamp_outcome outcome = clamp_judge(&expected, LIMIT_V4, LIMIT_V6);
		if (run(&frame, &out) != outcome || !frame_equal(&expected, &out)) {
			frame_print(stderr, "in", &frame);
			frame_print(stderr, "out, by the reference", &expected);
			frame_print(stderr, "out, by the program", &out);
			fail_msg("frame %u: they differ", i);
		}
		seen[outcome]++;
	}
	for (size_t i = 0; i < 3; i++)
		assert_true(seen[i] > FRAMES / 20);
}

static int start(void **state)
{
	(void)state;
	if (!landing_differ_enter(&differ))
		return -1;
	set_limits(LIMIT_V4, LIMIT_V6);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	landing_differ_leave(&differ);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_syn_from_a_pool_offers_what_fits_ipv4),
	    cmocka_unit_test(test_a_syn_from_a_pool_offers_what_fits_ipv6),
	    cmocka_unit_test(test_an_mss_is_never_raised),
	    cmocka_unit_test(test_before_a_limit_is_known_all_stays),
	    cmocka_unit_test(test_what_comes_from_elsewhere_stays),
	    cmocka_unit_test(test_what_is_no_syn_stays),
	    cmocka_unit_test(test_an_mss_that_is_not_seen_stays_and_is_counted),
	    cmocka_unit_test(test_a_frame_longer_or_shorter_than_its_packet_stays),
	    cmocka_unit_test(test_the_program_agrees_with_its_reference),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
