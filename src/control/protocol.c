/* SPDX-License-Identifier: Apache-2.0 */
#include "control/protocol.h"

#include "base/memory.h"
#include "base/text.h"

#include <string.h>

static int append_chunk(const char *chunk, size_t length, void *context)
{
	buffer_append(context, chunk, length);
	return 0;
}

/* Takes over `line`. */
static void put_line(struct buffer *bytes, json_t *line)
{
	int failed = json_dump_callback(line, append_chunk, bytes, JSON_COMPACT);
	ASSERT(!failed);
	json_decref(line);
	buffer_putc(bytes, '\n');
	must_succeed(bytes->status);
}

void protocol_put_request(struct buffer *bytes, const char *verb, const json_t *parameters)
{
	put_line(bytes, json_pack("{s:s, s:O}", "verb", verb, "parameters", parameters));
}

void protocol_put_data(struct buffer *bytes, const json_t *data)
{
	put_line(bytes, json_pack("{s:O}", "data", data));
}

void protocol_put_error(struct buffer *bytes, const struct error *error)
{
	/* A sentence that was cut to fit, or that quotes what a peer sent, may not be UTF-8. */
	char text[sizeof(error->text)];
	size_t length = strnlen(error->text, sizeof(error->text));
	for (size_t at = 0, step; at < length; at += step) {
		step = text_utf8_step(error->text + at, length - at);
		memcpy(text + at, step ? error->text + at : "?", step ? step : 1);
		step = step ? step : 1;
	}
	put_line(bytes, json_pack("{s:{s:s, s:s%}}", "error", "code", error_name(error->code),
				  "text", text, length));
}

/* One JSON object, nothing after it, no key twice, and not nested beyond reason (jansson's own
 * limit is 2,048 levels). */
static int parse_object(const char *line, size_t length, const char *what, json_t **ret_object,
			struct error *err)
{
	json_error_t fault;
	json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, &fault);
	if (!object)
		return error_set(err, -FL_EINVALID, "the %s is not JSON: %s at column %d", what,
				 fault.text, fault.column);
	if (!json_is_object(object)) {
		json_decref(object);
		return error_set(err, -FL_EINVALID, "the %s is not a JSON object", what);
	}
	*ret_object = object;
	return 0;
}

int protocol_parse_request(const char *line, size_t length, const struct command **ret_command,
			   json_t **ret_parameters, struct error *err)
{
	json_t *request = NULL;
	int result = parse_object(line, length, "request", &request, err);
	if (result < 0)
		return result;

	const char *key;
	json_t *value;
	json_object_foreach (request, key, value) {
		if (strcmp(key, "verb") != 0 && strcmp(key, "parameters") != 0) {
			result = error_set(err, -FL_EUSAGE,
					   "the request has an unknown key \"%.64s\": it takes "
					   "\"verb\" and \"parameters\"",
					   key);
			goto out;
		}
	}
	const char *verb = json_string_value(json_object_get(request, "verb"));
	if (!verb) {
		result = error_set(err, -FL_EUSAGE, "the request names no \"verb\"");
		goto out;
	}
	const struct command *command = command_find(verb);
	if (!command || command->place != COMMAND_DAEMON) {
		result =
		    error_set(err, -FL_EUSAGE,
			      "there is no verb \"%.64s\": who asks is of another release than "
			      "this daemon; restart it",
			      verb);
		goto out;
	}
	json_t *parameters = json_object_get(request, "parameters");
	parameters = parameters ? json_incref(parameters) : json_object();
	result = command_check(command, parameters, err);
	if (result < 0) {
		json_decref(parameters);
		goto out;
	}
	*ret_command = command;
	*ret_parameters = parameters;
out:
	json_decref(request);
	return result;
}

/* The negative code that error_name() gave `name` for. */
static int code_of(const char *name)
{
#define X(id, value, text)                                                                         \
	if (strcmp(name, #id) == 0)                                                                \
		return -(id);
	ERROR_CODES(X)
#undef X
	for (int code = 1; code < 200; code++) {
		const char *known = strerrorname_np(code);
		if (known && strcmp(name, known) == 0)
			return -code;
	}
	return -EPROTO;
}

int protocol_parse_answer(const char *line, size_t length, json_t **ret_data, struct error *err)
{
	json_t *answer = NULL;
	int result = parse_object(line, length, "daemon's answer", &answer, err);
	if (result < 0)
		return result;
	json_t *data = json_object_get(answer, "data");
	const json_t *error = json_object_get(answer, "error");
	if (data) {
		*ret_data = json_incref(data);
	} else if (error) {
		const char *name = json_string_value(json_object_get(error, "code"));
		const char *text = json_string_value(json_object_get(error, "text"));
		result = error_set(err, code_of(name ? name : ""), "%s",
				   text && *text ? text : "the daemon refused and did not say why");
	} else {
		result = error_set(err, -EPROTO, "the daemon's answer has neither data nor error");
	}
	json_decref(answer);
	return result;
}
