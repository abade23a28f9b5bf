/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/reports.h"

#include "base/search.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BACKENDS 65536u
#define MOST_COUNTS (1u << 20)
#define MOST_CONNECTIONS UINT32_MAX /* of one address at one backend: no sum can overflow */

/* One report's connections of one address. */
struct place {
	struct ip_address address;
	const struct report *report;
	uint64_t connections;
};

struct reports {
	struct report **items; /* sorted by name */
	size_t count;
	struct place *places; /* of all reports, sorted by address … */
	size_t place_count;
	bool places_stale; /* … unless a report came in since */
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
	free(reports->places);
	free(reports);
}

const struct report *reports_at(const struct reports *reports, size_t index)
{
	return index < reports->count ? reports->items[index] : NULL;
}

static int compare_name(const void *items, size_t place, const void *backend)
{
	struct report *const *list = items;
	return strcmp(list[place]->backend, backend);
}

/* The place of `backend` in the order of names, whether it is there or not. */
static size_t find_place(const struct reports *reports, const char *backend, bool *ret_found)
{
	return search_place(reports->items, reports->count, backend, compare_name, ret_found);
}

static struct report *find(const struct reports *reports, const char *backend)
{
	bool found;
	size_t at = find_place(reports, backend, &found);
	return found ? reports->items[at] : NULL;
}

const struct report *reports_find(const struct reports *reports, const char *backend)
{
	return find(reports, backend);
}

/* --- taking in --- */

static int compare_counts(const void *a, const void *b)
{
	const struct report_count *left = a;
	const struct report_count *right = b;
	return ip_address_compare(&left->address, &right->address);
}

/* One address may be written in two ways; its connections are then the sum of both. */
static void merge_counts(struct report *report)
{
	size_t kept = 0;
	for (size_t i = 0; i < report->count; i++) {
		struct report_count *last = kept ? &report->counts[kept - 1] : NULL;
		if (last && ip_address_equal(&last->address, &report->counts[i].address))
			last->connections += report->counts[i].connections;
		else
			report->counts[kept++] = report->counts[i];
	}
	report->count = kept;
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
		json_int_t connections = json_integer_value(value);
		if (ip_address_parse(key, &count->address) < 0 || !json_is_integer(value) ||
		    connections < 0 || connections > MOST_CONNECTIONS)
			return error_set(err, -FL_EINVALID,
					 "the report's connections of \"%.64s\" are not valid",
					 key);
		count->connections = (uint64_t)connections;
		report->count++;
	}
	qsort(report->counts, report->count, sizeof(*report->counts), compare_counts);
	merge_counts(report);
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

static int copy_number(const json_t *parameters, const char *key, uint64_t most,
		       uint64_t *ret_number, struct error *err)
{
	const json_t *value = json_object_get(parameters, key);
	json_int_t number = json_integer_value(value);
	if (value && (!json_is_integer(value) || number < 0 || (uint64_t)number > most))
		return error_set(err, -FL_EINVALID, "the report has no valid \"%s\"", key);
	*ret_number = (uint64_t)number;
	return 0;
}

/* The closing that the landing knew when it began to count. A closing of another chain, as of a
 * ledger that was put back, is none of ours, whatever its number. */
static int parse_closing(const json_t *parameters, const struct image *image, uint64_t *ret_closing,
			 struct error *err)
{
	struct ledger_position closing;
	const char *digest = json_string_value(json_object_get(parameters, "closing_digest"));
	int result =
	    copy_number(parameters, "closing", LEDGER_SEQUENCE_MAX, &closing.sequence, err);
	if (result < 0)
		return result;
	if (digest && hex_decode(digest, closing.digest.bytes, DIGEST_BYTES) < 0)
		return error_set(err, -FL_EINVALID, "the report has no valid \"closing_digest\"");
	*ret_closing = digest && image_is_on_chain(image, &closing) ? closing.sequence : 0;
	return 0;
}

/* It becomes part of store keys. */
static int check_name(const char *name, struct error *err)
{
	size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-");
	if (name[length] || name[0] == '-')
		return error_set(err, -FL_EINVALID,
				 "the report's \"node\" is no name of a backend");
	return 0;
}

static int parse_report(const json_t *parameters, const struct report_moment *moment,
			struct report *report, struct error *err)
{
	int result = copy_text(parameters, "node", report->backend, sizeof(report->backend), err);
	if (result == 0)
		result = check_name(report->backend, err);
	if (result == 0)
		result =
		    copy_text(parameters, "boot_id", report->boot_id, sizeof(report->boot_id), err);
	if (result == 0)
		result = copy_text(parameters, "instance", report->instance,
				   sizeof(report->instance), err);
	if (result == 0)
		result = parse_closing(parameters, moment->image, &report->closing, err);
	if (result == 0)
		result = copy_number(parameters, "cut", INT64_MAX, &report->cut, err);
	if (result == 0)
		result = parse_counts(json_object_get(parameters, "connections"), report, err);
	if (result < 0)
		return result;
	const char *generation = json_string_value(json_object_get(parameters, "generation"));
	if (generation && strlen(generation) < sizeof(report->generation))
		memcpy(report->generation, generation, strlen(generation) + 1);
	json_t *landing = json_object_get(parameters, "landing");
	report->landing = json_is_object(landing) ? json_incref(landing) : NULL;
	report->received_ms = moment->now_ms;
	return 0;
}

