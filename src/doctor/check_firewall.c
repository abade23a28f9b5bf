/* SPDX-License-Identifier: Apache-2.0 */
/* What the machine's own packet filter does to others' packets that must come in: the node
 * channel's, queries, what landing takes out of tunnels, and what an edge leaves to the kernel. */
#include "base/file.h"
#include "doctor/examination.h"
#include "doctor/firewall.h"
#include "doctor/tool.h"

#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static int count_table(const struct nlmsghdr *message, void *context)
{
	unsigned *tables = context;
	*tables = message ? *tables + 1 : 0;
	return 0;
}

/* Where `nft` is missing: is there anything that it would have read? */
static void tell_unread(struct examination *seen, const char *why)
{
	alignas(struct nlmsghdr) char bytes[256];
	struct netlink filter;
	unsigned tables = 0;
	int result = netlink_init(&filter, NETLINK_NETFILTER);
	if (result == 0) {
		struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
		request->nlmsg_type = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETTABLE;
		struct nfgenmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
		header->nfgen_family = AF_UNSPEC;
		result = netlink_dump(&filter, request, count_table, &tables);
	}
	netlink_done(&filter);
	/* A kernel without nftables refuses the question. */
	if (result == 0 && tables)
		examination_unknown(seen, "what the firewall drops: it has %u tables, and %s",
				    tables, why);
}

static void tell_legacy(struct examination *seen)
{
	static const char *const files[] = {"/proc/net/ip_tables_names",
					    "/proc/net/ip6_tables_names"};
	for (size_t i = 0; i < 2; i++) {
		char name[64] = "";
		FILE *file = fopen(files[i], "re");
		if (file && fgets(name, sizeof(name), file) && *name)
			examination_unknown(seen, "what iptables-legacy drops: its rules are not "
						  "read; `iptables-legacy-save` shows them");
		if (file)
			fclose(file);
	}
}

/* NULL: there is nothing that could be read. */
static json_t *read_ruleset(struct examination *seen)
{
	json_error_t fault;
	struct tool nft = tool_open((const char *[]){"nft", "-j", "list", "ruleset", NULL});
	json_t *ruleset = nft.output ? json_loadf(nft.output, 0, &fault) : NULL;
	const bool ended_well = tool_close(&nft);
	tell_legacy(seen);
	if (ruleset && ended_well)
		return ruleset;
	json_decref(ruleset);
	tell_unread(seen, nft.missing ? "`nft`, which reads them, is not installed"
				      : "`nft -j list ruleset` does not show them");
	return NULL;
}

static const char *protocol_name(unsigned protocol)
{
	return protocol == IPPROTO_UDP ? "UDP" : "TCP";
}

/* The first address of a pool that could be a service's. */
static bool pool_address(const json_t *text, struct ip_address *ret_address)
{
	struct ip_prefix pool;
	if (ip_prefix_parse(json_string_value(text), &pool) < 0)
		return false;
	*ret_address = pool.address;
	ip_address_or_low_bits(ret_address, 1, 0);
	return true;
}

/* --- the node channel --------------------------------------------------------------------------
 */

static void check_channel(struct examination *seen, const json_t *ruleset)
{
	const json_t *channel = json_object_get(seen->facts, "channel");
	const json_t *own_port = json_object_get(seen->facts ? channel : seen->parameters,
						 seen->facts ? "port" : "channel_port");
	struct firewall_answer answer;
	const json_int_t port = json_integer_value(own_port);
	const char *node = examination_text(seen, "node");
	char value[16];
	size_t i;
	json_t *member;
	if (!port)
		return;
	snprintf(value, sizeof(value), "%lld", (long long)port);
	seen->looked++;
	json_array_foreach (json_object_get(seen->facts, "members"), i, member) {
		const char *name = json_string_value(json_object_get(member, "name"));
		const char *address = json_string_value(json_object_get(member, "address"));
		struct firewall_packet packet = {.protocol = IPPROTO_TCP, .port = (uint16_t)port};
		if (!address || !name || (node && strcmp(node, name) == 0) ||
		    ip_address_parse(address, &packet.source) < 0)
			continue;
		packet.family = packet.source.family;
		firewall_judge(ruleset, &packet, &answer);
		if (answer.verdict == FIREWALL_DROPS) {
			FINDING_PUT(seen->findings, FIREWALL_CHANNEL, answer.chain, value,
				    (long long)port, address, answer.rule);
			return;
		}
		if (answer.verdict == FIREWALL_UNSURE) {
			examination_unknown(seen,
					    "whether the firewall lets TCP port %lld from %s in: "
					    "%s is not understood here",
					    (long long)port, address, answer.rule);
			return;
		}
	}
}

