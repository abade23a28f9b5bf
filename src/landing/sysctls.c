/* SPDX-License-Identifier: Apache-2.0 */
#include "landing/sysctls.h"

#include "base/sysctl.h"

#include <stdio.h>
#include <string.h>

enum { NEEDS_MAX = 3 + 2 * LANDING_INTERFACES_MAX };

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

static bool nonlocal_bind_serves(int value, int all)
{
	(void)all;
	return value != 0;
}

static void add_interface_needs(const struct sysctl_interface *interface, struct sysctl_need *needs,
				unsigned *count)
{
	static const struct {
		const char *name;
		bool (*serves)(int, int);
		int ours;
	} kinds[] = {{"rp_filter", rp_filter_serves, 2}, {"accept_local", accept_local_serves, 1}};
	for (unsigned i = 0; i < 2; i++) {
		struct sysctl_need *need = &needs[(*count)++];
		snprintf(need->path, sizeof(need->path), "net/ipv4/conf/%s/%s", interface->name,
			 kinds[i].name);
		snprintf(need->all_path, sizeof(need->all_path), "net/ipv4/conf/all/%s",
			 kinds[i].name);
		need->serves = kinds[i].serves;
		need->ours = kinds[i].ours;
		need->ifindex = interface->ifindex;
		need->is_new = interface->is_new;
	}
}

static unsigned list_needs(const struct sysctl_wish *wish, struct sysctl_need needs[NEEDS_MAX])
{
	unsigned count = 0;
	memset(needs, 0, NEEDS_MAX * sizeof(*needs));
	if (wish->v4) {
		needs[count++] = (struct sysctl_need){
		    .path = "net/ipv4/conf/all/arp_ignore", .serves = arp_ignore_serves, .ours = 1};
		needs[count++] = (struct sysctl_need){.path = "net/ipv4/conf/all/arp_announce",
						      .serves = arp_announce_serves,
						      .ours = 2};
		for (unsigned i = 0; i < wish->interface_count; i++) {
			if (wish->interfaces[i].ifindex)
				add_interface_needs(&wish->interfaces[i], needs, &count);
		}
	}
	if (wish->v6)
		needs[count++] = (struct sysctl_need){
		    .path = "net/ipv6/ip_nonlocal_bind", .serves = nonlocal_bind_serves, .ours = 1};
	return count;
}

/* What landing looks after now. */
struct sysctl_needs {
	struct sysctl_need items[NEEDS_MAX];
	unsigned count;
};

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

int sysctls_apply(struct sysctl_journal *journal, const struct sysctl_wish *wish,
		  struct landing_alarms *alarms, struct error *err)
{
	struct sysctl_needs needs;
	needs.count = list_needs(wish, needs.items);
	for (unsigned i = 0; i < needs.count; i++) {
		int result = meet_need(journal, &needs.items[i], alarms, err);
		if (result < 0)
			return result;
	}
	return sysctl_journal_restore(journal, is_needed, &needs, err);
}
