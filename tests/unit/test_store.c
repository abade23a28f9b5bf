/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The contract of store.h, test by test, over every engine there is. Nothing here knows an engine:
 * another one is added to `engines` below. What is special to the embedded one (its file, damage,
 * full disks, crashes) is in test_store_sqlite.c; random sequences are in test_store_walk.c.
 */
#include "store_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct harness_engine *const engines[] = {&harness_sqlite, &harness_peer};

static const struct harness_engine *engine; /* the one under test */

static int setup(void **state)
{
	struct harness *harness = malloc(sizeof(*harness));
	assert_non_null(harness);
	harness_init(harness, engine);
	harness_open(harness);
	*state = harness;
	return 0;
}

static int teardown(void **state)
{
	harness_done(*state);
	free(*state);
	return 0;
}

static struct store_op put_op(const char *key, const char *value)
{
	return (struct store_op){
	    .kind = STORE_PUT, .key = key, .value = value, .value_length = strlen(value)};
}

static struct store_op delete_op(const char *key)
{
	return (struct store_op){.kind = STORE_DELETE, .key = key};
}

static void expect_record(struct harness *harness, const char *key, const char *value,
			  uint64_t create_revision, uint64_t mod_revision)
{
	const struct store_record *record = harness_get(harness, key);
	assert_non_null(record);
	assert_string_equal(record->key, key);
	assert_int_equal(record->value_length, strlen(value));
	assert_string_equal(record->value, value);
	assert_int_equal(record->create_revision, create_revision);
	assert_int_equal(record->mod_revision, mod_revision);
}

/* --- txn -------------------------------------------------------------------------------------- */

static void test_revisions_count_changes(void **state)
{
	struct harness *harness = *state;
	assert_int_equal(harness_put(harness, "a", "1"), 1);
	assert_int_equal(harness_put(harness, "b", ""), 2);
	assert_int_equal(harness_put(harness, "a", "2"), 3);
	expect_record(harness, "a", "2", 1, 3);
	expect_record(harness, "b", "", 2, 2);
	assert_int_equal(harness_delete(harness, "a"), 4);
	assert_null(harness_get(harness, "a"));
	assert_int_equal(harness_delete(harness, "a"), 4);
	assert_int_equal(harness_put(harness, "a", "3"), 5);
	expect_record(harness, "a", "3", 5, 5);
	harness_reopen(harness);
	expect_record(harness, "a", "3", 5, 5);
	assert_int_equal(harness_put(harness, "c", "4"), 6);
}

static void test_values_are_bytes(void **state)
{
	static const char bytes[] = {'a', '\0', '\xff', '\n', '\0'};
	struct harness *harness = *state;
	struct store_op op = {
	    .kind = STORE_PUT, .key = "k", .value = bytes, .value_length = sizeof(bytes)};
	struct store_txn_outcome outcome;
	assert_int_equal(
	    harness_txn(harness, &(struct store_txn){.ops = &op, .op_count = 1}, &outcome), 0);
	const struct store_record *record = harness_get(harness, "k");
	assert_non_null(record);
	assert_int_equal(record->value_length, sizeof(bytes));
	assert_memory_equal(record->value, bytes, sizeof(bytes));
	assert_int_equal(record->value[sizeof(bytes)], '\0');
}

static void test_all_ops_of_a_txn_share_a_revision(void **state)
{
	struct harness *harness = *state;
	harness_put(harness, "old", "x");
	struct store_op ops[] = {put_op("a", "1"), delete_op("old"), put_op("b", "2"),
				 delete_op("absent")};
	struct store_txn_outcome outcome;
	assert_int_equal(
	    harness_txn(harness, &(struct store_txn){.ops = ops, .op_count = 4}, &outcome), 0);
	assert_int_equal(outcome.revision, 2);
	assert_false(outcome.repeated);
	expect_record(harness, "a", "1", 2, 2);
	expect_record(harness, "b", "2", 2, 2);
	assert_null(harness_get(harness, "old"));
}

