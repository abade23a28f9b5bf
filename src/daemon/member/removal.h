/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removal: what this node does when it hears that it is a member no more, and believes it
 * (fabric/removal_proof.h). It notes the proof in its state folder, so that no restart forgets it;
 * withdraws: names are answered no more, and who announces its routes asks removal_withdraws();
 * waits, since routers and resolvers take a moment; and starts anew in its own process without any
 * role: what is pinned is taken away, edge and landing alike, and all that is left is a local API
 * that says so. It does not come back by itself: `fairlead join`, with a new token, puts the old
 * state aside and makes the machine a member with keys of its own.
 *
 * The loop's thread.
 */
#ifndef FAIRLEAD_DAEMON_MEMBER_REMOVAL_H
#define FAIRLEAD_DAEMON_MEMBER_REMOVAL_H

#include "base/alarms.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct daemon;
struct daemon_options;

#define REMOVAL_WAIT_MS 5000u /* between the withdrawal and the end of forwarding */

struct removal {
	uint64_t sequence; /* the ledger entry that removed this node; 0: none is known */
	bool is_over; /* this process began without roles, by what is noted */
	uint64_t empties_ms; /* when all that is pinned goes; 0: it does not */
	struct alarm alarm; /* it was removed */
	struct alarm doubt; /* somebody says so, and it is not believed */
};

/* Somebody, `from`, or this node's own replica, says that it was removed. */
void removal_take(struct daemon *daemon, const char *from, const void *proof, size_t length);
/* Call it every tick. */
void removal_tick(struct daemon *daemon, uint64_t now_ms);
/* Must nothing lead traffic to this node any more? */
bool removal_withdraws(const struct daemon *daemon);

/* The entry that is noted in the state folder; 0: none. */
must_check int removal_read(const char *state_folder, uint64_t *ret_sequence, struct error *err);

/*
 * Before anything starts: a node whose removal is noted takes away what it pinned, and gets
 * options without roles. `ret_removal` is filled in.
 */
must_check int removal_begin(const struct daemon_options *options,
			     struct daemon_options *ret_options, struct removal *ret_removal,
			     struct error *err);

/* For a join: what is pinned goes, and the old state into a folder of its own beside it. Nothing
 * happens where no removal is noted. */
must_check int removal_make_room(const struct daemon_options *options, struct error *err);

#endif
