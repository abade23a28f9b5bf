/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command table, the parser and the checks behind it; the local API's lines, whole and cut
 * short; tables and escapes. What answers look like is in tests/golden.
 */
#include "control/command.h"
#include "control/protocol.h"
#include "control/render.h"
#include "control/table.h"
#include "control/thing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* --- the command table --- */

static void table_is_whole(void **state)
{
	(void)state;
	for (const struct command *command = command_table; command->name; command++) {
		assert_ptr_equal(command_find(command->name), command);
		assert_true(*command->summary);
		assert_true(*command->description);
		assert_true(*command->examples);
		assert_int_equal(command->verb != VERB_NONE, command->place == COMMAND_DAEMON);
		for (const struct command *other = command_table; other != command; other++)
			assert_true(!command->verb || command->verb != other->verb);
		bool optional = false;
		for (size_t i = 0; command->arguments[i].name; i++) {
			assert_true(i < COMMAND_MAX_ARGUMENTS);
			/* Words are given to arguments in turn: none is needed after one that is
			 * not. */
			assert_false(optional && !command->arguments[i].optional);
			optional = command->arguments[i].optional;
		}
		for (const struct command_option *option = command->options; option && option->name;
		     option++)
			assert_int_equal(option->value == VALUE_NONE, !option->placeholder);
		/* What only shows takes no reason for the ledger. */
		assert_true(!command->repeatable || command->place == COMMAND_DAEMON ||
			    command->place == COMMAND_LAB);
	}
	assert_null(command_find("no such"));
	assert_null(command_find(""));
}

/* Whatever prints an answer says in its help what is in it. What `describe` prints is of the kind
 * that its argument names. */
static void every_answer_is_a_thing(void **state)
{
	(void)state;
	static const char *const OTHERS[] = {"init",   "join",     "run",
					     "detach", "lab exec", "describe"};
	for (const struct command *command = command_table; command->name; command++) {
		bool is_other = false;
		for (size_t i = 0; i < COUNT(OTHERS); i++)
			is_other = is_other || strcmp(command->name, OTHERS[i]) == 0;
		assert_int_equal(command->thing == NULL, is_other);
	}
}

/* A key is explained once, and whoever lists things says what an empty list is. */
static void assert_whole_thing(const struct thing *thing)
{
	bool has_columns = false;
	assert_true(*thing->help);
	for (const struct field *field = thing->fields; field->name; field++) {
		assert_true(field->help || field->heading);
		assert_true(!field->help || thing_field(thing, field->name) == field);
		assert_true(!field->thing || field->type == FIELD_THING ||
			    field->type == FIELD_THINGS);
		has_columns = has_columns || (field->heading && !field->outer);
		if (field->thing && field->help)
			assert_whole_thing(field->thing);
	}
	assert_true(!has_columns || thing->none);
}

static void things_are_whole(void **state)
{
	(void)state;
	for (const struct command *command = command_table; command->name; command++) {
		if (command->thing)
			assert_whole_thing(command->thing);
	}
	for (const struct thing *const *kind = thing_kinds; *kind; kind++)
		assert_whole_thing(*kind);
}

static void every_command_has_its_help(void **state)
{
	(void)state;
	for (const struct command *command = command_table; command->name; command++) {
		struct buffer text;
		buffer_init(&text, 0);
		command_help(command, NULL, &text);
		assert_non_null(strstr(text.data, command->name));
		assert_non_null(strstr(text.data, command->summary));
		for (const struct command_option *option = command->options; option && option->name;
		     option++)
			assert_non_null(strstr(text.data, option->help));
		buffer_done(&text);
	}
}

/* --- parsing --- */

static int parse(const char *const *words, struct invocation *invocation, struct error *err)
{
	char *argv[16] = {NULL};
	int argc = 0;
	argv[argc++] = (char *)(uintptr_t)"fairlead";
	for (; *words; words++)
		argv[argc++] = (char *)(uintptr_t)*words;
	return command_parse(argc, argv, invocation, err);
}

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void assert_json(const json_t *json, const char *wanted)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
	assert_string_equal(text, wanted);
	free(text);
}