static void test_compares(void **state)
{
	struct harness *harness = *state;
	harness_put(harness, "a", "1");
	harness_put(harness, "gone", "1");
	harness_delete(harness, "gone");
	static const struct {
		struct store_compare compares[2];
		int result;
		size_t failed;
		uint64_t now;
	} rows[] = {
	    {{{"a", 1}, {"b", 0}}, 0, 0, 0},
	    {{{"a", 1}, {"gone", 0}}, 0, 0, 0},
	    {{{"a", 0}, {"b", 0}}, -FL_ECONFLICT, 0, 1},
	    {{{"b", 0}, {"a", 2}}, -FL_ECONFLICT, 1, 1},
	    {{{"a", 1}, {"gone", 2}}, -FL_ECONFLICT, 1, 0},
	    {{{"b", 1}, {"a", 0}}, -FL_ECONFLICT, 0, 0},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct store_op op = delete_op("absent");
		if (rows[i].result < 0)
			op = put_op("refused", "x");
		struct store_txn txn = {
		    .compares = rows[i].compares, .compare_count = 2, .ops = &op, .op_count = 1};
		struct store_txn_outcome outcome = {0};
		assert_int_equal(harness_txn(harness, &txn, &outcome), rows[i].result);
		assert_int_equal(outcome.revision, 3);
		assert_int_equal(outcome.failed_compare, rows[i].failed);
		assert_int_equal(outcome.failed_mod_revision, rows[i].now);
	}
	assert_null(harness_get(harness, "refused"));
	assert_int_equal(harness_put(harness, "next", "x"), 4);
}

static void test_compares_look_at_the_state_before_the_txn(void **state)
{
	struct harness *harness = *state;
	struct store_compare compare = {"a", 0};
	struct store_op op = put_op("a", "1");
	struct store_txn txn = {
	    .compares = &compare, .compare_count = 1, .ops = &op, .op_count = 1};
	struct store_txn_outcome outcome;
	assert_int_equal(harness_txn(harness, &txn, &outcome), 0);
	assert_int_equal(harness_txn(harness, &txn, &outcome), -FL_ECONFLICT);
	assert_int_equal(outcome.failed_mod_revision, 1);
	assert_non_null(strstr(harness->err.text, "a is at revision 1"));
}

static void test_a_txn_id_takes_effect_once(void **state)
{
	struct harness *harness = *state;
	struct store_compare compare = {"a", 0};
	struct store_op op = put_op("a", "1");
	struct store_txn txn = {.compares = &compare,
				.compare_count = 1,
				.ops = &op,
				.op_count = 1,
				.id = "5f8c-first"};
	struct store_txn_outcome outcome;
	assert_int_equal(harness_txn(harness, &txn, &outcome), 0);
	assert_false(outcome.repeated);
	harness_put(harness, "a", "2");
	for (int i = 0; i < 2; i++) {
		outcome = (struct store_txn_outcome){0};
		assert_int_equal(harness_txn(harness, &txn, &outcome), 0);
		assert_true(outcome.repeated);
		assert_int_equal(outcome.revision, 1);
		expect_record(harness, "a", "2", 1, 2);
		harness_reopen(harness);
	}
	op = put_op("a", "3");
	assert_int_equal(harness_txn(harness, &txn, &outcome), -FL_EINVALID);
	expect_record(harness, "a", "2", 1, 2);
}

static void test_a_refusal_is_judged_anew(void **state)
{
	struct harness *harness = *state;
	struct store_compare compare = {"a", 1};
	struct store_op op = put_op("b", "1");
	struct store_txn txn = {
	    .compares = &compare, .compare_count = 1, .ops = &op, .op_count = 1, .id = "again"};
	struct store_txn_outcome outcome;
	assert_int_equal(harness_txn(harness, &txn, &outcome), -FL_ECONFLICT);
	harness_put(harness, "a", "1");
	assert_int_equal(harness_txn(harness, &txn, &outcome), 0);
	assert_false(outcome.repeated);
	assert_int_equal(outcome.revision, 2);
}

/* A deletion of nothing is an outcome too: its retry must not delete what came since. */
static void test_a_txn_that_changed_nothing_is_remembered(void **state)
{
	struct harness *harness = *state;
	struct store_op op = delete_op("a");
	struct store_txn txn = {.ops = &op, .op_count = 1, .id = "nothing"};
	struct store_txn_outcome outcome;
	assert_int_equal(harness_txn(harness, &txn, &outcome), 0);
	assert_int_equal(outcome.revision, 0);
	harness_put(harness, "a", "1");
	assert_int_equal(harness_txn(harness, &txn, &outcome), 0);
	assert_true(outcome.repeated);
	assert_int_equal(outcome.revision, 0);
	assert_non_null(harness_get(harness, "a"));
}

static void never_range(void *context, int result, const struct error *err,
			const struct store_page *page)
{
	(void)context;
	(void)result;
	(void)err;
	(void)page;
	fail_msg("a refused range was completed");
}

static void never_txn(void *context, int result, const struct error *err,
		      const struct store_txn_outcome *outcome)
{
	(void)context;
	(void)result;
	(void)err;
	(void)outcome;
	fail_msg("a refused txn was completed");
}

