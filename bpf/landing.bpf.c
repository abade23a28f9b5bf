/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * A tunnelled flow's way in and its first packet out.
 *
 * Decapsulation is attached with XDP to the interfaces that are declared underlay.
 *
 * A packet is ours if it is IP-in-IP (protocol 4 or 41) in an IPv4 or IPv6 packet to one of this
 * machine's own addresses. Ours is taken off its tunnel and passed up the stack, or dropped for a
 * counted reason; all else is passed untouched, also what is too broken to tell, because the
 * kernel counts that better. After the decapsulation the frame looks as if the edge had routed it
 * here: same link addresses, the inner packet's protocol.
 *
 * A packet for a service address that came without a tunnel is dropped: it went past the edges,
 * which know whether the address may take new flows. Frames for other machines are passed.
 *
 * Untagged frames only: for a VLAN, declare the VLAN's own interface as underlay.
 *
 * The clamp is attached behind tc's clsact to the interfaces that answers leave by. A client sends
 * segments as large as the SYN-ACK allows, and they come here through a tunnel; so a SYN from a
 * service address, with ACK or without, offers at most what fits. All else goes on untouched, and
 * every packet goes on to the next filter.
 */
#include "abi/landing.h"

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define PROTOCOL_HOP_BY_HOP 0
#define PROTOCOL_IPV4 4
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define PROTOCOL_IPV6 41
#define PROTOCOL_FRAGMENT 44
#define PROTOCOL_DESTINATION_OPTIONS 60

#define EXTENSIONS_MAX 4 /* Linux's own tunnels add one, with the encapsulation limit */
#define OUTER_LENGTH_MAX 255 /* of all headers before the inner packet; longer is malformed */
#define ECN_MASK 3
#define ECN_ECT1 1
#define ECN_CE 3
#define OPTION_MSS 2 /* RFC 9293, section 3.2 */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LANDING_ABI_EDGES);
	__type(key, struct landing_address_key);
	__type(value, __u32);
} landing_edges SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, LANDING_ABI_ADDRESSES);
	__type(key, struct landing_address_key);
	__type(value, __u32);
} landing_addresses SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, LANDING_ABI_POOLS);
	__type(key, struct landing_pool_key);
	__type(value, __u32);
} landing_pools SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct landing_counts);
} landing_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct landing_mss);
} landing_mss SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct landing_own);
} landing_own SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, LANDING_ASKED_CLIENTS);
	__type(key, struct landing_asked_key);
	__type(value, struct landing_asked);
} landing_asked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct landing_wrong);
} landing_wrong SEC(".maps");

enum verdict { NOT_OURS, OURS, DROP };

/* What is known of a packet so far. */
struct packet {
	struct xdp_md *ctx;
	__u32 length; /* bytes of the frame, also those that are not in the linear part */
	__u32 outer_length; /* bytes of the outer headers */
	__u32 inner_space; /* bytes that the outer packet has for the inner one */
	enum drop_reason reason; /* with DROP */
	__u8 outer_family;
	__u8 outer_ecn;
	__u8 inner_protocol;
};

/* A read of `size` bytes at `offset` from the frame's start, or NULL past the linear part. */
static __always_inline void *packet_at(const struct packet *packet, __u32 offset, __u32 size)
{
	void *start = (void *)(long)packet->ctx->data + offset;
	void *end = (void *)(long)packet->ctx->data_end;
	/* The compiler would turn start + size > end into arithmetic on `end`, which the verifier
	 * forbids. */
	asm volatile("" : "+r"(start), "+r"(end));
	return start + size > end ? NULL : start;
}

static __always_inline enum verdict drop(struct packet *packet, enum drop_reason reason)
{
	packet->reason = reason;
	return DROP;
}

static __always_inline bool is_tunnel(__u8 protocol)
{
	return protocol == PROTOCOL_IPV4 || protocol == PROTOCOL_IPV6;
}

static __always_inline struct landing_address_key address_v4(__be32 address)
{
	struct landing_address_key key = {.family = 4};
	__builtin_memcpy(key.bytes, &address, sizeof(address));
	return key;
}

