/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/xdp.h"

#include "kernel/pins.h"
#include "kernel/xdp_other.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <linux/if_link.h>
#include <string.h>
#include <unistd.h>

enum xdp_mode xdp_query(uint32_t ifindex, uint32_t *ret_program_id)
{
	struct bpf_xdp_query_opts query = {.sz = sizeof(query)};
	*ret_program_id = 0;
	if (ifindex == 0 || bpf_xdp_query((int)ifindex, 0, &query) < 0)
		return XDP_MODE_NONE;
	*ret_program_id =
	    query.attach_mode == XDP_ATTACHED_MULTI ? query.drv_prog_id : query.prog_id;
	switch (query.attach_mode) {
	case XDP_ATTACHED_NONE:
		return XDP_MODE_NONE;
	case XDP_ATTACHED_SKB:
		return XDP_MODE_GENERIC;
	default:
		return XDP_MODE_NATIVE;
	}
}

bool xdp_link_read(int link, uint32_t *ret_ifindex, uint32_t *ret_program_id)
{
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);
	if (bpf_obj_get_info_by_fd(link, &info, &size) < 0 || info.type != BPF_LINK_TYPE_XDP)
		return false;
	*ret_ifindex = info.xdp.ifindex;
	*ret_program_id = info.prog_id;
	return true;
}

bool xdp_link_is_on(int link, uint32_t ifindex)
{
	uint32_t own_ifindex;
	uint32_t own_program;
	uint32_t program;
	if (!xdp_link_read(link, &own_ifindex, &own_program) || own_ifindex != ifindex)
		return false;
	return xdp_query(ifindex, &program) != XDP_MODE_NONE && program == own_program;
}

static int create(const struct xdp_place *place, int program, struct xdp_attached *attached,
		  struct error *err)
{
	struct bpf_link_create_opts options = {.sz = sizeof(options), .flags = XDP_FLAGS_DRV_MODE};
	int ifindex = (int)place->ifindex;
	int link = -EOPNOTSUPP;
	if (!place->generic_only)
		link = bpf_link_create(program, ifindex, BPF_XDP, &options);
	if (link < 0 && link != -EBUSY && link != -EEXIST && link != -EPERM && link != -ENODEV) {
		/* The driver cannot, or not with this MTU or these offloads. */
		attached->refused = place->generic_only ? 0 : link;
		options.flags = XDP_FLAGS_SKB_MODE;
		link = bpf_link_create(program, ifindex, BPF_XDP, &options);
	}
	if (link == -EBUSY || link == -EEXIST) {
		uint32_t other;
		(void)xdp_query(place->ifindex, &other);
		return xdp_explain_other(place->ifindex, place->interface, other, err);
	}
	if (link < 0)
		return error_set(err, link, "the XDP program cannot be attached: %s",
				 error_text(link));
	if (bpf_obj_pin(link, place->pin) < 0) {
		int code = -errno;
		close(link);
		return error_set(err, code, "its link cannot be pinned: %s", error_text(code));
	}
	attached->link = link;
	return 0;
}

/* The pinned link if it is good for the place, else -1, and it is removed. */
static int take_pinned(const struct xdp_place *place)
{
	uint32_t program;
	int link = bpf_obj_get(place->pin);
	if (link < 0)
		return -1;
	bool on = xdp_link_is_on(link, place->ifindex);
	bool native = xdp_query(place->ifindex, &program) == XDP_MODE_NATIVE;
	if (on && native != place->generic_only)
		return link;
	if (on)
		(void)bpf_link_detach(link);
	close(link);
	(void)unlink(place->pin);
	return -1;
}

int xdp_attach(const struct xdp_place *place, int program, struct xdp_attached *ret_attached,
	       struct error *err)
{
	uint32_t program_id;
	struct xdp_attached attached = {.link = take_pinned(place)};
	int result = 0;
	if (attached.link < 0) {
		result = create(place, program, &attached, err);
	} else if (bpf_link_update(attached.link, program, NULL) < 0) {
		result = error_set(err, -errno, "its XDP program cannot be replaced: %s",
				   error_text(-errno));
		close(attached.link);
	}
	if (result < 0)
		return result;
	attached.mode = xdp_query(place->ifindex, &program_id);
	*ret_attached = attached;
	return 0;
}

int xdp_remove(const char *pin, enum bpf_link_type type, struct error *err)
{
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);
	int link = bpf_obj_get(pin);
	if (link < 0)
		return 0;
	bool ours = bpf_obj_get_info_by_fd(link, &info, &size) == 0 && info.type == type;
	if (ours)
		(void)bpf_link_detach(link); /* fails only if its interface has gone */
	close(link);
	if (ours && unlink(pin) < 0)
		return error_set(err, -errno, "'%s' cannot be removed: %s", pin,
				 error_text(-errno));
	return 0;
}

int xdp_sweep(const char *folder, xdp_goes *goes, const void *context, struct error *err)
{
	int result = 0;
	DIR *pins = opendir(folder);
	if (!pins)
		return errno == ENOENT ? 0
				       : error_set(err, -errno, "'%s' cannot be read: %s", folder,
						   error_text(-errno));
	for (struct dirent *pin = readdir(pins); pin && result == 0; pin = readdir(pins)) {
		char path[PINS_PATH_BYTES];
		if (pin->d_name[0] == '.' || strlen(pin->d_name) >= PINS_ROOT_BYTES / 2 ||
		    !goes(pin->d_name, context))
			continue;
		pins_path(path, folder, pin->d_name, NULL);
		result = xdp_remove(path, BPF_LINK_TYPE_XDP, err);
	}
	closedir(pins);
	return result;
}
