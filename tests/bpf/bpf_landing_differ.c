/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landing's program against its reference, on random frames, right and damaged. `./dev fuzz
 * landing` does the same for as long as one likes. FAIRLEAD_SEED=N repeats a run, and the seed is
 * printed.
 */
#include "landing_differ.h"
#include "landing_frames.h"
#include "tests/seed.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#define FRAMES 100000
#define DAMAGES 4

static struct landing_differ differ;

static void test_the_program_agrees_with_its_reference(void **state)
{
	(void)state;
	static struct frame frame;
	struct random random;
	random_init_seeded(&random, seed_choose((uint64_t)time(NULL)));
	while (differ.frames < FRAMES) {
		landing_frames_make(&random, &frame);
		if (random_below(&random, 2) == 0) {
			for (uint64_t i = random_below(&random, DAMAGES); i > 0; i--)
				landing_frames_damage(&random, &frame);
		}
		if (!landing_differ_agrees(&differ, &frame, stderr))
			fail_msg("frame %" PRIu64, differ.frames);
	}
}

/* Agreement would mean little if everything had been dropped, and all for a few reasons. */
static void test_the_frames_went_everywhere(void **state)
{
	(void)state;
	assert_true(differ.expected.passed > FRAMES / 20);
	for (size_t i = 0; i < 4; i++)
		assert_true(differ.expected.accepted[i] > FRAMES / 50);
#define X(name, number, label, text)                                                               \
	if (differ.expected.drops[number] < FRAMES / 500)                                          \
		fail_msg("dropped as '%s': %" PRIu64, label,                                       \
			 (uint64_t)differ.expected.drops[number]);
	LANDING_DROPS(X)
#undef X
}

static int start(void **state)
{
	(void)state;
	return landing_differ_enter(&differ) ? 0 : -1;
}

static int stop(void **state)
{
	(void)state;
	landing_differ_leave(&differ);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_program_agrees_with_its_reference),
	    cmocka_unit_test(test_the_frames_went_everywhere),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
