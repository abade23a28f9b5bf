/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a snapshot, with a right digest behind them, which no fuzzer would guess. They are
 * refused, or they are what the writer makes of the records that they hold.
 */
#include "base/digest.h"
#include "state/snapshot.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The records, written again, are the bytes before the end mark and the digest. */
static void check_records(const struct snapshot *snapshot)
{
	struct buffer again;
	buffer_init(&again, 0);
	for (size_t i = 0; i < snapshot->count; i++) {
		ASSERT(i == 0 ||
		       strcmp(snapshot->records[i - 1].key, snapshot->records[i].key) < 0);
		ASSERT(snapshot_find(snapshot, snapshot->records[i].key) == &snapshot->records[i]);
		snapshot_put_record(&snapshot->records[i], &again);
	}
	const struct buffer *bytes = &snapshot->bytes;
	size_t tail = 4 + DIGEST_BYTES;
	ASSERT(!again.status && bytes->length >= again.length + tail);
	ASSERT(!again.length || memcmp(bytes->data + bytes->length - tail - again.length,
				       again.data, again.length) == 0);
	buffer_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buffer bytes;
	struct digest digest;
	struct snapshot snapshot = {0};
	buffer_init(&bytes, 0);
	buffer_append(&bytes, data, size);
	digest_of(size ? (const char *)data : "", size, &digest);
	buffer_append(&bytes, digest.bytes, sizeof(digest.bytes));
	if (!bytes.status && snapshot_parse("x", &bytes, &snapshot, NULL) == 0)
		check_records(&snapshot);
	buffer_done(&bytes);
	snapshot_done(&snapshot);
	return 0;
}
