/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes: processes that come and go, maps that outlive them, and names. Every node acts by its own
 * image alone. Node 0's follows its store; the others take in the voter's revisions one by one,
 * each durable before anything is done by it.
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

static bool is_voter(const struct node *node)
{
	return node->index == 0;
}

static bool has_role(const struct node *node, enum member_role role)
{
	return member_has(&node->self, role);
}

bool node_attracts(const struct node *node)
{
	return node->has_power && node->maps.is_there && node->maps.attracts;
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

/* --- publishing --- */

struct entry *table_find(struct table *table, uint8_t pool, uint32_t slot)
{
	for (size_t i = 0; i < table->count; i++) {
		if (table->entries[i].pool == pool && table->entries[i].slot == slot)
			return &table->entries[i];
	}
	return NULL;
}

static struct ledger_position head_of(const struct image *image)
{
	return (struct ledger_position){.sequence = image->head.sequence,
					.digest = image->head.digest};
}

static void add_entries(struct world *world, const struct image *image,
			const struct service_state *state, struct table *table)
{
	const struct image_service *service = image_service(image, state->name);
	for (size_t b = 0; b < state->binding_count; b++) {
		const struct binding *binding = &state->bindings[b];
		const struct version_status *status = service_version(state, binding->version);
		const struct version *version = image_version(service, binding->version);
		CHECK(world, status && version, "%s: a binding of version %u, which is not there",
		      state->name, binding->version);
		CHECK(world, table->count < MOST_ENTRIES, "too many addresses for this test");
		table->entries[table->count++] =
		    (struct entry){.pool = binding->pool,
				   .slot = binding->slot,
				   .known = check_version(world, version, status->sequence),
				   .number = binding->number,
				   .sequence = binding->sequence,
				   .refusing = binding->refusing,
				   .is_late = binding->is_late};
	}
}

static void publish_maps(struct world *world, struct node *node)
{
	const struct image *image = &node->image;
	const struct ledger_position before = node->maps.position;
	const struct member *member = image_member(image, node->name);
	struct table table = {.is_there = true, .position = head_of(image)};
	if (node->forwarded.sequence == image->head.sequence)
		return;
	for (size_t i = 0; i < image->state_count; i++)
		add_entries(world, image, image->states[i], &table);
	/* Who is in no record is waited for by nobody, and draws no traffic. */
	table.attracts = member && member_has(member, MEMBER_EDGE);
	node->maps = table;
	node->forwarded = table.position;
	check_table(world, node, &before);
}

static void add_answer(const struct service_state *state, uint32_t version, unsigned place,
		       struct answer *answer)
{
	answer->versions[place] = version;
	for (size_t b = 0; b < state->binding_count; b++) {
		const struct binding *binding = &state->bindings[b];
		if (binding->version != version || binding->is_late)
			continue;
		answer->has[place][binding->pool] = true;
		answer->slots[place][binding->pool] = binding->slot;
	}
}

static struct answer answer_of(const struct service_state *state)
{
	const struct rollout_state *rollout = &state->rollout;
	struct answer answer = {.is_there = !state->removed};
	answer.share = rollout->target ? service_share(state, rollout->target) : 0;
	if (answer.share)
		add_answer(state, rollout->target, 0, &answer);
	if (answer.share < SHARE_WHOLE && rollout->base && rollout->base != rollout->target &&
	    service_share(state, rollout->base))
		add_answer(state, rollout->base, 1, &answer);
	return answer;
}

static void publish_answers(struct world *world, struct node *node)
{
	const struct image *image = &node->image;
	for (size_t s = 0; s < SERVICES; s++) {
		const struct image_service *service = image_service(image, world->services[s].name);
		node->answers[s] = (struct answer){0};
		if (service && service->state && service->configured)
			node->answers[s] = answer_of(service->state);
	}
	node->does_answer = true;
	node->answered = head_of(image);
}

void node_carry_out(struct world *world, struct node *node)
{
	if (node->stuck_until_ms > world->now_ms || !node->image.fabric)
		return;
	if (has_role(node, MEMBER_EDGE))
		publish_maps(world, node);
	if (has_role(node, MEMBER_NAMES))
		publish_answers(world, node);
}

/* --- observing --- */

struct told {
	struct observation observation;
	uint64_t process;
};

static int compare_activities(const void *a, const void *b)
{
	const struct activity *left = a;
	const struct activity *right = b;
	return ip_address_compare(&left->address, &right->address);
}

static uint64_t quiet_ms(const struct node *node, uint64_t last_ms)
{
	uint64_t since_ms = last_ms > node->started_ms ? last_ms : node->started_ms;
	return node->world->now_ms - since_ms;
}

static void add_activity(struct world *world, struct node *node, struct observation *observation)
{
	struct activity *list =
	    arena_array(&world->arena, node->maps.count * SITES + 1, sizeof(*list));
	size_t count = 0;
	for (size_t i = 0; i < node->maps.count; i++) {
		const struct entry *entry = &node->maps.entries[i];
		const struct activity_times *times = &node->activity[entry->pool][entry->slot];
		for (uint8_t site = 0; site < world->site_count; site++)
			list[count++] = (struct activity){
			    .address = address_of(world, entry->pool, site, entry->slot),
			    .new_flow_ago_ms = quiet_ms(node, times->new_flow_ms),
			    .packet_ago_ms = quiet_ms(node, times->packet_ms)};
	}
	qsort(list, count, sizeof(*list), compare_activities);
	observation->activity = list;
	observation->activity_count = count;
}

static void on_told(struct world *world, void *context, uint64_t number)
{
	const struct told *told = context;
	struct node *node = &world->nodes[number];
	struct node *voter = &world->nodes[0];
	if (voter->paused_until_ms > world->now_ms) {
		plan(world, voter->paused_until_ms - world->now_ms, on_told, context, number);
		return;
	}
	if (node->cut_until_ms > world->now_ms)
		return;
	voter_hear(world, &told->observation, node, told->process);
}

void node_observe(struct world *world, struct node *node, bool activity)
{
	struct told *told = arena_alloc(&world->arena, sizeof(*told));
	const bool is_edge = has_role(node, MEMBER_EDGE);
	told->process = node->process;
	told->observation =
	    (struct observation){.node = node->name,
				 .instance = arena_strdup(&world->arena, node->instance),
				 .is_edge = is_edge,
				 .edge_applied = node->forwarded,
				 .is_names = has_role(node, MEMBER_NAMES),
				 .names_applied = node->answered};
	if (is_edge && activity && node->forwarded.sequence)
		add_activity(world, node, &told->observation);
	if (node->is_foreign) {
		/* As one that was restored from before a recovery: numbers that mean something
		 * else. */
		told->observation.edge_applied.sequence += 40;
		told->observation.edge_applied.digest.bytes[0] ^= 1;
		told->observation.names_applied.sequence += 40;
		told->observation.names_applied.digest.bytes[0] ^= 1;
	} else if (node->forwarded.sequence > node->mark) {
		node->mark = node->forwarded.sequence;
	}
	if (is_voter(node)) {
		voter_hear(world, &told->observation, node, node->process);
		return;
	}
	if (node->cut_until_ms > world->now_ms)
		return;
	/* One connection: what was sent first arrives first. */
	uint64_t at_ms =
	    world->now_ms + (chance(world, 900) ? below(world, 40) : below(world, 3000));
	if (world->is_calm)
		at_ms = world->now_ms + 5;
	if (at_ms < node->told_until_ms)
		at_ms = node->told_until_ms;
	node->told_until_ms = at_ms;
	plan(world, at_ms - world->now_ms, on_told, told, node->index);
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
	if (is_voter(node)) {
		trace_entries(world, events, count);
		world->told_revision = revision;
		voter_moved(world);
		return;
	}
	if (chance(world, 700))
		node_carry_out(world, node);
	node_observe(world, node, false);
}

static void watch(struct world *world, struct node *node)
{
	int result = store_watch(node->replica, "", node->image.revision + 1, on_events, node,
				 &node->watch, NULL);
	CHECK(world, result == 0, "%s cannot watch its replica: %s", node->name,
	      error_text(result));
}

static int load(struct world *world, struct node *node)
{
	struct error err = {0};
	int result = image_load(&node->image, node->replica, clock_now_ms(&node->clock), &err);
	CHECK(world, result == 0 || !node_has_disk(node), "%s's replica is not read: %s",
	      node->name, err.text);
	return result;
}

/* All that it had was replaced. */
static void find_track(struct world *world, struct node *node)
{
	node->lost_track = false;
	store_watch_cancel(node->watch);
	node->watch = NULL;
	image_done(&node->image);
	if (load(world, node) < 0)
		return;
	watch(world, node);
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
		if (is_due(node->replica))
			store_dispatch(node->replica);
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

static int open_stores(struct world *world, struct node *node)
{
	const struct store_sqlite_options options = {.folder = node->folder, .clock = &node->clock};
	struct error err = {0};
	int result = store_open_sqlite(&options, &node->replica, &err);
	CHECK(world, result == 0 || !node_has_disk(node), "%s's store does not open: %s",
	      node->name, err.text);
	if (result == 0)
		result = load(world, node);
	if (result == 0 && is_voter(node)) {
		result = voter_begin(world);
		CHECK(world, result == 0 || !node_has_disk(node), "the ledger does not begin");
	} else if (result == 0) {
		result = store_open_peer(&node->peer, &err);
		if (result == 0)
			result = follower_new(node->peer, node->replica, &node->follower);
		CHECK(world, result == 0, "%s cannot follow", node->name);
	}
	return result;
}

static void close_stores(struct world *world, struct node *node)
{
	for (size_t i = 0; i < NODES && is_voter(node); i++)
		line_cut(&world->nodes[i]);
	line_cut(node);
	store_watch_cancel(node->watch);
	node->watch = NULL;
	if (is_voter(node))
		changes_stop(world->changes);
	follower_stop(node->follower);
	store_close(node->peer);
	store_close(node->replica);
	follower_free(node->follower);
	node->follower = NULL;
	node->peer = NULL;
	node->replica = NULL;
	node->lost_track = false;
	if (is_voter(node))
		voter_stop(world);
	image_done(&node->image);
}

/* --- living --- */

static void on_tick(struct world *world, void *context, uint64_t process)
{
	struct node *node = context;
	if (!node->runs || node->process != process)
		return;
	plan(world, TICK_MS, on_tick, node, process);
	if (node->paused_until_ms > world->now_ms)
		return;
	if (is_voter(node)) {
		voter_tick(world);
		node_dispatch(world, node);
		return;
	}
	if (!node->is_foreign)
		node_carry_out(world, node);
	node_observe(world, node, true);
	line_open(world, node);
	follower_run(node->follower, clock_now_ms(&node->clock));
	node_dispatch(world, node);
}

static void on_start(struct world *world, void *context, uint64_t number)
{
	(void)number;
	node_start(world, context);
}

void node_start(struct world *world, struct node *node)
{
	if (node->runs)
		return;
	if (!node_has_disk(node))
		power_disk_restore(world->is_calm || chance(world, 500) ? 0
									: 1 + below(world, 600));
	node->has_power = true;
	node->runs = true;
	node->process++;
	node->started_ms = world->now_ms;
	node->start_wall_ms = wall_ms(node);
	node->paused_until_ms = 0;
	node->is_foreign = false;
	node->told_until_ms = 0;
	node->forwarded = (struct ledger_position){0};
	node->answered = (struct ledger_position){0};
	node->does_answer = false;
	memset(node->activity, 0, sizeof(node->activity));
	snprintf(node->instance, sizeof(node->instance), "%s-%" PRIu64, node->name, node->process);
	/* Now and then with other flags. */
	if (is_voter(node) && node->process > 1 && !world->is_calm && chance(world, 400))
		node->self.roles ^= MEMBER_EDGE;
	int result = open_stores(world, node);
	trace(world, "%s starts, process %" PRIu64 ", entry %" PRIu64, node->name, node->process,
	      node->image.head.sequence);
	if (result < 0) {
		node_lose_power(world, node);
		return;
	}
	if (is_voter(node))
		voter_start(world);
	watch(world, node);
	if (!world->is_calm && chance(world, 500))
		node->stuck_until_ms = world->now_ms + below(world, 4000);
	if (chance(world, 500))
		node_observe(world, node, false);
	node_carry_out(world, node);
	plan(world, below(world, TICK_MS), on_tick, node, node->process);
}

void node_stop(struct world *world, struct node *node)
{
	if (!node->runs)
		return;
	node->runs = false;
	node->does_answer = false;
	close_stores(world, node);
	plan(world, 20 + below(world, chance(world, 300) ? 15000 : 1500), on_start, node, 0);
}

void node_lose_power(struct world *world, struct node *node)
{
	trace(world, "%s loses power", node->name);
	world->tally->power_losses++;
	node_stop(world, node);
	node->has_power = false;
	node->maps = (struct table){0};
}

void nodes_init(struct world *world)
{
	for (size_t i = 0; i < NODES; i++) {
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
		    &world->arena, "ed25519:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%zuA=", i);
	}
	/* A voter needs no other role; somebody has each. */
	world->nodes[0].self.key = ledger_signer_public_key(world->signer);
	world->nodes[0].self.roles = MEMBER_VOTER;
	if (chance(world, 500))
		world->nodes[0].self.roles |= MEMBER_EDGE;
	if (chance(world, 500))
		world->nodes[0].self.roles |= MEMBER_NAMES;
	world->nodes[1].self.roles |= MEMBER_EDGE;
	world->nodes[2].self.roles |= MEMBER_NAMES;
	for (size_t i = 0; i < NODES; i++)
		node_start(world, &world->nodes[i]);
}

void nodes_done(struct world *world)
{
	for (size_t i = NODES; i-- > 0;) {
		struct node *node = &world->nodes[i];
		if (node->runs)
			close_stores(world, node);
		power_disk_select((unsigned)i, node->folder);
		power_disk_done();
	}
}
