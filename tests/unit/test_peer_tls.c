/* SPDX-License-Identifier: Apache-2.0 */
/* Two ends of TLS in memory: who gets through to whom, and what each is told who does not. */
#include "../peer_world.h"
#include "../seed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW PEER_WORLD_NOW

struct ends {
	struct peer_tls *client, *server;
	struct buffer to_client, to_server; /* plaintext that arrived */
	uint64_t client_s, server_s; /* their clocks */
	size_t step; /* most bytes of one delivery */
};

/* True when bytes moved. */
static bool carry(struct peer_tls *from, struct peer_tls *to, uint64_t now_s, size_t step,
		  struct buffer *plain)
{
	size_t length;
	const void *bytes = peer_tls_output(from, &length);
	if (!bytes)
		return false;
	if (length > step)
		length = step;
	peer_tls_take(to, bytes, length, now_s, plain);
	peer_tls_sent(from, length);
	return true;
}

static void run(struct ends *ends)
{
	for (bool moved = true; moved;) {
		moved =
		    carry(ends->client, ends->server, ends->server_s, ends->step, &ends->to_server);
		moved = carry(ends->server, ends->client, ends->client_s, ends->step,
			      &ends->to_client) ||
			moved;
	}
}

static void meet(struct ends *ends, struct peer_tls *client, struct peer_side *server)
{
	*ends = (struct ends){.client = client,
			      .server = peer_tls_new_server(server),
			      .client_s = NOW,
			      .server_s = NOW,
			      .step = SIZE_MAX};
	buffer_init(&ends->to_client, 0);
	buffer_init(&ends->to_server, 0);
}

static void part(struct ends *ends)
{
	peer_tls_free(ends->client);
	peer_tls_free(ends->server);
	buffer_done(&ends->to_client);
	buffer_done(&ends->to_server);
}

static void expect_open(struct ends *ends, enum peer_way way)
{
	if (peer_tls_phase(ends->client) != PEER_TLS_OPEN)
		fail_msg("client: %s", peer_tls_sentence(ends->client));
	if (peer_tls_phase(ends->server) != PEER_TLS_OPEN)
		fail_msg("server: %s", peer_tls_sentence(ends->server));
	assert_int_equal(peer_tls_way(ends->server), way);
	peer_tls_put(ends->client, "ask", 3);
	peer_tls_put(ends->server, "answer", 6);
	run(ends);
	assert_int_equal(ends->to_server.length, 3);
	assert_memory_equal(ends->to_client.data, "answer", 6);
}

static void expect_fault(const struct peer_tls *tls, enum peer_tls_fault fault,
			 enum peer_verdict verdict, const char *words)
{
	assert_int_equal(peer_tls_phase(tls), PEER_TLS_FAILED);
	if (!strstr(peer_tls_sentence(tls), words))
		fail_msg("\"%s\" is not in: %s", words, peer_tls_sentence(tls));
	assert_int_equal(peer_tls_fault(tls), fault);
	assert_int_equal(peer_tls_verdict(tls), verdict);
}

struct world {
	struct world_authority ca, new_ca, other;
	struct peer_side *a, *b;
};

static int setup(void **state)
{
	struct world *world = malloc(sizeof(*world));
	assert_non_null(world);
	world_authority_make(&world->ca, "example", 1);
	world_authority_make(&world->new_ca, "example", 2);
	world_authority_make(&world->other, "elsewhere", 3);
	world->a = world_side(&world->ca, NULL, "node-a", 4, NOW);
	world->b = world_side(&world->ca, NULL, "node-b", 5, NOW);
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;
	peer_side_unref(world->a);
	peer_side_unref(world->b);
	world_authority_done(&world->ca);
	world_authority_done(&world->new_ca);
	world_authority_done(&world->other);
	free(world);
	return 0;
}

