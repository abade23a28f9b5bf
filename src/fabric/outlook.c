/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/outlook.h"

#include "fabric/driver_internal.h"
#include "fabric/fence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What one call works on. */
struct outlook_look {
	const struct driver *driver;
	const struct sights *sights;
	const struct image_service *known;
	const struct service_state *state;
	const struct version_status *status;
	const struct version *version;
	struct service_sight sight;
	struct arena *arena;
};

/* --- who has the connections --- */

static uint64_t count_of(const struct outlook_look *look, const struct report *report)
{
	const struct placement *placement = look->sights->image->placement;
	uint64_t connections = 0;
	for (size_t i = 0; i < look->state->binding_count; i++) {
		const struct binding *binding = &look->state->bindings[i];
		struct ip_address addresses[MODEL_MAX_SITES];
		if (binding->version != look->status->number)
			continue;
		size_t count = merge_addresses(placement, binding, addresses);
		for (size_t a = 0; a < count; a++)
			connections += report_connections(report, &addresses[a]);
	}
	return connections;
}

static struct connection_holder find_holder(const struct outlook_look *look,
					    const struct backend *backend)
{
	const struct sights *sights = look->sights;
	uint64_t interval_ms = image_report_interval_ms(sights->image);
	struct connection_holder holder = {.backend = backend->name, .of = backend};
	if (look->status->state == VERSION_RETIRED)
		return holder;
	holder.doubt =
	    reports_doubt(sights->reports, backend, interval_ms, sights->now_ms, &holder.report);
	holder.known = holder.doubt == REPORT_BELIEVED || holder.doubt == REPORT_COOKIES;
	holder.is_forgotten =
	    !holder.known && image_is_forgotten(sights->image, backend, look->status->sequence);
	/* What is disputed is counted as well: it may be more, but is not less. */
	if (holder.report && report_is_fresh(holder.report, interval_ms, sights->now_ms))
		holder.connections = count_of(look, holder.report);
	return holder;
}

static bool is_holder(const struct outlook *outlook, const struct report *report)
{
	for (size_t i = 0; i < outlook->holder_count; i++) {
		if (outlook->holders[i].report == report)
			return true;
	}
	return false;
}

/* Whoever else counts connections at the addresses: they are there, whosesoever they are. */
static int find_others(const struct outlook_look *look, struct outlook *outlook)
{
	const struct sights *sights = look->sights;
	uint64_t interval_ms = image_report_interval_ms(sights->image);
	const struct report *report;
	size_t count = outlook->holder_count;
	size_t room = 0;
	while (reports_at(sights->reports, room))
		room++;
	struct connection_holder *holders =
	    arena_array(look->arena, count + room + 1, sizeof(*holders));
	if (!holders)
		return -ENOMEM;
	memcpy(holders, outlook->holders, count * sizeof(*holders));
	for (size_t i = 0; (report = reports_at(sights->reports, i)); i++) {
		uint64_t connections = report_is_fresh(report, interval_ms, sights->now_ms) &&
					       !is_holder(outlook, report)
					   ? count_of(look, report)
					   : 0;
		if (connections)
			holders[count++] = (struct connection_holder){.backend = report->backend,
								      .known = true,
								      .connections = connections,
								      .report = report};
	}
	outlook->holders = holders;
	outlook->holder_count = count;
	return 0;
}

static int find_holders(const struct outlook_look *look, struct outlook *outlook)
{
	uint64_t sum = 0;
	size_t count = look->version ? look->version->backend_count : 0;
	outlook->holders = arena_array(look->arena, count + 1, sizeof(*outlook->holders));
	if (!outlook->holders)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		struct connection_holder holder = find_holder(look, &look->version->backends[i]);
		outlook->holders[outlook->holder_count++] = holder;
		sum += holder.connections;
	}
	/* Most of the time nobody else counts any. */
	return driver_connections(look->driver, look->state, look->status->number).count == sum
		   ? 0
		   : find_others(look, outlook);
}

/* --- what is waited for, and for whom --- */

/* The ledger entry that every node must have applied: of the addresses, the last. */
static uint64_t last_sequence(const struct outlook_look *look)
{
	uint64_t sequence = 0;
	for (size_t i = 0; i < look->state->binding_count; i++) {
		const struct binding *binding = &look->state->bindings[i];
		if (binding->version == look->status->number && binding->sequence > sequence)
			sequence = binding->sequence;
	}
	return sequence;
}

/* A backend whose count is older than what it must know: the closing, or that DNS names the version
 * no longer. */
