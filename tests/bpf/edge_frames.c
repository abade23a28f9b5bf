/* SPDX-License-Identifier: Apache-2.0 */
#include "edge_frames.h"
#include "frame_bytes.h"

#include <netinet/in.h>
#include <string.h>

#define V4_OPTIONS_MAX 40
#define EXTENSIONS 8 /* as many as a frame gets; more than the edge walks */
#define PADDING 12
#define PAYLOAD_MAX 1600

/* A frame while it is put together from its end: bytes[start … FRAMES_MAX). */
struct draft {
	struct random *random;
	const struct world *world;
	uint8_t bytes[FRAMES_MAX];
	size_t start;
	size_t end; /* of the packet; padding comes behind it */
	bool v4;
	uint8_t protocol; /* of what starts at `start` */
};

/* --- parts --- */

/* An address: mostly one that is bound, else one near it, in its pool, or anywhere. */
static struct ip_address random_destination(struct random *random, const struct world *world)
{
	struct ip_address address = world->bindings[random_below(random, WORLD_BINDINGS)].address;
	size_t bytes = address.family == IP_V4 ? 4 : 16;
	if (!one_in(random, 5))
		return address;
	switch (random_below(random, 4)) {
	case 0:
		address.bytes[bytes - 1] ^= (uint8_t)(1u << random_below(random, 8));
		break;
	case 1: /* just beyond what the map may hold of the site */
		put16(address.bytes + bytes - 2, 1u << random_below(random, 16));
		break;
	case 2:
		address = world->pools[random_below(random, WORLD_POOLS)].prefix.address;
		bytes = address.family == IP_V4 ? 4 : 16;
		random_fill(random, address.bytes + bytes - 2, 2);
		break;
	default:
		address.bytes[random_below(random, bytes)] ^= (uint8_t)random_u64(random);
	}
	return address;
}

static const struct edge_port *random_range(struct random *random, const struct world *world)
{
	const struct edge_version *version = &world->versions[random_below(random, WORLD_VERSIONS)];
	return &version->ports[random_below(random, version->port_count)];
}

/* A port in a range, at its ends, or just outside. */
static uint16_t random_port(struct random *random, const struct edge_port *range)
{
	switch (random_below(random, 8)) {
	case 0:
		return (uint16_t)(range->low - 1);
	case 1:
		return (uint16_t)(range->high + 1);
	case 2:
		return range->low;
	case 3:
		return range->high;
	default:
		return (uint16_t)(range->low +
				  random_below(random, (uint64_t)(range->high - range->low) + 1));
	}
}

/* Bytes of payload: mostly few, else about as many as a path can take. */
static size_t random_payload(struct random *random, const struct world *world, bool v4)
{
	if (!one_in(random, 4))
		return random_below(random, one_in(random, 3) ? 200 : 16);
	size_t mtu = world_backend_mtu(world, random_below(random, WORLD_BACKENDS));
	size_t headers = (v4 ? 20u : 40u) + ANY_OF(random, 20, 40) + ANY_OF(random, 20, 8, 13);
	if (mtu > PAYLOAD_MAX || mtu < headers + 2)
		mtu = 1500;
	return mtu - headers + random_below(random, 5) - 2;
}

static uint8_t *prepend(struct draft *draft, size_t length)
{
	draft->start -= length;
	memset(draft->bytes + draft->start, 0, length);
	return draft->bytes + draft->start;
}

static void add_payload(struct draft *draft, size_t length)
{
	draft->end =
	    FRAMES_MAX - (one_in(draft->random, 4) ? random_below(draft->random, PADDING) : 0);
	draft->start = FRAMES_MAX;
	prepend(draft, FRAMES_MAX - draft->end);
	random_fill(draft->random, prepend(draft, length), length);
}

static void add_tcp(struct draft *draft, uint16_t port)
{
	struct random *random = draft->random;
	size_t options = one_in(random, 3) ? 4 * random_below(random, 11) : 0;
	uint8_t *tcp = prepend(draft, 20 + options);
	random_fill(random, tcp, 2);
	put16(tcp + 2, port);
	tcp[12] = (uint8_t)((20 + options) / 4 << 4);
	tcp[13] = ANY_OF(random, 0x02, 0x02, 0x10, 0x12, 0x18, 0x04, 0xc2, 0x00, 0xff);
	draft->protocol = IPPROTO_TCP;
}

