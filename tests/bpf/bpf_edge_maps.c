/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge from the daemon's side: what is published, adopted, replaced, refused and undone. What
 * the maps say is judged by the packets that the program sends.
 */
#include "abi/edge.h"
#include "abi/pick.h"
#include "base/random.h"
#include "edge_fixture.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct fixture fixture;
static const enum ip_family families[] = {IP_V4, IP_V6};

static uint32_t run_to(const struct ip_address *address, struct frame *frame, struct frame *ret_out)
{
	frame_build(frame, address, IPPROTO_TCP, 777, 80, 5);
	return fixture_run(&fixture, frame, ret_out);
}

/* The address leads to the backend that this version picks, byte for byte. */
static void assert_serves(const struct ip_address *address, enum fixture_service version)
{
	struct frame frame;
	struct frame out;
	struct frame expected;
	assert_int_equal(run_to(address, &frame, &out), XDP_TX);
	frame_expect(&expected, &frame, &fixture, fixture_pick(&fixture, version, &frame));
	assert_int_equal(out.length, expected.length);
	assert_memory_equal(out.bytes, expected.bytes, expected.length);
}

static void assert_drops(const struct ip_address *address, unsigned reason)
{
	struct frame frame;
	uint64_t before = fixture_drops(&fixture, reason);
	assert_int_equal(run_to(address, &frame, NULL), XDP_DROP);
	assert_int_equal(fixture_drops(&fixture, reason), before + 1);
}

static void assert_all_served(void)
{
	for (size_t f = 0; f < 2; f++) {
		struct ip_address web = fixture_service_address(WEB, families[f]);
		struct ip_address late = fixture_service_address(LATE, families[f]);
		struct ip_address other = fixture_service_address(OTHER, families[f]);
		struct ip_address closing = fixture_service_address(CLOSING, families[f]);
		assert_serves(&web, WEB);
		assert_serves(&late, LATE);
		assert_serves(&other, OTHER);
		assert_drops(&closing, DROP_REFUSED);
	}
}

/* The descriptor that the program finds for the address, by the digest and address in it. */
static uint32_t descriptor_of(const struct ip_address *address,
			      struct edge_map_descriptor *ret_descriptor)
{
	int words_fd = fixture_map(&fixture, "addresses");
	int descriptors_fd = fixture_map(&fixture, "descriptors");
	uint32_t found = 0;
	const uint64_t *words =
	    mmap(NULL, EDGE_MAP_ADDRESSES * sizeof(*words), PROT_READ, MAP_SHARED, words_fd, 0);
	assert_ptr_not_equal(words, MAP_FAILED);
	for (uint32_t i = 0; i < EDGE_MAP_ADDRESSES && found == 0; i++) {
		struct edge_map_descriptor descriptor;
		uint32_t number = EDGE_WORD_DESCRIPTOR(words[i]);
		if (number == 0)
			continue;
		assert_int_equal(bpf_map_lookup_elem(descriptors_fd, &number, &descriptor), 0);
		if (memcmp(descriptor.address, address->bytes, 16) != 0)
			continue;
		found = number;
		if (ret_descriptor)
			*ret_descriptor = descriptor;
	}
	munmap((void *)(uintptr_t)words, EDGE_MAP_ADDRESSES * sizeof(*words));
	close(words_fd);
	close(descriptors_fd);
	return found;
}

static struct edge_status get_status(void)
{
	struct edge_status status;
	assert_int_equal(edge_status(fixture.edge, &status), 0);
	return status;
}

static int publish(struct error *err)
{
	*err = (struct error){0};
	int result = edge_publish(fixture.edge, &fixture.desired, err);
	fixture_aim(&fixture);
	return result;
}

static int start(void **state)
{
	(void)state;
	fixture_start(&fixture);
	return 0;
}

static int stop(void **state)
{
	(void)state;
	fixture_reset(&fixture);
	return 0;
}

/* Publishing */

/* What is unchanged is not rewritten: marks in bytes that nobody reads survive. */
static void test_publish_again_writes_nothing(void **state)
{
	(void)state;
	struct edge_map_descriptor descriptor;
	struct ip_address web = fixture_service_address(WEB, IP_V6);
	uint32_t number = descriptor_of(&web, &descriptor);
	int descriptors_fd = fixture_map(&fixture, "descriptors");
	int backends_fd = fixture_map(&fixture, "backends");
	struct edge_map_backend before;
	struct edge_map_backend after;
	uint32_t first = 1;
	assert_int_equal(bpf_map_lookup_elem(backends_fd, &first, &before), 0);
	for (int i = 0; i < 3; i++)
		fixture_publish(&fixture);
	struct edge_map_descriptor again;
	assert_int_equal(descriptor_of(&web, &again), number);
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
	assert_true(descriptor_of(&late, &descriptor) > 0);
	assert_string_equal((const char *)descriptor.service, "web");
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
	uint32_t old = descriptor_of(&web, NULL);

	fixture.bindings[0].version = &fixture.versions[OTHER];
	fixture.bindings[0].number = 99;
	fixture.bindings[0].late = true;
	fixture_publish(&fixture);
	assert_int_not_equal(descriptor_of(&web, NULL), old);
	assert_int_equal(fixture_counters(&fixture, &web).packets, 0);
	assert_serves(&web, OTHER);
	assert_int_equal(fixture_counters(&fixture, &web).late_flows, 1);

	/* Closing and opening again changes the word alone. */
	uint32_t kept = descriptor_of(&web, NULL);
	fixture.bindings[0].refuse_new = true;
	fixture_publish(&fixture);
	assert_drops(&web, DROP_REFUSED);
	fixture.bindings[0].refuse_new = false;
	fixture_publish(&fixture);
	assert_serves(&web, OTHER);
	assert_int_equal(descriptor_of(&web, NULL), kept);
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
	uint32_t retired_at_start = descriptor_of(&web, NULL);
	for (uint64_t i = 0; i < FIXTURE_MOST_ADDRESSES - 8; i++) {
		uint32_t number = descriptor_of(&web, NULL);
		assert_false(seen[number]);
		seen[number] = true;
		assert_serves(&web, WEB);
		fixture.bindings[0].number = 1000 + i;
		fixture_publish(&fixture);
	}
	assert_true(seen[retired_at_start]);
	struct error err;
	fixture.bindings[0].number = 7;
	assert_int_equal(publish(&err), -FL_EEXHAUSTED);
	assert_non_null(strstr(err.text, "within a second"));
	assert_serves(&web, WEB);
	fixture.now_ms += EDGE_GRACE_MS - 1;
	assert_int_equal(publish(&err), -FL_EEXHAUSTED);
	fixture.now_ms += 1;
	fixture_publish(&fixture);
	assert_true(seen[descriptor_of(&web, NULL)]);
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
	assert_int_equal(get_status().rings, 3);

	fixture.desired.binding_count = 0;
	fixture_publish(&fixture);
	assert_drops(&other, DROP_NO_SITE);
	assert_int_equal(get_status().rings, 0);
	assert_int_equal(get_status().backend_count, 0);

	fixture.desired.pool_count = 0;
	fixture_publish(&fixture);
	assert_int_equal(run_to(&web, &frame, NULL), XDP_PASS);
	assert_int_equal(run_to(&web6, &frame, NULL), XDP_PASS);

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
	uint32_t descriptor = descriptor_of(&web, NULL);
	for (uint8_t bits = 0; bits <= 6; bits++) {
		pools[0].site_bits = bits;
		pools[1].site_bits = (uint8_t)(bits + 3);
		fixture_publish(&fixture);
		assert_all_served();
		assert_drops(&elsewhere, DROP_NO_SITE);
		assert_int_equal(descriptor_of(&web, NULL), descriptor);
		/* Twice the pools for a moment: their entries are few. */
		fixture.now_ms += EDGE_GRACE_MS;
	}
	fixture.desired.pools = fixture.pools;
	fixture.desired.pool_count = 2;
	fixture_publish(&fixture);
	assert_all_served();
}

