/* SPDX-License-Identifier: Apache-2.0 */
#include "model/lifecycle_guards.h"

uint64_t guard_since(const struct next_step *step, uint64_t wall_ms)
{
	return step->seen->wall_ms > wall_ms ? step->seen->wall_ms - wall_ms : 0;
}

static uint64_t left_of(uint64_t whole_ms, uint64_t passed_ms)
{
	return whole_ms > passed_ms ? whole_ms - passed_ms : 0;
}

static void wait_for(struct version_waits *waits, enum version_wait reason, uint64_t left_ms)
{
	waits->reasons |= 1u << reason;
	if (left_ms > waits->left_ms[reason])
		waits->left_ms[reason] = left_ms;
}

/* --- what the observations say of addresses --- */

bool guard_slot_is_wanted(const struct next_step *step, uint8_t pool)
{
	return pool < MODEL_MAX_POOLS && (step->seen->exhausted_pools >> pool & 1);
}

bool guard_pool_is_leaving(const struct next_step *step, uint8_t pool)
{
	return pool < MODEL_MAX_POOLS && (step->seen->leaving_pools >> pool & 1);
}

/* For UDP idleness is the only barrier, so it never yields. What is not known is neither. */
static bool udp_is_busy(const struct next_step *step, const struct binding_observation *seen)
{
	return step->seen->has_udp && seen->packets_known &&
	       seen->packet_ago_ms < step->seen->quiet_ms;
}

/* What keeps the address in use, or from being known not to be. */
static void find_use(const struct next_step *step, const struct binding_observation *seen,
		     struct version_waits *waits)
{
	if (seen->connections)
		wait_for(waits, VERSION_WAIT_CONNECTIONS, 0);
	if (!seen->connections_known)
		wait_for(waits, VERSION_WAIT_COUNTS, 0);
	if (step->seen->has_udp && !seen->packets_known)
		wait_for(waits, VERSION_WAIT_PACKETS, 0);
	else if (udp_is_busy(step, seen))
		wait_for(waits, VERSION_WAIT_UDP,
			 left_of(step->seen->quiet_ms, seen->packet_ago_ms));
}

bool guard_is_unused(const struct next_step *step, const struct binding_observation *seen)
{
	struct version_waits waits = {0};
	find_use(step, seen, &waits);
	return !waits.reasons;
}

/* A reason to take new flows again at once. */
static bool is_in_use(const struct next_step *step, const struct binding_observation *seen)
{
	return (seen->connections_known && seen->connections > 0) ||
	       (seen->closing_counted && seen->closing_connections > 0) || udp_is_busy(step, seen);
}

bool lifecycle_count_due(const struct binding *binding,
			 const struct binding_observation *observation)
{
	return binding->refusing && observation->applied_by_all_ms >= CLOSING_SETTLE_MS;
}

/* The proof of invariant 3: nothing uses the address, and nothing can begin to. What it lacks goes
 * to `waits`. */
static bool is_proven(const struct next_step *step, const struct binding *binding,
		      const struct binding_observation *seen, struct version_waits *waits)
{
	struct version_waits lacks = {0};
	if (!binding->refusing || !seen->applied_by_all_ms)
		wait_for(&lacks, VERSION_WAIT_REFUSALS, 0);
	else if (!lifecycle_count_due(binding, seen))
		wait_for(&lacks, VERSION_WAIT_SETTLE,
			 left_of(CLOSING_SETTLE_MS, seen->applied_by_all_ms));
	else if (!seen->closing_counted)
		wait_for(&lacks, VERSION_WAIT_CLOSING_COUNT, 0);
	else if (seen->closing_connections)
		wait_for(&lacks, VERSION_WAIT_CONNECTIONS, 0);
	find_use(step, seen, &lacks);
	for (unsigned i = 0; i < VERSION_WAIT_COUNT; i++) {
		if (lacks.reasons >> i & 1)
			wait_for(waits, (enum version_wait)i, lacks.left_ms[i]);
	}
	return !lacks.reasons;
}

/* How long clients may still be refused without the proof. 0 also if that seems to begin later than
 * the limit from now: the clock was set back, and clients must not be refused until it has caught
 * up. */
static uint64_t refusal_left_ms(const struct next_step *step, uint64_t changed_wall_ms)
{
	uint64_t limit_ms =
	    CLOSING_LIMIT_MS + CLOSING_LIMIT_REPORTS * step->seen->report_interval_ms;
	uint64_t now_ms = step->seen->wall_ms;
	if (changed_wall_ms > now_ms && changed_wall_ms - now_ms >= limit_ms)
		return 0;
	return left_of(limit_ms, guard_since(step, changed_wall_ms));
}

