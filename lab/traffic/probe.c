// SPDX-License-Identifier: Apache-2.0
/*
 * probe IPV4 IPV6 PORT: 1,000 numbered UDP datagrams a second to each of two service addresses,
 * and a report of what came back.
 *
 * Each family's datagrams go out in turn over FLOWS sockets, that is flows, so that several
 * backends answer. Measured per *window*, which a line `mark NAME` on standard input begins:
 *
 *   lost    datagrams sent in the window and not answered within LOST_NS
 *   gap_ms  the longest time that one flow went without an answer, as if the sender had been
 *           punctual: what it overslept between the two datagrams is subtracted, and arrivals are
 *           stamped by the kernel, so that a busy machine is not taken for a broken network.
 *           A healthy flow shows its own spacing, FLOWS milliseconds
 *   moved   answers from another backend than the flow's first one
 *
 * Standard output gets a JSON line every REPORT_NS, {"window": NAME, "4": {...}, "6": {...}}, and
 * one with "final": true when the last datagram of a window is settled. End of input, or `stop`,
 * ends the program once all is settled.
 */
#include "datagram.h"

#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define FLOWS 8
#define FAMILIES 2
#define INTERVAL_NS 1000000LL
#define LOST_NS 1000000000LL
#define REPORT_NS 200000000LL
#define HISTORY 4096u /* datagrams that can be unsettled; over LOST_NS / INTERVAL_NS */
#define WINDOWS 64

struct tally {
	uint64_t sent, lost, moved;
	int64_t gap_ns;
};

struct window {
	char name[32];
	struct tally tallies[FAMILIES];
	uint64_t unsettled; /* datagrams of both families that may still be answered */
	bool closed, reported;
};

struct sent {
	int64_t at_ns;
	struct window *window; /* NULL once it is answered or given up */
};

struct flow {
	int fd;
	char backend[16]; /* that answered first; empty before */
	int64_t sent_ns, received_ns; /* of the last answer; 0: none yet */
	uint64_t number;
};

struct family {
	struct flow flows[FLOWS];
	struct sent history[HISTORY];
	uint64_t next, oldest; /* numbers; those before `oldest` are settled */
};

static struct family families[FAMILIES];
static struct window windows[WINDOWS];
static struct window *current = windows;

static int64_t now_ns(void)
{
	struct timespec now;

	/* The clock of SO_TIMESTAMPNS. */
	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000LL + now.tv_nsec;
}

static int flow_open(int domain, const char *address, uint16_t port)
{
	int on = 1;
	struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	const bool is_v4 = domain == AF_INET;
	void *target = is_v4 ? (void *)&v4.sin_addr : (void *)&v6.sin6_addr;
	const void *peer = is_v4 ? (const void *)&v4 : (const void *)&v6;
	int fd = socket(domain, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (inet_pton(domain, address, target) != 1)
		errx(2, "not an address: %s", address);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) < 0 ||
	    connect(fd, peer, is_v4 ? sizeof(v4) : sizeof(v6)) < 0)
		err(1, "socket to %s", address);
	return fd;
}

static void datagram_send(struct family *family, int64_t now)
{
	const uint64_t number = family->next++;
	struct flow *flow = &family->flows[number % FLOWS];
	struct datagram datagram = {
	    .magic = DATAGRAM_MAGIC,
	    .flow = (uint32_t)(number % FLOWS),
	    .number = number,
	};
	struct tally *tally = &current->tallies[family - families];

	family->history[number % HISTORY] = (struct sent){.at_ns = now, .window = current};
	current->unsettled++;
	tally->sent++;
	/* An error here (ECONNREFUSED by an earlier ICMP, no buffers) is a lost datagram. */
	(void)!send(flow->fd, &datagram, sizeof(datagram), 0);
}

static void gap_note(struct tally *tally, int64_t gap_ns)
{
	if (gap_ns > tally->gap_ns)
		tally->gap_ns = gap_ns;
}

/* Settle what was sent too long ago to be answered still. The gap it makes is known by number
 * alone, so that a flow which is never answered again shows one too. */
static void family_expire(struct family *family, int64_t now)
{
	for (; family->oldest < family->next; family->oldest++) {
		struct sent *sent = &family->history[family->oldest % HISTORY];

		if (sent->window && now - sent->at_ns < LOST_NS)
			return;
		if (!sent->window)
			continue;
		struct tally *tally = &sent->window->tallies[family - families];
		const struct flow *flow = &family->flows[family->oldest % FLOWS];

		tally->lost++;
		if (family->oldest > flow->number)
			gap_note(tally, (int64_t)(family->oldest - flow->number) * INTERVAL_NS);
		sent->window->unsettled--;
		sent->window = NULL;
	}
}

static void answer_count(struct family *family, struct flow *flow, const struct datagram *answer,
			 int64_t received_ns)
{
	struct sent *sent = &family->history[answer->number % HISTORY];

	/* An answer that comes after it was given up stays lost. */
	if (answer->number < family->oldest || answer->number >= family->next || !sent->window)
		return;
	struct tally *tally = &sent->window->tallies[family - families];
	if (!flow->backend[0])
		memcpy(flow->backend, answer->backend, sizeof(flow->backend));
	else if (memcmp(flow->backend, answer->backend, sizeof(flow->backend)) != 0)
		tally->moved++;
	if (flow->received_ns && answer->number > flow->number) {
		const int64_t planned = (int64_t)(answer->number - flow->number) * INTERVAL_NS;
		const int64_t overslept = sent->at_ns - flow->sent_ns - planned;

		gap_note(tally, received_ns - flow->received_ns - overslept);
	}
	flow->sent_ns = sent->at_ns;
	flow->received_ns = received_ns;
	flow->number = answer->number;
	sent->window->unsettled--;
	sent->window = NULL;
}

