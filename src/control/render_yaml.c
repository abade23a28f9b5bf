/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON as block-style YAML. A text is written plain only when it begins with a letter, has no
 * character with a meaning in YAML, and is no word that YAML 1.1 or 1.2 takes for another type;
 * several lines become a literal block; everything else is double-quoted.
 */
#include "base/text.h"
#include "control/render_parts.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

#define STEP 2u /* spaces a level */

static bool is_other_type(const char *words)
{
	static const char *const reserved[] = {"true", "false", "null", "yes", "no",
					       "on",   "off",   "y",    "n"};
	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
		if (strcasecmp(words, reserved[i]) == 0)
			return true;
	}
	return false;
}

static bool is_plain(const char *words, size_t length)
{
	if (!isalpha((unsigned char)words[0]) || is_other_type(words))
		return false;
	for (size_t i = 0; i < length; i++) {
		if (!isalnum((unsigned char)words[i]) && !strchr("_./-", words[i]))
			return false;
	}
	return true;
}

/* Lines that a literal block can hold as they are. A first line that begins with a space would
 * need its indentation spelled out, and a last line with none after it is the usual text. */
static bool is_block(const char *words, size_t length)
{
	const char *end = words + length;
	if (!memchr(words, '\n', length) || *words == ' ' || *words == '\n' || end[-1] != '\n' ||
	    (length > 1 && end[-2] == '\n'))
		return false;
	while (words < end) {
		size_t step = text_utf8_step(words, (size_t)(end - words));
		if (!step || text_is_direction(words, step) ||
		    (text_is_control(words, step) && *words != '\n'))
			return false;
		words += step;
	}
	return true;
}

static void put_indent(unsigned indent, struct buffer *text)
{
	buffer_printf(text, "%*s", (int)indent, "");
}

static void put_block(const char *words, unsigned indent, struct buffer *text)
{
	buffer_puts(text, "|\n");
	while (*words) {
		size_t length = strcspn(words, "\n");
		if (length)
			put_indent(indent, text);
		buffer_append(text, words, length + 1);
		words += length + 1;
	}
}

/* The code point of a character of two or three bytes: all that text_is_control() and
 * text_is_direction() know. */
static unsigned code_point(const char *bytes, size_t step)
{
	const unsigned char *b = (const unsigned char *)bytes;
	if (step == 1)
		return b[0];
	if (step == 2)
		return (b[0] & 0x1fu) << 6 | (b[1] & 0x3fu);
	return (b[0] & 0x0fu) << 12 | (b[1] & 0x3fu) << 6 | (b[2] & 0x3fu);
}

static void put_quoted(const char *words, size_t length, struct buffer *text)
{
	buffer_putc(text, '"');
	while (length) {
		/* JSON's texts are UTF-8 throughout: jansson takes no others. */
		size_t step = text_utf8_step(words, length);
		step = step ? step : 1;
		if (*words == '"' || *words == '\\')
			buffer_printf(text, "\\%c", *words);
		else if (*words == '\n')
			buffer_puts(text, "\\n");
		else if (text_is_control(words, step) || text_is_direction(words, step))
			buffer_printf(text, "\\u%04x", code_point(words, step));
		else
			buffer_append(text, words, step);
		words += step;
		length -= step;
	}
	buffer_putc(text, '"');
}

static void put_number(const json_t *value, struct buffer *text)
{
	char digits[64]; /* the longest is a real with nine of them and an exponent */
	size_t length = json_dumpb(value, digits, sizeof(digits),
				   JSON_ENCODE_ANY | JSON_REAL_PRECISION(RENDER_REAL_DIGITS));
	buffer_append(text, digits, length);
}

static void put_string(const char *words, size_t length, unsigned indent, struct buffer *text)
{
	if (is_plain(words, length))
		buffer_puts(text, words);
	else if (length && is_block(words, length)) {
		put_block(words, indent, text);
		return;
	} else
		put_quoted(words, length, text);
	buffer_putc(text, '\n');
}

static bool is_nested(const json_t *value)
{
	return json_object_size(value) || json_array_size(value);
}

static void put_value(const json_t *value, unsigned indent, struct buffer *text);

/* What stands after "key:" or "-": on the same line, or, for what is nested, on lines below. */
static void put_scalar(const json_t *value, unsigned indent, struct buffer *text)
{
	switch (json_typeof(value)) {
	case JSON_STRING:
		put_string(json_string_value(value), json_string_length(value), indent, text);
		return;
	case JSON_INTEGER:
	case JSON_REAL:
		put_number(value, text);
		break;
	case JSON_TRUE:
		buffer_puts(text, "true");
		break;
	case JSON_FALSE:
		buffer_puts(text, "false");
		break;
	case JSON_NULL:
		buffer_puts(text, "null");
		break;
	case JSON_OBJECT:
		buffer_puts(text, "{}");
		break;
	case JSON_ARRAY:
		buffer_puts(text, "[]");
		break;
	}
	buffer_putc(text, '\n');
}

/* The first line is already indented: it follows "- " or begins the document. */
static void put_object(const json_t *object, unsigned indent, struct buffer *text)
{
	const char *key;
	json_t *value;
	bool first = true;
	json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
		if (!first)
			put_indent(indent, text);
		first = false;
		size_t length = strlen(key);
		if (is_plain(key, length))
			buffer_puts(text, key);
		else
			put_quoted(key, length, text);
		buffer_putc(text, ':');
		if (is_nested(value)) {
			buffer_putc(text, '\n');
			put_indent(indent + STEP, text);
			put_value(value, indent + STEP, text);
		} else {
			buffer_putc(text, ' ');
			put_scalar(value, indent + STEP, text);
		}
	}
}

static void put_array(const json_t *array, unsigned indent, struct buffer *text)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		if (i)
			put_indent(indent, text);
		buffer_puts(text, "- ");
		put_value(json_array_get(array, i), indent + STEP, text);
	}
}

static void put_value(const json_t *value, unsigned indent, struct buffer *text)
{
	if (json_object_size(value))
		put_object(value, indent, text);
	else if (json_array_size(value))
		put_array(value, indent, text);
	else
		put_scalar(value, indent, text);
}

void render_yaml(const json_t *data, struct buffer *text)
{
	put_value(data, 0, text);
}
