/* SPDX-License-Identifier: Apache-2.0 */
#include "landing/routes.h"

#include "landing/rules.h"

#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define DUMP_ATTEMPTS 10
#define LINKS_MAX 4096
#define LINK_MTU_UNKNOWN UINT32_MAX

/* What a route's copy keeps, in the order of the copy. */
static const uint16_t kept_attributes[] = {
    RTA_DST,     RTA_SRC,        RTA_OIF,   RTA_GATEWAY,       RTA_PRIORITY,
    RTA_METRICS, RTA_MULTIPATH,  RTA_FLOW,  RTA_TABLE,         RTA_VIA,
    RTA_PREF,    RTA_ENCAP_TYPE, RTA_ENCAP, RTA_TTL_PROPAGATE, RTA_NH_ID,
};

static const struct nlattr *route_attribute(const struct nlmsghdr *route, unsigned type,
					    size_t least)
{
	return netlink_attribute(route, sizeof(struct rtmsg), type, least);
}

static uint32_t route_number(const struct nlmsghdr *route, unsigned type, uint32_t otherwise)
{
	const struct nlattr *attribute = route_attribute(route, type, sizeof(uint32_t));
	return attribute ? mnl_attr_get_u32(attribute) : otherwise;
}

static bool is_route(const struct nlmsghdr *message)
{
	return message->nlmsg_type == RTM_NEWROUTE &&
	       mnl_nlmsg_get_payload_len(message) >= sizeof(struct rtmsg);
}

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
	if (!is_route(route))
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

