/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ed25519 keys and base64 as the ledger writes them. Private to src/store.
 * Base64 (RFC 4648 section 4) is strict: padded, no white space, and only the one encoding of a
 * value is taken, so that no byte of stored text can change without being noticed.
 */
#ifndef FAIRLEAD_LEDGER_KEY_H
#define FAIRLEAD_LEDGER_KEY_H

#include "base/error.h"
#include "ledger/ledger.h"

#define LEDGER_PUBLIC_KEY_BYTES 32u
#define LEDGER_SIGNATURE_TEXT_BYTES 89u /* 88 of base64 and a NUL */

/* `text` holds 4 * ceil(length / 3) + 1 bytes. */
void base64_encode(const void *bytes, size_t length, char *text);
/* -FL_EINVALID unless `text` of `text_length` is the encoding of exactly `length` bytes (≤ 64). */
must_check int base64_decode(const char *text, size_t text_length, void *ret_bytes, size_t length);

/* A node's name: [a-z0-9-], 1 to LEDGER_NODE_BYTES long, no hyphen first. */
bool ledger_node_name_valid(const char *name);

/* "ed25519:BASE64", `length` without a NUL, or -FL_EINVALID. */
must_check int ledger_public_key_parse(const char *text, size_t length,
				       uint8_t ret_key[LEDGER_PUBLIC_KEY_BYTES]);

must_check int ledger_sign(const struct ledger_signer *signer, const void *bytes, size_t length,
			   uint8_t ret_signature[LEDGER_SIGNATURE_BYTES], struct error *err);

/* 0, -FL_EINVALID when the signature does not match, or -ENOMEM. */
must_check int ledger_signature_check(const uint8_t key[LEDGER_PUBLIC_KEY_BYTES], const void *bytes,
				      size_t length,
				      const uint8_t signature[LEDGER_SIGNATURE_BYTES]);

#endif
