/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Own calls: a machine that is an edge calls a service of its pools (NETWORK.md rule 3). By itself
 * it would look for the address on its own links, or find its own listener; so a rule before all
 * others leads what it sends to a pool to one end of a veth pair, and the edge's program is on the
 * other:
 *
 *   rule 49: iif lo to POOL lookup 26220
 *   table 26220: default via 169.254.102.2 dev fairlead-call onlink src SOURCE,
 *                and via fe80::666c:2
 *   fairlead-call: permanent neighbours for both, no offloads, an MTU with room for tunnels
 *   fairlead-edge: the program, and 169.254.102.1/32: without an address of its own
 *                  rp_filter would drop what a backend on this very machine gets bare
 *
 * All of it stays when the process ends, as the program does; rules and routes carry a protocol
 * number of ours, and the pair goes with its name. What others take away is put back when the news
 * tell of it.
 */
#ifndef FAIRLEAD_DATAPLANE_CALLS_H
#define FAIRLEAD_DATAPLANE_CALLS_H

#include "base/error.h"
#include "base/netaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct edge;

/* In struct edge; all zero at first. */
struct calls {
	bool wanted;
	bool has_led; /* this process has put all in place once */
	struct ip_prefix *led; /* owned; pools that rules lead there */
	size_t led_count;
	char problem[256]; /* why calls are not led; "": they are, or need not be */
	char repaired[96]; /* what had been taken away since calls_take_repaired() */
};

/* The pair, before the program is put on its far end. */
void calls_make_pair(struct edge *edge);
/* All of it, for the pools that are matched now; the rules only while the program is there. Only
 * what is missing is made, and what fails is in `problem`. */
void calls_update(struct edge *edge);
/* The same, if there are other pools than those that were led there last, or that failed: what else
 * may change, the news tell of. */
void calls_follow_pools(struct edge *edge);
/* What had been taken away lately; false: nothing. */
bool calls_take_repaired(struct edge *edge, char *text, size_t size);
void calls_close(struct edge *edge);
/* Undo it, whosoever's process made it. */
must_check int calls_remove(struct error *err);

#endif
