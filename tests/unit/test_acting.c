/* SPDX-License-Identifier: Apache-2.0 */
/* Acting: what a node does by its replica, and what it leaves alone. Whole fabrics are in
 * tests/sim.
 */
#include "fabric/acting.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Planes that note what they were asked for, each by a letter. */
struct bench {
	struct image image;
	struct replica replica;
	struct member members[2];
	struct image_member records[2];
	struct acting acting;
	char folder[64];
	char did[32];
	bool forwards;
	bool maps_fail;
	bool names_fail;
	bool means_the_same;
	struct mark_note pinned;
};

static void did(struct bench *bench, const char *what)
{
	strncat(bench->did, what, sizeof(bench->did) - strlen(bench->did) - 1);
}

static bool maps_forward(void *context)
{
	const struct bench *bench = context;
	return bench->forwards;
}

static int publish_maps(void *context, const struct image *image, struct error *err)
{
	struct bench *bench = context;
	(void)image;
	did(bench, "M");
	if (bench->maps_fail)
		return error_set(err, -EIO, "no maps");
	bench->forwards = true;
	return 0;
}

static int publish_pools(void *context, const struct image *image, struct error *err)
{
	struct bench *bench = context;
	(void)image;
	(void)err;
	did(bench, "q");
	return 0;
}

static int keep_maps(void *context, const struct image *image, struct error *err)
{
	struct bench *bench = context;
	(void)image;
	did(bench, "k");
	return bench->means_the_same ? 0 : error_set(err, -FL_EUNAVAILABLE, "something newer");
}

static int pin_mark(void *context, const struct mark_note *note, struct error *err)
{
	struct bench *bench = context;
	(void)err;
	did(bench, "p");
	bench->pinned = *note;
	return 0;
}

static int publish_names(void *context, const struct image *image, struct error *err)
{
	struct bench *bench = context;
	(void)image;
	did(bench, "N");
	return bench->names_fail ? error_set(err, -EIO, "no names") : 0;
}

static int set_up(void **state)
{
	static const struct acting_planes planes = {.forwards = maps_forward,
						    .publish_maps = publish_maps,
						    .publish_pools = publish_pools,
						    .keep_maps = keep_maps,
						    .pin_mark = pin_mark,
						    .publish_names = publish_names};
	struct bench *bench = calloc(1, sizeof(*bench));
	assert_non_null(bench);
	snprintf(bench->folder, sizeof(bench->folder), "/tmp/fairlead-test-XXXXXX");
	assert_non_null(mkdtemp(bench->folder));
	assert_int_equal(mark_read(&bench->replica.mark, &disk_system, bench->folder), 0);
	bench->members[0] =
	    (struct member){.name = "edge1", .roles = MEMBER_EDGE | MEMBER_NAMES | MEMBER_VOTER};
	bench->members[1] = (struct member){.name = "edge2", .roles = MEMBER_EDGE};
	for (size_t i = 0; i < 2; i++)
		bench->records[i].member = &bench->members[i];
	bench->image.members = bench->records;
	bench->image.member_count = 1;
	bench->image.head.sequence = 7;
	bench->image.revision = 70;
	bench->acting.options = (struct acting_options){.node = "edge1",
							.image = &bench->image,
							.replica = &bench->replica,
							.decides = true,
							.is_edge = true,
							.is_names = true,
							.planes = &planes,
							.context = bench};
	*state = bench;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;
	(void)unlink(bench->replica.mark.path);
	assert_int_equal(rmdir(bench->folder), 0);
	free(bench);
	return 0;
}

/* Carries out and notes; then what was done, and how far it is acknowledged. */
static void expect(struct bench *bench, int result, const char *what, uint64_t edge, uint64_t names)
{
	struct error err;
	bool forwards;
	bench->did[0] = '\0';
	assert_int_equal(acting_carry_out(&bench->acting, &forwards, &err), result);
	assert_int_equal(forwards, !bench->maps_fail && result != -FL_EUNAVAILABLE);
	assert_int_equal(acting_note(&bench->acting, &err), 0);
	assert_string_equal(bench->did, what);
	struct observation observation = acting_observation(&bench->acting);
	assert_int_equal(observation.edge_applied.sequence, edge);
	assert_int_equal(observation.names_applied.sequence, names);
}

