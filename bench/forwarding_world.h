/* SPDX-License-Identifier: Apache-2.0 */
/* What the world's BPF programs and the process that runs them share; forwarding_world.bpf.c
 * explains it. */
#ifndef FAIRLEAD_BENCH_WORLD_H
#define FAIRLEAD_BENCH_WORLD_H

#include <linux/types.h>

#define WORLD_SLOTS 256 /* at most so many frames are on their way at once */
#define WORLD_BACKENDS 8
#define WORLD_CLIENTS 0xc6120000u /* 198.18.0.0/16, for benchmarks (RFC 2544), in host order */
#define WORLD_FRAME 60 /* bytes of every frame; with the checksum of the link, 64 */
#define WORLD_PAYLOAD 6 /* bytes of a TCP request, and of its answer: what fits the frame */

enum world_mode {
	WORLD_PASS, /* packets are left alone */
	WORLD_UDP,
	WORLD_REQUESTS,
	WORLD_CONNECTIONS,
	WORLD_DRAIN, /* what comes of the measurement's packets ends here */
};

struct world_settings {
	__u32 mode; /* an enum world_mode */
	__u32 kind; /* what `mode` was before WORLD_DRAIN */
	__u32 service; /* address, in network order */
	__u16 port; /* in network order */
	__u8 edge[6]; /* the edge's link address on the uplink */
	__u8 clients[6]; /* the far end's */
	__u16 backend_count;
	__u32 uplink; /* ifindex of the far end */
	__u32 first; /* number of the first connection: another in each run, since the last one's
		      * connections may still be remembered by those who are measured */
	__u8 backends[WORLD_BACKENDS][6];
};

struct world_counts {
	__u64 packets; /* that came out of the edge towards all backends together */
	__u64 backends[WORLD_BACKENDS]; /* the same for each */
	__u64 requests; /* answered, the right bytes in them */
	__u64 connections; /* opened, used for one request, and closed */
	__u64 drained;
	__u64 wrong; /* not what the client waits for: doubled, reordered, other bytes */
	__u64 resets;
	__u64 strays; /* segments of no connection that is open: the last words of one that was */
	__u64 failed; /* frames that could not be written or sent */
};

/* What a client waits for. */
enum world_phase { WORLD_OPENING, WORLD_OPEN, WORLD_CLOSING };

struct world_slot {
	__u32 turn; /* counts the packets (UDP) or requests */
	__u32 connection; /* its number: 24 bits of it make its address and port */
	__u32 sent; /* the sequence number after all that was sent */
	__u32 awaited; /* the next sequence number of the other side */
	__u32 phase; /* an enum world_phase */
};

#endif
