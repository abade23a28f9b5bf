/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fence: the list of tunnel sources that landings believe, which makes it safe to do without an
 * edge that was removed and cannot be heard. Its maps may send flows by what addresses meant once;
 * they end at every landing that has taken its sources off the list. So its removal counts only
 * FENCE_SETTLE_MS after every landing that a version names acknowledged such a list (PROTOCOL.md
 * rule 9); a ledger entry then says so, and until then the edge is waited for as if it were there
 * (merge.h). A landing that cannot acknowledge is in use, but for one whose backend was declared
 * gone.
 *
 * What is found is a pure function of image and reports. One thread, that of the image.
 */
#ifndef FAIRLEAD_FABRIC_FENCE_H
#define FAIRLEAD_FABRIC_FENCE_H

#include "fabric/reports.h"
#include "state/image.h"

#define FENCE_SETTLE_MS 3000u /* what a landing let in before takes no longer to arrive */

struct changes;
struct clock;
struct fence;

/* How far the landings have come with one removed edge. */
struct fence_progress {
	size_t landings; /* that a version with an address names, each once */
	size_t fenced; /* of them: it is off their lists, or they were declared gone */
	const struct backend *waits_for; /* one that is not; borrowed from the image. NULL: none */
	bool unread; /* there is a version whose landings are not known here */
	uint64_t since_ms; /* when the last of them was known to be, by the voter's clock */
};

/* `arena` is for the call. -ENOMEM. */
must_check int fence_find(const struct image *image, const struct reports *reports,
			  const struct removed_member *removed, struct arena *arena,
			  struct fence_progress *ret_progress);

/* Is the removal to count from now on? */
bool fence_is_due(const struct fence_progress *progress, uint64_t now_ms);

#define FENCE_TEXT 256u
/* "b: removed, fenced off by 1 of 3 landings, waits for web2" into `text` (FENCE_TEXT). */
must_check int fence_text(const struct image *image, const struct reports *reports,
			  const struct removed_member *removed, char *text);

struct fence_options {
	const struct image *image; /* all pointers are borrowed until fence_free() */
	struct changes *changes;
	const struct reports *reports;
	const struct clock *clock;
	bool (*rests)(void *context); /* should it leave the store alone for now? */
	void *context;
};

must_check int fence_new(const struct fence_options *options, struct fence **ret_fence);
void fence_free(struct fence *fence);

/* Write down which removals count now; call it every tick. */
void fence_run(struct fence *fence);

#endif