/* A QUIC header's first bytes in front of the payload, or only some of them. */
static void add_quic(struct draft *draft)
{
	static const uint8_t versions[][4] = {
	    {0, 0, 0, 1}, {0x6b, 0x33, 0x43, 0xcf}, {0, 0, 0, 0}, {0x0a, 0x1a, 0x2a, 0x3a}};
	uint8_t head[5] = {ANY_OF(draft->random, 0xc0, 0xc3, 0xd0, 0xe0, 0xf0, 0x80, 0x90, 0x40)};
	size_t length = one_in(draft->random, 4) ? random_below(draft->random, 6) : sizeof(head);
	memcpy(head + 1, versions[random_below(draft->random, 4)], 4);
	if (one_in(draft->random, 4)) /* and nothing behind them */
		draft->start = draft->end;
	memcpy(prepend(draft, length), head, length);
}

static void add_udp(struct draft *draft, uint16_t port)
{
	if (!one_in(draft->random, 3))
		add_quic(draft);
	uint8_t *udp = prepend(draft, 8);
	random_fill(draft->random, udp, 2);
	put16(udp + 2, port);
	size_t length = draft->end - draft->start;
	if (one_in(draft->random, 8))
		length = 8 + random_below(draft->random, length - 8 + 1);
	put16(udp + 4, length);
	draft->protocol = IPPROTO_UDP;
}

static void add_transport(struct draft *draft)
{
	struct random *random = draft->random;
	const struct edge_port *range = random_range(random, draft->world);
	uint16_t port = random_port(random, range);
	if (one_in(random, 16)) {
		*prepend(draft, 1) = ANY_OF(random, 0, 0, 1, 4); /* code */
		*prepend(draft, 1) = ANY_OF(random, 2, 3, 3, 8, 128, 132, 133, 135, 137, 138);
		draft->protocol = ANY_OF(random, IPPROTO_ICMP, IPPROTO_ICMPV6, 132, 47, 59, 4, 41);
	} else if (range->protocol == IPPROTO_TCP) {
		add_tcp(draft, port);
	} else {
		add_udp(draft, port);
	}
	if (one_in(random, 32)) /* nothing of it is there */
		draft->start = draft->end;
}

static void add_v4(struct draft *draft, const struct ip_address *destination)
{
	struct random *random = draft->random;
	size_t options = one_in(random, 4) ? 4 * random_below(random, V4_OPTIONS_MAX / 4 + 1) : 0;
	uint8_t *ip = prepend(draft, 20 + options);
	random_fill(random, ip + 20, options);
	ip[0] = (uint8_t)(0x45 + options / 4);
	ip[1] = (uint8_t)random_u64(random);
	put16(ip + 2, draft->end - draft->start);
	random_fill(random, ip + 4, 2);
	ip[6] = one_in(random, 12) ? (uint8_t)random_u64(random)
				   : ANY_OF(random, 0x40, 0x40, 0x00, 0x80);
	ip[7] = one_in(random, 24);
	ip[8] = one_in(random, 12) ? ANY_OF(random, 0, 1, 2) : (uint8_t)random_u64(random);
	ip[9] = draft->protocol;
	random_fill(random, ip + 12, 4);
	memcpy(ip + 16, destination->bytes, 4);
	checksum_v4(ip, 20 + options);
	/* Wrong ones too, and the two that say zero. */
	if (one_in(random, 8))
		put16(ip + 10, one_in(random, 2) ? random_u64(random)
						 : random_below(random, 2) * 0xffff - 0x100);
}

static void add_extension(struct draft *draft)
{
	struct random *random = draft->random;
	size_t length = 8 + 8 * (one_in(random, 4) ? random_below(random, 5) : 0);
	uint8_t type = one_in(random, 16) ? ANY_OF(random, 44, 50, 51, 59, 135, 139)
					  : ANY_OF(random, IPPROTO_DSTOPTS, IPPROTO_ROUTING);
	uint8_t *header = prepend(draft, length);
	header[0] = draft->protocol;
	header[1] = (uint8_t)(length / 8 - 1);
	header[3] = one_in(random, 16); /* segments left */
	draft->protocol = type;
}

static void add_v6(struct draft *draft, const struct ip_address *destination)
{
	struct random *random = draft->random;
	for (uint64_t i = one_in(random, 3) ? random_below(random, EXTENSIONS + 1) : 0; i > 0; i--)
		add_extension(draft);
	if (one_in(random, 6)) { /* the one that must come first */
		uint8_t *header = prepend(draft, 8);
		header[0] = draft->protocol;
		draft->protocol = IPPROTO_HOPOPTS;
	}
	size_t length = draft->end - draft->start;
	uint8_t *ip = prepend(draft, 40);
	put16(ip, 0x6000 | random_below(random, 0x1000));
	random_fill(random, ip + 2, 2);
	put16(ip + 4, length);
	ip[6] = draft->protocol;
	ip[7] = one_in(random, 12) ? ANY_OF(random, 0, 1, 2) : (uint8_t)random_u64(random);
	random_fill(random, ip + 8, 16);
	memcpy(ip + 24, destination->bytes, 16);
}

