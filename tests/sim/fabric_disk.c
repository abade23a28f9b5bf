/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operators who keep copies of a node's disk, and put them back. What they put back the node can
 * notice (PROTOCOL.md rule 3): the database alone, below the mark that lies beside it, or the whole
 * folder, below the mark of maps that forward. Or only others can tell: a whole folder without maps
 * (rules 3 and 4). Of a voter's that is put back only while so many edges have all that was decided
 * that one of them is in every majority: what only a minority has, a majority cannot tell, and the
 * voter finds out later (rule 4). So is left out an entry that a voter decided at the very moment
 * when its power went, before it was noted.
 */
#include "fabric_world.h"
#include "power_disk.h"

#include <stdio.h>

static const char *database_of(const struct node *node, char path[128])
{
	snprintf(path, 128, "%s/store.db", node->folder);
	return path;
}

static const char *folder_of(const struct node *node, char path[128])
{
	snprintf(path, 128, "%s/", node->folder);
	return path;
}

void disk_keep(struct world *world, struct node *node, uint64_t sequence)
{
	char path[128];
	if (world->is_calm || node->is_set_back || !sequence ||
	    !chance(world, node->older ? 300 : 900))
		return;
	power_copy_free(node->older);
	node->older = power_disk_copy(folder_of(node, path));
	node->older_sequence = sequence;
}

static void put_newest(struct world *world, struct node *node)
{
	char path[128];
	trace(world, "%s gets its newest state back", node->name);
	(void)node_has_disk(node);
	power_disk_put_back(node->newest, folder_of(node, path));
	power_copy_free(node->newest);
	node->newest = NULL;
	node->is_set_back = false;
}

/* Of a voter: in each majority of the edges there is one that has everything. */
static bool others_can_tell(const struct world *world, const struct node *node)
{
	size_t edges = 0;
	size_t whole = 0;
	if (node->index != 0)
		return true;
	for (size_t i = 0; i < world->node_count; i++) {
		const struct node *other = &world->nodes[i];
		bool is_edge = (world->members[i] & MEMBER_EDGE) != 0;
		edges += is_edge;
		whole +=
		    is_edge && i != 0 && !other->is_set_back && other->published >= world->head;
	}
	return whole && whole >= edges - edges / 2;
}

void disk_see_to(struct world *world, struct node *node)
{
	struct mark mark;
	if (!node->newest)
		return;
	if (!node->is_set_back) {
		power_copy_free(node->newest);
		node->newest = NULL;
		return;
	}
	int result = mark_read(&mark, &power_disk, node->folder);
	CHECK(world, result == 0, "no memory");
	bool notices = mark.newest.position.sequence >= node_told(node) ||
		       node->pinned.position.sequence >= node_told(node);
	node->is_unaware = !notices && others_can_tell(world, node);
	if (node->is_unaware)
		world->tally->unaware++;
	else if (!notices)
		put_newest(world, node);
}

static void on_newest(struct world *world, void *context, uint64_t number)
{
	struct node *node = context;
	(void)number;
	if (!node->newest || !node->is_set_back)
		return;
	if (node->has_power)
		node_stop(world, node);
	if (node->has_power && node_has_disk(node))
		put_newest(world, node);
	else
		plan(world, 1000, on_newest, node, 0);
}

static void on_outage(struct world *world, void *context, uint64_t number)
{
	struct node *node = context;
	(void)number;
	if (node->runs && node->is_set_back)
		node_lose_power(world, node);
}

static void on_set_back(struct world *world, void *context, uint64_t number)
{
	(void)number;
	if (!world->is_calm)
		disk_set_back(world, context);
}

/* While the voter may ask what others have, these keep it; and the other way round. */
static bool someone_else_is(const struct world *world, const struct node *node)
{
	for (size_t i = 0; i < world->node_count; i++) {
		if (world->nodes[i].is_set_back && (i == 0 || node->index == 0))
			return true;
	}
	return false;
}

void disk_set_back(struct world *world, struct node *node)
{
	char path[128];
	bool is_voter = node->index == 0;
	bool whole = chance(world, 400);
	if (!node->has_power || node->is_set_back || someone_else_is(world, node))
		return;
	if (!node->older) {
		node_stop(world, node);
		plan(world, 2000 + below(world, 20000), on_set_back, node, 0);
		return;
	}
	bool unaware = whole && chance(world, 500);
	if (whole && !unaware &&
	    (node->pinned.position.sequence < node_told(node) || !node->maps.is_there))
		return;
	if (is_voter && node->older_sequence >= node_told(node) &&
	    node->older_sequence < world->head)
		return;
	node_stop(world, node);
	if (!node_has_disk(node))
		return;
	trace(world, "%s gets an older %s back: entry %" PRIu64 " of %" PRIu64, node->name,
	      whole ? "state" : "database", node->older_sequence, node_told(node));
	world->tally->set_back++;
	power_copy_free(node->newest);
	node->newest = power_disk_copy(folder_of(node, path));
	power_disk_put_back(node->older, whole ? folder_of(node, path) : database_of(node, path));
	node->is_set_back = true;
	if (is_voter)
		plan(world, 3000 + below(world, 8000), on_newest, node, 0);
	/* Maps end with the power, and what is put back has to be noticed all the same. */
	if (unaware) {
		node_lose_power(world, node);
	} else if (whole && chance(world, 300)) {
		node->cut_until_ms = world->now_ms + 5000;
		plan(world, 500 + below(world, 3000), on_outage, node, 0);
	} else if (!whole && chance(world, is_voter ? 700 : 300)) {
		node_lose_power(world, node);
	}
}

void disk_set_right(struct world *world, struct node *node)
{
	if (node->index == 0)
		on_newest(world, node, 0);
}
