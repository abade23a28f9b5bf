/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The object, its maps and their pins. Maps live in <pin_root>/<layout digest>/: those that are
 * there are reused, the others are created and pinned, so that a start that was interrupted between
 * two pins is completed by the next one.
 */
#include "abi/edge.h"
#include "base/file.h"
#include "base/lock.h"
#include "dataplane/internal.h"
#include "dataplane/skeleton.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Where libbpf's last complaint goes: it knows why the kernel refused, its return codes do not. */
static char complaint[256];

__attribute__((format(printf, 2, 0))) static int
keep_complaint(enum libbpf_print_level level, const char *format, va_list arguments)
{
	if (level == LIBBPF_WARN) {
		char line[sizeof(complaint)];
		int length = vsnprintf(line, sizeof(line), format, arguments);
		size_t end = length < 0 ? 0 : strcspn(line, "\n");
		/* The verifier's log follows its summary; the first complaint says most. */
		if (end > 0 && complaint[0] == '\0')
			snprintf(complaint, sizeof(complaint), "%.*s", (int)end, line);
	}
	return 0;
}

void maps_path(char path[EDGE_PATH], const char *pin_root, const char *name, const char *leaf)
{
	int length = snprintf(path, EDGE_PATH, "%s/%s%s%s", pin_root, name, leaf ? "/" : "",
			      leaf ? leaf : "");
	ASSERT(length > 0 && length < EDGE_PATH);
}

int maps_check_privileges(struct error *err)
{
	static const struct {
		unsigned bit;
		const char *name, *why;
	} needed[] = {
	    {CAP_BPF, "CAP_BPF", "to load BPF programs"},
	    {CAP_PERFMON, "CAP_PERFMON", "to let BPF programs read packets by pointer"},
	    {CAP_NET_ADMIN, "CAP_NET_ADMIN", "to attach XDP programs"},
	};
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};
	if (syscall(SYS_capget, &header, data) < 0)
		return error_set(err, -errno, "this process's capabilities cannot be read: %s",
				 error_text(-errno));
	uint64_t effective = (uint64_t)data[1].effective << 32 | data[0].effective;
	bool admin = effective >> CAP_SYS_ADMIN & 1;
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		bool implied = admin && needed[i].bit != CAP_NET_ADMIN;
		if (!implied && !(effective >> needed[i].bit & 1))
			return error_set(err, -FL_EPRIVILEGE,
					 "the edge needs %s %s; run it as root or grant it that "
					 "capability",
					 needed[i].name, needed[i].why);
	}
	return 0;
}

int maps_check_filesystem(const char *path, struct error *err)
{
	char parent[EDGE_PATH];
	snprintf(parent, sizeof(parent), "%s", path);

	/* The root itself may not be there yet: judge the nearest folder above that is. */
	struct statfs info;
	while (statfs(parent, &info) < 0) {
		char *slash = strrchr(parent, '/');
		if (errno != ENOENT || !slash || slash == parent)
			return error_set(err, -FL_EUNAVAILABLE, "'%s' cannot be examined: %s", path,
					 error_text(-errno));
		*slash = '\0';
	}
	if (info.f_type != (__typeof__(info.f_type))BPF_FS_MAGIC)
		return error_set(err, -FL_EUNAVAILABLE,
				 "'%s' is not on a BPF file system, so nothing pinned there would "
				 "outlive this process; mount one with 'mount -t bpf bpf "
				 "/sys/fs/bpf' and put the pin root below it",
				 path);
	return 0;
}

/* The map's pin: bpffs refuses names with dots, which global data's map has. */
static const char *pin_name(const struct bpf_map *map)
{
	const char *name = bpf_map__name(map);
	return name[0] == '.' ? strrchr(name, '.') + 1 : name;
}

/*
 * Maps of which some are missing are not adopted: others refer to what was in those. The program
 * that is attached goes on with all of them, pinned or not, until edge_attach() replaces it by one
 * with a whole new set.
 */
