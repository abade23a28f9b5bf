/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is special to the engine that reaches its store over a line: the line breaks under calls and
 * watches, the other side is another one than before, is slow, or talks nonsense. What every engine
 * promises is in test_store.c, which runs over this one too.
 */
#include "../seed.h"
#include "base/disk.h"
#include "store_harness.h"
#include "wire/peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int setup(void **state)
{
	struct harness *harness = malloc(sizeof(*harness));
	assert_non_null(harness);
	harness_init(harness, &harness_peer);
	harness_open(harness);
	harness->wire.cuts_when_idle = 0;
	*state = harness;
	return 0;
}

static int teardown(void **state)
{
	harness_done(*state);
	free(*state);
	return 0;
}

struct told {
	unsigned count; /* of completions */
	int result;
	char text[256];
	uint64_t revision;
};

static void on_txn(void *context, int result, const struct error *err,
		   const struct store_txn_outcome *outcome)
{
	struct told *told = context;
	told->count++;
	told->result = result;
	told->revision = outcome ? outcome->revision : 0;
	snprintf(told->text, sizeof(told->text), "%.200s", err ? err->text : "");
}

static void on_page(void *context, int result, const struct error *err,
		    const struct store_page *page)
{
	struct told *told = context;
	(void)err;
	told->count++;
	told->result = result;
	told->revision = page ? page->revision : 0;
}

/* What a watch was told: every revision once, in order, without a gap. */
struct watched {
	struct store_watch *watch;
	uint64_t last;
	size_t events;
	int result;
};

static void on_events(void *context, int result, const struct error *err, uint64_t revision,
		      const struct store_event *events, size_t count)
{
	struct watched *watched = context;
	(void)err;
	assert_int_equal(watched->result, 0);
	watched->result = result;
	if (result < 0)
		return;
	assert_true(!watched->last || revision == watched->last + 1);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(events[i].record.mod_revision, revision);
	watched->last = revision;
	watched->events += count;
}

static void watch(struct harness *harness, struct watched *watched, uint64_t from)
{
	*watched = (struct watched){0};
	assert_int_equal(
	    store_watch(harness->store, "", from, on_events, watched, &watched->watch, NULL), 0);
}

static struct store_op put_op(const char *value)
{
	return (struct store_op){
	    .kind = STORE_PUT, .key = "k", .value = value, .value_length = strlen(value)};
}

static void start_put(struct harness *harness, struct told *told)
{
	struct store_op op = put_op("x");
	*told = (struct told){0};
	assert_int_equal(store_txn(harness->store, &(struct store_txn){.ops = &op, .op_count = 1},
				   on_txn, told, NULL),
			 0);
}

/* --- where nothing is decided ------------------------------------------------------------------
 */

static void on_lease(void *context, int result, const struct error *err, uint64_t lease,
		     uint64_t ttl_ms)
{
	(void)lease;
	(void)ttl_ms;
	on_txn(context, result, err, NULL);
}

static void what_is_only_read_is_not_changed(void **state)
{
	struct harness *harness = *state;
	char refusal[64] = "";
	struct told told;
	struct watched watched;
	harness->wire.refusal = refusal;
	peer_wire_cut(&harness->wire);
	peer_wire_connect(&harness->wire);
	uint64_t revision = harness_put(harness, "k", "y");
	snprintf(refusal, sizeof(refusal), "node c decides nothing: voter a does");
	start_put(harness, &told);
	harness_settle(harness);
	assert_int_equal(told.result, -FL_ESTATE); /* certain: nothing changed */
	assert_non_null(strstr(told.text, "voter a does"));
	told = (struct told){0};
	assert_int_equal(store_lease_grant(harness->store, 1000, on_lease, &told, NULL), 0);
	harness_settle(harness);
	assert_int_equal(told.result, -FL_ESTATE);
	/* It can be read and watched. */
	assert_string_equal(harness_get(harness, "k")->value, "y");
	watch(harness, &watched, revision);
	harness_settle(harness);
	assert_int_equal(watched.last, revision);
	store_watch_cancel(watched.watch);
	refusal[0] = '\0';
	assert_int_equal(harness_put(harness, "k", "z"), revision + 1);
}

