/* SPDX-License-Identifier: Apache-2.0 */
#include "control/render.h"

#include "base/error.h"
#include "base/memory.h"
#include "control/render_parts.h"

#include <string.h>

static int append_chunk(const char *chunk, size_t length, void *context)
{
	buffer_append(context, chunk, length);
	return 0;
}

static void put_json(const json_t *data, size_t flags, struct buffer *text)
{
	int failed =
	    json_dump_callback(data, append_chunk, text,
			       flags | JSON_REAL_PRECISION(RENDER_REAL_DIGITS) | JSON_ENCODE_ANY);
	ASSERT(!failed);
	buffer_putc(text, '\n');
}

static void put_json_lines(const json_t *data, struct buffer *text)
{
	if (!json_is_array(data)) {
		put_json(data, JSON_COMPACT, text);
		return;
	}
	for (size_t i = 0; i < json_array_size(data); i++)
		put_json(json_array_get(data, i), JSON_COMPACT, text);
}

/* `get` without a kind answers with the configuration as a file. */
static const char *file_of(const struct invocation *invocation, const json_t *data)
{
	if (strcmp(invocation->command->name, "get") != 0)
		return NULL;
	return json_string_value(json_object_get(data, "file"));
}

void render_error(const struct invocation *invocation, const struct error *error,
		  struct buffer *text)
{
	if (invocation->output == OUTPUT_TABLE) {
		/* Findings in a file carry their own place, and editors want it first in the line.
		 */
		bool is_file = error->code == -FL_EINVALID && strchr(error->text, '\n');
		buffer_puts(text, is_file ? "" : "fairlead: ");
		buffer_puts(text, error->text);
		buffer_puts(text, is_file
				      ? "\nfairlead: the file is not valid; nothing was changed\n"
				      : "\n");
		return;
	}
	/* The text may quote what is no UTF-8. */
	json_t *sentence = json_string(error->text);
	json_t *json = json_pack("{s:{s:s, s:o}}", "error", "code", error_name(error->code), "text",
				 sentence ? sentence : json_string(error_text(error->code)));
	put_json(json, invocation->output == OUTPUT_JSONL ? JSON_COMPACT : JSON_INDENT(2), text);
	json_decref(json);
}

void render_answer(const struct invocation *invocation, const json_t *data,
		   const struct render_style *style, struct buffer *text)
{
	const struct render render = {
	    .invocation = invocation, .color = style->color, .width = style->width, .text = text};
	const char *file = file_of(invocation, data);
	switch (invocation->output) {
	case OUTPUT_TABLE:
		if (file)
			buffer_puts(text, file);
		else if (invocation->command->render)
			invocation->command->render(&render, data);
		else
			render_thing(&render, invocation->command->thing, data);
		break;
	case OUTPUT_YAML:
		/* A series of items is a series of documents. */
		if (invocation->command->streams)
			buffer_puts(text, "---\n");
		if (file)
			buffer_puts(text, file);
		else
			render_yaml(data, text);
		break;
	case OUTPUT_JSON:
		put_json(data, JSON_INDENT(2), text);
		break;
	case OUTPUT_JSONL:
		put_json_lines(data, text);
		break;
	}
	must_succeed(text->status);
}
