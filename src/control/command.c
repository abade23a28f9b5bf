/* SPDX-License-Identifier: Apache-2.0 */
#include "control/command.h"

#include "control/thing.h"

#include "base/text.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct command *command_find(const char *name)
{
	for (const struct command *command = command_table; command->name; command++) {
		if (strcmp(command->name, name) == 0)
			return command;
	}
	return NULL;
}

/* --- parsing --- */

struct parser {
	int argc;
	char **argv;
	int at;
	bool words_only; /* after "--" */
	const char *words[2 + COMMAND_MAX_ARGUMENTS + 1];
	int word_count;
	struct invocation *invocation;
	struct error *err;
};

/* "--name=value" or "--name value"; NULL with the error set when there is no value. */
static const char *option_value(struct parser *parser, const char *name, const char *inline_value)
{
	if (inline_value)
		return inline_value;
	if (parser->at + 1 < parser->argc)
		return parser->argv[++parser->at];
	error_set(parser->err, -FL_EUSAGE, "--%s needs a value", name);
	return NULL;
}

static int parse_output(const char *value, enum command_output *ret_output, struct error *err)
{
	static const char *const names[] = {"table", "json", "jsonl", "yaml"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(value, names[i]) == 0) {
			*ret_output = (enum command_output)i;
			return 0;
		}
	}
	return error_set(err, -FL_EUSAGE, "-o %s: it takes table, json, jsonl or yaml", value);
}

/* 1 when `name` is a global option that was taken, 0 when it is not one, negative on error. */
static int parse_global(struct parser *parser, const char *name, const char *inline_value)
{
	struct invocation *invocation = parser->invocation;
	static const struct {
		const char *name;
		size_t offset;
	} flags[] = {
	    {"help", offsetof(struct invocation, help)},
	    {"version", offsetof(struct invocation, version)},
	    {"no-color", offsetof(struct invocation, no_color)},
	    {"watch", offsetof(struct invocation, watch)},
	};
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (strcmp(name, flags[i].name) != 0)
			continue;
		if (inline_value)
			return error_set(parser->err, -FL_EUSAGE, "--%s takes no value", name);
		*(bool *)((char *)invocation + flags[i].offset) = true;
		return 1;
	}
	bool is_socket = strcmp(name, "socket") == 0;
	if (!is_socket && strcmp(name, "output") != 0)
		return 0;
	const char *value = option_value(parser, name, inline_value);
	if (!value)
		return -FL_EUSAGE;
	if (is_socket && !*value)
		return error_set(parser->err, -FL_EUSAGE, "--socket needs a path");
	if (is_socket) {
		invocation->socket = value;
		invocation->socket_typed = true;
		return 1;
	}
	int result = parse_output(value, &invocation->output, parser->err);
	return result < 0 ? result : 1;
}

static const struct command_option *find_option(const struct command *command, const char *name)
{
	for (const struct command_option *option = command->options; option && option->name;
	     option++) {
		if (strcmp(option->name, name) == 0)
			return option;
	}
	return NULL;
}

bool command_has_option(const struct command *command, const char *name)
{
	return find_option(command, name);
}

/* The closest of a few names, for a typing error; NULL when none is near. */
struct guess {
	const char *typed;
	const char *name;
	size_t distance;
};

static void guess_try(struct guess *guess, const char *name)
{
	size_t distance = text_distance(guess->typed, name);
	if (distance <= 2 && distance < strlen(name) / 2 + 1 &&
	    (!guess->name || distance < guess->distance)) {
		guess->name = name;
		guess->distance = distance;
	}
}

static int unknown_option(const struct command *command, const char *name, struct error *err)
{
	struct guess guess = {.typed = name};
	for (const struct command_option *option = command->options; option && option->name;
	     option++)
		guess_try(&guess, option->name);
	if (guess.name)
		return error_set(err, -FL_EUSAGE, "`%s` has no option --%s; is --%s meant?",
				 command->name, name, guess.name);
	return error_set(err, -FL_EUSAGE,
			 "`%s` has no option --%s; `fairlead %s --help` lists them", command->name,
			 name, command->name);
}

