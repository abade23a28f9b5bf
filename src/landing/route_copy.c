/* SPDX-License-Identifier: Apache-2.0 */
/* The copy of one route in the form of our table, and the segment size that it is to advertise. */
#include "landing/internal.h"
#include "landing/routes.h"
#include "landing/rules.h"

#include <libmnl/libmnl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* What a route's copy keeps, in the order of the copy. */
static const uint16_t kept_attributes[] = {
    RTA_DST,     RTA_SRC,        RTA_OIF,   RTA_GATEWAY,       RTA_PRIORITY,
    RTA_METRICS, RTA_MULTIPATH,  RTA_FLOW,  RTA_TABLE,         RTA_VIA,
    RTA_PREF,    RTA_ENCAP_TYPE, RTA_ENCAP, RTA_TTL_PROPAGATE, RTA_NH_ID,
};

static bool is_mirrored(const struct rtmsg *header)
{
	if (header->rtm_flags & RTM_F_CLONED)
		return false;
	return header->rtm_type == RTN_UNICAST || header->rtm_type == RTN_BLACKHOLE ||
	       header->rtm_type == RTN_UNREACHABLE || header->rtm_type == RTN_PROHIBIT ||
	       header->rtm_type == RTN_THROW;
}

static bool put(struct nlmsghdr *request, uint16_t type, size_t length, const void *bytes)
{
	return mnl_attr_put_check(request, NETLINK_REQUEST_BYTES, type, length, bytes);
}

static const struct nlattr *metric_of(const struct nlattr *metrics, uint16_t type)
{
	if (!metrics)
		return NULL;
	const char *end =
	    (const char *)mnl_attr_get_payload(metrics) + mnl_attr_get_payload_len(metrics);
	const struct nlattr *metric = mnl_attr_get_payload(metrics);
	while (mnl_attr_ok(metric, (int)(end - (const char *)metric))) {
		if (mnl_attr_get_type(metric) == type)
			return metric;
		metric = mnl_attr_next(metric);
	}
	return NULL;
}

static bool put_metrics(struct nlmsghdr *request, const struct nlattr *metrics, uint32_t mss)
{
	struct nlattr *nest =
	    mnl_attr_nest_start_check(request, NETLINK_REQUEST_BYTES, RTA_METRICS);
	if (!nest)
		return false;
	bool any = false;
	for (unsigned number = 1; number <= RTAX_MAX; number++) {
		uint16_t type = (uint16_t)number;
		const struct nlattr *metric = metric_of(metrics, type);
		uint32_t value = 0;
		if (type == RTAX_ADVMSS && mss) {
			value = mss;
			if (metric && mnl_attr_get_payload_len(metric) >= sizeof(value) &&
			    mnl_attr_get_u32(metric) && mnl_attr_get_u32(metric) < mss)
				value = mnl_attr_get_u32(metric);
			if (!put(request, type, sizeof(value), &value))
				return false;
			any = true;
		} else if (metric) {
			if (!put(request, type, mnl_attr_get_payload_len(metric),
				 mnl_attr_get_payload(metric)))
				return false;
			any = true;
		}
	}
	if (any)
		mnl_attr_nest_end(request, nest);
	else
		mnl_attr_nest_cancel(request, nest);
	return true;
}

/* The next hops, with the flags that only report a link's present state cleared. */
static bool put_next_hops(struct nlmsghdr *request, const struct nlattr *multipath)
{
	struct nlattr *attribute = mnl_nlmsg_get_payload_tail(request);
	if (!put(request, RTA_MULTIPATH, mnl_attr_get_payload_len(multipath),
		 mnl_attr_get_payload(multipath)))
		return false;
	char *at = mnl_attr_get_payload(attribute);
	size_t left = mnl_attr_get_payload_len(attribute);
	while (left >= sizeof(struct rtnexthop)) {
		struct rtnexthop hop;
		memcpy(&hop, at, sizeof(hop));
		size_t length = RTNH_ALIGN(hop.rtnh_len);
		hop.rtnh_flags &= RTNH_F_ONLINK;
		memcpy(at, &hop, sizeof(hop));
		if (hop.rtnh_len < sizeof(hop) || length > left)
			break;
		at += length;
		left -= length;
	}
	return true;
}

/* With a next-hop object, the hops that the kernel shows besides are for old readers. */
static bool is_left_out(const struct nlmsghdr *route, uint16_t type)
{
	return route_attribute(route, RTA_NH_ID, sizeof(uint32_t)) &&
	       (type == RTA_OIF || type == RTA_GATEWAY || type == RTA_MULTIPATH ||
		type == RTA_VIA || type == RTA_ENCAP || type == RTA_ENCAP_TYPE);
}

