/* SPDX-License-Identifier: Apache-2.0 */
/* Changes and the image over a real store: in order, once, each with its ledger entry. */
#include "base/buffer.h"
#include "base/random.h"
#include "state/changes.h"
#include "state/image.h"
#include "state/records.h"
#include "store_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct fixture {
	struct harness harness;
	struct ledger_signer *signer;
	struct image image;
	struct store_watch *watch;
	struct changes *changes;
	struct random random;
	int image_result;
	char log[256]; /* what happened, in order */
};

struct deed {
	struct change change;
	struct fixture *fixture;
	char name;
	const char *backend; /* to forget; the deed's effect */
	int verdict; /* that build gives instead; 0: does its work */
	bool race; /* somebody else writes between build and commit, the first time */
	int result;
	uint64_t sequence;
};

static void note(struct fixture *fixture, char verb, char name)
{
	size_t length = strlen(fixture->log);
	snprintf(fixture->log + length, sizeof(fixture->log) - length, "%c%c ", verb, name);
}

static void on_events(void *context, int result, const struct error *err, uint64_t revision,
		      const struct store_event *events, size_t count)
{
	struct fixture *fixture = context;
	struct error own = {0};
	(void)err;
	assert_int_equal(result, 0);
	fixture->image_result =
	    image_update(&fixture->image, revision, events, count, fixture->harness.now_ms, &own);
	if (fixture->changes)
		changes_image_moved(fixture->changes);
}

static void introduce(struct fixture *fixture)
{
	const struct ledger_change change = {.time_ms = 1, .who = "fairlead", .why = ""};
	struct ledger_append append;
	struct arena arena;
	arena_init(&arena, 0);
	assert_int_equal(ledger_introduce_ops(&fixture->image.head, fixture->signer, &change,
					      "edge1", ledger_signer_public_key(fixture->signer),
					      &arena, &append, NULL),
			 0);
	const struct store_txn txn = {.compares = append.compares,
				      .compare_count = append.compare_count,
				      .ops = append.ops,
				      .op_count = append.op_count};
	struct store_txn_outcome outcome;
	assert_int_equal(harness_txn(&fixture->harness, &txn, &outcome), 0);
	arena_done(&arena);
}

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	assert_non_null(fixture);
	harness_init(&fixture->harness, &harness_sqlite);
	if (!fixture->harness.store)
		harness_open(&fixture->harness);
	struct store *store = fixture->harness.store;
	assert_int_equal(
	    ledger_signer_open(fixture->harness.folder, "edge1", &fixture->signer, NULL), 0);
	assert_int_equal(image_load(&fixture->image, store, 0, NULL), 0);
	introduce(fixture);
	image_done(&fixture->image);
	assert_int_equal(image_load(&fixture->image, store, 0, NULL), 0);
	assert_int_equal(fixture->image.head.sequence, 1);
	assert_int_equal(store_watch(store, "", fixture->image.revision + 1, on_events, fixture,
				     &fixture->watch, NULL),
			 0);
	const struct changes_options options = {.authority = store,
						.image = &fixture->image,
						.signer = fixture->signer,
						.clock = &fixture->harness.clock,
						.steady = &fixture->harness.clock,
						.random = &fixture->random};
	random_init_system(&fixture->random);
	assert_int_equal(changes_new(&options, &fixture->changes), 0);
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;
	struct changes *changes = fixture->changes;
	fixture->changes = NULL;
	if (fixture->harness.store)
		store_watch_cancel(fixture->watch);
	harness_close(&fixture->harness);
	changes_free(changes);
	harness_done(&fixture->harness);
	image_done(&fixture->image);
	ledger_signer_free(fixture->signer);
	free(fixture);
	return 0;
}

static const struct ip_address nowhere = {.family = IP_NONE};

