/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan as a whole: which services get a next version, which change without one, which go, and
 * how far the rings move. What differs in detail is fabric.c's and service.c's.
 */
#include "plan/plan.h"

#include "model/fabric.h"
#include "model/version.h"
#include "plan/details.h"

#include <string.h>

struct planner {
	const struct fabric *previous; /* NULL: none */
	const struct fabric *fabric;
	bool same_sites; /* of both fabrics */
	const struct plan_live_service *live;
	size_t live_count;
	struct arena *arena;
	struct error *err;
};

static const struct plan_live_service *find_live(const struct planner *planner, const char *name)
{
	return plan_find_live(planner->live, planner->live_count, name);
}

/* Which sites' rings move, and how far, when `next` follows `current`. */
static int measure_moves(struct planner *planner, const struct version *current,
			 const struct version *next, struct plan_service *change)
{
	uint16_t carried[MODEL_MAX_BACKENDS];
	version_carry_ordinals(current, next, carried);
	struct plan_move *moves = arena_array(planner->arena, next->ring_count, sizeof(*moves));
	if (!moves)
		return -ENOMEM;
	size_t count = 0;
	for (size_t i = 0; i < next->ring_count; i++) {
		const struct ring *was = version_ring(current, next->rings[i].site);
		const struct ring *now = &next->rings[i].ring;
		if (!was)
			continue;
		moves[count++] = (struct plan_move){
		    .site = arena_strdup(planner->arena, next->rings[i].site),
		    .moved = ring_moved(was, carried, current->backend_count, now),
		    .entries = now->length};
		if (!moves[count - 1].site)
			return -ENOMEM;
	}
	change->moves = moves;
	change->move_count = count;
	return 0;
}

static const char *site_list(struct plan_details *details, const struct version *version)
{
	struct buffer text;
	buffer_init(&text, 0);
	for (size_t i = 0; i < version->ring_count; i++)
		buffer_printf(&text, "%s%s", i ? ", " : "", version->rings[i].site);
	return plan_keep_buffer(details, &text);
}

/* `service` as its `current` version means it, and as the file does now. */
static int compare_version(struct planner *planner, const struct service *service,
			   const struct version *current, const struct version *next,
			   struct arena *scratch, struct plan_details *details,
			   struct plan_service *change)
{
	bool matches = version_matches(current, planner->fabric, service);
	if (matches && !next)
		return 0;
	if (matches)
		plan_note_change(details, "address", NULL, NULL, "of a pool that leaves",
				 "of another");
	plan_compare_content(details, current, service);

	/* Neither seed nor salt decides how many entries move, so a fixed seed gives the numbers
	 * that the real version will have. */
	struct random random;
	struct version *built = NULL;
	random_init_seeded(&random, 1);
	int result = next ? 0
			  : version_build(planner->fabric, service, current->number + 1, current,
					  &random, scratch, &built, planner->err);
	if (result < 0)
		return result;
	next = next ? next : built;
	plan_note_change(details, "sites", NULL, NULL, site_list(details, current),
			 site_list(details, next));
	change->new_version = true;
	change->keeps_clients =
	    current->balance_by == BALANCE_SOURCE && next->balance_by == BALANCE_SOURCE;
	return measure_moves(planner, current, next, change);
}

/* The version that the previous file means, where the caller knows of no live one. */
static int assume_version(struct planner *planner, const struct service *service,
			  struct arena *scratch, struct version **ret_version)
{
	struct random random;
	random_init_seeded(&random, 1);
	return version_build(planner->previous, service, 1, NULL, &random, scratch, ret_version,
			     planner->err);
}

static int compare_service(struct planner *planner, const struct service *was,
			   const struct service *now, const struct plan_live_service *live,
			   struct plan_details *details, struct plan_service *change)
{
	struct arena scratch;
	arena_init(&scratch, planner->arena->limit);
	const struct version *current = live ? live->current : NULL;
	int result = 0;
	if (!current && was) {
		struct version *assumed;
		result = assume_version(planner, was, &scratch, &assumed);
		if (result == 0)
			current = assumed;
	}
	if (result == 0 && current)
		result = compare_version(planner, now, current, live ? live->next : NULL, &scratch,
					 details, change);
	if (was)
		plan_compare_policies(details, was, now);
	if (result == 0) {
		change->from_version = live && live->current ? live->current->number : 0;
		change->to_version =
		    change->new_version && live ? live->next_version : change->from_version;
	}
	arena_done(&scratch);
	return result;
}

