/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publication: what is desired is what the packets find, through rebinding, withdrawal and other
 * pools; what is wrong or too much is refused as a whole.
 */
#include "base/random.h"
#include "edge_case.h"
#include "tests/seed.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* What is unchanged is not rewritten: marks in bytes that nobody reads survive. */
static void test_publish_again_writes_nothing(void **state)
{
	(void)state;
	struct edge_map_descriptor descriptor;
	struct ip_address web = fixture_service_address(WEB, IP_V6);
	uint32_t number = case_descriptor(&web, &descriptor);
	int descriptors_fd = fixture_map(&fixture, "descriptors");
	int backends_fd = fixture_map(&fixture, "backends");
	struct edge_map_backend before;
	struct edge_map_backend after;
	uint32_t first = 1;
	assert_int_equal(bpf_map_lookup_elem(backends_fd, &first, &before), 0);
	for (int i = 0; i < 3; i++)
		fixture_publish(&fixture);
	struct edge_map_descriptor again;
	assert_int_equal(case_descriptor(&web, &again), number);
	assert_memory_equal(&again, &descriptor, sizeof(again));
	assert_int_equal(bpf_map_lookup_elem(backends_fd, &first, &after), 0);
	assert_memory_equal(&after, &before, sizeof(after)); /* its generation too */
	close(descriptors_fd);
	close(backends_fd);
	assert_all_served();
}

static void test_descriptors_describe_themselves(void **state)
{
	(void)state;
	struct edge_map_descriptor descriptor;
	struct ip_address late = fixture_service_address(LATE, IP_V4);
	assert_true(case_descriptor(&late, &descriptor) > 0);
	assert_int_equal(descriptor.version, 3);
	assert_int_equal(descriptor.binding, 12);
	assert_memory_equal(descriptor.digest, fixture.versions[LATE].digest.bytes, 32);
	assert_memory_equal(descriptor.seed, fixture.versions[LATE].seed, 16);
	assert_int_equal(descriptor.port_count, 4);
}

/* A retired address is bound to another version: a new descriptor, its counts from zero. */
static void test_rebind(void **state)
{
	(void)state;
	struct ip_address web = fixture_service_address(WEB, IP_V4);
	assert_serves(&web, WEB);
	assert_true(fixture_counters(&fixture, &web).packets > 0);
	uint32_t old = case_descriptor(&web, NULL);

	fixture.bindings[0].version = &fixture.versions[OTHER];
	fixture.bindings[0].number = 99;
	fixture.bindings[0].late = true;
	fixture_publish(&fixture);
	assert_int_not_equal(case_descriptor(&web, NULL), old);
	assert_int_equal(fixture_counters(&fixture, &web).packets, 0);
	assert_serves(&web, OTHER);
	assert_int_equal(fixture_counters(&fixture, &web).late_flows, 1);

	/* Closing and opening again changes the word alone. */
	uint32_t kept = case_descriptor(&web, NULL);
	fixture.bindings[0].refuse_new = true;
	fixture_publish(&fixture);
	assert_drops(&web, DROP_REFUSED);
	fixture.bindings[0].refuse_new = false;
	fixture_publish(&fixture);
	assert_serves(&web, OTHER);
	assert_int_equal(case_descriptor(&web, NULL), kept);
	assert_int_equal(fixture_counters(&fixture, &web).packets, 2);
}

/* A freed descriptor is nobody's for EDGE_GRACE_MS, although it would be the next in line. */
static void test_grace(void **state)
{
	(void)state;
	struct ip_address web = fixture_service_address(WEB, IP_V4);
	bool seen[FIXTURE_MOST_ADDRESSES + 1] = {false};
	fixture.desired.binding_count = 1;
	fixture_publish(&fixture);
	uint32_t retired_at_start = case_descriptor(&web, NULL);
	for (uint64_t i = 0; i < FIXTURE_MOST_ADDRESSES - 8; i++) {
		uint32_t number = case_descriptor(&web, NULL);
		assert_false(seen[number]);
		seen[number] = true;
		assert_serves(&web, WEB);
		fixture.bindings[0].number = 1000 + i;
		fixture_publish(&fixture);
	}
	assert_true(seen[retired_at_start]);
	struct error err;
	fixture.bindings[0].number = 7;
	assert_int_equal(case_publish(&err), -FL_EEXHAUSTED);
	assert_non_null(strstr(err.text, "within a second"));
	assert_serves(&web, WEB);
	fixture.now_ms += EDGE_GRACE_MS - 1;
	assert_int_equal(case_publish(&err), -FL_EEXHAUSTED);
	fixture.now_ms += 1;
	fixture_publish(&fixture);
	assert_true(seen[case_descriptor(&web, NULL)]);
	/* What its former user counted is forgotten. */
	assert_int_equal(fixture_counters(&fixture, &web).packets, 0);
	assert_serves(&web, WEB);
	assert_int_equal(fixture_counters(&fixture, &web).packets, 1);
}

