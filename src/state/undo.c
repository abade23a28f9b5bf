/* SPDX-License-Identifier: Apache-2.0 */
#include "state/undo.h"

#include "model/fabric.h"
#include "state/config_records.h"
#include "state/record_json.h"
#include "state/records.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNDO_BYTES (448u << 10) /* of an entry, which has other things to say */

/* --- pieces of the configuration --- */

enum piece_kind { PIECE_NONE, PIECE_FABRIC, PIECE_POOL, PIECE_SETTING, PIECE_SITE, PIECE_SERVICE };

/* What one record says: the member that its kind stands for. */
struct piece {
	enum piece_kind kind;
	const char *name; /* of the site, service or setting */
	size_t place; /* of the pool or setting */
	bool is_there;
	struct fabric fabric; /* name, zone, name servers, the zone's settings */
	uint64_t setting_ms;
	struct pool pool;
	struct site site;
	struct service service;
};

/* False: the key is not of the configuration. */
static bool piece_begin(const char *key, struct piece *piece)
{
	enum record_type type = record_type_of(key);
	*piece = (struct piece){.name = type < RECORD_UNKNOWN ? record_key_rest(key, type) : ""};
	if (type == RECORD_CONFIG_POOL) {
		piece->place = strtoul(piece->name, NULL, 10);
		piece->kind = piece->place < MODEL_MAX_POOLS ? PIECE_POOL : PIECE_NONE;
	} else if (type == RECORD_CONFIG_SETTING) {
		while (piece->place < CONFIG_SETTINGS &&
		       strcmp(config_settings[piece->place].name, piece->name) != 0)
			piece->place++;
		piece->kind = piece->place < CONFIG_SETTINGS ? PIECE_SETTING : PIECE_NONE;
	} else {
		piece->kind = type == RECORD_CONFIG_FABRIC    ? PIECE_FABRIC
			      : type == RECORD_CONFIG_SITE    ? PIECE_SITE
			      : type == RECORD_CONFIG_SERVICE ? PIECE_SERVICE
							      : PIECE_NONE;
	}
	return piece->kind != PIECE_NONE;
}

/* As the image shows it. */
static bool piece_present(const struct image *image, const char *key, struct piece *piece)
{
	const struct fabric *fabric = image->fabric;
	if (!piece_begin(key, piece))
		return false;
	piece->is_there = fabric && image_record_revision(image, key);
	if (!piece->is_there)
		return true;
	struct settings settings = fabric->settings;
	switch (piece->kind) {
	case PIECE_POOL:
		piece->is_there = piece->place < fabric->pool_count;
		if (piece->is_there)
			piece->pool = fabric->pools[piece->place];
		break;
	case PIECE_SETTING:
		piece->setting_ms = *config_setting_of(&settings, piece->place);
		break;
	case PIECE_SITE:
		piece->is_there = fabric_site(fabric, piece->name);
		if (piece->is_there)
			piece->site = *fabric_site(fabric, piece->name);
		break;
	case PIECE_SERVICE:
		piece->is_there = fabric_service(fabric, piece->name);
		if (piece->is_there)
			piece->service = *fabric_service(fabric, piece->name);
		break;
	case PIECE_FABRIC:
	case PIECE_NONE:
		piece->fabric = *fabric;
		break;
	}
	return true;
}

static int piece_put(const struct piece *piece, struct buffer *value)
{
	if (!piece->is_there)
		return 0;
	switch (piece->kind) {
	case PIECE_POOL:
		return config_pool_put(&piece->pool, value);
	case PIECE_SETTING:
		return config_setting_put(piece->setting_ms, value);
	case PIECE_SITE:
		return config_site_put(&piece->site, value);
	case PIECE_SERVICE:
		return config_service_put(&piece->service, value);
	case PIECE_FABRIC:
	case PIECE_NONE:
		break;
	}
	return config_fabric_put(&piece->fabric, value);
}

/* As an entry says: null for a record that is not there. */
static int piece_read(const char *key, const json_t *json, struct arena *arena, struct piece *piece,
		      struct error *err)
{
	size_t length = json_is_object(json) ? json_dumpb(json, NULL, 0, JSON_COMPACT) : 0;
	char *value = arena_alloc(arena, length + 1);
	const char *kept = arena_strdup(arena, key);
	if (!value || !kept)
		return -ENOMEM;
	if (!piece_begin(kept, piece) || (!length && !json_is_null(json)))
		return error_set(err, -FL_ECORRUPT, "the entry says of \"%s\" what cannot be", key);
	piece->is_there = length;
	if (!length)
		return 0;
	if (json_dumpb(json, value, length, JSON_COMPACT | JSON_SORT_KEYS) != length)
		return -ENOMEM;
	switch (piece->kind) {
	case PIECE_POOL:
		return config_pool_parse(value, length, &piece->pool, err);
	case PIECE_SETTING:
		return config_setting_parse(value, length, &piece->setting_ms, err);
	case PIECE_SITE:
		return config_site_parse(value, length, piece->name, arena, &piece->site, err);
	case PIECE_SERVICE:
		return config_service_parse(value, length, piece->name, arena, &piece->service,
					    err);
	case PIECE_FABRIC:
	case PIECE_NONE:
		break;
	}
	return config_fabric_parse(value, length, arena, &piece->fabric, err);
}

