/* SPDX-License-Identifier: Apache-2.0 */
#include "state/publication.h"

#include "base/buffer.h"
#include "base/random.h"
#include "state/config_records.h"
#include "state/placement_records.h"
#include "state/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Puts the value, which is done with. `failed` is what writing it came to. */
static int put_value(struct change_draft *draft, const char *key, int failed, struct buffer *value)
{
	int result = failed;
	if (result == 0)
		result = draft_put(draft, key, image_record_revision(draft->image, key), value);
	buffer_done(value);
	return result;
}

/* --- the states to be --- */

int future_states_init(struct future_states *future, const struct image *image, size_t extra,
		       struct arena *arena)
{
	future->states =
	    arena_array(arena, image->state_count + extra + 1, sizeof(*future->states));
	if (!future->states)
		return -ENOMEM;
	future->count = future->known = image->state_count;
	for (size_t i = 0; i < image->state_count; i++)
		future->states[i] = image->states[i];
	return 0;
}

static int compare_state(const void *name, const void *state)
{
	return strcmp(name, (*(const struct service_state *const *)state)->name);
}

void future_states_set(struct future_states *future, const struct service_state *state)
{
	const struct service_state **known = bsearch(state->name, future->states, future->known,
						     sizeof(struct service_state *), compare_state);
	if (!known)
		known = &future->states[future->count++];
	*known = state;
}

/* --- versions --- */

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

static struct ended_service ended_at(const struct service_state *state)
{
	size_t count = state->version_count;
	return (struct ended_service){.next_version = state->next_version,
				      .given = count ? state->versions[count - 1].sequence : 0};
}

static uint32_t next_after(const struct image *image, const struct ended_service *ended)
{
	uint64_t next = ended->next_version ? ended->next_version : 1;
	return (uint32_t)(image->placement
			      ? placement_number_after(image->placement, next, ended->given)
			      : next);
}

uint32_t publication_next_number(const struct image *image, const struct image_service *known)
{
	static const struct ended_service NEW;
	uint32_t before = next_after(image, known ? &known->ended : &NEW);
	if (!known || !known->state)
		return before;
	const struct ended_service now = ended_at(known->state);
	uint32_t next = next_after(image, &now);
	return next > before ? next : before;
}

int publication_put_ended(struct change_draft *draft, const struct service_state *state,
			  uint64_t removed)
{
	struct ended_service ended = ended_at(state);
	char key[RECORD_KEY_BYTES];
	struct buffer value;
	ended.removed = removed;
	buffer_init(&value, STORE_VALUE_BYTES);
	return put_value(draft, record_ended_key(state->name, key),
			 record_ended_put(&ended, &value), &value);
}

struct service_state *publication_state(const struct image *image,
					const struct image_service *known, const char *name,
					uint32_t index, struct arena *arena)
{
	struct service_state *state;
	if (known && known->state) {
		state = service_state_copy(known->state, arena);
	} else {
		state = arena_alloc(arena, sizeof(*state));
		if (state)
			*state = (struct service_state){.name = arena_strdup(arena, name),
							.index = index};
	}
	if (state)
		state->next_version = publication_next_number(image, known);
	return state;
}

/* Who holds what is known only when every state and every freed slot is, and which number is next
 * when every end is. */
static int check_read(const struct image *image, struct error *err)
{
	static const char *const PREFIXES[] = {"ended/", "placement/", "service/"};
	char text[IMAGE_UNREAD_TEXT];
	for (size_t i = 0; i < sizeof(PREFIXES) / sizeof(PREFIXES[0]); i++) {
		const struct image_unread *unread = image_unread_under(image, PREFIXES[i]);
		if (unread)
			return error_set(
			    err, -FL_EUNSUPPORTED,
			    "which slots and numbers are free is not known here: %s; give the "
			    "order on a node with a newer release, or upgrade this one",
			    image_unread_text(unread, text));
	}
	return 0;
}

int publication_choose_slots(const struct image *image, const struct fabric *fabric,
			     const struct placement *placement, uint32_t index,
			     const struct future_states *future,
			     const struct publication_moment *now,
			     struct binding bindings[PLACEMENT_FAMILIES], size_t *ret_count,
			     struct error *err)
{
	const struct placement_moment moment = {.wall_ms = now->wall_ms,
						.quarantine_ms = fabric->settings.quarantine_ms,
						.names_removed_ms =
						    removed_names_ms(&image->removed),
						.applied_sequence = now->applied_sequence};
	int result = check_read(image, err);
	return result < 0 ? result
			  : placement_choose(placement, fabric, index, future->states,
					     future->count, &moment, bindings, ret_count, err);
}

int publication_build(const struct image *image, const struct fabric *fabric,
		      const struct service *service, const struct image_service *known,
		      struct random *random, struct arena *arena, struct version **ret_version,
		      struct error *err)
{
	return version_build(fabric, service, publication_next_number(image, known), base_of(known),
			     random, arena, ret_version, err);
}

