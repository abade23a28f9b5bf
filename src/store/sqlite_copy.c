/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies of the embedded engine's file: one on disk that can be put in its place, and one in memory
 * for a disk that takes nothing, or for a file that is evidence and must not change.
 *
 * A file is read here without a trace. Where it has no log (a copy, or a store that was closed), it
 * is opened as immutable. Where a crash left a log, that log holds what was acknowledged last: it
 * is read with its index in memory ("unix-none" takes no locks, which allows that without asking),
 * and not moved into the file at the end.
 */
#include "store/sqlite.h"

#include "base/clock.h"
#include "base/disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A path in a URI (RFC 3986 section 2.1). */
static char *uri_of(struct arena *arena, const char *path)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789/._-~";
	struct buffer uri;
	buffer_init(&uri, 0);
	buffer_printf(&uri, "file:");
	for (const char *at = path; *at; at++)
		buffer_printf(&uri, strchr(plain, *at) ? "%c" : "%%%02X", (unsigned char)*at);
	buffer_printf(&uri, "?immutable=1");
	char *text = uri.status ? NULL : arena_strndup(arena, uri.data, uri.length);
	buffer_done(&uri);
	return text;
}

/* A file with anything in it. SQLite is asked, whose file system a test may own. */
static bool is_there(const char *path)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);
	int there = 0;
	return vfs->xAccess(vfs, path, SQLITE_ACCESS_EXISTS, &there) == SQLITE_OK && there;
}