bool guard_is_overdue(const struct next_step *step, uint64_t changed_wall_ms)
{
	return refusal_left_ms(step, changed_wall_ms) == 0;
}

static enum barrier find_barrier(const struct next_step *step, size_t index,
				 struct version_waits *waits)
{
	const struct binding *binding = &step->state->bindings[index];
	const struct binding_observation *seen = &step->seen->bindings[index];
	if (is_in_use(step, seen))
		return BARRIER_IN_USE;
	if (is_proven(step, binding, seen, waits))
		return BARRIER_PROVEN;
	return guard_is_overdue(step, binding->changed_wall_ms) ? BARRIER_OVERDUE : BARRIER_WAITS;
}

enum barrier guard_binding(const struct next_step *step, size_t index)
{
	struct version_waits waits = {0};
	return find_barrier(step, index, &waits);
}

static enum barrier find_barriers(const struct next_step *step,
				  const struct version_status *version, struct version_waits *waits)
{
	enum barrier all = BARRIER_PROVEN;
	for (size_t i = 0; i < step->state->binding_count; i++) {
		if (step->state->bindings[i].version != version->number)
			continue;
		enum barrier one = find_barrier(step, i, waits);
		if (one == BARRIER_IN_USE)
			return BARRIER_IN_USE;
		if (one != BARRIER_PROVEN)
			all = one;
	}
	return all;
}

enum barrier guard_version(const struct next_step *step, const struct version_status *version)
{
	struct version_waits waits = {0};
	return find_barriers(step, version, &waits);
}

bool guard_has_address(const struct service_state *state, uint32_t version)
{
	for (size_t i = 0; i < state->binding_count; i++) {
		if (state->bindings[i].version == version)
			return true;
	}
	return false;
}

/* --- the rollout --- */

static void guard_ready(const struct next_step *step, const struct version_observation *seen,
			struct version_waits *waits)
{
	if (step->state->rollout.paused)
		wait_for(waits, VERSION_WAIT_PAUSED, 0);
	if (!seen->held)
		wait_for(waits, VERSION_WAIT_EDGES, 0);
	if (seen->waits)
		wait_for(waits, VERSION_WAIT_BACKENDS, 0);
}

static void guard_share(const struct next_step *step, const struct version_observation *seen,
			struct version_waits *waits)
{
	const struct rollout_state *rollout = &step->state->rollout;
	uint64_t passed_ms = guard_since(step, rollout->step_wall_ms);
	if (rollout->paused)
		wait_for(waits, VERSION_WAIT_PAUSED, 0);
	if (!seen->held)
		wait_for(waits, VERSION_WAIT_EDGES, 0);
	if (passed_ms < step->seen->policy->pause_ms)
		wait_for(waits, VERSION_WAIT_STEP,
			 left_of(step->seen->policy->pause_ms, passed_ms));
}

/* --- draining --- */

/* A count that was begun while DNS still named the version does not know its last clients: the
 * barrier would find them, but clients would be refused for nothing meanwhile. */
static bool counted_since(const struct next_step *step, const struct version_status *version,
			  const struct binding_observation *seen)
{
	uint64_t drained_ms = guard_since(step, version->changed_wall_ms);
	return drained_ms > seen->report_ago_ms &&
	       drained_ms - seen->report_ago_ms > step->seen->report_interval_ms;
}

/* Its clients go on to a version that is known to be well, or stay with one that served them. */
static bool newer_one_waits(const struct next_step *step, const struct version_status *version)
{
	for (size_t i = 0; i < step->state->version_count; i++) {
		const struct version_status *other = &step->state->versions[i];
		if (other->number == step->state->rollout.target && step->seen->versions[i].waits &&
		    (other->state == VERSION_STAGED || other->state == VERSION_READY))
			return version->served;
	}
	return false;
}

/* What yields where a slot is wanted or the flows are cut; `flows` is of all addresses. */
static void guard_wishes(const struct next_step *step, const struct version_status *version,
			 const struct binding_observation *flows, struct version_waits *waits)
{
	const struct version_observation *seen =
	    &step->seen->versions[version - step->state->versions];
	if (newer_one_waits(step, version))
		wait_for(waits, VERSION_WAIT_NEWER, 0);
	if (!flows->packets_known && step->seen->quiet_ms)
		wait_for(waits, VERSION_WAIT_PACKETS, 0);
	else if (flows->new_flow_ago_ms < step->seen->quiet_ms)
		wait_for(waits, VERSION_WAIT_QUIET,
			 left_of(step->seen->quiet_ms, flows->new_flow_ago_ms));
	if (!seen->answered_ago_ms && step->seen->stale_ms)
		wait_for(waits, VERSION_WAIT_NAMES, 0);
	else if (seen->answered_ago_ms < step->seen->stale_ms)
		wait_for(waits, VERSION_WAIT_STALE,
			 left_of(step->seen->stale_ms, seen->answered_ago_ms));
}

