/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/sock_diag.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/sock_diag.h>
#include <stdalign.h>
#include <string.h>

static bool is_v4_mapped(const uint32_t words[4])
{
	return words[0] == 0 && words[1] == 0 && words[2] == htonl(0xffff);
}

bool socket_seen_parse(const struct nlmsghdr *message, uint8_t protocol, struct socket_seen *ret)
{
	if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(struct inet_diag_msg))
		return false;
	const struct inet_diag_msg *diag = mnl_nlmsg_get_payload(message);
	if (diag->idiag_family != AF_INET && diag->idiag_family != AF_INET6)
		return false;

	struct socket_seen seen = {
	    .port = ntohs(diag->id.idiag_sport),
	    .protocol = protocol,
	    .via_v6 = diag->idiag_family == AF_INET6,
	    .inode = diag->idiag_inode,
	    .cookie = (uint64_t)diag->id.idiag_cookie[1] << 32 | diag->id.idiag_cookie[0],
	    .id = diag->id,
	};
	if (!seen.via_v6) {
		seen.local.family = IP_V4;
		memcpy(seen.local.bytes, diag->id.idiag_src, 4);
	} else if (is_v4_mapped(diag->id.idiag_src)) {
		seen.local.family = IP_V4;
		memcpy(seen.local.bytes, &diag->id.idiag_src[3], 4);
	} else {
		seen.local.family = IP_V6;
		memcpy(seen.local.bytes, diag->id.idiag_src, 16);
	}

	const struct nlattr *v6_only =
	    netlink_attribute(message, sizeof(*diag), INET_DIAG_SKV6ONLY, sizeof(uint8_t));
	seen.v6_only = v6_only && mnl_attr_get_u8(v6_only);
	*ret = seen;
	return true;
}

struct walk {
	uint8_t protocol;
	sock_diag_visit *visit;
	void *context;
};

static int visit_message(const struct nlmsghdr *message, void *context)
{
	const struct walk *walk = context;
	struct socket_seen seen;
	if (!socket_seen_parse(message, walk->protocol, &seen))
		return -EBADMSG;
	return walk->visit(&seen, walk->context);
}

static struct inet_diag_req_v2 *put_wish(char *bytes, uint16_t type, uint8_t family,
					 uint8_t protocol, uint32_t states)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
	request->nlmsg_type = type;
	struct inet_diag_req_v2 *wish = mnl_nlmsg_put_extra_header(request, sizeof(*wish));
	wish->sdiag_family = family;
	wish->sdiag_protocol = protocol;
	wish->idiag_states = states;
	return wish;
}

/* AF_UNSPEC is no wildcard here but an error, so each family is asked by its name. */
static int dump_both(struct netlink *diag, uint32_t states, struct walk *walk)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	int result = walk->visit(NULL, walk->context);
	for (size_t i = 0; i < sizeof(families) && result == 0; i++) {
		alignas(struct nlmsghdr) char bytes[256];
		(void)put_wish(bytes, SOCK_DIAG_BY_FAMILY, families[i], walk->protocol, states);
		result = netlink_dump_once(diag, (struct nlmsghdr *)bytes, visit_message, walk);
	}
	return result;
}

int sock_diag_walk(struct netlink *diag, uint8_t protocol, uint32_t states, sock_diag_visit *visit,
		   void *context, struct error *err)
{
	struct walk walk = {.protocol = protocol, .visit = visit, .context = context};
	int result = -FL_ECONFLICT;
	for (int attempt = 0; attempt < NETLINK_DUMP_ATTEMPTS && result == -FL_ECONFLICT; attempt++)
		result = dump_both(diag, states, &walk);
	if (result == -ENOENT)
		return error_set(err, -FL_EUNSUPPORTED,
				 "the kernel cannot list its sockets (no %s): load the module or "
				 "use a kernel that has it",
				 protocol == IPPROTO_UDP ? "udp_diag" : "tcp_diag");
	if (result < 0)
		return error_set(err, result, "cannot list the kernel's sockets: %s",
				 error_text(result));
	return 0;
}

int sock_diag_destroy(struct netlink *diag, const struct socket_seen *seen, struct error *err)
{
	alignas(struct nlmsghdr) char bytes[256];
	put_wish(bytes, SOCK_DESTROY, seen->via_v6 ? AF_INET6 : AF_INET, IPPROTO_TCP,
		 SOCK_DIAG_CONNECTIONS)
	    ->id = seen->id;
	int result = netlink_ask(diag, (struct nlmsghdr *)bytes, NULL, NULL);
	if (result == -ENOENT)
		return 0;
	if (result == -EOPNOTSUPP)
		return error_set(err, result,
				 "the kernel cannot destroy sockets (no INET_DIAG_DESTROY): the "
				 "connections stay");
	if (result < 0)
		return error_set(err, result, "cannot destroy a connection: %s",
				 error_text(result));
	return 1;
}
