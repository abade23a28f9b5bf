/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The invariants, judged by what the world knows and no node does: all maps, all sockets, what
 * really was sent, when each count was really begun. Each rule of PROTOCOL.md that exists by now is
 * stated anew, and not by asking the code that keeps it:
 *
 *  1  check_image(), check_position(): what a node takes in, and acknowledges, is the entry that
 * was committed; check_counts(), with landings that name closings of another chain 2 check_image();
 * check_replicas(): a replica is a verbatim copy. Exchanged ids: unit.follower 3
 * fabric_check_node.c: nothing is published before the disk has it, or below the mark; maps that
 *     forward stay; who has caught up goes on; what is told is noted; a start that asks, which
 *     check_step() sees. Not built: the passing of packets (fabric_traffic.c stands in)
 *  4  note_chain(), voter_moved(): no entry is decided twice, nor anything by a state that is not
 * the newest. Not built: recovery, and what only a minority of the edges has (fabric_disk.c) 5  not
 * built 6  check_counts(): a count begins after its closing was to be counted, by waits that begin
 * anew with each process (voter_start()). Not built: the lease 7  check_start(). Passing stands in,
 * as above 8  check_end(), check_lift(): everyone is waited for; check_all_heard(); check_stale()
 *  9  check_fence(): when a removal counts, no landing that an address leads to takes the node's
 *     tunnels; it goes on forwarding, and its packets end there (fabric_traffic.c)
 * 10  check_step(): who draws traffic is an edge of the ledger. Not built: join, detaching before
 * it 11  check_table(): what refuses, and what does not, is what the entry says, whoever is there
 * 12  a matter of the landing: unit.landing, tests/lab
 * 13  check_counts(): not known is not zero, and only the machine with the address is believed
 * 14  check_counts(): no count after SYN cookies
 * 15  check_idle()
 * 16-22  not built
 * 23  check_taken(): quarantine. Not built: refusing a downgrade
 */
#include "fabric_world.h"

#include <string.h>

#define SETTLE_MS (CLOSING_SETTLE_MS - 1) /* the driver counts the millisecond that has begun */
#define HEARD_MS 3000u
#define HEARD_INTERVALS 3u
#define WAITED_FOR ((unsigned)MEMBER_EDGE | (unsigned)MEMBER_NAMES)

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
		if (known->service != service || known->number != version->number)
			continue;
		/* Also where the service was gone in between. */
		CHECK(world, known->sequence == sequence,
		      "invariant 2: version %u of %s is what entry %" PRIu64
		      " committed, and another one of entry %" PRIu64,
		      version->number, version->service, known->sequence, sequence);
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
		known->machines[i] = (uint8_t)(version->backends[i].address.bytes[3] - 1);
	known->has_udp = version->ports[0].protocol == SERVICE_UDP;
	return (uint32_t)world->version_count++;
}

/* --- who has acknowledged what, as it reached the voter --- */

/* Rules 1, 3 and 8: every edge and names node of the ledger, heard or not, by its present process.
 * Returns one that has not acknowledged in one of these roles, NULL when all have. */
static const struct node *find_behind(const struct world *world, unsigned roles, uint64_t sequence)
{
	for (size_t i = 0; i < world->node_count; i++) {
		const struct node *node = &world->nodes[i];
		const struct heard *heard = &world->heard[i];
		if ((world->members[i] & roles & MEMBER_EDGE && heard->edge_acked < sequence) ||
		    (world->members[i] & roles & MEMBER_NAMES && heard->names_acked < sequence))
			return node;
	}
	return NULL;
}

static void check_all_acked(const struct world *world, uint64_t sequence, const char *what)
{
	for (size_t i = 0; i < world->node_count; i++)
		CHECK(world, !world->nodes[i].is_removed || world->nodes[i].is_fenced,
		      "rule 9: %s, but n%zu may forward all the same", what, i);
	const struct node *behind = find_behind(world, WAITED_FOR, sequence);
	if (behind)
		violation(world, "rule 8: %s, but %s has not acknowledged entry %" PRIu64, what,
			  behind->name, sequence);
}

