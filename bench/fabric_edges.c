/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench-fabric-edges ADDRESS PORT: up to EDGES_MAX edges of a fabric in one process, towards the
 * voter whose node channel is there. What they do is told by lines on standard input:
 *
 *   join TOKEN   one more machine joins, by the real join; some at a time
 *   up N         the first N of those that joined are to be up and to follow
 *   silent       no edge acknowledges anything from now on (for a test that something is missed)
 *   traffic      tell what went over the sessions
 *
 * and what became of it by lines of JSON on standard output:
 *
 *   {"event": "joined", "edges": 3}
 *   {"event": "up", "edges": 3}
 *   {"event": "held", "sequence": 12, "kind": "apply", "edges": 3, "bytes": 20480,
 *    "first_s": 81.5, "last_s": 81.6}
 *   {"event": "traffic", "frames_in": …, "frames_out": …, "bytes_in": …, "bytes_out": …,
 *    "acknowledgement": …, "lost": …}
 *
 * `held` comes when all that are up have taken a ledger entry in and have acknowledged it; the
 * times are those of the first and of the last of them, in seconds of CLOCK_MONOTONIC. The program
 * ends with its standard input, and with a sentence at the first surprise. A session that ends
 * since a side stood still is begun again, as a node does, and counted.
 */
#include "base/clock.h"
#include "base/memory.h"
#include "bench/fabric_edge.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define EDGES_MAX 4096u
#define AT_ONCE 16u /* joins or connects under way */
#define TICK_MS 5u
#define ENTRIES 1024u /* of the ledger, that not all hold yet */

struct entry_held {
	uint64_t sequence;
	unsigned edges;
	double first_s;
};

static struct edges edges;
static struct edge *list[EDGES_MAX];
static char *tokens[EDGES_MAX];
static unsigned token_count; /* as many edges were told to join */
static unsigned joining, joined; /* begun, done */
static unsigned wanted, connecting, up; /* edges that are to be up; begun, done */
static struct entry_held held[ENTRIES];
static uv_pipe_t input;
static struct buffer line;

static double now_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* --- what comes next -------------------------------------------------------------------------- */

static void go_on(void)
{
	while (joining < token_count && joining < joined + AT_ONCE) {
		list[joining] = edge_new(&edges, joining);
		edge_join(list[joining], tokens[joining]);
		joining++;
	}
	/* The first one reads everything, for all of them. */
	while (connecting < wanted && connecting < joined && connecting < up + AT_ONCE &&
	       (connecting == 0 || up > 0))
		edge_connect(list[connecting++]);
}

static void on_joined(struct edge *edge)
{
	(void)edge;
	printf("{\"event\": \"joined\", \"edges\": %u}\n", ++joined);
	go_on();
}

static void on_follows(struct edge *edge)
{
	(void)edge;
	if (++up == wanted)
		printf("{\"event\": \"up\", \"edges\": %u}\n", up);
	go_on();
}

static void on_held(struct edge *edge, const struct view_revision *told)
{
	struct entry_held *entry = &held[told->entry.sequence % ENTRIES];
	(void)edge;
	if (entry->sequence != told->entry.sequence)
		*entry = (struct entry_held){.sequence = told->entry.sequence, .first_s = now_s()};
	if (++entry->edges == up)
		printf("{\"event\": \"held\", \"sequence\": %llu, \"kind\": \"%s\", \"edges\": %u, "
		       "\"bytes\": %zu, \"first_s\": %.6f, \"last_s\": %.6f}\n",
		       (unsigned long long)entry->sequence, told->kind, up, told->bytes,
		       entry->first_s, now_s());
}

static void on_tick(uv_timer_t *timer)
{
	struct peer_now now = peer_now_read();
	(void)timer;
	for (unsigned i = 0; i < joining; i++)
		edge_tick(list[i], now);
}

/* --- what is asked for ------------------------------------------------------------------------ */

static void tell_traffic(void)
{
	struct edge_traffic sum = {0};
	for (unsigned i = 0; i < connecting; i++) {
		struct edge_traffic one = edge_traffic(list[i]);
		sum.frames_in += one.frames_in;
		sum.frames_out += one.frames_out;
		sum.bytes_in += one.bytes_in;
		sum.bytes_out += one.bytes_out;
	}
	printf(
	    "{\"event\": \"traffic\", \"frames_in\": %llu, \"frames_out\": %llu, "
	    "\"bytes_in\": %llu, \"bytes_out\": %llu, \"acknowledgement\": %zu, \"lost\": %llu}\n",
	    (unsigned long long)sum.frames_in, (unsigned long long)sum.frames_out,
	    (unsigned long long)sum.bytes_in, (unsigned long long)sum.bytes_out,
	    view_acknowledgement_bytes(edges.view), (unsigned long long)edges.lost);
}

static void obey(const char *words)
{
	if (strncmp(words, "join ", 5) == 0 && token_count < EDGES_MAX)
		tokens[token_count++] = must_have(strdup(words + 5));
	else if (strncmp(words, "up ", 3) == 0)
		wanted = (unsigned)strtoul(words + 3, NULL, 10);
	else if (strcmp(words, "silent") == 0)
		edges.acknowledges = false;
	else if (strcmp(words, "traffic") == 0)
		tell_traffic();
	else
		errx(1, "\"%s\" is not understood", words);
	go_on();
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_part)
{
	static char chunk[4096];
	(void)handle;
	(void)suggested;
	*ret_part = uv_buf_init(chunk, sizeof(chunk));
}

static void on_input(uv_stream_t *stream, ssize_t length, const uv_buf_t *part)
{
	char *end;
	if (length < 0) {
		uv_stop(stream->loop);
		return;
	}
	buffer_append(&line, part->base, (size_t)length);
	while (line.length && (end = memchr(line.data, '\n', line.length))) {
		*end = '\0';
		obey(line.data);
		buffer_consume(&line, (size_t)(end - line.data) + 1);
	}
}

int main(int argc, char **argv)
{
	uv_loop_t loop;
	uv_timer_t timer;
	struct rlimit files;
	if (argc != 3 || ip_address_parse(argv[1], &edges.voter) < 0 || edges.voter.family != IP_V4)
		errx(2, "bench-fabric-edges ADDRESS PORT, of IPv4");
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	uv_loop_init(&loop);
	random_init_system(&edges.random);
	edges.loop = &loop;
	edges.port = (uint16_t)strtoul(argv[2], NULL, 10);
	edges.view = view_new();
	edges.acknowledges = true;
	edges.on_joined = on_joined;
	edges.on_follows = on_follows;
	edges.on_held = on_held;
	buffer_init(&line, 0);
	uv_timer_init(&loop, &timer);
	uv_timer_start(&timer, on_tick, TICK_MS, TICK_MS);
	uv_pipe_init(&loop, &input, 0);
	if (uv_pipe_open(&input, 0) < 0 ||
	    uv_read_start((uv_stream_t *)&input, on_allocate, on_input) < 0)
		errx(1, "standard input is no pipe");
	uv_run(&loop, UV_RUN_DEFAULT);
	return 0;
}