int publication_take_place(struct change_draft *draft, struct service_state *state,
			   const struct version *version, const struct binding *bindings,
			   size_t binding_count, struct error *err)
{
	const struct image_service *known = image_service(draft->image, state->name);
	uint8_t salt[16];
	ASSERT_INVARIANT(2, !known || version->number >= known->ended.next_version);
	random_fill(draft->random, salt, sizeof(salt));
	return lifecycle_publish(state, version, bindings, binding_count, salt, draft->sequence,
				 draft->wall_ms, &draft->arena, err);
}

int publication_put_state(struct change_draft *draft, const struct service_state *state)
{
	char key[RECORD_KEY_BYTES];
	struct buffer value;
	buffer_init(&value, STORE_VALUE_BYTES);
	return put_value(draft, record_service_key(state->name, key),
			 record_service_put(state, &value), &value);
}

int publication_put_version(struct change_draft *draft, const char *service, uint32_t number,
			    struct buffer *value)
{
	char key[RECORD_KEY_BYTES];
	return draft_put(draft, record_version_key(service, number, key), 0, value);
}

int publication_make(struct change_draft *draft, const struct fabric *fabric,
		     const struct service *service, const struct version **ret_version,
		     struct error *err)
{
	return publication_make_again(draft, fabric, service, 0, ret_version, err);
}

int publication_make_again(struct change_draft *draft, const struct fabric *fabric,
			   const struct service *service, uint32_t source,
			   const struct version **ret_version, struct error *err)
{
	const struct image *image = draft->image;
	const struct image_service *known = image_service(image, service->name);
	struct service_state *state =
	    publication_state(image, known, service->name,
			      placement_service(image->placement, service->name), &draft->arena);
	struct future_states future = {0};
	int result = state ? future_states_init(&future, image, 1, &draft->arena) : -ENOMEM;
	return result < 0 ? result
			  : publication_make_from(draft, fabric, service, image->placement, &future,
						  state, source, ret_version, err);
}

int publication_make_from(struct change_draft *draft, const struct fabric *fabric,
			  const struct service *service, const struct placement *placement,
			  struct future_states *future, struct service_state *state,
			  uint32_t source, const struct version **ret_version, struct error *err)
{
	const struct image *image = draft->image;
	const struct image_service *known = image_service(image, service->name);
	struct binding bindings[PLACEMENT_FAMILIES];
	size_t count = 0;
	struct version *version;
	struct buffer value;
	buffer_init(&value, STORE_VALUE_BYTES);
	int result = version_build(fabric, service, state->next_version, base_of(known),
				   draft->random, &draft->arena, &version, err);
	if (result < 0)
		goto out;
	const struct publication_moment moment = {.wall_ms = draft->wall_ms,
						  .applied_sequence = draft->applied_sequence};
	result = publication_choose_slots(image, fabric, placement, state->index, future, &moment,
					  bindings, &count, err);
	if (result < 0) {
		result = error_prefix(err, "service %s", service->name);
		goto out;
	}
	result = publication_take_place(draft, state, version, bindings, count, err);
	if (result < 0)
		goto out;
	if (source)
		lifecycle_continue_from(state, source);
	result = record_version_put(version, &value);
	if (result == 0)
		result = publication_put_version(draft, service->name, version->number, &value);
	if (result == 0)
		result = publication_put_state(draft, state);
	if (result == 0)
		result = publication_put_config(draft, service, err);
	if (result == 0)
		*ret_version = version;
out:
	buffer_done(&value);
	return result;
}

/* --- configuration --- */

static int too_large(int result, const char *what, const char *name, struct error *err)
{
	if (result != -FL_ELIMIT)
		return result;
	return error_set(err, result,
			 "the configuration of %s %s is larger than the store's limit of %u bytes "
			 "a record",
			 what, name, STORE_VALUE_BYTES);
}

static int put_setting(struct change_draft *draft, const struct settings *settings, size_t place)
{
	char key[RECORD_KEY_BYTES];
	struct buffer value;
	/* The function takes what it may write to; here it is read. */
	struct settings copy = *settings;
	buffer_init(&value, STORE_VALUE_BYTES);
	return put_value(draft, config_setting_key(place, key),
			 config_setting_put(*config_setting_of(&copy, place), &value), &value);
}

static int put_pool(struct change_draft *draft, const struct pool *pool, size_t place)
{
	char key[RECORD_KEY_BYTES];
	struct buffer value;
	buffer_init(&value, STORE_VALUE_BYTES);
	return put_value(draft, config_pool_key(place, key), config_pool_put(pool, &value), &value);
}

/* Does the store hold this record, and does what the image was assembled from say the same? */
static bool is_stored(const struct image *image, const char *key, bool is_equal)
{
	return is_equal && image_record_revision(image, key);
}

