/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Renewal of the passing secret (state/passing_secret.h), by who decides: the first one is drawn
 * when the ledger names a second edge, and another after PASSING_RENEWAL_MS, or when an edge was
 * removed. Two are good at a time, so none is drawn before every edge has the last.
 *
 * One thread, that of the image.
 */
#ifndef FAIRLEAD_FABRIC_PASSING_RENEWAL_H
#define FAIRLEAD_FABRIC_PASSING_RENEWAL_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define PASSING_RENEWAL_MS UINT64_C(86400000)

struct changes;
struct clock;
struct image;
struct passing_renewal;

struct passing_renewal_options {
	const struct image *image; /* all pointers are borrowed until passing_renewal_free() */
	struct changes *changes;
	const struct clock *steady; /* what records are stamped with */
	uint64_t (*applied)(void *context); /* the entry that every node has applied */
	bool (*rests)(void *context); /* should it leave the store alone for now? */
	void *context;
};

must_check int passing_renewal_new(const struct passing_renewal_options *options,
				   struct passing_renewal **ret_renewal);
void passing_renewal_free(struct passing_renewal *renewal);

/* Draw one if it is time; call it every tick. */
void passing_renewal_run(struct passing_renewal *renewal);

#endif
