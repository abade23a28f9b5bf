/* SPDX-License-Identifier: Apache-2.0 */
/* Passing: when an edge knows that it is behind, to whom it passes on, and what voters tell of it.
 */
#include "fabric/passing.h"
#include "state/passing_secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HEAD 100u
#define MOST 40

struct bench {
	struct image image;
	struct member members[MOST];
	struct image_member records[MOST];
	char names[MOST][8];
	struct observations *observations;
	struct passing_told told;
	struct passing_sight sight;
	struct sights sights;
};

static struct ledger_position entry(uint64_t sequence)
{
	struct ledger_position position = {.sequence = sequence};
	memset(position.digest.bytes, (int)sequence, DIGEST_BYTES);
	return position;
}

static void add_member(struct bench *bench, unsigned roles)
{
	const size_t at = bench->image.member_count++;
	struct member *member = &bench->members[at];
	snprintf(bench->names[at], sizeof(bench->names[at]), "n%02zu", at);
	*member = (struct member){.name = bench->names[at], .roles = roles, .source_count = 2};
	member->sources[0] = (struct ip_address){.family = IP_V4, .bytes = {10, 0, 0, (uint8_t)at}};
	member->sources[1] =
	    (struct ip_address){.family = IP_V6, .bytes = {0xfd, 0, 0, (uint8_t)at}};
	bench->records[at].member = member;
}

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	assert_non_null(bench);
	bench->image.members = bench->records;
	bench->image.head.sequence = HEAD;
	for (uint64_t i = 1; i <= HEAD; i++)
		bench->image.chain[i] = entry(i);
	add_member(bench, MEMBER_EDGE);
	add_member(bench, MEMBER_EDGE | MEMBER_VOTER);
	add_member(bench, MEMBER_NAMES);
	add_member(bench, MEMBER_EDGE);
	assert_int_equal(observations_new(&bench->observations), 0);
	bench->told = (struct passing_told){.is_told = true, .told_ms = 10000, .sequence = HEAD};
	bench->sight = (struct passing_sight){.image = &bench->image,
					      .node = "n00",
					      .is_current = true,
					      .forwarded = HEAD,
					      .told = &bench->told,
					      .now_ms = 10000,
					      .has_v4 = true,
					      .has_v6 = true};
	bench->sights = (struct sights){
	    .image = &bench->image, .observations = bench->observations, .now_ms = 10000};
	*state = bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;
	observations_free(bench->observations);
	free(bench);
	return 0;
}

static bool is_behind(const struct bench *bench)
{
	return passing_decide(&bench->sight).is_behind;
}

static void who_is_behind(void **state)
{
	struct bench *bench = *state;
	assert_false(is_behind(bench));
	bench->sight.is_current = false;
	assert_true(is_behind(bench));
	bench->sight.is_current = true;
	bench->sight.forwarded = 0;
	assert_true(is_behind(bench));
	bench->sight.forwarded = HEAD - 1;
	assert_true(is_behind(bench));
	bench->sight.forwarded = HEAD + 1;
	assert_false(is_behind(bench));
}

/* Nobody waits for an edge that is not heard; it hears as little. */
static void who_hears_nothing_is_behind(void **state)
{
	struct bench *bench = *state;
	bench->sight.now_ms += OBSERVATION_EDGE_HEARD_MS - 1;
	assert_false(is_behind(bench));
	bench->sight.now_ms++;
	assert_true(is_behind(bench));
	bench->sight.decides = true;
	assert_false(is_behind(bench));
	bench->sight.is_current = false;
	assert_true(is_behind(bench));
	bench->sight.is_current = true;
	bench->sight.decides = false;
	bench->sight.now_ms = 10000;
	bench->told.is_told = false;
	assert_true(is_behind(bench));
}

static void expect_peers(const struct bench *bench, const char *names, uint8_t family)
{
	char text[256] = "";
	const struct passing_plan plan = passing_decide(&bench->sight);
	for (size_t m = 0; m < bench->image.member_count; m++) {
		for (size_t i = 0; i < plan.peer_count; i++) {
			if (plan.peers[i].member != &bench->members[m])
				continue;
			strncat(text, bench->names[m], sizeof(text) - strlen(text) - 1);
			assert_int_equal(plan.peers[i].address.family, family);
		}
	}
	assert_string_equal(text, names);
}

