/* SPDX-License-Identifier: Apache-2.0 */
#include "base/netaddr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

unsigned ip_family_bits(enum ip_family family)
{
	return family == IP_V4 ? 32 : 128;
}

static int to_af(enum ip_family family)
{
	return family == IP_V4 ? AF_INET : AF_INET6;
}

int ip_address_parse(const char *text, struct ip_address *ret_address)
{
	struct ip_address address = {.family = strchr(text, ':') ? IP_V6 : IP_V4};
	if (inet_pton(to_af(address.family), text, address.bytes) != 1)
		return -FL_EINVALID;
	*ret_address = address;
	return 0;
}

void ip_address_mask(struct ip_address *address, unsigned length)
{
	unsigned bytes = ip_family_bits(address->family) / 8;
	for (unsigned i = 0; i < bytes; i++) {
		unsigned kept = length > 8 * i ? length - 8 * i : 0;
		if (kept < 8)
			address->bytes[i] &= (uint8_t)(0xff00u >> kept);
	}
}

int ip_prefix_parse(const char *text, struct ip_prefix *ret_prefix)
{
	char address_text[IP_TEXT_BYTES];
	const char *slash = strchr(text, '/');
	if (!slash || (size_t)(slash - text) >= sizeof(address_text))
		return -FL_EINVALID;
	memcpy(address_text, text, (size_t)(slash - text));
	address_text[slash - text] = '\0';

	struct ip_prefix prefix = {0};
	int result = ip_address_parse(address_text, &prefix.address);
	if (result < 0)
		return result;
	char *end;
	if (slash[1] < '0' || slash[1] > '9')
		return -FL_EINVALID;
	unsigned long length = strtoul(slash + 1, &end, 10);
	if (*end || length > ip_family_bits(prefix.address.family))
		return -FL_EINVALID;
	prefix.length = (uint8_t)length;

	struct ip_address masked = prefix.address;
	ip_address_mask(&masked, prefix.length);
	if (!ip_address_equal(&masked, &prefix.address))
		return -FL_EINVALID;
	*ret_prefix = prefix;
	return 0;
}

const char *ip_address_format(const struct ip_address *address, char *text)
{
	if (address->family == IP_NONE ||
	    !inet_ntop(to_af(address->family), address->bytes, text, IP_TEXT_BYTES))
		snprintf(text, IP_TEXT_BYTES, "none");
	return text;
}

const char *ip_prefix_format(const struct ip_prefix *prefix, char *text)
{
	ip_address_format(&prefix->address, text);
	size_t length = strlen(text);
	snprintf(text + length, IP_TEXT_BYTES - length, "/%u", prefix->length);
	return text;
}

int ip_address_compare(const struct ip_address *a, const struct ip_address *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

bool ip_address_equal(const struct ip_address *a, const struct ip_address *b)
{
	return ip_address_compare(a, b) == 0;
}

bool ip_prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b)
{
	return a->length == b->length && ip_address_equal(&a->address, &b->address);
}

bool ip_prefix_is_among(const struct ip_prefix *prefix, const struct ip_prefix *list, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (ip_prefix_equal(&list[i], prefix))
			return true;
	}
	return false;
}

bool ip_prefix_contains(const struct ip_prefix *prefix, const struct ip_address *address)
{
	if (prefix->address.family != address->family)
		return false;
	struct ip_address masked = *address;
	ip_address_mask(&masked, prefix->length);
	return ip_address_equal(&masked, &prefix->address);
}

bool ip_prefix_overlaps(const struct ip_prefix *a, const struct ip_prefix *b)
{
	return a->length <= b->length ? ip_prefix_contains(a, &b->address)
				      : ip_prefix_contains(b, &a->address);
}

void ip_address_or_low_bits(struct ip_address *address, uint32_t value, unsigned shift)
{
	unsigned bytes = ip_family_bits(address->family) / 8;
	uint64_t rest = (uint64_t)value << shift % 8;
	for (unsigned i = shift / 8; rest && i < bytes; i++, rest >>= 8)
		address->bytes[bytes - 1 - i] |= (uint8_t)rest;
}
