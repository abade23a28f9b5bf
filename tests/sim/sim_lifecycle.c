/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small fabric walks at random, and no flow may break.
 *
 * The world has edges and a name server that apply the ledger late, backends whose reports are
 * late, silent or from another boot, clients that keep answers for as long as they like, flows
 * that take up to 2.5 s to become a socket, an IPv4 pool with too few slots, and an operator who
 * does anything at any time. A driver asks lifecycle_next() with what the world lets it see.
 *
 * After each step: the state's own invariants; DNS answers only addresses that every lease-holding
 * edge holds (1); no version's digest changes (2); each packet of each flow reaches, through
 * whatever edge, the backend where the flow began (3, 4, 5); shares of a rollout only grow; nobody
 * is refused beyond the time limit. At the end the world calms down, and everything that drains
 * must come to its end.
 */
#include "abi/pick.h"
#include "base/random.h"
#include "model/lifecycle_wait.h"
#include "model/placement.h"
#include "tests/addresses.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WALKS 20
#define STEPS 5000
#define CALM_STEPS 3000

#define EDGES 3
#define NODES (EDGES + 1) /* and a name server, the last one */
#define BACKENDS 6
#define CLIENTS 30
#define FLOWS 200
#define MAX_BINDINGS 96
#define MAX_VERSIONS 512
#define MAX_SEQUENCES 32768

#define QUIET_MS 10000u
#define STALE_MS 15000u
#define QUARANTINE_MS 60000u
#define REPORT_MS 1000u
#define HANDSHAKE_MS 2500u /* below CLOSING_SETTLE_MS, which is what that time is for */

/* What one ledger entry leaves behind, as far as nodes care. */
struct snapshot {
	struct rollout_state rollout;
	struct binding bindings[MAX_BINDINGS];
	size_t binding_count;
};

struct node {
	uint64_t applied; /* sequence */
	uint64_t applied_at_ms[MAX_SEQUENCES];
	uint64_t stuck_until_ms;
	bool has_lease;
	bool removed; /* empty and withdrawn: takes no traffic, nobody waits for it */
	uint64_t removed_at_ms;
};

struct address {
	uint8_t pool;
	uint32_t slot;
};

/* A count that names a closing. */
struct closing_count {
	struct address address;
	uint64_t closing;
	uint64_t connections;
};

struct count_report {
	bool is_there;
	uint64_t counted_at_ms;
	uint64_t connections[2][MAX_BINDINGS]; /* per pool and slot */
	struct closing_count closings[MAX_BINDINGS];
	size_t closing_count;
};

struct backend_machine {
	bool up;
	uint64_t up_at_ms;
	uint64_t silent_until_ms;
	struct count_report
	    sent; /* on its way: what it says may have changed by the time it is here */
	struct count_report report; /* the newest that arrived */
	struct closing_count asked[MAX_BINDINGS];
	size_t asked_count;
};

struct flow {
	bool open;
	bool is_udp;
	bool unsafe; /* UDP that began while its address refused: nothing can hold it off */
	struct address address;
	uint32_t version; /* where it began */
	uint32_t backend; /* likewise; index of the machine */
	uint64_t hash;
	uint64_t socket_at_ms;
	uint64_t ends_at_ms;
	uint64_t last_packet_ms;
};

struct client {
	uint32_t place; /* 0…SHARE_WHOLE-1: which clients come first */
	struct address known[2]; /* the last answer, kept for ever */
	bool knows[2];
	uint8_t trying; /* the pool whose address it tries to reach */
	unsigned tries; /* more to come, as TCP repeats a SYN that was dropped */
};

struct tally {
	uint64_t kinds[8];
	uint64_t events[8];
	uint64_t flows, late, cut, exhausted, gated;
};

struct world {
	uint64_t seed;
	unsigned step_number;
	struct random random;
	struct arena arena;
	uint64_t now_ms;
	bool is_calm;
	bool has_udp;
	uint64_t drain_limit_ms;
	uint64_t gate_until_ms; /* so long the target waits for backends, before its first share */

	struct fabric fabric;
	struct service service;
	struct backend backends[BACKENDS];
	struct site site;
	struct pool pools[2];
	struct placement *placement;

	struct service_state state; /* the ledger's head */
	uint64_t sequence;
	struct snapshot *snapshots; /* by sequence */
	struct version *versions[MAX_VERSIONS]; /* by number */
	struct digest digests[MAX_VERSIONS];
	uint32_t dead[MAX_VERSIONS]; /* machines that the version's ejection set holds */
	uint16_t *rings[MAX_VERSIONS]; /* the effective ones; NULL until they are asked for */
	uint64_t answered_at_ms[MAX_VERSIONS];
	bool was_answered[MAX_VERSIONS];

	struct node nodes[NODES];
	struct backend_machine machines[BACKENDS];
	struct client clients[CLIENTS];
	struct flow flows[FLOWS];
	uint64_t new_flow_at_ms[2][MAX_BINDINGS];
	uint64_t packet_at_ms[2][MAX_BINDINGS];
	struct tally *tally;
};