/* --- lines that break ------------------------------------------------------------------------- */

static void calls_end_with_their_line(void **state)
{
	struct harness *harness = *state;
	struct told told;
	start_put(harness, &told);
	peer_wire_cut(&harness->wire);
	assert_int_equal(told.count, 0); /* not from within a call */
	harness_settle(harness);
	assert_int_equal(told.count, 1);
	assert_int_equal(told.result, -FL_EUNAVAILABLE);
	/* Without a line. */
	start_put(harness, &told);
	harness_settle(harness);
	assert_int_equal(told.count, 1);
	assert_int_equal(told.result, -FL_EUNAVAILABLE);
	/* One that is there again before anybody looked is another one. */
	start_put(harness, &told);
	peer_wire_connect(&harness->wire);
	harness_settle(harness);
	assert_int_equal(told.result, -FL_EUNAVAILABLE);
	/* A call waits until its line's server has said whose store it is. */
	peer_wire_cut(&harness->wire);
	peer_wire_connect(&harness->wire);
	start_put(harness, &told);
	harness_settle(harness);
	assert_int_equal(told.result, 0);
}

static void an_answer_that_came_counts_though_the_line_is_gone(void **state)
{
	struct harness *harness = *state;
	struct told told;
	harness->wire.most_turns = 0;
	start_put(harness, &told);
	peer_wire_turn(&harness->wire);
	assert_int_equal(told.count, 0);
	/* The line breaks in the turn in which the answer comes, before the client looks. */
	harness->wire.cuts_at_turns = 1000;
	peer_wire_turn(&harness->wire);
	harness->wire.cuts_at_turns = 0;
	assert_int_equal(harness->wire.cuts, 1);
	assert_int_equal(told.count, 1);
	assert_int_equal(told.result, 0);
	harness_settle(harness);
	assert_int_equal(told.count, 1);
}

/* Increments by compare-and-set with an id, tried again until each is known to have happened. */
static void retries_take_effect_once(void **state)
{
	struct harness *harness = *state;
	enum { TIMES = 60 };
	unsigned unknown = 0;
	harness->wire.cuts_at_turns = 60;
	for (unsigned i = 1; i <= TIMES; i++) {
		char value[16];
		char id[16];
		snprintf(value, sizeof(value), "%u", i);
		snprintf(id, sizeof(id), "id-%u", i);
		struct store_op op = put_op(value);
		const struct store_compare compare = {"k", i - 1};
		const struct store_txn txn = {
		    .compares = &compare, .compare_count = 1, .ops = &op, .op_count = 1, .id = id};
		struct store_txn_outcome outcome = {0};
		int result;
		while ((result = harness_txn(harness, &txn, &outcome)) == -FL_EUNAVAILABLE)
			unknown++;
		assert_int_equal(result, 0);
		assert_int_equal(outcome.revision, i);
	}
	harness->wire.cuts_at_turns = 0;
	assert_true(unknown > 0 && harness->wire.cuts > 0);
	assert_int_equal(harness_get(harness, "k")->mod_revision, TIMES);
}

static void watches_outlive_lines_without_a_gap(void **state)
{
	struct harness *harness = *state;
	enum { CHANGES = 200 };
	struct watched watched;
	random_init_seeded(&harness->wire.random, seed_choose(1));
	watch(harness, &watched, 1);
	harness_settle(harness);
	harness->wire.cuts_at_turns = 100;
	for (unsigned i = 0; i < CHANGES; i++) {
		struct told told;
		start_put(harness, &told);
		while (!told.count)
			peer_wire_turn(&harness->wire);
	}
	harness->wire.cuts_at_turns = 0;
	harness_settle(harness);
	assert_true(harness->wire.cuts > 5);
	assert_int_equal(watched.result, 0);
	struct store_page page = {0};
	assert_int_equal(harness_range(harness, &(struct store_range){.key = "k"}, &page), 0);
	assert_true(page.revision > 100);
	assert_int_equal(watched.last, page.revision);
	assert_int_equal(watched.events, page.revision);
	store_watch_cancel(watched.watch);
}

