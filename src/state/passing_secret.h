/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The passing secret, as the state keeps it: one record, from which follow the tokens that edges
 * show each other with the packets that they pass on (NETWORK.md rule 6). A voter draws it and now
 * and then another (fabric/passing_renewal.h); the one before stays good, for edges that are
 * behind.
 *
 * Pure; any thread.
 */
#ifndef FAIRLEAD_STATE_PASSING_SECRET_H
#define FAIRLEAD_STATE_PASSING_SECRET_H

#include "base/buffer.h"
#include "base/error.h"
#include "store/store.h"

#include <stdbool.h>
#include <stdint.h>

#define PASSING_SECRET_BYTES 16 /* a key of SipHash */
#define PASSING_SECRET_KEY "passing"

struct passing_secret {
	uint64_t sequence; /* the ledger entry that tells of it; 0: there is none */
	uint64_t made_ms; /* wall clock */
	uint8_t secret[PASSING_SECRET_BYTES];
	bool has_former;
	uint8_t former[PASSING_SECRET_BYTES];
};

must_check int passing_secret_put(const struct passing_secret *secret, struct buffer *value);
/* -FL_ECORRUPT, -FL_EUNSUPPORTED. */
must_check int passing_secret_parse(const struct store_record *record,
				    struct passing_secret *ret_secret, struct error *err);

/* What packets must show that are passed on to this node; as it lies in memory, and never 0. */
uint64_t passing_secret_token(const uint8_t secret[PASSING_SECRET_BYTES], const char *node);

#endif
