/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mark in the pin folder: a map of one value that no program reads. It lives as long as the
 * maps that forward do, whatever becomes of the state folder meanwhile, and it lies beside the
 * layouts' folders, since a program of another layout goes on from the same mark.
 */
#include "dataplane/internal.h"

#include <bpf/bpf.h>
#include <string.h>
#include <unistd.h>

#define MARK_NAME "mark"

int edge_mark_get(const char *pin_root, struct edge_mark *ret_mark)
{
	char path[PINS_PATH_BYTES];
	uint32_t key = 0;
	struct edge_mark mark;
	if (strlen(pin_root) >= PINS_ROOT_BYTES)
		return -ENAMETOOLONG;
	pins_path(path, pin_root, MARK_NAME, NULL);
	int fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	int result = bpf_map_lookup_elem(fd, &key, &mark) < 0 ? -errno : 0;
	close(fd);
	if (result == 0)
		*ret_mark = mark;
	return result;
}

static int open_map(const char *path, int *ret_fd)
{
	int fd = bpf_obj_get(path);
	if (fd < 0 && errno != ENOENT)
		return -errno;
	if (fd < 0) {
		fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "edge_mark", sizeof(uint32_t),
				    sizeof(struct edge_mark), 1, NULL);
		if (fd < 0)
			return -errno;
		if (bpf_obj_pin(fd, path) < 0) {
			int result = -errno;
			close(fd);
			return result;
		}
	}
	*ret_fd = fd;
	return 0;
}

int edge_mark_set(const struct edge *edge, const struct edge_mark *mark, struct error *err)
{
	char path[PINS_PATH_BYTES];
	uint32_t key = 0;
	int fd = -1;
	pins_path(path, edge->pins.root, MARK_NAME, NULL);
	int result = open_map(path, &fd);
	if (result == 0 && bpf_map_update_elem(fd, &key, mark, BPF_ANY) < 0)
		result = -errno;
	if (fd >= 0)
		close(fd);
	if (result < 0)
		return error_set(err, result, "'%s' cannot be written: %s", path,
				 error_text(result));
	return 0;
}

int edge_mark_remove(const char *pin_root, struct error *err)
{
	char path[PINS_PATH_BYTES];
	pins_path(path, pin_root, MARK_NAME, NULL);
	if (unlink(path) < 0 && errno != ENOENT)
		return error_set(err, -errno, "'%s' cannot be removed: %s", path,
				 error_text(-errno));
	return 0;
}
