// SPDX-License-Identifier: Apache-2.0
/*
 * naming_load ADDRESS PORT FILE MILLISECONDS RATE WINDOW: DNS queries from one UDP socket, as the
 * benchmark of the naming plane wants them, and one line about what came back.
 *
 * FILE holds the queries, each after its length in 16 bits as over TCP; they are sent in order, and
 * again from the beginning, each with an identifier of its own.
 *
 *   RATE > 0   so many a second, each alone, at intervals drawn from an exponential distribution:
 *              what many clients who know nothing of each other send. After a standstill of this
 *              program (LATE_NS) it goes on from there: what was missed would come as one burst.
 *              WINDOW is unused
 *   RATE = 0   as many as the server takes: WINDOW queries are always on their way
 *
 * It never sleeps and never waits for a socket. So a server that sends an answer wakes nobody,
 * which would be charged to the server, and differently to one that answers in batches.
 *
 * Standard output: {"sent": …, "received": …, "wrong": …, "ns": …}. Wrong is an answer that is not
 * exactly one record with NOERROR; an answer that is not here SETTLE_NS after the last query is
 * lost, and not received. The program is short-lived, and ends at the first surprise.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

enum {
	BATCH = 32,
	MESSAGE_MAX = 512,
	ANSWER_MAX = 1232,
	HEADER_BYTES = 12,
	RECEIVE_EVERY_NS = 10000, /* asking an empty socket is a system call, too */
	LATE_NS = 200000,
	SETTLE_NS = 100000000, /* after so long without an answer, what is missing is lost */
	SOCKET_BUFFER_BYTES = 4 << 20,
};

/* The queries of the file, one after the other; the identifier is written into them in place. */
struct queries {
	uint8_t *bytes;
	size_t size, at;
	uint16_t next_id;
};

struct load {
	int fd;
	struct queries queries;
	uint64_t sent, received, wrong, lost;
	int64_t last_answer_ns;
	struct mmsghdr in[BATCH], out[BATCH];
	struct iovec in_vector[BATCH], out_vector[BATCH];
	uint8_t answers[BATCH][ANSWER_MAX];
};

static int64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void read_queries(const char *path, struct queries *ret)
{
	struct stat status;
	FILE *file = fopen(path, "rb");
	if (!file || fstat(fileno(file), &status) < 0)
		err(1, "%s", path);
	*ret = (struct queries){.size = (size_t)status.st_size};
	ret->bytes = malloc(ret->size + 1);
	if (!ret->bytes || fread(ret->bytes, 1, ret->size, file) != ret->size)
		err(1, "%s", path);
	fclose(file);

	size_t at = 0;
	while (ret->size - at >= 2) {
		size_t length = (size_t)(ret->bytes[at] << 8 | ret->bytes[at + 1]);
		if (length < HEADER_BYTES || length > MESSAGE_MAX || ret->size - at - 2 < length)
			break;
		at += 2 + length;
	}
	if (ret->size == 0 || at != ret->size)
		errx(1, "%s: not a list of queries, or none", path);
}

static struct iovec next_query(struct queries *queries)
{
	uint8_t *at = queries->bytes + queries->at;
	size_t length = (size_t)(at[0] << 8 | at[1]);
	at[2] = (uint8_t)(queries->next_id >> 8);
	at[3] = (uint8_t)queries->next_id++;
	queries->at += 2 + length;
	if (queries->at == queries->size)
		queries->at = 0;
	return (struct iovec){at + 2, length};
}

/* Send `count` queries; what the socket does not take is sent by a later call. */
static void send_queries(struct load *load, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		load->out_vector[i] = next_query(&load->queries);
		load->out[i].msg_hdr =
		    (struct msghdr){.msg_iov = &load->out_vector[i], .msg_iovlen = 1};
	}
	for (unsigned sent = 0; sent < count;) {
		int now = sendmmsg(load->fd, load->out + sent, count - sent, 0);
		if (now < 0 && errno != EAGAIN && errno != EINTR)
			err(1, "sendmmsg");
		if (now > 0)
			sent += (unsigned)now;
	}
	load->sent += count;
}

