/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power loss at every write, sync and change of a name that the store, a replica, the last good
 * copy, the mark and the count of crashes make, on a simulated disk (power_disk.h). For each such
 * event a whole history is played up to it, the power goes, and what the disk has left is opened
 * again:
 *
 * - every txn that was acknowledged is there, whole; the one under way is there whole or not at
 *   all; the ledger verifies and tells of exactly these;
 * - a retry with the id of a txn that is there does nothing and says what it did; with that of one
 *   that is not, it does it;
 * - a replica is at one position of its authority or at the next, whole;
 * - the last good copy is the one before or the one after, and sound, and so is the mark.
 *
 * FAIRLEAD_SEED=N plays one seed; FAIRLEAD_SOAK_S=N goes on with new seeds for N seconds.
 */
#include "base/arena.h"
#include "base/clock.h"
#include "ledger/ledger.h"
#include "power_disk.h"
#include "state/crashes.h"
#include "state/mark.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SEEDS 3
#define TXNS 9
#define REOPEN_AFTER 5 /* txns: closing writes the log into the file */
#define WAIT_MS 20000

static char folder[] = "/tmp/fairlead-power-XXXXXX";
static uint64_t seed;
static uint64_t cut_at;

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			fail_msg("%s (seed %llu, cut at event %llu)", #condition,                  \
				 (unsigned long long)seed, (unsigned long long)cut_at);            \
	} while (0)

static int setup(void **state)
{
	(void)state;
	power_disk_register();
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	static const char *const names[] = {"store.db", "store.lock", "node.key"};
	(void)state;
	power_disk_done();
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		char path[128];
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		unlink(path);
	}
	return rmdir(folder);
}

/* --- a history of txns --- */

struct history {
	struct arena arena;
	struct store *store;
	struct ledger_signer *signer;
	struct ledger_head head;
	unsigned acknowledged; /* txns, the one that introduces the key among them */
	struct store_txn txns[TXNS + 1]; /* as they were sent, for retries */
	uint64_t revisions[TXNS + 1];
};

struct outcome {
	bool done;
	int result;
	struct store_txn_outcome txn;
};

static void on_txn(void *context, int result, const struct error *err,
		   const struct store_txn_outcome *outcome)
{
	struct outcome *ours = context;
	(void)err;
	ours->done = true;
	ours->result = result;
	if (outcome)
		ours->txn = *outcome;
}

static int send(struct store *store, const struct store_txn *txn, struct store_txn_outcome *outcome)
{
	struct outcome ours = {0};
	CHECK(store_txn(store, txn, on_txn, &ours, NULL) == 0);
	CHECK(store_wait(store, &ours.done, WAIT_MS, NULL) == 0);
	*outcome = ours.txn;
	return ours.result;
}

static int open_store(struct history *history)
{
	const struct store_sqlite_options options = {
	    .folder = folder, .clock = &clock_system, .history_revisions = 4};
	return store_open_sqlite(&options, &history->store, NULL);
}

#define VALUE_BYTES 6000u /* more than a page of the file */

static char *value_of(struct history *history, unsigned number, const char *key)
{
	char *value = arena_alloc(&history->arena, VALUE_BYTES);
	assert_non_null(value);
	memset(value, 'a' + (int)(number % 26), VALUE_BYTES);
	snprintf(value, VALUE_BYTES, "%s %u ", key, number);
	return value;
}

static struct ledger_append append_of(struct history *history, unsigned number)
{
	struct ledger_append append;
	json_t *what = json_pack("{s:i}", "number", (int)number);
	const struct ledger_change change = {
	    .time_ms = 1000u + number, .who = "walker", .why = "", .kind = "step", .what = what};
	int result = number
			 ? ledger_append_ops(&history->head, history->signer, &change,
					     &history->arena, &append, NULL)
			 : ledger_introduce_ops(&history->head, history->signer, &change, "edge1",
						ledger_signer_public_key(history->signer),
						&history->arena, &append, NULL);
	json_decref(what);
	assert_int_equal(result, 0);
	return append;
}

/* Txn `number`: two values that belong together, a key of its own, and the ledger's entry. */
static const struct store_txn *build(struct history *history, unsigned number,
				     struct ledger_head *ret_head)
{
	struct ledger_append append = append_of(history, number);
	struct store_op *ops = arena_array(&history->arena, 8, sizeof(*ops));
	struct store_compare *compares = arena_array(&history->arena, 8, sizeof(*compares));
	assert_non_null(ops);
	assert_non_null(compares);
	memcpy(ops, append.ops, append.op_count * sizeof(*ops));
	memcpy(compares, append.compares, append.compare_count * sizeof(*compares));
	const char *keys[] = {"left", "right", arena_printf(&history->arena, "own/%04u", number)};
	size_t count = append.op_count;
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		ops[count++] = (struct store_op){.kind = STORE_PUT,
						 .key = keys[i],
						 .value = value_of(history, number, keys[i]),
						 .value_length = VALUE_BYTES};
	history->txns[number] =
	    (struct store_txn){.compares = compares,
			       .compare_count = append.compare_count,
			       .ops = ops,
			       .op_count = count,
			       .id = arena_printf(&history->arena, "id-%u", number)};
	*ret_head = append.head;
	return &history->txns[number];
}

