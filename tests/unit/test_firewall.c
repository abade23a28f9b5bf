/* SPDX-License-Identifier: Apache-2.0 */
/* What a ruleset does with a packet of which only some is known: rules in nft's own JSON. */
#include "doctor/findings.h"
#include "doctor/firewall.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A table `inet filter` with one base chain `input`, and one that rules may jump to. */
static json_t *ruleset(const char *policy, const char *rules)
{
	char text[8192];
	json_error_t fault;
	snprintf(text, sizeof(text),
		 "{\"nftables\": [{\"metainfo\": {\"version\": \"1.0.6\"}},"
		 "{\"table\": {\"family\": \"inet\", \"name\": \"filter\", \"handle\": 1}},"
		 "{\"chain\": {\"family\": \"inet\", \"table\": \"filter\", \"name\": \"input\","
		 " \"handle\": 1, \"type\": \"filter\", \"hook\": \"input\", \"prio\": 0,"
		 " \"policy\": \"%s\"}},"
		 "{\"chain\": {\"family\": \"inet\", \"table\": \"filter\", \"name\": \"other\","
		 " \"handle\": 2}},"
		 "{\"set\": {\"family\": \"inet\", \"table\": \"filter\", \"name\": \"ports\","
		 " \"type\": \"inet_service\", \"elem\": [22, {\"range\": [7000, 8000]}]}}"
		 "%s%s]}",
		 policy, *rules ? "," : "", rules);
	json_t *json = json_loads(text, 0, &fault);
	if (!json)
		fail_msg("%s at %d in %s", fault.text, fault.position, text);
	return json;
}

#define RULE(chain, handle, expr)                                                                  \
	"{\"rule\": {\"family\": \"inet\", \"table\": \"filter\", \"chain\": \"" chain             \
	"\", \"handle\": " #handle ", \"expr\": [" expr "]}}"
#define MATCH(left, op, right)                                                                     \
	"{\"match\": {\"op\": \"" op "\", \"left\": " left ", \"right\": " right "}},"
#define DPORT(protocol) "{\"payload\": {\"protocol\": \"" protocol "\", \"field\": \"dport\"}}"
#define SADDR "{\"payload\": {\"protocol\": \"ip\", \"field\": \"saddr\"}}"
#define DADDR "{\"payload\": {\"protocol\": \"ip\", \"field\": \"daddr\"}}"
#define META(key) "{\"meta\": {\"key\": \"" key "\"}}"
#define STATE "{\"ct\": {\"key\": \"state\"}}"
#define MARK "{\"ct\": {\"key\": \"mark\"}}"
#define FIB "{\"fib\": {\"result\": \"oif\", \"flags\": [\"saddr\", \"iif\"]}}"
#define COUNTER "{\"counter\": {\"packets\": 0, \"bytes\": 0}},"
#define DROP "{\"drop\": null}"
#define ACCEPT "{\"accept\": null}"
#define REJECT "{\"reject\": {\"type\": \"tcp reset\"}}"

/* To TCP port 7122, from 10.0.1.2, to 198.51.100.1, in by eth0. */
static struct firewall_packet packet(void)
{
	struct firewall_packet packet = {
	    .family = IP_V4, .protocol = IPPROTO_TCP, .port = 7122, .interface = "eth0"};
	assert_int_equal(ip_address_parse("10.0.1.2", &packet.source), 0);
	assert_int_equal(ip_address_parse("198.51.100.1", &packet.destination), 0);
	return packet;
}

static struct firewall_answer judge_packet(const char *policy, const char *rules,
					   const struct firewall_packet *packet)
{
	struct firewall_answer answer;
	json_t *json = ruleset(policy, rules);
	firewall_judge(json, packet, &answer);
	json_decref(json);
	return answer;
}

static void expect(const char *policy, const char *rules, enum firewall_verdict verdict)
{
	const struct firewall_packet ours = packet();
	const struct firewall_answer answer = judge_packet(policy, rules, &ours);
	if (answer.verdict != verdict)
		fail_msg("%d, not %d, by %s: %s", (int)answer.verdict, (int)verdict, answer.rule,
			 rules);
}

static void test_without_rules_the_policy_decides(void **state)
{
	(void)state;
	expect("accept", "", FIREWALL_PASSES);
	expect("drop", "", FIREWALL_DROPS);
}

