/* SPDX-License-Identifier: Apache-2.0 */
#include "landing/landing.h"

#include "kernel/link.h"
#include "kernel/netlink.h"
#include "landing/clamp.h"
#include "landing/landing_alarms.h"
#include "landing/listeners.h"
#include "landing/programs.h"
#include "landing/routes.h"
#include "landing/rules.h"
#include "landing/sockets.h"
#include "landing/sysctls.h"
#include "landing/translated.h"
#include "landing/underlay.h"
#include "landing/watches.h"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static const uint8_t families[] = {AF_INET, AF_INET6};

struct landing {
	struct programs programs;
	struct sysctl_journal journal;
	struct listeners listeners;
	struct netlink route;
	struct netlink diag;
	struct netlink tracked; /* opened when it is needed */
	struct netlink news;
	/* What was applied, as far as checks need it. */
	struct ip_prefix pools[LANDING_POOLS_MAX];
	unsigned pool_count;
	struct ip_address addresses[LANDING_ADDRESSES_MAX];
	unsigned address_count;
	char admitted[LANDING_INTERFACES_MAX][16]; /* interfaces of an edge of this machine */
	unsigned admitted_count;
	uint32_t path_mtu; /* from the edges; 0: not known */
	uint32_t passing_outer; /* bytes of outer headers, between edges; 0: there is one edge */
	struct exits exits; /* which the clamp of the MSS is on */
	struct watches watches;
	bool applied;
	bool network_changed; /* since it was last compared with what was applied */
	/* Who deleted the last rule or route of ours that the news since then told of; "": nobody
	 */
	char rule_deleter[64];
	char route_deleter[64];
};

static int open_netlink(struct landing *landing, struct error *err)
{
	static const int groups[] = {RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
				     RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,  RTNLGRP_IPV4_RULE,
				     RTNLGRP_IPV6_RULE,  RTNLGRP_TC};
	int result = netlink_init(&landing->route, NETLINK_ROUTE);
	if (result == 0)
		result = netlink_init(&landing->diag, NETLINK_SOCK_DIAG);
	if (result == 0)
		result =
		    netlink_init_news(&landing->news, groups, sizeof(groups) / sizeof(*groups));
	if (result < 0)
		error_set(err, result, "cannot open a netlink socket: %s", error_text(result));
	return result;
}

/* Connections of an earlier run must be counted, not taken for none, before anything is applied. */
static int take_over_pools(struct landing *landing, struct error *err)
{
	int result = 0;
	for (size_t i = 0; i < sizeof(families) && result == 0; i++)
		result = routes_read_local(&landing->route, families[i], landing->pools,
					   &landing->pool_count, err);
	return result;
}

static int take_admitted(struct landing *landing, const struct landing_options *options,
			 struct error *err)
{
	if (options->admitted_count > LANDING_INTERFACES_MAX)
		return error_set(err, -FL_ELIMIT,
				 "%u interfaces of an edge; landing takes at most %d",
				 options->admitted_count, LANDING_INTERFACES_MAX);
	for (unsigned i = 0; i < options->admitted_count; i++)
		snprintf(landing->admitted[i], sizeof(landing->admitted[i]), "%s",
			 options->admitted[i]);
	landing->admitted_count = options->admitted_count;
	return 0;
}

int landing_open(const struct landing_options *options, struct landing **ret_landing,
		 struct error *err)
{
	struct landing *landing = calloc(1, sizeof(*landing));
	if (!landing)
		return error_set(err, -ENOMEM, "out of memory");
	landing->journal.map = -1;
	/* Privileges and interfaces come first: their errors explain what would follow. */
	int result = programs_open(&landing->programs, options, err);
	if (result == 0)
		result = take_admitted(landing, options, err);
	if (result == 0)
		result = open_netlink(landing, err);
	if (result == 0)
		result = take_over_pools(landing, err);
	if (result == 0)
		result = sysctl_journal_open(&landing->journal, options->pin_root, err);
	if (result == 0 && options->former_sysctls)
		result = sysctl_journal_take_over(&landing->journal, options->former_sysctls, err);
	if (result < 0) {
		(void)landing_close(landing, LANDING_KEEP, NULL);
		return result;
	}
	listeners_init(&landing->listeners, programs_places_map(&landing->programs),
		       programs_sockets_map(&landing->programs));
	*ret_landing = landing;
	return 0;
}

