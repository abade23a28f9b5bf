/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the ledger back: pages for people, and the walk that verifies it.
 *
 * Both are small state machines that go on from the completion of one store_range() to the next.
 * Entries never change and keys sort by sequence, digits before "head", so a walk needs no fixed
 * revision: whatever is appended meanwhile lies ahead of it, and the page that holds the head holds
 * all entries since the page before.
 */
#include "ledger/ledger.h"

#include "base/text.h"
#include "ledger/key.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Small, since each entry costs a signature check and the caller's loop waits meanwhile. */
#define VERIFY_PAGE 64u

static int no_memory(struct error *err)
{
	return error_set(err, -ENOMEM, "ledger: out of memory");
}

/* The sequence in a key ledger/0000000000000017, or 0 if it has another form. */
static uint64_t sequence_of(const char *key)
{
	const char *digits = key + strlen(LEDGER_PREFIX);
	if (strlen(digits) != 16 || strspn(digits, "0123456789") != 16)
		return 0;
	return strtoull(digits, NULL, 10);
}

/*
 * The entry in `record`, which must be the next one after `last`, or, with `is_first`, may be any
 * above it that no missing one comes before; faults are -FL_ECORRUPT and named. The signature and
 * the chain are not looked at.
 */
static int entry_read(const struct store_record *record, uint64_t last, bool is_first,
		      struct ledger_entry *ret_entry, struct error *err)
{
	uint64_t sequence = sequence_of(record->key);
	if (sequence == 0 || sequence <= last)
		return error_set(err, -FL_ECORRUPT,
				 "%s does not belong into the ledger: somebody else put it there",
				 record->key);
	struct ledger_entry entry;
	struct error reason;
	int result = ledger_entry_parse(record->value, record->value_length, &entry, &reason);
	if (result == -ENOMEM)
		return no_memory(err);
	if (result < 0)
		return error_set(err, -FL_ECORRUPT,
				 "entry %" PRIu64
				 ": %.200s: the entry was changed after it was written",
				 sequence, reason.text);
	const json_t *after = json_object_get(entry.what, "after");
	uint64_t left_out = is_first && json_is_integer(after) && json_integer_value(after) >= 0 &&
				    (uint64_t)json_integer_value(after) < last
				? (uint64_t)json_integer_value(after)
				: last;
	if (entry.sequence == sequence && !ledger_entry_follows(&entry, left_out)) {
		ledger_entry_done(&entry);
		return error_set(err, -FL_ECORRUPT, "entry %" PRIu64 " is missing: it was removed",
				 last + 1);
	}
	if (entry.sequence != sequence) {
		result = error_set(err, -FL_ECORRUPT,
				   "entry %" PRIu64 ": it says that it is entry %" PRIu64
				   ": entries were moved, or it was changed after it was written",
				   sequence, entry.sequence);
		ledger_entry_done(&entry);
		return result;
	}
	*ret_entry = entry;
	return 0;
}

/* --- a page ----------------------------------------------------------------------------------- */

struct page_reader {
	struct store *store;
	ledger_range_fn *done;
	void *context;
	uint64_t first;
	size_t limit;
	struct ledger_head head;
	struct ledger_entry *entries; /* owned, `count` of them filled */
	size_t count;
};

static void page_finish(struct page_reader *reader, int result, const struct error *err)
{
	uint64_t last = reader->count ? reader->entries[reader->count - 1].sequence : 0;
	struct ledger_page page = {.entries = reader->entries,
				   .count = reader->count,
				   .more = reader->count && last < reader->head.sequence,
				   .head = reader->head};
	reader->done(reader->context, result, result < 0 ? err : NULL, result < 0 ? NULL : &page);
	for (size_t i = 0; i < reader->count; i++)
		ledger_entry_done(&reader->entries[i]);
	free(reader->entries);
	free(reader);
}

static int page_collect(struct page_reader *reader, const struct store_page *page,
			struct error *err)
{
	reader->entries = calloc(page->count ? page->count : 1, sizeof(*reader->entries));
	if (!reader->entries)
		return no_memory(err);
	uint64_t last = reader->first - 1;
	for (size_t i = 0; i < page->count && last < reader->head.sequence; i++) {
		struct ledger_entry *entry = &reader->entries[reader->count];
		int result = entry_read(&page->records[i], last, i == 0, entry, err);
		if (result < 0)
			return result;
		last = entry->sequence;
		reader->count++;
	}
	return 0;
}

static void page_on_entries(void *context, int result, const struct error *err,
			    const struct store_page *page)
{
	struct page_reader *reader = context;
	struct error fault;
	if (result == 0) {
		result = page_collect(reader, page, &fault);
		err = &fault;
	}
	page_finish(reader, result, err);
}

