/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two sessions in memory, under a clock that the test moves: how they come up, what passes, and
 * each way in which they end.
 */
#include "../peer_world.h"
#include "../seed.h"
#include "peer/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WALL_MS (PEER_WORLD_NOW * 1000)

/* One end, its owner, and what the owner was told. */
struct end {
	struct peer_session *session;
	bool accepts; /* a hello, at once */
	bool deaf; /* takes nothing from the network */
	unsigned ups, frames, joins, hellos, ends;
	enum peer_session_end how;
	uint64_t parting;
	char sentence[512];
	char proof[64];
	struct buffer last; /* frame */
	size_t arrived; /* bytes of frames */
};

struct link {
	struct world_authority ca;
	struct peer_side *sides[2];
	struct end ends[2]; /* the client's, the server's */
	struct peer_now now;
	bool cut; /* nothing passes, and nobody is told */
};

static const struct peer_greeting greetings[] = {
    {.node = "node-a", .boot_id = "boot-a", .instance = "1"},
    {.node = "node-b", .boot_id = "boot-b", .instance = "2"},
};

static void take_events(struct end *end, struct peer_now now)
{
	struct peer_session_event event;
	while (peer_session_next(end->session, now, &event)) {
		assert_int_equal(end->ends, 0);
		switch (event.kind) {
		case PEER_EVENT_HELLO:
			end->hellos++;
			if (end->accepts)
				peer_session_accept(end->session, now);
			break;
		case PEER_EVENT_UP:
			end->ups++;
			break;
		case PEER_EVENT_JOIN:
			end->joins++;
			buffer_clear(&end->last);
			buffer_append(&end->last, event.frame, event.length);
			break;
		case PEER_EVENT_FRAME:
			end->frames++;
			end->arrived += event.length;
			buffer_clear(&end->last);
			buffer_append(&end->last, event.frame, event.length);
			break;
		case PEER_EVENT_ENDED:
			end->ends++;
			end->how = event.end;
			end->parting = event.parting;
			snprintf(end->sentence, sizeof(end->sentence), "%s", event.sentence);
			memcpy(end->proof, event.proof.data ? event.proof.data : "",
			       event.proof.length);
			break;
		}
	}
}

static bool carry(struct link *link, struct end *from, struct end *to)
{
	size_t length;
	const void *bytes = peer_session_output(from->session, link->now, &length);
	if (!bytes || to->deaf)
		return false;
	if (!link->cut)
		peer_session_take(to->session, bytes, length, link->now);
	peer_session_sent(from->session, length);
	take_events(to, link->now);
	return true;
}

static void settle(struct link *link)
{
	take_events(&link->ends[0], link->now);
	take_events(&link->ends[1], link->now);
	for (bool moved = true; moved;) {
		moved = carry(link, &link->ends[0], &link->ends[1]);
		moved = carry(link, &link->ends[1], &link->ends[0]) || moved;
	}
}

/* Time passes in small steps; each end ticks when it is due, and bytes pass. */
static void pass(struct link *link, uint64_t ms)
{
	for (uint64_t end = link->now.now_ms + ms; link->now.now_ms < end;) {
		link->now.now_ms += 50;
		link->now.wall_ms += 50;
		for (int i = 0; i < 2; i++)
			if (link->now.now_ms >= peer_session_due_ms(link->ends[i].session))
				peer_session_tick(link->ends[i].session, link->now);
		settle(link);
	}
}

static void begin(struct link *link, enum peer_way way, const char *node)
{
	link->ends[0].session =
	    peer_session_new_client(link->sides[0], way, node, &greetings[0], link->now);
	link->ends[1].session = peer_session_new_server(link->sides[1], &greetings[1], link->now);
	for (int i = 0; i < 2; i++) {
		link->ends[i].accepts = true;
		buffer_init(&link->ends[i].last, 0);
	}
}

static void end(struct link *link)
{
	for (int i = 0; i < 2; i++) {
		peer_session_free(link->ends[i].session);
		buffer_done(&link->ends[i].last);
		memset(&link->ends[i], 0, sizeof(link->ends[i]));
	}
	link->cut = false;
}

