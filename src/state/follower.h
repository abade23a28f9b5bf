/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follower: keeps a replica a verbatim copy of what an authority decides (PROTOCOL.md rules 1, 2).
 *
 * It says (id, revision, head of the ledger) of the replica. Where the authority has that very head
 * at that very revision, under the same id, it watches from there on. Otherwise it reads everything
 * at one revision and replaces the replica's content in one step, but only if the replica's head
 * lies on the authority's chain: a larger number is not newer. Ledger entries that come later must
 * each continue the chain, by sequence and hash.
 *
 * A replica whose head is not on that chain (a fork), unless a recovery there gave up that very
 * entry by the operator's word (recovery.h), or that knows entries which the authority
 * does not have (it was restored from a backup), is left as it is; that wants the operator. What
 * the follower took in is durable in the replica before anybody hears of it, since who acts by the
 * replica watches the replica.
 *
 * Ledgers are only linked here; whether they are signed by whom they should be is for
 * ledger_verify(). One thread, that of both stores.
 */
#ifndef FAIRLEAD_STATE_FOLLOWER_H
#define FAIRLEAD_STATE_FOLLOWER_H

#include "base/error.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

#define FOLLOWER_RETRY_MS 1000u /* after a call that failed */
#define FOLLOWER_REFUSED_RETRY_MS                                                                  \
	10000u /* after a fork, an authority that is behind, or rubbish                            \
		*/

enum follower_state {
	FOLLOWER_CATCHING_UP, /* it does not know yet whether the replica is up to date */
	FOLLOWER_FOLLOWING, /* whatever the authority tells of is taken in */
	FOLLOWER_FAILED, /* a call of either store failed; it is tried again */
	FOLLOWER_BEHIND, /* the authority lacks entries that the replica has */
	FOLLOWER_FORKED, /* the replica's head is not on the authority's chain */
};

struct follower;

/* Both are borrowed until follower_stop(). `replica` is one of store_open_sqlite(), and nobody else
 * changes it. */
must_check int follower_new(struct store *authority, struct store *replica,
			    struct follower **ret_follower);
/* Whom it followed is left, for another one whose line takes the place in `authority`'s, or for
 * nobody: the attempt ends, without an alarm, and the next follower_run() begins anew. What was
 * taken in stays. Dispatch `authority` before that, so that what was asked of the one is not
 * answered by the other. */
void follower_leave(struct follower *follower);
/* From now on nothing begins: one of the stores is about to close. NULL is fine. */
void follower_stop(struct follower *follower);
/* Only after store_close() of both, which ends what is under way. NULL is fine. */
void follower_free(struct follower *follower);

/* Begins, and begins anew after a failure once it is time. Call it every tick. */
void follower_run(struct follower *follower, uint64_t now_ms);

enum follower_state follower_state(const struct follower *follower);
/* "" while nothing is wrong; else why the replica does not follow, and what to do. */
const char *follower_alarm(const struct follower *follower);

#endif
