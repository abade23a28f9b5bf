/* SPDX-License-Identifier: Apache-2.0 */
/* `status`: one screen of how the node and its services are, and what needs attention. */
#include "api/show.h"
#include "api/verbs.h"
#include "base/alarms.h"
#include "fabric/driver.h"

#include <stdio.h>
#include <string.h>

#define LATE_INTERVALS 4 /* to carry a configuration out: one to hear of it, one to confirm it */

static bool has(const json_t *backend, const char *key)
{
	return json_is_true(json_object_get(backend, key));
}

static bool is_backend(const json_t *backend)
{
	return json_is_string(json_object_get(backend, "address"));
}

static const char *text_of(const json_t *backend, const char *key)
{
	const char *text = json_string_value(json_object_get(backend, key));
	return text ? text : "";
}

static const json_t *other_of_name(const json_t *backends, const json_t *backend,
				   const char *address)
{
	for (size_t i = 0; i < json_array_size(backends); i++) {
		const json_t *other = json_array_get(backends, i);
		if (other != backend &&
		    strcmp(text_of(other, "name"), text_of(backend, "name")) == 0 &&
		    (!address || strcmp(text_of(other, "address"), address) == 0))
			return other;
	}
	return NULL;
}

/* Nothing is known of its connections. */
static void silence_alarm(const struct api_host *host, const json_t *backend,
			  const json_t *backends, json_t *alarms)
{
	char said[MODEL_NAME_BYTES + IP_TEXT_BYTES + 8];
	const char *name = text_of(backend, "name");
	const char *address = text_of(backend, "address");
	const json_t *last_report_ms = json_object_get(backend, "last_report_ms");
	json_int_t ago_ms = json_integer_value(last_report_ms);
	uint64_t since_ms = clock_now_ms(host->clock) - (uint64_t)ago_ms;
	if (other_of_name(backends, backend, NULL))
		snprintf(said, sizeof(said), "%s at %s", name, address);
	else
		snprintf(said, sizeof(said), "%s", name);
	if (has(backend, "elsewhere"))
		ALARM_PUT(alarms, NULL, 0, BACKEND_ELSEWHERE, name, name, address);
	else if (json_is_integer(last_report_ms))
		ALARM_PUT(alarms, host->clock, since_ms, BACKEND_SILENT, name, said,
			  (double)ago_ms / 1000.0);
	else
		ALARM_PUT(alarms, NULL, 0, BACKEND_NEVER_REPORTED, name, said);
}

/* Who moved to another machine is asked for both addresses on each: that one lacks what the other
 * has is as it should be. */
static bool is_moved(const json_t *backend, const json_t *sent, const json_t *backends)
{
	const char *slash = strchr(text_of(sent, "subject"), '/');
	const json_t *other =
	    slash && strcmp(text_of(sent, "code"), alarm_rows[ALARM_TUNNEL_END_GONE].code) == 0
		? other_of_name(backends, backend, slash + 1)
		: NULL;
	return other && !has(other, "silent");
}

static void landing_alarms(const struct api_host *host, const json_t *backend,
			   const json_t *backends, json_t *alarms)
{
	const char *name = text_of(backend, "name");
	uint64_t interval_ms = image_report_interval_ms(host->image);
	uint64_t late_ms = (uint64_t)json_integer_value(json_object_get(backend, "late_ms"));
	if (has(backend, "disputed"))
		ALARM_PUT(alarms, NULL, 0, BACKEND_DISPUTED, name, name);
	if (late_ms > LATE_INTERVALS * interval_ms)
		ALARM_PUT(alarms, host->clock, clock_now_ms(host->clock) - late_ms, BACKEND_LATE,
			  name, name, (double)late_ms / 1000.0);
	size_t at;
	json_t *sent;
	json_array_foreach (json_object_get(json_object_get(backend, "landing"), "alarms"), at,
			    sent) {
		if (!is_moved(backend, sent, backends))
			alarm_put_sent(alarms, ALARM_ABOUT_BACKEND, name, sent);
	}
}

