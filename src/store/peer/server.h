/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serves a store to peers that reach it over lines (line.h): the other end of client.h.
 *
 * Everything that a peer can make the server hold has a limit. A session has so many calls under
 * way and so many watches; a call beyond that is refused. A peer that does not take its answers is
 * refused new calls, and its watches end with -FL_ECOMPACTED: it has to read anew. So a slow peer
 * costs memory for some pages, and costs nobody else anything.
 *
 * Where changes are decided elsewhere the store is served to be read: what would change it, a txn
 * or a lease, is refused by the sentence that says who decides.
 *
 * Answers and events are sent from within store_dispatch() of the served store, whose thread makes
 * all calls here.
 */
#ifndef FAIRLEAD_STORE_PEER_SERVER_H
#define FAIRLEAD_STORE_PEER_SERVER_H

#include "store/peer/line.h"
#include "store/store.h"

#define STORE_SESSION_CALLS 64u /* under way at once; more is -FL_EEXHAUSTED */
#define STORE_SESSION_WATCHES 256u /* the same */
#define STORE_SESSION_QUEUE_BYTES (16u << 20) /* not taken yet: the peer is slow */

struct store_session;

/*
 * A peer's line is up: from now on `store` is served over it, for as long as its id stays the same;
 * then the line is cut. It is borrowed until store_session_down(), and so is `refusal`, which is
 * looked at with each call: "", or why nothing may be changed. -ENOMEM, or what the store says when
 * it takes no calls.
 */
must_check int store_session_up(struct store *store, const struct peer_line *line,
				const char *refusal, struct store_session **ret_session,
				struct error *err);

/* A whole frame came from the peer (peer_frame_bytes()). */
void store_session_take(struct store_session *session, const void *frame, size_t length);

/* The line is gone, and so is the session. What it has under way is done, and told to nobody. Call
 * it before the store is closed; NULL is fine. */
void store_session_down(struct store_session *session);

struct store_session_state {
	size_t calls; /* under way */
	size_t watches;
	uint64_t refused; /* calls and watches beyond a limit, and changes where none are decided */
	uint64_t resynchronised; /* watches that ended because the peer was slow */
	uint64_t skipped; /* messages that this build does not know */
	uint64_t violations; /* messages that made no sense; each cut the line */
};

void store_session_state_read(const struct store_session *session,
			      struct store_session_state *ret_state);

#endif
