/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/landing/landing_plane.h"

#include "base/log.h"
#include "base/memory.h"
#include "daemon/landing/landing_trouble.h"
#include "kernel/own_calls.h"
#include "landing/cookies.h"
#include "landing/landing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_MS 2000u

struct landing_plane {
	uv_loop_t *loop;
	struct landing *landing;
	uv_poll_t watch;
	uv_timer_t check_timer;
	struct landing_set *wanted; /* NULL: nothing yet */
	struct digest generation; /* of the set that was carried out; zero: of none */
	struct arena cuts_arena;
	struct ip_address *cuts; /* whose connections are to be ended */
	size_t cut_count;
	struct cookie_watch cookies;
	uint64_t cut; /* connections, in its life */
	struct landing_trouble trouble;
};

static uint64_t now_of(const struct landing_plane *plane)
{
	return uv_now(plane->loop);
}

static void failed(struct landing_plane *plane, enum landing_failure which, int result,
		   const struct error *err)
{
	landing_trouble_failed(&plane->trouble, which, result < 0 ? err : NULL, now_of(plane));
}

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

static void check(struct landing_plane *plane)
{
	struct error err = {0};
	struct landing_alarms alarms;
	int result = landing_check(plane->landing, &alarms, &err);
	failed(plane, LANDING_FAILURE_CHECKED, result, &err);
	if (result == 0)
		landing_trouble_found(&plane->trouble, &alarms, now_of(plane));
}

/* The generation is taken over only when all of it is in place: until then who is told by reports
 * knows that we do not land by it. A check comes with it, so that no report says of this generation
 * what was found of the one before: a version would get clients although its listener is missing.
 */
static void configure(struct landing_plane *plane)
{
	struct arena arena;
	struct error err = {0};
	if (!plane->wanted ||
	    memcmp(&plane->generation, &plane->wanted->generation, sizeof(plane->generation)) == 0)
		return;
	arena_init(&arena, 0);
	const struct landing_desired desired = desired_of(plane->wanted, &arena);
	int result = landing_apply(plane->landing, &desired, &err);
	if (result == 0) {
		char text[DIGEST_HEX_BYTES];
		plane->generation = plane->wanted->generation;
		hex_encode(plane->generation.bytes, DIGEST_BYTES, text);
		log_event(LOG_LEVEL_INFO, "landing.configured", "generation", text, NULL);
		check(plane);
	}
	failed(plane, LANDING_FAILURE_CONFIGURED, result, &err);
	arena_done(&arena);
}

/* Ordered by the operator, and done at every turn until the version is retired. */
static void end_connections(struct landing_plane *plane)
{
	uint64_t destroyed = 0;
	struct error err = {0};
	if (!plane->cut_count || !landing_plane_lands(plane))
		return;
	int result =
	    landing_destroy(plane->landing, plane->cuts, plane->cut_count, &destroyed, &err);
	failed(plane, LANDING_FAILURE_CUT, result, &err);
	if (destroyed) {
		char number[32];
		snprintf(number, sizeof(number), "%llu", (unsigned long long)destroyed);
		log_event(LOG_LEVEL_INFO, "landing.cut", "connections", number, NULL);
	}
	plane->cut += destroyed;
}

void landing_plane_carry_out(struct landing_plane *plane)
{
	configure(plane);
	end_connections(plane);
}

void landing_plane_want(struct landing_plane *plane, struct landing_set *set)
{
	struct landing_set *former = plane->wanted;
	plane->wanted = set ? landing_set_ref(set) : NULL;
	landing_set_unref(former);
	configure(plane);
}

struct landing_set *landing_plane_wanted(const struct landing_plane *plane)
{
	return plane->wanted;
}

void landing_plane_cut(struct landing_plane *plane, const struct wire_list *addresses)
{
	arena_done(&plane->cuts_arena);
	arena_init(&plane->cuts_arena, 0);
	plane->cuts = addresses_of(addresses, &plane->cuts_arena);
	plane->cut_count = addresses->count;
}

bool landing_plane_lands(const struct landing_plane *plane)
{
	return !landing_generation_is_none(&plane->generation);
}

int landing_plane_counters(const struct landing_plane *plane, struct landing_counters *ret_counters,
			   struct error *err)
{
	return landing_counters_read(plane->landing, ret_counters, err);
}

int landing_plane_yield(struct landing_plane *plane, const char *interface, struct error *err)
{
	return landing_yield(plane->landing, interface, err);
}

