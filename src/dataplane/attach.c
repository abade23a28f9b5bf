/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attaching: one pinned bpf_link per interface, <pin_root>/links/<interface>. A link that is there
 * is switched to our program in one step; packets meet the old program or the new one, never none.
 * A link whose interface has gone, or whose name belongs to another interface now, is replaced.
 */
#include "base/file.h"
#include "dataplane/internal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <string.h>
#include <unistd.h>

/* What the kernel says of the XDP program on an interface. */
static enum edge_mode query_mode(uint32_t ifindex, uint32_t *ret_program_id)
{
	struct bpf_xdp_query_opts query = {.sz = sizeof(query)};
	*ret_program_id = 0;
	if (ifindex == 0 || bpf_xdp_query((int)ifindex, 0, &query) < 0)
		return EDGE_DETACHED;
	*ret_program_id = query.prog_id;
	switch (query.attach_mode) {
	case XDP_ATTACHED_DRV:
	case XDP_ATTACHED_HW:
		return EDGE_NATIVE;
	case XDP_ATTACHED_SKB:
		return EDGE_GENERIC;
	default:
		return EDGE_DETACHED;
	}
}

void attach_query(const struct interface *interface, enum edge_mode *ret_mode,
		  uint32_t *ret_program_id)
{
	*ret_mode = query_mode(interface->ifindex, ret_program_id);
	if (interface->link_fd < 0)
		*ret_mode = EDGE_DETACHED;
}

/* False for what is no XDP link, and so not ours. `ret_ifindex` is 0 if the interface has gone. */
static bool link_read(int link_fd, uint32_t *ret_ifindex)
{
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);
	if (bpf_obj_get_info_by_fd(link_fd, &info, &size) < 0 || info.type != BPF_LINK_TYPE_XDP)
		return false;
	*ret_ifindex = info.xdp.ifindex;
	return true;
}

/* The interface that a link is on; 0 if that has gone, or it is no XDP link. */
static uint32_t link_ifindex(int link_fd)
{
	uint32_t ifindex = 0;
	return link_read(link_fd, &ifindex) ? ifindex : 0;
}

static int fail(struct interface *interface, int code, const char *what)
{
	snprintf(interface->problem, sizeof(interface->problem), "%s: %s", what, error_text(code));
	return code;
}

static int create_link(struct edge *edge, struct interface *interface, const char *path)
{
	uint32_t flags = edge->force_generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
	struct bpf_link_create_opts options = {.sz = sizeof(options), .flags = flags};
	int program = edge_program_fd(edge);
	int link_fd = bpf_link_create(program, (int)interface->ifindex, BPF_XDP, &options);
	if (link_fd < 0 && !edge->force_generic && errno != EBUSY && errno != EEXIST &&
	    errno != EPERM && errno != ENODEV) {
		/* The driver cannot, or not with this MTU or these offloads. */
		options.flags = XDP_FLAGS_SKB_MODE;
		link_fd = bpf_link_create(program, (int)interface->ifindex, BPF_XDP, &options);
	}
	if (link_fd < 0 && (errno == EBUSY || errno == EEXIST)) {
		snprintf(interface->problem, sizeof(interface->problem),
			 "another XDP program is on it; remove that with 'ip link set %s xdp off'",
			 interface->name);
		return -FL_EUNAVAILABLE;
	}
	if (link_fd < 0)
		return fail(interface, -errno, "the XDP program cannot be attached");
	if (bpf_obj_pin(link_fd, path) < 0) {
		int code = -errno;
		close(link_fd);
		return fail(interface, code, "its link cannot be pinned");
	}
	interface->link_fd = link_fd;
	return 0;
}

/* The pinned link of the interface, if it is still good for it; else it is removed. */
static int open_link(const struct edge *edge, const struct interface *interface, const char *path)
{
	uint32_t program_id;
	int link_fd = bpf_obj_get(path);
	if (link_fd < 0)
		return -1;
	bool ours = link_ifindex(link_fd) == interface->ifindex;
	bool native = query_mode(interface->ifindex, &program_id) == EDGE_NATIVE;
	if (ours && !(native && edge->force_generic))
		return link_fd;
	if (ours)
		(void)bpf_link_detach(link_fd);
	close(link_fd);
	unlink(path);
	return -1;
}

static uint32_t program_id_of(int program_fd)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);
	return bpf_obj_get_info_by_fd(program_fd, &info, &size) < 0 ? 0 : info.id;
}

/* Put our program on the link. One that was taken over runs there already, and the kernel takes its
 * time for an exchange. */
static int update_link(const struct edge *edge, int link_fd)
{
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);
	int program_fd = edge_program_fd(edge);
	if (bpf_obj_get_info_by_fd(link_fd, &info, &size) == 0 && info.prog_id != 0 &&
	    info.prog_id == program_id_of(program_fd))
		return 0;
	return bpf_link_update(link_fd, program_fd, NULL) < 0 ? -errno : 0;
}

