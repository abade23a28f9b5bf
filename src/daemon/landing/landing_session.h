/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A landing's conversation, as its node leads it: each report is taken in and answered with what
 * the landing shall be, as far as that changed in this session, and with the closing that its next
 * count shall name. How the messages travel is the owner's: over a socket, or not at all where the
 * landing is this very process's.
 *
 * A set that was sent is remembered, so that only what changed since is sent; the landing keeps
 * what it has, and this side's memory ends with the session.
 */
#ifndef FAIRLEAD_DAEMON_LANDING_LANDING_SESSION_H
#define FAIRLEAD_DAEMON_LANDING_LANDING_SESSION_H

#include "base/arena.h"
#include "fabric/landing_set.h"

#include <stdbool.h>

struct daemon;

/* What is said to the landing; borrowed for the call. */
typedef void landing_session_send_fn(void *context, const struct peer_message *message);

struct landing_session {
	struct daemon *daemon;
	landing_session_send_fn *send;
	void *context; /* of send */
	bool replicates; /* a replica of its own tells the landing what it shall be */
	struct arena arena; /* of `hello` */
	struct peer_hello hello; /* `node` NULL: it has not said who it is */
	struct landing_set *sent; /* NULL: nothing was sent yet */
	struct arena cuts_arena;
	struct wire_list cuts; /* that were sent last */
};

void landing_session_init(struct landing_session *session, struct daemon *daemon,
			  landing_session_send_fn *send, void *context);
void landing_session_done(struct landing_session *session);

/* Have it be what it shall be, which has carried out the set `has`, without a report. */
void landing_session_tell(struct landing_session *session, const struct digest *has);

/* A message of the landing; whoever moves the arena away leaves a zeroed one. False: it is none
 * that a landing says now, and the session should end. */
bool landing_session_take(struct landing_session *session, const struct peer_message *message,
			  struct arena *arena);

#endif
