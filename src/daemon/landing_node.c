/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon of a backend: keeps landing as the node says, and reports its connections every
 * interval over the node's local socket. When the node cannot be reached it keeps what it has and
 * tries again: packets land all the same. Stopping it leaves landing in place too; only
 * `fairlead detach` (or LANDING_UNDO) takes it away.
 */
#include "base/arena.h"
#include "base/buffer.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/random.h"
#include "control/protocol.h"
#include "daemon/daemon.h"
#include "daemon/landing_config.h"
#include "daemon/landing_trouble.h"
#include "landing/landing.h"

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_INTERVAL_MS 1000u
#define RETRY_MS 500u
#define CHECK_MS 2000u
#define ANSWER_MS 5000u /* after this silence the node is taken for gone, and tried anew */

struct landing_node {
	const struct daemon_options *options;
	uv_loop_t loop;
	struct landing *landing;
	uv_poll_t watch;
	uv_timer_t report_timer;
	uv_timer_t check_timer;
	uv_signal_t signals[2];
	uv_pipe_t pipe;
	uv_connect_t connect;
	bool pipe_open; /* the handle exists */
	bool connected; /* requests may be sent */
	bool awaiting; /* an answer is outstanding */
	bool said_unreachable;
	struct buffer input;
	char boot_id[LANDING_BOOT_ID_BYTES];
	char instance[33]; /* hex; tells this process from another one of the same name */
	/* Why the node refused the last report; "" if it did not. */
	char refusal[1024];
	char generation[DIGEST_HEX_BYTES]; /* "" until a configuration was applied */
	uint64_t interval_ms;
	/* The closing that the last answer of this connection named: entry and hash. */
	uint64_t closing;
	char closing_digest[DIGEST_HEX_BYTES];
	uint64_t cut;
	struct landing_trouble trouble;
};

/* --- carrying out --- */

/* The generation is taken over only when all of it is in place: until then the node sends it again
 * with every answer, and knows by our reports that we do not land by it. */
static void configure(struct landing_node *node, const json_t *json, const char *generation)
{
	struct arena arena;
	struct landing_desired desired;
	struct error err = {0};
	arena_init(&arena, 0);
	int result = landing_config_parse(json, &arena, &desired, &err);
	if (result == 0)
		result = landing_apply(node->landing, &desired, &err);
	if (result == 0) {
		snprintf(node->generation, sizeof(node->generation), "%s", generation);
		log_event(LOG_LEVEL_INFO, "landing.configured", "generation", generation, NULL);
	}
	landing_trouble_failed(&node->trouble, LANDING_FAILURE_CONFIGURED, result < 0 ? &err : NULL,
			       uv_now(&node->loop));
	arena_done(&arena);
}

/* Ordered by the operator; every answer repeats it until the version is retired. */
static void cut(struct landing_node *node, const json_t *list)
{
	struct arena arena;
	struct ip_address *addresses;
	size_t count;
	uint64_t destroyed = 0;
	struct error err = {0};
	if (!json_array_size(list) || !*node->generation)
		return;
	arena_init(&arena, 0);
	int result = landing_addresses_parse(list, SIZE_MAX, &arena, &addresses, &count, &err);
	if (result == 0)
		result = landing_destroy(node->landing, addresses, count, &destroyed, &err);
	landing_trouble_failed(&node->trouble, LANDING_FAILURE_CUT, result < 0 ? &err : NULL,
			       uv_now(&node->loop));
	if (destroyed) {
		char number[32];
		snprintf(number, sizeof(number), "%llu", (unsigned long long)destroyed);
		log_event(LOG_LEVEL_INFO, "landing.cut", "connections", number, NULL);
	}
	node->cut += destroyed;
	arena_done(&arena);
}

/* --- the conversation --- */

static void report(struct landing_node *node);

static void on_report_timer(uv_timer_t *timer)
{
	report(timer->data);
}

static void report_in(struct landing_node *node, uint64_t ms)
{
	uv_timer_start(&node->report_timer, on_report_timer, ms, 0);
}

static void on_pipe_closed(uv_handle_t *handle)
{
	struct landing_node *node = handle->data;
	node->pipe_open = false;
}

