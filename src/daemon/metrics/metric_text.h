/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page of metrics in Prometheus' text form, version 0.0.4: for each metric its HELP and TYPE,
 * then its series. The table says what there is (metric_table.h); series are put in its order, and
 * a metric without any is left out.
 *
 * Pure; one thread for each page.
 */
#ifndef FAIRLEAD_DAEMON_METRICS_METRIC_TEXT_H
#define FAIRLEAD_DAEMON_METRICS_METRIC_TEXT_H

#include "base/buffer.h"
#include "daemon/metrics/metric_table.h"

#include <stddef.h>
#include <stdint.h>

enum metric_type { METRIC_GAUGE, METRIC_COUNTER };

enum metric {
#define X(id, ...) METRIC_##id,
	METRICS(X, X)
#undef X
	    METRIC_COUNT
};

struct metric_row {
	const char *name;
	enum metric_type type;
	const char *unit; /* "" where it is a plain number */
	const char *labels; /* "service,version"; "" for none */
	const char *help;
};

extern const struct metric_row metric_rows[METRIC_COUNT];

const char *metric_type_name(enum metric_type type);

struct metric_page {
	struct buffer *text; /* borrowed; its status says whether all fitted */
	int newest; /* the metric that was put last; begin with METRIC_PAGE_EMPTY */
};

#define METRIC_PAGE_EMPTY (-1)
#define METRIC_LABELS_MAX 4u

/*
 * Add a series: `values` are those of the row's labels, in their order, NULL when it has none. They
 * may hold any text. Metrics come in the table's order, and no two series of one have the same
 * values: a page in which they did would be refused as a whole.
 */
void metric_put(struct metric_page *page, enum metric metric, const char *const *values,
		uint64_t number);
/* The same of a number with a fraction. */
void metric_put_real(struct metric_page *page, enum metric metric, const char *const *values,
		     double number);

#define METRIC_VALUES(...) ((const char *const[METRIC_LABELS_MAX]){__VA_ARGS__})

#endif
