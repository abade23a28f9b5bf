/* SPDX-License-Identifier: Apache-2.0 */
#include "landing/rules.h"

#include "kernel/own_calls.h"

#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* More rules than this are not read: a look-up through them would take for ever anyway. */
#define RULES_MAX 4096

static bool is_of_family(const struct ip_prefix *prefix, uint8_t family)
{
	return prefix->address.family == netlink_family(family);
}

static struct ip_prefix prefix_of(const struct nlmsghdr *message, unsigned type, uint8_t length)
{
	const struct fib_rule_hdr *header = mnl_nlmsg_get_payload(message);
	return (struct ip_prefix){
	    .address = netlink_address(message, sizeof(*header), type, header->family),
	    .length = length,
	};
}

static bool is_shown(uint16_t type)
{
	switch (type) {
	case FRA_DST:
	case FRA_SRC:
	case FRA_IIFNAME:
	case FRA_PRIORITY:
	case FRA_TABLE:
	case FRA_PROTOCOL:
	case FRA_SUPPRESS_PREFIXLEN: /* always there; checked by its value */
		return true;
	default:
		return false;
	}
}

static uint32_t number_of(const struct nlmsghdr *message, unsigned type, uint32_t otherwise)
{
	return netlink_number(message, sizeof(struct fib_rule_hdr), type, otherwise);
}

static bool has_other_attributes(const struct nlmsghdr *message)
{
	const char *end = mnl_nlmsg_get_payload_tail(message);
	const struct nlattr *attribute =
	    mnl_nlmsg_get_payload_offset(message, sizeof(struct fib_rule_hdr));
	while (mnl_attr_ok(attribute, (int)(end - (const char *)attribute))) {
		if (!is_shown(mnl_attr_get_type(attribute)))
			return true;
		attribute = mnl_attr_next(attribute);
	}
	return number_of(message, FRA_SUPPRESS_PREFIXLEN, UINT32_MAX) != UINT32_MAX;
}

bool rule_parse(const struct nlmsghdr *message, struct rule *ret_rule)
{
	const size_t head = sizeof(struct fib_rule_hdr);
	if ((message->nlmsg_type != RTM_NEWRULE && message->nlmsg_type != RTM_DELRULE) ||
	    mnl_nlmsg_get_payload_len(message) < head)
		return false;
	const struct fib_rule_hdr *header = mnl_nlmsg_get_payload(message);
	if (header->family != AF_INET && header->family != AF_INET6)
		return false;
	struct rule rule = {
	    .family = header->family,
	    .action = header->action,
	    .other = header->tos || header->flags & FIB_RULE_INVERT,
	    .pref = number_of(message, FRA_PRIORITY, 0),
	    .table = number_of(message, FRA_TABLE, header->table),
	    .from = prefix_of(message, FRA_SRC, header->src_len),
	    .to = prefix_of(message, FRA_DST, header->dst_len),
	};
	const struct nlattr *protocol = netlink_attribute(message, head, FRA_PROTOCOL, 1);
	rule.protocol = protocol ? mnl_attr_get_u8(protocol) : 0;
	const struct nlattr *iif = netlink_attribute(message, head, FRA_IIFNAME, 1);
	if (iif)
		snprintf(rule.interface, sizeof(rule.interface), "%.*s",
			 (int)mnl_attr_get_payload_len(iif), mnl_attr_get_str(iif));
	rule.other |= has_other_attributes(message);
	*ret_rule = rule;
	return true;
}

static bool rules_equal(const struct rule *a, const struct rule *b)
{
	return a->family == b->family && a->action == b->action && a->protocol == b->protocol &&
	       strcmp(a->interface, b->interface) == 0 && a->other == b->other &&
	       a->pref == b->pref && a->table == b->table && ip_prefix_equal(&a->from, &b->from) &&
	       ip_prefix_equal(&a->to, &b->to);
}

struct rule_list {
	struct rule *items; /* owned */
	unsigned count;
	unsigned capacity;
};

