/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/pins.h"

#include "base/file.h"
#include "base/lock.h"
#include "kernel/layout.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <unistd.h>

int pins_check_root(const char *root, struct error *err)
{
	if (root[0] == '/' && strlen(root) < PINS_ROOT_BYTES)
		return 0;
	return error_set(err, -FL_EINVALID,
			 "the pin root '%.80s' is not an absolute path of less than %d bytes", root,
			 PINS_ROOT_BYTES);
}

void pins_path(char path[PINS_PATH_BYTES], const char *root, const char *name, const char *leaf)
{
	int length = snprintf(path, PINS_PATH_BYTES, "%s/%s%s%s", root, name, leaf ? "/" : "",
			      leaf ? leaf : "");
	ASSERT(length > 0 && length < PINS_PATH_BYTES);
}

const char *pins_map_name(const struct bpf_map *map)
{
	const char *name = bpf_map__name(map);
	return name[0] == '.' ? strrchr(name, '.') + 1 : name;
}

int pins_check_filesystem(const char *path, struct error *err)
{
	char parent[PINS_PATH_BYTES];
	struct statfs info;
	snprintf(parent, sizeof(parent), "%s", path);
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

int pins_lock_root(const char *root, const char *what, int *ret_lock, struct error *err)
{
	int result = pins_check_filesystem(root, err);
	if (result == 0)
		result = file_make_folders(root, 0700, err);
	return result < 0 ? result : lock_folder(root, what, ret_lock, err);
}

static int open_map(const char *root, const char *name, enum bpf_map_type type, size_t value_bytes,
		    uint32_t entries, int *ret_fd, struct error *err)
{
	char path[PINS_PATH_BYTES];
	pins_path(path, root, name, NULL);
	int fd = bpf_obj_get(path);
	if (fd < 0 && errno == ENOENT) {
		fd = bpf_map_create(type, name, sizeof(uint32_t), (uint32_t)value_bytes, entries,
				    NULL);
		if (fd >= 0 && bpf_obj_pin(fd, path) < 0) {
			int code = -errno;
			close(fd);
			return error_set(err, code, "'%s' cannot be pinned: %s", path,
					 error_text(code));
		}
	}
	if (fd < 0)
		return error_set(err, -errno, "'%s' cannot be opened: %s", path,
				 error_text(-errno));
	*ret_fd = fd;
	return 0;
}

int pins_open_array(const char *root, const char *name, size_t value_bytes, uint32_t entries,
		    int *ret_fd, struct error *err)
{
	return open_map(root, name, BPF_MAP_TYPE_ARRAY, value_bytes, entries, ret_fd, err);
}

int pins_open_stages(const char *root, int *ret_fd, struct error *err)
{
	return open_map(root, PINS_STAGES, BPF_MAP_TYPE_PROG_ARRAY, sizeof(uint32_t), 1, ret_fd,
			err);
}

int pins_remove(const char *root, const char *name, struct error *err)
{
	char path[PINS_PATH_BYTES];
	pins_path(path, root, name, NULL);
	if (unlink(path) < 0 && errno != ENOENT)
		return error_set(err, -errno, "'%s' cannot be removed: %s", path,
				 error_text(-errno));
	return 0;
}

bool pins_is_layout(const char *name, const char *suffix)
{
	return strspn(name, "0123456789abcdef") == LAYOUT_HEX - 1 &&
	       strcmp(name + LAYOUT_HEX - 1, suffix) == 0;
}

/* The path of a pin that readdir() named; false for what is no pin, or has too long a name. */
static bool pin_path(char path[PINS_PATH_BYTES], const char *root, const char *name,
		     const char *leaf)
{
	if (leaf[0] == '.' || strlen(name) + strlen(leaf) >= PINS_ROOT_BYTES - 2)
		return false;
	pins_path(path, root, name, leaf);
	return true;
}

int pins_remove_folder(const char *root, const char *name, struct error *err)
{
	char folder[PINS_PATH_BYTES];
	char path[PINS_PATH_BYTES];
	pins_path(folder, root, name, NULL);
	DIR *pins = opendir(folder);
	if (!pins)
		return error_set(err, -errno, "'%s' cannot be read: %s", folder,
				 error_text(-errno));
	for (struct dirent *pin = readdir(pins); pin; pin = readdir(pins)) {
		if (pin_path(path, root, name, pin->d_name))
			(void)unlink(path); /* what stays keeps the folder from going */
	}
	closedir(pins);
	if (rmdir(folder) < 0)
		return error_set(err, -errno, "the old maps in '%s' cannot be removed: %s", folder,
				 error_text(-errno));
	return 0;
}

static bool holds_a_mark(const char *folder, const char *const *marks)
{
	bool found = false;
	DIR *pins = opendir(folder);
	for (struct dirent *pin = pins ? readdir(pins) : NULL; pin && !found; pin = readdir(pins)) {
		for (const char *const *mark = marks; *mark && !found; mark++)
			found = strncmp(pin->d_name, *mark, strlen(*mark)) == 0;
	}
	if (pins)
		closedir(pins);
	return found;
}

int pins_sweep(const char *root, const char *suffix, const char *keep, const char *const *marks,
	       struct error *err)
{
	char folder[PINS_PATH_BYTES];
	DIR *entries = opendir(root);
	int result = 0;
	if (!entries)
		return errno == ENOENT ? 0
				       : error_set(err, -errno, "'%s' cannot be read: %s", root,
						   error_text(-errno));
	for (struct dirent *entry = readdir(entries); entry && result == 0;
	     entry = readdir(entries)) {
		const char *name = entry->d_name;
		if ((!pins_is_layout(name, "") && !pins_is_layout(name, suffix)) ||
		    (keep && strcmp(name, keep) == 0))
			continue;
		pins_path(folder, root, name, NULL);
		if (holds_a_mark(folder, marks))
			result = pins_remove_folder(root, name, err);
		else
			(void)rmdir(folder); /* empty after a start that was interrupted */
	}
	closedir(entries);
	return result;
}

int pins_remove_root(const char *root, struct error *err)
{
	if (rmdir(root) < 0 && errno != ENOENT && errno != ENOTEMPTY && errno != EBUSY)
		return error_set(err, -errno, "'%s' cannot be removed: %s", root,
				 error_text(-errno));
	return 0;
}
