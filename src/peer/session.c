/* SPDX-License-Identifier: Apache-2.0 */
#include "peer/session.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AHEAD_BYTES 65536u /* encrypted before the network takes them */
#define RECORD_BYTES 16384u
#define KEPT_BYTES 4096u /* of a buffer that is empty: there may be a thousand sessions */

enum phase { SHAKING, GREETING, ASKED, UP, ENDED };

struct peer_session {
	struct peer_tls *tls; /* owned */
	const struct peer_greeting *greeting;
	enum phase phase;
	bool is_server;
	bool said_hello;
	bool waits; /* for the owner, who was told of a hello */
	bool tell_up, tell_end; /* events that are due */
	bool held;
	bool closes; /* when all is sent, or `ended_ms` is so long ago */
	uint64_t began_ms, heard_ms, said_ms, asked_ms, ended_ms;
	struct buffer plain; /* what came; the first `read` bytes are done with */
	size_t read;
	struct buffer queue; /* frames to send; the first `put` bytes are encrypted */
	size_t put;
	enum peer_session_end end;
	uint64_t parting;
	char *sentence; /* owned, like the next ones */
	struct wire_bytes proof;
	struct peer_session_other other;
	struct peer_session_counts counts;
};

const char *peer_session_end_text(enum peer_session_end end)
{
	static const char *const texts[] = {
#define X(id, sentence) sentence,
	    PEER_ENDS(X)
#undef X
	};
	return texts[end];
}

static void end(struct peer_session *session, enum peer_session_end how, const char *sentence,
		struct peer_now now)
{
	if (session->phase == ENDED)
		return;
	session->phase = ENDED;
	session->end = how;
	session->sentence =
	    must_have(strdup(sentence && *sentence ? sentence : peer_session_end_text(how)));
	session->tell_end = true;
	session->ended_ms = now.now_ms;
	session->closes = how == PEER_END_OWN || how == PEER_END_DONE || how == PEER_END_TLS;
}

/* --- sending ---------------------------------------------------------------------------------- */

/* Frees the memory of a buffer of which all is done with. */
static void settle(struct buffer *buffer, size_t *done)
{
	if (*done < buffer->length)
		return;
	if (buffer->capacity > KEPT_BYTES)
		buffer_done(buffer);
	buffer_clear(buffer);
	*done = 0;
}

size_t peer_session_queued(const struct peer_session *session)
{
	size_t encrypted;
	peer_tls_output(session->tls, &encrypted);
	return session->queue.length - session->put + encrypted;
}

static bool enqueue(struct peer_session *session, const void *frame, size_t length,
		    struct peer_now now)
{
	if (peer_session_queued(session) + length > PEER_QUEUE_BYTES) {
		end(session, PEER_END_SLOW, NULL, now);
		return false;
	}
	/* What was sent is dropped when it is the larger part, so that each byte moves once or
	 * twice. */
	if (session->put > session->queue.length / 2 && session->put > KEPT_BYTES) {
		buffer_consume(&session->queue, session->put);
		session->put = 0;
	}
	buffer_append(&session->queue, frame, length);
	must_succeed(session->queue.status);
	return true;
}

static void say(struct peer_session *session, const struct peer_message *message,
		struct peer_now now)
{
	struct buffer frame;
	buffer_init(&frame, 0);
	int result = must_succeed(peer_encode(message, &frame, NULL));
	ASSERT(result == 0);
	enqueue(session, frame.data, frame.length, now);
	buffer_done(&frame);
}

static void say_hello(struct peer_session *session, struct peer_now now)
{
	session->said_hello = true;
	say(session,
	    &(struct peer_message){.number = PEER_HELLO,
				   .hello = {.level = PEER_LEVEL,
					     .node = session->greeting->node,
					     .boot_id = session->greeting->boot_id,
					     .instance = session->greeting->instance}},
	    now);
}

bool peer_session_send(struct peer_session *session, const void *frame, size_t length,
		       struct peer_now now)
{
	bool may = session->phase == UP;
	if (peer_tls_way(session->tls) == PEER_WAY_JOIN)
		may = session->is_server ? session->phase == ASKED : session->phase <= GREETING;
	if (!may || !enqueue(session, frame, length, now))
		return false;
	session->counts.frames_out++;
	session->counts.bytes_out += length;
	return true;
}