static void test_withdraw(void **state)
{
	(void)state;
	struct ip_address web = fixture_service_address(WEB, IP_V4);
	struct ip_address web6 = fixture_service_address(WEB, IP_V6);
	struct ip_address other = fixture_service_address(OTHER, IP_V4);
	struct edge_counters counters;
	struct frame frame;

	fixture.desired.bindings = fixture.bindings + 2;
	fixture.desired.binding_count -= 2;
	fixture_publish(&fixture);
	assert_drops(&web, DROP_NO_BINDING);
	assert_drops(&web6, DROP_NO_BINDING);
	assert_serves(&other, OTHER);
	assert_int_equal(edge_counters(fixture.edge, &web, &counters), -FL_ENOTFOUND);
	assert_int_equal(case_status().rings, 3);

	fixture.desired.binding_count = 0;
	fixture_publish(&fixture);
	assert_drops(&other, DROP_NO_SITE);
	assert_int_equal(case_status().rings, 0);
	assert_int_equal(case_status().backend_count, 0);

	fixture.desired.pool_count = 0;
	fixture_publish(&fixture);
	assert_int_equal(case_run_to(&web, &frame, NULL), XDP_PASS);
	assert_int_equal(case_run_to(&web6, &frame, NULL), XDP_PASS);

	fixture.now_ms += EDGE_GRACE_MS;
	fixture_desire(&fixture);
	fixture_publish(&fixture);
	assert_all_served();
}

/* Higher slots make a span move; what was served before is served throughout, and counted on. */
static void test_spans_grow(void **state)
{
	(void)state;
	static const char *const higher[] = {"2001:db8:f::3:200", "2001:db8:f::3:fff",
					     "2001:db8:f::3:ffff", "2001:db8:f::0:0"};
	struct ip_address web = fixture_service_address(WEB, IP_V6);
	struct edge_binding bindings[FIXTURE_ADDRESSES + 4];
	memcpy(bindings, fixture.bindings, sizeof(fixture.bindings));
	fixture.desired.bindings = bindings;
	for (size_t i = 0; i < 4; i++) {
		struct edge_binding *binding = &bindings[fixture.desired.binding_count++];
		*binding = fixture.bindings[6];
		binding->address = fixture_address(higher[i]);
		uint64_t packets = fixture_counters(&fixture, &web).packets;
		fixture_publish(&fixture);
		assert_all_served();
		assert_int_equal(fixture_counters(&fixture, &web).packets, packets + 1);
		for (size_t j = 0; j <= i; j++)
			assert_serves(&bindings[FIXTURE_ADDRESSES + j].address, OTHER);
	}
	fixture.desired.bindings = fixture.bindings;
	fixture.desired.binding_count = FIXTURE_ADDRESSES;
	fixture_publish(&fixture);
	for (size_t i = 0; i < 3; i++)
		assert_drops(&bindings[FIXTURE_ADDRESSES + i].address, DROP_NO_BINDING);
	assert_drops(&bindings[FIXTURE_ADDRESSES + 3].address, DROP_NO_SITE);
	assert_all_served();
}

/* What lies behind a span belongs to another site, and is not reached through this one. */
static void test_spans_end(void **state)
{
	(void)state;
	struct edge_binding bindings[FIXTURE_ADDRESSES + 2];
	memcpy(bindings, fixture.bindings, sizeof(fixture.bindings));
	for (unsigned i = 0; i < 2; i++) {
		bindings[FIXTURE_ADDRESSES + i] = fixture.bindings[6];
		bindings[FIXTURE_ADDRESSES + i].address =
		    fixture_address(i == 0 ? "2001:db8:f::2:0" : "2001:db8:f::4:0");
	}
	fixture.desired.bindings = bindings;
	fixture.desired.binding_count = FIXTURE_ADDRESSES + 2;
	fixture_publish(&fixture);
	for (unsigned slot = 0x200; slot < 0xa00; slot++) {
		char text[IP_TEXT_BYTES];
		snprintf(text, sizeof(text), "2001:db8:f::3:%x", slot);
		struct ip_address beyond = fixture_address(text);
		assert_drops(&beyond, DROP_NO_BINDING);
	}
}

