/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of channel.h from hostile bytes, frame after frame, as the daemon would get them
 * from a process that was taken over: what is accepted, written again, is the same bytes; what is
 * refused has a sentence.
 */
#include "wire/channel.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check_frame(const uint8_t *frame, size_t length)
{
	struct arena arena;
	struct channel_message message;
	struct error err = {0};
	struct buffer again;
	arena_init(&arena, 0);
	buffer_init(&again, 0);
	int result = channel_decode(frame, length, &arena, &message, &err);
	if (result < 0) {
		ASSERT((result == -FL_EINVALID || result == -FL_EUNSUPPORTED) && *err.text);
	} else {
		ASSERT(channel_encode(&message, &again, &err) == 0);
		/* A block of a later level, which is passed over, may follow. */
		ASSERT(again.length <= length &&
		       memcmp(again.data + 4, frame + 4, again.length - 4) == 0);
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
	while (channel_frame_bytes(bytes, length, &frame, &err) == 0 && frame && frame <= length) {
		check_frame(bytes, frame);
		bytes += frame;
		length -= frame;
	}
	check_frame(bytes, length);
	return 0;
}