const void *peer_session_output(struct peer_session *session, struct peer_now now,
				size_t *ret_length)
{
	const void *bytes = peer_tls_output(session->tls, ret_length);
	while (peer_tls_phase(session->tls) == PEER_TLS_OPEN &&
	       session->put < session->queue.length && *ret_length < AHEAD_BYTES) {
		size_t length = session->queue.length - session->put;
		length = length < RECORD_BYTES ? length : RECORD_BYTES;
		peer_tls_put(session->tls, session->queue.data + session->put, length);
		session->put += length;
		session->said_ms = now.now_ms;
		bytes = peer_tls_output(session->tls, ret_length);
	}
	settle(&session->queue, &session->put);
	if (!bytes && session->closes && peer_tls_phase(session->tls) == PEER_TLS_OPEN) {
		peer_tls_close(session->tls);
		bytes = peer_tls_output(session->tls, ret_length);
	}
	return bytes;
}

void peer_session_sent(struct peer_session *session, size_t length)
{
	peer_tls_sent(session->tls, length);
}

bool peer_session_over(const struct peer_session *session, struct peer_now now)
{
	return session->phase == ENDED &&
	       (!session->closes || now.now_ms >= session->ended_ms + PEER_FLUSH_MS ||
		(!peer_session_queued(session) && peer_tls_phase(session->tls) != PEER_TLS_OPEN));
}

/* --- receiving -------------------------------------------------------------------------------- */

static void nonsense(struct peer_session *session, const char *what, struct peer_now now)
{
	char sentence[PEER_SENTENCE_MAX];
	snprintf(sentence, sizeof(sentence), "what the other side said makes no sense: %.1500s",
		 what);
	end(session, PEER_END_NONSENSE, sentence, now);
}

/* What may come next; it is asked of the header, before there is memory for the rest. */
static bool is_expected(const struct peer_session *session, unsigned number)
{
	bool joins = peer_tls_way(session->tls) == PEER_WAY_JOIN;
	if (joins && session->is_server)
		return session->phase == GREETING && number == PEER_JOIN_ASK;
	if (joins)
		return number == PEER_JOIN_TAKE || number == PEER_JOIN_REFUSE;
	if (session->phase != UP)
		return number == PEER_HELLO || number == PEER_PARTING;
	return number != PEER_HELLO && number != PEER_JOIN_ASK && number != PEER_JOIN_TAKE &&
	       number != PEER_JOIN_REFUSE;
}

static void take_hello(struct peer_session *session, const struct peer_hello *hello,
		       struct peer_now now)
{
	struct peer_session_other *other = &session->other;
	if (strcmp(hello->node, peer_tls_certificate(session->tls)->node) != 0) {
		nonsense(session, "its hello has another name than its certificate", now);
		return;
	}
	snprintf(other->node, sizeof(other->node), "%s", hello->node);
	snprintf(other->boot_id, sizeof(other->boot_id), "%s", hello->boot_id);
	snprintf(other->instance, sizeof(other->instance), "%s", hello->instance);
	other->level = hello->level;
	session->waits = true;
}

static void take_parting(struct peer_session *session, const struct peer_parting *parting,
			 struct peer_now now)
{
	size_t length = parting->proof.length;
	void *copy = must_alloc(1, length + 1);
	memcpy(copy, parting->proof.data, length);
	session->proof = (struct wire_bytes){.data = copy, .length = length};
	session->parting = parting->reason;
	end(session, PEER_END_PARTED, parting->sentence, now);
}

/* A whole frame; true when it is an event. */
static bool take_frame(struct peer_session *session, const char *frame, size_t length,
		       struct peer_now now, struct peer_session_event *ret_event)
{
	struct arena arena;
	struct peer_message message;
	struct error err = {0};
	arena_init(&arena, 0);
	bool is_event = false;
	int result = must_succeed(peer_decode(frame, length, &arena, &message, &err));
	if (result == -FL_EUNSUPPORTED && session->phase == UP) {
		session->counts.skipped++;
	} else if (result < 0) {
		nonsense(session, err.text, now);
	} else if (message.number == PEER_HELLO) {
		take_hello(session, &message.hello, now);
		*ret_event = (struct peer_session_event){.kind = PEER_EVENT_HELLO};
		is_event = session->waits;
	} else if (message.number == PEER_PARTING) {
		take_parting(session, &message.parting, now);
	} else if (message.number == PEER_BEAT) {
		session->other.ahead_ms = (int64_t)(message.beat.clock_ms - now.wall_ms);
	} else {
		session->counts.frames_in++;
		session->counts.bytes_in += length;
		*ret_event = (struct peer_session_event){
		    .kind = message.number == PEER_JOIN_ASK ? PEER_EVENT_JOIN : PEER_EVENT_FRAME,
		    .frame = frame,
		    .length = length};
		is_event = true;
		if (message.number == PEER_JOIN_ASK) {
			session->phase = ASKED;
			session->asked_ms = now.now_ms;
		} else if (peer_tls_way(session->tls) == PEER_WAY_JOIN) {
			end(session, PEER_END_DONE, NULL, now);
		}
	}
	arena_done(&arena);
	return is_event;
}

