/* SPDX-License-Identifier: Apache-2.0 */
/* `status`: one screen of how the node and its services are, and what needs attention. */
#include "daemon/edge_plane.h"
#include "daemon/names_plane.h"
#include "daemon/show.h"
#include "daemon/snapshots.h"
#include "daemon/verbs.h"
#include "fabric/driver.h"
#include "fabric/membership.h"
#include "fabric/reports.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* -ENOMEM: a status that says nothing of the edge would look like that of a node without one. */
static int status_edge(const struct daemon *daemon, json_t *status)
{
	struct edge_status edge;
	int result = daemon->edge ? edge_plane_status(daemon->edge, &edge) : -FL_ENOTFOUND;
	if (result < 0)
		return result == -ENOMEM ? result : 0;
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
						      show_address(&edge.backends[i].address),
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
	return 0;
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

/* What the state came from, and the ledger entries that could stand in for it. */
static void status_state(const struct daemon *daemon, json_t *status)
{
	struct snapshots_state snapshots = {0};
	if (daemon->snapshots)
		snapshots = snapshots_state(daemon->snapshots);
	json_object_set_new(status, "state",
			    json_pack("{s:s, s:I, s:I}", "origin", origin_name(daemon->origin.kind),
				      "newest_snapshot", (json_int_t)snapshots.newest,
				      "good_snapshot", (json_int_t)snapshots.good));
}

#define NEXT_HOP_ALARMS 4 /* of single backends */

/* One more alarm, or note. */
static void add_alarm(json_t *alarms, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add_alarm(json_t *alarms, const char *format, ...)
{
	char text[2048];
	va_list arguments;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	json_array_append_new(alarms, json_string(text));
}

static bool is_backend(const json_t *backend)
{
	return json_is_string(json_object_get(backend, "address"));
}

static bool is_silent(const json_t *backend)
{
	return json_is_true(json_object_get(backend, "silent"));
}

static bool is_awaited(const json_t *backend)
{
	return json_is_true(json_object_get(backend, "awaited"));
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
		if (!is_silent(backend))
			landing_alarms(daemon, name, backend, alarms);
		else if (is_backend(backend) && !is_awaited(backend) &&
			 !json_is_true(json_object_get(backend, "forgotten")))
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
		if (backend->dead ||
		    (!backend->no_route && backend->unresolved_ms < EDGE_UNRESOLVED_MS))
			continue;
		if (found++ >= NEXT_HOP_ALARMS)
			continue;
		ip_address_format(&backend->address, text);
		if (backend->no_route)
			add_alarm(alarms,
				  "there is no route to backend %s, and its packets are lost: see "
				  "'ip route get %s', and add one",
				  text, text);
		else
			add_alarm(alarms,
				  "backend %s has no next hop: each packet asks the kernel's "
				  "routes; is it up, and does the route to it leave by an "
				  "--interface?",
				  text);
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

static void names_alarms(const struct daemon *daemon, json_t *alarms)
{
	char text[IP_TEXT_BYTES];
	if (*names_plane_alarm(daemon->names))
		add_alarm(alarms, "%s", names_plane_alarm(daemon->names));
	const struct ip_address *missing = names_plane_missing(daemon->names);
	if (missing)
		add_alarm(alarms,
			  "%s is not on this machine any more, so no name is answered there; add "
			  "it back, or start with another --dns",
			  ip_address_format(missing, text));
	if (!names_plane_has_address(daemon->names) && daemon->image.fabric &&
	    !daemon->image.fabric->nameserver_count)
		add_alarm(
		    alarms,
		    "the file has no `nameservers`, and --dns is a wildcard: the zone's name "
		    "server has no address that could be published; name it under `nameservers`");
}

static json_t *alarms_json(const struct daemon *daemon, const json_t *backends)
{
	json_t *alarms = json_array();
	const char *store_alarms[] = {daemon->origin.why, daemon->alarm, daemon->store_alarm,
				      daemon->snapshots ? snapshots_alarm(daemon->snapshots) : ""};
	for (size_t i = 0; i < sizeof(store_alarms) / sizeof(store_alarms[0]); i++) {
		if (*store_alarms[i])
			add_alarm(alarms, "%s", store_alarms[i]);
	}
	if (*membership_alarm(daemon->membership))
		add_alarm(alarms, "%s", membership_alarm(daemon->membership));
	if (daemon->edge && *edge_plane_alarm(daemon->edge))
		add_alarm(alarms, "%s", edge_plane_alarm(daemon->edge));
	const char *interference =
	    daemon->edge ? edge_plane_interference(daemon->edge, clock_now_ms(daemon->clock)) : "";
	if (*interference)
		add_alarm(alarms, "%s", interference);
	if (daemon->edge)
		edge_alarms(daemon->edge, alarms);
	if (daemon->names)
		names_alarms(daemon, alarms);
	if (daemon->wall.jump_ms)
		add_alarm(alarms,
			  "this machine's clock was set %s by %lld s: states and pauses are paced "
			  "without it, but ledger and log are stamped with it; see 'timedatectl' "
			  "whether it is right now",
			  daemon->wall.jump_ms < 0 ? "back" : "forward",
			  llabs((long long)daemon->wall.jump_ms) / 1000);
	if (daemon->files.limit < daemon->files.wanted)
		add_alarm(alarms,
			  "this process may have only %zu files open: the local API takes %u "
			  "clients, and DNS %u connections over TCP per thread; raise LimitNOFILE "
			  "(ulimit -n) to %zu",
			  daemon->files.limit, daemon->files.api_clients,
			  daemon->files.tcp_connections, daemon->files.wanted);
	backend_alarms(daemon, backends, alarms);
	return alarms;
}

/* What is as it may be, and yet worth knowing. */
static json_t *notes_json(const struct daemon *daemon, const json_t *backends)
{
	json_t *notes = json_array();
	size_t awaited = 0;
	size_t index;
	json_t *backend;
	json_array_foreach ((json_t *)(uintptr_t)backends, index, backend) {
		const char *name = json_string_value(json_object_get(backend, "name"));
		awaited += is_awaited(backend);
		if (!is_backend(backend) && !is_silent(backend) && daemon->image.fabric)
			add_alarm(notes,
				  "%s reports, but is no backend of any service: a spare, or is "
				  "its --node wrong?",
				  name);
	}
	if (awaited)
		add_alarm(notes, "the first report of %zu %s is awaited", awaited,
			  awaited == 1 ? "backend" : "backends");
	return notes;
}

void verb_status(struct daemon *daemon, struct api_call *call)
{
	json_t *backends = show_backends(daemon);
	const struct sights sights = driver_sights(daemon->driver);
	json_t *status = json_pack(
	    "{s:s, s:s, s:s, s:I, s:I, s:I}", "node", daemon->options->node, "site",
	    daemon->options->site, "version", FAIRLEAD_VERSION, "uptime_ms",
	    (json_int_t)(clock_now_ms(daemon->clock) - daemon->start_ms), "sequence",
	    (json_int_t)daemon->image.head.sequence, "applied", (json_int_t)merge_applied(&sights));
	json_object_set_new(status, "configured", json_boolean(daemon->image.fabric != NULL));
	json_object_set_new(status, "alarms", alarms_json(daemon, backends));
	json_object_set_new(status, "notes", notes_json(daemon, backends));
	status_state(daemon, status);
	int result = status_edge(daemon, status);
	status_names(daemon, status);
	json_object_set_new(status, "services", show_services(daemon, false));
	json_object_set_new(status, "backends", backends);
	if (result < 0) {
		/* As for every answer that lacks a part. */
		json_decref(status);
		status = NULL;
	}
	api_succeed(call, status);
}
