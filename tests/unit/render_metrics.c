/* SPDX-License-Identifier: Apache-2.0 */
/* Renders the table of metrics as docs/design/metrics.md. */
#include "daemon/metrics/metric_text.h"
#include "rendered_page.h"

static const struct {
	const char *name, *bound;
} LABELS[] = {
#define X(name, bound) {name, bound},
    METRIC_LABELS(X)
#undef X
};

static void render(struct buffer *page)
{
	buffer_puts(
	    page,
	    "# Metrics\n\n"
	    "Rendered from the table in `src/daemon/metrics/metric_table.h`; a test compares "
	    "them.\n"
	    "Change the table, then run `ninja -C build/dev metrics-doc`.\n\n"
	    "`http://127.0.0.1:7124/metrics` of every node, in Prometheus' text form; `--metrics "
	    "ADDRESS:PORT|none` of\n`run`, `init` and `join` moves it or turns it off. Whoever "
	    "reaches the address can read it: leave it on\nthe loopback, or let a firewall say who "
	    "may. A node tells what it sees itself; what everyone\nobserved, members, backends and "
	    "connections, is told by the node that decides, so scrape all nodes.\nA page is made "
	    "at "
	    "most once a second, however often it is asked for "
	    "([decision 0030](../adr/0030-metrics.md)).\n"
	    "A landing that reports to a node's socket has no page: that node tells of it.\n\n"
	    "[A dashboard for Grafana](../../packaging/grafana/fairlead.json) shows these.\n\n"
	    "| metric | type | unit | labels | |\n| --- | --- | --- | --- | --- |\n");
	for (size_t i = 0; i < METRIC_COUNT; i++) {
		const struct metric_row *row = &metric_rows[i];
		buffer_printf(page, "| `%s` | %s | %s | %s | %s |\n", row->name,
			      metric_type_name(row->type), row->unit, row->labels, row->help);
	}
	buffer_puts(page, "\nWhat bounds the number of a label's values:\n\n"
			  "| label | values |\n| --- | --- |\n");
	for (size_t i = 0; i < sizeof(LABELS) / sizeof(LABELS[0]); i++)
		buffer_printf(page, "| %s | %s |\n", LABELS[i].name, LABELS[i].bound);
}

int main(int argc, char **argv)
{
	return rendered_page(argc, argv, render, "src/daemon/metrics/metric_table.h",
			     "metrics-doc");
}
