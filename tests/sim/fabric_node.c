/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes: processes that come and go, replicas on disks of their own, and maps that outlive both.
 * Every node acts by its own image alone. Node 0's follows its store; the others take in the
 * voter's revisions one by one, each durable before anything is done by it.
 */
#include "fabric_world.h"
#include "power_disk.h"
#include "sim_fabric.h"
#include "state/follower.h"
#include "store/peer/client.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WELL_MS 2500u /* a process that did well for so long has not crashed */

static bool is_voter(const struct node *node)
{
	return node->index == 0;
}

/* --- clocks --- */

static uint64_t now_ms(void *context)
{
	const struct node *node = context;
	return node->world->now_ms + 1000 * node->index;
}

static uint64_t wall_ms(void *context)
{
	const struct node *node = context;
	return (uint64_t)((int64_t)now_ms(context) + node->wall_offset_ms);
}

/* As the daemon's: the wall clock of the process's start, and what passed since. */
static uint64_t steady_wall_ms(void *context)
{
	const struct node *node = context;
	return node->start_wall_ms + (node->world->now_ms - node->started_ms);
}

/* --- its replica --- */

bool node_has_disk(const struct node *node)
{
	power_disk_select((unsigned)node->index, node->folder);
	return !power_disk_is_cut();
}

static void trace_entries(struct world *world, const struct store_event *events, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct ledger_entry entry;
		if (!ledger_entry_of_event(&events[i], &entry))
			continue;
		trace(world, "entry %" PRIu64 " %s: %s", entry.sequence, entry.kind, entry.why);
		ledger_entry_done(&entry);
	}
}

static void on_events(void *context, int result, const struct error *err, uint64_t revision,
		      const struct store_event *events, size_t count)
{
	struct node *node = context;
	struct world *world = node->world;
	struct error fault = {0};
	if (result < 0) {
		node->lost_track = result == -FL_ECOMPACTED;
		CHECK(world, node->lost_track || !node_has_disk(node), "%s's watch ended: %s",
		      node->name, err->text);
		return;
	}
	result =
	    image_update(&node->image, revision, events, count, clock_now_ms(&node->clock), &fault);
	CHECK(world, result == 0, "%s does not take revision %" PRIu64 ": %s", node->name, revision,
	      fault.text);
	replica_moved(&node->replica, &node->image);
	if (is_voter(node)) {
		trace_entries(world, events, count);
		check_image(world, node);
		voter_moved(world, revision);
		return;
	}
	check_image(world, node);
	if (chance(world, 700))
		node_carry_out(world, node);
	node_observe(world, node, false);
}

static void watch(struct world *world, struct node *node)
{
	int result = store_watch(node->replica.store, "", node->image.revision + 1, on_events, node,
				 &node->watch, NULL);
	CHECK(world, result == 0, "%s cannot watch its replica: %s", node->name,
	      error_text(result));
}

/* All that it had was replaced. */
static void find_track(struct world *world, struct node *node)
{
	struct error err = {0};
	node->lost_track = false;
	store_watch_cancel(node->watch);
	node->watch = NULL;
	image_done(&node->image);
	int result =
	    image_load(&node->image, node->replica.store, clock_now_ms(&node->clock), &err);
	if (result == 0)
		result = replica_judge(&node->replica, &node->image, &err);
	CHECK(world, result == 0 || !node_has_disk(node), "%s's replica is not read: %s",
	      node->name, err.text);
	if (result < 0)
		return;
	watch(world, node);
	check_image(world, node);
	/* Who served it serves another history now. */
	for (size_t i = 0; i < world->node_count; i++) {
		if (world->nodes[i].source == node)
			line_cut(world, &world->nodes[i]);
	}
	if (is_voter(node)) {
		voter_moved(world, node->image.revision);
		return;
	}
	node_carry_out(world, node);
	node_observe(world, node, false);
}

static bool is_due(const struct store *store)
{
	struct pollfd event = {.fd = store ? store_fd(store) : -1, .events = POLLIN};
	return store && (poll(&event, 1, 0) > 0 || store_timeout_ms(store) == 0);
}

void node_dispatch(struct world *world, struct node *node)
{
	if (node->dispatches)
		return;
	node->dispatches = true;
	while (node->runs && node_has_disk(node)) {
		bool peer = is_due(node->peer);
		if (is_due(node->replica.store))
			store_dispatch(node->replica.store);
		else if (!peer && !node->lost_track)
			break;
		if (peer)
			store_dispatch(node->peer);
		if (node->lost_track)
			find_track(world, node);
	}
	node->dispatches = false;
	if (node->runs && !node_has_disk(node))
		node_lose_power(world, node);
}

