/* SPDX-License-Identifier: Apache-2.0 */
#include "state/image_pieces.h"

#include "base/search.h"
#include "config/config.h"
#include "state/config_records.h"
#include "state/placement_records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_SERVICE_NUMBERS (1u << 20)
#define PLACED_SITES 256u /* as many as eight bits number */

struct site_piece {
	struct arena arena;
	char name[MODEL_NAME_BYTES];
	struct site site;
	uint64_t revision;
};

struct freed_piece {
	struct freed_slot_record record;
	uint64_t revision;
};

/* Revision 0: there is no such record, or it is unread. */
struct image_pieces {
	struct {
		struct arena arena;
		struct fabric names; /* name, zone and name servers */
		uint64_t revision;
	} fabric;
	struct {
		uint64_t ms, revision;
	} settings[CONFIG_SETTINGS];
	struct {
		struct pool pool;
		uint64_t revision;
	} pools[MODEL_MAX_POOLS];
	struct site_piece **sites; /* by name */
	size_t site_count;
	struct {
		struct placed_pool_record record;
		uint64_t revision;
	} placed_pools[MODEL_MAX_POOLS];
	struct {
		char name[MODEL_NAME_BYTES];
		uint64_t revision;
	} placed_sites[PLACED_SITES];
	struct {
		struct arena arena;
		struct placement_recovery recovery;
		uint64_t revision;
	} recovered;
	struct freed_piece *freed; /* by pool and slot */
	size_t freed_count;
	size_t freed_room;

	struct {
		struct arena arena;
		struct fabric *fabric; /* NULL: there is none of the first release */
		uint64_t revision;
	} old_config;
	struct {
		struct arena arena;
		struct placement *placement;
		uint64_t revision;
	} old_placement;

	bool config_moved; /* since the last settling */
	bool placement_moved;
	bool numbers_moved; /* of services only */
	struct arena fabric_arena; /* of what is assembled */
	struct arena placement_arena;
};

int image_pieces_new(struct image_pieces **ret_pieces)
{
	struct image_pieces *pieces = calloc(1, sizeof(*pieces));
	if (!pieces)
		return -ENOMEM;
	*ret_pieces = pieces;
	return 0;
}

static void site_piece_free(struct site_piece *piece)
{
	arena_done(&piece->arena);
	free(piece);
}

void image_pieces_free(struct image_pieces *pieces)
{
	if (!pieces)
		return;
	for (size_t i = 0; i < pieces->site_count; i++)
		site_piece_free(pieces->sites[i]);
	free(pieces->sites);
	free(pieces->freed);
	arena_done(&pieces->fabric.arena);
	arena_done(&pieces->old_config.arena);
	arena_done(&pieces->old_placement.arena);
	arena_done(&pieces->recovered.arena);
	arena_done(&pieces->fabric_arena);
	arena_done(&pieces->placement_arena);
	free(pieces);
}

static int bad_key(const char *key, struct error *err)
{
	return error_set(err, -FL_ECORRUPT, "the store's key %s names nothing", key);
}

/* --- the configuration --- */

static int take_fabric(struct image_pieces *pieces, const struct store_record *record,
		       struct error *err)
{
	struct arena arena;
	struct fabric names = {0};
	arena_init(&arena, 0);
	int result = config_fabric_parse(record->value, record->value_length, &arena, &names, err);
	if (result < 0) {
		arena_done(&arena);
		return result;
	}
	arena_done(&pieces->fabric.arena);
	pieces->fabric.arena = arena;
	pieces->fabric.names = names;
	pieces->fabric.revision = record->mod_revision;
	return 0;
}

/* The place of a setting, or CONFIG_SETTINGS: a newer release's. */
static size_t setting_place(const char *name)
{
	size_t place = 0;
	while (place < CONFIG_SETTINGS && strcmp(config_settings[place].name, name) != 0)
		place++;
	return place;
}