static void disconnect(struct landing_node *node, const char *why)
{
	if (!node->said_unreachable)
		log_event(LOG_LEVEL_WARNING, "node.unreachable", "socket", node->options->join,
			  "error", why, NULL);
	node->said_unreachable = true;
	node->connected = false;
	node->awaiting = false;
	/* What another life of the node said proves nothing to the next. */
	node->closing = 0;
	if (node->pipe_open && !uv_is_closing((uv_handle_t *)&node->pipe))
		uv_close((uv_handle_t *)&node->pipe, on_pipe_closed);
	report_in(node, RETRY_MS);
}

static void take_answer(struct landing_node *node, const json_t *answer)
{
	const char *generation = json_string_value(json_object_get(answer, "generation"));
	const json_t *configuration = json_object_get(answer, "configuration");
	json_int_t interval = json_integer_value(json_object_get(answer, "interval_ms"));
	json_int_t closing = json_integer_value(json_object_get(answer, "closing"));
	const char *digest = json_string_value(json_object_get(answer, "closing_digest"));
	if (interval > 0)
		node->interval_ms = (uint64_t)interval;
	if (configuration && generation && strlen(generation) < sizeof(node->generation))
		configure(node, configuration, generation);
	cut(node, json_object_get(answer, "cut"));
	/* The next count begins after this moment, so it may name the closing. */
	node->closing = closing > 0 && digest ? (uint64_t)closing : 0;
	snprintf(node->closing_digest, sizeof(node->closing_digest), "%s", digest ? digest : "");
	node->refusal[0] = '\0';
}

static void take_refusal(struct landing_node *node, const struct error *err)
{
	char text[1024];
	snprintf(text, sizeof(text), "%.1000s", err->text);
	if (strcmp(node->refusal, text) != 0)
		log_event(LOG_LEVEL_ERROR, "report.refused", "error", text, NULL);
	memcpy(node->refusal, text, sizeof(text));
	node->closing = 0;
}

static void take_line(struct landing_node *node, const char *line, size_t length)
{
	json_t *answer = NULL;
	struct error err = {0};
	bool first = !*node->generation;
	if (protocol_parse_answer(line, length, &answer, &err) < 0) {
		take_refusal(node, &err);
	} else {
		take_answer(node, answer);
		json_decref(answer);
	}
	if (node->said_unreachable)
		log_event(LOG_LEVEL_INFO, "node.reached", "socket", node->options->join, NULL);
	node->said_unreachable = false;
	node->awaiting = false;
	report_in(node, first && *node->generation ? 0 : node->interval_ms);
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_part)
{
	(void)handle;
	ret_part->base = malloc(suggested);
	ret_part->len = ret_part->base ? suggested : 0;
}

static void on_read(uv_stream_t *stream, ssize_t length, const uv_buf_t *part)
{
	struct landing_node *node = stream->data;
	if (length > 0)
		buffer_append(&node->input, part->base, (size_t)length);
	free(part->base);
	if (length < 0 || node->input.status) {
		disconnect(node, length < 0 ? uv_strerror((int)length) : "the answer is too long");
		return;
	}
	const char *end;
	while (node->input.length && (end = memchr(node->input.data, '\n', node->input.length))) {
		size_t line = (size_t)(end - node->input.data);
		take_line(node, node->input.data, line);
		buffer_consume(&node->input, line + 1);
	}
}

static void on_connected(uv_connect_t *request, int status)
{
	struct landing_node *node = request->data;
	if (status == UV_ECANCELED)
		return;
	if (status < 0) {
		disconnect(node, uv_strerror(status));
		return;
	}
	node->connected = true;
	uv_read_start((uv_stream_t *)&node->pipe, on_allocate, on_read);
	report(node);
}

static void reconnect(struct landing_node *node)
{
	if (node->pipe_open) {
		report_in(node, RETRY_MS); /* the old handle is still closing */
		return;
	}
	buffer_clear(&node->input);
	uv_pipe_init(&node->loop, &node->pipe, 0);
	node->pipe.data = node;
	node->connect.data = node;
	node->pipe_open = true;
	uv_pipe_connect(&node->connect, &node->pipe, node->options->join, on_connected);
}

