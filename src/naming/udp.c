/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP: read up to 64 queries in one system call, answer them from one snapshot, send the answers
 * in one call. The socket path is most of a query's cost, and this saves a quarter of it.
 */
#include "naming/worker.h"

#include "base/sockaddr.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <urcu/urcu-memb.h>

enum {
	BATCH = 64,
	SHORT_EVERY = 2, /* of the answers that a network should not get; else a client gets none */
	SEND_WAIT_MS = 50, /* for room in a full send buffer */
};

/* Rows of exactly a page would all fall on the same few sets of the first-level cache. */
enum { QUERY_ROW = NAMING_QUERY_MAX + 64, ANSWER_ROW = NAMING_UDP_ANSWER_MAX };

struct control {
	alignas(struct cmsghdr) uint8_t bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

struct udp_batch {
	struct mmsghdr in[BATCH], out[BATCH];
	struct iovec in_vector[BATCH], out_vector[BATCH];
	struct sockaddr_storage from[BATCH];
	struct control control[BATCH]; /* which of our addresses; sent back as it came */
	uint8_t queries[BATCH][QUERY_ROW];
	uint8_t answers[BATCH][ANSWER_ROW];
};

int udp_batch_new(struct udp_batch **ret_batch)
{
	struct udp_batch *batch = calloc(1, sizeof(*batch));
	if (!batch)
		return -ENOMEM;
	for (unsigned i = 0; i < BATCH; i++) {
		batch->in_vector[i] = (struct iovec){batch->queries[i], NAMING_QUERY_MAX};
		batch->in[i].msg_hdr.msg_iov = &batch->in_vector[i];
		batch->in[i].msg_hdr.msg_iovlen = 1;
		batch->in[i].msg_hdr.msg_name = &batch->from[i];
		batch->in[i].msg_hdr.msg_control = &batch->control[i];
	}
	*ret_batch = batch;
	return 0;
}

void udp_batch_free(struct udp_batch *batch)
{
	free(batch);
}

/* The address to leave from is the one that the query came to; the interface is left to routing,
 * which knows better, unless the address means nothing without it. */
static void set_way_back(struct msghdr *message)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);
	if (!header)
		return;
	void *data = CMSG_DATA(header);
	if (header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
		/* ipi_spec_dst is the query's destination, or for a broadcast our address. */
		struct in_pktinfo *info = data;
		info->ipi_ifindex = 0;
	} else if (header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_PKTINFO) {
		struct in6_pktinfo *info = data;
		if (!IN6_IS_ADDR_LINKLOCAL(&info->ipi6_addr))
			info->ipi6_ifindex = 0;
	}
}

/* Answer in[i] into out[at]; false if it gets no answer. */
static bool answer_one(struct udp_worker *worker, const struct naming_snapshot *snapshot,
		       struct naming_request *request, uint64_t now_us, unsigned i, unsigned at)
{
	struct udp_batch *batch = worker->batch;
	struct msghdr *in = &batch->in[i].msg_hdr;
	if (in->msg_flags & MSG_TRUNC) {
		count(&worker->counts->drops[NAMING_DROP_OVERSIZED], 1);
		return false;
	}
	request->client = sockaddr_address((const struct sockaddr *)&batch->from[i]);
	request->limited = false;
	struct naming_outcome outcome;
	size_t length = naming_answer(snapshot, request, batch->queries[i], batch->in[i].msg_len,
				      batch->answers[at], ANSWER_ROW, &outcome);
	if (length > 0 && now_us > 0 && !outcome.known &&
	    limiter_is_over(worker->in_force->limiter, &request->client,
			    naming_snapshot_rate(snapshot), now_us)) {
		if (++worker->over % SHORT_EVERY != 0) {
			count(&worker->counts->drops[NAMING_DROP_LIMITED], 1);
			return false;
		}
		request->limited = true;
		length = naming_answer(snapshot, request, batch->queries[i], batch->in[i].msg_len,
				       batch->answers[at], ANSWER_ROW, &outcome);
	}
	count_outcome(worker->counts, NAMING_UDP, &outcome);
	if (length == 0)
		return false;

	batch->out_vector[at] = (struct iovec){batch->answers[at], length};
	batch->out[at].msg_hdr = (struct msghdr){.msg_name = in->msg_name,
						 .msg_namelen = in->msg_namelen,
						 .msg_iov = &batch->out_vector[at],
						 .msg_iovlen = 1};
	if (worker->wildcard && in->msg_controllen > 0) {
		set_way_back(in);
		batch->out[at].msg_hdr.msg_control = in->msg_control;
		batch->out[at].msg_hdr.msg_controllen = in->msg_controllen;
	}
	return true;
}

static void send_answers(struct udp_worker *worker, unsigned total)
{
	uint64_t *dropped = &worker->counts->drops[NAMING_DROP_SEND];
	for (unsigned sent = 0; sent < total;) {
		int now =
		    sendmmsg(worker->fd, worker->batch->out + sent, total - sent, MSG_DONTWAIT);
		if (now > 0) {
			sent += (unsigned)now;
		} else if (errno == EAGAIN) {
			struct pollfd writable = {.fd = worker->fd, .events = POLLOUT};
			if (poll(&writable, 1, SEND_WAIT_MS) == 0) {
				count(dropped, total - sent);
				return;
			}
		} else if (errno != EINTR) {
			/* The first one is refused (no route, a port of zero, …): pass it. */
			count(dropped, 1);
			sent++;
		}
	}
}

bool udp_serve(struct udp_worker *worker, int flags)
{
	struct udp_batch *batch = worker->batch;
	for (unsigned i = 0; i < BATCH; i++) { /* the kernel writes over these */
		batch->in[i].msg_hdr.msg_namelen = sizeof(batch->from[i]);
		batch->in[i].msg_hdr.msg_controllen =
		    worker->wildcard ? sizeof(batch->control[i]) : 0;
	}
	int received = recvmmsg(worker->fd, batch->in, BATCH, flags, NULL);
	if (received <= 0)
		return false;

	unsigned total = 0;
	urcu_memb_read_lock();
	const struct naming_snapshot *snapshot = in_force_snapshot(worker->in_force);
	struct naming_request request = in_force_request(worker->in_force, NAMING_UDP);
	/* One reading of the clock for a batch; none where nothing is limited. */
	uint64_t now_us = worker->in_force->limiter && snapshot && naming_snapshot_rate(snapshot)
			      ? clock_now_ms(&clock_system) * 1000
			      : 0;
	for (unsigned i = 0; i < (unsigned)received; i++)
		if (answer_one(worker, snapshot, &request, now_us, i, total))
			total++;
	urcu_memb_read_unlock();
	send_answers(worker, total);
	return received == BATCH;
}
