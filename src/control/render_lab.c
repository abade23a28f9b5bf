/* SPDX-License-Identifier: Apache-2.0 */
/* `lab …`: what a lab consists of, for a person who made it a minute ago. */
#include "control/render_parts.h"

#include <stdio.h>

static void put_heading(const struct render *render, const char *title)
{
	buffer_putc(render->text, '\n');
	screen_paint(render->text, PAINT_TITLE, render->color, title);
	buffer_putc(render->text, '\n');
}

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
		put_heading(render, "try");
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

static void put_machine_alone(struct table *table, const json_t *machine)
{
	table_cell(table, part_text(machine, "name", "?"));
	for (unsigned i = 0; i < 3; i++)
		table_cell(table, "-");
}

static void put_machines(const struct render *render, const json_t *machines)
{
	struct table table;
	put_heading(render, "machines");
	table_init(&table, "MACHINE", "INTERFACE", "LINK", "ADDRESSES", NULL);
	for (size_t m = 0; m < json_array_size(machines); m++) {
		const json_t *machine = json_array_get(machines, m);
		const json_t *interfaces = json_object_get(machine, "interfaces");
		if (!json_array_size(interfaces))
			put_machine_alone(&table, machine);
		for (size_t i = 0; i < json_array_size(interfaces); i++) {
			const json_t *interface = json_array_get(interfaces, i);
			table_cell(&table, i ? "" : part_text(machine, "name", "?"));
			table_cell(&table, part_text(interface, "name", "?"));
			table_cell(&table, part_text(interface, "link", "(bridge)"));
			part_join_cell(&table, json_object_get(interface, "addresses"));
		}
	}
	part_table_end(&table, render, 2, "none");
}

/* As a topology writes it. */
static const char *rate_text(json_int_t rate, char text[PART_BYTES])
{
	static const struct {
		json_int_t size;
		const char *name;
	} UNITS[] = {{1000000000, "gbit"}, {1000000, "mbit"}, {1000, "kbit"}};
	snprintf(text, PART_BYTES, "-");
	for (size_t i = 0; rate && i < sizeof(UNITS) / sizeof(UNITS[0]); i++) {
		if (rate % UNITS[i].size)
			continue;
		snprintf(text, PART_BYTES, "%lld%s", (long long)(rate / UNITS[i].size),
			 UNITS[i].name);
		break;
	}
	return text;
}

static void put_way(struct table *table, const json_t *link, const json_t *way, bool first)
{
	static const char *const COUNTS[] = {"sent", "lost", "full", "too_big"};
	char text[PART_BYTES];
	double delay = json_number_value(json_object_get(way, "delay_ms"));
	double loss = json_number_value(json_object_get(way, "loss"));
	bool is_cut = !part_true(way, "there");
	table_cell(table, first ? part_text(link, "name", "?") : "");
	table_paint(table, is_cut ? PAINT_BAD : PAINT_NONE);
	table_cellf(table, "%s → %s", part_text(way, "from", "?"), part_text(way, "to", "?"));
	table_cellf(table, "%lld", (long long)part_number(link, "mtu"));
	if (delay > 0)
		table_cellf(table, "%g ms", delay);
	else
		table_cell(table, "-");
	table_cell(table, loss > 0 ? part_share(loss, text) : "-");
	table_cell(table, rate_text(part_number(way, "rate"), text));
	for (size_t i = 0; i < sizeof(COUNTS) / sizeof(COUNTS[0]); i++)
		part_count_cell(table, way, COUNTS[i]);
	table_cell(table, is_cut ? "cut" : "");
	table_paint(table, PAINT_BAD);
}

static void put_links(const struct render *render, const json_t *links)
{
	struct table table;
	if (!json_array_size(links))
		return;
	put_heading(render, "links");
	table_init(&table, "LINK", "WAY", "MTU", "DELAY", "LOSS", "RATE", "SENT", "LOST", "FULL",
		   "TOO BIG", "", NULL);
	for (size_t l = 0; l < json_array_size(links); l++) {
		const json_t *link = json_array_get(links, l);
		const json_t *ways = json_object_get(link, "ways");
		for (size_t w = 0; w < json_array_size(ways); w++)
			put_way(&table, link, json_array_get(ways, w), w == 0);
	}
	part_table_end(&table, render, 2, "");
}

static void put_processes(const struct render *render, const json_t *processes)
{
	struct table table;
	if (!json_array_size(processes))
		return;
	put_heading(render, "processes");
	table_init(&table, "PROCESS", "MACHINE", "PID", "STATE", "LOG", NULL);
	for (size_t i = 0; i < json_array_size(processes); i++) {
		const json_t *process = json_array_get(processes, i);
		table_cell(&table, part_text(process, "name", "?"));
		table_cell(&table, part_text(process, "machine", "?"));
		part_count_cell(&table, process, "pid");
		table_cell(&table, part_text(process, "state", "?"));
		table_paint(&table, part_true(process, "alive") ? PAINT_GOOD : PAINT_BAD);
		table_cell(&table, part_text(process, "log", "?"));
	}
	part_table_end(&table, render, 2, "");
}

static void put_labs(const struct render *render, const json_t *labs)
{
	struct table table;
	table_init(&table, "LAB", "PID", NULL);
	for (size_t i = 0; i < json_array_size(labs); i++) {
		const json_t *lab = json_array_get(labs, i);
		table_cell(&table, part_text(lab, "lab", "?"));
		part_count_cell(&table, lab, "pid");
	}
	part_table_end(&table, render, 0,
		       "No lab is up; `fairlead lab up --help` says how to make one.");
}

void render_lab_status(const struct render *render, const json_t *lab)
{
	char since[PART_BYTES];
	if (json_is_array(lab)) {
		put_labs(render, lab);
		return;
	}
	put_summary(render, lab);
	buffer_printf(render->text, ", for %s\n", part_duration(part_number(lab, "up_ms"), since));
	put_machines(render, json_object_get(lab, "machines"));
	put_links(render, json_object_get(lab, "links"));
	put_processes(render, json_object_get(lab, "processes"));
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
