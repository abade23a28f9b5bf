/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mirror of the main table. Both tables are read whole; what is wanted and not there is added
 * or replaced, routes straight to a link first, and what is not wanted is deleted.
 */
#include "landing/internal.h"
#include "landing/routes.h"
#include "landing/rules.h"

#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define LINKS_MAX 4096

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
	return ROUTE_MTU_UNKNOWN;
}

static int read_links(struct netlink *route, struct links *links)
{
	int result = -FL_ECONFLICT;
	for (int attempt = 0; attempt < NETLINK_DUMP_ATTEMPTS && result == -FL_ECONFLICT;
	     attempt++) {
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
	bool leads_beyond; /* one of them leads further than this machine's links */
};

static void copies_clear(struct copies *copies)
{
	for (size_t i = 0; i < copies->count; i++)
		free(copies->items[i].request);
	copies->count = 0;
	copies->too_long = 0;
	copies->leads_beyond = false;
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
	if (!route_is_whole(message))
		return 0;
	const struct rtmsg *header = mnl_nlmsg_get_payload(message);
	if (route_number(message, RTA_TABLE, header->rtm_table) != copies->table)
		return 0;
	copies->leads_beyond |= route_leads_beyond(message);
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

static int read_copies(struct netlink *route, uint8_t family, struct copies *copies)
{
	int result = -FL_ECONFLICT;
	for (int attempt = 0; attempt < NETLINK_DUMP_ATTEMPTS && result == -FL_ECONFLICT;
	     attempt++) {
		copies_clear(copies);
		result = routes_dump(route, family, copies->table, collect_copy, copies);
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
	struct ip_prefix prefix = route_destination(route);
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
		if (result < 0 && result != -ENETDOWN && result != -ENODEV) {
			describe(copy, text);
			LANDING_ALARM(alarms, ROUTE_NOT_MIRRORED, text, text, error_text(result));
		}
	}
}

static int replace_mirror(struct netlink *route, uint8_t family, struct copies *wanted,
			  struct copies *present, struct landing_alarms *alarms, struct error *err)
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
		LANDING_ALARM(alarms, ROUTES_TOO_LONG, "", wanted->too_long);
	if (wanted->tunnel_mtu && !wanted->leads_beyond)
		LANDING_ALARM(alarms, ROUTE_NONE, family_name(family), family_name(family));
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
		result = replace_mirror(route, family, &wanted, &present, alarms, err);
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
