/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation of the store and of the state fails in turn (failing_memory.h), those
 * of SQLite and of jansson among them: each call says -ENOMEM, leaks nothing, and changes nothing.
 */
#include "base/arena.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "base/random.h"
#include "config/config.h"
#include "fabric/landings.h"
#include "fabric/reports.h"
#include "failing_memory.h"
#include "ledger/ledger.h"
#include "state/changes.h"
#include "state/config_records.h"
#include "state/follower.h"
#include "state/image.h"
#include "state/placement_records.h"
#include "state/records.h"
#include "state/replica.h"
#include "state/undo.h"
#include "store/store.h"
#include "yaml/findings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS 20000

static const char file_text[] =
    "fabric: example\n"
    "zone: svc.example.net\n"
    "pools: [{prefix: 198.51.100.0/26, site_bits: 1}]\n"
    "sites: {fra: {}}\n"
    "services:\n"
    "  web:\n"
    "    ports: [tcp/80]\n"
    "    backends: [{name: web1, site: fra, address: 10.0.1.11, weight: 10}]\n";

/* In memory: thousands of starts are not to wait for a disk. */
static char folder[] = "/dev/shm/fairlead-memory-XXXXXX";

/* What the steps work with, made while there is memory. */
static struct {
	struct arena arena;
	struct fabric *fabric;
	struct placement *placement;
	struct version *version;
	struct service_state service;
	struct member member;
	struct ledger_signer *signer;
	struct store *store;
} sample = {.member = {.name = "edge1",
		       .site = "fra",
		       .key = "ed25519:",
		       .roles = MEMBER_EDGE | MEMBER_VOTER,
		       .features = MEMBER_FEATURES}};

/* --- blocking calls that allocate nothing themselves --- */

struct outcome {
	bool done;
	int result;
	struct store_txn_outcome txn;
	uint64_t revision;
	size_t count;
	uint64_t lease;
};

static void on_txn(void *context, int result, const struct error *err,
		   const struct store_txn_outcome *outcome)
{
	struct outcome *ours = context;
	assert_int_equal(result < 0, err != NULL);
	ours->done = true;
	ours->result = result;
	if (outcome)
		ours->txn = *outcome;
}

static void on_range(void *context, int result, const struct error *err,
		     const struct store_page *page)
{
	struct outcome *ours = context;
	assert_int_equal(result < 0, err != NULL);
	ours->done = true;
	ours->result = result;
	if (page) {
		ours->revision = page->revision;
		ours->count = page->count;
	}
}

static void on_lease(void *context, int result, const struct error *err, uint64_t lease,
		     uint64_t ttl_ms)
{
	struct outcome *ours = context;
	(void)err, (void)ttl_ms;
	ours->done = true;
	ours->result = result;
	ours->lease = lease;
}

static int finish(struct store *store, struct outcome *outcome, int queued)
{
	if (queued < 0)
		return queued;
	while (!outcome->done)
		store_dispatch(store);
	return outcome->result;
}

static int txn(struct store *store, const struct store_txn *txn, struct outcome *outcome)
{
	struct error err = {0};
	*outcome = (struct outcome){0};
	return finish(store, outcome, store_txn(store, txn, on_txn, outcome, &err));
}

static int range(struct store *store, const char *prefix, struct outcome *outcome)
{
	const struct store_range all = {.key = prefix, .prefix = true};
	struct error err = {0};
	*outcome = (struct outcome){0};
	return finish(store, outcome, store_range(store, &all, on_range, outcome, &err));
}

static int open_store(struct store **ret_store)
{
	const struct store_sqlite_options options = {
	    .folder = folder, .clock = &clock_system, .history_revisions = 2};
	struct error err = {0};
	int result = store_open_sqlite(&options, ret_store, &err);
	assert_int_equal(err.code, result);
	return result;
}

/* --- a store that holds a fabric --- */

