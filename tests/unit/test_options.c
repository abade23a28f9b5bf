/* SPDX-License-Identifier: Apache-2.0 */
/* What `fairlead run` is told: complete or refused with a sentence that names the option. */
#include "daemon/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define EDGE                                                                                       \
	"\"node\": \"edge1\", \"site\": \"fra\", \"interface\": [\"eth0\"], \"source\": "          \
	"[\"10.0.0.2\"]"

static int parse(const char *text, struct arena *arena, struct daemon_options *options,
		 struct error *err)
{
	json_t *parameters = json_loads(text, 0, NULL);
	assert_non_null(parameters);
	int result = daemon_options_parse(parameters, arena, options, err);
	json_decref(parameters);
	return result;
}

static void an_edge_gets_its_defaults(void **state)
{
	(void)state;
	struct arena arena;
	struct daemon_options options;
	struct error err = {0};
	arena_init(&arena, 0);
	assert_int_equal(
	    parse("{" EDGE ", \"dns\": [\"10.0.0.2\", \"::1\"]}", &arena, &options, &err), 0);
	assert_true(options.edge && options.names && !options.backend);
	assert_string_equal(options.node, "edge1");
	assert_int_equal(options.interface_count, 1);
	assert_int_equal(options.source_v4.family, IP_V4);
	assert_int_equal(options.source_v6.family, IP_NONE);
	assert_int_equal(options.dns_count, 2);
	assert_int_equal(options.dns_port, 53);
	assert_int_equal(options.metrics_address.family, IP_V4);
	assert_int_equal(options.metrics_port, 7124);
	assert_string_equal(options.socket_path, "/run/fairlead/fairlead.sock");
	assert_string_equal(options.state_folder, "/var/lib/fairlead");
	assert_string_equal(options.edge_pins, "/sys/fs/bpf/fairlead/edge");
	assert_string_equal(options.landing_pins, "/sys/fs/bpf/fairlead/landing");
	arena_done(&arena);
}

static void a_backend_needs_no_site(void **state)
{
	(void)state;
	struct arena arena;
	struct daemon_options options;
	struct error err = {0};
	arena_init(&arena, 0);
	assert_int_equal(
	    parse("{\"role\": \"backend\", \"node\": \"web1\", \"underlay\": [\"eth0\"],"
		  "\"join\": \"unix:/run/x.sock\"}",
		  &arena, &options, &err),
	    0);
	assert_string_equal(options.join, "/run/x.sock");
	assert_int_equal(options.metrics_port, 0);
	arena_done(&arena);
}

static void an_edge_may_announce(void **state)
{
	(void)state;
	struct arena arena;
	struct daemon_options options;
	struct error err = {0};
	arena_init(&arena, 0);
	assert_int_equal(parse("{" EDGE ", \"dns\": [\"::1\"]}", &arena, &options, &err), 0);
	assert_false(options.announces);
	assert_int_equal(
	    parse("{" EDGE ", \"dns\": [\"::1\"], \"announce\": \"bgp\"}", &arena, &options, &err),
	    0);
	assert_true(options.announces);
	assert_int_equal(options.announce_table, 122);
	assert_int_equal(options.announce_wait_s, 3);
	assert_int_equal(parse("{" EDGE ", \"dns\": [\"::1\"], \"announce\": \"bgp\", "
			       "\"announce_table\": 252, \"announce_wait\": 0}",
			       &arena, &options, &err),
			 0);
	assert_int_equal(options.announce_table, 252);
	assert_int_equal(options.announce_wait_s, 0);
	arena_done(&arena);
}

