/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node channel as it is: this program is the daemon of several nodes, each with a process of
 * its own (this program again) that talks over loopback. Waits are for conditions, on one loop.
 */
#include "../peer_world.h"
#include "base/clock.h"
#include "peer/channel.h"
#include "peer/worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 60000u

static uv_loop_t loop;
static const struct ip_address loopback = {.bytes = {127, 0, 0, 1}, .family = IP_V4};

struct node {
	struct peer_channel *channel;
	struct evp_pkey_st *pair;
	const char *name;
	unsigned ready, ups, downs, joins, frames, ends, turned_away;
	struct peer_remote *remote; /* the newest that is up */
	struct peer_remote *join; /* that was asked for */
	struct channel_counters counters;
	char up_name[64], up_instance[64];
	bool up_known;
	uint64_t down_how, down_reason, turned_reason;
	char down_sentence[512], turned_sentence[512], why[512];
	char proof[64];
	uint8_t join_key[KEY_BYTES];
	struct buffer last; /* frame */
	unsigned last_number;
	char calls[64]; /* of the answers that came, a letter each */
	bool is_slow; /* it takes 100 ms for each frame */
};

static void on_ready(void *context)
{
	((struct node *)context)->ready++;
}

static void on_up(void *context, struct peer_remote *remote, const struct channel_up *up)
{
	struct node *node = context;
	node->ups++;
	node->remote = remote;
	node->up_known = up->known;
	snprintf(node->up_name, sizeof(node->up_name), "%s", up->node);
	snprintf(node->up_instance, sizeof(node->up_instance), "%s", up->instance);
	assert_int_equal(up->key.length, KEY_BYTES);
	assert_true(ip_address_equal(&up->address, &loopback));
}

static void on_frame(void *context, struct peer_remote *remote, const struct wire_bytes *frame,
		     const struct peer_message *message, struct arena *arena)
{
	struct node *node = context;
	(void)remote;
	(void)arena;
	if (node->is_slow)
		usleep(100000);
	node->frames++;
	node->last_number = message->number;
	if (message->number == PEER_STORE_LEASED && strlen(node->calls) + 1 < sizeof(node->calls))
		node->calls[strlen(node->calls)] = (char)message->store_leased.call;
	buffer_clear(&node->last);
	buffer_append(&node->last, frame->data, frame->length);
}

static void on_join(void *context, struct peer_remote *remote, const struct channel_join *join,
		    const struct peer_join_ask *ask)
{
	struct node *node = context;
	node->joins++;
	node->join = remote;
	memcpy(node->join_key, join->key.data, KEY_BYTES);
	assert_string_equal(ask->node, "node-c");
}

static void on_down(void *context, struct peer_remote *remote, const struct channel_down *down)
{
	struct node *node = context;
	node->downs++;
	node->down_how = down->how;
	node->down_reason = down->reason;
	snprintf(node->down_sentence, sizeof(node->down_sentence), "%s", down->sentence);
	memset(node->proof, 0, sizeof(node->proof));
	if (down->proof.length && down->proof.length < sizeof(node->proof))
		memcpy(node->proof, down->proof.data, down->proof.length);
	if (node->remote == remote)
		node->remote = NULL;
}

static void on_turned_away(void *context, const struct channel_turned_away *who)
{
	struct node *node = context;
	node->turned_away++;
	node->turned_reason = who->reason;
	snprintf(node->turned_sentence, sizeof(node->turned_sentence), "%s", who->sentence);
}

static void on_counters(void *context, const struct channel_counters *counters)
{
	((struct node *)context)->counters = *counters;
}

static void on_end(void *context, const char *why)
{
	struct node *node = context;
	node->ends++;
	snprintf(node->why, sizeof(node->why), "%s", why);
}

static const struct peer_channel_calls calls = {
    .on_ready = on_ready,
    .on_up = on_up,
    .on_frame = on_frame,
    .on_join = on_join,
    .on_down = on_down,
    .on_turned_away = on_turned_away,
    .on_counters = on_counters,
    .on_end = on_end,
};

/* --- waiting ---------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer)
{
	(void)timer;
}

static void on_timer_closed(uv_handle_t *handle)
{
	free(handle);
}

/* The loop wakes up now and then, so that a condition is looked at. */
static uint64_t wait_begin(uv_timer_t **ret_timer)
{
	uv_timer_t *timer = malloc(sizeof(*timer));
	assert_non_null(timer);
	uv_timer_init(&loop, timer);
	uv_timer_start(timer, on_timer, 20, 20);
	*ret_timer = timer;
	return clock_now_ms(&clock_system) + PATIENCE_MS;
}

static void wait_end(uv_timer_t *timer)
{
	uv_close((uv_handle_t *)timer, on_timer_closed);
	uv_run(&loop, UV_RUN_NOWAIT);
}

