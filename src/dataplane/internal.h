/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the data plane share. `struct edge` is the process's memory of what its maps
 * say.
 *
 *   maps.c      object, pins, views           attach.c   links, interfaces
 *   layout.c    digest of the maps' layout    sysctl.c   kernel settings, and their undoing
 *   publish.c   desired → maps                nexthop.c  routes and neighbours → backends
 *   rings.c     its rings and backends        grow.c     larger maps in the place of full ones
 *   plan.c      checks of `desired`           check.c    programs, links and pins, later on
 *   held.c      an earlier process's maps     edge.c     the public calls
 *   mark.c      what the node acknowledged
 */
#ifndef FAIRLEAD_DATAPLANE_INTERNAL_H
#define FAIRLEAD_DATAPLANE_INTERNAL_H

#include "abi/edge.h"
#include "dataplane/edge.h"
#include "dataplane/slots.h"

#include <stdio.h>

struct bpf_map;
struct edge_bpf;
struct mnl_socket;

#define EDGE_BLOCK 64u /* words are given to spans in blocks of this */
#define EDGE_BLOCKS (EDGE_MAP_ADDRESSES / EDGE_BLOCK)
#define EDGE_PATH 512 /* longest pin path */
#define EDGE_LAYOUT_HEX 17
#define EDGE_FOLDER 32 /* longest name of a folder of maps */
#define EDGE_LOCK_NAME "this pin folder of an edge"

/* The maps in this process's memory; the program reads the same pages. All but the ring pages,
 * which are nearly all there is and are seldom looked at. */
struct edge_view {
	struct edge_map_settings *settings;
	uint64_t *spans;
	uint64_t *addresses;
	struct edge_map_descriptor *descriptors;
	struct edge_map_backend *backends;
	int settings_fd, spans_fd, addresses_fd, descriptors_fd, pages_fd, backends_fd;
	int counters_fd, drops_fd;
};

struct pool {
	struct ip_prefix prefix;
	uint8_t site_bits;
	uint8_t slot_bits;
	bool used; /* its slot and its spans are taken */
	bool wanted; /* addresses may be located in it; false only during a publish */
	bool active; /* the program matches it */
	uint32_t first_span;
};

/* A span, from the process's side. */
struct site {
	uint32_t first_block; /* of words */
	uint32_t length; /* words; 0: not held */
};

/* The effective ring of one version; shared by its addresses. */
struct ring {
	struct digest digest; /* of the version */
	struct digest ejections; /* as struct edge_version has it */
	uint32_t first_page, pages;
	uint32_t references; /* addresses; 0 removes it */
	const uint16_t *entries; /* a mark only: what it was last compared with */
	struct refill
	    *refill; /* owned; what the publication under way will change in it, or NULL */
	uint16_t *backends; /* owned; distinct, ascending */
	size_t backend_count;
};

/* One bound address. */
struct bound {
	struct ip_address address;
	uint32_t span;
	uint32_t slot;
	uint32_t descriptor;
	struct ring *ring; /* borrowed from edge.rings */
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
};

struct interface {
	char name[16];
	uint32_t ifindex; /* 0: absent */
	int link_fd; /* -1: not attached */
	enum edge_mode mode;
	bool direct; /* the program may redirect packets to it */
	char problem[160]; /* why it is not attached; "" if it is or if it is absent */
};

/* An address of the maps that an earlier process left. */
struct held {
	struct ip_address address;
	struct digest version;
	bool refuses_new;
};

struct edge {
	char pin_root[EDGE_PATH / 2];
	char layout[EDGE_LAYOUT_HEX];
	char build_id[EDGE_LAYOUT_HEX];
	bool force_generic;
	bool attached; /* edge_attach() was called: interfaces that appear are attached */
	bool pinned; /* the maps are, in the folder of their layout */
	struct ip_address source_v4, source_v6;
	bool source_missing[2]; /* v4, v6; not on this machine any more */
	const struct clock *clock;
	int lock_fd; /* of pin_root; -1 until it is locked */