/* --- reports --- */

static json_t *connections_json(struct landing_node *node, struct error *err)
{
	struct landing_connections *connections = NULL;
	size_t count = 0;
	if (must_succeed(landing_count(node->landing, &connections, &count, err)) < 0)
		return NULL;
	json_t *json = json_object();
	for (size_t i = 0; i < count; i++) {
		char text[IP_TEXT_BYTES];
		json_object_set_new(json, ip_address_format(&connections[i].address, text),
				    json_integer((json_int_t)connections[i].count));
	}
	free(connections);
	return json;
}

static json_t *landing_json(struct landing_node *node)
{
	struct landing_state state;
	struct landing_counters counters;
	struct error err = {0};
	json_t *alarms = landing_trouble_json(&node->trouble, uv_now(&node->loop));
	json_t *interfaces = json_array();
	landing_state_read(node->landing, &state);
	for (unsigned i = 0; i < state.interface_count; i++)
		json_array_append_new(
		    interfaces, json_pack("{s:s, s:s}", "name", state.interfaces[i].name, "mode",
					  !state.interfaces[i].attached ? "detached"
					  : state.interfaces[i].native  ? "native"
									: "generic"));
	json_t *json =
	    json_pack("{s:o, s:o, s:s, s:s, s:i, s:i}", "alarms", alarms, "interfaces", interfaces,
		      "program", state.program_tag, "layout", state.layout, "handings",
		      (int)state.handing_count, "handings_bound", (int)state.handings_bound);
	if (landing_counters_read(node->landing, &counters, &err) == 0) {
		uint64_t accepted = counters.accepted_4in4 + counters.accepted_6in4 +
				    counters.accepted_4in6 + counters.accepted_6in6;
		json_object_set_new(json, "accepted", json_integer((json_int_t)accepted));
	}
	return json;
}

struct write {
	uv_write_t request;
	char *bytes;
};

static void on_written(uv_write_t *request, int status)
{
	struct write *write = (struct write *)request;
	(void)status; /* a broken connection shows on the reading side, or by silence */
	free(write->bytes);
	free(write);
}

static void send_report(struct landing_node *node, json_t *parameters)
{
	struct buffer bytes;
	struct write *write = must_alloc(1, sizeof(*write));
	buffer_init(&bytes, 0);
	protocol_put_request(&bytes, "landing report", parameters);
	size_t length = bytes.length;
	write->bytes = buffer_take(&bytes);
	uv_buf_t part = uv_buf_init(write->bytes, (unsigned)length);
	if (uv_write(&write->request, (uv_stream_t *)&node->pipe, &part, 1, on_written) == 0) {
		node->awaiting = true;
	} else {
		free(write->bytes);
		free(write);
	}
}

static int make_report(struct landing_node *node, json_t **ret_parameters, struct error *err)
{
	/* What is known as the count begins, whatever comes while it goes on. */
	uint64_t closing = node->closing;
	char digest[DIGEST_HEX_BYTES];
	memcpy(digest, node->closing_digest, sizeof(digest));
	json_t *connections = connections_json(node, err);
	if (!connections)
		return err->code;
	landing_trouble_failed(&node->trouble, LANDING_FAILURE_COUNTED, NULL, uv_now(&node->loop));
	*ret_parameters = json_pack(
	    "{s:s, s:s, s:s, s:o, s:I, s:s*, s:s, s:I, s:o}", "node", node->options->node,
	    "boot_id", node->boot_id, "instance", node->instance, "connections", connections,
	    "closing", (json_int_t)closing, "closing_digest", closing ? digest : NULL, "generation",
	    node->generation, "cut", (json_int_t)node->cut, "landing", landing_json(node));
	return *ret_parameters ? 0
			       : error_set(err, -EILSEQ, "the report holds bytes that are no text");
}

