/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the data plane share: `struct edge` is the process's memory of what its maps
 * say. A file calls only those that stand above it.
 *
 *   slots, pick_key, drop    pure
 *   maps.c                   program, maps, pins          slow_path.c  kernel settings
 *   attach.c                 interfaces, links            held.c       an earlier process's maps
 *   mark.c                   what the node acknowledged   selfcheck.c  links and pins, later on
 *   grow.c                   larger maps in the place of full ones
 *   nexthop.c                routes and neighbours → backends
 *   unreachable.c            what routers say of tunnels
 *   calls.c                  calls of the machine itself
 *   rings.c                  rings and backends
 *   passing.c                what edges pass to each other
 *   desired_check.c          checks of `desired`
 *   publish.c                desired → maps
 *   edge.c                   the public calls
 */
#ifndef FAIRLEAD_DATAPLANE_INTERNAL_H
#define FAIRLEAD_DATAPLANE_INTERNAL_H

#include "dataplane/attach.h"
#include "dataplane/calls.h"
#include "dataplane/held.h"
#include "dataplane/maps.h"
#include "dataplane/slots.h"
#include "kernel/netlink.h"

#include <stdio.h>
#include <string.h>

#define EDGE_BLOCK 64u /* words are given to spans in blocks of this */
#define EDGE_BLOCKS (EDGE_MAP_ADDRESSES / EDGE_BLOCK)

/* A pool that destinations are matched with. */
struct matched_pool {
	struct ip_prefix prefix;
	uint8_t site_bits;
	uint8_t slot_bits;
	bool used; /* its slot and its spans are taken */
	bool wanted; /* addresses may be located in it; false only during a publish */
	bool active; /* the program matches it */
	uint32_t first_span;
};

/* The words of one site of one pool. */
struct span {
	uint32_t first_block; /* of words */
	uint32_t length; /* words; 0: not held */
};

/* The effective ring of one version, as the maps have it; shared by its addresses. */
struct loaded_ring {
	struct digest digest; /* of the version */
	struct digest ejections; /* as struct edge_version has it */
	uint32_t first_page, pages;
	uint32_t references; /* addresses; 0 removes it */
	const uint16_t *entries; /* a mark only: what it was last compared with */
	struct refill *refill; /* owned; what the publication under way changes in it, or NULL */
	uint16_t *backends; /* owned; distinct, ascending */
	size_t backend_count;
};

/* One bound address. */
struct bound {
	struct ip_address address;
	uint32_t span;
	uint32_t slot;
	uint32_t descriptor;
	struct loaded_ring *ring; /* borrowed from edge.rings */
	uint64_t word;
	bool written; /* its word or its span, by the publication under way */
};

/* How a backend is reached now. */
struct reach {
	uint64_t unresolved_since_ms; /* 0: the next hop is known */
	bool no_route; /* the kernel has none, or one that refuses */
	uint32_t ifindex; /* 0: no route, or none that a packet can be redirected to */
	struct ip_address next_hop;
	uint64_t asked_ms; /* when the kernel was last told to find it; 0: never */
	uint32_t told_mtu; /* by a router on the way, for outer packets; 0: nothing is known */
	uint64_t told_ms; /* when it did */
};

struct edge {
	const struct clock *clock;
	struct edge_pins pins;
	struct edge_maps maps;
	struct attachments attachments;
	struct held_addresses held; /* until this process attaches */
	char build_id[LAYOUT_HEX];

	struct ip_address source_v4, source_v6;
	bool lands_here;
	bool source_missing[2]; /* v4, v6; not on this machine any more */

	/* What of the maps is taken. */
	uint32_t most_pages, most_descriptors; /* the limits of growth; entries */
	struct slots span_slots, blocks, descriptors, pages, backends, links;
	struct slots pool_slots[2]; /* v4, v6 */

	/* What is published. */
	struct matched_pool pools[2][EDGE_MAP_POOLS];
	struct span *spans; /* EDGE_MAP_SPANS of them; owned */
	struct bound *bound; /* sorted by address; owned */
	size_t bound_count;
	struct loaded_ring **rings; /* sorted by digest; owned */
	size_t ring_count;
	uint16_t *backend_order; /* numbers of the backends in use, by address; owned */
	size_t backend_count;

	/* Edges that this one may pass on to; they are numbered among the backends. */
	struct passing_peers {
		uint16_t numbers[EDGE_PASS_PEERS];
		size_t count;
	} peers;
	struct calls calls;
	struct edge_map_fence_key *fence; /* owned; sorted */
	size_t fence_count;

	/* How the backends are reached. */
	struct reach *reaches; /* by number of the backend; owned */
	struct netlink requests, news;
	uint64_t neighbours_full_ms[2]; /* v4, v6; when the kernel last took no more; 0: never */
	int hearing[2]; /* raw sockets for ICMP and ICMPv6; owned; -1: could not be opened */
	bool routes_changed; /* resolve every backend */
	bool links_changed; /* look at the interfaces */

	struct edge_interface_status interface_status[EDGE_INTERFACES];
	struct edge_backend_status *backend_status; /* owned */
};

static inline unsigned family_index(uint8_t family)
{
	return family == IP_V4 ? 0 : 1;
}

