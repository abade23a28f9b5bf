/* SPDX-License-Identifier: Apache-2.0 */
/* Backends as JSON. One is a name and an address; a name that moved to another machine is two of
 * them while a version lives that names the first. */
#include "api/show.h"

#include "base/memory.h"
#include "fabric/reports.h"

#include <stdio.h>
#include <string.h>

json_t *show_address(const struct ip_address *address)
{
	char text[IP_TEXT_BYTES];
	return json_string(ip_address_format(address, text));
}

json_t *show_connections(bool known, uint64_t connections)
{
	return known ? json_integer((json_int_t)connections) : json_null();
}

/* Of several versions the oldest says since when its report is awaited, and the newest whether it
 * was declared gone: that covers no version published later. */
static void add_backend(const struct api_host *host, const struct image_version *entry,
			const struct backend *backend, uint64_t published, json_t *rows)
{
	uint64_t awaited_ms = clock_now_ms(host->clock) - entry->learned_ms;
	char address[IP_TEXT_BYTES];
	char key[MODEL_NAME_BYTES + IP_TEXT_BYTES];
	ip_address_format(&backend->address, address);
	snprintf(key, sizeof(key), "%s %s", backend->name, address);
	json_t *known = json_object_get(rows, key);
	uint64_t before_ms = (uint64_t)json_integer_value(json_object_get(known, "awaited_ms"));
	uint64_t longer_ms = awaited_ms > before_ms ? awaited_ms : before_ms;
	bool forgotten = image_is_forgotten(host->image, backend, published) &&
			 (!known || json_is_true(json_object_get(known, "forgotten")));
	bool no_landing = backend->no_landing || json_is_true(json_object_get(known, "no_landing"));
	json_object_set_new(rows, key,
			    json_pack("{s:s, s:s, s:I, s:b, s:b}", "name", backend->name, "address",
				      address, "awaited_ms", (json_int_t)longer_ms, "forgotten",
				      (int)forgotten, "no_landing", (int)no_landing));
}

/* Every name and address of live versions, and the names of all others that report; with
 * `awaited_ms` and `forgotten`. */
static json_t *find_rows(const struct api_host *host)
{
	json_t *rows = json_object();
	json_t *names = json_object();
	const struct image *image = host->image;
	for (size_t s = 0; s < image->state_count; s++) {
		const struct service_state *state = image->states[s];
		for (size_t v = 0; v < state->version_count; v++) {
			const struct image_version *entry = image_version_entry(
			    image_service(image, state->name), state->versions[v].number);
			if (state->versions[v].state == VERSION_RETIRED || !entry)
				continue;
			for (size_t b = 0; b < entry->version->backend_count; b++) {
				const struct backend *backend = &entry->version->backends[b];
				add_backend(host, entry, backend, state->versions[v].sequence,
					    rows);
				json_object_set_new(names, backend->name, json_true());
			}
		}
	}
	const struct report *report;
	for (size_t i = 0; (report = reports_at(host->reports, i)); i++) {
		bool is_fresh = report_is_fresh(report, image_report_interval_ms(image),
						clock_now_ms(host->clock));
		if (is_fresh && !json_object_get(names, report->backend))
			json_object_set_new(
			    rows, report->backend,
			    json_pack("{s:s, s:n}", "name", report->backend, "address"));
	}
	json_decref(names);
	return rows;
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
	json_object_set_new(json, "landed", json_boolean(!report->behind_ms));
	json_object_set_new(
	    json, "late_ms",
	    json_integer(report->behind_ms ? (json_int_t)(now_ms - report->behind_ms) : 0));
	json_object_set_new(json, "disputed",
			    json_boolean(report_is_disputed(
				report, image_report_interval_ms(host->image), now_ms)));
}

/* The last report by that name which came from the machine with the address, and is believed as far
 * as it is fresh; else one that came from a machine without. Of who is no backend, any: it may
 * still have the address that it had as one. */
