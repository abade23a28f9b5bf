/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `fairlead lab …`: a network of namespaces on this computer, made from a topology file, to try
 * things in. The verbs of a person's side; what they act on is a holder process (holder.h).
 */
#ifndef FAIRLEAD_LAB_LAB_H
#define FAIRLEAD_LAB_LAB_H

#include "control/command.h"

/* Carry out a command whose place is COMMAND_LAB and return the exit code; that of `lab exec` is
 * the one of the command that it ran. The process has one thread, and ends soon. */
int lab_main(const struct invocation *invocation);

#endif
