/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line in memory between a store's client (store/peer/client.h) and a store that is served
 * (server.h): frames take some turns, in order, and the line can be cut. The whole of it is a store
 * again, whose dispatch is one turn, so that whoever tests a store can test this one.
 */
#ifndef FAIRLEAD_TESTS_PEER_WIRE_H
#define FAIRLEAD_TESTS_PEER_WIRE_H

#include "base/random.h"
#include "store/engine.h"
#include "store/peer/client.h"
#include "store/peer/server.h"

struct wire_frame;

/* Frames on their way to one end. */
struct wire_way {
	struct wire_frame *first;
	struct wire_frame **last;
	size_t bytes;
	bool stalled; /* nothing arrives: the reader is slow */
};

struct peer_wire {
	struct store base; /* the client, with a turn of everything as its dispatch */
	struct store *client; /* owned */
	struct store *served; /* owned */
	const char *refusal; /* of changes; "" */
	struct store_session *session; /* NULL while the line is down */
	struct wire_way to_client, to_server;
	struct random random;
	uint64_t turn;
	unsigned most_turns; /* that a frame takes */
	bool wants_cut; /* an end asked for it */
	/* The chance in 1,000 that the line breaks and comes back: at a turn, or before a call when
	 * nothing is under way. */
	unsigned cuts_at_turns;
	unsigned cuts_when_idle;
	unsigned cuts; /* how many there were */
};

/* Takes over `served`, and brings the line up. */
void peer_wire_init(struct peer_wire *wire, struct store *served, uint64_t seed);
/* Closes both stores. So does store_close(&wire->base). */
void peer_wire_done(struct peer_wire *wire);

/* What is on its way is lost. */
void peer_wire_cut(struct peer_wire *wire);
void peer_wire_connect(struct peer_wire *wire);

/* Frames arrive, both stores are dispatched. */
void peer_wire_turn(struct peer_wire *wire);
/* Turns until nothing is on its way or owed. */
void peer_wire_settle(struct peer_wire *wire);

#endif