/* The JSON key of an option: dashes become underlines. */
static void option_key(const char *name, char key[64])
{
	snprintf(key, 64, "%s", name);
	for (char *c = key; *c; c++) {
		if (*c == '-')
			*c = '_';
	}
}

/* Digits and nothing else; NULL otherwise. */
static json_t *number_of(const char *text)
{
	size_t digits = strspn(text, "0123456789");
	errno = 0;
	long long number = strtoll(text, NULL, 10);
	return !digits || text[digits] || errno ? NULL : json_integer(number);
}

static bool is_utf8(const char *text)
{
	json_t *json = json_string(text);
	json_decref(json);
	return json;
}

static int set_option(struct parser *parser, const struct command_option *option, const char *value)
{
	json_t *parameters = parser->invocation->parameters;
	char key[64];
	option_key(option->name, key);
	json_t *json = NULL;
	switch (option->value) {
	case VALUE_NONE:
		json = json_true();
		break;
	case VALUE_NUMBER:
		json = number_of(value);
		break;
	case VALUE_TEXT:
	case VALUE_FILE:
	case VALUE_WORDS: /* of arguments only */
		json = json_string(value);
		break;
	case VALUE_LIST: {
		json = json_incref(json_object_get(parameters, key));
		if (!json)
			json = json_array();
		if (json_array_append_new(json, json_string(value)) < 0) { /* it is no UTF-8 */
			json_decref(json);
			json = NULL;
		}
		break;
	}
	}
	if (!json && option->value == VALUE_NUMBER && is_utf8(value))
		return error_set(parser->err, -FL_EUSAGE, "--%s %s: it takes a number of 0 or more",
				 option->name, value);
	if (!json)
		return error_set(parser->err, -FL_EUSAGE, "--%s: the value is not UTF-8 text",
				 option->name);
	if (option->value != VALUE_LIST && json_object_get(parameters, key)) {
		json_decref(json);
		return error_set(parser->err, -FL_EUSAGE, "--%s is given twice", option->name);
	}
	json_object_set_new(parameters, key, json);
	return 0;
}

static int parse_option(struct parser *parser, const char *text)
{
	char name[64];
	const char *inline_value = strchr(text, '=');
	size_t length = inline_value ? (size_t)(inline_value++ - text) : strlen(text);
	snprintf(name, sizeof(name), "%.*s", (int)length, text);

	int taken = parse_global(parser, name, inline_value);
	if (taken)
		return taken < 0 ? taken : 0;
	const struct command *command = parser->invocation->command;
	if (!command)
		return error_set(parser->err, -FL_EUSAGE,
				 "--%s stands before a command that takes it; `fairlead --help` "
				 "lists the commands",
				 name);
	const struct command_option *option = find_option(command, name);
	if (!option)
		return unknown_option(command, name, parser->err);
	if (option->value == VALUE_NONE) {
		if (inline_value)
			return error_set(parser->err, -FL_EUSAGE, "--%s takes no value", name);
		return set_option(parser, option, NULL);
	}
	const char *value = option_value(parser, name, inline_value);
	if (!value)
		return -FL_EUSAGE;
	/* Only a sentence may be empty: no folder, name or address is. */
	if (!*value && option->value != VALUE_NUMBER && strcmp(option->placeholder, "TEXT") != 0)
		return error_set(parser->err, -FL_EUSAGE, "--%s needs a value", name);
	return set_option(parser, option, value);
}

/* "status, pause, resume, cut" for "rollout"; false when no command begins with this word. */
static bool second_words(const char *first, struct buffer *words)
{
	size_t length = strlen(first);
	for (const struct command *command = command_table; command->name; command++) {
		if (strncmp(command->name, first, length) != 0 || command->name[length] != ' ')
			continue;
		buffer_printf(words, "%s%s", words->length ? ", " : "", command->name + length + 1);
	}
	return words->length > 0;
}

