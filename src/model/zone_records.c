/* SPDX-License-Identifier: Apache-2.0 */
#include "model/zone_records.h"

#include <string.h>

const struct zone_record_row zone_record_rows[ZONE_RECORD_TYPE_COUNT] = {
#define ZONE_RECORD_ROW(id, key, number) {key, number},
    ZONE_RECORD_TYPES(ZONE_RECORD_ROW)
#undef ZONE_RECORD_ROW
};

static bool text_equal(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool zone_set_equal(const struct zone_set *a, const struct zone_set *b)
{
	if (a->type != b->type || a->value_count != b->value_count)
		return false;
	for (size_t i = 0; i < a->value_count; i++)
		if (strcmp(a->values[i], b->values[i]) != 0)
			return false;
	return true;
}

static bool name_equal(const struct zone_name *a, const struct zone_name *b)
{
	if (!text_equal(a->name, b->name) || a->ttl_s != b->ttl_s || a->set_count != b->set_count)
		return false;
	for (size_t i = 0; i < a->set_count; i++)
		if (!zone_set_equal(&a->sets[i], &b->sets[i]))
			return false;
	return true;
}

bool zone_settings_equal(const struct zone_settings *a, const struct zone_settings *b)
{
	if (!text_equal(a->contact, b->contact) || a->ttl_s != b->ttl_s ||
	    a->negative_ttl_s != b->negative_ttl_s || a->rate != b->rate ||
	    a->name_count != b->name_count)
		return false;
	for (size_t i = 0; i < a->name_count; i++)
		if (!name_equal(&a->names[i], &b->names[i]))
			return false;
	return true;
}

bool zone_settings_are_default(const struct zone_settings *zone)
{
	static const struct zone_settings DEFAULT;
	return zone_settings_equal(zone, &DEFAULT);
}

const struct zone_set *zone_find_set(const struct zone_settings *zone, const char *name,
				     enum zone_record_type type, uint32_t *ret_ttl_s)
{
	for (size_t i = 0; i < zone->name_count; i++) {
		const struct zone_name *owner = &zone->names[i];
		for (size_t j = 0; strcmp(owner->name, name) == 0 && j < owner->set_count; j++) {
			if (owner->sets[j].type != type)
				continue;
			*ret_ttl_s = owner->ttl_s;
			return &owner->sets[j];
		}
	}
	return NULL;
}
