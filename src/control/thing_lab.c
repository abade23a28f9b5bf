/* SPDX-License-Identifier: Apache-2.0 */
/* The things of a lab: what `lab status` and its kin print. */
#include "control/render_parts.h"
#include "control/thing_fields.h"

#include <stdio.h>

/* --- cells --- */

static void link_cell(struct table *table, const json_t *interface)
{
	table_cell(table, part_text(interface, "link", "(bridge)"));
}

static void way_cell(struct table *table, const json_t *way)
{
	table_cellf(table, "%s → %s", part_text(way, "from", "?"), part_text(way, "to", "?"));
}

static void delay_cell(struct table *table, const json_t *way)
{
	double delay = json_number_value(json_object_get(way, "delay_ms"));
	table_cellf(table, delay > 0 ? "%g ms" : "-", delay);
}

static void loss_cell(struct table *table, const json_t *way)
{
	char text[PART_BYTES];
	double loss = json_number_value(json_object_get(way, "loss"));
	table_cell(table, loss > 0 ? part_share(loss, text) : "-");
}

/* As a topology writes it. */
static void rate_cell(struct table *table, const json_t *way)
{
	static const struct {
		json_int_t size;
		const char *name;
	} UNITS[] = {{1000000000, "gbit"}, {1000000, "mbit"}, {1000, "kbit"}};
	json_int_t rate = part_number(way, "rate");
	for (size_t i = 0; rate && i < sizeof(UNITS) / sizeof(UNITS[0]); i++) {
		if (rate % UNITS[i].size)
			continue;
		table_cellf(table, "%lld%s", (long long)(rate / UNITS[i].size), UNITS[i].name);
		return;
	}
	table_cell(table, "-");
}

static void cut_cell(struct table *table, const json_t *way)
{
	table_cell(table, part_true(way, "there") ? "" : "cut");
	table_paint(table, PAINT_BAD);
}

static void process_cell(struct table *table, const json_t *process)
{
	table_cell(table, part_text(process, "state", "?"));
	table_paint(table, part_true(process, "alive") ? PAINT_GOOD : PAINT_BAD);
}

/* --- things --- */

const struct thing thing_lab_interface = {
    .name = "interface",
    .help = "An interface of a machine.",
    .none = "none",
    .fields = (const struct field[]){
	OUTER_COLUMN("MACHINE", "name", TEXT),
	COLUMN("INTERFACE", "name", TEXT, "of the interface"),
	COLUMN("LINK", "link", TEXT, "that it is an end of, if it is no bridge", .cell = link_cell),
	COLUMN("ADDRESSES", "addresses", TEXTS, "with the lengths of their prefixes"),
	END,
    }};

static const struct thing thing_machine = {
    .name = "machine",
    .help = "A machine of a lab.",
    .fields = (const struct field[]){
	FIELD("name", TEXT, "of the machine"),
	FIELD("forwards", FLAG, "it is a router"),
	FIELD("interfaces", THINGS, "bridges, and ends of links", .thing = &thing_lab_interface),
	END,
    }};

const struct thing thing_lab_way = {
    .name = "way",
    .help = "One direction of a link.",
    .none = "none",
    .fields = (const struct field[]){
	OUTER_COLUMN("LINK", "name", TEXT),
	COLUMN("WAY", "from", TEXT, "machine:interface where packets enter", .cell = way_cell),
	OUTER_COLUMN("MTU", "mtu", NUMBER),
	FIELD("to", TEXT, "machine:interface where they leave"),
	COLUMN("DELAY", "delay_ms", REAL, "that it adds", .unit = "ms", .cell = delay_cell),
	COLUMN("LOSS", "loss", SHARE, "of its packets, on purpose", .cell = loss_cell),
	COLUMN("RATE", "rate", NUMBER, "bits a second, if it is limited", .cell = rate_cell),
	COLUMN("SENT", "sent", COUNTER, "packets that entered"),
	FIELD("passed", COUNTER, "that left"),
	COLUMN("LOST", "lost", COUNTER, "on purpose"),
	COLUMN("FULL", "full", COUNTER, "that found the queue full"),
	COLUMN("TOO BIG", "too_big", COUNTER, "that exceeded the MTU"),
	COLUMN("", "there", FLAG, "it is not cut", .cell = cut_cell),
	END,
    }};

static const struct thing thing_link = {
    .name = "link",
    .help = "A link between two machines.",
    .fields = (const struct field[]){
	FIELD("name", TEXT, "of the link"),
	FIELD("mtu", NUMBER, "in bytes"),
	FIELD("ways", THINGS, "its directions", .thing = &thing_lab_way),
	END,
    }};

const struct thing thing_lab_process = {
    .name = "process",
    .help = "A process of a lab.",
    .none = "none",
    .fields = (const struct field[]){
	COLUMN("PROCESS", "name", TEXT, "of the process"),
	COLUMN("MACHINE", "machine", TEXT, "on which it runs"),
	COLUMN("PID", "pid", NUMBER, "as the lab sees it; 0: it was not started"),
	COLUMN("STATE", "state", TEXT, "running, or how it ended", .cell = process_cell),
	FIELD("alive", FLAG, "it runs"),
	COLUMN("LOG", "log", TEXT, "file of what it prints, as the lab sees it"),
	FIELD("command", TEXT, "that was started"),
	END,
    }};

const struct thing thing_lab = {
    .name = "lab",
    .help = "A lab; of several only name and process are listed.",
    .none = "No lab is up; `fairlead lab up --help` says how to make one.",
    .fields = (const struct field[]){
	COLUMN("LAB", "lab", TEXT, "its name"),
	COLUMN("PID", "pid", NUMBER, "of its first process"),
	FIELD("topology", TEXT, "the file it was made from"),
	FIELD("up_ms", NUMBER, "since it is up", .unit = "ms"),
	FIELD("root", TEXT, "folder of its files, as the lab sees it"),
	FIELD("machines", THINGS, "as the topology names them", .thing = &thing_machine),
	FIELD("links", THINGS, "between the machines", .thing = &thing_link),
	FIELD("processes", THINGS, "that it started", .thing = &thing_lab_process),
	FIELD("try", TEXTS, "commands to begin with"),
	END,
    }};

const struct thing thing_lab_link = {.name = "link",
				     .help = "What was done to a link.",
				     .fields = (const struct field[]){
					 FIELD("lab", TEXT, "that has it"),
					 FIELD("link", TEXT, "its name"),
					 FIELD("plugged", FLAG, "it is in place"),
					 FIELD("already", FLAG, "it was so before"),
					 END,
				     }};

const struct thing thing_lab_end = {.name = "end",
				    .help = "Of a lab.",
				    .fields = (const struct field[]){
					FIELD("lab", TEXT, "its name"),
					FIELD("was_up", FLAG, "it was there to be ended"),
					END,
				    }};
