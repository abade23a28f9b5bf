/* SPDX-License-Identifier: Apache-2.0 */
/* The table of metrics, and a page of them as text. */
#include "daemon/metrics/metric_text.h"
#include "wire/channel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const LABELS[] = {
#define X(name, bound) name,
    METRIC_LABELS(X)
#undef X
};

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text);
	return length >= strlen(end) && strcmp(text + length - strlen(end), end) == 0;
}

static void assert_labels_are_known(const char *labels)
{
	size_t count = 0;
	while (*labels) {
		size_t length = strcspn(labels, ",");
		bool known = false;
		for (size_t i = 0; i < sizeof(LABELS) / sizeof(LABELS[0]); i++)
			known = known || (strlen(LABELS[i]) == length &&
					  strncmp(labels, LABELS[i], length) == 0);
		assert_true(known);
		labels += length + (labels[length] == ',');
		count++;
	}
	assert_true(count <= METRIC_LABELS_MAX);
}

static void names_say_unit_and_type(void **state)
{
	(void)state;
	for (size_t i = 0; i < METRIC_COUNT; i++) {
		const struct metric_row *row = &metric_rows[i];
		assert_int_equal(row->type == METRIC_COUNTER, ends_with(row->name, "_total"));
		if (!strcmp(row->unit, "seconds") || !strcmp(row->unit, "bytes") ||
		    !strcmp(row->unit, "ratio"))
			assert_non_null(strstr(row->name, row->unit));
		assert_int_equal(row->name[strspn(row->name, "abcdefghijklmnopqrstuvwxyz_")], '\0');
		assert_true(ends_with(row->help, "."));
		assert_null(strpbrk(row->help, "\\\n"));
		assert_labels_are_known(row->labels);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(row->name, metric_rows[j].name);
	}
}

/* A counter that the channel gets is one that this exports. */
static void all_of_the_channel_is_exported(void **state)
{
	(void)state;
	size_t rows = 0;
#define CHANNEL(id, member, name, type, unit, help)                                                \
	assert_int_equal(offsetof(struct channel_counters, member), rows * sizeof(uint64_t));      \
	rows++;
	CHANNEL_METRICS(CHANNEL)
#undef CHANNEL
	assert_int_equal(rows * sizeof(uint64_t), sizeof(struct channel_counters));
}

static void a_page_is_prometheus_text(void **state)
{
	(void)state;
	struct buffer text;
	buffer_init(&text, 0);
	struct metric_page page = {.text = &text, .newest = METRIC_PAGE_EMPTY};
	metric_put(&page, METRIC_LEDGER_SEQUENCE, NULL, 18446744073709551615u);
	metric_put_real(&page, METRIC_VOTER_SILENCE, NULL, 0.25);
	metric_put(&page, METRIC_VERSION_STATE, METRIC_VALUES("web", "1", "serving"), 1);
	metric_put(&page, METRIC_VERSION_STATE, METRIC_VALUES("a\"b\\c\nd", "", "ünder"), 0);
	metric_put_real(&page, METRIC_START_TIME, NULL, 1796067224.125);
	assert_int_equal(text.status, 0);
	assert_string_equal(
	    text.data,
	    "# HELP fairlead_ledger_sequence Number of the newest ledger entry in this node's "
	    "replica.\n"
	    "# TYPE fairlead_ledger_sequence gauge\n"
	    "fairlead_ledger_sequence 18446744073709551615\n"
	    "# HELP fairlead_voter_silence_seconds Since a voter was heard last, or since the "
	    "start; 0 while one is reached, and on a node that decides.\n"
	    "# TYPE fairlead_voter_silence_seconds gauge\n"
	    "fairlead_voter_silence_seconds 0.25\n"
	    "# HELP fairlead_version_state 1 for the state that the version is in.\n"
	    "# TYPE fairlead_version_state gauge\n"
	    "fairlead_version_state{service=\"web\",version=\"1\",state=\"serving\"} 1\n"
	    "fairlead_version_state{service=\"a\\\"b\\\\c\\nd\",version=\"\",state=\"ünder\"} 0\n"
	    "# HELP process_start_time_seconds When the daemon started, since 1970.\n"
	    "# TYPE process_start_time_seconds gauge\n"
	    "process_start_time_seconds 1796067224.125\n");
	buffer_done(&text);
}

/* What does not fit is no page, rather than half of one. */
static void a_page_has_a_limit(void **state)
{
	(void)state;
	struct buffer text;
	buffer_init(&text, 300);
	struct metric_page page = {.text = &text, .newest = METRIC_PAGE_EMPTY};
	for (size_t i = 0; i < 10; i++)
		metric_put(&page, METRIC_VERSION_STATE, METRIC_VALUES("web", "1", "serving"), 1);
	assert_int_not_equal(text.status, 0);
	buffer_done(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names_say_unit_and_type),
	    cmocka_unit_test(all_of_the_channel_is_exported),
	    cmocka_unit_test(a_page_is_prometheus_text),
	    cmocka_unit_test(a_page_has_a_limit),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