static void test_members(void **state)
{
	struct world *world = *state;
	for (size_t step = 1; step < 3000; step += 999) {
		struct ends ends;
		meet(&ends, peer_tls_new_client(world->a, PEER_WAY_MEMBER, "node-b"), world->b);
		ends.step = step;
		run(&ends);
		expect_open(&ends, PEER_WAY_MEMBER);
		assert_string_equal(peer_tls_certificate(ends.server)->node, "node-a");
		assert_string_equal(peer_tls_certificate(ends.client)->node, "node-b");
		assert_memory_equal(peer_tls_key(ends.server),
				    peer_tls_certificate(ends.server)->key, KEY_BYTES);
		peer_tls_close(ends.client);
		run(&ends);
		assert_int_equal(peer_tls_phase(ends.server), PEER_TLS_CLOSED);
		part(&ends);
	}
}

/* Much at once, both ways, in pieces that cut records anywhere. */
static void test_bulk(void **state)
{
	struct world *world = *state;
	struct ends ends;
	struct buffer sent;
	meet(&ends, peer_tls_new_client(world->a, PEER_WAY_MEMBER, NULL), world->b);
	run(&ends);
	buffer_init(&sent, 0);
	for (unsigned i = 0; i < 200000; i++)
		buffer_append(&sent, &i, sizeof(i));
	peer_tls_put(ends.client, sent.data, sent.length);
	peer_tls_put(ends.server, sent.data, sent.length);
	ends.step = 7001;
	run(&ends);
	assert_int_equal(ends.to_server.length, sent.length);
	assert_memory_equal(ends.to_server.data, sent.data, sent.length);
	assert_memory_equal(ends.to_client.data, sent.data, sent.length);
	buffer_done(&sent);
	part(&ends);
}

static void test_server_is_not_who_was_meant(void **state)
{
	struct world *world = *state;
	struct ends ends;
	meet(&ends, peer_tls_new_client(world->a, PEER_WAY_MEMBER, "node-c"), world->b);
	run(&ends);
	expect_fault(ends.client, PEER_TLS_FAULT_CERTIFICATE, PEER_VERDICT_OTHER_NAME,
		     "another node's");
	expect_fault(ends.server, PEER_TLS_FAULT_REFUSED, PEER_VERDICT_GOOD,
		     "expected another node's");
	part(&ends);
}

static void test_other_fabric(void **state)
{
	struct world *world = *state;
	struct peer_side *stranger = world_side(&world->other, NULL, "node-a", 6, NOW);
	struct ends ends;
	meet(&ends, peer_tls_new_client(stranger, PEER_WAY_MEMBER, NULL), world->b);
	run(&ends);
	expect_fault(ends.client, PEER_TLS_FAULT_CERTIFICATE, PEER_VERDICT_STRANGER,
		     "of another fabric");
	expect_fault(ends.server, PEER_TLS_FAULT_REFUSED, PEER_VERDICT_GOOD, "of another fabric");
	part(&ends);
	/* It trusts us, we do not trust it. */
	peer_side_unref(stranger);
	stranger = world_side(&world->new_ca, &world->ca, "node-a", 6, NOW);
	meet(&ends, peer_tls_new_client(stranger, PEER_WAY_MEMBER, NULL), world->b);
	run(&ends);
	expect_fault(ends.server, PEER_TLS_FAULT_CERTIFICATE, PEER_VERDICT_STRANGER,
		     "of another fabric");
	expect_fault(ends.client, PEER_TLS_FAULT_REFUSED, PEER_VERDICT_GOOD, "trusts the CA");
	peer_side_unref(stranger);
	part(&ends);
}

