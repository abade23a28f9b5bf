/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Next hops: the kernel's routes and neighbours, followed over rtnetlink and kept in the backends'
 * entries. One socket hears the news, another one asks.
 *
 * The kernel does the route look-up itself (RTM_GETROUTE), policy rules and all; the source address
 * takes no part in it. A neighbour that we need is installed as managed (NTF_EXT_MANAGED, Linux
 * 5.16): XDP traffic does not refresh neighbours, so the kernel has to probe it by itself. Ours are
 * known by their protocol number, so that they can be removed without remembering them. A carrier
 * that goes flushes managed neighbours too; the news of its return installs them again.
 *
 * Packets are redirected only to the edge's own interfaces: any other may not be ready to transmit
 * XDP frames and would lose them. Backends behind such a one are reached through the kernel.
 */
#include "dataplane/internal.h"
#include "kernel/link.h"

#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define NEXTHOP_PROTOCOL 0xfa /* NDA_PROTOCOL of the neighbours that we install */
#define NEXTHOP_USABLE                                                                             \
	(NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP)

/* What RTM_GETROUTE and RTM_GETNEIGH tell. */
struct route {
	uint8_t type;
	uint32_t ifindex;
	uint32_t mtu;
	struct ip_address gateway;
};

struct neighbour {
	uint32_t ifindex;
	struct ip_address address;
	uint16_t state;
	bool managed;
	uint8_t protocol;
	bool has_link_address;
	uint8_t link_address[6];
};

/* The header of a message of this type; NULL for any other, and for one that is cut. */
static const void *header_of(const struct nlmsghdr *message, uint16_t type, size_t bytes)
{
	if (message->nlmsg_type != type || mnl_nlmsg_get_payload_len(message) < bytes)
		return NULL;
	return mnl_nlmsg_get_payload(message);
}

/* Routes */

/* A gateway of the other family. */
static struct ip_address read_via(const struct nlmsghdr *message)
{
	struct ip_address gateway = {.family = IP_NONE};
	const struct rtvia *via;
	const struct nlattr *attribute =
	    netlink_attribute(message, sizeof(struct rtmsg), RTA_VIA, sizeof(*via));
	if (!attribute)
		return gateway;
	via = mnl_attr_get_payload(attribute);
	uint8_t family = netlink_family((uint8_t)via->rtvia_family);
	size_t bytes = ip_family_bits(family) / 8;
	if (family == IP_NONE || mnl_attr_get_payload_len(attribute) < sizeof(*via) + bytes)
		return gateway;
	gateway.family = family;
	memcpy(gateway.bytes, via->rtvia_addr, bytes);
	return gateway;
}

static int read_route(const struct nlmsghdr *message, void *context)
{
	struct route *route = context;
	const struct rtmsg *header = header_of(message, RTM_NEWROUTE, sizeof(*header));
	if (!header)
		return 0;
	const struct nlattr *mtu =
	    netlink_nested(netlink_attribute(message, sizeof(*header), RTA_METRICS, 0), RTAX_MTU,
			   sizeof(uint32_t));
	*route = (struct route){
	    .type = header->rtm_type,
	    .ifindex = netlink_number(message, sizeof(*header), RTA_OIF, 0),
	    .mtu = mtu ? mnl_attr_get_u32(mtu) : 0,
	    .gateway = netlink_address(message, sizeof(*header), RTA_GATEWAY, header->rtm_family),
	};
	if (route->gateway.family == IP_NONE)
		route->gateway = read_via(message);
	return 0;
}

static int get_route(struct netlink *requests, const struct ip_address *address,
		     struct route *ret_route)
{
	alignas(struct nlmsghdr) char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = RTM_GETROUTE;
	struct rtmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->rtm_family = netlink_af(address->family);
	header->rtm_dst_len = (uint8_t)ip_family_bits(address->family);
	netlink_put_address(request, RTA_DST, address);
	*ret_route = (struct route){0};
	return netlink_ask(requests, request, read_route, ret_route);
}

/* Neighbours */

