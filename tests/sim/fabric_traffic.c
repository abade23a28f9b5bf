/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that resolve and connect, flows whose packets come by any edge, and backends with their
 * landings. The promise of the whole product is checked here, packet by packet: whatever edge a
 * packet comes to, it finds the version and the backend where its flow began.
 */
#include "fabric/landings.h"
#include "fabric_world.h"

#include <stdio.h>
#include <string.h>

struct ip_address address_of(const struct world *world, uint8_t pool, uint8_t site, uint32_t slot)
{
	return pool_address(&world->pools[pool], site, slot);
}

struct ip_address machine_address(size_t machine)
{
	return (struct ip_address){.bytes = {10, 0, 1, (uint8_t)(machine + 1)}, .family = IP_V4};
}

/* --- edges --- */

/* A node that draws traffic; NULL when there is none. */
static struct node *some_edge(struct world *world)
{
	size_t start = below(world, world->node_count);
	for (size_t i = 0; i < world->node_count; i++) {
		struct node *node = &world->nodes[(start + i) % world->node_count];
		if (node_attracts(node))
			return node;
	}
	return NULL;
}

/* What the address means to a packet that comes to `edge`. One that lacks it passes the packet once
 * to another that has it: `ret_sender` then is that one. */
static const struct entry *forward(struct world *world, struct node *edge,
				   const struct address *address, struct node **ret_sender)
{
	struct node *sender = edge;
	struct entry *entry = table_find(&edge->maps, address->pool, address->slot);
	for (size_t i = 0; !entry && i < world->node_count; i++) {
		sender = &world->nodes[i];
		if (node_attracts(sender))
			entry = table_find(&sender->maps, address->pool, address->slot);
		world->tally->passed += entry != NULL;
	}
	*ret_sender = sender;
	return entry;
}

/* The hash of a flow's packets, as its version's algorithm has it. */
static uint64_t hash_of(const struct world *world, const struct known_version *known,
			const struct flow *flow)
{
	const struct ip_address destination =
	    address_of(world, flow->address.pool, flow->address.site, flow->address.slot);
	const uint8_t *ports = (const uint8_t *)&flow->hash_seed + 4;
	uint8_t source[16];
	CHECK(world, known->version->algorithm == VERSION_MULTILINEAR,
	      "this test does not know pick algorithm %u", known->version->algorithm);
	memset(source, 0x20, sizeof(source));
	memcpy(source, &flow->hash_seed, 4);
	return destination.family == IP_V6 ? pick_hash6(&known->key, &known->key6, source, ports)
					   : pick_hash4(&known->key, source, ports);
}

static uint8_t machine_of(const struct world *world, const struct known_version *known,
			  const struct flow *flow)
{
	const struct ring *ring =
	    version_ring(known->version, world->sites[flow->address.site].name);
	CHECK(world, ring, "version %u has no ring for site %u", known->number, flow->address.site);
	return known
	    ->machines[ring->entries[pick_index(hash_of(world, known, flow), ring->length)]];
}

static void note_packet(struct world *world, struct node *edge, const struct address *address,
			bool is_new)
{
	struct activity_times *times = &edge->activity[address->pool][address->slot];
	times->packet_ms = world->now_ms;
	edge->packet_ms[address->pool][address->slot] = world->now_ms;
	if (is_new)
		times->new_flow_ms = world->now_ms;
}

/* --- flows --- */

static bool backend_lives(const struct world *world, const struct flow *flow)
{
	const struct landing *landing = &world->landings[flow->machine];
	return landing->has_power && landing->boot == flow->boot;
}

/* Does the landing that the sender would lead the packet to take it? Of members it does, sooner or
 * later; so the question is about those that were removed. */
static bool takes(const struct world *world, const struct node *sender, const struct entry *entry,
		  const struct flow *flow)
{
	const struct landing *landing =
	    &world->landings[machine_of(world, &world->versions[entry->known], flow)];
	return !sender->is_removed || node_set_has(&landing->fence, sender->index);
}

