/* SPDX-License-Identifier: Apache-2.0 */
/* The socket of the node channel, which the daemon binds and the channel's process accepts from. */
#ifndef FAIRLEAD_PEER_LISTENER_H
#define FAIRLEAD_PEER_LISTENER_H

#include "base/netaddr.h"

#include <stdint.h>

#define PEER_LISTEN_BACKLOG 1024

/*
 * Listen there; IP_NONE: on all addresses of both families; port 0: one that is free, in
 * `*ret_port`. Whoever connects waits until somebody accepts. What the kernel says (-EADDRINUSE),
 * with a sentence.
 */
must_check int peer_listener_open(const struct ip_address *address, uint16_t port, int *ret_fd,
				  uint16_t *ret_port, struct error *err);

#endif
