/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge program, one packet at a time: verdict, bytes, counters, and the reason of every drop.
 * The last test checks that the tests before it have reached every reason that there is.
 */
#include "abi/edge.h"
#include "abi/pick.h"
#include "edge_fixture.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static struct fixture fixture;
static bool reached[DROP_REASONS];

static void assert_frame(const struct frame *got, const struct frame *expected)
{
	assert_int_equal(got->length, expected->length);
	assert_memory_equal(got->bytes, expected->bytes, expected->length);
}

/* The frame is dropped for exactly this reason. */
static void assert_dropped(const struct frame *frame, unsigned reason)
{
	uint64_t before[DROP_REASONS];
	uint64_t after[DROP_REASONS];
	assert_int_equal(edge_drops(fixture.edge, before), 0);
	assert_int_equal(fixture_run(&fixture, frame, NULL), XDP_DROP);
	assert_int_equal(edge_drops(fixture.edge, after), 0);
	before[reason]++;
	for (unsigned i = 0; i < DROP_REASONS; i++) {
		if (after[i] != before[i])
			fprintf(stderr, "counted as '%s', not as '%s'\n", drop_label(i),
				drop_label(reason));
	}
	assert_memory_equal(after, before, sizeof(before));
	reached[reason] = true;
}

static void assert_delivered(const struct frame *frame, size_t backend)
{
	struct frame out;
	struct frame expected;
	assert_int_equal(fixture_run(&fixture, frame, &out), XDP_TX);
	frame_expect(&expected, frame, &fixture, backend);
	assert_frame(&out, &expected);
}

/* The frame goes to the kernel as it came. */
static void assert_passed(const struct frame *frame)
{
	struct frame out;
	assert_int_equal(fixture_run(&fixture, frame, &out), XDP_PASS);
	assert_frame(&out, frame);
}

static void build(struct frame *frame, enum fixture_service service, enum ip_family family,
		  uint8_t protocol, uint16_t port)
{
	struct ip_address address = fixture_service_address(service, family);
	frame_build(frame, &address, protocol, 40000, port, 30);
}

static void build_web(struct frame *frame, enum ip_family family)
{
	build(frame, WEB, family, IPPROTO_TCP, 80);
}

static const enum ip_family families[] = {IP_V4, IP_V6};

/* Every combination of inner and outer family, by trying source ports until each backend is met. */
static void test_encapsulation(void **state)
{
	(void)state;
	for (size_t f = 0; f < 2; f++) {
		struct ip_address address = fixture_service_address(WEB, families[f]);
		bool met[FIXTURE_BACKENDS] = {false};
		for (uint16_t port = 1000; port < 1200; port++) {
			struct frame frame;
			frame_build(&frame, &address, IPPROTO_TCP, port, 80, port % 97);
			size_t backend = fixture_pick(&fixture, WEB, &frame);
			assert_delivered(&frame, backend);
			met[backend] = true;
		}
		for (size_t i = 0; i < FIXTURE_BACKENDS; i++)
			assert_true(met[i]);
	}
}

static void test_counters(void **state)
{
	(void)state;
	for (size_t f = 0; f < 2; f++) {
		struct ip_address address = fixture_service_address(WEB, families[f]);
		size_t header = families[f] == IP_V4 ? 20 : 40;
		struct edge_counters before = fixture_counters(&fixture, &address);
		struct frame frame;
		frame_build(&frame, &address, IPPROTO_TCP, 5, 80, 11);
		fixture_run(&fixture, &frame, NULL);
		frame.bytes[frame_transport(&frame) + 13] = 0x10; /* ACK: no new flow */
		fixture_run(&fixture, &frame, NULL);
		frame_build(&frame, &address, IPPROTO_UDP, 5, 53, 2);
		fixture_run(&fixture, &frame, NULL);
		struct edge_counters after = fixture_counters(&fixture, &address);
		assert_int_equal(after.packets, before.packets + 3);
		assert_int_equal(after.bytes, before.bytes + 3 * header + 2 * 31 + 10);
		assert_int_equal(after.new_flows, before.new_flows + 1);
		assert_int_equal(after.late_flows, before.late_flows);
		assert_int_equal(after.asked_fib, before.asked_fib);
		assert_int_equal(after.to_kernel, before.to_kernel);
	}
}

static void test_not_ours_is_passed(void **state)
{
	(void)state;
	static const char *const others[] = {"198.51.100.64",    "198.51.99.255", "10.1.0.1",
					     "2001:db8:f::10:0", "2001:db8:e::1", "fd00:1::1"};
	struct frame frame;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		struct ip_address address = fixture_address(others[i]);
		frame_build(&frame, &address, IPPROTO_TCP, 1, 80, 0);
		assert_passed(&frame);
		frame.bytes[14] = 0; /* not even its header matters */
		assert_passed(&frame);
	}
	frame.bytes[12] = 0x08;
	frame.bytes[13] = 0x06; /* ARP */
	assert_passed(&frame);
	frame.length = 14;
	assert_passed(&frame);
}

