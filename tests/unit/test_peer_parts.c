/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the channel's process is made of besides sessions: limits of sources, the roll of members,
 * numbers, the table of its messages, and the giving up of rights, seen from within.
 */
#include "../seed.h"
#include "../wire_random.h"
#include "peer/confine.h"
#include "peer/ids.h"
#include "peer/roll.h"
#include "peer/source_limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- limits ----------------------------------------------------------------------------------- */

static struct ip_address address(const char *text)
{
	struct ip_address parsed;
	assert_int_equal(ip_address_parse(text, &parsed), 0);
	return parsed;
}

static void test_limits(void **state)
{
	struct peer_limits *limits = malloc(sizeof(*limits));
	struct random random;
	struct ip_address one = address("192.0.2.1"), other = address("192.0.2.2");
	struct ip_address v6 = address("2001:db8::1"), same_net = address("2001:db8::ffff");
	(void)state;
	assert_non_null(limits);
	random_init_seeded(&random, 1);
	peer_limits_init(limits, &random);
	uint64_t now = 1000000;
	unsigned allowed = 0;
	while (peer_limits_allow(limits, PEER_LIMIT_FAILURE, &one, now)) {
		peer_limits_count(limits, PEER_LIMIT_FAILURE, &one, now);
		allowed++;
	}
	assert_int_equal(allowed, 20);
	/* It is that source's, and that kind's, alone. */
	assert_true(peer_limits_allow(limits, PEER_LIMIT_FAILURE, &other, now));
	assert_true(peer_limits_allow(limits, PEER_LIMIT_JOIN, &one, now));
	assert_false(peer_limits_allow(limits, PEER_LIMIT_FAILURE, &one, now + 499));
	assert_true(peer_limits_allow(limits, PEER_LIMIT_FAILURE, &one, now + 500));
	/* Who goes on all the same is not shut out for longer than one who stopped. */
	for (unsigned i = 0; i < 1000; i++)
		peer_limits_count(limits, PEER_LIMIT_FAILURE, &one, now);
	assert_true(peer_limits_allow(limits, PEER_LIMIT_FAILURE, &one, now + 500));
	/* After a while all of it is there again, and no more. */
	now += 3600000;
	for (allowed = 0; peer_limits_allow(limits, PEER_LIMIT_FAILURE, &one, now); allowed++)
		peer_limits_count(limits, PEER_LIMIT_FAILURE, &one, now);
	assert_int_equal(allowed, 20);
	for (unsigned i = 0; i < 5; i++)
		peer_limits_count(limits, PEER_LIMIT_JOIN, &v6, now);
	assert_false(peer_limits_allow(limits, PEER_LIMIT_JOIN, &same_net, now));
	/* A crowd of sources pushes out at worst, and never out of the table. */
	for (uint32_t i = 0; i < 100000; i++) {
		struct ip_address many = {.family = IP_V4};
		memcpy(many.bytes, &i, sizeof(i));
		peer_limits_count(limits, PEER_LIMIT_FAILURE, &many, now + 1 + i / 1000);
	}
	free(limits);
}

/* --- roll ------------------------------------------------------------------------------------- */

static const uint8_t keys[4][CHANNEL_KEY_BYTES] = {{1}, {2}, {3}, {4}};

static struct channel_member member(const char *node, unsigned key, bool removed)
{
	return (struct channel_member){.node = node,
				       .key = {.data = keys[key], .length = CHANNEL_KEY_BYTES},
				       .removed = removed,
				       .proof = {.data = "proof", .length = removed ? 5 : 0}};
}

static void test_roll(void **state)
{
	struct wire_bytes proof;
	const struct channel_member members[] = {
	    member("a", 0, false), member("b", 1, true),
	    member("c", 2, false), member("b", 3, false), /* whoever took the name that was freed */
	    member("c", 2, true), /* a key stays removed, whatever else is said of it */
	};
	(void)state;
	assert_int_equal(peer_roll_look(NULL, "a", keys[0], &proof), PEER_ROLL_NOT_KNOWN);
	struct peer_roll *roll = peer_roll_new(&(struct channel_members){.members = {members, 5}});
	assert_int_equal(peer_roll_look(roll, "a", keys[0], &proof), PEER_ROLL_KNOWN);
	assert_int_equal(peer_roll_look(roll, "b", keys[3], &proof), PEER_ROLL_KNOWN);
	assert_int_equal(proof.length, 0);
	assert_int_equal(peer_roll_look(roll, "b", keys[1], &proof), PEER_ROLL_REMOVED);
	assert_int_equal(proof.length, 5);
	assert_int_equal(peer_roll_look(roll, "c", keys[2], &proof), PEER_ROLL_REMOVED);
	/* The key of one with the name of another, and either with something new. */
	assert_int_equal(peer_roll_look(roll, "a", keys[3], &proof), PEER_ROLL_OTHER_KEY);
	assert_int_equal(peer_roll_look(roll, "d", keys[0], &proof), PEER_ROLL_OTHER_KEY);
	static const uint8_t new_key[CHANNEL_KEY_BYTES] = {9};
	assert_int_equal(peer_roll_look(roll, "a", new_key, &proof), PEER_ROLL_OTHER_KEY);
	assert_int_equal(peer_roll_look(roll, "d", new_key, &proof), PEER_ROLL_NOT_KNOWN);
	peer_roll_free(roll);
	peer_roll_free(NULL);
}

/* --- numbers ---------------------------------------------------------------------------------- */