static void maps_come_before_names_and_the_mark_before_telling(void **state)
{
	struct bench *bench = *state;
	expect(bench, 0, "MNp", 7, 7);
	assert_int_equal(bench->replica.acknowledged.sequence, 7);
	assert_int_equal(bench->pinned.position.sequence, 7);
	assert_false(bench->pinned.has_peers);
	/* Maps that do it already are left alone. */
	expect(bench, 0, "N", 7, 7);
	bench->image.head.sequence++;
	bench->image.revision++;
	expect(bench, 0, "MNp", 8, 8);
}

static void a_step_that_fails_is_the_last_one(void **state)
{
	struct bench *bench = *state;
	bench->maps_fail = true;
	bench->acting.options.decides = false;
	expect(bench, -EIO, "M", 0, 0);
	assert_int_equal(bench->replica.acknowledged.sequence, 0);
	bench->maps_fail = false;
	bench->names_fail = true;
	expect(bench, -EIO, "MNp", 7, 0);
	bench->names_fail = false;
	expect(bench, 0, "N", 7, 7);
}

/* What it decided others may know of, before its own planes do it. */
static void what_is_decided_is_noted(void **state)
{
	struct bench *bench = *state;
	bench->maps_fail = true;
	expect(bench, -EIO, "Mp", 0, 0);
	assert_int_equal(bench->replica.acknowledged.sequence, 7);
	bench->acting.options.is_edge = bench->acting.options.is_names = false;
	bench->maps_fail = false;
	bench->image.member_count = 2;
	bench->image.head.sequence = 9;
	expect(bench, 0, "", 0, 0);
	assert_int_equal(bench->replica.acknowledged.sequence, 9);
	assert_true(bench->replica.has_peers);
}

static void below_the_mark_nothing_is_published(void **state)
{
	struct bench *bench = *state;
	bench->replica.standing = REPLICA_OLDER;
	bench->image.member_count = 2;
	/* What comes for the pools is passed on, where no maps forward. */
	expect(bench, 0, "q", 0, 0);
	bench->forwards = true;
	expect(bench, 0, "", 0, 0);
	bench->replica.standing = REPLICA_FORKED;
	expect(bench, 0, "", 0, 0);
	/* It follows, and has caught up by this very revision. */
	bench->replica.standing = REPLICA_CURRENT;
	expect(bench, 0, "MNp", 7, 7);
	assert_true(bench->pinned.has_peers);
}

/* Where nobody else is there, and nothing is forwarded, an outage is certain otherwise. */
static void alone_below_the_mark(void **state)
{
	struct bench *bench = *state;
	bench->replica.standing = REPLICA_OLDER;
	expect(bench, 0, "MN", 0, 0);
	expect(bench, 0, "N", 0, 0);
	assert_int_equal(bench->replica.acknowledged.sequence, 0);
}

static void alone_below_the_mark_with_maps(void **state)
{
	struct bench *bench = *state;
	bench->replica.standing = REPLICA_OLDER;
	bench->forwards = true;
	expect(bench, -FL_EUNAVAILABLE, "k", 0, 0);
	bench->means_the_same = true;
	expect(bench, 0, "kN", 0, 0);
}

/* An older copy knows nothing of those who joined later. */
static void who_had_peers_is_not_alone(void **state)
{
	struct bench *bench = *state;
	bench->replica.standing = REPLICA_OLDER;
	bench->replica.has_peers = true;
	expect(bench, 0, "q", 0, 0);
	bench->replica.has_peers = false;
	bench->acting.options.decides = false;
	expect(bench, 0, "q", 0, 0);
}

static void expect_attraction(struct bench *bench, uint64_t now_ms, const char *why_not)
{
	const char *why = NULL;
	acting_ask(&bench->acting, now_ms);
	assert_int_equal(acting_may_attract(&bench->acting, &why), why_not == NULL);
	if (why_not && !strstr(why, why_not))
		fail_msg("\"%s\" does not say \"%s\"", why, why_not);
}

