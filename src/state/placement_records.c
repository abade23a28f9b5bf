/* SPDX-License-Identifier: Apache-2.0 */
#include "state/placement_records.h"

#include "state/record_json.h"
#include "state/records.h"

#include <stdio.h>
#include <string.h>

#define MOST_SITE_BITS 32u

/* --- keys --- */

const char *placed_pool_key(size_t number, char *key)
{
	snprintf(key, RECORD_KEY_BYTES, "placement/pool/%02zu", number);
	return key;
}

const char *placed_site_key(size_t number, char *key)
{
	snprintf(key, RECORD_KEY_BYTES, "placement/site/%03zu", number);
	return key;
}

const char *freed_slot_key(uint8_t pool, uint32_t slot, char *key)
{
	snprintf(key, RECORD_KEY_BYTES, "placement/slot/%02u/%07u", pool, slot);
	return key;
}

/* Digits only, as many as are written at least; the character after them, or NULL. */
static const char *scan_number(const char *text, int digits, size_t most, size_t *ret_number)
{
	size_t number = 0;
	int length = 0;
	for (; text[length] >= '0' && text[length] <= '9'; length++) {
		number = 10 * number + (size_t)(text[length] - '0');
		if (number > most)
			return NULL;
	}
	if (length < digits || (length > digits && text[0] == '0'))
		return NULL;
	*ret_number = number;
	return text + length;
}

int placed_number_parse(const char *rest, int digits, size_t most, size_t *ret_number)
{
	const char *end = scan_number(rest, digits, most, ret_number);
	return end && !*end ? 0 : -FL_ECORRUPT;
}

int freed_slot_key_parse(const char *rest, uint8_t *ret_pool, uint32_t *ret_slot)
{
	size_t pool = 0;
	size_t slot = 0;
	const char *end = scan_number(rest, 2, MODEL_MAX_POOLS - 1, &pool);
	end = end && *end == '/' ? scan_number(end + 1, 7, UINT32_MAX, &slot) : NULL;
	if (!end || *end)
		return -FL_ECORRUPT;
	*ret_pool = (uint8_t)pool;
	*ret_slot = (uint32_t)slot;
	return 0;
}

/* --- values --- */

int placed_pool_put(const struct placed_pool_record *record, struct buffer *value)
{
	const struct pool *pool = &record->placed.pool;
	bool is_leaving = record->placed.removed && record->held;
	return record_json_put(
	    RECORD_PLACED_POOL,
	    json_pack("{s:o, s:i, s:I, s:b, s:o*, s:I}", "prefix",
		      record_json_prefix_text(&pool->prefix), "site_bits", (int)pool->site_bits,
		      "slots_per_service", (json_int_t)pool->slots_per_service, "removed",
		      (int)(record->placed.removed && !is_leaving), "leaving",
		      is_leaving ? json_true() : NULL, "since", (json_int_t)record->since),
	    value);
}

static void read_placed_pool(struct record_reading *reading, const json_t *json,
			     struct placed_pool *placed)
{
	record_json_prefix(reading, json, "prefix", &placed->pool.prefix);
	placed->pool.site_bits =
	    (uint8_t)record_json_number(reading, json, "site_bits", MOST_SITE_BITS);
	placed->pool.slots_per_service = record_json_u32(reading, json, "slots_per_service");
	placed->removed = record_json_bool(reading, json, "removed");
}

int placed_pool_parse(const char *value, size_t length, struct placed_pool_record *ret_pool,
		      struct error *err)
{
	struct record_reading reading = {.type = RECORD_PLACED_POOL, .err = err};
	struct placed_pool_record pool = {0};
	json_t *json = record_json_open(&reading, value, length);
	if (!json)
		return reading.status;
	read_placed_pool(&reading, json, &pool.placed);
	pool.held = json_object_get(json, "leaving") && record_json_bool(&reading, json, "leaving");
	pool.placed.removed = pool.placed.removed || pool.held;
	pool.since = record_json_number(&reading, json, "since", INT64_MAX);
	json_decref(json);
	if (reading.status == 0)
		*ret_pool = pool;
	return reading.status;
}

int placed_site_put(const char *name, struct buffer *value)
{
	return record_json_put(RECORD_PLACED_SITE, json_pack("{s:s}", "name", name), value);
}

int placed_site_parse(const char *value, size_t length, char ret_name[MODEL_NAME_BYTES],
		      struct error *err)
{
	struct record_reading reading = {.type = RECORD_PLACED_SITE, .err = err};
	char name[MODEL_NAME_BYTES] = "";
	json_t *json = record_json_open(&reading, value, length);
	if (!json)
		return reading.status;
	record_json_name(&reading, json, "name", name, sizeof(name));
	json_decref(json);
	if (reading.status == 0)
		memcpy(ret_name, name, sizeof(name));
	return reading.status;
}

int freed_slot_put(const struct freed_slot_record *record, struct buffer *value)
{
	const struct placed_slot *slot = &record->slot;
	return record_json_put(RECORD_FREED_SLOT,
			       json_pack("{s:s, s:I, s:I, s:I}", "service", record->service,
					 "free_ms", (json_int_t)slot->free_wall_ms,
					 "binding_number", (json_int_t)slot->binding_number,
					 "sequence", (json_int_t)slot->sequence),
			       value);
}

static void read_freeing(struct record_reading *reading, const json_t *json,
			 struct placed_slot *slot)
{
	slot->free_wall_ms = record_json_number(reading, json, "free_ms", INT64_MAX);
	slot->binding_number = record_json_number(reading, json, "binding_number", INT64_MAX);
	slot->sequence = record_json_number(reading, json, "sequence", INT64_MAX);
}