static inline uint64_t edge_now(const struct edge *edge)
{
	return clock_now_ms(edge->clock);
}

/* A 64-bit value that the program reads: everything written before is seen by who sees it. */
static inline void store_word(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* The code is plain to see here, so that readers and analysers know it is not 0. */
static inline int out_of_memory(struct error *err)
{
	(void)error_set(err, -ENOMEM, "out of memory");
	return -ENOMEM;
}

static inline struct ip_address backend_address(const struct edge *edge, uint32_t number)
{
	const struct edge_map_backend *entry = &edge->maps.backends[number];
	struct ip_address address = {.family = entry->family};
	memcpy(address.bytes, entry->address, entry->family == IP_V4 ? 4 : 16);
	return address;
}

#define MARK_NAME "mark" /* of mark.c's pin */

/* --- grow.c --- */

/*
 * Put larger maps in the place of the present ones, by at least so many pages and descriptors (0:
 * that one stays), as far as the limits allow: whoever needs the room finds out by taking it. After
 * a failure all is as it was.
 */
must_check int grow_by(struct edge *edge, uint32_t pages, uint32_t descriptors, struct error *err);

/* --- nexthop.c --- */

must_check int nexthop_open(struct edge *edge, struct error *err);
void nexthop_close(struct edge *edge);
/* Bring one backend's entry up to date; a failure leaves it without a next hop. */
void nexthop_resolve(struct edge *edge, uint32_t backend);
/* Why a smaller MTU that a router told ends: routes change, and nobody tells of a larger one. */
#define NEXTHOP_TOLD_MS 600000u
/* The number of a backend in use; 0: there is none with this address. */
uint32_t nexthop_find_backend(const struct edge *edge, const struct ip_address *address);
/* The backend is no longer one: drop the neighbour that was kept for it alone. */
void nexthop_release(struct edge *edge, uint32_t backend);
void nexthop_resolve_all(struct edge *edge);
/* Look for devices below the interfaces that merge packets. */
void nexthop_look_below(struct edge *edge);
/* Whether the address is one of this machine, by the kernel's routes; true if they do not tell. */
bool nexthop_is_local(struct edge *edge, const struct ip_address *address);
/* Does an interface that is there carry packets? */
enum edge_link nexthop_link_state(struct edge *edge, uint32_t ifindex);
/* Read all pending news into `routes_changed`, `links_changed` and the backends' entries. */
must_check int nexthop_drain(struct edge *edge, struct error *err);
/* Remove the neighbours that we have installed, of any edge of this network namespace. */
must_check int nexthop_remove_neighbours(struct error *err);

/* --- unreachable.c --- */

void unreachable_open(struct edge *edge);
void unreachable_close(struct edge *edge);

/* --- rings.c --- */

/* Write a record that nothing refers to yet, and read it back through the kernel. `view`: its place
 * in memory; NULL if it has none. */
must_check int record_write(int map_fd, void *view, uint32_t key, const void *record, size_t bytes,
			    struct error *err);
/*
 * The ring of `version`: found, and compared with what is asked for, or built. A built one is
 * removed by rings_sweep() unless an address refers to it by then. `likely` (NULL is fine) is
 * looked at first.
 */
must_check int rings_take(struct edge *edge, const struct edge_version *version,
			  struct loaded_ring *likely, struct loaded_ring **ret_ring,
			  struct error *err);
/* NULL if there is none; `likely` as above. */
struct loaded_ring *rings_find(const struct edge *edge, const struct digest *digest,
			       struct loaded_ring *likely);
/* Whether this very ring, by the place of its arrays, was compared or written under this digest. */
bool rings_is_known(const struct edge *edge, const struct edge_version *version,
		    struct loaded_ring *likely);
/* The last step of preparing: reach the pages that rings_commit() will write. */
must_check int rings_reach(struct edge *edge, struct error *err);
/* Write the entries of rings that changed. Single stores: it cannot fail. */
void rings_commit(struct edge *edge);
/* Forget what rings_commit() would have written. */
void rings_undo(struct edge *edge);
/* Retire the rings that no address of `edge->bound` refers to, then the backends without a ring
 * that are no peers either. */
void rings_sweep(struct edge *edge);
/* Whether a ring names it; peers are none's backends. */
bool rings_name(const struct edge *edge, uint32_t backend);
/* The number of whoever gets packets at this address, given out now if it has none yet. */
must_check int rings_backend_number(struct edge *edge, const struct ip_address *address,
				    uint16_t *ret_number, struct error *err);
void rings_close(struct edge *edge);

/* --- desired_check.c --- */

/* Everything about `desired` that can be judged without the maps; `olds` are what the bindings'
 * addresses mean now, NULL for nothing. */
must_check int desired_check(const struct edge *edge, const struct edge_desired *desired,
			     const struct bound *const *olds, struct error *err);
/* The one of `count` pools that holds the address, and its place there; NULL if none does. */
const struct matched_pool *desired_locate(const struct matched_pool *pools, size_t count,
					  const struct ip_address *address, uint32_t *ret_site,
					  uint64_t *ret_slot);

/* --- publish.c --- */

const struct bound *bound_find(const struct edge *edge, const struct ip_address *address);

#endif
