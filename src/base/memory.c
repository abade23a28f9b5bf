/* SPDX-License-Identifier: Apache-2.0 */
#include "base/memory.h"

#include <stdatomic.h>
#include <stdlib.h>

static atomic_ulong failures;

void *memory_alloc(size_t size)
{
	void *block = malloc(size);
	if (!block)
		atomic_fetch_add(&failures, 1);
	return block;
}

unsigned long memory_failures(void)
{
	return atomic_load(&failures);
}
