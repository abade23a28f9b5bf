/* SPDX-License-Identifier: Apache-2.0 */
/* `lab …`: what a lab consists of, for a person who made it a minute ago. */
#include "control/render_parts.h"

static void put_counted(const struct render *render, const json_t *array, const char *one,
			const char *many)
{
	size_t count = json_array_size(array);
	buffer_printf(render->text, "%zu %s", count, count == 1 ? one : many);
}

/* "rack is up: 8 machines, 8 links, 13 processes" */
static void put_summary(const struct render *render, const json_t *lab)
{
	screen_paint(render->text, PAINT_TITLE, render->color, part_text(lab, "lab", "?"));
	buffer_puts(render->text, " is up: ");
	put_counted(render, json_object_get(lab, "machines"), "machine", "machines");
	buffer_puts(render->text, ", ");
	put_counted(render, json_object_get(lab, "links"), "link", "links");
	buffer_puts(render->text, ", ");
	put_counted(render, json_object_get(lab, "processes"), "process", "processes");
}

void render_lab_up(const struct render *render, const json_t *lab)
{
	const json_t *tries = json_object_get(lab, "try");
	const char *name = part_text(lab, "lab", "?");
	put_summary(render, lab);
	buffer_putc(render->text, '\n');
	if (json_array_size(tries))
		part_heading(render, "try");
	for (size_t i = 0; i < json_array_size(tries); i++) {
		buffer_puts(render->text, "  ");
		screen_puts(render->text, json_string_value(json_array_get(tries, i)));
		buffer_putc(render->text, '\n');
	}
	buffer_puts(render->text, "\n`fairlead lab status ");
	screen_puts(render->text, name);
	buffer_puts(render->text, "` shows it, `fairlead lab down ");
	screen_puts(render->text, name);
	buffer_puts(render->text, "` ends it.\n");
}

/* --- status --- */

void render_lab_status(const struct render *render, const json_t *lab)
{
	char since[PART_BYTES];
	const json_t *links = json_object_get(lab, "links");
	const json_t *processes = json_object_get(lab, "processes");
	if (json_is_array(lab)) {
		render_list(render, &thing_lab, lab, 0);
		return;
	}
	put_summary(render, lab);
	buffer_printf(render->text, ", for %s\n", part_duration(part_number(lab, "up_ms"), since));
	part_heading(render, "machines");
	render_lists(render, &thing_lab_interface, json_object_get(lab, "machines"), "interfaces",
		     2);
	if (json_array_size(links)) {
		part_heading(render, "links");
		render_lists(render, &thing_lab_way, links, "ways", 2);
	}
	if (json_array_size(processes)) {
		part_heading(render, "processes");
		render_list(render, &thing_lab_process, processes, 2);
	}
}

/* --- the rest --- */

void render_lab_link(const struct render *render, const json_t *answer)
{
	bool already = part_true(answer, "already");
	buffer_puts(render->text, "The link ");
	screen_puts(render->text, part_text(answer, "link", "?"));
	if (part_true(answer, "plugged"))
		buffer_puts(render->text,
			    already ? " is in place already.\n" : " is there again.\n");
	else
		buffer_puts(render->text, already ? " is cut already.\n" : " is cut.\n");
}

void render_lab_down(const struct render *render, const json_t *answer)
{
	screen_puts(render->text, part_text(answer, "lab", "?"));
	buffer_printf(render->text, part_true(answer, "was_up") ? " is down.\n" : " was not up.\n");
}
