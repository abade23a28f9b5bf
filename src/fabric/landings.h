/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landings: what each landing is to be, of all services together, and kept up to date by looking at
 * services that changed, and at nothing else. What a landing gets is a set (landing_set.h): pools,
 * edges, where tunnels to it end, which flows its listeners get.
 *
 * The edges are the tunnel sources of the members: who is not on that list forwards to nobody,
 * which is the fence that makes the removal of an edge safe.
 *
 * A version gets no clients before the landings of its backends are ready for it (gate.h): DNS
 * would name an address that a new backend does not take yet, or hands to no listener.
 *
 * One thread, that of the image.
 */
#ifndef FAIRLEAD_FABRIC_LANDINGS_H
#define FAIRLEAD_FABRIC_LANDINGS_H

#include "fabric/landing_set.h"
#include "fabric/reports.h"
#include "state/image.h"

struct landings;

must_check int landings_new(struct landings **ret_landings);
void landings_free(struct landings *landings);

/* Look at what changed since the last call. -ENOMEM: some of it is still to be looked at, by the
 * next call. */
must_check int landings_update(struct landings *landings, const struct image *image);

/*
 * What the landing `name` is to be; NULL when there is no such landing: it is no backend of a
 * version that some address means, or the ledger has no members yet. Borrowed until the next
 * landings_update(). -ENOMEM, or -FL_EINVALID when it is more than one message holds.
 */
must_check int landings_wanted(struct landings *landings, const char *name,
			       struct landing_set **ret_set);

/* Service addresses whose connections the operator ordered to be ended, sorted; struct
 * peer_address. Borrowed until the next landings_update(). */
struct wire_list landings_cuts(const struct landings *landings);

/* The revision of the image whose members' tunnels landings are told to take, as of the last
 * landings_update(); 0: none yet. */
uint64_t landings_fence_revision(const struct landings *landings);

/* Did the landing that reported carry out what it is to be, as of the last landings_update()? */
bool landings_has_carried_out(struct landings *landings, const struct report *report);

#endif
