/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening the name server's sockets, and saying plainly why that failed.
 *
 * Our sockets share their port among our threads by SO_REUSEPORT. The kernel would let them share
 * it with any other process of the same user too, which then would silently take half the queries;
 * so every address is first probed with a socket that does not share.
 */
#include "naming/worker.h"

#include "base/process.h"
#include "base/sockaddr.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	BACKLOG = 511,
	UDP_BUFFER_BYTES = 4 << 20, /* so that a burst waits instead of being lost */
	TCP_BUFFER_BYTES = 64 << 10, /* what one slow client can make the kernel hold */
};

static const char *transport_text(enum naming_transport transport)
{
	return transport == NAMING_UDP ? "udp" : "tcp";
}

static bool is_wildcard(const struct ip_address *address)
{
	static const uint8_t zero[16];
	return memcmp(address->bytes, zero, sizeof(zero)) == 0;
}

/* ---- who holds a port ---- */

/* An address as /proc/net/{udp,tcp}{,6} print it: 32-bit words in the machine's byte order. */
static bool parse_proc_address(const char *text, struct ip_address *ret_address, unsigned *ret_port)
{
	struct ip_address address = {.family = IP_V4};
	const char *colon = strchr(text, ':');
	if (!colon || (colon - text != 8 && colon - text != 32))
		return false;
	unsigned words = (unsigned)(colon - text) / 8;
	if (words == 4)
		address.family = IP_V6;
	for (unsigned i = 0; i < words; i++) {
		char word_text[9] = {0};
		memcpy(word_text, text + 8 * (size_t)i, 8);
		uint32_t word = (uint32_t)strtoul(word_text, NULL, 16);
		memcpy(address.bytes + 4 * (size_t)i, &word, 4);
	}
	*ret_port = (unsigned)strtoul(colon + 1, NULL, 16);
	*ret_address = address;
	return true;
}

/* Whether a socket bound to `held` is in the way of `wanted`; a wildcard of IPv6 may hold IPv4 too.
 */
static bool in_the_way(const struct ip_address *held, const struct ip_address *wanted)
{
	if (held->family == wanted->family)
		return is_wildcard(held) || is_wildcard(wanted) || ip_address_equal(held, wanted);
	return held->family == IP_V6 && is_wildcard(held);
}

/* The inode of the socket that is in the way, from one file of /proc/net; 0 if none is. */
static unsigned long find_inode(enum naming_transport transport, const char *suffix,
				const struct ip_address *wanted, uint16_t port)
{
	char path[64], line[512];
	snprintf(path, sizeof(path), "/proc/net/%s%s", transport_text(transport), suffix);
	FILE *file = fopen(path, "re");
	if (!file)
		return 0;
	unsigned long found = 0;
	while (!found && fgets(line, sizeof(line), file)) {
		/* "  sl  local remote state queues timer retransmits uid timeout inode …" */
		char local[64];
		unsigned state, held_port;
		unsigned long inode;
		struct ip_address held;
		if (sscanf(line, " %*s %63s %*s %x %*s %*s %*s %*s %*s %lu", local, &state,
			   &inode) != 3)
			continue;
		if (transport == NAMING_TCP && state != 0x0a) /* TCP_LISTEN */
			continue;
		if (parse_proc_address(local, &held, &held_port) && held_port == port &&
		    in_the_way(&held, wanted))
			found = inode;
	}
	fclose(file);
	return found;
}

static void describe_holder(enum naming_transport transport, const struct ip_address *wanted,
			    uint16_t port, char *text, size_t size)
{
	unsigned long inode = find_inode(transport, "", wanted, port);
	if (!inode)
		inode = find_inode(transport, "6", wanted, port);
	if (!inode || !process_of_socket(inode, text, size))
		snprintf(text, size, "a process that cannot be seen from here");
}

/* ---- sockets ---- */

static int bind_error(struct error *err, int number, const struct ip_address *address,
		      uint16_t port, enum naming_transport transport)
{
	char text[IP_TEXT_BYTES], holder[64];
	ip_address_format(address, text);
	const char *transport_name = transport_text(transport);
	switch (number) {
	case EADDRINUSE:
		describe_holder(transport, address, port, holder, sizeof(holder));
		return error_set(err, -EADDRINUSE,
				 "cannot answer DNS on %s port %u (%s): %s has it; stop that, or "
				 "listen on other addresses",
				 text, port, transport_name, holder);
	case EACCES:
	case EPERM:
		return error_set(err, -FL_EPRIVILEGE,
				 "cannot answer DNS on %s port %u (%s): ports below 1024 need the "
				 "capability CAP_NET_BIND_SERVICE; start as root, or grant it",
				 text, port, transport_name);
	case EADDRNOTAVAIL:
		return error_set(err, -EADDRNOTAVAIL,
				 "cannot answer DNS on %s (%s): this machine does not have that "
				 "address; add it to an interface, or listen on another",
				 text, transport_name);
	default:
		return error_set(err, -number, "cannot answer DNS on %s port %u (%s): %s", text,
				 port, transport_name, error_text(-number));
	}
}

