/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/landing_set.h"

#include <stdlib.h>
#include <string.h>

static int compare_numbers(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int compare_prefixes(const void *a, const void *b)
{
	const struct peer_prefix *left = a;
	const struct peer_prefix *right = b;
	int order = ip_address_compare(&left->prefix.address, &right->prefix.address);
	return order ? order : compare_numbers(left->prefix.length, right->prefix.length);
}

static int compare_addresses(const void *a, const void *b)
{
	const struct peer_address *left = a;
	const struct peer_address *right = b;
	return ip_address_compare(&left->address, &right->address);
}

int landing_set_compare_listeners(const struct peer_listener *a, const struct peer_listener *b)
{
	int order = ip_address_compare(&a->destination.address, &b->destination.address);
	if (!order)
		order = compare_numbers(a->destination.length, b->destination.length);
	if (!order)
		order = compare_numbers(a->protocol, b->protocol);
	if (!order)
		order = compare_numbers(a->port, b->port);
	if (!order)
		order = ip_address_compare(&a->listen_address, &b->listen_address);
	return order ? order : compare_numbers(a->listen_port, b->listen_port);
}

static int compare_listeners(const void *a, const void *b)
{
	return landing_set_compare_listeners(a, b);
}

/* Where a list lies in the message, and what its items are. */
static const struct list_kind {
	size_t item;
	int (*compare)(const void *a, const void *b);
	size_t removed, added;
} kinds[LANDING_LISTS] = {
    [LANDING_POOLS] = {sizeof(struct peer_prefix), compare_prefixes,
		       offsetof(struct peer_configure, pools_removed),
		       offsetof(struct peer_configure, pools_added)},
    [LANDING_EDGES] = {sizeof(struct peer_address), compare_addresses,
		       offsetof(struct peer_configure, edges_removed),
		       offsetof(struct peer_configure, edges_added)},
    [LANDING_ADDRESSES] = {sizeof(struct peer_address), compare_addresses,
			   offsetof(struct peer_configure, addresses_removed),
			   offsetof(struct peer_configure, addresses_added)},
    [LANDING_LISTENERS] = {sizeof(struct peer_listener), compare_listeners,
			   offsetof(struct peer_configure, listeners_removed),
			   offsetof(struct peer_configure, listeners_added)},
};

static void put_list(struct peer_configure *message, size_t offset, const struct wire_list *list)
{
	memcpy((char *)message + offset, list, sizeof(*list));
}

static struct wire_list get_list(const struct peer_configure *message, size_t offset)
{
	struct wire_list list;
	memcpy(&list, (const char *)message + offset, sizeof(list));
	return list;
}

bool landing_generation_is_none(const struct digest *generation)
{
	static const struct digest none;
	return memcmp(generation, &none, sizeof(none)) == 0;
}

/* The digest of the message that says all of it, but for the generation itself. */
static int generation_of(const struct landing_set *set, struct digest *ret_generation)
{
	struct peer_message message = {.number = PEER_CONFIGURE, .configure = {.whole = true}};
	struct buffer bytes;
	for (size_t i = 0; i < LANDING_LISTS; i++)
		put_list(&message.configure, kinds[i].added, &set->lists[i]);
	buffer_init(&bytes, 0);
	int result = peer_encode(&message, &bytes, NULL);
	if (result == 0)
		digest_of(bytes.data, bytes.length, ret_generation);
	buffer_done(&bytes);
	return result;
}

static int copy_sorted(const struct wire_list *from, const struct list_kind *kind,
		       struct arena *arena, struct wire_list *ret_list)
{
	char *items = arena_array(arena, from->count + 1, kind->item);
	size_t kept = 0;
	if (!items)
		return -ENOMEM;
	if (from->count) {
		memcpy(items, from->items, from->count * kind->item);
		qsort(items, from->count, kind->item, kind->compare);
	}
	for (size_t i = 0; i < from->count; i++) {
		char *item = items + i * kind->item;
		if (kept && kind->compare(items + (kept - 1) * kind->item, item) == 0)
			continue;
		memmove(items + kept * kind->item, item, kind->item);
		kept++;
	}
	*ret_list = (struct wire_list){.items = items, .count = kept};
	return 0;
}

int landing_set_new(const struct wire_list lists[LANDING_LISTS], struct landing_set **ret_set)
{
	struct landing_set *set = calloc(1, sizeof(*set));
	if (!set)
		return -ENOMEM;
	set->references = 1;
	arena_init(&set->arena, 0);
	int result = 0;
	for (size_t i = 0; i < LANDING_LISTS && result == 0; i++)
		result = copy_sorted(&lists[i], &kinds[i], &set->arena, &set->lists[i]);
	if (result == 0)
		result = generation_of(set, &set->generation);
	if (result < 0) {
		landing_set_unref(set);
		return result == -ENOMEM ? result : -FL_EINVALID;
	}
	*ret_set = set;
	return 0;
}

struct landing_set *landing_set_ref(struct landing_set *set)
{
	set->references++;
	return set;
}

void landing_set_unref(struct landing_set *set)
{
	if (!set || --set->references)
		return;
	arena_done(&set->arena);
	free(set);
}

/* What `a` has and `b` lacks. */
static int list_less(const struct wire_list *a, const struct wire_list *b,
		     const struct list_kind *kind, struct arena *arena, struct wire_list *ret_list)
{
	char *items = arena_array(arena, a->count + 1, kind->item);
	size_t count = 0;
	size_t at = 0;
	if (!items)
		return -ENOMEM;
	for (size_t i = 0; i < a->count; i++) {
		const char *item = (const char *)a->items + i * kind->item;
		int order = 1;
		while (at < b->count &&
		       (order = kind->compare((const char *)b->items + at * kind->item, item)) < 0)
			at++;
		if (at == b->count || order)
			memcpy(items + count++ * kind->item, item, kind->item);
	}
	*ret_list = (struct wire_list){.items = items, .count = count};
	return 0;
}

int landing_set_diff(const struct landing_set *from, const struct landing_set *to,
		     struct arena *arena, struct peer_configure *ret_message)
{
	static const struct wire_list none;
	struct peer_configure message = {.whole = !from, .generation = to->generation};
	if (from)
		message.base = from->generation;
	for (size_t i = 0; i < LANDING_LISTS; i++) {
		const struct wire_list *before = from ? &from->lists[i] : &none;
		struct wire_list removed;
		struct wire_list added;
		if (list_less(before, &to->lists[i], &kinds[i], arena, &removed) < 0 ||
		    list_less(&to->lists[i], before, &kinds[i], arena, &added) < 0)
			return -ENOMEM;
		put_list(&message, kinds[i].removed, &removed);
		put_list(&message, kinds[i].added, &added);
	}
	*ret_message = message;
	return 0;
}

/* `before` without what is removed, with what is added. */
static int change_list(const struct wire_list *before, const struct peer_configure *message,
		       const struct list_kind *kind, struct arena *arena,
		       struct wire_list *ret_list)
{
	struct wire_list removed = get_list(message, kind->removed);
	struct wire_list added = get_list(message, kind->added);
	struct wire_list gone;
	struct wire_list kept;
	int result = copy_sorted(&removed, kind, arena, &gone);
	if (result == 0)
		result = list_less(before, &gone, kind, arena, &kept);
	char *items =
	    result == 0 ? arena_array(arena, kept.count + added.count + 1, kind->item) : NULL;
	if (!items)
		return -ENOMEM;
	if (kept.count)
		memcpy(items, kept.items, kept.count * kind->item);
	if (added.count)
		memcpy(items + kept.count * kind->item, added.items, added.count * kind->item);
	*ret_list = (struct wire_list){.items = items, .count = kept.count + added.count};
	return 0;
}

int landing_set_apply(const struct landing_set *from, const struct peer_configure *message,
		      struct landing_set **ret_set, struct error *err)
{
	static const struct wire_list none;
	struct wire_list lists[LANDING_LISTS];
	struct landing_set *set = NULL;
	struct arena arena;
	if (!message->whole &&
	    (!from || memcmp(&from->generation, &message->base, sizeof(message->base)) != 0))
		return error_set(err, -FL_ECONFLICT,
				 "the node sent a change of a configuration that is not had here");
	arena_init(&arena, 0);
	int result = 0;
	for (size_t i = 0; i < LANDING_LISTS && result == 0; i++)
		result = change_list(from && !message->whole ? &from->lists[i] : &none, message,
				     &kinds[i], &arena, &lists[i]);
	if (result == 0)
		result = landing_set_new(lists, &set);
	arena_done(&arena);
	if (result == -ENOMEM)
		return error_set(err, result, "out of memory");
	if (!set || memcmp(&set->generation, &message->generation, sizeof(set->generation)) != 0) {
		landing_set_unref(set);
		return error_set(err, -FL_ECONFLICT,
				 "the node sent a configuration that is not what it says it is");
	}
	*ret_set = set;
	return 0;
}
