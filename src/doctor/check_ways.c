/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way to each backend: whether it carries a client's packet with the tunnel's header, and
 * whether it carries what its interface promises. The latter is tried: echo requests that may not
 * be fragmented, a small one and one of full size, to each at once. Who does not answer a small one
 * (a firewall may see to that) says nothing about the large one.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "base/sockaddr.h"
#include "doctor/examination.h"

#include <linux/icmpv6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENT_MTU 1500 /* what clients of the Internet send at most */
#define TUNNEL_BYTES 40 /* of an outer IPv6 header */
#define SMALL_BYTES 100 /* of the whole packet, like the others */
#define WAYS_MAX 256u
#define ROUNDS 3 /* of sending, for packets that are lost by chance */
#define ROUND_MS 400u

struct way {
	char backend[IP_TEXT_BYTES];
	char interface[16];
	struct ip_address address;
	unsigned bytes; /* of the large packet */
	bool small, large; /* answered */
};

struct ways {
	struct way items[WAYS_MAX];
	size_t count;
	int sockets[2]; /* of IPv4, IPv6; -1 */
	uint16_t id; /* of our echoes */
};

static uint16_t checksum(const uint8_t *bytes, size_t length)
{
	uint32_t sum = 0;
	for (size_t i = 0; i + 1 < length; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	if (length & 1)
		sum += (uint32_t)bytes[length - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static int open_echo(uint8_t family)
{
	const bool v6 = family == IP_V6;
	const int probe = v6 ? IPV6_PMTUDISC_PROBE : IP_PMTUDISC_PROBE;
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
			v6 ? (int)IPPROTO_ICMPV6 : (int)IPPROTO_ICMP);
	/* DF, and of whatever size: what was learned of the path before is not asked. */
	if (fd >= 0 &&
	    setsockopt(fd, v6 ? (int)IPPROTO_IPV6 : (int)IPPROTO_IP,
		       v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &probe, sizeof(probe)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static void send_echo(const struct ways *ways, size_t number, bool large)
{
	static uint8_t packet[65536];
	const struct way *way = &ways->items[number];
	const bool v6 = way->address.family == IP_V6;
	const size_t header = v6 ? 40 : 20;
	const size_t whole = large ? way->bytes : SMALL_BYTES;
	struct icmphdr *icmp = (struct icmphdr *)packet;
	union sockaddr_ip to;
	const socklen_t length = sockaddr_ip_set(&to, &way->address, 0);
	memset(packet, 0, whole);
	icmp->type = v6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO;
	icmp->un.echo.id = htons(ways->id);
	icmp->un.echo.sequence = htons((uint16_t)(2 * number + large));
	if (!v6)
		icmp->checksum = checksum(packet, whole - header);
	/* One that does not even leave is one that is not answered. */
	if (ways->sockets[v6] >= 0)
		(void)sendto(ways->sockets[v6], packet, whole - header, 0, &to.any, length);
}

static void take_answers(struct ways *ways, bool v6)
{
	static uint8_t packet[65536];
	ssize_t length;
	while (ways->sockets[v6] >= 0 &&
	       (length = recv(ways->sockets[v6], packet, sizeof(packet), 0)) > 0) {
		/* A raw socket of IPv4 shows the IP header, one of IPv6 does not. */
		const size_t skip = v6 ? 0 : (size_t)(packet[0] & 0x0f) * 4;
		const struct icmphdr *icmp = (const struct icmphdr *)(packet + skip);
		if ((size_t)length < skip + sizeof(*icmp) ||
		    icmp->type != (v6 ? ICMPV6_ECHO_REPLY : ICMP_ECHOREPLY) ||
		    ntohs(icmp->un.echo.id) != ways->id)
			continue;
		const size_t sequence = ntohs(icmp->un.echo.sequence);
		if (sequence / 2 >= ways->count)
			continue;
		if (sequence & 1)
			ways->items[sequence / 2].large = true;
		else
			ways->items[sequence / 2].small = true;
	}
}

static bool wants(const struct ways *ways)
{
	for (size_t i = 0; i < ways->count; i++) {
		if (!ways->items[i].small || !ways->items[i].large)
			return true;
	}
	return false;
}

static void send_and_wait(struct ways *ways)
{
	struct pollfd fds[] = {{.fd = ways->sockets[0], .events = POLLIN},
			       {.fd = ways->sockets[1], .events = POLLIN}};
	const uint64_t end_ms = clock_now_ms(&clock_system) + ROUND_MS;
	for (size_t i = 0; i < ways->count; i++) {
		if (!ways->items[i].small)
			send_echo(ways, i, false);
		if (!ways->items[i].large)
			send_echo(ways, i, true);
	}
	while (wants(ways) && clock_now_ms(&clock_system) < end_ms) {
		if (poll(fds, 2, (int)(end_ms - clock_now_ms(&clock_system))) <= 0)
			return;
		take_answers(ways, false);
		take_answers(ways, true);
	}
}

static void collect(struct examination *seen, struct ways *ways)
{
	size_t i;
	json_t *hop;
	json_array_foreach (json_object_get(seen->facts, "next_hops"), i, hop) {
		struct way *way = &ways->items[ways->count];
		const char *address = json_string_value(json_object_get(hop, "address"));
		const char *interface = json_string_value(json_object_get(hop, "interface"));
		const json_int_t mtu = json_integer_value(json_object_get(hop, "mtu"));
		if (ways->count == WAYS_MAX) {
			examination_unknown(
			    seen, "the ways to %zu more backends",
			    json_array_size(json_object_get(seen->facts, "next_hops")) - WAYS_MAX);
			return;
		}
		/* A machine that is its own backend needs no way. */
		if (!address || !interface || strcmp(interface, "lo") == 0 || mtu < SMALL_BYTES ||
		    mtu > 65000 || ip_address_parse(address, &way->address) < 0)
			continue;
		snprintf(way->backend, sizeof(way->backend), "%s", address);
		snprintf(way->interface, sizeof(way->interface), "%s", interface);
		way->bytes = (unsigned)mtu;
		way->small = way->large = false;
		ways->count++;
	}
}

static void tell(struct examination *seen, const struct way *way)
{
	char value[IP_TEXT_BYTES];
	seen->looked += 2;
	snprintf(value, sizeof(value), "%d", CLIENT_MTU + TUNNEL_BYTES);
	if (way->bytes < CLIENT_MTU + TUNNEL_BYTES)
		FINDING_PUT(seen->findings, MTU_SMALL, way->interface, value, way->backend,
			    (long long)way->bytes, way->interface, (long long)CLIENT_MTU,
			    (long long)CLIENT_MTU + TUNNEL_BYTES);
	if (!way->small)
		examination_unknown(seen,
				    "whether the way to backend %s carries packets of %u bytes: it "
				    "answers no echo request at all",
				    way->backend, way->bytes);
	else if (!way->large)
		FINDING_PUT(seen->findings, MTU_PATH, way->interface, way->backend, way->backend,
			    (long long)way->bytes, way->interface);
}

void check_ways(struct examination *seen)
{
	struct ways *ways = must_alloc(1, sizeof(*ways));
	ways->id = (uint16_t)getpid();
	collect(seen, ways);
	if (ways->count) {
		ways->sockets[0] = open_echo(IP_V4);
		ways->sockets[1] = open_echo(IP_V6);
		for (int i = 0; i < ROUNDS && wants(ways); i++)
			send_and_wait(ways);
		for (size_t i = 0; i < ways->count; i++)
			tell(seen, &ways->items[i]);
		for (size_t i = 0; i < 2; i++) {
			if (ways->sockets[i] >= 0)
				close(ways->sockets[i]);
		}
	}
	free(ways);
}
