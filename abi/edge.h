/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What the edge program and user space share: the layout of every map. Whatever changes here
 * changes the layout's digest, and with it the folder the maps are pinned in; no reader ever meets
 * a struct of another build.
 *
 *   destination → pool → span of the site → word of the address → descriptor → ring page → backend
 *
 * Each step is an index into a plain array. The cache lines that a packet touches: one or two of
 * the settings and one each of span, word, descriptor, ring page, backend, counters.
 *
 * How a packet never sees half a change: user space writes whole records that nothing refers to
 * yet, then makes one aligned 64-bit store (a span, a word, a next hop) that refers to them. A
 * record that nothing refers to any more is left alone for a grace that is far longer than a
 * packet's stay in the program.
 *
 * FAIRLEAD_LAYOUT_VARIANT shifts the records of several maps. It exists so that tests and the lab
 * can replace a running program by one that lays its maps out differently.
 */
#ifndef FAIRLEAD_ABI_EDGE_H
#define FAIRLEAD_ABI_EDGE_H

#include "abi/pick.h"

#define EDGE_MAP_POOLS 8 /* of each family */
#define EDGE_MAP_INTERFACES 16
#define EDGE_MAP_OWN 32
#define EDGE_MAP_LINKS 64 /* 0 means none */
#define EDGE_MAP_HERE 0xffffu /* in a link's place: the backend is this machine itself */
#define EDGE_MAP_SPANS 4096
#define EDGE_MAP_ADDRESSES (1u << 18)
#define EDGE_MAP_DESCRIPTORS 512 /* 0 means none; at first: the table grows with what it holds */
#define EDGE_MAP_PAGES 256 /* at first, likewise */
#define EDGE_MAP_PAGE_ENTRIES 4096u
#define EDGE_MAP_BACKENDS (1u << 14) /* 0 means none, as PICK_NONE says */
#define EDGE_MAP_DROPS 64
#define EDGE_MAP_PORTS 8

/* Addresses in network order, as everywhere below. */
struct edge_map_pool4 {
	union {
		__u64 prefix_and_mask; /* for user space, which exchanges both at once */
		struct {
			__u32 prefix;
			__u32 mask; /* all ones, with prefix 0, where no pool is: matches none */
		};
	};
	__u16 first_span; /* the spans of its sites lie here, one after the other */
	__u16 site_mask;
	__u8 slot_bits;
	__u8 reserved[3];
};

struct edge_map_pool6 {
	__u64 prefix[2];
	__u64 mask; /* of the second half; the first counts whole */
	__u16 first_span;
	__u16 site_mask;
	__u8 slot_bits;
	__u8 used; /* written last when the pool comes, first when it goes */
	__u8 reserved[2];
};

/* An interface that next hops lead out of. Immutable: a change of it takes a new number. */
struct edge_map_link {
	__u32 ifindex;
	__u8 address[6];
	__u8 reserved[6];
};

/* An address that frames for this machine come to on an interface: the interface's own, or that of
 * a bridge that it is a port of. */
struct edge_map_own {
	union {
		__u64 word; /* for one store; the last two bytes are 0 */
		__u8 address[6];
	};
	__u32 ifindex; /* 0 in entries that are not in use, which come last */
	__u32 reserved;
};

/*
 * Passing. An edge that knows that it is behind passes on what it has no word for to an edge that
 * may have one (NETWORK.md rules 1, 6 and 21):
 *
 *   IP (DF, from edge to edge) | UDP to EDGE_PASS_PORT, no checksum | header | the client's packet
 *
 * The form says that it was passed on: who gets it places it, or drops it.
 */
#define EDGE_PASS_PORT 7123
#define EDGE_PASS_MAGIC 0x666c /* "fl" */
#define EDGE_PASS_PASSED 1 /* the only form */
#define EDGE_PASS_PEERS 16u
#define EDGE_PASS_FENCE 2048
#define EDGE_PASS_RATE 100000u /* packets a second and CPU */
#define EDGE_PASS_BURST 10000u

struct edge_pass_header {
	__u16 magic; /* network order */
	__u8 form;
	__u8 family; /* 4 or 6, of the packet that follows */
	__u8 token[8]; /* of whom it is passed to */
};

/* The link source of a packet that was passed on, once the outer header is off: no machine has this
 * address, and who pretends to has only its packets not passed on. */
#define EDGE_PASS_LINK 0x02666c706173ull /* 02:66:6c:70:61:73 */

struct edge_map_peer {
	__u64 token;
	__u32 backend; /* its number among the backends: how it is reached */
	__u32 reserved;
};

/* Which of the two lists of peers is in force, and how many it holds; in one value. */
#define EDGE_PASS_NOW(list, count, on) ((__u32)(list) << 16 | (__u32)(count) << 8 | !!(on))
#define EDGE_PASS_ON(now) ((now) & 1) /* the daemon knows that this edge is behind */
#define EDGE_PASS_COUNT(now) ((now) >> 8 & 0xff)
#define EDGE_PASS_LIST(now) ((now) >> 16 & 1)

