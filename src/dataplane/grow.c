/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growth: the maps whose size follows the number of versions begin small, and a larger one takes
 * the place of one that is full. Every entry keeps its number, so that all else that is published
 * stays as it is:
 *
 *   1. load the program once more, with the same maps but for the larger ones;
 *   2. copy the entries;
 *   3. switch each interface to the new program, in one step each, all of them or none;
 *   4. pin the larger maps in the place of the old ones.
 *
 * Nothing is published in between, so that either program sends every packet the same way, and what
 * is pinned says the same at every step. Only counters are brought over after step 3; what a busy
 * address counts within the microsecond in which its entry is moved is lost.
 *
 * Sizes go up by an eighth, but at least by the first size: little is held in reserve, and the
 * program, which the kernel has to verify again, is seldom loaded.
 */
#include "dataplane/internal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>

/* The least size that holds `least` entries: steps of an eighth, but no less than `step`. */
static uint32_t size_for(uint64_t least, uint32_t step, uint32_t most)
{
	uint64_t unit = step;
	while (unit * 16 <= least)
		unit *= 2;
	uint64_t size = (least + unit - 1) / unit * unit;
	return size < most ? (uint32_t)size : most;
}

/* What was counted in the old map goes on top of what the new one has counted since the switch.
 * `counts` has room for two entries of all CPUs. */
static void move_counters(const struct edge *edge, const struct edge_maps *larger,
			  struct edge_map_counters *counts)
{
	size_t cpus = (size_t)libbpf_num_possible_cpus();
	uint64_t *old = (uint64_t *)counts;
	uint64_t *new = (uint64_t *)(counts + cpus);
	for (uint32_t i = 1; i < edge->maps.descriptor_count; i++) {
		if (!slots_used(&edge->descriptors, i) ||
		    bpf_map_lookup_elem(edge->maps.counters_fd, &i, old) < 0 ||
		    bpf_map_lookup_elem(larger->counters_fd, &i, new) < 0)
			continue;
		for (size_t j = 0; j < cpus * sizeof(*counts) / sizeof(*old); j++)
			old[j] += new[j];
		(void)bpf_map_update_elem(larger->counters_fd, &i, old, BPF_EXIST);
	}
}

/* Room in memory comes first, since nothing may fail after the switch. */
static int grow(struct edge *edge, uint32_t pages, uint32_t descriptors, struct error *err)
{
	struct edge_maps *present = &edge->maps;
	struct edge_maps larger;
	struct edge_map_counters *counts =
	    calloc(2 * (size_t)libbpf_num_possible_cpus(), sizeof(*counts));
	if (!counts)
		return out_of_memory(err);
	int result = maps_open_larger(present, pages, descriptors, &larger, err);
	if (result < 0) {
		error_prefix(err, "the edge's maps cannot grow");
		goto free_counts;
	}
	if (slots_grow(&edge->pages, pages) < 0 || slots_grow(&edge->descriptors, descriptors) < 0)
		result = out_of_memory(err);
	if (result == 0)
		result = attach_switch(&edge->attachments, maps_program(&larger),
				       maps_program(present), err);
	if (result < 0) {
		edge->pages.count = present->page_count;
		edge->descriptors.count = present->descriptor_count;
		maps_close(&larger);
		goto free_counts;
	}
	/* Until then what was passed on meets the smaller maps, which say the same. */
	result = maps_aim(&larger, err);
	if (larger.descriptor_count > present->descriptor_count)
		move_counters(edge, &larger, counts);
	if (edge->pins.in_place)
		maps_exchange_pins(&larger, &edge->pins, present);
	maps_close(present);
	*present = larger;
free_counts:
	free(counts);
	return result;
}

int grow_by(struct edge *edge, uint32_t pages, uint32_t descriptors, struct error *err)
{
	uint32_t old_pages = edge->maps.page_count;
	uint32_t old_descriptors = edge->maps.descriptor_count;
	uint32_t new_pages = old_pages;
	uint32_t new_descriptors = old_descriptors;
	if (pages)
		new_pages = size_for((uint64_t)old_pages + pages, EDGE_MAP_PAGES, edge->most_pages);
	if (descriptors)
		new_descriptors = size_for((uint64_t)old_descriptors + descriptors,
					   EDGE_MAP_DESCRIPTORS, edge->most_descriptors);
	/* An earlier process's limits may have been larger. */
	if (new_pages < old_pages)
		new_pages = old_pages;
	if (new_descriptors < old_descriptors)
		new_descriptors = old_descriptors;
	return new_pages > old_pages || new_descriptors > old_descriptors
		   ? grow(edge, new_pages, new_descriptors, err)
		   : 0;
}