static void expect_refused(struct harness *harness, const struct store_txn *txn, int result)
{
	struct error err = {0};
	assert_int_equal(store_txn(harness->store, txn, never_txn, NULL, &err), result);
	assert_int_equal(err.code, result);
	assert_true(strlen(err.text) > 10);
	harness_settle(harness);
}

static void test_keys_are_checked(void **state)
{
	struct harness *harness = *state;
	char longest[STORE_KEY_BYTES + 1];
	char longer[STORE_KEY_BYTES + 2];
	memset(longest, 'k', sizeof(longest));
	longest[STORE_KEY_BYTES] = '\0';
	memset(longer, 'k', sizeof(longer));
	longer[STORE_KEY_BYTES + 1] = '\0';
	harness_put(harness, longest, "x");
	assert_non_null(harness_get(harness, longest));
	const struct {
		const char *key;
		int result;
	} rows[] = {
	    {"", -FL_EINVALID},         {"a b", -FL_EINVALID},   {"a\n", -FL_EINVALID},
	    {"\303\244", -FL_EINVALID}, {"a\x7f", -FL_EINVALID}, {NULL, -FL_EINVALID},
	    {longer, -FL_ELIMIT},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct store_op op = delete_op(rows[i].key);
		struct store_compare compare = {rows[i].key, 0};
		struct store_range range = {.key = rows[i].key};
		expect_refused(harness, &(struct store_txn){.ops = &op, .op_count = 1},
			       rows[i].result);
		expect_refused(harness,
			       &(struct store_txn){.compares = &compare, .compare_count = 1},
			       rows[i].result);
		assert_int_equal(store_range(harness->store, &range, never_range, NULL, NULL),
				 rows[i].result);
		if (rows[i].key) {
			range = (struct store_range){.key = "a", .after = rows[i].key};
			assert_int_equal(
			    store_range(harness->store, &range, never_range, NULL, NULL),
			    rows[i].result);
		}
	}
}

static void test_txns_are_limited(void **state)
{
	struct harness *harness = *state;
	static char bytes[STORE_VALUE_BYTES + 1];
	struct store_op ops[STORE_TXN_OPS + 1];
	char keys[STORE_TXN_OPS + 1][8];
	for (size_t i = 0; i <= STORE_TXN_OPS; i++) {
		snprintf(keys[i], sizeof(keys[i]), "k%03zu", i);
		ops[i] = put_op(keys[i], "x");
	}
	struct store_txn_outcome outcome;
	struct store_txn txn = {.ops = ops, .op_count = STORE_TXN_OPS};
	assert_int_equal(harness_txn(harness, &txn, &outcome), 0);
	txn.op_count++;
	expect_refused(harness, &txn, -FL_ELIMIT);

	ops[0].value = bytes;
	ops[0].value_length = STORE_VALUE_BYTES;
	txn.op_count = 1;
	assert_int_equal(harness_txn(harness, &txn, &outcome), 0);
	assert_int_equal(harness_get(harness, "k000")->value_length, STORE_VALUE_BYTES);
	ops[0].value_length++;
	expect_refused(harness, &txn, -FL_ELIMIT);

	ops[0].value_length = ops[1].value_length = STORE_VALUE_BYTES;
	ops[1].value = bytes;
	txn.op_count = 2;
	expect_refused(harness, &txn, -FL_ELIMIT);

	ops[0] = put_op("same", "1");
	ops[1] = delete_op("same");
	expect_refused(harness, &txn, -FL_EINVALID);
	ops[1] = delete_op("other");
	ops[1].lease = 1;
	expect_refused(harness, &txn, -FL_EINVALID);
	txn = (struct store_txn){.id = "with space"};
	expect_refused(harness, &txn, -FL_EINVALID);
	txn = (struct store_txn){.id = ""};
	expect_refused(harness, &txn, -FL_EINVALID);
}

/* --- range ------------------------------------------------------------------------------------ */

static void expect_keys(struct harness *harness, const struct store_range *range, const char *keys,
			bool more)
{
	struct store_page page = {0};
	char found[256] = "";
	if (harness_range(harness, range, &page) < 0)
		fail_msg("%s", harness->err.text);
	for (size_t i = 0; i < page.count; i++) {
		size_t used = strlen(found);
		snprintf(found + used, sizeof(found) - used, "%s%s", i ? " " : "",
			 page.records[i].key);
	}
	assert_string_equal(found, keys);
	assert_int_equal(page.more, more);
}