/* False when the power went. */
static bool step(struct history *history, unsigned number)
{
	struct ledger_head head;
	struct store_txn_outcome outcome;
	if (send(history->store, build(history, number, &head), &outcome) < 0)
		return false;
	history->head = head;
	history->head.mod_revision = outcome.revision;
	history->revisions[number] = outcome.revision;
	history->acknowledged++;
	return true;
}

static void play(struct history *history)
{
	*history = (struct history){0};
	arena_init(&history->arena, 0);
	assert_int_equal(ledger_signer_open(folder, "edge1", &history->signer, NULL), 0);
	bool alive = open_store(history) == 0;
	for (unsigned number = 0; alive && number <= TXNS; number++) {
		if (number == REOPEN_AFTER) {
			store_close(history->store);
			history->store = NULL;
			alive = open_store(history) == 0;
		}
		alive = alive && step(history, number);
	}
	store_close(history->store);
	history->store = NULL;
}

static void history_done(struct history *history)
{
	store_close(history->store);
	ledger_signer_free(history->signer);
	arena_done(&history->arena);
}

/* --- what is left of it --- */

struct read {
	bool done;
	int result;
	size_t count;
	uint64_t mod_revision;
	char value[VALUE_BYTES];
	size_t length;
};

static void on_read(void *context, int result, const struct error *err,
		    const struct store_page *page)
{
	struct read *read = context;
	(void)err;
	read->done = true;
	read->result = result;
	read->count = result == 0 ? page->count : 0;
	if (!read->count)
		return;
	const struct store_record *record = &page->records[0];
	read->mod_revision = record->mod_revision;
	read->length = record->value_length;
	CHECK(read->length <= sizeof(read->value));
	memcpy(read->value, record->value, record->value_length);
}

static void read_key(struct store *store, const char *key, struct read *read)
{
	*read = (struct read){0};
	const struct store_range range = {.key = key};
	CHECK(store_range(store, &range, on_read, read, NULL) == 0);
	CHECK(store_wait(store, &read->done, WAIT_MS, NULL) == 0);
	CHECK(read->result == 0);
}

static void expect(struct history *history, const char *key, unsigned number, bool there)
{
	static struct read read;
	read_key(history->store, key, &read);
	CHECK(read.count == (there ? 1 : 0));
	if (there) {
		CHECK(read.length == VALUE_BYTES);
		CHECK(memcmp(read.value, value_of(history, number, key), VALUE_BYTES) == 0);
	}
}

struct verdict {
	bool done;
	int result;
	uint64_t entries;
};

static void on_verified(void *context, int result, const struct error *err,
			const struct ledger_verdict *found)
{
	struct verdict *verdict = context;
	(void)err;
	verdict->done = true;
	verdict->result = result;
	verdict->entries = found->entries;
}

static uint64_t verified_entries(struct history *history)
{
	const struct ledger_verify verify = {0};
	struct verdict verdict = {0};
	CHECK(ledger_verify(history->store, &verify, on_verified, &verdict, NULL) == 0);
	CHECK(store_wait(history->store, &verdict.done, WAIT_MS, NULL) == 0);
	CHECK(verdict.result == 0);
	return verdict.entries;
}

/* How many txns the store has, each of them whole. */
static unsigned check_whole(struct history *history)
{
	unsigned there = (unsigned)verified_entries(history);
	CHECK(there == history->acknowledged || there == history->acknowledged + 1);
	for (unsigned number = 0; number <= TXNS; number++)
		expect(history, arena_printf(&history->arena, "own/%04u", number), number,
		       number < there);
	expect(history, "left", there - 1, there > 0);
	expect(history, "right", there - 1, there > 0);
	return there;
}

static void check_retries(struct history *history, unsigned there)
{
	struct store_txn_outcome outcome;
	for (unsigned number = 0; number <= history->acknowledged && number <= TXNS; number++) {
		const struct store_txn *txn = &history->txns[number];
		if (!txn->id)
			continue; /* the power went before it was sent */
		CHECK(send(history->store, txn, &outcome) == 0);
		CHECK(outcome.repeated == (number < there));
		if (number < history->acknowledged)
			CHECK(outcome.revision == history->revisions[number]);
	}
	CHECK(verified_entries(history) >= there);
}

