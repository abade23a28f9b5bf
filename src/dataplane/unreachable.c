/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What routers on the way to a backend say of tunnel packets that were too big for a link: ICMP
 * "fragmentation needed" and ICMPv6 "packet too big" quote the outer header, from this edge to a
 * backend. The kernel does nothing with them, since it has no such tunnel. Each makes the backend's
 * MTU smaller for ten minutes, so that landing has clients send smaller segments. Whoever can send
 * to this edge could say it without reason, so no smaller MTU than IPv6's least is believed.
 */
#include "dataplane/internal.h"

#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>
#include <unistd.h>

#define MTU_LEAST 1280u
#define MESSAGES_MAX 64 /* at once; the rest waits for the next call */

#ifndef ICMP_FILTER
#define ICMP_FILTER 1 /* linux/icmp.h, which does not go with netinet's */
#endif

void unreachable_open(struct edge *edge)
{
	uint32_t v4_others = ~(1u << ICMP_DEST_UNREACH);
	struct icmp6_filter v6;
	edge->hearing[0] = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMP);
	edge->hearing[1] =
	    socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_ICMPV6);
	/* Without the filters more is read, and thrown away. */
	(void)setsockopt(edge->hearing[0], SOL_RAW, ICMP_FILTER, &v4_others, sizeof(v4_others));
	ICMP6_FILTER_SETBLOCKALL(&v6);
	ICMP6_FILTER_SETPASS(ICMP6_PACKET_TOO_BIG, &v6);
	(void)setsockopt(edge->hearing[1], IPPROTO_ICMPV6, ICMP6_FILTER, &v6, sizeof(v6));
}

void unreachable_close(struct edge *edge)
{
	for (size_t i = 0; i < 2; i++) {
		if (edge->hearing[i] >= 0)
			close(edge->hearing[i]);
		edge->hearing[i] = -1;
	}
}

static void take(struct edge *edge, const struct ip_address *source,
		 const struct ip_address *destination, uint32_t mtu)
{
	const struct ip_address *own =
	    source->family == IP_V4 ? &edge->source_v4 : &edge->source_v6;
	uint32_t number = nexthop_find_backend(edge, destination);
	if (!number || !ip_address_equal(source, own))
		return;
	struct reach *reach = &edge->reaches[number];
	reach->told_mtu = mtu > MTU_LEAST ? mtu : MTU_LEAST;
	reach->told_ms = edge_now(edge);
	nexthop_resolve(edge, number);
}

/* UDP: what was passed on to another edge, or else is to no backend. */
static bool is_of_tunnel(uint8_t protocol)
{
	return protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6 || protocol == IPPROTO_UDP;
}

static struct ip_address address_at(const uint8_t *bytes, uint8_t family)
{
	struct ip_address address = {.family = family};
	memcpy(address.bytes, bytes, family == IP_V4 ? 4 : 16);
	return address;
}

/* RFC 1191, section 4. Behind the IP header that raw sockets show. */
static void take_v4(struct edge *edge, const uint8_t *packet, size_t length)
{
	const size_t header = length ? 4u * (packet[0] & 15u) : 0;
	const uint8_t *icmp = packet + header;
	const uint8_t *quoted = icmp + 8;
	if (length < header + 28 || icmp[0] != ICMP_DEST_UNREACH || icmp[1] != ICMP_FRAG_NEEDED ||
	    quoted[0] >> 4 != 4 || !is_of_tunnel(quoted[9]))
		return;
	const uint32_t mtu = (uint32_t)icmp[6] << 8 | icmp[7];
	const struct ip_address source = address_at(quoted + 12, IP_V4);
	const struct ip_address destination = address_at(quoted + 16, IP_V4);
	if (mtu)
		take(edge, &source, &destination, mtu);
}

/* RFC 4443, section 3.2. */
static void take_v6(struct edge *edge, const uint8_t *icmp, size_t length)
{
	const uint8_t *quoted = icmp + 8;
	if (length < 48 || icmp[0] != ICMP6_PACKET_TOO_BIG || quoted[0] >> 4 != 6 ||
	    !is_of_tunnel(quoted[6]))
		return;
	const uint32_t mtu =
	    (uint32_t)icmp[4] << 24 | (uint32_t)icmp[5] << 16 | (uint32_t)icmp[6] << 8 | icmp[7];
	const struct ip_address source = address_at(quoted + 8, IP_V6);
	const struct ip_address destination = address_at(quoted + 24, IP_V6);
	take(edge, &source, &destination, mtu);
}

void edge_hear_routers(struct edge *edge)
{
	uint8_t bytes[1500];
	for (size_t i = 0; i < 2; i++) {
		for (int n = 0; edge->hearing[i] >= 0 && n < MESSAGES_MAX; n++) {
			ssize_t got = recv(edge->hearing[i], bytes, sizeof(bytes), 0);
			if (got < 0)
				break;
			if (i == 0)
				take_v4(edge, bytes, (size_t)got);
			else
				take_v6(edge, bytes, (size_t)got);
		}
	}
	for (size_t i = 0; i < edge->backend_count; i++) {
		const struct reach *reach = &edge->reaches[edge->backend_order[i]];
		if (reach->told_mtu && edge_now(edge) - reach->told_ms >= NEXTHOP_TOLD_MS)
			nexthop_resolve(edge, edge->backend_order[i]);
	}
}
