/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/standing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void standings_done(struct standings *standings)
{
	free(standings->rows);
	*standings = (struct standings){0};
}

static int by_name(const void *node, const void *row)
{
	return strcmp(node, ((const struct standing_row *)row)->node);
}

static struct standing_row *find(const struct standings *standings, const char *node)
{
	return standings->count ? bsearch(node, standings->rows, standings->count,
					  sizeof(*standings->rows), by_name)
				: NULL;
}

const struct standing_row *standings_find(const struct standings *standings, const char *node)
{
	return find(standings, node);
}

static bool is_same(const struct ledger_position *a, const struct ledger_position *b)
{
	return a->sequence == b->sequence &&
	       memcmp(a->digest.bytes, b->digest.bytes, DIGEST_BYTES) == 0;
}

/* Rows are kept in the order of their names. */
static struct standing_row *add(struct standings *standings, const char *node)
{
	size_t at = standings->count;
	struct standing_row *rows =
	    realloc(standings->rows, (standings->count + 1) * sizeof(*rows));
	if (!rows)
		return NULL;
	while (at && strcmp(rows[at - 1].node, node) > 0)
		at--;
	memmove(&rows[at + 1], &rows[at], (standings->count - at) * sizeof(*rows));
	rows[at] = (struct standing_row){0};
	snprintf(rows[at].node, sizeof(rows[at].node), "%s", node);
	standings->rows = rows;
	standings->count++;
	return &rows[at];
}

int standings_take(struct standings *standings, const char *node, bool is_voter,
		   const struct standing *standing)
{
	struct standing_row *row = find(standings, node);
	if (!row)
		row = add(standings, node);
	if (!row)
		return -ENOMEM;
	const struct ledger_position mark = row->standing.mark;
	row->is_off_chain &= is_same(&row->standing.head, &standing->head);
	row->standing = *standing;
	if (mark.sequence > standing->mark.sequence)
		row->standing.mark = mark;
	row->is_voter = is_voter;
	row->is_up = true;
	return 0;
}

void standings_lost(struct standings *standings, const char *node)
{
	struct standing_row *row = find(standings, node);
	if (row)
		row->is_up = false;
}

void standings_off_chain(struct standings *standings, const char *node)
{
	struct standing_row *row = find(standings, node);
	if (row)
		row->is_off_chain = true;
}

/* --- rule 4 --- */

bool standings_hear(const struct standings *standings, const struct member *edge, const char *self)
{
	const struct standing_row *row = find(standings, edge->name);
	return strcmp(edge->name, self) == 0 || (row && row->is_up);
}

/* Below the number of a recovery, what is not on the chain was given up by it. */
static bool is_given_up(const struct image *image, const struct ledger_position *position)
{
	return image->placement && position->sequence < image->placement->recovery.sequence;
}

/* Of one that is heard: is there anything that this voter lacks? */
static enum voter_standing compare(const struct image *image, const struct standing_row *row,
				   struct ledger_position *ret_there, bool *ret_can_give)
{
	const struct standing *standing = &row->standing;
	const struct ledger_position *most[] = {&standing->head, &standing->mark};
	for (size_t i = 0; i < sizeof(most) / sizeof(*most); i++) {
		struct ledger_position own;
		*ret_there = *most[i];
		*ret_can_give = i == 0;
		if (!most[i]->sequence || is_given_up(image, most[i]))
			continue;
		if (most[i]->sequence > image->head.sequence)
			return row->is_off_chain ? VOTER_HAS_FORKED : VOTER_IS_BEHIND;
		if (image_position(image, most[i]->sequence, &own) && !is_same(&own, most[i]))
			return VOTER_HAS_FORKED;
	}
	return VOTER_DECIDES;
}

static bool is_worse(const struct voter_verdict *verdict, enum voter_standing standing,
		     const struct ledger_position *there)
{
	return standing > verdict->standing ||
	       (standing == verdict->standing && there->sequence > verdict->there.sequence);
}

