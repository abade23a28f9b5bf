// SPDX-License-Identifier: Apache-2.0
/*
 * The world around the edge, as two XDP programs: clients beyond its uplink, backends in its rack.
 *
 * Whoever measures a forwarder from the same machine must be cheaper than it, or measures himself.
 * So clients and backends are not processes with sockets here. Each answers a frame at once, in the
 * program that receives it, by turning it into the next one: the frame that comes out of the edge
 * goes back in. A fixed number of frames circulates, so that the edge always has work and no queue
 * ever runs over; what is measured is how many turns they make in a second, without loss.
 *
 *     clients ──▶ uplink ──▶ edge ──▶ rack ──▶ backends
 *        ▲                                        │
 *        └── answers: directly, or by the edge ◀──┘
 *
 * Backends keep no state: all that a segment's answer must say is in the segment. Clients keep some
 * words for each of their slots, one slot for each frame on its way, and take nothing but what is
 * due next; so loss shows as a slot that stands still, and anything else as `wrong`.
 *
 * An answer to a packet whose destination is still the service address goes to the client as the
 * lab's network would bring it, beside the edge. One to a packet whose destination was translated
 * goes back to the edge, which alone can translate its source back.
 *
 *   UDP           one packet towards a backend; that it arrived lets the client send the next one,
 *                 of another of its flows. Nothing is answered.
 *   requests      one connection a slot, WORLD_PAYLOAD bytes to and fro on it again and again.
 *   connections   SYN, SYN-ACK, request, answer and FIN, FIN, ACK; then the next from another port.
 *
 * Frames go back by a redirect to where they came from: XDP_TX into a veth pair wants a program at
 * the other end, which only some of those who are measured have.
 *
 * Both programs run on one CPU, by the caller's arrangement, so nothing is locked.
 */
#include "bench/forwarding_world.h"

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#define PROTOCOL_IPV4 4
#define FLAG_FIN 1
#define FLAG_SYN 2
#define FLAG_RST 4
#define FLAG_PSH 8
#define FLAG_ACK 16
#define HEADERS (ETH_HLEN + sizeof(struct iphdr) + sizeof(struct tcphdr))
#define FLOWS_PER_SLOT 64 /* of UDP */
#define PORT_FIRST 1024
#define PORTS 60000

char LICENSE[] SEC("license") = "GPL v2";

struct world_settings settings SEC(".data.settings");
struct world_counts counts SEC(".data.counts");

struct world_slot slots[WORLD_SLOTS] SEC(".data.slots");
__u32 started SEC(".data.started"); /* slots whose first frame was made */

/* A TCP segment, in host order but for the addresses and ports. */
struct segment {
	__u32 source, destination;
	__u16 source_port, destination_port;
	__u32 sequence, acknowledged;
	__u32 payload; /* bytes: none or WORLD_PAYLOAD */
	__u64 word; /* the payload; 0 without */
	__u8 flags;
};

static __always_inline void *frame_at(struct xdp_md *ctx, __u32 bytes)
{
	void *data = (void *)(long)ctx->data;
	return data + bytes > (void *)(long)ctx->data_end ? NULL : data;
}

/* Give the frame the length that all have; NULL if there is no room. */
static __always_inline void *frame_resize(struct xdp_md *ctx)
{
	int more = WORLD_FRAME - (int)(ctx->data_end - ctx->data);
	if (more && bpf_xdp_adjust_tail(ctx, more)) {
		counts.failed++;
		return NULL;
	}
	return frame_at(ctx, WORLD_FRAME);
}

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)~sum;
}

static __always_inline void write_link(struct ethhdr *eth, const __u8 *to, const __u8 *from)
{
	__builtin_memcpy(eth->h_dest, to, ETH_ALEN);
	__builtin_memcpy(eth->h_source, from, ETH_ALEN);
	eth->h_proto = bpf_htons(ETH_P_IP);
}

