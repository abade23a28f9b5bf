/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Passing between edges: abi/edge.h has the form. None of this is on the way of a packet that the
 * edge has a word for. Nothing here is inlined, for the same reason.
 *
 * The outer header's ECN bits stay 0 (RFC 6040 section 4.1, compatibility mode): a router that is
 * congested drops the packet instead of marking what would be thrown away.
 */
#ifndef FAIRLEAD_BPF_EDGE_PASSING_H
#define FAIRLEAD_BPF_EDGE_PASSING_H

#include "bpf/edge_encap.h"
#include "bpf/edge_match.h"
#include "bpf/edge_nexthop.h"
#include "bpf/parse.h"

#include <stdbool.h>

#define PASSING_NOT_OURS 64 /* as NOT_OURS of edge.bpf.c */
#define PASSING_AGAIN 65 /* the outer header is off: the packet begins anew */
#define PASSING_BYTES (sizeof(struct udphdr) + sizeof(struct edge_pass_header))
#define PASSING_DSCP 0xfc /* of a traffic class */
#define PASSING_PORTS 0xc000u /* sources: from here to the end */

/* Without alignment, as packets and maps have it. */
static __always_inline __u64 passing_load(const void *bytes)
{
	return *(const __u64 *)bytes;
}

static __always_inline bool passing_is_marked(const struct ethhdr *eth)
{
	return *(const __u32 *)eth->h_source == bpf_htonl(EDGE_PASS_LINK >> 16) &&
	       *(const __u16 *)(eth->h_source + 4) == bpf_htons(EDGE_PASS_LINK & 0xffff);
}

static __always_inline void passing_mark(struct ethhdr *eth)
{
	*(__u32 *)eth->h_source = bpf_htonl(EDGE_PASS_LINK >> 16);
	*(__u16 *)(eth->h_source + 4) = bpf_htons(EDGE_PASS_LINK & 0xffff);
}

/* Whether one more may be passed on in this moment, from this CPU. */
static __always_inline bool passing_is_within_rate(struct edge_map_passes *passes)
{
	const __u64 now = bpf_ktime_get_ns();
	__u64 passed_ns = now > passes->filled_ns ? now - passes->filled_ns : 0;
	if (passed_ns > 1000000000ull)
		passed_ns = 1000000000ull;
	const __u64 more = passed_ns * EDGE_PASS_RATE / 1000000000ull;
	if (more > 0) {
		passes->left += more;
		passes->filled_ns = now;
		if (passes->left > EDGE_PASS_BURST)
			passes->left = EDGE_PASS_BURST;
	}
	if (passes->left == 0)
		return false;
	passes->left--;
	return true;
}

/* What is to be known of the client's packet. That it is whole was found out before. */
struct passing {
	struct encap encap;
	__u32 total;
	__u32 hash; /* of both addresses: which peer, and which source port */
};

static __always_inline __u64 passing_mix(__u64 sum, __u64 word)
{
	sum = (sum ^ word) * 0x9e3779b97f4a7c15ull;
	return sum ^ sum >> 32;
}

