/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publication: what a change writes to make a service's next version, and the configuration with
 * its placement. Only for build functions of changes; everything lands in their draft.
 */
#ifndef FAIRLEAD_STATE_PUBLICATION_H
#define FAIRLEAD_STATE_PUBLICATION_H

#include "state/changes.h"

/* The states as they will be after this txn: slots are chosen from these. */
struct future_states {
	const struct service_state **states;
	size_t count;
};

must_check int future_states_init(struct future_states *future, const struct image *image,
				  size_t extra, struct arena *arena);

/* A copy of the service's state that may be changed, or the first state of a new service; NULL
 * without memory. */
struct service_state *publication_state(const struct image_service *known, const char *name,
					uint32_t index, struct arena *arena);

/* The next version takes its place in `state`, with slots that nobody has in `future`. */
must_check int publication_take_place(struct change_draft *draft, const struct fabric *fabric,
				      const struct version *version,
				      const struct placement *placement,
				      struct future_states *future, struct service_state *state,
				      struct error *err);

/* Write the state of a service. */
must_check int publication_put_state(struct change_draft *draft, const struct service_state *state);

/* Write the placement. */
must_check int publication_put_placement(struct change_draft *draft,
					 const struct placement *placement);

/* Write the configuration, as config_emit() gives it, and its placement. */
must_check int publication_put_fabric(struct change_draft *draft, struct buffer *text,
				      const struct placement *placement, struct error *err);

/* Publish the next version of `service` in this draft. */
must_check int publication_make(struct change_draft *draft, const struct fabric *fabric,
				const struct service *service, const struct placement *placement,
				struct future_states *future, const struct version **ret_version,
				struct error *err);

#endif
