/* SPDX-License-Identifier: Apache-2.0 */
#include "state/snapshot.h"

#include "base/search.h"
#include "ledger/ledger.h"
#include "state/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char MAGIC[] = "fairlead snapshot 1\n";

#define MAGIC_BYTES (sizeof(MAGIC) - 1)
/* A record takes so many bytes at least: how many a file of a given size can hold. */
#define RECORD_LEAST_BYTES 27u

const struct snapshot_part snapshot_parts[SNAPSHOT_PARTS] = {
    {"config", false},        {"config/", true},  {"forgotten/", true},
    {LEDGER_HEAD_KEY, false}, {"member/", true},  {"placement", false},
    {"placement/", true},     {"service/", true}, {"version/", true},
};

static bool is_covered(const char *key)
{
	for (size_t i = 0; i < SNAPSHOT_PARTS; i++) {
		const struct snapshot_part *part = &snapshot_parts[i];
		if (part->prefix ? strncmp(key, part->key, strlen(part->key)) == 0
				 : strcmp(key, part->key) == 0)
			return true;
	}
	return false;
}

/* --- writing --- */

static void put_number(struct buffer *bytes, uint64_t value, unsigned length)
{
	uint8_t out[8];
	for (unsigned i = 0; i < length; i++)
		out[i] = (uint8_t)(value >> 8 * (length - 1 - i));
	buffer_append(bytes, out, length);
}

/* With the NUL that follows, so that a reader can point into the file. */
static void put_text(struct buffer *bytes, const void *text, size_t length)
{
	put_number(bytes, length, 4);
	buffer_append(bytes, text, length);
	buffer_putc(bytes, '\0');
}

void snapshot_put_record(const struct store_record *record, struct buffer *bytes)
{
	put_text(bytes, record->key, strlen(record->key));
	put_text(bytes, record->value_length ? record->value : "", record->value_length);
	put_number(bytes, record->create_revision, 8);
	put_number(bytes, record->mod_revision, 8);
}

static int out_of_memory(const char *path, struct error *err)
{
	return error_set(err, -ENOMEM, "%s: out of memory", path);
}

int snapshot_writer_add(struct snapshot_writer *writer, const void *bytes, size_t length,
			struct error *err)
{
	int result = 0;
	if (length > SNAPSHOT_MAX_BYTES - writer->length) {
		result = error_set(err, -FL_ELIMIT,
				   "%s: the snapshot would be larger than %u MiB: fewer versions "
				   "would fit",
				   writer->draft.path, SNAPSHOT_MAX_BYTES >> 20);
		disk_draft_abandon(&writer->draft);
	} else {
		result = disk_draft_write(&writer->draft, bytes, length, err);
	}
	if (result < 0) {
		digest_stream_done(&writer->stream, NULL);
		return result;
	}
	digest_stream_add(&writer->stream, bytes, length);
	writer->length += length;
	return 0;
}

int snapshot_writer_begin(struct snapshot_writer *writer, const struct disk *disk, const char *path,
			  const struct snapshot_head *head, struct error *err)
{
	struct buffer bytes;
	buffer_init(&bytes, 0);
	buffer_append(&bytes, MAGIC, MAGIC_BYTES);
	put_text(&bytes, head->node, strlen(head->node));
	put_number(&bytes, head->revision, 8);
	put_number(&bytes, head->sequence, 8);
	put_number(&bytes, head->wall_ms, 8);
	writer->length = 0;
	int result = bytes.status;
	if (result == 0)
		result = digest_stream_init(&writer->stream);
	if (result < 0) {
		out_of_memory(path, err);
	} else {
		result = disk_draft_begin(&writer->draft, disk, path, 0600, err);
		if (result < 0)
			digest_stream_done(&writer->stream, NULL);
		else
			result = snapshot_writer_add(writer, bytes.data, bytes.length, err);
	}
	buffer_done(&bytes);
	return result;
}

int snapshot_writer_commit(struct snapshot_writer *writer, struct error *err)
{
	static const uint8_t end[4];
	struct digest digest;
	int result = snapshot_writer_add(writer, end, sizeof(end), err);
	if (result < 0)
		return result;
	digest_stream_done(&writer->stream, &digest);
	result = disk_draft_write(&writer->draft, digest.bytes, sizeof(digest.bytes), err);
	return result < 0 ? result : disk_draft_commit(&writer->draft, err);
}

void snapshot_writer_abandon(struct snapshot_writer *writer)
{
	digest_stream_done(&writer->stream, NULL);
	disk_draft_abandon(&writer->draft);
}

/* --- reading --- */

/* What is left of the file. The first thing that does not fit sticks in `bad`. */
struct cursor {
	const char *at;
	const char *end;
	bool bad;
};

static const char *take(struct cursor *cursor, size_t length)
{
	const char *at = cursor->at;
	if (cursor->bad || (size_t)(cursor->end - at) < length) {
		cursor->bad = true;
		return NULL;
	}
	cursor->at += length;
	return at;
}

static uint64_t take_number(struct cursor *cursor, unsigned length)
{
	const char *bytes = take(cursor, length);
	uint64_t value = 0;
	for (unsigned i = 0; bytes && i < length; i++)
		value = value << 8 | (uint8_t)bytes[i];
	return value;
}

