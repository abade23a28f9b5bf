/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where nodes stand, and from whom they take what they lack: what the daemon does with its sessions
 * (src/daemon/member/stand.c), with messages that take their time or are lost. Everyone talks to
 * the voter; while it decides nothing, or is not reached, to some others as well. Who was not heard
 * for as long as a session lives in silence is gone.
 */
#include "fabric_world.h"
#include "state/follower.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SILENT_MS 3000u
#define SEEK_MS 1000u
#define SOUGHT 4u

struct stood {
	size_t from;
	uint64_t process;
	bool asks; /* the other one says where it stands, too */
	struct peer_message message;
};

static bool is_voter(const struct node *node)
{
	return node->index == 0;
}

static size_t index_of(const struct world *world, const char *name)
{
	size_t index = strtoul(name + 1, NULL, 10);
	CHECK(world, index < world->node_count, "there is no node %s", name);
	return index;
}

void stand_begin(struct node *node)
{
	standings_done(&node->standings);
	memset(node->stood_ms, 0, sizeof(node->stood_ms));
	node->is_sure = false;
	node->heard_head = 0;
	node->sought_ms = 0;
}

/* --- a voter listens --- */

void voter_listen(struct world *world)
{
	struct node *node = &world->nodes[0];
	const struct voter_verdict verdict = standings_judge(
	    &node->standings, &node->image, node->name, node->is_sure, node->replica.has_peers);
	static const char *const sentences[] = {[VOTER_DECIDES] = "",
						[VOTER_LISTENS] = "it has not heard enough edges",
						[VOTER_IS_BEHIND] = "somebody has more",
						[VOTER_HAS_FORKED] =
						    "somebody has another history"};
	CHECK(world, verdict.standing != VOTER_HAS_FORKED, "rule 4: %s has another history",
	      verdict.node);
	node->is_sure |= verdict.standing == VOTER_DECIDES;
	if (replica_await(&node->replica, sentences[verdict.standing])) {
		trace(world, "the voter %s",
		      verdict.standing == VOTER_DECIDES ? "decides" : node->replica.awaits);
		world->tally->listened += verdict.standing == VOTER_LISTENS;
		world->tally->behind += verdict.standing == VOTER_IS_BEHIND;
	}
}

/* --- messages --- */

static void tell(struct world *world, struct node *node, struct node *other, bool asks);

static void take(struct world *world, struct node *node, const struct stood *stood)
{
	struct error err = {0};
	struct ledger_position mine;
	const struct node *from = &world->nodes[stood->from];
	const struct standing standing = standing_of_message(&stood->message.standing, &mine);
	int result = standings_take(&node->standings, from->name, is_voter(from), &standing);
	CHECK(world, result == 0, "no memory");
	node->stood_ms[stood->from] = world->now_ms;
	if (world->now_ms - node->started_ms < ACTING_ASK_MS &&
	    standing.head.sequence > node->heard_head)
		node->heard_head = standing.head.sequence;
	acting_answered(&node->acting, &standing.head, standing.decides);
	bool was = node->replica.standing == REPLICA_CURRENT;
	result = node_has_disk(node) ? replica_learn(&node->replica, &node->image, &mine, &err) : 0;
	CHECK(world, result == 0 || !node_has_disk(node), "%s does not learn its mark: %s",
	      node->name, err.text);
	if (was && node->replica.standing != REPLICA_CURRENT) {
		trace(world, "%s learns from %s that it has acknowledged entry %" PRIu64,
		      node->name, from->name, mine.sequence);
		world->tally->learned++;
	}
	if (is_voter(node))
		voter_listen(world);
	if (stood->asks)
		tell(world, node, &world->nodes[stood->from], false);
}

static void on_stood(struct world *world, void *context, uint64_t number)
{
	const struct stood *stood = context;
	struct node *node = &world->nodes[number];
	const struct node *from = &world->nodes[stood->from];
	if (node->paused_until_ms > world->now_ms) {
		plan(world, node->paused_until_ms - world->now_ms, on_stood, context, number);
		return;
	}
	/* A session ends with either process. */
	if (!node->runs || node->is_foreign || from->process != stood->process || !from->runs ||
	    is_cut(world, node, from))
		return;
	take(world, node, stood);
	node_dispatch(world, node);
}

