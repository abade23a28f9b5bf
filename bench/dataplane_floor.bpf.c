// SPDX-License-Identifier: Apache-2.0
/*
 * The floor of `./dev bench dataplane`: the least that a program which encapsulates must do. It
 * reads the link, IP and transport headers with every check that keeps it inside the frame and the
 * packet, makes room, and writes a link header and an outer IP header whose addresses are constants
 * of the program. It looks nothing up, counts nothing, chooses nothing, and leaves the time to live
 * alone.
 */
/* Before libbpf's headers, which need its types. */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

char LICENSE[] SEC("license") = "GPL v2";

#define FLOOR_TTL 64
#define FLOOR_V4_DF 0x4000
#define FLOOR_FRAGMENT 0x3fff /* more fragments, or an offset */
#define FLOOR_PROTOCOL_IPV6 41

#define FLOOR_SOURCE4 0x0a010001u /* 10.1.0.1 */
#define FLOOR_BACKEND4 0x0a010101u /* 10.1.1.1 */
#define FLOOR_SOURCE6 0xfd00000100000000u /* fd00:1::1 and fd00:1::1:1, the first half of them */
#define FLOOR_SOURCE6_LAST 0x1u
#define FLOOR_BACKEND6_LAST 0x10001u

static const __u8 link_addresses[12] = {2, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0, 1};

/* Whether a whole TCP or UDP header lies there. `length`: of the packet from there on. */
static __always_inline int is_transport(const void *at, const void *end, __u8 protocol,
					__u32 length)
{
	/* Else the compiler leaves out checks that follow from the length; the verifier, which
	 * does not add up, wants them. */
	__asm__ volatile("" : "+r"(at));
	if (protocol == IPPROTO_TCP) {
		const struct tcphdr *tcp = at;
		return length >= sizeof(*tcp) && (const void *)(tcp + 1) <= end &&
		       tcp->doff * 4u >= sizeof(*tcp) && tcp->doff * 4u <= length;
	}
	if (protocol == IPPROTO_UDP) {
		const struct udphdr *udp = at;
		return length >= sizeof(*udp) && (const void *)(udp + 1) <= end &&
		       bpf_ntohs(udp->len) >= sizeof(*udp) && bpf_ntohs(udp->len) <= length;
	}
	return 0;
}

static __always_inline void write_link(struct ethhdr *eth, __u16 protocol)
{
	__builtin_memcpy(eth, link_addresses, sizeof(link_addresses));
	eth->h_proto = bpf_htons(protocol);
}

static __always_inline void write_v4(struct iphdr *ip, __u8 tos, __u32 inner_bytes)
{
	__u32 total = inner_bytes + (__u32)sizeof(*ip);
	__u32 sum = (0x4500 | tos) + total + FLOOR_V4_DF + (FLOOR_TTL << 8 | IPPROTO_IPIP) +
		    (FLOOR_SOURCE4 >> 16) + (FLOOR_SOURCE4 & 0xffff) + (FLOOR_BACKEND4 >> 16) +
		    (FLOOR_BACKEND4 & 0xffff);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);

	__u32 *words = (__u32 *)ip;
	words[0] = bpf_htonl(0x45000000u | (__u32)tos << 16 | total);
	words[1] = bpf_htonl(FLOOR_V4_DF);
	words[2] = bpf_htonl((__u32)FLOOR_TTL << 24 | IPPROTO_IPIP << 16 | (~sum & 0xffff));
	words[3] = bpf_htonl(FLOOR_SOURCE4);
	words[4] = bpf_htonl(FLOOR_BACKEND4);
}

SEC("xdp.frags")
int floor_v4(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	__u32 header = ip->ihl * 4u;
	__u32 total = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header < sizeof(*ip) || total < header || (void *)ip + total > end)
		return XDP_DROP;
	if (ip->frag_off & bpf_htons(FLOOR_FRAGMENT))
		return XDP_DROP;
	if (!is_transport((void *)ip + header, end, ip->protocol, total - header))
		return XDP_DROP;
	__u8 tos = ip->tos;
	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*ip)))
		return XDP_DROP;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + sizeof(*eth) + sizeof(*ip) > end)
		return XDP_DROP;
	write_link(data, ETH_P_IP);
	write_v4(data + sizeof(*eth), tos, total);
	return XDP_TX;
}

static __always_inline void write_v6(__u64 *words, __u32 traffic_class, __u32 inner_bytes)
{
	words[0] = bpf_cpu_to_be64((__u64)(6u << 28 | traffic_class << 20) << 32 |
				   inner_bytes << 16 | FLOOR_PROTOCOL_IPV6 << 8 | FLOOR_TTL);
	words[1] = bpf_cpu_to_be64(FLOOR_SOURCE6);
	words[2] = bpf_cpu_to_be64(FLOOR_SOURCE6_LAST);
	words[3] = bpf_cpu_to_be64(FLOOR_SOURCE6);
	words[4] = bpf_cpu_to_be64(FLOOR_BACKEND6_LAST);
}

SEC("xdp.frags")
int floor_v6(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct ipv6hdr *ip = data + sizeof(*eth);

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IPV6))
		return XDP_PASS;
	__u32 first = bpf_ntohl(*(__u32 *)ip);
	__u32 payload = bpf_ntohs(ip->payload_len);
	if (first >> 28 != 6 || payload == 0 || (void *)(ip + 1) + payload > end)
		return XDP_DROP;
	if (!is_transport(ip + 1, end, ip->nexthdr, payload))
		return XDP_DROP;
	if (bpf_xdp_adjust_head(ctx, -(int)sizeof(*ip)))
		return XDP_DROP;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + sizeof(*eth) + sizeof(*ip) > end)
		return XDP_DROP;
	write_link(data, ETH_P_IPV6);
	write_v6(data + sizeof(*eth), first >> 20 & 0xff, payload + (__u32)sizeof(*ip));
	return XDP_TX;
}
