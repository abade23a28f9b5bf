/* SPDX-License-Identifier: Apache-2.0 */
/* What the driver sees: what the model is told, and what status and orders ask of it. */
#include "fabric/driver_internal.h"

struct sights driver_sights(const struct driver *driver)
{
	return (struct sights){.image = driver->options.image,
			       .observations = driver->options.observations,
			       .reports = driver->options.reports,
			       .now_ms = clock_now_ms(driver->options.clock)};
}

static struct binding_observation observe_binding(const struct driver *driver,
						  const struct sights *sights,
						  const struct service_state *state,
						  const struct binding *binding)
{
	struct binding_observation observation = {
	    .applied_by_all_ms = merge_applied_for_ms(sights, binding->sequence)};
	merge_activity(sights, binding, &observation);
	(void)merge_connections(sights, state, binding, &observation);
	if (driver->options.unsafe) {
		observation.connections_known = true;
		observation.connections = 0;
		observation.closing_counted = binding->refusing;
		observation.closing_connections = 0;
	}
	return observation;
}

struct binding_observation driver_observe(const struct driver *driver,
					  const struct service_state *state,
					  const struct binding *binding)
{
	const struct sights sights = driver_sights(driver);
	return observe_binding(driver, &sights, state, binding);
}

struct connection_sum driver_connections(const struct driver *driver,
					 const struct service_state *state, uint32_t version)
{
	const struct sights sights = driver_sights(driver);
	struct connection_sum all = {.known = true};
	for (size_t i = 0; i < state->binding_count; i++) {
		if (state->bindings[i].version != version)
			continue;
		struct binding_observation observation = {0};
		struct connection_sum sum =
		    merge_connections(&sights, state, &state->bindings[i], &observation);
		all.known = all.known && sum.known;
		all.count += sum.count;
		all.silent = sum.silent ? sum.silent : all.silent;
		all.cookies = sum.cookies ? sum.cookies : all.cookies;
	}
	return all;
}

static bool has_udp(const struct version *version)
{
	for (size_t i = 0; version && i < version->port_count; i++) {
		if (version->ports[i].protocol == SERVICE_UDP)
			return true;
	}
	return false;
}

/* Idleness is the barrier of the whole service when one of its versions has a UDP port. */
static bool service_has_udp(const struct image_service *known, const struct service_state *state)
{
	bool udp = false;
	for (size_t i = 0; i < state->version_count && !udp; i++)
		udp = state->versions[i].state != VERSION_RETIRED &&
		      has_udp(image_version(known, state->versions[i].number));
	return udp;
}

enum driver_usage driver_usage(const struct driver *driver, const struct service_state *state,
			       const struct binding *binding)
{
	const struct image *image = driver->options.image;
	const struct binding_observation seen = driver_observe(driver, state, binding);
	if (!seen.connections_known)
		return DRIVER_UNKNOWN;
	if (seen.connections)
		return DRIVER_USED;
	if (!service_has_udp(image_service(image, state->name), state))
		return DRIVER_IDLE;
	return !seen.packets_known                                     ? DRIVER_UNKNOWN
	       : seen.packet_ago_ms < image->fabric->settings.quiet_ms ? DRIVER_USED
								       : DRIVER_IDLE;
}

struct placement_moment driver_moment(const struct driver *driver, const struct sights *sights)
{
	return (struct placement_moment){
	    .wall_ms = clock_wall_ms(driver->options.steady),
	    .quarantine_ms = sights->image->fabric->settings.quarantine_ms,
	    .names_removed_ms = removed_names_ms(&sights->image->removed),
	    .applied_sequence = merge_applied(sights)};
}

/* A service that left the file keeps the policy of one step until it is gone. */
static const struct rollout_policy whole_at_once = {.shares = {SHARE_WHOLE}, .share_count = 1};

/* One whose configuration cannot be read here takes none. */
static const struct rollout_policy no_step = {
    .shares = {SHARE_WHOLE}, .share_count = 1, .pause_ms = UINT64_MAX};

size_t driver_find_waits(const struct driver *driver, const struct sights *sights,
			 const struct image_service *known, struct gate_wait *ret_waits,
			 size_t room)
{
	const struct rollout_state *rollout = &known->state->rollout;
	const struct version_status *target = service_version(known->state, rollout->target);
	const struct version *version = image_version(known, rollout->target);
	if (!target || !version ||
	    (target->state != VERSION_STAGED && target->state != VERSION_READY))
		return 0;
	return gate_find(sights, driver->options.landings, version, ret_waits, room);
}

size_t driver_waits(const struct driver *driver, const struct service_state *state,
		    struct gate_wait *ret_waits, size_t room)
{
	const struct sights sights = driver_sights(driver);
	return driver_find_waits(driver, &sights, image_service(sights.image, state->name),
				 ret_waits, room);
}

