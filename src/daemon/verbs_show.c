/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that show something: JSON from the image, the planes and the reports. */
#include "base/buffer.h"
#include "config/config.h"
#include "daemon/driver.h"
#include "daemon/edge_plane.h"
#include "daemon/names_plane.h"
#include "daemon/reports.h"
#include "daemon/verbs.h"
#include "store/ledger.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_DEFAULT_LIMIT 20

static json_t *address_json(const struct ip_address *address)
{
	char text[IP_TEXT_BYTES];
	return json_string(ip_address_format(address, text));
}

static void fail(struct api_call *call, int code, const char *format, const char *subject)
{
	struct error err;
	char text[512];
	snprintf(text, sizeof(text), "%s%s", format, subject);
	error_set(&err, code, "%s", text);
	api_fail(call, &err);
}

/* --- versions and bindings --- */

static struct ip_address own_address(const struct daemon *daemon, const struct binding *binding)
{
	return placement_address(daemon->image.placement, binding, daemon->options->site);
}

static void add_counters(const struct daemon *daemon, const struct ip_address *address,
			 struct edge_counters *sum)
{
	struct edge_counters one;
	if (!daemon->edge || edge_plane_counters(daemon->edge, address, &one) < 0)
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

static json_t *counters_json(const struct edge_counters *counters)
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
static json_t *version_backend_json(const struct daemon *daemon, const struct service_state *state,
				    uint32_t number, const char *name)
{
	const struct report *report = reports_find(daemon->reports, name);
	bool known = report && report_is_fresh(report, image_report_interval_ms(&daemon->image),
					       clock_now_ms(daemon->clock));
	uint64_t connections = 0;
	for (size_t b = 0; known && b < state->binding_count; b++) {
		if (state->bindings[b].version != number)
			continue;
		for (size_t s = 0; s < daemon->image.placement->site_count; s++) {
			struct ip_address address =
			    placement_address(daemon->image.placement, &state->bindings[b],
					      daemon->image.placement->sites[s]);
			if (address.family)
				connections += report_connections(report, &address);
		}
	}
	return json_pack("{s:s, s:o}", "name", name, "connections",
			 connections_json(known, connections));
}

static json_t *version_backends_json(const struct daemon *daemon, const struct service_state *state,
				     const struct version_status *status)
{
	json_t *list = json_array();
	const struct version *version =
	    status->state == VERSION_RETIRED
		? NULL
		: image_version(image_service(&daemon->image, state->name), status->number);
	for (size_t i = 0; version && i < version->backend_count; i++)
		json_array_append_new(list, version_backend_json(daemon, state, status->number,
								 version->backends[i].name));
	return list;
}

static json_t *version_json(const struct daemon *daemon, const struct service_state *state,
			    const struct version_status *status)
{
	char digest[DIGEST_HEX_BYTES];
	char since[CLOCK_TEXT_BYTES];
	uint64_t connections = 0;
	const char *silent = NULL;
	bool known = driver_connections(daemon->driver, state, status->number,
					clock_now_ms(daemon->clock), &connections, &silent);
	struct edge_counters counters = {0};
	json_t *addresses = json_array();
	json_t *late_addresses = json_array();
	for (size_t i = 0; i < state->binding_count; i++) {
		const struct binding *binding = &state->bindings[i];
		if (binding->version != status->number)
			continue;
		struct ip_address address = own_address(daemon, binding);
		json_array_append_new(binding->is_late ? late_addresses : addresses,
				      address_json(&address));
		add_counters(daemon, &address, &counters);
	}
	hex_encode(status->digest.bytes, DIGEST_BYTES, digest);
	clock_format(status->changed_wall_ms, since, sizeof(since));
	json_t *json = json_pack(
	    "{s:s, s:i, s:s, s:s, s:f, s:o, s:o, s:o, s:b, s:b, s:s, s:I}", "service", state->name,
	    "number", (int)status->number, "state", version_state_name(status->state), "since",
	    since, "share", service_share(state, status->number) / (double)SHARE_WHOLE, "addresses",
	    addresses, "late_addresses", late_addresses, "connections",
	    connections_json(known, connections), "held",
	    (int)(image_acked(&daemon->image) >= status->sequence), "cut", (int)status->cut,
	    "digest", digest, "sequence", (json_int_t)status->sequence);
	if (silent && status->state != VERSION_RETIRED)
		json_object_set_new(json, "silent_backend", json_string(silent));
	json_object_set_new(json, "backends", version_backends_json(daemon, state, status));
	json_object_update_new(json, counters_json(&counters));
	return json;
}

static json_t *binding_json(const struct daemon *daemon, const struct service_state *state,
			    const struct binding *binding)
{
	struct ip_address address = own_address(daemon, binding);
	struct binding_observation observation =
	    driver_observe(daemon->driver, state, binding, clock_now_ms(daemon->clock), NULL);
	json_t *json =
	    json_pack("{s:s, s:o, s:i, s:i, s:i, s:I, s:b, s:b, s:b, s:o}", "service", state->name,
		      "address", address_json(&address), "pool", (int)binding->pool, "slot",
		      (int)binding->slot, "version", (int)binding->version, "number",
		      (json_int_t)binding->number, "is_late", (int)binding->is_late, "refusing",
		      (int)binding->refusing, "reclaiming", (int)binding->reclaiming, "connections",
		      connections_json(observation.connections_known, observation.connections));
	struct edge_counters counters = {0};
	add_counters(daemon, &address, &counters);
	json_object_update_new(json, counters_json(&counters));
	return json;
}

static json_t *rollout_json(const struct daemon *daemon, const struct service_state *state)
{
	const struct rollout_state *rollout = &state->rollout;
	const struct service *service = fabric_service(daemon->image.fabric, state->name);
	bool under_way = rollout->target != rollout->base;
	json_t *json =
	    json_pack("{s:s, s:i, s:i, s:f, s:i, s:i, s:b, s:b}", "service", state->name, "base",
		      (int)rollout->base, "target", (int)rollout->target, "share",
		      rollout->share / (double)SHARE_WHOLE, "step", (int)rollout->step + 1, "steps",
		      service ? (int)service->rollout.share_count : 1, "paused",
		      (int)rollout->paused, "under_way", (int)under_way);
	if (under_way && service && !rollout->paused && rollout->share) {
		uint64_t due = rollout->step_wall_ms + service->rollout.pause_ms;
		uint64_t wall_ms = clock_wall_ms(&daemon->steady);
		json_object_set_new(json, "next_step_in_ms",
				    json_integer(due > wall_ms ? (json_int_t)(due - wall_ms) : 0));
	}
	return json;
}

static json_t *service_json(const struct daemon *daemon, const struct service_state *state,
			    bool with_retired)
{
	const struct service *service = fabric_service(daemon->image.fabric, state->name);
	json_t *versions = json_array();
	for (size_t i = 0; i < state->version_count; i++) {
		if (with_retired || state->versions[i].state != VERSION_RETIRED)
			json_array_append_new(versions,
					      version_json(daemon, state, &state->versions[i]));
	}
	return json_pack("{s:s, s:b, s:i, s:o, s:o}", "name", state->name, "removed",
			 (int)state->removed, "ttl_s", service ? (int)service->ttl_seconds : 0,
			 "rollout", rollout_json(daemon, state), "versions", versions);
}

/* --- backends --- */

/* Names of all backends of live versions, with their addresses, and of all others that report. */
static json_t *backend_names(const struct daemon *daemon)
{
	json_t *names = json_object();
	const struct image *image = &daemon->image;
	for (size_t s = 0; s < image->state_count; s++) {
		const struct service_state *state = image->states[s];
		for (size_t v = 0; v < state->version_count; v++) {
			if (state->versions[v].state == VERSION_RETIRED)
				continue;
			const struct version *version = image_version(
			    image_service(image, state->name), state->versions[v].number);
			for (size_t b = 0; version && b < version->backend_count; b++)
				json_object_set_new(names, version->backends[b].name,
						    address_json(&version->backends[b].address));
		}
	}
	const struct report *report;
	for (size_t i = 0; (report = reports_at(daemon->reports, i)); i++) {
		bool is_fresh = report_is_fresh(report, image_report_interval_ms(image),
						clock_now_ms(daemon->clock));
		if (is_fresh && !json_object_get(names, report->backend))
			json_object_set_new(names, report->backend, json_null());
	}
	return names;
}

static json_t *backend_json(const struct daemon *daemon, const char *name, json_t *address)
{
	uint64_t now_ms = clock_now_ms(daemon->clock);
	const struct report *report = reports_find(daemon->reports, name);
	bool fresh =
	    report && report_is_fresh(report, image_report_interval_ms(&daemon->image), now_ms);
	uint64_t connections = 0;
	for (size_t i = 0; report && i < report->count; i++)
		connections += report->counts[i].connections;
	json_t *json = json_pack(
	    "{s:s, s:O, s:b, s:b, s:o, s:o, s:I, s:s}", "name", name, "address", address, "silent",
	    !fresh, "forgotten", image_forgotten(&daemon->image, name) != NULL, "last_report_ms",
	    report ? json_integer((json_int_t)(now_ms - report->received_ms)) : json_null(),
	    "connections", connections_json(fresh, connections), "cut",
	    (json_int_t)(report ? report->cut : 0), "boot_id", report ? report->boot_id : "");
	if (report && report->landing)
		json_object_set(json, "landing", report->landing);
	if (fresh) {
		uint64_t interval_ms = image_report_interval_ms(&daemon->image);
		json_object_set_new(json, "landed", json_boolean(!report->behind_ms));
		json_object_set_new(
		    json, "late_ms",
		    json_integer(report->behind_ms ? (json_int_t)(now_ms - report->behind_ms) : 0));
		json_object_set_new(json, "disputed",
				    json_boolean(report_is_disputed(report, interval_ms, now_ms)));
	}
	return json;
}

static json_t *backends_json(const struct daemon *daemon)
{
	json_t *names = backend_names(daemon);
	json_t *list = json_array();
	const char *name;
	json_t *address;
	json_object_foreach (names, name, address)
		json_array_append_new(list, backend_json(daemon, name, address));
	json_decref(names);
	return list;
}

/* --- status --- */

static const char *mode_name(enum edge_mode mode)
{
	switch (mode) {
	case EDGE_NATIVE:
		return "native";
	case EDGE_GENERIC:
		return "generic";
	case EDGE_DETACHED:
		break;
	}
	return "detached";
}

static void status_edge(const struct daemon *daemon, json_t *status)
{
	struct edge_status edge;
	if (!daemon->edge || edge_plane_status(daemon->edge, &edge) < 0)
		return;
	json_t *interfaces = json_array();
	for (size_t i = 0; i < edge.interface_count; i++)
		json_array_append_new(
		    interfaces, json_pack("{s:s, s:s, s:i, s:i}", "name", edge.interfaces[i].name,
					  "mode", mode_name(edge.interfaces[i].mode), "ifindex",
					  (int)edge.interfaces[i].ifindex, "program_id",
					  (int)edge.interfaces[i].program_id));
	json_t *hops = json_array();
	for (size_t i = 0; i < edge.backend_count; i++)
		json_array_append_new(hops, json_pack("{s:o, s:b, s:s, s:i}", "address",
						      address_json(&edge.backends[i].address),
						      "resolved", (int)edge.backends[i].resolved,
						      "interface", edge.backends[i].interface,
						      "mtu", (int)edge.backends[i].mtu));
	json_object_set_new(status, "build_id", json_string(edge.build_id));
	json_object_set_new(status, "layout", json_string(edge.layout));
	json_object_set_new(status, "adopted", json_boolean(edge.adopted));
	json_object_set_new(status, "addresses", json_integer((json_int_t)edge.addresses));
	json_object_set_new(status, "rings", json_integer((json_int_t)edge.rings));
	json_object_set_new(status, "interfaces", interfaces);
	json_object_set_new(status, "next_hops", hops);

	uint64_t drops[DROP_REASONS];
	json_t *reasons = json_object();
	if (edge_plane_drops(daemon->edge, drops) == 0) {
		for (unsigned i = 0; i < DROP_REASONS; i++) {
			const char *label = drop_label(i);
			if (label && drops[i])
				json_object_set_new(reasons, label,
						    json_integer((json_int_t)drops[i]));
		}
	}
	json_object_set_new(status, "drops", reasons);
}

static void status_names(const struct daemon *daemon, json_t *status)
{
	if (!daemon->names)
		return;
	struct naming_counters counters;
	names_plane_counters(daemon->names, &counters);
	uint64_t answered = 0;
	json_t *results = json_object();
	for (int r = 0; r < NAMING_RESULT_COUNT; r++) {
		uint64_t sum = 0;
		for (int q = 0; q < NAMING_QTYPE_COUNT; q++) {
			for (int t = 0; t < NAMING_TRANSPORTS; t++)
				sum += counters.answers[q][r][t];
		}
		answered += sum;
		if (sum)
			json_object_set_new(results, naming_result_text((enum naming_result)r),
					    json_integer((json_int_t)sum));
	}
	json_object_set_new(status, "dns",
			    json_pack("{s:b, s:I, s:I, s:o, s:I}", "answering",
				      (int)names_plane_answers(daemon->names), "serial",
				      (json_int_t)names_plane_serial(daemon->names), "queries",
				      (json_int_t)answered, "results", results, "swaps",
				      (json_int_t)counters.swaps));
}

#define NEXT_HOP_ALARMS 4 /* of single backends */

static void add_alarm(json_t *alarms, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add_alarm(json_t *alarms, const char *format, ...)
{
	char text[1024];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	json_array_append_new(alarms, json_string(text));
}

/* Nothing is known of its connections. */
static void silence_alarm(const char *name, const json_t *last_report_ms, json_t *alarms)
{
	if (json_is_integer(last_report_ms))
		add_alarm(
		    alarms,
		    "backend %s is silent for %.1f s: its connections count as in use; bring "
		    "its landing back, or `fairlead backend forget %s` if the machine is gone",
		    name, (double)json_integer_value(last_report_ms) / 1000.0, name);
	else
		add_alarm(
		    alarms,
		    "backend %s has not reported since this daemon started: its connections "
		    "count as in use; start `fairlead run --role backend --node %s` there, or "
		    "`fairlead backend forget %s`",
		    name, name, name);
}

#define LATE_INTERVALS 4 /* to carry a configuration out: one to hear of it, one to confirm it */

static void landing_alarms(const struct daemon *daemon, const char *name, const json_t *backend,
			   json_t *alarms)
{
	uint64_t interval_ms = image_report_interval_ms(&daemon->image);
	uint64_t late_ms = (uint64_t)json_integer_value(json_object_get(backend, "late_ms"));
	if (json_is_true(json_object_get(backend, "disputed")))
		add_alarm(alarms,
			  "two processes report as %s, and the newer one is not heard: give each "
			  "backend a --node of its own",
			  name);
	if (late_ms > LATE_INTERVALS * interval_ms)
		add_alarm(alarms,
			  "backend %s has not carried out its configuration for %.1f s: new flows "
			  "to it may be lost",
			  name, (double)late_ms / 1000.0);
	size_t at;
	json_t *text;
	json_array_foreach (json_object_get(json_object_get(backend, "landing"), "alarms"), at,
			    text) {
		if (json_is_string(text))
			add_alarm(alarms, "backend %s: %s", name, json_string_value(text));
	}
}

static void backend_alarms(const struct daemon *daemon, const json_t *backends, json_t *alarms)
{
	size_t index;
	json_t *backend;
	json_array_foreach ((json_t *)(uintptr_t)backends, index, backend) {
		const char *name = json_string_value(json_object_get(backend, "name"));
		bool is_backend = json_is_string(json_object_get(backend, "address"));
		bool is_silent = json_is_true(json_object_get(backend, "silent"));
		if (!is_silent)
			landing_alarms(daemon, name, backend, alarms);
		if (!is_backend && !is_silent && daemon->image.fabric)
			add_alarm(
			    alarms,
			    "%s reports, but is no backend of any service: is its --node right?",
			    name);
		if (is_backend && is_silent && !json_is_true(json_object_get(backend, "forgotten")))
			silence_alarm(name, json_object_get(backend, "last_report_ms"), alarms);
	}
}

static void interface_alarm(const struct edge_interface_status *interface, json_t *alarms)
{
	if (!interface->ifindex)
		add_alarm(alarms, "interface %s is gone: it is taken back when it appears again",
			  interface->name);
	else if (interface->mode == EDGE_DETACHED)
		add_alarm(alarms, "interface %s does not carry the edge program%s%s",
			  interface->name, *interface->problem ? ": " : "", interface->problem);
	else if (*interface->problem)
		add_alarm(alarms, "interface %s: %s", interface->name, interface->problem);
}

/* Of thousands without a next hop, the first few say what is wrong. */
static void next_hop_alarms(const struct edge_status *edge, json_t *alarms)
{
	char text[IP_TEXT_BYTES];
	size_t found = 0;
	for (size_t i = 0; i < edge->backend_count; i++) {
		const struct edge_backend_status *backend = &edge->backends[i];
		if (backend->dead || backend->unresolved_ms < EDGE_UNRESOLVED_MS)
			continue;
		if (found++ < NEXT_HOP_ALARMS)
			add_alarm(alarms,
				  "backend %s has no next hop: each packet asks the kernel's "
				  "routes; is it up, and does the route to it leave by an "
				  "--interface?",
				  ip_address_format(&backend->address, text));
	}
	if (found > NEXT_HOP_ALARMS)
		add_alarm(alarms, "%zu more backends have no next hop", found - NEXT_HOP_ALARMS);
}

static void edge_alarms(struct edge_plane *plane, json_t *alarms)
{
	char text[IP_TEXT_BYTES];
	struct edge_status edge;
	if (edge_plane_status(plane, &edge) < 0)
		return;
	for (size_t i = 0; i < edge.interface_count; i++)
		interface_alarm(&edge.interfaces[i], alarms);
	for (size_t i = 0; i < edge.missing_source_count; i++)
		add_alarm(alarms,
			  "source %s is not on this machine any more: packets of IPv%d tunnels are "
			  "lost or go unanswered; add it back, or start with another --source",
			  ip_address_format(&edge.missing_sources[i], text),
			  edge.missing_sources[i].family == IP_V4 ? 4 : 6);
	next_hop_alarms(&edge, alarms);
}

static json_t *alarms_json(const struct daemon *daemon, const json_t *backends)
{
	json_t *alarms = json_array();
	if (*daemon->alarm)
		add_alarm(alarms, "%s", daemon->alarm);
	if (daemon->edge && *edge_plane_alarm(daemon->edge))
		add_alarm(alarms, "%s", edge_plane_alarm(daemon->edge));
	const char *interference =
	    daemon->edge ? edge_plane_interference(daemon->edge, clock_now_ms(daemon->clock)) : "";
	if (*interference)
		add_alarm(alarms, "%s", interference);
	if (daemon->edge)
		edge_alarms(daemon->edge, alarms);
	if (daemon->names && !names_plane_has_address(daemon->names) && daemon->image.fabric &&
	    !daemon->image.fabric->nameserver_count)
		add_alarm(
		    alarms,
		    "the file has no `nameservers`, and --dns is a wildcard: the zone's name "
		    "server has no address that could be published; name it under `nameservers`");
	backend_alarms(daemon, backends, alarms);
	return alarms;
}

static json_t *services_json(const struct daemon *daemon, bool with_retired)
{
	json_t *services = json_array();
	for (size_t i = 0; i < daemon->image.state_count; i++)
		json_array_append_new(services,
				      service_json(daemon, daemon->image.states[i], with_retired));
	return services;
}

void verb_status(struct daemon *daemon, struct api_call *call)
{
	json_t *backends = backends_json(daemon);
	json_t *status =
	    json_pack("{s:s, s:s, s:s, s:I, s:I, s:I}", "node", daemon->options->node, "site",
		      daemon->options->site, "version", FAIRLEAD_VERSION, "uptime_ms",
		      (json_int_t)(clock_now_ms(daemon->clock) - daemon->start_ms), "sequence",
		      (json_int_t)daemon->image.head.sequence, "applied",
		      (json_int_t)image_acked(&daemon->image));
	json_object_set_new(status, "configured", json_boolean(daemon->image.fabric != NULL));
	json_object_set_new(status, "alarms", alarms_json(daemon, backends));
	status_edge(daemon, status);
	status_names(daemon, status);
	json_object_set_new(status, "services", services_json(daemon, false));
	json_object_set_new(status, "backends", backends);
	api_succeed(call, status);
}

/* --- get --- */

static json_t *versions_list(const struct daemon *daemon)
{
	json_t *list = json_array();
	for (size_t s = 0; s < daemon->image.state_count; s++) {
		const struct service_state *state = daemon->image.states[s];
		for (size_t v = 0; v < state->version_count; v++)
			json_array_append_new(list,
					      version_json(daemon, state, &state->versions[v]));
	}
	return list;
}

static json_t *bindings_list(const struct daemon *daemon)
{
	json_t *list = json_array();
	for (size_t s = 0; s < daemon->image.state_count; s++) {
		const struct service_state *state = daemon->image.states[s];
		for (size_t b = 0; b < state->binding_count; b++)
			json_array_append_new(list,
					      binding_json(daemon, state, &state->bindings[b]));
	}
	return list;
}

static json_t *pools_list(const struct daemon *daemon)
{
	return config_capacity_json(daemon->image.fabric);
}

static json_t *sites_list(const struct daemon *daemon)
{
	json_t *list = json_array();
	for (size_t i = 0; i < daemon->image.fabric->site_count; i++) {
		const char *name = daemon->image.fabric->sites[i].name;
		json_array_append_new(list,
				      json_pack("{s:s, s:i, s:b}", "name", name, "number",
						(int)placement_site(daemon->image.placement, name),
						"own", strcmp(name, daemon->options->site) == 0));
	}
	return list;
}

static json_t *services_list(const struct daemon *daemon)
{
	return services_json(daemon, false);
}

static json_t *config_answer(const struct daemon *daemon)
{
	struct buffer text;
	buffer_init(&text, 0);
	config_emit(daemon->image.fabric, &text);
	json_t *json = text.status ? NULL : json_pack("{s:s}", "file", text.data);
	buffer_done(&text);
	return json;
}

void verb_get(struct daemon *daemon, struct api_call *call)
{
	static const struct {
		const char *kind;
		json_t *(*list)(const struct daemon *daemon);
	} kinds[] = {
	    {"services", services_list}, {"versions", versions_list}, {"backends", backends_json},
	    {"bindings", bindings_list}, {"pools", pools_list},       {"sites", sites_list},
	};
	const char *kind = api_text(call, "kind");
	if (!daemon->image.fabric) {
		fail(call, -FL_ENOTFOUND,
		     "nothing was applied yet: write a file and `fairlead apply` it", "");
		return;
	}
	if (!kind) {
		api_succeed(call, config_answer(daemon));
		return;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i].kind, kind) == 0) {
			api_succeed(call, kinds[i].list(daemon));
			return;
		}
	}
	fail(call, -FL_EUSAGE,
	     "there are services, versions, backends, bindings, pools and sites, but no ", kind);
}