static void put(const char *key, int (*write)(const void *record, struct buffer *value),
		const void *record)
{
	struct buffer value;
	struct outcome outcome;
	buffer_init(&value, 0);
	assert_int_equal(write(record, &value), 0);
	const struct store_op op = {
	    .kind = STORE_PUT, .key = key, .value = value.data, .value_length = value.length};
	const struct store_txn one = {.ops = &op, .op_count = 1};
	assert_int_equal(txn(sample.store, &one, &outcome), 0);
	buffer_done(&value);
}

static int write_names(const void *record, struct buffer *value)
{
	return config_fabric_put(record, value);
}

static int write_setting(const void *record, struct buffer *value)
{
	const struct settings *settings = record;
	return config_setting_put(settings->quiet_ms, value);
}

static int write_pool(const void *record, struct buffer *value)
{
	return config_pool_put(record, value);
}

static int write_site(const void *record, struct buffer *value)
{
	return config_site_put(record, value);
}

static int write_config(const void *record, struct buffer *value)
{
	return config_service_put(record, value);
}

static int write_placed_pool(const void *record, struct buffer *value)
{
	const struct placed_pool_record pool = {.placed = *(const struct placed_pool *)record};
	return placed_pool_put(&pool, value);
}

static int write_placed_site(const void *record, struct buffer *value)
{
	return placed_site_put(record, value);
}

static int write_slot(const void *record, struct buffer *value)
{
	return freed_slot_put(record, value);
}

static int write_version(const void *record, struct buffer *value)
{
	return record_version_put(record, value);
}

static int write_service(const void *record, struct buffer *value)
{
	return record_service_put(record, value);
}

static int write_member(const void *record, struct buffer *value)
{
	return record_member_put(record, value);
}

static int write_number(const void *record, struct buffer *value)
{
	buffer_puts(value, record);
	return value->status;
}

static int write_ended(const void *record, struct buffer *value)
{
	return record_ended_put(record, value);
}

static const struct freed_slot_record freed_slot = {
    .slot = {.slot = 7, .sequence = 1, .binding_number = 1}, .service = "web"};

static void introduce(void)
{
	const struct ledger_change change = {.time_ms = 1, .who = "fairlead", .why = ""};
	const struct ledger_head empty = {0};
	struct ledger_append append;
	struct outcome outcome;
	assert_int_equal(ledger_introduce_ops(&empty, sample.signer, &change, "edge1",
					      ledger_signer_public_key(sample.signer),
					      &sample.arena, &append, NULL),
			 0);
	const struct store_txn one = {.compares = append.compares,
				      .compare_count = append.compare_count,
				      .ops = append.ops,
				      .op_count = append.op_count};
	assert_int_equal(txn(sample.store, &one, &outcome), 0);
}

static void fill_store(void)
{
	char key[RECORD_KEY_BYTES];
	introduce();
	put("config/fabric", write_names, sample.fabric);
	put("config/setting/quiet", write_setting, &sample.fabric->settings);
	put("config/pool/00", write_pool, &sample.fabric->pools[0]);
	put("config/site/fra", write_site, &sample.fabric->sites[0]);
	put("config/service/web", write_config, &sample.fabric->services[0]);
	put("placement/pool/00", write_placed_pool, &sample.placement->pools[0]);
	put("placement/site/000", write_placed_site, sample.placement->sites[0]);
	put("placement/slot/00/0000007", write_slot, &freed_slot);
	put(record_version_key("web", 1, key), write_version, sample.version);
	put(record_service_key("web", key), write_service, &sample.service);
	put(record_member_key("edge1", key), write_member, &sample.member);
	const struct ip_address address = {.bytes = {10, 0, 1, 9}, .family = IP_V4};
	put(record_forgotten_key("gone", &address, key), write_number, "1");
	put(record_ended_key("gone", key), write_ended, &(struct ended_service){.next_version = 2});
}