static void a_watch_from_now_ends_when_nobody_said_when_that_was(void **state)
{
	struct harness *harness = *state;
	struct watched watched;
	watch(harness, &watched, 0);
	peer_wire_cut(&harness->wire);
	harness_settle(harness);
	assert_int_equal(watched.result, -FL_ECOMPACTED);
	store_watch_cancel(watched.watch);
	watch(harness, &watched, 0); /* without a line */
	harness_settle(harness);
	assert_int_equal(watched.result, -FL_ECOMPACTED);
	store_watch_cancel(watched.watch);
	/* One with a revision waits for the line. */
	watch(harness, &watched, 1);
	harness_settle(harness);
	assert_int_equal(watched.result, 0);
	peer_wire_connect(&harness->wire);
	harness_put(harness, "k", "x");
	harness_settle(harness);
	assert_int_equal(watched.last, 1);
	store_watch_cancel(watched.watch);
}

static void a_watch_that_was_away_too_long_is_told(void **state)
{
	struct harness *harness = *state;
	struct watched watched;
	harness->history_revisions = 4;
	harness_reopen(harness);
	harness_put(harness, "k", "x");
	watch(harness, &watched, 1);
	harness_settle(harness);
	assert_int_equal(watched.last, 1);
	peer_wire_cut(&harness->wire);
	struct told told = {0};
	for (unsigned i = 0; i < 20; i++) {
		struct store_op op = put_op("y");
		const struct store_txn txn = {.ops = &op, .op_count = 1};
		assert_int_equal(store_txn(harness->wire.served, &txn, on_txn, &told, NULL), 0);
		store_dispatch(harness->wire.served);
	}
	assert_int_equal(told.count, 20);
	peer_wire_connect(&harness->wire);
	harness_settle(harness);
	assert_int_equal(watched.result, -FL_ECOMPACTED);
	store_watch_cancel(watched.watch);
}

/* --- another store at the other end ----------------------------------------------------------- */

static void revisions_of_another_history_mean_nothing(void **state)
{
	struct harness *harness = *state;
	struct harness other;
	struct watched watched;
	for (unsigned i = 0; i < 5; i++)
		harness_put(harness, "k", "x");
	struct store_id before = store_id(harness->store);
	assert_true(store_id_is_known(&before));
	watch(harness, &watched, 6);
	harness_settle(harness);
	harness_init(&other, &harness_sqlite);
	harness_open(&other);
	for (unsigned i = 0; i < 9; i++)
		harness_put(&other, "k", "y");
	peer_wire_cut(&harness->wire);
	struct store *kept = harness->wire.served;
	harness->wire.served = other.store;
	peer_wire_connect(&harness->wire);
	harness_settle(harness);
	assert_int_equal(watched.result, -FL_ECOMPACTED);
	assert_int_equal(watched.events, 0); /* revisions 6 to 9 are not the sequel of 5 */
	struct store_id after = store_id(harness->store);
	assert_false(store_id_equal(&before, &after));
	store_watch_cancel(watched.watch);
	peer_wire_cut(&harness->wire);
	harness->wire.served = kept;
	harness_done(&other);
}

/* Its store was put back to an older copy that has the same id. */
static void a_history_that_went_back_is_noticed(void **state)
{
	struct harness *harness = *state;
	struct watched watched;
	char kept[128];
	struct store_op op = put_op("x");
	struct told told;
	harness_put(harness, "k", "x");
	snprintf(kept, sizeof(kept), "%s/copy.db", harness->folder);
	assert_int_equal(store_sqlite_copy(harness->folder, &disk_system, kept, NULL), 0);
	harness_put(harness, "k", "x");
	watch(harness, &watched, 3);
	harness_settle(harness);
	peer_wire_cut(&harness->wire);
	store_close(harness->wire.served);
	const struct store_copy_options options = {
	    .path = kept, .clock = &harness->clock, .why = "it is a copy"};
	assert_int_equal(store_open_copy(&options, &harness->wire.served, NULL), 0);
	peer_wire_connect(&harness->wire);
	harness_settle(harness);
	assert_int_equal(watched.result, -FL_ECOMPACTED);
	store_watch_cancel(watched.watch);
	/* The sentence of a store that takes nothing comes through. */
	told = (struct told){0};
	assert_int_equal(store_txn(harness->store, &(struct store_txn){.ops = &op, .op_count = 1},
				   on_txn, &told, NULL),
			 0);
	harness_settle(harness);
	assert_int_equal(told.result, -FL_ESTATE);
	assert_non_null(strstr(told.text, "it is a copy"));
}

