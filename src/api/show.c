/* SPDX-License-Identifier: Apache-2.0 */
#include "api/show.h"

#include "fabric/driver.h"
#include "fabric/reports.h"

#include <string.h>

json_t *show_address(const struct ip_address *address)
{
	char text[IP_TEXT_BYTES];
	return json_string(ip_address_format(address, text));
}

/* --- versions and bindings --- */

struct ip_address show_own_address(const struct api_host *host, const struct binding *binding)
{
	return placement_address(host->image->placement, binding, host->site);
}

static void add_counters(const struct api_host *host, const struct ip_address *address,
			 struct api_counters *sum)
{
	struct api_counters one;
	if (!host->count(host->context, address, &one))
		return;
	sum->packets += one.packets;
	sum->bytes += one.bytes;
	sum->new_flows += one.new_flows;
	sum->late_flows += one.late_flows;
	sum->refused += one.refused;
	sum->wrong_port += one.wrong_port;
	sum->asked_fib += one.asked_fib;
	sum->to_kernel += one.to_kernel;
}

static json_t *counters_json(const struct api_counters *counters)
{
	return json_pack(
	    "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "packets", (json_int_t)counters->packets,
	    "bytes", (json_int_t)counters->bytes, "new_flows", (json_int_t)counters->new_flows,
	    "late", (json_int_t)counters->late_flows, "refused", (json_int_t)counters->refused,
	    "wrong_port", (json_int_t)counters->wrong_port, "asked_fib",
	    (json_int_t)counters->asked_fib, "to_kernel", (json_int_t)counters->to_kernel);
}

static json_t *connections_json(bool known, uint64_t connections)
{
	return known ? json_integer((json_int_t)connections) : json_null();
}

/* Connections on the version's addresses at one backend; null while it is silent. */
static json_t *version_backend_json(const struct api_host *host, const struct service_state *state,
				    uint32_t number, const char *name)
{
	const struct report *report = reports_find(host->reports, name);
	bool known = report && report_is_fresh(report, image_report_interval_ms(host->image),
					       clock_now_ms(host->clock));
	uint64_t connections = 0;
	for (size_t b = 0; known && b < state->binding_count; b++) {
		if (state->bindings[b].version != number)
			continue;
		for (size_t s = 0; s < host->image->placement->site_count; s++) {
			struct ip_address address =
			    placement_address(host->image->placement, &state->bindings[b],
					      host->image->placement->sites[s]);
			if (address.family)
				connections += report_connections(report, &address);
		}
	}
	return json_pack("{s:s, s:o}", "name", name, "connections",
			 connections_json(known, connections));
}

static json_t *version_backends_json(const struct api_host *host, const struct service_state *state,
				     const struct version_status *status)
{
	json_t *list = json_array();
	const struct version *version =
	    status->state == VERSION_RETIRED
		? NULL
		: image_version(image_service(host->image, state->name), status->number);
	for (size_t i = 0; version && i < version->backend_count; i++)
		json_array_append_new(list, version_backend_json(host, state, status->number,
								 version->backends[i].name));
	return list;
}

json_t *show_version(const struct api_host *host, const struct service_state *state,
		     const struct version_status *status)
{
	char digest[DIGEST_HEX_BYTES];
	char since[CLOCK_TEXT_BYTES];
	const struct sights sights = driver_sights(host->driver);
	struct connection_sum sum = driver_connections(host->driver, state, status->number);
	struct api_counters counters = {0};
	json_t *addresses = json_array();
	json_t *late_addresses = json_array();
	for (size_t i = 0; i < state->binding_count; i++) {
		const struct binding *binding = &state->bindings[i];
		if (binding->version != status->number)
			continue;
		struct ip_address address = show_own_address(host, binding);
		json_array_append_new(binding->is_late ? late_addresses : addresses,
				      show_address(&address));
		add_counters(host, &address, &counters);
	}
	hex_encode(status->digest.bytes, DIGEST_BYTES, digest);
	clock_format(status->changed_wall_ms, since, sizeof(since));
	json_t *json = json_pack(
	    "{s:s, s:i, s:s, s:s, s:f, s:o, s:o, s:o, s:b, s:b, s:s, s:I}", "service", state->name,
	    "number", (int)status->number, "state", version_state_name(status->state), "since",
	    since, "share", service_share(state, status->number) / (double)SHARE_WHOLE, "addresses",
	    addresses, "late_addresses", late_addresses, "connections",
	    connections_json(sum.known, sum.count), "held",
	    (int)merge_is_held(&sights, status->sequence), "cut", (int)status->cut, "digest",
	    digest, "sequence", (json_int_t)status->sequence);
	if (sum.silent && status->state != VERSION_RETIRED)
		json_object_set_new(json, "silent_backend", json_string(sum.silent));
	if (sum.cookies && status->state != VERSION_RETIRED)
		json_object_set_new(json, "cookie_backend", json_string(sum.cookies));
	json_object_set_new(json, "backends", version_backends_json(host, state, status));
	json_object_update_new(json, counters_json(&counters));
	return json;
}

