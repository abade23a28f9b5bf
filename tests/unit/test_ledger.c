/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger: what is appended can be read and verified, and no change of any stored byte, no
 * missing, added or moved entry passes. Tampering goes straight into the SQLite file, past the
 * store, as somebody would who wants to rewrite history.
 */
#include "ledger/ledger.h"

#include "base/arena.h"
#include "store_harness.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_MS 20000
#define ENTRIES 5u

struct fixture {
	struct harness harness;
	struct ledger_signer *signer;
	struct ledger_head head;
	sqlite3 *file; /* the same file, past the store */
};

/* --- appending -------------------------------------------------------------------------------- */

static int commit(struct fixture *fixture, const struct ledger_append *append)
{
	struct store_txn txn = {.compares = append->compares,
				.compare_count = append->compare_count,
				.ops = append->ops,
				.op_count = append->op_count};
	struct store_txn_outcome outcome;
	int result = harness_txn(&fixture->harness, &txn, &outcome);
	if (result == 0) {
		fixture->head = append->head;
		fixture->head.mod_revision = outcome.revision;
	}
	return result;
}

static void introduce(struct fixture *fixture)
{
	struct ledger_append append;
	struct ledger_change change = {
	    .time_ms = 1795332664123, .who = "root", .why = "first start"};
	assert_int_equal(ledger_introduce_ops(&fixture->head, fixture->signer, &change,
					      ledger_signer_node(fixture->signer),
					      ledger_signer_public_key(fixture->signer),
					      &fixture->harness.arena, &append, NULL),
			 0);
	assert_int_equal(commit(fixture, &append), 0);
}

static int change_prepare(struct fixture *fixture, const char *kind, const char *why,
			  struct ledger_append *ret_append)
{
	json_t *what =
	    json_pack("{s:s, s:[i, i], s:f}", "service", "web", "versions", 1, 2, "share", 0.05);
	assert_non_null(what);
	struct ledger_change change = {
	    .time_ms = 1795332664124, .who = "alice", .why = why, .kind = kind, .what = what};
	int result = ledger_append_ops(&fixture->head, fixture->signer, &change,
				       &fixture->harness.arena, ret_append, &fixture->harness.err);
	json_decref(what);
	return result;
}

static void append(struct fixture *fixture, const char *kind, const char *why)
{
	struct ledger_append append;
	assert_int_equal(change_prepare(fixture, kind, why, &append), 0);
	assert_int_equal(commit(fixture, &append), 0);
}

static int setup_empty(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	assert_non_null(fixture);
	harness_init(&fixture->harness, &harness_sqlite);
	harness_open(&fixture->harness);
	assert_int_equal(ledger_signer_open(fixture->harness.folder, "edge1", &fixture->signer,
					    &fixture->harness.err),
			 0);
	char path[128];
	snprintf(path, sizeof(path), "%s/store.db", fixture->harness.folder);
	assert_int_equal(sqlite3_open(path, &fixture->file), SQLITE_OK);
	assert_int_equal(sqlite3_exec(fixture->file, "PRAGMA synchronous = OFF", NULL, NULL, NULL),
			 SQLITE_OK);
	*state = fixture;
	return 0;
}

static int setup_filled(void **state)
{
	setup_empty(state);
	struct fixture *fixture = *state;
	introduce(fixture);
	append(fixture, "apply", "more capacity: gr\303\266\303\237er \"web\"");
	append(fixture, "transition", "");
	append(fixture, "rollout.pause", "too many errors");
	append(fixture, "backend.forget", "disk died");
	assert_int_equal(fixture->head.sequence, ENTRIES);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;
	ledger_signer_free(fixture->signer);
	sqlite3_close(fixture->file);
	harness_done(&fixture->harness);
	free(fixture);
	return 0;
}

/* --- verifying -------------------------------------------------------------------------------- */

struct verification {
	bool done;
	int result;
	struct error err;
	struct ledger_verdict verdict;
};

static void on_verdict(void *context, int result, const struct error *err,
		       const struct ledger_verdict *verdict)
{
	struct verification *verification = context;
	assert_false(verification->done);
	verification->done = true;
	verification->result = result;
	verification->verdict = *verdict;
	if (err)
		verification->err = *err;
}