static void open_replica(struct world *world, struct node *node)
{
	struct error err = {0};
	const struct replica_options options = {.folder = node->folder,
						.node = node->name,
						.clock = &node->clock,
						.disk = &power_disk,
						.pinned = node->pinned,
						.follows = !is_voter(node)};
	int result = replica_open(&options, &node->replica, &node->image, &err);
	CHECK(world, result == 0 || !node_has_disk(node), "%s does not start: %s", node->name,
	      err.text);
	if (!node_has_disk(node) || node->replica.kind != REPLICA_STORE)
		return;
	result = store_open_peer(&node->peer, &err);
	if (result == 0)
		result = follower_new(node->peer, node->replica.store, &node->follower);
	CHECK(world, result == 0, "%s cannot follow", node->name);
}

static void close_replica(struct world *world, struct node *node)
{
	for (size_t i = 0; i < world->node_count; i++) {
		if (world->nodes[i].source == node)
			line_cut(world, &world->nodes[i]);
	}
	line_cut(world, node);
	store_watch_cancel(node->watch);
	node->watch = NULL;
	if (is_voter(node))
		changes_stop(world->changes);
	follower_stop(node->follower);
	store_close(node->peer);
	store_close(node->replica.store);
	follower_free(node->follower);
	node->follower = NULL;
	node->peer = NULL;
	node->lost_track = false;
	if (is_voter(node))
		voter_stop(world);
	ledger_signer_free(node->replica.signer);
	image_done(&node->image);
	node->replica = (struct replica){0};
}

/* --- living --- */

/* From here on it crashes soon after each start, until it goes by the copy. */
static void on_crashes(struct world *world, void *context, uint64_t number)
{
	struct node *node = context;
	(void)number;
	if (world->is_calm || node->crashes_due || !node->runs)
		return;
	trace(world, "%s crashes again and again", node->name);
	node->crashes_due = REPLICA_CRASHES - 1;
	node_kill(world, node);
}

/* As the daemon does: what runs well for a while did not crash, and is worth a copy. */
static void prove(struct world *world, struct node *node)
{
	struct replica *replica = &node->replica;
	char path[128];
	if (!node->image.fabric || node->stuck_until_ms > world->now_ms)
		node->well_since_ms = world->now_ms;
	if (replica->crashed || world->now_ms - node->well_since_ms < WELL_MS)
		return;
	if (!node->is_proven)
		crashes_forget(&replica->crashes);
	node->is_proven = true;
	if (!node->crashes_wanted || !replica_is_writable(replica) || !node_has_disk(node))
		return;
	node->crashes_wanted = false;
	snprintf(path, sizeof(path), "%s/" COPY_GOOD_FILE, node->folder);
	int result = store_sqlite_copy(node->folder, &power_disk, path, NULL);
	CHECK(world, result == 0 || !node_has_disk(node), "%s is not copied", node->name);
	plan(world, below(world, 15000), on_crashes, node, 0);
}

static void on_tick(struct world *world, void *context, uint64_t process)
{
	struct node *node = context;
	if (!node->runs || node->process != process)
		return;
	plan(world, TICK_MS, on_tick, node, process);
	if (node->paused_until_ms > world->now_ms)
		return;
	if (!node->is_foreign)
		stand_tick(world, node);
	if (is_voter(node)) {
		voter_tick(world);
	} else {
		if (!node->is_foreign)
			node_carry_out(world, node);
		node_observe(world, node, true);
		if (node->is_removed)
			line_cut(world, node);
	}
	prove(world, node);
	node_dispatch(world, node);
}

static void on_start(struct world *world, void *context, uint64_t number)
{
	(void)number;
	node_start(world, context);
}

static void on_crash(struct world *world, void *context, uint64_t process)
{
	struct node *node = context;
	if (node->runs && node->process == process)
		node_kill(world, node);
}

/* By a copy it takes no change and follows nobody: somebody looks after it. */
static void on_looked_after(struct world *world, void *context, uint64_t process)
{
	struct node *node = context;
	if (node->runs && node->process == process)
		node_stop(world, node);
}

static void begin_process(struct world *world, struct node *node)
{
	node->has_power = true;
	node->runs = true;
	node->process++;
	node->was_unaware = node->is_unaware ? node->process : node->was_unaware;
	node->started_ms = world->now_ms;
	node->start_wall_ms = wall_ms(node);
	node->paused_until_ms = 0;
	node->is_foreign = false;
	node->told_until_ms = 0;
	node->does_answer = false;
	node->well_since_ms = world->now_ms;
	node->is_proven = false;
	stand_begin(node);
	memset(node->activity, 0, sizeof(node->activity));
	snprintf(node->instance, sizeof(node->instance), "%s-%" PRIu64, node->name, node->process);
	/* Now and then with other flags. */
	if (is_voter(node) && node->process > 1 && !world->is_calm &&
	    world->now_ms > world->alone_until_ms && chance(world, 400))
		node->self.roles ^= MEMBER_EDGE;
}

