/* SPDX-License-Identifier: Apache-2.0 */
#include "naming/server.h"

#include "base/random.h"
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
	struct in_force in_force; /* what it points to is owned */
	struct random *random; /* borrowed; NULL: none */
	uint16_t port;
	int stop; /* an eventfd that becomes readable, for all TCP workers, when they should end */
	uint64_t swaps;
	struct udp_worker *udp; /* owned: a row of `threads` for each address */
	size_t udp_count;
	struct tcp_worker *tcp; /* owned */
	size_t tcp_count;
};

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

static int no_memory(struct error *err)
{
	return error_set(err, -ENOMEM, "no memory to answer DNS");
}

static int epoll_error(int result, struct error *err)
{
	return error_set(err, result, "epoll: %s", error_text(result));
}

/* Everything a worker needs before its thread starts; udp_done undoes whatever was done. */
static int udp_init(struct udp_worker *worker, struct naming_server *server,
		    const struct ip_address *address, struct error *err)
{
	static const uint8_t any[16];
	worker->in_force = &server->in_force;
	worker->wildcard = memcmp(address->bytes, any, sizeof(any)) == 0;
	worker->counts = calloc(1, sizeof(*worker->counts));
	if (!worker->counts || udp_batch_new(&worker->batch) < 0)
		return no_memory(err);
	return listen_open(address, server->port, NAMING_UDP, &worker->fd, err);
}

static void udp_done(struct udp_worker *worker)
{
	if (worker->fd >= 0)
		close(worker->fd);
	udp_batch_free(worker->batch);
	free(worker->counts);
}

static int tcp_add_listener(struct tcp_worker *worker, const struct ip_address *address,
			    uint16_t port, struct error *err)
{
	struct listener *listener = &worker->listeners[worker->listener_count];
	listener->source.kind = SOURCE_LISTENER;
	int result = listen_open(address, port, NAMING_TCP, &listener->source.fd, err);
	if (result != 0)
		return result;
	worker->listener_count++;
	result = tcp_watch(worker, &listener->source, EPOLLIN);
	return result < 0 ? epoll_error(result, err) : 0;
}

/* As udp_init, for tcp_done. */
static int tcp_init(struct tcp_worker *worker, struct naming_server *server,
		    const struct naming_server_options *options, struct error *err)
{
	worker->in_force = &server->in_force;
	TAILQ_INIT(&worker->open);
	TAILQ_INIT(&worker->closed);
	worker->limit =
	    options->tcp_connections ? options->tcp_connections : NAMING_TCP_CONNECTIONS;
	worker->per_source = options->tcp_per_source ? options->tcp_per_source
						     : worker->limit / 8 + (worker->limit % 8 > 0);
	worker->idle_ms = options->tcp_idle_ms ? options->tcp_idle_ms : TCP_IDLE_MS_DEFAULT;
	worker->listeners = calloc(options->address_count, sizeof(*worker->listeners));
	worker->counts = calloc(1, sizeof(*worker->counts));
	worker->block = malloc(TCP_BLOCK_BYTES);
	if (!worker->listeners || !worker->counts || !worker->block)
		return no_memory(err);

	worker->epoll = epoll_create1(EPOLL_CLOEXEC);
	worker->stop = (struct source){SOURCE_STOP, server->stop};
	int result = worker->epoll < 0 ? -errno : tcp_watch(worker, &worker->stop, EPOLLIN);
	if (result < 0)
		return epoll_error(result, err);
	for (size_t i = 0; i < options->address_count; i++) {
		result = tcp_add_listener(worker, &options->addresses[i], server->port, err);
		if (result != 0)
			return result;
	}
	return 0;
}

static void tcp_done(struct tcp_worker *worker)
{
	for (size_t i = 0; i < worker->listener_count; i++)
		close(worker->listeners[i].source.fd);
	if (worker->epoll >= 0)
		close(worker->epoll);
	free(worker->block);
	free(worker->counts);
	free(worker->listeners);
}

static int start_thread(pthread_t *thread, bool *started, void *(*run)(void *), void *worker,
			const char *transport, size_t number)
{
	int result = pthread_create(thread, NULL, run, worker);
	*started = result == 0;
	char name[32];
	snprintf(name, sizeof(name), "names-%s-%zu", transport, number); /* 15 characters fit */
	if (*started)
		pthread_setname_np(*thread, name);
	return result;
}

