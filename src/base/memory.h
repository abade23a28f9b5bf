/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for libraries that do not tell when they had none: jansson, short of memory, leaves a byte
 * out of a text or a member out of an object, and goes on. Give it memory_alloc(); then whoever
 * reads or builds JSON compares memory_failures() before and after, and knows. Any thread.
 */
#ifndef FAIRLEAD_BASE_MEMORY_H
#define FAIRLEAD_BASE_MEMORY_H

#include <jansson.h>
#include <stddef.h>

/* malloc(), counting its failures; free() gives it back. */
void *memory_alloc(size_t size);

unsigned long memory_failures(void);

/*
 * json_loadb(), to which memory_alloc() gives nothing more after one failure: among the bytes that
 * jansson leaves out may be the quote that ends a text; it would then copy beyond the text's end up
 * to whatever looks like a quote (lex_scan_string() of 2.14), into a block that it asks for in
 * between.
 */
json_t *memory_json_loadb(const char *bytes, size_t length, size_t flags, json_error_t *ret_fault);

#endif
