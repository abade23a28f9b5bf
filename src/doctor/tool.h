/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program of this machine prints, read without a shell between. One thread.
 */
#ifndef FAIRLEAD_DOCTOR_TOOL_H
#define FAIRLEAD_DOCTOR_TOOL_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

struct tool {
	FILE *output; /* NULL: it could not be started */
	bool missing; /* since there is no such program */
	pid_t pid;
};

/* Start `argv[0]`, found by $PATH, with nothing to read and its complaints thrown away; `argv` ends
 * with NULL. */
struct tool tool_open(const char *const argv[]);

/* Waits for its end; whether it ended well. */
bool tool_close(struct tool *tool);

#endif
