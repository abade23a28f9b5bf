/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attaching: a link that an earlier run pinned is switched to the new program, so that no packet
 * meets an interface without one; where there is none, or it is on something else, one is made.
 */
#include "landing/internal.h"
#include "landing/programs.h"

#include "landing.skel.h"
#include "lookup.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the XDP program on the interfaces --- */

static int decapsulator(const struct programs *programs)
{
	return bpf_program__fd(programs->landing->progs.landing_decapsulate);
}

static __u32 program_id(int program)
{
	struct bpf_prog_info info = {0};
	__u32 size = sizeof(info);
	return bpf_obj_get_info_by_fd(program, &info, &size) == 0 ? info.id : 0;
}

/* The program on the interface, 0 if there is none, and how it is attached. */
static __u32 program_on(unsigned ifindex, bool *ret_native)
{
	struct bpf_xdp_query_opts query = {.sz = sizeof(query)};
	if (bpf_xdp_query((int)ifindex, 0, &query) < 0)
		return 0;
	*ret_native = query.attach_mode == XDP_ATTACHED_DRV;
	return query.attach_mode == XDP_ATTACHED_MULTI ? query.drv_prog_id : query.prog_id;
}

/*
 * The link acts on this very interface. Its index alone does not say so: another namespace may
 * have an interface of the same number, and the link be on that one.
 */
static bool link_is_on(int link, unsigned ifindex, bool *ret_native)
{
	struct bpf_link_info info = {0};
	__u32 size = sizeof(info);
	return bpf_obj_get_info_by_fd(link, &info, &size) == 0 && info.type == BPF_LINK_TYPE_XDP &&
	       info.xdp.ifindex == ifindex && info.prog_id &&
	       program_on(ifindex, ret_native) == info.prog_id;
}

static void link_path(const struct programs *programs, unsigned ifindex, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%.*s/link_if%u", PATH_MAX - 64, programs->pin_root, ifindex);
}

static int create_link(const struct programs *programs, struct program_interface *interface,
		       struct error *err)
{
	struct bpf_link_create_opts options = {.sz = sizeof(options), .flags = XDP_FLAGS_DRV_MODE};
	int link = -EOPNOTSUPP;
	if (!programs->generic_only)
		link = bpf_link_create(decapsulator(programs), (int)interface->ifindex, BPF_XDP,
				       &options);
	bool native = link >= 0;
	if (link < 0 && link != -EBUSY && link != -EEXIST) {
		options.flags = XDP_FLAGS_SKB_MODE;
		link = bpf_link_create(decapsulator(programs), (int)interface->ifindex, BPF_XDP,
				       &options);
	}
	if (link == -EBUSY || link == -EEXIST) {
		bool ignored;
		return error_set(err, -FL_ECONFLICT,
				 "%s: another XDP program (id %u) is on this interface; landing "
				 "cannot share it, detach that one",
				 interface->name, program_on(interface->ifindex, &ignored));
	}
	if (link < 0)
		return error_set(err, link, "%s: cannot attach the XDP program: %s",
				 interface->name, error_text(link));
	interface->link = link;
	interface->native = native;
	return 0;
}

/* Switch a link that an earlier run left, or make one. */
static int attach_interface(const struct programs *programs, struct program_interface *interface,
			    struct error *err)
{
	char path[PATH_MAX];
	link_path(programs, interface->ifindex, path);
	programs_close_link(&interface->link);
	int link = bpf_obj_get(path);
	if (link >= 0) {
		bool native = false;
		if (link_is_on(link, interface->ifindex, &native) &&
		    !(native && programs->generic_only) &&
		    bpf_link_update(link, decapsulator(programs), NULL) == 0) {
			interface->link = link;
			interface->native = native;
			return 0;
		}
		close(link);
	}
	if (unlink(path) < 0 && errno != ENOENT)
		return error_set(err, -errno, "%s: cannot remove: %s", path, strerror(errno));
	int result = create_link(programs, interface, err);
	if (result < 0)
		return result;
	result = bpf_obj_pin(interface->link, path);
	if (result < 0) {
		programs_close_link(&interface->link);
		return error_set(err, result, "%s: cannot pin: %s", path, error_text(result));
	}
	return 0;
}

