/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merge: what all nodes saw, together. Who is asked is what the replica says: every edge and names
 * node that the ledger names, until it is removed. One that said nothing has acknowledged nothing,
 * and makes what it would have to say *not known*.
 *
 * There are two kinds of waiting. *Publishing* (DNS begins to name a version) waits for the edges
 * that are heard: one that comes back without the version passes its packets on. *Closing*,
 * re-binding and freeing wait for everyone, heard and silent, since a silent edge may still
 * forward. That goes for one that was removed as well, until its fence stands (fence.h): it is as
 * one that is not heard and has acknowledged nothing.
 *
 * Pure functions of their arguments; the caller's clock is `now_ms`.
 */
#ifndef FAIRLEAD_FABRIC_MERGE_H
#define FAIRLEAD_FABRIC_MERGE_H

#include "fabric/observation.h"
#include "fabric/reports.h"
#include "model/lifecycle.h"
#include "model/placement.h"

#include <jansson.h>

/* Everything that a merge reads. */
struct sights {
	const struct image *image;
	const struct observations *observations;
	struct reports *reports; /* what landings counted */
	uint64_t now_ms;
};

/* The highest entry that the member has acknowledged in each of its roles that are waited for; 0:
 * in one it has said nothing; UINT64_MAX: it has no such role. */
uint64_t merge_applied_by(const struct sights *sights, const struct member *member);

/* The highest entry that every edge and names node has acknowledged in each of its roles; 0: one
 * has said nothing, or there is none. */
uint64_t merge_applied(const struct sights *sights);

/* For how long that has been so for `sequence`, in ms, at least 1; 0: it is not. */
uint64_t merge_applied_for_ms(const struct sights *sights, uint64_t sequence);

/* Have all edges that are heard, and at least one, applied `sequence`? */
bool merge_is_held(const struct sights *sights, uint64_t sequence);

/* Who is waited for: an edge that is heard and has not applied `sequence`; a member with one of
 * these roles that has not acknowledged it; one that was not heard lately, of all that a closing
 * waits for. NULL: nobody. Borrowed from the image. */
const char *merge_lacking(const struct sights *sights, uint64_t sequence);
const char *merge_behind(const struct sights *sights, unsigned roles, uint64_t sequence);
const char *merge_unheard(const struct sights *sights);

/* An edge that is heard and has no next hop for the backend; NULL: there is none. Borrowed until
 * the next message. */
const char *merge_unreached(const struct sights *sights, const struct ip_address *backend);

/* How long the binding's addresses have been quiet at every edge; `packets_known` false when an
 * edge does not say. Fills in the three members about packets. */
void merge_activity(const struct sights *sights, const struct binding *binding,
		    struct binding_observation *observation);

/* For how long no name server can have answered what `sequence` took out of DNS: since all of them
 * have acknowledged it. 0: one has not; UINT64_MAX: the fabric has none. */
uint64_t merge_unanswered_ms(const struct sights *sights, uint64_t sequence);

/* The binding's addresses, one at each site, since a flow may have come by any of them. */
size_t merge_addresses(const struct placement *placement, const struct binding *binding,
		       struct ip_address addresses[MODEL_MAX_SITES]);

/* The connections on the binding's addresses, with the closing that it may be part of. Fills in the
 * members about connections. */
struct connection_sum merge_connections(const struct sights *sights,
					const struct service_state *state,
					const struct binding *binding,
					struct binding_observation *observation);

/* The services that want a slot at some member, each once; lives in `arena`. -ENOMEM. */
must_check int merge_wants(const struct sights *sights, struct arena *arena,
			   struct placement_wants *ret_wants);

/* What the members acknowledged and the version's backends counted, for the ledger; a new
 * reference. `version` may be NULL. */
json_t *merge_evidence(const struct sights *sights, const struct version *version);

#endif
