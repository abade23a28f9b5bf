/* SPDX-License-Identifier: Apache-2.0 */
#include "landing/sysctls.h"

#include "base/sysctl.h"

#include <net/if.h>
#include <stdio.h>
#include <string.h>

enum { NEEDS_MAX = 4 + 2 * LANDING_INTERFACES_MAX };

/* One sysctl that landing looks after. */
struct sysctl_need {
	char path[SYSCTL_PATH_BYTES];
	char all_path[SYSCTL_PATH_BYTES]; /* "" or that of conf/all, which joins in the value */
	bool (*serves)(int value, int all);
	int ours;
	unsigned ifindex;
	bool is_new;
};

/* The kernel takes the larger of conf/all and conf/IF for rp_filter; 1 drops clients whose way
 * back leads through another interface, 2 only such as have no way back at all. */
static bool rp_filter_serves(int value, int all)
{
	return (value > all ? value : all) != 1;
}

/* A backend that calls a service may be led back to itself: from its own address, by tunnel. */
static bool accept_local_serves(int value, int all)
{
	return value || all;
}

/* 0 answers ARP for pool addresses; 4 to 7 are unused and act as 0. */
static bool arp_ignore_serves(int value, int all)
{
	(void)all;
	return (value >= 1 && value <= 3) || value == 8;
}

static bool arp_announce_serves(int value, int all)
{
	(void)all;
	return value == 2;
}

/* What routers say of too large answers does not reach this machine: TCP must find it out. */
static bool mtu_probing_serves(int value, int all)
{
	(void)all;
	return value != 0;
}

static bool nonlocal_bind_serves(int value, int all)
{
	(void)all;
	return value != 0;
}

/* What landing looks after now. */
struct sysctl_needs {
	struct sysctl_need items[NEEDS_MAX];
	unsigned count;
};

static void add_need(struct sysctl_needs *needs, const char *path, bool (*serves)(int, int),
		     int ours)
{
	struct sysctl_need *need = &needs->items[needs->count++];
	*need = (struct sysctl_need){.serves = serves, .ours = ours};
	snprintf(need->path, sizeof(need->path), "net/%s", path);
}

static void add_interface_need(struct sysctl_needs *needs,
			       const struct program_interface *interface, const char *name,
			       bool (*serves)(int, int), int ours)
{
	char path[SYSCTL_PATH_BYTES - 4];
	unsigned ifindex = if_nametoindex(interface->name);
	if (!ifindex)
		return;
	snprintf(path, sizeof(path), "ipv4/conf/%s/%s", interface->name, name);
	add_need(needs, path, serves, ours);
	struct sysctl_need *need = &needs->items[needs->count - 1];
	snprintf(need->all_path, sizeof(need->all_path), "net/ipv4/conf/all/%s", name);
	need->ifindex = ifindex;
	need->is_new = ifindex != interface->ifindex;
}

static int meet_need(struct sysctl_journal *journal, const struct sysctl_need *need,
		     struct landing_alarms *alarms, struct error *err)
{
	int value = 0;
	int all = 0;
	int result = sysctl_read(need->path, &value);
	if (result == 0 && need->all_path[0])
		result = sysctl_read(need->all_path, &all);
	if (result == -ENOENT && need->ifindex)
		return 0; /* the interface has just gone */
	if (result < 0)
		return error_set(err, result, SYSCTL_ROOT "%s cannot be read: %s", need->path,
				 error_text(result));
	if (need->serves(value, all))
		return 0;
	result = sysctl_journal_set(journal, need->path, need->ours, err);
	if (result == 0 && !need->is_new)
		LANDING_ALARM(alarms, SYSCTL_CHANGED, need->path, need->path, value, need->ours);
	return result;
}

static bool is_needed(const char *path, const void *context)
{
	const struct sysctl_needs *needs = context;
	for (unsigned i = 0; i < needs->count; i++) {
		if (strcmp(path, needs->items[i].path) == 0)
			return true;
	}
	return false;
}

int sysctls_apply(struct sysctl_journal *journal, bool v4, bool v6, const struct programs *programs,
		  struct landing_alarms *alarms, struct error *err)
{
	struct sysctl_needs needs = {.count = 0};
	if (v4) {
		add_need(&needs, "ipv4/conf/all/arp_ignore", arp_ignore_serves, 1);
		add_need(&needs, "ipv4/conf/all/arp_announce", arp_announce_serves, 2);
	}
	for (unsigned i = 0; v4 && i < programs->interface_count; i++) {
		const struct program_interface *interface = &programs->interfaces[i];
		add_interface_need(&needs, interface, "rp_filter", rp_filter_serves, 2);
		add_interface_need(&needs, interface, "accept_local", accept_local_serves, 1);
	}
	if (v4 || v6)
		add_need(&needs, "ipv4/tcp_mtu_probing", mtu_probing_serves, 1);
	if (v6)
		add_need(&needs, "ipv6/ip_nonlocal_bind", nonlocal_bind_serves, 1);
	for (unsigned i = 0; i < needs.count; i++) {
		int result = meet_need(journal, &needs.items[i], alarms, err);
		if (result < 0)
			return result;
	}
	return sysctl_journal_restore(journal, is_needed, &needs, err);
}
