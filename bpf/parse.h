/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Parsing, shared by the hooks that read packets from the wire. Functions return 0, or a negative
 * enum drop_reason. Each header is compared once with the end of the frame, for the verifier, and
 * its own lengths with the packet's, for ourselves: padding after the packet is never read as part
 * of it.
 *
 * The IPv4 header checksum is not verified here: the header travels on unchanged but for an
 * incremental update, so that a wrong checksum stays wrong and the backend's kernel drops it.
 *
 * Fields are taken out of whole words. The kernel's structs say that they lie anywhere, and what
 * lies anywhere the compiler reads byte by byte, though every machine that BPF's verifier lets do
 * so reads words from anywhere. And the mask that takes a length out of its word is what tells the
 * verifier how large it can be: before Linux 6.2 it does not follow bounds through a swap of bytes.
 */
#ifndef FAIRLEAD_BPF_PARSE_H
#define FAIRLEAD_BPF_PARSE_H

#include "abi/drop.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

/* Not in the kernel's user-space headers. */
#define PARSE_V4_MORE_FRAGMENTS 0x2000
#define PARSE_V4_OFFSET 0x1fff
#define PARSE_PROTOCOL_IPV6 41
#define PARSE_PROTOCOL_FRAGMENT 44
#define PARSE_PROTOCOL_ICMPV6 58

#define PARSE_V6_EXTENSIONS 6 /* extension headers that are walked; more are refused */

#define PARSE_QUIC_BYTES 5 /* of a QUIC packet: the first byte and the version */

struct parsed_ip {
	__u32 total; /* bytes of the packet, IP header included */
	__u32 transport; /* offset of the transport header from the IP header */
	__u8 protocol;
	__u8 traffic_class; /* DSCP and ECN */
	__u8 hops; /* time to live, or hop limit */
};

struct parsed_transport {
	const void *ports; /* four bytes: source, destination */
	__u16 destination; /* host order */
	__u8 opens; /* TCP: SYN without ACK */
	__u8 payload; /* UDP: at least PARSE_QUIC_BYTES follow the header */
};

/* Whether the packet ends within the frame, the later parts of which may lie elsewhere in memory
 * (large frames, with drivers that take such). Headers are looked for in the first part only. */
static __always_inline int parse_fits(struct xdp_md *ctx, const void *ip, __u32 total,
				      const void *end)
{
	return ip + total <= end || ETH_HLEN + (__u64)total <= bpf_xdp_get_buff_len(ctx);
}

/* RFC 791. `ip` is the first byte after the link header. */
static __always_inline int parse_v4(struct xdp_md *ctx, const struct iphdr *ip, const void *end,
				    struct parsed_ip *ret)
{
	if ((const void *)(ip + 1) > end)
		return -DROP_V4_SHORT;
	__u32 first = bpf_ntohl(*(const __u32 *)ip);
	__u32 third = bpf_ntohl(*(const __u32 *)&ip->ttl);
	__u32 header = (first >> 24 & 0xf) * 4;
	if (first >> 28 != 4 || header < sizeof(*ip))
		return -DROP_V4_HEADER;
	__u32 total = first & 0xffff;
	if (total < header || !parse_fits(ctx, ip, total, end))
		return -DROP_V4_LENGTH;
	if (ip->frag_off & bpf_htons(PARSE_V4_MORE_FRAGMENTS | PARSE_V4_OFFSET))
		return -DROP_FRAGMENT;
	ret->total = total;
	ret->transport = header;
	ret->protocol = (__u8)(third >> 16);
	ret->traffic_class = (__u8)(first >> 16);
	ret->hops = (__u8)(third >> 24);
	return 0;
}

/* The headers that may stand between IPv6 and transport (RFC 8200 section 4). */
struct parse_extension {
	__u8 next;
	__u8 length; /* in units of eight bytes, beyond the first eight */
	__u8 type;
	__u8 segments_left; /* of a routing header */
};

/*
 * Walk from `ret->transport`, where a header of type ret->protocol starts, to the first header that
 * is not a known extension. Ends after PARSE_V6_EXTENSIONS headers, each of which moves forward.
 */
static __always_inline int parse_v6_extensions(const struct ipv6hdr *ip, const void *end,
					       struct parsed_ip *ret)
{
	__u32 at = ret->transport;
	__u8 next = ret->protocol;

