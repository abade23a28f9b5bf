/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The object, its maps and their pins. Each process fills maps of its own, which are pinned in
 * <pin_root>/<layout digest>_new/ before it attaches, and take the place of whatever is in
 * <pin_root>/<layout digest>/ after that. A process that ends in between leaves both.
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

#define NEW "_new" /* after the layout's digest: a set of maps that is not in force yet */

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

void maps_new_folder(const struct edge *edge, char name[EDGE_FOLDER])
{
	snprintf(name, EDGE_FOLDER, "%s" NEW, edge->layout);
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

/* Pin `fd` unless something is there; `ret_name` as for maps_repin(). */
static int repin_one(struct edge *edge, int fd, const char *folder, const char *leaf,
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
		if (result == 0 && edge->pinned)
			result = repin_one(edge, bpf_map__fd(map), edge->layout, pin_name(map),
					   ret_name, err);
	}
	for (size_t i = 0; i < edge->interface_count && result == 0; i++) {
		const struct interface *interface = &edge->interfaces[i];
		if (interface->link_fd >= 0)
			result = repin_one(edge, interface->link_fd, "links", interface->name,
					   ret_name, err);
	}
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
	result = grow_begin(edge, edge->skeleton, err);
	if (result == 0)
		result = maps_load(edge->skeleton, err);
	if (result == 0)
		result = maps_view(edge->skeleton, &edge->view, err);
	return result;
}

void maps_close(struct edge *edge)
{
	if (!edge->skeleton)
		return;
	maps_unview(edge->skeleton, &edge->view);
	edge_bpf__destroy(edge->skeleton);
	edge->skeleton = NULL;
}

/* 16 hex digits, and `suffix`. */
static bool is_digest(const char *name, const char *suffix)
{
	return strspn(name, "0123456789abcdef") == EDGE_LAYOUT_HEX - 1 &&
	       strcmp(name + EDGE_LAYOUT_HEX - 1, suffix) == 0;
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

/* Earlier releases pinned their programs, too, as programs/<16 hex digits>_<program>. */
static void sweep_programs(const char *pin_root)
{
	char folder[EDGE_PATH];
	char path[EDGE_PATH];
	maps_path(folder, pin_root, "programs", NULL);
	DIR *pins = opendir(folder);
	if (!pins)
		return;
	for (struct dirent *pin = readdir(pins); pin; pin = readdir(pins)) {
		if (strlen(folder) + strlen(pin->d_name) + 2 > sizeof(path) ||
		    (!is_digest(pin->d_name, "_edge") && !is_digest(pin->d_name, "_heartbeat")))
			continue;
		maps_path(path, pin_root, "programs", pin->d_name);
		(void)unlink(path); /* what stays is only memory that is not given back */
	}
	closedir(pins);
	(void)rmdir(folder); /* unless others keep pins there */
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
		if ((!is_digest(entry->d_name, "") && !is_digest(entry->d_name, NEW)) ||
		    (keep && strcmp(entry->d_name, keep) == 0))
			continue;
		maps_path(folder, pin_root, entry->d_name, NULL);
		if (holds_our_maps(pin_root, entry->d_name))
			result = remove_folder(pin_root, entry->d_name, err);
		else
			(void)rmdir(folder); /* empty after a start that was interrupted */
	}
	closedir(root);
	if (result == 0)
		sweep_programs(pin_root);
	return result;
}

int maps_pin(struct edge *edge, struct error *err)
{
	char name[EDGE_FOLDER];
	char path[EDGE_PATH];
	struct bpf_map *map;
	maps_new_folder(edge, name);
	maps_path(path, edge->pin_root, name, NULL);
	int result = 0;
	if (access(path, F_OK) == 0) /* of a process that ended while it attached */
		result = remove_folder(edge->pin_root, name, err);
	if (result == 0)
		result = file_make_folders(path, 0700, err);
	bpf_object__for_each_map(map, edge->skeleton->obj)
	{
		if (result < 0)
			break;
		maps_path(path, edge->pin_root, name, pin_name(map));
		if (bpf_obj_pin(bpf_map__fd(map), path) < 0)
			result = error_set(err, -errno, "map '%s' cannot be pinned: %s",
					   bpf_map__name(map), error_text(-errno));
	}
	return result;
}

int maps_take_place(struct edge *edge, struct error *err)
{
	char name[EDGE_FOLDER];
	char from[EDGE_PATH];
	char to[EDGE_PATH];
	maps_new_folder(edge, name);
	int result = maps_sweep(edge->pin_root, name, err);
	if (result < 0)
		return result;
	maps_path(from, edge->pin_root, name, NULL);
	maps_path(to, edge->pin_root, edge->layout, NULL);
	if (rename(from, to) < 0)
		return error_set(err, -errno, "'%s' cannot be renamed: %s", from,
				 error_text(-errno));
	edge->pinned = true;
	return 0;
}