static const char *find_uncounted(const struct outlook_look *look, const struct outlook *outlook,
				  enum version_wait reason)
{
	uint64_t interval_ms = image_report_interval_ms(look->sights->image);
	uint64_t wall_ms = look->sight.seen.wall_ms;
	uint64_t changed_ms = look->status->changed_wall_ms;
	uint64_t drained_ms = wall_ms > changed_ms ? wall_ms - changed_ms : 0;
	uint64_t closing = last_sequence(look);
	for (size_t i = 0; i < outlook->holder_count; i++) {
		const struct connection_holder *holder = &outlook->holders[i];
		if (!holder->known || !holder->report || !holder->of)
			continue;
		uint64_t age_ms = look->sights->now_ms - holder->report->received_ms;
		if (reason == VERSION_WAIT_CLOSING_COUNT ? holder->report->closing < closing
							 : drained_ms <= age_ms + interval_ms)
			return holder->backend;
	}
	return NULL;
}

static const char *find_doubted(const struct outlook *outlook, const char **ret_why)
{
	for (size_t i = 0; i < outlook->holder_count; i++) {
		const struct connection_holder *holder = &outlook->holders[i];
		if (holder->doubt == REPORT_BELIEVED || holder->is_forgotten)
			continue;
		*ret_why = report_doubt_sentence(holder->doubt);
		return holder->backend;
	}
	return NULL;
}

/* `who` comes from merge.h, which names an edge that was removed as one of those. False: it is a
 * member. */
static bool tell_fence(const struct sights *sights, const char *who, char words[OUTLOOK_TEXT])
{
	const struct removed_list *list = &sights->image->removed;
	char text[FENCE_TEXT];
	for (size_t i = 0; i < list->count; i++) {
		if (list->items[i].name != who ||
		    fence_text(sights->image, sights->reports, &list->items[i], text) < 0)
			continue;
		snprintf(words, OUTLOOK_TEXT, "%s", text);
		return true;
	}
	return false;
}

/* Whom it waits for, as words that go between brackets; NULL: nobody is to be named. */
static const char *find_whom(const struct outlook_look *look, const struct outlook *outlook,
			     enum version_wait reason, char words[OUTLOOK_TEXT])
{
	char why[GATE_TEXT];
	const char *doubt = "";
	const char *who = NULL;
	const char *lacks = " has not";
	struct gate_wait gate;
	size_t count;
	switch (reason) {
	case VERSION_WAIT_EDGES:
		who = merge_lacking(look->sights, look->status->sequence);
		if (!who)
			return "none is heard";
		lacks = " does not";
		break;
	case VERSION_WAIT_BACKENDS:
		count = driver_find_waits(look->driver, look->sights, look->known, &gate, 1);
		if (!count)
			return NULL;
		snprintf(words, OUTLOOK_TEXT, "%s: %s", gate.backend->name, gate_text(&gate, why));
		if (count > 1)
			snprintf(words + strlen(words), OUTLOOK_TEXT - strlen(words),
				 "; and %zu more", count - 1);
		return words;
	case VERSION_WAIT_COUNTS:
		who = find_doubted(outlook, &doubt);
		if (!who)
			return NULL;
		snprintf(words, OUTLOOK_TEXT, "%s: %s", who, doubt);
		return words;
	case VERSION_WAIT_NODES:
		who = merge_behind(look->sights, MEMBER_EDGE | MEMBER_NAMES, last_sequence(look));
		break;
	case VERSION_WAIT_REFUSALS:
		who = merge_behind(look->sights, MEMBER_EDGE | MEMBER_NAMES, last_sequence(look));
		lacks = " does not";
		break;
	case VERSION_WAIT_NAMES:
		who = merge_behind(look->sights, MEMBER_NAMES, look->status->changed_sequence);
		break;
	case VERSION_WAIT_HEARD:
		who = merge_unheard(look->sights);
		lacks = " is not";
		break;
	case VERSION_WAIT_REPORT:
	case VERSION_WAIT_CLOSING_COUNT:
		who = find_uncounted(look, outlook, reason);
		break;
	case VERSION_WAIT_PAUSED:
	case VERSION_WAIT_CONNECTIONS:
	case VERSION_WAIT_PACKETS:
	case VERSION_WAIT_REFUSED:
	case VERSION_WAIT_SUCCESSOR:
	case VERSION_WAIT_NEWER:
	case VERSION_WAIT_STEP:
	case VERSION_WAIT_RETRY:
	case VERSION_WAIT_UDP:
	case VERSION_WAIT_QUIET:
	case VERSION_WAIT_STALE:
	case VERSION_WAIT_SETTLE:
	case VERSION_WAIT_COUNT:
		break;
	}
	if (!who)
		return NULL;
	if (!tell_fence(look->sights, who, words))
		snprintf(words, OUTLOOK_TEXT, "%s%s", who, lacks);
	return words;
}

