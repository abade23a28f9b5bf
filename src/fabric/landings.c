/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Of each service it is remembered what it means to landings, as sorted rows. When the service's
 * record changes, its rows are made anew, and a landing is marked where they differ; its set is
 * made from the rows of all services when somebody asks for it. Pools, sites and members concern
 * everybody, and change seldom.
 */
#include "fabric/landings.h"

#include "base/search.h"

#include <stdlib.h>
#include <string.h>

/* One thing that a service wants of one landing. */
struct row {
	const char *backend;
	struct ip_address end; /* of tunnels */
	bool has_listener; /* otherwise it is about `end` */
	struct peer_listener listener;
};

struct row_list {
	struct arena *arena;
	struct row *items;
	size_t count, room;
};

struct remembered_service {
	char name[MODEL_NAME_BYTES];
	uint64_t mod_revision;
	struct arena arena;
	struct row *rows; /* sorted, each once */
	size_t row_count;
	struct peer_address *cuts;
	size_t cut_count;
};

struct landing_entry {
	char name[MODEL_NAME_BYTES];
	size_t rows; /* of all services; 0: it is no landing any more */
	struct landing_set *set; /* NULL: to be made */
};

struct landings {
	uint64_t revision; /* of the image that this is up to date with; 0: none */
	uint64_t placement_revision;
	uint64_t members_revision;
	struct digest shape; /* of pools and sites: with them every service's addresses change */
	struct arena pools_arena, edges_arena;
	struct wire_list pools, edges;
	struct remembered_service **services; /* sorted by name */
	size_t service_count;
	struct landing_entry *entries; /* sorted by name */
	size_t entry_count;
	struct wire_list cuts; /* of all services */
	bool cuts_stale;
};

int landings_new(struct landings **ret_landings)
{
	struct landings *landings = calloc(1, sizeof(*landings));
	if (!landings)
		return -ENOMEM;
	arena_init(&landings->pools_arena, 0);
	arena_init(&landings->edges_arena, 0);
	*ret_landings = landings;
	return 0;
}

static void service_free(struct remembered_service *service)
{
	if (service)
		arena_done(&service->arena);
	free(service);
}

void landings_free(struct landings *landings)
{
	if (!landings)
		return;
	for (size_t i = 0; i < landings->service_count; i++)
		service_free(landings->services[i]);
	for (size_t i = 0; i < landings->entry_count; i++)
		landing_set_unref(landings->entries[i].set);
	arena_done(&landings->pools_arena);
	arena_done(&landings->edges_arena);
	free((void *)(uintptr_t)landings->cuts.items);
	free(landings->services);
	free(landings->entries);
	free(landings);
}

/* --- landings by name ------------------------------------------------------------------------- */

static int compare_entry(const void *entries, size_t place, const void *name)
{
	const struct landing_entry *list = entries;
	return strcmp(list[place].name, name);
}

static struct landing_entry *find_entry(const struct landings *landings, const char *name)
{
	bool found;
	size_t at =
	    search_place(landings->entries, landings->entry_count, name, compare_entry, &found);
	return found ? &landings->entries[at] : NULL;
}

static struct landing_entry *get_entry(struct landings *landings, const char *name)
{
	bool found;
	size_t at =
	    search_place(landings->entries, landings->entry_count, name, compare_entry, &found);
	if (found)
		return &landings->entries[at];
	struct landing_entry *entries = reallocarray(landings->entries, landings->entry_count + 1,
						     sizeof(struct landing_entry));
	if (!entries)
		return NULL;
	landings->entries = entries;
	memmove(entries + at + 1, entries + at,
		(landings->entry_count - at) * sizeof(struct landing_entry));
	entries[at] = (struct landing_entry){0};
	memcpy(entries[at].name, name, strlen(name) + 1);
	landings->entry_count++;
	return &entries[at];
}

static void forget_set(struct landing_entry *entry)
{
	landing_set_unref(entry->set);
	entry->set = NULL;
}

static void forget_sets(struct landings *landings)
{
	for (size_t i = 0; i < landings->entry_count; i++)
		forget_set(&landings->entries[i]);
}

/* --- what one service wants ------------------------------------------------------------------- */

static int compare_rows(const void *a, const void *b)
{
	const struct row *left = a;
	const struct row *right = b;
	int order = strcmp(left->backend, right->backend);
	if (!order)
		order = left->has_listener - right->has_listener;
	if (!order && !left->has_listener)
		order = ip_address_compare(&left->end, &right->end);
	return order || !left->has_listener
		   ? order
		   : landing_set_compare_listeners(&left->listener, &right->listener);
}

