/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a start finds, and what it may do by that: the store, its content, the last good copy, the
 * mark. The faults of a whole node are in tests/lab/test_faults_store.py.
 */
#include "state/replica.h"

#include "base/arena.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static struct replica_options options;
static struct replica replica;
static struct image image;
static struct error err;

static int set_up(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/fairlead-test-XXXXXX");
	options = (struct replica_options){
	    .folder = folder, .node = "edge1", .clock = &clock_system, .disk = &disk_system};
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
	(void)status;
	(void)kind;
	(void)walk;
	return remove(path);
}

static void stop(void)
{
	image_done(&image);
	store_close(replica.store);
	ledger_signer_free(replica.signer);
	replica = (struct replica){0};
}

static int tear_down(void **state)
{
	(void)state;
	stop();
	return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *path_of(const char *name)
{
	static char path[4][128];
	static unsigned next;
	next = (next + 1) % 4;
	snprintf(path[next], sizeof(path[next]), "%s/%s", folder, name);
	return path[next];
}

static void start(void)
{
	if (replica_open(&options, &replica, &image, &err) < 0)
		fail_msg("%s", err.text);
}

/* A start that ended in order. */
static void start_and_stop(void)
{
	start();
	crashes_take_back(&replica.crashes);
	stop();
}

/* --- a history --- */

static void on_txn(void *context, int result, const struct error *error,
		   const struct store_txn_outcome *outcome)
{
	(void)error, (void)outcome;
	assert_int_equal(result, 0);
	*(bool *)context = true;
}

/* One more ledger entry, of which `what` tells; where it lies then. */
static struct ledger_position append(const char *what)
{
	bool done = false;
	struct arena arena;
	struct ledger_append parts;
	json_t *told = json_pack("{s:s}", "what", what);
	const struct ledger_change change = {
	    .time_ms = 1, .who = "alice", .why = "", .kind = "apply", .what = told};
	arena_init(&arena, 0);
	assert_int_equal(
	    ledger_append_ops(&image.head, replica.signer, &change, &arena, &parts, NULL), 0);
	const struct store_txn txn = {.compares = parts.compares,
				      .compare_count = parts.compare_count,
				      .ops = parts.ops,
				      .op_count = parts.op_count};
	assert_int_equal(store_txn(replica.store, &txn, on_txn, &done, NULL), 0);
	assert_int_equal(store_wait(replica.store, &done, 10000, NULL), 0);
	json_decref(told);
	arena_done(&arena);
	image_done(&image);
	assert_int_equal(image_load(&image, replica.store, 0, NULL), 0);
	return (struct ledger_position){.sequence = image.head.sequence,
					.digest = image.head.digest};
}

static void acknowledge(const struct ledger_position *position)
{
	const struct mark_note note = {.position = *position};
	assert_int_equal(replica_acknowledge(&replica, &note, NULL), 0);
}

static void copy_to(const char *name)
{
	assert_int_equal(store_sqlite_copy(folder, &disk_system, path_of(name), NULL), 0);
}

static void put_back(const char *from, const char *to)
{
	assert_int_equal(rename(path_of(from), path_of(to)), 0);
}

static void spoil(const char *name)
{
	static const char text[] = "nothing that SQLite has ever written";
	assert_int_equal(disk_replace(&disk_system, path_of(name), text, sizeof(text), 0600, NULL),
			 0);
}

/* --- */

static void expect(enum replica_kind kind, enum replica_standing standing, uint64_t sequence)
{
	assert_int_equal(replica.kind, kind);
	assert_int_equal(replica.standing, standing);
	assert_int_equal(image.head.sequence, sequence);
	bool writable = kind == REPLICA_STORE && standing == REPLICA_CURRENT;
	assert_int_equal(replica_is_writable(&replica), writable);
	assert_int_equal(*replica.refusal == '\0', writable);
	assert_int_equal(*replica.why == '\0', kind == REPLICA_STORE);
	assert_int_equal(*replica.behind == '\0', standing == REPLICA_CURRENT);
	assert_int_equal(replica.signer != NULL, kind == REPLICA_STORE);
}

static void expect_said(const char *text, const char *part)
{
	if (!strstr(text, part))
		fail_msg("\"%s\" does not say \"%s\"", text, part);
}

static void a_first_start_begins_a_ledger(void **state)
{
	(void)state;
	start();
	expect(REPLICA_STORE, REPLICA_CURRENT, 1);
	struct ledger_position position = append("more");
	acknowledge(&position);
	stop();
	start();
	expect(REPLICA_STORE, REPLICA_CURRENT, 2);
	assert_int_equal(replica.acknowledged.sequence, 2);
	/* A store may be ahead of what was acknowledged. */
	append("and more");
	stop();
	start();
	expect(REPLICA_STORE, REPLICA_CURRENT, 3);
}

/* The database alone is put back: the mark lies beside it. */
static void an_older_database_is_known_by_the_mark(void **state)
{
	(void)state;
	start();
	copy_to("older");
	struct ledger_position position = append("more");
	acknowledge(&position);
	stop();
	put_back("older", "store.db");
	start();
	expect(REPLICA_STORE, REPLICA_OLDER, 1);
	expect_said(replica.refusal, "it ends at ledger entry 1, and entry 2 was acknowledged");
	expect_said(replica.refusal, "fairlead store recover");
}

/* A peer remembers what this node forgot. */
static void what_a_peer_remembers_is_a_mark(void **state)
{
	(void)state;
	start();
	copy_to("older");
	struct ledger_position position = append("more");
	acknowledge(&position);
	stop();
	put_back("older", "store.db");
	assert_int_equal(unlink(path_of(MARK_FILE)), 0);
	start();
	expect(REPLICA_STORE, REPLICA_CURRENT, 1);
	const struct ledger_position known = {.sequence = 1, .digest = image.head.digest};
	assert_int_equal(replica_learn(&replica, &image, &known, NULL), 0);
	expect(REPLICA_STORE, REPLICA_CURRENT, 1);
	assert_int_equal(replica_learn(&replica, &image, &position, NULL), 0);
	expect(REPLICA_STORE, REPLICA_OLDER, 1);
	assert_true(replica.has_peers);
	/* Durably. */
	stop();
	start();
	expect(REPLICA_STORE, REPLICA_OLDER, 1);
}

/* Others may have more: nothing is decided, and nothing else is different. */
static void what_awaits_others_takes_no_orders(void **state)
{
	(void)state;
	start();
	assert_false(replica_await(&replica, ""));
	assert_true(replica_await(&replica, "two edges were not heard"));
	assert_false(replica_await(&replica, "two edges were not heard"));
	assert_false(replica_is_writable(&replica));
	assert_int_equal(replica.standing, REPLICA_CURRENT);
	assert_string_equal(replica.refusal, "two edges were not heard");
	assert_true(replica_await(&replica, ""));
	expect(REPLICA_STORE, REPLICA_CURRENT, 1);
}

/* The whole folder is put back, and the pinned maps still know. */
static void an_older_folder_is_known_by_the_pinned_maps(void **state)
{
	(void)state;
	start();
	append("more");
	struct ledger_position newer = append("and more");
	stop();
	options.pinned.position.sequence = newer.sequence + 1;
	start();
	expect(REPLICA_STORE, REPLICA_OLDER, 3);
	stop();
	/* They are gone after a power loss, and what they knew is not. */
	options.pinned = (struct mark_note){0};
	start();
	expect(REPLICA_STORE, REPLICA_OLDER, 3);
	stop();
	assert_int_equal(unlink(path_of("mark")), 0);
	options.pinned.position = newer;
	start();
	expect(REPLICA_STORE, REPLICA_CURRENT, 3);
}

/* An older copy may know nothing of them. */
static void a_mark_knows_of_peers(void **state)
{
	struct mark_note note = {.has_peers = true};
	(void)state;
	start();
	assert_false(replica.has_peers);
	note.position = append("others join");
	assert_int_equal(replica_acknowledge(&replica, &note, NULL), 0);
	assert_true(replica.has_peers);
	stop();
	start();
	assert_true(replica.has_peers);
	stop();
	/* The newer mark says so, and an older one does not matter. */
	options.pinned.position = note.position;
	options.pinned.position.sequence--;
	start();
	assert_true(replica.has_peers);
	stop();
	options.pinned.position.sequence += 2;
	start();
	assert_false(replica.has_peers);
	stop();
	assert_int_equal(unlink(path_of("mark")), 0);
	options.pinned.has_peers = true;
	start();
	assert_true(replica.has_peers);
	stop();
	options.pinned = (struct mark_note){0};
	start();
	assert_true(replica.has_peers);
}

/* --- a node that follows --- */

static void reload(void)
{
	image_done(&image);
	assert_int_equal(image_load(&image, replica.store, 0, NULL), 0);
}

/* An empty store is one that is to be filled, whatever was there before. */
static void a_follower_begins_no_ledger(void **state)
{
	(void)state;
	options.follows = true;
	start();
	expect(REPLICA_STORE, REPLICA_CURRENT, 0);
	acknowledge(&(struct ledger_position){.sequence = 1});
	stop();
	assert_int_equal(unlink(path_of("store.db")), 0);
	start();
	expect(REPLICA_STORE, REPLICA_OLDER, 0);
}

/* Its own are these entries, but the rest is as another's revisions would bring them. */
static void a_follower_catches_up(void **state)
{
	(void)state;
	start();
	copy_to("older");
	append("more");
	struct ledger_position position = append("and more");
	acknowledge(&position);
	stop();
	put_back("older", "store.db");
	options.follows = true;
	start();
	expect(REPLICA_STORE, REPLICA_OLDER, 1);
	append("more");
	replica_moved(&replica, &image);
	expect(REPLICA_STORE, REPLICA_OLDER, 2);
	append("and more");
	replica_moved(&replica, &image);
	expect(REPLICA_STORE, REPLICA_CURRENT, 3);
	/* Read anew, at once. */
	stop();
	start();
	expect(REPLICA_STORE, REPLICA_CURRENT, 3);
	reload();
	assert_int_equal(replica_judge(&replica, &image, NULL), 0);
	expect(REPLICA_STORE, REPLICA_CURRENT, 3);
}

static void a_follower_on_another_chain_does_not(void **state)
{
	(void)state;
	start();
	copy_to("older");
	struct ledger_position position = append("this way");
	acknowledge(&position);
	stop();
	put_back("older", "store.db");
	options.follows = true;
	start();
	append("that way");
	replica_moved(&replica, &image);
	expect(REPLICA_STORE, REPLICA_FORKED, 2);
	append("and on");
	replica_moved(&replica, &image);
	expect(REPLICA_STORE, REPLICA_FORKED, 3);
	reload();
	assert_int_equal(replica_judge(&replica, &image, NULL), 0);
	expect(REPLICA_STORE, REPLICA_FORKED, 3);
}

static void another_history_is_known_by_its_hash(void **state)
{
	(void)state;
	start();
	copy_to("older");
	struct ledger_position position = append("this way");
	acknowledge(&position);
	stop();
	put_back("older", "store.db");
	assert_int_equal(rename(path_of("mark"), path_of("mark.away")), 0);
	start();
	append("that way");
	append("and on");
	stop();
	put_back("mark.away", "mark");
	start();
	expect(REPLICA_STORE, REPLICA_FORKED, 3);
	expect_said(replica.refusal, "entry 2 is not the one that was acknowledged");
}

static void a_damaged_mark_is_not_no_mark(void **state)
{
	(void)state;
	start();
	struct ledger_position position = append("more");
	stop();
	spoil("mark");
	start();
	expect(REPLICA_STORE, REPLICA_OLDER, 2);
	expect_said(replica.refusal, "the mark of what this node acknowledged is damaged");
	stop();
	options.pinned.position = position;
	start();
	expect(REPLICA_STORE, REPLICA_CURRENT, 2);
	acknowledge(&position);
	stop();
	options.pinned = (struct mark_note){0};
	start();
	expect(REPLICA_STORE, REPLICA_CURRENT, 2);
}

static void a_damaged_store_gives_way_to_the_last_good_copy(void **state)
{
	struct stat before;
	struct stat after;
	(void)state;
	start();
	struct ledger_position position = append("more");
	acknowledge(&position);
	copy_to(COPY_GOOD_FILE);
	copy_to("backup");
	stop();
	spoil("store.db");
	assert_int_equal(stat(path_of("store.db"), &before), 0);
	start();
	expect(REPLICA_GOOD, REPLICA_CURRENT, 2);
	expect_said(replica.why, "the store is damaged");
	expect_said(replica.why, "its last good copy (ledger entry 2)");
	assert_int_equal(stat(path_of("store.db"), &after), 0);
	assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	assert_false(replica_may_return(&replica, &options));
	put_back("backup", "store.db");
	assert_true(replica_may_return(&replica, &options));
	stop();
	start();
	expect(REPLICA_STORE, REPLICA_CURRENT, 2);
}

static void a_copy_may_be_older_than_the_mark(void **state)
{
	(void)state;
	start();
	copy_to(COPY_GOOD_FILE);
	struct ledger_position position = append("more");
	acknowledge(&position);
	stop();
	spoil("store.db");
	start();
	expect(REPLICA_GOOD, REPLICA_OLDER, 1);
	expect_said(replica.refusal, "the store is damaged");
	expect_said(replica.behind, "entry 2 was acknowledged");
}

/* Whoever had a store is no new node. */
static void a_missing_store_begins_no_second_ledger(void **state)
{
	(void)state;
	start();
	struct ledger_position position = append("more");
	acknowledge(&position);
	copy_to(COPY_GOOD_FILE);
	copy_to("backup");
	stop();
	assert_int_equal(unlink(path_of("store.db")), 0);
	start();
	expect(REPLICA_GOOD, REPLICA_CURRENT, 2);
	expect_said(replica.why, "store.db is missing, though this node has had one");
	stop();
	assert_int_equal(unlink(path_of(COPY_GOOD_FILE)), 0);
	start();
	expect(REPLICA_NOTHING, REPLICA_OLDER, 0);
	assert_int_equal(access(path_of("store.db"), F_OK), -1);
	stop();
	assert_int_equal(unlink(path_of("mark")), 0);
	options.pinned.position = position;
	start();
	expect(REPLICA_NOTHING, REPLICA_OLDER, 0);
	assert_false(replica_may_return(&replica, &options));
	put_back("backup", "store.db");
	assert_true(replica_may_return(&replica, &options));
	stop();
	/* An empty one in its place is none either. */
	assert_int_equal(disk_replace(&disk_system, path_of("store.db"), "", 0, 0600, NULL), 0);
	start();
	expect(REPLICA_NOTHING, REPLICA_OLDER, 0);
	expect_said(replica.why, "store.db is empty");
}

static void what_an_earlier_release_left_says_that_there_was_a_store(void **state)
{
	(void)state;
	spoil("snapshot.good");
	start();
	expect(REPLICA_NOTHING, REPLICA_CURRENT, 0);
	replica_set_behind_maps(&replica);
	expect(REPLICA_NOTHING, REPLICA_OLDER, 0);
	replica_remove_former(folder);
	assert_int_equal(access(path_of("snapshot.good"), F_OK), -1);
}

static void everything_is_damaged(void **state)
{
	(void)state;
	start();
	copy_to(COPY_GOOD_FILE);
	stop();
	spoil("store.db");
	spoil(COPY_GOOD_FILE);
	assert_int_equal(replica_open(&options, &replica, &image, &err), -FL_ECORRUPT);
	expect_said(err.text, "store.db: the store is damaged");
	expect_said(err.text, "Nothing can stand in");
	expect_said(err.text, "replica.good");
}

static void a_state_belongs_to_one_node(void **state)
{
	(void)state;
	start();
	copy_to(COPY_GOOD_FILE);
	stop();
	options.node = "edge2";
	assert_int_equal(replica_open(&options, &replica, &image, &err), -FL_ESTATE);
	expect_said(err.text, "is the state of node edge1, not of edge2");
	spoil("store.db");
	assert_int_equal(replica_open(&options, &replica, &image, &err), -FL_ECORRUPT);
	expect_said(err.text, "is the state of node edge1, not of edge2");
}

/* --- crashes --- */

#define NEWER 5 /* the entry on which it crashed */

static void crash(unsigned count)
{
	struct crashes crashes;
	crashes_read(&crashes, &disk_system, folder);
	crashes.count = count - 1;
	crashes_expect(&crashes, NEWER);
}

static void crashes_lead_to_the_last_good_copy(void **state)
{
	(void)state;
	start();
	copy_to(COPY_GOOD_FILE);
	append("more");
	stop();
	crash(REPLICA_CRASHES - 1);
	start_and_stop();
	crash(REPLICA_CRASHES);
	start();
	expect(REPLICA_GOOD, REPLICA_CURRENT, 1);
	assert_true(replica.crashed);
	expect_said(replica.why, "ended uncleanly 3 times");
	assert_false(replica_may_return(&replica, &options));
}

static void a_state_that_was_good_is_not_fallen_back_from(void **state)
{
	(void)state;
	start();
	while (image.head.sequence < NEWER)
		append("more");
	copy_to(COPY_GOOD_FILE);
	stop();
	crash(REPLICA_CRASHES);
	start();
	expect(REPLICA_STORE, REPLICA_CURRENT, NEWER);
}

/* The store is all there is then, and it takes orders. */
static void a_copy_that_cannot_be_read_leads_nowhere(void **state)
{
	(void)state;
	start_and_stop();
	spoil(COPY_GOOD_FILE);
	crash(REPLICA_CRASHES);
	start();
	expect(REPLICA_STORE, REPLICA_CURRENT, 1);
}

/* --- the mark's file --- */

static void a_mark_goes_over_the_older_one(void **state)
{
	struct mark mark;
	struct mark again;
	char spoilt[4096] = {0};
	(void)state;
	assert_int_equal(mark_read(&mark, &disk_system, folder), 0);
	assert_false(mark.is_damaged);
	for (uint64_t sequence = 8; sequence < 13; sequence++) {
		const struct mark_note note = {
		    .position = {.sequence = sequence, .digest.bytes = {(uint8_t)sequence}},
		    .has_peers = sequence % 2};
		assert_int_equal(mark_write(&mark, &note, NULL), 0);
		assert_int_equal(mark_read(&again, &disk_system, folder), 0);
		assert_int_equal(again.newest.position.sequence, sequence);
		assert_int_equal(again.newest.position.digest.bytes[0], sequence);
		assert_int_equal(again.newest.has_peers, sequence % 2);
	}
	const struct mark_note older = {.position.sequence = 3};
	assert_int_equal(mark_write(&mark, &older, NULL), 0);
	assert_int_equal(mark.newest.position.sequence, 12);
	/* What a power loss may spoil is the newer one; the one before it is still there. */
	assert_int_equal(
	    disk_system.update(NULL, mark.path, (off_t)(mark.slot * 4096), spoilt, sizeof(spoilt)),
	    0);
	assert_int_equal(mark_read(&again, &disk_system, folder), 0);
	assert_int_equal(again.newest.position.sequence, 11);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    CASE(a_first_start_begins_a_ledger),
	    CASE(an_older_database_is_known_by_the_mark),
	    CASE(an_older_folder_is_known_by_the_pinned_maps),
	    CASE(what_a_peer_remembers_is_a_mark),
	    CASE(what_awaits_others_takes_no_orders),
	    CASE(a_mark_knows_of_peers),
	    CASE(a_follower_begins_no_ledger),
	    CASE(a_follower_catches_up),
	    CASE(a_follower_on_another_chain_does_not),
	    CASE(another_history_is_known_by_its_hash),
	    CASE(a_damaged_mark_is_not_no_mark),
	    CASE(a_damaged_store_gives_way_to_the_last_good_copy),
	    CASE(a_copy_may_be_older_than_the_mark),
	    CASE(a_missing_store_begins_no_second_ledger),
	    CASE(what_an_earlier_release_left_says_that_there_was_a_store),
	    CASE(everything_is_damaged),
	    CASE(a_state_belongs_to_one_node),
	    CASE(crashes_lead_to_the_last_good_copy),
	    CASE(a_state_that_was_good_is_not_fallen_back_from),
	    CASE(a_copy_that_cannot_be_read_leads_nowhere),
	    CASE(a_mark_goes_over_the_older_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
