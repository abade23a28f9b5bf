/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compare, then set, by the embedded engine: one SQLite transaction holds the compares, the ops,
 * the next revision and the memory of the txn's id, so all of it is kept or none.
 */
#include "store/sqlite.h"

#include "base/buffer.h"
#include "base/digest.h"

#include <string.h>

#define OUTCOMES_KEPT 4096

/* The present of a key; all zero when it is absent. */
struct present_record {
	uint64_t mod_revision;
	uint64_t create_revision;
};

static int present_find(struct sqlite_store *store, const char *key,
			struct present_record *ret_present, struct error *err)
{
	struct present_record present = {0};
	sqlite3_stmt *row = sqlite_file_statement(&store->file, STATEMENT_RECORD_FIND);
	sqlite_bind_text(row, 1, key);
	int status = sqlite3_step(row);
	if (status == SQLITE_ROW && sqlite3_column_int(row, 2) == 0)
		present = (struct present_record){.mod_revision = sqlite_column_number(row, 0),
						  .create_revision = sqlite_column_number(row, 1)};
	sqlite3_reset(row);
	if (status != SQLITE_ROW && status != SQLITE_DONE)
		return sqlite_file_error(&store->file, status, err);
	*ret_present = present;
	return 0;
}

static int txn_compare(struct sqlite_store *store, const struct store_txn *txn,
		       struct store_txn_outcome *outcome, struct error *err)
{
	for (size_t i = 0; i < txn->compare_count; i++) {
		const struct store_compare *compare = &txn->compares[i];
		struct present_record present = {0};
		int result = present_find(store, compare->key, &present, err);
		if (result < 0)
			return result;
		if (present.mod_revision == compare->mod_revision)
			continue;
		outcome->failed_compare = i;
		outcome->failed_mod_revision = present.mod_revision;
		return error_set(err, -FL_ECONFLICT, "store: %s is at revision %llu, not %llu",
				 compare->key, (unsigned long long)present.mod_revision,
				 (unsigned long long)compare->mod_revision);
	}
	return 0;
}

static int record_add(struct sqlite_store *store, const struct store_op *op, uint64_t revision,
		      uint64_t create_revision, struct error *err)
{
	sqlite3_stmt *add = sqlite_file_statement(&store->file, STATEMENT_RECORD_ADD);
	sqlite_bind_text(add, 1, op->key);
	sqlite_bind_number(add, 2, revision);
	sqlite_bind_number(add, 3, create_revision);
	sqlite_bind_number(add, 4, op->lease);
	sqlite_bind_number(add, 5, op->kind == STORE_DELETE);
	/* A null pointer would bind NULL, and an empty value is not NULL. */
	(void)sqlite3_bind_blob64(add, 6, op->value_length ? op->value : "", op->value_length,
				  SQLITE_STATIC);
	return sqlite_file_run(&store->file, add, err);
}

/* Does one op as part of `revision`; sets `*changed` if it changed anything. */
static int txn_op(struct sqlite_store *store, const struct store_op *op, uint64_t revision,
		  bool *changed, struct error *err)
{
	struct present_record present = {0};
	int result = present_find(store, op->key, &present, err);
	if (result < 0)
		return result;
	if (op->kind == STORE_DELETE && present.mod_revision == 0)
		return 0;
	if (op->lease && !sqlite_lease_find_alive(store, op->lease))
		return sqlite_lease_gone(op->lease, err);
	uint64_t create_revision = present.mod_revision ? present.create_revision : revision;
	*changed = true;
	return record_add(store, op, revision, op->kind == STORE_DELETE ? 0 : create_revision, err);
}

/* What a txn asks for, so that an id that is used for something else is noticed. */
static int txn_digest(const struct store_txn *txn, struct digest *ret_digest, struct error *err)
{
	struct buffer bytes;
	buffer_init(&bytes, 0);
	for (size_t i = 0; i < txn->compare_count; i++)
		buffer_printf(&bytes, "compare %s %llu\n", txn->compares[i].key,
			      (unsigned long long)txn->compares[i].mod_revision);
	for (size_t i = 0; i < txn->op_count; i++) {
		const struct store_op *op = &txn->ops[i];
		struct digest value;
		char hex[DIGEST_HEX_BYTES];
		digest_of(op->value_length ? op->value : "", op->value_length, &value);
		hex_encode(value.bytes, sizeof(value.bytes), hex);
		buffer_printf(&bytes, "op %d %s %s %llu\n", (int)op->kind, op->key, hex,
			      (unsigned long long)op->lease);
	}
	int result = bytes.status;
	if (result == 0)
		digest_of(bytes.length ? bytes.data : "", bytes.length, ret_digest);
	buffer_done(&bytes);
	return result < 0 ? sqlite_no_memory(err) : 0;
}

/* Looks the id up; sets `outcome->repeated` if an earlier call succeeded. */
static int outcome_find(struct sqlite_store *store, const char *id, const struct digest *digest,
			struct store_txn_outcome *outcome, struct error *err)
{
	sqlite3_stmt *row = sqlite_file_statement(&store->file, STATEMENT_OUTCOME_FIND);
	sqlite_bind_text(row, 1, id);
	int result = 0;
	int status = sqlite3_step(row);
	if (status == SQLITE_ROW) {
		const void *before = sqlite3_column_blob(row, 1);
		if (!before || sqlite3_column_bytes(row, 1) != DIGEST_BYTES ||
		    memcmp(before, digest->bytes, DIGEST_BYTES) != 0)
			result = error_set(err, -FL_EINVALID,
					   "store: the txn id %s was used for another txn", id);
		outcome->revision = sqlite_column_number(row, 0);
		outcome->repeated = true;
	} else if (status != SQLITE_DONE) {
		result = sqlite_file_error(&store->file, status, err);
	}
	sqlite3_reset(row);
	return result;
}