static int start_threads(struct naming_server *server, struct error *err)
{
	/* Signals are for the main thread. */
	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int result = 0;
	for (size_t i = 0; result == 0 && i < server->udp_count; i++) {
		struct udp_worker *worker = &server->udp[i];
		result = start_thread(&worker->thread, &worker->started, udp_run, worker, "udp", i);
	}
	for (size_t i = 0; result == 0 && i < server->tcp_count; i++) {
		struct tcp_worker *worker = &server->tcp[i];
		result = start_thread(&worker->thread, &worker->started, tcp_run, worker, "tcp", i);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (result != 0)
		return error_set(err, -result, "cannot start a thread to answer DNS: %s",
				 error_text(-result));
	return 0;
}

/* Room for all workers, in which there is nothing yet to be undone. */
static int make_workers(struct naming_server *server, size_t threads, size_t addresses,
			struct error *err)
{
	server->udp = calloc(threads * addresses, sizeof(*server->udp));
	server->tcp = calloc(threads, sizeof(*server->tcp));
	if (!server->udp || !server->tcp)
		return no_memory(err);
	server->udp_count = threads * addresses;
	server->tcp_count = threads;
	for (size_t i = 0; i < server->udp_count; i++)
		server->udp[i].fd = -1;
	for (size_t i = 0; i < server->tcp_count; i++)
		server->tcp[i].epoll = -1;
	return 0;
}

static int init_workers(struct naming_server *server, const struct naming_server_options *options,
			struct error *err)
{
	int result = 0;
	for (size_t i = 0; result == 0 && i < server->udp_count; i++)
		result = udp_init(&server->udp[i], server,
				  &options->addresses[i / server->tcp_count], err);
	for (size_t i = 0; result == 0 && i < server->tcp_count; i++)
		result = tcp_init(&server->tcp[i], server, options, err);
	return result;
}

/* The secrets of cookies and of the table that limits answers. */
static int draw_secrets(struct naming_server *server, struct error *err)
{
	uint8_t secret[LIMITER_SECRET_BYTES];
	if (!server->random)
		return 0;
	random_fill(server->random, secret, sizeof(secret));
	int result = limiter_new(secret, &server->in_force.limiter);
	if (result == 0)
		result = naming_server_renew(server);
	return result < 0 ? no_memory(err) : 0;
}

int naming_server_open(const struct naming_server_options *options,
		       struct naming_server **ret_server, struct error *err)
{
	int result = check_options(options, err);
	if (result != 0)
		return result;
	struct naming_server *server = calloc(1, sizeof(*server));
	if (!server)
		return no_memory(err);
	server->random = options->random;
	server->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (server->stop < 0)
		result = error_set(err, -errno, "eventfd: %s", error_text(-errno));
	if (result == 0)
		result = make_workers(server, naming_server_threads(options->threads),
				      options->address_count, err);
	if (result == 0)
		result = draw_secrets(server, err);
	if (result == 0)
		result = choose_port(options, &server->port, err);
	if (result == 0)
		result = init_workers(server, options, err);
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
	struct naming_snapshot *old = rcu_xchg_pointer(&server->in_force.snapshot, snapshot);
	urcu_memb_synchronize_rcu();
	naming_snapshot_free(old);
	count(&server->swaps, 1);
}

int naming_server_renew(struct naming_server *server)
{
	if (!server->random)
		return 0;
	struct cookie_secrets *secrets = malloc(sizeof(*secrets));
	if (!secrets)
		return -ENOMEM;
	const struct cookie_secrets *before = server->in_force.secrets;
	random_fill(server->random, secrets->now, sizeof(secrets->now));
	memcpy(secrets->before, before ? before->now : secrets->now, sizeof(secrets->before));
	struct cookie_secrets *old = rcu_xchg_pointer(&server->in_force.secrets, secrets);
	urcu_memb_synchronize_rcu();
	free(old);
	return 0;
}

/* Make all threads end, and wait for them. */
static void stop_threads(struct naming_server *server)
{
	__atomic_store_n(&server->in_force.stops, true, __ATOMIC_RELEASE);
	if (server->stop >= 0)
		ASSERT(eventfd_write(server->stop, 1) == 0);
	for (size_t i = 0; i < server->udp_count; i++)
		if (server->udp[i].started)
			udp_wake(&server->udp[i]);
	for (size_t i = 0; i < server->udp_count; i++)
		if (server->udp[i].started)
			pthread_join(server->udp[i].thread, NULL);
	for (size_t i = 0; i < server->tcp_count; i++)
		if (server->tcp[i].started)
			pthread_join(server->tcp[i].thread, NULL);
}

void naming_server_close(struct naming_server *server)
{
	if (!server)
		return;
	stop_threads(server);
	for (size_t i = 0; i < server->udp_count; i++)
		udp_done(&server->udp[i]);
	for (size_t i = 0; i < server->tcp_count; i++)
		tcp_done(&server->tcp[i]);
	if (server->stop >= 0)
		close(server->stop);
	naming_snapshot_free(server->in_force.snapshot);
	free(server->in_force.secrets);
	limiter_free(server->in_force.limiter);
	free(server->udp);
	free(server->tcp);
	free(server);
}

static void add_counts(struct naming_counters *sum, const struct counts *counts)
{
	for (unsigned q = 0; q < NAMING_QTYPE_COUNT; q++)
		for (unsigned r = 0; r < NAMING_RESULT_COUNT; r++)
			for (unsigned t = 0; t < NAMING_TRANSPORTS; t++)
				sum->answers[q][r][t] += count_read(&counts->answers[q][r][t]);
	for (unsigned d = 0; d < NAMING_DROP_COUNT; d++)
		sum->drops[d] += count_read(&counts->drops[d]);
	sum->truncated += count_read(&counts->truncated);
	sum->tcp_accepted += count_read(&counts->tcp_accepted);
	sum->tcp_open += count_read(&counts->tcp_open);
	sum->known += count_read(&counts->known);
}

void naming_server_counters(const struct naming_server *server, struct naming_counters *ret)
{
	struct naming_counters sum = {.swaps = count_read(&server->swaps)};
	for (size_t i = 0; i < server->udp_count; i++)
		add_counts(&sum, server->udp[i].counts);
	for (size_t i = 0; i < server->tcp_count; i++)
		add_counts(&sum, server->tcp[i].counts);
	*ret = sum;
}
