/* SPDX-License-Identifier: Apache-2.0 */
#include "peer/listener.h"

#include "base/sockaddr.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A socket that listens, or a negative errno. */
static int listen_at(const struct ip_address *address, uint16_t port)
{
	union sockaddr_ip place;
	const socklen_t length = sockaddr_ip_set(&place, address, port);
	const int on = 1, off = 0;
	int fd = socket(place.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (address->family == IP_NONE)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(fd, &place.any, length) < 0 || listen(fd, PEER_LISTEN_BACKLOG) < 0) {
		int code = -errno;
		close(fd);
		return code;
	}
	return fd;
}

int peer_listener_open(const struct ip_address *address, uint16_t port, int *ret_fd,
		       uint16_t *ret_port, struct error *err)
{
	const struct ip_address any_v4 = {.family = IP_V4};
	struct sockaddr_in6 name = {0}; /* the port lies where IPv4 has it */
	socklen_t size = sizeof(name);
	int fd = listen_at(address, port);
	/* A kernel without IPv6. */
	if (fd == -EAFNOSUPPORT && address->family == IP_NONE)
		fd = listen_at(&any_v4, port);
	if (fd < 0)
		return error_set(err, fd,
				 "the node channel cannot have port %u: %s; give it another one, "
				 "or end who has it (ss -ltnp)",
				 port, error_text(fd));
	getsockname(fd, (struct sockaddr *)&name, &size);
	*ret_fd = fd;
	*ret_port = ntohs(name.sin6_port);
	return 0;
}