#define CHECK(world, condition, ...)                                                               \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			print_error("FAIRLEAD_SEED=%" PRIu64 " step %u, %" PRIu64 " ms: ",         \
				    (world)->seed, (world)->step_number, (world)->now_ms);         \
			fail_msg(__VA_ARGS__);                                                     \
		}                                                                                  \
	} while (0)

static uint64_t below(struct world *world, uint64_t bound)
{
	return random_below(&world->random, bound);
}

static bool chance(struct world *world, unsigned per_mille)
{
	return below(world, 1000) < per_mille;
}

/* --- the ledger and who has applied how much of it --- */

/* Every change of the state is followed by this: the new head, seen by nobody yet. */
static void commit(struct world *world)
{
	struct snapshot *snapshot = &world->snapshots[world->sequence];
	CHECK(world, world->state.binding_count <= MAX_BINDINGS, "too many bindings for this test");
	CHECK(world, world->sequence + 1 < MAX_SEQUENCES, "too many entries for this test");
	snapshot->rollout = world->state.rollout;
	snapshot->binding_count = world->state.binding_count;
	if (snapshot->binding_count)
		memcpy(snapshot->bindings, world->state.bindings,
		       snapshot->binding_count * sizeof(snapshot->bindings[0]));

	const struct snapshot *before = snapshot - 1;
	if (before->rollout.target == snapshot->rollout.target &&
	    before->rollout.base == snapshot->rollout.base)
		CHECK(world, snapshot->rollout.share >= before->rollout.share,
		      "clients went back within a rollout");
}

static const struct snapshot *node_view(const struct world *world, const struct node *node)
{
	return &world->snapshots[node->applied];
}

static const struct binding *binding_at(const struct snapshot *snapshot, struct address address)
{
	for (size_t i = 0; i < snapshot->binding_count; i++) {
		if (snapshot->bindings[i].pool == address.pool &&
		    snapshot->bindings[i].slot == address.slot)
			return &snapshot->bindings[i];
	}
	return NULL;
}

static void node_apply(struct world *world, struct node *node, uint64_t upto)
{
	while (node->applied < upto)
		node->applied_at_ms[++node->applied] = world->now_ms;
}

/* An operator who removes the only edge that is up to date breaks what only it holds; the product
 * cannot help that. */
static bool can_spare(const struct world *world, const struct node *node)
{
	for (size_t i = 0; i < EDGES; i++) {
		const struct node *edge = &world->nodes[i];
		if (edge != node && !edge->removed && edge->applied == world->sequence)
			return true;
	}
	return false;
}

static void step_node(struct world *world, struct node *node)
{
	if (world->is_calm) {
		node->removed = false;
		node_apply(world, node, world->sequence);
		node->has_lease = true;
		return;
	}
	if (node->stuck_until_ms > world->now_ms)
		return;
	if (chance(world, 2))
		node->stuck_until_ms = world->now_ms + below(world, 20000);
	if (chance(world, 3))
		node->has_lease = false;
	if (chance(world, 1) && node != &world->nodes[EDGES] && can_spare(world, node)) {
		node->removed = true;
		node->removed_at_ms = world->now_ms;
		node->has_lease = false;
	}
	if (chance(world, 700) && node->applied < world->sequence)
		node_apply(world, node,
			   node->applied + 1 + below(world, world->sequence - node->applied));
	/* Only who has caught up may hold a lease, or come back. */
	if (node->applied == world->sequence && chance(world, 200)) {
		node->removed = false;
		node->has_lease = true;
	}
}

/* --- packets --- */

static uint32_t machine_of(const struct version *version, uint32_t ordinal)
{
	return (uint32_t)(version->backends[ordinal].name[1] - '0');
}

static void fill_ring(struct world *world, uint32_t number)
{
	const struct version *version = world->versions[number];
	const struct ring *ring = &version->rings[0].ring;
	bool ejected[MODEL_MAX_BACKENDS] = {false};
	for (uint32_t i = 0; i < version->backend_count; i++)
		ejected[i] = world->dead[number] >> machine_of(version, i) & 1;
	world->rings[number] = malloc(ring->length * sizeof(*ring->entries));
	assert_non_null(world->rings[number]);
	(void)ring_effective(ring, version->seed, ejected, world->rings[number]);
}

/* The machine that an edge sends a flow of `version` to. */
static uint32_t pick_machine(struct world *world, uint32_t number, uint64_t hash)
{
	const struct version *version = world->versions[number];
	if (!world->rings[number])
		fill_ring(world, number);
	return machine_of(version,
			  world->rings[number][pick_index(hash, version->rings[0].ring.length)]);
}

static void eject(struct world *world, uint32_t number, size_t machine)
{
	world->dead[number] |= 1u << machine;
	free(world->rings[number]);
	world->rings[number] = NULL;
}

