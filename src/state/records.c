/* SPDX-License-Identifier: Apache-2.0 */
#include "state/records.h"

#include "base/digest.h"
#include "base/memory.h"
#include "base/netaddr.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* --- keys --- */

__attribute__((format(printf, 2, 3))) static const char *key_format(char *key, const char *format,
								    ...)
{
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(key, RECORD_KEY_BYTES, format, arguments);
	va_end(arguments);
	ASSERT(length > 0 && (size_t)length < RECORD_KEY_BYTES);
	return key;
}

const char *record_service_key(const char *service, char *key)
{
	return key_format(key, RECORD_SERVICE_PREFIX "%s", service);
}

const char *record_version_key(const char *service, uint32_t number, char *key)
{
	return key_format(key, RECORD_VERSION_PREFIX "%s/%010u", service, number);
}

const char *record_forgotten_key(const char *backend, char *key)
{
	return key_format(key, RECORD_FORGOTTEN_PREFIX "%s", backend);
}

const char *record_member_key(const char *node, char *key)
{
	return key_format(key, RECORD_MEMBER_PREFIX "%s", node);
}

/* --- writing --- */

static int append_chunk(const char *chunk, size_t length, void *context)
{
	buffer_append(context, chunk, length);
	return 0;
}

/* Takes over `json`; NULL means that an allocation failed while it was built. */
static int put_json(json_t *json, struct buffer *value)
{
	if (!json)
		return -ENOMEM;
	int failed = json_dump_callback(json, append_chunk, value, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(json);
	return value->status ? value->status : failed ? -ENOMEM : 0;
}

static json_t *hex_json(const void *bytes, size_t length)
{
	char text[2 * 64 + 1];
	ASSERT(length <= 64);
	hex_encode(bytes, length, text);
	return json_string(text);
}

/* --- reading: a cursor that remembers the first thing that was missing --- */

struct reader {
	struct arena *arena;
	const char *what; /* for the sentence */
	int status;
	struct error *err;
};

static void reader_fail(struct reader *reader, const char *key)
{
	if (!reader->status)
		reader->status = error_set(reader->err, -FL_ECORRUPT,
					   "the stored %s has no valid \"%s\"", reader->what, key);
}

static void reader_no_memory(struct reader *reader)
{
	if (!reader->status)
		reader->status = error_set(reader->err, -ENOMEM, "out of memory");
}

static uint64_t read_number(struct reader *reader, const json_t *object, const char *key,
			    uint64_t most)
{
	const json_t *value = json_object_get(object, key);
	json_int_t number = json_integer_value(value);
	if (!json_is_integer(value) || number < 0 || (uint64_t)number > most) {
		reader_fail(reader, key);
		return 0;
	}
	return (uint64_t)number;
}

static uint32_t read_u32(struct reader *reader, const json_t *object, const char *key)
{
	return (uint32_t)read_number(reader, object, key, UINT32_MAX);
}

static bool read_bool(struct reader *reader, const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	if (!json_is_boolean(value))
		reader_fail(reader, key);
	return json_is_true(value);
}

/* Never NULL, so that callers need no check before the final one of `status`. */
static const char *read_text(struct reader *reader, const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	if (!text) {
		reader_fail(reader, key);
		return "";
	}
	const char *copy = arena_strdup(reader->arena, text);
	if (!copy)
		reader_no_memory(reader);
	return copy ? copy : "";
}

static void read_hex(struct reader *reader, const json_t *object, const char *key, void *bytes,
		     size_t length)
{
	const char *text = json_string_value(json_object_get(object, key));
	if (!text || hex_decode(text, bytes, length) < 0)
		reader_fail(reader, key);
}

/* The array `key` and memory for its elements of `size` bytes; at most `most` of them. */
static json_t *read_array(struct reader *reader, const json_t *object, const char *key, size_t most,
			  size_t size, void *ret_memory, size_t *ret_count)
{
	json_t *array = json_object_get(object, key);
	size_t count = json_array_size(array);
	if (!json_is_array(array) || count > most) {
		reader_fail(reader, key);
		return NULL;
	}
	void *memory = arena_array(reader->arena, count ? count : 1, size);
	if (!memory) {
		reader_no_memory(reader);
		return NULL;
	}
	*(void **)ret_memory = memory;
	*ret_count = count;
	return array;
}

static json_t *reader_open(struct reader *reader, const char *value, size_t length)
{
	unsigned long failures = memory_failures();
	json_t *json = memory_json_loadb(value, length, JSON_REJECT_DUPLICATES, NULL);
	if (memory_failures() != failures) {
		reader_no_memory(reader);
		json_decref(json);
		return NULL;
	}
	if (!json_is_object(json)) {
		reader->status = error_set(reader->err, -FL_ECORRUPT,
					   "the stored %s is not a JSON object", reader->what);
		json_decref(json);
		return NULL;
	}
	return json;
}

/* --- the state of a service --- */

static json_t *version_status_json(const struct version_status *status)
{
	return json_pack(
	    "{s:I, s:s, s:o, s:I, s:I, s:I, s:b, s:b, s:b, s:b}", "number",
	    (json_int_t)status->number, "state", version_state_name(status->state), "digest",
	    hex_json(status->digest.bytes, DIGEST_BYTES), "sequence", (json_int_t)status->sequence,
	    "changed_sequence", (json_int_t)status->changed_sequence, "changed_ms",
	    (json_int_t)status->changed_wall_ms, "served", (int)status->served, "reopened",
	    (int)status->reopened, "dismantled", (int)status->dismantled, "cut", (int)status->cut);
}

static json_t *binding_json(const struct binding *binding)
{
	return json_pack("{s:i, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:b, s:b}", "pool",
			 (int)binding->pool, "slot", (json_int_t)binding->slot, "version",
			 (json_int_t)binding->version, "number", (json_int_t)binding->number,
			 "sequence", (json_int_t)binding->sequence, "changed_ms",
			 (json_int_t)binding->changed_wall_ms, "late", (int)binding->is_late,
			 "refusing", (int)binding->refusing, "reclaiming", (int)binding->reclaiming,
			 "released", (int)binding->released);
}

static json_t *rollout_json(const struct rollout_state *rollout)
{
	return json_pack("{s:I, s:I, s:i, s:i, s:I, s:o, s:b}", "base", (json_int_t)rollout->base,
			 "target", (json_int_t)rollout->target, "share", (int)rollout->share,
			 "step", (int)rollout->step, "step_ms", (json_int_t)rollout->step_wall_ms,
			 "salt", hex_json(rollout->salt, sizeof(rollout->salt)), "paused",
			 (int)rollout->paused);
}

int record_service_put(const struct service_state *state, struct buffer *value)
{
	json_t *versions = json_array();
	json_t *bindings = json_array();
	for (size_t i = 0; i < state->version_count; i++)
		json_array_append_new(versions, version_status_json(&state->versions[i]));
	for (size_t i = 0; i < state->binding_count; i++)
		json_array_append_new(bindings, binding_json(&state->bindings[i]));
	bool complete = json_array_size(versions) == state->version_count &&
			json_array_size(bindings) == state->binding_count;
	json_t *json =
	    json_pack("{s:s, s:I, s:b, s:I, s:o, s:o, s:o}", "name", state->name, "index",
		      (json_int_t)state->index, "removed", (int)state->removed, "next_version",
		      (json_int_t)state->next_version, "rollout", rollout_json(&state->rollout),
		      "versions", versions, "bindings", bindings);
	if (!complete) {
		json_decref(json);
		json = NULL;
	}
	return put_json(json, value);
}

static void read_version_status(struct reader *reader, const json_t *json,
				struct version_status *status)
{
	status->number = read_u32(reader, json, "number");
	const char *state = json_string_value(json_object_get(json, "state"));
	if (!state || version_state_parse(state, &status->state) < 0)
		reader_fail(reader, "state");
	read_hex(reader, json, "digest", status->digest.bytes, DIGEST_BYTES);
	status->sequence = read_number(reader, json, "sequence", INT64_MAX);
	status->changed_sequence = read_number(reader, json, "changed_sequence", INT64_MAX);
	status->changed_wall_ms = read_number(reader, json, "changed_ms", INT64_MAX);
	status->served = read_bool(reader, json, "served");
	status->reopened = read_bool(reader, json, "reopened");
	status->dismantled = read_bool(reader, json, "dismantled");
	status->cut = read_bool(reader, json, "cut");
}

static void read_binding(struct reader *reader, const json_t *json, struct binding *binding)
{
	binding->pool = (uint8_t)read_number(reader, json, "pool", UINT8_MAX);
	binding->slot = read_u32(reader, json, "slot");
	binding->version = read_u32(reader, json, "version");
	binding->number = read_number(reader, json, "number", INT64_MAX);
	binding->sequence = read_number(reader, json, "sequence", INT64_MAX);
	binding->changed_wall_ms = read_number(reader, json, "changed_ms", INT64_MAX);
	binding->is_late = read_bool(reader, json, "late");
	binding->refusing = read_bool(reader, json, "refusing");
	binding->reclaiming = read_bool(reader, json, "reclaiming");
	binding->released = read_bool(reader, json, "released");
}

static void read_rollout(struct reader *reader, const json_t *json, struct rollout_state *rollout)
{
	rollout->base = read_u32(reader, json, "base");
	rollout->target = read_u32(reader, json, "target");
	rollout->share = (uint32_t)read_number(reader, json, "share", SHARE_WHOLE);
	rollout->step = (uint32_t)read_number(reader, json, "step", MODEL_MAX_SHARES);
	rollout->step_wall_ms = read_number(reader, json, "step_ms", INT64_MAX);
	read_hex(reader, json, "salt", rollout->salt, sizeof(rollout->salt));
	rollout->paused = read_bool(reader, json, "paused");
}

int record_service_parse(const char *value, size_t length, struct arena *arena,
			 struct service_state **ret_state, struct error *err)
{
	struct reader reader = {.arena = arena, .what = "service state", .err = err};
	json_t *json = reader_open(&reader, value, length);
	if (!json)
		return reader.status;
	struct service_state *state = arena_alloc(arena, sizeof(*state));
	if (!state) {
		reader_no_memory(&reader);
		goto out;
	}
	state->name = read_text(&reader, json, "name");
	state->index = read_u32(&reader, json, "index");
	state->removed = read_bool(&reader, json, "removed");
	state->next_version = read_u32(&reader, json, "next_version");
	read_rollout(&reader, json_object_get(json, "rollout"), &state->rollout);

	const json_t *versions =
	    read_array(&reader, json, "versions", 1u << 20, //
		       sizeof(*state->versions), &state->versions, &state->version_count);
	for (size_t i = 0; versions && i < state->version_count; i++)
		read_version_status(&reader, json_array_get(versions, i), &state->versions[i]);
	const json_t *bindings =
	    read_array(&reader, json, "bindings", 1u << 20, sizeof(*state->bindings),
		       &state->bindings, &state->binding_count);
	for (size_t i = 0; bindings && i < state->binding_count; i++)
		read_binding(&reader, json_array_get(bindings, i), &state->bindings[i]);
	if (!reader.status)
		*ret_state = state;
out:
	json_decref(json);
	return reader.status;
}

/* --- placement --- */

static json_t *placed_pool_json(const struct placed_pool *pool)
{
	char text[IP_TEXT_BYTES];
	return json_pack("{s:s, s:i, s:I, s:b}", "prefix",
			 ip_prefix_format(&pool->pool.prefix, text), "site_bits",
			 (int)pool->pool.site_bits, "slots_per_service",
			 (json_int_t)pool->pool.slots_per_service, "removed", (int)pool->removed);
}

static json_t *placed_slot_json(const struct placed_slot *slot)
{
	return json_pack("{s:i, s:I, s:I, s:I, s:I, s:I}", "pool", (int)slot->pool, "slot",
			 (json_int_t)slot->slot, "service", (json_int_t)slot->service, "free_ms",
			 (json_int_t)slot->free_wall_ms, "binding_number",
			 (json_int_t)slot->binding_number, "sequence", (json_int_t)slot->sequence);
}

static json_t *names_json(const char *const *names, size_t count)
{
	json_t *array = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, json_string(names[i]));
	return array;
}

