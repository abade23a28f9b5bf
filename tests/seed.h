/* SPDX-License-Identifier: Apache-2.0 */
/* The seed of a test that draws at random: FAIRLEAD_SEED=N repeats a run. */
#ifndef FAIRLEAD_TESTS_SEED_H
#define FAIRLEAD_TESTS_SEED_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* FAIRLEAD_SEED's, or else `usual`; printed as it is to be written. */
static inline uint64_t seed_choose(uint64_t usual)
{
	const char *wanted = getenv("FAIRLEAD_SEED");
	uint64_t seed = wanted ? strtoull(wanted, NULL, 10) : usual;
	printf("FAIRLEAD_SEED=%" PRIu64 "\n", seed);
	fflush(stdout); /* before a test aborts, or forks */
	return seed;
}

#endif
