/* SPDX-License-Identifier: Apache-2.0 */
#include "landing/sockets.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

/* sock_diag's number for a handshake's request socket; no header of user space has it. */
#define STATE_NEW_SYN_RECV 12

/* Every state but LISTEN and TIME_WAIT; sock_diag shows no TCP socket in CLOSE but such as are
 * just going. */
#define CONNECTION_STATES                                                                          \
	(1u << TCP_ESTABLISHED | 1u << TCP_SYN_SENT | 1u << TCP_SYN_RECV | 1u << TCP_FIN_WAIT1 |   \
	 1u << TCP_FIN_WAIT2 | 1u << TCP_CLOSE | 1u << TCP_CLOSE_WAIT | 1u << TCP_LAST_ACK |       \
	 1u << TCP_CLOSING | 1u << STATE_NEW_SYN_RECV)

static bool is_v4_mapped(const uint32_t words[4])
{
	return words[0] == 0 && words[1] == 0 && words[2] == htonl(0xffff);
}

bool socket_seen_parse(const struct nlmsghdr *message, uint8_t protocol, struct socket_seen *ret)
{
	if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(struct inet_diag_msg))
		return false;
	const struct inet_diag_msg *diag = mnl_nlmsg_get_payload(message);
	if (diag->idiag_family != AF_INET && diag->idiag_family != AF_INET6)
		return false;

	struct socket_seen seen = {
	    .port = ntohs(diag->id.idiag_sport),
	    .protocol = protocol,
	    .via_v6 = diag->idiag_family == AF_INET6,
	    .inode = diag->idiag_inode,
	    .cookie = (uint64_t)diag->id.idiag_cookie[1] << 32 | diag->id.idiag_cookie[0],
	    .id = diag->id,
	};
	if (!seen.via_v6) {
		seen.local.family = IP_V4;
		memcpy(seen.local.bytes, diag->id.idiag_src, 4);
	} else if (is_v4_mapped(diag->id.idiag_src)) {
		seen.local.family = IP_V4;
		memcpy(seen.local.bytes, &diag->id.idiag_src[3], 4);
	} else {
		seen.local.family = IP_V6;
		memcpy(seen.local.bytes, diag->id.idiag_src, 16);
	}

	const struct nlattr *v6_only =
	    netlink_attribute(message, sizeof(*diag), INET_DIAG_SKV6ONLY, sizeof(uint8_t));
	seen.v6_only = v6_only && mnl_attr_get_u8(v6_only);
	*ret = seen;
	return true;
}

/* FNV-1a (Fowler, Noll, Vo). Who chooses the addresses is the operator, so no key is needed. */
static size_t hash_address(const struct ip_address *address)
{
	uint64_t hash = 0xcbf29ce484222325u ^ address->family;
	for (size_t i = 0; i < sizeof(address->bytes); i++)
		hash = (hash ^ address->bytes[i]) * 0x100000001b3u;
	return (size_t)(hash ^ hash >> 32);
}

static struct landing_connections *find_slot(const struct connection_table *table,
					     const struct ip_address *address)
{
	size_t at = hash_address(address);
	for (;; at++) {
		struct landing_connections *slot = &table->slots[at & (table->capacity - 1)];
		if (slot->count == 0 || ip_address_equal(&slot->address, address))
			return slot;
	}
}

static int grow(struct connection_table *table)
{
	struct connection_table larger = {.capacity = table->capacity ? 2 * table->capacity : 64};
	larger.slots = calloc(larger.capacity, sizeof(*larger.slots));
	if (!larger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < table->capacity; i++) {
		if (table->slots[i].count)
			*find_slot(&larger, &table->slots[i].address) = table->slots[i];
	}
	larger.used = table->used;
	free(table->slots);
	*table = larger;
	return 0;
}

void connection_table_done(struct connection_table *table)
{
	free(table->slots);
	*table = (struct connection_table){0};
}