int record_placement_put(const struct placement *placement, struct buffer *value)
{
	json_t *pools = json_array();
	json_t *slots = json_array();
	for (size_t i = 0; i < placement->pool_count; i++)
		json_array_append_new(pools, placed_pool_json(&placement->pools[i]));
	for (size_t i = 0; i < placement->used_slot_count; i++)
		json_array_append_new(slots, placed_slot_json(&placement->used_slots[i]));
	json_t *sites = names_json(placement->sites, placement->site_count);
	json_t *services = names_json(placement->services, placement->service_count);
	bool complete = json_array_size(pools) == placement->pool_count &&
			json_array_size(slots) == placement->used_slot_count &&
			json_array_size(sites) == placement->site_count &&
			json_array_size(services) == placement->service_count;
	json_t *json = json_pack("{s:o, s:o, s:o, s:o}", "pools", pools, "sites", sites, "services",
				 services, "used_slots", slots);
	if (!complete) {
		json_decref(json);
		json = NULL;
	}
	return put_json(json, value);
}

static void read_placed_pool(struct reader *reader, const json_t *json, struct placed_pool *pool)
{
	const char *prefix = json_string_value(json_object_get(json, "prefix"));
	if (!prefix || ip_prefix_parse(prefix, &pool->pool.prefix) < 0)
		reader_fail(reader, "prefix");
	pool->pool.site_bits = (uint8_t)read_number(reader, json, "site_bits", 32);
	pool->pool.slots_per_service = read_u32(reader, json, "slots_per_service");
	pool->removed = read_bool(reader, json, "removed");
}

