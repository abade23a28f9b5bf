/* SPDX-License-Identifier: Apache-2.0 */
/* The routing plane against the kernel, in a network namespace of the test's own. */
#include "routing/routing.h"

#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TABLE 122
#define V4 "198.51.100.0/27"
#define V6 "2001:db8:f::/112"

static int set_up(void **state)
{
	(void)state;
	/* NOLINTNEXTLINE(cert-env33-c): fixed commands of the tests, here and below */
	return unshare(CLONE_NEWNET) == 0 && system("ip link set lo up") == 0 ? 0 : -1;
}

static struct ip_prefix prefix_of(const char *text)
{
	struct ip_prefix prefix;
	assert_int_equal(ip_prefix_parse(text, &prefix), 0);
	return prefix;
}

static struct routing *opened(void)
{
	struct routing *routing;
	struct error err;
	assert_int_equal(routing_open(TABLE, &routing, &err), 0);
	return routing;
}

static void announce(struct routing *routing, const char *first, const char *second)
{
	struct ip_prefix prefixes[2];
	struct error err = {0};
	size_t count = 0;
	if (first)
		prefixes[count++] = prefix_of(first);
	if (second)
		prefixes[count++] = prefix_of(second);
	if (routing_announce(routing, prefixes, count, &err) != 0)
		fail_msg("%s", err.text);
}

/* The whole table of a family as `ip` shows it, a route a line. */
static const char *shown(int family)
{
	static char text[2048];
	char command[64];
	snprintf(command, sizeof(command), "ip -%d route show table %d 2>/dev/null", family, TABLE);
	FILE *pipe = popen(command, "r"); /* NOLINT(cert-env33-c) */
	assert_non_null(pipe);
	text[fread(text, 1, sizeof(text) - 1, pipe)] = '\0';
	pclose(pipe);
	return text;
}

static void run(const char *command)
{
	assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c) */
}

static void wait_for_news(const struct routing *routing)
{
	struct pollfd waits = {.fd = routing_fd(routing), .events = POLLIN};
	assert_int_equal(poll(&waits, 1, 10000), 1);
}

static struct routing_loss followed(struct routing *routing)
{
	struct routing_loss loss;
	struct error err = {0};
	if (routing_follow(routing, &loss, &err) != 0)
		fail_msg("%s", err.text);
	return loss;
}

static void prefixes_are_blackholes_of_ours(void **state)
{
	(void)state;
	struct routing *routing = opened();
	announce(routing, V4, V6);
	assert_non_null(strstr(shown(4), "blackhole " V4 " proto 104 metric 100"));
	assert_non_null(strstr(shown(6), "blackhole " V6 " dev lo proto 104 metric 100"));
	announce(routing, NULL, NULL);
	assert_string_equal(shown(4), "");
	assert_string_equal(shown(6), "");
	routing_close(routing);
}

static void what_leaves_is_withdrawn_and_the_rest_is_not_touched(void **state)
{
	(void)state;
	struct routing *routing = opened();
	announce(routing, V4, V6);
	announce(routing, V6, "198.51.100.32/27");
	assert_null(strstr(shown(4), V4));
	assert_non_null(strstr(shown(4), "198.51.100.32/27"));
	assert_non_null(strstr(shown(6), V6));
	announce(routing, NULL, NULL);
	routing_close(routing);
}

static void a_route_that_is_deleted_comes_back(void **state)
{
	(void)state;
	struct routing *routing = opened();
	announce(routing, V4, V6);
	assert_int_equal(followed(routing).count, 0);
	run("ip route del blackhole " V4 " table 122");
	wait_for_news(routing);
	struct routing_loss loss = followed(routing);
	const struct ip_prefix v4 = prefix_of(V4);
	assert_int_equal(loss.count, 1);
	assert_true(ip_prefix_equal(&loss.prefix, &v4));
	assert_true(*loss.deleter);
	assert_non_null(strstr(shown(4), V4));
	assert_int_equal(followed(routing).count, 0);
	run("ip -6 route flush table 122");
	wait_for_news(routing);
	assert_int_equal(followed(routing).count, 1);
	assert_non_null(strstr(shown(6), V6));
	announce(routing, NULL, NULL);
	assert_int_equal(followed(routing).count, 0);
	routing_close(routing);
}

/* A process that ended without a word leaves its routes, and the next one takes them over. */
static void routes_outlive_the_process(void **state)
{
	(void)state;
	struct ip_prefix found[4];
	struct error err;
	struct routing *routing = opened();
	announce(routing, V4, V6);
	routing_close(routing);
	routing = opened();
	assert_int_equal(routing_read(routing, found, 4, &err), 2);
	assert_int_equal(followed(routing).count, 0);
	assert_int_equal(routing_read(routing, found, 1, &err), 1);
	announce(routing, V6, NULL);
	assert_int_equal(routing_read(routing, found, 4, &err), 1);
	assert_string_equal(shown(4), "");
	announce(routing, NULL, NULL);
	routing_close(routing);
}

static void routes_of_others_are_left_alone(void **state)
{
	(void)state;
	run("ip route add blackhole 203.0.113.0/24 table 122 proto static");
	run("ip route add unreachable 192.0.2.0/24 table 122 proto 104");
	run("ip route add blackhole " V4 " proto 104");
	struct routing *routing = opened();
	announce(routing, V4, NULL);
	announce(routing, NULL, NULL);
	assert_non_null(strstr(shown(4), "203.0.113.0/24"));
	assert_non_null(strstr(shown(4), "192.0.2.0/24"));
	assert_null(strstr(shown(4), V4));
	run("ip route show | grep -q " V4);
	routing_close(routing);
	run("ip route flush table 122 && ip route del blackhole " V4);
}

/* Who puts the same route there himself may keep it so. */
static void a_route_that_is_there_is_no_error(void **state)
{
	(void)state;
	struct routing *routing = opened();
	run("ip route add blackhole " V4 " table 122 metric 100 proto static");
	announce(routing, V4, NULL);
	announce(routing, NULL, NULL);
	assert_non_null(strstr(shown(4), V4));
	routing_close(routing);
	run("ip route flush table 122");
}

static void a_family_that_is_missing_does_not_keep_the_other_back(void **state)
{
	(void)state;
	struct error err = {0};
	const struct ip_prefix both[] = {prefix_of(V6), prefix_of(V4)};
	struct routing *routing = opened();
	run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1");
	int result = routing_announce(routing, both, 2, &err);
	if (result < 0)
		assert_non_null(strstr(err.text, V6));
	assert_non_null(strstr(shown(4), V4));
	run("sysctl -qw net.ipv6.conf.all.disable_ipv6=0");
	announce(routing, V6, V4);
	assert_non_null(strstr(shown(6), V6));
	announce(routing, NULL, NULL);
	routing_close(routing);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(prefixes_are_blackholes_of_ours),
	    cmocka_unit_test(what_leaves_is_withdrawn_and_the_rest_is_not_touched),
	    cmocka_unit_test(a_route_that_is_deleted_comes_back),
	    cmocka_unit_test(routes_outlive_the_process),
	    cmocka_unit_test(routes_of_others_are_left_alone),
	    cmocka_unit_test(a_route_that_is_there_is_no_error),
	    cmocka_unit_test(a_family_that_is_missing_does_not_keep_the_other_back),
	};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
