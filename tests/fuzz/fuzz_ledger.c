/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ledger entries and heads from hostile bytes: nothing crashes, and whatever the parser takes is in
 * the one form that there is, so its parts are within their limits and it parses again the same.
 * The input is copied into a block of its exact size, so that reading past its end is seen.
 */
#include "ledger/ledger.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_entry(const char *bytes, size_t length)
{
	struct ledger_entry entry;
	if (ledger_entry_parse(bytes, length, &entry, NULL) < 0)
		return;
	ASSERT(entry.sequence >= 1 && entry.sequence <= LEDGER_SEQUENCE_MAX);
	ASSERT(strlen(entry.who) <= LEDGER_TEXT_BYTES && strlen(entry.why) <= LEDGER_TEXT_BYTES);
	ASSERT(strlen(entry.kind) >= 1 && strlen(entry.kind) <= LEDGER_KIND_BYTES);
	ASSERT(strlen(entry.node) >= 1 && strlen(entry.node) <= LEDGER_NODE_BYTES);
	ASSERT(json_is_object(entry.what));
	ASSERT(entry.body_length < length);

	char *again = json_dumps(entry.body, JSON_COMPACT | JSON_SORT_KEYS);
	ASSERT(again && strlen(again) == entry.body_length);
	ASSERT(memcmp(again, bytes, entry.body_length) == 0);
	free(again);
	ledger_entry_done(&entry);
}

static void check_head(const char *bytes, size_t length)
{
	struct store_record record = {
	    .key = LEDGER_HEAD_KEY, .value = bytes, .value_length = length, .mod_revision = 7};
	struct ledger_head head;
	if (ledger_head_parse(&record, &head, NULL) < 0)
		return;
	ASSERT(head.sequence >= 1 && head.sequence <= LEDGER_SEQUENCE_MAX);
	ASSERT(head.mod_revision == 7);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *bytes = malloc(size ? size : 1);
	if (!bytes)
		return 0;
	if (size)
		memcpy(bytes, data, size);
	check_entry(bytes, size);
	check_head(bytes, size);
	free(bytes);
	return 0;
}
