/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The invariants, judged by what the world knows and no node does: all maps, all sockets, what
 * really was sent, when each count was really begun. Each rule of PROTOCOL.md that exists by now is
 * stated here anew, and not by asking the code that keeps it.
 */
#include "fabric_world.h"

#include <string.h>

#define SETTLE_MS (CLOSING_SETTLE_MS - 1) /* the driver counts the millisecond that has begun */
#define HEARD_MS 3000u

static const struct node *voter(const struct world *world)
{
	return &world->nodes[0];
}

/* When the change that is looked at was committed, at the latest. */
static uint64_t committed_ms(const struct world *world)
{
	return world->ended_ms ? world->ended_ms : world->now_ms;
}

static uint8_t service_index(const struct world *world, const char *name)
{
	uint8_t service = 0;
	while (strcmp(world->services[service].name, name) != 0)
		service++;
	return service;
}

/* --- versions --- */

static struct version *copy_version(struct world *world, const struct version *version)
{
	struct version *copy = NULL;
	struct buffer bytes;
	buffer_init(&bytes, 0);
	version_encode(version, &bytes);
	CHECK(world,
	      version_decode(bytes.data, bytes.length, &world->arena, &copy) == 0 &&
		  memcmp(&copy->digest, &version->digest, sizeof(copy->digest)) == 0,
	      "invariant 2: version %u of %s has another digest than its content", version->number,
	      version->service);
	buffer_done(&bytes);
	return copy;
}

uint32_t check_version(struct world *world, const struct version *version, uint64_t sequence)
{
	uint8_t service = service_index(world, version->service);
	for (uint32_t i = 0; i < world->version_count; i++) {
		const struct known_version *known = &world->versions[i];
		if (known->service != service || known->number != version->number ||
		    known->sequence != sequence)
			continue;
		CHECK(world,
		      memcmp(&known->version->digest, &version->digest, sizeof(struct digest)) == 0,
		      "invariant 2: version %u of %s changed", version->number, version->service);
		return i;
	}
	CHECK(world, world->version_count < MOST_VERSIONS, "too many versions for this test");
	struct known_version *known = &world->versions[world->version_count];
	*known = (struct known_version){.service = service,
					.number = version->number,
					.sequence = sequence,
					.version = copy_version(world, version)};
	pick_key_expand(version->seed, version->balance_by == BALANCE_SOURCE, &known->key,
			&known->key6);
	for (size_t i = 0; i < version->backend_count; i++)
		known->machines[i] = (uint8_t)(version->backends[i].name[1] - '0');
	return (uint32_t)world->version_count++;
}

/* --- who has acknowledged what, as it reached the voter --- */

/* Rules 1, 3 and 8: every edge and names node of the ledger, heard or not, by its present process.
 * Returns one that has not acknowledged, NULL when all have. */
static const struct node *find_behind(const struct world *world, uint64_t sequence)
{
	for (size_t i = 0; i < NODES; i++) {
		const struct node *node = &world->nodes[i];
		const struct member *member = image_member(&voter(world)->image, node->name);
		const struct heard *heard = &world->heard[i];
		if (!member)
			continue;
		if ((member_has(member, MEMBER_EDGE) && heard->edge_acked < sequence) ||
		    (member_has(member, MEMBER_NAMES) && heard->names_acked < sequence))
			return node;
	}
	return NULL;
}

static void check_all_acked(const struct world *world, uint64_t sequence, const char *what)
{
	const struct node *behind = find_behind(world, sequence);
	if (behind)
		violation(world, "rule 8: %s, but %s has not acknowledged entry %" PRIu64, what,
			  behind->name, sequence);
}

static void check_refusal(const struct world *world, struct meaning *meaning)
{
	if (!meaning->is_there || !meaning->binding.refusing)
		return;
	if (find_behind(world, meaning->binding.sequence))
		meaning->refused_ms = 0;
	else if (!meaning->refused_ms)
		meaning->refused_ms = committed_ms(world);
	if (meaning->refused_ms && !meaning->countable_ms &&
	    committed_ms(world) - meaning->refused_ms >= SETTLE_MS)
		meaning->countable_ms = meaning->refused_ms + SETTLE_MS;
}

void check_refusals(struct world *world)
{
	for (uint8_t pool = 0; pool < POOLS; pool++) {
		for (uint32_t slot = 0; slot < SLOTS; slot++)
			check_refusal(world, &world->meanings[pool][slot]);
	}
}

/* --- an address loses its meaning --- */

static bool is_forgotten(const struct world *world, uint8_t machine,
			 const struct known_version *known)
{
	return image_is_forgotten(&voter(world)->image, world->landings[machine].name,
				  known->sequence);
}

/* Rules 6, 12 and 13: every backend of the version counted, in a count that began when everyone had
 * refused for long enough, and is heard still. */
