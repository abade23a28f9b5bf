/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of the local API's verbs: verbs_apply.c for files, verbs_change.c for the others
 * that write, verbs_show.c for those that read, landing_api.c for what landings say. */
#ifndef FAIRLEAD_DAEMON_VERBS_H
#define FAIRLEAD_DAEMON_VERBS_H

#include "daemon/api.h"
#include "daemon/daemon.h"

struct arena;
struct image_service;
struct plan_live_service;

/* Of a command that the protocol lets through. */
api_handler_fn *verb_handler(const struct command *command);

#define X(name) api_handler_fn verb_##name;
COMMAND_VERBS(X)
#undef X

/* What plan_build() wants to know of a service that has a state; lives in `arena`. */
must_check int verbs_live_service(const struct daemon *daemon, const struct image_service *service,
				  struct arena *arena, struct plan_live_service *ret_live);

#endif
