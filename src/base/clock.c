/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static uint64_t read_ms(clockid_t id)
{
	struct timespec now;
	clock_gettime(id, &now);
	return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static uint64_t system_now_ms(void *context)
{
	(void)context;
	return read_ms(CLOCK_BOOTTIME);
}

static uint64_t system_wall_ms(void *context)
{
	(void)context;
	return read_ms(CLOCK_REALTIME);
}

const struct clock clock_system = {.now_ms = system_now_ms, .wall_ms = system_wall_ms};

uint64_t clock_now_ms(const struct clock *clock)
{
	return clock->now_ms(clock->context);
}

uint64_t clock_wall_ms(const struct clock *clock)
{
	return clock->wall_ms(clock->context);
}

void clock_format(uint64_t wall_ms, char *text, size_t size)
{
	time_t seconds = (time_t)(wall_ms / 1000u);
	struct tm parts;
	char date[24] = "";
	if (gmtime_r(&seconds, &parts))
		strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &parts);
	snprintf(text, size, "%s.%03uZ", date, (unsigned)(wall_ms % 1000u));
}