static bool has_family(const struct landing *landing, uint8_t family)
{
	for (unsigned i = 0; i < landing->pool_count; i++) {
		if (landing->pools[i].address.family == family)
			return true;
	}
	return false;
}

static int check_counts(const struct landing_desired *desired, struct error *err)
{
	const struct {
		const char *what;
		unsigned count;
		unsigned limit;
	} limits[] = {{"pools", desired->pool_count, LANDING_POOLS_MAX},
		      {"own addresses", desired->address_count, LANDING_ADDRESSES_MAX},
		      {"edges", desired->edge_count, LANDING_EDGES_MAX},
		      {"listeners", desired->listener_count, LANDING_LISTENERS_MAX}};
	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		if (limits[i].count > limits[i].limit)
			return error_set(err, -FL_ELIMIT, "%u %s; landing takes at most %u",
					 limits[i].count, limits[i].what, limits[i].limit);
	}
	return 0;
}

static int check_listener(const struct landing_desired *desired, unsigned at, struct error *err)
{
	char text[IP_TEXT_BYTES];
	const struct landing_listener *listener = &desired->listeners[at];
	ip_prefix_format(&listener->destination, text);
	if (listener->protocol != IPPROTO_TCP && listener->protocol != IPPROTO_UDP)
		return error_set(err, -FL_EINVALID, "%s port %u: only tcp and udp can be handed",
				 text, listener->port);
	if (!listener->port || !listener->listen_port)
		return error_set(err, -FL_EINVALID, "%s: port 0 cannot be handed over", text);
	for (unsigned i = 0; i < at; i++) {
		const struct landing_listener *other = &desired->listeners[i];
		if (other->protocol == listener->protocol && other->port == listener->port &&
		    other->destination.length == listener->destination.length &&
		    ip_address_equal(&other->destination.address, &listener->destination.address))
			return error_set(err, -FL_EINVALID, "%s port %u is handed over twice", text,
					 listener->port);
	}
	return 0;
}

static int check_desired(const struct landing_desired *desired, struct error *err)
{
	char address[IP_TEXT_BYTES];
	char pool[IP_TEXT_BYTES];
	int result = check_counts(desired, err);
	for (unsigned i = 0; i < desired->pool_count && result == 0; i++) {
		for (unsigned j = 0; j < desired->address_count; j++) {
			if (ip_prefix_contains(&desired->pools[i], &desired->addresses[j]))
				return error_set(
				    err, -FL_EINVALID,
				    "%s, an address of this machine, lies in pool %s: edges could "
				    "not tunnel to it",
				    ip_address_format(&desired->addresses[j], address),
				    ip_prefix_format(&desired->pools[i], pool));
		}
	}
	for (unsigned i = 0; i < desired->listener_count && result == 0; i++)
		result = check_listener(desired, i, err);
	return result;
}

static void remember(struct landing *landing, const struct landing_desired *desired)
{
	for (unsigned i = 0; i < desired->pool_count; i++)
		landing->pools[i] = desired->pools[i];
	landing->pool_count = desired->pool_count;
	for (unsigned i = 0; i < desired->address_count; i++)
		landing->addresses[i] = desired->addresses[i];
	landing->address_count = desired->address_count;
	/* Among several edges packets are passed on, by IPv4 where they have it: an outer header,
	 * UDP, and 12 bytes. */
	unsigned edges[2] = {0};
	for (unsigned i = 0; i < desired->edge_count; i++)
		edges[desired->edges[i].family == IP_V6]++;
	landing->passing_outer = edges[0] > 1 ? 40 : edges[1] > 1 ? 60 : 0;
}

/* The largest packet that fits the tunnel on every underlay interface that is there. */
static uint32_t tunnel_mtu(const struct landing *landing)
{
	uint32_t mtu =
	    underlay_mtu(landing->programs.interfaces, landing->programs.interface_count);
	if (landing->path_mtu && landing->path_mtu < mtu)
		mtu = landing->path_mtu;
	uint32_t outer = 20; /* the largest outer header that edges may use; bytes */
	for (unsigned i = 0; i < landing->address_count; i++) {
		if (landing->addresses[i].family == IP_V6)
			outer = 40;
	}
	if (outer < landing->passing_outer)
		outer = landing->passing_outer;
	return mtu > outer ? mtu - outer : 1;
}

