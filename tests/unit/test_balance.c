/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `balance_by: source` promises: from version to version a client keeps its backend while that
 * is there, but for what the shares of the others take. Versions are built by the model, and
 * clients find their backends by the hash that edges run.
 */
#include "base/random.h"
#include "dataplane/pick_key.h"
#include "model/version.h"
#include "tests/seed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define CLIENTS 20000 /* of each family */
#define MOST 11

static struct random drawn;
static struct backend backends[MOST];
static char names[MOST][8];
static struct site site = {.name = "fra"};
static struct service service = {.name = "web",
				 .ports = {{.protocol = SERVICE_TCP, .first = 80, .last = 80}},
				 .port_count = 1,
				 .backends = backends};
static struct fabric fabric = {
    .name = "example", .sites = &site, .site_count = 1, .services = &service, .service_count = 1};
static struct arena arena;

static void name_backend(size_t i, unsigned number)
{
	snprintf(names[i], sizeof(names[i]), "web%02u", number);
	backends[i] = (struct backend){
	    .name = names[i], .site = "fra", .address = {.family = IP_V4}, .weight = 10};
}

static int set_up(void **state)
{
	(void)state;
	arena_init(&arena, 0);
	service.balance_by = BALANCE_SOURCE;
	service.backend_count = 10;
	for (unsigned i = 0; i < 10; i++)
		name_backend(i, 10 + i);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	arena_done(&arena);
	return 0;
}

static const struct version *build(uint32_t number, const struct version *previous)
{
	struct version *version;
	assert_int_equal(
	    version_build(&fabric, &service, number, previous, &drawn, &arena, &version, NULL), 0);
	return version;
}

struct client {
	bool is_v6;
	uint8_t source[16];
};

/* The backend that a connection of the client from some port or, over IPv6, some address of its /64
 * is led to. */
static const char *backend_of(const struct version *version, const struct client *client)
{
	struct pick_key key;
	struct pick_key6 key6;
	uint8_t source[16], ports[4];
	memcpy(source, client->source, sizeof(source));
	if (client->is_v6)
		random_fill(&drawn, source + 8, 8);
	random_fill(&drawn, ports, sizeof(ports));
	pick_key_expand(version->seed, version->balance_by == BALANCE_SOURCE, &key, &key6);
	uint64_t hash = client->is_v6 ? pick_hash6(&key, &key6, source, ports)
				      : pick_hash4(&key, source, ports);
	const struct ring *ring = &version->rings[0].ring;
	return version->backends[ring->entries[pick_index(hash, ring->length)]].name;
}

static bool is_there(const char *name)
{
	return service_backend(&service, name) != NULL;
}

/* Of the clients whose backend is still there, how many have another one; and how many there are.
 */
static size_t count_moved(const struct version *before, const struct version *after,
			  size_t *ret_stayers)
{
	size_t moved = 0;
	*ret_stayers = 0;
	for (size_t i = 0; i < 2 * (size_t)CLIENTS; i++) {
		struct client client = {.is_v6 = i % 2};
		random_fill(&drawn, client.source, sizeof(client.source));
		const char *was = backend_of(before, &client);
		assert_string_equal(backend_of(before, &client), was);
		if (!is_there(was))
			continue;
		++*ret_stayers;
		moved += strcmp(backend_of(after, &client), was) != 0;
	}
	return moved;
}

/* One of ten is replaced by another of the same weight, wherever its name sorts: at least 99 of 100
 * clients of the others keep theirs. */
static void a_replacement_moves_nobody_else(void **state)
{
	(void)state;
	for (unsigned place = 0; place < 10; place++) {
		const struct version *before = build(1, NULL);
		name_backend(place, place % 2 ? 1 : 99);
		const struct version *after = build(2, before);
		size_t stayers;
		size_t moved = count_moved(before, after, &stayers);
		assert_true(stayers > CLIENTS);
		if (moved * 100 > stayers)
			fail_msg("%zu of %zu clients lost their backends", moved, stayers);
		name_backend(place, 10 + place);
	}
}

/* One joins ten: it takes an eleventh, and who does not go to it keeps the backend. */
static void a_newcomer_takes_its_share_alone(void **state)
{
	(void)state;
	const struct version *before = build(1, NULL);
	name_backend(10, 50);
	service.backend_count = 11;
	const struct version *after = build(2, before);
	size_t stayers;
	size_t moved = count_moved(before, after, &stayers);
	assert_int_equal(stayers, 2 * CLIENTS);
	/* 40000 / 11 = 3636; the deviation is 57. */
	assert_in_range(moved, 3636 - 10 * 57, 3636 + 10 * 57);
	for (size_t i = 0; i < CLIENTS; i++) {
		struct client client = {.is_v6 = false};
		random_fill(&drawn, client.source, 4);
		const char *is = backend_of(after, &client);
		assert_true(strcmp(is, "web50") == 0 ||
			    strcmp(is, backend_of(before, &client)) == 0);
	}
}

/* A backend that dies, in the effective ring, moves its own clients; the version that is made
 * without it then moves no other. */
static void a_death_and_the_version_after_it(void **state)
{
	(void)state;
	static uint16_t effective[RING_MAX_ENTRIES];
	const struct version *before = build(1, NULL);
	bool ejected[MOST] = {[3] = true};
	(void)ring_effective(&before->rings[0].ring, before->seed, ejected, effective);
	struct version forwarding = *before;
	struct version_ring ring = before->rings[0];
	forwarding.rings = &ring;
	ring.ring.entries = effective;
	name_backend(3, 19); /* in the place of the last one, which goes out of the list */
	service.backend_count = 9;
	const struct version *after = build(2, before);
	size_t stayers;
	assert_int_equal(count_moved(before, &forwarding, &stayers), 0);
	assert_true(count_moved(before, after, &stayers) * 100 < stayers);
}

/* By flow, a client's next connection goes anywhere: else the tests above would say nothing. */
static void by_flow_nobody_is_kept(void **state)
{
	(void)state;
	service.balance_by = BALANCE_FLOW;
	const struct version *version = build(1, NULL);
	struct client client = {.is_v6 = false};
	bool seen[10] = {false};
	for (int i = 0; i < 2000; i++)
		seen[backend_of(version, &client)[4] - '0'] = true;
	for (size_t i = 0; i < 10; i++)
		assert_true(seen[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_replacement_moves_nobody_else, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_newcomer_takes_its_share_alone, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_death_and_the_version_after_it, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(by_flow_nobody_is_kept, set_up, tear_down),
	};
	random_init_seeded(&drawn, seed_choose((uint64_t)time(NULL)));
	return cmocka_run_group_tests_name("balance", tests, NULL, NULL);
}