/* Asks for the entries, at the revision of the head, so that both agree. */
static int page_ask(struct page_reader *reader, const struct store_page *page, struct error *err)
{
	int result = ledger_head_parse(page->count ? page->records : NULL, &reader->head, err);
	if (result < 0)
		return result;
	if (reader->first == 0)
		reader->first = reader->head.sequence > reader->limit
				    ? reader->head.sequence - reader->limit + 1
				    : 1;
	if (reader->first > reader->head.sequence) {
		page_finish(reader, 0, NULL);
		return 0;
	}
	char after[LEDGER_KEY_BYTES];
	struct store_range range = {.key = LEDGER_PREFIX,
				    .prefix = true,
				    .after = ledger_key_format(reader->first - 1, after),
				    .limit = reader->limit,
				    .revision = page->revision};
	return store_range(reader->store, &range, page_on_entries, reader, err);
}

static void page_on_head(void *context, int result, const struct error *err,
			 const struct store_page *page)
{
	struct page_reader *reader = context;
	struct error fault;
	if (result == 0) {
		result = page_ask(reader, page, &fault);
		err = &fault;
	}
	if (result < 0)
		page_finish(reader, result, err);
}

int ledger_range(struct store *store, uint64_t first, size_t limit, ledger_range_fn *done,
		 void *context, struct error *err)
{
	if (limit < 1 || limit > STORE_PAGE_RECORDS || first > LEDGER_SEQUENCE_MAX)
		return error_set(err, -FL_ELIMIT, "ledger: a page holds 1 to %u entries",
				 STORE_PAGE_RECORDS);
	struct page_reader *reader = calloc(1, sizeof(*reader));
	if (!reader)
		return no_memory(err);
	*reader = (struct page_reader){
	    .store = store, .done = done, .context = context, .first = first, .limit = limit};
	struct store_range range = {.key = LEDGER_HEAD_KEY};
	int result = store_range(store, &range, page_on_head, reader, err);
	if (result < 0)
		free(reader);
	return result;
}

/* --- verifying -------------------------------------------------------------------------------- */

struct verifier {
	struct store *store;
	struct ledger_verify options;
	ledger_verify_fn *done;
	void *context;
	struct ledger_verdict verdict; /* what is sound so far */
	json_t *keys; /* node → public key, as the ledger introduced them; owned */
	size_t keys_seen; /* of these, under node/ */
	bool head_seen;
};

static void verify_finish(struct verifier *verifier, int result, const struct error *err)
{
	verifier->done(verifier->context, result, result < 0 ? err : NULL, &verifier->verdict);
	json_decref(verifier->keys);
	free(verifier);
}

/* An entry of kind "node.key" adds to the keys; it must be well-formed and new. */
static int verify_introduction(struct verifier *verifier, const struct ledger_entry *entry,
			       struct error *err)
{
	const char *node = NULL;
	const char *text = NULL;
	uint8_t key[KEY_BYTES];
	bool well_formed =
	    json_unpack(entry->what, "{s:s, s:s !}", "key", &text, "node", &node) == 0 && node &&
	    text && text_is_node_name(node) && key_text_parse(text, strlen(text), key) == 0;
	if (!well_formed)
		return error_set(err, -FL_ECORRUPT,
				 "entry %" PRIu64 ": it does not introduce a node and its key",
				 entry->sequence);
	if (json_object_get(verifier->keys, node))
		return error_set(err, -FL_ECORRUPT,
				 "entry %" PRIu64 ": it introduces node %s a second time",
				 entry->sequence, node);
	if (entry->sequence == 1 && strcmp(node, entry->node) != 0)
		return error_set(err, -FL_ECORRUPT,
				 "entry 1: it introduces another node than the one that signed it");
	return json_object_set_new(verifier->keys, node, json_string(text)) < 0 ? no_memory(err)
										: 0;
}

static int verify_signature(const struct verifier *verifier, const struct ledger_entry *entry,
			    const struct store_record *record, struct error *err)
{
	uint8_t key[KEY_BYTES];
	const char *text = json_string_value(json_object_get(verifier->keys, entry->node));
	if (!text || key_text_parse(text, strlen(text), key) < 0)
		return error_set(err, -FL_ECORRUPT,
				 "entry %" PRIu64
				 ": node %s, which no entry introduced, signed it: "
				 "it was forged, or changed after it was written",
				 entry->sequence, entry->node);
	int result =
	    ledger_signature_check(key, record->value, entry->body_length, entry->signature);
	if (result == -ENOMEM)
		return no_memory(err);
	if (result < 0)
		return error_set(err, -FL_ECORRUPT,
				 "entry %" PRIu64 ": the signature does not match: the entry was "
				 "changed after it was written",
				 entry->sequence);
	return 0;
}

