/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a service, and what changes it: one transition at a time, checked against the table,
 * with the invariants asserted on either side. What is due is lifecycle_next.c's question.
 */
#include "model/lifecycle.h"

#include <string.h>

/* --- the tables --- */

struct table_line {
	enum version_state from, to;
	enum version_event event;
};

static const struct table_line TABLE[] = {
#define X(from, to, event, guard) {VERSION_##from, VERSION_##to, VERSION_EVENT_##event},
    VERSION_TRANSITIONS(X)
#undef X
};

bool version_transition_allowed(enum version_state from, enum version_event event,
				enum version_state *ret_to)
{
	for (size_t i = 0; i < sizeof(TABLE) / sizeof(TABLE[0]); i++) {
		if (TABLE[i].from == from && TABLE[i].event == event) {
			if (ret_to)
				*ret_to = TABLE[i].to;
			return true;
		}
	}
	return false;
}

static const char *const STATE_NAMES[] = {
#define X(id, name, meaning) name,
    VERSION_STATES(X)
#undef X
};

const char *version_state_name(enum version_state state)
{
	return STATE_NAMES[state];
}

int version_state_parse(const char *name, enum version_state *ret_state)
{
	for (size_t i = 0; i < sizeof(STATE_NAMES) / sizeof(STATE_NAMES[0]); i++) {
		if (!strcmp(STATE_NAMES[i], name)) {
			*ret_state = (enum version_state)i;
			return 0;
		}
	}
	return -FL_EINVALID;
}

const char *version_event_name(enum version_event event)
{
	static const char *const names[] = {
#define X(id, name) name,
	    VERSION_EVENTS(X)
#undef X
	};
	return names[event];
}

const char *transition_name(enum transition_kind kind)
{
	static const char *const names[] = {
#define X(id, name, guard) name,
	    TRANSITIONS(X)
#undef X
	};
	return names[kind];
}

/* --- reading --- */

const struct version_status *service_version(const struct service_state *state, uint32_t number)
{
	for (size_t i = 0; i < state->version_count; i++) {
		if (state->versions[i].number == number)
			return &state->versions[i];
	}
	return NULL;
}

static struct version_status *find(struct service_state *state, uint32_t number)
{
	for (size_t i = 0; i < state->version_count; i++) {
		if (state->versions[i].number == number)
			return &state->versions[i];
	}
	return NULL;
}

uint32_t service_share(const struct service_state *state, uint32_t number)
{
	const struct rollout_state *rollout = &state->rollout;
	if (!number)
		return 0;
	if (number == rollout->target)
		return rollout->share;
	return number == rollout->base ? SHARE_WHOLE - rollout->share : 0;
}

/* --- the invariants --- */

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

/* --- moves --- */

/* What every change is stamped with. */
struct stamp {
	uint64_t sequence;
	uint64_t wall_ms;
};

/* The only place where a version's state changes. */
static int move(struct version_status *version, enum version_event event, struct stamp stamp)
{
	enum version_state to;
	if (!version_transition_allowed(version->state, event, &to))
		return -FL_ESTATE;
	version->state = to;
	version->changed_sequence = stamp.sequence;
	version->changed_wall_ms = stamp.wall_ms;
	return 0;
}

static void must_move(struct version_status *version, enum version_event event, struct stamp stamp)
{
	int result = move(version, event, stamp);
	ASSERT(result == 0);
}

static void set_refusing(struct binding *binding, bool refusing, struct stamp stamp)
{
	binding->refusing = refusing;
	binding->reclaiming = false;
	binding->sequence = stamp.sequence;
	binding->changed_wall_ms = stamp.wall_ms;
}

static void set_version_refusing(struct service_state *state, uint32_t number, bool refusing,
				 struct stamp stamp)
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
		   struct stamp stamp)
{
	assert_unused(binding, proof);
	set_refusing(binding, true, stamp);
	binding->version = version;
	binding->number++;
	binding->is_late = true;
	binding->released = false;
}

/* Versions that neither serve nor are to serve: the base when the target has everything, or the
 * target when it is replaced. */
static void retreat(struct version_status *version, struct stamp stamp)
{
	bool serves = version->state == VERSION_SERVING;
	must_move(version, serves ? VERSION_EVENT_DRAIN : VERSION_EVENT_SUPERSEDE, stamp);
}

/* Give the target `share` of the clients; with the whole, it is the base. */
static void set_share(struct service_state *state, uint32_t share, uint32_t step,
		      struct stamp stamp)
{
	struct rollout_state *rollout = &state->rollout;
	rollout->step = step;
	rollout->step_wall_ms = stamp.wall_ms;
	/* With no base there is nobody whom the other clients could go to. */
	rollout->share = rollout->base ? share : SHARE_WHOLE;
	if (rollout->share == SHARE_WHOLE) {
		struct version_status *base = find(state, rollout->base);
		rollout->base = rollout->target;
		if (base)
			retreat(base, stamp);
	}
}

/* The settled rollout: `number` has all clients. */
static void settle(struct service_state *state, uint32_t number)
{
	state->rollout.base = number;
	state->rollout.target = number;
	state->rollout.share = number ? SHARE_WHOLE : 0;
	state->rollout.paused = false;
}

