/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/edge_plane.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/digest.h"
#include "base/growth.h"
#include "base/memory.h"
#include "base/search.h"
#include "daemon/landing/landing_plane.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* When one address was last seen busy. */
struct watched {
	struct ip_address address;
	uint64_t new_flows;
	uint64_t packets;
	uint64_t new_flow_ms;
	uint64_t packet_ms;
	bool wanted; /* still bound; scratch of edge_plane_sample() */
};

#define INTERFERENCE_TOLD_MS 60000u

struct edge_plane {
	uv_thread_t
	    opener; /* opens `edge`, and ends with it; joined before anything else is done */
	bool is_opening;
	int opened; /* what came of it */
	struct error open_error;
	struct edge *edge;
	struct landing_plane *landing; /* that shares interfaces; NULL: none does */
	const struct daemon_options *options;
	const struct clock *clock;
	const char *site;
	bool attached;
	uv_poll_t poll;
	uv_timer_t heartbeat;
	int open_handles;
	struct watched *watched; /* sorted by address */
	size_t watched_count;
	struct activity *activity; /* of those, as it was at the last sample */
	size_t activity_count;
	struct digest published; /* of what the maps say */
	bool has_published;
	struct alarm alarm; /* next hops are not followed */
	uint64_t interfered_ms; /* when `interference` was last found */
	struct alarm interference;
	struct growth too_big, icmp_too_big; /* drops */
	struct growth passed;
	struct edge_plane_growth grown;
};

static void follow(struct edge_plane *plane)
{
	struct error err = {0};
	if (edge_drain_netlink(plane->edge, &err) == 0) {
		alarm_end(&plane->alarm);
		edge_heartbeat(plane->edge);
	} else {
		(void)ALARM_SET(&plane->alarm, clock_now_ms(plane->clock), EDGE_NEXT_HOPS,
				plane->options->node, err.text);
	}
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	follow(poll->data);
}

static void on_heartbeat(uv_timer_t *timer)
{
	follow(timer->data);
}

static int yield(void *context, const char *interface, struct error *err)
{
	const struct edge_plane *plane = context;
	return plane->landing ? landing_plane_yield(plane->landing, interface, err) : 0;
}

void edge_plane_share(struct edge_plane *plane, struct landing_plane *landing)
{
	plane->landing = landing;
}

static void open_edge(void *context)
{
	struct edge_plane *plane = context;
	const struct daemon_options *options = plane->options;
	const struct edge_options edge_options = {.pin_root = options->edge_pins,
						  .interfaces = options->interfaces,
						  .interface_count = options->interface_count,
						  .shared = options->underlays,
						  .shared_count = options->underlay_count,
						  .yield = yield,
						  .yield_context = plane,
						  .own_calls = true,
						  .lands_here = options->backend,
						  .force_generic = options->generic,
						  .source_v4 = options->source_v4,
						  .source_v6 = options->source_v6,
						  .clock = plane->clock};
	plane->opened = edge_open(&edge_options, &plane->edge, &plane->open_error);
}

int edge_plane_new(const struct daemon_options *options, const struct clock *clock,
		   struct edge_plane **ret_plane, struct error *err)
{
	struct edge_plane *plane = must_alloc(1, sizeof(*plane));
	plane->options = options;
	plane->clock = clock;
	plane->site = options->site;
	int result = uv_thread_create(&plane->opener, open_edge, plane);
	if (result < 0) {
		free(plane);
		return error_set(err, result, "cannot start a thread: %s", uv_strerror(result));
	}
	plane->is_opening = true;
	*ret_plane = plane;
	return 0;
}

static void wait_for_edge(struct edge_plane *plane)
{
	if (plane->is_opening)
		uv_thread_join(&plane->opener);
	plane->is_opening = false;
}

