/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Next hops: packets follow routes and neighbours, and the edge keeps the neighbours that it needs.
 */
#include "edge_case.h"
#include "frame_bytes.h"

#include <linux/bpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

/* As a router would send it: about a tunnel from `source` to `backend`. */
static void tell_too_big(const char *source, const char *backend, uint32_t mtu)
{
	const struct ip_address from = fixture_address(source), to = fixture_address(backend);
	const bool v4 = from.family == IP_V4;
	uint8_t message[8 + 40 + 8] = {0};
	uint8_t *quoted = message + 8;
	struct sockaddr_in6 v6_to = {.sin6_family = AF_INET6};
	struct sockaddr_in v4_to = {.sin_family = AF_INET};
	const struct ip_address edge = fixture_address(v4 ? "10.1.0.1" : "fd00:1::1");
	memcpy(&v4_to.sin_addr, edge.bytes, 4);
	memcpy(&v6_to.sin6_addr, edge.bytes, 16);
	if (v4) {
		message[0] = 3;
		message[1] = 4;
		put16(message + 6, mtu);
		quoted[0] = 0x45;
		quoted[9] = IPPROTO_IPIP;
		memcpy(quoted + 12, from.bytes, 4);
		memcpy(quoted + 16, to.bytes, 4);
		put16(message + 2, checksum(message, 36));
	} else {
		message[0] = 2;
		put16(message + 6, mtu);
		quoted[0] = 0x60;
		quoted[6] = IPPROTO_IPV6;
		memcpy(quoted + 8, from.bytes, 16);
		memcpy(quoted + 24, to.bytes, 16);
	}
	int raw = socket(v4 ? AF_INET : AF_INET6, SOCK_RAW, v4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
	assert_true(raw >= 0);
	assert_true(sendto(raw, message, v4 ? 36 : sizeof(message), 0,
			   v4 ? (void *)&v4_to : (void *)&v6_to,
			   v4 ? sizeof(v4_to) : sizeof(v6_to)) > 0);
	close(raw);
}

static uint32_t mtu_of(const char *backend)
{
	const struct ip_address address = fixture_address(backend);
	edge_hear_routers(fixture.edge);
	return edge_path_mtu(fixture.edge, &address);
}

/* The kernel does nothing about tunnels that it has not made. */
static void test_routers_are_heard(void **state)
{
	(void)state;
	static const char *const ways[][2] = {{"10.1.0.1", "10.1.0.11"},
					      {"fd00:1::1", "fd00:1::11"}};
	for (size_t i = 0; i < 2; i++) {
		const char *source = ways[i][0], *backend = ways[i][1];
		assert_int_equal(mtu_of(backend), 1500);
		tell_too_big(source, backend, 1400);
		assert_int_equal(mtu_of(backend), 1400);
		fixture_drain(&fixture);
		assert_int_equal(mtu_of(backend), 1400);
		tell_too_big(source, backend, 576); /* less than anybody need believe */
		assert_int_equal(mtu_of(backend), 1280);
		fixture.now_ms += 600000;
		assert_int_equal(mtu_of(backend), 1500);
		tell_too_big(source, backend, 9000); /* more than the link */
		assert_int_equal(mtu_of(backend), 1500);
		/* About somebody else's tunnel, or to nobody that is a backend. */
		tell_too_big(i ? "fd00:1::2" : "10.1.0.2", backend, 1400);
		tell_too_big(source, i ? "fd00:1::99" : "10.1.0.99", 1400);
		assert_int_equal(mtu_of(backend), 1500);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    EDGE_CASE(test_neighbour_moves),
	    EDGE_CASE(test_managed_neighbours),
	    EDGE_CASE(test_unresolved_backend),
	    EDGE_CASE(test_routers_are_heard),
	};
	return cmocka_run_group_tests(tests, case_enter, case_leave);
}