/* By what this program would write of both: an earlier one may have written the same otherwise. */
static int piece_equal(const struct piece *a, const struct piece *b, bool *ret_equal)
{
	struct buffer one, other;
	buffer_init(&one, STORE_VALUE_BYTES);
	buffer_init(&other, STORE_VALUE_BYTES);
	int result = piece_put(a, &one);
	if (result == 0)
		result = piece_put(b, &other);
	*ret_equal = one.length == other.length &&
		     (!one.length || memcmp(one.data, other.data, one.length) == 0);
	buffer_done(&one);
	buffer_done(&other);
	return result;
}

/* --- what an entry keeps --- */

static json_t *record_or_null(const char *value, size_t length)
{
	return length ? record_json_load(value, length) : json_null();
}

static int note(const struct image *image, const struct store_op *op, size_t *bytes,
		json_t *changed)
{
	struct piece before;
	struct buffer value;
	if (!piece_present(image, op->key, &before))
		return 0;
	size_t after_length = op->kind == STORE_PUT ? op->value_length : 0;
	buffer_init(&value, STORE_VALUE_BYTES);
	int result = piece_put(&before, &value);
	json_t *json = NULL;
	*bytes += value.length + after_length;
	if (result == 0)
		json = *bytes > UNDO_BYTES
			   ? json_pack("{s:s, s:b}", "key", op->key, "too_large", 1)
			   : json_pack("{s:s, s:o, s:o}", "key", op->key, "before",
				       record_or_null(value.data, value.length), "after",
				       record_or_null(op->value, after_length));
	if (result == 0 && json_array_append_new(changed, json) < 0)
		result = -ENOMEM;
	buffer_done(&value);
	return result;
}

int undo_note(const struct change_draft *draft, json_t **ret_changed)
{
	json_t *changed = json_array();
	size_t bytes = 0;
	int result = changed ? 0 : -ENOMEM;
	for (size_t i = 0; i < draft->op_count && result == 0; i++)
		result = note(draft->image, &draft->ops[i], &bytes, changed);
	if (result < 0)
		json_decref(changed);
	else
		*ret_changed = changed;
	return result;
}

/* --- the way back --- */

struct undoing {
	const struct image *image;
	uint64_t sequence;
	struct arena *arena;
	struct fabric *fabric; /* with room for all that may come back */
	bool has_pool[MODEL_MAX_POOLS];
	struct error *err;
};

/* What a person calls it. */
static const char *piece_words(const struct piece *piece, char text[MODEL_NAME_BYTES + 32])
{
	size_t size = MODEL_NAME_BYTES + 32;
	switch (piece->kind) {
	case PIECE_POOL:
		snprintf(text, size, "pool %zu of the file", piece->place + 1);
		break;
	case PIECE_SETTING:
		snprintf(text, size, "the setting %s", piece->name);
		break;
	case PIECE_SITE:
		snprintf(text, size, "site %s", piece->name);
		break;
	case PIECE_SERVICE:
		snprintf(text, size, "service %s", piece->name);
		break;
	case PIECE_FABRIC:
	case PIECE_NONE:
		snprintf(text, size, "what the fabric and its zone are called");
		break;
	}
	return text;
}

static void service_back(struct fabric *fabric, const struct piece *piece)
{
	size_t at = 0;
	while (at < fabric->service_count && strcmp(fabric->services[at].name, piece->name) != 0)
		at++;
	if (piece->is_there) {
		fabric->services[at] = piece->service;
		fabric->service_count += at == fabric->service_count;
	} else if (at < fabric->service_count) {
		fabric->services[at] = fabric->services[--fabric->service_count];
	}
}

static void site_back(struct fabric *fabric, const struct piece *piece)
{
	size_t at = 0;
	while (at < fabric->site_count && strcmp(fabric->sites[at].name, piece->name) != 0)
		at++;
	if (piece->is_there) {
		fabric->sites[at] = piece->site;
		fabric->site_count += at == fabric->site_count;
	} else if (at < fabric->site_count) {
		fabric->sites[at] = fabric->sites[--fabric->site_count];
	}
}

static int piece_back(struct undoing *undoing, const struct piece *piece)
{
	struct fabric *fabric = undoing->fabric;
	switch (piece->kind) {
	case PIECE_POOL:
		fabric->pools[piece->place] = piece->pool;
		undoing->has_pool[piece->place] = piece->is_there;
		return 0;
	case PIECE_SETTING:
		*config_setting_of(&fabric->settings, piece->place) =
		    piece->is_there ? piece->setting_ms : config_settings[piece->place].default_ms;
		return 0;
	case PIECE_SITE:
		site_back(fabric, piece);
		return 0;
	case PIECE_SERVICE:
		service_back(fabric, piece);
		return 0;
	case PIECE_FABRIC:
	case PIECE_NONE:
		break;
	}
	if (!piece->is_there)
		return error_set(undoing->err, -FL_ESTATE,
				 "entry %" PRIu64 " holds the first configuration: there is none "
				 "before it to go back to",
				 undoing->sequence);
	fabric->name = piece->fabric.name;
	fabric->zone = piece->fabric.zone;
	fabric->nameservers = piece->fabric.nameservers;
	fabric->nameserver_count = piece->fabric.nameserver_count;
	fabric->dns = piece->fabric.dns;
	return 0;
}

