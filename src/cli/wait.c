/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/wait.h"

#include "base/clock.h"
#include "base/text.h"
#include "cli/output.h"
#include "control/screen.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_WIDTH 80u

/* To the first column, then clear to the end of the line (ECMA-48 EL). */
#define REDRAW_LINE "\r\x1b[K"

static bool take_flag(json_t *parameters, const char *key)
{
	bool given = json_is_true(json_object_get(parameters, key));
	json_object_del(parameters, key);
	return given;
}

int wait_read(json_t *parameters, struct wait *ret_wait, struct error *err)
{
	struct wait wait = {.begin_ms = clock_now_ms(&clock_system)};
	const char *timeout = json_string_value(json_object_get(parameters, "timeout"));
	const char *wrong = timeout ? text_parse_duration(timeout, &wait.timeout_ms) : NULL;
	if (wrong)
		return error_set(err, -FL_EUSAGE, "--timeout: \"%s\" is not a duration: %s",
				 timeout, wrong);
	if (timeout && !wait.timeout_ms)
		return error_set(err, -FL_EUSAGE, "--timeout: there is no time in \"%s\"", timeout);
	bool unwished = take_flag(parameters, "no_wait");
	wait.retired = take_flag(parameters, "retired");
	wait.rollouts = take_flag(parameters, "wait") || wait.retired || timeout;
	json_object_del(parameters, "timeout");
	if (unwished && wait.rollouts)
		return error_set(err, -FL_EUSAGE, "--no-wait and --wait contradict each other");
	wait.slots = wait.rollouts || (!unwished && output_is_terminal());
	*ret_wait = wait;
	return 0;
}

static void put_line(struct wait *wait, const char *text)
{
	char line[sizeof(wait->said) + 64];
	size_t width = output_width() ? output_width() : DEFAULT_WIDTH;
	snprintf(line, sizeof(line), "waiting: %s", text);
	bool is_cut = screen_width(line) >= width;
	fprintf(stderr, REDRAW_LINE "%.*s%s", (int)screen_head(line, width - 2), line,
		is_cut ? "…" : "");
	wait->has_line = true;
}

void wait_say(struct wait *wait, const char *text, const char *live)
{
	char line[sizeof(wait->said) + 32];
	if (wait->is_quiet)
		return;
	if (isatty(STDERR_FILENO)) {
		put_line(wait, live ? live : text);
		return;
	}
	if (strncmp(wait->said, text, sizeof(wait->said) - 1) == 0)
		return;
	snprintf(wait->said, sizeof(wait->said), "%s", text);
	snprintf(line, sizeof(line), "fairlead: waiting: %s\n", wait->said);
	output_message(line);
}

void wait_clear(struct wait *wait)
{
	if (wait->has_line)
		output_message(REDRAW_LINE);
	wait->has_line = false;
}

bool wait_is_over(const struct wait *wait)
{
	return wait->timeout_ms && clock_now_ms(&clock_system) - wait->begin_ms >= wait->timeout_ms;
}

bool wait_pause(int interrupt_fd)
{
	struct pollfd interrupt = {.fd = interrupt_fd, .events = POLLIN};
	return poll(&interrupt, 1, WAIT_INTERVAL_MS) > 0;
}