/* --- limits ----------------------------------------------------------------------------------- */

static void many_calls_wait_their_turn(void **state)
{
	struct harness *harness = *state;
	enum { CALLS = 3 * STORE_SESSION_CALLS };
	struct told told = {0};
	for (unsigned i = 0; i < CALLS; i++) {
		const struct store_range range = {.key = "k"};
		assert_int_equal(store_range(harness->store, &range, on_page, &told, NULL), 0);
	}
	harness_settle(harness);
	assert_int_equal(told.count, CALLS);
	assert_int_equal(told.result, 0);
	struct store_session_state session;
	store_session_state_read(harness->wire.session, &session);
	assert_int_equal(session.refused, 0);
}

static void many_watches_are_refused(void **state)
{
	struct harness *harness = *state;
	static struct watched watched[STORE_SESSION_WATCHES + 1];
	for (size_t i = 0; i <= STORE_SESSION_WATCHES; i++) {
		watch(harness, &watched[i], 1);
		harness_settle(harness);
		assert_int_equal(watched[i].result,
				 i == STORE_SESSION_WATCHES ? -FL_EEXHAUSTED : 0);
	}
	/* One that is gone makes room. */
	store_watch_cancel(watched[0].watch);
	store_watch_cancel(watched[STORE_SESSION_WATCHES].watch);
	watch(harness, &watched[0], 1);
	harness_put(harness, "k", "x");
	harness_settle(harness);
	for (size_t i = 0; i < STORE_SESSION_WATCHES; i++) {
		assert_int_equal(watched[i].last, 1);
		store_watch_cancel(watched[i].watch);
	}
}

static void a_slow_peer_reads_anew(void **state)
{
	struct harness *harness = *state;
	static char bytes[STORE_VALUE_BYTES];
	struct watched watched;
	struct told told = {0};
	watch(harness, &watched, 1);
	harness_settle(harness);
	harness->wire.to_client.stalled = true;
	struct store_op op = {
	    .kind = STORE_PUT, .key = "k", .value = bytes, .value_length = sizeof(bytes)};
	const struct store_txn txn = {.ops = &op, .op_count = 1};
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(store_txn(harness->wire.served, &txn, on_txn, &told, NULL), 0);
		store_dispatch(harness->wire.served);
	}
	assert_true(harness->wire.to_client.bytes < STORE_SESSION_QUEUE_BYTES + 2 * sizeof(bytes));
	struct store_session_state session;
	store_session_state_read(harness->wire.session, &session);
	assert_int_equal(session.resynchronised, 1);
	/* New calls are refused meanwhile: nothing more is piled up. */
	struct told page = {0};
	assert_int_equal(
	    store_range(harness->store, &(struct store_range){.key = "k"}, on_page, &page, NULL),
	    0);
	harness_settle(harness);
	harness->wire.to_client.stalled = false;
	harness_settle(harness);
	assert_int_equal(page.result, -FL_EEXHAUSTED);
	assert_int_equal(watched.result, -FL_ECOMPACTED);
	assert_true(watched.last > 0);
	store_watch_cancel(watched.watch);
	assert_int_equal(harness_get(harness, "k")->value_length, sizeof(bytes));
}

