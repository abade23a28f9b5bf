/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A replica that follows an authority: two stores of the embedded engine, with a real ledger in
 * the authority's. What the replica then holds is compared record by record, revisions and all.
 */
#include "state/follower.h"

#include "base/disk.h"
#include "ledger/ledger.h"
#include "state/placement_records.h"
#include "state/records.h"
#include "store_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct pair {
	struct harness authority;
	struct harness replica;
	struct ledger_signer *signer;
	struct ledger_head head; /* of the authority's ledger */
	struct follower *follower;
	uint64_t now_ms;
};

static int setup(void **state)
{
	struct pair *pair = calloc(1, sizeof(*pair));
	assert_non_null(pair);
	harness_init(&pair->authority, &harness_sqlite);
	harness_init(&pair->replica, &harness_sqlite);
	harness_open(&pair->authority);
	harness_open(&pair->replica);
	assert_int_equal(ledger_signer_open(pair->authority.folder, "voter1", &pair->signer, NULL),
			 0);
	pair->now_ms = 1;
	*state = pair;
	return 0;
}

static void close_both(struct pair *pair)
{
	follower_stop(pair->follower);
	harness_close(&pair->authority);
	harness_close(&pair->replica);
	follower_free(pair->follower);
	pair->follower = NULL;
}

static int teardown(void **state)
{
	struct pair *pair = *state;
	close_both(pair);
	harness_done(&pair->authority);
	harness_done(&pair->replica);
	ledger_signer_free(pair->signer);
	free(pair);
	return 0;
}

/* --- the authority's history --- */

/* A change with its ledger entry, as changes.c makes one. */
static void change(struct pair *pair, const char *key, const char *value)
{
	struct ledger_append append;
	struct store_txn_outcome outcome;
	struct store_op ops[LEDGER_APPEND_OPS + 1];
	struct arena *arena = &pair->authority.arena;
	json_t *what = json_pack("{s:s}", key, value);
	const struct ledger_change told = {
	    .time_ms = 1, .who = "alice", .why = "", .kind = "apply", .what = what};
	int result = pair->head.sequence
			 ? ledger_append_ops(&pair->head, pair->signer, &told, arena, &append, NULL)
			 : ledger_introduce_ops(&pair->head, pair->signer, &told, "voter1",
						ledger_signer_public_key(pair->signer), arena,
						&append, NULL);
	json_decref(what);
	assert_int_equal(result, 0);
	memcpy(ops, append.ops, append.op_count * sizeof(*ops));
	ops[append.op_count] = (struct store_op){
	    .kind = STORE_PUT, .key = key, .value = value, .value_length = strlen(value)};
	const struct store_txn txn = {.compares = append.compares,
				      .compare_count = append.compare_count,
				      .ops = ops,
				      .op_count = append.op_count + 1};
	assert_int_equal(harness_txn(&pair->authority, &txn, &outcome), 0);
	pair->head = append.head;
	pair->head.mod_revision = outcome.revision;
}

static const char *path_of(struct harness *harness, const char *name)
{
	const char *path = arena_printf(&harness->arena, "%s/%s", harness->folder, name);
	assert_non_null(path);
	return path;
}

static void back_up(struct pair *pair, const char *name)
{
	struct harness *authority = &pair->authority;
	assert_int_equal(
	    store_sqlite_copy(authority->folder, &disk_system, path_of(authority, name), NULL), 0);
}

/* The authority goes on by a copy of what it was, or of what another was; `sql` changes that. */
static void restore(struct pair *pair, const char *name, const char *sql)
{
	sqlite3 *file = NULL;
	struct harness *authority = &pair->authority;
	close_both(pair);
	assert_int_equal(rename(path_of(authority, name), path_of(authority, "store.db")), 0);
	if (sql) {
		assert_int_equal(sqlite3_open(path_of(authority, "store.db"), &file), SQLITE_OK);
		assert_int_equal(sqlite3_exec(file, sql, NULL, NULL, NULL), SQLITE_OK);
		assert_int_equal(sqlite3_close(file), SQLITE_OK);
	}
	harness_open(authority);
	harness_open(&pair->replica);
	const struct store_record *head = harness_get(authority, LEDGER_HEAD_KEY);
	pair->head = (struct ledger_head){0};
	assert_int_equal(ledger_head_parse(head, &pair->head, NULL), 0);
}

/* --- following --- */

static bool is_owed(const struct store *store)
{
	struct pollfd event = {.fd = store_fd(store), .events = POLLIN};
	return poll(&event, 1, 0) > 0;
}

static void settle(struct pair *pair)
{
	while (is_owed(pair->authority.store) || is_owed(pair->replica.store)) {
		store_dispatch(pair->authority.store);
		store_dispatch(pair->replica.store);
	}
}

