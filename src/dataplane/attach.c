/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/attach.h"

#include "kernel/own_calls.h"

#include <bpf/bpf.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool is_shared(const struct edge_options *options, const char *name)
{
	for (size_t i = 0; i < options->shared_count; i++) {
		if (strcmp(options->shared[i], name) == 0)
			return true;
	}
	return false;
}

void attach_init(struct attachments *attachments, const struct edge_options *options)
{
	*attachments = (struct attachments){.count = options->interface_count,
					    .yield = options->yield,
					    .yield_context = options->yield_context,
					    .generic_only = options->force_generic};
	snprintf(attachments->root, sizeof(attachments->root), "%s", options->pin_root);
	for (size_t i = 0; i < options->interface_count; i++) {
		struct attachment *attachment = &attachments->items[i];
		snprintf(attachment->name, sizeof(attachment->name), "%s", options->interfaces[i]);
		attachment->ifindex = if_nametoindex(attachment->name);
		attachment->shared = is_shared(options, attachment->name);
		attachment->link = -1;
	}
	if (options->own_calls && attachments->count < EDGE_INTERFACES) {
		struct attachment *attachment = &attachments->items[attachments->count++];
		*attachment = (struct attachment){.is_calls = true, .link = -1};
		snprintf(attachment->name, sizeof(attachment->name), "%s", OWN_CALLS_FAR);
		attachment->ifindex = if_nametoindex(attachment->name);
	}
}

static void link_path(const struct attachments *attachments, const struct attachment *attachment,
		      char path[PINS_PATH_BYTES])
{
	pins_path(path, attachments->root, "links", attachment->name);
}

enum xdp_mode attach_query(const struct attachments *attachments,
			   const struct attachment *attachment, uint32_t *ret_program_id)
{
	char path[PINS_PATH_BYTES];
	enum xdp_mode mode = xdp_query(attachment->ifindex, ret_program_id);
	link_path(attachments, attachment, path);
	if (attachment->link < 0 && (attachments->wanted || access(path, F_OK) < 0))
		return XDP_MODE_NONE;
	return mode;
}

/* The interface that a link is on; 0 if that has gone. */
static uint32_t link_ifindex(int link)
{
	uint32_t ifindex = 0;
	uint32_t program_id;
	return xdp_link_read(link, &ifindex, &program_id) ? ifindex : 0;
}

static void attach_one(const struct attachments *attachments, struct attachment *attachment,
		       int program)
{
	char path[PINS_PATH_BYTES];
	struct error err;
	const struct xdp_place place = {.interface = attachment->name,
					.ifindex = attachment->ifindex,
					.pin = path,
					.generic_only = attachments->generic_only};
	link_path(attachments, attachment, path);
	int result = slow_path_prepare(attachments->root, attachment->name, &err);
	struct xdp_attached attached;
	if (result == 0 && attachment->shared && attachments->yield)
		result = attachments->yield(attachments->yield_context, attachment->name, &err);
	if (result == 0)
		result = xdp_attach(&place, program, &attached, &err);
	if (result == 0) {
		attachment->link = attached.link;
		attachment->mode = attached.mode;
		attachment->refused = attached.refused;
	}
	snprintf(attachment->problem, sizeof(attachment->problem), "%.159s",
		 result < 0 ? err.text : "");
}

static void let_go(struct attachment *attachment)
{
	if (attachment->link >= 0)
		close(attachment->link);
	attachment->link = -1;
	attachment->mode = XDP_MODE_NONE;
	attachment->problem[0] = '\0';
}

/*
 * A native program cannot redirect to an interface that runs it generically: that one's driver does
 * not transmit XDP frames, and every packet would take the kernel's way. Generic programs redirect
 * anywhere. So where one driver does not take the program, none is asked.
 */
static void choose_mode(struct attachments *attachments, int program)
{
	bool native = false;
	bool generic = false;
	for (size_t i = 0; i < attachments->count; i++) {
		native |= attachments->items[i].mode == XDP_MODE_NATIVE;
		generic |= attachments->items[i].mode == XDP_MODE_GENERIC;
	}
	if (!native || !generic)
		return;
	attachments->generic_only = true;
	for (size_t i = 0; i < attachments->count; i++) {
		struct attachment *attachment = &attachments->items[i];
		if (attachment->mode != XDP_MODE_NATIVE)
			continue;
		let_go(attachment);
		attach_one(attachments, attachment, program);
	}
}

void attach_reconcile(struct attachments *attachments, int program)
{
	for (size_t i = 0; i < attachments->count; i++) {
		struct attachment *attachment = &attachments->items[i];
		uint32_t ifindex = if_nametoindex(attachment->name);
		bool gone = attachment->link >= 0 && link_ifindex(attachment->link) != ifindex;
		if (ifindex != attachment->ifindex || gone)
			let_go(attachment);
		attachment->ifindex = ifindex;
		if (attachments->wanted && ifindex != 0 && attachment->link < 0)
			attach_one(attachments, attachment, program);
	}
	if (attachments->wanted)
		choose_mode(attachments, program);
}

int attach_require_one(const struct attachments *attachments, struct error *err)
{
	size_t attached = 0;
	for (size_t i = 0; i < attachments->count; i++) {
		const struct attachment *attachment = &attachments->items[i];
		if (attachment->is_calls)
			continue;
		if (attachment->problem[0] != '\0')
			return error_set(err, -FL_EUNAVAILABLE, "interface '%s': %s",
					 attachment->name, attachment->problem);
		attached += attachment->link >= 0;
	}
	if (attached == 0)
		return error_set(err, -FL_EUNAVAILABLE,
				 "there is no interface '%s'%s; name the ones that service "
				 "addresses are routed to ('ip link' lists them)",
				 attachments->items[0].name,
				 attachments->count > 1 ? " nor any other of those configured"
							: "");
	return 0;
}

int attach_switch(struct attachments *attachments, int program, int before, struct error *err)
{
	for (size_t i = 0; i < attachments->count; i++) {
		const struct attachment *attachment = &attachments->items[i];
		if (attachment->link < 0 || link_ifindex(attachment->link) == 0 ||
		    bpf_link_update(attachment->link, program, NULL) == 0)
			continue;
		int result =
		    error_set(err, -errno, "the program on interface '%s' cannot be replaced: %s",
			      attachment->name, error_text(-errno));
		while (i-- > 0) {
			if (attachments->items[i].link >= 0)
				(void)bpf_link_update(attachments->items[i].link, before, NULL);
		}
		return result;
	}
	return 0;
}

void attach_close(struct attachments *attachments)
{
	for (size_t i = 0; i < attachments->count; i++)
		let_go(&attachments->items[i]);
}

bool attach_is_pinned(const struct attachments *attachments)
{
	for (size_t i = 0; i < attachments->count; i++) {
		char path[PINS_PATH_BYTES];
		link_path(attachments, &attachments->items[i], path);
		if (access(path, F_OK) == 0)
			return true;
	}
	return false;
}

static bool is_unwanted(const char *name, const void *context)
{
	const struct attachments *keep = context;
	for (size_t i = 0; keep && i < keep->count; i++) {
		if (strcmp(keep->items[i].name, name) == 0)
			return false;
	}
	return true;
}

int attach_sweep(const char *root, const struct attachments *keep, struct error *err)
{
	char folder[PINS_PATH_BYTES];
	pins_path(folder, root, "links", NULL);
	int result = xdp_sweep(folder, is_unwanted, keep, err);
	return result < 0 || keep ? result : pins_remove_root(folder, err);
}
