/* SPDX-License-Identifier: Apache-2.0 */
#include "dataplane/calls.h"

#include "base/sysctl.h"
#include "dataplane/internal.h"
#include "kernel/link.h"
#include "kernel/own_calls.h"
#include "kernel/rule.h"

#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdalign.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define LEAST_MTU 1280u /* IPv6's */
#define MOST_MTU 3000u /* of a veth whose far end runs a program: a frame fits a page */
#define PASSING_BYTES 20u /* that passing on takes more than a tunnel */

static const struct ip_address far_address = {.family = IP_V4, .bytes = {169, 254, 102, 1}};
static const struct ip_address gateways[2] = {
    {.family = IP_V4, .bytes = {169, 254, 102, 2}},
    {.family = IP_V6, .bytes = {0xfe, 0x80, [12] = 0x66, [13] = 0x6c, [15] = 2}}};

/* --- the pair --- */

static struct nlmsghdr *begin(char *buffer, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *request = mnl_nlmsg_put_header(buffer);
	request->nlmsg_type = type;
	request->nlmsg_flags = flags;
	return request;
}

static int make_pair(struct netlink *requests)
{
	alignas(struct nlmsghdr) char buffer[512];
	struct nlmsghdr *request = begin(buffer, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
	struct ifinfomsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->ifi_family = AF_UNSPEC;
	mnl_attr_put_strz(request, IFLA_IFNAME, OWN_CALLS_NEAR);
	struct nlattr *info = mnl_attr_nest_start(request, IFLA_LINKINFO);
	mnl_attr_put_strz(request, IFLA_INFO_KIND, "veth");
	struct nlattr *data = mnl_attr_nest_start(request, IFLA_INFO_DATA);
	struct nlattr *peer = mnl_attr_nest_start(request, VETH_INFO_PEER);
	mnl_nlmsg_put_extra_header(request, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(request, IFLA_IFNAME, OWN_CALLS_FAR);
	mnl_attr_nest_end(request, peer);
	mnl_attr_nest_end(request, data);
	mnl_attr_nest_end(request, info);
	int result = netlink_ask(requests, request, NULL, NULL);
	return result == -EEXIST ? 0 : result;
}

static int set_link(struct netlink *requests, uint32_t ifindex, uint32_t mtu)
{
	alignas(struct nlmsghdr) char buffer[256];
	struct nlmsghdr *request = begin(buffer, RTM_NEWLINK, 0);
	struct ifinfomsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->ifi_family = AF_UNSPEC;
	header->ifi_index = (int)ifindex;
	header->ifi_flags = IFF_UP;
	header->ifi_change = IFF_UP;
	mnl_attr_put_u32(request, IFLA_MTU, mtu);
	return netlink_ask(requests, request, NULL, NULL);
}

/* The program sees what the stack sends before any device finishes it: whole segments, with sums.
 */
static int stop_offloads(const char *name)
{
	static const uint32_t commands[] = {ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO};
	int result = 0;
	int control = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (control < 0)
		return -errno;
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]) && result == 0; i++) {
		struct ethtool_value value = {.cmd = commands[i]};
		struct ifreq request = {.ifr_data = (void *)&value};
		snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
		if (ioctl(control, SIOCETHTOOL, &request) < 0 && errno != EOPNOTSUPP)
			result = -errno;
	}
	close(control);
	return result;
}

