/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/maps.h"

#include "base/digest.h"
#include "base/file.h"
#include "base/lock.h"
#include "dataplane/skeleton.h"
#include "kernel/load.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEW "_new" /* after the layout's digest: a set of maps that is not in force yet */
#define LOCK_NAME "this pin folder of an edge"

int maps_lock(struct edge_pins *pins, struct error *err)
{
	return pins_lock_root(pins->root, LOCK_NAME, &pins->lock, err);
}

/* --- memory --- */

static size_t memory_bytes(const struct bpf_map *map)
{
	return (((size_t)bpf_map__value_size(map) + 7) & ~(size_t)7) * bpf_map__max_entries(map);
}

static int map_memory(const struct bpf_map *map, void **ret_memory, struct error *err)
{
	void *memory =
	    mmap(NULL, memory_bytes(map), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
	if (memory == MAP_FAILED)
		return error_set(err, -errno, "map '%s' cannot be mapped into memory: %s",
				 bpf_map__name(map), error_text(-errno));
	*ret_memory = memory;
	return 0;
}

struct viewed {
	struct bpf_map *map;
	void **memory;
};

#define VIEWED 5

static void list_viewed(struct edge_maps *maps, struct viewed viewed[VIEWED])
{
	const struct edge_bpf *skeleton = maps->skeleton;
	const struct viewed all[VIEWED] = {
	    {skeleton->maps.data_settings, (void **)&maps->settings},
	    {skeleton->maps.spans, (void **)&maps->spans},
	    {skeleton->maps.addresses, (void **)&maps->addresses},
	    {skeleton->maps.descriptors, (void **)&maps->descriptors},
	    {skeleton->maps.backends, (void **)&maps->backends},
	};
	memcpy(viewed, all, sizeof(all));
}

static int view(struct edge_maps *maps, struct error *err)
{
	const struct edge_bpf *skeleton = maps->skeleton;
	struct viewed viewed[VIEWED];
	list_viewed(maps, viewed);
	for (size_t i = 0; i < VIEWED; i++) {
		int result = map_memory(viewed[i].map, viewed[i].memory, err);
		if (result < 0)
			return result;
	}
	maps->spans_fd = bpf_map__fd(skeleton->maps.spans);
	maps->addresses_fd = bpf_map__fd(skeleton->maps.addresses);
	maps->descriptors_fd = bpf_map__fd(skeleton->maps.descriptors);
	maps->backends_fd = bpf_map__fd(skeleton->maps.backends);
	maps->pages_fd = bpf_map__fd(skeleton->maps.ring_pages);
	maps->counters_fd = bpf_map__fd(skeleton->maps.counters);
	maps->drops_fd = bpf_map__fd(skeleton->maps.drops);
	maps->fence_fd = bpf_map__fd(skeleton->maps.fence);
	maps->passes_fd = bpf_map__fd(skeleton->maps.passes_of_cpu);
	maps->page_count = bpf_map__max_entries(skeleton->maps.ring_pages);
	maps->descriptor_count = bpf_map__max_entries(skeleton->maps.descriptors);
	return 0;
}

void maps_close(struct edge_maps *maps)
{
	struct viewed viewed[VIEWED];
	if (!maps->skeleton)
		return;
	list_viewed(maps, viewed);
	for (size_t i = 0; i < VIEWED; i++) {
		if (*viewed[i].memory)
			munmap(*viewed[i].memory, memory_bytes(viewed[i].map));
	}
	edge_bpf__destroy(maps->skeleton);
	*maps = (struct edge_maps){0};
}

/* --- loading --- */

/* The maps whose size follows the number of versions. */
static bool grows(const char *name)
{
	return strcmp(name, "ring_pages") == 0 || strcmp(name, "descriptors") == 0 ||
	       strcmp(name, "counters") == 0;
}

static int open_object(struct edge_maps *maps, struct error *err)
{
	*maps = (struct edge_maps){.skeleton = edge_bpf__open()};
	if (!maps->skeleton)
		return error_set(err, -errno, "the edge program cannot be opened: %s",
				 error_text(-errno));
	return 0;
}

static int set_sizes(const struct edge_maps *maps, uint32_t pages, uint32_t descriptors)
{
	int result = bpf_map__set_max_entries(maps->skeleton->maps.ring_pages, pages);
	if (result == 0)
		result = bpf_map__set_max_entries(maps->skeleton->maps.descriptors, descriptors);
	if (result == 0)
		result = bpf_map__set_max_entries(maps->skeleton->maps.counters, descriptors);
	return result;
}

/* How many entries a pinned map has; those of `map`, which is not loaded yet, if none is there. */
static uint32_t pinned_size(const struct edge_pins *pins, const struct bpf_map *map)
{
	char path[PINS_PATH_BYTES];
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);
	pins_path(path, pins->root, pins->layout, bpf_map__name(map));
	int fd = bpf_obj_get(path);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
		info.max_entries = bpf_map__max_entries(map);
	if (fd >= 0)
		close(fd);
	return info.max_entries;
}