int edge_plane_start(struct edge_plane *plane, uv_loop_t *loop, struct error *err)
{
	wait_for_edge(plane);
	if (plane->opened < 0) {
		*err = plane->open_error;
		return plane->opened;
	}
	plane->poll.data = plane;
	plane->heartbeat.data = plane;
	uv_poll_init(loop, &plane->poll, edge_fd(plane->edge));
	uv_poll_start(&plane->poll, UV_READABLE, on_readable);
	uv_timer_init(loop, &plane->heartbeat);
	uv_timer_start(&plane->heartbeat, on_heartbeat, 0, EDGE_HEARTBEAT_MS);
	plane->open_handles = 2;
	return 0;
}

static void on_closed(uv_handle_t *handle)
{
	struct edge_plane *plane = handle->data;
	plane->open_handles--;
}

void edge_plane_free(struct edge_plane *plane)
{
	if (!plane)
		return;
	wait_for_edge(plane);
	if (plane->open_handles) {
		uv_close((uv_handle_t *)&plane->poll, on_closed);
		uv_close((uv_handle_t *)&plane->heartbeat, on_closed);
	}
	while (plane->open_handles)
		uv_run(plane->poll.loop, UV_RUN_NOWAIT);
	edge_close(plane->edge);
	free(plane->watched);
	free(plane->activity);
	free(plane);
}

/* --- image → desired --- */

/* Everything edge_publish() borrows, built anew for each publication. */
struct wanted {
	struct arena arena;
	struct edge_pool *pools;
	size_t pool_count;
	struct edge_binding *bindings;
	size_t binding_count;
};

/* Those of the file, and those that are leaving. */
static void want_pools(struct wanted *wanted, const struct image *image)
{
	const struct placement *placement = image->placement;
	uint8_t held = placement_held_pools(image->states, image->state_count);
	wanted->pools = must_have(
	    arena_array(&wanted->arena, placement->pool_count + 1, sizeof(*wanted->pools)));
	for (size_t i = 0; i < placement->pool_count; i++) {
		const struct placed_pool *placed = &placement->pools[i];
		if (placed->removed && !(held >> i & 1))
			continue;
		wanted->pools[wanted->pool_count++] = (struct edge_pool){
		    .prefix = placed->pool.prefix, .site_bits = placed->pool.site_bits};
	}
}

static const struct edge_version *
convert_version(struct wanted *wanted, const struct version *version, const struct ring *ring)
{
	struct arena *arena = &wanted->arena;
	struct edge_version *edge = must_have(arena_alloc(arena, sizeof(*edge)));
	struct edge_port *ports =
	    must_have(arena_array(arena, version->port_count, sizeof(*ports)));
	struct edge_backend *backends =
	    must_have(arena_array(arena, version->backend_count, sizeof(*backends)));
	for (size_t i = 0; i < version->port_count; i++)
		ports[i] = (struct edge_port){.low = version->ports[i].first,
					      .high = version->ports[i].last,
					      .protocol = version->ports[i].protocol,
					      .quic = version->ports[i].quic};
	for (size_t i = 0; i < version->backend_count; i++)
		backends[i].address = version->backends[i].address;
	*edge = (struct edge_version){.digest = version->digest,
				      .service = version->service,
				      .number = version->number,
				      .ports = ports,
				      .port_count = version->port_count,
				      .algorithm = version->algorithm,
				      .by_source = version->balance_by == BALANCE_SOURCE,
				      .backends = backends,
				      .backend_count = version->backend_count,
				      .ring_length = ring->length,
				      .ring = ring->entries};
	memcpy(edge->seed, version->seed, sizeof(edge->seed));
	return edge;
}

/* DNS does not answer this address any more, whoever still uses it is late. */
static bool binding_is_late(const struct service_state *state, const struct binding *binding)
{
	if (binding->is_late)
		return true;
	const struct version_status *status = service_version(state, binding->version);
	ASSERT(status);
	return status->state == VERSION_DRAINING || status->state == VERSION_CLOSING;
}