static int take_setting(struct image_pieces *pieces, const char *name,
			const struct store_record *record, struct error *err)
{
	size_t place = setting_place(name);
	uint64_t ms = 0;
	if (place == CONFIG_SETTINGS)
		return error_set(err, -FL_EUNSUPPORTED, "the setting is unknown");
	int result = config_setting_parse(record->value, record->value_length, &ms, err);
	if (result < 0)
		return result;
	pieces->settings[place].ms = ms;
	pieces->settings[place].revision = record->mod_revision;
	return 0;
}

static int take_pool(struct image_pieces *pieces, const char *rest,
		     const struct store_record *record, struct error *err)
{
	size_t place = 0;
	struct pool pool = {0};
	if (placed_number_parse(rest, 2, MODEL_MAX_POOLS - 1, &place) < 0)
		return bad_key(record->key, err);
	int result = config_pool_parse(record->value, record->value_length, &pool, err);
	if (result < 0)
		return result;
	pieces->pools[place].pool = pool;
	pieces->pools[place].revision = record->mod_revision;
	return 0;
}

static int compare_site(const void *sites, size_t place, const void *name)
{
	struct site_piece *const *list = sites;
	return strcmp(list[place]->name, name);
}

static size_t site_place(const struct image_pieces *pieces, const char *name, bool *ret_found)
{
	return search_place(pieces->sites, pieces->site_count, name, compare_site, ret_found);
}

static int take_site(struct image_pieces *pieces, const char *name,
		     const struct store_record *record, struct error *err)
{
	bool found = false;
	if (!*name || strlen(name) >= MODEL_NAME_BYTES)
		return bad_key(record->key, err);
	size_t place = site_place(pieces, name, &found);
	struct site_piece *piece = calloc(1, sizeof(*piece));
	struct site_piece **sites =
	    realloc(pieces->sites, (pieces->site_count + 1) * sizeof(struct site_piece *));
	if (sites)
		pieces->sites = sites;
	if (!piece || !sites) {
		free(piece);
		return -ENOMEM;
	}
	snprintf(piece->name, sizeof(piece->name), "%s", name);
	piece->revision = record->mod_revision;
	int result = config_site_parse(record->value, record->value_length, piece->name,
				       &piece->arena, &piece->site, err);
	if (result < 0) {
		site_piece_free(piece);
		return result;
	}
	if (found) {
		site_piece_free(sites[place]);
	} else {
		memmove(sites + place + 1, sites + place,
			(pieces->site_count - place) * sizeof(struct site_piece *));
		pieces->site_count++;
	}
	sites[place] = piece;
	return 0;
}

static void drop_site(struct image_pieces *pieces, const char *name)
{
	bool found = false;
	size_t place = site_place(pieces, name, &found);
	if (!found)
		return;
	site_piece_free(pieces->sites[place]);
	pieces->site_count--;
	memmove(pieces->sites + place, pieces->sites + place + 1,
		(pieces->site_count - place) * sizeof(struct site_piece *));
}

int image_pieces_take_service(struct image *image, struct image_service *service,
			      const struct store_record *record, struct error *err)
{
	struct arena arena;
	struct service *config = NULL;
	arena_init(&arena, 0);
	if (record) {
		config = arena_alloc(&arena, sizeof(*config));
		int result = config ? config_service_parse(record->value, record->value_length,
							   service->name, &arena, config, err)
				    : -ENOMEM;
		if (result < 0) {
			arena_done(&arena);
			return result;
		}
	}
	arena_done(&service->config_arena);
	service->config_arena = arena;
	service->config = config;
	service->config_revision = record ? record->mod_revision : 0;
	image->pieces->config_moved = true;
	return 0;
}

/* The file that the first release kept. */
static int take_old_config(struct image_pieces *pieces, const struct store_record *record,
			   struct error *err)
{
	struct arena arena;
	struct fabric *fabric;
	arena_init(&arena, 0);
	int result = config_read(record->value, record->value_length, "the stored configuration",
				 &arena, &fabric, NULL, err);
	if (result < 0) {
		arena_done(&arena);
		return result;
	}
	arena_done(&pieces->old_config.arena);
	pieces->old_config.arena = arena;
	pieces->old_config.fabric = fabric;
	pieces->old_config.revision = record->mod_revision;
	return 0;
}

