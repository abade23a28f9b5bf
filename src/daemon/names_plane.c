/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/names_plane.h"

#include "base/arena.h"
#include "base/error.h"
#include "base/search.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ZONE_TTL_S 300u
#define NEGATIVE_TTL_S 5u /* a name that is added should be found soon */
#define REFRESH_S 3600u
#define RETRY_S 600u
#define EXPIRE_S 604800u

/* Which counter slot of the server means which version. Slots are reused when all are taken. */
struct answered {
	char service[MODEL_NAME_BYTES];
	uint32_t version;
	uint64_t count;
	uint64_t last_ms;
};

#define OPEN_AGAIN_MS 1000u

struct names_plane {
	struct naming_server *server; /* owned; NULL until it could be opened */
	const struct daemon_options *options;
	unsigned tcp_connections; /* of each thread, at most */
	uint64_t tried_ms; /* when it was last tried to open it */
	char alarm[1024]; /* why it could not; "" when it is open */
	const char *site;
	const char *node;
	struct ip_address *addresses; /* owned; where it listens, without wildcards */
	size_t address_count;
	uint64_t known_since_ms; /* what was answered before, to what has no slot, is not known */
	struct answered *answered; /* its place is the slot */
	uint32_t *by_name; /* the slots, by service and version */
	size_t answered_count; /* of both */
	uint64_t sequence; /* of the image that the snapshot in force shows */
	bool answers;
};

/* A wildcard is where to listen, not where to be found. */
static int find_addresses(struct names_plane *plane, const struct daemon_options *options)
{
	static const uint8_t wildcard[sizeof(options->dns_addresses->bytes)];
	plane->addresses = calloc(options->dns_count + 1, sizeof(*plane->addresses));
	if (!plane->addresses)
		return -ENOMEM;
	for (size_t i = 0; i < options->dns_count; i++) {
		const struct ip_address *address = &options->dns_addresses[i];
		if (memcmp(address->bytes, wildcard, ip_family_bits(address->family) / 8) != 0)
			plane->addresses[plane->address_count++] = *address;
	}
	return 0;
}

int names_plane_new(const struct daemon_options *options, unsigned tcp_connections, uint64_t now_ms,
		    struct names_plane **ret_plane, struct error *err)
{
	struct names_plane *plane = calloc(1, sizeof(*plane));
	if (!plane || find_addresses(plane, options) < 0) {
		free(plane);
		return error_set(err, -ENOMEM, "out of memory");
	}
	plane->options = options;
	plane->tcp_connections = tcp_connections;
	plane->site = options->site;
	plane->node = options->node;
	plane->known_since_ms = now_ms;
	*ret_plane = plane;
	return 0;
}

int names_plane_open(struct names_plane *plane, uint64_t now_ms, struct error *err)
{
	const struct daemon_options *options = plane->options;
	const struct naming_server_options server = {.addresses = options->dns_addresses,
						     .address_count = options->dns_count,
						     .port = options->dns_port,
						     .threads = options->dns_threads,
						     .tcp_connections = plane->tcp_connections};
	ASSERT(!plane->server);
	plane->tried_ms = now_ms;
	int result = naming_server_open(&server, &plane->server, err);
	plane->alarm[0] = '\0';
	if (result < 0)
		snprintf(plane->alarm, sizeof(plane->alarm),
			 "no name is answered here: %.800s. It is tried again every second",
			 err->text);
	return result;
}

bool names_plane_open_again(struct names_plane *plane, uint64_t now_ms)
{
	struct error err;
	return !plane->server && now_ms - plane->tried_ms >= OPEN_AGAIN_MS &&
	       names_plane_open(plane, now_ms, &err) == 0;
}

void names_plane_free(struct names_plane *plane)
{
	if (!plane)
		return;
	naming_server_close(plane->server);
	free(plane->answered);
	free(plane->by_name);
	free(plane->addresses);
	free(plane);
}

struct answered_key {
	const char *service;
	uint32_t version;
};

static int compare_answered(const void *names_plane, size_t place, const void *answered_key)
{
	const struct names_plane *plane = names_plane;
	const struct answered_key *key = answered_key;
	const struct answered *answered = &plane->answered[plane->by_name[place]];
	int order = strcmp(answered->service, key->service);
	if (order)
		return order;
	return answered->version < key->version ? -1 : answered->version > key->version;
}

/* The place of a version in the order of names, whether it is there or not. */
static size_t find_place(const struct names_plane *plane, const char *service, uint32_t version,
			 bool *ret_found)
{
	const struct answered_key key = {.service = service, .version = version};
	return search_place(plane, plane->answered_count, &key, compare_answered, ret_found);
}

