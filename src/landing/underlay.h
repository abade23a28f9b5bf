/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The underlay: the interfaces that tunnels come in by and the addresses that they end on. Both
 * are the operator's; landing reads them, tells what is amiss, and never sets them.
 */
#ifndef FAIRLEAD_LANDING_UNDERLAY_H
#define FAIRLEAD_LANDING_UNDERLAY_H

#include "kernel/netlink.h"
#include "landing/landing_alarms.h"
#include "landing/programs.h"

/* The smallest MTU of the interfaces that are there, in bytes; 1500 if none is. */
uint32_t underlay_mtu(const struct program_interface *interfaces, unsigned count);

/* Tell of each interface that is down or has no carrier. One that is not there is told of by
 * programs_attach. */
void underlay_check_interfaces(const struct program_interface *interfaces, unsigned count,
			       struct landing_alarms *alarms);

/* Which of `addresses` does this machine have? `ret_found` has room for `count`. An IPv6 address
 * that another machine on the link has too is none: the kernel does not use it. */
must_check int underlay_find_addresses(struct netlink *route, const struct ip_address *addresses,
				       size_t count, bool *ret_found, struct error *err);

/* Tell of each of `addresses` (LANDING_ADDRESSES_MAX at most) that this machine does not have. */
must_check int underlay_check_addresses(struct netlink *route, const struct ip_address *addresses,
					unsigned count, struct landing_alarms *alarms,
					struct error *err);

#endif