struct voter_verdict standings_judge(const struct standings *standings, const struct image *image,
				     const char *self, bool is_sure, bool had_others)
{
	struct voter_verdict verdict = {.standing = VOTER_DECIDES};
	for (size_t i = 0; i < image->member_count; i++) {
		const struct member *member = image->members[i].member;
		bool is_edge = member_has(member, MEMBER_EDGE);
		verdict.edges += is_edge;
		verdict.heard += is_edge && standings_hear(standings, member, self);
	}
	for (size_t i = 0; i < standings->count; i++) {
		const struct standing_row *row = &standings->rows[i];
		struct ledger_position there;
		bool can_give;
		if (!row->is_up)
			continue;
		enum voter_standing standing = compare(image, row, &there, &can_give);
		if (standing == VOTER_DECIDES || !is_worse(&verdict, standing, &there))
			continue;
		verdict.standing = standing;
		verdict.node = row->node;
		verdict.there = there;
		verdict.can_give = can_give;
	}
	/* An image from before the others joined knows of no edge that it could wait for. */
	bool knows_whom = image->member_count > 1 || !had_others;
	bool is_enough = knows_whom && (!verdict.edges || 2 * verdict.heard > verdict.edges);
	if (verdict.standing == VOTER_DECIDES && !is_sure && !is_enough)
		verdict.standing = VOTER_LISTENS;
	return verdict;
}

/* --- rule 2 --- */

const struct standing_row *standings_source(const struct standings *standings,
					    const struct ledger_position *head, const char *now)
{
	const struct standing_row *current = now ? find(standings, now) : NULL;
	const struct standing_row *best = NULL;
	if (current && !current->is_up)
		current = NULL;
	if (current && current->is_voter && current->standing.decides)
		return current;
	for (size_t i = 0; i < standings->count; i++) {
		const struct standing_row *row = &standings->rows[i];
		if (row->is_up && row->is_voter && row->standing.decides)
			return row;
		if (row->is_up && !row->is_off_chain &&
		    row->standing.head.sequence > head->sequence &&
		    (!best || row->standing.head.sequence > best->standing.head.sequence))
			best = row;
	}
	/* It is left only for one that has more. */
	if (current && !current->is_off_chain &&
	    (!best || current->standing.head.sequence >= best->standing.head.sequence))
		return current;
	return best;
}

/* --- rule 3 --- */

struct ledger_position standings_mark(const struct standings *standings, const struct image *image,
				      const char *node)
{
	static const struct ledger_position NONE;
	const struct standing_row *row = find(standings, node);
	const struct ledger_position *mark = row ? &row->standing.mark : &NONE;
	if (mark->sequence <= image->head.sequence && !image_is_on_chain(image, mark))
		return NONE;
	return *mark;
}

/* --- the message --- */

struct peer_message standing_message(const struct standing *own,
				     const struct ledger_position *yours)
{
	return (struct peer_message){.number = PEER_STANDING,
				     .standing = {.decides = own->decides,
						  .head_sequence = own->head.sequence,
						  .head_hash = own->head.digest,
						  .mark_sequence = own->mark.sequence,
						  .mark_hash = own->mark.digest,
						  .yours_sequence = yours->sequence,
						  .yours_hash = yours->digest}};
}

bool standing_message_equal(const struct peer_standing *a, const struct peer_standing *b)
{
	struct ledger_position yours[2];
	const struct standing left = standing_of_message(a, &yours[0]);
	const struct standing right = standing_of_message(b, &yours[1]);
	return left.decides == right.decides && is_same(&left.head, &right.head) &&
	       is_same(&left.mark, &right.mark) && is_same(&yours[0], &yours[1]);
}

struct standing standing_of_message(const struct peer_standing *message,
				    struct ledger_position *ret_mine)
{
	*ret_mine = (struct ledger_position){.sequence = message->yours_sequence,
					     .digest = message->yours_hash};
	return (struct standing){
	    .decides = message->decides,
	    .head = {.sequence = message->head_sequence, .digest = message->head_hash},
	    .mark = {.sequence = message->mark_sequence, .digest = message->mark_hash}};
}
