/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/passing.h"

#include "base/siphash.h"

#include <stdio.h>
#include <string.h>

/* Who comes first of two nodes, for this one: so that not everybody chooses the same few. */
static uint64_t rank_of(const char *node, const char *other)
{
	static const uint8_t key[SIPHASH_KEY_BYTES] = {0};
	char both[2 * MODEL_NAME_BYTES];
	int length = snprintf(both, sizeof(both), "%s/%s", node, other);
	return siphash24(key, both, (size_t)length);
}

/* --- who is behind --- */

static bool is_behind(const struct passing_sight *sight)
{
	const struct passing_told *told = sight->told;
	if (!sight->is_current || !sight->forwarded)
		return true;
	if (sight->decides)
		return false;
	return !told->is_told || sight->now_ms - told->told_ms >= OBSERVATION_EDGE_HEARD_MS ||
	       told->sequence > sight->forwarded;
}

static bool is_told_of(const struct passing_told *told, const char *node)
{
	for (size_t i = 0; i < told->count; i++) {
		if (strcmp(told->names[i], node) == 0)
			return true;
	}
	return false;
}

/* The source of the member's tunnels that this edge can send to; IPv4 takes less of a packet. */
static bool find_address(const struct passing_sight *sight, const struct member *member,
			 struct ip_address *ret_address)
{
	bool found = false;
	for (size_t i = 0; i < member->source_count; i++) {
		const struct ip_address *source = &member->sources[i];
		if (source->family == IP_V4 ? !sight->has_v4 : !sight->has_v6 || found)
			continue;
		*ret_address = *source;
		found = true;
	}
	return found;
}

/* In the order of their ranks; whoever has no room is left out. */
static void add_peer(const struct passing_sight *sight, struct passing_plan *plan,
		     const struct member *member)
{
	struct passing_peer peer = {.member = member};
	const uint64_t rank = rank_of(sight->node, member->name);
	size_t at = 0;
	if (!find_address(sight, member, &peer.address))
		return;
	while (at < plan->peer_count && rank_of(sight->node, plan->peers[at].member->name) < rank)
		at++;
	if (at == PASSING_PEERS)
		return;
	size_t after = plan->peer_count - at;
	if (plan->peer_count == PASSING_PEERS)
		after--;
	else
		plan->peer_count++;
	memmove(&plan->peers[at + 1], &plan->peers[at], after * sizeof(peer));
	plan->peers[at] = peer;
}

static void add_peers(const struct passing_sight *sight, struct passing_plan *plan, bool told_only)
{
	const struct image *image = sight->image;
	for (size_t i = 0; i < image->member_count; i++) {
		const struct member *member = image->members[i].member;
		if (member_has(member, MEMBER_EDGE) && strcmp(member->name, sight->node) != 0 &&
		    (!told_only || is_told_of(sight->told, member->name)))
			add_peer(sight, plan, member);
	}
}

struct passing_plan passing_decide(const struct passing_sight *sight)
{
	struct passing_plan plan = {.is_behind = is_behind(sight)};
	if (sight->told->is_told)
		add_peers(sight, &plan, true);
	if (!plan.peer_count)
		add_peers(sight, &plan, false);
	return plan;
}

/* --- what voters tell --- */

/* The newest entry that the member's maps do, if it was heard lately; 0: not. */
static const struct applied_point *heard_point(const struct sights *sights,
					       const struct member *member)
{
	const struct observed_node *node = observations_find(sights->observations, member->name);
	if (!member_has(member, MEMBER_EDGE) || !node || !node->is_edge ||
	    !node->edge_applied.count ||
	    sights->now_ms - node->heard_ms >= OBSERVATION_EDGE_HEARD_MS)
		return NULL;
	return &node->edge_applied.points[node->edge_applied.count - 1];
}

struct peer_foremost passing_foremost(const struct sights *sights, const char *node,
				      struct peer_holder *rows)
{
	const struct image *image = sights->image;
	struct peer_foremost message = {.holders = {.items = rows}};
	size_t count = 0;
	for (size_t i = 0; i < image->member_count; i++) {
		const struct applied_point *point = heard_point(sights, image->members[i].member);
		if (point && point->sequence > message.sequence)
			message.sequence = point->sequence;
	}
	for (size_t i = 0; i < image->member_count && message.sequence; i++) {
		const struct member *member = image->members[i].member;
		const struct applied_point *point = heard_point(sights, member);
		if (!point || point->sequence < message.sequence || strcmp(member->name, node) == 0)
			continue;
		const uint64_t rank = rank_of(node, member->name);
		size_t at = count;
		while (at > 0 && rank_of(node, rows[at - 1].node) > rank)
			at--;
		if (at == PASSING_PEERS)
			continue;
		const size_t after = (count < PASSING_PEERS ? count : PASSING_PEERS - 1) - at;
		memmove(&rows[at + 1], &rows[at], after * sizeof(*rows));
		rows[at].node = member->name;
		count += count < PASSING_PEERS;
	}
	message.holders.count = count;
	return message;
}

void passing_take(struct passing_told *told, const struct peer_foremost *message, uint64_t now_ms)
{
	*told = (struct passing_told){
	    .is_told = true, .told_ms = now_ms, .sequence = message->sequence};
	for (size_t i = 0; i < message->holders.count && i < PASSING_PEERS; i++)
		snprintf(told->names[told->count++], MODEL_NAME_BYTES, "%s",
			 message->holders.items[i].node);
}
