/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4), by OpenSSL, and hexadecimal text. Any thread. */
#ifndef FAIRLEAD_BASE_DIGEST_H
#define FAIRLEAD_BASE_DIGEST_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define DIGEST_BYTES 32
#define DIGEST_HEX_BYTES (2 * DIGEST_BYTES + 1) /* with the NUL */

struct digest {
	uint8_t bytes[DIGEST_BYTES];
};

void digest_of(const void *bytes, size_t length, struct digest *ret_digest);

/* The digest of bytes that come in pieces. */
struct digest_stream {
	struct evp_md_ctx_st *context; /* owned; NULL when there is none */
};

must_check int digest_stream_init(struct digest_stream *stream); /* -ENOMEM */
void digest_stream_add(struct digest_stream *stream, const void *bytes, size_t length);
/* Ends the stream; `ret_digest` may be NULL when it is not wanted any more. */
void digest_stream_done(struct digest_stream *stream, struct digest *ret_digest);

/* Lower-case hex with a NUL; `text` holds 2 * length + 1 bytes. */
void hex_encode(const void *bytes, size_t length, char *text);

/* -FL_EINVALID unless `text` is exactly 2 * length hex digits. */
must_check int hex_decode(const char *text, void *ret_bytes, size_t length);

#endif