static bool is_group(const char *first)
{
	struct buffer words;
	buffer_init(&words, 0);
	bool is = second_words(first, &words);
	buffer_done(&words);
	return is;
}

/* `second` is NULL when there was one word only. */
static int unknown_command(const char *first, const char *second, struct error *err)
{
	struct buffer words;
	char typed[128];
	buffer_init(&words, 0);
	bool has_seconds = second_words(first, &words);
	snprintf(typed, sizeof(typed), second && has_seconds ? "%s %s" : "%s", first, second);
	struct guess guess = {.typed = typed};
	/* The first word of two is no slip. */
	for (const struct command *command = command_table; command->name; command++) {
		if (second || !has_seconds)
			guess_try(&guess, command->name);
	}
	if (guess.name)
		error_set(err, -FL_EUSAGE, "there is no command \"%s\"; is `%s` meant?", typed,
			  guess.name);
	else if (has_seconds)
		error_set(err, -FL_EUSAGE, "after `%s` comes one of: %s", first,
			  words.data ? words.data : "");
	else
		error_set(err, -FL_EUSAGE,
			  "there is no command \"%s\"; `fairlead --help` lists them all", typed);
	buffer_done(&words);
	return -FL_EUSAGE;
}

/* The command is known as soon as its last word is: options of its own may follow. */
static void recognise_command(struct parser *parser)
{
	char name[128];
	if (parser->invocation->command)
		return;
	if (parser->word_count == 1)
		snprintf(name, sizeof(name), "%s", parser->words[0]);
	else
		snprintf(name, sizeof(name), "%s %s", parser->words[0], parser->words[1]);
	const struct command *command = command_find(name);
	if (!command)
		return;
	parser->invocation->command = command;
	parser->word_count = 0;
}

static int parse_word(struct parser *parser, const char *word)
{
	/* `fairlead help apply` */
	if (!parser->invocation->command && !parser->word_count && strcmp(word, "help") == 0) {
		parser->invocation->help = true;
		return 0;
	}
	if (parser->word_count >= (int)(sizeof(parser->words) / sizeof(parser->words[0])))
		return error_set(parser->err, -FL_EUSAGE, "\"%s\" is one word too many", word);
	parser->words[parser->word_count++] = word;
	recognise_command(parser);
	if (!parser->invocation->command && parser->word_count == 2)
		return unknown_command(parser->words[0], word, parser->err);
	return 0;
}

/* Is what comes now a command line for another program? Its options are none of ours. */
static bool takes_words(const struct parser *parser)
{
	const struct command *command = parser->invocation->command;
	return command && parser->word_count <= COMMAND_MAX_ARGUMENTS &&
	       command->arguments[parser->word_count].name &&
	       command->arguments[parser->word_count].value == VALUE_WORDS;
}

static int parse_all(struct parser *parser)
{
	for (; parser->at < parser->argc; parser->at++) {
		const char *text = parser->argv[parser->at];
		int result = 0;
		if (takes_words(parser)) {
			if (!parser->words_only && strcmp(text, "--") == 0)
				parser->at++;
			parser->invocation->words = parser->argv + parser->at;
			return 0;
		}
		if (parser->words_only || text[0] != '-' || !text[1]) {
			result = parse_word(parser, text);
		} else if (strcmp(text, "--") == 0) {
			parser->words_only = true;
		} else if (strcmp(text, "-h") == 0) {
			parser->invocation->help = true;
		} else if (text[1] == 'o') {
			result = parse_global(parser, "output", text[2] ? text + 2 : NULL);
			result = result < 0 ? result : 0;
		} else if (text[1] != '-') {
			result = error_set(parser->err, -FL_EUSAGE, "there is no option %s", text);
		} else {
			result = parse_option(parser, text + 2);
		}
		if (result < 0)
			return result;
	}
	return 0;
}

