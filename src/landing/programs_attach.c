/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attaching: a link that an earlier run pinned is switched to the new program, so that no packet
 * meets an interface without one; where there is none, or it is on something else, one is made.
 */
#include "kernel/load.h"
#include "kernel/xdp.h"
#include "landing/programs.h"

#include "landing.skel.h"
#include "lookup.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
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

static bool is_next_stage(const struct programs *programs)
{
	const uint32_t zero = 0;
	uint32_t ours;
	uint32_t present;
	return bpf_map_lookup_elem(programs->stages, &zero, &present) == 0 &&
	       load_program_id(decapsulator(programs), &ours) == 0 && present == ours;
}

static bool is_in_place(const struct programs *programs, const struct program_interface *interface)
{
	uint32_t ours;
	uint32_t present;
	if (interface->shared)
		return is_next_stage(programs);
	return interface->link >= 0 && xdp_link_is_on(interface->link, interface->ifindex) &&
	       xdp_query(interface->ifindex, &present) != XDP_MODE_NONE &&
	       load_program_id(decapsulator(programs), &ours) == 0 && present == ours;
}

#define PIN_NAME_BYTES 32

static const char *link_name(const struct program_interface *interface, char name[PIN_NAME_BYTES])
{
	snprintf(name, PIN_NAME_BYTES, "link_if%u", interface->ifindex);
	return name;
}

static int become_next_stage(int stages, int program, struct error *err)
{
	const uint32_t zero = 0;
	int result = bpf_map_update_elem(stages, &zero, &program, BPF_ANY);
	return result < 0
		   ? error_set(err, result, "the program cannot be made the edge's next stage: %s",
			       error_text(result))
		   : 0;
}

static int yield(const struct programs *programs, const char *path, struct error *err)
{
	uint32_t ifindex;
	uint32_t program_id;
	int link = bpf_obj_get(path);
	if (link < 0)
		return 0;
	int program =
	    xdp_link_read(link, &ifindex, &program_id) ? bpf_prog_get_fd_by_id(program_id) : -1;
	close(link);
	int result = program < 0 ? 0 : become_next_stage(programs->stages, program, err);
	programs_close_link(&program);
	return result < 0 ? result : xdp_remove(path, BPF_LINK_TYPE_XDP, err);
}

int programs_yield(struct programs *programs, const char *name, struct error *err)
{
	for (unsigned i = 0; i < programs->interface_count; i++) {
		const struct program_interface *interface = &programs->interfaces[i];
		char pin[PIN_NAME_BYTES];
		char path[PINS_PATH_BYTES];
		if (!interface->shared || strcmp(interface->name, name) != 0)
			continue;
		pins_path(path, programs->pin_root, link_name(interface, pin), NULL);
		return yield(programs, path, err);
	}
	return 0;
}

/* Switch a link that an earlier run left, or make one. */
static int attach_interface(const struct programs *programs, struct program_interface *interface,
			    struct error *err)
{
	if (interface->shared) {
		uint32_t edge;
		interface->native = xdp_query(interface->ifindex, &edge) == XDP_MODE_NATIVE;
		return become_next_stage(programs->stages, decapsulator(programs), err);
	}
	char name[PIN_NAME_BYTES];
	char path[PINS_PATH_BYTES];
	struct xdp_attached attached;
	const struct xdp_place place = {.interface = interface->name,
					.ifindex = interface->ifindex,
					.pin = path,
					.generic_only = programs->generic_only};
	pins_path(path, programs->pin_root, link_name(interface, name), NULL);
	programs_close_link(&interface->link);
	int result = xdp_attach(&place, decapsulator(programs), &attached, err);
	if (result < 0) {
		error_prefix(err, "%s", interface->name);
		return result;
	}
	interface->link = attached.link;
	interface->native = attached.mode == XDP_MODE_NATIVE;
	return 0;
}

static int watch_interface(const struct programs *programs, struct program_interface *interface,
			   struct landing_alarms *alarms, struct error *err)
{
	unsigned before = interface->ifindex;
	interface->ifindex = if_nametoindex(interface->name);
	if (!interface->ifindex) {
		programs_close_link(&interface->link);
		LANDING_ALARM(alarms, UNDERLAY_GONE, interface->name, interface->name);
		return 0;
	}
	if (interface->ifindex == before && is_in_place(programs, interface))
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
	char path[PINS_PATH_BYTES];
	pins_path(path, programs->pin_root, "link_lookup", NULL);
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
	int result = pins_remove(programs->pin_root, "link_lookup", err);
	if (result < 0 || !wanted)
		return result;
	result = create_lookup(programs, path, &programs->lookup_link, err);
	if (result == 0 && lost)
		LANDING_ALARM(alarms, LOOKUP_LOST, "");
	return result;
}

/* --- removing what is pinned --- */

static bool is_interface_link(const char *name, const void *context)
{
	unsigned ifindex;
	char rest;
	(void)context;
	return sscanf(name, "link_if%u%c", &ifindex, &rest) == 1;
}

static bool is_former_link(const char *name, const void *context)
{
	const struct programs *programs = context;
	for (unsigned i = 0; i < programs->interface_count; i++) {
		char current[PIN_NAME_BYTES];
		if (strcmp(link_name(&programs->interfaces[i], current), name) == 0)
			return false;
	}
	return is_interface_link(name, NULL);
}

/* A landing's maps, of whatever build: all their names begin alike. */
static const char *const marks[] = {"landing_", NULL};

int programs_sweep(struct programs *programs, struct error *err)
{
	int result = xdp_sweep(programs->pin_root, is_former_link, programs, err);
	return result < 0 ? result
			  : pins_sweep(programs->pin_root, "", programs->layout, marks, err);
}

int programs_undo(struct programs *programs, struct error *err)
{
	char path[PINS_PATH_BYTES];
	for (unsigned i = 0; i < programs->interface_count; i++)
		programs_close_link(&programs->interfaces[i].link);
	programs_close_link(&programs->lookup_link);
	int result = xdp_sweep(programs->pin_root, is_interface_link, NULL, err);
	pins_path(path, programs->pin_root, "link_lookup", NULL);
	if (result == 0)
		result = xdp_remove(path, BPF_LINK_TYPE_NETNS, err);
	return result < 0 ? result : pins_sweep(programs->pin_root, "", NULL, marks, err);
}
