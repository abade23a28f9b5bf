/* SPDX-License-Identifier: Apache-2.0 */
#include "api/call.h"

#include <string.h>

const json_t *api_parameters(const struct api_call *call)
{
	return call->parameters;
}

const char *api_text(const struct api_call *call, const char *key)
{
	return json_string_value(json_object_get(call->parameters, key));
}

static const char *without_kind(const char *text, const char *kind)
{
	size_t length = strlen(kind);
	return text && strncmp(text, kind, length) == 0 ? text + length : text;
}

const char *api_service(const struct api_call *call)
{
	return without_kind(api_text(call, "service"), "service/");
}

const char *api_version(const struct api_call *call)
{
	return without_kind(api_text(call, "version"), "version/");
}

bool api_all(const struct api_call *call)
{
	return json_is_true(json_object_get(call->parameters, "all"));
}

const char *api_who(const struct api_call *call, char who[API_WHO_BYTES])
{
	call->transport->who(call, who);
	return who;
}

void api_succeed(struct api_call *call, json_t *data)
{
	struct error err;
	if (data) {
		call->transport->end(call, data, NULL);
	} else {
		error_set(&err, -EILSEQ, "%s", API_NO_ANSWER);
		call->transport->end(call, NULL, &err);
	}
	json_decref(data);
}

void api_fail(struct api_call *call, const struct error *error)
{
	call->transport->end(call, NULL, error);
}

void api_follow(struct api_call *call)
{
	call->transport->follow(call);
}