/* Is it from another process than the one that is heard? */
static int check_reporter(const struct reports *reports, const struct report *report,
			  const struct report_moment *moment, struct error *err)
{
	struct report *heard = find(reports, report->backend);
	if (!heard || strcmp(heard->instance, report->instance) == 0 ||
	    !report_is_fresh(heard, moment->interval_ms, moment->now_ms))
		return 0;
	heard->rival_ms = moment->now_ms;
	return error_set(err, -FL_ECONFLICT,
			 "another process (boot %s, instance %s) reports as %s: give each backend "
			 "a --node of its own; after a restart this ends by itself",
			 heard->boot_id, heard->instance, heard->backend);
}

static int insert(struct reports *reports, struct report *report)
{
	bool found;
	size_t at = find_place(reports, report->backend, &found);
	reports->places_stale = true;
	if (found) {
		struct report *old = reports->items[at];
		/* The rival that takes over disputes nothing any more. */
		if (strcmp(old->instance, report->instance) == 0) {
			report->rival_ms = old->rival_ms;
			report->behind_ms = old->behind_ms;
		}
		report_free(old);
		reports->items[at] = report;
		return 0;
	}
	if (reports->count == MOST_BACKENDS)
		return -FL_ELIMIT;
	struct report **items =
	    realloc(reports->items, (reports->count + 1) * sizeof(struct report *));
	if (!items)
		return -ENOMEM;
	reports->items = items;
	memmove(items + at + 1, items + at, (reports->count - at) * sizeof(struct report *));
	items[at] = report;
	reports->count++;
	return 0;
}

int reports_take(struct reports *reports, const json_t *parameters,
		 const struct report_moment *moment, struct error *err)
{
	struct report *report = calloc(1, sizeof(*report));
	if (!report)
		return error_set(err, -ENOMEM, "out of memory");
	int result = parse_report(parameters, moment, report, err);
	if (result == 0)
		result = check_reporter(reports, report, moment, err);
	if (result == 0) {
		result = insert(reports, report);
		if (result == -FL_ELIMIT)
			error_set(err, result, "more than %u backends report", MOST_BACKENDS);
	}
	if (result == -ENOMEM)
		error_set(err, result, "out of memory");
	if (result < 0)
		report_free(report);
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): insert() keeps what it took */
	return result;
}

void reports_set_lands(struct reports *reports, const char *backend, bool lands, uint64_t now_ms)
{
	struct report *report = find(reports, backend);
	if (!report)
		return;
	if (lands)
		report->behind_ms = 0;
	else if (!report->behind_ms)
		report->behind_ms = now_ms;
}

/* --- asking --- */

void reports_drop(struct reports *reports, const char *backend)
{
	bool found;
	size_t place = find_place(reports, backend, &found);
	if (!found)
		return;
	report_free(reports->items[place]);
	reports->count--;
	memmove(reports->items + place, reports->items + place + 1,
		(reports->count - place) * sizeof(struct report *));
	reports->places_stale = true;
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

bool report_is_disputed(const struct report *report, uint64_t interval_ms, uint64_t now_ms)
{
	return report->rival_ms &&
	       now_ms - report->rival_ms <= REPORT_STALE_INTERVALS * interval_ms;
}

static int compare_places(const void *a, const void *b)
{
	const struct place *left = a;
	const struct place *right = b;
	return ip_address_compare(&left->address, &right->address);
}

/* Sorts all counts by address, if a report came in since. False without memory. */
static bool bring_places_up_to_date(struct reports *reports)
{
	if (!reports->places_stale)
		return true;
	size_t count = 0;
	for (size_t i = 0; i < reports->count; i++)
		count += reports->items[i]->count;
	struct place *places = realloc(reports->places, (count + 1) * sizeof(*places));
	if (!places)
		return false;
	reports->places = places;
	reports->place_count = 0;
	for (size_t i = 0; i < reports->count; i++) {
		const struct report *report = reports->items[i];
		for (size_t c = 0; c < report->count; c++)
			places[reports->place_count++] =
			    (struct place){.address = report->counts[c].address,
					   .report = report,
					   .connections = report->counts[c].connections};
	}
	qsort(places, count, sizeof(*places), compare_places);
	reports->places_stale = false;
	return true;
}

/* The sum of the fresh reports of one address. */
static uint64_t sum_address(const struct reports *reports, const struct ip_address *address,
			    const struct connection_query *query)
{
	size_t low = 0;
	size_t high = reports->place_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (ip_address_compare(&reports->places[middle].address, address) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	uint64_t sum = 0;
	for (size_t i = low; i < reports->place_count; i++) {
		const struct place *place = &reports->places[i];
		if (!ip_address_equal(&place->address, address))
			break;
		if (report_is_fresh(place->report, query->interval_ms, query->now_ms))
			sum += place->connections;
	}
	return sum;
}

struct connection_sum reports_sum(struct reports *reports, const struct image *image,
				  const struct connection_query *query)
{
	bool counted = bring_places_up_to_date(reports);
	struct connection_sum sum = {.known = counted, .names_closing = true};
	for (size_t i = 0; i < query->version->backend_count; i++) {
		const char *name = query->version->backends[i].name;
		const struct report *report = reports_find(reports, name);
		if (report && report_is_fresh(report, query->interval_ms, query->now_ms)) {
			uint64_t age_ms = query->now_ms - report->received_ms;
			sum.oldest_ms = age_ms > sum.oldest_ms ? age_ms : sum.oldest_ms;
			sum.names_closing = sum.names_closing && report->closing >= query->closing;
			continue;
		}
		if (image_is_forgotten(image, name, query->published))
			continue;
		sum.known = false;
		sum.silent = name;
	}
	sum.names_closing = sum.names_closing && sum.known;
	for (size_t i = 0; counted && i < query->address_count; i++)
		sum.count += sum_address(reports, &query->addresses[i], query);
	return sum;
}
