/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Undo: an entry that changes the configuration keeps what it changed, and the way back is made of
 * that. Such an entry's `what` has the member "changed", an array with an object for each record of
 * the configuration that it wrote or deleted:
 *   {"key": "config/service/web", "before": RECORD or null, "after": RECORD or null}
 * or {"key": …, "too_large": true} where all of them together are more than an entry keeps.
 *
 * The way back is a fabric, the present one with those records as they were, which is then applied
 * as any file is: with a plan, with checks, with new versions. So an undo is a change like others,
 * and can be undone. What a later entry changed again is not touched: that one is undone first.
 */
#ifndef FAIRLEAD_STATE_UNDO_H
#define FAIRLEAD_STATE_UNDO_H

#include "state/changes.h"

struct fabric;

/* What the draft's operations change of the configuration, for its entry; an owned array. */
must_check int undo_note(const struct change_draft *draft, json_t **ret_changed);

/*
 * The present fabric without what entry `sequence`, which says `what`, changed; with a `service`
 * (NULL is fine) without what it changed of that one alone. What is as it was before is left alone.
 * Borrows from the image and `arena`. -FL_ESTATE with a sentence when the entry does not say what
 * it changed, or when that was changed again; -FL_EUNSUPPORTED when a newer program wrote it.
 */
must_check int undo_fabric(const struct image *image, uint64_t sequence, const json_t *what,
			   const char *service, struct arena *arena, struct fabric **ret_fabric,
			   struct error *err);

#endif
