/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void memory_end(void)
{
	static const char text[] = "fairlead: out of memory\n";
	ssize_t written = write(STDERR_FILENO, text, strlen(text));
	(void)written;
	_exit(EXIT_FAILURE);
}

void *must_have(void *block)
{
	if (!block)
		memory_end();
	return block;
}

void *must_alloc(size_t count, size_t size)
{
	return must_have(calloc(count, size));
}

void *must_grow(void *block, size_t count, size_t size)
{
	return must_have(reallocarray(block, count, size));
}

int must_succeed(int result)
{
	if (result == -ENOMEM)
		memory_end();
	return result;
}

static void *alloc_for_json(size_t size)
{
	return must_have(malloc(size));
}

void memory_end_without_json(void)
{
	json_set_alloc_funcs(alloc_for_json, free);
}