static int verify_place(const struct verifier *verifier, const struct ledger_entry *entry,
			struct error *err)
{
	const struct ledger_anchor *anchor = &verifier->options.anchor;
	if (memcmp(&entry->before, &verifier->verdict.digest, sizeof(entry->before)) != 0)
		return error_set(err, -FL_ECORRUPT,
				 "entry %" PRIu64 ": it does not follow the entry before it: an "
				 "entry was replaced or moved",
				 entry->sequence);
	if (anchor->sequence == entry->sequence &&
	    memcmp(&entry->digest, &anchor->digest, sizeof(entry->digest)) != 0)
		return error_set(err, -FL_ECORRUPT,
				 "entry %" PRIu64 ": its hash is not the one that was noted: the "
				 "history was written anew",
				 entry->sequence);
	return 0;
}

/* Entry 1 introduces the key that it is checked with, so its introduction is read first. */
static int verify_entry_parts(struct verifier *verifier, const struct ledger_entry *entry,
			      const struct store_record *record, struct error *err)
{
	bool introduces = strcmp(entry->kind, LEDGER_KIND_NODE_KEY) == 0;
	int result = 0;
	if (entry->sequence == 1 && !introduces)
		return error_set(err, -FL_ECORRUPT,
				 "entry 1: it does not introduce the key of a node");
	if (entry->sequence == 1)
		result = verify_introduction(verifier, entry, err);
	if (result == 0)
		result = verify_signature(verifier, entry, record, err);
	if (result == 0)
		result = verify_place(verifier, entry, err);
	if (result == 0 && introduces && entry->sequence > 1)
		result = verify_introduction(verifier, entry, err);
	return result;
}

static int verify_entry(struct verifier *verifier, const struct store_record *record,
			struct error *err)
{
	struct ledger_entry entry = {0};
	int result = entry_read(record, verifier->verdict.sequence, false, &entry, err);
	if (result < 0)
		return result;
	ASSERT(entry.kind);
	result = verify_entry_parts(verifier, &entry, record, err);
	if (result == 0) {
		verifier->verdict.entries++;
		verifier->verdict.sequence = entry.sequence;
		verifier->verdict.digest = entry.digest;
	}
	ledger_entry_done(&entry);
	return result;
}

static int verify_head(struct verifier *verifier, const struct store_record *record,
		       struct error *err)
{
	struct ledger_head head;
	uint64_t last = verifier->verdict.sequence;
	int result = ledger_head_parse(record, &head, err);
	if (result < 0)
		return result;
	verifier->head_seen = true;
	if (head.sequence > last)
		return error_set(err, -FL_ECORRUPT,
				 "entry %" PRIu64 " is missing: the head names entry %" PRIu64
				 " as the last one",
				 last + 1, head.sequence);
	if (head.sequence < last)
		return error_set(
		    err, -FL_ECORRUPT,
		    "entry %" PRIu64 " lies beyond the head, which names entry %" PRIu64
		    " as the last one: it was appended past the store, or the head was "
		    "changed",
		    head.sequence + 1, head.sequence);
	if (memcmp(&head.digest, &verifier->verdict.digest, sizeof(head.digest)) != 0)
		return error_set(err, -FL_ECORRUPT,
				 "entry %" PRIu64 ": its hash is not the one that the head names: "
				 "the entry was replaced, or the head was changed",
				 last);
	return 0;
}

static int verify_ledger_page(struct verifier *verifier, const struct store_page *page,
			      struct error *err)
{
	for (size_t i = 0; i < page->count; i++) {
		const struct store_record *record = &page->records[i];
		int result = 0;
		if (strcmp(record->key, LEDGER_HEAD_KEY) == 0)
			result = verify_head(verifier, record, err);
		else if (verifier->head_seen)
			result = error_set(err, -FL_ECORRUPT,
					   "%s does not belong into the ledger: somebody else put "
					   "it there",
					   record->key);
		else
			result = verify_entry(verifier, record, err);
		if (result < 0)
			return result;
	}
	return 0;
}