/* The operator said that the machine is gone, and it is not: it was waited for no more. */
static bool is_belied(const struct world *world, const struct node *sender, uint32_t known,
		      uint8_t machine)
{
	const struct backend backend = {.name = world->landings[machine].name,
					.address = machine_address(machine)};
	return sender->is_removed && image_is_forgotten(&world->nodes[0].image, &backend,
							world->versions[known].sequence);
}

static void on_packet(struct world *world, void *context, uint64_t serial)
{
	struct flow *flow = context;
	if (!flow->is_there || flow->serial != serial)
		return;
	if (flow->ends_ms <= world->now_ms || !backend_lives(world, flow)) {
		flow->is_there = false;
		return;
	}
	/* A flow of UDP may pause for longer than `quiet`. */
	uint64_t pause_ms = world->is_calm ? 4000 : 1200;
	if (flow->is_udp && chance(world, 500))
		pause_ms = 20000;
	plan(world, 100 + below(world, pause_ms), on_packet, flow, serial);
	flow->is_socket = !flow->is_udp;
	struct node *edge = some_edge(world);
	struct node *sender;
	const struct entry *entry = edge ? forward(world, edge, &flow->address, &sender) : NULL;
	world->tally->packets++;
	if (!entry) {
		world->tally->lost++;
		return;
	}
	if (!takes(world, sender, entry, flow)) {
		world->tally->refused++;
		return;
	}
	note_packet(world, sender, &flow->address, false);
	const struct known_version *began = &world->versions[flow->known];
	const struct known_version *now = &world->versions[entry->known];
	if (entry->known != flow->known && flow->is_udp) {
		/* Idleness is its only barrier, and what passed since was not waited for. */
		world->tally->moved++;
		flow->known = entry->known;
		flow->machine = machine_of(world, now, flow);
		flow->boot = world->landings[flow->machine].boot;
		return;
	}
	if (entry->known != flow->known && (flow->is_misled || sender->maps.is_older)) {
		world->tally->misled++;
		flow->is_there = false;
		return;
	}
	CHECK(world, entry->known == flow->known,
	      "invariant 3: at %s pool %u slot %u means version %u of service %u under a flow of "
	      "version %u of service %u",
	      sender->name, flow->address.pool, flow->address.slot, now->number, now->service,
	      began->number, began->service);
	CHECK(world, machine_of(world, now, flow) == flow->machine,
	      "invariant 4: at %s a flow of version %u moved to another backend", sender->name,
	      now->number);
}

static struct flow *free_flow(struct world *world)
{
	for (size_t i = 0; i < FLOWS; i++) {
		if (!world->flows[i].is_there)
			return &world->flows[i];
	}
	return NULL;
}

/* Most handshakes are quick; some take as long as a packet may be on its way. */
static uint64_t handshake_ms(struct world *world)
{
	return chance(world, 800) ? below(world, 200) : HANDSHAKE_MS - below(world, 500);
}

static void open_flow(struct world *world, const struct address *address)
{
	struct flow *flow = free_flow(world);
	struct node *edge = some_edge(world);
	struct node *sender;
	if (!flow || !edge)
		return;
	const struct entry *entry = forward(world, edge, address, &sender);
	bool is_udp = entry && world->versions[entry->known].has_udp;
	/* Nothing in a packet of UDP says that it opens a flow. */
	if (!entry || (entry->refusing && !is_udp))
		return;
	struct flow begun = {.is_there = true,
			     .serial = flow->serial + 1,
			     .address = *address,
			     .known = entry->known,
			     .is_udp = is_udp,
			     .is_misled = sender->maps.is_older,
			     .hash_seed = random_u64(&world->random)};
	begun.machine = machine_of(world, &world->versions[entry->known], &begun);
	const struct landing *landing = &world->landings[begun.machine];
	note_packet(world, sender, address, !is_udp);
	if (!landing->has_power || !node_set_has(&landing->fence, sender->index)) {
		world->tally->refused += sender->is_removed;
		return;
	}
	begun.is_misled |= is_belied(world, sender, begun.known, begun.machine);
	uint64_t life_ms = chance(world, is_udp ? 300 : 50) ? 40000 : 6000;
	uint64_t socket_in_ms = handshake_ms(world);
	/* Behind a cookie there is no socket until the client's ACK, which may have been lost. */
	if (world->landings[begun.machine].cookies_until_ms > world->now_ms && !is_udp) {
		world->landings[begun.machine].cookie_ms = world->now_ms;
		socket_in_ms += chance(world, 500) ? below(world, 30000) : 0;
		world->tally->cookies++;
	}
	begun.boot = landing->boot;
	begun.ends_ms = world->now_ms + socket_in_ms + 200 + below(world, life_ms);
	*flow = begun;
	world->tally->flows++;
	world->tally->late += entry->is_late;
	plan(world, socket_in_ms, on_packet, flow, flow->serial);
}