static int want_service(struct wanted *wanted, const struct edge_plane *plane,
			const struct image *image, const struct image_service *service,
			struct error *err)
{
	const struct service_state *state = service->state;
	const struct edge_version *converted = NULL;
	for (size_t i = 0; i < state->binding_count; i++) {
		const struct binding *binding = &state->bindings[i];
		const struct version *version = image_version(service, binding->version);
		const struct ring *ring = version ? version_ring(version, plane->site) : NULL;
		if (!ring)
			return error_set(err, -FL_ECORRUPT,
					 "version %s/%u has no ring for site %s: is --site right?",
					 service->name, binding->version, plane->site);
		if (!converted || converted->number != binding->version)
			converted = convert_version(wanted, version, ring);
		wanted->bindings[wanted->binding_count++] = (struct edge_binding){
		    .address = placement_address(image->placement, binding, plane->site),
		    .version = converted,
		    .number = binding->number,
		    .refuse_new = binding->refusing,
		    .late = binding_is_late(state, binding)};
	}
	return 0;
}

static int want_all(struct wanted *wanted, const struct edge_plane *plane,
		    const struct image *image, struct error *err)
{
	int result = 0;
	size_t bindings = 1;
	for (size_t i = 0; i < image->state_count; i++)
		bindings += image->states[i]->binding_count;
	wanted->bindings =
	    must_have(arena_array(&wanted->arena, bindings, sizeof(*wanted->bindings)));
	if (image->placement)
		want_pools(wanted, image);
	for (size_t i = 0; i < image->service_count && result == 0; i++) {
		if (image->services[i]->state)
			result = want_service(wanted, plane, image, image->services[i], err);
	}
	return result;
}

/* What the maps are to say, in short. Versions never change, so their digests stand for them, and
 * those of their ejections for what is left out of their rings. */
static struct digest desired_digest(const struct edge_desired *desired)
{
	struct digest digest;
	struct buffer bytes;
	buffer_init(&bytes, 0);
	for (size_t i = 0; i < desired->pool_count; i++) {
		const struct edge_pool *pool = &desired->pools[i];
		const uint8_t sizes[] = {pool->prefix.address.family, pool->prefix.length,
					 pool->site_bits};
		buffer_append(&bytes, pool->prefix.address.bytes,
			      sizeof(pool->prefix.address.bytes));
		buffer_append(&bytes, sizes, sizeof(sizes));
	}
	for (size_t i = 0; i < desired->binding_count; i++) {
		const struct edge_binding *binding = &desired->bindings[i];
		const uint8_t flags[] = {binding->address.family, binding->refuse_new,
					 binding->late};
		buffer_append(&bytes, binding->address.bytes, sizeof(binding->address.bytes));
		buffer_append(&bytes, binding->version->digest.bytes, DIGEST_BYTES);
		buffer_append(&bytes, binding->version->ejections.bytes, DIGEST_BYTES);
		buffer_append(&bytes, &binding->number, sizeof(binding->number));
		buffer_append(&bytes, flags, sizeof(flags));
	}
	must_succeed(bytes.status);
	digest_of(bytes.data ? bytes.data : "", bytes.length, &digest);
	buffer_done(&bytes);
	return digest;
}

/* Publish and attach, unless this process has published just that: most entries of the ledger
 * change what DNS answers, not what is forwarded. */
static int publish(struct edge_plane *plane, const struct edge_desired *desired, struct error *err)
{
	const struct digest digest = desired_digest(desired);
	if (plane->attached && plane->has_published &&
	    memcmp(digest.bytes, plane->published.bytes, DIGEST_BYTES) == 0)
		return 0;
	plane->has_published = false;
	int result = edge_publish(plane->edge, desired, err);
	if (result < 0)
		return result;
	plane->published = digest;
	plane->has_published = true;
	if (!plane->attached) {
		result = edge_attach(plane->edge, err);
		plane->attached = result == 0;
	}
	return result;
}

bool edge_plane_forwards(const struct edge_plane *plane)
{
	return edge_is_forwarding(plane->edge);
}

int edge_plane_mark(struct edge_plane *plane, const struct mark_note *note, struct error *err)
{
	const struct edge_mark mark = {.sequence = note->position.sequence,
				       .digest = note->position.digest,
				       .has_peers = note->has_peers};
	return edge_mark_set(plane->edge, &mark, err);
}

