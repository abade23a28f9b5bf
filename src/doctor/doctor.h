/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `fairlead doctor`: what on this machine is not as Fairlead needs it. The command looks for
 * itself, in its own process, so that it works while no daemon runs and holds none up; what only
 * the daemon knows it asks of the local API (the verb `doctor`, answered on the spot), and what
 * only the voter knows by `status`.
 *
 * Nothing is changed. What cannot be looked at is told as *not known*, never as fine.
 */
#ifndef FAIRLEAD_DOCTOR_DOCTOR_H
#define FAIRLEAD_DOCTOR_DOCTOR_H

#include "control/command.h"

#include <jansson.h>

/* `parameters` are the invocation's with those of the node's file. The folders are those that a
 * daemon of these parameters has. Prints; returns the exit status: 1 if a finding is an error. */
struct doctor_folders {
	const char *state;
	const char *edge_pins;
	const char *landing_pins;
};

int doctor_main(const struct invocation *invocation, const json_t *parameters,
		const struct doctor_folders *folders);

#endif
