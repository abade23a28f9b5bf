/* SPDX-License-Identifier: Apache-2.0 */
/* An observation as the message that carries it, and back. Pure. */
#ifndef FAIRLEAD_FABRIC_OBSERVATION_MESSAGE_H
#define FAIRLEAD_FABRIC_OBSERVATION_MESSAGE_H

#include "base/arena.h"
#include "fabric/observation.h"
#include "wire/peer.h"

/* What the message points to is the observation's, or lives in `arena`. Wants of slots stay where
 * they arise: with the voter that took the order. -ENOMEM. */
must_check int observation_to_message(const struct observation *observation, struct arena *arena,
				      struct peer_message *ret_message);

/* `node` and `instance` are the session's, borrowed like what the message points to. -FL_EINVALID
 * when a list is not in order; -ENOMEM. The caller gives `alarms` back. */
must_check int observation_from_message(const struct peer_observation *message, const char *node,
					const char *instance, struct arena *arena,
					struct observation *ret_observation);

#endif
