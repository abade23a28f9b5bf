/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules and routes of landing's (landing/rules.h says which and why), and the programs that delete
 * others' rules. The running daemon sets its own back within milliseconds; while none runs, or
 * where somebody's come first, it is found here.
 */
#include "doctor/examination.h"
#include "doctor/tool.h"
#include "kernel/own_calls.h"
#include "kernel/rule.h"
#include "landing/rules.h"

#include <dirent.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum { POOLS_MAX = 64 };

struct pools_seen {
	struct ip_prefix items[POOLS_MAX];
	size_t count;
};

static void add_pool(struct pools_seen *pools, const struct ip_prefix *pool)
{
	if (pools->count < POOLS_MAX && !ip_prefix_is_among(pool, pools->items, pools->count))
		pools->items[pools->count++] = *pool;
}

static int take_route(const struct nlmsghdr *message, void *context)
{
	struct pools_seen *local = context;
	if (!message) {
		local->count = 0;
		return 0;
	}
	if (message->nlmsg_type != RTM_NEWROUTE ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(struct rtmsg))
		return 0;
	const struct rtmsg *route = mnl_nlmsg_get_payload(message);
	const struct ip_prefix prefix = {
	    .address = netlink_address(message, sizeof(*route), RTA_DST, route->rtm_family),
	    .length = route->rtm_dst_len};
	if (route->rtm_type == RTN_LOCAL && route->rtm_table == RT_TABLE_LOCAL &&
	    prefix.address.family)
		add_pool(local, &prefix);
	return 0;
}

static int tell_unread(struct examination *seen, int result, uint8_t family, const char *what)
{
	if (result < 0 && result != -EAFNOSUPPORT && result != -EOPNOTSUPP)
		examination_unknown(seen, "the %s %s: %s", netlink_family_name(family), what,
				    error_text(result));
	return result;
}

