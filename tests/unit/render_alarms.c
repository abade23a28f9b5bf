/* SPDX-License-Identifier: Apache-2.0 */
/* Renders the table of alarms as docs/design/alarms.md. */
#include "base/alarms.h"
#include "rendered_page.h"

struct severity_line {
	const char *name, *meaning;
};

static const struct severity_line SEVERITIES[] = {
#define X(id, name, meaning) {name, meaning},
    ALARM_SEVERITIES(X)
#undef X
};

static void render(struct buffer *page)
{
	char advice[512];
	buffer_puts(page, "# Alarms and notes\n\n"
			  "Rendered from the table in `src/base/alarms.h`; a test compares them.\n"
			  "Change the table, then run `ninja -C build/dev alarms-doc`.\n\n"
			  "`fairlead status` shows what stands now, with its code; the log and "
			  "`fairlead events` tell of it when it\nbegins. With `-o json` each is an "
			  "object with code, severity, subject, text and advice, and with `since`\n"
			  "where that is known. What a backend's landing finds is told by the node "
			  "that it reports to, with the\nbackend as its subject. A code keeps its "
			  "meaning; sentences may change.\n\n"
			  "| severity | |\n| --- | --- |\n");
	for (size_t i = 0; i < sizeof(SEVERITIES) / sizeof(SEVERITIES[0]); i++)
		buffer_printf(page, "| %s | %s |\n", SEVERITIES[i].name, SEVERITIES[i].meaning);
	buffer_puts(page, "\n| code | severity | about | what is told | what to do |\n"
			  "| --- | --- | --- | --- | --- |\n");
	for (size_t i = 0; i < ALARM_CODES; i++) {
		const struct alarm_row *row = &alarm_rows[i];
		buffer_printf(page, "| `%s` | %s | %s | ", row->code,
			      alarm_severity_name(row->severity), alarm_subject_name(row->subject));
		rendered_sentence(page, row->sentence);
		alarm_advice((enum alarm_code)i, "NAME", advice, sizeof(advice));
		buffer_printf(page, " | %s |\n", advice);
	}
}

int main(int argc, char **argv)
{
	return rendered_page(argc, argv, render, "src/base/alarms.h", "alarms-doc");
}
