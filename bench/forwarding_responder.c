// SPDX-License-Identifier: Apache-2.0
/*
 * responder PORT NAME: a TCP service on a backend. It answers each request, which is
 * FORWARDING_REQUEST bytes, with the same bytes but for its own NAME in the middle of them.
 */
#include "bench/forwarding_request.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 64

static int listen_on(uint16_t port)
{
	int on = 1, off = 0;
	const struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
	    bind(fd, (const struct sockaddr *)&any, sizeof(any)) < 0 || listen(fd, 4096) < 0)
		err(1, "TCP port %u", port);
	return fd;
}

static void watch(int epoll, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		err(1, "epoll_ctl");
}

static void accept_all(int epoll, int listener)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
		watch(epoll, fd);
}

/* Answer one request. Requests are small and come one at a time, so each arrives whole. */
static void answer(int fd, const char *name)
{
	struct forwarding_request request;
	ssize_t size = recv(fd, &request, sizeof(request), 0);

	if (size < 0 && errno == EAGAIN)
		return;
	if (size != sizeof(request)) {
		close(fd);
		return;
	}
	strncpy(request.backend, name, sizeof(request.backend) - 1);
	if (send(fd, &request, sizeof(request), MSG_NOSIGNAL) != sizeof(request))
		close(fd);
}

int main(int argc, char **argv)
{
	struct epoll_event events[EVENTS];

	if (argc != 3)
		errx(2, "usage: responder PORT NAME");
	int listener = listen_on((uint16_t)atoi(argv[1]));
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	if (epoll < 0)
		err(1, "epoll");
	watch(epoll, listener);
	for (;;) {
		int count = epoll_wait(epoll, events, EVENTS, -1);
		for (int i = 0; i < count; i++) {
			if (events[i].data.fd == listener)
				accept_all(epoll, listener);
			else
				answer(events[i].data.fd, argv[2]);
		}
	}
}
