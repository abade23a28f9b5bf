/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name server over real sockets on the loopback: both transports, clients that are slow, many
 * or rude, and a snapshot swapped under load without a lost or mixed answer.
 */
#include "base/random.h"
#include "naming/server.h"
#include "tests/addresses.h"
#include "wire/dns.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define PATIENCE_MS 10000 /* for anything that must happen */

/* A zone whose every answer tells the generation: "w" is 192.0.2.G and 2001:db8::G, counted in
 * slot G; "many" of 16 addresses makes an answer of half a kilobyte. A network gets `rate` answers
 * a second over UDP; 0: all. */
static struct naming_snapshot *limited_zone(uint8_t generation, uint32_t rate)
{
	struct ip_address many[16];
	for (unsigned i = 0; i < COUNT(many); i++) {
		many[i] = address("2001:db8::");
		many[i].bytes[15] = (uint8_t)i;
	}
	struct naming_nameserver nameserver = {"many.z", many, COUNT(many)};
	struct naming_share share = {.upper = 65536,
				     .v4 = address("192.0.2.0"),
				     .v6 = address("2001:db8::"),
				     .version = generation,
				     .held = true};
	share.v4.bytes[3] = share.v6.bytes[15] = generation;
	struct naming_service service = {.name = "w", .shares = &share, .share_count = 1};
	struct naming_input input = {.zone = "z",
				     .serial = generation,
				     .contact = "h.z",
				     .rate = rate,
				     .nameservers = &nameserver,
				     .nameserver_count = 1,
				     .services = &service,
				     .service_count = 1};
	struct naming_snapshot *snapshot;
	assert_int_equal(naming_snapshot_build(&input, &snapshot, NULL), 0);
	return snapshot;
}

static struct naming_snapshot *zone(uint8_t generation)
{
	return limited_zone(generation, 0);
}

static struct naming_server *open_server(struct naming_server_options options)
{
	struct naming_server *server;
	struct error err = {0};
	if (naming_server_open(&options, &server, &err) < 0)
		fail_msg("%s", err.text);
	return server;
}

static struct naming_server *open_on(const char *text, unsigned threads)
{
	struct ip_address listen = address(text);
	return open_server((struct naming_server_options){
	    .addresses = &listen, .address_count = 1, .threads = threads});
}

/* One thread on the loopback, which answers by zone(1). */
static struct naming_server *open_serving(void)
{
	struct naming_server *server = open_on("127.0.0.1", 1);
	naming_server_swap(server, zone(1));
	return server;
}

static uint64_t results(const struct naming_server *server, enum naming_qtype qtype,
			enum naming_result result, enum naming_transport transport)
{
	struct naming_counters counters;
	naming_server_counters(server, &counters);
	return counters.answers[qtype][result][transport];
}

static struct naming_counters counters_of(const struct naming_server *server)
{
	struct naming_counters counters;
	naming_server_counters(server, &counters);
	return counters;
}

/* ---- a client ---- */

static int client(const char *server_text, uint16_t port, int type)
{
	struct ip_address server = address(server_text);
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} to = {0};
	socklen_t length = sizeof(to.v4);
	if (server.family == IP_V4) {
		to.v4.sin_family = AF_INET;
		to.v4.sin_port = htons(port);
		memcpy(&to.v4.sin_addr, server.bytes, 4);
	} else {
		length = sizeof(to.v6);
		to.v6.sin6_family = AF_INET6;
		to.v6.sin6_port = htons(port);
		memcpy(&to.v6.sin6_addr, server.bytes, 16);
	}
	int fd = socket(to.any.sa_family, type | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		fail_msg("socket: %s", strerror(errno));
		abort(); /* not reached; for the analyzer */
	}
	struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
	/* Connected: the kernel passes only what comes from the address that was asked. */
	assert_int_equal(connect(fd, &to.any, length), 0);
	return fd;
}

static size_t make_query(uint8_t *bytes, uint16_t id, const char *labels, unsigned type)
{
	struct dns_name name;
	assert_int_equal(dns_name_parse(labels, &name), 0);
	memcpy(bytes, "\0\0\0\0\0\1\0\0\0\0\0\0", 12);
	dns_put_u16(bytes, id);
	memcpy(bytes + 12, name.bytes, name.length);
	dns_put_u16(bytes + 12 + name.length, type);
	dns_put_u16(bytes + 14 + name.length, DNS_CLASS_IN);
	return 16u + name.length;
}

static void send_udp(int fd, uint16_t id, const char *name, unsigned type)
{
	uint8_t query[600];
	size_t length = make_query(query, id, name, type);
	assert_int_equal(send(fd, query, length, 0), length);
}

static size_t receive_udp(int fd, uint8_t *answer, size_t size)
{
	ssize_t got = recv(fd, answer, size, 0);
	if (got < 0)
		fail_msg("no answer: %s", strerror(errno));
	return (size_t)got;
}

/* The generation that an answer about "w.z" tells, whose shape is checked. */
static unsigned generation_of(const uint8_t *answer, size_t length, uint16_t id, bool a)
{
	size_t expected = 12 + 9 + (a ? 16 : 28);
	if (length != expected || dns_get_u16(answer) != id ||
	    dns_get_u16(answer + 2) != (DNS_FLAG_QR | DNS_FLAG_AA) || dns_get_u16(answer + 6) != 1)
		fail_msg("answer of %zu bytes, id %04x, flags %04x", length, dns_get_u16(answer),
			 dns_get_u16(answer + 2));
	return answer[length - 1];
}

