/* SPDX-License-Identifier: Apache-2.0 */
/* Versions: what they copy, what their digest covers, and their bytes out and in. */
#include "base/buffer.h"
#include "model/version.h"
#include "tests/addresses.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct backend_listener listeners[] = {
    {.protocol = SERVICE_TCP, .service_port = 80, .address = {.family = IP_NONE}, .port = 8080}};
static struct backend backends[3];
static struct site sites[2] = {{.name = "nyc"}, {.name = "fra"}};
static struct service service;
static struct fabric fabric;
static struct random source;

static int build_fabric(void **state)
{
	(void)state;
	backends[0] = (struct backend){.name = "web2",
				       .site = "fra",
				       .address = address("10.0.1.12"),
				       .weight = 10,
				       .listeners = listeners,
				       .listener_count = 1};
	backends[1] = (struct backend){
	    .name = "web1", .site = "fra", .address = address("2001:db8:1::11"), .weight = 30};
	backends[2] = (struct backend){
	    .name = "web3", .site = "nyc", .address = address("10.0.1.13"), .weight = 0};
	service = (struct service){
	    .name = "web",
	    .ports = {{.protocol = SERVICE_TCP, .first = 80, .last = 80},
		      {.protocol = SERVICE_UDP, .quic = true, .first = 443, .last = 443}},
	    .port_count = 2,
	    .backends = backends,
	    .backend_count = 3};
	fabric = (struct fabric){.name = "example",
				 .sites = sites,
				 .site_count = 2,
				 .services = &service,
				 .service_count = 1};
	random_init_seeded(&source, 1);
	return 0;
}

static struct version *build(uint32_t number, const struct version *previous, struct arena *arena)
{
	struct version *version;
	assert_int_equal(
	    version_build(&fabric, &service, number, previous, &source, arena, &version, NULL), 0);
	return version;
}

static void versions_copy_and_sort(void **state)
{
	(void)state;
	struct arena arena;
	arena_init(&arena, 0);
	struct version *version = build(1, NULL, &arena);
	assert_string_equal(version->backends[0].name, "web1");
	assert_string_equal(version->backends[2].name, "web3");
	assert_string_equal(version->rings[0].site, "fra");
	assert_int_equal(version->ring_count, 2);
	assert_null(version_ring(version, "lon"));

	/* Frankfurt has backends of its own; New York's takes no flow, so all of them serve there.
	 */
	for (size_t i = 0; i < 2; i++) {
		const struct ring *ring = version_ring(version, sites[i].name);
		uint32_t counts[3] = {0};
		for (uint32_t j = 0; j < ring->length; j++)
			counts[ring->entries[j]]++;
		assert_int_equal(counts[0], 3 * counts[1]);
		assert_int_equal(counts[2], 0);
	}
	backends[2].weight = 5;
	version = build(2, version, &arena);
	const struct ring *nyc = version_ring(version, "nyc");
	for (uint32_t j = 0; j < nyc->length; j++)
		assert_int_equal(nyc->entries[j], 2);
	arena_done(&arena);
}

static void rings_follow_the_previous_version(void **state)
{
	(void)state;
	struct arena arena;
	arena_init(&arena, 0);
	struct version *one = build(1, NULL, &arena);
	/* A backend that sorts first shifts every ordinal; names carry over all the same. */
	backends[2] = (struct backend){
	    .name = "aaa", .site = "fra", .address = address("10.0.1.14"), .weight = 10};
	struct version *two = build(2, one, &arena);
	assert_memory_equal(two->base.bytes, one->digest.bytes, DIGEST_BYTES);
	static const uint16_t carried[] = {1, 2, RING_NONE};
	const struct ring *before = version_ring(one, "fra"), *after = version_ring(two, "fra");
	/* The new one takes its fifth of the entries, and nobody else moves. */
	assert_int_equal(ring_moved(before, carried, 3, after), 819);
	arena_done(&arena);
}