static int attach_one(struct edge *edge, struct interface *interface)
{
	char path[EDGE_PATH];
	struct error err;
	uint32_t program_id;
	maps_path(path, edge->pin_root, "links", interface->name);
	interface->problem[0] = '\0';
	int result = sysctl_apply(edge->pin_root, interface->name, &err);
	if (result < 0) {
		snprintf(interface->problem, sizeof(interface->problem), "%.150s", err.text);
		return result;
	}
	int link_fd = open_link(edge, interface, path);
	if (link_fd < 0) {
		result = create_link(edge, interface, path);
	} else {
		result = update_link(edge, link_fd);
		if (result < 0) {
			close(link_fd);
			result = fail(interface, result, "its XDP program cannot be replaced");
		} else {
			interface->link_fd = link_fd;
		}
	}
	if (result == 0)
		interface->mode = query_mode(interface->ifindex, &program_id);
	return result;
}

static void forget_link(struct interface *interface)
{
	if (interface->link_fd >= 0)
		close(interface->link_fd);
	interface->link_fd = -1;
	interface->mode = EDGE_DETACHED;
	interface->problem[0] = '\0';
}

/*
 * A native program cannot redirect to an interface that runs it generically: that one's driver does
 * not transmit XDP frames. Generic programs redirect anywhere.
 */
static void choose_direct(struct edge *edge)
{
	bool native = false;
	for (size_t i = 0; i < edge->interface_count; i++)
		native = native || edge->interfaces[i].mode == EDGE_NATIVE;
	for (size_t i = 0; i < edge->interface_count; i++)
		edge->interfaces[i].direct = !native || edge->interfaces[i].mode == EDGE_NATIVE;
}

void attach_reconcile(struct edge *edge)
{
	for (size_t i = 0; i < edge->interface_count; i++) {
		struct interface *interface = &edge->interfaces[i];
		uint32_t ifindex = if_nametoindex(interface->name);
		bool gone = interface->link_fd >= 0 && link_ifindex(interface->link_fd) != ifindex;
		if (ifindex != interface->ifindex || gone)
			forget_link(interface);
		interface->ifindex = ifindex;
		if (edge->attached && ifindex != 0 && interface->link_fd < 0)
			(void)attach_one(edge, interface); /* its `problem` says why not */
	}
	if (edge->attached)
		choose_direct(edge);
}

/* Exchanging the program of all links */

struct switched {
	int link_fd;
	int program_fd; /* that was on it; owned */
	bool opened; /* the link is ours to close */
};

/* Whether the program reads the map of this id. */
static int reads_map(int program_fd, uint32_t map_id, bool *ret_reads, struct error *err)
{
	uint32_t ids[64];
	struct bpf_prog_info info = {.nr_map_ids = sizeof(ids) / sizeof(ids[0]),
				     .map_ids = (uint64_t)(uintptr_t)ids};
	uint32_t size = sizeof(info);
	if (bpf_obj_get_info_by_fd(program_fd, &info, &size) < 0)
		return error_set(err, -errno, "a program cannot be examined: %s",
				 error_text(-errno));
	*ret_reads = false;
	for (uint32_t i = 0; i < info.nr_map_ids && i < sizeof(ids) / sizeof(ids[0]); i++)
		*ret_reads = *ret_reads || ids[i] == map_id;
	return 0;
}

/* The program on a link if it reads the map, else -1 in `ret_fd`. */
static int find_program(int link_fd, uint32_t map_id, int *ret_fd, struct error *err)
{
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);
	bool reads = false;
	*ret_fd = -1;
	if (bpf_obj_get_info_by_fd(link_fd, &info, &size) < 0 || info.type != BPF_LINK_TYPE_XDP ||
	    info.xdp.ifindex == 0)
		return 0;
	int program_fd = bpf_prog_get_fd_by_id(info.prog_id);
	if (program_fd < 0)
		return error_set(err, errno == EPERM ? -FL_EPRIVILEGE : -errno,
				 "the program on an interface cannot be opened (%s); that needs "
				 "CAP_SYS_ADMIN",
				 error_text(-errno));
	int result = reads_map(program_fd, map_id, &reads, err);
	if (result == 0 && reads)
		*ret_fd = program_fd;
	else
		close(program_fd);
	return result;
}

/* Switch one interface. Nothing to be switched is fine: then `ret->program_fd` is -1. */
static int switch_one(const struct edge *edge, const struct interface *interface, int program_fd,
		      uint32_t map_id, struct switched *ret, struct error *err)
{
	char path[EDGE_PATH];
	maps_path(path, edge->pin_root, "links", interface->name);
	*ret = (struct switched){.link_fd = interface->link_fd, .program_fd = -1};
	if (ret->link_fd < 0) {
		ret->link_fd = bpf_obj_get(path);
		ret->opened = ret->link_fd >= 0;
	}
	if (ret->link_fd < 0)
		return 0;
	int result = find_program(ret->link_fd, map_id, &ret->program_fd, err);
	if (result == 0 && ret->program_fd >= 0 &&
	    bpf_link_update(ret->link_fd, program_fd, NULL) < 0) {
		result =
		    error_set(err, -errno, "the program on interface '%s' cannot be replaced: %s",
			      interface->name, error_text(-errno));
		close(ret->program_fd);
		ret->program_fd = -1;
	}
	return result;
}

