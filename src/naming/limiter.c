/* SPDX-License-Identifier: Apache-2.0 */
#include "naming/limiter.h"

#include "base/siphash.h"

#include <stdlib.h>
#include <string.h>

enum {
	ENTRIES_LOG2 = 16, /* half a megabyte */
	ENTRIES = 1 << ENTRIES_LOG2,
	TAG_BITS = 16, /* what tells the networks of one entry apart */
	TIME_BITS = 64 - TAG_BITS, /* nine years of microseconds */
	BITS_V4 = 24,
	BITS_V6 = 56,
	BURST_US = 1000000,
};

/*
 * An entry is a tag and a time: when the network's bucket will be full again. Each answer puts that
 * off by a second's share; more than a second ahead, the bucket is empty (the generic cell rate
 * algorithm, ITU-T I.371).
 */
struct limiter {
	uint8_t secret[LIMITER_SECRET_BYTES];
	uint64_t entries[ENTRIES];
};

int limiter_new(const uint8_t secret[LIMITER_SECRET_BYTES], struct limiter **ret_limiter)
{
	struct limiter *limiter = calloc(1, sizeof(*limiter));
	if (!limiter)
		return -ENOMEM;
	memcpy(limiter->secret, secret, LIMITER_SECRET_BYTES);
	*ret_limiter = limiter;
	return 0;
}

void limiter_free(struct limiter *limiter)
{
	free(limiter);
}

static uint64_t hash_of(const struct limiter *limiter, const struct ip_address *client)
{
	struct ip_address network = *client;
	ip_address_mask(&network, network.family == IP_V4 ? BITS_V4 : BITS_V6);
	uint8_t key[1 + sizeof(network.bytes)];
	key[0] = network.family;
	memcpy(key + 1, network.bytes, sizeof(network.bytes));
	return siphash24(limiter->secret, key, sizeof(key));
}

bool limiter_is_over(struct limiter *limiter, const struct ip_address *client, uint32_t rate,
		     uint64_t now_us)
{
	if (rate == 0)
		return false;
	const uint64_t time_mask = (UINT64_C(1) << TIME_BITS) - 1;
	uint64_t hash = hash_of(limiter, client);
	uint64_t tag = hash >> TIME_BITS, now = now_us & time_mask, step = BURST_US / rate;
	/* Two places, so that two networks that meet in one are both counted. */
	for (unsigned place = 0; place < 2; place++) {
		uint64_t *entry = &limiter->entries[hash >> (place * ENTRIES_LOG2) & (ENTRIES - 1)];
		uint64_t word = __atomic_load_n(entry, __ATOMIC_RELAXED);
		for (;;) {
			uint64_t full = word & time_mask;
			bool is_free = full <= now;
			if (word >> TIME_BITS != tag && !is_free)
				break;
			if (!is_free && full - now > BURST_US - step)
				return true;
			uint64_t next = tag << TIME_BITS | ((is_free ? now : full) + step);
			if (__atomic_compare_exchange_n(entry, &word, next, true, __ATOMIC_RELAXED,
							__ATOMIC_RELAXED))
				return false;
		}
	}
	return false;
}
