/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/verbs.h"

#include "fabric/driver.h"
#include "plan/plan.h"

#include <string.h>

api_handler_fn *verb_handler(const struct command *command)
{
	static api_handler_fn *const handlers[COMMAND_VERB_COUNT] = {
#define X(name) [VERB_##name] = verb_##name,
	    COMMAND_VERBS(X)
#undef X
	};
	ASSERT(command->verb != VERB_NONE);
	return handlers[command->verb];
}

static int live_versions(const struct daemon *daemon, const struct service_state *state,
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
		version->connections_known = driver_connections(
		    daemon->driver, state, status->number, &version->connections, NULL);
	}
	return 0;
}

int verbs_live_service(const struct daemon *daemon, const struct image_service *service,
		       struct arena *arena, struct plan_live_service *ret_live)
{
	const struct service_state *state = service->state;
	struct plan_live_service live = {
	    .name = state->name,
	    .current = state->removed ? NULL : image_version(service, state->rollout.target),
	    .next_version = state->next_version};
	int result = live_versions(daemon, state, arena, &live);
	if (result == 0)
		*ret_live = live;
	return result;
}
