/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of the name server: for each core a thread per listen address that answers UDP, and
 * one that answers TCP on all of them. A worker is a thread with what is its own: its sockets, and
 * for TCP an epoll set and connections. Its fields belong to the thread from start to join, but for
 * the counts, which other threads read.
 *
 * A UDP thread waits in the call that receives. To wait for its socket by epoll beside others would
 * be one system call more for each batch, and one wake-up more for each answer: the kernel tells
 * whoever polls a socket of every datagram that has left it, wanted or not. docs/design/naming.md
 * has the figures.
 */
#ifndef FAIRLEAD_NAMING_WORKER_H
#define FAIRLEAD_NAMING_WORKER_H

#include "base/clock.h"
#include "naming/cookies.h"
#include "naming/limiter.h"
#include "naming/server.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <urcu-pointer.h>

/* What an epoll event is about; the first member of whatever its pointer points to. */
enum source_kind { SOURCE_STOP, SOURCE_LISTENER, SOURCE_CONNECTION };

struct source {
	enum source_kind kind;
	int fd; /* -1: closed */
};

struct listener {
	struct source source;
	bool paused; /* takes no connections until tcp_worker.resume_ms */
};

/* Written by one thread with plain additions, read by others: relaxed atomics of single words. */
struct counts {
	uint64_t answers[NAMING_QTYPE_COUNT][NAMING_RESULT_COUNT][NAMING_TRANSPORTS];
	uint64_t truncated;
	uint64_t drops[NAMING_DROP_COUNT];
	uint64_t tcp_accepted;
	uint64_t tcp_open;
	uint64_t known;
};

static inline void count(uint64_t *counter, uint64_t more)
{
	__atomic_store_n(counter, *counter + more, __ATOMIC_RELAXED);
}

static inline uint64_t count_read(const uint64_t *counter)
{
	return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

static inline void count_outcome(struct counts *counts, enum naming_transport transport,
				 const struct naming_outcome *outcome)
{
	if (outcome->drop != NAMING_DROP_NONE) {
		count(&counts->drops[outcome->drop], 1);
		return;
	}
	count(&counts->answers[outcome->qtype][outcome->result][transport], 1);
	if (outcome->truncated)
		count(&counts->truncated, 1);
	if (outcome->known)
		count(&counts->known, 1);
}

/* What all threads of a server read. */
struct in_force {
	struct naming_snapshot *snapshot; /* exchanged by the server, read under RCU */
	struct cookie_secrets *secrets; /* the same; NULL: there are no cookies */
	struct limiter *limiter; /* NULL: there is no limit */
	bool stops; /* set once */
};

/* In an RCU read section only. */
static inline const struct naming_snapshot *in_force_snapshot(const struct in_force *in_force)
{
	return rcu_dereference(in_force->snapshot);
}

/* What all queries of a batch have in common; in an RCU read section only. */
static inline struct naming_request in_force_request(const struct in_force *in_force,
						     enum naming_transport transport)
{
	struct naming_request request = {.transport = transport,
					 .secrets = rcu_dereference(in_force->secrets)};
	if (request.secrets)
		request.now_s = (uint32_t)(clock_wall_ms(&clock_system) / 1000);
	return request;
}

static inline bool in_force_stops(const struct in_force *in_force)
{
	return __atomic_load_n(&in_force->stops, __ATOMIC_ACQUIRE);
}

struct udp_worker {
	const struct in_force *in_force; /* borrowed from the server */
	pthread_t thread;
	bool started;
	int fd; /* -1: none */
	bool wildcard; /* replies must be told which of our addresses to leave from */
	unsigned over; /* answers above the rate, of which every second is a short one */
	struct counts *counts; /* owned */
	struct udp_batch *batch; /* owned */
};

struct tcp_connection;
TAILQ_HEAD(tcp_list, tcp_connection);

struct tcp_worker {
	const struct in_force *in_force; /* borrowed from the server */
	pthread_t thread;
	bool started;
	int epoll; /* -1: none */
	struct source stop; /* borrowed descriptor */
	struct listener *listeners; /* owned: one per listen address */
	size_t listener_count;
	struct counts *counts; /* owned */
	struct tcp_list open; /* by deadline, the nearest first */
	struct tcp_list closed; /* freed after the events that may still point to them */
	unsigned limit; /* connections */
	unsigned per_source; /* of them */
	unsigned large; /* of them hold a large query, or the beginning of one */
	unsigned idle_ms;
	uint8_t *block; /* owned: answers to one connection, before they are sent */
	uint64_t resume_ms; /* when paused listeners take connections again; 0: none is paused */
};

/* worker.c: the threads. */
void *udp_run(void *udp_worker);
void *tcp_run(void *tcp_worker);

/* Make a UDP thread, which may be waiting, see that the server stops. What has arrived can still
 * be read. */
void udp_wake(const struct udp_worker *worker);

/* udp.c */
must_check int udp_batch_new(struct udp_batch **ret_batch);
void udp_batch_free(struct udp_batch *batch);
/* Answer one batch; `flags` are recvmmsg's. Returns whether there may be more. */
bool udp_serve(struct udp_worker *worker, int flags);

/* tcp.c. All times in milliseconds of the system's clock. */
#define TCP_BLOCK_BYTES 65536u
/* Start watching a source; errno values. */
must_check int tcp_watch(const struct tcp_worker *worker, struct source *source, uint32_t events);
void tcp_accept(struct tcp_worker *worker, struct listener *listener, uint64_t now_ms);
void tcp_serve(struct tcp_worker *worker, struct source *source, uint32_t events, uint64_t now_ms);
/* Close what is past its deadline, free what was closed, resume listeners. */
void tcp_tick(struct tcp_worker *worker, uint64_t now_ms);
/* How long to wait for events at most; -1: for ever. */
int tcp_timeout_ms(const struct tcp_worker *worker, uint64_t now_ms);
void tcp_close_all(struct tcp_worker *worker);

/* listen.c: sockets. */
/* Fail, with the holder's name if it can be found, unless every address is free at `port`. */
must_check int listen_probe(const struct naming_server_options *options, uint16_t port,
			    struct error *err);
/* A port that nobody has at the first address. */
must_check int listen_pick_port(const struct naming_server_options *options, uint16_t *ret_port,
				struct error *err);
/* UDP sockets block, TCP listeners do not. */
must_check int listen_open(const struct ip_address *address, uint16_t port,
			   enum naming_transport transport, int *ret_fd, struct error *err);

#endif