/* An expiry deletes more keys in one revision than one message tells of. */
static void a_large_revision_is_told_at_once(void **state)
{
	struct harness *harness = *state;
	enum { KEYS = 2500 };
	uint64_t lease = 0;
	struct watched watched;
	assert_int_equal(harness_lease_grant(harness, 10000, &lease), 0);
	for (unsigned i = 0; i < KEYS;) {
		struct store_op ops[STORE_TXN_OPS];
		char keys[STORE_TXN_OPS][16];
		size_t count = 0;
		for (; i < KEYS && count < STORE_TXN_OPS; i++, count++) {
			snprintf(keys[count], sizeof(keys[count]), "k%u", i);
			ops[count] = (struct store_op){
			    .kind = STORE_PUT, .key = keys[count], .value = "", .lease = lease};
		}
		struct store_txn_outcome outcome;
		const struct store_txn txn = {.ops = ops, .op_count = count};
		assert_int_equal(harness_txn(harness, &txn, &outcome), 0);
	}
	struct store_page page = {0};
	assert_int_equal(harness_range(harness, &(struct store_range){.key = "k"}, &page), 0);
	watch(harness, &watched, page.revision + 1);
	harness_settle(harness);
	harness_advance(harness, 10000);
	harness_settle(harness);
	assert_int_equal(watched.result, 0);
	assert_int_equal(watched.last, page.revision + 1);
	assert_int_equal(watched.events, KEYS);
	store_watch_cancel(watched.watch);
}

/* --- nonsense --------------------------------------------------------------------------------- */

static void send_to(struct harness *harness, bool client, const struct peer_message *message)
{
	struct buffer frame;
	buffer_init(&frame, 0);
	assert_int_equal(peer_encode(message, &frame, NULL), 0);
	if (client)
		store_peer_take(harness->wire.client, frame.data, frame.length);
	else
		store_session_take(harness->wire.session, frame.data, frame.length);
	buffer_done(&frame);
}

static void nonsense_cuts_the_line(void **state)
{
	struct harness *harness = *state;
	const struct peer_event event = {.key = "k", .mod_revision = 1};
	const struct peer_message to_client[] = {
	    {.number = PEER_HEARD, .heard = {.interval_ms = 1}},
	    {.number = PEER_STORE_TXN, .store_txn = {.call = 1}},
	    {.number = PEER_STORE_SERVES,
	     .store_serves = {.level = 1, .history = {"0123456789abcdef", 16}}},
	};
	const struct peer_message to_server[] = {
	    {.number = PEER_HEARD, .heard = {.interval_ms = 1}},
	    {.number = PEER_STORE_PAGE, .store_page = {.call = 1}},
	};
	unsigned cuts = 0;
	for (size_t i = 0; i < sizeof(to_client) / sizeof(*to_client); i++) {
		send_to(harness, true, &to_client[i]);
		harness_settle(harness);
		assert_int_equal(harness->wire.cuts, ++cuts);
	}
	for (size_t i = 0; i < sizeof(to_server) / sizeof(*to_server); i++) {
		send_to(harness, false, &to_server[i]);
		harness_settle(harness);
		assert_int_equal(harness->wire.cuts, ++cuts);
	}
	/* Bytes that are no message. */
	store_peer_take(harness->wire.client, "\0\0\0\4\0\x20\0\1", 8);
	harness_settle(harness);
	assert_int_equal(harness->wire.cuts, ++cuts);
	store_session_take(harness->wire.session, "\0\0\0\5\0\x21\0\1?", 9);
	harness_settle(harness);
	assert_int_equal(harness->wire.cuts, ++cuts);
	/* An answer of another kind than the call's, a conflict without its outcome, events of the
	 * past, and two watches of one number. The client's numbers count calls and watches. */
	struct told told;
	struct watched watched;
	start_put(harness, &told);
	send_to(harness, true,
		&(struct peer_message){.number = PEER_STORE_LEASED,
				       .store_leased = {.call = 1, .lease = 1}});
	harness_settle(harness);
	assert_int_equal(harness->wire.cuts, ++cuts);
	start_put(harness, &told);
	send_to(harness, true,
		&(struct peer_message){
		    .number = PEER_STORE_FAILED,
		    .store_failed = {.call = 2, .code = FL_ECONFLICT, .sentence = "no"}});
	harness_settle(harness);
	assert_int_equal(harness->wire.cuts, ++cuts);
	watch(harness, &watched, 2);
	harness_settle(harness);
	send_to(harness, true,
		&(struct peer_message){
		    .number = PEER_STORE_EVENTS,
		    .store_events = {.watch = 3, .revision = 1, .events = {&event, 1}}});
	harness_settle(harness);
	assert_int_equal(harness->wire.cuts, ++cuts);
	send_to(harness, false,
		&(struct peer_message){.number = PEER_STORE_WATCH,
				       .store_watch = {.watch = 3, .prefix = ""}});
	harness_settle(harness);
	assert_int_equal(harness->wire.cuts, ++cuts);
	assert_int_equal(watched.result, 0);
	store_watch_cancel(watched.watch);
	struct store_peer_state client;
	store_peer_state_read(harness->wire.client, &client);
	assert_true(client.ready);
	assert_int_equal(client.violations, 7);
	assert_int_equal(client.calls, 0);
}

