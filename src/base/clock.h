/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time, passed in wherever it is used, so that a simulator can own it.
 * Durations and deadlines use `now_ms` (never goes back); what people read uses `wall_ms`.
 */
#ifndef FAIRLEAD_BASE_CLOCK_H
#define FAIRLEAD_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

struct clock {
	uint64_t (*now_ms)(void *context); /* CLOCK_BOOTTIME: counts while the machine sleeps */
	uint64_t (*wall_ms)(void *context); /* milliseconds since 1970-01-01T00:00:00Z */
	void *context;
};

/* The machine's clock. Any thread. */
extern const struct clock clock_system;

uint64_t clock_now_ms(const struct clock *clock);
uint64_t clock_wall_ms(const struct clock *clock);

/* "2026-11-22T07:31:04.123Z" into `text`, which holds at least CLOCK_TEXT_BYTES. */
#define CLOCK_TEXT_BYTES 32
void clock_format(uint64_t wall_ms, char *text, size_t size);

#endif