static int64_t message_stamp(struct msghdr *message)
{
	for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
	     header = CMSG_NXTHDR(message, header)) {
		struct timespec stamp;

		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_TIMESTAMPNS)
			continue;
		memcpy(&stamp, CMSG_DATA(header), sizeof(stamp));
		return (int64_t)stamp.tv_sec * 1000000000LL + stamp.tv_nsec;
	}
	return now_ns();
}

static void flow_receive(struct family *family, struct flow *flow)
{
	for (;;) {
		struct datagram answer;
		_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct timespec))];
		struct iovec iov = {.iov_base = &answer, .iov_len = sizeof(answer)};
		struct msghdr message = {
		    .msg_iov = &iov,
		    .msg_iovlen = 1,
		    .msg_control = control,
		    .msg_controllen = sizeof(control),
		};
		ssize_t size = recvmsg(flow->fd, &message, 0);

		if (size < 0 && errno == EAGAIN)
			return;
		if (size != sizeof(answer) || answer.magic != DATAGRAM_MAGIC)
			continue; /* an ICMP error of an earlier datagram, or not ours */
		answer_count(family, flow, &answer, message_stamp(&message));
	}
}

/* A name comes from the lab and needs no escaping. */
static void window_print(const struct window *window, bool final)
{
	printf("{\"window\": \"%s\", \"final\": %s", window->name, final ? "true" : "false");
	for (int i = 0; i < FAMILIES; i++) {
		const struct tally *tally = &window->tallies[i];

		printf(
		    ", \"%d\": {\"sent\": %llu, \"lost\": %llu, \"moved\": %llu, \"gap_ms\": %.1f}",
		    i ? 6 : 4, (unsigned long long)tally->sent, (unsigned long long)tally->lost,
		    (unsigned long long)tally->moved, (double)tally->gap_ns / 1e6);
	}
	printf("}\n");
	fflush(stdout);
}

static void windows_report(void)
{
	for (struct window *window = windows; window < current; window++) {
		if (window->reported || window->unsettled)
			continue;
		window->reported = true;
		window_print(window, true);
	}
	if (!current->closed)
		window_print(current, false);
}

static void window_next(const char *name)
{
	if (current == &windows[WINDOWS - 1])
		errx(1, "more than %d windows", WINDOWS);
	current->closed = true;
	current++;
	snprintf(current->name, sizeof(current->name), "%s", name);
}

/* Returns false when no more datagrams are wanted. */
static bool command_read(void)
{
	char line[64];

	if (!fgets(line, sizeof(line), stdin))
		return false;
	line[strcspn(line, "\n")] = '\0';
	if (strncmp(line, "mark ", 5) == 0)
		window_next(line + 5);
	return strcmp(line, "stop") != 0;
}

static bool everything_settled(void)
{
	for (const struct window *window = windows; window <= current; window++) {
		if (window->unsettled)
			return false;
	}
	return true;
}

static void send_due(int timer, bool sending, int64_t now)
{
	uint64_t due = 0;

	if (read(timer, &due, sizeof(due)) != sizeof(due) || !sending)
		return;
	/* What was overslept is made up for, within reason. */
	for (due = due < 100 ? due : 100; due; due--) {
		datagram_send(&families[0], now);
		datagram_send(&families[1], now);
	}
}

static void probe_run(int timer)
{
	struct pollfd polls[2 + FAMILIES * FLOWS] = {
	    {.fd = STDIN_FILENO, .events = POLLIN},
	    {.fd = timer, .events = POLLIN},
	};
	bool sending = true;
	int64_t next_report = now_ns() + REPORT_NS;

	for (int i = 0; i < FAMILIES * FLOWS; i++)
		polls[2 + i] = (struct pollfd){.fd = families[i / FLOWS].flows[i % FLOWS].fd,
					       .events = POLLIN};
	while (sending || !everything_settled()) {
		if (poll(polls, 2 + FAMILIES * FLOWS, -1) < 0 && errno != EINTR)
			err(1, "poll");
		const int64_t now = now_ns();
		if (polls[1].revents)
			send_due(timer, sending, now);
		for (int i = 0; i < FAMILIES * FLOWS; i++) {
			if (polls[2 + i].revents)
				flow_receive(&families[i / FLOWS],
					     &families[i / FLOWS].flows[i % FLOWS]);
		}
		for (int i = 0; i < FAMILIES; i++)
			family_expire(&families[i], now);
		if (polls[0].revents && !command_read()) {
			sending = false;
			polls[0].fd = -1;
		}
		if (now >= next_report) {
			windows_report();
			next_report = now + REPORT_NS;
		}
	}
	window_next("");
	current->closed = true;
	windows_report();
}

int main(int argc, char **argv)
{
	const struct sched_param soon = {.sched_priority = 1};
	const struct itimerspec every = {
	    .it_interval.tv_nsec = INTERVAL_NS,
	    .it_value.tv_nsec = INTERVAL_NS,
	};
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

	if (argc != 4)
		errx(2, "usage: probe IPV4 IPV6 PORT");
	setvbuf(stdin, NULL, _IONBF, 0); /* poll() must see every line */
	snprintf(current->name, sizeof(current->name), "start");
	for (int i = 0; i < FAMILIES * FLOWS; i++)
		families[i / FLOWS].flows[i % FLOWS].fd = flow_open(
		    i < FLOWS ? AF_INET : AF_INET6, argv[1 + i / FLOWS], (uint16_t)atoi(argv[3]));
	if (sched_setscheduler(0, SCHED_FIFO, &soon) < 0)
		warn("no real-time priority");
	if (timer < 0 || timerfd_settime(timer, 0, &every, NULL) < 0)
		err(1, "timer");
	probe_run(timer);
	return 0;
}
