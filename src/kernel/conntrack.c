/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/conntrack.h"

#include "base/sysctl.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <stdalign.h>
#include <string.h>

/* There only while the kernel tracks connections: then, and only then, it may translate them. */
#define COUNT_PATH "net/netfilter/nf_conntrack_count"

static const struct nlattr *top(const struct nlmsghdr *message, unsigned type, size_t least)
{
	return netlink_attribute(message, sizeof(struct nfgenmsg), type, least);
}

static struct ip_address address_in(const struct nlattr *addresses, uint8_t af, unsigned v4,
				    unsigned v6)
{
	struct ip_address address = {.family = netlink_family(af)};
	const size_t size = af == AF_INET ? 4 : 16;
	const struct nlattr *found = netlink_nested(addresses, af == AF_INET ? v4 : v6, size);
	if (!found)
		return (struct ip_address){0};
	memcpy(address.bytes, mnl_attr_get_payload(found), size);
	return address;
}

static bool port_in(const struct nlattr *protocol, unsigned type, uint16_t *ret_port)
{
	const struct nlattr *found = netlink_nested(protocol, type, sizeof(*ret_port));
	if (!found)
		return false;
	*ret_port = ntohs(mnl_attr_get_u16(found));
	return true;
}

/* Of TCP only. */
static bool parse_tuple(const struct nlattr *tuple, uint8_t af, struct conntrack_tuple *ret)
{
	const struct nlattr *addresses = netlink_nested(tuple, CTA_TUPLE_IP, 0);
	const struct nlattr *protocol = netlink_nested(tuple, CTA_TUPLE_PROTO, 0);
	const struct nlattr *number = netlink_nested(protocol, CTA_PROTO_NUM, 1);
	if (!number || mnl_attr_get_u8(number) != IPPROTO_TCP)
		return false;
	ret->source = address_in(addresses, af, CTA_IP_V4_SRC, CTA_IP_V6_SRC);
	ret->destination = address_in(addresses, af, CTA_IP_V4_DST, CTA_IP_V6_DST);
	return ret->source.family != IP_NONE && ret->destination.family != IP_NONE &&
	       port_in(protocol, CTA_PROTO_SRC_PORT, &ret->source_port) &&
	       port_in(protocol, CTA_PROTO_DST_PORT, &ret->destination_port);
}

static bool is_over(const struct nlmsghdr *message)
{
	const struct nlattr *tcp =
	    netlink_nested(top(message, CTA_PROTOINFO, 0), CTA_PROTOINFO_TCP, 0);
	const struct nlattr *state = netlink_nested(tcp, CTA_PROTOINFO_TCP_STATE, 1);
	return state && mnl_attr_get_u8(state) == TCP_CONNTRACK_TIME_WAIT;
}

bool conntrack_parse(const struct nlmsghdr *message, struct conntrack_flow *ret_flow)
{
	if (mnl_nlmsg_get_payload_len(message) < sizeof(struct nfgenmsg))
		return false;
	const struct nfgenmsg *header = mnl_nlmsg_get_payload(message);
	const uint8_t af = header->nfgen_family;
	struct conntrack_flow flow = {0};
	struct conntrack_tuple answers = {0};
	if ((af != AF_INET && af != AF_INET6) ||
	    !parse_tuple(top(message, CTA_TUPLE_ORIG, 0), af, &flow.came) ||
	    !parse_tuple(top(message, CTA_TUPLE_REPLY, 0), af, &answers) || is_over(message))
		return false;
	flow.server = answers.source;
	if (ip_address_equal(&flow.server, &flow.came.destination))
		return false;
	const struct nlattr *zone = top(message, CTA_ZONE, sizeof(flow.zone));
	flow.zone = zone ? ntohs(mnl_attr_get_u16(zone)) : 0;
	*ret_flow = flow;
	return true;
}

struct walk {
	conntrack_visit *visit;
	void *context;
};

static int visit_message(const struct nlmsghdr *message, void *context)
{
	const struct walk *walk = context;
	struct conntrack_flow flow;
	if (!message)
		return walk->visit(NULL, walk->context);
	return conntrack_parse(message, &flow) ? walk->visit(&flow, walk->context) : 0;
}

static struct nlmsghdr *put_request(char *bytes, uint8_t what, uint8_t af)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
	request->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | what;
	struct nfgenmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->nfgen_family = af;
	header->version = NFNETLINK_V0;
	return request;
}

int conntrack_walk(struct netlink *tracked, conntrack_visit *visit, void *context,
		   struct error *err)
{
	alignas(struct nlmsghdr) char bytes[256];
	struct walk walk = {.visit = visit, .context = context};
	int count = 0;
	int result = sysctl_read(COUNT_PATH, &count);
	if (result == -ENOENT || (result == 0 && count == 0))
		return 0;
	struct nlmsghdr *request = put_request(bytes, IPCTNL_MSG_CT_GET, AF_UNSPEC);
	/* Kernels since 5.16 leave out the others by themselves. */
	mnl_attr_put_u32(request, CTA_STATUS, htonl(IPS_DST_NAT));
	mnl_attr_put_u32(request, CTA_STATUS_MASK, htonl(IPS_DST_NAT));
	result = tracked->socket ? 0 : netlink_init(tracked, NETLINK_NETFILTER);
	if (result == 0)
		result = netlink_dump(tracked, request, visit_message, &walk);
	if (result == -EINVAL || result == -EPROTONOSUPPORT || result == -EOPNOTSUPP)
		return error_set(err, -FL_EUNSUPPORTED,
				 "this machine tracks connections and may lead some elsewhere, but "
				 "the kernel cannot list them: load the module "
				 "nf_conntrack_netlink");
	if (result < 0)
		return error_set(err, result, "cannot list the tracked connections: %s",
				 error_text(result));
	return 0;
}

static void put_address(struct nlmsghdr *request, const struct ip_address *address, uint16_t v4,
			uint16_t v6)
{
	netlink_put_address(request, address->family == IP_V4 ? v4 : v6, address);
}

int conntrack_forget(struct netlink *tracked, const struct conntrack_flow *flow, struct error *err)
{
	alignas(struct nlmsghdr) char bytes[512];
	const struct conntrack_tuple *came = &flow->came;
	struct nlmsghdr *request =
	    put_request(bytes, IPCTNL_MSG_CT_DELETE, netlink_af(came->source.family));
	struct nlattr *tuple = mnl_attr_nest_start(request, CTA_TUPLE_ORIG);
	struct nlattr *addresses = mnl_attr_nest_start(request, CTA_TUPLE_IP);
	put_address(request, &came->source, CTA_IP_V4_SRC, CTA_IP_V6_SRC);
	put_address(request, &came->destination, CTA_IP_V4_DST, CTA_IP_V6_DST);
	mnl_attr_nest_end(request, addresses);
	struct nlattr *protocol = mnl_attr_nest_start(request, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(request, CTA_PROTO_NUM, IPPROTO_TCP);
	mnl_attr_put_u16(request, CTA_PROTO_SRC_PORT, htons(came->source_port));
	mnl_attr_put_u16(request, CTA_PROTO_DST_PORT, htons(came->destination_port));
	mnl_attr_nest_end(request, protocol);
	mnl_attr_nest_end(request, tuple);
	if (flow->zone)
		mnl_attr_put_u16(request, CTA_ZONE, htons(flow->zone));
	int result = netlink_ask(tracked, request, NULL, NULL);
	if (result == -ENOENT)
		return 0;
	if (result < 0)
		return error_set(err, result, "cannot end the tracking of a connection: %s",
				 error_text(result));
	return 1;
}
