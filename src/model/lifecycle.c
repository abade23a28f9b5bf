/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of a service's life with their names, and finding one's way in its state. What changes
 * the state is in lifecycle_apply.c and lifecycle_command.c, what is due in lifecycle_next.c.
 */
#include "model/lifecycle_internal.h"

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

/* --- the state --- */

const struct version_status *service_version(const struct service_state *state, uint32_t number)
{
	for (size_t i = 0; i < state->version_count; i++) {
		if (state->versions[i].number == number)
			return &state->versions[i];
	}
	return NULL;
}

struct version_status *lifecycle_find(struct service_state *state, uint32_t number)
{
	const struct version_status *version = service_version(state, number);
	return version ? &state->versions[version - state->versions] : NULL;
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

uint32_t lifecycle_next_share(const struct rollout_state *rollout,
			      const struct rollout_policy *policy, uint32_t *ret_step)
{
	uint32_t step = 0;
	while (step < policy->share_count && policy->shares[step] <= rollout->share)
		step++;
	if (ret_step)
		*ret_step = step;
	return step < policy->share_count ? policy->shares[step] : SHARE_WHOLE;
}

struct service_state *service_state_copy(const struct service_state *state, struct arena *arena)
{
	struct service_state *copy = arena_alloc(arena, sizeof(*copy));
	struct version_status *versions =
	    arena_array(arena, state->version_count + 1, sizeof(*versions));
	struct binding *bindings = arena_array(arena, state->binding_count + 1, sizeof(*bindings));
	if (!copy || !versions || !bindings)
		return NULL;
	if (state->version_count)
		memcpy(versions, state->versions, state->version_count * sizeof(*versions));
	if (state->binding_count)
		memcpy(bindings, state->bindings, state->binding_count * sizeof(*bindings));
	*copy = *state;
	copy->versions = versions;
	copy->bindings = bindings;
	return copy;
}