int edge_plane_publish(struct edge_plane *plane, const struct image *image, struct error *err)
{
	const struct image_unread *unread = image_unread_meaning(image);
	char text[IMAGE_UNREAD_TEXT];
	if (unread)
		return error_set(
		    err, -FL_EUNSUPPORTED,
		    "what addresses mean is not known here: %s. What is forwarded stays "
		    "as it is; upgrade this node",
		    image_unread_text(unread, text));
	struct wanted wanted = {0};
	arena_init(&wanted.arena, 0);
	int result = want_all(&wanted, plane, image, err);
	const struct edge_desired desired = {.pools = wanted.pools,
					     .pool_count = wanted.pool_count,
					     .bindings = wanted.bindings,
					     .binding_count = wanted.binding_count};
	if (result == 0)
		result = publish(plane, &desired, err);
	arena_done(&wanted.arena);
	return result;
}

int edge_plane_await(struct edge_plane *plane, const struct image *image, struct error *err)
{
	struct wanted wanted = {0};
	if (!image->placement || image_unread_meaning(image))
		return 0;
	arena_init(&wanted.arena, 0);
	want_pools(&wanted, image);
	const struct edge_desired desired = {.pools = wanted.pools,
					     .pool_count = wanted.pool_count};
	int result = publish(plane, &desired, err);
	arena_done(&wanted.arena);
	return result;
}

int edge_plane_pass(struct edge_plane *plane, const struct edge_passing *passing, struct error *err)
{
	return edge_set_passing(plane->edge, passing, err);
}

int edge_plane_passes(const struct edge_plane *plane, struct edge_passes *ret_passes)
{
	return edge_passes(plane->edge, ret_passes);
}

/* The first address of a version that clients are still sent to, of which the maps know nothing. */
static const struct edge_binding *find_missing(const struct edge_plane *plane,
					       const struct edge_desired *desired)
{
	for (size_t i = 0; i < desired->binding_count; i++) {
		const struct edge_binding *binding = &desired->bindings[i];
		if (!binding->late && !binding->refuse_new &&
		    !edge_holds(plane->edge, &binding->address, &binding->version->digest))
			return binding;
	}
	return NULL;
}

int edge_plane_keep(const struct edge_plane *plane, const struct image *image, struct error *err)
{
	char text[IP_TEXT_BYTES];
	struct wanted wanted = {0};
	arena_init(&wanted.arena, 0);
	int result = want_all(&wanted, plane, image, err);
	const struct edge_desired desired = {.bindings = wanted.bindings,
					     .binding_count = wanted.binding_count};
	const struct edge_binding *missing = result == 0 ? find_missing(plane, &desired) : NULL;
	if (missing)
		result = error_set(
		    err, -FL_EUNAVAILABLE,
		    "this machine forwards by a newer state than the one here, in which %s is not "
		    "version %s/%llu, and goes on so; DNS is not answered",
		    ip_address_format(&missing->address, text), missing->version->service,
		    (unsigned long long)missing->version->number);
	arena_done(&wanted.arena);
	return result;
}

/* NULL: clients are not sent to the address, or the maps know what it means. */
static const struct version *lacked_version(const struct edge_plane *plane,
					    const struct image *image,
					    const struct image_service *service,
					    const struct binding *binding)
{
	const struct version_status *status = service_version(service->state, binding->version);
	const struct version *version = image_version(service, binding->version);
	if (!status || status->state != VERSION_SERVING || !version)
		return NULL;
	const struct ip_address address = placement_address(image->placement, binding, plane->site);
	return edge_holds(plane->edge, &address, &version->digest) ? NULL : version;
}

