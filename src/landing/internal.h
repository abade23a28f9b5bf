/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of landing that span several files share within themselves. Private to
 * src/landing.
 *
 *   routes.c, route_copy.c, routes_mirror.c           routes.h
 *   programs.c, programs_attach.c, programs_pins.c    programs.h
 */
#ifndef FAIRLEAD_LANDING_INTERNAL_H
#define FAIRLEAD_LANDING_INTERNAL_H

#include "base/netaddr.h"
#include "landing/netlink.h"

#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "IPv4" or "IPv6", of AF_INET or AF_INET6; for sentences. */
const char *family_name(uint8_t family);

/* --- routes --- */

#define ROUTE_MTU_UNKNOWN UINT32_MAX

/* Whether the message is a whole route, which the functions below take for granted. */
bool route_is_whole(const struct nlmsghdr *message);
/* An attribute of at least `least` bytes, or NULL. */
const struct nlattr *route_attribute(const struct nlmsghdr *route, unsigned type, size_t least);
uint32_t route_number(const struct nlmsghdr *route, unsigned type, uint32_t otherwise);
struct ip_prefix route_destination(const struct nlmsghdr *route);

/* Dump the routes of `table`, by a filter of the kernel where it knows one. */
must_check int routes_dump(struct netlink *route, uint8_t family, uint32_t table,
			   netlink_visit *visit, void *context);

/* --- programs --- */

/* Let go of the descriptor, and no more: what is pinned goes on. */
void programs_close_link(int *link);

#endif
