/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name server: threads that answer DNS over UDP and TCP from the current snapshot.
 *
 * For each core there is a thread per listen address that answers UDP in batches, and one that
 * answers TCP on all of them. Each has sockets of its own (SO_REUSEPORT: the kernel deals queries
 * out), so that threads share nothing but the snapshot pointer, which is read under RCU. A query is
 * answered wholly from one snapshot.
 *
 * Over UDP anybody can ask in another's name: a network that gets more answers a second than the
 * snapshot says gets no more, but for every second time a short one that leads to TCP or gives a
 * cookie (limiter.h, cookies.h).
 *
 * TCP (RFC 7766): several queries on a connection, pipelined or not, answered in order. What a
 * client can make us hold is bounded: a limited number of connections per thread, and of one source
 * among them (when full, the one nearest its deadline makes room), one query in, and one block of
 * answers out, during which no more is read from it. A query above NAMING_QUERY_MAX gets a buffer
 * of its own while it comes in; NAMING_TCP_LARGE connections of a thread may have one at once. A
 * connection must complete a query, or take its answers, within the idle time; dribbling bytes does
 * not extend it.
 *
 * Any number of servers may be open. open, swap and close are for one owner thread (the main
 * one), which must not be inside an RCU read section; counters may be read by any thread between
 * open and close.
 */
#ifndef FAIRLEAD_NAMING_SERVER_H
#define FAIRLEAD_NAMING_SERVER_H

#include "base/error.h"
#include "base/netaddr.h"
#include "naming/naming.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct random;

#define NAMING_SERVER_LISTENS_MAX 64u
#define NAMING_SERVER_THREADS_MAX 64u
#define NAMING_TCP_CONNECTIONS 1024u
#define NAMING_TCP_LARGE 32u

struct naming_server_options {
	const struct ip_address *addresses; /* to listen on; 0.0.0.0 and :: are wildcards */
	size_t address_count;
	uint16_t port; /* 53; 0 takes a free one, the same for every socket */
	unsigned threads; /* of TCP, and of UDP for each address; 0: one per usable core */
	unsigned tcp_connections; /* per TCP thread; 0: NAMING_TCP_CONNECTIONS */
	unsigned tcp_per_source; /* of them from one IPv4 address or IPv6 /64; 0: an eighth */
	unsigned tcp_idle_ms; /* 0: 10 s */
	/* What secrets are drawn from while it opens and in naming_server_renew(), borrowed for as
	 * long; NULL: there are neither cookies nor a limit of answers. */
	struct random *random;
};

struct naming_server;

/*
 * Open every socket, then start the threads, which answer SERVFAIL until the first snapshot.
 * Errors tell the person what to do: -EADDRINUSE names the process that holds the port if it can
 * be seen; -FL_EPRIVILEGE for a port below 1024 without CAP_NET_BIND_SERVICE; -EADDRNOTAVAIL for an
 * address that this machine does not have; -FL_EINVALID, -FL_ELIMIT, -ENOMEM and errno values.
 */
must_check int naming_server_open(const struct naming_server_options *options,
				  struct naming_server **ret_server, struct error *err);

/*
 * Whether the address is one of this machine's now: a socket that was bound to it stays bound when
 * it goes, and hears again when it comes back. True where the kernel binds to any address
 * (net.ipv4.ip_nonlocal_bind), and for wildcards. Any thread.
 */
bool naming_address_is_here(const struct ip_address *address);

/* How many threads there will be if so many are asked for. */
unsigned naming_server_threads(unsigned asked);

/* The port it listens on. */
uint16_t naming_server_port(const struct naming_server *server);

/*
 * Answer from `snapshot` (moved to the server; NULL means SERVFAIL again) from now on. Returns
 * once no thread reads the old snapshot, which is then freed: usually well under a millisecond.
 */
void naming_server_swap(struct naming_server *server, struct naming_snapshot *snapshot);

/*
 * Draw another secret for cookies (RFC 7873); those of the one before it still count. Call it once
 * a day. Returns once no thread reads what went before. -ENOMEM: the present one stays.
 */
must_check int naming_server_renew(struct naming_server *server);

/*
 * Answer what has already arrived over UDP, close everything, join the threads, free the server
 * and its snapshot. NULL is fine.
 */
void naming_server_close(struct naming_server *server);

/* Sums over the threads since open; each number only grows, but tcp_open. */
struct naming_counters {
	uint64_t answers[NAMING_QTYPE_COUNT][NAMING_RESULT_COUNT][NAMING_TRANSPORTS];
	uint64_t truncated; /* answers over UDP that asked the client to come by TCP */
	uint64_t drops[NAMING_DROP_COUNT];
	uint64_t tcp_accepted;
	uint64_t tcp_open; /* now */
	uint64_t known; /* answers to queries that showed a cookie of ours */
	uint64_t swaps;
};

void naming_server_counters(const struct naming_server *server, struct naming_counters *ret);

#endif