json_t *show_binding(const struct api_host *host, const struct service_state *state,
		     const struct binding *binding)
{
	struct ip_address address = show_own_address(host, binding);
	struct binding_observation observation = driver_observe(host->driver, state, binding);
	json_t *json =
	    json_pack("{s:s, s:o, s:i, s:i, s:i, s:I, s:b, s:b, s:b, s:o}", "service", state->name,
		      "address", show_address(&address), "pool", (int)binding->pool, "slot",
		      (int)binding->slot, "version", (int)binding->version, "number",
		      (json_int_t)binding->number, "is_late", (int)binding->is_late, "refusing",
		      (int)binding->refusing, "reclaiming", (int)binding->reclaiming, "connections",
		      connections_json(observation.connections_known, observation.connections));
	struct api_counters counters = {0};
	add_counters(host, &address, &counters);
	json_object_update_new(json, counters_json(&counters));
	return json;
}

json_t *show_rollout(const struct api_host *host, const struct service_state *state)
{
	const struct rollout_state *rollout = &state->rollout;
	const struct service *service = fabric_service(host->image->fabric, state->name);
	bool under_way = rollout->target != rollout->base;
	json_t *json =
	    json_pack("{s:s, s:i, s:i, s:f, s:i, s:i, s:b, s:b}", "service", state->name, "base",
		      (int)rollout->base, "target", (int)rollout->target, "share",
		      rollout->share / (double)SHARE_WHOLE, "step", (int)rollout->step + 1, "steps",
		      service ? (int)service->rollout.share_count : 1, "paused",
		      (int)rollout->paused, "under_way", (int)under_way);
	if (under_way && service && !rollout->paused && rollout->share) {
		uint64_t due = rollout->step_wall_ms + service->rollout.pause_ms;
		uint64_t wall_ms = clock_wall_ms(host->steady);
		json_object_set_new(json, "next_step_in_ms",
				    json_integer(due > wall_ms ? (json_int_t)(due - wall_ms) : 0));
	}
	return json;
}

json_t *show_service(const struct api_host *host, const struct service_state *state,
		     bool with_retired)
{
	const struct service *service = fabric_service(host->image->fabric, state->name);
	json_t *versions = json_array();
	for (size_t i = 0; i < state->version_count; i++) {
		if (with_retired || state->versions[i].state != VERSION_RETIRED)
			json_array_append_new(versions,
					      show_version(host, state, &state->versions[i]));
	}
	return json_pack("{s:s, s:b, s:i, s:o, s:o}", "name", state->name, "removed",
			 (int)state->removed, "ttl_s", service ? (int)service->ttl_seconds : 0,
			 "rollout", show_rollout(host, state), "versions", versions);
}

/* --- backends --- */

/* Of several versions the oldest says since when its report is awaited, and the newest whether it
 * was declared gone: that covers no version published later. */
static void name_backends(const struct api_host *host, const struct image_version *entry,
			  uint64_t published, json_t *names)
{
	uint64_t awaited_ms = clock_now_ms(host->clock) - entry->learned_ms;
	for (size_t b = 0; b < entry->version->backend_count; b++) {
		const struct backend *backend = &entry->version->backends[b];
		json_t *known = json_object_get(names, backend->name);
		uint64_t before_ms =
		    (uint64_t)json_integer_value(json_object_get(known, "awaited_ms"));
		uint64_t longer_ms = awaited_ms > before_ms ? awaited_ms : before_ms;
		bool forgotten = image_is_forgotten(host->image, backend->name, published) &&
				 (!known || json_is_true(json_object_get(known, "forgotten")));
		json_object_set_new(names, backend->name,
				    json_pack("{s:o, s:I, s:b}", "address",
					      show_address(&backend->address), "awaited_ms",
					      (json_int_t)longer_ms, "forgotten", (int)forgotten));
	}
}