/* RFC 4861 messages for an address of the pool are the kernel's, other ICMP is not yet served. */
static void test_icmp(void **state)
{
	(void)state;
	struct frame frame;
	build_web(&frame, IP_V4);
	frame.bytes[14 + 9] = IPPROTO_ICMP;
	assert_dropped(&frame, DROP_ICMP);
	frame.bytes[34] = 3; /* "fragmentation needed" */
	frame.bytes[35] = 4;
	assert_dropped(&frame, DROP_ICMP_TOO_BIG);
	frame.bytes[35] = 3;
	assert_dropped(&frame, DROP_ICMP);
	for (unsigned type = 0; type < 256; type++) {
		build_web(&frame, IP_V6);
		frame.bytes[14 + 6] = 58;
		frame.bytes[54] = (uint8_t)type;
		frame.bytes[55] = 0;
		if (type >= 133 && type <= 137)
			assert_passed(&frame);
		else
			assert_dropped(&frame, type == 2 ? DROP_ICMP_TOO_BIG : DROP_ICMP);
	}
}

static void test_v4_header(void **state)
{
	(void)state;
	struct frame frame;
	for (unsigned first = 0; first < 256; first++) {
		build_web(&frame, IP_V4);
		frame.bytes[14] = (uint8_t)first;
		if (first >> 4 != 4 || (first & 15) < 5)
			assert_dropped(&frame, DROP_V4_HEADER);
	}
	for (unsigned total = 0; total < 20; total++) {
		build_web(&frame, IP_V4);
		frame.bytes[17] = (uint8_t)total;
		frame.bytes[16] = 0;
		assert_dropped(&frame, DROP_V4_LENGTH);
	}
	build_web(&frame, IP_V4);
	frame.bytes[17]++;
	assert_dropped(&frame, DROP_V4_LENGTH);
	frame.bytes[16] = 0xff;
	assert_dropped(&frame, DROP_V4_LENGTH);
}

static void test_fragments(void **state)
{
	(void)state;
	static const uint16_t fields[] = {0x2000, 0x0001, 0x1fff, 0x2001, 0x6000};
	struct frame frame;
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		build_web(&frame, IP_V4);
		frame.bytes[20] = (uint8_t)(fields[i] >> 8);
		frame.bytes[21] = (uint8_t)fields[i];
		assert_dropped(&frame, DROP_FRAGMENT);
	}
	build_web(&frame, IP_V6);
	frame.bytes[20] = 44;
	assert_dropped(&frame, DROP_FRAGMENT);
	/* No Don't Fragment bit, and the reserved bit: still a whole packet. */
	build_web(&frame, IP_V4);
	frame.bytes[20] = 0x80;
	frame_checksum(&frame);
	assert_delivered(&frame, fixture_pick(&fixture, WEB, &frame));
}

/* Options shift the ports, and change nothing else. */
static void test_v4_options(void **state)
{
	(void)state;
	static const uint8_t options[40] = {0x94, 0x04, 0, 0, 1, 1, 1, 1};
	for (uint8_t words = 1; words <= 10; words++) {
		struct frame plain;
		build_web(&plain, IP_V4);
		size_t backend = fixture_pick(&fixture, WEB, &plain);
		struct frame frame = plain;
		frame_insert(&frame, 34, options, words * 4u);
		frame.bytes[14] = (uint8_t)(0x45 + words);
		frame.bytes[17] = (uint8_t)(frame.bytes[17] + words * 4);
		frame_checksum(&frame);

		struct frame out;
		struct frame expected;
		assert_int_equal(fixture_run(&fixture, &frame, &out), XDP_TX);
		frame_expect(&expected, &plain, &fixture, backend);
		/* The same as without options, but for lengths, checksums, and the options. */
		size_t header = expected.bytes[12] == 0x08 ? 20 : 40;
		assert_int_equal(out.length, expected.length + words * 4u);
		assert_memory_equal(out.bytes, expected.bytes, 14);
		assert_int_equal(out.bytes[14 + header + 8], 56);
		assert_memory_equal(out.bytes + 14 + header + 20, options, words * 4u);
		assert_memory_equal(out.bytes + 14 + header + 20 + words * 4u, plain.bytes + 34,
				    plain.length - 34);
		frame.bytes[14 + 8]--;
		frame_checksum(&frame);
		assert_memory_equal(out.bytes + 14 + header, frame.bytes + 14, frame.length - 14);
	}
}