static int list_append(struct rule_list *list, const struct rule *rule)
{
	if (list->count == RULES_MAX)
		return -FL_ELIMIT;
	if (list->count == list->capacity) {
		unsigned capacity = list->capacity ? 2 * list->capacity : 32;
		struct rule *items = reallocarray(list->items, capacity, sizeof(*items));
		if (!items)
			return -ENOMEM;
		list->items = items;
		list->capacity = capacity;
	}
	list->items[list->count++] = *rule;
	return 0;
}

static int collect(const struct nlmsghdr *message, void *context)
{
	struct rule_list *list = context;
	struct rule rule;
	if (!message)
		list->count = 0;
	return message && rule_parse(message, &rule) ? list_append(list, &rule) : 0;
}

static int read_rules(struct netlink *route, uint8_t family, struct rule_list *ret_list,
		      struct error *err)
{
	struct rule_list list = {0};
	alignas(struct nlmsghdr) char bytes[256];
	struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
	request->nlmsg_type = RTM_GETRULE;
	struct fib_rule_hdr *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->family = family;
	int result = netlink_dump(route, request, collect, &list);
	/* A kernel without IPv6 has no rules of it. */
	if (result == -EAFNOSUPPORT || result == -EOPNOTSUPP)
		result = 0;
	if (result < 0) {
		free(list.items);
		return error_set(err, result, "cannot read the %s rules: %s",
				 netlink_family_name(family), error_text(result));
	}
	*ret_list = list;
	return 0;
}

static bool list_has(const struct rule_list *list, const struct rule *rule)
{
	for (unsigned i = 0; i < list->count; i++) {
		if (rules_equal(&list->items[i], rule))
			return true;
	}
	return false;
}

static int change_rule(struct netlink *route, uint16_t type, const struct rule *rule,
		       struct error *err)
{
	alignas(struct nlmsghdr) char bytes[512];
	struct nlmsghdr *request = mnl_nlmsg_put_header(bytes);
	request->nlmsg_type = type;
	if (type == RTM_NEWRULE)
		request->nlmsg_flags = NLM_F_CREATE | NLM_F_EXCL;
	struct fib_rule_hdr *header = mnl_nlmsg_put_extra_header(request, sizeof(*header));
	header->family = rule->family;
	header->src_len = rule->from.length;
	header->dst_len = rule->to.length;
	header->action = rule->action;
	if (rule->from.address.family != IP_NONE)
		netlink_put_address(request, FRA_SRC, &rule->from.address);
	if (rule->to.address.family != IP_NONE)
		netlink_put_address(request, FRA_DST, &rule->to.address);
	if (*rule->interface)
		mnl_attr_put_strz(request, FRA_IIFNAME, rule->interface);
	mnl_attr_put_u32(request, FRA_PRIORITY, rule->pref);
	if (rule->table)
		mnl_attr_put_u32(request, FRA_TABLE, rule->table);
	mnl_attr_put_u8(request, FRA_PROTOCOL, rule->protocol);

	int result = netlink_ask(route, request, NULL, NULL);
	if (result == (type == RTM_NEWRULE ? -EEXIST : -ENOENT))
		return 0;
	if (result < 0)
		error_set(err, result, "cannot %s the %s rule with preference %u: %s",
			  type == RTM_NEWRULE ? "add" : "delete", netlink_family_name(rule->family),
			  rule->pref, error_text(result));
	return result;
}

static bool looks_up_local(const struct rule *rule)
{
	return rule->action == FR_ACT_TO_TBL && rule->table == RT_TABLE_LOCAL && !rule->other &&
	       !*rule->interface && rule->from.address.family == IP_NONE &&
	       rule->to.address.family == IP_NONE;
}

/* The moved look-up of the local table; with LANDING_PROTOCOL, as an earlier release made it. */
static struct rule moved_local(uint8_t family, uint8_t protocol)
{
	return (struct rule){.family = family,
			     .action = FR_ACT_TO_TBL,
			     .protocol = protocol,
			     .pref = RULE_PREF_LOCAL,
			     .table = RT_TABLE_LOCAL};
}