static bool read_neighbour(const struct nlmsghdr *message, struct neighbour *ret_neighbour)
{
	const struct ndmsg *header = header_of(message, message->nlmsg_type, sizeof(*header));
	if (!header || netlink_family(header->ndm_family) == IP_NONE)
		return false;
	const struct nlattr *link_address = netlink_attribute(message, sizeof(*header), NDA_LLADDR,
							      sizeof(ret_neighbour->link_address));
	const struct nlattr *protocol =
	    netlink_attribute(message, sizeof(*header), NDA_PROTOCOL, sizeof(uint8_t));
	*ret_neighbour = (struct neighbour){
	    .ifindex = (uint32_t)header->ndm_ifindex,
	    .address = netlink_address(message, sizeof(*header), NDA_DST, header->ndm_family),
	    .state = header->ndm_state,
	    .managed = netlink_number(message, sizeof(*header), NDA_FLAGS_EXT, 0) & NTF_EXT_MANAGED,
	    .protocol = protocol ? mnl_attr_get_u8(protocol) : 0,
	    .has_link_address = link_address != NULL,
	};
	if (link_address)
		memcpy(ret_neighbour->link_address, mnl_attr_get_payload(link_address),
		       sizeof(ret_neighbour->link_address));
	return true;
}

static int take_neighbour(const struct nlmsghdr *message, void *context)
{
	if (message->nlmsg_type == RTM_NEWNEIGH)
		(void)read_neighbour(message, context);
	return 0;
}

static struct nlmsghdr *put_neighbour(char *buffer, uint16_t type, uint32_t ifindex,
				      const struct ip_address *address)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = type;
	struct ndmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->ndm_family = netlink_af(address->family);
	header->ndm_ifindex = (int)ifindex;
	netlink_put_address(request, NDA_DST, address);
	return request;
}

static int get_neighbour(struct netlink *requests, uint32_t ifindex,
			 const struct ip_address *address, struct neighbour *ret_neighbour)
{
	alignas(struct nlmsghdr) char buffer[256];
	*ret_neighbour = (struct neighbour){0};
	return netlink_ask(requests, put_neighbour(buffer, RTM_GETNEIGH, ifindex, address),
			   take_neighbour, ret_neighbour);
}

/*
 * The kernel resolves it now and keeps it resolved. An existing entry keeps its state. It may
 * refuse: then the backend stays without a next hop and its packets go through the kernel, which
 * says the same to them. -ENOBUFS: it has as many as it may have (gc_thresh3).
 */
static int install_neighbour(struct netlink *requests, uint32_t ifindex,
			     const struct ip_address *address)
{
	alignas(struct nlmsghdr) char buffer[256];
	struct nlmsghdr *request = put_neighbour(buffer, RTM_NEWNEIGH, ifindex, address);
	request->nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE;
	mnl_attr_put_u32(request, NDA_FLAGS_EXT, NTF_EXT_MANAGED);
	mnl_attr_put_u8(request, NDA_PROTOCOL, NEXTHOP_PROTOCOL);
	return netlink_ask(requests, request, NULL, NULL);
}

static void remove_neighbour(struct netlink *requests, uint32_t ifindex,
			     const struct ip_address *address)
{
	alignas(struct nlmsghdr) char buffer[256];
	int result = netlink_ask(requests, put_neighbour(buffer, RTM_DELNEIGH, ifindex, address),
				 NULL, NULL);
	(void)result; /* it may have gone by itself */
}

/* Interfaces as the program knows them */

static bool is_direct(const struct edge *edge, uint32_t ifindex)
{
	for (size_t i = 0; i < edge->attachments.count; i++) {
		const struct attachment *attachment = &edge->attachments.items[i];
		if (attachment->ifindex == ifindex)
			return true;
	}
	return false;
}

/* The number of (ifindex, address) among the program's links; 0 if there is no room. */
static uint16_t link_number(struct edge *edge, uint32_t ifindex, const uint8_t address[6])
{
	struct edge_map_link *links = edge->maps.settings->links;
	uint32_t number;
	for (number = 1; number < EDGE_MAP_LINKS; number++) {
		const struct edge_map_link *link = &links[number];
		if (slots_used(&edge->links, number) && link->ifindex == ifindex &&
		    memcmp(link->address, address, sizeof(link->address)) == 0)
			return (uint16_t)number;
	}
	if (slots_take(&edge->links, 1, edge_now(edge), &number, NULL) < 0)
		return 0;
	links[number] = (struct edge_map_link){.ifindex = ifindex};
	memcpy(links[number].address, address, sizeof(links[number].address));
	return (uint16_t)number;
}

