/* SPDX-License-Identifier: Apache-2.0 */
#include "state/apply.h"

#include "config/config.h"
#include "state/config_records.h"
#include "state/publication.h"
#include "state/records.h"

#include <stdlib.h>
#include <string.h>

#define PART_NOTE_BYTES (512u << 10) /* of the entry, beside the records */

enum step { STEP_FABRIC, STEP_SITES, STEP_SERVICES, STEP_SITES_GONE, STEP_END };

/* --- working it out --- */

/* Does the file speak of what is not understood here? It has no words for what it does not know of,
 * so any unread record of a known kind would be changed, or cannot be compared. */
static int check_read(const struct image *image, struct error *err)
{
	static const char *const PREFIXES[] = {"config/", "service/", "version/"};
	char text[IMAGE_UNREAD_TEXT];
	for (size_t i = 0; i < image->unread_count; i++) {
		const struct image_unread *unread = &image->unread[i];
		for (size_t p = 0; unread->reads && p < sizeof(PREFIXES) / sizeof(PREFIXES[0]);
		     p++) {
			if (strncmp(unread->key, PREFIXES[p], strlen(PREFIXES[p])) == 0)
				return error_set(
				    err, -FL_EUNSUPPORTED,
				    "what the file would change is not known here: %s; give the "
				    "order on a node with a newer release, or upgrade this one",
				    image_unread_text(unread, text));
		}
	}
	return 0;
}

static bool is_live(const struct image_service *known)
{
	return known && known->state && !known->state->removed;
}

/* Has the newest version an address of its own in a pool that the file does not have? */
static bool stands_in_the_way(const struct image *image, const struct service_state *state,
			      const struct fabric *fabric)
{
	for (size_t i = 0; i < state->binding_count; i++) {
		const struct binding *binding = &state->bindings[i];
		const struct ip_prefix *prefix =
		    &image->placement->pools[binding->pool].pool.prefix;
		bool is_in_the_file = false;
		if (binding->is_late || binding->version != state->rollout.target)
			continue;
		for (size_t p = 0; p < fabric->pool_count && !is_in_the_file; p++)
			is_in_the_file = ip_prefix_equal(&fabric->pools[p].prefix, prefix);
		if (!is_in_the_file)
			return true;
	}
	return false;
}

static bool needs_version(const struct image *image, const struct image_service *known,
			  const struct fabric *fabric, const struct service *service)
{
	if (!is_live(known))
		return true;
	const struct version *newest = image_version(known, known->state->rollout.target);
	return !newest || !version_matches(newest, fabric, service) ||
	       stands_in_the_way(image, known->state, fabric);
}

size_t apply_wants(const struct image *image, const struct fabric *fabric, const char **ret_names)
{
	size_t count = 0;
	for (size_t i = 0; i < fabric->service_count; i++) {
		const struct service *service = &fabric->services[i];
		if (needs_version(image, image_service(image, service->name), fabric, service))
			ret_names[count++] = service->name;
	}
	return count;
}

static int encode(struct apply_item *item, struct error *err)
{
	int result = record_version_put(item->version, &item->record);
	if (result == -FL_ELIMIT)
		return error_set(err, result,
				 "service %s: its next version is larger than the store's limit of "
				 "%u bytes a value: it has too many backends or sites",
				 item->name, STORE_VALUE_BYTES);
	return result;
}

/* The next version, its slots, and its place in `future`, for which it is put into a state that
 * lives in `scratch`. */