static unsigned ask_udp(int fd, uint16_t id)
{
	uint8_t answer[1500];
	send_udp(fd, id, "w.z", DNS_A);
	return generation_of(answer, receive_udp(fd, answer, sizeof(answer)), id, true);
}

static void receive_exactly(int fd, uint8_t *bytes, size_t length)
{
	for (size_t got = 0; got < length;) {
		ssize_t now = recv(fd, bytes + got, length - got, 0);
		if (now <= 0)
			fail_msg("%zu of %zu bytes came: %s", got, length,
				 now ? strerror(errno) : "closed");
		got += (size_t)now;
	}
}

static size_t receive_tcp(int fd, uint8_t *answer)
{
	uint8_t length[2];
	receive_exactly(fd, length, 2);
	receive_exactly(fd, answer, dns_get_u16(length));
	return dns_get_u16(length);
}

static size_t frame(uint8_t *bytes, uint16_t id, const char *name, unsigned type)
{
	size_t length = make_query(bytes + 2, id, name, type);
	dns_put_u16(bytes, (unsigned)length);
	return length + 2;
}

static unsigned ask_tcp(int fd, uint16_t id)
{
	uint8_t bytes[1500];
	size_t length = frame(bytes, id, "w.z", DNS_A);
	assert_int_equal(send(fd, bytes, length, MSG_NOSIGNAL), length);
	return generation_of(bytes, receive_tcp(fd, bytes), id, true);
}

/* Whether the server closes the connection, in an orderly way or not. */
static bool is_closed(int fd)
{
	uint8_t byte;
	ssize_t got = recv(fd, &byte, 1, 0);
	return got == 0 || (got < 0 && errno == ECONNRESET);
}

