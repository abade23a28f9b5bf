/* SPDX-License-Identifier: Apache-2.0 */
/* What a landing tells of its troubles: each as long as it lasts, what was set back for a minute.
 */
#include "daemon/landing_trouble.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define START_MS 5000u /* less than a minute: a machine that has just started */

static struct landing_alarms found(const char *text, bool repaired)
{
	struct landing_alarms alarms = {.count = text != NULL};
	if (text)
		snprintf(alarms.items[0].text, sizeof(alarms.items[0].text), "%s", text);
	alarms.items[0].repaired = repaired;
	return alarms;
}

static void assert_told(const struct landing_trouble *trouble, uint64_t now_ms,
			const char *expected)
{
	json_t *list = landing_trouble_json(trouble, now_ms);
	char *text = json_dumps(list, JSON_COMPACT);
	assert_string_equal(text, expected);
	free(text);
	json_decref(list);
}

static void test_what_lasts_is_told_while_it_lasts(void **state)
{
	(void)state;
	struct landing_trouble trouble = {0};
	struct landing_alarms down = found("eth0 is down", false);
	struct landing_alarms none = found(NULL, false);
	assert_told(&trouble, START_MS, "[]");
	landing_trouble_found(&trouble, &down, START_MS);
	assert_told(&trouble, START_MS + 100000, "[\"eth0 is down\"]");
	landing_trouble_found(&trouble, &none, START_MS + 100000);
	assert_told(&trouble, START_MS + 100000, "[]");
}

static void test_what_was_set_back_is_told_for_a_minute(void **state)
{
	(void)state;
	struct landing_trouble trouble = {0};
	struct landing_alarms rule = found("a rule was gone", true);
	struct landing_alarms route = found("a route was gone", true);
	struct landing_alarms none = found(NULL, false);
	landing_trouble_found(&trouble, &rule, START_MS);
	landing_trouble_found(&trouble, &none, START_MS + 2000);
	assert_told(&trouble, START_MS + 59999, "[\"within the last minute: a rule was gone\"]");
	assert_told(&trouble, START_MS + 60000, "[]");
	/* What comes back is not told twice; what is over is not told with what is new. */
	landing_trouble_found(&trouble, &rule, START_MS + 90000);
	landing_trouble_found(&trouble, &rule, START_MS + 92000);
	landing_trouble_found(&trouble, &none, START_MS + 94000);
	assert_told(&trouble, START_MS + 94000, "[\"within the last minute: a rule was gone\"]");
	landing_trouble_found(&trouble, &route, START_MS + 200000);
	assert_told(&trouble, START_MS + 200000, "[\"within the last minute: a route was gone\"]");
}

static void test_failures_are_told_until_it_works_again(void **state)
{
	(void)state;
	struct landing_trouble trouble = {0};
	struct error err = {.text = "no memory"};
	landing_trouble_failed(&trouble, LANDING_FAILURE_CUT, &err);
	assert_told(&trouble, START_MS, "[\"connections cannot be cut: no memory\"]");
	landing_trouble_failed(&trouble, LANDING_FAILURE_CUT, NULL);
	assert_told(&trouble, START_MS, "[]");
}

static void test_more_alarms_than_fit_are_counted(void **state)
{
	(void)state;
	struct landing_trouble trouble = {0};
	struct landing_alarms many = found("one of many", false);
	many.dropped = 7;
	landing_trouble_found(&trouble, &many, START_MS);
	assert_told(&trouble, START_MS, "[\"one of many\",\"7 more than are told here\"]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_lasts_is_told_while_it_lasts),
	    cmocka_unit_test(test_what_was_set_back_is_told_for_a_minute),
	    cmocka_unit_test(test_failures_are_told_until_it_works_again),
	    cmocka_unit_test(test_more_alarms_than_fit_are_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
