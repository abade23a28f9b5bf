/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the transitions and the operator's commands share in changing a service's state. Private to
 * src/model; none of these checks the invariants, which whoever calls them does on either side.
 */
#ifndef FAIRLEAD_MODEL_LIFECYCLE_INTERNAL_H
#define FAIRLEAD_MODEL_LIFECYCLE_INTERNAL_H

#include "model/lifecycle.h"

/* What every change is stamped with. */
struct lifecycle_stamp {
	uint64_t sequence;
	uint64_t wall_ms;
};

/* service_version(), for whoever changes it. */
struct version_status *lifecycle_find(struct service_state *state, uint32_t number);

/* A move that the caller knows to be in the table. */
void lifecycle_must_move(struct version_status *version, enum version_event event,
			 struct lifecycle_stamp stamp);

/*
 * Versions that neither serve nor are to serve: the base when the target has everything, or the
 * target when it is replaced.
 */
void lifecycle_retreat(struct version_status *version, struct lifecycle_stamp stamp);

/* A closing version takes new flows again; -FL_ESTATE if it does not close. */
must_check int lifecycle_reopen(struct service_state *state, struct version_status *version,
				struct lifecycle_stamp stamp);

/* The rest of a version's flows may go: -FL_ESTATE unless it drains or closes. */
must_check int lifecycle_mark_cut(struct service_state *state, uint32_t number);

#endif