static struct verification verify(struct fixture *fixture, const struct ledger_verify *options)
{
	struct verification verification = {0};
	assert_int_equal(
	    ledger_verify(fixture->harness.store, options, on_verdict, &verification, NULL), 0);
	assert_int_equal(store_wait(fixture->harness.store, &verification.done, WAIT_MS, NULL), 0);
	return verification;
}

static void expect_sound(struct fixture *fixture)
{
	struct verification verification =
	    verify(fixture, &(struct ledger_verify){.signer = fixture->signer});
	if (verification.result < 0)
		fail_msg("%s", verification.err.text);
	assert_int_equal(verification.verdict.entries, fixture->head.sequence);
	assert_memory_equal(&verification.verdict.digest, &fixture->head.digest,
			    sizeof(struct digest));
}

/* The walk fails with a sentence that begins with `begin` and holds `part`. */
static void expect_fault(struct fixture *fixture, const char *begin, const char *part)
{
	struct verification verification = verify(fixture, &(struct ledger_verify){0});
	if (verification.result != -FL_ECORRUPT)
		fail_msg("tampering went unseen; expected \"%s…%s\"", begin, part);
	if (strncmp(verification.err.text, begin, strlen(begin)) != 0 ||
	    !strstr(verification.err.text, part))
		fail_msg("\"%s\" is not \"%s…%s…\"", verification.err.text, begin, part);
}

/* --- tampering -------------------------------------------------------------------------------- */

static void run(struct fixture *fixture, const char *sql)
{
	char *fault = NULL;
	if (sqlite3_exec(fixture->file, sql, NULL, NULL, &fault) != SQLITE_OK)
		fail_msg("%s: %s", sql, fault);
}

/* Runs `sql`, which must change something. */
static void tamper(struct fixture *fixture, const char *sql)
{
	run(fixture, sql);
	assert_true(sqlite3_changes(fixture->file) > 0);
}

static void value_set(struct fixture *fixture, const char *key, const char *bytes, size_t length)
{
	static const char sql[] = "UPDATE record SET value = ?2 WHERE key = ?1 AND mod_revision = "
				  "(SELECT max(mod_revision) FROM record WHERE key = ?1)";
	sqlite3_stmt *update = NULL;
	assert_int_equal(sqlite3_prepare_v2(fixture->file, sql, -1, &update, NULL), SQLITE_OK);
	sqlite3_bind_text(update, 1, key, -1, SQLITE_STATIC);
	sqlite3_bind_blob(update, 2, bytes, (int)length, SQLITE_STATIC);
	assert_int_equal(sqlite3_step(update), SQLITE_DONE);
	assert_int_equal(sqlite3_changes(fixture->file), 1);
	sqlite3_finalize(update);
}

/* Every byte of the value becomes another one in three ways: each must be seen. */
static void flip_every_byte(struct fixture *fixture, const char *key, const char *begin)
{
	static const unsigned char masks[] = {0x01, 0x20, 0x80};
	const struct store_record *record = harness_get(&fixture->harness, key);
	assert_non_null(record);
	char *bytes = malloc(record->value_length);
	assert_non_null(bytes);
	for (size_t i = 0; i < record->value_length; i++) {
		for (size_t m = 0; m < sizeof(masks); m++) {
			memcpy(bytes, record->value, record->value_length);
			bytes[i] = (char)((unsigned char)bytes[i] ^ masks[m]);
			value_set(fixture, key, bytes, record->value_length);
			expect_fault(fixture, begin, "");
		}
	}
	value_set(fixture, key, record->value, record->value_length);
	free(bytes);
}

static void test_every_flipped_byte_of_an_entry_is_seen(void **state)
{
	struct fixture *fixture = *state;
	for (uint64_t sequence = 1; sequence <= ENTRIES; sequence++) {
		char key[LEDGER_KEY_BYTES];
		char begin[32];
		snprintf(begin, sizeof(begin), "entry %d: ", (int)sequence);
		flip_every_byte(fixture, ledger_key_format(sequence, key), begin);
	}
	expect_sound(fixture);
}

static void test_every_flipped_byte_of_head_and_key_is_seen(void **state)
{
	struct fixture *fixture = *state;
	flip_every_byte(fixture, LEDGER_HEAD_KEY, "");
	flip_every_byte(fixture, "node/edge1/key", "node/edge1/key: ");
	expect_sound(fixture);
}

