/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pools as commands show them: what their slots are used for, an alarm before they run out, and
 * what a plan is to say of them.
 */
#include "api/show.h"
#include "base/alarms.h"
#include "base/buffer.h"
#include "base/text.h"
#include "config/config.h"
#include "fabric/pool_use.h"
#include "plan/plan.h"

#include <inttypes.h>
#include <string.h>

/* --- who is in the way --- */

/* "web/3, api/2": versions that have a slot of the pool, as many as fit. */
static void put_holders(const struct image *image, size_t pool, struct buffer *text)
{
	const size_t most = 6;
	size_t count = 0;
	for (size_t i = 0; i < image->state_count; i++) {
		const struct service_state *state = image->states[i];
		uint32_t last = 0;
		for (size_t b = 0; b < state->binding_count; b++) {
			const struct binding *binding = &state->bindings[b];
			if (binding->pool != pool || binding->version == last)
				continue;
			last = binding->version;
			if (count++ < most)
				buffer_printf(text, "%s%s/%" PRIu32, count > 1 ? ", " : "",
					      state->name, binding->version);
		}
	}
	if (count > most)
		buffer_printf(text, " and %zu more", count - most);
}

static uint32_t held_slots(const struct pool_use *use)
{
	return use->own + use->draining + use->late + use->closing;
}

/* What a pool that leaves still waits for. */
static void put_leaving(const struct image *image, const struct pool_use *use, size_t pool,
			struct buffer *text)
{
	uint32_t held = held_slots(use);
	buffer_printf(text, "%" PRIu32 " slot%s left, of ", held, held == 1 ? "" : "s");
	put_holders(image, pool, text);
	if (use->own)
		buffer_puts(text, "; what serves from it leaves with the next `fairlead apply`");
}

/* --- get pools --- */

static void put_use(const struct api_host *host, const struct pool_use *use, size_t pool,
		    json_t *json)
{
	json_t *numbers =
	    json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "used", (json_int_t)use->own,
		      "draining", (json_int_t)use->draining, "late", (json_int_t)use->late,
		      "closing", (json_int_t)use->closing, "quarantined", (json_int_t)use->resting,
		      "free", (json_int_t)use->free, "idle", (json_int_t)use->idle, "rollouts_left",
		      (json_int_t)(use->leaving ? 0 : use->free + use->idle));
	json_object_update_new(json, numbers);
	if (use->rested_wall_ms) {
		char time[CLOCK_TEXT_BYTES];
		clock_format(use->rested_wall_ms, time, sizeof(time));
		json_object_set_new(json, "quarantined_until", json_string(time));
	}
	if (use->leaving) {
		struct buffer text;
		buffer_init(&text, 0);
		put_leaving(host->image, use, pool, &text);
		json_object_set_new(json, "leaving", json_string(text.data));
		buffer_done(&text);
	}
}

static json_t *find_capacity(json_t *capacities, const char *prefix)
{
	size_t at;
	json_t *one;
	json_array_foreach (capacities, at, one) {
		if (strcmp(json_string_value(json_object_get(one, "prefix")), prefix) == 0)
			return json_incref(one);
	}
	return NULL;
}

json_t *show_pools(const struct api_host *host)
{
	struct pool_use uses[MODEL_MAX_POOLS];
	json_t *capacities = config_capacity_json(host->image->fabric);
	json_t *list = json_array();
	pool_uses(host->driver, uses);
	for (size_t i = 0; i < MODEL_MAX_POOLS; i++) {
		char prefix[IP_TEXT_BYTES];
		if (!uses[i].pool)
			continue;
		ip_prefix_format(&uses[i].pool->prefix, prefix);
		json_t *json = uses[i].leaving ? NULL : find_capacity(capacities, prefix);
		if (!json)
			json = json_pack("{s:s, s:I, s:I}", "prefix", prefix, "slots_per_site",
					 (json_int_t)pool_usable_slots(uses[i].pool), "services",
					 (json_int_t)uses[i].services);
		put_use(host, &uses[i], i, json);
		json_array_append_new(list, json);
	}
	json_decref(capacities);
	return list;
}

/* --- alarms --- */

/* One rollout of each service takes as many slots as there are services: with fewer left, an order
 * may soon have to wait for flows to end. Where each service has a block of its own, `validate`
 * says how many rollouts it allows. */
