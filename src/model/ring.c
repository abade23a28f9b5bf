/* SPDX-License-Identifier: Apache-2.0 */
#include "model/ring.h"

#include "base/digest.h"
#include "base/random.h"
#include "base/siphash.h"
#include "model/fabric.h"

#include <stdlib.h>
#include <string.h>

static uint64_t weight_sum(const uint32_t *weights, size_t count)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < count; i++)
		sum += weights[i];
	return sum;
}

struct remainder {
	uint64_t value;
	size_t ordinal;
};

static int remainder_compare(const void *left, const void *right)
{
	const struct remainder *a = left, *b = right;
	if (a->value != b->value)
		return a->value > b->value ? -1 : 1;
	return a->ordinal < b->ordinal ? -1 : 1;
}

/* Largest remainder (Hamilton's method): everyone gets the floor of the exact quota, and the
 * entries that are left go to the largest fractions, ties to the lower ordinal. The fractions add
 * up to those entries and each is below 1, so a weight of zero never gets one. */
static void apportion(const uint32_t *weights, size_t count, uint64_t sum, uint32_t length,
		      uint32_t *ret_quotas)
{
	struct remainder remainders[MODEL_MAX_BACKENDS];
	uint32_t left = length;
	for (size_t i = 0; i < count; i++) {
		uint64_t exact = (uint64_t)length * weights[i];
		ret_quotas[i] = (uint32_t)(exact / sum);
		left -= ret_quotas[i];
		remainders[i] = (struct remainder){.value = exact % sum, .ordinal = i};
	}
	qsort(remainders, count, sizeof(remainders[0]), remainder_compare);
	for (uint32_t i = 0; i < left; i++)
		ret_quotas[remainders[i].ordinal]++;
}

static bool apportion_is_fine(const uint32_t *weights, size_t count, uint64_t sum, uint32_t length)
{
	uint32_t quotas[MODEL_MAX_BACKENDS];
	apportion(weights, count, sum, length, quotas);
	for (size_t i = 0; i < count; i++) {
		uint64_t exact = (uint64_t)length * weights[i];
		uint64_t got = quotas[i] * sum;
		uint64_t off = got > exact ? got - exact : exact - got;
		if (off > exact / 100)
			return false;
	}
	return true;
}

uint32_t ring_length_for(const uint32_t *weights, size_t count)
{
	uint64_t sum = weight_sum(weights, count);
	uint32_t length = RING_PAGE_ENTRIES;
	if (!sum || count > MODEL_MAX_BACKENDS)
		return length;
	while (length < RING_MAX_ENTRIES && !apportion_is_fine(weights, count, sum, length))
		length *= 2;
	return length;
}

/* What is drawn under `key` for one purpose. The digest keeps the key itself, which also seeds the
 * flow hash, out of everything that is drawn. */
static void derive(const char label[16], const uint8_t key[RING_KEY_BYTES],
		   struct digest *ret_digest)
{
	uint8_t message[16 + RING_KEY_BYTES];
	memcpy(message, label, 16);
	memcpy(message + 16, key, RING_KEY_BYTES);
	digest_of(message, sizeof(message), ret_digest);
}

/* A stream that only who knows the key can foresee. */
static void keyed_random_init(struct random *random, const uint8_t key[RING_KEY_BYTES])
{
	struct digest digest;
	derive("fairlead ring 1", key, &digest);
	random_init_seeded(random, 0);
	for (size_t i = 0; i < DIGEST_BYTES; i++) {
		uint64_t *word = &random->state[i / 8];
		*word = *word << 8 | digest.bytes[i];
	}
}

/* Fisher and Yates: every order of 0…count-1 is as likely as any other. */
static void shuffle(struct random *random, uint16_t *ret_order, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t j = (uint32_t)random_below(random, i + 1);
		ret_order[i] = ret_order[j];
		ret_order[j] = (uint16_t)i;
	}
}

/* What the previous ring's owner of the place of `entry` is called now, or RING_NONE. */
static uint16_t carried_owner(const struct ring *previous, const uint16_t *carried,
			      size_t carried_count, uint32_t length, uint32_t entry)
{
	uint32_t place = (uint32_t)((uint64_t)entry * previous->length / length);
	uint16_t owner = previous->entries[place];
	return owner < carried_count ? carried[owner] : RING_NONE;
}