/* During a rotation everybody trusts both, and each end may show a certificate of either. */
static void test_rotation(void **state)
{
	struct world *world = *state;
	struct peer_side *old = world_side(&world->ca, &world->new_ca, "node-a", 6, NOW);
	struct peer_side *new = world_side(&world->new_ca, &world->ca, "node-b", 7, NOW);
	struct peer_side *last = world_side(&world->new_ca, NULL, "node-c", 8, NOW);
	struct peer_side *const pairs[][2] = {{old, new}, {new, old}, {new, last}, {last, new}};
	struct ends ends;
	for (size_t i = 0; i < 4; i++) {
		meet(&ends, peer_tls_new_client(pairs[i][0], PEER_WAY_MEMBER, NULL), pairs[i][1]);
		run(&ends);
		expect_open(&ends, PEER_WAY_MEMBER);
		part(&ends);
	}
	meet(&ends, peer_tls_new_client(last, PEER_WAY_MEMBER, NULL), old);
	run(&ends);
	expect_fault(ends.client, PEER_TLS_FAULT_CERTIFICATE, PEER_VERDICT_STRANGER, "no more");
	part(&ends);
	peer_side_unref(old);
	peer_side_unref(new);
	peer_side_unref(last);
}

static void test_clocks(void **state)
{
	struct world *world = *state;
	struct ends ends;
	meet(&ends, peer_tls_new_client(world->a, PEER_WAY_MEMBER, NULL), world->b);
	ends.server_s = NOW + 31 * 86400;
	run(&ends);
	expect_fault(ends.server, PEER_TLS_FAULT_CERTIFICATE, PEER_VERDICT_EXPIRED, "has expired");
	expect_fault(ends.client, PEER_TLS_FAULT_REFUSED, PEER_VERDICT_GOOD, "has expired");
	part(&ends);
	meet(&ends, peer_tls_new_client(world->a, PEER_WAY_MEMBER, NULL), world->b);
	ends.server_s = NOW - 86400;
	run(&ends);
	expect_fault(ends.server, PEER_TLS_FAULT_CERTIFICATE, PEER_VERDICT_NOT_YET,
		     "not valid yet");
	expect_fault(ends.client, PEER_TLS_FAULT_REFUSED, PEER_VERDICT_GOOD, "not valid yet");
	part(&ends);
	meet(&ends, peer_tls_new_client(world->a, PEER_WAY_MEMBER, NULL), world->b);
	ends.client_s = NOW - 86400;
	run(&ends);
	expect_fault(ends.client, PEER_TLS_FAULT_CERTIFICATE, PEER_VERDICT_NOT_YET,
		     "not valid yet");
	part(&ends);
}

static struct peer_side *joiner(const char *fabric, const struct world_authority *ca)
{
	struct random random;
	struct evp_pkey_st *pair;
	struct digest hash;
	struct wire_bytes der = world_authority_bytes(ca);
	random_init_seeded(&random, 9);
	assert_int_equal(key_pair_make(&pair), 0);
	peer_ca_hash(&der, &hash);
	struct peer_side *side = peer_side_new_joiner(pair, fabric, &hash, &random, NOW);
	key_pair_free(pair);
	return side;
}

static void test_joiner(void **state)
{
	struct world *world = *state;
	struct peer_side *side = joiner("example", &world->ca);
	struct ends ends;
	meet(&ends, peer_tls_new_client(side, PEER_WAY_JOIN, NULL), world->b);
	run(&ends);
	expect_open(&ends, PEER_WAY_JOIN);
	assert_string_equal(peer_tls_certificate(ends.client)->node, "node-b");
	assert_string_equal(peer_tls_certificate(ends.server)->node, "");
	part(&ends);
	peer_side_unref(side);

	/* A member whose certificate has expired comes back by the same way. */
	struct peer_side *late = world_side(&world->ca, NULL, "node-a", 4, NOW - 90 * 86400);
	meet(&ends, peer_tls_new_client(late, PEER_WAY_JOIN, "node-b"), world->b);
	run(&ends);
	expect_open(&ends, PEER_WAY_JOIN);
	part(&ends);
	peer_side_unref(late);
}