/* The next frame of what came; false when none is whole, or none may be read now. */
static bool next_frame(struct peer_session *session, struct peer_now now,
		       struct peer_session_event *ret_event)
{
	struct error err = {0};
	while (session->phase > SHAKING && session->phase < ENDED && !session->waits) {
		size_t here = session->plain.length - session->read, length = 0;
		if (here < WIRE_HEADER_BYTES)
			return false;
		const char *frame = session->plain.data + session->read;
		unsigned number = (unsigned)(uint8_t)frame[4] << 8 | (uint8_t)frame[5];
		if (!is_expected(session, number)) {
			nonsense(session, "a message that has no place here", now);
			return false;
		}
		if (peer_frame_bytes(frame, here, &length, &err) < 0) {
			nonsense(session, err.text, now);
			return false;
		}
		if (length > here)
			return false;
		session->read += length;
		if (take_frame(session, frame, length, now, ret_event))
			return true;
	}
	return false;
}

void peer_session_take(struct peer_session *session, const void *bytes, size_t length,
		       struct peer_now now)
{
	if (session->phase == ENDED)
		return;
	/* What earlier events were taken of is no longer lent. */
	if (session->read) {
		buffer_consume(&session->plain, session->read);
		session->read = 0;
	}
	size_t before = session->plain.length;
	peer_tls_take(session->tls, bytes, length, now.wall_ms / 1000, &session->plain);
	/* Only what was decrypted shows that the other side lives. */
	if (session->plain.length > before)
		session->heard_ms = now.now_ms;
	if (peer_tls_phase(session->tls) == PEER_TLS_FAILED) {
		end(session, PEER_END_TLS, peer_tls_sentence(session->tls), now);
	} else if (session->phase == SHAKING && peer_tls_phase(session->tls) >= PEER_TLS_OPEN) {
		session->phase = GREETING;
		if (!session->is_server && peer_tls_way(session->tls) == PEER_WAY_MEMBER)
			say_hello(session, now);
	}
}

bool peer_session_next(struct peer_session *session, struct peer_now now,
		       struct peer_session_event *ret_event)
{
	if (session->tell_up) {
		session->tell_up = false;
		*ret_event = (struct peer_session_event){.kind = PEER_EVENT_UP};
		return true;
	}
	if (next_frame(session, now, ret_event))
		return true;
	settle(&session->plain, &session->read);
	/* What it said before it went was read above. */
	if (peer_tls_phase(session->tls) == PEER_TLS_CLOSED && !session->waits)
		end(session, PEER_END_LEFT, NULL, now);
	if (!session->tell_end)
		return false;
	session->tell_end = false;
	*ret_event = (struct peer_session_event){.kind = PEER_EVENT_ENDED,
						 .end = session->end,
						 .parting = session->parting,
						 .sentence = session->sentence,
						 .proof = session->proof};
	return true;
}

void peer_session_accept(struct peer_session *session, struct peer_now now)
{
	ASSERT(session->waits);
	session->waits = false;
	if (session->phase != GREETING)
		return;
	if (!session->said_hello)
		say_hello(session, now);
	session->phase = UP;
	session->heard_ms = now.now_ms;
	session->said_ms = now.now_ms;
	session->tell_up = true;
}

/* --- time, and the end ------------------------------------------------------------------------ */

void peer_session_gone(struct peer_session *session, const char *why, struct peer_now now)
{
	char sentence[PEER_SENTENCE_MAX];
	struct peer_session_event event;
	/* A refusal may lie unread before it; nothing else is of use any more. */
	while (session->phase < ENDED && !session->waits && next_frame(session, now, &event))
		;
	snprintf(sentence, sizeof(sentence), "the other side went: %.1500s", why);
	end(session, PEER_END_LEFT, sentence, now);
	session->closes = false;
}

