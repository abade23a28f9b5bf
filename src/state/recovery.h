/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recovery: a node's state is older than what the node does, nothing holds the entries in between
 * any more, and the operator decides to go on from it. What the lost entries may have given out
 * gets no second meaning (PROTOCOL.md rule 4):
 *
 * - The ledger goes on above every number that a lost entry can have, with an entry of kind
 *   LEDGER_KIND_RECOVER that says what it follows and what is lost. Each lost entry can have given
 * a service one version, and a slot one binding, so their numbers go on above as many.
 * - Addresses that the maps forward by another version than the state says are withdrawn, and held
 *   back until it is proven that no connection uses them (fabric/burned.h). Where a version has
 *   such an address for its own, the service's content is published again as a new version.
 * - Where it is not known what the maps forwarded, all free slots rest for `quarantine`.
 *
 * The record is `placement/recovered`. A replica that has it stands at the mark that it names as
 * lost (replica.h). Pure; one thread, that of the image.
 */
#ifndef FAIRLEAD_STATE_RECOVERY_H
#define FAIRLEAD_STATE_RECOVERY_H

#include "state/changes.h"

#define RECOVERY_MARGIN 1000u /* entries that may lie above the newest that is known */
#define RECOVERY_UNKNOWN 1000000u /* the same, where none is known */
#define RECOVERY_MOST_SERVICES 32u /* with an address that means something else; one txn */

/* An address, and the version by which the maps forward it. */
struct recovery_held {
	struct ip_address address;
	struct digest version;
};

/* What is known of the lost entries; all of it is borrowed. */
struct recovery_knowledge {
	struct ledger_position lost; /* the newest of them; sequence 0: not known */
	uint64_t known; /* the number of the newest that anybody has, if it is a later one; or 0 */
	bool has_held; /* the maps forward by that entry, and `held` is all of it */
	const struct recovery_held *held;
	size_t held_count;
};

/* A service of which the state and the maps say different things. */
struct recovery_service {
	const struct image_service *known;
	bool *lost; /* parallel to its bindings */
};

/* What a recovery does; lives in the arena that it was worked out in, and borrows the image. */
struct recovery {
	uint64_t sequence; /* of the entry that says so */
	uint32_t numbers;
	bool all_rest;
	struct ip_address *withdrawn; /* rising */
	size_t withdrawn_count;
	struct recovery_service *services;
	size_t service_count;
};

/*
 * -FL_EUNSUPPORTED while a record that must be known is unread, -FL_ELIMIT for more than
 * RECOVERY_MOST_SERVICES, -ENOMEM.
 */
must_check int recovery_work_out(const struct image *image,
				 const struct recovery_knowledge *knowledge, struct arena *arena,
				 struct recovery *ret_recovery, struct error *err);

/* Fills a change's draft: a change_verdict, or what recovery_work_out() and a publication return.
 */
must_check int recovery_build(struct change_draft *draft,
			      const struct recovery_knowledge *knowledge, struct error *err);

#endif