/* --- the placement --- */

static int take_old_placement(struct image_pieces *pieces, const struct store_record *record,
			      struct error *err)
{
	struct arena arena;
	struct placement *placement;
	arena_init(&arena, 0);
	int result =
	    old_placement_parse(record->value, record->value_length, &arena, &placement, err);
	if (result < 0) {
		arena_done(&arena);
		return result;
	}
	arena_done(&pieces->old_placement.arena);
	pieces->old_placement.arena = arena;
	pieces->old_placement.placement = placement;
	pieces->old_placement.revision = record->mod_revision;
	return 0;
}

static int take_placed_pool(struct image_pieces *pieces, const char *rest,
			    const struct store_record *record, struct error *err)
{
	size_t number = 0;
	struct placed_pool_record pool = {0};
	if (placed_number_parse(rest, 2, MODEL_MAX_POOLS - 1, &number) < 0)
		return bad_key(record->key, err);
	int result = placed_pool_parse(record->value, record->value_length, &pool, err);
	if (result < 0)
		return result;
	pieces->placed_pools[number].record = pool;
	pieces->placed_pools[number].revision = record->mod_revision;
	return 0;
}

static int take_placed_site(struct image_pieces *pieces, const char *rest,
			    const struct store_record *record, struct error *err)
{
	size_t number = 0;
	if (placed_number_parse(rest, 3, PLACED_SITES - 1, &number) < 0)
		return bad_key(record->key, err);
	int result = placed_site_parse(record->value, record->value_length,
				       pieces->placed_sites[number].name, err);
	if (result == 0)
		pieces->placed_sites[number].revision = record->mod_revision;
	return result;
}

static int take_recovered(struct image_pieces *pieces, const struct store_record *record,
			  struct error *err)
{
	struct arena arena;
	struct placement_recovery recovery;
	arena_init(&arena, 0);
	int result = recovered_parse(record->value, record->value_length, &arena, &recovery, err);
	if (result < 0) {
		arena_done(&arena);
		return result;
	}
	arena_done(&pieces->recovered.arena);
	pieces->recovered.arena = arena;
	pieces->recovered.recovery = recovery;
	pieces->recovered.revision = record->mod_revision;
	return 0;
}

static int compare_freed(const void *freed, size_t place, const void *slot)
{
	const struct freed_piece *list = freed;
	const struct placed_slot *key = slot;
	const struct placed_slot *one = &list[place].record.slot;
	if (one->pool != key->pool)
		return one->pool < key->pool ? -1 : 1;
	return one->slot < key->slot ? -1 : one->slot > key->slot;
}

static size_t freed_place(const struct image_pieces *pieces, const struct placed_slot *slot,
			  bool *ret_found)
{
	return search_place(pieces->freed, pieces->freed_count, slot, compare_freed, ret_found);
}

static int take_freed(struct image_pieces *pieces, const char *rest,
		      const struct store_record *record, struct error *err)
{
	struct freed_piece piece = {.revision = record->mod_revision};
	struct placed_slot key = {0};
	bool found = false;
	if (freed_slot_key_parse(rest, &key.pool, &key.slot) < 0)
		return bad_key(record->key, err);
	int result = freed_slot_parse(record->value, record->value_length, &piece.record, err);
	if (result < 0)
		return result;
	piece.record.slot.pool = key.pool;
	piece.record.slot.slot = key.slot;
	size_t place = freed_place(pieces, &key, &found);
	if (!found && pieces->freed_count == pieces->freed_room) {
		size_t room = 2 * pieces->freed_room + 16;
		struct freed_piece *freed = realloc(pieces->freed, room * sizeof(*freed));
		if (!freed)
			return -ENOMEM;
		pieces->freed = freed;
		pieces->freed_room = room;
	}
	if (!found) {
		memmove(pieces->freed + place + 1, pieces->freed + place,
			(pieces->freed_count - place) * sizeof(*pieces->freed));
		pieces->freed_count++;
	}
	pieces->freed[place] = piece;
	return 0;
}

