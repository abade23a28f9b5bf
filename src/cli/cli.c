/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include "cli/client.h"
#include "cli/files.h"
#include "cli/output.h"
#include "cli/rollouts.h"
#include "cli/validate.h"
#include "cli/wait.h"
#include "control/render.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define WATCH_INTERVAL_MS 1000

/* Home, then clear to the end of the screen (ECMA-48 CUP and ED): no flicker, unlike the reverse.
 */
#define REDRAW "\x1b[H\x1b[J"

struct cli {
	const struct invocation *invocation;
	struct render_style style;
	int interrupt_fd;
	int status; /* of a good end: with --exit-code, what the answer said */
};

/* How it ended, when the person, or the program that reads us, has had enough: well. */
static int finish(const struct cli *cli, int result, const struct error *err)
{
	if (result == 0 || result == -EINTR || result == -EPIPE)
		return cli->status;
	return output_error(cli->invocation, err);
}

static int print(struct cli *cli, const json_t *data, bool redraw, struct error *err)
{
	const struct invocation *invocation = cli->invocation;
	struct buffer text;
	if (invocation->exit_code)
		cli->status = json_is_true(json_object_get(data, "empty")) ? CLI_OK : CLI_DIFFERS;
	buffer_init(&text, 0);
	if (redraw)
		buffer_puts(&text, REDRAW);
	render_answer(invocation, data, &cli->style, &text);
	/* The other forms carry the warnings themselves. */
	const char *warnings = json_string_value(json_object_get(data, "warnings"));
	if (warnings && invocation->output == OUTPUT_TABLE)
		output_message(warnings);
	int result = output_write(&text, err);
	buffer_done(&text);
	return result;
}

static const char *socket_path(const struct invocation *invocation)
{
	return invocation->socket ? invocation->socket : COMMAND_DEFAULT_SOCKET;
}

static int ask(const struct cli *cli, const json_t *parameters, json_t **ret_answer,
	       struct error *err)
{
	return client_call(socket_path(cli->invocation), cli->interrupt_fd,
			   cli->invocation->command, parameters, ret_answer, err);
}

/* One request and its one answer. */
static int ask_once(struct cli *cli, const json_t *parameters, bool redraw, struct error *err)
{
	json_t *data;
	int result = ask(cli, parameters, &data, err);
	if (result < 0)
		return result;
	result = print(cli, data, redraw, err);
	json_decref(data);
	return result;
}

static int follow(struct cli *cli, const json_t *parameters, struct error *err)
{
	struct client client = {.fd = -1};
	int result = client_open(socket_path(cli->invocation), cli->interrupt_fd, &client, err);
	if (result < 0)
		return result;
	result = client_ask(&client, cli->invocation->command, parameters, err);
	while (result == 0) {
		json_t *data;
		result = client_answer(&client, &data, err);
		if (result < 0)
			break;
		result = print(cli, data, false, err);
		json_decref(data);
	}
	client_close(&client);
	return result;
}

/* A daemon that is being replaced is back in a moment. */
static bool is_absence(int result)
{
	return result == -ENOENT || result == -ECONNREFUSED || result == -ECONNRESET;
}

static int watch(struct cli *cli, const json_t *parameters, struct error *err)
{
	bool redraw = output_is_terminal() && cli->invocation->output == OUTPUT_TABLE;
	struct pollfd fds[] = {{.fd = cli->interrupt_fd, .events = POLLIN}, {.fd = STDOUT_FILENO}};
	int result = ask_once(cli, parameters, redraw, err);
	while (result == 0 || is_absence(result)) {
		if (result < 0)
			(void)output_error(cli->invocation, err);
		if (poll(fds, 2, WATCH_INTERVAL_MS) > 0)
			return fds[0].revents ? -EINTR : -EPIPE;
		result = ask_once(cli, parameters, redraw, err);
	}
	return result;
}

static int run_validate(struct cli *cli, struct error *err)
{
	struct buffer messages;
	json_t *answer;
	buffer_init(&messages, 0);
	int result = validate_file(cli->invocation->parameters, &answer, &messages, err);
	if (result < 0) {
		buffer_done(&messages);
		return output_error(cli->invocation, err);
	}
	if (messages.data && cli->invocation->output == OUTPUT_TABLE)
		output_message(messages.data);
	result = finish(cli, print(cli, answer, false, err), err);
	if (result == CLI_OK && !json_is_true(json_object_get(answer, "valid")))
		result = CLI_FAILURE;
	json_decref(answer);
	buffer_done(&messages);
	return result;
}

/* An order that is refused because what it needs is being made ready is given again until it is. */
static int order(const struct cli *cli, json_t *parameters, struct wait *wait, json_t **ret_answer,
		 struct error *err)
{
	int result = ask(cli, parameters, ret_answer, err);
	while (result == -FL_EWAIT && wait->slots && !wait_is_over(wait)) {
		wait_say(wait, err->text, NULL);
		(void)wait_pause(-1);
		*err = (struct error){0};
		result = ask(cli, parameters, ret_answer, err);
	}
	wait_clear(wait);
	if (result != -FL_EWAIT)
		return result;
	size_t length = strlen(err->text);
	if (wait_is_over(wait)) {
		error_prefix(err, "--timeout is over, and nothing was changed");
		return -ETIMEDOUT;
	}
	snprintf(err->text + length, sizeof(err->text) - length, "; try again then%s",
		 command_has_option(cli->invocation->command, "wait") ? ", or give --wait" : "");
	return result;
}

