/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line of the local API, from anybody who can open the socket. A request that is taken is written
 * in a form that is taken again and says the same; one that is not is refused with a sentence that
 * can be sent back. The same bytes as an answer are shown in every form.
 */
#include "control/protocol.h"
#include "control/render.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void require(bool truth)
{
	if (!truth)
		abort();
}

static void check_same(const struct command *command, const json_t *parameters)
{
	struct buffer line;
	const struct command *again;
	json_t *read;
	require(command_check(command, parameters, NULL) == 0);
	buffer_init(&line, 0);
	protocol_put_request(&line, command->name, parameters);
	require(memchr(line.data, '\n', line.length) == line.data + line.length - 1);
	require(protocol_parse_request(line.data, line.length - 1, &again, &read, NULL) == 0);
	require(again == command && json_equal(parameters, read));
	json_decref(read);
	buffer_done(&line);
}

static void check_refusal(const struct error *refusal)
{
	struct buffer line;
	struct error err = {0};
	json_t *data;
	require(*refusal->text);
	buffer_init(&line, 0);
	protocol_put_error(&line, refusal);
	require(protocol_parse_answer(line.data, line.length - 1, &data, &err) == refusal->code);
	buffer_done(&line);
}

static void check_request(const char *line, size_t length)
{
	const struct command *command;
	json_t *parameters;
	struct error err = {0};
	int result = protocol_parse_request(line, length, &command, &parameters, &err);
	if (result < 0) {
		require(err.code == result);
		check_refusal(&err);
		return;
	}
	check_same(command, parameters);
	json_decref(parameters);
}

/* No text of an answer may steer the terminal: without colour there is no control character but
 * the line end. What comes from the daemon ready to print is exempt. */
static void check_shown(const struct command *command, const struct buffer *text)
{
	static const char *const ready[] = {"plan",     "apply", "rollback",
					    "validate", "get",   "store recover"};
	for (size_t i = 0; i < sizeof(ready) / sizeof(ready[0]); i++) {
		if (strcmp(ready[i], command->name) == 0)
			return;
	}
	for (size_t i = 0; i < text->length; i++) {
		unsigned char byte = (unsigned char)text->data[i];
		require(byte == '\n' || (byte >= 0x20 && byte != 0x7f));
	}
}

static void check_render(const json_t *data, const char *kind)
{
	json_t *parameters = json_pack("{s:s*}", "kind", kind);
	const struct render_style plain = {.color = false};
	for (const struct command *command = command_table; command->name; command++) {
		for (int output = OUTPUT_TABLE; output <= OUTPUT_YAML; output++) {
			const struct invocation invocation = {.command = command,
							      .parameters = parameters,
							      .output =
								  (enum command_output)output};
			struct buffer text;
			buffer_init(&text, 0);
			render_answer(&invocation, data, &plain, &text);
			require(text.status == 0);
			if (output == OUTPUT_TABLE)
				check_shown(command, &text);
			buffer_done(&text);
		}
	}
	json_decref(parameters);
}

static void check_answer(const char *line, size_t length)
{
	json_t *data;
	struct error err = {0};
	int result = protocol_parse_answer(line, length, &data, &err);
	require(result == 0 || *err.text);
	if (result < 0)
		return;
	/* What `get` shows depends on what it was asked for. */
	static const char *const kinds[] = {"services", "versions", "backends", "bindings",
					    "pools",    "sites",    "nodes",    NULL};
	check_render(data, kinds[length % (sizeof(kinds) / sizeof(kinds[0]))]);
	json_decref(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	check_request((const char *)bytes, length);
	check_answer((const char *)bytes, length);
	return 0;
}