static void test_every_truncation_of_an_entry_is_seen(void **state)
{
	struct fixture *fixture = *state;
	char key[LEDGER_KEY_BYTES];
	ledger_key_format(3, key);
	const struct store_record *record = harness_get(&fixture->harness, key);
	assert_non_null(record);
	for (size_t length = 0; length < record->value_length; length++) {
		value_set(fixture, key, record->value, length);
		expect_fault(fixture, "entry 3: ", "");
	}
}

static void test_a_changed_word_is_named_by_its_signature(void **state)
{
	struct fixture *fixture = *state;
	tamper(fixture, "UPDATE record SET value = CAST(replace(CAST(value AS TEXT), 'alice', "
			"'malic') AS BLOB) WHERE key = 'ledger/0000000000000003'");
	expect_fault(fixture, "entry 3: the signature does not match",
		     "changed after it was written");
}

static void test_missing_and_foreign_keys_are_seen(void **state)
{
	static const struct {
		const char *sql;
		const char *begin;
	} rows[] = {
	    {"DELETE FROM record WHERE key = 'ledger/0000000000000001'", "entry 1 is missing"},
	    {"DELETE FROM record WHERE key = 'ledger/0000000000000003'", "entry 3 is missing"},
	    {"DELETE FROM record WHERE key = 'ledger/0000000000000005'", "entry 5 is missing"},
	    {"DELETE FROM record WHERE key = 'ledger/head'", "the head of the ledger"},
	    {"DELETE FROM record WHERE key = 'node/edge1/key'", "a key that the ledger introduces"},
	    {"DELETE FROM record WHERE key = 'ledger/head' AND mod_revision = "
	     "(SELECT max(mod_revision) FROM record)",
	     "entry 5 lies beyond the head"},
	    {"UPDATE record SET key = 'ledger/x' WHERE key = 'ledger/0000000000000005'",
	     "entry 5 is missing"},
	    {"INSERT INTO record(key, mod_revision, create_revision, lease, deleted, value) "
	     "SELECT 'ledger/00', 3, 3, 0, 0, value FROM record WHERE key = 'node/edge1/key'",
	     "ledger/00 does not belong"},
	    {"INSERT INTO record(key, mod_revision, create_revision, lease, deleted, value) "
	     "SELECT 'ledger/z', 3, 3, 0, 0, value FROM record WHERE key = 'node/edge1/key'",
	     "ledger/z does not belong"},
	    {"INSERT INTO record(key, mod_revision, create_revision, lease, deleted, value) "
	     "SELECT 'node/edge2/key', 3, 3, 0, 0, value FROM record WHERE key = 'node/edge1/key'",
	     "node/edge2/key: no entry"},
	    {"INSERT INTO record(key, mod_revision, create_revision, lease, deleted, value) "
	     "SELECT 'ledger/0000000000000006', 3, 3, 0, 0, value FROM record "
	     "WHERE key = 'ledger/0000000000000005'",
	     "entry 6: it says that it is entry 5"},
	    {"UPDATE record SET key = CASE key WHEN 'ledger/0000000000000003' "
	     "THEN 'ledger/0000000000000004' ELSE 'ledger/0000000000000003' END WHERE key IN "
	     "('ledger/0000000000000003', 'ledger/0000000000000004')",
	     "entry 3: it says that it is entry 4"},
	};
	struct fixture *fixture = *state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		run(fixture, "CREATE TABLE copy AS SELECT * FROM record");
		tamper(fixture, rows[i].sql);
		expect_fault(fixture, rows[i].begin, "");
		tamper(fixture, "DELETE FROM record");
		tamper(fixture, "INSERT INTO record SELECT * FROM copy");
		run(fixture, "DROP TABLE copy");
		expect_sound(fixture);
	}
}

/* An entry that the node itself signed, but for another place in the chain. */
static void test_a_replayed_signature_does_not_fit_elsewhere(void **state)
{
	struct fixture *fixture = *state;
	struct ledger_append other;
	struct ledger_head fork = fixture->head;
	fork.sequence = 2;
	fork.digest.bytes[0] ^= 1;
	struct ledger_head real = fixture->head;
	fixture->head = fork;
	assert_int_equal(change_prepare(fixture, "apply", "forged", &other), 0);
	fixture->head = real;
	value_set(fixture, other.ops[0].key, other.ops[0].value, other.ops[0].value_length);
	expect_fault(fixture, "entry 3: it does not follow the entry before it", "");
}

