/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shapes a node can have (one value, a list, a map with known keys) and the values that many
 * keys share. Whatever does not fit is reported once, with the advice that gets it right.
 */
#include "yaml/form.h"

#include "base/text.h"

#include <string.h>

/* --- shapes --- */

void form_out_of_memory(struct form *form)
{
	form->notes->status = -ENOMEM;
}

struct note_span form_place(const struct yaml_node *node)
{
	bool use_key = node->key && (node->is_null || node->kind != YAML_SCALAR);
	return use_key ? node->key->span : node->span;
}

static const char *kind_name(const struct yaml_node *node)
{
	if (node->is_null)
		return "nothing";
	return node->kind == YAML_SCALAR ? "a single value"
	       : node->kind == YAML_LIST ? "a list"
					 : "a map";
}

bool form_expect(struct form *form, const struct yaml_node *node, enum yaml_kind kind)
{
	static const char *const WANTED[] = {
	    [YAML_SCALAR] = "a single value", [YAML_LIST] = "a list", [YAML_MAP] = "a map"};
	static const char *const ADVICE[] = {
	    [YAML_SCALAR] = "write one value, without brackets or braces",
	    [YAML_LIST] = "write [a, b], or each item on a line of its own behind `- `",
	    [YAML_MAP] = "write {key: value}, or each key on an indented line of its own"};
	if (node->kind == kind && !node->is_null)
		return true;
	if (node->key)
		notes_error(form->notes, form_place(node), "`%s` must be %s, and is %s",
			    node->key->text, WANTED[kind], kind_name(node));
	else
		notes_error(form->notes, form_place(node), "%s belongs here, not %s", WANTED[kind],
			    kind_name(node));
	notes_advise(form->notes, "%s", ADVICE[kind]);
	return false;
}

static const char *nearest_field(const char *name, const struct form_field *fields, size_t count)
{
	const char *nearest = NULL;
	size_t least = strlen(name) / 3 + 2; /* one slip in a short word, more in a long one */
	for (size_t i = 0; i < count; i++) {
		size_t distance = text_distance(name, fields[i].name);
		if (distance < least) {
			least = distance;
			nearest = fields[i].name;
		}
	}
	return nearest;
}

static void report_unknown(struct form *form, const struct yaml_node *key, const char *what,
			   const struct form_field *fields, size_t count)
{
	notes_error(form->notes, key->span, "%s has no key `%s`", what, key->text);
	const char *nearest = nearest_field(key->text, fields, count);
	if (nearest) {
		notes_advise(form->notes, "did you mean `%s`?", nearest);
		return;
	}
	struct buffer names;
	buffer_init(&names, 0);
	for (size_t i = 0; i < count; i++)
		buffer_printf(&names, "%s%s", i ? ", " : "", fields[i].name);
	notes_advise(form->notes, "its keys are: %s", names.data ? names.data : "");
	buffer_done(&names);
}

void read_fields(struct form *form, const struct yaml_node *node, const char *what,
		 const struct form_field *fields, size_t count, void *target)
{
	if (!form_expect(form, node, YAML_MAP))
		return;
	for (const struct yaml_node *value = node->first; value; value = value->next) {
		size_t i = 0;
		while (i < count && strcmp(fields[i].name, value->key->text) != 0)
			i++;
		if (i == count) {
			report_unknown(form, value->key, what, fields, count);
		} else if (value->is_null && !fields[i].may_be_null) {
			notes_error(form->notes, value->key->span, "`%s` has no value",
				    value->key->text);
			notes_advise(form->notes, "write a value, or remove the key");
		} else {
			fields[i].read(form, value, target);
		}
	}
	for (size_t i = 0; i < count; i++) {
		if (!fields[i].is_required || yaml_get(node, fields[i].name))
			continue;
		notes_error(form->notes, form_place(node), "%s needs the key `%s`", what,
			    fields[i].name);
	}
}

void *read_items(struct form *form, const struct yaml_node *node, enum yaml_kind kind, size_t max,
		 size_t size, read_fn *read, size_t *ret_count)
{
	if (!form_expect(form, node, kind))
		return NULL;
	if (node->count > max) {
		notes_error(form->notes, form_place(node),
			    "%zu items, and at most %zu are possible", node->count, max);
		return NULL;
	}
	if (node->count == 0)
		return NULL;
	char *items = arena_array(form->arena, node->count, size);
	if (!items) {
		form_out_of_memory(form);
		return NULL;
	}
	size_t i = 0;
	for (const struct yaml_node *item = node->first; item; item = item->next)
		read(form, item, items + size * i++);
	*ret_count = node->count;
	return items;
}