#define wait_for(condition)                                                                        \
	do {                                                                                       \
		uv_timer_t *wait_timer;                                                            \
		uint64_t wait_until = wait_begin(&wait_timer);                                     \
		while (!(condition)) {                                                             \
			uv_run(&loop, UV_RUN_ONCE);                                                \
			if (clock_now_ms(&clock_system) > wait_until)                              \
				fail_msg("it never came to this: %s", #condition);                 \
		}                                                                                  \
		wait_end(wait_timer);                                                              \
	} while (0)

/* --- nodes ------------------------------------------------------------------------------------ */

struct world {
	struct world_authority ca, other;
	struct node a, b, c;
};

static uint64_t wall_s(void)
{
	return clock_wall_ms(&clock_system) / 1000;
}

static void node_init(struct node *node, const char *name, bool listens)
{
	struct error err;
	const struct peer_channel_options options = {.loop = &loop,
						     .user = "fairlead",
						     .files = 512,
						     .listens = listens,
						     .address = loopback,
						     .calls = &calls,
						     .context = node};
	*node = (struct node){.name = name};
	buffer_init(&node->last, 0);
	assert_int_equal(key_pair_make(&node->pair), 0);
	if (peer_channel_new(&options, &node->channel, &err) < 0 ||
	    peer_channel_start(node->channel, &err) < 0)
		fail_msg("%s", err.text);
}

static void node_done(struct node *node)
{
	if (!node->channel)
		return;
	unsigned ends = node->ends;
	if (peer_channel_pid(node->channel)) {
		peer_channel_stop(node->channel);
		wait_for(node->ends > ends);
	}
	peer_channel_free(node->channel);
	key_pair_free(node->pair);
	buffer_done(&node->last);
	*node = (struct node){0};
}

/* The certificate is issued at `since_s`. */
static void be_member(struct node *node, const struct world_authority *ca, struct evp_pkey_st *pair,
		      const char *instance, uint64_t since_s)
{
	uint8_t key[KEY_BYTES];
	struct buffer leaf = world_issue(ca, pair, node->name, since_s);
	const struct channel_authority authority = {.certificate = world_authority_bytes(ca)};
	key_pair_private(pair, key);
	int result = peer_channel_identity(
	    node->channel,
	    &(struct channel_identity){.fabric = ca->fabric,
				       .node = node->name,
				       .boot_id = "boot",
				       .instance = instance,
				       .key = {.data = key, .length = KEY_BYTES},
				       .certificate = {.data = leaf.data, .length = leaf.length},
				       .authorities = {.items = &authority, .count = 1}},
	    NULL);
	assert_int_equal(result, 0);
	buffer_done(&leaf);
}

static struct peer_remote *dial(struct node *from, struct node *to, const char *name)
{
	return peer_channel_connect(from->channel, &loopback, peer_channel_port(to->channel), name,
				    NULL, NULL);
}

static int setup(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	assert_non_null(world);
	world_authority_make(&world->ca, "example", 1);
	world_authority_make(&world->other, "elsewhere", 2);
	node_init(&world->a, "node-a", false);
	node_init(&world->b, "node-b", true);
	be_member(&world->a, &world->ca, world->a.pair, "a1", wall_s());
	be_member(&world->b, &world->ca, world->b.pair, "b1", wall_s());
	*state = world;
	return 0;
}

static int teardown(void **state)
{
	struct world *world = *state;
	node_done(&world->c);
	node_done(&world->a);
	node_done(&world->b);
	world_authority_done(&world->ca);
	world_authority_done(&world->other);
	free(world);
	return 0;
}

static void come_up(struct world *world)
{
	assert_non_null(dial(&world->a, &world->b, "node-b"));
	wait_for(world->a.remote && world->b.remote);
}

static bool send_page(struct peer_remote *remote, size_t length)
{
	static char bytes[1u << 20];
	struct peer_record record = {.key = "k", .value = {.data = bytes, .length = length}};
	struct peer_message message = {.number = PEER_STORE_PAGE,
				       .store_page = {.call = 1, .records = {&record, 1}}};
	struct buffer frame;
	buffer_init(&frame, 0);
	assert_int_equal(peer_encode(&message, &frame, NULL), 0);
	bool sent = peer_channel_send(remote, frame.data, frame.length);
	buffer_done(&frame);
	return sent;
}

/* --- tests ------------------------------------------------------------------------------------ */

static void test_up_and_frames(void **state)
{
	struct world *world = *state;
	come_up(world);
	assert_string_equal(world->a.up_name, "node-b");
	assert_string_equal(world->b.up_name, "node-a");
	assert_string_equal(world->b.up_instance, "a1");
	assert_false(world->b.up_known);
	for (unsigned i = 0; i < 40; i++) {
		assert_true(send_page(world->a.remote, i * 25000));
		assert_true(send_page(world->b.remote, i * 25000));
	}
	assert_true(peer_channel_queued(world->a.remote) > 1000000);
	wait_for(world->a.frames == 40 && world->b.frames == 40);
	wait_for(!peer_channel_queued(world->a.remote) && !peer_channel_queued(world->b.remote));
	wait_for(world->b.counters.frames_in == 40 && world->b.counters.sessions == 1);
	assert_int_equal(world->b.last_number, PEER_STORE_PAGE);
	peer_channel_cut(world->a.remote, PEER_PARTING_OTHER, "enough", NULL);
	wait_for(world->a.downs && world->b.downs);
	assert_int_equal(world->b.down_how, PEER_END_PARTED);
	assert_string_equal(world->b.down_sentence, "enough");
	assert_int_equal(world->a.down_how, PEER_END_OWN);
}

/* What is sent to several is handed over together; each gets what was sent to it, in that order. */
static void test_one_frame_for_many(void **state)
{
	struct world *world = *state;
	static const char words[] = "aAbBBbccCdDA";
	come_up(world);
	struct peer_remote *first = world->b.remote;
	node_init(&world->c, "node-c", false);
	be_member(&world->c, &world->ca, world->c.pair, "c1", wall_s());
	assert_non_null(dial(&world->c, &world->b, NULL));
	wait_for(world->c.ups && world->b.ups == 2);
	/* A capital letter goes to the second. */
	for (const char *word = words; *word; word++) {
		bool second = *word < 'a';
		struct buffer frame;
		buffer_init(&frame, 0);
		assert_int_equal(
		    peer_encode(
			&(struct peer_message){
			    .number = PEER_STORE_LEASED,
			    .store_leased = {.call = (uint64_t)*word | 32, .lease = 1}},
			&frame, NULL),
		    0);
		assert_true(
		    peer_channel_send(second ? world->b.remote : first, frame.data, frame.length));
		buffer_done(&frame);
	}
	peer_channel_cut(first, PEER_PARTING_OTHER, "enough", NULL);
	wait_for(world->a.downs && strlen(world->c.calls) == 6);
	assert_string_equal(world->a.calls, "abbccd");
	assert_string_equal(world->c.calls, "abbcda");
}

/* A line of /proc/PID/status, without its name. */
static void status_line(int pid, const char *name, char *line, size_t size)
{
	char path[64], text[256];
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	FILE *file = fopen(path, "re");
	assert_non_null(file);
	*line = '\0';
	while (fgets(text, sizeof(text), file))
		if (strncmp(text, name, strlen(name)) == 0)
			snprintf(line, size, "%s", text + strlen(name));
	assert_int_equal(fclose(file), 0);
	assert_true(*line);
}

static void test_no_rights(void **state)
{
	struct world *world = *state;
	static const char *const sets[] = {"CapInh:", "CapPrm:", "CapEff:", "CapAmb:"};
	char line[256];
	come_up(world);
	int pid = peer_channel_pid(world->b.channel);
	for (size_t i = 0; i < sizeof(sets) / sizeof(*sets); i++) {
		status_line(pid, sets[i], line, sizeof(line));
		assert_string_equal(line, "\t0000000000000000\n");
	}
	status_line(pid, "NoNewPrivs:", line, sizeof(line));
	assert_string_equal(line, "\t1\n");
	if (geteuid() != 0)
		return;
	unsigned uids[4];
	status_line(pid, "Uid:", line, sizeof(line));
	assert_int_equal(sscanf(line, "%u %u %u %u", &uids[0], &uids[1], &uids[2], &uids[3]), 4);
	for (size_t i = 0; i < 4; i++)
		assert_int_not_equal(uids[i], 0);
	status_line(pid, "CapBnd:", line, sizeof(line));
	assert_string_equal(line, "\t0000000000000000\n");
	status_line(pid, "Groups:", line, sizeof(line));
	assert_int_equal(strspn(line, "\t \n"), strlen(line));
}

/* It has what it was given, sockets of its own, and nothing else: no file. */
static void test_no_files(void **state)
{
	struct world *world = *state;
	char path[64], target[256];
	struct dirent *entry;
	int kept = open("/etc/passwd", O_RDONLY); /* an exec would hand this down */
	assert_true(kept >= 0);
	unsigned ends = world->b.ends;
	wait_for(world->b.ready);
	peer_channel_stop(world->b.channel);
	wait_for(world->b.ends > ends);
	assert_int_equal(peer_channel_start(world->b.channel, NULL), 0);
	come_up(world);
	snprintf(path, sizeof(path), "/proc/%d/fd", peer_channel_pid(world->b.channel));
	DIR *folder = opendir(path);
	assert_non_null(folder);
	while ((entry = readdir(folder))) {
		ssize_t length =
		    readlinkat(dirfd(folder), entry->d_name, target, sizeof(target) - 1);
		if (length < 0)
			continue;
		target[length] = '\0';
		long number = strtol(entry->d_name, NULL, 10);
		if (number > 2 && strncmp(target, "socket:", 7) != 0 &&
		    strncmp(target, "anon_inode:", 11) != 0 && strncmp(target, "pipe:", 5) != 0)
			fail_msg("descriptor %ld: %s", number, target);
	}
	closedir(folder);
	close(kept);
}

static void list(struct node *node, const struct node *who, const char *name, bool removed)
{
	uint8_t key[KEY_BYTES];
	key_pair_public(who->pair, key);
	const struct channel_member member = {
	    .node = name,
	    .key = {.data = key, .length = KEY_BYTES},
	    .removed = removed,
	    .proof = {.data = "the entry", .length = removed ? 9 : 0}};
	peer_channel_members(node->channel, &(struct channel_members){.members = {&member, 1}});
}

static void test_removed(void **state)
{
	struct world *world = *state;
	list(&world->b, &world->a, "node-a", false);
	come_up(world);
	assert_true(world->b.up_known);
	/* Its session ends at once, */
	list(&world->b, &world->a, "node-a", true);
	wait_for(world->a.downs && world->b.downs);
	assert_int_equal(world->a.down_how, PEER_END_PARTED);
	assert_int_equal(world->a.down_reason, PEER_PARTING_REMOVED);
	assert_string_equal(world->a.proof, "the entry");
	/* and it does not come back. */
	assert_non_null(dial(&world->a, &world->b, NULL));
	wait_for(world->a.downs == 2);
	assert_int_equal(world->a.down_reason, PEER_PARTING_REMOVED);
	assert_string_equal(world->a.proof, "the entry");
	assert_int_equal(world->a.ups, 1);
	wait_for(world->b.turned_away && world->b.counters.removed);
	/* Another one by its name, which is free; but not where the name is another's. */
	struct node other = {.pair = world->b.pair};
	list(&world->b, &other, "node-a", false);
	assert_non_null(dial(&world->a, &world->b, NULL));
	wait_for(world->a.downs == 3);
	assert_int_equal(world->a.down_reason, PEER_PARTING_NAME);
}

static void test_copied_disk(void **state)
{
	struct world *world = *state;
	come_up(world);
	node_init(&world->c, "node-a", false);
	be_member(&world->c, &world->ca, world->a.pair, "a2", wall_s());
	assert_non_null(dial(&world->c, &world->b, NULL));
	wait_for(world->c.downs);
	assert_int_equal(world->c.down_reason, PEER_PARTING_COPIED);
	assert_non_null(strstr(world->c.down_sentence, "copied"));
	wait_for(world->b.turned_away);
	assert_int_equal(world->b.turned_reason, PEER_PARTING_COPIED);
	/* The first one noticed nothing. */
	assert_int_equal(world->a.downs + world->b.downs, 0);
	assert_true(send_page(world->a.remote, 1000));
	wait_for(world->b.frames == 1);
	/* It is gone: the second may come, as after a restart. */
	node_done(&world->a);
	wait_for(world->b.downs == 1);
	assert_non_null(dial(&world->c, &world->b, NULL));
	wait_for(world->c.ups == 1);
}

/* Whoever was let in by a certificate is in for as long as that lasts. */
static void test_session_ends_with_its_certificate(void **state)
{
	struct world *world = *state;
	const uint64_t ends_in_s = 3;
	be_member(&world->a, &world->ca, world->a.pair, "a1",
		  wall_s() + PEER_CERTIFICATE_BACK_S - PEER_CERTIFICATE_LIFE_S + ends_in_s);
	come_up(world);
	wait_for(world->a.downs && world->b.downs);
	assert_int_equal(world->a.down_how, PEER_END_PARTED);
	assert_non_null(strstr(world->a.down_sentence, "has expired"));
	/* It comes back by its next one. */
	be_member(&world->a, &world->ca, world->a.pair, "a1", wall_s());
	assert_non_null(dial(&world->a, &world->b, NULL));
	wait_for(world->a.ups == 2);
}

static void test_session_ends_with_its_ca(void **state)
{
	struct world *world = *state;
	come_up(world);
	/* A renewal ends nothing. */
	be_member(&world->b, &world->ca, world->b.pair, "b1", wall_s());
	assert_true(send_page(world->a.remote, 1000));
	wait_for(world->b.frames == 1);
	assert_int_equal(world->a.downs + world->b.downs, 0);
	be_member(&world->b, &world->other, world->b.pair, "b1", wall_s());
	wait_for(world->a.downs && world->b.downs);
	assert_non_null(strstr(world->a.down_sentence, "a CA that is trusted no more"));
}

/* One process twice: the newer session takes the older one's place. */
static void test_replaced(void **state)
{
	struct world *world = *state;
	come_up(world);
	assert_non_null(dial(&world->a, &world->b, NULL));
	wait_for(world->a.ups == 2 && world->b.ups == 2 && world->a.downs && world->b.downs);
	/* Both sides see to it; which of them is first is open. */
	assert_true(world->a.down_how == PEER_END_OWN ||
		    world->a.down_reason == PEER_PARTING_REPLACED);
	assert_true(send_page(world->a.remote, 1000));
	wait_for(world->b.frames == 1);
}

static void test_strangers(void **state)
{
	struct world *world = *state;
	be_member(&world->a, &world->other, world->a.pair, "a1", wall_s());
	assert_non_null(dial(&world->a, &world->b, NULL));
	wait_for(world->a.downs == 1);
	assert_int_equal(world->a.down_how, PEER_END_TLS);
	assert_non_null(strstr(world->a.down_sentence, "another fabric"));

	be_member(&world->a, &world->ca, world->a.pair, "a1", wall_s() - 90 * 86400);
	assert_non_null(dial(&world->a, &world->b, NULL));
	wait_for(world->a.downs == 2);
	assert_non_null(strstr(world->a.down_sentence, "has expired"));

	be_member(&world->a, &world->ca, world->a.pair, "a1", wall_s() + 86400);
	assert_non_null(dial(&world->a, &world->b, NULL));
	wait_for(world->a.downs == 3);
	assert_non_null(strstr(world->a.down_sentence, "not valid yet"));
	wait_for(world->b.counters.expired == 1 && world->b.counters.not_yet == 1 &&
		 world->b.turned_away >= 2);
	assert_int_equal(world->a.ups + world->b.ups, 0);

	/* Nobody is there at all. */
	assert_non_null(peer_channel_connect(world->a.channel, &loopback, 1, NULL, NULL, NULL));
	wait_for(world->a.downs == 4);
	assert_int_equal(world->a.down_how, PEER_END_LEFT);
	assert_non_null(strstr(world->a.down_sentence, "refused"));
}

/* A machine that is off, as far as can be told: the kernel answers nobody whose queue is full. */
static void test_nobody_answers(void **state)
{
	struct world *world = *state;
	struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof(name);
	int queue[4];
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)&name, size), 0);
	assert_int_equal(listen(fd, 0), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &size), 0);
	for (size_t i = 0; i < sizeof(queue) / sizeof(*queue); i++) {
		queue[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		int result = connect(queue[i], (const struct sockaddr *)&name, size);
		assert_true(result == 0 || errno == EINPROGRESS);
	}
	assert_non_null(peer_channel_connect(world->a.channel, &loopback, ntohs(name.sin_port),
					     NULL, NULL, NULL));
	wait_for(world->a.downs == 1);
	assert_int_equal(world->a.down_how, PEER_END_LEFT);
	assert_non_null(strstr(world->a.down_sentence, "nobody answers there"));
	for (size_t i = 0; i < sizeof(queue) / sizeof(*queue); i++)
		close(queue[i]);
	close(fd);
}

