/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publication: what a change writes to make a service's next version, and the records of the
 * configuration and of the placement. Only for build functions of changes; everything lands in
 * their draft. What the image shows already is not written again.
 */
#ifndef FAIRLEAD_STATE_PUBLICATION_H
#define FAIRLEAD_STATE_PUBLICATION_H

#include "state/changes.h"

/* The states as they will be after this txn: slots are chosen from these. The first `known` of them
 * are the image's, by rising names. */
struct future_states {
	const struct service_state **states;
	size_t count;
	size_t known;
};

must_check int future_states_init(struct future_states *future, const struct image *image,
				  size_t extra, struct arena *arena);
/* Replaces the state of this service, or adds it: a service that the image has none of once only.
 */
void future_states_set(struct future_states *future, const struct service_state *state);

/* The number of the service's next version; `known` may be NULL. It is above every number that the
 * name ever had, in its lives before this one too. */
uint32_t publication_next_number(const struct image *image, const struct image_service *known);

/* The service leaves the configuration, or its state goes: write where it stopped counting.
 * `removed` is the ledger entry that took it out. */
must_check int publication_put_ended(struct change_draft *draft, const struct service_state *state,
				     uint64_t removed);

/* A copy of the service's state that may be changed, or the first state of a new service, ready for
 * its next version; NULL without memory. */
struct service_state *publication_state(const struct image *image,
					const struct image_service *known, const char *name,
					uint32_t index, struct arena *arena);

/* When a version is published: what draft and daemon know of it. */
struct publication_moment {
	uint64_t wall_ms;
	uint64_t applied_sequence; /* every node that is waited for has applied this entry */
	struct random *random; /* of the versions' seeds */
};

/* Slots for the next version of `index`. -FL_EUNSUPPORTED while an unread record may hold some. */
must_check int publication_choose_slots(const struct image *image, const struct fabric *fabric,
					const struct placement *placement, uint32_t index,
					const struct future_states *future,
					const struct publication_moment *moment,
					struct binding bindings[PLACEMENT_FAMILIES],
					size_t *ret_count, struct error *err);

/* Builds the version of the service that follows what is known of it. */
must_check int publication_build(const struct image *image, const struct fabric *fabric,
				 const struct service *service, const struct image_service *known,
				 struct random *random, struct arena *arena,
				 struct version **ret_version, struct error *err);

/* The version takes its place in the service's state. */
must_check int publication_take_place(struct change_draft *draft, struct service_state *state,
				      const struct version *version, const struct binding *bindings,
				      size_t binding_count, struct error *err);

/* Write the state of a service. */
must_check int publication_put_state(struct change_draft *draft, const struct service_state *state);

/* Write what a version's record is: record_version_put(). */
must_check int publication_put_version(struct change_draft *draft, const char *service,
				       uint32_t number, struct buffer *value);

/* Write the fabric's names, settings and pools, and take away pools that the file has no more. */
must_check int publication_put_fabric(struct change_draft *draft, const struct fabric *fabric,
				      struct error *err);
must_check int publication_put_site(struct change_draft *draft, const struct site *site,
				    struct error *err);
must_check int publication_put_config(struct change_draft *draft, const struct service *service,
				      struct error *err);

/* Write the numbers of the pools, the name of a numbered site, a freed slot, and all that this txn
 * frees. */
must_check int publication_put_pools(struct change_draft *draft, const struct placement *placement);
must_check int publication_put_placed_site(struct change_draft *draft,
					   const struct placement *placement, size_t number);
must_check int publication_put_slot(struct change_draft *draft, const struct placement *placement,
				    const struct placed_slot *slot);
must_check int publication_put_freed(struct change_draft *draft, const struct placement *placement);

/* Publish the next version of `service`, and its configuration, in this draft. */
must_check int publication_make(struct change_draft *draft, const struct fabric *fabric,
				const struct service *service, const struct version **ret_version,
				struct error *err);
/* The same for a rollback: its content is that of version `source`. */
must_check int publication_make_again(struct change_draft *draft, const struct fabric *fabric,
				      const struct service *service, uint32_t source,
				      const struct version **ret_version, struct error *err);

/* The same upon a state that the change has changed already; `future` shows those of the other
 * services. `source` 0: it is no rollback. */
must_check int publication_make_from(struct change_draft *draft, const struct fabric *fabric,
				     const struct service *service,
				     const struct placement *placement,
				     struct future_states *future, struct service_state *state,
				     uint32_t source, const struct version **ret_version,
				     struct error *err);

#endif
