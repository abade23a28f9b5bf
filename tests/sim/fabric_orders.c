/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The operator: whatever may be ordered, at any time. The changes are built by the functions that
 * the daemon's verbs use; a change that is refused changes nothing, which the checks see to.
 */
#include "base/buffer.h"
#include "fabric_world.h"
#include "state/apply.h"
#include "state/publication.h"
#include "state/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct order {
	struct change change;
	struct world *world;
	const struct node *node;
	char name[MODEL_NAME_BYTES]; /* of a service or a backend */
	struct ip_address address; /* of a backend */
	uint32_t version;
	int verb;
	struct fabric fabric; /* to apply */
	struct service services[SERVICES];
	struct pool pools[POOLS];
	struct apply *apply; /* owned */
};

static void done(struct change *change, int result, const struct error *err, uint64_t sequence)
{
	struct order *order = (struct order *)change;
	trace(order->world, "order %s %s: %s, entry %" PRIu64, change->kind, order->name,
	      result < 0 ? err->text : "done", sequence);
	free(order);
}

static int build_apply(struct change *change, struct change_draft *draft, struct error *err);
static void apply_done(struct change *change, int result, const struct error *err,
		       uint64_t sequence);

static void submit(struct world *world, const char *kind, change_build_fn *build, const char *name,
		   const struct order *with)
{
	struct order *order = calloc(1, sizeof(*order));
	CHECK(world, order, "no memory");
	if (with)
		*order = *with;
	order->world = world;
	order->change.kind = kind;
	order->change.build = build;
	order->change.done = build == build_apply ? apply_done : done;
	snprintf(order->change.who, sizeof(order->change.who), "operator");
	snprintf(order->name, sizeof(order->name), "%s", name);
	changes_submit(world->changes, &order->change);
	node_dispatch(world, &world->nodes[0]);
}

/* --- members --- */

static int build_join(struct change *change, struct change_draft *draft, struct error *err)
{
	const struct order *order = (const struct order *)change;
	struct buffer value;
	char key[RECORD_KEY_BYTES];
	(void)err;
	if (image_member(draft->image, order->node->name))
		return CHANGE_NOTHING;
	buffer_init(&value, STORE_VALUE_BYTES);
	int result = record_member_put(&order->node->self, &value);
	if (result == 0)
		result = draft_put(draft, record_member_key(order->node->name, key), 0, &value);
	buffer_done(&value);
	draft->what = json_pack("{s:s}", "node", order->node->name);
	return result < 0 ? result : CHANGE_COMMIT;
}

static int build_removal(struct change *change, struct change_draft *draft, struct error *err)
{
	const struct order *order = (const struct order *)change;
	const struct member *member = image_member(draft->image, order->node->name);
	struct buffer value;
	char key[RECORD_KEY_BYTES];
	(void)err;
	if (!member)
		return CHANGE_NOTHING;
	const struct removed_member removed =
	    removed_member_of(member, draft->sequence, draft->wall_ms);
	record_member_key(member->name, key);
	int result = draft_remove(draft, key, image_record_revision(draft->image, key));
	buffer_init(&value, STORE_VALUE_BYTES);
	if (result == 0)
		result = removed_member_put(&removed, &value);
	if (result == 0)
		result = draft_put(draft, removed_member_key(draft->sequence, key), 0, &value);
	buffer_done(&value);
	draft->what = json_pack("{s:s}", "node", member->name);
	return result < 0 ? result : CHANGE_COMMIT;
}

/* One that others can do without. */
static void remove_node(struct world *world)
{
	const struct node *node = &world->nodes[3 + below(world, world->node_count - 3)];
	if (!node->is_removed && member_has(&node->self, MEMBER_EDGE) &&
	    image_member(&world->nodes[0].image, node->name))
		submit(world, LEDGER_KIND_MEMBER_REMOVE, build_removal, node->name,
		       &(struct order){.node = node});
}

