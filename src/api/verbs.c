/* SPDX-License-Identifier: Apache-2.0 */
#include "api/verbs.h"

void api_begin(struct api_host *host, struct api_call *call)
{
	static api_handler_fn *const handlers[COMMAND_VERB_COUNT] = {
#define X(name) [VERB_##name] = verb_##name,
	    COMMAND_VERBS(X)
#undef X
	};
	ASSERT(call->command->verb != VERB_NONE);
	handlers[call->command->verb](host, call);
}
