/* SPDX-License-Identifier: Apache-2.0 */
/* Standard output and standard error of the command line. */
#ifndef FAIRLEAD_CLI_OUTPUT_H
#define FAIRLEAD_CLI_OUTPUT_H

#include "base/buffer.h"
#include "base/error.h"
#include "control/command.h"

#include <stdbool.h>

/* Is standard output a terminal that shows colour, and are colours wanted? */
bool output_color(const struct invocation *invocation);

bool output_is_terminal(void);
/* Columns of the screen: $COLUMNS, otherwise the terminal's; 0: there is none. */
size_t output_width(void);

/* Write all of it to standard output. -EPIPE when nobody reads it, which is no failure of ours. */
must_check int output_write(const struct buffer *text, struct error *err);

/* To standard error, as it is. */
void output_message(const char *text);

/* With --exit-code a mistake in usage is a failure like any other. */
enum cli_exit {
	CLI_OK = 0,
	CLI_FAILURE = 1,
	CLI_USAGE = 2,
	CLI_DIFFERS = 2, /* --exit-code: something would change */
	CLI_TIMEOUT = 3, /* what --wait waits for did not come within --timeout */
	CLI_INTERRUPTED = 130, /* as shells have it for SIGINT, before it came */
};

/* What went wrong, to standard error, in the form that answers were asked for in; returns the exit
 * status. */
int output_error(const struct invocation *invocation, const struct error *err);

/*
 * Whoever starts us may have closed standard files, and the socket or the store that is opened
 * first would take their places. Opened for the other direction, they fail as closed ones do.
 */
void output_hold_standard_files(void);

#endif
