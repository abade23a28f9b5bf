/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transitions: one at a time, checked against the table, each with the proof that its invariant
 * asks for. Here alone a version's state changes, and an address gets another meaning.
 */
#include "model/lifecycle_internal.h"

#include <string.h>

/* --- moves --- */

/* The only place where a version's state changes. */
static int move(struct version_status *version, enum version_event event,
		struct lifecycle_stamp stamp)
{
	enum version_state to;
	if (!version_transition_allowed(version->state, event, &to))
		return -FL_ESTATE;
	version->state = to;
	version->changed_sequence = stamp.sequence;
	version->changed_wall_ms = stamp.wall_ms;
	return 0;
}

void lifecycle_must_move(struct version_status *version, enum version_event event,
			 struct lifecycle_stamp stamp)
{
	int result = move(version, event, stamp);
	ASSERT(result == 0);
}

static void set_refusing(struct binding *binding, bool refusing, struct lifecycle_stamp stamp)
{
	binding->refusing = refusing;
	binding->reclaiming = false;
	binding->sequence = stamp.sequence;
	binding->changed_wall_ms = stamp.wall_ms;
}

static void set_version_refusing(struct service_state *state, uint32_t number, bool refusing,
				 struct lifecycle_stamp stamp)
{
	for (size_t i = 0; i < state->binding_count; i++) {
		if (state->bindings[i].version == number)
			set_refusing(&state->bindings[i], refusing, stamp);
	}
}

/* Invariant 3: after every node refused new flows for long enough, every backend counted for this
 * very closing, and counted nothing. */
static void assert_unused(const struct binding *binding, const struct proof *proof)
{
	ASSERT_INVARIANT(3, binding->refusing && proof->closing == binding->sequence);
	ASSERT_INVARIANT(3, proof->applied_ms >= CLOSING_SETTLE_MS);
	ASSERT_INVARIANT(3, proof->counted && proof->connections == 0);
}

/* The only place where an address gets another meaning. It goes on refusing until LIFT: an edge
 * that has re-bound already and one that has not must not both take new flows. */
static void rebind(struct binding *binding, uint32_t version, const struct proof *proof,
		   struct lifecycle_stamp stamp)
{
	assert_unused(binding, proof);
	set_refusing(binding, true, stamp);
	binding->version = version;
	binding->number++;
	binding->is_late = true;
	binding->released = false;
}

void lifecycle_retreat(struct version_status *version, struct lifecycle_stamp stamp)
{
	bool serves = version->state == VERSION_SERVING;
	lifecycle_must_move(version, serves ? VERSION_EVENT_DRAIN : VERSION_EVENT_SUPERSEDE, stamp);
}

/* Give the target `share` of the clients; with the whole, it is the base. */
static void set_share(struct service_state *state, uint32_t share, uint32_t step,
		      struct lifecycle_stamp stamp)
{
	struct rollout_state *rollout = &state->rollout;
	rollout->step = step;
	rollout->step_wall_ms = stamp.wall_ms;
	/* With no base there is nobody whom the other clients could go to. */
	rollout->share = rollout->base ? share : SHARE_WHOLE;
	if (rollout->share == SHARE_WHOLE) {
		struct version_status *base = lifecycle_find(state, rollout->base);
		rollout->base = rollout->target;
		if (base)
			lifecycle_retreat(base, stamp);
	}
}

int lifecycle_reopen(struct service_state *state, struct version_status *version,
		     struct lifecycle_stamp stamp)
{
	int result = move(version, VERSION_EVENT_REOPEN, stamp);
	if (result < 0)
		return result;
	version->reopened = true;
	set_version_refusing(state, version->number, false, stamp);
	return 0;
}

/* --- the transitions --- */

static bool all_open(const struct service_state *state, uint32_t number)
{
	for (size_t i = 0; i < state->binding_count; i++) {
		if (state->bindings[i].version == number && state->bindings[i].refusing)
			return false;
	}
	return true;
}

static int apply_close(struct service_state *state, struct version_status *version,
		       struct lifecycle_stamp stamp)
{
	/* One address, one closing: what is still being reclaimed or lifted comes to its end first.
	 */
	if (!all_open(state, version->number))
		return -FL_ESTATE;
	int result = move(version, VERSION_EVENT_CLOSE, stamp);
	if (result < 0)
		return result;
	set_version_refusing(state, version->number, true, stamp);
	return 0;
}

static int apply_retire(struct service_state *state, struct version_status *version,
			const struct proof *proof, struct lifecycle_stamp stamp)
{
	bool has_address = false;
	for (size_t i = 0; i < state->binding_count; i++)
		has_address |= state->bindings[i].version == version->number;
	if (has_address && !state->rollout.base)
		return -FL_ESTATE;
	int result = move(version, VERSION_EVENT_RETIRE, stamp);
	if (result < 0)
		return result;
	for (size_t i = 0; i < state->binding_count; i++) {
		if (state->bindings[i].version == version->number)
			rebind(&state->bindings[i], state->rollout.base, proof, stamp);
	}
	return 0;
}

static int apply_start(struct service_state *state, struct version_status *version,
		       const struct transition *transition, struct lifecycle_stamp stamp)
{
	if (version->number != state->rollout.target || !transition->share ||
	    transition->share > SHARE_WHOLE)
		return -FL_ESTATE;
	int result = move(version, VERSION_EVENT_START, stamp);
	if (result < 0)
		return result;
	ASSERT_INVARIANT(1, transition->proof.held);
	version->served = true;
	set_share(state, transition->share, transition->step, stamp);
	return 0;
}

