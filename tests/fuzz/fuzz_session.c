/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a peer may say once TLS is open: the input is plaintext that a server's session gets, cut
 * into pieces, by a member or by a joiner. Nobody is up before a good hello was accepted, only
 * frames that make sense come out, in places where they may; the end is told once, with a sentence;
 * time passes and what is held stays within bounds.
 *
 * The first byte says who speaks (bit 0: a joiner), whether the owner refuses (bit 1), and how the
 * bytes are cut (the rest).
 */
#include "../peer_world.h"
#include "peer/session.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static const struct peer_greeting greeting = {.node = "node-b", .boot_id = "boot", .instance = "1"};

struct fuzzed {
	struct peer_session *session;
	struct peer_now now;
	bool joins, refuses;
	unsigned hellos, ups, asked, ends;
};

static void check_frame(const struct fuzzed *fuzzed, const struct peer_session_event *event)
{
	struct arena arena;
	struct peer_message message;
	arena_init(&arena, 0);
	int result = peer_decode(event->frame, event->length, &arena, &message, NULL);
	ASSERT(result == 0);
	ASSERT(message.number != PEER_HELLO && message.number != PEER_BEAT &&
	       message.number != PEER_PARTING);
	ASSERT((message.number == PEER_JOIN_ASK) == fuzzed->joins);
	arena_done(&arena);
}

static void take_events(struct fuzzed *fuzzed)
{
	struct peer_session_event event;
	while (peer_session_next(fuzzed->session, fuzzed->now, &event)) {
		ASSERT(!fuzzed->ends);
		switch (event.kind) {
		case PEER_EVENT_HELLO:
			ASSERT(!fuzzed->joins && !fuzzed->hellos++);
			ASSERT(*peer_session_other(fuzzed->session)->instance);
			if (fuzzed->refuses)
				peer_session_part(fuzzed->session, PEER_PARTING_OTHER, "no", NULL,
						  fuzzed->now);
			else
				peer_session_accept(fuzzed->session, fuzzed->now);
			break;
		case PEER_EVENT_UP:
			ASSERT(fuzzed->hellos && !fuzzed->refuses && !fuzzed->ups++);
			break;
		case PEER_EVENT_FRAME:
			ASSERT(fuzzed->ups && !fuzzed->joins);
			check_frame(fuzzed, &event);
			break;
		case PEER_EVENT_JOIN:
			ASSERT(fuzzed->joins && !fuzzed->asked++);
			check_frame(fuzzed, &event);
			break;
		case PEER_EVENT_ENDED:
			fuzzed->ends++;
			ASSERT(event.end != PEER_END_NONE && *event.sentence);
			break;
		}
	}
	ASSERT(peer_session_queued(fuzzed->session) <= PEER_QUEUE_BYTES + 65536);
}

/* Bytes pass both ways until there are none. */
static void carry(struct fuzzed *fuzzed, struct peer_tls *client, struct buffer *answers)
{
	size_t length;
	const void *bytes;
	bool moved = true;
	while (moved) {
		moved = false;
		if ((bytes = peer_tls_output(client, &length))) {
			peer_session_take(fuzzed->session, bytes, length, fuzzed->now);
			peer_tls_sent(client, length);
			moved = true;
		}
		take_events(fuzzed);
		if ((bytes = peer_session_output(fuzzed->session, fuzzed->now, &length))) {
			peer_tls_take(client, bytes, length, PEER_WORLD_NOW, answers);
			peer_session_sent(fuzzed->session, length);
			moved = true;
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static struct world_authority ca;
	static struct peer_side *sides[2];
	if (!length)
		return 0;
	if (!sides[0]) {
		world_authority_make(&ca, "example", 1);
		sides[0] = world_side(&ca, NULL, "node-a", 2, PEER_WORLD_NOW);
		sides[1] = world_side(&ca, NULL, "node-b", 3, PEER_WORLD_NOW);
	}
	struct fuzzed fuzzed = {.joins = bytes[0] & 1,
				.refuses = bytes[0] & 2,
				.now = {.now_ms = 1000, .wall_ms = PEER_WORLD_NOW * 1000}};
	size_t step = bytes[0] >> 2 ? (size_t)(bytes[0] >> 2) * 7 : SIZE_MAX;
	struct buffer answers;
	buffer_init(&answers, 0);
	fuzzed.session = peer_session_new_server(sides[1], &greeting, fuzzed.now);
	struct peer_tls *client =
	    peer_tls_new_client(sides[0], fuzzed.joins ? PEER_WAY_JOIN : PEER_WAY_MEMBER, "node-b");
	carry(&fuzzed, client, &answers);
	ASSERT(peer_tls_phase(client) == PEER_TLS_OPEN && !fuzzed.ends);
	for (size_t at = 1; at < length && peer_tls_phase(client) == PEER_TLS_OPEN;) {
		size_t part = length - at < step ? length - at : step;
		peer_tls_put(client, bytes + at, part);
		carry(&fuzzed, client, &answers);
		at += part;
	}
	fuzzed.now.now_ms += PEER_HANDSHAKE_MS + PEER_JOIN_MS;
	peer_session_tick(fuzzed.session, fuzzed.now);
	take_events(&fuzzed);
	ASSERT(fuzzed.ends == 1);
	peer_session_free(fuzzed.session);
	peer_tls_free(client);
	buffer_done(&answers);
	return 0;
}