static bool is_right(const uint8_t *answer, size_t length)
{
	return length >= HEADER_BYTES && (answer[2] & 0x80) && /* QR */
	       (answer[3] & 0x0f) == 0 && /* NOERROR */
	       answer[6] == 0 && answer[7] == 1; /* ANCOUNT */
}

static void receive_answers(struct load *load)
{
	int got = recvmmsg(load->fd, load->in, BATCH, MSG_DONTWAIT, NULL);
	if (got < 0 && errno != EAGAIN && errno != EINTR)
		err(1, "recvmmsg");
	for (int i = 0; i < got; i++) {
		load->received++;
		if (!is_right(load->answers[i], load->in[i].msg_len))
			load->wrong++;
	}
	if (got > 0)
		load->last_answer_ns = now_ns();
}

static uint64_t on_their_way(const struct load *load)
{
	return load->sent - load->received - load->lost;
}

static int64_t random_gap_ns(double rate)
{
	return (int64_t)(-log(1.0 - drand48()) / rate * 1e9);
}

static void send_at_rate(struct load *load, double rate, int64_t end_ns)
{
	int64_t due_ns = now_ns(), received_ns = due_ns;
	for (int64_t at_ns = due_ns; at_ns < end_ns; at_ns = now_ns()) {
		if (at_ns >= due_ns) {
			send_queries(load, 1);
			due_ns = (at_ns - due_ns < LATE_NS ? due_ns : at_ns) + random_gap_ns(rate);
		}
		if (at_ns - received_ns >= RECEIVE_EVERY_NS && on_their_way(load) > 0) {
			receive_answers(load);
			received_ns = at_ns;
		}
	}
}

static void keep_window(struct load *load, unsigned window, int64_t end_ns)
{
	load->last_answer_ns = now_ns();
	for (int64_t at_ns; (at_ns = now_ns()) < end_ns;) {
		uint64_t room = window - on_their_way(load);
		if (room > 0)
			send_queries(load, room < BATCH ? (unsigned)room : BATCH);
		receive_answers(load);
		if (at_ns - load->last_answer_ns > SETTLE_NS) {
			load->lost += on_their_way(load);
			load->last_answer_ns = at_ns;
		}
	}
}

static void settle(struct load *load)
{
	load->last_answer_ns = now_ns();
	while (on_their_way(load) > 0 && now_ns() - load->last_answer_ns < SETTLE_NS)
		receive_answers(load);
}

static int connect_to(const char *address, const char *port)
{
	struct sockaddr_in server = {.sin_family = AF_INET,
				     .sin_port = htons((uint16_t)atoi(port))};
	if (inet_pton(AF_INET, address, &server.sin_addr) != 1)
		errx(2, "%s: not an IPv4 address", address);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int size = SOCKET_BUFFER_BYTES;
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0 ||
	    connect(fd, (const struct sockaddr *)&server, sizeof(server)) < 0)
		err(1, "%s port %s", address, port);
	return fd;
}

int main(int argc, char **argv)
{
	static struct load load;
	if (argc != 7)
		errx(2, "usage: naming_load ADDRESS PORT FILE MILLISECONDS RATE WINDOW");
	long milliseconds = atol(argv[4]), window = atol(argv[6]);
	double rate = atof(argv[5]);
	if (milliseconds <= 0 || rate < 0 || (rate == 0 && (window <= 0 || window > 65536)))
		errx(2, "naming_load: a number is out of range");
	read_queries(argv[3], &load.queries);
	load.fd = connect_to(argv[1], argv[2]);
	for (unsigned i = 0; i < BATCH; i++) {
		load.in_vector[i] = (struct iovec){load.answers[i], ANSWER_MAX};
		load.in[i].msg_hdr =
		    (struct msghdr){.msg_iov = &load.in_vector[i], .msg_iovlen = 1};
	}

	int64_t start_ns = now_ns(), end_ns = start_ns + milliseconds * 1000000;
	if (rate > 0)
		send_at_rate(&load, rate, end_ns);
	else
		keep_window(&load, (unsigned)window, end_ns);
	int64_t taken_ns = now_ns() - start_ns;
	settle(&load);
	printf("{\"sent\": %lu, \"received\": %lu, \"wrong\": %lu, \"ns\": %ld}\n", load.sent,
	       load.received, load.wrong, taken_ns);
	return 0;
}