static void test_ranges(void **state)
{
	static const struct {
		struct store_range range;
		const char *keys;
		bool more;
	} rows[] = {
	    {{.key = "", .prefix = true}, "a a/ a/1 a/2 a/~ a0 b ~", false},
	    {{.key = "a/", .prefix = true}, "a/ a/1 a/2 a/~", false},
	    {{.key = "a", .prefix = true}, "a a/ a/1 a/2 a/~ a0", false},
	    {{.key = "a"}, "a", false},
	    {{.key = "a/"}, "a/", false},
	    {{.key = "c"}, "", false},
	    {{.key = "c", .prefix = true}, "", false},
	    {{.key = "~", .prefix = true}, "~", false},
	    {{.key = "a/", .prefix = true, .limit = 2}, "a/ a/1", true},
	    {{.key = "a/", .prefix = true, .limit = 2, .after = "a/1"}, "a/2 a/~", false},
	    {{.key = "a/", .prefix = true, .after = "a/11"}, "a/2 a/~", false},
	    {{.key = "a/", .prefix = true, .after = "A"}, "a/ a/1 a/2 a/~", false},
	    {{.key = "a/", .prefix = true, .after = "b"}, "", false},
	    {{.key = "a/", .prefix = true, .limit = 4}, "a/ a/1 a/2 a/~", false},
	    {{.key = "", .prefix = true, .revision = 3}, "a a/1 b", false},
	    {{.key = "", .prefix = true, .revision = 3, .limit = 1, .after = "a"}, "a/1", true},
	    {{.key = "gone", .revision = 9}, "gone", false},
	    {{.key = "gone", .revision = 10}, "", false},
	};
	static const char *const keys[] = {"b", "a", "a/1", "a/2", "a0", "a/", "a/~", "~", "gone"};
	struct harness *harness = *state;
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		harness_put(harness, keys[i], "x");
	harness_delete(harness, "gone");
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		expect_keys(harness, &rows[i].range, rows[i].keys, rows[i].more);
}

static void test_old_revisions_show_old_values(void **state)
{
	struct harness *harness = *state;
	struct store_page page = {0};
	harness_put(harness, "a", "1");
	harness_put(harness, "a", "2");
	harness_delete(harness, "a");
	static const char *const values[] = {"1", "2", NULL};
	for (uint64_t revision = 1; revision <= 3; revision++) {
		struct store_range range = {.key = "a", .revision = revision};
		assert_int_equal(harness_range(harness, &range, &page), 0);
		assert_int_equal(page.revision, revision);
		const char *value = values[revision - 1];
		assert_int_equal(page.count, value ? 1 : 0);
		if (value)
			assert_string_equal(page.records[0].value, value);
	}
	struct store_range future = {.key = "a", .revision = 4};
	assert_int_equal(harness_range(harness, &future, &page), -FL_EINVALID);
}

static void test_a_page_is_bounded_in_bytes(void **state)
{
	struct harness *harness = *state;
	static char bytes[STORE_VALUE_BYTES];
	const size_t fits = STORE_PAGE_BYTES / STORE_VALUE_BYTES;
	for (size_t i = 0; i < fits + 2; i++) {
		char key[16];
		struct store_txn_outcome outcome;
		snprintf(key, sizeof(key), "big/%02zu", i);
		struct store_op op = {
		    .kind = STORE_PUT, .key = key, .value = bytes, .value_length = sizeof(bytes)};
		struct store_txn txn = {.ops = &op, .op_count = 1};
		assert_int_equal(harness_txn(harness, &txn, &outcome), 0);
	}
	struct store_page page = {0};
	struct store_range range = {.key = "big/", .prefix = true};
	assert_int_equal(harness_range(harness, &range, &page), 0);
	assert_int_equal(page.count, fits);
	assert_true(page.more);
	range.after = page.records[page.count - 1].key;
	assert_int_equal(harness_range(harness, &range, &page), 0);
	assert_int_equal(page.count, 2);
	assert_false(page.more);
}

/* --- watch ------------------------------------------------------------------------------------ */

/* Writes what it is told as "5:+key=value,-key 6:…". */
struct log {
	char text[4096];
	int result;
	struct store_watch *watch;
	bool cancel_at_once;
};

static void on_events(void *context, int result, const struct error *err, uint64_t revision,
		      const struct store_event *events, size_t count)
{
	struct log *log = context;
	assert_int_equal(log->result, 0);
	assert_int_equal(result < 0, err != NULL);
	log->result = result;
	if (result < 0) {
		assert_int_equal(count, 0);
		return;
	}
	assert_true(count > 0);
	size_t used = strlen(log->text);
	used += (size_t)snprintf(log->text + used, sizeof(log->text) - used,
				 "%s%d:", used ? " " : "", (int)revision);
	for (size_t i = 0; i < count; i++) {
		const struct store_record *record = &events[i].record;
		bool put = events[i].kind == STORE_PUT;
		assert_int_equal(record->mod_revision, revision);
		used += (size_t)snprintf(log->text + used, sizeof(log->text) - used, "%s%c%s%s%s",
					 i ? "," : "", put ? '+' : '-', record->key, put ? "=" : "",
					 put ? record->value : "");
	}
	if (log->cancel_at_once) {
		store_watch_cancel(log->watch);
		log->watch = NULL;
	}
}

