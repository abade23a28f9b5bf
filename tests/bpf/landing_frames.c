/* SPDX-License-Identifier: Apache-2.0 */
#include "landing_frames.h"
#include "base/netaddr.h"
#include "frame_bytes.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define PAYLOAD_MAX 64
#define PADDING 12
#define EXTENSIONS 6 /* as many as a frame gets; more than landing walks */

/* A frame while it is put together from its end: bytes[start … FRAME_BYTES). */
struct draft {
	struct random *random;
	uint8_t bytes[FRAME_BYTES];
	size_t start;
	size_t end; /* of the packet; padding comes behind it */
	uint8_t protocol; /* of what starts at `start` */
};

static uint8_t *prepend(struct draft *draft, size_t length)
{
	draft->start -= length;
	memset(draft->bytes + draft->start, 0, length);
	return draft->bytes + draft->start;
}

/* Mostly one of the list with this family; else a neighbour of it, or anything. */
static void put_address(struct random *random, uint8_t *at, const char *const *list, bool v6,
			unsigned strangers)
{
	/* The first half of each list is IPv4, the second IPv6. */
	size_t choice =
	    random_below(random, LANDING_WORLD_EACH / 2) + (v6 ? LANDING_WORLD_EACH / 2 : 0);
	size_t bytes = v6 ? 16 : 4;
	struct ip_prefix prefix;
	struct ip_address address;
	if (ip_address_parse(list[choice], &address) == 0)
		memcpy(at, address.bytes, bytes);
	else if (ip_prefix_parse(list[choice], &prefix) == 0)
		memcpy(at, prefix.address.bytes, bytes);
	else
		abort();
	if (one_in(random, strangers))
		at[random_below(random, bytes)] ^= (uint8_t)(1u << random_below(random, 8));
}

static void put_clients(struct random *random, uint8_t *at, bool v6)
{
	random_fill(random, at, v6 ? 16 : 4);
	if (one_in(random, 16))
		put_address(random, at, landing_pools, v6, 4);
}

static uint8_t random_ecn(struct random *random, uint8_t class)
{
	return (uint8_t)((class & 0xfc) | ANY_OF(random, 0, 1, 2, 3));
}

/* IPv4 header in front of what is there; the caller fills in the addresses and checks it. */
static uint8_t *add_v4(struct draft *draft, size_t *ret_header)
{
	struct random *random = draft->random;
	size_t options = one_in(random, 5) ? 4 * random_below(random, 11) : 0;
	uint8_t *ip = prepend(draft, 20 + options);
	random_fill(random, ip + 20, options);
	ip[0] = (uint8_t)(0x45 + options / 4);
	ip[1] = random_ecn(random, (uint8_t)random_u64(random));
	put16(ip + 2, draft->end - draft->start);
	ip[6] = one_in(random, 16) ? (uint8_t)random_u64(random) : ANY_OF(random, 0x40, 0, 0x80);
	ip[7] = one_in(random, 24);
	ip[8] = 64;
	ip[9] = draft->protocol;
	*ret_header = 20 + options;
	return ip;
}

static uint8_t *add_v6(struct draft *draft)
{
	struct random *random = draft->random;
	size_t length = draft->end - draft->start;
	uint8_t *ip = prepend(draft, 40);
	uint8_t class = random_ecn(random, (uint8_t)random_u64(random));
	put16(ip, 0x6000u | (unsigned)class << 4 | random_below(random, 16));
	random_fill(random, ip + 2, 2);
	put16(ip + 4, length);
	ip[6] = draft->protocol;
	ip[7] = 64;
	return ip;
}

static void add_extension(struct draft *draft)
{
	struct random *random = draft->random;
	uint8_t type = one_in(random, 16)
			   ? ANY_OF(random, IPPROTO_ROUTING, 50, 51, 59, 135)
			   : ANY_OF(random, IPPROTO_DSTOPTS, IPPROTO_HOPOPTS, IPPROTO_FRAGMENT);
	size_t more =
	    type == IPPROTO_FRAGMENT ? 0 : random_below(random, one_in(random, 8) ? 28 : 3);
	uint8_t *header = prepend(draft, 8 + 8 * more);
	random_fill(random, header, 8 + 8 * more);
	header[0] = draft->protocol;
	header[1] = (uint8_t)more;
	if (type == IPPROTO_FRAGMENT && !one_in(random, 4)) {
		header[2] = 0;
		header[3] &= 6; /* atomic: what is left is reserved */
	}
	draft->protocol = type;
}

