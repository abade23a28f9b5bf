/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landing set: what one landing shall be, as four sorted lists, and the generation that names this
 * content. The node keeps one for each landing and sends what changed; the landing keeps its own,
 * makes the next one of it by each message, and both compute the generation from what they hold. So
 * a difference that got lost or was made from something else is noticed at once.
 *
 * A set never changes. Pure; one thread.
 */
#ifndef FAIRLEAD_FABRIC_LANDING_SET_H
#define FAIRLEAD_FABRIC_LANDING_SET_H

#include "wire/peer.h"

enum landing_list {
	LANDING_POOLS, /* struct peer_prefix: prefixes of service addresses */
	LANDING_EDGES, /* struct peer_address: sources whose tunnels are believed, the fence */
	LANDING_ADDRESSES, /* struct peer_address: where tunnels to it end */
	LANDING_LISTENERS, /* struct peer_listener: which flows its listeners get */
	LANDING_LISTS
};

struct landing_set {
	unsigned references;
	struct arena arena;
	struct wire_list lists[LANDING_LISTS]; /* sorted, each item once */
	struct digest generation; /* never zero */
};

/* Copies the lists, which may be in any order. -ENOMEM; -FL_EINVALID when they are more than one
 * message holds. */
must_check int landing_set_new(const struct wire_list lists[LANDING_LISTS],
			       struct landing_set **ret_set);
struct landing_set *landing_set_ref(struct landing_set *set);
void landing_set_unref(struct landing_set *set); /* NULL is fine */

/* The message that makes `to` of `from` (NULL: of nothing). Borrows from both and from `arena`. */
must_check int landing_set_diff(const struct landing_set *from, const struct landing_set *to,
				struct arena *arena, struct peer_configure *ret_message);

/*
 * What the message makes of `from` (NULL: nothing). -FL_ECONFLICT when it was made from something
 * else, or does not lead to the generation that it names; -ENOMEM.
 */
must_check int landing_set_apply(const struct landing_set *from,
				 const struct peer_configure *message, struct landing_set **ret_set,
				 struct error *err);

/* The order of listeners in a set. */
int landing_set_compare_listeners(const struct peer_listener *a, const struct peer_listener *b);

bool landing_generation_is_none(const struct digest *generation);

#endif
