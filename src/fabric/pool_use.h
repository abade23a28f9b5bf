/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pool use: what the slots of each pool are used for, and what an order that finds no slot can wait
 * for. Reads the replica and what was observed; changes nothing.
 *
 * One thread, that of the image.
 */
#ifndef FAIRLEAD_FABRIC_POOL_USE_H
#define FAIRLEAD_FABRIC_POOL_USE_H

#include "fabric/driver.h"
#include "model/placement.h"

/* Every slot that can be given out is one of: own, draining, late, closing, resting, free. */
struct pool_use {
	const struct pool *pool; /* borrowed from the image */
	bool leaving; /* it left the file, and versions still have slots of it */
	uint32_t usable;
	uint32_t own; /* of versions that have clients, or are about to */
	uint32_t draining; /* of versions that drain */
	uint32_t late; /* of retired versions, for clients with an older answer */
	uint32_t closing; /* refuse new flows while it is proven that nobody uses them */
	uint32_t idle; /* of those that drain or are late: nobody uses them */
	uint32_t unknown; /* of the same: a backend is silent, so that somebody may */
	uint32_t resting; /* freed, and in quarantine, so that only who had them may have them */
	uint64_t rested_wall_ms; /* when the first of these is anybody's; 0: none is there */
	uint32_t free; /* anybody's */
	uint32_t services; /* that have a slot of it, or would get one */
};

/* Of each pool that the image's placement has; one that is not there any more has no `pool`. */
void pool_uses(const struct driver *driver, struct pool_use ret_uses[MODEL_MAX_POOLS]);

/*
 * Why an order finds no slots for all of `services`, of which `count` names are given, and what it
 * can wait for. Sets the sentence and returns -FL_EWAIT where slots that lie idle are being freed
 * for it, otherwise -FL_EEXHAUSTED. 0, and nothing is set: there are slots for all of them.
 */
must_check int pool_use_explain(const struct driver *driver, const char *const *services,
				size_t count, struct arena *arena, struct error *err);

#endif
