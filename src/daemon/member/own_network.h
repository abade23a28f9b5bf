/* SPDX-License-Identifier: Apache-2.0 */
/* How this machine reaches others: what `fairlead init` and `join` need not ask for. */
#ifndef FAIRLEAD_DAEMON_MEMBER_OWN_NETWORK_H
#define FAIRLEAD_DAEMON_MEMBER_OWN_NETWORK_H

#include "base/error.h"
#include "base/netaddr.h"

struct own_network {
	char interface[16]; /* of the default route, of IPv4 if there is one */
	struct ip_address v4, v6; /* of this machine, by which it sends there; IP_NONE: none */
};

/* -FL_EUNAVAILABLE, with what to say instead, when no route leads anywhere. */
must_check int own_network_find(struct own_network *ret_network, struct error *err);

#endif
