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

#endif