void order_join(struct world *world, const struct node *node)
{
	if (voter_runs(world) && !node->is_removed &&
	    !image_member(&world->nodes[0].image, node->name))
		submit(world, "member.add", build_join, node->name, &(struct order){.node = node});
}

/* --- apply --- */

/* The services and the pools that the operator wants now. */
static void want(struct order *order)
{
	const struct world *world = order->world;
	order->fabric = world->fabric;
	order->fabric.pools = order->pools;
	order->fabric.pool_count = 0;
	for (size_t i = 0; i < POOLS; i++) {
		if (world->left_out != i + 1)
			order->pools[order->fabric.pool_count++] = world->pools[i];
	}
	order->fabric.services = order->services;
	order->fabric.service_count = 0;
	for (size_t i = 0; i < SERVICES; i++) {
		if (world->wants[i])
			order->services[order->fabric.service_count++] = world->services[i];
	}
}

/* As the daemon's `apply` does. */
static void note_wants(struct order *order, const struct image *image)
{
	const char *names[SERVICES];
	size_t count = apply_wants(image, &order->fabric, names);
	for (size_t i = 0; i < count; i++)
		CHECK(order->world,
		      wants_note(&order->world->slot_wants, names[i], order->world->now_ms) == 0,
		      "no memory");
	order->world->tally->wanted += count > 1;
}

static int work_out(struct order *order, const struct change_draft *draft, struct error *err)
{
	const struct publication_moment moment = {.wall_ms = draft->wall_ms,
						  .applied_sequence = draft->applied_sequence,
						  .random = draft->random};
	struct apply *apply;
	want(order);
	int result = apply_new(draft->image, &order->fabric, &moment, &apply, err);
	if (result == -FL_EEXHAUSTED)
		note_wants(order, draft->image);
	if (result < 0)
		return result;
	apply_planned(apply);
	apply_free(order->apply);
	order->apply = apply;
	return 0;
}

static int build_apply(struct change *change, struct change_draft *draft, struct error *err)
{
	struct order *order = (struct order *)change;
	int result = order->apply ? apply_part(order->apply, draft, err) : -FL_ECONFLICT;
	if (result == -FL_ECONFLICT) {
		draft->op_count = draft->compare_count = draft->bytes = 0;
		result = work_out(order, draft, err);
		if (result == 0)
			result = apply_part(order->apply, draft, err);
	}
	draft->what = json_object();
	return result;
}

static void apply_done(struct change *change, int result, const struct error *err,
		       uint64_t sequence)
{
	struct order *order = (struct order *)change;
	for (size_t i = 0; sequence && i < order->apply->part_count; i++)
		wants_drop(&order->world->slot_wants, order->apply->part[i]->name);
	if (sequence)
		apply_part_committed(order->apply);
	if (result == 0 && order->apply->more) {
		changes_submit(order->world->changes, change);
		return;
	}
	apply_free(order->apply);
	done(change, result, err, sequence);
}

/* A backend moves to another machine, and keeps its name. */
static void move_backend(struct world *world, size_t service)
{
	size_t backend = below(world, BACKENDS);
	struct ip_address *address = &world->backends[service][backend].address;
	const struct ip_address first = machine_address(backend);
	*address =
	    machine_address(ip_address_equal(address, &first) ? backend + BACKENDS : backend);
	world->tally->readdressed++;
}

/* Other weights, so that another set of backends takes flows. */
static void change_mind(struct world *world, size_t service)
{
	uint32_t sum = 0;
	if (chance(world, 300))
		move_backend(world, service);
	for (size_t b = 0; b < BACKENDS; b++) {
		uint32_t weight = (uint32_t)below(world, 4);
		world->backends[service][b].weight = weight;
		sum += weight;
	}
	if (!sum)
		world->backends[service][0].weight = 1;
}

