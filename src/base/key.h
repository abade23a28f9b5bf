/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ed25519 key pairs (RFC 8032), their files and their texts, and strict base64. A node has two: the
 * ledger's, which signs entries and stays in the daemon, and the node channel's.
 *
 * A pair is OpenSSL's EVP_PKEY, owned by who asked for it and freed by key_pair_free(). Its file is
 * PEM (RFC 8410), readable by its owner alone. Any thread.
 *
 * Base64 (RFC 4648 section 4) is strict: padded, no white space, and only the one encoding of a
 * value is taken, so that no byte of stored text can change without being noticed.
 */
#ifndef FAIRLEAD_BASE_KEY_H
#define FAIRLEAD_BASE_KEY_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define KEY_BYTES 32u /* of a public or a private key */
#define KEY_TEXT_BYTES 56u /* "ed25519:", 44 of base64, a NUL, and room to spare */

struct evp_pkey_st;

/* A new one, by OpenSSL's randomness. -ENOMEM. */
must_check int key_pair_make(struct evp_pkey_st **ret_pair);

/* The pair whose private half is `key`; the same bytes give the same pair. -ENOMEM. */
must_check int key_pair_from(const uint8_t key[KEY_BYTES], struct evp_pkey_st **ret_pair);

/*
 * The pair of a file. -ENOENT and what else the kernel says, -FL_EPRIVILEGE when others may read or
 * write it, -FL_ECORRUPT when it is not such a key, -ENOMEM.
 */
must_check int key_pair_load(const char *path, struct evp_pkey_st **ret_pair, struct error *err);

/* The same, or a new pair, written durably, where there is no such file. */
must_check int key_pair_open(const char *path, struct evp_pkey_st **ret_pair, struct error *err);

void key_pair_free(struct evp_pkey_st *pair); /* NULL is fine */

void key_pair_public(const struct evp_pkey_st *pair, uint8_t ret_key[KEY_BYTES]);
void key_pair_private(const struct evp_pkey_st *pair, uint8_t ret_key[KEY_BYTES]);

/* A public key as members' records have it: "ed25519:BASE64". */
void key_text_format(const uint8_t key[KEY_BYTES], char text[KEY_TEXT_BYTES]);
/* `length` without a NUL. -FL_EINVALID. */
must_check int key_text_parse(const char *text, size_t length, uint8_t ret_key[KEY_BYTES]);

/* `text` holds 4 * ceil(length / 3) + 1 bytes. */
void base64_encode(const void *bytes, size_t length, char *text);
/* -FL_EINVALID unless `text` of `text_length` is the encoding of exactly `length` bytes (≤ 64). */
must_check int base64_decode(const char *text, size_t text_length, void *ret_bytes, size_t length);

#endif