/* The joiner finds out before it has sent a byte of plaintext. */
static void test_joiner_at_the_wrong_door(void **state)
{
	struct world *world = *state;
	struct peer_side *const sides[] = {
	    joiner("example", &world->other), /* another CA's hash */
	    joiner("elsewhere", &world->ca), /* the hash, but the fabric is another */
	    joiner("example", &world->new_ca),
	};
	for (size_t i = 0; i < 3; i++) {
		struct ends ends;
		meet(&ends, peer_tls_new_client(sides[i], PEER_WAY_JOIN, NULL), world->b);
		run(&ends);
		expect_fault(ends.client, PEER_TLS_FAULT_CERTIFICATE, PEER_VERDICT_STRANGER,
			     "of another fabric");
		assert_int_equal(ends.to_server.length, 0);
		part(&ends);
		peer_side_unref(sides[i]);
	}
	/* A server that shows the right CA's certificate beside one that this CA did not sign. */
	struct peer_side *thief = world_side(&world->new_ca, &world->ca, "node-b", 6, NOW);
	struct peer_side *side = joiner("example", &world->ca);
	struct ends ends;
	meet(&ends, peer_tls_new_client(side, PEER_WAY_JOIN, NULL), thief);
	run(&ends);
	expect_fault(ends.client, PEER_TLS_FAULT_CERTIFICATE, PEER_VERDICT_STRANGER, "another");
	part(&ends);
	peer_side_unref(side);
	peer_side_unref(thief);
}

/* A client without a member's certificate gets in as a member by no trick of its own. */
static void test_joiner_is_no_member(void **state)
{
	struct world *world = *state;
	struct peer_side *late = world_side(&world->ca, NULL, "node-a", 4, NOW - 90 * 86400);
	struct ends ends;
	meet(&ends, peer_tls_new_client(late, PEER_WAY_MEMBER, NULL), world->b);
	run(&ends);
	expect_fault(ends.server, PEER_TLS_FAULT_CERTIFICATE, PEER_VERDICT_EXPIRED, "expired");
	part(&ends);
	peer_side_unref(late);
}

static void test_garbage(void **state)
{
	struct world *world = *state;
	static const char *const words[] = {"GET / HTTP/1.1\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n",
					    "\x16\x03\x01\xff\xff", "\0\0\0\x10hello"};
	uint64_t seed = seed_choose(23);
	struct random random;
	struct buffer plain;
	random_init_seeded(&random, seed);
	buffer_init(&plain, 0);
	for (size_t i = 0; i < 4; i++) {
		struct peer_tls *tls = peer_tls_new_server(world->b);
		peer_tls_take(tls, words[i], strlen(words[i]) + 1, NOW, &plain);
		for (unsigned n = 0; n < 64 && peer_tls_phase(tls) == PEER_TLS_HANDSHAKE; n++) {
			char noise[1024];
			random_fill(&random, noise, sizeof(noise));
			peer_tls_take(tls, noise, sizeof(noise), NOW, &plain);
		}
		assert_int_equal(peer_tls_phase(tls), PEER_TLS_FAILED);
		assert_true(*peer_tls_sentence(tls));
		peer_tls_free(tls);
	}
	assert_int_equal(plain.length, 0);
}

/* One byte of what a client sends is changed, anywhere: the server never opens by it, or only
 * where the byte stands after what counts. */
static void test_changed_byte(void **state)
{
	struct world *world = *state;
	for (size_t at = 0; at < 1200; at += 37) {
		struct ends ends;
		size_t length, seen = 0;
		const char *bytes;
		bool changed = false;
		meet(&ends, peer_tls_new_client(world->a, PEER_WAY_MEMBER, NULL), world->b);
		while ((bytes = peer_tls_output(ends.client, &length))) {
			char *copy = malloc(length);
			assert_non_null(copy);
			memcpy(copy, bytes, length);
			if (at >= seen && at < seen + length) {
				copy[at - seen] = (char)(copy[at - seen] ^ 4);
				changed = true;
			}
			seen += length;
			peer_tls_take(ends.server, copy, length, NOW, &ends.to_server);
			peer_tls_sent(ends.client, length);
			free(copy);
			carry(ends.server, ends.client, NOW, SIZE_MAX, &ends.to_client);
		}
		if (changed && at > 5 && peer_tls_phase(ends.server) == PEER_TLS_OPEN)
			fail_msg("byte %zu of %zu is changed, and the server is open", at, seen);
		part(&ends);
	}
}