/* Writes a record that has nothing to do with any change, but moves the key that it compares. */
static int build(struct change *change, struct change_draft *draft, struct error *err)
{
	struct deed *deed = (struct deed *)change;
	char key[RECORD_KEY_BYTES];
	struct buffer value;
	note(deed->fixture, 'b', deed->name);
	if (deed->verdict < 0)
		return error_set(err, deed->verdict, "refused");
	if (deed->verdict > 0)
		return CHANGE_NOTHING;
	buffer_init(&value, 0);
	buffer_printf(&value, "%llu", (unsigned long long)draft->sequence);
	assert_int_equal(
	    draft_put_new(draft, record_forgotten_key(deed->backend, &nowhere, key), &value), 0);
	buffer_clear(&value);
	buffer_puts(&value, "x");
	/* A compare that fails as long as somebody else's write is not seen. */
	assert_int_equal(
	    draft_put(draft, "node/race", deed->race ? 12345 : draft->image->now_ms, &value), 0);
	deed->race = false;
	buffer_done(&value);
	draft->what = json_object();
	return CHANGE_COMMIT;
}

static void done(struct change *change, int result, const struct error *err, uint64_t sequence)
{
	struct deed *deed = (struct deed *)change;
	note(deed->fixture, result < 0 ? 'f' : 'd', deed->name);
	deed->result = result;
	deed->sequence = sequence;
	if (result < 0)
		assert_non_null(err);
	else if (sequence)
		assert_non_null(
		    image_forgotten(&deed->fixture->image, deed->backend, &nowhere, &(size_t){0}));
}

static struct deed deed_of(struct fixture *fixture, char name, const char *backend)
{
	return (struct deed){.change = {.kind = "test", .who = "me", .build = build, .done = done},
			     .fixture = fixture,
			     .name = name,
			     .backend = backend};
}

static uint64_t revision_of_race(struct fixture *fixture)
{
	struct store_page page;
	const struct store_range range = {.key = "node/race"};
	assert_int_equal(harness_range(&fixture->harness, &range, &page), 0);
	return page.count ? page.records[0].mod_revision : 0;
}

/* The next begins only when the image shows the one before. */
static void changes_are_committed_one_after_the_other(void **state)
{
	struct fixture *fixture = *state;
	struct deed first = deed_of(fixture, '1', "web1");
	struct deed second = deed_of(fixture, '2', "web2");
	second.verdict = 1;
	struct deed third = deed_of(fixture, '3', "web3");
	third.verdict = -FL_ESTATE;
	fixture->image.now_ms = revision_of_race(fixture);
	changes_submit(fixture->changes, &first.change);
	changes_submit(fixture->changes, &second.change);
	changes_submit(fixture->changes, &third.change);
	assert_true(changes_pending(fixture->changes, "test"));
	harness_settle(&fixture->harness);
	assert_string_equal(fixture->log, "b1 d1 b2 d2 b3 f3 ");
	assert_int_equal(first.result, 0);
	assert_int_equal(first.sequence, 2);
	assert_int_equal(second.sequence, 0);
	assert_int_equal(third.result, -FL_ESTATE);
	assert_int_equal(fixture->image.head.sequence, 2);
	assert_false(changes_pending(fixture->changes, "test"));
}

static void an_overtaken_change_is_built_again(void **state)
{
	struct fixture *fixture = *state;
	struct deed deed = deed_of(fixture, '1', "web1");
	deed.race = true;
	fixture->image.now_ms = 0;
	changes_submit(fixture->changes, &deed.change);
	harness_settle(&fixture->harness);
	assert_string_equal(fixture->log, "b1 b1 d1 ");
	assert_int_equal(deed.result, 0);
	assert_int_equal(fixture->image.head.sequence, 2);
}

/* A change that compares "node/race" with what the image can know of it. */
struct racer {
	struct change change;
	uint64_t race_revision; /* of the write that overtakes it */
	uint64_t seen[4]; /* the image's revision at each build */
	unsigned builds;
	int result;
};

static int build_racer(struct change *change, struct change_draft *draft, struct error *err)
{
	struct racer *racer = (struct racer *)change;
	uint64_t revision = draft->image->revision;
	struct buffer value;
	(void)err;
	assert_true(racer->builds < 4);
	racer->seen[racer->builds++] = revision;
	buffer_init(&value, 0);
	buffer_puts(&value, "mine");
	assert_int_equal(draft_put(draft, "node/race",
				   revision >= racer->race_revision ? racer->race_revision : 0,
				   &value),
			 0);
	buffer_done(&value);
	draft->what = json_object();
	return CHANGE_COMMIT;
}

static void racer_done(struct change *change, int result, const struct error *err,
		       uint64_t sequence)
{
	(void)err;
	(void)sequence;
	((struct racer *)change)->result = result;
}

