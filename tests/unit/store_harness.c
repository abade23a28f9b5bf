/* SPDX-License-Identifier: Apache-2.0 */
#include "store_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS 20000

static uint64_t harness_now_ms(void *context)
{
	return ((const struct harness *)context)->now_ms;
}

static int sqlite_open(struct harness *harness, struct store **ret_store, struct error *err)
{
	struct store_sqlite_options options = {.folder = harness->folder,
					       .clock = &harness->clock,
					       .history_revisions = harness->history_revisions};
	return store_open_sqlite(&options, ret_store, err);
}

static void sqlite_advance(struct harness *harness, uint64_t ms)
{
	harness->now_ms += ms;
}

const struct harness_engine harness_sqlite = {
    .name = "sqlite", .open = sqlite_open, .advance = sqlite_advance};

static int peer_open(struct harness *harness, struct store **ret_store, struct error *err)
{
	struct store *served;
	int result = sqlite_open(harness, &served, err);
	if (result < 0)
		return result;
	peer_wire_init(&harness->wire, served, 1);
	/* A watch that heard nothing for longer than the history reaches cannot be resumed. */
	harness->wire.cuts_when_idle = harness->history_revisions ? 0 : 100;
	peer_wire_settle(&harness->wire);
	*ret_store = &harness->wire.base;
	return 0;
}

const struct harness_engine harness_peer = {
    .name = "peer", .open = peer_open, .advance = sqlite_advance};

void harness_init(struct harness *harness, const struct harness_engine *engine)
{
	*harness = (struct harness){.engine = engine, .now_ms = 1000000};
	harness->clock =
	    (struct clock){.now_ms = harness_now_ms, .wall_ms = harness_now_ms, .context = harness};
	arena_init(&harness->arena, 0);
	snprintf(harness->folder, sizeof(harness->folder), "/tmp/fairlead-store-XXXXXX");
	assert_non_null(mkdtemp(harness->folder));
}

static void folder_remove(const char *path)
{
	DIR *folder = opendir(path);
	if (!folder)
		return;
	const struct dirent *file;
	while ((file = readdir(folder))) {
		char name[512];
		snprintf(name, sizeof(name), "%s/%s", path, file->d_name);
		if (file->d_name[0] != '.')
			unlink(name);
	}
	closedir(folder);
	rmdir(path);
}

void harness_done(struct harness *harness)
{
	harness_close(harness);
	arena_done(&harness->arena);
	folder_remove(harness->folder);
}

void harness_open(struct harness *harness)
{
	if (harness->engine->open(harness, &harness->store, &harness->err) < 0)
		fail_msg("%s", harness->err.text);
}

void harness_close(struct harness *harness)
{
	store_close(harness->store);
	harness->store = NULL;
}

void harness_reopen(struct harness *harness)
{
	harness_close(harness);
	harness_open(harness);
}

void harness_advance(struct harness *harness, uint64_t ms)
{
	harness->engine->advance(harness, ms);
}

void harness_settle(struct harness *harness)
{
	struct pollfd event = {.fd = store_fd(harness->store), .events = POLLIN};
	while (poll(&event, 1, 0) > 0 || store_timeout_ms(harness->store) == 0)
		store_dispatch(harness->store);
}

/* What a blocking call waits for and where its outcome goes. */
struct waiter {
	struct harness *harness;
	bool done;
	int result;
	struct store_txn_outcome *outcome;
	struct store_page *page;
	uint64_t *lease;
};

static void waiter_finish(struct waiter *waiter, int result, const struct error *err)
{
	assert_false(waiter->done);
	assert_int_equal(result < 0, err != NULL);
	if (err) {
		assert_int_equal(err->code, result);
		waiter->harness->err = *err;
	}
	waiter->result = result;
	waiter->done = true;
}

static int waiter_wait(struct waiter *waiter, int queued)
{
	if (queued < 0) {
		assert_int_equal(waiter->harness->err.code, queued);
		return queued;
	}
	assert_false(waiter->done);
	assert_int_equal(store_wait(waiter->harness->store, &waiter->done, WAIT_MS, NULL), 0);
	return waiter->result;
}