/* --- the anchor and the signer ---------------------------------------------------------------- */

static void test_an_anchor_shows_a_cut_end(void **state)
{
	struct fixture *fixture = *state;
	struct ledger_verify options = {
	    .anchor = {.sequence = fixture->head.sequence, .digest = fixture->head.digest}};
	assert_int_equal(verify(fixture, &options).result, 0);

	/* Entry 5 and its head go: what is left is a sound ledger of four. */
	tamper(fixture, "DELETE FROM record WHERE mod_revision = "
			"(SELECT max(mod_revision) FROM record)");
	assert_int_equal(verify(fixture, &(struct ledger_verify){0}).result, 0);
	struct verification verification = verify(fixture, &options);
	assert_int_equal(verification.result, -FL_ECORRUPT);
	assert_non_null(strstr(verification.err.text, "entry 5 is missing"));
	assert_int_equal(verification.verdict.entries, 4);
}

static void test_an_anchor_shows_a_rewritten_history(void **state)
{
	struct fixture *fixture = *state;
	struct ledger_verify options = {.anchor = {.sequence = 2}};
	struct verification verification = verify(fixture, &options);
	assert_int_equal(verification.result, -FL_ECORRUPT);
	assert_non_null(strstr(verification.err.text, "entry 2: its hash is not the one"));
	assert_int_equal(verification.verdict.entries, 1);
}

static void test_a_ledger_of_another_key_is_not_ours(void **state)
{
	struct fixture *fixture = *state;
	char folder[96];
	snprintf(folder, sizeof(folder), "%s-other", fixture->harness.folder);
	struct ledger_signer *other = NULL;
	assert_int_equal(ledger_signer_open(folder, "edge1", &other, NULL), 0);
	struct verification verification =
	    verify(fixture, &(struct ledger_verify){.signer = other});
	assert_int_equal(verification.result, -FL_ECORRUPT);
	assert_non_null(strstr(verification.err.text, "another key for node edge1"));

	const struct store_record *record = harness_get(&fixture->harness, "node/edge1/key");
	assert_int_equal(ledger_signer_check(fixture->signer, record, NULL), 0);
	assert_int_equal(ledger_signer_check(other, record, NULL), -FL_ECORRUPT);
	assert_int_equal(ledger_signer_check(other, NULL, NULL), -FL_ECORRUPT);
	ledger_signer_free(other);
	char path[128];
	snprintf(path, sizeof(path), "%s/node.key", folder);
	unlink(path);
	rmdir(folder);
}

static void test_a_second_node_signs_once_introduced(void **state)
{
	struct fixture *fixture = *state;
	char folder[96];
	snprintf(folder, sizeof(folder), "%s-second", fixture->harness.folder);
	struct ledger_signer *first = fixture->signer;
	struct ledger_signer *second = NULL;
	assert_int_equal(ledger_signer_open(folder, "edge2", &second, NULL), 0);

	struct ledger_append joining;
	struct ledger_change change = {.time_ms = 1, .who = "root", .why = "join"};
	assert_int_equal(ledger_introduce_ops(&fixture->head, first, &change, "edge2",
					      ledger_signer_public_key(second),
					      &fixture->harness.arena, &joining, NULL),
			 0);
	assert_int_equal(commit(fixture, &joining), 0);
	fixture->signer = second;
	append(fixture, "apply", "from the second node");
	fixture->signer = first;
	expect_sound(fixture);
	tamper(fixture, "DELETE FROM record WHERE key = 'node/edge2/key'");
	expect_fault(fixture, "a key that the ledger introduces", "");

	ledger_signer_free(second);
	char path[128];
	snprintf(path, sizeof(path), "%s/node.key", folder);
	unlink(path);
	rmdir(folder);
}

static void test_an_unknown_node_cannot_sign(void **state)
{
	struct fixture *fixture = *state;
	char folder[96];
	snprintf(folder, sizeof(folder), "%s-unknown", fixture->harness.folder);
	struct ledger_signer *known = fixture->signer;
	assert_int_equal(ledger_signer_open(folder, "edge9", &fixture->signer, NULL), 0);
	append(fixture, "apply", "uninvited");
	expect_fault(fixture, "entry 6: node edge9, which no entry introduced", "");
	ledger_signer_free(fixture->signer);
	fixture->signer = known;
	char path[128];
	snprintf(path, sizeof(path), "%s/node.key", folder);
	unlink(path);
	rmdir(folder);
}

