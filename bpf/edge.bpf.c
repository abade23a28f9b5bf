// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
/*
 * The edge: what happens to a packet for a service address.
 *
 *   parse → match (pool, word, descriptor, port) → pick → encapsulate → next hop
 *
 * What is for other addresses, or for other machines, is not the edge's: landing's program takes
 * it, where that shares the interface, and else the kernel. But what another edge passed on comes
 * to an address of this machine: the packet in it begins here anew (edge_passing.h). The verdict of
 * every stage is an XDP action, NOT_OURS, or a negative enum drop_reason that edge() counts. There
 * is no state per flow, and no step whose cost grows with the number of flows, addresses or
 * backends.
 */
#include "bpf/edge_encap.h"
#include "bpf/edge_maps.h"
#include "bpf/edge_match.h"
#include "bpf/edge_nexthop.h"
#include "bpf/edge_passing.h"
#include "bpf/edge_pick.h"
#include "bpf/parse.h"

#include <stdbool.h>

/* The one of this file's two licences that the kernel wants to hear of for bpf_fib_lookup(). */
char LICENSE[] SEC("license") = "GPL v2";

#define NOT_OURS PASSING_NOT_OURS /* no XDP action */

/* A packet on its way: what parse found, and what it means. */
struct packet {
	struct parsed_ip ip;
	struct parsed_transport transport;
	__u64 word;
	__u8 opens; /* it opens a flow */
};

/* The records that the packet's address led to. */
struct meaning {
	const struct edge_map_descriptor *descriptor;
	struct edge_map_counters *counts; /* of this CPU */
};

/* Why a message is dropped whose type and code, if it says that a packet was too big, are these. */
static __always_inline int icmp_reason(const __u8 *icmp, const void *end, __u32 length, __u8 type,
				       __u8 code)
{
	if (length >= 2 && (const void *)(icmp + 2) <= end && icmp[0] == type && icmp[1] == code)
		return -DROP_ICMP_TOO_BIG;
	return -DROP_ICMP;
}

static __always_inline int parse_transport(struct packet *packet, const void *ip, const void *end)
{
	const void *transport = ip + packet->ip.transport;
	__u32 length = packet->ip.total - packet->ip.transport;

	switch (packet->ip.protocol) {
	case IPPROTO_TCP:
		return parse_tcp(transport, end, length, &packet->transport);
	case IPPROTO_UDP:
		return parse_udp(transport, end, length, &packet->transport);
	case IPPROTO_ICMP:
		return icmp_reason(transport, end, length, 3, 4);
	default:
		return -DROP_PROTOCOL;
	}
}

static __always_inline int find_meaning(__u64 word, struct meaning *ret)
{
	__u32 key = EDGE_WORD_DESCRIPTOR(word);
	ret->descriptor = bpf_map_lookup_elem(&descriptors, &key);
	ret->counts = bpf_map_lookup_elem(&counters, &key);
	return ret->descriptor && ret->counts ? 0 : -DROP_NO_BINDING;
}

/* Whether the version serves the packet's port, whether the packet opens a flow, and if it may. */
static __always_inline int admit(struct packet *packet, const struct meaning *meaning,
				 const void *end)
{
	const struct edge_map_port *port =
	    match_port(meaning->descriptor, packet->ip.protocol, packet->transport.destination);
	if (!port) {
		meaning->counts->wrong_port++;
		return -DROP_PORT;
	}
	packet->opens = packet->transport.opens;
	if (packet->transport.payload && port->flags & EDGE_PORT_QUIC)
		packet->opens = (__u8)parse_quic_opens(packet->transport.ports, end);
	if (packet->opens && packet->word & EDGE_WORD_REFUSE_NEW) {
		meaning->counts->refused++;
		return -DROP_REFUSED;
	}
	return 0;
}

static __always_inline void count_forwarded(const struct packet *packet,
					    struct edge_map_counters *counts)
{
	counts->packets++;
	counts->bytes += packet->ip.total;
	if (packet->opens) {
		counts->new_flows++;
		if (packet->word & EDGE_WORD_LATE)
			counts->late_flows++;
	}
}

/*
 * Link addresses and protocol, in pieces that overlap: the upper two bytes of each address's word
 * are written over by what follows it.
 */
static __always_inline void write_link(void *frame, union edge_map_hop hop,
				       const struct edge_map_link *link, __u16 protocol)
{
	*(__u64 *)frame = hop.word;
	*(__u64 *)(frame + ETH_ALEN) = *(const __u64 *)link->address;
	*(__u16 *)(frame + 2 * ETH_ALEN) = bpf_htons(protocol);
}

/*
 * Write link and outer header into the room that was made in front of the packet. Without a known
 * link the packet keeps the link addresses it came with, which lie where its frame starts.
 */