static int setup(void **state)
{
	struct link *link = calloc(1, sizeof(*link));
	assert_non_null(link);
	world_authority_make(&link->ca, "example", 1);
	link->sides[0] = world_side(&link->ca, NULL, "node-a", 4, PEER_WORLD_NOW);
	link->sides[1] = world_side(&link->ca, NULL, "node-b", 5, PEER_WORLD_NOW);
	link->now = (struct peer_now){.now_ms = 1000000, .wall_ms = WALL_MS};
	*state = link;
	return 0;
}

static int teardown(void **state)
{
	struct link *link = *state;
	end(link);
	peer_side_unref(link->sides[0]);
	peer_side_unref(link->sides[1]);
	world_authority_done(&link->ca);
	free(link);
	return 0;
}

static struct buffer encode(const struct peer_message *message)
{
	struct buffer frame;
	struct error err = {0};
	buffer_init(&frame, 0);
	if (peer_encode(message, &frame, &err) < 0)
		fail_msg("%s", err.text);
	return frame;
}

static bool send(struct link *link, int from, const struct peer_message *message)
{
	struct buffer frame = encode(message);
	bool sent =
	    peer_session_send(link->ends[from].session, frame.data, frame.length, link->now);
	buffer_done(&frame);
	return sent;
}

/* A frame of about `length` bytes. */
static struct peer_message bulky(size_t length)
{
	static char bytes[1u << 20];
	static struct peer_record record;
	memset(bytes, 'x', sizeof(bytes));
	record = (struct peer_record){.key = "k", .value = {.data = bytes, .length = length}};
	return (struct peer_message){.number = PEER_STORE_PAGE,
				     .store_page = {.call = 1, .records = {&record, 1}}};
}

static const struct peer_message small = {.number = PEER_HEARD, .heard = {.interval_ms = 7}};

static void expect_end(const struct end *end, enum peer_session_end how, const char *words)
{
	assert_int_equal(end->ends, 1);
	if (end->how != how || !strstr(end->sentence, words))
		fail_msg("%s: %s", peer_session_end_text(end->how), end->sentence);
}

static void come_up(struct link *link)
{
	begin(link, PEER_WAY_MEMBER, "node-b");
	settle(link);
	assert_int_equal(link->ends[0].ups, 1);
	assert_int_equal(link->ends[1].ups, 1);
}

static void test_up_and_frames(void **state)
{
	struct link *link = *state;
	come_up(link);
	const struct peer_session_other *other = peer_session_other(link->ends[1].session);
	assert_string_equal(other->node, "node-a");
	assert_string_equal(other->boot_id, "boot-a");
	assert_string_equal(other->instance, "1");
	assert_int_equal(other->level, PEER_LEVEL);
	assert_string_equal(peer_session_other(link->ends[0].session)->node, "node-b");
	for (size_t length = 0; length < 1000000; length = length * 3 + 1) {
		struct peer_message message = bulky(length);
		struct buffer frame = encode(&message);
		for (int i = 0; i < 2; i++) {
			assert_true(peer_session_send(link->ends[i].session, frame.data,
						      frame.length, link->now));
			assert_true(peer_session_send(link->ends[i].session, frame.data,
						      frame.length, link->now));
			settle(link);
			assert_memory_equal(link->ends[!i].last.data, frame.data, frame.length);
			assert_int_equal(peer_session_queued(link->ends[i].session), 0);
		}
		buffer_done(&frame);
	}
	assert_int_equal(link->ends[0].frames, link->ends[1].frames);
	assert_int_equal(peer_session_counts(link->ends[0].session)->frames_in,
			 peer_session_counts(link->ends[1].session)->frames_out);
	assert_int_equal(link->ends[0].ends, 0);
}

/* Nothing is up, for either, before the server's owner has said so. */
static void test_up_when_accepted(void **state)
{
	struct link *link = *state;
	begin(link, PEER_WAY_MEMBER, NULL);
	link->ends[1].accepts = false;
	assert_false(send(link, 0, &small));
	settle(link);
	assert_int_equal(link->ends[1].hellos, 1);
	assert_int_equal(link->ends[0].hellos + link->ends[0].ups + link->ends[1].ups, 0);
	peer_session_accept(link->ends[1].session, link->now);
	settle(link);
	assert_int_equal(link->ends[0].ups, 1);
	assert_int_equal(link->ends[1].ups, 1);
}

