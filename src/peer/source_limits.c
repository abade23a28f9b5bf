/* SPDX-License-Identifier: Apache-2.0 */
#include "peer/source_limits.h"

#include "base/siphash.h"

static const struct {
	uint64_t most, refill_ms;
} rates[] = {
#define X(id, most, refill_ms, meaning) {most, refill_ms},
    PEER_LIMITS(X)
#undef X
};

void peer_limits_init(struct peer_limits *limits, struct random *random)
{
	*limits = (struct peer_limits){0};
	random_fill(random, limits->key, sizeof(limits->key));
}

/* The source's entry; one that was quiet longest is taken for a new source. */
static struct peer_source_limit *entry_of(struct peer_limits *limits,
					  const struct ip_address *address, uint64_t now_ms)
{
	struct ip_address source = *address;
	if (source.family == IP_V6)
		ip_address_mask(&source, 64);
	struct peer_source_limit *set =
	    limits->sources[siphash24(limits->key, &source, sizeof(source)) % PEER_LIMITS_SETS];
	struct peer_source_limit *oldest = set;
	for (size_t i = 0; i < PEER_LIMITS_WAYS; i++) {
		if (ip_address_equal(&set[i].source, &source)) {
			set[i].seen_ms = now_ms;
			return &set[i];
		}
		if (set[i].seen_ms < oldest->seen_ms)
			oldest = &set[i];
	}
	*oldest = (struct peer_source_limit){.source = source, .seen_ms = now_ms};
	return oldest;
}

bool peer_limits_allow(struct peer_limits *limits, enum peer_limit limit,
		       const struct ip_address *source, uint64_t now_ms)
{
	const struct peer_source_limit *entry = entry_of(limits, source, now_ms);
	return entry->free_ms[limit] + rates[limit].refill_ms <=
	       now_ms + rates[limit].most * rates[limit].refill_ms;
}

void peer_limits_count(struct peer_limits *limits, enum peer_limit limit,
		       const struct ip_address *source, uint64_t now_ms)
{
	uint64_t *free_ms = &entry_of(limits, source, now_ms)->free_ms[limit];
	if (*free_ms < now_ms)
		*free_ms = now_ms;
	*free_ms += rates[limit].refill_ms;
	/* Who goes on in spite of it is not shut out for longer. */
	if (*free_ms > now_ms + rates[limit].most * rates[limit].refill_ms)
		*free_ms = now_ms + rates[limit].most * rates[limit].refill_ms;
}
