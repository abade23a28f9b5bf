/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/netlink.h"

#include "base/process.h"

#include <inttypes.h>
#include <libmnl/libmnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define NEWS_BYTES (4 << 20) /* that may wait for us */

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

int netlink_init_news(struct netlink *news, const int *groups, size_t count)
{
	int bytes = NEWS_BYTES;
	int result = netlink_init(news, NETLINK_ROUTE);
	for (size_t i = 0; i < count && result == 0; i++) {
		int group = groups[i];
		if (mnl_socket_setsockopt(news->socket, NETLINK_ADD_MEMBERSHIP, &group,
					  sizeof(group)) < 0)
			result = -errno;
	}
	if (result < 0) {
		netlink_done(news);
		return result;
	}
	/* A wish: without it more news get lost in a storm, which costs only time. */
	(void)setsockopt(netlink_fd(news), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	return 0;
}

void netlink_done(struct netlink *netlink)
{
	if (netlink->socket)
		mnl_socket_close(netlink->socket);
	free(netlink->answer);
	*netlink = (struct netlink){0};
}

int netlink_fd(const struct netlink *news)
{
	return mnl_socket_get_fd(news->socket);
}

/* The inode of the socket of this namespace's NETLINK_ROUTE that has the port; 0 if none has. */
static unsigned long find_inode(uint32_t port)
{
	char line[256];
	unsigned long found = 0;
	FILE *sockets = fopen("/proc/thread-self/net/netlink", "re");
	if (!sockets)
		return 0;
	while (!found && fgets(line, sizeof(line), sockets)) {
		/* "sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode"; Eth is the bus, Pid the
		 * port. */
		int bus;
		uint32_t pid;
		unsigned long inode;
		if (sscanf(line, "%*s %d %" SCNu32 " %*s %*s %*s %*s %*s %*s %lu", &bus, &pid,
			   &inode) == 3 &&
		    bus == NETLINK_ROUTE && pid == port)
			found = inode;
	}
	(void)fclose(sockets);
	return found;
}

void netlink_sender(const struct nlmsghdr *message, char *text, size_t size)
{
	const uint32_t port = message->nlmsg_pid;
	const unsigned long inode = port ? find_inode(port) : 0;
	if (!port)
		snprintf(text, size, "the kernel");
	else if (!inode || !process_of_socket(inode, text, size))
		snprintf(text, size, "a process that is gone");
}

bool netlink_is_sender(const struct netlink *netlink, const struct nlmsghdr *message)
{
	return message->nlmsg_pid == mnl_socket_get_portid(netlink->socket);
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

int netlink_ask(struct netlink *netlink, struct nlmsghdr *request, netlink_visit *visit,
		void *context)
{
	request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	return ask(netlink, request, visit, context);
}

int netlink_dump_once(struct netlink *netlink, struct nlmsghdr *request, netlink_visit *visit,
		      void *context)
{
	request->nlmsg_flags |= NLM_F_REQUEST | NLM_F_DUMP;
	return ask(netlink, request, visit, context);
}

int netlink_dump(struct netlink *netlink, struct nlmsghdr *request, netlink_visit *visit,
		 void *context)
{
	int result = -FL_ECONFLICT;
	for (int i = 0; i < NETLINK_DUMP_ATTEMPTS && result == -FL_ECONFLICT; i++) {
		result = visit(NULL, context);
		if (result == 0)
			result = netlink_dump_once(netlink, request, visit, context);
	}
	return result;
}

int netlink_drain(struct netlink *news, netlink_visit *visit, void *context)
{
	int result = 0;
	while (result == 0) {
		ssize_t got = recv(netlink_fd(news), news->answer, NETLINK_ANSWER_BYTES,
				   MSG_DONTWAIT | MSG_TRUNC);
		if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return 0;
		if (got < 0 && errno == EINTR)
			continue;
		if ((got < 0 && errno == ENOBUFS) || got > NETLINK_ANSWER_BYTES) {
			result = visit(NULL, context);
			continue;
		}
		if (got < 0)
			return -errno;
		int left = (int)got;
		const struct nlmsghdr *message = (const struct nlmsghdr *)news->answer;
		for (; mnl_nlmsg_ok(message, left) && result == 0;
		     message = mnl_nlmsg_next(message, &left))
			result = visit(message, context);
	}
	return result;
}

/* The one of this type, with at least so many bytes, among the attributes before `end`. */
static const struct nlattr *find(const struct nlattr *attribute, const char *end, unsigned type,
				 size_t least)
{
	while (mnl_attr_ok(attribute, (int)(end - (const char *)attribute))) {
		if (mnl_attr_get_type(attribute) == type &&
		    mnl_attr_get_payload_len(attribute) >= least)
			return attribute;
		attribute = mnl_attr_next(attribute);
	}
	return NULL;
}

const struct nlattr *netlink_attribute(const struct nlmsghdr *message, size_t header_bytes,
				       unsigned type, size_t least)
{
	if (mnl_nlmsg_get_payload_len(message) < header_bytes)
		return NULL;
	return find(mnl_nlmsg_get_payload_offset(message, header_bytes),
		    mnl_nlmsg_get_payload_tail(message), type, least);
}

const struct nlattr *netlink_nested(const struct nlattr *outer, unsigned type, size_t least)
{
	if (!outer)
		return NULL;
	const char *first = mnl_attr_get_payload(outer);
	return find((const struct nlattr *)first, first + mnl_attr_get_payload_len(outer), type,
		    least);
}

uint32_t netlink_number(const struct nlmsghdr *message, size_t header_bytes, unsigned type,
			uint32_t otherwise)
{
	const struct nlattr *attribute =
	    netlink_attribute(message, header_bytes, type, sizeof(uint32_t));
	return attribute ? mnl_attr_get_u32(attribute) : otherwise;
}

struct ip_address netlink_address(const struct nlmsghdr *message, size_t header_bytes,
				  unsigned type, uint8_t af)
{
	struct ip_address address = {.family = IP_NONE};
	uint8_t family = netlink_family(af);
	size_t bytes = family == IP_NONE ? 0 : ip_family_bits(family) / 8;
	const struct nlattr *attribute = netlink_attribute(message, header_bytes, type, bytes);
	if (attribute && bytes) {
		address.family = family;
		memcpy(address.bytes, mnl_attr_get_payload(attribute), bytes);
	}
	return address;
}

void netlink_put_address(struct nlmsghdr *request, uint16_t type, const struct ip_address *address)
{
	mnl_attr_put(request, type, ip_family_bits(address->family) / 8, address->bytes);
}

uint8_t netlink_af(uint8_t family)
{
	return family == IP_V4 ? AF_INET : AF_INET6;
}

uint8_t netlink_family(uint8_t af)
{
	return af == AF_INET ? IP_V4 : af == AF_INET6 ? IP_V6 : IP_NONE;
}

const char *netlink_family_name(uint8_t af)
{
	return af == AF_INET ? "IPv4" : "IPv6";
}
