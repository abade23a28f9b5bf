/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topologies: every bad file of tests/golden/lab gives exactly the findings beside it, those of
 * lab/topologies are read as written and survive being cut anywhere.
 */
#include "config/config.h"
#include "golden_findings.h"
#include "lab/topology.h"
#include "yaml/findings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define GOLDEN SOURCE_ROOT "/tests/golden/lab"
#define TOPOLOGIES SOURCE_ROOT "/lab/topologies"

/* A parse with its own memory. */
struct attempt {
	struct arena arena;
	struct topology *topology; /* NULL when refused */
	struct findings findings;
	struct buffer text; /* the findings as shown */
	int result;
};

static void attempt_init(struct attempt *attempt, const char *text, size_t length, const char *file)
{
	memset(attempt, 0, sizeof(*attempt));
	arena_init(&attempt->arena, 0);
	buffer_init(&attempt->text, 0);
	attempt->result = topology_parse(text, length, file, &attempt->arena, &attempt->topology,
					 &attempt->findings);
	findings_render(&attempt->findings, &attempt->text);
	/* One or the other: a topology, or at least one error. */
	assert_int_equal(attempt->result == 0, attempt->topology != NULL);
	assert_int_equal(attempt->result == 0, attempt->findings.errors == 0);
}

static void attempt_done(struct attempt *attempt)
{
	buffer_done(&attempt->text);
	arena_done(&attempt->arena);
}

static void refuse(const char *text, size_t length, const char *name, struct buffer *shown)
{
	struct attempt attempt;
	attempt_init(&attempt, text, length, name);
	assert_int_equal(attempt.result, -FL_EINVALID);
	buffer_append(shown, attempt.text.data, attempt.text.length);
	attempt_done(&attempt);
}

static void every_bad_file_gives_its_expected_findings(void **state)
{
	(void)state;
	golden_check_findings(GOLDEN, 20, refuse);
}

static void every_key_is_read(void **state)
{
	static const char TEXT[] =
	    "machines:\n"
	    "  a:\n"
	    "    forwards: true\n"
	    "    resolver: 192.0.2.53\n"
	    "    bridges: {br0: [10.0.0.1/24, \"fd00::1/64\"]}\n"
	    "    routes: [{to: default, via: 10.0.0.2}, {to: \"2001:db8::/32\", via: "
	    "\"fd00::2\"}]\n"
	    "    sysctls: {net.ipv4.tcp_timestamps: 0, net/ipv4/conf/eth.5/rp_filter: 1}\n"
	    "    run:\n"
	    "      one: sleep 5\n"
	    "      two: {command: [sleep, \"10 20\", -v], ready: test -e x}\n"
	    "  b:\n"
	    "links:\n"
	    "  port: {from: {machine: a, interface: p0, bridge: br0}, to: {machine: b, interface: "
	    "p0, "
	    "xdp: pass}}\n"
	    "  line:\n"
	    "    to: {machine: b, interface: eth0}\n"
	    "    back: {delay: 5ms, loss: 0%, rate: unlimited}\n"
	    "    from: {machine: a, interface: eth0, addresses: [192.0.2.1/24]}\n"
	    "    mtu: 1400\n"
	    "    delay: 20ms\n"
	    "    loss: 12.5%\n"
	    "    rate: 64kbit\n"
	    "    queue: 1s\n"
	    "seed: 9\n"
	    "try: [ls, ps]\n";
	struct attempt attempt;
	(void)state;
	attempt_init(&attempt, TEXT, sizeof(TEXT) - 1, "all.yaml");
	assert_string_equal(attempt.text.data ? attempt.text.data : "", "");
	const struct topology *topology = attempt.topology;
	const struct topology_machine *a = topology_machine(topology, "a");
	assert_true(a->forwards);
	assert_int_equal(a->resolver.family, IP_V4);
	assert_int_equal(a->bridges[0].address_count, 2);
	assert_int_equal(a->bridges[0].addresses[1].length, 64);
	assert_int_equal(a->routes[0].to.length, 0);
	assert_int_equal(a->routes[0].to.address.family, IP_V4);
	assert_int_equal(a->routes[1].to.length, 32);
	assert_string_equal(a->settings[0].path, "net/ipv4/tcp_timestamps");
	assert_string_equal(a->settings[1].path, "net/ipv4/conf/eth.5/rp_filter");
	assert_string_equal(a->processes[0].command, "sleep 5");
	assert_null(a->processes[0].ready);
	assert_string_equal(a->processes[1].command, "sleep 10 20 -v");
	assert_string_equal(a->processes[1].ready, "test -e x");
	assert_false(topology_machine(topology, "b")->forwards);
	assert_null(topology_machine(topology, "c"));

	const struct topology_link *port = topology_link(topology, "port");
	assert_string_equal(port->ends[LINK_FROM].bridge, "br0");
	assert_true(port->ends[LINK_TO].passes_xdp);
	assert_int_equal(port->mtu, 1500);
	assert_false(topology_link_is_shaped(port));

	const struct topology_link *line = topology_link(topology, "line");
	const struct shape *forth = &line->shapes[LINK_FROM], *back = &line->shapes[LINK_TO];
	assert_true(topology_link_is_shaped(line));
	assert_int_equal(forth->delay_ns, 20 * SHAPE_NS_PER_MS);
	assert_int_equal(forth->loss, SHAPE_LOSS_ALL / 8);
	assert_int_equal(forth->rate, 64000);
	assert_int_equal(forth->queue_ns, 1000 * SHAPE_NS_PER_MS);
	assert_int_equal(back->delay_ns, 5 * SHAPE_NS_PER_MS);
	assert_int_equal(back->loss, 0);
	assert_int_equal(back->rate, 0);
	assert_int_equal(back->queue_ns, forth->queue_ns);
	assert_int_equal(back->mtu, 1400);
	assert_int_equal(topology->seed, 9);
	assert_int_equal(topology->try_count, 2);
	attempt_done(&attempt);
}

static void read_topology(const char *name, size_t machines, size_t links)
{
	char path[512];
	struct attempt attempt;
	snprintf(path, sizeof(path), TOPOLOGIES "/%s.yaml", name);
	struct buffer bytes = golden_read(path);
	attempt_init(&attempt, bytes.data, bytes.length, name);
	assert_string_equal(attempt.text.data ? attempt.text.data : "", "");
	assert_int_equal(attempt.topology->machine_count, machines);
	assert_int_equal(attempt.topology->link_count, links);
	attempt_done(&attempt);
	for (size_t length = 0; length < bytes.length; length += 7) {
		attempt_init(&attempt, bytes.data, length, name);
		attempt_done(&attempt);
	}
	buffer_done(&bytes);
}

static void those_of_the_tree_are_read_and_can_be_cut(void **state)
{
	(void)state;
	read_topology("rack", 8, 8);
	read_topology("distance", 6, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_bad_file_gives_its_expected_findings),
	    cmocka_unit_test(every_key_is_read),
	    cmocka_unit_test(those_of_the_tree_are_read_and_can_be_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
