/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's sockets, through sock_diag, of the network namespace that the netlink socket (of
 * NETLINK_SOCK_DIAG) was opened in. It blocks for about 5 ms per 1,000 sockets. One thread.
 *
 * A socket of family AF_INET6 whose local address is v4-mapped carries IPv4; here it has its IPv4
 * address, and `via_v6` tells. IPv4 connections of a dual-stack listener show only in the dump of
 * AF_INET6, so both families are always asked.
 */
#ifndef FAIRLEAD_KERNEL_SOCK_DIAG_H
#define FAIRLEAD_KERNEL_SOCK_DIAG_H

#include "kernel/netlink.h"

#include <linux/inet_diag.h>
#include <netinet/tcp.h>
#include <stdbool.h>

/* sock_diag's number for a handshake's request socket; no header of user space has it. */
#define SOCK_DIAG_NEW_SYN_RECV 12

/* Connections: every state of TCP but LISTEN and TIME_WAIT; sock_diag shows no TCP socket in CLOSE
 * but such as are just going. */
#define SOCK_DIAG_CONNECTIONS                                                                      \
	(1u << TCP_ESTABLISHED | 1u << TCP_SYN_SENT | 1u << TCP_SYN_RECV | 1u << TCP_FIN_WAIT1 |   \
	 1u << TCP_FIN_WAIT2 | 1u << TCP_CLOSE | 1u << TCP_CLOSE_WAIT | 1u << TCP_LAST_ACK |       \
	 1u << TCP_CLOSING | 1u << SOCK_DIAG_NEW_SYN_RECV)

struct socket_seen {
	struct ip_address local; /* all bytes zero for the wildcard */
	uint16_t port; /* local, host order */
	uint8_t protocol;
	bool via_v6;
	bool v6_only; /* listeners only */
	uint32_t inode; /* 0 where no process holds it */
	uint64_t cookie;
	struct inet_diag_sockid id; /* as the kernel names it */
};

/* False for messages that are no socket of an address family we know. Pure. */
bool socket_seen_parse(const struct nlmsghdr *message, uint8_t protocol, struct socket_seen *ret);

/* Called for every socket; NULL: begin again, and forget those that were seen. A negative result
 * ends the walk and is returned. */
typedef int sock_diag_visit(const struct socket_seen *seen, void *context);

/*
 * Visit all sockets of `protocol` (IPPROTO_TCP or IPPROTO_UDP) in one of `states` (bits by the
 * number of the state). A failure to see all of them is an error: -FL_EUNSUPPORTED if the kernel
 * cannot list them.
 */
must_check int sock_diag_walk(struct netlink *diag, uint8_t protocol, uint32_t states,
			      sock_diag_visit *visit, void *context, struct error *err);

/* End a TCP connection; its peer gets a reset. 1, or 0 if it had ended by itself. */
must_check int sock_diag_destroy(struct netlink *diag, const struct socket_seen *seen,
				 struct error *err);

#endif
