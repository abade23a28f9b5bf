/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/reports.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BACKENDS 65536u
#define MOST_COUNTS (1u << 20)

struct reports {
	struct report **items; /* sorted by name */
	size_t count;
};

int reports_new(struct reports **ret_reports)
{
	*ret_reports = calloc(1, sizeof(**ret_reports));
	return *ret_reports ? 0 : -ENOMEM;
}

static void report_free(struct report *report)
{
	free(report->counts);
	json_decref(report->landing);
	free(report);
}

void reports_free(struct reports *reports)
{
	if (!reports)
		return;
	for (size_t i = 0; i < reports->count; i++)
		report_free(reports->items[i]);
	free(reports->items);
	free(reports);
}

const struct report *reports_at(const struct reports *reports, size_t index)
{
	return index < reports->count ? reports->items[index] : NULL;
}

const struct report *reports_find(const struct reports *reports, const char *backend)
{
	for (size_t i = 0; i < reports->count; i++) {
		if (strcmp(reports->items[i]->backend, backend) == 0)
			return reports->items[i];
	}
	return NULL;
}

static int compare_counts(const void *a, const void *b)
{
	const struct report_count *left = a;
	const struct report_count *right = b;
	return ip_address_compare(&left->address, &right->address);
}

static int parse_counts(const json_t *object, struct report *report, struct error *err)
{
	size_t size = json_object_size(object);
	if (!json_is_object(object) || size > MOST_COUNTS)
		return error_set(err, -FL_EINVALID,
				 "the report has no valid object \"connections\"");
	report->counts = calloc(size ? size : 1, sizeof(*report->counts));
	if (!report->counts)
		return -ENOMEM;
	const char *key;
	json_t *value;
	json_object_foreach ((json_t *)(uintptr_t)object, key, value) {
		struct report_count *count = &report->counts[report->count];
		if (ip_address_parse(key, &count->address) < 0 || !json_is_integer(value) ||
		    json_integer_value(value) < 0)
			return error_set(err, -FL_EINVALID,
					 "the report's connections of \"%.64s\" are not valid",
					 key);
		count->connections = (uint64_t)json_integer_value(value);
		report->count++;
	}
	qsort(report->counts, report->count, sizeof(*report->counts), compare_counts);
	return 0;
}

static int copy_text(const json_t *parameters, const char *key, char *text, size_t size,
		     struct error *err)
{
	const char *value = json_string_value(json_object_get(parameters, key));
	if (!value || !*value || strlen(value) >= size)
		return error_set(err, -FL_EINVALID, "the report has no valid \"%s\"", key);
	memcpy(text, value, strlen(value) + 1);
	return 0;
}

static int parse_report(const json_t *parameters, struct report *report, struct error *err)
{
	int result = copy_text(parameters, "node", report->backend, sizeof(report->backend), err);
	if (result == 0)
		result =
		    copy_text(parameters, "boot_id", report->boot_id, sizeof(report->boot_id), err);
	if (result == 0)
		result = parse_counts(json_object_get(parameters, "connections"), report, err);
	if (result < 0)
		return result;
	report->settled = (uint64_t)json_integer_value(json_object_get(parameters, "settled"));
	report->cut = (uint64_t)json_integer_value(json_object_get(parameters, "cut"));
	report->landing = json_incref(json_object_get(parameters, "landing"));
	return 0;
}

static int insert(struct reports *reports, struct report *report)
{
	for (size_t i = 0; i < reports->count; i++) {
		if (strcmp(reports->items[i]->backend, report->backend) == 0) {
			report_free(reports->items[i]);
			reports->items[i] = report;
			return 0;
		}
	}
	if (reports->count == MOST_BACKENDS)
		return -FL_ELIMIT;
	struct report **items =
	    realloc(reports->items, (reports->count + 1) * sizeof(struct report *));
	if (!items)
		return -ENOMEM;
	reports->items = items;
	size_t at = reports->count++;
	while (at && strcmp(items[at - 1]->backend, report->backend) > 0) {
		items[at] = items[at - 1];
		at--;
	}
	items[at] = report;
	return 0;
}

int reports_take(struct reports *reports, const json_t *parameters, uint64_t now_ms,
		 struct error *err)
{
	struct report *report = calloc(1, sizeof(*report));
	if (!report)
		return -ENOMEM;
	int result = parse_report(parameters, report, err);
	report->received_ms = now_ms;
	if (result == 0)
		result = insert(reports, report);
	if (result < 0)
		report_free(report);
	return result;
}

bool report_is_fresh(const struct report *report, uint64_t interval_ms, uint64_t now_ms)
{
	return now_ms - report->received_ms <= REPORT_STALE_INTERVALS * interval_ms;
}

uint64_t report_connections(const struct report *report, const struct ip_address *address)
{
	const struct report_count wanted = {.address = *address};
	const struct report_count *found =
	    bsearch(&wanted, report->counts, report->count, sizeof(wanted), compare_counts);
	return found ? found->connections : 0;
}

struct connection_sum reports_sum(const struct reports *reports, const struct image *image,
				  const struct version *version, const struct ip_address *address,
				  uint64_t settled, uint64_t interval_ms, uint64_t now_ms)
{
	struct connection_sum sum = {.known = true, .settled = true};
	for (size_t i = 0; i < version->backend_count; i++) {
		const char *name = version->backends[i].name;
		const struct report *report = reports_find(reports, name);
		if (report && report_is_fresh(report, interval_ms, now_ms)) {
			sum.settled = sum.settled && report->settled >= settled;
			continue;
		}
		if (image_forgotten(image, name))
			continue;
		sum.known = false;
		sum.settled = false;
		sum.silent = name;
	}
	for (size_t i = 0; i < reports->count; i++) {
		if (report_is_fresh(reports->items[i], interval_ms, now_ms))
			sum.count += report_connections(reports->items[i], address);
	}
	return sum;
}