/* The same addresses, cut into site and slot in another way, and a pool more. */
static void test_pools_change(void **state)
{
	(void)state;
	struct edge_pool pools[3] = {fixture.pools[0], fixture.pools[1], fixture.pools[0]};
	struct ip_address web = fixture_service_address(WEB, IP_V4);
	assert_int_equal(ip_prefix_parse("203.0.113.0/24", &pools[2].prefix), 0);
	fixture.desired.pools = pools;
	fixture.desired.pool_count = 3;
	struct ip_address elsewhere = fixture_address("203.0.113.200");
	assert_serves(&web, WEB);
	uint32_t descriptor = case_descriptor(&web, NULL);
	for (uint8_t bits = 0; bits <= 6; bits++) {
		pools[0].site_bits = bits;
		pools[1].site_bits = (uint8_t)(bits + 3);
		fixture_publish(&fixture);
		assert_all_served();
		assert_drops(&elsewhere, DROP_NO_SITE);
		assert_int_equal(case_descriptor(&web, NULL), descriptor);
		/* Twice the pools for a moment: their entries are few. */
		fixture.now_ms += EDGE_GRACE_MS;
	}
	fixture.desired.pools = fixture.pools;
	fixture.desired.pool_count = 2;
	fixture_publish(&fixture);
	assert_all_served();
}

/* Whatever is wrong is found before anything is changed. */
static void assert_refused(const struct edge_desired *desired, int code, const char *words)
{
	struct error err = {0};
	assert_int_equal(edge_publish(fixture.edge, desired, &err), code);
	assert_int_equal(err.code, code);
	if (!strstr(err.text, words))
		fail_msg("'%s' does not say '%s'", err.text, words);
	assert_all_served();
}

static void test_invalid_versions(void **state)
{
	(void)state;
	uint16_t bad_ring[EDGE_RING_PAGE] = {[4000] = FIXTURE_BACKENDS};
	struct edge_port upside_down = {.low = 9, .high = 8, .protocol = IPPROTO_TCP};
	struct edge_port sctp = {.low = 9, .high = 9, .protocol = 132};
	struct edge_port quic_tcp = {.low = 9, .high = 9, .protocol = IPPROTO_TCP, .quic = true};
	struct edge_backend nowhere[FIXTURE_BACKENDS] = {{{{0}, IP_NONE}}};
	enum { CASES = 9 };
	struct edge_version broken[CASES];
	static const struct {
		int code;
		const char *words;
	} expected[CASES] = {
	    {-FL_EINVALID, "ring entry 4000 names backend 4 of 4"},
	    {-FL_EINVALID, "a ring of 100 entries"},
	    {-FL_EINVALID, "a ring of 0 entries"},
	    {-FL_EINVALID, "port range 9-8 of protocol 6"},
	    {-FL_ELIMIT, "has 0 port ranges"},
	    {-FL_EUNSUPPORTED, "algorithm 9"},
	    {-FL_EINVALID, "port range 9-9 of protocol 132"},
	    {-FL_EINVALID, "port range 9-9 of protocol 6"},
	    {-FL_EINVALID, "a backend has no address"},
	};
	struct edge_binding bindings[2] = {fixture.bindings[0], fixture.bindings[0]};
	struct edge_desired desired = fixture.desired;

	for (size_t i = 0; i < CASES; i++) {
		broken[i] = fixture.versions[OTHER];
		broken[i].digest.bytes[0] = (uint8_t)i;
	}
	broken[0].ring = bad_ring;
	broken[1].ring_length = 100;
	broken[2].ring_length = 0;
	broken[3].ports = &upside_down;
	broken[4].port_count = 0;
	broken[5].algorithm = 9;
	broken[6].ports = &sctp;
	broken[7].ports = &quic_tcp;
	broken[3].port_count = broken[6].port_count = broken[7].port_count = 1;
	broken[8].backends = nowhere;
	desired.bindings = bindings;
	desired.binding_count = 2;
	bindings[1].address = fixture_address("198.51.100.2");
	for (size_t i = 0; i < CASES; i++) {
		bindings[1].version = &broken[i];
		assert_refused(&desired, expected[i].code, expected[i].words);
	}
}

