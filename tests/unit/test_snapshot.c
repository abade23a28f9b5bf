/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots: what is written is read, and nothing else; and the store that one makes. */
#include "base/digest.h"
#include "daemon/crashes.h"
#include "state/snapshot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD_TEXT                                                                                  \
	"{\"hash\":\"1111111111111111111111111111111111111111111111111111111111111111\","          \
	"\"sequence\":7}"

static const struct snapshot_head head = {
    .node = "edge1", .revision = 9, .sequence = 7, .wall_ms = 1795332664123u};

static char folder[] = "/tmp/fairlead-snapshot-XXXXXX";
static char path[64];

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/snapshot", folder);
	return 0;
}

static int teardown(void **state)
{
	char starts[64];
	(void)state;
	snprintf(starts, sizeof(starts), "%s/starts", folder);
	unlink(starts);
	unlink(path);
	return rmdir(folder);
}

/* A whole file of these records, in memory. */
static struct buffer write_file(const struct store_record *records, size_t count)
{
	struct snapshot_writer writer;
	struct buffer bytes;
	buffer_init(&bytes, 0);
	for (size_t i = 0; i < count; i++)
		snapshot_put_record(&records[i], &bytes);
	assert_int_equal(snapshot_writer_begin(&writer, &disk_system, path, &head, NULL), 0);
	assert_int_equal(snapshot_writer_add(&writer, bytes.data, bytes.length, NULL), 0);
	assert_int_equal(snapshot_writer_commit(&writer, NULL), 0);
	buffer_clear(&bytes);
	assert_int_equal(disk_system.read(NULL, path, &bytes), 0);
	return bytes;
}

static const struct store_record sample[] = {
    {.key = "config", .value = "a\0b", .value_length = 3, .create_revision = 1, .mod_revision = 8},
    {.key = "ledger/head", .value = HEAD_TEXT, .value_length = sizeof(HEAD_TEXT) - 1},
    {.key = "service/web", .value = "", .value_length = 0, .mod_revision = 5},
    {.key = "version/web/0000000001", .value = "v", .value_length = 1, .mod_revision = 2},
};
#define SAMPLES (sizeof(sample) / sizeof(sample[0]))

static int parse(const char *bytes, size_t length, struct snapshot *snapshot, struct error *err)
{
	struct buffer copy;
	buffer_init(&copy, 0);
	buffer_append(&copy, bytes, length);
	return snapshot_parse("x", &copy, snapshot, err);
}

static void what_was_written_is_read(void **state)
{
	(void)state;
	struct buffer bytes = write_file(sample, SAMPLES);
	struct snapshot snapshot = {0};
	assert_int_equal(snapshot_read(&disk_system, path, &snapshot, NULL), 0);
	assert_memory_equal(&snapshot.head, &head, sizeof(head));
	assert_int_equal(snapshot.count, SAMPLES);
	for (size_t i = 0; i < SAMPLES; i++) {
		const struct store_record *record = snapshot_find(&snapshot, sample[i].key);
		assert_ptr_equal(record, &snapshot.records[i]);
		assert_int_equal(record->value_length, sample[i].value_length);
		assert_memory_equal(record->value, sample[i].value, sample[i].value_length);
		assert_int_equal(record->create_revision, sample[i].create_revision);
		assert_int_equal(record->mod_revision, sample[i].mod_revision);
	}
	assert_null(snapshot_find(&snapshot, "placement"));
	snapshot_done(&snapshot);
	buffer_done(&bytes);
}

static void every_other_file_is_refused(void **state)
{
	(void)state;
	struct buffer bytes = write_file(sample, SAMPLES);
	struct snapshot snapshot = {0};
	for (size_t length = 0; length < bytes.length; length++) {
		struct error err = {0};
		assert_int_equal(parse(bytes.data, length, &snapshot, &err), -FL_ECORRUPT);
		assert_non_null(strstr(err.text, "the snapshot is damaged"));
	}
	for (size_t i = 0; i < bytes.length; i++) {
		bytes.data[i] = (char)(bytes.data[i] ^ 0x40);
		assert_int_equal(parse(bytes.data, bytes.length, &snapshot, NULL), -FL_ECORRUPT);
		bytes.data[i] = (char)(bytes.data[i] ^ 0x40);
	}
	buffer_putc(&bytes, 'x');
	assert_int_equal(parse(bytes.data, bytes.length, &snapshot, NULL), -FL_ECORRUPT);
	buffer_done(&bytes);
	assert_int_equal(snapshot_read(&disk_system, "/nowhere/x", &snapshot, NULL), -ENOENT);
}

