/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/rollouts.h"

#include "base/memory.h"
#include "cli/client.h"
#include "cli/output.h"
#include "control/render.h"
#include "control/screen.h"

#include <stdio.h>
#include <string.h>

#define STATUS_COMMAND "rollout status"

/* A rollout that is waited for: {"service", "version"}. */
struct rollouts {
	const struct invocation *invocation;
	const char *socket;
	struct wait *wait;
	int interrupt_fd;
	json_t *goals; /* not reached yet */
};

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	return text ? text : "";
}

static json_int_t number_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

static bool is_true(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

/* --- what is waited for --- */

static void add_goal(struct rollouts *rollouts, const json_t *of, json_int_t version)
{
	json_array_append_new(
	    rollouts->goals,
	    json_pack("{s:s, s:I}", "service", text_of(of, "service"), "version", version));
}

enum goal_state { GOAL_WAITS, GOAL_REACHED, GOAL_LOST };

/* Clients may have all come to it, and be on their way to a newer one already. */
static enum goal_state judge(const struct wait *wait, json_int_t version, const json_t *rollout)
{
	bool is_target = number_of(rollout, "target") == version;
	bool has_all = number_of(rollout, "base") == version;
	if (!is_target && (!has_all || wait->retired))
		return GOAL_LOST;
	if (is_target && is_true(rollout, "under_way"))
		return GOAL_WAITS;
	return wait->retired && json_array_size(json_object_get(rollout, "older")) ? GOAL_WAITS
										   : GOAL_REACHED;
}

/* Of several rollouts, as `rollout status` tells of them, those that have not ended. */
static void add_rollouts(struct rollouts *rollouts, const json_t *list)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *rollout = json_array_get(list, i);
		json_int_t target = number_of(rollout, "target");
		if (json_array_size(list) == 1 ||
		    judge(rollouts->wait, target, rollout) == GOAL_WAITS)
			add_goal(rollouts, rollout, target);
	}
}

static void add_published(struct rollouts *rollouts, const json_t *plan)
{
	const json_t *services = json_object_get(plan, "services");
	for (size_t i = 0; i < json_array_size(services); i++) {
		const json_t *service = json_array_get(services, i);
		if (is_true(service, "new_version"))
			add_goal(rollouts, service, number_of(service, "to_version"));
	}
}

/* --- what is said --- */

static void put_progress(const json_t *rollout, bool clock, size_t more, struct buffer *text)
{
	const json_t *older = json_array_get(json_object_get(rollout, "older"), 0);
	const char *service = text_of(rollout, "service");
	struct buffer words;
	buffer_init(&words, 0);
	buffer_printf(&words, "%s: ", service);
	render_progress(rollout, clock, &words);
	if (is_true(rollout, "paused"))
		buffer_printf(&words, "; `fairlead rollout resume %s` lets it go on", service);
	if (!is_true(rollout, "under_way") && older) {
		buffer_puts(&words, "; ");
		render_why(older, clock, &words);
	}
	if (more)
		buffer_printf(&words, " (and %zu more)", more);
	must_succeed(words.status);
	screen_puts(text, words.data);
	must_succeed(text->status);
	buffer_done(&words);
}

static void say_progress(const struct rollouts *rollouts, const json_t *rollout, size_t more)
{
	struct buffer text;
	struct buffer live;
	buffer_init(&text, 0);
	buffer_init(&live, 0);
	put_progress(rollout, false, more, &text);
	put_progress(rollout, true, more, &live);
	wait_say(rollouts->wait, text.data, live.data);
	buffer_done(&text);
	buffer_done(&live);
}

static void say_reached(const struct rollouts *rollouts, const json_t *goal)
{
	char line[256];
	wait_clear(rollouts->wait);
	if (rollouts->wait->is_quiet)
		return;
	snprintf(line, sizeof(line), "fairlead: version %lld of %s has all clients%s\n",
		 (long long)number_of(goal, "version"), text_of(goal, "service"),
		 rollouts->wait->retired ? ", and no older one drains" : "");
	output_message(line);
}

static int say_lost(const struct rollouts *rollouts, const json_t *goal, const json_t *rollout)
{
	struct error err = {0};
	const char *service = text_of(goal, "service");
	long long version = (long long)number_of(goal, "version");
	long long target = (long long)number_of(rollout, "target");
	wait_clear(rollouts->wait);
	if (target)
		error_set(&err, -FL_ESTATE,
			  "version %lld of %s is superseded: by a later order clients go to "
			  "version %lld; `fairlead log` says who gave it",
			  version, service, target);
	else
		error_set(&err, -FL_ENOTFOUND,
			  "version %lld of %s has lost its clients: the service was removed; "
			  "`fairlead log` says by whom",
			  version, service);
	return output_error(rollouts->invocation, &err);
}

