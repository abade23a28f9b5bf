/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nodes do by their images, and what they tell of it. What may be done, and acknowledged, is
 * decided by the product (fabric/acting.h); maps and DNS are tables here.
 */
#include "fabric_world.h"

#include <stdlib.h>
#include <string.h>

static bool has_role(const struct node *node, enum member_role role)
{
	return member_has(&node->self, role);
}

bool node_attracts(const struct node *node)
{
	return node->has_power && node->maps.is_there && node->maps.attracts && node->announces;
}

static bool is_stuck(const struct node *node)
{
	return node->stuck_until_ms > node->world->now_ms;
}

/* --- maps --- */

struct entry *table_find(struct table *table, uint8_t pool, uint32_t slot)
{
	for (size_t i = 0; i < table->count; i++) {
		if (table->entries[i].pool == pool && table->entries[i].slot == slot)
			return &table->entries[i];
	}
	return NULL;
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

static void fill_table(struct world *world, const struct node *node, const struct image *image,
		       struct table *ret_table)
{
	const struct member *member = image_member(image, node->name);
	*ret_table = (struct table){
	    .is_there = true,
	    .position = {.sequence = image->head.sequence, .digest = image->head.digest},
	    /* Who is in no record is waited for by nobody, and draws no traffic. */
	    .attracts = member && member_has(member, MEMBER_EDGE)};
	for (size_t i = 0; i < image->state_count; i++)
		add_entries(world, image, image->states[i], ret_table);
}

static bool maps_forward(void *context)
{
	const struct node *node = context;
	return node->maps.is_there;
}

static int publish_maps(void *context, const struct image *image, struct error *err)
{
	struct node *node = context;
	struct world *world = node->world;
	struct table before = node->maps;
	if (is_stuck(node))
		return error_set(err, -EAGAIN, "the maps take nothing");
	fill_table(world, node, image, &node->maps);
	check_table(world, node, &before);
	return 0;
}

/* What is passed on is not simulated: the packet would meet another node's maps. */
static int publish_pools(void *context, const struct image *image, struct error *err)
{
	(void)context;
	(void)image;
	(void)err;
	return 0;
}

static int keep_maps(void *context, const struct image *image, struct error *err)
{
	struct node *node = context;
	struct table wanted;
	fill_table(node->world, node, image, &wanted);
	for (size_t i = 0; i < wanted.count; i++) {
		const struct entry *entry = &wanted.entries[i];
		const struct entry *held = table_find(&node->maps, entry->pool, entry->slot);
		if (!entry->is_late && !entry->refusing && (!held || held->known != entry->known))
			return error_set(err, -FL_EUNAVAILABLE, "the maps mean something newer");
	}
	return 0;
}

static int pin_mark(void *context, const struct mark_note *note, struct error *err)
{
	struct node *node = context;
	(void)err;
	node->pinned = *note;
	return 0;
}

/* --- answers --- */

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

static int publish_names(void *context, const struct image *image, struct error *err)
{
	struct node *node = context;
	struct world *world = node->world;
	if (is_stuck(node))
		return error_set(err, -EAGAIN, "DNS takes nothing");
	for (size_t s = 0; s < SERVICES; s++) {
		const struct image_service *service = image_service(image, world->services[s].name);
		node->answers[s] = (struct answer){0};
		if (service && service->state && service->configured)
			node->answers[s] = answer_of(service->state);
	}
	node->does_answer = true;
	check_answers(world, node);
	return 0;
}

/* --- acting --- */

void node_act(struct node *node)
{
	static const struct acting_planes planes = {.forwards = maps_forward,
						    .publish_maps = publish_maps,
						    .publish_pools = publish_pools,
						    .keep_maps = keep_maps,
						    .pin_mark = pin_mark,
						    .publish_names = publish_names};
	node->acting = (struct acting){
	    .options = {.node = node->name,
			.image = &node->image,
			.replica = &node->replica,
			.decides = node->index == 0,
			.is_edge = has_role(node, MEMBER_EDGE),
			.is_names = has_role(node, MEMBER_NAMES),
			.kept_maps = node->maps.is_there && node->pinned.position.sequence,
			.planes = &planes,
			.context = node}};
}

void node_carry_out(struct world *world, struct node *node)
{
	struct error err = {0};
	bool forwards;
	/* Nothing was ever applied. */
	if (!node->image.fabric)
		return;
	const char *why;
	int result = acting_carry_out(&node->acting, &forwards, &err);
	check_carried_out(world, node, result);
	if (node->acting.options.is_edge)
		node->announces = acting_may_attract(&node->acting, &why);
}

/* --- observing --- */

struct told {
	struct observation observation;
	uint64_t process;
	uint64_t sent_ms;
	uint64_t (*packet_ms)[SLOTS]; /* of each pool; NULL when nothing is said of packets */
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

static void add_activity(struct world *world, struct node *node, struct told *told)
{
	struct activity *list =
	    arena_array(&world->arena, node->maps.count * SITES + 1, sizeof(*list));
	size_t count = 0;
	for (size_t i = 0; i < node->maps.count; i++) {
		const struct entry *entry = &node->maps.entries[i];
		const struct activity_times *times = &node->activity[entry->pool][entry->slot];
		for (size_t site = 0; site < world->site_count; site++)
			list[count++] = (struct activity){
			    .address = address_of(world, entry->pool, (uint8_t)site, entry->slot),
			    .new_flow_ago_ms = quiet_ms(node, times->new_flow_ms),
			    .packet_ago_ms = quiet_ms(node, times->packet_ms)};
	}
	qsort(list, count, sizeof(*list), compare_activities);
	told->observation.activity = list;
	told->observation.activity_count = count;
	told->packet_ms = arena_space(&world->arena, sizeof(node->packet_ms));
	memcpy(told->packet_ms, node->packet_ms, sizeof(node->packet_ms));
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
	if (node != voter && is_cut(world, node, voter))
		return;
	if (!voter_hear(world, &told->observation, node, told->process) || !told->packet_ms)
		return;
	struct heard *heard = &world->heard[number];
	heard->quiet_at_ms = world->now_ms;
	heard->quiet_sent_ms = told->sent_ms;
	heard->quiet_acked = heard->edge_acked;
	memcpy(heard->packet_ms, told->packet_ms, sizeof(heard->packet_ms));
}

/* As one that was restored from before a recovery: numbers that mean something else. */
static void go_astray(struct ledger_position *position)
{
	position->sequence += 40;
	position->digest.bytes[0] ^= 1;
}

void node_observe(struct world *world, struct node *node, bool activity)
{
	struct error err = {0};
	if (acting_note(&node->acting, &err) < 0) {
		CHECK(world, !node_has_disk(node), "%s notes no mark: %s", node->name, err.text);
		return;
	}
	struct told *told = arena_alloc(&world->arena, sizeof(*told));
	*told = (struct told){.observation = acting_observation(&node->acting),
			      .process = node->process,
			      .sent_ms = world->now_ms};
	struct observation *observation = &told->observation;
	observation->instance = arena_strdup(&world->arena, node->instance);
	if (node->index == 0) {
		struct slot_want *list =
		    arena_array(&world->arena, world->slot_wants.count + 1, sizeof(*list));
		observation->want_count = wants_tell(&world->slot_wants, world->now_ms, list);
		observation->wants = list;
	}
	if (observation->is_edge && activity && observation->edge_applied.sequence)
		add_activity(world, node, told);
	if (node->is_foreign) {
		go_astray(&observation->edge_applied);
		go_astray(&observation->names_applied);
	} else {
		check_told(world, node, observation);
	}
	if (node->index == 0) {
		on_told(world, told, 0);
		return;
	}
	if (is_cut(world, node, &world->nodes[0]))
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
