/* SPDX-License-Identifier: Apache-2.0 */
#include "state/publication.h"

#include "base/buffer.h"
#include "base/random.h"
#include "config/config.h"
#include "state/records.h"

#include <string.h>

typedef int put_fn(const void *record, struct buffer *value);

static int put_value(struct change_draft *draft, const char *key, bool compared, uint64_t revision,
		     put_fn *put, const void *record)
{
	struct buffer value;
	buffer_init(&value, STORE_VALUE_BYTES);
	int result = put(record, &value);
	if (result == 0)
		result = compared ? draft_put(draft, key, revision, &value)
				  : draft_put_new(draft, key, &value);
	buffer_done(&value);
	return result;
}

static int put_state(const void *record, struct buffer *value)
{
	return record_service_put(record, value);
}

static int put_version(const void *record, struct buffer *value)
{
	return record_version_put(record, value);
}

static int put_placement(const void *record, struct buffer *value)
{
	return record_placement_put(record, value);
}

int publication_put_state(struct change_draft *draft, const struct service_state *state)
{
	char key[RECORD_KEY_BYTES];
	const struct image_service *known = image_service(draft->image, state->name);
	return put_value(draft, record_service_key(state->name, key), true,
			 known ? known->mod_revision : 0, put_state, state);
}

static int draft_version(struct change_draft *draft, const struct version *version)
{
	char key[RECORD_KEY_BYTES];
	return put_value(draft, record_version_key(version->service, version->number, key), true, 0,
			 put_version, version);
}

int future_states_init(struct future_states *future, const struct image *image, size_t extra,
		       struct arena *arena)
{
	future->states =
	    arena_array(arena, image->state_count + extra + 1, sizeof(*future->states));
	if (!future->states)
		return -ENOMEM;
	future->count = image->state_count;
	for (size_t i = 0; i < image->state_count; i++)
		future->states[i] = image->states[i];
	return 0;
}

static void future_states_set(struct future_states *future, const struct service_state *state)
{
	for (size_t i = 0; i < future->count; i++) {
		if (strcmp(future->states[i]->name, state->name) == 0) {
			future->states[i] = state;
			return;
		}
	}
	future->states[future->count++] = state;
}

/* The version whose clients are the most: rings are built from its rings. */
static const struct version *base_of(const struct image_service *known)
{
	if (!known || !known->state)
		return NULL;
	const struct version *version = image_version(known, known->state->rollout.base);
	if (!version)
		version = image_version(known, known->state->rollout.target);
	return version;
}

struct service_state *publication_state(const struct image_service *known, const char *name,
					uint32_t index, struct arena *arena)
{
	if (known && known->state)
		return service_state_copy(known->state, arena);
	struct service_state *state = arena_alloc(arena, sizeof(*state));
	if (state)
		*state = (struct service_state){
		    .name = arena_strdup(arena, name), .index = index, .next_version = 1};
	return state;
}

int publication_take_place(struct change_draft *draft, const struct fabric *fabric,
			   const struct version *version, const struct placement *placement,
			   struct future_states *future, struct service_state *state,
			   struct error *err)
{
	struct binding bindings[PLACEMENT_FAMILIES] = {0};
	size_t binding_count = 0;
	uint8_t salt[16];
	const struct placement_moment moment = {.wall_ms = draft->wall_ms,
						.quarantine_ms = fabric->settings.quarantine_ms,
						.applied_sequence = draft->applied_sequence};
	int result = placement_choose(placement, state->index, future->states, future->count,
				      &moment, bindings, &binding_count, err);
	if (result < 0)
		return error_prefix(err, "service %s", state->name);
	random_fill(draft->random, salt, sizeof(salt));
	result = lifecycle_publish(state, version, bindings, binding_count, salt, draft->sequence,
				   draft->wall_ms, &draft->arena, err);
	if (result == 0)
		future_states_set(future, state);
	return result;
}

int publication_make(struct change_draft *draft, const struct fabric *fabric,
		     const struct service *service, const struct placement *placement,
		     struct future_states *future, const struct version **ret_version,
		     struct error *err)
{
	const struct image_service *known = image_service(draft->image, service->name);
	struct service_state *state = publication_state(
	    known, service->name, placement_service(placement, service->name), &draft->arena);
	if (!state)
		return -ENOMEM;
	struct version *version;
	int result = version_build(fabric, service, state->next_version, base_of(known),
				   draft->random, &draft->arena, &version, err);
	if (result == 0)
		result =
		    publication_take_place(draft, fabric, version, placement, future, state, err);
	if (result == 0) {
		result = draft_version(draft, version);
		if (result == -FL_ELIMIT)
			error_set(
			    err, result,
			    "service %s: its next version is larger than the store's limit of "
			    "%u bytes a value: it has too many backends or sites",
			    service->name, STORE_VALUE_BYTES);
	}
	if (result == 0)
		result = publication_put_state(draft, state);
	if (result < 0)
		return result;
	*ret_version = version;
	return 0;
}

int publication_put_placement(struct change_draft *draft, const struct placement *placement)
{
	return put_value(draft, RECORD_PLACEMENT_KEY, true, draft->image->placement_revision,
			 put_placement, placement);
}

int publication_put_fabric(struct change_draft *draft, struct buffer *text,
			   const struct placement *placement, struct error *err)
{
	int result = text->status
			 ? text->status
			 : draft_put(draft, RECORD_CONFIG_KEY, draft->image->config_revision, text);
	if (result == 0)
		result = publication_put_placement(draft, placement);
	if (result == -FL_ELIMIT)
		return error_set(err, result,
				 "the configuration is larger than the store's limit of %u bytes "
				 "a value",
				 STORE_VALUE_BYTES);
	return result;
}