static void parses(void **state)
{
	(void)state;
	static const struct {
		const char *words[8];
		const char *command;
		const char *parameters;
		enum command_output output;
	} GOOD[] = {
	    {{"status"}, "status", "{}", OUTPUT_TABLE},
	    {{"-o", "json", "status"}, "status", "{}", OUTPUT_JSON},
	    {{"status", "-ojsonl"}, "status", "{}", OUTPUT_JSONL},
	    {{"status", "--output=yaml"}, "status", "{}", OUTPUT_YAML},
	    {{"get"}, "get", "{}", OUTPUT_TABLE},
	    {{"get", "versions"}, "get", "{\"kind\":\"versions\"}", OUTPUT_TABLE},
	    {{"rollout", "status"}, "rollout status", "{}", OUTPUT_TABLE},
	    {{"rollout", "-o", "json", "cut", "web/1"},
	     "rollout cut",
	     "{\"version\":\"web/1\"}",
	     OUTPUT_JSON},
	    {{"apply", "--dry-run", "-"},
	     "apply",
	     "{\"dry_run\":true,\"file\":\"-\"}",
	     OUTPUT_TABLE},
	    {{"apply", "a", "--message", "--dry-run"},
	     "apply",
	     "{\"file\":\"a\",\"message\":\"--dry-run\"}",
	     OUTPUT_TABLE},
	    {{"apply", "a", "--message=a=b"},
	     "apply",
	     "{\"file\":\"a\",\"message\":\"a=b\"}",
	     OUTPUT_TABLE},
	    {{"apply", "a", "--message="},
	     "apply",
	     "{\"file\":\"a\",\"message\":\"\"}",
	     OUTPUT_TABLE},
	    {{"rollback", "--", "--help"}, "rollback", "{\"service\":\"--help\"}", OUTPUT_TABLE},
	    {{"log", "--from", "007"}, "log", "{\"from\":7}", OUTPUT_TABLE},
	    {{"run", "--interface", "a", "--interface=b", "--generic"},
	     "run",
	     "{\"generic\":true,\"interface\":[\"a\",\"b\"]}",
	     OUTPUT_TABLE},
	};
	for (size_t i = 0; i < COUNT(GOOD); i++) {
		struct invocation invocation;
		struct error err = {0};
		assert_int_equal(parse(GOOD[i].words, &invocation, &err), 0);
		assert_string_equal(invocation.command->name, GOOD[i].command);
		assert_int_equal(invocation.output, GOOD[i].output);
		assert_json(invocation.parameters, GOOD[i].parameters);
		invocation_done(&invocation);
	}
}

/* The sentences are in tests/golden/test_help.py. */
static void refuses(void **state)
{
	(void)state;
	static const char *const BAD[][4] = {
	    {"nothing"},
	    {"rollout"},
	    {"landing", "report"},
	    {"status", "web"},
	    {"apply"},
	    {"apply", "--dry-run=1", "a"},
	    {"status", "--no-color=1"},
	    {"status", "--"
		       "no-option-has-a-name-of-more-than-sixty-four-characters-but-this-one=1"},
	    {"log", "--limit", "1x"},
	    {"log", "--limit", " 1"},
	    {"get", "\xc3"},
	    {"apply", "a", "--watch"},
	};
	for (size_t i = 0; i < COUNT(BAD); i++) {
		struct invocation invocation;
		struct error err = {0};
		assert_int_equal(parse(BAD[i], &invocation, &err), -FL_EUSAGE);
		assert_int_equal(err.code, -FL_EUSAGE);
		assert_true(*err.text);
		invocation_done(&invocation);
	}
}