static void family_alarm(const struct api_host *host, const struct pool_use uses[MODEL_MAX_POOLS],
			 uint8_t family, json_t *alarms)
{
	const struct image *image = host->image;
	struct pool_use sum = {0};
	uint8_t pools[MODEL_MAX_POOLS];
	size_t count;
	char prefix[IP_TEXT_BYTES];
	placement_pools(image->placement, image->fabric, family, pools, &count);
	for (size_t i = 0; i < count; i++) {
		const struct pool_use *use = &uses[pools[i]];
		if (!use->pool || use->pool->slots_per_service)
			return;
		sum.free += use->free;
		sum.idle += use->idle;
		sum.draining += use->draining + use->late;
		sum.resting += use->resting;
	}
	uint32_t left = sum.free + sum.idle;
	if (!count || left > image->fabric->service_count)
		return;
	ip_prefix_format(&uses[pools[count - 1]].pool->prefix, prefix);
	ALARM_PUT(alarms, NULL, 0, POOL_LOW, prefix, prefix, left, left == 1 ? "" : "s", sum.free,
		  sum.idle, sum.draining - sum.idle, sum.resting);
}

void show_pool_alarms(const struct api_host *host, json_t *alarms)
{
	struct pool_use uses[MODEL_MAX_POOLS];
	if (!host->image->fabric || !host->image->placement || !host->image->fabric->service_count)
		return;
	pool_uses(host->driver, uses);
	family_alarm(host, uses, IP_V4, alarms);
	family_alarm(host, uses, IP_V6, alarms);
}

/* --- plan --- */

static bool has_pool(const struct fabric *fabric, const struct pool *pool)
{
	for (size_t i = 0; i < fabric->pool_count; i++) {
		if (ip_prefix_equal(&fabric->pools[i].prefix, &pool->prefix))
			return true;
	}
	return false;
}

static void note_leaving(const struct api_host *host, const struct fabric *fabric,
			 const struct pool_use uses[MODEL_MAX_POOLS], json_t *notes)
{
	for (size_t i = 0; i < MODEL_MAX_POOLS; i++) {
		char prefix[IP_TEXT_BYTES];
		struct buffer text;
		if (!uses[i].pool || has_pool(fabric, uses[i].pool) || !held_slots(&uses[i]))
			continue;
		buffer_init(&text, 0);
		ip_prefix_format(&uses[i].pool->prefix, prefix);
		buffer_printf(&text,
			      "pool %s leaves when its last flow has ended: %" PRIu32
			      " slot%s left, of ",
			      prefix, held_slots(&uses[i]), held_slots(&uses[i]) == 1 ? "" : "s");
		put_holders(host->image, i, &text);
		json_array_append_new(notes, json_string(text.data));
		buffer_done(&text);
	}
}

/* Whoever takes a service out, or gives it another name, finds its slots gone for some time. */
static void note_quarantine(const struct api_host *host, const struct fabric *fabric,
			    const struct pool_use uses[MODEL_MAX_POOLS],
			    const struct plan_service *service, json_t *notes)
{
	const struct image_service *known = image_service(host->image, service->name);
	if (service->sign != PLAN_REMOVE || !known || !known->state)
		return;
	for (size_t i = 0; i < MODEL_MAX_POOLS; i++) {
		char prefix[IP_TEXT_BYTES];
		char rest[TEXT_BYTES];
		uint32_t slots = 0;
		for (size_t b = 0; b < known->state->binding_count; b++)
			slots += known->state->bindings[b].pool == i;
		if (!slots || !uses[i].pool || uses[i].leaving || !has_pool(fabric, uses[i].pool))
			continue;
		ip_prefix_format(&uses[i].pool->prefix, prefix);
		text_format_duration(fabric->settings.quarantine_ms, rest);
		json_array_append_new(
		    notes,
		    json_sprintf("service %s: its %" PRIu32 " slot%s of pool %s rest%s for %s "
				 "(settings.quarantine) from when %s freed, before another "
				 "service, also one that is only renamed, may have %s; %" PRIu32
				 " slot%s free for others now",
				 service->name, slots, slots == 1 ? "" : "s", prefix,
				 slots == 1 ? "s" : "", rest, slots == 1 ? "it is" : "they are",
				 slots == 1 ? "it" : "them", uses[i].free,
				 uses[i].free == 1 ? " is" : "s are"));
	}
}

json_t *show_pool_notes(const struct api_host *host, const struct fabric *fabric,
			const struct plan *plan)
{
	struct pool_use uses[MODEL_MAX_POOLS];
	json_t *notes = json_array();
	if (!host->image->fabric || !host->image->placement)
		return notes;
	pool_uses(host->driver, uses);
	note_leaving(host, fabric, uses, notes);
	for (size_t i = 0; i < plan->service_count; i++)
		note_quarantine(host, fabric, uses, &plan->services[i], notes);
	return notes;
}
