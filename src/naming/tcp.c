/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TCP (RFC 7766). A connection holds the bytes of queries not yet answered (a large one, such as an
 * update that is only refused, in a buffer made for it) and, when its client
 * does not take answers as fast as it asks, one block of answers not yet sent; while there is one,
 * nothing more is read. So a slow client holds up nobody but itself, and holds little.
 *
 * All connections have the same patience, counted from when they last were square with us (a
 * query answered, all answers taken). So the list of connections, each moved to its tail when it
 * becomes square, is in the order of deadlines.
 */
#include "base/clock.h"
#include "base/sockaddr.h"
#include "naming/worker.h"
#include "wire/dns.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <urcu/urcu-memb.h>

enum {
	LENGTH_BYTES = 2, /* before each message (RFC 1035 §4.2.2) */
	ACCEPTS_AT_ONCE = 16, /* then other events have their turn */
	PAUSE_MS = 100, /* of a listener when descriptors or memory are out */
};
_Static_assert(TCP_BLOCK_BYTES >= LENGTH_BYTES + NAMING_ANSWER_MAX,
	       "a block holds one answer at least");

struct tcp_connection {
	struct source source;
	TAILQ_ENTRY(tcp_connection) link;
	uint64_t deadline_ms;
	struct ip_address client;
	bool served; /* has had an answer */
	bool ended; /* the client sends no more */
	uint8_t *out; /* owned: answers not yet sent; NULL: none */
	size_t out_length, out_sent;
	size_t in_length, in_size;
	uint8_t *in; /* `usual`, or owned while a large query comes in */
	uint8_t usual[LENGTH_BYTES + NAMING_QUERY_MAX];
};

enum progress { GO_ON, WAIT, CLOSE };

int tcp_watch(const struct tcp_worker *worker, struct source *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};
	return epoll_ctl(worker->epoll, EPOLL_CTL_ADD, source->fd, &event) < 0 ? -errno : 0;
}

/* Read into the usual buffer again; what the large one holds is forgotten. */
static void leave_large(struct tcp_worker *worker, struct tcp_connection *c)
{
	if (c->in == c->usual)
		return;
	free(c->in);
	c->in = c->usual;
	c->in_size = sizeof(c->usual);
	c->in_length = 0;
	worker->large--;
}

/* Make room for a query of `length` bytes, whose beginning is all that has come in. */
static bool enter_large(struct tcp_worker *worker, struct tcp_connection *c, size_t length)
{
	uint8_t *in = worker->large < NAMING_TCP_LARGE ? malloc(LENGTH_BYTES + length) : NULL;
	if (!in)
		return false;
	memcpy(in, c->in, c->in_length);
	c->in = in;
	c->in_size = LENGTH_BYTES + length;
	worker->large++;
	return true;
}

static void close_connection(struct tcp_worker *worker, struct tcp_connection *c)
{
	leave_large(worker, c);
	close(c->source.fd); /* this also ends its epoll watch */
	c->source.fd = -1;
	free(c->out);
	c->out = NULL;
	TAILQ_REMOVE(&worker->open, c, link);
	TAILQ_INSERT_TAIL(&worker->closed, c, link);
	count(&worker->counts->tcp_open, UINT64_MAX); /* one less */
}

static void drop(struct tcp_worker *worker, struct tcp_connection *c, enum naming_drop reason)
{
	count(&worker->counts->drops[reason], 1);
	close_connection(worker, c);
}

static void set_square(struct tcp_worker *worker, struct tcp_connection *c, uint64_t now_ms)
{
	c->deadline_ms = now_ms + worker->idle_ms;
	TAILQ_REMOVE(&worker->open, c, link);
	TAILQ_INSERT_TAIL(&worker->open, c, link);
}

static int watch_for(const struct tcp_worker *worker, struct tcp_connection *c, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = &c->source};
	return epoll_ctl(worker->epoll, EPOLL_CTL_MOD, c->source.fd, &event) < 0 ? -errno : 0;
}

/* Send; what the kernel does not take now is kept. CLOSE if the client is gone. */
static enum progress send_block(struct tcp_worker *worker, struct tcp_connection *c, size_t length)
{
	ssize_t sent = send(c->source.fd, worker->block, length, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0 && errno != EAGAIN && errno != EINTR)
		return CLOSE;
	size_t done = sent < 0 ? 0 : (size_t)sent;
	if (done == length)
		return GO_ON;
	c->out = malloc(length - done);
	if (!c->out)
		return CLOSE;
	memcpy(c->out, worker->block + done, length - done);
	c->out_length = length - done;
	c->out_sent = 0;
	return watch_for(worker, c, EPOLLOUT) < 0 ? CLOSE : WAIT;
}

/* Send what is kept. */
static enum progress send_kept(struct tcp_worker *worker, struct tcp_connection *c)
{
	ssize_t sent = send(c->source.fd, c->out + c->out_sent, c->out_length - c->out_sent,
			    MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent < 0)
		return errno == EAGAIN || errno == EINTR ? WAIT : CLOSE;
	c->out_sent += (size_t)sent;
	if (c->out_sent < c->out_length)
		return WAIT;
	free(c->out);
	c->out = NULL;
	return watch_for(worker, c, EPOLLIN) < 0 ? CLOSE : GO_ON;
}

