/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/edge_plane.h"

#include "base/clock.h"

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

struct edge_plane {
	struct edge *edge;
	const struct clock *clock;
	const char *site;
	bool attached;
	uv_poll_t poll;
	uv_timer_t heartbeat;
	int open_handles;
	struct watched *watched;
	size_t watched_count;
	char alarm[512];
};

static void follow(struct edge_plane *plane)
{
	struct error err = {0};
	if (edge_drain_netlink(plane->edge, &err) == 0) {
		plane->alarm[0] = '\0';
		edge_heartbeat(plane->edge);
	} else {
		snprintf(plane->alarm, sizeof(plane->alarm),
			 "next hops are not followed, the kernel's routes are asked instead: "
			 "%.400s",
			 err.text);
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

int edge_plane_new(const struct daemon_options *options, uv_loop_t *loop, const struct clock *clock,
		   struct edge_plane **ret_plane, struct error *err)
{
	struct edge_plane *plane = calloc(1, sizeof(*plane));
	if (!plane)
		return error_set(err, -ENOMEM, "out of memory");
	const struct edge_options edge_options = {.pin_root = options->edge_pins,
						  .interfaces = options->interfaces,
						  .interface_count = options->interface_count,
						  .force_generic = options->generic,
						  .source_v4 = options->source_v4,
						  .source_v6 = options->source_v6,
						  .clock = clock};
	int result = edge_open(&edge_options, &plane->edge, err);
	if (result < 0) {
		free(plane);
		return result;
	}
	plane->clock = clock;
	plane->site = options->site;
	plane->poll.data = plane;
	plane->heartbeat.data = plane;
	uv_poll_init(loop, &plane->poll, edge_fd(plane->edge));
	uv_poll_start(&plane->poll, UV_READABLE, on_readable);
	uv_timer_init(loop, &plane->heartbeat);
	uv_timer_start(&plane->heartbeat, on_heartbeat, 0, EDGE_HEARTBEAT_MS);
	plane->open_handles = 2;
	*ret_plane = plane;
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
	uv_loop_t *loop = plane->poll.loop;
	uv_close((uv_handle_t *)&plane->poll, on_closed);
	uv_close((uv_handle_t *)&plane->heartbeat, on_closed);
	while (plane->open_handles)
		uv_run(loop, UV_RUN_NOWAIT);
	edge_close(plane->edge);
	free(plane->watched);
	free(plane);
}

/* --- image → desired --- */

/* Everything edge_publish() borrows, built anew for each publication. */
struct draft {
	struct arena arena;
	struct edge_pool *pools;
	size_t pool_count;
	struct edge_binding *bindings;
	size_t binding_count;
};

static int draft_pools(struct draft *draft, const struct placement *placement)
{
	draft->pools = arena_array(&draft->arena, placement->pool_count + 1, sizeof(*draft->pools));
	if (!draft->pools)
		return -ENOMEM;
	for (size_t i = 0; i < placement->pool_count; i++) {
		const struct placed_pool *placed = &placement->pools[i];
		if (placed->removed)
			continue;
		draft->pools[draft->pool_count++] = (struct edge_pool){
		    .prefix = placed->pool.prefix, .site_bits = placed->pool.site_bits};
	}
	return 0;
}

static int convert_version(struct draft *draft, const struct version *version,
			   const struct ring *ring, const struct edge_version **ret_version)
{
	struct edge_version *edge = arena_alloc(&draft->arena, sizeof(*edge));
	struct edge_port *ports = arena_array(&draft->arena, version->port_count, sizeof(*ports));
	struct edge_backend *backends =
	    arena_array(&draft->arena, version->backend_count, sizeof(*backends));
	if (!edge || !ports || !backends)
		return -ENOMEM;
	for (size_t i = 0; i < version->port_count; i++)
		ports[i] = (struct edge_port){.low = version->ports[i].first,
					      .high = version->ports[i].last,
					      .protocol = version->ports[i].protocol,
					      .quic = version->ports[i].quic};
	for (size_t i = 0; i < version->backend_count; i++)
		backends[i].address = version->backends[i].address;
	/* With one backend that takes flows, the model has no second candidate for any entry; the
	 * edge says the same by repeating the first. */
	bool alone = ring->second[0] == RING_NONE;
	*edge = (struct edge_version){.digest = version->digest,
				      .service = version->service,
				      .number = version->number,
				      .ports = ports,
				      .port_count = version->port_count,
				      .algorithm = version->algorithm,
				      .backends = backends,
				      .backend_count = version->backend_count,
				      .ring_length = ring->length,
				      .first = ring->first,
				      .second = alone ? ring->first : ring->second};
	memcpy(edge->seed, version->seed, sizeof(edge->seed));
	*ret_version = edge;
	return 0;
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

static int draft_service(struct draft *draft, const struct edge_plane *plane,
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
		if (!converted || converted->number != binding->version) {
			int result = convert_version(draft, version, ring, &converted);
			if (result < 0)
				return result;
		}
		draft->bindings[draft->binding_count++] = (struct edge_binding){
		    .address = placement_address(image->placement, binding, plane->site),
		    .version = converted,
		    .number = binding->number,
		    .refuse_new = binding->refusing,
		    .late = binding_is_late(state, binding)};
	}
	return 0;
}

static int draft_all(struct draft *draft, const struct edge_plane *plane, const struct image *image,
		     struct error *err)
{
	size_t bindings = 1;
	for (size_t i = 0; i < image->state_count; i++)
		bindings += image->states[i]->binding_count;
	draft->bindings = arena_array(&draft->arena, bindings, sizeof(*draft->bindings));
	if (!draft->bindings)
		return -ENOMEM;
	int result = image->placement ? draft_pools(draft, image->placement) : 0;
	for (size_t i = 0; i < image->service_count && result == 0; i++) {
		if (image->services[i]->state)
			result = draft_service(draft, plane, image, image->services[i], err);
	}
	return result;
}

int edge_plane_publish(struct edge_plane *plane, const struct image *image, struct error *err)
{
	/* Invariant 6: a store that holds no configuration may be one that was lost. It is no order
	 * to withdraw what an earlier daemon published. */
	if (!image->fabric && edge_is_forwarding(plane->edge))
		return error_set(
		    err, -FL_EUNAVAILABLE,
		    "the store holds no configuration, but this machine forwards "
		    "packets by an earlier one, and goes on unchanged. Stop the daemon "
		    "and put the store back; or apply the configuration, which begins "
		    "anew and breaks the flows that are there");
	struct draft draft = {0};
	arena_init(&draft.arena, 0);
	int result = draft_all(&draft, plane, image, err);
	if (result == -ENOMEM)
		error_set(err, result, "out of memory");
	const struct edge_desired desired = {.pools = draft.pools,
					     .pool_count = draft.pool_count,
					     .bindings = draft.bindings,
					     .binding_count = draft.binding_count};
	if (result == 0)
		result = edge_publish(plane->edge, &desired, err);
	if (result == 0 && !plane->attached) {
		result = edge_attach(plane->edge, err);
		plane->attached = result == 0;
	}
	arena_done(&draft.arena);
	return result;
}

/* --- activity --- */

static struct watched *find_watched(const struct edge_plane *plane,
				    const struct ip_address *address)
{
	for (size_t i = 0; i < plane->watched_count; i++) {
		if (ip_address_equal(&plane->watched[i].address, address))
			return &plane->watched[i];
	}
	return NULL;
}

static struct watched *watch(struct edge_plane *plane, const struct ip_address *address,
			     uint64_t now_ms)
{
	struct watched *list = realloc(plane->watched, (plane->watched_count + 1) * sizeof(*list));
	if (!list)
		return NULL;
	plane->watched = list;
	struct watched *watched = &list[plane->watched_count++];
	*watched =
	    (struct watched){.address = *address, .new_flow_ms = now_ms, .packet_ms = now_ms};
	return watched;
}

static void sample_one(struct edge_plane *plane, const struct ip_address *address, uint64_t now_ms)
{
	struct edge_counters counters;
	struct watched *watched = find_watched(plane, address);
	if (!watched)
		watched = watch(plane, address, now_ms);
	if (!watched)
		return;
	watched->wanted = true;
	if (edge_counters(plane->edge, address, &counters) < 0)
		return;
	/* Any difference is activity: the counts start anew when the maps are replaced. */
	if (counters.new_flows != watched->new_flows)
		watched->new_flow_ms = now_ms;
	if (counters.packets != watched->packets)
		watched->packet_ms = now_ms;
	watched->new_flows = counters.new_flows;
	watched->packets = counters.packets;
}

void edge_plane_sample(struct edge_plane *plane, const struct image *image, uint64_t now_ms)
{
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
	for (size_t i = 0; i < plane->watched_count; i++) {
		if (!plane->watched[i].wanted)
			plane->watched[i--] = plane->watched[--plane->watched_count];
	}
}

struct edge_activity edge_plane_activity(const struct edge_plane *plane,
					 const struct ip_address *address, uint64_t now_ms)
{
	const struct watched *watched = find_watched(plane, address);
	if (!watched)
		return (struct edge_activity){0};
	return (struct edge_activity){.new_flow_ago_ms = now_ms - watched->new_flow_ms,
				      .packet_ago_ms = now_ms - watched->packet_ms};
}

int edge_plane_counters(const struct edge_plane *plane, const struct ip_address *address,
			struct edge_counters *ret_counters)
{
	return edge_counters(plane->edge, address, ret_counters);
}

int edge_plane_drops(const struct edge_plane *plane, uint64_t ret_drops[DROP_REASONS])
{
	return edge_drops(plane->edge, ret_drops);
}

int edge_plane_status(struct edge_plane *plane, struct edge_status *ret_status)
{
	return edge_status(plane->edge, ret_status);
}

const char *edge_plane_alarm(const struct edge_plane *plane)
{
	return plane->alarm;
}
