/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a version waits for before its next change of state. lifecycle_next() finds a change due
 * when nothing of this is in its way, so what is told to people cannot differ from what is done.
 */
#ifndef FAIRLEAD_MODEL_LIFECYCLE_WAIT_H
#define FAIRLEAD_MODEL_LIFECYCLE_WAIT_H

#include "model/lifecycle.h"

/*
 * X(id, name, sentence): the sentence goes on after "it waits until". Those from VERSION_WAIT_TIMED
 * on end by themselves, after a time that is known; the others end when something happens, and of
 * several the first one is told.
 */
#define VERSION_WAITS(X)                                                                           \
	X(PAUSED, "paused", "`fairlead rollout resume` lets the rollout go on")                    \
	X(EDGES, "edges", "every edge that is heard holds it")                                     \
	X(BACKENDS, "backends", "its backends are ready for it")                                   \
	X(CONNECTIONS, "connections", "its connections have ended")                                \
	X(COUNTS, "counts", "the connections are known that each backend has")                     \
	X(HEARD, "heard", "every node is heard")                                                   \
	X(PACKETS, "packets", "every edge says when its last packet came")                         \
	X(NODES, "nodes", "every node has applied its addresses")                                  \
	X(REFUSED, "refused", "its addresses take new flows again")                                \
	X(REPORT, "report", "every backend has counted since DNS named it last")                   \
	X(SUCCESSOR, "successor", "a version serves that its addresses can pass to")               \
	X(NEWER, "newer", "the newer version, which waits for its backends, has clients")          \
	X(NAMES, "names", "every name server has ceased to name it")                               \
	X(REFUSALS, "refusals", "every node refuses new flows to it")                              \
	X(CLOSING_COUNT, "closing-count", "every backend has counted again")                       \
	X(STEP, "step", "the rollout's pause between two shares is over")                          \
	X(RETRY, "retry", "a minute has passed since a closing was given up")                      \
	X(UDP, "udp", "no packet has come for settings.quiet, for UDP the only sign")              \
	X(QUIET, "quiet", "no new flow has come for settings.quiet")                               \
	X(STALE, "stale", "resolvers have forgotten it, after settings.stale")                     \
	X(SETTLE, "settle", "handshakes under way have become connections")

enum version_wait {
#define X(id, name, sentence) VERSION_WAIT_##id,
	VERSION_WAITS(X)
#undef X
	    VERSION_WAIT_COUNT
};

#define VERSION_WAIT_TIMED VERSION_WAIT_STEP

_Static_assert(VERSION_WAIT_COUNT <= 32, "a set of them fits a word");

struct version_waits {
	uint32_t reasons; /* a bit per enum version_wait; 0: nothing is in the way */
	uint64_t left_ms[VERSION_WAIT_COUNT]; /* of those that are timed, unless they begin anew */
	/* Until a draining version's flows are cut, or a closing one takes new flows again; 0: now,
	 * UINT64_MAX: never. */
	uint64_t limit_ms;
};

const char *version_wait_name(enum version_wait wait);
const char *version_wait_sentence(enum version_wait wait);

/* What the version state->versions[index] waits for; nothing where no change of its state is to
 * come. Of the observations' bindings it reads those of this version. */
struct version_waits lifecycle_waits(const struct service_state *state,
				     const struct service_observation *observations, size_t index);

#endif