/* What one session recorded opens no other, and a record that comes twice ends its session. */
static void test_replay(void **state)
{
	struct world *world = *state;
	struct ends ends;
	struct buffer record;
	size_t length;
	meet(&ends, peer_tls_new_client(world->a, PEER_WAY_MEMBER, NULL), world->b);
	buffer_init(&record, 0);
	for (bool moved = true; moved;) {
		const void *bytes = peer_tls_output(ends.client, &length);
		buffer_append(&record, bytes, bytes ? length : 0);
		moved = carry(ends.client, ends.server, NOW, SIZE_MAX, &ends.to_server);
		moved = carry(ends.server, ends.client, NOW, SIZE_MAX, &ends.to_client) || moved;
	}
	assert_int_equal(peer_tls_phase(ends.server), PEER_TLS_OPEN);
	struct peer_tls *again = peer_tls_new_server(world->b);
	peer_tls_take(again, record.data, record.length, NOW, &ends.to_server);
	assert_int_equal(peer_tls_phase(again), PEER_TLS_FAILED);
	peer_tls_free(again);

	peer_tls_put(ends.client, "once", 4);
	const void *bytes = peer_tls_output(ends.client, &length);
	buffer_clear(&record);
	buffer_append(&record, bytes, length);
	run(&ends);
	assert_int_equal(ends.to_server.length, 4);
	peer_tls_take(ends.server, record.data, record.length, NOW, &ends.to_server);
	assert_int_equal(ends.to_server.length, 4);
	assert_int_equal(peer_tls_phase(ends.server), PEER_TLS_FAILED);
	buffer_done(&record);
	part(&ends);
}

static void test_parts_that_do_not_belong_together(void **state)
{
	struct world *world = *state;
	struct evp_pkey_st *pair, *another;
	struct peer_side *side = NULL;
	struct error err = {0};
	struct wire_bytes ca = world_authority_bytes(&world->ca);
	assert_int_equal(key_pair_make(&pair), 0);
	assert_int_equal(key_pair_make(&another), 0);
	struct buffer leaf = world_issue(&world->ca, pair, "node-a", NOW);
	struct wire_bytes der = {.data = leaf.data, .length = leaf.length};
	assert_int_equal(peer_side_new(another, "example", &der, &ca, 1, &side, &err),
			 -FL_EINVALID);
	assert_int_equal(peer_side_new(world->ca.pair, "example", &ca, &ca, 1, &side, &err),
			 -FL_EINVALID);
	ca = world_authority_bytes(&world->new_ca);
	assert_int_equal(peer_side_new(pair, "example", &der, &ca, 1, &side, &err), -FL_EINVALID);
	assert_null(side);
	buffer_done(&leaf);
	key_pair_free(pair);
	key_pair_free(another);
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_WORLD(test_members),
	    WITH_WORLD(test_bulk),
	    WITH_WORLD(test_server_is_not_who_was_meant),
	    WITH_WORLD(test_other_fabric),
	    WITH_WORLD(test_rotation),
	    WITH_WORLD(test_clocks),
	    WITH_WORLD(test_joiner),
	    WITH_WORLD(test_joiner_at_the_wrong_door),
	    WITH_WORLD(test_joiner_is_no_member),
	    WITH_WORLD(test_garbage),
	    WITH_WORLD(test_changed_byte),
	    WITH_WORLD(test_replay),
	    WITH_WORLD(test_parts_that_do_not_belong_together),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
