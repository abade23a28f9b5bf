/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clamp of the MSS on the interfaces that answers leave by: a filter of tc's clsact, at the way
 * out, whose program is bpf/landing.bpf.c's.
 *
 * Its handle and priority alone say that a filter is ours, and the kernel is asked which interfaces
 * have one: nothing must be remembered for the undoing, a filter works on without the daemon, and
 * the next run puts its own program in the old one's place. A clsact is shared with whoever else
 * filters: it is added where there is none, and goes with the last filter on it.
 */
#ifndef FAIRLEAD_LANDING_CLAMP_H
#define FAIRLEAD_LANDING_CLAMP_H

#include "kernel/netlink.h"
#include "landing/landing_alarms.h"
#include "landing/routes.h"

/* Low, since a filter that accepts a packet ends the chain; behind 1, which most programs take. */
#define CLAMP_PRIORITY 26
#define CLAMP_HANDLE 0x666c /* "fl" */

/* Largest TCP segment in a packet of `mtu` bytes without options (RFC 9293, section 3.7.1). */
uint32_t clamp_mss(uint32_t mtu, uint8_t family);

/*
 * Have `program` (a descriptor) on the interfaces of `wanted`, and on no other. One that does not
 * take it is an alarm and becomes 0 in the set; one of `before` that had lost it is another alarm.
 */
must_check int clamp_apply(struct netlink *route, int program, struct exits *wanted,
			   const struct exits *before, struct landing_alarms *alarms,
			   struct error *err);

#endif