static void reads_the_environment(void **state)
{
	(void)state;
	static const struct {
		const char *socket;
		const char *no_color;
		const char *wanted;
		bool plain;
	} CASES[] = {
	    {"/a", "1", "/a", true},
	    {"", "", NULL, false},
	};
	for (size_t i = 0; i < COUNT(CASES); i++) {
		struct invocation invocation;
		setenv("FAIRLEAD_SOCKET", CASES[i].socket, 1);
		setenv("NO_COLOR", CASES[i].no_color, 1);
		assert_int_equal(parse(WORDS("status"), &invocation, NULL), 0);
		if (CASES[i].wanted)
			assert_string_equal(invocation.socket, CASES[i].wanted);
		else
			assert_null(invocation.socket);
		assert_int_equal(invocation.no_color, CASES[i].plain);
		invocation_done(&invocation);
	}
	unsetenv("FAIRLEAD_SOCKET");
	unsetenv("NO_COLOR");
}

/* --- requests --- */

static int read_request(const char *line, size_t length, struct error *err)
{
	const struct command *command = NULL;
	json_t *parameters = NULL;
	/* A copy of the exact length, so that reading past its end is seen. */
	char *copy = malloc(length ? length : 1);
	memcpy(copy, line, length);
	int result = protocol_parse_request(copy, length, &command, &parameters, err);
	assert_int_equal(result == 0, command && parameters);
	json_decref(parameters);
	free(copy);
	return result;
}

static void requests(void **state)
{
	(void)state;
	static const struct {
		const char *line;
		int result;
		const char *sentence;
	} CASES[] = {
	    {"{\"verb\":\"status\"}", 0, NULL},
	    {" {\"parameters\": {}, \"verb\": \"status\"} \r", 0, NULL},
	    {"{\"verb\":\"rollout status\",\"parameters\":{\"service\":\"web\"}}", 0, NULL},
	    {"{\"verb\":\"apply\",\"parameters\":{\"text\":\"\"}}", 0, NULL},
	    {"{\"verb\":\"apply\",\"parameters\":{\"text\":\"\",\"file\":\"a\",\"dry_run\":false}}",
	     0, NULL},
	    /* As landings of an earlier release have it. */
	    {"{\"verb\":\"landing report\"}", -FL_EUSAGE,
	     "there is no verb \"landing report\": who asks is of another release"},
	    {"", -FL_EINVALID, "the request is not JSON: "},
	    {"{}{}", -FL_EINVALID, "the request is not JSON: "},
	    {"{\"verb\":\"status\",\"verb\":\"status\"}", -FL_EINVALID,
	     "the request is not JSON: "},
	    {"{\"verb\":\"\\u0000\"}", -FL_EINVALID, "the request is not JSON: "},
	    {"{\"verb\":\"\xff\"}", -FL_EINVALID, "the request is not JSON: "},
	    {"[]", -FL_EINVALID, "the request is not a JSON object"},
	    {"{}", -FL_EUSAGE, "the request names no \"verb\""},
	    {"{\"verb\":7}", -FL_EUSAGE, "the request names no \"verb\""},
	    {"{\"verb\":\"status\",\"id\":1}", -FL_EUSAGE, "the request has an unknown key \"id\""},
	    {"{\"verb\":\"explode\"}", -FL_EUSAGE, "there is no verb \"explode\""},
	    /* Not the daemon's to do. */
	    {"{\"verb\":\"run\"}", -FL_EUSAGE, "there is no verb \"run\""},
	    {"{\"verb\":\"validate\",\"parameters\":{\"text\":\"\"}}", -FL_EUSAGE,
	     "there is no verb \"validate\""},
	    {"{\"verb\":\"status\",\"parameters\":null}", -FL_EUSAGE,
	     "\"parameters\" is not an object"},
	    {"{\"verb\":\"status\",\"parameters\":{\"a\":1}}", -FL_EUSAGE,
	     "`status` has no parameter \"a\""},
	    /* Only a file argument travels with a text. */
	    {"{\"verb\":\"rollback\",\"parameters\":{\"service\":\"a\",\"text\":\"\"}}", -FL_EUSAGE,
	     "`rollback` has no parameter \"text\""},
	    {"{\"verb\":\"apply\",\"parameters\":{\"file\":\"a\"}}", -FL_EUSAGE,
	     "`apply` needs the parameter \"text\""},
	    {"{\"verb\":\"rollback\"}", -FL_EUSAGE, "`rollback` needs the parameter \"service\""},
	    {"{\"verb\":\"rollback\",\"parameters\":{\"service\":7}}", -FL_EUSAGE,
	     "`rollback`: the parameter \"service\" has the wrong type"},
	    {"{\"verb\":\"log\",\"parameters\":{\"from\":-1}}", -FL_EUSAGE,
	     "`log`: the parameter \"from\" has the wrong type"},
	    {"{\"verb\":\"log\",\"parameters\":{\"from\":1.0}}", -FL_EUSAGE,
	     "`log`: the parameter \"from\" has the wrong type"},
	    {"{\"verb\":\"apply\",\"parameters\":{\"text\":\"\",\"dry_run\":1}}", -FL_EUSAGE,
	     "`apply`: the parameter \"dry_run\" has the wrong type"},
	};
	for (size_t i = 0; i < COUNT(CASES); i++) {
		struct error err = {0};
		assert_int_equal(read_request(CASES[i].line, strlen(CASES[i].line), &err),
				 CASES[i].result);
		if (CASES[i].sentence)
			assert_int_equal(
			    strncmp(err.text, CASES[i].sentence, strlen(CASES[i].sentence)), 0);
	}
}