static void watch(struct harness *harness, struct log *log, const char *prefix, uint64_t from)
{
	*log = (struct log){.cancel_at_once = log->cancel_at_once};
	assert_int_equal(
	    store_watch(harness->store, prefix, from, on_events, log, &log->watch, NULL), 0);
}

static void expect_log(struct harness *harness, const struct log *log, const char *text)
{
	harness_settle(harness);
	assert_string_equal(log->text, text);
}

static void test_a_watch_tells_what_comes(void **state)
{
	struct harness *harness = *state;
	struct log all = {0};
	struct log some = {0};
	harness_put(harness, "a/1", "before");
	watch(harness, &all, "", 0);
	watch(harness, &some, "a/", 0);
	harness_put(harness, "a/1", "x");
	harness_put(harness, "b", "y");
	harness_delete(harness, "a/1");
	harness_delete(harness, "a/1");
	struct store_op ops[] = {put_op("z", "1"), put_op("a/2", "2"), delete_op("b"),
				 put_op("a/", "3")};
	struct store_txn_outcome outcome;
	assert_int_equal(
	    harness_txn(harness, &(struct store_txn){.ops = ops, .op_count = 4}, &outcome), 0);
	expect_log(harness, &all, "2:+a/1=x 3:+b=y 4:-a/1 5:+z=1,+a/2=2,-b,+a/=3");
	expect_log(harness, &some, "2:+a/1=x 4:-a/1 5:+a/2=2,+a/=3");
	store_watch_cancel(all.watch);
	harness_put(harness, "a/1", "late");
	expect_log(harness, &all, "2:+a/1=x 3:+b=y 4:-a/1 5:+z=1,+a/2=2,-b,+a/=3");
	expect_log(harness, &some, "2:+a/1=x 4:-a/1 5:+a/2=2,+a/=3 6:+a/1=late");
	store_watch_cancel(some.watch);
	store_watch_cancel(NULL);
}

/* However many watches stand at one revision, each is told as if it were alone. */
static void test_many_watches_of_one_revision(void **state)
{
	struct harness *harness = *state;
	struct log all[3] = {0}, some[2] = {0}, once = {.cancel_at_once = true}, past = {0};
	harness_put(harness, "a/1", "before");
	for (size_t i = 0; i < 3; i++) {
		watch(harness, &all[i], "", 0);
		if (i < 2)
			watch(harness, &some[i], "a/", 0);
	}
	watch(harness, &once, "", 0);
	watch(harness, &past, "a/", 1);
	struct store_op ops[] = {put_op("b", "1"), put_op("a/2", "2"), delete_op("a/1")};
	struct store_txn_outcome outcome;
	assert_int_equal(
	    harness_txn(harness, &(struct store_txn){.ops = ops, .op_count = 3}, &outcome), 0);
	harness_put(harness, "b", "x");
	harness_put(harness, "a/2", "y");
	for (size_t i = 0; i < 3; i++)
		expect_log(harness, &all[i], "2:+b=1,+a/2=2,-a/1 3:+b=x 4:+a/2=y");
	for (size_t i = 0; i < 2; i++)
		expect_log(harness, &some[i], "2:+a/2=2,-a/1 4:+a/2=y");
	expect_log(harness, &once, "2:+b=1,+a/2=2,-a/1");
	expect_log(harness, &past, "1:+a/1=before 2:+a/2=2,-a/1 4:+a/2=y");
	for (size_t i = 0; i < 3; i++)
		store_watch_cancel(all[i].watch);
	store_watch_cancel(some[0].watch);
	store_watch_cancel(some[1].watch);
	store_watch_cancel(past.watch);
}

static void test_a_watch_tells_the_past_and_goes_on(void **state)
{
	struct harness *harness = *state;
	struct log log = {0};
	harness_put(harness, "a", "1");
	harness_put(harness, "a", "2");
	harness_delete(harness, "a");
	watch(harness, &log, "a", 2);
	expect_log(harness, &log, "2:+a=2 3:-a");
	harness_put(harness, "a", "4");
	expect_log(harness, &log, "2:+a=2 3:-a 4:+a=4");
	store_watch_cancel(log.watch);
	watch(harness, &log, "a", 6);
	harness_put(harness, "a", "5");
	harness_put(harness, "a", "6");
	expect_log(harness, &log, "6:+a=6");
	store_watch_cancel(log.watch);
}

