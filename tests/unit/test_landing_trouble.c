/* SPDX-License-Identifier: Apache-2.0 */
/* What a landing tells of its troubles: each as long as it lasts, what was set back for a minute.
 */
#include "daemon/landing/landing_trouble.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define START_MS 5000u /* less than a minute: a machine that has just started */

static const struct landing_alarms none;

static struct landing_alarms one(enum alarm_code code, const char *text)
{
	struct landing_alarms alarms = {.count = 1, .items = {{.code = code, .subject = "eth0"}}};
	snprintf(alarms.items[0].text, sizeof(alarms.items[0].text), "%s", text);
	return alarms;
}

/* The codes and texts that are told, one a line. */
static void assert_told(const struct landing_trouble *trouble, uint64_t now_ms,
			const char *expected)
{
	char told[1024] = "";
	json_t *list = landing_trouble_json(trouble, now_ms);
	size_t index;
	json_t *alarm;
	json_array_foreach (list, index, alarm) {
		const char *code;
		const char *text;
		size_t length = strlen(told);
		assert_int_equal(json_unpack(alarm, "{s:s, s:s}", "code", &code, "text", &text), 0);
		snprintf(told + length, sizeof(told) - length, "%s: %s\n", code, text);
	}
	assert_string_equal(told, expected);
	json_decref(list);
}

static void test_what_lasts_is_told_while_it_lasts(void **state)
{
	(void)state;
	struct landing_trouble trouble = {0};
	struct landing_alarms down = one(ALARM_UNDERLAY_DOWN, "eth0 is down");
	assert_told(&trouble, START_MS, "");
	landing_trouble_found(&trouble, &down, START_MS);
	assert_told(&trouble, START_MS + 100000, "underlay.down: eth0 is down\n");
	landing_trouble_found(&trouble, &none, START_MS + 100000);
	assert_told(&trouble, START_MS + 100000, "");
}

static void test_an_alarm_says_what_it_is_about_and_what_to_do(void **state)
{
	(void)state;
	struct landing_trouble trouble = {0};
	struct landing_alarms down = one(ALARM_UNDERLAY_DOWN, "eth0 is down");
	landing_trouble_found(&trouble, &down, START_MS);
	json_t *list = landing_trouble_json(&trouble, START_MS);
	char *text = json_dumps(list, JSON_COMPACT);
	assert_string_equal(text, "[{\"code\":\"underlay.down\",\"severity\":\"alarm\","
				  "\"subject\":\"interface/eth0\",\"text\":\"eth0 is down\","
				  "\"advice\":\"bring it up with 'ip link set eth0 up'\"}]");
	free(text);
	json_decref(list);
}

static void test_what_was_set_back_is_told_for_a_minute(void **state)
{
	(void)state;
	struct landing_trouble trouble = {0};
	struct landing_alarms rule = one(ALARM_RULE_LOST, "a rule was gone");
	struct landing_alarms route = one(ALARM_ROUTE_LOST, "a route was gone");
	const char rule_told[] = "rule.lost: within the last minute: a rule was gone\n";
	landing_trouble_found(&trouble, &rule, START_MS);
	landing_trouble_found(&trouble, &none, START_MS + 2000);
	assert_told(&trouble, START_MS + 59999, rule_told);
	assert_told(&trouble, START_MS + 60000, "");
	/* What comes back is not told twice; what is over is not told with what is new. */
	landing_trouble_found(&trouble, &rule, START_MS + 90000);
	landing_trouble_found(&trouble, &rule, START_MS + 92000);
	landing_trouble_found(&trouble, &none, START_MS + 94000);
	assert_told(&trouble, START_MS + 94000, rule_told);
	landing_trouble_found(&trouble, &route, START_MS + 200000);
	assert_told(&trouble, START_MS + 200000,
		    "route.lost: within the last minute: a route was gone\n");
}

static void test_failures_are_told_until_it_works_again(void **state)
{
	(void)state;
	struct landing_trouble trouble = {0};
	struct error err = {.text = "no memory"};
	landing_trouble_failed(&trouble, LANDING_FAILURE_CUT, &err, START_MS);
	assert_told(&trouble, START_MS, "landing.not-cut: connections cannot be cut: no memory\n");
	landing_trouble_failed(&trouble, LANDING_FAILURE_CUT, NULL, START_MS);
	assert_told(&trouble, START_MS, "");
}

static void test_more_alarms_than_fit_are_counted(void **state)
{
	(void)state;
	struct landing_trouble trouble = {0};
	struct landing_alarms many = one(ALARM_ROUTE_NONE, "one of many");
	many.dropped = 7;
	landing_trouble_found(&trouble, &many, START_MS);
	assert_told(&trouble, START_MS,
		    "route.none: one of many\nlanding.more: 7 more than are told here\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_lasts_is_told_while_it_lasts),
	    cmocka_unit_test(test_an_alarm_says_what_it_is_about_and_what_to_do),
	    cmocka_unit_test(test_what_was_set_back_is_told_for_a_minute),
	    cmocka_unit_test(test_failures_are_told_until_it_works_again),
	    cmocka_unit_test(test_more_alarms_than_fit_are_counted),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