static __always_inline void write_ip(struct iphdr *ip, __u32 bytes, __u8 protocol, __u32 source,
				     __u32 destination)
{
	__u32 *words = (__u32 *)ip;

	words[0] = bpf_htonl(0x45000000u | bytes);
	words[1] = bpf_htonl(0x4000); /* DF */
	words[2] = bpf_htonl(64u << 24 | (__u32)protocol << 16);
	words[3] = source;
	words[4] = destination;
	ip->check = fold((__u64)words[0] + words[1] + words[2] + source + destination);
}

/* Write the segment over the frame, which keeps its link addresses. One without payload is padded
 * with zeros to the same length. */
static __always_inline int write_segment(struct xdp_md *ctx, const struct segment *segment)
{
	__u8 *data = frame_resize(ctx);

	if (!data)
		return -1;
	struct iphdr *ip = (void *)(data + ETH_HLEN);
	write_ip(ip, sizeof(*ip) + sizeof(struct tcphdr) + segment->payload, IPPROTO_TCP,
		 segment->source, segment->destination);
	__u32 *words = (__u32 *)(ip + 1);
	words[0] = (__u32)segment->destination_port << 16 | segment->source_port;
	words[1] = bpf_htonl(segment->sequence);
	words[2] = bpf_htonl(segment->acknowledged);
	words[3] = bpf_htonl(0x50000000u | (__u32)segment->flags << 16 | 0xffffu);
	words[4] = 0;
	__u16 *payload = (void *)(words + 5);
	payload[0] = (__u16)segment->word;
	payload[1] = (__u16)(segment->word >> 16);
	payload[2] = (__u16)(segment->word >> 32);
	__u64 sum = (__u64)words[0] + words[1] + words[2] + words[3] + segment->source +
		    segment->destination +
		    bpf_htonl((__u32)IPPROTO_TCP << 16 |
			      ((__u32)sizeof(struct tcphdr) + segment->payload)) +
		    (__u32)segment->word + (segment->word >> 32);
	((struct tcphdr *)words)->check = fold(sum);
	return 0;
}

/* The clients' addresses say the slot, and with the port, which of its flows it is. */
static __always_inline __u32 client_address(__u32 slot, __u32 flow)
{
	return bpf_htonl(WORLD_CLIENTS | (flow & 0xff) << 8 | slot);
}

static __always_inline __u16 client_port(__u32 flow)
{
	return bpf_htons((__u16)(PORT_FIRST + (flow >> 8) % PORTS));
}

/* The first byte after the link header is an IPv4 header without options, of `protocol`. */
static __always_inline int is_v4(const struct iphdr *ip, __u8 protocol)
{
	return *(const __u8 *)ip == 0x45 && ip->protocol == protocol;
}

/* Write the slot's next UDP packet over the frame, whatever it held. */
static __always_inline int udp_next(struct xdp_md *ctx, __u32 number)
{
	struct world_slot *slot = &slots[number % WORLD_SLOTS];
	__u8 *data = frame_resize(ctx);

	if (!data)
		return -1;
	write_link((void *)data, settings.edge, settings.clients);
	struct iphdr *ip = (void *)(data + ETH_HLEN);
	write_ip(ip, WORLD_FRAME - ETH_HLEN, IPPROTO_UDP,
		 client_address(number, slot->turn++ % FLOWS_PER_SLOT), settings.service);
	struct udphdr *udp = (void *)(ip + 1);
	udp->source = bpf_htons(PORT_FIRST);
	udp->dest = settings.port;
	udp->len = bpf_htons(WORLD_FRAME - ETH_HLEN - sizeof(*ip));
	udp->check = 0; /* none, as RFC 768 allows */
	return 0;
}

/* The slot's connection, from the client's side; the caller adds what it says. */
static __always_inline void client_begin(__u32 number, const struct world_slot *slot, __u8 flags,
					 struct segment *ret)
{
	*ret = (struct segment){
	    .source = client_address(number, slot->connection),
	    .destination = settings.service,
	    .source_port = client_port(slot->connection),
	    .destination_port = settings.port,
	    .sequence = slot->sent,
	    .acknowledged = slot->awaited,
	    .flags = flags,
	};
}