static void test_a_watch_resumes_after_reopening_without_gap(void **state)
{
	struct harness *harness = *state;
	uint64_t told = 0;
	for (int round = 0; round < 5; round++) {
		struct log log = {0};
		char expected[256] = "";
		for (int i = 0; i < 3; i++) {
			char value[8];
			snprintf(value, sizeof(value), "%d", round * 3 + i);
			uint64_t revision = harness_put(harness, "a", value);
			size_t used = strlen(expected);
			snprintf(expected + used, sizeof(expected) - used, "%s%d:+a=%s",
				 used ? " " : "", (int)revision, value);
		}
		harness_reopen(harness);
		watch(harness, &log, "a", told + 1);
		expect_log(harness, &log, expected);
		told += 3;
	}
}

static void test_a_long_past_is_told_whole(void **state)
{
	struct harness *harness = *state;
	enum { CHANGES = 700 };
	for (int i = 0; i < CHANGES; i++)
		harness_put(harness, i % 7 ? "other" : "a", "x");
	struct log log = {0};
	watch(harness, &log, "a", 1);
	harness_settle(harness);
	size_t told = 0;
	for (const char *at = log.text; (at = strstr(at, "+a=x")); at++)
		told++;
	assert_int_equal(told, CHANGES / 7);
}

static void test_a_watch_may_cancel_itself(void **state)
{
	struct harness *harness = *state;
	struct log log = {.cancel_at_once = true};
	watch(harness, &log, "a", 0);
	harness_put(harness, "a", "1");
	harness_put(harness, "a", "2");
	expect_log(harness, &log, "1:+a=1");
	assert_null(log.watch);
}

static void test_history_is_bounded_and_says_so(void **state)
{
	struct harness *harness = *state;
	harness->history_revisions = 4;
	harness_reopen(harness);
	struct log follower = {0};
	harness_put(harness, "stays", "x");
	watch(harness, &follower, "b", 0);
	for (int i = 0; i < 60; i++) {
		harness_put(harness, "a", i % 2 ? "odd" : "even");
		if (i % 3 == 0)
			harness_delete(harness, "a");
		harness_settle(harness);
	}
	struct store_page page = {0};
	assert_int_equal(harness_range(harness, &(struct store_range){.key = "a"}, &page), 0);
	uint64_t now = page.revision;

	struct store_range range = {.key = "stays", .revision = 1};
	assert_int_equal(harness_range(harness, &range, &page), -FL_ECOMPACTED);
	range.revision = now - 4;
	assert_int_equal(harness_range(harness, &range, &page), 0);
	assert_int_equal(page.count, 1);

	struct log log = {0};
	watch(harness, &log, "", 1);
	harness_settle(harness);
	assert_int_equal(log.result, -FL_ECOMPACTED);
	store_watch_cancel(log.watch);
	watch(harness, &log, "a", now - 3);
	harness_settle(harness);
	assert_int_equal(log.result, 0);
	assert_true(strlen(log.text) > 0);
	store_watch_cancel(log.watch);
	harness_put(harness, "b", "end");
	harness_settle(harness);
	assert_non_null(strstr(follower.text, "+b=end"));
	harness_reopen(harness);
	assert_non_null(harness_get(harness, "stays"));
}

/* --- lease ------------------------------------------------------------------------------------ */

static void put_leased(struct harness *harness, const char *key, uint64_t lease, int result)
{
	struct store_op op = put_op(key, "x");
	struct store_txn_outcome outcome;
	op.lease = lease;
	assert_int_equal(
	    harness_txn(harness, &(struct store_txn){.ops = &op, .op_count = 1}, &outcome), result);
}

static void test_an_expired_lease_takes_its_keys_along(void **state)
{
	struct harness *harness = *state;
	uint64_t lease = 0;
	struct log log = {0};
	assert_int_equal(harness_lease_grant(harness, 10000, &lease), 0);
	assert_true(lease != 0);
	put_leased(harness, "a", lease, 0);
	put_leased(harness, "b", lease, 0);
	put_leased(harness, "moved", lease, 0);
	harness_put(harness, "moved", "to stay");
	harness_put(harness, "c", "stays");
	assert_int_equal(harness_get(harness, "a")->lease, lease);
	watch(harness, &log, "", 0);
	harness_advance(harness, 9999);
	harness_settle(harness);
	assert_non_null(harness_get(harness, "a"));
	harness_advance(harness, 1);
	expect_log(harness, &log, "6:-a,-b");
	assert_null(harness_get(harness, "a"));
	assert_non_null(harness_get(harness, "c"));
	assert_non_null(harness_get(harness, "moved"));
	put_leased(harness, "a", lease, -FL_ENOTFOUND);
	assert_int_equal(harness_lease_keep_alive(harness, lease), -FL_ENOTFOUND);
	assert_int_equal(harness_lease_revoke(harness, lease), -FL_ENOTFOUND);
	store_watch_cancel(log.watch);
}

