/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses and prefixes as text. Whatever the parser takes, its formatter gives back as a text
 * that parses to the same value; a prefix holds its own address.
 */
#include "base/netaddr.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void require(bool truth)
{
	if (!truth)
		abort();
}

static void check_address(const char *input)
{
	struct ip_address address, again;
	char text[IP_TEXT_BYTES];

	if (ip_address_parse(input, &address) < 0)
		return;
	require(ip_address_parse(ip_address_format(&address, text), &again) == 0);
	require(ip_address_equal(&address, &again));
}

static void check_prefix(const char *input)
{
	struct ip_prefix prefix, again;
	char text[IP_TEXT_BYTES];

	if (ip_prefix_parse(input, &prefix) < 0)
		return;
	require(prefix.length <= ip_family_bits(prefix.address.family));
	require(ip_prefix_contains(&prefix, &prefix.address));
	require(ip_prefix_parse(ip_prefix_format(&prefix, text), &again) == 0);
	require(ip_address_equal(&prefix.address, &again.address));
	require(prefix.length == again.length);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	char *input = malloc(length + 1);

	if (!input)
		return 0;
	if (length > 0)
		memcpy(input, bytes, length);
	input[length] = '\0';
	check_address(input);
	check_prefix(input);
	free(input);
	return 0;
}
