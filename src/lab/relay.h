/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Relay: a shaped link. Its two ends are TAP interfaces, and one process carries frames between
 * them through a shaper for either direction; the kernels that netem was left out of do not matter.
 * The link ends with the process, as a cable does when it is cut. TAP interfaces run XDP natively
 * and take frames by XDP redirect, so they stand where veth ends would.
 */
#ifndef FAIRLEAD_LAB_RELAY_H
#define FAIRLEAD_LAB_RELAY_H

#include "base/error.h"
#include "lab/shaper.h"
#include "lab/topology.h"

#include <sys/types.h>

/* What a relay counts, by the end that the frames leave; shared with its parent. */
struct relay_counts {
	struct shaper_counts sides[LINK_SIDES];
};

/* Open a TAP interface of this name in the calling thread's network namespace. It goes when the
 * descriptor is closed. */
must_check int relay_open(const char *interface, int *ret_fd, struct error *err);

/*
 * Start the relay as a child, which alone keeps the descriptors: they are closed here in any case.
 * `counts` is memory that parent and child share.
 */
must_check int relay_start(const struct topology_link *link, uint64_t seed, int fds[LINK_SIDES],
			   struct relay_counts *counts, pid_t *ret_pid, struct error *err);

#endif