/* --- DNS ---------------------------------------------------------------------------------------
 */

static void check_dns(struct examination *seen, const json_t *ruleset)
{
	static const uint8_t protocols[] = {IPPROTO_UDP, IPPROTO_TCP};
	const json_int_t port = json_integer_value(json_object_get(seen->facts, "dns_port"));
	struct firewall_answer answer;
	char value[16];
	size_t i;
	json_t *text;
	snprintf(value, sizeof(value), "%lld", (long long)port);
	json_array_foreach (json_object_get(seen->facts, "dns_addresses"), i, text) {
		for (size_t k = 0; k < 2; k++) {
			struct firewall_packet packet = {.protocol = protocols[k],
							 .port = (uint16_t)port};
			if (ip_address_parse(json_string_value(text), &packet.destination) < 0)
				continue;
			packet.family = packet.destination.family;
			seen->looked++;
			firewall_judge(ruleset, &packet, &answer);
			if (answer.verdict == FIREWALL_DROPS) {
				FINDING_PUT(seen->findings, FIREWALL_DNS, answer.chain, value,
					    protocol_name(protocols[k]), (long long)port,
					    answer.rule);
				return;
			}
			if (answer.verdict == FIREWALL_UNSURE) {
				examination_unknown(
				    seen,
				    "whether the firewall lets queries to %s port %lld in from "
				    "everywhere: %s may drop some",
				    protocol_name(protocols[k]), (long long)port, answer.rule);
				return;
			}
		}
	}
}

/* --- what lands --------------------------------------------------------------------------------
 */

static bool judge_service(struct examination *seen, const json_t *ruleset, const char *service,
			  const struct firewall_packet *packet, const char *pool)
{
	struct firewall_answer answer;
	char words[64];
	const char *protocol = protocol_name(packet->protocol);
	snprintf(words, sizeof(words), "%s dport %u",
		 packet->protocol == IPPROTO_UDP ? "udp" : "tcp", packet->port);
	seen->looked++;
	firewall_judge(ruleset, packet, &answer);
	switch (answer.verdict) {
	case FIREWALL_PASSES:
		return false;
	case FIREWALL_DROPS:
		FINDING_PUT(seen->findings, FIREWALL_SERVICE, answer.chain, words, service,
			    protocol, (long long)packet->port, answer.rule);
		return true;
	case FIREWALL_TRANSLATES:
		FINDING_PUT(seen->findings, NAT_POOL, answer.chain, pool, service, protocol,
			    (long long)packet->port, answer.rule);
		return true;
	case FIREWALL_UNSURE:
		examination_unknown(seen,
				    "whether the firewall lets all clients of service %s in, %s "
				    "port %u: %s may drop or translate some",
				    service, protocol, packet->port, answer.rule);
		return true;
	}
	return false;
}

static void check_service(struct examination *seen, const json_t *ruleset, const json_t *service)
{
	const char *name = json_string_value(json_object_get(service, "name"));
	const char *underlay =
	    json_string_value(json_array_get(examination_list(seen, "underlay"), 0));
	size_t i;
	size_t k;
	json_t *port;
	json_t *pool;
	json_array_foreach (json_object_get(service, "ports"), i, port) {
		json_array_foreach (json_object_get(seen->facts, "pools"), k, pool) {
			struct firewall_packet packet = {
			    .protocol =
				(uint8_t)json_integer_value(json_object_get(port, "protocol")),
			    .port = (uint16_t)json_integer_value(json_object_get(port, "port")),
			    .interface = underlay};
			if (!pool_address(pool, &packet.destination))
				continue;
			packet.family = packet.destination.family;
			if (judge_service(seen, ruleset, name, &packet, json_string_value(pool)))
				return;
		}
	}
}

