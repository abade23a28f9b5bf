/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is due: the guards of the tables in lifecycle.h, in their order. Everything here only reads.
 *
 * All answers of one call are found in the same state, so they must not disturb one another. They
 * do not: each version and each binding gets at most one answer, no binding of a version that
 * closes now starts a reclaim, and a binding is freed only after everything else, from the highest
 * index down, so that the indices of the others stay true.
 */
#include "model/lifecycle_guards.h"

#include <inttypes.h>

/* Add an answer; what no longer fits comes in the next call. `why` NULL is a failed allocation. */
static void add(struct next_step *step, struct transition transition, const char *why)
{
	if (!why)
		step->status = -ENOMEM;
	if (step->status || step->count == LIFECYCLE_MAX_TRANSITIONS)
		return;
	transition.why = why;
	step->transitions[step->count++] = transition;
}

static void add_event(struct next_step *step, uint32_t version, enum version_event event,
		      struct proof proof, const char *why)
{
	struct transition transition = {
	    .kind = TRANSITION_VERSION, .event = event, .version = version, .proof = proof};
	add(step, transition, why);
}

/* --- proofs --- */

static struct proof binding_proof(const struct binding *binding,
				  const struct binding_observation *seen)
{
	return (struct proof){.closing = binding->sequence,
			      .applied_ms = seen->applied_by_all_ms,
			      .counted = seen->closing_counted,
			      .connections = seen->closing_connections};
}

/* The weakest of all the version's addresses. With no address left there is nothing to prove. */
static struct proof version_proof(const struct next_step *step,
				  const struct version_status *version)
{
	struct proof all = {
	    .closing = version->changed_sequence, .applied_ms = UINT64_MAX, .counted = true};
	for (size_t i = 0; i < step->state->binding_count; i++) {
		const struct binding *binding = &step->state->bindings[i];
		if (binding->version != version->number)
			continue;
		struct proof one = binding_proof(binding, &step->seen->bindings[i]);
		if (one.applied_ms < all.applied_ms)
			all.applied_ms = one.applied_ms;
		all.counted &= one.counted;
		all.connections += one.connections;
	}
	return all;
}

/* --- the rollout --- */

static void next_ready(struct next_step *step, const struct version_status *version,
		       const struct version_observation *seen)
{
	struct transition transition = {.kind = TRANSITION_VERSION,
					.event = VERSION_EVENT_START,
					.version = version->number,
					.proof = {.held = seen->held}};
	transition.share =
	    lifecycle_next_share(&step->state->rollout, step->seen->policy, &transition.step);
	if (!step->state->rollout.base)
		transition.share = SHARE_WHOLE;
	add(step, transition,
	    arena_printf(step->arena, "version %" PRIu32 " gets %.4g%% of the clients",
			 version->number, 100.0 * transition.share / SHARE_WHOLE));
}

static void next_serving(struct next_step *step, const struct version_status *version,
			 const struct version_observation *seen)
{
	const struct rollout_state *rollout = &step->state->rollout;
	if (version->number != rollout->target || rollout->share == SHARE_WHOLE)
		return;
	struct transition transition = {
	    .kind = TRANSITION_SHARE, .version = version->number, .proof = {.held = seen->held}};
	transition.share =
	    lifecycle_next_share(&step->state->rollout, step->seen->policy, &transition.step);
	add(step, transition,
	    arena_printf(step->arena, "version %" PRIu32 " gets %.4g%% of the clients after %.4g%%",
			 version->number, 100.0 * transition.share / SHARE_WHOLE,
			 100.0 * rollout->share / SHARE_WHOLE));
}

/* --- draining and closing --- */

static void next_draining(struct next_step *step, const struct version_status *version,
			  const struct version_waits *waits)
{
	if (!waits->reasons) {
		add_event(step, version->number, VERSION_EVENT_CLOSE, (struct proof){0},
			  arena_printf(step->arena, "no connection is counted on version %" PRIu32,
				       version->number));
	} else if (!waits->limit_ms) {
		struct transition cut = {.kind = TRANSITION_CUT, .version = version->number};
		add(step, cut,
		    arena_printf(step->arena,
				 "version %" PRIu32 " drained for longer than its drain_limit",
				 version->number));
	}
}

