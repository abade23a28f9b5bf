/* SPDX-License-Identifier: Apache-2.0 */
/* Removing what is pinned: what other layouts and other interfaces left, or everything. */
#include "landing/internal.h"
#include "landing/programs.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int remove_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	DIR *folder = fdopendir(fd);
	if (!folder) {
		close(fd);
		return -ENOMEM;
	}
	int result = 0;
	const struct dirent *entry;
	while (result == 0 && (entry = readdir(folder))) {
		if (entry->d_name[0] != '.' && unlinkat(fd, entry->d_name, 0) < 0)
			result = -errno;
	}
	closedir(folder); /* and `fd` with it */
	return result == 0 && rmdir(path) < 0 ? -errno : result;
}

static bool is_ours(const struct programs *programs, const char *name)
{
	unsigned ifindex;
	char rest;
	if (strcmp(name, programs->layout) == 0 || strcmp(name, "link_lookup") == 0)
		return true;
	if (sscanf(name, "link_if%u%c", &ifindex, &rest) != 1)
		return false;
	for (unsigned i = 0; i < programs->interface_count; i++) {
		if (programs->interfaces[i].ifindex == ifindex)
			return true;
	}
	return false;
}

static int remove_pin(const char *root, const char *name)
{
	char path[PATH_MAX];
	if ((size_t)snprintf(path, sizeof(path), "%s/%s", root, name) >= sizeof(path))
		return -ENAMETOOLONG;
	if (strncmp(name, "link_", 5) != 0)
		return remove_folder(path);
	int link = bpf_obj_get(path);
	if (link >= 0) {
		/* -ENOLINK: its interface is gone already. */
		(void)bpf_link_detach(link);
		close(link);
	}
	return unlink(path) < 0 ? -errno : 0;
}

static int remove_pins(struct programs *programs, bool ours_too, struct error *err)
{
	DIR *folder = opendir(programs->pin_root);
	if (!folder)
		return error_set(err, -errno, "%s: cannot open: %s", programs->pin_root,
				 strerror(errno));
	int result = 0;
	const struct dirent *entry;
	while (result == 0 && (entry = readdir(folder))) {
		if (entry->d_name[0] == '.' || (!ours_too && is_ours(programs, entry->d_name)))
			continue;
		result = remove_pin(programs->pin_root, entry->d_name);
		if (result < 0)
			error_set(err, result, "%s/%s: cannot remove: %s", programs->pin_root,
				  entry->d_name, error_text(result));
	}
	closedir(folder);
	return result;
}

int programs_sweep(struct programs *programs, struct error *err)
{
	return remove_pins(programs, false, err);
}

int programs_undo(struct programs *programs, struct error *err)
{
	for (unsigned i = 0; i < programs->interface_count; i++)
		programs_close_link(&programs->interfaces[i].link);
	programs_close_link(&programs->lookup_link);
	int result = remove_pins(programs, true, err);
	if (result == 0 && rmdir(programs->pin_root) < 0)
		result = error_set(err, -errno, "%s: cannot remove: %s", programs->pin_root,
				   strerror(errno));
	return result;
}