	for (int i = 0; i <= PARSE_V6_EXTENSIONS; i++) {
		if (next == PARSE_PROTOCOL_FRAGMENT)
			return -DROP_FRAGMENT;
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS) {
			ret->protocol = next;
			ret->transport = at;
			return 0;
		}
		if (i == PARSE_V6_EXTENSIONS)
			break;
		const struct parse_extension *header = (const void *)ip + at;
		if ((const void *)header + 8 > end)
			return -DROP_V6_EXTENSION;
		/* RFC 8200 section 4.1: hop-by-hop options come first or not at all. */
		if (next == IPPROTO_HOPOPTS && i != 0)
			return -DROP_V6_EXTENSION;
		if (next == IPPROTO_ROUTING && header->segments_left != 0)
			return -DROP_V6_ROUTING;
		next = header->next;
		at += 8 + 8 * (__u32)header->length;
		if (at > ret->total)
			return -DROP_V6_EXTENSION;
	}
	return -DROP_V6_CHAIN;
}

/* RFC 8200. */
static __always_inline int parse_v6(struct xdp_md *ctx, const struct ipv6hdr *ip, const void *end,
				    struct parsed_ip *ret)
{
	if ((const void *)(ip + 1) > end)
		return -DROP_V6_SHORT;
	__u64 first = bpf_be64_to_cpu(*(const __u64 *)ip);
	if (first >> 60 != 6)
		return -DROP_V6_HEADER;
	__u32 total = sizeof(*ip) + ((__u32)(first >> 16) & 0xffff);
	/* A jumbogram (RFC 2675) says 0 too; nothing that XDP sees is that large. */
	if (total == sizeof(*ip) || !parse_fits(ctx, ip, total, end))
		return -DROP_V6_LENGTH;
	ret->total = total;
	ret->transport = sizeof(*ip);
	ret->protocol = (__u8)(first >> 8);
	ret->traffic_class = (__u8)(first >> 52);
	ret->hops = (__u8)first;
	return parse_v6_extensions(ip, end, ret);
}

/* RFC 9293. `length`: bytes of the packet from `tcp` on. */
static __always_inline int parse_tcp(const struct tcphdr *tcp, const void *end, __u32 length,
				     struct parsed_transport *ret)
{
	if (length < sizeof(*tcp) || (const void *)(tcp + 1) > end)
		return -DROP_L4_SHORT;
	__u32 header = (((const __u8 *)tcp)[12] >> 4) * 4u;
	if (header < sizeof(*tcp) || header > length)
		return -DROP_L4_LENGTH;
	__u8 flags = ((const __u8 *)tcp)[13];
	ret->ports = tcp;
	ret->destination = bpf_ntohs(tcp->dest);
	ret->opens = (flags & 0x12) == 0x02;
	ret->payload = 0;
	return 0;
}

/* RFC 768. A UDP length shorter than the packet leaves room for options (RFC 9868). */
static __always_inline int parse_udp(const struct udphdr *udp, const void *end, __u32 length,
				     struct parsed_transport *ret)
{
	if (length < sizeof(*udp) || (const void *)(udp + 1) > end)
		return -DROP_L4_SHORT;
	__u32 own = bpf_ntohs(udp->len);
	if (own < sizeof(*udp) || own > length)
		return -DROP_L4_LENGTH;
	ret->ports = udp;
	ret->destination = bpf_ntohs(udp->dest);
	ret->opens = 0;
	ret->payload = own >= sizeof(*udp) + PARSE_QUIC_BYTES;
	return 0;
}

/*
 * Whether a UDP payload is a QUIC Initial (RFC 9000 section 17.2.2): a long header whose type bits
 * are 0, or 1 in version 2 (RFC 9369 section 3.2). Versions we do not know are read as version 1,
 * which the published drafts and greased versions follow; version 0 is a negotiation, which only
 * servers send.
 */
static __always_inline int parse_quic_opens(const struct udphdr *udp, const void *end)
{
	const __u8 *quic = (const void *)(udp + 1);
	if ((const void *)(quic + PARSE_QUIC_BYTES) > end)
		return 0;
	__u32 version = (__u32)quic[1] << 24 | (__u32)quic[2] << 16 | (__u32)quic[3] << 8 | quic[4];
	__u8 initial = version == 0x6b3343cfu ? 0x90 : 0x80;
	return version != 0 && (quic[0] & 0xb0) == initial;
}

#endif