static void test_refused_with_proof(void **state)
{
	struct link *link = *state;
	const struct wire_bytes proof = {.data = "entry", .length = 5};
	begin(link, PEER_WAY_MEMBER, NULL);
	link->ends[1].accepts = false;
	settle(link);
	peer_session_part(link->ends[1].session, PEER_PARTING_REMOVED, "you were removed", &proof,
			  link->now);
	settle(link);
	expect_end(&link->ends[0], PEER_END_PARTED, "you were removed");
	assert_int_equal(link->ends[0].parting, PEER_PARTING_REMOVED);
	assert_string_equal(link->ends[0].proof, "entry");
	expect_end(&link->ends[1], PEER_END_OWN, "you were removed");
	assert_int_equal(link->ends[0].ups, 0);
	assert_true(peer_session_over(link->ends[1].session, link->now));
	assert_true(peer_session_over(link->ends[0].session, link->now));
}

static void test_parting_after_what_was_said(void **state)
{
	struct link *link = *state;
	come_up(link);
	struct peer_message message = bulky(300000);
	assert_true(send(link, 0, &message));
	peer_session_part(link->ends[0].session, PEER_PARTING_STOP, "it stops", NULL, link->now);
	assert_false(send(link, 0, &message));
	settle(link);
	assert_int_equal(link->ends[1].frames, 1);
	expect_end(&link->ends[1], PEER_END_PARTED, "it stops");
	assert_int_equal(link->ends[1].parting, PEER_PARTING_STOP);
}

static void test_beats(void **state)
{
	struct link *link = *state;
	come_up(link);
	pass(link, 60000);
	assert_int_equal(link->ends[0].ends + link->ends[1].ends, 0);
	assert_int_equal(link->ends[0].frames, 0);
	assert_true(peer_session_other(link->ends[0].session)->ahead_ms <= 0);
	/* Traffic in one direction only: the other side beats, and lives. */
	for (unsigned i = 0; i < 100; i++) {
		assert_true(send(link, 0, &small));
		pass(link, 100);
	}
	assert_int_equal(link->ends[0].ends + link->ends[1].ends, 0);
	assert_int_equal(link->ends[1].frames, 100);
}

static void test_half_open(void **state)
{
	struct link *link = *state;
	come_up(link);
	pass(link, 5000);
	link->cut = true;
	pass(link, PEER_SILENCE_MS - PEER_BEAT_MS - 100);
	assert_int_equal(link->ends[0].ends + link->ends[1].ends, 0);
	pass(link, PEER_BEAT_MS + 200);
	expect_end(&link->ends[0], PEER_END_SILENT, "nothing was heard");
	expect_end(&link->ends[1], PEER_END_SILENT, "nothing was heard");
}

/* Who does not read for a while does not take the other side for dead meanwhile. */
static void test_held(void **state)
{
	struct link *link = *state;
	come_up(link);
	link->ends[0].deaf = true;
	peer_session_hold(link->ends[0].session, true, link->now);
	pass(link, 10000);
	assert_int_equal(link->ends[0].ends + link->ends[1].ends, 0);
	link->ends[0].deaf = false;
	peer_session_hold(link->ends[0].session, false, link->now);
	pass(link, 10000);
	assert_int_equal(link->ends[0].ends + link->ends[1].ends, 0);
}

static void test_slow_reader(void **state)
{
	struct link *link = *state;
	struct peer_message message = bulky(1000000);
	come_up(link);
	link->ends[1].deaf = true;
	unsigned sent = 0;
	while (send(link, 0, &message))
		sent++;
	assert_int_equal(sent, PEER_QUEUE_BYTES / 1000000);
	assert_true(peer_session_queued(link->ends[0].session) <= PEER_QUEUE_BYTES);
	take_events(&link->ends[0], link->now);
	expect_end(&link->ends[0], PEER_END_SLOW, "does not read");
	assert_true(peer_session_over(link->ends[0].session, link->now));
}

