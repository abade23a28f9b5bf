/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of landing that need no kernel: the file of previous sysctl values, netlink messages
 * of sockets, rules and routes, the table of connections, and the choice of a listener.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "kernel/boot.h"
#include "kernel/sysctl_journal.h"
#include "landing/clamp.h"
#include "landing/cookies.h"
#include "landing/landing_alarms.h"
#include "landing/listeners.h"
#include "landing/routes.h"
#include "landing/rules.h"
#include "landing/sockets.h"
#include "tests/addresses.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the file of sysctl values ---- */

#define LIFE "life 1f7fe13b-8ac7-4a19-9d35-0b1a1d0d2f10 4123"
#define HEAD "fairlead landing sysctls 1\n" LIFE "\n"

#define BOOT_ID "1f7fe13b-8ac7-4a19-9d35-0b1a1d0d2f10"
#define NAMESPACE 4123

static struct sysctl_saved saved[SYSCTL_JOURNAL_ENTRIES];

/* The number of records in the text, or the error. */
static int parse_file(const char *text, const char *boot_id, uint64_t namespace)
{
	size_t count = 7;
	int result = sysctl_file_parse(text, boot_id, namespace, saved, &count);
	if (result < 0)
		assert_int_equal(count, 7);
	return result < 0 ? result : (int)count;
}

static void test_a_file_of_sysctls_is_read(void **state)
{
	(void)state;
	static const char text[] = HEAD "net/ipv4/conf/all/arp_ignore 0 1 0\n"
					"net/ipv4/conf/eth0.7/rp_filter -1 2 12\n";
	assert_int_equal(parse_file(text, BOOT_ID, NAMESPACE), 2);
	assert_string_equal(saved[1].name, "ipv4/conf/eth0.7/rp_filter");
	assert_string_equal(saved[1].before, "-1");
	assert_int_equal(saved[1].ours, 2);
	assert_int_equal(saved[1].ifindex, 12);
	assert_int_equal(saved[1].namespace, NAMESPACE);
	/* What it says of another boot or namespace is gone. */
	assert_int_equal(parse_file(text, BOOT_ID, NAMESPACE + 1), 0);
	assert_int_equal(parse_file(text, "2f7fe13b-8ac7-4a19-9d35-0b1a1d0d2f10", NAMESPACE), 0);
}

static void test_a_cut_file_of_sysctls_is_refused(void **state)
{
	(void)state;
	static const char whole[] = HEAD "net/ipv4/conf/all/arp_ignore 0 1 0\n"
					 "net/ipv6/ip_nonlocal_bind 0 1 0\n";
	char text[sizeof(whole)];
	for (size_t length = 0; length < sizeof(whole) - 1; length++) {
		memcpy(text, whole, length);
		text[length] = '\0';
		int result = parse_file(text, BOOT_ID, NAMESPACE);
		/* Only where a line ends can a shorter file be whole in itself. */
		if (length >= sizeof(HEAD) - 1 && text[length - 1] == '\n')
			assert_true(result >= 0);
		else
			assert_int_equal(result, -FL_ECORRUPT);
	}
}

static void test_hostile_files_of_sysctls_are_refused(void **state)
{
	(void)state;
	static const char *const texts[] = {
	    "fairlead landing sysctls 2\n" LIFE "\n",
	    HEAD "kernel/core_pattern 0 1 0\n",
	    HEAD "net/../kernel/core_pattern 0 1 0\n",
	    HEAD "net/ipv4/conf/all/arp_ignore 0 1\n",
	    HEAD "net/ipv4/conf/all/arp_ignore 0 1 0 0\n",
	    HEAD "net/ipv4/conf/all/arp_ignore zero 1 0\n",
	    HEAD
	    "net/a23456789012345678901234567890123456789012345678901234567890123456789012345678"
	    "901234567890123456 0 1 0\n",
	};
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		assert_int_equal(parse_file(texts[i], BOOT_ID, NAMESPACE), -FL_ECORRUPT);
	struct buffer text;
	buffer_init(&text, 0);
	buffer_puts(&text, HEAD);
	for (int i = 0; i <= SYSCTL_JOURNAL_ENTRIES; i++)
		buffer_puts(&text, "net/ipv4/conf/all/arp_ignore 0 1 0\n");
	assert_int_equal(parse_file(text.data, BOOT_ID, NAMESPACE), -FL_ECORRUPT);
	buffer_done(&text);
}