static void requests_cut_short(void **state)
{
	(void)state;
	static const char line[] =
	    "{\"verb\":\"apply\",\"parameters\":{\"text\":\"\\u00e4\xc3\xa4\","
	    "\"file\":\"a\",\"message\":\"b\",\"dry_run\":true}}";
	assert_int_equal(read_request(line, strlen(line), NULL), 0);
	for (size_t length = 0; length < strlen(line); length++)
		assert_int_equal(read_request(line, length, NULL), -FL_EINVALID);
}

static void requests_nested_too_deep(void **state)
{
	(void)state;
	struct buffer line;
	buffer_init(&line, 0);
	for (int i = 0; i < 100000; i++)
		buffer_puts(&line, "{\"verb\":");
	assert_int_equal(read_request(line.data, line.length, NULL), -FL_EINVALID);
	buffer_done(&line);
}

static void lists_hold_texts(void **state)
{
	(void)state;
	const struct command *run = command_find("run");
	json_t *good = json_pack("{s:[s,s]}", "interface", "a", "b");
	json_t *bad = json_pack("{s:[s,i]}", "interface", "a", 1);
	json_t *none = json_pack("{s:{}}", "interface");
	struct error err = {0};
	assert_int_equal(command_check(run, good, &err), 0);
	assert_int_equal(command_check(run, bad, &err), -FL_EUSAGE);
	assert_int_equal(command_check(run, none, &err), -FL_EUSAGE);
	json_decref(good);
	json_decref(bad);
	json_decref(none);
}

static void request_and_back(void **state)
{
	(void)state;
	struct buffer line;
	const struct command *command;
	json_t *parameters = json_pack("{s:s}", "text",
				       "a\nb\xe2\x80\xa8"
				       "c");
	json_t *read;
	buffer_init(&line, 0);
	protocol_put_request(&line, "plan", parameters);
	/* One line, whatever is in it. */
	assert_ptr_equal(memchr(line.data, '\n', line.length), line.data + line.length - 1);
	assert_int_equal(protocol_parse_request(line.data, line.length - 1, &command, &read, NULL),
			 0);
	assert_string_equal(command->name, "plan");
	assert_true(json_equal(parameters, read));
	json_decref(parameters);
	json_decref(read);
	buffer_done(&line);
}

/* --- answers --- */

static void answer_and_back(void **state)
{
	(void)state;
	struct buffer line;
	json_t *data = json_pack("[i,n,{s:b}]", 1, "a", 1);
	json_t *read;
	buffer_init(&line, 0);
	protocol_put_data(&line, data);
	assert_int_equal(protocol_parse_answer(line.data, line.length - 1, &read, NULL), 0);
	assert_true(json_equal(data, read));
	json_decref(data);
	json_decref(read);
	buffer_done(&line);
}