uint32_t route_mtu(const struct nlmsghdr *route, route_link_mtu *link_mtu, void *context)
{
	uint32_t mtu = LINK_MTU_UNKNOWN;
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

struct link {
	unsigned ifindex;
	uint32_t mtu;
};

struct links {
	struct link items[LINKS_MAX];
	unsigned count;
};

static int collect_link(const struct nlmsghdr *message, void *context)
{
	struct links *links = context;
	if (message->nlmsg_type != RTM_NEWLINK ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(struct ifinfomsg))
		return 0;
	const struct ifinfomsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *mtu =
	    netlink_attribute(message, sizeof(*header), IFLA_MTU, sizeof(uint32_t));
	if (mtu && links->count < LINKS_MAX)
		links->items[links->count++] = (struct link){.ifindex = (unsigned)header->ifi_index,
							     .mtu = mnl_attr_get_u32(mtu)};
	return 0;
}

static uint32_t look_up_mtu(unsigned ifindex, void *context)
{
	const struct links *links = context;
	for (unsigned i = 0; i < links->count; i++) {
		if (links->items[i].ifindex == ifindex)
			return links->items[i].mtu;
	}
	return LINK_MTU_UNKNOWN;
}

static int read_links(struct netlink *route, struct links *links)
{
	int result = -FL_ECONFLICT;
	for (int attempt = 0; attempt < DUMP_ATTEMPTS && result == -FL_ECONFLICT; attempt++) {
		alignas(struct nlmsghdr) char bytes[128];
		struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
		request->nlmsg_type = RTM_GETLINK;
		struct ifinfomsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
		header->ifi_family = AF_UNSPEC;
		links->count = 0;
		result = netlink_dump(route, request, collect_link, links);
	}
	return result;
}

struct copies {
	struct route_copy *items; /* owned, with their requests */
	size_t count;
	size_t capacity;
	uint32_t table; /* which table is being read */
	uint32_t tunnel_mtu; /* 0: keep the MSS that is there */
	struct links *links;
	unsigned too_long; /* routes that did not fit a request */
};

static void copies_clear(struct copies *copies)
{
	for (size_t i = 0; i < copies->count; i++)
		free(copies->items[i].request);
	copies->count = 0;
	copies->too_long = 0;
}

static void copies_done(struct copies *copies)
{
	copies_clear(copies);
	free(copies->items);
}

static int copies_append(struct copies *copies, struct route_copy *copy)
{
	if (copies->count == copies->capacity) {
		size_t capacity = copies->capacity ? 2 * copies->capacity : 64;
		struct route_copy *items =
		    reallocarray(copies->items, capacity, sizeof(*copies->items));
		if (!items) {
			free(copy->request);
			return -ENOMEM;
		}
		copies->items = items;
		copies->capacity = capacity;
	}
	copies->items[copies->count++] = *copy;
	return 0;
}

static int collect_copy(const struct nlmsghdr *message, void *context)
{
	struct copies *copies = context;
	if (!is_route(message))
		return 0;
	const struct rtmsg *header = mnl_nlmsg_get_payload(message);
	if (route_number(message, RTA_TABLE, header->rtm_table) != copies->table)
		return 0;
	uint32_t mss = 0;
	if (copies->tunnel_mtu) {
		uint32_t mtu = route_mtu(message, look_up_mtu, copies->links);
		mss = route_mss(mtu < copies->tunnel_mtu ? mtu : copies->tunnel_mtu,
				header->rtm_family);
	}
	struct route_copy copy;
	int result = route_copy_make(message, mss, &copy);
	if (result == -FL_ELIMIT) {
		copies->too_long++;
		return 0;
	}
	return result == 1 ? copies_append(copies, &copy) : result;
}

/* Dump the routes of `table`, by a filter of the kernel where it knows one. */
static int dump_table(struct netlink *route, uint8_t family, uint32_t table, netlink_visit *visit,
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

static int read_copies(struct netlink *route, uint8_t family, struct copies *copies)
{
	int result = -FL_ECONFLICT;
	for (int attempt = 0; attempt < DUMP_ATTEMPTS && result == -FL_ECONFLICT; attempt++) {
		copies_clear(copies);
		result = dump_table(route, family, copies->table, collect_copy, copies);
	}
	return result;
}

static int compare_numbers(size_t a, size_t b)
{
	return a < b ? -1 : a > b;
}

static int compare_attributes(const struct nlmsghdr *a, const struct nlmsghdr *b, unsigned type)
{
	const struct nlattr *left = route_attribute(a, type, 0);
	const struct nlattr *right = route_attribute(b, type, 0);
	if (!left || !right)
		return compare_numbers(left != NULL, right != NULL);
	size_t length = mnl_attr_get_payload_len(left);
	int order = compare_numbers(length, mnl_attr_get_payload_len(right));
	return order ? order
		     : memcmp(mnl_attr_get_payload(left), mnl_attr_get_payload(right), length);
}

/* By what the kernel tells the routes of one table apart. */
static int compare_keys(const struct nlmsghdr *a, const struct nlmsghdr *b)
{
	const struct rtmsg *left = mnl_nlmsg_get_payload(a);
	const struct rtmsg *right = mnl_nlmsg_get_payload(b);
	int order = compare_numbers(left->rtm_dst_len, right->rtm_dst_len);
	if (order == 0)
		order = compare_numbers(left->rtm_src_len, right->rtm_src_len);
	if (order == 0)
		order = compare_numbers(left->rtm_tos, right->rtm_tos);
	if (order == 0)
		order = compare_attributes(a, b, RTA_DST);
	if (order == 0)
		order = compare_attributes(a, b, RTA_SRC);
	return order ? order : compare_attributes(a, b, RTA_PRIORITY);
}

static bool copies_equal(const struct nlmsghdr *a, const struct nlmsghdr *b)
{
	return a->nlmsg_len == b->nlmsg_len &&
	       memcmp(mnl_nlmsg_get_payload(a), mnl_nlmsg_get_payload(b),
		      mnl_nlmsg_get_payload_len(a)) == 0;
}

static int compare_copies(const void *a, const void *b)
{
	return compare_keys(((const struct route_copy *)a)->request,
			    ((const struct route_copy *)b)->request);
}

static void copies_sort(struct copies *copies)
{
	if (copies->count)
		qsort(copies->items, copies->count, sizeof(*copies->items), compare_copies);
}

enum match { MATCH_NONE, MATCH_KEY, MATCH_WHOLE };

/* `copies` is sorted. */
static enum match find_copy(const struct copies *copies, struct route_copy *copy)
{
	if (copies->count == 0)
		return MATCH_NONE;
	const struct route_copy *any =
	    bsearch(copy, copies->items, copies->count, sizeof(*copy), compare_copies);
	if (!any)
		return MATCH_NONE;
	const struct route_copy *end = copies->items + copies->count;
	const struct route_copy *at = any;
	while (at > copies->items && compare_copies(at - 1, copy) == 0)
		at--;
	for (; at < end && compare_copies(at, copy) == 0; at++) {
		if (copies_equal(at->request, copy->request))
			return MATCH_WHOLE;
	}
	return MATCH_KEY;
}

/* Other routes' gateways are reached by routes straight to a link. */
static bool is_straight(const struct nlmsghdr *route)
{
	return route_attribute(route, RTA_OIF, 0) && !route_attribute(route, RTA_GATEWAY, 0) &&
	       !route_attribute(route, RTA_VIA, 0);
}

static void describe(const struct nlmsghdr *route, char text[IP_TEXT_BYTES])
{
	const struct rtmsg *header = mnl_nlmsg_get_payload(route);
	bool is_v4 = header->rtm_family == AF_INET;
	struct ip_prefix prefix = {.length = header->rtm_dst_len,
				   .address.family = is_v4 ? IP_V4 : IP_V6};
	const struct nlattr *to = route_attribute(route, RTA_DST, is_v4 ? 4 : 16);
	if (to)
		memcpy(prefix.address.bytes, mnl_attr_get_payload(to), is_v4 ? 4 : 16);
	ip_prefix_format(&prefix, text);
}

static int change_copy(struct netlink *route, struct nlmsghdr *request, uint16_t type)
{
	request->nlmsg_type = type;
	request->nlmsg_flags = type == RTM_NEWROUTE ? NLM_F_CREATE | NLM_F_REPLACE : 0;
	return netlink_ask(route, request);
}

/* Add or replace what is wanted and not there, of one of the two kinds of routes. */
static void add_copies(struct netlink *route, const struct copies *wanted,
		       const struct copies *present, bool straight, struct landing_alarms *alarms)
{
	char text[IP_TEXT_BYTES];
	for (size_t i = 0; i < wanted->count; i++) {
		struct nlmsghdr *copy = wanted->items[i].request;
		/* Of routes with one key the kernel uses the first, so one is enough. */
		bool again = i > 0 && compare_keys(wanted->items[i - 1].request, copy) == 0;
		if (is_straight(copy) != straight || again ||
		    find_copy(present, &wanted->items[i]) == MATCH_WHOLE)
			continue;
		int result = change_copy(route, copy, RTM_NEWROUTE);
		/* A link that is down, or has just gone: its event brings us back here. */
		if (result < 0 && result != -ENETDOWN && result != -ENODEV)
			alarms_add(alarms, false,
				   "the route to %s cannot be mirrored with a smaller MSS: %s",
				   (describe(copy, text), text), error_text(result));
	}
}

static int replace_mirror(struct netlink *route, struct copies *wanted, struct copies *present,
			  struct landing_alarms *alarms, struct error *err)
{
	char text[IP_TEXT_BYTES];
	copies_sort(wanted);
	copies_sort(present);
	add_copies(route, wanted, present, true, alarms);
	add_copies(route, wanted, present, false, alarms);
	for (size_t i = 0; i < present->count; i++) {
		/* One of the same key was replaced already, and deleting it would find the new. */
		if (find_copy(wanted, &present->items[i]) != MATCH_NONE)
			continue;
		struct nlmsghdr *copy = present->items[i].request;
		int result = change_copy(route, copy, RTM_DELROUTE);
		if (result < 0 && result != -ESRCH)
			return error_set(err, result, "cannot delete the mirrored route to %s: %s",
					 (describe(copy, text), text), error_text(result));
	}
	if (wanted->too_long)
		alarms_add(alarms, false, "%u routes are too long to mirror with a smaller MSS",
			   wanted->too_long);
	return 0;
}

static int apply_mirror(struct netlink *route, uint8_t family, uint32_t tunnel_mtu,
			struct links *links, struct landing_alarms *alarms, struct error *err)
{
	struct copies wanted = {.table = RT_TABLE_MAIN, .tunnel_mtu = tunnel_mtu, .links = links};
	struct copies present = {.table = LANDING_TABLE};
	int result = tunnel_mtu ? read_links(route, links) : 0;
	if (result == 0 && tunnel_mtu)
		result = read_copies(route, family, &wanted);
	if (result == 0)
		result = read_copies(route, family, &present);
	if (result < 0)
		error_set(err, result, "cannot read the routes: %s", error_text(result));
	else
		result = replace_mirror(route, &wanted, &present, alarms, err);
	copies_done(&wanted);
	copies_done(&present);
	return result;
}

int routes_apply_mirror(struct netlink *route, uint8_t family, uint32_t tunnel_mtu,
			struct landing_alarms *alarms, struct error *err)
{
	struct links *links = malloc(sizeof(*links));
	if (!links)
		return error_set(err, -ENOMEM, "out of memory");
	int result = apply_mirror(route, family, tunnel_mtu, links, alarms, err);
	free(links);
	return result;
}

int routes_undo_mirror(struct netlink *route, uint8_t family, struct error *err)
{
	return apply_mirror(route, family, 0, NULL, NULL, err);
}

/* The pools that we made local, as the kernel has them. */
struct local_routes {
	struct ip_prefix items[4 * LANDING_POOLS_MAX];
	unsigned count;
};

static int collect_local(const struct nlmsghdr *message, void *context)
{
	struct local_routes *routes = context;
	if (!is_route(message))
		return 0;
	const struct rtmsg *header = mnl_nlmsg_get_payload(message);
	if (header->rtm_protocol != LANDING_PROTOCOL || header->rtm_type != RTN_LOCAL ||
	    route_number(message, RTA_TABLE, header->rtm_table) != RT_TABLE_LOCAL)
		return 0;
	if (routes->count == sizeof(routes->items) / sizeof(*routes->items))
		return -FL_ELIMIT;
	bool is_v4 = header->rtm_family == AF_INET;
	struct ip_prefix *prefix = &routes->items[routes->count++];
	*prefix = (struct ip_prefix){.length = header->rtm_dst_len,
				     .address.family = is_v4 ? IP_V4 : IP_V6};
	const struct nlattr *to = route_attribute(message, RTA_DST, is_v4 ? 4 : 16);
	if (to)
		memcpy(prefix->address.bytes, mnl_attr_get_payload(to), is_v4 ? 4 : 16);
	return 0;
}

static bool has_prefix(const struct ip_prefix *prefixes, unsigned count,
		       const struct ip_prefix *prefix)
{
	for (unsigned i = 0; i < count; i++) {
		if (prefixes[i].length == prefix->length &&
		    ip_address_equal(&prefixes[i].address, &prefix->address))
			return true;
	}
	return false;
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
	mnl_attr_put(request, RTA_DST, is_v4 ? 4 : 16, pool->address.bytes);
	mnl_attr_put_u32(request, RTA_OIF, if_nametoindex("lo"));
	int result = netlink_ask(route, request);
	/* There already: somebody else made the pool local, and may keep it so. */
	if (result == (type == RTM_NEWROUTE ? -EEXIST : -ESRCH))
		return 0;
	if (result < 0)
		return error_set(err, result, "cannot %s the local route of pool %s: %s",
				 type == RTM_NEWROUTE ? "add" : "delete",
				 ip_prefix_format(pool, text), error_text(result));
	return 1;
}

static int replace_local(struct netlink *route, uint8_t family, const struct local_routes *present,
			 const struct ip_prefix *pools, unsigned pool_count,
			 struct landing_alarms *alarms, struct error *err)
{
	char text[IP_TEXT_BYTES];
	for (unsigned i = 0; i < pool_count; i++) {
		if (pools[i].address.family != (family == AF_INET ? IP_V4 : IP_V6) ||
		    has_prefix(present->items, present->count, &pools[i]))
			continue;
		int result = change_local(route, RTM_NEWROUTE, &pools[i], err);
		if (result < 0)
			return result;
		if (result == 1)
			alarms_add(alarms, true, "the local route of pool %s was gone; added again",
				   ip_prefix_format(&pools[i], text));
	}
	for (unsigned i = 0; i < present->count; i++) {
		if (has_prefix(pools, pool_count, &present->items[i]))
			continue;
		int result = change_local(route, RTM_DELROUTE, &present->items[i], err);
		if (result < 0)
			return result;
	}
	return 0;
}

static int read_local(struct netlink *route, uint8_t family, struct local_routes *routes,
		      struct error *err)
{
	int result = -FL_ECONFLICT;
	for (int attempt = 0; attempt < DUMP_ATTEMPTS && result == -FL_ECONFLICT; attempt++) {
		routes->count = 0;
		result = dump_table(route, family, RT_TABLE_LOCAL, collect_local, routes);
	}
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
		       unsigned pool_count, struct landing_alarms *alarms, struct error *err)
{
	struct local_routes present;
	int result = read_local(route, family, &present, err);
	return result < 0 ? result
			  : replace_local(route, family, &present, pools, pool_count, alarms, err);
}
