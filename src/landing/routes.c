/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the kernel's routes, and making pools local. */
#include "landing/routes.h"

#include "base/buffer.h"
#include "kernel/own_calls.h"
#include "landing/rules.h"

#include <libmnl/libmnl.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdalign.h>
#include <string.h>
#include <sys/socket.h>

/* --- reading --- */

static const struct nlattr *route_attribute(const struct nlmsghdr *route, unsigned type,
					    size_t least)
{
	return netlink_attribute(route, sizeof(struct rtmsg), type, least);
}

static uint32_t route_number(const struct nlmsghdr *route, unsigned type, uint32_t otherwise)
{
	return netlink_number(route, sizeof(struct rtmsg), type, otherwise);
}

static bool route_is_whole(const struct nlmsghdr *message)
{
	return message && message->nlmsg_type == RTM_NEWROUTE &&
	       mnl_nlmsg_get_payload_len(message) >= sizeof(struct rtmsg);
}

static struct ip_prefix route_destination(const struct nlmsghdr *route)
{
	const struct rtmsg *header = mnl_nlmsg_get_payload(route);
	struct ip_prefix prefix = {
	    .address = netlink_address(route, sizeof(*header), RTA_DST, header->rtm_family),
	    .length = header->rtm_dst_len,
	};
	prefix.address.family = netlink_family(header->rtm_family); /* also of a default route */
	return prefix;
}

static int routes_dump(struct netlink *route, uint8_t family, uint32_t table, netlink_visit *visit,
		       void *context)
{
	alignas(struct nlmsghdr) char bytes[128];
	struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
	request->nlmsg_type = RTM_GETROUTE;
	struct rtmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->rtm_family = family;
	mnl_attr_put_u32(request, RTA_TABLE, table);
	int result = netlink_dump(route, request, visit, context);
	/* No such table yet, or no such family in this kernel. */
	return result == -ENOENT || result == -EAFNOSUPPORT || result == -EOPNOTSUPP ? 0 : result;
}

/* --- where routes lead --- */

int exits_add(struct exits *exits, unsigned ifindex)
{
	if (exits_have(exits, ifindex))
		return 0;
	if (exits->count == EXITS_MAX)
		return -FL_ELIMIT;
	exits->items[exits->count++] = ifindex;
	return 0;
}

bool exits_have(const struct exits *exits, unsigned ifindex)
{
	for (unsigned i = 0; i < exits->count; i++) {
		if (exits->items[i] == ifindex)
			return true;
	}
	return false;
}

/* A route to more than what is on a link of this machine. */
static bool leads_beyond(const struct nlmsghdr *route)
{
	const struct rtmsg *header = mnl_nlmsg_get_payload(route);
	return header->rtm_dst_len == 0 || route_attribute(route, RTA_GATEWAY, 0) ||
	       route_attribute(route, RTA_VIA, 0) || route_attribute(route, RTA_MULTIPATH, 0) ||
	       route_attribute(route, RTA_NH_ID, 0);
}

/* Every IPv6 interface has a route to these, also each container's, and no client does. */
static bool is_link_local(const struct ip_prefix *prefix)
{
	const uint8_t *bytes = prefix->address.bytes;
	return prefix->address.family == IP_V6 && prefix->length >= 10 && bytes[0] == 0xfe &&
	       (bytes[1] & 0xc0) == 0x80;
}

static int add_next_hops(const struct nlattr *multipath, struct exits *exits)
{
	const char *at = mnl_attr_get_payload(multipath);
	size_t left = mnl_attr_get_payload_len(multipath);
	int result = 0;
	while (left >= sizeof(struct rtnexthop) && result == 0) {
		struct rtnexthop hop;
		memcpy(&hop, at, sizeof(hop));
		size_t length = RTNH_ALIGN(hop.rtnh_len);
		if (hop.rtnh_len < sizeof(hop) || length > left)
			break;
		result = exits_add(exits, (unsigned)hop.rtnh_ifindex);
		at += length;
		left -= length;
	}
	return result;
}

