/* SPDX-License-Identifier: Apache-2.0 */
/* `status`: one screen for an operator. What needs attention comes first, then what is served, by
 * whom, and what was dropped. */
#include "base/memory.h"
#include "control/render_parts.h"

#include <string.h>

static void put_node(const struct render *render, const json_t *status)
{
	char uptime[PART_BYTES];
	struct buffer *text = render->text;
	const char *node = part_text(status, "node", "?");
	const char *asked = part_text(status, "asked", node);
	if (strcmp(asked, node) != 0) {
		screen_puts(text, asked);
		buffer_puts(text, " was asked, and the voter answers: ");
	}
	screen_paint(text, PAINT_TITLE, render->color, node);
	buffer_puts(text, " at ");
	screen_puts(text, part_text(status, "site", "?"));
	buffer_puts(text, ": fairlead ");
	screen_puts(text, part_text(status, "version", "?"));
	buffer_printf(text, ", up for %s\n",
		      part_duration(part_number(status, "uptime_ms"), uptime));
}

/* Of a node that reached no voter, what it shows is what it knows. */
static void put_staleness(const struct render *render, const json_t *status)
{
	char silence[PART_BYTES];
	json_int_t silent_ms = part_number(status, "voter_silent_ms");
	if (!silent_ms)
		return;
	buffer_puts(render->text, "  stale   ");
	part_duration(silent_ms, silence);
	screen_paint(render->text, PAINT_BAD, render->color, "no voter was heard for ");
	screen_paint(render->text, PAINT_BAD, render->color, silence);
	buffer_puts(render->text, ": this is what this node knows by itself\n");
}

/* The programs are one build; each interface carries it natively, generically, or not at all. */
static void put_edge(const struct render *render, const json_t *status)
{
	struct buffer *text = render->text;
	const json_t *interfaces = json_object_get(status, "interfaces");
	if (!interfaces)
		return;
	buffer_puts(text, "  edge    ");
	for (size_t i = 0; i < json_array_size(interfaces); i++) {
		const json_t *interface = json_array_get(interfaces, i);
		const char *mode = part_text(interface, "mode", "?");
		buffer_puts(text, i ? ", " : "");
		screen_puts(text, part_text(interface, "name", "?"));
		buffer_putc(text, ' ');
		screen_paint(text, strcmp(mode, "detached") == 0 ? PAINT_BAD : PAINT_NONE,
			     render->color, mode);
	}
	buffer_puts(text, json_array_size(interfaces) ? "; build " : "no interface; build ");
	screen_puts(text, part_text(status, "build_id", "?"));
	buffer_puts(text, ", layout ");
	screen_puts(text, part_text(status, "layout", "?"));
	buffer_putc(text, '\n');
}

static void put_names(const struct render *render, const json_t *status)
{
	const json_t *dns = json_object_get(status, "dns");
	struct buffer *text = render->text;
	if (!dns)
		return;
	buffer_puts(text, "  DNS     ");
	if (part_true(dns, "answering"))
		buffer_printf(text, "answering with serial %lld",
			      (long long)part_number(dns, "serial"));
	else
		screen_paint(text, PAINT_BAD, render->color, "not answering");
	buffer_printf(text, "; %lld queries", (long long)part_number(dns, "queries"));
	const char *result;
	json_t *count;
	const char *before = " (";
	json_object_foreach (json_object_get(dns, "results"), result, count) {
		buffer_puts(text, before);
		screen_puts(text, result);
		buffer_printf(text, " %lld", (long long)json_integer_value(count));
		before = ", ";
	}
	buffer_puts(text, *before == ',' ? ")\n" : "\n");
}

static void put_ledger(const struct render *render, const json_t *status)
{
	struct buffer *text = render->text;
	json_int_t sequence = part_number(status, "sequence");
	json_int_t applied = part_number(status, "applied");
	buffer_printf(text, "  ledger  %lld %s", (long long)sequence,
		      sequence == 1 ? "entry" : "entries");
	/* Who reaches no voter knows only of itself. */
	if (applied < sequence && !part_number(status, "voter_silent_ms") &&
	    json_object_get(status, "interfaces")) {
		char behind[PART_BYTES];
		snprintf(behind, sizeof(behind), ", of which %lld are applied by all",
			 (long long)applied);
		screen_paint(text, PAINT_WARN, render->color, behind);
	}
	buffer_putc(text, '\n');
}

#define SAME_NAMED 4u /* subjects of further alarms of one kind */

/* The alarms after `first` that are of its kind: how many, and what some of them are about. */
static void put_same(const struct render *render, const json_t *alarms, size_t first)
{
	const char *code = part_text(json_array_get(alarms, first), "code", "?");
	struct buffer names;
	size_t same = 0;
	buffer_init(&names, 0);
	for (size_t i = first + 1; i < json_array_size(alarms); i++) {
		const json_t *alarm = json_array_get(alarms, i);
		const char *subject = part_text(alarm, "subject", "?");
		const char *slash = strchr(subject, '/');
		if (strcmp(part_text(alarm, "code", "?"), code) != 0)
			continue;
		if (same++ < SAME_NAMED)
			buffer_printf(&names, "%s%s", same > 1 ? ", " : "",
				      slash ? slash + 1 : subject);
	}
	if (same) {
		buffer_printf(render->text, ", and %zu more: ", same);
		screen_puts(render->text, names.data ? names.data : "");
		buffer_puts(render->text, same > SAME_NAMED ? ", …" : "");
	}
	buffer_done(&names);
}