/* The next stage is another plane's, and stays. */
static int reuse_stages(const struct edge_maps *maps, const struct edge_pins *pins,
			struct error *err)
{
	int fd;
	int result = pins_open_stages(pins->root, &fd, err);
	if (result < 0)
		return result;
	result = bpf_map__reuse_fd(maps->skeleton->maps.stages, fd);
	close(fd);
	return result < 0 ? error_set(err, result, "the next stage cannot be taken over: %s",
				      error_text(result))
			  : 0;
}

int maps_aim(const struct edge_maps *maps, struct error *err)
{
	const uint32_t zero = 0;
	int program = maps_program(maps);
	if (bpf_map_update_elem(bpf_map__fd(maps->skeleton->maps.again), &zero, &program, BPF_ANY) <
	    0)
		return error_set(err, -errno, "the program cannot be made to begin anew: %s",
				 error_text(-errno));
	return 0;
}

int maps_open(struct edge_maps *maps, struct edge_pins *pins, struct error *err)
{
	int result = open_object(maps, err);
	if (result < 0)
		return result;
	const struct bpf_object *object = maps->skeleton->obj;
	result = layout_digest(&object, 1, grows, pins->layout, err);
	if (result < 0)
		return result;
	result = set_sizes(maps, pinned_size(pins, maps->skeleton->maps.ring_pages),
			   pinned_size(pins, maps->skeleton->maps.descriptors));
	if (result < 0)
		return error_set(err, result, "the sizes of the maps cannot be set: %s",
				 error_text(result));
	result = reuse_stages(maps, pins, err);
	if (result == 0)
		result = load_object(maps->skeleton->obj, "the edge", err);
	if (result == 0)
		result = maps_aim(maps, err);
	return result < 0 ? result : view(maps, err);
}

/* What does not grow is the map that is there. */
static int reuse(const struct edge_maps *present, const struct edge_maps *larger)
{
	struct bpf_map *map;
	bpf_object__for_each_map(map, larger->skeleton->obj)
	{
		const struct bpf_map *other =
		    bpf_object__find_map_by_name(present->skeleton->obj, bpf_map__name(map));
		ASSERT(other);
		if (bpf_map__max_entries(map) != bpf_map__max_entries(other))
			continue;
		int result = bpf_map__reuse_fd(map, bpf_map__fd(other));
		if (result < 0)
			return result;
	}
	return 0;
}

static int copy_pages(const struct edge_maps *present, const struct edge_maps *larger,
		      struct error *err)
{
	const struct bpf_map *from = present->skeleton->maps.ring_pages;
	const struct bpf_map *to = larger->skeleton->maps.ring_pages;
	void *source = NULL;
	void *target = NULL;
	int result = map_memory(from, &source, err);
	if (result == 0)
		result = map_memory(to, &target, err);
	if (result == 0)
		memcpy(target, source, memory_bytes(from));
	if (source)
		munmap(source, memory_bytes(from));
	if (target)
		munmap(target, memory_bytes(to));
	return result;
}

int maps_open_larger(const struct edge_maps *present, uint32_t pages, uint32_t descriptors,
		     struct edge_maps *ret_maps, struct error *err)
{
	struct edge_maps larger;
	int result = open_object(&larger, err);
	if (result < 0)
		return result;
	result = set_sizes(&larger, pages, descriptors);
	if (result == 0)
		result = reuse(present, &larger);
	if (result < 0)
		error_set(err, result, "a map cannot be prepared: %s", error_text(result));
	if (result == 0)
		result = load_object(larger.skeleton->obj, "the edge", err);
	if (result == 0)
		result = view(&larger, err);
	/* What refers to an entry is the same in both maps, so every entry goes where it was. */
	if (result == 0 && larger.page_count > present->page_count)
		result = copy_pages(present, &larger, err);
	if (result < 0) {
		maps_close(&larger);
		return result;
	}
	if (larger.descriptor_count > present->descriptor_count)
		memcpy(larger.descriptors, present->descriptors,
		       present->descriptor_count * sizeof(*present->descriptors));
	*ret_maps = larger;
	return 0;
}

int maps_program(const struct edge_maps *maps)
{
	return bpf_program__fd(maps->skeleton->progs.edge);
}

int maps_heartbeat_program(const struct edge_maps *maps)
{
	return bpf_program__fd(maps->skeleton->progs.heartbeat);
}

void maps_build_id(char text[LAYOUT_HEX])
{
	size_t bytes;
	const void *object = edge_bpf__elf_bytes(&bytes);
	struct digest digest;
	digest_of(object, bytes, &digest);
	hex_encode(digest.bytes, (LAYOUT_HEX - 1) / 2, text);
}

/* --- pins --- */

void maps_new_folder(const struct edge_pins *pins, char name[EDGE_FOLDER])
{
	snprintf(name, EDGE_FOLDER, "%s" NEW, pins->layout);
}