/* --- clients --- */

static struct node *some_name_server(struct world *world)
{
	size_t start = below(world, world->node_count);
	for (size_t i = 0; i < world->node_count; i++) {
		struct node *node = &world->nodes[(start + i) % world->node_count];
		/* The zone names it no more. */
		if (node->runs && node->does_answer && !node->is_removed)
			return node;
	}
	return NULL;
}

static void resolve(struct world *world, struct client *client, size_t service)
{
	const struct node *server = some_name_server(world);
	if (!server || !server->answers[service].is_there)
		return;
	const struct answer *answer = &server->answers[service];
	unsigned place = client->place < answer->share ? 0 : 1;
	for (uint8_t pool = 0; pool < POOLS; pool++) {
		if (!answer->has[place][pool])
			continue;
		client->known[service][pool].is_there = true;
		client->known[service][pool].until_ms = world->now_ms + 2000;
		client->known[service][pool].address =
		    (struct address){.pool = pool,
				     .site = (uint8_t)server->site,
				     .slot = answer->slots[place][pool]};
	}
}

/* It connects once by a fresh answer, and once more, by the same, when it may be long out of date.
 */
static uint64_t sleep_and_wake(struct world *world, struct client *client)
{
	size_t service = client->which % SERVICES;
	size_t pool = client->which / SERVICES % POOLS;
	bool wakes = client->known[service][pool].is_there;
	if (!wakes && !world->is_calm)
		resolve(world, client, service);
	if (!client->known[service][pool].is_there)
		return 500;
	open_flow(world, &client->known[service][pool].address);
	if (!wakes)
		return 12000 + below(world, 20000);
	memset(client->known, 0, sizeof(client->known));
	client->which = below(world, (uint64_t)SERVICES * POOLS);
	return 100 + below(world, 1200);
}

static void on_client(struct world *world, void *context, uint64_t number)
{
	struct client *client = context;
	(void)number;
	if (world->is_calm && client->habit != SLEEPER)
		return;
	if (client->habit == SLEEPER) {
		plan(world, sleep_and_wake(world, client), on_client, client, 0);
		return;
	}
	size_t service = below(world, SERVICES);
	size_t pool = below(world, POOLS);
	bool keeps = client->habit == KEEPER && chance(world, 970);
	if (!client->known[service][pool].is_there ||
	    (client->known[service][pool].until_ms <= world->now_ms && !keeps))
		resolve(world, client, service);
	if (client->known[service][pool].is_there)
		open_flow(world, &client->known[service][pool].address);
	/* Some come back after long silence, with the answer that they had. */
	bool naps = keeps && client->known[service][pool].is_there && chance(world, 800);
	plan(world, naps ? 3000 + below(world, 20000) : 100 + below(world, 1200), on_client, client,
	     0);
}

/* --- landings --- */

struct report_sent {
	struct peer_hello hello;
	const void *frame; /* of the report; in the world's arena, as the texts of `hello` are */
	size_t length;
	bool is_own; /* by the machine's own name, which knew that it was asked for its address */
	uint64_t process;
	uint64_t report;
	uint64_t begun_ms;
	uint64_t cookie_ms;
};

struct report_answer {
	uint64_t process;
	uint64_t report;
	struct ledger_position closing;
	struct digest generation; /* zero: it is told nothing */
	bool has_address;
	struct node_set fence;
	bool cut[POOLS][SLOTS];
};