static void test_the_store_says_when_a_lease_is_due(void **state)
{
	struct harness *harness = *state;
	uint64_t lease = 0;
	assert_int_equal(store_timeout_ms(harness->store), -1);
	assert_int_equal(harness_lease_grant(harness, 10000, &lease), 0);
	int timeout_ms = store_timeout_ms(harness->store);
	assert_in_range(timeout_ms, 1, 10000);
	harness_advance(harness, 10000);
	assert_int_equal(store_timeout_ms(harness->store), 0);
	harness_settle(harness);
	assert_int_equal(store_timeout_ms(harness->store), -1);
}

static void test_keep_alive_starts_the_time_anew(void **state)
{
	struct harness *harness = *state;
	uint64_t lease = 0;
	assert_int_equal(harness_lease_grant(harness, 10000, &lease), 0);
	put_leased(harness, "a", lease, 0);
	for (int i = 0; i < 5; i++) {
		harness_advance(harness, 9000);
		assert_int_equal(harness_lease_keep_alive(harness, lease), 0);
	}
	assert_non_null(harness_get(harness, "a"));
	harness_advance(harness, 10000);
	assert_null(harness_get(harness, "a"));
}

static void test_a_revoked_lease_takes_its_keys_along(void **state)
{
	struct harness *harness = *state;
	uint64_t lease = 0;
	uint64_t other = 0;
	assert_int_equal(harness_lease_grant(harness, 10000, &lease), 0);
	assert_int_equal(harness_lease_grant(harness, 10000, &other), 0);
	assert_true(lease != other);
	put_leased(harness, "a", lease, 0);
	put_leased(harness, "b", other, 0);
	assert_int_equal(harness_lease_revoke(harness, lease), 0);
	assert_null(harness_get(harness, "a"));
	assert_non_null(harness_get(harness, "b"));
	assert_int_equal(harness_lease_revoke(harness, lease), -FL_ENOTFOUND);
	assert_int_equal(harness_lease_revoke(harness, 999999), -FL_ENOTFOUND);
}

static void test_leases_start_anew_when_reopened(void **state)
{
	struct harness *harness = *state;
	uint64_t first = 0;
	uint64_t second = 0;
	assert_int_equal(harness_lease_grant(harness, 10000, &first), 0);
	put_leased(harness, "a", first, 0);
	harness_advance(harness, 9000);
	harness_reopen(harness);
	harness_advance(harness, 9000);
	assert_non_null(harness_get(harness, "a"));
	harness_advance(harness, 1000);
	assert_null(harness_get(harness, "a"));
	harness_reopen(harness);
	assert_int_equal(harness_lease_grant(harness, 10000, &second), 0);
	assert_true(second != first);
}

static void test_a_failed_put_undoes_its_txn(void **state)
{
	struct harness *harness = *state;
	struct store_op ops[] = {put_op("a", "1"), put_op("b", "2")};
	ops[1].lease = 77;
	struct store_txn txn = {.ops = ops, .op_count = 2, .id = "undone"};
	struct store_txn_outcome outcome;
	assert_int_equal(harness_txn(harness, &txn, &outcome), -FL_ENOTFOUND);
	assert_null(harness_get(harness, "a"));
	assert_int_equal(harness_put(harness, "c", "x"), 1);
	assert_null(harness_get(harness, "a"));
}

static void never_lease(void *context, int result, const struct error *err, uint64_t lease,
			uint64_t ttl_ms)
{
	(void)context;
	(void)result;
	(void)err;
	(void)lease;
	(void)ttl_ms;
	fail_msg("a refused lease was granted");
}

static void test_a_lease_has_a_time(void **state)
{
	struct harness *harness = *state;
	assert_int_equal(store_lease_grant(harness->store, 0, never_lease, NULL, NULL), -FL_ELIMIT);
	assert_int_equal(store_lease_grant(harness->store, STORE_LEASE_TTL_MAX_MS + 1ULL,
					   never_lease, NULL, NULL),
			 -FL_ELIMIT);
	harness_settle(harness);
}

/* --- running ---------------------------------------------------------------------------------- */