#define wait_for(condition)                                                                        \
	do {                                                                                       \
		int left_ms = PATIENCE_MS;                                                         \
		while (!(condition) && left_ms-- > 0)                                              \
			poll(NULL, 0, 1);                                                          \
		if (left_ms <= 0)                                                                  \
			fail_msg("never came true: %s", #condition);                               \
	} while (0)

/* ---- UDP ---- */

static void it_answers_and_counts_over_both_families(void **state)
{
	(void)state;
	struct ip_address listens[] = {address("127.0.0.1"), address("::1")};
	struct naming_server *server = open_server(
	    (struct naming_server_options){.addresses = listens, .address_count = 2, .threads = 2});
	uint16_t port = naming_server_port(server);
	int v4 = client("127.0.0.1", port, SOCK_DGRAM), v6 = client("::1", port, SOCK_DGRAM);
	uint8_t answer[1500];

	/* Before the first snapshot. */
	send_udp(v4, 1, "w.z", DNS_A);
	receive_udp(v4, answer, sizeof(answer));
	assert_int_equal(answer[3] & 0xf, DNS_SERVFAIL);

	naming_server_swap(server, zone(7));
	assert_int_equal(ask_udp(v4, 2), 7);
	assert_int_equal(ask_udp(v6, 3), 7);
	send_udp(v6, 4, "w.z", DNS_AAAA);
	assert_int_equal(generation_of(answer, receive_udp(v6, answer, sizeof(answer)), 4, false),
			 7);
	send_udp(v6, 5, "no.z", DNS_A);
	receive_udp(v6, answer, sizeof(answer));
	/* What gets no answer is counted; what follows is answered. */
	assert_int_equal(send(v4, "short", 5, 0), 5);
	static uint8_t oversized[NAMING_QUERY_MAX + 1];
	assert_int_equal(send(v4, oversized, sizeof(oversized), 0), sizeof(oversized));
	send_udp(v4, 6, "many.z", DNS_AAAA);
	receive_udp(v4, answer, sizeof(answer));
	assert_int_equal(answer[2] & 2, 0); /* 16 × 28 + 24 bytes fit */

	struct naming_counters counters;
	wait_for((counters = counters_of(server)).drops[NAMING_DROP_OVERSIZED] == 1);
	assert_int_equal(counters.drops[NAMING_DROP_SHORT], 1);
	assert_int_equal(counters.answers[NAMING_QTYPE_A][NAMING_RESULT_DATA][NAMING_UDP], 2);
	assert_int_equal(counters.answers[NAMING_QTYPE_A][NAMING_RESULT_SERVFAIL][NAMING_UDP], 1);
	assert_int_equal(counters.answers[NAMING_QTYPE_A][NAMING_RESULT_NXDOMAIN][NAMING_UDP], 1);
	assert_int_equal(counters.answers[NAMING_QTYPE_AAAA][NAMING_RESULT_DATA][NAMING_UDP], 2);
	assert_int_equal(counters.swaps, 1);
	close(v4);
	close(v6);
	naming_server_close(server);
}

static void a_wildcard_answers_from_the_address_that_was_asked(void **state)
{
	(void)state;
	struct ip_address listens[] = {address("0.0.0.0"), address("::")};
	struct naming_server *server = open_server(
	    (struct naming_server_options){.addresses = listens, .address_count = 2, .threads = 1});
	naming_server_swap(server, zone(1));
	uint16_t port = naming_server_port(server);
	/* The client's socket is connected, so an answer from 127.0.0.1 would not reach it. */
	static const char *const asked[] = {"127.0.0.1", "127.0.0.2", "127.9.9.9", "::1"};
	for (size_t i = 0; i < COUNT(asked); i++) {
		int fd = client(asked[i], port, SOCK_DGRAM);
		assert_int_equal(ask_udp(fd, (uint16_t)i), 1);
		close(fd);
		fd = client(asked[i], port, SOCK_STREAM);
		assert_int_equal(ask_tcp(fd, (uint16_t)i), 1);
		close(fd);
	}
	naming_server_close(server);
}

static void a_burst_is_answered_whole(void **state)
{
	(void)state;
	struct naming_server *server = open_serving();
	int fd = client("127.0.0.1", naming_server_port(server), SOCK_DGRAM);
	enum { BURST = 150 }; /* more than two batches; fits the client's default buffer */
	bool seen[BURST] = {false};
	for (uint16_t i = 0; i < BURST; i++)
		send_udp(fd, i, i % 3 ? "w.z" : "no.z", DNS_A);
	for (unsigned i = 0; i < BURST; i++) {
		uint8_t answer[1500];
		receive_udp(fd, answer, sizeof(answer));
		unsigned id = dns_get_u16(answer);
		assert_true(id < BURST && !seen[id]);
		assert_int_equal(answer[3] & 0xf, id % 3 ? DNS_NOERROR : DNS_NXDOMAIN);
		seen[id] = true;
	}
	close(fd);
	naming_server_close(server);
}

/* ---- swapping ---- */

struct load {
	const struct naming_server *server;
	unsigned asked; /* set at the end */
	bool over_tcp;
	unsigned newest; /* generation swapped in; atomic */
	bool stop; /* atomic */
	const char *failure;
};

/* Asks as fast as it gets answers. Every query gets one, none is older than what was current when
 * it was sent, and none is from a generation not yet there. */
static void *run_load(void *argument)
{
	struct load *load = argument;
	uint16_t port = naming_server_port(load->server);
	int fd = client("127.0.0.1", port, load->over_tcp ? SOCK_STREAM : SOCK_DGRAM);
	while (!__atomic_load_n(&load->stop, __ATOMIC_SEQ_CST)) {
		uint8_t bytes[600];
		unsigned before = __atomic_load_n(&load->newest, __ATOMIC_SEQ_CST);
		size_t length = frame(bytes, (uint16_t)load->asked, "w.z", DNS_A);
		size_t skip = load->over_tcp ? 0 : 2;
		if (send(fd, bytes + skip, length - skip, MSG_NOSIGNAL) < 0)
			load->failure = "send";
		ssize_t got = recv(fd, bytes + skip, sizeof(bytes) - skip, 0);
		unsigned after = __atomic_load_n(&load->newest, __ATOMIC_SEQ_CST);
		if (got != (ssize_t)(2 - skip + 37))
			load->failure = "an answer was lost";
		else if (dns_get_u16(bytes + 2) != (uint16_t)load->asked)
			load->failure = "an answer to another query";
		else if (bytes[2 + 36] < before || bytes[2 + 36] > after + 1)
			load->failure = "an answer of another generation";
		if (load->failure)
			break;
		load->asked++;
	}
	close(fd);
	return NULL;
}

/* With data, over both transports. */
static uint64_t answers_of(const struct naming_server *server)
{
	const struct naming_counters counters = counters_of(server);
	uint64_t sum = 0;
	for (int q = 0; q < NAMING_QTYPE_COUNT; q++) {
		for (int t = 0; t < NAMING_TRANSPORTS; t++)
			sum += counters.answers[q][NAMING_RESULT_DATA][t];
	}
	return sum;
}

static void a_swap_under_load_loses_no_answer(void **state)
{
	(void)state;
	struct naming_server *server = open_on("127.0.0.1", 2);
	naming_server_swap(server, zone(1));
	struct load loads[4];
	pthread_t threads[COUNT(loads)];
	for (size_t i = 0; i < COUNT(loads); i++) {
		loads[i] = (struct load){.server = server, .over_tcp = i % 2, .newest = 1};
		assert_int_equal(pthread_create(&threads[i], NULL, run_load, &loads[i]), 0);
	}
	enum { SWAPS = 250 };
	for (unsigned generation = 2; generation <= SWAPS; generation++) {
		naming_server_swap(server, zone((uint8_t)generation));
		for (size_t i = 0; i < COUNT(loads); i++)
			__atomic_store_n(&loads[i].newest, generation, __ATOMIC_SEQ_CST);
		/* Let every client see some of it. */
		uint64_t before = answers_of(server);
		wait_for(answers_of(server) > before || loads[0].failure || loads[1].failure);
	}
	/* Then as fast as it goes, so that a block freed too early is one that is being read. */
	for (unsigned i = 0; i < 5000; i++)
		naming_server_swap(server, zone(SWAPS));
	unsigned asked = 0;
	for (size_t i = 0; i < COUNT(loads); i++)
		__atomic_store_n(&loads[i].stop, true, __ATOMIC_SEQ_CST);
	for (size_t i = 0; i < COUNT(loads); i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		if (loads[i].failure)
			fail_msg("client %zu after %u queries: %s", i, loads[i].asked,
				 loads[i].failure);
		asked += loads[i].asked;
	}
	assert_true(asked > 2 * SWAPS);
	assert_int_equal(answers_of(server), asked);
	naming_server_close(server);
}

/* ---- TCP ---- */

static void pipelined_queries_are_answered_in_order(void **state)
{
	(void)state;
	struct naming_server *server = open_serving();
	int fd = client("127.0.0.1", naming_server_port(server), SOCK_STREAM);
	uint8_t bytes[4000];
	size_t length = 0;
	for (uint16_t i = 0; i < 100; i++)
		length += frame(bytes + length, i, i % 2 ? "w.z" : "no.z", DNS_A);
	assert_int_equal(send(fd, bytes, length, MSG_NOSIGNAL), length);
	for (uint16_t i = 0; i < 100; i++) {
		uint8_t answer[600];
		receive_tcp(fd, answer);
		assert_int_equal(dns_get_u16(answer), i);
		assert_int_equal(answer[3] & 0xf, i % 2 ? DNS_NOERROR : DNS_NXDOMAIN);
	}
	assert_int_equal(results(server, NAMING_QTYPE_A, NAMING_RESULT_DATA, NAMING_TCP), 50);
	close(fd);
	wait_for(counters_of(server).tcp_open == 0);
	naming_server_close(server);
}

static void a_query_in_pieces_is_answered_and_others_do_not_wait(void **state)
{
	(void)state;
	struct naming_server *server = open_serving();
	uint16_t port = naming_server_port(server);
	int slow = client("127.0.0.1", port, SOCK_STREAM);
	int quick = client("127.0.0.1", port, SOCK_STREAM);
	int on = 1;
	setsockopt(slow, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	uint8_t bytes[600];
	size_t length = frame(bytes, 77, "w.z", DNS_A);
	for (size_t i = 0; i < length; i++) {
		assert_int_equal(send(slow, bytes + i, 1, MSG_NOSIGNAL), 1);
		assert_int_equal(ask_tcp(quick, (uint16_t)i), 1);
	}
	assert_int_equal(generation_of(bytes, receive_tcp(slow, bytes), 77, true), 1);
	close(slow);
	close(quick);
	naming_server_close(server);
}

static void a_client_that_takes_no_answers_holds_up_only_itself(void **state)
{
	(void)state;
	struct naming_server *server = open_serving();
	uint16_t port = naming_server_port(server);
	int greedy = client("127.0.0.1", port, SOCK_STREAM);
	/* Ask for far more than the sockets' buffers hold, without taking any of it. */
	uint8_t bytes[600];
	size_t length = frame(bytes, 9, "many.z", DNS_AAAA);
	unsigned asked = 0;
	size_t partial = 0;
	for (;;) {
		ssize_t sent =
		    send(greedy, bytes + partial, length - partial, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent > 0) {
			partial = (partial + (size_t)sent) % length;
			asked += partial == 0;
			continue;
		}
		assert_int_equal(errno, EAGAIN);
		/* Is the server stuck, as it should be, or only behind? */
		struct pollfd writable = {.fd = greedy, .events = POLLOUT};
		if (poll(&writable, 1, 300) == 0)
			break;
	}
	int other = client("127.0.0.1", port, SOCK_STREAM);
	assert_int_equal(ask_tcp(other, 1), 1);
	uint64_t answered = results(server, NAMING_QTYPE_AAAA, NAMING_RESULT_DATA, NAMING_TCP);
	assert_true(answered < asked);

	/* It takes them after all: every one arrives, in one piece. */
	uint8_t answer[600];
	for (unsigned i = 0; i < asked; i++) {
		assert_int_equal(receive_tcp(greedy, answer), 12 + 12 + 16 * 28);
		assert_int_equal(dns_get_u16(answer), 9);
	}
	close(greedy);
	close(other);
	naming_server_close(server);
}

static void a_client_that_only_stops_sending_gets_its_answers(void **state)
{
	(void)state;
	struct naming_server *server = open_serving();
	int fd = client("127.0.0.1", naming_server_port(server), SOCK_STREAM);
	uint8_t bytes[4000];
	size_t length = 0;
	for (uint16_t i = 0; i < 50; i++)
		length += frame(bytes + length, i, "w.z", DNS_A);
	assert_int_equal(send(fd, bytes, length, MSG_NOSIGNAL), length);
	assert_int_equal(shutdown(fd, SHUT_WR), 0);
	for (uint16_t i = 0; i < 50; i++)
		assert_int_equal(generation_of(bytes, receive_tcp(fd, bytes), i, true), 1);
	assert_true(is_closed(fd));
	close(fd);
	naming_server_close(server);
}

static void rude_clients_are_shown_out(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		size_t length;
		enum naming_drop drop;
	} cases[] = {
	    {"\0\0", 2, NAMING_DROP_SHORT},
	    {"\0\3abc", 5, NAMING_DROP_SHORT},
	    {"\0\x0c\0\0\x80\0\0\0\0\0\0\0\0\0", 14, NAMING_DROP_RESPONSE},
	};
	struct naming_server *server = open_serving();
	for (size_t i = 0; i < COUNT(cases); i++) {
		int fd = client("127.0.0.1", naming_server_port(server), SOCK_STREAM);
		uint64_t before = counters_of(server).drops[cases[i].drop];
		assert_int_equal(ask_tcp(fd, 1), 1); /* what came before is answered */
		assert_int_equal(send(fd, cases[i].bytes, cases[i].length, MSG_NOSIGNAL),
				 cases[i].length);
		assert_true(is_closed(fd));
		assert_int_equal(counters_of(server).drops[cases[i].drop], before + 1);
		close(fd);
	}
	naming_server_close(server);
}

/* An update of so many bytes, with a length before it: records of type TXT, and OPT at the end. */
static size_t update(uint8_t *bytes, size_t length)
{
	static const uint8_t head[] = "\x12\x34\x28\0\0\1\0\0\0\1\0\1\1z\0\0\6\0\1"
				      "\xc0\x0c\0\x10\0\1\0\0\0\0";
	static const uint8_t opt[] = "\0\0\x29\4\xd0\0\0\0\0\0\0";
	size_t head_length = sizeof(head) - 1, opt_length = sizeof(opt) - 1;
	assert_true(length >= head_length + 2 + opt_length && length <= 65535);
	memset(bytes, 'x', 2 + length);
	dns_put_u16(bytes, (unsigned)length);
	memcpy(bytes + 2, head, head_length);
	dns_put_u16(bytes + 2 + head_length, (unsigned)(length - head_length - 2 - opt_length));
	memcpy(bytes + 2 + length - opt_length, opt, opt_length);
	return 2 + length;
}

static void send_all(int fd, const uint8_t *bytes, size_t length)
{
	while (length > 0) {
		ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
		assert_true(sent > 0);
		bytes += sent;
		length -= (size_t)sent;
	}
}

static void a_large_update_is_told_that_there_are_none(void **state)
{
	(void)state;
	static const size_t lengths[] = {60, NAMING_QUERY_MAX, NAMING_QUERY_MAX + 1, 65535};
	static uint8_t bytes[2 * 65537 + 600];
	struct naming_server *server = open_serving();
	int fd = client("127.0.0.1", naming_server_port(server), SOCK_STREAM);
	for (size_t i = 0; i < COUNT(lengths); i++) {
		/* Twice in a row, and a question behind them. */
		uint8_t answer[600];
		size_t length = update(bytes, lengths[i]);
		length += update(bytes + length, lengths[i]);
		length += frame(bytes + length, 7, "w.z", DNS_A);
		send_all(fd, bytes, length);
		for (unsigned times = 0; times < 2; times++) {
			assert_int_equal(receive_tcp(fd, answer), 12 + 11 + 6);
			assert_memory_equal(answer, "\x12\x34\xa8\4\0\0\0\0\0\0\0\1\0\0\x29", 15);
		}
		assert_int_equal(generation_of(answer, receive_tcp(fd, answer), 7, true), 1);
	}
	close(fd);
	naming_server_close(server);
}

static void many_large_queries_at_once_have_a_limit(void **state)
{
	(void)state;
	struct ip_address listen = address("127.0.0.1");
	struct naming_server *server = open_server((struct naming_server_options){
	    .addresses = &listen, .address_count = 1, .threads = 1, .tcp_idle_ms = 60000});
	naming_server_swap(server, zone(1));
	int fds[NAMING_TCP_LARGE + 1];
	static uint8_t bytes[65537];
	size_t length = update(bytes, 65535);
	for (size_t i = 0; i < COUNT(fds); i++) {
		fds[i] = client("127.0.0.1", naming_server_port(server), SOCK_STREAM);
		send_all(fds[i], bytes, 2);
	}
	wait_for(counters_of(server).drops[NAMING_DROP_OVERSIZED] == 1);
	/* One of them was turned away, and the others are served; then there is room again. */
	unsigned answered = 0;
	for (size_t i = 0; i < COUNT(fds); i++) {
		uint8_t answer[600];
		struct pollfd ended = {.fd = fds[i], .events = POLLIN};
		if (poll(&ended, 1, 0) == 0) {
			send_all(fds[i], bytes + 2, length - 2);
			assert_int_equal(receive_tcp(fds[i], answer), 12 + 11 + 6);
			answered++;
		}
		close(fds[i]);
	}
	assert_int_equal(answered, NAMING_TCP_LARGE);
	naming_server_close(server);
}

static void a_question_that_is_no_dns_gets_formerr_and_may_go_on(void **state)
{
	(void)state;
	struct naming_server *server = open_serving();
	int fd = client("127.0.0.1", naming_server_port(server), SOCK_STREAM);
	uint8_t answer[600];
	assert_int_equal(send(fd, "\0\x0d\1\2\0\0\0\1\0\0\0\0\0\0\xff", 15, MSG_NOSIGNAL), 15);
	assert_int_equal(receive_tcp(fd, answer), 12);
	assert_int_equal(answer[3] & 0xf, DNS_FORMERR);
	assert_int_equal(ask_tcp(fd, 1), 1);
	close(fd);
	naming_server_close(server);
}

static void idle_clients_are_closed_and_dribbling_does_not_help(void **state)
{
	(void)state;
	struct ip_address listen = address("127.0.0.1");
	struct naming_server *server = open_server((struct naming_server_options){
	    .addresses = &listen, .address_count = 1, .threads = 1, .tcp_idle_ms = 200});
	naming_server_swap(server, zone(1));
	uint16_t port = naming_server_port(server);
	int silent = client("127.0.0.1", port, SOCK_STREAM);
	int content = client("127.0.0.1", port, SOCK_STREAM);
	int dribbling = client("127.0.0.1", port, SOCK_STREAM);
	assert_int_equal(ask_tcp(content, 1), 1);
	/* A byte now and then of a query that never ends. */
	uint8_t bytes[600];
	frame(bytes, 1, "w.z", DNS_A);
	unsigned sent = 0;
	while (sent < 20 && send(dribbling, bytes + sent, 1, MSG_NOSIGNAL) == 1) {
		sent++;
		poll(NULL, 0, 30);
	}
	assert_in_range(sent, 2, 19); /* it would have taken 22 bytes, 660 ms */
	assert_true(is_closed(silent));
	assert_true(is_closed(content));
	wait_for(counters_of(server).tcp_open == 0);
	/* The one that had its answer is not to blame. */
	assert_int_equal(counters_of(server).drops[NAMING_DROP_TCP_IDLE], 2);
	close(silent);
	close(content);
	close(dribbling);
	naming_server_close(server);
}

static void one_connection_too_many_ends_the_longest_idle(void **state)
{
	(void)state;
	struct ip_address listen = address("127.0.0.1");
	struct naming_server *server =
	    open_server((struct naming_server_options){.addresses = &listen,
						       .address_count = 1,
						       .threads = 1,
						       .tcp_connections = 3,
						       .tcp_per_source = 4});
	naming_server_swap(server, zone(1));
	uint16_t port = naming_server_port(server);
	int fds[4];
	for (unsigned i = 0; i < 3; i++) {
		fds[i] = client("127.0.0.1", port, SOCK_STREAM);
		assert_int_equal(ask_tcp(fds[i], 1), 1);
	}
	poll(NULL, 0, 2); /* the clock counts milliseconds */
	assert_int_equal(ask_tcp(fds[0], 2), 1); /* now the second is the longest idle */
	fds[3] = client("127.0.0.1", port, SOCK_STREAM);
	assert_int_equal(ask_tcp(fds[3], 1), 1);
	assert_true(is_closed(fds[1]));
	assert_int_equal(ask_tcp(fds[0], 3), 1);
	assert_int_equal(ask_tcp(fds[2], 3), 1);
	struct naming_counters counters = counters_of(server);
	assert_int_equal(counters.tcp_open, 3);
	assert_int_equal(counters.tcp_accepted, 4);
	assert_int_equal(counters.drops[NAMING_DROP_TCP_EVICTED], 1);
	for (unsigned i = 0; i < 4; i++)
		close(fds[i]);
	naming_server_close(server);
}

static void a_source_takes_its_own_connections_place(void **state)
{
	(void)state;
	struct ip_address listens[] = {address("127.0.0.1"), address("::1")};
	struct naming_server *server = open_server((struct naming_server_options){
	    .addresses = listens, .address_count = 2, .threads = 1, .tcp_connections = 9});
	naming_server_swap(server, zone(1));
	uint16_t port = naming_server_port(server);
	/* An eighth of nine connections is two. */
	static const char *const asked[] = {"127.0.0.1", "::1", "::1", "127.0.0.1", "::1"};
	int fds[COUNT(asked)];
	for (unsigned i = 0; i < COUNT(asked); i++) {
		fds[i] = client(asked[i], port, SOCK_STREAM);
		assert_int_equal(ask_tcp(fds[i], 1), 1);
	}
	assert_true(is_closed(fds[1]));
	for (unsigned i = 0; i < COUNT(asked); i++) {
		if (i != 1)
			assert_int_equal(ask_tcp(fds[i], 3), 1);
		close(fds[i]);
	}
	struct naming_counters counters = counters_of(server);
	assert_int_equal(counters.drops[NAMING_DROP_TCP_SOURCE], 1);
	assert_int_equal(counters.drops[NAMING_DROP_TCP_EVICTED], 0);
	naming_server_close(server);
}

/* A query about "w.z" A with EDNS, and a cookie of so many bytes. */
static size_t make_cookie_query(uint8_t *bytes, const uint8_t *cookie, size_t length)
{
	size_t at = make_query(bytes, 1, "w.z", DNS_A);
	bytes[11] = 1;
	memcpy(bytes + at, "\0\0\x29\4\xd0\0\0\0\0\0", 10);
	bytes[at + 10] = (uint8_t)(length + 4);
	dns_put_u16(bytes + at + 11, DNS_OPTION_COOKIE);
	dns_put_u16(bytes + at + 13, (unsigned)length);
	memcpy(bytes + at + 15, cookie, length);
	return at + 15 + length;
}

static void a_network_that_asks_too_much_has_to_show_itself(void **state)
{
	(void)state;
	enum { RATE = 20, ASKED = 400 };
	struct ip_address listen = address("127.0.0.1");
	struct random random;
	random_init_seeded(&random, 9);
	struct naming_server *server = open_server((struct naming_server_options){
	    .addresses = &listen, .address_count = 1, .threads = 2, .random = &random});
	naming_server_swap(server, limited_zone(1, RATE));
	uint16_t port = naming_server_port(server);
	/* From many ports, so that both threads get some. */
	uint8_t answer[600], cookie[DNS_COOKIE_BYTES];
	int fds[20];
	for (unsigned i = 0; i < COUNT(fds); i++)
		fds[i] = client("127.0.0.1", port, SOCK_DGRAM);
	for (unsigned i = 0; i < ASKED; i++)
		send_udp(fds[i % COUNT(fds)], (uint16_t)i, "w.z", DNS_A);
#define SEEN                                                                                       \
	(results(server, NAMING_QTYPE_A, NAMING_RESULT_DATA, NAMING_UDP) +                         \
	 results(server, NAMING_QTYPE_A, NAMING_RESULT_LIMITED, NAMING_UDP) +                      \
	 counters_of(server).drops[NAMING_DROP_LIMITED])
	wait_for(SEEN == ASKED);
	/* A slow machine may take seconds for this; they would not all be answered even so. */
	uint64_t whole = results(server, NAMING_QTYPE_A, NAMING_RESULT_DATA, NAMING_UDP);
	uint64_t less = results(server, NAMING_QTYPE_A, NAMING_RESULT_LIMITED, NAMING_UDP);
	assert_in_range(whole, RATE, ASKED / 2);
	assert_in_range(less, (ASKED - whole) / 2 - 2, (ASKED - whole) / 2 + 2);

	/* Over TCP it is known. */
	int tcp = client("127.0.0.1", port, SOCK_STREAM);
	for (unsigned i = 0; i < 3 * RATE; i++)
		assert_int_equal(ask_tcp(tcp, 1), 1);
	close(tcp);

	/* By a cookie too, which it gets instead of an answer, every second time. */
	uint8_t query[600];
	int fd = client("127.0.0.1", port, SOCK_DGRAM);
	size_t length = make_cookie_query(query, (const uint8_t *)"12345678", 8), got = 0;
	for (unsigned tries = 0; tries < 1000 && got == 0; tries++) {
		struct pollfd readable = {.fd = fd, .events = POLLIN};
		assert_int_equal(send(fd, query, length, 0), length);
		if (poll(&readable, 1, 20) == 1)
			got = receive_udp(fd, answer, sizeof(answer));
	}
	assert_true(got > DNS_COOKIE_BYTES);
	memcpy(cookie, answer + got - DNS_COOKIE_BYTES, sizeof(cookie));
	/* Another secret does not take it back. */
	assert_int_equal(naming_server_renew(server), 0);
	int other = client("127.0.0.1", port, SOCK_DGRAM);
	length = make_cookie_query(query, cookie, sizeof(cookie));
	for (unsigned i = 0; i < 3 * RATE; i++) {
		assert_int_equal(send(other, query, length, 0), length);
		receive_udp(other, answer, sizeof(answer));
		assert_int_equal(dns_get_u16(answer + 6), 1);
	}
	assert_int_equal(counters_of(server).known, 3 * RATE);
	for (unsigned i = 0; i < COUNT(fds); i++)
		close(fds[i]);
	close(fd);
	close(other);
	naming_server_close(server);
}

static void clients_that_vanish_leave_nothing_behind(void **state)
{
	(void)state;
	struct naming_server *server = open_on("127.0.0.1", 2);
	naming_server_swap(server, zone(1));
	uint8_t bytes[600];
	size_t length = frame(bytes, 9, "many.z", DNS_AAAA);
	for (unsigned i = 0; i < 50; i++) {
		int fd = client("127.0.0.1", naming_server_port(server), SOCK_STREAM);
		for (unsigned j = 0; j < i % 5; j++)
			send(fd, bytes, length, MSG_NOSIGNAL);
		struct linger reset = {.l_onoff = 1};
		if (i % 2)
			setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(fd);
	}
	struct naming_counters counters;
	wait_for((counters = counters_of(server)).tcp_open == 0 && counters.tcp_accepted >= 25);
	naming_server_close(server);
}

/* ---- starting and stopping ---- */

static void what_has_arrived_is_answered_before_it_stops(void **state)
{
	(void)state;
	struct naming_server *server = open_serving();
	int fd = client("127.0.0.1", naming_server_port(server), SOCK_DGRAM);
	for (uint16_t i = 0; i < 100; i++)
		send_udp(fd, i, "w.z", DNS_A);
	naming_server_close(server);
	uint8_t answer[600];
	for (unsigned i = 0; i < 100; i++)
		receive_udp(fd, answer, sizeof(answer));
	close(fd);
	naming_server_close(NULL);
}

static void open_fails_with(struct naming_server_options options, int code, const char *says)
{
	struct naming_server *server = NULL;
	struct error err = {0};
	int result = naming_server_open(&options, &server, &err);
	assert_null(server);
	if (result != code || !strstr(err.text, says))
		fail_msg("%s: %s", error_name(result), err.text);
}

static void wrong_options_are_refused(void **state)
{
	(void)state;
	struct ip_address twice[] = {address("127.0.0.1"), address("127.0.0.1")}, none = {0},
			  foreign = address("203.0.113.77");
	struct ip_address many[NAMING_SERVER_LISTENS_MAX + 1];
	for (size_t i = 0; i < COUNT(many); i++)
		many[i] = twice[0];
	open_fails_with((struct naming_server_options){0}, -FL_EINVALID, "no address");
	open_fails_with((struct naming_server_options){.addresses = twice, .address_count = 2},
			-FL_EINVALID, "127.0.0.1 is listed twice");
	open_fails_with((struct naming_server_options){.addresses = &none, .address_count = 1},
			-FL_EINVALID, "no family");
	open_fails_with(
	    (struct naming_server_options){.addresses = many, .address_count = COUNT(many)},
	    -FL_ELIMIT, "more than 64 addresses");
	open_fails_with(
	    (struct naming_server_options){.addresses = twice, .address_count = 1, .threads = 65},
	    -FL_ELIMIT, "more than 64 threads");
	open_fails_with((struct naming_server_options){.addresses = &foreign, .address_count = 1},
			-EADDRNOTAVAIL, "does not have that address");
}

static void a_taken_port_is_told_with_its_holder(void **state)
{
	(void)state;
	struct ip_address listens[] = {address("127.0.0.1"), address("::1")};
	struct ip_address wildcard = address("0.0.0.0");
	struct naming_server *first = open_server(
	    (struct naming_server_options){.addresses = listens, .address_count = 2, .threads = 1});
	struct naming_server_options second = {
	    .addresses = listens, .address_count = 2, .port = naming_server_port(first)};
	char holder[64], name[32];
	assert_int_equal(prctl(PR_GET_NAME, name), 0);
	snprintf(holder, sizeof(holder), "%s (pid %d) has it", name, getpid());
	/* Though ours share their port among threads, another server may not join them. */
	open_fails_with(second, -EADDRINUSE, holder);
	second.addresses = &listens[1];
	second.address_count = 1;
	open_fails_with(second, -EADDRINUSE, "::1 port");
	second.addresses = &wildcard;
	open_fails_with(second, -EADDRINUSE, holder);
	/* The first still answers, and the port is free once it is gone. */
	naming_server_swap(first, zone(3));
	int tcp = client("127.0.0.1", second.port, SOCK_STREAM);
	assert_int_equal(ask_tcp(tcp, 1), 3);
	naming_server_close(first);
	assert_true(is_closed(tcp)); /* and its connection is in TIME_WAIT or the like */
	second.addresses = listens;
	second.address_count = 2;
	naming_server_close(open_server(second));
	close(tcp);

	/* TCP alone may be taken. */
	struct naming_server *probe = open_on("127.0.0.1", 1);
	uint16_t port = naming_server_port(probe);
	naming_server_close(probe);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		fail_msg("socket: %s", strerror(errno));
		abort(); /* not reached; for the analyzer */
	}
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 1), 0);
	second.port = port;
	second.address_count = 1;
	open_fails_with(second, -EADDRINUSE, "(tcp)");
	close(fd);
}

