/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Match: from a destination address to the word that says what it means. Direct indexing only. */
#ifndef FAIRLEAD_BPF_EDGE_MATCH_H
#define FAIRLEAD_BPF_EDGE_MATCH_H

#include "bpf/edge_maps.h"

#include <bpf/bpf_endian.h>

/* An address taken apart. */
struct match {
	__u32 span; /* index of its site's span */
	__u64 slot;
};

static __always_inline int match_pool4(__u32 address, struct match *ret)
{
	__u32 count = settings.pools4;

	for (__u32 i = 0; i < EDGE_MAP_POOLS && i < count; i++) {
		const struct edge_map_pool4 *pool = &settings.pool4[i];
		if ((address & pool->mask) != pool->prefix)
			continue;
		__u32 host = bpf_ntohl(address);
		ret->span = pool->first_span + (host >> pool->slot_bits & pool->site_mask);
		ret->slot = host & ((1u << pool->slot_bits) - 1);
		return 1;
	}
	return 0;
}

/* `address`: 16 bytes, in two halves as they lie in the packet. */
static __always_inline int match_pool6(const __u64 *address, struct match *ret)
{
	__u32 count = settings.pools6;

	for (__u32 i = 0; i < EDGE_MAP_POOLS && i < count; i++) {
		const struct edge_map_pool6 *pool = &settings.pool6[i];
		if (address[0] != pool->prefix[0] || (address[1] & pool->mask) != pool->prefix[1] ||
		    !pool->used)
			continue;
		__u64 host = bpf_be64_to_cpu(address[1]);
		ret->span = pool->first_span + (__u32)(host >> pool->slot_bits & pool->site_mask);
		ret->slot = host & (((__u64)1 << pool->slot_bits) - 1);
		return 1;
	}
	return 0;
}

/* The word of the address, or a negative enum drop_reason. */
static __always_inline int match_word(const struct match *match, __u64 *ret_word)
{
	__u32 key = match->span;
	const __u64 *span = bpf_map_lookup_elem(&spans, &key);
	__u64 held = span ? *(const volatile __u64 *)span : 0;
	if (EDGE_SPAN_LENGTH(held) == 0)
		return -DROP_NO_SITE;
	if (match->slot >= EDGE_SPAN_LENGTH(held))
		return -DROP_NO_BINDING;
	key = EDGE_SPAN_FIRST(held) + (__u32)match->slot;
	const __u64 *word = bpf_map_lookup_elem(&addresses, &key);
	__u64 meaning = word ? *(const volatile __u64 *)word : 0;
	if (EDGE_WORD_DESCRIPTOR(meaning) == 0)
		return -DROP_NO_BINDING;
	*ret_word = meaning;
	return 0;
}

/* The version's port range that the packet falls in, or NULL. */
static __always_inline const struct edge_map_port *
match_port(const struct edge_map_descriptor *descriptor, __u8 protocol, __u16 port)
{
	__u32 count = descriptor->port_count;

	for (__u32 i = 0; i < EDGE_MAP_PORTS && i < count; i++) {
		const struct edge_map_port *range = &descriptor->ports[i];
		if (range->protocol == protocol && range->low <= port && port <= range->high)
			return range;
	}
	return NULL;
}

#endif