static void apply(struct world *world)
{
	size_t service = below(world, SERVICES);
	if (chance(world, 150) && world->wants[1 - service])
		world->wants[service] = !world->wants[service];
	else
		change_mind(world, service);
	if (chance(world, 300))
		change_mind(world, 1 - service);
	/* Pools are numbered as the simulation does it when the first file has them all. */
	const struct placement *placement = world->nodes[0].image.placement;
	if (placement && placement->pool_count == POOLS && chance(world, 50))
		world->left_out = world->left_out ? 0 : 1 + below(world, POOLS);
	submit(world, "apply", build_apply, "", NULL);
}

/* --- one service --- */

static int put_rollback(struct change_draft *draft, const struct image_service *service,
			struct service_state *state, struct error *err)
{
	char key[RECORD_KEY_BYTES];
	uint32_t to;
	int result = lifecycle_rollback(state, 0, draft->sequence, draft->wall_ms, &to, err);
	const struct version *version = image_version(service, to);
	if (result < 0)
		return result;
	for (size_t i = 0; i < version->backend_count && result == 0; i++) {
		const struct backend *backend = &version->backends[i];
		size_t at = 0;
		if (image_forgotten(draft->image, backend->name, &backend->address, &at))
			result = draft_delete(
			    draft, record_forgotten_key(backend->name, &backend->address, key));
	}
	return result;
}

enum verb { ROLLBACK, PAUSE, RESUME, CUT };

static int build_for_service(struct change *change, struct change_draft *draft, struct error *err)
{
	const struct order *order = (const struct order *)change;
	const struct image_service *service = image_service(draft->image, order->name);
	if (!service || !service->state || service->state->removed)
		return error_set(err, -FL_ENOTFOUND, "there is no service");
	struct service_state *state = service_state_copy(service->state, &draft->arena);
	int result = -ENOMEM;
	draft->what = json_pack("{s:s}", "service", order->name);
	if (!state)
		return result;
	switch ((enum verb)order->verb) {
	case ROLLBACK:
		result = put_rollback(draft, service, state, err);
		break;
	case PAUSE:
		result = lifecycle_pause(state, err);
		break;
	case RESUME:
		result = lifecycle_resume(state, draft->wall_ms, err);
		break;
	case CUT:
		result = lifecycle_cut(state, order->version, err);
		break;
	}
	if (result == 0)
		result = publication_put_state(draft, state);
	return result < 0 ? result : CHANGE_COMMIT;
}

static void change_service(struct world *world)
{
	static const char *const kinds[] = {"rollback", "rollout.pause", "rollout.resume",
					    "rollout.cut"};
	struct order order = {.verb = (int)below(world, 4)};
	const char *name = world->services[below(world, SERVICES)].name;
	const struct image_service *service = image_service(&world->nodes[0].image, name);
	if (!service || !service->state)
		return;
	if (order.verb == CUT && service->state->next_version > 1)
		order.version = 1 + (uint32_t)below(world, service->state->next_version - 1);
	submit(world, kinds[order.verb], build_for_service, name, &order);
}

void order_resume_all(struct world *world)
{
	for (size_t s = 0; s < SERVICES && voter_runs(world); s++) {
		const char *name = world->services[s].name;
		const struct image_service *service = image_service(&world->nodes[0].image, name);
		if (service && service->state && service->state->rollout.paused)
			submit(world, "rollout.resume", build_for_service, name,
			       &(struct order){.verb = RESUME});
	}
}

/* --- backends --- */

static int build_forget(struct change *change, struct change_draft *draft, struct error *err)
{
	const struct order *order = (const struct order *)change;
	struct world *world = order->world;
	const struct report *report = reports_owner(world->reports, order->name, &order->address);
	if (report && report_is_fresh(report, image_report_interval_ms(draft->image),
				      clock_now_ms(&world->nodes[0].clock)))
		return error_set(err, -FL_ESTATE, "it reports");
	char key[RECORD_KEY_BYTES];
	struct buffer value;
	buffer_init(&value, 64);
	buffer_printf(&value, "%llu", (unsigned long long)draft->sequence);
	int result =
	    draft_put_new(draft, record_forgotten_key(order->name, &order->address, key), &value);
	buffer_done(&value);
	draft->what = json_pack("{s:s}", "backend", order->name);
	return result < 0 ? result : CHANGE_COMMIT;
}