static int compare_waits(const void *a, const void *b)
{
	const struct outlook_wait *left = a;
	const struct outlook_wait *right = b;
	bool left_timed = left->left_ms > 0;
	bool right_timed = right->left_ms > 0;
	if (left_timed != right_timed)
		return left_timed ? 1 : -1;
	if (left->left_ms != right->left_ms)
		return left->left_ms > right->left_ms ? -1 : 1;
	return (int)left->reason - (int)right->reason;
}

static int find_waits(const struct outlook_look *look, const struct version_waits *waits,
		      struct outlook *outlook)
{
	outlook->waits = arena_array(look->arena, VERSION_WAIT_COUNT, sizeof(*outlook->waits));
	if (!outlook->waits)
		return -ENOMEM;
	for (unsigned i = 0; i < VERSION_WAIT_COUNT; i++) {
		char words[OUTLOOK_TEXT];
		struct outlook_wait *wait = &outlook->waits[outlook->wait_count];
		if (!(waits->reasons >> i & 1))
			continue;
		*wait = (struct outlook_wait){.reason = (enum version_wait)i,
					      .left_ms = waits->left_ms[i]};
		const char *sentence = version_wait_sentence(wait->reason);
		const char *whom = find_whom(look, outlook, wait->reason, words);
		snprintf(wait->text, sizeof(wait->text), "%s%s%.*s%s", sentence, whom ? " (" : "",
			 (int)(OUTLOOK_TEXT - 128), whom ? whom : "", whom ? ")" : "");
		outlook->wait_count++;
	}
	qsort(outlook->waits, outlook->wait_count, sizeof(*outlook->waits), compare_waits);
	return 0;
}

static void find_packets(const struct outlook_look *look, struct outlook *outlook)
{
	outlook->has_udp = look->sight.seen.has_udp;
	outlook->packets_known = true;
	outlook->packet_ago_ms = UINT64_MAX;
	for (size_t i = 0; i < look->state->binding_count; i++) {
		const struct binding_observation *seen = &look->sight.bindings[i];
		if (look->state->bindings[i].version != look->status->number)
			continue;
		outlook->packets_known &= seen->packets_known;
		if (seen->packet_ago_ms < outlook->packet_ago_ms)
			outlook->packet_ago_ms = seen->packet_ago_ms;
	}
}

/* Most versions serve all clients, and nothing is to come of them. */
static bool is_settled(const struct service_state *state, const struct version_status *status)
{
	return status->state == VERSION_RETIRED ||
	       (status->state == VERSION_SERVING &&
		(status->number != state->rollout.target || state->rollout.share == SHARE_WHOLE));
}

int outlook_find(struct driver *driver, const struct service_state *state, size_t index,
		 struct arena *arena, struct outlook *ret_outlook)
{
	struct look around;
	struct outlook outlook = {.limit_ms = UINT64_MAX};
	const struct version_status *status = &state->versions[index];
	if (driver_look_around(driver, arena, &around) < 0)
		return -ENOMEM;
	const struct image_service *known = image_service(around.sights.image, state->name);
	struct outlook_look look = {.driver = driver,
				    .sights = &around.sights,
				    .known = known,
				    .state = state,
				    .status = status,
				    .version = image_version(known, status->number),
				    .arena = arena};
	int result = find_holders(&look, &outlook);
	if (result == 0 && !is_settled(state, status))
		result = driver_see_settings(driver, &around, known, arena, &look.sight);
	if (result < 0 || is_settled(state, status)) {
		*ret_outlook = outlook;
		return result;
	}
	bool gate = driver_find_waits(driver, &around.sights, known, NULL, 0) > 0;
	driver_see_rest(driver, &around, known, gate, &look.sight);
	find_packets(&look, &outlook);
	if (driver_is_driven(known)) {
		const struct version_waits waits = lifecycle_waits(state, &look.sight.seen, index);
		outlook.limit_ms = waits.limit_ms;
		result = find_waits(&look, &waits, &outlook);
	}
	if (result == 0)
		*ret_outlook = outlook;
	return result;
}
