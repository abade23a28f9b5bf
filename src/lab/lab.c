/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/lab.h"

#include "base/file.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "control/render.h"
#include "lab/door.h"
#include "lab/exec.h"
#include "lab/holder.h"
#include "lab/topology.h"
#include "yaml/findings.h"
#include "yaml/yaml.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define DOWN_MS 10000
#define WATCH_MS 1000
#define REDRAW "\x1b[H\x1b[J"

static const char *text_of(const struct invocation *invocation, const char *key)
{
	return json_string_value(json_object_get(invocation->parameters, key));
}

static bool flag_of(const struct invocation *invocation, const char *key)
{
	return json_is_true(json_object_get(invocation->parameters, key));
}

static int print(const struct invocation *invocation, const json_t *data, bool redraw,
		 struct error *err)
{
	const struct render_style style = {.color = output_color(invocation),
					   .width = output_width()};
	struct buffer text;
	buffer_init(&text, 0);
	if (redraw)
		buffer_puts(&text, REDRAW);
	render_answer(invocation, data, &style, &text);
	int result = output_write(&text, err);
	buffer_done(&text);
	return result;
}

/* Takes over `data`. */
static int print_own(const struct invocation *invocation, json_t *data, struct error *err)
{
	int result = print(invocation, data, false, err);
	json_decref(data);
	return result;
}

/* --- up --- */

static int parse(const char *path, struct arena *arena, struct topology **ret_topology,
		 struct error *err)
{
	struct buffer bytes;
	struct findings *findings = must_have(arena_alloc(arena, sizeof(*findings)));
	buffer_init(&bytes, YAML_MAX_BYTES);
	int result = must_succeed(file_read(path, &bytes, err));
	if (result == 0) {
		result =
		    must_succeed(topology_parse(bytes.data ? bytes.data : "", bytes.length,
						strcmp(path, "-") == 0 ? "standard input" : path,
						arena, ret_topology, findings));
		if (result == -FL_EINVALID)
			findings_error(findings, err);
		else if (result < 0)
			error_set(err, result, "%s: %s", path, error_text(result));
	}
	buffer_done(&bytes);
	return result;
}

static int choose_name(const struct invocation *invocation, const char *path,
		       char name[LAB_NAME_BYTES], struct error *err)
{
	const char *given = text_of(invocation, "name");
	if (!given && strcmp(path, "-") == 0)
		return error_set(
		    err, -FL_EUSAGE,
		    "a topology from standard input has no name: give it one by --name");
	return given ? door_plain_name(given, name, err) : door_name(path, name, err);
}

/* The lab says how it is; which process it is, only outsiders see. */
static int ask(const char *name, const json_t *parameters, json_t **ret_status, struct error *err)
{
	json_t *status = NULL;
	pid_t pid = 0;
	int result = door_find(name, &pid, err);
	if (result == 0)
		result = door_ask(name, "lab status", parameters, &status, err);
	if (result < 0)
		return result;
	json_object_set_new(status, "pid", json_integer(pid));
	*ret_status = status;
	return 0;
}

/* "fairlead lab exec rack web1 …" of a lab that is called otherwise. NULL: `words` name no lab so.
 */
static json_t *renamed_try(const char *words, const char *old, const char *name)
{
	static const char COMMAND[] = "fairlead lab ";
	const char *at = strstr(words, COMMAND);
	const char *verb_end = at ? strchr(at + strlen(COMMAND), ' ') : NULL;
	size_t length = strlen(old);
	if (!verb_end || strncmp(verb_end + 1, old, length) != 0 ||
	    (verb_end[1 + length] && verb_end[1 + length] != ' '))
		return NULL;
	return json_sprintf("%.*s%s%s", (int)(verb_end + 1 - words), words, name,
			    verb_end + 1 + length);
}

/* What the file says to try names the lab as the file is called. */
static void rename_tries(json_t *status, const char *path, const char *name)
{
	char old[LAB_NAME_BYTES];
	struct error ignored;
	json_t *tries = json_object_get(status, "try");
	if (strcmp(path, "-") == 0 || door_name(path, old, &ignored) < 0)
		return;
	for (size_t i = 0; i < json_array_size(tries); i++) {
		json_t *words = renamed_try(json_string_value(json_array_get(tries, i)), old, name);
		if (words)
			json_array_set_new(tries, i, words);
	}
}

/* `path` is that of the topology's file. */
static int show_status(const struct invocation *invocation, const char *name, const char *path,
		       struct error *err)
{
	json_t *status = NULL;
	int result = ask(name, invocation->parameters, &status, err);
	if (result == 0)
		rename_tries(status, path, name);
	if (result == 0)
		result = print(invocation, status, false, err);
	json_decref(status);
	return result;
}

/* Until somebody takes it down, or this process ends, which is the same. */
static int stay(pid_t holder, struct error *err)
{
	while (waitpid(holder, NULL, 0) < 0)
		if (errno != EINTR)
			return error_set(err, -errno, "cannot wait: %s", error_text(-errno));
	return 0;
}

static int up(const struct invocation *invocation, struct error *err)
{
	char name[LAB_NAME_BYTES], absolute[PATH_MAX];
	const char *path = text_of(invocation, "topology");
	struct holder_order order = {.name = name,
				     .file = path,
				     .bare = flag_of(invocation, "bare"),
				     .held = flag_of(invocation, "hold")};
	struct arena arena;
	struct topology *topology = NULL;
	pid_t holder = 0;
	int result = choose_name(invocation, path, name, err);
	if (result < 0)
		return result;
	if (geteuid() != 0)
		return error_set(err, -FL_EPRIVILEGE,
				 "a lab makes network namespaces and loads BPF "
				 "programs: be root, for instance by sudo");
	arena_init(&arena, 0);
	result = parse(path, &arena, &topology, err);
	if (result == 0) {
		order.topology = topology;
		if (realpath(path, absolute))
			order.file = absolute;
		result = holder_start(&order, &holder, err);
	}
	if (result == 0)
		result = show_status(invocation, name, path, err);
	if (result == 0 && order.held)
		result = stay(holder, err);
	arena_done(&arena);
	return result;
}