/* A random edge that takes traffic; with or without a lease. NULL when all are removed. */
static struct node *some_edge(struct world *world)
{
	size_t start = below(world, EDGES);
	for (size_t i = 0; i < EDGES; i++) {
		struct node *edge = &world->nodes[(start + i) % EDGES];
		if (!edge->removed)
			return edge;
	}
	return NULL;
}

/* What the address means to a packet that comes to `edge`. An edge that lacks it passes the packet
 * to one that has it. */
static const struct binding *forward(const struct world *world, const struct node *edge,
				     struct address address)
{
	const struct binding *binding = binding_at(node_view(world, edge), address);
	for (size_t i = 0; !binding && i < EDGES; i++) {
		if (!world->nodes[i].removed)
			binding = binding_at(node_view(world, &world->nodes[i]), address);
	}
	return binding;
}

static void flow_packet(struct world *world, struct flow *flow)
{
	struct node *edge = some_edge(world);
	if (!edge)
		return;
	flow->last_packet_ms = world->now_ms;
	world->packet_at_ms[flow->address.pool][flow->address.slot] = world->now_ms;
	if (flow->unsafe)
		return;
	const struct binding *binding = forward(world, edge, flow->address);
	CHECK(world, binding, "no edge holds pool %u slot %u under a flow of version %u",
	      flow->address.pool, flow->address.slot, flow->version);
	CHECK(world, binding->version == flow->version,
	      "pool %u slot %u means version %u under a flow of version %u", flow->address.pool,
	      flow->address.slot, binding->version, flow->version);
	CHECK(world, pick_machine(world, flow->version, flow->hash) == flow->backend,
	      "a flow of version %u moved to another backend", flow->version);
}

static struct flow *free_flow(struct world *world)
{
	for (size_t i = 0; i < FLOWS; i++) {
		if (!world->flows[i].open)
			return &world->flows[i];
	}
	return NULL;
}

/* Most handshakes are quick; some take nearly as long as the settling allows for. */
static uint64_t handshake_ms(struct world *world)
{
	return chance(world, 500) ? below(world, 200) : HANDSHAKE_MS - below(world, 500);
}

/* False when the flow's first packet is dropped, so that the client sends it again. */
static bool open_flow(struct world *world, struct address address)
{
	struct flow *flow = free_flow(world);
	struct node *edge = some_edge(world);
	if (!flow || !edge)
		return false;
	bool is_udp = world->has_udp && chance(world, 300);
	world->packet_at_ms[address.pool][address.slot] = world->now_ms;
	world->new_flow_at_ms[address.pool][address.slot] = world->now_ms;
	const struct binding *binding = forward(world, edge, address);
	if (!binding || (binding->refusing && !is_udp))
		return false;
	uint64_t hash = random_u64(&world->random);
	uint32_t machine = pick_machine(world, binding->version, hash);
	if (!world->machines[machine].up)
		return false;

	const struct binding *head = binding_at(&world->snapshots[world->sequence], address);
	uint64_t life_ms = chance(world, 20) ? 120000 : 8000;
	*flow = (struct flow){
	    .open = true,
	    .is_udp = is_udp,
	    .unsafe = is_udp && (!head || head->refusing || head->number != binding->number),
	    .address = address,
	    .version = binding->version,
	    .backend = machine,
	    .hash = hash,
	    .socket_at_ms = world->now_ms + handshake_ms(world),
	    .ends_at_ms = world->now_ms + HANDSHAKE_MS + below(world, life_ms),
	    .last_packet_ms = world->now_ms,
	};
	world->tally->flows++;
	world->tally->late += binding->is_late;
	return true;
}

static bool is_cut(const struct world *world, const struct flow *flow)
{
	const struct version_status *version = service_version(&world->state, flow->version);
	/* Only an unsafe flow can outlive its version. */
	return version && version->cut;
}

static void step_flows(struct world *world)
{
	for (size_t i = 0; i < FLOWS; i++) {
		struct flow *flow = &world->flows[i];
		if (!flow->open)
			continue;
		bool cut = !flow->is_udp && is_cut(world, flow);
		world->tally->cut += cut;
		if (cut || flow->ends_at_ms <= world->now_ms) {
			flow->open = false;
			continue;
		}
		if (chance(world, 500) || world->now_ms - flow->last_packet_ms > QUIET_MS / 4)
			flow_packet(world, flow);
	}
}

/* --- clients --- */

/* Ask the name server: what it answers is a function of its snapshot and of the client's place. */
static void ask(struct world *world, struct client *client)
{
	const struct snapshot *view = node_view(world, &world->nodes[EDGES]);
	const struct rollout_state *rollout = &view->rollout;
	uint32_t version = client->place < rollout->share ? rollout->target : rollout->base;
	if (!version)
		return;
	world->answered_at_ms[version] = world->now_ms;
	world->was_answered[version] = true;
	for (size_t i = 0; i < view->binding_count; i++) {
		const struct binding *binding = &view->bindings[i];
		if (binding->version != version || binding->is_late)
			continue;
		client->known[binding->pool] =
		    (struct address){.pool = binding->pool, .slot = binding->slot};
		client->knows[binding->pool] = true;
	}
}

