/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Announcing: whether an edge may attract traffic for its addresses, by routes.
 *
 * A route says "packets for these addresses are in good hands here". An edge begins to say so only
 * when it holds all that it must hold: its own membership, the newest entry that it acknowledged,
 * every version that clients are sent to, and programs on all its interfaces; and when it has asked
 * a voter what is new, or found none to ask. It ceases when that is true no more, or when it ends
 * in order. Until a process knows, it leaves the routes of the one before it as they are: what is
 * pinned goes on forwarding meanwhile.
 *
 * What it lacks is a reason to send clients elsewhere only while there is an elsewhere. The only
 * edge of a fabric keeps its routes unless its programs are gone, since whatever it still forwards
 * is more than nothing. And what no edge could take is not missed: a version waits until every edge
 * that is heard holds it before clients are sent to it, so one that all edges choke on makes none
 * of them withdraw.
 *
 * Pure; any thread.
 */
#ifndef FAIRLEAD_FABRIC_ANNOUNCING_H
#define FAIRLEAD_FABRIC_ANNOUNCING_H

#include "base/netaddr.h"
#include "fabric/acting.h"
#include "state/image.h"

#include <stdbool.h>
#include <stddef.h>

struct announcing_facts {
	const struct image *image;
	const struct acting *acting; /* of this process */
	const char *node;
	bool asked; /* a voter what is new, or none could be */
	const char *detached; /* an interface that does not carry the program; NULL: none */
	const char *lacks; /* why the maps lack a version that clients are sent to; NULL: none */
	bool removed; /* from the fabric, which its replica may not know */
	bool leaving; /* this process ends in order */
};

enum announcing {
	ANNOUNCING_KEEP, /* leave the routes that there are, and add none */
	ANNOUNCING_ANNOUNCE,
	ANNOUNCING_WITHDRAW,
};

/* `ret_why` is the reason why not, in words that go on from "because", and "" with
 * ANNOUNCING_ANNOUNCE; borrowed from the facts. */
enum announcing announcing_judge(const struct announcing_facts *facts, const char **ret_why);

/*
 * What there is to announce at a site: its slice of each pool, exactly, also of those that left the
 * file while versions still have addresses there. Their number.
 */
size_t announcing_prefixes(const struct image *image, const char *site,
			   struct ip_prefix ret_prefixes[MODEL_MAX_POOLS]);

#endif