int exits_add_route(struct exits *exits, const struct nlmsghdr *route)
{
	if (!route_is_whole(route))
		return 0;
	const struct rtmsg *header = mnl_nlmsg_get_payload(route);
	const struct ip_prefix destination = route_destination(route);
	/* Own calls leave by no interface but the edge's. */
	if (header->rtm_type != RTN_UNICAST || is_link_local(&destination) ||
	    header->rtm_protocol == OWN_CALLS_PROTOCOL ||
	    route_number(route, RTA_TABLE, header->rtm_table) == RT_TABLE_LOCAL)
		return 0;
	const uint32_t ifindex = route_number(route, RTA_OIF, 0);
	const struct nlattr *multipath = route_attribute(route, RTA_MULTIPATH, 0);
	exits->lead_beyond |= leads_beyond(route);
	int result = ifindex ? exits_add(exits, ifindex) : 0;
	return multipath && result == 0 ? add_next_hops(multipath, exits) : result;
}

static int collect_exits(const struct nlmsghdr *message, void *context)
{
	struct exits *exits = context;
	/* Of a dump that begins again, the first part's exits do no harm. */
	if (!message || message->nlmsg_type != RTM_NEWNEXTHOP)
		return exits_add_route(exits, message);
	/* Routes by an object need not say where it leads (net.ipv4.nexthop_compat_mode). */
	const struct nlattr *ifindex =
	    netlink_attribute(message, sizeof(struct nhmsg), NHA_OIF, sizeof(uint32_t));
	return ifindex ? exits_add(exits, mnl_attr_get_u32(ifindex)) : 0;
}

int routes_read_exits(struct netlink *route, uint8_t family, struct exits *exits, struct error *err)
{
	alignas(struct nlmsghdr) char bytes[128];
	struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
	request->nlmsg_type = RTM_GETNEXTHOP;
	(void)mnl_nlmsg_put_extra_header(request, sizeof(struct nhmsg));
	exits->lead_beyond = false;
	int result = netlink_dump(route, request, collect_exits, exits);
	if (result == 0)
		result = routes_dump(route, family, RT_TABLE_UNSPEC, collect_exits, exits);
	if (result < 0)
		error_set(err, result, "cannot read the routes: %s", error_text(result));
	return result;
}

/* --- what the release before left --- */

#define FORMER_TABLE 26220

static int collect_former(const struct nlmsghdr *message, void *context)
{
	struct buffer *routes = context;
	if (!message)
		routes->length = 0;
	if (!route_is_whole(message))
		return 0;
	const struct rtmsg *header = mnl_nlmsg_get_payload(message);
	if (header->rtm_protocol == LANDING_PROTOCOL &&
	    route_number(message, RTA_TABLE, header->rtm_table) == FORMER_TABLE)
		buffer_append(routes, message, NLMSG_ALIGN(message->nlmsg_len));
	return routes->status;
}

void routes_delete_former(struct netlink *route, uint8_t family)
{
	struct buffer routes;
	buffer_init(&routes, 0);
	int result = routes_dump(route, family, FORMER_TABLE, collect_former, &routes);
	for (size_t at = 0; at < routes.length && (result == 0 || result == -ESRCH);) {
		struct nlmsghdr *message = (struct nlmsghdr *)(routes.data + at);
		at += NLMSG_ALIGN(message->nlmsg_len);
		message->nlmsg_type = RTM_DELROUTE;
		message->nlmsg_flags = 0;
		result = netlink_ask(route, message, NULL, NULL);
	}
	buffer_done(&routes);
}

/* --- local routes --- */

/* The pools that we made local, as the kernel has them. */
struct local_routes {
	struct ip_prefix items[4 * LANDING_POOLS_MAX];
	unsigned count;
};

static int collect_local(const struct nlmsghdr *message, void *context)
{
	struct local_routes *routes = context;
	if (!message)
		routes->count = 0;
	if (!route_is_whole(message))
		return 0;
	const struct rtmsg *header = mnl_nlmsg_get_payload(message);
	if (header->rtm_protocol != LANDING_PROTOCOL || header->rtm_type != RTN_LOCAL ||
	    route_number(message, RTA_TABLE, header->rtm_table) != RT_TABLE_LOCAL)
		return 0;
	if (routes->count == sizeof(routes->items) / sizeof(*routes->items))
		return -FL_ELIMIT;
	routes->items[routes->count++] = route_destination(message);
	return 0;
}

