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

/* X(id, name): why a version changes its state. */
#define VERSION_EVENTS(X)                                                                          \
	X(CONFIRM, "confirm")                                                                      \
	X(START, "start")                                                                          \
	X(SUPERSEDE, "supersede")                                                                  \
	X(DRAIN, "drain")                                                                          \
	X(ROLLBACK, "rollback")                                                                    \
	X(CLOSE, "close")                                                                          \
	X(REOPEN, "reopen")                                                                        \
	X(RETIRE, "retire")

enum version_event {
#define X(id, name) VERSION_EVENT_##id,
	VERSION_EVENTS(X)
#undef X
};

/* X(from, to, event, guard): `guard` is the sentence of the specification. */
#define VERSION_TRANSITIONS(X)                                                                     \
	X(STAGED, READY, CONFIRM, "every edge that is heard and must hold it confirms its digest") \
	X(READY, SERVING, START,                                                                   \
	  "it is the rollout's target, still held, waits for none of its backends unless the "     \
	  "operator forces it, and the rollout is not paused; it gets the first share, or the "    \
	  "whole when no version serves")                                                          \
	X(STAGED, DRAINING, SUPERSEDE,                                                             \
	  "a newer version, a rollback or the service's removal came before it served")            \
	X(READY, DRAINING, SUPERSEDE,                                                              \
	  "a newer version, a rollback or the service's removal came before it served")            \
	X(SERVING, DRAINING, DRAIN,                                                                \
	  "a newer version has the whole share or took its place in the rollout, another one "     \
	  "was rolled back to, or the service was removed")                                        \
	X(DRAINING, SERVING, ROLLBACK,                                                             \
	  "the operator rolls back to it; it served before and has all of its addresses")          \
	X(DRAINING, CLOSING, CLOSE,                                                                \
	  "every backend's fresh report, begun after DNS stopped naming it, counts no connection " \
	  "on any of its addresses; no new flow came for `quiet` and DNS has not answered it for " \
	  "`stale`, two wishes that yield "                                                        \
	  "when a slot of a pool that it has one of is wanted or its flows were cut; with UDP "    \
	  "ports no packet "                                                                       \
	  "came for `quiet`, which never yields; every node has applied its bindings and was "     \
	  "heard lately; a version "                                                               \
	  "serves to which they can pass, or the service was removed; if it served, no newer "     \
	  "version waits for its backends, a wish that yields as `quiet` does; a closing given "   \
	  "up "                                                                                    \
	  "before "                                                                                \
	  "is a minute past, unless its flows were cut")                                           \
	X(CLOSING, DRAINING, REOPEN,                                                               \
	  "a backend counts a connection, a packet came to a UDP port, a rollback wants it, or "   \
	  "the proof is not complete within 10 s and 5 report intervals: an unknown count is not " \
	  "zero, and clients are not refused for longer than that because a node is silent")       \
	X(CLOSING, RETIRED, RETIRE,                                                                \
	  "after every node not removed refused new flows for 3 s, every backend counted zero in " \
	  "a report that names this closing, and counts zero still")

/*
 * The closing barrier. Edges must have refused new flows for CLOSING_SETTLE_MS before the closing
 * count may begin, so that a handshake under way becomes a socket that the count sees. A closing
 * or reclaim without proof after CLOSING_LIMIT_MS and CLOSING_LIMIT_REPORTS report intervals is
 * given up, and not tried again for CLOSING_RETRY_MS: so clients are refused for a bounded time.
 * Only a re-bound address waits for every node without an end; `node remove` ends that.
 */
#define CLOSING_SETTLE_MS 3000u
#define CLOSING_LIMIT_MS 10000u
#define CLOSING_LIMIT_REPORTS 5u
#define CLOSING_RETRY_MS 60000u

struct version_status {
	uint32_t number;
	enum version_state state;
	struct digest digest;
	uint64_t sequence; /* ledger entry that committed it */
	uint64_t changed_sequence; /* ledger entry of its last change of state */
	uint64_t changed_wall_ms;
	bool served; /* DNS answered it once: a rollback may return to it */
	bool reopened; /* its last closing was given up */
	bool dismantled; /* an own address was freed: it cannot serve again */
	bool cut; /* its remaining flows are to be ended at landing */
	/* What a rollback from it returns to: the version that had the clients when it was
	 * published, or 0 for none. Of one that a rollback published, that of the version whose
	 * content it has. Releases before this one did not write it. */
	uint32_t before;
	bool before_known;
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
	bool released; /* its last reclaim was given up */
	uint64_t changed_wall_ms; /* when `sequence` was */
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
	bool packets_known; /* every edge says how long the address has been quiet there */
	uint64_t new_flow_ago_ms; /* at least so long no edge has seen a new flow */
	uint64_t packet_ago_ms; /* at least so long no edge has forwarded any packet */
	/* How long every node not removed has applied `sequence`; 0: not yet. The removal of a node
	 * counts as its applying at that moment: until then it led new flows by the old meaning. */
	uint64_t applied_by_all_ms;
	/* Every backend's report names the closing `sequence`. Backends are asked for such a count
	 * only when lifecycle_count_due() says so; one begun earlier proves nothing. */
	bool closing_counted;
	uint64_t closing_connections;
	uint64_t report_ago_ms; /* since the oldest report that `connections` stands on came in */
};