static void drop_freed(struct image_pieces *pieces, const char *rest)
{
	struct placed_slot key = {0};
	bool found = false;
	if (freed_slot_key_parse(rest, &key.pool, &key.slot) < 0)
		return;
	size_t place = freed_place(pieces, &key, &found);
	if (!found)
		return;
	pieces->freed_count--;
	memmove(pieces->freed + place, pieces->freed + place + 1,
		(pieces->freed_count - place) * sizeof(*pieces->freed));
}

/* --- any of them --- */

static void mark_moved(struct image_pieces *pieces, enum record_type type)
{
	if (type == RECORD_OLD_PLACEMENT || type == RECORD_PLACED_POOL ||
	    type == RECORD_PLACED_SITE || type == RECORD_FREED_SLOT || type == RECORD_RECOVERED)
		pieces->placement_moved = true;
	else
		pieces->config_moved = true;
}

int image_pieces_take(struct image *image, enum record_type type, const struct store_record *record,
		      struct error *err)
{
	struct image_pieces *pieces = image->pieces;
	const char *rest = record_key_rest(record->key, type);
	mark_moved(pieces, type);
	switch ((int)type) {
	case RECORD_OLD_CONFIG:
		return take_old_config(pieces, record, err);
	case RECORD_OLD_PLACEMENT:
		return take_old_placement(pieces, record, err);
	case RECORD_CONFIG_FABRIC:
		return take_fabric(pieces, record, err);
	case RECORD_CONFIG_SETTING:
		return take_setting(pieces, rest, record, err);
	case RECORD_CONFIG_POOL:
		return take_pool(pieces, rest, record, err);
	case RECORD_CONFIG_SITE:
		return take_site(pieces, rest, record, err);
	case RECORD_PLACED_POOL:
		return take_placed_pool(pieces, rest, record, err);
	case RECORD_PLACED_SITE:
		return take_placed_site(pieces, rest, record, err);
	case RECORD_RECOVERED:
		return take_recovered(pieces, record, err);
	default:
		ASSERT(type == RECORD_FREED_SLOT);
		return take_freed(pieces, rest, record, err);
	}
}

void image_pieces_drop(struct image *image, enum record_type type, const char *key)
{
	struct image_pieces *pieces = image->pieces;
	const char *rest = record_key_rest(key, type);
	size_t number = 0;
	mark_moved(pieces, type);
	switch ((int)type) {
	case RECORD_OLD_CONFIG:
		arena_done(&pieces->old_config.arena);
		pieces->old_config.fabric = NULL;
		pieces->old_config.revision = 0;
		break;
	case RECORD_OLD_PLACEMENT:
		arena_done(&pieces->old_placement.arena);
		pieces->old_placement.placement = NULL;
		pieces->old_placement.revision = 0;
		break;
	case RECORD_CONFIG_FABRIC:
		arena_done(&pieces->fabric.arena);
		pieces->fabric.names = (struct fabric){0};
		pieces->fabric.revision = 0;
		break;
	case RECORD_CONFIG_SETTING:
		number = setting_place(rest);
		if (number < CONFIG_SETTINGS)
			pieces->settings[number].revision = 0;
		break;
	case RECORD_CONFIG_POOL:
		if (placed_number_parse(rest, 2, MODEL_MAX_POOLS - 1, &number) == 0)
			pieces->pools[number].revision = 0;
		break;
	case RECORD_CONFIG_SITE:
		drop_site(pieces, rest);
		break;
	case RECORD_PLACED_POOL:
		if (placed_number_parse(rest, 2, MODEL_MAX_POOLS - 1, &number) == 0)
			pieces->placed_pools[number].revision = 0;
		break;
	case RECORD_PLACED_SITE:
		if (placed_number_parse(rest, 3, PLACED_SITES - 1, &number) == 0)
			pieces->placed_sites[number].revision = 0;
		break;
	case RECORD_RECOVERED:
		pieces->recovered.recovery = (struct placement_recovery){0};
		pieces->recovered.revision = 0;
		break;
	default:
		ASSERT(type == RECORD_FREED_SLOT);
		drop_freed(pieces, rest);
	}
}