int publication_put_fabric(struct change_draft *draft, const struct fabric *fabric,
			   struct error *err)
{
	static const struct fabric NOTHING;
	const struct image *image = draft->image;
	const struct fabric *was = image->fabric ? image->fabric : &NOTHING;
	struct settings old = was->settings;
	struct settings now = fabric->settings;
	char key[RECORD_KEY_BYTES];
	int result = 0;
	if (!is_stored(image, config_fabric_key(key), fabric_names_equal(was, fabric))) {
		struct buffer value;
		buffer_init(&value, STORE_VALUE_BYTES);
		result = put_value(draft, key, config_fabric_put(fabric, &value), &value);
	}
	for (size_t i = 0; i < CONFIG_SETTINGS && result == 0; i++) {
		bool same = *config_setting_of(&old, i) == *config_setting_of(&now, i);
		if (!is_stored(image, config_setting_key(i, key), same))
			result = put_setting(draft, &now, i);
	}
	for (size_t i = 0; i < fabric->pool_count && result == 0; i++) {
		bool same = i < was->pool_count && pool_equal(&was->pools[i], &fabric->pools[i]);
		if (!is_stored(image, config_pool_key(i, key), same))
			result = put_pool(draft, &fabric->pools[i], i);
	}
	for (size_t i = fabric->pool_count; i < MODEL_MAX_POOLS && result == 0; i++) {
		uint64_t revision = image_record_revision(image, config_pool_key(i, key));
		if (revision)
			result = draft_remove(draft, key, revision);
	}
	return too_large(result, "fabric", fabric->name, err);
}

int publication_put_site(struct change_draft *draft, const struct site *site, struct error *err)
{
	const struct fabric *now = draft->image->fabric;
	const struct site *was = now ? fabric_site(now, site->name) : NULL;
	char key[RECORD_KEY_BYTES];
	struct buffer value;
	if (is_stored(draft->image, config_site_key(site->name, key), was && site_equal(was, site)))
		return 0;
	buffer_init(&value, STORE_VALUE_BYTES);
	return too_large(put_value(draft, key, config_site_put(site, &value), &value), "site",
			 site->name, err);
}

int publication_put_config(struct change_draft *draft, const struct service *service,
			   struct error *err)
{
	const struct image_service *known = image_service(draft->image, service->name);
	char key[RECORD_KEY_BYTES];
	struct buffer value;
	if (known && known->config && service_equal(known->config, service))
		return 0;
	buffer_init(&value, STORE_VALUE_BYTES);
	return too_large(put_value(draft, config_service_key(service->name, key),
				   config_service_put(service, &value), &value),
			 "service", service->name, err);
}

/* --- placement --- */

int publication_put_pools(struct change_draft *draft, const struct placement *placement)
{
	const struct image *image = draft->image;
	const struct placement *was = image->placement;
	uint8_t held = placement_held_pools(image->states, image->state_count);
	int result = 0;
	for (size_t i = 0; i < placement->pool_count && result == 0; i++) {
		const struct placed_pool *old = was && i < was->pool_count ? &was->pools[i] : NULL;
		bool same_shape = old && pool_equal(&old->pool, &placement->pools[i].pool);
		const struct placed_pool_record record = {
		    .placed = placement->pools[i],
		    .held = held >> i & 1,
		    .since = same_shape ? image_pool_since(image, i) : draft->sequence};
		char key[RECORD_KEY_BYTES];
		struct buffer value;
		if (is_stored(image, placed_pool_key(i, key),
			      same_shape && old->removed == record.placed.removed))
			continue;
		buffer_init(&value, STORE_VALUE_BYTES);
		result = put_value(draft, key, placed_pool_put(&record, &value), &value);
	}
	return result;
}

int publication_put_placed_site(struct change_draft *draft, const struct placement *placement,
				size_t number)
{
	const struct placement *was = draft->image->placement;
	const char *name = placement->sites[number];
	char key[RECORD_KEY_BYTES];
	struct buffer value;
	if (is_stored(draft->image, placed_site_key(number, key),
		      was && number < was->site_count && strcmp(was->sites[number], name) == 0))
		return 0;
	buffer_init(&value, STORE_VALUE_BYTES);
	return put_value(draft, key, placed_site_put(name, &value), &value);
}

int publication_put_slot(struct change_draft *draft, const struct placement *placement,
			 const struct placed_slot *slot)
{
	struct freed_slot_record record = {.slot = *slot};
	char key[RECORD_KEY_BYTES];
	struct buffer value;
	/* What freed the slot is in the record: one that is there and was not freed now is the
	 * same. */
	if (is_stored(draft->image, freed_slot_key(slot->pool, slot->slot, key),
		      slot->sequence != draft->sequence))
		return 0;
	if (slot->service < placement->service_count)
		snprintf(record.service, sizeof(record.service), "%s",
			 placement->services[slot->service]);
	buffer_init(&value, STORE_VALUE_BYTES);
	return put_value(draft, key, freed_slot_put(&record, &value), &value);
}

int publication_put_freed(struct change_draft *draft, const struct placement *placement)
{
	int result = 0;
	for (size_t i = 0; i < placement->used_slot_count && result == 0; i++) {
		if (placement->used_slots[i].sequence == draft->sequence)
			result = publication_put_slot(draft, placement, &placement->used_slots[i]);
	}
	return result;
}