/* --- describe --- */

static json_t *content_json(const struct version *version)
{
	json_t *ports = json_array();
	json_t *backends = json_array();
	json_t *rings = json_array();
	for (size_t i = 0; i < version->port_count; i++) {
		const struct service_port *port = &version->ports[i];
		char text[32];
		const char *protocol = port->quic                      ? "quic"
				       : port->protocol == SERVICE_TCP ? "tcp"
								       : "udp";
		if (port->first == port->last)
			snprintf(text, sizeof(text), "%s/%u", protocol, port->first);
		else
			snprintf(text, sizeof(text), "%s/%u-%u", protocol, port->first, port->last);
		json_array_append_new(ports, json_string(text));
	}
	for (size_t i = 0; i < version->backend_count; i++) {
		const struct backend *backend = &version->backends[i];
		json_array_append_new(
		    backends, json_pack("{s:s, s:s, s:o, s:i}", "name", backend->name, "site",
					backend->site, "address", address_json(&backend->address),
					"weight", (int)backend->weight));
	}
	for (size_t i = 0; i < version->ring_count; i++)
		json_array_append_new(rings,
				      json_pack("{s:s, s:i}", "site", version->rings[i].site,
						"entries", (int)version->rings[i].ring.length));
	return json_pack("{s:o, s:o, s:o}", "ports", ports, "backends", backends, "rings", rings);
}

