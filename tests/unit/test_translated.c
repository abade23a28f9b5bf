/* SPDX-License-Identifier: Apache-2.0 */
/* Connections that are led on to another address: what conntrack and IPVS tell of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "landing/translated.h"
#include "tests/addresses.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>
#include <stdalign.h>
#include <string.h>

struct told {
	const char *client, *service, *server, *answers_to;
	uint8_t protocol;
	uint8_t state;
};

static void put_tuple(struct nlmsghdr *message, uint16_t type, const char *source,
		      const char *destination, uint8_t protocol)
{
	struct ip_address from = address(source), to = address(destination);
	const bool v4 = from.family == IP_V4;
	struct nlattr *tuple = mnl_attr_nest_start(message, type);
	struct nlattr *addresses = mnl_attr_nest_start(message, CTA_TUPLE_IP);
	netlink_put_address(message, v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, &from);
	netlink_put_address(message, v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, &to);
	mnl_attr_nest_end(message, addresses);
	struct nlattr *ports = mnl_attr_nest_start(message, CTA_TUPLE_PROTO);
	mnl_attr_put_u8(message, CTA_PROTO_NUM, protocol);
	mnl_attr_put_u16(message, CTA_PROTO_SRC_PORT, htons(40000));
	mnl_attr_put_u16(message, CTA_PROTO_DST_PORT, htons(80));
	mnl_attr_nest_end(message, ports);
	mnl_attr_nest_end(message, tuple);
}

static struct nlmsghdr *put_told(char *bytes, const struct told *told)
{
	memset(bytes, 0, 1024);
	struct nlmsghdr *message = mnl_nlmsg_put_header(bytes);
	message->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW;
	struct nfgenmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->nfgen_family = strchr(told->client, ':') ? AF_INET6 : AF_INET;
	put_tuple(message, CTA_TUPLE_ORIG, told->client, told->service, told->protocol);
	put_tuple(message, CTA_TUPLE_REPLY, told->server, told->answers_to, told->protocol);
	struct nlattr *info = mnl_attr_nest_start(message, CTA_PROTOINFO);
	struct nlattr *tcp = mnl_attr_nest_start(message, CTA_PROTOINFO_TCP);
	mnl_attr_put_u8(message, CTA_PROTOINFO_TCP_STATE, told->state);
	mnl_attr_nest_end(message, tcp);
	mnl_attr_nest_end(message, info);
	return message;
}

#define CLIENT "192.0.2.10"
#define SERVICE "198.51.100.2"
#define BOX "172.17.0.2"

static bool is_told(const struct told *told)
{
	alignas(struct nlmsghdr) char bytes[1024];
	struct conntrack_flow flow;
	bool parsed = conntrack_parse(put_told(bytes, told), &flow);
	if (parsed) {
		struct ip_address service = address(told->service), server = address(told->server);
		assert_true(ip_address_equal(&flow.came.destination, &service));
		assert_true(ip_address_equal(&flow.server, &server));
		assert_int_equal(flow.came.source_port, 40000);
		assert_int_equal(flow.came.destination_port, 80);
	}
	return parsed;
}

static void test_what_conntrack_tells(void **state)
{
	(void)state;
	const struct told base = {CLIENT, SERVICE,     BOX,
				  CLIENT, IPPROTO_TCP, TCP_CONNTRACK_ESTABLISHED};
	assert_true(is_told(&base));
	const struct told v6 = {"2001:db8:c::10", "2001:db8:f::2", "fd17::2",
				"2001:db8:c::10", IPPROTO_TCP,     TCP_CONNTRACK_SYN_RECV};
	assert_true(is_told(&v6));
	struct told changed = base;
	changed.answers_to = "172.17.0.1"; /* the client's address is translated too */
	assert_true(is_told(&changed));
	/* A socket here has the service's address. */
	changed = base;
	changed.server = SERVICE;
	assert_false(is_told(&changed));
	changed = base;
	changed.protocol = IPPROTO_UDP;
	assert_false(is_told(&changed));
}

static void test_only_what_is_over_does_not_count(void **state)
{
	(void)state;
	struct told told = {CLIENT, SERVICE, BOX, CLIENT, IPPROTO_TCP, 0};
	for (uint8_t number = TCP_CONNTRACK_NONE; number <= TCP_CONNTRACK_LISTEN; number++) {
		told.state = number;
		assert_int_equal(is_told(&told), number != TCP_CONNTRACK_TIME_WAIT);
	}
}

static void test_cut_messages_are_none(void **state)
{
	(void)state;
	alignas(struct nlmsghdr) char bytes[1024];
	const struct told told = {CLIENT, SERVICE, BOX, CLIENT, IPPROTO_TCP, 3};
	struct nlmsghdr *message = put_told(bytes, &told);
	const uint32_t whole = message->nlmsg_len;
	struct conntrack_flow flow;
	unsigned parsed = 0;
	for (uint32_t length = NLMSG_HDRLEN; length < whole; length++) {
		message->nlmsg_len = length;
		parsed += conntrack_parse(message, &flow);
	}
	/* Without its end, which tells of the state, it counts. */
	assert_true(parsed > 0 && parsed < 32);
}

static void test_what_ipvs_tells(void **state)
{
	(void)state;
	struct ip_address found;
	struct ip_address v4 = address(SERVICE), v6 = address("2001:db8:f::2");
	assert_true(translated_parse_ipvs(
	    "TCP C000020A 9C40 C6336402 0050 AC110002 0050 ESTABLISHED     893", &found));
	assert_true(ip_address_equal(&found, &v4));
	assert_true(translated_parse_ipvs(
	    "TCP 2001:0db8:000c:0000:0000:0000:0000:0010 9C40 "
	    "2001:0db8:000f:0000:0000:0000:0000:0002 0050 "
	    "fd17:0000:0000:0000:0000:0000:0000:0002 0050 FIN_WAIT         12",
	    &found));
	assert_true(ip_address_equal(&found, &v6));
	static const char *const none[] = {
	    "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData",
	    "UDP C000020A 9C40 C6336402 0050 AC110002 0050 UDP             293",
	    "TCP C000020A 9C40 C6336402 0050 AC110002 0050 TIME_WAIT       119",
	    "TCP C000020A 9C40 C633640 0050 AC110002 0050 ESTABLISHED     893",
	    "TCP C000020A 9C40 C633640x 0050 AC110002 0050 ESTABLISHED     893",
	    "TCP C000020A 9C40 2001:: 0050 :x 0050",
	    "TCP",
	    "",
	};
	for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
		assert_false(translated_parse_ipvs(none[i], &found));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_what_conntrack_tells),
	    cmocka_unit_test(test_only_what_is_over_does_not_count),
	    cmocka_unit_test(test_cut_messages_are_none),
	    cmocka_unit_test(test_what_ipvs_tells),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