uint64_t image_pieces_revision(const struct image *image, enum record_type type, const char *key)
{
	const struct image_pieces *pieces = image->pieces;
	const char *rest = record_key_rest(key, type);
	struct placed_slot slot = {0};
	bool found = false;
	size_t number = 0;
	switch ((int)type) {
	case RECORD_OLD_CONFIG:
		return pieces->old_config.revision;
	case RECORD_OLD_PLACEMENT:
		return pieces->old_placement.revision;
	case RECORD_CONFIG_FABRIC:
		return pieces->fabric.revision;
	case RECORD_CONFIG_SETTING:
		number = setting_place(rest);
		return number < CONFIG_SETTINGS ? pieces->settings[number].revision : 0;
	case RECORD_CONFIG_POOL:
		return placed_number_parse(rest, 2, MODEL_MAX_POOLS - 1, &number) == 0
			   ? pieces->pools[number].revision
			   : 0;
	case RECORD_CONFIG_SITE:
		number = site_place(pieces, rest, &found);
		return found ? pieces->sites[number]->revision : 0;
	case RECORD_PLACED_POOL:
		return placed_number_parse(rest, 2, MODEL_MAX_POOLS - 1, &number) == 0
			   ? pieces->placed_pools[number].revision
			   : 0;
	case RECORD_PLACED_SITE:
		return placed_number_parse(rest, 3, PLACED_SITES - 1, &number) == 0
			   ? pieces->placed_sites[number].revision
			   : 0;
	case RECORD_RECOVERED:
		return pieces->recovered.revision;
	case RECORD_FREED_SLOT:
		if (freed_slot_key_parse(rest, &slot.pool, &slot.slot) < 0)
			return 0;
		number = freed_place(pieces, &slot, &found);
		return found ? pieces->freed[number].revision : 0;
	default:
		return 0;
	}
}

uint64_t image_pool_since(const struct image *image, size_t number)
{
	return image->pieces->placed_pools[number].revision
		   ? image->pieces->placed_pools[number].record.since
		   : 0;
}

uint64_t image_old_revision(const struct image *image)
{
	uint64_t config = image->pieces->old_config.revision;
	uint64_t placement = image->pieces->old_placement.revision;
	return config > placement ? config : placement;
}

int image_each_record(const struct image *image, image_record_fn *each, void *context)
{
	const struct image_pieces *pieces = image->pieces;
	char key[RECORD_KEY_BYTES];
	int result = 0;
	if (pieces->fabric.revision)
		result = each(context, config_fabric_key(key), pieces->fabric.revision);
	for (size_t i = 0; i < CONFIG_SETTINGS && result >= 0; i++) {
		if (pieces->settings[i].revision)
			result =
			    each(context, config_setting_key(i, key), pieces->settings[i].revision);
	}
	for (size_t i = 0; i < MODEL_MAX_POOLS && result >= 0; i++) {
		if (pieces->pools[i].revision)
			result = each(context, config_pool_key(i, key), pieces->pools[i].revision);
	}
	for (size_t i = 0; i < MODEL_MAX_POOLS && result >= 0; i++) {
		if (pieces->placed_pools[i].revision)
			result = each(context, placed_pool_key(i, key),
				      pieces->placed_pools[i].revision);
	}
	for (size_t i = 0; i < pieces->site_count && result >= 0; i++)
		result = each(context, config_site_key(pieces->sites[i]->name, key),
			      pieces->sites[i]->revision);
	for (size_t i = 0; i < PLACED_SITES && result >= 0; i++) {
		if (pieces->placed_sites[i].revision)
			result = each(context, placed_site_key(i, key),
				      pieces->placed_sites[i].revision);
	}
	for (size_t i = 0; i < pieces->freed_count && result >= 0; i++) {
		const struct placed_slot *slot = &pieces->freed[i].record.slot;
		result = each(context, freed_slot_key(slot->pool, slot->slot, key),
			      pieces->freed[i].revision);
	}
	for (size_t i = 0; i < image->service_count && result >= 0; i++) {
		if (image->services[i]->config)
			result = each(context, config_service_key(image->services[i]->name, key),
				      image->services[i]->config_revision);
	}
	return result < 0 ? result : 0;
}

