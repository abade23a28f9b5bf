/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon watches of its machine: the clock, and the files it may have open. */
#include "daemon/open_files.h"
#include "daemon/wall_watch.h"

#include "api/unix.h"
#include "naming/server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include <cmocka.h>

#define HOUR_MS 3600000

static void test_the_clock_is_set_and_set_back(void **state)
{
	(void)state;
	const int64_t hours[] = {HOUR_MS, -HOUR_MS};
	for (size_t i = 0; i < 2; i++) {
		struct wall_watch watch;
		uint64_t wall_ms = 5 * (uint64_t)HOUR_MS;
		wall_watch_init(&watch, 1000, wall_ms);
		assert_false(wall_watch_look(&watch, 1250, wall_ms + 250));
		assert_int_equal(watch.jump_ms, 0);
		uint64_t other_ms = wall_ms + (uint64_t)hours[i];
		assert_true(wall_watch_look(&watch, 1500, other_ms + 500));
		assert_int_equal(watch.jump_ms, hours[i]);
		assert_false(wall_watch_look(&watch, 1750, other_ms + 750)); /* told once */
		assert_int_equal(watch.jump_ms, hours[i]);
		assert_false(wall_watch_look(&watch, 2000, wall_ms + 1000));
		assert_int_equal(watch.jump_ms, 0);
		assert_true(wall_watch_look(&watch, 2250, other_ms + 1250));
	}
}

static void test_a_clock_that_stays_is_right(void **state)
{
	(void)state;
	struct wall_watch watch;
	wall_watch_init(&watch, 1000, 1000);
	assert_true(wall_watch_look(&watch, 2000, 2000 + HOUR_MS));
	assert_false(
	    wall_watch_look(&watch, 2000 + WALL_TOLD_MS - 1, 2000 + HOUR_MS + WALL_TOLD_MS));
	assert_int_not_equal(watch.jump_ms, 0);
	assert_false(wall_watch_look(&watch, 2000 + WALL_TOLD_MS, 2000 + HOUR_MS + WALL_TOLD_MS));
	assert_int_equal(watch.jump_ms, 0);
	assert_true(wall_watch_look(&watch, 3000 + WALL_TOLD_MS, 3000 + WALL_TOLD_MS));
	assert_int_equal(watch.jump_ms, -HOUR_MS);
}

/* A time daemon that corrects by little steps may go far in the end. */
static void test_small_steps_are_no_jump(void **state)
{
	(void)state;
	struct wall_watch watch;
	wall_watch_init(&watch, 0, HOUR_MS);
	for (uint64_t i = 1; i < 100; i++)
		assert_false(wall_watch_look(&watch, i * 250, HOUR_MS + i * 5000));
}

static void test_files_are_shared_out(void **state)
{
	(void)state;
	struct open_files plenty = open_files_share(20000, 2, 2);
	assert_true(plenty.limit >= plenty.wanted);
	assert_int_equal(plenty.api_clients, API_UNIX_MAX_CLIENTS);
	assert_int_equal(plenty.landings, 256);
	assert_int_equal(plenty.tcp_connections, NAMING_TCP_CONNECTIONS);
	assert_int_equal(open_files_share(plenty.wanted, 2, 2).tcp_connections,
			 NAMING_TCP_CONNECTIONS);
	assert_int_equal(open_files_share(plenty.wanted, 0, 0).api_clients, API_UNIX_MAX_CLIENTS);
}

/* Whatever the limit: all who connect together leave the daemon its own files, and find a place. */
static void test_nobody_takes_all_files(void **state)
{
	(void)state;
	for (size_t limit = 0; limit < 3000; limit++) {
		for (size_t threads = 0; threads <= 8; threads++) {
			struct open_files files = open_files_share(limit, threads, threads);
			size_t own = 64 + threads * (1 + 2 * threads);
			size_t taken =
			    files.api_clients + files.landings + threads * files.tcp_connections;
			assert_true(files.api_clients >= 2 && files.landings >= 2);
			assert_true(files.tcp_connections >= 1 || threads == 0);
			assert_true(own + taken <= limit || taken == 4 + threads ||
				    limit < own + 16);
		}
	}
}

static void test_the_soft_limit_is_raised(void **state)
{
	(void)state;
	struct rlimit before;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	const struct rlimit low = {.rlim_cur = 50, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	assert_int_equal(open_files_raise(), before.rlim_max);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_clock_is_set_and_set_back),
	    cmocka_unit_test(test_a_clock_that_stays_is_right),
	    cmocka_unit_test(test_small_steps_are_no_jump),
	    cmocka_unit_test(test_files_are_shared_out),
	    cmocka_unit_test(test_nobody_takes_all_files),
	    cmocka_unit_test(test_the_soft_limit_is_raised),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