/* Clients of versions that are balanced by source stay with their backends, so the seed stays. */
static void seeds_stay_by_source_alone(void **state)
{
	(void)state;
	struct arena arena;
	arena_init(&arena, 0);
	struct version *flow = build(1, NULL, &arena);
	struct version *next = build(2, flow, &arena);
	assert_memory_not_equal(next->seed, flow->seed, sizeof(flow->seed));
	service.balance_by = BALANCE_SOURCE;
	assert_false(version_matches(next, &fabric, &service));
	struct version *by_source = build(3, next, &arena);
	assert_true(version_matches(by_source, &fabric, &service));
	assert_memory_not_equal(by_source->seed, next->seed, sizeof(next->seed));
	next = build(4, by_source, &arena);
	assert_memory_equal(next->seed, by_source->seed, sizeof(by_source->seed));
	service.balance_by = BALANCE_FLOW;
	next = build(5, next, &arena);
	assert_memory_not_equal(next->seed, by_source->seed, sizeof(by_source->seed));
	arena_done(&arena);
}

static void impossible_services_are_refused(void **state)
{
	(void)state;
	struct arena arena;
	struct version *version = NULL;
	struct error err = {0};
	arena_init(&arena, 0);
	backends[2].name = "web1";
	assert_int_equal(version_build(&fabric, &service, 1, NULL, &source, &arena, &version, &err),
			 -FL_EINVALID);
	assert_non_null(strstr(err.text, "two backends named web1"));
	backends[0].weight = backends[1].weight = 0;
	assert_int_equal(version_build(&fabric, &service, 1, NULL, &source, &arena, &version, &err),
			 -FL_EINVALID);
	assert_non_null(strstr(err.text, "give one a weight"));
	assert_null(version);
	arena_done(&arena);
}

static void running_out_of_memory_is_an_error(void **state)
{
	(void)state;
	int result = -ENOMEM;
	for (size_t limit = 16; result == -ENOMEM; limit += 16) {
		struct arena arena;
		struct version *version = NULL;
		arena_init(&arena, limit);
		result = version_build(&fabric, &service, 1, NULL, &source, &arena, &version, NULL);
		assert_true(result == 0 || (result == -ENOMEM && !version));
		arena_done(&arena);
	}
	assert_int_equal(result, 0);
}

/* Each of these alone must change the digest: together they are all that decides a packet's
 * backend, and all that says what was promised. */
static void mutate(struct version *version, int which)
{
	switch (which) {
	case 0:
		version->service = "wob";
		break;
	case 1:
		version->number++;
		break;
	case 2:
		version->algorithm++;
		break;
	case 3:
		version->seed[15] ^= 1;
		break;
	case 4:
		version->ports[1].quic = false;
		break;
	case 5:
		version->ports[0].last++;
		break;
	case 6:
		version->port_count--;
		break;
	case 7:
		version->backends[0].address.bytes[15] ^= 1;
		break;
	case 8:
		version->backends[0].weight++;
		break;
	case 9:
		version->backends[0].site = "nyc";
		break;
	case 10:
		version->backends[1].name = "web2x";
		break;
	case 11:
		version->backends[1].listeners[0].port++;
		break;
	case 12:
		version->backends[1].listener_count = 0;
		break;
	case 13:
		version->backend_count--;
		break;
	case 14:
		version->rings[1].site = "nyd";
		break;
	case 15:
		version->rings[0].ring.entries[4095] ^= 1;
		break;
	case 16:
		version->balance_by = BALANCE_SOURCE;
		break;
	case 17:
		version->rings[0].ring.length /= 2;
		break;
	case 18:
		version->base.bytes[0] ^= 1;
		break;
	case 19:
		version->ring_count--;
		break;
	default:
		break;
	}
}

#define MUTATIONS 20

static void digests_cover_everything(void **state)
{
	(void)state;
	struct digest seen[MUTATIONS + 1];
	for (int i = 0; i <= MUTATIONS; i++) {
		struct arena arena;
		arena_init(&arena, 0);
		random_init_seeded(&source, 1);
		struct version *version = build(1, NULL, &arena);
		mutate(version, i);
		assert_int_equal(version_digest(version, &seen[i]), 0);
		if (i == MUTATIONS)
			assert_memory_equal(&seen[i], &version->digest, sizeof(seen[i]));
		for (int j = 0; j < i; j++)
			assert_memory_not_equal(&seen[i], &seen[j], sizeof(seen[i]));
		arena_done(&arena);
	}
}

