/* SPDX-License-Identifier: Apache-2.0 */
#include "api/verbs.h"

#include "fabric/driver.h"
#include "plan/plan.h"

#include <string.h>

static int live_versions(const struct api_host *host, const struct service_state *state,
			 struct arena *arena, struct plan_live_service *live)
{
	struct plan_live_version *versions =
	    arena_array(arena, state->version_count + 1, sizeof(*versions));
	if (!versions)
		return -ENOMEM;
	live->versions = versions;
	for (size_t i = 0; i < state->version_count; i++) {
		const struct version_status *status = &state->versions[i];
		if (status->state == VERSION_RETIRED)
			continue;
		struct plan_live_version *version = &versions[live->version_count++];
		version->number = status->number;
		version->state = version_state_name(status->state);
		version->connections_known = driver_connections(host->driver, state, status->number,
								&version->connections, NULL);
	}
	return 0;
}

int verbs_live_service(const struct api_host *host, const struct image_service *service,
		       struct arena *arena, struct plan_live_service *ret_live)
{
	const struct service_state *state = service->state;
	struct plan_live_service live = {
	    .name = state->name,
	    .current = state->removed ? NULL : image_version(service, state->rollout.target),
	    .next_version = state->next_version};
	int result = live_versions(host, state, arena, &live);
	if (result == 0)
		*ret_live = live;
	return result;
}
