/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Next hop: where the encapsulated packet leaves. User space keeps it in the backend's entry and
 * says by its heartbeat that it is true. Without that the kernel's FIB is asked, and what the FIB
 * cannot answer at once (no neighbour yet, a local address) goes to the kernel, which forwards it.
 */
#ifndef FAIRLEAD_BPF_EDGE_NEXTHOP_H
#define FAIRLEAD_BPF_EDGE_NEXTHOP_H

#include "bpf/edge_encap.h"

#include <stdbool.h>

#define NEXTHOP_AF_INET 2
#define NEXTHOP_AF_INET6 10

_Static_assert((EDGE_MAP_LINKS & (EDGE_MAP_LINKS - 1)) == 0, "links are picked by a mask");

/* The daemon has been silent for long. Jiffies, since reading them is one load; every other clock
 * costs a call. */
static __always_inline int nexthop_is_stale(void)
{
	return bpf_jiffies64() - settings.heartbeat > settings.heartbeat_limit;
}

/*
 * Whether the frame is for this machine. Bridges and switches flood frames for others, and an
 * interface that somebody listens on hands them up: with two edges on a link each packet would be
 * forwarded twice. Where the addresses are not known, or may have changed since the daemon went
 * silent, each frame is.
 */
static __always_inline bool nexthop_is_to_us(const struct xdp_md *ctx, const struct ethhdr *eth)
{
	const __u64 destination = *(const __u64 *)eth; /* and two bytes of what follows */
	const __u32 ifindex = ctx->ingress_ifindex;
	bool known = false;

	for (__u32 i = 0; i < EDGE_MAP_OWN && settings.own[i].ifindex != 0; i++) {
		if (settings.own[i].ifindex != ifindex)
			continue;
		if (bpf_cpu_to_be64(settings.own[i].word ^ destination) >> 16 == 0)
			return true;
		known = true;
	}
	return !known || nexthop_is_stale();
}

/* The link that `hop` leads out of; NULL if the next hop is not known, or no longer known. */
static __always_inline const struct edge_map_link *nexthop_link(union edge_map_hop hop)
{
	__u32 number = hop.to.link;
	if (number == 0 || number >= EDGE_MAP_LINKS)
		return NULL;
	if (nexthop_is_stale())
		return NULL;
	/* The verifier before Linux 6.2 loses the comparison above on the way here; the compiler,
	 * which has not, must not see what the mask is applied to. */
	asm volatile("" : "+r"(number));
	return &settings.links[number & (EDGE_MAP_LINKS - 1)];
}

/* Whether a packet that came in here may be redirected to that interface. */
static __always_inline int nexthop_is_direct(const struct xdp_md *ctx, __u32 ifindex)
{
	if (ifindex == ctx->ingress_ifindex)
		return 1;
	for (__u32 i = 0; i < EDGE_MAP_INTERFACES; i++) {
		if (settings.direct[i] == ifindex)
			return 1;
	}
	return 0;
}

static __always_inline int nexthop_send(struct xdp_md *ctx, __u32 ifindex)
{
	if (ifindex == ctx->ingress_ifindex)
		return XDP_TX;
	return (int)bpf_redirect(ifindex, 0);
}

/*
 * Ask the kernel's FIB for the packet in `ctx`, whose outer header is in place and whose link
 * addresses are still those it came with. Returns a verdict, or a negative enum drop_reason;
 * XDP_PASS leaves the packet to the kernel. Not inlined: it is rarely run, and its parameters
 * would crowd the stack of the fast path.
 */
static __noinline int nexthop_ask(struct xdp_md *ctx)
{
	struct bpf_fib_lookup fib = {.ifindex = ctx->ingress_ifindex};
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *v4 = data + sizeof(*eth);
	struct ipv6hdr *v6 = data + sizeof(*eth);

	if ((void *)(v4 + 1) > end)
		return XDP_PASS;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		fib.family = NEXTHOP_AF_INET;
		fib.tos = v4->tos;
		fib.l4_protocol = v4->protocol;
		fib.tot_len = bpf_ntohs(v4->tot_len);
		fib.ipv4_src = v4->saddr;
		fib.ipv4_dst = v4->daddr;
	} else {
		if ((void *)(v6 + 1) > end)
			return XDP_PASS;
		fib.family = NEXTHOP_AF_INET6;
		fib.flowinfo = *(__u32 *)v6 & bpf_htonl(0x0fffffff);
		fib.l4_protocol = v6->nexthdr;
		fib.tot_len = bpf_ntohs(v6->payload_len) + sizeof(*v6);
		__builtin_memcpy(fib.ipv6_src, &v6->saddr, sizeof(fib.ipv6_src));
		__builtin_memcpy(fib.ipv6_dst, &v6->daddr, sizeof(fib.ipv6_dst));
	}
	long found = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	if (found == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return -DROP_TOO_BIG;
	if (found != BPF_FIB_LKUP_RET_SUCCESS || !nexthop_is_direct(ctx, fib.ifindex))
		return XDP_PASS;
	__builtin_memcpy(eth->h_dest, fib.dmac, ETH_ALEN);
	__builtin_memcpy(eth->h_source, fib.smac, ETH_ALEN);
	return nexthop_send(ctx, fib.ifindex);
}

#endif