/* What is left goes on. */
static int say_ended(const struct rollouts *rollouts, int code, const char *why)
{
	struct error err = {0};
	const json_t *goal = json_array_get(rollouts->goals, 0);
	size_t more = json_array_size(rollouts->goals) - 1;
	char others[48] = "";
	wait_clear(rollouts->wait);
	if (more)
		snprintf(others, sizeof(others), " and of %zu more", more);
	error_set(&err, code,
		  "%s; the order stays in force, and the rollout of %s%s goes on: `fairlead "
		  "rollout status` shows it",
		  why, text_of(goal, "service"), others);
	if (*rollouts->wait->said && !rollouts->wait->is_quiet && code == -ETIMEDOUT)
		error_prefix(&err, "%s", rollouts->wait->said);
	(void)output_error(rollouts->invocation, &err);
	return code == -ETIMEDOUT ? CLI_TIMEOUT : CLI_INTERRUPTED;
}

/* --- asking --- */

static int ask(const struct rollouts *rollouts, json_t **ret_list, struct error *err)
{
	/* Of several services all are asked for: they are told in one answer. */
	json_t *parameters = json_object();
	if (json_array_size(rollouts->goals) == 1)
		json_object_set(parameters, "service",
				json_object_get(json_array_get(rollouts->goals, 0), "service"));
	int result = client_call(rollouts->socket, rollouts->interrupt_fd,
				 command_find(STATUS_COMMAND), parameters, ret_list, err);
	json_decref(parameters);
	/* The last address of a removed service is freed: it is gone. */
	if (result != -FL_ENOTFOUND)
		return result;
	*ret_list = json_array();
	return 0;
}

static const json_t *find_rollout(const json_t *list, const char *service)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		if (strcmp(text_of(json_array_get(list, i), "service"), service) == 0)
			return json_array_get(list, i);
	}
	return NULL;
}

/* Looks at all goals; what is reached leaves them. Returns the exit status, -1 while some are left.
 */
static int look(struct rollouts *rollouts, const json_t *list)
{
	const json_t *first = NULL;
	for (size_t i = 0; i < json_array_size(rollouts->goals);) {
		const json_t *goal = json_array_get(rollouts->goals, i);
		const json_t *rollout = find_rollout(list, text_of(goal, "service"));
		switch (judge(rollouts->wait, number_of(goal, "version"), rollout)) {
		case GOAL_WAITS:
			first = first ? first : rollout;
			i++;
			break;
		case GOAL_REACHED:
			say_reached(rollouts, goal);
			json_array_remove(rollouts->goals, i);
			break;
		case GOAL_LOST:
			return say_lost(rollouts, goal, rollout);
		}
	}
	if (!first)
		return CLI_OK;
	say_progress(rollouts, first, json_array_size(rollouts->goals) - 1);
	return -1;
}

/* A file that is applied already may be on its way to clients still: then it is that what is waited
 * for. */
static int find_goals(struct rollouts *rollouts, const json_t *answer, struct error *err)
{
	json_int_t published = number_of(answer, "published");
	json_t *list = NULL;
	if (is_true(answer, "dry_run"))
		return 0;
	if (json_is_array(answer))
		add_rollouts(rollouts, answer);
	else if (json_object_get(answer, "service"))
		add_goal(rollouts, answer, published ? published : number_of(answer, "to"));
	else if (!is_true(answer, "empty"))
		add_published(rollouts, json_object_get(answer, "plan"));
	else if (ask(rollouts, &list, err) < 0)
		return err->code;
	add_rollouts(rollouts, list);
	json_decref(list);
	return 0;
}

/* A daemon that is being replaced is back in a moment. */
static bool is_absence(int result)
{
	return result == -ENOENT || result == -ECONNREFUSED || result == -ECONNRESET;
}

static int wait_for_all(struct rollouts *rollouts)
{
	while (json_array_size(rollouts->goals)) {
		struct error err = {0};
		json_t *list = NULL;
		int result = ask(rollouts, &list, &err);
		int status = result == 0 ? look(rollouts, list) : -1;
		json_decref(list);
		if (status >= 0)
			return status;
		if (result == -EINTR)
			return say_ended(rollouts, result, "interrupted");
		if (result < 0 && !is_absence(result)) {
			wait_clear(rollouts->wait);
			return output_error(rollouts->invocation, &err);
		}
		if (result < 0)
			wait_say(rollouts->wait, err.text, NULL);
		if (wait_is_over(rollouts->wait))
			return say_ended(rollouts, -ETIMEDOUT, "--timeout is over");
		if (wait_pause(rollouts->interrupt_fd))
			return say_ended(rollouts, -EINTR, "interrupted");
	}
	return CLI_OK;
}

int rollouts_wait(const struct invocation *invocation, const char *socket, const json_t *answer,
		  struct wait *wait, int interrupt_fd)
{
	struct rollouts rollouts = {.invocation = invocation,
				    .socket = socket,
				    .wait = wait,
				    .interrupt_fd = interrupt_fd,
				    .goals = json_array()};
	struct error err = {0};
	*wait->said = '\0';
	wait->is_quiet = invocation->output != OUTPUT_TABLE;
	int status = find_goals(&rollouts, answer, &err) < 0 ? output_error(invocation, &err)
							     : wait_for_all(&rollouts);
	json_decref(rollouts.goals);
	return status;
}
