/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/names_plane.h"

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/search.h"
#include "model/zone_name.h"
#include "state/config_records.h"
#include "state/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REFRESH_S 3600u
#define RETRY_S 600u
#define EXPIRE_S 604800u
#define UNREAD_TTL_S 30u /* where the service's configuration cannot be read here */

#define OPEN_AGAIN_MS 1000u
#define RENEW_MS 86400000u

struct names_plane {
	struct naming_server *server; /* owned; NULL until it could be opened */
	const struct daemon_options *options;
	unsigned tcp_connections; /* of each thread, at most */
	struct random *random; /* borrowed */
	uint64_t renewed_ms; /* when the secret of cookies was drawn */
	uint64_t tried_ms; /* when it was last tried to open it */
	struct alarm alarm; /* why it could not; ended when it is open */
	char refused[512]; /* what of the zone is not answered as the state says; "": nothing */
	const char *site;
	const char *node;
	struct ip_address *addresses; /* owned; where it listens, without wildcards */
	size_t address_count;
	uint64_t revision; /* of the image that the snapshot in force shows */
	uint64_t sequence; /* of that image's ledger: its newest entry */
	bool answers;
};

/* A wildcard is where to listen, not where to be found. */
static void find_addresses(struct names_plane *plane, const struct daemon_options *options)
{
	static const uint8_t wildcard[sizeof(options->dns_addresses->bytes)];
	plane->addresses = must_alloc(options->dns_count + 1, sizeof(*plane->addresses));
	for (size_t i = 0; i < options->dns_count; i++) {
		const struct ip_address *address = &options->dns_addresses[i];
		if (memcmp(address->bytes, wildcard, ip_family_bits(address->family) / 8) != 0)
			plane->addresses[plane->address_count++] = *address;
	}
}

struct names_plane *names_plane_new(const struct daemon_options *options, unsigned tcp_connections,
				    struct random *random)
{
	struct names_plane *plane = must_alloc(1, sizeof(*plane));
	find_addresses(plane, options);
	plane->options = options;
	plane->tcp_connections = tcp_connections;
	plane->random = random;
	plane->site = options->site;
	plane->node = options->node;
	return plane;
}

int names_plane_open(struct names_plane *plane, uint64_t now_ms, struct error *err)
{
	const struct daemon_options *options = plane->options;
	const struct naming_server_options server = {.addresses = options->dns_addresses,
						     .address_count = options->dns_count,
						     .port = options->dns_port,
						     .threads = options->dns_threads,
						     .tcp_connections = plane->tcp_connections,
						     .random = plane->random};
	ASSERT(!plane->server);
	plane->tried_ms = plane->renewed_ms = now_ms;
	int result = naming_server_open(&server, &plane->server, err);
	if (result < 0)
		(void)ALARM_SET(&plane->alarm, now_ms, DNS_FAILED, "", err->text);
	else
		alarm_end(&plane->alarm);
	return result;
}

bool names_plane_tick(struct names_plane *plane, uint64_t now_ms)
{
	struct error err;
	/* Without memory the present secret does for another while. */
	if (plane->server && now_ms - plane->renewed_ms >= RENEW_MS &&
	    naming_server_renew(plane->server) == 0)
		plane->renewed_ms = now_ms;
	return !plane->server && now_ms - plane->tried_ms >= OPEN_AGAIN_MS &&
	       names_plane_open(plane, now_ms, &err) == 0;
}

void names_plane_free(struct names_plane *plane)
{
	if (!plane)
		return;
	naming_server_close(plane->server);
	free(plane->addresses);
	free(plane);
}

/* --- image → input --- */

struct zone {
	struct arena arena;
	struct naming_input input;
	struct naming_service *services;
};

static void set_address(struct naming_share *share, struct ip_address address)
{
	if (address.family == IP_V4)
		share->v4 = address;
	else if (address.family == IP_V6)
		share->v6 = address;
}

/* One version's share; its bindings give the addresses at this site. That the edges hold it was
 * proven to whoever let it serve, and its own edge publishes before this plane does. */
static void fill_share(const struct names_plane *plane, const struct image *image,
		       const struct service_state *state, uint32_t version, uint32_t upper,
		       struct naming_share *share)
{
	const struct version_status *status = service_version(state, version);
	ASSERT(status);
	*share = (struct naming_share){
	    .upper = upper, .version = version, .held = status->state == VERSION_SERVING};
	for (size_t i = 0; i < state->binding_count; i++) {
		const struct binding *binding = &state->bindings[i];
		if (binding->version == version && !binding->is_late)
			set_address(share,
				    placement_address(image->placement, binding, plane->site));
	}
}