static void run(struct pair *pair)
{
	if (!pair->follower)
		assert_int_equal(
		    follower_new(pair->authority.store, pair->replica.store, &pair->follower), 0);
	follower_run(pair->follower, pair->now_ms);
	settle(pair);
}

static struct store_page everything(struct harness *harness)
{
	struct store_page page;
	const struct store_range all = {.key = "", .prefix = true};
	assert_int_equal(harness_range(harness, &all, &page), 0);
	assert_false(page.more);
	return page;
}

static bool is_same(struct pair *pair)
{
	struct store_page theirs = everything(&pair->authority);
	struct store_page own = everything(&pair->replica);
	struct store_id id = store_id(pair->authority.store);
	struct store_id own_id = store_id(pair->replica.store);
	if (!store_id_equal(&id, &own_id) || theirs.revision != own.revision ||
	    theirs.count != own.count)
		return false;
	for (size_t i = 0; i < own.count; i++) {
		const struct store_record *a = &theirs.records[i];
		const struct store_record *b = &own.records[i];
		if (strcmp(a->key, b->key) != 0 || a->value_length != b->value_length ||
		    memcmp(a->value, b->value, a->value_length) != 0 ||
		    a->create_revision != b->create_revision ||
		    a->mod_revision != b->mod_revision || a->lease != b->lease)
			return false;
	}
	return true;
}

static void expect_following(struct pair *pair)
{
	run(pair);
	assert_string_equal(follower_alarm(pair->follower), "");
	assert_int_equal(follower_state(pair->follower), FOLLOWER_FOLLOWING);
	assert_true(is_same(pair));
}

/* It stops with a sentence, and the replica is what it was. */
static void expect_refusal(struct pair *pair, enum follower_state state, const char *part)
{
	struct store_page before = everything(&pair->replica);
	struct store_id id = store_id(pair->replica.store);
	run(pair);
	assert_int_equal(follower_state(pair->follower), state);
	if (!strstr(follower_alarm(pair->follower), part))
		fail_msg("\"%s\" does not say \"%s\"", follower_alarm(pair->follower), part);
	struct store_page after = everything(&pair->replica);
	struct store_id id_after = store_id(pair->replica.store);
	assert_int_equal(before.revision, after.revision);
	assert_int_equal(before.count, after.count);
	assert_true(store_id_equal(&id, &id_after));
}

static bool has_history_from(struct harness *harness, uint64_t revision)
{
	struct store_page page;
	const struct store_range then = {.key = "a", .revision = revision};
	return harness_range(harness, &then, &page) == 0;
}

static void a_replica_becomes_a_verbatim_copy(void **state)
{
	struct pair *pair = *state;
	harness_put(&pair->replica, "own", "of no use");
	for (int i = 0; i < 5; i++)
		change(pair, "a", "before");
	harness_put(&pair->authority, "observed", "no entry tells of it");
	expect_following(pair);
	for (int i = 0; i < 5; i++) {
		change(pair, i % 2 ? "a" : "b", "after");
		harness_delete(&pair->authority, i % 2 ? "observed" : "nothing");
		expect_following(pair);
	}
}

static void a_restart_goes_on_where_it_was(void **state)
{
	struct pair *pair = *state;
	change(pair, "a", "1");
	change(pair, "a", "2");
	expect_following(pair);
	uint64_t revision = everything(&pair->replica).revision;
	close_both(pair);
	harness_open(&pair->authority);
	harness_open(&pair->replica);
	change(pair, "a", "3");
	harness_put(&pair->authority, "b", "4");
	expect_following(pair);
	/* It was watched, not read anew: that would have cut history off. */
	assert_true(has_history_from(&pair->replica, revision));
}

static void who_missed_too_much_reads_everything(void **state)
{
	struct pair *pair = *state;
	change(pair, "a", "1");
	expect_following(pair);
	uint64_t revision = everything(&pair->replica).revision;
	close_both(pair);
	pair->authority.history_revisions = 4;
	harness_open(&pair->authority);
	harness_open(&pair->replica);
	for (int i = 0; i < 20; i++)
		change(pair, "a", "2");
	expect_following(pair);
	assert_false(has_history_from(&pair->replica, revision));
	change(pair, "a", "3");
	expect_following(pair);
}

/* After one voter became three, say: the numbers begin anew, and lower. */
static void another_authority_is_followed_by_chain(void **state)
{
	struct pair *pair = *state;
	for (int i = 0; i < 40; i++)
		harness_put(&pair->authority, "a", "many revisions");
	change(pair, "a", "1");
	expect_following(pair);
	back_up(pair, "other");
	restore(pair, "other",
		"UPDATE authority SET id = x'00112233445566778899aabbccddeeff';"
		"DELETE FROM record WHERE mod_revision < 41;"
		"UPDATE record SET mod_revision = 2, create_revision = 2;"
		"UPDATE state SET revision = 2, compacted = 2");
	change(pair, "a", "2");
	expect_following(pair);
	assert_int_equal(everything(&pair->replica).revision, 3);
	change(pair, "a", "3");
	expect_following(pair);
}

