/* SPDX-License-Identifier: Apache-2.0 */
#include "state/follower.h"

#include "base/arena.h"
#include "ledger/ledger.h"
#include "state/placement_records.h"
#include "state/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the authority told of and the replica has not taken in yet. A follower that gets more ends
 * its watch and takes it up again once this is done: the queue is then the authority's. */
#define MOST_WAITING_EVENTS 4096u
#define MOST_WAITING_BYTES (8u << 20)

/* Records or events, with copies of their texts. */
struct page_batch {
	struct arena arena;
	struct store_event *events;
	size_t count;
	size_t room;
	size_t bytes;
	uint64_t revision; /* that the last of them leads to */
};

struct follower {
	struct store *authority;
	struct store *replica;
	enum follower_state state;
	bool running; /* a procedure or a watch is under way */
	bool is_asking; /* the replica is asked for its head */
	uint64_t retry_ms; /* not before this */
	uint64_t now_ms; /* as of the last run */
	struct error error;
	char alarm[1024];

	struct store_id id; /* of the authority, since this attempt began */
	uint64_t revision; /* of the replica */
	struct ledger_head head; /* the last entry of what was taken in or waits for it */
	bool head_seen; /* while everything is read: the replica's head lies on that chain */
	bool reads_all;
	struct ledger_position own; /* the replica's head */
	/* While everything is read: the entry from which the authority's chain is another one, or
	 * 0; and whether a recovery there gave up the replica's head by name. */
	uint64_t diverged;
	bool gives_up;
	char last_key[STORE_KEY_BYTES + 1];

	struct store_watch *watch;
	struct page_batch waiting;
	struct page_batch importing;
	bool is_importing;
	bool replaces; /* what is being imported is everything */
};

int follower_new(struct store *authority, struct store *replica, struct follower **ret_follower)
{
	struct follower *follower = calloc(1, sizeof(*follower));
	if (!follower)
		return -ENOMEM;
	follower->authority = authority;
	follower->replica = replica;
	arena_init(&follower->waiting.arena, 0);
	arena_init(&follower->importing.arena, 0);
	*ret_follower = follower;
	return 0;
}

static void page_batch_clear(struct page_batch *batch)
{
	arena_done(&batch->arena);
	free(batch->events);
	*batch = (struct page_batch){0};
	arena_init(&batch->arena, 0);
}

void follower_stop(struct follower *follower)
{
	if (!follower)
		return;
	store_watch_cancel(follower->watch);
	follower->watch = NULL;
	follower->running = false;
	follower->retry_ms = UINT64_MAX;
}

void follower_leave(struct follower *follower)
{
	store_watch_cancel(follower->watch);
	follower->watch = NULL;
	page_batch_clear(&follower->waiting);
	follower->running = false;
	follower->state = FOLLOWER_CATCHING_UP;
	follower->alarm[0] = '\0';
	if (follower->retry_ms != UINT64_MAX)
		follower->retry_ms = 0;
}

void follower_free(struct follower *follower)
{
	if (!follower)
		return;
	page_batch_clear(&follower->waiting);
	page_batch_clear(&follower->importing);
	free(follower);
}

enum follower_state follower_state(const struct follower *follower)
{
	return follower->state;
}

const char *follower_alarm(const struct follower *follower)
{
	return follower->alarm;
}

/* --- how an attempt ends --- */

static void stop(struct follower *follower, enum follower_state state, const struct error *err)
{
	bool refused = state == FOLLOWER_BEHIND || state == FOLLOWER_FORKED;
	store_watch_cancel(follower->watch);
	follower->watch = NULL;
	page_batch_clear(&follower->waiting);
	follower->state = state;
	follower->running = false;
	follower->retry_ms =
	    follower->now_ms +
	    (refused || err->code == -FL_EINVALID ? FOLLOWER_REFUSED_RETRY_MS : FOLLOWER_RETRY_MS);
	snprintf(follower->alarm, sizeof(follower->alarm),
		 "changes made elsewhere do not reach this node: %.700s. What it has is forwarded "
		 "and answered meanwhile; orders are refused",
		 err->text);
}