static void test_the_first_rule_that_holds_decides(void **state)
{
	(void)state;
	expect("accept", RULE("input", 5, MATCH(DPORT("tcp"), "==", "7122") COUNTER DROP),
	       FIREWALL_DROPS);
	expect("accept", RULE("input", 5, MATCH(DPORT("tcp"), "==", "7122") REJECT),
	       FIREWALL_DROPS);
	expect("accept", RULE("input", 5, MATCH(DPORT("tcp"), "==", "7123") DROP), FIREWALL_PASSES);
	expect("accept", RULE("input", 5, MATCH(DPORT("udp"), "==", "7122") DROP), FIREWALL_PASSES);
	expect(
	    "drop",
	    RULE("input", 5, MATCH(DPORT("tcp"), "==", "7122") ACCEPT) "," RULE("input", 6, DROP),
	    FIREWALL_PASSES);
	expect(
	    "accept",
	    RULE("input", 5, DROP) "," RULE("input", 6, MATCH(DPORT("tcp"), "==", "7122") ACCEPT),
	    FIREWALL_DROPS);
}

static void test_the_rule_is_named(void **state)
{
	(void)state;
	const struct firewall_packet ours = packet();
	struct firewall_answer answer =
	    judge_packet("accept", RULE("input", 5, MATCH(DPORT("tcp"), "==", "7122") DROP), &ours);
	assert_string_equal(answer.chain, "inet filter input");
	assert_string_equal(answer.rule, "rule 5 of chain inet filter input");
	answer = judge_packet("drop", "", &ours);
	assert_string_equal(answer.rule, "the policy of chain inet filter input");
}

static void test_sets_ranges_prefixes_and_names(void **state)
{
	(void)state;
	expect("drop", RULE("input", 5, MATCH(DPORT("tcp"), "==", "\"@ports\"") ACCEPT),
	       FIREWALL_PASSES);
	expect("drop", RULE("input", 5, MATCH(DPORT("tcp"), "==", "{\"set\": [22, 7122]}") ACCEPT),
	       FIREWALL_PASSES);
	expect("drop",
	       RULE("input", 5, MATCH(DPORT("tcp"), "==", "{\"range\": [7000, 7121]}") ACCEPT),
	       FIREWALL_DROPS);
	expect("drop",
	       RULE("input", 5,
		    MATCH(SADDR, "==", "{\"prefix\": {\"addr\": \"10.0.0.0\", \"len\": 8}}")
			ACCEPT),
	       FIREWALL_PASSES);
	expect("accept", RULE("input", 5, MATCH(SADDR, "!=", "\"10.0.1.2\"") DROP),
	       FIREWALL_PASSES);
	expect("accept", RULE("input", 5, MATCH(META("iifname"), "==", "\"eth*\"") DROP),
	       FIREWALL_DROPS);
	expect("accept", RULE("input", 5, MATCH(META("l4proto"), "==", "\"tcp\"") DROP),
	       FIREWALL_DROPS);
	expect("accept", RULE("input", 5, MATCH(META("nfproto"), "==", "\"ipv6\"") DROP),
	       FIREWALL_PASSES);
	expect("accept",
	       RULE("input", 5, MATCH(STATE, "in", "[\"established\", \"related\"]") DROP),
	       FIREWALL_PASSES);
	expect("accept", RULE("input", 5, MATCH(STATE, "in", "\"new\"") DROP), FIREWALL_DROPS);
}

static void test_jumps_come_back(void **state)
{
	(void)state;
	expect("accept",
	       RULE("input", 5, "{\"jump\": {\"target\": \"other\"}}") "," RULE(
		   "other", 6, MATCH(DPORT("tcp"), "==", "7122") DROP),
	       FIREWALL_DROPS);
	expect("drop",
	       RULE("input", 5, "{\"jump\": {\"target\": \"other\"}}") "," RULE(
		   "other", 6, "{\"return\": null}") "," RULE("input", 7, ACCEPT),
	       FIREWALL_PASSES);
	/* `goto` does not: the policy is next. */
	expect("drop",
	       RULE("input", 5, "{\"goto\": {\"target\": \"other\"}}") "," RULE("input", 7, ACCEPT),
	       FIREWALL_DROPS);
}

/* Nothing is called fine, and nothing dropped, that hangs on what is not known. */
static void test_what_is_not_understood_is_not_known(void **state)
{
	(void)state;
	expect("accept", RULE("input", 5, MATCH(MARK, "==", "7") DROP), FIREWALL_UNSURE);
	expect("accept", RULE("input", 5, "{\"xt\": null}," DROP), FIREWALL_UNSURE);
	expect("accept", RULE("input", 5, "{\"limit\": {\"rate\": 5, \"per\": \"second\"}}," DROP),
	       FIREWALL_UNSURE);
	expect("drop", RULE("input", 5, MATCH(MARK, "==", "7") ACCEPT), FIREWALL_UNSURE);
	expect("accept", RULE("input", 5, MATCH(MARK, "==", "7") ACCEPT) "," RULE("input", 6, DROP),
	       FIREWALL_UNSURE);
	expect("accept", RULE("input", 5, "{\"vmap\": {}}"), FIREWALL_UNSURE);
	/* What is false anyhow is not asked further. */
	expect("accept",
	       RULE("input", 5, MATCH(DPORT("tcp"), "==", "22") MATCH(MARK, "==", "7") DROP),
	       FIREWALL_PASSES);
	struct firewall_packet anybody = packet();
	anybody.source = (struct ip_address){0};
	assert_int_equal(judge_packet("accept",
				      RULE("input", 5, MATCH(SADDR, "==", "\"10.9.9.9\"") DROP),
				      &anybody)
			     .verdict,
			 FIREWALL_UNSURE);
}

