/* SPDX-License-Identifier: Apache-2.0 */
/* The ring: exact shares, least movement, and deaths that move only their own flows. */
#include "abi/pick.h"
#include "base/random.h"
#include "model/fabric.h"
#include "model/ring.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOST MODEL_MAX_BACKENDS

static const uint8_t KEY[16] = {1, 2, 3};

static struct ring ring_new(uint32_t length)
{
	struct ring ring = {.length = length,
			    .first = calloc(length, sizeof(uint16_t)),
			    .second = calloc(length, sizeof(uint16_t))};
	assert_non_null(ring.first);
	assert_non_null(ring.second);
	return ring;
}

static void ring_free(struct ring *ring)
{
	free(ring->first);
	free(ring->second);
}

static void count_first(const struct ring *ring, uint32_t *ret_counts)
{
	memset(ret_counts, 0, MOST * sizeof(*ret_counts));
	for (uint32_t i = 0; i < ring->length; i++)
		ret_counts[ring->first[i]]++;
}

static void shares_are_exact(void **state)
{
	(void)state;
	static const struct {
		uint32_t weights[6];
		size_t count;
		uint32_t entries[6];
	} cases[] = {
	    {{1}, 1, {4096}},
	    {{1, 1}, 2, {2048, 2048}},
	    /* 1365⅓ each: the entry that is left goes to the lowest ordinal. */
	    {{5, 5, 5}, 3, {1366, 1365, 1365}},
	    {{0, 1, 0, 3}, 4, {0, 1024, 0, 3072}},
	    /* 585.14, 1170.29, 2340.57: the largest fraction. */
	    {{1, 2, 4}, 3, {585, 1170, 2341}},
	    /* 819.2 each: the one that is left goes to the lowest, though zero weights stand
	       before. */
	    {{0, 7, 7, 7, 7, 7}, 6, {0, 820, 819, 819, 819, 819}},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct ring ring = ring_new(4096);
		uint32_t counts[MOST];
		assert_int_equal(
		    ring_build(cases[i].weights, cases[i].count, KEY, NULL, NULL, 0, &ring), 0);
		count_first(&ring, counts);
		assert_memory_equal(counts, cases[i].entries, sizeof(cases[i].entries));
		ring_free(&ring);
	}
}

static void what_cannot_be_built_is_refused(void **state)
{
	(void)state;
	static const uint32_t weights[MOST + 1] = {[MOST] = 1};
	struct ring ring = ring_new(4096);
	assert_int_equal(ring_build(weights, MOST, KEY, NULL, NULL, 0, &ring), -FL_EINVALID);
	assert_int_equal(ring_build(weights, 0, KEY, NULL, NULL, 0, &ring), -FL_EINVALID);
	assert_int_equal(ring_build(weights, MOST + 1, KEY, NULL, NULL, 0, &ring), -FL_EINVALID);
	ring_free(&ring);
}

static void the_key_alone_decides(void **state)
{
	(void)state;
	static const uint32_t weights[] = {3, 1, 4, 1, 5};
	static const uint8_t other[16] = {1, 2, 4};
	struct ring a = ring_new(4096), b = ring_new(4096), c = ring_new(4096);
	assert_int_equal(ring_build(weights, 5, KEY, NULL, NULL, 0, &a), 0);
	assert_int_equal(ring_build(weights, 5, KEY, NULL, NULL, 0, &b), 0);
	assert_int_equal(ring_build(weights, 5, other, NULL, NULL, 0, &c), 0);
	assert_memory_equal(a.first, b.first, 4096 * sizeof(uint16_t));
	assert_memory_equal(a.second, b.second, 4096 * sizeof(uint16_t));
	assert_memory_not_equal(a.first, c.first, 4096 * sizeof(uint16_t));
	assert_memory_not_equal(a.second, c.second, 4096 * sizeof(uint16_t));
	ring_free(&a);
	ring_free(&b);
	ring_free(&c);
}

