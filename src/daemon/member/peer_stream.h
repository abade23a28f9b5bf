/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Peer stream: the messages of wire/peer.h over a Unix stream socket, on a libuv loop. Frames are
 * read whole and decoded; what this build does not know is passed over and counted. The stream ends
 * once, with a reason: the other side went, sent what is no message, or does not read.
 */
#ifndef FAIRLEAD_DAEMON_MEMBER_PEER_STREAM_H
#define FAIRLEAD_DAEMON_MEMBER_PEER_STREAM_H

#include "base/buffer.h"
#include "wire/peer.h"

#include <uv.h>

#define PEER_STREAM_BACKLOG (16u << 20) /* bytes that the other side may leave unread */

struct peer_stream;

/* What `message` points to is in `arena`; who moves the arena away leaves a zeroed one. */
typedef void peer_stream_message_fn(struct peer_stream *stream, const struct peer_message *message,
				    struct arena *arena);
/* Nothing comes after this but on_closed. */
typedef void peer_stream_end_fn(struct peer_stream *stream, const char *why);
/* The handle is closed; the memory may go. */
typedef void peer_stream_closed_fn(struct peer_stream *stream);

struct peer_stream {
	uv_pipe_t pipe;
	struct buffer input;
	size_t unsent;
	bool ended;
	uint64_t skipped; /* messages that this build does not know */
	peer_stream_message_fn *on_message;
	peer_stream_end_fn *on_end;
	peer_stream_closed_fn *on_closed;
	void *context;
};

/* The caller has set the callbacks and `context`, and connects or accepts on `pipe`. */
void peer_stream_init(struct peer_stream *stream, uv_loop_t *loop);

/* Begin to read. */
void peer_stream_start(struct peer_stream *stream);

/* A message outside its limits is a bug: what comes from elsewhere was made fit before. */
void peer_stream_send(struct peer_stream *stream, const struct peer_message *message);

/* End it from this side, with `why`; on_end is called. Does nothing when it has ended. */
void peer_stream_end(struct peer_stream *stream, const char *why);

#endif
