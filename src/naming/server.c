/* SPDX-License-Identifier: Apache-2.0 */
#include "naming/server.h"

#include "naming/worker.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <urcu-pointer.h>
#include <urcu/urcu-memb.h>

enum {
	TCP_IDLE_MS_DEFAULT = 10000, /* RFC 7766 §6.2.3: on the order of seconds */
	PORT_ATTEMPTS = 32,
};

struct naming_server {
	struct naming_snapshot *snapshot; /* owned; exchanged by the owner, read under RCU */
	uint16_t port;
	int stop; /* an eventfd that becomes readable, for all workers, when they should end */
	uint64_t swaps;
	unsigned worker_count;
	struct worker workers[];
};

const struct naming_snapshot *server_snapshot(const struct naming_server *server)
{
	return rcu_dereference(server->snapshot);
}

static int check_options(const struct naming_server_options *options, struct error *err)
{
	if (options->address_count == 0)
		return error_set(err, -FL_EINVALID, "no address to answer DNS on");
	if (options->address_count > NAMING_SERVER_LISTENS_MAX)
		return error_set(err, -FL_ELIMIT, "more than %u addresses to answer DNS on",
				 NAMING_SERVER_LISTENS_MAX);
	if (options->threads > NAMING_SERVER_THREADS_MAX)
		return error_set(err, -FL_ELIMIT, "more than %u threads to answer DNS",
				 NAMING_SERVER_THREADS_MAX);
	for (size_t i = 0; i < options->address_count; i++) {
		char text[IP_TEXT_BYTES];
		if (options->addresses[i].family == IP_NONE)
			return error_set(err, -FL_EINVALID,
					 "an address to answer DNS on has no family");
		for (size_t j = 0; j < i; j++)
			if (ip_address_equal(&options->addresses[i], &options->addresses[j]))
				return error_set(err, -FL_EINVALID,
						 "%s is listed twice to answer DNS on",
						 ip_address_format(&options->addresses[i], text));
	}
	return 0;
}

static unsigned usable_cores(void)
{
	cpu_set_t set;
	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	int cores = CPU_COUNT(&set);
	return cores < (int)NAMING_SERVER_THREADS_MAX ? (unsigned)cores : NAMING_SERVER_THREADS_MAX;
}

unsigned naming_server_threads(unsigned asked)
{
	return asked ? asked : usable_cores();
}

static int choose_port(const struct naming_server_options *options, uint16_t *ret_port,
		       struct error *err)
{
	if (options->port != 0) {
		*ret_port = options->port;
		return listen_probe(options, options->port, err);
	}
	int result = -EADDRINUSE;
	for (unsigned i = 0; result == -EADDRINUSE && i < PORT_ATTEMPTS; i++) {
		uint16_t port;
		result = listen_pick_port(options, &port, err);
		if (result == 0)
			result = listen_probe(options, port, err);
		if (result == 0)
			*ret_port = port;
	}
	return result;
}

static int worker_open_endpoint(struct worker *worker, const struct ip_address *address,
				enum naming_transport transport, struct error *err)
{
	struct endpoint *endpoint = &worker->endpoints[worker->endpoint_count];
	static const uint8_t any[16];
	*endpoint = (struct endpoint){
	    .source.kind = transport == NAMING_UDP ? SOURCE_UDP : SOURCE_TCP_LISTENER,
	    .wildcard = memcmp(address->bytes, any, sizeof(any)) == 0,
	};
	int result =
	    listen_open(address, worker->server->port, transport, &endpoint->source.fd, err);
	if (result != 0)
		return result;
	worker->endpoint_count++;
	result = worker_watch(worker, &endpoint->source, EPOLLIN);
	return result < 0 ? error_set(err, result, "epoll: %s", error_text(result)) : 0;
}

/* Everything a worker needs before its thread starts; worker_done undoes whatever was done. */
static int worker_init(struct worker *worker, struct naming_server *server,
		       const struct naming_server_options *options, struct error *err)
{
	worker->server = server;
	TAILQ_INIT(&worker->open);
	TAILQ_INIT(&worker->closed);
	worker->tcp_limit =
	    options->tcp_connections ? options->tcp_connections : NAMING_TCP_CONNECTIONS;
	worker->tcp_idle_ms = options->tcp_idle_ms ? options->tcp_idle_ms : TCP_IDLE_MS_DEFAULT;
	worker->endpoints =
	    calloc(NAMING_TRANSPORTS * options->address_count, sizeof(*worker->endpoints));
	worker->counts = calloc(1, sizeof(*worker->counts));
	worker->block = malloc(TCP_BLOCK_BYTES);
	if (!worker->endpoints || !worker->counts || !worker->block ||
	    udp_batch_new(&worker->batch) < 0)
		return error_set(err, -ENOMEM, "no memory to answer DNS");

	worker->epoll = epoll_create1(EPOLL_CLOEXEC);
	worker->stop = (struct source){SOURCE_STOP, server->stop};
	int result = worker->epoll < 0 ? -errno : worker_watch(worker, &worker->stop, EPOLLIN);
	if (result < 0)
		return error_set(err, result, "epoll: %s", error_text(result));
	for (size_t i = 0; i < options->address_count; i++)
		for (unsigned t = 0; t < NAMING_TRANSPORTS; t++) {
			result = worker_open_endpoint(worker, &options->addresses[i],
						      (enum naming_transport)t, err);
			if (result != 0)
				return result;
		}
	return 0;
}