/* After the last page: what has to be there besides the entries. */
static int verify_end(const struct verifier *verifier, struct error *err)
{
	uint64_t last = verifier->verdict.sequence;
	if (last && !verifier->head_seen)
		return error_set(err, -FL_ECORRUPT,
				 "the head of the ledger (%s) is missing: it was removed",
				 LEDGER_HEAD_KEY);
	if (verifier->options.anchor.sequence > last)
		return error_set(err, -FL_ECORRUPT,
				 "entry %" PRIu64 " is missing: the ledger ends at entry %" PRIu64
				 ", but a later one was noted: its end was cut off",
				 last + 1, last);
	const struct ledger_signer *signer = verifier->options.signer;
	if (!signer)
		return 0;
	const char *text =
	    json_string_value(json_object_get(verifier->keys, ledger_signer_node(signer)));
	if (!text || strcmp(text, ledger_signer_public_key(signer)) != 0)
		return error_set(err, -FL_ECORRUPT,
				 "the ledger %s node %s: the ledger or node.key was replaced",
				 text ? "has another key for" : "does not introduce",
				 ledger_signer_node(signer));
	return 0;
}

/* node/NAME/key: whether it repeats what the ledger says. Other keys under node/ are not ours. */
static int verify_node_record(struct verifier *verifier, const struct store_record *record,
			      struct error *err)
{
	const char *name = record->key + strlen("node/");
	const char *slash = strchr(name, '/');
	if (!slash || strcmp(slash, "/key") != 0)
		return 0;
	char node[STORE_KEY_BYTES + 1];
	snprintf(node, sizeof(node), "%.*s", (int)(slash - name), name);
	const char *text = json_string_value(json_object_get(verifier->keys, node));
	if (!text)
		return error_set(err, -FL_ECORRUPT, "%s: no entry of the ledger introduces it",
				 record->key);
	if (strlen(text) != record->value_length ||
	    memcmp(text, record->value, record->value_length) != 0)
		return error_set(err, -FL_ECORRUPT,
				 "%s: not the key that the ledger introduces: it was changed",
				 record->key);
	verifier->keys_seen++;
	return 0;
}

static int verify_ask(struct verifier *verifier, const char *prefix, const char *after,
		      uint64_t revision, store_range_fn *on_page, struct error *err)
{
	struct store_range range = {.key = prefix,
				    .prefix = true,
				    .after = after,
				    .limit = VERIFY_PAGE,
				    .revision = revision};
	return store_range(verifier->store, &range, on_page, verifier, err);
}

static int verify_nodes_page(struct verifier *verifier, const struct store_page *page,
			     struct error *err)
{
	for (size_t i = 0; i < page->count; i++) {
		int result = verify_node_record(verifier, &page->records[i], err);
		if (result < 0)
			return result;
	}
	if (!page->more && verifier->keys_seen != json_object_size(verifier->keys))
		return error_set(err, -FL_ECORRUPT,
				 "a key that the ledger introduces is missing under node/: it was "
				 "removed");
	return 0;
}

static void verify_on_nodes(void *context, int result, const struct error *err,
			    const struct store_page *page)
{
	struct verifier *verifier = context;
	struct error fault;
	if (result == 0) {
		err = &fault;
		result = verify_nodes_page(verifier, page, &fault);
	}
	bool more = result == 0 && page->more;
	if (more)
		result = verify_ask(verifier, "node/", page->records[page->count - 1].key,
				    page->revision, verify_on_nodes, &fault);
	if (!more || result < 0)
		verify_finish(verifier, result, err);
}

/* Goes on with the next page, or with the keys under node/ as they were at the head's revision. */
static int verify_go_on(struct verifier *verifier, const struct store_page *page,
			store_range_fn *on_ledger, struct error *err)
{
	int result = verify_ledger_page(verifier, page, err);
	if (result < 0)
		return result;
	if (page->more)
		return verify_ask(verifier, LEDGER_PREFIX, page->records[page->count - 1].key, 0,
				  on_ledger, err);
	result = verify_end(verifier, err);
	if (result < 0)
		return result;
	return verify_ask(verifier, "node/", NULL, page->revision, verify_on_nodes, err);
}

static void verify_on_ledger(void *context, int result, const struct error *err,
			     const struct store_page *page)
{
	struct verifier *verifier = context;
	struct error fault;
	if (result == 0) {
		err = &fault;
		result = verify_go_on(verifier, page, verify_on_ledger, &fault);
	}
	if (result < 0)
		verify_finish(verifier, result, err);
}

int ledger_verify(struct store *store, const struct ledger_verify *verify, ledger_verify_fn *done,
		  void *context, struct error *err)
{
	struct verifier *verifier = calloc(1, sizeof(*verifier));
	json_t *keys = json_object();
	if (!verifier || !keys) {
		json_decref(keys);
		free(verifier);
		return no_memory(err);
	}
	*verifier = (struct verifier){
	    .store = store, .options = *verify, .done = done, .context = context, .keys = keys};
	int result = verify_ask(verifier, LEDGER_PREFIX, NULL, 0, verify_on_ledger, err);
	if (result < 0) {
		json_decref(verifier->keys);
		free(verifier);
	}
	return result;
}
