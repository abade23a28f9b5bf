/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of the things of a fabric, and reports of single ones: `get`, `describe`,
 * `rollout status`. */
#include "control/render_parts.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

/* --- versions --- */

static enum paint paint_of_state(const char *state)
{
	if (strcmp(state, "serving") == 0)
		return PAINT_GOOD;
	if (strcmp(state, "draining") == 0 || strcmp(state, "closing") == 0)
		return PAINT_WARN;
	return strcmp(state, "retired") == 0 ? PAINT_FAINT : PAINT_NONE;
}

/* Addresses that mean this version by their own right, then those of older versions. */
static void address_cell(struct table *table, const json_t *version)
{
	const json_t *late = json_object_get(version, "late_addresses");
	struct buffer list;
	buffer_init(&list, 0);
	part_join(json_object_get(version, "addresses"), &list);
	if (json_array_size(late)) {
		buffer_puts(&list, "; late ");
		part_join(late, &list);
	}
	if (list.status)
		table->status = list.status;
	else
		table_cell(table, list.data);
	buffer_done(&list);
}

static void version_cells(struct table *table, const json_t *version, bool with_since)
{
	char text[PART_BYTES];
	const char *state = part_text(version, "state", "?");
	bool retired = strcmp(state, "retired") == 0;
	table_cell(table, part_text(version, "service", "?"));
	part_count_cell(table, version, "number");
	table_cell(table, state);
	table_paint(table, paint_of_state(state));
	if (with_since)
		table_cell(table, part_time(part_text(version, "since", "?"), text));
	table_cell(table, part_share(json_number_value(json_object_get(version, "share")), text));
	if (retired && !json_is_integer(json_object_get(version, "connections")))
		table_cell(table, "-"); /* its addresses mean another version by now */
	else
		part_count_cell(table, version, "connections");
	part_count_cell(table, version, "new_flows");
	part_count_cell(table, version, "late");
	address_cell(table, version);
}

static void init_versions(struct table *table, bool with_since)
{
	table_init(table, "SERVICE", "VERSION", "STATE", NULL);
	if (with_since)
		table_title(table, "SINCE");
	static const char *const rest[] = {"SHARE", "CONNECTIONS", "NEW FLOWS", "LATE",
					   "ADDRESSES"};
	for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++)
		table_title(table, rest[i]);
}

static void add_versions(struct table *table, const json_t *versions, bool with_since)
{
	for (size_t i = 0; i < json_array_size(versions); i++)
		version_cells(table, json_array_get(versions, i), with_since);
}

void render_versions(const struct render *render, const json_t *versions, bool with_since,
		     unsigned indent)
{
	struct table table;
	init_versions(&table, with_since);
	add_versions(&table, versions, with_since);
	part_table_end(&table, render, indent, "no version yet");
}

void render_service_versions(const struct render *render, const json_t *services, unsigned indent)
{
	struct table table;
	init_versions(&table, false);
	for (size_t i = 0; i < json_array_size(services); i++)
		add_versions(&table, json_object_get(json_array_get(services, i), "versions"),
			     false);
	part_table_end(&table, render, indent, "no version yet");
}

/* --- backends --- */

static void report_cell(struct table *table, const json_t *backend)
{
	char ago[PART_BYTES];
	const json_t *last = json_object_get(backend, "last_report_ms");
	bool silent = part_true(backend, "silent");
	bool forgotten = part_true(backend, "forgotten");
	bool awaited = part_true(backend, "awaited");
	if (forgotten)
		table_cell(table, "forgotten");
	else if (awaited)
		table_cell(table, "awaited");
	else if (!json_is_integer(last))
		table_cell(table, "never");
	else if (silent)
		table_cellf(table, "silent for %s", part_duration(json_integer_value(last), ago));
	else
		table_cellf(table, "%s ago", part_duration(json_integer_value(last), ago));
	table_paint(table, forgotten ? PAINT_FAINT
			   : awaited ? PAINT_WARN
			   : silent  ? PAINT_BAD
				     : PAINT_NONE);
}