/* Whatever is wrong is found before anything is changed. */
static void test_invalid(void **state)
{
	(void)state;
	uint16_t bad_ring[EDGE_RING_PAGE] = {[4000] = FIXTURE_BACKENDS};
	struct edge_port port = {.low = 9, .high = 8, .protocol = IPPROTO_TCP};
	struct edge_port sctp = {.low = 9, .high = 9, .protocol = 132};
	struct edge_port quic_tcp = {.low = 9, .high = 9, .protocol = IPPROTO_TCP, .quic = true};
	struct edge_backend nowhere[FIXTURE_BACKENDS] = {{{{0}, IP_NONE}}};
	struct edge_version broken[11];
	struct edge_binding bindings[2] = {fixture.bindings[0], fixture.bindings[0]};
	struct edge_pool pools[10];
	struct error err;
	struct edge_desired desired = fixture.desired;

	for (size_t i = 0; i < 11; i++) {
		broken[i] = fixture.versions[OTHER];
		broken[i].digest.bytes[0] = (uint8_t)i;
	}
	broken[0].first = bad_ring;
	broken[1].second = bad_ring;
	broken[2].ring_length = 100;
	broken[3].ring_length = 0;
	broken[4].ports = &port;
	broken[4].port_count = 1;
	broken[5].port_count = 0;
	broken[6].algorithm = 9;
	broken[7].ports = &sctp;
	broken[7].port_count = 1;
	broken[8].ports = &quic_tcp;
	broken[8].port_count = 1;
	broken[9].backends = nowhere;
	broken[10].service =
	    "a-name-that-is-much-longer-than-the-sixty-three-bytes-that-are-allowed-for";
	desired.bindings = bindings;
	desired.binding_count = 2;
	bindings[1].address = fixture_address("198.51.100.2");
	for (size_t i = 0; i < 11; i++) {
		bindings[1].version = &broken[i];
		err = (struct error){0};
		assert_true(edge_publish(fixture.edge, &desired, &err) < 0);
		assert_true(err.code < 0 && strlen(err.text) > 20);
		assert_all_served();
	}
	bindings[1] = fixture.bindings[0];
	assert_int_equal(edge_publish(fixture.edge, &desired, &err), -FL_EINVALID);
	assert_non_null(strstr(err.text, "198.51.100.33 is bound twice"));
	bindings[1].address = fixture_address("192.0.2.1");
	assert_int_equal(edge_publish(fixture.edge, &desired, &err), -FL_EINVALID);
	assert_non_null(strstr(err.text, "192.0.2.1 is in none of the pools"));
	assert_all_served();

	desired = fixture.desired;
	desired.pools = pools;
	memcpy(pools, fixture.pools, sizeof(fixture.pools));
	desired.pool_count = 3;
	pools[2] = fixture.pools[0];
	assert_int_equal(edge_publish(fixture.edge, &desired, &err), -FL_EINVALID);
	assert_non_null(strstr(err.text, "overlap"));
	assert_int_equal(ip_prefix_parse("fd00::/48", &pools[2].prefix), 0);
	assert_int_equal(edge_publish(fixture.edge, &desired, &err), -FL_EINVALID);
	assert_int_equal(ip_prefix_parse("203.0.113.0/30", &pools[2].prefix), 0);
	pools[2].site_bits = 3;
	assert_int_equal(edge_publish(fixture.edge, &desired, &err), -FL_EINVALID);
	desired.pool_count = 10;
	for (unsigned i = 2; i < 10; i++) {
		char text[IP_TEXT_BYTES];
		snprintf(text, sizeof(text), "203.0.%u.0/24", i);
		assert_int_equal(ip_prefix_parse(text, &pools[i].prefix), 0);
	}
	assert_int_equal(edge_publish(fixture.edge, &desired, &err), -FL_ELIMIT);
	assert_all_served();
}

/* More rings than there are pages: refused as a whole, and nothing is lost by having tried. */
static void test_pages_run_out(void **state)
{
	(void)state;
	enum { RINGS = FIXTURE_MOST_PAGES / (2 * EDGE_RING_PAGES), LENGTH = 16 * EDGE_RING_PAGE };
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
		versions[i].first = versions[i].second = ring;
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
		assert_int_equal(publish(&err), -FL_EEXHAUSTED);
		assert_int_equal(run_to(&pools[2].prefix.address, &frame, NULL), XDP_PASS);
		assert_non_null(strstr(err.text, "ring pages"));
		assert_all_served();
		assert_int_equal(get_status().rings, 4);
		fixture.now_ms += EDGE_GRACE_MS;
	}
	/* All that fits beside what is there. */
	fixture.desired.pool_count = 2;
	fixture.desired.binding_count = RINGS - 1;
	fixture_publish(&fixture);
	assert_int_equal(get_status().rings, RINGS - 1);
	assert_int_equal(get_status().backend_count, 1);
	fixture.now_ms += EDGE_GRACE_MS;
	fixture.desired = before;
	fixture_publish(&fixture);
	assert_all_served();
	free(versions);
	free(bindings);
	free(ring);
}