static void test_v6_header(void **state)
{
	(void)state;
	struct frame frame;
	for (unsigned version = 0; version < 16; version++) {
		build_web(&frame, IP_V6);
		frame.bytes[14] = (uint8_t)(version << 4 | (frame.bytes[14] & 15));
		if (version != 6)
			assert_dropped(&frame, DROP_V6_HEADER);
	}
	build_web(&frame, IP_V6);
	frame.bytes[19]++;
	assert_dropped(&frame, DROP_V6_LENGTH);
	frame.bytes[18] = frame.bytes[19] = 0;
	assert_dropped(&frame, DROP_V6_LENGTH);
}

/* Put an extension header in front of what follows at `offset`, and let `*type` name it. */
static void add_extension(struct frame *frame, size_t offset, uint8_t type, uint8_t words)
{
	uint8_t header[8 + 8 * 255] = {frame->bytes[20], words};
	if (type == 43)
		header[2] = 4;
	frame_insert(frame, offset, header, 8u + 8u * words);
	frame->bytes[20] = type;
	size_t payload = (size_t)(frame->bytes[18] << 8 | frame->bytes[19]) + 8 + 8u * words;
	frame->bytes[18] = (uint8_t)(payload >> 8);
	frame->bytes[19] = (uint8_t)payload;
}

static void test_v6_extensions(void **state)
{
	(void)state;
	struct frame plain;
	struct frame frame;
	build_web(&plain, IP_V6);
	size_t backend = fixture_pick(&fixture, WEB, &plain);
	frame = plain;
	for (unsigned count = 1; count <= 6; count++) {
		struct frame out;
		struct frame tunnel;
		/* New ones go in front; hop-by-hop options may only be the first of all. */
		uint8_t type = count == 6 ? 0 : count % 2 ? 60 : 43;
		add_extension(&frame, 54, type, (uint8_t)(count - 1));
		assert_int_equal(fixture_run(&fixture, &frame, &out), XDP_TX);
		frame_expect(&tunnel, &plain, &fixture, backend);
		size_t header = tunnel.bytes[12] == 0x08 ? 20 : 40;
		assert_memory_equal(out.bytes, tunnel.bytes, 14);
		assert_int_equal(out.length, frame.length + header);
		frame.bytes[21]--;
		assert_memory_equal(out.bytes + 14 + header, frame.bytes + 14, frame.length - 14);
		frame.bytes[21]++;
	}
	frame.bytes[20] = 60; /* hop-by-hop no more, so that another may stand in front */
	add_extension(&frame, 54, 60, 0);
	assert_dropped(&frame, DROP_V6_CHAIN);

	frame = plain;
	add_extension(&frame, 54, 0, 0);
	add_extension(&frame, 54, 60, 0);
	assert_dropped(&frame, DROP_V6_EXTENSION);

	frame = plain;
	add_extension(&frame, 54, 43, 0);
	frame.bytes[57] = 1;
	assert_dropped(&frame, DROP_V6_ROUTING);

	frame = plain;
	add_extension(&frame, 54, 60, 0);
	frame.bytes[55] = 200; /* longer than the packet */
	assert_dropped(&frame, DROP_V6_EXTENSION);
	frame.bytes[20] = 50; /* ESP hides the ports */
	assert_dropped(&frame, DROP_PROTOCOL);
}

/* Cut off at each length, a packet is passed, while nothing is known of it, or dropped. */
static void assert_every_truncation_drops(const struct frame *whole, bool lengths_follow)
{
	bool v4 = whole->bytes[12] == 0x08;
	for (size_t length = 14; length < whole->length; length++) {
		struct frame frame = *whole;
		frame.length = length;
		if (lengths_follow && length > 14u + (v4 ? 20u : 40u)) {
			size_t field = length - 14 - (v4 ? 0 : 40);
			frame.bytes[v4 ? 16 : 18] = (uint8_t)(field >> 8);
			frame.bytes[v4 ? 17 : 19] = (uint8_t)field;
		}
		if (lengths_follow && v4)
			frame_checksum(&frame);
		uint32_t verdict = fixture_run(&fixture, &frame, NULL);
		assert_int_equal(verdict, XDP_DROP);
	}
}

