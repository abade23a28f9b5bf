/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Burned addresses: those that a recovery holds back, since entries that are lost gave them a
 * meaning (state/recovery.h). They are withdrawn everywhere, so no new flow reaches them; what may
 * be left are connections that began before. When every node has applied the recovery, and every
 * backend that a version names or that ever reported to this process says after that that it counts
 * none there, the address is unused: its slot is free, and rests for `quarantine` as any that
 * another service had. UDP leaves nothing to count; for it the quarantine is what there is.
 *
 * One thread, that of the image.
 */
#ifndef FAIRLEAD_FABRIC_BURNED_H
#define FAIRLEAD_FABRIC_BURNED_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

struct burned;
struct changes;
struct clock;
struct image;
struct reports;

struct burned_options {
	const struct image *image; /* all pointers are borrowed until burned_free() */
	struct changes *changes;
	struct reports *reports;
	const struct clock *clock;
	uint64_t (*applied)(void *context); /* the entry that every node has applied */
	bool (*rests)(void *context); /* should it leave the store alone for now? */
	void *context;
};

must_check int burned_new(const struct burned_options *options, struct burned **ret_burned);
void burned_free(struct burned *burned);

/* Free what is proven to be unused; call it every tick. */
void burned_run(struct burned *burned);

#endif