/* Links that no next hop leads out of any more. */
static void sweep_links(struct edge *edge)
{
	bool used[EDGE_MAP_LINKS] = {false};
	for (size_t i = 0; i < edge->backend_count; i++) {
		uint32_t backend = edge->backend_order[i];
		union edge_map_hop hop = {.word = edge->maps.backends[backend].hop};
		if (hop.to.link < EDGE_MAP_LINKS)
			used[hop.to.link] = true;
	}
	for (uint32_t number = 1; number < EDGE_MAP_LINKS; number++) {
		if (slots_used(&edge->links, number) && !used[number])
			slots_retire(&edge->links, number, 1, edge_now(edge));
	}
}

/* `address` is NULL with EDGE_MAP_HERE. */
static void store_hop(struct edge *edge, uint32_t backend, uint16_t link, const uint8_t *address,
		      uint32_t mtu)
{
	struct edge_map_backend *entry = &edge->maps.backends[backend];
	uint64_t *since_ms = &edge->reaches[backend].unresolved_since_ms;
	union edge_map_hop hop = {.word = 0};
	if (link != 0)
		*since_ms = 0;
	else if (*since_ms == 0)
		*since_ms = edge_now(edge);
	hop.to.link = link;
	if (address && link != 0)
		memcpy(hop.to.address, address, sizeof(hop.to.address));
	if (entry->mtu != mtu)
		__atomic_store_n(&entry->mtu, mtu, __ATOMIC_RELAXED);
	if (entry->hop != hop.word)
		store_word((uint64_t *)&entry->hop, hop.word);
}

/* The kernel itself tries a failed neighbour again only every few seconds
 * (net.ipv4.neigh.*.interval_probe_time_ms); its news of the failure lets us ask at once, but no
 * more than once in this time. */
#define NEXTHOP_ASK_MS 1000u

static bool is_to_be_asked(const struct edge *edge, const struct reach *reach,
			   const struct neighbour *neighbour)
{
	if (neighbour->state & (NUD_PERMANENT | NUD_NOARP))
		return false;
	return !neighbour->managed || (neighbour->state & NUD_FAILED &&
				       edge_now(edge) - reach->asked_ms >= NEXTHOP_ASK_MS);
}

/* Neighbour → entry; asks the kernel for the neighbour if it is not managed yet, or was not found.
 */
static void resolve_neighbour(struct edge *edge, uint32_t backend, struct reach *reach,
			      const struct link_info *link, uint32_t mtu)
{
	struct neighbour neighbour;
	uint16_t number = 0;
	if (get_neighbour(&edge->requests, reach->ifindex, &reach->next_hop, &neighbour) < 0)
		neighbour = (struct neighbour){0};
	if (is_to_be_asked(edge, reach, &neighbour)) {
		int result = install_neighbour(&edge->requests, reach->ifindex, &reach->next_hop);
		reach->asked_ms = edge_now(edge);
		if (result == -ENOBUFS)
			edge->neighbours_full_ms[family_index(reach->next_hop.family)] =
			    reach->asked_ms;
	}
	if (neighbour.state & NEXTHOP_USABLE && neighbour.has_link_address)
		number = link_number(edge, reach->ifindex, link->address);
	store_hop(edge, backend, number, neighbour.link_address, mtu);
}

void nexthop_resolve(struct edge *edge, uint32_t backend)
{
	struct ip_address address = backend_address(edge, backend);
	struct reach *reach = &edge->reaches[backend];
	struct route route;
	struct link_info link;

	*reach = (struct reach){.unresolved_since_ms = reach->unresolved_since_ms,
				.asked_ms = reach->asked_ms,
				.told_mtu = reach->told_mtu,
				.told_ms = reach->told_ms};
	reach->no_route = get_route(&edge->requests, &address, &route) < 0;
	if (!reach->no_route && route.type == RTN_LOCAL && edge->lands_here) {
		store_hop(edge, backend, EDGE_MAP_HERE, NULL, 0);
		return;
	}
	if (reach->no_route || route.type != RTN_UNICAST ||
	    link_read(&edge->requests, route.ifindex, &link) < 0) {
		store_hop(edge, backend, 0, NULL, 0);
		return;
	}
	uint32_t mtu = route.mtu != 0 && route.mtu < link.mtu ? route.mtu : link.mtu;
	if (reach->told_mtu && edge_now(edge) - reach->told_ms >= NEXTHOP_TOLD_MS)
		reach->told_mtu = 0;
	if (reach->told_mtu && reach->told_mtu < mtu)
		mtu = reach->told_mtu;
	if (!link.ethernet || !is_direct(edge, route.ifindex)) {
		store_hop(edge, backend, 0, NULL, mtu);
		return;
	}
	reach->ifindex = route.ifindex;
	reach->next_hop = route.gateway.family != IP_NONE ? route.gateway : address;
	resolve_neighbour(edge, backend, reach, &link, mtu);
}