static void test_slow_handshake(void **state)
{
	struct link *link = *state;
	begin(link, PEER_WAY_MEMBER, NULL);
	link->cut = true;
	settle(link);
	pass(link, PEER_HANDSHAKE_MS - 100);
	assert_int_equal(link->ends[0].ends + link->ends[1].ends, 0);
	pass(link, 200);
	expect_end(&link->ends[0], PEER_END_LATE, "5 s");
	expect_end(&link->ends[1], PEER_END_LATE, "5 s");
	end(link);
	/* It shakes hands and says no hello. */
	begin(link, PEER_WAY_MEMBER, NULL);
	link->ends[1].accepts = false;
	settle(link);
	pass(link, PEER_HANDSHAKE_MS + 100);
	expect_end(&link->ends[1], PEER_END_LATE, "5 s");
}

static void test_gone(void **state)
{
	struct link *link = *state;
	come_up(link);
	peer_session_gone(link->ends[0].session, "connection reset by peer", link->now);
	take_events(&link->ends[0], link->now);
	expect_end(&link->ends[0], PEER_END_LEFT, "connection reset by peer");
	assert_true(peer_session_over(link->ends[0].session, link->now));
	end(link);
	/* A refusal that arrived with the end of the stream is what is told. */
	begin(link, PEER_WAY_MEMBER, NULL);
	link->ends[1].accepts = false;
	settle(link);
	peer_session_part(link->ends[1].session, PEER_PARTING_NAME, "taken", NULL, link->now);
	size_t length;
	const void *bytes = peer_session_output(link->ends[1].session, link->now, &length);
	peer_session_take(link->ends[0].session, bytes, length, link->now);
	peer_session_gone(link->ends[0].session, "end of file", link->now);
	take_events(&link->ends[0], link->now);
	expect_end(&link->ends[0], PEER_END_PARTED, "taken");
}

/* A client over bare TLS, to say to a server's session what no session would. */
static struct peer_tls *bare_client(struct link *link, enum peer_way way, struct end *server)
{
	struct peer_tls *tls = peer_tls_new_client(link->sides[0], way, NULL);
	struct buffer plain;
	size_t length;
	server->session = peer_session_new_server(link->sides[1], &greetings[1], link->now);
	server->accepts = true;
	buffer_init(&plain, 0);
	const void *bytes;
	do {
		while ((bytes = peer_tls_output(tls, &length))) {
			peer_session_take(server->session, bytes, length, link->now);
			peer_tls_sent(tls, length);
		}
		while ((bytes = peer_session_output(server->session, link->now, &length))) {
			peer_tls_take(tls, bytes, length, PEER_WORLD_NOW, &plain);
			peer_session_sent(server->session, length);
		}
	} while (peer_tls_output(tls, &length));
	take_events(server, link->now);
	assert_int_equal(server->ends, 0);
	buffer_done(&plain);
	return tls;
}

static void say_bare(struct link *link, struct peer_tls *tls, struct end *server, const void *bytes,
		     size_t length)
{
	size_t out;
	peer_tls_put(tls, bytes, length);
	const void *encrypted = peer_tls_output(tls, &out);
	peer_session_take(server->session, encrypted, out, link->now);
	peer_tls_sent(tls, out);
	take_events(server, link->now);
}

static const struct peer_message good_hello = {
    .number = PEER_HELLO, .hello = {.level = 3, .node = "node-a", .boot_id = "b", .instance = "i"}};
static const struct peer_message false_hello = {
    .number = PEER_HELLO, .hello = {.level = 3, .node = "node-c", .boot_id = "b", .instance = "i"}};
static const struct peer_message join_ask = {
    .number = PEER_JOIN_ASK,
    .join_ask = {.secret = {.data = "0123456789abcdef", .length = 16},
		 .fabric = "example",
		 .node = "node-c",
		 .roles = 1,
		 .site = "",
		 .ledger_key = "ed25519:x",
		 .boot_id = "b"}};
