/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Giving up rights, once and for good: a process that will read what strangers send it keeps its
 * descriptors and its memory, and can reach nothing else of the machine. Linux 6.1; what a kernel
 * lacks beyond that (Landlock) is left out.
 */
#ifndef FAIRLEAD_PEER_CONFINE_H
#define FAIRLEAD_PEER_CONFINE_H

#include "base/error.h"

struct peer_confinement {
	const char *user; /* becomes this user and its group, or else 65534 where there is none */
	unsigned files; /* most descriptors that it may have open */
	int kept_fd; /* the highest one that it keeps; every higher one is closed */
};

/*
 * In this order: close what is not kept; limits (descriptors, no core, no further process or
 * thread); folder `/`; no supplementary groups, no capability in any set, that user and group; no
 * privilege by exec; nobody of that user may trace it; no file of any kind can be opened
 * (Landlock); it dies with its parent `parent_pid`. A process that is not root skips what only root
 * can do, and has no rights to lose by it. After a failure the process must end.
 *
 * Before there is a second thread, and before a byte of the network was read.
 */
must_check int peer_confine(const struct peer_confinement *confinement, int parent_pid,
			    struct error *err);

#endif