static int add_address(struct netlink *requests, uint32_t ifindex)
{
	alignas(struct nlmsghdr) char buffer[256];
	struct nlmsghdr *request = begin(buffer, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
	struct ifaddrmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->ifa_family = AF_INET;
	header->ifa_prefixlen = 32;
	header->ifa_scope = RT_SCOPE_LINK;
	header->ifa_index = ifindex;
	netlink_put_address(request, IFA_LOCAL, &far_address);
	int result = netlink_ask(requests, request, NULL, NULL);
	return result == -EEXIST ? 0 : result;
}

/* What a packet may have so that it fits every way out, also when it is passed on. */
static uint32_t fitting_mtu(struct edge *edge)
{
	uint32_t least = MOST_MTU;
	for (size_t i = 0; i < edge->attachments.count; i++) {
		const struct attachment *attachment = &edge->attachments.items[i];
		struct link_info link;
		if (!attachment->is_calls && attachment->ifindex &&
		    link_read(&edge->requests, attachment->ifindex, &link) == 0 && link.mtu < least)
			least = link.mtu;
	}
	const uint32_t header = PASSING_BYTES + (edge->source_v6.family == IP_NONE ? 20 : 40);
	return least < LEAST_MTU + header ? LEAST_MTU : least - header;
}

static int set_end(struct edge *edge, uint32_t ifindex, uint32_t mtu)
{
	struct link_info link;
	int result = link_read(&edge->requests, ifindex, &link);
	if (result == 0 && (link.mtu != mtu || !(link.flags & IFF_UP)))
		result = set_link(&edge->requests, ifindex, mtu);
	return result;
}

/* Permanent: nobody answers for these. */
static int set_neighbour(struct edge *edge, uint32_t near, uint32_t far,
			 const struct ip_address *address)
{
	alignas(struct nlmsghdr) char buffer[256];
	struct link_info link;
	struct nlmsghdr *request = begin(buffer, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
	struct ndmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	int result = link_read(&edge->requests, far, &link);
	if (result < 0)
		return result;
	header->ndm_family = netlink_af(address->family);
	header->ndm_ifindex = (int)near;
	header->ndm_state = NUD_PERMANENT;
	netlink_put_address(request, NDA_DST, address);
	mnl_attr_put(request, NDA_LLADDR, sizeof(link.address), link.address);
	return netlink_ask(&edge->requests, request, NULL, NULL);
}

/* The interface is ours, and so are its settings. With the larger of two rp_filters, and 2 the
 * largest, no setting for all makes it strict: the source is an address of another interface. */
static int set_far_settings(void)
{
	int result = sysctl_write("net/ipv4/conf/" OWN_CALLS_FAR "/rp_filter", 2);
	return result < 0 ? result
			  : sysctl_write("net/ipv4/conf/" OWN_CALLS_FAR "/accept_local", 1);
}

static int set_pair(struct edge *edge)
{
	const bool had_near = if_nametoindex(OWN_CALLS_NEAR) != 0;
	int result = had_near ? 0 : make_pair(&edge->requests);
	const uint32_t near = if_nametoindex(OWN_CALLS_NEAR);
	const uint32_t far = if_nametoindex(OWN_CALLS_FAR);
	if (result == 0 && (!near || !far))
		result = -ENODEV;
	if (result == 0)
		result = stop_offloads(OWN_CALLS_NEAR);
	if (result == 0)
		result = add_address(&edge->requests, far);
	if (result == 0)
		result = set_far_settings();
	const uint32_t mtu = fitting_mtu(edge);
	if (result == 0)
		result = set_end(edge, far, mtu);
	if (result == 0)
		result = set_end(edge, near, mtu);
	if (result == 0 && !had_near && edge->calls.has_led)
		snprintf(edge->calls.repaired, sizeof(edge->calls.repaired),
			 "interface " OWN_CALLS_NEAR " had been deleted");
	return result;
}

/* --- routes and rules --- */

static const struct ip_address *source_of(const struct edge *edge, uint8_t family)
{
	return family == IP_V4 ? &edge->source_v4 : &edge->source_v6;
}

static int set_route(struct edge *edge, uint32_t near, size_t family)
{
	alignas(struct nlmsghdr) char buffer[256];
	const struct ip_address *gateway = &gateways[family];
	struct nlmsghdr *request =
	    begin(buffer, RTM_NEWROUTE,
		  NLM_F_CREATE | (edge->calls.has_led ? NLM_F_EXCL : NLM_F_REPLACE));
	struct rtmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->rtm_family = netlink_af(gateway->family);
	header->rtm_protocol = OWN_CALLS_PROTOCOL;
	header->rtm_type = RTN_UNICAST;
	header->rtm_scope = RT_SCOPE_UNIVERSE;
	header->rtm_flags = RTNH_F_ONLINK;
	mnl_attr_put_u32(request, RTA_TABLE, OWN_CALLS_TABLE);
	mnl_attr_put_u32(request, RTA_OIF, near);
	netlink_put_address(request, RTA_GATEWAY, gateway);
	netlink_put_address(request, RTA_PREFSRC, source_of(edge, gateway->family));
	int result = netlink_ask(&edge->requests, request, NULL, NULL);
	if (result == 0 && edge->calls.has_led)
		snprintf(edge->calls.repaired, sizeof(edge->calls.repaired),
			 "the IPv%s route that leads own calls into the edge had been removed",
			 family ? "6" : "4");
	return result == -EEXIST ? 0 : result;
}

static struct rule rule_for(const struct ip_prefix *pool)
{
	return (struct rule){.family = netlink_af(pool->address.family),
			     .action = FR_ACT_TO_TBL,
			     .protocol = OWN_CALLS_PROTOCOL,
			     .interface = "lo",
			     .pref = OWN_CALLS_PREF,
			     .table = OWN_CALLS_TABLE,
			     .to = *pool};
}

/* All rules of ours but those for `kept`. */
static int sweep_rules(struct netlink *requests, const struct ip_prefix *kept, size_t kept_count)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	int result = 0;
	for (size_t f = 0; f < 2 && result == 0; f++) {
		struct rule_list present;
		result = rules_read(requests, families[f], &present);
		for (size_t i = 0; i < present.count && result >= 0; i++) {
			const struct rule *rule = &present.items[i];
			if (rule->protocol == OWN_CALLS_PROTOCOL && rule->pref == OWN_CALLS_PREF &&
			    !ip_prefix_is_among(&rule->to, kept, kept_count))
				result = rule_delete(requests, rule);
		}
		rule_list_done(&present);
		result = result < 0 ? result : 0;
	}
	return result;
}

static size_t list_pools(const struct edge *edge, struct ip_prefix *pools)
{
	size_t count = 0;
	for (size_t family = 0; family < 2; family++) {
		const uint8_t id = family ? IP_V6 : IP_V4;
		for (size_t i = 0; i < EDGE_MAP_POOLS; i++) {
			if (edge->pools[family][i].active && source_of(edge, id)->family != IP_NONE)
				pools[count++] = edge->pools[family][i].prefix;
		}
	}
	return count;
}

static int set_rules(struct edge *edge, const struct ip_prefix *pools, size_t count)
{
	struct calls *calls = &edge->calls;
	int result = 0;
	bool fewer = !calls->has_led;
	for (size_t i = 0; i < count && result == 0; i++) {
		const struct rule rule = rule_for(&pools[i]);
		const int added = rule_add(&edge->requests, &rule);
		if (added > 0 && ip_prefix_is_among(&pools[i], calls->led, calls->led_count))
			snprintf(calls->repaired, sizeof(calls->repaired),
				 "a rule that leads own calls into the edge had been removed");
		result = added < 0 ? added : 0;
	}
	for (size_t i = 0; i < calls->led_count; i++)
		fewer |= !ip_prefix_is_among(&calls->led[i], pools, count);
	if (result == 0 && fewer)
		result = sweep_rules(&edge->requests, pools, count);
	struct ip_prefix *led = calloc(count + 1, sizeof(*led));
	if (!led)
		return result < 0 ? result : -ENOMEM;
	memcpy(led, pools, count * sizeof(*led));
	free(calls->led);
	calls->led = led;
	calls->led_count = count;
	return result;
}

/* --- all of it --- */

static bool is_attached(const struct edge *edge)
{
	for (size_t i = 0; i < edge->attachments.count; i++) {
		const struct attachment *attachment = &edge->attachments.items[i];
		if (attachment->is_calls && attachment->link >= 0)
			return true;
	}
	return false;
}

static void note(struct edge *edge, int result, const char *what)
{
	if (result < 0)
		snprintf(edge->calls.problem, sizeof(edge->calls.problem), "%s: %s", what,
			 error_text(result));
	else
		edge->calls.problem[0] = '\0';
}

void calls_make_pair(struct edge *edge)
{
	if (edge->calls.wanted)
		note(edge, set_pair(edge), "the pair of interfaces for them cannot be set up");
}

void calls_update(struct edge *edge)
{
	struct ip_prefix pools[2 * EDGE_MAP_POOLS];
	const size_t count = list_pools(edge, pools);
	if (!edge->calls.wanted || !edge->attachments.wanted)
		return;
	calls_make_pair(edge);
	if (*edge->calls.problem)
		return;
	const uint32_t near = if_nametoindex(OWN_CALLS_NEAR);
	const uint32_t far = if_nametoindex(OWN_CALLS_FAR);
	int result = 0;
	if (!is_attached(edge)) {
		/* Nothing decides there: calls go as they would on a machine that is no edge. */
		result = sweep_rules(&edge->requests, NULL, 0);
		note(edge, result < 0 ? result : -ENOENT,
		     "the edge's program is not on " OWN_CALLS_FAR);
		return;
	}
	for (size_t family = 0; family < 2 && result == 0; family++) {
		if (source_of(edge, gateways[family].family)->family == IP_NONE)
			continue;
		result = set_neighbour(edge, near, far, &gateways[family]);
		if (result == 0)
			result = set_route(edge, near, family);
	}
	if (result == 0)
		result = set_rules(edge, pools, count);
	note(edge, result, "their routes or rules cannot be set");
	edge->calls.has_led |= result == 0;
}

void calls_follow_pools(struct edge *edge)
{
	const struct calls *calls = &edge->calls;
	struct ip_prefix pools[2 * EDGE_MAP_POOLS];
	const size_t count = list_pools(edge, pools);
	bool same = calls->has_led && !*calls->problem && calls->led_count == count;
	for (size_t i = 0; i < count && same; i++)
		same = ip_prefix_is_among(&pools[i], calls->led, count);
	if (!same)
		calls_update(edge);
}

bool calls_take_repaired(struct edge *edge, char *text, size_t size)
{
	if (!*edge->calls.repaired)
		return false;
	snprintf(text, size, "%s", edge->calls.repaired);
	edge->calls.repaired[0] = '\0';
	return true;
}

void calls_close(struct edge *edge)
{
	free(edge->calls.led);
	edge->calls.led = NULL;
	edge->calls.led_count = 0;
}

/* With the pair go its routes and neighbours. */
int calls_remove(struct error *err)
{
	alignas(struct nlmsghdr) char buffer[256];
	struct netlink requests;
	int result = netlink_init(&requests, NETLINK_ROUTE);
	if (result == 0)
		result = sweep_rules(&requests, NULL, 0);
	const uint32_t near = if_nametoindex(OWN_CALLS_NEAR);
	if (result == 0 && near) {
		struct nlmsghdr *request = begin(buffer, RTM_DELLINK, 0);
		struct ifinfomsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
		header->ifi_family = AF_UNSPEC;
		header->ifi_index = (int)near;
		result = netlink_ask(&requests, request, NULL, NULL);
	}
	netlink_done(&requests);
	return result < 0 ? error_set(err, result,
				      "what leads own calls into the edge cannot be removed: %s",
				      error_text(result))
			  : 0;
}