static void on_race(void *context, int result, const struct error *err,
		    const struct store_txn_outcome *outcome)
{
	(void)err;
	(void)outcome;
	*(int *)context = result;
}

/* Building again from the image that misled it would fail again, as often as it is tried. */
static void an_overtaken_change_waits_for_the_newer_image(void **state)
{
	struct fixture *fixture = *state;
	int raced = 1;
	const struct store_op op = {
	    .kind = STORE_PUT, .key = "node/race", .value = "theirs", .value_length = 6};
	const struct store_txn txn = {.ops = &op, .op_count = 1};
	struct racer racer = {
	    .change = {.kind = "test", .who = "me", .build = build_racer, .done = racer_done},
	    .race_revision = fixture->image.revision + 1,
	    .result = 1};
	assert_int_equal(store_txn(fixture->harness.store, &txn, on_race, &raced, NULL), 0);
	changes_submit(fixture->changes, &racer.change);
	harness_settle(&fixture->harness);
	assert_int_equal(raced, 0);
	assert_int_equal(racer.result, 0);
	assert_int_equal(racer.builds, 2);
	assert_int_equal(racer.seen[0], racer.race_revision - 1);
	assert_true(racer.seen[1] >= racer.race_revision);
}

static void nothing_begins_after_the_stop(void **state)
{
	struct fixture *fixture = *state;
	struct deed deed = deed_of(fixture, '1', "web1");
	changes_stop(fixture->changes);
	changes_submit(fixture->changes, &deed.change);
	harness_settle(&fixture->harness);
	assert_string_equal(fixture->log, "");
	harness_close(&fixture->harness);
	changes_free(fixture->changes);
	fixture->changes = NULL;
	assert_string_equal(fixture->log, "f1 ");
	assert_int_equal(deed.result, -ECANCELED);
}

static void what_is_queued_at_the_end_is_told_so(void **state)
{
	struct fixture *fixture = *state;
	struct deed first = deed_of(fixture, '1', "web1");
	struct deed second = deed_of(fixture, '2', "web2");
	changes_submit(fixture->changes, &first.change);
	changes_submit(fixture->changes, &second.change);
	harness_close(&fixture->harness);
	assert_string_equal(fixture->log, "b1 f1 ");
	assert_int_equal(first.result, -ECANCELED);
	changes_free(fixture->changes);
	assert_string_equal(fixture->log, "b1 f1 f2 ");
	assert_int_equal(second.result, -ECANCELED);
	fixture->changes = NULL;
}

/* A revision means nothing under another id: nothing is decided by the one or waited for by the
 * other. */
static void another_history_is_not_changed_or_waited_for(void **state)
{
	static const struct store_id other = {.bytes = "another history"};
	struct fixture *fixture = *state;
	struct store_id own = fixture->image.authority;
	struct deed first = deed_of(fixture, '1', "web1");
	struct deed second = deed_of(fixture, '2', "web2");
	fixture->image.authority = other;
	changes_submit(fixture->changes, &first.change);
	harness_settle(&fixture->harness);
	assert_int_equal(first.result, -FL_EUNAVAILABLE);
	fixture->image.authority = own;
	changes_submit(fixture->changes, &second.change);
	fixture->image.authority = other;
	harness_settle(&fixture->harness);
	assert_int_equal(second.result, -FL_EUNAVAILABLE);
	assert_string_equal(fixture->log, "f1 b2 f2 ");
}

static void a_damaged_record_is_named(void **state)
{
	struct fixture *fixture = *state;
	harness_put(&fixture->harness, "service/web", "{}");
	harness_settle(&fixture->harness);
	assert_int_equal(fixture->image_result, -FL_ECORRUPT);
	struct image again;
	struct error err = {0};
	assert_int_equal(image_load(&again, fixture->harness.store, 0, &err), -FL_ECORRUPT);
	assert_non_null(strstr(err.text, "service/web"));
	image_done(&again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(changes_are_committed_one_after_the_other, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(an_overtaken_change_is_built_again, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(an_overtaken_change_waits_for_the_newer_image, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(nothing_begins_after_the_stop, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(what_is_queued_at_the_end_is_told_so, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(another_history_is_not_changed_or_waited_for, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(a_damaged_record_is_named, set_up, tear_down),
	};
	return cmocka_run_group_tests_name("changes", tests, NULL, NULL);
}