static int unpin_rest(const struct edge *edge, struct error *err)
{
	char path[EDGE_PATH];
	struct bpf_map *map;
	bpf_object__for_each_map(map, edge->skeleton->obj)
	{
		maps_path(path, edge->pin_root, edge->layout, pin_name(map));
		if (unlink(path) < 0 && errno != ENOENT)
			return error_set(err, -errno, "'%s' cannot be removed: %s", path,
					 error_text(-errno));
	}
	return 0;
}

/* Name the map's pin, by which loading finds it again; `ret_found`: it is there. */
static int set_pin(const struct edge *edge, struct bpf_map *map, bool *ret_found, struct error *err)
{
	char path[EDGE_PATH];
	maps_path(path, edge->pin_root, edge->layout, pin_name(map));
	*ret_found = access(path, F_OK) == 0;
	int result = bpf_map__set_pin_path(map, path);
	if (result < 0)
		return error_set(err, result, "the pin of map '%s' cannot be set: %s",
				 bpf_map__name(map), error_text(result));
	return 0;
}

static int set_pins(struct edge *edge, struct error *err)
{
	struct bpf_map *map;
	bool all = true;

	bpf_object__for_each_map(map, edge->skeleton->obj)
	{
		bool found;
		int result = set_pin(edge, map, &found, err);
		if (result < 0)
			return result;
		all = all && found;
	}
	edge->adopted = all;
	return all ? 0 : unpin_rest(edge, err);
}

/* A folder that was made again lies on another file system perhaps, where nobody holds a lock. */
static int lock_again(struct edge *edge, struct error *err)
{
	struct stat held;
	struct stat now;
	if (fstat(edge->lock_fd, &held) == 0 && stat(edge->pin_root, &now) == 0 &&
	    held.st_dev == now.st_dev && held.st_ino == now.st_ino)
		return 0;
	int lock_fd = -1;
	int result = lock_folder(edge->pin_root, EDGE_LOCK_NAME, &lock_fd, err);
	if (result < 0)
		return result;
	close(edge->lock_fd);
	edge->lock_fd = lock_fd;
	return 0;
}

int maps_repin_one(struct edge *edge, int fd, const char *folder, const char *leaf,
		   char ret_name[EDGE_PATH], struct error *err)
{
	char path[EDGE_PATH];
	maps_path(path, edge->pin_root, folder, leaf);
	if (access(path, F_OK) == 0)
		return 0;
	if (!*ret_name)
		memcpy(ret_name, path, sizeof(path));
	int result = maps_check_filesystem(edge->pin_root, err);
	if (result == 0) {
		char parent[EDGE_PATH];
		maps_path(parent, edge->pin_root, folder, NULL);
		result = file_make_folders(parent, 0700, err);
	}
	if (result == 0)
		result = lock_again(edge, err);
	if (result == 0 && bpf_obj_pin(fd, path) < 0)
		result = error_set(err, -errno, "%s", error_text(-errno));
	return result;
}

int maps_repin(struct edge *edge, char ret_name[EDGE_PATH], struct error *err)
{
	struct bpf_map *map;
	int result = 0;
	ret_name[0] = '\0';
	bpf_object__for_each_map(map, edge->skeleton->obj)
	{
		if (result == 0)
			result = maps_repin_one(edge, bpf_map__fd(map), edge->layout, pin_name(map),
						ret_name, err);
	}
	for (size_t i = 0; i < edge->interface_count && result == 0; i++) {
		const struct interface *interface = &edge->interfaces[i];
		if (interface->link_fd >= 0)
			result = maps_repin_one(edge, interface->link_fd, "links", interface->name,
						ret_name, err);
	}
	if (result == 0)
		result = edge_programs_repin(edge, ret_name, err);
	return result;
}