static int bind_arguments(struct parser *parser)
{
	const struct command *command = parser->invocation->command;
	json_t *parameters = parser->invocation->parameters;
	int given = 0;
	for (const struct command_argument *argument = command->arguments; argument->name;
	     argument++) {
		if (argument->value == VALUE_WORDS && parser->invocation->words &&
		    *parser->invocation->words)
			break;
		if (given == parser->word_count) {
			if (argument->optional)
				break;
			return error_set(parser->err, -FL_EUSAGE, "`%s` needs <%s>: %s",
					 command->name, argument->name, argument->help);
		}
		const char *word = parser->words[given];
		if (!*word)
			return error_set(parser->err, -FL_EUSAGE, "`%s`: <%s> is empty",
					 command->name, argument->name);
		bool is_number = argument->value == VALUE_NUMBER;
		json_t *value = is_number ? number_of(word) : json_string(word);
		if (json_object_set_new(parameters, argument->name, value) < 0)
			return error_set(parser->err, -FL_EUSAGE,
					 is_number ? "<%s> is a number of 0 or more"
						   : "<%s> is not UTF-8 text",
					 argument->name);
		given++;
	}
	if (given < parser->word_count)
		return error_set(parser->err, -FL_EUSAGE, "\"%s\" is one word too many for `%s`",
				 parser->words[given], command->name);
	return 0;
}

static int check_watch(const struct invocation *invocation, struct error *err)
{
	const struct command *command = invocation->command;
	if (!invocation->watch || command->repeatable || command->streams)
		return 0;
	return error_set(err, -FL_EUSAGE,
			 "--watch repeats what only shows something, which `%s` does not",
			 command->name);
}

/* NULL when the variable is not set, or set to nothing. */
static const char *environment(const char *name)
{
	const char *value = getenv(name);
	return value && *value ? value : NULL;
}

/* The daemon has no part in it. */
static void take_exit_code(struct invocation *invocation)
{
	invocation->exit_code |= json_is_true(json_object_get(invocation->parameters, "exit_code"));
	json_object_del(invocation->parameters, "exit_code");
}

/* What comes after a mistake is not read but for what says how it is told: --exit-code, and -o,
 * the first of which counts. */
static void note_form(struct parser *parser)
{
	bool has_output = false;
	for (int at = parser->at; at < parser->argc; at++) {
		const char *text = parser->argv[at];
		const char *value = NULL;
		struct error ignored;
		ASSERT(text);
		if (strcmp(text, "--exit-code") == 0 ||
		    strncmp(text, "--exit-code=", strlen("--exit-code=")) == 0)
			parser->invocation->exit_code = true;
		if (strncmp(text, "--output=", strlen("--output=")) == 0)
			value = text + strlen("--output=");
		else if (strcmp(text, "-o") == 0 || strcmp(text, "--output") == 0)
			value = at + 1 < parser->argc ? parser->argv[at + 1] : NULL;
		else if (strncmp(text, "-o", 2) == 0)
			value = text + 2;
		if (value && !has_output)
			has_output =
			    parse_output(value, &parser->invocation->output, &ignored) == 0;
	}
}