static int apply_sysctls(struct landing *landing, struct landing_alarms *alarms, struct error *err)
{
	return sysctls_apply(&landing->journal, has_family(landing, IP_V4),
			     has_family(landing, IP_V6), &landing->programs, alarms, err);
}

/* Also on the loopback: what this machine sends to a service comes back to it by the tunnel, but
 * the answer does not leave. */
static int apply_clamp(struct landing *landing, struct landing_alarms *alarms, struct error *err)
{
	struct exits exits = {.items = {if_nametoindex("lo")}, .count = landing->pool_count > 0};
	const uint32_t mtu = tunnel_mtu(landing);
	int result = programs_set_mss(&landing->programs, clamp_mss(mtu, AF_INET),
				      clamp_mss(mtu, AF_INET6), err);
	for (size_t i = 0; i < sizeof(families) && result == 0; i++) {
		if (!has_family(landing, families[i] == AF_INET ? IP_V4 : IP_V6))
			continue;
		const char *family = netlink_family_name(families[i]);
		result = routes_read_exits(&landing->route, families[i], &exits, err);
		if (result == 0 && !exits.lead_beyond)
			LANDING_ALARM(alarms, ROUTE_NONE, family, family);
	}
	if (result == 0)
		result = clamp_apply(&landing->route, programs_clamp(&landing->programs), &exits,
				     &landing->exits, alarms, err);
	if (result == 0)
		landing->exits = exits;
	return result;
}

static bool is_listed(const struct rules_wish *wish, const char *name)
{
	for (unsigned i = 0; i < wish->interface_count; i++) {
		if (strcmp(wish->interfaces[i], name) == 0)
			return true;
	}
	return false;
}

/* The interface, and what it is a port of. */
static void admit(struct rules_wish *wish, const char *name, const struct link_chain *chain)
{
	for (size_t i = 0; i < (chain->count ? chain->count : 1); i++) {
		char *place = wish->interfaces[wish->interface_count];
		if (i == 0)
			snprintf(place, sizeof(*wish->interfaces), "%s", name);
		else if (!if_indextoname(chain->ifindex[i], place))
			continue;
		if (wish->interface_count < RULES_INTERFACES_MAX - 1 && !is_listed(wish, place))
			wish->interface_count++;
	}
}

/* Packets come in by the underlay interfaces, bare ones by those of an edge. */
static void list_admitted(struct landing *landing, const struct link_chain *chains,
			  struct rules_wish *wish)
{
	for (unsigned i = 0; i < landing->programs.interface_count; i++)
		admit(wish, landing->programs.interfaces[i].name, &chains[i]);
	for (unsigned i = 0; i < landing->admitted_count; i++) {
		struct link_chain chain = {0};
		link_chain_read(&landing->route, if_nametoindex(landing->admitted[i]), &chain);
		admit(wish, landing->admitted[i], &chain);
	}
}

/* The rules before the pool is local. */
static int apply_routes(struct landing *landing, struct landing_alarms *alarms, struct error *err)
{
	struct link_chain chains[LANDING_INTERFACES_MAX];
	struct rules_wish wish = {.pools = landing->pools, .pool_count = landing->pool_count};
	const char *route_deleter = landing->route_deleter;
	for (unsigned i = 0; i < landing->programs.interface_count; i++)
		link_chain_read(&landing->route, landing->programs.interfaces[i].ifindex,
				&chains[i]);
	list_admitted(landing, chains, &wish);
	wish.deleter = *landing->rule_deleter ? landing->rule_deleter : NULL;
	int result = programs_set_own(&landing->programs, chains, err);
	for (size_t i = 0; i < sizeof(families) && result == 0; i++) {
		uint8_t family = families[i];
		result = rules_apply(&landing->route, family, &wish, alarms, err);
		if (result == 0)
			result = routes_apply_local(
			    &landing->route, family, landing->pools, landing->pool_count,
			    *route_deleter ? route_deleter : "somebody", alarms, err);
	}
	return result;
}

