/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of the local API's verbs: verbs_apply.c for files, verbs_change.c for the others
 * that write, verbs_show.c for those that read. */
#ifndef FAIRLEAD_API_VERBS_H
#define FAIRLEAD_API_VERBS_H

#include "api/call.h"
#include "api/host.h"

struct arena;
struct image_service;
struct plan_live_service;

#define X(name) api_handler_fn verb_##name;
COMMAND_VERBS(X)
#undef X

/* What plan_build() wants to know of a service that has a state; lives in `arena`. */
must_check int verbs_live_service(const struct api_host *host, const struct image_service *service,
				  struct arena *arena, struct plan_live_service *ret_live);

#endif
