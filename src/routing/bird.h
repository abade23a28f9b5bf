/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What BIRD 2 needs to read the routing plane's table and announce it: a piece of configuration
 * that an operator includes once. It names prefixes exactly, so that nothing else that gets into
 * the table is announced, and none broader or narrower; and it is the same for as long as the pools
 * are, whatever services do, so that BIRD is never told to read it again.
 *
 * Pure; any thread.
 */
#ifndef FAIRLEAD_ROUTING_BIRD_H
#define FAIRLEAD_ROUTING_BIRD_H

#include "base/buffer.h"
#include "base/netaddr.h"

#include <stddef.h>
#include <stdint.h>

struct routing_bird {
	const char *node; /* for the comment at its head */
	uint32_t table;
	const struct ip_prefix *prefixes;
	size_t prefix_count;
	/* Routers; none: the text has an example to fill in, as a comment. */
	const struct ip_address *neighbours;
	size_t neighbour_count;
	uint32_t neighbour_as; /* 0 without neighbours */
	uint32_t local_as;
};

/* Appends; the buffer keeps what went wrong. */
void routing_bird_write(const struct routing_bird *bird, struct buffer *text);

#endif
