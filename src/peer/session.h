/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Session of the node channel: whole messages of wire/peer.h over TLS (peer/tls.h), as a state
 * machine without socket or clock.
 *
 * A member's session: the handshake; the client's `hello`; the server's owner looks who it is and
 * accepts or parts; the server's `hello`; the client's owner does the same. Then it is up. So what
 * a client's owner takes for up, the server has accepted. Frames travel in order, each way; each
 * side says `beat` when it said nothing for a second, and ends the session when it heard nothing
 * for three: a half-open peer is noticed by both. A `parting` says why a side ends it.
 *
 * A join's session: the client's one `join_ask`, the server's one answer, the end.
 *
 * Nothing here waits: a session whose other side does not read holds PEER_QUEUE_BYTES at most, and
 * then ends. What can be replaced by something newer its owner does not send while
 * peer_session_queued() is high. An unauthenticated peer can make it hold PEER_HANDSHAKE_BYTES and
 * a frame of 4,096 bytes, for five seconds.
 *
 * The owner feeds what the network brings, sends what peer_session_output() gives, calls
 * peer_session_tick() when it is due, and after each of these takes the events, until there are no
 * more. One thread. Memory that is missing ends the program.
 */
#ifndef FAIRLEAD_PEER_SESSION_H
#define FAIRLEAD_PEER_SESSION_H

#include "peer/tls.h"
#include "wire/peer.h"

#define PEER_BEAT_MS 1000u /* of silence from here, before it says that it lives */
#define PEER_SILENCE_MS 3000u /* of silence from there, before it is taken for dead */
#define PEER_HANDSHAKE_MS 5000u /* until it is up, or the join's question is here */
#define PEER_JOIN_MS 20000u /* for the answer to a join, which takes a write to the ledger */
#define PEER_FLUSH_MS 1000u /* for a last word, after the end */
#define PEER_QUEUE_BYTES (32u << 20) /* that the other side has not taken */

struct peer_session;

/* Both clocks, as the owner reads them: clock_now_ms(), clock_wall_ms(). */
struct peer_now {
	uint64_t now_ms; /* deadlines */
	uint64_t wall_ms; /* certificates, and what beats tell */
};

/* What this side says of itself: wire/peer.h's `hello`. Borrowed as long as a session has it. */
struct peer_greeting {
	const char *node, *boot_id, *instance;
};

/* X(ID, sentence): how a session ended. */
#define PEER_ENDS(X)                                                                               \
	X(NONE, "it has not ended")                                                                \
	X(OWN, "this side ended it")                                                               \
	X(DONE, "the join was answered")                                                           \
	X(PARTED, "the other side said why it ends")                                               \
	X(LEFT, "the other side went")                                                             \
	X(SILENT, "nothing was heard from the other side for 3 s")                                 \
	X(LATE, "the handshake took longer than 5 s")                                              \
	X(UNANSWERED, "the join was not answered in time")                                         \
	X(SLOW, "the other side does not read what it is sent")                                    \
	X(TLS, "the handshake or the encryption failed")                                           \
	X(NONSENSE, "what the other side said makes no sense")

enum peer_session_end {
#define X(id, sentence) PEER_END_##id,
	PEER_ENDS(X)
#undef X
};

enum peer_session_event_kind {
	PEER_EVENT_HELLO, /* the other side said who it is: accept it, or part */
	PEER_EVENT_UP, /* frames may be sent */
	PEER_EVENT_FRAME, /* a whole frame that makes sense; of a joiner's session: the answer */
	PEER_EVENT_JOIN, /* the same: `join_ask`, which the server's owner answers */
	PEER_EVENT_ENDED, /* nothing comes after it */
};

struct peer_session_event {
	enum peer_session_event_kind kind;
	/* FRAME, JOIN: borrowed until the next call on the session. */
	const void *frame;
	size_t length;
	/* ENDED */
	enum peer_session_end end;
	uint64_t parting; /* PARTED: enum peer_parting_reason, or another number */
	const char *sentence; /* for a person; borrowed for the session's life */
	struct wire_bytes proof; /* PARTED: maybe of a removal; borrowed likewise */
};

struct peer_session *peer_session_new_server(struct peer_side *side,
					     const struct peer_greeting *greeting,
					     struct peer_now now);

/* `node`: who it must be; NULL: any member. A joiner sends its question at once. */
struct peer_session *peer_session_new_client(struct peer_side *side, enum peer_way way,
					     const char *node, const struct peer_greeting *greeting,
					     struct peer_now now);

void peer_session_free(struct peer_session *session); /* NULL is fine */

/* Bytes came from the network. */
void peer_session_take(struct peer_session *session, const void *bytes, size_t length,
		       struct peer_now now);
/* The network says that nothing more comes, or that it failed: `why`, a sentence. */
void peer_session_gone(struct peer_session *session, const char *why, struct peer_now now);
/* The owner does not read from the network for now, so silence means nothing; or does again. */
void peer_session_hold(struct peer_session *session, bool held, struct peer_now now);

void peer_session_tick(struct peer_session *session, struct peer_now now);
/* When the next tick is due, in clock_now_ms(). */
uint64_t peer_session_due_ms(const struct peer_session *session);

/* The next event; false when there is none. After HELLO none comes until it is accepted. */
bool peer_session_next(struct peer_session *session, struct peer_now now,
		       struct peer_session_event *ret_event);

/* The owner takes the other side for what it says it is. */
void peer_session_accept(struct peer_session *session, struct peer_now now);

/*
 * Queue a whole frame, which is copied. False: it was not up, or has ended, or ends by this, since
 * the other side does not read. A joiner's question is queued before its session is open, an
 * answer after PEER_EVENT_JOIN.
 */
bool peer_session_send(struct peer_session *session, const void *frame, size_t length,
		       struct peer_now now);
/* Bytes that were queued and that the network has not taken. */
size_t peer_session_queued(const struct peer_session *session);

/* End it, and say why if that can still be said. `proof` may be NULL. Its ENDED comes as an event.
 */
void peer_session_part(struct peer_session *session, enum peer_parting_reason reason,
		       const char *sentence, const struct wire_bytes *proof, struct peer_now now);
/* End it after what is queued: a join was answered. */
void peer_session_finish(struct peer_session *session, struct peer_now now);

/* Bytes for the network, borrowed until the next call; NULL when there are none. Some are left
 * after the end, too. */
const void *peer_session_output(struct peer_session *session, struct peer_now now,
				size_t *ret_length);
void peer_session_sent(struct peer_session *session, size_t length);

/* It has ended, and the network can be closed: all was sent, or time is up. */
bool peer_session_over(const struct peer_session *session, struct peer_now now);

/* What the other side said of itself; empty before HELLO. */
struct peer_session_other {
	char node[PEER_NAME_MAX + 1], boot_id[PEER_ID_MAX + 1], instance[PEER_ID_MAX + 1];
	uint64_t level; /* the highest that it knows */
	int64_t ahead_ms; /* its wall clock against this one's, at its last beat; 0: not known */
};

const struct peer_session_other *peer_session_other(const struct peer_session *session);

/* Its key and certificate, which way it goes, and why TLS failed. */
const struct peer_tls *peer_session_tls(const struct peer_session *session);

struct peer_session_counts {
	uint64_t frames_in, frames_out, bytes_in, bytes_out; /* beats and hellos are none */
	uint64_t skipped; /* messages that this build does not know */
};

const struct peer_session_counts *peer_session_counts(const struct peer_session *session);

const char *peer_session_end_text(enum peer_session_end end);

#endif
