/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml/notes.h"

#include "base/text.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define EXCERPT_CHARACTERS 100u /* a longer line is shown through a window of this width */
#define EXCERPT_BEFORE 50u /* characters kept before the fault */
#define ELLIPSIS "…"
#define MESSAGE_BYTES 400u /* of a message or advice, with its NUL */

void notes_init(struct notes *notes, const char *text, size_t length, const char *file,
		struct arena *arena, struct findings *findings)
{
	*notes =
	    (struct notes){.text = text, .length = length, .arena = arena, .findings = findings};
	*findings = (struct findings){.file = arena_strdup(arena, file)};
	if (!findings->file) {
		findings->file = "configuration";
		notes->status = -ENOMEM;
	}
}

/* --- places --- */

/* Bytes of the next character; a byte that is no UTF-8 counts as one. */
static size_t step_at(const struct notes *notes, size_t offset)
{
	size_t step = text_utf8_step(notes->text + offset, notes->length - offset);
	return step ? step : 1;
}

static size_t line_start(const struct notes *notes, size_t offset)
{
	while (offset > 0 && notes->text[offset - 1] != '\n')
		offset--;
	return offset;
}

static size_t line_end(const struct notes *notes, size_t offset)
{
	while (offset < notes->length && notes->text[offset] != '\n')
		offset++;
	bool has_return = offset < notes->length && offset > 0 && notes->text[offset - 1] == '\r';
	return has_return ? offset - 1 : offset;
}

static uint32_t count_characters(const struct notes *notes, size_t start, size_t end)
{
	uint32_t count = 0;
	for (size_t offset = start; offset < end; offset += step_at(notes, offset))
		count++;
	return count;
}

static uint32_t line_at(const struct notes *notes, size_t offset)
{
	uint32_t line = 1;
	for (size_t i = 0; i < offset && i < notes->length; i++)
		line += notes->text[i] == '\n';
	return line;
}

uint32_t notes_other_line(const struct notes *notes, size_t offset)
{
	return notes->last ? line_at(notes, offset) : 0;
}

size_t notes_offset(const struct notes *notes, uint32_t line, uint32_t column)
{
	size_t offset = 0;
	for (; line > 1 && offset < notes->length; line--) {
		const char *end = memchr(notes->text + offset, '\n', notes->length - offset);
		offset = end ? (size_t)(end - notes->text) + 1 : notes->length;
	}
	size_t end = line_end(notes, offset);
	for (; column > 1 && offset < end; column--)
		offset += step_at(notes, offset);
	return offset;
}

/* --- excerpts --- */

/* Copy the characters from `offset` on, at most `count` of them and none past `end`; what could
 * upset a terminal becomes a question mark, a tab one space. */
static void copy_printable(const struct notes *notes, size_t offset, size_t end, uint32_t count,
			   struct buffer *line)
{
	for (; offset < end && count > 0; count--) {
		const char *character = notes->text + offset;
		size_t step = text_utf8_step(character, end - offset);
		if (*character == '\t')
			buffer_putc(line, ' ');
		else if (step == 0 || text_is_control(character, step) ||
			 text_is_direction(character, step))
			buffer_putc(line, '?');
		else
			buffer_append(line, character, step);
		offset += step ? step : 1;
	}
}

static void set_excerpt(struct notes *notes, struct note_span span, struct finding *finding)
{
	size_t start = line_start(notes, span.start);
	size_t end = line_end(notes, span.start);
	uint32_t before = count_characters(notes, start, span.start);
	uint32_t total = count_characters(notes, start, end);
	uint32_t width = count_characters(notes, span.start, span.end < end ? span.end : end);

	uint32_t skipped = 0;
	if (total > EXCERPT_CHARACTERS && before > EXCERPT_BEFORE)
		skipped = before - EXCERPT_BEFORE;
	for (uint32_t i = 0; i < skipped; i++)
		start += step_at(notes, start);

	struct buffer line;
	buffer_init(&line, 0);
	if (skipped)
		buffer_puts(&line, ELLIPSIS);
	copy_printable(notes, start, end, EXCERPT_CHARACTERS, &line);
	if (total - skipped > EXCERPT_CHARACTERS)
		buffer_puts(&line, ELLIPSIS);

	finding->caret = before - skipped + (skipped ? 1 : 0);
	finding->caret_width = width ? width : 1;
	if (before - skipped + finding->caret_width > EXCERPT_CHARACTERS)
		finding->caret_width = before - skipped < EXCERPT_CHARACTERS
					   ? EXCERPT_CHARACTERS - (before - skipped)
					   : 1;
	if (line.status == 0)
		finding->excerpt = arena_strdup(notes->arena, line.data ? line.data : "");
	if (!finding->excerpt)
		notes->status = -ENOMEM;
	buffer_done(&line);
}

