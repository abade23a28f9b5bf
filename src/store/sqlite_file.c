/* SPDX-License-Identifier: Apache-2.0 */
#include "store/sqlite_file.h"

#include "base/file.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* 1: the first release. 2: histories have ids, and what is kept in the records is not what a
 * program that knows 1 expects there. */
#define SCHEMA_VERSION 2
#define APPLICATION_ID 0x464c5354 /* "FLST" */
#define LOG_PAGES 1000 /* of the log, before they are moved into the file: SQLite's own number */
#define BUSY_TIMEOUT_MS 1000 /* for somebody who looks at the file with sqlite3(1) */

#define STRINGIFY(x) #x
#define STRINGIFY_VALUE(x) STRINGIFY(x)
#define SCHEMA_VERSION_TEXT STRINGIFY_VALUE(SCHEMA_VERSION)
#define APPLICATION_ID_TEXT STRINGIFY_VALUE(APPLICATION_ID)

#define AUTHORITY_SQL                                                                              \
	"CREATE TABLE authority(only INTEGER PRIMARY KEY CHECK(only = 1), id BLOB NOT NULL)"       \
	" STRICT; INSERT INTO authority VALUES(1, randomblob(16));"

static const char schema_sql[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE state(only INTEGER PRIMARY KEY CHECK(only = 1), revision INTEGER NOT NULL,"
    " compacted INTEGER NOT NULL, last_lease INTEGER NOT NULL) STRICT;"
    "INSERT INTO state VALUES(1, 0, 0, 0);"
    "CREATE TABLE record(number INTEGER PRIMARY KEY, key TEXT NOT NULL,"
    " mod_revision INTEGER NOT NULL, create_revision INTEGER NOT NULL, lease INTEGER NOT NULL,"
    " deleted INTEGER NOT NULL, value BLOB NOT NULL, UNIQUE(key, mod_revision)) STRICT;"
    "CREATE INDEX record_revision ON record(mod_revision, number);"
    "CREATE INDEX record_lease ON record(lease) WHERE lease <> 0;"
    "CREATE TABLE outcome(number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE,"
    " revision INTEGER NOT NULL, digest BLOB NOT NULL) STRICT;"
    "CREATE TABLE lease(lease INTEGER PRIMARY KEY, ttl_ms INTEGER NOT NULL) STRICT;" AUTHORITY_SQL
    "PRAGMA application_id = " APPLICATION_ID_TEXT ";"
    "PRAGMA user_version = " SCHEMA_VERSION_TEXT ";"
    "COMMIT;";

/* A store of schema 1, which may have its id already. */
static const char authority_sql[] = "BEGIN IMMEDIATE;" AUTHORITY_SQL "COMMIT;";
static const char upgrade_sql[] = "PRAGMA user_version = " SCHEMA_VERSION_TEXT ";";

/* FULL: an acknowledged txn survives a power loss. The rest distrusts what the file may hold. */
static const char settings_sql[] = "PRAGMA journal_mode = WAL;"
				   "PRAGMA synchronous = FULL;"
				   "PRAGMA temp_store = MEMORY;"
				   "PRAGMA trusted_schema = OFF;"
				   "PRAGMA cell_size_check = ON;";

static const char *const statement_sql[STATEMENT_COUNT] = {
#define X(name, sql) [STATEMENT_##name] = (sql),
    SQLITE_STATEMENTS(X)
#undef X
};

static int corrupt_error(const char *path, const char *what, struct error *err)
{
	return error_set(err, -FL_ECORRUPT,
			 "%s: the store is damaged (%s). Nothing was changed. Move store.db, "
			 "store.db-wal and store.db-shm away, keep them, and put a backup in their "
			 "place",
			 path, what);
}

/* `files_are_open`: then nothing can take the file system away to repair it. */
static int read_only_error(const char *path, bool files_are_open, struct error *err)
{
	return error_set(
	    err, -EROFS,
	    "%s: the file system is read-only; nothing was changed. If it became so by "
	    "itself, its disk had an error (see 'dmesg'): %scheck the file system "
	    "with fsck, and mount it again",
	    path,
	    files_are_open ? "restart the daemon, which then goes by what it can read and "
			     "holds no file there; "
			   : "");
}

static int io_error(const char *path, const char *what, struct error *err)
{
	return error_set(err, -EIO,
			 "%s: input/output error (%s); it is not known whether the last change was "
			 "kept. Check the disk, see 'dmesg'; until it can be read again leave the "
			 "daemon running, since a new one could not start by it",
			 path, what);
}

/* One of the open files of SQLite's, which are not ours to open and close once more: that would
 * drop its locks. NULL when it is not open. */
static sqlite3_file *opened(const struct sqlite_file *file, int which)
{
	sqlite3_file *found = NULL;
	int status = sqlite3_file_control(file->db, "main", which, &found);
	return status == SQLITE_OK && found && found->pMethods ? found : NULL;
}

/* A block of it cannot be read now. That it ends early is no such thing. */
static bool cannot_be_read(sqlite3_file *file)
{
	char block[16384];
	sqlite3_int64 size = 0;
	int status = file->pMethods->xFileSize(file, &size);
	for (sqlite3_int64 at = 0; status == SQLITE_OK && at < size; at += (int)sizeof(block)) {
		status = file->pMethods->xRead(file, block, sizeof(block), at);
		if (status == SQLITE_IOERR_SHORT_READ)
			status = SQLITE_OK;
	}
	return status != SQLITE_OK;
}

/* SQLite takes a block that the disk cannot read for a damaged one. What a person should do is not
 * the same: so all is read once more. */
static bool disk_fails(const struct sqlite_file *file)
{
	sqlite3_file *data = opened(file, SQLITE_FCNTL_FILE_POINTER);
	sqlite3_file *log = opened(file, SQLITE_FCNTL_JOURNAL_POINTER);
	return (data && cannot_be_read(data)) || (log && cannot_be_read(log));
}

static int damage_error(const struct sqlite_file *file, const char *what, struct error *err)
{
	return disk_fails(file) ? io_error(file->path, "a block cannot be read", err)
				: corrupt_error(file->path, what, err);
}

/* A file system that turned read-only under open files: the log could not be written, whose last
 * frame is what commits. sqlite3_system_errno() does not know of a commit's failure. */
static bool log_is_read_only(const struct sqlite_file *file)
{
	int last = 0;
	sqlite3_file *log = opened(file, SQLITE_FCNTL_JOURNAL_POINTER);
	return log &&
	       log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &last) == SQLITE_OK &&
	       last == EROFS;
}

/* SQLite's own codes name a call and not its cause. */
static int cause_of(const struct sqlite_file *file, int status)
{
	switch (status) {
	case SQLITE_IOERR_NOMEM:
		return SQLITE_NOMEM;
	/* The log's index could not grow, before anything was written. */
	case SQLITE_IOERR_SHMSIZE:
		return SQLITE_FULL;
	/* What fails as late as the sync may have been kept. */
	case SQLITE_IOERR_WRITE:
		return log_is_read_only(file) ? SQLITE_READONLY : status;
	default:
		return status;
	}
}

int sqlite_file_error(const struct sqlite_file *file, int status, struct error *err)
{
	const char *path = file->path;
	status = cause_of(file, status);
	switch (status & 0xff) {
	case SQLITE_NOMEM:
		return error_set(err, -ENOMEM, "%s: out of memory", path);
	case SQLITE_FULL:
		return error_set(err, -ENOSPC,
				 "%s: the disk is full; nothing was changed. Make room, then try "
				 "again",
				 path);
	case SQLITE_READONLY:
		return status == SQLITE_READONLY_DBMOVED
			   ? error_set(err, -EROFS,
				       "%s: the file was replaced or removed under the daemon; "
				       "nothing was changed. Put it back, and restart the daemon",
				       path)
			   : read_only_error(path, true, err);
	case SQLITE_PERM:
	case SQLITE_AUTH:
	case SQLITE_CANTOPEN:
		return error_set(err, -EACCES, "%s: cannot be opened: %s", path,
				 sqlite3_errstr(status));
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return error_set(
		    err, -EBUSY,
		    "%s: another program holds it locked; nothing was changed. Look for "
		    "a sqlite3 that has it open",
		    path);
	case SQLITE_CONSTRAINT:
		return error_set(err, -FL_EINVALID,
				 "%s: a key was given twice at one revision; nothing was changed",
				 path);
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_FORMAT:
		return damage_error(file, sqlite3_errstr(status), err);
	case SQLITE_IOERR:
		return io_error(path, sqlite3_errstr(status), err);
	default:
		return error_set(err, -EIO, "%s: %s", path, sqlite3_errmsg(file->db));
	}
}

static int exec(struct sqlite_file *file, const char *sql, struct error *err)
{
	int status = sqlite3_exec(file->db, sql, NULL, NULL, NULL);
	return status == SQLITE_OK ? 0 : sqlite_file_error(file, status, err);
}

static int lock_error(const char *path, int lock_fd, struct error *err)
{
	char holder[32] = "";
	ssize_t length = pread(lock_fd, holder, sizeof(holder) - 1, 0);
	holder[length > 0 ? strspn(holder, "0123456789") : 0] = '\0';
	return error_set(
	    err, -EBUSY,
	    "%s: another fairlead daemon uses this state folder (process %s); stop it, "
	    "or give this one a state, run and pin folder of its own",
	    path, *holder ? holder : "unknown");
}

static int lock_take(const char *folder, int *ret_fd, struct error *err)
{
	char path[PATH_MAX];
	if ((size_t)snprintf(path, sizeof(path), "%s/store.lock", folder) >= sizeof(path))
		return error_set(err, -ENAMETOOLONG, "%s: the path is too long", folder);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return errno == EROFS
			   ? read_only_error(path, false, err)
			   : error_set(err, -errno, "%s: cannot open: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		int result = errno == EWOULDBLOCK ? lock_error(path, fd, err)
						  : error_set(err, -errno, "%s: cannot lock: %s",
							      path, strerror(errno));
		close(fd);
		return result;
	}
	/* The number is for the sentence above only, so a full disk may well lose it. */
	if (ftruncate(fd, 0) == 0)
		dprintf(fd, "%ld\n", (long)getpid());
	*ret_fd = fd;
	return 0;
}

/* SQLite would create the file with the umask's mode; its -wal and -shm take over that of the file.
 */
static int make_private(const char *path, struct error *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return error_set(err, -errno, "%s: cannot open: %s", path, strerror(errno));
	int result = fchmod(fd, 0600) < 0 ? -errno : 0;
	close(fd);
	if (result < 0)
		return error_set(err, result, "%s: cannot make it private: %s", path,
				 error_text(result));
	return 0;
}

static int pragma_number(struct sqlite_file *file, const char *sql, int *ret_number,
			 struct error *err)
{
	sqlite3_stmt *statement = NULL;
	int status = sqlite3_prepare_v2(file->db, sql, -1, &statement, NULL);
	if (status == SQLITE_OK)
		status = sqlite3_step(statement);
	if (status == SQLITE_ROW)
		*ret_number = sqlite3_column_int(statement, 0);
	sqlite3_finalize(statement);
	return status == SQLITE_ROW ? 0 : sqlite_file_error(file, status, err);
}

/* Every page is read and checked once: damage is found now and not in the middle of a change. */
static int quick_check(struct sqlite_file *file, struct error *err)
{
	sqlite3_stmt *statement = NULL;
	int status = sqlite3_prepare_v2(file->db, "PRAGMA quick_check(1)", -1, &statement, NULL);
	if (status == SQLITE_OK)
		status = sqlite3_step(statement);
	int result = 0;
	if (status != SQLITE_ROW) {
		result = sqlite_file_error(file, status, err);
	} else {
		const char *verdict = (const char *)sqlite3_column_text(statement, 0);
		if (!verdict)
			result = error_set(err, -ENOMEM, "%s: out of memory", file->path);
		else if (strcmp(verdict, "ok") != 0)
			result = damage_error(file, verdict, err);
	}
	sqlite3_finalize(statement);
	return result;
}

/* An empty file gets the schema; any other must be ours and of a version that we know. */
static int schema_ensure(struct sqlite_file *file, struct error *err)
{
	int application = 0;
	int version = 0;
	int tables = 0;
	int authorities = 0;
	int result = pragma_number(file, "PRAGMA application_id", &application, err);
	if (result == 0)
		result = pragma_number(file, "PRAGMA user_version", &version, err);
	if (result == 0)
		result = pragma_number(file, "SELECT count(*) FROM sqlite_schema", &tables, err);
	if (result == 0)
		result = pragma_number(
		    file, "SELECT count(*) FROM sqlite_schema WHERE name = 'authority'",
		    &authorities, err);
	if (result < 0)
		return result;

	if (application == 0 && version == 0 && tables == 0)
		return exec(file, schema_sql, err);
	if (application != APPLICATION_ID)
		return corrupt_error(file->path, "it is not a store of Fairlead", err);
	if (version > SCHEMA_VERSION)
		return error_set(err, -FL_EUNSUPPORTED,
				 "%s: written by a newer Fairlead (schema %d; this one knows %d); "
				 "upgrade this node",
				 file->path, version, SCHEMA_VERSION);
	if (version < 1)
		return corrupt_error(file->path, "its schema version is impossible", err);
	if (!authorities)
		result = exec(file, authority_sql, err);
	if (result == 0 && version < SCHEMA_VERSION)
		result = exec(file, upgrade_sql, err);
	return result;
}

static int statements_prepare(struct sqlite_file *file, struct error *err)
{
	for (size_t i = 0; i < STATEMENT_COUNT; i++) {
		int status =
		    sqlite3_prepare_v3(file->db, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
				       &file->statements[i], NULL);
		if ((status & 0xff) == SQLITE_ERROR)
			return corrupt_error(file->path, sqlite3_errmsg(file->db), err);
		if (status != SQLITE_OK)
			return sqlite_file_error(file, status, err);
	}
	return 0;
}

int sqlite_file_check(struct sqlite_file *file, struct error *err)
{
	int result = quick_check(file, err);
	if (result == 0)
		result = schema_ensure(file, err);
	if (result == 0)
		result = statements_prepare(file, err);
	return result;
}

static int database_open(struct sqlite_file *file, struct error *err)
{
	int status = sqlite3_open_v2(
	    file->path, &file->db,
	    SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
	if (status != SQLITE_OK)
		return sqlite_file_error(file, status, err);
	sqlite3_busy_timeout(file->db, BUSY_TIMEOUT_MS);
	sqlite3_db_config(file->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	int result = exec(file, settings_sql, err);
	return result == 0 ? sqlite_file_check(file, err) : result;
}

/* Tells that a transaction is in the log: SQLite reports what fails after that, such as moving the
 * log into the file without memory, as a failure of the commit. */
static int on_commit(void *context, sqlite3 *db, const char *name, int pages)
{
	struct sqlite_file *file = context;
	(void)db, (void)name;
	file->committed = true;
	file->log_pages = pages;
	return SQLITE_OK;
}

int sqlite_file_open(const char *folder, struct sqlite_file *ret_file, struct error *err)
{
	struct sqlite_file file = {.lock_fd = -1};
	int result = file_make_folders(folder, 0700, err);
	if (result < 0)
		return result;
	if (asprintf(&file.path, "%s/store.db", folder) < 0)
		return error_set(err, -ENOMEM, "%s: out of memory", folder);
	result = lock_take(folder, &file.lock_fd, err);
	if (result == 0)
		result = make_private(file.path, err);
	if (result == 0)
		result = database_open(&file, err);
	if (result < 0) {
		sqlite_file_close(&file);
		return result;
	}
	*ret_file = file;
	sqlite3_wal_hook(ret_file->db, on_commit, ret_file);
	return 0;
}

void sqlite_file_close(struct sqlite_file *file)
{
	for (size_t i = 0; i < STATEMENT_COUNT; i++)
		sqlite3_finalize(file->statements[i]);
	sqlite3_close(file->db);
	free(file->path);
	if (file->lock_fd >= 0)
		close(file->lock_fd);
	*file = (struct sqlite_file){.lock_fd = -1};
}

sqlite3_stmt *sqlite_file_statement(struct sqlite_file *file, enum sqlite_statement which)
{
	sqlite3_stmt *statement = file->statements[which];
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return statement;
}

void sqlite_bind_text(sqlite3_stmt *statement, int index, const char *text)
{
	/* Cannot fail: the index is right and nothing is copied. */
	(void)sqlite3_bind_text(statement, index, text, -1, SQLITE_STATIC);
}

void sqlite_bind_number(sqlite3_stmt *statement, int index, uint64_t number)
{
	(void)sqlite3_bind_int64(statement, index, (sqlite3_int64)number);
}

uint64_t sqlite_column_number(sqlite3_stmt *statement, int column)
{
	return (uint64_t)sqlite3_column_int64(statement, column);
}

int sqlite_file_run(struct sqlite_file *file, sqlite3_stmt *statement, struct error *err)
{
	int status = sqlite3_step(statement);
	int result = status == SQLITE_DONE ? 0 : sqlite_file_error(file, status, err);
	sqlite3_reset(statement);
	return result;
}

/* Prepared, so that it needs no memory. Some failures have rolled back by themselves; one that
 * cannot be rolled back now is so before the next transaction. */
static void roll_back(struct sqlite_file *file)
{
	sqlite3_stmt *statement = sqlite_file_statement(file, STATEMENT_ROLLBACK);
	(void)sqlite3_step(statement);
	sqlite3_reset(statement);
}

int sqlite_file_begin(struct sqlite_file *file, struct error *err)
{
	if (!sqlite3_get_autocommit(file->db))
		roll_back(file);
	return sqlite_file_run(file, sqlite_file_statement(file, STATEMENT_BEGIN), err);
}

static int commit(struct sqlite_file *file, struct error *err)
{
	struct error fault;
	file->committed = false;
	int result = sqlite_file_run(file, sqlite_file_statement(file, STATEMENT_COMMIT), &fault);
	if (!file->committed) {
		if (result < 0 && err)
			*err = fault;
		return result;
	}
	/* Nobody's failure: the log grows a little, and the next commit tries again. */
	if (file->log_pages >= LOG_PAGES)
		(void)sqlite3_wal_checkpoint_v2(file->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL,
						NULL);
	return 0;
}

int sqlite_file_end(struct sqlite_file *file, int result, struct error *err)
{
	if (result == 0)
		result = commit(file, err);
	if (result < 0 && !sqlite3_get_autocommit(file->db))
		roll_back(file);
	return result;
}
