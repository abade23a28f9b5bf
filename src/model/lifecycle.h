/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a version (design section 2), as one pure function.
 *
 * `service_state` is what the ledger knows of one service: its versions with their states, the
 * slots they hold, what each slot's address means now (its binding), and the rollout. It changes
 * only through lifecycle_apply() (what the fabric does by itself) and the operator's commands
 * below; both assert the invariants before and after, and are committed as ledger entries.
 *
 * lifecycle_next() looks at the state and at observations, and says which transitions are due. It
 * has no clock, no I/O and no memory: any voter that sees the same input says the same.
 *
 * The tables VERSION_STATES and VERSION_TRANSITIONS are the specification: the code checks every
 * move against them, and docs/design/lifecycle.md is rendered from them.
 */
#ifndef FAIRLEAD_MODEL_LIFECYCLE_H
#define FAIRLEAD_MODEL_LIFECYCLE_H

#include "base/arena.h"
#include "base/error.h"
#include "model/fabric.h"
#include "model/version.h"

/* X(id, name, meaning) */
#define VERSION_STATES(X)                                                                          \
	X(STAGED, "staged", "committed; the edges build its rings")                                \
	X(READY, "ready", "every edge holds it; DNS gives it no clients yet")                      \
	X(SERVING, "serving", "DNS answers it to a share of the clients")                          \
	X(DRAINING, "draining", "DNS no longer answers it; edges forward it as before")            \
	X(CLOSING, "closing", "edges refuse new flows while every backend counts again")           \
	X(RETIRED, "retired", "no connection uses it; its addresses mean a newer version")

enum version_state {
#define X(id, name, meaning) VERSION_##id,
	VERSION_STATES(X)
#undef X
};

/* X(from, to, event, guard): `event` names the transition, `guard` is the sentence of the spec. */
#define VERSION_TRANSITIONS(X)                                                                     \
	X(STAGED, READY, CONFIRM,                                                                  \
	  "every lease-holding edge that must hold it confirms its digest")                        \
	X(READY, SERVING, START, "it is the newest version: the rollout gives it its first share") \
	X(STAGED, DRAINING, SUPERSEDE, "a newer version or a removal came before it served")       \
	X(READY, DRAINING, SUPERSEDE, "a newer version or a removal came before it served")        \
	X(SERVING, DRAINING, DRAIN,                                                                \
	  "a newer version has its whole share, took its place in the "                            \
	  "rollout, or was rolled back to; or the service was removed")                            \
	X(DRAINING, SERVING, ROLLBACK, "the operator rolls back to it")                            \
	X(DRAINING, CLOSING, CLOSE,                                                                \
	  "no connection is counted, no new flow came for `quiet`, and "                           \
	  "DNS has not answered it for `stale`; the two wishes yield "                             \
	  "when no slot is free")                                                                  \
	X(CLOSING, DRAINING, REOPEN, "a backend counted a connection, or a rollback wants it")     \
	X(CLOSING, RETIRED, RETIRE,                                                                \
	  "after every edge refused new flows for 3 s, every backend "                             \
	  "counted zero in a report that names this closing")

enum version_event {
	VERSION_EVENT_CONFIRM,
	VERSION_EVENT_START,
	VERSION_EVENT_SUPERSEDE,
	VERSION_EVENT_DRAIN,
	VERSION_EVENT_ROLLBACK,
	VERSION_EVENT_CLOSE,
	VERSION_EVENT_REOPEN,
	VERSION_EVENT_RETIRE,
};

/* Time that edges must have refused new flows before the closing count may begin, so that a
 * handshake under way becomes a socket that the count sees. */
#define CLOSING_SETTLE_MS 3000u

struct version_status {
	uint32_t number;
	enum version_state state;
	struct digest digest;
	uint64_t sequence; /* ledger entry that committed it */
	uint64_t changed_sequence; /* ledger entry of its last change of state */
	uint64_t changed_wall_ms;
	bool cut; /* the operator ordered its flows to be ended */
};

/*
 * Which version the address of a slot means. A version has one own slot per family (`is_late`
 * false); DNS answers those. When a version is retired its bindings move to the current version
 * and become late: clients that still hold the address are served, and counted.
 * `number` rises with every change of meaning. `refusing`: edges drop new flows. A binding that is
 * `refusing` is part of the closing whose number is `sequence`.
 */
struct binding {
	uint8_t pool; /* index into fabric->pools' numbering (see placement.h) */
	uint32_t slot;
	uint32_t version; /* that the address means */
	uint64_t number; /* of this binding */
	uint64_t sequence; /* ledger entry of its last change; names the closing while refusing */
	bool is_late;
	bool refusing;
	bool reclaiming; /* refusing because the slot is needed, not because its version closes */
};

struct rollout_state {
	uint32_t base; /* version that has the clients the target has not yet; 0: none */
	uint32_t target; /* version being rolled out; equal to base when nothing is under way */
	uint32_t share; /* of the clients that the target has: 0…SHARE_WHOLE */
	uint32_t step; /* index into the service's shares */
	uint64_t step_wall_ms; /* when this step began */
	uint8_t salt[16]; /* one per rollout: which clients come first */
	bool paused;
};

