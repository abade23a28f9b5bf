/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/buffer.h"
#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum log_level least = LOG_LEVEL_INFO;

void log_set_level(enum log_level level)
{
	least = level;
}

static void put_value(struct buffer *line, const char *value)
{
	if (*value && !strpbrk(value, " \t\n\r\"=\\")) {
		buffer_puts(line, value);
		return;
	}
	buffer_putc(line, '"');
	for (; *value; value++) {
		if (*value == '\n') {
			buffer_puts(line, "\\n");
		} else if ((unsigned char)*value < 0x20) {
			buffer_printf(line, "\\x%02x", (unsigned char)*value);
		} else {
			if (*value == '"' || *value == '\\')
				buffer_putc(line, '\\');
			buffer_putc(line, *value);
		}
	}
	buffer_putc(line, '"');
}

static void put_head(struct buffer *line, enum log_level level)
{
	static const char *const names[] = {"DEBUG", "INFO", "WARNING", "ERROR"};
	static const int priorities[] = {7, 6, 4, 3};
	if (getenv("JOURNAL_STREAM")) {
		buffer_printf(line, "<%d>", priorities[level]);
		return;
	}
	char now[CLOCK_TEXT_BYTES];
	clock_format(clock_wall_ms(&clock_system), now, sizeof(now));
	buffer_printf(line, "%s %s ", now, names[level]);
}

void log_pairs(enum log_level level, const char *event, const char *const *pairs)
{
	if (level < least)
		return;

	struct buffer line;
	buffer_init(&line, 8192);
	put_head(&line, level);
	buffer_puts(&line, event);
	for (; *pairs; pairs += 2) {
		buffer_printf(&line, " %s=", pairs[0]);
		put_value(&line, pairs[1] ? pairs[1] : "");
	}
	buffer_putc(&line, '\n');

	/* A log that cannot be written must not stop the daemon: the result is unused on purpose.
	 */
	if (line.length && write(STDERR_FILENO, line.data, line.length) < 0)
		(void)0;
	buffer_done(&line);
}

void log_event(enum log_level level, const char *event, ...)
{
	const char *pairs[2 * LOG_MAX_PAIRS + 1];
	size_t count = 0;
	va_list arguments;
	va_start(arguments, event);
	const char *key;
	while (count + 2 < sizeof(pairs) / sizeof(pairs[0]) &&
	       (key = va_arg(arguments, const char *))) {
		pairs[count++] = key;
		pairs[count++] = va_arg(arguments, const char *);
	}
	va_end(arguments);
	pairs[count] = NULL;
	log_pairs(level, event, pairs);
}