void image_pieces_renumber(struct image *image)
{
	image->pieces->numbers_moved = true;
}

/* --- assembly --- */

static void assemble_settings(const struct image_pieces *pieces, struct settings *settings)
{
	for (size_t i = 0; i < CONFIG_SETTINGS; i++)
		*config_setting_of(settings, i) = pieces->settings[i].revision
						      ? pieces->settings[i].ms
						      : config_settings[i].default_ms;
}

/* Shallow copies of what lies in the pieces' own arenas. */
static int fill_fabric(const struct image *image, struct arena *arena, struct fabric *fabric)
{
	const struct image_pieces *pieces = image->pieces;
	*fabric = pieces->fabric.names;
	if (!fabric->name)
		fabric->name = fabric->zone = "";
	assemble_settings(pieces, &fabric->settings);
	fabric->pools = arena_array(arena, MODEL_MAX_POOLS, sizeof(*fabric->pools));
	fabric->sites = arena_array(arena, pieces->site_count + 1, sizeof(*fabric->sites));
	fabric->services = arena_space(arena, (image->service_count + 1) * sizeof(struct service));
	uint32_t *by_name = arena_space(arena, (image->service_count + 1) * sizeof(*by_name));
	if (!fabric->pools || !fabric->sites || !fabric->services || !by_name)
		return -ENOMEM;
	for (size_t i = 0; i < MODEL_MAX_POOLS; i++) {
		if (pieces->pools[i].revision)
			fabric->pools[fabric->pool_count++] = pieces->pools[i].pool;
	}
	for (size_t i = 0; i < pieces->site_count; i++)
		fabric->sites[fabric->site_count++] = pieces->sites[i]->site;
	for (size_t i = 0; i < image->service_count; i++) {
		struct image_service *service = image->services[i];
		service->configured = service->config;
		if (!service->config)
			continue;
		by_name[fabric->service_count] = (uint32_t)fabric->service_count;
		fabric->services[fabric->service_count++] = *service->config;
	}
	fabric->by_name = by_name;
	return 0;
}

static int assemble_fabric(struct image *image)
{
	struct image_pieces *pieces = image->pieces;
	const struct fabric *old = pieces->old_config.fabric;
	if (old) {
		image->fabric = old;
		for (size_t i = 0; i < image->service_count; i++)
			image->services[i]->configured =
			    fabric_service(old, image->services[i]->name);
		return 0;
	}
	struct arena arena;
	arena_init(&arena, 0);
	struct fabric *fabric = arena_alloc(&arena, sizeof(*fabric));
	int result = fabric ? fill_fabric(image, &arena, fabric) : -ENOMEM;
	if (result < 0) {
		arena_done(&arena);
		return result;
	}
	arena_done(&pieces->fabric_arena);
	pieces->fabric_arena = arena;
	char key[RECORD_KEY_BYTES];
	bool exists = pieces->fabric.revision || image_unread(image, config_fabric_key(key));
	image->fabric = exists ? fabric : NULL;
	return 0;
}

static int fill_numbers(const struct image *image, struct arena *arena, struct placement *placement,
			struct error *err)
{
	uint32_t most = 0;
	for (size_t i = 0; i < image->service_count; i++) {
		const struct service_state *state = image->services[i]->state;
		if (state && state->index >= most)
			most = state->index + 1;
	}
	if (most > MOST_SERVICE_NUMBERS)
		return error_set(err, -FL_ECORRUPT, "a service has a number that is too large");
	placement->services = arena_array(arena, most + 1, sizeof(*placement->services));
	if (!placement->services)
		return -ENOMEM;
	placement->service_count = most;
	for (size_t i = 0; i < most; i++)
		placement->services[i] = "";
	for (size_t i = 0; i < image->service_count; i++) {
		const struct image_service *service = image->services[i];
		if (!service->state)
			continue;
		const char **name = &placement->services[service->state->index];
		if (**name)
			return error_set(err, -FL_ECORRUPT,
					 "the services %s and %s have the same number: a record "
					 "was changed by another hand",
					 *name, service->name);
		*name = service->name;
	}
	return 0;
}