struct service_state {
	const char *name;
	uint32_t index; /* fixed number of the service: its block of slots */
	bool removed; /* gone from the file; exists until its last version is retired */
	uint32_t next_version;
	struct rollout_state rollout;
	struct version_status *versions; /* rising numbers; retired ones are kept for history */
	size_t version_count;
	struct binding *bindings;
	size_t binding_count;
};

struct binding_observation {
	bool connections_known; /* every backend that may hold one has a fresh report */
	uint64_t connections; /* sum over the backends */
	uint64_t new_flow_ago_ms; /* since an edge last saw a new flow; UINT64_MAX: never */
	uint64_t packet_ago_ms; /* since an edge last forwarded any packet */
	uint64_t
	    applied_by_all_ms; /* how long every node not removed has applied `sequence`; 0: not */
	bool closing_counted; /* every backend's report names the closing `sequence` */
	uint64_t closing_connections;
};

struct version_observation {
	bool held; /* by every lease-holding edge that must hold it */
	uint64_t answered_ago_ms; /* since a name server last answered it; UINT64_MAX: never */
};

struct observations {
	uint64_t wall_ms;
	uint64_t quiet_ms;
	uint64_t stale_ms;
	bool slots_exhausted; /* no free slot for a next version: wishes yield, late slots are
				 reclaimed */
	const struct rollout_policy *policy;
	bool has_udp; /* idleness is its only barrier */
	const struct version_observation *versions; /* parallel to state->versions */
	const struct binding_observation *bindings; /* parallel to state->bindings */
};

/* X(id, name): what lifecycle_next can ask for. */
#define TRANSITIONS(X)                                                                             \
	X(VERSION, "version") /* a version's `event` */                                            \
	X(SHARE, "share") /* the rollout's next step; `share` */                                   \
	X(LIFT, "lift") /* a re-bound address takes new flows again */                             \
	X(RECLAIM, "reclaim") /* a late address starts refusing: its slot is needed */             \
	X(RELEASE, "release") /* a reclaim found connections: it takes new flows again */          \
	X(FREE, "free") /* no connection uses the address: the slot is free */

enum transition_kind {
#define X(id, name) TRANSITION_##id,
	TRANSITIONS(X)
#undef X
};

struct transition {
	enum transition_kind kind;
	enum version_event event; /* VERSION only */
	uint32_t version; /* VERSION, SHARE */
	size_t binding; /* LIFT, RECLAIM, RELEASE, FREE: index into state->bindings */
	uint32_t share; /* SHARE */
	uint32_t step; /* SHARE */
	const char *why; /* a sentence in `arena` */
};

#define LIFECYCLE_MAX_TRANSITIONS 64

/* Fill `ret_transitions` (room for LIFECYCLE_MAX_TRANSITIONS) in the order in which they are to be
 * applied; returns how many (0: nothing is due) or -ENOMEM. The rest come in the next call. */
must_check int lifecycle_next(const struct service_state *state,
			      const struct observations *observations, struct arena *arena,
			      struct transition *ret_transitions);

/*
 * Carry one transition out. `sequence` is the ledger entry that records it. Returns -FL_ESTATE,
 * and changes nothing, when the table does not allow it from the present state.
 * Invariant 3 is asserted here: a binding changes its meaning only out of a closing.
 */
must_check int lifecycle_apply(struct service_state *state, const struct transition *transition,
			       uint64_t sequence, uint64_t wall_ms, struct arena *arena);

/* --- the operator's commands; each is one ledger entry --- */

/*
 * A new version becomes the target; its own bindings are given (one per family, from placement.h),
 * as is the salt of its rollout. A version under rollout that it replaces drains.
 */
must_check int lifecycle_publish(struct service_state *state, const struct version *version,
				 const struct binding *bindings, size_t binding_count,
				 const uint8_t salt[16], uint64_t sequence, uint64_t wall_ms,
				 struct arena *arena, struct error *err);

/*
 * Back to the version before the newest: DNS names it again at once and with the whole share, the
 * newer one drains. -FL_ENOTFOUND when the one before is retired: then the caller publishes a new
 * version with its content (ret_version says which).
 */
must_check int lifecycle_rollback(struct service_state *state, uint64_t sequence, uint64_t wall_ms,
				  uint32_t *ret_version, struct error *err);

must_check int lifecycle_pause(struct service_state *state, struct error *err);
must_check int lifecycle_resume(struct service_state *state, uint64_t wall_ms, struct error *err);

/* Order the remaining flows of a draining version to be ended at landing. */
must_check int lifecycle_cut(struct service_state *state, uint32_t version, struct error *err);

/* The service left the file: all its versions drain; the last address is freed when unused. */
must_check int lifecycle_remove(struct service_state *state, uint64_t sequence, uint64_t wall_ms);

/* --- reading --- */

const struct version_status *service_version(const struct service_state *state, uint32_t number);
/* The version's share of new clients, 0…SHARE_WHOLE. */
uint32_t service_share(const struct service_state *state, uint32_t number);
const char *version_state_name(enum version_state state);
int version_state_parse(const char *name, enum version_state *ret_state);
const char *version_event_name(enum version_event event);

/* Abort unless every invariant that one service's state can show holds. */
void service_state_check(const struct service_state *state);

#endif