static int raw_connect(struct node *to)
{
	const struct sockaddr_in name = {.sin_family = AF_INET,
					 .sin_port = htons(peer_channel_port(to->channel)),
					 .sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (const struct sockaddr *)&name, sizeof(name)), 0);
	return fd;
}

/* Many who say nothing: bounded, and gone after 5 s; a session that is up does not notice. */
static void test_silent_crowd(void **state)
{
	struct world *world = *state;
	int crowd[PEER_STRANGERS_OF_ONE + 20];
	come_up(world);
	for (size_t i = 0; i < sizeof(crowd) / sizeof(*crowd); i++)
		crowd[i] = raw_connect(&world->b);
	wait_for(world->b.counters.limited >= 20);
	assert_true(world->b.counters.strangers <= PEER_STRANGERS_OF_ONE);
	assert_true(send_page(world->a.remote, 100000));
	wait_for(world->b.frames == 1);
	wait_for(world->b.counters.late == PEER_STRANGERS_OF_ONE);
	assert_int_equal(world->b.downs, 0);
	for (size_t i = 0; i < sizeof(crowd) / sizeof(*crowd); i++)
		close(crowd[i]);
}

/* Garbage from a source that goes on: it is closed unread, then may come again. */
static void test_garbage_is_limited(void **state)
{
	struct world *world = *state;
	wait_for(world->b.ready);
	for (unsigned i = 0; i < 60; i++) {
		int fd = raw_connect(&world->b);
		ssize_t sent = send(fd, "GET / HTTP/1.1\r\n\r\n", 18, MSG_NOSIGNAL);
		(void)sent;
		char answer[64];
		while (recv(fd, answer, sizeof(answer), 0) > 0)
			;
		close(fd);
	}
	wait_for(world->b.counters.garbage >= 20 && world->b.counters.limited > 0);
	assert_true(world->b.counters.garbage < 50);
	while (!world->a.ups) {
		unsigned downs = world->a.downs;
		assert_non_null(dial(&world->a, &world->b, NULL));
		wait_for(world->a.ups || world->a.downs > downs);
	}
	wait_for(world->b.ups == 1);
}