/* A version as the first release that had any wrote it. */
static struct version first_format(struct version_ring *ring, uint16_t entries[4096],
				   uint16_t seconds[4096])
{
	struct version version = {
	    .service = "web",
	    .number = 7,
	    .algorithm = VERSION_SIPHASH13_5TUPLE,
	    .ports = {{.protocol = SERVICE_TCP, .first = 80, .last = 80},
		      {.protocol = SERVICE_UDP, .quic = true, .first = 443, .last = 443}},
	    .port_count = 2,
	    .backends = backends,
	    .backend_count = 3,
	    .rings = ring,
	    .ring_count = 1};
	backends[0] = (struct backend){.name = "web1",
				       .site = "fra",
				       .address = address("10.0.1.11"),
				       .weight = 10,
				       .listeners = listeners,
				       .listener_count = 1};
	backends[1] = (struct backend){
	    .name = "web2", .site = "fra", .address = address("2001:db8::7"), .weight = 30};
	backends[2] = (struct backend){
	    .name = "web3", .site = "nyc", .address = address("10.0.1.13"), .weight = 5};
	for (unsigned i = 0; i < 4096; i++) {
		entries[i] = (uint16_t)(i * 7 % 3);
		seconds[i] = i % 5 ? (uint16_t)((i * 7 + 1) % 3) : RING_NONE;
	}
	*ring = (struct version_ring){
	    .site = "fra", .ring = {.length = 4096, .entries = entries}, .seconds = seconds};
	for (unsigned i = 0; i < VERSION_SEED_BYTES; i++)
		version.seed[i] = (uint8_t)(i * 11 + 5);
	memset(version.base.bytes, 0xab, sizeof(version.base.bytes));
	return version;
}

/* Versions of algorithm 1 keep their bytes, second candidates included, and so their digest: this
 * one was taken down from that release. */
static void old_versions_keep_their_digest(void **state)
{
	(void)state;
	static const char known[] =
	    "7f9d1ae9e329ed13ded791ada052044f34ed5dd752dcff9aca50df11ac99e7e6";
	static uint16_t entries[4096], seconds[4096];
	struct version_ring ring;
	struct version version = first_format(&ring, entries, seconds);
	struct version *back;
	struct digest digest;
	struct arena arena;
	struct buffer buffer;
	arena_init(&arena, 0);
	buffer_init(&buffer, 0);
	assert_int_equal(hex_decode(known, digest.bytes, sizeof(digest.bytes)), 0);
	version_encode(&version, &buffer);
	assert_int_equal(version_decode(buffer.data, buffer.length, &arena, &back), 0);
	assert_memory_equal(&back->digest, &digest, sizeof(digest));
	assert_int_equal(version_digest(back, &version.digest), 0);
	assert_memory_equal(&version.digest, &digest, sizeof(digest));
	assert_int_equal(back->algorithm, VERSION_SIPHASH13_5TUPLE);
	assert_int_equal(back->balance_by, BALANCE_FLOW);
	assert_memory_equal(back->rings[0].seconds, seconds, sizeof(seconds));

	/* The digest covers the second candidates, too. */
	back->rings[0].seconds[4095] ^= 1;
	assert_int_equal(version_digest(back, &version.digest), 0);
	assert_memory_not_equal(&version.digest, &digest, sizeof(digest));
	buffer_done(&buffer);
	arena_done(&arena);
}

