/* SPDX-License-Identifier: Apache-2.0 */
/* The engine-independent half of the store: every argument is checked here, once for all engines.
 */
#include "store/store.h"

#include "base/clock.h"
#include "store/engine.h"

#include <poll.h>
#include <string.h>

static bool is_printable(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '!' || text[i] > '~')
			return false;
	}
	return true;
}

/* `what` names the argument in the sentence: "key", "prefix", "txn id". */
static int check_text(const char *text, size_t least, size_t most, const char *what,
		      struct error *err)
{
	if (!text)
		return error_set(err, -FL_EINVALID, "store: the %s is missing", what);
	size_t length = strnlen(text, most + 1);
	if (length > most)
		return error_set(err, -FL_ELIMIT,
				 "store: the %s \"%.32s…\" is longer than %zu bytes", what, text,
				 most);
	if (length < least)
		return error_set(err, -FL_EINVALID, "store: the %s is empty", what);
	if (!is_printable(text, length))
		return error_set(err, -FL_EINVALID,
				 "store: the %s holds a byte that is not printable ASCII", what);
	return 0;
}

int store_check_key(const char *key, struct error *err)
{
	return check_text(key, 1, STORE_KEY_BYTES, "key", err);
}

int store_range(struct store *store, const struct store_range *range, store_range_fn *done,
		void *context, struct error *err)
{
	int result = check_text(range->key, range->prefix ? 0 : 1, STORE_KEY_BYTES,
				range->prefix ? "prefix" : "key", err);
	if (result == 0 && range->after)
		result = store_check_key(range->after, err);
	if (result < 0)
		return result;
	return store->engine->range(store, range, done, context, err);
}

static int check_op(const struct store_op *op, struct error *err)
{
	int result = store_check_key(op->key, err);
	if (result < 0)
		return result;
	switch (op->kind) {
	case STORE_PUT:
		if (op->value_length > STORE_VALUE_BYTES)
			return error_set(err, -FL_ELIMIT,
					 "store: the value of %s has %zu bytes; the limit is %u",
					 op->key, op->value_length, STORE_VALUE_BYTES);
		return 0;
	case STORE_DELETE:
		if (op->value_length || op->lease)
			return error_set(err, -FL_EINVALID,
					 "store: the deletion of %s has a value or a lease",
					 op->key);
		return 0;
	}
	return error_set(err, -FL_EINVALID, "store: an op of an unknown kind");
}

/* At most 128 ops: comparing all pairs is cheaper than anything that allocates. */
static int check_keys_differ(const struct store_txn *txn, struct error *err)
{
	for (size_t i = 0; i < txn->op_count; i++) {
		for (size_t j = 0; j < i; j++) {
			if (strcmp(txn->ops[i].key, txn->ops[j].key) == 0)
				return error_set(err, -FL_EINVALID,
						 "store: one txn changes %s twice",
						 txn->ops[i].key);
		}
	}
	return 0;
}

static int check_txn_parts(const struct store_txn *txn, struct error *err)
{
	size_t bytes = 0;
	for (size_t i = 0; i < txn->compare_count; i++) {
		int result = store_check_key(txn->compares[i].key, err);
		if (result < 0)
			return result;
		bytes += strlen(txn->compares[i].key);
	}
	for (size_t i = 0; i < txn->op_count; i++) {
		int result = check_op(&txn->ops[i], err);
		if (result < 0)
			return result;
		bytes += strlen(txn->ops[i].key) + txn->ops[i].value_length;
	}
	if (bytes > STORE_TXN_BYTES)
		return error_set(err, -FL_ELIMIT, "store: a txn of %zu bytes; the limit is %u",
				 bytes, STORE_TXN_BYTES);
	return check_keys_differ(txn, err);
}

