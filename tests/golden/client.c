/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's side of `fairlead` alone: parse, help, ask, print. The golden tests drive it against
 * a daemon that says what they want, so no node is needed to see every answer.
 */
#include "cli/cli.h"

#include <stdio.h>

static int run(int argc, char **argv, struct invocation *invocation)
{
	struct error err = {0};
	if (command_parse(argc, argv, invocation, &err) < 0)
		return cli_fail(&err);
	if (!invocation->help)
		return cli_main(invocation);
	struct buffer text;
	buffer_init(&text, 0);
	command_help(invocation->command, &text);
	fputs(text.data, stdout);
	buffer_done(&text);
	return CLI_OK;
}

int main(int argc, char **argv)
{
	struct invocation invocation;
	int result = run(argc, argv, &invocation);
	invocation_done(&invocation);
	return result;
}
