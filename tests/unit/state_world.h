/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of a node's state share: a store with a ledger, the image that follows it, and the
 * changes that are committed to it, as in a daemon but for its planes and its driver.
 */
#ifndef FAIRLEAD_TESTS_STATE_WORLD_H
#define FAIRLEAD_TESTS_STATE_WORLD_H

#include "state/apply.h"
#include "store_harness.h"

struct world {
	struct harness harness;
	struct random random;
	struct ledger_signer *signer;
	struct image image;
	struct store_watch *watch;
	struct changes *changes;
	/* Called when the image has taken in a revision; may be NULL. */
	void (*moved)(struct world *world, const struct store_event *events, size_t count);
	unsigned moves; /* how often the image did */
	size_t puts; /* records that were written, but for the ledger's */
	char last_kind[64]; /* of the last ledger entry */
	json_t *last_what; /* owned; what the last apply's entry says */
};

/* An empty store whose ledger has begun. */
void world_init(struct world *world);
void world_done(struct world *world);
/* Ends whatever is under way, as a crash between two txns does, and starts anew. */
void world_restart(struct world *world);
/* Until nothing is under way. */
void world_settle(struct world *world);

/* The fabric that the YAML means; the test fails if it means none. */
struct fabric *world_parse(const char *text, struct arena *arena);

/* What an apply came to: commit `fabric` part by part. */
struct world_apply {
	int result;
	unsigned parts;
	struct error err;
};
struct world_apply world_apply(struct world *world, const struct fabric *fabric);
/* Ends after `most` parts: nothing has to be left to do for that. */
struct world_apply world_apply_parts(struct world *world, const struct fabric *fabric,
				     unsigned most);

/* The fabric that the image shows, as a file: it is to be freed. */
char *world_file(const struct world *world);

#endif
