/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each landing is to be: pools, edges, where tunnels to it end, which flows its listeners get.
 * The edges are the tunnel sources of the members: who is not on that list forwards to nobody,
 * which is the fence that makes the removal of an edge safe.
 *
 * A landing's answer to a configuration is its generation, the digest of what it has carried out.
 *
 * A version is not ready before the landings of its backends are: or DNS would name an address that
 * a new backend does not take yet, or hands to no listener. A silent landing is not waited for.
 */
#ifndef FAIRLEAD_FABRIC_LANDINGS_H
#define FAIRLEAD_FABRIC_LANDINGS_H

#include "base/digest.h"
#include "fabric/reports.h"
#include "state/image.h"

#include <jansson.h>

/*
 * Is there a landing of this name to be told what it shall be: a backend of a version that some
 * address means? Not before the ledger has members: a landing that was told of no edges would drop
 * the flows that an earlier program's edge sends it.
 */
bool landing_is_wanted(const struct image *image, const char *name);

/* The configuration for the landing `name` (a new reference) and its generation; NULL without
 * memory. */
json_t *landing_wanted(const struct image *image, const char *name,
		       char ret_generation[DIGEST_HEX_BYTES]);

/* The generations that were computed for one state of the bindings; belongs to the driver. */
struct landing_memory {
	json_t *generations; /* by backend */
	uint64_t placement_revision;
	uint64_t members_revision;
	uint64_t last_binding;
	size_t bindings;
};

void landing_memory_done(struct landing_memory *memory);

/*
 * Has every landing that speaks carried out what `version` needs? One that never spoke to this
 * process is waited for only until the version is as old as a report may be.
 */
bool landings_ready(const struct image *image, const struct reports *reports,
		    struct landing_memory *memory, const struct version *version,
		    uint64_t version_age_ms, uint64_t now_ms);

#endif
