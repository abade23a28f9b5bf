/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash of pick algorithm 2: compared with another implementation, and its spread over flows as
 * clients, NATs and floods make them, compared with chance. Seeds are some regular ones and some
 * that differ from run to run; FAIRLEAD_SEED=N repeats a run. All bounds together raise a false
 * alarm less often than once in 10^9 runs.
 */
#include "base/digest.h"
#include "base/random.h"
#include "dataplane/pick_key.h"
#include "tests/chance.h"
#include "tests/seed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define RING 4096
#define GROUPS 16 /* of neighbouring entries */
#define LABELS 256 /* of the hash's lowest bits, which go into the flow label */
#define MOST_FLOWS (1u << 18)
#define REGULAR_SEEDS 3
#define SEEDS 8

struct flow {
	bool is_v6;
	uint8_t source[16];
	uint8_t ports[4];
};

struct keys {
	struct pick_key key;
	struct pick_key6 key6;
};

static struct random source;

static struct keys keys_of(unsigned number, bool by_source)
{
	static const uint8_t regular[REGULAR_SEEDS][PICK_SEED_BYTES] = {
	    {0}, {1}, {7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7}};
	struct keys keys;
	uint8_t seed[PICK_SEED_BYTES];
	random_fill(&source, seed, sizeof(seed));
	pick_key_expand(number < REGULAR_SEEDS ? regular[number] : seed, by_source, &keys.key,
			&keys.key6);
	return keys;
}

static uint64_t hash(const struct keys *keys, const struct flow *flow)
{
	return flow->is_v6 ? pick_hash6(&keys->key, &keys->key6, flow->source, flow->ports)
			   : pick_hash4(&keys->key, flow->source, flow->ports);
}

/* By an implementation in Python, with its hashlib and integers. */
static void test_hash_against_python(void **state)
{
	(void)state;
	static const struct {
		const char *seed;
		bool by_source;
		uint64_t v4, v6;
	} cases[] = {
	    {"00000000000000000000000000000000", false, 0x52e26d350d052f4e, 0x3383c48e3812339f},
	    {"00000000000000000000000000000000", true, 0xafa697833b257b47, 0xb888a68a476c16da},
	    {"a0dcc36dc46d5525906c6fd0dbe43efc", false, 0x42ccd049c339a356, 0x21ea85e006725c81},
	    {"a0dcc36dc46d5525906c6fd0dbe43efc", true, 0x4ba74f4be7e7ffcf, 0xea97a035c677ca4b},
	};
	struct flow flow;
	for (size_t i = 0; i < 16; i++)
		flow.source[i] = (uint8_t)(i * 29 + 3);
	for (size_t i = 0; i < 4; i++)
		flow.ports[i] = (uint8_t)((16 + i) * 29 + 3);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t seed[PICK_SEED_BYTES];
		struct keys keys;
		assert_int_equal(hex_decode(cases[i].seed, seed, sizeof(seed)), 0);
		pick_key_expand(seed, cases[i].by_source, &keys.key, &keys.key6);
		flow.is_v6 = false;
		assert_int_equal(hash(&keys, &flow), cases[i].v4);
		flow.is_v6 = true;
		assert_int_equal(hash(&keys, &flow), cases[i].v6);
	}
}

/* Every bit of source and ports counts, or does not, by the policy. Averaged over keys, a bit that
 * counts flips half of the upper half of the hash, from which the entry is taken. */
static void test_what_counts(void **state)
{
	(void)state;
	enum { KEYS = 64 };
	for (int family = 0; family < 2; family++) {
		for (int by_source = 0; by_source < 2; by_source++) {
			size_t address_bits = family ? 128 : 32;
			size_t counted = by_source && family ? 64 : address_bits;
			for (size_t bit = 0; bit < address_bits + 32; bit++) {
				bool is_port = bit >= address_bits;
				bool counts = is_port ? !by_source : bit < counted;
				int flipped = 0;
				for (unsigned i = 0; i < KEYS; i++) {
					struct keys keys = keys_of(SEEDS, by_source);
					struct flow flow = {.is_v6 = family};
					random_fill(&source, flow.source, sizeof(flow.source));
					uint64_t plain = hash(&keys, &flow);
					if (is_port)
						flow.ports[(bit - address_bits) / 8] ^=
						    (uint8_t)(1 << bit % 8);
					else
						flow.source[bit / 8] ^= (uint8_t)(1 << bit % 8);
					uint64_t changed = hash(&keys, &flow);
					flipped += __builtin_popcountll((plain ^ changed) >> 32);
					assert_true(counts || plain == changed);
				}
				/* 16 of 32 bits each; the deviation of the sum is below 60. */
				if (counts)
					assert_in_range(flipped, 16 * KEYS - 450, 16 * KEYS + 450);
			}
		}
	}
}

