/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/validate.h"

#include "base/arena.h"
#include "base/file.h"
#include "base/memory.h"
#include "config/config.h"
#include "yaml/findings.h"
#include "yaml/yaml.h"

#include <stdlib.h>
#include <string.h>

static json_t *answer_of(const struct findings *findings, const struct fabric *fabric)
{
	struct buffer text;
	buffer_init(&text, 0);
	if (fabric)
		config_capacity_render(fabric, &text);
	must_succeed(text.status);
	json_t *answer =
	    json_pack("{s:s, s:b, s:I, s:I, s:o, s:o, s:s}", "file", findings->file, "valid",
		      fabric != NULL, "errors", (json_int_t)findings->errors, "warnings",
		      (json_int_t)findings->warnings, "findings", findings_json(findings),
		      "capacity", fabric ? config_capacity_json(fabric) : json_array(), "text",
		      text.data ? text.data : "");
	buffer_done(&text);
	return answer;
}

static void validate_bytes(const char *name, const struct buffer *bytes, json_t **ret_answer,
			   struct buffer *messages)
{
	struct arena arena;
	struct fabric *fabric = NULL;
	struct findings *findings = must_alloc(1, sizeof(*findings));
	arena_init(&arena, 0);
	int result = must_succeed(config_parse(bytes->data ? bytes->data : "", bytes->length, name,
					       &arena, &fabric, findings));
	ASSERT(result == 0 || result == -FL_EINVALID);
	findings_render(findings, messages);
	must_succeed(messages->status);
	*ret_answer = answer_of(findings, result == 0 ? fabric : NULL);
	arena_done(&arena);
	free(findings);
}

int validate_file(const json_t *parameters, json_t **ret_answer, struct buffer *messages,
		  struct error *err)
{
	const char *path = json_string_value(json_object_get(parameters, "file"));
	struct buffer bytes;
	buffer_init(&bytes, YAML_MAX_BYTES);
	int result = must_succeed(file_read(path, &bytes, err));
	if (result == 0)
		validate_bytes(strcmp(path, "-") == 0 ? "standard input" : path, &bytes, ret_answer,
			       messages);
	buffer_done(&bytes);
	return result;
}