int landing_apply(struct landing *landing, const struct landing_desired *desired, struct error *err)
{
	if (landing->programs.interface_count == 0)
		return error_set(err, -FL_EINVALID,
				 "landing was told of no underlay interface to take tunnels on");
	int result = check_desired(desired, err);
	if (result < 0)
		return result;
	remember(landing, desired);
	landing->applied = true;
	landing->network_changed = true;
	result = apply_sysctls(landing, NULL, err);
	/* The clamp before the routes: the rules of an earlier release did its work until then. */
	if (result == 0)
		result = programs_fill(&landing->programs, desired, err);
	if (result == 0)
		result = apply_clamp(landing, NULL, err);
	if (result == 0)
		result = apply_routes(landing, NULL, err);
	for (size_t i = 0; i < sizeof(families) && result == 0; i++)
		routes_delete_former(&landing->route, families[i]);
	if (result == 0)
		result = listeners_apply(&landing->listeners, &landing->diag, desired->listeners,
					 desired->listener_count, err);
	if (result == 0)
		result = programs_attach_lookup(&landing->programs, desired->listener_count > 0,
						NULL, err);
	if (result == 0)
		result = programs_attach(&landing->programs, NULL, err);
	return result < 0 ? result : programs_sweep(&landing->programs, err);
}

int landing_yield(struct landing *landing, const char *interface, struct error *err)
{
	return programs_yield(&landing->programs, interface, err);
}

void landing_set_path_mtu(struct landing *landing, uint32_t mtu)
{
	landing->network_changed |= mtu != landing->path_mtu;
	landing->path_mtu = mtu;
}

int landing_watch_fd(const struct landing *landing)
{
	return netlink_fd(&landing->news);
}

static int note_change(const struct nlmsghdr *message, void *context)
{
	struct landing *landing = context;
	struct rule rule;
	landing->network_changed = true;
	if (!message) { /* some were lost */
		snprintf(landing->rule_deleter, sizeof(landing->rule_deleter), "somebody");
		return 0;
	}
	if (netlink_is_sender(&landing->route, message))
		return 0;
	if (message->nlmsg_type == RTM_DELRULE && rule_parse(message, &rule) && rule_is_ours(&rule))
		netlink_sender(message, landing->rule_deleter, sizeof(landing->rule_deleter));
	if (message->nlmsg_type == RTM_DELROUTE && route_is_ours(message))
		netlink_sender(message, landing->route_deleter, sizeof(landing->route_deleter));
	return 0;
}

static unsigned count_unrepaired(const struct landing_alarms *alarms)
{
	unsigned count = alarms->dropped;
	for (unsigned i = 0; i < alarms->count; i++)
		count += !alarm_is_repaired(alarms->items[i].code);
	return count;
}

int landing_check(struct landing *landing, struct landing_alarms *ret_alarms, struct error *err)
{
	ret_alarms->count = 0;
	ret_alarms->dropped = 0;
	landing->rule_deleter[0] = '\0';
	landing->route_deleter[0] = '\0';
	int result = netlink_drain(&landing->news, note_change, landing);
	if (result < 0)
		return error_set(err, result, "netlink news cannot be read: %s",
				 error_text(result));
	if (!landing->applied)
		return 0;
	result = apply_sysctls(landing, ret_alarms, err);
	if (result == 0 && landing->network_changed) {
		unsigned before = count_unrepaired(ret_alarms);
		/* What is the operator's is told of, and left as it is. */
		underlay_check_interfaces(landing->programs.interfaces,
					  landing->programs.interface_count, ret_alarms);
		result = underlay_check_addresses(&landing->route, landing->addresses,
						  landing->address_count, ret_alarms, err);
		if (result == 0)
			result = apply_clamp(landing, ret_alarms, err);
		if (result == 0)
			result = apply_routes(landing, ret_alarms, err);
		/* What could not be repaired is looked at, and told of, again. */
		landing->network_changed = result < 0 || count_unrepaired(ret_alarms) != before;
	}
	if (result == 0)
		result = programs_attach(&landing->programs, ret_alarms, err);
	if (result == 0 && landing->listeners.count)
		result = programs_attach_lookup(&landing->programs, true, ret_alarms, err);
	if (result == 0)
		result = listeners_bind(&landing->listeners, &landing->diag, ret_alarms, err);
	if (result == 0)
		result = watches_look(&landing->watches, &landing->programs, ret_alarms, err);
	return result;
}

int landing_counters_read(const struct landing *landing, struct landing_counters *ret_counters,
			  struct error *err)
{
	return programs_counters(&landing->programs, ret_counters, err);
}

