/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holder: the first process of a lab. It makes the room, the machines, the links and the processes,
 * says how that went, and then reaps what ends and answers what is asked at the door. It is the
 * first of the lab's PID namespace and the only owner of its mounts: when it ends, however it ends,
 * the kernel kills every process of the lab, and namespaces, mounts and pins go with them.
 */
#ifndef FAIRLEAD_LAB_HOLDER_H
#define FAIRLEAD_LAB_HOLDER_H

#include "base/error.h"
#include "lab/topology.h"

#include <stdbool.h>
#include <sys/types.h>

struct holder_order {
	const char *name;
	const char *file; /* the topology's absolute path; "-" when it came by standard input */
	const struct topology *topology;
	bool bare; /* start none of the processes */
	bool held; /* end with the calling process */
};

/*
 * Start a holder and wait until its lab is up; returns its process id, or the error that it met,
 * and then nothing is left of it. All of `order` must live as long as the caller.
 */
must_check int holder_start(const struct holder_order *order, pid_t *ret_pid, struct error *err);

#endif
