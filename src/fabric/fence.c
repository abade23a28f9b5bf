/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/fence.h"

#include "base/clock.h"
#include "state/changes.h"
#include "state/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_NODES 32u /* of one entry */

/* --- what landings have come to --------------------------------------------------------------- */

/* A backend of a version that some address means. */
struct named {
	const struct backend *backend;
	uint64_t published; /* the ledger entry that committed that version */
};

/* One backend's appearances are beside each other, the latest published one first. */
static int compare_named(const void *a, const void *b)
{
	const struct named *left = a;
	const struct named *right = b;
	int order = strcmp(left->backend->name, right->backend->name);
	if (!order)
		order = ip_address_compare(&left->backend->address, &right->backend->address);
	if (!order)
		order = (left->published < right->published) - (left->published > right->published);
	return order;
}

static bool is_same(const struct named *a, const struct named *b)
{
	return strcmp(a->backend->name, b->backend->name) == 0 &&
	       ip_address_equal(&a->backend->address, &b->backend->address);
}

/* All backends of versions with an address, with repetitions; `list` NULL: only how many. */
static size_t add_named(const struct image *image, struct named *list, bool *ret_unread)
{
	size_t count = 0;
	*ret_unread = image_unread_meaning(image) != NULL;
	for (size_t s = 0; s < image->state_count; s++) {
		const struct service_state *state = image->states[s];
		const struct image_service *known = image_service(image, state->name);
		for (size_t b = 0; b < state->binding_count; b++) {
			const uint32_t number = state->bindings[b].version;
			const struct version *version = image_version(known, number);
			const struct version_status *status = service_version(state, number);
			*ret_unread |= !version;
			for (size_t i = 0; version && i < version->backend_count; i++) {
				if (list)
					list[count] = (struct named){
					    .backend = &version->backends[i],
					    .published = status ? status->sequence : UINT64_MAX};
				count++;
			}
		}
	}
	return count;
}

