/* SPDX-License-Identifier: Apache-2.0 */
/* Stages, each of which either goes on (0), or ends with a drop reason or with PASS. */
#include "landing_reference.h"
#include "base/netaddr.h"
#include "frame_bytes.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define PASS (-1)
#define LINK_BYTES 14
#define EXTENSIONS_MAX 4
#define OUTER_MAX 255 /* bytes of outer headers */

const char *const landing_own[LANDING_WORLD_EACH] = {"10.0.1.11", "10.0.2.11", "fd00:1::11",
						     "fd00:2::11"};
const char *const landing_edges[LANDING_WORLD_EACH] = {"10.0.1.2", "10.0.1.3", "fd00:1::2",
						       "fd00:1::3"};
const char *const landing_pools[LANDING_WORLD_EACH] = {"198.51.100.0/26", "203.0.113.7/32",
						       "2001:db8:f::/108", "2001:db8:e::/64"};

const uint8_t landing_link[6] = {2, 0, 0, 0, 0, 0x0b};

static struct ip_address own[LANDING_WORLD_EACH];
static struct ip_address edges[LANDING_WORLD_EACH];
static struct ip_prefix pools[LANDING_WORLD_EACH];

void landing_reference_init(void)
{
	for (size_t i = 0; i < LANDING_WORLD_EACH; i++) {
		if (ip_address_parse(landing_own[i], &own[i]) < 0 ||
		    ip_address_parse(landing_edges[i], &edges[i]) < 0 ||
		    ip_prefix_parse(landing_pools[i], &pools[i]) < 0)
			abort();
	}
}

/* A packet being read: frame bytes [at … length). */
struct reader {
	const uint8_t *bytes;
	size_t length;
	size_t inner; /* where the inner packet starts */
	size_t inner_space; /* how many bytes the outer packet has for it */
	unsigned outer_ecn;
	unsigned inner_ecn; /* as it shall be */
	bool inner_v6;
};

static struct ip_address read_address(const uint8_t *bytes, bool v6)
{
	struct ip_address address = {.family = v6 ? IP_V6 : IP_V4};
	memcpy(address.bytes, bytes, v6 ? 16 : 4);
	return address;
}

static bool is_one_of(const struct ip_address *list, const uint8_t *bytes, bool v6)
{
	const struct ip_address address = read_address(bytes, v6);
	for (size_t i = 0; i < LANDING_WORLD_EACH; i++) {
		if (ip_address_equal(&list[i], &address))
			return true;
	}
	return false;
}

bool landing_in_pools(const uint8_t *bytes, bool v6)
{
	const struct ip_address address = read_address(bytes, v6);
	for (size_t i = 0; i < LANDING_WORLD_EACH; i++) {
		if (ip_prefix_contains(&pools[i], &address))
			return true;
	}
	return false;
}

static bool is_tunnel(unsigned protocol)
{
	return protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6;
}

static int read_outer_v4(struct reader *reader)
{
	const uint8_t *ip = reader->bytes + LINK_BYTES;
	size_t space = reader->length - LINK_BYTES;
	if (space < 20)
		return PASS;
	size_t header = (size_t)4 * (ip[0] & 15u);
	if (ip[0] >> 4 != 4 || header < 20 || !is_tunnel(ip[9]) || !is_one_of(own, ip + 16, false))
		return PASS;
	size_t total = get16(ip + 2);
	if (total < header || total > space)
		return DROP_LANDING_OUTER_MALFORMED;
	if (checksum(ip, header) != 0)
		return DROP_LANDING_OUTER_CHECKSUM;
	if (get16(ip + 6) & 0x3fff)
		return DROP_LANDING_OUTER_FRAGMENT;
	if (!is_one_of(edges, ip + 12, false))
		return DROP_LANDING_NOT_EDGE;
	reader->inner = LINK_BYTES + header;
	reader->inner_space = total - header;
	reader->outer_ecn = ip[1] & 3;
	reader->inner_v6 = ip[9] == IPPROTO_IPV6;
	return 0;
}

/* What stands between the outer IPv6 header and the inner packet. */
struct chain {
	size_t header; /* bytes of all outer headers */
	unsigned next;
	bool is_fragment; /* and not an atomic one */
};

static int walk_chain(const uint8_t *ip, size_t space, struct chain *chain)
{
	for (unsigned i = 0; i < EXTENSIONS_MAX && !is_tunnel(chain->next); i++) {
		const uint8_t *extension = ip + chain->header;
		if (chain->header > OUTER_MAX || chain->header + 8 > space)
			return PASS;
		size_t length = 8;
		if (chain->next == IPPROTO_FRAGMENT)
			chain->is_fragment |= (get16(extension + 2) & 0xfff9) != 0;
		else if (chain->next == IPPROTO_HOPOPTS || chain->next == IPPROTO_DSTOPTS)
			length += (size_t)8 * extension[1];
		else
			return PASS;
		chain->next = extension[0];
		chain->header += length;
	}
	return is_tunnel(chain->next) ? 0 : PASS;
}