uint32_t nexthop_find_backend(const struct edge *edge, const struct ip_address *address)
{
	size_t low = 0;
	size_t high = edge->backend_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		uint32_t number = edge->backend_order[middle];
		const struct ip_address here = backend_address(edge, number);
		int order = ip_address_compare(&here, address);
		if (order == 0)
			return number;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return 0;
}

void nexthop_release(struct edge *edge, uint32_t backend)
{
	struct neighbour neighbour;
	struct reach reach = edge->reaches[backend];
	edge->reaches[backend] = (struct reach){0};
	if (reach.ifindex == 0)
		return;
	for (uint32_t i = 1; i < EDGE_MAP_BACKENDS; i++) {
		if (edge->reaches[i].ifindex == reach.ifindex &&
		    ip_address_equal(&edge->reaches[i].next_hop, &reach.next_hop))
			return;
	}
	if (get_neighbour(&edge->requests, reach.ifindex, &reach.next_hop, &neighbour) == 0 &&
	    neighbour.protocol == NEXTHOP_PROTOCOL)
		remove_neighbour(&edge->requests, reach.ifindex, &reach.next_hop);
}

/* Which frames are for this machine. An interface without link addresses has none of them. */
static void fill_own(struct edge *edge)
{
	struct edge_map_own *own = edge->maps.settings->own;
	size_t count = 0;
	for (size_t i = 0; i < edge->attachments.count; i++) {
		struct link_chain chain;
		const uint32_t ifindex = edge->attachments.items[i].ifindex;
		link_chain_read(&edge->requests, ifindex, &chain);
		for (size_t j = 0; j < chain.count && count < EDGE_MAP_OWN; j++) {
			struct edge_map_own entry = {.ifindex = ifindex};
			if (!chain.links[j].ethernet)
				continue;
			memcpy(entry.address, chain.links[j].address, sizeof(entry.address));
			if (own[count].word != entry.word)
				store_word((uint64_t *)&own[count].word, entry.word);
			if (own[count].ifindex != ifindex)
				__atomic_store_n(&own[count].ifindex, ifindex, __ATOMIC_RELEASE);
			count++;
		}
	}
	for (; count < EDGE_MAP_OWN; count++)
		__atomic_store_n(&own[count].ifindex, 0, __ATOMIC_RELEASE);
}

static void store_number(uint32_t *place, uint32_t number)
{
	if (*place != number)
		__atomic_store_n(place, number, __ATOMIC_RELAXED);
}

static void fill_interfaces(struct edge *edge)
{
	struct edge_map_settings *settings = edge->maps.settings;
	const struct attachment none = {0};
	for (size_t i = 0; i < EDGE_MAP_INTERFACES; i++) {
		const struct attachment *attachment =
		    i < edge->attachments.count ? &edge->attachments.items[i] : &none;
		store_number(&settings->direct[i], attachment->ifindex);
		store_number(&settings->shared[i], attachment->shared ? attachment->ifindex : 0);
	}
}

void nexthop_resolve_all(struct edge *edge)
{
	fill_own(edge);
	fill_interfaces(edge);
	for (size_t i = 0; i < edge->backend_count; i++)
		nexthop_resolve(edge, edge->backend_order[i]);
	sweep_links(edge);
}

/* What stands in the way */

void nexthop_look_below(struct edge *edge)
{
	for (size_t i = 0; i < edge->attachments.count; i++) {
		struct attachment *attachment = &edge->attachments.items[i];
		attachment->merging[0] = '\0';
		if (attachment->mode == XDP_MODE_GENERIC)
			link_find_merging(&edge->requests, attachment->ifindex,
					  attachment->merging);
	}
}

