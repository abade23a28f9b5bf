/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's table of tracked connections (conntrack), through ctnetlink, of the network
 * namespace that the netlink socket (of NETLINK_NETFILTER) was opened in: which TCP connections are
 * led elsewhere by a translation of their destination. Blocks for about a millisecond per 1,000
 * connections of which the kernel tells. One thread.
 */
#ifndef FAIRLEAD_KERNEL_CONNTRACK_H
#define FAIRLEAD_KERNEL_CONNTRACK_H

#include "kernel/netlink.h"

#include <stdbool.h>

/* One end's view of a connection. */
struct conntrack_tuple {
	struct ip_address source, destination;
	uint16_t source_port, destination_port; /* host order */
};

/* A TCP connection whose packets get another destination address than they came with. */
struct conntrack_flow {
	struct conntrack_tuple came; /* from the client, before the translation */
	struct ip_address server; /* who answers */
	uint16_t zone;
};

/*
 * False for anything else, and for connections that are over: both ends have closed them and only
 * late packets are waited for. Half-open ones, and such as a reset has just ended, are still told
 * of: either lasts for seconds, and a server that did not believe the reset goes on. Pure.
 */
bool conntrack_parse(const struct nlmsghdr *message, struct conntrack_flow *ret_flow);

/* Called for every flow; NULL: begin again, and forget those that were seen. A negative result
 * ends the walk and is returned. */
typedef int conntrack_visit(const struct conntrack_flow *flow, void *context);

/*
 * Visit all such flows. Where the kernel tracks no connection in this namespace there are none, and
 * nothing is translated. -FL_EUNSUPPORTED: it tracks some and cannot list them. `tracked` is opened
 * when it is needed, and then the caller's.
 */
must_check int conntrack_walk(struct netlink *tracked, conntrack_visit *visit, void *context,
			      struct error *err);

/* Have the kernel forget a flow. 1, or 0 if it had already. */
must_check int conntrack_forget(struct netlink *tracked, const struct conntrack_flow *flow,
				struct error *err);

#endif
