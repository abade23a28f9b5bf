/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room: what a lab has of this computer. A mount namespace in which a tmpfs covers /run, so that
 * named network namespaces, sockets, logs and a bpffs of the lab's own have no name outside; and a
 * /proc that shows the lab's processes alone. All of it lives as long as the first process of the
 * lab's PID namespace, and that process makes it.
 *
 * A machine is a network namespace under ROOM_MACHINES and a folder of its own. Namespaces belong
 * to threads: whoever calls here has one.
 */
#ifndef FAIRLEAD_LAB_ROOM_H
#define FAIRLEAD_LAB_ROOM_H

#include "base/error.h"
#include "lab/topology.h"

#define ROOM_ROOT "/run/lab"
#define ROOM_LOGS ROOM_ROOT "/log"
#define ROOM_BPFFS ROOM_ROOT "/bpf"
#define ROOM_MACHINES "/run/netns" /* where iproute2 looks for them too */

/* Make the room: the calling process is the first of a new PID namespace. */
must_check int room_make(struct error *err);

/* Make a machine: its namespace, with the settings that all or that routers have, and its folder.
 * The caller stays where it was. */
must_check int room_add_machine(const struct topology_machine *machine, struct error *err);

/* Move the calling thread's network to a machine; `ret_outside` is the way back. */
must_check int room_enter(const char *machine, int *ret_outside, struct error *err);
/* Move back and close `outside`. */
void room_leave(int outside);

/* Write a setting, below /proc/sys, of the network that the thread is in. */
must_check int room_write_setting(const char *path, const char *value);

/*
 * For a child that is to become a process of the machine: network, host name, name resolution and
 * environment ($LAB, $MACHINE, $DIR, and this program's own folder first in $PATH).
 */
must_check int room_become(const char *lab, const char *machine, struct error *err);

#endif
