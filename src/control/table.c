/* SPDX-License-Identifier: Apache-2.0 */
#include "control/table.h"

#include "base/error.h"
#include "base/memory.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GAP 2u /* spaces between columns */

void table_init(struct table *table, ...)
{
	*table = (struct table){0};
	arena_init(&table->arena, 0);
	va_list titles;
	va_start(titles, table);
	const char *title;
	while ((title = va_arg(titles, const char *)))
		table_title(table, title);
	va_end(titles);
}

void table_title(struct table *table, const char *title)
{
	ASSERT(table->columns < TABLE_MAX_COLUMNS && !table->count);
	table->titles[table->columns++] = title;
}

void table_done(struct table *table)
{
	arena_done(&table->arena);
	free(table->cells);
}

void table_cell(struct table *table, const char *words)
{
	struct buffer safe;
	if (table->count == table->capacity) {
		table->capacity = table->capacity ? 2 * table->capacity : 64;
		table->cells = must_grow(table->cells, table->capacity, sizeof(*table->cells));
	}
	buffer_init(&safe, 0);
	screen_puts(&safe, words);
	must_succeed(safe.status);
	table->cells[table->count++] = (struct table_text){
	    .words =
		must_have(arena_strndup(&table->arena, safe.data ? safe.data : "", safe.length))};
	buffer_done(&safe);
}

void table_cellf(struct table *table, const char *format, ...)
{
	char words[512];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(words, sizeof(words), format, arguments);
	va_end(arguments);
	table_cell(table, words);
}

void table_buffer(struct table *table, struct buffer *words)
{
	must_succeed(words->status);
	table_cell(table, words->data ? words->data : "");
	buffer_done(words);
}

void table_paint(struct table *table, enum paint paint)
{
	if (table->count)
		table->cells[table->count - 1].paint = paint;
}

static size_t cell_width(const struct table *table, size_t row, size_t column)
{
	size_t width = screen_width(table->cells[row * table->columns + column].words);
	bool is_cut = width > TABLE_MAX_WIDTH && column + 1 < table->columns;
	return is_cut ? TABLE_MAX_WIDTH : width;
}

/* The last column is not cut. */
static size_t column_width(const struct table *table, size_t column, size_t rows)
{
	size_t widest = screen_width(table->titles[column]);
	for (size_t row = 0; row < rows; row++) {
		size_t width = cell_width(table, row, column);
		widest = width > widest ? width : widest;
	}
	return widest;
}

/* Append the cell, cut when `most` (0: no limit) is exceeded; returns its columns. */
static size_t put_cell(const struct table_text *cell, size_t most, bool color, struct buffer *text)
{
	size_t width = screen_width(cell->words);
	if (!most || width <= most) {
		screen_paint(text, cell->paint, color, cell->words);
		return width;
	}
	struct buffer head;
	buffer_init(&head, 0);
	buffer_append(&head, cell->words, screen_head(cell->words, most - 1));
	buffer_puts(&head, "…");
	screen_paint(text, cell->paint, color, head.data ? head.data : "");
	must_succeed(head.status);
	buffer_done(&head);
	return most;
}

static void put_spaces(size_t count, struct buffer *text)
{
	while (count--)
		buffer_putc(text, ' ');
}

/* Spaces are put before a cell, not after one: no line ends in them. */
static void put_row(const struct table_text *cells, const size_t *widths, size_t columns,
		    unsigned indent, bool color, struct buffer *text)
{
	size_t spaces = indent;
	for (size_t c = 0; c < columns; c++) {
		bool last = c + 1 == columns;
		if (*cells[c].words)
			put_spaces(spaces, text);
		size_t width = put_cell(&cells[c], last ? 0 : TABLE_MAX_WIDTH, color, text);
		if (last)
			break;
		spaces = width ? widths[c] - width + GAP : spaces + widths[c] + GAP;
	}
	buffer_putc(text, '\n');
}

/* How many columns stand beside each other: all of them, or as many as `width` holds. */
static size_t fitting(const size_t *widths, size_t columns, unsigned indent, size_t width)
{
	size_t used = indent;
	for (size_t c = 0; c < columns; c++) {
		size_t most =
		    widths[c] > TABLE_MAX_WIDTH && c + 1 < columns ? TABLE_MAX_WIDTH : widths[c];
		used += (c ? GAP : 0) + most;
		if (width && used > width && c)
			return c;
	}
	return columns;
}

/* "new flows 12, late 3", broken between two of them. */
static void put_rest(const struct table *table, const struct table_text *cells, size_t from,
		     unsigned indent, size_t width, bool color, struct buffer *text)
{
	size_t used = 0;
	for (size_t c = from; c < table->columns; c++) {
		char title[TABLE_MAX_WIDTH + 1];
		if (!*cells[c].words || strcmp(cells[c].words, "-") == 0)
			continue;
		snprintf(title, sizeof(title), "%s ", table->titles[c]);
		for (char *at = title; *at; at++)
			*at = (char)tolower((unsigned char)*at);
		size_t length = screen_width(title) + screen_width(cells[c].words);
		bool breaks = used && used + 2 + length > width;
		if (breaks || !used) {
			buffer_puts(text, breaks ? ",\n" : "");
			put_spaces(indent + 4, text);
			used = indent + 4;
		} else {
			buffer_puts(text, ", ");
			used += 2;
		}
		screen_paint(text, PAINT_FAINT, color, title);
		screen_paint(text, cells[c].paint, color, cells[c].words);
		used += length;
	}
	if (used)
		buffer_putc(text, '\n');
}

void table_render(const struct table *table, unsigned indent, size_t width, bool color,
		  struct buffer *text)
{
	size_t widths[TABLE_MAX_COLUMNS];
	struct table_text titles[TABLE_MAX_COLUMNS];
	size_t rows = table->columns ? table->count / table->columns : 0;
	if (!rows)
		return;
	for (size_t c = 0; c < table->columns; c++) {
		widths[c] = column_width(table, c, rows);
		titles[c] = (struct table_text){.words = table->titles[c], .paint = PAINT_TITLE};
	}
	size_t columns = fitting(widths, table->columns, indent, width);
	put_row(titles, widths, columns, indent, color, text);
	for (size_t row = 0; row < rows; row++) {
		const struct table_text *cells = &table->cells[row * table->columns];
		put_row(cells, widths, columns, indent, color, text);
		put_rest(table, cells, columns, indent, width, color, text);
	}
}