static void read_placed_slot(struct reader *reader, const json_t *json, struct placed_slot *slot)
{
	slot->pool = (uint8_t)read_number(reader, json, "pool", UINT8_MAX);
	slot->slot = read_u32(reader, json, "slot");
	slot->service = read_u32(reader, json, "service");
	slot->free_wall_ms = read_number(reader, json, "free_ms", INT64_MAX);
	slot->binding_number = read_number(reader, json, "binding_number", INT64_MAX);
	slot->sequence = read_number(reader, json, "sequence", INT64_MAX);
}

static void read_names(struct reader *reader, const json_t *object, const char *key,
		       const char ***ret_names, size_t *ret_count)
{
	const json_t *array =
	    read_array(reader, object, key, 1u << 20, sizeof(**ret_names), ret_names, ret_count);
	for (size_t i = 0; array && i < *ret_count; i++) {
		const char *text = json_string_value(json_array_get(array, i));
		const char *copy = text ? arena_strdup(reader->arena, text) : NULL;
		if (!text)
			reader_fail(reader, key);
		else if (!copy)
			reader_no_memory(reader);
		(*ret_names)[i] = copy ? copy : "";
	}
}

int record_placement_parse(const char *value, size_t length, struct arena *arena,
			   struct placement **ret_placement, struct error *err)
{
	struct reader reader = {.arena = arena, .what = "placement", .err = err};
	json_t *json = reader_open(&reader, value, length);
	if (!json)
		return reader.status;
	struct placement *placement = arena_alloc(arena, sizeof(*placement));
	if (!placement) {
		reader_no_memory(&reader);
		goto out;
	}
	const json_t *pools =
	    read_array(&reader, json, "pools", UINT8_MAX, sizeof(*placement->pools),
		       &placement->pools, &placement->pool_count);
	for (size_t i = 0; pools && i < placement->pool_count; i++)
		read_placed_pool(&reader, json_array_get(pools, i), &placement->pools[i]);
	const json_t *slots =
	    read_array(&reader, json, "used_slots", 1u << 22, sizeof(*placement->used_slots),
		       &placement->used_slots, &placement->used_slot_count);
	for (size_t i = 0; slots && i < placement->used_slot_count; i++)
		read_placed_slot(&reader, json_array_get(slots, i), &placement->used_slots[i]);
	read_names(&reader, json, "sites", &placement->sites, &placement->site_count);
	read_names(&reader, json, "services", &placement->services, &placement->service_count);
	if (!reader.status)
		*ret_placement = placement;
out:
	json_decref(json);
	return reader.status;
}

