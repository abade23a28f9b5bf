/* SPDX-License-Identifier: Apache-2.0 */
#include "landing/underlay.h"

#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdalign.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- interfaces --- */

static bool ask_interface(unsigned long what, const char *name, struct ifreq *ret)
{
	int control = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (control < 0)
		return false;
	*ret = (struct ifreq){0};
	memcpy(ret->ifr_name, name, sizeof(ret->ifr_name));
	bool told = ioctl(control, what, ret) == 0;
	close(control);
	return told;
}

uint32_t underlay_mtu(const struct program_interface *interfaces, unsigned count)
{
	uint32_t least = UINT32_MAX;
	struct ifreq answer;
	for (unsigned i = 0; i < count; i++) {
		if (ask_interface(SIOCGIFMTU, interfaces[i].name, &answer) &&
		    (uint32_t)answer.ifr_mtu < least)
			least = (uint32_t)answer.ifr_mtu;
	}
	return least < UINT32_MAX ? least : 1500;
}

void underlay_check_interfaces(const struct program_interface *interfaces, unsigned count,
			       struct landing_alarms *alarms)
{
	struct ifreq answer;
	for (unsigned i = 0; i < count; i++) {
		const char *name = interfaces[i].name;
		if (!ask_interface(SIOCGIFFLAGS, name, &answer))
			continue;
		if (!(answer.ifr_flags & IFF_UP))
			LANDING_ALARM(alarms, UNDERLAY_DOWN, name, name);
		else if (!(answer.ifr_flags & IFF_RUNNING))
			LANDING_ALARM(alarms, UNDERLAY_NO_CARRIER, name, name);
	}
}

/* --- addresses --- */

struct address_search {
	const struct ip_address *addresses;
	size_t count;
	bool *found;
};

static int see_address(const struct nlmsghdr *message, void *context)
{
	struct address_search *search = context;
	if (!message && search->count)
		memset(search->found, 0, search->count * sizeof(*search->found));
	if (!message || message->nlmsg_type != RTM_NEWADDR ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(struct ifaddrmsg))
		return 0;
	const struct ifaddrmsg *header = mnl_nlmsg_get_payload(message);
	/* On a link to one peer IFA_ADDRESS is the peer's, and IFA_LOCAL this machine's. */
	struct ip_address address =
	    netlink_address(message, sizeof(*header), IFA_LOCAL, header->ifa_family);
	if (address.family == IP_NONE)
		address =
		    netlink_address(message, sizeof(*header), IFA_ADDRESS, header->ifa_family);
	if (header->ifa_flags & IFA_F_DADFAILED)
		return 0;
	for (size_t i = 0; i < search->count; i++)
		search->found[i] |= ip_address_equal(&address, &search->addresses[i]);
	return 0;
}

int underlay_find_addresses(struct netlink *route, const struct ip_address *addresses, size_t count,
			    bool *ret_found, struct error *err)
{
	struct address_search search = {.addresses = addresses, .count = count, .found = ret_found};
	alignas(struct nlmsghdr) char bytes[128];
	struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
	request->nlmsg_type = RTM_GETADDR;
	struct ifaddrmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->ifa_family = AF_UNSPEC;
	int result = netlink_dump(route, request, see_address, &search);
	return result < 0 ? error_set(err, result, "cannot read this machine's addresses: %s",
				      error_text(result))
			  : 0;
}

int underlay_check_addresses(struct netlink *route, const struct ip_address *addresses,
			     unsigned count, struct landing_alarms *alarms, struct error *err)
{
	char text[IP_TEXT_BYTES];
	bool found[LANDING_ADDRESSES_MAX];
	int result = underlay_find_addresses(route, addresses, count, found, err);
	/* Addresses change all the time: the news of that bring us back here. */
	if (result == -FL_ECONFLICT)
		return 0;
	for (unsigned i = 0; i < count && result == 0; i++) {
		if (!found[i])
			LANDING_ALARM(alarms, TUNNEL_END_GONE,
				      ip_address_format(&addresses[i], text), text);
	}
	return result;
}
