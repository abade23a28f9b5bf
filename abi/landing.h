/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * What the landing's programs and src/landing share: keys, values and sizes of the maps.
 * Addresses are in network order, as in struct ip_address: an IPv4 address takes the first four
 * bytes and the rest are zero. Every byte of a key is written, padding is spelt out, since maps
 * compare keys byte for byte.
 */
#ifndef FAIRLEAD_ABI_LANDING_H
#define FAIRLEAD_ABI_LANDING_H

#include "abi/drop.h"

#include <linux/types.h>

/* Counted up whenever a key or value changes its meaning but not its size. */
#define LANDING_ABI_VERSION 1

/* Twice the limits of src/landing, so that a change can add all it wants before it deletes. */
#define LANDING_ABI_EDGES 2048
#define LANDING_ABI_ADDRESSES 128
#define LANDING_ABI_POOLS 128
#define LANDING_ABI_LISTENERS 2048

/* Key of `landing_edges` and `landing_addresses`. */
struct landing_address_key {
	__u8 bytes[16];
	__u32 family; /* 4 or 6 */
};

/* Key of `landing_pools`, a trie: the family is the first part of every prefix. */
struct landing_pool_key {
	__u32 length; /* bits: LANDING_POOL_KEY_BITS + the prefix's own length */
	__u32 family; /* 4 or 6 */
	__u8 bytes[16];
};
#define LANDING_POOL_KEY_BITS 32

/* Key of `landing_places`, a trie too; the value is a place in `landing_listeners`. */
struct landing_listener_key {
	__u32 length; /* bits: LANDING_LISTENER_KEY_BITS + the prefix's own length */
	__u8 family; /* 4 or 6 */
	__u8 protocol;
	__u16 port; /* host order */
	__u8 bytes[16];
};
#define LANDING_LISTENER_KEY_BITS 32

/* The only entry of `landing_own`: the link addresses that frames for this machine come to on an
 * interface, its own and that of a bridge that it is a port of. Index 0: not in use; those come
 * last. */
#define LANDING_ABI_OWN 32
struct landing_own {
	struct {
		__u32 ifindex;
		__u8 address[6];
		__u8 reserved[2];
	} items[LANDING_ABI_OWN];
};

/* The only entry of `landing_mss`: the largest segments that fit the tunnel, in bytes and host
 * order; 0 as long as nobody said. */
struct landing_mss {
	__u32 v4;
	__u32 v6;
};

/*
 * Key and value of `landing_asked`: clients that asked over UDP a moment ago, those of every
 * LANDING_ASKED_ONE_IN-th port. Who is asked at a service address must answer from there.
 */
#define LANDING_ASKED_CLIENTS 1024
#define LANDING_ASKED_ONE_IN 16
#define LANDING_ASKED_NS 2000000000ull /* a later packet to the client is no answer */
struct landing_asked_key {
	struct landing_address_key client;
	__u16 port; /* network order */
	__u16 reserved;
};
struct landing_asked {
	__u64 when; /* ns since the machine's start */
	__u8 address[16]; /* the service's */
	__u16 port; /* network order */
	__u16 reserved[3];
};

/* The only entry of `landing_wrong`: the last answer that left from another address. */
struct landing_wrong {
	struct landing_asked asked;
	__u8 address[16]; /* that it left from */
	__u16 port; /* network order */
	__u16 reserved;
	__u32 family; /* 4 or 6, of both addresses; 0: there was none */
};

/* The only entry of `landing_counts`, per CPU, in packets. */
struct landing_counts {
	__u64 passed;
	__u64 accepted[4]; /* by LANDING_TUNNEL */
	__u64 clamped; /* SYNs from a pool whose MSS was lowered */
	__u64 unclamped; /* SYNs from a pool whose MSS could not be seen, and went out as it was */
	__u64 wrong_source; /* answers over UDP that left from another address than was asked */
	__u64 drops[DROP_REASONS]; /* by enum drop_reason */
};

#define LANDING_TUNNEL(outer_is_v6, inner_is_v6) (((outer_is_v6) ? 2 : 0) + ((inner_is_v6) ? 1 : 0))

#endif