void peer_session_hold(struct peer_session *session, bool held, struct peer_now now)
{
	if (session->held && !held)
		session->heard_ms = now.now_ms;
	session->held = held;
}

uint64_t peer_session_due_ms(const struct peer_session *session)
{
	uint64_t beat = session->said_ms + PEER_BEAT_MS;
	uint64_t silence = session->held ? UINT64_MAX : session->heard_ms + PEER_SILENCE_MS;
	switch (session->phase) {
	case SHAKING:
	case GREETING:
		break;
	case ASKED:
		return session->asked_ms + PEER_JOIN_MS;
	case UP:
		/* Behind what is queued a beat would be late anyway. */
		return peer_session_queued(session) || silence < beat ? silence : beat;
	case ENDED:
		return session->closes ? session->ended_ms + PEER_FLUSH_MS : UINT64_MAX;
	}
	bool joins = !session->is_server && peer_tls_way(session->tls) == PEER_WAY_JOIN;
	return session->began_ms + PEER_HANDSHAKE_MS +
	       (joins && session->phase == GREETING ? PEER_JOIN_MS : 0);
}

void peer_session_tick(struct peer_session *session, struct peer_now now)
{
	bool joins = !session->is_server && peer_tls_way(session->tls) == PEER_WAY_JOIN;
	if (now.now_ms < peer_session_due_ms(session))
		return;
	switch (session->phase) {
	case SHAKING:
		end(session, PEER_END_LATE, NULL, now);
		break;
	case GREETING:
		end(session, joins ? PEER_END_UNANSWERED : PEER_END_LATE, NULL, now);
		break;
	case ASKED:
		end(session, PEER_END_UNANSWERED, NULL, now);
		break;
	case UP:
		if (!session->held && now.now_ms >= session->heard_ms + PEER_SILENCE_MS) {
			end(session, PEER_END_SILENT, NULL, now);
			break;
		}
		session->said_ms = now.now_ms;
		say(session,
		    &(struct peer_message){.number = PEER_BEAT, .beat = {.clock_ms = now.wall_ms}},
		    now);
		break;
	case ENDED:
		break;
	}
}

void peer_session_part(struct peer_session *session, enum peer_parting_reason reason,
		       const char *sentence, const struct wire_bytes *proof, struct peer_now now)
{
	if (session->phase == ENDED)
		return;
	if (session->phase >= GREETING && peer_tls_way(session->tls) == PEER_WAY_MEMBER) {
		struct peer_message parting = {.number = PEER_PARTING,
					       .parting = {.reason = reason, .sentence = sentence}};
		if (proof)
			parting.parting.proof = *proof;
		say(session, &parting, now);
	}
	session->waits = false;
	end(session, PEER_END_OWN, sentence, now);
}

void peer_session_finish(struct peer_session *session, struct peer_now now)
{
	end(session, PEER_END_DONE, NULL, now);
}

/* --- making, freeing, looking ----------------------------------------------------------------- */

static struct peer_session *session_new(struct peer_tls *tls, const struct peer_greeting *greeting,
					struct peer_now now)
{
	struct peer_session *session = must_alloc(1, sizeof(*session));
	session->tls = tls;
	session->greeting = greeting;
	session->began_ms = now.now_ms;
	buffer_init(&session->plain, 0);
	buffer_init(&session->queue, 0);
	return session;
}

struct peer_session *peer_session_new_server(struct peer_side *side,
					     const struct peer_greeting *greeting,
					     struct peer_now now)
{
	struct peer_session *session = session_new(peer_tls_new_server(side), greeting, now);
	session->is_server = true;
	return session;
}

struct peer_session *peer_session_new_client(struct peer_side *side, enum peer_way way,
					     const char *node, const struct peer_greeting *greeting,
					     struct peer_now now)
{
	return session_new(peer_tls_new_client(side, way, node), greeting, now);
}

void peer_session_free(struct peer_session *session)
{
	if (!session)
		return;
	peer_tls_free(session->tls);
	buffer_done(&session->plain);
	buffer_done(&session->queue);
	free(session->sentence);
	free((void *)(uintptr_t)session->proof.data);
	free(session);
}

const struct peer_session_other *peer_session_other(const struct peer_session *session)
{
	return &session->other;
}

const struct peer_tls *peer_session_tls(const struct peer_session *session)
{
	return session->tls;
}

const struct peer_session_counts *peer_session_counts(const struct peer_session *session)
{
	return &session->counts;
}