/* ---- sockets ---- */

static struct nlmsghdr *put_socket(char *bytes, uint8_t family, const char *local, uint16_t port)
{
	memset(bytes, 0, 512);
	struct nlmsghdr *message = mnl_nlmsg_put_header(bytes);
	message->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	struct inet_diag_msg *diag = mnl_nlmsg_put_extra_header(message, sizeof(*diag));
	diag->idiag_family = family;
	diag->id.idiag_sport = htons(port);
	diag->id.idiag_cookie[0] = 0x11223344;
	diag->id.idiag_cookie[1] = 0x55667788;
	diag->idiag_inode = 99;
	assert_int_equal(inet_pton(family, local, diag->id.idiag_src), 1);
	return message;
}

static void test_sockets_are_read(void **state)
{
	(void)state;
	static const struct {
		uint8_t family;
		const char *local;
		const char *expected;
	} cases[] = {
	    {AF_INET, "198.51.100.7", "198.51.100.7"},
	    {AF_INET6, "2001:db8:f::7", "2001:db8:f::7"},
	    {AF_INET6, "::ffff:198.51.100.7", "198.51.100.7"},
	    {AF_INET6, "::fffe:198.51.100.7", "::fffe:c633:6407"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		alignas(struct nlmsghdr) char bytes[512];
		char text[IP_TEXT_BYTES];
		struct socket_seen seen;
		struct nlmsghdr *message = put_socket(bytes, cases[i].family, cases[i].local, 443);
		assert_true(socket_seen_parse(message, IPPROTO_TCP, &seen));
		assert_string_equal(ip_address_format(&seen.local, text), cases[i].expected);
		assert_int_equal(seen.port, 443);
		assert_int_equal(seen.via_v6, cases[i].family == AF_INET6);
		assert_int_equal(seen.cookie, 0x5566778811223344);
		assert_int_equal(seen.inode, 99);
		assert_false(seen.v6_only);
		mnl_attr_put_u8(message, INET_DIAG_SKV6ONLY, 1);
		assert_true(socket_seen_parse(message, IPPROTO_TCP, &seen));
		assert_true(seen.v6_only);
	}
}

static void test_short_and_strange_socket_messages_are_refused(void **state)
{
	(void)state;
	alignas(struct nlmsghdr) char bytes[512];
	struct socket_seen seen;
	struct nlmsghdr *message = put_socket(bytes, AF_INET, "198.51.100.7", 80);
	uint32_t whole = message->nlmsg_len;
	for (uint32_t length = NLMSG_HDRLEN; length < whole; length++) {
		message->nlmsg_len = length;
		assert_false(socket_seen_parse(message, IPPROTO_TCP, &seen));
	}
	message->nlmsg_len = whole;
	((struct inet_diag_msg *)mnl_nlmsg_get_payload(message))->idiag_family = AF_UNIX;
	assert_false(socket_seen_parse(message, IPPROTO_TCP, &seen));
	message = put_socket(bytes, AF_INET, "198.51.100.7", 80);
	message->nlmsg_type = NLMSG_MIN_TYPE;
	assert_false(socket_seen_parse(message, IPPROTO_TCP, &seen));
}

static void test_connections_are_summed_by_address_and_sorted(void **state)
{
	(void)state;
	struct connection_table table = {0};
	struct landing_connections *connections;
	size_t count;
	connection_table_take(&table, &connections, &count);
	assert_null(connections);
	assert_int_equal(count, 0);

	/* Address i has i + 1 connections; enough of them for the table to grow again and again. */
	struct ip_address base = address("2001:db8:f::");
	for (uint32_t i = 0; i < 1000; i++) {
		struct ip_address one = base;
		ip_address_or_low_bits(&one, 999 - i, 0);
		for (uint32_t j = 0; j <= 999 - i; j++)
			assert_int_equal(connection_table_add(&table, &one), 0);
	}
	struct ip_address v4 = address("198.51.100.7");
	assert_int_equal(connection_table_add(&table, &v4), 0);
	connection_table_take(&table, &connections, &count);
	assert_int_equal(count, 1001);
	assert_true(ip_address_equal(&connections[0].address, &v4));
	for (uint32_t i = 0; i < 1000; i++) {
		struct ip_address one = base;
		ip_address_or_low_bits(&one, i, 0);
		assert_true(ip_address_equal(&connections[i + 1].address, &one));
		assert_int_equal(connections[i + 1].count, i + 1);
	}
	free(connections);
}

/* ---- the choice of a listener ---- */

static struct socket_seen listening(const char *local, bool via_v6, bool v6_only, uint64_t cookie)
{
	return (struct socket_seen){.local = address(local),
				    .port = 8080,
				    .protocol = IPPROTO_TCP,
				    .via_v6 = via_v6,
				    .v6_only = v6_only,
				    .cookie = cookie};
}

static struct landing_listener listener(const char *destination, const char *to)
{
	struct landing_listener wanted = {.destination = prefix(destination),
					  .protocol = IPPROTO_TCP,
					  .port = 80,
					  .listen_port = 8080};
	if (to)
		wanted.listen_address = address(to);
	return wanted;
}

static uint64_t chosen(const struct landing_listener *wanted, const struct socket_seen *sockets,
		       size_t count, uint64_t current)
{
	const struct socket_seen *seen = listener_choose(wanted, sockets, count, current);
	return seen ? seen->cookie : 0;
}

static void test_the_listener_that_fits_is_chosen(void **state)
{
	(void)state;
	struct landing_listener v4 = listener("198.51.100.0/26", "10.0.1.11");
	struct landing_listener v6 = listener("2001:db8:f::/108", "fd00::11");
	struct landing_listener any_v4 = listener("198.51.100.0/26", NULL);
	struct landing_listener any_v6 = listener("2001:db8:f::/108", NULL);
	const struct socket_seen sockets[] = {
	    listening("10.0.1.12", false, false, 1), listening("10.0.1.11", false, false, 2),
	    listening("fd00::11", true, false, 3),   listening("::", true, false, 4),
	    listening("0.0.0.0", false, false, 5),
	};
	assert_int_equal(chosen(&v4, sockets, 5, 0), 2);
	assert_int_equal(chosen(&v6, sockets, 5, 0), 3);
	/* The flow's own family before a dual-stack socket, which serves when it is alone. */
	assert_int_equal(chosen(&any_v4, sockets, 5, 0), 5);
	assert_int_equal(chosen(&any_v4, sockets, 4, 0), 4);
	assert_int_equal(chosen(&any_v6, sockets, 5, 0), 4);
	/* The one that serves already is kept, whatever else would be as good. */
	assert_int_equal(chosen(&any_v4, sockets, 5, 4), 4);
	assert_int_equal(chosen(&any_v4, sockets, 5, 1), 5);
	assert_int_equal(chosen(&v4, sockets, 1, 0), 0);
}

static void test_listeners_that_cannot_take_the_flow_are_not_chosen(void **state)
{
	(void)state;
	struct landing_listener any_v4 = listener("198.51.100.0/26", NULL);
	struct landing_listener any_v6 = listener("2001:db8:f::/108", NULL);
	struct socket_seen v6_only = listening("::", true, true, 1);
	struct socket_seen v4 = listening("0.0.0.0", false, false, 2);
	assert_int_equal(chosen(&any_v4, &v6_only, 1, 1), 0);
	assert_int_equal(chosen(&any_v6, &v4, 1, 2), 0);
	v4.port = 8081;
	assert_int_equal(chosen(&any_v4, &v4, 1, 0), 0);
	v4.port = 8080;
	v4.protocol = IPPROTO_UDP;
	assert_int_equal(chosen(&any_v4, &v4, 1, 0), 0);
	v4.protocol = IPPROTO_TCP;
	assert_int_equal(chosen(&any_v4, &v4, 1, 0), 2);
}

static void test_a_process_is_called_by_its_number_in_our_namespace(void **state)
{
	(void)state;
	static const char status[] = "Name:\tnginx\nPid:\t811\nNSpid:\t811\t12\t1\nThreads:\t1\n";
	unsigned levels = 0;
	assert_int_equal(listener_pid_at(status, 0, &levels), 811);
	assert_int_equal(levels, 3);
	assert_int_equal(listener_pid_at(status, 1, NULL), 12);
	assert_int_equal(listener_pid_at(status, 2, NULL), 1);
	assert_int_equal(listener_pid_at(status, 3, NULL), -1);
	assert_int_equal(listener_pid_at("Name:\tx\n", 0, NULL), -1);
	assert_int_equal(listener_pid_at("\nNSpid:\t\n", 0, &levels), -1);
}

/* ---- rules ---- */

static struct nlmsghdr *put_rule(char *bytes, uint8_t action, uint32_t pref, uint32_t table)
{
	memset(bytes, 0, 512);
	struct nlmsghdr *message = mnl_nlmsg_put_header(bytes);
	message->nlmsg_type = RTM_NEWRULE;
	struct fib_rule_hdr *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->family = AF_INET;
	header->action = action;
	mnl_attr_put_u32(message, FRA_PRIORITY, pref);
	mnl_attr_put_u32(message, FRA_TABLE, table);
	mnl_attr_put_u32(message, FRA_SUPPRESS_PREFIXLEN, UINT32_MAX);
	mnl_attr_put_u8(message, FRA_PROTOCOL, LANDING_PROTOCOL);
	return message;
}

static void test_rules_are_read(void **state)
{
	(void)state;
	alignas(struct nlmsghdr) char bytes[512];
	struct rule rule;
	struct nlmsghdr *message = put_rule(bytes, FR_ACT_TO_TBL, 50, RT_TABLE_MAIN);
	assert_true(rule_parse(message, &rule));
	assert_int_equal(rule.pref, 50);
	assert_int_equal(rule.table, RT_TABLE_MAIN);
	assert_int_equal(rule.protocol, LANDING_PROTOCOL);
	assert_string_equal(rule.interface, "");
	assert_false(rule.other);
	assert_int_equal(rule.to.address.family, IP_NONE);

	((struct fib_rule_hdr *)mnl_nlmsg_get_payload(message))->dst_len = 26;
	mnl_attr_put_u32(message, FRA_DST, inet_addr("198.51.100.0"));
	mnl_attr_put_strz(message, FRA_IIFNAME, "lo");
	assert_true(rule_parse(message, &rule));
	assert_string_equal(rule.interface, "lo");
	assert_false(rule.other);
	struct ip_prefix pool = prefix("198.51.100.0/26");
	assert_true(ip_address_equal(&rule.to.address, &pool.address));
	assert_int_equal(rule.to.length, 26);
}

static void test_rules_with_more_to_them_are_marked(void **state)
{
	(void)state;
	alignas(struct nlmsghdr) char bytes[512];
	struct rule rule;
	struct nlmsghdr *message = put_rule(bytes, FR_ACT_TO_TBL, 0, RT_TABLE_LOCAL);
	mnl_attr_put_u32(message, FRA_FWMARK, 7);
	assert_true(rule_parse(message, &rule));
	assert_true(rule.other);
	message = put_rule(bytes, FR_ACT_TO_TBL, 0, RT_TABLE_LOCAL);
	((struct fib_rule_hdr *)mnl_nlmsg_get_payload(message))->flags = FIB_RULE_INVERT;
	assert_true(rule_parse(message, &rule));
	assert_true(rule.other);
	message->nlmsg_type = RTM_DELRULE;
	assert_true(rule_parse(message, &rule));
	message->nlmsg_type = RTM_NEWROUTE;
	assert_false(rule_parse(message, &rule));
}

/* ---- routes ---- */

static struct nlmsghdr *put_route(char *bytes, uint8_t type, uint32_t oif, const char *gateway)
{
	memset(bytes, 0, 1024);
	struct nlmsghdr *message = mnl_nlmsg_put_header(bytes);
	message->nlmsg_type = RTM_NEWROUTE;
	struct rtmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->rtm_family = AF_INET;
	header->rtm_type = type;
	header->rtm_table = RT_TABLE_MAIN;
	header->rtm_protocol = RTPROT_BOOT;
	mnl_attr_put_u32(message, RTA_TABLE, RT_TABLE_MAIN);
	if (gateway)
		mnl_attr_put_u32(message, RTA_GATEWAY, inet_addr(gateway));
	mnl_attr_put_u32(message, RTA_OIF, oif);
	return message;
}

static struct nlmsghdr *put_multipath(char *bytes)
{
	struct rtnexthop hops[2] = {
	    {.rtnh_len = sizeof(hops[0]), .rtnh_ifindex = 1, .rtnh_flags = RTNH_F_DEAD},
	    {.rtnh_len = sizeof(hops[0]), .rtnh_ifindex = 2, .rtnh_flags = RTNH_F_ONLINK}};
	memset(bytes, 0, 1024);
	struct nlmsghdr *message = mnl_nlmsg_put_header(bytes);
	message->nlmsg_type = RTM_NEWROUTE;
	struct rtmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	header->rtm_family = AF_INET;
	header->rtm_type = RTN_UNICAST;
	mnl_attr_put(message, RTA_MULTIPATH, sizeof(hops), hops);
	return message;
}

/* Whether the route leads beyond this machine's links. */
static bool leads_beyond(const struct nlmsghdr *route)
{
	struct exits exits = {0};
	assert_int_equal(exits_add_route(&exits, route), 0);
	return exits.lead_beyond;
}

static void test_which_routes_lead_beyond_this_machines_links(void **state)
{
	(void)state;
	alignas(struct nlmsghdr) char bytes[1024];
	struct nlmsghdr *route = put_route(bytes, RTN_UNICAST, 3, NULL);
	assert_true(leads_beyond(route)); /* a default route to a link without gateways */
	struct rtmsg *header = mnl_nlmsg_get_payload(route);
	header->rtm_dst_len = 24;
	assert_false(leads_beyond(route));
	mnl_attr_put_u32(route, RTA_GATEWAY, inet_addr("10.0.1.1"));
	assert_true(leads_beyond(route));
	header->rtm_type = RTN_UNREACHABLE;
	assert_false(leads_beyond(route));
	header->rtm_dst_len = 0;
	assert_false(leads_beyond(route));
	route = put_multipath(bytes);
	((struct rtmsg *)mnl_nlmsg_get_payload(route))->rtm_dst_len = 8;
	assert_true(leads_beyond(route));
}

static void test_the_interfaces_of_routes_are_found(void **state)
{
	(void)state;
	alignas(struct nlmsghdr) char bytes[1024];
	struct exits exits = {0};
	assert_int_equal(exits_add_route(&exits, put_route(bytes, RTN_UNICAST, 3, NULL)), 0);
	assert_int_equal(exits_add_route(&exits, put_route(bytes, RTN_UNICAST, 3, "10.0.1.1")), 0);
	assert_int_equal(exits.count, 1);
	assert_true(exits_have(&exits, 3));
	assert_int_equal(exits_add_route(&exits, put_multipath(bytes)), 0);
	assert_true(exits_have(&exits, 1) && exits_have(&exits, 2));

	/* What leads nowhere, to this machine itself, or to a link's own addresses. */
	assert_int_equal(exits_add_route(&exits, put_route(bytes, RTN_UNREACHABLE, 4, NULL)), 0);
	assert_int_equal(exits_add_route(&exits, put_route(bytes, RTN_LOCAL, 4, NULL)), 0);
	struct nlmsghdr *route = put_route(bytes, RTN_UNICAST, 4, NULL);
	struct rtmsg *header = mnl_nlmsg_get_payload(route);
	header->rtm_family = AF_INET6;
	header->rtm_dst_len = 64;
	mnl_attr_put(route, RTA_DST, 16, "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0");
	assert_int_equal(exits_add_route(&exits, route), 0);
	route = put_route(bytes, RTN_UNICAST, 4, NULL);
	route->nlmsg_type = RTM_DELROUTE;
	assert_int_equal(exits_add_route(&exits, route), 0);
	assert_int_equal(exits.count, 3);

	/* Next hops that are cut, or say that they are. */
	route = put_multipath(bytes);
	struct nlattr *multipath = mnl_nlmsg_get_payload_offset(route, sizeof(struct rtmsg));
	struct rtnexthop *hop = mnl_attr_get_payload(multipath);
	hop->rtnh_ifindex = 5;
	hop->rtnh_len = sizeof(*hop) - 1;
	assert_int_equal(exits_add_route(&exits, route), 0);
	hop->rtnh_len = 100;
	assert_int_equal(exits_add_route(&exits, route), 0);
	assert_int_equal(exits.count, 3);
}

static void test_interfaces_have_a_limit(void **state)
{
	(void)state;
	struct exits exits = {0};
	for (unsigned i = 1; i <= EXITS_MAX; i++)
		assert_int_equal(exits_add(&exits, i), 0);
	assert_int_equal(exits_add(&exits, EXITS_MAX), 0);
	assert_int_equal(exits_add(&exits, EXITS_MAX + 1), -FL_ELIMIT);
}

static void test_the_segment_that_fits_a_packet(void **state)
{
	(void)state;
	assert_int_equal(clamp_mss(1480, AF_INET), 1440);
	assert_int_equal(clamp_mss(1460, AF_INET6), 1400);
	assert_int_equal(clamp_mss(60, AF_INET), 88);
}

static void test_alarms_have_a_limit_and_count_what_is_over_it(void **state)
{
	(void)state;
	struct landing_alarms alarms = {0};
	LANDING_ALARM(NULL, LOOKUP_LOST, "");
	for (unsigned i = 0; i < LANDING_ALARMS_MAX + 3; i++) {
		if (i % 2)
			LANDING_ALARM(&alarms, RULE_LOST, "IPv4", "ip (pid 7)", "IPv4", i);
		else
			LANDING_ALARM(&alarms, LANDING_MORE, "", i);
	}
	assert_int_equal(alarms.count, LANDING_ALARMS_MAX);
	assert_int_equal(alarms.dropped, 3);
	assert_string_equal(alarms.items[5].text,
			    "ip (pid 7) deleted the IPv4 rule with preference 5; added again");
	assert_string_equal(alarms.items[5].subject, "IPv4");
	assert_true(alarm_is_repaired(alarms.items[5].code));
	assert_false(alarm_is_repaired(alarms.items[6].code));
}

static void test_the_boot_id_is_read(void **state)
{
	(void)state;
	char text[BOOT_ID_BYTES];
	assert_int_equal(boot_id_read(text, NULL), 0);
	assert_int_equal(strlen(text), BOOT_ID_BYTES - 1);
	assert_int_equal(text[8], '-');
}

/* --- SYN cookies --- */

static void test_the_kernels_count_of_cookies_is_read(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		int result;
		uint64_t sent;
	} rows[] = {
	    {"TcpExt: SyncookiesSent SyncookiesRecv\nTcpExt: 17 4\n", 0, 17},
	    {"IpExt: A B\nIpExt: 1 2\nTcpExt: First SyncookiesSent\nTcpExt: 1 "
	     "18446744073709551615\n",
	     0, UINT64_MAX},
	    {"", -FL_ENOTFOUND, 0},
	    {"TcpExt: SyncookiesSent\n", -FL_ENOTFOUND, 0},
	    {"TcpExt: SyncookiesSent\nTcpExt: \n", -FL_ENOTFOUND, 0},
	    {"TcpExt: SyncookiesSent\nTcpExt: x\n", -FL_ENOTFOUND, 0},
	    {"TcpExt: Other SyncookiesSent\nTcpExt: 1\n", -FL_ENOTFOUND, 0},
	    {"TcpExt: SyncookiesSentX Other\nTcpExt: 1 2\n", -FL_ENOTFOUND, 0},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint64_t sent = 77;
		assert_int_equal(
		    kernel_count_parse(rows[i].text, "TcpExt: ", "SyncookiesSent", &sent),
		    rows[i].result);
		assert_true(sent == (rows[i].result ? 77 : rows[i].sent));
	}
}