/* The edge's, on a machine that is one: its own calls go there. */
static bool leads_own_calls(const struct rule *rule)
{
	return rule->protocol == OWN_CALLS_PROTOCOL && rule->pref == OWN_CALLS_PREF &&
	       strcmp(rule->interface, "lo") == 0 && !rule->other;
}

bool rule_is_ours(const struct rule *rule)
{
	const struct rule local = moved_local(rule->family, RTPROT_KERNEL);
	return rule->protocol == LANDING_PROTOCOL || rules_equal(rule, &local);
}

/* The first look-up of the local table that is not ours; NULL if there is none. */
static const struct rule *find_foreign_local(const struct rule_list *list)
{
	for (unsigned i = 0; i < list->count; i++) {
		const struct rule *rule = &list->items[i];
		if (looks_up_local(rule) && !rule_is_ours(rule))
			return rule;
	}
	return NULL;
}

static bool has_moved(const struct rule_list *present, uint8_t family)
{
	const struct rule local = moved_local(family, RTPROT_KERNEL);
	const struct rule former = moved_local(family, LANDING_PROTOCOL);
	return list_has(present, &local) || list_has(present, &former);
}

/* As the kernel makes it with every namespace. */
static struct rule first_local(uint8_t family)
{
	return (struct rule){.family = family,
			     .action = FR_ACT_TO_TBL,
			     .protocol = RTPROT_KERNEL,
			     .pref = 0,
			     .table = RT_TABLE_LOCAL};
}

/* The rules of one pool. */
static int list_pool(uint8_t family, const struct ip_prefix *pool, const struct rules_wish *wish,
		     struct rule_list *wanted)
{
	const struct rule call = {.family = family,
				  .action = FR_ACT_TO_TBL,
				  .protocol = LANDING_PROTOCOL,
				  .interface = "lo",
				  .pref = RULE_PREF_CALL,
				  .table = RT_TABLE_MAIN,
				  .to = *pool};
	struct rule no_call = call;
	no_call.action = FR_ACT_UNREACHABLE;
	no_call.pref = RULE_PREF_NO_CALL;
	no_call.table = 0;
	int result = list_append(wanted, &call);
	if (result == 0)
		result = list_append(wanted, &no_call);
	for (unsigned i = 0; i < wish->interface_count && result == 0; i++) {
		struct rule admit = call;
		admit.pref = RULE_PREF_ADMIT;
		admit.table = RT_TABLE_LOCAL;
		memcpy(admit.interface, wish->interfaces[i], sizeof(admit.interface));
		result = list_append(wanted, &admit);
	}
	struct rule not_admitted = no_call;
	not_admitted.action = FR_ACT_BLACKHOLE;
	not_admitted.pref = RULE_PREF_NOT_ADMITTED;
	memset(not_admitted.interface, 0, sizeof(not_admitted.interface));
	return result < 0 ? result : list_append(wanted, &not_admitted);
}

static int list_wanted(uint8_t family, const struct rules_wish *wish, struct rule_list *wanted)
{
	int result = 0;
	for (unsigned i = 0; i < wish->pool_count && result == 0; i++) {
		if (is_of_family(&wish->pools[i], family))
			result = list_pool(family, &wish->pools[i], wish, wanted);
	}
	return result;
}

static int add_missing(struct netlink *route, const struct rule_list *present,
		       const struct rule_list *wanted, const char *deleter,
		       struct landing_alarms *alarms, struct error *err)
{
	for (unsigned i = 0; i < wanted->count; i++) {
		const struct rule *rule = &wanted->items[i];
		if (list_has(present, rule))
			continue;
		int result = change_rule(route, RTM_NEWRULE, rule, err);
		if (result < 0)
			return result;
		if (deleter)
			LANDING_ALARM(alarms, RULE_LOST, netlink_family_name(rule->family), deleter,
				      netlink_family_name(rule->family), rule->pref);
	}
	return 0;
}

