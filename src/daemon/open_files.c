/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/open_files.h"

#include "api/unix.h"
#include "naming/server.h"

#include <sys/resource.h>

#define OWN_FILES 64u /* store, maps, links, netlink, loop; and what is open for a moment */
/* An operator and a follower, and as many landings: below this it is no daemon. */
#define FEWEST_CLIENTS 2u
#define MOST_LANDINGS 256u

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

struct open_files open_files_share(size_t limit, size_t threads, size_t addresses)
{
	/* A thread has its epoll set, and a UDP and a TCP socket for each address. */
	size_t own = OWN_FILES + threads * (1 + 2 * addresses);
	size_t wanted =
	    own + API_UNIX_MAX_CLIENTS + MOST_LANDINGS + threads * NAMING_TCP_CONNECTIONS;
	struct open_files files = {.limit = limit,
				   .wanted = wanted,
				   .api_clients = API_UNIX_MAX_CLIENTS,
				   .landings = MOST_LANDINGS,
				   .tcp_connections = NAMING_TCP_CONNECTIONS};
	if (limit >= wanted)
		return files;
	size_t rest = limit > own ? limit - own : 0;
	size_t clients = larger(FEWEST_CLIENTS, rest / (threads ? 8 : 2));
	if (clients < API_UNIX_MAX_CLIENTS)
		files.api_clients = (unsigned)clients;
	if (clients < MOST_LANDINGS)
		files.landings = (unsigned)clients;
	size_t given = files.api_clients + files.landings;
	size_t left = rest > given ? rest - given : 0;
	size_t connections = threads ? larger(1, left / threads) : 0;
	if (connections < NAMING_TCP_CONNECTIONS)
		files.tcp_connections = (unsigned)connections;
	return files;
}

size_t open_files_raise(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 0;
	const struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
	if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
		limit = raised;
	return limit.rlim_cur;
}