/* 1 if changed, 0 if it was so already, or an error. */
static int change_local(struct netlink *route, uint16_t type, const struct ip_prefix *pool,
			struct error *err)
{
	alignas(struct nlmsghdr) char bytes[256];
	char text[IP_TEXT_BYTES];
	bool is_v4 = pool->address.family == IP_V4;
	struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
	request->nlmsg_type = type;
	if (type == RTM_NEWROUTE)
		request->nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
	struct rtmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->rtm_family = is_v4 ? AF_INET : AF_INET6;
	header->rtm_dst_len = pool->length;
	header->rtm_table = RT_TABLE_LOCAL;
	header->rtm_protocol = LANDING_PROTOCOL;
	header->rtm_scope = is_v4 ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
	header->rtm_type = RTN_LOCAL;
	netlink_put_address(request, RTA_DST, &pool->address);
	mnl_attr_put_u32(request, RTA_OIF, if_nametoindex("lo"));
	int result = netlink_ask(route, request, NULL, NULL);
	/* There already: somebody else made the pool local, and may keep it so. */
	if (result == (type == RTM_NEWROUTE ? -EEXIST : -ESRCH))
		return 0;
	if (result == -EACCES && !is_v4)
		return error_set(err, result,
				 "cannot add the local route of pool %s: IPv6 is disabled on this "
				 "machine's lo; set net.ipv6.conf.lo.disable_ipv6 (and that of "
				 "the interfaces) to 0, or give the version no IPv6 pool",
				 ip_prefix_format(pool, text));
	if (result < 0)
		return error_set(err, result, "cannot %s the local route of pool %s: %s",
				 type == RTM_NEWROUTE ? "add" : "delete",
				 ip_prefix_format(pool, text), error_text(result));
	return 1;
}

static int replace_local(struct netlink *route, uint8_t family, const struct local_routes *present,
			 const struct ip_prefix *pools, unsigned pool_count, const char *deleter,
			 struct landing_alarms *alarms, struct error *err)
{
	char text[IP_TEXT_BYTES];
	for (unsigned i = 0; i < pool_count; i++) {
		if (pools[i].address.family != (family == AF_INET ? IP_V4 : IP_V6) ||
		    ip_prefix_is_among(&pools[i], present->items, present->count))
			continue;
		int result = change_local(route, RTM_NEWROUTE, &pools[i], err);
		if (result < 0)
			return result;
		if (result == 1)
			LANDING_ALARM(alarms, ROUTE_LOST, ip_prefix_format(&pools[i], text),
				      deleter, text);
	}
	for (unsigned i = 0; i < present->count; i++) {
		if (ip_prefix_is_among(&present->items[i], pools, pool_count))
			continue;
		int result = change_local(route, RTM_DELROUTE, &present->items[i], err);
		if (result < 0)
			return result;
	}
	return 0;
}

bool route_is_ours(const struct nlmsghdr *message)
{
	const struct rtmsg *header = mnl_nlmsg_get_payload(message);
	return mnl_nlmsg_get_payload_len(message) >= sizeof(*header) &&
	       header->rtm_protocol == LANDING_PROTOCOL;
}

static int read_local(struct netlink *route, uint8_t family, struct local_routes *routes,
		      struct error *err)
{
	int result = routes_dump(route, family, RT_TABLE_LOCAL, collect_local, routes);
	if (result < 0)
		error_set(err, result, "cannot read the local routes: %s", error_text(result));
	return result;
}

int routes_read_local(struct netlink *route, uint8_t family, struct ip_prefix *pools,
		      unsigned *pool_count, struct error *err)
{
	struct local_routes present;
	int result = read_local(route, family, &present, err);
	for (unsigned i = 0; result == 0 && i < present.count; i++) {
		if (*pool_count == LANDING_POOLS_MAX)
			return error_set(err, -FL_ELIMIT, "more than %d pools are local",
					 LANDING_POOLS_MAX);
		pools[(*pool_count)++] = present.items[i];
	}
	return result;
}

int routes_apply_local(struct netlink *route, uint8_t family, const struct ip_prefix *pools,
		       unsigned pool_count, const char *deleter, struct landing_alarms *alarms,
		       struct error *err)
{
	struct local_routes present;
	int result = read_local(route, family, &present, err);
	return result < 0 ? result
			  : replace_local(route, family, &present, pools, pool_count, deleter,
					  alarms, err);
}