int fence_find(const struct image *image, const struct reports *reports,
	       const struct removed_member *removed, struct arena *arena,
	       struct fence_progress *ret_progress)
{
	struct fence_progress progress = {.since_ms = removed->learned_ms};
	size_t most = add_named(image, NULL, &progress.unread);
	struct named *list = arena_array(arena, most + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	most = add_named(image, list, &progress.unread);
	if (most)
		qsort(list, most, sizeof(*list), compare_named);
	for (size_t i = 0; i < most; i++) {
		const struct backend *backend = list[i].backend;
		if (i && is_same(&list[i - 1], &list[i]))
			continue;
		const struct report *report =
		    backend->no_landing ? NULL
					: reports_owner(reports, backend->name, &backend->address);
		bool acknowledged = report && report->fence_revision >= removed->mod_revision;
		progress.landings++;
		if (acknowledged && report->fence_ms > progress.since_ms)
			progress.since_ms = report->fence_ms;
		if (acknowledged || image_is_forgotten(image, backend, list[i].published))
			progress.fenced++;
		else if (!progress.waits_for)
			progress.waits_for = backend;
	}
	*ret_progress = progress;
	return 0;
}

bool fence_is_due(const struct fence_progress *progress, uint64_t now_ms)
{
	return !progress->unread && progress->fenced == progress->landings &&
	       now_ms >= progress->since_ms && now_ms - progress->since_ms >= FENCE_SETTLE_MS;
}

int fence_text(const struct image *image, const struct reports *reports,
	       const struct removed_member *removed, char *text)
{
	struct fence_progress progress;
	struct arena arena;
	arena_init(&arena, 0);
	int result = fence_find(image, reports, removed, &arena, &progress);
	if (result == 0)
		snprintf(text, FENCE_TEXT, "%s: removed, fenced off by %zu of %zu landings%s%s",
			 removed->name, progress.fenced, progress.landings,
			 progress.waits_for ? ", waits for "
			 : progress.unread  ? ", waits for a record that is not understood here"
					    : "",
			 progress.waits_for ? progress.waits_for->name : "");
	arena_done(&arena);
	return result;
}

/* --- writing it down -------------------------------------------------------------------------- */

struct fence {
	struct fence_options options;
	bool busy;
	struct change change;
};

/* -ENOMEM. */
static int look(const struct fence *fence, const struct removed_member *removed,
		struct fence_progress *ret_progress, bool *ret_due)
{
	const struct fence_options *options = &fence->options;
	struct arena arena;
	*ret_due = false;
	if (removed_is_fenced(removed))
		return 0;
	arena_init(&arena, 0);
	int result = fence_find(options->image, options->reports, removed, &arena, ret_progress);
	arena_done(&arena);
	if (result == 0)
		*ret_due = fence_is_due(ret_progress, clock_now_ms(options->clock));
	return result;
}

static int put_fenced(struct change_draft *draft, const struct removed_member *removed,
		      const struct fence_progress *progress, json_t *nodes)
{
	struct removed_member fenced = *removed;
	char key[RECORD_KEY_BYTES];
	struct buffer value;
	ASSERT_INVARIANT(3, progress->fenced == progress->landings && !progress->waits_for);
	fenced.fenced = draft->sequence;
	buffer_init(&value, STORE_VALUE_BYTES);
	int result = removed_member_put(&fenced, &value);
	if (result == 0)
		result = draft_put(draft, removed_member_key(removed->sequence, key),
				   removed->mod_revision, &value);
	buffer_done(&value);
	json_array_append_new(nodes, json_pack("{s:s, s:I, s:I}", "node", removed->name, "removed",
					       (json_int_t)removed->sequence, "landings",
					       (json_int_t)progress->landings));
	return result;
}

static int build(struct change *change, struct change_draft *draft, struct error *err)
{
	const struct fence *fence = change->context;
	const struct removed_list *list = &draft->image->removed;
	json_t *nodes = json_array();
	int result = 0;
	(void)err;
	draft->what = json_pack("{s:o}", "nodes", nodes);
	if (!draft->what)
		return -ENOMEM;
	for (size_t i = 0; i < list->count && result == 0; i++) {
		struct fence_progress progress;
		bool due;
		result = look(fence, &list->items[i], &progress, &due);
		if (result == 0 && due && json_array_size(nodes) < MOST_NODES)
			result = put_fenced(draft, &list->items[i], &progress, nodes);
	}
	return result < 0 ? result : json_array_size(nodes) ? CHANGE_COMMIT : CHANGE_NOTHING;
}

static void done(struct change *change, int result, const struct error *err, uint64_t sequence)
{
	struct fence *fence = change->context;
	(void)err; /* the store's failures are told where txns end, and it is tried again */
	(void)result;
	(void)sequence;
	fence->busy = false;
}

void fence_run(struct fence *fence)
{
	const struct fence_options *options = &fence->options;
	const struct removed_list *list = &options->image->removed;
	bool any = false;
	if (fence->busy || options->rests(options->context))
		return;
	for (size_t i = 0; i < list->count && !any; i++) {
		struct fence_progress progress;
		if (look(fence, &list->items[i], &progress, &any) < 0)
			return; /* by the next tick again */
	}
	if (!any)
		return;
	fence->busy = true;
	fence->change = (struct change){.kind = LEDGER_KIND_MEMBER_FENCED,
					.who = "fairlead",
					.why = "no landing takes its tunnels any more",
					.build = build,
					.done = done,
					.context = fence};
	changes_submit(options->changes, &fence->change);
}

int fence_new(const struct fence_options *options, struct fence **ret_fence)
{
	struct fence *fence = calloc(1, sizeof(*fence));
	if (!fence)
		return -ENOMEM;
	fence->options = *options;
	*ret_fence = fence;
	return 0;
}

void fence_free(struct fence *fence)
{
	free(fence);
}
