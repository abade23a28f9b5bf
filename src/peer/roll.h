/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Roll: the members that the channel's process knows, and what it thinks of who shows up by a
 * certificate of the fabric. The list may be behind: a certificate is the CA's word for a member
 * that is not on it yet. What is on it counts more than a certificate: a removed key stays out, and
 * so does a second key for a name. Pure.
 */
#ifndef FAIRLEAD_PEER_ROLL_H
#define FAIRLEAD_PEER_ROLL_H

#include "wire/channel.h"

struct peer_roll; /* opaque; NULL is an empty one */

/* A copy of the list. */
struct peer_roll *peer_roll_new(const struct channel_members *members);
void peer_roll_free(struct peer_roll *roll);

enum peer_roll_verdict {
	PEER_ROLL_KNOWN,
	PEER_ROLL_NOT_KNOWN, /* nothing is held against it */
	PEER_ROLL_REMOVED,
	PEER_ROLL_OTHER_KEY, /* the name belongs to another key */
};

/* `*ret_proof`: of the removal, borrowed from the roll; empty for the other verdicts. */
enum peer_roll_verdict peer_roll_look(const struct peer_roll *roll, const char *node,
				      const uint8_t key[CHANNEL_KEY_BYTES],
				      struct wire_bytes *ret_proof);

#endif