static struct row *add_row(struct row_list *list)
{
	if (list->count == list->room) {
		size_t room = list->room ? 2 * list->room : 64;
		struct row *items = arena_array(list->arena, room, sizeof(*items));
		if (!items)
			return NULL;
		if (list->count)
			memcpy(items, list->items, list->count * sizeof(*items));
		list->items = items;
		list->room = room;
	}
	return &list->items[list->count++];
}

/* The backend's listeners at each address of the binding. One of the other family cannot take the
 * flow. */
static bool add_listeners(struct row_list *list, const struct image *image,
			  const struct binding *binding, const struct backend *backend,
			  const char *name)
{
	for (size_t s = 0; backend->listener_count && s < image->placement->site_count; s++) {
		struct ip_address address =
		    placement_address(image->placement, binding, image->placement->sites[s]);
		for (size_t l = 0; address.family && l < backend->listener_count; l++) {
			const struct backend_listener *listener = &backend->listeners[l];
			if (listener->address.family && listener->address.family != address.family)
				continue;
			struct row *row = add_row(list);
			if (!row)
				return false;
			*row = (struct row){
			    .backend = name,
			    .has_listener = true,
			    .listener = {
				.destination = {address, (uint8_t)ip_family_bits(address.family)},
				.protocol = listener->protocol,
				.port = listener->service_port,
				.listen_address = listener->address,
				.listen_port = listener->port}};
		}
	}
	return true;
}

/* Names are copied: what the image holds of a version may go before these rows do. */
static bool add_backend(struct row_list *list, const struct image *image,
			const struct binding *binding, const struct backend *backend)
{
	if (backend->no_landing)
		return true;
	char *name = arena_strdup(list->arena, backend->name);
	struct row *row = name ? add_row(list) : NULL;
	if (!row)
		return false;
	*row = (struct row){.backend = name, .end = backend->address};
	return add_listeners(list, image, binding, backend, name);
}

static int add_cuts(struct remembered_service *service, const struct image *image,
		    const struct service_state *state)
{
	size_t most = state->binding_count * image->placement->site_count;
	service->cuts = arena_array(&service->arena, most + 1, sizeof(*service->cuts));
	if (!service->cuts)
		return -ENOMEM;
	for (size_t b = 0; b < state->binding_count; b++) {
		const struct binding *binding = &state->bindings[b];
		const struct version_status *status = service_version(state, binding->version);
		for (size_t s = 0; status && status->cut && s < image->placement->site_count; s++) {
			struct ip_address address = placement_address(image->placement, binding,
								      image->placement->sites[s]);
			if (address.family)
				service->cuts[service->cut_count++].address = address;
		}
	}
	return 0;
}

static size_t sort_rows(struct row *rows, size_t count)
{
	size_t kept = 0;
	if (count)
		qsort(rows, count, sizeof(*rows), compare_rows);
	for (size_t i = 0; i < count; i++) {
		if (!kept || compare_rows(&rows[kept - 1], &rows[i]) != 0)
			rows[kept++] = rows[i];
	}
	return kept;
}

/* NULL without memory. */
static struct remembered_service *look_at(const struct image *image,
					  const struct image_service *known)
{
	struct remembered_service *service = calloc(1, sizeof(*service));
	if (!service)
		return NULL;
	arena_init(&service->arena, 0);
	memcpy(service->name, known->name, sizeof(service->name));
	service->mod_revision = known->mod_revision;
	const struct service_state *state = known->state;
	struct row_list list = {.arena = &service->arena};
	bool good = add_cuts(service, image, state) == 0;
	for (size_t b = 0; good && b < state->binding_count; b++) {
		const struct binding *binding = &state->bindings[b];
		const struct version *version = image_version(known, binding->version);
		for (size_t i = 0; good && version && i < version->backend_count; i++)
			good = add_backend(&list, image, binding, &version->backends[i]);
	}
	if (!good) {
		service_free(service);
		return NULL;
	}
	service->rows = list.items;
	service->row_count = sort_rows(list.items, list.count);
	return service;
}

/* --- keeping up ------------------------------------------------------------------------------- */

/* A landing for each row, before anything else changes: what follows cannot fail. */
static int make_entries(struct landings *landings, const struct remembered_service *service)
{
	for (size_t i = 0; i < service->row_count; i++) {
		if (!get_entry(landings, service->rows[i].backend))
			return -ENOMEM;
	}
	return 0;
}