int store_txn(struct store *store, const struct store_txn *txn, store_txn_fn *done, void *context,
	      struct error *err)
{
	if (txn->op_count > STORE_TXN_OPS || txn->compare_count > STORE_TXN_COMPARES)
		return error_set(
		    err, -FL_ELIMIT,
		    "store: a txn of %zu compares and %zu ops; the limits are %u and %u",
		    txn->compare_count, txn->op_count, STORE_TXN_COMPARES, STORE_TXN_OPS);
	if (txn->id) {
		int result = check_text(txn->id, 1, STORE_TXN_ID_BYTES, "txn id", err);
		if (result < 0)
			return result;
	}
	int result = check_txn_parts(txn, err);
	if (result < 0)
		return result;
	return store->engine->txn(store, txn, done, context, err);
}

int store_watch(struct store *store, const char *prefix, uint64_t from_revision,
		store_watch_fn *on_events, void *context, struct store_watch **ret_watch,
		struct error *err)
{
	int result = check_text(prefix, 0, STORE_KEY_BYTES, "prefix", err);
	if (result < 0)
		return result;
	return store->engine->watch(store, prefix, from_revision, on_events, context, ret_watch,
				    err);
}

void store_watch_cancel(struct store_watch *watch)
{
	if (watch)
		watch->store->engine->watch_cancel(watch);
}

int store_lease_grant(struct store *store, uint64_t ttl_ms, store_lease_fn *done, void *context,
		      struct error *err)
{
	if (ttl_ms < 1 || ttl_ms > STORE_LEASE_TTL_MAX_MS)
		return error_set(err, -FL_ELIMIT, "store: a lease lives for 1 to %u ms",
				 STORE_LEASE_TTL_MAX_MS);
	return store->engine->lease_grant(store, ttl_ms, done, context, err);
}

int store_lease_keep_alive(struct store *store, uint64_t lease, store_lease_fn *done, void *context,
			   struct error *err)
{
	return store->engine->lease_keep_alive(store, lease, done, context, err);
}

int store_lease_revoke(struct store *store, uint64_t lease, store_lease_fn *done, void *context,
		       struct error *err)
{
	return store->engine->lease_revoke(store, lease, done, context, err);
}

struct store_id store_id(const struct store *store)
{
	return store->engine->id(store);
}

bool store_id_equal(const struct store_id *a, const struct store_id *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

bool store_id_is_known(const struct store_id *id)
{
	static const struct store_id unknown;
	return !store_id_equal(id, &unknown);
}

int store_fd(const struct store *store)
{
	return store->engine->fd(store);
}

int store_timeout_ms(const struct store *store)
{
	return store->engine->timeout_ms(store);
}

void store_dispatch(struct store *store)
{
	store->engine->dispatch(store);
}

/* How long a wait may sleep: till the store's next timer or the deadline; -1 for ever. */
static int wait_budget_ms(const struct store *store, int timeout_ms, uint64_t deadline_ms)
{
	int budget_ms = store_timeout_ms(store);
	if (timeout_ms < 0)
		return budget_ms;
	uint64_t now_ms = clock_now_ms(&clock_system);
	int left_ms = now_ms < deadline_ms ? (int)(deadline_ms - now_ms) : 0;
	return budget_ms < 0 || left_ms < budget_ms ? left_ms : budget_ms;
}

int store_wait(struct store *store, const bool *done, int timeout_ms, struct error *err)
{
	uint64_t deadline_ms =
	    clock_now_ms(&clock_system) + (timeout_ms > 0 ? (uint64_t)timeout_ms : 0);
	while (!*done) {
		struct pollfd event = {.fd = store_fd(store), .events = POLLIN};
		int ready = poll(&event, 1, wait_budget_ms(store, timeout_ms, deadline_ms));
		if (ready < 0 && errno != EINTR)
			return error_set(err, -errno, "store: cannot wait: %s", strerror(errno));
		if (ready > 0 || store_timeout_ms(store) == 0)
			store_dispatch(store);
		else if (timeout_ms >= 0 && clock_now_ms(&clock_system) >= deadline_ms)
			return error_set(err, -ETIMEDOUT, "store: no answer within %d ms",
					 timeout_ms);
	}
	return 0;
}

void store_close(struct store *store)
{
	if (store)
		store->engine->close(store);
}