json_t *show_backend_names(const struct api_host *host)
{
	json_t *names = json_object();
	const struct image *image = host->image;
	for (size_t s = 0; s < image->state_count; s++) {
		const struct service_state *state = image->states[s];
		for (size_t v = 0; v < state->version_count; v++) {
			if (state->versions[v].state == VERSION_RETIRED)
				continue;
			const struct image_version *entry = image_version_entry(
			    image_service(image, state->name), state->versions[v].number);
			if (entry)
				name_backends(host, entry, state->versions[v].sequence, names);
		}
	}
	const struct report *report;
	for (size_t i = 0; (report = reports_at(host->reports, i)); i++) {
		bool is_fresh = report_is_fresh(report, image_report_interval_ms(image),
						clock_now_ms(host->clock));
		if (is_fresh && !json_object_get(names, report->backend))
			json_object_set_new(names, report->backend, json_pack("{s:n}", "address"));
	}
	return names;
}

/* What a landing said of itself. */
static json_t *landing_json(const struct peer_report *said)
{
	json_t *alarms = json_array();
	json_t *interfaces = json_array();
	for (size_t i = 0; i < said->alarms.count; i++) {
		const struct peer_alarm *alarm = &said->alarms.items[i];
		const char *advice = *alarm->advice ? alarm->advice : NULL;
		json_array_append_new(alarms, json_pack("{s:s, s:s, s:s, s:s, s:s*}", "code",
							alarm->code, "severity", alarm->severity,
							"subject", alarm->subject, "text",
							alarm->text, "advice", advice));
	}
	for (size_t i = 0; i < said->interfaces.count; i++) {
		const struct peer_interface *interface = &said->interfaces.items[i];
		json_array_append_new(interfaces, json_pack("{s:s, s:s}", "name", interface->name,
							    "mode", interface->mode));
	}
	return json_pack("{s:o, s:o, s:s, s:s, s:I, s:I, s:I}", "alarms", alarms, "interfaces",
			 interfaces, "program", said->program, "layout", said->layout, "listeners",
			 (json_int_t)said->listeners, "listeners_bound",
			 (json_int_t)said->listeners_bound, "accepted", (json_int_t)said->accepted);
}

static void show_report(const struct api_host *host, const struct report *report, uint64_t now_ms,
			json_t *json)
{
	uint64_t interval_ms = image_report_interval_ms(host->image);
	json_object_set_new(json, "landed", json_boolean(!report->behind_ms));
	json_object_set_new(
	    json, "late_ms",
	    json_integer(report->behind_ms ? (json_int_t)(now_ms - report->behind_ms) : 0));
	json_object_set_new(json, "disputed",
			    json_boolean(report_is_disputed(report, interval_ms, now_ms)));
}

/* Its first report may still be on its way: for as long as a report may be late. */
static bool is_awaited(const struct api_host *host, const char *name, const json_t *known)
{
	const json_t *awaited_ms = json_object_get(known, "awaited_ms");
	return json_is_integer(awaited_ms) && !reports_find(host->reports, name) &&
	       !json_is_true(json_object_get(known, "forgotten")) &&
	       (uint64_t)json_integer_value(awaited_ms) <
		   REPORT_STALE_INTERVALS * image_report_interval_ms(host->image);
}

json_t *show_backend(const struct api_host *host, const char *name, const json_t *known)
{
	uint64_t now_ms = clock_now_ms(host->clock);
	const struct report *report = reports_find(host->reports, name);
	bool fresh =
	    report && report_is_fresh(report, image_report_interval_ms(host->image), now_ms);
	uint64_t connections = 0;
	for (size_t i = 0; report && i < report->said.counts.count; i++)
		connections += report->said.counts.items[i].connections;
	json_t *json = json_pack(
	    "{s:s, s:O, s:b, s:b, s:o, s:o, s:I, s:s}", "name", name, "address",
	    json_object_get(known, "address"), "silent", !fresh, "forgotten",
	    (int)json_is_true(json_object_get(known, "forgotten")), "last_report_ms",
	    report ? json_integer((json_int_t)(now_ms - report->received_ms)) : json_null(),
	    "connections", connections_json(fresh, connections), "cut",
	    (json_int_t)(report ? report->said.cut : 0), "boot_id", report ? report->boot_id : "");
	if (is_awaited(host, name, known))
		json_object_set_new(json, "awaited", json_true());
	if (report)
		json_object_set_new(json, "landing", landing_json(&report->said));
	if (fresh)
		show_report(host, report, now_ms, json);
	return json;
}

json_t *show_backends(const struct api_host *host)
{
	json_t *names = show_backend_names(host);
	json_t *list = json_array();
	const char *name;
	json_t *known;
	json_object_foreach (names, name, known)
		json_array_append_new(list, show_backend(host, name, known));
	json_decref(names);
	return list;
}

json_t *show_services(const struct api_host *host, bool with_retired)
{
	json_t *services = json_array();
	for (size_t i = 0; i < host->image->state_count; i++)
		json_array_append_new(services,
				      show_service(host, host->image->states[i], with_retired));
	return services;
}