static int fill_slots(const struct image *image, struct arena *arena, struct placement *placement)
{
	const struct image_pieces *pieces = image->pieces;
	placement->used_slots =
	    arena_space(arena, (pieces->freed_count + 1) * sizeof(*placement->used_slots));
	if (!placement->used_slots)
		return -ENOMEM;
	for (size_t i = 0; i < pieces->freed_count; i++) {
		const struct freed_slot_record *freed = &pieces->freed[i].record;
		const struct image_service *holder = image_service(image, freed->service);
		struct placed_slot *slot = &placement->used_slots[placement->used_slot_count];
		if (freed->slot.pool >= placement->pool_count ||
		    freed->slot.sequence < pieces->placed_pools[freed->slot.pool].record.since)
			continue;
		*slot = freed->slot;
		slot->service =
		    holder && holder->state ? holder->state->index : PLACEMENT_NO_SERVICE;
		placement->used_slot_count++;
	}
	return 0;
}

static int fill_placement(const struct image *image, struct arena *arena,
			  struct placement *placement, struct error *err)
{
	const struct image_pieces *pieces = image->pieces;
	while (placement->pool_count < MODEL_MAX_POOLS &&
	       pieces->placed_pools[placement->pool_count].revision)
		placement->pool_count++;
	while (placement->site_count < PLACED_SITES &&
	       pieces->placed_sites[placement->site_count].revision)
		placement->site_count++;
	placement->pools = arena_array(arena, MODEL_MAX_POOLS, sizeof(*placement->pools));
	placement->sites = arena_array(arena, placement->site_count + 1, sizeof(*placement->sites));
	if (!placement->pools || !placement->sites)
		return -ENOMEM;
	for (size_t i = 0; i < placement->pool_count; i++)
		placement->pools[i] = pieces->placed_pools[i].record.placed;
	for (size_t i = 0; i < placement->site_count; i++)
		placement->sites[i] = pieces->placed_sites[i].name;
	placement->recovery = pieces->recovered.recovery;
	int result = fill_numbers(image, arena, placement, err);
	return result < 0 ? result : fill_slots(image, arena, placement);
}

static int assemble_placement(struct image *image, struct error *err)
{
	struct image_pieces *pieces = image->pieces;
	if (pieces->old_config.fabric || pieces->old_placement.placement) {
		image->placement = pieces->old_placement.placement;
		if (image->placement)
			pieces->old_placement.placement->recovery = pieces->recovered.recovery;
		return 0;
	}
	struct arena arena;
	arena_init(&arena, 0);
	struct placement *placement = arena_alloc(&arena, sizeof(*placement));
	int result = placement ? fill_placement(image, &arena, placement, err) : -ENOMEM;
	if (result < 0) {
		arena_done(&arena);
		return result;
	}
	arena_done(&pieces->placement_arena);
	pieces->placement_arena = arena;
	bool exists = placement->pool_count || placement->recovery.sequence ||
		      image_unread_under(image, "placement/pool/");
	image->placement = exists ? placement : NULL;
	return 0;
}

int image_pieces_settle(struct image *image, uint64_t revision, struct error *err)
{
	struct image_pieces *pieces = image->pieces;
	int result = 0;
	/* Whether the old form counts decides both. */
	bool is_old = pieces->old_config.fabric || pieces->old_placement.placement;
	if (is_old != image->is_old)
		pieces->config_moved = pieces->placement_moved = true;
	image->is_old = is_old;
	if (pieces->config_moved)
		result = assemble_fabric(image);
	if (result == 0 && (pieces->placement_moved || pieces->numbers_moved))
		result = assemble_placement(image, err);
	if (result == 0 && pieces->placement_moved)
		image->placement_revision = revision;
	pieces->config_moved = pieces->placement_moved = pieces->numbers_moved = false;
	return result;
}
