/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A landing's conversation, as the landing leads it: the other end of landing_session.h. It says
 * what was counted, and has the landing plane do what is said back.
 */
#ifndef FAIRLEAD_DAEMON_LANDING_LANDING_TALK_H
#define FAIRLEAD_DAEMON_LANDING_LANDING_TALK_H

#include "daemon/landing/landing_plane.h"

#define LANDING_TALK_LATER UINT64_MAX /* the report is not answered yet */

struct landing_talk {
	struct landing_plane *plane;
	uint64_t interval_ms; /* between two reports */
	struct ledger_position closing; /* that the last answer named; none before the first */
	bool awaiting; /* an answer is outstanding */
	bool reported_lands; /* the last report named a generation */
	char refusal[1024]; /* why the last report was not taken in; "" if it was */
};

void landing_talk_init(struct landing_talk *talk, struct landing_plane *plane);

/* The other side is gone: what another life of it said proves nothing to the next. */
void landing_talk_lost(struct landing_talk *talk);

/* Count, for the session that stands. Lives in `arena`. False: nothing is to be said. */
bool landing_talk_report(struct landing_talk *talk, struct arena *arena,
			 struct peer_message *ret_message);

/* Do what is said. `ret_next_ms`: in which time the next report is due, or LANDING_TALK_LATER. On
 * failure the session should end with this sentence, and another one begins anew. */
must_check int landing_talk_take(struct landing_talk *talk, const struct peer_message *message,
				 uint64_t *ret_next_ms, struct error *err);

#endif