/* The death of a child that runs `action` by an assertion, whose words it does not print. */
static void assert_child_aborts(void (*action)(void))
{
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		const struct rlimit none = {0, 0};
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL);
		if (!freopen("/dev/null", "w", stderr))
			_exit(3);
		action();
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void publish_changed_ring(void)
{
	static uint16_t other[EDGE_RING_PAGE];
	struct error err;
	memcpy(other, fixture.first, sizeof(other));
	other[17] = (uint16_t)((other[17] + 1) % FIXTURE_BACKENDS);
	fixture.versions[OTHER].first = other;
	(void)publish(&err);
}

static void publish_changed_seed(void)
{
	struct error err;
	fixture.versions[OTHER].seed[3] ^= 1;
	(void)publish(&err);
}

/* Invariant 2: a version never changes. This process's own such mistake is a bug … */
static void test_version_never_changes(void **state)
{
	(void)state;
	assert_child_aborts(publish_changed_ring);
	assert_child_aborts(publish_changed_seed);
	assert_all_served();
}

/* … and pins that say otherwise are corrupt. */
static void test_adopted_version_differs(void **state)
{
	(void)state;
	struct error err;
	fixture_close(&fixture);
	fixture_open(&fixture);
	fixture.first[17] = (uint16_t)((fixture.first[17] + 1) % FIXTURE_BACKENDS);
	assert_int_equal(publish(&err), -FL_ECORRUPT);
	assert_non_null(strstr(err.text, "another ring"));
	fixture_desire(&fixture);
	fixture.versions[WEB].seed[3] ^= 1;
	assert_int_equal(publish(&err), -FL_ECORRUPT);
	assert_non_null(strstr(err.text, "other rules"));
	fixture_desire(&fixture);
	fixture_publish(&fixture);
	assert_all_served();
}

/* Adoption */

static void test_adoption(void **state)
{
	(void)state;
	struct ip_address web = fixture_service_address(WEB, IP_V6);
	assert_false(get_status().adopted);
	assert_all_served();
	uint64_t packets = fixture_counters(&fixture, &web).packets;
	uint64_t refused = fixture_drops(&fixture, DROP_REFUSED);
	uint32_t descriptor = descriptor_of(&web, NULL);

	fixture_close(&fixture);
	fixture_open(&fixture);
	assert_true(get_status().adopted);
	assert_int_equal(get_status().addresses, FIXTURE_ADDRESSES);
	assert_int_equal(get_status().rings, 4);
	assert_int_equal(get_status().backend_count, FIXTURE_BACKENDS);
	assert_int_equal(fixture_counters(&fixture, &web).packets, packets);
	assert_int_equal(fixture_drops(&fixture, DROP_REFUSED), refused);
	assert_all_served(); /* before anything is published */
	fixture_publish(&fixture);
	assert_int_equal(descriptor_of(&web, NULL), descriptor);
	assert_int_equal(fixture_counters(&fixture, &web).packets, packets + 1);
	assert_all_served();
}

static void tamper(const char *map, uint32_t key, size_t offset, uint8_t value)
{
	_Alignas(8) uint8_t record[sizeof(struct edge_map_page)];
	int map_fd = fixture_map(&fixture, map);
	assert_int_equal(bpf_map_lookup_elem(map_fd, &key, record), 0);
	record[offset] = value;
	assert_int_equal(bpf_map_update_elem(map_fd, &key, record, 0), 0);
	close(map_fd);
}

/* Pins that contradict themselves are refused, with a word on how to get out of it. */
static void test_corrupt_pins(void **state)
{
	(void)state;
	static const char *const interfaces[] = {"edge0"};
	struct edge_options options = {
	    .pin_root = fixture.pins, .interfaces = interfaces, .interface_count = 1};
	struct ip_address web = fixture_service_address(WEB, IP_V4);
	const struct {
		const char *map;
		uint32_t key;
		size_t offset;
		uint8_t value;
	} cases[] = {
	    {"descriptors", descriptor_of(&web, NULL),
	     offsetof(struct edge_map_descriptor, address), 7},
	    {"descriptors", descriptor_of(&web, NULL),
	     offsetof(struct edge_map_descriptor, first_page), 3},
	    {"descriptors", descriptor_of(&web, NULL),
	     offsetof(struct edge_map_descriptor, service) + 63, 'x'},
	    {"descriptors", descriptor_of(&web, NULL),
	     offsetof(struct edge_map_descriptor, port_count), 9},
	    {"backends", 1, offsetof(struct edge_map_backend, family), 5},
	    {"settings", 0, offsetof(struct edge_map_settings, pools4), 99},
	    {"settings", 0, offsetof(struct edge_map_settings, pool4[0].slot_bits), 9},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct edge *edge = NULL;
		struct error err = {0};
		tamper(cases[i].map, cases[i].key, cases[i].offset, cases[i].value);
		fixture_close(&fixture);
		assert_int_equal(edge_open(&options, &edge, &err), -FL_ECORRUPT);
		assert_null(edge);
		assert_non_null(strstr(err.text, "fairlead detach"));
		fixture_reset(&fixture);
		fixture_start(&fixture);
	}
	assert_all_served();
}

/* Two edges never share their pins: the second would withdraw what the first one serves. */
static void test_second_edge_is_refused(void **state)
{
	(void)state;
	static const char *const names[] = {"edge0"};
	char holder[64];
	struct error err = {0};
	struct edge *second = NULL;
	struct edge_options options = {.pin_root = fixture.pins,
				       .interfaces = names,
				       .interface_count = 1,
				       .source_v4 = fixture_address("10.1.0.1")};
	snprintf(holder, sizeof(holder), "process %ld (bpf_edge_maps)", (long)getpid());
	assert_int_equal(edge_open(&options, &second, &err), -EBUSY);
	assert_null(second);
	assert_non_null(strstr(err.text, fixture.pins));
	assert_non_null(strstr(err.text, holder));
	assert_int_equal(edge_remove(fixture.pins, &err), -EBUSY);
	assert_non_null(strstr(err.text, holder));
	assert_all_served();

	fixture_close(&fixture);
	assert_int_equal(edge_open(&options, &second, &err), 0);
	edge_close(second);
	fixture_open(&fixture);
	assert_all_served();
}

