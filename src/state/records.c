/* SPDX-License-Identifier: Apache-2.0 */
#include "state/records.h"

#include "state/record_json.h"

#include <stdio.h>
#include <string.h>

/* --- the state of a service --- */

static json_t *version_status_json(const struct version_status *status)
{
	return json_pack("{s:I, s:s, s:o, s:I, s:I, s:I, s:b, s:b, s:b, s:b, s:o*}", "number",
			 (json_int_t)status->number, "state", version_state_name(status->state),
			 "digest", record_json_hex(status->digest.bytes, DIGEST_BYTES), "sequence",
			 (json_int_t)status->sequence, "changed_sequence",
			 (json_int_t)status->changed_sequence, "changed_ms",
			 (json_int_t)status->changed_wall_ms, "served", (int)status->served,
			 "reopened", (int)status->reopened, "dismantled", (int)status->dismantled,
			 "cut", (int)status->cut, "before",
			 status->before_known ? json_integer((json_int_t)status->before) : NULL);
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
			 "salt", record_json_hex(rollout->salt, sizeof(rollout->salt)), "paused",
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
	return record_json_put(RECORD_SERVICE, json, value);
}

static void read_version_status(struct record_reading *reading, const json_t *json,
				struct version_status *status)
{
	status->number = record_json_u32(reading, json, "number");
	const char *state = json_string_value(json_object_get(json, "state"));
	if (!state || version_state_parse(state, &status->state) < 0)
		record_json_fault(reading, "state");
	record_json_bytes(reading, json, "digest", status->digest.bytes, DIGEST_BYTES);
	status->sequence = record_json_number(reading, json, "sequence", INT64_MAX);
	status->changed_sequence = record_json_number(reading, json, "changed_sequence", INT64_MAX);
	status->changed_wall_ms = record_json_number(reading, json, "changed_ms", INT64_MAX);
	status->served = record_json_bool(reading, json, "served");
	status->reopened = record_json_bool(reading, json, "reopened");
	status->dismantled = record_json_bool(reading, json, "dismantled");
	status->cut = record_json_bool(reading, json, "cut");
	status->before_known = json_object_get(json, "before");
	if (status->before_known)
		status->before = record_json_u32(reading, json, "before");
}

static void read_binding(struct record_reading *reading, const json_t *json,
			 struct binding *binding)
{
	binding->pool = (uint8_t)record_json_number(reading, json, "pool", UINT8_MAX);
	binding->slot = record_json_u32(reading, json, "slot");
	binding->version = record_json_u32(reading, json, "version");
	binding->number = record_json_number(reading, json, "number", INT64_MAX);
	binding->sequence = record_json_number(reading, json, "sequence", INT64_MAX);
	binding->changed_wall_ms = record_json_number(reading, json, "changed_ms", INT64_MAX);
	binding->is_late = record_json_bool(reading, json, "late");
	binding->refusing = record_json_bool(reading, json, "refusing");
	binding->reclaiming = record_json_bool(reading, json, "reclaiming");
	binding->released = record_json_bool(reading, json, "released");
}

static void read_rollout(struct record_reading *reading, const json_t *json,
			 struct rollout_state *rollout)
{
	rollout->base = record_json_u32(reading, json, "base");
	rollout->target = record_json_u32(reading, json, "target");
	rollout->share = (uint32_t)record_json_number(reading, json, "share", SHARE_WHOLE);
	rollout->step = (uint32_t)record_json_number(reading, json, "step", MODEL_MAX_SHARES);
	rollout->step_wall_ms = record_json_number(reading, json, "step_ms", INT64_MAX);
	record_json_bytes(reading, json, "salt", rollout->salt, sizeof(rollout->salt));
	rollout->paused = record_json_bool(reading, json, "paused");
}

int record_service_parse(const char *value, size_t length, struct arena *arena,
			 struct service_state **ret_state, struct error *err)
{
	struct record_reading reading = {.type = RECORD_SERVICE, .arena = arena, .err = err};
	json_t *json = record_json_open(&reading, value, length);
	if (!json)
		return reading.status;
	struct service_state *state = arena_alloc(arena, sizeof(*state));
	if (!state) {
		record_json_no_memory(&reading);
		goto out;
	}
	state->name = record_json_text(&reading, json, "name");
	state->index = record_json_u32(&reading, json, "index");
	state->removed = record_json_bool(&reading, json, "removed");
	state->next_version = record_json_u32(&reading, json, "next_version");
	read_rollout(&reading, json_object_get(json, "rollout"), &state->rollout);