static int prepare_version(struct apply *apply, const struct image *image,
			   const struct image_service *known, struct apply_item *item,
			   struct future_states *future, const struct publication_moment *moment,
			   struct arena *scratch, struct error *err)
{
	static const uint8_t NO_SALT[16];
	int result = publication_build(image, apply->fabric, item->service, known, moment->random,
				       &item->arena, &item->version, err);
	if (result < 0)
		return result;
	item->number = item->version->number;
	item->digest = item->version->digest;
	result = encode(item, err);
	if (result < 0)
		return result;
	uint32_t index = known && known->state ? known->state->index
					       : placement_service(apply->placement, item->name);
	result = publication_choose_slots(image, apply->fabric, apply->placement, index, future,
					  moment, item->bindings, &item->binding_count, err);
	if (result < 0)
		return error_prefix(err, "service %s", item->name);
	struct service_state *state = publication_state(image, known, item->name, index, scratch);
	if (!state)
		return -ENOMEM;
	result =
	    lifecycle_publish(state, item->version, item->bindings, item->binding_count, NO_SALT,
			      image->head.sequence + 1, moment->wall_ms, scratch, err);
	if (result == 0)
		future_states_set(future, state);
	return result;
}

static int prepare_config(const struct image_service *known, struct apply_item *item,
			  struct error *err)
{
	if (known && known->config && service_equal(known->config, item->service))
		return 0;
	int result = config_service_put(item->service, &item->config);
	if (result == -FL_ELIMIT)
		return error_set(err, result,
				 "the configuration of service %s is larger than the store's limit "
				 "of %u bytes a record",
				 item->name, STORE_VALUE_BYTES);
	return result;
}

static struct apply_item *add_item(struct apply *apply, const char *name,
				   const struct service *service)
{
	struct apply_item *item = &apply->items[apply->item_count++];
	*item = (struct apply_item){.name = name, .service = service};
	arena_init(&item->arena, 0);
	buffer_init(&item->record, STORE_VALUE_BYTES);
	buffer_init(&item->config, STORE_VALUE_BYTES);
	return item;
}

static int prepare_services(struct apply *apply, const struct image *image,
			    const struct publication_moment *moment, struct arena *scratch,
			    struct error *err)
{
	const struct fabric *fabric = apply->fabric;
	struct future_states future;
	int result = future_states_init(&future, image, fabric->service_count, scratch);
	for (size_t i = 0; i < fabric->service_count && result == 0; i++) {
		const struct service *service = &fabric->services[i];
		const struct image_service *known = image_service(image, service->name);
		bool is_new = needs_version(image, known, fabric, service);
		if (!is_new && known->config && service_equal(known->config, service))
			continue;
		struct apply_item *item = add_item(apply, service->name, service);
		result = prepare_config(known, item, err);
		if (result == 0 && is_new) {
			result = prepare_version(apply, image, known, item, &future, moment,
						 scratch, err);
			apply->next[i] = item->version;
		}
	}
	return result;
}

static int prepare_removals(struct apply *apply, const struct image *image)
{
	for (size_t i = 0; i < image->service_count; i++) {
		const struct image_service *known = image->services[i];
		if ((!is_live(known) && !known->config) ||
		    fabric_service(apply->fabric, known->name))
			continue;
		/* The image may forget the name before the last part. */
		const char *name = arena_strdup(&apply->arena, known->name);
		if (!name)
			return -ENOMEM;
		add_item(apply, name, NULL);
	}
	return 0;
}

/* The addresses of a pool that leaves mean versions until its last slot is free. */
static int check_leaving_pools(const struct apply *apply, const struct image *image,
			       struct error *err)
{
	uint8_t held = placement_held_pools(image->states, image->state_count);
	for (size_t i = 0; i < apply->placement->pool_count; i++) {
		const struct placed_pool *placed = &apply->placement->pools[i];
		char text[IP_TEXT_BYTES];
		const char *name = placed->removed && held >> i & 1
				       ? config_record_within(apply->fabric, &placed->pool.prefix)
				       : NULL;
		if (!name)
			continue;
		ip_prefix_format(&placed->pool.prefix, text);
		return error_set(err, -FL_ESTATE,
				 "record `%s` names an address of pool %s, which is leaving, and "
				 "where versions still are: apply this when `fairlead get pools` "
				 "lists %s no more",
				 name, text, text);
	}
	return 0;
}