static const char *take_text(struct cursor *cursor, size_t most, size_t *ret_length)
{
	size_t length = take_number(cursor, 4);
	const char *text = length <= most ? take(cursor, length + 1) : NULL;
	if (!text || text[length] != '\0') {
		cursor->bad = true;
		return NULL;
	}
	*ret_length = length;
	return text;
}

static const char *take_name(struct cursor *cursor, size_t most)
{
	size_t length = 0;
	const char *text = take_text(cursor, most, &length);
	if (text && strlen(text) != length)
		cursor->bad = true;
	return cursor->bad ? NULL : text;
}

static void take_head(struct cursor *cursor, struct snapshot_head *head)
{
	const char *magic = take(cursor, MAGIC_BYTES);
	if (!magic || memcmp(magic, MAGIC, MAGIC_BYTES) != 0)
		cursor->bad = true;
	const char *node = take_name(cursor, SNAPSHOT_NODE_BYTES - 1);
	if (node)
		snprintf(head->node, sizeof(head->node), "%s", node);
	head->revision = take_number(cursor, 8);
	head->sequence = take_number(cursor, 8);
	head->wall_ms = take_number(cursor, 8);
}

/* False at the end of the records, or at what is none. */
static bool take_record(struct cursor *cursor, const char *before, struct store_record *record)
{
	static const char end[4];
	if (cursor->end - cursor->at == (ptrdiff_t)sizeof(end) &&
	    memcmp(cursor->at, end, sizeof(end)) == 0)
		return false;
	*record = (struct store_record){.key = take_name(cursor, STORE_KEY_BYTES)};
	record->value = take_text(cursor, STORE_VALUE_BYTES, &record->value_length);
	record->create_revision = take_number(cursor, 8);
	record->mod_revision = take_number(cursor, 8);
	if (!cursor->bad && (strcmp(record->key, before) <= 0 || !is_covered(record->key)))
		cursor->bad = true;
	return !cursor->bad;
}

static int damaged(const char *path, const char *what, struct error *err)
{
	return error_set(err, -FL_ECORRUPT, "%s: the snapshot is damaged (%s)", path, what);
}

static int parse_records(const char *path, struct cursor *cursor, struct snapshot *snapshot,
			 struct error *err)
{
	size_t room = (size_t)(cursor->end - cursor->at) / RECORD_LEAST_BYTES + 1;
	const char *before = "";
	snapshot->records = calloc(room, sizeof(*snapshot->records));
	if (!snapshot->records)
		return out_of_memory(path, err);
	struct store_record record;
	while (!cursor->bad && take_record(cursor, before, &record)) {
		before = record.key;
		snapshot->records[snapshot->count++] = record;
	}
	if (cursor->bad)
		return damaged(path, "a record is malformed", err);
	struct ledger_head head = {0};
	const struct store_record *stored = snapshot_find(snapshot, LEDGER_HEAD_KEY);
	int result = ledger_head_parse(stored, &head, NULL);
	if (result == -ENOMEM)
		return out_of_memory(path, err);
	if (result < 0 || head.sequence != snapshot->head.sequence)
		return damaged(path, "it does not stand where it says", err);
	return 0;
}

static int parse(const char *path, struct snapshot *snapshot, struct error *err)
{
	const struct buffer *bytes = &snapshot->bytes;
	struct digest digest;
	if (bytes->length < MAGIC_BYTES + DIGEST_BYTES)
		return damaged(path, "it is cut short", err);
	size_t length = bytes->length - DIGEST_BYTES;
	digest_of(bytes->data, length, &digest);
	if (memcmp(digest.bytes, bytes->data + length, DIGEST_BYTES) != 0)
		return damaged(path, "its digest differs", err);
	struct cursor cursor = {.at = bytes->data, .end = bytes->data + length};
	take_head(&cursor, &snapshot->head);
	if (cursor.bad)
		return damaged(path, "its head is malformed", err);
	return parse_records(path, &cursor, snapshot, err);
}

int snapshot_parse(const char *path, struct buffer *bytes, struct snapshot *ret_snapshot,
		   struct error *err)
{
	struct snapshot snapshot = {.bytes = *bytes};
	*bytes = (struct buffer){0};
	int result = parse(path, &snapshot, err);
	if (result < 0)
		snapshot_done(&snapshot);
	else
		*ret_snapshot = snapshot;
	return result;
}

int snapshot_read(const struct disk *disk, const char *path, struct snapshot *ret_snapshot,
		  struct error *err)
{
	struct buffer bytes;
	buffer_init(&bytes, SNAPSHOT_MAX_BYTES + DIGEST_BYTES);
	int result = disk->read(disk->context, path, &bytes);
	if (result == 0)
		return snapshot_parse(path, &bytes, ret_snapshot, err);
	buffer_done(&bytes);
	return error_set(err, result, "%s: cannot be read: %s", path, error_text(result));
}

void snapshot_done(struct snapshot *snapshot)
{
	free(snapshot->records);
	buffer_done(&snapshot->bytes);
	*snapshot = (struct snapshot){0};
}

static int compare_key(const void *records, size_t place, const void *key)
{
	const struct store_record *list = records;
	return strcmp(list[place].key, key);
}

const struct store_record *snapshot_find(const struct snapshot *snapshot, const char *key)
{
	bool found = false;
	size_t place = search_place(snapshot->records, snapshot->count, key, compare_key, &found);
	return found ? &snapshot->records[place] : NULL;
}