/* The file as it is, to be read and no more; `ret_file` is to be closed in any case. */
static int open_to_read(const char *path, struct sqlite_file *ret_file, struct error *err)
{
	struct arena arena;
	arena_init(&arena, 0);
	const char *log_path = arena_printf(&arena, "%s-wal", path);
	bool log = log_path && is_there(log_path);
	const char *name = log ? path : uri_of(&arena, path);
	*ret_file = (struct sqlite_file){.lock_fd = -1, .path = strdup(path)};
	int result = 0;
	if (!log_path || !name || !ret_file->path) {
		result = sqlite_no_memory(err);
		goto out;
	}
	int status = sqlite3_open_v2(name, &ret_file->db,
				     SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX |
					 SQLITE_OPEN_EXRESCODE,
				     log ? "unix-none" : NULL);
	if (status == SQLITE_OK)
		status = sqlite3_db_config(ret_file->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (status == SQLITE_OK)
		status =
		    sqlite3_exec(ret_file->db,
				 "PRAGMA locking_mode = EXCLUSIVE; PRAGMA trusted_schema = OFF;"
				 "PRAGMA cell_size_check = ON;",
				 NULL, NULL, NULL);
	if (status != SQLITE_OK)
		result = sqlite_file_error(ret_file, status, err);
out:
	arena_done(&arena);
	return result;
}

/* --- in memory --- */

static int memory_open(struct sqlite_file *file, struct error *err)
{
	int status = sqlite3_open_v2(
	    ":memory:", &file->db,
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
	return status == SQLITE_OK ? 0 : sqlite_file_error(file, status, err);
}

static int load(struct sqlite_file *from, struct sqlite_file *to, struct error *err)
{
	int result = memory_open(to, err);
	if (result < 0)
		return result;
	sqlite3_backup *backup = sqlite3_backup_init(to->db, "main", from->db, "main");
	if (!backup)
		return sqlite_file_error(to, sqlite3_extended_errcode(to->db), err);
	int status = sqlite3_backup_step(backup, -1);
	int finished = sqlite3_backup_finish(backup);
	if (status == SQLITE_DONE)
		status = finished;
	/* What cannot be read is the file's fault. */
	return status == SQLITE_OK ? sqlite_file_check(to, err)
				   : sqlite_file_error(from, status, err);
}

static int file_load(const char *path, struct sqlite_file *ret_file, struct error *err)
{
	struct sqlite_file source;
	if (!is_there(path))
		return error_set(err, -ENOENT, "%s: there is no such file, or it is empty", path);
	int result = open_to_read(path, &source, err);
	if (result == 0) {
		ret_file->path = strdup(path);
		result = ret_file->path ? load(&source, ret_file, err) : sqlite_no_memory(err);
	}
	sqlite_file_close(&source);
	return result;
}

static int file_empty(struct sqlite_file *ret_file, struct error *err)
{
	ret_file->path = strdup("an empty store");
	int result = ret_file->path ? memory_open(ret_file, err) : sqlite_no_memory(err);
	return result == 0 ? sqlite_file_check(ret_file, err) : result;
}

int store_open_copy(const struct store_copy_options *options, struct store **ret_store,
		    struct error *err)
{
	struct sqlite_store *store = sqlite_store_new(options->clock);
	if (!store)
		return sqlite_no_memory(err);
	store->why = strdup(options->why);
	int result = store->why ? 0 : sqlite_no_memory(err);
	if (result == 0)
		result = options->path ? file_load(options->path, &store->file, err)
				       : file_empty(&store->file, err);
	if (result < 0) {
		sqlite_close(&store->base);
		return result;
	}
	return sqlite_load(store, ret_store, err);
}

static int peek(struct sqlite_file *file, const char *key, struct buffer *value, struct error *err)
{
	static const char sql[] = "SELECT value FROM record WHERE key = ?1 ORDER BY mod_revision "
				  "DESC LIMIT 1";
	sqlite3_stmt *statement = NULL;
	int result = 0;
	int status = sqlite3_prepare_v2(file->db, sql, -1, &statement, NULL);
	if (status == SQLITE_OK) {
		sqlite_bind_text(statement, 1, key);
		status = sqlite3_step(statement);
	}
	if (status == SQLITE_ROW) {
		buffer_append(value, sqlite3_column_blob(statement, 0),
			      (size_t)sqlite3_column_bytes(statement, 0));
		result = value->status < 0 ? sqlite_no_memory(err) : 0;
	} else if (status == SQLITE_DONE) {
		result = error_set(err, -FL_ENOTFOUND, "%s holds no %s", file->path, key);
	} else {
		result = sqlite_file_error(file, status, err);
	}
	sqlite3_finalize(statement);
	return result;
}

int store_copy_peek(const char *path, const char *key, struct buffer *ret_value, struct error *err)
{
	struct sqlite_file file;
	if (!is_there(path))
		return error_set(err, -ENOENT, "%s: there is no such file, or it is empty", path);
	int result = open_to_read(path, &file, err);
	if (result == 0)
		result = peek(&file, key, ret_value, err);
	sqlite_file_close(&file);
	return result;
}

/* --- on disk --- */

static int read_back(const char *path, struct error *err)
{
	struct sqlite_file copy;
	int result = open_to_read(path, &copy, err);
	if (result == 0)
		result = sqlite_file_check(&copy, err);
	sqlite_file_close(&copy);
	return result;
}

/* A connection of its own, since the caller may be another thread than the store's. It sees one
 * revision, and does not hinder the next ones. */
static int vacuum_into(const char *path, const char *to, struct error *err)
{
	struct sqlite_file file = {.lock_fd = -1, .path = strdup(path)};
	sqlite3_stmt *vacuum = NULL;
	if (!file.path)
		return sqlite_no_memory(err);
	int status = sqlite3_open_v2(
	    path, &file.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
	    NULL);
	if (status == SQLITE_OK)
		status = sqlite3_db_config(file.db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (status == SQLITE_OK)
		status = sqlite3_prepare_v2(file.db, "VACUUM INTO ?1", -1, &vacuum, NULL);
	if (status == SQLITE_OK) {
		sqlite_bind_text(vacuum, 1, to);
		status = sqlite3_step(vacuum);
	}
	int result = status == SQLITE_DONE ? 0 : sqlite_file_error(&file, status, err);
	sqlite3_finalize(vacuum);
	sqlite_file_close(&file);
	return result;
}

int store_sqlite_copy(const char *folder, const struct disk *disk, const char *path,
		      struct error *err)
{
	char from[PATH_MAX];
	struct disk_draft draft;
	if ((size_t)snprintf(from, sizeof(from), "%s/store.db", folder) >= sizeof(from))
		return error_set(err, -ENAMETOOLONG, "%s: the path is too long", folder);
	/* SQLite fills the empty file that is there, whose mode is ours. */
	int result = disk_draft_begin(&draft, disk, path, 0600, err);
	if (result < 0)
		return result;
	result = vacuum_into(from, draft.temporary, err);
	if (result == 0)
		result = read_back(draft.temporary, err);
	if (result == 0)
		return disk_draft_commit(&draft, err);
	disk_draft_abandon(&draft);
	return result;
}