void render_backends(const struct render *render, const json_t *backends, unsigned indent)
{
	struct table table;
	table_init(&table, "BACKEND", "ADDRESS", "REPORT", "CONNECTIONS", "CUT", NULL);
	for (size_t i = 0; i < json_array_size(backends); i++) {
		const json_t *backend = json_array_get(backends, i);
		table_cell(&table, part_text(backend, "name", "?"));
		table_cell(&table, part_text(backend, "address", "-"));
		report_cell(&table, backend);
		part_count_cell(&table, backend, "connections");
		part_count_cell(&table, backend, "cut");
	}
	part_table_end(&table, render, indent, "no backend yet");
}

/* --- the other lists of `get` --- */

static void get_versions(const struct render *render, const json_t *list)
{
	render_versions(render, list, true, 0);
}

static void get_backends(const struct render *render, const json_t *list)
{
	render_backends(render, list, 0);
}

static void rollout_cell(struct table *table, const json_t *rollout)
{
	char share[PART_BYTES];
	bool paused = part_true(rollout, "paused");
	if (!part_true(rollout, "under_way")) {
		table_cell(table, "complete");
		return;
	}
	table_cellf(table, "%s at %s", paused ? "paused" : "under way",
		    part_share(json_number_value(json_object_get(rollout, "share")), share));
	table_paint(table, paused ? PAINT_WARN : PAINT_NONE);
}

/* "1 draining, 2 serving" */
static void states_cell(struct table *table, const json_t *versions)
{
	json_t *words = json_array();
	for (size_t i = 0; i < json_array_size(versions); i++) {
		const json_t *version = json_array_get(versions, i);
		json_array_append_new(words, json_sprintf("%lld %s",
							  (long long)part_number(version, "number"),
							  part_text(version, "state", "?")));
	}
	part_join_cell(table, words);
	json_decref(words);
}

static void get_services(const struct render *render, const json_t *list)
{
	struct table table;
	table_init(&table, "SERVICE", "VERSION", "ROLLOUT", "TTL", "LIVE VERSIONS", NULL);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *service = json_array_get(list, i);
		const json_t *rollout = json_object_get(service, "rollout");
		table_cell(&table, part_text(service, "name", "?"));
		part_count_cell(&table, rollout, "target");
		if (part_true(service, "removed"))
			table_cell(&table, "removed");
		else
			rollout_cell(&table, rollout);
		table_cellf(&table, "%lld s", (long long)part_number(service, "ttl_s"));
		states_cell(&table, json_object_get(service, "versions"));
	}
	part_table_end(&table, render, 0, "no service yet");
}

static const char *binding_means(const json_t *binding)
{
	if (part_true(binding, "reclaiming"))
		return "refusing, to be freed";
	if (part_true(binding, "refusing"))
		return "refusing new flows";
	return part_true(binding, "is_late") ? "late" : "own";
}

static void get_bindings(const struct render *render, const json_t *list)
{
	struct table table;
	table_init(&table, "ADDRESS", "SERVICE", "VERSION", "BINDING", "USE", "CONNECTIONS",
		   "NEW FLOWS", "LATE", NULL);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *binding = json_array_get(list, i);
		table_cell(&table, part_text(binding, "address", "?"));
		table_cell(&table, part_text(binding, "service", "?"));
		part_count_cell(&table, binding, "version");
		part_count_cell(&table, binding, "number");
		table_cell(&table, binding_means(binding));
		part_count_cell(&table, binding, "connections");
		part_count_cell(&table, binding, "new_flows");
		part_count_cell(&table, binding, "late");
	}
	part_table_end(&table, render, 0, "no service address is bound yet");
}

