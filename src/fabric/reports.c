/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/reports.h"

#include "base/search.h"
#include "fabric/landing_set.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BACKENDS 65536u

_Static_assert(MODEL_NAME_BYTES > PEER_NAME_MAX, "a message's name fits");

/* One report's connections of one address. */
struct said_place {
	struct ip_address address;
	const struct report *report;
	uint64_t connections;
};

struct reports {
	struct report **items; /* sorted by name, then by process */
	size_t count;
	struct said_place *places; /* of all reports, sorted by address */
	size_t place_count;
	bool places_stale; /* a report came in since `places` was filled */
};

int reports_new(struct reports **ret_reports)
{
	*ret_reports = calloc(1, sizeof(**ret_reports));
	return *ret_reports ? 0 : -ENOMEM;
}

static void report_free(struct report *report)
{
	arena_done(&report->arena);
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

struct reporter {
	const char *backend, *instance;
};

static int compare_reporter(const void *items, size_t place, const void *reporter)
{
	struct report *const *list = items;
	const struct reporter *wanted = reporter;
	int order = strcmp(list[place]->backend, wanted->backend);
	return order ? order : strcmp(list[place]->instance, wanted->instance);
}

/* The place of a process in the order, whether it is there or not. */
static size_t find_place(const struct reports *reports, const char *backend, const char *instance,
			 bool *ret_found)
{
	const struct reporter wanted = {backend, instance};
	return search_place(reports->items, reports->count, &wanted, compare_reporter, ret_found);
}

/* The places of all processes that use the name: from *ret_first to before what is returned. */
static size_t find_all(const struct reports *reports, const char *backend, size_t *ret_first)
{
	bool found;
	size_t end = find_place(reports, backend, "", &found);
	*ret_first = end;
	while (end < reports->count && strcmp(reports->items[end]->backend, backend) == 0)
		end++;
	return end;
}

static int compare_owned(const void *owned, size_t place, const void *address)
{
	const struct peer_end *list = owned;
	return ip_address_compare(&list[place].address, address);
}

bool report_owns(const struct report *report, const struct ip_address *address)
{
	bool found;
	(void)search_place(report->said.owned.items, report->said.owned.count, address,
			   compare_owned, &found);
	return found;
}

const struct report *reports_owner(const struct reports *reports, const char *backend,
				   const struct ip_address *address)
{
	size_t first;
	size_t end = find_all(reports, backend, &first);
	for (size_t i = first; i < end; i++) {
		if (report_owns(reports->items[i], address))
			return reports->items[i];
	}
	return NULL;
}

static void drop_at(struct reports *reports, size_t place)
{
	report_free(reports->items[place]);
	reports->count--;
	memmove(reports->items + place, reports->items + place + 1,
		(reports->count - place) * sizeof(struct report *));
	reports->places_stale = true;
}

/* --- taking in --- */

static int check_order(const struct peer_report *said, struct error *err)
{
	for (size_t i = 1; i < said->counts.count; i++) {
		const struct peer_count *count = &said->counts.items[i];
		if (ip_address_compare(&count[-1].address, &count->address) >= 0)
			return error_set(err, -FL_EINVALID,
					 "the report's addresses are not in their order");
	}
	for (size_t i = 1; i < said->owned.count; i++) {
		const struct peer_end *owned = &said->owned.items[i];
		if (ip_address_compare(&owned[-1].address, &owned->address) >= 0)
			return error_set(err, -FL_EINVALID,
					 "the machine's addresses are not in their order");
	}
	return 0;
}

/* A closing of another chain, as of a ledger that was put back, is none of ours, whatever its
 * number. */
static uint64_t closing_of(const struct peer_report *said, const struct image *image)
{
	const struct ledger_position closing = {.sequence = said->closing_sequence,
						.digest = said->closing_hash};
	return image_is_on_chain(image, &closing) ? closing.sequence : 0;
}

static bool share_address(const struct report *a, const struct report *b)
{
	for (size_t i = 0; i < a->said.owned.count; i++) {
		if (report_owns(b, &a->said.owned.items[i].address))
			return true;
	}
	return false;
}

/* Is it from another process than the one that is heard for one of its addresses? One by the same
 * name on a machine with other addresses takes nothing from it. */
static int check_reporter(const struct reports *reports, const struct report *report,
			  const struct report_moment *moment, struct error *err)
{
	size_t first;
	size_t end = find_all(reports, report->backend, &first);
	for (size_t i = first; i < end; i++) {
		struct report *heard = reports->items[i];
		if (strcmp(heard->instance, report->instance) == 0 ||
		    !report_is_fresh(heard, moment->interval_ms, moment->now_ms) ||
		    !share_address(heard, report))
			continue;
		heard->rival_ms = moment->now_ms;
		return error_set(err, -FL_ECONFLICT,
				 "another process (boot %s, instance %s) reports as %s: give each "
				 "backend a --node of its own; after a restart this ends by itself",
				 heard->boot_id, heard->instance, heard->backend);
	}
	return 0;
}

/* Those of its name that the report takes over from, and strangers that have gone. */
static void drop_former(struct reports *reports, const struct report *report,
			const struct report_moment *moment)
{
	size_t first;
	for (size_t i = find_all(reports, report->backend, &first); i-- > first;) {
		const struct report *other = reports->items[i];
		if (strcmp(other->instance, report->instance) != 0 &&
		    !report_is_fresh(other, moment->interval_ms, moment->now_ms) &&
		    (!other->said.owned.count || share_address(other, report)))
			drop_at(reports, i);
	}
}

static int insert(struct reports *reports, struct report *report)
{
	bool found;
	size_t at = find_place(reports, report->backend, report->instance, &found);
	reports->places_stale = true;
	if (found) {
		struct report *old = reports->items[at];
		report->rival_ms = old->rival_ms;
		report->behind_ms = old->behind_ms;
		report->fence_revision = old->fence_revision;
		report->fence_ms = old->fence_ms;
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

int reports_take(struct reports *reports, const struct peer_hello *who,
		 const struct peer_report *said, struct arena *arena,
		 const struct report_moment *moment, struct error *err)
{
	int result = check_order(said, err);
	if (result < 0)
		return result;
	struct report *report = calloc(1, sizeof(*report));
	if (!report)
		return error_set(err, -ENOMEM, "out of memory");
	snprintf(report->backend, sizeof(report->backend), "%s", who->node);
	snprintf(report->boot_id, sizeof(report->boot_id), "%s", who->boot_id);
	snprintf(report->instance, sizeof(report->instance), "%s", who->instance);
	report->said = *said;
	report->closing = closing_of(said, moment->image);
	report->received_ms = moment->now_ms;
	result = check_reporter(reports, report, moment, err);
	if (result == 0) {
		drop_former(reports, report, moment);
		result = insert(reports, report);
		if (result == -FL_ELIMIT)
			error_set(err, result, "more than %u backends report", MOST_BACKENDS);
		else if (result == -ENOMEM)
			error_set(err, result, "out of memory");
	}
	if (result < 0) {
		free(report);
		return result;
	}
	report->arena = *arena;
	*arena = (struct arena){0};
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): insert() keeps what it took */
	return 0;
}

static struct report *find(const struct reports *reports, const struct peer_hello *who)
{
	bool found;
	size_t at = find_place(reports, who->node, who->instance, &found);
	return found ? reports->items[at] : NULL;
}

const struct report *reports_find(const struct reports *reports, const struct peer_hello *who)
{
	return find(reports, who);
}

void reports_set_lands(struct reports *reports, const struct peer_hello *who, bool lands,
		       uint64_t fence_revision, uint64_t now_ms)
{
	struct report *report = find(reports, who);
	if (!report)
		return;
	if (lands)
		report->behind_ms = 0;
	else if (!report->behind_ms)
		report->behind_ms = now_ms;
	if (!lands || fence_revision <= report->fence_revision)
		return;
	report->fence_revision = fence_revision;
	report->fence_ms = now_ms;
}

void reports_drop(struct reports *reports, const char *backend)
{
	size_t first;
	for (size_t i = find_all(reports, backend, &first); i-- > first;)
		drop_at(reports, i);
}

/* --- asking --- */

bool report_is_fresh(const struct report *report, uint64_t interval_ms, uint64_t now_ms)
{
	return now_ms - report->received_ms <= REPORT_STALE_INTERVALS * interval_ms;
}

static int compare_count(const void *counts, size_t place, const void *address)
{
	const struct peer_count *list = counts;
	return ip_address_compare(&list[place].address, address);
}

uint64_t report_connections(const struct report *report, const struct ip_address *address)
{
	bool found;
	size_t at = search_place(report->said.counts.items, report->said.counts.count, address,
				 compare_count, &found);
	return found ? report->said.counts.items[at].connections : 0;
}

bool report_is_disputed(const struct report *report, uint64_t interval_ms, uint64_t now_ms)
{
	return report->rival_ms &&
	       now_ms - report->rival_ms <= REPORT_STALE_INTERVALS * interval_ms;
}

static int compare_places(const void *a, const void *b)
{
	const struct said_place *left = a;
	const struct said_place *right = b;
	return ip_address_compare(&left->address, &right->address);
}

/* Sorts all counts by address, if a report came in since. False without memory. */
static bool bring_places_up_to_date(struct reports *reports)
{
	if (!reports->places_stale)
		return true;
	size_t count = 0;
	for (size_t i = 0; i < reports->count; i++)
		count += reports->items[i]->said.counts.count;
	struct said_place *places = realloc(reports->places, (count + 1) * sizeof(*places));
	if (!places)
		return false;
	reports->places = places;
	reports->place_count = 0;
	for (size_t i = 0; i < reports->count; i++) {
		const struct report *report = reports->items[i];
		for (size_t c = 0; c < report->said.counts.count; c++) {
			const struct peer_count *said = &report->said.counts.items[c];
			places[reports->place_count++] =
			    (struct said_place){.address = said->address,
						.report = report,
						.connections = said->connections};
		}
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
		const struct said_place *place = &reports->places[i];
		if (!ip_address_equal(&place->address, address))
			break;
		if (report_is_fresh(place->report, query->interval_ms, query->now_ms))
			sum += place->connections;
	}
	return sum;
}

const char *report_doubt_name(enum report_doubt doubt)
{
	static const char *const names[] = {"",
#define X(id, name, sentence) name,
					    REPORT_DOUBTS(X)
#undef X
	};
	return names[doubt];
}

const char *report_doubt_sentence(enum report_doubt doubt)
{
	static const char *const sentences[] = {"",
#define X(id, name, sentence) sentence,
						REPORT_DOUBTS(X)
#undef X
	};
	return sentences[doubt];
}

/* Does somebody report by the name who has none of the addresses that it is asked for? */
static bool has_stranger(const struct reports *reports, const char *backend, uint64_t interval_ms,
			 uint64_t now_ms)
{
	size_t first;
	size_t end = find_all(reports, backend, &first);
	for (size_t i = first; i < end; i++) {
		const struct report *report = reports->items[i];
		/* One that has not carried out anything may not have been asked yet. */
		if (!report->said.owned.count &&
		    !landing_generation_is_none(&report->said.generation) &&
		    report_is_fresh(report, interval_ms, now_ms))
			return true;
	}
	return false;
}

enum report_doubt reports_doubt(const struct reports *reports, const struct backend *backend,
				uint64_t interval_ms, uint64_t now_ms,
				const struct report **ret_report)
{
	const struct report *report =
	    backend->no_landing ? NULL : reports_owner(reports, backend->name, &backend->address);
	if (ret_report)
		*ret_report = report;
	if (backend->no_landing)
		return REPORT_NO_LANDING;
	if (!report || !report_is_fresh(report, interval_ms, now_ms))
		return has_stranger(reports, backend->name, interval_ms, now_ms) ? REPORT_ELSEWHERE
										 : REPORT_SILENT;
	if (report_is_disputed(report, interval_ms, now_ms))
		return REPORT_DISPUTED;
	return !report->said.cookies_known || report->said.cookies_ms < REPORT_COOKIE_MS
		   ? REPORT_COOKIES
		   : REPORT_BELIEVED;
}

struct connection_sum reports_sum(struct reports *reports, const struct image *image,
				  const struct connection_query *query)
{
	bool counted = bring_places_up_to_date(reports);
	struct connection_sum sum = {.known = counted, .names_closing = true};
	for (size_t i = 0; i < query->version->backend_count; i++) {
		const struct backend *backend = &query->version->backends[i];
		const struct report *report;
		enum report_doubt doubt =
		    reports_doubt(reports, backend, query->interval_ms, query->now_ms, &report);
		if (doubt == REPORT_BELIEVED || doubt == REPORT_COOKIES) {
			uint64_t age_ms = query->now_ms - report->received_ms;
			sum.oldest_ms = age_ms > sum.oldest_ms ? age_ms : sum.oldest_ms;
			sum.names_closing = sum.names_closing && report->closing >= query->closing;
			if (doubt == REPORT_COOKIES)
				sum.cookies = backend->name;
			continue;
		}
		if (image_is_forgotten(image, backend, query->published))
			continue;
		sum.known = false;
		sum.silent = backend->name;
		sum.doubt = doubt;
	}
	sum.names_closing = sum.names_closing && sum.known;
	for (size_t i = 0; counted && i < query->address_count; i++)
		sum.count += sum_address(reports, &query->addresses[i], query);
	return sum;
}