static int build_return(struct change *change, struct change_draft *draft, struct error *err)
{
	const struct order *order = (const struct order *)change;
	char key[RECORD_KEY_BYTES];
	(void)err;
	size_t at = 0;
	if (!image_forgotten(draft->image, order->name, &order->address, &at))
		return CHANGE_NOTHING;
	int result = draft_delete(draft, record_forgotten_key(order->name, &order->address, key));
	draft->what = json_pack("{s:s}", "backend", order->name);
	return result < 0 ? result : CHANGE_COMMIT;
}

void order_return(struct world *world, const char *backend, const struct ip_address *address)
{
	static const char kind[] = "backend.return";
	size_t at = 0;
	if (image_forgotten(&world->nodes[0].image, backend, address, &at) &&
	    !changes_pending(world->changes, kind))
		submit(world, kind, build_return, backend, &(struct order){.address = *address});
}

static void forget_backend(struct world *world)
{
	size_t machine = below(world, MACHINES);
	submit(world, "backend.forget", build_forget, world->landings[machine].name,
	       &(struct order){.address = machine_address(machine)});
}

/* --- at random --- */

void order_at_random(struct world *world)
{
	if (!voter_runs(world) || world->nodes[0].paused_until_ms > world->now_ms)
		return;
	uint64_t which = below(world, 100);
	if (which < 55)
		apply(world);
	else if (which < 90)
		change_service(world);
	else if (which < 94)
		forget_backend(world);
	else if (which < 96)
		remove_node(world);
	else
		order_join(world, &world->nodes[1 + below(world, world->node_count - 1)]);
}

void orders_init(struct world *world)
{
	static const char *const services[SERVICES] = {"web", "api"};
	static const char *const sites[SITES] = {"fra", "nyc"};
	world->site_count = chance(world, 300) ? 2 : 1;
	for (size_t i = 0; i < SITES; i++)
		world->sites[i] = (struct site){.name = sites[i]};
	for (size_t s = 0; s < SERVICES; s++) {
		for (size_t b = 0; b < BACKENDS; b++)
			world->backends[s][b] =
			    (struct backend){.name = world->landings[b].name,
					     .site = sites[b % world->site_count],
					     .address = machine_address(b)};
		change_mind(world, s);
		bool by_source = chance(world, 300);
		bool is_limited = chance(world, 200);
		bool is_udp = chance(world, 250);
		world->services[s] = (struct service){
		    .name = services[s],
		    .ports = {{.protocol = is_udp ? SERVICE_UDP : SERVICE_TCP,
			       .first = 80,
			       .last = 80}},
		    .port_count = 1,
		    .ttl_seconds = 2,
		    .balance_by = by_source ? BALANCE_SOURCE : BALANCE_FLOW,
		    .rollout = {.shares = {16384, SHARE_WHOLE}, .share_count = 2, .pause_ms = 2000},
		    .backends = world->backends[s],
		    .backend_count = BACKENDS,
		    .drain_limit_ms = is_limited ? 20000 : 0};
		world->wants[s] = true;
	}
	/* Few slots of IPv4, and more of IPv6 than any walk needs at once. */
	CHECK(world,
	      ip_prefix_parse(chance(world, 500) ? "198.51.100.0/27" : "198.51.100.0/28",
			      &world->pools[0].prefix) == 0 &&
		  ip_prefix_parse("2001:db8:f::/122", &world->pools[1].prefix) == 0,
	      "no prefix");
	world->pools[0].site_bits = 1;
	world->pools[1].site_bits = 1;
	world->fabric = (struct fabric){.name = "example",
					.zone = "svc.example.net",
					.settings = {.quiet_ms = QUIET_MS,
						     .stale_ms = STALE_MS,
						     .quarantine_ms = QUARANTINE_MS,
						     .report_interval_ms = world->report_ms},
					.pools = world->pools,
					.pool_count = POOLS,
					.sites = world->sites,
					.site_count = world->site_count};
}
