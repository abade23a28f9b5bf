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
#include "dataplane/skeleton.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const growing[] = {"ring_pages", "descriptors", "counters"};
#define GROWING (sizeof(growing) / sizeof(growing[0]))

struct growth {
	struct edge *edge;
	struct edge_bpf *skeleton; /* owned until it takes the old one's place */
	struct edge_view view; /* likewise */
	struct edge_map_counters *counts; /* scratch for two entries of all CPUs; owned */
	uint32_t old_pages, old_descriptors; /* entries before */
	uint32_t pages, descriptors; /* entries after */
	struct error *err;
};

bool grow_is_for(const char *map)
{
	for (size_t i = 0; i < GROWING; i++) {
		if (strcmp(growing[i], map) == 0)
			return true;
	}
	return false;
}

static bool grows_pages(const struct growth *growth)
{
	return growth->pages > growth->old_pages;
}

static bool grows_descriptors(const struct growth *growth)
{
	return growth->descriptors > growth->old_descriptors;
}

static bool grows(const struct growth *growth, const char *map)
{
	if (strcmp(map, "ring_pages") == 0)
		return grows_pages(growth);
	return grow_is_for(map) && grows_descriptors(growth);
}

int grow_begin(struct edge *edge, const struct edge_bpf *skeleton, struct error *err)
{
	struct bpf_map *const sized[] = {skeleton->maps.ring_pages, skeleton->maps.descriptors};
	for (size_t i = 0; i < 2; i++) {
		char path[EDGE_PATH];
		struct bpf_map_info info = {0};
		uint32_t size = sizeof(info);
		maps_path(path, edge->pin_root, edge->layout, bpf_map__name(sized[i]));
		int fd = bpf_obj_get(path);
		if (fd < 0)
			continue;
		int result = bpf_obj_get_info_by_fd(fd, &info, &size) < 0 ? -errno : 0;
		close(fd);
		if (result == 0)
			result = bpf_map__set_max_entries(sized[i], info.max_entries);
		if (result < 0)
			return error_set(err, result, "the size of map '%s' cannot be taken: %s",
					 path, error_text(result));
	}
	uint32_t descriptors = bpf_map__max_entries(skeleton->maps.descriptors);
	int result = bpf_map__set_max_entries(skeleton->maps.counters, descriptors);
	if (result == 0)
		result = slots_init(&edge->descriptors, 1, descriptors);
	if (result == 0)
		result =
		    slots_init(&edge->pages, 0, bpf_map__max_entries(skeleton->maps.ring_pages));
	return result < 0 ? out_of_memory(err) : 0;
}

/* The least size that holds `least` entries: steps of an eighth, but no less than `step`. */
static uint32_t size_for(uint64_t least, uint32_t step, uint32_t most)
{
	uint64_t unit = step;
	while (unit * 16 <= least)
		unit *= 2;
	uint64_t size = (least + unit - 1) / unit * unit;
	return size < most ? (uint32_t)size : most;
}

/* What does not grow is the map that is there. */
static int prepare_maps(struct growth *growth)
{
	struct bpf_map *map;
	int result = 0;
	bpf_object__for_each_map(map, growth->skeleton->obj)
	{
		const char *name = bpf_map__name(map);
		const struct bpf_map *present =
		    bpf_object__find_map_by_name(growth->edge->skeleton->obj, name);
		bool is_pages = map == growth->skeleton->maps.ring_pages;
		if (result < 0)
			break;
		ASSERT(present);
		if (grows(growth, name))
			result = bpf_map__set_max_entries(map, is_pages ? growth->pages
									: growth->descriptors);
		else
			result = bpf_map__reuse_fd(map, bpf_map__fd(present));
	}
	return result == 0 ? 0
			   : error_set(growth->err, result, "a map cannot be prepared: %s",
				       error_text(result));
}

static int load(struct growth *growth)
{
	growth->skeleton = edge_bpf__open();
	if (!growth->skeleton)
		return error_set(growth->err, -errno, "the edge program cannot be opened: %s",
				 error_text(-errno));
	int result = prepare_maps(growth);
	if (result == 0)
		result = maps_load(growth->skeleton, growth->err);
	if (result == 0)
		result = maps_view(growth->skeleton, &growth->view, growth->err);
	return result < 0 ? error_prefix(growth->err, "the edge's maps cannot grow") : 0;
}

static int copy_map(const struct bpf_map *from, const struct bpf_map *to, size_t bytes,
		    struct error *err)
{
	void *source = NULL;
	void *target = NULL;
	int result = maps_view_one(from, &source, err);
	if (result == 0)
		result = maps_view_one(to, &target, err);
	if (result == 0)
		memcpy(target, source, bytes);
	maps_unview_one(to, target);
	maps_unview_one(from, source);
	return result;
}