static void test_ids(void **state)
{
	enum { MANY = 3000 };
	struct peer_ids ids = {0};
	struct peer_id *entries = calloc(MANY, sizeof(*entries));
	bool *seen = calloc(MANY, sizeof(*seen));
	(void)state;
	assert_non_null(entries);
	assert_non_null(seen);
	for (uint64_t i = 0; i < MANY; i++)
		peer_ids_put(&ids, &entries[i], 2 * i + 1);
	for (uint64_t i = 0; i < MANY; i += 3)
		peer_ids_remove(&ids, &entries[i]);
	size_t walked = 0;
	for (struct peer_id *id = peer_ids_next(&ids, NULL); id; id = peer_ids_next(&ids, id)) {
		size_t which = (size_t)(id - entries);
		assert_false(seen[which]);
		seen[which] = true;
		walked++;
	}
	assert_int_equal(walked, ids.count);
	assert_int_equal(walked, MANY - MANY / 3);
	for (uint64_t i = 0; i < MANY; i++) {
		assert_ptr_equal(peer_ids_find(&ids, 2 * i + 1), i % 3 ? &entries[i] : NULL);
		assert_int_equal(seen[i], i % 3 != 0);
	}
	free(entries);
	free(seen);
}

/* --- messages --------------------------------------------------------------------------------- */

static void test_messages_come_back(void **state)
{
	struct random random;
	(void)state;
	random_init_seeded(&random, seed_choose(3));
	for (size_t i = 0; i < channel_table.count * 50; i++) {
		const struct wire_message *row = &channel_table.messages[i % channel_table.count];
		struct channel_message message = {.number = (enum channel_number)row->number};
		struct channel_message back = {0};
		struct buffer out, again;
		struct arena arena;
		arena_init(&arena, 0);
		buffer_init(&out, 0);
		buffer_init(&again, 0);
		assert_true(i < channel_table.count || row->most <= CHANNEL_FRAME_MAX);
		wire_random_fill(&random, &row->shape, 2, 60, &arena, &message.identity);
		assert_int_equal(channel_encode(&message, &out, NULL), 0);
		assert_int_equal(channel_decode(out.data, out.length, &arena, &back, NULL), 0);
		assert_int_equal(channel_encode(&back, &again, NULL), 0);
		assert_int_equal(again.length, out.length);
		assert_memory_equal(again.data, out.data, out.length);
		for (size_t length = 0; length < out.length; length++) {
			size_t whole = 1;
			int result = channel_frame_bytes(out.data, length, &whole, NULL);
			assert_int_equal(result, 0);
			assert_true(whole == 0 || whole == out.length);
		}
		buffer_done(&out);
		buffer_done(&again);
		arena_done(&arena);
	}
}

/* The largest frame of a peer fits into what carries it. */
static void test_largest_frame(void **state)
{
	struct buffer out;
	(void)state;
	char *bytes = calloc(1, PEER_FRAME_MAX);
	assert_non_null(bytes);
	buffer_init(&out, 0);
	const struct channel_message message = {
	    .number = CHANNEL_FRAME,
	    .frame = {.peer = 1, .frame = {.data = bytes, .length = PEER_FRAME_MAX}}};
	assert_int_equal(channel_encode(&message, &out, NULL), 0);
	buffer_done(&out);
	free(bytes);
}

/* --- rights ----------------------------------------------------------------------------------- */

/* What a confined process can still do, which should be nothing of this: bits. */
static int try_everything(int kept)
{
	struct error err;
	struct stat status;
	const struct peer_confinement confinement = {
	    .user = "fairlead", .files = 64, .kept_fd = kept};
	bool barred =
	    syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= 1;
	int other = dup(STDERR_FILENO); /* higher than what is kept */
	if (other <= kept || peer_confine(&confinement, getppid(), &err) < 0)
		return 1;
	int done = 0;
	if (fstat(other, &status) == 0 || fstat(kept, &status) < 0)
		done |= 2;
	if (setuid(0) == 0 || setgid(0) == 0 || getuid() == 0 || geteuid() == 0)
		done |= 4;
	if (open("/etc/shadow", O_RDONLY) >= 0 || (barred && open("/etc/passwd", O_RDONLY) >= 0) ||
	    mkdir("/confined", 0700) == 0)
		done |= 8;
	if (socket(AF_INET, SOCK_RAW, 1) >= 0)
		done |= 16;
	if (fork() >= 0)
		done |= 32;
	if (prctl(PR_GET_DUMPABLE) != 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		done |= 64;
	return done;
}

static void test_confined(void **state)
{
	int status;
	(void)state;
	if (geteuid() != 0)
		skip();
	int kept = open("/dev/null", O_RDONLY);
	assert_true(kept >= 0);
	pid_t pid = fork();
	if (pid == 0)
		_exit(try_everything(kept));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close(kept);
}

/* Whose parent is another than it says: it must not go on. */
static void test_without_its_parent(void **state)
{
	int status;
	(void)state;
	pid_t pid = fork();
	if (pid == 0) {
		struct error err;
		const struct peer_confinement confinement = {.files = 64, .kept_fd = 2};
		_exit(peer_confine(&confinement, 1 << 30, &err) < 0 ? 7 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WEXITSTATUS(status), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_roll),
	    cmocka_unit_test(test_ids),
	    cmocka_unit_test(test_messages_come_back),
	    cmocka_unit_test(test_largest_frame),
	    cmocka_unit_test(test_confined),
	    cmocka_unit_test(test_without_its_parent),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