static int read_outer_v6(struct reader *reader)
{
	const uint8_t *ip = reader->bytes + LINK_BYTES;
	size_t space = reader->length - LINK_BYTES;
	if (space < 40 || ip[0] >> 4 != 6 || !is_one_of(own, ip + 24, true))
		return PASS;
	struct chain chain = {.header = 40, .next = ip[6]};
	if (walk_chain(ip, space, &chain) == PASS)
		return PASS;
	size_t total = 40 + get16(ip + 4);
	if (total < chain.header || total > space || chain.header > OUTER_MAX)
		return DROP_LANDING_OUTER_MALFORMED;
	if (chain.is_fragment)
		return DROP_LANDING_OUTER_FRAGMENT;
	if (!is_one_of(edges, ip + 8, true))
		return DROP_LANDING_NOT_EDGE;
	reader->inner = LINK_BYTES + chain.header;
	reader->inner_space = total - chain.header;
	reader->outer_ecn = ip[1] >> 4 & 3;
	reader->inner_v6 = chain.next == IPPROTO_IPV6;
	return 0;
}

/* RFC 6040, figure 4; rows are what arrives inside, columns what arrives outside. */
static int merge_ecn(struct reader *reader, unsigned inner)
{
	enum { NOT, ECT1, ECT0, CE, GONE };
	static const uint8_t figure[4][4] = {
	    [NOT] = {[NOT] = NOT, [ECT0] = NOT, [ECT1] = NOT, [CE] = GONE},
	    [ECT0] = {[NOT] = ECT0, [ECT0] = ECT0, [ECT1] = ECT1, [CE] = CE},
	    [ECT1] = {[NOT] = ECT1, [ECT0] = ECT1, [ECT1] = ECT1, [CE] = CE},
	    [CE] = {[NOT] = CE, [ECT0] = CE, [ECT1] = CE, [CE] = CE},
	};
	reader->inner_ecn = figure[inner][reader->outer_ecn];
	return reader->inner_ecn == GONE ? DROP_LANDING_ECN : 0;
}

static int read_inner(struct reader *reader)
{
	bool v6 = reader->inner_v6;
	const uint8_t *ip = reader->bytes + reader->inner;
	size_t fixed = v6 ? 40 : 20;
	if (reader->inner_space < fixed || ip[0] >> 4 != (v6 ? 6 : 4))
		return DROP_LANDING_INNER_MALFORMED;
	size_t header = v6 ? 40 : (size_t)4 * (ip[0] & 15u);
	size_t total = v6 ? 40 + get16(ip + 4) : get16(ip + 2);
	if (header < fixed || total < header || total > reader->inner_space)
		return DROP_LANDING_INNER_MALFORMED;
	if (!landing_in_pools(ip + (v6 ? 24 : 16), v6))
		return DROP_LANDING_NOT_IN_POOL;
	if (landing_in_pools(ip + (v6 ? 8 : 12), v6))
		return DROP_LANDING_SOURCE_IN_POOL;
	return merge_ecn(reader, v6 ? ip[1] >> 4 & 3u : ip[1] & 3u);
}

static void write_frame(const struct reader *reader, struct frame *out)
{
	uint8_t *ip = out->bytes + LINK_BYTES;
	memcpy(out->bytes, reader->bytes, 12);
	put16(out->bytes + 12, reader->inner_v6 ? 0x86dd : 0x0800);
	out->length = LINK_BYTES + reader->length - reader->inner;
	memcpy(ip, reader->bytes + reader->inner, out->length - LINK_BYTES);
	if (reader->inner_v6)
		ip[1] = (uint8_t)((ip[1] & 0xcf) | reader->inner_ecn << 4);
	else if ((ip[1] & 3u) != reader->inner_ecn)
		checksum_v4_update(ip, 0, (get16(ip) & 0xfffcu) | reader->inner_ecn);
}

/* A packet for a pool that is no tunnel's; what cannot be read is left to the kernel. */
static bool is_bare(const struct reader *reader, bool v6)
{
	const uint8_t *ip = reader->bytes + LINK_BYTES;
	size_t space = reader->length - LINK_BYTES;
	return space >= (v6 ? 40u : 20u) && ip[0] >> 4 == (v6 ? 6 : 4) &&
	       landing_in_pools(ip + (v6 ? 24 : 16), v6);
}

static int read_outer(struct reader *reader)
{
	unsigned type = get16(reader->bytes + 12);
	bool v6 = type == 0x86dd;
	if ((type != 0x0800 && !v6) || memcmp(reader->bytes, landing_link, 6) != 0)
		return PASS;
	int failure = v6 ? read_outer_v6(reader) : read_outer_v4(reader);
	return failure == PASS && is_bare(reader, v6) ? DROP_LANDING_BARE : failure;
}

void landing_judge(const struct frame *frame, struct landing_reference *ret_judgement)
{
	struct reader reader = {.bytes = frame->bytes, .length = frame->length};
	unsigned type = get16(frame->bytes + 12);
	int failure = read_outer(&reader);
	if (!failure)
		failure = read_inner(&reader);
	*ret_judgement = (struct landing_reference){0};
	if (failure == PASS) {
		ret_judgement->outcome = LANDING_PASSED;
		ret_judgement->out = *frame;
	} else if (failure) {
		ret_judgement->outcome = LANDING_DROPPED;
		ret_judgement->reason = (unsigned)failure;
	} else {
		ret_judgement->outcome = LANDING_ACCEPTED;
		ret_judgement->outer_v6 = type == 0x86dd;
		ret_judgement->inner_v6 = reader.inner_v6;
		write_frame(&reader, &ret_judgement->out);
	}
}