static __always_inline void client_open(__u32 number, struct world_slot *slot, struct segment *ret)
{
	slot->phase = WORLD_OPENING;
	slot->awaited = 0;
	client_begin(number, slot, FLAG_SYN, ret);
	slot->sent++;
}

static __always_inline __u64 client_word(__u32 number, const struct world_slot *slot)
{
	return (__u64)number << 32 | slot->turn;
}

static __always_inline void client_request(__u32 number, struct world_slot *slot,
					   struct segment *ret)
{
	client_begin(number, slot, FLAG_ACK | FLAG_PSH, ret);
	ret->payload = WORLD_PAYLOAD;
	ret->word = client_word(number, slot);
	slot->sent += WORLD_PAYLOAD;
}

static __always_inline int client_wrong(void)
{
	counts.wrong++;
	return 0;
}

/* An answer has come; whether it is followed by a segment of the client. */
static __always_inline int client_answered(__u32 number, struct world_slot *slot,
					   const struct segment *in, struct segment *ret)
{
	if (in->sequence != slot->awaited || slot->phase != WORLD_OPEN)
		return client_wrong();
	if (in->payload) {
		if (in->word != client_word(number, slot))
			return client_wrong();
		slot->awaited += in->payload;
		counts.requests++;
		if (settings.kind == WORLD_REQUESTS) {
			slot->turn++;
			client_request(number, slot, ret);
			return 1;
		}
	}
	if (!(in->flags & FLAG_FIN))
		return 0;
	slot->awaited++;
	client_begin(number, slot, FLAG_ACK | FLAG_FIN, ret);
	slot->sent++;
	slot->phase = WORLD_CLOSING;
	return 1;
}

/* What a client says to a segment; 0 if nothing. */
static __always_inline int client(const struct segment *in, struct segment *ret)
{
	__u32 number = bpf_ntohl(in->destination) & 0xff;
	struct world_slot *slot = &slots[number % WORLD_SLOTS];
	struct segment own;

	client_begin(number, slot, 0, &own);
	if (in->destination != own.source || in->destination_port != own.source_port ||
	    in->source != own.destination || in->source_port != own.destination_port) {
		counts.strays++;
		return 0;
	}
	if (in->flags & FLAG_RST) {
		counts.resets++;
		return 0;
	}
	if (in->flags & FLAG_SYN) {
		if (slot->phase != WORLD_OPENING || in->acknowledged != slot->sent)
			return client_wrong();
		slot->awaited = in->sequence + 1;
		slot->phase = WORLD_OPEN;
		client_request(number, slot, ret);
		return 1;
	}
	if (in->payload || in->flags & FLAG_FIN)
		return client_answered(number, slot, in, ret);
	if (slot->phase != WORLD_CLOSING || in->acknowledged != slot->sent)
		return 0; /* an acknowledgement alone; nothing is due */
	counts.connections++;
	slot->connection++;
	client_open(number, slot, ret);
	return 1;
}

/* What a backend says to a segment; 0 if nothing. */
static __always_inline int backend(const struct segment *in, struct segment *ret)
{
	*ret = (struct segment){
	    .source = in->destination,
	    .destination = in->source,
	    .source_port = in->destination_port,
	    .destination_port = in->source_port,
	    .sequence = in->acknowledged,
	    .acknowledged = in->sequence + in->payload,
	    .flags = FLAG_ACK,
	};
	if (in->flags & FLAG_RST)
		return 0;
	if (in->flags & FLAG_SYN) {
		ret->sequence = ~in->sequence;
		ret->acknowledged++;
		ret->flags |= FLAG_SYN;
	} else if (in->payload) {
		ret->payload = in->payload;
		ret->word = in->word;
		ret->flags |= FLAG_PSH | (settings.kind == WORLD_CONNECTIONS ? FLAG_FIN : 0);
	} else if (in->flags & FLAG_FIN) {
		ret->acknowledged++;
	} else {
		return 0;
	}
	return 1;
}