/* The target comes first, so that its clients are those with the low numbers: as its share grows,
 * nobody goes back. */
static void add_service(const struct names_plane *plane, struct zone *zone,
			const struct image *image, const struct image_service *known)
{
	struct naming_service *names = &zone->services[zone->input.service_count++];
	struct naming_share *shares = must_have(arena_array(&zone->arena, 2, sizeof(*shares)));
	const struct service *configured = known->configured;
	*names =
	    (struct naming_service){.name = known->name,
				    .ttl_s = configured ? configured->ttl_seconds : UNREAD_TTL_S,
				    .bits_v4 = configured ? configured->client_bits_v4 : 0,
				    .bits_v6 = configured ? configured->client_bits_v6 : 0,
				    .shares = shares};
	if (!known->state || known->state->removed)
		return;

	const struct service_state *state = known->state;
	const struct rollout_state *rollout = &state->rollout;
	memcpy(names->salt, rollout->salt, sizeof(names->salt));
	uint32_t target = rollout->target ? service_share(state, rollout->target) : 0;
	if (target)
		fill_share(plane, image, state, rollout->target, target,
			   &shares[names->share_count++]);
	if (target < SHARE_WHOLE && rollout->base && rollout->base != rollout->target &&
	    service_share(state, rollout->base))
		fill_share(plane, image, state, rollout->base, SHARE_WHOLE,
			   &shares[names->share_count++]);
}

/* A name server in the zone needs an address; one outside needs none (RFC 6761 section 6.4). */
#define NOWHERE "invalid"

/* What the file means by a name; a name that is none when that is too long, which the snapshot
 * tells of and does without. */
static const char *name_in_zone(struct zone *zone, const struct fabric *fabric, const char *name)
{
	char text[ZONE_NAME_BYTES];
	const char *full = zone_name(fabric->zone, name, text);
	return full ? must_have(arena_strdup(&zone->arena, full))
		    : must_have(arena_printf(&zone->arena, "%s..%s", name, fabric->zone));
}

/* Whether the node can be the zone's name server under its own name. */
static bool is_own_name_free(const struct names_plane *plane, const struct image *image)
{
	char text[ZONE_NAME_BYTES];
	if (plane->address_count == 0 || !zone_name(image->fabric->zone, plane->node, text))
		return false;
	for (size_t i = 0; i < image->service_count; i++)
		if (strcmp(image->services[i]->name, plane->node) == 0)
			return false;
	return true;
}

/* The configured name servers, or this node itself when the file names none. */
static void add_nameservers(const struct names_plane *plane, struct zone *zone,
			    const struct image *image)
{
	const struct fabric *fabric = image->fabric;
	struct arena *arena = &zone->arena;
	size_t count = fabric->nameserver_count ? fabric->nameserver_count : 1;
	struct naming_nameserver *servers = must_have(arena_array(arena, count, sizeof(*servers)));
	zone->input.nameservers = servers;
	zone->input.nameserver_count = count;
	if (!fabric->nameserver_count) {
		servers[0] = (struct naming_nameserver){
		    .name = must_have(
			arena_printf(arena, "%s.%s", plane->node,
				     is_own_name_free(plane, image) ? fabric->zone : NOWHERE)),
		    .addresses = plane->addresses,
		    .address_count = plane->address_count};
		return;
	}
	for (size_t i = 0; i < count; i++) {
		const struct nameserver *server = &fabric->nameservers[i];
		servers[i] =
		    (struct naming_nameserver){.name = name_in_zone(zone, fabric, server->name),
					       .addresses = server->addresses,
					       .address_count = server->address_count};
	}
}

/* The records that the file gives. */
static void add_sets(struct zone *zone, const struct zone_settings *dns)
{
	size_t count = 0;
	for (size_t i = 0; i < dns->name_count; i++)
		count += dns->names[i].set_count;
	struct naming_set *sets = must_have(arena_array(&zone->arena, count + 1, sizeof(*sets)));
	zone->input.sets = sets;
	for (size_t i = 0; i < dns->name_count; i++) {
		const struct zone_name *owner = &dns->names[i];
		for (size_t j = 0; j < owner->set_count; j++)
			sets[zone->input.set_count++] = (struct naming_set){
			    .name = owner->name,
			    .type = zone_record_rows[owner->sets[j].type].number,
			    .ttl_s = owner->ttl_s ? owner->ttl_s : zone->input.ttl_s,
			    .values = owner->sets[j].values,
			    .value_count = owner->sets[j].value_count};
	}
}

