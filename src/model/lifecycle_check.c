/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The invariants of one service's state. They are asserted on either side of every change, so a
 * breach is caught at the change that made it.
 */
#include "model/lifecycle.h"

static void check_rollout(const struct service_state *state)
{
	const struct rollout_state *rollout = &state->rollout;
	ASSERT(rollout->share <= SHARE_WHOLE);
	ASSERT(!rollout->base || service_version(state, rollout->base));
	ASSERT(!rollout->target || service_version(state, rollout->target));
	/* The target has the whole share exactly when it is the base too: then all shares add up.
	 */
	ASSERT((rollout->share == SHARE_WHOLE) ==
	       (rollout->base && rollout->base == rollout->target));
	ASSERT(rollout->base || !rollout->share);
	ASSERT(!state->removed || (!rollout->base && !rollout->target));
}

static void check_versions(const struct service_state *state)
{
	uint32_t last = 0;
	uint64_t shares = 0;
	for (size_t i = 0; i < state->version_count; i++) {
		const struct version_status *version = &state->versions[i];
		uint32_t share = service_share(state, version->number);
		ASSERT(version->number > last);
		/* DNS answers what has a share, and that is what the edges confirmed. */
		ASSERT_INVARIANT(1, (share > 0) == (version->state == VERSION_SERVING));
		ASSERT_INVARIANT(1, version->state != VERSION_SERVING || version->served);
		bool is_new = version->state == VERSION_STAGED || version->state == VERSION_READY;
		ASSERT(!is_new || version->number == state->rollout.target);
		last = version->number;
		shares += share;
	}
	ASSERT(last < state->next_version);
	ASSERT(shares == (state->rollout.base ? SHARE_WHOLE : 0));
}

/* An address refuses new flows exactly while its version closes, while it is reclaimed, or from
 * its re-binding until every node has applied that. */
static void check_binding(const struct service_state *state, const struct binding *binding)
{
	const struct version_status *version = service_version(state, binding->version);
	ASSERT_INVARIANT(3, version && version->state != VERSION_RETIRED);
	bool closes = version->state == VERSION_CLOSING;
	if (closes) {
		ASSERT_INVARIANT(3, binding->refusing && !binding->reclaiming);
		ASSERT_INVARIANT(3, binding->sequence == version->changed_sequence);
	} else if (!binding->is_late) {
		ASSERT(!binding->refusing);
	}
	ASSERT(!binding->reclaiming || (binding->refusing && binding->is_late));
}

static void check_pair(const struct binding *a, const struct binding *b)
{
	ASSERT(a->pool != b->pool || a->slot != b->slot);
	ASSERT(a->is_late || b->is_late || a->version != b->version || a->pool != b->pool);
}

void service_state_check(const struct service_state *state)
{
	check_rollout(state);
	check_versions(state);
	for (size_t i = 0; i < state->binding_count; i++) {
		check_binding(state, &state->bindings[i]);
		for (size_t j = 0; j < i; j++)
			check_pair(&state->bindings[j], &state->bindings[i]);
	}
}