/* Read the TCP segment that follows the IPv4 header; 0 if it is none of the measurement's. */
static __always_inline int read_segment(struct xdp_md *ctx, struct segment *ret)
{
	__u8 *data = frame_at(ctx, HEADERS);

	if (!data)
		return 0;
	const struct iphdr *ip = (const void *)(data + ETH_HLEN);
	const struct tcphdr *tcp = (const void *)(ip + 1);
	__u32 headers = sizeof(*ip) + tcp->doff * 4u;
	__u32 bytes = bpf_ntohs(ip->tot_len);
	ret->source = ip->saddr;
	ret->destination = ip->daddr;
	ret->source_port = tcp->source;
	ret->destination_port = tcp->dest;
	ret->sequence = bpf_ntohl(tcp->seq);
	ret->acknowledged = bpf_ntohl(tcp->ack_seq);
	ret->flags = ((const __u8 *)tcp)[13];
	ret->payload = bytes > headers ? bytes - headers : 0;
	ret->word = 0;
	if (!ret->payload)
		return 1;
	/* Data comes without options, since none were agreed on. */
	data = frame_at(ctx, WORLD_FRAME);
	if (!data || ret->payload != WORLD_PAYLOAD || tcp->doff != 5)
		return 0;
	const __u16 *payload = (const void *)(data + HEADERS);
	ret->word = (__u64)payload[2] << 32 | (__u32)payload[1] << 16 | payload[0];
	return 1;
}

/* Take the tunnel's header off, if there is one. */
static __always_inline int take_off(struct xdp_md *ctx)
{
	__u8 *data = frame_at(ctx, ETH_HLEN + sizeof(struct iphdr));
	if (!data)
		return -1;
	const struct ethhdr *eth = (const void *)data;
	const struct iphdr *v4 = (const void *)(eth + 1);
	const struct ipv6hdr *v6 = (const void *)(eth + 1);
	if (eth->h_proto == bpf_htons(ETH_P_IP) && is_v4(v4, PROTOCOL_IPV4))
		return bpf_xdp_adjust_head(ctx, sizeof(*v4)) ? -1 : 0;
	if (eth->h_proto == bpf_htons(ETH_P_IPV6) && v6->nexthdr == PROTOCOL_IPV4)
		return bpf_xdp_adjust_head(ctx, sizeof(*v6)) ? -1 : 0;
	return eth->h_proto == bpf_htons(ETH_P_IP) ? 0 : -1;
}

static __always_inline __u32 find_backend(const struct ethhdr *eth)
{
	const __u16 *to = (const void *)eth->h_dest;

	for (__u32 i = 0; i < WORLD_BACKENDS && i < settings.backend_count; i++) {
		const __u16 *own = (const void *)settings.backends[i];
		if (to[0] == own[0] && to[1] == own[1] && to[2] == own[2])
			return i;
	}
	return WORLD_BACKENDS;
}

static __always_inline int drain(void)
{
	counts.drained++;
	return XDP_DROP;
}

/* Send the frame, which is an answer or a client's next packet, into the uplink. */
static __always_inline int to_uplink(struct xdp_md *ctx)
{
	__u8 *data = frame_at(ctx, ETH_HLEN);
	if (!data)
		return XDP_ABORTED;
	write_link((void *)data, settings.edge, settings.clients);
	return (int)bpf_redirect(settings.uplink, 0);
}