/* One history, cut at `cut_at`; how many events it would have had. */
static uint64_t cut_once(void)
{
	struct history history;
	power_disk_reset(seed, cut_at);
	play(&history);
	uint64_t events = power_disk_events();
	power_disk_restore(0);
	CHECK(open_store(&history) == 0);
	unsigned there = check_whole(&history);
	check_retries(&history, there);
	history_done(&history);
	return events;
}

/* A cut while what an earlier cut left is being recovered. */
static void cut_twice(void)
{
	struct history history;
	for (uint64_t second = 1;; second++) {
		power_disk_reset(seed + second, cut_at);
		play(&history);
		power_disk_restore(second);
		bool opened = open_store(&history) == 0;
		store_close(history.store);
		history.store = NULL;
		bool was_cut = power_disk_is_cut();
		CHECK(opened || was_cut);
		power_disk_restore(0);
		CHECK(open_store(&history) == 0);
		check_retries(&history, check_whole(&history));
		history_done(&history);
		if (!was_cut)
			break;
	}
}

static void every_cut(uint64_t of_seed)
{
	seed = of_seed;
	cut_at = 0;
	uint64_t events = cut_once();
	CHECK(events > 100);
	for (cut_at = 1; cut_at <= events; cut_at++)
		cut_once();
	cut_at = events / 2 + of_seed % 8;
	cut_twice();
}

/* --- the last good copy, the mark, and the count of crashes --- */

#define GOOD "state/replica.good"

/* How many entries the copy holds; 0: there is none. Anything else than a sound one fails. */
static uint64_t read_copy(void)
{
	const struct store_copy_options options = {
	    .path = GOOD, .clock = &clock_system, .why = "it is a copy"};
	struct history history = {0};
	struct error err = {0};
	int result = store_open_copy(&options, &history.store, &err);
	CHECK(result == 0 || result == -ENOENT);
	uint64_t entries = result == 0 ? verified_entries(&history) : 0;
	store_close(history.store);
	return entries;
}

static uint64_t cut_copies(void)
{
	struct history history = {0};
	unsigned copied = 0;
	unsigned attempted = 0;
	power_disk_reset(seed, cut_at);
	arena_init(&history.arena, 0);
	assert_int_equal(ledger_signer_open(folder, "edge1", &history.signer, NULL), 0);
	bool alive = open_store(&history) == 0;
	for (unsigned number = 0; alive && number < 2; number++) {
		alive = step(&history, number);
		attempted = history.acknowledged;
		alive = alive && store_sqlite_copy(folder, &power_disk, GOOD, NULL) == 0;
		if (alive)
			copied = history.acknowledged;
	}
	store_close(history.store);
	history.store = NULL;
	uint64_t events = power_disk_events();
	power_disk_restore(0);
	uint64_t left = read_copy();
	CHECK(left == copied || left == attempted);
	/* What an interrupted copy left behind is in nobody's way. */
	CHECK(open_store(&history) == 0);
	CHECK(store_sqlite_copy(folder, &power_disk, GOOD, NULL) == 0);
	CHECK(read_copy() >= history.acknowledged);
	history_done(&history);
	return events;
}

static uint64_t cut_marks(void)
{
	struct mark mark;
	uint64_t acknowledged = 0;
	power_disk_reset(seed, cut_at);
	for (uint64_t sequence = 1; sequence <= 8; sequence++) {
		const struct mark_note note = {.position.sequence = sequence,
					       .has_peers = sequence % 2};
		assert_int_equal(mark_read(&mark, &power_disk, "state"), 0);
		if (mark_write(&mark, &note, NULL) < 0)
			break;
		acknowledged = sequence;
	}
	uint64_t events = power_disk_events();
	power_disk_restore(0);
	CHECK(mark_read(&mark, &power_disk, "state") == 0);
	CHECK(!mark.is_damaged);
	uint64_t newest = mark.newest.position.sequence;
	CHECK(newest == acknowledged || newest == acknowledged + 1);
	CHECK(mark.newest.has_peers == newest % 2);
	return events;
}

/* A replica that takes in what an authority has: at one position or the next, and never between. */
struct taken {
	bool done;
	int result;
};

static void on_import(void *context, int result, const struct error *err)
{
	struct taken *taken = context;
	(void)err;
	taken->done = true;
	taken->result = result;
}