/* Room for one more; false without memory. */
static bool grow_answered(struct names_plane *plane)
{
	size_t room = plane->answered_count + 1;
	struct answered *answered = realloc(plane->answered, room * sizeof(*answered));
	if (answered)
		plane->answered = answered;
	uint32_t *by_name = realloc(plane->by_name, room * sizeof(*by_name));
	if (by_name)
		plane->by_name = by_name;
	return answered && by_name;
}

/* All slots are taken: the one that was not answered for longest is the oldest history. Who asks
 * for what it was is told the time since then, never a longer one. */
static uint32_t evict_oldest(struct names_plane *plane, uint64_t now_ms)
{
	uint32_t oldest = 0;
	for (uint32_t i = 1; i < plane->answered_count; i++) {
		if (plane->answered[i].last_ms < plane->answered[oldest].last_ms)
			oldest = i;
	}
	bool found;
	size_t at = find_place(plane, plane->answered[oldest].service,
			       plane->answered[oldest].version, &found);
	ASSERT(found);
	plane->answered_count--;
	memmove(plane->by_name + at, plane->by_name + at + 1,
		(plane->answered_count - at) * sizeof(*plane->by_name));
	plane->known_since_ms = now_ms;
	return oldest;
}

/* The counter slot of a version; NAMING_NO_SLOT without memory for one. */
static uint32_t slot_for(struct names_plane *plane, const char *service, uint32_t version,
			 uint64_t now_ms)
{
	bool found;
	size_t at = find_place(plane, service, version, &found);
	if (found)
		return plane->by_name[at];
	uint32_t slot = (uint32_t)plane->answered_count;
	if (slot == NAMING_COUNTER_SLOTS) {
		slot = evict_oldest(plane, now_ms);
		at = find_place(plane, service, version, &found);
	} else if (!grow_answered(plane)) {
		return NAMING_NO_SLOT;
	}
	memmove(plane->by_name + at + 1, plane->by_name + at,
		(plane->answered_count - at) * sizeof(*plane->by_name));
	plane->by_name[at] = slot;
	plane->answered_count++;
	struct answered *entry = &plane->answered[slot];
	*entry = (struct answered){.version = version,
				   .last_ms = now_ms,
				   .count = naming_server_answers(plane->server, slot)};
	snprintf(entry->service, sizeof(entry->service), "%s", service);
	return slot;
}

/* --- image → input --- */

struct draft {
	struct arena arena;
	struct naming_input input;
	struct naming_service *services;
	bool complete; /* every serving version is held */
};

static void set_address(struct naming_share *share, struct ip_address address)
{
	if (address.family == IP_V4)
		share->v4 = address;
	else if (address.family == IP_V6)
		share->v6 = address;
}

/* One version's share; its bindings give the addresses at this site. */
static void fill_share(struct names_plane *plane, struct draft *draft, const struct image *image,
		       const struct service_state *state, uint32_t version, uint32_t upper,
		       struct naming_share *share)
{
	const struct version_status *status = service_version(state, version);
	ASSERT(status);
	*share = (struct naming_share){.upper = upper,
				       .version = version,
				       .held = image_acked(image) >= status->sequence,
				       .counter_slot =
					   slot_for(plane, state->name, version, image->now_ms)};
	draft->complete = draft->complete && share->held;
	for (size_t i = 0; i < state->binding_count; i++) {
		const struct binding *binding = &state->bindings[i];
		if (binding->version == version && !binding->is_late)
			set_address(share,
				    placement_address(image->placement, binding, plane->site));
	}
}

/* The target comes first, so that its clients are those with the low numbers: as its share grows,
 * nobody goes back. */
static int draft_service(struct names_plane *plane, struct draft *draft, const struct image *image,
			 const struct service *service)
{
	const struct image_service *known = image_service(image, service->name);
	struct naming_service *names = &draft->services[draft->input.service_count++];
	struct naming_share *shares = arena_array(&draft->arena, 2, sizeof(*shares));
	if (!shares)
		return -ENOMEM;
	*names = (struct naming_service){
	    .name = service->name, .ttl_s = service->ttl_seconds, .shares = shares};
	if (!known || !known->state || known->state->removed)
		return 0;

	const struct service_state *state = known->state;
	const struct rollout_state *rollout = &state->rollout;
	memcpy(names->salt, rollout->salt, sizeof(names->salt));
	uint32_t target = rollout->target ? service_share(state, rollout->target) : 0;
	if (target)
		fill_share(plane, draft, image, state, rollout->target, target,
			   &shares[names->share_count++]);
	if (target < SHARE_WHOLE && rollout->base && rollout->base != rollout->target &&
	    service_share(state, rollout->base))
		fill_share(plane, draft, image, state, rollout->base, SHARE_WHOLE,
			   &shares[names->share_count++]);
	return 0;
}

/* A name server in the zone needs an address; one outside needs none (RFC 6761 section 6.4). */
#define NOWHERE "invalid"

