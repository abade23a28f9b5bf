/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the files that this process may have open (RLIMIT_NOFILE) are shared out. Who connects, over
 * TCP to port 53, to the local API or as a landing, holds one of them for as long as he likes. So
 * each of these gets a part that leaves room for the rest: whoever fills his own part takes nothing
 * from the store, from netlink, or from the operator who wants to see why.
 */
#ifndef FAIRLEAD_DAEMON_OPEN_FILES_H
#define FAIRLEAD_DAEMON_OPEN_FILES_H

#include <stddef.h>

struct open_files {
	size_t limit; /* of the process */
	size_t wanted; /* that gives everybody the most there is to have; at most `limit` if so */
	unsigned api_clients;
	unsigned landings;
	unsigned tcp_connections; /* of each DNS thread */
};

/* Share out `limit` files; `threads` answer DNS on `addresses` addresses, or both are 0. Pure. */
struct open_files open_files_share(size_t limit, size_t threads, size_t addresses);

/* Raise this process's soft limit to its hard one; returns what it may have open now. */
size_t open_files_raise(void);

#endif
