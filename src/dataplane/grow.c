/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growth: the maps whose size follows the number of versions begin small, and a larger one takes
 * the place of one that is full. Every entry keeps its number, so that all else that is published
 * stays as it is:
 *
 *   1. load the program once more, with the same maps but for the larger ones;
 *   2. copy the entries, and pin the larger maps under names of their own;
 *   3. switch each interface to the new program, in one step each, all of them or none;
 *   4. rename the pins over the old ones: the next process finds the larger maps.
 *
 * Nothing is published in between, so that either program sends every packet the same way, and a
 * process that ends at any point leaves pins by which the next one is right: before step 4 the old
 * maps, which hold the same, after it the new ones. Only counters are brought over after step 3;
 * what a busy address counts within the microsecond in which its entry is moved is lost.
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

#define GROWN "_grown" /* after the map's name: the pin of a larger one until step 4 */

static const char *const growing[] = {"ring_pages", "descriptors", "counters"};
#define GROWING (sizeof(growing) / sizeof(growing[0]))

struct growth {
	struct edge *edge;
	struct edge_bpf *skeleton; /* owned until it takes the old one's place */
	struct edge_programs programs; /* likewise */
	struct edge_view view; /* likewise */
	uint32_t old_pages, old_descriptors; /* entries, as they are … */
	uint32_t pages, descriptors; /* … and will be */
	struct error *err;
};

static bool grows_pages(const struct growth *growth)
{
	return growth->pages > growth->old_pages;
}

static bool grows_descriptors(const struct growth *growth)
{
	return growth->descriptors > growth->old_descriptors;
}

/* Whether this map, which is one that grows, grows now. */
static bool grows(const struct growth *growth, const char *map)
{
	return strcmp(map, "ring_pages") == 0 ? grows_pages(growth) : grows_descriptors(growth);
}

bool grow_is_for(const char *map)
{
	for (size_t i = 0; i < GROWING; i++) {
		if (strcmp(growing[i], map) == 0)
			return true;
	}
	return false;
}

static void grown_path(const struct edge *edge, const char *map, char path[EDGE_PATH])
{
	char leaf[64];
	snprintf(leaf, sizeof(leaf), "%s" GROWN, map);
	maps_path(path, edge->pin_root, edge->layout, leaf);
}

static void remove_unfinished(const struct edge *edge)
{
	for (size_t i = 0; i < GROWING; i++) {
		char path[EDGE_PATH];
		grown_path(edge, growing[i], path);
		(void)unlink(path); /* mostly it is not there */
	}
}

static int take_size(const struct edge *edge, const struct edge_bpf *skeleton, const char *name,
		     struct error *err)
{
	char path[EDGE_PATH];
	struct bpf_map *map = bpf_object__find_map_by_name(skeleton->obj, name);
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);
	ASSERT(map);
	maps_path(path, edge->pin_root, edge->layout, name);
	int fd = bpf_obj_get(path);
	if (fd < 0 && errno == ENOENT)
		return 0; /* loading makes it, at its first size */
	if (fd < 0)
		return error_set(err, -errno, "the pinned map '%s' cannot be opened: %s", path,
				 error_text(-errno));
	int result = bpf_obj_get_info_by_fd(fd, &info, &size) < 0 ? -errno : 0;
	close(fd);
	if (result == 0)
		result = bpf_map__set_max_entries(map, info.max_entries);
	return result == 0 ? 0
			   : error_set(err, result, "the size of map '%s' cannot be read: %s", name,
				       error_text(result));
}

int grow_take_over(const struct edge *edge, const struct edge_bpf *skeleton, struct error *err)
{
	int result = 0;
	remove_unfinished(edge);
	for (size_t i = 0; i < GROWING && result == 0; i++)
		result = take_size(edge, skeleton, growing[i], err);
	return result;
}

/* A process that ended between two renames left one of the two larger. */
static uint32_t descriptor_count(const struct edge_bpf *skeleton)
{
	uint32_t descriptors = bpf_map__max_entries(skeleton->maps.descriptors);
	uint32_t counters = bpf_map__max_entries(skeleton->maps.counters);
	return descriptors < counters ? descriptors : counters;
}

/* Room to remember the sums of so many pages and descriptors. */
static int grow_sums(struct edge *edge, uint32_t pages, uint32_t descriptors)
{
	uint64_t *page_sums = realloc(edge->page_sums, pages * sizeof(*page_sums));
	if (!page_sums)
		return -ENOMEM;
	edge->page_sums = page_sums;
	uint64_t *descriptor_sums =
	    realloc(edge->descriptor_sums, descriptors * sizeof(*descriptor_sums));
	if (!descriptor_sums)
		return -ENOMEM;
	edge->descriptor_sums = descriptor_sums;
	return 0;
}

