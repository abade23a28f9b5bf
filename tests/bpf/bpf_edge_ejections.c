/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Backends that are ejected from versions that forward: what publishing the effective ring does to
 * the maps and to packets (invariant 5).
 */
#include "edge_case.h"
#include "model/ring.h"

#include <bpf/bpf.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define PORTS 2000

static uint16_t effective[2][EDGE_RING_PAGE];

/* Let WEB's ring leave out the backends of `set`; `which` of the two arrays holds it from now on.
 */
static void desire_ejections(unsigned set, size_t which)
{
	const struct ring base = {.length = EDGE_RING_PAGE, .entries = fixture.ring};
	struct edge_version *web = &fixture.versions[WEB];
	bool ejected[FIXTURE_BACKENDS];
	for (size_t i = 0; i < FIXTURE_BACKENDS; i++)
		ejected[i] = set >> i & 1;
	(void)ring_effective(&base, web->seed, ejected, effective[which]);
	web->ring = effective[which];
	web->ejections.bytes[0] = (uint8_t)set;
}

/* Flows of WEB go where its ring says, and what `before` says but for the backends of `died`. */
static void assert_only_moved(const uint16_t *before, unsigned died)
{
	size_t moved = 0;
	for (uint16_t port = 0; port < PORTS; port++) {
		struct ip_address address = fixture_service_address(WEB, families[port % 2]);
		struct frame frame, out, expected;
		frame_build(&frame, &address, IPPROTO_TCP, port, 80, 0);
		size_t entry = fixture_entry(&fixture, WEB, &frame);
		size_t backend = fixture.versions[WEB].ring[entry];
		if (died >> before[entry] & 1)
			moved += backend != before[entry];
		else
			assert_int_equal(backend, before[entry]);
		assert_int_equal(fixture_run(&fixture, &frame, &out), XDP_TX);
		frame_expect(&expected, &frame, &fixture, backend);
		assert_int_equal(out.length, expected.length);
		assert_memory_equal(out.bytes, expected.bytes, out.length);
	}
	assert_true(died == 0 ? moved == 0 : moved > PORTS / 20);
}

/* One after the other is ejected. The descriptor stays the same to the byte, and so do pages and
 * counters: only entries of whoever died change, where they are. */
static void test_deaths_change_entries_alone(void **state)
{
	(void)state;
	struct ip_address web = fixture_service_address(WEB, IP_V4);
	struct edge_map_descriptor before, after;
	uint32_t number = case_descriptor(&web, &before);
	const uint16_t *ring = fixture.ring;
	size_t backends = case_status().backend_count;
	unsigned set = 0;
	for (size_t dead = 0; dead < FIXTURE_BACKENDS - 1; dead++) {
		uint64_t packets = fixture_counters(&fixture, &web).packets;
		set |= 1u << dead;
		desire_ejections(set, dead % 2);
		fixture_publish(&fixture);
		assert_int_equal(fixture_counters(&fixture, &web).packets, packets);
		assert_int_equal(case_descriptor(&web, &after), number);
		assert_memory_equal(&after, &before, sizeof(before));
		assert_only_moved(ring, 1u << dead);
		ring = effective[dead % 2];
	}
	/* The other versions have their own rings, in which everybody serves. */
	assert_int_equal(case_status().backend_count, backends);
	assert_all_served();
	/* The last one dies: the base ring serves all again. */
	desire_ejections((1u << FIXTURE_BACKENDS) - 1, 1);
	fixture_publish(&fixture);
	assert_only_moved(fixture.ring, 0);
	assert_all_served();
}

/* A set that shrinks, as when an edge that was apart takes its site's. */
static void test_ejections_are_taken_back(void **state)
{
	(void)state;
	desire_ejections(5, 0);
	fixture_publish(&fixture);
	assert_only_moved(fixture.ring, 5);
	fixture_desire(&fixture);
	fixture_publish(&fixture);
	assert_only_moved(fixture.ring, 0);
}

/* A backend that no ring names any more is forgotten, and comes back with another set. */
static void test_backends_come_and_go(void **state)
{
	(void)state;
	fixture.desired.binding_count = 2; /* WEB alone */
	fixture_publish(&fixture);
	assert_int_equal(case_status().backend_count, FIXTURE_BACKENDS);
	desire_ejections(6, 0);
	fixture_publish(&fixture);
	fixture_drain(&fixture);
	assert_int_equal(case_status().backend_count, FIXTURE_BACKENDS - 2);
	assert_only_moved(fixture.ring, 6);
	fixture.now_ms += EDGE_GRACE_MS;
	desire_ejections(2, 1);
	fixture_publish(&fixture);
	fixture_drain(&fixture);
	assert_int_equal(case_status().backend_count, FIXTURE_BACKENDS - 1);
	assert_only_moved(fixture.ring, 2);
}