/* NULL or empty: there was no memory for a sentence. */
static void follower_lose(struct follower *follower, int result, const struct error *err)
{
	struct error own;
	error_set(&own, result, "%s", err && *err->text ? err->text : error_text(result));
	stop(follower, FOLLOWER_FAILED, &own);
}

static void behind(struct follower *follower)
{
	struct error err;
	error_set(&err, -FL_ECONFLICT,
		  "where changes are decided, the ledger does not have entry %llu, which this node "
		  "has: its state is older than this node's, such as a backup's. Bring its newer "
		  "state back",
		  (unsigned long long)follower->head.sequence);
	stop(follower, FOLLOWER_BEHIND, &err);
}

static void forked(struct follower *follower, uint64_t sequence)
{
	struct error err;
	error_set(&err, -FL_ECONFLICT,
		  "where changes are decided, ledger entry %llu is another one than this node's: "
		  "the two have different histories. Find out by `fairlead log` on both which one "
		  "is right",
		  (unsigned long long)sequence);
	stop(follower, FOLLOWER_FORKED, &err);
}

/* Another authority, or another voter's, took the place of the one that this attempt began with. */
static bool is_another(struct follower *follower)
{
	struct store_id id = store_id(follower->authority);
	if (store_id_equal(&id, &follower->id))
		return false;
	struct error err;
	error_set(&err, -FL_EUNAVAILABLE, "the place where changes are decided was exchanged");
	stop(follower, FOLLOWER_FAILED, &err);
	return true;
}

/* --- the chain --- */

/* By the operator's word the authority went on without the replica's head: then so may the replica,
 * which a start or the next judgement finds at its mark (replica.h). */
static void note_recovery(struct follower *follower, const struct store_record *record)
{
	struct placement_recovery recovery = {0};
	struct arena arena;
	if (strcmp(record->key, RECORD_RECOVERED_KEY) != 0)
		return;
	arena_init(&arena, 0);
	follower->gives_up =
	    recovered_parse(record->value, record->value_length, &arena, &recovery, NULL) == 0 &&
	    recovery.lost_sequence == follower->own.sequence &&
	    memcmp(recovery.lost_digest.bytes, follower->own.digest.bytes, DIGEST_BYTES) == 0;
	arena_done(&arena);
}

static bool is_entry(const struct store_record *record)
{
	return strncmp(record->key, LEDGER_PREFIX, strlen(LEDGER_PREFIX)) == 0 &&
	       strcmp(record->key, LEDGER_HEAD_KEY) != 0;
}

/*
 * What comes must lead on from `head`, and passes it while everything is read. False when the
 * attempt ended.
 */
static bool chain_take(struct follower *follower, const struct store_event *event)
{
	struct ledger_entry entry = {0};
	struct error err = {0};
	struct ledger_head *head = &follower->head;
	if (!is_entry(&event->record))
		return true;
	int result =
	    event->kind == STORE_PUT
		? ledger_entry_parse(event->record.value, event->record.value_length, &entry, &err)
		: error_set(&err, -FL_EINVALID, "ledger entry %s was deleted", event->record.key);
	if (result < 0) {
		follower_lose(follower, result, &err);
		return false;
	}
	bool same = entry.sequence == head->sequence;
	bool next = ledger_entry_follows(&entry, head->sequence) &&
		    (follower->head_seen || !head->sequence);
	bool before = entry.sequence < head->sequence && !follower->head_seen;
	const struct digest *link = same ? &entry.digest : &entry.before;
	bool matches =
	    !head->sequence || memcmp(link->bytes, head->digest.bytes, DIGEST_BYTES) == 0;
	bool linked = before || ((same || next) && matches);
	if (!linked && follower->reads_all && !follower->head_seen) {
		follower->diverged = entry.sequence;
		linked = true;
	}
	if (linked && !before) {
		follower->head_seen = true;
		head->sequence = entry.sequence;
		head->digest = entry.digest;
	}
	uint64_t sequence = entry.sequence;
	ledger_entry_done(&entry);
	if (!linked)
		forked(follower, sequence);
	return linked;
}

/* --- taking in --- */

