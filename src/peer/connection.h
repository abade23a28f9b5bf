/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connection: one TCP connection of the channel's process, and the session over it. It moves bytes
 * between the two; what the session's events mean is its owner's affair.
 *
 * It is allocated by peer_connection_dial() or _accept() and frees itself when its handle is
 * closed, after on_closed. One loop's thread.
 */
#ifndef FAIRLEAD_PEER_CONNECTION_H
#define FAIRLEAD_PEER_CONNECTION_H

#include "peer/ids.h"
#include "peer/session.h"

#include <uv.h>

struct peer_connection;

struct peer_connection_calls {
	/* From within peer_connection_pump(). The session may be told things; do not pump it. */
	void (*on_event)(struct peer_connection *connection,
			 const struct peer_session_event *event);
	/* Bytes left, or the session ended: look at peer_session_queued(). */
	void (*on_moved)(struct peer_connection *connection);
	/* The last that is heard of it. */
	void (*on_closed)(struct peer_connection *connection);
};

struct peer_connection {
	struct peer_id id; /* the owner's */
	struct peer_session *session; /* owned */
	bool outgoing;
	struct ip_address address; /* the other side's; IP_NONE if it is gone already */
	uint16_t port;
	bool closing;

	/* the owner's */
	void *owner;
	bool is_up; /* the daemon knows it as up */
	bool is_told; /* the daemon waits for its end */
	bool is_over; /* its session has ended */
	uint64_t told_taken; /* bytes */

	/* private */
	const struct peer_connection_calls *calls;
	uv_tcp_t tcp;
	uv_connect_t dial;
	bool connected, writing, held;
	bool mute; /* nothing can be written any more; what came before may still be read */
};

/* Connect; the session is moved. A failure comes as the session's end. */
struct peer_connection *peer_connection_dial(uv_loop_t *loop,
					     const struct peer_connection_calls *calls, void *owner,
					     struct peer_session *session,
					     const struct ip_address *address, uint16_t port);

/* Who waits at the listener, with `session` unset and nothing read; NULL when nobody waits any
 * more. Give it a session and start it, or close it. */
struct peer_connection *peer_connection_accept(uv_loop_t *loop,
					       const struct peer_connection_calls *calls,
					       void *owner, uv_stream_t *listener);
void peer_connection_start(struct peer_connection *connection, struct peer_session *session);

/* Take the session's events, move bytes, close when it is over. After each thing that the owner
 * did to the session. */
void peer_connection_pump(struct peer_connection *connection);

/* Time passed: look at deadlines, and pump when one is due. */
void peer_connection_tick(struct peer_connection *connection, struct peer_now now);

/* Stop to read, or read again. */
void peer_connection_hold(struct peer_connection *connection, bool held);

/* At once, without a word. */
void peer_connection_close(struct peer_connection *connection);

/* Both clocks of this machine. */
struct peer_now peer_now_read(void);

#endif
