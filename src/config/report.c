/* SPDX-License-Identifier: Apache-2.0 */
#include "config/report.h"

#include "config/text.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define EXCERPT_CHARACTERS 100u /* a longer line is shown through a window of this width */
#define EXCERPT_BEFORE 50u /* characters kept before the fault */
#define ELLIPSIS "…"
#define MESSAGE_BYTES 400u /* of a message or advice, with its NUL */

void report_init(struct report *report, const char *text, size_t length, const char *file,
		 struct arena *arena, struct config_findings *findings)
{
	*report =
	    (struct report){.text = text, .length = length, .arena = arena, .findings = findings};
	*findings = (struct config_findings){.file = arena_strdup(arena, file)};
	if (!findings->file) {
		findings->file = "configuration";
		report->status = -ENOMEM;
	}
}

/* --- places --- */

/* Bytes of the next character; a byte that is no UTF-8 counts as one. */
static size_t step_at(const struct report *report, size_t offset)
{
	size_t step = text_utf8_step(report->text + offset, report->length - offset);
	return step ? step : 1;
}

static size_t line_start(const struct report *report, size_t offset)
{
	while (offset > 0 && report->text[offset - 1] != '\n')
		offset--;
	return offset;
}

static size_t line_end(const struct report *report, size_t offset)
{
	while (offset < report->length && report->text[offset] != '\n')
		offset++;
	bool has_return = offset < report->length && offset > 0 && report->text[offset - 1] == '\r';
	return has_return ? offset - 1 : offset;
}

static uint32_t count_characters(const struct report *report, size_t start, size_t end)
{
	uint32_t count = 0;
	for (size_t offset = start; offset < end; offset += step_at(report, offset))
		count++;
	return count;
}

static uint32_t line_at(const struct report *report, size_t offset)
{
	uint32_t line = 1;
	for (size_t i = 0; i < offset && i < report->length; i++)
		line += report->text[i] == '\n';
	return line;
}

uint32_t report_other_line(const struct report *report, size_t offset)
{
	return report->last ? line_at(report, offset) : 0;
}

size_t report_offset(const struct report *report, uint32_t line, uint32_t column)
{
	size_t offset = 0;
	for (; line > 1 && offset < report->length; line--) {
		const char *end = memchr(report->text + offset, '\n', report->length - offset);
		offset = end ? (size_t)(end - report->text) + 1 : report->length;
	}
	size_t end = line_end(report, offset);
	for (; column > 1 && offset < end; column--)
		offset += step_at(report, offset);
	return offset;
}

/* --- excerpts --- */

/* Copy the characters from `offset` on, at most `count` of them and none past `end`; what could
 * upset a terminal becomes a question mark, a tab one space. */
static void copy_printable(const struct report *report, size_t offset, size_t end, uint32_t count,
			   struct buffer *line)
{
	for (; offset < end && count > 0; count--) {
		const char *character = report->text + offset;
		size_t step = text_utf8_step(character, end - offset);
		if (*character == '\t')
			buffer_putc(line, ' ');
		else if (step == 0 || text_is_control(character, step))
			buffer_putc(line, '?');
		else
			buffer_append(line, character, step);
		offset += step ? step : 1;
	}
}

static void set_excerpt(struct report *report, struct span span, struct config_finding *finding)
{
	size_t start = line_start(report, span.start);
	size_t end = line_end(report, span.start);
	uint32_t before = count_characters(report, start, span.start);
	uint32_t total = count_characters(report, start, end);
	uint32_t width = count_characters(report, span.start, span.end < end ? span.end : end);

	uint32_t skipped = 0;
	if (total > EXCERPT_CHARACTERS && before > EXCERPT_BEFORE)
		skipped = before - EXCERPT_BEFORE;
	for (uint32_t i = 0; i < skipped; i++)
		start += step_at(report, start);

	struct buffer line;
	buffer_init(&line, 0);
	if (skipped)
		buffer_puts(&line, ELLIPSIS);
	copy_printable(report, start, end, EXCERPT_CHARACTERS, &line);
	if (total - skipped > EXCERPT_CHARACTERS)
		buffer_puts(&line, ELLIPSIS);

	finding->caret = before - skipped + (skipped ? 1 : 0);
	finding->caret_width = width ? width : 1;
	if (before - skipped + finding->caret_width > EXCERPT_CHARACTERS)
		finding->caret_width = before - skipped < EXCERPT_CHARACTERS
					   ? EXCERPT_CHARACTERS - (before - skipped)
					   : 1;
	if (line.status == 0)
		finding->excerpt = arena_strdup(report->arena, line.data ? line.data : "");
	if (!finding->excerpt)
		report->status = -ENOMEM;
	buffer_done(&line);
}

/* --- findings --- */

/* Format into the arena. A text of the file may be as long as the file: what is too long to read
 * is cut between two characters. */
__attribute__((format(printf, 2, 0))) static const char *
format_text(struct report *report, const char *format, va_list arguments)
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
	const char *copy = length < 0 ? NULL : arena_strdup(report->arena, text);
	if (!copy) {
		report->status = -ENOMEM;
		return "out of memory";
	}
	return copy;
}

/* Take one more finding; NULL when enough of its severity are kept. */
static struct config_finding *take_finding(struct report *report, enum config_severity severity)
{
	struct config_findings *findings = report->findings;
	size_t *total = severity == CONFIG_ERROR ? &findings->errors : &findings->warnings;
	report->last = NULL;
	if ((*total)++ >= CONFIG_MAX_FINDINGS)
		return NULL;
	report->last = &findings->items[findings->count++];
	*report->last = (struct config_finding){.severity = severity};
	return report->last;
}

static void place_finding(struct report *report, struct span span, struct config_finding *finding)
{
	if (span.start > report->length)
		span.start = report->length;
	finding->offset = span.start;
	finding->line = line_at(report, span.start);
	finding->column = count_characters(report, line_start(report, span.start), span.start) + 1;
	set_excerpt(report, span, finding);
}

/* Note a finding at `span`; NULL: about the file as a whole. */
__attribute__((format(printf, 4, 0))) static void note(struct report *report,
						       enum config_severity severity,
						       const struct span *span, const char *format,
						       va_list arguments)
{
	struct config_finding *finding = take_finding(report, severity);
	if (!finding)
		return;
	finding->message = format_text(report, format, arguments);
	if (span)
		place_finding(report, *span, finding);
}

void report_error(struct report *report, struct span span, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	note(report, CONFIG_ERROR, &span, format, arguments);
	va_end(arguments);
}

void report_warning(struct report *report, struct span span, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	note(report, CONFIG_WARNING, &span, format, arguments);
	va_end(arguments);
}

void report_file_error(struct report *report, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	note(report, CONFIG_ERROR, NULL, format, arguments);
	va_end(arguments);
}

void report_advise(struct report *report, const char *format, ...)
{
	if (!report->last)
		return;
	va_list arguments;
	va_start(arguments, format);
	report->last->advice = format_text(report, format, arguments);
	va_end(arguments);
}

void report_sort(struct report *report)
{
	struct config_finding *items = report->findings->items;
	for (size_t i = 1; i < report->findings->count; i++) {
		struct config_finding moved = items[i];
		size_t at = i;
		for (; at > 0 && items[at - 1].offset > moved.offset; at--)
			items[at] = items[at - 1];
		items[at] = moved;
	}
	report->last = NULL;
}