/* A publication that fails changes no entry, and the next one changes them all. */
static void test_failure_changes_no_entry(void **state)
{
	(void)state;
	struct edge_version huge = fixture.versions[OTHER];
	static uint16_t ring[EDGE_RING_PAGE * EDGE_RING_PAGES];
	static struct edge_version versions[FIXTURE_MOST_PAGES / EDGE_RING_PAGES + 1];
	static struct edge_binding bindings[FIXTURE_ADDRESSES + FIXTURE_MOST_PAGES];
	struct edge_desired desired = fixture.desired;
	struct error err;
	huge.ring = ring;
	huge.ring_length = sizeof(ring) / sizeof(ring[0]);
	memcpy(bindings, fixture.bindings, sizeof(fixture.bindings));
	fixture.desired.bindings = bindings;
	for (uint16_t i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
		char text[IP_TEXT_BYTES];
		versions[i] = huge;
		versions[i].digest.bytes[1] = (uint8_t)(i + 1);
		snprintf(text, sizeof(text), "2001:db8:f::5:%x", i);
		bindings[fixture.desired.binding_count++] = (struct edge_binding){
		    .address = fixture_address(text), .version = &versions[i], .number = i};
	}
	desire_ejections(9, 0);
	assert_int_equal(case_publish(&err), -FL_EEXHAUSTED);
	fixture_aim(&fixture);
	fixture.versions[WEB].ring = fixture.ring;
	assert_only_moved(fixture.ring, 0);
	fixture.desired = desired;
	fixture.now_ms += EDGE_GRACE_MS;
	desire_ejections(9, 0);
	fixture_publish(&fixture);
	assert_only_moved(fixture.ring, 9);
}

/* Packets while the ring changes */

static atomic_bool stop;

/* What a packet may meet: each entry before the change or after it, and nothing else. */
static void *run_packets(void *strange_)
{
	size_t *strange = strange_;
	struct ip_address address = fixture_service_address(WEB, IP_V4);
	while (!atomic_load(&stop)) {
		for (uint16_t port = 0; port < 64; port++) {
			struct frame frame, out, one, other;
			frame_build(&frame, &address, IPPROTO_TCP, port, 80, 0);
			size_t entry = fixture_entry(&fixture, WEB, &frame);
			frame_expect(&one, &frame, &fixture, effective[0][entry]);
			frame_expect(&other, &frame, &fixture, effective[1][entry]);
			bool sent = fixture_run(&fixture, &frame, &out) == XDP_TX;
			*strange += !sent || (memcmp(out.bytes, one.bytes, one.length) != 0 &&
					      memcmp(out.bytes, other.bytes, other.length) != 0);
		}
	}
	return NULL;
}

static void test_packets_see_whole_entries(void **state)
{
	(void)state;
	size_t strange = 0;
	pthread_t packets;
	atomic_store(&stop, false);
	desire_ejections(4, 0);
	desire_ejections(1, 1);
	fixture_publish(&fixture);
	fixture_drain(&fixture);
	assert_int_equal(pthread_create(&packets, NULL, run_packets, &strange), 0);
	for (unsigned i = 0; i < 300; i++) {
		struct error err;
		struct edge_version *web = &fixture.versions[WEB];
		web->ring = effective[i % 2];
		web->ejections.bytes[0] = i % 2 ? 1 : 4;
		if (edge_publish(fixture.edge, &fixture.desired, &err) < 0)
			strange++;
		edge_heartbeat(fixture.edge);
	}
	atomic_store(&stop, true);
	assert_int_equal(pthread_join(packets, NULL), 0);
	assert_int_equal(strange, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    EDGE_CASE(test_deaths_change_entries_alone), EDGE_CASE(test_ejections_are_taken_back),
	    EDGE_CASE(test_backends_come_and_go),        EDGE_CASE(test_failure_changes_no_entry),
	    EDGE_CASE(test_packets_see_whole_entries),
	};
	return cmocka_run_group_tests(tests, case_enter, case_leave);
}
