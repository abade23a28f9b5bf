/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for libraries that do not tell when they had none: jansson, short of memory, leaves a byte
 * out of a text or a member out of an object, and goes on. Give it memory_alloc(); then whoever
 * reads or builds JSON compares memory_failures() before and after, and knows. Any thread.
 */
#ifndef FAIRLEAD_BASE_MEMORY_H
#define FAIRLEAD_BASE_MEMORY_H

#include <stddef.h>

/* malloc(), counting its failures; free() gives it back. */
void *memory_alloc(size_t size);

unsigned long memory_failures(void);

/*
 * Around json_loadb(), in one thread: after one failure memory_alloc() gives nothing more. Among
 * the bytes that jansson leaves out may be the quote that ends a text; it would then copy beyond
 * the text's end up to whatever looks like a quote (lex_scan_string() of 2.14), into a block that
 * it asks for in between.
 */
void memory_parser_begin(void);
void memory_parser_end(void);

#endif
