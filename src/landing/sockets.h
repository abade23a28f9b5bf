/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's sockets, through sock_diag: connections counted and destroyed by local address,
 * and listeners found. One namespace only: the one the netlink socket was opened in.
 *
 * A socket of family AF_INET6 whose local address is v4-mapped carries IPv4; here it has its IPv4
 * address, and `via_v6` tells. IPv4 connections of a dual-stack listener show only in the dump of
 * AF_INET6, so both families are always asked.
 */
#ifndef FAIRLEAD_LANDING_SOCKETS_H
#define FAIRLEAD_LANDING_SOCKETS_H

#include "base/netaddr.h"
#include "landing/landing.h"
#include "landing/netlink.h"

#include <linux/inet_diag.h>

struct socket_seen {
	struct ip_address local; /* all bytes zero for the wildcard */
	uint16_t port; /* local, host order */
	uint8_t protocol;
	bool via_v6;
	bool v6_only; /* listeners only */
	uint32_t inode; /* 0 where no process holds it */
	uint64_t cookie;
	struct inet_diag_sockid id; /* as the kernel names it */
};

/* False for messages that are no socket of an address family we know. Pure. */
bool socket_seen_parse(const struct nlmsghdr *message, uint8_t protocol, struct socket_seen *ret);

/* Connections by local address: an open hash table that grows. */
struct connection_table {
	struct landing_connections *slots; /* count 0: empty; owned */
	size_t capacity; /* a power of two, or 0 */
	size_t used;
};

void connection_table_done(struct connection_table *table);
must_check int connection_table_add(struct connection_table *table,
				    const struct ip_address *address);
/* Empties the table into an array sorted by address, which the caller owns. */
must_check int connection_table_take(struct connection_table *table,
				     struct landing_connections **ret_connections,
				     size_t *ret_count);

must_check int sockets_count(struct netlink *diag, const struct ip_prefix *pools,
			     unsigned pool_count, struct landing_connections **ret_connections,
			     size_t *ret_count, struct error *err);

must_check int sockets_destroy(struct netlink *diag, const struct ip_address *addresses,
			       size_t address_count, uint64_t *ret_destroyed, struct error *err);

/* Sockets that new flows can reach: TCP LISTEN, UDP unconnected. The caller owns the array. */
must_check int sockets_listening(struct netlink *diag, uint8_t protocol,
				 struct socket_seen **ret_sockets, size_t *ret_count,
				 struct error *err);

#endif
