/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel/rule.h"

#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

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

bool rule_equal(const struct rule *a, const struct rule *b)
{
	return a->family == b->family && a->action == b->action && a->protocol == b->protocol &&
	       strcmp(a->interface, b->interface) == 0 && a->other == b->other &&
	       a->pref == b->pref && a->table == b->table && ip_prefix_equal(&a->from, &b->from) &&
	       ip_prefix_equal(&a->to, &b->to);
}

/* --- lists --- */

int rule_list_add(struct rule_list *list, const struct rule *rule)
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
	return message && rule_parse(message, &rule) ? rule_list_add(list, &rule) : 0;
}

bool rule_list_has(const struct rule_list *list, const struct rule *rule)
{
	for (unsigned i = 0; i < list->count; i++) {
		if (rule_equal(&list->items[i], rule))
			return true;
	}
	return false;
}

void rule_list_done(struct rule_list *list)
{
	free(list->items);
	*list = (struct rule_list){0};
}

int rules_read(struct netlink *route, uint8_t family, struct rule_list *ret_list)
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
	if (result < 0)
		rule_list_done(&list);
	*ret_list = list;
	return result;
}

/* --- changing --- */

static int change(struct netlink *route, uint16_t type, const struct rule *rule)
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

	return netlink_ask(route, request, NULL, NULL);
}

int rule_add(struct netlink *route, const struct rule *rule)
{
	int result = change(route, RTM_NEWRULE, rule);
	return result == -EEXIST ? 0 : result < 0 ? result : 1;
}

int rule_delete(struct netlink *route, const struct rule *rule)
{
	int result = change(route, RTM_DELRULE, rule);
	return result == -ENOENT ? 0 : result < 0 ? result : 1;
}
