/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arena: many small allocations that die together, one per request or configuration generation.
 * Memory is zeroed and aligned for any type. Nothing is freed singly. Not thread-safe: one owner.
 */
#ifndef FAIRLEAD_BASE_ARENA_H
#define FAIRLEAD_BASE_ARENA_H

#include <stddef.h>

struct arena_block;

struct arena {
	struct arena_block *blocks;
	size_t used; /* bytes handed out, for limits and tests */
	size_t limit; /* bytes; 0 means none */
};

/* `limit` in bytes bounds what an input can make us allocate; 0 means none. */
void arena_init(struct arena *arena, size_t limit);
void arena_done(struct arena *arena);

/* NULL when out of memory or over the limit. What arena_alloc() gives is all zero; arena_space() is
 * for whoever writes every byte of much. */
void *arena_space(struct arena *arena, size_t size);
void *arena_alloc(struct arena *arena, size_t size);
void *arena_array(struct arena *arena, size_t count, size_t size);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t length);
char *arena_printf(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