static void step_clients(struct world *world)
{
	if (world->is_calm)
		return;
	for (size_t i = 0; i < CLIENTS; i++) {
		struct client *client = &world->clients[i];
		/* Some clients hardly ever ask again, and come back after long silence. */
		bool asks_often = i % 3;
		if (chance(world, asks_often ? 150 : 4))
			ask(world, client);
		if (!client->tries && chance(world, asks_often ? 30 : 4)) {
			client->trying = (uint8_t)below(world, 2);
			client->tries = 30;
		}
		if (!client->tries || !client->knows[client->trying] || !chance(world, 500))
			continue;
		client->tries--;
		if (open_flow(world, client->known[client->trying]))
			client->tries = 0;
	}
}

/* --- backends and their reports --- */

static void machine_dies(struct world *world, size_t index)
{
	struct backend_machine *machine = &world->machines[index];
	machine->up = false;
	machine->up_at_ms = world->now_ms + below(world, 40000);
	for (size_t i = 0; i < FLOWS; i++) {
		if (world->flows[i].open && world->flows[i].backend == index)
			world->flows[i].open = false;
	}
	/* It comes back only in versions that are built from now on. */
	for (size_t i = 0; i < world->state.version_count; i++)
		eject(world, world->state.versions[i].number, index);
}

/* Sockets of an address, as sock_diag would count them now. */
static uint64_t count_sockets(const struct world *world, size_t machine, struct address address)
{
	uint64_t count = 0;
	for (size_t i = 0; i < FLOWS; i++) {
		const struct flow *flow = &world->flows[i];
		count += flow->open && !flow->is_udp && flow->backend == machine &&
			 flow->socket_at_ms <= world->now_ms &&
			 flow->address.pool == address.pool && flow->address.slot == address.slot;
	}
	return count;
}

static void machine_reports(struct world *world, size_t index)
{
	struct backend_machine *machine = &world->machines[index];
	struct count_report *report = &machine->sent;
	report->is_there = true;
	report->counted_at_ms = world->now_ms;
	for (uint8_t pool = 0; pool < 2; pool++) {
		for (uint32_t slot = 0; slot < MAX_BINDINGS; slot++)
			report->connections[pool][slot] = count_sockets(
			    world, index, (struct address){.pool = pool, .slot = slot});
	}
	report->closing_count = machine->asked_count;
	for (size_t i = 0; i < machine->asked_count; i++) {
		report->closings[i] = machine->asked[i];
		report->closings[i].connections =
		    count_sockets(world, index, machine->asked[i].address);
	}
}

static void step_machine(struct world *world, size_t index)
{
	struct backend_machine *machine = &world->machines[index];
	if (!machine->up) {
		/* What the old boot said is void when the new one speaks. */
		machine->up = machine->up_at_ms <= world->now_ms;
		machine->sent.is_there = false;
		machine->report.is_there = false;
		return;
	}
	if (machine->sent.is_there && (world->is_calm || chance(world, 800))) {
		machine->report = machine->sent;
		machine->sent.is_there = false;
	}
	if (!world->is_calm && chance(world, 1))
		machine->silent_until_ms = world->now_ms + below(world, 20000);
	if (!world->is_calm && chance(world, 1) && chance(world, 300))
		machine_dies(world, index);
	bool is_silent = machine->silent_until_ms > world->now_ms || chance(world, 300);
	if (machine->up && !machine->sent.is_there && (world->is_calm || !is_silent))
		machine_reports(world, index);
}

/* --- the driver: what a voter sees, and what it does --- */

/* Have all nodes applied the binding's sequence, and since when? A node that was removed stopped
 * sending new flows by the old meaning only then. */
static uint64_t applied_by_all_ms(const struct world *world, uint64_t sequence)
{
	uint64_t since_ms = 0;
	for (size_t i = 0; i < NODES; i++) {
		const struct node *node = &world->nodes[i];
		if (!node->removed && node->applied < sequence)
			return 0;
		uint64_t at_ms =
		    node->removed ? node->removed_at_ms : node->applied_at_ms[sequence];
		if (at_ms > since_ms)
			since_ms = at_ms;
	}
	return world->now_ms - since_ms;
}

static struct placement_moment placement_moment(const struct world *world)
{
	struct placement_moment moment = {.wall_ms = world->now_ms,
					  .quarantine_ms = QUARANTINE_MS,
					  .applied_sequence = world->sequence};
	for (size_t i = 0; i < NODES; i++) {
		const struct node *node = &world->nodes[i];
		if (!node->removed && node->applied < moment.applied_sequence)
			moment.applied_sequence = node->applied;
	}
	return moment;
}

