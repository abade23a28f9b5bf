/* SPDX-License-Identifier: Apache-2.0 */
#include "state/removed.h"

#include "base/search.h"
#include "ledger/ledger.h"
#include "state/record_json.h"
#include "state/records.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS 16u

struct removed_member removed_member_of(const struct member *member, uint64_t sequence,
					uint64_t wall_ms)
{
	struct removed_member removed = {.sequence = sequence,
					 .roles = member->roles,
					 .source_count = member->source_count,
					 .channel_address = member->channel_address,
					 .removed_ms = wall_ms,
					 .fenced = member_has(member, MEMBER_EDGE) ? 0 : sequence};
	snprintf(removed.name, sizeof(removed.name), "%s", member->name);
	memcpy(removed.channel_key, member->channel_key, sizeof(removed.channel_key));
	memcpy(removed.sources, member->sources, sizeof(removed.sources));
	return removed;
}

const char *removed_member_key(uint64_t sequence, char *key)
{
	snprintf(key, RECORD_KEY_BYTES, "%s%016" PRIu64, record_rows[RECORD_REMOVED].key, sequence);
	return key;
}

int removed_member_put(const struct removed_member *removed, struct buffer *value)
{
	char roles[MEMBER_ROLES_BYTES];
	json_t *sources = json_array();
	for (size_t i = 0; i < removed->source_count; i++)
		json_array_append_new(sources, record_json_address_text(&removed->sources[i]));
	if (json_array_size(sources) != removed->source_count) {
		json_decref(sources);
		return -ENOMEM;
	}
	json_t *json =
	    json_pack("{s:s, s:s, s:s, s:o, s:I, s:I}", "node", removed->name, "channel_key",
		      removed->channel_key, "roles", member_roles_format(removed->roles, roles),
		      "sources", sources, "removed_ms", (json_int_t)removed->removed_ms, "fenced",
		      (json_int_t)removed->fenced);
	if (json && removed->channel_address.family &&
	    json_object_set_new(json, "address",
				record_json_address_text(&removed->channel_address)) < 0) {
		json_decref(json);
		json = NULL;
	}
	return record_json_put(RECORD_REMOVED, json, value);
}

static void read_sources(struct record_reading *reading, const json_t *json,
			 struct removed_member *removed)
{
	const json_t *sources = json_object_get(json, "sources");
	if (!json_is_array(sources) || json_array_size(sources) > MEMBER_SOURCES)
		record_json_fault(reading, "sources");
	for (size_t i = 0; i < json_array_size(sources) && i < MEMBER_SOURCES; i++) {
		const char *text = json_string_value(json_array_get(sources, i));
		if (!text || ip_address_parse(text, &removed->sources[i]) < 0)
			record_json_fault(reading, "sources");
		removed->source_count++;
	}
}

static int parse(const struct store_record *record, struct removed_member *ret_removed,
		 struct error *err)
{
	struct record_reading reading = {.type = RECORD_REMOVED, .err = err};
	const char *name = record_key_rest(record->key, RECORD_REMOVED);
	struct removed_member removed = {.mod_revision = record->mod_revision};
	char roles[MEMBER_ROLES_BYTES] = "";
	const char *wrong;
	json_t *json = record_json_open(&reading, record->value, record->value_length);
	if (!json)
		return reading.status;
	record_json_name(&reading, json, "node", removed.name, sizeof(removed.name));
	record_json_name(&reading, json, "channel_key", removed.channel_key,
			 sizeof(removed.channel_key));
	record_json_name(&reading, json, "roles", roles, sizeof(roles));
	if (*roles && !member_roles_parse(roles, &removed.roles, &wrong))
		record_json_fault(&reading, "roles");
	read_sources(&reading, json, &removed);
	if (json_object_get(json, "address"))
		record_json_address(&reading, json, "address", &removed.channel_address);
	removed.removed_ms = record_json_number(&reading, json, "removed_ms", INT64_MAX);
	removed.fenced = record_json_number(&reading, json, "fenced", LEDGER_SEQUENCE_MAX);
	json_decref(json);
	if (reading.status)
		return reading.status;
	if (strlen(name) != DIGITS || strspn(name, "0123456789") != DIGITS)
		return error_set(err, -FL_ECORRUPT, "the store's key %s names no removal",
				 record->key);
	removed.sequence = strtoull(name, NULL, 10);
	*ret_removed = removed;
	return 0;
}

static int compare_sequence(const void *items, size_t place, const void *sequence)
{
	const struct removed_member *list = items;
	const uint64_t *wanted = sequence;
	return list[place].sequence < *wanted ? -1 : list[place].sequence > *wanted;
}

static size_t find_place(const struct removed_list *list, uint64_t sequence, bool *ret_found)
{
	return search_place(list->items, list->count, &sequence, compare_sequence, ret_found);
}

int removed_list_take(struct removed_list *list, const struct store_record *record, uint64_t now_ms,
		      struct error *err)
{
	struct removed_member removed = {0};
	bool found;
	int result = parse(record, &removed, err);
	if (result < 0)
		return result;
	size_t at = find_place(list, removed.sequence, &found);
	if (found) {
		removed.learned_ms = list->items[at].learned_ms;
		list->items[at] = removed;
		return 0;
	}
	struct removed_member *items = reallocarray(list->items, list->count + 1, sizeof(*items));
	if (!items)
		return -ENOMEM;
	list->items = items;
	memmove(items + at + 1, items + at, (list->count - at) * sizeof(*items));
	removed.learned_ms = now_ms;
	items[at] = removed;
	list->count++;
	return 0;
}

void removed_list_drop(struct removed_list *list, const char *key)
{
	bool found;
	const uint64_t sequence = strtoull(record_key_rest(key, RECORD_REMOVED), NULL, 10);
	size_t at = find_place(list, sequence, &found);
	if (!found)
		return;
	list->count--;
	memmove(list->items + at, list->items + at + 1, (list->count - at) * sizeof(*list->items));
}

void removed_list_done(struct removed_list *list)
{
	free(list->items);
	*list = (struct removed_list){0};
}

const struct removed_member *removed_list_find(const struct removed_list *list, uint64_t sequence)
{
	bool found;
	size_t at = find_place(list, sequence, &found);
	return found ? &list->items[at] : NULL;
}

const struct removed_member *removed_list_find_key(const struct removed_list *list,
						   const char *channel_key)
{
	for (size_t i = list->count; *channel_key && i-- > 0;) {
		if (strcmp(list->items[i].channel_key, channel_key) == 0)
			return &list->items[i];
	}
	return NULL;
}

const struct removed_member *removed_list_unfenced(const struct removed_list *list,
						   const char *name)
{
	for (size_t i = list->count; i-- > 0;) {
		const struct removed_member *removed = &list->items[i];
		if (!removed_is_fenced(removed) && strcmp(removed->name, name) == 0)
			return removed;
	}
	return NULL;
}

uint64_t removed_names_ms(const struct removed_list *list)
{
	uint64_t last_ms = 0;
	for (size_t i = 0; i < list->count; i++) {
		const struct removed_member *removed = &list->items[i];
		if (removed->roles & MEMBER_NAMES && removed->removed_ms > last_ms)
			last_ms = removed->removed_ms;
	}
	return last_ms;
}
