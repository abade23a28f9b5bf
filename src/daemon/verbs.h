/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of the local API's verbs: verbs_apply.c for files, verbs_change.c for the others
 * that write, verbs_show.c for those that read, landing_api.c for what landings say. */
#ifndef FAIRLEAD_DAEMON_VERBS_H
#define FAIRLEAD_DAEMON_VERBS_H

#include "daemon/api.h"
#include "daemon/daemon.h"

struct arena;
struct plan_live_service;

api_handler_fn *verb_route(const struct command *command);

api_handler_fn verb_plan;
api_handler_fn verb_apply;
api_handler_fn verb_rollback;
api_handler_fn verb_rollout_pause;
api_handler_fn verb_rollout_resume;
api_handler_fn verb_rollout_cut;
api_handler_fn verb_backend_forget;

api_handler_fn verb_status;
api_handler_fn verb_get;
api_handler_fn verb_describe;
api_handler_fn verb_rollout_status;
api_handler_fn verb_log;
api_handler_fn verb_verify;
api_handler_fn verb_events;

api_handler_fn verb_landing_report;

/* What plan_build() wants to know of the live services; lives in `arena`. */
must_check int verbs_live_services(const struct daemon *daemon, struct arena *arena,
				   struct plan_live_service **ret_live, size_t *ret_count);

#endif