	const json_t *versions =
	    record_json_array(&reading, json, "versions", 1u << 20, //
			      sizeof(*state->versions), &state->versions, &state->version_count);
	for (size_t i = 0; versions && i < state->version_count; i++)
		read_version_status(&reading, json_array_get(versions, i), &state->versions[i]);
	const json_t *bindings =
	    record_json_array(&reading, json, "bindings", 1u << 20, sizeof(*state->bindings),
			      &state->bindings, &state->binding_count);
	for (size_t i = 0; bindings && i < state->binding_count; i++)
		read_binding(&reading, json_array_get(bindings, i), &state->bindings[i]);
	if (!reading.status)
		*ret_state = state;
out:
	json_decref(json);
	return reading.status;
}

/* --- services that ended --- */

int record_ended_put(const struct ended_service *ended, struct buffer *value)
{
	return record_json_put(
	    RECORD_ENDED,
	    json_pack("{s:I, s:I, s:I}", "next_version", (json_int_t)ended->next_version, "given",
		      (json_int_t)ended->given, "removed", (json_int_t)ended->removed),
	    value);
}

int record_ended_parse(const char *value, size_t length, struct ended_service *ret_ended,
		       struct error *err)
{
	struct record_reading reading = {.type = RECORD_ENDED, .err = err};
	json_t *json = record_json_open(&reading, value, length);
	if (!json)
		return reading.status;
	const struct ended_service ended = {
	    .next_version = record_json_u32(&reading, json, "next_version"),
	    .given = record_json_number(&reading, json, "given", INT64_MAX),
	    .removed = record_json_number(&reading, json, "removed", INT64_MAX)};
	if (!ended.next_version)
		record_json_fault(&reading, "next_version");
	json_decref(json);
	if (reading.status == 0)
		*ret_ended = ended;
	return reading.status;
}

/* --- members --- */

/* Of level 2; false, and nothing is put, for a node without a channel. */
static bool put_channel(const struct member *member, json_t *json)
{
	if (!*member->channel_key)
		return false;
	json_object_set_new(json, "channel_key", json_string(member->channel_key));
	if (member->channel_address.family == IP_NONE)
		return true;
	json_object_set_new(json, "channel_address",
			    record_json_address_text(&member->channel_address));
	json_object_set_new(json, "channel_port", json_integer(member->channel_port));
	return true;
}

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
	for (size_t i = 0; i < member->source_count; i++)
		json_array_append_new(sources, record_json_address_text(&member->sources[i]));
	bool complete = json_array_size(roles) == role_count &&
			json_array_size(sources) == member->source_count;
	json_t *json = json_pack("{s:s, s:s, s:s, s:I, s:o, s:o}", "name", member->name, "site",
				 member->site, "key", member->key, "features",
				 (json_int_t)member->features, "roles", roles, "sources", sources);
	if (!complete) {
		json_decref(json);
		json = NULL;
	}
	return record_json_put_level(json, put_channel(member, json) ? 2 : 1, value);
}

static void read_roles(struct record_reading *reading, const json_t *json, struct member *member)
{
	const json_t *roles = json_object_get(json, "roles");
	if (!json_is_array(roles))
		record_json_fault(reading, "roles");
	for (size_t i = 0; i < json_array_size(roles); i++) {
		const char *name = json_string_value(json_array_get(roles, i));
		unsigned role = name ? member_role_parse(name) : 0;
		if (!role || member->roles & role)
			record_json_fault(reading, "roles");
		member->roles |= role;
	}
}

static void read_sources(struct record_reading *reading, const json_t *json, struct member *member)
{
	const json_t *sources = json_object_get(json, "sources");
	if (!json_is_array(sources) || json_array_size(sources) > MEMBER_SOURCES)
		record_json_fault(reading, "sources");
	for (size_t i = 0; i < json_array_size(sources) && i < MEMBER_SOURCES; i++) {
		const char *text = json_string_value(json_array_get(sources, i));
		if (!text || ip_address_parse(text, &member->sources[i]) < 0)
			record_json_fault(reading, "sources");
		member->source_count++;
	}
}