static void single_backends_have_no_second(void **state)
{
	(void)state;
	static const uint32_t weights[] = {0, 9, 0};
	struct ring ring = ring_new(4096);
	assert_int_equal(ring_build(weights, 3, KEY, NULL, NULL, 0, &ring), 0);
	for (uint32_t i = 0; i < ring.length; i++) {
		assert_int_equal(ring.first[i], 1);
		assert_int_equal(ring.second[i], RING_NONE);
	}
	ring_free(&ring);
}

/* Random weights for up to 40 backends; at least two are not zero. */
static size_t random_weights(struct random *random, uint32_t *ret_weights)
{
	size_t count = 2 + random_below(random, 39);
	for (size_t i = 0; i < count; i++) {
		bool is_end = i == 0 || i == count - 1;
		ret_weights[i] = (uint32_t)random_below(random, 12) + is_end;
	}
	return count;
}

/* The entries of one first candidate have each other backend as second in floor or ceil of the
 * exact proportion, and never itself. */
static void seconds_are_in_proportion(void **state)
{
	(void)state;
	struct random random;
	random_init_seeded(&random, 5);
	for (int round = 0; round < 40; round++) {
		uint32_t weights[MOST], counts[MOST];
		size_t count = random_weights(&random, weights);
		struct ring ring = ring_new(8192);
		assert_int_equal(ring_build(weights, count, KEY, NULL, NULL, 0, &ring), 0);
		count_first(&ring, counts);
		uint64_t sum = 0;
		for (size_t i = 0; i < count; i++)
			sum += weights[i];
		for (size_t first = 0; first < count; first++) {
			uint32_t seconds[MOST] = {0};
			for (uint32_t i = 0; i < ring.length; i++) {
				assert_true(ring.second[i] < count);
				if (ring.first[i] == first)
					seconds[ring.second[i]]++;
			}
			assert_int_equal(seconds[first], 0);
			for (size_t i = 0; i < count; i++) {
				if (i == first)
					continue;
				uint64_t others = sum - weights[first];
				uint64_t exact = (uint64_t)counts[first] * weights[i];
				assert_true(seconds[i] >= exact / others);
				assert_true(seconds[i] <= (exact + others - 1) / others);
			}
		}
		ring_free(&ring);
	}
}

/* The roundings of many first candidates must not add up on some backends: with 200 backends each
 * first candidate spreads 20 entries over 199 others. */
static void seconds_do_not_gather(void **state)
{
	(void)state;
	uint32_t weights[200], loads[200] = {0};
	for (size_t i = 0; i < 200; i++)
		weights[i] = 1;
	struct ring ring = ring_new(4096);
	assert_int_equal(ring_build(weights, 200, KEY, NULL, NULL, 0, &ring), 0);
	for (uint32_t i = 0; i < ring.length; i++)
		loads[ring.second[i]]++;
	for (size_t i = 0; i < 200; i++)
		assert_in_range(loads[i], 5, 45);
	ring_free(&ring);
}

/* From ring to ring with random weights and backends that come and go: as many entries stay as
 * the new quotas allow, which is the sum of min(entries then, entries now). */
static void movement_is_the_least_possible(void **state)
{
	(void)state;
	struct random random;
	random_init_seeded(&random, 11);
	for (int round = 0; round < 60; round++) {
		uint32_t old_weights[MOST], weights[MOST], old_counts[MOST], counts[MOST];
		uint16_t carried[MOST];
		size_t old_count = random_weights(&random, old_weights);
		size_t count = random_weights(&random, weights);
		/* Old backend i is new backend count-1-i, or gone. */
		for (size_t i = 0; i < old_count; i++)
			carried[i] = i < count ? (uint16_t)(count - 1 - i) : RING_NONE;

		struct ring before = ring_new(4096), after = ring_new(4096);
		assert_int_equal(ring_build(old_weights, old_count, KEY, NULL, NULL, 0, &before),
				 0);
		assert_int_equal(
		    ring_build(weights, count, KEY, &before, carried, old_count, &after), 0);
		count_first(&before, old_counts);
		count_first(&after, counts);
		uint32_t stay = 0;
		for (size_t i = 0; i < old_count; i++) {
			uint32_t now = carried[i] == RING_NONE ? 0 : counts[carried[i]];
			stay += old_counts[i] < now ? old_counts[i] : now;
		}
		assert_int_equal(ring_moved(&before, carried, old_count, &after), 4096 - stay);
		ring_free(&before);
		ring_free(&after);
	}
}