static const struct report *find_report(const struct api_host *host, const struct backend *backend,
					bool *ret_elsewhere)
{
	uint64_t interval_ms = image_report_interval_ms(host->image);
	uint64_t now_ms = clock_now_ms(host->clock);
	const struct report *report;
	bool has_address = backend->address.family != IP_NONE;
	*ret_elsewhere = has_address && reports_doubt(host->reports, backend, interval_ms, now_ms,
						      &report) == REPORT_ELSEWHERE;
	if (has_address && !*ret_elsewhere)
		return report;
	const struct report *any = NULL;
	for (size_t i = 0; (report = reports_at(host->reports, i)); i++) {
		if (strcmp(report->backend, backend->name) == 0 &&
		    (!has_address || !report->said.owned.count) &&
		    report_is_fresh(report, interval_ms, now_ms))
			any = report;
	}
	return any;
}

/* Its first report may still be on its way: for as long as a report may be late. */
static bool is_awaited(const struct api_host *host, const struct report *report, const json_t *row)
{
	const json_t *awaited_ms = json_object_get(row, "awaited_ms");
	return json_is_integer(awaited_ms) && !report &&
	       !json_is_true(json_object_get(row, "no_landing")) &&
	       !json_is_true(json_object_get(row, "forgotten")) &&
	       (uint64_t)json_integer_value(awaited_ms) <
		   REPORT_STALE_INTERVALS * image_report_interval_ms(host->image);
}

static json_t *backend_json(const struct api_host *host, const json_t *row)
{
	uint64_t now_ms = clock_now_ms(host->clock);
	struct backend backend = {.name = json_string_value(json_object_get(row, "name"))};
	const char *address = json_string_value(json_object_get(row, "address"));
	bool elsewhere;
	bool no_landing = json_is_true(json_object_get(row, "no_landing"));
	if (address)
		must_succeed(ip_address_parse(address, &backend.address));
	const struct report *report = find_report(host, &backend, &elsewhere);
	bool fresh =
	    report && report_is_fresh(report, image_report_interval_ms(host->image), now_ms);
	uint64_t connections = 0;
	for (size_t i = 0; report && i < report->said.counts.count; i++)
		connections += report->said.counts.items[i].connections;
	json_t *json = json_pack(
	    "{s:s, s:O, s:b, s:b, s:o, s:o, s:I, s:s}", "name", backend.name, "address",
	    json_object_get(row, "address"), "silent", (!fresh && !no_landing) || elsewhere,
	    "forgotten", (int)json_is_true(json_object_get(row, "forgotten")), "last_report_ms",
	    report ? json_integer((json_int_t)(now_ms - report->received_ms)) : json_null(),
	    "connections", show_connections(fresh && !elsewhere, connections), "cut",
	    (json_int_t)(report ? report->said.cut : 0), "boot_id", report ? report->boot_id : "");
	if (is_awaited(host, report, row))
		json_object_set_new(json, "awaited", json_true());
	if (elsewhere)
		json_object_set_new(json, "elsewhere", json_true());
	if (no_landing)
		json_object_set_new(json, "no_landing", json_true());
	if (report)
		json_object_set_new(json, "landing", landing_json(&report->said));
	if (fresh)
		show_report(host, report, now_ms, json);
	return json;
}

json_t *show_backend(const struct api_host *host, const char *name)
{
	json_t *rows = find_rows(host);
	json_t *found = NULL;
	const char *slash = strchr(name, '/');
	size_t length = slash ? (size_t)(slash - name) : strlen(name);
	const char *key;
	json_t *row;
	/* Of several addresses the last, which the newest version names. */
	json_object_foreach (rows, key, row) {
		const char *address = json_string_value(json_object_get(row, "address"));
		if (strncmp(key, name, length) == 0 && (!key[length] || key[length] == ' ') &&
		    (!slash || (address && strcmp(address, slash + 1) == 0)))
			found = row;
	}
	json_t *json = found ? backend_json(host, found) : NULL;
	json_decref(rows);
	return json;
}

json_t *show_backends(const struct api_host *host)
{
	json_t *rows = find_rows(host);
	json_t *list = json_array();
	const char *key;
	json_t *row;
	json_object_foreach (rows, key, row)
		json_array_append_new(list, backend_json(host, row));
	json_decref(rows);
	return list;
}