static bool page_batch_add(struct page_batch *batch, const struct store_event *event)
{
	const struct store_record *record = &event->record;
	if (batch->count == batch->room) {
		size_t room = batch->room ? 2 * batch->room : 64;
		struct store_event *events = realloc(batch->events, room * sizeof(*events));
		if (!events)
			return false;
		batch->events = events;
		batch->room = room;
	}
	struct store_event *own = &batch->events[batch->count];
	*own = *event;
	own->record.key = arena_strdup(&batch->arena, record->key);
	own->record.value = arena_strndup(&batch->arena, record->value_length ? record->value : "",
					  record->value_length);
	if (!own->record.key || !own->record.value)
		return false;
	batch->count++;
	batch->bytes += record->value_length;
	return true;
}

static void watch(struct follower *follower);
static void on_imported(void *context, int result, const struct error *err);

static void import(struct follower *follower)
{
	struct error err = {0};
	const struct store_import import = {.authority = follower->id,
					    .revision = follower->importing.revision,
					    .events = follower->importing.events,
					    .count = follower->importing.count,
					    .replace = follower->replaces};
	int result = store_sqlite_import(follower->replica, &import, on_imported, follower, &err);
	follower->is_importing = result == 0;
	if (result < 0)
		follower_lose(follower, result, &err);
}

static void import_waiting(struct follower *follower)
{
	struct page_batch empty = follower->importing;
	follower->importing = follower->waiting;
	follower->waiting = empty;
	follower->replaces = false;
	import(follower);
}

static void on_imported(void *context, int result, const struct error *err)
{
	struct follower *follower = context;
	uint64_t revision = follower->importing.revision;
	follower->is_importing = false;
	page_batch_clear(&follower->importing);
	if (result == 0)
		follower->revision = revision;
	if (!follower->running)
		return;
	if (result < 0)
		follower_lose(follower, result, err);
	else if (follower->waiting.count)
		import_waiting(follower);
	else if (!follower->watch)
		watch(follower);
}

/* --- following --- */

static void on_events(void *context, int result, const struct error *err, uint64_t revision,
		      const struct store_event *events, size_t count)
{
	struct follower *follower = context;
	if (result < 0) {
		follower_lose(follower, result, err);
		if (result != -FL_ECOMPACTED)
			return;
		/* Too far behind, or another authority: that is no failure. */
		follower->state = FOLLOWER_CATCHING_UP;
		follower->alarm[0] = '\0';
		follower->retry_ms = follower->now_ms;
		return;
	}
	for (size_t i = 0; i < count; i++) {
		if (!chain_take(follower, &events[i]))
			return;
		if (!page_batch_add(&follower->waiting, &events[i])) {
			follower_lose(follower, -ENOMEM, NULL);
			return;
		}
	}
	follower->waiting.revision = revision;
	if (!follower->is_importing) {
		import_waiting(follower);
	} else if (follower->waiting.count > MOST_WAITING_EVENTS ||
		   follower->waiting.bytes > MOST_WAITING_BYTES) {
		store_watch_cancel(follower->watch);
		follower->watch = NULL;
	}
}

static void watch(struct follower *follower)
{
	struct error err = {0};
	if (is_another(follower))
		return;
	follower->state = FOLLOWER_FOLLOWING;
	follower->alarm[0] = '\0';
	int result = store_watch(follower->authority, "", follower->revision + 1, on_events,
				 follower, &follower->watch, &err);
	if (result < 0)
		follower_lose(follower, result, &err);
}

/* --- reading everything --- */

static void read_page(struct follower *follower);

static void on_page(void *context, int result, const struct error *err,
		    const struct store_page *page)
{
	struct follower *follower = context;
	struct page_batch *batch = &follower->importing;
	if (!follower->running)
		return;
	if (result < 0) {
		follower_lose(follower, result, err);
		return;
	}
	if (is_another(follower))
		return;
	batch->revision = page->revision;
	for (size_t i = 0; i < page->count; i++) {
		const struct store_event event = {.kind = STORE_PUT, .record = page->records[i]};
		if (!chain_take(follower, &event))
			return;
		note_recovery(follower, &event.record);
		if (!page_batch_add(batch, &event)) {
			follower_lose(follower, -ENOMEM, NULL);
			return;
		}
	}
	if (page->more && page->count) {
		snprintf(follower->last_key, sizeof(follower->last_key), "%s",
			 page->records[page->count - 1].key);
		read_page(follower);
	} else if (follower->head.sequence && !follower->head_seen) {
		behind(follower);
	} else if (follower->diverged && !follower->gives_up) {
		forked(follower, follower->diverged);
	} else {
		follower->reads_all = false;
		follower->replaces = true;
		import(follower);
	}
}