static void check_counts(struct world *world, const struct meaning *meaning)
{
	const struct known_version *known = &world->versions[meaning->known];
	for (size_t i = 0; i < known->version->backend_count; i++) {
		uint8_t machine = known->machines[i];
		const struct counted *counted = &world->counted[machine];
		bool is_fresh =
		    counted->is_there && committed_ms(world) - counted->at_ms <= 3u * REPORT_MS;
		if (!is_fresh && is_forgotten(world, machine, known))
			continue;
		CHECK(world, is_fresh, "rule 13: what is not known of b%u counted as zero",
		      machine);
		CHECK(world, meaning->countable_ms && counted->begun_ms >= meaning->countable_ms,
		      "rule 6: b%u began its count at %" PRIu64 " ms, but closing %" PRIu64
		      " was to be counted from %" PRIu64 " ms on",
		      machine, counted->begun_ms, meaning->binding.sequence, meaning->countable_ms);
	}
}

static void check_unused(struct world *world, uint8_t pool, uint32_t slot)
{
	for (size_t i = 0; i < FLOWS; i++) {
		struct flow *flow = &world->flows[i];
		const struct landing *landing = &world->landings[flow->machine];
		if (!flow->is_there || flow->address.pool != pool || flow->address.slot != slot)
			continue;
		/* The operator said that it is gone: its flows are his to answer for. */
		if (!landing->has_power || landing->boot != flow->boot ||
		    is_forgotten(world, flow->machine, &world->versions[flow->known])) {
			flow->is_there = false;
			continue;
		}
		violation(
		    world,
		    "invariant 3: pool %u slot %u loses its meaning under a flow of version %u "
		    "at b%u",
		    pool, slot, world->versions[flow->known].number, flow->machine);
	}
}

/* What may still forward, whether or not anybody hears it. */
static void check_nobody_forwards(struct world *world, const struct binding *old)
{
	for (size_t i = 0; i < NODES; i++) {
		struct node *node = &world->nodes[i];
		const struct entry *entry = table_find(&node->maps, old->pool, old->slot);
		CHECK(world,
		      !node_attracts(node) || !entry || entry->refusing ||
			  entry->number != old->number,
		      "invariant 3: pool %u slot %u loses its meaning, but %s still takes new "
		      "flows by it",
		      old->pool, old->slot, node->name);
	}
}

static void check_end(struct world *world, struct meaning *old, const char *what)
{
	const struct binding *binding = &old->binding;
	CHECK(world, binding->refusing, "invariant 3: pool %u slot %u is %s without a closing",
	      binding->pool, binding->slot, what);
	check_refusal(world, old);
	check_all_acked(world, binding->sequence, what);
	check_counts(world, old);
	check_nobody_forwards(world, binding);
	check_unused(world, binding->pool, binding->slot);
}

static void check_lift(struct world *world, const struct binding *old)
{
	world->tally->lifts++;
	check_all_acked(world, old->sequence, "new flows are let in again");
	for (size_t i = 0; i < NODES; i++) {
		struct node *node = &world->nodes[i];
		const struct entry *entry = table_find(&node->maps, old->pool, old->slot);
		CHECK(world,
		      !node_attracts(node) || !entry || entry->refusing ||
			  entry->number >= old->number,
		      "invariant 3: pool %u slot %u is open again, but %s forwards by an older "
		      "meaning",
		      old->pool, old->slot, node->name);
	}
}

/* A slot that was free has a meaning: no edge may know an older one. */
static void check_taken(struct world *world, const struct binding *taken)
{
	for (size_t i = 0; i < NODES; i++) {
		struct node *node = &world->nodes[i];
		const struct entry *entry = table_find(&node->maps, taken->pool, taken->slot);
		CHECK(world, !node_attracts(node) || !entry || entry->number >= taken->number,
		      "invariant 3: pool %u slot %u is given to version %u, but %s still has its "
		      "last meaning",
		      taken->pool, taken->slot, taken->version, node->name);
	}
}

static void check_meaning(struct world *world, struct meaning *old, struct meaning *now)
{
	const struct binding *binding = &now->binding;
	if (old->is_there && now->is_there && old->binding.sequence == binding->sequence) {
		now->refused_ms = old->refused_ms;
		now->countable_ms = old->countable_ms;
	}
	if (!old->is_there && now->is_there) {
		check_taken(world, binding);
	} else if (old->is_there && !now->is_there) {
		world->tally->frees++;
		check_end(world, old, "freed");
	} else if (old->is_there && old->known != now->known) {
		world->tally->rebound++;
		check_end(world, old, "re-bound");
	} else if (old->is_there && old->binding.refusing && !binding->refusing) {
		/* A closing or a reclaim that is given up changes no meaning. */
		if (!old->is_closing && !old->binding.reclaiming)
			check_lift(world, &old->binding);
		else
			world->tally->reopened++;
	} else if (old->is_there && !old->binding.refusing && binding->refusing) {
		world->tally->closings++;
	}
}

