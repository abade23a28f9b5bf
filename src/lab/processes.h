/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes: what a topology runs on its machines. Each is a command as a shell reads it, run in
 * the machine, in the folder that the topology file lies in, with a log of its name below
 * ROOM_LOGS. They are children of the lab's first process, which also reaps whatever else ends in
 * the lab.
 */
#ifndef FAIRLEAD_LAB_PROCESSES_H
#define FAIRLEAD_LAB_PROCESSES_H

#include "base/error.h"
#include "lab/topology.h"

#include <stdbool.h>
#include <sys/types.h>

#define PROCESS_READY_MS 15000u /* the longest that one may take until it is ready */

struct lab_process {
	const struct topology_machine *machine;
	const struct topology_process *process;
	pid_t pid; /* as the lab sees it */
	bool ended;
	int status; /* as wait(2) gives it, once ended */
};

struct processes {
	const char *lab; /* borrowed */
	struct lab_process *items; /* owned */
	size_t count;
};

void processes_init(struct processes *processes, const char *lab, const struct topology *topology);

/* Start all of them, then wait until each is ready, or, without `ready`, is the command. An error
 * shows the end of the log of the one that died, failed by then, or took too long. */
must_check int processes_start(struct processes *processes, struct error *err);

/* Note that a child ended. */
void processes_child_ended(struct processes *processes, pid_t pid, int status);

/* "running", "exit code 1", "killed by signal 9"; `text` holds PROCESS_STATE_BYTES. */
#define PROCESS_STATE_BYTES 48
const char *process_state(const struct lab_process *process, char *text);

#endif
