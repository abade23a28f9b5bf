/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an earlier process published, as far as the program that is attached still forwards by it.
 * A node whose own state is older than that leaves it alone, and has to know what it holds.
 *
 * Nothing but spans, words and descriptors of the pinned maps is read, and nothing is written. Maps
 * of another layout cannot be read; neither are maps believed that no attached program reads, which
 * a process leaves that ended while it attached.
 */
#include "dataplane/internal.h"

#include <bpf/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST_MAPS 64u /* of one program */

struct mapping {
	const void *memory; /* NULL: not there, or not as it should be */
	size_t entries;
	size_t bytes;
};

struct mappings {
	struct mapping spans, words, descriptors;
};

static void mapping_open(const struct edge *edge, const char *folder, const char *map,
			 size_t value_bytes, struct mapping *mapping)
{
	char path[EDGE_PATH];
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);
	maps_path(path, edge->pin_root, folder, map);
	int fd = bpf_obj_get(path);
	if (fd < 0)
		return;
	if (bpf_obj_get_info_by_fd(fd, &info, &size) == 0 && info.value_size == value_bytes) {
		mapping->entries = info.max_entries;
		mapping->bytes = info.max_entries * value_bytes;
		void *memory = mmap(NULL, mapping->bytes, PROT_READ, MAP_SHARED, fd, 0);
		mapping->memory = memory == MAP_FAILED ? NULL : memory;
	}
	close(fd);
}

static void mapping_close(const struct mapping *mapping)
{
	if (mapping->memory)
		munmap((void *)(uintptr_t)mapping->memory, mapping->bytes);
}

static bool program_reads(uint32_t program_id, uint32_t map_id)
{
	uint32_t ids[MOST_MAPS];
	struct bpf_prog_info info = {.nr_map_ids = MOST_MAPS, .map_ids = (uint64_t)(uintptr_t)ids};
	uint32_t size = sizeof(info);
	bool reads = false;
	int program_fd = bpf_prog_get_fd_by_id(program_id);
	if (program_fd < 0)
		return false;
	if (bpf_obj_get_info_by_fd(program_fd, &info, &size) == 0) {
		for (uint32_t i = 0; i < info.nr_map_ids && i < MOST_MAPS; i++)
			reads = reads || ids[i] == map_id;
	}
	close(program_fd);
	return reads;
}

/* Whether the program on one of the interfaces reads the words that are pinned in `folder`. */
static bool is_in_force(const struct edge *edge, const char *folder)
{
	char path[EDGE_PATH];
	struct bpf_map_info map = {0};
	uint32_t size = sizeof(map);
	bool found = false;
	maps_path(path, edge->pin_root, folder, "addresses");
	int map_fd = bpf_obj_get(path);
	if (map_fd < 0)
		return false;
	bool known = bpf_obj_get_info_by_fd(map_fd, &map, &size) == 0;
	close(map_fd);
	for (size_t i = 0; i < edge->interface_count && known && !found; i++) {
		struct bpf_link_info link = {0};
		uint32_t link_size = sizeof(link);
		maps_path(path, edge->pin_root, "links", edge->interfaces[i].name);
		int link_fd = bpf_obj_get(path);
		if (link_fd < 0)
			continue;
		found = bpf_obj_get_info_by_fd(link_fd, &link, &link_size) == 0 &&
			program_reads(link.prog_id, map.id);
		close(link_fd);
	}
	return found;
}

static int add(struct edge *edge, const struct edge_map_descriptor *descriptor, uint64_t word)
{
	/* Grows by doubling: the count is a power of two, or 0, when the array is full. */
	if ((edge->held_count & (edge->held_count - 1)) == 0) {
		size_t capacity = edge->held_count ? 2 * edge->held_count : 1;
		struct held *grown = realloc(edge->held, capacity * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		edge->held = grown;
	}
	struct held *held = &edge->held[edge->held_count++];
	*held = (struct held){.address.family = descriptor->family,
			      .refuses_new = word & EDGE_WORD_REFUSE_NEW};
	memcpy(held->address.bytes, descriptor->address, descriptor->family == IP_V4 ? 4 : 16);
	memcpy(held->version.bytes, descriptor->digest, sizeof(held->version.bytes));
	return 0;
}

/* -FL_ECORRUPT if the maps contradict themselves. */
static int read_all(struct edge *edge, const struct mappings *maps)
{
	const uint64_t *spans = maps->spans.memory;
	const uint64_t *words = maps->words.memory;
	const struct edge_map_descriptor *descriptors = maps->descriptors.memory;
	for (size_t i = 0; i < maps->spans.entries; i++) {
		uint32_t first = EDGE_SPAN_FIRST(spans[i]);
		uint32_t length = EDGE_SPAN_LENGTH(spans[i]);
		if (length > maps->words.entries || first > maps->words.entries - length)
			return -FL_ECORRUPT;
		for (uint32_t slot = 0; slot < length; slot++) {
			uint64_t word = words[first + slot];
			uint32_t number = EDGE_WORD_DESCRIPTOR(word);
			if (word == 0)
				continue;
			if (number == 0 || number >= maps->descriptors.entries ||
			    (descriptors[number].family != IP_V4 &&
			     descriptors[number].family != IP_V6))
				return -FL_ECORRUPT;
			int result = add(edge, &descriptors[number], word);
			if (result < 0)
				return result;
		}
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct held *left = a;
	const struct held *right = b;
	return ip_address_compare(&left->address, &right->address);
}

static int read_folder(struct edge *edge, const char *folder)
{
	struct mappings maps = {0};
	mapping_open(edge, folder, "spans", sizeof(uint64_t), &maps.spans);
	mapping_open(edge, folder, "addresses", sizeof(uint64_t), &maps.words);
	mapping_open(edge, folder, "descriptors", sizeof(struct edge_map_descriptor),
		     &maps.descriptors);
	int result = -FL_ENOTFOUND;
	if (maps.spans.memory && maps.words.memory && maps.descriptors.memory)
		result = read_all(edge, &maps);
	mapping_close(&maps.spans);
	mapping_close(&maps.words);
	mapping_close(&maps.descriptors);
	if (result == 0 && edge->held_count > 0)
		qsort(edge->held, edge->held_count, sizeof(*edge->held), compare);
	return result;
}

int held_read(struct edge *edge, struct error *err)
{
	char new[EDGE_FOLDER];
	maps_new_folder(edge, new);
	const char *const folders[] = {edge->layout, new};
	edge->held_unread = attach_is_pinned(edge);
	for (size_t i = 0; i < 2 && edge->held_unread; i++) {
		if (!is_in_force(edge, folders[i]))
			continue;
		int result = read_folder(edge, folders[i]);
		if (result == -ENOMEM)
			return out_of_memory(err);
		if (result < 0)
			edge->held_count = 0;
		else
			edge->held_unread = false;
	}
	return 0;
}

const struct held *held_find(const struct edge *edge, const struct ip_address *address)
{
	struct held key = {.address = *address};
	if (edge->held_count == 0)
		return NULL;
	return bsearch(&key, edge->held, edge->held_count, sizeof(key), compare);
}

void held_forget(struct edge *edge)
{
	free(edge->held);
	edge->held = NULL;
	edge->held_count = 0;
	edge->held_unread = false;
}