static void get_pools(const struct render *render, const json_t *list)
{
	struct table table;
	table_init(&table, "PREFIX", "SLOTS PER SITE", "SERVICES", "ROLLOUTS A DAY", NULL);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *pool = json_array_get(list, i);
		table_cell(&table, part_text(pool, "prefix", "?"));
		part_count_cell(&table, pool, "slots_per_site");
		part_count_cell(&table, pool, "services");
		if (json_is_null(json_object_get(pool, "rollouts_per_day")))
			table_cell(&table, "any number");
		else
			part_count_cell(&table, pool, "rollouts_per_day");
	}
	part_table_end(&table, render, 0, "no pool");
}

static void get_sites(const struct render *render, const json_t *list)
{
	struct table table;
	table_init(&table, "SITE", "NUMBER", "THIS NODE", NULL);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *site = json_array_get(list, i);
		table_cell(&table, part_text(site, "name", "?"));
		part_count_cell(&table, site, "number");
		table_cell(&table, part_true(site, "own") ? "stands here" : "");
	}
	part_table_end(&table, render, 0, "no site");
}

void render_get(const struct render *render, const json_t *list)
{
	static const struct {
		const char *kind;
		render_fn *render;
	} kinds[] = {
	    {"services", get_services}, {"versions", get_versions}, {"backends", get_backends},
	    {"bindings", get_bindings}, {"pools", get_pools},       {"sites", get_sites},
	};
	const char *kind = part_text(render->invocation->parameters, "kind", "");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i].kind, kind) == 0) {
			kinds[i].render(render, list);
			return;
		}
	}
	render_report(render, list, 0);
}

/* --- rollout status --- */

static void next_step_cell(struct table *table, const json_t *rollout)
{
	char due[PART_BYTES];
	const json_t *next = json_object_get(rollout, "next_step_in_ms");
	if (!part_true(rollout, "under_way")) {
		table_cell(table, "complete");
	} else if (part_true(rollout, "paused")) {
		table_cell(table, "paused; `fairlead rollout resume` lets it go on");
		table_paint(table, PAINT_WARN);
	} else if (next) {
		table_cell(table, part_due(json_integer_value(next), due));
	} else {
		table_cell(table, "when every edge holds the version");
	}
}

void render_rollout_status(const struct render *render, const json_t *list)
{
	char share[PART_BYTES];
	struct table table;
	table_init(&table, "SERVICE", "FROM", "TO", "SHARE", "STEP", "NEXT STEP", NULL);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *rollout = json_array_get(list, i);
		bool under_way = part_true(rollout, "under_way");
		json_int_t base = part_number(rollout, "base");
		table_cell(&table, part_text(rollout, "service", "?"));
		if (base && under_way)
			table_cellf(&table, "%lld", (long long)base);
		else
			table_cell(&table, "-");
		part_count_cell(&table, rollout, "target");
		table_cell(&table,
			   part_share(json_number_value(json_object_get(rollout, "share")), share));
		if (under_way)
			table_cellf(&table, "%lld of %lld", (long long)part_number(rollout, "step"),
				    (long long)part_number(rollout, "steps"));
		else
			table_cell(&table, "-");
		next_step_cell(&table, rollout);
	}
	part_table_end(&table, render, 0, "no service yet");
}

/* --- reports --- */

/* "last_report_ms" → "last report" */
static void key_words(const char *key, char words[PART_BYTES])
{
	static const char *const units[] = {"_ms", "_s"};
	size_t length = strlen(key);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		size_t unit = strlen(units[i]);
		if (length > unit && strcmp(key + length - unit, units[i]) == 0) {
			length -= unit;
			break;
		}
	}
	snprintf(words, PART_BYTES, "%.*s", (int)(length < PART_BYTES ? length : PART_BYTES - 1),
		 key);
	for (char *c = words; *c; c++)
		*c = *c == '_' ? ' ' : *c;
}

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text);
	return length >= strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

