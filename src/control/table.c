/* SPDX-License-Identifier: Apache-2.0 */
#include "control/table.h"

#include "base/error.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void table_init(struct table *table, ...)
{
	*table = (struct table){0};
	arena_init(&table->arena, 0);
	va_list titles;
	va_start(titles, table);
	const char *title;
	while ((title = va_arg(titles, const char *))) {
		ASSERT(table->columns < TABLE_MAX_COLUMNS);
		table->titles[table->columns++] = title;
	}
	va_end(titles);
}

void table_done(struct table *table)
{
	arena_done(&table->arena);
	free(table->cells);
}

void table_cell(struct table *table, const char *text)
{
	if (table->count == table->capacity) {
		size_t capacity = table->capacity ? 2 * table->capacity : 64;
		const char **cells = realloc(table->cells, capacity * sizeof(*cells));
		if (!cells)
			return;
		table->cells = cells;
		table->capacity = capacity;
	}
	const char *copy = arena_strdup(&table->arena, text);
	table->cells[table->count++] = copy ? copy : "";
}

void table_cellf(struct table *table, const char *format, ...)
{
	char text[512];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	table_cell(table, text);
}

/* Characters, not bytes: continuation bytes of UTF-8 take no room. */
static size_t width_of(const char *text)
{
	size_t width = 0;
	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static void put_cell(struct buffer *text, const char *cell, size_t width, bool last)
{
	buffer_puts(text, cell);
	if (last)
		return;
	for (size_t i = width_of(cell); i < width + 2; i++)
		buffer_putc(text, ' ');
}

void table_render(const struct table *table, unsigned indent, struct buffer *text)
{
	size_t widths[TABLE_MAX_COLUMNS];
	size_t lines = table->count / table->columns;
	if (!lines)
		return;
	for (size_t c = 0; c < table->columns; c++) {
		widths[c] = width_of(table->titles[c]);
		for (size_t r = 0; r < lines; r++) {
			size_t width = width_of(table->cells[r * table->columns + c]);
			if (width > widths[c])
				widths[c] = width;
		}
	}
	for (size_t r = 0; r <= lines; r++) {
		for (unsigned i = 0; i < indent; i++)
			buffer_putc(text, ' ');
		for (size_t c = 0; c < table->columns; c++)
			put_cell(text,
				 r ? table->cells[(r - 1) * table->columns + c] : table->titles[c],
				 widths[c], c + 1 == table->columns);
		buffer_putc(text, '\n');
	}
}
