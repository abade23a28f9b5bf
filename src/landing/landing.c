/* SPDX-License-Identifier: Apache-2.0 */
#include "landing/landing.h"

#include "base/buffer.h"
#include "base/file.h"
#include "landing/clamp.h"
#include "landing/handings.h"
#include "landing/internal.h"
#include "landing/landing_alarms.h"
#include "landing/netlink.h"
#include "landing/programs.h"
#include "landing/routes.h"
#include "landing/rules.h"
#include "landing/sockets.h"
#include "landing/sysctls.h"
#include "landing/underlay.h"

#include <libmnl/libmnl.h>
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
	struct sysctls sysctls;
	struct handings handings;
	struct netlink route;
	struct netlink diag;
	struct mnl_socket *events; /* owned; non-blocking */
	/* What was applied, as far as checks need it. */
	struct ip_prefix pools[LANDING_POOLS_MAX];
	unsigned pool_count;
	struct ip_address addresses[LANDING_ADDRESSES_MAX];
	unsigned address_count;
	struct exits exits; /* which the clamp of the MSS is on */
	bool applied;
	bool network_changed; /* since it was last compared with what was applied */
};

int landing_boot_id(char text[LANDING_BOOT_ID_BYTES], struct error *err)
{
	struct buffer bytes;
	buffer_init(&bytes, 128);
	int result = file_read("/proc/sys/kernel/random/boot_id", &bytes, err);
	if (result == 0 && bytes.length < LANDING_BOOT_ID_BYTES - 1)
		result = error_set(err, -FL_ECORRUPT, "the kernel's boot id is too short");
	if (result == 0) {
		memcpy(text, bytes.data, LANDING_BOOT_ID_BYTES - 1);
		text[LANDING_BOOT_ID_BYTES - 1] = '\0';
	}
	buffer_done(&bytes);
	return result;
}