void landing_plane_path_mtu(struct landing_plane *plane, uint32_t bytes)
{
	landing_set_path_mtu(plane->landing, bytes);
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
static int find_owned(struct landing_plane *plane, struct peer_report *report, struct arena *arena,
		      struct error *err)
{
	if (!plane->wanted)
		return 0;
	const struct wire_list *told = &plane->wanted->lists[LANDING_ADDRESSES];
	const struct ip_address *addresses = addresses_of(told, arena);
	bool *found = must_have(arena_array(arena, told->count + 1, sizeof(*found)));
	struct peer_end *owned = must_have(arena_array(arena, told->count + 1, sizeof(*owned)));
	int result = must_succeed(landing_owns(plane->landing, addresses, told->count, found, err));
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

static void add_alarms(const struct landing_plane *plane, struct peer_report *report,
		       struct arena *arena)
{
	json_t *list = must_have(landing_trouble_json(&plane->trouble, now_of(plane)));
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

static void add_state(struct landing_plane *plane, struct peer_report *report, struct arena *arena)
{
	struct landing_state state;
	struct landing_counters counters;
	struct error err = {0};
	landing_state_read(plane->landing, &state);
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
	if (landing_counters_read(plane->landing, &counters, &err) == 0)
		report->accepted = counters.accepted_4in4 + counters.accepted_6in4 +
				   counters.accepted_4in6 + counters.accepted_6in6;
}

int landing_plane_report(struct landing_plane *plane, const struct ledger_position *closing,
			 struct arena *arena, struct peer_report *ret_report)
{
	struct error err = {0};
	struct peer_report report = {.generation = plane->generation,
				     .closing_sequence = closing->sequence,
				     .closing_hash = closing->digest,
				     .cut = plane->cut};
	struct landing_connections *counted = NULL;
	size_t count = 0;
	cookies_look(&plane->cookies, now_of(plane));
	int result = find_owned(plane, &report, arena, &err);
	if (result == 0)
		result = must_succeed(landing_count(plane->landing, &counted, &count, &err));
	if (result == 0 && count > PEER_COUNTS_MAX)
		result = error_set(&err, -FL_ELIMIT,
				   "%zu addresses have connections, and a report holds %u", count,
				   PEER_COUNTS_MAX);
	failed(plane, LANDING_FAILURE_COUNTED, result, &err);
	if (result == 0) {
		report.cookies_known =
		    cookies_age(&plane->cookies, now_of(plane), &report.cookies_ms);
		add_counts(&report, counted, count, arena);
		add_alarms(plane, &report, arena);
		add_state(plane, &report, arena);
		*ret_report = report;
	}
	free(counted);
	return result;
}

/* --- watching --- */

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

void landing_plane_start(struct landing_plane *plane, uv_loop_t *loop)
{
	plane->loop = loop;
	uv_poll_init(loop, &plane->watch, landing_watch_fd(plane->landing));
	plane->watch.data = plane;
	uv_poll_start(&plane->watch, UV_READABLE, on_watch);
	uv_timer_init(loop, &plane->check_timer);
	plane->check_timer.data = plane;
	uv_timer_start(&plane->check_timer, on_check_timer, CHECK_MS, CHECK_MS);
}

void landing_plane_stop(struct landing_plane *plane)
{
	if (!plane->loop)
		return;
	uv_close((uv_handle_t *)&plane->watch, NULL);
	uv_close((uv_handle_t *)&plane->check_timer, NULL);
}

int landing_plane_open(const struct daemon_options *options, struct landing_plane **ret_plane,
		       struct error *err)
{
	char former_sysctls[4096];
	snprintf(former_sysctls, sizeof(former_sysctls), "%s/landing/sysctls",
		 options->state_folder);
	/* What this machine calls comes back to it by the edge's own interface. */
	const char *admitted[LANDING_INTERFACES_MAX + 1];
	unsigned admitted_count = 0;
	for (;
	     admitted_count < options->interface_count && admitted_count <= LANDING_INTERFACES_MAX;
	     admitted_count++)
		admitted[admitted_count] = options->interfaces[admitted_count];
	if (options->edge && admitted_count < LANDING_INTERFACES_MAX)
		admitted[admitted_count++] = OWN_CALLS_FAR;
	const struct landing_options landing = {
	    .pin_root = options->landing_pins,
	    .former_sysctls = former_sysctls,
	    .interfaces = options->underlays,
	    .interface_count = (unsigned)options->underlay_count,
	    .admitted = admitted,
	    .admitted_count = admitted_count,
	    .stages_root = options->edge ? options->edge_pins : NULL,
	    .generic_only = options->generic};
	struct landing_plane *plane = must_alloc(1, sizeof(*plane));
	arena_init(&plane->cuts_arena, 0);
	int result = landing_open(&landing, &plane->landing, err);
	if (result < 0) {
		free(plane);
		return result;
	}
	*ret_plane = plane;
	return 0;
}

int landing_plane_close(struct landing_plane *plane, struct error *err)
{
	landing_set_unref(plane->wanted);
	arena_done(&plane->cuts_arena);
	int result = landing_close(plane->landing, LANDING_KEEP, err);
	free(plane);
	return result;
}