static void one_that_is_behind_is_not_followed(void **state)
{
	struct pair *pair = *state;
	change(pair, "a", "1");
	back_up(pair, "early");
	back_up(pair, "early and renamed");
	change(pair, "a", "2");
	back_up(pair, "late");
	expect_following(pair);
	restore(pair, "early", NULL);
	expect_refusal(pair, FOLLOWER_BEHIND, "does not have entry 2");
	/* A larger number is not newer. */
	harness_put(&pair->authority, "b", "x");
	harness_put(&pair->authority, "b", "y");
	pair->now_ms += FOLLOWER_REFUSED_RETRY_MS;
	expect_refusal(pair, FOLLOWER_BEHIND, "does not have entry 2");
	restore(pair, "early and renamed",
		"UPDATE authority SET id = x'00112233445566778899aabbccddeeff'");
	expect_refusal(pair, FOLLOWER_BEHIND, "does not have entry 2");
	restore(pair, "late", NULL);
	expect_following(pair);
}

static void a_fork_is_not_followed(void **state)
{
	struct pair *pair = *state;
	change(pair, "a", "1");
	back_up(pair, "early");
	change(pair, "a", "2");
	expect_following(pair);
	restore(pair, "early", NULL);
	/* The same number of the same history, and another content. */
	change(pair, "a", "another");
	expect_refusal(pair, FOLLOWER_FORKED, "entry 2 is another one");
	change(pair, "a", "and more");
	pair->now_ms += FOLLOWER_REFUSED_RETRY_MS;
	expect_refusal(pair, FOLLOWER_FORKED, "entry 2 is another one");
	assert_string_equal(harness_get(&pair->replica, "a")->value, "2");
}

static void an_entry_that_does_not_continue_the_chain_is_not_taken_in(void **state)
{
	struct pair *pair = *state;
	change(pair, "a", "1");
	struct ledger_head first = pair->head;
	change(pair, "a", "2");
	expect_following(pair);
	/* Entry 3 as one that follows entry 1's hash. */
	pair->head = (struct ledger_head){
	    .sequence = 2, .digest = first.digest, .mod_revision = pair->head.mod_revision};
	change(pair, "a", "3");
	expect_refusal(pair, FOLLOWER_FORKED, "entry 3 is another one");
	assert_string_equal(harness_get(&pair->replica, "a")->value, "2");
}

static void a_deleted_entry_is_not_taken_in(void **state)
{
	struct pair *pair = *state;
	char key[LEDGER_KEY_BYTES];
	change(pair, "a", "1");
	change(pair, "a", "2");
	expect_following(pair);
	harness_delete(&pair->authority, ledger_key_format(1, key));
	expect_refusal(pair, FOLLOWER_FAILED, "was deleted");
	assert_non_null(harness_get(&pair->replica, key));
}

#define FLOOD_OPS 100

/* `history`: of the authority; with less than the flood it has to be read anew. */
static void flood(struct pair *pair, uint64_t history)
{
	close_both(pair);
	pair->authority.history_revisions = history;
	pair->replica.history_revisions = 1000;
	harness_open(&pair->authority);
	harness_open(&pair->replica);
	change(pair, "a", "1");
	expect_following(pair);
	uint64_t revision = everything(&pair->replica).revision;
	/* More than the follower lets wait: told while the replica writes. */
	char keys[FLOOD_OPS][16];
	struct store_op ops[FLOOD_OPS];
	for (int i = 0; i < FLOOD_OPS; i++) {
		snprintf(keys[i], sizeof(keys[i]), "b/%d", i);
		ops[i] = (struct store_op){
		    .kind = STORE_PUT, .key = keys[i], .value = "x", .value_length = 1};
	}
	const struct store_txn txn = {.ops = ops, .op_count = FLOOD_OPS};
	struct store_txn_outcome outcome;
	for (int i = 0; i < 60; i++)
		assert_int_equal(harness_txn(&pair->authority, &txn, &outcome), 0);
	assert_false(is_same(pair));
	run(pair);
	expect_following(pair);
	assert_int_equal(has_history_from(&pair->replica, revision), history > 60);
}

static void a_flood_is_taken_in_whole(void **state)
{
	flood(*state, 1000);
	flood(*state, 4);
}