/* Whatever else lies in the pin root stays there, even under names like ours. */
static void test_pins_of_others_stay(void **state)
{
	(void)state;
	static const char *const others[] = {"other", "0123456789abcdef/other", "links/other",
					     "a-folder/other"};
	char path[256];
	uint32_t key = 0;
	fixture_command("mkdir %s/0123456789abcdef %s/a-folder %s/fedcba9876543210", fixture.pins,
			fixture.pins, fixture.pins);
	int map_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "other", sizeof(key), sizeof(key), 1, NULL);
	assert_true(map_fd >= 0);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", fixture.pins, others[i]);
		assert_int_equal(bpf_obj_pin(map_fd, path), 0);
	}
	close(map_fd);
	fixture_close(&fixture);
	fixture_start(&fixture); /* attaching sweeps */
	assert_all_served();
	snprintf(path, sizeof(path), "%s/fedcba9876543210", fixture.pins);
	assert_int_equal(access(path, F_OK), -1);
	fixture_close(&fixture);
	struct error err = {0};
	assert_int_equal(edge_remove(fixture.pins, &err), 0);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", fixture.pins, others[i]);
		assert_int_equal(unlink(path), 0);
	}
	fixture_command("test -z \"$(find %s -type f)\" && rm -rf %s", fixture.pins, fixture.pins);
	fixture_command("! ip -d link show edge0 | grep -q xdp");
	fixture_start(&fixture);
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
				assert_int_equal(run_to(&address, &frame, NULL), XDP_DROP);
			else if (found->refuse_new)
				assert_drops(&address, DROP_REFUSED);
			else
				assert_serves(&address, (enum fixture_service)(found->version -
									       fixture.versions));
		}
	}
}

static void test_random_walk(void **state)
{
	(void)state;
	uint64_t seed = 20261122;
	struct random random;
	struct error err;
	const char *wanted = getenv("FAIRLEAD_SEED");
	if (wanted)
		seed = strtoull(wanted, NULL, 10);
	print_message("seed %llu\n", (unsigned long long)seed);
	random_init_seeded(&random, seed);
	for (int step = 0; step < 300; step++) {
		random_desire(&random);
		int result = publish(&err);
		if (result == -FL_EEXHAUSTED) { /* of the few pool entries */
			fixture.now_ms += EDGE_GRACE_MS;
			result = publish(&err);
		}
		assert_int_equal(result, 0);
		assert_says_desired();
		if (random_below(&random, 8) == 0) {
			fixture_close(&fixture);
			fixture_open(&fixture);
			assert_says_desired();
		}
		fixture.now_ms += random_below(&random, 2000);
	}
}

/* Replacement */

struct link_now {
	uint32_t link_id, program_id;
};

static struct link_now link_now(void)
{
	char path[256];
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);
	snprintf(path, sizeof(path), "%s/links/edge0", fixture.pins);
	int link_fd = bpf_obj_get(path);
	assert_true(link_fd >= 0);
	assert_int_equal(bpf_obj_get_info_by_fd(link_fd, &info, &size), 0);
	close(link_fd);
	return (struct link_now){info.id, info.prog_id};
}

/* Another release takes over: the same link, another program and other maps; and back again. */
static void test_replacement(void **state)
{
	(void)state;
	char old_layout[32];
	char path[256];
	struct link_now before = link_now();
	snprintf(old_layout, sizeof(old_layout), "%s", get_status().layout);
	fixture_close(&fixture);

	fixture_command("%s %s", EDGE_PUBLISHER_NEXT, fixture.pins);
	struct link_now next = link_now();
	assert_int_equal(next.link_id, before.link_id);
	assert_int_not_equal(next.program_id, before.program_id);
	snprintf(path, sizeof(path), "%s/%s", fixture.pins, old_layout);
	assert_int_equal(access(path, F_OK), -1);

	fixture_command("%s %s", EDGE_PUBLISHER, fixture.pins);
	struct link_now back = link_now();
	assert_int_equal(back.link_id, before.link_id);
	assert_int_not_equal(back.program_id, next.program_id);
	assert_int_equal(access(path, F_OK), 0);
	fixture_start(&fixture);
	assert_true(get_status().adopted);
	assert_all_served();
}

/* Until it attaches, a new release leaves what is attached as it is. */
static void test_open_changes_nothing(void **state)
{
	(void)state;
	struct link_now before = link_now();
	fixture_close(&fixture);
	fixture_open(&fixture);
	fixture_publish(&fixture);
	assert_int_equal(link_now().program_id, before.program_id);
	struct error err;
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
	assert_int_equal(link_now().link_id, before.link_id);
	assert_int_equal(link_now().program_id, get_status().program_id);
}

/* Real frames */

static void assert_wire_serves(bool native)
{
	int wire = fixture_open_wire(&fixture, native);
	for (uint16_t port = 100; port < 150; port++) {
		for (size_t f = 0; f < 2; f++) {
			struct ip_address web = fixture_service_address(WEB, families[f]);
			struct frame frame;
			struct frame out = {.length = 0};
			struct frame expected;
			frame_build(&frame, &web, IPPROTO_TCP, port, 80, port);
			frame_expect(&expected, &frame, &fixture,
				     fixture_pick(&fixture, WEB, &frame));
			edge_heartbeat(fixture.edge);
			assert_int_equal(send(wire, frame.bytes, frame.length, 0), frame.length);
			assert_true(fixture_receive_tunnel(wire, &out, 0));
			assert_int_equal(out.length, expected.length);
			assert_memory_equal(out.bytes, expected.bytes, expected.length);
		}
	}
	fixture_close_wire(&fixture, wire, native);
}

/* Frames over a cable, through the program as it is attached, in both modes. */
static void test_real_frames(void **state)
{
	(void)state;
	static const char *const names[] = {"edge0"};
	struct edge_options options = {
	    .pin_root = fixture.pins,
	    .interfaces = names,
	    .interface_count = 1,
	    .force_generic = true,
	    .source_v4 = fixture_address("10.1.0.1"),
	    .source_v6 = fixture_address("fd00:1::1"),
	    .clock = &fixture.clock,
	};
	struct error err;
	assert_int_equal(get_status().interfaces[0].mode, EDGE_NATIVE);
	assert_wire_serves(true);
	fixture_close(&fixture);
	assert_int_equal(edge_open(&options, &fixture.edge, &err), 0);
	fixture_publish(&fixture);
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
	assert_int_equal(get_status().interfaces[0].mode, EDGE_GENERIC);
	fixture_drain(&fixture);
	assert_wire_serves(false);
}

