/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/merge.h"

#include "base/search.h"

#include <string.h>

#define EVIDENCE_NAMES 16u /* named in a ledger entry; of more, how many there are */

static uint64_t applied_latest(const struct applied *applied)
{
	return applied->count ? applied->points[applied->count - 1].sequence : 0;
}

/* When the node acknowledged `sequence` or a later entry; 0: it has not. A point that history no
 * longer has makes this later, which errs on the safe side. */
static uint64_t applied_at_ms(const struct applied *applied, uint64_t sequence)
{
	for (size_t i = 0; i < applied->count; i++) {
		if (applied->points[i].sequence >= sequence)
			return applied->points[i].at_ms ? applied->points[i].at_ms : 1;
	}
	return 0;
}

/* The acknowledgements that are waited for of a member: one for each of these roles that it has.
 * NULL in `ret_applied`: the node was never heard, or does not act in that role. */
static size_t member_applied(const struct sights *sights, const struct member *member,
			     unsigned roles, const struct applied *ret_applied[2])
{
	const struct observed_node *node = observations_find(sights->observations, member->name);
	size_t count = 0;
	if (member->roles & roles & MEMBER_EDGE)
		ret_applied[count++] = node && node->is_edge ? &node->edge_applied : NULL;
	if (member->roles & roles & MEMBER_NAMES)
		ret_applied[count++] = node && node->is_names ? &node->names_applied : NULL;
	return count;
}

/* An edge that was removed, and may forward all the same; it says nothing any more. NULL: none. */
static const char *find_unfenced(const struct image *image)
{
	for (size_t i = 0; i < image->removed.count; i++) {
		if (!removed_is_fenced(&image->removed.items[i]))
			return image->removed.items[i].name;
	}
	const struct image_unread *unread = image_unread_under(image, "removed/");
	return unread ? unread->key : NULL;
}

uint64_t merge_applied_by(const struct sights *sights, const struct member *member)
{
	const struct applied *applied[2];
	uint64_t least = UINT64_MAX;
	size_t count = member_applied(sights, member, MEMBER_EDGE | MEMBER_NAMES, applied);
	for (size_t i = 0; i < count; i++) {
		uint64_t latest = applied[i] ? applied_latest(applied[i]) : 0;
		least = latest < least ? latest : least;
	}
	return least;
}

uint64_t merge_applied(const struct sights *sights)
{
	uint64_t least = find_unfenced(sights->image) ? 0 : UINT64_MAX;
	for (size_t m = 0; m < sights->image->member_count; m++) {
		uint64_t applied = merge_applied_by(sights, sights->image->members[m].member);
		least = applied < least ? applied : least;
	}
	return least == UINT64_MAX ? 0 : least;
}

/* A member with one of these roles that has not acknowledged `sequence`; NULL: all have, the last
 * of them then. Who is a member no more, and had not acknowledged it, sent new flows by an old
 * meaning until it ceased. */
static const char *find_behind(const struct sights *sights, unsigned roles, uint64_t sequence,
			       uint64_t *ret_last_ms, size_t *ret_members)
{
	*ret_last_ms = sights->image->ceased_ms;
	*ret_members = 0;
	for (size_t m = 0; m < sights->image->member_count; m++) {
		const struct applied *applied[2];
		size_t count =
		    member_applied(sights, sights->image->members[m].member, roles, applied);
		*ret_members += count;
		for (size_t i = 0; i < count; i++) {
			uint64_t at_ms = applied[i] ? applied_at_ms(applied[i], sequence) : 0;
			if (!at_ms)
				return sights->image->members[m].member->name;
			*ret_last_ms = at_ms > *ret_last_ms ? at_ms : *ret_last_ms;
		}
	}
	return roles & MEMBER_EDGE ? find_unfenced(sights->image) : NULL;
}

const char *merge_behind(const struct sights *sights, unsigned roles, uint64_t sequence)
{
	uint64_t last_ms;
	size_t members;
	return find_behind(sights, roles, sequence, &last_ms, &members);
}

uint64_t merge_applied_for_ms(const struct sights *sights, uint64_t sequence)
{
	uint64_t last_ms;
	size_t members;
	if (find_behind(sights, MEMBER_EDGE | MEMBER_NAMES, sequence, &last_ms, &members) ||
	    !members)
		return 0;
	return sights->now_ms - last_ms + 1;
}

uint64_t merge_unanswered_ms(const struct sights *sights, uint64_t sequence)
{
	uint64_t last_ms;
	size_t members;
	if (find_behind(sights, MEMBER_NAMES, sequence, &last_ms, &members))
		return 0;
	return members ? sights->now_ms - last_ms : UINT64_MAX;
}

static bool is_heard(const struct sights *sights, const struct observed_node *node,
		     uint64_t within_ms)
{
	return node && sights->now_ms - node->heard_ms <= within_ms;
}

