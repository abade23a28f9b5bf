/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and prefixes in tests, by their text; one that is wrong ends the test. */
#ifndef FAIRLEAD_TESTS_ADDRESSES_H
#define FAIRLEAD_TESTS_ADDRESSES_H

#include "base/netaddr.h"

#include <stdio.h>
#include <stdlib.h>

static inline struct ip_address address(const char *text)
{
	struct ip_address parsed;
	if (ip_address_parse(text, &parsed) < 0) {
		fprintf(stderr, "'%s' is not an address\n", text);
		abort();
	}
	return parsed;
}

static inline struct ip_prefix prefix(const char *text)
{
	struct ip_prefix parsed;
	if (ip_prefix_parse(text, &parsed) < 0) {
		fprintf(stderr, "'%s' is not a prefix\n", text);
		abort();
	}
	return parsed;
}

#endif
