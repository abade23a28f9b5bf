/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of the local API's verbs: verbs_apply.c for files, verbs_change.c for the others
 * that write, verbs_show.c for those that read. */
#ifndef FAIRLEAD_API_VERBS_H
#define FAIRLEAD_API_VERBS_H

#include "api/call.h"
#include "api/host.h"

#define X(name) api_handler_fn verb_##name;
COMMAND_VERBS(X)
#undef X

/* `rollback` of a service that was removed: what its removal changed of it is undone. False: it was
 * not removed. */
bool verb_undo_removal(struct api_host *host, struct api_call *call);

/* Give the call to its command's handler. */
void api_begin(struct api_host *host, struct api_call *call);

#endif