static __always_inline struct landing_address_key address_v6(const struct in6_addr *address)
{
	struct landing_address_key key = {.family = 6};
	__builtin_memcpy(key.bytes, address, sizeof(key.bytes));
	return key;
}

static __always_inline bool in_pools(const struct landing_address_key *address)
{
	struct landing_pool_key key = {
	    .length = LANDING_POOL_KEY_BITS + (address->family == 4 ? 32 : 128),
	    .family = address->family,
	};
	__builtin_memcpy(key.bytes, address->bytes, sizeof(key.bytes));
	return bpf_map_lookup_elem(&landing_pools, &key);
}

static __always_inline __u32 checksum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* RFC 1071 over the outer header, which is about to be thrown away: the stack would not see it. */
static __always_inline bool outer_checksum_is_right(const struct packet *packet, __u32 length)
{
	__u32 sum = 0;
	for (__u32 i = 0; i < 60 && i < length; i += 2) {
		const __u16 *word = packet_at(packet, ETH_HLEN + i, sizeof(*word));
		if (!word)
			return false;
		sum += *word;
	}
	return checksum_fold(sum) == 0xffff;
}

static __always_inline enum verdict check_edge(struct packet *packet,
					       const struct landing_address_key *source)
{
	if (!bpf_map_lookup_elem(&landing_edges, source))
		return drop(packet, DROP_LANDING_NOT_EDGE);
	return OURS;
}

static __always_inline enum verdict parse_outer_v4(struct packet *packet)
{
	const struct iphdr *ip = packet_at(packet, ETH_HLEN, sizeof(*ip));
	if (!ip || ip->version != 4 || ip->ihl < 5 || !is_tunnel(ip->protocol))
		return NOT_OURS;
	struct landing_address_key destination = address_v4(ip->daddr);
	if (!bpf_map_lookup_elem(&landing_addresses, &destination))
		return NOT_OURS;

	__u32 header = ip->ihl * 4u;
	__u32 total = bpf_ntohs(ip->tot_len);
	if (total < header || ETH_HLEN + total > packet->length)
		return drop(packet, DROP_LANDING_OUTER_MALFORMED);
	if (!outer_checksum_is_right(packet, header))
		return drop(packet, DROP_LANDING_OUTER_CHECKSUM);
	/* Edges forbid fragments; one means a link on the way with too small an MTU. */
	if (ip->frag_off & bpf_htons(0x3fff))
		return drop(packet, DROP_LANDING_OUTER_FRAGMENT);

	packet->outer_length = header;
	packet->inner_space = total - header;
	packet->outer_ecn = ip->tos & ECN_MASK;
	packet->inner_protocol = ip->protocol;
	struct landing_address_key source = address_v4(ip->saddr);
	return check_edge(packet, &source);
}

static __always_inline enum verdict parse_outer_v6(struct packet *packet)
{
	const struct ipv6hdr *ip = packet_at(packet, ETH_HLEN, sizeof(*ip));
	if (!ip || ip->version != 6)
		return NOT_OURS;
	struct landing_address_key destination = address_v6(&ip->daddr);
	if (!bpf_map_lookup_elem(&landing_addresses, &destination))
		return NOT_OURS;

	__u8 next = ip->nexthdr;
	__u32 header = sizeof(*ip);
	bool fragment = false;
	for (int i = 0; i < EXTENSIONS_MAX && !is_tunnel(next); i++) {
		const __u8 *extension = packet_at(packet, ETH_HLEN + header, 8);
		if (!extension || header > OUTER_LENGTH_MAX)
			return NOT_OURS;
		if (next == PROTOCOL_FRAGMENT) {
			/* Offset and M; an atomic fragment (RFC 6946) has neither. */
			fragment |= extension[2] || extension[3] & ~6;
			header += 8;
		} else if (next == PROTOCOL_HOP_BY_HOP || next == PROTOCOL_DESTINATION_OPTIONS) {
			header += 8u + extension[1] * 8u;
		} else {
			return NOT_OURS;
		}
		next = extension[0];
	}
	if (!is_tunnel(next))
		return NOT_OURS;

	__u32 total = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	if (total < header || ETH_HLEN + total > packet->length || header > OUTER_LENGTH_MAX)
		return drop(packet, DROP_LANDING_OUTER_MALFORMED);
	if (fragment)
		return drop(packet, DROP_LANDING_OUTER_FRAGMENT);

	packet->outer_length = header;
	packet->inner_space = total - header;
	packet->outer_ecn = (ip->flow_lbl[0] >> 4) & ECN_MASK;
	packet->inner_protocol = next;
	struct landing_address_key source = address_v6(&ip->saddr);
	return check_edge(packet, &source);
}

