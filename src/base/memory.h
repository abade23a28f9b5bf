/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of programs that would rather end than go on without: the daemon, the command line, the
 * lab. A restart loses nothing, and what only they do needs no way back. What returns -ENOMEM in
 * the house is for code that is used elsewhere, too; these turn it into the end by must_succeed().
 *
 * jansson, short of memory, leaves a byte out of a text or a member out of an object, and says
 * nothing of it; so it is told to end the program, too, and whoever reads or builds JSON need not
 * think of memory. Any thread.
 */
#ifndef FAIRLEAD_BASE_MEMORY_H
#define FAIRLEAD_BASE_MEMORY_H

#include <stddef.h>

/* Say that there is no memory left, and exit as any failure does. */
__attribute__((noreturn)) void memory_end(void);

/* malloc() of `count` times `size` bytes, all zero; free() gives it back. */
void *must_alloc(size_t count, size_t size);

/* reallocarray(). */
void *must_grow(void *block, size_t count, size_t size);

/* What was just allocated otherwise, by an arena for instance; NULL ends the program. */
void *must_have(void *block);

/* -ENOMEM ends the program; any other result is returned. */
int must_succeed(int result);

/* Before the first JSON. */
void memory_end_without_json(void);

#endif
