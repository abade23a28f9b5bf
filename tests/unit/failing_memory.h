/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that runs out where a test wants it: every allocation of a step fails in turn.
 *
 * The linker passes the house's calls of malloc, calloc, realloc, strdup and asprintf through here
 * (--wrap), and SQLite is told to allocate here; libc's own and other libraries' allocations are
 * not touched. What is given back goes to the real allocator at once, so that the
 * sanitizer build finds what a failure left behind.
 */
#ifndef FAIRLEAD_TESTS_FAILING_MEMORY_H
#define FAIRLEAD_TESTS_FAILING_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* Before anything allocates through SQLite. A cmocka group set-up. */
int failing_memory_setup(void **state);

/*
 * Runs `step` with its first allocation failing, then with its second, … and each of these once
 * with that failure alone and once with every later one failing as well, until it needs no more.
 * The step returns -ENOMEM for each failure and 0 otherwise; it leaves everything as it was either
 * way, which it asserts. `least` is how many allocations the step has at least: so that one which
 * is not reached does not pass.
 */
void failing_memory_each(const char *name, int (*step)(void *context), void *context,
			 unsigned least);

/* The same where a failure may cost something that can be done without: the step's result is then
 * 0 all the same, and it asserts itself what it may lack. */
void failing_memory_each_or_less(const char *name, int (*step)(void *context), void *context,
				 unsigned least);

/* While a step asserts or prepares, nothing fails. */
void failing_memory_pause(void);
void failing_memory_go_on(void);

#endif