static bool closing_count_of(const struct backend_machine *machine, const struct binding *binding,
			     uint64_t *ret_connections)
{
	for (size_t i = 0; i < machine->report.closing_count; i++) {
		const struct closing_count *count = &machine->report.closings[i];
		if (count->closing == binding->sequence && count->address.pool == binding->pool &&
		    count->address.slot == binding->slot) {
			*ret_connections = count->connections;
			return true;
		}
	}
	return false;
}

static uint64_t ago(const struct world *world, uint64_t at_ms)
{
	return at_ms ? world->now_ms - at_ms : UINT64_MAX;
}

static void observe_binding(const struct world *world, const struct binding *binding,
			    struct binding_observation *ret_seen)
{
	struct binding_observation seen = {
	    .connections_known = true,
	    .closing_counted = binding->refusing,
	    .packets_known = true,
	    .new_flow_ago_ms = ago(world, world->new_flow_at_ms[binding->pool][binding->slot]),
	    .packet_ago_ms = ago(world, world->packet_at_ms[binding->pool][binding->slot]),
	    .applied_by_all_ms = applied_by_all_ms(world, binding->sequence),
	};
	for (size_t i = 0; i < BACKENDS; i++) {
		const struct backend_machine *machine = &world->machines[i];
		uint64_t connections = 0;
		if (!machine->report.is_there ||
		    world->now_ms - machine->report.counted_at_ms > 3 * (uint64_t)REPORT_MS) {
			seen.connections_known = false;
			seen.closing_counted = false;
			continue;
		}
		uint64_t report_ago_ms = world->now_ms - machine->report.counted_at_ms;
		if (report_ago_ms > seen.report_ago_ms)
			seen.report_ago_ms = report_ago_ms;
		seen.connections += machine->report.connections[binding->pool][binding->slot];
		seen.closing_counted &= closing_count_of(machine, binding, &connections);
		seen.closing_connections += connections;
	}
	*ret_seen = seen;
}

/* Backends are asked to count for the closings that are ready to be counted. */
static void ask_for_counts(struct world *world, const struct binding_observation *seen)
{
	struct closing_count asked[MAX_BINDINGS];
	size_t count = 0;
	for (size_t i = 0; i < world->state.binding_count; i++) {
		const struct binding *binding = &world->state.bindings[i];
		if (lifecycle_count_due(binding, &seen[i]))
			asked[count++] = (struct closing_count){
			    .address = {.pool = binding->pool, .slot = binding->slot},
			    .closing = binding->sequence};
	}
	for (size_t i = 0; i < BACKENDS; i++) {
		memcpy(world->machines[i].asked, asked, count * sizeof(asked[0]));
		world->machines[i].asked_count = count;
	}
}

static bool is_held(const struct world *world, uint32_t version)
{
	for (size_t i = 0; i < EDGES; i++) {
		const struct node *edge = &world->nodes[i];
		const struct snapshot *view = node_view(world, edge);
		bool holds = false;
		for (size_t j = 0; j < view->binding_count; j++)
			holds |= view->bindings[j].version == version;
		if (edge->has_lease && !holds)
			return false;
	}
	return true;
}

/* No closing or reclaim may outlast its limit once the driver has looked at it. */
static void check_refusals_end(struct world *world)
{
	uint64_t limit = CLOSING_LIMIT_MS + CLOSING_LIMIT_REPORTS * (uint64_t)REPORT_MS;
	for (size_t i = 0; i < world->state.binding_count; i++) {
		const struct binding *binding = &world->state.bindings[i];
		enum version_state is = service_version(&world->state, binding->version)->state;
		if (binding->reclaiming || is == VERSION_CLOSING)
			CHECK(world, world->now_ms - binding->changed_wall_ms < limit,
			      "pool %u slot %u refuses for too long", binding->pool, binding->slot);
	}
}

static void apply_all(struct world *world, const struct transition *transitions, int count)
{
	bool one_entry = chance(world, 500);
	for (int i = 0; i < count; i++) {
		const struct transition *transition = &transitions[i];
		if (i == 0 || !one_entry)
			world->sequence++;
		if (transition->kind == TRANSITION_FREE)
			assert_int_equal(placement_free(world->placement,
							&world->state.bindings[transition->binding],
							0, world->sequence, world->now_ms,
							&world->arena),
					 0);
		int result =
		    lifecycle_apply(&world->state, transition, world->sequence, world->now_ms);
		CHECK(world, result == 0, "%s: not allowed: %s", transition_name(transition->kind),
		      transition->why);
		commit(world);
		world->tally->kinds[transition->kind]++;
		if (transition->kind == TRANSITION_VERSION)
			world->tally->events[transition->event]++;
	}
}

/* While the target waits it gets no clients, and no version that served is closed, unless it was
 * cut or its slots are wanted. */
