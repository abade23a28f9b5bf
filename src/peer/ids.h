/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has a number, found by it: a hash table whose entries are their owners' own. A struct that
 * is to be in it begins with a `struct peer_id`, and is in one table at most.
 */
#ifndef FAIRLEAD_PEER_IDS_H
#define FAIRLEAD_PEER_IDS_H

#include <stddef.h>
#include <stdint.h>

#define PEER_IDS_BUCKETS 512u

struct peer_id {
	struct peer_id *next; /* private to the table */
	uint64_t number;
};

struct peer_ids { /* all zero at first */
	struct peer_id *buckets[PEER_IDS_BUCKETS];
	size_t count;
};

/* The number must not be there. */
void peer_ids_put(struct peer_ids *ids, struct peer_id *id, uint64_t number);
void peer_ids_remove(struct peer_ids *ids, struct peer_id *id);
struct peer_id *peer_ids_find(const struct peer_ids *ids, uint64_t number); /* NULL if none */

/* Walks all: the one after `id`, the first for NULL; NULL at the end. One that the walk has
 * reached may be removed once the next is known. */
struct peer_id *peer_ids_next(const struct peer_ids *ids, const struct peer_id *id);

#endif
