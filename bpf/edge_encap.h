/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Encapsulate: put an outer header in front of the packet (RFC 2003, RFC 2473, RFC 4213), any
 * family in any. DSCP and ECN are copied outwards (RFC 6040 section 4.1, normal mode). The outer
 * packet is never fragmented: DF is set, and an atomic datagram needs no identification (RFC 6864).
 * The tunnel encapsulation limit option of RFC 2473 is not sent: our tunnels do not nest.
 */
#ifndef FAIRLEAD_BPF_EDGE_ENCAP_H
#define FAIRLEAD_BPF_EDGE_ENCAP_H

#include "bpf/edge_maps.h"
#include "bpf/parse.h"

/* Written as whole words, for the reason that parse.h gives. */
#define ENCAP_TTL 64
#define ENCAP_V4_DF 0x4000

/* What goes into the outer header besides the addresses. */
struct encap {
	__u16 inner_bytes; /* of the inner packet, its IP header included */
	__u8 inner_protocol; /* IPPROTO_IPIP or PARSE_PROTOCOL_IPV6 */
	__u8 traffic_class;
	__u8 outer_family; /* 4 or 6 */
	__u32 flow; /* varies with the flow, for those who balance by the flow label (RFC 6438) */
};

static __always_inline __u32 encap_header_bytes(__u8 family)
{
	return family == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
}

/*
 * Fold a sum of at most 2^16 32-bit words into the Internet checksum (RFC 1071 section 2: words of
 * any width may be summed, and in any byte order).
 */
static __always_inline __u16 encap_checksum(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

static __always_inline void encap_write_v4(struct iphdr *ip, const struct encap *encap,
					   const struct edge_map_backend *backend)
{
	__u32 *words = (__u32 *)ip;
	__u32 destination = *(const __u32 *)backend->address;

	words[0] = bpf_htonl(0x45000000u | (__u32)encap->traffic_class << 16 |
			     (encap->inner_bytes + (__u32)sizeof(*ip)));
	words[1] = bpf_htonl(ENCAP_V4_DF);
	words[2] = bpf_htonl((__u32)ENCAP_TTL << 24 | (__u32)encap->inner_protocol << 16);
	words[3] = settings.source_v4;
	words[4] = destination;
	ip->check = encap_checksum((__u64)words[0] + words[1] + words[2] + words[3] + destination);
}

static __always_inline void encap_write_v6(struct ipv6hdr *ip, const struct encap *encap,
					   const struct edge_map_backend *backend)
{
	__u64 *words = (__u64 *)ip;
	const __u64 *source = (const __u64 *)settings.source_v6;
	const __u64 *destination = (const __u64 *)backend->address;
	__u32 first = 6u << 28 | (__u32)encap->traffic_class << 20 | (encap->flow & 0xfffff);

	words[0] = bpf_cpu_to_be64((__u64)first << 32 | (__u32)encap->inner_bytes << 16 |
				   (__u32)encap->inner_protocol << 8 | ENCAP_TTL);
	words[1] = source[0];
	words[2] = source[1];
	words[3] = destination[0];
	words[4] = destination[1];
}

/*
 * The packet is forwarded, so its own time to live goes down by one (RFC 2003 section 3.1): a
 * packet that a misrouted tunnel brings back to us dies in the end. The callers have checked that
 * it is above 1.
 */
static __always_inline void encap_age_v4(struct iphdr *ip)
{
	/* RFC 1624 with m' = m - 0x0100. The end-around carry cannot carry again. */
	__u32 check = ip->check + (__u32)bpf_htons(0x0100);
	ip->check = (__u16)(check + (check >= 0xffff));
	ip->ttl--;
}

static __always_inline void encap_age_v6(struct ipv6hdr *ip)
{
	ip->hop_limit--;
}

#endif