static int setup(void **state)
{
	static struct findings findings;
	const struct binding binding = {.slot = 1};
	const uint8_t salt[16] = {0};
	struct random random;
	if (failing_memory_setup(state) < 0 || !mkdtemp(folder))
		return -1;
	random_init_seeded(&random, 1);
	arena_init(&sample.arena, 0);
	assert_int_equal(config_parse(file_text, strlen(file_text), "f", &sample.arena,
				      &sample.fabric, &findings),
			 0);
	assert_int_equal(
	    placement_update(NULL, sample.fabric, NULL, 0, &sample.arena, &sample.placement, NULL),
	    0);
	assert_int_equal(version_build(sample.fabric, &sample.fabric->services[0], 1, NULL, &random,
				       &sample.arena, &sample.version, NULL),
			 0);
	sample.service = (struct service_state){.name = "web", .next_version = 1};
	assert_int_equal(lifecycle_publish(&sample.service, sample.version, &binding, 1, salt, 1, 1,
					   &sample.arena, NULL),
			 0);
	assert_int_equal(ledger_signer_open(folder, "edge1", &sample.signer, NULL), 0);
	assert_int_equal(open_store(&sample.store), 0);
	fill_store();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	store_close(sample.store);
	ledger_signer_free(sample.signer);
	arena_done(&sample.arena);
	DIR *list = opendir(folder);
	const struct dirent *file;
	while (list && (file = readdir(list))) {
		char path[512];
		snprintf(path, sizeof(path), "%s/%s", folder, file->d_name);
		if (file->d_name[0] != '.')
			(void)unlink(path);
	}
	if (list)
		closedir(list);
	return rmdir(folder);
}

/* --- records and ledger --- */

struct writing {
	int (*write)(const void *record, struct buffer *value);
	const void *record;
};

static int step_put(void *context)
{
	const struct writing *writing = context;
	struct buffer value;
	buffer_init(&value, 0);
	int result = writing->write(writing->record, &value);
	buffer_done(&value);
	return result;
}

static int step_parse_service(void *context)
{
	const struct buffer *value = context;
	struct arena arena;
	struct service_state *service;
	struct error err = {0};
	arena_init(&arena, 0);
	int result = record_service_parse(value->data, value->length, &arena, &service, &err);
	arena_done(&arena);
	return result;
}

static const char old_placement[] =
    "{\"pools\":[{\"prefix\":\"198.51.100.0/26\",\"site_bits\":1,\"slots_per_service\":0,"
    "\"removed\":false}],\"sites\":[\"fra\"],\"services\":[\"web\"],\"used_slots\":[]}";

static int step_parse_placement(void *context)
{
	const char *value = context;
	struct arena arena;
	struct placement *placement;
	struct error err = {0};
	arena_init(&arena, 0);
	int result = old_placement_parse(value, strlen(value), &arena, &placement, &err);
	arena_done(&arena);
	return result;
}

static int step_parse_config(void *context)
{
	const struct buffer *value = context;
	struct arena arena;
	struct service service;
	struct error err = {0};
	arena_init(&arena, 0);
	int result =
	    config_service_parse(value->data, value->length, "web", &arena, &service, &err);
	arena_done(&arena);
	return result;
}

static int step_parse_version(void *context)
{
	const struct buffer *value = context;
	struct arena arena;
	struct version *version;
	struct error err = {0};
	arena_init(&arena, 0);
	int result = record_version_parse(value->data, value->length, &arena, &version, &err);
	arena_done(&arena);
	return result;
}

static void test_records(void **state)
{
	struct buffer service;
	struct buffer config;
	struct buffer version;
	struct writing put_service = {write_service, &sample.service};
	struct writing put_config = {write_config, &sample.fabric->services[0]};
	struct writing put_slot = {write_slot, &freed_slot};
	struct writing put_version = {write_version, sample.version};
	(void)state;
	buffer_init(&service, 0);
	buffer_init(&config, 0);
	buffer_init(&version, 0);
	assert_int_equal(record_service_put(&sample.service, &service), 0);
	assert_int_equal(write_config(&sample.fabric->services[0], &config), 0);
	assert_int_equal(record_version_put(sample.version, &version), 0);
	failing_memory_each("record_service_put", step_put, &put_service, 3);
	failing_memory_each("config_service_put", step_put, &put_config, 1);
	failing_memory_each("freed_slot_put", step_put, &put_slot, 1);
	failing_memory_each("record_version_put", step_put, &put_version, 2);
	failing_memory_each("record_service_parse", step_parse_service, &service, 1);
	failing_memory_each("config_service_parse", step_parse_config, &config, 1);
	failing_memory_each("old_placement_parse", step_parse_placement,
			    (void *)(uintptr_t)old_placement, 1);
	failing_memory_each("record_version_parse", step_parse_version, &version, 1);
	buffer_done(&service);
	buffer_done(&config);
	buffer_done(&version);
}