static bool is_told(const json_t *alarms, size_t place)
{
	const char *code = part_text(json_array_get(alarms, place), "code", "?");
	for (size_t i = 0; i < place; i++) {
		if (strcmp(part_text(json_array_get(alarms, i), "code", "?"), code) == 0)
			return true;
	}
	return false;
}

/* Alarms, which need somebody, or notes: what is wrong, then what to do about it. Those of one kind
 * are one, unless all are asked for. */
static void put_alarms(const struct render *render, const char *heading, enum paint paint,
		       const json_t *alarms)
{
	if (!json_array_size(alarms))
		return;
	part_heading(render, heading);
	for (size_t i = 0; i < json_array_size(alarms); i++) {
		const json_t *alarm = json_array_get(alarms, i);
		const char *advice = part_text(alarm, "advice", "");
		if (!part_all(render) && is_told(alarms, i))
			continue;
		buffer_puts(render->text, "  ");
		screen_paint(render->text, paint, render->color, part_text(alarm, "text", "?"));
		buffer_puts(render->text, " (");
		screen_paint(render->text, PAINT_FAINT, render->color,
			     part_text(alarm, "code", "?"));
		buffer_putc(render->text, ')');
		if (!part_all(render))
			put_same(render, alarms, i);
		buffer_puts(render->text, *advice ? "\n    " : "");
		screen_puts(render->text, advice);
		buffer_putc(render->text, '\n');
	}
}

static void put_rollout(const struct render *render, const json_t *rollout)
{
	struct buffer words;
	const char *service = part_text(rollout, "service", "?");
	if (!part_true(rollout, "under_way"))
		return;
	buffer_init(&words, 0);
	buffer_printf(&words, "rollout of %s: ", service);
	render_progress(rollout, true, &words);
	if (json_array_size(json_object_get(rollout, "waits")))
		buffer_printf(&words, "; `fairlead rollout resume %s --force` lets it go on",
			      service);
	must_succeed(words.status);
	part_wrap(render, 2, words.data);
	buffer_done(&words);
}

static void put_services(const struct render *render, const json_t *status)
{
	const json_t *services = json_object_get(status, "services");
	if (!json_array_size(services))
		return;
	part_heading(render, "services");
	render_lists(render, &thing_version, services, "versions", 2);
	for (size_t i = 0; i < json_array_size(services); i++)
		put_rollout(render, json_object_get(json_array_get(services, i), "rollout"));
	for (size_t i = 0; i < json_array_size(services); i++)
		part_why_versions(render, json_object_get(json_array_get(services, i), "versions"),
				  2);
}

static void put_drops(const struct render *render, const json_t *status)
{
	json_t *drops = json_object_get(status, "drops");
	const char *reason;
	json_t *packets;
	struct table table;
	if (!json_object_size(drops))
		return;
	part_heading(render, "drops");
	table_init(&table, "REASON", "PACKETS", NULL);
	json_object_foreach (drops, reason, packets) {
		table_cell(&table, reason);
		part_count_cell(&table, drops, reason);
	}
	part_table_end(&table, render, 2, "");
}

#define MOST_BACKENDS 20u /* of a screen */

static void put_backends(const struct render *render, const json_t *backends)
{
	size_t count = json_array_size(backends);
	size_t most = part_all(render) ? count : MOST_BACKENDS;
	if (!count)
		return;
	part_heading(render, "backends");
	render_head(render, &thing_backend, backends, most, 2);
	if (count > most)
		buffer_printf(render->text, "  and %zu more; --all shows them\n", count - most);
}

static void put_nodes(const struct render *render, const json_t *nodes)
{
	size_t count = json_array_size(nodes);
	size_t most = part_all(render) ? count : MOST_BACKENDS;
	if (count < 2)
		return;
	part_heading(render, "nodes");
	render_head(render, &thing_node, nodes, most, 2);
	if (count > most)
		buffer_printf(render->text, "  and %zu more; --all shows them\n", count - most);
}

static void put_next(const struct render *render, const json_t *next)
{
	if (!json_array_size(next))
		return;
	part_heading(render, "next");
	for (size_t i = 0; i < json_array_size(next); i++)
		part_wrap(render, 2, json_string_value(json_array_get(next, i)));
}

void render_status(const struct render *render, const json_t *status)
{
	const json_t *backends = json_object_get(status, "backends");
	put_node(render, status);
	put_staleness(render, status);
	put_edge(render, status);
	put_names(render, status);
	put_ledger(render, status);
	put_alarms(render, "alarms", PAINT_BAD, json_object_get(status, "alarms"));
	put_alarms(render, "notes", PAINT_NONE, json_object_get(status, "notes"));
	put_services(render, status);
	put_nodes(render, json_object_get(status, "nodes"));
	put_backends(render, backends);
	put_drops(render, status);
	put_alarms(render, "single points of failure", PAINT_NONE,
		   json_object_get(status, "risks"));
	put_next(render, json_object_get(status, "next"));
}