bool nexthop_is_local(struct edge *edge, const struct ip_address *address)
{
	struct route route;
	int result = get_route(&edge->requests, address, &route);
	if (result == -ENETUNREACH || result == -EHOSTUNREACH)
		return false;
	return result < 0 || route.type == RTN_LOCAL;
}

enum edge_link nexthop_link_state(struct edge *edge, uint32_t ifindex)
{
	struct link_info link;
	if (link_read(&edge->requests, ifindex, &link) < 0)
		return EDGE_LINK_UP; /* it has just gone: the next look says so */
	if (!(link.flags & IFF_UP))
		return EDGE_LINK_DOWN;
	return link.flags & IFF_RUNNING ? EDGE_LINK_UP : EDGE_LINK_NO_CARRIER;
}

/* News */

static void note_neighbour(struct edge *edge, const struct neighbour *neighbour)
{
	for (size_t i = 0; i < edge->backend_count; i++) {
		uint32_t backend = edge->backend_order[i];
		const struct reach *reach = &edge->reaches[backend];
		if (reach->ifindex == neighbour->ifindex &&
		    ip_address_equal(&reach->next_hop, &neighbour->address))
			nexthop_resolve(edge, backend);
	}
}

static int read_news(const struct nlmsghdr *message, void *context)
{
	struct edge *edge = context;
	struct neighbour neighbour;
	uint16_t type = message ? message->nlmsg_type : 0;
	if (type == RTM_NEWNEIGH || type == RTM_DELNEIGH) {
		if (read_neighbour(message, &neighbour))
			note_neighbour(edge, &neighbour);
		return 0;
	}
	edge->routes_changed = true;
	if (!message || type == RTM_NEWLINK || type == RTM_DELLINK)
		edge->links_changed = true;
	return 0;
}

int nexthop_drain(struct edge *edge, struct error *err)
{
	int result = netlink_drain(&edge->news, read_news, edge);
	return result < 0
		   ? error_set(err, result, "netlink news cannot be read: %s", error_text(result))
		   : 0;
}

int nexthop_open(struct edge *edge, struct error *err)
{
	static const int groups[] = {RTNLGRP_LINK,       RTNLGRP_NEIGH,       RTNLGRP_IPV4_ROUTE,
				     RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE,
				     RTNLGRP_NEXTHOP,    RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR};
	int result = netlink_init(&edge->requests, NETLINK_ROUTE);
	if (result == 0)
		result = netlink_init_news(&edge->news, groups, sizeof(groups) / sizeof(groups[0]));
	return result < 0 ? error_set(err, result, "a netlink socket cannot be opened: %s",
				      error_text(result))
			  : 0;
}

void nexthop_close(struct edge *edge)
{
	netlink_done(&edge->requests);
	netlink_done(&edge->news);
}

/* Undoing */

struct own_neighbours {
	struct neighbour *found; /* owned */
	size_t count;
};

static int collect_own(const struct nlmsghdr *message, void *context)
{
	struct own_neighbours *own = context;
	struct neighbour neighbour;
	if (!message)
		own->count = 0;
	if (!message || !read_neighbour(message, &neighbour) ||
	    neighbour.protocol != NEXTHOP_PROTOCOL)
		return 0;
	struct neighbour *grown = realloc(own->found, (own->count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	own->found = grown;
	own->found[own->count++] = neighbour;
	return 0;
}

int nexthop_remove_neighbours(struct error *err)
{
	struct own_neighbours own = {0};
	struct netlink requests;
	alignas(struct nlmsghdr) char buffer[256];
	int result = netlink_init(&requests, NETLINK_ROUTE);
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = RTM_GETNEIGH;
	mnl_nlmsg_put_extra_header(request, sizeof(struct ndmsg));
	if (result == 0)
		result = netlink_dump(&requests, request, collect_own, &own);
	for (size_t i = 0; i < own.count && result == 0; i++)
		remove_neighbour(&requests, own.found[i].ifindex, &own.found[i].address);
	free(own.found);
	netlink_done(&requests);
	if (result < 0)
		return error_set(err, result,
				 "the neighbours this edge installed cannot be listed: %s",
				 error_text(result));
	return 0;
}