/* Marks the landings for which the two differ, either of which may be NULL. */
static void compare_services(struct landings *landings, const struct remembered_service *before,
			     const struct remembered_service *after)
{
	size_t old_count = before ? before->row_count : 0;
	size_t new_count = after ? after->row_count : 0;
	size_t o = 0;
	size_t n = 0;
	while (o < old_count || n < new_count) {
		int order = o == old_count   ? 1
			    : n == new_count ? -1
					     : compare_rows(&before->rows[o], &after->rows[n]);
		if (order) {
			const struct row *row = order < 0 ? &before->rows[o] : &after->rows[n];
			struct landing_entry *entry = find_entry(landings, row->backend);
			ASSERT(entry);
			entry->rows = order < 0 ? entry->rows - 1 : entry->rows + 1;
			forget_set(entry);
		}
		o += order <= 0;
		n += order >= 0;
	}
	landings->cuts_stale |= (before && before->cut_count) || (after && after->cut_count);
}

/* Both lists are in the order of names. Services that did not change are moved over. */
static int update_services(struct landings *landings, const struct image *image)
{
	struct remembered_service **list =
	    calloc(landings->service_count + image->service_count + 1, sizeof(*list));
	size_t count = 0;
	size_t old = 0;
	int result = 0;
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < image->service_count; i++) {
		const struct image_service *known = image->services[i];
		while (old < landings->service_count &&
		       strcmp(landings->services[old]->name, known->name) < 0) {
			compare_services(landings, landings->services[old], NULL);
			service_free(landings->services[old++]);
		}
		struct remembered_service *before = NULL;
		if (old < landings->service_count &&
		    strcmp(landings->services[old]->name, known->name) == 0)
			before = landings->services[old++];
		if (before && known->state && before->mod_revision == known->mod_revision) {
			list[count++] = before;
			continue;
		}
		struct remembered_service *after = known->state ? look_at(image, known) : NULL;
		if (known->state && (!after || make_entries(landings, after) < 0)) {
			/* What was known stays, and is looked at again by the next call. */
			service_free(after);
			if (before)
				list[count++] = before;
			result = -ENOMEM;
			continue;
		}
		compare_services(landings, before, after);
		service_free(before);
		if (after)
			list[count++] = after;
	}
	for (; old < landings->service_count; old++) {
		compare_services(landings, landings->services[old], NULL);
		service_free(landings->services[old]);
	}
	free(landings->services);
	landings->services = list;
	landings->service_count = count;
	return result;
}

/* Is the pool forwarded: in the file, or leaving? `held` is placement_held_pools(). */
static bool is_there(const struct placement *placement, size_t pool, uint8_t held)
{
	return !placement->pools[pool].removed || (held >> pool & 1);
}

static void shape_of(const struct placement *placement, uint8_t held, struct digest_stream *stream)
{
	for (size_t i = 0; i < placement->pool_count; i++) {
		const struct placed_pool *placed = &placement->pools[i];
		const uint32_t numbers[] = {is_there(placement, i, held),
					    placed->pool.prefix.length, placed->pool.site_bits};
		digest_stream_add(stream, &placed->pool.prefix.address,
				  sizeof(placed->pool.prefix.address));
		digest_stream_add(stream, numbers, sizeof(numbers));
	}
	for (size_t i = 0; i < placement->site_count; i++)
		digest_stream_add(stream, placement->sites[i], strlen(placement->sites[i]) + 1);
}

/* Every service is looked at anew. */
static void forget_services(struct landings *landings)
{
	for (size_t i = 0; i < landings->service_count; i++)
		landings->services[i]->mod_revision = 0;
}

static int update_pools(struct landings *landings, const struct image *image)
{
	struct digest_stream stream;
	struct digest shape;
	const struct placement *placement = image->placement;
	uint8_t held = placement_held_pools(image->states, image->state_count);
	if (digest_stream_init(&stream) < 0)
		return -ENOMEM;
	shape_of(placement, held, &stream);
	digest_stream_done(&stream, &shape);
	if (memcmp(&shape, &landings->shape, sizeof(shape)) == 0)
		return 0;
	struct arena arena;
	arena_init(&arena, 0);
	struct peer_prefix *pools = arena_array(&arena, placement->pool_count + 1, sizeof(*pools));
	size_t count = 0;
	if (!pools)
		return -ENOMEM;
	for (size_t i = 0; i < placement->pool_count; i++) {
		if (is_there(placement, i, held))
			pools[count++].prefix = placement->pools[i].pool.prefix;
	}
	arena_done(&landings->pools_arena);
	landings->pools_arena = arena;
	landings->pools = (struct wire_list){.items = pools, .count = count};
	landings->shape = shape;
	forget_services(landings);
	forget_sets(landings);
	return 0;
}

