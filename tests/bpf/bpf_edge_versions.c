/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A version never changes (invariant 2): not by this process, not by what it adopts, and not under
 * the cover of damage.
 */
#include "edge_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void publish_changed_ring(void)
{
	static uint16_t other[EDGE_RING_PAGE];
	struct error err;
	memcpy(other, fixture.first, sizeof(other));
	other[17] = (uint16_t)((other[17] + 1) % FIXTURE_BACKENDS);
	fixture.versions[OTHER].first = other;
	(void)case_publish(&err);
}

static void publish_changed_seed(void)
{
	struct error err;
	fixture.versions[OTHER].seed[3] ^= 1;
	(void)case_publish(&err);
}

/* Invariant 2: a version never changes. This process's own such mistake is a bug … */
static void test_version_never_changes(void **state)
{
	(void)state;
	assert_child_aborts(publish_changed_ring);
	assert_child_aborts(publish_changed_seed);
	assert_all_served();
}

/* … and pins that say otherwise are corrupt. */
static void test_adopted_version_differs(void **state)
{
	(void)state;
	struct error err;
	fixture_close(&fixture);
	fixture_open(&fixture);
	fixture.first[17] = (uint16_t)((fixture.first[17] + 1) % FIXTURE_BACKENDS);
	assert_int_equal(case_publish(&err), -FL_ECORRUPT);
	assert_non_null(strstr(err.text, "another ring"));
	fixture_desire(&fixture);
	fixture.versions[WEB].seed[3] ^= 1;
	assert_int_equal(case_publish(&err), -FL_ECORRUPT);
	assert_non_null(strstr(err.text, "other rules"));
	fixture_desire(&fixture);
	fixture_publish(&fixture);
	assert_all_served();
}

/* A ring that somebody damaged may not become the cover of one that is another (invariant 2). */
static void publish_changed_damaged_ring(void)
{
	struct edge_map_descriptor descriptor;
	struct ip_address web = fixture_service_address(WEB, IP_V4);
	(void)case_descriptor(&web, &descriptor);
	case_empty("ring_pages", descriptor.first_page, 1, sizeof(struct edge_map_page));
	publish_changed_ring();
}

static void test_damage_is_no_excuse(void **state)
{
	(void)state;
	assert_child_aborts(publish_changed_damaged_ring);
	assert_int_equal(case_check().damaged, 1);
	fixture_publish(&fixture);
	assert_all_served();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    EDGE_CASE(test_version_never_changes),
	    EDGE_CASE(test_adopted_version_differs),
	    EDGE_CASE(test_damage_is_no_excuse),
	};
	return cmocka_run_group_tests(tests, case_enter, case_leave);
}