static void test_truncation(void **state)
{
	(void)state;
	static const uint8_t options[40] = {1, 1, 1, 1};
	uint64_t before = fixture_drops(&fixture, DROP_V4_SHORT);
	for (size_t f = 0; f < 2; f++) {
		for (int udp = 0; udp < 2; udp++) {
			struct frame frame;
			struct ip_address address = fixture_service_address(WEB, families[f]);
			frame_build(&frame, &address, udp ? IPPROTO_UDP : IPPROTO_TCP, 1,
				    udp ? 53 : 80, 0);
			assert_every_truncation_drops(&frame, false);
			assert_every_truncation_drops(&frame, true);
			if (families[f] == IP_V4) {
				frame_insert(&frame, 34, options, sizeof(options));
				frame.bytes[14] = 0x4f;
				frame.bytes[17] = (uint8_t)(frame.bytes[17] + sizeof(options));
			} else {
				add_extension(&frame, 54, 60, 1);
				add_extension(&frame, 54, 43, 2);
				add_extension(&frame, 54, 0, 1);
			}
			assert_every_truncation_drops(&frame, false);
			assert_every_truncation_drops(&frame, true);
		}
	}
	assert_true(fixture_drops(&fixture, DROP_V4_SHORT) > before);

	struct frame frame;
	build_web(&frame, IP_V4);
	frame.length = 33;
	assert_dropped(&frame, DROP_V4_SHORT);
	build_web(&frame, IP_V6);
	frame.length = 53;
	assert_dropped(&frame, DROP_V6_SHORT);
}

static void test_transport_lengths(void **state)
{
	(void)state;
	for (size_t f = 0; f < 2; f++) {
		struct ip_address address = fixture_service_address(WEB, families[f]);
		struct frame frame;
		for (unsigned words = 0; words < 16; words++) {
			frame_build(&frame, &address, IPPROTO_TCP, 1, 80, 12);
			frame.bytes[frame_transport(&frame) + 12] = (uint8_t)(words << 4);
			/* 20 bytes of header and 12 that may be options. */
			if (words < 5 || words > 8)
				assert_dropped(&frame, DROP_L4_LENGTH);
			else
				assert_int_equal(fixture_run(&fixture, &frame, NULL), XDP_TX);
		}
		for (uint8_t length = 0; length < 40; length++) {
			frame_build(&frame, &address, IPPROTO_UDP, 1, 53, 12);
			frame.bytes[frame_transport(&frame) + 5] = length;
			if (length < 8 || length > 20)
				assert_dropped(&frame, DROP_L4_LENGTH);
			else
				assert_int_equal(fixture_run(&fixture, &frame, NULL), XDP_TX);
		}
		/* The IP length leaves no room for the header, although the frame would. */
		frame_build(&frame, &address, IPPROTO_TCP, 1, 80, 12);
		frame.bytes[14 + (families[f] == IP_V4 ? 3 : 5)] = families[f] == IP_V4 ? 39 : 19;
		assert_dropped(&frame, DROP_L4_SHORT);
		frame_build(&frame, &address, IPPROTO_TCP, 1, 80, 12);
		frame.bytes[14 + (families[f] == IP_V4 ? 9 : 6)] = 132; /* SCTP */
		assert_dropped(&frame, DROP_PROTOCOL);
	}
}

/* Ethernet pads short packets: the padding goes along, and no length counts it. */
static void test_padding(void **state)
{
	(void)state;
	struct ip_address address = fixture_service_address(WEB, IP_V4);
	struct frame frame;
	frame_build(&frame, &address, IPPROTO_UDP, 9, 53, 0);
	memset(frame.bytes + frame.length, 0xaa, 18);
	frame.length += 18;
	assert_delivered(&frame, fixture_pick(&fixture, WEB, &frame));
}

static void test_time_to_live(void **state)
{
	(void)state;
	struct frame frame;
	for (unsigned hops = 0; hops < 256; hops++) {
		for (size_t f = 0; f < 2; f++) {
			build_web(&frame, families[f]);
			frame.bytes[14 + (families[f] == IP_V4 ? 8 : 7)] = (uint8_t)hops;
			if (families[f] == IP_V4)
				frame_checksum(&frame);
			if (hops <= 1)
				assert_dropped(&frame, DROP_TTL);
			else
				assert_delivered(&frame, fixture_pick(&fixture, WEB, &frame));
		}
	}
}

/*
 * The checksum after the decrement is the one that a fresh sum gives, also around the end-around
 * carry (RFC 1624). The identification makes every checksum that there is.
 */
static void test_checksum_update(void **state)
{
	(void)state;
	struct frame frame;
	for (unsigned id = 0; id < 65536; id++) {
		build_web(&frame, IP_V4);
		frame.bytes[18] = (uint8_t)(id >> 8);
		frame.bytes[19] = (uint8_t)id;
		frame_checksum(&frame);
		bool carries = frame.bytes[24] >= 0xfe;
		if (carries || id % 16 == 0)
			assert_delivered(&frame, fixture_pick(&fixture, WEB, &frame));
	}
}

static void test_link_group(void **state)
{
	(void)state;
	struct frame frame;
	for (size_t f = 0; f < 2; f++) {
		build_web(&frame, families[f]);
		memset(frame.bytes, 0xff, 6);
		assert_dropped(&frame, DROP_LINK_GROUP);
	}
}