size_t read_items_into(struct form *form, const struct yaml_node *node, size_t max, size_t size,
		       read_fn *read, void *target)
{
	size_t count = 0;
	const void *items = read_items(form, node, YAML_LIST, max, size, read, &count);
	if (!items)
		return 0;
	memcpy(target, items, count * size);
	return count;
}

void form_expect_some(struct form *form, const struct yaml_node *node)
{
	if (node->kind == YAML_SCALAR || node->count > 0)
		return;
	notes_error(form->notes, form_place(node), "`%s` is empty", node->key->text);
	notes_advise(form->notes, "it needs at least one entry");
}

/* --- single values --- */

void form_note_value(struct form *form, const struct yaml_node *node, const char *what,
		     const char *fault)
{
	notes_error(form->notes, node->span, "`%s` is not %s", node->text, what);
	notes_advise(form->notes, "%s", fault);
}

const char *form_copy_text(struct form *form, const struct yaml_node *node)
{
	const char *copy = arena_strdup(form->arena, node->text);
	if (!copy)
		form_out_of_memory(form);
	return copy;
}

void read_label(struct form *form, const struct yaml_node *node, const char **target)
{
	if (!form_expect(form, node, YAML_SCALAR))
		return;
	const char *fault = text_check_label(node->text);
	if (fault)
		form_note_value(form, node, "a valid name", fault);
	else
		*target = form_copy_text(form, node);
}

void read_number(struct form *form, const struct yaml_node *node, uint32_t max, uint32_t *target)
{
	if (!form_expect(form, node, YAML_SCALAR))
		return;
	const char *fault = text_parse_number(node->text, max, target);
	if (node->is_plain && !fault)
		return;
	notes_error(form->notes, node->span, "`%s` must be a whole number from 0 to %u",
		    node->key->text, max);
	notes_advise(form->notes, "%s", fault ? fault : "write it without quotes");
}

void read_duration(struct form *form, const struct yaml_node *node, uint64_t min_ms,
		   uint64_t max_ms, uint64_t *target)
{
	if (!form_expect(form, node, YAML_SCALAR))
		return;
	uint64_t ms;
	const char *fault = text_parse_duration(node->text, &ms);
	if (fault) {
		form_note_value(form, node, "a duration", fault);
		return;
	}
	if (ms < min_ms || ms > max_ms) {
		char min[TEXT_BYTES], max[TEXT_BYTES];
		notes_error(form->notes, node->span, "`%s` must be from %s to %s", node->key->text,
			    text_format_duration(min_ms, min), text_format_duration(max_ms, max));
		return;
	}
	*target = ms;
}

void read_address(struct form *form, const struct yaml_node *node, void *target)
{
	if (!form_expect(form, node, YAML_SCALAR))
		return;
	struct ip_address *address = target;
	if (ip_address_parse(node->text, address) < 0) {
		form_note_value(form, node, "an IP address",
				strchr(node->text, '/')
				    ? "write one address here, without a prefix length"
				    : "write an address such as 192.0.2.1 or \"2001:db8::1\"");
		return;
	}
	const char *fault = text_check_unicast(address);
	if (fault) {
		notes_error(form->notes, node->span, "`%s` cannot be used here", node->text);
		notes_advise(form->notes, "%s", fault);
	}
}

/* Say which prefix was meant when only the host bits are wrong. */
static void report_prefix(struct form *form, const struct yaml_node *node)
{
	char address_text[IP_TEXT_BYTES];
	struct ip_prefix prefix;
	size_t slash = strcspn(node->text, "/");
	uint32_t length;
	notes_error(form->notes, node->span, "`%s` is not a prefix", node->text);
	if (slash < sizeof(address_text)) {
		memcpy(address_text, node->text, slash);
		address_text[slash] = '\0';
		if (node->text[slash] && ip_address_parse(address_text, &prefix.address) == 0 &&
		    !text_parse_number(node->text + slash + 1,
				       ip_family_bits(prefix.address.family), &length)) {
			prefix.length = (uint8_t)length;
			ip_address_mask(&prefix.address, length);
			notes_advise(form->notes,
				     "its bits behind the first %u must be zero; did you mean %s?",
				     length, ip_prefix_format(&prefix, address_text));
			return;
		}
	}
	notes_advise(form->notes,
		     "write an address and a length, such as 192.0.2.0/24 or \"2001:db8::/32\"");
}

void read_prefix(struct form *form, const struct yaml_node *node, void *target)
{
	struct ip_prefix *prefix = target;
	if (form_expect(form, node, YAML_SCALAR) && ip_prefix_parse(node->text, prefix) < 0)
		report_prefix(form, node);
}
