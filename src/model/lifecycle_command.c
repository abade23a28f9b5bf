/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the operator asks for: publish, roll back, pause and resume, cut, remove. A command is
 * refused as a whole or done as a whole.
 */
#include "model/lifecycle_internal.h"

#include <string.h>

static bool slot_is_bound(const struct service_state *state, const struct binding *wanted)
{
	for (size_t i = 0; i < state->binding_count; i++) {
		const struct binding *binding = &state->bindings[i];
		if (binding->pool == wanted->pool && binding->slot == wanted->slot)
			return true;
	}
	return false;
}

/* `count` elements of `old` and `more` zeroed ones after them; NULL when out of memory. */
static void *grown(struct arena *arena, const void *old, size_t count, size_t more, size_t size)
{
	void *array = arena_array(arena, count + more, size);
	if (array && count)
		memcpy(array, old, count * size);
	return array;
}

int lifecycle_publish(struct service_state *state, const struct version *version,
		      const struct binding *bindings, size_t binding_count, const uint8_t salt[16],
		      uint64_t sequence, uint64_t wall_ms, struct arena *arena, struct error *err)
{
	struct lifecycle_stamp stamp = {.sequence = sequence, .wall_ms = wall_ms};
	service_state_check(state);
	if (version->number != state->next_version)
		return error_set(err, -FL_ESTATE,
				 "the next version of %s is %u, not %u: somebody published first",
				 state->name, state->next_version, version->number);
	for (size_t i = 0; i < binding_count; i++)
		ASSERT_INVARIANT(3, !slot_is_bound(state, &bindings[i]));

	struct version_status *versions =
	    grown(arena, state->versions, state->version_count, 1, sizeof(versions[0]));
	struct binding *all =
	    grown(arena, state->bindings, state->binding_count, binding_count, sizeof(all[0]));
	if (!versions || !all)
		return error_set(err, -ENOMEM, "no memory for version %u of %s", version->number,
				 state->name);
	state->versions = versions;
	state->bindings = all;

	struct rollout_state *rollout = &state->rollout;
	if (rollout->target != rollout->base)
		lifecycle_retreat(lifecycle_find(state, rollout->target), stamp);
	versions[state->version_count++] = (struct version_status){
	    .number = version->number,
	    .state = VERSION_STAGED,
	    .digest = version->digest,
	    .sequence = sequence,
	    .changed_sequence = sequence,
	    .changed_wall_ms = wall_ms,
	    .before = rollout->base,
	    .before_known = true,
	};
	for (size_t i = 0; i < binding_count; i++) {
		all[state->binding_count++] = (struct binding){
		    .pool = bindings[i].pool,
		    .slot = bindings[i].slot,
		    .version = version->number,
		    .number = bindings[i].number,
		    .sequence = sequence,
		    .changed_wall_ms = wall_ms,
		};
	}
	*rollout = (struct rollout_state){
	    .base = rollout->base, .target = version->number, .step_wall_ms = wall_ms};
	memcpy(rollout->salt, salt, sizeof(rollout->salt));
	state->removed = false;
	state->next_version++;
	service_state_check(state);
	return 0;
}

/* The settled rollout: `number` has all clients. */
static void settle(struct service_state *state, uint32_t number)
{
	state->rollout.base = number;
	state->rollout.target = number;
	state->rollout.share = number ? SHARE_WHOLE : 0;
	state->rollout.paused = false;
}

/* What served before `number`; 0: nothing that is known. Of a version of an earlier release it is
 * taken to be the highest below it that ever served. */
static uint32_t before(const struct service_state *state, uint32_t number)
{
	const struct version_status *status = service_version(state, number);
	if (status && status->before_known)
		return service_version(state, status->before) ? status->before : 0;
	for (size_t i = state->version_count; i-- > 0;) {
		const struct version_status *version = &state->versions[i];
		if (version->number < number && version->served)
			return version->number;
	}
	return 0;
}

void lifecycle_continue_from(struct service_state *state, uint32_t source)
{
	struct version_status *newest = &state->versions[state->version_count - 1];
	newest->before = before(state, source);
	newest->before_known = true;
}

/* The version that a rollback returns to; NULL when there is none. */
static struct version_status *rollback_target(struct service_state *state, uint32_t to,
					      struct error *err)
{
	const struct rollout_state *rollout = &state->rollout;
	bool settled = rollout->target == rollout->base;
	struct version_status *back = NULL;
	if (to) {
		back = lifecycle_find(state, to);
		if (!back || !back->served)
			error_set(err, -FL_ESTATE,
				  back ? "version %u of %s never served: there is nothing to go "
					 "back to"
				       : "version %u of %s is not known any more; `fairlead "
					 "describe` lists those that are",
				  to, state->name);
		else if (to == rollout->target)
			error_set(err, -FL_ESTATE, "version %u of %s is what serves", to,
				  state->name);
		return back && back->served && to != rollout->target ? back : NULL;
	}
	back = lifecycle_find(state, settled ? before(state, rollout->base) : rollout->base);
	if (!back)
		error_set(err, -FL_ESTATE,
			  "%s has no version before this one to roll back to; `--to N` names any "
			  "other that served",
			  state->name);
	return back;
}