int maps_pin(const struct edge_maps *maps, const struct edge_pins *pins, struct error *err)
{
	char name[EDGE_FOLDER];
	char path[PINS_PATH_BYTES];
	struct bpf_map *map;
	maps_new_folder(pins, name);
	pins_path(path, pins->root, name, NULL);
	int result = 0;
	if (access(path, F_OK) == 0) /* of a process that ended while it attached */
		result = pins_remove_folder(pins->root, name, err);
	if (result == 0)
		result = file_make_folders(path, 0700, err);
	bpf_object__for_each_map(map, maps->skeleton->obj)
	{
		if (result < 0)
			break;
		pins_path(path, pins->root, name, pins_map_name(map));
		if (bpf_obj_pin(bpf_map__fd(map), path) < 0)
			result = error_set(err, -errno, "map '%s' cannot be pinned: %s",
					   bpf_map__name(map), error_text(-errno));
	}
	return result;
}

int maps_take_place(struct edge_pins *pins, struct error *err)
{
	char name[EDGE_FOLDER];
	char from[PINS_PATH_BYTES];
	char to[PINS_PATH_BYTES];
	maps_new_folder(pins, name);
	int result = maps_sweep(pins->root, name, err);
	if (result < 0)
		return result;
	pins_path(from, pins->root, name, NULL);
	pins_path(to, pins->root, pins->layout, NULL);
	if (rename(from, to) < 0)
		return error_set(err, -errno, "'%s' cannot be renamed: %s", from,
				 error_text(-errno));
	pins->in_place = true;
	return 0;
}

/* A pin that cannot be made now is missed by edge_selfcheck(), which says so. */
void maps_exchange_pins(const struct edge_maps *maps, const struct edge_pins *pins,
			const struct edge_maps *before)
{
	struct bpf_map *map;
	bpf_object__for_each_map(map, maps->skeleton->obj)
	{
		char path[PINS_PATH_BYTES];
		const struct bpf_map *other =
		    bpf_object__find_map_by_name(before->skeleton->obj, bpf_map__name(map));
		if (bpf_map__max_entries(map) == bpf_map__max_entries(other))
			continue;
		pins_path(path, pins->root, pins->layout, pins_map_name(map));
		(void)unlink(path);
		(void)bpf_obj_pin(bpf_map__fd(map), path);
	}
}

/* A folder that was made again lies on another file system perhaps, where nobody holds a lock. */
static int lock_again(struct edge_pins *pins, struct error *err)
{
	struct stat held;
	struct stat now;
	if (fstat(pins->lock, &held) == 0 && stat(pins->root, &now) == 0 &&
	    held.st_dev == now.st_dev && held.st_ino == now.st_ino)
		return 0;
	int lock = -1;
	int result = lock_folder(pins->root, LOCK_NAME, &lock, err);
	if (result < 0)
		return result;
	close(pins->lock);
	pins->lock = lock;
	return 0;
}

int maps_repin_one(struct edge_pins *pins, int fd, const char *folder, const char *leaf,
		   char ret_name[PINS_PATH_BYTES], struct error *err)
{
	char path[PINS_PATH_BYTES];
	char parent[PINS_PATH_BYTES];
	pins_path(path, pins->root, folder, leaf);
	if (access(path, F_OK) == 0)
		return 0;
	if (!*ret_name)
		memcpy(ret_name, path, sizeof(path));
	pins_path(parent, pins->root, folder, NULL);
	int result = pins_check_filesystem(pins->root, err);
	if (result == 0)
		result = file_make_folders(parent, 0700, err);
	if (result == 0)
		result = lock_again(pins, err);
	if (result == 0 && bpf_obj_pin(fd, path) < 0)
		result = error_set(err, -errno, "%s", error_text(-errno));
	return result;
}

int maps_repin(const struct edge_maps *maps, struct edge_pins *pins, char ret_name[PINS_PATH_BYTES],
	       struct error *err)
{
	struct bpf_map *map;
	int result = 0;
	bpf_object__for_each_map(map, maps->skeleton->obj)
	{
		if (result == 0 && pins->in_place)
			result = maps_repin_one(pins, bpf_map__fd(map), pins->layout,
						pins_map_name(map), ret_name, err);
	}
	return result;
}

/* Earlier releases pinned their programs, too, as programs/<16 hex digits>_<program>. */
static void sweep_programs(const char *root)
{
	char folder[PINS_PATH_BYTES];
	char path[PINS_PATH_BYTES];
	pins_path(folder, root, "programs", NULL);
	DIR *pins = opendir(folder);
	if (!pins)
		return;
	for (struct dirent *pin = readdir(pins); pin; pin = readdir(pins)) {
		if (!pins_is_layout(pin->d_name, "_edge") &&
		    !pins_is_layout(pin->d_name, "_heartbeat"))
			continue;
		pins_path(path, root, "programs", pin->d_name);
		(void)unlink(path); /* what stays is only memory that is not given back */
	}
	closedir(pins);
	(void)rmdir(folder); /* unless others keep pins there */
}

int maps_sweep(const char *root, const char *keep, struct error *err)
{
	/* One that every layout has. */
	static const char *const marks[] = {"addresses", "descriptors", "backends", "spans", NULL};
	int result = pins_sweep(root, NEW, keep, marks, err);
	if (result == 0)
		sweep_programs(root);
	return result;
}
