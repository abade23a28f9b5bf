/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * The edge's maps. All are plain arrays that user space maps into its memory, but for the counters,
 * which are per CPU, the next stage, and what only packets ask for that other edges passed on.
 * Mapped arrays start on a page, so that records lie on whole cache lines.
 */
#ifndef FAIRLEAD_BPF_EDGE_MAPS_H
#define FAIRLEAD_BPF_EDGE_MAPS_H

#include "abi/edge.h"

#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>

#define EDGE_MAP(name, map_type, flags, entries, value_type)                                       \
	struct {                                                                                   \
		__uint(type, map_type);                                                            \
		__uint(map_flags, flags);                                                          \
		__uint(max_entries, entries);                                                      \
		__type(key, __u32);                                                                \
		__type(value, value_type);                                                         \
	} name SEC(".maps")

/* A global rather than an array: its fields are then at constant addresses. */
struct edge_map_settings settings SEC(".data.settings");

EDGE_MAP(spans, BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, EDGE_MAP_SPANS, __u64);
EDGE_MAP(addresses, BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, EDGE_MAP_ADDRESSES, __u64);
EDGE_MAP(descriptors, BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, EDGE_MAP_DESCRIPTORS,
	 struct edge_map_descriptor);
EDGE_MAP(ring_pages, BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, EDGE_MAP_PAGES, struct edge_map_page);
EDGE_MAP(backends, BPF_MAP_TYPE_ARRAY, BPF_F_MMAPABLE, EDGE_MAP_BACKENDS, struct edge_map_backend);
EDGE_MAP(counters, BPF_MAP_TYPE_PERCPU_ARRAY, 0, EDGE_MAP_DESCRIPTORS, struct edge_map_counters);
EDGE_MAP(drops, BPF_MAP_TYPE_PERCPU_ARRAY, 0, EDGE_MAP_DROPS, __u64);

EDGE_MAP(passes_of_cpu, BPF_MAP_TYPE_PERCPU_ARRAY, 0, 1, struct edge_map_passes);

/* This program itself, for the packet in what was passed on. */
EDGE_MAP(again, BPF_MAP_TYPE_PROG_ARRAY, 0, 1, __u32);

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, EDGE_PASS_FENCE);
	__type(key, struct edge_map_fence_key);
	__type(value, __u32);
} fence SEC(".maps");

/* The program of the next stage, pinned apart from all others: it stays when these are replaced. */
EDGE_MAP(stages, BPF_MAP_TYPE_PROG_ARRAY, 0, 1, __u32);

#endif
