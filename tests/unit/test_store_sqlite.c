/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is special to the embedded engine: its file and lock, a damaged or foreign file, disks that
 * are full or read-only, crashes in the middle of writes, and memory that runs out.
 */
#include "store_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- memory that runs out: the n-th allocation of SQLite fails, and all after it ---------------
 */

static sqlite3_mem_methods real_memory;
static long allocations_left = -1; /* negative: no limit */
static long allocations_refused;

static bool allocation_allowed(void)
{
	if (allocations_left < 0)
		return true;
	if (allocations_left == 0) {
		allocations_refused++;
		return false;
	}
	allocations_left--;
	return true;
}

static void *failing_malloc(int size)
{
	return allocation_allowed() ? real_memory.xMalloc(size) : NULL;
}

static void *failing_realloc(void *memory, int size)
{
	return allocation_allowed() ? real_memory.xRealloc(memory, size) : NULL;
}

static int setup_memory(void **state)
{
	(void)state;
	assert_int_equal(sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory), SQLITE_OK);
	sqlite3_mem_methods failing = real_memory;
	failing.xMalloc = failing_malloc;
	failing.xRealloc = failing_realloc;
	return sqlite3_config(SQLITE_CONFIG_MALLOC, &failing) == SQLITE_OK ? 0 : -1;
}

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
	allocations_left = -1;
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

static void expect_open_fails(struct harness *harness, int result, const char *part)
{
	struct error err = {0};
	struct store *store = NULL;
	assert_int_equal(harness->engine->open(harness, &store, &err), result);
	assert_null(store);
	if (!strstr(err.text, part))
		fail_msg("\"%s\" does not say \"%s\"", err.text, part);
}

/* --- the file --------------------------------------------------------------------------------- */

static void test_the_files_are_private(void **state)
{
	static const char *const names[] = {"store.db", "store.db-wal", "store.db-shm",
					    "store.lock"};
	struct harness *harness = *state;
	harness_put(harness, "a", "1");
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct stat status;
		assert_int_equal(stat(path_of(harness, names[i]), &status), 0);
		assert_int_equal(status.st_mode & 07777, 0600);
	}
	harness_close(harness);
	assert_int_equal(chmod(path_of(harness, "store.db"), 0644), 0);
	harness_open(harness);
	struct stat status;
	assert_int_equal(stat(path_of(harness, "store.db"), &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
}

static void test_a_second_daemon_is_refused(void **state)
{
	struct harness *harness = *state;
	char process[32];
	snprintf(process, sizeof(process), "(process %ld)", (long)getpid());
	expect_open_fails(harness, -EBUSY, process);
	harness_put(harness, "a", "1");
	harness_close(harness);
	harness_open(harness);
	assert_non_null(harness_get(harness, "a"));
}

static void file_sql(struct harness *harness, const char *sql)
{
	sqlite3 *file = NULL;
	assert_int_equal(sqlite3_open(path_of(harness, "store.db"), &file), SQLITE_OK);
	assert_int_equal(sqlite3_exec(file, sql, NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_close(file), SQLITE_OK);
}

static void test_foreign_and_newer_files_are_refused(void **state)
{
	struct harness *harness = *state;
	harness_close(harness);
	file_sql(harness, "PRAGMA user_version = 3");
	expect_open_fails(harness, -FL_EUNSUPPORTED, "schema 3; this one knows 2");
	file_sql(harness, "PRAGMA user_version = 0");
	expect_open_fails(harness, -FL_ECORRUPT, "schema version is impossible");
	file_sql(harness, "PRAGMA user_version = 2; PRAGMA application_id = 7");
	expect_open_fails(harness, -FL_ECORRUPT, "not a store of Fairlead");
	file_sql(harness, "PRAGMA application_id = 1179407188; DELETE FROM state");
	expect_open_fails(harness, -FL_ECORRUPT, "damaged");
	file_sql(harness, "DROP TABLE lease");
	expect_open_fails(harness, -FL_ECORRUPT, "no such table");
}

static void overwrite(const char *path, off_t offset, size_t length)
{
	char noise[4096];
	memset(noise, 0x5a, sizeof(noise));
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, noise, length, offset), length);
	close(fd);
}

static void test_a_damaged_file_is_refused_with_advice(void **state)
{
	struct harness *harness = *state;
	for (int i = 0; i < 300; i++) {
		char key[16];
		snprintf(key, sizeof(key), "key/%03d", i);
		harness_put(harness, key, "some value that fills the pages of the file");
	}
	harness_close(harness);
	struct stat status;
	const char *path = path_of(harness, "store.db");
	assert_int_equal(stat(path, &status), 0);
	assert_true(status.st_size > 8 * 4096);
	overwrite(path, 5 * 4096, 4096);
	expect_open_fails(harness, -FL_ECORRUPT, "put a backup in their place");
	overwrite(path, 0, 100);
	expect_open_fails(harness, -FL_ECORRUPT, "put a backup in their place");
	assert_int_equal(truncate(path, 20), 0);
	expect_open_fails(harness, -FL_ECORRUPT, "put a backup in their place");
}

