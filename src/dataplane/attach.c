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

void attach_query(const struct edge *edge, const struct interface *interface,
		  enum edge_mode *ret_mode, uint32_t *ret_program_id)
{
	char path[EDGE_PATH];
	*ret_mode = query_mode(interface->ifindex, ret_program_id);
	maps_path(path, edge->pin_root, "links", interface->name);
	/* Until this process attaches, an earlier one's program may be what forwards. */
	if (interface->link_fd < 0 && (edge->attached || access(path, F_OK) < 0))
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
		result = bpf_link_update(link_fd, edge_program_fd(edge), NULL) < 0 ? -errno : 0;
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

int attach_switch(struct edge *edge, int program_fd, struct error *err)
{
	for (size_t i = 0; i < edge->interface_count; i++) {
		const struct interface *interface = &edge->interfaces[i];
		if (interface->link_fd < 0 || link_ifindex(interface->link_fd) == 0 ||
		    bpf_link_update(interface->link_fd, program_fd, NULL) == 0)
			continue;
		int result =
		    error_set(err, -errno, "the program on interface '%s' cannot be replaced: %s",
			      interface->name, error_text(-errno));
		while (i-- > 0) {
			if (edge->interfaces[i].link_fd >= 0)
				(void)bpf_link_update(edge->interfaces[i].link_fd,
						      edge_program_fd(edge), NULL);
		}
		return result;
	}
	return 0;
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
	if (result == 0 && !edge->pinned)
		result = maps_pin(edge, err);
	if (result < 0)
		return result;
	edge->attached = true;
	held_forget(edge);
	attach_reconcile(edge);
	/* Which interfaces packets may be redirected to is known only now. */
	nexthop_resolve_all(edge);
	result = require_one(edge, err);
	if (result == 0)
		result = remove_links(edge->pin_root, edge, err);
	if (result == 0 && !edge->pinned)
		result = maps_take_place(edge, err);
	return result;
}