bool edge_plane_lacks(const struct edge_plane *plane, const struct image *image, struct error *err)
{
	for (size_t i = 0; i < image->service_count; i++) {
		const struct image_service *service = image->services[i];
		for (size_t b = 0; service->state && b < service->state->binding_count; b++) {
			const struct version *lacked =
			    lacked_version(plane, image, service, &service->state->bindings[b]);
			if (!lacked)
				continue;
			error_set(err, -FL_EUNAVAILABLE, "its maps could not take version %s/%llu",
				  service->name, (unsigned long long)lacked->number);
			return true;
		}
	}
	return false;
}

const char *edge_plane_detached(const struct edge_plane *plane)
{
	return edge_detached(plane->edge);
}

struct held_list {
	struct recovery_held *items;
	size_t count;
};

static void count_held(void *context, const struct ip_address *address,
		       const struct digest *version)
{
	struct held_list *list = context;
	if (list->items)
		list->items[list->count] =
		    (struct recovery_held){.address = *address, .version = *version};
	list->count++;
}

bool edge_plane_held(const struct edge_plane *plane, struct arena *arena,
		     struct recovery_knowledge *ret_knowledge)
{
	struct held_list list = {0};
	if (!edge_each_held(plane->edge, count_held, &list))
		return false;
	list.items = must_have(arena_array(arena, list.count + 1, sizeof(*list.items)));
	list.count = 0;
	(void)edge_each_held(plane->edge, count_held, &list);
	ret_knowledge->has_held = true;
	ret_knowledge->held = list.items;
	ret_knowledge->held_count = list.count;
	return true;
}

/* --- activity --- */

static int compare_watched(const void *watched, size_t place, const void *address)
{
	const struct watched *list = watched;
	return ip_address_compare(&list[place].address, address);
}

/* The place of an address among those watched, whether it is there or not. */
static size_t find_place(const struct edge_plane *plane, const struct ip_address *address,
			 bool *ret_found)
{
	return search_place(plane->watched, plane->watched_count, address, compare_watched,
			    ret_found);
}

static struct watched *watch(struct edge_plane *plane, const struct ip_address *address,
			     uint64_t now_ms)
{
	bool found;
	size_t at = find_place(plane, address, &found);
	if (found)
		return &plane->watched[at];
	struct watched *list = must_grow(plane->watched, plane->watched_count + 1, sizeof(*list));
	plane->watched = list;
	memmove(list + at + 1, list + at, (plane->watched_count - at) * sizeof(*list));
	plane->watched_count++;
	list[at] =
	    (struct watched){.address = *address, .new_flow_ms = now_ms, .packet_ms = now_ms};
	return &list[at];
}

static void sample_one(struct edge_plane *plane, const struct ip_address *address, uint64_t now_ms)
{
	struct edge_counters counters;
	struct watched *watched = watch(plane, address, now_ms);
	watched->wanted = true;
	if (edge_counters(plane->edge, address, &counters) < 0)
		return;
	if (counters.new_flows != watched->new_flows)
		watched->new_flow_ms = now_ms;
	if (counters.packets != watched->packets)
		watched->packet_ms = now_ms;
	watched->new_flows = counters.new_flows;
	watched->packets = counters.packets;
}

static void note_activity(struct edge_plane *plane, uint64_t now_ms)
{
	struct activity *activity =
	    must_grow(plane->activity, plane->watched_count + 1, sizeof(*activity));
	plane->activity_count = 0;
	plane->activity = activity;
	for (size_t i = 0; i < plane->watched_count; i++) {
		const struct watched *watched = &plane->watched[i];
		activity[plane->activity_count++] =
		    (struct activity){.address = watched->address,
				      .new_flow_ago_ms = now_ms - watched->new_flow_ms,
				      .packet_ago_ms = now_ms - watched->packet_ms};
	}
}