/* Only for service addresses, and never from one: two services must not be led to answer each
 * other for ever. */
static __always_inline enum verdict check_inner(struct packet *packet,
						const struct landing_address_key *source,
						const struct landing_address_key *destination)
{
	if (!in_pools(destination))
		return drop(packet, DROP_LANDING_NOT_IN_POOL);
	if (in_pools(source))
		return drop(packet, DROP_LANDING_SOURCE_IN_POOL);
	return OURS;
}

/*
 * RFC 6040, section 4.2: what routers marked on the outer header goes to the inner one. Returns
 * the inner field's new value, or -1 where the mark would be lost on a transport without ECN and
 * the packet must be dropped.
 */
static __always_inline int ecn_merge(__u8 outer, __u8 inner)
{
	if (outer == ECN_CE)
		return inner ? ECN_CE : -1;
	if (outer == ECN_ECT1 && inner && inner != ECN_CE)
		return ECN_ECT1;
	return inner;
}

static __always_inline enum verdict take_inner_v4(struct packet *packet)
{
	struct iphdr *ip = packet_at(packet, ETH_HLEN + packet->outer_length, sizeof(*ip));
	if (!ip || packet->inner_space < sizeof(*ip) || ip->version != 4 || ip->ihl < 5)
		return drop(packet, DROP_LANDING_INNER_MALFORMED);
	__u32 total = bpf_ntohs(ip->tot_len);
	if (total < ip->ihl * 4u || total > packet->inner_space)
		return drop(packet, DROP_LANDING_INNER_MALFORMED);

	struct landing_address_key source = address_v4(ip->saddr);
	struct landing_address_key destination = address_v4(ip->daddr);
	enum verdict verdict = check_inner(packet, &source, &destination);
	if (verdict != OURS)
		return verdict;

	int ecn = ecn_merge(packet->outer_ecn, ip->tos & ECN_MASK);
	if (ecn < 0)
		return drop(packet, DROP_LANDING_ECN);
	__u8 tos = (__u8)((ip->tos & ~ECN_MASK) | ecn);
	if (tos != ip->tos) {
		/* RFC 1624, equation 3; tos is the low byte of the header's first word. */
		__u32 sum = (__u16)~bpf_ntohs(ip->check);
		sum += (__u16) ~(__u16)ip->tos;
		sum += tos;
		ip->check = bpf_htons((__u16)~checksum_fold(sum));
		ip->tos = tos;
	}
	return OURS;
}

static __always_inline enum verdict take_inner_v6(struct packet *packet)
{
	struct ipv6hdr *ip = packet_at(packet, ETH_HLEN + packet->outer_length, sizeof(*ip));
	if (!ip || packet->inner_space < sizeof(*ip) || ip->version != 6)
		return drop(packet, DROP_LANDING_INNER_MALFORMED);
	if (sizeof(*ip) + bpf_ntohs(ip->payload_len) > packet->inner_space)
		return drop(packet, DROP_LANDING_INNER_MALFORMED);

	struct landing_address_key source = address_v6(&ip->saddr);
	struct landing_address_key destination = address_v6(&ip->daddr);
	enum verdict verdict = check_inner(packet, &source, &destination);
	if (verdict != OURS)
		return verdict;

	int ecn = ecn_merge(packet->outer_ecn, (ip->flow_lbl[0] >> 4) & ECN_MASK);
	if (ecn < 0)
		return drop(packet, DROP_LANDING_ECN);
	ip->flow_lbl[0] = (__u8)((ip->flow_lbl[0] & 0xcf) | ecn << 4);
	return OURS;
}

