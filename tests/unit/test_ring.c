/* SPDX-License-Identifier: Apache-2.0 */
/* The ring: exact shares, least movement, and deaths that move only their own flows. */
#include "base/digest.h"
#include "base/random.h"
#include "model/fabric.h"
#include "model/ring.h"
#include "tests/chance.h"
#include "tests/seed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define MOST MODEL_MAX_BACKENDS

static const uint8_t KEY[16] = {1, 2, 3};

static struct ring ring_new(uint32_t length)
{
	struct ring ring = {.length = length, .entries = calloc(length, sizeof(uint16_t))};
	assert_non_null(ring.entries);
	return ring;
}

static void ring_free(struct ring *ring)
{
	free(ring->entries);
}

static void count_entries(const struct ring *ring, uint32_t *ret_counts)
{
	memset(ret_counts, 0, MOST * sizeof(*ret_counts));
	for (uint32_t i = 0; i < ring->length; i++)
		ret_counts[ring->entries[i]]++;
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
		count_entries(&ring, counts);
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
	assert_memory_equal(a.entries, b.entries, 4096 * sizeof(uint16_t));
	assert_memory_not_equal(a.entries, c.entries, 4096 * sizeof(uint16_t));
	ring_free(&a);
	ring_free(&b);
	ring_free(&c);
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
		count_entries(&before, old_counts);
		count_entries(&after, counts);
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

/* --- the effective ring --- */

static struct random source;

/* A ring of random weights, and of a longer length now and then. */
static struct ring random_ring(uint32_t *ret_weights, size_t *ret_count, uint8_t key[16])
{
	struct ring ring = ring_new(random_below(&source, 4) ? 4096 : 8192);
	*ret_count = random_weights(&source, ret_weights);
	random_fill(&source, key, 16);
	assert_int_equal(ring_build(ret_weights, *ret_count, key, NULL, NULL, 0, &ring), 0);
	return ring;
}

/*
 * One backend after the other dies, in a random order, until nobody is left. After each death only
 * entries of the backend that died have changed, and each entry names one that lives. Nothing but
 * the set is an argument, so the order of deaths cannot matter.
 */
static void deaths_move_only_their_own_entries(void **state)
{
	(void)state;
	static uint16_t before[RING_MAX_ENTRIES], after[RING_MAX_ENTRIES];
	for (int round = 0; round < 40; round++) {
		uint32_t weights[MOST];
		uint8_t key[16];
		size_t count;
		struct ring ring = random_ring(weights, &count, key);
		size_t bytes = ring.length * sizeof(uint16_t);
		bool ejected[MOST] = {false};
		uint16_t order[MOST];
		uint64_t left = 0;
		for (size_t i = 0; i < count; i++) {
			size_t j = random_below(&source, i + 1);
			left += weights[i];
			order[i] = order[j];
			order[j] = (uint16_t)i;
		}
		assert_int_equal(ring_effective(&ring, key, ejected, before), 0);
		assert_memory_equal(before, ring.entries, bytes);
		for (size_t i = 0; i < count; i++) {
			uint16_t dead = order[i];
			ejected[dead] = true;
			left -= weights[dead];
			uint32_t refilled = ring_effective(&ring, key, ejected, after);
			uint32_t changed = 0;
			for (uint32_t entry = 0; entry < ring.length; entry++) {
				changed += after[entry] != ring.entries[entry];
				if (!left)
					continue;
				assert_false(ejected[after[entry]]);
				assert_true(before[entry] == dead || before[entry] == after[entry]);
			}
			/* With nobody left, the base ring serves all. */
			assert_int_equal(changed, refilled);
			assert_true(left || !refilled);
			memcpy(before, after, bytes);
		}
		ring_free(&ring);
	}
}

/* All sets of a small ring's backends: one more death changes just that one's entries, whichever
 * it is and whatever was before. */
static void every_set_is_consistent(void **state)
{
	(void)state;
	enum { COUNT = 7, SETS = 1 << COUNT, WITHOUT_ENTRIES = 3 };
	static const uint32_t weights[COUNT] = {4, 1, 3, 0, 7, 2, 2};
	static uint16_t rings[SETS][4096];
	struct ring ring = ring_new(4096);
	assert_int_equal(ring_build(weights, COUNT, KEY, NULL, NULL, 0, &ring), 0);
	for (unsigned set = 0; set < SETS; set++) {
		bool ejected[COUNT];
		for (unsigned i = 0; i < COUNT; i++)
			ejected[i] = set >> i & 1;
		(void)ring_effective(&ring, KEY, ejected, rings[set]);
	}
	for (unsigned set = 0; set < SETS; set++) {
		for (unsigned more = 0; more < COUNT; more++) {
			unsigned larger = set | 1u << more;
			if ((larger | 1u << WITHOUT_ENTRIES) == SETS - 1)
				continue; /* nobody lives */
			for (uint32_t i = 0; i < ring.length; i++) {
				assert_false(larger >> rings[larger][i] & 1);
				assert_true(rings[set][i] == more ||
					    rings[set][i] == rings[larger][i]);
			}
		}
	}
	ring_free(&ring);
}

/* Chi-squared of where refilled entries went, against the entries that each live backend has of
 * its own. */
static double refill_chi(const struct ring *ring, const bool *ejected, const uint16_t *effective,
			 size_t count, size_t *ret_freedom)
{
	double own[MOST] = {0}, got[MOST] = {0}, live = 0, refilled = 0, chi = 0;
	size_t backends = 0;
	for (uint32_t i = 0; i < ring->length; i++) {
		if (ejected[ring->entries[i]]) {
			got[effective[i]]++;
			refilled++;
		} else {
			own[effective[i]]++;
			live++;
		}
	}
	for (size_t i = 0; i < count; i++) {
		double expected = refilled * own[i] / live;
		if (own[i] == 0)
			continue;
		backends++;
		chi += (got[i] - expected) * (got[i] - expected) / expected;
	}
	*ret_freedom = backends - 1;
	return chi;
}

/* What the dead leave spreads over the living by weight, as chance would have it: after one death,
 * and after the deaths of half and of all but three. */
static void refilled_entries_spread_by_weight(void **state)
{
	(void)state;
	enum { COUNT = 16, ROUNDS = 50, LENGTH = 65536 };
	static const size_t deaths[] = {1, 8, 13};
	static uint16_t effective[LENGTH];
	struct ring ring = ring_new(LENGTH);
	for (size_t round = 0; round < ROUNDS; round++) {
		size_t dying = deaths[round % (sizeof(deaths) / sizeof(deaths[0]))];
		uint32_t weights[COUNT];
		uint8_t key[16];
		bool ejected[COUNT] = {false};
		size_t freedom;
		for (size_t i = 0; i < COUNT; i++)
			weights[i] = 1 + (uint32_t)random_below(&source, 5);
		random_fill(&source, key, sizeof(key));
		assert_int_equal(ring_build(weights, COUNT, key, NULL, NULL, 0, &ring), 0);
		for (size_t dead = 0; dead < dying;) {
			size_t i = random_below(&source, COUNT);
			dead += !ejected[i];
			ejected[i] = true;
		}
		(void)ring_effective(&ring, key, ejected, effective);
		double chi = refill_chi(&ring, ejected, effective, COUNT, &freedom);
		if (chi > chance_bound(freedom))
			fail_msg("%zu deaths: chi-squared is %.1f with %zu degrees of freedom; "
				 "%.1f would be rare",
				 dying, chi, freedom, chance_bound(freedom));
	}
	ring_free(&ring);
}

/* Two entries of one dead backend choose independently: also after nine of ten backends have died,
 * the places that serve them are used as evenly as chance says. A walk that all entries share would
 * use those behind long runs of dead ones far more. */
static void refilled_entries_do_not_gather(void **state)
{
	(void)state;
	enum { COUNT = 1000, LIVE = 100, LENGTH = 65536 };
	static uint32_t weights[COUNT], loads[LIVE];
	static bool ejected[COUNT];
	static uint16_t effective[LENGTH];
	struct ring ring = ring_new(LENGTH);
	uint8_t key[16];
	random_fill(&source, key, sizeof(key));
	for (size_t i = 0; i < COUNT; i++) {
		weights[i] = 1;
		ejected[i] = i >= LIVE;
	}
	/* 65 entries or 66 for each backend, so that the living expect nearly the same. */
	assert_int_equal(ring_build(weights, COUNT, key, NULL, NULL, 0, &ring), 0);
	memset(loads, 0, sizeof(loads));
	(void)ring_effective(&ring, key, ejected, effective);
	for (uint32_t i = 0; i < ring.length; i++) {
		if (ejected[ring.entries[i]])
			loads[effective[i]]++;
	}
	assert_true(chance_even(loads, LIVE) < chance_bound(LIVE - 1));
	ring_free(&ring);
}

/* The rule is part of algorithm 2: what it gives today it gives for ever. The digest was made by an
 * implementation in Python, from the rule as ring.h states it. */
static void the_rule_never_changes(void **state)
{
	(void)state;
	enum { COUNT = 16, LENGTH = 4096 };
	static const char rule[] =
	    "78f51faa1f575092bccd405e24ba1c704dd2e57f4115323dd45f9b3fc3914160";
	static uint16_t effective[LENGTH];
	static uint8_t bytes[2 * LENGTH];
	struct ring ring = ring_new(LENGTH);
	bool ejected[COUNT];
	uint8_t wanted[DIGEST_BYTES];
	struct digest digest;
	for (uint32_t i = 0; i < LENGTH; i++)
		ring.entries[i] = (uint16_t)(i * 7919 % 4093 % COUNT);
	for (size_t i = 0; i < COUNT; i++)
		ejected[i] = i % 4 != 1;
	(void)ring_effective(&ring, KEY, ejected, effective);
	for (size_t i = 0; i < LENGTH; i++) {
		bytes[2 * i] = (uint8_t)(effective[i] >> 8);
		bytes[2 * i + 1] = (uint8_t)effective[i];
	}
	digest_of(bytes, sizeof(bytes), &digest);
	assert_int_equal(hex_decode(rule, wanted, sizeof(wanted)), 0);
	assert_memory_equal(digest.bytes, wanted, sizeof(wanted));
	ring_free(&ring);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(shares_are_exact),
	    cmocka_unit_test(what_cannot_be_built_is_refused),
	    cmocka_unit_test(the_key_alone_decides),
	    cmocka_unit_test(movement_is_the_least_possible),
	    cmocka_unit_test(rings_of_other_lengths_keep_their_places),
	    cmocka_unit_test(lengths_fit_the_weights),
	    cmocka_unit_test(deaths_move_only_their_own_entries),
	    cmocka_unit_test(every_set_is_consistent),
	    cmocka_unit_test(refilled_entries_spread_by_weight),
	    cmocka_unit_test(refilled_entries_do_not_gather),
	    cmocka_unit_test(the_rule_never_changes),
	};
	random_init_seeded(&source, seed_choose((uint64_t)time(NULL)));
	return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
