/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One of many edges that a single process is to a voter: a member with a channel key, a certificate
 * and a source address of its own, which it got by joining with a token. It speaks the node channel
 * by the product's own session (peer/session.h) over TCP: hello, beats, the store's calls, its
 * observations. It follows the store as a node does whose replica stands at the voter's head, and
 * acknowledges an entry when it has taken it in and found that it continues its chain. What it has
 * not got is a disk and maps.
 *
 * The loop's thread. What goes wrong ends the program with a sentence.
 */
#ifndef FAIRLEAD_BENCH_FABRIC_EDGE_H
#define FAIRLEAD_BENCH_FABRIC_EDGE_H

#include "bench/fabric_view.h"
#include "peer/connection.h"
#include "peer/token.h"

#include <uv.h>

struct edge;

/* What all edges of the process have in common. */
struct edges {
	uv_loop_t *loop;
	struct ip_address voter;
	uint16_t port;
	struct view *view;
	struct random random;
	bool acknowledges; /* otherwise an edge takes entries in and keeps it to itself */
	uint64_t lost; /* sessions that ended and were begun again */
	/* Called from within the loop. */
	void (*on_joined)(struct edge *edge);
	void (*on_follows)(struct edge *edge); /* it knows all that the voter knows */
	void (*on_held)(struct edge *edge, const struct view_revision *told);
};

/* The numbered one, from 0: its name and addresses follow from that. */
struct edge *edge_new(struct edges *edges, unsigned number);
void edge_free(struct edge *edge); /* after edge_close() and a turn of the loop */

/* Ask to be let in; then on_joined. `text` is a token. */
void edge_join(struct edge *edge, const char *text);
/* A member connects; then on_follows. */
void edge_connect(struct edge *edge);
void edge_close(struct edge *edge);

/* Time passed. */
void edge_tick(struct edge *edge, struct peer_now now);

struct edge_traffic {
	uint64_t frames_in, frames_out, bytes_in, bytes_out;
};

/* Of its present session. */
struct edge_traffic edge_traffic(const struct edge *edge);

#endif
