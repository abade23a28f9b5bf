/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interfaces as rtnetlink tells of them, in the network namespace of the socket. One thread per
 * socket.
 */
#ifndef FAIRLEAD_KERNEL_LINK_H
#define FAIRLEAD_KERNEL_LINK_H

#include "kernel/netlink.h"

#include <stdbool.h>

struct link_info {
	bool ethernet;
	unsigned flags; /* IFF_… */
	uint8_t address[6]; /* of Ethernet's */
	uint32_t mtu;
	uint32_t master; /* index of the bridge, bond or VRF that it is a port of; 0: none */
};

/* 0 or a negative errno: -ENODEV. */
must_check int link_read(struct netlink *requests, uint32_t ifindex, struct link_info *ret_link);

/* Of an interface and of what it is a port of, whose frames it takes too, and so on. */
#define LINK_CHAIN_MAX 4
struct link_chain {
	uint32_t ifindex[LINK_CHAIN_MAX];
	struct link_info links[LINK_CHAIN_MAX];
	size_t count; /* 0: the interface is not there */
};

void link_chain_read(struct netlink *requests, uint32_t ifindex, struct link_chain *ret_chain);

/*
 * The name of a device below this one, a bridge's or bond's port or what a VLAN is on, and so on,
 * that merges received packets (GRO): they reach this one's generic XDP program merged. "" if none
 * does, or if it cannot be told. The kernel itself does not merge on the interface of the program.
 */
#define LINK_NAME_BYTES 16
void link_find_merging(struct netlink *requests, uint32_t ifindex, char name[LINK_NAME_BYTES]);

#endif