static bool put_kept(struct nlmsghdr *request, const struct nlmsghdr *route, uint32_t mss)
{
	bool leads_out =
	    ((const struct rtmsg *)mnl_nlmsg_get_payload(route))->rtm_type == RTN_UNICAST;
	for (size_t i = 0; i < sizeof(kept_attributes) / sizeof(*kept_attributes); i++) {
		uint16_t type = kept_attributes[i];
		const struct nlattr *attribute = route_attribute(route, type, 0);
		const uint32_t table = LANDING_TABLE;
		bool fits = true;
		if (type == RTA_TABLE)
			fits = put(request, type, sizeof(table), &table);
		else if (type == RTA_METRICS)
			fits = put_metrics(request, attribute, leads_out ? mss : 0);
		else if (!attribute || is_left_out(route, type))
			continue;
		else if (type == RTA_MULTIPATH)
			fits = put_next_hops(request, attribute);
		else
			fits = put(request, type, mnl_attr_get_payload_len(attribute),
				   mnl_attr_get_payload(attribute));
		if (!fits)
			return false;
	}
	return true;
}

int route_copy_make(const struct nlmsghdr *route, uint32_t mss, struct route_copy *ret_copy)
{
	if (!route_is_whole(route))
		return 0;
	const struct rtmsg *from = mnl_nlmsg_get_payload(route);
	if (!is_mirrored(from))
		return 0;
	char *bytes = calloc(1, NETLINK_REQUEST_BYTES);
	if (!bytes)
		return -ENOMEM;
	struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
	struct rtmsg *to = mnl_nlmsg_put_extra_header(request, sizeof(*to));
	*to = (struct rtmsg){.rtm_family = from->rtm_family,
			     .rtm_dst_len = from->rtm_dst_len,
			     .rtm_src_len = from->rtm_src_len,
			     .rtm_tos = from->rtm_tos,
			     .rtm_table = RT_TABLE_UNSPEC,
			     .rtm_protocol = LANDING_PROTOCOL,
			     .rtm_scope = from->rtm_scope,
			     .rtm_type = from->rtm_type,
			     .rtm_flags = from->rtm_flags & RTNH_F_ONLINK};
	if (!put_kept(request, route, mss)) {
		free(bytes);
		return -FL_ELIMIT;
	}
	struct nlmsghdr *shrunk = realloc(bytes, request->nlmsg_len);
	ret_copy->request = shrunk ? shrunk : request;
	return 1;
}

bool route_leads_beyond(const struct nlmsghdr *route)
{
	const struct rtmsg *header = mnl_nlmsg_get_payload(route);
	return header->rtm_type == RTN_UNICAST &&
	       (header->rtm_dst_len == 0 || route_attribute(route, RTA_GATEWAY, 0) ||
		route_attribute(route, RTA_VIA, 0) || route_attribute(route, RTA_MULTIPATH, 0) ||
		route_attribute(route, RTA_NH_ID, 0));
}

uint32_t route_mtu(const struct nlmsghdr *route, route_link_mtu *link_mtu, void *context)
{
	uint32_t mtu = ROUTE_MTU_UNKNOWN;
	uint32_t ifindex = route_number(route, RTA_OIF, 0);
	if (ifindex)
		mtu = link_mtu(ifindex, context);
	const struct nlattr *multipath = route_attribute(route, RTA_MULTIPATH, 0);
	const char *at = multipath ? mnl_attr_get_payload(multipath) : NULL;
	size_t left = multipath ? mnl_attr_get_payload_len(multipath) : 0;
	while (left >= sizeof(struct rtnexthop)) {
		struct rtnexthop hop;
		memcpy(&hop, at, sizeof(hop));
		size_t length = RTNH_ALIGN(hop.rtnh_len);
		if (hop.rtnh_len < sizeof(hop) || length > left)
			break;
		uint32_t hop_mtu = link_mtu((unsigned)hop.rtnh_ifindex, context);
		mtu = hop_mtu < mtu ? hop_mtu : mtu;
		at += length;
		left -= length;
	}
	return mtu;
}

uint32_t route_mss(uint32_t mtu, uint8_t family)
{
	uint32_t headers = (family == AF_INET ? 20u : 40u) + 20u;
	/* The kernel takes no smaller segment than this (TCP_MIN_MSS). */
	return mtu > headers + 88 ? mtu - headers : 88;
}
