/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/metrics/metric_text.h"

#include "base/error.h"

#include <inttypes.h>
#include <string.h>

const struct metric_row metric_rows[METRIC_COUNT] = {
#define X(id, name, type, unit, labels, help) {name, METRIC_##type, unit, labels, help},
#define CHANNEL(id, member, name, type, unit, help) {name, METRIC_##type, unit, "", help},
    METRICS(X, CHANNEL)
#undef CHANNEL
#undef X
};

const char *metric_type_name(enum metric_type type)
{
	return type == METRIC_COUNTER ? "counter" : "gauge";
}

/* In a label's value a quote is escaped, too. */
static void put_escaped(struct buffer *text, const char *value)
{
	for (const char *c = value; *c; c++) {
		if (*c == '\n')
			buffer_puts(text, "\\n");
		else if (*c == '\\' || *c == '"')
			buffer_printf(text, "\\%c", *c);
		else
			buffer_putc(text, *c);
	}
}

static void put_series(struct metric_page *page, enum metric metric, const char *const *values)
{
	const struct metric_row *row = &metric_rows[metric];
	struct buffer *text = page->text;
	const char *label = row->labels;
	ASSERT(page->newest <= (int)metric);
	if (page->newest != (int)metric)
		buffer_printf(text, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name,
			      metric_type_name(row->type));
	page->newest = (int)metric;
	buffer_puts(text, row->name);
	for (size_t i = 0; *label; i++) {
		size_t length = strcspn(label, ",");
		ASSERT(i < METRIC_LABELS_MAX && values[i]);
		buffer_putc(text, i ? ',' : '{');
		buffer_append(text, label, length);
		buffer_puts(text, "=\"");
		put_escaped(text, values[i]);
		buffer_putc(text, '"');
		label += length + (label[length] == ',');
		if (!*label)
			buffer_putc(text, '}');
	}
}

void metric_put(struct metric_page *page, enum metric metric, const char *const *values,
		uint64_t number)
{
	put_series(page, metric, values);
	buffer_printf(page->text, " %" PRIu64 "\n", number);
}

void metric_put_real(struct metric_page *page, enum metric metric, const char *const *values,
		     double number)
{
	put_series(page, metric, values);
	buffer_printf(page->text, " %.15g\n", number);
}