static void test_join(void **state)
{
	struct world *world = *state;
	uint8_t key[KEY_BYTES], public_key[KEY_BYTES];
	struct digest hash;
	struct buffer question, answer;
	struct wire_bytes ca = world_authority_bytes(&world->ca);
	const struct peer_message ask = {.number = PEER_JOIN_ASK,
					 .join_ask = {.secret = {"0123456789abcdef", 16},
						      .fabric = "example",
						      .node = "node-c",
						      .roles = 1,
						      .site = "",
						      .ledger_key = "ed25519:x",
						      .boot_id = "b"}};
	const struct peer_authority authority = {.certificate = ca};
	const struct peer_message take = {
	    .number = PEER_JOIN_TAKE,
	    .join_take = {.node = "node-c", .certificate = ca, .authorities = {&authority, 1}}};
	node_init(&world->c, "node-c", true);
	key_pair_private(world->c.pair, key);
	key_pair_public(world->c.pair, public_key);
	peer_ca_hash(&ca, &hash);
	assert_int_equal(peer_channel_identity(world->c.channel,
					       &(struct channel_identity){.fabric = "example",
									  .node = "node-c",
									  .boot_id = "boot",
									  .instance = "c1",
									  .key = {key, KEY_BYTES},
									  .token_ca = hash},
					       NULL),
			 0);
	buffer_init(&question, 0);
	buffer_init(&answer, 0);
	assert_int_equal(peer_encode(&ask, &question, NULL), 0);
	assert_int_equal(peer_encode(&take, &answer, NULL), 0);
	const struct wire_bytes asked = {.data = question.data, .length = question.length};
	assert_non_null(peer_channel_connect(
	    world->c.channel, &loopback, peer_channel_port(world->b.channel), NULL, &asked, NULL));
	wait_for(world->b.joins == 1);
	assert_memory_equal(world->b.join_key, public_key, KEY_BYTES);
	assert_true(peer_channel_send(world->b.join, answer.data, answer.length));
	wait_for(world->c.downs && world->b.downs);
	assert_int_equal(world->c.frames, 1);
	assert_int_equal(world->c.last_number, PEER_JOIN_TAKE);
	assert_int_equal(world->c.down_how, PEER_END_DONE);
	assert_int_equal(world->b.down_how, PEER_END_DONE);

	/* Too many from one address are put off, without asking the daemon. */
	for (unsigned i = 2; i <= 6; i++) {
		assert_non_null(peer_channel_connect(world->c.channel, &loopback,
						     peer_channel_port(world->b.channel), NULL,
						     &asked, NULL));
		wait_for(world->b.joins == i || world->c.frames == 2);
		if (world->b.joins == i)
			peer_channel_cut(world->b.join, PEER_PARTING_OTHER, "no", NULL);
		wait_for(world->c.downs == i);
	}
	assert_int_equal(world->b.joins, 5);
	assert_int_equal(world->c.last_number, PEER_JOIN_REFUSE);
	assert_int_equal(world->c.down_how, PEER_END_DONE);

	/* By a token of another CA nothing is asked. */
	memset(&hash, 1, sizeof(hash));
	assert_int_equal(peer_channel_identity(world->c.channel,
					       &(struct channel_identity){.fabric = "example",
									  .node = "node-c",
									  .boot_id = "boot",
									  .instance = "c1",
									  .key = {key, KEY_BYTES},
									  .token_ca = hash},
					       NULL),
			 0);
	assert_non_null(peer_channel_connect(
	    world->c.channel, &loopback, peer_channel_port(world->b.channel), NULL, &asked, NULL));
	wait_for(world->c.downs == 7);
	assert_int_equal(world->c.down_how, PEER_END_TLS);
	assert_int_equal(world->b.joins, 5);

	/* Who is no member yet takes nobody in. */
	int fd = raw_connect(&world->c);
	char byte;
	assert_true(recv(fd, &byte, 1, 0) <= 0);
	close(fd);
	buffer_done(&question);
	buffer_done(&answer);
}

