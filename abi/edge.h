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
