/* SPDX-License-Identifier: Apache-2.0 */
#include "state/recovery.h"

#include "base/buffer.h"
#include "state/placement_records.h"
#include "state/publication.h"
#include "state/records.h"

#include <stdlib.h>
#include <string.h>

/* --- what differs --- */

struct place {
	const struct image_service *known;
	size_t binding;
};

/* The binding whose address it is; false: the state gives it no meaning. */
static bool find_binding(const struct image *image, const struct ip_address *address,
			 struct place *ret_place)
{
	const struct placement *placement = image->placement;
	for (size_t p = 0; placement && p < placement->pool_count; p++) {
		uint32_t site;
		uint32_t slot;
		if (placement->pools[p].removed ||
		    !pool_locate(&placement->pools[p].pool, address, &site, &slot))
			continue;
		for (size_t i = 0; i < image->service_count; i++) {
			const struct service_state *state = image->services[i]->state;
			for (size_t b = 0; state && b < state->binding_count; b++) {
				if (state->bindings[b].pool != p || state->bindings[b].slot != slot)
					continue;
				*ret_place =
				    (struct place){.known = image->services[i], .binding = b};
				return true;
			}
		}
	}
	return false;
}

static bool means_the_same(const struct place *place, const struct digest *version)
{
	const struct service_state *state = place->known->state;
	const struct version_status *status =
	    service_version(state, state->bindings[place->binding].version);
	return status && memcmp(status->digest.bytes, version->bytes, DIGEST_BYTES) == 0;
}

static int lose(struct recovery *recovery, const struct place *place, struct arena *arena,
		struct error *err)
{
	size_t at = 0;
	while (at < recovery->service_count && recovery->services[at].known != place->known)
		at++;
	if (at == RECOVERY_MOST_SERVICES)
		return error_set(
		    err, -FL_ELIMIT,
		    "the maps forward addresses of more than %u services by other "
		    "versions than the state here says. To go on from it all the same, "
		    "end what is forwarded first: stop the daemon and run `fairlead "
		    "detach`",
		    RECOVERY_MOST_SERVICES);
	struct recovery_service *service = &recovery->services[at];
	if (at == recovery->service_count) {
		service->known = place->known;
		service->lost =
		    arena_array(arena, place->known->state->binding_count, sizeof(bool));
		if (!service->lost)
			return -ENOMEM;
		recovery->service_count++;
	}
	service->lost[place->binding] = true;
	return 0;
}

static int check_read(const struct image *image, struct error *err)
{
	static const char *const PREFIXES[] = {"config/", "placement/", "service/", "version/"};
	char text[IMAGE_UNREAD_TEXT];
	for (size_t i = 0; i < sizeof(PREFIXES) / sizeof(PREFIXES[0]); i++) {
		const struct image_unread *unread = image_unread_under(image, PREFIXES[i]);
		if (unread)
			return error_set(err, -FL_EUNSUPPORTED,
					 "what the state says is not known here: %s; upgrade this "
					 "node first",
					 image_unread_text(unread, text));
	}
	return 0;
}

static int compare_addresses(const void *a, const void *b)
{
	return ip_address_compare(a, b);
}

static uint64_t first_free_number(const struct image *image,
				  const struct recovery_knowledge *knowledge)
{
	uint64_t head = image->head.sequence;
	uint64_t lost = knowledge->lost.sequence > knowledge->known ? knowledge->lost.sequence
								    : knowledge->known;
	return (lost > head ? lost : head) + (lost ? RECOVERY_MARGIN : RECOVERY_UNKNOWN);
}

int recovery_work_out(const struct image *image, const struct recovery_knowledge *knowledge,
		      struct arena *arena, struct recovery *ret_recovery, struct error *err)
{
	struct recovery recovery = {.sequence = first_free_number(image, knowledge),
				    .all_rest = !knowledge->has_held};
	recovery.numbers = (uint32_t)(recovery.sequence - image->head.sequence);
	int result = check_read(image, err);
	if (result < 0)
		return result;
	recovery.withdrawn =
	    arena_array(arena, knowledge->held_count + 1, sizeof(*recovery.withdrawn));
	recovery.services = arena_array(arena, RECOVERY_MOST_SERVICES, sizeof(*recovery.services));
	if (!recovery.withdrawn || !recovery.services)
		return -ENOMEM;
	for (size_t i = 0; i < knowledge->held_count; i++) {
		const struct recovery_held *held = &knowledge->held[i];
		struct place place;
		bool is_bound = find_binding(image, &held->address, &place);
		if (is_bound && means_the_same(&place, &held->version))
			continue;
		recovery.withdrawn[recovery.withdrawn_count++] = held->address;
		result = is_bound ? lose(&recovery, &place, arena, err) : 0;
		if (result < 0)
			return result;
	}
	if (recovery.withdrawn_count)
		qsort(recovery.withdrawn, recovery.withdrawn_count, sizeof(*recovery.withdrawn),
		      compare_addresses);
	*ret_recovery = recovery;
	return 0;
}

