/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of things, and reports of single ones, as the descriptions in thing_table.c say: `get`,
 * `describe`, and every command whose answer is a list of things. */
#include "control/render_parts.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

/* --- values --- */

/* "last_report_ms" → "last report" */
static void key_words(const struct field *field, const char *key, char words[PART_BYTES])
{
	size_t unit = field && field->unit ? strlen(field->unit) + 1 : 0;
	snprintf(words, PART_BYTES, "%.*s", (int)(strlen(key) - unit), key);
	for (char *c = words; *c; c++)
		*c = *c == '_' ? ' ' : *c;
}

static void put_number(const struct field *field, const json_t *value, struct buffer *text)
{
	char words[PART_BYTES];
	const char *unit = field && field->unit ? field->unit : "";
	if (field && field->type == FIELD_SHARE)
		buffer_puts(text, part_share(json_number_value(value), words));
	else if (strcmp(unit, "ms") == 0)
		buffer_puts(text, part_duration(json_integer_value(value), words));
	else if (json_is_integer(value))
		buffer_printf(text, "%lld%s%s", (long long)json_integer_value(value),
			      *unit ? " " : "", unit);
	else
		buffer_printf(text, "%g", json_real_value(value));
}

/* One value on one line; a nested one only if it is a list of texts or empty. */
static void put_value(const struct field *field, const json_t *value, struct buffer *text)
{
	switch (json_typeof(value)) {
	case JSON_STRING:
		screen_puts(text, *json_string_value(value) ? json_string_value(value) : "-");
		break;
	case JSON_INTEGER:
	case JSON_REAL:
		put_number(field, value, text);
		break;
	case JSON_TRUE:
		buffer_puts(text, "yes");
		break;
	case JSON_FALSE:
		buffer_puts(text, "no");
		break;
	case JSON_NULL:
		buffer_puts(text, field && field->type == FIELD_TEXT ? "-" : "?");
		break;
	case JSON_ARRAY:
		part_join(value, text);
		break;
	case JSON_OBJECT:
		buffer_puts(text, "-");
		break;
	}
}

static bool is_nested(const json_t *value)
{
	if (json_object_size(value))
		return true;
	return json_is_object(json_array_get(value, 0)) || json_is_array(json_array_get(value, 0));
}

/* --- tables --- */

static void put_cell(struct table *table, const struct field *field, const json_t *item)
{
	char time[PART_BYTES];
	const json_t *value = json_object_get(item, field->name);
	struct buffer words;
	if (field->cell) {
		field->cell(table, item);
		return;
	}
	if (field->type == FIELD_TIME && json_is_string(value)) {
		table_cell(table, part_time(json_string_value(value), time));
		return;
	}
	buffer_init(&words, 0);
	if (value)
		put_value(field, value, &words);
	else
		buffer_putc(&words, '?');
	table_buffer(table, &words);
	if ((field->type == FIELD_NUMBER || field->type == FIELD_COUNTER) &&
	    !json_is_integer(value))
		table_paint(table, PAINT_WARN);
}

static bool has_column(const struct field *field, bool wide)
{
	return field->heading && (wide || !field->wide);
}

static void init_table(struct table *table, const struct thing *thing, bool wide)
{
	table_init(table, NULL);
	for (const struct field *field = thing->fields; field->name; field++) {
		if (has_column(field, wide))
			table_title(table, field->heading);
	}
}

static void put_rows(struct table *table, const struct thing *thing, bool wide,
		     const json_t *holder, const json_t *list, size_t most)
{
	size_t count = json_array_size(list) < most ? json_array_size(list) : most;
	bool alone = !count && thing->fields->outer;
	for (size_t i = 0; i < count + alone; i++) {
		for (const struct field *field = thing->fields; field->name; field++) {
			if (!has_column(field, wide))
				continue;
			if (field->outer && field->type == FIELD_TEXT && i)
				table_cell(table, "");
			else if (alone && !field->outer)
				table_cell(table, "-");
			else
				put_cell(table, field,
					 field->outer ? holder : json_array_get(list, i));
		}
	}
}

void render_head(const struct render *render, const struct thing *thing, const json_t *list,
		 size_t most, unsigned indent)
{
	struct table table;
	init_table(&table, thing, true);
	put_rows(&table, thing, true, NULL, list, most);
	part_table_end(&table, render, indent, thing->none);
}

void render_list(const struct render *render, const struct thing *thing, const json_t *list,
		 unsigned indent)
{
	render_head(render, thing, list, SIZE_MAX, indent);
}

void render_lists(const struct render *render, const struct thing *thing, const json_t *holders,
		  const char *key, unsigned indent)
{
	struct table table;
	init_table(&table, thing, false);
	for (size_t i = 0; i < json_array_size(holders); i++) {
		const json_t *holder = json_array_get(holders, i);
		put_rows(&table, thing, false, holder, json_object_get(holder, key), SIZE_MAX);
	}
	part_table_end(&table, render, indent, thing->none);
}

