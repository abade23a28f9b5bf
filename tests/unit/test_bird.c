/* SPDX-License-Identifier: Apache-2.0 */
/* What is written for BIRD, against files that tests/golden/test_bird.py shows to BIRD itself.
 * FAIRLEAD_UPDATE=1 writes them anew. */
#include "routing/bird.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOST 4

struct given {
	struct ip_prefix prefixes[MOST];
	struct ip_address neighbours[MOST];
	struct routing_bird bird;
};

static void give(struct given *given, const char *const *prefixes, const char *const *neighbours)
{
	*given = (struct given){.bird = {.node = "edge1", .table = 122}};
	for (size_t i = 0; prefixes[i]; i++)
		assert_int_equal(
		    ip_prefix_parse(prefixes[i], &given->prefixes[given->bird.prefix_count++]), 0);
	for (size_t i = 0; neighbours[i]; i++)
		assert_int_equal(
		    ip_address_parse(neighbours[i],
				     &given->neighbours[given->bird.neighbour_count++]),
		    0);
	given->bird.prefixes = given->prefixes;
	given->bird.neighbours = given->neighbours;
	if (given->bird.neighbour_count) {
		given->bird.neighbour_as = 64512;
		given->bird.local_as = 4200000001;
	}
}

static void assert_golden(const struct given *given, const char *name)
{
	char path[512];
	struct buffer text;
	buffer_init(&text, 0);
	routing_bird_write(&given->bird, &text);
	assert_int_equal(text.status, 0);
	snprintf(path, sizeof(path), SOURCE_ROOT "/tests/golden/bird/%s.conf", name);
	if (getenv("FAIRLEAD_UPDATE")) {
		FILE *file = fopen(path, "we");
		assert_non_null(file);
		fputs(text.data, file);
		assert_int_equal(fclose(file), 0);
	}
	FILE *file = fopen(path, "re");
	assert_non_null(file);
	char wanted[8192];
	wanted[fread(wanted, 1, sizeof(wanted) - 1, file)] = '\0';
	fclose(file);
	assert_string_equal(text.data, wanted);
	buffer_done(&text);
}

static void with_routers(void **state)
{
	(void)state;
	struct given given;
	give(&given,
	     (const char *const[]){"198.51.100.0/27", "2001:db8:f::/112", "203.0.113.64/26", NULL},
	     (const char *const[]){"10.0.0.1", "fd00::1", "10.0.0.9", NULL});
	assert_golden(&given, "routers");
}

static void with_nothing_to_fill_in_yet(void **state)
{
	(void)state;
	struct given given;
	give(&given, (const char *const[]){"198.51.100.0/27", "2001:db8:f::/112", NULL},
	     (const char *const[]){NULL});
	assert_golden(&given, "example");
}

static void with_families_that_do_not_meet(void **state)
{
	(void)state;
	struct given given;
	give(&given, (const char *const[]){"2001:db8:f::/112", NULL},
	     (const char *const[]){"10.0.0.1", NULL});
	given.bird.table = 7;
	assert_golden(&given, "families");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(with_routers),
	    cmocka_unit_test(with_nothing_to_fill_in_yet),
	    cmocka_unit_test(with_families_that_do_not_meet),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