void landing_state_read(const struct landing *landing, struct landing_state *ret_state)
{
	const struct programs *programs = &landing->programs;
	*ret_state = (struct landing_state){.interface_count = programs->interface_count,
					    .listener_count = landing->listeners.count};
	for (unsigned i = 0; i < programs->interface_count; i++) {
		const struct program_interface *interface = &programs->interfaces[i];
		struct landing_interface_state *state = &ret_state->interfaces[i];
		memcpy(state->name, interface->name, sizeof(state->name));
		state->present = interface->ifindex != 0;
		state->attached = interface->link >= 0;
		state->native = interface->link >= 0 && interface->native;
	}
	for (unsigned i = 0; i < landing->listeners.count; i++)
		ret_state->listeners_bound += landing->listeners.places[i].bound;
	memcpy(ret_state->program_tag, programs->tag, sizeof(ret_state->program_tag));
	memcpy(ret_state->layout, programs->layout, sizeof(ret_state->layout));
}

int landing_owns(struct landing *landing, const struct ip_address *addresses, size_t count,
		 bool *ret_owned, struct error *err)
{
	return underlay_find_addresses(&landing->route, addresses, count, ret_owned, err);
}

int landing_count(struct landing *landing, struct landing_connections **ret_connections,
		  size_t *ret_count, struct error *err)
{
	struct connection_table table = {0};
	int result =
	    sockets_count(&landing->diag, landing->pools, landing->pool_count, &table, err);
	if (result == 0)
		result = translated_count(&landing->tracked, landing->pools, landing->pool_count,
					  &table, err);
	if (result == 0)
		connection_table_take(&table, ret_connections, ret_count);
	connection_table_done(&table);
	return result;
}

static bool in_pools(const struct landing *landing, const struct ip_address *address)
{
	for (unsigned i = 0; i < landing->pool_count; i++) {
		if (ip_prefix_contains(&landing->pools[i], address))
			return true;
	}
	return false;
}

int landing_destroy(struct landing *landing, const struct ip_address *addresses,
		    size_t address_count, uint64_t *ret_destroyed, struct error *err)
{
	char text[IP_TEXT_BYTES];
	for (size_t i = 0; i < address_count; i++) {
		if (!in_pools(landing, &addresses[i]))
			return error_set(err, -FL_EINVALID,
					 "%s is no service address of this landing's pools",
					 ip_address_format(&addresses[i], text));
	}
	int result = sockets_destroy(&landing->diag, addresses, address_count, ret_destroyed, err);
	return result < 0 ? result
			  : translated_end(&landing->tracked, addresses, address_count,
					   ret_destroyed, err);
}

/* Keeps the first failure and goes on: as much as can be undone is. */
static void keep_first(int *first, int result, struct error *err, const struct error *reason)
{
	if (*first == 0 && result < 0)
		*first = error_set(err, result, "%s", reason->text);
}

/* Tunnels first, so that no packet lands half-way; the sysctls last, as they came first. */
static int undo(struct landing *landing, struct error *err)
{
	struct error reason = {0};
	int first = 0;
	keep_first(&first, programs_undo(&landing->programs, &reason), err, &reason);
	for (size_t i = 0; i < sizeof(families); i++) {
		keep_first(
		    &first,
		    routes_apply_local(&landing->route, families[i], NULL, 0, "", NULL, &reason),
		    err, &reason);
		keep_first(&first, rules_undo(&landing->route, families[i], &reason), err, &reason);
		routes_delete_former(&landing->route, families[i]);
	}
	struct exits none = {0};
	keep_first(&first,
		   clamp_apply(&landing->route, programs_clamp(&landing->programs), &none, &none,
			       NULL, &reason),
		   err, &reason);
	keep_first(&first, sysctl_journal_undo(&landing->journal, &reason), err, &reason);
	keep_first(&first, pins_remove_root(landing->programs.pin_root, &reason), err, &reason);
	return first;
}

int landing_close(struct landing *landing, enum landing_close how, struct error *err)
{
	if (!landing)
		return 0;
	int result = how == LANDING_UNDO ? undo(landing, err) : 0;
	listeners_done(&landing->listeners);
	programs_done(&landing->programs);
	netlink_done(&landing->route);
	netlink_done(&landing->diag);
	netlink_done(&landing->tracked);
	netlink_done(&landing->news);
	sysctl_journal_close(&landing->journal);
	free(landing);
	return result;
}
