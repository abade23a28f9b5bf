/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pipe between the daemon and its channel process, on either side: the messages of wire/channel.h
 * over a Unix stream socket, on a libuv loop. Nobody waits for the other: what the other side does
 * not read is held, and `unsent` says how much. The pipe ends once, with a reason.
 */
#ifndef FAIRLEAD_PEER_PIPE_H
#define FAIRLEAD_PEER_PIPE_H

#include "base/buffer.h"
#include "wire/channel.h"

#include <uv.h>

#define PEER_PIPE_CHUNK 65536u

struct peer_pipe;

/* What `message` points to is gone after it. */
typedef void peer_pipe_message_fn(struct peer_pipe *pipe, const struct channel_message *message);
/* Some of what was unsent is sent. */
typedef void peer_pipe_sent_fn(struct peer_pipe *pipe);
/* Nothing comes after this but on_closed. */
typedef void peer_pipe_end_fn(struct peer_pipe *pipe, const char *why);
/* The memory may go. */
typedef void peer_pipe_closed_fn(struct peer_pipe *pipe);

struct peer_pipe {
	uv_pipe_t handle;
	size_t unsent; /* bytes */
	bool ended;
	struct buffer input; /* private */
	char chunk[PEER_PIPE_CHUNK]; /* private */
	peer_pipe_message_fn *on_message;
	peer_pipe_sent_fn *on_sent; /* NULL: not wanted */
	peer_pipe_end_fn *on_end;
	peer_pipe_closed_fn *on_closed;
	void *context;
};

/* The caller sets the calls and `context` afterwards, and opens `handle`. */
void peer_pipe_init(struct peer_pipe *pipe, uv_loop_t *loop);

/* Begin to read. */
void peer_pipe_start(struct peer_pipe *pipe);

/* A message outside its limits is a bug: what comes from elsewhere was made fit before. */
void peer_pipe_send(struct peer_pipe *pipe, const struct channel_message *message);

/* End it from this side; on_end is called. Does nothing when it has ended. */
void peer_pipe_end(struct peer_pipe *pipe, const char *why);

#endif