static struct ledger_head head_now(void)
{
	struct image image = {0};
	assert_int_equal(image_load(&image, sample.store, 0, NULL), 0);
	struct ledger_head head = image.head;
	image_done(&image);
	return head;
}

static int step_append(void *context)
{
	const struct ledger_change *change = context;
	struct ledger_append append;
	struct ledger_entry entry;
	struct arena arena;
	struct error err = {0};
	failing_memory_pause();
	const struct ledger_head head = head_now();
	failing_memory_go_on();
	arena_init(&arena, 0);
	int result = ledger_append_ops(&head, sample.signer, change, &arena, &append, &err);
	if (result == 0) {
		const struct store_op *op = &append.ops[0];
		result = ledger_entry_parse(op->value, op->value_length, &entry, &err);
		if (result == 0)
			ledger_entry_done(&entry);
	}
	arena_done(&arena);
	return result;
}

static void on_verified(void *context, int result, const struct error *err,
			const struct ledger_verdict *verdict)
{
	struct outcome *ours = context;
	(void)err, (void)verdict;
	ours->done = true;
	ours->result = result;
}

static int step_verify(void *context)
{
	const struct ledger_verify verify = {.signer = sample.signer};
	struct outcome outcome = {0};
	struct error err = {0};
	(void)context;
	return finish(sample.store, &outcome,
		      ledger_verify(sample.store, &verify, on_verified, &outcome, &err));
}

static void on_entries(void *context, int result, const struct error *err,
		       const struct ledger_page *page)
{
	struct outcome *ours = context;
	(void)err, (void)page;
	ours->done = true;
	ours->result = result;
}

static int step_entries(void *context)
{
	struct outcome outcome = {0};
	struct error err = {0};
	(void)context;
	return finish(sample.store, &outcome,
		      ledger_range(sample.store, 0, 10, on_entries, &outcome, &err));
}

static void test_ledger(void **state)
{
	(void)state;
	json_t *what = json_pack("{s:{s:[i,i]}}", "a", "b", 1, 2);
	const struct ledger_change change = {
	    .time_ms = 1, .who = "w", .why = "y", .kind = "k", .what = what};
	failing_memory_each("ledger_append_ops", step_append, (void *)(uintptr_t)&change, 1);
	failing_memory_each_or_less("ledger_verify", step_verify, NULL, 20);
	failing_memory_each_or_less("ledger_range", step_entries, NULL, 20);
	json_decref(what);
}

/* --- the embedded engine --- */

static int step_open(void *context)
{
	struct store *store = NULL;
	(void)context;
	int result = open_store(&store);
	assert_int_equal(result < 0, !store);
	store_close(store);
	return result;
}

static uint64_t revision_now(void)
{
	struct outcome outcome;
	failing_memory_pause();
	assert_int_equal(range(sample.store, "none", &outcome), 0);
	failing_memory_go_on();
	return outcome.revision;
}

static int step_txn(void *context)
{
	struct outcome outcome;
	uint64_t before = revision_now();
	const struct store_op ops[] = {
	    {.kind = STORE_PUT, .key = "scratch/a", .value = "one", .value_length = 3},
	    {.kind = STORE_DELETE, .key = "scratch/b"}};
	const struct store_txn two = {.ops = ops, .op_count = 2, .id = context};
	int result = txn(sample.store, &two, &outcome);
	assert_int_equal(revision_now(), before + (result == 0 && !outcome.txn.repeated));
	return result;
}

static int step_range(void *context)
{
	struct outcome outcome;
	(void)context;
	int result = range(sample.store, "", &outcome);
	if (result == 0)
		assert_true(outcome.count > 5);
	return result;
}

