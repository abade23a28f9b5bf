/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/acting.h"

#include <string.h>

static bool is_current(const struct acting *acting)
{
	return acting->options.replica->standing == REPLICA_CURRENT;
}

/* By what the replica says. Who follows has somebody who decides. */
static bool has_peers(const struct acting *acting)
{
	const struct image *image = acting->options.image;
	for (size_t i = 0; i < image->member_count; i++) {
		const struct member *member = image->members[i].member;
		if (strcmp(member->name, acting->options.node) != 0 &&
		    (member->roles & (MEMBER_EDGE | MEMBER_NAMES | MEMBER_VOTER)))
			return true;
	}
	return !acting->options.decides;
}

static bool is_alone(const struct acting *acting)
{
	return !has_peers(acting) && !acting->options.replica->has_peers;
}

/* A replica that does not know of this node is from before it joined, or from after it was removed:
 * it takes no traffic by that (PROTOCOL.md rule 10). */
static bool is_member(const struct acting *acting)
{
	const struct acting_options *options = &acting->options;
	return options->decides || image_member(options->image, options->node);
}

static struct ledger_position head_of(const struct image *image)
{
	return (struct ledger_position){.sequence = image->head.sequence,
					.digest = image->head.digest};
}

static int forward(struct acting *acting, struct error *err)
{
	const struct acting_planes *planes = acting->options.planes;
	const struct image *image = acting->options.image;
	void *context = acting->options.context;
	bool current = is_current(acting);
	if (acting->has_published && acting->published_revision == image->revision &&
	    (!current || acting->forwarded.sequence == image->head.sequence))
		return 0;
	if (!is_member(acting))
		return 0;
	if (!current && !is_alone(acting))
		return planes->forwards(context) ? 0 : planes->publish_pools(context, image, err);
	if (!current && planes->forwards(context))
		return planes->keep_maps(context, image, err);
	int result = planes->publish_maps(context, image, err);
	if (result < 0)
		return result;
	acting->has_published = true;
	acting->published_revision = image->revision;
	if (current)
		acting->forwarded = head_of(image);
	return 0;
}

static int answer(struct acting *acting, struct error *err)
{
	const struct acting_options *options = &acting->options;
	bool current = is_current(acting);
	if ((!current && !is_alone(acting)) || !is_member(acting))
		return 0;
	int result = options->planes->publish_names(options->context, options->image, err);
	if (result == 0 && current)
		acting->answered = head_of(options->image);
	return result;
}

int acting_carry_out(struct acting *acting, bool *ret_forwards, struct error *err)
{
	int result = acting->options.is_edge ? forward(acting, err) : 0;
	*ret_forwards = result == 0;
	return result == 0 && acting->options.is_names ? answer(acting, err) : result;
}

int acting_note(struct acting *acting, struct error *err)
{
	const struct acting_options *options = &acting->options;
	struct mark_note note = {.position = acting->forwarded.sequence > acting->answered.sequence
						 ? acting->forwarded
						 : acting->answered,
				 .has_peers = has_peers(acting)};
	if (!is_current(acting))
		return 0;
	if (options->decides)
		note.position = head_of(options->image);
	if (note.position.sequence <= acting->marked)
		return 0;
	int result = options->is_edge ? options->planes->pin_mark(options->context, &note, err) : 0;
	if (result == 0)
		result = replica_acknowledge(options->replica, &note, err);
	if (result == 0)
		acting->marked = note.position.sequence;
	return result;
}

/* --- what others have --- */

void acting_answered(struct acting *acting, const struct ledger_position *head, bool decides)
{
	if (acting->has_asked)
		return;
	acting->was_answered = true;
	acting->was_led |= decides;
	if (head->sequence > acting->answer.sequence)
		acting->answer = *head;
}

void acting_ask(struct acting *acting, uint64_t now_ms)
{
	if (!acting->asks_since_ms)
		acting->asks_since_ms = now_ms;
	bool is_over = now_ms - acting->asks_since_ms >= ACTING_ASK_MS;
	bool leads = acting->options.decides && replica_is_writable(acting->options.replica);
	if (acting->options.kept_maps || is_alone(acting) || leads)
		acting->has_asked = true;
	else if (acting->was_led || is_over)
		acting->has_asked |=
		    acting->options.image->head.sequence >= acting->answer.sequence;
}

static const char *why_not(const struct acting *acting)
{
	const struct member *self = image_member(acting->options.image, acting->options.node);
	if (!acting->options.is_edge)
		return "it is no edge";
	if (!self || !member_has(self, MEMBER_EDGE))
		return "its replica does not name it as an edge yet";
	if (!is_current(acting) && !is_alone(acting))
		return "its replica is older than what it acknowledged";
	if (!acting->has_published)
		return "nothing was published to its maps yet";
	if (!acting->has_asked && !acting->was_answered)
		return "it has just started, and asks the others what they have";
	if (!acting->has_asked)
		return "others have more than it does, and it catches up";
	return NULL;
}

bool acting_may_attract(const struct acting *acting, const char **ret_why)
{
	const char *why = why_not(acting);
	if (why)
		*ret_why = why;
	return !why;
}

struct observation acting_observation(const struct acting *acting)
{
	return (struct observation){.node = acting->options.node,
				    .is_edge = acting->options.is_edge,
				    .edge_applied = acting->forwarded,
				    .is_names = acting->options.is_names,
				    .names_applied = acting->answered};
}