/* --- findings --- */

/* Format into the arena. A text of the file may be as long as the file: what is too long to read
 * is cut between two characters. */
__attribute__((format(printf, 2, 0))) static const char *
format_text(struct notes *notes, const char *format, va_list arguments)
{
	char text[MESSAGE_BYTES + sizeof(ELLIPSIS)];
	int length = vsnprintf(text, MESSAGE_BYTES, format, arguments);
	if (length >= (int)MESSAGE_BYTES) {
		size_t end = MESSAGE_BYTES - 1;
		while (end > 1 && ((unsigned char)text[end - 1] & 0xc0) == 0x80)
			end--;
		/* Before `end` stands the first byte of the last, perhaps incomplete, character. */
		memcpy(text + end - 1, ELLIPSIS, sizeof(ELLIPSIS));
	}
	const char *copy = length < 0 ? NULL : arena_strdup(notes->arena, text);
	if (!copy) {
		notes->status = -ENOMEM;
		return "out of memory";
	}
	return copy;
}

/* Take one more finding; NULL when enough of its severity are kept. */
static struct finding *take_finding(struct notes *notes, enum finding_severity severity)
{
	struct findings *findings = notes->findings;
	size_t *total = severity == FINDING_ERROR ? &findings->errors : &findings->warnings;
	notes->last = NULL;
	if ((*total)++ >= FINDINGS_MAX)
		return NULL;
	notes->last = &findings->items[findings->count++];
	*notes->last = (struct finding){.severity = severity};
	return notes->last;
}

static void place_finding(struct notes *notes, struct note_span span, struct finding *finding)
{
	if (span.start > notes->length)
		span.start = notes->length;
	finding->offset = span.start;
	finding->line = line_at(notes, span.start);
	finding->column = count_characters(notes, line_start(notes, span.start), span.start) + 1;
	set_excerpt(notes, span, finding);
}

/* Note a finding at `span`; NULL: about the file as a whole. */
__attribute__((format(printf, 4, 0))) static void note(struct notes *notes,
						       enum finding_severity severity,
						       const struct note_span *span,
						       const char *format, va_list arguments)
{
	struct finding *finding = take_finding(notes, severity);
	if (!finding)
		return;
	finding->message = format_text(notes, format, arguments);
	if (span)
		place_finding(notes, *span, finding);
}

void notes_error(struct notes *notes, struct note_span span, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	note(notes, FINDING_ERROR, &span, format, arguments);
	va_end(arguments);
}

void notes_warning(struct notes *notes, struct note_span span, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	note(notes, FINDING_WARNING, &span, format, arguments);
	va_end(arguments);
}

void notes_file_error(struct notes *notes, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	note(notes, FINDING_ERROR, NULL, format, arguments);
	va_end(arguments);
}

void notes_advise(struct notes *notes, const char *format, ...)
{
	if (!notes->last)
		return;
	va_list arguments;
	va_start(arguments, format);
	notes->last->advice = format_text(notes, format, arguments);
	va_end(arguments);
}

void notes_sort(struct notes *notes)
{
	struct finding *items = notes->findings->items;
	for (size_t i = 1; i < notes->findings->count; i++) {
		struct finding moved = items[i];
		size_t at = i;
		for (; at > 0 && items[at - 1].offset > moved.offset; at--)
			items[at] = items[at - 1];
		items[at] = moved;
	}
	notes->last = NULL;
}