static void who_gets_it(void **state)
{
	struct bench *bench = *state;
	/* Nobody was named: every edge but itself. */
	expect_peers(bench, "n01n03", IP_V4);
	snprintf(bench->told.names[0], MODEL_NAME_BYTES, "n03");
	bench->told.count = 1;
	expect_peers(bench, "n03", IP_V4);
	bench->sight.has_v4 = false;
	expect_peers(bench, "n03", IP_V6);
	bench->sight.has_v4 = true;
	bench->members[3].source_count = 0;
	expect_peers(bench, "n01", IP_V4);
	/* Who was named is no edge any more. */
	bench->members[3].source_count = 2;
	bench->members[3].roles = MEMBER_NAMES;
	expect_peers(bench, "n01", IP_V4);
	bench->members[1].sources[0] = bench->members[1].sources[1];
	bench->members[1].source_count = 1;
	expect_peers(bench, "n01", IP_V6);
	bench->sight.has_v6 = false;
	expect_peers(bench, "", IP_V6);
}

/* Of many edges each chooses a few, and not all the same ones. */
static void not_everybody_gets_it(void **state)
{
	struct bench *bench = *state;
	while (bench->image.member_count < MOST)
		add_member(bench, MEMBER_EDGE);
	size_t chosen[MOST] = {0};
	for (size_t n = 0; n < MOST; n++) {
		bench->sight.node = bench->names[n];
		const struct passing_plan plan = passing_decide(&bench->sight);
		assert_int_equal(plan.peer_count, PASSING_PEERS);
		for (size_t i = 0; i < PASSING_PEERS; i++) {
			const size_t at = (size_t)(plan.peers[i].member - bench->members);
			assert_int_not_equal(at, n);
			assert_int_not_equal(at, 2);
			chosen[at]++;
		}
		/* The same ones each time. */
		const struct passing_plan again = passing_decide(&bench->sight);
		assert_memory_equal(&again, &plan, sizeof(plan));
	}
	for (size_t n = 0; n < MOST; n++)
		assert_true(n == 2 || (chosen[n] > 0 && chosen[n] < MOST));
}

static void observe(struct bench *bench, size_t node, uint64_t sequence, uint64_t now_ms)
{
	const struct observation observation = {.node = bench->names[node],
						.instance = "i",
						.is_edge = true,
						.edge_applied = entry(sequence)};
	assert_int_equal(
	    observations_take(bench->observations, &bench->image, &observation, now_ms), 0);
}

static void what_voters_tell(void **state)
{
	struct bench *bench = *state;
	struct peer_holder rows[PASSING_PEERS];
	struct peer_foremost message = passing_foremost(&bench->sights, "n00", rows);
	assert_int_equal(message.sequence, 0);
	assert_int_equal(message.holders.count, 0);
	observe(bench, 0, 90, 10000);
	observe(bench, 1, 95, 10000);
	observe(bench, 3, 95, 10000);
	message = passing_foremost(&bench->sights, "n00", rows);
	assert_int_equal(message.sequence, 95);
	assert_int_equal(message.holders.count, 2);
	/* Nobody is told to pass on to itself. */
	message = passing_foremost(&bench->sights, "n03", rows);
	assert_int_equal(message.sequence, 95);
	assert_int_equal(message.holders.count, 1);
	assert_string_equal(message.holders.items[0].node, "n01");
	struct passing_told told = {0};
	passing_take(&told, &message, 77);
	assert_true(told.is_told);
	assert_int_equal(told.told_ms, 77);
	assert_int_equal(told.sequence, 95);
	assert_int_equal(told.count, 1);
	assert_string_equal(told.names[0], "n01");
	/* Who is heard no more holds nothing. */
	bench->sights.now_ms += OBSERVATION_EDGE_HEARD_MS;
	observe(bench, 0, 90, bench->sights.now_ms);
	message = passing_foremost(&bench->sights, "n03", rows);
	assert_int_equal(message.sequence, 90);
	assert_int_equal(message.holders.count, 1);
	assert_string_equal(message.holders.items[0].node, "n00");
}

