/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"

#include "base/memory.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool output_is_terminal(void)
{
	return isatty(STDOUT_FILENO) == 1;
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
