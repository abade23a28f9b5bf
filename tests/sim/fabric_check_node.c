/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one node does, judged by what the world knows of it: whatever it once told, what its disk
 * would keep, and the chain of all entries that were ever committed. fabric_check.c says which rule
 * is shown where.
 */
#include "fabric_world.h"
#include "power_disk.h"

#include <stdio.h>
#include <string.h>

uint64_t node_told(const struct node *node)
{
	uint64_t most = 0;
	for (size_t i = 0; i < TOLD_AS; i++)
		most = node->told[i] > most ? node->told[i] : most;
	return most;
}

/* Is its state older than what it acknowledged? */
static bool is_below(const struct node *node)
{
	return node->image.head.sequence < node_told(node);
}

static bool is_synced(const struct node *node, const char *file)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/%s", node->folder, file);
	return !node_has_disk(node) || power_disk_is_synced(path);
}

/* --- the replica --- */

void check_opened(struct world *world, struct node *node)
{
	uint64_t head = node->image.head.sequence;
	check_image(world, node);
	if (is_below(node) && node->replica.standing == REPLICA_CURRENT && !node->is_unaware)
		violation(world, "rule 3: %s believes entry %" PRIu64 ", and has told %" PRIu64,
			  node->name, head, node_told(node));
	if (node->replica.kind != REPLICA_STORE || node->is_set_back)
		return;
	CHECK(world, head >= node->published,
	      "replica first: %s published entry %" PRIu64 ", and starts at %" PRIu64, node->name,
	      node->published, head);
	CHECK(world, node->index != 0 || node->image.revision >= world->told_revision,
	      "revision %" PRIu64 " is lost, which others were told of: the store is at %" PRIu64,
	      world->told_revision, node->image.revision);
}

void check_image(struct world *world, struct node *node)
{
	const struct ledger_head *head = &node->image.head;
	if (node->is_set_back && head->sequence >= node->published && !is_below(node)) {
		node->is_set_back = node->is_unaware = false;
		world->tally->caught_up++;
	}
	if (!head->sequence || (node->index == 0 && head->sequence > world->head))
		return;
	CHECK(world,
	      head->sequence <= world->head &&
		  memcmp(&head->digest, &world->chain[head->sequence], sizeof(head->digest)) == 0,
	      "rules 1, 2: %s takes in entry %" PRIu64 ", which was never committed", node->name,
	      head->sequence);
}

/* --- what it publishes --- */

static bool same_entries(const struct table *a, const struct table *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct entry *left = &a->entries[i];
		const struct entry *right = &b->entries[i];
		if (left->pool != right->pool || left->slot != right->slot ||
		    left->known != right->known || left->number != right->number ||
		    left->refusing != right->refusing)
			return false;
	}
	return true;
}

/* Publishing what the disk would not keep. */
static void check_durable(struct world *world, struct node *node, const char *what)
{
	uint64_t head = node->image.head.sequence;
	if (node->replica.kind != REPLICA_STORE)
		return;
	CHECK(world, is_synced(node, "store.db"),
	      "replica first: %s of %s show entry %" PRIu64 ", which its disk may lose", what,
	      node->name, head);
	if (head > node->published)
		node->published = head;
}

/* By an older state only where there is nobody else and nothing forwards: an outage is certain
 * otherwise. */
static void check_alone(struct world *world, const struct node *node, const char *what)
{
	CHECK(world, node->is_unaware || (node->index == 0 && !world->has_others),
	      "rule 3: %s of %s show entry %" PRIu64 ", below its mark %" PRIu64, what, node->name,
	      node->image.head.sequence, node_told(node));
}

void check_table(struct world *world, struct node *node, const struct table *before)
{
	struct table *maps = &node->maps;
	uint64_t now = maps->position.sequence;
	bool stands_in = node->replica.kind != REPLICA_STORE || node->is_set_back;
	check_durable(world, node, "maps");
	maps->is_older = is_below(node);
	if (maps->is_older) {
		world->tally->older++;
		check_alone(world, node, "maps");
		CHECK(world, !before->is_there || before->is_older,
		      "rule 3: %s writes entry %" PRIu64 " over maps that forward by %" PRIu64,
		      node->name, now, before->position.sequence);
		return;
	}
	CHECK(world, now >= before->position.sequence || stands_in,
	      "rule 3: %s publishes entry %" PRIu64 ", its maps had %" PRIu64, node->name, now,
	      before->position.sequence);
	for (size_t i = 0; i < world->node_count; i++) {
		const struct node *other = &world->nodes[i];
		if (!other->maps.is_there || other->maps.is_older ||
		    other->maps.position.sequence != now)
			continue;
		CHECK(world, same_entries(maps, &other->maps),
		      "invariant 4: %s and %s are both at entry %" PRIu64 " and differ", node->name,
		      other->name, now);
	}
}

/* Below the mark DNS says what the maps say. */
static void check_answer(struct world *world, struct node *node, size_t service)
{
	const struct answer *answer = &node->answers[service];
	for (unsigned place = 0; place < 2; place++) {
		for (uint8_t pool = 0; pool < POOLS; pool++) {
			if (!answer->is_there || !answer->has[place][pool])
				continue;
			const struct entry *entry =
			    table_find(&node->maps, pool, answer->slots[place][pool]);
			CHECK(world,
			      entry &&
				  world->versions[entry->known].number == answer->versions[place],
			      "rule 3: below its mark %s answers version %u, which its maps do "
			      "not mean",
			      node->name, answer->versions[place]);
		}
	}
}

