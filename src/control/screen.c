/* SPDX-License-Identifier: Apache-2.0 */
#include "control/screen.h"

#include "base/text.h"

#include <string.h>

static void put_escaped(struct buffer *text, const char *bytes, size_t length)
{
	if (length == 1 && *bytes == '\n') {
		buffer_puts(text, "\\n");
		return;
	}
	for (size_t i = 0; i < length; i++)
		buffer_printf(text, "\\x%02x", (unsigned)(unsigned char)bytes[i]);
}

void screen_puts(struct buffer *text, const char *words)
{
	size_t left = strlen(words);
	while (left) {
		size_t step = text_utf8_step(words, left);
		if (!step || text_is_control(words, step) || text_is_direction(words, step))
			put_escaped(text, words, step ? step : 1);
		else
			buffer_append(text, words, step);
		words += step ? step : 1;
		left -= step ? step : 1;
	}
}

void screen_paint(struct buffer *text, enum paint paint, bool color, const char *words)
{
	/* ECMA-48 "select graphic rendition"; the dark variants are legible on white, too. */
	static const char *const codes[] = {
	    [PAINT_NONE] = "",        [PAINT_GOOD] = "\x1b[32m", [PAINT_WARN] = "\x1b[33m",
	    [PAINT_BAD] = "\x1b[31m", [PAINT_FAINT] = "\x1b[2m", [PAINT_TITLE] = "\x1b[1m",
	};
	bool painted = color && paint != PAINT_NONE;
	if (painted)
		buffer_puts(text, codes[paint]);
	screen_puts(text, words);
	if (painted)
		buffer_puts(text, "\x1b[0m");
}

static bool begins_character(char byte)
{
	return ((unsigned char)byte & 0xc0) != 0x80;
}

size_t screen_width(const char *words)
{
	size_t width = 0;
	for (; *words; words++)
		width += begins_character(*words);
	return width;
}

size_t screen_head(const char *words, size_t columns)
{
	const char *at = words;
	for (; *at; at++) {
		if (begins_character(*at) && columns-- == 0)
			break;
	}
	return (size_t)(at - words);
}