/* Cut the outer headers out from between the link header and the inner packet. */
static __always_inline enum verdict take_off(struct packet *packet)
{
	const struct ethhdr *outer = packet_at(packet, 0, sizeof(*outer));
	if (!outer)
		return drop(packet, DROP_LANDING_INNER_MALFORMED);
	struct ethhdr link = *outer;
	link.h_proto = bpf_htons(packet->inner_protocol == PROTOCOL_IPV4 ? ETH_P_IP : ETH_P_IPV6);

	if (bpf_xdp_adjust_head(packet->ctx, (int)packet->outer_length))
		return drop(packet, DROP_LANDING_INNER_MALFORMED);
	struct ethhdr *inner = packet_at(packet, 0, sizeof(*inner));
	if (!inner)
		return drop(packet, DROP_LANDING_INNER_MALFORMED);
	*inner = link;
	return OURS;
}

/* Whether the frame is for this machine, as far as the interface's addresses are known. */
static __always_inline bool is_to_us(const struct packet *packet, const struct ethhdr *link)
{
	const __u32 zero = 0;
	const __u32 ifindex = packet->ctx->ingress_ifindex;
	const struct landing_own *own = bpf_map_lookup_elem(&landing_own, &zero);
	bool known = false;
	for (int i = 0; own && i < LANDING_ABI_OWN && own->items[i].ifindex != 0; i++) {
		if (own->items[i].ifindex != ifindex)
			continue;
		if (__builtin_memcmp(own->items[i].address, link->h_dest, ETH_ALEN) == 0)
			return true;
		known = true;
	}
	return !known;
}

/* Where to, of a packet that is no tunnel's. */
static __always_inline bool is_bare(const struct packet *packet)
{
	struct landing_address_key destination;
	if (packet->outer_family == 4) {
		const struct iphdr *ip = packet_at(packet, ETH_HLEN, sizeof(*ip));
		if (!ip || ip->version != 4)
			return false;
		destination = address_v4(ip->daddr);
	} else {
		const struct ipv6hdr *ip = packet_at(packet, ETH_HLEN, sizeof(*ip));
		if (!ip || ip->version != 6)
			return false;
		destination = address_v6(&ip->daddr);
	}
	return in_pools(&destination);
}

static __always_inline bool is_watched(__be16 client_port)
{
	return bpf_ntohs(client_port) % LANDING_ASKED_ONE_IN == 0;
}

/* Remember who asked over UDP, of those that are watched. The packet is out of its tunnel, and its
 * header was read before. */
static __always_inline void remember_asked(const struct packet *packet)
{
	struct landing_asked_key key = {0};
	struct landing_asked asked = {0};
	const __be16 *ports;
	if (packet->inner_protocol == PROTOCOL_IPV4) {
		const struct iphdr *ip = packet_at(packet, ETH_HLEN, sizeof(*ip));
		if (!ip || ip->protocol != PROTOCOL_UDP || ip->ihl != 5 ||
		    ip->frag_off & bpf_htons(0x3fff))
			return;
		ports = packet_at(packet, ETH_HLEN + sizeof(*ip), 4);
		if (!ports || !is_watched(ports[0]))
			return;
		key.client = address_v4(ip->saddr);
		__builtin_memcpy(asked.address, &ip->daddr, sizeof(ip->daddr));
	} else {
		const struct ipv6hdr *ip = packet_at(packet, ETH_HLEN, sizeof(*ip));
		if (!ip || ip->nexthdr != PROTOCOL_UDP)
			return;
		ports = packet_at(packet, ETH_HLEN + sizeof(*ip), 4);
		if (!ports || !is_watched(ports[0]))
			return;
		key.client = address_v6(&ip->saddr);
		__builtin_memcpy(asked.address, &ip->daddr, sizeof(asked.address));
	}
	key.port = ports[0];
	asked.port = ports[1];
	asked.when = bpf_ktime_get_ns();
	bpf_map_update_elem(&landing_asked, &key, &asked, BPF_ANY);
}

