/* SPDX-License-Identifier: Apache-2.0 */
#include "failing_memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *block, size_t size);
void *__real_reallocarray(void *block, size_t count, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *block, size_t size);
void *__wrap_reallocarray(void *block, size_t count, size_t size);
char *__wrap_strdup(const char *text);
int __wrap_asprintf(char **ret_text, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What asprintf() is called where the compiler fortifies it. */
int __wrap___asprintf_chk(char **ret_text, int flag, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define MOST_ALLOCATIONS 200000u

static struct {
	bool armed;
	bool from_here; /* every one after the first that fails */
	bool paused;
	unsigned left; /* that succeed */
	unsigned failures;
} memory;

static bool must_fail(void)
{
	if (!memory.armed || memory.paused)
		return false;
	if (memory.left > 0) {
		memory.left--;
		return false;
	}
	if (memory.failures && !memory.from_here)
		return false;
	memory.failures++;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return must_fail() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return must_fail() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *block, size_t size)
{
	return must_fail() ? NULL : __real_realloc(block, size);
}

void *__wrap_reallocarray(void *block, size_t count, size_t size)
{
	return must_fail() ? NULL : __real_reallocarray(block, count, size);
}

char *__wrap_strdup(const char *text)
{
	return must_fail() ? NULL : __real_strdup(text);
}

int __wrap_asprintf(char **ret_text, const char *format, ...)
{
	if (must_fail())
		return -1;
	va_list arguments;
	va_start(arguments, format);
	int length = vasprintf(ret_text, format, arguments);
	va_end(arguments);
	return length;
}

int __wrap___asprintf_chk(char **ret_text, int flag, const char *format, ...)
{
	(void)flag;
	if (must_fail())
		return -1;
	va_list arguments;
	va_start(arguments, format);
	int length = vasprintf(ret_text, format, arguments);
	va_end(arguments);
	return length;
}

/* --- SQLite: its own way of knowing how large a block is --- */

static sqlite3_mem_methods sqlite_memory;

static void *sqlite_malloc(int size)
{
	return must_fail() ? NULL : sqlite_memory.xMalloc(size);
}

static void *sqlite_realloc(void *block, int size)
{
	return must_fail() ? NULL : sqlite_memory.xRealloc(block, size);
}

int failing_memory_setup(void **state)
{
	(void)state;
	/* Freed memory would be reused without being asked for. */
	if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &sqlite_memory) != SQLITE_OK ||
	    sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0) != SQLITE_OK)
		return -1;
	sqlite3_mem_methods failing = sqlite_memory;
	failing.xMalloc = sqlite_malloc;
	failing.xRealloc = sqlite_realloc;
	return sqlite3_config(SQLITE_CONFIG_MALLOC, &failing) == SQLITE_OK ? 0 : -1;
}

void failing_memory_pause(void)
{
	memory.paused = true;
}

void failing_memory_go_on(void)
{
	memory.paused = false;
}

static int run(int (*step)(void *context), void *context, unsigned succeed, bool from_here)
{
	memory.armed = true;
	memory.paused = false;
	memory.from_here = from_here;
	memory.left = succeed;
	memory.failures = 0;
	int result = step(context);
	memory.armed = false;
	return result;
}

static unsigned each(const char *name, int (*step)(void *context), void *context, bool from_here,
		     bool or_less)
{
	for (unsigned n = 0; n < MOST_ALLOCATIONS; n++) {
		int result = run(step, context, n, from_here);
		if (!memory.failures) {
			if (result != 0)
				fail_msg("%s: %d with all the memory there is", name, result);
			return n;
		}
		if (result != -ENOMEM && !(or_less && result == 0))
			fail_msg("%s: %d when allocation %u%s fails", name, result, n + 1,
				 from_here ? " and all after it" : "");
	}
	fail_msg("%s: never ends", name);
	return 0;
}

static void each_both(const char *name, int (*step)(void *context), void *context, unsigned least,
		      bool or_less)
{
	unsigned count = each(name, step, context, false, or_less);
	each(name, step, context, true, or_less);
	if (count < least)
		fail_msg("%s: only %u allocations, not %u", name, count, least);
}

void failing_memory_each(const char *name, int (*step)(void *context), void *context,
			 unsigned least)
{
	each_both(name, step, context, least, false);
}

void failing_memory_each_or_less(const char *name, int (*step)(void *context), void *context,
				 unsigned least)
{
	each_both(name, step, context, least, true);
}
