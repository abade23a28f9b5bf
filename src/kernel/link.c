/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/link.h"

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <net/if_arp.h>
#include <stdalign.h>
#include <string.h>

static int take_link(const struct nlmsghdr *message, void *context)
{
	struct link_info *link = context;
	if (message->nlmsg_type != RTM_NEWLINK ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(struct ifinfomsg))
		return 0;
	const struct ifinfomsg *header = mnl_nlmsg_get_payload(message);
	*link = (struct link_info){
	    .ethernet = header->ifi_type == ARPHRD_ETHER,
	    .flags = header->ifi_flags,
	    .mtu = netlink_number(message, sizeof(*header), IFLA_MTU, 0),
	    .master = netlink_number(message, sizeof(*header), IFLA_MASTER, 0),
	};
	const struct nlattr *address =
	    netlink_attribute(message, sizeof(*header), IFLA_ADDRESS, sizeof(link->address));
	if (address)
		memcpy(link->address, mnl_attr_get_payload(address), sizeof(link->address));
	return 0;
}

int link_read(struct netlink *requests, uint32_t ifindex, struct link_info *ret_link)
{
	alignas(struct nlmsghdr) char buffer[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = RTM_GETLINK;
	struct ifinfomsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->ifi_index = (int)ifindex;
	*ret_link = (struct link_info){0};
	return netlink_ask(requests, request, take_link, ret_link);
}

void link_chain_read(struct netlink *requests, uint32_t ifindex, struct link_chain *ret_chain)
{
	*ret_chain = (struct link_chain){0};
	while (ifindex && ret_chain->count < LINK_CHAIN_MAX) {
		struct link_info *link = &ret_chain->links[ret_chain->count];
		if (link_read(requests, ifindex, link) < 0)
			return;
		ret_chain->ifindex[ret_chain->count++] = ifindex;
		ifindex = link->master;
	}
}