static int take_in(struct store *store, uint64_t revision, bool replace)
{
	static char value[VALUE_BYTES];
	struct taken taken = {0};
	memset(value, 'a' + (int)(revision % 26), sizeof(value));
	struct store_event events[2] = {{.kind = STORE_PUT}, {.kind = STORE_PUT}};
	for (size_t i = 0; i < 2; i++)
		events[i].record = (struct store_record){.key = i ? "right" : "left",
							 .value = value,
							 .value_length = sizeof(value),
							 .create_revision = replace ? revision : 10,
							 .mod_revision = revision};
	const struct store_import import = {.authority = {"an authority's"},
					    .revision = revision,
					    .events = events,
					    .count = 2,
					    .replace = replace};
	CHECK(store_sqlite_import(store, &import, on_import, &taken, NULL) == 0);
	CHECK(store_wait(store, &taken.done, WAIT_MS, NULL) == 0);
	return taken.result;
}

/* The revision that the replica shows, of which everything else must be. */
static uint64_t check_replica(struct store *store)
{
	static const struct store_id authority = {"an authority's"};
	static struct read left;
	static struct read right;
	struct store_id id = store_id(store);
	read_key(store, "left", &left);
	read_key(store, "right", &right);
	CHECK(store_id_equal(&id, &authority) == (left.count == 1));
	CHECK(left.count == right.count && left.mod_revision == right.mod_revision);
	CHECK(left.length == right.length && memcmp(left.value, right.value, left.length) == 0);
	CHECK(!left.count || left.value[0] == 'a' + (char)(left.mod_revision % 26));
	return left.mod_revision;
}

static uint64_t cut_replicas(void)
{
	struct history history = {0};
	uint64_t durable = 0;
	uint64_t attempted = 0;
	power_disk_reset(seed, cut_at);
	bool alive = open_store(&history) == 0;
	for (uint64_t revision = 10; alive && revision < 14; revision++) {
		attempted = revision;
		alive = take_in(history.store, revision, revision == 10 || revision == 12) == 0;
		if (alive)
			durable = revision;
	}
	store_close(history.store);
	history.store = NULL;
	uint64_t events = power_disk_events();
	power_disk_restore(0);
	CHECK(open_store(&history) == 0);
	uint64_t left = check_replica(history.store);
	CHECK(left == durable || left == attempted);
	CHECK(take_in(history.store, 99, true) == 0);
	CHECK(check_replica(history.store) == 99);
	store_close(history.store);
	return events;
}

static uint64_t cut_crashes(void)
{
	struct crashes crashes;
	power_disk_reset(seed, cut_at);
	for (unsigned start = 0; start < 4 && !power_disk_is_cut(); start++) {
		crashes_read(&crashes, &power_disk, "state");
		crashes_expect(&crashes, 7);
	}
	uint64_t events = power_disk_events();
	unsigned expected = crashes.count;
	power_disk_restore(0);
	crashes_read(&crashes, &power_disk, "state");
	/* Never garbage: one more than was read last, or what it was. */
	CHECK(crashes.count == expected || crashes.count == expected + 1);
	return events;
}

static void every_cut_of(uint64_t (*cut)(void), uint64_t of_seed)
{
	seed = of_seed;
	cut_at = 0;
	uint64_t events = cut();
	CHECK(events >= 16);
	for (cut_at = 1; cut_at <= events; cut_at++)
		cut();
}

/* --- */

static void for_seeds(void (*play_seed)(uint64_t seed))
{
	const char *one = getenv("FAIRLEAD_SEED");
	const char *soak = getenv("FAIRLEAD_SOAK_S");
	time_t until = soak ? time(NULL) + strtol(soak, NULL, 10) : 0;
	uint64_t first = one ? strtoull(one, NULL, 10) : 1;
	uint64_t count = one ? 1 : SEEDS;
	struct random random;
	random_init_system(&random);
	for (uint64_t i = 0; i < count; i++)
		play_seed(first + i);
	uint64_t more = 0;
	for (; soak && time(NULL) < until; more++)
		play_seed(random_u64(&random) >> 16);
	if (soak)
		print_message("%llu further seeds\n", (unsigned long long)more);
}

static void test_the_store_survives_every_cut(void **state)
{
	(void)state;
	for_seeds(every_cut);
}

static void copies_and_replicas(uint64_t of_seed)
{
	every_cut_of(cut_copies, of_seed);
	every_cut_of(cut_replicas, of_seed);
}

static void test_copies_and_replicas_survive_every_cut(void **state)
{
	(void)state;
	for_seeds(copies_and_replicas);
}

static void small_files(uint64_t of_seed)
{
	for (uint64_t i = 0; i < 8; i++) {
		every_cut_of(cut_marks, 8 * of_seed + i);
		every_cut_of(cut_crashes, 8 * of_seed + i);
	}
}

static void test_marks_and_counts_survive_every_cut(void **state)
{
	(void)state;
	for_seeds(small_files);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_the_store_survives_every_cut),
	    cmocka_unit_test(test_copies_and_replicas_survive_every_cut),
	    cmocka_unit_test(test_marks_and_counts_survive_every_cut),
	};
	return cmocka_run_group_tests_name("power", tests, setup, teardown);
}
