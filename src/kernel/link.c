/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/link.h"

#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

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

/* --- what lies below --- */

/* One device stands on the other. */
struct standing {
	uint32_t above, below;
};

struct standings {
	struct standing *items; /* owned */
	size_t count;
	size_t capacity;
};

static int add_standing(struct standings *standings, uint32_t above, uint32_t below)
{
	if (standings->count == standings->capacity) {
		size_t capacity = standings->capacity ? 2 * standings->capacity : 64;
		struct standing *items =
		    reallocarray(standings->items, capacity, sizeof(*standings->items));
		if (!items)
			return -ENOMEM;
		standings->items = items;
		standings->capacity = capacity;
	}
	standings->items[standings->count++] = (struct standing){above, below};
	return 0;
}

static int see_link(const struct nlmsghdr *message, void *context)
{
	struct standings *standings = context;
	if (!message)
		standings->count = 0;
	if (!message || message->nlmsg_type != RTM_NEWLINK ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(struct ifinfomsg))
		return 0;
	const struct ifinfomsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *kind =
	    netlink_nested(netlink_attribute(message, sizeof(*header), IFLA_LINKINFO, 0),
			   IFLA_INFO_KIND, sizeof("veth"));
	const uint32_t self = (uint32_t)header->ifi_index;
	const uint32_t master = netlink_number(message, sizeof(*header), IFLA_MASTER, 0);
	const uint32_t on = netlink_number(message, sizeof(*header), IFLA_LINK, 0);
	int result = master ? add_standing(standings, master, self) : 0;
	/* What a veth names is its far end, and another namespace's index says nothing here. */
	if (result == 0 && on && on != self &&
	    !(kind && strcmp(mnl_attr_get_str(kind), "veth") == 0) &&
	    !netlink_attribute(message, sizeof(*header), IFLA_LINK_NETNSID, 0))
		result = add_standing(standings, self, on);
	return result;
}

static bool merges(const char *name)
{
	struct ethtool_value value = {.cmd = ETHTOOL_GGRO};
	struct ifreq request = {.ifr_data = (char *)&value};
	int control = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (control < 0)
		return false;
	memcpy(request.ifr_name, name, LINK_NAME_BYTES);
	bool on = ioctl(control, SIOCETHTOOL, &request) == 0 && value.data != 0;
	close(control);
	return on;
}

/* No deeper than devices are ever stacked, whatever a changing picture of them says. */
static bool find_below(const struct standings *standings, uint32_t above, unsigned depth,
		       char name[LINK_NAME_BYTES])
{
	for (size_t i = 0; i < standings->count && depth < LINK_CHAIN_MAX; i++) {
		const struct standing *standing = &standings->items[i];
		char below[LINK_NAME_BYTES] = "";
		if (standing->above != above)
			continue;
		if (if_indextoname(standing->below, below) && merges(below)) {
			memcpy(name, below, sizeof(below));
			return true;
		}
		if (find_below(standings, standing->below, depth + 1, name))
			return true;
	}
	return false;
}

void link_find_merging(struct netlink *requests, uint32_t ifindex, char name[LINK_NAME_BYTES])
{
	alignas(struct nlmsghdr) char buffer[256];
	struct standings standings = {0};
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = RTM_GETLINK;
	mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg));
	name[0] = '\0';
	if (netlink_dump(requests, request, see_link, &standings) == 0)
		(void)find_below(&standings, ifindex, 0, name);
	free(standings.items);
}
