/* SPDX-License-Identifier: Apache-2.0 */
/* Connections counted and ended by local address, and listeners found. */
#ifndef FAIRLEAD_LANDING_SOCKETS_H
#define FAIRLEAD_LANDING_SOCKETS_H

#include "kernel/sock_diag.h"
#include "landing/landing.h"

/* Connections by local address. It holds few more items than there are addresses. */
struct connection_table {
	struct landing_connections *items; /* owned; merged by address now and then */
	size_t count;
	size_t capacity;
};

void connection_table_done(struct connection_table *table);
must_check int connection_table_add(struct connection_table *table,
				    const struct ip_address *address);
/* Add all of `from`. */
must_check int connection_table_join(struct connection_table *table,
				     const struct connection_table *from);
/* Empties the table into an array sorted by address, which the caller owns; NULL if there is none.
 */
void connection_table_take(struct connection_table *table,
			   struct landing_connections **ret_connections, size_t *ret_count);

/* Add the connections whose local address lies in a pool. */
must_check int sockets_count(struct netlink *diag, const struct ip_prefix *pools,
			     unsigned pool_count, struct connection_table *table,
			     struct error *err);

must_check int sockets_destroy(struct netlink *diag, const struct ip_address *addresses,
			       size_t address_count, uint64_t *ret_destroyed, struct error *err);

/* Sockets that new flows can reach: TCP LISTEN, UDP unconnected. The caller owns the array. */
must_check int sockets_listening(struct netlink *diag, uint8_t protocol,
				 struct socket_seen **ret_sockets, size_t *ret_count,
				 struct error *err);

#endif
