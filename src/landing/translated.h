/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to service addresses that this machine leads on, to another address and often into
 * another namespace: by a rule of nftables or iptables, as container engines publish ports, or by
 * IPVS. No socket here has the service address, so they are counted where the kernel translates
 * them. One that also has such a socket would be counted twice, which keeps its version for as long
 * as it lives, and no longer.
 */
#ifndef FAIRLEAD_LANDING_TRANSLATED_H
#define FAIRLEAD_LANDING_TRANSLATED_H

#include "kernel/conntrack.h"
#include "landing/sockets.h"

/* Add all whose first destination lies in a pool. Any failure to see all of them is an error. */
must_check int translated_count(struct netlink *tracked, const struct ip_prefix *pools,
				unsigned pool_count, struct connection_table *table,
				struct error *err);

/*
 * Have the kernel forget the translations of these addresses' connections. A client that goes on
 * sending may be led on anew, to the same server or another: only the rule's owner can end that.
 * Adds to `ret_ended`.
 */
must_check int translated_end(struct netlink *tracked, const struct ip_address *addresses,
			      size_t address_count, uint64_t *ret_ended, struct error *err);

/* The service address of a line of /proc/net/ip_vs_conn; false if it is none of a connection that
 * is open. Pure. */
bool translated_parse_ipvs(const char *line, struct ip_address *ret_address);

#endif
