/* SPDX-License-Identifier: Apache-2.0 */
/* A text table whose columns are as wide as their widest cell. */
#ifndef FAIRLEAD_CONTROL_TABLE_H
#define FAIRLEAD_CONTROL_TABLE_H

#include "base/arena.h"
#include "base/buffer.h"

#define TABLE_MAX_COLUMNS 12

struct table {
	struct arena arena;
	size_t columns;
	const char *titles[TABLE_MAX_COLUMNS];
	const char **cells; /* rows × columns */
	size_t count; /* cells so far, row by row */
	size_t capacity;
};

/* Titles, ended by NULL; at most TABLE_MAX_COLUMNS. */
void table_init(struct table *table, ...) __attribute__((sentinel));
void table_done(struct table *table);

/* One cell, row by row; `text` is copied. */
void table_cell(struct table *table, const char *text);
void table_cellf(struct table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Append the table, each line indented by `indent` spaces; nothing when it has no row. */
void table_render(const struct table *table, unsigned indent, struct buffer *text);

#endif
