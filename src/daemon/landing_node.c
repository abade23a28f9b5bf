/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon of a backend: keeps landing as the node says, and reports its connections every
 * interval over a socket of the node's. When the node cannot be reached it keeps what it has and
 * tries again: packets land all the same. Stopping it leaves landing in place too; only
 * `fairlead detach` (or LANDING_UNDO) takes it away.
 *
 * What the node wants is kept as a set, of which each message makes the next one. A set that cannot
 * be carried out is tried again at every interval; until then reports name the one before it.
 */
#include "base/arena.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/random.h"
#include "daemon/daemon.h"
#include "daemon/landing_trouble.h"
#include "daemon/peer_stream.h"
#include "fabric/landing_set.h"
#include "kernel/boot.h"
#include "landing/cookies.h"
#include "landing/landing.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
	struct signals_watch signals;
	struct peer_stream stream;
	uv_connect_t connect;
	bool stream_open; /* the handle exists */
	bool connected; /* messages may be sent */
	bool awaiting; /* an answer is outstanding */
	bool said_unreachable;
	char boot_id[BOOT_ID_BYTES];
	char instance[33]; /* hex; tells this process from another one of the same name */
	char refusal[1024]; /* why the node refused the last report; "" if it did not */
	struct landing_set *wanted; /* what the node said last; NULL: nothing yet */
	struct digest generation; /* of the set that was carried out; zero: of none */
	struct arena cuts_arena;
	struct ip_address *cuts; /* whose connections are to be ended */
	size_t cut_count;
	uint64_t interval_ms;
	struct ledger_position closing; /* that the last answer of this connection named */
	struct cookie_watch cookies;
	uint64_t cut;
	bool reported_carried_out; /* the last report named a generation */
	struct landing_trouble trouble;
};

/* --- carrying out --- */

static struct ip_address *addresses_of(const struct wire_list *list, struct arena *arena)
{
	const struct peer_address *rows = list->items;
	struct ip_address *addresses =
	    must_have(arena_array(arena, list->count + 1, sizeof(*addresses)));
	for (size_t i = 0; i < list->count; i++)
		addresses[i] = rows[i].address;
	return addresses;
}

/* As the landing takes it; in `arena`. */
static struct landing_desired desired_of(const struct landing_set *set, struct arena *arena)
{
	const struct wire_list *lists = set->lists;
	const struct peer_prefix *pools = lists[LANDING_POOLS].items;
	const struct peer_listener *told = lists[LANDING_LISTENERS].items;
	size_t pool_count = lists[LANDING_POOLS].count;
	size_t listener_count = lists[LANDING_LISTENERS].count;
	struct ip_prefix *prefixes =
	    must_have(arena_array(arena, pool_count + 1, sizeof(*prefixes)));
	struct landing_listener *listeners =
	    must_have(arena_array(arena, listener_count + 1, sizeof(*listeners)));
	for (size_t i = 0; i < pool_count; i++)
		prefixes[i] = pools[i].prefix;
	for (size_t i = 0; i < listener_count; i++)
		listeners[i] =
		    (struct landing_listener){.destination = told[i].destination,
					      .protocol = (uint8_t)told[i].protocol,
					      .port = (uint16_t)told[i].port,
					      .listen_address = told[i].listen_address,
					      .listen_port = (uint16_t)told[i].listen_port};
	return (struct landing_desired){.pools = prefixes,
					.pool_count = (unsigned)pool_count,
					.addresses = addresses_of(&lists[LANDING_ADDRESSES], arena),
					.address_count = (unsigned)lists[LANDING_ADDRESSES].count,
					.edges = addresses_of(&lists[LANDING_EDGES], arena),
					.edge_count = (unsigned)lists[LANDING_EDGES].count,
					.listeners = listeners,
					.listener_count = (unsigned)listener_count};
}

/* The generation is taken over only when all of it is in place: until then it is tried again, and
 * the node knows by our reports that we do not land by it. */
static void carry_out(struct landing_node *node)
{
	struct arena arena;
	struct error err = {0};
	if (!node->wanted ||
	    memcmp(&node->generation, &node->wanted->generation, sizeof(node->generation)) == 0)
		return;
	arena_init(&arena, 0);
	const struct landing_desired desired = desired_of(node->wanted, &arena);
	int result = landing_apply(node->landing, &desired, &err);
	if (result == 0) {
		char text[DIGEST_HEX_BYTES];
		node->generation = node->wanted->generation;
		hex_encode(node->generation.bytes, DIGEST_BYTES, text);
		log_event(LOG_LEVEL_INFO, "landing.configured", "generation", text, NULL);
	}
	landing_trouble_failed(&node->trouble, LANDING_FAILURE_CONFIGURED, result < 0 ? &err : NULL,
			       uv_now(&node->loop));
	arena_done(&arena);
}