static void guard_addresses(const struct next_step *step, const struct version_status *version,
			    struct version_waits *waits)
{
	bool wanted = false;
	struct binding_observation flows = {.packets_known = true, .new_flow_ago_ms = UINT64_MAX};
	for (size_t i = 0; i < step->state->binding_count; i++) {
		const struct binding *binding = &step->state->bindings[i];
		const struct binding_observation *seen = &step->seen->bindings[i];
		if (binding->version != version->number)
			continue;
		find_use(step, seen, waits);
		if (binding->refusing)
			wait_for(waits, VERSION_WAIT_REFUSED, 0);
		if (!seen->applied_by_all_ms)
			wait_for(waits, VERSION_WAIT_NODES, 0);
		if (!counted_since(step, version, seen))
			wait_for(waits, VERSION_WAIT_REPORT, 0);
		wanted |= guard_slot_is_wanted(step, binding->pool);
		flows.packets_known &= seen->packets_known;
		if (seen->new_flow_ago_ms < flows.new_flow_ago_ms)
			flows.new_flow_ago_ms = seen->new_flow_ago_ms;
	}
	if (!wanted && !version->cut)
		guard_wishes(step, version, &flows, waits);
}

static void guard_close(const struct next_step *step, const struct version_status *version,
			struct version_waits *waits)
{
	uint64_t drained_ms = guard_since(step, version->changed_wall_ms);
	if (step->seen->drain_limit_ms && !version->cut)
		waits->limit_ms = left_of(step->seen->drain_limit_ms, drained_ms);
	if (!step->seen->everyone_is_heard)
		wait_for(waits, VERSION_WAIT_HEARD, 0);
	if (!step->state->rollout.base && !step->state->removed)
		wait_for(waits, VERSION_WAIT_SUCCESSOR, 0);
	if (version->reopened && !version->cut && drained_ms < CLOSING_RETRY_MS)
		wait_for(waits, VERSION_WAIT_RETRY, left_of(CLOSING_RETRY_MS, drained_ms));
	guard_addresses(step, version, waits);
}

struct version_waits guard_move(const struct next_step *step, size_t index)
{
	const struct rollout_state *rollout = &step->state->rollout;
	const struct version_status *version = &step->state->versions[index];
	const struct version_observation *seen = &step->seen->versions[index];
	struct version_waits waits = {.limit_ms = UINT64_MAX};
	switch (version->state) {
	case VERSION_STAGED:
		if (!seen->held)
			wait_for(&waits, VERSION_WAIT_EDGES, 0);
		break;
	case VERSION_READY:
		guard_ready(step, seen, &waits);
		break;
	case VERSION_SERVING:
		if (version->number == rollout->target && rollout->share != SHARE_WHOLE)
			guard_share(step, seen, &waits);
		break;
	case VERSION_DRAINING:
		guard_close(step, version, &waits);
		break;
	case VERSION_CLOSING:
	case VERSION_RETIRED:
		break;
	}
	return waits;
}

/* --- telling --- */

const char *version_wait_name(enum version_wait wait)
{
	static const char *const names[] = {
#define X(id, name, sentence) name,
	    VERSION_WAITS(X)
#undef X
	};
	return names[wait];
}

const char *version_wait_sentence(enum version_wait wait)
{
	static const char *const sentences[] = {
#define X(id, name, sentence) sentence,
	    VERSION_WAITS(X)
#undef X
	};
	return sentences[wait];
}

struct version_waits lifecycle_waits(const struct service_state *state,
				     const struct service_observation *observations, size_t index)
{
	const struct next_step step = {.state = state, .seen = observations};
	const struct version_status *version = &state->versions[index];
	struct version_waits waits = guard_move(&step, index);
	if (version->state != VERSION_CLOSING)
		return waits;
	waits.limit_ms = refusal_left_ms(&step, version->changed_wall_ms);
	if (find_barriers(&step, version, &waits) == BARRIER_PROVEN && !state->rollout.base &&
	    guard_has_address(state, version->number) && !state->removed)
		wait_for(&waits, VERSION_WAIT_SUCCESSOR, 0);
	return waits;
}
