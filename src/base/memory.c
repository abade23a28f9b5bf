/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

static atomic_ulong failures;
static _Thread_local bool parsing;
static _Thread_local bool parser_failed;

void *memory_alloc(size_t size)
{
	void *block = parser_failed ? NULL : malloc(size);
	if (!block) {
		atomic_fetch_add(&failures, 1);
		parser_failed = parsing;
	}
	return block;
}

void memory_parser_begin(void)
{
	parsing = true;
}

void memory_parser_end(void)
{
	parsing = false;
	parser_failed = false;
}

unsigned long memory_failures(void)
{
	return atomic_load(&failures);
}
