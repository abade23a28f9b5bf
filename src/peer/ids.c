/* SPDX-License-Identifier: Apache-2.0 */
#include "peer/ids.h"

#include "base/error.h"

/* Numbers are handed out in steps of two. */
static size_t bucket_of(uint64_t number)
{
	return number / 2 % PEER_IDS_BUCKETS;
}

void peer_ids_put(struct peer_ids *ids, struct peer_id *id, uint64_t number)
{
	ASSERT(!peer_ids_find(ids, number));
	struct peer_id **bucket = &ids->buckets[bucket_of(number)];
	*id = (struct peer_id){.next = *bucket, .number = number};
	*bucket = id;
	ids->count++;
}

void peer_ids_remove(struct peer_ids *ids, struct peer_id *id)
{
	struct peer_id **at = &ids->buckets[bucket_of(id->number)];
	while (*at != id)
		at = &(*at)->next;
	*at = id->next;
	ids->count--;
}

struct peer_id *peer_ids_find(const struct peer_ids *ids, uint64_t number)
{
	struct peer_id *id = ids->buckets[bucket_of(number)];
	while (id && id->number != number)
		id = id->next;
	return id;
}

struct peer_id *peer_ids_next(const struct peer_ids *ids, const struct peer_id *id)
{
	if (id && id->next)
		return id->next;
	for (size_t i = id ? bucket_of(id->number) + 1 : 0; i < PEER_IDS_BUCKETS; i++)
		if (ids->buckets[i])
			return ids->buckets[i];
	return NULL;
}