/* --- the change --- */

/* What is held back from now on: by this recovery, and by the one before. */
static int hold_back(const struct change_draft *draft, const struct recovery *recovery,
		     const struct recovery_knowledge *knowledge, struct arena *arena,
		     struct placement_recovery *ret_held)
{
	static const struct placement_recovery NONE;
	const struct placement *placement = draft->image->placement;
	const struct placement_recovery *before = placement ? &placement->recovery : &NONE;
	struct placement_recovery held = {
	    .sequence = recovery->sequence,
	    .wall_ms = draft->wall_ms,
	    .lost_sequence = knowledge->lost.sequence,
	    .lost_digest = knowledge->lost.digest,
	    .numbers = before->numbers + recovery->numbers,
	    .all_rest = before->all_rest || recovery->all_rest,
	};
	held.addresses = arena_array(arena, before->address_count + recovery->withdrawn_count + 1,
				     sizeof(*held.addresses));
	if (!held.addresses)
		return -ENOMEM;
	for (size_t a = 0, b = 0; a < before->address_count || b < recovery->withdrawn_count;) {
		int order =
		    a == before->address_count ? 1
		    : b == recovery->withdrawn_count
			? -1
			: ip_address_compare(&before->addresses[a], &recovery->withdrawn[b]);
		held.addresses[held.address_count++] =
		    order <= 0 ? before->addresses[a] : recovery->withdrawn[b];
		a += order <= 0;
		b += order >= 0;
	}
	*ret_held = held;
	return 0;
}

static int put_recovered(struct change_draft *draft, const struct placement_recovery *held)
{
	struct buffer value;
	buffer_init(&value, STORE_VALUE_BYTES);
	int result = recovered_put(held, &value);
	if (result == 0)
		result =
		    draft_put(draft, RECORD_RECOVERED_KEY,
			      image_record_revision(draft->image, RECORD_RECOVERED_KEY), &value);
	buffer_done(&value);
	return result;
}

/* The service without the addresses that mean something else; what it says is published again. */
static int put_service(struct change_draft *draft, const struct recovery_service *service,
		       const struct placement *placement, struct future_states *future,
		       struct service_state *state, json_t *again, struct error *err)
{
	const struct service *config = service->known->configured;
	const struct version *version;
	if (!lifecycle_lose(state, service->lost, draft->sequence, draft->wall_ms) || !config)
		return publication_put_state(draft, state);
	int result = publication_make_from(draft, draft->image->fabric, config, placement, future,
					   state, 0, &version, err);
	if (result == 0 && json_array_append_new(again, json_string(state->name)) < 0)
		result = -ENOMEM;
	return result;
}

static int put_services(struct change_draft *draft, const struct recovery *recovery,
			const struct placement_recovery *held, json_t *again, struct error *err)
{
	const struct image *image = draft->image;
	struct future_states future;
	int result = future_states_init(&future, image, 0, &draft->arena);
	if (result < 0 || !recovery->service_count)
		return result;
	struct placement placement = *image->placement;
	placement.recovery = *held;
	for (size_t i = 0; i < recovery->service_count && result == 0; i++) {
		const struct recovery_service *service = &recovery->services[i];
		struct service_state *state =
		    service_state_copy(service->known->state, &draft->arena);
		if (!state)
			return -ENOMEM;
		state->next_version += recovery->numbers;
		result = put_service(draft, service, &placement, &future, state, again, err);
		future_states_set(&future, state);
	}
	return result;
}

int recovery_build(struct change_draft *draft, const struct recovery_knowledge *knowledge,
		   struct error *err)
{
	struct recovery recovery = {0};
	struct placement_recovery held = {0};
	json_t *again = json_array();
	uint64_t after = draft->image->head.sequence;
	int result = again
			 ? recovery_work_out(draft->image, knowledge, &draft->arena, &recovery, err)
			 : -ENOMEM;
	if (result == 0)
		result = hold_back(draft, &recovery, knowledge, &draft->arena, &held);
	draft->sequence = recovery.sequence;
	if (result == 0)
		result = put_recovered(draft, &held);
	if (result == 0)
		result = put_services(draft, &recovery, &held, again, err);
	if (result < 0) {
		json_decref(again);
		return result;
	}
	json_t *addresses = json_array();
	for (size_t i = 0; i < recovery.withdrawn_count; i++) {
		char text[IP_TEXT_BYTES];
		ip_address_format(&recovery.withdrawn[i], text);
		json_array_append_new(addresses, json_string(text));
	}
	draft->what = json_pack("{s:I, s:I, s:I, s:b, s:o, s:o}", "after", (json_int_t)after,
				"lost", (json_int_t)knowledge->lost.sequence, "numbers",
				(json_int_t)recovery.numbers, "all_rest", (int)recovery.all_rest,
				"withdrawn", addresses, "published_again", again);
	return draft->what ? CHANGE_COMMIT : -ENOMEM;
}
