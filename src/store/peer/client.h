/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An engine of the store whose calls travel to a server (server.h) as messages of wire/peer.h.
 *
 * The line comes and goes. A call that was made while there is no line, or whose answer the line
 * lost, ends with -FL_EUNAVAILABLE: whether it took effect is unknown, and a txn with an id may be
 * tried again. A watch outlives its line: when the next one is there it goes on with the revision
 * after the last that it told of. It ends with -FL_ECOMPACTED where changes may have been missed:
 * the server no longer has them, it serves another history (store_id()), the history went back, or
 * the line broke before the server said from which revision a watch "from now" tells.
 *
 * The owner of the line calls the functions below, from the thread of the store. They only take
 * note; completions and events come out of store_dispatch(), as with every engine.
 */
#ifndef FAIRLEAD_STORE_PEER_CLIENT_H
#define FAIRLEAD_STORE_PEER_CLIENT_H

#include "store/peer/line.h"
#include "store/store.h"

/* A client without a line. -ENOMEM, or what the kernel says when it has no eventfd to give. */
must_check int store_open_peer(struct store **ret_store, struct error *err);

/* There is a line; there was none. */
void store_peer_up(struct store *store, const struct peer_line *line);

/* A whole frame came over it (peer_frame_bytes()); it is copied. */
void store_peer_take(struct store *store, const void *frame, size_t length);

/* The line is gone. */
void store_peer_down(struct store *store);

struct store_peer_state {
	bool ready; /* the server of this line has said whose store it is */
	size_t calls; /* without an answer yet */
	size_t unsettled; /* watches of which it is not known yet from which revision they tell */
	uint64_t skipped; /* messages that this build does not know */
	uint64_t violations; /* lines that were cut because the server made no sense */
};

void store_peer_state_read(const struct store *store, struct store_peer_state *ret_state);

#endif