static int make_socket(const struct ip_address *address, enum naming_transport transport)
{
	int type = transport == NAMING_UDP ? SOCK_DGRAM : SOCK_STREAM | SOCK_NONBLOCK;
	int fd = socket(address->family == IP_V6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

static int set(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int bind_to(int fd, const struct ip_address *address, uint16_t port)
{
	union sockaddr_ip place;
	socklen_t length = sockaddr_ip_set(&place, address, port);
	return bind(fd, &place.any, length) < 0 ? -errno : 0;
}

/* What both a probe and a real socket need for the same things to be in their way. */
static int set_common(int fd, const struct ip_address *address, enum naming_transport transport)
{
	int result = 0;
	if (address->family == IP_V6)
		result = set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	/* Past connections in TIME_WAIT are not in the way of a TCP listener, a live one is. UDP
	 * would share its port with others by this option. */
	if (result == 0 && transport == NAMING_TCP)
		result = set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	return result;
}

static int probe(const struct ip_address *address, uint16_t port, enum naming_transport transport,
		 uint16_t *ret_port)
{
	int fd = make_socket(address, transport);
	if (fd < 0)
		return fd;
	int result = set_common(fd, address, transport);
	if (result == 0)
		result = bind_to(fd, address, port);
	struct sockaddr_in6 bound = {0}; /* the port is at the same place for IPv4 */
	socklen_t length = sizeof(bound);
	if (result == 0 && getsockname(fd, (struct sockaddr *)&bound, &length) < 0)
		result = -errno;
	if (result == 0)
		*ret_port = ntohs(bound.sin6_port);
	close(fd);
	return result;
}

bool naming_address_is_here(const struct ip_address *address)
{
	uint16_t port;
	return probe(address, 0, NAMING_UDP, &port) != -EADDRNOTAVAIL;
}

int listen_probe(const struct naming_server_options *options, uint16_t port, struct error *err)
{
	for (size_t i = 0; i < options->address_count; i++)
		for (unsigned t = 0; t < NAMING_TRANSPORTS; t++) {
			uint16_t same;
			const struct ip_address *address = &options->addresses[i];
			int result = probe(address, port, (enum naming_transport)t, &same);
			if (result < 0)
				return bind_error(err, -result, address, port,
						  (enum naming_transport)t);
		}
	return 0;
}

int listen_pick_port(const struct naming_server_options *options, uint16_t *ret_port,
		     struct error *err)
{
	int result = probe(&options->addresses[0], 0, NAMING_UDP, ret_port);
	return result < 0 ? bind_error(err, -result, &options->addresses[0], 0, NAMING_UDP) : 0;
}

static void set_udp_options(int fd, bool v6, bool wildcard, int *result)
{
	if (*result == 0 && wildcard)
		*result = v6 ? set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
			     : set(fd, IPPROTO_IP, IP_PKTINFO, 1);
	/* Answers fit every link; a forged "too big" must not make us fragment them. */
	if (*result == 0)
		*result = v6 ? set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_OMIT)
			     : set(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_OMIT);
	/* A wish: FORCE needs CAP_NET_ADMIN, the other is cut to net.core.rmem_max. */
	if (*result == 0 && set(fd, SOL_SOCKET, SO_RCVBUFFORCE, UDP_BUFFER_BYTES) < 0)
		*result = set(fd, SOL_SOCKET, SO_RCVBUF, UDP_BUFFER_BYTES);
}

int listen_open(const struct ip_address *address, uint16_t port, enum naming_transport transport,
		int *ret_fd, struct error *err)
{
	int fd = make_socket(address, transport);
	int result = fd < 0 ? fd : set_common(fd, address, transport);
	if (result == 0)
		result = set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (result == 0 && transport == NAMING_UDP)
		set_udp_options(fd, address->family == IP_V6, is_wildcard(address), &result);
	/* Accepted sockets inherit the sizes. */
	if (result == 0 && transport == NAMING_TCP)
		result = set(fd, SOL_SOCKET, SO_SNDBUF, TCP_BUFFER_BYTES);
	if (result == 0 && transport == NAMING_TCP)
		result = set(fd, SOL_SOCKET, SO_RCVBUF, TCP_BUFFER_BYTES);
	if (result == 0)
		result = bind_to(fd, address, port);
	if (result == 0 && transport == NAMING_TCP && listen(fd, BACKLOG) < 0)
		result = -errno;
	if (result < 0) {
		if (fd >= 0)
			close(fd);
		return bind_error(err, -result, address, port, transport);
	}
	*ret_fd = fd;
	return 0;
}
