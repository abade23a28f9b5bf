/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/* Pick, the BPF half: candidates lie in ring pages, deaths in the backends' entries. */
#ifndef FAIRLEAD_BPF_EDGE_PICK_H
#define FAIRLEAD_BPF_EDGE_PICK_H

#include "abi/pick.h"
#include "bpf/edge_maps.h"

struct edge_pick {
	const struct edge_map_descriptor *descriptor;
	const struct edge_map_backend *backend; /* the one looked at last */
};

static __always_inline __u32 edge_pick_candidate(void *context, unsigned rank, __u32 index)
{
	const struct edge_pick *pick = context;
	__u32 key = rank == 0 ? pick->descriptor->first_page : pick->descriptor->second_page;
	key += index / EDGE_MAP_PAGE_ENTRIES;
	const struct edge_map_page *page = bpf_map_lookup_elem(&ring_pages, &key);
	return page ? page->backend[index % EDGE_MAP_PAGE_ENTRIES] : PICK_NONE;
}

static __always_inline int edge_pick_dead(void *context, __u32 backend)
{
	struct edge_pick *pick = context;
	pick->backend = bpf_map_lookup_elem(&backends, &backend);
	return !pick->backend || pick->backend->flags & EDGE_BACKEND_DEAD;
}

/* The backend of a flow with this hash, or NULL if all its candidates are dead. */
static __always_inline const struct edge_map_backend *
edge_pick(const struct edge_map_descriptor *descriptor, __u64 hash)
{
	struct edge_pick context = {.descriptor = descriptor};
	__u32 index = pick_index(hash, descriptor->ring_pages * EDGE_MAP_PAGE_ENTRIES);
	if (pick(index, edge_pick_candidate, edge_pick_dead, &context) == PICK_NONE)
		return NULL;
	return context.backend;
}

#endif