int apply_new(const struct image *image, const struct fabric *fabric,
	      const struct publication_moment *moment, struct apply **ret_apply, struct error *err)
{
	struct apply *apply = calloc(1, sizeof(*apply));
	struct arena scratch;
	size_t most = fabric->service_count + image->service_count;
	if (!apply)
		return -ENOMEM;
	apply->fabric = fabric;
	arena_init(&apply->arena, 0);
	arena_init(&scratch, 0);
	int result = check_read(image, err);
	if (result < 0)
		goto fail;
	result = placement_update(image->placement, fabric, image->states, image->state_count,
				  &apply->arena, &apply->placement, err);
	if (result == 0)
		result = check_leaving_pools(apply, image, err);
	if (result < 0)
		goto fail;
	result = -ENOMEM;
	apply->items = calloc(most + 1, sizeof(*apply->items));
	apply->part = calloc(most + 1, sizeof(struct apply_item *));
	apply->next = calloc(fabric->service_count + 1, sizeof(const struct version *));
	if (!apply->items || !apply->part || !apply->next)
		goto fail;
	result = prepare_services(apply, image, moment, &scratch, err);
	if (result == 0)
		result = prepare_removals(apply, image);
	if (result < 0)
		goto fail;
	arena_done(&scratch);
	*ret_apply = apply;
	return 0;
fail:
	arena_done(&scratch);
	apply_free(apply);
	return result;
}

void apply_planned(struct apply *apply)
{
	for (size_t i = 0; i < apply->item_count; i++) {
		arena_done(&apply->items[i].arena);
		apply->items[i].version = NULL;
	}
	free(apply->next);
	apply->next = NULL;
}

void apply_free(struct apply *apply)
{
	if (!apply)
		return;
	apply_planned(apply);
	for (size_t i = 0; i < apply->item_count; i++) {
		buffer_done(&apply->items[i].record);
		buffer_done(&apply->items[i].config);
	}
	free(apply->items);
	free(apply->part);
	arena_done(&apply->arena);
	free(apply);
}

/* --- parts --- */

static bool is_held(const struct image *image, const struct binding *wanted)
{
	for (size_t i = 0; i < image->state_count; i++) {
		const struct service_state *state = image->states[i];
		for (size_t b = 0; b < state->binding_count; b++) {
			if (state->bindings[b].pool == wanted->pool &&
			    state->bindings[b].slot == wanted->slot)
				return true;
		}
	}
	return false;
}

static int stale(const struct apply_item *item, struct error *err)
{
	return error_set(err, -FL_ECONFLICT, "service %s was changed by another order meanwhile",
			 item->name);
}

static int put_version(struct apply *apply, struct change_draft *draft, struct apply_item *item,
		       struct error *err)
{
	const struct image *image = draft->image;
	const struct image_service *known = image_service(image, item->name);
	uint32_t index = known && known->state ? known->state->index
					       : placement_service(apply->placement, item->name);
	struct service_state *state =
	    publication_state(image, known, item->name, index, &draft->arena);
	if (!state)
		return -ENOMEM;
	for (size_t i = 0; i < item->binding_count; i++) {
		if (is_held(image, &item->bindings[i]))
			return stale(item, err);
	}
	const struct version head = {
	    .service = item->name, .number = item->number, .digest = item->digest};
	if (state->next_version != item->number)
		return stale(item, err);
	int result =
	    publication_take_place(draft, state, &head, item->bindings, item->binding_count, err);
	if (result == 0)
		result = publication_put_version(draft, item->name, item->number, &item->record);
	return result == 0 ? publication_put_state(draft, state) : result;
}

static int put_removal(struct change_draft *draft, const struct apply_item *item)
{
	const struct image_service *known = image_service(draft->image, item->name);
	char key[RECORD_KEY_BYTES];
	int result = 0;
	if (is_live(known)) {
		struct service_state *state = service_state_copy(known->state, &draft->arena);
		result = state ? lifecycle_remove(state, draft->sequence, draft->wall_ms) : -ENOMEM;
		if (result == 0)
			result = publication_put_state(draft, state);
		if (result == 0)
			result = publication_put_ended(draft, state, draft->sequence);
	}
	if (result == 0 && known && known->config)
		result = draft_remove(draft, config_service_key(item->name, key),
				      known->config_revision);
	return result;
}

