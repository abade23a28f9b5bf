// SPDX-License-Identifier: Apache-2.0
/*
 * prober ADDRESS PORT FLOWS SECONDS: how long a service takes to answer.
 *
 * It opens FLOWS connections and sends one request after the other, each on the next of them, each
 * when the one before was answered; so it measures the way there and back, not how much fits on it.
 * After every NEW_EVERY requests it opens one more connection, sends a request on that, and closes
 * it: the time from the first packet to the answer is a sample of its own kind. Every answer is
 * compared with its request. A flow that gets none for STALL_S seconds ends the run with an error:
 * such a flow is broken.
 *
 * Prints {"established": {"count": …, "p50": …, "p99": …, "p999": …, "max": …}, "new": {…}}, in
 * microseconds.
 */
#include "bench/forwarding_request.h"

#include <arpa/inet.h>
#include <err.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FLOWS_MAX 1024
#define NEW_EVERY 16
#define SAMPLES (1u << 20) /* of each kind; those beyond are not kept */
#define STALL_S 3

struct samples {
	uint32_t ns[SAMPLES];
	size_t count;
};

static struct samples established, fresh;

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void add(struct samples *samples, uint64_t since_ns)
{
	uint64_t took = now_ns() - since_ns;

	if (samples->count < SAMPLES)
		samples->ns[samples->count++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
}

static int open_flow(const struct sockaddr_in *service)
{
	const struct timeval stall = {.tv_sec = STALL_S};
	/* Closed by a reset: the forwarder may be gone before the last packet of a longer goodbye,
	 * and the backend's end would then be counted as a connection for minutes. */
	const struct linger reset = {.l_onoff = 1};
	int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &stall, sizeof(stall)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &stall, sizeof(stall)) < 0)
		err(1, "socket");
	if (connect(fd, (const struct sockaddr *)service, sizeof(*service)) < 0)
		err(1, "connect");
	return fd;
}

static void ask(int fd)
{
	static struct forwarding_request request;
	struct forwarding_request answer;

	request.number++;
	if (send(fd, &request, sizeof(request), MSG_NOSIGNAL) != sizeof(request))
		err(1, "send");
	if (recv(fd, &answer, sizeof(answer), MSG_WAITALL) != sizeof(answer))
		err(1, "a flow broke: no answer");
	memset(answer.backend, 0, sizeof(answer.backend));
	if (memcmp(&answer, &request, sizeof(answer)) != 0)
		errx(1, "a flow broke: the answer is not to what was asked");
}

static int compare(const void *left, const void *right)
{
	uint32_t one = *(const uint32_t *)left, other = *(const uint32_t *)right;

	return (one > other) - (one < other);
}

static double quantile_us(const struct samples *samples, double share)
{
	return samples->ns[(size_t)((double)(samples->count - 1) * share)] / 1e3;
}

static void print_samples(const char *name, struct samples *samples)
{
	if (samples->count == 0)
		errx(1, "nothing was measured");
	qsort(samples->ns, samples->count, sizeof(samples->ns[0]), compare);
	printf(
	    "\"%s\": {\"count\": %zu, \"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f}",
	    name, samples->count, quantile_us(samples, 0.5), quantile_us(samples, 0.99),
	    quantile_us(samples, 0.999), quantile_us(samples, 1));
}

static void probe(const struct sockaddr_in *service, int flow)
{
	static uint64_t asked;
	uint64_t began = now_ns();
	ask(flow);
	add(&established, began);
	if (++asked % NEW_EVERY)
		return;
	began = now_ns();
	int fd = open_flow(service);
	ask(fd);
	add(&fresh, began);
	close(fd);
}

int main(int argc, char **argv)
{
	struct sockaddr_in service = {.sin_family = AF_INET};
	int flows[FLOWS_MAX];

	if (argc != 5 || inet_pton(AF_INET, argv[1], &service.sin_addr) != 1)
		errx(2, "usage: prober ADDRESS PORT FLOWS SECONDS");
	service.sin_port = htons((uint16_t)atoi(argv[2]));
	int count = atoi(argv[3]);
	if (count < 1 || count > FLOWS_MAX)
		errx(2, "1 to %d flows", FLOWS_MAX);
	for (int i = 0; i < count; i++) {
		flows[i] = open_flow(&service);
		ask(flows[i]);
	}
	uint64_t end = now_ns() + (uint64_t)(atof(argv[4]) * 1e9);
	for (int i = 0; now_ns() < end; i = (i + 1) % count)
		probe(&service, flows[i]);
	fputs("{", stdout);
	print_samples("established", &established);
	fputs(", ", stdout);
	print_samples("new", &fresh);
	puts("}");
	return 0;
}