static void count_events(void *context, int result, const struct error *err, uint64_t revision,
			 const struct store_event *events, size_t count)
{
	struct outcome *ours = context;
	(void)err, (void)revision, (void)events;
	ours->result = result;
	ours->count += count;
}

/* A watch that cannot be told for want of memory is told later, or told so. */
static int step_watch(void *context)
{
	struct outcome told = {0};
	struct outcome outcome;
	struct store_watch *watch = NULL;
	struct error err = {0};
	const struct store_op op = {
	    .kind = STORE_PUT, .key = "scratch/a", .value = "one", .value_length = 3};
	const struct store_txn one = {.ops = &op, .op_count = 1};
	(void)context;
	failing_memory_pause();
	assert_int_equal(txn(sample.store, &one, &outcome), 0);
	failing_memory_go_on();
	int result = store_watch(sample.store, "scratch/", outcome.txn.revision, count_events,
				 &told, &watch, &err);
	if (result < 0)
		return result;
	store_dispatch(sample.store);
	failing_memory_pause();
	store_dispatch(sample.store);
	failing_memory_go_on();
	store_watch_cancel(watch);
	assert_true(told.result < 0 || told.count > 0);
	return told.result;
}

static int step_lease(void *context)
{
	struct outcome outcome = {0};
	struct error err = {0};
	(void)context;
	int result = finish(sample.store, &outcome,
			    store_lease_grant(sample.store, 1000, on_lease, &outcome, &err));
	if (result < 0)
		return result;
	uint64_t lease = outcome.lease;
	outcome = (struct outcome){0};
	result = finish(sample.store, &outcome,
			store_lease_revoke(sample.store, lease, on_lease, &outcome, &err));
	if (result == -ENOMEM) {
		failing_memory_pause();
		outcome = (struct outcome){0};
		assert_int_equal(
		    finish(sample.store, &outcome,
			   store_lease_revoke(sample.store, lease, on_lease, &outcome, NULL)),
		    0);
		failing_memory_go_on();
	}
	return result;
}

static void test_engine(void **state)
{
	static char id[] = "an-id";
	(void)state;
	/* SQLite can do without some of what it asks for. */
	failing_memory_each_or_less("store_txn", step_txn, NULL, 10);
	failing_memory_each_or_less("store_txn with an id", step_txn, id, 10);
	failing_memory_each_or_less("store_range", step_range, NULL, 10);
	failing_memory_each_or_less("store_watch", step_watch, NULL, 5);
	failing_memory_each_or_less("store_lease", step_lease, NULL, 5);
	store_close(sample.store);
	sample.store = NULL;
	failing_memory_each_or_less("store_open_sqlite", step_open, NULL, 100);
	assert_int_equal(open_store(&sample.store), 0);
}

/* --- copies and replicas --- */

static char copy_path[64];

static int step_write_copy(void *context)
{
	struct error err = {0};
	(void)context;
	return store_sqlite_copy(folder, &disk_system, copy_path, &err);
}

static int step_open_copy(void *context)
{
	const struct store_copy_options options = {
	    .path = copy_path, .clock = &clock_system, .why = "it is lost"};
	struct store *store = NULL;
	struct outcome outcome;
	struct error err = {0};
	(void)context;
	int result = store_open_copy(&options, &store, &err);
	if (result < 0) {
		assert_null(store);
		return result;
	}
	result = range(store, "service/", &outcome);
	if (result == 0)
		assert_int_equal(outcome.count, 1);
	store_close(store);
	return result;
}

static void on_imported(void *context, int result, const struct error *err)
{
	struct outcome *ours = context;
	(void)err;
	ours->done = true;
	ours->result = result;
}

