/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routes: each pool is local, and the others tell which interfaces answers leave by. Routes of ours
 * carry LANDING_PROTOCOL.
 */
#ifndef FAIRLEAD_LANDING_ROUTES_H
#define FAIRLEAD_LANDING_ROUTES_H

#include "kernel/netlink.h"
#include "landing/landing_alarms.h"

#define EXITS_MAX 1024

/* A set of interfaces. */
struct exits {
	unsigned items[EXITS_MAX]; /* their indices */
	unsigned count;
	bool lead_beyond; /* a route of theirs leads further than this machine's links */
};

/* -FL_ELIMIT if there is no room for one more. */
must_check int exits_add(struct exits *exits, unsigned ifindex);
bool exits_have(const struct exits *exits, unsigned ifindex);

/* Add the interfaces that the route leads out of, if it leads anywhere. Pure. */
must_check int exits_add_route(struct exits *exits, const struct nlmsghdr *route);

/* Add the interfaces of all routes of `family`; `lead_beyond` is then that family's. */
must_check int routes_read_exits(struct netlink *route, uint8_t family, struct exits *exits,
				 struct error *err);

/* An earlier release copied the main table to one of its own, which no rule leads to any more. What
 * cannot be deleted does no harm, and is tried again by the next call. */
void routes_delete_former(struct netlink *route, uint8_t family);

/* Append the pools of `family` that we, or an earlier run, made local; `pools` holds
 * LANDING_POOLS_MAX. */
must_check int routes_read_local(struct netlink *route, uint8_t family, struct ip_prefix *pools,
				 unsigned *pool_count, struct error *err);

/* Whether the message tells of a route of landing's. Pure. */
bool route_is_ours(const struct nlmsghdr *message);

/* Make the pools of `family` local, and no other by us. `deleter` is who took away what is missing,
 * for alarms. */
must_check int routes_apply_local(struct netlink *route, uint8_t family,
				  const struct ip_prefix *pools, unsigned pool_count,
				  const char *deleter, struct landing_alarms *alarms,
				  struct error *err);

#endif