static json_t *describe_service(const struct daemon *daemon, const char *name)
{
	const struct image_service *service = image_service(&daemon->image, name);
	return service && service->state ? service_json(daemon, service->state, true) : NULL;
}

/* "web/2" */
static json_t *describe_version(const struct daemon *daemon, const char *name)
{
	char service_name[MODEL_NAME_BYTES];
	const char *slash = strchr(name, '/');
	if (!slash)
		return NULL;
	snprintf(service_name, sizeof(service_name), "%.*s", (int)(slash - name), name);
	const struct image_service *service = image_service(&daemon->image, service_name);
	uint32_t number = (uint32_t)strtoul(slash + 1, NULL, 10);
	if (!service || !service->state || !service_version(service->state, number))
		return NULL;
	json_t *json =
	    version_json(daemon, service->state, service_version(service->state, number));
	const struct version *version = image_version(service, number);
	if (version)
		json_object_update_new(json, content_json(version));
	return json;
}

static json_t *describe_backend(const struct daemon *daemon, const char *name)
{
	json_t *names = backend_names(daemon);
	json_t *address = json_object_get(names, name);
	json_t *json = address ? backend_json(daemon, name, address) : NULL;
	json_decref(names);
	return json;
}

static json_t *describe_address(const struct daemon *daemon, const char *text)
{
	struct ip_address wanted;
	if (ip_address_parse(text, &wanted) < 0)
		return NULL;
	for (size_t s = 0; s < daemon->image.state_count; s++) {
		const struct service_state *state = daemon->image.states[s];
		for (size_t b = 0; b < state->binding_count; b++) {
			struct ip_address address = own_address(daemon, &state->bindings[b]);
			if (ip_address_equal(&address, &wanted))
				return binding_json(daemon, state, &state->bindings[b]);
		}
	}
	return NULL;
}