/* The other side's process stands still: noticed by silence, in 3 s and a bit. */
static void test_half_open(void **state)
{
	struct world *world = *state;
	come_up(world);
	uint64_t began = clock_now_ms(&clock_system);
	assert_int_equal(kill(peer_channel_pid(world->b.channel), SIGSTOP), 0);
	wait_for(world->a.downs == 1);
	assert_int_equal(world->a.down_how, PEER_END_SILENT);
	assert_true(clock_now_ms(&clock_system) - began >= PEER_SILENCE_MS - PEER_BEAT_MS);
	assert_int_equal(kill(peer_channel_pid(world->b.channel), SIGCONT), 0);
	wait_for(world->b.downs == 1);
}

/* Who does not read costs a bounded queue, and nobody waits. */
static void test_slow_reader(void **state)
{
	struct world *world = *state;
	come_up(world);
	assert_int_equal(kill(peer_channel_pid(world->b.channel), SIGSTOP), 0);
	unsigned sent = 0;
	while (world->a.remote && send_page(world->a.remote, 1000000))
		sent++;
	assert_true(sent <= PEER_QUEUE_BYTES / 1000000 + 1);
	wait_for(world->a.downs == 1);
	assert_int_equal(kill(peer_channel_pid(world->b.channel), SIGCONT), 0);
	wait_for(world->b.downs == 1);
}

