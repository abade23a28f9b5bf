/* SPDX-License-Identifier: Apache-2.0 */
#include "base/random.h"

#include "base/error.h"

#include <string.h>
#include <sys/random.h>

static void system_fill(struct random *random, void *bytes, size_t length)
{
	(void)random;
	unsigned char *at = bytes;
	while (length) {
		ssize_t got = getrandom(at, length, 0);
		if (got < 0 && errno == EINTR)
			continue;
		ASSERT(got > 0);
		at += got;
		length -= (size_t)got;
	}
}

static uint64_t rotate_left(uint64_t x, int k)
{
	return (x << k) | (x >> (64 - k));
}

static uint64_t xoshiro_next(uint64_t *s)
{
	uint64_t result = rotate_left(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate_left(s[3], 45);
	return result;
}

static void seeded_fill(struct random *random, void *bytes, size_t length)
{
	unsigned char *at = bytes;
	while (length) {
		uint64_t word = xoshiro_next(random->state);
		size_t take = length < sizeof(word) ? length : sizeof(word);
		memcpy(at, &word, take);
		at += take;
		length -= take;
	}
}

void random_init_system(struct random *random)
{
	*random = (struct random){.fill = system_fill};
}

void random_init_seeded(struct random *random, uint64_t seed)
{
	*random = (struct random){.fill = seeded_fill};
	for (int i = 0; i < 4; i++) {
		seed += 0x9e3779b97f4a7c15u;
		uint64_t z = seed;
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
		random->state[i] = z ^ (z >> 31);
	}
}

void random_fill(struct random *random, void *bytes, size_t length)
{
	random->fill(random, bytes, length);
}

uint64_t random_u64(struct random *random)
{
	uint64_t value;
	random_fill(random, &value, sizeof(value));
	return value;
}

uint64_t random_below(struct random *random, uint64_t bound)
{
	ASSERT(bound);
	/* Values under 2^64 mod bound would make the low residues likelier; draw again. */
	uint64_t unfair = (0 - bound) % bound;
	uint64_t value;
	do
		value = random_u64(random);
	while (value < unfair);
	return value % bound;
}