static void test_addresses_without_meaning(void **state)
{
	(void)state;
	static const struct {
		const char *address;
		unsigned reason;
	} cases[] = {
	    {"198.51.100.1", DROP_NO_SITE}, /* site 0 */
	    {"198.51.100.32", DROP_NO_BINDING},
	    {"198.51.100.63", DROP_NO_BINDING},
	    {"2001:db8:f::0:100", DROP_NO_SITE},
	    {"2001:db8:f::f:ffff", DROP_NO_SITE},
	    {"2001:db8:f::3:0", DROP_NO_BINDING},
	    {"2001:db8:f::3:1ff", DROP_NO_BINDING}, /* within the span */
	    {"2001:db8:f::3:200", DROP_NO_BINDING}, /* beyond it */
	    {"2001:db8:f::3:ffff", DROP_NO_BINDING},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ip_address address = fixture_address(cases[i].address);
		struct frame frame;
		frame_build(&frame, &address, IPPROTO_TCP, 1, 80, 0);
		assert_dropped(&frame, cases[i].reason);
	}
}

static void test_ports(void **state)
{
	(void)state;
	static const struct {
		uint8_t protocol;
		uint16_t port;
		bool served;
	} cases[] = {
	    {IPPROTO_TCP, 80, true},    {IPPROTO_TCP, 79, false},   {IPPROTO_TCP, 81, false},
	    {IPPROTO_TCP, 7999, false}, {IPPROTO_TCP, 8000, true},  {IPPROTO_TCP, 8005, true},
	    {IPPROTO_TCP, 8010, true},  {IPPROTO_TCP, 8011, false}, {IPPROTO_UDP, 80, false},
	    {IPPROTO_TCP, 53, false},   {IPPROTO_UDP, 53, true},    {IPPROTO_UDP, 443, true},
	    {IPPROTO_TCP, 0, false},    {IPPROTO_UDP, 65535, false}};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (size_t f = 0; f < 2; f++) {
			struct ip_address address = fixture_service_address(WEB, families[f]);
			struct edge_counters before = fixture_counters(&fixture, &address);
			struct frame frame;
			build(&frame, WEB, families[f], cases[i].protocol, cases[i].port);
			if (cases[i].served)
				assert_delivered(&frame, fixture_pick(&fixture, WEB, &frame));
			else
				assert_dropped(&frame, DROP_PORT);
			struct edge_counters after = fixture_counters(&fixture, &address);
			assert_int_equal(after.wrong_port - before.wrong_port, !cases[i].served);
		}
	}
}

static void put_quic(struct frame *frame, uint8_t first, uint32_t version)
{
	uint8_t *quic = frame->bytes + frame_transport(frame) + 8;
	quic[0] = first;
	for (int i = 0; i < 4; i++)
		quic[1 + i] = (uint8_t)(version >> (24 - 8 * i));
}

static const struct {
	uint8_t first;
	uint32_t version;
	bool opens;
} quic_cases[] = {
    {0xc0, 1, true}, /* RFC 9000: Initial, 0-RTT, Handshake, Retry */
    {0xcf, 1, true},          {0xd0, 1, false},          {0xe0, 1, false},
    {0xf0, 1, false},         {0xc0, 0x6b3343cf, false}, /* RFC 9369: Retry, Initial, 0-RTT,
							    Handshake */
    {0xd0, 0x6b3343cf, true}, {0xe0, 0x6b3343cf, false}, {0xf0, 0x6b3343cf, false},
    {0xc0, 0xff00001d, true}, /* a draft */
    {0xc0, 0, false}, /* version negotiation */
    {0x40, 1, false}, /* short header */
    {0x00, 1, false},
};

static void test_quic(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(quic_cases) / sizeof(quic_cases[0]); i++) {
		for (size_t f = 0; f < 2; f++) {
			struct ip_address closing = fixture_service_address(CLOSING, families[f]);
			struct ip_address web = fixture_service_address(WEB, families[f]);
			struct edge_counters before = fixture_counters(&fixture, &web);
			struct frame frame;
			build(&frame, WEB, families[f], IPPROTO_UDP, 443);
			put_quic(&frame, quic_cases[i].first, quic_cases[i].version);
			assert_delivered(&frame, fixture_pick(&fixture, WEB, &frame));
			struct edge_counters after = fixture_counters(&fixture, &web);
			assert_int_equal(after.new_flows - before.new_flows, quic_cases[i].opens);

			build(&frame, CLOSING, families[f], IPPROTO_UDP, 443);
			put_quic(&frame, quic_cases[i].first, quic_cases[i].version);
			before = fixture_counters(&fixture, &closing);
			if (quic_cases[i].opens)
				assert_dropped(&frame, DROP_REFUSED);
			else
				assert_delivered(&frame, fixture_pick(&fixture, CLOSING, &frame));
			after = fixture_counters(&fixture, &closing);
			assert_int_equal(after.refused - before.refused, quic_cases[i].opens);

			/* Too short to be anything, and not a QUIC port. */
			frame_build(&frame, &closing, IPPROTO_UDP, 1, 443, 4);
			memset(frame.bytes + frame_transport(&frame) + 8, 0xc0, 4);
			assert_delivered(&frame, fixture_pick(&fixture, CLOSING, &frame));
			build(&frame, CLOSING, families[f], IPPROTO_UDP, 53);
			put_quic(&frame, quic_cases[i].first, quic_cases[i].version);
			assert_delivered(&frame, fixture_pick(&fixture, CLOSING, &frame));
		}
	}
}