void verb_describe(struct daemon *daemon, struct api_call *call)
{
	static const struct {
		const char *kind;
		json_t *(*describe)(const struct daemon *daemon, const char *name);
	} kinds[] = {
	    {"service/", describe_service},
	    {"version/", describe_version},
	    {"backend/", describe_backend},
	    {"address/", describe_address},
	};
	const char *thing = api_text(call, "thing");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t length = strlen(kinds[i].kind);
		if (strncmp(thing, kinds[i].kind, length) != 0)
			continue;
		json_t *json =
		    daemon->image.fabric ? kinds[i].describe(daemon, thing + length) : NULL;
		if (json)
			api_succeed(call, json);
		else
			fail(call, -FL_ENOTFOUND, "there is no ", thing);
		return;
	}
	fail(call, -FL_EUSAGE,
	     "name it as service/NAME, version/NAME/NUMBER, backend/NAME or address/ADDRESS, not ",
	     thing);
}

void verb_rollout_status(struct daemon *daemon, struct api_call *call)
{
	const char *name = api_text(call, "service");
	json_t *list = json_array();
	for (size_t i = 0; i < daemon->image.state_count; i++) {
		const struct service_state *state = daemon->image.states[i];
		if (!name || strcmp(name, state->name) == 0)
			json_array_append_new(list, rollout_json(daemon, state));
	}
	if (name && !json_array_size(list)) {
		json_decref(list);
		fail(call, -FL_ENOTFOUND, "there is no service ", name);
		return;
	}
	api_succeed(call, list);
}

