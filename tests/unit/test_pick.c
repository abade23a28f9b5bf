/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Places in rings, and algorithm 1 as user space compiles it. Its hash is compared with another
 * implementation: CPython 3.11 hashes bytes by SipHash-1-3, and PYTHONHASHSEED sets its key.
 */
#include "abi/pick.h"
#include "base/digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define RING 4096
#define BACKENDS 8

static void test_hash_against_cpython(void **state)
{
	(void)state;
	static const struct {
		const char *seed;
		uint64_t v4, v6;
	} cases[] = {
	    {"00000000000000000000000000000000", 0xf6d5afc49f7d8db4, 0xa5595b4a02ca4a94},
	    {"a0dcc36dc46d5525906c6fd0dbe43efc", 0x15ffe3e4f786ac3d, 0x9d8ae3285ec904dd},
	    {"6dbdc7ea2a2202359347b211842c20ab", 0x0ce6d1de32af9614, 0xb0be93879aa489a0},
	};
	uint8_t message[37];
	for (size_t i = 0; i < sizeof(message); i++)
		message[i] = (uint8_t)(i * 29 + 3);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t seed[16];
		assert_int_equal(hex_decode(cases[i].seed, seed, sizeof(seed)), 0);
		assert_int_equal(pick_hash(seed, message, 1, message + 8, message[12]),
				 cases[i].v4);
		assert_int_equal(pick_hash(seed, message, 4, message + 32, message[36]),
				 cases[i].v6);
	}
}

/* Every bit of what makes up a flow, and of the seed, counts. */
static void test_hash_depends_on_every_bit(void **state)
{
	(void)state;
	uint8_t input[16 + 37] = {0};
	uint64_t plain = pick_hash(input, input + 16, 4, input + 48, input[52]);
	for (size_t bit = 0; bit < 8 * sizeof(input); bit++) {
		input[bit / 8] ^= (uint8_t)(1 << bit % 8);
		uint64_t changed = pick_hash(input, input + 16, 4, input + 48, input[52]);
		int flipped = __builtin_popcountll(plain ^ changed);
		assert_in_range(flipped, 10, 54); /* half of 64, by far not always exactly */
		input[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void test_index_covers_ring_evenly(void **state)
{
	(void)state;
	static const uint32_t lengths[] = {4096, 12288, 65536};
	assert_int_equal(pick_index(0, 4096), 0);
	assert_int_equal(pick_index(UINT64_MAX, 4096), 4095);
	assert_int_equal(pick_index(UINT64_MAX, 12288), 12287);
	/* Entry n of L begins at the least hash that is n/L of all hashes or more. */
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		for (uint64_t entry = 1; entry < lengths[i]; entry += 97) {
			uint64_t start = ((entry << 32) + lengths[i] - 1) / lengths[i];
			assert_int_equal(pick_index(start << 32, lengths[i]), entry);
			assert_int_equal(pick_index((start << 32) - 1, lengths[i]), entry - 1);
		}
	}
}

/* Flows spread evenly: chi-squared over 8 backends stays below its 99.99 % point. */
static void test_flows_spread(void **state)
{
	(void)state;
	enum { FLOWS = 80000 };
	uint8_t seed[16] = {42};
	uint32_t count[BACKENDS] = {0};
	uint8_t addresses[8] = {192, 0, 2, 1, 198, 51, 100, 7};
	double squares = 0;
	for (uint32_t flow = 0; flow < FLOWS; flow++) {
		uint8_t ports[4] = {(uint8_t)(flow >> 8), (uint8_t)flow, 0, 80};
		addresses[3] = (uint8_t)(flow >> 16);
		uint64_t hash = pick_hash(seed, addresses, 1, ports, 6);
		count[pick_index(hash, RING) % BACKENDS]++;
	}
	for (size_t i = 0; i < BACKENDS; i++) {
		double off = count[i] - (double)FLOWS / BACKENDS;
		squares += off * off / ((double)FLOWS / BACKENDS);
	}
	assert_true(squares < 29.9); /* 7 degrees of freedom */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_hash_against_cpython),
	    cmocka_unit_test(test_hash_depends_on_every_bit),
	    cmocka_unit_test(test_index_covers_ring_evenly),
	    cmocka_unit_test(test_flows_spread),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