int freed_slot_parse(const char *value, size_t length, struct freed_slot_record *ret_slot,
		     struct error *err)
{
	struct record_reading reading = {.type = RECORD_FREED_SLOT, .err = err};
	struct freed_slot_record slot = {0};
	json_t *json = record_json_open(&reading, value, length);
	if (!json)
		return reading.status;
	record_json_name(&reading, json, "service", slot.service, sizeof(slot.service));
	read_freeing(&reading, json, &slot.slot);
	json_decref(json);
	if (reading.status == 0)
		*ret_slot = slot;
	return reading.status;
}

/* --- the last recovery --- */

int recovered_put(const struct placement_recovery *recovery, struct buffer *value)
{
	json_t *addresses = json_array();
	for (size_t i = 0; i < recovery->address_count; i++)
		json_array_append_new(addresses, record_json_address_text(&recovery->addresses[i]));
	json_t *json =
	    json_pack("{s:I, s:I, s:I, s:o, s:I, s:b, s:o}", "sequence",
		      (json_int_t)recovery->sequence, "wall_ms", (json_int_t)recovery->wall_ms,
		      "lost_sequence", (json_int_t)recovery->lost_sequence, "lost_hash",
		      record_json_hex(recovery->lost_digest.bytes, DIGEST_BYTES), "numbers",
		      (json_int_t)recovery->numbers, "all_rest", (int)recovery->all_rest,
		      "addresses", addresses);
	if (json_array_size(addresses) != recovery->address_count) {
		json_decref(json);
		json = NULL;
	}
	return record_json_put(RECORD_RECOVERED, json, value);
}

int recovered_parse(const char *value, size_t length, struct arena *arena,
		    struct placement_recovery *ret_recovery, struct error *err)
{
	struct record_reading reading = {.type = RECORD_RECOVERED, .arena = arena, .err = err};
	struct placement_recovery recovery = {0};
	json_t *json = record_json_open(&reading, value, length);
	if (!json)
		return reading.status;
	recovery.sequence = record_json_number(&reading, json, "sequence", INT64_MAX);
	recovery.wall_ms = record_json_number(&reading, json, "wall_ms", INT64_MAX);
	recovery.lost_sequence = record_json_number(&reading, json, "lost_sequence", INT64_MAX);
	record_json_bytes(&reading, json, "lost_hash", recovery.lost_digest.bytes, DIGEST_BYTES);
	recovery.numbers = record_json_u32(&reading, json, "numbers");
	recovery.all_rest = record_json_bool(&reading, json, "all_rest");
	const json_t *addresses = record_json_array(
	    &reading, json, "addresses", (size_t)4 * RECORD_MAX_ITEMS, sizeof(*recovery.addresses),
	    &recovery.addresses, &recovery.address_count);
	for (size_t i = 0; addresses && i < recovery.address_count; i++) {
		const char *text = json_string_value(json_array_get(addresses, i));
		if (!text || ip_address_parse(text, &recovery.addresses[i]) < 0)
			record_json_fault(&reading, "addresses");
	}
	json_decref(json);
	if (reading.status == 0)
		*ret_recovery = recovery;
	return reading.status;
}

/* --- the first release's --- */

static void read_placed_slot(struct record_reading *reading, const json_t *json,
			     struct placed_slot *slot)
{
	slot->pool = (uint8_t)record_json_number(reading, json, "pool", UINT8_MAX);
	slot->slot = record_json_u32(reading, json, "slot");
	slot->service = record_json_u32(reading, json, "service");
	read_freeing(reading, json, slot);
}

static void read_names(struct record_reading *reading, const json_t *object, const char *key,
		       const char ***ret_names, size_t *ret_count)
{
	const json_t *array = record_json_array(reading, object, key, RECORD_MAX_ITEMS,
						sizeof(**ret_names), ret_names, ret_count);
	for (size_t i = 0; array && i < *ret_count; i++) {
		const char *text = json_string_value(json_array_get(array, i));
		const char *copy = text ? arena_strdup(reading->arena, text) : NULL;
		if (!text || strlen(text) >= MODEL_NAME_BYTES)
			record_json_fault(reading, key);
		else if (!copy)
			record_json_no_memory(reading);
		(*ret_names)[i] = copy ? copy : "";
	}
}

int old_placement_parse(const char *value, size_t length, struct arena *arena,
			struct placement **ret_placement, struct error *err)
{
	struct record_reading reading = {.type = RECORD_OLD_PLACEMENT, .arena = arena, .err = err};
	json_t *json = record_json_open(&reading, value, length);
	if (!json)
		return reading.status;
	struct placement *placement = arena_alloc(arena, sizeof(*placement));
	if (!placement) {
		record_json_no_memory(&reading);
		goto out;
	}
	const json_t *pools =
	    record_json_array(&reading, json, "pools", MODEL_MAX_POOLS, sizeof(*placement->pools),
			      &placement->pools, &placement->pool_count);
	for (size_t i = 0; pools && i < placement->pool_count; i++)
		read_placed_pool(&reading, json_array_get(pools, i), &placement->pools[i]);
	const json_t *slots = record_json_array(
	    &reading, json, "used_slots", (size_t)4 * RECORD_MAX_ITEMS,
	    sizeof(*placement->used_slots), &placement->used_slots, &placement->used_slot_count);
	for (size_t i = 0; slots && i < placement->used_slot_count; i++)
		read_placed_slot(&reading, json_array_get(slots, i), &placement->used_slots[i]);
	read_names(&reading, json, "sites", &placement->sites, &placement->site_count);
	read_names(&reading, json, "services", &placement->services, &placement->service_count);
	if (!reading.status)
		*ret_placement = placement;
out:
	json_decref(json);
	return reading.status;
}
