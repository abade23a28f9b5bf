/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Pick, the BPF half: from a flow to its hash, and from the hash by the ring to the backend. */
#ifndef FAIRLEAD_BPF_EDGE_PICK_H
#define FAIRLEAD_BPF_EDGE_PICK_H

#include "abi/pick.h"
#include "bpf/edge_maps.h"

#include <linux/ip.h>
#include <linux/ipv6.h>

/* Algorithm 1 is for versions that were made before algorithm 2 was there. Its code stays out of
 * line, where it takes no registers from the way that nearly every packet takes. */
static __noinline __u64 edge_hash4_old(const struct edge_map_descriptor *descriptor,
				       const struct iphdr *ip, const void *ports, __u8 protocol)
{
	return pick_hash(descriptor->seed, &ip->saddr, 1, ports, protocol);
}

static __noinline __u64 edge_hash6_old(const struct edge_map_descriptor *descriptor,
				       const struct ipv6hdr *ip, const void *ports, __u8 protocol)
{
	return pick_hash(descriptor->seed, &ip->saddr, 4, ports, protocol);
}

/* The backend of a flow with this hash; NULL if the entry names none. */
static __always_inline const struct edge_map_backend *
edge_pick(const struct edge_map_descriptor *descriptor, __u64 hash)
{
	__u32 index = pick_index(hash, descriptor->ring_pages * EDGE_MAP_PAGE_ENTRIES);
	__u32 key = descriptor->first_page + index / EDGE_MAP_PAGE_ENTRIES;
	const struct edge_map_page *page = bpf_map_lookup_elem(&ring_pages, &key);
	if (!page)
		return NULL;
	/* An aligned 16-bit load, against the stores of a ring that is refilled. */
	key = *(const volatile __u16 *)&page->backend[index % EDGE_MAP_PAGE_ENTRIES];
	return key == PICK_NONE ? NULL : bpf_map_lookup_elem(&backends, &key);
}

#endif