static void next_proven(struct next_step *step, const struct version_status *version)
{
	if (step->state->rollout.base || !guard_has_address(step->state, version->number)) {
		add_event(step, version->number, VERSION_EVENT_RETIRE, version_proof(step, version),
			  arena_printf(step->arena,
				       "every backend counted no connection for closing %" PRIu64,
				       version->changed_sequence));
		return;
	}
	/* A removed service's addresses are freed first, in next_frees(). One that came back while
	 * it closed, and serves nothing yet, has no version that the addresses could mean. */
	if (!step->state->removed && guard_is_overdue(step, version->changed_wall_ms))
		add_event(step, version->number, VERSION_EVENT_REOPEN, (struct proof){0},
			  arena_printf(step->arena, "no version serves that could take over"));
}

static void next_closing(struct next_step *step, const struct version_status *version)
{
	switch (guard_version(step, version)) {
	case BARRIER_WAITS:
		break;
	case BARRIER_PROVEN:
		next_proven(step, version);
		break;
	case BARRIER_IN_USE:
		add_event(step, version->number, VERSION_EVENT_REOPEN, (struct proof){0},
			  arena_printf(step->arena, "version %" PRIu32 " is still in use",
				       version->number));
		break;
	case BARRIER_OVERDUE:
		add_event(step, version->number, VERSION_EVENT_REOPEN, (struct proof){0},
			  arena_printf(step->arena,
				       "a node or a backend is silent about closing %" PRIu64,
				       version->changed_sequence));
		break;
	}
}

static void next_version(struct next_step *step, size_t index)
{
	const struct version_status *version = &step->state->versions[index];
	const struct version_observation *seen = &step->seen->versions[index];
	const struct version_waits waits = guard_move(step, index);
	switch (version->state) {
	case VERSION_STAGED:
		if (!waits.reasons)
			add_event(step, version->number, VERSION_EVENT_CONFIRM,
				  (struct proof){.held = seen->held},
				  arena_printf(step->arena, "every edge holds version %" PRIu32,
					       version->number));
		break;
	case VERSION_READY:
		if (!waits.reasons)
			next_ready(step, version, seen);
		break;
	case VERSION_SERVING:
		if (!waits.reasons)
			next_serving(step, version, seen);
		break;
	case VERSION_DRAINING:
		next_draining(step, version, &waits);
		break;
	case VERSION_CLOSING:
		next_closing(step, version);
		break;
	case VERSION_RETIRED:
		break;
	}
}

/* --- late addresses --- */

static void add_binding(struct next_step *step, enum transition_kind kind, size_t index,
			const char *why)
{
	const struct binding *binding = &step->state->bindings[index];
	struct transition transition = {.kind = kind,
					.version = binding->version,
					.binding = index,
					.proof =
					    binding_proof(binding, &step->seen->bindings[index])};
	add(step, transition, why);
}

static const struct version_status *
binding_version(const struct next_step *step, const struct binding *binding, size_t *ret_index)
{
	const struct version_status *version = service_version(step->state, binding->version);
	*ret_index = (size_t)(version - step->state->versions);
	return version;
}

static bool is_reclaimable(const struct next_step *step, size_t index)
{
	const struct binding *binding = &step->state->bindings[index];
	const struct binding_observation *seen = &step->seen->bindings[index];
	size_t version;
	if (!binding->is_late || binding->refusing || !seen->applied_by_all_ms ||
	    !step->seen->everyone_is_heard)
		return false;
	if (binding->released && guard_since(step, binding->changed_wall_ms) < CLOSING_RETRY_MS)
		return false;
	return guard_is_unused(step, seen) &&
	       (binding_version(step, binding, &version)->state != VERSION_DRAINING ||
		guard_move(step, version).reasons);
}

/* One at a time where a slot is wanted, the oldest first. */
static void next_reclaim(struct next_step *step, uint8_t pool)
{
	size_t oldest = SIZE_MAX;
	for (size_t i = 0; i < step->state->binding_count; i++) {
		const struct binding *binding = &step->state->bindings[i];
		if (binding->pool != pool)
			continue;
		if (binding->reclaiming)
			return;
		if (is_reclaimable(step, i) &&
		    (oldest == SIZE_MAX ||
		     binding->sequence < step->state->bindings[oldest].sequence))
			oldest = i;
	}
	if (oldest != SIZE_MAX)
		add_binding(step, TRANSITION_RECLAIM, oldest,
			    arena_printf(step->arena, "a slot of pool %u is wanted", pool));
}

/* Nobody waits for the slots of a pool that is leaving, so late clients are left in peace as long
 * as they come. */
static void next_leaving(struct next_step *step, uint8_t pool)
{
	for (size_t i = 0; i < step->state->binding_count; i++) {
		const struct binding_observation *seen = &step->seen->bindings[i];
		if (step->state->bindings[i].pool == pool && is_reclaimable(step, i) &&
		    seen->packets_known && seen->new_flow_ago_ms >= step->seen->quiet_ms)
			add_binding(step, TRANSITION_RECLAIM, i,
				    arena_printf(step->arena, "pool %u left the file", pool));
	}
}