/* A packet for an address that means nothing here, of which `reason` says what it lacked. */
static __noinline int passing_send(struct xdp_md *ctx, int reason)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr link, *eth = data;
	struct passing pass = {.encap = {.inner_protocol = IPPROTO_UDP}};
	const __u32 now = *(const volatile __u32 *)&settings.passing.now;
	const __u32 zero = 0;
	__u64 hash;
	bool is_v6;

	if ((void *)(eth + 1) + sizeof(struct iphdr) > end)
		return reason;
	if (passing_is_marked(eth))
		return -DROP_PASSED_UNKNOWN;
	if (EDGE_PASS_COUNT(now) == 0 || (!EDGE_PASS_ON(now) && !nexthop_is_stale()))
		return reason;
	is_v6 = eth->h_proto == bpf_htons(ETH_P_IPV6);
	if (is_v6) {
		struct ipv6hdr *ip = (void *)(eth + 1);
		if ((void *)(ip + 1) > end)
			return reason;
		const __u64 *words = (const __u64 *)&ip->saddr;
		const __u32 first = bpf_ntohl(*(const __u32 *)ip);
		hash = passing_mix(passing_mix(0, words[0]), words[1]);
		hash = passing_mix(passing_mix(hash, words[2]), words[3]);
		pass.total = sizeof(*ip) + bpf_ntohs(ip->payload_len);
		pass.encap.traffic_class = (__u8)(first >> 20) & PASSING_DSCP;
		encap_age_v6(ip);
	} else {
		struct iphdr *ip = (void *)(eth + 1);
		hash = passing_mix(0, (__u64)ip->saddr << 32 | ip->daddr);
		pass.total = bpf_ntohs(ip->tot_len);
		pass.encap.traffic_class = ip->tos & PASSING_DSCP;
		encap_age_v4(ip);
	}
	hash = passing_mix(hash, 1);
	pass.hash = (__u32)hash;
	__u32 which = (__u32)((hash >> 32) * EDGE_PASS_COUNT(now) >> 32) & (EDGE_PASS_PEERS - 1);
	const struct edge_map_peer *peer = &settings.passing.peers[EDGE_PASS_LIST(now)][which];
	const __u64 token = *(const volatile __u64 *)&peer->token;
	__u32 number = peer->backend;
	const struct edge_map_backend *backend = bpf_map_lookup_elem(&backends, &number);
	struct edge_map_passes *passes = bpf_map_lookup_elem(&passes_of_cpu, &zero);
	if (!backend || !passes)
		return reason;
	const union edge_map_hop hop = {.word = *(const volatile __u64 *)&backend->hop};
	if (hop.to.link == EDGE_MAP_HERE)
		return reason;
	const __u32 header = encap_header_bytes(backend->family);
	const __u32 mtu = *(const volatile __u32 *)&backend->mtu;
	const __u32 outer = pass.total + header + PASSING_BYTES;
	if (outer > (mtu ? mtu : 0xffff))
		return -DROP_TOO_BIG;
	if (!passing_is_within_rate(passes))
		return -DROP_PASS_LIMIT;
	pass.encap.inner_bytes = (__u16)(pass.total + PASSING_BYTES);
	pass.encap.outer_family = backend->family;
	pass.encap.flow = pass.hash;
	link = *eth;
	if (bpf_xdp_adjust_head(ctx, -(int)(header + PASSING_BYTES)))
		return -DROP_HEADROOM;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	eth = data;
	struct udphdr *udp;
	if (pass.encap.outer_family == 4) {
		struct iphdr *ip = data + sizeof(*eth);
		udp = (void *)(ip + 1);
		if ((void *)udp + PASSING_BYTES > end)
			return -DROP_HEADROOM;
		link.h_proto = bpf_htons(ETH_P_IP);
		encap_write_v4(ip, &pass.encap, backend);
	} else {
		struct ipv6hdr *ip = data + sizeof(*eth);
		udp = (void *)(ip + 1);
		if ((void *)udp + PASSING_BYTES > end)
			return -DROP_HEADROOM;
		link.h_proto = bpf_htons(ETH_P_IPV6);
		encap_write_v6(ip, &pass.encap, backend);
	}
	struct edge_pass_header *form = (void *)(udp + 1);
	*eth = link;
	udp->source = bpf_htons((__u16)(PASSING_PORTS | pass.hash));
	udp->dest = bpf_htons(EDGE_PASS_PORT);
	udp->len = bpf_htons(pass.encap.inner_bytes);
	udp->check = 0; /* RFC 6936: what is inside has its own */
	form->magic = bpf_htons(EDGE_PASS_MAGIC);
	form->form = EDGE_PASS_PASSED;
	form->family = is_v6 ? 6 : 4;
	*(__u64 *)form->token = token;

	const struct edge_map_link *way = nexthop_link(hop);
	int verdict;
	if (way) {
		__builtin_memcpy(eth->h_dest, hop.to.address, ETH_ALEN);
		__builtin_memcpy(eth->h_source, way->address, ETH_ALEN);
		verdict = nexthop_send(ctx, way->ifindex);
	} else {
		verdict = nexthop_ask(ctx);
	}
	if (verdict >= 0)
		passes->passed++;
	return verdict;
}

/* Whether the packet behind the form is for an address of a pool, and within `space` bytes. */
static __always_inline bool passing_is_for_pool(const void *inner, const void *end, __u8 family,
						__u32 space)
{
	struct match match;
	if (family == 4) {
		const struct iphdr *ip = inner;
		return (const void *)(ip + 1) <= end && bpf_ntohs(ip->tot_len) <= space &&
		       match_pool4(ip->daddr, &match);
	}
	const struct ipv6hdr *ip = inner;
	return (const void *)(ip + 1) <= end && sizeof(*ip) + bpf_ntohs(ip->payload_len) <= space &&
	       match_pool6((const __u64 *)&ip->daddr, &match);
}

static __always_inline bool passing_checksum_is_right(const struct iphdr *ip)
{
	const __u32 *words = (const __u32 *)ip;
	return encap_checksum((__u64)words[0] + words[1] + words[2] + words[3] + words[4]) == 0;
}

