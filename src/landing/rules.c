/* SPDX-License-Identifier: Apache-2.0 */
#include "landing/rules.h"

#include "kernel/own_calls.h"

#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

static bool is_of_family(const struct ip_prefix *prefix, uint8_t family)
{
	return prefix->address.family == netlink_family(family);
}

static int read_rules(struct netlink *route, uint8_t family, struct rule_list *ret_list,
		      struct error *err)
{
	int result = rules_read(route, family, ret_list);
	return result < 0 ? error_set(err, result, "cannot read the %s rules: %s",
				      netlink_family_name(family), error_text(result))
			  : 0;
}

static int change_rule(struct netlink *route, uint16_t type, const struct rule *rule,
		       struct error *err)
{
	int result = type == RTM_NEWRULE ? rule_add(route, rule) : rule_delete(route, rule);
	return result < 0
		   ? error_set(err, result, "cannot %s the %s rule with preference %u: %s",
			       type == RTM_NEWRULE ? "add" : "delete",
			       netlink_family_name(rule->family), rule->pref, error_text(result))
		   : 0;
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
	return rule->protocol == LANDING_PROTOCOL || rule_equal(rule, &local);
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
	return rule_list_has(present, &local) || rule_list_has(present, &former);
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
	int result = rule_list_add(wanted, &call);
	if (result == 0)
		result = rule_list_add(wanted, &no_call);
	for (unsigned i = 0; i < wish->interface_count && result == 0; i++) {
		struct rule admit = call;
		admit.pref = RULE_PREF_ADMIT;
		admit.table = RT_TABLE_LOCAL;
		memcpy(admit.interface, wish->interfaces[i], sizeof(admit.interface));
		result = rule_list_add(wanted, &admit);
	}
	struct rule not_admitted = no_call;
	not_admitted.action = FR_ACT_BLACKHOLE;
	not_admitted.pref = RULE_PREF_NOT_ADMITTED;
	memset(not_admitted.interface, 0, sizeof(not_admitted.interface));
	return result < 0 ? result : rule_list_add(wanted, &not_admitted);
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
		if (rule_list_has(present, rule))
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
		if (!rule_is_ours(rule) || (wanted && rule_list_has(wanted, rule)))
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
		result = rule_list_add(wanted, &local);
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
	rule_list_done(&present);
	rule_list_done(&wanted);
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
	rule_list_done(&present);
	return result;
}
