/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sockaddr.h"

#include <string.h>

socklen_t sockaddr_ip_set(union sockaddr_ip *ret_place, const struct ip_address *address,
			  uint16_t port)
{
	memset(ret_place, 0, sizeof(*ret_place));
	if (address->family == IP_V4) {
		ret_place->v4.sin_family = AF_INET;
		ret_place->v4.sin_port = htons(port);
		memcpy(&ret_place->v4.sin_addr, address->bytes, sizeof(ret_place->v4.sin_addr));
		return sizeof(ret_place->v4);
	}
	ret_place->v6.sin6_family = AF_INET6;
	ret_place->v6.sin6_port = htons(port);
	memcpy(&ret_place->v6.sin6_addr, address->bytes, sizeof(ret_place->v6.sin6_addr));
	return sizeof(ret_place->v6);
}

struct ip_address sockaddr_address(const struct sockaddr *place)
{
	struct ip_address address = {.family = IP_NONE};
	if (place && place->sa_family == AF_INET) {
		address.family = IP_V4;
		memcpy(address.bytes, &((const struct sockaddr_in *)place)->sin_addr, 4);
	} else if (place && place->sa_family == AF_INET6) {
		address.family = IP_V6;
		memcpy(address.bytes, &((const struct sockaddr_in6 *)place)->sin6_addr, 16);
	}
	return address;
}

uint16_t sockaddr_port(const struct sockaddr *place)
{
	return place->sa_family == AF_INET ? ntohs(((const struct sockaddr_in *)place)->sin_port)
	       : place->sa_family == AF_INET6
		   ? ntohs(((const struct sockaddr_in6 *)place)->sin6_port)
		   : 0;
}
