/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the store and the ledger share: a temporary state folder, a clock that moves
 * only when told, and blocking forms of the store's calls. Blocking calls copy what they were given
 * into an arena of the harness, where it stays until harness_done().
 */
#ifndef FAIRLEAD_TESTS_STORE_HARNESS_H
#define FAIRLEAD_TESTS_STORE_HARNESS_H

#include "../peer_wire.h"
#include "base/arena.h"
#include "base/clock.h"
#include "store/store.h"

struct harness;

/* How to reach an engine; the contract tests run over every one of these. */
struct harness_engine {
	const char *name;
	/* Opens the state of `harness`, which survives store_close(). */
	int (*open)(struct harness *harness, struct store **ret_store, struct error *err);
	/* Lets `ms` pass for leases. */
	void (*advance)(struct harness *harness, uint64_t ms);
};

extern const struct harness_engine harness_sqlite;
/* The same behind a line in memory; it delays frames, and breaks when no call is under way. */
extern const struct harness_engine harness_peer;

struct harness {
	const struct harness_engine *engine;
	char folder[64];
	struct clock clock;
	uint64_t now_ms;
	uint64_t history_revisions;
	struct arena arena;
	struct store *store; /* NULL while closed */
	struct peer_wire wire; /* of harness_peer */
	struct error err; /* of the last blocking call that failed */
};

void harness_init(struct harness *harness, const struct harness_engine *engine);
/* Closes the store and removes the folder. */
void harness_done(struct harness *harness);

void harness_open(struct harness *harness); /* must succeed */
void harness_close(struct harness *harness);
void harness_reopen(struct harness *harness);
void harness_advance(struct harness *harness, uint64_t ms);
/* Dispatches until neither the descriptor nor the clock asks for more. */
void harness_settle(struct harness *harness);

/* Each returns the result of the call or of its completion. */
int harness_txn(struct harness *harness, const struct store_txn *txn,
		struct store_txn_outcome *ret_outcome);
int harness_range(struct harness *harness, const struct store_range *range,
		  struct store_page *ret_page);
int harness_lease_grant(struct harness *harness, uint64_t ttl_ms, uint64_t *ret_lease);
int harness_lease_keep_alive(struct harness *harness, uint64_t lease);
int harness_lease_revoke(struct harness *harness, uint64_t lease);

/* Must succeed; return the revision. */
uint64_t harness_put(struct harness *harness, const char *key, const char *value);
uint64_t harness_delete(struct harness *harness, const char *key);
/* The record, or NULL when the key is absent. */
const struct store_record *harness_get(struct harness *harness, const char *key);

#endif
