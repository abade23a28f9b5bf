/* SPDX-License-Identifier: Apache-2.0 */
/* Rollouts as JSON, and what versions wait for: who has their connections, and until when. */
#include "api/show.h"
#include "base/memory.h"
#include "base/text.h"
#include "fabric/driver.h"
#include "fabric/outlook.h"

#include <string.h>

/* --- what a version waits for --- */

/* When something is due, by the clock that states are stamped with: as a time, and from now. */
static void put_due(const struct api_host *host, json_t *json, const char *at, const char *in_ms,
		    uint64_t left_ms)
{
	char time[CLOCK_TEXT_BYTES];
	clock_format(clock_wall_ms(host->steady) + left_ms, time, sizeof(time));
	json_object_set_new(json, at, json_string(time));
	json_object_set_new(json, in_ms, json_integer((json_int_t)left_ms));
}

static json_t *wait_json(const struct api_host *host, const struct outlook_wait *wait)
{
	json_t *json =
	    json_pack("{s:s, s:s}", "reason", version_wait_name(wait->reason), "text", wait->text);
	if (wait->left_ms)
		put_due(host, json, "until", "left_ms", wait->left_ms);
	return json;
}

static json_t *holder_json(const struct api_host *host, const struct connection_holder *holder)
{
	const struct backend *of = holder->of;
	json_t *json = json_pack("{s:s, s:s*, s:o, s:o, s:o}", "name", holder->backend, "site",
				 of ? of->site : NULL, "address",
				 of ? show_address(&of->address) : json_null(), "weight",
				 json_integer(of ? (json_int_t)of->weight : 0), "connections",
				 show_connections(holder->known, holder->connections));
	if (holder->report)
		json_object_set_new(json, "report_ms",
				    json_integer((json_int_t)(clock_now_ms(host->clock) -
							      holder->report->received_ms)));
	if (holder->doubt != REPORT_BELIEVED) {
		json_object_set_new(json, "doubt", json_string(report_doubt_name(holder->doubt)));
		json_object_set_new(json, "why", json_string(report_doubt_sentence(holder->doubt)));
	}
	if (holder->is_forgotten)
		json_object_set_new(json, "forgotten", json_true());
	return json;
}

void show_outlook(const struct api_host *host, const struct service_state *state,
		  const struct version_status *status, json_t *version)
{
	struct outlook outlook;
	struct arena arena;
	json_t *waits = json_array();
	json_t *backends = json_array();
	arena_init(&arena, 0);
	must_succeed(outlook_find(host->driver, state, (size_t)(status - state->versions), &arena,
				  &outlook));
	for (size_t i = 0; i < outlook.wait_count; i++)
		json_array_append_new(waits, wait_json(host, &outlook.waits[i]));
	for (size_t i = 0; i < outlook.holder_count; i++)
		json_array_append_new(backends, holder_json(host, &outlook.holders[i]));
	json_object_set_new(version, "waits", waits);
	json_object_set_new(version, "backends", backends);
	if (outlook.limit_ms != UINT64_MAX && status->state == VERSION_DRAINING)
		put_due(host, version, "cut_at", "cut_in_ms", outlook.limit_ms);
	else if (outlook.limit_ms != UINT64_MAX)
		put_due(host, version, "reopens_at", "reopens_in_ms", outlook.limit_ms);
	if (outlook.has_udp && outlook.packet_ago_ms != UINT64_MAX)
		json_object_set_new(version, "last_packet_ms",
				    outlook.packets_known
					? json_integer((json_int_t)outlook.packet_ago_ms)
					: json_null());
	arena_done(&arena);
}

/* --- rollouts --- */

#define WAITS_SHOWN 8u

/* Of a thousand backends that have not reported, the first few say what is wrong. */
static void add_waits(const struct api_host *host, const struct service_state *state,
		      json_t *rollout)
{
	struct gate_wait waits[WAITS_SHOWN];
	char text[GATE_TEXT];
	json_t *list = json_array();
	size_t count = driver_waits(host->driver, state, waits, WAITS_SHOWN);
	for (size_t i = 0; i < count && i < WAITS_SHOWN; i++)
		json_array_append_new(list, json_pack("{s:s, s:o, s:s, s:s}", "name",
						      waits[i].backend->name, "address",
						      show_address(&waits[i].backend->address),
						      "reason", gate_reason_name(waits[i].reason),
						      "text", gate_text(&waits[i], text)));
	json_object_set_new(rollout, "waits", list);
	json_object_set_new(rollout, "waits_for", json_integer((json_int_t)count));
}

/* What the version that is rolled out waits for: the first of it. */
static void add_target(const struct api_host *host, const struct service_state *state,
		       json_t *rollout)
{
	const struct version_status *target = service_version(state, state->rollout.target);
	struct outlook outlook;
	struct arena arena;
	if (!target || state->rollout.target == state->rollout.base)
		return;
	arena_init(&arena, 0);
	must_succeed(outlook_find(host->driver, state, (size_t)(target - state->versions), &arena,
				  &outlook));
	if (outlook.wait_count)
		json_object_set_new(rollout, "wait", wait_json(host, &outlook.waits[0]));
	arena_done(&arena);
}

json_t *show_rollout(const struct api_host *host, const struct service_state *state)
{
	const struct rollout_state *rollout = &state->rollout;
	const struct service *service = fabric_service(host->image->fabric, state->name);
	bool under_way = rollout->target != rollout->base;
	json_t *json =
	    json_pack("{s:s, s:i, s:i, s:f, s:i, s:i, s:b, s:b}", "service", state->name, "base",
		      (int)rollout->base, "target", (int)rollout->target, "share",
		      text_share_number(rollout->share), "step", (int)rollout->step + 1, "steps",
		      service ? (int)service->rollout.share_count : 1, "paused",
		      (int)rollout->paused, "under_way", (int)under_way);
	add_waits(host, state, json);
	if (under_way && service && !rollout->paused && rollout->share) {
		uint64_t due = rollout->step_wall_ms + service->rollout.pause_ms;
		uint64_t wall_ms = clock_wall_ms(host->steady);
		json_object_set_new(json, "next_step_in_ms",
				    json_integer(due > wall_ms ? (json_int_t)(due - wall_ms) : 0));
	}
	add_target(host, state, json);
	return json;
}