/* --- which are up --- */

static json_t *list(void)
{
	json_t *labs = json_array();
	json_t *names = door_list(), *name;
	size_t i;
	json_array_foreach (names, i, name) {
		pid_t pid;
		const char *text = json_string_value(name);
		if (door_find(text, &pid, NULL) == 0)
			json_array_append_new(
			    labs, json_pack("{s:s, s:i}", "lab", text, "pid", (int)pid));
	}
	json_decref(names);
	return labs;
}

/* --- down --- */

/* All of a lab is gone when its first process is: the kernel ends that one last. */
static int end(const char *name, pid_t pid, struct error *err)
{
	struct pollfd holder = {.fd = pidfd_open(pid, 0), .events = POLLIN};
	if (holder.fd < 0 && errno == ESRCH)
		return 0;
	if (holder.fd < 0 || pidfd_send_signal(holder.fd, SIGKILL, NULL, 0) < 0) {
		int result = error_set(err, -errno, "cannot end the lab %s: process %d: %s", name,
				       (int)pid, error_text(-errno));
		if (holder.fd >= 0)
			close(holder.fd);
		return result;
	}
	int ready = poll(&holder, 1, DOWN_MS);
	close(holder.fd);
	if (ready <= 0)
		return error_set(err, -ETIMEDOUT,
				 "the lab %s is being taken down, but process %d is still there "
				 "after 10 s: something waits for one of its children",
				 name, (int)pid);
	return 0;
}

/* For whoever meant one of them and wrote another name. */
static void name_those_up(void)
{
	struct buffer text;
	json_t *labs = list(), *lab;
	size_t i;
	buffer_init(&text, 0);
	json_array_foreach (labs, i, lab)
		buffer_printf(&text, "%s%s", i ? ", " : "fairlead: these are up: ",
			      json_string_value(json_object_get(lab, "lab")));
	buffer_putc(&text, '\n');
	must_succeed(text.status);
	if (json_array_size(labs))
		output_message(text.data);
	buffer_done(&text);
	json_decref(labs);
}

static int down(const struct invocation *invocation, struct error *err)
{
	char name[LAB_NAME_BYTES];
	pid_t pid;
	int result = door_name(text_of(invocation, "topology"), name, err);
	if (result < 0)
		return result;
	result = door_find(name, &pid, err);
	bool was_up = result == 0;
	if (was_up)
		result = end(name, pid, err);
	if (result < 0 && result != -ENOENT)
		return result;
	result = print_own(invocation, json_pack("{s:s, s:b}", "lab", name, "was_up", was_up), err);
	if (result == 0 && !was_up)
		name_those_up();
	return result;
}

/* --- status, plug --- */

static int show(const struct invocation *invocation, bool redraw, struct error *err)
{
	char name[LAB_NAME_BYTES];
	const char *topology = text_of(invocation, "topology");
	json_t *data = topology ? NULL : list();
	int result = topology ? door_name(topology, name, err) : 0;
	if (result == 0 && topology)
		result = ask(name, invocation->parameters, &data, err);
	if (result == 0)
		result = print(invocation, data, redraw, err);
	json_decref(data);
	return result;
}

static int status(const struct invocation *invocation, struct error *err)
{
	bool redraw =
	    invocation->watch && output_is_terminal() && invocation->output == OUTPUT_TABLE;
	struct pollfd out = {.fd = STDOUT_FILENO};
	int result = show(invocation, redraw, err);
	while (result == 0 && invocation->watch && poll(&out, 1, WATCH_MS) == 0)
		result = show(invocation, redraw, err);
	return result;
}

static int plug(const struct invocation *invocation, struct error *err)
{
	char name[LAB_NAME_BYTES];
	json_t *data = NULL;
	int result = door_name(text_of(invocation, "topology"), name, err);
	if (result == 0)
		result =
		    door_ask(name, invocation->command->name, invocation->parameters, &data, err);
	return result < 0 ? result : print_own(invocation, data, err);
}

/* --- */

static int run_on_machine(const struct invocation *invocation, int *ret_code, struct error *err)
{
	char name[LAB_NAME_BYTES];
	int result = door_name(text_of(invocation, "topology"), name, err);
	if (result < 0)
		return result;
	if (geteuid() != 0)
		return error_set(err, -FL_EPRIVILEGE,
				 "only root may enter a lab; try again with sudo");
	return exec_run(name, text_of(invocation, "machine"), invocation->words, ret_code, err);
}

int lab_main(const struct invocation *invocation)
{
	static const struct {
		const char *command;
		int (*run)(const struct invocation *invocation, struct error *err);
	} VERBS[] = {{"lab up", up},
		     {"lab down", down},
		     {"lab status", status},
		     {"lab plug", plug},
		     {"lab unplug", plug}};
	struct error err = {0};
	int result = -FL_EUSAGE, code = CLI_OK;
	if (strcmp(invocation->command->name, "lab exec") == 0)
		result = run_on_machine(invocation, &code, &err);
	for (size_t i = 0; i < sizeof(VERBS) / sizeof(VERBS[0]); i++)
		if (strcmp(VERBS[i].command, invocation->command->name) == 0)
			result = VERBS[i].run(invocation, &err);
	if (result == -EPIPE)
		return CLI_OK;
	return result < 0 ? output_error(invocation, &err) : code;
}
