/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"

#include <openssl/sha.h>
#include <string.h>

void digest_of(const void *bytes, size_t length, struct digest *ret_digest)
{
	SHA256(bytes, length, ret_digest->bytes);
}

void hex_encode(const void *bytes, size_t length, char *text)
{
	static const char digits[] = "0123456789abcdef";
	const uint8_t *at = bytes;
	for (size_t i = 0; i < length; i++) {
		text[2 * i] = digits[at[i] >> 4];
		text[2 * i + 1] = digits[at[i] & 15];
	}
	text[2 * length] = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int hex_decode(const char *text, void *ret_bytes, size_t length)
{
	if (strlen(text) != 2 * length)
		return -FL_EINVALID;
	for (size_t i = 0; i < 2 * length; i++) {
		if (hex_value(text[i]) < 0)
			return -FL_EINVALID;
	}
	uint8_t *bytes = ret_bytes;
	for (size_t i = 0; i < length; i++)
		bytes[i] = (uint8_t)(hex_value(text[2 * i]) << 4 | hex_value(text[2 * i + 1]));
	return 0;
}
