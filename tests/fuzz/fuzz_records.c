/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a record of the store; the first byte says of which kind. They are refused as
 * corrupt, with a sentence, or what they say can be written, and is then read as the same: the
 * second writing gives the first one's bytes.
 */
#include "base/buffer.h"
#include "state/records.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* Read `bytes`, and write what they say; -FL_ECORRUPT if they say nothing. */
typedef int (*rewrite_fn)(const char *bytes, size_t length, struct buffer *text, struct error *err);

static int rewrite_service(const char *bytes, size_t length, struct buffer *text, struct error *err)
{
	struct arena arena;
	struct service_state *state;
	arena_init(&arena, 0);
	int result = record_service_parse(bytes, length, &arena, &state, err);
	if (result == 0)
		ASSERT(record_service_put(state, text) == 0);
	arena_done(&arena);
	return result;
}

static int rewrite_placement(const char *bytes, size_t length, struct buffer *text,
			     struct error *err)
{
	struct arena arena;
	struct placement *placement;
	arena_init(&arena, 0);
	int result = record_placement_parse(bytes, length, &arena, &placement, err);
	if (result == 0)
		ASSERT(record_placement_put(placement, text) == 0);
	arena_done(&arena);
	return result;
}

/* Its bytes are what a digest covers, so that they are not only equivalent but the same. */
static int rewrite_version(const char *bytes, size_t length, struct buffer *text, struct error *err)
{
	struct arena arena;
	struct version *version;
	arena_init(&arena, 0);
	int result = record_version_parse(bytes, length, &arena, &version, err);
	if (result == 0) {
		ASSERT(record_version_put(version, text) == 0);
		ASSERT(text->length == length && memcmp(text->data, bytes, length) == 0);
	}
	arena_done(&arena);
	return result;
}

static void check(rewrite_fn rewrite, const char *bytes, size_t length)
{
	struct buffer first, second;
	struct error err = {0};
	buffer_init(&first, 0);
	buffer_init(&second, 0);
	int result = rewrite(bytes, length, &first, &err);
	if (result == 0) {
		ASSERT(rewrite(first.data, first.length, &second, NULL) == 0);
		ASSERT(first.length == second.length);
		ASSERT(memcmp(first.data, second.data, first.length) == 0);
	} else {
		ASSERT(result == -FL_ECORRUPT && err.code == result && *err.text);
	}
	buffer_done(&first);
	buffer_done(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static const struct {
		uint8_t kind;
		rewrite_fn rewrite;
	} kinds[] = {{'s', rewrite_service}, {'p', rewrite_placement}, {'v', rewrite_version}};
	/* Exactly as long as they are, so that the sanitizer sees one byte too far. */
	char *copy = malloc(length ? length : 1);
	if (length == 0 || !copy) {
		free(copy);
		return -1;
	}
	memcpy(copy, bytes + 1, length - 1);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (kinds[i].kind == bytes[0])
			check(kinds[i].rewrite, copy, length - 1);
	}
	free(copy);
	return 0;
}
