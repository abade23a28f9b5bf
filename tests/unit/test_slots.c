/* SPDX-License-Identifier: Apache-2.0 */
/* Slots of the edge's maps: runs, exhaustion, and the rest before a second use. */
#include "base/random.h"
#include "dataplane/edge.h"
#include "dataplane/slots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_first_and_exhaustion(void **state)
{
	(void)state;
	struct slots slots;
	uint32_t slot;
	bool resting = true;
	assert_int_equal(slots_init(&slots, 1, 4), 0);
	for (uint32_t i = 1; i < 4; i++) {
		assert_int_equal(slots_take(&slots, 1, 0, &slot, NULL), 0);
		assert_int_equal(slot, i); /* never entry 0 */
	}
	assert_int_equal(slots_take(&slots, 1, 0, &slot, &resting), -FL_EEXHAUSTED);
	assert_false(resting); /* waiting does not help */
	slots_retire(&slots, 2, 1, 500);
	assert_int_equal(slots_take(&slots, 1, 500, &slot, &resting), -FL_EEXHAUSTED);
	assert_true(resting);
	assert_int_equal(slots_take(&slots, 1, 499 + EDGE_GRACE_MS, &slot, &resting),
			 -FL_EEXHAUSTED);
	assert_int_equal(slots_take(&slots, 1, 500 + EDGE_GRACE_MS, &slot, &resting), 0);
	assert_int_equal(slot, 2);
	slots_done(&slots);
}

/* What is in use or at rest stays so when entries are added, and the added ones are free. */
static void test_growth(void **state)
{
	(void)state;
	struct slots slots;
	uint32_t slot;
	assert_int_equal(slots_init(&slots, 1, 4), 0);
	for (uint32_t i = 1; i < 4; i++)
		assert_int_equal(slots_take(&slots, 1, 0, &slot, NULL), 0);
	slots_retire(&slots, 2, 1, 500);
	assert_int_equal(slots_free(&slots, 500), 0);
	assert_int_equal(slots_free(&slots, 500 + EDGE_GRACE_MS), 1);
	assert_int_equal(slots_grow(&slots, 7), 0);
	assert_int_equal(slots_free(&slots, 500), 3);
	assert_true(slots_used(&slots, 1) && slots_used(&slots, 3));
	assert_false(slots_used(&slots, 4));
	assert_int_equal(slots_take(&slots, 3, 500, &slot, NULL), 0);
	assert_int_equal(slot, 4);
	slots_done(&slots);
}

/* A free entry that has never been used is preferred to waiting; the cursor goes round. */
static void test_runs(void **state)
{
	(void)state;
	struct slots slots;
	uint32_t slot;
	assert_int_equal(slots_init(&slots, 0, 10), 0);
	assert_int_equal(slots_take(&slots, 4, 0, &slot, NULL), 0);
	assert_int_equal(slot, 0);
	assert_int_equal(slots_take(&slots, 4, 0, &slot, NULL), 0);
	assert_int_equal(slot, 4);
	slots_retire(&slots, 0, 4, 0);
	assert_int_equal(slots_take(&slots, 3, EDGE_GRACE_MS, &slot, NULL), 0);
	assert_int_equal(slot, 0); /* two at the end are too few */
	assert_int_equal(slots_take(&slots, 2, EDGE_GRACE_MS, &slot, NULL), 0);
	assert_int_equal(slot, 8);
	assert_int_equal(slots_take(&slots, 2, EDGE_GRACE_MS, &slot, NULL), -FL_EEXHAUSTED);
	slots_done(&slots);
}

/* Whatever happens, an entry is given to one user at a time and rests in between. */
static void test_random_walk(void **state)
{
	(void)state;
	enum { COUNT = 40 };
	struct slots slots;
	struct random random;
	bool used[COUNT] = {false};
	uint64_t rests_until[COUNT] = {0};
	uint64_t now_ms = 0;
	random_init_seeded(&random, 7);
	assert_int_equal(slots_init(&slots, 0, COUNT), 0);
	for (int step = 0; step < 20000; step++) {
		uint32_t run = 1 + (uint32_t)random_below(&random, 4);
		uint32_t first;
		now_ms += random_below(&random, EDGE_GRACE_MS / 4);
		if (random_below(&random, 2) == 0) {
			first = (uint32_t)random_below(&random, COUNT);
			if (used[first]) {
				slots_retire(&slots, first, 1, now_ms);
				used[first] = false;
				rests_until[first] = now_ms + EDGE_GRACE_MS;
			}
			continue;
		}
		if (slots_take(&slots, run, now_ms, &first, NULL) < 0)
			continue;
		for (uint32_t i = first; i < first + run; i++) {
			assert_false(used[i]);
			assert_true(rests_until[i] <= now_ms);
			used[i] = true;
		}
	}
	slots_done(&slots);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_first_and_exhaustion),
	    cmocka_unit_test(test_growth),
	    cmocka_unit_test(test_runs),
	    cmocka_unit_test(test_random_walk),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
