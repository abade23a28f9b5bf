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
#define LATE_INTERVALS 4 /* to carry a configuration out: one to hear of it, one to confirm it */

static void put_standing(const struct daemon *daemon, const struct alarm *alarm, json_t *list)
{
	if (alarm && alarm_stands(alarm))
		json_array_append_new(list, alarm_json(alarm, "", daemon->clock));
}

static bool has(const json_t *backend, const char *key)
{
	return json_is_true(json_object_get(backend, key));
}

static bool is_backend(const json_t *backend)
{
	return json_is_string(json_object_get(backend, "address"));
}

/* Nothing is known of its connections. */
static void silence_alarm(const struct daemon *daemon, const char *name,
			  const json_t *last_report_ms, json_t *alarms)
{
	json_int_t ago_ms = json_integer_value(last_report_ms);
	uint64_t since_ms = clock_now_ms(daemon->clock) - (uint64_t)ago_ms;
	if (json_is_integer(last_report_ms))
		ALARM_PUT(alarms, daemon->clock, since_ms, BACKEND_SILENT, name, name,
			  (double)ago_ms / 1000.0);
	else
		ALARM_PUT(alarms, NULL, 0, BACKEND_NEVER_REPORTED, name, name);
}

static void landing_alarms(const struct daemon *daemon, const char *name, const json_t *backend,
			   json_t *alarms)
{
	uint64_t interval_ms = image_report_interval_ms(&daemon->image);
	uint64_t late_ms = (uint64_t)json_integer_value(json_object_get(backend, "late_ms"));
	if (has(backend, "disputed"))
		ALARM_PUT(alarms, NULL, 0, BACKEND_DISPUTED, name, name);
	if (late_ms > LATE_INTERVALS * interval_ms)
		ALARM_PUT(alarms, daemon->clock, clock_now_ms(daemon->clock) - late_ms,
			  BACKEND_LATE, name, name, (double)late_ms / 1000.0);
	size_t at;
	json_t *sent;
	json_array_foreach (json_object_get(json_object_get(backend, "landing"), "alarms"), at,
			    sent)
		alarm_put_sent(alarms, ALARM_ABOUT_BACKEND, name, sent);
}

static void backend_alarms(const struct daemon *daemon, const json_t *backends, json_t *alarms)
{
	size_t index;
	json_t *backend;
	json_array_foreach ((json_t *)(uintptr_t)backends, index, backend) {
		const char *name = json_string_value(json_object_get(backend, "name"));
		if (!has(backend, "silent"))
			landing_alarms(daemon, name, backend, alarms);
		else if (is_backend(backend) && !has(backend, "awaited") &&
			 !has(backend, "forgotten"))
			silence_alarm(daemon, name, json_object_get(backend, "last_report_ms"),
				      alarms);
	}
}

static void interface_alarm(const struct edge_interface_status *interface, json_t *alarms)
{
	const char *name = interface->name;
	if (!interface->ifindex)
		ALARM_PUT(alarms, NULL, 0, INTERFACE_GONE, name, name);
	else if (interface->mode == EDGE_DETACHED)
		ALARM_PUT(alarms, NULL, 0, INTERFACE_DETACHED, name, name,
			  *interface->problem ? interface->problem : "it is not attached");
	else if (*interface->problem)
		ALARM_PUT(alarms, NULL, 0, INTERFACE_TROUBLE, name, name, interface->problem);
	else if (interface->link == EDGE_LINK_DOWN)
		ALARM_PUT(alarms, NULL, 0, INTERFACE_DOWN, name, name);
	else if (interface->link == EDGE_LINK_NO_CARRIER)
		ALARM_PUT(alarms, NULL, 0, INTERFACE_NO_CARRIER, name, name);
}

/* Of thousands without a next hop, the first few say what is wrong. */
static void next_hop_alarms(const struct edge_status *edge, const char *node, json_t *alarms)
{
	char text[IP_TEXT_BYTES];
	size_t found = 0;
	for (size_t i = 0; i < edge->backend_count; i++) {
		const struct edge_backend_status *backend = &edge->backends[i];
		if (!backend->no_route && backend->unresolved_ms < EDGE_UNRESOLVED_MS)
			continue;
		if (found++ >= NEXT_HOP_ALARMS)
			continue;
		ip_address_format(&backend->address, text);
		if (backend->no_route)
			ALARM_PUT(alarms, NULL, 0, BACKEND_NO_ROUTE, text, text);
		else
			ALARM_PUT(alarms, NULL, 0, BACKEND_NO_NEXT_HOP, text, text);
	}
	if (found > NEXT_HOP_ALARMS)
		ALARM_PUT(alarms, NULL, 0, BACKENDS_NO_NEXT_HOP, node, found - NEXT_HOP_ALARMS);
}