static void what_is_missing_or_wrong_is_named(void **state)
{
	(void)state;
	static const struct {
		const char *parameters;
		const char *says;
	} cases[] = {
	    {"{\"node\": \"e\"}", "--site"},
	    {"{\"node\": \"e\", \"site\": \"fra\"}", "--interface"},
	    {"{\"node\": \"e\", \"site\": \"fra\", \"interface\": [\"eth0\"]}", "--source"},
	    {"{" EDGE "}", "--dns"},
	    {"{\"role\": \"edge,king\"}", "\"king\" is no role"},
	    {"{" EDGE ", \"role\": \"edge,backend\"}", "--underlay"},
	    {"{" EDGE ", \"role\": \"edge,backend\", \"underlay\": [\"eth0\"], \"join\": "
	     "\"unix:/s\"}",
	     "reports to itself"},
	    {"{\"role\": \"backend\", \"node\": \"w\"}", "--underlay"},
	    {"{\"role\": \"backend\", \"node\": \"w\", \"underlay\": [\"eth0\"]}", "--join"},
	    {"{\"role\": \"backend\", \"join\": \"10.0.0.1:1\"}", "unix:PATH"},
	    {"{\"role\": \"backend\", \"join\": "
	     "\"unix:/"
	     "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcde"
	     "fghijabcdefghijabcdefgh\"}",
	     "107 characters"},
	    {"{\"node\": \"Edge 1\"}", "\"Edge 1\" is no node name"},
	    {"{\"node\": \"\"}", "is no node name"},
	    {"{\"node\": \"e\", \"source\": [\"10.0.0\"]}", "--source 10.0.0:"},
	    {"{\"node\": \"e\", \"source\": [\"0.0.0.0\"]}", "--source 0.0.0.0: no tunnel"},
	    {"{\"node\": \"e\", \"source\": [\"127.0.0.1\"]}", "loopback address"},
	    {"{\"node\": \"e\", \"source\": [\"::\"]}", "unspecified address"},
	    {"{\"node\": \"e\", \"source\": [\"10.0.0.1\", \"10.0.0.2\"]}",
	     "one source per family"},
	    {"{" EDGE ", \"dns\": [\"ns1\"]}", "--dns ns1"},
	    {"{" EDGE ", \"dns\": [\"::1\"], \"dns_threads\": 65}", "at most 64"},
	    {"{" EDGE ", \"dns\": [\"::1\"], \"dns_threads\": 4294967297}", "at most 64"},
	    {"{" EDGE ", \"dns\": [\"::1\"], \"underlay\": [\"eth0\"]}",
	     "--underlay is for the role backend"},
	    {"{" EDGE ", \"role\": \"edge\", \"dns\": [\"::1\"]}", "--dns is for the role names"},
	    {"{" EDGE ", \"role\": \"names\", \"dns\": [\"::1\"]}",
	     "--interface is for the role edge"},
	    {"{\"role\": \"backend\", \"node\": \"w\", \"underlay\": [\"eth0\"], "
	     "\"join\": \"unix:/x\", \"site\": \"fra\"}",
	     "--site is for the role edge or names"},
	    {"{" EDGE ", \"dns\": [\"::1\"], \"announce\": \"ospf\"}", "it takes bgp"},
	    {"{" EDGE ", \"dns\": [\"::1\"], \"announce\": \"bgp\", \"announce_table\": 0}",
	     "1 to 252"},
	    {"{" EDGE ", \"dns\": [\"::1\"], \"announce\": \"bgp\", \"announce_table\": 253}",
	     "1 to 252"},
	    {"{" EDGE ", \"dns\": [\"::1\"], \"announce\": \"bgp\", \"announce_wait\": -1}",
	     "0 to 60 seconds"},
	    {"{\"role\": \"backend\", \"node\": \"w\", \"underlay\": [\"eth0\"], "
	     "\"join\": \"unix:/x\", \"announce\": \"bgp\"}",
	     "--announce is for the role edge"},
	    {"{" EDGE ", \"dns\": [\"::1\"], \"metrics\": \"7124\"}", "--metrics 7124: it takes"},
	    {"{" EDGE ", \"dns\": [\"::1\"], \"metrics\": \":7124\"}", "it takes ADDRESS:PORT"},
	    {"{" EDGE ", \"dns\": [\"::1\"], \"metrics\": \"::1:0x\"}", "it takes ADDRESS:PORT"},
	    {"{" EDGE ", \"dns\": [\"::1\"], \"metrics\": \"10.0.0.2:0\"}", "or none"},
	    {"{\"role\": \"backend\", \"node\": \"w\", \"underlay\": [\"eth0\"], "
	     "\"join\": \"unix:/x\", \"metrics\": \"127.0.0.1:1\"}",
	     "not for a landing with --join"},
	    {"{" EDGE ", \"dns\": [\"10.0.0.2@0\"]}", "1 to 65535"},
	    {"{" EDGE ", \"dns\": [\"10.0.0.2@99999\"]}", "1 to 65535"},
	    {"{" EDGE ", \"dns\": [\"10.0.0.2@53x\"]}", "1 to 65535"},
	    {"{" EDGE ", \"dns\": [\"10.0.0.2@5353\", \"::1\"]}", "share one port"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct arena arena;
		struct daemon_options options;
		struct error err = {0};
		arena_init(&arena, 0);
		assert_int_equal(parse(cases[i].parameters, &arena, &options, &err), -FL_EUSAGE);
		if (!strstr(err.text, cases[i].says))
			fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].parameters, err.text,
				 cases[i].says);
		arena_done(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_edge_gets_its_defaults),
	    cmocka_unit_test(a_backend_needs_no_site),
	    cmocka_unit_test(an_edge_may_announce),
	    cmocka_unit_test(what_is_missing_or_wrong_is_named),
	};
	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
