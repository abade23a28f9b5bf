/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exchange: the sessions of the channel's process, between the network and the daemon. It decides
 * who gets in (worker.h says by what), tells the daemon of it, and moves frames.
 *
 * Private to src/peer. The loop's thread.
 */
#ifndef FAIRLEAD_PEER_EXCHANGE_H
#define FAIRLEAD_PEER_EXCHANGE_H

#include "peer/connection.h"
#include "peer/pipe.h"
#include "peer/roll.h"
#include "peer/source_limits.h"

#define PEER_TICK_MS 100u

struct peer_exchange {
	uv_loop_t *loop;
	struct peer_pipe *pipe; /* to the daemon */
	unsigned files; /* most descriptors of this process */

	/* Of the identity; the owner's, and lives as long as a session that has it. */
	const struct peer_greeting *greeting;
	struct peer_side *side; /* NULL: not told yet */
	bool is_member;
	uint8_t own_key[KEY_BYTES]; /* public */

	struct peer_roll *roll; /* owned */
	struct peer_limits limits;
	struct peer_ids connections;
	uint64_t next_number; /* odd: of who connects */
	bool held; /* the daemon does not read, so the network is not read */
	unsigned ticks, tellings;
	struct channel_counters counts, told_counts;
};

/* What an identity shows and believes: a member's, or, without CAs, a joiner's. -FL_EINVALID when
 * its parts do not belong together. `pair` is its key. */
must_check int peer_side_of(struct evp_pkey_st *pair, const struct channel_identity *identity,
			    struct random *random, uint64_t now_s, struct peer_side **ret_side,
			    struct error *err);

/* Somebody waits at the listener. */
void peer_exchange_newcomer(struct peer_exchange *exchange, uv_stream_t *listener);

/* What the daemon says. */
void peer_exchange_members(struct peer_exchange *exchange, const struct channel_members *members);
void peer_exchange_connect(struct peer_exchange *exchange, const struct channel_connect *wanted);
void peer_exchange_send(struct peer_exchange *exchange, const struct channel_send *message);
void peer_exchange_part(struct peer_exchange *exchange, const struct channel_part *message);

/* `side` is another one: who was let in by a CA that it does not trust is in no more. */
void peer_exchange_side_changed(struct peer_exchange *exchange);

/* The daemon has read some. */
void peer_exchange_sent(struct peer_exchange *exchange);

/* Every PEER_TICK_MS. */
void peer_exchange_tick(struct peer_exchange *exchange);

#endif