/* A closing address refuses what opens a flow and nothing else; a late one counts it. */
static void test_closing_and_late(void **state)
{
	(void)state;
	for (unsigned flags = 0; flags < 256; flags++) {
		for (size_t f = 0; f < 2; f++) {
			bool opens = (flags & 0x12) == 0x02;
			struct ip_address closing = fixture_service_address(CLOSING, families[f]);
			struct ip_address late = fixture_service_address(LATE, families[f]);
			struct edge_counters before = fixture_counters(&fixture, &closing);
			struct frame frame;
			build(&frame, CLOSING, families[f], IPPROTO_TCP, 80);
			frame.bytes[frame_transport(&frame) + 13] = (uint8_t)flags;
			if (opens)
				assert_dropped(&frame, DROP_REFUSED);
			else
				assert_delivered(&frame, fixture_pick(&fixture, CLOSING, &frame));
			struct edge_counters after = fixture_counters(&fixture, &closing);
			assert_int_equal(after.refused - before.refused, opens);
			assert_int_equal(after.packets - before.packets, !opens);
			assert_int_equal(after.new_flows, before.new_flows);

			before = fixture_counters(&fixture, &late);
			build(&frame, LATE, families[f], IPPROTO_TCP, 80);
			frame.bytes[frame_transport(&frame) + 13] = (uint8_t)flags;
			assert_delivered(&frame, fixture_pick(&fixture, LATE, &frame));
			after = fixture_counters(&fixture, &late);
			assert_int_equal(after.late_flows - before.late_flows, opens);
			assert_int_equal(after.new_flows - before.new_flows, opens);
		}
	}
}

/* What publishing never writes: an entry that names nobody. */
static void test_no_backend(void **state)
{
	(void)state;
	static struct edge_map_page page, empty;
	struct edge_map_descriptor descriptor;
	struct ip_address address = fixture_service_address(WEB, IP_V6);
	int map_fd = fixture_map(&fixture, "descriptors");
	uint32_t number = 0;
	struct frame frame;
	do {
		number++;
		assert_int_equal(bpf_map_lookup_elem(map_fd, &number, &descriptor), 0);
	} while (memcmp(descriptor.address, address.bytes, 16) != 0);
	close(map_fd);
	map_fd = fixture_map(&fixture, "ring_pages");
	number = descriptor.first_page;
	assert_int_equal(bpf_map_lookup_elem(map_fd, &number, &page), 0);
	assert_int_equal(bpf_map_update_elem(map_fd, &number, &empty, 0), 0);
	build_web(&frame, IP_V6);
	assert_dropped(&frame, DROP_NO_BACKEND);
	assert_int_equal(bpf_map_update_elem(map_fd, &number, &page, 0), 0);
	assert_delivered(&frame, fixture_pick(&fixture, WEB, &frame));
	close(map_fd);
}

static void test_unknown_algorithm(void **state)
{
	(void)state;
	struct edge_map_descriptor descriptor;
	int map_fd = fixture_map(&fixture, "descriptors");
	struct ip_address address = fixture_service_address(OTHER, IP_V4);
	for (uint32_t number = 1; number < 64; number++) {
		assert_int_equal(bpf_map_lookup_elem(map_fd, &number, &descriptor), 0);
		if (memcmp(descriptor.address, address.bytes, 16) != 0)
			continue;
		struct edge_map_descriptor foreign = descriptor;
		struct frame frame;
		foreign.algorithm = 77;
		assert_int_equal(bpf_map_update_elem(map_fd, &number, &foreign, 0), 0);
		build(&frame, OTHER, IP_V4, IPPROTO_TCP, 80);
		assert_dropped(&frame, DROP_ALGORITHM);
		assert_int_equal(bpf_map_update_elem(map_fd, &number, &descriptor, 0), 0);
		close(map_fd);
		return;
	}
	fail();
}

