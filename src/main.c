/* SPDX-License-Identifier: Apache-2.0 */
/* One program: `init` and `join` make this machine a node, `run` makes the program the daemon,
 * `detach` undoes what `run` pinned, `lab …` makes it fairlead-lab, the rest is the CLI. The daemon
 * itself starts `channel` (peer/worker.h). */
#include "base/arena.h"
#include "base/error.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "control/command.h"
#include "daemon/daemon.h"
#include "daemon/member/node_file.h"
#include "daemon/options.h"
#include "daemon/signals.h"
#include "dataplane/edge.h"
#include "doctor/doctor.h"
#include "peer/worker.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int print_failure(const struct invocation *invocation, struct error *err, int result)
{
	if (!err->code)
		error_set(err, result, "%s", error_text(result));
	return output_error(invocation, err);
}

static int run(const struct invocation *invocation)
{
	struct arena arena;
	struct daemon_options options;
	struct error err = {0};
	arena_init(&arena, 0);
	struct daemon_folders folders;
	json_t *parameters = NULL;
	int result = signals_hold(&err);
	daemon_folders_parse(invocation->parameters, &arena, &folders);
	if (result == 0)
		result = node_file_add(folders.state, invocation->parameters, &parameters, &err);
	if (result == 0)
		result = daemon_options_parse(parameters, &arena, &options, &err);
	if (result == 0)
		result =
		    options.join ? landing_node_run(&options, &err) : daemon_run(&options, &err);
	json_decref(parameters);
	arena_done(&arena);
	return result < 0 ? print_failure(invocation, &err, result) : 0;
}

/* What is done with this machine, without a daemon. NULL: the command is none of these. */
static int (*find_deed(const char *name))(const json_t *parameters, struct error *err)
{
	static const struct {
		const char *name;
		int (*deed)(const json_t *parameters, struct error *err);
	} deeds[] = {{"init", daemon_init}, {"join", daemon_join}, {"detach", daemon_detach}};
	for (size_t i = 0; i < sizeof(deeds) / sizeof(deeds[0]); i++) {
		if (strcmp(deeds[i].name, name) == 0)
			return deeds[i].deed;
	}
	return NULL;
}

/* A node's file says where it pinned; what is made anew is what was typed. */
static int act(const struct invocation *invocation)
{
	struct error err = {0};
	struct arena arena;
	struct daemon_folders folders;
	const char *name = invocation->command->name;
	json_t *parameters = json_incref(invocation->parameters);
	int result = 0;
	arena_init(&arena, 0);
	daemon_folders_parse(parameters, &arena, &folders);
	if (strcmp(name, "detach") == 0) {
		json_decref(parameters);
		parameters = NULL;
		result = node_file_add(folders.state, invocation->parameters, &parameters, &err);
	}
	if (result == 0)
		result = find_deed(name)(parameters, &err);
	json_decref(parameters);
	arena_done(&arena);
	return result < 0 ? print_failure(invocation, &err, result) : 0;
}

/* Where the daemon of this machine has what is its own; by the node's file, as for `run`. */
static int examine(const struct invocation *invocation)
{
	struct error err = {0};
	struct arena arena;
	struct daemon_folders folders;
	json_t *parameters = NULL;
	arena_init(&arena, 0);
	daemon_folders_parse(invocation->parameters, &arena, &folders);
	int result = node_file_add(folders.state, invocation->parameters, &parameters, &err);
	if (result == 0) {
		daemon_folders_parse(parameters, &arena, &folders);
		const struct doctor_folders places = {.state = folders.state,
						      .edge_pins = folders.edge_pins,
						      .landing_pins = folders.landing_pins};
		result = doctor_main(invocation, parameters, &places);
	}
	json_decref(parameters);
	arena_done(&arena);
	return result < 0 ? print_failure(invocation, &err, result) : result;
}

/* The one beside this program comes first: it is of the same build. */
static int become_lab(const struct invocation *invocation, char **argv)
{
	static const char lab[] = "fairlead-lab";
	char path[PATH_MAX + sizeof(lab)] = "";
	struct error err = {0};
	ssize_t length = readlink("/proc/self/exe", path, PATH_MAX);
	char *slash = length > 0 ? memrchr(path, '/', (size_t)length) : NULL;
	if (slash) {
		memcpy(slash + 1, lab, sizeof(lab));
		execv(path, argv);
	}
	if (!slash || errno == ENOENT)
		execvp(lab, argv);
	return print_failure(invocation, &err,
			     error_set(&err, -errno,
				       "`fairlead lab` is a program of its own, %s, which "
				       "cannot be started, neither from this one's folder "
				       "nor from $PATH: %s",
				       lab, error_text(-errno)));
}

static int print_help(const struct invocation *invocation)
{
	struct buffer text;
	buffer_init(&text, 0);
	if (!invocation->group || !command_group_help(invocation->group, &text))
		command_help(invocation->command, invocation->topic, &text);
	struct error err = {0};
	int result = output_write(&text, &err);
	buffer_done(&text);
	return result < 0 ? print_failure(invocation, &err, result) : 0;
}

int main(int argc, char **argv)
{
	struct invocation invocation;
	struct error err = {0};
	int status;
	output_hold_standard_files();
	memory_end_without_json();
	if (argc > 1 && strcmp(argv[1], PEER_WORKER_VERB) == 0)
		return peer_worker_main(argc, argv);
	int result = command_parse(argc, argv, &invocation, &err);
	if (result < 0)
		status = print_failure(&invocation, &err, result);
	else if (invocation.help)
		status = print_help(&invocation);
	else if (invocation.version)
		status = printf("fairlead %s\n", FAIRLEAD_VERSION) < 0;
	else if (invocation.command->place == COMMAND_RUN)
		status = run(&invocation);
	else if (invocation.command->place == COMMAND_LAB)
		status = become_lab(&invocation, argv);
	else if (strcmp(invocation.command->name, "doctor") == 0)
		status = examine(&invocation);
	else if (find_deed(invocation.command->name))
		status = act(&invocation);
	else
		status = cli_main(&invocation);
	invocation_done(&invocation);
	return status;
}