int connection_table_add(struct connection_table *table, const struct ip_address *address)
{
	if (2 * (table->used + 1) > table->capacity) {
		int result = grow(table);
		if (result < 0)
			return result;
	}
	struct landing_connections *slot = find_slot(table, address);
	if (slot->count == 0) {
		slot->address = *address;
		table->used++;
	}
	slot->count++;
	return 0;
}

static int compare_connections(const void *a, const void *b)
{
	const struct landing_connections *left = a;
	const struct landing_connections *right = b;
	return ip_address_compare(&left->address, &right->address);
}

int connection_table_take(struct connection_table *table,
			  struct landing_connections **ret_connections, size_t *ret_count)
{
	struct landing_connections *connections = NULL;
	size_t count = 0;
	if (table->used) {
		connections = calloc(table->used, sizeof(*connections));
		if (!connections)
			return -ENOMEM;
		for (size_t i = 0; i < table->capacity; i++) {
			if (table->slots[i].count)
				connections[count++] = table->slots[i];
		}
		qsort(connections, count, sizeof(*connections), compare_connections);
	}
	connection_table_done(table);
	*ret_connections = connections;
	*ret_count = count;
	return 0;
}

static int dump_family(struct netlink *diag, uint8_t family, uint8_t protocol, uint32_t states,
		       netlink_visit *visit, void *context)
{
	alignas(struct nlmsghdr) char bytes[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
	request->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	struct inet_diag_req_v2 *wish = mnl_nlmsg_put_extra_header(request, sizeof(*wish));
	wish->sdiag_family = family;
	wish->sdiag_protocol = protocol;
	wish->idiag_states = states;
	return netlink_dump(diag, request, visit, context);
}

/* AF_UNSPEC is no wildcard here but an error, so each family is asked by its name. */
static int dump_both(struct netlink *diag, uint8_t protocol, uint32_t states, netlink_visit *visit,
		     void *context, struct error *err)
{
	int result = dump_family(diag, AF_INET, protocol, states, visit, context);
	if (result == 0)
		result = dump_family(diag, AF_INET6, protocol, states, visit, context);
	if (result == -ENOENT)
		return error_set(err, -FL_EUNSUPPORTED,
				 "the kernel cannot list its sockets (no %s): load the module or "
				 "use a kernel that has it",
				 protocol == IPPROTO_UDP ? "udp_diag" : "tcp_diag");
	if (result < 0)
		return error_set(err, result, "cannot list the kernel's sockets: %s",
				 error_text(result));
	return 0;
}

struct count_visit {
	const struct ip_prefix *pools;
	unsigned pool_count;
	struct connection_table table;
};

static int count_socket(const struct nlmsghdr *message, void *context)
{
	struct count_visit *visit = context;
	struct socket_seen seen;
	if (!socket_seen_parse(message, IPPROTO_TCP, &seen))
		return -EBADMSG;
	for (unsigned i = 0; i < visit->pool_count; i++) {
		if (ip_prefix_contains(&visit->pools[i], &seen.local))
			return connection_table_add(&visit->table, &seen.local);
	}
	return 0;
}

int sockets_count(struct netlink *diag, const struct ip_prefix *pools, unsigned pool_count,
		  struct landing_connections **ret_connections, size_t *ret_count,
		  struct error *err)
{
	int result = -FL_ECONFLICT;
	for (int attempt = 0; attempt < NETLINK_DUMP_ATTEMPTS && result == -FL_ECONFLICT;
	     attempt++) {
		struct count_visit visit = {.pools = pools, .pool_count = pool_count};
		result = dump_both(diag, IPPROTO_TCP, CONNECTION_STATES, count_socket, &visit, err);
		if (result == 0)
			result = connection_table_take(&visit.table, ret_connections, ret_count);
		connection_table_done(&visit.table);
	}
	return result;
}

struct socket_list {
	struct socket_seen *items; /* owned */
	size_t count;
	size_t capacity;
};

static int list_append(struct socket_list *list, const struct socket_seen *seen)
{
	if (list->count == list->capacity) {
		size_t capacity = list->capacity ? 2 * list->capacity : 64;
		struct socket_seen *items =
		    reallocarray(list->items, capacity, sizeof(*list->items));
		if (!items)
			return -ENOMEM;
		list->items = items;
		list->capacity = capacity;
	}
	list->items[list->count++] = *seen;
	return 0;
}

struct list_visit {
	uint8_t protocol;
	const struct ip_address *addresses; /* NULL: any */
	size_t address_count;
	struct socket_list list;
};

static bool is_wanted(const struct list_visit *visit, const struct ip_address *local)
{
	for (size_t i = 0; i < visit->address_count; i++) {
		if (ip_address_equal(&visit->addresses[i], local))
			return true;
	}
	return !visit->addresses;
}

static int list_socket(const struct nlmsghdr *message, void *context)
{
	struct list_visit *visit = context;
	struct socket_seen seen;
	if (!socket_seen_parse(message, visit->protocol, &seen))
		return -EBADMSG;
	return is_wanted(visit, &seen.local) ? list_append(&visit->list, &seen) : 0;
}

static int list_sockets(struct netlink *diag, uint32_t states, struct list_visit *visit,
			struct error *err)
{
	int result = -FL_ECONFLICT;
	for (int attempt = 0; attempt < NETLINK_DUMP_ATTEMPTS && result == -FL_ECONFLICT;
	     attempt++) {
		visit->list.count = 0;
		result = dump_both(diag, visit->protocol, states, list_socket, visit, err);
	}
	if (result < 0) {
		free(visit->list.items);
		visit->list = (struct socket_list){0};
	}
	return result;
}

int sockets_listening(struct netlink *diag, uint8_t protocol, struct socket_seen **ret_sockets,
		      size_t *ret_count, struct error *err)
{
	/* A UDP socket without a peer is in state CLOSE. */
	uint32_t states = protocol == IPPROTO_TCP ? 1u << TCP_LISTEN : 1u << TCP_CLOSE;
	struct list_visit visit = {.protocol = protocol};
	int result = list_sockets(diag, states, &visit, err);
	if (result < 0)
		return result;
	*ret_sockets = visit.list.items;
	*ret_count = visit.list.count;
	return 0;
}

static int destroy_one(struct netlink *diag, const struct socket_seen *seen)
{
	alignas(struct nlmsghdr) char bytes[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
	request->nlmsg_type = SOCK_DESTROY;
	struct inet_diag_req_v2 *wish = mnl_nlmsg_put_extra_header(request, sizeof(*wish));
	wish->sdiag_family = seen->via_v6 ? AF_INET6 : AF_INET;
	wish->sdiag_protocol = IPPROTO_TCP;
	wish->idiag_states = CONNECTION_STATES;
	wish->id = seen->id;
	return netlink_ask(diag, request);
}

int sockets_destroy(struct netlink *diag, const struct ip_address *addresses, size_t address_count,
		    uint64_t *ret_destroyed, struct error *err)
{
	uint64_t destroyed = 0;
	if (address_count == 0) {
		*ret_destroyed = 0;
		return 0;
	}
	struct list_visit visit = {
	    .protocol = IPPROTO_TCP, .addresses = addresses, .address_count = address_count};
	int result = list_sockets(diag, CONNECTION_STATES, &visit, err);
	for (size_t i = 0; result == 0 && i < visit.list.count; i++) {
		result = destroy_one(diag, &visit.list.items[i]);
		if (result == 0)
			destroyed++;
		else if (result == -ENOENT) /* it ended by itself meanwhile */
			result = 0;
		else if (result == -EOPNOTSUPP)
			error_set(err, result,
				  "the kernel cannot destroy sockets (no INET_DIAG_DESTROY): the "
				  "connections stay");
		else
			error_set(err, result, "cannot destroy a connection: %s",
				  error_text(result));
	}
	free(visit.list.items);
	*ret_destroyed = destroyed;
	return result;
}
