// SPDX-License-Identifier: Apache-2.0
/*
 * What stands around the program under test in `./dev bench dataplane`.
 *
 * BPF_PROG_TEST_RUN hands the same frame to the program again and again, as the last run left it.
 * The entry takes off what the last run put in front, writes the next flow into it, and jumps to
 * whatever `next` holds: the edge, the floor, or `back`, which sends the frame as it is. The time
 * with the last one is the entry's own and is subtracted from the others. So what remains of those
 * includes the taking off of their header; `move` says how much that is, since it makes room as
 * they do but writes nothing.
 *
 * A processor hands a value that was just stored to a load only if one store covers the load. A
 * packet from a network card has no such stores, so the entry writes the fields as wide as anyone
 * behind it reads them.
 */
/* Before libbpf's headers, which need its types. */
#include <linux/bpf.h>

#include "bench/dataplane_stamp.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

char LICENSE[] SEC("license") = "GPL v2";

struct stamp stamp;

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

/* Link addresses as in dataplane_rig.c, in one piece each. */
#define ENTRY_LINK_FIRST 0x0002010000000002u /* 02:00:00:00:00:01, 02:00 */
#define ENTRY_LINK_LAST 0xee000000u /* 00:00:00:ee */

/* The frame as it was before the last run, all of it readable; or NULL. */
static __always_inline void *undo(struct xdp_md *ctx)
{
	int added = (int)(ctx->data_end - ctx->data) - STAMP_FRAME;
	if (added != 0 && bpf_xdp_adjust_head(ctx, added))
		return NULL;
	void *frame = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	return frame + STAMP_FRAME > end ? NULL : frame;
}

static __always_inline void write_link(void *frame, __u16 protocol)
{
	*(__u64 *)frame = ENTRY_LINK_FIRST;
	*(__u32 *)(frame + 8) = ENTRY_LINK_LAST;
	*(__u16 *)(frame + 12) = bpf_htons(protocol);
}

static __always_inline __u32 next_flow(void)
{
	return stamp_flow(stamp.number++, stamp.flows);
}

/* `at`: where the transport header starts. */
static __always_inline void write_ports(void *at, __u32 flow)
{
	__u16 source = bpf_htons((__u16)(STAMP_PORT + flow % 16));
	*(__u32 *)at = source | (__u32)stamp.port << 16;
}

static __always_inline __u32 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

SEC("xdp.frags")
int entry_v4(struct xdp_md *ctx)
{
	void *frame = undo(ctx);
	if (!frame)
		return XDP_ABORTED;
	__u32 flow = next_flow();
	__u32 source = STAMP_SOURCE4 + flow / 16;
	__u32 service = STAMP_SERVICE4 + stamp_version(flow, stamp.versions);
	__u32 sum = fold(stamp.sum4 + (source >> 16) + (source & 0xffff) + (service >> 16) +
			 (service & 0xffff));
	void *ip = frame + sizeof(struct ethhdr);

	write_link(frame, ETH_P_IP);
	*(__u32 *)(ip + 8) = (__u32)stamp.age4 | (__u32)bpf_htons((__u16)~sum) << 16;
	*(__u64 *)(ip + 12) = (__u64)bpf_htonl(service) << 32 | bpf_htonl(source);
	write_ports(ip + sizeof(struct iphdr), flow);
	bpf_tail_call(ctx, &next, 0);
	return XDP_ABORTED;
}

SEC("xdp.frags")
int entry_v6(struct xdp_md *ctx)
{
	void *frame = undo(ctx);
	if (!frame)
		return XDP_ABORTED;
	__u32 flow = next_flow();
	__u64 *ip = frame + sizeof(struct ethhdr);

	write_link(frame, ETH_P_IPV6);
	ip[0] = stamp.head6;
	ip[1] = bpf_cpu_to_be64(STAMP_SOURCE6);
	ip[2] = bpf_cpu_to_be64(flow / 16);
	ip[3] = bpf_cpu_to_be64(STAMP_SERVICE6);
	ip[4] = bpf_cpu_to_be64(stamp_version(flow, stamp.versions));
	write_ports(ip + sizeof(struct ipv6hdr) / sizeof(*ip), flow);
	bpf_tail_call(ctx, &next, 0);
	return XDP_ABORTED;
}

SEC("xdp.frags")
int back(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_TX;
}

static __always_inline int move(struct xdp_md *ctx, int bytes)
{
	return bpf_xdp_adjust_head(ctx, -bytes) ? XDP_ABORTED : XDP_TX;
}

SEC("xdp.frags")
int move_v4(struct xdp_md *ctx)
{
	return move(ctx, sizeof(struct iphdr));
}

SEC("xdp.frags")
int move_v6(struct xdp_md *ctx)
{
	return move(ctx, sizeof(struct ipv6hdr));
}