/* Only what is to go asks whether its slot is needed. */
static bool holds_slots_to_give(const struct service_state *state)
{
	for (size_t i = 0; i < state->version_count; i++) {
		enum version_state is = state->versions[i].state;
		if (is == VERSION_DRAINING || is == VERSION_CLOSING)
			return true;
	}
	for (size_t i = 0; i < state->binding_count; i++) {
		if (state->bindings[i].is_late)
			return true;
	}
	return false;
}

static uint8_t leaving_pools(const struct placement *placement)
{
	uint8_t leaving = 0;
	for (size_t i = 0; i < placement->pool_count; i++) {
		if (placement->pools[i].removed)
			leaving |= (uint8_t)(1u << i);
	}
	return leaving;
}

int driver_look_around(const struct driver *driver, struct arena *arena, struct look *ret_look)
{
	const struct sights sights = driver_sights(driver);
	const struct image *image = sights.image;
	*ret_look = (struct look){.sights = sights,
				  .moment = driver_moment(driver, &sights),
				  .leaving_pools = leaving_pools(image->placement),
				  .everyone_is_heard = !merge_unheard(&sights)};
	int result = merge_wants(&sights, arena, &ret_look->wants);
	if (result == 0)
		placement_find_shortage(image->placement, image->fabric, &ret_look->wants,
					image->states, image->state_count, &ret_look->moment,
					&ret_look->shortage);
	return result;
}

/* The pools in which a slot of the service is wanted: it finds none itself, or an order finds too
 * few. That most have slots to spare for anybody is found out once per revision, since it takes a
 * look at every binding. */
static uint8_t wanted_pools(struct driver *driver, const struct look *look,
			    const struct service_state *state)
{
	const struct image *image = driver->options.image;
	if (!holds_slots_to_give(state))
		return 0;
	if (driver->roomy_revision != image->revision) {
		driver->has_room_for_all = placement_has_room_for_all(
		    image->placement, image->fabric, image->states, image->state_count);
		driver->roomy_revision = image->revision;
	}
	uint8_t wanted =
	    placement_wanted(image->placement, image->fabric, &look->shortage, state->index,
			     image->states, image->state_count, &look->moment);
	if (!driver->has_room_for_all)
		wanted |= placement_exhausted(image->placement, image->fabric, state->index,
					      image->states, image->state_count, &look->moment);
	return wanted;
}

int driver_see_settings(struct driver *driver, const struct look *look,
			const struct image_service *known, struct arena *arena,
			struct service_sight *ret_sight)
{
	const struct service_state *state = known->state;
	const struct service *service = known->configured;
	const struct settings *settings = &look->sights.image->fabric->settings;
	struct service_sight sight = {
	    .versions = arena_array(arena, state->version_count + 1, sizeof(*sight.versions)),
	    .bindings = arena_array(arena, state->binding_count + 1, sizeof(*sight.bindings))};
	if (!sight.versions || !sight.bindings)
		return -ENOMEM;
	for (size_t i = 0; i < state->version_count; i++) {
		const struct version_status *status = &state->versions[i];
		if (status->state == VERSION_DRAINING)
			sight.versions[i].answered_ago_ms =
			    merge_unanswered_ms(&look->sights, status->changed_sequence);
	}
	sight.seen =
	    (struct service_observation){.wall_ms = look->moment.wall_ms,
					 .quiet_ms = settings->quiet_ms,
					 .stale_ms = settings->stale_ms,
					 .report_interval_ms = settings->report_interval_ms,
					 .drain_limit_ms = service ? service->drain_limit_ms : 0,
					 .exhausted_pools = wanted_pools(driver, look, state),
					 .leaving_pools = look->leaving_pools,
					 .policy = known->unread & IMAGE_UNREAD_CONFIG ? &no_step
						   : service ? &service->rollout
							     : &whole_at_once,
					 .everyone_is_heard = look->everyone_is_heard,
					 .versions = sight.versions,
					 .bindings = sight.bindings};
	*ret_sight = sight;
	return 0;
}

void driver_see_rest(const struct driver *driver, const struct look *look,
		     const struct image_service *known, bool waits, struct service_sight *sight)
{
	const struct service_state *state = known->state;
	for (size_t i = 0; i < state->version_count; i++) {
		const struct version_status *status = &state->versions[i];
		if (status->state == VERSION_RETIRED)
			continue;
		sight->versions[i].held = !(known->unread & IMAGE_UNREAD_CONFIG) &&
					  merge_is_held(&look->sights, status->sequence);
		sight->versions[i].waits = waits && status->number == state->rollout.target;
	}
	sight->seen.has_udp = service_has_udp(known, state);
	for (size_t i = 0; i < state->binding_count; i++)
		sight->bindings[i] =
		    observe_binding(driver, &look->sights, state, &state->bindings[i]);
}

bool driver_is_driven(const struct image_service *service)
{
	return service->state && !(service->unread & IMAGE_UNREAD_VERSION);
}
