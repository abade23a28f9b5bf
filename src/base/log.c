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

void log_event(enum log_level level, const char *event, ...)
{
	if (level < least)
		return;

	struct buffer line;
	buffer_init(&line, 8192);
	put_head(&line, level);
	buffer_puts(&line, event);

	va_list pairs;
	va_start(pairs, event);
	const char *key;
	while ((key = va_arg(pairs, const char *))) {
		const char *value = va_arg(pairs, const char *);
		buffer_printf(&line, " %s=", key);
		put_value(&line, value ? value : "");
	}
	va_end(pairs);
	buffer_putc(&line, '\n');

	/* A log that cannot be written must not stop the daemon: the result is unused on purpose.
	 */
	if (line.length && write(STDERR_FILENO, line.data, line.length) < 0)
		(void)0;
	buffer_done(&line);
}