static void test_invalid_bindings(void **state)
{
	(void)state;
	struct edge_binding bindings[2] = {fixture.bindings[0], fixture.bindings[0]};
	struct edge_desired desired = fixture.desired;
	desired.bindings = bindings;
	desired.binding_count = 2;
	assert_refused(&desired, -FL_EINVALID, "198.51.100.33 is bound twice");
	bindings[1].address = fixture_address("192.0.2.1");
	assert_refused(&desired, -FL_EINVALID, "192.0.2.1 is in none of the pools");
}

static void test_invalid_pools(void **state)
{
	(void)state;
	struct edge_pool pools[EDGE_POOLS + 2];
	struct edge_desired desired = fixture.desired;
	desired.pools = pools;
	desired.pool_count = 3;
	memcpy(pools, fixture.pools, sizeof(fixture.pools));
	pools[2] = fixture.pools[0];
	assert_refused(&desired, -FL_EINVALID, "overlap");
	assert_int_equal(ip_prefix_parse("fd00::/48", &pools[2].prefix), 0);
	assert_refused(&desired, -FL_EINVALID, "fd00::/48 is too large");
	assert_int_equal(ip_prefix_parse("203.0.113.0/30", &pools[2].prefix), 0);
	pools[2].site_bits = 3;
	assert_refused(&desired, -FL_EINVALID, "cannot give 3 bits to the site");
	desired.pool_count = EDGE_POOLS + 2; /* one of them is IPv6 */
	for (unsigned i = 2; i < EDGE_POOLS + 2; i++) {
		char text[IP_TEXT_BYTES];
		snprintf(text, sizeof(text), "203.0.%u.0/24", i);
		pools[i] = fixture.pools[0];
		assert_int_equal(ip_prefix_parse(text, &pools[i].prefix), 0);
	}
	assert_refused(&desired, -FL_ELIMIT, "at most 8 pools");
}

/* A backend of a family that the edge has no address of is refused by name. */
static void test_no_source(void **state)
{
	(void)state;
	static const char *const names[] = {"edge0"};
	struct error err;
	struct edge_options options = {.pin_root = fixture.pins,
				       .interfaces = names,
				       .interface_count = 1,
				       .source_v4 = fixture_address("10.1.0.1")};
	fixture_close(&fixture);
	assert_int_equal(edge_open(&options, &fixture.edge, &err), 0);
	assert_int_equal(case_publish(&err), -FL_EINVALID);
	assert_non_null(strstr(err.text, "fd00:1::11"));
	assert_non_null(strstr(err.text, "IPv6 source"));
}

/* More rings than there are pages: refused as a whole, and nothing is lost by having tried. */
static void test_pages_run_out(void **state)
{
	(void)state;
	enum { RINGS = FIXTURE_MOST_PAGES / EDGE_RING_PAGES, LENGTH = 16 * EDGE_RING_PAGE };
	struct edge_version *versions = calloc(RINGS + 1, sizeof(*versions));
	struct edge_binding *bindings = calloc(RINGS + 1, sizeof(*bindings));
	uint16_t *ring = calloc(LENGTH, sizeof(*ring));
	struct edge_desired before = fixture.desired;
	struct edge_pool pools[3] = {fixture.pools[0], fixture.pools[1]};
	struct error err;
	assert_true(versions && bindings && ring);
	for (uint16_t i = 0; i < RINGS + 1; i++) {
		char text[IP_TEXT_BYTES];
		versions[i] = fixture.versions[OTHER];
		versions[i].digest.bytes[0] = (uint8_t)i;
		versions[i].ring = ring;
		versions[i].ring_length = LENGTH;
		snprintf(text, sizeof(text), "2001:db8:f::5:%x", i);
		bindings[i] = (struct edge_binding){
		    .address = fixture_address(text), .version = &versions[i], .number = i};
	}
	fixture.desired.bindings = bindings;
	fixture.desired.binding_count = RINGS + 1;
	fixture.desired.pools = pools;
	fixture.desired.pool_count = 3;
	/* Each time with another new pool, of which nothing may stay either. */
	for (unsigned i = 0; i < 2 * EDGE_POOLS; i++) {
		char text[IP_TEXT_BYTES];
		struct frame frame;
		snprintf(text, sizeof(text), "203.0.%u.0/24", i);
		assert_int_equal(ip_prefix_parse(text, &pools[2].prefix), 0);
		assert_int_equal(case_publish(&err), -FL_EEXHAUSTED);
		assert_int_equal(case_run_to(&pools[2].prefix.address, &frame, NULL), XDP_PASS);
		assert_non_null(strstr(err.text, "ring pages"));
		assert_all_served();
		assert_int_equal(case_status().rings, 4);
		fixture.now_ms += EDGE_GRACE_MS;
	}
	/* All that fits beside what is there. */
	fixture.desired.pool_count = 2;
	fixture.desired.binding_count = RINGS - 1;
	fixture_publish(&fixture);
	assert_int_equal(case_status().rings, RINGS - 1);
	assert_int_equal(case_status().backend_count, 1);
	fixture.now_ms += EDGE_GRACE_MS;
	fixture.desired = before;
	fixture_publish(&fixture);
	assert_all_served();
	free(versions);
	free(bindings);
	free(ring);
}