struct chain {
	struct store *store;
	int left;
	int done;
	int last_result;
};

static void on_chain(void *context, int result, const struct error *err,
		     const struct store_txn_outcome *outcome)
{
	struct chain *chain = context;
	(void)err;
	(void)outcome;
	chain->done++;
	chain->last_result = result;
	if (chain->left-- > 0) {
		struct store_op op = put_op("a", "x");
		int queued = store_txn(chain->store, &(struct store_txn){.ops = &op, .op_count = 1},
				       on_chain, chain, NULL);
		assert_int_equal(queued, result == -ECANCELED ? -ECANCELED : 0);
	}
}

/* Does the store ask for a dispatch? */
static bool is_owed(const struct harness *harness)
{
	struct pollfd event = {.fd = store_fd(harness->store), .events = POLLIN};
	return poll(&event, 1, 0) == 1 || store_timeout_ms(harness->store) == 0;
}

static void test_completions_come_from_dispatch_only(void **state)
{
	struct harness *harness = *state;
	struct chain chain = {.store = harness->store, .left = 2};
	struct store_op op = put_op("a", "x");
	struct store_txn txn = {.ops = &op, .op_count = 1};
	assert_false(is_owed(harness));
	assert_int_equal(store_txn(harness->store, &txn, on_chain, &chain, NULL), 0);
	assert_int_equal(chain.done, 0);
	while (!chain.done) {
		assert_true(is_owed(harness));
		store_dispatch(harness->store);
	}
	assert_int_equal(chain.done, 1);
	assert_true(is_owed(harness));
	harness_settle(harness);
	assert_int_equal(chain.done, 3);
	assert_false(is_owed(harness));
}

static void test_close_completes_what_is_outstanding(void **state)
{
	struct harness *harness = *state;
	struct chain chain = {.store = harness->store, .left = 1};
	struct log log = {0};
	struct store_op op = put_op("a", "x");
	struct store_txn txn = {.ops = &op, .op_count = 1};
	watch(harness, &log, "", 0);
	assert_int_equal(store_txn(harness->store, &txn, on_chain, &chain, NULL), 0);
	harness_close(harness);
	assert_int_equal(chain.done, 1);
	assert_int_equal(chain.last_result, -ECANCELED);
	assert_string_equal(log.text, "");
	harness_open(harness);
	assert_null(harness_get(harness, "a"));
}

static void test_waiting_ends(void **state)
{
	struct harness *harness = *state;
	bool done = false;
	struct error err;
	assert_int_equal(store_wait(harness->store, &done, 10, &err), -ETIMEDOUT);
	assert_int_equal(err.code, -ETIMEDOUT);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_revisions_count_changes),
	    TEST(test_values_are_bytes),
	    TEST(test_all_ops_of_a_txn_share_a_revision),
	    TEST(test_compares),
	    TEST(test_compares_look_at_the_state_before_the_txn),
	    TEST(test_a_txn_id_takes_effect_once),
	    TEST(test_a_refusal_is_judged_anew),
	    TEST(test_a_txn_that_changed_nothing_is_remembered),
	    TEST(test_keys_are_checked),
	    TEST(test_txns_are_limited),
	    TEST(test_ranges),
	    TEST(test_old_revisions_show_old_values),
	    TEST(test_a_page_is_bounded_in_bytes),
	    TEST(test_a_watch_tells_what_comes),
	    TEST(test_many_watches_of_one_revision),
	    TEST(test_a_watch_tells_the_past_and_goes_on),
	    TEST(test_a_watch_resumes_after_reopening_without_gap),
	    TEST(test_a_long_past_is_told_whole),
	    TEST(test_a_watch_may_cancel_itself),
	    TEST(test_history_is_bounded_and_says_so),
	    TEST(test_an_expired_lease_takes_its_keys_along),
	    TEST(test_the_store_says_when_a_lease_is_due),
	    TEST(test_keep_alive_starts_the_time_anew),
	    TEST(test_a_revoked_lease_takes_its_keys_along),
	    TEST(test_leases_start_anew_when_reopened),
	    TEST(test_a_failed_put_undoes_its_txn),
	    TEST(test_a_lease_has_a_time),
	    TEST(test_completions_come_from_dispatch_only),
	    TEST(test_close_completes_what_is_outstanding),
	    TEST(test_waiting_ends),
	};
	int failed = 0;
	for (size_t i = 0; i < sizeof(engines) / sizeof(*engines); i++) {
		engine = engines[i];
		char name[32];
		snprintf(name, sizeof(name), "store/%s", engine->name);
		failed += cmocka_run_group_tests_name(name, tests, NULL, NULL);
	}
	return failed;
}
