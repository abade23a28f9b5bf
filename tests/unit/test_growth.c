/* SPDX-License-Identifier: Apache-2.0 */
/* How much a counter grew lately. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/growth.h"

static void test_growth_is_told_at_once_and_for_a_window_after(void **state)
{
	(void)state;
	struct growth growth = {0};
	assert_int_equal(growth_look(&growth, 5, 1000), 0); /* from before anybody looked */
	assert_int_equal(growth_look(&growth, 6, 1003), 3);
	assert_int_equal(growth_look(&growth, 9000, 1007), 7);
	assert_int_equal(growth_look(&growth, 10005, 1007), 7);
	assert_int_equal(growth_look(&growth, 20004, 1007), 7);
	assert_int_equal(growth_look(&growth, 20005, 1007), 0);
	assert_int_equal(growth_look(&growth, 20006, 1008), 1);
}

static void test_a_counter_that_begins_anew(void **state)
{
	(void)state;
	struct growth growth = {0};
	assert_int_equal(growth_look(&growth, 5, 1000), 0);
	assert_int_equal(growth_look(&growth, 6, 4), 0);
	assert_int_equal(growth_look(&growth, 7, 6), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_growth_is_told_at_once_and_for_a_window_after),
	    cmocka_unit_test(test_a_counter_that_begins_anew),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