static void every_error_and_back(void **state)
{
	(void)state;
	static const int CODES[] = {
#define X(name, code, text) -(name),
	    ERROR_CODES(X)
#undef X
		- ENOENT,
	    -ENOMEM,
	    -EADDRINUSE,
	};
	for (size_t i = 0; i < COUNT(CODES); i++) {
		struct buffer line;
		struct error sent;
		struct error err = {0};
		json_t *data;
		buffer_init(&line, 0);
		error_set(&sent, CODES[i], "sentence %zu", i);
		protocol_put_error(&line, &sent);
		assert_int_equal(protocol_parse_answer(line.data, line.length - 1, &data, &err),
				 CODES[i]);
		assert_string_equal(err.text, sent.text);
		buffer_done(&line);
	}
}

/* Sentences quote what peers send, and are cut where the buffer ends. */
static void error_that_is_not_utf8(void **state)
{
	(void)state;
	static const struct {
		const char *text;
		const char *shown;
	} CASES[] = {
	    {"a \xff b", "a ? b"},
	    {"cut \xc3", "cut ?"},
	    {"cut \xe2\x80", "cut ??"},
	    {"whole \xe2\x80\xa6", "whole \xe2\x80\xa6"},
	};
	for (size_t i = 0; i < COUNT(CASES); i++) {
		struct buffer line;
		struct error sent;
		struct error err = {0};
		json_t *data;
		buffer_init(&line, 0);
		error_set(&sent, -FL_EINVALID, "%s", CASES[i].text);
		protocol_put_error(&line, &sent);
		assert_int_equal(protocol_parse_answer(line.data, line.length - 1, &data, &err),
				 -FL_EINVALID);
		assert_string_equal(err.text, CASES[i].shown);
		buffer_done(&line);
	}
}

static void odd_answers(void **state)
{
	(void)state;
	static const struct {
		const char *line;
		int result;
	} CASES[] = {
	    {"", -FL_EINVALID},
	    {"[]", -FL_EINVALID},
	    {"{}", -EPROTO},
	    {"{\"error\":null}", -EPROTO},
	    {"{\"error\":{\"code\":\"UNKNOWN\",\"text\":\"a\"}}", -EPROTO},
	    {"{\"error\":{\"code\":\"OK\",\"text\":\"a\"}}", -EPROTO},
	    {"{\"error\":{\"code\":5}}", -EPROTO},
	};
	for (size_t i = 0; i < COUNT(CASES); i++) {
		struct error err = {0};
		json_t *data;
		assert_int_equal(
		    protocol_parse_answer(CASES[i].line, strlen(CASES[i].line), &data, &err),
		    CASES[i].result);
		assert_true(*err.text);
	}
}

/* --- tables --- */

static void assert_table(const struct table *table, unsigned indent, bool color, const char *wanted)
{
	struct buffer text;
	buffer_init(&text, 0);
	table_render(table, indent, 0, color, &text);
	assert_int_equal(text.status, 0);
	assert_string_equal(text.data ? text.data : "", wanted);
	buffer_done(&text);
}

static void table_aligns(void **state)
{
	(void)state;
	struct table table;
	table_init(&table, "A", "LONG", "LAST", NULL);
	assert_table(&table, 2, false, "");
	static const char *const cells[] = {"für", "", "x", "", "bb", "", "", "", ""};
	for (size_t i = 0; i < COUNT(cells); i++)
		table_cell(&table, cells[i]);
	/* Nothing ends in spaces. */
	assert_table(&table, 2, false,
		     "  A    LONG  LAST\n"
		     "  für        x\n"
		     "       bb\n"
		     "\n");
	table_done(&table);
}

