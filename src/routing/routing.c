/* SPDX-License-Identifier: Apache-2.0 */
#include "routing/routing.h"

#include "kernel/netlink.h"

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PRESENT_MAX 256u /* of ours in the table; a fabric has a handful of pools */

struct prefixes {
	struct ip_prefix items[PRESENT_MAX];
	size_t count;
};

struct routing {
	struct netlink route;
	struct netlink news;
	uint32_t table;
	struct ip_prefix *wanted; /* owned */
	size_t wanted_count;
	bool has_wanted; /* routing_announce() was called */
	/* Since the last look: the table changed by other hands, and who deleted one of ours. */
	bool changed;
	char deleter[64];
};

/* --- reading --- */

/* A route of ours, in this table. */
static bool is_ours(const struct routing *routing, const struct nlmsghdr *message)
{
	const struct rtmsg *header = mnl_nlmsg_get_payload(message);
	return mnl_nlmsg_get_payload_len(message) >= sizeof(*header) &&
	       header->rtm_protocol == ROUTING_PROTOCOL && header->rtm_type == RTN_BLACKHOLE &&
	       netlink_number(message, sizeof(*header), RTA_TABLE, header->rtm_table) ==
		   routing->table;
}

static struct ip_prefix destination(const struct nlmsghdr *route)
{
	const struct rtmsg *header = mnl_nlmsg_get_payload(route);
	struct ip_prefix prefix = {
	    .address = netlink_address(route, sizeof(*header), RTA_DST, header->rtm_family),
	    .length = header->rtm_dst_len};
	prefix.address.family = netlink_family(header->rtm_family); /* also of a default route */
	return prefix;
}

struct collecting {
	const struct routing *routing;
	struct prefixes *present;
	size_t before; /* of the families that were read already */
};

static int collect(const struct nlmsghdr *message, void *context)
{
	struct collecting *collecting = context;
	struct prefixes *present = collecting->present;
	if (!message)
		present->count = collecting->before;
	if (!message || message->nlmsg_type != RTM_NEWROUTE ||
	    !is_ours(collecting->routing, message))
		return 0;
	if (present->count == PRESENT_MAX)
		return -FL_ELIMIT;
	present->items[present->count++] = destination(message);
	return 0;
}

static int read_family(struct routing *routing, uint8_t af, struct prefixes *present)
{
	alignas(struct nlmsghdr) char bytes[128];
	struct collecting collecting = {
	    .routing = routing, .present = present, .before = present->count};
	struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
	request->nlmsg_type = RTM_GETROUTE;
	struct rtmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->rtm_family = af;
	mnl_attr_put_u32(request, RTA_TABLE, routing->table);
	int result = netlink_dump(&routing->route, request, collect, &collecting);
	/* No such table yet, or no such family in this kernel. */
	return result == -ENOENT || result == -EAFNOSUPPORT || result == -EOPNOTSUPP ? 0 : result;
}

static int read_present(struct routing *routing, struct prefixes *present, struct error *err)
{
	present->count = 0;
	int result = read_family(routing, AF_INET, present);
	if (result == 0)
		result = read_family(routing, AF_INET6, present);
	if (result < 0)
		error_set(err, result, "cannot read table %u of the kernel: %s", routing->table,
			  error_text(result));
	return result;
}

int routing_read(struct routing *routing, struct ip_prefix *ret_prefixes, size_t most,
		 struct error *err)
{
	struct prefixes present;
	int result = read_present(routing, &present, err);
	if (result < 0)
		return result;
	size_t count = present.count < most ? present.count : most;
	memcpy(ret_prefixes, present.items, count * sizeof(*ret_prefixes));
	return (int)count;
}

/* --- changing --- */

static int change(struct routing *routing, uint16_t type, const struct ip_prefix *prefix,
		  struct error *err)
{
	alignas(struct nlmsghdr) char bytes[256];
	char text[IP_TEXT_BYTES];
	const bool adds = type == RTM_NEWROUTE;
	struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
	request->nlmsg_type = type;
	if (adds)
		request->nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
	struct rtmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->rtm_family = netlink_af(prefix->address.family);
	header->rtm_dst_len = prefix->length;
	header->rtm_table = (uint8_t)routing->table;
	header->rtm_protocol = ROUTING_PROTOCOL;
	header->rtm_scope = RT_SCOPE_UNIVERSE;
	header->rtm_type = RTN_BLACKHOLE;
	netlink_put_address(request, RTA_DST, &prefix->address);
	mnl_attr_put_u32(request, RTA_PRIORITY, ROUTING_METRIC);
	int result = netlink_ask(&routing->route, request, NULL, NULL);
	/* There already, by whosoever's hand; gone already. */
	if (result == (adds ? -EEXIST : -ESRCH))
		return 0;
	if (result < 0)
		return error_set(err, result, "cannot %s %s %s table %u: %s", adds ? "put" : "take",
				 ip_prefix_format(prefix, text), adds ? "into" : "from",
				 routing->table, error_text(result));
	return 0;
}

