/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Next hops: packets follow routes and neighbours, and the edge keeps the neighbours that it needs.
 */
#include "edge_case.h"

#include <linux/bpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_neighbour_moves(void **state)
{
	(void)state;
	struct ip_address web = fixture_service_address(WEB, IP_V4);
	struct frame frame;
	struct frame out;
	static const uint8_t moved[6] = {2, 0, 0, 0, 0xbb, 0xbb};
	assert_serves(&web, WEB);
	fixture_command("for a in 10.1.0.11 10.1.0.12 fd00:1::11 fd00:1::12; do ip neigh replace "
			"$a dev edge0 lladdr 02:00:00:00:bb:bb nud permanent; done");
	fixture_drain(&fixture);
	assert_int_equal(case_run_to(&web, &frame, &out), XDP_TX);
	assert_memory_equal(out.bytes, moved, sizeof(moved));

	/* Behind a gateway it is the gateway's address that counts. */
	fixture_command("ip route add 10.1.0.11/32 via 10.1.0.77 && "
			"ip neigh replace 10.1.0.77 dev edge0 lladdr 02:00:00:00:77:77 "
			"nud permanent");
	fixture_drain(&fixture);
	const struct edge_status status = case_status();
	assert_int_equal(status.backend_count, FIXTURE_BACKENDS);
	assert_true(status.backends[0].resolved);
	assert_int_equal(status.backends[0].link_address[5], 0x77);
	assert_int_equal(status.backends[1].link_address[5], 0xbb);
	assert_string_equal(status.backends[1].interface, "edge0");
	assert_int_equal(status.backends[1].mtu, 1500);
	fixture_command("ip route replace 10.1.0.11/32 via 10.1.0.77 mtu 1400");
	fixture_drain(&fixture);
	assert_int_equal(case_status().backends[0].mtu, 1400);
	fixture_command("ip route del 10.1.0.11/32 && ip neigh del 10.1.0.77 dev edge0");
	fixture_neighbours();
}

/* A neighbour that we need is installed as managed, comes back, and goes with its backend. */
static void test_managed_neighbours(void **state)
{
	(void)state;
	fixture_command("ip neigh del 10.1.0.12 dev edge0");
	fixture_drain(&fixture);
	fixture_command("ip neigh show 10.1.0.12 | grep -q managed");
	fixture_command("ip neigh del 10.1.0.12 dev edge0");
	fixture_drain(&fixture);
	fixture_command("ip neigh show 10.1.0.12 | grep -q managed");
	/* Permanent ones are the operator's and stay as they are. */
	fixture_command("! ip neigh show 10.1.0.11 | grep -q managed");
	fixture.desired.binding_count = 0;
	fixture_publish(&fixture);
	fixture_command("! ip neigh show 10.1.0.12 | grep -q managed");
	fixture_command("ip neigh show 10.1.0.11 | grep -q PERMANENT");
	fixture_neighbours();
}

/* How long a backend has had no next hop, from the first look at it on. */
static void test_unresolved_backend(void **state)
{
	(void)state;
	assert_true(case_status().backends[0].resolved);
	fixture_command("ip neigh del 10.1.0.11 dev edge0");
	fixture_drain(&fixture);
	assert_false(case_status().backends[0].resolved);
	assert_int_equal(case_status().backends[0].unresolved_ms, 0);
	fixture.now_ms += 700;
	fixture_command("ip route add 10.9.0.0/24 dev edge0"); /* everything is resolved anew */
	fixture_drain(&fixture);
	assert_int_equal(case_status().backends[0].unresolved_ms, 700);
	assert_int_equal(case_status().backends[1].unresolved_ms, 0);
	/* A neighbour of ours that becomes permanent stays ours, and would go with the edge. */
	fixture_command("ip route del 10.9.0.0/24 dev edge0 && ip neigh del 10.1.0.11 dev edge0");
	fixture_neighbours();
	fixture_drain(&fixture);
	assert_true(case_status().backends[0].resolved);
	assert_int_equal(case_status().backends[0].unresolved_ms, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    EDGE_CASE(test_neighbour_moves),
	    EDGE_CASE(test_managed_neighbours),
	    EDGE_CASE(test_unresolved_backend),
	};
	return cmocka_run_group_tests(tests, case_enter, case_leave);
}