/*
 * A daemon that reads slowly: its process stops to read, holds little, and nobody is taken for
 * dead; then all is there. All that is sent has to be under way before that daemon reads the first
 * of it, so its process stands still for a moment; where the moment was too short it is done again.
 */
static void test_slow_daemon(void **state)
{
	struct world *world = *state;
	come_up(world);
	int pid = peer_channel_pid(world->b.channel);
	for (unsigned frames = 30; !world->b.counters.held; frames += 30) {
		assert_true(frames <= 600);
		assert_int_equal(kill(pid, SIGSTOP), 0);
		for (unsigned i = 0; i < 30; i++)
			assert_true(send_page(world->a.remote, 1000000));
		uint64_t moment = clock_now_ms(&clock_system) + 500;
		wait_for(clock_now_ms(&clock_system) > moment);
		world->b.is_slow = true;
		assert_int_equal(kill(pid, SIGCONT), 0);
		wait_for(world->b.frames == frames);
		world->b.is_slow = false;
		wait_for(world->b.counters.frames_in == frames);
		wait_for(!peer_channel_queued(world->a.remote));
		assert_int_equal(world->a.downs + world->b.downs, 0);
	}
}

static void test_killed_and_started(void **state)
{
	struct world *world = *state;
	struct error err;
	come_up(world);
	assert_int_equal(kill(peer_channel_pid(world->b.channel), SIGKILL), 0);
	wait_for(world->b.ends == 1);
	assert_int_equal(world->b.downs, 1);
	assert_non_null(strstr(world->b.why, "signal 9"));
	wait_for(world->a.downs == 1);
	assert_int_equal(world->a.down_how, PEER_END_LEFT);
	assert_null(dial(&world->b, &world->b, NULL));
	assert_int_equal(peer_channel_start(world->b.channel, &err), 0);
	come_up(world);
	assert_int_equal(world->a.ups, 2);
}

