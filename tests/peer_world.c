/* SPDX-License-Identifier: Apache-2.0 */
#include "peer_world.h"

#include <string.h>

static struct evp_pkey_st *pair_of(struct random *random)
{
	uint8_t key[KEY_BYTES];
	struct evp_pkey_st *pair;
	random_fill(random, key, sizeof(key));
	int result = key_pair_from(key, &pair);
	ASSERT(result == 0);
	return pair;
}

void world_authority_make(struct world_authority *ca, const char *fabric, uint64_t seed)
{
	struct random random;
	random_init_seeded(&random, seed);
	*ca = (struct world_authority){.pair = pair_of(&random), .fabric = fabric};
	buffer_init(&ca->der, 0);
	peer_ca_make(ca->pair, fabric, &random, PEER_WORLD_NOW - 400 * 86400, &ca->der);
}

void world_authority_done(struct world_authority *ca)
{
	key_pair_free(ca->pair);
	buffer_done(&ca->der);
}

struct wire_bytes world_authority_bytes(const struct world_authority *ca)
{
	return (struct wire_bytes){.data = ca->der.data, .length = ca->der.length};
}

struct buffer world_issue(const struct world_authority *ca, struct evp_pkey_st *pair,
			  const char *node, uint64_t now_s)
{
	uint8_t key[KEY_BYTES];
	struct random random;
	struct buffer leaf;
	struct wire_bytes der = world_authority_bytes(ca);
	random_init_seeded(&random, now_s);
	key_pair_public(pair, key);
	buffer_init(&leaf, 0);
	int result = peer_ca_issue(ca->pair, &der, node, key, &random, now_s, &leaf, NULL);
	ASSERT(result == 0);
	return leaf;
}

struct peer_side *world_side(const struct world_authority *ca, const struct world_authority *other,
			     const char *node, uint64_t seed, uint64_t now_s)
{
	struct random random;
	struct peer_side *side;
	struct wire_bytes cas[2] = {world_authority_bytes(ca)};
	if (other)
		cas[1] = world_authority_bytes(other);
	random_init_seeded(&random, seed);
	struct evp_pkey_st *pair = pair_of(&random);
	struct buffer leaf = world_issue(ca, pair, node, now_s);
	struct wire_bytes der = {.data = leaf.data, .length = leaf.length};
	int result = peer_side_new(pair, ca->fabric, &der, cas, other ? 2 : 1, &side, NULL);
	ASSERT(result == 0);
	buffer_done(&leaf);
	key_pair_free(pair);
	return side;
}