/*
 * Answer the whole queries in `in` into the worker's block until either runs out. `ret_used` is
 * how much of `in` is done with, `ret_written` how much of the block is filled. False if the client
 * does not speak DNS: what was answered is still to be sent, nothing more is.
 */
static bool answer_queries(struct tcp_worker *worker, struct tcp_connection *c, size_t *ret_used,
			   size_t *ret_written)
{
	size_t used = 0, written = 0;
	bool sane = true;
	urcu_memb_read_lock();
	const struct naming_snapshot *snapshot = in_force_snapshot(worker->in_force);
	struct naming_request request = in_force_request(worker->in_force, NAMING_TCP);
	request.client = c->client;
	while (c->in_length - used >= LENGTH_BYTES &&
	       TCP_BLOCK_BYTES - written >= LENGTH_BYTES + NAMING_ANSWER_MAX) {
		size_t length = dns_get_u16(c->in + used);
		if (c->in_length - used - LENGTH_BYTES < length)
			break;
		struct naming_outcome outcome;
		uint8_t *answer = worker->block + written;
		size_t answered =
		    naming_answer(snapshot, &request, c->in + used + LENGTH_BYTES, length,
				  answer + LENGTH_BYTES, NAMING_ANSWER_MAX, &outcome);
		count_outcome(worker->counts, NAMING_TCP, &outcome);
		used += LENGTH_BYTES + length;
		if (answered == 0) {
			sane = false;
			break;
		}
		dns_put_u16(answer, (unsigned)answered);
		written += LENGTH_BYTES + answered;
	}
	urcu_memb_read_unlock();
	*ret_used = used;
	*ret_written = written;
	return sane;
}

/* Have room for the query whose beginning is there. */
static enum progress await_query(struct tcp_worker *worker, struct tcp_connection *c)
{
	size_t length = c->in_length >= LENGTH_BYTES ? dns_get_u16(c->in) : 0;
	if (LENGTH_BYTES + length <= c->in_size || enter_large(worker, c, length))
		return GO_ON;
	count(&worker->counts->drops[NAMING_DROP_OVERSIZED], 1);
	return CLOSE;
}

/* Answer all that is there. GO_ON: it waits for input now; WAIT: for room to send. */
static enum progress serve_input(struct tcp_worker *worker, struct tcp_connection *c,
				 uint64_t now_ms)
{
	for (;;) {
		size_t used, written;
		bool sane = answer_queries(worker, c, &used, &written);
		if (used == 0 && sane)
			return c->ended ? CLOSE : await_query(worker, c);
		if (c->in != c->usual)
			leave_large(worker, c); /* it held this query and no more */
		else {
			memmove(c->in, c->in + used, c->in_length - used);
			c->in_length -= used;
		}
		if (!sane) {
			/* What it asked before is still answered; what it sends now is not read. */
			c->in_length = 0;
			c->ended = true;
		}
		enum progress progress = GO_ON;
		if (written > 0) {
			c->served = true;
			progress = send_block(worker, c, written);
		}
		if (progress == CLOSE)
			count(&worker->counts->drops[NAMING_DROP_TCP_RESET], 1);
		if (progress != GO_ON)
			return progress;
		set_square(worker, c, now_ms);
	}
}

static enum progress read_input(struct tcp_connection *c)
{
	/* There is room: a buffer that is full holds a whole query, and that was answered. */
	ssize_t got =
	    recv(c->source.fd, c->in + c->in_length, c->in_size - c->in_length, MSG_DONTWAIT);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? WAIT : CLOSE;
	if (got == 0)
		c->ended = true; /* perhaps only its half: answers are still owed */
	c->in_length += (size_t)got;
	return GO_ON;
}

void tcp_serve(struct tcp_worker *worker, struct source *source, uint32_t events, uint64_t now_ms)
{
	struct tcp_connection *c = (struct tcp_connection *)source;
	if (source->fd < 0)
		return; /* closed by an earlier event of this round */
	enum progress progress;
	if (c->out) {
		progress = send_kept(worker, c);
		if (progress == CLOSE)
			count(&worker->counts->drops[NAMING_DROP_TCP_RESET], 1);
		if (progress == GO_ON)
			set_square(worker, c, now_ms);
	} else {
		progress = events & (EPOLLIN | EPOLLHUP | EPOLLERR) ? read_input(c) : WAIT;
	}
	if (progress == GO_ON)
		progress = serve_input(worker, c, now_ms);
	if (progress == CLOSE)
		close_connection(worker, c);
}

/* ---- accepting ---- */

/* Whether one who has the one address can take the other: his IPv6 network is his own. */
static bool is_same_source(const struct ip_address *a, const struct ip_address *b)
{
	return a->family == b->family &&
	       memcmp(a->bytes, b->bytes, a->family == IP_V4 ? 4 : 8) == 0;
}

