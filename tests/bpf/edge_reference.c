/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stages, each of which either goes on (0), or ends with a drop reason or with PASS. All lengths
 * are compared before a byte is read, so that the sanitizers would see the reference itself stray.
 */
#include "edge_reference.h"
#include "dataplane/pick_key.h"
#include "frame_bytes.h"

#include <linux/bpf.h>
#include <netinet/in.h>
#include <string.h>

#define PASS (-1)
#define LINK_BYTES 14
#define FRAGMENT_HEADER 44
#define EXTENSIONS_MAX 6
#define OUTER_HOPS 64
#define TUNNEL_MAX 0xffffu /* bytes of any IP packet */

/* A packet being read: bytes[0 … total) of the frame's `length` after the Ethernet header. */
struct reader {
	const struct world *world;
	const uint8_t *ip;
	size_t length;
	size_t total;
	size_t transport;
	uint8_t protocol;
	uint8_t traffic_class;
	bool v4;
	bool opens;
	uint64_t hash;
	size_t backend; /* its place in world.backends */
	struct reference *out;
};

/* --- algorithm 1: Aumasson, Bernstein 2012, section 2, with c = 1 and d = 3 --- */

static uint64_t rotate(uint64_t word, unsigned bits)
{
	return word << bits | word >> (64 - bits);
}

static void sip_rounds(uint64_t v[4], unsigned count)
{
	while (count-- > 0) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = v[0] ^ rotate(v[1], 13);
		v[3] = v[2] ^ rotate(v[3], 16);
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = v[2] ^ rotate(v[1], 17);
		v[3] = v[0] ^ rotate(v[3], 21);
		v[2] = rotate(v[2], 32);
	}
}

static uint64_t little_endian(const uint8_t *bytes, size_t count)
{
	uint64_t word = 0;
	for (size_t i = 0; i < count; i++)
		word |= (uint64_t)bytes[i] << (8 * i);
	return word;
}

