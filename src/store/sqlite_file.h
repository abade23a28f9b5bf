/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of the embedded engine: one SQLite database in the state folder, its lock, its schema
 * and its statements. Private to src/store; sqlite.h is the engine on top.
 *
 * FOLDER/store.db (and SQLite's store.db-wal, store.db-shm), mode 0600, holds
 *   state    one row: the revision, how far history is compacted, the number of the last lease;
 *   record   one row for each change of a key: (key, mod_revision) is unique, a deletion is a row
 *            with `deleted` set, and the row with the greatest mod_revision is the key's present;
 *   outcome  the txn ids that are remembered, with the digest of what they did;
 *   lease    the leases alive;
 *   authority  one row: the id of the history that the revisions belong to. Stores made before
 * there was one get it when they are opened; a Fairlead from then does not look at it. The row
 * order within one revision (`number`) is the order of the txn's ops.
 *
 * FOLDER/store.lock is held with flock(2) as long as the file is open and names the process, so
 * that a second daemon is refused with a sentence rather than with "database is locked" later.
 */
#ifndef FAIRLEAD_STORE_SQLITE_FILE_H
#define FAIRLEAD_STORE_SQLITE_FILE_H

#include "base/error.h"

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * X(name, SQL). A range's bounds are half open. In `RANGE` the inner query finds the change that
 * was the newest one at the revision asked for; in the compactions ?1 is exclusive, ?2 inclusive:
 * only keys that changed in between can have anything to drop.
 */
#define SQLITE_STATEMENTS(X)                                                                       \
	X(BEGIN, "BEGIN IMMEDIATE")                                                                \
	X(ROLLBACK, "ROLLBACK")                                                                    \
	X(COMMIT, "COMMIT")                                                                        \
	X(STATE_READ, "SELECT revision, compacted, last_lease FROM state")                         \
	X(STATE_SET_REVISION, "UPDATE state SET revision = ?1")                                    \
	X(STATE_SET_COMPACTED, "UPDATE state SET compacted = ?1")                                  \
	X(STATE_SET_LAST_LEASE, "UPDATE state SET last_lease = ?1")                                \
	X(AUTHORITY_READ, "SELECT id FROM authority")                                              \
	X(AUTHORITY_SET, "UPDATE authority SET id = ?1")                                           \
	X(RECORD_CLEAR, "DELETE FROM record")                                                      \
	X(OUTCOME_CLEAR, "DELETE FROM outcome")                                                    \
	X(LEASE_CLEAR, "DELETE FROM lease")                                                        \
	X(RECORD_FIND, "SELECT mod_revision, create_revision, deleted FROM record WHERE key = ?1 " \
		       "ORDER BY mod_revision DESC LIMIT 1")                                       \
	X(RECORD_ADD, "INSERT INTO record(key, mod_revision, create_revision, lease, deleted, "    \
		      "value) VALUES(?1, ?2, ?3, ?4, ?5, ?6)")                                     \
	X(RANGE, "SELECT key, value, create_revision, mod_revision, lease FROM record AS r "       \
		 "WHERE key >= ?1 AND key < ?2 AND NOT deleted AND mod_revision = "                \
		 "(SELECT max(mod_revision) FROM record WHERE key = r.key AND "                    \
		 "mod_revision <= ?3) ORDER BY key LIMIT ?4")                                      \
	X(EVENTS, "SELECT key, value, create_revision, mod_revision, lease, deleted FROM record "  \
		  "WHERE mod_revision BETWEEN ?1 AND ?2 AND key >= ?3 AND key < ?4 "               \
		  "ORDER BY mod_revision, number")                                                 \
	X(OUTCOME_FIND, "SELECT revision, digest FROM outcome WHERE id = ?1")                      \
	X(OUTCOME_ADD, "INSERT INTO outcome(id, revision, digest) VALUES(?1, ?2, ?3)")             \
	X(OUTCOME_FORGET, "DELETE FROM outcome WHERE number <= ?1")                                \
	X(LEASE_ALL, "SELECT lease, ttl_ms FROM lease")                                            \
	X(LEASE_ADD, "INSERT INTO lease(lease, ttl_ms) VALUES(?1, ?2)")                            \
	X(LEASE_REMOVE, "DELETE FROM lease WHERE lease = ?1")                                      \
	X(LEASE_DELETE_KEYS,                                                                       \
	  "INSERT INTO record(key, mod_revision, create_revision, lease, deleted, value) "         \
	  "SELECT key, ?2, 0, 0, 1, x'' FROM record AS r WHERE lease = ?1 AND lease <> 0 AND "     \
	  "mod_revision = (SELECT max(mod_revision) FROM record WHERE key = r.key) "               \
	  "ORDER BY key")                                                                          \
	X(COMPACT_SUPERSEDED,                                                                      \
	  "DELETE FROM record WHERE number IN (SELECT old.number FROM record AS new "              \
	  "JOIN record AS old ON old.key = new.key AND old.mod_revision < new.mod_revision "       \
	  "WHERE new.mod_revision > ?1 AND new.mod_revision <= ?2)")                               \
	X(COMPACT_DELETED, "DELETE FROM record WHERE deleted AND mod_revision > ?1 AND "           \
			   "mod_revision <= ?2")

enum sqlite_statement {
#define X(name, sql) STATEMENT_##name,
	SQLITE_STATEMENTS(X)
#undef X
	    STATEMENT_COUNT
};

struct sqlite_file {
	sqlite3 *db;
	sqlite3_stmt *statements[STATEMENT_COUNT];
	int lock_fd;
	bool committed; /* the transaction that was ended last is in the log */
	int log_pages; /* how many the log had then */
	char *path; /* of store.db; owned */
};

/* Both lock and file; makes what is not there. The errors of store_open_sqlite(). */
must_check int sqlite_file_open(const char *folder, struct sqlite_file *ret_file,
				struct error *err);
/* Of a database that was opened: reads and checks every page, makes the schema what it should be,
 * and prepares the statements. */
must_check int sqlite_file_check(struct sqlite_file *file, struct error *err);
/* Lets go of everything; safe on a zeroed struct whose lock_fd is -1. */
void sqlite_file_close(struct sqlite_file *file);

/* A prepared statement, reset and without parameters. */
sqlite3_stmt *sqlite_file_statement(struct sqlite_file *file, enum sqlite_statement which);

/* Parameters of a statement, from 1; the text is borrowed until the statement is reset. */
void sqlite_bind_text(sqlite3_stmt *statement, int index, const char *text);
void sqlite_bind_number(sqlite3_stmt *statement, int index, uint64_t number);
/* A column of the statement's row, from 0. */
uint64_t sqlite_column_number(sqlite3_stmt *statement, int column);

/*
 * Turn what SQLite just said (`status` is not SQLITE_OK, _ROW or _DONE) into a code of the house
 * and a sentence that says what to do.
 */
int sqlite_file_error(const struct sqlite_file *file, int status, struct error *err);

/* Run a statement that returns no rows. */
must_check int sqlite_file_run(struct sqlite_file *file, sqlite3_stmt *statement,
			       struct error *err);

/* A transaction: begin, then end it with the result so far, which is returned; 0 commits. What is
 * in the log is committed, whatever fails after that. */
must_check int sqlite_file_begin(struct sqlite_file *file, struct error *err);
must_check int sqlite_file_end(struct sqlite_file *file, int result, struct error *err);

#endif