static void check_gate(struct world *world, const struct service_observation *seen,
		       const struct transition *transitions, int count)
{
	const struct service_state *state = &world->state;
	const struct version_status *target = service_version(state, state->rollout.target);
	bool waits = target && world->now_ms < world->gate_until_ms &&
		     (target->state == VERSION_STAGED || target->state == VERSION_READY);
	world->tally->gated += waits;
	for (int i = 0; i < count && waits; i++) {
		if (transitions[i].kind != TRANSITION_VERSION)
			continue;
		const struct version_status *version =
		    service_version(state, transitions[i].version);
		CHECK(world, transitions[i].event != VERSION_EVENT_START,
		      "version %u starts while it waits", transitions[i].version);
		CHECK(world,
		      transitions[i].event != VERSION_EVENT_CLOSE || !version->served ||
			  version->cut || seen->exhausted_pools,
		      "version %u closes while a newer one waits", transitions[i].version);
	}
}

static bool moves(const struct transition *transitions, int count, uint32_t version)
{
	for (int i = 0; i < count; i++) {
		bool is_move = transitions[i].kind == TRANSITION_VERSION ||
			       transitions[i].kind == TRANSITION_SHARE;
		if (is_move && transitions[i].version == version &&
		    transitions[i].event != VERSION_EVENT_REOPEN)
			return true;
	}
	return false;
}

/* A version waits for something exactly if nothing is done for it. */
static void check_waits(struct world *world, const struct service_observation *seen,
			const struct transition *transitions, int count)
{
	for (size_t i = 0; i < world->state.version_count && count < LIFECYCLE_MAX_TRANSITIONS;
	     i++) {
		const struct version_status *version = &world->state.versions[i];
		const struct version_waits waits = lifecycle_waits(&world->state, seen, i);
		bool moved = moves(transitions, count, version->number);
		bool rests = version->state == VERSION_RETIRED ||
			     (version->state == VERSION_SERVING &&
			      (version->number != world->state.rollout.target ||
			       world->state.rollout.share == SHARE_WHOLE));
		/* Of a removed service the addresses go first. */
		if (version->state == VERSION_CLOSING && world->state.removed)
			continue;
		/* What is in use is reopened, whatever its proof lacks. */
		if (version->state == VERSION_CLOSING && !moved)
			continue;
		CHECK(world, !waits.reasons == (moved || rests),
		      "version %u, %s: waits for %#x and %s", version->number,
		      version_state_name(version->state), waits.reasons, moved ? "moves" : "stays");
	}
}

static void drive(struct world *world)
{
	struct binding_observation bindings[MAX_BINDINGS];
	struct version_observation versions[MAX_VERSIONS];
	for (size_t i = 0; i < world->state.binding_count; i++)
		observe_binding(world, &world->state.bindings[i], &bindings[i]);
	for (size_t i = 0; i < world->state.version_count; i++) {
		uint32_t number = world->state.versions[i].number;
		versions[i] = (struct version_observation){
		    .held = is_held(world, number),
		    .waits = number == world->state.rollout.target &&
			     world->now_ms < world->gate_until_ms,
		    .answered_ago_ms = world->was_answered[number]
					   ? world->now_ms - world->answered_at_ms[number]
					   : UINT64_MAX};
	}
	ask_for_counts(world, bindings);

	const struct service_state *states[] = {&world->state};
	struct placement_moment moment = placement_moment(world);
	struct service_observation seen = {
	    .wall_ms = world->now_ms,
	    .quiet_ms = QUIET_MS,
	    .stale_ms = STALE_MS,
	    .report_interval_ms = REPORT_MS,
	    .drain_limit_ms = world->drain_limit_ms,
	    .exhausted_pools =
		placement_exhausted(world->placement, &world->fabric, 0, states, 1, &moment),
	    .policy = &world->service.rollout,
	    .has_udp = world->has_udp,
	    .everyone_is_heard = true,
	    .versions = versions,
	    .bindings = bindings};
	world->tally->exhausted += seen.exhausted_pools != 0;
	struct arena scratch;
	arena_init(&scratch, 0);
	struct transition transitions[LIFECYCLE_MAX_TRANSITIONS];
	int count = lifecycle_next(&world->state, &seen, &scratch, transitions);
	CHECK(world, count == 0 || !lifecycle_is_at_rest(&world->state, &seen),
	      "%d transitions are due of a service at rest", count);
	assert_in_range(count, 0, LIFECYCLE_MAX_TRANSITIONS);
	check_gate(world, &seen, transitions, count);
	check_waits(world, &seen, transitions, count);
	apply_all(world, transitions, count);
	lifecycle_forget_retired(&world->state, 3);
	arena_done(&scratch);
	check_refusals_end(world);
}

/* --- the operator --- */

