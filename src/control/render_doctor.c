/* SPDX-License-Identifier: Apache-2.0 */
/* `doctor`: each finding with what mends it on a line of its own, to be copied whole. */
#include "base/memory.h"
#include "control/render_parts.h"

#include <string.h>

static enum paint paint_of(const char *severity)
{
	return strcmp(severity, "error") == 0     ? PAINT_BAD
	       : strcmp(severity, "warning") == 0 ? PAINT_WARN
						  : PAINT_NONE;
}

static void put_finding(const struct render *render, const json_t *finding)
{
	struct buffer *text = render->text;
	const char *severity = part_text(finding, "severity", "?");
	const char *mend = part_text(finding, "mend", "");
	buffer_putc(text, '\n');
	screen_paint(text, paint_of(severity), render->color, severity);
	buffer_putc(text, ' ');
	screen_paint(text, PAINT_TITLE, render->color, part_text(finding, "code", "?"));
	buffer_putc(text, '\n');
	part_wrap(render, 2, part_text(finding, "text", "?"));
	if (*mend) {
		buffer_puts(text, "    ");
		screen_puts(text, mend);
		buffer_putc(text, '\n');
	}
}

static void put_return_path(const struct render *render, const json_t *answer)
{
	const json_t *backends = json_object_get(answer, "backends");
	struct buffer *text = render->text;
	buffer_printf(text, "to %s, TCP port %lld, from %s of service %s:\n",
		      part_text(answer, "to", "?"), (long long)part_number(answer, "port"),
		      part_text(answer, "address", "?"), part_text(answer, "service", "?"));
	for (size_t i = 0; i < json_array_size(backends); i++) {
		const json_t *backend = json_array_get(backends, i);
		const char *state = part_text(backend, "state", "?");
		buffer_puts(text, "  ");
		screen_puts(text, part_text(backend, "name", "?"));
		buffer_puts(text, ": ");
		screen_paint(text, strcmp(state, "returns") == 0 ? PAINT_GOOD : PAINT_BAD,
			     render->color, part_text(backend, "text", "?"));
		buffer_putc(text, '\n');
	}
}

void render_doctor(const struct render *render, const json_t *answer)
{
	const json_t *findings = json_object_get(answer, "findings");
	const json_t *unknown = json_object_get(answer, "unknown");
	const size_t count = json_array_size(findings);
	struct buffer *text = render->text;
	if (json_object_get(answer, "backends")) {
		put_return_path(render, answer);
		return;
	}
	screen_paint(text, PAINT_TITLE, render->color, part_text(answer, "node", "?"));
	buffer_printf(text, " (%s): %lld things looked at, ", part_text(answer, "roles", "?"),
		      (long long)part_number(answer, "looked_at"));
	if (count)
		buffer_printf(text, "%zu finding%s\n", count, count == 1 ? "" : "s");
	else
		buffer_puts(text, "nothing found\n");
	for (size_t i = 0; i < count; i++)
		put_finding(render, json_array_get(findings, i));
	if (!json_array_size(unknown))
		return;
	part_heading(render, "not known");
	for (size_t i = 0; i < json_array_size(unknown); i++)
		part_wrap(render, 2, json_string_value(json_array_get(unknown, i)));
}