/* The tunnel's packet must fit the path's MTU of 1500; one byte more does not. */
static void test_too_big(void **state)
{
	(void)state;
	for (size_t f = 0; f < 2; f++) {
		struct ip_address address = fixture_service_address(WEB, families[f]);
		size_t inner_header = families[f] == IP_V4 ? 20 : 40;
		for (uint16_t port = 3000; port < 3016; port++) {
			struct frame frame;
			frame_build(&frame, &address, IPPROTO_TCP, port, 80, 0);
			size_t backend = fixture_pick(&fixture, WEB, &frame);
			size_t header = fixture.backends[backend].address.family == IP_V4 ? 20 : 40;
			size_t fits = 1500 - header - inner_header - 20;
			frame_build(&frame, &address, IPPROTO_TCP, port, 80, fits);
			assert_delivered(&frame, backend);
			frame_build(&frame, &address, IPPROTO_TCP, port, 80, fits + 1);
			assert_dropped(&frame, DROP_TOO_BIG);
		}
	}
}

static void test_headroom(void **state)
{
	(void)state;
	struct frame frame;
	for (size_t f = 0; f < 2; f++) {
		struct ip_address address = fixture_service_address(WEB, families[f]);
		uint64_t before = fixture_drops(&fixture, DROP_HEADROOM);
		/* The entry program's frame of 64 bytes, and what it cuts off again. */
		frame_build(&frame, &address, IPPROTO_UDP, 1, 53, 0);
		size_t shorter = 64 - frame.length;
		frame_build(&frame, &address, IPPROTO_UDP, 1, 53, shorter);
		assert_int_equal(frame.length, 64);
		assert_int_equal(fixture_run_program(fixture.crowd_fd, fixture.edge0, &frame, NULL),
				 XDP_DROP);
		assert_int_equal(fixture_drops(&fixture, DROP_HEADROOM), before + 1);
	}
	reached[DROP_HEADROOM] = true;
}

/* In on one interface, out on another. */
static void test_redirect(void **state)
{
	(void)state;
	struct frame frame;
	struct frame out;
	struct frame expected;
	edge_heartbeat(fixture.edge); /* the tests before may have taken longer than it holds */
	build_web(&frame, IP_V6);
	assert_int_equal(fixture_run_program(fixture.fill_fd, fixture.wire0, &frame, &out),
			 XDP_REDIRECT);
	frame_expect(&expected, &frame, &fixture, fixture_pick(&fixture, WEB, &frame));
	assert_frame(&out, &expected);
}

static void settings_change(void (*change)(struct edge_map_settings *settings))
{
	struct edge_map_settings settings;
	uint32_t zero = 0;
	int map_fd = fixture_map(&fixture, "settings");
	assert_int_equal(bpf_map_lookup_elem(map_fd, &zero, &settings), 0);
	change(&settings);
	assert_int_equal(bpf_map_update_elem(map_fd, &zero, &settings, 0), 0);
	close(map_fd);
}

static void forget_heartbeat(struct edge_map_settings *settings)
{
	settings->heartbeat = 0;
}

/* Without a heartbeat the kernel's FIB gives the same answer, and the packet is the same. */
static void test_fib(void **state)
{
	(void)state;
	settings_change(forget_heartbeat);
	for (size_t f = 0; f < 2; f++) {
		struct ip_address address = fixture_service_address(WEB, families[f]);
		for (uint16_t port = 4000; port < 4020; port++) {
			struct edge_counters before = fixture_counters(&fixture, &address);
			struct frame frame;
			frame_build(&frame, &address, IPPROTO_TCP, port, 80, 0);
			assert_delivered(&frame, fixture_pick(&fixture, WEB, &frame));
			struct edge_counters after = fixture_counters(&fixture, &address);
			assert_int_equal(after.asked_fib, before.asked_fib + 1);
			assert_int_equal(after.packets, before.packets + 1);
		}
	}
	edge_heartbeat(fixture.edge);
}

/* What the FIB does not know either goes to the kernel, encapsulated, for this very machine. */
static void test_kernel(void **state)
{
	(void)state;
	struct error err;
	fixture_command("ip neigh flush all nud permanent && ip link set wire0 down");
	assert_int_equal(edge_drain_netlink(fixture.edge, &err), 0);
	edge_heartbeat(fixture.edge);
	for (size_t f = 0; f < 2; f++) {
		struct ip_address address = fixture_service_address(WEB, families[f]);
		struct edge_counters before = fixture_counters(&fixture, &address);
		struct frame frame;
		struct frame out;
		struct frame expected;
		frame_build(&frame, &address, IPPROTO_TCP, 5000, 80, 0);
		assert_int_equal(fixture_run(&fixture, &frame, &out), XDP_PASS);
		frame_expect(&expected, &frame, &fixture, fixture_pick(&fixture, WEB, &frame));
		memcpy(expected.bytes, frame.bytes, 12); /* its link addresses are kept */
		assert_frame(&out, &expected);
		struct edge_counters after = fixture_counters(&fixture, &address);
		assert_int_equal(after.to_kernel, before.to_kernel + 1);
	}
}