struct version_observation {
	bool held; /* by every edge that is heard and must hold it */
	bool waits; /* for one of its backends, before it gets its first share */
	/* At least so long no name server has answered it; 0: not known; UINT64_MAX: none is there.
	 */
	uint64_t answered_ago_ms;
};

struct service_observation {
	uint64_t wall_ms;
	uint64_t quiet_ms;
	uint64_t stale_ms;
	uint64_t report_interval_ms;
	uint64_t drain_limit_ms; /* 0: none */
	/* A bit per pool in which a slot of this service is wanted for a next version
	 * (placement_exhausted, placement_wanted): wishes yield there, and late slots are
	 * reclaimed. */
	uint8_t exhausted_pools;
	/* A bit per pool that left the file: its late slots are reclaimed, and wishes hold. */
	uint8_t leaving_pools;
	const struct rollout_policy *policy;
	bool has_udp; /* idleness is its only barrier */
	/* Every edge and names node that is not removed was heard lately: no closing begins while
	 * one is silent, since it could not be proven, and clients would be refused for nothing. */
	bool everyone_is_heard;
	const struct version_observation *versions; /* parallel to state->versions */
	const struct binding_observation *bindings; /* parallel to state->bindings */
};

/* X(id, name, guard): what lifecycle_next can ask for. */
#define TRANSITIONS(X)                                                                             \
	X(VERSION, "version", "a version changes its state, as the table above says")              \
	X(SHARE, "share",                                                                          \
	  "the target serves, is still held, and the rollout's pause has passed: it gets the "     \
	  "next share; with the whole it becomes the base and the old base drains")                \
	X(CUT, "cut", "the version drains for longer than its `drain_limit`")                      \
	X(LIFT, "lift",                                                                            \
	  "every node not removed has applied the re-bound address: it takes new flows again")     \
	X(RECLAIM, "reclaim",                                                                      \
	  "every node was heard lately, and it is late and carries no connection (with UDP "       \
	  "ports: no packet "                                                                      \
	  "for `quiet`); a slot of its pool is wanted, and it is the oldest such one there, or "   \
	  "its pool left the file and no new flow came for `quiet`: it "                           \
	  "starts to refuse new flows")                                                            \
	X(RELEASE, "release",                                                                      \
	  "a reclaim found a connection or a packet, or the slot is not wanted any more, or the "  \
	  "proof "                                                                                 \
	  "is not complete in the time that a closing has: the address takes new flows again")     \
	X(FREE, "free",                                                                            \
	  "the proof of RETIRE holds for a reclaimed address, or for an address of a closing "     \
	  "version whose service was removed: the slot is free")

enum transition_kind {
#define X(id, name, guard) TRANSITION_##id,
	TRANSITIONS(X)
#undef X
};

/*
 * What was observed that makes a transition safe. lifecycle_apply() asserts it at the one place
 * where each invariant could break, so that a slip in the guards stops the program, not a flow.
 */
struct proof {
	bool held; /* START, CONFIRM, SHARE: the edges hold the version (invariant 1) */
	/* RETIRE, FREE, LIFT: over all bindings concerned (invariant 3). */
	uint64_t closing; /* the closing's number */
	uint64_t applied_ms; /* for how long every node has applied it */
	bool counted; /* every backend counted for it */
	uint64_t connections; /* their sum */
};

struct transition {
	enum transition_kind kind;
	enum version_event event; /* VERSION only */
	uint32_t version; /* for a binding's: what the address means */
	/* LIFT, RECLAIM, RELEASE, FREE: index into state->bindings at the moment when all earlier
	 * transitions of the same answer have been applied. */
	size_t binding;
	uint32_t share; /* SHARE and the event START */
	uint32_t step; /* likewise */
	struct proof proof;
	const char *why; /* a sentence in `arena` */
};

#define LIFECYCLE_MAX_TRANSITIONS 64

/* Fill `ret_transitions` (room for LIFECYCLE_MAX_TRANSITIONS) in the order in which they are to be
 * applied; returns how many (0: nothing is due) or -ENOMEM. The rest come in the next call. */
must_check int lifecycle_next(const struct service_state *state,
			      const struct service_observation *observations, struct arena *arena,
			      struct transition *ret_transitions);

/*
 * Is nothing due of this service, whatever is observed of its addresses and of who holds its
 * versions? So it is with most services most of the time, and who asks saves the trouble of
 * observing them. Of the observations it reads the settings, the pools, and `answered_ago_ms` of
 * versions that drain.
 */
bool lifecycle_is_at_rest(const struct service_state *state,
			  const struct service_observation *observation);

/*
 * May backends count for the closing that `binding` is part of? Only after every node has refused
 * new flows for CLOSING_SETTLE_MS. The daemon then asks each backend for a report that names
 * binding->sequence; `closing_counted` is true when all have answered.
 */
bool lifecycle_count_due(const struct binding *binding,
			 const struct binding_observation *observation);