/* --- flows as they come --- */

static void put16(uint8_t *bytes, uint32_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

static void put32(uint8_t *bytes, uint32_t value)
{
	put16(bytes, value >> 16);
	put16(bytes + 2, value);
}

static struct flow flow_v4(uint32_t address, uint32_t from, uint32_t to)
{
	struct flow flow = {.is_v6 = false};
	put32(flow.source, address);
	put16(flow.ports, from);
	put16(flow.ports + 2, to);
	return flow;
}

static struct flow flow_v6(uint32_t network, uint64_t host, uint32_t from)
{
	struct flow flow = {.is_v6 = true};
	put32(flow.source, 0x20010db8);
	put32(flow.source + 4, network);
	put32(flow.source + 8, (uint32_t)(host >> 32));
	put32(flow.source + 12, (uint32_t)host);
	put16(flow.ports, from);
	put16(flow.ports + 2, 443);
	return flow;
}

static struct flow counted_ports(uint32_t i)
{
	return flow_v4(0xc0000201, i, 443);
}

static struct flow counted_ports_both_ways(uint32_t i)
{
	return flow_v4(0xc0000201, i & 0xffff, 8000 + (i >> 16));
}

static struct flow counted_addresses(uint32_t i)
{
	return flow_v4(0x0a000000 + i, 40000, 443);
}

static struct flow first_of_each_24(uint32_t i)
{
	return flow_v4(i << 8 | 1, 40000, 443);
}

static struct flow counted_in_the_high_half(uint32_t i)
{
	return flow_v4(i << 16 | i >> 16, 40000, 443);
}

static struct flow address_and_port_in_step(uint32_t i)
{
	return flow_v4(0x0a000000 + i, i & 0xffff, 443);
}

/* Four addresses, each giving out its ports one after the other. */
static struct flow nat_pool(uint32_t i)
{
	return flow_v4(0xc6336400 + i % 4, i / 4, 443);
}

/* Carrier-grade NAT: each address gives blocks of 512 ports, of which four are in use. */
static struct flow nat_blocks(uint32_t i)
{
	return flow_v4(0xc6120000 + i / 512, i % 128 * 512 + i / 128 % 4, 443);
}

static struct flow sparse_bits(uint32_t i)
{
	uint32_t address = 0;
	for (uint32_t bit = 0; bit < 16; bit++)
		address |= (i >> bit & 1) << 2 * bit;
	return flow_v4(address, (i >> 16) << 14, 443);
}

static struct flow counted_networks(uint32_t i)
{
	return flow_v6(i, 1, 40000);
}

static struct flow counted_hosts(uint32_t i)
{
	return flow_v6(0x1234, i, 40000);
}

/* Modified EUI-64: ff:fe in the middle, and the maker's number in front. */
static struct flow counted_cards(uint32_t i)
{
	return flow_v6(0x1234, 0x021122fffe000000u + i, 40000);
}

static struct flow networks_hosts_and_ports(uint32_t i)
{
	return flow_v6(i >> 12, i >> 6 & 63, 32768 + (i & 63));
}

static const struct {
	const char *name;
	struct flow (*flow)(uint32_t i);
	uint32_t flows;
	bool differ_in_source; /* and in the upper half of it */
} patterns[] = {
    {"counted ports", counted_ports, 1u << 16, false},
    {"counted ports of several services", counted_ports_both_ways, MOST_FLOWS, false},
    {"counted addresses", counted_addresses, MOST_FLOWS, true},
    {"the first address of each /24", first_of_each_24, MOST_FLOWS, true},
    {"addresses counted in the high half", counted_in_the_high_half, MOST_FLOWS, true},
    {"address and port in step", address_and_port_in_step, MOST_FLOWS, true},
    {"a NAT's pool", nat_pool, MOST_FLOWS, false},
    {"a NAT's blocks", nat_blocks, MOST_FLOWS, false},
    {"every other bit", sparse_bits, MOST_FLOWS, false},
    {"counted /64s", counted_networks, MOST_FLOWS, true},
    {"counted hosts of a /64", counted_hosts, MOST_FLOWS, false},
    {"counted cards of a /64", counted_cards, MOST_FLOWS, false},
    {"networks, hosts and ports", networks_hosts_and_ports, MOST_FLOWS, false},
};
#define PATTERNS (sizeof(patterns) / sizeof(patterns[0]))

static void check_even(const char *pattern, unsigned seed, const char *of, const uint32_t *counts,
		       size_t count)
{
	double chi = chance_even(counts, count);
	if (chi > chance_bound(count - 1))
		fail_msg("%s, seed %u: chi-squared over %zu %s is %.0f; %.0f would be rare",
			 pattern, seed, count, of, chi, chance_bound(count - 1));
}

static void check_pattern(size_t pattern, unsigned seed, bool by_source)
{
	static uint32_t entries[RING], groups[GROUPS], labels[LABELS];
	struct keys keys = keys_of(seed, by_source);
	memset(entries, 0, sizeof(entries));
	memset(groups, 0, sizeof(groups));
	memset(labels, 0, sizeof(labels));
	for (uint32_t i = 0; i < patterns[pattern].flows; i++) {
		struct flow flow = patterns[pattern].flow(i);
		uint64_t value = hash(&keys, &flow);
		uint32_t entry = pick_index(value, RING);
		entries[entry]++;
		groups[entry / (RING / GROUPS)]++;
		labels[value % LABELS]++;
	}
	check_even(patterns[pattern].name, seed, "entries", entries, RING);
	check_even(patterns[pattern].name, seed, "groups of entries", groups, GROUPS);
	check_even(patterns[pattern].name, seed, "labels", labels, LABELS);
}

static void test_flows_spread(void **state)
{
	(void)state;
	for (size_t pattern = 0; pattern < PATTERNS; pattern++) {
		for (unsigned seed = 0; seed < SEEDS; seed++)
			check_pattern(pattern, seed, false);
	}
}

static void test_sources_spread(void **state)
{
	(void)state;
	for (size_t pattern = 0; pattern < PATTERNS; pattern++) {
		for (unsigned seed = 0; patterns[pattern].differ_in_source && seed < SEEDS; seed++)
			check_pattern(pattern, seed, true);
	}
}

/* The word below 2^31 whose product with `key` comes nearest to a multiple of 2^64: the denominator
 * of a convergent of key / 2^64. */
static uint32_t worst_difference(uint64_t key)
{
	__uint128_t over = (__uint128_t)1 << 64, under = key;
	uint64_t before = 0, denominator = 1;
	while (under) {
		uint64_t next = (uint64_t)(over / under) * denominator + before;
		if (over / under > UINT32_MAX || next >> 31)
			break;
		__uint128_t rest = over % under;
		before = denominator;
		denominator = next;
		over = under;
		under = rest;
	}
	return (uint32_t)denominator;
}

static void put_little32(uint8_t *bytes, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		bytes[i] = (uint8_t)(value >> 8 * i);
}

/* That flows whose ports, read as a number, differ by `difference` are as near to each other in the
 * ring as any two, over many sources. */
static void check_difference(const struct keys *keys, uint32_t difference)
{
	enum { SOURCES = 1u << 14, NEAR = RING / 16 };
	uint32_t near = 0;
	for (uint32_t i = 0; i < SOURCES; i++) {
		struct flow flow = flow_v4(0x0a000000 + i * 977, 0, 0);
		put_little32(flow.ports, 0x40000000);
		uint64_t one = hash(keys, &flow);
		put_little32(flow.ports, 0x40000000 + difference);
		uint32_t apart = pick_index(one, RING) - pick_index(hash(keys, &flow), RING);
		near += (apart + NEAR / 2) % RING < NEAR;
	}
	/* A 16th is 1024; the deviation is 31. */
	assert_in_range(near, 1024 - 10 * 31, 1024 + 10 * 31);
}

/*
 * No difference holds for every source. Whoever found one by their own flows could add it to the
 * ports of a forged one, and know that both meet one backend. A linear hash has such differences
 * everywhere; a sum of which only the upper half is mixed has those that a test can compute from
 * the key.
 */
static void test_no_difference_holds_for_every_source(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < SEEDS; seed++) {
		struct keys keys = keys_of(seed, false);
		for (uint32_t difference = 1; difference <= 256; difference++) {
			check_difference(&keys, difference);
			check_difference(&keys, difference << 16);
		}
		check_difference(&keys, worst_difference(keys.key.ports));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_hash_against_python),
	    cmocka_unit_test(test_what_counts),
	    cmocka_unit_test(test_flows_spread),
	    cmocka_unit_test(test_sources_spread),
	    cmocka_unit_test(test_no_difference_holds_for_every_source),
	};
	random_init_seeded(&source, seed_choose((uint64_t)time(NULL)));
	return cmocka_run_group_tests_name("pick_spread", tests, NULL, NULL);
}