static uint64_t heard_limit_ms(const struct sights *sights)
{
	return OBSERVATION_HEARD_INTERVALS * image_report_interval_ms(sights->image);
}

static const char *find_lacking(const struct sights *sights, uint64_t sequence, size_t *ret_heard)
{
	*ret_heard = 0;
	for (size_t m = 0; m < sights->image->member_count; m++) {
		const struct member *member = sights->image->members[m].member;
		const struct observed_node *node =
		    observations_find(sights->observations, member->name);
		if (!member_has(member, MEMBER_EDGE) ||
		    !is_heard(sights, node, OBSERVATION_EDGE_HEARD_MS))
			continue;
		if (applied_latest(&node->edge_applied) < sequence)
			return member->name;
		(*ret_heard)++;
	}
	return NULL;
}

bool merge_is_held(const struct sights *sights, uint64_t sequence)
{
	size_t heard;
	return !find_lacking(sights, sequence, &heard) && heard > 0;
}

const char *merge_lacking(const struct sights *sights, uint64_t sequence)
{
	size_t heard;
	return find_lacking(sights, sequence, &heard);
}

static int compare_address(const void *list, size_t place, const void *address)
{
	const struct ip_address *addresses = list;
	return ip_address_compare(&addresses[place], address);
}

const char *merge_unreached(const struct sights *sights, const struct ip_address *backend)
{
	for (size_t m = 0; m < sights->image->member_count; m++) {
		const struct member *member = sights->image->members[m].member;
		const struct observed_node *node =
		    observations_find(sights->observations, member->name);
		bool found = false;
		if (member_has(member, MEMBER_EDGE) &&
		    is_heard(sights, node, OBSERVATION_EDGE_HEARD_MS))
			(void)search_place(node->unreached, node->unreached_count, backend,
					   compare_address, &found);
		if (found)
			return member->name;
	}
	return NULL;
}

const char *merge_unheard(const struct sights *sights)
{
	for (size_t m = 0; m < sights->image->member_count; m++) {
		const struct member *member = sights->image->members[m].member;
		if ((member_has(member, MEMBER_EDGE) || member_has(member, MEMBER_NAMES)) &&
		    !is_heard(sights, observations_find(sights->observations, member->name),
			      heard_limit_ms(sights)))
			return member->name;
	}
	return find_unfenced(sights->image);
}

/* --- packets --- */

static int compare_activity(const void *list, size_t place, const void *address)
{
	const struct activity *activity = list;
	return ip_address_compare(&activity[place].address, address);
}

static const struct activity *find_activity(const struct observed_node *node,
					    const struct ip_address *address)
{
	bool found;
	size_t at =
	    search_place(node->activity, node->activity_count, address, compare_activity, &found);
	return found ? &node->activity[at] : NULL;
}

/* Of one edge, for the binding's address at each site that it takes traffic for. What it said
 * before it acknowledged the closing proves nothing of the time after (PROTOCOL rule 15), and false
 * also when it said nothing of this binding. */
static bool add_activity(const struct sights *sights, const struct member *member,
			 const struct binding *binding, struct binding_observation *observation)
{
	const struct placement *placement = sights->image->placement;
	const struct observed_node *node = observations_find(sights->observations, member->name);
	bool told = false;
	if (!node || sights->now_ms - node->activity_ms > heard_limit_ms(sights))
		return false;
	uint64_t applied_ms = applied_at_ms(&node->edge_applied, binding->sequence);
	if (binding->refusing && (!applied_ms || node->activity_ms <= applied_ms))
		return false;
	for (size_t s = 0; s < placement->site_count; s++) {
		struct ip_address address =
		    placement_address(placement, binding, placement->sites[s]);
		const struct activity *activity =
		    address.family ? find_activity(node, &address) : NULL;
		if (!activity)
			continue;
		told = true;
		if (activity->new_flow_ago_ms < observation->new_flow_ago_ms)
			observation->new_flow_ago_ms = activity->new_flow_ago_ms;
		if (activity->packet_ago_ms < observation->packet_ago_ms)
			observation->packet_ago_ms = activity->packet_ago_ms;
	}
	return told;
}

void merge_activity(const struct sights *sights, const struct binding *binding,
		    struct binding_observation *observation)
{
	observation->packets_known = !find_unfenced(sights->image);
	observation->new_flow_ago_ms = UINT64_MAX;
	observation->packet_ago_ms = UINT64_MAX;
	for (size_t m = 0; m < sights->image->member_count; m++) {
		const struct member *member = sights->image->members[m].member;
		if (member_has(member, MEMBER_EDGE) &&
		    !add_activity(sights, member, binding, observation))
			observation->packets_known = false;
	}
}

/* --- connections --- */