/* Make room if the source has all the connections that it may have. The list is walked: accepting
 * one costs far more than that. */
static void make_room_of_source(struct tcp_worker *worker, const struct ip_address *client)
{
	struct tcp_connection *oldest = NULL, *c;
	unsigned open = 0;
	TAILQ_FOREACH(c, &worker->open, link)
	{
		if (!is_same_source(&c->client, client))
			continue;
		if (!oldest)
			oldest = c;
		open++;
	}
	if (oldest && open >= worker->per_source)
		drop(worker, oldest, NAMING_DROP_TCP_SOURCE);
}

static void take_connection(struct tcp_worker *worker, int fd, const struct sockaddr_storage *from,
			    uint64_t now_ms)
{
	struct ip_address client = sockaddr_address((const struct sockaddr *)from);
	make_room_of_source(worker, &client);
	struct tcp_connection *nearest = TAILQ_FIRST(&worker->open);
	if (nearest && count_read(&worker->counts->tcp_open) >= worker->limit)
		drop(worker, nearest, NAMING_DROP_TCP_EVICTED);

	struct tcp_connection *c = calloc(1, sizeof(*c));
	int on = 1;
	if (!c || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
		goto fail;
	c->source = (struct source){SOURCE_CONNECTION, fd};
	c->client = client;
	c->in = c->usual;
	c->in_size = sizeof(c->usual);
	c->deadline_ms = now_ms + worker->idle_ms;
	if (tcp_watch(worker, &c->source, EPOLLIN) < 0)
		goto fail;
	TAILQ_INSERT_TAIL(&worker->open, c, link);
	count(&worker->counts->tcp_accepted, 1);
	count(&worker->counts->tcp_open, 1);
	return;
fail:
	count(&worker->counts->drops[NAMING_DROP_TCP_ACCEPT], 1);
	free(c);
	close(fd);
}

static void set_paused(struct tcp_worker *worker, struct listener *listener, bool paused)
{
	struct epoll_event event = {.events = paused ? 0 : EPOLLIN, .data.ptr = &listener->source};
	if (epoll_ctl(worker->epoll, EPOLL_CTL_MOD, listener->source.fd, &event) == 0)
		listener->paused = paused;
}

void tcp_accept(struct tcp_worker *worker, struct listener *listener, uint64_t now_ms)
{
	for (unsigned i = 0; i < ACCEPTS_AT_ONCE; i++) {
		struct sockaddr_storage from;
		socklen_t length = sizeof(from);
		int fd = accept4(listener->source.fd, (struct sockaddr *)&from, &length,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0) {
			take_connection(worker, fd, &from, now_ms);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
			   errno == ENOBUFS) {
			/* The connection stays in the queue; asking for it again at once would
			 * spin. */
			count(&worker->counts->drops[NAMING_DROP_TCP_ACCEPT], 1);
			set_paused(worker, listener, true);
			worker->resume_ms = now_ms + PAUSE_MS;
			return;
		} else if (errno == EAGAIN) {
			return;
		} /* else the client was gone already (ECONNABORTED and the like): next */
	}
}

/* ---- time ---- */

static void resume_listeners(struct tcp_worker *worker)
{
	for (size_t i = 0; i < worker->listener_count; i++)
		if (worker->listeners[i].paused)
			set_paused(worker, &worker->listeners[i], false);
	worker->resume_ms = 0;
}

static void free_closed(struct tcp_worker *worker)
{
	for (struct tcp_connection *c; (c = TAILQ_FIRST(&worker->closed));) {
		TAILQ_REMOVE(&worker->closed, c, link);
		free(c);
	}
}

void tcp_tick(struct tcp_worker *worker, uint64_t now_ms)
{
	for (struct tcp_connection *c;
	     (c = TAILQ_FIRST(&worker->open)) && c->deadline_ms <= now_ms;) {
		/* A client that asked, took its answers and then fell silent did nothing wrong. */
		if (c->served && !c->out && c->in_length == 0)
			close_connection(worker, c);
		else
			drop(worker, c, NAMING_DROP_TCP_IDLE);
	}
	free_closed(worker);
	if (worker->resume_ms && worker->resume_ms <= now_ms)
		resume_listeners(worker);
}

int tcp_timeout_ms(const struct tcp_worker *worker, uint64_t now_ms)
{
	uint64_t next = UINT64_MAX;
	const struct tcp_connection *c = TAILQ_FIRST(&worker->open);
	if (c)
		next = c->deadline_ms;
	if (worker->resume_ms && worker->resume_ms < next)
		next = worker->resume_ms;
	if (next == UINT64_MAX)
		return -1;
	return next <= now_ms ? 0 : (int)(next - now_ms);
}

void tcp_close_all(struct tcp_worker *worker)
{
	while (!TAILQ_EMPTY(&worker->open))
		close_connection(worker, TAILQ_FIRST(&worker->open));
	free_closed(worker);
}
