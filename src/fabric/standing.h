/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Standing: where the members are in the ledger, as each said it last, and what follows from that:
 * whether a voter may decide (PROTOCOL.md rule 4), whom a node takes new entries from (rule 2), and
 * what it tells another of that one's own mark (rule 3).
 *
 * A larger number is not newer. A member that names a later entry than the one that asks is
 * *ahead*; whether the asker's own head lies on that member's chain is seen when its entries are
 * taken in (state/follower.h), and noted here when it does not. One that names an entry which is
 * another one here has *forked*.
 *
 * What was said outlives its session, since marks are remembered. Only who is up is heard. One
 * thread; pure but for memory.
 */
#ifndef FAIRLEAD_FABRIC_STANDING_H
#define FAIRLEAD_FABRIC_STANDING_H

#include "ledger/ledger.h"
#include "state/image.h"
#include "wire/peer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a node says of itself. */
struct standing {
	bool decides; /* it is a voter, and takes orders */
	struct ledger_position head; /* of its replica */
	struct ledger_position mark; /* the newest entry that it ever acknowledged */
};

struct standing_row {
	char node[MODEL_NAME_BYTES];
	struct standing standing; /* as it was said last; `mark` only grows */
	bool is_up; /* a session is, in which that was said */
	bool is_voter; /* by the records, or by what the join was told */
	bool is_off_chain; /* the asker's head did not lie on its chain when that was tried */
};

/* Zero is empty. */
struct standings {
	struct standing_row *rows;
	size_t count;
};

void standings_done(struct standings *standings);

/* A member said where it stands. -ENOMEM. */
must_check int standings_take(struct standings *standings, const char *node, bool is_voter,
			      const struct standing *standing);
/* Its session is gone. */
void standings_lost(struct standings *standings, const char *node);
/* The entries of this one do not go on from the asker's; until it says something else. */
void standings_off_chain(struct standings *standings, const char *node);

/* NULL when it never said anything. */
const struct standing_row *standings_find(const struct standings *standings, const char *node);

/* --- rule 4 --- */

enum voter_standing {
	VOTER_DECIDES, /* nobody who was heard has more */
	VOTER_LISTENS, /* it has not heard enough edges yet */
	VOTER_IS_BEHIND, /* `node` has, or acknowledged, what this voter lacks */
	VOTER_HAS_FORKED, /* what `node` has is another history */
};

struct voter_verdict {
	enum voter_standing standing;
	const char *node; /* borrowed from the standings; NULL unless behind or forked */
	struct ledger_position there; /* what it has */
	bool can_give; /* it has the entries itself, so that they can be taken from it */
	size_t edges; /* of the fabric, this node included if it is one */
	size_t heard; /* of these */
};

/*
 * May the voter `self` decide by `image`? `is_sure`: it once heard enough edges, in this process,
 * or the operator said so. `had_others`: its mark says that there were, of whom the image may know
 * nothing. Whoever is up by the CA's word counts when it has more, also one that joined after what
 * the image shows.
 */
struct voter_verdict standings_judge(const struct standings *standings, const struct image *image,
				     const char *self, bool is_sure, bool had_others);

/* Whether the edge is heard; `self` is. */
bool standings_hear(const struct standings *standings, const struct member *edge, const char *self);

/* --- rule 2 --- */

/*
 * Whom a node that does not decide takes entries from: a voter that decides; or else the member
 * that has most beyond `head`; or else whoever it takes them from now (`now`, or NULL), as long as
 * that one is up. NULL: nobody. Borrowed from the standings.
 */
const struct standing_row *standings_source(const struct standings *standings,
					    const struct ledger_position *head, const char *now);

/* --- rule 3 --- */

/* What `node` is to be told that it once acknowledged; sequence 0: nothing is known. An entry that
 * is another one here, since a recovery gave it up, is not told. */
struct ledger_position standings_mark(const struct standings *standings, const struct image *image,
				      const char *node);

/* --- the message --- */

struct peer_message standing_message(const struct standing *own,
				     const struct ledger_position *yours);
bool standing_message_equal(const struct peer_standing *a, const struct peer_standing *b);
struct standing standing_of_message(const struct peer_standing *message,
				    struct ledger_position *ret_mine);

#endif