/* Digests are no secret: a file with a right one may still be none that is ever written. */
static void a_right_digest_is_not_enough(void **state)
{
	(void)state;
	struct buffer bytes = write_file(sample, SAMPLES);
	size_t length = bytes.length - DIGEST_BYTES;
	for (size_t i = 0; i < length; i++) {
		struct snapshot snapshot = {0};
		struct digest digest;
		char before = bytes.data[i];
		bytes.data[i] = (char)(before ^ 0x80);
		digest_of(bytes.data, length, &digest);
		memcpy(bytes.data + length, digest.bytes, DIGEST_BYTES);
		int result = parse(bytes.data, bytes.length, &snapshot, NULL);
		assert_true(result == 0 || result == -FL_ECORRUPT);
		snapshot_done(&snapshot);
		bytes.data[i] = before;
	}
	buffer_done(&bytes);
}

static void expect_refused(const struct store_record *records, size_t count)
{
	struct buffer bytes = write_file(records, count);
	struct snapshot snapshot = {0};
	assert_int_equal(snapshot_parse("x", &bytes, &snapshot, NULL), -FL_ECORRUPT);
}

static void records_that_do_not_belong_are_refused(void **state)
{
	(void)state;
	const struct store_record swapped[] = {sample[1], sample[0]};
	const struct store_record twice[] = {sample[1], sample[2], sample[2]};
	const struct store_record ack[] = {{.key = "ack/edge1", .value = "7", .value_length = 1},
					   sample[1]};
	const struct store_record without_head[] = {sample[0]};
	expect_refused(swapped, 2);
	expect_refused(twice, 3);
	expect_refused(ack, 2);
	expect_refused(without_head, 1);
}

/* --- the store of it --- */

struct outcome {
	bool done;
	int result;
	size_t count;
	bool more;
	char key[64];
	uint64_t revision;
	char why[sizeof(((struct error *)0)->text)];
};

static void on_range(void *context, int result, const struct error *err,
		     const struct store_page *page)
{
	struct outcome *ours = context;
	ours->done = true;
	ours->result = result;
	if (err)
		snprintf(ours->why, sizeof(ours->why), "%s", err->text);
	if (!page)
		return;
	ours->count = page->count;
	ours->more = page->more;
	ours->revision = page->revision;
	if (page->count)
		snprintf(ours->key, sizeof(ours->key), "%s", page->records[0].key);
}

static void on_txn(void *context, int result, const struct error *err,
		   const struct store_txn_outcome *outcome)
{
	struct outcome *ours = context;
	ours->done = true;
	ours->result = result;
	ours->revision = outcome ? outcome->revision : 0;
	if (err)
		snprintf(ours->why, sizeof(ours->why), "%s", err->text);
}

static void on_events(void *context, int result, const struct error *err, uint64_t revision,
		      const struct store_event *events, size_t count)
{
	struct outcome *ours = context;
	(void)err;
	assert_int_equal(result, 0);
	assert_int_equal(count, 1);
	ours->count++;
	ours->revision = revision;
	snprintf(ours->key, sizeof(ours->key), "%s=%.*s", events[0].record.key,
		 (int)events[0].record.value_length, events[0].record.value);
}

static struct store *open_frozen(void)
{
	struct buffer bytes = write_file(sample, SAMPLES);
	struct snapshot snapshot = {0};
	struct store *store = NULL;
	assert_int_equal(snapshot_parse("x", &bytes, &snapshot, NULL), 0);
	assert_int_equal(store_open_frozen(&snapshot, "the store is lost", &store, NULL), 0);
	return store;
}