static int reopen(struct service_state *state, struct version_status *version, struct stamp stamp)
{
	int result = move(version, VERSION_EVENT_REOPEN, stamp);
	if (result < 0)
		return result;
	version->reopened = true;
	set_version_refusing(state, version->number, false, stamp);
	return 0;
}

static bool all_open(const struct service_state *state, uint32_t number)
{
	for (size_t i = 0; i < state->binding_count; i++) {
		if (state->bindings[i].version == number && state->bindings[i].refusing)
			return false;
	}
	return true;
}

static int apply_close(struct service_state *state, struct version_status *version,
		       struct stamp stamp)
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
			const struct proof *proof, struct stamp stamp)
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
		       const struct transition *transition, struct stamp stamp)
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
		       struct stamp stamp)
{
	struct version_status *version = find(state, transition->version);
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
		return reopen(state, version, stamp);
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
		       struct stamp stamp)
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
	struct version_status *version = find(state, binding->version);
	bool leaves = version->state == VERSION_CLOSING && state->removed;
	if (!binding->reclaiming && !leaves)
		return -FL_ESTATE;
	assert_unused(binding, &transition->proof);
	version->dismantled |= !binding->is_late;
	binding_remove(state, transition->binding);
	return 0;
}

static int apply_binding(struct service_state *state, const struct transition *transition,
			 struct stamp stamp)
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

static int apply_cut(struct service_state *state, uint32_t number)
{
	struct version_status *version = find(state, number);
	if (!version || (version->state != VERSION_DRAINING && version->state != VERSION_CLOSING))
		return -FL_ESTATE;
	version->cut = true;
	return 0;
}

int lifecycle_apply(struct service_state *state, const struct transition *transition,
		    uint64_t sequence, uint64_t wall_ms)
{
	struct stamp stamp = {.sequence = sequence, .wall_ms = wall_ms};
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
		result = apply_cut(state, transition->version);
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

/* --- the operator's commands --- */

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
	struct stamp stamp = {.sequence = sequence, .wall_ms = wall_ms};
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
		retreat(find(state, rollout->target), stamp);
	versions[state->version_count++] = (struct version_status){
	    .number = version->number,
	    .state = VERSION_STAGED,
	    .digest = version->digest,
	    .sequence = sequence,
	    .changed_sequence = sequence,
	    .changed_wall_ms = wall_ms,
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

/* The version that a rollback returns to; NULL when there never was one. */
static struct version_status *rollback_target(struct service_state *state)
{
	const struct rollout_state *rollout = &state->rollout;
	if (rollout->target != rollout->base)
		return find(state, rollout->base);
	for (size_t i = state->version_count; i-- > 0;) {
		struct version_status *version = &state->versions[i];
		if (version->number < rollout->base && version->served)
			return version;
	}
	return NULL;
}

int lifecycle_rollback(struct service_state *state, uint64_t sequence, uint64_t wall_ms,
		       uint32_t *ret_version, struct error *err)
{
	struct stamp stamp = {.sequence = sequence, .wall_ms = wall_ms};
	service_state_check(state);
	struct version_status *back = rollback_target(state);
	if (!back)
		return error_set(err, -FL_ESTATE,
				 "%s has no version before this one to roll back to", state->name);
	*ret_version = back->number;
	if (back->state == VERSION_RETIRED || back->dismantled)
		return error_set(err, -FL_ENOTFOUND,
				 "version %u of %s is retired: its content needs a new version",
				 back->number, state->name);

	/* All of it can be done from here on. */
	struct version_status *newest = find(state, state->rollout.target);
	retreat(newest, stamp);
	settle(state, back->number);
	if (back->state == VERSION_CLOSING) {
		int result = reopen(state, back, stamp);
		ASSERT(result == 0);
	}
	if (back->state == VERSION_DRAINING)
		must_move(back, VERSION_EVENT_ROLLBACK, stamp);
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
		return error_set(err, -FL_ESTATE, "the rollout of %s is not paused", state->name);
	state->rollout.paused = false;
	state->rollout.step_wall_ms = wall_ms;
	return 0;
}

int lifecycle_cut(struct service_state *state, uint32_t version, struct error *err)
{
	int result = apply_cut(state, version);
	if (!result)
		return 0;
	const struct version_status *status = service_version(state, version);
	if (!status)
		return error_set(err, -FL_ENOTFOUND, "%s has no version %u", state->name, version);
	return error_set(err, result, "version %u of %s is %s: only a draining one can be cut",
			 version, state->name, version_state_name(status->state));
}

int lifecycle_remove(struct service_state *state, uint64_t sequence, uint64_t wall_ms)
{
	struct stamp stamp = {.sequence = sequence, .wall_ms = wall_ms};
	service_state_check(state);
	if (state->removed)
		return -FL_ESTATE;
	struct rollout_state rollout = state->rollout;
	settle(state, 0);
	state->removed = true;
	if (rollout.base)
		retreat(find(state, rollout.base), stamp);
	if (rollout.target && rollout.target != rollout.base)
		retreat(find(state, rollout.target), stamp);
	service_state_check(state);
	return 0;
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