static void many_hold_it(void **state)
{
	struct bench *bench = *state;
	struct peer_holder rows[PASSING_PEERS];
	while (bench->image.member_count < MOST)
		add_member(bench, MEMBER_EDGE);
	for (size_t i = 0; i < MOST; i++)
		observe(bench, i, 50, 10000);
	const struct peer_foremost message = passing_foremost(&bench->sights, "n05", rows);
	assert_int_equal(message.holders.count, PASSING_PEERS);
	for (size_t i = 0; i < PASSING_PEERS; i++) {
		assert_string_not_equal(rows[i].node, "n05");
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(rows[i].node, rows[j].node);
	}
}

/* --- the secret --- */

static int parse(const char *value, struct passing_secret *ret_secret)
{
	struct error err;
	const struct store_record record = {.key = PASSING_SECRET_KEY,
					    .value = value,
					    .value_length = strlen(value),
					    .mod_revision = 3};
	return passing_secret_parse(&record, ret_secret, &err);
}

static void the_record(void **state)
{
	(void)state;
	struct passing_secret secret = {.sequence = 7, .made_ms = 123456};
	struct passing_secret read = {0};
	struct buffer value;
	memset(secret.secret, 0xa5, sizeof(secret.secret));
	for (int i = 0; i < 2; i++) {
		buffer_init(&value, 4096);
		assert_int_equal(passing_secret_put(&secret, &value), 0);
		buffer_append(&value, "", 1);
		assert_int_equal(value.status, 0);
		assert_int_equal(parse((const char *)value.data, &read), 0);
		assert_memory_equal(&read, &secret, sizeof(read));
		buffer_done(&value);
		secret.has_former = true;
		memset(secret.former, 0x5a, sizeof(secret.former));
	}
#define SECRET "\"secret\":\"000102030405060708090a0b0c0d0e0f\""
	static const char *const bad[] = {
	    "",
	    "{}",
	    "{" SECRET "}",
	    "{\"sequence\":0,\"made_ms\":1," SECRET "}",
	    "{\"sequence\":1," SECRET "}",
	    "{\"sequence\":1,\"made_ms\":1}",
	    "{\"sequence\":1,\"made_ms\":1,\"secret\":\"00\"}",
	    "{\"sequence\":1,\"made_ms\":1,\"former\":7," SECRET "}",
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(parse(bad[i], &read), -FL_ECORRUPT);
	assert_int_equal(parse("{\"level\":2,\"sequence\":1,\"made_ms\":1," SECRET "}", &read),
			 -FL_EUNSUPPORTED);
	assert_int_equal(parse("{\"sequence\":1,\"made_ms\":1," SECRET "}", &read), 0);
}

/* By the secret and the name alone, and on every machine the same bytes. */
static void tokens(void **state)
{
	(void)state;
	uint8_t secret[PASSING_SECRET_BYTES];
	uint8_t bytes[8];
	for (size_t i = 0; i < sizeof(secret); i++)
		secret[i] = (uint8_t)i;
	const uint64_t token = passing_secret_token(secret, "edge1");
	assert_int_equal(passing_secret_token(secret, "edge1"), token);
	assert_int_not_equal(passing_secret_token(secret, "edge2"), token);
	secret[15] ^= 1;
	assert_int_not_equal(passing_secret_token(secret, "edge1"), token);
	secret[15] ^= 1;
	/* The paper's vector of the empty message, in its order. */
	const uint64_t empty = passing_secret_token(secret, "");
	memcpy(bytes, &empty, sizeof(bytes));
	static const uint8_t expected[8] = {0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72};
	assert_memory_equal(bytes, expected, sizeof(expected));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    CASE(who_is_behind),
	    CASE(who_hears_nothing_is_behind),
	    CASE(who_gets_it),
	    CASE(not_everybody_gets_it),
	    CASE(what_voters_tell),
	    CASE(many_hold_it),
	    cmocka_unit_test(the_record),
	    cmocka_unit_test(tokens),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