/* The configured name servers, or this node itself when the file names none. */
static int draft_nameservers(const struct names_plane *plane, struct draft *draft,
			     const struct fabric *fabric)
{
	size_t count = fabric->nameserver_count ? fabric->nameserver_count : 1;
	struct naming_nameserver *servers = arena_array(&draft->arena, count, sizeof(*servers));
	if (!servers)
		return -ENOMEM;
	draft->input.nameservers = servers;
	draft->input.nameserver_count = count;
	if (!fabric->nameserver_count) {
		servers[0] = (struct naming_nameserver){
		    .name = arena_printf(&draft->arena, "%s.%s", plane->node,
					 plane->address_count ? fabric->zone : NOWHERE),
		    .addresses = plane->addresses,
		    .address_count = plane->address_count};
		return servers[0].name ? 0 : -ENOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		const struct nameserver *server = &fabric->nameservers[i];
		size_t length = strlen(server->name);
		bool is_full = length && server->name[length - 1] == '.';
		servers[i] = (struct naming_nameserver){
		    .name = is_full
				? server->name
				: arena_printf(&draft->arena, "%s.%s", server->name, fabric->zone),
		    .addresses = server->addresses,
		    .address_count = server->address_count};
		if (!servers[i].name)
			return -ENOMEM;
	}
	return 0;
}

static int draft_all(struct names_plane *plane, struct draft *draft, const struct image *image)
{
	const struct fabric *fabric = image->fabric;
	draft->services =
	    arena_array(&draft->arena, fabric->service_count + 1, sizeof(*draft->services));
	const char *contact = arena_printf(&draft->arena, "hostmaster.%s", fabric->zone);
	if (!draft->services || !contact)
		return -ENOMEM;
	draft->complete = true;
	draft->input = (struct naming_input){.zone = fabric->zone,
					     .serial = (uint32_t)image->head.sequence,
					     .contact = contact,
					     .refresh_s = REFRESH_S,
					     .retry_s = RETRY_S,
					     .expire_s = EXPIRE_S,
					     .ttl_s = ZONE_TTL_S,
					     .negative_ttl_s = NEGATIVE_TTL_S,
					     .nsid = (const uint8_t *)plane->node,
					     .nsid_length = strlen(plane->node),
					     .services = draft->services};
	int result = draft_nameservers(plane, draft, fabric);
	for (size_t i = 0; i < fabric->service_count && result == 0; i++)
		result = draft_service(plane, draft, image, &fabric->services[i]);
	return result;
}

int names_plane_publish(struct names_plane *plane, const struct image *image, struct error *err)
{
	if (!plane->server || !image->fabric ||
	    (plane->answers && plane->sequence == image->head.sequence))
		return 0;
	struct draft draft = {0};
	arena_init(&draft.arena, 0);
	int result = draft_all(plane, &draft, image);
	struct naming_snapshot *snapshot = NULL;
	if (result == -ENOMEM)
		error_set(err, result, "out of memory");
	if (result == 0 && draft.complete)
		result = naming_snapshot_build(&draft.input, &snapshot, err);
	if (snapshot) {
		naming_server_swap(plane->server, snapshot);
		plane->answers = true;
		plane->sequence = image->head.sequence;
		result = 1;
	}
	arena_done(&draft.arena);
	return result;
}

void names_plane_sample(struct names_plane *plane, uint64_t now_ms)
{
	for (size_t slot = 0; plane->server && slot < plane->answered_count; slot++) {
		struct answered *answered = &plane->answered[slot];
		uint64_t count = naming_server_answers(plane->server, (uint32_t)slot);
		if (count != answered->count)
			answered->last_ms = now_ms;
		answered->count = count;
	}
}

uint64_t names_plane_answered_ago_ms(const struct names_plane *plane, const char *service,
				     uint32_t version, uint64_t now_ms)
{
	bool found;
	size_t at = find_place(plane, service, version, &found);
	return now_ms -
	       (found ? plane->answered[plane->by_name[at]].last_ms : plane->known_since_ms);
}

void names_plane_counters(const struct names_plane *plane, struct naming_counters *ret_counters)
{
	*ret_counters = (struct naming_counters){0};
	if (plane->server)
		naming_server_counters(plane->server, ret_counters);
}

bool names_plane_has_address(const struct names_plane *plane)
{
	return plane->address_count > 0;
}

const char *names_plane_alarm(const struct names_plane *plane)
{
	return plane->alarm;
}

const struct ip_address *names_plane_missing(const struct names_plane *plane)
{
	for (size_t i = 0; plane->server && i < plane->address_count; i++) {
		if (!naming_address_is_here(&plane->addresses[i]))
			return &plane->addresses[i];
	}
	return NULL;
}

bool names_plane_answers(const struct names_plane *plane)
{
	return plane->answers;
}

uint32_t names_plane_serial(const struct names_plane *plane)
{
	return (uint32_t)plane->sequence;
}