static void test_a_folder_that_cannot_be_is_named(void **state)
{
	struct harness *harness = *state;
	struct error err = {0};
	struct store *store = NULL;
	struct store_sqlite_options options = {.folder = "/proc/fairlead", .clock = &clock_system};
	assert_true(store_open_sqlite(&options, &store, &err) < 0);
	assert_non_null(strstr(err.text, "/proc/fairlead"));
	harness_close(harness);
	assert_int_equal(unlink(path_of(harness, "store.db")), 0);
	assert_int_equal(symlink("/nowhere", path_of(harness, "store.db")), 0);
	expect_open_fails(harness, -ELOOP, "store.db");
	assert_int_equal(unlink(path_of(harness, "store.db")), 0);
	harness_open(harness);
}

/* --- full and read-only disks ------------------------------------------------------------------
 */

static int put_value(struct harness *harness, const char *key, size_t length)
{
	char *value = calloc(1, length);
	assert_non_null(value);
	struct store_op ops[2] = {
	    {.kind = STORE_PUT, .key = "count", .value = key, .value_length = strlen(key)},
	    {.kind = STORE_PUT, .key = key, .value = value, .value_length = length}};
	struct store_txn txn = {.ops = ops, .op_count = 2};
	struct store_txn_outcome outcome;
	int result = harness_txn(harness, &txn, &outcome);
	free(value);
	return result;
}

/* A small tmpfs in a mount namespace of a child, so that nothing is left behind. */
static bool enter_small_disk(const struct harness *harness)
{
	return unshare(CLONE_NEWNS) == 0 &&
	       mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("store-test", harness->folder, "tmpfs", 0, "size=1m,mode=0700") == 0;
}

enum { CHILD_PASSED = 0, CHILD_SKIPPED = 77 };

static int child_on_full_disk(struct harness *harness)
{
	char key[16] = "";
	int written = 0;
	int result = 0;
	harness_open(harness);
	for (; result == 0 && written < 1000; written++) {
		snprintf(key, sizeof(key), "fill/%04d", written);
		result = put_value(harness, key, 20000);
	}
	assert_int_equal(result, -ENOSPC);
	assert_non_null(strstr(harness->err.text, "the disk is full"));
	/* Both puts of the failed txn are missing, now and after opening again. */
	for (int again = 0; again < 2; again++) {
		assert_null(harness_get(harness, key));
		snprintf(key, sizeof(key), "fill/%04d", written - 2);
		assert_non_null(harness_get(harness, key));
		assert_string_equal(harness_get(harness, "count")->value, key);
		snprintf(key, sizeof(key), "fill/%04d", written - 1);
		harness_reopen(harness);
	}
	assert_int_equal(mount(NULL, harness->folder, NULL, MS_REMOUNT, "size=4m"), 0);
	assert_int_equal(put_value(harness, key, 20000), 0);

	harness_close(harness);
	assert_int_equal(mount(NULL, harness->folder, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	expect_open_fails(harness, -EROFS, harness->folder);
	return CHILD_PASSED;
}

static void test_a_full_or_read_only_disk_changes_nothing(void **state)
{
	struct harness *harness = *state;
	harness_close(harness);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		if (!enter_small_disk(harness))
			_exit(CHILD_SKIPPED);
		_exit(child_on_full_disk(harness));
	}
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == CHILD_SKIPPED)
		skip();
	assert_int_equal(WEXITSTATUS(status), CHILD_PASSED);
}

/* --- crashes -----------------------------------------------------------------------------------
 */

/* Writes pairs of keys for ever, and says in the pipe which pair was acknowledged. */
static void child_write(struct harness *harness, int acknowledged)
{
	harness_open(harness);
	for (uint32_t i = 1;; i++) {
		char value[16];
		snprintf(value, sizeof(value), "%u", i);
		struct store_op ops[2] = {{.kind = STORE_PUT,
					   .key = "left",
					   .value = value,
					   .value_length = strlen(value)},
					  {.kind = STORE_PUT,
					   .key = "right",
					   .value = value,
					   .value_length = strlen(value)}};
		struct store_txn_outcome outcome;
		struct store_txn txn = {.ops = ops, .op_count = 2};
		if (harness_txn(harness, &txn, &outcome) < 0 ||
		    write(acknowledged, &i, sizeof(i)) != sizeof(i))
			_exit(1);
	}
}