static void backend_alarms(const struct api_host *host, const json_t *backends, json_t *alarms)
{
	size_t index;
	json_t *backend;
	json_array_foreach ((json_t *)(uintptr_t)backends, index, backend) {
		if (is_backend(backend) && has(backend, "silent") && !has(backend, "awaited") &&
		    !has(backend, "forgotten"))
			silence_alarm(host, backend, backends, alarms);
		/* What it said of its landing ends when no version names it any more. */
		if (is_backend(backend) && (!has(backend, "silent") || has(backend, "elsewhere")))
			landing_alarms(host, backend, backends, alarms);
	}
}

/* What is as it may be, and yet worth knowing. */
static void backend_notes(const struct api_host *host, const json_t *backends, json_t *notes)
{
	size_t awaited = 0;
	size_t index;
	json_t *backend;
	json_array_foreach ((json_t *)(uintptr_t)backends, index, backend) {
		const char *name = json_string_value(json_object_get(backend, "name"));
		awaited += has(backend, "awaited");
		const struct member *member = image_member(host->image, name);
		bool is_meant = member && member_has(member, MEMBER_BACKEND);
		if (!is_backend(backend) && !is_meant && !has(backend, "silent") &&
		    host->image->fabric)
			ALARM_PUT(notes, NULL, 0, BACKEND_SPARE, name, name);
	}
	if (awaited)
		ALARM_PUT(notes, NULL, 0, BACKENDS_AWAITED, host->node, awaited,
			  awaited == 1 ? "backend" : "backends");
}

void show_backend_alarms(const struct api_host *host, const json_t *backends, json_t *alarms,
			 json_t *notes)
{
	backend_alarms(host, backends, alarms);
	backend_notes(host, backends, notes);
}

/* A member's channel is what a fabric has and a node that is alone has not. */
static bool may_be_joined(const struct image *image)
{
	return image->member_count == 1 && *image->members[0].member->channel_key;
}

/* What the operator types next, in the order in which it helps. */
static json_t *next_json(const struct api_host *host, const json_t *status)
{
	json_t *next = json_array();
	if (json_array_size(json_object_get(status, "alarms")))
		json_array_append_new(next, json_string("see to the alarms, the first one first"));
	if (may_be_joined(host->image))
		json_array_append_new(
		    next, json_string("let another machine join: type what `fairlead token` "
				      "prints there"));
	if (!host->image->fabric)
		json_array_append_new(
		    next, json_string("write a configuration, look at `fairlead plan FILE`, then "
				      "`fairlead apply FILE`"));
	for (size_t s = 0; host->image->fabric && s < host->image->state_count; s++) {
		struct gate_wait wait;
		const struct service_state *state = host->image->states[s];
		if (driver_waits(host->driver, state, &wait, 1))
			json_array_append_new(
			    next, json_sprintf("see what version %u of %s waits for: `fairlead "
					       "rollout status %s`",
					       state->rollout.target, state->name, state->name));
	}
	return next;
}

void verb_status(struct api_host *host, struct api_call *call)
{
	json_t *backends = show_backends(host);
	const struct sights sights = driver_sights(host->driver);
	json_t *status = json_pack(
	    "{s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "asked", host->node, "node", host->node, "site",
	    host->site, "version", FAIRLEAD_VERSION, "uptime_ms",
	    (json_int_t)(clock_now_ms(host->clock) - host->start_ms), "sequence",
	    (json_int_t)host->image->head.sequence, "applied", (json_int_t)merge_applied(&sights));
	char now[CLOCK_TEXT_BYTES];
	clock_format(clock_wall_ms(host->clock), now, sizeof(now));
	json_object_set_new(status, "clock", json_string(now));
	json_object_set_new(status, "configured", json_boolean(host->image->fabric != NULL));
	json_t *alarms = json_array();
	host->put_alarms(host->context, alarms);
	json_t *notes = json_array();
	show_backend_alarms(host, backends, alarms, notes);
	show_pool_alarms(host, alarms);
	if (host->decides)
		show_member_alarms(host, alarms);
	json_t *risks = json_array();
	show_risks(host, risks);
	json_object_set_new(status, "alarms", alarms);
	json_object_set_new(status, "risks", risks);
	json_object_set_new(status, "notes", notes);
	json_object_set_new(status, "next", next_json(host, status));
	json_object_set_new(status, "nodes", show_nodes(host));
	host->put_status(host->context, status);
	json_object_set_new(status, "services", show_services(host, api_all(call)));
	json_object_set_new(status, "backends", backends);
	api_succeed(call, status);
}
