/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/member/own_network.h"

#include "base/sockaddr.h"

#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Addresses for documentation (RFC 5737, RFC 3849): they lie on no link, so the kernel answers by
 * its default route, and nothing is sent. */
#define FAR_V4 "192.0.2.1"
#define FAR_V6 "2001:db8::1"

static struct ip_address source_towards(const char *text)
{
	struct ip_address far;
	union sockaddr_ip place;
	struct sockaddr_storage own = {0};
	socklen_t length = sizeof(own);
	ASSERT(ip_address_parse(text, &far) == 0);
	const socklen_t far_length = sockaddr_ip_set(&place, &far, 9);
	int fd = socket(place.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool found = fd >= 0 && connect(fd, &place.any, far_length) == 0 &&
		     getsockname(fd, (struct sockaddr *)&own, &length) == 0;
	if (fd >= 0)
		close(fd);
	return found ? sockaddr_address((struct sockaddr *)&own)
		     : (struct ip_address){.family = IP_NONE};
}

static void find_interface(const struct ip_address *address, char name[16])
{
	struct ifaddrs *list;
	if (getifaddrs(&list) < 0)
		return;
	for (const struct ifaddrs *one = list; one; one = one->ifa_next) {
		const struct ip_address here = sockaddr_address(one->ifa_addr);
		if (ip_address_equal(&here, address))
			snprintf(name, 16, "%.15s", one->ifa_name);
	}
	freeifaddrs(list);
}

int own_network_find(struct own_network *ret_network, struct error *err)
{
	struct own_network network = {.v4 = source_towards(FAR_V4), .v6 = source_towards(FAR_V6)};
	const struct ip_address *address = network.v4.family ? &network.v4 : &network.v6;
	if (address->family)
		find_interface(address, network.interface);
	if (!network.interface[0])
		return error_set(err, -FL_EUNAVAILABLE,
				 "no default route says by which interface and address this "
				 "machine reaches others: say it by --interface and --address");
	*ret_network = network;
	return 0;
}
