/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel settings, as they are in effect: of what conf/all and conf/IF say the kernel takes the
 * larger, or either. The planes set what they need and set it back; what they do not look at, for
 * instance an interface's own value that outdoes theirs, is found here alone.
 */
#include "base/sysctl.h"
#include "doctor/examination.h"

#include <stdio.h>
#include <string.h>

/* -1: there is no such setting, and so nothing to find fault with. */
static int read_conf(const char *family, const char *interface, const char *name)
{
	char path[160];
	int value;
	snprintf(path, sizeof(path), "net/%s/conf/%.15s/%s", family, interface, name);
	return sysctl_read(path, &value) < 0 ? -1 : value;
}

static int larger(const char *interface, const char *name)
{
	const int own = read_conf("ipv4", interface, name);
	const int all = read_conf("ipv4", "all", name);
	return own > all ? own : all;
}

static void check_underlay(struct examination *seen, const char *interface)
{
	if (read_conf("ipv4", interface, "rp_filter") < 0)
		return; /* it is gone, which is another finding */
	seen->looked += 4;
	if (larger(interface, "rp_filter") == 1)
		FINDING_PUT(seen->findings, SYSCTL_RP_FILTER, interface, "", interface);
	if (larger(interface, "accept_local") == 0)
		FINDING_PUT(seen->findings, SYSCTL_ACCEPT_LOCAL, interface, "", interface);
	const int ignore = larger(interface, "arp_ignore");
	if (ignore == 0 || (ignore > 3 && ignore != 8))
		FINDING_PUT(seen->findings, SYSCTL_ARP_IGNORE, interface, "", interface, ignore);
	const int announce = larger(interface, "arp_announce");
	if (announce != 2)
		FINDING_PUT(seen->findings, SYSCTL_ARP_ANNOUNCE, interface, "", interface,
			    announce);
}

static void check_forwarding(struct examination *seen, const char *family, const char *interface)
{
	char name[128];
	seen->looked++;
	if (read_conf(family, interface, "forwarding") != 0)
		return;
	snprintf(name, sizeof(name), "net.%s.conf.%s.forwarding", family, interface);
	FINDING_PUT(seen->findings, SYSCTL_FORWARDING, name, "", name);
}

static bool has_pool(const struct examination *seen, bool v6)
{
	size_t i;
	json_t *pool;
	json_array_foreach (json_object_get(seen->facts, "pools"), i, pool) {
		if ((strchr(json_string_value(pool), ':') != NULL) == v6)
			return true;
	}
	return !seen->facts;
}

void check_sysctls(struct examination *seen)
{
	int value;
	size_t i;
	json_t *name;
	const json_t *underlays =
	    examination_has_role(seen, "backend") ? examination_list(seen, "underlay") : NULL;
	const json_t *interfaces =
	    examination_has_role(seen, "edge") ? examination_list(seen, "interface") : NULL;
	json_array_foreach ((json_t *)(uintptr_t)underlays, i, name) {
		if (has_pool(seen, false))
			check_underlay(seen, json_string_value(name));
	}
	if (underlays && (has_pool(seen, false) || has_pool(seen, true)) &&
	    sysctl_read("net/ipv4/tcp_mtu_probing", &value) == 0) {
		seen->looked++;
		if (value == 0)
			FINDING_PUT_PLAIN(seen->findings, SYSCTL_MTU_PROBING, "", "");
	}
	if (underlays && has_pool(seen, true) &&
	    sysctl_read("net/ipv6/ip_nonlocal_bind", &value) == 0) {
		seen->looked++;
		if (value == 0)
			FINDING_PUT_PLAIN(seen->findings, SYSCTL_NONLOCAL_BIND, "", "");
	}
	json_array_foreach ((json_t *)(uintptr_t)interfaces, i, name)
		check_forwarding(seen, "ipv4", json_string_value(name));
	if (interfaces)
		check_forwarding(seen, "ipv6", "all");
}
