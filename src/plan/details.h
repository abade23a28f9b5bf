/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the details of a plan are gathered: each comparison notes what differs, in the order in which
 * a reader wants it. Private to src/config, for plan.c and its neighbours.
 */
#ifndef FAIRLEAD_PLAN_DETAILS_H
#define FAIRLEAD_PLAN_DETAILS_H

#include "plan/plan.h"

struct service;

/* Grows in the arena; the first failure sticks in `status`, and what is noted after it is lost. */
struct plan_details {
	struct arena *arena;
	struct plan_detail *items;
	size_t count;
	size_t capacity;
	int status;
};

/* A copy in the arena of a text made on the stack; "" after a failure. */
const char *plan_keep(struct plan_details *details, const char *text);
/* The text of a finished buffer, kept; the buffer is done with. */
const char *plan_keep_buffer(struct plan_details *details, struct buffer *buffer);

/* Texts are borrowed where copying is not mentioned; `after` and `before` may be NULL. */
void plan_note_added(struct plan_details *details, const char *kind, const char *name,
		     const char *after);
/* Copies the name: what goes may be known from a version that was built for this plan only. */
void plan_note_removed(struct plan_details *details, const char *kind, const char *name,
		       const char *before);
/* Notes a change unless both sides, never NULL here, say the same; copies both. */
void plan_note_change(struct plan_details *details, const char *kind, const char *name,
		      const char *attribute, const char *before, const char *after);
void plan_note_duration(struct plan_details *details, const char *kind, const char *attribute,
			uint64_t before_ms, uint64_t after_ms);
void plan_note_number(struct plan_details *details, const char *kind, const char *name,
		      const char *attribute, uint32_t before, uint32_t after);

/* NULL when nothing is known of it. */
const struct plan_live_service *plan_find_live(const struct plan_live_service *live, size_t count,
					       const char *name);

/* --- losses.c --- */

/* Fills in the losses of a plan whose services are known; -ENOMEM. */
must_check int plan_find_losses(const struct fabric *previous, const struct fabric *fabric,
				const struct plan_live_service *live, size_t live_count,
				struct arena *arena, struct plan *plan);

/* --- plan_fabric.c --- */

/* All but the services. */
void plan_compare_fabrics(struct plan_details *details, const struct fabric *before,
			  const struct fabric *after);
/* With nothing before, everything is an addition; settings go without saying. */
void plan_list_fabric(struct plan_details *details, const struct fabric *fabric);

/* --- plan_service.c --- */

/* What a version fixes, ports and backends; with no version (NULL) all of it is added. */
void plan_compare_content(struct plan_details *details, const struct version *was,
			  const struct service *now);
/* What a service changes without a next version. */
void plan_compare_policies(struct plan_details *details, const struct service *was,
			   const struct service *now);

#endif