void node_start(struct world *world, struct node *node)
{
	if (node->runs)
		return;
	if (!node_has_disk(node))
		power_disk_restore(world->is_calm || chance(world, 500) ? 0
									: 1 + below(world, 600));
	disk_see_to(world, node);
	begin_process(world, node);
	open_replica(world, node);
	node_act(node);
	trace(world, "%s starts, process %" PRIu64 ", entry %" PRIu64 "%s", node->name,
	      node->process, node->image.head.sequence,
	      node->replica.standing == REPLICA_CURRENT ? "" : ", below its mark");
	if (!node_has_disk(node)) {
		node_lose_power(world, node);
		return;
	}
	check_opened(world, node);
	if (is_voter(node))
		voter_start(world);
	watch(world, node);
	if (!world->is_calm && chance(world, 500))
		node->stuck_until_ms = world->now_ms + below(world, 4000);
	if (chance(world, 500))
		node_observe(world, node, false);
	node_carry_out(world, node);
	plan(world, below(world, TICK_MS), on_tick, node, node->process);
	if (node->crashes_due) {
		node->crashes_due--;
		plan(world, 100 + below(world, 1500), on_crash, node, node->process);
	} else if (node->replica.kind != REPLICA_STORE) {
		world->tally->copies++;
		plan(world, 2000 + below(world, 6000), on_looked_after, node, node->process);
	}
}

static void end_process(struct world *world, struct node *node)
{
	node->runs = false;
	node->does_answer = false;
	close_replica(world, node);
	plan(world, 20 + below(world, chance(world, 300) ? 15000 : 1500), on_start, node, 0);
}

/* As the daemon does at the end. */
void node_stop(struct world *world, struct node *node)
{
	if (!node->runs)
		return;
	struct crashes crashes = node->replica.crashes;
	bool crashed = node->replica.crashed;
	if (crashed)
		crashes_forget(&crashes);
	else if (!node->is_proven)
		crashes_take_back(&crashes);
	uint64_t sequence = node->image.head.sequence;
	end_process(world, node);
	if (!node_has_disk(node))
		node_lose_power(world, node);
	else if (!crashed)
		disk_keep(world, node, sequence);
}

void node_kill(struct world *world, struct node *node)
{
	if (!node->runs || !node_has_disk(node))
		return;
	trace(world, "%s is killed", node->name);
	world->tally->kills++;
	power_disk_stop();
	end_process(world, node);
}

void node_lose_power(struct world *world, struct node *node)
{
	trace(world, "%s loses power", node->name);
	world->tally->power_losses++;
	if (node->runs)
		end_process(world, node);
	node->has_power = false;
	node->maps = (struct table){0};
	node->pinned = (struct mark_note){0};
	node->announces = false;
}

void nodes_init(struct world *world)
{
	world->nodes = calloc(world->node_count, sizeof(*world->nodes));
	CHECK(world, world->nodes, "no memory");
	for (size_t i = 0; i < world->node_count; i++) {
		struct node *node = &world->nodes[i];
		unsigned roles[] = {MEMBER_EDGE, MEMBER_NAMES, MEMBER_EDGE | MEMBER_NAMES};
		node->world = world;
		node->index = i;
		node->site = below(world, world->site_count);
		node->wall_offset_ms = (int64_t)(1700000000000 + below(world, 100000));
		node->clock = (struct clock){.now_ms = now_ms, .wall_ms = wall_ms, .context = node};
		node->steady =
		    (struct clock){.now_ms = now_ms, .wall_ms = steady_wall_ms, .context = node};
		snprintf(node->name, sizeof(node->name), "n%zu", i);
		snprintf(node->folder, sizeof(node->folder), "%s/%s", sim_folder, node->name);
		power_disk_select((unsigned)i, node->folder);
		uint64_t cut_at = chance(world, 300) ? 1 + below(world, 2000) : 0;
		power_disk_reset(random_u64(&world->random), cut_at);
		node->self = (struct member){
		    .name = node->name,
		    .site = world->sites[node->site].name,
		    .key = "",
		    .roles = roles[below(world, 3)],
		    .features = MEMBER_FEATURES,
		    .sources = {{.bytes = {10, 0, 0, (uint8_t)(i + 1)}, .family = IP_V4}},
		    .source_count = 1};
		node->self.key = arena_printf(
		    &world->arena, "ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%02zuA=", i);
	}
	/* A voter needs no other role; somebody has each. */
	world->nodes[0].self.key = world->voter_key;
	world->nodes[0].self.roles = MEMBER_VOTER;
	bool is_alone = world->alone_until_ms > world->now_ms;
	if (is_alone || chance(world, 500))
		world->nodes[0].self.roles |= MEMBER_EDGE;
	if (is_alone || chance(world, 500))
		world->nodes[0].self.roles |= MEMBER_NAMES;
	world->nodes[1].self.roles |= MEMBER_EDGE;
	world->nodes[2].self.roles |= MEMBER_NAMES;
	for (size_t i = 0; i < world->node_count; i++)
		node_start(world, &world->nodes[i]);
}

void nodes_done(struct world *world)
{
	for (size_t i = world->node_count; i-- > 0;) {
		struct node *node = &world->nodes[i];
		if (node->runs)
			close_replica(world, node);
		power_copy_free(node->older);
		power_copy_free(node->newest);
		standings_done(&node->standings);
		/* The next seed may have fewer. */
		power_disk_select((unsigned)i, NULL);
	}
	free(world->nodes);
}
