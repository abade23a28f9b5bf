/* SPDX-License-Identifier: Apache-2.0 */
/* The node that decides: what the daemon wires together on a voter, without its loop. */
#include "base/digest.h"
#include "fabric/fence.h"
#include "fabric/outlook.h"
#include "fabric_world.h"
#include "power_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct node *voter(struct world *world)
{
	return &world->nodes[0];
}

bool voter_runs(const struct world *world)
{
	return world->driver && node_has_disk(&world->nodes[0]);
}

static bool rests(void *context)
{
	const struct node *node = voter(context);
	return !node_has_disk(node) || !replica_is_writable(&node->replica);
}

static void tell(void *context, const char *event, json_t *fields)
{
	struct world *world = context;
	const char *fault = json_string_value(json_object_get(fields, "error"));
	CHECK(world, !fault || !node_has_disk(voter(world)), "%s: %s", event, fault);
	json_decref(fields);
}

static bool acts(void *context, enum member_role role)
{
	struct world *world = context;
	return role == MEMBER_EDGE && voter(world)->maps.is_there;
}

static uint64_t applied(void *context)
{
	const struct world *world = context;
	const struct sights sights = driver_sights(world->driver);
	return merge_applied(&sights);
}

void voter_stop(struct world *world)
{
	changes_free(world->changes);
	driver_free(world->driver);
	membership_free(world->membership);
	fence_free(world->fence);
	observations_free(world->observations);
	landings_free(world->wanted);
	reports_free(world->reports);
	world->changes = NULL;
	world->driver = NULL;
	world->membership = NULL;
	world->fence = NULL;
	world->observations = NULL;
	world->reports = NULL;
	world->wanted = NULL;
	world->ended_ms = world->now_ms;
	world->ended_wall_ms = clock_wall_ms(&voter(world)->steady);
}

void voter_start(struct world *world)
{
	struct node *node = voter(world);
	const struct changes_options changes = {.authority = node->replica.store,
						.image = &node->image,
						.signer = node->replica.signer,
						.clock = &node->clock,
						.steady = &node->steady,
						.random = &world->secrets,
						.applied = applied,
						.refusal = node->replica.refusal,
						.context = world};
	const struct membership_options membership = {.image = &node->image,
						      .self = &node->self,
						      .acts = acts,
						      .rests = rests,
						      .context = world};
	struct driver_options driver = {.image = &node->image,
					.clock = &node->clock,
					.steady = &node->steady,
					.rests = rests,
					.tell = tell,
					.context = world};
	int result = observations_new(&world->observations);
	if (result == 0)
		result = reports_new(&world->reports);
	if (result == 0)
		result = landings_new(&world->wanted);
	if (result == 0)
		result = changes_new(&changes, &world->changes);
	driver.changes = world->changes;
	driver.observations = world->observations;
	driver.reports = world->reports;
	driver.landings = world->wanted;
	if (result == 0)
		result = driver_new(&driver, &world->driver);
	struct membership_options own = membership;
	own.changes = world->changes;
	if (result == 0)
		result = membership_new(&own, &world->membership);
	const struct fence_options fence = {.image = &node->image,
					    .changes = world->changes,
					    .reports = world->reports,
					    .clock = &node->clock,
					    .rests = rests,
					    .context = world};
	if (result == 0)
		result = fence_new(&fence, &world->fence);
	CHECK(world, result == 0, "the voter does not start: %s", error_text(result));
	/* Invariant 6: a store that holds no configuration may be one that was lost. */
	if (member_has(&node->self, MEMBER_EDGE) && !node->image.fabric && node->maps.is_there)
		replica_set_behind_maps(&node->replica);
	/* A commit that the last process did not live to see stands on what that one was told. All
	 * that ends with it. */
	if (node->image.head.sequence >= world->head)
		check_commit(world);
	voter_listen(world);
	world->ended_ms = 0;
	memset(world->heard, 0, sizeof(world->heard));
	memset(world->counted, 0, sizeof(world->counted));
}

/* What is told of a version adds up: whoever holds connections is named, and whatever it waits for
 * has its sentence. */
static void check_outlook(struct world *world, const struct service_state *state, size_t index)
{
	struct outlook outlook;
	struct arena arena;
	uint64_t sum = 0;
	const struct version_status *status = &state->versions[index];
	arena_init(&arena, 0);
	int result = outlook_find(world->driver, state, index, &arena, &outlook);
	CHECK(world, result == 0, "no outlook: %s", error_text(result));
	for (size_t i = 0; i < outlook.holder_count; i++)
		sum += outlook.holders[i].connections;
	uint64_t counted = driver_connections(world->driver, state, status->number).count;
	CHECK(world, sum == counted || status->state == VERSION_RETIRED,
	      "version %u: holders have %" PRIu64 " connections of %" PRIu64, status->number, sum,
	      counted);
	for (size_t i = 0; i < outlook.wait_count; i++)
		CHECK(world, *outlook.waits[i].text, "version %u waits for nothing",
		      status->number);
	arena_done(&arena);
}

static void check_outlooks(struct world *world)
{
	const struct image *image = &voter(world)->image;
	for (size_t s = 0; image->fabric && s < image->state_count; s++) {
		for (size_t i = 0; i < image->states[s]->version_count; i++)
			check_outlook(world, image->states[s], i);
	}
}

void voter_moved(struct world *world, uint64_t revision)
{
	struct node *node = voter(world);
	if (*node->replica.awaits) {
		world->tally->taken_back++;
	} else {
		CHECK(world, replica_is_writable(&node->replica) && !node->is_set_back,
		      "rules 3, 4: the voter decides revision %" PRIu64
		      " by a state that is not its newest",
		      revision);
		world->told_revision = revision;
		check_commit(world);
	}
	node_carry_out(world, node);
	node_observe(world, node, false);
	changes_image_moved(world->changes);
	check_outlooks(world);
	driver_run(world->driver);
}

void voter_tick(struct world *world)
{
	struct node *node = voter(world);
	node_carry_out(world, node);
	node_observe(world, node, true);
	membership_run(world->membership);
	fence_run(world->fence);
	driver_run(world->driver);
}

/* --- what it hears --- */

/* Whatever the product makes of it: what is on no chain of ours is nothing. */
static uint64_t acked(const struct image *image, const struct ledger_position *position)
{
	return image_is_on_chain(image, position) ? position->sequence : 0;
}

bool voter_hear(struct world *world, const struct observation *observation, const struct node *node,
		uint64_t process)
{
	struct heard *heard = &world->heard[node->index];
	const struct image *image = &voter(world)->image;
	/* A node's new session ends its old one. */
	if (!voter_runs(world) || process < heard->process)
		return false;
	int result = observations_take(world->observations, image, observation,
				       clock_now_ms(&voter(world)->clock));
	if (result == -FL_ENOTFOUND)
		return false;
	CHECK(world, result == 0, "an observation is refused: %s", error_text(result));
	check_refusals(world);
	if (process != heard->process)
		*heard = (struct heard){.process = process};
	heard->at_ms = world->now_ms;
	heard->edge_acked = observation->is_edge ? acked(image, &observation->edge_applied) : 0;
	heard->names_acked = observation->is_names ? acked(image, &observation->names_applied) : 0;
	check_refusals(world);
	return true;
}
