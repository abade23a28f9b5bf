/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Token: the one word that lets a machine join. It is made by `fairlead init` or `token`, pasted by
 * a person, and says whose fabric it is (the hash of the CA's certificate, so that the joiner knows
 * the right server before it says anything), what the machine may become, until when, and a secret
 * that is good once. The voter keeps the secret's hash only (peer_token_secret_hash).
 *
 * The word is "fl1" and base32 (RFC 4648 section 6, lower case, no padding) of
 *
 *   length    1 byte    of all this
 *   CA        32 bytes  SHA-256 of its certificate
 *   secret    16 bytes
 *   expires   8 bytes   seconds since 1970; all numbers in network order
 *   roles     2 bytes   bits, as in a member's record
 *   fabric    length (1 byte), name
 *   site      length (1 byte), name; may be empty
 *   check     4 bytes   the first of the SHA-256 of all before it
 *
 * So a word that lost its end is told apart from one with a wrong letter. Pure; any thread.
 */
#ifndef FAIRLEAD_PEER_TOKEN_H
#define FAIRLEAD_PEER_TOKEN_H

#include "base/digest.h"
#include "base/error.h"
#include "base/text.h"

#include <stdint.h>

#define PEER_SECRET_BYTES 16u
#define PEER_TOKEN_TEXT_BYTES 320u /* the longest, with its NUL */

struct peer_token {
	struct digest ca;
	uint8_t secret[PEER_SECRET_BYTES];
	uint64_t expires_s; /* wall clock, seconds since 1970 */
	unsigned roles; /* bits, at least one; what they mean is not known here */
	char fabric[TEXT_NAME_MAX + 1];
	char site[TEXT_NAME_MAX + 1]; /* empty: none is set */
};

/* The names must be valid ones. */
void peer_token_format(const struct peer_token *token, char text[PEER_TOKEN_TEXT_BYTES]);

/*
 * -FL_EUNSUPPORTED for a token of another release, -FL_EINVALID for one that is cut short, has a
 * wrong letter, has something behind it, or is none at all; each has a sentence of its own. Whether
 * it has expired is the caller's to ask.
 */
must_check int peer_token_parse(const char *text, struct peer_token *ret_token, struct error *err);

void peer_token_secret_hash(const uint8_t secret[PEER_SECRET_BYTES], struct digest *ret_hash);

#endif
