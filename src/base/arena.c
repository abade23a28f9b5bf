/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Blocks grow with the arena: many hold next to nothing, and a few hold much. */
#define LEAST_BLOCK_BYTES 512u
#define BLOCK_BYTES 16384u

struct arena_block {
	struct arena_block *next;
	size_t size;
	size_t used;
	alignas(max_align_t) unsigned char data[];
};

void arena_init(struct arena *arena, size_t limit)
{
	*arena = (struct arena){.limit = limit};
}

void arena_done(struct arena *arena)
{
	struct arena_block *block = arena->blocks;
	while (block) {
		struct arena_block *next = block->next;
		free(block);
		block = next;
	}
	*arena = (struct arena){.limit = arena->limit};
}

static struct arena_block *block_new(size_t size)
{
	struct arena_block *block = malloc(sizeof(*block) + size);
	if (block) {
		block->next = NULL;
		block->size = size;
		block->used = 0;
	}
	return block;
}

static size_t block_size(const struct arena *arena, size_t size)
{
	size_t wish = arena->used < LEAST_BLOCK_BYTES ? LEAST_BLOCK_BYTES : arena->used;
	wish = wish < BLOCK_BYTES ? wish : BLOCK_BYTES;
	return size > wish ? size : wish;
}

void *arena_space(struct arena *arena, size_t size)
{
	const size_t align = alignof(max_align_t);
	if (size > SIZE_MAX / 2)
		return NULL;
	size = (size + align - 1) & ~(align - 1);
	if (arena->limit && size > arena->limit - arena->used)
		return NULL;

	struct arena_block *block = arena->blocks;
	if (!block || size > block->size - block->used) {
		block = block_new(block_size(arena, size));
		if (!block)
			return NULL;
		block->next = arena->blocks;
		arena->blocks = block;
	}
	void *memory = block->data + block->used;
	block->used += size;
	arena->used += size;
	return memory;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	void *memory = arena_space(arena, size);
	return memory ? memset(memory, 0, size) : NULL;
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
	if (size && count > SIZE_MAX / size)
		return NULL;
	return arena_alloc(arena, count * size);
}

char *arena_strndup(struct arena *arena, const char *text, size_t length)
{
	char *copy = length < SIZE_MAX ? arena_space(arena, length + 1) : NULL;
	if (!copy)
		return NULL;
	memcpy(copy, text, length);
	copy[length] = '\0';
	return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
	return arena_strndup(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	int length = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	if (length < 0)
		return NULL;

	char *text = arena_alloc(arena, (size_t)length + 1);
	if (!text)
		return NULL;
	va_start(arguments, format);
	vsnprintf(text, (size_t)length + 1, format, arguments);
	va_end(arguments);
	return text;
}