int grow_init_tables(struct edge *edge, struct error *err)
{
	uint32_t pages = bpf_map__max_entries(edge->skeleton->maps.ring_pages);
	uint32_t descriptors = descriptor_count(edge->skeleton);
	int result = slots_init(&edge->pages, 0, pages);
	if (result == 0)
		result = slots_init(&edge->descriptors, 1, descriptors);
	if (result == 0)
		result = grow_sums(edge, pages, descriptors);
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

/* What does not grow is the map that is there, whether its pin is there or not. */
static int reuse(const struct growth *growth, struct bpf_map *map)
{
	const struct bpf_map *present =
	    bpf_object__find_map_by_name(growth->edge->skeleton->obj, bpf_map__name(map));
	ASSERT(present);
	return bpf_map__reuse_fd(map, bpf_map__fd(present));
}

static int prepare_maps(struct growth *growth)
{
	struct bpf_map *map;
	int result = 0;
	remove_unfinished(growth->edge);
	bpf_object__for_each_map(map, growth->skeleton->obj)
	{
		bool is_pages = map == growth->skeleton->maps.ring_pages;
		if (result < 0)
			break;
		if (!grow_is_for(bpf_map__name(map)) || !grows(growth, bpf_map__name(map)))
			result = reuse(growth, map);
		else
			result = bpf_map__set_max_entries(map, is_pages ? growth->pages
									: growth->descriptors);
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
		result = edge_programs_take(growth->skeleton, &growth->programs, growth->err);
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

static int pin(struct growth *growth)
{
	for (size_t i = 0; i < GROWING; i++) {
		char path[EDGE_PATH];
		if (!grows(growth, growing[i]))
			continue;
		grown_path(growth->edge, growing[i], path);
		int fd = bpf_object__find_map_fd_by_name(growth->skeleton->obj, growing[i]);
		if (bpf_obj_pin(fd, path) < 0)
			return error_set(growth->err, -errno,
					 "the larger map '%s' cannot be pinned: %s", growing[i],
					 error_text(-errno));
	}
	return 0;
}

/*
 * From the first rename on there is no way back: the next process would mix what is in force with
 * what was. A pin that cannot be renamed then, because somebody removed it, is made again.
 */
static int rename_pins(struct growth *growth)
{
	const struct edge *edge = growth->edge;
	bool begun = false;
	for (size_t i = 0; i < GROWING; i++) {
		char from[EDGE_PATH];
		char to[EDGE_PATH];
		if (!grows(growth, growing[i]))
			continue;
		grown_path(edge, growing[i], from);
		maps_path(to, edge->pin_root, edge->layout, growing[i]);
		if (rename(from, to) < 0 && !begun)
			return error_set(growth->err, -errno,
					 "the pin of map '%s' cannot be replaced: %s", growing[i],
					 error_text(-errno));
		if (access(from, F_OK) == 0 || access(to, F_OK) < 0) {
			(void)unlink(to);
			(void)bpf_obj_pin(
			    bpf_object__find_map_fd_by_name(growth->skeleton->obj, growing[i]), to);
		}
		begun = true;
	}
	return 0;
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
static int move_counters(struct growth *growth)
{
	const struct edge *edge = growth->edge;
	size_t cpus = (size_t)libbpf_num_possible_cpus();
	struct edge_map_counters *old = calloc(2 * cpus, sizeof(*old));
	if (!old)
		return out_of_memory(growth->err);
	struct edge_map_counters *new = old + cpus;
	for (uint32_t i = 1; i < growth->old_descriptors; i++) {
		if (!slots_used(&edge->descriptors, i) ||
		    bpf_map_lookup_elem(edge->view.counters_fd, &i, old) < 0 ||
		    bpf_map_lookup_elem(growth->view.counters_fd, &i, new) < 0)
			continue;
		add_counts(old, new, cpus);
		(void)bpf_map_update_elem(growth->view.counters_fd, &i, old, BPF_EXIST);
	}
	free(old);
	return 0;
}

static void take_place(struct growth *growth)
{
	struct edge *edge = growth->edge;
	struct error unpinned;
	maps_unview(edge->skeleton, &edge->view);
	edge_bpf__destroy(edge->skeleton);
	edge_programs_close(&edge->programs);
	edge->skeleton = growth->skeleton;
	edge->programs = growth->programs;
	edge->view = growth->view;
	growth->skeleton = NULL;
	edge_programs_init(&growth->programs);
	/* The next process takes the pinned programs for what they are, and loads its own if these
	 * do not read the larger maps. */
	int result = edge_programs_pin(edge, &unpinned);
	(void)result;
}

static int replace(struct growth *growth)
{
	struct edge *edge = growth->edge;
	int program_fd = growth->programs.fds[EDGE_PROGRAM_PACKETS];
	int result = attach_switch(edge, program_fd, growth->err);
	if (result < 0)
		return result;
	if (grows_descriptors(growth))
		result = move_counters(growth);
	if (result == 0)
		result = rename_pins(growth);
	if (result < 0) {
		struct error worse;
		if (attach_switch(edge, edge_program_fd(edge), &worse) < 0)
			error_prefix(growth->err, "%s; before that", worse.text);
		return result;
	}
	take_place(growth);
	return 0;
}

static void give_up(struct growth *growth)
{
	if (growth->skeleton) {
		maps_unview(growth->skeleton, &growth->view);
		edge_bpf__destroy(growth->skeleton);
	}
	edge_programs_close(&growth->programs);
	remove_unfinished(growth->edge);
}

/* Room in memory comes first, since nothing may fail after the switch. */
static int make(struct growth *growth)
{
	struct edge *edge = growth->edge;
	int result = load(growth);
	if (result == 0)
		result = copy(growth);
	if (result == 0)
		result = pin(growth);
	if (result == 0 && (slots_grow(&edge->pages, growth->pages) < 0 ||
			    slots_grow(&edge->descriptors, growth->descriptors) < 0 ||
			    grow_sums(edge, growth->pages, growth->descriptors) < 0))
		result = out_of_memory(growth->err);
	if (result == 0)
		result = replace(growth);
	if (result < 0) {
		give_up(growth);
		edge->pages.count = growth->old_pages;
		edge->descriptors.count = growth->old_descriptors;
	}
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
	edge_programs_init(&growth.programs);
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