/* Ordered by the operator, and done at every answer until the version is retired. */
static void cut(struct landing_node *node)
{
	uint64_t destroyed = 0;
	struct error err = {0};
	if (!node->cut_count || landing_generation_is_none(&node->generation))
		return;
	int result = landing_destroy(node->landing, node->cuts, node->cut_count, &destroyed, &err);
	landing_trouble_failed(&node->trouble, LANDING_FAILURE_CUT, result < 0 ? &err : NULL,
			       uv_now(&node->loop));
	if (destroyed) {
		char number[32];
		snprintf(number, sizeof(number), "%llu", (unsigned long long)destroyed);
		log_event(LOG_LEVEL_INFO, "landing.cut", "connections", number, NULL);
	}
	node->cut += destroyed;
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

static void lost(struct landing_node *node, const char *why)
{
	if (!node->said_unreachable)
		log_event(LOG_LEVEL_WARNING, "node.unreachable", "socket", node->options->join,
			  "error", why, NULL);
	node->said_unreachable = true;
	node->connected = false;
	node->awaiting = false;
	/* What another life of the node said proves nothing to the next. */
	node->closing = (struct ledger_position){0};
	report_in(node, RETRY_MS);
}

static void on_stream_end(struct peer_stream *stream, const char *why)
{
	lost(stream->context, why);
}

static void on_stream_closed(struct peer_stream *stream)
{
	struct landing_node *node = stream->context;
	node->stream_open = false;
}

static void take_configuration(struct landing_node *node, const struct peer_configure *message)
{
	struct landing_set *set = NULL;
	struct error err = {0};
	/* What is not understood is asked for anew, as a whole, by another session. */
	if (landing_set_apply(node->wanted, message, &set, &err) < 0) {
		landing_set_unref(node->wanted);
		node->wanted = NULL;
		peer_stream_end(&node->stream, err.text);
		return;
	}
	landing_set_unref(node->wanted);
	node->wanted = set;
	carry_out(node);
}

static void take_cuts(struct landing_node *node, const struct peer_cut *message)
{
	struct wire_list list;
	memcpy(&list, &message->addresses, sizeof(list));
	arena_done(&node->cuts_arena);
	arena_init(&node->cuts_arena, 0);
	node->cuts = addresses_of(&list, &node->cuts_arena);
	node->cut_count = list.count;
}

static void answered(struct landing_node *node, uint64_t next_ms)
{
	if (node->said_unreachable)
		log_event(LOG_LEVEL_INFO, "node.reached", "socket", node->options->join, NULL);
	node->said_unreachable = false;
	node->awaiting = false;
	report_in(node, next_ms);
}

static void take_heard(struct landing_node *node, const struct peer_heard *heard, bool first)
{
	node->interval_ms = heard->interval_ms;
	landing_set_path_mtu(node->landing, (uint32_t)heard->path_mtu);
	carry_out(node);
	cut(node);
	/* The next count begins after this moment, so it may name the closing. */
	node->closing = (struct ledger_position){.sequence = heard->closing_sequence,
						 .digest = heard->closing_hash};
	node->refusal[0] = '\0';
	answered(node, first ? 0 : node->interval_ms);
}

static void take_refusal(struct landing_node *node, const struct peer_refused *refused)
{
	char text[sizeof(node->refusal)];
	snprintf(text, sizeof(text), "%.1000s", refused->sentence);
	if (strcmp(node->refusal, text) != 0)
		log_event(LOG_LEVEL_ERROR, "report.refused", "error", text, NULL);
	memcpy(node->refusal, text, sizeof(text));
	node->closing = (struct ledger_position){0};
	answered(node, node->interval_ms);
}

static void on_message(struct peer_stream *stream, const struct peer_message *message,
		       struct arena *arena)
{
	struct landing_node *node = stream->context;
	bool first = !node->reported_carried_out;
	(void)arena;
	switch ((int)message->number) {
	case PEER_CONFIGURE:
		take_configuration(node, &message->configure);
		break;
	case PEER_CUT:
		take_cuts(node, &message->cut);
		break;
	case PEER_HEARD:
		take_heard(node, &message->heard,
			   first && !landing_generation_is_none(&node->generation));
		break;
	case PEER_REFUSED:
		take_refusal(node, &message->refused);
		break;
	default:
		peer_stream_end(stream, "it says what no node says to a landing");
		break;
	}
}

/* A node of an earlier release has only the local API there. */
static const char *why_not_connected(const struct landing_node *node, int status)
{
	if (status == UV_ENOENT && access(node->options->join, F_OK) == 0)
		return "the node there is of an earlier release and cannot hear this landing: "
		       "upgrade it. Packets go on landing as they did";
	return uv_strerror(status);
}

static void on_connected(uv_connect_t *request, int status)
{
	struct landing_node *node = request->data;
	if (status == UV_ECANCELED)
		return;
	if (status < 0) {
		peer_stream_end(&node->stream, why_not_connected(node, status));
		return;
	}
	node->connected = true;
	peer_stream_start(&node->stream);
	peer_stream_send(&node->stream,
			 &(struct peer_message){.number = PEER_HELLO,
						.hello = {.level = PEER_LEVEL,
							  .node = node->options->node,
							  .boot_id = node->boot_id,
							  .instance = node->instance}});
	report(node);
}

static void reconnect(struct landing_node *node)
{
	if (node->stream_open) {
		report_in(node, RETRY_MS); /* the old handle is still closing */
		return;
	}
	node->stream.context = node;
	node->stream.on_message = on_message;
	node->stream.on_end = on_stream_end;
	node->stream.on_closed = on_stream_closed;
	peer_stream_init(&node->stream, &node->loop);
	node->connect.data = node;
	node->stream_open = true;
	uv_pipe_connect(&node->connect, &node->stream.pipe, node->options->join_peers,
			on_connected);
}

/* --- reports --- */

static void add_counts(struct peer_report *report, const struct landing_connections *counted,
		       size_t count, struct arena *arena)
{
	struct peer_count *counts = must_have(arena_array(arena, count + 1, sizeof(*counts)));
	for (size_t i = 0; i < count; i++)
		counts[i] = (struct peer_count){
		    .address = counted[i].address,
		    .connections = counted[i].count < UINT32_MAX ? counted[i].count : UINT32_MAX};
	report->counts.items = counts;
	report->counts.count = count;
}

/* An address that the machine does not have now, or that it is not asked for, proves nothing of the
 * flows that edges send there (PROTOCOL.md, rule 13). */
static int find_owned(struct landing_node *node, struct peer_report *report, struct arena *arena,
		      struct error *err)
{
	if (!node->wanted)
		return 0;
	const struct wire_list *told = &node->wanted->lists[LANDING_ADDRESSES];
	const struct ip_address *addresses = addresses_of(told, arena);
	bool *found = must_have(arena_array(arena, told->count + 1, sizeof(*found)));
	struct peer_end *owned = must_have(arena_array(arena, told->count + 1, sizeof(*owned)));
	int result = must_succeed(landing_owns(node->landing, addresses, told->count, found, err));
	report->owned.items = owned;
	for (size_t i = 0; result == 0 && i < told->count; i++) {
		if (found[i])
			owned[report->owned.count++].address = addresses[i];
	}
	return result;
}

static const char *clean(const json_t *alarm, const char *key, struct arena *arena)
{
	const char *text = json_string_value(json_object_get(alarm, key));
	return must_have(wire_clean_text(text ? text : "", PEER_SENTENCE_MAX, arena));
}

static void add_alarms(const struct landing_node *node, struct peer_report *report,
		       struct arena *arena)
{
	json_t *list = must_have(landing_trouble_json(&node->trouble, uv_now(&node->loop)));
	size_t count = json_array_size(list);
	count = count < PEER_ALARMS_MAX ? count : PEER_ALARMS_MAX;
	struct peer_alarm *alarms = must_have(arena_array(arena, count + 1, sizeof(*alarms)));
	for (size_t i = 0; i < count; i++) {
		const json_t *alarm = json_array_get(list, i);
		alarms[i] = (struct peer_alarm){.code = clean(alarm, "code", arena),
						.severity = clean(alarm, "severity", arena),
						.subject = clean(alarm, "subject", arena),
						.text = clean(alarm, "text", arena),
						.advice = clean(alarm, "advice", arena)};
	}
	json_decref(list);
	report->alarms.items = alarms;
	report->alarms.count = count;
}

static void add_state(struct landing_node *node, struct peer_report *report, struct arena *arena)
{
	struct landing_state state;
	struct landing_counters counters;
	struct error err = {0};
	landing_state_read(node->landing, &state);
	struct peer_interface *interfaces =
	    must_have(arena_array(arena, state.interface_count + 1, sizeof(*interfaces)));
	for (unsigned i = 0; i < state.interface_count; i++)
		interfaces[i] = (struct peer_interface){
		    .name =
			must_have(wire_clean_text(state.interfaces[i].name, PEER_NAME_MAX, arena)),
		    .mode = !state.interfaces[i].attached ? "detached"
			    : state.interfaces[i].native  ? "native"
							  : "generic"};
	report->interfaces.items = interfaces;
	report->interfaces.count = state.interface_count;
	report->program = must_have(arena_strdup(arena, state.program_tag));
	report->layout = must_have(arena_strdup(arena, state.layout));
	report->listeners = state.listener_count;
	report->listeners_bound = state.listeners_bound;
	if (landing_counters_read(node->landing, &counters, &err) == 0)
		report->accepted = counters.accepted_4in4 + counters.accepted_6in4 +
				   counters.accepted_4in6 + counters.accepted_6in6;
}

static void send_report(struct landing_node *node, struct peer_message *message,
			const struct landing_connections *counted, size_t count,
			struct arena *arena)
{
	struct peer_report *report = &message->report;
	report->generation = node->generation;
	report->closing_sequence = node->closing.sequence;
	report->closing_hash = node->closing.digest;
	report->cut = node->cut;
	report->cookies_known =
	    cookies_age(&node->cookies, uv_now(&node->loop), &report->cookies_ms);
	add_counts(report, counted, count, arena);
	add_alarms(node, report, arena);
	add_state(node, report, arena);
	node->awaiting = true;
	node->reported_carried_out = !landing_generation_is_none(&node->generation);
	peer_stream_send(&node->stream, message);
}

static void report(struct landing_node *node)
{
	if (!node->connected) {
		reconnect(node);
		return;
	}
	if (node->awaiting) {
		peer_stream_end(&node->stream, "it does not answer");
		return;
	}
	struct arena arena;
	struct error err = {0};
	struct peer_message message = {.number = PEER_REPORT};
	struct landing_connections *counted = NULL;
	size_t count = 0;
	arena_init(&arena, 0);
	cookies_look(&node->cookies, uv_now(&node->loop));
	int result = find_owned(node, &message.report, &arena, &err);
	if (result == 0)
		result = must_succeed(landing_count(node->landing, &counted, &count, &err));
	if (result == 0 && count > PEER_COUNTS_MAX)
		result = error_set(&err, -FL_ELIMIT,
				   "%zu addresses have connections, and a report holds %u", count,
				   PEER_COUNTS_MAX);
	landing_trouble_failed(&node->trouble, LANDING_FAILURE_COUNTED, result < 0 ? &err : NULL,
			       uv_now(&node->loop));
	/* Silence, not zero: the node will say that this backend is not known of. */
	if (result == 0)
		send_report(node, &message, counted, count, &arena);
	free(counted);
	arena_done(&arena);
	if (node->connected)
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
	node->signals = (struct signals_watch){
	    .event = "landing.stopping", .key = "landing", .value = "stays in place"};
	signals_watch_start(&node->signals, &node->loop);
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
	char former_sysctls[4096];
	snprintf(former_sysctls, sizeof(former_sysctls), "%s/landing/sysctls",
		 options->state_folder);
	const struct landing_options landing = {.pin_root = options->landing_pins,
						.former_sysctls = former_sysctls,
						.interfaces = options->underlays,
						.interface_count =
						    (unsigned)options->underlay_count,
						.generic_only = options->generic};
	draw_instance(node.instance);
	int result = boot_id_read(node.boot_id, err);
	if (result == 0)
		result = landing_open(&landing, &node.landing, err);
	if (result < 0)
		return result;
	arena_init(&node.cuts_arena, 0);
	uv_loop_init(&node.loop);
	start_handles(&node);
	log_event(LOG_LEVEL_INFO, "landing.started", "node", options->node, "join", options->join,
		  NULL);
	daemon_notify("READY=1");
	report(&node);
	uv_run(&node.loop, UV_RUN_DEFAULT);

	daemon_notify("STOPPING=1");
	node.said_unreachable = true;
	if (node.stream_open)
		peer_stream_end(&node.stream, "this landing stops");
	uv_walk(&node.loop, on_walk, NULL);
	uv_run(&node.loop, UV_RUN_DEFAULT);
	uv_loop_close(&node.loop);
	landing_set_unref(node.wanted);
	arena_done(&node.cuts_arena);
	return landing_close(node.landing, LANDING_KEEP, err);
}