static void a_missing_privilege_is_told(void **state)
{
	(void)state;
	if (geteuid() != 0) {
		skip(); /* only root can lose the privilege for sure */
	}
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		/* A namespace of its own, so that nobody else's setting or server is in the way. */
		if (unshare(CLONE_NEWNET) < 0 || setgid(65534) < 0 || setuid(65534) < 0)
			_exit(2);
		struct ip_address any = address("0.0.0.0");
		struct naming_server_options options = {
		    .addresses = &any, .address_count = 1, .port = 53, .threads = 1};
		struct naming_server *server;
		struct error err = {0};
		int result = naming_server_open(&options, &server, &err);
		_exit(result == -FL_EPRIVILEGE && strstr(err.text, "CAP_NET_BIND_SERVICE") ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_answers_and_counts_over_both_families),
	    cmocka_unit_test(a_wildcard_answers_from_the_address_that_was_asked),
	    cmocka_unit_test(a_burst_is_answered_whole),
	    cmocka_unit_test(a_swap_under_load_loses_no_answer),
	    cmocka_unit_test(pipelined_queries_are_answered_in_order),
	    cmocka_unit_test(a_query_in_pieces_is_answered_and_others_do_not_wait),
	    cmocka_unit_test(a_client_that_takes_no_answers_holds_up_only_itself),
	    cmocka_unit_test(a_client_that_only_stops_sending_gets_its_answers),
	    cmocka_unit_test(rude_clients_are_shown_out),
	    cmocka_unit_test(a_large_update_is_told_that_there_are_none),
	    cmocka_unit_test(many_large_queries_at_once_have_a_limit),
	    cmocka_unit_test(a_question_that_is_no_dns_gets_formerr_and_may_go_on),
	    cmocka_unit_test(idle_clients_are_closed_and_dribbling_does_not_help),
	    cmocka_unit_test(one_connection_too_many_ends_the_longest_idle),
	    cmocka_unit_test(a_source_takes_its_own_connections_place),
	    cmocka_unit_test(a_network_that_asks_too_much_has_to_show_itself),
	    cmocka_unit_test(clients_that_vanish_leave_nothing_behind),
	    cmocka_unit_test(what_has_arrived_is_answered_before_it_stops),
	    cmocka_unit_test(wrong_options_are_refused),
	    cmocka_unit_test(a_taken_port_is_told_with_its_holder),
	    cmocka_unit_test(a_missing_privilege_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