/*
 * Carry one transition out. `sequence` is the ledger entry that records it. Returns -FL_ESTATE,
 * and changes nothing, when the table does not allow it from the present state.
 * Invariant 3 is asserted here: a binding changes its meaning only out of a closing, with proof.
 * FREE removes the binding from the state; the caller tells placement_free() first.
 */
must_check int lifecycle_apply(struct service_state *state, const struct transition *transition,
			       uint64_t sequence, uint64_t wall_ms);

/* --- the operator's commands; each is one ledger entry --- */

/*
 * A new version, numbered state->next_version, becomes the target; its own bindings are given (one
 * per family, from placement.h), as is the salt of its rollout. A version under rollout that it
 * replaces drains; the base keeps the clients. `version` and `bindings` are copied, into `arena`
 * where they need memory. A removed service comes back by it.
 */
must_check int lifecycle_publish(struct service_state *state, const struct version *version,
				 const struct binding *bindings, size_t binding_count,
				 const uint8_t salt[16], uint64_t sequence, uint64_t wall_ms,
				 struct arena *arena, struct error *err);

/*
 * Back to version `to`, which served once, or, with 0, to what served before, as an undo does:
 * during a rollout the base, else the current version's `before`; repeated, it goes one further
 * back, and never to what was rolled back from. DNS names it again at once and with the whole
 * share; the newer one drains. -FL_ENOTFOUND when that version is retired: then the caller
 * publishes a new version with the content of *ret_version, and says so with
 * lifecycle_continue_from(). -FL_ESTATE when there is none.
 */
must_check int lifecycle_rollback(struct service_state *state, uint32_t to, uint64_t sequence,
				  uint64_t wall_ms, uint32_t *ret_version, struct error *err);

/* The newest version has the content of `source`: a rollback from it returns to what one from
 * `source` does. */
void lifecycle_continue_from(struct service_state *state, uint32_t source);

/* The rollout stops at its share until it is resumed; -FL_ESTATE when none is under way. */
must_check int lifecycle_pause(struct service_state *state, struct error *err);
/* The pause before the next share begins anew; nothing changes when it was not paused. */
must_check int lifecycle_resume(struct service_state *state, uint64_t wall_ms, struct error *err);

/*
 * The target gets its first share although it waits for backends; a pause ends. `held` as in struct
 * proof. -FL_ESTATE when no rollout is under way, when the target has clients already, or when it
 * is not held yet.
 */
must_check int lifecycle_force(struct service_state *state, const struct rollout_policy *policy,
			       bool held, uint64_t sequence, uint64_t wall_ms, struct error *err);

/* Order the remaining flows of a draining or closing version to be ended at landing. */
must_check int lifecycle_cut(struct service_state *state, uint32_t version, struct error *err);

/* The service left the file: all its versions drain; the last address is freed when unused. */
must_check int lifecycle_remove(struct service_state *state, uint64_t sequence, uint64_t wall_ms);

/*
 * After a recovery (placement.h): the bindings for which `lost` is true, parallel to
 * state->bindings, have another meaning by now, so they are given up without the proof of a
 * closing. When the rollout's base loses an own one, all versions drain, as if the service had been
 * removed; when the target does, the base keeps the clients. Then true is returned: a new version
 * is to be published. A version without any address is retired.
 */
bool lifecycle_lose(struct service_state *state, const bool *lost, uint64_t sequence,
		    uint64_t wall_ms);

/*
 * Forget retired versions but the `keep` newest of them, so that history does not grow without end.
 * What they were stays in the ledger.
 */
void lifecycle_forget_retired(struct service_state *state, uint32_t keep);

/* --- reading --- */

/* The policy's next share above the one that the target has; `ret_step` (NULL is fine) is its place
 * in the policy, which may have changed since the last. */
uint32_t lifecycle_next_share(const struct rollout_state *rollout,
			      const struct rollout_policy *policy, uint32_t *ret_step);

const struct version_status *service_version(const struct service_state *state, uint32_t number);
/* The version's share of new clients, 0…SHARE_WHOLE. */
uint32_t service_share(const struct service_state *state, uint32_t number);
const char *version_state_name(enum version_state state);
must_check int version_state_parse(const char *name, enum version_state *ret_state);
const char *version_event_name(enum version_event event);
const char *transition_name(enum transition_kind kind);

/* Does the table have this line? With true, *ret_to (NULL is fine) is where it leads. */
bool version_transition_allowed(enum version_state from, enum version_event event,
				enum version_state *ret_to);

/* A rule that a state breaks. */
struct service_fault {
	unsigned invariant; /* of the design, that it belongs to; 0: none */
	const char *rule; /* what should be; NULL: nothing is wrong */
};

/* The first invariant that does not hold, of those that one service's state can show. */
struct service_fault service_state_judge(const struct service_state *state);

/* Abort unless every invariant that one service's state can show holds. */
void service_state_check(const struct service_state *state);

/* A deep copy whose bindings and versions may be changed. NULL without memory. */
struct service_state *service_state_copy(const struct service_state *state, struct arena *arena);

#endif