static void put_number(const char *key, const json_t *value, struct buffer *text)
{
	char words[PART_BYTES];
	if (strcmp(key, "share") == 0)
		buffer_puts(text, part_share(json_number_value(value), words));
	else if (ends_with(key, "_ms"))
		buffer_puts(text, part_duration(json_integer_value(value), words));
	else if (ends_with(key, "_s"))
		buffer_puts(text, part_duration(1000 * json_integer_value(value), words));
	else if (json_is_integer(value))
		buffer_printf(text, "%lld", (long long)json_integer_value(value));
	else
		buffer_printf(text, "%g", json_real_value(value));
}

/* One value on one line; a nested one only if it is a list of texts or empty. */
static void put_value(const char *key, const json_t *value, struct buffer *text)
{
	switch (json_typeof(value)) {
	case JSON_STRING:
		screen_puts(text, *json_string_value(value) ? json_string_value(value) : "-");
		break;
	case JSON_INTEGER:
	case JSON_REAL:
		put_number(key, value, text);
		break;
	case JSON_TRUE:
		buffer_puts(text, "yes");
		break;
	case JSON_FALSE:
		buffer_puts(text, "no");
		break;
	case JSON_NULL:
		buffer_puts(text, "?");
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

/* A list of objects as a table of what is flat in them. The first one says which columns. */
static void put_list(const struct render *render, const json_t *list, unsigned indent)
{
	struct table table;
	const char *keys[TABLE_MAX_COLUMNS];
	char titles[TABLE_MAX_COLUMNS][PART_BYTES];
	size_t columns = 0;
	const char *key;
	json_t *value;
	table_init(&table, NULL);
	json_object_foreach (json_array_get(list, 0), key, value) {
		if (is_nested(value) || columns == TABLE_MAX_COLUMNS)
			continue;
		keys[columns] = key;
		key_words(key, titles[columns]);
		for (char *c = titles[columns]; *c; c++)
			*c = (char)toupper((unsigned char)*c);
		table_title(&table, titles[columns++]);
	}
	for (size_t i = 0; i < json_array_size(list); i++) {
		for (size_t c = 0; c < columns; c++) {
			const json_t *cell = json_object_get(json_array_get(list, i), keys[c]);
			struct buffer words;
			buffer_init(&words, 0);
			if (cell)
				put_value(keys[c], cell, &words);
			if (words.status)
				table.status = words.status;
			else
				table_cell(&table, words.data ? words.data : "-");
			buffer_done(&words);
		}
	}
	part_table_end(&table, render, indent, "-");
}

static void put_nested(const struct render *render, const char *key, const json_t *value,
		       unsigned indent)
{
	char words[PART_BYTES];
	key_words(key, words);
	buffer_printf(render->text, "%*s", (int)indent, "");
	screen_paint(render->text, PAINT_TITLE, render->color, words);
	buffer_puts(render->text, ":\n");
	if (strcmp(key, "versions") == 0)
		render_versions(render, value, true, indent + 2);
	else
		render_report(render, value, indent + 2);
}

static void put_object(const struct render *render, const json_t *object, unsigned indent)
{
	const char *key;
	json_t *value;
	size_t widest = 0;
	char words[PART_BYTES];
	json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
		key_words(key, words);
		size_t width = screen_width(words);
		widest = !is_nested(value) && width > widest ? width : widest;
	}
	json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
		if (is_nested(value))
			continue;
		key_words(key, words);
		buffer_printf(render->text, "%*s", (int)indent, "");
		screen_puts(render->text, words);
		buffer_printf(render->text, ":%*s", (int)(widest - screen_width(words) + 1), "");
		put_value(key, value, render->text);
		buffer_putc(render->text, '\n');
	}
	json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
		if (is_nested(value))
			put_nested(render, key, value, indent);
	}
}

void render_report(const struct render *render, const json_t *data, unsigned indent)
{
	if (json_is_object(data)) {
		put_object(render, data, indent);
	} else if (is_nested(data)) {
		put_list(render, data, indent);
	} else if (data) {
		buffer_printf(render->text, "%*s", (int)indent, "");
		put_value("", data, render->text);
		buffer_putc(render->text, '\n');
	}
}

void render_describe(const struct render *render, const json_t *data)
{
	render_report(render, data, 0);
}