/* --- appending: order, limits ----------------------------------------------------------------- */

static void test_only_one_of_two_writers_follows_a_head(void **state)
{
	struct fixture *fixture = *state;
	struct ledger_append one;
	struct ledger_append two;
	assert_int_equal(change_prepare(fixture, "apply", "one", &one), 0);
	assert_int_equal(change_prepare(fixture, "apply", "two", &two), 0);
	assert_int_equal(commit(fixture, &one), 0);
	assert_int_equal(commit(fixture, &two), -FL_ECONFLICT);
	expect_sound(fixture);
}

static void test_an_empty_ledger_begins_with_a_key(void **state)
{
	struct fixture *fixture = *state;
	struct ledger_append append;
	assert_int_equal(verify(fixture, &(struct ledger_verify){0}).result, 0);
	assert_int_equal(verify(fixture, &(struct ledger_verify){.signer = fixture->signer}).result,
			 -FL_ECORRUPT);
	assert_int_equal(change_prepare(fixture, "apply", "", &append), -FL_ESTATE);
	introduce(fixture);
	assert_int_equal(change_prepare(fixture, LEDGER_KIND_NODE_KEY, "", &append), -FL_EINVALID);
	expect_sound(fixture);
	const struct store_record *record = harness_get(&fixture->harness, "node/edge1/key");
	assert_non_null(record);
	assert_string_equal(record->value, ledger_signer_public_key(fixture->signer));
}

static void test_changes_outside_the_limits_are_refused(void **state)
{
	struct fixture *fixture = *state;
	struct ledger_append append;
	char longest[LEDGER_TEXT_BYTES + 1];
	char longer[LEDGER_TEXT_BYTES + 2];
	memset(longest, 'x', sizeof(longest));
	longest[LEDGER_TEXT_BYTES] = '\0';
	memset(longer, 'x', sizeof(longer));
	longer[LEDGER_TEXT_BYTES + 1] = '\0';
	assert_int_equal(change_prepare(fixture, "apply", longest, &append), 0);
	assert_int_equal(change_prepare(fixture, "apply", longer, &append), -FL_EINVALID);
	assert_int_equal(change_prepare(fixture, "apply", "two\nlines", &append), -FL_EINVALID);
	assert_int_equal(change_prepare(fixture, "apply", "not \377 UTF-8", &append), -FL_EINVALID);
	assert_int_equal(change_prepare(fixture, "Apply", "", &append), -FL_EINVALID);
	assert_int_equal(change_prepare(fixture, "", "", &append), -FL_EINVALID);

	struct ledger_change change = {.who = "a", .why = "", .kind = "apply"};
	change.what = json_array();
	assert_int_equal(ledger_append_ops(&fixture->head, fixture->signer, &change,
					   &fixture->harness.arena, &append, NULL),
			 -FL_EINVALID);
	json_decref(change.what);
	char *much = malloc(LEDGER_ENTRY_BYTES + 1);
	assert_non_null(much);
	memset(much, 'x', LEDGER_ENTRY_BYTES);
	much[LEDGER_ENTRY_BYTES] = '\0';
	change.what = json_pack("{s:s}", "much", much);
	free(much);
	assert_int_equal(ledger_append_ops(&fixture->head, fixture->signer, &change,
					   &fixture->harness.arena, &append, NULL),
			 -FL_ELIMIT);
	json_decref(change.what);
}

/* --- pages ------------------------------------------------------------------------------------ */

struct pages {
	bool done;
	int result;
	struct error err;
	uint64_t first;
	size_t count;
	bool more;
	uint64_t head;
};

static void on_page(void *context, int result, const struct error *err,
		    const struct ledger_page *page)
{
	struct pages *pages = context;
	pages->done = true;
	pages->result = result;
	if (err)
		pages->err = *err;
	if (!page)
		return;
	pages->count = page->count;
	pages->more = page->more;
	pages->head = page->head.sequence;
	pages->first = page->count ? page->entries[0].sequence : 0;
	for (size_t i = 0; i < page->count; i++) {
		assert_int_equal(page->entries[i].sequence, pages->first + i);
		assert_string_equal(page->entries[i].node, "edge1");
	}
}