/* What reaches it draws traffic at once, if it is the only node; otherwise it asks first. */
static void a_start_asks_before_it_attracts(void **state)
{
	struct bench *bench = *state;
	const struct ledger_position there = {.sequence = 9};
	const struct ledger_position less = {.sequence = 3};
	expect_attraction(bench, 1000, "nothing was published");
	expect(bench, 0, "MNp", 7, 7);
	expect_attraction(bench, 1000, NULL);
	bench->acting.has_asked = false;
	bench->acting.options.decides = false;
	bench->image.member_count = 2;
	expect_attraction(bench, 1500, "asks the others");
	/* One that decides nothing may have less than others. */
	acting_answered(&bench->acting, &less, false);
	expect_attraction(bench, 2000, "catches up");
	acting_answered(&bench->acting, &there, true);
	expect_attraction(bench, 100000, "catches up");
	bench->image.head.sequence = 9;
	expect_attraction(bench, 100500, NULL);
	/* From then on it lags behind like anybody else. */
	const struct ledger_position later = {.sequence = 20};
	acting_answered(&bench->acting, &later, true);
	expect_attraction(bench, 101000, NULL);
	bench->replica.standing = REPLICA_OLDER;
	expect_attraction(bench, 101000, "older than what it acknowledged");
}

static void whom_no_voter_answers_goes_on(void **state)
{
	struct bench *bench = *state;
	const struct ledger_position there = {.sequence = 7};
	bench->acting.options.decides = false;
	bench->image.member_count = 2;
	expect(bench, 0, "MNp", 7, 7);
	expect_attraction(bench, 1000, "asks the others");
	expect_attraction(bench, 1000 + ACTING_ASK_MS - 1, "asks the others");
	acting_answered(&bench->acting, &there, false);
	expect_attraction(bench, 1000 + ACTING_ASK_MS - 1, "catches up");
	expect_attraction(bench, 1000 + ACTING_ASK_MS, NULL);
}

/* They forward, and say themselves what this node acknowledged. */
static void who_has_maps_of_before_goes_on(void **state)
{
	struct bench *bench = *state;
	bench->acting.options.decides = false;
	bench->image.member_count = 2;
	bench->acting.options.kept_maps = true;
	expect(bench, 0, "MNp", 7, 7);
	expect_attraction(bench, 1000, NULL);
}

/* Nobody has more than a voter that takes orders; one that listens asks like anybody else. */
static void who_decides_need_not_ask(void **state)
{
	struct bench *bench = *state;
	bench->image.member_count = 2;
	expect(bench, 0, "MNp", 7, 7);
	assert_true(replica_await(&bench->replica, "it listens"));
	expect_attraction(bench, 1000, "asks the others");
	assert_true(replica_await(&bench->replica, ""));
	expect_attraction(bench, 1500, NULL);
}

static void who_is_no_edge_attracts_nothing(void **state)
{
	struct bench *bench = *state;
	expect(bench, 0, "MNp", 7, 7);
	bench->members[0].roles = MEMBER_NAMES;
	expect_attraction(bench, 1000, "does not name it as an edge");
	bench->image.member_count = 0;
	expect_attraction(bench, 1000, "does not name it as an edge");
	bench->acting.options.is_edge = false;
	expect_attraction(bench, 1000, "no edge");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    CASE(maps_come_before_names_and_the_mark_before_telling),
	    CASE(a_step_that_fails_is_the_last_one),
	    CASE(what_is_decided_is_noted),
	    CASE(below_the_mark_nothing_is_published),
	    CASE(alone_below_the_mark),
	    CASE(alone_below_the_mark_with_maps),
	    CASE(who_had_peers_is_not_alone),
	    CASE(a_start_asks_before_it_attracts),
	    CASE(whom_no_voter_answers_goes_on),
	    CASE(who_has_maps_of_before_goes_on),
	    CASE(who_decides_need_not_ask),
	    CASE(who_is_no_edge_attracts_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
