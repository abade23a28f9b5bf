/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps that grow with the number of versions: what was published before stays as it was, to the
 * number of each entry and the last count, and no packet is lost while the maps change under it.
 */
#include "edge_case.h"

#include <bpf/bpf.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define VERSIONS 520 /* the pages of so many fit below the fixture's limit */
#define STEP 40
#define FIRST_OWN FIXTURE_ADDRESSES

/* Version i leads every packet to backend i % FIXTURE_BACKENDS, so that a wrong page shows. */
static struct edge_version versions[VERSIONS];
static uint16_t rings[FIXTURE_BACKENDS][EDGE_RING_PAGE];
static struct edge_binding bindings[FIRST_OWN + VERSIONS];

static void make_versions(void)
{
	for (size_t backend = 0; backend < FIXTURE_BACKENDS; backend++) {
		for (size_t entry = 0; entry < EDGE_RING_PAGE; entry++)
			rings[backend][entry] = (uint16_t)backend;
	}
	memcpy(bindings, fixture.bindings, sizeof(fixture.bindings));
	for (uint16_t i = 0; i < VERSIONS; i++) {
		char text[IP_TEXT_BYTES];
		versions[i] = fixture.versions[OTHER];
		versions[i].digest.bytes[0] = (uint8_t)i;
		versions[i].digest.bytes[1] = (uint8_t)(i >> 8);
		versions[i].digest.bytes[2] = 0x55; /* none of the fixture's own */
		versions[i].ring = rings[i % FIXTURE_BACKENDS];
		snprintf(text, sizeof(text), "2001:db8:f::5:%x", i);
		bindings[FIRST_OWN + i] = (struct edge_binding){
		    .address = fixture_address(text), .version = &versions[i], .number = i};
	}
	fixture.desired.bindings = bindings;
}

/* The fixture's own addresses, and so many of the versions. */
static void desire(size_t count)
{
	fixture.desired.binding_count = FIRST_OWN + count;
}

static void assert_served(size_t count)
{
	struct ip_address other = fixture_service_address(OTHER, IP_V4);
	for (size_t i = 0; i < count; i++)
		assert_leads(&bindings[FIRST_OWN + i].address, i % FIXTURE_BACKENDS);
	assert_serves(&other, OTHER);
}

static uint32_t entries_of(const char *map)
{
	return case_map_info(map).max_entries;
}

static void assert_sizes_fit(size_t count)
{
	uint32_t pages = 4 + (uint32_t)count;
	uint32_t descriptors = 1 + FIRST_OWN + (uint32_t)count;
	assert_in_range(entries_of("ring_pages"), pages, pages + EDGE_MAP_PAGES);
	assert_in_range(entries_of("descriptors"), descriptors, descriptors + EDGE_MAP_DESCRIPTORS);
	assert_int_equal(entries_of("counters"), entries_of("descriptors"));
}

static int start(void **state)
{
	int result = case_start(state);
	make_versions();
	return result;
}

/* Step by step: sizes follow, and each count goes on from what it was. */
static void test_grows_with_versions(void **state)
{
	(void)state;
	struct ip_address own = fixture_service_address(OTHER, IP_V4);
	assert_int_equal(entries_of("ring_pages"), EDGE_MAP_PAGES);
	assert_int_equal(entries_of("descriptors"), EDGE_MAP_DESCRIPTORS);
	for (size_t count = STEP; count <= VERSIONS; count += STEP) {
		uint64_t packets = fixture_counters(&fixture, &own).packets;
		desire(count);
		fixture_publish(&fixture);
		assert_int_equal(fixture_counters(&fixture, &own).packets, packets);
		assert_served(count);
		assert_int_equal(fixture_counters(&fixture, &own).packets, packets + 1);
		assert_sizes_fit(count);
	}
	for (size_t i = 0; i < VERSIONS; i++)
		assert_int_equal(
		    fixture_counters(&fixture, &bindings[FIRST_OWN + i].address).packets,
		    (VERSIONS - i / STEP * STEP) / STEP);
}

/* All at once is one step. */
static void test_grows_at_once(void **state)
{
	(void)state;
	int program = edge_program_fd(fixture.edge);
	desire(VERSIONS);
	fixture_publish(&fixture);
	assert_int_not_equal(edge_program_fd(fixture.edge), program);
	assert_served(VERSIONS);
	assert_sizes_fit(VERSIONS);
	program = edge_program_fd(fixture.edge);
	fixture_publish(&fixture);
	assert_int_equal(edge_program_fd(fixture.edge), program);
}

/* A restart begins with the size that it finds, and grows on from there. */
static void test_restart(void **state)
{
	(void)state;
	desire(200);
	fixture_publish(&fixture);
	uint32_t pages = entries_of("ring_pages");
	fixture_close(&fixture);
	fixture_open(&fixture);
	uint32_t program = case_status().program_id;
	fixture_publish(&fixture);
	assert_served(200);
	assert_int_equal(entries_of("ring_pages"), pages);
	assert_int_equal(case_status().program_id, program);
	desire(VERSIONS);
	fixture_publish(&fixture);
	assert_served(VERSIONS);
}