int command_parse(int argc, char **argv, struct invocation *ret_invocation, struct error *err)
{
	*ret_invocation = (struct invocation){.socket = environment("FAIRLEAD_SOCKET"),
					      .parameters = json_object(),
					      .no_color = environment("NO_COLOR") != NULL};
	struct parser parser = {
	    .argc = argc, .argv = argv, .at = 1, .invocation = ret_invocation, .err = err};
	int result = parse_all(&parser);
	take_exit_code(ret_invocation);
	if (result < 0) {
		note_form(&parser);
		return result;
	}
	ret_invocation->topic =
	    ret_invocation->command && parser.word_count ? parser.words[0] : NULL;
	ret_invocation->group =
	    !ret_invocation->command && parser.word_count ? parser.words[0] : NULL;
	if (ret_invocation->help && ret_invocation->group && !is_group(ret_invocation->group))
		return unknown_command(ret_invocation->group, NULL, err);
	if (ret_invocation->help || ret_invocation->version)
		return 0;
	if (!ret_invocation->command) {
		if (parser.word_count)
			return unknown_command(parser.words[0], NULL, err);
		return error_set(err, -FL_EUSAGE,
				 "say what to do; `fairlead --help` lists the commands");
	}
	result = bind_arguments(&parser);
	return result < 0 ? result : check_watch(ret_invocation, err);
}

void invocation_done(struct invocation *invocation)
{
	json_decref(invocation->parameters);
	*invocation = (struct invocation){0};
}

/* --- help --- */

static void help_usage(const struct command *command, struct buffer *text)
{
	buffer_printf(text, "usage: fairlead %s", command->name);
	for (const struct command_argument *argument = command->arguments; argument->name;
	     argument++)
		buffer_printf(text,
			      argument->value == VALUE_WORDS ? " [--] <%s>…"
			      : argument->optional           ? " [%s]"
							     : " <%s>",
			      argument->name);
	if (command->options)
		buffer_puts(text, " [options]");
	buffer_puts(text, "\n");
}

static void help_one(const struct command *command, struct buffer *text)
{
	buffer_printf(text, "fairlead %s: %s\n\n", command->name, command->summary);
	help_usage(command, text);
	buffer_printf(text, "\n%s\n", command->description);
	if (command->arguments[0].name)
		buffer_puts(text, "\narguments:\n");
	for (const struct command_argument *argument = command->arguments; argument->name;
	     argument++)
		buffer_printf(text, "  %-24s %s\n", argument->name, argument->help);
	if (command->options)
		buffer_puts(text, "\noptions:\n");
	for (const struct command_option *option = command->options; option && option->name;
	     option++) {
		char left[64];
		snprintf(left, sizeof(left), "--%s%s%s", option->name,
			 option->placeholder ? " " : "",
			 option->placeholder ? option->placeholder : "");
		buffer_printf(text, "  %-24s %s\n", left, option->help);
	}
	if (command->verb == VERB_get) {
		buffer_puts(text, "\nkinds:\n");
		for (const struct thing *const *kind = thing_kinds; *kind; kind++)
			buffer_printf(text, "  %-24s %s\n", (*kind)->plural, (*kind)->help);
	}
	if (command->thing) {
		buffer_puts(text, "\nfields of -o json:\n");
		thing_help(command->thing, text);
	}
	buffer_puts(text, "\nexamples:\n");
	const char *line = command->examples;
	while (*line) {
		size_t length = strcspn(line, "\n");
		buffer_printf(text, "  %.*s\n", (int)length, line);
		line += length + (line[length] == '\n');
	}
}

static void help_overview(struct buffer *text)
{
	buffer_puts(text,
		    "fairlead: the front door for services that run in many places\n\n"
		    "usage: fairlead [--socket PATH] [-o table|json|jsonl|yaml] <command> …\n\n"
		    "commands:\n");
	for (const struct command *command = command_table; command->name; command++)
		buffer_printf(text, "  %-16s %s\n", command->name, command->summary);
	buffer_puts(text, "\n`fairlead <command> --help` says more about one of them.\n\n"
			  "options for all:\n"
			  "  --socket PATH    the daemon's local socket (default: "
			  "/run/fairlead/fairlead.sock,\n"
			  "                   or $FAIRLEAD_SOCKET)\n"
			  "  -o FORM          table (default), json, jsonl or yaml\n"
			  "  --watch          repeat or follow the answer until interrupted\n"
			  "  --no-color       plain text (also $NO_COLOR)\n"
			  "  --version        the version of this program\n\n"
			  "exit status: 0 ok, 1 failure, 2 usage (`plan --exit-code`: 2 changes),\n"
			  "             3 --timeout is over, 130 interrupted waiting\n");
}