static int put_item(struct apply *apply, struct change_draft *draft, struct apply_item *item,
		    struct error *err)
{
	char key[RECORD_KEY_BYTES];
	int result = 0;
	if (!item->service)
		return put_removal(draft, item);
	if (item->number)
		result = put_version(apply, draft, item, err);
	if (result < 0 || !item->config.length)
		return result;
	config_service_key(item->name, key);
	return draft_put(draft, key, image_record_revision(draft->image, key), &item->config);
}

static int put_site(struct apply *apply, struct change_draft *draft, size_t place,
		    struct error *err)
{
	const struct site *site = &apply->fabric->sites[place];
	int result = publication_put_site(draft, site, err);
	return result < 0
		   ? result
		   : publication_put_placed_site(draft, apply->placement,
						 placement_site(apply->placement, site->name));
}

static int put_site_gone(struct apply *apply, struct change_draft *draft, size_t place)
{
	char key[RECORD_KEY_BYTES];
	const struct site *site = &draft->image->fabric->sites[place];
	if (fabric_site(apply->fabric, site->name))
		return 0;
	config_site_key(site->name, key);
	return draft_remove(draft, key, image_record_revision(draft->image, key));
}

static size_t step_length(const struct apply *apply, const struct image *image, enum step step)
{
	switch (step) {
	case STEP_FABRIC:
		return 1;
	case STEP_SITES:
		return apply->fabric->site_count;
	case STEP_SERVICES:
		return apply->item_count;
	case STEP_SITES_GONE:
		return image->fabric ? image->fabric->site_count : 0;
	case STEP_END:
		break;
	}
	return 0;
}

static int put_one(struct apply *apply, struct change_draft *draft, struct error *err)
{
	size_t index = apply->after.index;
	int result = 0;
	switch ((enum step)apply->after.step) {
	case STEP_FABRIC:
		result = publication_put_fabric(draft, apply->fabric, err);
		return result < 0 ? result : publication_put_pools(draft, apply->placement);
	case STEP_SITES:
		return put_site(apply, draft, index, err);
	case STEP_SERVICES:
		return put_item(apply, draft, &apply->items[index], err);
	case STEP_SITES_GONE:
		return put_site_gone(apply, draft, index);
	case STEP_END:
		break;
	}
	return 0;
}

int apply_part(struct apply *apply, struct change_draft *draft, struct error *err)
{
	size_t notes = 0;
	apply->part_count = 0;
	apply->after = apply->at;
	apply->more = false;
	while (apply->after.step < STEP_END) {
		size_t ops = draft->op_count, compares = draft->compare_count;
		size_t bytes = draft->bytes;
		if (apply->after.index >=
		    step_length(apply, draft->image, (enum step)apply->after.step)) {
			apply->after = (struct apply_place){.step = apply->after.step + 1};
			continue;
		}
		struct apply_item *item =
		    apply->after.step == STEP_SERVICES ? &apply->items[apply->after.index] : NULL;
		int result = put_one(apply, draft, err);
		/* Of sites the entry says what they were and are, which is about as much. */
		notes += item ? item->note_bytes : 2 * (draft->bytes - bytes);
		bool is_full =
		    result == -FL_ELIMIT ||
		    (result == 0 && (draft->bytes > CHANGE_MAX_BYTES || notes > PART_NOTE_BYTES));
		if (is_full && ops) {
			/* It is the first of the next part. */
			draft->op_count = ops;
			draft->compare_count = compares;
			draft->bytes = bytes;
			apply->more = true;
			break;
		}
		if (result < 0)
			return result;
		if (item)
			apply->part[apply->part_count++] = item;
		apply->after.index++;
	}
	return draft->op_count ? CHANGE_COMMIT : CHANGE_NOTHING;
}

void apply_part_committed(struct apply *apply)
{
	apply->at = apply->after;
	/* The sites that are gone by now are not in the image's list any more. */
	if (apply->at.step == STEP_SITES_GONE)
		apply->at.index = 0;
}