/* What refers to an entry is the same in both maps, so every entry goes where it was. */
static int copy(struct growth *growth)
{
	const struct edge_bpf *old = growth->edge->skeleton;
	const struct edge_bpf *new = growth->skeleton;
	int result = 0;
	if (grows_pages(growth))
		result = copy_map(old->maps.ring_pages, new->maps.ring_pages,
				  growth->old_pages * sizeof(struct edge_map_page), growth->err);
	if (result == 0 && grows_descriptors(growth))
		result = copy_map(old->maps.descriptors, new->maps.descriptors,
				  growth->old_descriptors * sizeof(struct edge_map_descriptor),
				  growth->err);
	return result;
}

static void add_counts(struct edge_map_counters *sum, const struct edge_map_counters *more,
		       size_t cpus)
{
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)more;
	for (size_t i = 0; i < cpus * sizeof(*sum) / sizeof(*to); i++)
		to[i] += from[i];
}

/* What was counted in the old map goes on top of what the new one has counted since the switch. */
static void move_counters(struct growth *growth)
{
	const struct edge *edge = growth->edge;
	size_t cpus = (size_t)libbpf_num_possible_cpus();
	struct edge_map_counters *old = growth->counts;
	struct edge_map_counters *new = growth->counts + cpus;
	for (uint32_t i = 1; i < growth->old_descriptors; i++) {
		if (!slots_used(&edge->descriptors, i) ||
		    bpf_map_lookup_elem(edge->view.counters_fd, &i, old) < 0 ||
		    bpf_map_lookup_elem(growth->view.counters_fd, &i, new) < 0)
			continue;
		add_counts(old, new, cpus);
		(void)bpf_map_update_elem(growth->view.counters_fd, &i, old, BPF_EXIST);
	}
}

/* A pin that cannot be made now is missed by edge_check(), which says so. */
static void exchange_pins(const struct growth *growth)
{
	for (size_t i = 0; i < GROWING; i++) {
		char path[EDGE_PATH];
		if (!grows(growth, growing[i]))
			continue;
		maps_path(path, growth->edge->pin_root, growth->edge->layout, growing[i]);
		(void)unlink(path);
		(void)bpf_obj_pin(
		    bpf_object__find_map_fd_by_name(growth->skeleton->obj, growing[i]), path);
	}
}

static void take_place(struct growth *growth)
{
	struct edge *edge = growth->edge;
	if (grows_descriptors(growth))
		move_counters(growth);
	if (edge->pinned)
		exchange_pins(growth);
	maps_unview(edge->skeleton, &edge->view);
	edge_bpf__destroy(edge->skeleton);
	edge->skeleton = growth->skeleton;
	edge->view = growth->view;
}

/* Room in memory comes first, since nothing may fail after the switch. */
static int make(struct growth *growth)
{
	struct edge *edge = growth->edge;
	growth->counts = calloc(2 * (size_t)libbpf_num_possible_cpus(), sizeof(*growth->counts));
	int result = growth->counts ? load(growth) : out_of_memory(growth->err);
	if (result == 0)
		result = copy(growth);
	if (result == 0 && (slots_grow(&edge->pages, growth->pages) < 0 ||
			    slots_grow(&edge->descriptors, growth->descriptors) < 0))
		result = out_of_memory(growth->err);
	if (result == 0)
		result =
		    attach_switch(edge, bpf_program__fd(growth->skeleton->progs.edge), growth->err);
	if (result == 0) {
		take_place(growth);
	} else {
		if (growth->skeleton) {
			maps_unview(growth->skeleton, &growth->view);
			edge_bpf__destroy(growth->skeleton);
		}
		edge->pages.count = growth->old_pages;
		edge->descriptors.count = growth->old_descriptors;
	}
	free(growth->counts);
	return result;
}

int grow_by(struct edge *edge, uint32_t pages, uint32_t descriptors, struct error *err)
{
	struct growth growth = {
	    .edge = edge,
	    .old_pages = edge->pages.count,
	    .old_descriptors = edge->descriptors.count,
	    .err = err,
	};
	if (pages)
		growth.pages =
		    size_for((uint64_t)growth.old_pages + pages, EDGE_MAP_PAGES, edge->most_pages);
	if (descriptors)
		growth.descriptors = size_for((uint64_t)growth.old_descriptors + descriptors,
					      EDGE_MAP_DESCRIPTORS, edge->most_descriptors);
	if (growth.pages < growth.old_pages)
		growth.pages = growth.old_pages;
	if (growth.descriptors < growth.old_descriptors)
		growth.descriptors = growth.old_descriptors;
	return grows_pages(&growth) || grows_descriptors(&growth) ? make(&growth) : 0;
}