static int read_routes(struct examination *seen, uint8_t family, struct pools_seen *ret_local)
{
	alignas(struct nlmsghdr) char bytes[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
	request->nlmsg_type = RTM_GETROUTE;
	struct rtmsg *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->rtm_family = family;
	return netlink_dump(&seen->route, request, take_route, ret_local);
}

static bool is_pools_rule(const struct rule *rule, uint32_t pref, const struct ip_prefix *pool)
{
	return rule->pref == pref && rule_is_ours(rule) && ip_prefix_equal(&rule->to, pool);
}

static void check_pool(struct examination *seen, const struct rule_list *rules,
		       const struct pools_seen *local, uint8_t family, const struct ip_prefix *pool)
{
	static const uint32_t prefs[] = {RULE_PREF_CALL, RULE_PREF_NO_CALL, RULE_PREF_ADMIT,
					 RULE_PREF_NOT_ADMITTED};
	char text[IP_TEXT_BYTES];
	seen->looked++;
	ip_prefix_format(pool, text);
	for (size_t i = 0; i < sizeof(prefs) / sizeof(prefs[0]); i++) {
		bool found = false;
		for (size_t k = 0; k < rules->count && !found; k++)
			found = is_pools_rule(&rules->items[k], prefs[i], pool);
		if (!found)
			FINDING_PUT(seen->findings, RULE_MISSING, "", "",
				    netlink_family_name(family), prefs[i], text);
	}
	if (!ip_prefix_is_among(pool, local->items, local->count))
		FINDING_PUT(seen->findings, ROUTE_MISSING, text, "", text);
}

/* The local table is looked up last of ours, so what somebody puts before it decides for him. */
static void check_order(struct examination *seen, const struct rule_list *rules, uint8_t family)
{
	const char *flag = family == AF_INET ? "-4" : "-6";
	bool local = false;
	bool moved = false;
	char pref[16];
	for (size_t i = 0; i < rules->count; i++) {
		const struct rule *rule = &rules->items[i];
		const bool looks = rule->action == FR_ACT_TO_TBL && rule->table == RT_TABLE_LOCAL &&
				   rule->to.address.family == IP_NONE;
		local |= looks;
		moved |= looks && rule->pref == RULE_PREF_LOCAL;
	}
	if (!local)
		FINDING_PUT(seen->findings, RULE_LOCAL, flag, "", netlink_family_name(family));
	for (size_t i = 0; moved && i < rules->count; i++) {
		const struct rule *rule = &rules->items[i];
		const bool is_edges =
		    rule->pref == OWN_CALLS_PREF && rule->protocol == OWN_CALLS_PROTOCOL;
		if (rule->pref >= RULE_PREF_LOCAL || rule_is_ours(rule) || is_edges ||
		    rule->action == FR_ACT_NOP ||
		    (rule->action == FR_ACT_TO_TBL && rule->table == RT_TABLE_LOCAL))
			continue;
		snprintf(pref, sizeof(pref), "%u", rule->pref);
		FINDING_PUT(seen->findings, RULE_IN_THE_WAY, flag, pref,
			    netlink_family_name(family), rule->pref);
	}
}

/* The fabric's pools; without a daemon those that any of landing's rules is about. */
static void collect_pools(const struct examination *seen, const struct rule_list *rules,
			  uint8_t family, struct pools_seen *ret_pools)
{
	size_t i;
	json_t *text;
	struct ip_prefix pool;
	json_array_foreach (json_object_get(seen->facts, "pools"), i, text) {
		if (ip_prefix_parse(json_string_value(text), &pool) == 0 &&
		    netlink_af(pool.address.family) == family)
			add_pool(ret_pools, &pool);
	}
	for (i = 0; i < rules->count; i++) {
		const struct rule *rule = &rules->items[i];
		if (rule_is_ours(rule) && rule->to.address.family)
			add_pool(ret_pools, &rule->to);
	}
}

static void check_family(struct examination *seen, uint8_t family)
{
	struct rule_list rules;
	struct pools_seen pools = {0};
	struct pools_seen local = {0};
	seen->looked++;
	if (tell_unread(seen, rules_read(&seen->route, family, &rules), family, "rules") < 0)
		return;
	if (tell_unread(seen, read_routes(seen, family, &local), family, "routes") == 0) {
		check_order(seen, &rules, family);
		if (examination_has_role(seen, "backend"))
			collect_pools(seen, &rules, family, &pools);
	}
	for (size_t i = 0; i < pools.count; i++)
		check_pool(seen, &rules, &local, family, &pools.items[i]);
	rule_list_done(&rules);
}

/* --- who deletes what he did not make ----------------------------------------------------------
 */

/* systemd reads the last assignment of all files in the order of their names, networkd.conf first;
 * a folder further front hides a file of the same name. */
static const char *const FOLDERS[] = {"/usr/lib/systemd", "/lib/systemd", "/usr/local/lib/systemd",
				      "/run/systemd", "/etc/systemd"};

/* 1 or 0 as the file's last word on `key` is; `otherwise` without one. */
static int read_setting(const char *path, const char *key, int otherwise)
{
	char line[512];
	FILE *file = fopen(path, "re");
	while (file && fgets(line, sizeof(line), file)) {
		const char *at = line + strspn(line, " \t");
		const size_t length = strlen(key);
		if (strncmp(at, key, length) != 0)
			continue;
		at += length + strspn(at + length, " \t");
		if (*at++ != '=')
			continue;
		at += strspn(at, " \t");
		otherwise = strchr("nNfF0", *at) || strncasecmp(at, "off", 3) == 0 ? 0 : 1;
	}
	if (file)
		fclose(file);
	return otherwise;
}

static int read_networkd(const char *key)
{
	char path[512];
	int value = 1;
	for (size_t i = 0; i < sizeof(FOLDERS) / sizeof(FOLDERS[0]); i++) {
		snprintf(path, sizeof(path), "%s/networkd.conf", FOLDERS[i]);
		value = read_setting(path, key, value);
	}
	for (size_t i = 0; i < sizeof(FOLDERS) / sizeof(FOLDERS[0]); i++) {
		struct dirent **entries;
		snprintf(path, sizeof(path), "%s/networkd.conf.d", FOLDERS[i]);
		int count = scandir(path, &entries, NULL, alphasort);
		for (int k = 0; k < count; k++) {
			const char *name = entries[k]->d_name;
			const size_t length = strlen(name);
			snprintf(path, sizeof(path), "%s/networkd.conf.d/%.200s", FOLDERS[i], name);
			if (length > 5 && strcmp(name + length - 5, ".conf") == 0)
				value = read_setting(path, key, value);
			free(entries[k]);
		}
		if (count >= 0)
			free(entries);
	}
	return value;
}

static void check_networkd(struct examination *seen)
{
	const long pid = examination_find_process("systemd-networkd");
	seen->looked++;
	if (!pid)
		return;
	if (read_networkd("ManageForeignRoutes"))
		FINDING_PUT(seen->findings, NETWORKD_FOREIGN, "", "", (long long)pid, "routes");
	if (read_networkd("ManageForeignRoutingPolicyRules"))
		FINDING_PUT(seen->findings, NETWORKD_FOREIGN, "", "", (long long)pid, "rules");
}

/* It leaves alone what is not `managed`; nmcli knows. */
static void check_network_manager(struct examination *seen)
{
	const long pid = examination_find_process("NetworkManager");
	size_t i;
	json_t *name;
	seen->looked++;
	if (!pid)
		return;
	json_array_foreach ((json_t *)(uintptr_t)examination_list(seen, "underlay"), i, name) {
		char answer[64] = "";
		const char *interface = json_string_value(name);
		struct tool nmcli = tool_open((const char *[]){"nmcli", "-g", "GENERAL.STATE",
							       "device", "show", interface, NULL});
		if (nmcli.output && !fgets(answer, sizeof(answer), nmcli.output))
			answer[0] = '\0';
		(void)tool_close(&nmcli);
		if (strncmp(answer, "10 ", 3) != 0) /* 10: unmanaged */
			FINDING_PUT(seen->findings, NETWORK_MANAGER, interface, "", (long long)pid,
				    interface);
	}
}

void check_routing(struct examination *seen)
{
	check_family(seen, AF_INET);
	check_family(seen, AF_INET6);
	if (!examination_has_role(seen, "backend"))
		return;
	check_networkd(seen);
	check_network_manager(seen);
}