/*
 * Every backend first keeps entries that it had, up to its quota; what is left is dealt to those
 * still owed. So exactly the sum of min(quota, entries before) entries stay, and no ring with these
 * quotas can keep more. Entries are visited in `order`, a random one: it settles which entries a
 * shrinking backend gives up and who gets them.
 */
static void fill(uint32_t *quotas, size_t count, const uint16_t *order, const struct ring *previous,
		 const uint16_t *carried, size_t carried_count, struct ring *ring)
{
	for (uint32_t i = 0; i < ring->length; i++) {
		uint32_t entry = order[i];
		uint16_t owner = RING_NONE;
		if (previous)
			owner =
			    carried_owner(previous, carried, carried_count, ring->length, entry);
		bool keeps = owner < count && quotas[owner];
		if (keeps)
			quotas[owner]--;
		ring->entries[entry] = keeps ? owner : RING_NONE;
	}

	uint16_t next = 0;
	for (uint32_t i = 0; i < ring->length; i++) {
		uint32_t entry = order[i];
		if (ring->entries[entry] != RING_NONE)
			continue;
		while (!quotas[next])
			next++;
		quotas[next]--;
		ring->entries[entry] = next;
	}
}

static bool length_is_valid(uint32_t length)
{
	return length >= RING_PAGE_ENTRIES && length <= RING_MAX_ENTRIES &&
	       !(length & (length - 1));
}

int ring_build(const uint32_t *weights, size_t count, const uint8_t key[RING_KEY_BYTES],
	       const struct ring *previous, const uint16_t *carried, size_t carried_count,
	       struct ring *ring)
{
	ASSERT(length_is_valid(ring->length));
	if (count > MODEL_MAX_BACKENDS)
		return -FL_EINVALID;
	uint64_t sum = weight_sum(weights, count);
	if (!sum)
		return -FL_EINVALID;

	uint16_t *order = malloc(ring->length * sizeof(*order));
	if (!order)
		return -ENOMEM;
	struct random random;
	uint32_t quotas[MODEL_MAX_BACKENDS];
	keyed_random_init(&random, key);
	apportion(weights, count, sum, ring->length, quotas);
	shuffle(&random, order, ring->length);
	fill(quotas, count, order, previous, carried, carried_count, ring);
	free(order);
	return 0;
}

uint32_t ring_moved(const struct ring *previous, const uint16_t *carried, size_t carried_count,
		    const struct ring *ring)
{
	uint32_t moved = 0;
	for (uint32_t entry = 0; entry < ring->length; entry++)
		moved += carried_owner(previous, carried, carried_count, ring->length, entry) !=
			 ring->entries[entry];
	return moved;
}

/* A set of places of a ring, one bit each, so that a walk over a long ring stays in the cache. */
struct places {
	uint64_t bits[RING_MAX_ENTRIES / 64];
};

static bool places_has(const struct places *places, uint32_t place)
{
	return places->bits[place / 64] >> place % 64 & 1;
}

uint32_t ring_effective(const struct ring *base, const uint8_t key[RING_KEY_BYTES],
			const bool *ejected, uint16_t *ret_entries)
{
	struct places live = {0};
	uint32_t left = 0;
	for (uint32_t entry = 0; entry < base->length; entry++) {
		uint16_t owner = base->entries[entry];
		uint64_t is_live = !ejected[owner];
		ret_entries[entry] = owner;
		live.bits[entry / 64] |= is_live << entry % 64;
		left += (uint32_t)is_live;
	}
	if (!left)
		return 0;

	struct digest walks;
	uint32_t mask = base->length - 1;
	derive("fairlead fill 2", key, &walks);
	for (uint32_t entry = 0; entry < base->length; entry++) {
		if (places_has(&live, entry))
			continue;
		uint8_t number[4] = {(uint8_t)entry, (uint8_t)(entry >> 8), (uint8_t)(entry >> 16),
				     (uint8_t)(entry >> 24)};
		uint64_t draw = siphash24(walks.bytes, number, sizeof(number));
		uint32_t place = (uint32_t)draw & mask, step = (uint32_t)(draw >> 32) | 1;
		while (!places_has(&live, place))
			place = (place + step) & mask;
		ret_entries[entry] = base->entries[place];
	}
	return base->length - left;
}