static void lose_sockets(struct world *world, const struct landing *landing)
{
	for (size_t i = 0; i < FLOWS; i++) {
		if (world->flows[i].machine == landing->index)
			world->flows[i].is_there = false;
	}
}

static void on_answer(struct world *world, void *context, uint64_t index)
{
	const struct report_answer *answer = context;
	struct landing *landing = &world->landings[index];
	if (!landing->has_power || landing->process != answer->process || !landing->awaits ||
	    landing->report != answer->report)
		return;
	landing->awaits = false;
	landing->closing = answer->closing;
	if (!landing_generation_is_none(&answer->generation)) {
		landing->generation = answer->generation;
		landing->fence = answer->fence;
		landing->is_told = answer->has_address;
	}
	for (size_t i = 0; i < FLOWS; i++) {
		struct flow *flow = &world->flows[i];
		if (flow->is_there && flow->is_socket && flow->machine == index &&
		    answer->cut[flow->address.pool][flow->address.slot]) {
			flow->is_there = false;
			world->tally->cut++;
		}
	}
}

static struct node_set fence_of(const struct landing_set *set)
{
	const struct peer_address *edges = set->lists[LANDING_EDGES].items;
	struct node_set fence = {0};
	for (size_t i = 0; i < set->lists[LANDING_EDGES].count; i++)
		node_set_add(&fence, edges[i].address.bytes[3] - 1u);
	return fence;
}

static bool has_end(const struct landing_set *set, const struct ip_address *address)
{
	const struct peer_address *ends = set->lists[LANDING_ADDRESSES].items;
	for (size_t i = 0; i < set->lists[LANDING_ADDRESSES].count; i++) {
		if (ip_address_equal(&ends[i].address, address))
			return true;
	}
	return false;
}

/* What the landing shall be. */
static void want(struct world *world, const struct image *image, const struct landing *landing,
		 const char *name, struct report_answer *answer)
{
	struct landing_set *set = NULL;
	if (!image->fabric)
		return;
	int result = landings_update(world->wanted, image);
	if (result == 0)
		result = landings_wanted(world->wanted, name, &set);
	CHECK(world, result == 0, "%s cannot be told what it shall be: %s", name,
	      error_text(result));
	/* By a state older than what the node did, what a landing has stays. */
	const struct replica *replica = &world->nodes[0].replica;
	bool keeps = (replica->standing != REPLICA_CURRENT || *replica->awaits) &&
		     !landing_generation_is_none(&landing->generation);
	if (!set || keeps)
		return;
	answer->generation = set->generation;
	answer->fence = fence_of(set);
	const struct ip_address address = machine_address(landing->index);
	answer->has_address = has_end(set, &address);
}

static void cut(const struct world *world, struct report_answer *answer)
{
	const struct wire_list cuts = landings_cuts(world->wanted);
	const struct peer_address *items = cuts.items;
	for (size_t i = 0; i < FLOWS; i++) {
		const struct address *of = &world->flows[i].address;
		const struct ip_address address = address_of(world, of->pool, of->site, of->slot);
		for (size_t c = 0; c < cuts.count && world->flows[i].is_socket; c++) {
			if (ip_address_equal(&address, &items[c].address))
				answer->cut[of->pool][of->slot] = true;
		}
	}
}

static void answer_report(struct world *world, struct landing *landing,
			  const struct report_sent *sent)
{
	struct node *voter = &world->nodes[0];
	const struct image *image = &voter->image;
	struct report_answer *answer = arena_alloc(&world->arena, sizeof(*answer));
	answer->process = sent->process;
	answer->report = sent->report;
	answer->closing = driver_closing(world->driver);
	want(world, image, landing, sent->hello.node, answer);
	if (!landing_generation_is_none(&answer->generation))
		reports_set_lands(world->reports, &sent->hello,
				  memcmp(&landing->generation, &answer->generation,
					 sizeof(answer->generation)) == 0,
				  landings_fence_revision(world->wanted),
				  clock_now_ms(&voter->clock));
	/* Older than what the node did, an order may mean flows that nobody ordered to be ended. */
	if (voter->replica.standing == REPLICA_CURRENT)
		cut(world, answer);
	if (world->is_calm || !chance(world, 30))
		plan(world, 1 + below(world, world->is_calm ? 5 : 60), on_answer, answer,
		     landing->index);
}

