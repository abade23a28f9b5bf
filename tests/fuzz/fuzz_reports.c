/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a landing and its node say to each other. Each line of the input is one message: 'c' and a
 * configuration as the landing gets it, or a digit and a report as the node gets it, so many
 * seconds after the one before. All reports go to one node, in whatever order.
 *
 * A configuration is taken whole and within its limits. A report that is refused changes nothing
 * that was counted; one that is taken is what its backend says from then on, and comes from the
 * process that was heard before, or after three intervals of silence.
 */
#include "daemon/landing_config.h"
#include "fabric/reports.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

#define INTERVAL_MS 1000u

static void check_address(const struct ip_address *address)
{
	char text[IP_TEXT_BYTES];
	struct ip_address again;
	ASSERT(ip_address_parse(ip_address_format(address, text), &again) == 0);
	ASSERT(ip_address_equal(address, &again));
}

static void check_handing(const struct landing_handing *handing)
{
	const struct ip_address *destination = &handing->destination.address;
	check_address(destination);
	ASSERT(handing->destination.length == ip_family_bits(destination->family));
	ASSERT(handing->protocol && handing->port && handing->listener.port);
	if (handing->listener.address.family != IP_NONE)
		check_address(&handing->listener.address);
}

static void check_desired(const struct landing_desired *desired)
{
	ASSERT(desired->pool_count <= LANDING_POOLS_MAX);
	ASSERT(desired->edge_count <= LANDING_EDGES_MAX);
	ASSERT(desired->address_count <= LANDING_ADDRESSES_MAX);
	ASSERT(desired->handing_count <= LANDING_HANDINGS_MAX);
	for (size_t i = 0; i < desired->pool_count; i++)
		ASSERT(ip_prefix_contains(&desired->pools[i], &desired->pools[i].address));
	for (size_t i = 0; i < desired->edge_count; i++)
		check_address(&desired->edges[i]);
	for (size_t i = 0; i < desired->address_count; i++)
		check_address(&desired->addresses[i]);
	for (size_t i = 0; i < desired->handing_count; i++)
		check_handing(&desired->handings[i]);
}

static void check_configuration(const json_t *json)
{
	struct arena arena;
	struct landing_desired desired;
	struct error err = {0};
	arena_init(&arena, 0);
	int result = landing_config_parse(json, &arena, &desired, &err);
	if (result == 0)
		check_desired(&desired);
	else
		ASSERT((result == -FL_EINVALID || result == -FL_ELIMIT) && *err.text);
	arena_done(&arena);
}

/* What must not change when a report is refused, and must when it is taken. */
struct heard {
	char instance[64];
	uint64_t received_ms;
	uint64_t connections;
	bool is_there;
};

static uint64_t sum_counts(const struct report *report)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < report->count; i++) {
		const struct report_count *count = &report->counts[i];
		ASSERT(i == 0 || ip_address_compare(&count[-1].address, &count->address) < 0);
		ASSERT(report_connections(report, &count->address) == count->connections);
		sum += count->connections;
	}
	return sum;
}

static struct heard hear(const struct reports *reports, const char *backend)
{
	const struct report *report = reports_find(reports, backend);
	struct heard heard = {.is_there = report != NULL};
	if (report) {
		memcpy(heard.instance, report->instance, sizeof(heard.instance));
		heard.received_ms = report->received_ms;
		heard.connections = sum_counts(report);
	}
	return heard;
}

static uint64_t claimed(const json_t *connections)
{
	uint64_t sum = 0;
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)(uintptr_t)connections, key, value)
		sum += (uint64_t)json_integer_value(value);
	return sum;
}

static void check_taken(const struct heard *before, const struct heard *after, const json_t *json,
			uint64_t now_ms)
{
	const char *instance = json_string_value(json_object_get(json, "instance"));
	uint64_t silence_ms = now_ms - before->received_ms;
	ASSERT(after->is_there && strcmp(after->instance, instance) == 0);
	ASSERT(after->received_ms == now_ms);
	ASSERT(after->connections == claimed(json_object_get(json, "connections")));
	ASSERT(!before->is_there || strcmp(before->instance, instance) == 0 ||
	       silence_ms > REPORT_STALE_INTERVALS * INTERVAL_MS);
}

static void check_report(struct reports *reports, const json_t *json, uint64_t now_ms)
{
	static const struct image image; /* of an empty ledger: no closing is known */
	const struct report_moment moment = {
	    .now_ms = now_ms, .interval_ms = INTERVAL_MS, .image = &image};
	const char *node = json_string_value(json_object_get(json, "node"));
	struct error err = {0};
	const struct heard before = hear(reports, node ? node : "");
	int result = reports_take(reports, json, &moment, &err);
	const struct heard after = hear(reports, node ? node : "");
	if (result == 0) {
		check_taken(&before, &after, json, now_ms);
		return;
	}
	ASSERT((result == -FL_EINVALID || result == -FL_ECONFLICT) && *err.text);
	ASSERT(before.is_there == after.is_there && before.received_ms == after.received_ms);
	ASSERT(strcmp(before.instance, after.instance) == 0);
	ASSERT(before.connections == after.connections);
}

static void check_message(struct reports *reports, const char *line, size_t length,
			  uint64_t *now_ms)
{
	json_t *json =
	    length ? json_loadb(line + 1, length - 1, JSON_REJECT_DUPLICATES, NULL) : NULL;
	if (!json_is_object(json)) {
		json_decref(json);
		return;
	}
	if (*line == 'c') {
		check_configuration(json);
	} else if (*line >= '0' && *line <= '9') {
		*now_ms += (uint64_t)(*line - '0') * INTERVAL_MS;
		check_report(reports, json, *now_ms);
	}
	json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	const char *at = (const char *)bytes;
	const char *end = at + length;
	struct reports *reports;
	uint64_t now_ms = 1000000;
	ASSERT(reports_new(&reports) == 0);
	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const char *line_end = newline ? newline : end;
		check_message(reports, at, (size_t)(line_end - at), &now_ms);
		at = newline ? newline + 1 : end;
	}
	reports_free(reports);
	return 0;
}