/* The tests above, together, have seen every reason that the edge can give; but for those that
 * bpf_edge_passing.c sees. */
static void test_every_reason_was_reached(void **state)
{
	(void)state;
	bool missing = false;
#define X(name, number, label, text)                                                               \
	if (!reached[number]) {                                                                    \
		fprintf(stderr, "no test reaches DROP_%s\n", #name);                               \
		missing = true;                                                                    \
	}
	EDGE_PACKET_DROPS(X)
#undef X
	assert_false(missing);
}

static void assert_frames_to(const uint8_t link[6], bool ours)
{
	for (size_t f = 0; f < 2; f++) {
		struct frame frame;
		build_web(&frame, families[f]);
		memcpy(frame.bytes, link, 6);
		if (ours)
			assert_delivered(&frame, fixture_pick(&fixture, WEB, &frame));
		else
			assert_passed(&frame);
	}
}

/* A flooded frame for another machine is the kernel's, which drops it. */
static void test_frames_for_others(void **state)
{
	(void)state;
	static const uint8_t own[6] = {2, 0, 0, 0, 0, 1};
	edge_heartbeat(fixture.edge);
	for (size_t bit = 1; bit < 48; bit++) {
		uint8_t other[6];
		memcpy(other, own, sizeof(own));
		other[bit / 8] ^= (uint8_t)(1 << bit % 8);
		/* The lowest bit of all says that it is for a group. */
		if (!(other[0] & 1))
			assert_frames_to(other, false);
	}
	assert_frames_to(own, true);
	/* The address may have changed since the daemon went silent. */
	settings_change(forget_heartbeat);
	struct frame frame;
	build_web(&frame, IP_V4);
	frame.bytes[5] ^= 1;
	assert_int_equal(fixture_run(&fixture, &frame, NULL), XDP_TX);
	edge_heartbeat(fixture.edge);
	assert_passed(&frame);
}

/* The daemon follows changes, and knows the bridge that the interface may be a port of. */
static void test_own_address_is_followed(void **state)
{
	(void)state;
	static const uint8_t own[6] = {2, 0, 0, 0, 0, 1};
	static const uint8_t bridge[6] = {2, 0, 0, 0, 0, 9};
	fixture_command("ip link add bridge0 address 02:00:00:00:00:09 type bridge");
	fixture_command("ip link set edge0 master bridge0");
	fixture_drain(&fixture);
	assert_frames_to(own, true);
	struct frame frame;
	build_web(&frame, IP_V4);
	memcpy(frame.bytes, bridge, 6);
	assert_int_not_equal(fixture_run(&fixture, &frame, NULL), XDP_PASS);
	fixture_command("ip link del bridge0");
	fixture_command("ip link set edge0 address 02:00:00:00:00:09");
	fixture_neighbours();
	fixture_drain(&fixture);
	assert_frames_to(own, false);
	assert_int_not_equal(fixture_run(&fixture, &frame, NULL), XDP_PASS);
	fixture_command("ip link set edge0 address 02:00:00:00:00:01");
	fixture_neighbours();
	fixture_drain(&fixture);
	assert_frames_to(own, true);
	assert_passed(&frame);
}

static int start(void **state)
{
	(void)state;
	if (!fixture_enter(&fixture))
		return -1;
	fixture_start(&fixture);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	fixture_reset(&fixture);
	fixture_leave(&fixture);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_encapsulation),
	    cmocka_unit_test(test_counters),
	    cmocka_unit_test(test_not_ours_is_passed),
	    cmocka_unit_test(test_icmp),
	    cmocka_unit_test(test_v4_header),
	    cmocka_unit_test(test_fragments),
	    cmocka_unit_test(test_v4_options),
	    cmocka_unit_test(test_v6_header),
	    cmocka_unit_test(test_v6_extensions),
	    cmocka_unit_test(test_truncation),
	    cmocka_unit_test(test_transport_lengths),
	    cmocka_unit_test(test_padding),
	    cmocka_unit_test(test_time_to_live),
	    cmocka_unit_test(test_checksum_update),
	    cmocka_unit_test(test_link_group),
	    cmocka_unit_test(test_frames_for_others),
	    cmocka_unit_test(test_own_address_is_followed),
	    cmocka_unit_test(test_addresses_without_meaning),
	    cmocka_unit_test(test_ports),
	    cmocka_unit_test(test_quic),
	    cmocka_unit_test(test_closing_and_late),
	    cmocka_unit_test(test_no_backend),
	    cmocka_unit_test(test_unknown_algorithm),
	    cmocka_unit_test(test_too_big),
	    cmocka_unit_test(test_headroom),
	    cmocka_unit_test(test_redirect),
	    cmocka_unit_test(test_fib),
	    cmocka_unit_test(test_kernel),
	    cmocka_unit_test(test_every_reason_was_reached),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
