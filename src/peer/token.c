/* SPDX-License-Identifier: Apache-2.0 */
#include "peer/token.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define PREFIX "fl1"
#define CHECK_BYTES 4u
#define NAMES_AT (1u + DIGEST_BYTES + PEER_SECRET_BYTES + 8u + 2u)
#define LEAST_BYTES (NAMES_AT + 2u + 1u + CHECK_BYTES) /* a fabric of one letter, no site */
#define MOST_BYTES (NAMES_AT + 2u + 2u * TEXT_NAME_MAX + CHECK_BYTES)

_Static_assert(MOST_BYTES <= UINT8_MAX, "the length is one byte");
_Static_assert(sizeof(PREFIX) + (MOST_BYTES * 8 + 4) / 5 <= PEER_TOKEN_TEXT_BYTES, "it fits");

static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";

static uint8_t *put_number(uint8_t *at, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		*at++ = (uint8_t)(value >> (8 * (bytes - 1 - i)));
	return at;
}

static uint8_t *put_name(uint8_t *at, const char *name)
{
	size_t length = strlen(name);
	*at++ = (uint8_t)length;
	for (size_t i = 0; i < length; i++)
		*at++ = (uint8_t)name[i];
	return at;
}

static void base32_format(const uint8_t *bytes, size_t length, char *text)
{
	unsigned held = 0, bits = 0;
	for (size_t i = 0; i < length; i++) {
		held = held << 8 | bytes[i];
		for (bits += 8; bits >= 5; bits -= 5)
			*text++ = letters[held >> (bits - 5) & 31];
		held &= (1u << bits) - 1;
	}
	if (bits)
		*text++ = letters[held << (5 - bits) & 31];
	*text = '\0';
}

void peer_token_format(const struct peer_token *token, char text[PEER_TOKEN_TEXT_BYTES])
{
	uint8_t bytes[MOST_BYTES] = {0};
	struct digest check;
	ASSERT(text_is_node_name(token->fabric) && token->roles && token->roles <= UINT16_MAX);
	ASSERT(!*token->site || text_is_node_name(token->site));
	uint8_t *at = bytes + 1;
	memcpy(at, token->ca.bytes, DIGEST_BYTES);
	at += DIGEST_BYTES;
	memcpy(at, token->secret, PEER_SECRET_BYTES);
	at = put_number(at + PEER_SECRET_BYTES, token->expires_s, 8);
	at = put_number(at, token->roles, 2);
	at = put_name(at, token->fabric);
	at = put_name(at, token->site);
	size_t length = (size_t)(at - bytes);
	bytes[0] = (uint8_t)(length + CHECK_BYTES);
	digest_of(bytes, length, &check);
	memcpy(at, check.bytes, CHECK_BYTES);
	snprintf(text, PEER_TOKEN_TEXT_BYTES, "%s", PREFIX);
	base32_format(bytes, length + CHECK_BYTES, text + strlen(PREFIX));
}

/* How many bytes the letters hold; fewer bits than a byte that are left over are dropped. */
static size_t base32_parse(const char *text, uint8_t *bytes, size_t room)
{
	unsigned held = 0, bits = 0;
	size_t length = 0;
	for (; *text && length < room; text++) {
		const char *letter = strchr(letters, *text);
		held = (held << 5 | (letter ? (unsigned)(letter - letters) : 0)) & 0xffff;
		bits += 5;
		if (bits >= 8) {
			bits -= 8;
			bytes[length++] = (uint8_t)(held >> bits);
		}
	}
	return length;
}

static uint64_t number_at(const uint8_t *at, unsigned bytes)
{
	uint64_t value = 0;
	for (unsigned i = 0; i < bytes; i++)
		value = value << 8 | at[i];
	return value;
}

/* False when it does not end before `end`. */
static bool take_name(const uint8_t **at, const uint8_t *end, char name[TEXT_NAME_MAX + 1])
{
	size_t length = *at < end ? **at : SIZE_MAX;
	if (length > TEXT_NAME_MAX || (size_t)(end - *at) < 1 + length)
		return false;
	memcpy(name, *at + 1, length);
	name[length] = '\0';
	*at += 1 + length;
	return strlen(name) == length && (!length || text_is_node_name(name));
}

static int no_token(struct error *err)
{
	return error_set(err, -FL_EINVALID,
			 "this is not a token: one begins with \"" PREFIX "\", and is what "
			 "`fairlead init` printed");
}

int peer_token_parse(const char *text, struct peer_token *ret_token, struct error *err)
{
	struct peer_token token = {0};
	uint8_t bytes[MOST_BYTES] = {0};
	char again[PEER_TOKEN_TEXT_BYTES];
	struct digest check;
	const char *rest = text + strlen(PREFIX);
	size_t given = strnlen(text, PEER_TOKEN_TEXT_BYTES);
	if (given < strlen(PREFIX) || memcmp(text, "fl", 2) != 0 || text[2] < '0' || text[2] > '9')
		return no_token(err);
	if (text[2] != PREFIX[2])
		return error_set(err, -FL_EUNSUPPORTED,
				 "the token is of another release (\"%.3s\"); make one with the "
				 "release that runs here, or install the other's",
				 text);
	size_t length = base32_parse(rest, bytes, sizeof(bytes));
	size_t wanted = length ? bytes[0] : LEAST_BYTES;
	if (wanted < LEAST_BYTES || wanted > MOST_BYTES)
		return no_token(err);
	size_t letters_wanted = strlen(PREFIX) + (wanted * 8 + 4) / 5;
	if (given < letters_wanted)
		return error_set(err, -FL_EINVALID,
				 "the token is cut short: %zu of its %zu letters are here; copy "
				 "all of it",
				 given, letters_wanted);
	if (given > letters_wanted)
		return error_set(err, -FL_EINVALID,
				 "something that is not the token's stands behind it: it has %zu "
				 "letters",
				 letters_wanted);
	digest_of(bytes, wanted - CHECK_BYTES, &check);
	base32_format(bytes, wanted, again);
	if (memcmp(check.bytes, bytes + wanted - CHECK_BYTES, CHECK_BYTES) != 0 ||
	    strcmp(again, rest) != 0)
		return error_set(err, -FL_EINVALID,
				 "a letter of the token is wrong: copy it, do not type it");

	const uint8_t *at = bytes + 1;
	memcpy(token.ca.bytes, at, DIGEST_BYTES);
	at += DIGEST_BYTES;
	memcpy(token.secret, at, PEER_SECRET_BYTES);
	at += PEER_SECRET_BYTES;
	token.expires_s = number_at(at, 8);
	token.roles = (unsigned)number_at(at + 8, 2);
	at = bytes + NAMES_AT;
	const uint8_t *end = bytes + wanted - CHECK_BYTES;
	if (!take_name(&at, end, token.fabric) || !take_name(&at, end, token.site) || at != end ||
	    !*token.fabric || !token.roles)
		return no_token(err);
	*ret_token = token;
	return 0;
}

void peer_token_secret_hash(const uint8_t secret[PEER_SECRET_BYTES], struct digest *ret_hash)
{
	digest_of(secret, PEER_SECRET_BYTES, ret_hash);
}