struct edge_map_passing {
	__u32 now;
	__u32 reserved;
	__u64 tokens[2]; /* that others show here; 0: none */
	struct edge_map_peer peers[2][EDGE_PASS_PEERS];
};

/* Key of `fence`: an edge that may pass on to this one. */
struct edge_map_fence_key {
	__u8 address[16];
	__u32 family; /* 4 or 6 */
};

/* Per CPU. */
struct edge_map_passes {
	__u64 passed; /* packets, to peers */
	__u64 taken; /* packets, from peers */
	__u64 left; /* of the rate's bucket */
	__u64 filled_ns; /* when it was last filled */
};

struct edge_map_settings {
#ifdef FAIRLEAD_LAYOUT_VARIANT
	__u64 variant;
#endif
	__u64 heartbeat; /* the kernel's jiffies when next hops were last known to be true */
	__u64 heartbeat_limit; /* jiffies; older than this, the kernel's FIB is asked instead */
	__u8 source_v6[16]; /* outer source addresses */
	__u32 source_v4;
	__u8 pools4; /* slots to look at; those beyond have never been in use */
	__u8 pools6;
	__u8 reserved[2];
	struct edge_map_pool4 pool4[EDGE_MAP_POOLS];
	struct edge_map_pool6 pool6[EDGE_MAP_POOLS];
	struct edge_map_own own[EDGE_MAP_OWN];
	struct edge_map_link links[EDGE_MAP_LINKS];
	/* Where packets may be redirected to when the FIB was asked: a redirect to an interface
	 * that is not ready for it would lose them without a trace. 0 in entries that are not in
	 * use. */
	__u32 direct[EDGE_MAP_INTERFACES];
	/* Where the next stage takes what is not the edge's. 0 likewise. */
	__u32 shared[EDGE_MAP_INTERFACES];
	struct edge_map_passing passing;
};

/* A span: which words are the addresses of one site. One 64-bit value. */
#define EDGE_SPAN(first, length) ((__u64)(length) << 32 | (first))
#define EDGE_SPAN_FIRST(span) ((__u32)(span))
#define EDGE_SPAN_LENGTH(span) ((__u32)((span) >> 32)) /* 0: nothing of this site is held */

/* A word: what one service address means. One 64-bit value. */
#define EDGE_WORD_DESCRIPTOR(word) ((__u32)(word)) /* 0: nothing */
#define EDGE_WORD_REFUSE_NEW ((__u64)1 << 32)
#define EDGE_WORD_LATE ((__u64)1 << 33)
#define EDGE_WORD_BINDING(number) ((__u64)(number) << 40) /* its low 24 bits, for people */

#define EDGE_PORT_QUIC 1

struct edge_map_port {
	__u16 low, high; /* host order, both included */
	__u8 protocol;
	__u8 flags;
};

/*
 * What a bound address means; immutable. Nearly all IPv4 packets touch its first 64 bytes alone,
 * and IPv6 packets the next 64, too. What comes after those is for algorithm 1, for a daemon that
 * starts (src/dataplane/held.c), and for people.
 */
struct edge_map_descriptor {
	__u32 first_page; /* the ring lies in ring_pages pages from here on */
	__u16 ring_pages;
	__u8 algorithm; /* enum pick_algorithm */
	__u8 port_count;
	struct pick_key key; /* of algorithm 2 */
	struct edge_map_port ports[EDGE_MAP_PORTS];
	struct pick_key6 key6; /* of algorithm 2 */
	__u8 seed[16]; /* of the version; the key of algorithm 1 */
	__u8 digest[32]; /* of the version */
	__u64 version;
	__u64 binding;
	__u8 address[16];
	__u8 family; /* 4 or 6, of `address` */
	__u8 by_source; /* as the version has it; the key says it to the program */
	__u8 padding[46]; /* to whole pairs of cache lines */
};

/*
 * A page of a ring: of the effective one, in which whoever is left out is refilled. It changes only
 * by aligned 16-bit stores, so that a packet sees each entry as it was or as it is.
 */
struct edge_map_page {
	__u16 backend[EDGE_MAP_PAGE_ENTRIES];
};

/* Next hop as one 64-bit value; link 0 means that it is not known, and with EDGE_MAP_HERE the
 * packet goes to this machine's own landing, bare. */
union edge_map_hop {
	__u64 word;
	struct {
		__u8 address[6];
		__u16 link;
	} to;
};

struct edge_map_backend {
#ifdef FAIRLEAD_LAYOUT_VARIANT
	__u64 variant[8];
#endif
	__u64 hop; /* a union edge_map_hop */
	__u8 address[16]; /* outer destination */
	__u32 mtu; /* of the path, for the outer packet; 0: not known */
	__u8 family; /* 4 or 6, of `address` */
	__u8 reserved[3];
	__u32 generation; /* counts the uses of this entry */
	__u8 padding[28]; /* to a whole cache line */
};

/* Per CPU and descriptor; see struct edge_counters for the meaning. */
struct edge_map_counters {
	__u64 packets;
	__u64 bytes;
	__u64 new_flows;
	__u64 late_flows;
	__u64 refused;
	__u64 wrong_port;
	__u64 asked_fib;
	__u64 to_kernel;
};

#endif
