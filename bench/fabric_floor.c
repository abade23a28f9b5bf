/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-fabric-floor CONNECTIONS DOWN UP ROUNDS: what it costs at least to bring the same bytes to
 * as many. A parent and its child with CONNECTIONS sessions of TLS 1.3 between them, over loopback,
 * by OpenSSL alone: in each round the parent writes DOWN bytes to each, the child reads them and
 * answers each with UP bytes, and the round is over when the parent has all the answers. Nobody
 * decides, keeps or checks anything. Standard output: a line of JSON for each round, {"ms": …}.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "peer/ca.h"

#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct floor {
	size_t connections, down, up, rounds;
	SSL **sessions;
	char *bytes;
};

static double now_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

/* One that vouches for nothing: both sides are this program. */
static SSL_CTX *context_new(bool server)
{
	SSL_CTX *context = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	struct evp_pkey_st *pair;
	struct buffer certificate;
	struct random random;
	random_init_system(&random);
	buffer_init(&certificate, 0);
	must_succeed(key_pair_make(&pair));
	peer_self_issue(pair, &random, clock_wall_ms(&clock_system) / 1000, &certificate);
	if (!context || SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_use_certificate_ASN1(context, (int)certificate.length,
					 (const unsigned char *)certificate.data) != 1 ||
	    SSL_CTX_use_PrivateKey(context, pair) != 1)
		errx(1, "OpenSSL refuses its certificate");
	SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_num_tickets(context, 0);
	buffer_done(&certificate);
	key_pair_free(pair);
	return context;
}

static SSL *session_new(SSL_CTX *context, int fd, bool server)
{
	SSL *session = SSL_new(context);
	int one = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (!session || SSL_set_fd(session, fd) != 1 ||
	    (server ? SSL_accept(session) : SSL_connect(session)) != 1)
		errx(1, "a handshake failed: %s", ERR_reason_error_string(ERR_get_error()));
	return session;
}

static void write_all(SSL *session, const char *bytes, size_t length)
{
	while (length) {
		int sent = SSL_write(session, bytes, (int)length);
		if (sent <= 0)
			errx(1, "a session ended while it was written to");
		bytes += sent;
		length -= (size_t)sent;
	}
}

static void read_all(SSL *session, char *bytes, size_t length)
{
	while (length) {
		int came = SSL_read(session, bytes, (int)length);
		if (came <= 0)
			errx(1, "a session ended while it was read");
		length -= (size_t)came;
	}
}

static int listen_anywhere(struct sockaddr_in *name)
{
	socklen_t size = sizeof(*name);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	*name =
	    (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd < 0 || bind(fd, (struct sockaddr *)name, size) < 0 || listen(fd, 64) < 0 ||
	    getsockname(fd, (struct sockaddr *)name, &size) < 0)
		err(1, "cannot listen");
	return fd;
}

static void be_edges(const struct floor *floor, const struct sockaddr_in *name)
{
	SSL_CTX *context = context_new(false);
	for (size_t i = 0; i < floor->connections; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		if (fd < 0 || connect(fd, (const struct sockaddr *)name, sizeof(*name)) < 0)
			err(1, "cannot connect");
		floor->sessions[i] = session_new(context, fd, false);
	}
	for (size_t round = 0; round < floor->rounds; round++)
		for (size_t i = 0; i < floor->connections; i++) {
			read_all(floor->sessions[i], floor->bytes, floor->down);
			write_all(floor->sessions[i], floor->bytes, floor->up);
		}
	exit(0);
}

static void be_voter(const struct floor *floor, int listener)
{
	SSL_CTX *context = context_new(true);
	for (size_t i = 0; i < floor->connections; i++) {
		int fd = accept(listener, NULL, NULL);
		if (fd < 0)
			err(1, "nobody connects");
		floor->sessions[i] = session_new(context, fd, true);
	}
	for (size_t round = 0; round < floor->rounds; round++) {
		double begin_ms = now_ms();
		for (size_t i = 0; i < floor->connections; i++)
			write_all(floor->sessions[i], floor->bytes, floor->down);
		for (size_t i = 0; i < floor->connections; i++)
			read_all(floor->sessions[i], floor->bytes, floor->up);
		printf("{\"ms\": %.3f}\n", now_ms() - begin_ms);
	}
}

int main(int argc, char **argv)
{
	struct floor floor;
	struct sockaddr_in name;
	struct rlimit files;
	if (argc != 5)
		errx(2, "bench-fabric-floor CONNECTIONS DOWN UP ROUNDS");
	floor = (struct floor){.connections = strtoul(argv[1], NULL, 10),
			       .down = strtoul(argv[2], NULL, 10),
			       .up = strtoul(argv[3], NULL, 10),
			       .rounds = strtoul(argv[4], NULL, 10)};
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	floor.sessions = must_alloc(floor.connections + 1, sizeof(SSL *));
	floor.bytes = must_alloc(1, (floor.down > floor.up ? floor.down : floor.up) + 1);
	int listener = listen_anywhere(&name);
	pid_t parent = getpid();
	pid_t child = fork();
	if (child < 0)
		err(1, "cannot fork");
	if (child == 0) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
			exit(1);
		be_edges(&floor, &name);
	}
	be_voter(&floor, listener);
	return 0;
}
