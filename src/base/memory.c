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

json_t *memory_json_loadb(const char *bytes, size_t length, size_t flags, json_error_t *ret_fault)
{
	parsing = true;
	json_t *json = json_loadb(bytes, length, flags, ret_fault);
	parsing = false;
	parser_failed = false;
	return json;
}

unsigned long memory_failures(void)
{
	return atomic_load(&failures);
}
