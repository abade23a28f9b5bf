/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for rollouts to end: until the new version has all clients, and with --retired until no
 * older one drains or closes. Ends before that when the version is superseded, when --timeout is
 * over, and on an interrupt; the rollout goes on all the same, and what ended the waiting is said.
 */
#ifndef FAIRLEAD_CLI_ROLLOUTS_H
#define FAIRLEAD_CLI_ROLLOUTS_H

#include "cli/wait.h"
#include "control/command.h"

/* Wait for the rollouts that `answer` to the invocation's command tells of. Returns the exit status
 * (enum cli_exit). */
int rollouts_wait(const struct invocation *invocation, const char *socket, const json_t *answer,
		  struct wait *wait, int interrupt_fd);

#endif
