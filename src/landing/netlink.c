/* SPDX-License-Identifier: Apache-2.0 */
#include "landing/internal.h"

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

const char *family_name(uint8_t family)
{
	return family == AF_INET ? "IPv4" : "IPv6";
}

int netlink_init(struct netlink *netlink, int bus)
{
	*netlink = (struct netlink){0};
	netlink->answer = malloc(NETLINK_ANSWER_BYTES);
	if (!netlink->answer)
		return -ENOMEM;
	netlink->socket = mnl_socket_open2(bus, SOCK_CLOEXEC);
	if (!netlink->socket || mnl_socket_bind(netlink->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		int result = -errno;
		netlink_done(netlink);
		return result;
	}
	/* Strict checks make the kernel filter dumps by table; older kernels dump more. */
	int on = 1;
	if (bus == NETLINK_ROUTE)
		(void)mnl_socket_setsockopt(netlink->socket, NETLINK_GET_STRICT_CHK, &on,
					    sizeof(on));
	return 0;
}

void netlink_done(struct netlink *netlink)
{
	if (netlink->socket)
		mnl_socket_close(netlink->socket);
	free(netlink->answer);
	*netlink = (struct netlink){0};
}

/* The code in an NLMSG_ERROR message or at the end of a dump: 0 or a negative errno. */
static int message_code(const struct nlmsghdr *message)
{
	int code;
	if (mnl_nlmsg_get_payload_len(message) < sizeof(code))
		return -EBADMSG;
	memcpy(&code, mnl_nlmsg_get_payload(message), sizeof(code));
	return code;
}

static int ask(struct netlink *netlink, struct nlmsghdr *request, netlink_visit *visit,
	       void *context)
{
	request->nlmsg_seq = ++netlink->sequence;
	if (mnl_socket_sendto(netlink->socket, request, request->nlmsg_len) < 0)
		return -errno;

	bool interrupted = false;
	for (;;) {
		ssize_t got =
		    mnl_socket_recvfrom(netlink->socket, netlink->answer, NETLINK_ANSWER_BYTES);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		int left = (int)got;
		const struct nlmsghdr *message = (const struct nlmsghdr *)netlink->answer;
		for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
			if (message->nlmsg_seq != netlink->sequence)
				continue;
			interrupted |= (message->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
			if (message->nlmsg_type == NLMSG_ERROR)
				return message_code(message);
			if (message->nlmsg_type == NLMSG_DONE) {
				int code = message_code(message);
				return code == 0 && interrupted ? -FL_ECONFLICT : code;
			}
			int result = visit ? visit(message, context) : 0;
			if (result < 0)
				return result;
		}
	}
}

int netlink_ask(struct netlink *netlink, struct nlmsghdr *request)
{
	request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	return ask(netlink, request, NULL, NULL);
}

int netlink_dump(struct netlink *netlink, struct nlmsghdr *request, netlink_visit *visit,
		 void *context)
{
	request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_DUMP;
	return ask(netlink, request, visit, context);
}

const struct nlattr *netlink_attribute(const struct nlmsghdr *message, size_t header_bytes,
				       unsigned type, size_t least)
{
	if (mnl_nlmsg_get_payload_len(message) < header_bytes)
		return NULL;
	const char *end = mnl_nlmsg_get_payload_tail(message);
	const struct nlattr *attribute = mnl_nlmsg_get_payload_offset(message, header_bytes);
	while (mnl_attr_ok(attribute, (int)(end - (const char *)attribute))) {
		if (mnl_attr_get_type(attribute) == type &&
		    mnl_attr_get_payload_len(attribute) >= least)
			return attribute;
		attribute = mnl_attr_next(attribute);
	}
	return NULL;
}