static void read_channel(struct record_reading *reading, const json_t *json, struct member *member)
{
	if (!json_object_get(json, "channel_key"))
		return;
	record_json_name(reading, json, "channel_key", member->channel_key,
			 sizeof(member->channel_key));
	if (!json_object_get(json, "channel_address"))
		return;
	record_json_address(reading, json, "channel_address", &member->channel_address);
	member->channel_port =
	    (uint16_t)record_json_number(reading, json, "channel_port", UINT16_MAX);
}

int record_member_parse(const char *value, size_t length, struct arena *arena,
			struct member **ret_member, struct error *err)
{
	struct record_reading reading = {.type = RECORD_MEMBER, .arena = arena, .err = err};
	json_t *json = record_json_open(&reading, value, length);
	if (!json)
		return reading.status;
	struct member *member = arena_alloc(arena, sizeof(*member));
	if (!member) {
		record_json_no_memory(&reading);
		goto out;
	}
	member->name = record_json_text(&reading, json, "name");
	member->site = record_json_text(&reading, json, "site");
	member->key = record_json_text(&reading, json, "key");
	member->features = record_json_u32(&reading, json, "features");
	read_roles(&reading, json, member);
	read_sources(&reading, json, member);
	read_channel(&reading, json, member);
	if (!reading.status)
		*ret_member = member;
out:
	json_decref(json);
	return reading.status;
}

/* --- versions --- */

int record_version_put(const struct version *version, struct buffer *value)
{
	version_encode(version, value);
	return value->status;
}

/* Every encoding begins with this text and its level, after four bytes of its length. */
#define VERSION_MAGIC "fairlead version "
#define VERSION_LENGTH_BYTES 4u

static uint32_t version_level(const char *value, size_t length)
{
	size_t head = VERSION_LENGTH_BYTES + sizeof(VERSION_MAGIC) - 1;
	uint32_t level = 0;
	if (length <= head || memcmp(value, "\0\0", VERSION_LENGTH_BYTES - 1) != 0 ||
	    memcmp(value + VERSION_LENGTH_BYTES, VERSION_MAGIC, sizeof(VERSION_MAGIC) - 1) != 0)
		return 1;
	size_t end = VERSION_LENGTH_BYTES + (uint8_t)value[VERSION_LENGTH_BYTES - 1];
	for (size_t i = head; i < length && i < end && level < UINT32_MAX / 100; i++) {
		if (value[i] < '0' || value[i] > '9')
			return 1;
		level = 10 * level + (uint32_t)(value[i] - '0');
	}
	return level ? level : 1;
}

int record_version_parse(const char *value, size_t length, struct arena *arena,
			 struct version **ret_version, struct error *err)
{
	uint32_t level = version_level(value, length);
	if (level > record_rows[RECORD_VERSION].level)
		return error_set(
		    err, -FL_EUNSUPPORTED,
		    "the stored version has level %u; this program reads up to level %u", level,
		    record_rows[RECORD_VERSION].level);
	int result = version_decode(value, length, arena, ret_version);
	if (result < 0)
		return error_set(err, result, "the stored version: %s", error_text(result));
	return 0;
}

/* --- others --- */

int record_sequence_parse(enum record_type type, const char *value, size_t length,
			  uint64_t *ret_sequence, struct error *err)
{
	uint32_t level = record_level(value, length);
	if (level > record_rows[type].level)
		return error_set(err, -FL_EUNSUPPORTED,
				 "the stored %s has level %u; this program reads up to level %u",
				 record_rows[type].what, level, record_rows[type].level);
	uint64_t sequence = 0;
	size_t i = 0;
	for (; i < length && value[i] >= '0' && value[i] <= '9' && sequence < INT64_MAX / 10; i++)
		sequence = 10 * sequence + (uint64_t)(value[i] - '0');
	if (!length || i < length)
		return error_set(err, -FL_ECORRUPT, "the stored %s holds no sequence",
				 record_rows[type].what);
	*ret_sequence = sequence;
	return 0;
}

uint32_t record_level(const char *value, size_t length)
{
	json_t *json = record_json_load(value, length);
	uint32_t level = json ? record_json_level(json) : version_level(value, length);
	json_decref(json);
	return level ? level : 1;
}
