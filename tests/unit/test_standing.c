/* SPDX-License-Identifier: Apache-2.0 */
/* Standing: what follows from where the others are in the ledger. Whole fabrics are in tests/sim.
 */
#include "fabric/standing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MEMBERS 4

/* Voter a, edges a, b, c, and a backend d. */
struct bench {
	struct image image;
	struct placement placement;
	struct member members[MEMBERS];
	struct image_member records[MEMBERS];
	struct standings standings;
};

/* Of one history; another one differs in the digest's second byte. */
static struct ledger_position entry_of(uint64_t sequence, uint8_t history)
{
	struct ledger_position position = {.sequence = sequence};
	position.digest.bytes[0] = (uint8_t)sequence;
	position.digest.bytes[1] = history;
	return position;
}

static struct ledger_position entry(uint64_t sequence)
{
	return entry_of(sequence, 0);
}

static void set_head(struct bench *bench, uint64_t head)
{
	bench->image.head.sequence = head;
	bench->image.head.digest = entry(head).digest;
	for (uint64_t i = 1; i <= head; i++)
		bench->image.chain[i % IMAGE_CHAIN_ENTRIES] = entry(i);
}

static int set_up(void **state)
{
	static const char *const names[MEMBERS] = {"a", "b", "c", "d"};
	struct bench *bench = calloc(1, sizeof(*bench));
	assert_non_null(bench);
	for (size_t i = 0; i < MEMBERS; i++) {
		bench->members[i] = (struct member){.name = names[i],
						    .roles = i == 0   ? MEMBER_EDGE | MEMBER_VOTER
							     : i == 3 ? MEMBER_BACKEND
								      : MEMBER_EDGE};
		bench->records[i].member = &bench->members[i];
	}
	bench->image.members = bench->records;
	bench->image.member_count = MEMBERS;
	bench->image.placement = &bench->placement;
	set_head(bench, 10);
	*state = bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;
	standings_done(&bench->standings);
	free(bench);
	return 0;
}

static void says(struct bench *bench, const char *node, struct ledger_position head,
		 struct ledger_position mark)
{
	const struct standing standing = {.head = head, .mark = mark};
	assert_int_equal(standings_take(&bench->standings, node, false, &standing), 0);
}

static struct voter_verdict judge(const struct bench *bench)
{
	return standings_judge(&bench->standings, &bench->image, "a", false, true);
}

static void expect(const struct bench *bench, enum voter_standing standing, const char *node,
		   uint64_t there)
{
	const struct voter_verdict verdict = judge(bench);
	assert_int_equal(verdict.standing, standing);
	if (node)
		assert_string_equal(verdict.node, node);
	else
		assert_null(verdict.node);
	assert_int_equal(verdict.there.sequence, there);
}

static void a_majority_of_the_edges_is_heard_first(void **state)
{
	struct bench *bench = *state;
	expect(bench, VOTER_LISTENS, NULL, 0);
	says(bench, "d", entry(10), entry(10)); /* no edge */
	expect(bench, VOTER_LISTENS, NULL, 0);
	says(bench, "b", entry(9), entry(9));
	expect(bench, VOTER_DECIDES, NULL, 0);
	assert_int_equal(judge(bench).edges, 3);
	assert_int_equal(judge(bench).heard, 2);
	/* Who is gone is not heard; who heard enough once, or has the operator's word, is sure. */
	standings_lost(&bench->standings, "b");
	expect(bench, VOTER_LISTENS, NULL, 0);
	assert_int_equal(
	    standings_judge(&bench->standings, &bench->image, "a", true, true).standing,
	    VOTER_DECIDES);
}

static void half_of_the_edges_is_no_majority(void **state)
{
	struct bench *bench = *state;
	bench->image.member_count = 2;
	expect(bench, VOTER_LISTENS, NULL, 0);
	says(bench, "b", entry(10), entry(10));
	expect(bench, VOTER_DECIDES, NULL, 0);
}

static void who_is_alone_decides_at_once(void **state)
{
	struct bench *bench = *state;
	bench->image.member_count = 1;
	assert_int_equal(
	    standings_judge(&bench->standings, &bench->image, "a", false, false).standing,
	    VOTER_DECIDES);
	/* Its mark knows of others, and the image is from before they joined. */
	expect(bench, VOTER_LISTENS, NULL, 0);
	/* One of them, whom only the CA's word makes a member. */
	says(bench, "c", entry(30), entry(30));
	expect(bench, VOTER_IS_BEHIND, "c", 30);
	bench->image.member_count = 0;
	bench->standings.rows[0].is_up = false;
	assert_int_equal(
	    standings_judge(&bench->standings, &bench->image, "a", false, false).standing,
	    VOTER_DECIDES);
}

static void one_that_has_more_is_seen_at_any_time(void **state)
{
	struct bench *bench = *state;
	says(bench, "b", entry(10), entry(10));
	expect(bench, VOTER_DECIDES, NULL, 0);
	says(bench, "d", entry(12), entry(12));
	expect(bench, VOTER_IS_BEHIND, "d", 12);
	assert_true(judge(bench).can_give);
	says(bench, "c", entry(15), entry(14));
	expect(bench, VOTER_IS_BEHIND, "c", 15);
	assert_int_equal(
	    standings_judge(&bench->standings, &bench->image, "a", true, true).standing,
	    VOTER_IS_BEHIND);
	set_head(bench, 15);
	expect(bench, VOTER_DECIDES, NULL, 0);
	/* What it acknowledged once counts, though it does not have it any more. */
	says(bench, "c", entry(3), entry(20));
	expect(bench, VOTER_IS_BEHIND, "c", 20);
	assert_false(judge(bench).can_give);
	/* And though it forgot: marks are remembered. */
	says(bench, "c", entry(3), entry(3));
	expect(bench, VOTER_IS_BEHIND, "c", 20);
}