static void tell(struct world *world, struct node *node, struct node *other, bool asks)
{
	const struct image *image = &node->image;
	const struct standing own = {
	    .decides = is_voter(node) && replica_is_writable(&node->replica),
	    .head = {.sequence = image->head.sequence, .digest = image->head.digest},
	    .mark = node->replica.acknowledged};
	const struct ledger_position yours = standings_mark(&node->standings, image, other->name);
	if (is_cut(world, node, other) || node->is_removed || other->is_removed)
		return;
	struct stood *stood = arena_alloc(&world->arena, sizeof(*stood));
	CHECK(world, stood, "no memory");
	*stood = (struct stood){.from = node->index,
				.process = node->process,
				.asks = asks,
				.message = standing_message(&own, &yours)};
	uint64_t in_ms = chance(world, 950) ? below(world, 40) : below(world, 2500);
	plan(world, world->is_calm ? 2 : in_ms, on_stood, stood, other->index);
}

/* --- whom to follow --- */

static void leave(struct world *world, struct node *node)
{
	line_cut(world, node);
}

static void follow(struct world *world, struct node *node, const struct node *source)
{
	if (node->source == source && node->line)
		return;
	leave(world, node);
	if (!source)
		return;
	if (!is_voter(source))
		world->tally->by_peer++;
	line_open(world, node, &world->nodes[source->index]);
}

/* The one that is followed has another history, or lacks what it said that it has. */
static void judge_source(struct node *node)
{
	enum follower_state state = follower_state(node->follower);
	if (node->line && (state == FOLLOWER_FORKED || state == FOLLOWER_BEHIND))
		standings_off_chain(&node->standings, node->source->name);
}

static void choose(struct world *world, struct node *node)
{
	const struct ledger_position head = {.sequence = node->image.head.sequence,
					     .digest = node->image.head.digest};
	const char *name = NULL;
	judge_source(node);
	if (is_voter(node)) {
		const struct voter_verdict verdict =
		    standings_judge(&node->standings, &node->image, node->name, node->is_sure,
				    node->replica.has_peers);
		if (verdict.standing == VOTER_IS_BEHIND && verdict.can_give)
			name = verdict.node;
	} else {
		const struct standing_row *row = standings_source(
		    &node->standings, &head, node->line ? node->source->name : NULL);
		name = row ? row->node : NULL;
	}
	follow(world, node, name ? &world->nodes[index_of(world, name)] : NULL);
}

static bool seeks(struct world *world, struct node *node)
{
	if (is_voter(node))
		return *node->replica.awaits != '\0';
	if (node->line && is_voter(node->source)) {
		node->sought_ms = 0;
		return false;
	}
	if (!node->sought_ms)
		node->sought_ms = world->now_ms;
	return world->now_ms - node->sought_ms >= SEEK_MS;
}

static void seek(struct world *world, struct node *node)
{
	const struct image *image = &node->image;
	size_t most = is_voter(node) ? image->member_count : SOUGHT;
	size_t start = image->member_count ? below(world, image->member_count) : 0;
	for (size_t i = 0; i < image->member_count && most; i++) {
		const struct member *member =
		    image->members[(start + i) % image->member_count].member;
		size_t index = index_of(world, member->name);
		if (index == 0 || index == node->index)
			continue;
		tell(world, node, &world->nodes[index], true);
		most--;
	}
}

void stand_tick(struct world *world, struct node *node)
{
	for (size_t i = 0; i < node->standings.count; i++) {
		const char *name = node->standings.rows[i].node;
		if (world->now_ms - node->stood_ms[index_of(world, name)] >= SILENT_MS)
			standings_lost(&node->standings, name);
	}
	acting_ask(&node->acting, world->now_ms);
	if (is_voter(node))
		voter_listen(world);
	else
		tell(world, node, &world->nodes[0], true);
	if (seeks(world, node))
		seek(world, node);
	if (!node->follower)
		return;
	choose(world, node);
	if (node->line)
		follower_run(node->follower, clock_now_ms(&node->clock));
}