/* What the question is about: a plan, and the answer to it is about that plan only. Somebody may
 * give an order while the person thinks. */
static int show_plan(const struct cli *cli, json_t *parameters, struct error *err)
{
	json_t *data;
	json_object_set_new(parameters, "dry_run", json_true());
	int result = ask(cli, parameters, &data, err);
	json_object_del(parameters, "dry_run");
	if (result < 0)
		return result;
	const char *text = json_string_value(json_object_get(data, "text"));
	output_message(text ? text : "");
	json_object_set(parameters, "expect", json_object_get(data, "expect"));
	json_decref(data);
	return 0;
}

static bool says_yes(void)
{
	char line[16] = "";
	fprintf(stderr, "Do it? [y/N] ");
	bool yes = fgets(line, sizeof(line), stdin) &&
		   (strcasecmp(line, "y\n") == 0 || strcasecmp(line, "yes\n") == 0);
	if (!yes)
		fprintf(stderr, "fairlead: nothing was changed\n");
	return yes;
}

/* Somebody at a terminal is told what is lost, and may say yes; a program says --yes. 1 for a yes,
 * 0 for a no, of which all is said; or why it could not be asked. */
static int confirm(const struct cli *cli, json_t *parameters, struct error *err)
{
	const struct invocation *invocation = cli->invocation;
	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
		if (invocation->output != OUTPUT_TABLE)
			return err->code;
		fprintf(stderr, "%sfairlead: nothing was changed; say --yes to do it\n", err->text);
		return 0;
	}
	if (command_has_option(invocation->command, "expect")) {
		*err = (struct error){0};
		int result = show_plan(cli, parameters, err);
		if (result < 0)
			return result;
	} else {
		output_message(err->text);
	}
	return says_yes();
}

/* They are heard of between two answers. */
static int listen_to_interrupts(int *ret_fd, struct error *err)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	*ret_fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (*ret_fd < 0)
		return error_set(err, -errno, "cannot listen to signals: %s", error_text(-errno));
	return 0;
}

/* The answer to an order is shown at once, and what it began may be waited for; that of what only
 * shows something is shown when that has ended. */
static int end(struct cli *cli, const json_t *parameters, const json_t *answer, struct wait *wait,
	       struct error *err)
{
	const struct invocation *invocation = cli->invocation;
	bool only_shows = invocation->command->repeatable;
	int result = wait->rollouts && only_shows ? 0 : print(cli, answer, false, err);
	if (result < 0 || !wait->rollouts)
		return finish(cli, result, err);
	if (listen_to_interrupts(&cli->interrupt_fd, err) < 0)
		return output_error(invocation, err);
	int status =
	    rollouts_wait(invocation, socket_path(invocation), answer, wait, cli->interrupt_fd);
	if (status == CLI_OK && only_shows)
		status = finish(cli, ask_once(cli, parameters, false, err), err);
	return status;
}

static int run_daemon_command(struct cli *cli, struct error *err)
{
	const struct invocation *invocation = cli->invocation;
	struct wait wait = {0};
	json_t *parameters;
	json_t *answer = NULL;
	int result = files_attach(invocation, &parameters, err);
	if (result == 0)
		result = wait_read(parameters, &wait, err);
	if (result < 0)
		return output_error(cli->invocation, err);
	if (invocation->command->streams)
		result = follow(cli, parameters, err);
	else if (invocation->watch)
		result = watch(cli, parameters, err);
	else
		result = order(cli, parameters, &wait, &answer, err);
	if (result == -FL_ECONFIRM) {
		result = confirm(cli, parameters, err);
		if (result == 0)
			cli->status = CLI_FAILURE;
		if (result > 0) {
			json_object_set_new(parameters, "yes", json_true());
			result = order(cli, parameters, &wait, &answer, err);
		}
	}
	int status = answer ? end(cli, parameters, answer, &wait, err) : finish(cli, result, err);
	if (result == -ETIMEDOUT && wait_is_over(&wait))
		status = CLI_TIMEOUT;
	json_decref(answer);
	json_decref(parameters);
	return status;
}

/* An endless command ends well when it is interrupted. Any other is ended by the signal itself, as
 * the shell expects, until all that is left is waiting. */
static int open_interrupts(const struct invocation *invocation, int *ret_fd, struct error *err)
{
	signal(SIGPIPE, SIG_IGN);
	*ret_fd = -1;
	if (!invocation->watch && !invocation->command->streams)
		return 0;
	return listen_to_interrupts(ret_fd, err);
}

int cli_main(const struct invocation *invocation)
{
	const struct command *command = invocation->command;
	struct cli cli = {.invocation = invocation,
			  .style = {.color = output_color(invocation), .width = output_width()},
			  .status = invocation->exit_code ? CLI_FAILURE : CLI_OK};
	struct error err = {0};
	bool is_validate = strcmp(command->name, "validate") == 0;
	ASSERT(is_validate || command->place == COMMAND_DAEMON);
	if (open_interrupts(invocation, &cli.interrupt_fd, &err) < 0)
		return output_error(invocation, &err);
	int result = is_validate ? run_validate(&cli, &err) : run_daemon_command(&cli, &err);
	if (cli.interrupt_fd >= 0)
		close(cli.interrupt_fd);
	return result;
}