int attach_switch(struct edge *edge, int program_fd, struct error *err)
{
	struct switched done[EDGE_INTERFACES];
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);
	size_t count = 0;
	if (bpf_obj_get_info_by_fd(edge->view.settings_fd, &info, &size) < 0)
		return error_set(err, -errno, "the edge's maps cannot be examined: %s",
				 error_text(-errno));
	int result = 0;
	while (count < edge->interface_count && result == 0) {
		result = switch_one(edge, &edge->interfaces[count], program_fd, info.id,
				    &done[count], err);
		count++;
	}
	for (size_t i = 0; i < count; i++) {
		if (result < 0 && done[i].program_fd >= 0)
			(void)bpf_link_update(done[i].link_fd, done[i].program_fd, NULL);
		if (done[i].program_fd >= 0)
			close(done[i].program_fd);
		if (done[i].opened)
			close(done[i].link_fd);
	}
	return result;
}

void attach_close(struct edge *edge)
{
	for (size_t i = 0; i < edge->interface_count; i++)
		forget_link(&edge->interfaces[i]);
}

bool attach_is_pinned(const struct edge *edge)
{
	for (size_t i = 0; i < edge->interface_count; i++) {
		char path[EDGE_PATH];
		maps_path(path, edge->pin_root, "links", edge->interfaces[i].name);
		if (access(path, F_OK) == 0)
			return true;
	}
	return false;
}

static bool is_wanted(const struct edge *edge, const char *name)
{
	for (size_t i = 0; edge && i < edge->interface_count; i++) {
		if (strcmp(edge->interfaces[i].name, name) == 0)
			return true;
	}
	return false;
}

/* Detach and unpin every link of an interface that `edge` (NULL: none) does not want. */
static int remove_links(const char *pin_root, const struct edge *edge, struct error *err)
{
	char folder[EDGE_PATH];
	char path[EDGE_PATH];
	maps_path(folder, pin_root, "links", NULL);
	DIR *links = opendir(folder);
	if (!links)
		return errno == ENOENT ? 0
				       : error_set(err, -errno, "'%s' cannot be read: %s", folder,
						   error_text(-errno));
	for (struct dirent *entry = readdir(links); entry; entry = readdir(links)) {
		if (entry->d_name[0] == '.' || strlen(entry->d_name) >= IFNAMSIZ ||
		    is_wanted(edge, entry->d_name))
			continue;
		maps_path(path, pin_root, "links", entry->d_name);
		int link_fd = bpf_obj_get(path);
		if (link_fd < 0)
			continue;
		uint32_t ifindex;
		bool ours = link_read(link_fd, &ifindex);
		if (ours)
			(void)bpf_link_detach(link_fd); /* fails only if its interface has gone */
		close(link_fd);
		if (ours)
			unlink(path);
	}
	closedir(links);
	return 0;
}

int attach_remove(const char *pin_root, struct error *err)
{
	char folder[EDGE_PATH];
	int result = remove_links(pin_root, NULL, err);
	if (result < 0)
		return result;
	maps_path(folder, pin_root, "links", NULL);
	/* Others may keep pins here too. */
	if (rmdir(folder) < 0 && errno != ENOENT && errno != ENOTEMPTY)
		return error_set(err, -errno, "'%s' cannot be removed: %s", folder,
				 error_text(-errno));
	return 0;
}

static int require_one(const struct edge *edge, struct error *err)
{
	size_t attached = 0;
	for (size_t i = 0; i < edge->interface_count; i++) {
		const struct interface *interface = &edge->interfaces[i];
		if (interface->problem[0] != '\0')
			return error_set(err, -FL_EUNAVAILABLE, "interface '%s': %s",
					 interface->name, interface->problem);
		attached += interface->link_fd >= 0;
	}
	if (attached == 0)
		return error_set(err, -FL_EUNAVAILABLE,
				 "there is no interface '%s'%s; name the ones that service "
				 "addresses are routed to ('ip link' lists them)",
				 edge->interfaces[0].name,
				 edge->interface_count > 1 ? " nor any other of those configured"
							   : "");
	return 0;
}

int edge_attach(struct edge *edge, struct error *err)
{
	char folder[EDGE_PATH];
	maps_path(folder, edge->pin_root, "links", NULL);
	int result = file_make_folders(folder, 0700, err);
	if (result < 0)
		return result;
	edge->attached = true;
	attach_reconcile(edge);
	/* Which interfaces packets may be redirected to is known only now. */
	nexthop_resolve_all(edge);
	result = require_one(edge, err);
	if (result == 0)
		result = remove_links(edge->pin_root, edge, err);
	if (result == 0)
		result = edge_programs_sweep(edge->pin_root, edge, err);
	if (result == 0)
		result = maps_sweep(edge->pin_root, edge->layout, err);
	return result;
}
