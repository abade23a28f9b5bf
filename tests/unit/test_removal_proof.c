/* SPDX-License-Identifier: Apache-2.0 */
/* What a node believes that is told that it was removed: what a voter signed about this very node,
 * and nothing else that somebody could show. */
#include "fabric/removal_proof.h"

#include "state_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY "ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define OTHER "ed25519:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="

/* Voter `v`, which signs, and what node `b` knows. */
struct bench {
	struct harness harness; /* for its folder */
	struct ledger_signer *signer, *stranger;
	struct member members[2];
	struct image_member records[2];
	struct image image;
	struct arena arena;
};

static struct ledger_signer *signer_of(const struct bench *bench, const char *name)
{
	struct ledger_signer *signer;
	char folder[512];
	snprintf(folder, sizeof(folder), "%s/%s", bench->harness.folder, name);
	assert_int_equal(ledger_signer_open(folder, name[0] == 's' ? "v" : name, &signer, NULL), 0);
	return signer;
}

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));
	assert_non_null(bench);
	harness_init(&bench->harness, &harness_sqlite);
	arena_init(&bench->arena, 0);
	bench->signer = signer_of(bench, "v");
	bench->stranger = signer_of(bench, "s");
	bench->members[0] =
	    (struct member){.name = "b", .site = "", .key = "", .roles = MEMBER_EDGE};
	bench->members[1] = (struct member){.name = "v",
					    .site = "",
					    .key = ledger_signer_public_key(bench->signer),
					    .roles = MEMBER_VOTER};
	for (size_t i = 0; i < 2; i++)
		bench->records[i].member = &bench->members[i];
	bench->image = (struct image){.members = bench->records, .member_count = 2};
	*state = bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;
	ledger_signer_free(bench->signer);
	ledger_signer_free(bench->stranger);
	arena_done(&bench->arena);
	harness_done(&bench->harness);
	free(bench);
	return 0;
}

/* An entry as the ledger would have it. */
static struct store_op entry(struct bench *bench, const struct ledger_signer *signer,
			     const char *kind, const char *node, const char *key)
{
	const struct ledger_head head = {.sequence = 41, .mod_revision = 1};
	json_t *what = json_pack("{s:s, s:s}", "node", node, "channel_key", key);
	const struct ledger_change change = {
	    .time_ms = 1, .who = "alice", .why = "", .kind = kind, .what = what};
	struct ledger_append append;
	assert_int_equal(ledger_append_ops(&head, signer, &change, &bench->arena, &append, NULL),
			 0);
	json_decref(what);
	for (size_t i = 0; i < append.op_count; i++) {
		if (strcmp(append.ops[i].key, LEDGER_HEAD_KEY) != 0)
			return append.ops[i];
	}
	fail();
	return (struct store_op){0};
}

static int check(const struct bench *bench, const void *bytes, size_t length, const char *said)
{
	struct error err = {0};
	uint64_t sequence = 0;
	int result = removal_proof_check(&bench->image, "b", KEY, bytes, length, &sequence, &err);
	if (said)
		assert_string_equal(err.text, said);
	assert_int_equal(sequence, result == 0 ? 42 : 0);
	return result;
}

static void a_voters_word_is_believed(void **state)
{
	struct bench *bench = *state;
	struct store_op op = entry(bench, bench->signer, LEDGER_KIND_MEMBER_REMOVE, "b", KEY);
	assert_int_equal(check(bench, op.value, op.value_length, NULL), 0);
	/* Its own record may be gone from its replica already. */
	bench->image.members++;
	bench->image.member_count--;
	assert_int_equal(check(bench, op.value, op.value_length, NULL), 0);
}

static void nobody_elses_word_is(void **state)
{
	struct bench *bench = *state;
	struct store_op op = entry(bench, bench->stranger, LEDGER_KIND_MEMBER_REMOVE, "b", KEY);
	assert_int_equal(
	    check(bench, op.value, op.value_length, "the signature is not that of voter v"),
	    -FL_EINVALID);
	op = entry(bench, bench->signer, LEDGER_KIND_MEMBER_REMOVE, "b", KEY);
	bench->members[1].roles = MEMBER_EDGE;
	assert_int_equal(check(bench, op.value, op.value_length,
			       "it is signed as v, which is no voter as far as is known here"),
			 -FL_EINVALID);
	bench->members[1].roles = MEMBER_VOTER;
	bench->members[1].key = "";
	assert_int_equal(check(bench, op.value, op.value_length, NULL), -FL_EINVALID);
	bench->image.member_count = 1;
	assert_int_equal(check(bench, op.value, op.value_length, NULL), -FL_EINVALID);
}

static void only_this_nodes_removal_counts(void **state)
{
	struct bench *bench = *state;
	struct store_op op = entry(bench, bench->signer, LEDGER_KIND_MEMBER_REMOVE, "c", KEY);
	assert_int_equal(
	    check(bench, op.value, op.value_length, "it tells of another node's removal"),
	    -FL_EINVALID);
	op = entry(bench, bench->signer, LEDGER_KIND_MEMBER_REMOVE, "b", OTHER);
	assert_int_equal(check(bench, op.value, op.value_length,
			       "it tells of a node of this name with another key"),
			 -FL_EINVALID);
	op = entry(bench, bench->signer, LEDGER_KIND_MEMBER_JOIN, "b", KEY);
	assert_int_equal(
	    check(bench, op.value, op.value_length, "it is a ledger entry of kind member.join"),
	    -FL_EINVALID);
}

/* Cut short anywhere, or with any one bit turned, it is nothing. */
static void what_was_touched_is_nothing(void **state)
{
	struct bench *bench = *state;
	const struct store_op op = entry(bench, bench->signer, LEDGER_KIND_MEMBER_REMOVE, "b", KEY);
	char *bytes = malloc(op.value_length + 1);
	assert_non_null(bytes);
	assert_int_equal(check(bench, "", 0, "it shows nothing"), -FL_EINVALID);
	assert_int_equal(check(bench, "rm -rf", 6, "it is no ledger entry"), -FL_EINVALID);
	for (size_t length = 0; length < op.value_length; length++) {
		char *exact = malloc(length + 1);
		assert_non_null(exact);
		memcpy(exact, op.value, length);
		assert_int_equal(check(bench, exact, length, NULL), -FL_EINVALID);
		free(exact);
	}
	for (size_t i = 0; i < op.value_length; i++) {
		memcpy(bytes, op.value, op.value_length);
		bytes[i] = (char)(bytes[i] ^ 1 << i % 7);
		assert_int_equal(check(bench, bytes, op.value_length, NULL), -FL_EINVALID);
	}
	free(bytes);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(a_voters_word_is_believed),
	    TEST(nobody_elses_word_is),
	    TEST(only_this_nodes_removal_counts),
	    TEST(what_was_touched_is_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