static void report(struct landing_node *node)
{
	if (!node->connected) {
		reconnect(node);
		return;
	}
	if (node->awaiting) {
		disconnect(node, "it does not answer");
		return;
	}
	struct error err = {0};
	json_t *parameters = NULL;
	int result = make_report(node, &parameters, &err);
	/* Silence, not zero: the node will say that this backend is not known of. */
	if (result < 0)
		landing_trouble_failed(&node->trouble, LANDING_FAILURE_COUNTED, &err,
				       uv_now(&node->loop));
	else
		send_report(node, parameters);
	json_decref(parameters);
	report_in(node, node->awaiting ? ANSWER_MS : node->interval_ms);
}

/* --- watching --- */

static void check(struct landing_node *node)
{
	struct error err = {0};
	struct landing_alarms alarms;
	if (landing_check(node->landing, &alarms, &err) < 0) {
		landing_trouble_failed(&node->trouble, LANDING_FAILURE_CHECKED, &err,
				       uv_now(&node->loop));
		return;
	}
	landing_trouble_failed(&node->trouble, LANDING_FAILURE_CHECKED, NULL, uv_now(&node->loop));
	landing_trouble_found(&node->trouble, &alarms, uv_now(&node->loop));
}

static void on_watch(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	check(poll->data);
}

static void on_check_timer(uv_timer_t *timer)
{
	check(timer->data);
}

static void on_signal(uv_signal_t *handle, int number)
{
	log_event(LOG_LEVEL_INFO, "landing.stopping", "signal", strsignal(number), "landing",
		  "stays in place", NULL);
	uv_stop(handle->loop);
}

static void on_walk(uv_handle_t *handle, void *context)
{
	(void)context;
	if (!uv_is_closing(handle))
		uv_close(handle, NULL);
}

static void start_handles(struct landing_node *node)
{
	uv_poll_init(&node->loop, &node->watch, landing_watch_fd(node->landing));
	node->watch.data = node;
	uv_poll_start(&node->watch, UV_READABLE, on_watch);
	uv_timer_init(&node->loop, &node->report_timer);
	node->report_timer.data = node;
	uv_timer_init(&node->loop, &node->check_timer);
	node->check_timer.data = node;
	uv_timer_start(&node->check_timer, on_check_timer, CHECK_MS, CHECK_MS);
	static const int numbers[2] = {SIGTERM, SIGINT};
	for (int i = 0; i < 2; i++) {
		uv_signal_init(&node->loop, &node->signals[i]);
		uv_signal_start(&node->signals[i], on_signal, numbers[i]);
	}
}

static void draw_instance(char text[33])
{
	uint8_t bytes[16];
	struct random random;
	random_init_system(&random);
	random_fill(&random, bytes, sizeof(bytes));
	hex_encode(bytes, sizeof(bytes), text);
}

int landing_node_run(const struct daemon_options *options, struct error *err)
{
	struct landing_node node = {.options = options, .interval_ms = FIRST_INTERVAL_MS};
	char state_folder[4096];
	snprintf(state_folder, sizeof(state_folder), "%s/landing", options->state_folder);
	const struct landing_options landing = {.pin_root = options->landing_pins,
						.state_folder = state_folder,
						.interfaces = options->underlays,
						.interface_count =
						    (unsigned)options->underlay_count,
						.generic_only = options->generic};
	signal(SIGPIPE, SIG_IGN); /* a node that went away shows as an error of the write */
	draw_instance(node.instance);
	int result = landing_boot_id(node.boot_id, err);
	if (result == 0)
		result = landing_open(&landing, &node.landing, err);
	if (result < 0)
		return result;
	buffer_init(&node.input, PROTOCOL_MAX_LINE);
	uv_loop_init(&node.loop);
	start_handles(&node);
	log_event(LOG_LEVEL_INFO, "landing.started", "node", options->node, "join", options->join,
		  NULL);
	daemon_notify("READY=1");
	report(&node);
	uv_run(&node.loop, UV_RUN_DEFAULT);

	daemon_notify("STOPPING=1");
	uv_walk(&node.loop, on_walk, NULL);
	uv_run(&node.loop, UV_RUN_DEFAULT);
	uv_loop_close(&node.loop);
	buffer_done(&node.input);
	return landing_close(node.landing, LANDING_KEEP, err);
}
