/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The invariants of one service's state. They are asserted on either side of every change, so a
 * breach is caught at the change that made it. A state that comes from a store is judged by the
 * same rules and refused with the rule that it breaks: that is a damaged record, not a bug.
 */
#include "model/lifecycle.h"

/* A rule that does not hold: `ret` gets the invariant of the design that it belongs to, if any, and
 * what should be. Written as one macro so that each rule stands beside its sentence. */
#define RULE(number, condition, sentence)                                                          \
	do {                                                                                       \
		if (!(condition))                                                                  \
			return (struct service_fault){number, sentence};                           \
	} while (0)

static const struct service_fault sound = {0, NULL};

static struct service_fault judge_rollout(const struct service_state *state)
{
	const struct rollout_state *rollout = &state->rollout;
	RULE(0, rollout->share <= SHARE_WHOLE, "no share is above the whole");
	RULE(0, !rollout->base || service_version(state, rollout->base),
	     "the rollout's base is one of the versions");
	RULE(0, !rollout->target || service_version(state, rollout->target),
	     "the rollout's target is one of the versions");
	/* Then all shares add up. */
	RULE(0,
	     (rollout->share == SHARE_WHOLE) == (rollout->base && rollout->base == rollout->target),
	     "the target has the whole share exactly when it is the base too");
	RULE(0, rollout->base || !rollout->share, "without a base nobody has a share");
	RULE(0, !state->removed || (!rollout->base && !rollout->target),
	     "a removed service has no rollout");
	return sound;
}

static struct service_fault judge_versions(const struct service_state *state)
{
	uint32_t last = 0;
	uint64_t shares = 0;
	for (size_t i = 0; i < state->version_count; i++) {
		const struct version_status *version = &state->versions[i];
		uint32_t share = service_share(state, version->number);
		bool is_new = version->state == VERSION_STAGED || version->state == VERSION_READY;
		RULE(0, version->number > last, "version numbers rise");
		/* What the edges confirmed. */
		RULE(1, (share > 0) == (version->state == VERSION_SERVING),
		     "DNS answers exactly what has a share");
		RULE(1, version->state != VERSION_SERVING || version->served,
		     "what serves is noted as having served");
		RULE(0, !is_new || version->number == state->rollout.target,
		     "a version that is staged or ready is the rollout's target");
		last = version->number;
		shares += share;
	}
	RULE(0, last < state->next_version, "the next version's number is above all others");
	RULE(0, shares == (state->rollout.base ? SHARE_WHOLE : 0), "the shares make a whole");
	return sound;
}

/* An address refuses new flows exactly while its version closes, while it is reclaimed, or from
 * its re-binding until every node has applied that. */
static struct service_fault judge_binding(const struct service_state *state,
					  const struct binding *binding)
{
	const struct version_status *version = service_version(state, binding->version);
	RULE(3, version && version->state != VERSION_RETIRED,
	     "an address means a version that is not retired");
	if (version->state == VERSION_CLOSING) {
		RULE(3, binding->refusing && !binding->reclaiming,
		     "every address of a closing version refuses new flows");
		RULE(3, binding->sequence == version->changed_sequence,
		     "every address of a closing version names its closing");
	} else if (!binding->is_late) {
		RULE(0, !binding->refusing,
		     "the own address of a version that does not close "
		     "takes new flows");
	}
	RULE(0, !binding->reclaiming || (binding->refusing && binding->is_late),
	     "what is reclaimed is late, and refuses new flows");
	return sound;
}

static struct service_fault judge_pair(const struct binding *a, const struct binding *b)
{
	RULE(0, a->pool != b->pool || a->slot != b->slot, "no slot is bound twice");
	RULE(0, a->is_late || b->is_late || a->version != b->version || a->pool != b->pool,
	     "a version has one own slot of a pool");
	return sound;
}

static struct service_fault judge_bindings(const struct service_state *state)
{
	for (size_t i = 0; i < state->binding_count; i++) {
		struct service_fault fault = judge_binding(state, &state->bindings[i]);
		for (size_t j = 0; j < i && !fault.rule; j++)
			fault = judge_pair(&state->bindings[j], &state->bindings[i]);
		if (fault.rule)
			return fault;
	}
	return sound;
}

struct service_fault service_state_judge(const struct service_state *state)
{
	struct service_fault fault = judge_rollout(state);
	if (!fault.rule)
		fault = judge_versions(state);
	if (!fault.rule)
		fault = judge_bindings(state);
	return fault;
}

void service_state_check(const struct service_state *state)
{
	struct service_fault fault = service_state_judge(state);
	if (!fault.rule)
		return;
	ASSERT_INVARIANT(1, fault.invariant != 1);
	ASSERT_INVARIANT(3, fault.invariant != 3);
	ASSERT(!fault.rule);
}