static __always_inline enum verdict land(struct packet *packet)
{
	const struct ethhdr *link = packet_at(packet, 0, sizeof(*link));
	enum verdict verdict = NOT_OURS;
	if (link && link->h_proto == bpf_htons(ETH_P_IP))
		packet->outer_family = 4;
	else if (link && link->h_proto == bpf_htons(ETH_P_IPV6))
		packet->outer_family = 6;
	else
		return NOT_OURS;
	if (!is_to_us(packet, link))
		return NOT_OURS;
	verdict = packet->outer_family == 4 ? parse_outer_v4(packet) : parse_outer_v6(packet);
	if (verdict == NOT_OURS && is_bare(packet))
		return drop(packet, DROP_LANDING_BARE);
	if (verdict != OURS)
		return verdict;

	verdict =
	    packet->inner_protocol == PROTOCOL_IPV4 ? take_inner_v4(packet) : take_inner_v6(packet);
	return verdict == OURS ? take_off(packet) : verdict;
}

/* "frags": a jumbo frame's headers are in its linear part, and nothing else is looked at. */
SEC("xdp.frags")
int landing_decapsulate(struct xdp_md *ctx)
{
	struct packet packet = {.ctx = ctx, .length = (__u32)bpf_xdp_get_buff_len(ctx)};
	enum verdict verdict = land(&packet);

	__u32 zero = 0;
	struct landing_counts *counts = bpf_map_lookup_elem(&landing_counts, &zero);
	if (!counts)
		return XDP_ABORTED;
	if (verdict == NOT_OURS) {
		counts->passed++;
		return XDP_PASS;
	}
	if (verdict == OURS) {
		__u32 tunnel = LANDING_TUNNEL(packet.outer_family == 6,
					      packet.inner_protocol == PROTOCOL_IPV6);
		counts->accepted[tunnel & 3]++;
		remember_asked(&packet);
		return XDP_PASS;
	}
	if (packet.reason < DROP_REASONS)
		counts->drops[packet.reason]++;
	return XDP_DROP;
}

/* A TCP header, and behind it its first option, if that is the MSS. */
struct syn {
	struct tcphdr tcp;
	__u8 kind;
	__u8 length;
	__be16 mss;
};

/* The packet's IP header as far as the clamp needs it. */
struct outgoing {
	struct landing_address_key source;
	__u32 header; /* bytes of the IP header */
	__u32 total; /* bytes of the packet */
};

/* Read at `offset` from the IP header, wherever in the frame that is. */
static __always_inline bool read_outgoing(struct __sk_buff *skb, __u32 offset, void *bytes,
					  __u32 size)
{
	return bpf_skb_load_bytes_relative(skb, offset, bytes, size, BPF_HDR_START_NET) == 0;
}

/* False for what carries no TCP header: another protocol, or behind IPv6 extension headers, which
 * Linux sends with TCP only where a program asks for them by a socket option. */
static __always_inline bool parse_outgoing(struct __sk_buff *skb, struct outgoing *ret)
{
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr ip;
		if (!read_outgoing(skb, 0, &ip, sizeof(ip)) || ip.protocol != PROTOCOL_TCP ||
		    ip.frag_off & bpf_htons(0x3fff))
			return false;
		ret->source = address_v4(ip.saddr);
		ret->header = ip.ihl * 4u;
		ret->total = bpf_ntohs(ip.tot_len);
		return true;
	}
	struct ipv6hdr ip;
	if (skb->protocol != bpf_htons(ETH_P_IPV6) || !read_outgoing(skb, 0, &ip, sizeof(ip)) ||
	    ip.nexthdr != PROTOCOL_TCP)
		return false;
	ret->source = address_v6(&ip.saddr);
	ret->header = sizeof(ip);
	ret->total = sizeof(ip) + bpf_ntohs(ip.payload_len);
	return true;
}

enum clamped { FITS, LOWERED, UNSEEN };

/*
 * Only the first option is looked at: Linux writes nothing before the MSS but a signature of the
 * segment, which a new MSS would break (tcp_options_write() in net/ipv4/tcp_output.c, where a
 * comment says why that order stays).
 *
 * Headers are read from the network header on, but written from the frame's start, and no field
 * tells how far apart these are: 14 bytes, none on a tunnel's interface, 18 in a VLAN that does not
 * reorder. It is what the frame is longer than its packet, since what pads short frames comes
 * behind this hook. The same bytes must be found there, otherwise nothing is written.
 */