static void check_meanings(struct world *world)
{
	static struct meaning now[POOLS][SLOTS];
	const struct image *image = &voter(world)->image;
	memset(now, 0, sizeof(now));
	for (size_t s = 0; s < image->state_count; s++) {
		const struct service_state *state = image->states[s];
		const struct image_service *service = image_service(image, state->name);
		for (size_t b = 0; b < state->binding_count; b++) {
			const struct binding *binding = &state->bindings[b];
			struct meaning *meaning = &now[binding->pool][binding->slot];
			CHECK(world, !meaning->is_there, "pool %u slot %u means two versions",
			      binding->pool, binding->slot);
			const struct version_status *status =
			    service_version(state, binding->version);
			*meaning = (struct meaning){
			    .is_there = true,
			    .known = check_version(world, image_version(service, binding->version),
						   status->sequence),
			    .binding = *binding,
			    .is_closing = status->state == VERSION_CLOSING};
		}
	}
	for (uint8_t pool = 0; pool < POOLS; pool++) {
		for (uint32_t slot = 0; slot < SLOTS; slot++)
			check_meaning(world, &world->meanings[pool][slot], &now[pool][slot]);
	}
	memcpy(world->meanings, now, sizeof(now));
}

/* --- DNS begins to answer --- */

/* Invariant 1 and rule 7: every edge that is then heard holds it, and there is one. */
static void check_start(struct world *world, const struct known_version *known)
{
	size_t heard_edges = 0;
	world->tally->starts++;
	for (size_t i = 0; i < NODES; i++) {
		const struct member *member =
		    image_member(&voter(world)->image, world->nodes[i].name);
		const struct heard *heard = &world->heard[i];
		if (!member || !member_has(member, MEMBER_EDGE) || !heard->process ||
		    committed_ms(world) - heard->at_ms > HEARD_MS)
			continue;
		heard_edges++;
		CHECK(
		    world, heard->edge_acked >= known->sequence,
		    "invariant 1: DNS begins to answer version %u, but edge n%zu, which is heard, "
		    "has not acknowledged entry %" PRIu64,
		    known->number, i, known->sequence);
	}
	CHECK(world, heard_edges, "invariant 1: DNS begins to answer version %u without an edge",
	      known->number);
}

static void check_starts(struct world *world)
{
	const struct image *image = &voter(world)->image;
	for (size_t s = 0; s < image->state_count; s++) {
		const struct service_state *state = image->states[s];
		for (size_t v = 0; v < state->version_count; v++) {
			const struct version_status *status = &state->versions[v];
			const struct version *version =
			    image_version(image_service(image, state->name), status->number);
			if (!version)
				continue;
			struct known_version *known =
			    &world->versions[check_version(world, version, status->sequence)];
			if (status->served && !known->served)
				check_start(world, known);
			known->served = status->served;
		}
	}
}

void check_commit(struct world *world)
{
	check_meanings(world);
	check_starts(world);
	world->tally->entries++;
}

/* --- maps --- */

static bool same_entries(const struct table *a, const struct table *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct entry *left = &a->entries[i];
		const struct entry *right = &b->entries[i];
		if (left->pool != right->pool || left->slot != right->slot ||
		    left->known != right->known || left->number != right->number ||
		    left->refusing != right->refusing)
			return false;
	}
	return true;
}

void check_table(struct world *world, struct node *node, const struct ledger_position *before)
{
	const struct ledger_position *now = &node->maps.position;
	CHECK(world, now->sequence >= node->mark,
	      "rule 3: %s publishes entry %" PRIu64 ", below its mark %" PRIu64, node->name,
	      now->sequence, node->mark);
	CHECK(world, now->sequence >= before->sequence,
	      "rule 3: %s publishes entry %" PRIu64 ", its maps had %" PRIu64, node->name,
	      now->sequence, before->sequence);
	for (size_t i = 0; i < NODES; i++) {
		const struct node *other = &world->nodes[i];
		if (!other->maps.is_there || other->maps.position.sequence != now->sequence)
			continue;
		CHECK(world, same_entries(&node->maps, &other->maps),
		      "invariant 4: %s and %s are both at entry %" PRIu64 " and differ", node->name,
		      other->name, now->sequence);
	}
}

/* --- the end --- */

void check_ended(struct world *world)
{
	const struct image *image = &voter(world)->image;
	CHECK(world, voter_runs(world), "the voter does not run in the end");
	for (size_t s = 0; s < image->state_count; s++) {
		const struct service_state *state = image->states[s];
		for (size_t v = 0; v < state->version_count; v++) {
			const struct version_status *status = &state->versions[v];
			bool serves = status->number == state->rollout.base ||
				      status->number == state->rollout.target;
			CHECK(world, serves || status->state == VERSION_RETIRED,
			      "version %u of %s is %s for ever", status->number, state->name,
			      version_state_name(status->state));
		}
		for (size_t b = 0; b < state->binding_count; b++)
			CHECK(world, !state->bindings[b].refusing,
			      "pool %u slot %u refuses for ever", state->bindings[b].pool,
			      state->bindings[b].slot);
	}
	for (size_t i = 0; i < NODES; i++) {
		const struct node *node = &world->nodes[i];
		CHECK(world, node->image.head.sequence == image->head.sequence,
		      "%s stays at entry %" PRIu64 " of %" PRIu64, node->name,
		      node->image.head.sequence, image->head.sequence);
	}
}