/* --- members --- */

#define MEMBER_LEVEL 1u

int record_member_put(const struct member *member, struct buffer *value)
{
	json_t *roles = json_array();
	json_t *sources = json_array();
	size_t role_count = 0;
#define X(id, name, bit, meaning)                                                                  \
	if (member_has(member, MEMBER_##id)) {                                                     \
		json_array_append_new(roles, json_string(name));                                   \
		role_count++;                                                                      \
	}
	MEMBER_ROLES(X)
#undef X
	for (size_t i = 0; i < member->source_count; i++) {
		char text[IP_TEXT_BYTES];
		json_array_append_new(sources,
				      json_string(ip_address_format(&member->sources[i], text)));
	}
	bool complete = json_array_size(roles) == role_count &&
			json_array_size(sources) == member->source_count;
	json_t *json =
	    json_pack("{s:i, s:s, s:s, s:s, s:I, s:o, s:o}", "level", (int)MEMBER_LEVEL, "name",
		      member->name, "site", member->site, "key", member->key, "features",
		      (json_int_t)member->features, "roles", roles, "sources", sources);
	if (!complete) {
		json_decref(json);
		json = NULL;
	}
	return put_json(json, value);
}

static void read_roles(struct reader *reader, const json_t *json, struct member *member)
{
	const json_t *roles = json_object_get(json, "roles");
	if (!json_is_array(roles))
		reader_fail(reader, "roles");
	for (size_t i = 0; i < json_array_size(roles); i++) {
		const char *name = json_string_value(json_array_get(roles, i));
		unsigned role = name ? member_role_parse(name) : 0;
		if (!role || member->roles & role)
			reader_fail(reader, "roles");
		member->roles |= role;
	}
}

static void read_sources(struct reader *reader, const json_t *json, struct member *member)
{
	const json_t *sources = json_object_get(json, "sources");
	if (!json_is_array(sources) || json_array_size(sources) > MEMBER_SOURCES)
		reader_fail(reader, "sources");
	for (size_t i = 0; i < json_array_size(sources) && i < MEMBER_SOURCES; i++) {
		const char *text = json_string_value(json_array_get(sources, i));
		if (!text || ip_address_parse(text, &member->sources[i]) < 0)
			reader_fail(reader, "sources");
		member->source_count++;
	}
}

int record_member_parse(const char *value, size_t length, struct arena *arena,
			struct member **ret_member, struct error *err)
{
	struct reader reader = {.arena = arena, .what = "member", .err = err};
	json_t *json = reader_open(&reader, value, length);
	if (!json)
		return reader.status;
	struct member *member = arena_alloc(arena, sizeof(*member));
	if (!member) {
		reader_no_memory(&reader);
		goto out;
	}
	if (read_number(&reader, json, "level", UINT32_MAX) > MEMBER_LEVEL)
		reader_fail(&reader, "level");
	member->name = read_text(&reader, json, "name");
	member->site = read_text(&reader, json, "site");
	member->key = read_text(&reader, json, "key");
	member->features = read_u32(&reader, json, "features");
	read_roles(&reader, json, member);
	read_sources(&reader, json, member);
	if (!reader.status)
		*ret_member = member;
out:
	json_decref(json);
	return reader.status;
}

/* --- versions --- */

int record_version_put(const struct version *version, struct buffer *value)
{
	version_encode(version, value);
	return value->status;
}

int record_version_parse(const char *value, size_t length, struct arena *arena,
			 struct version **ret_version, struct error *err)
{
	int result = version_decode(value, length, arena, ret_version);
	if (result < 0)
		return error_set(err, result, "the stored version: %s", error_text(result));
	return 0;
}
