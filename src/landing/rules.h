/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routing policy rules, per address family that has pools (and on an edge one at 49 of its own, see
 * kernel/own_calls.h):
 *	50: iif lo to POOL lookup main      this machine calls other services of the pool outside,
 *	51: iif lo to POOL unreachable      and never, for want of a route, its own listener
 *	60: iif IF to POOL lookup local     what landing's program, or the edge's, let through,
 *	61: to POOL blackhole               and nothing that came in past them
 *	100: lookup local                   in place of the kernel's at 0, which would come first
 * The local table moves in this order: added at 100, then deleted at 0; back in the reverse one.
 * Whoever looked it up behind 50 already (as VRFs want it) keeps it there.
 *
 * Our rules carry LANDING_PROTOCOL. The one for the local table carries the kernel's, as the one
 * that it stands for did: systemd-networkd deletes all others that it did not make, and without it
 * this machine would have no addresses. That protocol at that preference is nobody else's. So
 * nothing must be remembered for the undoing, and a crashed run is undone by the next.
 */
#ifndef FAIRLEAD_LANDING_RULES_H
#define FAIRLEAD_LANDING_RULES_H

#include "kernel/rule.h"
#include "landing/landing_alarms.h"

#define LANDING_PROTOCOL 102 /* in rtnetlink's number space of routing protocols; 'f' */

enum {
	RULE_PREF_CALL = 50,
	RULE_PREF_NO_CALL = 51,
	RULE_PREF_ADMIT = 60,
	RULE_PREF_NOT_ADMITTED = 61,
	RULE_PREF_LOCAL = 100,
};

/* Whether it is one of landing's. Pure. */
bool rule_is_ours(const struct rule *rule);

#define RULES_INTERFACES_MAX (LANDING_INTERFACES_MAX * 8)

/* What the rules shall do; borrowed. */
struct rules_wish {
	const struct ip_prefix *pools; /* of either family */
	unsigned pool_count;
	char interfaces[RULES_INTERFACES_MAX][16]; /* that packets for the pools may come in by */
	unsigned interface_count;
	const char *deleter; /* who took away what is missing, for alarms; NULL: nobody did */
};

/* Bring the rules of `family` in line with the pools of that family (maybe none). */
must_check int rules_apply(struct netlink *route, uint8_t family, const struct rules_wish *wish,
			   struct landing_alarms *alarms, struct error *err);

/* Delete ours, with the local table back at 0 first. */
must_check int rules_undo(struct netlink *route, uint8_t family, struct error *err);

#endif