static void fill_zone(const struct names_plane *plane, struct zone *zone, const struct image *image)
{
	const struct fabric *fabric = image->fabric;
	const struct zone_settings *dns = &fabric->dns;
	const char *contact = zone_contact(
	    fabric->zone, dns->contact, must_have(arena_alloc(&zone->arena, ZONE_CONTACT_BYTES)));
	if (!contact) /* which the snapshot refuses, tells of, and does without */
		contact = name_in_zone(zone, fabric, dns->contact ? dns->contact : ZONE_CONTACT);
	zone->services =
	    must_have(arena_array(&zone->arena, image->service_count + 1, sizeof(*zone->services)));
	zone->input = (struct naming_input){.zone = fabric->zone,
					    .serial = (uint32_t)image->head.sequence,
					    .contact = contact,
					    .refresh_s = REFRESH_S,
					    .retry_s = RETRY_S,
					    .expire_s = EXPIRE_S,
					    .ttl_s = dns->ttl_s ? dns->ttl_s : ZONE_DEFAULT_TTL_S,
					    .negative_ttl_s = dns->negative_ttl_s
								  ? dns->negative_ttl_s
								  : ZONE_DEFAULT_NEGATIVE_TTL_S,
					    .nsid = (const uint8_t *)plane->node,
					    .nsid_length = strlen(plane->node),
					    .rate = dns->rate == ZONE_RATE_NONE ? 0
						    : dns->rate                 ? dns->rate
										: ZONE_DEFAULT_RATE,
					    .version = "Fairlead " FAIRLEAD_VERSION,
					    .services = zone->services,
					    .in_part = true};
	add_nameservers(plane, zone, image);
	add_sets(zone, dns);
	for (size_t i = 0; i < image->service_count; i++) {
		const struct image_service *service = image->services[i];
		if (service->configured ||
		    (service->state && service->unread & IMAGE_UNREAD_CONFIG))
			add_service(plane, zone, image, service);
	}
}

/* What the zone is answered without, for the alarm; "" if it is whole. */
static void set_refused(struct names_plane *plane, const struct image *image, const char *refused)
{
	char text[sizeof(plane->refused)];
	snprintf(text, sizeof(text), "%s", refused);
	if (!text[0] && !image->fabric->nameserver_count && plane->address_count &&
	    !is_own_name_free(plane, image))
		snprintf(text, sizeof(text),
			 "the file has no `nameservers`, and %s.%.40s, this node's own name, is a "
			 "service's or too long",
			 plane->node, image->fabric->zone);
	if (text[0] && strcmp(text, plane->refused) != 0)
		log_event(LOG_LEVEL_WARNING, "dns.in-part", "reason", text, NULL);
	memcpy(plane->refused, text, sizeof(text));
}

int names_plane_publish(struct names_plane *plane, const struct image *image, struct error *err)
{
	if (!plane->server || !image->fabric ||
	    (plane->answers && plane->revision == image->revision))
		return 0;
	char key[RECORD_KEY_BYTES];
	char text[IMAGE_UNREAD_TEXT];
	const struct image_unread *unread = image_unread(image, config_fabric_key(key));
	unread = unread ? unread : image_unread_meaning(image);
	if (unread)
		return error_set(
		    err, -FL_EUNSUPPORTED,
		    "what names mean is not known here: %s. What is answered stays as it "
		    "is; upgrade this node",
		    image_unread_text(unread, text));
	struct zone zone = {0};
	struct naming_snapshot *snapshot = NULL;
	arena_init(&zone.arena, 0);
	fill_zone(plane, &zone, image);
	int result = naming_snapshot_build(&zone.input, &snapshot, err);
	if (snapshot) {
		set_refused(plane, image, naming_snapshot_refused(snapshot));
		naming_server_swap(plane->server, snapshot);
		plane->answers = true;
		plane->revision = image->revision;
		plane->sequence = image->head.sequence;
		snprintf(text, sizeof(text), "%u", names_plane_serial(plane));
		log_event(LOG_LEVEL_DEBUG, "dns.published", "serial", text, NULL);
	}
	arena_done(&zone.arena);
	return result;
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

const struct alarm *names_plane_alarm(const struct names_plane *plane)
{
	return &plane->alarm;
}

const struct ip_address *names_plane_missing(const struct names_plane *plane)
{
	for (size_t i = 0; plane->server && i < plane->address_count; i++) {
		if (!naming_address_is_here(&plane->addresses[i]))
			return &plane->addresses[i];
	}
	return NULL;
}

const char *names_plane_refused(const struct names_plane *plane)
{
	return plane->refused;
}

bool names_plane_answers(const struct names_plane *plane)
{
	return plane->answers;
}

uint32_t names_plane_serial(const struct names_plane *plane)
{
	return (uint32_t)plane->sequence;
}
