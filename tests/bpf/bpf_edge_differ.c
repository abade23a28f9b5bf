/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge's program against its reference: random frames, right and damaged, while the knobs of
 * their world turn. `./dev fuzz edge` does the same for as long as one likes. FAIRLEAD_SEED=N
 * repeats a run, and the seed is printed.
 */
#include "edge_differ.h"
#include "edge_frames.h"
#include "tests/seed.h"

#include <inttypes.h>
#include <linux/bpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#define FRAMES 100000
#define FRAMES_PER_TURN 32 /* between two turns of the knobs */
#define DAMAGES 4

static struct differ differ;

static void compare(struct random *random)
{
	static struct frame frame;
	frames_make(random, &differ.world, &frame);
	if (random_below(random, 2) == 0) {
		for (uint64_t i = random_below(random, DAMAGES); i > 0; i--)
			frames_damage(random, &differ.world, &frame);
	}
	if (!differ_agrees(&differ, &frame, stderr))
		fail_msg("frame %" PRIu64, differ.frames);
}

static void test_the_program_agrees_with_its_reference(void **state)
{
	(void)state;
	struct random random;
	random_init_seeded(&random, seed_choose((uint64_t)time(NULL)));
	while (differ.frames < FRAMES) {
		if (differ.frames % FRAMES_PER_TURN == 0) {
			const struct world_knobs knobs = world_random_knobs(&random);
			world_turn(&differ.world, &knobs);
		}
		compare(&random);
	}
}

/* Agreement would mean little if everything had been dropped, and all for a few reasons. */
static void test_the_frames_went_everywhere(void **state)
{
	(void)state;
	for (unsigned verdict = XDP_DROP; verdict <= XDP_REDIRECT; verdict++)
		assert_true(differ.verdicts[verdict] > FRAMES / 50);
	/* The driver left room, and no ring that was published has an entry without a backend. What
	 * edges pass to each other has fixtures of its own (bpf_edge_passing.c). */
#define X(name, number, label, text)                                                               \
	if ((number) != DROP_HEADROOM && (number) != DROP_NO_BACKEND &&                            \
	    differ.expected.drops[number] < 10)                                                    \
		fail_msg("dropped as '%s': %" PRIu64, label, differ.expected.drops[number]);
	EDGE_PACKET_DROPS(X)
#undef X
	for (size_t i = 0; i < WORLD_BINDINGS; i++) {
		const struct edge_counters *counters = &differ.expected.counters[i];
		assert_true(counters->packets > 10 && counters->wrong_port > 10);
		assert_true(counters->asked_fib > 10 && counters->to_kernel > 10);
		assert_true(differ.world.bindings[i].refuse_new
				? counters->refused > 10 && counters->new_flows == 0
				: counters->new_flows > 10);
	}
}

static int start(void **state)
{
	(void)state;
	return differ_enter(&differ) ? 0 : -1;
}

static int stop(void **state)
{
	(void)state;
	differ_leave(&differ);
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
