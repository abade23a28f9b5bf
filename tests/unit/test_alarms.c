/* SPDX-License-Identifier: Apache-2.0 */
/* Alarms: since when one stands, when it is news, what it says of itself, and what a node makes of
 * another's. */
#include "base/alarms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t fixed(void *context)
{
	return *(const uint64_t *)context;
}

static void assert_json(json_t *json, const char *expected)
{
	char *text = json_dumps(json, JSON_COMPACT);
	assert_string_equal(text, expected);
	free(text);
	json_decref(json);
}

static void test_codes_are_told_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < ALARM_CODES; i++) {
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(alarm_rows[i].code, alarm_rows[k].code);
	}
}

static void test_new_words_are_news_but_no_new_beginning(void **state)
{
	(void)state;
	struct alarm alarm = {0};
	assert_false(alarm_stands(&alarm));
	assert_true(ALARM_SET(&alarm, 10, STORE_FAILED, "", "full"));
	assert_false(ALARM_SET(&alarm, 20, STORE_FAILED, "", "full"));
	assert_true(ALARM_SET(&alarm, 30, STORE_FAILED, "", "read-only"));
	assert_int_equal(alarm.since_ms, 10);
	assert_string_equal(alarm.text, "the store takes no changes: read-only");
	alarm_end(&alarm);
	assert_false(alarm_stands(&alarm));
	assert_true(ALARM_SET(&alarm, 40, STORE_FAILED, "", "read-only"));
	assert_int_equal(alarm.since_ms, 40);
}

static void test_another_subject_is_another_alarm(void **state)
{
	(void)state;
	struct alarm alarm = {0};
	assert_true(ALARM_SET(&alarm, 10, INTERFACE_GONE, "eth0", "eth0"));
	assert_true(ALARM_SET(&alarm, 20, INTERFACE_GONE, "eth1", "eth1"));
	assert_int_equal(alarm.since_ms, 20);
}

static void test_an_alarm_as_json(void **state)
{
	(void)state;
	uint64_t now_ms = 90000;
	const struct clock clock = {.now_ms = fixed, .wall_ms = fixed, .context = &now_ms};
	struct alarm alarm = {0};
	ALARM_SET(&alarm, 60000, INTERFACE_DOWN, "eth0", "eth0");
	assert_json(alarm_json(&alarm, "before: ", &clock),
		    "{\"code\":\"interface.down\",\"severity\":\"alarm\","
		    "\"subject\":\"interface/eth0\",\"since\":\"1970-01-01T00:01:00.000Z\","
		    "\"text\":\"before: interface eth0 is down\","
		    "\"advice\":\"bring it up with 'ip link set eth0 up'\"}");
	json_t *list = json_array();
	ALARM_PUT(list, &clock, 0, LOOKUP_LOST, "");
	assert_json(list, "[{\"code\":\"lookup.lost\",\"severity\":\"repaired\","
			  "\"subject\":\"node\","
			  "\"text\":\"the sk_lookup program was gone; attached again\"}]");
}

static void test_a_long_subject_is_cut_in_the_advice(void **state)
{
	(void)state;
	char text[24];
	alarm_advice(ALARM_INTERFACE_DOWN, "a-very-long-name-indeed", text, sizeof(text));
	assert_string_equal(text, "bring it up with 'ip li");
	alarm_advice(ALARM_BACKEND_NO_ROUTE, "a-very-long-name-indeed", text, sizeof(text));
	assert_string_equal(text, "see 'ip route get a-ver");
}

/* Of a level that this table does not know: the code and the words are the sender's. */
static void test_what_another_node_sent_is_shown_as_it_is(void **state)
{
	(void)state;
	json_t *list = json_array();
	json_t *sent = json_pack("{s:s, s:s, s:s, s:s, s:i}", "code", "disk.on-fire", "severity",
				 "worse", "subject", "disk/sda", "text", "it burns", "more", 7);
	alarm_put_sent(list, ALARM_ABOUT_BACKEND, "web1", sent);
	json_decref(sent);
	assert_json(list, "[{\"code\":\"disk.on-fire\",\"severity\":\"worse\","
			  "\"subject\":\"backend/web1\",\"text\":\"backend web1: it burns\"}]");
}

static void test_what_is_no_alarm_is_left_out(void **state)
{
	(void)state;
	json_t *list = json_array();
	json_t *sent = json_pack("[i, n, {}, {s:i}, s]", 7, "text", 7, "words");
	for (size_t i = 0; i < json_array_size(sent); i++)
		alarm_put_sent(list, ALARM_ABOUT_BACKEND, "web1", json_array_get(sent, i));
	json_decref(sent);
	assert_json(list, "[]");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_codes_are_told_apart),
	    cmocka_unit_test(test_new_words_are_news_but_no_new_beginning),
	    cmocka_unit_test(test_another_subject_is_another_alarm),
	    cmocka_unit_test(test_an_alarm_as_json),
	    cmocka_unit_test(test_a_long_subject_is_cut_in_the_advice),
	    cmocka_unit_test(test_what_another_node_sent_is_shown_as_it_is),
	    cmocka_unit_test(test_what_is_no_alarm_is_left_out),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
