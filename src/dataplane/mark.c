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

/* What the map holds. Its size is what an earlier release reads into, which has no peers. */
#define HAS_PEERS (1ull << 63)
struct pinned_mark {
	uint64_t sequence; /* with HAS_PEERS */
	struct digest digest;
};

int edge_mark_get(const char *pin_root, struct edge_mark *ret_mark)
{
	char path[PINS_PATH_BYTES];
	uint32_t key = 0;
	struct pinned_mark mark;
	if (strlen(pin_root) >= PINS_ROOT_BYTES)
		return -ENAMETOOLONG;
	pins_path(path, pin_root, MARK_NAME, NULL);
	int fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	int result = bpf_map_lookup_elem(fd, &key, &mark) < 0 ? -errno : 0;
	close(fd);
	if (result == 0)
		*ret_mark = (struct edge_mark){.sequence = mark.sequence & ~HAS_PEERS,
					       .digest = mark.digest,
					       .has_peers = mark.sequence & HAS_PEERS};
	return result;
}

int edge_mark_set(const struct edge *edge, const struct edge_mark *mark, struct error *err)
{
	const struct pinned_mark pinned = {
	    .sequence = mark->sequence | (mark->has_peers ? HAS_PEERS : 0), .digest = mark->digest};
	uint32_t key = 0;
	int fd;
	int result = pins_open_array(edge->pins.root, MARK_NAME, sizeof(pinned), 1, &fd, err);
	if (result < 0)
		return result;
	if (bpf_map_update_elem(fd, &key, &pinned, BPF_ANY) < 0)
		result = error_set(err, -errno, "the mark in '%s' cannot be written: %s",
				   edge->pins.root, error_text(-errno));
	close(fd);
	return result;
}
