/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channel: the daemon's side of the node channel. The network, TLS and what strangers say belong to
 * a process of its own (worker.h), which this starts by exec of its own program, hands a socket
 * that is bound already, and talks to by wire/channel.h. What comes from there is checked once
 * more: a process that was taken over can say what any of its peers could have said, and no more.
 *
 * A *remote* is one session: with a member, or of a join. It is made by peer_channel_connect(), or
 * by whoever connects, and told of as: `on_up`, frames, `on_down`; a connect that fails: `on_down`;
 * a join that was asked for here: `on_join`, which is answered with one frame, then `on_down`. It
 * is gone after on_down. Its `send`, `queued` and `cut` below have the shape that a store's line
 * wants (store/peer/line.h).
 *
 * Nothing here waits. A remote that does not read is cut when PEER_QUEUE_BYTES of frames are on
 * their way to it; the process that does not read is ended when PEER_CHANNEL_BACKLOG are. When the
 * process ends, for whatever reason, all remotes are told down, then on_end; peer_channel_start()
 * begins a new one, which is told identity and members again.
 *
 * The loop's thread, which must be the program's first one (the process dies with the thread that
 * started it); calls never come from within a call of the owner's, but for on_down and on_end
 * from within peer_channel_send() and peer_channel_stop(). Memory that is missing ends the program.
 */
#ifndef FAIRLEAD_PEER_CHANNEL_H
#define FAIRLEAD_PEER_CHANNEL_H

#include "peer/session.h"
#include "wire/channel.h"

#include <uv.h>

#define PEER_CHANNEL_BACKLOG (128u << 20)
#define PEER_CHANNEL_STOP_MS 1500u /* for last words, when it stops */

struct peer_channel;
struct peer_remote;

struct peer_channel_calls {
	/* The process has given up its rights, and accepts and connects from now on. */
	void (*on_ready)(void *context);
	/* `up` is borrowed; set the remote's context. */
	void (*on_up)(void *context, struct peer_remote *remote, const struct channel_up *up);
	/* A whole frame and what is in it, borrowed; who moves the arena away leaves a zeroed one.
	 * Of a join that was asked for by peer_channel_connect(): the answer. */
	void (*on_frame)(void *context, struct peer_remote *remote, const struct wire_bytes *frame,
			 const struct peer_message *message, struct arena *arena);
	/* A machine asks to join. Its channel key is proven, nothing else is. Answer by
	 * peer_channel_send() with a `join_take` or `join_refuse`, within PEER_JOIN_MS. */
	void (*on_join)(void *context, struct peer_remote *remote, const struct channel_join *join,
			const struct peer_join_ask *ask);
	/* How it ended: enum peer_session_end, a sentence, maybe the signed removal of this node.
	 */
	void (*on_down)(void *context, struct peer_remote *remote, const struct channel_down *down);
	/* Somebody was refused: for the log. PEER_PARTING_COPIED is worth an alarm. NULL is fine.
	 */
	void (*on_turned_away)(void *context, const struct channel_turned_away *who);
	/* The process's sums, at most once a second; they begin anew with each process.
	 * NULL is fine. */
	void (*on_counters)(void *context, const struct channel_counters *counters);
	/* The process is gone: may be started again, or freed. `why` is a sentence. */
	void (*on_end)(void *context, const char *why);
};

struct peer_channel_options {
	uv_loop_t *loop; /* borrowed, like all of this, until peer_channel_free() */
	const char *user; /* that the process becomes, where there is one */
	unsigned files; /* most descriptors of the process: 64 at least; one for each session */
	bool listens; /* otherwise it only connects */
	struct ip_address address; /* to listen on; IP_NONE: all of both families */
	uint16_t port; /* 0: one that is free */
	const struct peer_channel_calls *calls;
	void *context;
};

/* Binds the socket, for the life of the channel; starts nothing. What the kernel says
 * (-EADDRINUSE), with a sentence. */
must_check int peer_channel_new(const struct peer_channel_options *options,
				struct peer_channel **ret_channel, struct error *err);

/* Starts the process, when none runs. What the kernel says; on_end comes then, too. */
must_check int peer_channel_start(struct peer_channel *channel, struct error *err);

/* Say goodbye to all, then end the process; on_end comes within PEER_CHANNEL_STOP_MS and a bit. */
void peer_channel_stop(struct peer_channel *channel);

/* After on_end, or when it was never started. */
void peer_channel_free(struct peer_channel *channel);

uint16_t peer_channel_port(const struct peer_channel *channel); /* 0 when it does not listen */
int peer_channel_pid(const struct peer_channel *channel); /* 0 when no process runs */

/* What to show and whom to trust from now on; sessions that are up go on. The private key passes
 * through, and is kept for the next process. -FL_EINVALID when the parts do not belong together;
 * all is then as before. Nobody is let in before the first one. */
must_check int peer_channel_identity(struct peer_channel *channel,
				     const struct channel_identity *identity, struct error *err);
/* Who is a member, all of them; a session with who is none any more ends at once. */
void peer_channel_members(struct peer_channel *channel, const struct channel_members *members);

/*
 * Begin a session: with `node` (NULL: whoever of the fabric is there), or, with a frame `join_ask`
 * as `question`, a join's. `context` becomes the remote's. NULL when no process runs.
 */
struct peer_remote *peer_channel_connect(struct peer_channel *channel,
					 const struct ip_address *address, uint16_t port,
					 const char *node, const struct wire_bytes *question,
					 void *context);

/* Queue a whole frame, which is copied. False: the remote is not up, or is being cut. */
bool peer_channel_send(struct peer_remote *remote, const void *frame, size_t length);
/* Bytes of frames that its network has not taken, as far as is known here. */
size_t peer_channel_queued(const struct peer_remote *remote);
/* End it; on_down comes later. `proof`, of a removal, may be NULL. */
void peer_channel_cut(struct peer_remote *remote, enum peer_parting_reason reason,
		      const char *sentence, const struct wire_bytes *proof);

void *peer_remote_context(const struct peer_remote *remote);
void peer_remote_set_context(struct peer_remote *remote, void *context);

#endif
