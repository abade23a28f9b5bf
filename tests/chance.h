/* SPDX-License-Identifier: Apache-2.0 */
/* Whether counts are as chance would have them. */
#ifndef FAIRLEAD_TESTS_CHANCE_H
#define FAIRLEAD_TESTS_CHANCE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What chi-squared with so many degrees of freedom exceeds less often than once in 10^11 trials.
 * Wilson, Hilferty: "The distribution of chi-square", 1931: its cube root is nearly normal; the
 * bound lies seven standard deviations up.
 */
static inline double chance_bound(size_t freedom)
{
	double spread = 2.0 / (9.0 * (double)freedom);
	double root = 1 - spread + 7 * sqrt(spread);
	return (double)freedom * root * root * root;
}

/* Chi-squared of `counts`, where each of them expects the same. */
static inline double chance_even(const uint32_t *counts, size_t count)
{
	double sum = 0, squares = 0;
	for (size_t i = 0; i < count; i++)
		sum += counts[i];
	for (size_t i = 0; i < count; i++) {
		double off = counts[i] - sum / (double)count;
		squares += off * off;
	}
	return squares / (sum / (double)count);
}

#endif