size_t merge_addresses(const struct placement *placement, const struct binding *binding,
		       struct ip_address addresses[MODEL_MAX_SITES])
{
	size_t count = 0;
	for (size_t i = 0; i < placement->site_count && count < MODEL_MAX_SITES; i++) {
		const char *site = placement->sites[i];
		struct ip_address address = placement_address(placement, binding, site);
		if (*site && address.family)
			addresses[count++] = address;
	}
	return count;
}

struct connection_sum merge_connections(const struct sights *sights,
					const struct service_state *state,
					const struct binding *binding,
					struct binding_observation *observation)
{
	const struct image *image = sights->image;
	struct ip_address addresses[MODEL_MAX_SITES];
	const struct version_status *status = service_version(state, binding->version);
	const struct connection_query query = {
	    .version = image_version(image_service(image, state->name), binding->version),
	    .published = status ? status->sequence : UINT64_MAX,
	    .addresses = addresses,
	    .address_count = merge_addresses(image->placement, binding, addresses),
	    .closing = binding->sequence,
	    .interval_ms = image_report_interval_ms(image),
	    .now_ms = sights->now_ms};
	/* While a version's record is unread, its backends are not known. */
	if (!query.version)
		return (struct connection_sum){0};
	struct connection_sum sum = reports_sum(sights->reports, image, &query);
	observation->connections = sum.count;
	observation->connections_known = sum.known && !sum.cookies;
	observation->report_ago_ms = sum.oldest_ms;
	observation->closing_counted = binding->refusing && sum.names_closing && !sum.cookies;
	observation->closing_connections = sum.count;
	return sum;
}

/* --- wants --- */

static bool is_among(const char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

/* A want may have ended since its node was last heard. */
static size_t add_wants(const struct sights *sights, const struct observed_node *node,
			const char **names, size_t count)
{
	uint64_t since_ms = sights->now_ms - node->wants_ms;
	for (size_t i = 0; i < node->want_count; i++) {
		const struct slot_want *want = &node->wants[i];
		if (want->left_ms > since_ms && !is_among(names, count, want->service))
			names[count++] = want->service;
	}
	return count;
}

int merge_wants(const struct sights *sights, struct arena *arena, struct placement_wants *ret_wants)
{
	const struct image *image = sights->image;
	size_t most = 0;
	size_t count = 0;
	for (size_t m = 0; m < image->member_count; m++) {
		const struct observed_node *node =
		    observations_find(sights->observations, image->members[m].member->name);
		most += node ? node->want_count : 0;
	}
	*ret_wants = (struct placement_wants){0};
	if (!most)
		return 0;
	const char **names = arena_array(arena, most, sizeof(*names));
	uint32_t *services = arena_array(arena, most, sizeof(*services));
	if (!names || !services)
		return -ENOMEM;
	for (size_t m = 0; m < image->member_count; m++) {
		const struct observed_node *node =
		    observations_find(sights->observations, image->members[m].member->name);
		count = node ? add_wants(sights, node, names, count) : count;
	}
	for (size_t i = 0; i < count; i++) {
		const struct image_service *service = image_service(image, names[i]);
		services[i] =
		    service && service->state ? service->state->index : PLACEMENT_NO_SERVICE;
	}
	*ret_wants = (struct placement_wants){.services = services, .count = count};
	return 0;
}

/* --- evidence --- */

json_t *merge_evidence(const struct sights *sights, const struct version *version)
{
	json_t *applied = json_object();
	json_t *counted = json_object();
	size_t more = 0;
	for (size_t m = 0; m < sights->image->member_count; m++) {
		const struct member *member = sights->image->members[m].member;
		const struct applied *list[2];
		size_t count = member_applied(sights, member, MEMBER_EDGE | MEMBER_NAMES, list);
		uint64_t least = UINT64_MAX;
		for (size_t i = 0; i < count; i++) {
			uint64_t latest = list[i] ? applied_latest(list[i]) : 0;
			least = latest < least ? latest : least;
		}
		if (!count)
			continue;
		if (json_object_size(applied) == EVIDENCE_NAMES)
			more++;
		else
			json_object_set_new(applied, member->name, json_integer((json_int_t)least));
	}
	for (size_t i = 0; version && i < version->backend_count; i++) {
		const struct backend *backend = &version->backends[i];
		const struct report *report =
		    reports_owner(sights->reports, backend->name, &backend->address);
		if (json_object_size(counted) == EVIDENCE_NAMES)
			more++;
		else
			json_object_set_new(counted, backend->name,
					    report ? json_integer((json_int_t)report->closing)
						   : json_null());
	}
	json_t *evidence = json_pack("{s:o, s:o}", "applied", applied, "counted", counted);
	if (more)
		json_object_set_new(evidence, "more", json_integer((json_int_t)more));
	return evidence;
}