/* The interface that leads to the rest of the world; 0: none does. */
static int take_exit(const struct nlmsghdr *message, void *context)
{
	unsigned *ifindex = context;
	if (message && message->nlmsg_type == RTM_NEWROUTE)
		*ifindex = netlink_number(message, sizeof(struct rtmsg), RTA_OIF, 0);
	return 0;
}

static unsigned find_exit(struct examination *seen, uint8_t family)
{
	alignas(struct nlmsghdr) char bytes[256];
	struct ip_address far;
	unsigned ifindex = 0;
	struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
	request->nlmsg_type = RTM_GETROUTE;
	struct rtmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->rtm_family = netlink_af(family);
	/* Nobody's (RFC 5737, RFC 3849), and so by the default route. */
	if (ip_address_parse(family == IP_V6 ? "2001:db8:ffff::1" : "203.0.113.1", &far) < 0)
		return 0;
	header->rtm_dst_len = (unsigned char)ip_family_bits(far.family);
	netlink_put_address(request, RTA_DST, &far);
	return netlink_ask(&seen->route, request, take_exit, &ifindex) < 0 ? 0 : ifindex;
}

/* A packet that is taken out of a tunnel comes in by an underlay interface; where clients' way back
 * is another one, rules that look at that drop it. */
static void check_rpfilter(struct examination *seen, const json_t *ruleset, uint8_t family)
{
	struct firewall_answer straight;
	struct firewall_answer astray;
	size_t i;
	json_t *name;
	json_t *pool;
	const unsigned exit = find_exit(seen, family);
	struct firewall_packet packet = {.family = family, .protocol = IPPROTO_TCP, .port = 80};
	bool has_pool = false;
	json_array_foreach (json_object_get(seen->facts, "pools"), i, pool) {
		has_pool = has_pool || (pool_address(pool, &packet.destination) &&
					packet.destination.family == family);
		if (has_pool)
			break;
	}
	json_array_foreach ((json_t *)(uintptr_t)examination_list(seen, "underlay"), i, name) {
		packet.interface = json_string_value(name);
		if (!has_pool || !exit || if_nametoindex(packet.interface) == exit)
			continue;
		seen->looked++;
		packet.strays = false;
		firewall_judge(ruleset, &packet, &straight);
		packet.strays = true;
		firewall_judge(ruleset, &packet, &astray);
		if (astray.verdict == FIREWALL_DROPS && straight.verdict != FIREWALL_DROPS) {
			FINDING_PUT(seen->findings, FIREWALL_RPFILTER, astray.chain, "",
				    astray.rule);
			return;
		}
	}
}

/* --- what an edge leaves to the kernel ---------------------------------------------------------
 */

static void check_forward(struct examination *seen, const json_t *ruleset)
{
	size_t i;
	json_t *hop;
	struct firewall_answer answer;
	json_array_foreach (json_object_get(seen->facts, "next_hops"), i, hop) {
		struct firewall_packet packet = {.forwarded = true};
		const char *address = json_string_value(json_object_get(hop, "address"));
		if (!address || ip_address_parse(address, &packet.destination) < 0)
			continue;
		packet.family = packet.destination.family;
		packet.protocol = packet.family == IP_V6 ? IPPROTO_IPV6 : IPPROTO_IPIP;
		seen->looked++;
		firewall_judge(ruleset, &packet, &answer);
		if (answer.verdict == FIREWALL_DROPS) {
			FINDING_PUT(seen->findings, FIREWALL_FORWARD, answer.chain, "",
				    answer.rule);
			return;
		}
	}
}

void check_firewall(struct examination *seen)
{
	size_t i;
	json_t *service;
	json_t *ruleset = read_ruleset(seen);
	if (!ruleset)
		return;
	check_channel(seen, ruleset);
	if (examination_has_role(seen, "names"))
		check_dns(seen, ruleset);
	if (examination_has_role(seen, "edge"))
		check_forward(seen, ruleset);
	if (examination_has_role(seen, "backend")) {
		json_array_foreach (json_object_get(seen->facts, "services"), i, service) {
			if (json_is_true(json_object_get(service, "here")))
				check_service(seen, ruleset, service);
		}
		check_rpfilter(seen, ruleset, IP_V4);
		check_rpfilter(seen, ruleset, IP_V6);
	}
	json_decref(ruleset);
}
