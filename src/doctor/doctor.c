/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/doctor.h"

#include "base/clock.h"
#include "base/memory.h"
#include "cli/client.h"
#include "cli/output.h"
#include "control/render.h"
#include "doctor/examination.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- what is known before ----------------------------------------------------------------------
 */

static int64_t wall_ms(void)
{
	return (int64_t)clock_wall_ms(&clock_system);
}

/* The voter's clock as it was half-way between question and answer. */
static void take_offset(struct examination *seen, int64_t asked_ms, int64_t answered_ms)
{
	const char *text = json_string_value(json_object_get(seen->status, "clock"));
	struct tm tm = {0};
	const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	if (!rest || *rest != '.')
		return;
	const int64_t there_ms = (int64_t)timegm(&tm) * 1000 + strtol(rest + 1, NULL, 10);
	seen->offset_ms = (asked_ms + answered_ms) / 2 - there_ms;
	seen->offset_known = true;
}

static void ask_daemon(struct examination *seen, struct error *err)
{
	json_t *none = json_object();
	if (client_call(seen->socket, -1, command_find("doctor"), none, &seen->facts, err) == 0) {
		struct error ignored = {0};
		const int64_t asked_ms = wall_ms();
		if (client_call(seen->socket, -1, command_find("status"), none, &seen->status,
				&ignored) < 0)
			examination_unknown(seen, "what the fabric says of this node: %s",
					    ignored.text);
		else
			take_offset(seen, asked_ms, wall_ms());
	}
	json_decref(none);
}

/* --- what comes of it --------------------------------------------------------------------------
 */

static int rank(const json_t *finding)
{
	const char *severity = json_string_value(json_object_get(finding, "severity"));
	for (int i = 0; severity && i <= FINDING_IS_NOTE; i++) {
		if (strcmp(severity, finding_severity_name((enum finding_severity)i)) == 0)
			return i;
	}
	return 0;
}

/* The worst first; those of one severity as they were found. */
static json_t *sort_findings(const json_t *findings)
{
	json_t *sorted = json_array();
	for (int severity = 0; severity <= FINDING_IS_NOTE; severity++) {
		for (size_t i = 0; i < json_array_size(findings); i++) {
			json_t *finding = json_array_get(findings, i);
			if (rank(finding) == severity)
				json_array_append(sorted, finding);
		}
	}
	return sorted;
}

static int print(const struct invocation *invocation, const json_t *answer, struct error *err)
{
	const struct render_style style = {.color = output_color(invocation),
					   .width = output_width()};
	struct buffer text;
	buffer_init(&text, 0);
	render_answer(invocation, answer, &style, &text);
	int result = output_write(&text, err);
	buffer_done(&text);
	return result;
}

static int report(const struct invocation *invocation, struct examination *seen, struct error *err)
{
	json_t *findings = sort_findings(seen->findings);
	const bool bad = json_array_size(findings) && rank(json_array_get(findings, 0)) == 0;
	const char *node = examination_text(seen, "node");
	const char *role = examination_text(seen, "role");
	json_t *answer =
	    json_pack("{s:s, s:s, s:b, s:i, s:o, s:O}", "node", node ? node : "?", "roles",
		      role ? role : "?", "daemon", seen->facts != NULL, "looked_at",
		      (int)seen->looked, "findings", findings, "unknown", seen->unknown);
	int result = print(invocation, answer, err);
	json_decref(answer);
	return result < 0 ? result : bad;
}

static int examine(const struct invocation *invocation, const json_t *parameters,
		   const struct doctor_folders *folders, struct error *err)
{
	static void (*const checks[])(struct examination *) = {
	    check_daemon, check_machine, check_sysctls, check_routing,
	    check_links,  check_ways,    check_firewall};
	char socket[PATH_MAX];
	const char *run = json_string_value(json_object_get(parameters, "run_dir"));
	struct error absent = {0};
	struct examination seen = {.parameters = parameters, .folders = folders};
	snprintf(socket, sizeof(socket), "%s/fairlead.sock", run ? run : "/run/fairlead");
	seen.socket = invocation->socket ? invocation->socket
		      : run              ? socket
					 : COMMAND_DEFAULT_SOCKET;
	seen.findings = json_array();
	seen.unknown = json_array();
	int result = netlink_init(&seen.route, NETLINK_ROUTE);
	if (result < 0)
		error_set(err, result, "cannot ask the kernel about the network: %s",
			  error_text(result));
	if (result == 0) {
		ask_daemon(&seen, &absent);
		if (!seen.facts && !json_object_get(parameters, "role"))
			result = error_set(
			    err, -FL_ENOTFOUND,
			    "this machine is no node: there is no %s/node.json, and no daemon "
			    "answers: %s",
			    folders->state, absent.text);
	}
	if (result == 0 && !seen.facts)
		FINDING_PUT(seen.findings, DAEMON_DOWN, "", "", absent.text);
	for (size_t i = 0; result == 0 && i < sizeof(checks) / sizeof(checks[0]); i++)
		checks[i](&seen);
	if (result == 0)
		result = report(invocation, &seen, err);
	netlink_done(&seen.route);
	json_decref(seen.findings);
	json_decref(seen.unknown);
	json_decref(seen.facts);
	json_decref(seen.status);
	return result;
}

/* `doctor return-path`: the voter has every backend send. */
static int return_path(const struct invocation *invocation, struct error *err)
{
	json_t *answer = NULL;
	const char *socket = invocation->socket ? invocation->socket : COMMAND_DEFAULT_SOCKET;
	if (!json_object_get(invocation->parameters, "to"))
		return error_set(err, -FL_EUSAGE,
				 "`fairlead doctor return-path` wants --to: the address of a "
				 "machine outside");
	int result =
	    client_call(socket, -1, invocation->command, invocation->parameters, &answer, err);
	if (result < 0)
		return result;
	result = print(invocation, answer, err);
	if (result == 0)
		result = json_is_false(json_object_get(answer, "well")) ? 1 : 0;
	json_decref(answer);
	return result;
}

int doctor_main(const struct invocation *invocation, const json_t *parameters,
		const struct doctor_folders *folders)
{
	struct error err = {0};
	const char *what = json_string_value(json_object_get(invocation->parameters, "what"));
	int result;
	signal(SIGPIPE, SIG_IGN);
	if (what && strcmp(what, "return-path") != 0)
		result = error_set(&err, -FL_EUSAGE,
				   "\"%s\" is nothing that `fairlead doctor` knows: say nothing, "
				   "or return-path",
				   what);
	else if (what)
		result = return_path(invocation, &err);
	else
		result = examine(invocation, parameters, folders, &err);
	return result == -EPIPE ? 0 : result < 0 ? output_error(invocation, &err) : result;
}