int lifecycle_rollback(struct service_state *state, uint32_t to, uint64_t sequence,
		       uint64_t wall_ms, uint32_t *ret_version, struct error *err)
{
	struct lifecycle_stamp stamp = {.sequence = sequence, .wall_ms = wall_ms};
	struct rollout_state rollout = state->rollout;
	service_state_check(state);
	struct version_status *back = rollback_target(state, to, err);
	if (!back)
		return -FL_ESTATE;
	*ret_version = back->number;
	if (back->state == VERSION_RETIRED || back->dismantled)
		return error_set(err, -FL_ENOTFOUND,
				 "version %u of %s is retired: its content needs a new version",
				 back->number, state->name);

	/* All of it can be done from here on. */
	lifecycle_retreat(lifecycle_find(state, rollout.target), stamp);
	if (rollout.base && rollout.base != rollout.target && rollout.base != back->number)
		lifecycle_retreat(lifecycle_find(state, rollout.base), stamp);
	settle(state, back->number);
	if (back->state == VERSION_CLOSING) {
		int result = lifecycle_reopen(state, back, stamp);
		ASSERT(result == 0);
	}
	if (back->state == VERSION_DRAINING)
		lifecycle_must_move(back, VERSION_EVENT_ROLLBACK, stamp);
	back->reopened = false;
	back->cut = false;
	service_state_check(state);
	return 0;
}

static int no_rollout(const struct service_state *state, struct error *err)
{
	return error_set(err, -FL_ESTATE, "no rollout of %s is under way", state->name);
}

int lifecycle_pause(struct service_state *state, struct error *err)
{
	if (state->rollout.target == state->rollout.base)
		return no_rollout(state, err);
	state->rollout.paused = true;
	return 0;
}

int lifecycle_resume(struct service_state *state, uint64_t wall_ms, struct error *err)
{
	if (state->rollout.target == state->rollout.base)
		return no_rollout(state, err);
	if (!state->rollout.paused)
		return 0;
	state->rollout.paused = false;
	state->rollout.step_wall_ms = wall_ms;
	return 0;
}

int lifecycle_force(struct service_state *state, const struct rollout_policy *policy, bool held,
		    uint64_t sequence, uint64_t wall_ms, struct error *err)
{
	struct rollout_state *rollout = &state->rollout;
	const struct version_status *target = service_version(state, rollout->target);
	if (rollout->target == rollout->base)
		return no_rollout(state, err);
	if (target->state != VERSION_STAGED && target->state != VERSION_READY)
		return error_set(err, -FL_ESTATE,
				 "version %u of %s has clients already, and waits for no backend",
				 target->number, state->name);
	if (target->state == VERSION_STAGED || !held)
		return error_set(err, -FL_ESTATE,
				 "version %u of %s is not held by every edge that is heard yet, "
				 "which cannot be forced: try again in a moment",
				 target->number, state->name);
	struct transition start = {.kind = TRANSITION_VERSION,
				   .event = VERSION_EVENT_START,
				   .version = target->number,
				   .proof = {.held = held}};
	start.share =
	    rollout->base ? lifecycle_next_share(rollout, policy, &start.step) : SHARE_WHOLE;
	rollout->paused = false;
	return lifecycle_apply(state, &start, sequence, wall_ms);
}

int lifecycle_cut(struct service_state *state, uint32_t version, struct error *err)
{
	int result = lifecycle_mark_cut(state, version);
	if (!result)
		return 0;
	const struct version_status *status = service_version(state, version);
	if (!status)
		return error_set(err, -FL_ENOTFOUND, "%s has no version %u", state->name, version);
	return error_set(err, result, "version %u of %s is %s: only a draining one can be cut",
			 version, state->name, version_state_name(status->state));
}

/* Nobody is sent to any of its versions any more. */
static void retreat_all(struct service_state *state, struct lifecycle_stamp stamp)
{
	struct rollout_state rollout = state->rollout;
	settle(state, 0);
	if (rollout.base)
		lifecycle_retreat(lifecycle_find(state, rollout.base), stamp);
	if (rollout.target && rollout.target != rollout.base)
		lifecycle_retreat(lifecycle_find(state, rollout.target), stamp);
}

bool lifecycle_lose(struct service_state *state, const bool *lost, uint64_t sequence,
		    uint64_t wall_ms)
{
	struct lifecycle_stamp stamp = {.sequence = sequence, .wall_ms = wall_ms};
	const struct rollout_state *rollout = &state->rollout;
	bool base_lost = false;
	bool target_lost = false;
	size_t kept = 0;
	service_state_check(state);
	for (size_t i = 0; i < state->binding_count; i++) {
		struct binding binding = state->bindings[i];
		if (!lost[i]) {
			state->bindings[kept++] = binding;
			continue;
		}
		lifecycle_find(state, binding.version)->dismantled |= !binding.is_late;
		base_lost |= !binding.is_late && binding.version == rollout->base;
		target_lost |= !binding.is_late && binding.version == rollout->target;
	}
	state->binding_count = kept;
	if (base_lost) {
		retreat_all(state, stamp);
	} else if (target_lost) {
		lifecycle_retreat(lifecycle_find(state, rollout->target), stamp);
		settle(state, rollout->base);
	}
	for (size_t i = 0; i < state->version_count; i++) {
		struct version_status *version = &state->versions[i];
		bool has_address = false;
		for (size_t b = 0; b < kept; b++)
			has_address |= state->bindings[b].version == version->number;
		if (has_address || version->state == VERSION_RETIRED ||
		    version->number == rollout->base || version->number == rollout->target)
			continue;
		version->state = VERSION_RETIRED;
		version->changed_sequence = sequence;
		version->changed_wall_ms = wall_ms;
	}
	service_state_check(state);
	return base_lost || target_lost;
}

int lifecycle_remove(struct service_state *state, uint64_t sequence, uint64_t wall_ms)
{
	struct lifecycle_stamp stamp = {.sequence = sequence, .wall_ms = wall_ms};
	service_state_check(state);
	if (state->removed)
		return -FL_ESTATE;
	retreat_all(state, stamp);
	state->removed = true;
	service_state_check(state);
	return 0;
}