/* Fill `change`; it is of interest when it has a new version or a detail. */
static int plan_one(struct planner *planner, const struct service *now, struct plan_service *change)
{
	const struct service *was =
	    planner->previous ? fabric_service(planner->previous, now->name) : NULL;
	const struct plan_live_service *live = find_live(planner, now->name);
	struct plan_details details = {.arena = planner->arena};
	*change = (struct plan_service){
	    .sign = PLAN_CHANGE, .name = now->name, .drain_limit_ms = now->drain_limit_ms};
	int result = 0;
	/* Most services of most files; what no version is known of means the same as before. */
	if (was && !live && planner->same_sites && service_equal(was, now))
		return 0;
	if (was || (live && live->current)) {
		result = compare_service(planner, was, now, live, &details, change);
	} else {
		plan_compare_content(&details, NULL, now);
		change->sign = PLAN_ADD;
		change->new_version = true;
		change->to_version = live && live->next_version ? live->next_version : 1;
	}
	change->details = details.items;
	change->detail_count = details.count;
	if (live) {
		change->versions = live->versions;
		change->version_count = live->version_count;
		change->waits = live->waits;
		change->wait_count = live->wait_count;
		change->waits_for = live->waits_for;
	}
	return result ? result : details.status;
}

static void plan_removal(struct planner *planner, const struct service *was,
			 struct plan_service *change)
{
	const struct plan_live_service *live = find_live(planner, was->name);
	*change = (struct plan_service){.sign = PLAN_REMOVE, .name = was->name};
	if (!live)
		return;
	change->from_version = live->current ? live->current->number : 0;
	change->versions = live->versions;
	change->version_count = live->version_count;
}

static int plan_services(struct planner *planner, struct plan *plan)
{
	const struct fabric *previous = planner->previous, *fabric = planner->fabric;
	size_t most = fabric->service_count + (previous ? previous->service_count : 0);
	struct plan_service *services = arena_array(planner->arena, most, sizeof(*services));
	if (!services)
		return -ENOMEM;
	size_t count = 0;
	for (size_t i = 0; i < fabric->service_count; i++) {
		struct plan_service *change = &services[count];
		int result = plan_one(planner, &fabric->services[i], change);
		if (result < 0)
			return result;
		if (change->new_version || change->detail_count > 0)
			count++;
	}
	for (size_t i = 0; previous && i < previous->service_count; i++)
		if (!fabric_service(fabric, previous->services[i].name))
			plan_removal(planner, &previous->services[i], &services[count++]);
	plan->services = services;
	plan->service_count = count;
	return 0;
}

static bool same_sites(const struct fabric *a, const struct fabric *b)
{
	bool same = a->site_count == b->site_count;
	for (size_t i = 0; i < a->site_count && same; i++)
		same = fabric_site(b, a->sites[i].name);
	return same;
}

int plan_build(const struct fabric *previous, const struct fabric *fabric,
	       const struct plan_live_service *live, size_t live_count, struct arena *arena,
	       struct plan **ret_plan, struct error *err)
{
	struct planner planner = {.previous = previous,
				  .fabric = fabric,
				  .same_sites = previous && same_sites(previous, fabric),
				  .live = live,
				  .live_count = live_count,
				  .arena = arena,
				  .err = err};
	struct plan_details details = {.arena = arena};
	struct plan *plan = arena_alloc(arena, sizeof(*plan));
	if (!plan)
		return error_set(err, -ENOMEM, "no memory for the plan");
	if (previous)
		plan_compare_fabrics(&details, previous, fabric);
	else
		plan_list_fabric(&details, fabric);
	plan->details = details.items;
	plan->detail_count = details.count;
	int result = details.status ? details.status : plan_services(&planner, plan);
	if (result == 0 && previous)
		result = plan_find_losses(previous, fabric, live, live_count, arena, plan);
	if (result == -ENOMEM)
		return error_set(err, -ENOMEM, "no memory for the plan");
	if (result == 0)
		*ret_plan = plan;
	return result;
}

bool plan_is_empty(const struct plan *plan)
{
	return plan->detail_count == 0 && plan->service_count == 0;
}
