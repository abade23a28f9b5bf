/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading, by the embedded engine: one key, or a page of those under a prefix, as they were at any
 * revision that history still reaches.
 */
#include "store/sqlite.h"

#include <string.h>

#define AFTER_THIS_KEY 0x01

/* `key` + 0x01 is a bound between `key` and whatever key comes next. */
static char *bound_after(struct arena *arena, const char *text, bool prefix)
{
	return arena_printf(arena, "%s%c", text, prefix ? AFTER_ANY_KEY : AFTER_THIS_KEY);
}

bool sqlite_record_copy(sqlite3_stmt *row, struct arena *arena, struct store_record *ret_record)
{
	const char *key = (const char *)sqlite3_column_text(row, 0);
	const char *value = sqlite3_column_blob(row, 1);
	size_t length = (size_t)sqlite3_column_bytes(row, 1);
	if (!key || (length && !value))
		return false;
	struct store_record record = {
	    .key = arena_strdup(arena, key),
	    .value = arena_strndup(arena, value ? value : "", length),
	    .value_length = length,
	    .create_revision = sqlite_column_number(row, 2),
	    .mod_revision = sqlite_column_number(row, 3),
	    .lease = sqlite_column_number(row, 4),
	};
	if (!record.key || !record.value)
		return false;
	*ret_record = record;
	return true;
}

static int range_collect(struct sqlite_store *store, sqlite3_stmt *rows, size_t limit,
			 struct arena *arena, struct store_page *page, struct error *err)
{
	struct store_record *records = arena_array(arena, limit, sizeof(*records));
	if (!records)
		return sqlite_no_memory(err);
	page->records = records;
	size_t bytes = 0;
	for (;;) {
		int status = sqlite3_step(rows);
		if (status == SQLITE_DONE)
			return 0;
		if (status != SQLITE_ROW)
			return sqlite_file_error(&store->file, status, err);
		bytes += (size_t)sqlite3_column_bytes(rows, 1);
		if (page->count == limit || (page->count && bytes > STORE_PAGE_BYTES)) {
			page->more = true;
			return 0;
		}
		if (!sqlite_record_copy(rows, arena, &records[page->count]))
			return sqlite_no_memory(err);
		page->count++;
	}
}

static int range_read(struct sqlite_store *store, const struct store_range *range,
		      struct arena *arena, struct store_page *page, struct error *err)
{
	page->revision = range->revision ? range->revision : store->revision;
	if (page->revision > store->revision)
		return error_set(
		    err, -FL_EINVALID, "store: revision %llu was asked for, but the newest is %llu",
		    (unsigned long long)page->revision, (unsigned long long)store->revision);
	if (page->revision < store->compacted)
		return error_set(err, -FL_ECOMPACTED,
				 "store: revision %llu was asked for, but history begins at %llu",
				 (unsigned long long)page->revision,
				 (unsigned long long)store->compacted);

	const char *from = range->key;
	const char *to = bound_after(arena, range->key, range->prefix);
	const char *after = range->after ? bound_after(arena, range->after, false) : "";
	if (!to || !after)
		return sqlite_no_memory(err);
	if (strcmp(after, from) > 0)
		from = after;
	size_t limit =
	    range->limit && range->limit < STORE_PAGE_RECORDS ? range->limit : STORE_PAGE_RECORDS;
	sqlite3_stmt *rows = sqlite_file_statement(&store->file, STATEMENT_RANGE);
	sqlite_bind_text(rows, 1, from);
	sqlite_bind_text(rows, 2, to);
	sqlite_bind_number(rows, 3, page->revision);
	sqlite_bind_number(rows, 4, limit + 1);
	int result = range_collect(store, rows, limit, arena, page, err);
	sqlite3_reset(rows);
	return result;
}

static void range_run(struct sqlite_request *request, struct sqlite_store *store, bool cancelled)
{
	struct error err;
	struct store_page page = {0};
	int result = cancelled ? sqlite_cancelled(&err)
			       : range_read(store, &request->range, &request->arena, &page, &err);
	if (result < 0)
		request->range_done(request->context, result, &err, NULL);
	else
		request->range_done(request->context, 0, NULL, &page);
}

int sqlite_range(struct store *base, const struct store_range *range, store_range_fn *done,
		 void *context, struct error *err)
{
	struct sqlite_store *store = sqlite_of(base);
	struct sqlite_request *request = sqlite_request_new(store);
	if (!request)
		return sqlite_cannot_queue(store, err);
	request->run = range_run;
	request->context = context;
	request->range = *range;
	request->range_done = done;
	request->range.key = arena_strdup(&request->arena, range->key);
	if (range->after)
		request->range.after = arena_strdup(&request->arena, range->after);
	if (!request->range.key || (range->after && !request->range.after)) {
		sqlite_request_free(request);
		return sqlite_no_memory(err);
	}
	sqlite_request_queue(store, request);
	return 0;
}