uint64_t reference_hash(const uint8_t *key, const uint8_t *bytes, size_t length)
{
	const uint8_t name[] = "uespemosmodnarodarenegylsetybdet"; /* its constants, reversed */
	uint64_t v[4];
	for (size_t i = 0; i < 4; i++)
		v[i] = little_endian(name + 8 * i, 8) ^ little_endian(key + 8 * (i % 2), 8);
	for (size_t at = 0; at <= length; at += 8) {
		size_t left = length - at;
		uint64_t word = little_endian(bytes + at, left < 8 ? left : 8);
		if (left < 8)
			word |= (uint64_t)length << 56;
		v[3] ^= word;
		sip_rounds(v, 1);
		v[0] ^= word;
	}
	v[2] ^= 0xff;
	sip_rounds(v, 3);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* --- the packet's own headers --- */

static struct ip_address destination(const struct reader *reader)
{
	struct ip_address address = {.family = reader->v4 ? IP_V4 : IP_V6};
	memcpy(address.bytes, reader->ip + (reader->v4 ? 16 : 24), reader->v4 ? 4 : 16);
	return address;
}

static int read_v4(struct reader *reader)
{
	size_t header = 4u * (reader->ip[0] & 15u);
	if (reader->ip[0] >> 4 != 4 || header < 20)
		return DROP_V4_HEADER;
	reader->total = get16(reader->ip + 2);
	if (reader->total < header || reader->total > reader->length)
		return DROP_V4_LENGTH;
	if (get16(reader->ip + 6) & 0x3fff)
		return DROP_FRAGMENT;
	if (reader->ip[8] < 2)
		return DROP_TTL;
	reader->traffic_class = reader->ip[1];
	reader->transport = header;
	reader->protocol = reader->ip[9];
	return 0;
}

/* Hop-by-hop options, routing, destination options; each starts with the next one's type and its
 * own length. */
static int walk_extensions(struct reader *reader)
{
	unsigned count = 0;
	reader->transport = 40;
	reader->protocol = reader->ip[6];
	for (;;) {
		const uint8_t *header = reader->ip + reader->transport;
		uint8_t type = reader->protocol;
		if (type == FRAGMENT_HEADER)
			return DROP_FRAGMENT;
		if (type != IPPROTO_HOPOPTS && type != IPPROTO_ROUTING && type != IPPROTO_DSTOPTS)
			return 0;
		if (count == EXTENSIONS_MAX)
			return DROP_V6_CHAIN;
		if (reader->transport + 8 > reader->length ||
		    (type == IPPROTO_HOPOPTS && count > 0))
			return DROP_V6_EXTENSION;
		if (type == IPPROTO_ROUTING && header[3] != 0)
			return DROP_V6_ROUTING;
		reader->protocol = header[0];
		reader->transport += 8u * (header[1] + 1u);
		if (reader->transport > reader->total)
			return DROP_V6_EXTENSION;
		count++;
	}
}

static int read_v6(struct reader *reader)
{
	if (reader->ip[0] >> 4 != 6)
		return DROP_V6_HEADER;
	reader->total = 40 + get16(reader->ip + 4);
	if (reader->total == 40 || reader->total > reader->length)
		return DROP_V6_LENGTH;
	reader->traffic_class = (uint8_t)(get16(reader->ip) >> 4);
	int failure = walk_extensions(reader);
	if (failure)
		return failure;
	if (reader->protocol == IPPROTO_ICMPV6) {
		if (reader->transport == reader->total)
			return DROP_ICMP;
		uint8_t type = reader->ip[reader->transport];
		if (type >= 133 && type <= 137)
			return PASS;
		bool too_big = type == 2 && reader->total - reader->transport >= 2 &&
			       reader->ip[reader->transport + 1] == 0;
		return too_big ? DROP_ICMP_TOO_BIG : DROP_ICMP;
	}
	return reader->ip[7] < 2 ? DROP_TTL : 0;
}

static int read_transport(struct reader *reader)
{
	const uint8_t *l4 = reader->ip + reader->transport;
	size_t length = reader->total - reader->transport;
	if (reader->protocol == IPPROTO_TCP) {
		if (length < 20)
			return DROP_L4_SHORT;
		size_t header = 4u * (l4[12] >> 4);
		if (header < 20 || header > length)
			return DROP_L4_LENGTH;
		reader->opens = (l4[13] & 0x12) == 2;
	} else if (reader->protocol == IPPROTO_UDP) {
		if (length < 8)
			return DROP_L4_SHORT;
		if (get16(l4 + 4) < 8 || get16(l4 + 4) > length)
			return DROP_L4_LENGTH;
	} else if (reader->protocol == IPPROTO_ICMP) {
		return length >= 2 && l4[0] == 3 && l4[1] == 4 ? DROP_ICMP_TOO_BIG : DROP_ICMP;
	} else {
		return DROP_PROTOCOL;
	}
	return 0;
}

/* --- what the address means --- */

static const struct edge_pool *pool_of(const struct world *world, const struct ip_address *address)
{
	for (size_t i = 0; i < WORLD_POOLS; i++) {
		if (ip_prefix_contains(&world->pools[i].prefix, address))
			return &world->pools[i];
	}
	return NULL;
}

static int find_binding(struct reader *reader)
{
	const struct world *world = reader->world;
	const struct ip_address address = destination(reader);
	const struct edge_pool *pool = pool_of(world, &address);
	struct ip_prefix site = {.address = address,
				 .length = (uint8_t)(pool->prefix.length + pool->site_bits)};
	bool site_is_held = false;
	ip_address_mask(&site.address, site.length);
	for (size_t i = 0; i < WORLD_BINDINGS; i++) {
		if (ip_address_equal(&world->bindings[i].address, &address)) {
			reader->out->binding = i;
			return 0;
		}
		site_is_held |= ip_prefix_contains(&site, &world->bindings[i].address);
	}
	return site_is_held ? DROP_NO_BINDING : DROP_NO_SITE;
}

/* A long header of type 0, or of type 1 in version 2; version 0 opens nothing. */
static bool is_initial(const uint8_t *quic)
{
	bool version2 = memcmp(quic + 1, "\x6b\x33\x43\xcf", 4) == 0;
	bool version0 = memcmp(quic + 1, "\0\0\0\0", 4) == 0;
	unsigned type = quic[0] >> 4 & 3u;
	return quic[0] & 0x80 && !version0 && type == (version2 ? 1u : 0u);
}

static const struct edge_port *port_of(const struct edge_version *version, uint8_t protocol,
				       unsigned port)
{
	for (size_t i = 0; i < version->port_count; i++) {
		const struct edge_port *range = &version->ports[i];
		if (range->protocol == protocol && port >= range->low && port <= range->high)
			return range;
	}
	return NULL;
}

static int admit(struct reader *reader)
{
	const struct edge_binding *binding = &reader->world->bindings[reader->out->binding];
	const uint8_t *l4 = reader->ip + reader->transport;
	const struct edge_port *port = port_of(binding->version, reader->protocol, get16(l4 + 2));
	if (!port) {
		reader->out->counts.wrong_port = 1;
		return DROP_PORT;
	}
	if (port->quic && get16(l4 + 4) >= 8 + 5)
		reader->opens = is_initial(l4 + 8);
	if (reader->opens && binding->refuse_new) {
		reader->out->counts.refused = 1;
		return DROP_REFUSED;
	}
	return 0;
}

/* --- the backend --- */

static uint64_t old_hash(const struct reader *reader, const struct edge_version *version)
{
	size_t addresses = reader->v4 ? 8 : 32;
	uint8_t flow[32 + 5];
	memcpy(flow, reader->ip + (reader->v4 ? 12 : 8), addresses);
	memcpy(flow + addresses, reader->ip + reader->transport, 4);
	flow[addresses + 4] = reader->protocol;
	return reference_hash(version->seed, flow, addresses + 5);
}

/* Algorithm 2, in numbers of any size: the sum and the products modulo 2^64. */
static uint64_t new_hash(const struct reader *reader, const struct edge_version *version)
{
	struct pick_key key;
	struct pick_key6 key6;
	pick_key_expand(version->seed, version->by_source, &key, &key6);
	const uint8_t *source = reader->ip + (reader->v4 ? 12 : 8);
	__uint128_t sum = key.start;
	sum += (__uint128_t)key.ports * little_endian(reader->ip + reader->transport, 4);
	for (size_t i = 0; i < (reader->v4 ? 1 : 4); i++)
		sum += (__uint128_t)(reader->v4 ? key.source4 : key6.source[i]) *
		       little_endian(source + 4 * i, 4);
	for (size_t i = 0; i < 2; i++) {
		uint64_t low = (uint64_t)sum;
		uint64_t folded = (low & 0xffffffff00000000) | ((low >> 32) ^ (low & 0xffffffff));
		sum = (__uint128_t)folded * key.mix[i];
	}
	return (uint64_t)sum;
}

static int pick_backend(struct reader *reader)
{
	const struct world *world = reader->world;
	const struct edge_version *version = world->bindings[reader->out->binding].version;
	if (world->knobs.flags & WORLD_FOREIGN &&
	    version == &world->versions[WORLD_FOREIGN_VERSION])
		return DROP_ALGORITHM;
	reader->hash =
	    version->algorithm == 1 ? old_hash(reader, version) : new_hash(reader, version);
	/* The upper half of the hash, as a fraction of 2^32, times the ring's length. */
	reader->backend = version->ring[(reader->hash >> 32) * version->ring_length >> 32];
	return 0;
}

static bool outer_is_v4(const struct reader *reader)
{
	return reader->world->backends[reader->backend].address.family == IP_V4;
}

static size_t tunnel_bytes(const struct reader *reader)
{
	return reader->total + (outer_is_v4(reader) ? 20 : 40);
}

static int check_size(const struct reader *reader)
{
	uint32_t mtu = world_backend_mtu(reader->world, reader->backend);
	return tunnel_bytes(reader) > (mtu ? mtu : TUNNEL_MAX) ? DROP_TOO_BIG : 0;
}

/* --- what goes out --- */

/* One hop less; the checksum stays as right or as wrong as it was. */
static void age(uint8_t *ip, bool v4)
{
	if (v4)
		checksum_v4_update(ip, 8, get16(ip + 8) - 0x100);
	else
		ip[7]--;
}

static size_t write_outer(const struct reader *reader, uint8_t *outer)
{
	const uint8_t *to = reader->world->backends[reader->backend].address.bytes;
	uint8_t protocol = reader->v4 ? IPPROTO_IPIP : IPPROTO_IPV6;
	if (outer_is_v4(reader)) {
		outer[0] = 0x45;
		outer[1] = reader->traffic_class;
		put16(outer + 2, tunnel_bytes(reader));
		put16(outer + 4, 0);
		put16(outer + 6, 0x4000); /* DF */
		outer[8] = OUTER_HOPS;
		outer[9] = protocol;
		memcpy(outer + 12, reader->world->source_v4.bytes, 4);
		memcpy(outer + 16, to, 4);
		checksum_v4(outer, 20);
		return 20;
	}
	put16(outer, 0x6000u | (unsigned)reader->traffic_class << 4 |
			 (unsigned)(reader->hash >> 16 & 0xf));
	put16(outer + 2, reader->hash & 0xffff);
	put16(outer + 4, reader->total);
	outer[6] = protocol;
	outer[7] = OUTER_HOPS;
	memcpy(outer + 8, reader->world->source_v6.bytes, 16);
	memcpy(outer + 24, to, 16);
	return 40;
}

static void write_frame(const struct reader *reader, const struct frame *in)
{
	struct frame *out = &reader->out->out;
	bool v4 = outer_is_v4(reader);
	memcpy(out->bytes, in->bytes, 12);
	put16(out->bytes + 12, v4 ? 0x0800 : 0x86dd);
	size_t header = write_outer(reader, out->bytes + LINK_BYTES);
	uint8_t *inner = out->bytes + LINK_BYTES + header;
	memcpy(inner, reader->ip, reader->length); /* padding too */
	age(inner, reader->v4);
	out->length = in->length + header;
}

/* To the next hop that the edge or the kernel knows; else it is the kernel's, encapsulated. */
static int send_off(const struct reader *reader)
{
	const struct world *world = reader->world;
	const struct world_backend *backend = &world_backends[reader->backend];
	struct reference *out = reader->out;
	bool came_on_edge1 = world->knobs.flags & WORLD_FROM_EDGE1;
	bool ask = world->knobs.flags & WORLD_STALE || world->knobs.lost >> reader->backend & 1 ||
		   !backend->has_neighbour;
	if (ask && backend->route_mtu && tunnel_bytes(reader) > backend->route_mtu)
		return DROP_TOO_BIG;
	if (!backend->has_neighbour) {
		out->verdict = XDP_PASS;
		out->counts.to_kernel = 1;
		return 0;
	}
	out->counts.asked_fib = ask;
	out->verdict = backend->interface == came_on_edge1 ? XDP_TX : XDP_REDIRECT;
	memcpy(out->out.bytes, backend->link, 6);
	memcpy(out->out.bytes + 6, backend->interface ? "\2\0\0\0\0\2" : "\2\0\0\0\0\1", 6);
	return 0;
}

static void count(const struct reader *reader)
{
	struct edge_counters *counts = &reader->out->counts;
	counts->packets = 1;
	counts->bytes = reader->total;
	counts->new_flows = reader->opens;
	counts->late_flows = reader->opens && reader->world->bindings[reader->out->binding].late;
}

static int deliver(struct reader *reader, const struct frame *frame)
{
	write_frame(reader, frame);
	int failure = send_off(reader);
	if (failure == 0)
		count(reader);
	return failure;
}

/* Whose the packet is; the program looks no further at what is not for a pool. */
static int find_pool(struct reader *reader, const struct frame *frame)
{
	unsigned type = get16(frame->bytes + 12);
	if (type != 0x0800 && type != 0x86dd)
		return PASS;
	reader->v4 = type == 0x0800;
	if (reader->length < (reader->v4 ? 20u : 40u))
		return reader->v4 ? DROP_V4_SHORT : DROP_V6_SHORT;
	const struct ip_address address = destination(reader);
	if (!pool_of(reader->world, &address))
		return PASS;
	if (frame->bytes[0] & 1)
		return DROP_LINK_GROUP;
	bool stale = reader->world->knobs.flags & WORLD_STALE;
	return stale || memcmp(frame->bytes, world_own_link(reader->world), 6) == 0 ? 0 : PASS;
}

static int judge(struct reader *reader, const struct frame *frame)
{
	int failure = find_pool(reader, frame);
	if (!failure)
		failure = reader->v4 ? read_v4(reader) : read_v6(reader);
	if (!failure)
		failure = read_transport(reader);
	if (!failure)
		failure = find_binding(reader);
	if (!failure)
		failure = admit(reader);
	if (!failure)
		failure = pick_backend(reader);
	if (!failure)
		failure = check_size(reader);
	return failure ? failure : deliver(reader, frame);
}

void reference_judge(const struct world *world, const struct frame *frame,
		     struct reference *ret_judgement)
{
	*ret_judgement = (struct reference){.binding = REFERENCE_NO_BINDING};
	struct reader reader = {.world = world,
				.ip = frame->bytes + LINK_BYTES,
				.length = frame->length - LINK_BYTES,
				.out = ret_judgement};
	int failure = judge(&reader, frame);
	if (failure == PASS) {
		ret_judgement->verdict = XDP_PASS;
		ret_judgement->out = *frame;
	} else if (failure) {
		ret_judgement->verdict = XDP_DROP;
		ret_judgement->reason = (unsigned)failure;
		ret_judgement->out.length = 0;
	}
}