static __always_inline int write_headers(struct xdp_md *ctx, const struct encap *encap,
					 const struct edge_map_backend *backend,
					 union edge_map_hop hop, const struct edge_map_link *link)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	void *outer = data + sizeof(*eth);
	__u16 protocol;

	if (encap->outer_family == 4) {
		if (outer + sizeof(struct iphdr) + sizeof(*eth) > end)
			return -DROP_HEADROOM;
		if (!link)
			__builtin_memcpy(eth, data + sizeof(struct iphdr), 2 * ETH_ALEN);
		protocol = ETH_P_IP;
		encap_write_v4(outer, encap, backend);
	} else {
		if (outer + sizeof(struct ipv6hdr) + sizeof(*eth) > end)
			return -DROP_HEADROOM;
		if (!link)
			__builtin_memcpy(eth, data + sizeof(struct ipv6hdr), 2 * ETH_ALEN);
		protocol = ETH_P_IPV6;
		encap_write_v6(outer, encap, backend);
	}
	if (link)
		write_link(data, hop, link, protocol);
	else
		eth->h_proto = bpf_htons(protocol);
	return 0;
}

/* Encapsulate the packet to its backend and send it off; to this machine it goes as it is. */
static __always_inline int deliver(struct xdp_md *ctx, const struct packet *packet,
				   const struct edge_map_backend *backend, struct encap *encap,
				   struct edge_map_counters *counts)
{
	union edge_map_hop hop = {.word = *(const volatile __u64 *)&backend->hop};
	if (hop.to.link == EDGE_MAP_HERE) {
		count_forwarded(packet, counts);
		return XDP_PASS;
	}
	const struct edge_map_link *link = nexthop_link(hop);
	__u32 header = encap_header_bytes(encap->outer_family);

	if (bpf_xdp_adjust_head(ctx, -(int)header))
		return -DROP_HEADROOM;
	int verdict = write_headers(ctx, encap, backend, hop, link);
	if (verdict < 0)
		return verdict;
	if (link) {
		verdict = nexthop_send(ctx, link->ifindex);
	} else {
		verdict = nexthop_ask(ctx);
		if (verdict < 0)
			return verdict;
		if (verdict == XDP_PASS)
			counts->to_kernel++;
		else
			counts->asked_fib++;
	}
	count_forwarded(packet, counts);
	return verdict;
}

/* The flow's hash by the version's algorithm. 0, or a negative enum drop_reason. */
static __always_inline int hash_flow(const struct packet *packet, const void *ip, bool is_v6,
				     const struct edge_map_descriptor *descriptor, __u64 *ret_hash)
{
	const void *ports = packet->transport.ports;
	__u8 protocol = packet->ip.protocol;

	if (descriptor->algorithm == PICK_MULTILINEAR)
		*ret_hash =
		    is_v6 ? pick_hash6(&descriptor->key, &descriptor->key6,
				       &((const struct ipv6hdr *)ip)->saddr, ports)
			  : pick_hash4(&descriptor->key, &((const struct iphdr *)ip)->saddr, ports);
	else if (descriptor->algorithm == PICK_SIPHASH13_5TUPLE)
		*ret_hash = is_v6 ? edge_hash6_old(descriptor, ip, ports, protocol)
				  : edge_hash4_old(descriptor, ip, ports, protocol);
	else
		return -DROP_ALGORITHM;
	return 0;
}

/* What the two families share between the IP header and the backend. */
static __always_inline int choose(struct packet *packet, const struct match *match, const void *ip,
				  const void *end, bool is_v6, struct meaning *ret_meaning,
				  struct encap *ret_encap,
				  const struct edge_map_backend **ret_backend)
{
	__u64 hash;
	int failure = parse_transport(packet, ip, end);
	if (failure)
		return failure;
	failure = match_word(match, &packet->word);
	if (failure)
		return failure;
	failure = find_meaning(packet->word, ret_meaning);
	if (failure)
		return failure;
	failure = admit(packet, ret_meaning, end);
	if (failure)
		return failure;
	failure = hash_flow(packet, ip, is_v6, ret_meaning->descriptor, &hash);
	if (failure)
		return failure;
	const struct edge_map_backend *backend = edge_pick(ret_meaning->descriptor, hash);
	if (!backend)
		return -DROP_NO_BACKEND;
	__u32 outer_bytes = packet->ip.total + encap_header_bytes(backend->family);
	__u32 mtu = *(const volatile __u32 *)&backend->mtu;
	/* An IPv4 length field counts the header too and ends at 65535. */
	if (outer_bytes > (mtu ? mtu : 0xffff))
		return -DROP_TOO_BIG;
	ret_encap->inner_bytes = (__u16)packet->ip.total;
	ret_encap->traffic_class = packet->ip.traffic_class;
	ret_encap->outer_family = backend->family;
	ret_encap->flow = (__u32)hash;
	*ret_backend = backend;
	return 0;
}

