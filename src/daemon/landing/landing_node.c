/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon of a backend without a replica: what its landing shall be, it hears from a node over a
 * socket of that node's, and there it reports its connections every interval. When the node cannot
 * be reached it keeps what it has and tries again: packets land all the same.
 */
#include "base/digest.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/random.h"
#include "daemon/daemon.h"
#include "daemon/landing/landing_talk.h"
#include "daemon/member/peer_stream.h"
#include "kernel/boot.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define RETRY_MS 500u
#define ANSWER_MS 5000u /* after this silence the node is taken for gone, and tried anew */

struct landing_node {
	const struct daemon_options *options;
	uv_loop_t loop;
	struct landing_plane *plane;
	struct landing_talk talk;
	uv_timer_t report_timer;
	uv_timer_t watchdog;
	struct signals_watch signals;
	struct peer_stream stream;
	uv_connect_t connect;
	bool stream_open; /* the handle exists */
	bool connected; /* messages may be sent */
	bool said_unreachable;
	char boot_id[BOOT_ID_BYTES];
	char instance[33]; /* hex; tells this process from another one of the same name */
};

static void report(struct landing_node *node);

static void on_report_timer(uv_timer_t *timer)
{
	report(timer->data);
}

static void report_in(struct landing_node *node, uint64_t ms)
{
	uv_timer_start(&node->report_timer, on_report_timer, ms, 0);
}

static void lost(struct landing_node *node, const char *why)
{
	if (!node->said_unreachable)
		log_event(LOG_LEVEL_WARNING, "node.unreachable", "socket", node->options->join,
			  "error", why, NULL);
	node->said_unreachable = true;
	node->connected = false;
	landing_talk_lost(&node->talk);
	report_in(node, RETRY_MS);
}

static void on_stream_end(struct peer_stream *stream, const char *why)
{
	lost(stream->context, why);
}

static void on_stream_closed(struct peer_stream *stream)
{
	struct landing_node *node = stream->context;
	node->stream_open = false;
}

static void on_message(struct peer_stream *stream, const struct peer_message *message,
		       struct arena *arena)
{
	struct landing_node *node = stream->context;
	struct error err = {0};
	uint64_t next_ms;
	(void)arena;
	if (landing_talk_take(&node->talk, message, &next_ms, &err) < 0) {
		peer_stream_end(stream, err.text);
		return;
	}
	if (next_ms == LANDING_TALK_LATER)
		return;
	if (node->said_unreachable)
		log_event(LOG_LEVEL_INFO, "node.reached", "socket", node->options->join, NULL);
	node->said_unreachable = false;
	report_in(node, next_ms);
}

/* A node of an earlier release has only the local API there. */
static const char *why_not_connected(const struct landing_node *node, int status)
{
	if (status == UV_ENOENT && access(node->options->join, F_OK) == 0)
		return "the node there is of an earlier release and cannot hear this landing: "
		       "upgrade it. Packets go on landing as they did";
	return uv_strerror(status);
}

static void on_connected(uv_connect_t *request, int status)
{
	struct landing_node *node = request->data;
	if (status == UV_ECANCELED)
		return;
	if (status < 0) {
		peer_stream_end(&node->stream, why_not_connected(node, status));
		return;
	}
	node->connected = true;
	peer_stream_start(&node->stream);
	peer_stream_send(&node->stream,
			 &(struct peer_message){.number = PEER_HELLO,
						.hello = {.level = PEER_LEVEL,
							  .node = node->options->node,
							  .boot_id = node->boot_id,
							  .instance = node->instance}});
	report(node);
}

static void reconnect(struct landing_node *node)
{
	if (node->stream_open) {
		report_in(node, RETRY_MS); /* the old handle is still closing */
		return;
	}
	node->stream.context = node;
	node->stream.on_message = on_message;
	node->stream.on_end = on_stream_end;
	node->stream.on_closed = on_stream_closed;
	peer_stream_init(&node->stream, &node->loop);
	node->connect.data = node;
	node->stream_open = true;
	uv_pipe_connect(&node->connect, &node->stream.pipe, node->options->join_peers,
			on_connected);
}

static void report(struct landing_node *node)
{
	if (!node->connected) {
		reconnect(node);
		return;
	}
	if (node->talk.awaiting) {
		peer_stream_end(&node->stream, "it does not answer");
		return;
	}
	struct arena arena;
	struct peer_message message;
	arena_init(&arena, 0);
	if (landing_talk_report(&node->talk, &arena, &message))
		peer_stream_send(&node->stream, &message);
	arena_done(&arena);
	if (node->connected)
		report_in(node, node->talk.awaiting ? ANSWER_MS : node->talk.interval_ms);
}

static void on_walk(uv_handle_t *handle, void *context)
{
	(void)context;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void start_handles(struct landing_node *node)
{
	landing_plane_start(node->plane, &node->loop);
	uv_timer_init(&node->loop, &node->report_timer);
	node->report_timer.data = node;
	daemon_watchdog_start(&node->loop, &node->watchdog);
	node->signals = (struct signals_watch){
	    .event = "landing.stopping", .key = "landing", .value = "stays in place"};
	signals_watch_start(&node->signals, &node->loop);
}

static void draw_instance(char text[33])
{
	uint8_t bytes[16];
	struct random random;
	random_init_system(&random);
	random_fill(&random, bytes, sizeof(bytes));
	hex_encode(bytes, sizeof(bytes), text);
}

int landing_node_run(const struct daemon_options *options, struct error *err)
{
	struct landing_node node = {.options = options};
	draw_instance(node.instance);
	int result = boot_id_read(node.boot_id, err);
	if (result == 0)
		result = landing_plane_open(options, &node.plane, err);
	if (result < 0)
		return result;
	landing_talk_init(&node.talk, node.plane);
	uv_loop_init(&node.loop);
	start_handles(&node);
	log_event(LOG_LEVEL_INFO, "landing.started", "node", options->node, "join", options->join,
		  NULL);
	daemon_notify("READY=1");
	report(&node);
	uv_run(&node.loop, UV_RUN_DEFAULT);

	daemon_notify("STOPPING=1");
	node.said_unreachable = true;
	if (node.stream_open)
		peer_stream_end(&node.stream, "this landing stops");
	landing_plane_stop(node.plane);
	uv_walk(&node.loop, on_walk, NULL);
	uv_run(&node.loop, UV_RUN_DEFAULT);
	uv_loop_close(&node.loop);
	return landing_plane_close(node.plane, err);
}
