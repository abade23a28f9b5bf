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

#include <libmnl/libmnl.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define NEXTHOP_PROTOCOL 0xfa /* NDA_PROTOCOL of the neighbours that we install */
#define NEXTHOP_BYTES 32768 /* of one netlink message or batch */
#define NEXTHOP_RECEIVE_BYTES (4 << 20) /* of news that may wait for us */
#define NEXTHOP_USABLE                                                                             \
	(NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP)

/* What RTM_GETROUTE, RTM_GETLINK and RTM_GETNEIGH tell. */
struct route {
	uint8_t type;
	uint8_t family;
	uint32_t ifindex;
	uint32_t mtu;
	struct ip_address gateway;
};

struct link_info {
	bool ethernet;
	unsigned flags; /* IFF_… */
	uint8_t address[6];
	uint32_t mtu;
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

static uint8_t to_af(uint8_t family)
{
	return family == IP_V4 ? AF_INET : AF_INET6;
}

static size_t address_bytes(uint8_t family)
{
	return family == IP_V4 ? 4 : 16;
}

static void read_address(const struct nlattr *attribute, uint8_t family, struct ip_address *address)
{
	if (mnl_attr_get_payload_len(attribute) != address_bytes(family))
		return;
	*address = (struct ip_address){.family = family};
	memcpy(address->bytes, mnl_attr_get_payload(attribute), address_bytes(family));
}

static uint8_t from_af(unsigned char af)
{
	return af == AF_INET ? IP_V4 : af == AF_INET6 ? IP_V6 : IP_NONE;
}

/* Send a request and hand its answers to `callback`; 0, or the kernel's negative errno. */
static int ask(struct edge *edge, struct nlmsghdr *request, mnl_cb_t callback, void *context)
{
	char answer[NEXTHOP_BYTES];
	unsigned port = mnl_socket_get_portid(edge->requests);
	request->nlmsg_seq = ++edge->sequence;
	if (mnl_socket_sendto(edge->requests, request, request->nlmsg_len) < 0)
		return -errno;
	for (;;) {
		ssize_t length = mnl_socket_recvfrom(edge->requests, answer, sizeof(answer));
		if (length < 0)
			return -errno;
		int more =
		    mnl_cb_run(answer, (size_t)length, edge->sequence, port, callback, context);
		if (more < 0 && errno == ESRCH)
			continue; /* an answer to an earlier request that failed half-way */
		if (more < 0)
			return -errno;
		/* A single answer without NLM_F_ACK ends by itself. */
		if (more == MNL_CB_STOP || !(request->nlmsg_flags & (NLM_F_ACK | NLM_F_DUMP)))
			return 0;
	}
}

/* Routes */

static int read_metrics(const struct nlattr *attribute, void *context)
{
	struct route *route = context;
	if (mnl_attr_get_type(attribute) == RTAX_MTU)
		route->mtu = mnl_attr_get_u32(attribute);
	return MNL_CB_OK;
}

static void read_via(const struct nlattr *attribute, struct route *route)
{
	const struct rtvia *via = mnl_attr_get_payload(attribute);
	uint8_t family = mnl_attr_get_payload_len(attribute) >= sizeof(*via)
			     ? from_af((unsigned char)via->rtvia_family)
			     : IP_NONE;
	if (family == IP_NONE ||
	    mnl_attr_get_payload_len(attribute) < sizeof(*via) + address_bytes(family))
		return;
	route->gateway.family = family;
	memcpy(route->gateway.bytes, via->rtvia_addr, address_bytes(family));
}

static int read_route_attribute(const struct nlattr *attribute, void *context)
{
	struct route *route = context;
	switch (mnl_attr_get_type(attribute)) {
	case RTA_OIF:
		route->ifindex = mnl_attr_get_u32(attribute);
		break;
	case RTA_GATEWAY:
		read_address(attribute, route->family, &route->gateway);
		break;
	case RTA_VIA:
		read_via(attribute, route);
		break;
	case RTA_METRICS:
		mnl_attr_parse_nested(attribute, read_metrics, route);
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

static int read_route(const struct nlmsghdr *message, void *context)
{
	const struct rtmsg *header = mnl_nlmsg_get_payload(message);
	struct route *route = context;
	if (message->nlmsg_type != RTM_NEWROUTE)
		return MNL_CB_OK;
	route->type = header->rtm_type;
	route->family = from_af(header->rtm_family);
	return mnl_attr_parse(message, sizeof(*header), read_route_attribute, route);
}

static int get_route(struct edge *edge, const struct ip_address *address, struct route *ret_route)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = RTM_GETROUTE;
	request->nlmsg_flags = NLM_F_REQUEST;
	struct rtmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->rtm_family = to_af(address->family);
	header->rtm_dst_len = (uint8_t)ip_family_bits(address->family);
	mnl_attr_put(request, RTA_DST, address_bytes(address->family), address->bytes);
	*ret_route = (struct route){0};
	return ask(edge, request, read_route, ret_route);
}

/* Links */

static int read_link_attribute(const struct nlattr *attribute, void *context)
{
	struct link_info *link = context;
	if (mnl_attr_get_type(attribute) == IFLA_MTU)
		link->mtu = mnl_attr_get_u32(attribute);
	if (mnl_attr_get_type(attribute) == IFLA_ADDRESS &&
	    mnl_attr_get_payload_len(attribute) == sizeof(link->address))
		memcpy(link->address, mnl_attr_get_payload(attribute), sizeof(link->address));
	return MNL_CB_OK;
}

static int read_link(const struct nlmsghdr *message, void *context)
{
	const struct ifinfomsg *header = mnl_nlmsg_get_payload(message);
	struct link_info *link = context;
	if (message->nlmsg_type != RTM_NEWLINK)
		return MNL_CB_OK;
	link->ethernet = header->ifi_type == ARPHRD_ETHER;
	link->flags = header->ifi_flags;
	return mnl_attr_parse(message, sizeof(*header), read_link_attribute, link);
}

static int get_link(struct edge *edge, uint32_t ifindex, struct link_info *ret_link)
{
	char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = RTM_GETLINK;
	request->nlmsg_flags = NLM_F_REQUEST;
	struct ifinfomsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->ifi_index = (int)ifindex;
	*ret_link = (struct link_info){0};
	return ask(edge, request, read_link, ret_link);
}

/* Neighbours */

static int read_neighbour_attribute(const struct nlattr *attribute, void *context)
{
	struct neighbour *neighbour = context;
	switch (mnl_attr_get_type(attribute)) {
	case NDA_DST:
		read_address(attribute, neighbour->address.family, &neighbour->address);
		break;
	case NDA_LLADDR:
		if (mnl_attr_get_payload_len(attribute) != sizeof(neighbour->link_address))
			break;
		memcpy(neighbour->link_address, mnl_attr_get_payload(attribute),
		       sizeof(neighbour->link_address));
		neighbour->has_link_address = true;
		break;
	case NDA_FLAGS_EXT:
		neighbour->managed = mnl_attr_get_u32(attribute) & NTF_EXT_MANAGED;
		break;
	case NDA_PROTOCOL:
		neighbour->protocol = mnl_attr_get_u8(attribute);
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

static bool read_neighbour(const struct nlmsghdr *message, struct neighbour *ret_neighbour)
{
	const struct ndmsg *header = mnl_nlmsg_get_payload(message);
	struct neighbour neighbour = {
	    .ifindex = (uint32_t)header->ndm_ifindex,
	    .address.family = from_af(header->ndm_family),
	    .state = header->ndm_state,
	};
	if (neighbour.address.family == IP_NONE)
		return false;
	if (mnl_attr_parse(message, sizeof(*header), read_neighbour_attribute, &neighbour) < 0)
		return false;
	*ret_neighbour = neighbour;
	return true;
}

static int take_neighbour(const struct nlmsghdr *message, void *context)
{
	if (message->nlmsg_type == RTM_NEWNEIGH)
		(void)read_neighbour(message, context);
	return MNL_CB_OK;
}

static struct nlmsghdr *put_neighbour(char *buffer, uint16_t type, uint16_t flags, uint32_t ifindex,
				      const struct ip_address *address)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = type;
	request->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	struct ndmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->ndm_family = to_af(address->family);
	header->ndm_ifindex = (int)ifindex;
	mnl_attr_put(request, NDA_DST, address_bytes(address->family), address->bytes);
	return request;
}

static int get_neighbour(struct edge *edge, uint32_t ifindex, const struct ip_address *address,
			 struct neighbour *ret_neighbour)
{
	char buffer[256];
	struct nlmsghdr *request = put_neighbour(buffer, RTM_GETNEIGH, 0, ifindex, address);
	*ret_neighbour = (struct neighbour){0};
	return ask(edge, request, take_neighbour, ret_neighbour);
}

/* The kernel resolves it now and keeps it resolved. An existing entry keeps its state. */
static void install_neighbour(struct edge *edge, uint32_t ifindex, const struct ip_address *address)
{
	char buffer[256];
	struct nlmsghdr *request = put_neighbour(
	    buffer, RTM_NEWNEIGH, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, ifindex, address);
	mnl_attr_put_u32(request, NDA_FLAGS_EXT, NTF_EXT_MANAGED);
	mnl_attr_put_u8(request, NDA_PROTOCOL, NEXTHOP_PROTOCOL);
	/* Refused, say for want of room: the backend stays without a next hop and its packets go
	 * through the kernel, which says the same to them. */
	(void)ask(edge, request, NULL, NULL);
}

/* Interfaces as the program knows them */

static bool is_direct(const struct edge *edge, uint32_t ifindex)
{
	for (size_t i = 0; i < edge->interface_count; i++) {
		if (edge->interfaces[i].ifindex == ifindex && edge->interfaces[i].direct)
			return true;
	}
	return false;
}

/* The number of (ifindex, address) among the program's links; 0 if there is no room. */
static uint16_t link_number(struct edge *edge, uint32_t ifindex, const uint8_t address[6])
{
	struct edge_map_link *links = edge->view.settings->links;
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
		union edge_map_hop hop = {.word = edge->view.backends[backend].hop};
		if (hop.to.link < EDGE_MAP_LINKS)
			used[hop.to.link] = true;
	}
	for (uint32_t number = 1; number < EDGE_MAP_LINKS; number++) {
		if (slots_used(&edge->links, number) && !used[number])
			slots_retire(&edge->links, number, 1, edge_now(edge));
	}
}

static void store_hop(struct edge *edge, uint32_t backend, uint16_t link, const uint8_t *address,
		      uint32_t mtu)
{
	struct edge_map_backend *entry = &edge->view.backends[backend];
	uint64_t *since_ms = &edge->reaches[backend].unresolved_since_ms;
	union edge_map_hop hop = {.word = 0};
	if (link != 0)
		*since_ms = 0;
	else if (*since_ms == 0)
		*since_ms = edge_now(edge);
	if (link != 0) {
		memcpy(hop.to.address, address, sizeof(hop.to.address));
		hop.to.link = link;
	}
	if (entry->mtu != mtu)
		__atomic_store_n(&entry->mtu, mtu, __ATOMIC_RELAXED);
	if (entry->hop != hop.word)
		store_word((uint64_t *)&entry->hop, hop.word);
}

static uint32_t smaller_mtu(uint32_t route, uint32_t link)
{
	return route != 0 && route < link ? route : link;
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
	if (get_neighbour(edge, reach->ifindex, &reach->next_hop, &neighbour) < 0)
		neighbour = (struct neighbour){0};
	if (is_to_be_asked(edge, reach, &neighbour)) {
		install_neighbour(edge, reach->ifindex, &reach->next_hop);
		reach->asked_ms = edge_now(edge);
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
				.asked_ms = reach->asked_ms};
	reach->no_route = get_route(edge, &address, &route) < 0;
	if (reach->no_route || route.type != RTN_UNICAST ||
	    get_link(edge, route.ifindex, &link) < 0) {
		store_hop(edge, backend, 0, NULL, 0);
		return;
	}
	uint32_t mtu = smaller_mtu(route.mtu, link.mtu);
	if (!link.ethernet || !is_direct(edge, route.ifindex)) {
		store_hop(edge, backend, 0, NULL, mtu);
		return;
	}
	reach->ifindex = route.ifindex;
	reach->next_hop = route.gateway.family != IP_NONE ? route.gateway : address;
	resolve_neighbour(edge, backend, reach, &link, mtu);
}

void nexthop_release(struct edge *edge, uint32_t backend)
{
	char buffer[256];
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
	if (get_neighbour(edge, reach.ifindex, &reach.next_hop, &neighbour) < 0 ||
	    neighbour.protocol != NEXTHOP_PROTOCOL)
		return;
	struct nlmsghdr *request =
	    put_neighbour(buffer, RTM_DELNEIGH, NLM_F_ACK, reach.ifindex, &reach.next_hop);
	(void)ask(edge, request, NULL, NULL); /* it may have gone by itself */
}

void nexthop_resolve_all(struct edge *edge)
{
	struct edge_map_settings *settings = edge->view.settings;
	for (size_t i = 0; i < EDGE_MAP_INTERFACES; i++) {
		bool direct = i < edge->interface_count && edge->interfaces[i].direct;
		uint32_t ifindex = direct ? edge->interfaces[i].ifindex : 0;
		if (settings->direct[i] != ifindex)
			__atomic_store_n(&settings->direct[i], ifindex, __ATOMIC_RELAXED);
	}
	for (size_t i = 0; i < edge->backend_count; i++)
		nexthop_resolve(edge, edge->backend_order[i]);
	sweep_links(edge);
}

/* What stands in the way */

bool nexthop_is_local(struct edge *edge, const struct ip_address *address)
{
	struct route route;
	int result = get_route(edge, address, &route);
	if (result == -ENETUNREACH || result == -EHOSTUNREACH)
		return false;
	return result < 0 || route.type == RTN_LOCAL;
}

enum edge_link nexthop_link_state(struct edge *edge, const struct interface *interface)
{
	struct link_info link;
	if (get_link(edge, interface->ifindex, &link) < 0)
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

	switch (message->nlmsg_type) {
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		if (read_neighbour(message, &neighbour))
			note_neighbour(edge, &neighbour);
		break;
	case RTM_NEWLINK:
	case RTM_DELLINK:
		edge->links_changed = true;
		edge->routes_changed = true;
		break;
	default:
		edge->routes_changed = true;
		break;
	}
	return MNL_CB_OK;
}

int nexthop_drain(struct edge *edge, struct error *err)
{
	char news[NEXTHOP_BYTES];
	for (;;) {
		ssize_t length = recv(mnl_socket_get_fd(edge->events), news, sizeof(news),
				      MSG_DONTWAIT | MSG_TRUNC);
		if (length < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return 0;
		if (length < 0 && errno == EINTR)
			continue;
		if ((length < 0 && errno == ENOBUFS) || length > (ssize_t)sizeof(news)) {
			/* News were lost: look at everything. */
			edge->links_changed = true;
			edge->routes_changed = true;
			continue;
		}
		if (length < 0)
			return error_set(err, -errno, "netlink news cannot be read: %s",
					 error_text(-errno));
		(void)mnl_cb_run(news, (size_t)length, 0, 0, read_news, edge);
	}
}

static int subscribe(struct mnl_socket *events)
{
	static const int groups[] = {RTNLGRP_LINK,       RTNLGRP_NEIGH,       RTNLGRP_IPV4_ROUTE,
				     RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE,
				     RTNLGRP_NEXTHOP,    RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR};
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		int group = groups[i];
		if (mnl_socket_setsockopt(events, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) <
		    0)
			return -errno;
	}
	return 0;
}

static struct mnl_socket *open_socket(struct error *err)
{
	struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!socket || mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		error_set(err, -errno, "a netlink socket cannot be opened: %s", error_text(-errno));
		if (socket)
			mnl_socket_close(socket);
		return NULL;
	}
	return socket;
}

int nexthop_open(struct edge *edge, struct error *err)
{
	int bytes = NEXTHOP_RECEIVE_BYTES;
	edge->requests = open_socket(err);
	if (!edge->requests)
		return -FL_EUNAVAILABLE;
	edge->events = open_socket(err);
	if (!edge->events)
		return -FL_EUNAVAILABLE;
	/* A wish: without it more news get lost in a storm, which costs only time. */
	(void)setsockopt(mnl_socket_get_fd(edge->events), SOL_SOCKET, SO_RCVBUFFORCE, &bytes,
			 sizeof(bytes));
	int result = subscribe(edge->events);
	if (result < 0)
		return error_set(err, result, "netlink news cannot be subscribed to: %s",
				 error_text(result));
	return 0;
}

void nexthop_close(struct edge *edge)
{
	if (edge->events)
		mnl_socket_close(edge->events);
	if (edge->requests)
		mnl_socket_close(edge->requests);
	edge->events = NULL;
	edge->requests = NULL;
}

/* Undoing */

struct own_neighbours {
	struct neighbour *found; /* owned */
	size_t count;
	bool failed;
};

static int collect_own(const struct nlmsghdr *message, void *context)
{
	struct own_neighbours *own = context;
	struct neighbour neighbour;
	if (!read_neighbour(message, &neighbour) || neighbour.protocol != NEXTHOP_PROTOCOL)
		return MNL_CB_OK;
	struct neighbour *grown = realloc(own->found, (own->count + 1) * sizeof(*grown));
	if (!grown) {
		own->failed = true;
		return MNL_CB_OK;
	}
	own->found = grown;
	own->found[own->count++] = neighbour;
	return MNL_CB_OK;
}

int nexthop_remove_neighbours(struct error *err)
{
	struct edge edge = {0}; /* for its request socket only */
	struct own_neighbours own = {0};
	char buffer[256];
	edge.requests = open_socket(err);
	if (!edge.requests)
		return -FL_EUNAVAILABLE;
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = RTM_GETNEIGH;
	request->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	mnl_nlmsg_put_extra_header(request, sizeof(struct ndmsg));
	int result = ask(&edge, request, collect_own, &own);
	for (size_t i = 0; i < own.count; i++) {
		request = put_neighbour(buffer, RTM_DELNEIGH, NLM_F_ACK, own.found[i].ifindex,
					&own.found[i].address);
		(void)ask(&edge, request, NULL, NULL); /* it may have gone by itself */
	}
	free(own.found);
	nexthop_close(&edge);
	if (result < 0 || own.failed)
		return error_set(err, result < 0 ? result : -ENOMEM,
				 "the neighbours this edge installed cannot be listed: %s",
				 error_text(result < 0 ? result : -ENOMEM));
	return 0;
}
