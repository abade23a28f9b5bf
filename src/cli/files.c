/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/files.h"

#include "base/arena.h"
#include "base/file.h"
#include "base/memory.h"
#include "config/config.h"
#include "yaml/findings.h"
#include "yaml/yaml.h"

#include <stdlib.h>
#include <string.h>

/* "-" would name nothing in a message. */
static const char *shown_name(const char *path)
{
	return strcmp(path, "-") == 0 ? "standard input" : path;
}

/* JSON carries UTF-8 only, and no NUL. The configuration's own reader knows best how to say where
 * a file is something else. */
static int explain_bytes(const char *name, const struct buffer *bytes, struct error *err)
{
	struct arena arena;
	struct fabric *fabric;
	struct findings *findings = must_alloc(1, sizeof(*findings));
	arena_init(&arena, 0);
	int result =
	    must_succeed(config_parse(bytes->data, bytes->length, name, &arena, &fabric, findings));
	if (result == -FL_EINVALID)
		findings_error(findings, err);
	else
		result = error_set(err, -FL_EINVALID, "%s: not UTF-8 text", name);
	arena_done(&arena);
	free(findings);
	return result;
}

static int attach_text(const char *name, const struct buffer *bytes, json_t *parameters,
		       struct error *err)
{
	const char *data = bytes->data ? bytes->data : "";
	json_t *text = memchr(data, '\0', bytes->length) ? NULL : json_stringn(data, bytes->length);
	if (!text)
		return explain_bytes(name, bytes, err);
	json_object_set_new(parameters, "file", json_string(name));
	json_object_set_new(parameters, "text", text);
	return 0;
}

static int attach(const struct command_argument *argument, json_t *parameters, struct error *err)
{
	const char *path = json_string_value(json_object_get(parameters, argument->name));
	struct buffer bytes;
	if (!path)
		return 0;
	buffer_init(&bytes, YAML_MAX_BYTES);
	int result = must_succeed(file_read(path, &bytes, err));
	if (result == 0)
		result = attach_text(shown_name(path), &bytes, parameters, err);
	buffer_done(&bytes);
	return result;
}

int files_attach(const struct invocation *invocation, json_t **ret_parameters, struct error *err)
{
	json_t *parameters = json_copy(invocation->parameters);
	int result = 0;
	for (const struct command_argument *argument = invocation->command->arguments;
	     argument->name && result == 0; argument++) {
		if (argument->value == VALUE_FILE)
			result = attach(argument, parameters, err);
	}
	if (result < 0)
		json_decref(parameters);
	else
		*ret_parameters = parameters;
	return result;
}
