/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/pool_use.h"

#include "base/buffer.h"
#include "base/clock.h"

#include <inttypes.h>
#include <string.h>

/* --- what the slots are used for --- */

enum slot_use { SLOT_OWN, SLOT_DRAINING, SLOT_LATE, SLOT_CLOSING };

static enum slot_use slot_use(const struct service_state *state, const struct binding *binding)
{
	enum version_state is = service_version(state, binding->version)->state;
	if (binding->refusing)
		return SLOT_CLOSING;
	if (binding->is_late)
		return SLOT_LATE;
	return is == VERSION_DRAINING || is == VERSION_CLOSING ? SLOT_DRAINING : SLOT_OWN;
}

static void count_held(const struct driver *driver, const struct service_state *state,
		       struct pool_use uses[MODEL_MAX_POOLS])
{
	for (size_t i = 0; i < state->binding_count; i++) {
		const struct binding *binding = &state->bindings[i];
		struct pool_use *use = &uses[binding->pool];
		enum slot_use is = slot_use(state, binding);
		/* Earlier releases gave out slot 0, which is none of the usable ones. */
		if (!binding->slot)
			use->usable++;
		use->own += is == SLOT_OWN;
		use->draining += is == SLOT_DRAINING;
		use->late += is == SLOT_LATE;
		use->closing += is == SLOT_CLOSING;
		if (is != SLOT_DRAINING && is != SLOT_LATE)
			continue;
		enum driver_usage usage = driver_usage(driver, state, binding);
		use->idle += usage == DRIVER_IDLE;
		use->unknown += usage == DRIVER_UNKNOWN;
	}
}

static bool is_held(const struct image *image, const struct placed_slot *used)
{
	for (size_t i = 0; i < image->state_count; i++) {
		const struct service_state *state = image->states[i];
		for (size_t b = 0; b < state->binding_count; b++) {
			if (state->bindings[b].pool == used->pool &&
			    state->bindings[b].slot == used->slot)
				return true;
		}
	}
	return false;
}

static void count_resting(const struct driver *driver, struct pool_use uses[MODEL_MAX_POOLS])
{
	const struct sights sights = driver_sights(driver);
	const struct image *image = sights.image;
	uint64_t now_ms = driver_moment(driver, &sights).wall_ms;
	for (size_t i = 0; i < image->placement->used_slot_count; i++) {
		const struct placed_slot *used = &image->placement->used_slots[i];
		struct pool_use *use = &uses[used->pool];
		const uint64_t names_ms = removed_names_ms(&image->removed);
		uint64_t rested_ms =
		    (used->free_wall_ms > names_ms ? used->free_wall_ms : names_ms) +
		    image->fabric->settings.quarantine_ms;
		if (!used->slot || rested_ms <= now_ms || is_held(image, used))
			continue;
		use->resting++;
		if (!use->rested_wall_ms || rested_ms < use->rested_wall_ms)
			use->rested_wall_ms = rested_ms;
	}
}

void pool_uses(const struct driver *driver, struct pool_use ret_uses[MODEL_MAX_POOLS])
{
	const struct image *image = driver_sights(driver).image;
	const struct placement *placement = image->placement;
	uint8_t held = placement_held_pools(image->states, image->state_count);
	memset(ret_uses, 0, MODEL_MAX_POOLS * sizeof(ret_uses[0]));
	for (size_t i = 0; i < placement->pool_count; i++) {
		const struct placed_pool *placed = &placement->pools[i];
		if (placed->removed && !(held >> i & 1))
			continue;
		ret_uses[i] = (struct pool_use){.pool = &placed->pool,
						.leaving = placed->removed,
						.usable = pool_usable_slots(&placed->pool)};
	}
	for (size_t i = 0; i < image->state_count; i++) {
		const struct service_state *state = image->states[i];
		uint8_t pools = placement_held_pools(&state, 1);
		for (size_t p = 0; p < MODEL_MAX_POOLS; p++)
			ret_uses[p].services += pools >> p & 1;
		count_held(driver, state, ret_uses);
	}
	count_resting(driver, ret_uses);
	for (size_t i = 0; i < MODEL_MAX_POOLS; i++) {
		struct pool_use *use = &ret_uses[i];
		uint32_t gone = use->own + use->draining + use->late + use->closing + use->resting;
		use->free = use->pool && use->usable > gone ? use->usable - gone : 0;
	}
}