static struct outcome range(struct store *store, const struct store_range *range)
{
	struct outcome outcome = {0};
	assert_int_equal(store_range(store, range, on_range, &outcome, NULL), 0);
	assert_false(outcome.done);
	store_dispatch(store);
	assert_true(outcome.done);
	return outcome;
}

static struct outcome put(struct store *store, const char *key, const char *value)
{
	struct outcome outcome = {0};
	const struct store_op op = {
	    .kind = STORE_PUT, .key = key, .value = value, .value_length = strlen(value)};
	const struct store_txn txn = {.ops = &op, .op_count = 1};
	assert_int_equal(store_txn(store, &txn, on_txn, &outcome, NULL), 0);
	store_dispatch(store);
	assert_true(outcome.done);
	return outcome;
}

static void a_frozen_store_is_read_in_pages(void **state)
{
	(void)state;
	struct store *store = open_frozen();
	struct outcome page = range(store, &(struct store_range){.key = "config"});
	assert_int_equal(page.count, 1);
	assert_int_equal(page.revision, 9);
	page = range(store, &(struct store_range){.key = "version/", .prefix = true});
	assert_string_equal(page.key, "version/web/0000000001");
	page = range(store,
		     &(struct store_range){.key = "version/", .prefix = true, .after = page.key});
	assert_int_equal(page.count, 0);
	page = range(store, &(struct store_range){.key = "placement"});
	assert_int_equal(page.count, 0);
	/* What it does not have it does not call absent. */
	page = range(store, &(struct store_range){.key = "ledger/", .prefix = true});
	assert_int_equal(page.result, -FL_ESTATE);
	assert_string_equal(page.why, "the store is lost");
	page = range(store, &(struct store_range){.key = "", .prefix = true});
	assert_int_equal(page.result, -FL_ESTATE);
	store_close(store);
}

static void a_frozen_store_takes_acks_only(void **state)
{
	(void)state;
	struct store *store = open_frozen();
	struct store_watch *watch = NULL;
	struct outcome told = {0};
	assert_int_equal(store_watch(store, "", 10, on_events, &told, &watch, NULL), 0);
	struct outcome outcome = put(store, "service/web", "x");
	assert_int_equal(outcome.result, -FL_ESTATE);
	assert_string_equal(outcome.why, "the store is lost");
	assert_int_equal(told.count, 0);
	outcome = put(store, "ack/edge1", "7");
	assert_int_equal(outcome.result, 0);
	assert_int_equal(outcome.revision, 10);
	assert_int_equal(told.count, 1);
	assert_int_equal(told.revision, 10);
	assert_string_equal(told.key, "ack/edge1=7");
	outcome = range(store, &(struct store_range){.key = "ack/", .prefix = true});
	assert_int_equal(outcome.count, 1);
	struct error err;
	assert_int_equal(store_lease_grant(store, 1000, NULL, NULL, &err), -FL_ESTATE);
	store_watch_cancel(watch);
	put(store, "ack/edge1", "8");
	assert_int_equal(told.count, 1);
	/* What is under way when it closes is told so. */
	outcome = (struct outcome){0};
	assert_int_equal(
	    store_range(store, &(struct store_range){.key = "config"}, on_range, &outcome, NULL),
	    0);
	store_close(store);
	assert_int_equal(outcome.result, -ECANCELED);
}

static void on_acks(void *context, int result, const struct error *err,
		    const struct store_page *page)
{
	static const char *const expected[][2] = {
	    {"ack/node1", "6"}, {"ack/node2", "12"}, {"ack/node3", ""}};
	(void)err;
	assert_int_equal(result, 0);
	enum { COUNT = sizeof(expected) / sizeof(expected[0]) };
	assert_int_equal(page->count, COUNT);
	for (size_t i = 0; i < COUNT; i++) {
		const struct store_record *record = &page->records[i];
		assert_string_equal(record->key, expected[i][0]);
		assert_string_equal(record->value, expected[i][1]); /* a NUL follows it */
		assert_int_equal(record->value_length, strlen(expected[i][1]));
	}
	assert_int_equal(page->records[0].create_revision, 11);
	assert_int_equal(page->records[0].mod_revision, 13);
	*(bool *)context = true;
}