static int watch_interface(const struct programs *programs, struct program_interface *interface,
			   struct landing_alarms *alarms, struct error *err)
{
	unsigned before = interface->ifindex;
	bool native = false;
	interface->ifindex = if_nametoindex(interface->name);
	if (!interface->ifindex) {
		programs_close_link(&interface->link);
		LANDING_ALARM(alarms, UNDERLAY_GONE, interface->name, interface->name);
		return 0;
	}
	if (interface->link >= 0 && interface->ifindex == before &&
	    link_is_on(interface->link, interface->ifindex, &native) &&
	    program_on(interface->ifindex, &native) == program_id(decapsulator(programs)))
		return 0;
	int result = attach_interface(programs, interface, err);
	if (result < 0)
		return result;
	const char *mode = interface->native ? "native" : "generic";
	if (before == interface->ifindex)
		LANDING_ALARM(alarms, UNDERLAY_LOST, interface->name, interface->name, mode);
	else
		LANDING_ALARM(alarms, UNDERLAY_BACK, interface->name, interface->name, mode);
	return 0;
}

int programs_attach(struct programs *programs, struct landing_alarms *alarms, struct error *err)
{
	for (unsigned i = 0; i < programs->interface_count; i++) {
		struct error reason;
		struct program_interface *interface = &programs->interfaces[i];
		int result = watch_interface(programs, interface, alarms, &reason);
		/* A check goes on with the other interfaces; a change must know. */
		if (result < 0 && alarms)
			LANDING_ALARM(alarms, UNDERLAY_DETACHED, interface->name, interface->name,
				      reason.text);
		else if (result < 0)
			return error_set(err, result, "%s", reason.text);
	}
	return 0;
}

/* --- the sk_lookup program on the namespace --- */

static ino_t own_namespace(void)
{
	struct stat info;
	return stat("/proc/thread-self/ns/net", &info) == 0 ? info.st_ino : 0;
}

static bool lookup_is_here(int link)
{
	struct bpf_link_info info = {0};
	__u32 size = sizeof(info);
	return bpf_obj_get_info_by_fd(link, &info, &size) == 0 &&
	       info.type == BPF_LINK_TYPE_NETNS && info.netns.netns_ino == own_namespace();
}

static int create_lookup(const struct programs *programs, const char *path, int *ret_link,
			 struct error *err)
{
	int namespace = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (namespace < 0)
		return error_set(err, -errno, "cannot open the network namespace: %s",
				 strerror(errno));
	int link = bpf_link_create(bpf_program__fd(programs->lookup->progs.landing_hand), namespace,
				   BPF_SK_LOOKUP, NULL);
	close(namespace);
	if (link < 0)
		return error_set(err, link, "cannot attach the sk_lookup program: %s",
				 error_text(link));
	int result = bpf_obj_pin(link, path);
	if (result < 0) {
		close(link);
		return error_set(err, result, "%s: cannot pin: %s", path, error_text(result));
	}
	*ret_link = link;
	return 0;
}

int programs_attach_lookup(struct programs *programs, bool wanted, struct landing_alarms *alarms,
			   struct error *err)
{
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%.*s/link_lookup", PATH_MAX - 64, programs->pin_root);
	if (wanted && programs->lookup_link >= 0 && lookup_is_here(programs->lookup_link))
		return 0;
	bool lost = programs->lookup_link >= 0;
	programs_close_link(&programs->lookup_link);
	int link = bpf_obj_get(path);
	if (link < 0 && !wanted)
		return 0;
	if (link >= 0 && wanted && lookup_is_here(link) &&
	    bpf_link_update(link, bpf_program__fd(programs->lookup->progs.landing_hand), NULL) ==
		0) {
		programs->lookup_link = link;
		return 0;
	}
	if (link >= 0) {
		(void)bpf_link_detach(link);
		close(link);
	}
	if (unlink(path) < 0 && errno != ENOENT)
		return error_set(err, -errno, "%s: cannot remove: %s", path, strerror(errno));
	if (!wanted)
		return 0;
	int result = create_lookup(programs, path, &programs->lookup_link, err);
	if (result == 0 && lost)
		LANDING_ALARM(alarms, LOOKUP_LOST, "");
	return result;
}
