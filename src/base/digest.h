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

/* Lower-case hex with a NUL; `text` holds 2 * length + 1 bytes. */
void hex_encode(const void *bytes, size_t length, char *text);

/* -FL_EINVALID unless `text` is exactly 2 * length hex digits. */
must_check int hex_decode(const char *text, void *ret_bytes, size_t length);

#endif
