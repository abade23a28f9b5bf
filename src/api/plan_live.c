/* SPDX-License-Identifier: Apache-2.0 */
#include "api/plan_live.h"

#include "api/show.h"
#include "base/memory.h"
#include "fabric/driver.h"
#include "state/publication.h"

#include <stdlib.h>
#include <string.h>

#define WAITS_TOLD 8u /* of a thousand backends that have not reported */

const struct fabric *plan_present(const struct image *image, const struct fabric *fabric,
				  struct arena *arena)
{
	size_t left = 0;
	for (size_t i = 0; image->fabric && i < image->service_count; i++) {
		const struct image_service *service = image->services[i];
		left += service->state && !service->state->removed && !service->configured &&
			!fabric_service(fabric, service->name);
	}
	if (!left)
		return image->fabric;
	struct fabric *present = must_have(arena_alloc(arena, sizeof(*present)));
	struct service *services =
	    must_have(arena_array(arena, image->fabric->service_count + left, sizeof(*services)));
	*present = *image->fabric;
	present->services = services;
	memcpy(services, image->fabric->services, present->service_count * sizeof(*services));
	for (size_t i = 0; i < image->service_count; i++) {
		const struct image_service *service = image->services[i];
		if (service->state && !service->state->removed && !service->configured &&
		    !fabric_service(fabric, service->name))
			services[present->service_count++] =
			    (struct service){.name = service->name};
	}
	must_succeed(fabric_index(present, arena));
	return present;
}

static void live_addresses(const struct api_host *host, const struct service_state *state,
			   struct arena *arena, struct plan_live_version *version)
{
	struct ip_address *addresses =
	    must_have(arena_array(arena, state->binding_count + 1, sizeof(*addresses)));
	version->addresses = addresses;
	for (size_t i = 0; i < state->binding_count; i++) {
		const struct binding *binding = &state->bindings[i];
		if (binding->version == version->number && !binding->is_late)
			addresses[version->address_count++] = show_own_address(host, binding);
	}
}

static void live_versions(const struct api_host *host, const struct service_state *state,
			  struct arena *arena, struct plan_live_service *live)
{
	struct plan_live_version *versions =
	    must_have(arena_array(arena, state->version_count + 1, sizeof(*versions)));
	uint64_t wall_ms = clock_wall_ms(host->steady);
	live->versions = versions;
	for (size_t i = 0; i < state->version_count; i++) {
		const struct version_status *status = &state->versions[i];
		if (status->state == VERSION_RETIRED)
			continue;
		struct plan_live_version *version = &versions[live->version_count++];
		struct connection_sum sum = driver_connections(host->driver, state, status->number);
		*version = (struct plan_live_version){.number = status->number,
						      .state = version_state_name(status->state),
						      .connections_known = sum.known,
						      .connections = sum.count,
						      .drains = status->state == VERSION_DRAINING,
						      .cut = status->cut};
		if (version->drains && wall_ms > status->changed_wall_ms)
			version->drained_ms = wall_ms - status->changed_wall_ms;
		live_addresses(host, state, arena, version);
	}
}

/* Whom the version that is to come would wait for, if it came now. */
static void live_waits(const struct api_host *host, const struct version *next, struct arena *arena,
		       struct plan_live_service *live)
{
	const struct sights sights = driver_sights(host->driver);
	struct gate_wait found[WAITS_TOLD];
	struct plan_wait *waits = must_have(arena_array(arena, WAITS_TOLD, sizeof(*waits)));
	char text[GATE_TEXT];
	live->waits = waits;
	live->waits_for = gate_find(&sights, NULL, next, found, WAITS_TOLD);
	live->wait_count = live->waits_for < WAITS_TOLD ? live->waits_for : WAITS_TOLD;
	for (size_t i = 0; i < live->wait_count; i++)
		waits[i] = (struct plan_wait){
		    .backend = found[i].backend->name,
		    .address = &found[i].backend->address,
		    .reason = gate_reason_name(found[i].reason),
		    .text = must_have(arena_strdup(arena, gate_text(&found[i], text)))};
}

static int compare_live(const void *a, const void *b)
{
	return strcmp(((const struct plan_live_service *)a)->name,
		      ((const struct plan_live_service *)b)->name);
}

struct plan_live_service *plan_live_services(const struct api_host *host, const struct apply *apply,
					     struct arena *arena, size_t *ret_count)
{
	struct plan_live_service *live =
	    must_have(arena_array(arena, apply->item_count + 1, sizeof(struct plan_live_service)));
	size_t count = 0;
	for (size_t i = 0; i < apply->item_count; i++) {
		const struct apply_item *item = &apply->items[i];
		const struct image_service *known = image_service(host->image, item->name);
		const struct service_state *state = known ? known->state : NULL;
		if (!known && !item->version)
			continue;
		struct plan_live_service *one = &live[count++];
		*one = (struct plan_live_service){.name = item->name,
						  .next = known ? item->version : NULL,
						  .next_version = item->number};
		if (known)
			one->next_version = publication_next_number(host->image, known);
		if (state && !state->removed)
			one->current = image_version(known, state->rollout.target);
		if (state)
			live_versions(host, state, arena, one);
		if (item->version)
			live_waits(host, item->version, arena, one);
	}
	qsort(live, count, sizeof(struct plan_live_service), compare_live);
	*ret_count = count;
	return live;
}