static int undo_one(struct undoing *undoing, const json_t *change)
{
	struct piece now, before, after;
	char words[MODEL_NAME_BYTES + 32];
	bool is_before = false;
	bool is_after = false;
	const char *key = json_string_value(json_object_get(change, "key"));
	if (!key || !piece_present(undoing->image, key, &now))
		return error_set(undoing->err, -FL_EUNSUPPORTED,
				 "entry %" PRIu64 " changed what this program does not know of",
				 undoing->sequence);
	piece_words(&now, words);
	if (json_is_true(json_object_get(change, "too_large")))
		return error_set(undoing->err, -FL_ESTATE,
				 "entry %" PRIu64
				 " changed more than an entry keeps, %s too: apply "
				 "a file that says what is to be",
				 undoing->sequence, words);
	int result = piece_read(key, json_object_get(change, "before"), undoing->arena, &before,
				undoing->err);
	if (result == 0)
		result = piece_read(key, json_object_get(change, "after"), undoing->arena, &after,
				    undoing->err);
	if (result == 0)
		result = piece_equal(&now, &before, &is_before);
	if (result == 0)
		result = piece_equal(&now, &after, &is_after);
	if (result < 0 || is_before)
		return result;
	if (is_after)
		return piece_back(undoing, &before);
	return error_set(undoing->err, -FL_ESTATE,
			 "%s was changed again after entry %" PRIu64 ": undo the later entries "
			 "first, which `fairlead log` lists, or apply a file that says what is to "
			 "be",
			 words, undoing->sequence);
}

/* A copy whose lists have room for `more`. */
static int copy_fabric(struct undoing *undoing, size_t more)
{
	const struct fabric *now = undoing->image->fabric;
	struct fabric *copy = arena_alloc(undoing->arena, sizeof(*copy));
	struct pool *pools = arena_array(undoing->arena, MODEL_MAX_POOLS, sizeof(*pools));
	struct site *sites = arena_array(undoing->arena, now->site_count + more, sizeof(*sites));
	struct service *services =
	    arena_array(undoing->arena, now->service_count + more, sizeof(*services));
	if (!copy || !pools || !sites || !services)
		return -ENOMEM;
	*copy = *now;
	copy->pools = pools;
	copy->sites = sites;
	copy->services = services;
	copy->by_name = NULL;
	for (size_t i = 0; i < now->pool_count; i++) {
		pools[i] = now->pools[i];
		undoing->has_pool[i] = true;
	}
	for (size_t i = 0; i < now->site_count; i++)
		sites[i] = now->sites[i];
	for (size_t i = 0; i < now->service_count; i++)
		services[i] = now->services[i];
	undoing->fabric = copy;
	return 0;
}

/* Is it of this service, or of any? */
static bool is_about(const json_t *change, const char *service)
{
	char key[RECORD_KEY_BYTES];
	const char *changed = json_string_value(json_object_get(change, "key"));
	return !service || (changed && strcmp(changed, config_service_key(service, key)) == 0);
}

int undo_fabric(const struct image *image, uint64_t sequence, const json_t *what,
		const char *service, struct arena *arena, struct fabric **ret_fabric,
		struct error *err)
{
	struct undoing undoing = {.image = image, .sequence = sequence, .arena = arena, .err = err};
	const json_t *changed = json_object_get(what, "changed");
	size_t count = json_array_size(changed);
	size_t about = 0;
	for (size_t i = 0; i < count; i++)
		about += is_about(json_array_get(changed, i), service);
	if (!about || !image->fabric)
		return error_set(err, -FL_ESTATE,
				 "entry %" PRIu64 " does not say what it changed%s%s: %s", sequence,
				 service ? " of service " : " of the configuration",
				 service ? service : "",
				 changed ? "that was nothing"
					 : "an earlier release wrote it. Apply a file that says "
					   "what is to be");
	int result = copy_fabric(&undoing, count);
	for (size_t i = 0; i < count && result == 0; i++) {
		const json_t *change = json_array_get(changed, i);
		if (is_about(change, service))
			result = undo_one(&undoing, change);
	}
	if (result < 0)
		return result;
	size_t pools = 0;
	for (size_t i = 0; i < MODEL_MAX_POOLS; i++) {
		if (undoing.has_pool[i])
			undoing.fabric->pools[pools++] = undoing.fabric->pools[i];
	}
	undoing.fabric->pool_count = pools;
	*ret_fabric = undoing.fabric;
	return 0;
}
