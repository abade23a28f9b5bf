/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes: every change of the fabric's state goes through here, as one txn that holds the new
 * records and the ledger entry that tells of them. One is in flight at a time; the next is built
 * only when the image shows the outcome of the one before, so each decides on what is true.
 * A txn that somebody else's change overtook is built again from the newer image.
 *
 * The txn goes to the authority; the image shows this node's replica. The two are one store where
 * the node decides for itself. Elsewhere a revision means something only together with the id of
 * its history: while the replica is a copy of another one than the authority's, nothing is sent.
 */
#ifndef FAIRLEAD_STATE_CHANGES_H
#define FAIRLEAD_STATE_CHANGES_H

#include "base/arena.h"
#include "base/error.h"
#include "ledger/ledger.h"
#include "state/image.h"
#include "store/store.h"

#include <jansson.h>
#include <stdbool.h>

struct changes;
struct change;
struct random;

/* What a change's build function fills in. Everything lives in `arena` until the txn is done. */
struct change_draft {
	struct arena arena;
	const struct image *image;
	uint64_t sequence; /* the ledger entry that it will be; one that recovers raises it */
	uint64_t applied_sequence; /* every node that is waited for has applied this entry */
	uint64_t wall_ms; /* by the steady clock */
	struct random *random; /* borrowed: for what the change draws */
	json_t *what; /* owned; an object for the entry */
	struct store_compare compares[STORE_TXN_OPS];
	size_t compare_count;
	struct store_op ops[STORE_TXN_OPS];
	size_t op_count;
	size_t bytes; /* of all keys and values */
};

/* Room that a build function has for ops of its own: the ledger entry needs the rest. */
#define CHANGE_MAX_OPS (STORE_TXN_OPS - LEDGER_APPEND_OPS)
#define CHANGE_MAX_BYTES (STORE_TXN_BYTES / 2)

enum change_verdict {
	CHANGE_NOTHING = 0, /* the image is already as wanted: done, without an entry */
	CHANGE_COMMIT = 1,
};

/* Build the txn from the image as it is now; may be called again after a conflict. Returns a
 * change_verdict or a negative code with the sentence in `err`. */
typedef int change_build_fn(struct change *change, struct change_draft *draft, struct error *err);

/* Called once, when the image shows the change (or after it failed). `sequence` is 0 when nothing
 * was to be done. Its memory is the callee's again. */
typedef void change_done_fn(struct change *change, int result, const struct error *err,
			    uint64_t sequence);

struct change {
	const char *kind; /* of the ledger entry; static */
	char who[256];
	char why[LEDGER_TEXT_BYTES];
	change_build_fn *build;
	change_done_fn *done;
	void *context;
	bool
	    upgrades; /* brings the state out of the first release's form: all others wait for it */
	bool recovers; /* it is what an older state waits for: no refusal holds it up */
	struct change *next; /* ours while queued */
};

struct changes_options {
	struct store *authority;
	struct image *image; /* of the replica */
	const struct ledger_signer *signer;
	const struct clock *clock; /* for the ledger, which people read */
	const struct clock *steady; /* for states, whose durations count: see daemon.h */
	struct random *random; /* for the seeds of versions, salts of rollouts and ids of txns */
	/* The entry that every node which is waited for has applied. */
	uint64_t (*applied)(void *context);
	const char *refusal; /* "" or NULL; else every change is -FL_ESTATE with this sentence */
	/* Told how each txn ended; NULL is fine. */
	void (*told)(void *context, int result, const struct error *err);
	void *context;
};

must_check int changes_new(const struct changes_options *options, struct changes **ret_changes);
/* From now on nothing begins: the image is not to be trusted any more, or the store is about to
 * close. NULL is fine. */
void changes_stop(struct changes *changes);

/* Only after store_close(), which ends the change in flight. Queued changes are completed with
 * -ECANCELED. NULL is fine. */
void changes_free(struct changes *changes);

/* Queue a change; its memory is the caller's until `done`. */
void changes_submit(struct changes *changes, struct change *change);

/* Build it from the image as it is now, and commit nothing: what its build function left in the
 * change's owner is all that comes of it. Refused for what a commit would be refused for. */
must_check int changes_try(const struct changes *changes, struct change *change, struct error *err);

/* The same, before all others that wait. */
void changes_submit_first(struct changes *changes, struct change *change);

/* Is a change of this kind queued or in flight? */
bool changes_pending(const struct changes *changes, const char *kind);

/* The image has moved: go on with what waited for it. */
void changes_image_moved(struct changes *changes);

/* --- for build functions --- */

/* Compare `key` with its revision in the image (0: absent) and put a copy of `value`. */
must_check int draft_put(struct change_draft *draft, const char *key, uint64_t mod_revision,
			 struct buffer *value);
/* Put without a comparison, for records that only this txn can mean. */
must_check int draft_put_new(struct change_draft *draft, const char *key, struct buffer *value);
must_check int draft_delete(struct change_draft *draft, const char *key);
/* Compare as draft_put() does, and delete. */
must_check int draft_remove(struct change_draft *draft, const char *key, uint64_t mod_revision);

#endif