static void on_txn(void *context, int result, const struct error *err,
		   const struct store_txn_outcome *outcome)
{
	struct waiter *waiter = context;
	assert_int_equal(outcome != NULL, result == 0 || result == -FL_ECONFLICT);
	if (outcome)
		*waiter->outcome = *outcome;
	waiter_finish(waiter, result, err);
}

int harness_txn(struct harness *harness, const struct store_txn *txn,
		struct store_txn_outcome *ret_outcome)
{
	struct waiter waiter = {.harness = harness, .outcome = ret_outcome};
	return waiter_wait(&waiter, store_txn(harness->store, txn, on_txn, &waiter, &harness->err));
}

static void on_range(void *context, int result, const struct error *err,
		     const struct store_page *page)
{
	struct waiter *waiter = context;
	struct arena *arena = &waiter->harness->arena;
	assert_int_equal(page != NULL, result == 0);
	if (page) {
		struct store_record *records =
		    arena_array(arena, page->count + 1, sizeof(*records));
		assert_non_null(records);
		for (size_t i = 0; i < page->count; i++) {
			const struct store_record *record = &page->records[i];
			records[i] = *record;
			records[i].key = arena_strdup(arena, record->key);
			records[i].value =
			    arena_strndup(arena, record->value, record->value_length);
		}
		*waiter->page = *page;
		waiter->page->records = records;
	}
	waiter_finish(waiter, result, err);
}

int harness_range(struct harness *harness, const struct store_range *range,
		  struct store_page *ret_page)
{
	struct waiter waiter = {.harness = harness, .page = ret_page};
	return waiter_wait(&waiter,
			   store_range(harness->store, range, on_range, &waiter, &harness->err));
}

static void on_lease(void *context, int result, const struct error *err, uint64_t lease,
		     uint64_t ttl_ms)
{
	struct waiter *waiter = context;
	(void)ttl_ms;
	if (result == 0)
		*waiter->lease = lease;
	waiter_finish(waiter, result, err);
}

int harness_lease_grant(struct harness *harness, uint64_t ttl_ms, uint64_t *ret_lease)
{
	struct waiter waiter = {.harness = harness, .lease = ret_lease};
	return waiter_wait(
	    &waiter, store_lease_grant(harness->store, ttl_ms, on_lease, &waiter, &harness->err));
}

int harness_lease_keep_alive(struct harness *harness, uint64_t lease)
{
	struct waiter waiter = {.harness = harness, .lease = &lease};
	return waiter_wait(&waiter, store_lease_keep_alive(harness->store, lease, on_lease, &waiter,
							   &harness->err));
}

int harness_lease_revoke(struct harness *harness, uint64_t lease)
{
	struct waiter waiter = {.harness = harness, .lease = &lease};
	return waiter_wait(
	    &waiter, store_lease_revoke(harness->store, lease, on_lease, &waiter, &harness->err));
}

static uint64_t change_one(struct harness *harness, const struct store_op *op)
{
	struct store_txn txn = {.ops = op, .op_count = 1};
	struct store_txn_outcome outcome = {0};
	if (harness_txn(harness, &txn, &outcome) < 0)
		fail_msg("%s", harness->err.text);
	return outcome.revision;
}

uint64_t harness_put(struct harness *harness, const char *key, const char *value)
{
	return change_one(harness, &(struct store_op){.kind = STORE_PUT,
						      .key = key,
						      .value = value,
						      .value_length = strlen(value)});
}

uint64_t harness_delete(struct harness *harness, const char *key)
{
	return change_one(harness, &(struct store_op){.kind = STORE_DELETE, .key = key});
}

const struct store_record *harness_get(struct harness *harness, const char *key)
{
	struct store_page page;
	if (harness_range(harness, &(struct store_range){.key = key}, &page) < 0)
		fail_msg("%s", harness->err.text);
	assert_false(page.more);
	return page.count ? page.records : NULL;
}