void check_answers(struct world *world, struct node *node)
{
	check_durable(world, node, "answers");
	if (!is_below(node))
		return;
	check_alone(world, node, "answers");
	for (size_t s = 0;
	     s < SERVICES && member_has(&node->self, MEMBER_EDGE) && !node->is_unaware; s++)
		check_answer(world, node, s);
}

void check_carried_out(struct world *world, struct node *node, int result)
{
	const struct acting *acting = &node->acting;
	uint64_t head = node->image.head.sequence;
	bool is_stuck = node->stuck_until_ms > world->now_ms;
	/* What was noted and not told yet counts as well. */
	bool is_noted_below = head < node->replica.acknowledged.sequence;
	CHECK(world,
	      result >= 0 || is_stuck ||
		  (result == -FL_EUNAVAILABLE && (is_noted_below || is_below(node))),
	      "%s cannot do what its replica says: %s", node->name, error_text(result));
	if (is_stuck || is_noted_below || is_below(node))
		return;
	CHECK(world, node->replica.standing == REPLICA_CURRENT,
	      "rule 3: %s has caught up, at entry %" PRIu64 ", and does not see it", node->name,
	      head);
	if (node->index > 0 && !image_member(&node->image, node->name)) {
		CHECK(world, !acting->published_revision || acting->forwarded.sequence < head,
		      "rule 10: %s does what a replica says that does not know of it", node->name);
		return;
	}
	CHECK(world,
	      (!acting->options.is_edge ||
	       (acting->forwarded.sequence == head && node->maps.position.sequence == head)) &&
		  (!acting->options.is_names || acting->answered.sequence == head),
	      "%s is at entry %" PRIu64 " and does not do it", node->name, head);
}

/* --- what it tells --- */

static void check_noted(struct world *world, const struct node *node, uint64_t sequence)
{
	struct mark mark;
	int result = node_has_disk(node) ? mark_read(&mark, &power_disk, node->folder) : -EIO;
	CHECK(world,
	      result < 0 ||
		  (mark.newest.position.sequence >= sequence && is_synced(node, MARK_FILE)),
	      "rule 3: %s acknowledges entry %" PRIu64 ", and its disk does not know", node->name,
	      sequence);
	CHECK(world, !node->acting.options.is_edge || node->pinned.position.sequence >= sequence,
	      "rule 3: %s acknowledges entry %" PRIu64 ", and its maps do not know", node->name,
	      sequence);
}

static void check_position(struct world *world, struct node *node, unsigned as,
			   const struct ledger_position *position)
{
	uint64_t sequence = position->sequence;
	/* Who knows nothing of what it told is not believed either: its process is another one. */
	if (!sequence || sequence == node->told[as] ||
	    (sequence < node->told[as] && node->was_unaware == node->process))
		return;
	CHECK(world, sequence > node->told[as],
	      "rule 3: %s acknowledges entry %" PRIu64 ", and %" PRIu64 " before", node->name,
	      sequence, node->told[as]);
	CHECK(world,
	      sequence <= world->head &&
		  memcmp(&position->digest, &world->chain[sequence], sizeof(struct digest)) == 0,
	      "rule 1: %s acknowledges entry %" PRIu64 ", which was never committed", node->name,
	      sequence);
	check_noted(world, node, sequence);
	node->told[as] = sequence;
}

void check_told(struct world *world, struct node *node, const struct observation *observation)
{
	if (observation->is_edge)
		check_position(world, node, TOLD_AS_EDGE, &observation->edge_applied);
	if (observation->is_names)
		check_position(world, node, TOLD_AS_NAMES, &observation->names_applied);
	if (node->index == 0 && replica_is_writable(&node->replica))
		check_position(world, node, TOLD_AS_VOTER,
			       &(struct ledger_position){.sequence = node->image.head.sequence,
							 .digest = node->image.head.digest});
}

/* --- always --- */

void check_step(struct world *world)
{
	for (size_t i = 0; i < world->node_count; i++) {
		const struct node *node = &world->nodes[i];
		const struct table *maps = &node->maps;
		CHECK(world,
		      !maps->is_there || maps->is_older ||
			  maps->position.sequence >= node->told[TOLD_AS_EDGE],
		      "rule 3: the maps of %s are at entry %" PRIu64 ", and it has told %" PRIu64,
		      node->name, maps->position.sequence, node->told[TOLD_AS_EDGE]);
		CHECK(world,
		      !node->runs || node->replica.kind != REPLICA_STORE || node->is_set_back ||
			  node->image.head.sequence >= node->published,
		      "replica first: %s has published entry %" PRIu64 ", its replica has %" PRIu64,
		      node->name, node->published, node->image.head.sequence);
		CHECK(world,
		      !node_attracts(node) || !maps->is_older ||
			  node->was_unaware != node->process || node->heard_head < node_told(node),
		      "rule 3: %s draws traffic by entry %" PRIu64 " and has told %" PRIu64
		      ", which others could tell it",
		      node->name, maps->position.sequence, node_told(node));
		CHECK(world,
		      !node_attracts(node) || node->is_removed || (world->members[i] & MEMBER_EDGE),
		      "rule 10: %s draws traffic, and is no edge of the ledger", node->name);
	}
}