/* --- ledger --- */

static json_t *entry_json(const struct ledger_entry *entry)
{
	char time[CLOCK_TEXT_BYTES];
	char digest[DIGEST_HEX_BYTES];
	clock_format(entry->time_ms, time, sizeof(time));
	hex_encode(entry->digest.bytes, DIGEST_BYTES, digest);
	return json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:O, s:s}", "sequence",
			 (json_int_t)entry->sequence, "time", time, "node", entry->node, "who",
			 entry->who, "why", entry->why, "kind", entry->kind, "what", entry->what,
			 "digest", digest);
}

static void on_log(void *context, int result, const struct error *err,
		   const struct ledger_page *page)
{
	struct api_call *call = context;
	if (result < 0) {
		api_fail(call, err);
		return;
	}
	json_t *list = json_array();
	for (size_t i = 0; i < page->count; i++)
		json_array_append_new(list, entry_json(&page->entries[i]));
	api_succeed(call, list);
}

void verb_log(struct daemon *daemon, struct api_call *call)
{
	const json_t *parameters = api_parameters(call);
	json_int_t from = json_integer_value(json_object_get(parameters, "from"));
	json_int_t limit = json_integer_value(json_object_get(parameters, "limit"));
	struct error err = {0};
	if (limit <= 0)
		limit = LOG_DEFAULT_LIMIT;
	if (limit > STORE_PAGE_RECORDS)
		limit = STORE_PAGE_RECORDS;
	if (ledger_range(daemon->store, (uint64_t)from, (size_t)limit, on_log, call, &err) < 0)
		api_fail(call, &err);
}

static void on_verified(void *context, int result, const struct error *err,
			const struct ledger_verdict *verdict)
{
	struct api_call *call = context;
	if (result < 0) {
		api_fail(call, err);
		return;
	}
	char digest[DIGEST_HEX_BYTES];
	hex_encode(verdict->digest.bytes, DIGEST_BYTES, digest);
	api_succeed(call, json_pack("{s:b, s:I, s:s}", "sound", 1, "entries",
				    (json_int_t)verdict->entries, "digest", digest));
}

void verb_verify(struct daemon *daemon, struct api_call *call)
{
	const struct ledger_verify verify = {.signer = daemon->signer};
	struct error err = {0};
	if (ledger_verify(daemon->store, &verify, on_verified, call, &err) < 0)
		api_fail(call, &err);
}

void verb_events(struct daemon *daemon, struct api_call *call)
{
	(void)daemon;
	api_follow(call);
}