static void check_refusal(const struct world *world, struct meaning *meaning)
{
	if (!meaning->is_there || !meaning->binding.refusing)
		return;
	if (find_behind(world, WAITED_FOR, meaning->binding.sequence))
		meaning->refused_ms = 0;
	else if (!meaning->refused_ms)
		meaning->refused_ms = committed_ms(world);
	if (meaning->refused_ms && !meaning->countable_ms &&
	    committed_ms(world) - meaning->refused_ms >= SETTLE_MS)
		meaning->countable_ms = meaning->refused_ms + SETTLE_MS;
}

/* Since when no name server answers a version that drains. */
static void check_unanswered(const struct world *world, struct known_version *known)
{
	if (known->state != VERSION_DRAINING)
		return;
	if (find_behind(world, MEMBER_NAMES, known->changed))
		known->unanswered_ms = 0;
	else if (!known->unanswered_ms)
		known->unanswered_ms = committed_ms(world);
}

void check_refusals(struct world *world)
{
	for (uint8_t pool = 0; pool < POOLS; pool++) {
		for (uint32_t slot = 0; slot < SLOTS; slot++)
			check_refusal(world, &world->meanings[pool][slot]);
	}
	for (size_t i = 0; i < world->version_count; i++)
		check_unanswered(world, &world->versions[i]);
}

/* Rule 8: while one is silent no closing begins, which could not be proven. */
static void check_all_heard(struct world *world)
{
	for (size_t i = 0; i < world->node_count; i++) {
		const struct heard *heard = &world->heard[i];
		CHECK(world,
		      !(world->members[i] & WAITED_FOR) ||
			  (heard->process && committed_ms(world) - heard->at_ms <=
						 HEARD_INTERVALS * world->report_ms),
		      "rule 8: a closing begins, and n%zu was not heard for long", i);
		CHECK(world, !world->nodes[i].is_removed || world->nodes[i].is_fenced,
		      "rule 9: a closing begins, and n%zu is not fenced off", i);
	}
}

/* Is there a slot that nobody ever had? Then no wish yields, unless several are wanted. */
static bool has_unused_slot(const struct world *world, uint8_t pool)
{
	uint32_t count = pool_usable_slots(&world->pools[pool]);
	for (uint32_t slot = 1; slot <= count; slot++) {
		if (!world->meanings[pool][slot].is_there && !world->rests[pool][slot].is_there)
			return true;
	}
	return false;
}

/* Rule 8: `stale` counts from when every names node had acknowledged that the version drains. */
static void check_stale(struct world *world, const struct known_version *known,
			const struct version_status *status)
{
	if (status->cut || world->slot_wants.count || !has_unused_slot(world, 0) ||
	    !has_unused_slot(world, 1))
		return;
	CHECK(world, known->unanswered_ms && committed_ms(world) - known->unanswered_ms >= STALE_MS,
	      "rule 8: version %u closes, which was answered less than `stale` ago",
	      status->number);
}

/* --- an address loses its meaning --- */

static bool is_forgotten(const struct world *world, uint8_t machine,
			 const struct known_version *known)
{
	const struct backend backend = {.name = world->landings[machine].name,
					.address = machine_address(machine)};
	return image_is_forgotten(&voter(world)->image, &backend, known->sequence);
}

/* Rules 6, 13 and 14: every backend of the version counted, in a count that began when everyone had
 * refused for long enough, and is heard still. */
static void check_counts(struct world *world, const struct meaning *meaning)
{
	const struct known_version *known = &world->versions[meaning->known];
	for (size_t i = 0; i < known->version->backend_count; i++) {
		uint8_t machine = known->machines[i];
		const struct counted *counted = &world->counted[machine];
		bool is_fresh = counted->is_there && committed_ms(world) - counted->at_ms <=
							 HEARD_INTERVALS * world->report_ms;
		if (!is_fresh && is_forgotten(world, machine, known))
			continue;
		CHECK(world, is_fresh, "rule 13: what is not known of machine %u counted as zero",
		      machine);
		CHECK(world,
		      !counted->disputed_ms || committed_ms(world) - counted->disputed_ms >
						   HEARD_INTERVALS * world->report_ms,
		      "rule 13: machine %u counted as zero while two processes reported as it",
		      machine);
		CHECK(world, meaning->countable_ms && counted->begun_ms >= meaning->countable_ms,
		      "rule 6: b%u began its count at %" PRIu64 " ms, but closing %" PRIu64
		      " was to be counted from %" PRIu64 " ms on",
		      machine, counted->begun_ms, meaning->binding.sequence, meaning->countable_ms);
		CHECK(world,
		      !counted->cookie_ms || counted->begun_ms - counted->cookie_ms >= COOKIE_MS,
		      "rule 14: b%u had sent a SYN cookie %" PRIu64 " ms before its count", machine,
		      counted->begun_ms - counted->cookie_ms);
	}
}

