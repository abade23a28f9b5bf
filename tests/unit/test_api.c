/* SPDX-License-Identifier: Apache-2.0 */
/* Calls without a transport: what a verb is given, and each way in which a call ends. */
#include "api/call.h"
#include "api/verbs.h"
#include "state/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct test_call {
	struct api_call call;
	unsigned ends;
	bool follows;
	json_t *data;
	struct error error;
};

static void test_who(const struct api_call *call, char who[API_WHO_BYTES])
{
	(void)call;
	snprintf(who, API_WHO_BYTES, "alice");
}

static void test_end(struct api_call *base, const json_t *data, const struct error *error)
{
	struct test_call *call = (struct test_call *)base;
	assert_true(!data != !error);
	call->ends++;
	call->data = json_deep_copy(data);
	if (error)
		call->error = *error;
}

static void test_follow(struct api_call *base)
{
	struct test_call *call = (struct test_call *)base;
	call->ends++;
	call->follows = true;
}

static const struct api_transport TRANSPORT = {
    .who = test_who, .end = test_end, .follow = test_follow};

static struct test_call ask(const char *verb, json_t *parameters)
{
	static const struct image image;
	struct api_host host = {.node = "edge1", .site = "fra", .image = &image};
	struct test_call call = {.call = {.transport = &TRANSPORT,
					  .command = command_find(verb),
					  .parameters = parameters}};
	api_begin(&host, &call.call);
	json_decref(parameters);
	assert_int_equal(call.ends, 1);
	return call;
}

static void test_a_verb_answers(void **state)
{
	(void)state;
	struct test_call call = ask("rollout status", json_object());
	assert_true(json_is_array(call.data) && !json_array_size(call.data));
	json_decref(call.data);
}

static void test_a_verb_refuses(void **state)
{
	(void)state;
	struct test_call call = ask("get", json_pack("{s:s}", "kind", "versions"));
	assert_int_equal(call.error.code, -FL_ENOTFOUND);
	assert_non_null(strstr(call.error.text, "nothing was applied yet"));
	call = ask("rollout status", json_pack("{s:s}", "service", "web"));
	assert_string_equal(call.error.text, "there is no service web");
}

static void test_events_are_followed(void **state)
{
	(void)state;
	struct test_call call = ask("events", json_object());
	assert_true(call.follows);
}

static void test_an_answer_that_is_no_text_is_an_error(void **state)
{
	(void)state;
	struct test_call call = {.call = {.transport = &TRANSPORT}};
	api_succeed(&call.call, json_pack("{s:s}", "text", "\xff"));
	assert_int_equal(call.error.code, -EILSEQ);
	assert_string_equal(call.error.text, API_NO_ANSWER);
	assert_int_equal(call.ends, 1);
	assert_null(call.data);
}

static void test_who_asks_is_the_transports_word(void **state)
{
	(void)state;
	char who[API_WHO_BYTES];
	struct test_call call = {.call = {.transport = &TRANSPORT}};
	assert_string_equal(api_who(&call.call, who), "alice");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_verb_answers),
	    cmocka_unit_test(test_a_verb_refuses),
	    cmocka_unit_test(test_events_are_followed),
	    cmocka_unit_test(test_an_answer_that_is_no_text_is_an_error),
	    cmocka_unit_test(test_who_asks_is_the_transports_word),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
