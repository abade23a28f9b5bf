/* SPDX-License-Identifier: Apache-2.0 */
#include "landing/clamp.h"

#include "kernel/load.h"

#include <bpf/libbpf.h>
#include <libmnl/libmnl.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdalign.h>
#include <string.h>
#include <sys/socket.h>

uint32_t clamp_mss(uint32_t mtu, uint8_t family)
{
	uint32_t headers = (family == AF_INET ? 20u : 40u) + 20u;
	/* The kernel takes no smaller segment than this (TCP_MIN_MSS). */
	return mtu > headers + 88 ? mtu - headers : 88;
}

/* A dump of what tc knows, of one interface and parent or (0) of all. */
static int dump(struct netlink *route, uint16_t type, unsigned ifindex, uint32_t parent,
		netlink_visit *visit, void *context)
{
	alignas(struct nlmsghdr) char bytes[128];
	struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
	request->nlmsg_type = type;
	struct tcmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->tcm_ifindex = (int)ifindex;
	header->tcm_parent = parent;
	return netlink_dump(route, request, visit, context);
}

static int collect_clsact(const struct nlmsghdr *message, void *context)
{
	static const char name[] = "clsact";
	struct exits *clsacts = context;
	if (!message) {
		clsacts->count = 0;
		return 0;
	}
	const struct nlattr *kind =
	    netlink_attribute(message, sizeof(struct tcmsg), TCA_KIND, sizeof(name));
	if (!kind || memcmp(mnl_attr_get_payload(kind), name, sizeof(name)) != 0)
		return 0;
	const struct tcmsg *header = mnl_nlmsg_get_payload(message);
	return exits_add(clsacts, (unsigned)header->tcm_ifindex);
}

static int count_filter(const struct nlmsghdr *message, void *context)
{
	unsigned *count = context;
	*count = message ? *count + (message->nlmsg_type == RTM_NEWTFILTER) : 0;
	return 0;
}

static int count_filters(struct netlink *route, unsigned ifindex, unsigned *ret_count)
{
	const uint32_t hook = TC_H_CLSACT & TC_H_MAJ_MASK;
	unsigned in = 0;
	unsigned out = 0;
	int result =
	    dump(route, RTM_GETTFILTER, ifindex, hook | TC_H_MIN_INGRESS, count_filter, &in);
	if (result == 0)
		result = dump(route, RTM_GETTFILTER, ifindex, hook | TC_H_MIN_EGRESS, count_filter,
			      &out);
	if (result == 0)
		*ret_count = in + out;
	return result;
}

static struct bpf_tc_hook way_out(unsigned ifindex)
{
	return (struct bpf_tc_hook){.sz = sizeof(struct bpf_tc_hook),
				    .ifindex = (int)ifindex,
				    .attach_point = BPF_TC_EGRESS};
}

static struct bpf_tc_opts our_filter(void)
{
	return (struct bpf_tc_opts){
	    .sz = sizeof(struct bpf_tc_opts), .handle = CLAMP_HANDLE, .priority = CLAMP_PRIORITY};
}

/* 1 if it was not there, 0 if it was (maybe with another program), or an error. */
static int attach(unsigned ifindex, bool has_clsact, int program)
{
	uint32_t id = 0;
	struct bpf_tc_hook hook = way_out(ifindex);
	struct bpf_tc_opts filter = our_filter();
	int result = load_program_id(program, &id);
	if (result == 0 && !has_clsact)
		result = bpf_tc_hook_create(&hook);
	if (result < 0)
		return result;
	const bool there = has_clsact && bpf_tc_query(&hook, &filter) == 0;
	if (there && filter.prog_id == id)
		return 0;
	filter = our_filter();
	filter.prog_fd = program;
	filter.flags = BPF_TC_F_REPLACE;
	result = bpf_tc_attach(&hook, &filter);
	return result < 0 ? result : !there;
}

static int detach(struct netlink *route, unsigned ifindex)
{
	unsigned others = 0;
	struct bpf_tc_hook hook = way_out(ifindex);
	struct bpf_tc_opts filter = our_filter();
	if (bpf_tc_query(&hook, &filter) < 0)
		return 0;
	filter = our_filter();
	int result = bpf_tc_detach(&hook, &filter);
	if (result == 0)
		result = count_filters(route, ifindex, &others);
	if (result < 0 || others)
		return result;
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS; /* both: the clsact itself */
	return bpf_tc_hook_destroy(&hook);
}

int clamp_apply(struct netlink *route, int program, struct exits *wanted,
		const struct exits *before, struct landing_alarms *alarms, struct error *err)
{
	struct exits clsacts = {0};
	char name[IF_NAMESIZE];
	int result = dump(route, RTM_GETQDISC, 0, 0, collect_clsact, &clsacts);
	for (unsigned i = 0; i < clsacts.count && result == 0; i++) {
		if (exits_have(wanted, clsacts.items[i]))
			continue;
		result = detach(route, clsacts.items[i]);
		result = result == -ENODEV ? 0 : result;
	}
	if (result < 0)
		return error_set(err, result, "cannot take back the clamp of the MSS: %s",
				 error_text(result));
	for (unsigned i = 0; i < wanted->count; i++) {
		const unsigned ifindex = wanted->items[i];
		result = attach(ifindex, exits_have(&clsacts, ifindex), program);
		if (result < 0)
			wanted->items[i] = 0;
		/* An interface that has just gone: its event brings us back here. */
		if (result == 0 || result == -ENODEV || !if_indextoname(ifindex, name))
			continue;
		if (result < 0)
			LANDING_ALARM(alarms, CLAMP_MISSING, name, name, error_text(result));
		else if (exits_have(before, ifindex))
			LANDING_ALARM(alarms, CLAMP_LOST, name, name);
	}
	return 0;
}
