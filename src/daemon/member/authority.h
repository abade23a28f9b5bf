/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where this node's replica takes from what was decided elsewhere: another member's store, over the
 * node channel, and the follower that keeps the replica its copy. A voter's replica is the
 * authority itself; it has this to take in what it lacks.
 */
#ifndef FAIRLEAD_DAEMON_MEMBER_AUTHORITY_H
#define FAIRLEAD_DAEMON_MEMBER_AUTHORITY_H

#include "base/error.h"
#include "state/follower.h"

struct authority;
struct daemon;
struct peer_line;
struct store;

/* The replica is open, and is one that can be changed. */
must_check int authority_open(struct daemon *daemon, struct authority **ret_authority,
			      struct error *err);

/* On the daemon's loop from now on. */
void authority_start(struct authority *authority);

/* The store whose line comes and goes (store/peer/client.h). Borrowed. */
struct store *authority_store(const struct authority *authority);

/* There is somebody to follow, over this line; there was nobody. And nobody any more. */
void authority_join(struct authority *authority, const struct peer_line *line);
void authority_leave(struct authority *authority);

/* Call it every tick. */
void authority_run(struct authority *authority, uint64_t now_ms);

/* It was given something by the line's owner, who has no other way to have it looked at. */
void authority_wake(struct authority *authority);

/* Nothing begins any more, and its store is closed; its handles close with the loop's next turns.
 */
void authority_stop(struct authority *authority);
/* After the replica's store is closed, and the handles. NULL is fine for both. */
void authority_free(struct authority *authority);

const struct follower *authority_follower(const struct authority *authority);

#endif