/* The limit is a sentence, and changes nothing: two rings of the largest size fit beside the
 * others' pages, a third one does not. */
static void test_limit(void **state)
{
	(void)state;
	enum { LARGE = 3, SMALL = VERSIONS - LARGE };
	struct error err = {0};
	struct edge_version large[LARGE];
	uint16_t *ring = calloc((size_t)EDGE_RING_PAGE * EDGE_RING_PAGES, sizeof(*ring));
	assert_non_null(ring);
	for (uint8_t i = 0; i < LARGE; i++) {
		large[i] = versions[SMALL + i];
		large[i].ring_length = (size_t)EDGE_RING_PAGE * EDGE_RING_PAGES;
		large[i].ring = ring;
		bindings[FIRST_OWN + SMALL + i].version = &large[i];
	}
	desire(VERSIONS - 1);
	fixture_publish(&fixture);
	desire(VERSIONS);
	assert_int_equal(edge_publish(fixture.edge, &fixture.desired, &err), -FL_EEXHAUSTED);
	fixture_aim(&fixture);
	assert_non_null(strstr(err.text, "561 ring pages"));
	assert_served(SMALL);
	assert_leads(&bindings[FIRST_OWN + VERSIONS - 2].address, 0);
	free(ring);
}

/* Maps whose pins somebody removed are the same ones in a larger edge, which is pinned again. */
static void test_growth_without_pins(void **state)
{
	(void)state;
	const struct edge_status status = case_status();
	fixture_command("rm %s/%s/addresses %s/%s/ring_pages", fixture.pins, status.layout,
			fixture.pins, status.layout);
	desire(VERSIONS);
	fixture_publish(&fixture);
	edge_heartbeat(fixture.edge);
	assert_served(VERSIONS);
	assert_int_equal(case_check().repaired, 1);
	fixture_close(&fixture);
	fixture_open(&fixture);
	struct digest last = versions[VERSIONS - 1].digest;
	assert_true(edge_holds(fixture.edge, &bindings[FIRST_OWN + VERSIONS - 1].address, &last));
}

/* Traffic: a child sends to one address after the other, and counts what comes back. */

static bool stop_asked;

static void on_stop(int number)
{
	(void)number;
	__atomic_store_n(&stop_asked, true, __ATOMIC_RELAXED);
}

/* Ends with 0 if each of more than a thousand frames came back. */
static void send_until_stopped(int wire)
{
	struct traffic traffic = {.wire = wire};
	bool goes_on = true;
	while (goes_on && !__atomic_load_n(&stop_asked, __ATOMIC_RELAXED)) {
		struct ip_address web = fixture_service_address(WEB, families[traffic.sent % 2]);
		goes_on = traffic_send(&traffic, &web);
	}
	traffic_collect(&traffic);
	bool well = traffic.received == traffic.sent && traffic.sent >= 1000;
	if (!well)
		fprintf(stderr, "%zu frames sent, %zu received\n", traffic.sent, traffic.received);
	_exit(well ? 0 : 1);
}

static pid_t start_traffic(int wire)
{
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		signal(SIGTERM, on_stop);
		send_until_stopped(wire);
	}
	return child;
}

static void end_traffic(pid_t child)
{
	int status;
	assert_int_equal(kill(child, SIGTERM), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* Until so many more packets were forwarded to an own address: the traffic has begun, or goes on.
 * It ends by itself when a frame was lost. */
static void wait_for_packets(pid_t child, uint64_t more)
{
	struct ip_address web = fixture_service_address(WEB, IP_V6);
	uint64_t before = fixture_counters(&fixture, &web).packets;
	while (fixture_counters(&fixture, &web).packets < before + more) {
		assert_int_equal(waitpid(child, NULL, WNOHANG), 0);
		edge_heartbeat(fixture.edge);
	}
}

static void test_growth_under_traffic(void **state)
{
	(void)state;
	int wire = fixture_open_wire(&fixture, true);
	pid_t child = start_traffic(wire);
	wait_for_packets(child, 500);
	for (size_t count = STEP; count <= VERSIONS; count += STEP) {
		desire(count);
		fixture_publish(&fixture);
		wait_for_packets(child, 20);
	}
	end_traffic(child);
	fixture_close_wire(&fixture, wire, true);
	assert_served(VERSIONS);
}

#define GROWTH_TEST(test) cmocka_unit_test_setup_teardown(test, start, case_stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    GROWTH_TEST(test_grows_with_versions),
	    GROWTH_TEST(test_grows_at_once),
	    GROWTH_TEST(test_restart),
	    GROWTH_TEST(test_limit),
	    GROWTH_TEST(test_growth_without_pins),
	    GROWTH_TEST(test_growth_under_traffic),
	};
	return cmocka_run_group_tests(tests, case_enter, case_leave);
}