/* What is missing is added first: an address is never without its route. */
static int reconcile(struct routing *routing, struct routing_loss *loss, struct error *err)
{
	struct prefixes present;
	const size_t count = routing->wanted_count;
	int result = read_present(routing, &present, err);
	if (result < 0)
		return result;
	for (size_t i = 0; i < count; i++) {
		const struct ip_prefix *prefix = &routing->wanted[i];
		if (ip_prefix_is_among(prefix, present.items, present.count))
			continue;
		int changed = change(routing, RTM_NEWROUTE, prefix, err);
		if (changed < 0) {
			result = changed;
			continue;
		}
		if (loss->count == 0)
			loss->prefix = *prefix;
		loss->count++;
	}
	for (size_t i = 0; i < present.count; i++) {
		if (ip_prefix_is_among(&present.items[i], routing->wanted, count))
			continue;
		int changed = change(routing, RTM_DELROUTE, &present.items[i], err);
		if (changed < 0)
			result = changed;
	}
	return result;
}

int routing_announce(struct routing *routing, const struct ip_prefix *prefixes, size_t count,
		     struct error *err)
{
	struct routing_loss added = {0};
	bool same = routing->has_wanted && routing->wanted_count == count;
	for (size_t i = 0; i < count && same; i++)
		same = ip_prefix_is_among(&prefixes[i], routing->wanted, count);
	if (same)
		return 0;
	struct ip_prefix *copy = calloc(count + 1, sizeof(*copy));
	if (!copy)
		return error_set(err, -ENOMEM, "out of memory");
	if (count)
		memcpy(copy, prefixes, count * sizeof(*copy));
	free(routing->wanted);
	routing->wanted = copy;
	routing->wanted_count = count;
	routing->has_wanted = true;
	int result = reconcile(routing, &added, err);
	/* What failed is tried again by the next call. */
	if (result < 0)
		routing->has_wanted = false;
	return result;
}

/* --- following --- */

static int note(const struct nlmsghdr *message, void *context)
{
	struct routing *routing = context;
	if (!message) { /* some were lost */
		routing->changed = true;
		return 0;
	}
	if ((message->nlmsg_type != RTM_DELROUTE && message->nlmsg_type != RTM_NEWROUTE) ||
	    !is_ours(routing, message) || netlink_is_sender(&routing->route, message))
		return 0;
	routing->changed = true;
	if (message->nlmsg_type == RTM_DELROUTE)
		netlink_sender(message, routing->deleter, sizeof(routing->deleter));
	return 0;
}

int routing_follow(struct routing *routing, struct routing_loss *ret_loss, struct error *err)
{
	struct routing_loss loss = {0};
	int result = netlink_drain(&routing->news, note, routing);
	if (result < 0)
		return error_set(err, result, "the kernel's news of routes cannot be read: %s",
				 error_text(result));
	if (routing->changed && routing->has_wanted) {
		result = reconcile(routing, &loss, err);
		if (result < 0)
			return result;
	}
	memcpy(loss.deleter, *routing->deleter ? routing->deleter : "somebody",
	       *routing->deleter ? sizeof(loss.deleter) : sizeof("somebody"));
	routing->changed = false;
	*routing->deleter = '\0';
	*ret_loss = loss;
	return 0;
}

/* --- life --- */

int routing_open(uint32_t table, struct routing **ret_routing, struct error *err)
{
	static const int groups[] = {RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE};
	ASSERT(table >= 1 && table <= ROUTING_TABLE_MOST);
	struct routing *routing = calloc(1, sizeof(*routing));
	if (!routing)
		return error_set(err, -ENOMEM, "out of memory");
	routing->table = table;
	int result = netlink_init(&routing->route, NETLINK_ROUTE);
	if (result == 0)
		result =
		    netlink_init_news(&routing->news, groups, sizeof(groups) / sizeof(*groups));
	if (result < 0) {
		error_set(err, result, "cannot talk to the kernel about routes: %s",
			  error_text(result));
		routing_close(routing);
		return result;
	}
	*ret_routing = routing;
	return 0;
}

void routing_close(struct routing *routing)
{
	if (!routing)
		return;
	netlink_done(&routing->route);
	netlink_done(&routing->news);
	free(routing->wanted);
	free(routing);
}

int routing_fd(const struct routing *routing)
{
	return netlink_fd(&routing->news);
}