static __always_inline int rack_segment(struct xdp_md *ctx)
{
	struct segment in, answer, next;

	if (!read_segment(ctx, &in))
		return XDP_DROP;
	if (!backend(&in, &answer))
		return XDP_DROP;
	if (settings.mode == WORLD_DRAIN)
		return drain();
	if (in.destination == settings.service) {
		if (!client(&answer, &next) || write_segment(ctx, &next))
			return XDP_DROP;
		return to_uplink(ctx);
	}
	if (write_segment(ctx, &answer))
		return XDP_DROP;
	__u8 *data = frame_at(ctx, ETH_HLEN);
	if (!data)
		return XDP_ABORTED;
	struct ethhdr *eth = (void *)data;
	__u8 edge[ETH_ALEN], own[ETH_ALEN];
	__builtin_memcpy(edge, eth->h_source, ETH_ALEN);
	__builtin_memcpy(own, eth->h_dest, ETH_ALEN);
	write_link(eth, edge, own);
	return (int)bpf_redirect(ctx->ingress_ifindex, 0);
}

/* At the far end of the edge's leg in the rack: what the edge sends to backends. */
SEC("xdp")
int world_rack(struct xdp_md *ctx)
{
	__u8 *data = frame_at(ctx, ETH_HLEN);

	if (settings.mode == WORLD_PASS || !data)
		return XDP_PASS;
	__u32 number = find_backend((void *)data);
	if (number >= WORLD_BACKENDS || take_off(ctx))
		return XDP_PASS;
	data = frame_at(ctx, ETH_HLEN + sizeof(struct iphdr) + sizeof(struct udphdr));
	if (!data)
		return XDP_PASS;
	const struct iphdr *ip = (const void *)(data + ETH_HLEN);
	const struct udphdr *udp = (const void *)(ip + 1);
	if (udp->dest != settings.port)
		return XDP_PASS;
	counts.packets++;
	counts.backends[number]++;
	if (is_v4(ip, IPPROTO_TCP))
		return rack_segment(ctx);
	if (settings.mode == WORLD_DRAIN)
		return drain();
	if (!is_v4(ip, IPPROTO_UDP) || udp_next(ctx, bpf_ntohl(ip->saddr) & 0xff))
		return XDP_DROP;
	return (int)bpf_redirect(settings.uplink, 0);
}

/* At the far end of the uplink: what the edge sends to clients. */
SEC("xdp")
int world_clients(struct xdp_md *ctx)
{
	struct segment in, next;
	__u8 *data = frame_at(ctx, HEADERS);

	if (settings.mode == WORLD_PASS || !data)
		return XDP_PASS;
	const struct iphdr *ip = (const void *)(data + ETH_HLEN);
	if (((struct ethhdr *)data)->h_proto != bpf_htons(ETH_P_IP) || !is_v4(ip, IPPROTO_TCP) ||
	    (ip->daddr & bpf_htonl(0xffff0000)) != bpf_htonl(WORLD_CLIENTS))
		return XDP_PASS;
	if (!read_segment(ctx, &in))
		return XDP_DROP;
	if (!client(&in, &next))
		return XDP_DROP;
	if (settings.mode == WORLD_DRAIN)
		return drain();
	if (write_segment(ctx, &next))
		return XDP_DROP;
	data = frame_at(ctx, ETH_HLEN);
	if (!data)
		return XDP_ABORTED;
	write_link((void *)data, settings.edge, settings.clients);
	return (int)bpf_redirect(ctx->ingress_ifindex, 0);
}

/* Makes the frames that then circulate; run on live frames by BPF_PROG_TEST_RUN. */
SEC("xdp")
int world_start(struct xdp_md *ctx)
{
	struct segment first;
	__u32 number = started++ % WORLD_SLOTS;
	struct world_slot *slot = &slots[number];

	if (settings.kind == WORLD_UDP) {
		if (udp_next(ctx, number))
			return XDP_DROP;
		return (int)bpf_redirect(settings.uplink, 0);
	}
	slot->connection = settings.first;
	slot->sent = settings.first << 8;
	client_open(number, slot, &first);
	if (write_segment(ctx, &first))
		return XDP_DROP;
	return to_uplink(ctx);
}