static void test_how_long_no_cookie_was_sent(void **state)
{
	(void)state;
	struct cookie_watch watch = {0};
	uint64_t age_ms;
	assert_false(cookies_age(&watch, 5, &age_ms));
	cookies_look(&watch, 1000); /* this machine's own */
	assert_true(cookies_age(&watch, 1000, &age_ms));
	/* None, ever; then one that nobody saw being sent. */
	watch.sent = 0;
	assert_true(cookies_age(&watch, 5000, &age_ms) && age_ms == UINT64_MAX);
	watch.sent = 3;
	watch.changed_ms = 4000;
	assert_true(cookies_age(&watch, 5000, &age_ms) && age_ms == 1000);
	/* Another count than at the last look: one was sent since. */
	watch.sent = UINT64_MAX;
	cookies_look(&watch, 6000);
	assert_int_equal(watch.changed_ms, 6000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_file_of_sysctls_is_read),
	    cmocka_unit_test(test_a_cut_file_of_sysctls_is_refused),
	    cmocka_unit_test(test_hostile_files_of_sysctls_are_refused),
	    cmocka_unit_test(test_sockets_are_read),
	    cmocka_unit_test(test_short_and_strange_socket_messages_are_refused),
	    cmocka_unit_test(test_connections_are_summed_by_address_and_sorted),
	    cmocka_unit_test(test_the_listener_that_fits_is_chosen),
	    cmocka_unit_test(test_listeners_that_cannot_take_the_flow_are_not_chosen),
	    cmocka_unit_test(test_a_process_is_called_by_its_number_in_our_namespace),
	    cmocka_unit_test(test_rules_are_read),
	    cmocka_unit_test(test_rules_with_more_to_them_are_marked),
	    cmocka_unit_test(test_which_routes_lead_beyond_this_machines_links),
	    cmocka_unit_test(test_the_interfaces_of_routes_are_found),
	    cmocka_unit_test(test_interfaces_have_a_limit),
	    cmocka_unit_test(test_the_segment_that_fits_a_packet),
	    cmocka_unit_test(test_alarms_have_a_limit_and_count_what_is_over_it),
	    cmocka_unit_test(test_the_boot_id_is_read),
	    cmocka_unit_test(test_the_kernels_count_of_cookies_is_read),
	    cmocka_unit_test(test_how_long_no_cookie_was_sent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
