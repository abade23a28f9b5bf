/* SPDX-License-Identifier: Apache-2.0 */
/* What the file says of the zone itself, under `dns`: its SOA, limits, and records. */
#include "config/read.h"

#include "model/fabric.h"
#include "yaml/form.h"

#include <string.h>

#define MAX_TTL_MS (7ull * 86400 * 1000)
#define MAX_RATE 1000000u

/* Whole seconds; left as it is after a fault. */
static void read_seconds(struct form *form, const struct yaml_node *node, uint32_t *target)
{
	uint64_t ms = 0;
	read_duration(form, node, 1000, MAX_TTL_MS, &ms);
	if (ms % 1000 != 0)
		form_note_value(form, node, "a whole number of seconds",
				"DNS counts a TTL in seconds");
	else if (ms > 0)
		*target = (uint32_t)(ms / 1000);
}

static void read_contact(struct form *form, const struct yaml_node *node, void *target)
{
	struct zone_settings *zone = target;
	if (form_expect(form, node, YAML_SCALAR))
		zone->contact = form_copy_text(form, node);
}

static void read_zone_ttl(struct form *form, const struct yaml_node *node, void *target)
{
	struct zone_settings *zone = target;
	read_seconds(form, node, &zone->ttl_s);
	if (zone->ttl_s == ZONE_DEFAULT_TTL_S)
		zone->ttl_s = 0;
}

static void read_negative_ttl(struct form *form, const struct yaml_node *node, void *target)
{
	struct zone_settings *zone = target;
	read_seconds(form, node, &zone->negative_ttl_s);
	if (zone->negative_ttl_s == ZONE_DEFAULT_NEGATIVE_TTL_S)
		zone->negative_ttl_s = 0;
}

static void read_rate(struct form *form, const struct yaml_node *node, void *target)
{
	struct zone_settings *zone = target;
	if (!form_expect(form, node, YAML_SCALAR))
		return;
	if (strcmp(node->text, "none") == 0) {
		zone->rate = ZONE_RATE_NONE;
		return;
	}
	size_t errors = form->notes->findings->errors;
	read_number(form, node, MAX_RATE, &zone->rate);
	if (zone->rate == 0 && form->notes->findings->errors == errors)
		form_note_value(form, node, "a rate",
				"write a number of answers a second, or `none`");
	if (zone->rate == ZONE_DEFAULT_RATE)
		zone->rate = 0;
}

/* --- records --- */

static void read_value(struct form *form, const struct yaml_node *node, void *target)
{
	const char **value = target;
	*value = "";
	if (form_expect(form, node, YAML_SCALAR))
		*value = form_copy_text(form, node);
}

/* One value, or a list of them, of the type that is the key. */
static void read_set(struct form *form, const struct yaml_node *node, void *target)
{
	struct zone_name *name = target;
	struct zone_set *set = &name->sets[name->set_count];
	while (strcmp(zone_record_rows[set->type].key, node->key->text) != 0)
		set->type++;
	name->set_count++;
	if (node->kind == YAML_LIST) {
		set->values = read_items(form, node, YAML_LIST, ZONE_MAX_RECORD_VALUES,
					 sizeof(*set->values), read_value, &set->value_count);
		form_expect_some(form, node);
		return;
	}
	set->values = arena_array(form->arena, 1, sizeof(*set->values));
	if (!set->values)
		form_out_of_memory(form);
	else
		read_value(form, node, set->values);
	set->value_count = set->values ? 1 : 0;
}

static void read_own_ttl(struct form *form, const struct yaml_node *node, void *target)
{
	struct zone_name *name = target;
	read_seconds(form, node, &name->ttl_s);
}

static void read_record_name(struct form *form, const struct yaml_node *node, void *target)
{
	static const struct form_field FIELDS[] = {{.name = "ttl", .read = read_own_ttl},
#define ZONE_RECORD_FIELD(id, key, number) {.name = (key), .read = read_set},
						   ZONE_RECORD_TYPES(ZONE_RECORD_FIELD)
#undef ZONE_RECORD_FIELD
	};
	struct zone_name *name = target;
	name->name = form_copy_text(form, node->key);
	name->sets = arena_array(form->arena, ZONE_RECORD_TYPE_COUNT, sizeof(*name->sets));
	if (!name->sets)
		form_out_of_memory(form);
	else
		read_fields(form, node, "a name", FIELDS, COUNT(FIELDS), name);
}

static void read_records(struct form *form, const struct yaml_node *node, void *target)
{
	struct zone_settings *zone = target;
	zone->names = read_items(form, node, YAML_MAP, ZONE_MAX_RECORD_NAMES,
				 sizeof(struct zone_name), read_record_name, &zone->name_count);
}

void read_zone_settings(struct form *form, const struct yaml_node *node, void *target)
{
	static const struct form_field FIELDS[] = {
	    {.name = "contact", .read = read_contact},
	    {.name = "ttl", .read = read_zone_ttl},
	    {.name = "negative_ttl", .read = read_negative_ttl},
	    {.name = "rate_limit", .read = read_rate},
	    {.name = "records", .read = read_records}};
	struct fabric *fabric = target;
	read_fields(form, node, "dns", FIELDS, COUNT(FIELDS), &fabric->dns);
}
