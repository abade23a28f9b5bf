/* SPDX-License-Identifier: Apache-2.0 */
#include "edge_reference.h"
#include "abi/pick.h"

#include <netinet/in.h>
#include <string.h>

#define MTU 1500

/* A packet being read: bytes[0 … total) of the frame's `length` after the Ethernet header. */
struct reader {
	const uint8_t *ip;
	size_t length;
	size_t total;
	size_t transport;
	uint8_t protocol;
	bool v4;
	bool opens;
};

static struct reference drop(unsigned reason)
{
	return (struct reference){.verdict = REFERENCE_DROP, .reason = reason};
}

static const struct reference pass = {.verdict = REFERENCE_PASS};
static const struct reference go_on = {.verdict = REFERENCE_DELIVER};

static unsigned get16(const uint8_t *bytes)
{
	return (unsigned)bytes[0] << 8 | bytes[1];
}

static struct ip_address destination(const struct reader *reader)
{
	struct ip_address address = {.family = reader->v4 ? IP_V4 : IP_V6};
	memcpy(address.bytes, reader->ip + (reader->v4 ? 16 : 24), reader->v4 ? 4 : 16);
	return address;
}

static struct reference read_v4(struct reader *reader)
{
	size_t header = 4u * (reader->ip[0] & 15u);
	if (reader->ip[0] >> 4 != 4 || header < 20)
		return drop(DROP_V4_HEADER);
	reader->total = get16(reader->ip + 2);
	if (reader->total < header || reader->total > reader->length)
		return drop(DROP_V4_LENGTH);
	if (get16(reader->ip + 6) & 0x3fff)
		return drop(DROP_FRAGMENT);
	if (reader->ip[8] < 2)
		return drop(DROP_TTL);
	reader->transport = header;
	reader->protocol = reader->ip[9];
	return go_on;
}

static struct reference walk_extensions(struct reader *reader)
{
	unsigned count = 0;
	reader->transport = 40;
	reader->protocol = reader->ip[6];
	for (;;) {
		const uint8_t *header = reader->ip + reader->transport;
		uint8_t type = reader->protocol;
		if (type == 44)
			return drop(DROP_FRAGMENT);
		if (type != 0 && type != 43 && type != 60)
			return go_on;
		if (count == 6)
			return drop(DROP_V6_CHAIN);
		if (reader->transport + 8 > reader->length || (type == 0 && count > 0))
			return drop(DROP_V6_EXTENSION);
		if (type == 43 && header[3] != 0)
			return drop(DROP_V6_ROUTING);
		reader->protocol = header[0];
		reader->transport += 8u * (header[1] + 1u);
		if (reader->transport > reader->total)
			return drop(DROP_V6_EXTENSION);
		count++;
	}
}

static struct reference read_v6(struct reader *reader)
{
	if (reader->ip[0] >> 4 != 6)
		return drop(DROP_V6_HEADER);
	reader->total = 40 + get16(reader->ip + 4);
	if (reader->total == 40 || reader->total > reader->length)
		return drop(DROP_V6_LENGTH);
	struct reference result = walk_extensions(reader);
	if (result.verdict != REFERENCE_DELIVER)
		return result;
	if (reader->protocol == IPPROTO_ICMPV6) {
		uint8_t type = reader->ip[reader->transport];
		bool discovery = reader->transport < reader->total && type >= 133 && type <= 137;
		return discovery ? pass : drop(DROP_ICMP);
	}
	return reader->ip[7] < 2 ? drop(DROP_TTL) : go_on;
}

static bool is_initial(const uint8_t *quic)
{
	bool version2 = memcmp(quic + 1, "\x6b\x33\x43\xcf", 4) == 0;
	bool version0 = memcmp(quic + 1, "\0\0\0\0", 4) == 0;
	unsigned type = quic[0] >> 4 & 3u;
	return quic[0] & 0x80 && !version0 && type == (version2 ? 1u : 0u);
}