static void an_authority_that_is_not_known_is_waited_for(void **state)
{
	struct pair *pair = *state;
	expect_following(pair); /* of an empty one */
	close_both(pair);
	harness_open(&pair->authority);
	harness_open(&pair->replica);
	/* Closed while it reads: nothing comes any more. */
	assert_int_equal(follower_new(pair->authority.store, pair->replica.store, &pair->follower),
			 0);
	follower_run(pair->follower, 1);
	store_dispatch(pair->replica.store);
	close_both(pair);
	harness_open(&pair->authority);
	harness_open(&pair->replica);
	change(pair, "a", "1");
	expect_following(pair);
}

/* It is left in the middle, and begins anew with what is there then; nothing is taken in twice. */
static void who_is_left_is_taken_up_again(void **state)
{
	struct pair *pair = *state;
	change(pair, "a", "1");
	expect_following(pair);
	uint64_t revision = everything(&pair->replica).revision;
	follower_leave(pair->follower);
	assert_int_equal(follower_state(pair->follower), FOLLOWER_CATCHING_UP);
	assert_string_equal(follower_alarm(pair->follower), "");
	change(pair, "a", "2");
	settle(pair);
	assert_int_equal(everything(&pair->replica).revision, revision);
	/* A question to the replica is under way when it is left. */
	follower_run(pair->follower, pair->now_ms);
	follower_leave(pair->follower);
	follower_run(pair->follower, pair->now_ms);
	settle(pair);
	expect_following(pair);
	assert_true(has_history_from(&pair->replica, revision));
	/* An import is. */
	change(pair, "a", "3");
	store_dispatch(pair->authority.store);
	follower_leave(pair->follower);
	settle(pair);
	expect_following(pair);
	assert_true(has_history_from(&pair->replica, revision));
}

/* The authority goes on without entry 2, which the replica has; `names` it, or another one. */
static void recover(struct pair *pair, const struct digest *lost)
{
	struct ledger_append append;
	struct store_txn_outcome outcome;
	struct store_op ops[LEDGER_APPEND_OPS + 1];
	struct buffer value;
	struct arena *arena = &pair->authority.arena;
	const struct placement_recovery recovery = {
	    .sequence = 1002, .numbers = 1001, .lost_sequence = 2, .lost_digest = *lost};
	json_t *what = json_pack("{s:i, s:i}", "after", 1, "lost", 2);
	const struct ledger_change told = {.sequence = 1002,
					   .time_ms = 1,
					   .who = "alice",
					   .why = "",
					   .kind = LEDGER_KIND_RECOVER,
					   .what = what};
	assert_int_equal(ledger_append_ops(&pair->head, pair->signer, &told, arena, &append, NULL),
			 0);
	json_decref(what);
	buffer_init(&value, 4096);
	assert_int_equal(recovered_put(&recovery, &value), 0);
	memcpy(ops, append.ops, append.op_count * sizeof(*ops));
	ops[append.op_count] = (struct store_op){.kind = STORE_PUT,
						 .key = RECORD_RECOVERED_KEY,
						 .value = value.data,
						 .value_length = value.length};
	const struct store_txn txn = {.compares = append.compares,
				      .compare_count = append.compare_count,
				      .ops = ops,
				      .op_count = append.op_count + 1};
	assert_int_equal(harness_txn(&pair->authority, &txn, &outcome), 0);
	buffer_done(&value);
	pair->head = append.head;
	pair->head.mod_revision = outcome.revision;
}

static void a_recovery_is_followed_by_whom_it_names(void **state)
{
	struct pair *pair = *state;
	const struct digest other = {{7}};
	change(pair, "a", "1");
	back_up(pair, "early");
	back_up(pair, "early too");
	change(pair, "a", "2");
	struct digest lost = pair->head.digest;
	expect_following(pair);
	restore(pair, "early", NULL);
	recover(pair, &other);
	change(pair, "a", "another");
	expect_refusal(pair, FOLLOWER_FORKED, "entry 1002 is another one");
	restore(pair, "early too", NULL);
	recover(pair, &lost);
	change(pair, "a", "another");
	expect_following(pair);
	assert_string_equal(harness_get(&pair->replica, "a")->value, "another");
	change(pair, "a", "and more");
	expect_following(pair);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    CASE(a_replica_becomes_a_verbatim_copy),
	    CASE(a_restart_goes_on_where_it_was),
	    CASE(who_missed_too_much_reads_everything),
	    CASE(another_authority_is_followed_by_chain),
	    CASE(one_that_is_behind_is_not_followed),
	    CASE(a_fork_is_not_followed),
	    CASE(an_entry_that_does_not_continue_the_chain_is_not_taken_in),
	    CASE(a_deleted_entry_is_not_taken_in),
	    CASE(a_flood_is_taken_in_whole),
	    CASE(an_authority_that_is_not_known_is_waited_for),
	    CASE(who_is_left_is_taken_up_again),
	    CASE(a_recovery_is_followed_by_whom_it_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
