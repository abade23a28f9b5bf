/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a stored version. They are refused, or they are the canonical encoding of the
 * version they decode to: nothing else may share its digest.
 */
#include "base/buffer.h"
#include "model/version.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct arena arena;
	struct version *version;
	/* What is allocated follows from the bytes that are there, not from the counts they claim,
	 * except for the lists of backends and rings, which have limits. */
	arena_init(&arena, 1024 * 1024 + 16 * length);
	int result = version_decode(bytes, length, &arena, &version);
	require(result == 0 || result == -FL_ECORRUPT);
	if (result == 0) {
		struct buffer again;
		struct digest digest;
		buffer_init(&again, 0);
		version_encode(version, &again);
		require(again.status == 0 && again.length == length);
		require(!memcmp(again.data, bytes, length));
		require(version_digest(version, &digest) == 0);
		require(!memcmp(&digest, &version->digest, sizeof(digest)));
		buffer_done(&again);
	}
	arena_done(&arena);
	return 0;
}