static const struct peer_message join_refuse = {
    .number = PEER_JOIN_REFUSE,
    .join_refuse = {.reason = PEER_JOIN_USED, .sentence = "used", .command = "fairlead token"}};

static void expect_nonsense(struct link *link, enum peer_way way, bool greets, const void *bytes,
			    size_t length)
{
	struct end server = {0};
	buffer_init(&server.last, 0);
	struct peer_tls *tls = bare_client(link, way, &server);
	struct buffer hello = encode(&good_hello);
	if (greets)
		say_bare(link, tls, &server, hello.data, hello.length);
	say_bare(link, tls, &server, bytes, length);
	expect_end(&server, PEER_END_NONSENSE, "makes no sense");
	assert_int_equal(server.frames, 0);
	buffer_done(&hello);
	buffer_done(&server.last);
	peer_tls_free(tls);
	peer_session_free(server.session);
}

static void expect_nonsense_message(struct link *link, enum peer_way way, bool greets,
				    const struct peer_message *message)
{
	struct buffer frame = encode(message);
	expect_nonsense(link, way, greets, frame.data, frame.length);
	buffer_done(&frame);
}

static void test_nonsense(void **state)
{
	struct link *link = *state;
	/* Before and after the hello. */
	expect_nonsense_message(link, PEER_WAY_MEMBER, false, &small);
	expect_nonsense_message(link, PEER_WAY_MEMBER, false, &join_ask);
	expect_nonsense_message(link, PEER_WAY_MEMBER, false, &false_hello);
	expect_nonsense_message(link, PEER_WAY_MEMBER, true, &good_hello);
	expect_nonsense_message(link, PEER_WAY_MEMBER, true, &join_ask);
	/* A joiner says one thing only. */
	expect_nonsense_message(link, PEER_WAY_JOIN, false, &good_hello);
	expect_nonsense_message(link, PEER_WAY_JOIN, false, &small);
	expect_nonsense_message(link, PEER_WAY_JOIN, false, &join_refuse);
	/* An unknown message is passed over only by one who is up; a length that none has; of one
	 * that is expected, but longer than it may be: before its bytes have come. */
	expect_nonsense(link, PEER_WAY_MEMBER, false, "\0\0\0\x04\x7f\xff\0\1", 8);
	expect_nonsense(link, PEER_WAY_MEMBER, true, "\xff\xff\xff\xff\0\5\0\1", 8);
	expect_nonsense(link, PEER_WAY_MEMBER, false, "\0\1\0\0\0\1\0\1", 8);
	expect_nonsense(link, PEER_WAY_JOIN, false, "\0\1\0\0\0\x09\0\3", 8);
	expect_nonsense(link, PEER_WAY_MEMBER, true, "\0\0\0\x05\0\5\0\1!", 9);
}

static void test_unknown_messages_are_skipped(void **state)
{
	struct link *link = *state;
	struct end server = {0};
	buffer_init(&server.last, 0);
	struct peer_tls *tls = bare_client(link, PEER_WAY_MEMBER, &server);
	struct buffer hello = encode(&good_hello), frame = encode(&small);
	say_bare(link, tls, &server, hello.data, hello.length);
	say_bare(link, tls, &server, "\0\0\0\x05\x7f\xff\0\x09!", 9);
	say_bare(link, tls, &server, frame.data, frame.length);
	assert_int_equal(peer_session_counts(server.session)->skipped, 1);
	assert_int_equal(server.frames, 1);
	assert_int_equal(server.ends, 0);
	buffer_done(&hello);
	buffer_done(&frame);
	buffer_done(&server.last);
	peer_tls_free(tls);
	peer_session_free(server.session);
}

static void test_garbage_within_tls(void **state)
{
	struct link *link = *state;
	come_up(link);
	static const char noise[512] = {0x17, 3, 3, 0, 16};
	peer_session_take(link->ends[1].session, noise, sizeof(noise), link->now);
	take_events(&link->ends[1], link->now);
	expect_end(&link->ends[1], PEER_END_TLS, "not TLS");
	settle(link);
	assert_int_equal(link->ends[0].ends, 1);
}

