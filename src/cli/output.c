/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"

#include "base/memory.h"
#include "control/render.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool output_is_terminal(void)
{
	return isatty(STDOUT_FILENO) == 1;
}

size_t output_width(void)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size;
	unsigned long number = columns ? strtoul(columns, NULL, 10) : 0;
	if (number >= 20 && number <= 1000)
		return number;
	return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20 ? size.ws_col : 0;
}

bool output_color(const struct invocation *invocation)
{
	const char *terminal = getenv("TERM");
	return !invocation->no_color && output_is_terminal() && terminal &&
	       strcmp(terminal, "dumb") != 0;
}

int output_write(const struct buffer *text, struct error *err)
{
	size_t done = 0;
	must_succeed(text->status);
	while (done < text->length) {
		ssize_t put = write(STDOUT_FILENO, text->data + done, text->length - done);
		if (put < 0 && errno == EINTR)
			continue;
		if (put < 0)
			return error_set(err, -errno, "cannot write the answer: %s",
					 error_text(-errno));
		done += (size_t)put;
	}
	return 0;
}

int output_error(const struct invocation *invocation, const struct error *err)
{
	struct buffer text;
	buffer_init(&text, 0);
	render_error(invocation, err, &text);
	must_succeed(text.status);
	output_message(text.data);
	buffer_done(&text);
	return err->code == -FL_EUSAGE && !invocation->exit_code ? CLI_USAGE : CLI_FAILURE;
}

void output_message(const char *text)
{
	fputs(text, stderr);
}

void output_hold_standard_files(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			(void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
	}
}
