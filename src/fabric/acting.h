/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Acting: what a node does by its replica. It forwards, it answers, and it says so; what it may not
 * do of these is decided here, for the daemon and for simulated fabrics alike. The planes are the
 * caller's.
 *
 * What is published is an image of the replica, so nothing is that the replica does not hold, and
 * maps come before DNS. What is acknowledged, and what is decided, is noted as the node's mark
 * first, beside the replica and in the pinned maps, since others build on it.
 *
 * Below its mark (state/replica.h) a node publishes nothing over maps that forward: that would
 * withdraw addresses which only they know, or give one back the meaning that it had before its
 * closing was proven (invariants 3 and 6). It acknowledges nothing, and DNS is for the other nodes
 * to answer. A node is *alone* when it decides for itself and neither its replica nor its mark
 * knows of another that forwards, answers or decides: then nothing moves but what it does itself.
 * Alone and with nothing forwarding, what it has is better than nothing; alone and with maps, DNS
 * goes on as far as these mean the same. Not alone and with nothing forwarding, it takes packets
 * for the pools and passes them on to edges that know more (fabric/passing.h).
 *
 * One thread, that of the image.
 */
#ifndef FAIRLEAD_FABRIC_ACTING_H
#define FAIRLEAD_FABRIC_ACTING_H

#include "fabric/observation.h"
#include "state/image.h"
#include "state/replica.h"

#include <stdbool.h>
#include <stdint.h>

/* What a node's planes can do. */
struct acting_planes {
	/* Are packets forwarded by maps, whoever published them? */
	bool (*forwards)(void *context);
	/* The maps do what the image says. */
	int (*publish_maps)(void *context, const struct image *image, struct error *err);
	/* Packets for service addresses come here, and the maps know none of them. */
	int (*publish_pools)(void *context, const struct image *image, struct error *err);
	/* The maps stay; fails when addresses that `image` has clients sent to mean something else
	 * there. */
	int (*keep_maps)(void *context, const struct image *image, struct error *err);
	int (*pin_mark)(void *context, const struct mark_note *note, struct error *err);
	/* DNS answers what the image says. */
	int (*publish_names)(void *context, const struct image *image, struct error *err);
};

struct acting_options {
	const char *node;
	const struct image *image;
	struct replica *replica;
	bool decides; /* changes are decided here: the replica is the authority itself */
	bool is_edge;
	bool is_names;
	bool kept_maps; /* those of an earlier process forward, and hold the mark that it noted */
	const struct acting_planes *planes;
	void *context; /* of the planes */
};

/* Of one process; all of `options` is borrowed, and the rest is zero before it did anything. */
struct acting {
	struct acting_options options;
	bool has_published;
	uint64_t published_revision; /* the maps do what the image of this revision says */
	struct ledger_position forwarded; /* up to here the maps do what the ledger says */
	struct ledger_position answered; /* up to here DNS does */
	uint64_t marked; /* the entry that this process noted */
	/* What others say that there is. */
	uint64_t asks_since_ms; /* by the caller's clock */
	bool was_answered; /* by a member, at least */
	bool was_led; /* by a voter that decides */
	struct ledger_position answer; /* the newest entry that one of them has */
	bool has_asked; /* the replica has that; or nobody was there to answer */
};

/* So long a start waits for a member that answers. */
#define ACTING_ASK_MS 3000u

/*
 * Do what the image says, as far as that is allowed and not done. Each step stands on the one
 * before, and one that fails leaves everything as it was. `ret_forwards`: the failure is not that
 * of the maps.
 */
must_check int acting_carry_out(struct acting *acting, bool *ret_forwards, struct error *err);

/* Note what may be acknowledged. Durable when it returns 0; otherwise nothing is to be told. */
must_check int acting_note(struct acting *acting, struct error *err);

/*
 * A start asks before it attracts traffic, since its own state may be older than all that could say
 * so (PROTOCOL.md rule 3); where maps are left, they can. A member that was reached has entries up
 * to `head`; `decides`: nobody has more.
 */
void acting_answered(struct acting *acting, const struct ledger_position *head, bool decides);

/* Was that enough? Call it every tick; the first time is the start. Whoever was not reached within
 * ACTING_ASK_MS, a voter that decides among them, is not waited for. */
void acting_ask(struct acting *acting, uint64_t now_ms);

/*
 * May traffic be drawn to this edge: may it say to a router that it takes packets for the service
 * addresses? Not before its own membership is in its replica (rule 10), not below its mark, not
 * before its maps are published and those whom it reached were asked. False: `ret_why` is a phrase
 * that goes on from "this node draws no traffic: ".
 */
bool acting_may_attract(const struct acting *acting, const char **ret_why);

/* What this process acknowledges, for the caller to complete. Only after acting_note(). */
struct observation acting_observation(const struct acting *acting);

#endif
