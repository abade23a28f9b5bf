/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listeners: which socket takes the flows of a service address and port, where the kernel's own
 * look-up would not find it.
 *
 * Each listener has a place of its own in the map of sockets, and its key in the trie of places
 * names the place. A place is filled before its key is there and emptied after the key is gone, so
 * a flow never meets another listener's socket. Places are read back from the pinned trie after a
 * restart.
 *
 * A socket is found by its address and port in sock_diag, which gives its inode and cookie; the
 * process that holds it by /proc; a copy of its descriptor by pidfd_getfd(2), which needs
 * CAP_SYS_PTRACE for processes of other users. /proc may be that of an outer PID namespace, as in
 * containers that share it; a process is then called by its number in ours. The cookie, never used
 * again, tells without all that whether a place still holds the right socket.
 */
#ifndef FAIRLEAD_LANDING_LISTENERS_H
#define FAIRLEAD_LANDING_LISTENERS_H

#include "landing/landing_alarms.h"
#include "landing/sockets.h"

struct listener_place {
	struct landing_listener listener;
	uint32_t place;
	bool bound; /* its socket is in the place */
};

struct listeners {
	struct listener_place *places; /* owned */
	unsigned count;
	int places_map; /* borrowed descriptors of the two maps */
	int sockets_map;
};

void listeners_init(struct listeners *listeners, int places_map, int sockets_map);
void listeners_done(struct listeners *listeners);

must_check int listeners_apply(struct listeners *listeners, struct netlink *diag,
			       const struct landing_listener *wanted, unsigned count,
			       struct error *err);

/* Find the sockets that were opened, also anew; those that are missing are alarms. */
must_check int listeners_bind(struct listeners *listeners, struct netlink *diag,
			      struct landing_alarms *alarms, struct error *err);

/*
 * The socket that should take the listener's flows: bound to its port and address, of a
 * family that can. `current`, the cookie of the one that does now, is kept if it still fits; a
 * socket of the flow's own family comes before a dual-stack one. NULL if none fits. Pure.
 */
const struct socket_seen *listener_choose(const struct landing_listener *listener,
					  const struct socket_seen *sockets, size_t count,
					  uint64_t current);

/*
 * The number at `level` (0: the outermost shown) of the NSpid line of a /proc/PID/status; with
 * `ret_levels`, also how many there are. -1 if there is none. Pure.
 */
long listener_pid_at(const char *status, unsigned level, unsigned *ret_levels);

#endif
