/* SPDX-License-Identifier: Apache-2.0 */
/* `fairlead detach`: the counterpart of `run`, without a daemon. */
#include "base/log.h"
#include "daemon/daemon.h"
#include "dataplane/edge.h"
#include "landing/landing.h"

#include <stdio.h>
#include <unistd.h>

/* A backend's landing is undone from what its state folder remembers. */
static int undo_landing(const char *pin_folder, const char *state_folder, struct error *err)
{
	const struct landing_options options = {.pin_root = pin_folder,
						.state_folder = state_folder};
	struct landing *landing;
	int result = landing_open(&options, &landing, err);
	return result < 0 ? result : landing_close(landing, LANDING_UNDO, err);
}

int daemon_detach(const json_t *parameters, struct error *err)
{
	struct arena arena;
	const char *pin_folder;
	const char *state_folder;
	char landing_folder[4096];
	arena_init(&arena, 0);
	int result = daemon_folders_parse(parameters, &arena, &pin_folder, &state_folder);
	if (result == 0) {
		snprintf(landing_folder, sizeof(landing_folder), "%s/landing", state_folder);
		if (access(landing_folder, F_OK) == 0)
			result = undo_landing(pin_folder, landing_folder, err);
		else
			result = edge_remove(pin_folder, err);
	}
	if (result == 0)
		log_event(LOG_LEVEL_INFO, "detached", "pins", pin_folder, NULL);
	arena_done(&arena);
	return result;
}