/* Frames all the time while another release takes over, and hands back: each one arrives. */
static void test_replacement_under_traffic(void **state)
{
	(void)state;
	struct ip_address web = fixture_service_address(WEB, IP_V6);
	uint64_t sent = 0;
	uint64_t received = 0;
	struct frame frame;
	struct frame out;
	int status;
	fixture_close(&fixture);
	int wire = fixture_open_wire(&fixture, true);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		char command[600];
		snprintf(command, sizeof(command), "%s %s && %s %s && %s %s", EDGE_PUBLISHER_NEXT,
			 fixture.pins, EDGE_PUBLISHER, fixture.pins, EDGE_PUBLISHER_NEXT,
			 fixture.pins);
		_exit(system(command) == 0 ? 0 : 1); /* NOLINT(cert-env33-c) */
	}
	while (waitpid(child, &status, WNOHANG) == 0) {
		frame_build(&frame, &web, IPPROTO_TCP, (uint16_t)sent, 80, 100);
		assert_int_equal(send(wire, frame.bytes, frame.length, 0), frame.length);
		sent++;
		while (fixture_receive_tunnel(wire, &out, MSG_DONTWAIT))
			received++;
	}
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	while (received < sent && fixture_receive_tunnel(wire, &out, 0))
		received++;
	assert_true(sent > 1000);
	assert_int_equal(received, sent);
	fixture_close_wire(&fixture, wire, true);
	fixture_open(&fixture);
}

/* Interfaces */

static int open_on(const char *const *interfaces, size_t count, bool generic, struct error *err)
{
	struct edge_options options = {
	    .pin_root = fixture.pins,
	    .interfaces = interfaces,
	    .interface_count = count,
	    .force_generic = generic,
	    .source_v4 = fixture_address("10.1.0.1"),
	    .source_v6 = fixture_address("fd00:1::1"),
	    .clock = &fixture.clock,
	};
	*err = (struct error){0};
	return edge_open(&options, &fixture.edge, err);
}

static void test_missing_interface(void **state)
{
	(void)state;
	static const char *const names[] = {"edge0", "edge7"};
	struct error err;
	fixture_close(&fixture);
	assert_int_equal(open_on(names + 1, 1, false, &err), 0);
	assert_int_equal(edge_attach(fixture.edge, &err), -FL_EUNAVAILABLE);
	assert_non_null(strstr(err.text, "edge7"));
	fixture_close(&fixture);

	assert_int_equal(open_on(names, 2, false, &err), 0);
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
	assert_int_equal(get_status().interfaces[1].ifindex, 0);
	assert_int_equal(get_status().interfaces[1].mode, EDGE_DETACHED);
	/* It comes, goes, and comes again as another interface. */
	for (int i = 0; i < 2; i++) {
		fixture_command("ip link add edge7 type veth peer name wire7 && "
				"ip link set edge7 up");
		fixture_drain(&fixture);
		assert_int_not_equal(get_status().interfaces[1].ifindex, 0);
		assert_int_equal(get_status().interfaces[1].mode, EDGE_NATIVE);
		assert_int_equal(get_status().interfaces[1].program_id, get_status().program_id);
		fixture_command("ip link del edge7");
		fixture_drain(&fixture);
		assert_int_equal(get_status().interfaces[1].ifindex, 0);
		assert_int_equal(get_status().interfaces[1].mode, EDGE_DETACHED);
	}
	assert_int_equal(get_status().interfaces[0].mode, EDGE_NATIVE);
}

/* A name that belongs to another interface now: the pinned link is not mistaken for its own. */
static void test_renamed_interface(void **state)
{
	(void)state;
	struct error err;
	fixture_close(&fixture);
	fixture_command("ip link set edge0 down && ip link set edge0 name edge8 && "
			"ip link add edge0 type veth peer name wire8 && ip link set edge0 up && "
			"ip -6 addr add fd00:1::1/64 dev edge0 nodad");
	fixture_open(&fixture);
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
	assert_int_equal(get_status().interfaces[0].mode, EDGE_NATIVE);
	fixture_command("! ip -d link show edge8 | grep -q xdp");
	fixture_reset(&fixture);
	fixture_command("ip link del edge0 && ip link set edge8 name edge0 && "
			"ip link set edge0 up && ip -6 addr replace fd00:1::1/64 dev edge0 nodad");
	fixture_neighbours();
	fixture_start(&fixture);
	assert_all_served();
}

static void test_foreign_program(void **state)
{
	(void)state;
	static const char *const names[] = {"edge0"};
	struct error err;
	fixture_reset(&fixture);
	assert_int_equal(bpf_xdp_attach((int)fixture.edge0, fixture.fill_fd, 0, NULL), 0);
	assert_int_equal(open_on(names, 1, false, &err), 0);
	assert_int_equal(edge_attach(fixture.edge, &err), -FL_EUNAVAILABLE);
	assert_non_null(strstr(err.text, "another XDP program"));
	assert_non_null(strstr(err.text, "xdp off"));
	assert_int_equal(bpf_xdp_detach((int)fixture.edge0, 0, NULL), 0);
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
}

static void test_generic_mode(void **state)
{
	(void)state;
	static const char *const names[] = {"edge0"};
	struct error err;
	assert_int_equal(get_status().interfaces[0].mode, EDGE_NATIVE);
	fixture_close(&fixture);
	assert_int_equal(open_on(names, 1, true, &err), 0);
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
	assert_int_equal(get_status().interfaces[0].mode, EDGE_GENERIC);
	assert_int_equal(get_status().interfaces[0].program_id, get_status().program_id);
}

