/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IP addresses and prefixes as plain values. An IPv4 address uses the first four bytes; the rest
 * are zero, so that two equal addresses are equal byte for byte.
 */
#ifndef FAIRLEAD_BASE_NETADDR_H
#define FAIRLEAD_BASE_NETADDR_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ip_family { IP_NONE = 0, IP_V4 = 4, IP_V6 = 6 };

struct ip_address {
	uint8_t bytes[16]; /* network order */
	uint8_t family; /* enum ip_family */
};

struct ip_prefix {
	struct ip_address address; /* host bits are zero */
	uint8_t length; /* bits: 0…32 or 0…128 */
};

#define IP_TEXT_BYTES 64 /* longest address or prefix, with its NUL */

/* Strict textual forms (inet_pton). -FL_EINVALID otherwise. */
must_check int ip_address_parse(const char *text, struct ip_address *ret_address);
/* "192.0.2.0/24"; -FL_EINVALID also if host bits are set. */
must_check int ip_prefix_parse(const char *text, struct ip_prefix *ret_prefix);

/* RFC 5952 text; `text` holds IP_TEXT_BYTES. Return `text`. */
const char *ip_address_format(const struct ip_address *address, char *text);
const char *ip_prefix_format(const struct ip_prefix *prefix, char *text);

bool ip_address_equal(const struct ip_address *a, const struct ip_address *b);
/* memcmp order: v4 before v6. */
int ip_address_compare(const struct ip_address *a, const struct ip_address *b);
bool ip_prefix_equal(const struct ip_prefix *a, const struct ip_prefix *b);
bool ip_prefix_is_among(const struct ip_prefix *prefix, const struct ip_prefix *list, size_t count);
bool ip_prefix_contains(const struct ip_prefix *prefix, const struct ip_address *address);
bool ip_prefix_overlaps(const struct ip_prefix *a, const struct ip_prefix *b);

/* 32 or 128. */
unsigned ip_family_bits(enum ip_family family);

/* Zero all bits after the first `length`. */
void ip_address_mask(struct ip_address *address, unsigned length);

/* OR `value << shift` into the address, read as one number; bits above its top are lost. */
void ip_address_or_low_bits(struct ip_address *address, uint32_t value, unsigned shift);

#endif
