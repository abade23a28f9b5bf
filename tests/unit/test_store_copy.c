/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of the embedded engine's store: taking in what another store holds, reading a file without
 * a trace, writing a copy that can be put in a store's place, and the id that names a history.
 */
#include "base/disk.h"
#include "store_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct store_id foreign = {.bytes = "another history"};

static int setup(void **state)
{
	struct harness *harness = malloc(sizeof(*harness));
	assert_non_null(harness);
	harness_init(harness, &harness_sqlite);
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

static const char *path_of(struct harness *harness, const char *name)
{
	const char *path = arena_printf(&harness->arena, "%s/%s", harness->folder, name);
	assert_non_null(path);
	return path;
}

/* --- the id of a history --- */

static void expect_id(const struct harness *harness, const struct store_id *id, bool equal)
{
	struct store_id now = store_id(harness->store);
	assert_true(store_id_is_known(&now));
	assert_int_equal(store_id_equal(&now, id), equal);
}

static void an_id_is_made_once(void **state)
{
	struct harness *harness = *state;
	struct harness other;
	struct store_id id = store_id(harness->store);
	harness_reopen(harness);
	expect_id(harness, &id, true);
	harness_init(&other, &harness_sqlite);
	harness_open(&other);
	expect_id(&other, &id, false);
	harness_done(&other);
}

static void file_sql(struct harness *harness, const char *sql)
{
	sqlite3 *file = NULL;
	assert_int_equal(sqlite3_open(path_of(harness, "store.db"), &file), SQLITE_OK);
	assert_int_equal(sqlite3_exec(file, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(file), SQLITE_OK);
}

static void an_old_store_gets_an_id(void **state)
{
	struct harness *harness = *state;
	harness_put(harness, "a", "1");
	harness_close(harness);
	file_sql(harness, "DROP TABLE authority");
	harness_open(harness);
	struct store_id id = store_id(harness->store);
	assert_string_equal(harness_get(harness, "a")->value, "1");
	harness_reopen(harness);
	expect_id(harness, &id, true);
	harness_close(harness);
	file_sql(harness, "UPDATE authority SET id = x'00'");
	struct error err;
	assert_int_equal(harness->engine->open(harness, &harness->store, &err), -FL_ECORRUPT);
	harness->store = NULL;
}

/* --- taking in --- */

struct taken {
	bool done;
	int result;
	struct error error;
};

static void on_import(void *context, int result, const struct error *err)
{
	struct taken *taken = context;
	assert_int_equal(result < 0, err != NULL);
	taken->done = true;
	taken->result = result;
	if (err)
		taken->error = *err;
}

static int import(struct harness *harness, const struct store_import *import)
{
	struct taken taken = {0};
	assert_int_equal(
	    store_sqlite_import(harness->store, import, on_import, &taken, &harness->err), 0);
	assert_false(taken.done);
	assert_int_equal(store_wait(harness->store, &taken.done, 20000, NULL), 0);
	return taken.result;
}

static struct store_event put(const char *key, const char *value, uint64_t create, uint64_t mod)
{
	return (struct store_event){.kind = STORE_PUT,
				    .record = {.key = key,
					       .value = value,
					       .value_length = strlen(value),
					       .create_revision = create,
					       .mod_revision = mod}};
}

/* Everything at revision 40 of a history that began elsewhere. */
static void replace(struct harness *harness)
{
	const struct store_event all[] = {put("a", "one", 3, 17), put("b", "two", 40, 40)};
	const struct store_import content = {
	    .authority = foreign, .revision = 40, .events = all, .count = 2, .replace = true};
	assert_int_equal(import(harness, &content), 0);
}

static uint64_t revision_of(struct harness *harness)
{
	struct store_page page;
	assert_int_equal(
	    harness_range(harness, &(struct store_range){.key = "", .prefix = true}, &page), 0);
	return page.revision;
}

static void expect_record(struct harness *harness, const char *key, const char *value,
			  uint64_t create, uint64_t mod)
{
	const struct store_record *record = harness_get(harness, key);
	assert_non_null(record);
	assert_string_equal(record->value, value);
	assert_int_equal(record->create_revision, create);
	assert_int_equal(record->mod_revision, mod);
}

static void a_replica_has_the_authoritys_revisions(void **state)
{
	struct harness *harness = *state;
	for (int i = 0; i < 60; i++)
		harness_put(harness, "own", "gone");
	replace(harness);
	const struct store_event more[] = {
	    put("a", "three", 3, 42),
	    {.kind = STORE_DELETE, .record = {.key = "b", .mod_revision = 42}},
	    put("c", "", 45, 45)};
	const struct store_import next = {
	    .authority = foreign, .revision = 47, .events = more, .count = 3};
	assert_int_equal(import(harness, &next), 0);
	for (int again = 0; again < 2; again++) {
		expect_id(harness, &foreign, true);
		assert_int_equal(revision_of(harness), 47);
		assert_null(harness_get(harness, "own"));
		assert_null(harness_get(harness, "b"));
		expect_record(harness, "a", "three", 3, 42);
		expect_record(harness, "c", "", 45, 45);
		harness_reopen(harness);
	}
	/* The past too, as far as it was taken in. */
	struct store_page page;
	const struct store_range before = {.key = "a", .revision = 41};
	assert_int_equal(harness_range(harness, &before, &page), 0);
	assert_string_equal(page.records[0].value, "one");
	const struct store_range too_early = {.key = "a", .revision = 39};
	assert_int_equal(harness_range(harness, &too_early, &page), -FL_ECOMPACTED);
}

static void what_does_not_continue_is_refused(void **state)
{
	struct harness *harness = *state;
	char large[STORE_VALUE_BYTES + 2];
	memset(large, 'x', sizeof(large));
	large[sizeof(large) - 1] = '\0';
	replace(harness);
	const struct store_event early[] = {put("a", "x", 3, 40)};
	const struct store_event late[] = {put("a", "x", 3, 43)};
	const struct store_event falling[] = {put("a", "x", 3, 42), put("b", "x", 40, 41)};
	const struct store_event twice[] = {put("a", "x", 3, 41), put("a", "y", 3, 41)};
	const struct store_event no_key[] = {put("a b", "x", 41, 41)};
	const struct store_event too_large[] = {put("a", large, 3, 41)};
	const struct store_event fine[] = {put("a", "x", 3, 41)};
	const struct {
		int result;
		struct store_import import;
	} cases[] = {
	    {-FL_EINVALID, {foreign, 42, early, 1, false}},
	    {-FL_EINVALID, {foreign, 42, late, 1, false}},
	    {-FL_EINVALID, {foreign, 42, falling, 2, false}},
	    {-FL_EINVALID, {foreign, 42, twice, 2, false}},
	    {-FL_EINVALID, {foreign, 42, no_key, 1, false}},
	    {-FL_ELIMIT, {foreign, 42, too_large, 1, false}},
	    {-FL_EINVALID, {{"a third history"}, 42, fine, 1, false}},
	    {-FL_EINVALID, {{""}, 42, fine, 1, true}},
	    {-FL_EINVALID, {foreign, 42, late, 1, true}},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(import(harness, &cases[i].import), cases[i].result);
		assert_int_equal(revision_of(harness), 40);
		expect_record(harness, "a", "one", 3, 17);
		expect_id(harness, &foreign, true);
	}
}

struct watched {
	unsigned calls;
	int result;
	uint64_t revision;
	size_t events;
};

static void on_events(void *context, int result, const struct error *err, uint64_t revision,
		      const struct store_event *events, size_t count)
{
	struct watched *watched = context;
	(void)err, (void)events;
	watched->calls++;
	watched->result = result;
	watched->revision = revision;
	watched->events += count;
}

static void watches_hear_of_it(void **state)
{
	struct harness *harness = *state;
	struct watched watched = {0};
	struct store_watch *watch = NULL;
	for (int i = 0; i < 60; i++)
		harness_put(harness, "own", "gone");
	/* It waits for revision 61, which the new history reaches only much later. */
	assert_int_equal(store_watch(harness->store, "", 0, on_events, &watched, &watch, NULL), 0);
	replace(harness);
	harness_settle(harness);
	assert_int_equal(watched.calls, 1);
	assert_int_equal(watched.result, -FL_ECOMPACTED);
	store_watch_cancel(watch);

	watched = (struct watched){0};
	assert_int_equal(store_watch(harness->store, "", 41, on_events, &watched, &watch, NULL), 0);
	const struct store_event more[] = {put("a", "x", 3, 41), put("b", "y", 40, 44),
					   put("c", "z", 44, 44)};
	const struct store_import next = {
	    .authority = foreign, .revision = 44, .events = more, .count = 3};
	assert_int_equal(import(harness, &next), 0);
	harness_settle(harness);
	assert_int_equal(watched.result, 0);
	assert_int_equal(watched.calls, 2);
	assert_int_equal(watched.revision, 44);
	assert_int_equal(watched.events, 3);
	store_watch_cancel(watch);
}

/* --- reading without a trace --- */

static int open_copy(struct harness *harness, const char *name, struct store **ret_store,
		     struct error *err)
{
	const struct store_copy_options options = {
	    .path = path_of(harness, name), .clock = &harness->clock, .why = "the disk is tired"};
	return store_open_copy(&options, ret_store, err);
}

/* A copy of the files, as a crash would leave them: the log is not moved into the file. */
static void crash_into(struct harness *harness, const char *folder)
{
	static const char *const names[] = {"store.db", "store.db-wal"};
	assert_int_equal(mkdir(folder, 0700), 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct buffer bytes;
		buffer_init(&bytes, 0);
		assert_int_equal(disk_system.read(NULL, path_of(harness, names[i]), &bytes), 0);
		const char *to = arena_printf(&harness->arena, "%s/%s", folder, names[i]);
		assert_int_equal(
		    disk_replace(&disk_system, to, bytes.data, bytes.length, 0400, NULL), 0);
		buffer_done(&bytes);
	}
}

static unsigned count_files(const char *path)
{
	unsigned count = 0;
	DIR *folder = opendir(path);
	while (folder && readdir(folder))
		count++;
	if (folder)
		closedir(folder);
	return count - 2;
}

static const char *value_in(struct harness *harness, struct store *store, const char *key)
{
	struct store *own = harness->store;
	harness->store = store;
	const struct store_record *record = harness_get(harness, key);
	harness->store = own;
	return record ? record->value : NULL;
}

static void what_a_crash_left_is_read_without_a_trace(void **state)
{
	struct harness *harness = *state;
	struct stat before;
	struct stat after;
	struct store *store = NULL;
	for (int i = 0; i < 20; i++)
		harness_put(harness, "a", "early");
	harness_put(harness, "a", "only in the log");
	const char *folder = path_of(harness, "a 100% odd folder?#");
	crash_into(harness, folder);
	const char *log = arena_printf(&harness->arena, "%s/store.db-wal", folder);
	assert_int_equal(stat(log, &before), 0);
	assert_true(before.st_size > 0);

	assert_int_equal(open_copy(harness, "a 100% odd folder?#/store.db", &store, NULL), 0);
	assert_string_equal(value_in(harness, store, "a"), "only in the log");
	struct store_id id = store_id(store);
	expect_id(harness, &id, true);
	assert_int_equal(count_files(folder), 2);
	store_close(store);
	assert_int_equal(stat(log, &after), 0);
	assert_int_equal(before.st_size, after.st_size);
	assert_int_equal(count_files(folder), 2);
	unlink(log);
	unlink(arena_printf(&harness->arena, "%s/store.db", folder));
	rmdir(folder);
}

static void on_txn(void *context, int result, const struct error *err,
		   const struct store_txn_outcome *outcome)
{
	(void)context, (void)result, (void)err, (void)outcome;
	fail();
}

static void on_lease(void *context, int result, const struct error *err, uint64_t lease,
		     uint64_t ttl_ms)
{
	(void)context, (void)result, (void)err, (void)lease, (void)ttl_ms;
	fail();
}

static void a_copy_can_be_read_and_not_changed(void **state)
{
	struct harness *harness = *state;
	struct error err = {0};
	struct store *store = NULL;
	uint64_t lease = 0;
	struct store_txn_outcome outcome;
	assert_int_equal(harness_lease_grant(harness, 50, &lease), 0);
	const struct store_op leased = {
	    .kind = STORE_PUT, .key = "leased", .value = "v", .value_length = 1, .lease = lease};
	const struct store_txn txn = {.ops = &leased, .op_count = 1};
	assert_int_equal(harness_txn(harness, &txn, &outcome), 0);
	harness_close(harness);
	assert_int_equal(open_copy(harness, "store.db", &store, NULL), 0);
	harness_advance(harness, 1000);
	assert_string_equal(value_in(harness, store, "leased"), "v");
	assert_int_equal(store_timeout_ms(store), -1);

	const struct store_op op = {.kind = STORE_DELETE, .key = "leased"};
	const struct store_txn change = {.ops = &op, .op_count = 1};
	const struct store_import content = {.authority = foreign, .revision = 9, .replace = true};
	assert_int_equal(store_txn(store, &change, on_txn, NULL, &err), -FL_ESTATE);
	assert_string_equal(err.text, "the disk is tired");
	assert_int_equal(store_lease_grant(store, 50, on_lease, NULL, &err), -FL_ESTATE);
	assert_int_equal(store_lease_keep_alive(store, lease, on_lease, NULL, &err), -FL_ESTATE);
	assert_int_equal(store_lease_revoke(store, lease, on_lease, NULL, &err), -FL_ESTATE);
	assert_int_equal(store_sqlite_import(store, &content, on_import, NULL, &err), -FL_ESTATE);
	store_close(store);
}

static void what_is_no_store_is_said(void **state)
{
	struct harness *harness = *state;
	struct error err = {0};
	struct store *store = NULL;
	assert_int_equal(open_copy(harness, "nothing", &store, &err), -ENOENT);
	assert_non_null(strstr(err.text, "nothing"));
	assert_int_equal(
	    disk_replace(&disk_system, path_of(harness, "text"), "no database", 11, 0600, NULL), 0);
	assert_int_equal(open_copy(harness, "text", &store, &err), -FL_ECORRUPT);
	assert_null(store);
}

/* --- a copy on disk --- */

static void *copy_in_a_thread(void *context)
{
	struct harness *harness = context;
	struct error err = {0};
	char path[128];
	snprintf(path, sizeof(path), "%s/good", harness->folder);
	for (int i = 0; i < 5; i++) {
		if (store_sqlite_copy(harness->folder, &disk_system, path, &err) < 0) {
			fprintf(stderr, "%s\n", err.text);
			return context;
		}
	}
	return NULL;
}

static void a_copy_is_written_while_the_store_changes(void **state)
{
	struct harness *harness = *state;
	struct store *store = NULL;
	pthread_t thread;
	void *failed = NULL;
	harness_put(harness, "a", "0");
	assert_int_equal(pthread_create(&thread, NULL, copy_in_a_thread, harness), 0);
	for (int i = 0; i < 300; i++)
		harness_put(harness, "b", "changes");
	assert_int_equal(pthread_join(thread, &failed), 0);
	assert_null(failed);
	struct stat status;
	assert_int_equal(stat(path_of(harness, "good"), &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_int_equal(open_copy(harness, "good", &store, NULL), 0);
	assert_string_equal(value_in(harness, store, "a"), "0");
	store_close(store);
	assert_int_equal(access(path_of(harness, "good.new"), F_OK), -1);
}

static void a_copy_can_take_the_stores_place(void **state)
{
	struct harness *harness = *state;
	struct error err = {0};
	struct store_id id = store_id(harness->store);
	harness_put(harness, "a", "kept");
	assert_int_equal(
	    store_sqlite_copy(harness->folder, &disk_system, path_of(harness, "good"), NULL), 0);
	harness_put(harness, "a", "lost");
	harness_close(harness);
	assert_int_equal(rename(path_of(harness, "good"), path_of(harness, "store.db")), 0);
	harness_open(harness);
	expect_id(harness, &id, true);
	expect_record(harness, "a", "kept", 1, 1);
	assert_int_equal(harness_put(harness, "b", "new"), 2);

	assert_true(store_sqlite_copy(harness->folder, &disk_system, "/proc/good", &err) < 0);
	assert_non_null(strstr(err.text, "/proc/good"));
	assert_true(store_sqlite_copy("/nowhere", &disk_system, path_of(harness, "good"), &err) <
		    0);
	assert_int_equal(access(path_of(harness, "good"), F_OK), -1);
	assert_int_equal(access(path_of(harness, "good.new"), F_OK), -1);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    CASE(an_id_is_made_once),
	    CASE(an_old_store_gets_an_id),
	    CASE(a_replica_has_the_authoritys_revisions),
	    CASE(what_does_not_continue_is_refused),
	    CASE(watches_hear_of_it),
	    CASE(what_a_crash_left_is_read_without_a_trace),
	    CASE(a_copy_can_be_read_and_not_changed),
	    CASE(what_is_no_store_is_said),
	    CASE(a_copy_is_written_while_the_store_changes),
	    CASE(a_copy_can_take_the_stores_place),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