static __always_inline enum clamped lower_mss(struct __sk_buff *skb, const struct outgoing *packet,
					      __u32 limit)
{
	struct syn syn, found;
	if (!read_outgoing(skb, packet->header, &syn, sizeof(syn)) ||
	    syn.tcp.doff * 4u < sizeof(syn) || syn.kind != OPTION_MSS || syn.length != 4)
		return UNSEEN;
	if (!limit || bpf_ntohs(syn.mss) <= limit)
		return FITS;

	const __u32 at = skb->len - packet->total + packet->header;
	if (packet->total > skb->len || bpf_skb_load_bytes(skb, at, &found, sizeof(found)) ||
	    __builtin_memcmp(&found, &syn, sizeof(found)))
		return UNSEEN;
	const __be16 mss = bpf_htons((__u16)limit);
	/* Right also where the device is to finish the sum: the helper knows, and leaves it. */
	if (bpf_l4_csum_replace(skb, at + offsetof(struct syn, tcp.check), syn.mss, mss,
				sizeof(mss)) ||
	    bpf_skb_store_bytes(skb, at + offsetof(struct syn, mss), &mss, sizeof(mss), 0))
		return UNSEEN;
	return LOWERED;
}

/* An answer over UDP must leave from where was asked: clients throw any other away. */
static __always_inline void check_answer(struct __sk_buff *skb, struct landing_counts *counts)
{
	const __u32 zero = 0;
	struct landing_asked_key key = {0};
	struct landing_address_key source;
	__u32 header;
	__be16 ports[2];
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr ip;
		if (!read_outgoing(skb, 0, &ip, sizeof(ip)) || ip.protocol != PROTOCOL_UDP ||
		    ip.frag_off & bpf_htons(0x1fff))
			return;
		source = address_v4(ip.saddr);
		key.client = address_v4(ip.daddr);
		header = ip.ihl * 4u;
	} else {
		struct ipv6hdr ip;
		if (skb->protocol != bpf_htons(ETH_P_IPV6) ||
		    !read_outgoing(skb, 0, &ip, sizeof(ip)) || ip.nexthdr != PROTOCOL_UDP)
			return;
		source = address_v6(&ip.saddr);
		key.client = address_v6(&ip.daddr);
		header = sizeof(ip);
	}
	if (!read_outgoing(skb, header, ports, sizeof(ports)) || !is_watched(ports[1]))
		return;
	key.port = ports[1];
	const struct landing_asked *asked = bpf_map_lookup_elem(&landing_asked, &key);
	if (!asked || bpf_ktime_get_ns() - asked->when > LANDING_ASKED_NS || in_pools(&source))
		return;
	counts->wrong_source++;
	struct landing_wrong wrong = {.asked = *asked, .port = ports[0], .family = source.family};
	__builtin_memcpy(wrong.address, source.bytes, sizeof(wrong.address));
	bpf_map_update_elem(&landing_wrong, &zero, &wrong, BPF_ANY);
}

SEC("tc")
int landing_clamp(struct __sk_buff *skb)
{
	struct outgoing packet;
	struct tcphdr tcp;
	const __u32 zero = 0;
	const struct landing_mss *mss = bpf_map_lookup_elem(&landing_mss, &zero);
	struct landing_counts *counts = bpf_map_lookup_elem(&landing_counts, &zero);
	if (!mss || !counts)
		return TC_ACT_UNSPEC;
	if (!parse_outgoing(skb, &packet)) {
		check_answer(skb, counts);
		return TC_ACT_UNSPEC;
	}
	if (!read_outgoing(skb, packet.header, &tcp, sizeof(tcp)) || !tcp.syn ||
	    !in_pools(&packet.source))
		return TC_ACT_UNSPEC;
	enum clamped clamped =
	    lower_mss(skb, &packet, packet.source.family == 4 ? mss->v4 : mss->v6);
	counts->clamped += clamped == LOWERED;
	counts->unclamped += clamped == UNSEEN;
	return TC_ACT_UNSPEC;
}

char landing_license[] SEC("license") = "Dual Apache-2.0/GPL";
