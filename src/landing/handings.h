/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handings: which socket takes the flows of a service address and port, where the kernel's own
 * look-up would not find it.
 *
 * Each handing has a place of its own in the map of listeners, and its key in the trie names the
 * place. A place is filled before its key is there and emptied after the key is gone, so a flow
 * never meets another handing's listener. Places are read back from the pinned trie after a
 * restart.
 *
 * A listener is found by its address and port in sock_diag, which gives its inode and cookie; the
 * process that holds it by /proc; a copy of its descriptor by pidfd_getfd(2), which needs
 * CAP_SYS_PTRACE for processes of other users. /proc may be that of an outer PID namespace, as in
 * containers that share it; a process is then called by its number in ours. The cookie, never used
 * again, tells without all that whether a place still holds the right socket.
 */
#ifndef FAIRLEAD_LANDING_HANDINGS_H
#define FAIRLEAD_LANDING_HANDINGS_H

#include "landing/landing_alarms.h"
#include "landing/sockets.h"

struct handing_place {
	struct landing_handing handing;
	uint32_t place;
	bool bound; /* a listener's socket is in the place */
};

struct handings {
	struct handing_place *places; /* owned */
	unsigned count;
	int keys_map; /* borrowed descriptors of the two maps */
	int listeners_map;
};

void handings_init(struct handings *handings, int keys_map, int listeners_map);
void handings_done(struct handings *handings);

must_check int handings_apply(struct handings *handings, struct netlink *diag,
			      const struct landing_handing *wanted, unsigned count,
			      struct error *err);

/* Find listeners that were started or restarted; those that are missing are alarms. */
must_check int handings_bind(struct handings *handings, struct netlink *diag,
			     struct landing_alarms *alarms, struct error *err);

/*
 * The socket that should take the handing's flows: bound to the listener's port and address, of a
 * family that can. `current`, the cookie of the one that does now, is kept if it still fits; a
 * socket of the flow's own family comes before a dual-stack one. NULL if none fits. Pure.
 */
const struct socket_seen *handing_choose(const struct landing_handing *handing,
					 const struct socket_seen *sockets, size_t count,
					 uint64_t current);

/*
 * The number at `level` (0: the outermost shown) of the NSpid line of a /proc/PID/status; with
 * `ret_levels`, also how many there are. -1 if there is none. Pure.
 */
long handing_pid_at(const char *status, unsigned level, unsigned *ret_levels);

#endif
