/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line in each direction between a node's peer engine (store/peer/client.h) and the voter's store
 * as it is served to that node (server.h). Frames arrive in order, each after a time of its own, or
 * never when the line is cut.
 */
#include "fabric_world.h"
#include "store/peer/client.h"
#include "store/peer/server.h"

#include <string.h>

struct line {
	struct world *world;
	struct node *node;
	struct store_session *session;
	bool is_up;
	uint64_t until_ms[2]; /* when the last frame to the voter, to the node arrives */
	size_t queued[2];
};

/* A line that was cut is not used again; frames on their way find that out. */
struct frame {
	struct line *line;
	size_t length;
	char bytes[];
};

enum direction { TO_VOTER, TO_NODE };

static bool is_paused(const struct world *world, const struct node *node)
{
	return node->paused_until_ms > world->now_ms;
}

static void on_frame(struct world *world, void *context, uint64_t direction)
{
	const struct frame *frame = context;
	struct line *line = frame->line;
	struct node *receiver = direction == TO_VOTER ? &world->nodes[0] : line->node;
	if (!line->is_up)
		return;
	if (is_paused(world, receiver)) {
		plan(world, receiver->paused_until_ms - world->now_ms, on_frame, context,
		     direction);
		return;
	}
	if (line->node->cut_until_ms > world->now_ms) {
		line_cut(line->node);
		return;
	}
	line->queued[direction] -= frame->length;
	if (direction == TO_VOTER)
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

static bool send_to_voter(void *context, const void *bytes, size_t length)
{
	return send(context, TO_VOTER, bytes, length);
}

static bool send_to_node(void *context, const void *bytes, size_t length)
{
	return send(context, TO_NODE, bytes, length);
}

static size_t queued_to_voter(void *context)
{
	return ((const struct line *)context)->queued[TO_VOTER];
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

void line_open(struct world *world, struct node *node)
{
	if (node->line || !node->peer || !voter_runs(world) || node->cut_until_ms > world->now_ms ||
	    node->is_foreign || node->is_removed)
		return;
	struct line *line = arena_alloc(&world->arena, sizeof(*line));
	CHECK(world, line, "no memory");
	*line = (struct line){.world = world, .node = node, .is_up = true};
	const struct peer_line of_voter = {
	    .send = send_to_node, .queued = queued_to_node, .cut = ask_for_cut, .context = line};
	const struct peer_line of_node = {
	    .send = send_to_voter, .queued = queued_to_voter, .cut = ask_for_cut, .context = line};
	int result =
	    store_session_up(world->nodes[0].replica.store, &of_voter, &line->session, NULL);
	CHECK(world, result == 0, "no session: %s", error_text(result));
	node->line = line;
	store_peer_up(node->peer, &of_node);
}

void line_cut(struct node *node)
{
	struct line *line = node->line;
	if (!line)
		return;
	node->line = NULL;
	line->is_up = false;
	store_session_down(line->session);
	store_peer_down(node->peer);
}
