/* SPDX-License-Identifier: Apache-2.0 */
#include "state/record_json.h"

#include "base/digest.h"

#include <string.h>

/* --- writing --- */

static int append_chunk(const char *chunk, size_t length, void *context)
{
	buffer_append(context, chunk, length);
	return 0;
}

int record_json_put(enum record_type type, json_t *object, struct buffer *value)
{
	return record_json_put_level(object, record_rows[type].level, value);
}

int record_json_put_level(json_t *object, uint32_t level, struct buffer *value)
{
	if (!object)
		return -ENOMEM;
	int failed = json_object_set_new(object, "level", json_integer(level));
	if (!failed)
		failed =
		    json_dump_callback(object, append_chunk, value, JSON_COMPACT | JSON_SORT_KEYS);
	json_decref(object);
	return value->status ? value->status : failed ? -ENOMEM : 0;
}

json_t *record_json_hex(const void *bytes, size_t length)
{
	char text[2 * 64 + 1];
	ASSERT(length <= 64);
	hex_encode(bytes, length, text);
	return json_string(text);
}

json_t *record_json_address_text(const struct ip_address *address)
{
	char text[IP_TEXT_BYTES];
	return json_string(ip_address_format(address, text));
}

json_t *record_json_prefix_text(const struct ip_prefix *prefix)
{
	char text[IP_TEXT_BYTES];
	return json_string(ip_prefix_format(prefix, text));
}

/* --- reading --- */

void record_json_fault(struct record_reading *reading, const char *key)
{
	if (!reading->status)
		reading->status =
		    error_set(reading->err, -FL_ECORRUPT, "the stored %s has no valid \"%s\"",
			      record_rows[reading->type].what, key);
}

void record_json_no_memory(struct record_reading *reading)
{
	if (!reading->status)
		reading->status = error_set(reading->err, -ENOMEM, "out of memory");
}

uint64_t record_json_number(struct record_reading *reading, const json_t *object, const char *key,
			    uint64_t most)
{
	const json_t *value = json_object_get(object, key);
	json_int_t number = json_integer_value(value);
	if (!json_is_integer(value) || number < 0 || (uint64_t)number > most) {
		record_json_fault(reading, key);
		return 0;
	}
	return (uint64_t)number;
}

uint32_t record_json_u32(struct record_reading *reading, const json_t *object, const char *key)
{
	return (uint32_t)record_json_number(reading, object, key, UINT32_MAX);
}

bool record_json_bool(struct record_reading *reading, const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	if (!json_is_boolean(value))
		record_json_fault(reading, key);
	return json_is_true(value);
}

const char *record_json_text(struct record_reading *reading, const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	if (!text) {
		record_json_fault(reading, key);
		return "";
	}
	const char *copy = arena_strdup(reading->arena, text);
	if (!copy)
		record_json_no_memory(reading);
	return copy ? copy : "";
}

void record_json_name(struct record_reading *reading, const json_t *object, const char *key,
		      char *text, size_t size)
{
	const char *value = json_string_value(json_object_get(object, key));
	if (!value || strlen(value) >= size)
		record_json_fault(reading, key);
	else
		memcpy(text, value, strlen(value) + 1);
}

void record_json_address(struct record_reading *reading, const json_t *object, const char *key,
			 struct ip_address *address)
{
	const char *text = json_string_value(json_object_get(object, key));
	if (!text || ip_address_parse(text, address) < 0)
		record_json_fault(reading, key);
}

void record_json_prefix(struct record_reading *reading, const json_t *object, const char *key,
			struct ip_prefix *prefix)
{
	const char *text = json_string_value(json_object_get(object, key));
	if (!text || ip_prefix_parse(text, prefix) < 0)
		record_json_fault(reading, key);
}

void record_json_bytes(struct record_reading *reading, const json_t *object, const char *key,
		       void *bytes, size_t length)
{
	const char *text = json_string_value(json_object_get(object, key));
	if (!text || hex_decode(text, bytes, length) < 0)
		record_json_fault(reading, key);
}

json_t *record_json_array(struct record_reading *reading, const json_t *object, const char *key,
			  size_t most, size_t size, void *ret_memory, size_t *ret_count)
{
	json_t *array = json_object_get(object, key);
	size_t count = json_array_size(array);
	if (!json_is_array(array) || count > most) {
		record_json_fault(reading, key);
		return NULL;
	}
	void *memory = arena_array(reading->arena, count ? count : 1, size);
	if (!memory) {
		record_json_no_memory(reading);
		return NULL;
	}
	*(void **)ret_memory = memory;
	*ret_count = count;
	return array;
}

json_t *record_json_load(const char *value, size_t length)
{
	return length && value[0] == '{' ? json_loadb(value, length, JSON_REJECT_DUPLICATES, NULL)
					 : NULL;
}

uint32_t record_json_level(const json_t *object)
{
	const json_t *own = json_object_get(object, "level");
	json_int_t level = json_integer_value(own);
	if (!own)
		return 1;
	return level > 0 && level <= UINT32_MAX ? (uint32_t)level : 0;
}

json_t *record_json_open(struct record_reading *reading, const char *value, size_t length)
{
	const struct record_row *row = &record_rows[reading->type];
	json_t *json = record_json_load(value, length);
	uint32_t level = record_json_level(json);
	if (!json)
		reading->status = error_set(reading->err, -FL_ECORRUPT,
					    "the stored %s is not a JSON object", row->what);
	else if (!level)
		record_json_fault(reading, "level");
	else if (level > row->level)
		reading->status =
		    error_set(reading->err, -FL_EUNSUPPORTED,
			      "the stored %s has level %u; this program reads up to level %u",
			      row->what, level, row->level);
	if (!reading->status)
		return json;
	json_decref(json);
	return NULL;
}