int maps_view_one(const struct bpf_map *map, void **ret_memory, struct error *err)
{
	size_t bytes =
	    (((size_t)bpf_map__value_size(map) + 7) & ~(size_t)7) * bpf_map__max_entries(map);
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
	if (memory == MAP_FAILED)
		return error_set(err, -errno, "map '%s' cannot be mapped into memory: %s",
				 bpf_map__name(map), error_text(-errno));
	*ret_memory = memory;
	return 0;
}

void maps_unview_one(const struct bpf_map *map, void *memory)
{
	size_t bytes =
	    (((size_t)bpf_map__value_size(map) + 7) & ~(size_t)7) * bpf_map__max_entries(map);
	if (memory)
		munmap(memory, bytes);
}

struct viewed {
	struct bpf_map *map;
	void **memory;
	int *fd;
};

#define VIEWED 5

static void list_viewed(const struct edge_bpf *skeleton, struct edge_view *view,
			struct viewed viewed[VIEWED])
{
	const struct viewed all[VIEWED] = {
	    {skeleton->maps.data_settings, (void **)&view->settings, &view->settings_fd},
	    {skeleton->maps.spans, (void **)&view->spans, &view->spans_fd},
	    {skeleton->maps.addresses, (void **)&view->addresses, &view->addresses_fd},
	    {skeleton->maps.descriptors, (void **)&view->descriptors, &view->descriptors_fd},
	    {skeleton->maps.backends, (void **)&view->backends, &view->backends_fd},
	};
	memcpy(viewed, all, sizeof(all));
}

int maps_view(const struct edge_bpf *skeleton, struct edge_view *view, struct error *err)
{
	struct viewed viewed[VIEWED];
	list_viewed(skeleton, view, viewed);
	for (size_t i = 0; i < VIEWED; i++) {
		int result = maps_view_one(viewed[i].map, viewed[i].memory, err);
		if (result < 0)
			return result;
		*viewed[i].fd = bpf_map__fd(viewed[i].map);
	}
	view->pages_fd = bpf_map__fd(skeleton->maps.ring_pages);
	view->counters_fd = bpf_map__fd(skeleton->maps.counters);
	view->drops_fd = bpf_map__fd(skeleton->maps.drops);
	return 0;
}

void maps_unview(const struct edge_bpf *skeleton, struct edge_view *view)
{
	struct viewed viewed[VIEWED];
	list_viewed(skeleton, view, viewed);
	for (size_t i = 0; i < VIEWED; i++)
		maps_unview_one(viewed[i].map, *viewed[i].memory);
	*view = (struct edge_view){0};
}

int maps_load(const struct edge_bpf *skeleton, struct error *err)
{
	complaint[0] = '\0';
	libbpf_print_fn_t before = libbpf_set_print(keep_complaint);
	int result = bpf_object__load(skeleton->obj);
	libbpf_set_print(before);
	if (result == -EPERM || result == -EACCES)
		return error_set(err, -FL_EPRIVILEGE,
				 "the kernel does not let this process load the edge program (%s); "
				 "run it as root",
				 complaint[0] ? complaint : error_text(result));
	if (result < 0)
		return error_set(err, -FL_EUNSUPPORTED,
				 "the kernel refuses the edge program (%s); Linux 6.1 or later is "
				 "needed",
				 complaint[0] ? complaint : error_text(result));
	return 0;
}

static void set_build_id(struct edge *edge)
{
	size_t bytes;
	const void *object = edge_bpf__elf_bytes(&bytes);
	struct digest digest;
	digest_of(object, bytes, &digest);
	hex_encode(digest.bytes, (sizeof(edge->build_id) - 1) / 2, edge->build_id);
}