/* The format goes with the algorithm: no number of the one is read in the other. */
static void formats_and_algorithms_go_together(void **state)
{
	(void)state;
	static uint16_t entries[4096], seconds[4096];
	struct version_ring ring;
	struct version version = first_format(&ring, entries, seconds), *back;
	struct arena arena;
	arena_init(&arena, 0);
	for (uint8_t algorithm = 1; algorithm <= 2; algorithm++) {
		struct buffer buffer;
		buffer_init(&buffer, 0);
		version.algorithm = algorithm;
		version_encode(&version, &buffer);
		char *number = buffer.data + 4 + 18 + 4 + 3 + 4;
		assert_int_equal(*number, algorithm);
		*number = (char)(3 - algorithm);
		assert_int_equal(version_decode(buffer.data, buffer.length, &arena, &back),
				 -FL_ECORRUPT);
		*number = (char)algorithm;
		assert_int_equal(version_decode(buffer.data, buffer.length, &arena, &back), 0);
		buffer_done(&buffer);
	}
	arena_done(&arena);
}

static struct version *encoded(struct arena *arena, struct buffer *buffer)
{
	struct version *version = build(7, NULL, arena);
	buffer_init(buffer, 0);
	version_encode(version, buffer);
	assert_int_equal(buffer->status, 0);
	return version;
}

static void bytes_come_back_as_they_went(void **state)
{
	(void)state;
	struct arena arena;
	struct buffer buffer, again;
	struct version *back;
	arena_init(&arena, 0);
	struct version *version = encoded(&arena, &buffer);
	assert_int_equal(version_decode(buffer.data, buffer.length, &arena, &back), 0);
	assert_memory_equal(&back->digest, &version->digest, sizeof(back->digest));
	assert_true(version_matches(back, &fabric, &service));

	buffer_init(&again, 0);
	version_encode(back, &again);
	assert_int_equal(again.length, buffer.length);
	assert_memory_equal(again.data, buffer.data, buffer.length);
	buffer_done(&again);
	buffer_done(&buffer);
	arena_done(&arena);
}

/* Only who has a backend without a landing needs a reader that knows of it. */
static void a_backend_without_a_landing_has_a_format(void **state)
{
	(void)state;
	struct arena arena;
	struct buffer buffer, again;
	struct version *back;
	arena_init(&arena, 0);
	struct version *version = encoded(&arena, &buffer);
	assert_memory_equal(buffer.data + 4, "fairlead version 2", 18);
	buffer_clear(&buffer);
	version->backends[1].no_landing = true;
	version_encode(version, &buffer);
	assert_memory_equal(buffer.data + 4, "fairlead version 3", 18);
	assert_int_equal(version_decode(buffer.data, buffer.length, &arena, &back), 0);
	assert_false(back->backends[0].no_landing);
	assert_true(back->backends[1].no_landing);
	assert_false(version_matches(back, &fabric, &service));
	buffer_init(&again, 0);
	version_encode(back, &again);
	assert_int_equal(again.length, buffer.length);
	assert_memory_equal(again.data, buffer.data, buffer.length);
	buffer_done(&again);
	buffer_done(&buffer);
	arena_done(&arena);
}

/* Truncated at every length of the head, and at every 997th of the rings. */
static void truncated_bytes_are_refused(void **state)
{
	(void)state;
	struct arena arena;
	struct buffer buffer;
	arena_init(&arena, 0);
	encoded(&arena, &buffer);
	for (size_t length = 0; length < buffer.length; length += length < 600 ? 1 : 997) {
		struct arena scratch;
		struct version *version = NULL;
		/* A copy of just that length, so that a sanitizer sees a read beyond it. */
		char *copy = malloc(length ? length : 1);
		assert_non_null(copy);
		memcpy(copy, buffer.data, length);
		arena_init(&scratch, 0);
		assert_int_equal(version_decode(copy, length, &scratch, &version), -FL_ECORRUPT);
		assert_null(version);
		arena_done(&scratch);
		free(copy);
	}
	buffer_putc(&buffer, 0);
	struct version *version;
	assert_int_equal(version_decode(buffer.data, buffer.length, &arena, &version),
			 -FL_ECORRUPT);
	buffer_done(&buffer);
	arena_done(&arena);
}

