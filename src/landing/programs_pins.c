/* SPDX-License-Identifier: Apache-2.0 */
/* Removing what is pinned: what other layouts and other interfaces left, or everything. */
#include "kernel/xdp.h"
#include "landing/programs.h"

#include <dirent.h>
#include <stdio.h>

static bool is_interface_link(const char *name, unsigned *ret_ifindex)
{
	char rest;
	return sscanf(name, "link_if%u%c", ret_ifindex, &rest) == 1;
}

static bool is_current(const struct programs *programs, unsigned ifindex)
{
	for (unsigned i = 0; i < programs->interface_count; i++) {
		if (programs->interfaces[i].ifindex == ifindex)
			return true;
	}
	return false;
}

/* Links of the XDP program: those of interfaces that are not ours any more, or all. */
static int remove_links(const struct programs *programs, bool ours_too, struct error *err)
{
	char path[PINS_PATH_BYTES];
	unsigned ifindex;
	int result = 0;
	DIR *folder = opendir(programs->pin_root);
	if (!folder)
		return error_set(err, -errno, "'%s' cannot be read: %s", programs->pin_root,
				 error_text(-errno));
	for (struct dirent *entry = readdir(folder); entry && result == 0;
	     entry = readdir(folder)) {
		if (!is_interface_link(entry->d_name, &ifindex) ||
		    (!ours_too && is_current(programs, ifindex)))
			continue;
		pins_path(path, programs->pin_root, entry->d_name, NULL);
		result = xdp_remove(path, BPF_LINK_TYPE_XDP, err);
	}
	closedir(folder);
	return result;
}

/* A landing's maps, of whatever build: all their names begin alike. */
static const char *const marks[] = {"landing_", NULL};

int programs_sweep(struct programs *programs, struct error *err)
{
	int result = remove_links(programs, false, err);
	return result < 0 ? result
			  : pins_sweep(programs->pin_root, "", programs->layout, marks, err);
}

int programs_undo(struct programs *programs, struct error *err)
{
	char path[PINS_PATH_BYTES];
	for (unsigned i = 0; i < programs->interface_count; i++)
		programs_close_link(&programs->interfaces[i].link);
	programs_close_link(&programs->lookup_link);
	int result = remove_links(programs, true, err);
	pins_path(path, programs->pin_root, "link_lookup", NULL);
	if (result == 0)
		result = xdp_remove(path, BPF_LINK_TYPE_NETNS, err);
	return result < 0 ? result : pins_sweep(programs->pin_root, "", NULL, marks, err);
}