int maps_open(struct edge *edge, struct error *err)
{
	char folder[EDGE_PATH];
	int result = maps_check_privileges(err);
	if (result < 0)
		return result;
	result = maps_check_filesystem(edge->pin_root, err);
	if (result == 0)
		result = file_make_folders(edge->pin_root, 0700, err);
	if (result == 0)
		result = lock_folder(edge->pin_root, EDGE_LOCK_NAME, &edge->lock_fd, err);
	if (result < 0)
		return result;
	set_build_id(edge);
	edge->skeleton = edge_bpf__open();
	if (!edge->skeleton)
		return error_set(err, -errno, "the edge program cannot be opened: %s",
				 error_text(-errno));
	result = layout_digest(edge->skeleton->obj, edge->layout, err);
	if (result < 0)
		return result;
	maps_path(folder, edge->pin_root, edge->layout, NULL);
	result = file_make_folders(folder, 0700, err);
	if (result < 0)
		return result;
	result = set_pins(edge, err);
	if (result == 0)
		result = grow_take_over(edge, edge->skeleton, err);
	if (result == 0)
		result = edge_programs_load(edge, err);
	if (result == 0)
		result = maps_view(edge->skeleton, &edge->view, err);
	return result;
}

void maps_close(struct edge *edge)
{
	if (!edge->skeleton)
		return;
	maps_unview(edge->skeleton, &edge->view);
	edge_programs_close(&edge->programs);
	edge_bpf__destroy(edge->skeleton);
	edge->skeleton = NULL;
}

/* 16 hex digits. */
static bool is_digest(const char *name)
{
	return strlen(name) == EDGE_LAYOUT_HEX - 1 &&
	       strspn(name, "0123456789abcdef") == EDGE_LAYOUT_HEX - 1;
}

/* Other programs pin where they like: a folder is ours if it holds a map that every layout has. */
static bool holds_our_maps(const char *pin_root, const char *name)
{
	static const char *const always[] = {"addresses", "descriptors", "backends", "spans"};
	char path[EDGE_PATH];
	for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++) {
		maps_path(path, pin_root, name, always[i]);
		if (access(path, F_OK) == 0)
			return true;
	}
	return false;
}

static int remove_folder(const char *pin_root, const char *name, struct error *err)
{
	char folder[EDGE_PATH];
	char path[EDGE_PATH];
	maps_path(folder, pin_root, name, NULL);
	DIR *pins = opendir(folder);
	if (!pins)
		return error_set(err, -errno, "'%s' cannot be read: %s", folder,
				 error_text(-errno));
	for (struct dirent *pin = readdir(pins); pin; pin = readdir(pins)) {
		if (pin->d_name[0] == '.')
			continue;
		if (strlen(pin->d_name) + strlen(folder) + 2 > sizeof(path))
			continue;
		maps_path(path, pin_root, name, pin->d_name);
		unlink(path);
	}
	closedir(pins);
	if (rmdir(folder) < 0)
		return error_set(err, -errno, "the old maps in '%s' cannot be removed: %s", folder,
				 error_text(-errno));
	return 0;
}

bool maps_has_others(const struct edge *edge)
{
	bool others = false;
	DIR *root = opendir(edge->pin_root);
	if (!root)
		return false;
	for (struct dirent *entry = readdir(root); entry; entry = readdir(root)) {
		others = others ||
			 (is_digest(entry->d_name) && strcmp(entry->d_name, edge->layout) != 0 &&
			  holds_our_maps(edge->pin_root, entry->d_name));
	}
	closedir(root);
	return others;
}

int maps_sweep(const char *pin_root, const char *keep, struct error *err)
{
	char folder[EDGE_PATH];
	DIR *root = opendir(pin_root);
	int result = 0;
	if (!root)
		return errno == ENOENT ? 0
				       : error_set(err, -errno, "'%s' cannot be read: %s", pin_root,
						   error_text(-errno));
	for (struct dirent *entry = readdir(root); entry && result == 0; entry = readdir(root)) {
		if (!is_digest(entry->d_name) || (keep && strcmp(entry->d_name, keep) == 0))
			continue;
		maps_path(folder, pin_root, entry->d_name, NULL);
		if (holds_our_maps(pin_root, entry->d_name))
			result = remove_folder(pin_root, entry->d_name, err);
		else
			(void)rmdir(folder); /* empty after a start that was interrupted */
	}
	closedir(root);
	return result;
}