/* A node that stops says so, and its peers know why. */
static void test_stop(void **state)
{
	struct world *world = *state;
	come_up(world);
	peer_channel_stop(world->b.channel);
	wait_for(world->b.ends == 1 && world->a.downs == 1);
	assert_int_equal(world->a.down_reason, PEER_PARTING_STOP);
	assert_non_null(strstr(world->b.why, "stopped"));
}

/* --- a process that was taken over ------------------------------------------------------------ */

#define HOSTILE "hostile" /* as the user: this program then plays one, by its number of files */
#define HOSTILE_FIRST 64u

static const struct peer_message heard = {.number = PEER_HEARD, .heard = {.interval_ms = 7}};
static const struct peer_message stray_ask = {.number = PEER_JOIN_ASK,
					      .join_ask = {.fabric = "example",
							   .node = "node-c",
							   .roles = 1,
							   .site = "",
							   .ledger_key = "ed25519:x",
							   .boot_id = "b"}};
static const struct channel_message stranger_up = {
    .number = CHANNEL_UP,
    .up = {.peer = 1,
	   .address = {.bytes = {127, 0, 0, 1}, .family = IP_V4},
	   .node = "node-z",
	   .key = {"0123456789abcdef0123456789abcdef", CHANNEL_KEY_BYTES},
	   .boot_id = "b",
	   .instance = "i",
	   .level = 3}};

static void put(struct buffer *out, const struct channel_message *message)
{
	int result = channel_encode(message, out, NULL);
	ASSERT(result == 0);
}

static void put_frame(struct buffer *out, uint64_t peer, const struct peer_message *message)
{
	struct buffer frame;
	buffer_init(&frame, 0);
	int result = peer_encode(message, &frame, NULL);
	ASSERT(result == 0);
	put(out, &(struct channel_message){
		     .number = CHANNEL_FRAME,
		     .frame = {.peer = peer, .frame = {frame.data, frame.length}}});
	buffer_done(&frame);
}

