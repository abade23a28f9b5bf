/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel settings of an edge. They are for the slow path only: bpf_fib_lookup() answers only
 * for an interface that forwards, and an encapsulated packet that is left to the kernel has our own
 * address as its source, which the kernel takes for a fake unless told otherwise.
 *
 *   ipv4 IF/forwarding     1
 *   ipv4 IF/accept_local   1
 *   ipv4 IF/rp_filter      2 where strict filtering is in force; the source may be another
 *                          interface's address
 *   ipv6 all/forwarding    1; IPv6 forwards by the machine, not by the interface. It also turns
 *   ipv6 IF/accept_ra      router advertisements off where this is 1, so it becomes 2, on every IF
 */
#include "base/sysctl.h"
#include "dataplane/attach.h"
#include "kernel/sysctl_journal.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

static int set(struct sysctl_journal *journal, const char *version, const char *interface,
	       const char *setting, int value, struct error *err)
{
	char path[SYSCTL_PATH_BYTES];
	snprintf(path, sizeof(path), "net/%s/conf/%.15s/%s", version, interface, setting);
	return sysctl_journal_set(journal, path, value, err);
}

static int set_v4(struct sysctl_journal *journal, const char *interface, struct error *err)
{
	char path[SYSCTL_PATH_BYTES];
	int own = 0;
	int all = 0;
	int result = set(journal, "ipv4", interface, "forwarding", 1, err);
	if (result == 0)
		result = set(journal, "ipv4", interface, "accept_local", 1, err);
	snprintf(path, sizeof(path), "net/ipv4/conf/%.15s/rp_filter", interface);
	/* The larger of the two is in force. */
	if (result == 0 && sysctl_read(path, &own) == 0 &&
	    sysctl_read("net/ipv4/conf/all/rp_filter", &all) == 0 && (own == 1 || all == 1) &&
	    own != 2 && all != 2)
		result = sysctl_journal_set(journal, path, 2, err);
	return result;
}

/* What writing to all/forwarding, now or when it is undone, would change of one interface. */
static int keep_v6(struct sysctl_journal *journal, const char *interface, struct error *err)
{
	char path[SYSCTL_PATH_BYTES];
	int value = 0;
	int result = 0;
	snprintf(path, sizeof(path), "net/ipv6/conf/%.15s/forwarding", interface);
	/* Put back last, all/forwarding first: then this is 0 again. */
	if (sysctl_read(path, &value) == 0 && value != 0)
		result = sysctl_journal_keep(journal, path, 0, err);
	snprintf(path, sizeof(path), "net/ipv6/conf/%.15s/accept_ra", interface);
	if (result == 0 && sysctl_read(path, &value) == 0 && value == 1)
		result = sysctl_journal_set(journal, path, 2, err);
	return result;
}

static int set_v6(struct sysctl_journal *journal, struct error *err)
{
	int forwarding = 1;
	if (sysctl_read("net/ipv6/conf/all/forwarding", &forwarding) < 0 || forwarding != 0)
		return 0;
	DIR *interfaces = opendir(SYSCTL_ROOT "net/ipv6/conf");
	int result = 0;
	if (!interfaces)
		return error_set(err, -errno, SYSCTL_ROOT "net/ipv6/conf cannot be read: %s",
				 error_text(-errno));
	for (struct dirent *entry = readdir(interfaces); entry && result == 0;
	     entry = readdir(interfaces)) {
		if (entry->d_name[0] != '.' && strcmp(entry->d_name, "all") != 0)
			result = keep_v6(journal, entry->d_name, err);
	}
	closedir(interfaces);
	return result < 0 ? result : set(journal, "ipv6", "all", "forwarding", 1, err);
}

int slow_path_prepare(const char *root, const char *interface, struct error *err)
{
	struct sysctl_journal journal;
	int result = sysctl_journal_open(&journal, root, err);
	if (result == 0)
		result = set_v4(&journal, interface, err);
	if (result == 0)
		result = set_v6(&journal, err);
	sysctl_journal_close(&journal);
	return result;
}
