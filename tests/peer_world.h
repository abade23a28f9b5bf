/* SPDX-License-Identifier: Apache-2.0 */
/* Fabrics' authorities and the nodes that they vouch for, for tests of the node channel. */
#ifndef FAIRLEAD_TESTS_PEER_WORLD_H
#define FAIRLEAD_TESTS_PEER_WORLD_H

#include "peer/tls.h"

#define PEER_WORLD_NOW 1800000000ull

/* A CA. The same fabric and seed give the same one. */
struct world_authority {
	struct evp_pkey_st *pair;
	struct buffer der;
	const char *fabric;
};

void world_authority_make(struct world_authority *ca, const char *fabric, uint64_t seed);
void world_authority_done(struct world_authority *ca);
struct wire_bytes world_authority_bytes(const struct world_authority *ca);

/* A certificate for `pair`, issued at `now_s`; the caller's. */
struct buffer world_issue(const struct world_authority *ca, struct evp_pkey_st *pair,
			  const char *node, uint64_t now_s);

/* A node with a key drawn by `seed`, that `ca` vouches for since `now_s`, and that trusts `other`
 * (NULL: nobody), too. */
struct peer_side *world_side(const struct world_authority *ca, const struct world_authority *other,
			     const char *node, uint64_t seed, uint64_t now_s);

#endif
