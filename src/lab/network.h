/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network: links between machines, with bridges, addresses and routes, made by `ip -batch` from
 * iproute2 and a few ioctls. The machines are there already (room.h).
 *
 * A link that only carries is a veth pair. Under XDP such a pair needs two things: NAPI on the far
 * end (GRO turns it on) or redirected packets vanish there, and no offloads, since nobody computes
 * a checksum or cuts a segment after XDP; for XDP_TX see pass.h. A link that delays, loses or slows
 * is a relay (relay.h).
 */
#ifndef FAIRLEAD_LAB_NETWORK_H
#define FAIRLEAD_LAB_NETWORK_H

#include "base/error.h"
#include "lab/relay.h"
#include "lab/topology.h"

#include <stdbool.h>
#include <sys/types.h>

struct network_link {
	const struct topology_link *link;
	struct relay_counts *counts; /* owned, shared with the relay; NULL for a veth pair */
	pid_t relay; /* 0: none runs */
	int passes[LINK_SIDES]; /* owned: the XDP programs of ends that have one; -1: none */
};

struct network {
	const struct topology *topology; /* borrowed */
	struct network_link *links; /* owned; as many as the topology has, in its order */
};

void network_init(struct network *network, const struct topology *topology);

/* Make everything, once. */
must_check int network_make(struct network *network, struct error *err);

/*
 * Take a link away, and join its ends again: interfaces, addresses, and the routes through it. A
 * link may also be taken away by deleting an interface. `ret_already` is whether there was nothing
 * to do. -FL_ESTATE if one end alone is there, which can be taken away, but not joined.
 */
must_check int network_unplug(struct network_link *link, bool *ret_already, struct error *err);
must_check int network_plug(const struct network *network, struct network_link *link,
			    bool *ret_already, struct error *err);

/* What left the end since it was made, as its interface counts: for a link without a relay.
 * `ret_there` is whether the interface exists. */
must_check int network_count(const struct topology_end *end, struct shaper_counts *ret_counts,
			     bool *ret_there, struct error *err);

/* The child `pid` ended: if it was a relay, its link is cut now. */
void network_child_ended(struct network *network, pid_t pid);

#endif