/* What scenario `number` says; false when there is none. */
static bool be_hostile(unsigned number, struct buffer *out)
{
	struct channel_message message = stranger_up;
	switch (number) {
	case 0:
		buffer_puts(out, "GET / HTTP/1.1\r\n\r\n");
		return true;
	case 1: /* of a peer that was never up */
		put_frame(out, 1, &heard);
		return true;
	case 2: /* up by a connect that nobody asked for */
		message.up.peer = 2;
		message.up.outgoing = true;
		put(out, &message);
		return true;
	case 3: /* up twice */
		put(out, &message);
		put(out, &message);
		return true;
	case 4:
		put(out, &(struct channel_message){
			     .number = CHANNEL_DOWN,
			     .down = {.peer = 1, .how = 1, .sentence = "never was"}});
		return true;
	case 5: /* what only the daemon says */
		put(out, &(struct channel_message){.number = CHANNEL_MEMBERS});
		return true;
	case 6: /* no frame */
		put(out, &message);
		put(out, &(struct channel_message){.number = CHANNEL_FRAME,
						   .frame = {.peer = 1, .frame = {"frame", 5}}});
		return true;
	case 7: /* a question within a member's session */
		put(out, &message);
		put_frame(out, 1, &stray_ask);
		return true;
	case 8: /* more was taken than was sent */
		put(out, &message);
		put(out, &(struct channel_message){.number = CHANNEL_TAKEN,
						   .taken = {.peer = 1, .bytes = 9}});
		return true;
	case 9: /* a join that asks nothing */
		put(out, &(struct channel_message){.number = CHANNEL_JOIN,
						   .join = {.peer = 1,
							    .address = message.up.address,
							    .key = message.up.key,
							    .frame = {"frame", 5}}});
		return true;
	default:
		return false;
	}
}

static int hostile_main(unsigned number)
{
	struct buffer out;
	char byte;
	buffer_init(&out, 0);
	if (be_hostile(number, &out) &&
	    write(PEER_WORKER_PIPE_FD, out.data, out.length) == (ssize_t)out.length)
		while (read(PEER_WORKER_PIPE_FD, &byte, 1) > 0)
			;
	buffer_done(&out);
	return 0;
}

/* It is ended, everybody is told down, and the daemon has believed nothing that has no place. */
static void test_hostile_process(void **state)
{
	(void)state;
	for (unsigned number = 0;; number++) {
		struct buffer out;
		struct error err;
		struct node node = {.name = "node-a"};
		buffer_init(&out, 0);
		bool is_one = be_hostile(number, &out);
		buffer_done(&out);
		if (!is_one)
			break;
		const struct peer_channel_options options = {.loop = &loop,
							     .user = HOSTILE,
							     .files = HOSTILE_FIRST + number,
							     .calls = &calls,
							     .context = &node};
		assert_int_equal(peer_channel_new(&options, &node.channel, &err), 0);
		assert_int_equal(peer_channel_start(node.channel, &err), 0);
		wait_for(node.ends);
		if (!strstr(node.why, "makes no sense") && number)
			fail_msg("scenario %u: %s", number, node.why);
		assert_int_equal(node.ups, node.downs);
		assert_int_equal(node.frames + node.joins, 0);
		peer_channel_free(node.channel);
	}
}

static void test_port_is_taken(void **state)
{
	struct world *world = *state;
	struct peer_channel *channel = NULL;
	struct error err = {0};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof(name);
	(void)world;
	assert_int_equal(bind(fd, (const struct sockaddr *)&name, size), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &size), 0);
	const struct peer_channel_options options = {.loop = &loop,
						     .user = "fairlead",
						     .files = 512,
						     .listens = true,
						     .address = loopback,
						     .port = ntohs(name.sin_port),
						     .calls = &calls};
	assert_int_equal(peer_channel_new(&options, &channel, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, "ss -ltnp"));
	assert_null(channel);
	close(fd);
}

#define WITH_WORLD(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    WITH_WORLD(test_up_and_frames),
	    WITH_WORLD(test_one_frame_for_many),
	    WITH_WORLD(test_no_rights),
	    WITH_WORLD(test_no_files),
	    WITH_WORLD(test_removed),
	    WITH_WORLD(test_copied_disk),
	    WITH_WORLD(test_session_ends_with_its_certificate),
	    WITH_WORLD(test_session_ends_with_its_ca),
	    WITH_WORLD(test_replaced),
	    WITH_WORLD(test_strangers),
	    WITH_WORLD(test_nobody_answers),
	    WITH_WORLD(test_silent_crowd),
	    WITH_WORLD(test_garbage_is_limited),
	    WITH_WORLD(test_join),
	    WITH_WORLD(test_half_open),
	    WITH_WORLD(test_slow_reader),
	    WITH_WORLD(test_slow_daemon),
	    WITH_WORLD(test_killed_and_started),
	    WITH_WORLD(test_stop),
	    WITH_WORLD(test_port_is_taken),
	    cmocka_unit_test(test_hostile_process),
	};
	if (argc > 3 && strcmp(argv[2], HOSTILE) == 0)
		return hostile_main((unsigned)strtoul(argv[3], NULL, 10) - HOSTILE_FIRST);
	if (argc > 1 && strcmp(argv[1], PEER_WORKER_VERB) == 0)
		return peer_worker_main(argc, argv);
	ASSERT(uv_loop_init(&loop) == 0);
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	uv_loop_close(&loop);
	return failed;
}