/* With the same weights nothing moves, into a longer ring as into a shorter one. */
static void rings_of_other_lengths_keep_their_places(void **state)
{
	(void)state;
	static const uint32_t weights[] = {1, 1, 2};
	static const uint16_t carried[] = {0, 1, 2};
	static const uint32_t lengths[] = {4096, 16384, 65536};
	struct ring before = ring_new(16384);
	assert_int_equal(ring_build(weights, 3, KEY, NULL, NULL, 0, &before), 0);
	for (size_t i = 0; i < 3; i++) {
		struct ring after = ring_new(lengths[i]);
		assert_int_equal(ring_build(weights, 3, KEY, &before, carried, 3, &after), 0);
		uint32_t moved = ring_moved(&before, carried, 3, &after);
		/* Shrinking samples a quarter of the places, whose shares need not be exact. */
		assert_true(lengths[i] >= 16384 ? moved == 0 : moved < 4096 / 20);
		ring_free(&after);
	}
	ring_free(&before);
}

static void lengths_fit_the_weights(void **state)
{
	(void)state;
	uint32_t many[MOST];
	for (size_t i = 0; i < MOST; i++)
		many[i] = 1;
	static const uint32_t even[] = {10, 10, 10}, uneven[] = {1, 1000}, none[] = {0, 0};
	assert_int_equal(ring_length_for(even, 3), 4096);
	/* 32768 / 1001 = 32.7, and 33 is 0.8 % off; half of that would be 16 for 16.4. */
	assert_int_equal(ring_length_for(uneven, 2), 32768);
	assert_int_equal(ring_length_for(many, MOST), 4096);
	/* 1000 backends: 65.5 entries each at most, so the limit. */
	assert_int_equal(ring_length_for(many, 1000), 65536);
	assert_int_equal(ring_length_for(none, 2), 4096);
}

struct flows {
	const struct ring *ring;
	uint32_t dead; /* PICK_NONE or a candidate */
};

static __u32 flow_candidate(void *context, unsigned rank, __u32 index)
{
	const struct flows *flows = context;
	uint16_t ordinal = rank ? flows->ring->second[index] : flows->ring->first[index];
	return ordinal == RING_NONE ? PICK_NONE : ordinal + 1u;
}

static int flow_dead(void *context, __u32 backend)
{
	const struct flows *flows = context;
	return backend == flows->dead;
}

/* Invariant 5, with the pick function that edges run. */
static void a_death_moves_only_its_own_flows(void **state)
{
	(void)state;
	static const uint32_t weights[] = {4, 1, 3, 0, 7};
	struct ring ring = ring_new(4096);
	assert_int_equal(ring_build(weights, 5, KEY, NULL, NULL, 0, &ring), 0);
	for (uint32_t dead = 1; dead <= 5; dead++) {
		struct flows alive = {.ring = &ring, .dead = PICK_NONE};
		struct flows after = {.ring = &ring, .dead = dead};
		for (uint32_t index = 0; index < ring.length; index++) {
			__u32 was = pick(index, flow_candidate, flow_dead, &alive);
			__u32 is = pick(index, flow_candidate, flow_dead, &after);
			assert_int_not_equal(is, PICK_NONE);
			assert_int_not_equal(is, dead);
			assert_true(was == is || was == dead);
		}
	}
	ring_free(&ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(shares_are_exact),
	    cmocka_unit_test(what_cannot_be_built_is_refused),
	    cmocka_unit_test(the_key_alone_decides),
	    cmocka_unit_test(single_backends_have_no_second),
	    cmocka_unit_test(seconds_are_in_proportion),
	    cmocka_unit_test(seconds_do_not_gather),
	    cmocka_unit_test(movement_is_the_least_possible),
	    cmocka_unit_test(rings_of_other_lengths_keep_their_places),
	    cmocka_unit_test(lengths_fit_the_weights),
	    cmocka_unit_test(a_death_moves_only_its_own_flows),
	};
	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
