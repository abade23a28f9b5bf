/* SPDX-License-Identifier: Apache-2.0 */
#include "peer/roll.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

struct peer_roll {
	struct arena arena;
	struct channel_member *members; /* by key; of two with one key the removed one first */
	const struct channel_member **names; /* those that are not removed, by name */
	size_t count, name_count;
};

static int by_key(const void *left, const void *right)
{
	const struct channel_member *a = left, *b = right;
	int order = memcmp(a->key.data, b->key.data, CHANNEL_KEY_BYTES);
	return order ? order : (int)b->removed - (int)a->removed;
}

static int by_name(const void *left, const void *right)
{
	const struct channel_member *const *a = left, *const *b = right;
	return strcmp((*a)->node, (*b)->node);
}

struct peer_roll *peer_roll_new(const struct channel_members *members)
{
	struct peer_roll *roll = must_alloc(1, sizeof(*roll));
	arena_init(&roll->arena, 0);
	size_t count = members->members.count;
	roll->members = must_have(arena_array(&roll->arena, count + 1, sizeof(*roll->members)));
	roll->names = must_have(arena_array(&roll->arena, count + 1, sizeof(*roll->names)));
	for (size_t i = 0; i < count; i++) {
		const struct channel_member *from = &members->members.items[i];
		struct channel_member *to = &roll->members[roll->count++];
		*to = *from;
		to->node = must_have(arena_strdup(&roll->arena, from->node));
		to->key.data =
		    must_have(arena_strndup(&roll->arena, from->key.data, from->key.length));
		to->proof.data = must_have(arena_strndup(
		    &roll->arena, from->proof.length ? from->proof.data : "", from->proof.length));
	}
	qsort(roll->members, roll->count, sizeof(*roll->members), by_key);
	for (size_t i = 0; i < roll->count; i++)
		if (!roll->members[i].removed)
			roll->names[roll->name_count++] = &roll->members[i];
	qsort(roll->names, roll->name_count, sizeof(*roll->names), by_name);
	return roll;
}

void peer_roll_free(struct peer_roll *roll)
{
	if (!roll)
		return;
	arena_done(&roll->arena);
	free(roll);
}

enum peer_roll_verdict peer_roll_look(const struct peer_roll *roll, const char *node,
				      const uint8_t key[CHANNEL_KEY_BYTES],
				      struct wire_bytes *ret_proof)
{
	*ret_proof = (struct wire_bytes){0};
	if (!roll)
		return PEER_ROLL_NOT_KNOWN;
	const struct channel_member wanted = {
	    .node = node, .key = {.data = key, .length = CHANNEL_KEY_BYTES}, .removed = true};
	const struct channel_member *name = &wanted;
	size_t low = 0, high = roll->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (by_key(&roll->members[middle], &wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	const struct channel_member *found = low < roll->count ? &roll->members[low] : NULL;
	bool is_it = found && memcmp(found->key.data, key, CHANNEL_KEY_BYTES) == 0;
	if (is_it && found->removed) {
		*ret_proof = found->proof;
		return PEER_ROLL_REMOVED;
	}
	if (is_it && strcmp(found->node, node) == 0)
		return PEER_ROLL_KNOWN;
	/* The key has another name, or the name another key. */
	if (is_it || bsearch(&name, roll->names, roll->name_count, sizeof(*roll->names), by_name))
		return PEER_ROLL_OTHER_KEY;
	return PEER_ROLL_NOT_KNOWN;
}
