/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flows of `./dev bench dataplane`: what the entry program writes into the frame before each
 * packet, and user space expects there. Compiled by both.
 *
 * The flow of a packet follows from its number, and the version from the flow, each by one
 * multiplication: 2^20 packets in a row are 2^20 flows, in no order that a prefetcher could follow,
 * and each version has its even share of them.
 */
#ifndef FAIRLEAD_BENCH_DATAPLANE_STAMP_H
#define FAIRLEAD_BENCH_DATAPLANE_STAMP_H

#include <linux/types.h>

#define STAMP_FLOWS (1u << 20) /* at most */
#define STAMP_VERSIONS 128u /* at most */
#define STAMP_FRAME 114 /* bytes of each frame before it is encapsulated */

/* Addresses in host order. The sources are those set aside for benchmarks (RFC 2544, RFC 5180). */
#define STAMP_SOURCE4 0xc6120000u /* 198.18.0.0, plus flow / 16 */
#define STAMP_SERVICE4 0xc6336400u /* 198.51.100.0, plus the version */
#define STAMP_SOURCE6 0x2001000200000000u /* 2001:2::, the first half of it */
#define STAMP_SERVICE6 0x20010db8000f0000u /* 2001:db8:f::, the first half */
#define STAMP_PORT 0x8000u /* source port, plus flow % 16 */

/*
 * Set by user space, read by the entry. What is not said to be in host order is as it lies in the
 * frame.
 */
struct stamp {
	__u32 flows; /* a power of two */
	__u32 versions;
	__u32 number; /* of the next packet; the entry counts it up */
	__u16 port; /* the destination port */
	__u16 age4; /* of the IPv4 header: time to live and protocol */
	__u32 sum4; /* the sum of the IPv4 header's 16-bit words without addresses, in host order */
	__u64 head6; /* the first eight bytes of the IPv6 header */
};

static inline __u32 stamp_flow(__u32 number, __u32 flows)
{
	/* Odd, so that it permutes the numbers below every power of two. */
	return number * 0x9e3779b1u & (flows - 1);
}

static inline __u32 stamp_version(__u32 flow, __u32 versions)
{
	return (__u32)((__u64)(flow * 0x85ebca6bu) * versions >> 32);
}

#endif