static struct reference read_transport(struct reader *reader)
{
	const uint8_t *l4 = reader->ip + reader->transport;
	size_t length = reader->total - reader->transport;
	if (reader->protocol == IPPROTO_TCP) {
		if (length < 20)
			return drop(DROP_L4_SHORT);
		size_t header = 4u * (l4[12] >> 4);
		if (header < 20 || header > length)
			return drop(DROP_L4_LENGTH);
		reader->opens = (l4[13] & 0x12) == 2;
	} else if (reader->protocol == IPPROTO_UDP) {
		if (length < 8)
			return drop(DROP_L4_SHORT);
		if (get16(l4 + 4) < 8 || get16(l4 + 4) > length)
			return drop(DROP_L4_LENGTH);
		reader->opens = get16(l4 + 2) == 443 && get16(l4 + 4) >= 13 && is_initial(l4 + 8);
	} else {
		return drop(reader->protocol == IPPROTO_ICMP ? DROP_ICMP : DROP_PROTOCOL);
	}
	return go_on;
}

/* Which of the fixture's pools, sites and bindings the address falls in. */
static struct reference find_binding(const struct fixture *fixture,
				     const struct ip_address *address,
				     const struct edge_binding **ret_binding)
{
	bool site = false;
	*ret_binding = NULL;
	for (size_t i = 0; i < fixture->desired.binding_count; i++) {
		const struct edge_binding *binding = &fixture->desired.bindings[i];
		const struct edge_pool *pool = NULL;
		for (size_t j = 0; j < fixture->desired.pool_count; j++) {
			if (ip_prefix_contains(&fixture->desired.pools[j].prefix, address))
				pool = &fixture->desired.pools[j];
		}
		if (!pool)
			break;
		struct ip_prefix slice = {.address = *address};
		slice.length = (uint8_t)(pool->prefix.length + pool->site_bits);
		ip_address_mask(&slice.address, slice.length);
		site = site || ip_prefix_contains(&slice, &binding->address);
		if (ip_address_equal(&binding->address, address))
			*ret_binding = binding;
	}
	return *ret_binding ? go_on : drop(site ? DROP_NO_BINDING : DROP_NO_SITE);
}

static bool serves(const struct edge_version *version, uint8_t protocol, unsigned port)
{
	for (size_t i = 0; i < version->port_count; i++) {
		const struct edge_port *range = &version->ports[i];
		if (range->protocol == protocol && port >= range->low && port <= range->high)
			return true;
	}
	return false;
}

static struct reference choose(const struct reader *reader, const struct edge_binding *binding,
			       const struct edge_backend *backends)
{
	const struct edge_version *version = binding->version;
	const uint8_t *l4 = reader->ip + reader->transport;
	if (!serves(version, reader->protocol, get16(l4 + 2)))
		return drop(DROP_PORT);
	if (reader->opens && binding->refuse_new)
		return drop(DROP_REFUSED);
	uint64_t hash = reader->v4
			    ? pick_hash(version->seed, reader->ip + 12, 1, l4, reader->protocol)
			    : pick_hash(version->seed, reader->ip + 8, 4, l4, reader->protocol);
	size_t backend = version->first[pick_index(hash, (uint32_t)version->ring_length)];
	size_t outer = backends[backend].address.family == IP_V4 ? 20 : 40;
	if (reader->total + outer > MTU)
		return drop(DROP_TOO_BIG);
	return (struct reference){
	    .verdict = REFERENCE_DELIVER, .backend = backend, .total = reader->total};
}

struct reference reference_judge(const struct fixture *fixture, const struct frame *frame)
{
	struct reader reader = {.ip = frame->bytes + 14, .length = frame->length - 14};
	const struct edge_binding *binding;
	unsigned type = get16(frame->bytes + 12);
	bool ours = false;

	if (type != 0x0800 && type != 0x86dd)
		return pass;
	reader.v4 = type == 0x0800;
	if (reader.length < (reader.v4 ? 20u : 40u))
		return drop(reader.v4 ? DROP_V4_SHORT : DROP_V6_SHORT);
	struct ip_address address = destination(&reader);
	for (size_t i = 0; i < fixture->desired.pool_count; i++)
		ours = ours || ip_prefix_contains(&fixture->desired.pools[i].prefix, &address);
	if (!ours)
		return pass;
	if (frame->bytes[0] & 1)
		return drop(DROP_LINK_GROUP);
	struct reference result = reader.v4 ? read_v4(&reader) : read_v6(&reader);
	if (result.verdict == REFERENCE_DELIVER)
		result = read_transport(&reader);
	if (result.verdict == REFERENCE_DELIVER)
		result = find_binding(fixture, &address, &binding);
	if (result.verdict == REFERENCE_DELIVER)
		result = choose(&reader, binding, fixture->backends);
	return result;
}