/* --- what an order can wait for --- */

/* All pools of one family together, seen from an order that finds too few slots there. */
struct lack {
	const struct driver *driver;
	const struct image *image;
	uint8_t bits; /* of the pools */
	size_t pool_count;
	size_t first; /* of them, in the file's order */
	struct pool_use sum;
	size_t lacking;
	size_t common;
	size_t coming; /* services that want a slot and will get one that lies idle or closes */
	size_t soon; /* of them, those with a late slot, for which one barrier is enough */
	const struct service_state *drainer; /* a version whose connections are in the way */
	uint32_t version;
	uint64_t connections;
};

static bool is_named(const char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

static void add_use(struct lack *lack, const struct pool_use *use)
{
	struct pool_use *sum = &lack->sum;
	sum->late += use->late;
	sum->idle += use->idle;
	sum->closing += use->closing;
	sum->unknown += use->unknown;
	sum->resting += use->resting;
	if (use->resting && (!sum->rested_wall_ms || use->rested_wall_ms < sum->rested_wall_ms))
		sum->rested_wall_ms = use->rested_wall_ms;
}

/* A service that wants a slot: does one of its own come free? */
static void look_at_wanting(struct lack *lack, const struct service_state *state)
{
	bool comes = false;
	bool is_soon = false;
	for (size_t i = 0; i < state->binding_count; i++) {
		const struct binding *binding = &state->bindings[i];
		enum slot_use is = slot_use(state, binding);
		if (!(lack->bits >> binding->pool & 1) || is == SLOT_OWN)
			continue;
		enum driver_usage usage = driver_usage(lack->driver, state, binding);
		comes |= is == SLOT_CLOSING || usage == DRIVER_IDLE;
		is_soon |= (is == SLOT_LATE && usage == DRIVER_IDLE) || binding->reclaiming;
		if (is != SLOT_DRAINING || usage != DRIVER_USED || lack->drainer)
			continue;
		lack->drainer = state;
		lack->version = binding->version;
		lack->connections = driver_connections(lack->driver, state, binding->version).count;
	}
	lack->coming += comes;
	lack->soon += is_soon;
}

static void put_number(struct buffer *text, size_t count, const char *one, const char *many)
{
	buffer_printf(text, "%zu %s", count, count == 1 ? one : many);
}

static void put_head(const struct lack *lack, const char *const *services, size_t count,
		     struct buffer *text)
{
	char prefix[IP_TEXT_BYTES];
	ip_prefix_format(&lack->image->placement->pools[lack->first].pool.prefix, prefix);
	buffer_printf(text, "pool %s", prefix);
	if (lack->pool_count > 1)
		buffer_printf(text, " and the %zu after it have ", lack->pool_count - 1);
	else
		buffer_puts(text, " has ");
	if (lack->common)
		put_number(text, lack->common, "free slot", "free slots");
	else
		buffer_puts(text, "no free slot");
	if (count == 1)
		buffer_printf(text, " for service %s", services[0]);
	else
		buffer_printf(text, " for %zu services that need one each", lack->lacking);
}

static void put_quarantine(const struct lack *lack, struct buffer *text)
{
	char time[CLOCK_TEXT_BYTES];
	if (!lack->sum.resting)
		return;
	clock_format(lack->sum.rested_wall_ms, time, sizeof(time));
	buffer_puts(text, "; ");
	put_number(text, lack->sum.resting, "slot rests", "slots rest");
	buffer_printf(text,
		      " in quarantine since another service had them (settings.quarantine), the "
		      "first of them until %s",
		      time);
}

/* What holds the slots, where nothing that is wanted comes free by itself. */
static void put_reasons(const struct lack *lack, struct buffer *text)
{
	put_quarantine(lack, text);
	if (lack->sum.idle) {
		buffer_puts(text, "; ");
		put_number(text, lack->sum.idle, "slot of another service lies",
			   "slots of other services lie");
		buffer_puts(text, " idle: what the order needs of them is being freed, and rests "
				  "then for settings.quarantine");
	} else if (lack->sum.unknown) {
		buffer_puts(text, "; ");
		put_number(text, lack->sum.unknown, "slot counts", "slots count");
		buffer_puts(text, " as in use because a backend is silent");
	} else if (lack->drainer) {
		const char *name = lack->drainer->name;
		buffer_printf(text,
			      "; version %" PRIu32 " of %s drains, with %" PRIu64
			      " connection%s: `fairlead rollout cut %s/%" PRIu32 "` ends them",
			      lack->version, name, lack->connections,
			      lack->connections == 1 ? "" : "s", name, lack->version);
	} else if (!lack->sum.resting) {
		buffer_puts(text, "; each slot belongs to a version that is in use");
	}
	buffer_puts(text, "; a further pool in the file has room at once");
}

/* The barrier's settling and a report, with a margin; twice, where a version closes first. */
static uint64_t wait_s(const struct lack *lack)
{
	uint64_t once_ms = CLOSING_SETTLE_MS + 3 * image_report_interval_ms(lack->image);
	size_t needed = lack->lacking - lack->common;
	return (lack->soon >= needed ? once_ms : 2 * once_ms) / 1000 + 1;
}

static int explain(const struct lack *lack, const char *const *services, size_t count,
		   struct error *err)
{
	struct buffer text;
	buffer_init(&text, sizeof(err->text));
	bool comes = lack->common + lack->coming >= lack->lacking;
	put_head(lack, services, count, &text);
	if (comes)
		buffer_printf(&text,
			      "; %" PRIu32 " idle, %" PRIu32 " closing: what is needed is being "
			      "freed, which takes about %" PRIu64 " s",
			      lack->sum.idle, lack->sum.closing, wait_s(lack));
	else
		put_reasons(lack, &text);
	int result = text.status && text.status != -FL_ELIMIT
			 ? text.status
			 : error_set(err, comes ? -FL_EWAIT : -FL_EEXHAUSTED, "%s",
				     text.data ? text.data : "");
	buffer_done(&text);
	return result;
}

static int explain_family(const struct driver *driver, const struct placement_shortage *shortage,
			  size_t family, const char *const *services, size_t count,
			  struct error *err)
{
	static const uint8_t families[PLACEMENT_FAMILIES] = {IP_V4, IP_V6};
	const struct image *image = driver_sights(driver).image;
	struct pool_use uses[MODEL_MAX_POOLS];
	uint8_t pools[MODEL_MAX_POOLS];
	struct lack lack = {.driver = driver,
			    .image = image,
			    .lacking = shortage->lacking[family],
			    .common = shortage->common[family]};
	lack.bits = placement_pools(image->placement, image->fabric, families[family], pools,
				    &lack.pool_count);
	lack.first = pools[0];
	pool_uses(driver, uses);
	for (size_t i = 0; i < lack.pool_count; i++)
		add_use(&lack, &uses[pools[i]]);
	for (size_t i = 0; i < image->state_count; i++) {
		if (is_named(services, count, image->states[i]->name))
			look_at_wanting(&lack, image->states[i]);
	}
	return explain(&lack, services, count, err);
}

int pool_use_explain(const struct driver *driver, const char *const *services, size_t count,
		     struct arena *arena, struct error *err)
{
	const struct sights sights = driver_sights(driver);
	const struct image *image = sights.image;
	const struct placement_moment moment = driver_moment(driver, &sights);
	uint32_t *indices = arena_array(arena, count + 1, sizeof(*indices));
	struct placement_shortage shortage;
	if (!indices)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		const struct image_service *known = image_service(image, services[i]);
		indices[i] = known && known->state ? known->state->index : PLACEMENT_NO_SERVICE;
	}
	const struct placement_wants wants = {.services = indices, .count = count};
	placement_find_shortage(image->placement, image->fabric, &wants, image->states,
				image->state_count, &moment, &shortage);
	for (size_t i = 0; i < PLACEMENT_FAMILIES; i++) {
		if (shortage.lacking[i] > shortage.common[i])
			return explain_family(driver, &shortage, i, services, count, err);
	}
	return 0;
}