bool command_group_help(const char *group, struct buffer *text)
{
	if (!is_group(group))
		return false;
	buffer_printf(text, "usage: fairlead %s <command> …\n\ncommands:\n", group);
	size_t length = strlen(group);
	for (const struct command *command = command_table; command->name; command++)
		if (strncmp(command->name, group, length) == 0 && command->name[length] == ' ')
			buffer_printf(text, "  %-16s %s\n", command->name, command->summary);
	buffer_printf(text, "\n`fairlead %s <command> --help` says more about one of them.\n",
		      group);
	return true;
}

/* A kind of `get`. */
static void help_kind(const struct command *command, const struct thing *kind, struct buffer *text)
{
	buffer_printf(text, "usage: fairlead %s %s [-o json]\n\n%s\n\nfields:\n", command->name,
		      kind->plural, kind->help);
	thing_help(kind, text);
}

void command_help(const struct command *command, const char *topic, struct buffer *text)
{
	bool lists_kinds = command && command->verb == VERB_get;
	const struct thing *kind = lists_kinds && topic ? thing_find_kind(topic) : NULL;
	if (kind)
		help_kind(command, kind, text);
	else if (command)
		help_one(command, text);
	else
		help_overview(text);
}

/* --- checking what came over the API --- */

static bool is_text_list(const json_t *value)
{
	for (size_t i = 0; i < json_array_size(value); i++) {
		if (!json_is_string(json_array_get(value, i)))
			return false;
	}
	return json_is_array(value);
}

static bool value_fits(enum command_value kind, const json_t *value)
{
	switch (kind) {
	case VALUE_NONE:
		return json_is_boolean(value);
	case VALUE_NUMBER:
		return json_is_integer(value) && json_integer_value(value) >= 0;
	case VALUE_TEXT:
	case VALUE_FILE:
		return json_is_string(value);
	case VALUE_LIST:
		return is_text_list(value);
	case VALUE_WORDS: /* never travels */
		return false;
	}
	return false;
}

/* Kind of the parameter `key`, or -1 when the command has no such parameter. A file argument
 * travels as two: its name and its "text". */
static int parameter_kind(const struct command *command, const char *key)
{
	for (const struct command_argument *argument = command->arguments; argument->name;
	     argument++) {
		if (strcmp(argument->name, key) == 0)
			return (int)argument->value;
		if (argument->value == VALUE_FILE && strcmp(key, "text") == 0)
			return VALUE_TEXT;
	}
	for (const struct command_option *option = command->options; option && option->name;
	     option++) {
		char name[64];
		option_key(option->name, name);
		if (strcmp(name, key) == 0)
			return (int)option->value;
	}
	return -1;
}

int command_check(const struct command *command, const json_t *parameters, struct error *err)
{
	if (!json_is_object(parameters))
		return error_set(err, -FL_EUSAGE, "\"parameters\" is not an object");
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)(uintptr_t)parameters, key, value) {
		int kind = parameter_kind(command, key);
		if (kind < 0)
			return error_set(err, -FL_EUSAGE, "`%s` has no parameter \"%.64s\"",
					 command->name, key);
		if (!value_fits((enum command_value)kind, value))
			return error_set(err, -FL_EUSAGE,
					 "`%s`: the parameter \"%.64s\" has the wrong type",
					 command->name, key);
	}
	for (const struct command_argument *argument = command->arguments; argument->name;
	     argument++) {
		const char *needed = argument->value == VALUE_FILE ? "text" : argument->name;
		if (!argument->optional && !json_object_get(parameters, needed))
			return error_set(err, -FL_EUSAGE, "`%s` needs the parameter \"%s\"",
					 command->name, needed);
	}
	return 0;
}