static bool is_to_be_freed(const struct next_step *step, const struct binding *binding)
{
	return guard_slot_is_wanted(step, binding->pool) ||
	       guard_pool_is_leaving(step, binding->pool);
}

/* A re-bound address, or a reclaim that cannot go on. Frees come later. */
static void next_refusing(struct next_step *step, size_t index)
{
	const struct binding *binding = &step->state->bindings[index];
	const struct binding_observation *seen = &step->seen->bindings[index];
	size_t version;
	if (!binding->refusing ||
	    binding_version(step, binding, &version)->state == VERSION_CLOSING)
		return;
	if (!binding->reclaiming) {
		if (seen->applied_by_all_ms)
			add_binding(step, TRANSITION_LIFT, index,
				    arena_printf(step->arena,
						 "every node re-bound the address to version "
						 "%" PRIu32,
						 binding->version));
		return;
	}
	const char *why = NULL;
	enum barrier barrier = guard_binding(step, index);
	if (!is_to_be_freed(step, binding))
		why = "the slot is not wanted any more";
	else if (barrier == BARRIER_IN_USE)
		why = "the address is still in use";
	else if (barrier == BARRIER_OVERDUE)
		why = "a node or a backend is silent about the reclaim";
	if (why)
		add_binding(step, TRANSITION_RELEASE, index, why);
}

static bool free_is_due(const struct next_step *step, size_t index)
{
	const struct binding *binding = &step->state->bindings[index];
	size_t version;
	if (binding->reclaiming)
		return is_to_be_freed(step, binding) &&
		       guard_binding(step, index) == BARRIER_PROVEN;
	const struct version_status *status = binding_version(step, binding, &version);
	return step->state->removed && status->state == VERSION_CLOSING &&
	       guard_version(step, status) == BARRIER_PROVEN;
}

/* From the last to the first: removing one leaves the indices of those before it true. */
static void next_frees(struct next_step *step)
{
	for (size_t i = step->state->binding_count; i-- > 0;) {
		if (free_is_due(step, i))
			add_binding(step, TRANSITION_FREE, i,
				    arena_printf(step->arena,
						 "every backend counted no connection for "
						 "closing %" PRIu64,
						 step->state->bindings[i].sequence));
	}
}

int lifecycle_next(const struct service_state *state,
		   const struct service_observation *observations, struct arena *arena,
		   struct transition *ret_transitions)
{
	struct next_step step = {
	    .state = state, .seen = observations, .arena = arena, .transitions = ret_transitions};
	service_state_check(state);
	for (size_t i = 0; i < state->version_count; i++)
		next_version(&step, i);
	for (size_t i = 0; i < state->binding_count; i++)
		next_refusing(&step, i);
	for (uint8_t pool = 0; pool < MODEL_MAX_POOLS; pool++) {
		if (guard_pool_is_leaving(&step, pool))
			next_leaving(&step, pool);
		else if (guard_slot_is_wanted(&step, pool))
			next_reclaim(&step, pool);
	}
	next_frees(&step);
	return step.status ? step.status : step.count;
}

/* Each branch is the least that the guard of any transition out of this state wants. */
static bool version_rests(const struct service_state *state, const struct service_observation *seen,
			  size_t index)
{
	const struct version_status *version = &state->versions[index];
	switch (version->state) {
	case VERSION_RETIRED:
		return true;
	case VERSION_SERVING:
		return version->number != state->rollout.target ||
		       state->rollout.share == SHARE_WHOLE;
	case VERSION_DRAINING:
		return !version->cut && !seen->drain_limit_ms &&
		       seen->versions[index].answered_ago_ms < seen->stale_ms;
	case VERSION_STAGED:
	case VERSION_READY:
	case VERSION_CLOSING:
		break;
	}
	return false;
}

bool lifecycle_is_at_rest(const struct service_state *state,
			  const struct service_observation *observation)
{
	if (observation->exhausted_pools)
		return false;
	for (size_t i = 0; i < state->version_count; i++) {
		if (!version_rests(state, observation, i))
			return false;
	}
	for (size_t i = 0; i < state->binding_count; i++) {
		const struct binding *binding = &state->bindings[i];
		bool leaves = binding->is_late && (observation->leaving_pools >> binding->pool & 1);
		if (binding->refusing || leaves)
			return false;
	}
	return true;
}