static __always_inline int passing_take_off(struct xdp_md *ctx, __u32 bytes, __u8 family)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return -DROP_PASSED_MALFORMED;
	struct ethhdr link = *eth;
	if (bpf_xdp_adjust_head(ctx, (int)bytes))
		return -DROP_PASSED_MALFORMED;
	eth = (void *)(long)ctx->data;
	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return -DROP_PASSED_MALFORMED;
	*eth = link;
	passing_mark(eth);
	eth->h_proto = bpf_htons(family == 4 ? ETH_P_IP : ETH_P_IPV6);
	return PASSING_AGAIN;
}

/*
 * What is for no pool: has another edge passed it on to us? PASSING_NOT_OURS if not;
 * PASSING_AGAIN when the client's packet is out, with the marked link source; or a negative enum
 * drop_reason. IPv4 options and IPv6 extension headers are none of the form.
 */
static __noinline int passing_take(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	const struct ethhdr *eth = data;
	struct edge_map_fence_key source = {0};
	const struct udphdr *udp;
	const __u32 zero = 0;
	__u32 header;
	__u32 total;
	bool right = true;
	bool whole;

	if ((const void *)(eth + 1) > end)
		return PASSING_NOT_OURS;
	if (eth->h_proto == bpf_htons(ETH_P_IP)) {
		const struct iphdr *ip = data + sizeof(*eth);
		if ((const void *)(ip + 1) > end || *(const __u8 *)ip != 0x45 ||
		    ip->protocol != IPPROTO_UDP || settings.source_v4 == 0 ||
		    ip->daddr != settings.source_v4 || ip->frag_off & bpf_htons(PARSE_V4_OFFSET))
			return PASSING_NOT_OURS;
		header = sizeof(*ip);
		source.family = 4;
		total = bpf_ntohs(ip->tot_len);
		whole = !(ip->frag_off & bpf_htons(PARSE_V4_MORE_FRAGMENTS));
		right = passing_checksum_is_right(ip);
		__builtin_memcpy(source.address, &ip->saddr, sizeof(ip->saddr));
	} else if (eth->h_proto == bpf_htons(ETH_P_IPV6)) {
		const struct ipv6hdr *ip = data + sizeof(*eth);
		const __u64 *own = (const __u64 *)settings.source_v6;
		if ((const void *)(ip + 1) > end || *(const __u8 *)ip >> 4 != 6 ||
		    ip->nexthdr != IPPROTO_UDP || own[1] == 0 ||
		    passing_load(&ip->daddr) != own[0] ||
		    passing_load((const __u8 *)&ip->daddr + 8) != own[1])
			return PASSING_NOT_OURS;
		header = sizeof(*ip);
		total = sizeof(*ip) + bpf_ntohs(ip->payload_len);
		whole = true;
		source.family = 6;
		__builtin_memcpy(source.address, &ip->saddr, sizeof(source.address));
	} else {
		return PASSING_NOT_OURS;
	}
	udp = data + sizeof(*eth) + header;
	if ((const void *)(udp + 1) > end || udp->dest != bpf_htons(EDGE_PASS_PORT))
		return PASSING_NOT_OURS;
	if (!nexthop_is_to_us(ctx, eth))
		return PASSING_NOT_OURS;
	if (!right)
		return -DROP_PASSED_CHECKSUM;
	const struct edge_pass_header *form = (const void *)(udp + 1);
	if (!whole || (const void *)(form + 1) > end || total < header + PASSING_BYTES ||
	    ETH_HLEN + (__u64)total > bpf_xdp_get_buff_len(ctx) ||
	    bpf_ntohs(udp->len) != total - header || udp->check != 0 ||
	    form->magic != bpf_htons(EDGE_PASS_MAGIC) || form->form != EDGE_PASS_PASSED ||
	    (form->family != 4 && form->family != 6))
		return -DROP_PASSED_MALFORMED;
	if (!bpf_map_lookup_elem(&fence, &source))
		return -DROP_PASSED_NOT_EDGE;
	const __u64 token = passing_load(form->token);
	if (token == 0 ||
	    (token != settings.passing.tokens[0] && token != settings.passing.tokens[1]))
		return -DROP_PASSED_TOKEN;
	if (!passing_is_for_pool(form + 1, end, form->family, total - header - PASSING_BYTES))
		return -DROP_PASSED_INNER;
	struct edge_map_passes *passes = bpf_map_lookup_elem(&passes_of_cpu, &zero);
	if (passes)
		passes->taken++;
	return passing_take_off(ctx, header + PASSING_BYTES, form->family);
}

#endif
