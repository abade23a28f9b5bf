/* SPDX-License-Identifier: Apache-2.0 */
/* What a daemon starts from. The faults of a whole node are in tests/lab/test_faults_store.py. */
#include "daemon/origin.h"

#include "state/snapshot.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SEQUENCE 5 /* on which it crashed */

static char folder[64];
static struct origin_options options;

static int set_up(void **state)
{
	(void)state;
	snprintf(folder, sizeof(folder), "/tmp/fairlead-test-XXXXXX");
	options = (struct origin_options){
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

static int tear_down(void **state)
{
	(void)state;
	return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void close_origin(struct origin *origin, struct image *image)
{
	image_done(image);
	store_close(origin->store);
	ledger_signer_free(origin->signer);
}

static void open_and_close(void)
{
	struct origin origin;
	struct image image;
	assert_int_equal(origin_open(&options, &origin, &image, NULL), 0);
	crashes_take_back(&origin.crashes);
	close_origin(&origin, &image);
}

/* A snapshot of an earlier entry, of its head and one record before it. */
static void write_last_good(const char *key, const char *value)
{
	static const char ledger[] =
	    "{\"hash\":\"1111111111111111111111111111111111111111111111111111111111111111\","
	    "\"sequence\":4}";
	const struct snapshot_head head = {
	    .node = "edge1", .revision = 9, .sequence = SEQUENCE - 1};
	const struct store_record records[] = {
	    {.key = key, .value = value, .value_length = strlen(value)},
	    {.key = "ledger/head", .value = ledger, .value_length = sizeof(ledger) - 1}};
	struct snapshot_writer writer;
	struct buffer bytes;
	char path[128];
	snprintf(path, sizeof(path), "%s/" ORIGIN_GOOD, folder);
	buffer_init(&bytes, 0);
	for (size_t i = 0; i < 2; i++)
		snapshot_put_record(&records[i], &bytes);
	assert_int_equal(snapshot_writer_begin(&writer, &disk_system, path, &head, NULL), 0);
	assert_int_equal(snapshot_writer_add(&writer, bytes.data, bytes.length, NULL), 0);
	assert_int_equal(snapshot_writer_commit(&writer, NULL), 0);
	buffer_done(&bytes);
}

static void crash(void)
{
	struct crashes crashes;
	crashes_read(&crashes, &disk_system, folder);
	crashes.count = ORIGIN_CRASHES - 1;
	crashes_expect(&crashes, SEQUENCE);
}

static void crashes_lead_to_the_last_good_snapshot(void **state)
{
	(void)state;
	struct origin origin;
	struct image image;
	open_and_close();
	write_last_good("forgotten/web1", "4");
	crash();
	assert_int_equal(origin_open(&options, &origin, &image, NULL), 0);
	assert_int_equal(origin.kind, ORIGIN_LAST_GOOD);
	assert_non_null(strstr(origin.why, "ended uncleanly 3 times"));
	assert_int_equal(image.forgotten_count, 1);
	close_origin(&origin, &image);
}

/* The store is all there is then, and it takes orders. */
static void one_that_cannot_be_loaded_leads_nowhere(void **state)
{
	(void)state;
	struct origin origin;
	struct image image;
	open_and_close();
	write_last_good("config", "no configuration");
	crash();
	assert_int_equal(origin_open(&options, &origin, &image, NULL), 0);
	assert_int_equal(origin.kind, ORIGIN_STORE);
	assert_string_equal(origin.why, "");
	assert_non_null(origin.signer);
	assert_int_equal(image.head.sequence, 1);
	close_origin(&origin, &image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(crashes_lead_to_the_last_good_snapshot, set_up,
					    tear_down),
	    cmocka_unit_test_setup_teardown(one_that_cannot_be_loaded_leads_nowhere, set_up,
					    tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
