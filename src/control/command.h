/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command table: one list that is the CLI's dispatcher, its help, its completion, and the set
 * of verbs that the local API knows. A command is one row: its words, its parameters, who handles
 * it, its help, and how its answer is shown.
 *
 * command_parse() turns an argument vector into an invocation: the command, its arguments and
 * options as one JSON object (the form in which the API takes them), and how to print the answer.
 * No I/O here: a file argument stays a path, and the CLI reads it.
 */
#ifndef FAIRLEAD_CONTROL_COMMAND_H
#define FAIRLEAD_CONTROL_COMMAND_H

#include "base/buffer.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum command_place {
	COMMAND_HERE, /* done by this process, without a daemon */
	COMMAND_DAEMON, /* asked of the daemon over its local socket */
	COMMAND_RUN, /* becomes the daemon */
	COMMAND_LAB, /* about a lab on this computer */
};

enum command_value {
	VALUE_NONE, /* a flag: true when given */
	VALUE_TEXT,
	VALUE_NUMBER,
	VALUE_LIST, /* may be given many times; a JSON array of texts */
	VALUE_FILE, /* a path; the CLI sends the content along under "text" */
	VALUE_WORDS, /* an argument that is all the rest: a command line of another program */
};

struct command_option {
	const char *name; /* without the dashes; dashes become '_' in the JSON object */
	enum command_value value;
	const char *placeholder; /* NULL for a flag */
	const char *help;
};

struct command_argument {
	const char *name; /* key in the JSON object */
	enum command_value value;
	bool optional;
	const char *help;
};

#define COMMAND_MAX_ARGUMENTS 3

/* X(name): what the daemon handles. A row of the table names it as VERB_name, and the local API
 * declares verb_name(), its handler, from the same list. */
#define COMMAND_VERBS(X)                                                                           \
	X(plan)                                                                                    \
	X(apply)                                                                                   \
	X(status)                                                                                  \
	X(get)                                                                                     \
	X(describe)                                                                                \
	X(rollout_status)                                                                          \
	X(rollout_pause)                                                                           \
	X(rollout_resume)                                                                          \
	X(rollout_cut)                                                                             \
	X(rollback)                                                                                \
	X(undo)                                                                                    \
	X(backend_forget)                                                                          \
	X(node_remove)                                                                             \
	X(token)                                                                                   \
	X(routing_status)                                                                          \
	X(routing_config)                                                                          \
	X(store_recover)                                                                           \
	X(store_resume)                                                                            \
	X(log)                                                                                     \
	X(verify)                                                                                  \
	X(events)                                                                                  \
	X(doctor)

enum command_verb {
	VERB_NONE, /* the daemon has no part in it */
#define X(name) VERB_##name,
	COMMAND_VERBS(X)
#undef X
	    COMMAND_VERB_COUNT
};

struct render;
struct thing;
/* Append an answer to what is rendered, for people. */
typedef void render_fn(const struct render *render, const json_t *data);

struct command {
	const char *name; /* one or two words */
	enum command_place place;
	enum command_verb verb; /* of COMMAND_DAEMON */
	const struct thing *thing; /* what the answer is, or is a list of; NULL: no thing */
	render_fn *render; /* NULL: the answer is shown as the thing is described */
	bool streams; /* the answer is an endless series of items */
	bool repeatable; /* only shows something: --watch may ask it again and again */
	const char *summary;
	const char *description;
	const char *examples; /* one a line */
	struct command_argument arguments[COMMAND_MAX_ARGUMENTS + 1];
	const struct command_option *options; /* ends with a NULL name; NULL for none */
};

extern const struct command command_table[]; /* ends with a NULL name */

const struct command *command_find(const char *name);
bool command_has_option(const struct command *command, const char *name);

enum command_output { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_JSONL, OUTPUT_YAML };

struct invocation {
	const struct command *command; /* NULL: only help or the version was asked for */
	json_t *parameters; /* owned: an object */
	enum command_output output;
	const char *socket; /* borrowed from argv or the environment; NULL: the default */
	const char *group; /* borrowed: a word that no command came from, yet perhaps begins some */
	const char *topic; /* borrowed: the first word after the command; NULL: none */
	char **words; /* borrowed from argv, ended by NULL: the VALUE_WORDS; NULL: none */
	bool help;
	bool version;
	bool no_color;
	bool watch;
	bool socket_typed; /* --socket was given, not the environment alone */
	bool exit_code; /* --exit-code: 2 means a difference, and nothing else */
};

#define COMMAND_DEFAULT_SOCKET "/run/fairlead/fairlead.sock"

/* `argv[0]` is the program. -FL_EUSAGE with a sentence that says what was not understood and how to
 * get help. The caller calls invocation_done() in any case. */
must_check int command_parse(int argc, char **argv, struct invocation *ret_invocation,
			     struct error *err);
void invocation_done(struct invocation *invocation);

/* Help for one command, or, with NULL, the overview of all. A `topic` (NULL is fine) that is a kind
 * of `get` is explained instead. */
void command_help(const struct command *command, const char *topic, struct buffer *text);

/* Help for the commands whose first word of two is `group`; false when there are none. */
bool command_group_help(const char *group, struct buffer *text);

/* Check parameters that came over the API against the table: unknown keys, missing arguments and
 * wrong types are -FL_EUSAGE with a sentence. */
must_check int command_check(const struct command *command, const json_t *parameters,
			     struct error *err);

#endif