static void publish(struct world *world)
{
	const struct service_state *states[] = {&world->state};
	struct binding bindings[PLACEMENT_FAMILIES];
	size_t count;
	uint32_t number = world->state.next_version;
	if (number >= MAX_VERSIONS)
		return;
	struct placement_moment moment = placement_moment(world);
	if (placement_choose(world->placement, &world->fabric, 0, states, 1, &moment, bindings,
			     &count, NULL) < 0)
		return;
	uint32_t sum = 0;
	for (size_t i = 0; i < BACKENDS; i++) {
		world->backends[i].weight = (uint32_t)below(world, 4);
		sum += world->backends[i].weight;
	}
	if (!sum)
		return;
	uint32_t base = world->state.rollout.base;
	assert_int_equal(version_build(&world->fabric, &world->service, number,
				       world->versions[base], &world->random, &world->arena,
				       &world->versions[number], NULL),
			 0);
	world->digests[number] = world->versions[number]->digest;
	uint8_t salt[16];
	random_fill(&world->random, salt, sizeof(salt));
	world->sequence++;
	assert_int_equal(lifecycle_publish(&world->state, world->versions[number], bindings, count,
					   salt, world->sequence, world->now_ms, &world->arena,
					   NULL),
			 0);
	world->gate_until_ms =
	    chance(world, 300) ? world->now_ms + random_below(&world->random, 60000) : 0;
	commit(world);
}

static void step_operator(struct world *world)
{
	uint32_t version;
	if (world->is_calm)
		return;
	if (chance(world, 15))
		publish(world);
	if (chance(world, 4)) {
		world->sequence++;
		if (lifecycle_rollback(&world->state, 0, world->sequence, world->now_ms, &version,
				       NULL) == 0)
			world->tally->events[VERSION_EVENT_ROLLBACK]++;
		commit(world);
	}
	int ignored = 0;
	if (chance(world, 5))
		ignored |= lifecycle_pause(&world->state, NULL);
	if (chance(world, 10))
		ignored |= lifecycle_resume(&world->state, world->now_ms, NULL);
	if (chance(world, 3) && world->state.next_version > 1) {
		version = 1 + (uint32_t)below(world, world->state.next_version - 1);
		ignored |= lifecycle_cut(&world->state, version, NULL);
	}
	if (chance(world, 1) && chance(world, 300)) {
		world->sequence++;
		ignored |= lifecycle_remove(&world->state, world->sequence, world->now_ms);
		commit(world);
	}
	(void)ignored; /* refusals change nothing, and the checks see to that */
}

/* --- the checks after each step --- */

static void check_answers_are_held(struct world *world)
{
	const struct snapshot *view = node_view(world, &world->nodes[EDGES]);
	for (size_t i = 0; i < view->binding_count; i++) {
		const struct binding *binding = &view->bindings[i];
		const struct rollout_state *rollout = &view->rollout;
		bool answered = (binding->version == rollout->target && rollout->share > 0) ||
				(binding->version == rollout->base && rollout->share < SHARE_WHOLE);
		if (binding->is_late || !answered)
			continue;
		struct address address = {.pool = binding->pool, .slot = binding->slot};
		for (size_t j = 0; j < EDGES; j++) {
			const struct node *edge = &world->nodes[j];
			CHECK(world,
			      !edge->has_lease || binding_at(node_view(world, edge), address),
			      "DNS answers version %u, which edge %zu does not hold",
			      binding->version, j);
		}
	}
}

static void check_versions_are_immutable(struct world *world)
{
	for (size_t i = 0; i < world->state.version_count; i++) {
		const struct version_status *version = &world->state.versions[i];
		CHECK(world,
		      !memcmp(&version->digest, &world->digests[version->number],
			      sizeof(version->digest)),
		      "version %u changed its digest", version->number);
	}
}

static void step(struct world *world)
{
	world->step_number++;
	world->now_ms += 20 + below(world, 500);
	for (size_t i = 0; i < NODES; i++)
		step_node(world, &world->nodes[i]);
	for (size_t i = 0; i < BACKENDS; i++)
		step_machine(world, i);
	step_clients(world);
	step_flows(world);
	step_operator(world);
	if (world->is_calm || chance(world, 800))
		drive(world);
	service_state_check(&world->state);
	check_answers_are_held(world);
	check_versions_are_immutable(world);
}

/* --- a walk --- */

static void build_fabric(struct world *world)
{
	static const char *const names[BACKENDS] = {"b0", "b1", "b2", "b3", "b4", "b5"};
	for (size_t i = 0; i < BACKENDS; i++) {
		world->backends[i] = (struct backend){.name = names[i], .site = "fra"};
		assert_int_equal(ip_address_parse("10.0.1.1", &world->backends[i].address), 0);
		world->backends[i].address.bytes[3] = (uint8_t)i;
	}
	world->service = (struct service){
	    .name = "web",
	    .backends = world->backends,
	    .backend_count = BACKENDS,
	    .rollout = {.shares = {3277, 16384, SHARE_WHOLE}, .share_count = 3, .pause_ms = 8000}};
	world->site = (struct site){.name = "fra"};
	/* Four slots of IPv4, and more of IPv6 than any walk needs at once. */
	world->pools[0] = (struct pool){.prefix = prefix("198.51.100.0/30")};
	world->pools[1] = (struct pool){.prefix = prefix("2001:db8:f::/122")};
	world->fabric = (struct fabric){.name = "example",
					.zone = "svc.example.net",
					.pools = world->pools,
					.pool_count = 2,
					.sites = &world->site,
					.site_count = 1,
					.services = &world->service,
					.service_count = 1};
	assert_int_equal(
	    placement_update(NULL, &world->fabric, NULL, 0, &world->arena, &world->placement, NULL),
	    0);
}