/* A rule for answers from a port does not concern who opens a connection. */
static void test_source_ports_are_drawn(void **state)
{
	(void)state;
	static const char sport[] = "{\"payload\": {\"protocol\": \"tcp\", \"field\": \"sport\"}}";
	char rules[2048];
	snprintf(rules, sizeof(rules),
		 "{\"rule\": {\"family\": \"inet\", \"table\": \"filter\", \"chain\": \"input\", "
		 "\"handle\": 5, \"expr\": [{\"match\": {\"op\": \"==\", \"left\": %s, \"right\": "
		 "7122}}, {\"accept\": null}]}}",
		 sport);
	expect("drop", rules, FIREWALL_DROPS);
	snprintf(rules, sizeof(rules),
		 "{\"rule\": {\"family\": \"inet\", \"table\": \"filter\", \"chain\": \"input\", "
		 "\"handle\": 5, \"expr\": [{\"match\": {\"op\": \"==\", \"left\": %s, \"right\": "
		 "{\"range\": [1024, 65535]}}}, {\"accept\": null}]}}",
		 sport);
	expect("drop", rules, FIREWALL_UNSURE);
}

static void test_a_packet_that_strays(void **state)
{
	(void)state;
	static const char rule[] = RULE("input", 5, MATCH(FIB, "==", "false") DROP);
	struct firewall_packet ours = packet();
	assert_int_equal(judge_packet("accept", rule, &ours).verdict, FIREWALL_PASSES);
	ours.strays = true;
	assert_int_equal(judge_packet("accept", rule, &ours).verdict, FIREWALL_DROPS);
}

static void test_translation_of_the_destination(void **state)
{
	(void)state;
	expect("accept",
	       RULE("input", 5,
		    MATCH(DADDR, "==",
			  "{\"prefix\": {\"addr\": \"198.51.100.0\", \"len\": 26}}") "{\"dnat\": "
										     "{\"addr\": "
										     "\"10.0.0."
										     "9\"}}"),
	       FIREWALL_TRANSLATES);
}

/* What is led on meets other chains than what is for this machine. */
static void test_a_forwarded_packet_meets_no_input_chain(void **state)
{
	(void)state;
	struct firewall_packet ours = packet();
	ours.forwarded = true;
	assert_int_equal(judge_packet("drop", "", &ours).verdict, FIREWALL_PASSES);
}

static void test_findings_have_codes_of_their_own_and_a_cure(void **state)
{
	(void)state;
	for (size_t i = 0; i < FINDING_CODES; i++) {
		assert_true(*finding_rows[i].mend);
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(finding_rows[i].code, finding_rows[k].code);
	}
}

static void test_a_cure_names_its_subject_and_value(void **state)
{
	(void)state;
	char text[256];
	finding_mend(FINDING_MTU_SMALL, "eth0", "1540", text, sizeof(text));
	assert_string_equal(text, "ip link set eth0 mtu 1540   # and on what lies between");
	finding_mend(FINDING_MTU_SMALL, "eth0", "1540", text, 12);
	assert_string_equal(text, "ip link set");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_without_rules_the_policy_decides),
	    cmocka_unit_test(test_the_first_rule_that_holds_decides),
	    cmocka_unit_test(test_the_rule_is_named),
	    cmocka_unit_test(test_sets_ranges_prefixes_and_names),
	    cmocka_unit_test(test_jumps_come_back),
	    cmocka_unit_test(test_what_is_not_understood_is_not_known),
	    cmocka_unit_test(test_source_ports_are_drawn),
	    cmocka_unit_test(test_a_packet_that_strays),
	    cmocka_unit_test(test_translation_of_the_destination),
	    cmocka_unit_test(test_a_forwarded_packet_meets_no_input_chain),
	    cmocka_unit_test(test_findings_have_codes_of_their_own_and_a_cure),
	    cmocka_unit_test(test_a_cure_names_its_subject_and_value),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