	struct edge_bpf *skeleton; /* owned */
	struct edge_view view;

	/* Until this process attaches. */
	struct held *held; /* sorted by address; owned */
	size_t held_count;
	bool held_unread; /* something is attached whose maps cannot be read */

	uint32_t most_pages, most_descriptors; /* the limits of growth; entries */
	struct slots span_slots, blocks, descriptors, pages, backends, links;
	struct slots pool_slots[2]; /* v4, v6 */
	struct pool pools[2][EDGE_MAP_POOLS];
	struct site *sites; /* EDGE_MAP_SPANS of them; owned */
	struct bound *bound; /* sorted by address; owned */
	size_t bound_count;
	struct ring **rings; /* sorted by digest; owned */
	size_t ring_count;

	uint16_t *backend_order; /* numbers of the backends in use, by address; owned */
	size_t backend_count;
	struct reach *reaches; /* by number of the backend; owned */
	struct mnl_socket *events; /* owned */
	struct mnl_socket *requests; /* owned */
	uint32_t sequence;
	bool routes_changed; /* resolve every backend */
	bool links_changed; /* look at the interfaces */

	struct interface interfaces[EDGE_INTERFACES];
	size_t interface_count;
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

/* maps.c */
must_check int maps_open(struct edge *edge, struct error *err);
void maps_close(struct edge *edge);
/* "<pin_root>/<name>[/<leaf>]"; the lengths were checked when the edge was opened. */
void maps_path(char path[EDGE_PATH], const char *pin_root, const char *name, const char *leaf);
/* The folder of maps that are not in force yet. */
void maps_new_folder(const struct edge *edge, char name[EDGE_FOLDER]);
/* Pin the maps there. */
must_check int maps_pin(struct edge *edge, struct error *err);
/* Remove all other maps, and give these the folder of their layout. */
must_check int maps_take_place(struct edge *edge, struct error *err);
/* Remove what any build has pinned under `pin_root` but links, and but the folder `keep` (NULL:
 * none). */
must_check int maps_sweep(const char *pin_root, const char *keep, struct error *err);
must_check int maps_load(const struct edge_bpf *skeleton, struct error *err);
/* Map what was loaded into memory; what a failure leaves is for maps_unview(), as is the rest. */
must_check int maps_view(const struct edge_bpf *skeleton, struct edge_view *view,
			 struct error *err);
void maps_unview(const struct edge_bpf *skeleton, struct edge_view *view);
/* One map alone. */
must_check int maps_view_one(const struct bpf_map *map, void **ret_memory, struct error *err);
void maps_unview_one(const struct bpf_map *map, void *memory);
/* Which capability is missing, if one is. */
must_check int maps_check_privileges(struct error *err);
/* That `path` lies on a BPF file system. */
must_check int maps_check_filesystem(const char *path, struct error *err);
/*
 * Pin again what somebody unpinned: maps, and the links of the interfaces. `ret_name` is the first
 * such pin, "" if all are there.
 */
must_check int maps_repin(struct edge *edge, char ret_name[EDGE_PATH], struct error *err);

/* grow.c */
/* Whether the map of this name grows. */
bool grow_is_for(const char *map);
/* Before loading: give the maps that grow the size that an earlier process's had. */
must_check int grow_begin(struct edge *edge, const struct edge_bpf *skeleton, struct error *err);
/*
 * Put larger maps in the place of the present ones, by at least so many pages and descriptors (0:
 * that one stays), as far as the limits allow: whoever needs the room finds out by taking it. After
 * a failure all is as it was.
 */
must_check int grow_by(struct edge *edge, uint32_t pages, uint32_t descriptors, struct error *err);

/* layout.c */
struct bpf_object;
must_check int layout_digest(const struct bpf_object *object, char text[EDGE_LAYOUT_HEX],
			     struct error *err);

/* held.c */
/* What an earlier process's maps hold that are in force; the edge has not attached yet. */
must_check int held_read(struct edge *edge, struct error *err);
const struct held *held_find(const struct edge *edge, const struct ip_address *address);
void held_forget(struct edge *edge);

/* plan.c: everything about `desired` that can be judged without the maps. */
must_check int plan_check(const struct edge *edge, const struct edge_desired *desired,
			  struct error *err);
/* The one of `count` pools that holds the address, and its place there; NULL if none does. */
const struct pool *plan_locate(const struct pool *pools, size_t count,
			       const struct ip_address *address, uint32_t *ret_site,
			       uint64_t *ret_slot);

/* rings.c */
/* Write a record that nothing refers to yet, and read it back through the kernel. */
must_check int record_write(int map_fd, void *view, uint32_t key, const void *record, size_t bytes,
			    struct error *err);
/*
 * The ring of `version`: found, and compared with what is asked for, or built. A built one is
 * removed by rings_sweep() unless an address refers to it by then.
 */
must_check int rings_take(struct edge *edge, const struct edge_version *version,
			  struct ring **ret_ring, struct error *err);
struct ring *rings_find(const struct edge *edge, const struct digest *digest);
/* Whether this very ring, by the place of its arrays, was compared or written under this digest. */
bool rings_is_known(const struct edge *edge, const struct edge_version *version);
/* The last step of preparing: reach the pages that rings_commit() will write. */
must_check int rings_reach(struct edge *edge, struct error *err);
/* Write the entries of rings that changed. Single stores: it cannot fail. */
void rings_commit(struct edge *edge);
/* Forget what rings_commit() would have written. */
void rings_undo(struct edge *edge);
/* Retire the rings that no address of `edge->bound` refers to, then the backends without a ring. */
void rings_sweep(struct edge *edge);
void rings_close(struct edge *edge);
struct ip_address backend_address(const struct edge *edge, uint32_t number);

/* publish.c */
const struct bound *bound_find(const struct edge *edge, const struct ip_address *address);

/* nexthop.c */
must_check int nexthop_open(struct edge *edge, struct error *err);
void nexthop_close(struct edge *edge);
/* Bring one backend's entry up to date; a failure leaves it without a next hop. */
void nexthop_resolve(struct edge *edge, uint32_t backend);
/* The backend is no longer one: drop the neighbour that was kept for it alone. */
void nexthop_release(struct edge *edge, uint32_t backend);
void nexthop_resolve_all(struct edge *edge);
/* Whether the address is one of this machine, by the kernel's routes; true if they do not tell. */
bool nexthop_is_local(struct edge *edge, const struct ip_address *address);
/* Does an interface that is there carry packets? */
enum edge_link nexthop_link_state(struct edge *edge, const struct interface *interface);
/* Read all pending news into `routes_changed`, `links_changed` and the backends' entries. */
must_check int nexthop_drain(struct edge *edge, struct error *err);
/* Remove the neighbours that we have installed, of any edge of this network namespace. */
must_check int nexthop_remove_neighbours(struct error *err);

/* attach.c */
void attach_query(const struct edge *edge, const struct interface *interface,
		  enum edge_mode *ret_mode, uint32_t *ret_program_id);
void attach_close(struct edge *edge);
/* Whether a link is pinned for an interface of this edge, whosoever's process made it. */
bool attach_is_pinned(const struct edge *edge);
/* Attach what is there and is not attached; detach nothing. Failures stay in `problem`. */
void attach_reconcile(struct edge *edge);
must_check int attach_remove(const char *pin_root, struct error *err);
/*
 * Put `program_fd` on every interface that this process has attached; on all of them, or none.
 */
must_check int attach_switch(struct edge *edge, int program_fd, struct error *err);

/* sysctl.c */
must_check int sysctl_apply(const char *pin_root, const char *interface, struct error *err);
must_check int sysctl_undo(const char *pin_root, struct error *err);

/* --- mark.c --- */

must_check int edge_mark_remove(const char *pin_root, struct error *err);

#endif
