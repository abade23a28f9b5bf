/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/burned.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "fabric/reports.h"
#include "state/changes.h"
#include "state/placement_records.h"
#include "state/publication.h"
#include "state/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIND "address.unburn"
#define FRESH_INTERVALS 4u /* a report that came in so late began to count after the wait began */
#define MOST_ADDRESSES 32u /* of one entry */

struct burned {
	struct burned_options options;
	uint64_t applied_sequence; /* the recovery that every node has applied */
	uint64_t applied_ms; /* since when that is known here */
	bool busy;
	struct change change;
};

/* --- the proof --- */

static const struct placement_recovery *recovery_of(const struct image *image)
{
	return image->placement ? &image->placement->recovery : NULL;
}

/* Have all nodes applied the recovery for so long that each fresh report was begun after? */
static bool is_settled(struct burned *burned, uint64_t now_ms)
{
	const struct burned_options *options = &burned->options;
	uint64_t sequence = recovery_of(options->image)->sequence;
	uint64_t interval_ms = image_report_interval_ms(options->image);
	if (options->applied(options->context) < sequence) {
		burned->applied_sequence = 0;
		return false;
	}
	if (burned->applied_sequence != sequence) {
		burned->applied_sequence = sequence;
		burned->applied_ms = now_ms;
	}
	return now_ms - burned->applied_ms >= CLOSING_SETTLE_MS + FRESH_INTERVALS * interval_ms;
}

static bool is_forgotten(const struct image *image, const struct report *report)
{
	for (size_t i = 0; i < image->forgotten_count; i++) {
		const struct image_forgotten *forgotten = &image->forgotten[i];
		if (strcmp(forgotten->backend, report->backend) == 0 &&
		    (forgotten->address.family == IP_NONE ||
		     report_owns(report, &forgotten->address)))
			return true;
	}
	return false;
}

/* A backend that reported once, and is silent now, may hold anything. */
static bool all_speak(const struct burned *burned, uint64_t now_ms)
{
	const struct image *image = burned->options.image;
	uint64_t interval_ms = image_report_interval_ms(image);
	const struct report *report;
	for (size_t i = 0; (report = reports_at(burned->options.reports, i)); i++) {
		if (!report_is_fresh(report, interval_ms, now_ms) && !is_forgotten(image, report))
			return false;
	}
	return true;
}

static bool is_unused(const struct burned *burned, const struct ip_address *address,
		      uint64_t now_ms)
{
	const struct image *image = burned->options.image;
	const struct report *report;
	for (size_t i = 0; i < image->state_count; i++) {
		const struct service_state *state = image->states[i];
		const struct image_service *service = image_service(image, state->name);
		for (size_t v = 0; v < state->version_count; v++) {
			const struct version_status *status = &state->versions[v];
			const struct connection_query query = {
			    .version = image_version(service, status->number),
			    .published = status->sequence,
			    .addresses = address,
			    .address_count = 1,
			    .interval_ms = image_report_interval_ms(image),
			    .now_ms = now_ms};
			if (status->state == VERSION_RETIRED || !query.version)
				continue;
			struct connection_sum sum =
			    reports_sum(burned->options.reports, image, &query);
			if (!sum.known || sum.count || sum.cookies)
				return false;
		}
	}
	for (size_t i = 0; (report = reports_at(burned->options.reports, i)); i++) {
		if (report_connections(report, address))
			return false;
	}
	return true;
}

static size_t find_unused(struct burned *burned, bool *unused)
{
	const struct placement_recovery *recovery = recovery_of(burned->options.image);
	uint64_t now_ms = clock_now_ms(burned->options.clock);
	size_t count = 0;
	if (!is_settled(burned, now_ms) || !all_speak(burned, now_ms))
		return 0;
	for (size_t i = 0; i < recovery->address_count && count < MOST_ADDRESSES; i++) {
		unused[i] = is_unused(burned, &recovery->addresses[i], now_ms);
		count += unused[i];
	}
	return count;
}

/* --- the change --- */