static int open_events(struct landing *landing)
{
	static const int groups[] = {RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
				     RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,  RTNLGRP_IPV4_RULE,
				     RTNLGRP_IPV6_RULE,  RTNLGRP_TC};
	landing->events = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!landing->events || mnl_socket_bind(landing->events, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	for (size_t i = 0; i < sizeof(groups) / sizeof(*groups); i++) {
		int group = groups[i];
		if (mnl_socket_setsockopt(landing->events, NETLINK_ADD_MEMBERSHIP, &group,
					  sizeof(group)) < 0)
			return -errno;
	}
	return 0;
}

static int open_netlink(struct landing *landing, struct error *err)
{
	int result = netlink_init(&landing->route, NETLINK_ROUTE);
	if (result == 0)
		result = netlink_init(&landing->diag, NETLINK_SOCK_DIAG);
	if (result == 0)
		result = open_events(landing);
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

int landing_open(const struct landing_options *options, struct landing **ret_landing,
		 struct error *err)
{
	struct landing *landing = calloc(1, sizeof(*landing));
	if (!landing)
		return error_set(err, -ENOMEM, "out of memory");
	/* Privileges and interfaces come first: their errors explain what would follow. */
	int result = programs_open(&landing->programs, options, err);
	if (result == 0)
		result = open_netlink(landing, err);
	if (result == 0)
		result = take_over_pools(landing, err);
	if (result == 0)
		result = file_make_folders(options->state_folder, 0700, err);
	if (result == 0)
		result = sysctls_open(&landing->sysctls, options->state_folder, err);
	if (result < 0) {
		(void)landing_close(landing, LANDING_KEEP, NULL);
		return result;
	}
	handings_init(&landing->handings, programs_handings_map(&landing->programs),
		      programs_listeners_map(&landing->programs));
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
		      {"handings", desired->handing_count, LANDING_HANDINGS_MAX}};
	for (size_t i = 0; i < sizeof(limits) / sizeof(*limits); i++) {
		if (limits[i].count > limits[i].limit)
			return error_set(err, -FL_ELIMIT, "%u %s; landing takes at most %u",
					 limits[i].count, limits[i].what, limits[i].limit);
	}
	return 0;
}

static int check_handing(const struct landing_desired *desired, unsigned at, struct error *err)
{
	char text[IP_TEXT_BYTES];
	const struct landing_handing *handing = &desired->handings[at];
	ip_prefix_format(&handing->destination, text);
	if (handing->protocol != IPPROTO_TCP && handing->protocol != IPPROTO_UDP)
		return error_set(err, -FL_EINVALID, "%s port %u: only tcp and udp can be handed",
				 text, handing->port);
	if (!handing->port || !handing->listener.port)
		return error_set(err, -FL_EINVALID, "%s: port 0 cannot be handed over", text);
	for (unsigned i = 0; i < at; i++) {
		const struct landing_handing *other = &desired->handings[i];
		if (other->protocol == handing->protocol && other->port == handing->port &&
		    other->destination.length == handing->destination.length &&
		    ip_address_equal(&other->destination.address, &handing->destination.address))
			return error_set(err, -FL_EINVALID, "%s port %u is handed over twice", text,
					 handing->port);
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
	for (unsigned i = 0; i < desired->handing_count && result == 0; i++)
		result = check_handing(desired, i, err);
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
}

/* Bytes of the largest outer header that edges may use. */
static uint32_t tunnel_overhead(const struct landing *landing)
{
	for (unsigned i = 0; i < landing->address_count; i++) {
		if (landing->addresses[i].family == IP_V6)
			return 40;
	}
	return 20;
}

/* The largest packet that fits the tunnel on every underlay interface that is there. */
static uint32_t tunnel_mtu(const struct landing *landing)
{
	uint32_t overhead = tunnel_overhead(landing);
	uint32_t mtu =
	    underlay_mtu(landing->programs.interfaces, landing->programs.interface_count);
	return mtu > overhead ? mtu - overhead : 1;
}

static int apply_sysctls(struct landing *landing, struct landing_alarms *alarms, struct error *err)
{
	struct sysctl_interface interfaces[LANDING_INTERFACES_MAX];
	const struct programs *programs = &landing->programs;
	for (unsigned i = 0; i < programs->interface_count; i++) {
		interfaces[i].name = programs->interfaces[i].name;
		interfaces[i].ifindex = if_nametoindex(interfaces[i].name);
		interfaces[i].is_new = interfaces[i].ifindex != programs->interfaces[i].ifindex;
	}
	struct sysctl_wish wish = {.v4 = has_family(landing, IP_V4),
				   .v6 = has_family(landing, IP_V6),
				   .interfaces = interfaces,
				   .interface_count = programs->interface_count};
	return sysctls_apply(&landing->sysctls, &wish, alarms, err);
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
		const char *family = family_name(families[i]);
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

/* The rules before the pool is local. */
static int apply_routes(struct landing *landing, struct landing_alarms *alarms, struct error *err)
{
	for (size_t i = 0; i < sizeof(families); i++) {
		uint8_t family = families[i];
		int result = rules_apply(&landing->route, family, landing->pools,
					 landing->pool_count, alarms, err);
		if (result == 0)
			result = routes_apply_local(&landing->route, family, landing->pools,
						    landing->pool_count, alarms, err);
		if (result < 0)
			return result;
		routes_delete_former(&landing->route, family);
	}
	return 0;
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
	if (result == 0)
		result = handings_apply(&landing->handings, &landing->diag, desired->handings,
					desired->handing_count, err);
	if (result == 0)
		result = programs_attach_lookup(&landing->programs, desired->handing_count > 0,
						NULL, err);
	if (result == 0)
		result = programs_attach(&landing->programs, NULL, err);
	return result < 0 ? result : programs_sweep(&landing->programs, err);
}

int landing_watch_fd(const struct landing *landing)
{
	return mnl_socket_get_fd(landing->events);
}

/* What is the operator's: told of, and left as it is. */
static int check_underlay(struct landing *landing, struct landing_alarms *alarms, struct error *err)
{
	underlay_check_interfaces(landing->programs.interfaces, landing->programs.interface_count,
				  alarms);
	return underlay_check_addresses(&landing->route, landing->addresses, landing->address_count,
					alarms, err);
}

/* True if the kernel told of a change, or of so many that it lost some. */
static bool drain_events(struct landing *landing)
{
	char bytes[8192];
	bool any = false;
	for (;;) {
		ssize_t got = recv(landing_watch_fd(landing), bytes, sizeof(bytes), MSG_TRUNC);
		if (got < 0 && errno != EINTR && errno != ENOBUFS)
			return any;
		any = true;
	}
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
	landing->network_changed |= drain_events(landing);
	if (!landing->applied)
		return 0;
	int result = apply_sysctls(landing, ret_alarms, err);
	if (result == 0 && landing->network_changed) {
		unsigned before = count_unrepaired(ret_alarms);
		result = check_underlay(landing, ret_alarms, err);
		if (result == 0)
			result = apply_clamp(landing, ret_alarms, err);
		if (result == 0)
			result = apply_routes(landing, ret_alarms, err);
		/* What could not be repaired is looked at, and told of, again. */
		landing->network_changed = result < 0 || count_unrepaired(ret_alarms) != before;
	}
	if (result == 0)
		result = programs_attach(&landing->programs, ret_alarms, err);
	if (result == 0 && landing->handings.count)
		result = programs_attach_lookup(&landing->programs, true, ret_alarms, err);
	if (result == 0)
		result = handings_bind(&landing->handings, &landing->diag, ret_alarms, err);
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
					    .handing_count = landing->handings.count};
	for (unsigned i = 0; i < programs->interface_count; i++) {
		const struct program_interface *interface = &programs->interfaces[i];
		struct landing_interface_state *state = &ret_state->interfaces[i];
		memcpy(state->name, interface->name, sizeof(state->name));
		state->present = interface->ifindex != 0;
		state->attached = interface->link >= 0;
		state->native = interface->link >= 0 && interface->native;
	}
	for (unsigned i = 0; i < landing->handings.count; i++)
		ret_state->handings_bound += landing->handings.places[i].bound;
	memcpy(ret_state->program_tag, programs->tag, sizeof(ret_state->program_tag));
	memcpy(ret_state->layout, programs->layout, sizeof(ret_state->layout));
}

int landing_count(struct landing *landing, struct landing_connections **ret_connections,
		  size_t *ret_count, struct error *err)
{
	return sockets_count(&landing->diag, landing->pools, landing->pool_count, ret_connections,
			     ret_count, err);
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
	return sockets_destroy(&landing->diag, addresses, address_count, ret_destroyed, err);
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
		keep_first(&first,
			   routes_apply_local(&landing->route, families[i], NULL, 0, NULL, &reason),
			   err, &reason);
		keep_first(&first, rules_undo(&landing->route, families[i], &reason), err, &reason);
		routes_delete_former(&landing->route, families[i]);
	}
	struct exits none = {0};
	keep_first(&first,
		   clamp_apply(&landing->route, programs_clamp(&landing->programs), &none, &none,
			       NULL, &reason),
		   err, &reason);
	keep_first(&first, sysctls_undo(&landing->sysctls, &reason), err, &reason);
	return first;
}

int landing_close(struct landing *landing, enum landing_close how, struct error *err)
{
	if (!landing)
		return 0;
	int result = how == LANDING_UNDO ? undo(landing, err) : 0;
	handings_done(&landing->handings);
	programs_done(&landing->programs);
	netlink_done(&landing->route);
	netlink_done(&landing->diag);
	if (landing->events)
		mnl_socket_close(landing->events);
	free(landing);
	return result;
}
