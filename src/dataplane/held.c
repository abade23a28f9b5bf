/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/held.h"

#include <bpf/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST_MAPS 64u /* of one program */

/* A pinned map, read-only; no memory: it is not there, or not as it should be. */
struct mapping {
	const char *name;
	size_t value_bytes;
	void *memory;
	size_t entries;
};

enum { SPANS, WORDS, DESCRIPTORS, MAPPINGS };

static void mapping_open(const struct edge_pins *pins, const char *folder, struct mapping *mapping)
{
	char path[PINS_PATH_BYTES];
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);
	pins_path(path, pins->root, folder, mapping->name);
	int fd = bpf_obj_get(path);
	if (fd < 0)
		return;
	if (bpf_obj_get_info_by_fd(fd, &info, &size) == 0 &&
	    info.value_size == mapping->value_bytes) {
		mapping->entries = info.max_entries;
		void *memory = mmap(NULL, mapping->entries * mapping->value_bytes, PROT_READ,
				    MAP_SHARED, fd, 0);
		mapping->memory = memory == MAP_FAILED ? NULL : memory;
	}
	close(fd);
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
static bool is_in_force(const struct edge_pins *pins, const struct attachments *attachments,
			const char *folder)
{
	char path[PINS_PATH_BYTES];
	struct bpf_map_info map = {0};
	uint32_t size = sizeof(map);
	bool found = false;
	pins_path(path, pins->root, folder, "addresses");
	int map_fd = bpf_obj_get(path);
	if (map_fd < 0)
		return false;
	bool known = bpf_obj_get_info_by_fd(map_fd, &map, &size) == 0;
	close(map_fd);
	for (size_t i = 0; i < attachments->count && known && !found; i++) {
		uint32_t ifindex;
		uint32_t program_id;
		pins_path(path, pins->root, "links", attachments->items[i].name);
		int link = bpf_obj_get(path);
		if (link < 0)
			continue;
		found =
		    xdp_link_read(link, &ifindex, &program_id) && program_reads(program_id, map.id);
		close(link);
	}
	return found;
}

static int add(struct held_addresses *held, const struct edge_map_descriptor *descriptor,
	       uint64_t word)
{
	/* Grows by doubling: the count is a power of two, or 0, when the array is full. */
	if ((held->count & (held->count - 1)) == 0) {
		size_t capacity = held->count ? 2 * held->count : 1;
		struct held_address *grown = realloc(held->items, capacity * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		held->items = grown;
	}
	struct held_address *added = &held->items[held->count++];
	*added = (struct held_address){.address.family = descriptor->family,
				       .refuses_new = word & EDGE_WORD_REFUSE_NEW};
	memcpy(added->address.bytes, descriptor->address, descriptor->family == IP_V4 ? 4 : 16);
	memcpy(added->version.bytes, descriptor->digest, sizeof(added->version.bytes));
	return 0;
}

/* -FL_ECORRUPT if the maps contradict themselves. */
static int read_all(struct held_addresses *held, const struct mapping maps[MAPPINGS])
{
	const uint64_t *spans = maps[SPANS].memory;
	const uint64_t *words = maps[WORDS].memory;
	const struct edge_map_descriptor *descriptors = maps[DESCRIPTORS].memory;
	for (size_t i = 0; i < maps[SPANS].entries; i++) {
		uint32_t first = EDGE_SPAN_FIRST(spans[i]);
		uint32_t length = EDGE_SPAN_LENGTH(spans[i]);
		if (length > maps[WORDS].entries || first > maps[WORDS].entries - length)
			return -FL_ECORRUPT;
		for (uint32_t slot = 0; slot < length; slot++) {
			uint64_t word = words[first + slot];
			uint32_t number = EDGE_WORD_DESCRIPTOR(word);
			if (word == 0)
				continue;
			if (number == 0 || number >= maps[DESCRIPTORS].entries ||
			    (descriptors[number].family != IP_V4 &&
			     descriptors[number].family != IP_V6))
				return -FL_ECORRUPT;
			int result = add(held, &descriptors[number], word);
			if (result < 0)
				return result;
		}
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct held_address *left = a;
	const struct held_address *right = b;
	return ip_address_compare(&left->address, &right->address);
}

static int read_folder(struct held_addresses *held, const struct edge_pins *pins,
		       const char *folder)
{
	struct mapping maps[MAPPINGS] = {
	    [SPANS] = {.name = "spans", .value_bytes = sizeof(uint64_t)},
	    [WORDS] = {.name = "addresses", .value_bytes = sizeof(uint64_t)},
	    [DESCRIPTORS] = {.name = "descriptors",
			     .value_bytes = sizeof(struct edge_map_descriptor)},
	};
	bool complete = true;
	for (size_t i = 0; i < MAPPINGS; i++) {
		mapping_open(pins, folder, &maps[i]);
		complete = complete && maps[i].memory;
	}
	int result = complete ? read_all(held, maps) : -FL_ENOTFOUND;
	for (size_t i = 0; i < MAPPINGS; i++) {
		if (maps[i].memory)
			munmap(maps[i].memory, maps[i].entries * maps[i].value_bytes);
	}
	if (result == 0 && held->count > 0)
		qsort(held->items, held->count, sizeof(*held->items), compare);
	return result;
}

int held_read(struct held_addresses *held, const struct edge_pins *pins,
	      const struct attachments *attachments)
{
	char new[EDGE_FOLDER];
	maps_new_folder(pins, new);
	const char *const folders[] = {pins->layout, new};
	held->unread = attach_is_pinned(attachments);
	for (size_t i = 0; i < 2 && held->unread; i++) {
		if (!is_in_force(pins, attachments, folders[i]))
			continue;
		int result = read_folder(held, pins, folders[i]);
		if (result == -ENOMEM)
			return result;
		if (result < 0)
			held->count = 0;
		else
			held->unread = false;
	}
	return 0;
}

const struct held_address *held_find(const struct held_addresses *held,
				     const struct ip_address *address)
{
	struct held_address key = {.address = *address};
	if (held->count == 0)
		return NULL;
	return bsearch(&key, held->items, held->count, sizeof(key), compare);
}

void held_forget(struct held_addresses *held)
{
	free(held->items);
	*held = (struct held_addresses){0};
}
