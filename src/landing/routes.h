/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes: each pool is local, and a table of ours mirrors the main one with the MSS clamped.
 *
 * A client sends segments as large as the SYN-ACK allows, and they reach us through a tunnel; the
 * route that the SYN-ACK takes therefore says what fits the tunnel (advmss). Answers find that
 * route by a rule (rules.h), so no other flow of this machine changes. The mirror follows the main
 * table; routes in it carry LANDING_PROTOCOL.
 */
#ifndef FAIRLEAD_LANDING_ROUTES_H
#define FAIRLEAD_LANDING_ROUTES_H

#include "landing/landing_alarms.h"
#include "landing/netlink.h"

/* A route as a request to the kernel, in one fixed form, so that equal routes are equal bytes. */
struct route_copy {
	struct nlmsghdr *request; /* owned */
};

/*
 * Copy a route of any table into LANDING_TABLE's form: attributes in order, run-time flags and
 * life times gone, the preferred source too (these flows have theirs). `mss` is the most to
 * advertise, in bytes; 0 keeps what is there. 1 if copied, 0 for a route that is not mirrored
 * (cached, not of a type that the main table can lead by), or an error. Pure.
 */
must_check int route_copy_make(const struct nlmsghdr *route, uint32_t mss,
			       struct route_copy *ret_copy);

/* Whether the route leads to more than what is on a link of this machine. Pure. */
bool route_leads_beyond(const struct nlmsghdr *route);

/* The smallest MTU of the links that the route leads out by; UINT32_MAX if it names none. */
typedef uint32_t route_link_mtu(unsigned ifindex, void *context);
uint32_t route_mtu(const struct nlmsghdr *route, route_link_mtu *link_mtu, void *context);

/* Largest TCP segment in a packet of `mtu` bytes without options (RFC 9293, section 3.7.1). */
uint32_t route_mss(uint32_t mtu, uint8_t family);

/* Append the pools of `family` that we, or an earlier run, made local; `pools` holds
 * LANDING_POOLS_MAX. */
must_check int routes_read_local(struct netlink *route, uint8_t family, struct ip_prefix *pools,
				 unsigned *pool_count, struct error *err);

/* Make the pools of `family` local, and no other by us. */
must_check int routes_apply_local(struct netlink *route, uint8_t family,
				  const struct ip_prefix *pools, unsigned pool_count,
				  struct landing_alarms *alarms, struct error *err);

/* Mirror the main table; `tunnel_mtu` is the largest inner packet that reaches us, in bytes. */
must_check int routes_apply_mirror(struct netlink *route, uint8_t family, uint32_t tunnel_mtu,
				   struct landing_alarms *alarms, struct error *err);

/* Empty the mirror. */
must_check int routes_undo_mirror(struct netlink *route, uint8_t family, struct error *err);

#endif