/* Any byte of the head changed: refused, or another version that has exactly those bytes. */
static void changed_bytes_are_refused_or_canonical(void **state)
{
	(void)state;
	struct arena arena;
	struct buffer buffer;
	arena_init(&arena, 0);
	encoded(&arena, &buffer);
	size_t refused = 0;
	for (size_t at = 0; at < 400; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			struct arena scratch;
			struct version *version;
			arena_init(&scratch, 0);
			buffer.data[at] = (char)(buffer.data[at] ^ (1 << bit));
			int result = version_decode(buffer.data, buffer.length, &scratch, &version);
			if (result < 0) {
				assert_int_equal(result, -FL_ECORRUPT);
				refused++;
			} else {
				struct buffer again;
				buffer_init(&again, 0);
				version_encode(version, &again);
				assert_int_equal(again.length, buffer.length);
				assert_memory_equal(again.data, buffer.data, buffer.length);
				buffer_done(&again);
			}
			buffer.data[at] = (char)(buffer.data[at] ^ (1 << bit));
			arena_done(&scratch);
		}
	}
	assert_true(refused > 500);
	buffer_done(&buffer);
	arena_done(&arena);
}

static void decoding_stops_at_the_arena_limit(void **state)
{
	(void)state;
	struct arena arena;
	struct buffer buffer;
	arena_init(&arena, 0);
	encoded(&arena, &buffer);
	int result = -ENOMEM;
	for (size_t limit = 16; result == -ENOMEM; limit += 16) {
		struct arena scratch;
		struct version *version;
		arena_init(&scratch, limit);
		result = version_decode(buffer.data, buffer.length, &scratch, &version);
		assert_true(result == 0 || result == -ENOMEM);
		arena_done(&scratch);
	}
	buffer_done(&buffer);
	arena_done(&arena);
}

/* What is not the version's own makes no new one; everything else does. */
static void matching_ignores_order_and_policy(void **state)
{
	(void)state;
	struct arena arena;
	arena_init(&arena, 0);
	struct version *version = build(1, NULL, &arena);
	struct backend swapped = backends[0];
	backends[0] = backends[1];
	backends[1] = swapped;
	service.ttl_seconds = 77;
	service.drain_limit_ms = 1;
	assert_true(version_matches(version, &fabric, &service));

	backends[0].weight++;
	assert_false(version_matches(version, &fabric, &service));
	backends[0].weight--;
	listeners[0].port++;
	assert_false(version_matches(version, &fabric, &service));
	listeners[0].port--;
	service.ports[0].last++;
	assert_false(version_matches(version, &fabric, &service));
	service.ports[0].last--;
	fabric.site_count--;
	assert_false(version_matches(version, &fabric, &service));
	fabric.site_count++;
	backends[2].site = "fra";
	assert_false(version_matches(version, &fabric, &service));
	backends[2].site = "nyc";
	backends[2].name = "web4";
	assert_false(version_matches(version, &fabric, &service));
	backends[2].name = "web3";
	assert_true(version_matches(version, &fabric, &service));
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(versions_copy_and_sort, build_fabric),
	    cmocka_unit_test_setup(rings_follow_the_previous_version, build_fabric),
	    cmocka_unit_test_setup(seeds_stay_by_source_alone, build_fabric),
	    cmocka_unit_test_setup(impossible_services_are_refused, build_fabric),
	    cmocka_unit_test_setup(running_out_of_memory_is_an_error, build_fabric),
	    cmocka_unit_test_setup(digests_cover_everything, build_fabric),
	    cmocka_unit_test_setup(old_versions_keep_their_digest, build_fabric),
	    cmocka_unit_test_setup(formats_and_algorithms_go_together, build_fabric),
	    cmocka_unit_test_setup(bytes_come_back_as_they_went, build_fabric),
	    cmocka_unit_test_setup(a_backend_without_a_landing_has_a_format, build_fabric),
	    cmocka_unit_test_setup(truncated_bytes_are_refused, build_fabric),
	    cmocka_unit_test_setup(changed_bytes_are_refused_or_canonical, build_fabric),
	    cmocka_unit_test_setup(decoding_stops_at_the_arena_limit, build_fabric),
	    cmocka_unit_test_setup(matching_ignores_order_and_policy, build_fabric),
	};
	return cmocka_run_group_tests_name("version", tests, NULL, NULL);
}
