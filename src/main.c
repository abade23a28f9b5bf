/* SPDX-License-Identifier: Apache-2.0 */
/* One program: `run` makes it the daemon, `detach` undoes what `run` pinned, `lab …` makes a
 * network to try it in, the rest is the CLI.
 */
#include "base/arena.h"
#include "base/error.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "control/command.h"
#include "daemon/daemon.h"
#include "daemon/options.h"
#include "dataplane/edge.h"
#include "lab/lab.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * Whoever starts us may have closed standard files, and the socket or the store that is opened
 * first would take their places. Opened for the other direction, they fail as closed ones do.
 */
static void fill_standard_files(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			(void)open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY);
	}
}

static int print_failure(const struct error *err, int result)
{
	fprintf(stderr, "fairlead: %s\n", *err->text ? err->text : error_text(result));
	return result == -FL_EUSAGE ? 2 : 1;
}

static int run(const struct invocation *invocation)
{
	struct arena arena;
	struct daemon_options options;
	struct error err = {0};
	arena_init(&arena, 0);
	int result = daemon_options_parse(invocation->parameters, &arena, &options, &err);
	if (result == 0)
		result =
		    options.backend ? landing_node_run(&options, &err) : daemon_run(&options, &err);
	arena_done(&arena);
	return result < 0 ? print_failure(&err, result) : 0;
}

static int detach(const struct invocation *invocation)
{
	struct error err = {0};
	int result = daemon_detach(invocation->parameters, &err);
	return result < 0 ? print_failure(&err, result) : 0;
}

static int print_help(const struct invocation *invocation)
{
	struct buffer text;
	buffer_init(&text, 0);
	if (!invocation->group || !command_group_help(invocation->group, &text))
		command_help(invocation->command, invocation->topic, &text);
	struct error err = {0};
	int result = output_write(&text, &err);
	buffer_done(&text);
	return result < 0 ? print_failure(&err, result) : 0;
}

int main(int argc, char **argv)
{
	struct invocation invocation;
	struct error err = {0};
	int status;
	fill_standard_files();
	memory_end_without_json();
	int result = command_parse(argc, argv, &invocation, &err);
	if (result < 0)
		status = print_failure(&err, result);
	else if (invocation.help)
		status = print_help(&invocation);
	else if (invocation.version)
		status = printf("fairlead %s\n", FAIRLEAD_VERSION) < 0;
	else if (invocation.command->place == COMMAND_RUN)
		status = run(&invocation);
	else if (invocation.command->place == COMMAND_LAB)
		status = lab_main(&invocation);
	else if (strcmp(invocation.command->name, "detach") == 0)
		status = detach(&invocation);
	else
		status = cli_main(&invocation);
	invocation_done(&invocation);
	return status;
}
