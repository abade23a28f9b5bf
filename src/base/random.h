/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Randomness, passed in, so that a whole fabric can run from one seed.
 * `random_system` reads getrandom(2) and is fit for secrets; a seeded source is not.
 */
#ifndef FAIRLEAD_BASE_RANDOM_H
#define FAIRLEAD_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random {
	void (*fill)(struct random *random, void *bytes, size_t length);
	uint64_t state[4]; /* used by the seeded source only */
};

/* The kernel's generator. Any thread; never fails (it aborts if the kernel has none). */
void random_init_system(struct random *random);

/* xoshiro256** (Blackman, Vigna: "Scrambled linear pseudorandom number generators", 2018),
 * seeded through splitmix64. The same seed gives the same stream on every machine. */
void random_init_seeded(struct random *random, uint64_t seed);

void random_fill(struct random *random, void *bytes, size_t length);
uint64_t random_u64(struct random *random);

/* Uniform in [0, bound); bound must not be 0. */
uint64_t random_below(struct random *random, uint64_t bound);

#endif
