/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of peer.h from hostile bytes, frame after frame as a receiver takes them: what is
 * accepted, written again, is the same bytes as far as sender and receiver know the same levels;
 * what is refused has a sentence.
 */
#include "wire/peer.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check_frame(const uint8_t *frame, size_t length)
{
	struct arena arena;
	struct peer_message message;
	struct error err = {0};
	struct buffer again;
	arena_init(&arena, 0);
	buffer_init(&again, 0);
	int result = peer_decode(frame, length, &arena, &message, &err);
	if (result < 0) {
		ASSERT((result == -FL_EINVALID || result == -FL_EUNSUPPORTED) && *err.text);
	} else {
		ASSERT(peer_encode(&message, &again, &err) == 0);
		/* A block of a later level, which is passed over, may follow; one of a level that
		 * an earlier sender does not know is written with what its absence means. */
		size_t same = again.length < length ? again.length : length;
		ASSERT(memcmp(again.data + 4, frame + 4, same - 4) == 0);
	}
	/* What is read takes memory in proportion to its bytes. */
	ASSERT(arena.used <= 64 * length + 4096);
	buffer_done(&again);
	arena_done(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	size_t frame;
	struct error err = {0};
	while (peer_frame_bytes(bytes, length, &frame, &err) == 0 && frame && frame <= length) {
		check_frame(bytes, frame);
		bytes += frame;
		length -= frame;
	}
	check_frame(bytes, length);
	return 0;
}