static void test_join(void **state)
{
	struct link *link = *state;
	begin(link, PEER_WAY_JOIN, NULL);
	assert_true(send(link, 0, &join_ask));
	settle(link);
	assert_int_equal(link->ends[1].joins, 1);
	assert_int_equal(peer_tls_way(peer_session_tls(link->ends[1].session)), PEER_WAY_JOIN);
	pass(link, 10000); /* the ledger takes its time */
	assert_int_equal(link->ends[0].ends + link->ends[1].ends, 0);
	assert_true(send(link, 1, &join_refuse));
	peer_session_finish(link->ends[1].session, link->now);
	settle(link);
	assert_int_equal(link->ends[0].frames, 1);
	expect_end(&link->ends[0], PEER_END_DONE, "answered");
	expect_end(&link->ends[1], PEER_END_DONE, "answered");
	assert_true(peer_session_over(link->ends[1].session, link->now));
}

static void test_join_without_end(void **state)
{
	struct link *link = *state;
	begin(link, PEER_WAY_JOIN, NULL);
	assert_true(send(link, 0, &join_ask));
	settle(link);
	pass(link, PEER_JOIN_MS + PEER_HANDSHAKE_MS + 100);
	expect_end(&link->ends[1], PEER_END_UNANSWERED, "not answered");
	assert_int_equal(link->ends[0].ends, 1);
	end(link);
	/* A joiner that asks nothing. */
	begin(link, PEER_WAY_JOIN, NULL);
	settle(link);
	pass(link, PEER_HANDSHAKE_MS + 100);
	expect_end(&link->ends[1], PEER_END_LATE, "5 s");
}

/* Random walks: sends, pauses, cuts, partings. No end is told twice, nothing is lost or doubled
 * while both are up, and what is queued keeps its bound. */
static void test_random_walks(void **state)
{
	struct link *link = *state;
	struct random random;
	random_init_seeded(&random, seed_choose(31));
	for (unsigned walk = 0; walk < 30; walk++) {
		unsigned sent[2] = {0};
		come_up(link);
		for (unsigned step = 0; step < 200 && !link->ends[0].ends && !link->ends[1].ends;
		     step++) {
			int who = (int)random_below(&random, 2);
			struct peer_message message = bulky(random_below(&random, 20000));
			switch (random_below(&random, 12)) {
			case 0:
				link->ends[who].deaf = !link->ends[who].deaf;
				break;
			case 1:
				if (random_below(&random, 20) == 0)
					link->cut = true;
				break;
			case 2:
				if (random_below(&random, 20) == 0)
					peer_session_part(link->ends[who].session,
							  PEER_PARTING_OTHER, "so", NULL,
							  link->now);
				break;
			case 3:
				pass(link, random_below(&random, 3000));
				break;
			default:
				sent[who] += send(link, who, &message);
				if (random_below(&random, 2))
					settle(link);
			}
			for (int i = 0; i < 2; i++)
				assert_true(peer_session_queued(link->ends[i].session) <=
					    PEER_QUEUE_BYTES + 65536);
		}
		link->ends[0].deaf = link->ends[1].deaf = false;
		settle(link);
		bool whole = !link->ends[0].ends && !link->ends[1].ends && !link->cut;
		for (int i = 0; i < 2; i++) {
			assert_true(link->ends[!i].frames <= sent[i]);
			assert_true(!whole || link->ends[!i].frames == sent[i]);
		}
		end(link);
	}
}

#define WITH_LINK(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WITH_LINK(test_up_and_frames),
	    WITH_LINK(test_up_when_accepted),
	    WITH_LINK(test_refused_with_proof),
	    WITH_LINK(test_parting_after_what_was_said),
	    WITH_LINK(test_beats),
	    WITH_LINK(test_half_open),
	    WITH_LINK(test_held),
	    WITH_LINK(test_slow_reader),
	    WITH_LINK(test_slow_handshake),
	    WITH_LINK(test_gone),
	    WITH_LINK(test_nonsense),
	    WITH_LINK(test_unknown_messages_are_skipped),
	    WITH_LINK(test_garbage_within_tls),
	    WITH_LINK(test_join),
	    WITH_LINK(test_join_without_end),
	    WITH_LINK(test_random_walks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
