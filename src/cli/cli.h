/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's side of the command line: reads the files that a command names, asks the daemon on
 * its local socket, prints the answer. Data goes to standard output, messages to standard error.
 * `validate` needs no daemon and is done here.
 */
#ifndef FAIRLEAD_CLI_CLI_H
#define FAIRLEAD_CLI_CLI_H

#include "control/command.h"

/*
 * Carry out `invocation`, whose command is `validate` or one for the daemon, and return the exit
 * code. Main thread only: it takes over SIGINT, SIGTERM and SIGPIPE until the process ends.
 */
int cli_main(const struct invocation *invocation);

#endif
