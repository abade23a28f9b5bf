/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/announcing.h"

#include "model/placement.h"

#include <string.h>

static bool is_other_edge(const struct member *member, const char *node)
{
	return member_has(member, MEMBER_EDGE) && strcmp(member->name, node) != 0;
}

/* Does the ledger know this node as an edge; does it know another one? */
static void look_at_members(const struct announcing_facts *facts, bool *ret_member, bool *ret_other)
{
	const struct image *image = facts->image;
	*ret_member = *ret_other = false;
	for (size_t i = 0; i < image->member_count; i++) {
		const struct member *member = image->members[i].member;
		if (is_other_edge(member, facts->node))
			*ret_other = true;
		else if (member_has(member, MEMBER_EDGE))
			*ret_member = true;
	}
}

/* What this edge must hold and does not; NULL: nothing. */
static const char *find_missing(const struct announcing_facts *facts)
{
	const struct acting *acting = facts->acting;
	if (acting->options.replica->standing != REPLICA_CURRENT)
		return "what it has is older than what it acknowledged once";
	if (!acting->has_published)
		return "its maps are not filled yet";
	return facts->lacks;
}

enum announcing announcing_judge(const struct announcing_facts *facts, const char **ret_why)
{
	bool is_member, has_other;
	look_at_members(facts, &is_member, &has_other);
	const enum announcing unless_alone = has_other ? ANNOUNCING_WITHDRAW : ANNOUNCING_KEEP;
	if (facts->removed) {
		*ret_why = "it was removed from the fabric";
		return ANNOUNCING_WITHDRAW;
	}
	if (facts->leaving) {
		*ret_why = "it is being stopped";
		return unless_alone;
	}
	if (!facts->image->fabric) {
		*ret_why = "nothing was applied yet";
		return ANNOUNCING_KEEP;
	}
	if (!is_member) {
		*ret_why = "the ledger does not know it as an edge";
		return ANNOUNCING_WITHDRAW;
	}
	/* The caller looks for interfaces only once they are to carry it. */
	if (facts->acting->has_published && facts->detached) {
		*ret_why = facts->detached;
		return ANNOUNCING_WITHDRAW;
	}
	*ret_why = find_missing(facts);
	if (*ret_why)
		return unless_alone;
	if (!facts->asked) {
		*ret_why = "it waits for a voter to tell what is new";
		return ANNOUNCING_KEEP;
	}
	*ret_why = "";
	return ANNOUNCING_ANNOUNCE;
}

size_t announcing_prefixes(const struct image *image, const char *site,
			   struct ip_prefix ret_prefixes[MODEL_MAX_POOLS])
{
	const struct placement *placement = image->placement;
	size_t count = 0;
	if (!placement)
		return 0;
	const uint8_t held = placement_held_pools(image->states, image->state_count);
	const uint32_t number = placement_site(placement, site);
	for (size_t i = 0; i < placement->pool_count; i++) {
		const struct placed_pool *placed = &placement->pools[i];
		const struct pool *pool = &placed->pool;
		if ((placed->removed && !(held >> i & 1)) || number >= pool_site_count(pool))
			continue;
		ret_prefixes[count++] =
		    (struct ip_prefix){.address = pool_address(pool, number, 0),
				       .length = (uint8_t)(pool->prefix.length + pool->site_bits)};
	}
	return count;
}
