/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/firewall.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 16 /* of jumps, as the kernel has it */
#define CHAINS_MAX 256u /* base chains on the way of a packet */

/* As nft spells the kernel's answer to a match. */
enum truth { FALSE, TRUE, UNSURE };

static enum truth not(enum truth truth) {
	return truth == UNSURE ? UNSURE
	       : truth == TRUE ? FALSE
			       : TRUE;
}

static enum truth truth_of(bool is)
{
	return is ? TRUE : FALSE;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

/* --- what a match compares ---------------------------------------------------------------------
 */

struct walk {
	const json_t *items; /* of the ruleset */
	const struct firewall_packet *packet;
	const char *family, *table; /* that is looked at */
	bool unsure; /* some rule may have dropped or translated it */
	bool may_pass; /* some rule of this base chain may have let it through */
	struct firewall_answer first_unsure;
	struct firewall_answer answer;
};

/* The packet's side of a comparison. */
struct operand {
	enum { NUMBER, NAME, ADDRESS, DRAWN } kind; /* DRAWN: a port that was drawn at random */
	json_int_t number;
	const char *name; /* of an interface, or what has no number */
	struct ip_address address;
};

static const struct {
	const char *name;
	json_int_t number;
} NUMBERS[] = {{"icmp", IPPROTO_ICMP},     {"ipip", IPPROTO_IPIP},
	       {"tcp", IPPROTO_TCP},       {"udp", IPPROTO_UDP},
	       {"ipv6", IPPROTO_IPV6},     {"gre", IPPROTO_GRE},
	       {"esp", IPPROTO_ESP},       {"ipv6-icmp", IPPROTO_ICMPV6},
	       {"icmpv6", IPPROTO_ICMPV6}, {"sctp", IPPROTO_SCTP},
	       {"ah", IPPROTO_AH},         {"udplite", IPPROTO_UDPLITE}};

static bool number_of(const json_t *value, json_int_t *ret_number)
{
	const char *text = json_string_value(value);
	if (json_is_integer(value)) {
		*ret_number = json_integer_value(value);
		return true;
	}
	for (size_t i = 0; text && i < sizeof(NUMBERS) / sizeof(NUMBERS[0]); i++) {
		if (strcmp(NUMBERS[i].name, text) == 0) {
			*ret_number = NUMBERS[i].number;
			return true;
		}
	}
	return false;
}

static enum truth equals_scalar(const struct operand *operand, const json_t *value)
{
	const char *text = json_string_value(value);
	json_int_t number;
	struct ip_address address;
	switch (operand->kind) {
	case NUMBER:
		return number_of(value, &number) ? truth_of(number == operand->number) : UNSURE;
	case NAME:
		if (!text)
			return UNSURE;
		if (*text && text[strlen(text) - 1] == '*')
			return truth_of(strncmp(text, operand->name, strlen(text) - 1) == 0);
		return truth_of(strcmp(text, operand->name) == 0);
	case ADDRESS:
		if (!text || ip_address_parse(text, &address) < 0)
			return UNSURE;
		return truth_of(ip_address_equal(&address, &operand->address));
	case DRAWN:
		return json_is_integer(value) ? FALSE : UNSURE;
	}
	return UNSURE;
}

static enum truth in_prefix(const struct operand *operand, const json_t *prefix)
{
	char text[IP_TEXT_BYTES];
	struct ip_prefix parsed;
	snprintf(text, sizeof(text), "%.45s/%d", text_of(prefix, "addr"),
		 (int)json_integer_value(json_object_get(prefix, "len")));
	if (operand->kind != ADDRESS || ip_prefix_parse(text, &parsed) < 0)
		return UNSURE;
	return truth_of(ip_prefix_contains(&parsed, &operand->address));
}

static enum truth in_range(const struct operand *operand, const json_t *range)
{
	json_int_t low;
	json_int_t high;
	struct ip_address first;
	struct ip_address last;
	const char *from = json_string_value(json_array_get(range, 0));
	const char *to = json_string_value(json_array_get(range, 1));
	if (operand->kind == NUMBER && number_of(json_array_get(range, 0), &low) &&
	    number_of(json_array_get(range, 1), &high))
		return truth_of(operand->number >= low && operand->number <= high);
	if (operand->kind == ADDRESS && from && to && ip_address_parse(from, &first) == 0 &&
	    ip_address_parse(to, &last) == 0)
		return truth_of(ip_address_compare(&operand->address, &first) >= 0 &&
				ip_address_compare(&operand->address, &last) <= 0);
	return UNSURE;
}

static enum truth equals(const struct walk *walk, const struct operand *operand,
			 const json_t *value);

/* One that is sure to be equal decides. */
static enum truth in_list(const struct walk *walk, const struct operand *operand,
			  const json_t *list)
{
	enum truth found = FALSE;
	for (size_t i = 0; i < json_array_size(list); i++) {
		enum truth one = equals(walk, operand, json_array_get(list, i));
		if (one == TRUE)
			return TRUE;
		if (one == UNSURE)
			found = UNSURE;
	}
	return found;
}

static enum truth in_named_set(const struct walk *walk, const struct operand *operand,
			       const char *name)
{
	for (size_t i = 0; i < json_array_size(walk->items); i++) {
		const json_t *set = json_object_get(json_array_get(walk->items, i), "set");
		if (set && strcmp(text_of(set, "name"), name) == 0 &&
		    strcmp(text_of(set, "table"), walk->table) == 0 &&
		    strcmp(text_of(set, "family"), walk->family) == 0)
			return in_list(walk, operand, json_object_get(set, "elem"));
	}
	return UNSURE;
}

static enum truth equals(const struct walk *walk, const struct operand *operand,
			 const json_t *value)
{
	const char *text = json_string_value(value);
	const json_t *inner;
	if (text && *text == '@')
		return in_named_set(walk, operand, text + 1);
	if (json_is_array(value))
		return in_list(walk, operand, value);
	if (!json_is_object(value))
		return equals_scalar(operand, value);
	if ((inner = json_object_get(value, "set")))
		return in_list(walk, operand, inner);
	if ((inner = json_object_get(value, "prefix")))
		return in_prefix(operand, inner);
	if ((inner = json_object_get(value, "range")))
		return in_range(operand, inner);
	if ((inner = json_object_get(value, "elem")))
		return equals(walk, operand, json_object_get(inner, "val"));
	return UNSURE;
}

/* --- the packet, as matches ask of it ----------------------------------------------------------
 */

enum known { KNOWN, NEVER, OPEN }; /* NEVER: the packet has no such field, and the match is false */

static enum known read_payload(const struct firewall_packet *packet, const json_t *payload,
			       struct operand *ret)
{
	const char *protocol = text_of(payload, "protocol");
	const char *field = text_of(payload, "field");
	const bool v6 = strcmp(protocol, "ip6") == 0;
	if (v6 || strcmp(protocol, "ip") == 0) {
		if (packet->family != (v6 ? IP_V6 : IP_V4))
			return NEVER;
		if (strcmp(field, "protocol") == 0 || strcmp(field, "nexthdr") == 0) {
			*ret = (struct operand){.kind = NUMBER, .number = packet->protocol};
			return KNOWN;
		}
		const struct ip_address *address = strcmp(field, "saddr") == 0 ? &packet->source
						   : strcmp(field, "daddr") == 0
						       ? &packet->destination
						       : NULL;
		if (!address || !address->family)
			return OPEN;
		*ret = (struct operand){.kind = ADDRESS, .address = *address};
		return KNOWN;
	}
	const bool any = strcmp(protocol, "th") == 0;
	if (!any) {
		struct operand asked = {.kind = NUMBER};
		json_t *text = json_string(protocol);
		const bool is_number = number_of(text, &asked.number);
		json_decref(text);
		if (is_number && asked.number != packet->protocol)
			return NEVER;
		if (!is_number)
			return OPEN;
	}
	if (!packet->port)
		return any ? OPEN : NEVER;
	*ret = (struct operand){.kind = NUMBER, .number = packet->port};
	/* Who opens a connection has a port that no rule names. */
	if (strcmp(field, "sport") == 0)
		ret->kind = DRAWN;
	return ret->kind == DRAWN || strcmp(field, "dport") == 0 ? KNOWN : OPEN;
}

static enum known read_meta(const struct firewall_packet *packet, const char *key,
			    struct operand *ret)
{
	*ret = (struct operand){.kind = NAME};
	if (strcmp(key, "l4proto") == 0)
		*ret = (struct operand){.kind = NUMBER, .number = packet->protocol};
	else if (strcmp(key, "nfproto") == 0)
		ret->name = packet->family == IP_V6 ? "ipv6" : "ipv4";
	else if (strcmp(key, "protocol") == 0)
		ret->name = packet->family == IP_V6 ? "ip6" : "ip";
	else if (strcmp(key, "pkttype") == 0)
		ret->name = "host";
	else if (strcmp(key, "iifname") == 0 || strcmp(key, "iif") == 0)
		ret->name = packet->interface;
	return ret->kind == NUMBER || ret->name ? KNOWN : OPEN;
}

static enum truth match(const struct walk *walk, const json_t *match)
{
	const json_t *left = json_object_get(match, "left");
	const json_t *right = json_object_get(match, "right");
	const json_t *part;
	const char *op = text_of(match, "op");
	struct operand operand = {0};
	enum known known = OPEN;
	if (json_object_get(left, "fib"))
		return truth_of(walk->packet->strays);
	if ((part = json_object_get(left, "payload")))
		known = read_payload(walk->packet, part, &operand);
	else if ((part = json_object_get(left, "meta")))
		known = read_meta(walk->packet, text_of(part, "key"), &operand);
	else if ((part = json_object_get(left, "ct")) &&
		 strcmp(text_of(part, "key"), "state") == 0) {
		operand = (struct operand){.kind = NAME, .name = "new"};
		known = KNOWN;
	}
	if (known == NEVER)
		return FALSE;
	if (known == OPEN)
		return UNSURE;
	enum truth equal = equals(walk, &operand, right);
	if (strcmp(op, "==") == 0 || strcmp(op, "in") == 0)
		return equal;
	if (strcmp(op, "!=") == 0)
		return not(equal);
	json_int_t number;
	if (operand.kind != NUMBER || !number_of(right, &number))
		return UNSURE;
	return strcmp(op, "<") == 0    ? truth_of(operand.number < number)
	       : strcmp(op, ">") == 0  ? truth_of(operand.number > number)
	       : strcmp(op, "<=") == 0 ? truth_of(operand.number <= number)
	       : strcmp(op, ">=") == 0 ? truth_of(operand.number >= number)
				       : UNSURE;
}

/* --- rules and chains --------------------------------------------------------------------------
 */

enum step { GO_ON, PASSES, DROPS, TRANSLATES, RETURNS };

static enum step walk_chain(struct walk *walk, const char *chain, unsigned depth);

static void place(struct firewall_answer *answer, const struct walk *walk, const char *chain,
		  const json_t *rule)
{
	snprintf(answer->chain, sizeof(answer->chain), "%.60s %.80s %.80s", walk->family,
		 walk->table, chain);
	if (rule)
		snprintf(answer->rule, sizeof(answer->rule), "rule %lld of chain %.220s",
			 (long long)json_integer_value(json_object_get(rule, "handle")),
			 answer->chain);
	else
		snprintf(answer->rule, sizeof(answer->rule), "the policy of chain %.220s",
			 answer->chain);
}

static void may_be(struct walk *walk, const char *chain, const json_t *rule)
{
	if (!walk->unsure)
		place(&walk->first_unsure, walk, chain, rule);
	walk->unsure = true;
}

/* What a rule's last word is, if it is one; a map of verdicts may say anything. */
static enum step verdict_of(struct walk *walk, const json_t *statement, const char *chain,
			    const json_t *rule, unsigned depth)
{
	const json_t *target;
	if (json_object_get(statement, "accept"))
		return PASSES;
	if (json_object_get(statement, "drop") || json_object_get(statement, "reject")) {
		place(&walk->answer, walk, chain, rule);
		return DROPS;
	}
	if (json_object_get(statement, "dnat") || json_object_get(statement, "redirect")) {
		place(&walk->answer, walk, chain, rule);
		return TRANSLATES;
	}
	if (json_object_get(statement, "return"))
		return RETURNS;
	if (json_object_get(statement, "vmap") || json_object_get(statement, "queue")) {
		may_be(walk, chain, rule);
		return GO_ON;
	}
	if (((target = json_object_get(statement, "jump")) ||
	     (target = json_object_get(statement, "goto"))) &&
	    depth < DEPTH_MAX) {
		enum step step = walk_chain(walk, text_of(target, "target"), depth + 1);
		if (step == RETURNS || (step == GO_ON && json_object_get(statement, "jump")))
			return GO_ON;
		/* `goto` never comes back: what follows is the base chain's policy. */
		return step == GO_ON ? RETURNS : step;
	}
	return GO_ON;
}

static enum step walk_rule(struct walk *walk, const char *chain, const json_t *rule, unsigned depth)
{
	const json_t *statements = json_object_get(rule, "expr");
	enum truth holds = TRUE;
	for (size_t i = 0; i < json_array_size(statements) && holds != FALSE; i++) {
		const json_t *statement = json_array_get(statements, i);
		const json_t *part;
		if ((part = json_object_get(statement, "match"))) {
			enum truth one = match(walk, part);
			holds = one == FALSE ? FALSE : one == UNSURE ? UNSURE : holds;
			continue;
		}
		/* A limit lets some through; what `xt` does is iptables' own. */
		if (json_object_get(statement, "limit") || json_object_get(statement, "xt"))
			holds = UNSURE;
		struct firewall_answer before = walk->answer;
		enum step step = verdict_of(walk, statement, chain, rule, depth);
		if (step == GO_ON)
			continue;
		if (holds == TRUE)
			return step;
		walk->answer = before;
		if (step == DROPS || step == TRANSLATES)
			may_be(walk, chain, rule);
		walk->may_pass |= step == PASSES;
		return GO_ON;
	}
	return GO_ON;
}

static enum step walk_chain(struct walk *walk, const char *chain, unsigned depth)
{
	for (size_t i = 0; i < json_array_size(walk->items); i++) {
		const json_t *rule = json_object_get(json_array_get(walk->items, i), "rule");
		if (!rule || strcmp(text_of(rule, "chain"), chain) != 0 ||
		    strcmp(text_of(rule, "table"), walk->table) != 0 ||
		    strcmp(text_of(rule, "family"), walk->family) != 0)
			continue;
		enum step step = walk_rule(walk, chain, rule, depth);
		if (step != GO_ON)
			return step;
	}
	return GO_ON;
}

/* Whether a packet of this kind passes the base chain, and when: its place on the way. -1: it does
 * not. */
static int place_on_way(const struct firewall_packet *packet, const json_t *chain)
{
	static const char *const in[] = {"ingress", "prerouting", "input"};
	static const char *const through[] = {"ingress", "prerouting", "forward"};
	const char *const *way = packet->forwarded ? through : in;
	const char *family = text_of(chain, "family");
	const char *hook = text_of(chain, "hook");
	if (strcmp(family, "inet") != 0 && strcmp(family, "netdev") != 0 &&
	    strcmp(family, packet->family == IP_V6 ? "ip6" : "ip") != 0)
		return -1;
	for (int i = 0; i < 3; i++) {
		if (strcmp(way[i], hook) == 0)
			return i;
	}
	return -1;
}

struct base_chain {
	const json_t *chain;
	int place;
	json_int_t priority;
};

static int compare_chains(const void *left, const void *right)
{
	const struct base_chain *a = left;
	const struct base_chain *b = right;
	if (a->place != b->place)
		return a->place - b->place;
	return a->priority < b->priority ? -1 : a->priority > b->priority;
}

/* One base chain: whoever accepts in it only ends it. */
static bool pass_chain(struct walk *walk, const json_t *chain)
{
	const char *name = text_of(chain, "name");
	walk->family = text_of(chain, "family");
	walk->table = text_of(chain, "table");
	walk->may_pass = false;
	enum step step = walk_chain(walk, name, 0);
	const bool by_policy = step == GO_ON || step == RETURNS;
	if (step == PASSES || (by_policy && strcmp(text_of(chain, "policy"), "drop") != 0))
		return true;
	if (by_policy)
		place(&walk->answer, walk, name, NULL);
	walk->answer.verdict = step == TRANSLATES ? FIREWALL_TRANSLATES : FIREWALL_DROPS;
	if (!walk->may_pass)
		return false;
	if (!walk->unsure)
		walk->first_unsure = walk->answer;
	walk->unsure = true;
	return true;
}

void firewall_judge(const json_t *ruleset, const struct firewall_packet *packet,
		    struct firewall_answer *ret_answer)
{
	struct base_chain chains[CHAINS_MAX];
	size_t count = 0;
	struct walk walk = {.items = json_object_get(ruleset, "nftables"), .packet = packet};
	for (size_t i = 0; i < json_array_size(walk.items) && count < CHAINS_MAX; i++) {
		const json_t *chain = json_object_get(json_array_get(walk.items, i), "chain");
		const int at = chain ? place_on_way(packet, chain) : -1;
		if (at >= 0)
			chains[count++] = (struct base_chain){
			    .chain = chain,
			    .place = at,
			    .priority = json_integer_value(json_object_get(chain, "prio"))};
	}
	qsort(chains, count, sizeof(chains[0]), compare_chains);
	bool passes = true;
	for (size_t i = 0; i < count && passes; i++)
		passes = pass_chain(&walk, chains[i].chain);
	if (!passes) {
		*ret_answer = walk.answer;
	} else if (walk.unsure) {
		*ret_answer = walk.first_unsure;
		ret_answer->verdict = FIREWALL_UNSURE;
	} else {
		*ret_answer = (struct firewall_answer){.verdict = FIREWALL_PASSES};
	}
}