static void on_report(struct world *world, void *context, uint64_t index)
{
	struct report_sent *sent = context;
	struct landing *landing = &world->landings[index];
	struct counted *counted = &world->counted[index];
	struct node *voter = &world->nodes[0];
	if (voter_runs(world) && voter->paused_until_ms > world->now_ms) {
		plan(world, voter->paused_until_ms - world->now_ms, on_report, context, index);
		return;
	}
	const struct report_moment moment = {.now_ms = clock_now_ms(&voter->clock),
					     .interval_ms = image_report_interval_ms(&voter->image),
					     .image = &voter->image};
	struct arena arena;
	struct peer_message message;
	arena_init(&arena, 0);
	int result = voter_runs(world)
			 ? peer_decode(sent->frame, sent->length, &arena, &message, NULL)
			 : -FL_EUNAVAILABLE;
	if (result == 0)
		result = reports_take(world->reports, &sent->hello, &message.report, &arena,
				      &moment, NULL);
	if (result == -FL_ECONFLICT)
		counted->disputed_ms = world->now_ms;
	if (result == 0 && sent->is_own) {
		*counted = (struct counted){
		    .is_there = true,
		    .begun_ms = sent->begun_ms,
		    .cookie_ms = sent->cookie_ms,
		    .at_ms = world->now_ms,
		    .process = sent->process,
		    .disputed_ms = counted->process == sent->process ? counted->disputed_ms : 0};
	}
	if (result == 0)
		answer_report(world, landing, sent);
	/* Last: the voter may end by it. */
	if (result == 0 && sent->is_own) {
		const struct ip_address address = machine_address(index);
		order_return(world, landing->name, &address);
	}
	arena_done(&arena);
}

/* In the order of the addresses. */
static size_t count_sockets(const struct world *world, const struct landing *landing,
			    struct peer_count counts[FLOWS])
{
	size_t count = 0;
	for (size_t i = 0; i < FLOWS; i++) {
		const struct flow *flow = &world->flows[i];
		if (!flow->is_there || !flow->is_socket || flow->machine != landing->index)
			continue;
		const struct ip_address address =
		    address_of(world, flow->address.pool, flow->address.site, flow->address.slot);
		size_t at = count;
		while (at && ip_address_compare(&counts[at - 1].address, &address) >= 0)
			at--;
		if (at < count && ip_address_equal(&counts[at].address, &address)) {
			counts[at].connections++;
			continue;
		}
		memmove(counts + at + 1, counts + at, (count - at) * sizeof(counts[0]));
		counts[at] = (struct peer_count){.address = address, .connections = 1};
		count++;
	}
	return count;
}