static void read_page(struct follower *follower)
{
	struct error err = {0};
	const struct store_range range = {.key = "",
					  .prefix = true,
					  .after = *follower->last_key ? follower->last_key : NULL,
					  .revision = follower->importing.revision};
	int result = store_range(follower->authority, &range, on_page, follower, &err);
	if (result < 0)
		follower_lose(follower, result, &err);
}

static void read_all(struct follower *follower)
{
	follower->last_key[0] = '\0';
	follower->head_seen = false;
	follower->reads_all = true;
	follower->diverged = 0;
	follower->gives_up = false;
	read_page(follower);
}

/* --- where the replica stands --- */

static int head_of(const struct store_page *page, struct ledger_head *ret_head, struct error *err)
{
	return ledger_head_parse(page->count ? &page->records[0] : NULL, ret_head, err);
}

/* The authority's head at the replica's revision. */
static void on_position(void *context, int result, const struct error *err,
			const struct store_page *page)
{
	struct follower *follower = context;
	struct ledger_head head = {0};
	struct error own = {0};
	if (!follower->running)
		return;
	if (result == -FL_EINVALID) { /* a revision of the future */
		behind(follower);
		return;
	}
	if (result == -FL_ECOMPACTED) {
		read_all(follower);
		return;
	}
	if (result == 0)
		result = head_of(page, &head, &own);
	if (result < 0) {
		follower_lose(follower, result, page ? &own : err);
		return;
	}
	if (head.sequence != follower->head.sequence ||
	    memcmp(head.digest.bytes, follower->head.digest.bytes, DIGEST_BYTES) != 0) {
		read_all(follower);
		return;
	}
	follower->head_seen = true;
	watch(follower);
}

static void read_position(struct follower *follower)
{
	struct error err = {0};
	const struct store_range range = {.key = LEDGER_HEAD_KEY, .revision = follower->revision};
	int result = store_range(follower->authority, &range, on_position, follower, &err);
	if (result < 0)
		follower_lose(follower, result, &err);
}

static void on_own_head(void *context, int result, const struct error *err,
			const struct store_page *page)
{
	struct follower *follower = context;
	struct error own = {0};
	struct store_id id = store_id(follower->replica);
	follower->is_asking = false;
	if (!follower->running)
		return;
	if (result == 0)
		result = head_of(page, &follower->head, &own);
	if (result < 0) {
		follower_lose(follower, result, page ? &own : err);
		return;
	}
	follower->revision = page->revision;
	follower->reads_all = false;
	follower->own = (struct ledger_position){.sequence = follower->head.sequence,
						 .digest = follower->head.digest};
	if (store_id_equal(&id, &follower->id) && follower->revision)
		read_position(follower);
	else
		read_all(follower);
}

void follower_run(struct follower *follower, uint64_t now_ms)
{
	struct error err = {0};
	const struct store_range range = {.key = LEDGER_HEAD_KEY};
	follower->now_ms = now_ms;
	/* An import under way ends first: it moves the replica. So does a question to it. */
	if (follower->running || follower->is_importing || follower->is_asking ||
	    now_ms < follower->retry_ms)
		return;
	page_batch_clear(&follower->importing);
	follower->running = true;
	follower->id = store_id(follower->authority);
	int result = store_id_is_known(&follower->id)
			 ? store_range(follower->replica, &range, on_own_head, follower, &err)
			 : error_set(&err, -FL_EUNAVAILABLE,
				     "the place where changes are decided was not reached yet");
	follower->is_asking = result == 0;
	if (result < 0)
		follower_lose(follower, result, &err);
}
