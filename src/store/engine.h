/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an engine of the store provides. Private to src/store.
 *
 * store.c checks every argument against the limits of store.h before it calls an engine, so an
 * engine sees only valid calls; an engine embeds `struct store` and `struct store_watch` as the
 * first member of its own. Each function keeps the promise of its namesake in store.h.
 */
#ifndef FAIRLEAD_STORE_ENGINE_H
#define FAIRLEAD_STORE_ENGINE_H

#include "store/store.h"

struct store_engine {
	int (*range)(struct store *store, const struct store_range *range, store_range_fn *done,
		     void *context, struct error *err);
	int (*txn)(struct store *store, const struct store_txn *txn, store_txn_fn *done,
		   void *context, struct error *err);
	int (*watch)(struct store *store, const char *prefix, uint64_t from_revision,
		     store_watch_fn *on_events, void *context, struct store_watch **ret_watch,
		     struct error *err);
	void (*watch_cancel)(struct store_watch *watch);
	int (*lease_grant)(struct store *store, uint64_t ttl_ms, store_lease_fn *done,
			   void *context, struct error *err);
	int (*lease_keep_alive)(struct store *store, uint64_t lease, store_lease_fn *done,
				void *context, struct error *err);
	int (*lease_revoke)(struct store *store, uint64_t lease, store_lease_fn *done,
			    void *context, struct error *err);
	struct store_id (*id)(const struct store *store);
	int (*fd)(const struct store *store);
	int (*timeout_ms)(const struct store *store);
	void (*dispatch)(struct store *store);
	void (*close)(struct store *store);
};

/* For what an engine is given from elsewhere: -FL_EINVALID or -FL_ELIMIT unless it can be a key. */
must_check int store_check_key(const char *key, struct error *err);

struct store {
	const struct store_engine *engine;
};

struct store_watch {
	struct store *store;
};

#endif