static void send_report(struct world *world, struct landing *landing)
{
	struct report_sent *sent = arena_alloc(&world->arena, sizeof(*sent));
	struct peer_count counts[FLOWS + 1];
	struct buffer frame;
	landing->awaits = true;
	landing->report++;
	landing->sent_ms = world->now_ms;
	*sent = (struct report_sent){
	    .hello = {.node = arena_strdup(&world->arena, landing->said),
		      .boot_id = arena_printf(&world->arena, "boot-%" PRIu64, landing->boot),
		      .instance = arena_printf(&world->arena, "process-%zu-%" PRIu64,
					       landing->index, landing->process)},
	    .is_own = landing->is_told && strcmp(landing->said, landing->name) == 0,
	    .process = landing->process,
	    .report = landing->report,
	    .begun_ms = world->now_ms,
	    .cookie_ms = landing->cookie_ms};
	struct ledger_position closing = landing->closing;
	if (world->astray_until_ms > world->now_ms) {
		/* As if it had been told so before a recovery. */
		closing.sequence = world->head + 40;
		closing.digest.bytes[0] ^= 1;
	}
	const struct peer_end own = {.address = machine_address(landing->index)};
	const struct peer_message message = {
	    .number = PEER_REPORT,
	    .report = {.generation = landing->generation,
		       .closing_sequence = closing.sequence,
		       .closing_hash = closing.digest,
		       .cookies_known = true,
		       .cookies_ms =
			   landing->cookie_ms ? world->now_ms - landing->cookie_ms : UINT64_MAX,
		       .counts = {counts, count_sockets(world, landing, counts)},
		       .owned = {&own, landing->is_told}}};
	buffer_init(&frame, 0);
	CHECK(world, peer_encode(&message, &frame, NULL) == 0, "%s cannot report", landing->name);
	void *bytes = arena_space(&world->arena, frame.length);
	memcpy(bytes, frame.data, frame.length);
	sent->frame = bytes;
	sent->length = frame.length;
	buffer_done(&frame);
	/* Some are long on their way, and some arrive after the session that they were sent in. */
	uint64_t delay_ms = chance(world, 850) ? below(world, 60) : below(world, 7000);
	if (world->is_calm)
		delay_ms = 5;
	if (!world->is_calm && chance(world, 30))
		return;
	plan(world, delay_ms, on_report, sent, landing->index);
}

#define ANSWER_MS 5000u /* after this silence the landing opens its session anew */

static void on_interval(struct world *world, void *context, uint64_t number)
{
	struct landing *landing = context;
	(void)number;
	plan(world, world->report_ms - 100 + below(world, 200), on_interval, landing, 0);
	if (!landing->has_power || landing->silent_until_ms > world->now_ms)
		return;
	if (landing->awaits && world->now_ms - landing->sent_ms < ANSWER_MS)
		return;
	/* A session ends with what it knew. */
	if (landing->awaits)
		landing->closing = (struct ledger_position){0};
	send_report(world, landing);
}

static void on_power(struct world *world, void *context, uint64_t number)
{
	struct landing *landing = context;
	(void)world, (void)number;
	landing->has_power = true;
}

void landing_restart(struct world *world, struct landing *landing)
{
	trace(world, "%s starts anew", landing->name);
	landing->process++;
	/* The kernel's count does not tell when they were sent. */
	if (landing->cookie_ms)
		landing->cookie_ms = world->now_ms;
	landing->awaits = false;
	landing->is_told = false;
	landing->closing = (struct ledger_position){0};
}

void landing_rename(struct world *world, struct landing *landing, const char *name)
{
	if (strcmp(landing->said, name) == 0)
		return;
	trace(world, "%s of machine %zu is called %s", landing->name, landing->index, name);
	world->tally->renamed++;
	snprintf(landing->said, sizeof(landing->said), "%s", name);
	landing_restart(world, landing);
}

void landing_lose_power(struct world *world, struct landing *landing)
{
	if (!landing->has_power)
		return;
	lose_sockets(world, landing);
	landing_restart(world, landing);
	landing->boot++;
	landing->generation = (struct digest){0};
	landing->fence = (struct node_set){0};
	landing->cookie_ms = 0;
	landing->has_power = false;
	plan(world, 500 + below(world, 10000), on_power, landing, 0);
}

void traffic_init(struct world *world)
{
	for (size_t i = 0; i < MACHINES; i++) {
		struct landing *landing = &world->landings[i];
		*landing = (struct landing){.index = i, .has_power = true, .boot = 1, .process = 1};
		snprintf(landing->name, sizeof(landing->name), "b%zu", i % BACKENDS);
		snprintf(landing->said, sizeof(landing->said), "%s", landing->name);
		plan(world, below(world, world->report_ms), on_interval, landing, 0);
	}
	for (size_t i = 0; i < CLIENTS; i++) {
		struct client *client = &world->clients[i];
		client->place = (uint32_t)below(world, SHARE_WHOLE);
		client->habit = i % 2 ? EAGER : i % 4 ? KEEPER : SLEEPER;
		plan(world, below(world, 2000), on_client, client, 0);
	}
}