static void acks_in_a_frozen_store_are_records_like_others(void **state)
{
	(void)state;
	struct store *store = open_frozen();
	bool done = false;
	const char *const puts[][2] = {
	    {"ack/node2", "12"}, {"ack/node1", "345"}, {"ack/node3", ""}, {"ack/node1", "6"}};
	for (size_t i = 0; i < sizeof(puts) / sizeof(puts[0]); i++)
		assert_int_equal(put(store, puts[i][0], puts[i][1]).result, 0);
	const struct store_range all = {.key = "ack/", .prefix = true};
	assert_int_equal(store_range(store, &all, on_acks, &done, NULL), 0);
	store_dispatch(store);
	assert_true(done);
	/* A value that has no room for its NUL is refused, and so is one ack too many. */
	assert_int_equal(put(store, "ack/node4", "12345678901234567890123456789012").result,
			 -FL_ELIMIT);
	assert_int_equal(put(store, "ack/node4", "1234567890123456789012345678901").result, 0);
	for (char name[] = "ack/a"; name[4] < 'a' + 12; name[4]++)
		assert_int_equal(put(store, name, "1").result, 0);
	assert_int_equal(put(store, "ack/z", "1").result, -FL_ELIMIT);
	assert_int_equal(put(store, "ack/node1", "7").result, 0);
	store_close(store);
}

/* --- the count of crashes --- */

static struct crashes read_crashes(void)
{
	struct crashes crashes;
	crashes_read(&crashes, &disk_system, folder);
	return crashes;
}

static void starts_count_until_they_end_in_order(void **state)
{
	(void)state;
	struct crashes crashes = read_crashes();
	assert_int_equal(crashes.count, 0);
	for (unsigned start = 1; start <= 3; start++) {
		crashes = read_crashes();
		crashes_expect(&crashes, 0);
		crashes_expect(&crashes, 40 + start);
		crashes = read_crashes();
		assert_int_equal(crashes.count, start);
		assert_int_equal(crashes.sequence, 40 + start);
	}
	/* An end in order leaves the three as they were, and running well forgets them. */
	crashes_expect(&crashes, 50);
	crashes_take_back(&crashes);
	crashes = read_crashes();
	assert_int_equal(crashes.count, 3);
	assert_int_equal(crashes.sequence, 43);
	crashes_forget(&crashes);
	assert_int_equal(read_crashes().count, 0);
}

static void a_strange_count_is_none(void **state)
{
	(void)state;
	struct crashes crashes = read_crashes();
	char good[256];
	snprintf(good, sizeof(good), "fairlead starts 1\ncrashes 5\nsequence 9\nprogram %s\n",
		 crashes.program);
	const char *const strange[] = {
	    "", "fairlead starts 1\n", "fairlead starts 2\ncrashes 5\nsequence 9\nprogram x\n",
	    "fairlead starts 1\ncrashes 5\nsequence 9\nprogram another\n",
	    "fairlead starts 1\ncrashes -5\nsequence 9\nprogram x\n"};
	assert_int_equal(disk_replace(&disk_system, crashes.path, good, strlen(good), 0600, NULL),
			 0);
	assert_int_equal(read_crashes().count, 5);
	for (size_t i = 0; i < sizeof(strange) / sizeof(*strange); i++) {
		assert_int_equal(disk_replace(&disk_system, crashes.path, strange[i],
					      strlen(strange[i]), 0600, NULL),
				 0);
		assert_int_equal(read_crashes().count, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_written_is_read),
	    cmocka_unit_test(every_other_file_is_refused),
	    cmocka_unit_test(a_right_digest_is_not_enough),
	    cmocka_unit_test(records_that_do_not_belong_are_refused),
	    cmocka_unit_test(a_frozen_store_is_read_in_pages),
	    cmocka_unit_test(a_frozen_store_takes_acks_only),
	    cmocka_unit_test(acks_in_a_frozen_store_are_records_like_others),
	    cmocka_unit_test(starts_count_until_they_end_in_order),
	    cmocka_unit_test(a_strange_count_is_none),
	};
	return cmocka_run_group_tests_name("snapshot", tests, setup, teardown);
}
