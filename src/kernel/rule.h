/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Routing policy rules, as rtnetlink has them (linux/fib_rules.h): read, compared, added, deleted.
 * Which there shall be is for the planes to say.
 *
 * The thread of the socket that is used.
 */
#ifndef FAIRLEAD_KERNEL_RULE_H
#define FAIRLEAD_KERNEL_RULE_H

#include "kernel/netlink.h"

#include <linux/netlink.h>

struct rule {
	uint8_t family; /* AF_INET or AF_INET6 */
	uint8_t action; /* FR_ACT_… */
	uint8_t protocol;
	char interface[16]; /* that packets come in by, "lo" for this machine's own; "": any */
	bool other; /* has selectors or effects that this struct does not show */
	uint32_t pref;
	uint32_t table;
	struct ip_prefix from, to; /* family IP_NONE: any */
};

/* A rule that is there or was deleted; false for a message that is no rule. Pure. */
bool rule_parse(const struct nlmsghdr *message, struct rule *ret_rule);

bool rule_equal(const struct rule *a, const struct rule *b);

/* More rules than this are not read: a look-up through them would take for ever anyway. */
#define RULES_MAX 4096

/* Zero is an empty one. */
struct rule_list {
	struct rule *items; /* owned */
	unsigned count;
	unsigned capacity;
};

/* -ENOMEM, or -FL_ELIMIT with RULES_MAX. */
must_check int rule_list_add(struct rule_list *list, const struct rule *rule);
bool rule_list_has(const struct rule_list *list, const struct rule *rule);
void rule_list_done(struct rule_list *list);

/* All rules of AF_INET or AF_INET6, for rule_list_done(); none where the kernel lacks the family.
 * A negative errno, or as rule_list_add(), leaves an empty list. */
must_check int rules_read(struct netlink *route, uint8_t family, struct rule_list *ret_list);

/* 1 if that changed something, 0 if it was so already, or the kernel's negative errno. */
must_check int rule_add(struct netlink *route, const struct rule *rule);
must_check int rule_delete(struct netlink *route, const struct rule *rule);

#endif