/* The columns of a list inside a report, whose members may not have all fields, or some that are
 * not described: what any of them has, in the order in which it comes. */
static size_t find_columns(const struct thing *thing, const json_t *list,
			   struct field columns[TABLE_MAX_COLUMNS])
{
	const char *key;
	json_t *value;
	size_t count = 0;
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_object_foreach (json_array_get(list, i), key, value) {
			const struct field *field = thing_field(thing, key);
			size_t at = 0;
			while (at < count && strcmp(columns[at].name, key) != 0)
				at++;
			if (at < count || is_nested(value) || count == TABLE_MAX_COLUMNS)
				continue;
			columns[count++] =
			    field ? *field : (struct field){.name = key, .type = FIELD_TEXT};
		}
	}
	return count;
}

static void put_list(const struct render *render, const struct thing *thing, const json_t *list,
		     unsigned indent)
{
	struct table table;
	struct field columns[TABLE_MAX_COLUMNS];
	char headings[TABLE_MAX_COLUMNS][PART_BYTES];
	size_t count = find_columns(thing, list, columns);
	table_init(&table, NULL);
	for (size_t c = 0; c < count; c++) {
		key_words(&columns[c], columns[c].name, headings[c]);
		for (char *at = headings[c]; *at; at++)
			*at = (char)toupper((unsigned char)*at);
		table_title(&table, columns[c].heading ? columns[c].heading : headings[c]);
	}
	for (size_t i = 0; i < json_array_size(list); i++) {
		for (size_t c = 0; c < count; c++) {
			if (json_object_get(json_array_get(list, i), columns[c].name))
				put_cell(&table, &columns[c], json_array_get(list, i));
			else
				table_cell(&table, "-");
		}
	}
	part_table_end(&table, render, indent, "-");
}

/* --- reports --- */

static void put_report(const struct render *render, const struct thing *thing, const json_t *data,
		       unsigned indent);

static void put_nested(const struct render *render, const struct field *field, const char *key,
		       const json_t *value, unsigned indent)
{
	char words[PART_BYTES];
	key_words(field, key, words);
	buffer_printf(render->text, "%*s", (int)indent, "");
	screen_paint(render->text, PAINT_TITLE, render->color, words);
	buffer_puts(render->text, ":\n");
	const struct thing *thing = field ? field->thing : NULL;
	if (thing && thing->plural)
		render_list(render, thing, value, indent + 2);
	else
		put_report(render, thing, value, indent + 2);
}

static void put_object(const struct render *render, const struct thing *thing, const json_t *object,
		       unsigned indent)
{
	const char *key;
	json_t *value;
	size_t widest = 0;
	char words[PART_BYTES];
	json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
		key_words(thing_field(thing, key), key, words);
		size_t width = screen_width(words);
		widest = !is_nested(value) && width > widest ? width : widest;
	}
	json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
		const struct field *field = thing_field(thing, key);
		if (is_nested(value))
			continue;
		key_words(field, key, words);
		buffer_printf(render->text, "%*s", (int)indent, "");
		screen_puts(render->text, words);
		buffer_printf(render->text, ":%*s", (int)(widest - screen_width(words) + 1), "");
		put_value(field, value, render->text);
		buffer_putc(render->text, '\n');
	}
	json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
		if (is_nested(value))
			put_nested(render, thing_field(thing, key), key, value, indent);
	}
}

static void put_report(const struct render *render, const struct thing *thing, const json_t *data,
		       unsigned indent)
{
	if (json_is_object(data)) {
		put_object(render, thing, data, indent);
	} else if (is_nested(data)) {
		put_list(render, thing, data, indent);
	} else if (data) {
		buffer_printf(render->text, "%*s", (int)indent, "");
		put_value(NULL, data, render->text);
		buffer_putc(render->text, '\n');
	}
}

void render_thing(const struct render *render, const struct thing *thing, const json_t *data)
{
	if (thing && json_is_array(data))
		render_list(render, thing, data, 0);
	else
		put_report(render, thing, data, 0);
}

void render_get(const struct render *render, const json_t *list)
{
	render_thing(render, thing_find_kind(part_text(render->invocation->parameters, "kind", "")),
		     list);
}

/* "version/web/2" */
void render_describe(const struct render *render, const json_t *data)
{
	const char *name = part_text(render->invocation->parameters, "thing", "");
	const json_t *versions = json_object_get(data, "versions");
	render_thing(render, thing_find(name, strcspn(name, "/")), data);
	part_why_versions(render, versions, 0);
}

void render_rollout_status(const struct render *render, const json_t *rollouts)
{
	render_thing(render, &thing_rollout, rollouts);
	for (size_t i = 0; i < json_array_size(rollouts); i++)
		part_why_versions(render, json_object_get(json_array_get(rollouts, i), "older"), 0);
}
