// SPDX-License-Identifier: Apache-2.0
/*
 * echo PORT NAME: a UDP service on a backend. It answers each datagram with its own name in it,
 * from the address the datagram was sent to: a UDP server that leaves this to the kernel replies
 * from the machine's address, which the client never spoke to. One dual-stack socket serves both
 * families, so IPv4 is seen as ::ffff:a.b.c.d and IPV6_PKTINFO carries it.
 */
#include "datagram.h"

#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static int echo_open(uint16_t port)
{
	int off = 0, on = 1;
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&any, sizeof(any)) < 0)
		err(1, "UDP port %u", port);
	return fd;
}

/* Answer one datagram. The control message that came with it, stripped of the interface, says
 * from where the reply goes; the interface would be the tunnel's, and the reply goes by routes. */
static void echo_once(int fd, const char *name)
{
	struct datagram datagram;
	struct sockaddr_in6 peer;
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct in6_pktinfo))];
	struct iovec iov = {.iov_base = &datagram, .iov_len = sizeof(datagram)};
	struct msghdr message = {
	    .msg_name = &peer,
	    .msg_namelen = sizeof(peer),
	    .msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = control,
	    .msg_controllen = sizeof(control),
	};
	ssize_t size = recvmsg(fd, &message, 0);

	if (size < 0)
		err(1, "recvmsg");
	if (size != sizeof(datagram) || datagram.magic != DATAGRAM_MAGIC)
		return;
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (header && header->cmsg_type == IPV6_PKTINFO) {
		struct in6_pktinfo info;
		memcpy(&info, CMSG_DATA(header), sizeof(info));
		info.ipi6_ifindex = 0;
		memcpy(CMSG_DATA(header), &info, sizeof(info));
	}
	snprintf(datagram.backend, sizeof(datagram.backend), "%s", name);
	if (sendmsg(fd, &message, 0) < 0)
		warn("sendmsg");
}

int main(int argc, char **argv)
{
	/* The probe measures the network, not how busy the machine is. */
	const struct sched_param soon = {.sched_priority = 1};

	if (argc != 3)
		errx(2, "usage: echo PORT NAME");
	if (sched_setscheduler(0, SCHED_FIFO, &soon) < 0)
		warn("no real-time priority");
	int fd = echo_open((uint16_t)atoi(argv[1]));
	for (;;)
		echo_once(fd, argv[2]);
}
