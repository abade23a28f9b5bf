/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Being a replica, by the embedded engine: records come with the revisions that another store gave
 * them, in one SQLite transaction with the position (authority, revision) that they lead to. After
 * a power loss the replica is therefore at one position or the next, and never between.
 */
#include "store/sqlite.h"

#include <string.h>

/* A peer may have sent it: it is judged before anything is written. */
static int import_check(const struct sqlite_store *store, const struct store_import *import,
			struct error *err)
{
	uint64_t least = import->replace ? 1 : store->revision + 1;
	if (!store_id_is_known(&import->authority) ||
	    (!import->replace && !store_id_equal(&import->authority, &store->id)))
		return error_set(err, -FL_EINVALID,
				 "store: what is taken in belongs to another history");
	for (size_t i = 0; i < import->count; i++) {
		const struct store_record *record = &import->events[i].record;
		uint64_t revision = record->mod_revision;
		int result = store_check_key(record->key, err);
		if (result < 0)
			return result;
		if (record->value_length > STORE_VALUE_BYTES)
			return error_set(err, -FL_ELIMIT, "store: the value of %s has %zu bytes",
					 record->key, record->value_length);
		if (revision < least || revision > import->revision)
			return error_set(err, -FL_EINVALID,
					 "store: %s has revision %llu, which is not between %llu "
					 "and %llu",
					 record->key, (unsigned long long)revision,
					 (unsigned long long)least,
					 (unsigned long long)import->revision);
		if (!import->replace)
			least = revision;
	}
	return 0;
}

static int statement_run(struct sqlite_store *store, enum sqlite_statement which, struct error *err)
{
	return sqlite_file_run(&store->file, sqlite_file_statement(&store->file, which), err);
}

static int forget_all(struct sqlite_store *store, const struct store_import *import,
		      struct error *err)
{
	int result = statement_run(store, STATEMENT_RECORD_CLEAR, err);
	if (result == 0)
		result = statement_run(store, STATEMENT_OUTCOME_CLEAR, err);
	if (result == 0)
		result = statement_run(store, STATEMENT_LEASE_CLEAR, err);
	if (result < 0)
		return result;
	sqlite3_stmt *set = sqlite_file_statement(&store->file, STATEMENT_AUTHORITY_SET);
	(void)sqlite3_bind_blob(set, 1, import->authority.bytes, sizeof(import->authority.bytes),
				SQLITE_STATIC);
	result = sqlite_file_run(&store->file, set, err);
	if (result < 0)
		return result;
	/* History begins here. */
	set = sqlite_file_statement(&store->file, STATEMENT_STATE_SET_COMPACTED);
	sqlite_bind_number(set, 1, import->revision);
	return sqlite_file_run(&store->file, set, err);
}

static int event_add(struct sqlite_store *store, const struct store_event *event, struct error *err)
{
	const struct store_record *record = &event->record;
	bool deleted = event->kind == STORE_DELETE;
	sqlite3_stmt *add = sqlite_file_statement(&store->file, STATEMENT_RECORD_ADD);
	sqlite_bind_text(add, 1, record->key);
	sqlite_bind_number(add, 2, record->mod_revision);
	sqlite_bind_number(add, 3, deleted ? 0 : record->create_revision);
	sqlite_bind_number(add, 4, deleted ? 0 : record->lease);
	sqlite_bind_number(add, 5, deleted);
	size_t length = deleted ? 0 : record->value_length;
	(void)sqlite3_bind_blob64(add, 6, length ? record->value : "", length, SQLITE_STATIC);
	return sqlite_file_run(&store->file, add, err);
}

static int import_steps(struct sqlite_store *store, const struct store_import *import,
			struct error *err)
{
	int result = import->replace ? forget_all(store, import, err) : 0;
	for (size_t i = 0; i < import->count && result == 0; i++)
		result = event_add(store, &import->events[i], err);
	return result == 0 ? sqlite_revision_set(store, import->revision, err) : result;
}

static int import_do(struct sqlite_store *store, const struct store_import *import,
		     struct error *err)
{
	int result = import_check(store, import, err);
	if (result == 0)
		result = sqlite_file_begin(&store->file, err);
	if (result < 0)
		return result;
	result = import_steps(store, import, err);
	result = sqlite_file_end(&store->file, result, err);
	if (result < 0)
		return result;
	store->revision = import->revision;
	if (!import->replace)
		return 0;
	store->id = import->authority;
	store->compacted = import->revision;
	store->lease_count = 0;
	/* What they wait for belongs to a history that is gone, whatever its numbers are. */
	for (struct sqlite_watch *watch = store->watches; watch; watch = watch->next)
		watch->next_revision = 0;
	return 0;
}

static void import_run(struct sqlite_request *request, struct sqlite_store *store, bool cancelled)
{
	struct error err;
	int result = cancelled ? sqlite_cancelled(&err) : import_do(store, &request->import, &err);
	request->import_done(request->context, result, result < 0 ? &err : NULL);
}

int store_sqlite_import(struct store *base, const struct store_import *import,
			store_import_fn *done, void *context, struct error *err)
{
	struct sqlite_store *store = sqlite_of(base);
	ASSERT(base->engine->close == sqlite_close);
	int result = sqlite_check_writable(store, err);
	if (result < 0)
		return result;
	struct sqlite_request *request = sqlite_request_new(store);
	if (!request)
		return sqlite_cannot_queue(store, err);
	request->run = import_run;
	request->context = context;
	request->import = *import;
	request->import_done = done;
	sqlite_request_queue(store, request);
	return 0;
}