static struct pages range(struct fixture *fixture, uint64_t first, size_t limit)
{
	struct pages pages = {0};
	assert_int_equal(ledger_range(fixture->harness.store, first, limit, on_page, &pages, NULL),
			 0);
	assert_int_equal(store_wait(fixture->harness.store, &pages.done, WAIT_MS, NULL), 0);
	return pages;
}

/* Numbers that lost entries may have had stay free; what is missing otherwise is still seen. */
static void test_only_a_recovery_leaves_out_numbers(void **state)
{
	struct fixture *fixture = *state;
	struct ledger_append append_ops;
	json_t *what = json_pack("{s:i}", "after", ENTRIES);
	struct ledger_change change = {
	    .who = "alice", .why = "", .kind = "apply", .what = what, .sequence = 50};
	assert_int_equal(ledger_append_ops(&fixture->head, fixture->signer, &change,
					   &fixture->harness.arena, &append_ops, NULL),
			 -FL_EINVALID);
	change.kind = LEDGER_KIND_RECOVER;
	assert_int_equal(ledger_append_ops(&fixture->head, fixture->signer, &change,
					   &fixture->harness.arena, &append_ops, NULL),
			 0);
	json_decref(what);
	assert_int_equal(commit(fixture, &append_ops), 0);
	append(fixture, "apply", "");
	assert_int_equal(fixture->head.sequence, 51);
	struct verification verification =
	    verify(fixture, &(struct ledger_verify){.signer = fixture->signer});
	assert_int_equal(verification.result, 0);
	assert_int_equal(verification.verdict.entries, ENTRIES + 2);
	assert_int_equal(verification.verdict.sequence, 51);
	tamper(fixture, "DELETE FROM record WHERE key = 'ledger/0000000000000050'");
	expect_fault(fixture, "entry 6 is missing", "it was removed");
}

static void test_pages(void **state)
{
	static const struct {
		uint64_t first;
		size_t limit;
		uint64_t ret_first;
		size_t count;
		bool more;
	} rows[] = {
	    {1, 2, 1, 2, true},  {3, 2, 3, 2, true},    {5, 2, 5, 1, false}, {6, 2, 0, 0, false},
	    {1, 5, 1, 5, false}, {1, 100, 1, 5, false}, {0, 2, 4, 2, false}, {0, 100, 1, 5, false},
	};
	struct fixture *fixture = *state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct pages pages = range(fixture, rows[i].first, rows[i].limit);
		assert_int_equal(pages.result, 0);
		assert_int_equal(pages.first, rows[i].ret_first);
		assert_int_equal(pages.count, rows[i].count);
		assert_int_equal(pages.more, rows[i].more);
		assert_int_equal(pages.head, ENTRIES);
	}
	tamper(fixture, "DELETE FROM record WHERE key = 'ledger/0000000000000003'");
	struct pages pages = range(fixture, 1, 5);
	assert_int_equal(pages.result, -FL_ECORRUPT);
	assert_non_null(strstr(pages.err.text, "entry 3 is missing"));
}

static void test_an_empty_ledger_has_an_empty_page(void **state)
{
	struct pages pages = range(*state, 0, 10);
	assert_int_equal(pages.result, 0);
	assert_int_equal(pages.count, 0);
	assert_false(pages.more);
}

static void test_an_entry_says_what_was_appended(void **state)
{
	struct fixture *fixture = *state;
	const struct store_record *record =
	    harness_get(&fixture->harness, "ledger/0000000000000002");
	struct ledger_entry entry;
	assert_int_equal(ledger_entry_parse(record->value, record->value_length, &entry, NULL), 0);
	assert_int_equal(entry.sequence, 2);
	assert_int_equal(entry.time_ms, 1795332664124);
	assert_string_equal(entry.kind, "apply");
	assert_string_equal(entry.who, "alice");
	assert_string_equal(entry.why, "more capacity: gr\303\266\303\237er \"web\"");
	assert_string_equal(json_string_value(json_object_get(entry.what, "service")), "web");
	ledger_entry_done(&entry);
}

/* --- the key file ----------------------------------------------------------------------------- */