/* The slot as one that another service had until now. */
static int put_slot(struct change_draft *draft, const struct ip_address *address)
{
	const struct placement *placement = draft->image->placement;
	for (size_t p = 0; p < placement->pool_count; p++) {
		struct placed_slot slot = {.pool = (uint8_t)p,
					   .service = PLACEMENT_NO_SERVICE,
					   .free_wall_ms = draft->wall_ms,
					   .sequence = draft->sequence,
					   .binding_number = placement->recovery.numbers};
		char key[RECORD_KEY_BYTES];
		uint32_t site;
		if (!pool_locate(&placement->pools[p].pool, address, &site, &slot.slot))
			continue;
		for (size_t i = 0; i < placement->used_slot_count; i++) {
			const struct placed_slot *used = &placement->used_slots[i];
			if (used->pool == p && used->slot == slot.slot)
				slot.binding_number += used->binding_number;
		}
		/* Two sites' addresses may be of one slot, which one txn writes once. */
		freed_slot_key(slot.pool, slot.slot, key);
		for (size_t i = 0; i < draft->op_count; i++) {
			if (strcmp(draft->ops[i].key, key) == 0)
				return 0;
		}
		return publication_put_slot(draft, placement, &slot);
	}
	return 0;
}

static int build(struct change *change, struct change_draft *draft, struct error *err)
{
	struct burned *burned = change->context;
	(void)err;
	struct placement_recovery recovery = *recovery_of(draft->image);
	bool *unused = arena_array(&draft->arena, recovery.address_count + 1, sizeof(*unused));
	struct ip_address *left =
	    arena_array(&draft->arena, recovery.address_count + 1, sizeof(*left));
	if (!unused || !left)
		return -ENOMEM;
	if (!find_unused(burned, unused))
		return CHANGE_NOTHING;
	json_t *addresses = json_array();
	size_t kept = 0;
	int result = 0;
	for (size_t i = 0; i < recovery.address_count && result == 0; i++) {
		char text[IP_TEXT_BYTES];
		if (!unused[i]) {
			left[kept++] = recovery.addresses[i];
			continue;
		}
		result = put_slot(draft, &recovery.addresses[i]);
		json_array_append_new(addresses,
				      json_string(ip_address_format(&recovery.addresses[i], text)));
	}
	draft->what = json_pack("{s:o}", "addresses", addresses);
	recovery.addresses = left;
	recovery.address_count = kept;
	struct buffer value;
	buffer_init(&value, STORE_VALUE_BYTES);
	if (result == 0)
		result = recovered_put(&recovery, &value);
	if (result == 0)
		result =
		    draft_put(draft, RECORD_RECOVERED_KEY,
			      image_record_revision(draft->image, RECORD_RECOVERED_KEY), &value);
	buffer_done(&value);
	return result < 0 ? result : CHANGE_COMMIT;
}

static void done(struct change *change, int result, const struct error *err, uint64_t sequence)
{
	struct burned *burned = change->context;
	(void)err; /* the store's failures are told where txns end, and it is tried again */
	(void)result;
	(void)sequence;
	burned->busy = false;
}

void burned_run(struct burned *burned)
{
	const struct burned_options *options = &burned->options;
	const struct placement_recovery *recovery = recovery_of(options->image);
	if (burned->busy || !recovery || !recovery->address_count ||
	    options->rests(options->context))
		return;
	bool *unused = calloc(recovery->address_count, sizeof(*unused));
	bool any = unused && find_unused(burned, unused);
	free(unused);
	if (!any)
		return;
	burned->busy = true;
	burned->change = (struct change){.kind = KIND,
					 .who = "fairlead",
					 .why = "no backend counts a connection there",
					 .build = build,
					 .done = done,
					 .context = burned};
	changes_submit(options->changes, &burned->change);
}

int burned_new(const struct burned_options *options, struct burned **ret_burned)
{
	struct burned *burned = calloc(1, sizeof(*burned));
	if (!burned)
		return -ENOMEM;
	burned->options = *options;
	*ret_burned = burned;
	return 0;
}

void burned_free(struct burned *burned)
{
	free(burned);
}
