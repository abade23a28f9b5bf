/* SPDX-License-Identifier: Apache-2.0 */
/* A version never changes (invariant 2). */
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
	memcpy(other, fixture.ring, sizeof(other));
	other[17] = (uint16_t)((other[17] + 1) % FIXTURE_BACKENDS);
	fixture.versions[OTHER].ring = other;
	(void)case_publish(&err);
}

static void publish_changed_seed(void)
{
	struct error err;
	fixture.versions[OTHER].seed[3] ^= 1;
	(void)case_publish(&err);
}

/* What was published under a digest is all that may be published under it; else it is a bug. */
static void test_version_never_changes(void **state)
{
	(void)state;
	assert_child_aborts(publish_changed_ring);
	assert_child_aborts(publish_changed_seed);
	assert_all_served();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    EDGE_CASE(test_version_never_changes),
	};
	return cmocka_run_group_tests(tests, case_enter, case_leave);
}