static int delete_unwanted(struct netlink *route, const struct rule_list *present,
			   const struct rule_list *wanted, struct error *err)
{
	for (unsigned i = 0; i < present->count; i++) {
		const struct rule *rule = &present->items[i];
		if (!rule_is_ours(rule) || (wanted && list_has(wanted, rule)))
			continue;
		int result = change_rule(route, RTM_DELRULE, rule, err);
		if (result < 0)
			return result;
	}
	return 0;
}

/* A rule before 100 came behind the local table, and will come before it: with a default route in
 * its table this machine would lose its own addresses. NULL if there is none. */
static const struct rule *find_in_the_way(const struct rule_list *list)
{
	for (unsigned i = 0; i < list->count; i++) {
		const struct rule *rule = &list->items[i];
		if (!rule_is_ours(rule) && rule->pref < RULE_PREF_LOCAL && !looks_up_local(rule) &&
		    !leads_own_calls(rule))
			return rule;
	}
	return NULL;
}

static int apply(struct netlink *route, uint8_t family, const struct rules_wish *wish,
		 const struct rule_list *present, struct rule_list *wanted,
		 struct landing_alarms *alarms, struct error *err)
{
	const struct rule local = moved_local(family, RTPROT_KERNEL);
	const struct rule *foreign = find_foreign_local(present);
	bool must_move = foreign && foreign->pref < RULE_PREF_CALL;
	if (must_move && foreign->pref != 0)
		return error_set(err, -FL_ESTATE,
				 "the %s rule that looks up the local table has preference %u; "
				 "landing can move it only from 0, or needs it behind %d",
				 netlink_family_name(family), foreign->pref, RULE_PREF_CALL);

	const bool moved = has_moved(present, family);
	const struct rule *in_the_way = find_in_the_way(present);
	if (in_the_way && must_move && !moved)
		return error_set(err, -FL_ESTATE,
				 "the %s rule with preference %u would come before the local "
				 "table, which landing moves to %d; give the rule a higher one",
				 netlink_family_name(family), in_the_way->pref, RULE_PREF_LOCAL);
	if (in_the_way && moved)
		LANDING_ALARM(alarms, RULE_IN_THE_WAY, netlink_family_name(family),
			      netlink_family_name(family), in_the_way->pref, RULE_PREF_LOCAL);
	int result = 0;
	if (must_move || moved)
		result = list_append(wanted, &local);
	if (result == 0)
		result = list_wanted(family, wish, wanted);
	if (result < 0)
		return error_set(err, result, "cannot list the %s rules: %s",
				 netlink_family_name(family), error_text(result));
	result = add_missing(route, present, wanted, wish->deleter, alarms, err);
	if (result == 0 && must_move) {
		result = change_rule(route, RTM_DELRULE, foreign, err);
		if (result == 0 && moved)
			LANDING_ALARM(alarms, RULE_BACK, netlink_family_name(family),
				      netlink_family_name(family));
	}
	return result < 0 ? result : delete_unwanted(route, present, wanted, err);
}

int rules_apply(struct netlink *route, uint8_t family, const struct rules_wish *wish,
		struct landing_alarms *alarms, struct error *err)
{
	bool any = false;
	for (unsigned i = 0; i < wish->pool_count; i++)
		any |= is_of_family(&wish->pools[i], family);
	if (!any)
		return rules_undo(route, family, err);

	struct rule_list present = {0};
	struct rule_list wanted = {0};
	int result = read_rules(route, family, &present, err);
	if (result == 0)
		result = apply(route, family, wish, &present, &wanted, alarms, err);
	free(present.items);
	free(wanted.items);
	return result;
}

int rules_undo(struct netlink *route, uint8_t family, struct error *err)
{
	struct rule_list present = {0};
	int result = read_rules(route, family, &present, err);
	if (result == 0 && has_moved(&present, family) && !find_foreign_local(&present)) {
		struct rule first = first_local(family);
		result = change_rule(route, RTM_NEWRULE, &first, err);
	}
	if (result == 0)
		result = delete_unwanted(route, &present, NULL, err);
	free(present.items);
	return result;
}
