/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state in which the edge and its reference judge the same packets: pools of every shape,
 * versions with short and long rings, addresses that are closing, late, or neither, and backends
 * of both families that are reached in every way there is. It is published once; what a test turns
 * between two packets are the knobs.
 *
 *   edge0   10.1.0.1/24, fd00:1::1/64, MTU 1500; in the fixture's namespace, as wire0 is
 *   edge1   10.2.0.1/24, fd00:2::1/64, MTU 1400
 *
 * The packet's world is one that stands still: next hops are taken in once, at the start.
 */
#ifndef FAIRLEAD_TESTS_EDGE_WORLD_H
#define FAIRLEAD_TESTS_EDGE_WORLD_H

#include "base/random.h"
#include "edge_fixture.h"

#define WORLD_POOLS 6
#define WORLD_BACKENDS 7
#define WORLD_VERSIONS 4
#define WORLD_BINDINGS 14
#define WORLD_RING (3 * EDGE_RING_PAGE) /* the longest ring */

/* A backend, as the reference knows it. */
struct world_backend {
	const char *address;
	uint8_t interface; /* 0: edge0, 1: edge1; also where there is no route */
	uint16_t route_mtu; /* of the path, by the kernel's routes; 0: there is no route */
	bool has_neighbour; /* the kernel knows the next hop's link address */
	uint8_t link[6]; /* the next hop's link address, if it is known */
};

/* What differs from packet to packet. Bytes, so that a fuzzer can turn them. */
struct world_knobs {
	uint8_t lost; /* a bit for each backend: its entry has no next hop */
	uint8_t narrow; /* a bit for each: its entry's MTU is `mtu` instead of the route's */
	uint8_t mtu_high, mtu_low; /* 0: not known */
	uint8_t flags; /* WORLD_… */
};

#define WORLD_STALE 1 /* there was no heartbeat for long */
#define WORLD_FROM_EDGE1 2 /* packets come in on edge1 instead of edge0 */
#define WORLD_FOREIGN 4 /* version WORLD_FOREIGN_VERSION has a pick algorithm of another build */
#define WORLD_FOREIGN_VERSION 3
#define WORLD_FLAGS 7

struct world {
	struct fixture fixture;
	struct edge_pool pools[WORLD_POOLS];
	struct edge_backend backends[WORLD_BACKENDS];
	struct edge_version versions[WORLD_VERSIONS];
	struct edge_binding bindings[WORLD_BINDINGS];
	uint16_t ring[WORLD_RING]; /* of all versions, as far as theirs are long */
	struct ip_address source_v4, source_v6; /* of tunnels */
	struct world_knobs knobs;

	uint32_t ifindex[2]; /* of edge0 and edge1 */
	uint32_t descriptor_numbers[WORLD_BINDINGS];
	uint32_t backend_numbers[WORLD_BACKENDS];
	uint64_t backend_hops[WORLD_BACKENDS]; /* as the edge resolved them */
	int backends_fd, descriptors_fd, settings_fd, counters_fd, drops_fd;
};

/* The one table of backends; what the edge is told of them is in `backends`. */
extern const struct world_backend world_backends[WORLD_BACKENDS];

/* Enter namespaces of our own, publish, and attach; false, with a word on stderr, without root. */
bool world_enter(struct world *world);
void world_leave(struct world *world);

/* The link address of the interface that packets come in on; 6 bytes. */
const uint8_t *world_own_link(const struct world *world);

/* Turn the knobs; writes only what differs from how they stand. */
void world_turn(struct world *world, const struct world_knobs *knobs);
/* Mostly those of a healthy edge. */
struct world_knobs world_random_knobs(struct random *random);

/* What the entry of the backend says of the path's MTU; 0: nothing. */
uint32_t world_backend_mtu(const struct world *world, size_t backend);

#endif