/* From nothing to a copy of all that the sample holds. */
static int step_follow(void *context)
{
	static const struct store_import nothing = {.authority = {{1}}, .replace = true};
	struct store *replica = context;
	struct follower *follower = NULL;
	struct outcome outcome = {0};
	struct error err = {0};
	struct store_id id = store_id(sample.store);
	failing_memory_pause();
	assert_int_equal(
	    finish(replica, &outcome,
		   store_sqlite_import(replica, &nothing, on_imported, &outcome, &err)),
	    0);
	failing_memory_go_on();
	int result = follower_new(sample.store, replica, &follower);
	if (result < 0)
		return result;
	follower_run(follower, 1);
	while (follower_state(follower) == FOLLOWER_CATCHING_UP) {
		store_dispatch(sample.store);
		store_dispatch(replica);
	}
	failing_memory_pause();
	struct store_id own = store_id(replica);
	bool failed = follower_state(follower) == FOLLOWER_FAILED;
	assert_true(failed || store_id_equal(&id, &own));
	if (failed)
		assert_non_null(strstr(follower_alarm(follower), "memory"));
	follower_stop(follower);
	follower_free(follower);
	failing_memory_go_on();
	return failed ? -ENOMEM : 0;
}

static int step_mark(void *context)
{
	struct mark mark;
	(void)context;
	int result = mark_read(&mark, &disk_system, folder);
	if (result == 0)
		assert_int_equal(mark.newest.position.sequence, 7);
	return result;
}

static void test_copies(void **state)
{
	static const struct mark_note note = {.position.sequence = 7};
	struct mark mark;
	struct store *replica = NULL;
	char other[64];
	const struct store_sqlite_options options = {.folder = other, .clock = &clock_system};
	(void)state;
	snprintf(copy_path, sizeof(copy_path), "%s/copy", folder);
	snprintf(other, sizeof(other), "%s/other", folder);
	failing_memory_each_or_less("store_sqlite_copy", step_write_copy, NULL, 100);
	failing_memory_each_or_less("store_open_copy", step_open_copy, NULL, 100);
	assert_int_equal(store_open_sqlite(&options, &replica, NULL), 0);
	failing_memory_each_or_less("follower", step_follow, replica, 20);
	store_close(replica);
	for (size_t i = 0; i < 2; i++) {
		char path[96];
		snprintf(path, sizeof(path), "%s/%s", other, i ? "store.lock" : "store.db");
		assert_int_equal(unlink(path), 0);
	}
	assert_int_equal(rmdir(other), 0);
	assert_int_equal(mark_read(&mark, &disk_system, folder), 0);
	assert_int_equal(mark_write(&mark, &note, NULL), 0);
	failing_memory_each("mark_read", step_mark, NULL, 1);
	assert_int_equal(unlink(mark.path), 0);
	unlink(copy_path);
}

/* --- the daemon's state --- */

static int step_load(void *context)
{
	struct image image = {0};
	struct error err = {0};
	(void)context;
	int result = image_load(&image, sample.store, 0, &err);
	if (result == 0)
		assert_int_equal(image.state_count, 1);
	image_done(&image);
	return result;
}

/* The daemon ends after a failure: what is asked of the image is that it can be freed. */
static int step_update(void *context)
{
	const struct store_event *event = context;
	struct image image = {0};
	struct error err = {0};
	failing_memory_pause();
	assert_int_equal(image_load(&image, sample.store, 0, NULL), 0);
	failing_memory_go_on();
	int result = image_update(&image, image.revision + 1, event, 1, 0, &err);
	image_done(&image);
	return result;
}

static void test_image(void **state)
{
	struct buffer service;
	(void)state;
	buffer_init(&service, 0);
	assert_int_equal(record_service_put(&sample.service, &service), 0);
	const struct store_event changed = {.kind = STORE_PUT,
					    .record = {.key = "service/web",
						       .value = service.data,
						       .value_length = service.length}};
	const struct store_event forgotten = {
	    .kind = STORE_PUT, .record = {.key = "forgotten/new", .value = "5", .value_length = 1}};
	failing_memory_each_or_less("image_load", step_load, NULL, 50);
	failing_memory_each("image_update, service", step_update, (void *)(uintptr_t)&changed, 2);
	failing_memory_each("image_update, forgotten", step_update, (void *)(uintptr_t)&forgotten,
			    2);
	buffer_done(&service);
}

struct deed {
	struct change change;
	bool done;
	int result;
};