static int update_edges(struct landings *landings, const struct image *image)
{
	struct arena arena;
	size_t count = 0;
	for (size_t m = 0; m < image->member_count; m++)
		count += image->members[m].member->source_count;
	arena_init(&arena, 0);
	struct peer_address *edges = arena_array(&arena, count + 1, sizeof(*edges));
	if (!edges)
		return -ENOMEM;
	count = 0;
	for (size_t m = 0; m < image->member_count; m++) {
		const struct member *member = image->members[m].member;
		for (size_t i = 0; member_has(member, MEMBER_EDGE) && i < member->source_count; i++)
			edges[count++].address = member->sources[i];
	}
	arena_done(&landings->edges_arena);
	landings->edges_arena = arena;
	landings->edges = (struct wire_list){.items = edges, .count = count};
	forget_sets(landings);
	return 0;
}

static int update_cuts(struct landings *landings)
{
	size_t count = 0;
	for (size_t i = 0; i < landings->service_count; i++)
		count += landings->services[i]->cut_count;
	struct peer_address *cuts = calloc(count + 1, sizeof(*cuts));
	if (!cuts)
		return -ENOMEM;
	count = 0;
	for (size_t i = 0; i < landings->service_count; i++) {
		const struct remembered_service *service = landings->services[i];
		if (service->cut_count)
			memcpy(cuts + count, service->cuts, service->cut_count * sizeof(*cuts));
		count += service->cut_count;
	}
	free((void *)(uintptr_t)landings->cuts.items);
	landings->cuts = (struct wire_list){.items = cuts, .count = count};
	landings->cuts_stale = false;
	return 0;
}

int landings_update(struct landings *landings, const struct image *image)
{
	int result = 0;
	/* Not before the ledger has members: a landing that was told of no edges would drop the
	 * flows that an earlier program's edge sends it. */
	if (!image->placement || !image->member_count || landings->revision == image->revision)
		return 0;
	if (landings->placement_revision != image->placement_revision)
		result = update_pools(landings, image);
	if (result == 0 && landings->members_revision != image->members_revision)
		result = update_edges(landings, image);
	if (result == 0)
		result = update_services(landings, image);
	if (result == 0 && landings->cuts_stale)
		result = update_cuts(landings);
	if (result < 0)
		return result;
	landings->placement_revision = image->placement_revision;
	landings->members_revision = image->members_revision;
	landings->revision = image->revision;
	return 0;
}

struct wire_list landings_cuts(const struct landings *landings)
{
	return landings->cuts;
}

uint64_t landings_fence_revision(const struct landings *landings)
{
	return landings->members_revision;
}

/* --- asking ----------------------------------------------------------------------------------- */

static int compare_backend(const void *rows, size_t place, const void *backend)
{
	const struct row *list = rows;
	int order = strcmp(list[place].backend, backend);
	return order ? order : 1; /* before the first of its rows */
}

static int make_set(const struct landings *landings, struct landing_entry *entry)
{
	struct peer_address *ends = calloc(entry->rows, sizeof(*ends));
	struct peer_listener *listeners = calloc(entry->rows, sizeof(*listeners));
	size_t end_count = 0;
	size_t listener_count = 0;
	int result = ends && listeners ? 0 : -ENOMEM;
	for (size_t i = 0; result == 0 && i < landings->service_count; i++) {
		const struct remembered_service *service = landings->services[i];
		bool found;
		size_t at = search_place(service->rows, service->row_count, entry->name,
					 compare_backend, &found);
		for (;
		     at < service->row_count && strcmp(service->rows[at].backend, entry->name) == 0;
		     at++) {
			const struct row *row = &service->rows[at];
			if (row->has_listener)
				listeners[listener_count++] = row->listener;
			else
				ends[end_count++].address = row->end;
		}
	}
	const struct wire_list lists[LANDING_LISTS] = {
	    [LANDING_POOLS] = landings->pools,
	    [LANDING_EDGES] = landings->edges,
	    [LANDING_ADDRESSES] = {ends, end_count},
	    [LANDING_LISTENERS] = {listeners, listener_count}};
	if (result == 0)
		result = landing_set_new(lists, &entry->set);
	free(ends);
	free(listeners);
	return result;
}

int landings_wanted(struct landings *landings, const char *name, struct landing_set **ret_set)
{
	struct landing_entry *entry = find_entry(landings, name);
	if (!entry || !entry->rows) {
		*ret_set = NULL;
		return 0;
	}
	int result = entry->set ? 0 : make_set(landings, entry);
	if (result == 0)
		*ret_set = entry->set;
	return result;
}

bool landings_has_carried_out(struct landings *landings, const struct report *report)
{
	struct landing_set *set = NULL;
	return landings_wanted(landings, report->backend, &set) == 0 && set &&
	       memcmp(&report->said.generation, &set->generation, sizeof(set->generation)) == 0;
}