static void worker_done(struct worker *worker)
{
	for (size_t i = 0; i < worker->endpoint_count; i++)
		close(worker->endpoints[i].source.fd);
	if (worker->epoll >= 0)
		close(worker->epoll);
	udp_batch_free(worker->batch);
	free(worker->block);
	free(worker->counts);
	free(worker->endpoints);
}

static int start_threads(struct naming_server *server, struct error *err)
{
	/* Signals are for the main thread. */
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int result = 0;
	for (unsigned i = 0; result == 0 && i < server->worker_count; i++) {
		struct worker *worker = &server->workers[i];
		result = pthread_create(&worker->thread, NULL, worker_run, worker);
		worker->started = result == 0;
		char name[32];
		snprintf(name, sizeof(name), "names-%u", i); /* 15 characters fit */
		if (worker->started)
			pthread_setname_np(worker->thread, name);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (result != 0)
		return error_set(err, -result, "cannot start a thread to answer DNS: %s",
				 error_text(-result));
	return 0;
}

int naming_server_open(const struct naming_server_options *options,
		       struct naming_server **ret_server, struct error *err)
{
	int result = check_options(options, err);
	if (result != 0)
		return result;
	unsigned threads = naming_server_threads(options->threads);
	struct naming_server *server =
	    calloc(1, sizeof(*server) + threads * sizeof(*server->workers));
	if (!server)
		return error_set(err, -ENOMEM, "no memory to answer DNS");
	server->worker_count = threads;
	for (unsigned i = 0; i < threads; i++)
		server->workers[i].epoll = -1;

	server->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (server->stop < 0)
		result = error_set(err, -errno, "eventfd: %s", error_text(-errno));
	if (result == 0)
		result = choose_port(options, &server->port, err);
	for (unsigned i = 0; result == 0 && i < threads; i++)
		result = worker_init(&server->workers[i], server, options, err);
	if (result == 0)
		result = start_threads(server, err);
	if (result != 0) {
		naming_server_close(server);
		return result;
	}
	*ret_server = server;
	return 0;
}

uint16_t naming_server_port(const struct naming_server *server)
{
	return server->port;
}

void naming_server_swap(struct naming_server *server, struct naming_snapshot *snapshot)
{
	struct naming_snapshot *old = rcu_xchg_pointer(&server->snapshot, snapshot);
	urcu_memb_synchronize_rcu();
	naming_snapshot_free(old);
	count(&server->swaps, 1);
}

void naming_server_close(struct naming_server *server)
{
	if (!server)
		return;
	if (server->stop >= 0)
		ASSERT(eventfd_write(server->stop, 1) == 0);
	for (unsigned i = 0; i < server->worker_count; i++)
		if (server->workers[i].started)
			pthread_join(server->workers[i].thread, NULL);
	for (unsigned i = 0; i < server->worker_count; i++)
		worker_done(&server->workers[i]);
	if (server->stop >= 0)
		close(server->stop);
	naming_snapshot_free(server->snapshot);
	free(server);
}

void naming_server_counters(const struct naming_server *server, struct naming_counters *ret)
{
	struct naming_counters sum = {.swaps = count_read(&server->swaps)};
	for (unsigned w = 0; w < server->worker_count; w++) {
		const struct counts *counts = server->workers[w].counts;
		for (unsigned q = 0; q < NAMING_QTYPE_COUNT; q++)
			for (unsigned r = 0; r < NAMING_RESULT_COUNT; r++)
				for (unsigned t = 0; t < NAMING_TRANSPORTS; t++)
					sum.answers[q][r][t] +=
					    count_read(&counts->answers[q][r][t]);
		for (unsigned d = 0; d < NAMING_DROP_COUNT; d++)
			sum.drops[d] += count_read(&counts->drops[d]);
		sum.truncated += count_read(&counts->truncated);
		sum.tcp_accepted += count_read(&counts->tcp_accepted);
		sum.tcp_open += count_read(&counts->tcp_open);
	}
	*ret = sum;
}

uint64_t naming_server_answers(const struct naming_server *server, uint32_t counter_slot)
{
	if (counter_slot >= NAMING_COUNTER_SLOTS)
		return 0;
	uint64_t sum = 0;
	for (unsigned w = 0; w < server->worker_count; w++)
		sum += count_read(&server->workers[w].counts->slots[counter_slot]);
	return sum;
}