static __always_inline int edge_v4(struct xdp_md *ctx, const struct ethhdr *eth, const void *end)
{
	struct iphdr *ip = (void *)(eth + 1);
	struct packet packet;
	struct match match;
	struct meaning meaning;
	struct encap encap = {.inner_protocol = IPPROTO_IPIP};
	const struct edge_map_backend *backend;

	if ((const void *)(ip + 1) > end)
		return -DROP_V4_SHORT;
	if (!match_pool4(ip->daddr, &match))
		return NOT_OURS;
	/* RFC 1812 section 5.3.4: what came as a link-layer broadcast is not forwarded. */
	if (eth->h_dest[0] & 1)
		return -DROP_LINK_GROUP;
	if (!nexthop_is_to_us(ctx, eth))
		return NOT_OURS;
	int failure = parse_v4(ctx, ip, end, &packet.ip);
	if (failure)
		return failure;
	if (packet.ip.hops <= 1)
		return -DROP_TTL;
	failure = choose(&packet, &match, ip, end, false, &meaning, &encap, &backend);
	if (failure)
		return failure;
	encap_age_v4(ip);
	return deliver(ctx, &packet, backend, &encap, meaning.counts);
}

/* Neighbour discovery (RFC 4861) for a pool that is on the link: the kernel's business. */
static __always_inline int is_neighbour_discovery(const struct packet *packet, const void *ip,
						  const void *end)
{
	const __u8 *type = ip + packet->ip.transport;
	return packet->ip.protocol == PARSE_PROTOCOL_ICMPV6 &&
	       packet->ip.transport < packet->ip.total && (const void *)(type + 1) <= end &&
	       *type >= 133 && *type <= 137;
}

static __always_inline int edge_v6(struct xdp_md *ctx, const struct ethhdr *eth, const void *end)
{
	struct ipv6hdr *ip = (void *)(eth + 1);
	struct packet packet;
	struct match match;
	struct meaning meaning;
	struct encap encap = {.inner_protocol = PARSE_PROTOCOL_IPV6};
	const struct edge_map_backend *backend;

	if ((const void *)(ip + 1) > end)
		return -DROP_V6_SHORT;
	if (!match_pool6((const __u64 *)&ip->daddr, &match))
		return NOT_OURS;
	if (eth->h_dest[0] & 1)
		return -DROP_LINK_GROUP;
	if (!nexthop_is_to_us(ctx, eth))
		return NOT_OURS;
	int failure = parse_v6(ctx, ip, end, &packet.ip);
	if (failure)
		return failure;
	if (packet.ip.protocol == PARSE_PROTOCOL_ICMPV6)
		return is_neighbour_discovery(&packet, ip, end)
			   ? XDP_PASS
			   : icmp_reason((const __u8 *)ip + packet.ip.transport, end,
					 packet.ip.total - packet.ip.transport, 2, 0);
	if (packet.ip.hops <= 1)
		return -DROP_TTL;
	failure = choose(&packet, &match, ip, end, true, &meaning, &encap, &backend);
	if (failure)
		return failure;
	encap_age_v6(ip);
	return deliver(ctx, &packet, backend, &encap, meaning.counts);
}

static __always_inline int count_drop(int failure)
{
	__u32 reason = (__u32)-failure;
	__u64 *count = bpf_map_lookup_elem(&drops, &reason);
	if (count)
		(*count)++;
	return XDP_DROP;
}

/* Whoever shares the interface takes the packet; the call does not come back then. */
static __always_inline int pass_on(struct xdp_md *ctx)
{
	const __u32 ifindex = ctx->ingress_ifindex;
	for (__u32 i = 0; i < EDGE_MAP_INTERFACES; i++) {
		if (settings.shared[i] == ifindex)
			bpf_tail_call(ctx, &stages, 0);
	}
	return XDP_PASS;
}

/* For user space, which runs it with BPF_PROG_TEST_RUN: only the kernel can read its jiffies. */
SEC("syscall")
int heartbeat(void *context)
{
	(void)context;
	settings.heartbeat = bpf_jiffies64();
	return 0;
}

/* "frags": drivers take it also where frames are larger than a page. */
SEC("xdp.frags")
int edge(struct xdp_md *ctx)
{
	const void *data = (const void *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	const struct ethhdr *eth = data;
	int verdict = NOT_OURS;

	if ((const void *)(eth + 1) > end)
		return XDP_PASS;
	__u16 protocol = *(const __u16 *)(data + offsetof(struct ethhdr, h_proto));
	if (protocol == bpf_htons(ETH_P_IP))
		verdict = edge_v4(ctx, eth, end);
	else if (protocol == bpf_htons(ETH_P_IPV6))
		verdict = edge_v6(ctx, eth, end);
	if (verdict == NOT_OURS) {
		verdict = passing_take(ctx);
		if (verdict == NOT_OURS)
			return pass_on(ctx);
		if (verdict == PASSING_AGAIN) {
			bpf_tail_call(ctx, &again, 0);
			return count_drop(-DROP_PASSED_MALFORMED);
		}
	}
	/* The version is not known here. */
	if (verdict == -DROP_NO_SITE || verdict == -DROP_NO_BINDING || verdict == -DROP_ALGORITHM)
		verdict = passing_send(ctx, verdict);
	return verdict < 0 ? count_drop(verdict) : verdict;
}
