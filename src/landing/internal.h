/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of landing that span several files share within themselves. Private to
 * src/landing.
 *
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

/* --- programs --- */

/* Let go of the descriptor, and no more: what is pinned goes on. */
void programs_close_link(int *link);

#endif