static int outcome_remember(struct sqlite_store *store, const char *id, const struct digest *digest,
			    uint64_t revision, struct error *err)
{
	sqlite3_stmt *add = sqlite_file_statement(&store->file, STATEMENT_OUTCOME_ADD);
	sqlite_bind_text(add, 1, id);
	sqlite_bind_number(add, 2, revision);
	(void)sqlite3_bind_blob(add, 3, digest->bytes, DIGEST_BYTES, SQLITE_STATIC);
	int result = sqlite_file_run(&store->file, add, err);
	if (result < 0)
		return result;
	sqlite3_int64 number = sqlite3_last_insert_rowid(store->file.db);
	sqlite3_stmt *forget = sqlite_file_statement(&store->file, STATEMENT_OUTCOME_FORGET);
	(void)sqlite3_bind_int64(forget, 1, number - OUTCOMES_KEPT);
	return sqlite_file_run(&store->file, forget, err);
}

/* Everything of a txn between BEGIN and COMMIT. `digest` is NULL when it has no id. */
static int txn_steps(struct sqlite_store *store, const struct store_txn *txn,
		     const struct digest *digest, struct store_txn_outcome *outcome,
		     struct error *err)
{
	int result = txn->id ? outcome_find(store, txn->id, digest, outcome, err) : 0;
	if (result < 0 || outcome->repeated)
		return result;
	result = txn_compare(store, txn, outcome, err);
	bool changed = false;
	for (size_t i = 0; result == 0 && i < txn->op_count; i++)
		result = txn_op(store, &txn->ops[i], store->revision + 1, &changed, err);
	if (result < 0)
		return result;

	outcome->revision = store->revision + (changed ? 1 : 0);
	if (changed)
		result = sqlite_revision_set(store, outcome->revision, err);
	if (result == 0 && txn->id)
		result = outcome_remember(store, txn->id, digest, outcome->revision, err);
	return result;
}

static int txn_do(struct sqlite_store *store, const struct store_txn *txn,
		  struct store_txn_outcome *outcome, struct error *err)
{
	outcome->revision = store->revision;
	struct digest digest;
	int result = txn->id ? txn_digest(txn, &digest, err) : 0;
	if (result < 0)
		return result;
	result = sqlite_file_begin(&store->file, err);
	if (result < 0)
		return result;
	result = txn_steps(store, txn, txn->id ? &digest : NULL, outcome, err);
	result = sqlite_file_end(&store->file, result, err);
	if (result == 0 && !outcome->repeated)
		store->revision = outcome->revision;
	return result;
}

static void txn_run(struct sqlite_request *request, struct sqlite_store *store, bool cancelled)
{
	struct error err;
	struct store_txn_outcome outcome = {0};
	int result =
	    cancelled ? sqlite_cancelled(&err) : txn_do(store, &request->txn, &outcome, &err);
	bool has_outcome = result == 0 || result == -FL_ECONFLICT;
	request->txn_done(request->context, result, result < 0 ? &err : NULL,
			  has_outcome ? &outcome : NULL);
}

static bool txn_copy(const struct store_txn *txn, struct arena *arena, struct store_txn *ret_txn)
{
	struct store_compare *compares = arena_array(arena, txn->compare_count, sizeof(*compares));
	struct store_op *ops = arena_array(arena, txn->op_count, sizeof(*ops));
	char *id = txn->id ? arena_strdup(arena, txn->id) : NULL;
	if (!compares || !ops || (txn->id && !id))
		return false;
	for (size_t i = 0; i < txn->compare_count; i++) {
		compares[i] = txn->compares[i];
		compares[i].key = arena_strdup(arena, txn->compares[i].key);
		if (!compares[i].key)
			return false;
	}
	for (size_t i = 0; i < txn->op_count; i++) {
		const struct store_op *op = &txn->ops[i];
		ops[i] = *op;
		ops[i].key = arena_strdup(arena, op->key);
		ops[i].value =
		    arena_strndup(arena, op->value_length ? op->value : "", op->value_length);
		if (!ops[i].key || !ops[i].value)
			return false;
	}
	*ret_txn = (struct store_txn){.compares = compares,
				      .compare_count = txn->compare_count,
				      .ops = ops,
				      .op_count = txn->op_count,
				      .id = id};
	return true;
}

int sqlite_txn(struct store *base, const struct store_txn *txn, store_txn_fn *done, void *context,
	       struct error *err)
{
	struct sqlite_store *store = sqlite_of(base);
	int result = sqlite_check_writable(store, err);
	if (result < 0)
		return result;
	struct sqlite_request *request = sqlite_request_new(store);
	if (!request)
		return sqlite_cannot_queue(store, err);
	request->run = txn_run;
	request->context = context;
	request->txn_done = done;
	if (!txn_copy(txn, &request->arena, &request->txn)) {
		sqlite_request_free(request);
		return sqlite_no_memory(err);
	}
	sqlite_request_queue(store, request);
	return 0;
}