static void test_the_key_file_is_private_and_stays(void **state)
{
	struct fixture *fixture = *state;
	char path[128];
	struct stat status;
	snprintf(path, sizeof(path), "%s/node.key", fixture->harness.folder);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);

	struct ledger_signer *again = NULL;
	assert_int_equal(ledger_signer_open(fixture->harness.folder, "edge1", &again, NULL), 0);
	assert_string_equal(ledger_signer_public_key(again),
			    ledger_signer_public_key(fixture->signer));
	ledger_signer_free(again);

	assert_int_equal(chmod(path, 0640), 0);
	assert_int_equal(
	    ledger_signer_open(fixture->harness.folder, "edge1", &again, &fixture->harness.err),
	    -FL_EPRIVILEGE);
	assert_non_null(strstr(fixture->harness.err.text, "chmod 600"));
	assert_int_equal(chmod(path, 0600), 0);
	assert_int_equal(truncate(path, 40), 0);
	assert_int_equal(ledger_signer_open(fixture->harness.folder, "edge1", &again, NULL),
			 -FL_ECORRUPT);
}

/* One of the same length, one of another, and one behind a passphrase, which nobody is asked for.
 */
static void test_other_keys_are_none(void **state)
{
	struct fixture *fixture = *state;
	EVP_PKEY *keys[] = {EVP_PKEY_Q_keygen(NULL, NULL, "X25519"),
			    EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256"),
			    EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")};
	struct ledger_signer *signer = NULL;
	char path[128];
	snprintf(path, sizeof(path), "%s/node.key", fixture->harness.folder);
	for (size_t i = 0; i < 3; i++) {
		bool locked = i == 2;
		FILE *file = fopen(path, "w");
		assert_non_null(file);
		assert_int_equal(
		    PEM_write_PKCS8PrivateKey(file, keys[i], locked ? EVP_aes_128_cbc() : NULL,
					      locked ? "secret" : NULL, locked ? 6 : 0, NULL, NULL),
		    1);
		assert_int_equal(fclose(file), 0);
		assert_int_equal(ledger_signer_open(fixture->harness.folder, "edge1", &signer,
						    &fixture->harness.err),
				 -FL_ECORRUPT);
		assert_non_null(strstr(fixture->harness.err.text, "not an Ed25519 private key"));
		EVP_PKEY_free(keys[i]);
	}
}

static void test_node_names_are_checked(void **state)
{
	static const char *const bad[] = {
	    "",
	    "-a",
	    "Edge",
	    "a/b",
	    "a b",
	    "\303\244",
	    "a234567890123456789012345678901234567890123456789012345678901234"};
	struct fixture *fixture = *state;
	struct ledger_signer *signer = NULL;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(ledger_signer_open(fixture->harness.folder, bad[i], &signer, NULL),
				 -FL_EINVALID);
}

int main(void)
{
#define FILLED(test) cmocka_unit_test_setup_teardown(test, setup_filled, teardown)
#define EMPTY(test) cmocka_unit_test_setup_teardown(test, setup_empty, teardown)
	const struct CMUnitTest tests[] = {
	    FILLED(test_every_flipped_byte_of_an_entry_is_seen),
	    FILLED(test_every_flipped_byte_of_head_and_key_is_seen),
	    FILLED(test_every_truncation_of_an_entry_is_seen),
	    FILLED(test_a_changed_word_is_named_by_its_signature),
	    FILLED(test_missing_and_foreign_keys_are_seen),
	    FILLED(test_a_replayed_signature_does_not_fit_elsewhere),
	    FILLED(test_an_anchor_shows_a_cut_end),
	    FILLED(test_an_anchor_shows_a_rewritten_history),
	    FILLED(test_a_ledger_of_another_key_is_not_ours),
	    FILLED(test_a_second_node_signs_once_introduced),
	    FILLED(test_an_unknown_node_cannot_sign),
	    FILLED(test_only_one_of_two_writers_follows_a_head),
	    EMPTY(test_an_empty_ledger_begins_with_a_key),
	    FILLED(test_changes_outside_the_limits_are_refused),
	    FILLED(test_only_a_recovery_leaves_out_numbers),
	    FILLED(test_pages),
	    EMPTY(test_an_empty_ledger_has_an_empty_page),
	    FILLED(test_an_entry_says_what_was_appended),
	    EMPTY(test_the_key_file_is_private_and_stays),
	    EMPTY(test_other_keys_are_none),
	    EMPTY(test_node_names_are_checked),
	};
	return cmocka_run_group_tests_name("ledger", tests, NULL, NULL);
}
