/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line in each direction between a node's peer engine (store/peer/client.h) and the store of
 * another as it is served to that node (server.h). Frames arrive in order, each after a time of its
 * own, or never when the line is cut; that is noticed at once, or, half-open, when nothing was
 * heard for long.
 */
#include "fabric_world.h"
#include "state/follower.h"
#include "store/peer/client.h"
#include "store/peer/server.h"

#include <string.h>

#define SILENT_MS 3000u

struct line {
	struct world *world;
	struct node *node;
	struct node *server;
	bool is_deaf; /* frames are lost, and nobody knows yet */
	struct store_session *session;
	bool is_up;
	uint64_t until_ms[2]; /* when the last frame to the server, to the node arrives */
	size_t queued[2];
};

/* A line that was cut is not used again; frames on their way find that out. */
struct frame {
	struct line *line;
	size_t length;
	char bytes[];
};

enum direction { TO_SERVER, TO_NODE };

bool is_cut(const struct world *world, const struct node *a, const struct node *b)
{
	bool is_to_voter = a->index == 0 || b->index == 0;
	return a->cut_until_ms > world->now_ms || b->cut_until_ms > world->now_ms ||
	       (is_to_voter &&
		(a->apart_until_ms > world->now_ms || b->apart_until_ms > world->now_ms));
}

/* Nothing was heard for as long as a session lives. */
static void on_silent(struct world *world, void *context, uint64_t number)
{
	struct line *line = context;
	(void)number;
	if (line->is_up)
		line_cut(world, line->node);
}

static bool is_paused(const struct world *world, const struct node *node)
{
	return node->paused_until_ms > world->now_ms;
}

static void on_frame(struct world *world, void *context, uint64_t direction)
{
	const struct frame *frame = context;
	struct line *line = frame->line;
	struct node *receiver = direction == TO_SERVER ? line->server : line->node;
	if (!line->is_up || line->is_deaf)
		return;
	if (is_paused(world, receiver)) {
		plan(world, receiver->paused_until_ms - world->now_ms, on_frame, context,
		     direction);
		return;
	}
	if (is_cut(world, line->node, line->server)) {
		line->is_deaf = true;
		plan(world, chance(world, 500) ? 0 : SILENT_MS, on_silent, line, 0);
		return;
	}
	line->queued[direction] -= frame->length;
	if (direction == TO_SERVER)
		store_session_take(line->session, frame->bytes, frame->length);
	else
		store_peer_take(line->node->peer, frame->bytes, frame->length);
	node_dispatch(world, receiver);
}

static bool send(struct line *line, enum direction direction, const void *bytes, size_t length)
{
	struct world *world = line->world;
	struct frame *frame = arena_alloc(&world->arena, sizeof(*frame) + length);
	uint64_t delay_ms = chance(world, 950) ? below(world, 20) : below(world, 2500);
	uint64_t at_ms = world->now_ms + (world->is_calm ? 1 : delay_ms);
	if (!line->is_up)
		return false;
	CHECK(world, frame, "no memory");
	frame->line = line;
	frame->length = length;
	memcpy(frame->bytes, bytes, length);
	if (at_ms < line->until_ms[direction])
		at_ms = line->until_ms[direction];
	line->until_ms[direction] = at_ms;
	line->queued[direction] += length;
	plan(world, at_ms - world->now_ms, on_frame, frame, direction);
	return true;
}

static bool send_to_server(void *context, const void *bytes, size_t length)
{
	return send(context, TO_SERVER, bytes, length);
}

static bool send_to_node(void *context, const void *bytes, size_t length)
{
	return send(context, TO_NODE, bytes, length);
}

static size_t queued_to_server(void *context)
{
	return ((const struct line *)context)->queued[TO_SERVER];
}

static size_t queued_to_node(void *context)
{
	return ((const struct line *)context)->queued[TO_NODE];
}

static void ask_for_cut(void *context)
{
	struct line *line = context;
	violation(line->world, "the line of %s makes no sense to one of its ends",
		  line->node->name);
}

void line_open(struct world *world, struct node *node, struct node *server)
{
	static const char read_only[] = "a voter decides";
	if (node->line || !node->peer || !server->runs || !node_has_disk(server) ||
	    server->is_foreign || node->is_foreign || node->is_removed || server->is_removed ||
	    is_cut(world, node, server))
		return;
	struct line *line = arena_alloc(&world->arena, sizeof(*line));
	CHECK(world, line, "no memory");
	*line = (struct line){.world = world, .node = node, .server = server, .is_up = true};
	const struct peer_line of_server = {
	    .send = send_to_node, .queued = queued_to_node, .cut = ask_for_cut, .context = line};
	const struct peer_line of_node = {.send = send_to_server,
					  .queued = queued_to_server,
					  .cut = ask_for_cut,
					  .context = line};
	int result =
	    store_session_up(server->replica.store, &of_server, read_only, &line->session, NULL);
	CHECK(world, result == 0, "no session: %s", error_text(result));
	node->line = line;
	node->source = server;
	store_peer_up(node->peer, &of_node);
}

void line_cut(struct world *world, struct node *node)
{
	struct line *line = node->line;
	(void)world;
	if (!line)
		return;
	node->line = NULL;
	node->source = NULL;
	line->is_up = false;
	store_peer_down(node->peer);
	store_session_down(line->session);
	follower_leave(node->follower);
	/* What was asked over this line is not answered over the next one. */
	if (node_has_disk(node))
		store_dispatch(node->peer);
}