static void table_cuts_and_paints(void **state)
{
	(void)state;
	char wide[2 * TABLE_MAX_WIDTH + 1];
	memset(wide, 'w', sizeof(wide) - 1);
	wide[sizeof(wide) - 1] = '\0';
	struct table table;
	struct buffer wanted;
	table_init(&table, "A", "B", NULL);
	table_cell(&table, wide);
	table_paint(&table, PAINT_WARN);
	table_cell(&table, wide);
	buffer_init(&wanted, 0);
	buffer_printf(&wanted, "\x1b[1mA\x1b[0m%*s\x1b[1mB\x1b[0m\n", (int)TABLE_MAX_WIDTH + 1, "");
	buffer_printf(&wanted, "\x1b[33m%.*s…\x1b[0m  %s\n", (int)TABLE_MAX_WIDTH - 1, wide, wide);
	assert_table(&table, 0, true, wanted.data);
	buffer_done(&wanted);
	table_done(&table);
}

static void escapes(void **state)
{
	(void)state;
	static const struct {
		const char *words;
		const char *shown;
	} CASES[] = {
	    {"plain ä …", "plain ä …"},
	    {"\x1b[2J", "\\x1b[2J"},
	    {"a\nb\tc", "a\\nb\\x09c"},
	    {"\x7f", "\\x7f"},
	    {"\xc2\x9b"
	     "1m",
	     "\\xc2\\x9b1m"}, /* the one-character CSI of C1 */
	    {"cut \xc3", "cut \\xc3"},
	    {"\xff\xfe", "\\xff\\xfe"},
	};
	for (size_t i = 0; i < COUNT(CASES); i++) {
		struct buffer text;
		buffer_init(&text, 0);
		screen_puts(&text, CASES[i].words);
		assert_string_equal(text.data, CASES[i].shown);
		buffer_done(&text);
	}
}

static void measures(void **state)
{
	(void)state;
	assert_int_equal(screen_width(""), 0);
	assert_int_equal(screen_width("aä…𝄞"), 4);
	assert_int_equal(screen_head("aä…𝄞", 0), 0);
	assert_int_equal(screen_head("aä…𝄞", 2), 3);
	assert_int_equal(screen_head("aä…𝄞", 3), 6);
	assert_int_equal(screen_head("aä…𝄞", 9), 10);
}

/* --- rendering --- */

/* A buffer that is full says so, whatever was being put into it. */
static void rendering_stops_at_the_cap(void **state)
{
	(void)state;
	static const char *const COMMANDS[] = {"log", "status", "events"};
	json_t *data = json_pack("[{s:i,s:s}]", "sequence", 1, "who", "a person of some length");
	for (size_t i = 0; i < COUNT(COMMANDS); i++) {
		for (int output = OUTPUT_TABLE; output <= OUTPUT_YAML; output++) {
			const struct invocation invocation = {.command = command_find(COMMANDS[i]),
							      .output =
								  (enum command_output)output};
			const struct render_style style = {.color = true};
			struct buffer text;
			buffer_init(&text, 3);
			render_answer(&invocation, data, &style, &text);
			assert_int_equal(text.status, -FL_ELIMIT);
			buffer_done(&text);
		}
	}
	json_decref(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(table_is_whole),
	    cmocka_unit_test(every_answer_is_a_thing),
	    cmocka_unit_test(things_are_whole),
	    cmocka_unit_test(every_command_has_its_help),
	    cmocka_unit_test(parses),
	    cmocka_unit_test(refuses),
	    cmocka_unit_test(reads_the_environment),
	    cmocka_unit_test(requests),
	    cmocka_unit_test(requests_cut_short),
	    cmocka_unit_test(requests_nested_too_deep),
	    cmocka_unit_test(lists_hold_texts),
	    cmocka_unit_test(request_and_back),
	    cmocka_unit_test(answer_and_back),
	    cmocka_unit_test(every_error_and_back),
	    cmocka_unit_test(error_that_is_not_utf8),
	    cmocka_unit_test(odd_answers),
	    cmocka_unit_test(table_aligns),
	    cmocka_unit_test(table_cuts_and_paints),
	    cmocka_unit_test(escapes),
	    cmocka_unit_test(measures),
	    cmocka_unit_test(rendering_stops_at_the_cap),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
