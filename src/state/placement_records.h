/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of the placement. A service's number stands in its state; the rest is a record for
 * each pool, site and freed slot, so that what a change moves is what it writes.
 *
 * A freed slot's record names the service that held the slot, not its number, which another service
 * may have by then. It says which ledger entry freed the slot: one from before its pool got its
 * present shape (`since`) means another address, and is void.
 */
#ifndef FAIRLEAD_STATE_PLACEMENT_RECORDS_H
#define FAIRLEAD_STATE_PLACEMENT_RECORDS_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "model/placement.h"

struct placed_pool_record {
	struct placed_pool placed;
	/* When it was removed, versions held slots of it. An earlier release, which does not know
	 * that a pool may leave, takes it for one that is there. */
	bool held;
	uint64_t since; /* the ledger entry that gave the pool this shape */
};

struct freed_slot_record {
	struct placed_slot slot; /* `pool` and `slot` are the key's, `service` is not set */
	char service[MODEL_NAME_BYTES]; /* that held it last; "" when nobody knows */
};

/* Each writes a key into `key` (RECORD_KEY_BYTES) and returns it. */
const char *placed_pool_key(size_t number, char *key);
const char *placed_site_key(size_t number, char *key);
const char *freed_slot_key(uint8_t pool, uint32_t slot, char *key);

/* The numbers of a key's rest; -FL_ECORRUPT for any that the above do not write. */
must_check int placed_number_parse(const char *rest, int digits, size_t most, size_t *ret_number);
must_check int freed_slot_key_parse(const char *rest, uint8_t *ret_pool, uint32_t *ret_slot);

must_check int placed_pool_put(const struct placed_pool_record *pool, struct buffer *value);
must_check int placed_pool_parse(const char *value, size_t length,
				 struct placed_pool_record *ret_pool, struct error *err);
must_check int placed_site_put(const char *name, struct buffer *value);
must_check int placed_site_parse(const char *value, size_t length, char ret_name[MODEL_NAME_BYTES],
				 struct error *err);
must_check int freed_slot_put(const struct freed_slot_record *slot, struct buffer *value);
/* Leaves pool and slot to the caller, who has the key. */
must_check int freed_slot_parse(const char *value, size_t length,
				struct freed_slot_record *ret_slot, struct error *err);

#define RECORD_RECOVERED_KEY "placement/recovered"
must_check int recovered_put(const struct placement_recovery *recovery, struct buffer *value);
/* The addresses live in `arena`. */
must_check int recovered_parse(const char *value, size_t length, struct arena *arena,
			       struct placement_recovery *ret_recovery, struct error *err);

/* The first release's record of all numbers. */
must_check int old_placement_parse(const char *value, size_t length, struct arena *arena,
				   struct placement **ret_placement, struct error *err);

#endif