void edge_plane_sample(struct edge_plane *plane, const struct image *image, uint64_t now_ms)
{
	if (!plane->attached)
		return; /* what is forwarded now is counted by an earlier process's maps */
	for (size_t i = 0; i < plane->watched_count; i++)
		plane->watched[i].wanted = false;
	for (size_t s = 0; s < image->state_count; s++) {
		const struct service_state *state = image->states[s];
		for (size_t b = 0; b < state->binding_count; b++) {
			struct ip_address address =
			    placement_address(image->placement, &state->bindings[b], plane->site);
			sample_one(plane, &address, now_ms);
		}
	}
	size_t kept = 0;
	for (size_t i = 0; i < plane->watched_count; i++) {
		if (plane->watched[i].wanted)
			plane->watched[kept++] = plane->watched[i];
	}
	plane->watched_count = kept;
	note_activity(plane, now_ms);
}

const struct activity *edge_plane_activity(const struct edge_plane *plane, size_t *ret_count)
{
	*ret_count = plane->activity_count;
	return plane->activity;
}

int edge_plane_counters(const struct edge_plane *plane, const struct ip_address *address,
			struct edge_counters *ret_counters)
{
	return edge_counters(plane->edge, address, ret_counters);
}

int edge_plane_unreached(const struct edge_plane *plane, struct ip_address **ret_addresses,
			 size_t *ret_count)
{
	return edge_unreached(plane->edge, ret_addresses, ret_count);
}

int edge_plane_drops(const struct edge_plane *plane, uint64_t ret_drops[DROP_REASONS])
{
	return edge_drops(plane->edge, ret_drops);
}

int edge_plane_status(struct edge_plane *plane, struct edge_status *ret_status)
{
	return edge_status(plane->edge, ret_status);
}

const char *edge_plane_own_calls_problem(const struct edge_plane *plane)
{
	return edge_own_calls_problem(plane->edge);
}

const struct alarm *edge_plane_alarm(const struct edge_plane *plane)
{
	return &plane->alarm;
}

uint32_t edge_plane_path_mtu(const struct edge_plane *plane, const struct ip_address *backend)
{
	return edge_path_mtu(plane->edge, backend);
}

struct edge_plane_growth edge_plane_growth(const struct edge_plane *plane)
{
	return plane->grown;
}

static void watch_drops(struct edge_plane *plane, uint64_t now_ms)
{
	uint64_t drops[DROP_REASONS];
	struct edge_passes passes;
	if (edge_drops(plane->edge, drops) < 0 || edge_passes(plane->edge, &passes) < 0)
		return;
	plane->grown.passed = growth_look(&plane->passed, now_ms, passes.passed);
	plane->grown.too_big = growth_look(&plane->too_big, now_ms, drops[DROP_TOO_BIG]);
	plane->grown.icmp_too_big =
	    growth_look(&plane->icmp_too_big, now_ms, drops[DROP_ICMP_TOO_BIG]);
}

bool edge_plane_check(struct edge_plane *plane, uint64_t now_ms)
{
	edge_hear_routers(plane->edge);
	watch_drops(plane, now_ms);
	char text[sizeof(((struct edge_selfcheck *)NULL)->text) + 48];
	char rest[48] = "";
	struct edge_selfcheck check;
	struct alarm *alarm = &plane->interference;
	if (edge_selfcheck(plane->edge, &check, NULL) < 0 || check.repaired + check.standing == 0)
		return false;
	unsigned more = check.repaired + check.standing - 1;
	if (more > 0)
		snprintf(rest, sizeof(rest), " (and %u more such)", more);
	snprintf(text, sizeof(text), "%s%s", check.text, rest);
	if (!edge_plane_interference(plane, now_ms))
		alarm_end(alarm);
	const char *node = plane->options->node;
	bool is_new = check.standing > 0 ? ALARM_SET(alarm, now_ms, EDGE_INTERFERENCE, node, text)
					 : ALARM_SET(alarm, now_ms, EDGE_SET_BACK, node, text);
	plane->interfered_ms = now_ms;
	return is_new || check.repaired > 0;
}

const struct alarm *edge_plane_interference(const struct edge_plane *plane, uint64_t now_ms)
{
	bool lately = now_ms - plane->interfered_ms < INTERFERENCE_TOLD_MS;
	return lately && alarm_stands(&plane->interference) ? &plane->interference : NULL;
}
