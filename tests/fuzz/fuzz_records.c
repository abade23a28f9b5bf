/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a record of the store; the first byte says of which kind. They are refused as
 * corrupt or of a higher level, with a sentence; otherwise what they say can be written, and is
 * then read as the same: the second writing gives the first one's bytes.
 */
#include "base/buffer.h"
#include "state/config_records.h"
#include "state/placement_records.h"
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

/* The first release's: read, and never written. */
static int rewrite_old_placement(const char *bytes, size_t length, struct buffer *text,
				 struct error *err)
{
	struct arena arena;
	struct placement *placement;
	arena_init(&arena, 0);
	int result = old_placement_parse(bytes, length, &arena, &placement, err);
	if (result == 0)
		buffer_append(text, bytes, length);
	arena_done(&arena);
	return result;
}

static int rewrite_placed_pool(const char *bytes, size_t length, struct buffer *text,
			       struct error *err)
{
	struct placed_pool_record pool;
	int result = placed_pool_parse(bytes, length, &pool, err);
	if (result == 0)
		ASSERT(placed_pool_put(&pool, text) == 0);
	return result;
}

static int rewrite_placed_site(const char *bytes, size_t length, struct buffer *text,
			       struct error *err)
{
	char name[MODEL_NAME_BYTES];
	int result = placed_site_parse(bytes, length, name, err);
	if (result == 0)
		ASSERT(placed_site_put(name, text) == 0);
	return result;
}

static int rewrite_slot(const char *bytes, size_t length, struct buffer *text, struct error *err)
{
	struct freed_slot_record slot;
	int result = freed_slot_parse(bytes, length, &slot, err);
	if (result == 0)
		ASSERT(freed_slot_put(&slot, text) == 0);
	return result;
}

static int rewrite_names(const char *bytes, size_t length, struct buffer *text, struct error *err)
{
	struct arena arena;
	struct fabric fabric = {0};
	arena_init(&arena, 0);
	int result = config_fabric_parse(bytes, length, &arena, &fabric, err);
	if (result == 0)
		ASSERT(config_fabric_put(&fabric, text) == 0);
	arena_done(&arena);
	return result;
}

static int rewrite_setting(const char *bytes, size_t length, struct buffer *text, struct error *err)
{
	uint64_t ms;
	int result = config_setting_parse(bytes, length, &ms, err);
	if (result == 0)
		ASSERT(config_setting_put(ms, text) == 0);
	return result;
}

static int rewrite_pool(const char *bytes, size_t length, struct buffer *text, struct error *err)
{
	struct pool pool;
	int result = config_pool_parse(bytes, length, &pool, err);
	if (result == 0)
		ASSERT(config_pool_put(&pool, text) == 0);
	return result;
}

static int rewrite_site(const char *bytes, size_t length, struct buffer *text, struct error *err)
{
	struct arena arena;
	struct site site;
	arena_init(&arena, 0);
	int result = config_site_parse(bytes, length, "fra", &arena, &site, err);
	if (result == 0)
		ASSERT(config_site_put(&site, text) == 0);
	arena_done(&arena);
	return result;
}

static int rewrite_config(const char *bytes, size_t length, struct buffer *text, struct error *err)
{
	struct arena arena;
	struct service service;
	arena_init(&arena, 0);
	int result = config_service_parse(bytes, length, "web", &arena, &service, err);
	if (result == 0)
		ASSERT(config_service_put(&service, text) == 0);
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
		bool is_higher = result == -FL_EUNSUPPORTED && record_level(bytes, length) > 1;
		ASSERT((result == -FL_ECORRUPT || is_higher) && err.code == result && *err.text);
	}
	buffer_done(&first);
	buffer_done(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static const struct {
		uint8_t kind;
		rewrite_fn rewrite;
	} kinds[] = {
	    {'s', rewrite_service},     {'p', rewrite_old_placement}, {'v', rewrite_version},
	    {'n', rewrite_placed_pool}, {'m', rewrite_placed_site},   {'l', rewrite_slot},
	    {'f', rewrite_names},       {'t', rewrite_setting},       {'o', rewrite_pool},
	    {'i', rewrite_site},        {'c', rewrite_config}};
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
