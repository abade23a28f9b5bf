/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml/findings.h"

#include <jansson.h>
#include <string.h>

static const char *severity_name(enum finding_severity severity)
{
	return severity == FINDING_ERROR ? "error" : "warning";
}

static void render_finding(const char *file, const struct finding *finding, struct buffer *text)
{
	buffer_puts(text, file);
	if (finding->line)
		buffer_printf(text, ":%u:%u", finding->line, finding->column);
	buffer_printf(text, ": %s: %s\n", severity_name(finding->severity), finding->message);
	if (finding->excerpt) {
		buffer_printf(text, "%5u | %s\n", finding->line, finding->excerpt);
		buffer_printf(text, "      | %*s", (int)finding->caret, "");
		for (uint32_t i = 0; i < finding->caret_width; i++)
			buffer_putc(text, '^');
		buffer_putc(text, '\n');
	}
	if (finding->advice)
		buffer_printf(text, "      = %s\n", finding->advice);
}

static void render_rest(const char *file, size_t total, const char *what, struct buffer *text)
{
	if (total > FINDINGS_MAX)
		buffer_printf(text, "%s: %zu more %s not shown\n", file, total - FINDINGS_MAX,
			      what);
}

void findings_render(const struct findings *findings, struct buffer *ret_text)
{
	for (size_t i = 0; i < findings->count; i++)
		render_finding(findings->file, &findings->items[i], ret_text);
	render_rest(findings->file, findings->errors, "errors", ret_text);
	render_rest(findings->file, findings->warnings, "warnings", ret_text);
}

static json_t *finding_json(const char *file, const struct finding *finding)
{
	return json_pack("{s:s, s:s, s:i, s:i, s:s, s:s*, s:s*}", "severity",
			 severity_name(finding->severity), "file", file, "line", (int)finding->line,
			 "column", (int)finding->column, "message", finding->message, "advice",
			 finding->advice, "excerpt", finding->excerpt);
}

struct json_t *findings_json(const struct findings *findings)
{
	json_t *array = json_array();
	for (size_t i = 0; i < findings->count; i++)
		json_array_append_new(array, finding_json(findings->file, &findings->items[i]));
	return array;
}

int findings_error(const struct findings *findings, struct error *err)
{
	struct buffer text;
	buffer_init(&text, sizeof(err->text) - 1);
	size_t whole = 0;
	for (size_t i = 0; i < findings->count && text.status == 0; i++) {
		if (findings->items[i].severity != FINDING_ERROR)
			continue;
		render_finding(findings->file, &findings->items[i], &text);
		if (text.status == 0)
			whole = text.length;
	}
	/* The last line end is the caller's to write. */
	if (whole > 0 && text.data[whole - 1] == '\n')
		whole--;
	if (whole > 0)
		error_set(err, -FL_EINVALID, "%.*s", (int)whole, text.data);
	else
		error_set(err, -FL_EINVALID,
			  "%s: the configuration is not valid; there was no memory to say why",
			  findings->file);
	buffer_done(&text);
	return -FL_EINVALID;
}