/* Next hops */

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
	assert_int_equal(run_to(&web, &frame, &out), XDP_TX);
	assert_memory_equal(out.bytes, moved, sizeof(moved));

	/* Behind a gateway it is the gateway's address that counts. */
	fixture_command("ip route add 10.1.0.11/32 via 10.1.0.77 && "
			"ip neigh replace 10.1.0.77 dev edge0 lladdr 02:00:00:00:77:77 "
			"nud permanent");
	fixture_drain(&fixture);
	const struct edge_status status = get_status();
	assert_int_equal(status.backend_count, FIXTURE_BACKENDS);
	assert_true(status.backends[0].resolved);
	assert_int_equal(status.backends[0].link_address[5], 0x77);
	assert_int_equal(status.backends[1].link_address[5], 0xbb);
	assert_string_equal(status.backends[1].interface, "edge0");
	assert_int_equal(status.backends[1].mtu, 1500);
	fixture_command("ip route replace 10.1.0.11/32 via 10.1.0.77 mtu 1400");
	fixture_drain(&fixture);
	assert_int_equal(get_status().backends[0].mtu, 1400);
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

static void test_sysctls_are_undone(void **state)
{
	(void)state;
	static const char read_all[] =
	    "(cd /proc/sys/net && grep . ipv4/conf/*/forwarding ipv4/conf/*/accept_local "
	    "ipv4/conf/*/rp_filter ipv6/conf/*/forwarding ipv6/conf/*/accept_ra)";
	fixture_reset(&fixture);
	fixture_command("echo 1 > /proc/sys/net/ipv6/conf/wire0/forwarding && "
			"echo 1 > /proc/sys/net/ipv4/conf/all/rp_filter");
	fixture_command("%s > %s.before", read_all, "/tmp/fairlead-edge-sysctls");
	fixture_start(&fixture);
	fixture_command("cd /proc/sys/net && grep -q 1 ipv4/conf/edge0/forwarding && "
			"grep -q 1 ipv4/conf/edge0/accept_local && "
			"grep -q 2 ipv4/conf/edge0/rp_filter && "
			"grep -q 1 ipv6/conf/all/forwarding && "
			"grep -q 2 ipv6/conf/edge0/accept_ra");
	fixture_close(&fixture);
	fixture_start(&fixture); /* a second start does not take the first one's values for old */
	fixture_reset(&fixture);
	fixture_command("%s > %s.after", read_all, "/tmp/fairlead-edge-sysctls");
	fixture_command("cd /tmp && diff fairlead-edge-sysctls.before fairlead-edge-sysctls.after "
			"&& rm fairlead-edge-sysctls.before fairlead-edge-sysctls.after");
	fixture_start(&fixture);
}

/* What stands in the way */