static int build_deed(struct change *change, struct change_draft *draft, struct error *err)
{
	struct buffer value;
	(void)change, (void)err;
	buffer_init(&value, 0);
	buffer_puts(&value, "1");
	int result = value.status;
	if (result == 0)
		result = draft_put_new(draft, "forgotten/other", &value);
	buffer_done(&value);
	draft->what = json_pack("{s:s}", "backend", "other");
	return result < 0 ? result : draft->what ? CHANGE_COMMIT : -ENOMEM;
}

static void deed_done(struct change *change, int result, const struct error *err, uint64_t sequence)
{
	struct deed *deed = (struct deed *)change;
	(void)sequence;
	assert_int_equal(result < 0, err != NULL);
	deed->done = true;
	deed->result = result;
}

static int step_change(void *context)
{
	const struct clock *clock = context;
	struct changes *changes = NULL;
	struct image image = {0};
	struct random random;
	struct deed deed = {
	    .change = {.kind = "deed", .who = "walker", .build = build_deed, .done = deed_done}};
	failing_memory_pause();
	assert_int_equal(image_load(&image, sample.store, 0, NULL), 0);
	failing_memory_go_on();
	uint64_t before = image.revision;
	const struct changes_options options = {.authority = sample.store,
						.image = &image,
						.signer = sample.signer,
						.clock = clock,
						.steady = clock,
						.random = &random};
	random_init_system(&random);
	int result = changes_new(&options, &changes);
	if (result == 0) {
		changes_submit(changes, &deed.change);
		for (int i = 0; i < 3 && !deed.done; i++)
			store_dispatch(sample.store);
		/* No watch tells of the commit here: it is over when the image has it. */
		if (!deed.done) {
			image.revision++;
			changes_image_moved(changes);
		}
		assert_true(deed.done);
		result = deed.result;
	}
	changes_stop(changes);
	changes_free(changes);
	if (result < 0)
		assert_int_equal(revision_now(), before);
	image_done(&image);
	return result;
}

/* What an entry keeps, and the way back that is made of it. */
static int step_undo(void *context)
{
	const struct image *image = context;
	struct change_draft draft = {.image = image, .op_count = 3};
	json_t *changed = NULL;
	struct fabric *fabric = NULL;
	struct arena arena;
	draft.ops[0] = (struct store_op){.kind = STORE_DELETE, .key = "config/service/web"};
	draft.ops[1] = (struct store_op){.kind = STORE_DELETE, .key = "config/site/fra"};
	draft.ops[2] = (struct store_op){
	    .kind = STORE_PUT, .key = "config/setting/quiet", .value = "{}", .value_length = 2};
	arena_init(&arena, 0);
	int result = undo_note(&draft, &changed);
	if (result == 0) {
		/* As if it had left things as they are. */
		failing_memory_pause();
		json_t *what = json_pack("{s:o}", "changed", changed);
		for (size_t i = 0; i < json_array_size(changed); i++) {
			json_t *change = json_array_get(changed, i);
			json_object_set(change, "after", json_object_get(change, "before"));
		}
		failing_memory_go_on();
		result = undo_fabric(image, 7, what, NULL, &arena, &fabric, NULL);
		json_decref(what);
	}
	arena_done(&arena);
	return result;
}

static void test_undo(void **state)
{
	struct image image = {0};
	(void)state;
	assert_int_equal(image_load(&image, sample.store, 0, NULL), 0);
	failing_memory_each("undo", step_undo, &image, 10);
	image_done(&image);
}

static void test_changes(void **state)
{
	(void)state;
	failing_memory_each_or_less("a change", step_change, (void *)(uintptr_t)&clock_system, 30);
}

static int step_report(void *context)
{
	static const struct peer_count count = {.address = {{198, 51, 100, 1}, IP_V4}};
	static const struct peer_hello who = {.node = "web1", .boot_id = "b", .instance = "i"};
	static const struct peer_end owned = {.address = {{10, 0, 1, 11}, IP_V4}};
	static const struct peer_report said = {.counts = {&count, 1}, .owned = {&owned, 1}};
	static const struct image image;
	const struct report_moment moment = {.now_ms = 5, .interval_ms = 1000, .image = &image};
	struct reports *reports = NULL;
	struct arena arena;
	struct error err = {0};
	(void)context;
	arena_init(&arena, 0);
	int result = reports_new(&reports);
	if (result == 0)
		result = reports_take(reports, &who, &said, &arena, &moment, &err);
	if (reports && result < 0)
		assert_null(reports_at(reports, 0));
	reports_free(reports);
	arena_done(&arena);
	return result;
}