static void add_inner(struct draft *draft)
{
	struct random *random = draft->random;
	bool v6 = one_in(random, 2);
	size_t header;
	draft->protocol = IPPROTO_UDP;
	if (v6) {
		uint8_t *ip = add_v6(draft);
		put_clients(random, ip + 8, true);
		put_address(random, ip + 24, landing_pools, true, 12);
	} else {
		uint8_t *ip = add_v4(draft, &header);
		put_clients(random, ip + 12, false);
		put_address(random, ip + 16, landing_pools, false, 12);
		checksum_v4(ip, header);
		if (one_in(random, 8))
			put16(ip + 10, random_u64(random));
	}
	draft->protocol = v6 ? IPPROTO_IPV6 : IPPROTO_IPIP;
	if (one_in(random, 32))
		draft->protocol = ANY_OF(random, IPPROTO_IPIP, IPPROTO_IPV6, IPPROTO_UDP);
}

static void add_outer(struct draft *draft, bool v6)
{
	struct random *random = draft->random;
	size_t header;
	if (v6) {
		for (uint64_t i = one_in(random, 3) ? random_below(random, EXTENSIONS) : 0; i > 0;
		     i--)
			add_extension(draft);
		uint8_t *ip = add_v6(draft);
		put_address(random, ip + 8, landing_edges, true, 12);
		put_address(random, ip + 24, one_in(random, 24) ? landing_pools : landing_own, true,
			    12);
	} else {
		uint8_t *ip = add_v4(draft, &header);
		put_address(random, ip + 12, landing_edges, false, 12);
		put_address(random, ip + 16, one_in(random, 24) ? landing_pools : landing_own,
			    false, 12);
		checksum_v4(ip, header);
		if (one_in(random, 16))
			put16(ip + 10, random_u64(random));
	}
}

static void cut(struct random *random, struct frame *frame)
{
	frame->length = FRAME_LINK + random_below(random, frame->length - FRAME_LINK + 1);
}

void landing_frames_make(struct random *random, struct frame *ret_frame)
{
	struct draft draft = {.random = random, .start = FRAME_BYTES};
	bool outer_v6 = one_in(random, 2);
	size_t padding = one_in(random, 4) ? random_below(random, PADDING) : 0;
	random_fill(random, prepend(&draft, padding), padding);
	draft.end = draft.start;
	size_t payload = random_below(random, PAYLOAD_MAX);
	random_fill(random, prepend(&draft, payload), payload);
	add_inner(&draft);
	if (one_in(random, 8)) /* the outer packet is larger than it need be */
		draft.end = FRAME_BYTES;
	add_outer(&draft, outer_v6);
	uint8_t *link = prepend(&draft, FRAME_LINK);
	random_fill(random, link, 12);
	put16(link + 12, outer_v6 ? 0x86dd : 0x0800);
	ret_frame->length = FRAME_BYTES - draft.start;
	memcpy(ret_frame->bytes, draft.bytes + draft.start, ret_frame->length);
	if (one_in(random, 16))
		cut(random, ret_frame);
}

/* One of the lengths that there are, outer or inner, a little larger or smaller. */
static void set_length(struct random *random, struct frame *frame)
{
	size_t at = FRAME_LINK + ANY_OF(random, 2, 4, 22, 24, 42, 44);
	if (frame->length >= at + 2)
		put16(frame->bytes + at, get16(frame->bytes + at) + random_below(random, 5) - 2);
}

void landing_frames_damage(struct random *random, struct frame *frame)
{
	size_t reach = one_in(random, 4) || frame->length < 110 ? frame->length : 110;
	switch (random_below(random, 8)) {
	case 0:
		cut(random, frame);
		break;
	case 1:
		set_length(random, frame);
		break;
	default:
		frame->bytes[random_below(random, reach)] =
		    one_in(random, 2) ? (uint8_t)random_u64(random)
				      : ANY_OF(random, 0, 1, 4, 5, 6, 17, 41, 43, 44, 60, 127, 255);
	}
	/* Most damage shall not end at the checksum. */
	size_t header = 4u * (frame->bytes[FRAME_LINK] & 15u);
	if (get16(frame->bytes + 12) == 0x0800 && header >= 20 && !one_in(random, 4) &&
	    frame->length >= FRAME_LINK + header)
		checksum_v4(frame->bytes + FRAME_LINK, header);
}
