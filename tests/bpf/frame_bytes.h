/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and checksums in frames, and choices at random: for what makes frames, and what judges
 * them. */
#ifndef FAIRLEAD_TESTS_FRAME_BYTES_H
#define FAIRLEAD_TESTS_FRAME_BYTES_H

#include "base/random.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline unsigned get16(const uint8_t *bytes)
{
	return (unsigned)bytes[0] << 8 | bytes[1];
}

static inline void put16(uint8_t *bytes, size_t value)
{
	bytes[0] = (uint8_t)(value >> 8);
	bytes[1] = (uint8_t)value;
}

/* A sum of 16-bit words in one's complement (RFC 1071). */
static inline uint32_t checksum_fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* The checksum of `length` bytes, an even number. */
static inline unsigned checksum(const uint8_t *bytes, size_t length)
{
	uint32_t sum = 0;
	for (size_t i = 0; i < length; i += 2)
		sum += get16(bytes + i);
	return 0xffffu - checksum_fold(sum);
}

/* Set an IPv4 header's checksum, which is right then. */
static inline void checksum_v4(uint8_t *ip, size_t header)
{
	put16(ip + 10, 0);
	put16(ip + 10, checksum(ip, header));
}

/* Put `value` into the 16-bit word at `at` of an IPv4 header and bring its checksum up to date by
 * RFC 1624, equation 3, so that a wrong one stays as wrong. */
static inline void checksum_v4_update(uint8_t *ip, size_t at, unsigned value)
{
	uint32_t sum = 0xffffu - get16(ip + 10);
	sum += 0xffffu - get16(ip + at);
	sum += value;
	put16(ip + at, value);
	put16(ip + 10, 0xffffu - checksum_fold(sum));
}

static inline bool one_in(struct random *random, unsigned count)
{
	return random_below(random, count) == 0;
}

static inline uint8_t any_of(struct random *random, const uint8_t *values, size_t count)
{
	return values[random_below(random, count)];
}

#define ANY_OF(random, ...)                                                                        \
	any_of(random, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

#endif