static struct world *world_new(uint64_t seed, struct tally *tally)
{
	struct world *world = calloc(1, sizeof(*world));
	assert_non_null(world);
	world->snapshots = calloc(MAX_SEQUENCES, sizeof(world->snapshots[0]));
	assert_non_null(world->snapshots);
	world->seed = seed;
	world->tally = tally;
	world->now_ms = 1000000;
	random_init_seeded(&world->random, seed);
	arena_init(&world->arena, 0);
	build_fabric(world);
	world->has_udp = chance(world, 300);
	world->drain_limit_ms = chance(world, 300) ? 90000 : 0;
	world->state = (struct service_state){.name = "web", .next_version = 1};
	for (size_t i = 0; i < NODES; i++)
		world->nodes[i].has_lease = true;
	for (size_t i = 0; i < BACKENDS; i++)
		world->machines[i].up = true;
	for (size_t i = 0; i < CLIENTS; i++)
		world->clients[i].place = (uint32_t)below(world, SHARE_WHOLE);
	return world;
}

static void world_free(struct world *world)
{
	arena_done(&world->arena);
	free(world->snapshots);
	for (size_t i = 0; i < MAX_VERSIONS; i++)
		free(world->rings[i]);
	free(world);
}

/* With everybody up and no new flow, all that drains ends, and nothing goes on refusing. */
static void check_all_ended(struct world *world)
{
	for (size_t i = 0; i < world->state.version_count; i++) {
		const struct version_status *version = &world->state.versions[i];
		bool serves = version->number == world->state.rollout.base ||
			      version->number == world->state.rollout.target;
		/* A paused rollout is the operator's wish. */
		CHECK(world,
		      serves || version->state == VERSION_RETIRED || !world->state.rollout.base,
		      "version %u is %s for ever", version->number,
		      version_state_name(version->state));
	}
	for (size_t i = 0; i < world->state.binding_count; i++)
		CHECK(world, !world->state.bindings[i].refusing, "pool %u slot %u refuses for ever",
		      world->state.bindings[i].pool, world->state.bindings[i].slot);
	CHECK(world, !world->state.removed || !world->state.binding_count,
	      "a removed service kept an address");
}

static void walk(uint64_t seed, struct tally *tally)
{
	/* Printed first: an assertion in the model ends the program. */
	print_message("FAIRLEAD_SEED=%" PRIu64 "\n", seed);
	struct world *world = world_new(seed, tally);
	for (int i = 0; i < STEPS; i++)
		step(world);
	world->is_calm = true;
	for (int i = 0; i < CALM_STEPS; i++)
		step(world);
	check_all_ended(world);
	world_free(world);
}

static void no_flow_breaks(void **state)
{
	(void)state;
	struct tally tally = {0};
	const char *seed = getenv("FAIRLEAD_SEED");
	if (seed) {
		walk(strtoull(seed, NULL, 10), &tally);
		return;
	}
	for (uint64_t i = 1; i <= WALKS; i++)
		walk(i, &tally);

	print_message("flows=%" PRIu64 " late=%" PRIu64 " cut=%" PRIu64 " exhausted=%" PRIu64
		      " gated=%" PRIu64 "\n",
		      tally.flows, tally.late, tally.cut, tally.exhausted, tally.gated);
	/* A walk that never reaches a transition proves nothing about it. Supersede and drain come
	 * with commands and shares. */
#define X(id, name, guard)                                                                         \
	print_message("%s=%" PRIu64 "\n", name, tally.kinds[TRANSITION_##id]);                     \
	assert_true(tally.kinds[TRANSITION_##id] > 0);
	TRANSITIONS(X)
#undef X
#define X(id, name)                                                                                \
	print_message("%s=%" PRIu64 "\n", name, tally.events[VERSION_EVENT_##id]);                 \
	assert_true(tally.events[VERSION_EVENT_##id] > 0 ||                                        \
		    VERSION_EVENT_##id == VERSION_EVENT_SUPERSEDE ||                               \
		    VERSION_EVENT_##id == VERSION_EVENT_DRAIN);
	VERSION_EVENTS(X)
#undef X
	assert_true(tally.late > 0 && tally.cut > 0 && tally.exhausted > 0 && tally.gated > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(no_flow_breaks)};
	return cmocka_run_group_tests_name("sim.lifecycle", tests, NULL, NULL);
}
