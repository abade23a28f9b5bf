/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a terminal makes of text: how wide it is, what colour it has, and which characters it would
 * obey instead of showing. Text is UTF-8; every character counts as one column.
 */
#ifndef FAIRLEAD_CONTROL_SCREEN_H
#define FAIRLEAD_CONTROL_SCREEN_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stddef.h>

enum paint { PAINT_NONE, PAINT_GOOD, PAINT_WARN, PAINT_BAD, PAINT_FAINT, PAINT_TITLE };

/* Append text of unknown origin on one line: control characters, those that change the direction of
 * writing, and bytes that are not UTF-8 become escapes such as \x1b and \n. */
void screen_puts(struct buffer *text, const char *words);

/* The same in a colour, when `color` is on. */
void screen_paint(struct buffer *text, enum paint paint, bool color, const char *words);

/* Columns that the UTF-8 text `words` takes. */
size_t screen_width(const char *words);

/* Bytes of the first `columns` characters of `words`. */
size_t screen_head(const char *words, size_t columns);

#endif