/* What a landing is to be, from an image, over a message, to the landing. */
static int step_landings(void *context)
{
	struct landings *landings = NULL;
	struct landing_set *set = NULL;
	struct landing_set *held = NULL;
	struct peer_configure message;
	struct arena arena;
	struct error err = {0};
	arena_init(&arena, 0);
	int result = landings_new(&landings);
	if (result == 0)
		result = landings_update(landings, context);
	if (result == 0)
		result = landings_wanted(landings, "web1", &set);
	if (result == 0) {
		assert_non_null(set);
		result = landing_set_diff(NULL, set, &arena, &message);
	}
	if (result == 0)
		result = landing_set_apply(NULL, &message, &held, &err);
	landing_set_unref(held);
	landings_free(landings);
	arena_done(&arena);
	return result;
}

static void test_landings(void **state)
{
	(void)state;
	static struct backend_listener listener = {.protocol = 6, .service_port = 80, .port = 80};
	static struct backend backend = {.name = "web1",
					 .address = {{10, 0, 0, 1}, IP_V4},
					 .listeners = &listener,
					 .listener_count = 1};
	static struct version version = {.number = 1, .backends = &backend, .backend_count = 1};
	static struct image_version known = {.version = &version};
	static struct image_version *versions[] = {&known};
	static struct version_status status = {.number = 1, .cut = true};
	static struct binding binding = {.slot = 1, .version = 1};
	static struct service_state service = {.name = "web",
					       .versions = &status,
					       .version_count = 1,
					       .bindings = &binding,
					       .binding_count = 1};
	static struct image_service entry = {.state = &service,
					     .mod_revision = 1,
					     .name = "web",
					     .versions = versions,
					     .version_count = 1};
	static struct image_service *services[] = {&entry};
	static struct member edge = {.name = "edge1", .roles = MEMBER_EDGE};
	static struct image_member member = {.member = &edge, .mod_revision = 1};
	struct image image = {.members = &member,
			      .members_revision = 1,
			      .member_count = 1,
			      .placement = sample.placement,
			      .placement_revision = 1,
			      .services = services,
			      .service_count = 1,
			      .revision = 1};
	failing_memory_each("landings", step_landings, &image, 15);
}

static void test_reports(void **state)
{
	(void)state;
	failing_memory_each("reports_take", step_report, NULL, 3);
}

static int step_replica(void *context)
{
	const struct replica_options *options = context;
	struct replica replica = {0};
	struct image image = {0};
	struct error err = {0};
	int result = replica_open(options, &replica, &image, &err);
	if (result < 0) {
		assert_null(replica.store);
		assert_null(replica.signer);
		assert_int_equal(image.service_count, 0);
		return result;
	}
	assert_int_equal(image.state_count, 1);
	image_done(&image);
	store_close(replica.store);
	ledger_signer_free(replica.signer);
	return 0;
}

static void test_replica(void **state)
{
	(void)state;
	const struct replica_options options = {
	    .folder = folder, .node = "edge1", .clock = &clock_system, .disk = &disk_system};
	store_close(sample.store);
	sample.store = NULL;
	failing_memory_each_or_less("replica_open", step_replica, (void *)(uintptr_t)&options, 100);
	assert_int_equal(open_store(&sample.store), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_records),  cmocka_unit_test(test_ledger),
	    cmocka_unit_test(test_engine),   cmocka_unit_test(test_copies),
	    cmocka_unit_test(test_image),    cmocka_unit_test(test_undo),
	    cmocka_unit_test(test_changes),  cmocka_unit_test(test_reports),
	    cmocka_unit_test(test_landings), cmocka_unit_test(test_replica),
	};
	return cmocka_run_group_tests_name("memory_state", tests, setup, teardown);
}
