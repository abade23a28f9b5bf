/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses as sockets have them. Pure; any thread.
 */
#ifndef FAIRLEAD_BASE_SOCKADDR_H
#define FAIRLEAD_BASE_SOCKADDR_H

#include "base/netaddr.h"

#include <netinet/in.h>
#include <sys/socket.h>

union sockaddr_ip {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* The port in host order. IP_NONE is IPv6's wildcard. Its length. */
socklen_t sockaddr_ip_set(union sockaddr_ip *ret_place, const struct ip_address *address,
			  uint16_t port);

/* IP_NONE for NULL and for another family. */
struct ip_address sockaddr_address(const struct sockaddr *place);

/* In host order; 0 for another family. */
uint16_t sockaddr_port(const struct sockaddr *place);

#endif