static int apply_event(struct service_state *state, const struct transition *transition,
		       struct lifecycle_stamp stamp)
{
	struct version_status *version = lifecycle_find(state, transition->version);
	if (!version)
		return -FL_ESTATE;
	switch (transition->event) {
	case VERSION_EVENT_CONFIRM:
		ASSERT_INVARIANT(1, transition->proof.held);
		return move(version, VERSION_EVENT_CONFIRM, stamp);
	case VERSION_EVENT_START:
		return apply_start(state, version, transition, stamp);
	case VERSION_EVENT_CLOSE:
		return apply_close(state, version, stamp);
	case VERSION_EVENT_REOPEN:
		return lifecycle_reopen(state, version, stamp);
	case VERSION_EVENT_RETIRE:
		return apply_retire(state, version, &transition->proof, stamp);
	case VERSION_EVENT_SUPERSEDE:
	case VERSION_EVENT_DRAIN:
	case VERSION_EVENT_ROLLBACK:
		/* They come only with a command or with another version's share. */
		break;
	}
	return -FL_ESTATE;
}

static int apply_share(struct service_state *state, const struct transition *transition,
		       struct lifecycle_stamp stamp)
{
	const struct rollout_state *rollout = &state->rollout;
	const struct version_status *target = service_version(state, rollout->target);
	/* A share never shrinks within a rollout: no client goes back and forth. */
	if (!target || transition->version != target->number || target->state != VERSION_SERVING ||
	    transition->share <= rollout->share || transition->share > SHARE_WHOLE)
		return -FL_ESTATE;
	ASSERT_INVARIANT(1, transition->proof.held);
	set_share(state, transition->share, transition->step, stamp);
	return 0;
}

static bool is_closing(const struct service_state *state, const struct binding *binding)
{
	return service_version(state, binding->version)->state == VERSION_CLOSING;
}

static void binding_remove(struct service_state *state, size_t index)
{
	size_t after = state->binding_count - index - 1;
	memmove(&state->bindings[index], &state->bindings[index + 1],
		after * sizeof(state->bindings[0]));
	state->binding_count--;
}

static int apply_free(struct service_state *state, const struct transition *transition)
{
	struct binding *binding = &state->bindings[transition->binding];
	struct version_status *version = lifecycle_find(state, binding->version);
	bool leaves = version->state == VERSION_CLOSING && state->removed;
	if (!binding->reclaiming && !leaves)
		return -FL_ESTATE;
	assert_unused(binding, &transition->proof);
	version->dismantled |= !binding->is_late;
	binding_remove(state, transition->binding);
	return 0;
}

static int apply_binding(struct service_state *state, const struct transition *transition,
			 struct lifecycle_stamp stamp)
{
	if (transition->binding >= state->binding_count)
		return -FL_ESTATE;
	struct binding *binding = &state->bindings[transition->binding];
	bool waits = binding->refusing && !binding->reclaiming && !is_closing(state, binding);
	if (transition->kind == TRANSITION_LIFT) {
		if (!waits)
			return -FL_ESTATE;
		/* Before all have re-bound, two edges could take one new flow to two versions. */
		ASSERT_INVARIANT(3, transition->proof.closing == binding->sequence);
		ASSERT_INVARIANT(3, transition->proof.applied_ms > 0);
		set_refusing(binding, false, stamp);
		return 0;
	}
	if (transition->kind == TRANSITION_RECLAIM) {
		if (!binding->is_late || binding->refusing)
			return -FL_ESTATE;
		set_refusing(binding, true, stamp);
		binding->reclaiming = true;
		return 0;
	}
	if (transition->kind == TRANSITION_RELEASE) {
		if (!binding->reclaiming)
			return -FL_ESTATE;
		set_refusing(binding, false, stamp);
		binding->released = true;
		return 0;
	}
	return apply_free(state, transition);
}

int lifecycle_mark_cut(struct service_state *state, uint32_t number)
{
	struct version_status *version = lifecycle_find(state, number);
	if (!version || (version->state != VERSION_DRAINING && version->state != VERSION_CLOSING))
		return -FL_ESTATE;
	version->cut = true;
	return 0;
}

int lifecycle_apply(struct service_state *state, const struct transition *transition,
		    uint64_t sequence, uint64_t wall_ms)
{
	struct lifecycle_stamp stamp = {.sequence = sequence, .wall_ms = wall_ms};
	int result = -FL_ESTATE;
	service_state_check(state);
	switch (transition->kind) {
	case TRANSITION_VERSION:
		result = apply_event(state, transition, stamp);
		break;
	case TRANSITION_SHARE:
		result = apply_share(state, transition, stamp);
		break;
	case TRANSITION_CUT:
		result = lifecycle_mark_cut(state, transition->version);
		break;
	case TRANSITION_LIFT:
	case TRANSITION_RECLAIM:
	case TRANSITION_RELEASE:
	case TRANSITION_FREE:
		result = apply_binding(state, transition, stamp);
		break;
	}
	service_state_check(state);
	return result;
}

void lifecycle_forget_retired(struct service_state *state, uint32_t keep)
{
	size_t retired = 0;
	for (size_t i = 0; i < state->version_count; i++)
		retired += state->versions[i].state == VERSION_RETIRED;

	size_t kept = 0;
	for (size_t i = 0; i < state->version_count; i++) {
		bool is_retired = state->versions[i].state == VERSION_RETIRED;
		if (is_retired && retired-- > keep)
			continue;
		state->versions[kept++] = state->versions[i];
	}
	state->version_count = kept;
	service_state_check(state);
}