static void what_is_not_known_is_skipped(void **state)
{
	struct harness *harness = *state;
	static const char unknown[] = "\0\0\0\6\x7f\xff\0\1??";
	store_peer_take(harness->wire.client, unknown, 10);
	store_session_take(harness->wire.session, unknown, 10);
	/* What nobody waits for belongs to calls and watches of before. */
	send_to(harness, true,
		&(struct peer_message){.number = PEER_STORE_LEASED,
				       .store_leased = {.call = 99, .lease = 1}});
	send_to(harness, true,
		&(struct peer_message){.number = PEER_STORE_WATCHING,
				       .store_watching = {.watch = 99, .revision = 1}});
	send_to(harness, false,
		&(struct peer_message){.number = PEER_STORE_UNWATCH, .store_unwatch = {99}});
	harness_settle(harness);
	assert_int_equal(harness->wire.cuts, 0);
	struct store_peer_state client;
	struct store_session_state session;
	store_peer_state_read(harness->wire.client, &client);
	store_session_state_read(harness->wire.session, &session);
	assert_int_equal(client.skipped, 1);
	assert_int_equal(session.skipped, 1);
	harness_put(harness, "k", "x");
}

/* Requests that store.h refuses come from a client that does not ask its own store.c. */
static void a_request_outside_the_limits_is_refused(void **state)
{
	struct harness *harness = *state;
	const struct peer_op ops[] = {{.key = "same"}, {.key = "same"}};
	struct told told;
	start_put(harness, &told);
	send_to(harness, false,
		&(struct peer_message){.number = PEER_STORE_TXN,
				       .store_txn = {.call = 1, .ops = {ops, 2}}});
	harness_settle(harness);
	assert_int_equal(told.count, 1);
	assert_int_equal(told.result, -FL_EINVALID);
	assert_non_null(strstr(told.text, "changes same twice"));
}

/* The served store is closed while a call and a watch of a session that is gone are under way. */
static void what_a_gone_session_began_ends_quietly(void **state)
{
	struct harness *harness = *state;
	struct watched watched;
	struct told told;
	harness->wire.most_turns = 0;
	start_put(harness, &told);
	watch(harness, &watched, 0);
	peer_wire_turn(&harness->wire);
	peer_wire_cut(&harness->wire);
	store_dispatch(harness->wire.served);
	peer_wire_connect(&harness->wire);
	harness_close(harness);
	assert_int_equal(told.result, -ECANCELED);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(what_is_only_read_is_not_changed),
	    TEST(calls_end_with_their_line),
	    TEST(an_answer_that_came_counts_though_the_line_is_gone),
	    TEST(retries_take_effect_once),
	    TEST(watches_outlive_lines_without_a_gap),
	    TEST(a_watch_from_now_ends_when_nobody_said_when_that_was),
	    TEST(a_watch_that_was_away_too_long_is_told),
	    TEST(revisions_of_another_history_mean_nothing),
	    TEST(a_history_that_went_back_is_noticed),
	    TEST(many_calls_wait_their_turn),
	    TEST(many_watches_are_refused),
	    TEST(a_slow_peer_reads_anew),
	    TEST(a_large_revision_is_told_at_once),
	    TEST(nonsense_cuts_the_line),
	    TEST(what_is_not_known_is_skipped),
	    TEST(a_request_outside_the_limits_is_refused),
	    TEST(what_a_gone_session_began_ends_quietly),
	};
	return cmocka_run_group_tests_name("store_peer", tests, NULL, NULL);
}