/* Of those after `last`, which was read already. */
static uint32_t last_acknowledged(int fd, uint32_t last)
{
	uint32_t next;
	while (read(fd, &next, sizeof(next)) == sizeof(next))
		last = next;
	return last;
}

static void test_kill_loses_nothing_acknowledged(void **state)
{
	struct harness *harness = *state;
	for (unsigned round = 1; round <= 8; round++) {
		int pipe_fds[2];
		harness_close(harness);
		assert_int_equal(pipe(pipe_fds), 0);
		pid_t child = fork();
		assert_true(child >= 0);
		if (child == 0)
			child_write(harness, pipe_fds[1]);
		close(pipe_fds[1]);
		uint32_t first;
		assert_int_equal(read(pipe_fds[0], &first, sizeof(first)), sizeof(first));
		usleep(round * 7919);
		assert_int_equal(kill(child, SIGKILL), 0);
		assert_int_equal(waitpid(child, NULL, 0), child);
		uint32_t last = last_acknowledged(pipe_fds[0], first);
		close(pipe_fds[0]);

		harness_open(harness);
		const struct store_record *left = harness_get(harness, "left");
		const struct store_record *right = harness_get(harness, "right");
		assert_non_null(left);
		assert_non_null(right);
		assert_string_equal(left->value, right->value);
		assert_int_equal(left->mod_revision, right->mod_revision);
		uint32_t kept = (uint32_t)strtoul(left->value, NULL, 10);
		assert_in_range(kept, last, last + 1);
	}
}

/* --- memory ------------------------------------------------------------------------------------
 */

static void test_opening_without_memory_fails_cleanly(void **state)
{
	struct harness *harness = *state;
	harness_put(harness, "a", "1");
	harness_close(harness);
	struct store *store = NULL;
	for (long n = 0; !store; n++) {
		struct error err = {0};
		allocations_left = n;
		int result = harness->engine->open(harness, &store, &err);
		allocations_left = -1;
		assert_true(n < 20000);
		if (result == 0)
			break;
		if (result != -ENOMEM)
			fail_msg("allocation %ld: %s", n, err.text);
	}
	assert_true(allocations_refused > 0);
	harness->store = store;
	assert_non_null(harness_get(harness, "a"));
}

static int step_txn(struct harness *harness)
{
	return put_value(harness, "key", 10000);
}

static int step_range(struct harness *harness)
{
	struct store_page page;
	return harness_range(harness, &(struct store_range){.key = "", .prefix = true}, &page);
}

static int step_lease(struct harness *harness)
{
	uint64_t lease = 0;
	return harness_lease_grant(harness, 1000, &lease);
}

/*
 * Each allocation of a step fails in turn, on a store that was just opened (so that nothing is
 * cached): the step fails with -ENOMEM and leaves no trace, or succeeds.
 */
static void fail_each_allocation(struct harness *harness, int (*step)(struct harness *))
{
	int failures = 0;
	for (long n = 0;; n++) {
		struct store_page before;
		struct store_page after;
		struct store_range all = {.key = "", .prefix = true};
		harness_reopen(harness);
		assert_int_equal(harness_range(harness, &all, &before), 0);
		harness_reopen(harness);
		allocations_left = n;
		int result = step(harness);
		allocations_left = -1;
		if (result == 0)
			break;
		failures++;
		assert_true(n < 5000);
		assert_int_equal(result, -ENOMEM);
		assert_int_equal(harness_range(harness, &all, &after), 0);
		assert_int_equal(after.revision, before.revision);
		assert_int_equal(after.count, before.count);
	}
	assert_true(failures > 0);
}

static void test_a_call_without_memory_leaves_no_trace(void **state)
{
	struct harness *harness = *state;
	harness_put(harness, "a", "1");
	fail_each_allocation(harness, step_txn);
	fail_each_allocation(harness, step_range);
	fail_each_allocation(harness, step_lease);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_the_files_are_private),
	    TEST(test_a_second_daemon_is_refused),
	    TEST(test_foreign_and_newer_files_are_refused),
	    TEST(test_a_damaged_file_is_refused_with_advice),
	    TEST(test_a_folder_that_cannot_be_is_named),
	    TEST(test_a_full_or_read_only_disk_changes_nothing),
	    TEST(test_kill_loses_nothing_acknowledged),
	    TEST(test_opening_without_memory_fails_cleanly),
	    TEST(test_a_call_without_memory_leaves_no_trace),
	};
	return cmocka_run_group_tests_name("store_sqlite", tests, setup_memory, NULL);
}
