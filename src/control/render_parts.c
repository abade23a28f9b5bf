/* SPDX-License-Identifier: Apache-2.0 */
#include "control/render_parts.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *part_text(const json_t *object, const char *key, const char *otherwise)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : otherwise;
}

json_int_t part_number(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

bool part_true(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

const char *part_duration(json_int_t ms, char text[PART_BYTES])
{
	static const struct {
		json_int_t seconds;
		const char *unit;
	} units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
	json_int_t seconds = ms / 1000;
	if (seconds < 10) {
		snprintf(text, PART_BYTES, "%.1f s", (double)ms / 1000.0);
		return text;
	}
	size_t u = 0;
	while (seconds < units[u].seconds)
		u++;
	json_int_t rest = seconds % units[u].seconds;
	if (units[u].seconds == 1)
		snprintf(text, PART_BYTES, "%lld s", (long long)seconds);
	else
		snprintf(text, PART_BYTES, "%lld %s %lld %s",
			 (long long)(seconds / units[u].seconds), units[u].unit,
			 (long long)(rest / units[u + 1].seconds), units[u + 1].unit);
	return text;
}

const char *part_due(json_int_t ms, char text[PART_BYTES])
{
	char duration[PART_BYTES];
	if (ms <= 0)
		snprintf(text, PART_BYTES, "now");
	else
		snprintf(text, PART_BYTES, "in %.*s", PART_BYTES - 4, part_duration(ms, duration));
	return text;
}

const char *part_share(double share, char text[PART_BYTES])
{
	/* Not a share, and perhaps no number that fits. */
	if (!(share >= 0 && share <= 1)) {
		snprintf(text, PART_BYTES, "?");
		return text;
	}
	double percent = share * 100;
	double off = percent - (double)(json_int_t)(percent + 0.5);
	/* Shares are kept in 65536ths, so 5% is 5.0003%. */
	snprintf(text, PART_BYTES, off > -0.01 && off < 0.01 ? "%.0f%%" : "%.1f%%", percent);
	return text;
}

const char *part_time(const char *time, char text[PART_BYTES])
{
	if (strlen(time) >= 20 && time[10] == 'T')
		snprintf(text, PART_BYTES, "%.10s %.8s", time, time + 11);
	else
		snprintf(text, PART_BYTES, "%s", time);
	return text;
}

bool part_all(const struct render *render)
{
	return part_true(render->invocation->parameters, "all");
}

void part_count_cell(struct table *table, const json_t *object, const char *key)
{
	const json_t *count = json_object_get(object, key);
	if (json_is_integer(count)) {
		table_cellf(table, "%lld", (long long)json_integer_value(count));
	} else {
		table_cell(table, "?");
		table_paint(table, PAINT_WARN);
	}
}

void part_join(const json_t *array, struct buffer *text)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *item = json_array_get(array, i);
		if (i)
			buffer_puts(text, ", ");
		if (json_is_integer(item))
			buffer_printf(text, "%lld", (long long)json_integer_value(item));
		else
			screen_puts(text, json_string_value(item) ? json_string_value(item) : "?");
	}
	if (!json_array_size(array))
		buffer_putc(text, '-');
}

void part_heading(const struct render *render, const char *title)
{
	buffer_putc(render->text, '\n');
	screen_paint(render->text, PAINT_TITLE, render->color, title);
	buffer_putc(render->text, '\n');
}

void part_table_end(struct table *table, const struct render *render, unsigned indent,
		    const char *otherwise)
{
	if (table->count)
		table_render(table, indent, render->width, render->color, render->text);
	else
		buffer_printf(render->text, "%*s%s\n", (int)indent, "", otherwise);
	table_done(table);
}

void part_waits(const json_t *rollout, struct buffer *words)
{
	const json_t *first = json_array_get(json_object_get(rollout, "waits"), 0);
	json_int_t more = part_number(rollout, "waits_for") - 1;
	buffer_printf(words, "waits for %s: %s", part_text(first, "name", "?"),
		      part_text(first, "text", "?"));
	if (more > 0)
		buffer_printf(words, " (and for %lld more)", (long long)more);
}

void part_wrap(const struct render *render, unsigned indent, const char *words)
{
	struct buffer safe;
	size_t column = indent;
	buffer_init(&safe, 0);
	screen_puts(&safe, words);
	must_succeed(safe.status);
	buffer_printf(render->text, "%*s", (int)indent, "");
	for (const char *at = safe.data ? safe.data : ""; *at;) {
		char *word = must_have(strndup(at, strcspn(at, " ")));
		size_t width = screen_width(word);
		bool is_first = at == safe.data;
		if (!is_first && render->width && column + 1 + width > render->width) {
			buffer_printf(render->text, "\n%*s", (int)indent + 2, "");
			column = indent + 2;
		} else if (!is_first) {
			buffer_putc(render->text, ' ');
			column++;
		}
		buffer_puts(render->text, word);
		column += width;
		at += strlen(word);
		at += *at == ' ';
		free(word);
	}
	buffer_putc(render->text, '\n');
	buffer_done(&safe);
}