static void another_history_is_a_fork(void **state)
{
	struct bench *bench = *state;
	says(bench, "b", entry(10), entry(10));
	says(bench, "c", entry_of(9, 1), entry(3));
	expect(bench, VOTER_HAS_FORKED, "c", 9);
	/* One ahead may be one, too: that is seen when its entries are tried. */
	says(bench, "c", entry_of(19, 1), entry(3));
	expect(bench, VOTER_IS_BEHIND, "c", 19);
	standings_off_chain(&bench->standings, "c");
	expect(bench, VOTER_HAS_FORKED, "c", 19);
	/* A fork is worse than being behind. */
	says(bench, "b", entry(25), entry(25));
	expect(bench, VOTER_HAS_FORKED, "c", 19);
	/* It says something else, which was not tried yet. */
	says(bench, "c", entry(20), entry(20));
	expect(bench, VOTER_IS_BEHIND, "b", 25);
	/* A recovery gave up what is not on the chain. */
	set_head(bench, 30);
	says(bench, "c", entry_of(19, 1), entry_of(19, 1));
	expect(bench, VOTER_HAS_FORKED, "c", 19);
	bench->placement.recovery.sequence = 29;
	standings_done(&bench->standings);
	says(bench, "b", entry(25), entry(25));
	says(bench, "c", entry_of(19, 1), entry_of(19, 1));
	expect(bench, VOTER_DECIDES, NULL, 0);
}

static const char *source(const struct bench *bench, uint64_t head, const char *now)
{
	const struct ledger_position own = entry(head);
	const struct standing_row *row = standings_source(&bench->standings, &own, now);
	return row ? row->node : NULL;
}

static void a_voter_is_followed_or_who_has_most(void **state)
{
	struct bench *bench = *state;
	struct standing voter = {.decides = true, .head = entry(10)};
	assert_null(source(bench, 5, NULL));
	says(bench, "b", entry(7), entry(7));
	says(bench, "c", entry(8), entry(8));
	assert_string_equal(source(bench, 5, NULL), "c");
	assert_string_equal(source(bench, 5, "b"), "c");
	assert_null(source(bench, 8, NULL));
	/* Without a reason nobody is left. */
	assert_string_equal(source(bench, 8, "c"), "c");
	says(bench, "b", entry(8), entry(8));
	assert_string_equal(source(bench, 8, "c"), "c");
	assert_string_equal(source(bench, 5, "b"), "b");
	standings_off_chain(&bench->standings, "c");
	assert_string_equal(source(bench, 5, "c"), "b");
	assert_null(source(bench, 8, "c"));
	/* A voter that does not decide is one of them; one that does comes first, at any entry. */
	voter.decides = false;
	assert_int_equal(standings_take(&bench->standings, "a", true, &voter), 0);
	assert_string_equal(source(bench, 5, "b"), "a");
	assert_null(source(bench, 10, NULL));
	voter.decides = true;
	voter.head = entry(3);
	assert_int_equal(standings_take(&bench->standings, "a", true, &voter), 0);
	assert_string_equal(source(bench, 5, "b"), "a");
	assert_string_equal(source(bench, 5, "a"), "a");
	standings_lost(&bench->standings, "a");
	assert_string_equal(source(bench, 5, "a"), "b");
}

static void marks_are_told_to_whom_they_belong(void **state)
{
	struct bench *bench = *state;
	assert_int_equal(standings_mark(&bench->standings, &bench->image, "b").sequence, 0);
	says(bench, "b", entry(4), entry(12));
	says(bench, "b", entry(4), entry(3));
	assert_int_equal(standings_mark(&bench->standings, &bench->image, "b").sequence, 12);
	standings_lost(&bench->standings, "b");
	set_head(bench, 14);
	assert_int_equal(standings_mark(&bench->standings, &bench->image, "b").sequence, 12);
	/* It is another entry here. */
	says(bench, "c", entry(4), entry_of(12, 1));
	assert_int_equal(standings_mark(&bench->standings, &bench->image, "c").sequence, 0);
}

static void what_is_said_is_what_is_heard(void **state)
{
	const struct standing own = {.decides = true, .head = entry(7), .mark = entry(6)};
	const struct ledger_position yours = entry(5);
	const struct peer_message message = standing_message(&own, &yours);
	const struct peer_message other = standing_message(&own, &own.mark);
	struct ledger_position mine;
	(void)state;
	const struct standing heard = standing_of_message(&message.standing, &mine);
	assert_int_equal(message.number, PEER_STANDING);
	assert_true(heard.decides);
	assert_memory_equal(&heard.head.digest, &own.head.digest, sizeof(heard.head.digest));
	assert_int_equal(heard.head.sequence, 7);
	assert_int_equal(heard.mark.sequence, 6);
	assert_int_equal(mine.sequence, 5);
	assert_true(standing_message_equal(&message.standing, &message.standing));
	assert_false(standing_message_equal(&message.standing, &other.standing));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    CASE(a_majority_of_the_edges_is_heard_first),
	    CASE(half_of_the_edges_is_no_majority),
	    CASE(who_is_alone_decides_at_once),
	    CASE(one_that_has_more_is_seen_at_any_time),
	    CASE(another_history_is_a_fork),
	    CASE(a_voter_is_followed_or_who_has_most),
	    CASE(marks_are_told_to_whom_they_belong),
	    CASE(what_is_said_is_what_is_heard),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