static void check_unused(struct world *world, uint8_t pool, uint32_t slot)
{
	for (size_t i = 0; i < FLOWS; i++) {
		struct flow *flow = &world->flows[i];
		const struct landing *landing = &world->landings[flow->machine];
		if (!flow->is_there || flow->address.pool != pool || flow->address.slot != slot ||
		    flow->is_udp)
			continue;
		if (flow->is_misled) {
			flow->is_there = false;
			continue;
		}
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

/* What a removed node forwards ends at the landings, once its fence stands. */
static bool reaches_backends(const struct node *node)
{
	return node_attracts(node) && !node->is_fenced;
}

/* What may still forward, whether or not anybody hears it. */
static void check_nobody_forwards(struct world *world, const struct binding *old)
{
	for (size_t i = 0; i < world->node_count; i++) {
		struct node *node = &world->nodes[i];
		const struct entry *entry = table_find(&node->maps, old->pool, old->slot);
		CHECK(world,
		      !reaches_backends(node) || node->maps.is_older || !entry || entry->refusing ||
			  entry->number != old->number,
		      "invariant 3: pool %u slot %u loses its meaning, but %s still takes new "
		      "flows by it",
		      old->pool, old->slot, node->name);
	}
}

/* Rule 15: each edge has seen no packet for `quiet`, after it had acknowledged this closing, and by
 * what it said lately. */
static void check_idle(struct world *world, const struct meaning *meaning)
{
	const struct binding *binding = &meaning->binding;
	if (!world->versions[meaning->known].has_udp)
		return;
	world->tally->idle++;
	for (size_t i = 0; i < world->node_count; i++) {
		const struct heard *heard = &world->heard[i];
		uint64_t packet_ms = heard->packet_ms[binding->pool][binding->slot];
		if (!(world->members[i] & MEMBER_EDGE))
			continue;
		CHECK(world,
		      heard->quiet_at_ms && heard->quiet_acked >= binding->sequence &&
			  committed_ms(world) - heard->quiet_at_ms <=
			      HEARD_INTERVALS * world->report_ms,
		      "rule 15: what is not known of n%zu counts as no packet", i);
		CHECK(
		    world, !packet_ms || heard->quiet_sent_ms - packet_ms >= QUIET_MS,
		    "rule 15: pool %u slot %u counts as idle, but n%zu forwarded a packet %" PRIu64
		    " ms before it spoke",
		    binding->pool, binding->slot, i, heard->quiet_sent_ms - packet_ms);
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
	check_idle(world, old);
	check_nobody_forwards(world, binding);
	check_unused(world, binding->pool, binding->slot);
}

static void check_lift(struct world *world, const struct binding *old)
{
	world->tally->lifts++;
	check_all_acked(world, old->sequence, "new flows are let in again");
	for (size_t i = 0; i < world->node_count; i++) {
		struct node *node = &world->nodes[i];
		const struct entry *entry = table_find(&node->maps, old->pool, old->slot);
		CHECK(world,
		      !reaches_backends(node) || node->maps.is_older || !entry || entry->refusing ||
			  entry->number >= old->number,
		      "invariant 3: pool %u slot %u is open again, but %s forwards by an older "
		      "meaning",
		      old->pool, old->slot, node->name);
	}
}

/* By the clock that the driver goes by. */
static uint64_t committed_wall_ms(const struct world *world)
{
	return world->ended_ms ? world->ended_wall_ms : clock_wall_ms(&voter(world)->steady);
}

static void check_freed(struct world *world, const struct meaning *old)
{
	const struct binding *binding = &old->binding;
	world->tally->frees++;
	world->tally->emptied += voter(world)->image.placement->pools[binding->pool].removed;
	check_end(world, world->meanings[binding->pool] + binding->slot, "freed");
	world->rests[binding->pool][binding->slot] =
	    (struct rest){.is_there = true,
			  .service = world->versions[old->known].service,
			  .wall_ms = committed_wall_ms(world)};
}

/* A slot that was free has a meaning: no edge may know an older one, and another service's rests
 * for `quarantine` before (rule 23). */
static void check_taken(struct world *world, const struct meaning *now)
{
	const struct binding *taken = &now->binding;
	const struct rest *rest = &world->rests[taken->pool][taken->slot];
	uint64_t wall_ms = committed_wall_ms(world);
	CHECK(world,
	      !rest->is_there || rest->service == world->versions[now->known].service ||
		  (wall_ms >= rest->wall_ms && wall_ms - rest->wall_ms >= QUARANTINE_MS),
	      "rule 23: pool %u slot %u is given to another service within `quarantine`",
	      taken->pool, taken->slot);
	for (size_t i = 0; i < world->node_count; i++) {
		struct node *node = &world->nodes[i];
		const struct entry *entry = table_find(&node->maps, taken->pool, taken->slot);
		CHECK(world,
		      !reaches_backends(node) || node->maps.is_older || !entry ||
			  entry->number >= taken->number,
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
		check_taken(world, now);
	} else if (old->is_there && !now->is_there) {
		check_freed(world, old);
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
		check_all_heard(world);
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

/* Nobody is led to a backend that is not known to be well: each one that takes flows was heard
 * lately, from its own machine, by one process. */
static void check_backends(struct world *world, const struct known_version *known)
{
	for (size_t i = 0; i < known->version->backend_count; i++) {
		uint8_t machine = known->machines[i];
		const struct counted *counted = &world->counted[machine];
		uint64_t most_ms = HEARD_INTERVALS * world->report_ms;
		CHECK(world,
		      !known->version->backends[i].weight ||
			  (counted->is_there && committed_ms(world) - counted->at_ms <= most_ms &&
			   (!counted->disputed_ms ||
			    committed_ms(world) - counted->disputed_ms > most_ms)),
		      "DNS begins to answer version %u, but nothing is known of machine %u",
		      known->number, machine);
	}
}

/* Invariant 1 and rule 7: every edge that is then heard holds it, and there is one. */
static void check_start(struct world *world, const struct known_version *known)
{
	size_t heard_edges = 0;
	world->tally->starts++;
	for (size_t i = 0; i < world->node_count; i++) {
		const struct heard *heard = &world->heard[i];
		if (!(world->members[i] & MEMBER_EDGE) || !heard->process ||
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
			if (status->served && !known->served) {
				check_start(world, known);
				check_backends(world, known);
			}
			if (known->state == VERSION_DRAINING && status->state == VERSION_CLOSING)
				check_stale(world, known, status);
			if (known->changed != status->changed_sequence)
				known->unanswered_ms = 0;
			known->served = status->served;
			known->state = status->state;
			known->changed = status->changed_sequence;
			check_unanswered(world, known);
		}
	}
}

/* Rule 9: it may go on forwarding by what its maps said once. */
static void check_fence(struct world *world, const struct node *node)
{
	for (uint8_t pool = 0; pool < POOLS; pool++) {
		for (uint32_t slot = 0; slot < SLOTS; slot++) {
			const struct meaning *meaning = &world->meanings[pool][slot];
			const struct known_version *known = &world->versions[meaning->known];
			for (size_t i = 0; meaning->is_there && i < known->version->backend_count;
			     i++) {
				const struct landing *landing =
				    &world->landings[known->machines[i]];
				CHECK(world,
				      !landing->has_power ||
					  !node_set_has(&landing->fence, node->index) ||
					  is_forgotten(world, known->machines[i], known),
				      "rule 9: %s is fenced off, and b%zu takes its tunnels",
				      node->name, landing->index);
			}
		}
	}
}

static void note_removal(struct world *world, struct node *node)
{
	const struct removed_list *list = &voter(world)->image.removed;
	for (size_t i = 0; i < list->count; i++) {
		const struct removed_member *removed = &list->items[i];
		if (strcmp(removed->name, node->name) != 0)
			continue;
		world->tally->removed += !node->is_removed;
		node->is_removed = true;
		if (node->is_fenced || !removed_is_fenced(removed))
			continue;
		node->is_fenced = true;
		world->tally->fenced++;
		trace(world, "%s is fenced off", node->name);
		check_fence(world, node);
	}
}

/* The entries that are new, and who is a member by them. */
static void note_chain(struct world *world)
{
	const struct image *image = &voter(world)->image;
	CHECK(world, image->head.sequence < MOST_LEDGER, "too many entries for this test");
	struct ledger_position before;
	CHECK(world, image->head.sequence >= world->head,
	      "rule 4: the voter decides entry %" PRIu64 ", and %" PRIu64 " was decided before",
	      image->head.sequence, world->head);
	CHECK(world,
	      !world->head || !image_position(image, world->head, &before) ||
		  memcmp(&before.digest, &world->chain[world->head], sizeof(before.digest)) == 0,
	      "rule 4: entry %" PRIu64 " is decided a second time", world->head);
	while (world->head < image->head.sequence) {
		struct ledger_position position;
		CHECK(world, image_position(image, world->head + 1, &position),
		      "entry %" PRIu64 " is not on the chain", world->head + 1);
		world->chain[++world->head] = position.digest;
	}
	world->has_others = image->member_count > 1;
	for (size_t i = 0; i < world->node_count; i++) {
		const struct member *member = image_member(image, world->nodes[i].name);
		world->members[i] = member ? member->roles : 0;
		note_removal(world, &world->nodes[i]);
	}
}

void check_commit(struct world *world)
{
	note_chain(world);
	check_meanings(world);
	check_starts(world);
	world->tally->entries++;
}

/* --- the end --- */

struct content {
	struct buffer bytes;
	bool is_read;
};

static void on_content(void *context, int result, const struct error *err,
		       const struct store_page *page)
{
	struct content *content = context;
	(void)err;
	content->is_read = result == 0;
	for (size_t i = 0; result == 0 && i < page->count; i++) {
		const struct store_record *record = &page->records[i];
		buffer_printf(&content->bytes, "%s %" PRIu64 " %" PRIu64 " %zu\n", record->key,
			      record->create_revision, record->mod_revision, record->value_length);
		buffer_append(&content->bytes, record->value, record->value_length);
	}
}

/* Of the first page, which is all that most seeds ever write. */
static void read_content(struct world *world, const struct node *node, uint64_t revision,
			 struct content *ret_content)
{
	const struct store_range range = {.key = "", .prefix = true, .revision = revision};
	*ret_content = (struct content){0};
	buffer_init(&ret_content->bytes, 0);
	int result = store_range(node->replica.store, &range, on_content, ret_content, NULL);
	if (result == 0)
		result = store_wait(node->replica.store, &ret_content->is_read, 10000, NULL);
	CHECK(world, result == 0 && !ret_content->bytes.status, "%s cannot be read", node->name);
}

static void check_replicas(struct world *world)
{
	struct content content[2];
	const struct node *decides = voter(world);
	struct store_id id = store_id(decides->replica.store);
	read_content(world, decides, decides->image.revision, &content[0]);
	for (size_t i = 1; i < world->node_count; i++) {
		const struct node *node = &world->nodes[i];
		if (node->is_removed)
			continue;
		struct store_id other = store_id(node->replica.store);
		read_content(world, node, decides->image.revision, &content[1]);
		CHECK(world,
		      store_id_equal(&id, &other) &&
			  content[0].bytes.length == content[1].bytes.length &&
			  memcmp(content[0].bytes.data, content[1].bytes.data,
				 content[0].bytes.length) == 0,
		      "rule 2: %s has something else than the voter at revision %" PRIu64,
		      node->name, decides->image.revision);
		buffer_done(&content[1].bytes);
	}
	buffer_done(&content[0].bytes);
}

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
		for (size_t b = 0; b < state->binding_count; b++) {
			const struct binding *binding = &state->bindings[b];
			bool leaves = image->placement->pools[binding->pool].removed;
			CHECK(world, !binding->refusing, "pool %u slot %u refuses for ever",
			      binding->pool, binding->slot);
			CHECK(world, !leaves || !binding->is_late,
			      "pool %u left the file, and slot %u stays late for ever",
			      binding->pool, binding->slot);
		}
	}
	for (size_t i = 0; i < world->node_count; i++) {
		const struct node *node = &world->nodes[i];
		CHECK(world, node->is_removed == node->is_fenced, "%s is never fenced off",
		      node->name);
		if (node->is_removed)
			continue;
		CHECK(world, node->runs && node->image.head.sequence == image->head.sequence,
		      "%s stays at entry %" PRIu64 " of %" PRIu64, node->name,
		      node->image.head.sequence, image->head.sequence);
	}
	check_replicas(world);
}
