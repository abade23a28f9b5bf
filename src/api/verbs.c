/* SPDX-License-Identifier: Apache-2.0 */
#include "api/verbs.h"

#include "base/error.h"

#include <string.h>

/* Services and backends are named by a bare name too, never by a thing of another kind. */
static int check_name(const struct api_call *call, const char *key, struct error *err)
{
	const char *text = api_text(call, key);
	const char *name = text && strcmp(key, "service") == 0 ? api_service(call) : text;
	if (!name || !strchr(name, '/'))
		return 0;
	return error_set(err, -FL_EUSAGE, "\"%s\" is no %s: `%s` takes its name", text, key,
			 call->command->name);
}

void api_begin(struct api_host *host, struct api_call *call)
{
	struct error err;
	static api_handler_fn *const handlers[COMMAND_VERB_COUNT] = {
#define X(name) [VERB_##name] = verb_##name,
	    COMMAND_VERBS(X)
#undef X
	};
	ASSERT(call->command->verb != VERB_NONE);
	if (check_name(call, "service", &err) < 0 || check_name(call, "backend", &err) < 0) {
		api_fail(call, &err);
		return;
	}
	if (host->pass_on && host->pass_on(host->context, call))
		return;
	handlers[call->command->verb](host, call);
}
