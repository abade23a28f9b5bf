/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A text table whose columns are as wide as their widest cell. A cell of more than TABLE_MAX_WIDTH
 * characters is cut and ends in "…", except in the last column, where nothing comes after it.
 */
#ifndef FAIRLEAD_CONTROL_TABLE_H
#define FAIRLEAD_CONTROL_TABLE_H

#include "base/arena.h"
#include "base/buffer.h"
#include "control/screen.h"

#define TABLE_MAX_COLUMNS 12
#define TABLE_MAX_WIDTH 64u

struct table_text {
	const char *words;
	enum paint paint;
};

struct table {
	struct arena arena;
	size_t columns;
	const char *titles[TABLE_MAX_COLUMNS];
	struct table_text *cells; /* rows × columns */
	size_t count; /* cells so far, row by row */
	size_t capacity;
};

/* Titles (borrowed), ended by NULL; at most TABLE_MAX_COLUMNS. */
void table_init(struct table *table, ...) __attribute__((sentinel));
void table_done(struct table *table);

/* One title more, before the first cell; borrowed. */
void table_title(struct table *table, const char *title);

/* One cell, row by row; the text is copied, and made safe as by screen_puts(). */
void table_cell(struct table *table, const char *words);
void table_cellf(struct table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same from a buffer, which is done with then; what is wrong with it sticks here. */
void table_buffer(struct table *table, struct buffer *words);

/* Colour the last cell. */
void table_paint(struct table *table, enum paint paint);

/* Append the table, each line indented by `indent` spaces; nothing when it has no whole row. Where
 * `width` columns (0: any number) do not hold it, the last cells of each row follow below it, with
 * their titles in words. */
void table_render(const struct table *table, unsigned indent, size_t width, bool color,
		  struct buffer *text);

#endif