static void test_no_privileges(void **state)
{
	(void)state;
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		static const char *const names[] = {"edge0"};
		struct error err;
		if (setuid(65534) < 0)
			_exit(2);
		int result = open_on(names, 1, false, &err);
		_exit(result == -FL_EPRIVILEGE && strstr(err.text, "CAP_BPF") ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* The program needs nothing of the kernel's own type information. */
static void test_no_kernel_btf(void **state)
{
	(void)state;
	fixture_reset(&fixture);
	assert_int_equal(mount("none", "/sys/kernel/btf", "tmpfs", 0, NULL), 0);
	assert_int_equal(access("/sys/kernel/btf/vmlinux", F_OK), -1);
	fixture_start(&fixture);
	assert_all_served();
	assert_int_equal(umount("/sys/kernel/btf"), 0);
}

static void test_bad_places(void **state)
{
	(void)state;
	static const char *const names[] = {"edge0", "edge0"};
	static const char *const bad_names[] = {"", "a.b", "a/b", "name-of-sixteen-", "a b"};
	struct error err;
	struct fixture elsewhere = fixture;
	struct edge_options options = {.interfaces = names, .interface_count = 1};
	options.pin_root = "/tmp/fairlead-not-bpffs/edge";
	assert_int_equal(edge_open(&options, &elsewhere.edge, &err), -FL_EUNAVAILABLE);
	assert_non_null(strstr(err.text, "mount -t bpf"));
	assert_int_equal(access("/tmp/fairlead-not-bpffs", F_OK), -1);
	options.pin_root = "relative";
	assert_int_equal(edge_open(&options, &elsewhere.edge, &err), -FL_EINVALID);
	options.pin_root = fixture.pins;
	options.interface_count = 2;
	assert_int_equal(edge_open(&options, &elsewhere.edge, &err), -FL_EINVALID);
	assert_non_null(strstr(err.text, "named twice"));
	options.interface_count = 0;
	assert_int_equal(edge_open(&options, &elsewhere.edge, &err), -FL_EINVALID);
	options.interface_count = 1;
	for (size_t i = 0; i < sizeof(bad_names) / sizeof(bad_names[0]); i++) {
		options.interfaces = bad_names + i;
		assert_int_equal(edge_open(&options, &elsewhere.edge, &err), -FL_EINVALID);
	}
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
	assert_int_equal(publish(&err), -FL_EINVALID);
	assert_non_null(strstr(err.text, "fd00:1::11"));
	assert_non_null(strstr(err.text, "IPv6 source"));
}

/* A source that is not this machine's is refused at the start, and told of when it goes later. */
static void test_source_is_on_this_machine(void **state)
{
	(void)state;
	static const char *const names[] = {"edge0"};
	struct error err = {0};
	struct edge_options options = {.pin_root = fixture.pins,
				       .interfaces = names,
				       .interface_count = 1,
				       .source_v4 = fixture_address("10.1.0.1")};
	static const char *const strangers[] = {"10.1.0.99", "192.168.7.7", "fd00:1::99",
						"fd99::1"};
	fixture_close(&fixture);
	for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
		struct ip_address stranger = fixture_address(strangers[i]);
		options.source_v4 =
		    stranger.family == IP_V4 ? stranger : fixture_address("10.1.0.1");
		options.source_v6 =
		    stranger.family == IP_V6 ? stranger : fixture_address("fd00:1::1");
		assert_int_equal(edge_open(&options, &fixture.edge, &err), -EADDRNOTAVAIL);
		assert_non_null(strstr(err.text, strangers[i]));
	}
	fixture_start(&fixture);
	assert_int_equal(get_status().missing_source_count, 0);
	fixture_command("ip addr del fd00:1::1/64 dev edge0");
	fixture_drain(&fixture);
	assert_int_equal(get_status().missing_source_count, 1);
	struct ip_address lost = fixture_address("fd00:1::1");
	assert_true(ip_address_equal(&get_status().missing_sources[0], &lost));
	fixture_command("ip addr del 10.1.0.1/24 dev edge0");
	fixture_drain(&fixture);
	assert_int_equal(get_status().missing_source_count, 2);
	fixture_command("ip addr add 10.1.0.1/24 dev edge0 && "
			"ip -6 addr add fd00:1::1/64 dev edge0 nodad");
	fixture_neighbours();
	fixture_drain(&fixture);
	assert_int_equal(get_status().missing_source_count, 0);
	assert_all_served();
}

/* An interface that carries nothing says so, and takes its IPv6 source along. */
static void test_link_is_down(void **state)
{
	(void)state;
	assert_string_equal(get_status().interfaces[0].problem, "");
	fixture_command("ip link set wire0 down");
	assert_non_null(strstr(get_status().interfaces[0].problem, "no carrier"));
	fixture_command("ip link set wire0 up && ip link set edge0 down");
	fixture_drain(&fixture);
	assert_non_null(strstr(get_status().interfaces[0].problem, "ip link set edge0 up"));
	assert_int_equal(get_status().missing_source_count, 1);
	fixture_command("ip link set edge0 up && ip -6 addr add fd00:1::1/64 dev edge0 nodad");
	fixture_neighbours();
	fixture_drain(&fixture);
	assert_string_equal(get_status().interfaces[0].problem, "");
	assert_int_equal(get_status().missing_source_count, 0);
	assert_all_served();
}

/* How long a backend has had no next hop, from the first look at it on. */
static void test_unresolved_backend(void **state)
{
	(void)state;
	assert_true(get_status().backends[0].resolved);
	fixture_command("ip neigh del 10.1.0.11 dev edge0");
	fixture_drain(&fixture);
	assert_false(get_status().backends[0].resolved);
	assert_int_equal(get_status().backends[0].unresolved_ms, 0);
	fixture.now_ms += 700;
	fixture_command("ip route add 10.9.0.0/24 dev edge0"); /* everything is resolved anew */
	fixture_drain(&fixture);
	assert_int_equal(get_status().backends[0].unresolved_ms, 700);
	assert_int_equal(get_status().backends[1].unresolved_ms, 0);
	/* A neighbour of ours that becomes permanent stays ours, and would go with the edge. */
	fixture_command("ip route del 10.9.0.0/24 dev edge0 && ip neigh del 10.1.0.11 dev edge0");
	fixture_neighbours();
	fixture_drain(&fixture);
	assert_true(get_status().backends[0].resolved);
	assert_int_equal(get_status().backends[0].unresolved_ms, 0);
}

static struct edge_check check(void)
{
	struct edge_check result;
	struct error err;
	assert_int_equal(edge_check(fixture.edge, &result, &err), 0);
	return result;
}

/* Zeroes `count` values of a map from `first` on, as somebody who empties it would. */
static void empty(const char *map, uint32_t first, uint32_t count, size_t bytes)
{
	uint8_t *zeros = calloc(1, bytes);
	int map_fd = fixture_map(&fixture, map);
	assert_non_null(zeros);
	for (uint32_t key = first; key < first + count; key++)
		assert_int_equal(bpf_map_update_elem(map_fd, &key, zeros, 0), 0);
	close(map_fd);
	free(zeros);
}

/* What somebody else does to the maps is found, said and set back, each thing once. */
static void test_check_repairs_maps(void **state)
{
	(void)state;
	assert_int_equal(check().repaired, 0);
	empty("addresses", 0, 2048, sizeof(uint64_t));
	struct edge_check result = check();
	assert_int_equal(result.repaired, FIXTURE_ADDRESSES);
	assert_int_equal(result.standing, 0);
	assert_non_null(strstr(result.text, "198.51.100."));
	assert_all_served();

	empty("spans", 0, 64, sizeof(uint64_t));
	assert_int_equal(check().repaired, 2); /* one site of each family is held */
	assert_all_served();

	empty("settings", 0, 1, sizeof(struct edge_map_settings));
	result = check();
	assert_int_equal(result.repaired, 1);
	assert_non_null(strstr(result.text, "settings"));
	fixture_drain(&fixture);
	assert_all_served();
	assert_int_equal(check().repaired, 0);
}

/* The large records: what they said is known to whoever published it, who does so again. */
static void test_check_tells_of_damage(void **state)
{
	(void)state;
	struct edge_map_descriptor before;
	struct ip_address web = fixture_service_address(WEB, IP_V4);
	uint32_t descriptor = descriptor_of(&web, &before);
	const struct {
		const char *map, *text;
		uint32_t first;
		size_t bytes;
	} cases[] = {
	    {"descriptors", "the descriptor of 198.51.100.", descriptor,
	     sizeof(struct edge_map_descriptor)},
	    {"ring_pages", "the ring of ", before.first_page, sizeof(struct edge_map_page)},
	    {"ring_pages", "the ring of ", before.second_page, sizeof(struct edge_map_page)},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		empty(cases[i].map, cases[i].first, 1, cases[i].bytes);
		for (int again = 0; again < 2; again++) {
			struct edge_check result = check();
			assert_int_equal(result.damaged, 1);
			assert_int_equal(result.repaired + result.standing, 0);
			assert_non_null(strstr(result.text, cases[i].text));
		}
		fixture_publish(&fixture);
		assert_int_equal(check().damaged, 0);
		assert_all_served();
	}
}

/* Where a backend is and how it is reached, in each byte of its record. */
static void test_check_repairs_backends(void **state)
{
	(void)state;
	for (size_t offset = 0; offset < sizeof(struct edge_map_backend); offset++) {
		tamper("backends", 1, offset, 0xa5);
		struct edge_check result = check();
		assert_int_equal(result.repaired, 1);
		assert_non_null(strstr(result.text, "how backend "));
		assert_int_equal(check().repaired, 0);
	}
	assert_all_served();
	empty("backends", 0, FIXTURE_BACKENDS + 1, sizeof(struct edge_map_backend));
	assert_int_equal(check().repaired, FIXTURE_BACKENDS);
	assert_all_served();
}

/* A ring that somebody damaged may not become the cover of one that is another (invariant 2). */
static void publish_changed_damaged_ring(void)
{
	struct edge_map_descriptor descriptor;
	struct ip_address web = fixture_service_address(WEB, IP_V4);
	(void)descriptor_of(&web, &descriptor);
	empty("ring_pages", descriptor.first_page, 1, sizeof(struct edge_map_page));
	publish_changed_ring();
}

static void test_damage_is_no_excuse(void **state)
{
	(void)state;
	assert_child_aborts(publish_changed_damaged_ring);
	assert_int_equal(check().damaged, 1);
	fixture_publish(&fixture);
	assert_all_served();
}

static bool is_pinned(const char *name)
{
	char path[256];
	snprintf(path, sizeof(path), "%s/%s", fixture.pins, name);
	return access(path, F_OK) == 0;
}

/* Pins are for the next process; without them, forwarding ends with this one. */
static void test_check_repairs_pins(void **state)
{
	(void)state;
	char map[64];
	snprintf(map, sizeof(map), "%s/backends", get_status().layout);
	const char *const pins[] = {map, "links/edge0"};
	for (size_t i = 0; i < 2; i++) {
		fixture_command("rm %s/%s", fixture.pins, pins[i]);
		struct edge_check result = check();
		assert_int_equal(result.repaired, 1);
		assert_non_null(strstr(result.text, pins[i]));
		assert_true(is_pinned(pins[i]));
	}
	fixture_command("rm -r %s", fixture.pins);
	assert_int_equal(check().repaired, 1);
	assert_true(is_pinned(map) && is_pinned("links/edge0"));
	test_second_edge_is_refused(state);
	assert_true(get_status().adopted);
}

static uint32_t map_id(const char *name)
{
	struct bpf_map_info info = {0};
	uint32_t size = sizeof(info);
	int map_fd = fixture_map(&fixture, name);
	assert_int_equal(bpf_obj_get_info_by_fd(map_fd, &info, &size), 0);
	close(map_fd);
	return info.id;
}

/* A process that finds some maps and not the others fills a set of its own, and packets see only
 * the one or the other. */
static void test_some_pins_are_gone(void **state)
{
	(void)state;
	char layout[17];
	memcpy(layout, get_status().layout, sizeof(layout));
	uint32_t descriptors = map_id("descriptors");
	assert_wire_serves(true);
	fixture_close(&fixture);
	fixture_command("rm %s/%s/addresses", fixture.pins, layout);
	fixture_open(&fixture);
	assert_false(get_status().adopted);
	assert_int_equal(get_status().addresses, 0);
	assert_true(edge_is_forwarding(fixture.edge));
	assert_int_not_equal(map_id("descriptors"), descriptors);
	assert_wire_serves(true);
	fixture_publish(&fixture);
	assert_wire_serves(true);
	struct error err;
	assert_int_equal(edge_attach(fixture.edge, &err), 0);
	fixture_neighbours();
	fixture_drain(&fixture);
	assert_wire_serves(true);
	assert_all_served();
}

/* Another program in our link's place, and the link cut off its interface. */
static void test_check_repairs_programs(void **state)
{
	(void)state;
	char path[256];
	snprintf(path, sizeof(path), "%s/links/edge0", fixture.pins);
	int link_fd = bpf_obj_get(path);
	assert_true(link_fd >= 0);
	assert_int_equal(bpf_link_update(link_fd, fixture.pass_fd, NULL), 0);
	struct edge_check result = check();
	assert_int_equal(result.repaired, 1);
	assert_non_null(strstr(result.text, "edge0"));
	assert_int_equal(get_status().interfaces[0].program_id, get_status().program_id);

	assert_int_equal(bpf_link_detach(link_fd), 0);
	close(link_fd);
	assert_int_equal(get_status().interfaces[0].program_id, 0);
	result = check();
	assert_int_equal(result.repaired, 1);
	assert_non_null(strstr(result.text, "taken off interface edge0"));
	assert_int_equal(get_status().interfaces[0].program_id, get_status().program_id);
	assert_int_equal(check().repaired, 0);
	fixture_neighbours(); /* attaching flaps the carrier, which flushes them */
	fixture_drain(&fixture);
	assert_wire_serves(true);
}

static int enter(void **state)
{
	(void)state;
	return fixture_enter(&fixture) ? 0 : -1;
}

static int leave(void **state)
{
	(void)state;
	fixture_leave(&fixture);
	return 0;
}

#define EDGE_TEST(test) cmocka_unit_test_setup_teardown(test, start, stop)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    EDGE_TEST(test_publish_again_writes_nothing),
	    EDGE_TEST(test_descriptors_describe_themselves),
	    EDGE_TEST(test_rebind),
	    EDGE_TEST(test_grace),
	    EDGE_TEST(test_withdraw),
	    EDGE_TEST(test_spans_grow),
	    EDGE_TEST(test_spans_end),
	    EDGE_TEST(test_pools_change),
	    EDGE_TEST(test_invalid),
	    EDGE_TEST(test_pages_run_out),
	    EDGE_TEST(test_version_never_changes),
	    EDGE_TEST(test_adopted_version_differs),
	    EDGE_TEST(test_adoption),
	    EDGE_TEST(test_corrupt_pins),
	    EDGE_TEST(test_second_edge_is_refused),
	    EDGE_TEST(test_pins_of_others_stay),
	    EDGE_TEST(test_random_walk),
	    EDGE_TEST(test_replacement),
	    EDGE_TEST(test_real_frames),
	    EDGE_TEST(test_replacement_under_traffic),
	    EDGE_TEST(test_open_changes_nothing),
	    EDGE_TEST(test_missing_interface),
	    EDGE_TEST(test_renamed_interface),
	    EDGE_TEST(test_foreign_program),
	    EDGE_TEST(test_generic_mode),
	    EDGE_TEST(test_neighbour_moves),
	    EDGE_TEST(test_managed_neighbours),
	    EDGE_TEST(test_sysctls_are_undone),
	    EDGE_TEST(test_no_privileges),
	    EDGE_TEST(test_no_kernel_btf),
	    EDGE_TEST(test_bad_places),
	    EDGE_TEST(test_no_source),
	    EDGE_TEST(test_source_is_on_this_machine),
	    EDGE_TEST(test_link_is_down),
	    EDGE_TEST(test_unresolved_backend),
	    EDGE_TEST(test_check_repairs_maps),
	    EDGE_TEST(test_check_tells_of_damage),
	    EDGE_TEST(test_check_repairs_backends),
	    EDGE_TEST(test_damage_is_no_excuse),
	    EDGE_TEST(test_check_repairs_pins),
	    EDGE_TEST(test_some_pins_are_gone),
	    EDGE_TEST(test_check_repairs_programs),
	};
	return cmocka_run_group_tests(tests, enter, leave);
}
