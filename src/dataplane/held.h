/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an earlier process published, as far as the program that is attached still forwards by it.
 * A node whose own state is older than that leaves it alone, and has to know what it holds.
 *
 * Nothing but spans, words and descriptors of the pinned maps is read, and nothing is written. Maps
 * of another layout cannot be read; neither are maps believed that no attached program reads, which
 * a process leaves that ended while it attached.
 */
#ifndef FAIRLEAD_DATAPLANE_HELD_H
#define FAIRLEAD_DATAPLANE_HELD_H

#include "dataplane/attach.h"
#include "dataplane/maps.h"

/* An address of those maps. */
struct held_address {
	struct ip_address address;
	struct digest version;
	bool refuses_new;
};

struct held_addresses {
	struct held_address *items; /* sorted by address; owned */
	size_t count;
	bool unread; /* something is attached whose maps cannot be read */
};

/* What the maps hold that are in force; this process has not attached yet. 0 or -ENOMEM. */
must_check int held_read(struct held_addresses *held, const struct edge_pins *pins,
			 const struct attachments *attachments);
const struct held_address *held_find(const struct held_addresses *held,
				     const struct ip_address *address);
void held_forget(struct held_addresses *held);

#endif
