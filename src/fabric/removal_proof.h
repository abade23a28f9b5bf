/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removal proof: what a node is shown when it comes back and is a member no more, the ledger's
 * entry of its removal with its signature. Whoever sits at the other end of a session may show
 * anything, so nothing is done for it but what a voter signed about this very node: by the key that
 * this node's own replica knows, and naming this node's channel key, since a name may have had
 * another one before.
 *
 * Pure; any thread.
 */
#ifndef FAIRLEAD_FABRIC_REMOVAL_PROOF_H
#define FAIRLEAD_FABRIC_REMOVAL_PROOF_H

#include "state/image.h"

/*
 * -FL_EINVALID, with what is wrong with it as half a sentence, unless the bytes prove that `node`
 * with this channel key was removed. -ENOMEM.
 */
must_check int removal_proof_check(const struct image *image, const char *node,
				   const char *channel_key, const void *bytes, size_t length,
				   uint64_t *ret_sequence, struct error *err);

#endif
