/* SPDX-License-Identifier: Apache-2.0 */
/* `fairlead detach`: the counterpart of `run`, without a daemon. */
#include "base/log.h"
#include "daemon/daemon.h"
#include "daemon/options.h"
#include "daemon/routing_plane.h"
#include "dataplane/edge.h"
#include "landing/landing.h"

#include <stdio.h>
#include <unistd.h>

/* A backend's landing is undone from what its pins remember. */
static int undo_landing(const struct daemon_folders *folders, struct error *err)
{
	char former_sysctls[4096];
	const struct landing_options options = {.pin_root = folders->landing_pins,
						.former_sysctls = former_sysctls};
	struct landing *landing;
	snprintf(former_sysctls, sizeof(former_sysctls), "%s/landing/sysctls", folders->state);
	int result = landing_open(&options, &landing, err);
	return result < 0 ? result : landing_close(landing, LANDING_UNDO, err);
}

/* Who announces withdraws first: packets that still come would be lost. */
static int withdraw(const json_t *parameters, struct error *err)
{
	struct daemon_options options = {0};
	int result = daemon_options_announce(parameters, &options, err);
	return result == 0 && options.announces
		   ? routing_plane_detach(options.announce_table, options.announce_wait_s, err)
		   : result;
}

static int take_away(const struct daemon_folders *folders, bool edge, bool landing,
		     struct error *err)
{
	int result = edge ? edge_remove(folders->edge_pins, err) : 0;
	return result == 0 && landing ? undo_landing(folders, err) : result;
}

static int undo(const struct daemon_folders *folders, const json_t *parameters, struct error *err)
{
	bool edge = access(folders->edge_pins, F_OK) == 0;
	bool landing = access(folders->landing_pins, F_OK) == 0;
	if (!edge && !landing) {
		/* Done is done, also twice; but a mistyped --pins shall not look like success. */
		printf("nothing of fairlead's is pinned below %s\n", folders->pins);
		return 0;
	}
	int result = edge ? withdraw(parameters, err) : 0;
	if (result == 0)
		result = take_away(folders, edge, landing, err);
	if (result < 0)
		return result;
	(void)rmdir(folders->pins); /* unless something else lies there, or it is a mount point */
	log_event(LOG_LEVEL_INFO, "detached", "pins", folders->pins, "roles",
		  edge && landing ? "edge,backend"
		  : edge          ? "edge"
				  : "backend",
		  NULL);
	return 0;
}

int daemon_empty(const struct daemon_options *options, struct error *err)
{
	const struct daemon_folders folders = {.state = options->state_folder,
					       .edge_pins = options->edge_pins,
					       .landing_pins = options->landing_pins};
	int result = options->announces ? routing_plane_detach(options->announce_table,
							       options->announce_wait_s, err)
					: 0;
	if (result < 0)
		return result;
	return take_away(&folders, access(folders.edge_pins, F_OK) == 0,
			 access(folders.landing_pins, F_OK) == 0, err);
}

int daemon_detach(const json_t *parameters, struct error *err)
{
	struct arena arena;
	struct daemon_folders folders;
	arena_init(&arena, 0);
	daemon_folders_parse(parameters, &arena, &folders);
	int result = undo(&folders, parameters, err);
	arena_done(&arena);
	return result;
}