static void edge_alarms(const struct daemon *daemon, json_t *alarms)
{
	char text[IP_TEXT_BYTES];
	struct edge_status edge;
	put_standing(daemon, edge_plane_alarm(daemon->edge), alarms);
	put_standing(daemon, edge_plane_interference(daemon->edge, clock_now_ms(daemon->clock)),
		     alarms);
	if (edge_plane_status(daemon->edge, &edge) < 0)
		return;
	for (size_t i = 0; i < edge.interface_count; i++)
		interface_alarm(&edge.interfaces[i], alarms);
	for (size_t i = 0; i < edge.missing_source_count; i++) {
		ip_address_format(&edge.missing_sources[i], text);
		ALARM_PUT(alarms, NULL, 0, SOURCE_GONE, text, text,
			  edge.missing_sources[i].family == IP_V4 ? 4 : 6);
	}
	next_hop_alarms(&edge, daemon->options->node, alarms);
}

static void names_alarms(const struct daemon *daemon, json_t *alarms)
{
	char text[IP_TEXT_BYTES];
	put_standing(daemon, names_plane_alarm(daemon->names), alarms);
	const struct ip_address *missing = names_plane_missing(daemon->names);
	if (missing) {
		ip_address_format(missing, text);
		ALARM_PUT(alarms, NULL, 0, DNS_ADDRESS_GONE, text, text);
	}
	if (!names_plane_has_address(daemon->names) && daemon->image.fabric &&
	    !daemon->image.fabric->nameserver_count)
		ALARM_PUT(alarms, NULL, 0, DNS_NO_NAMESERVER, "");
}

#define UNREAD_ALARMS 4 /* of single records */

static void unread_alarms(const struct daemon *daemon, json_t *alarms)
{
	const struct image *image = &daemon->image;
	char text[IMAGE_UNREAD_TEXT];
	for (size_t i = 0; i < image->unread_count && i < UNREAD_ALARMS; i++)
		ALARM_PUT(alarms, NULL, 0, RECORD_UNREAD, image->unread[i].key,
			  image_unread_text(&image->unread[i], text));
	if (image->unread_count > UNREAD_ALARMS)
		ALARM_PUT(alarms, NULL, 0, RECORDS_UNREAD, daemon->options->node,
			  image->unread_count - UNREAD_ALARMS);
}

static json_t *alarms_json(const struct daemon *daemon, const json_t *backends)
{
	json_t *alarms = json_array();
	const char *node = daemon->options->node;
	const struct open_files *files = &daemon->files;
	if (*daemon->origin.why)
		ALARM_PUT(alarms, daemon->clock, daemon->start_ms, STATE_FROZEN,
			  origin_name(daemon->origin.kind), daemon->origin.why);
	put_standing(daemon, &daemon->alarm, alarms);
	put_standing(daemon, &daemon->store_alarm, alarms);
	put_standing(daemon, &daemon->upgrade_alarm, alarms);
	unread_alarms(daemon, alarms);
	put_standing(daemon, membership_alarm(daemon->membership), alarms);
	if (daemon->snapshots)
		snapshots_put_alarms(daemon->snapshots, alarms);
	if (daemon->edge)
		edge_alarms(daemon, alarms);
	if (daemon->names)
		names_alarms(daemon, alarms);
	if (daemon->wall.jump_ms)
		ALARM_PUT(alarms, daemon->clock, daemon->wall.since_ms, CLOCK_JUMPED, node,
			  daemon->wall.jump_ms < 0 ? "back" : "forward",
			  llabs((long long)daemon->wall.jump_ms) / 1000);
	if (files->limit < files->wanted)
		ALARM_PUT(alarms, NULL, 0, FILES_FEW, node, files->limit, files->wanted,
			  files->api_clients, files->tcp_connections);
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
		awaited += has(backend, "awaited");
		if (!is_backend(backend) && !has(backend, "silent") && daemon->image.fabric)
			ALARM_PUT(notes, NULL, 0, BACKEND_SPARE, name, name);
	}
	if (awaited)
		ALARM_PUT(notes, NULL, 0, BACKENDS_AWAITED, daemon->options->node, awaited,
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
