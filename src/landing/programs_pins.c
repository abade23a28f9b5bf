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

static bool is_interface_link(const char *name, unsigned *ret_ifindex)
{
	char rest;
	return sscanf(name, "link_if%u%c", ret_ifindex, &rest) == 1;
}

/* Of this landing as it is set now. */
static bool is_current(const struct programs *programs, const char *name)
{
	unsigned ifindex;
	if (strcmp(name, programs->layout) == 0 || strcmp(name, "link_lookup") == 0)
		return true;
	if (!is_interface_link(name, &ifindex))
		return false;
	for (unsigned i = 0; i < programs->interface_count; i++) {
		if (programs->interfaces[i].ifindex == ifindex)
			return true;
	}
	return false;
}

/* 16 hex digits. */
static bool is_layout(const struct programs *programs, const char *name)
{
	size_t digits = sizeof(programs->layout) - 1;
	return strlen(name) == digits && strspn(name, "0123456789abcdef") == digits;
}

/* A landing's folder of maps, of whatever build: all their names begin alike. */
static bool holds_our_maps(const char *path)
{
	DIR *folder = opendir(path);
	bool ours = false;
	const struct dirent *entry;
	while (folder && !ours && (entry = readdir(folder)))
		ours = strncmp(entry->d_name, "landing_", strlen("landing_")) == 0;
	if (folder)
		closedir(folder);
	return ours;
}

/* Detach and unpin the link, if it is one of `type`. */
static int remove_link(const char *path, enum bpf_link_type type)
{
	struct bpf_link_info info = {0};
	__u32 size = sizeof(info);
	int link = bpf_obj_get(path);
	if (link < 0)
		return 0;
	bool ours = bpf_obj_get_info_by_fd(link, &info, &size) == 0 && info.type == type;
	if (ours)
		(void)bpf_link_detach(link); /* -ENOLINK: its interface is gone already. */
	close(link);
	return ours && unlink(path) < 0 ? -errno : 0;
}

/* Other programs pin where they like: what is not surely a landing's stays. */
static int remove_pin(const struct programs *programs, const char *name)
{
	char path[PATH_MAX];
	unsigned ifindex;
	if ((size_t)snprintf(path, sizeof(path), "%s/%s", programs->pin_root, name) >= sizeof(path))
		return 0;
	if (is_interface_link(name, &ifindex))
		return remove_link(path, BPF_LINK_TYPE_XDP);
	if (strcmp(name, "link_lookup") == 0)
		return remove_link(path, BPF_LINK_TYPE_NETNS);
	if (!is_layout(programs, name))
		return 0;
	if (holds_our_maps(path))
		return remove_folder(path);
	(void)rmdir(path); /* empty after a start that was interrupted */
	return 0;
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
		if (entry->d_name[0] == '.' || (!ours_too && is_current(programs, entry->d_name)))
			continue;
		result = remove_pin(programs, entry->d_name);
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
	if (result == 0 && rmdir(programs->pin_root) < 0 && errno != ENOTEMPTY && errno != EBUSY)
		result = error_set(err, -errno, "%s: cannot remove: %s", programs->pin_root,
				   strerror(errno));
	return result;
}