static void add_link(struct draft *draft)
{
	struct random *random = draft->random;
	uint8_t *link = prepend(draft, FRAME_LINK);
	random_fill(random, link, 12);
	if (!one_in(random, 32))
		link[0] &= 0xfe;
	put16(link + 12, draft->v4 ? 0x0800 : 0x86dd);
}

/* --- frames --- */

static void cut(struct random *random, struct frame *frame)
{
	size_t reach = frame->length - FRAME_LINK;
	if (!one_in(random, 4) && reach > 80)
		reach = 80;
	frame->length = FRAME_LINK + random_below(random, reach + 1);
}

void frames_make(struct random *random, const struct world *world, struct frame *ret_frame)
{
	struct draft draft = {.random = random, .world = world};
	const struct ip_address destination = random_destination(random, world);
	draft.v4 = destination.family == IP_V4;
	add_payload(&draft, random_payload(random, world, draft.v4));
	add_transport(&draft);
	if (draft.v4)
		add_v4(&draft, &destination);
	else
		add_v6(&draft, &destination);
	add_link(&draft);
	ret_frame->length = FRAMES_MAX - draft.start;
	memcpy(ret_frame->bytes, draft.bytes + draft.start, ret_frame->length);
	if (one_in(random, 16))
		cut(random, ret_frame);
}

static void set_byte(struct random *random, struct frame *frame)
{
	size_t reach = one_in(random, 4) || frame->length < 90 ? frame->length : 90;
	uint8_t *byte = frame->bytes + random_below(random, reach);
	*byte = one_in(random, 2)
		    ? (uint8_t)random_u64(random)
		    : ANY_OF(random, 0, 1, 2, 4, 5, 6, 8, 13, 17, 43, 44, 58, 60, 127, 128, 255);
}

static void set_length(struct random *random, struct frame *frame)
{
	bool v4 = frame->bytes[12] == 0x08;
	size_t at = FRAME_LINK + (v4 ? 2 : 4);
	size_t exact = frame->length - FRAME_LINK - (v4 ? 0 : 40);
	if (frame->length >= at + 2)
		put16(frame->bytes + at, exact + random_below(random, 5) - 2);
}

static void set_destination(struct random *random, const struct world *world, struct frame *frame)
{
	const struct ip_address address = random_destination(random, world);
	size_t at = FRAME_LINK + (address.family == IP_V4 ? 16 : 24);
	size_t bytes = address.family == IP_V4 ? 4 : 16;
	if (frame->length < at + bytes)
		return;
	memcpy(frame->bytes + at, address.bytes, bytes);
	put16(frame->bytes + 12, address.family == IP_V4 ? 0x0800 : 0x86dd);
}

/* Bytes more or fewer somewhere behind the link header; in steps of four, as headers grow. */
static void shift(struct random *random, struct frame *frame)
{
	size_t at = FRAME_LINK + random_below(random, frame->length - FRAME_LINK + 1);
	size_t length = 4 * (1 + random_below(random, 4));
	if (one_in(random, 2)) {
		if (frame->length + length > FRAMES_MAX)
			return;
		memmove(frame->bytes + at + length, frame->bytes + at, frame->length - at);
		random_fill(random, frame->bytes + at, length);
		frame->length += length;
	} else if (at + length <= frame->length) {
		memmove(frame->bytes + at, frame->bytes + at + length, frame->length - at - length);
		frame->length -= length;
	}
}

static void add_vlan_tag(struct frame *frame)
{
	const uint8_t tag[4] = {0x81, 0x00, 0x00, 0x07};
	if (frame->length + sizeof(tag) > FRAMES_MAX)
		return;
	memmove(frame->bytes + 12 + sizeof(tag), frame->bytes + 12, frame->length - 12);
	memcpy(frame->bytes + 12, tag, sizeof(tag));
	frame->length += sizeof(tag);
}

void frames_damage(struct random *random, const struct world *world, struct frame *frame)
{
	switch (random_below(random, 12)) {
	case 0:
		cut(random, frame);
		break;
	case 1:
		set_length(random, frame);
		break;
	case 2:
		set_destination(random, world, frame);
		break;
	case 3:
		shift(random, frame);
		break;
	case 4:
		if (one_in(random, 4))
			add_vlan_tag(frame);
		break;
	default:
		set_byte(random, frame);
	}
}