/* Any sequence of publishes, restarts and pauses: the packets always say what was published. */
static void random_desire(struct random *random)
{
	size_t count = 0;
	for (unsigned service = 0; service < 4; service++) {
		for (size_t f = 0; f < 2; f++) {
			if (random_below(random, 4) == 0)
				continue;
			fixture.bindings[count++] = (struct edge_binding){
			    .address = fixture_service_address(service, families[f]),
			    .version = &fixture.versions[random_below(random, 4)],
			    .number = random_below(random, 3),
			    .refuse_new = random_below(random, 5) == 0,
			    .late = random_below(random, 3) == 0,
			};
		}
	}
	fixture.desired.binding_count = count;
	fixture.pools[0].site_bits = (uint8_t)random_below(random, 3);
}

static void assert_says_desired(void)
{
	for (unsigned service = 0; service < 4; service++) {
		for (size_t f = 0; f < 2; f++) {
			struct ip_address address = fixture_service_address(service, families[f]);
			const struct edge_binding *found = NULL;
			struct frame frame;
			for (size_t i = 0; i < fixture.desired.binding_count; i++) {
				if (ip_address_equal(&fixture.bindings[i].address, &address))
					found = &fixture.bindings[i];
			}
			if (!found)
				assert_int_equal(case_run_to(&address, &frame, NULL), XDP_DROP);
			else if (found->refuse_new)
				assert_drops(&address, DROP_REFUSED);
			else
				assert_serves(&address, (enum fixture_service)(found->version -
									       fixture.versions));
		}
	}
}

/* What is in force is what was published, before and after this process takes its place. */
static void restart(void)
{
	struct error err;
	fixture_close(&fixture);
	fixture_open(&fixture);
	for (size_t i = 0; i < fixture.desired.binding_count; i++) {
		const struct edge_binding *binding = &fixture.bindings[i];
		assert_int_equal(
		    edge_holds(fixture.edge, &binding->address, &binding->version->digest),
		    !binding->refuse_new);
	}
	fixture_publish(&fixture);
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
	fixture_drain(&fixture);
}

static void test_random_walk(void **state)
{
	(void)state;
	struct random random;
	struct error err;
	random_init_seeded(&random, seed_choose(20261122));
	for (int step = 0; step < 300; step++) {
		random_desire(&random);
		int result = case_publish(&err);
		if (result == -FL_EEXHAUSTED) { /* of the few pool entries */
			fixture.now_ms += EDGE_GRACE_MS;
			result = case_publish(&err);
		}
		assert_int_equal(result, 0);
		assert_says_desired();
		if (random_below(&random, 8) == 0) {
			restart();
			assert_says_desired();
		}
		fixture.now_ms += random_below(&random, 2000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    EDGE_CASE(test_publish_again_writes_nothing),
	    EDGE_CASE(test_descriptors_describe_themselves),
	    EDGE_CASE(test_rebind),
	    EDGE_CASE(test_grace),
	    EDGE_CASE(test_withdraw),
	    EDGE_CASE(test_spans_grow),
	    EDGE_CASE(test_spans_end),
	    EDGE_CASE(test_pools_change),
	    EDGE_CASE(test_invalid_versions),
	    EDGE_CASE(test_invalid_bindings),
	    EDGE_CASE(test_invalid_pools),
	    EDGE_CASE(test_no_source),
	    EDGE_CASE(test_pages_run_out),
	    EDGE_CASE(test_random_walk),
	};
	return cmocka_run_group_tests(tests, case_enter, case_leave);
}
