/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/names_plane.h"

#include "base/arena.h"
#include "base/error.h"
#include "base/search.h"
#include "state/config_records.h"
#include "state/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ZONE_TTL_S 300u
#define NEGATIVE_TTL_S 5u /* a name that is added should be found soon */
#define REFRESH_S 3600u
#define RETRY_S 600u
#define EXPIRE_S 604800u
#define UNREAD_TTL_S 30u /* where the service's configuration cannot be read here */

#define OPEN_AGAIN_MS 1000u

struct names_plane {
	struct naming_server *server; /* owned; NULL until it could be opened */
	const struct daemon_options *options;
	unsigned tcp_connections; /* of each thread, at most */
	uint64_t tried_ms; /* when it was last tried to open it */
	struct alarm alarm; /* why it could not; ended when it is open */
	const char *site;
	const char *node;
	struct ip_address *addresses; /* owned; where it listens, without wildcards */
	size_t address_count;
	uint64_t revision; /* of the image that the snapshot in force shows, */
	uint64_t sequence; /* and its ledger's entry */
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

int names_plane_new(const struct daemon_options *options, unsigned tcp_connections,
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
	if (result < 0)
		(void)ALARM_SET(&plane->alarm, now_ms, DNS_FAILED, "", err->text);
	else
		alarm_end(&plane->alarm);
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
	free(plane->addresses);
	free(plane);
}

/* --- image → input --- */

struct draft {
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
static int draft_service(const struct names_plane *plane, struct draft *draft,
			 const struct image *image, const struct image_service *known,
			 uint32_t ttl_s)
{
	struct naming_service *names = &draft->services[draft->input.service_count++];
	struct naming_share *shares = arena_array(&draft->arena, 2, sizeof(*shares));
	if (!shares)
		return -ENOMEM;
	*names = (struct naming_service){.name = known->name, .ttl_s = ttl_s, .shares = shares};
	if (!known->state || known->state->removed)
		return 0;

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

static int draft_all(const struct names_plane *plane, struct draft *draft,
		     const struct image *image)
{
	const struct fabric *fabric = image->fabric;
	draft->services =
	    arena_array(&draft->arena, image->service_count + 1, sizeof(*draft->services));
	const char *contact = arena_printf(&draft->arena, "hostmaster.%s", fabric->zone);
	if (!draft->services || !contact)
		return -ENOMEM;
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
	for (size_t i = 0; i < image->service_count && result == 0; i++) {
		const struct image_service *service = image->services[i];
		if (service->configured)
			result = draft_service(plane, draft, image, service,
					       service->configured->ttl_seconds);
		else if (service->state && service->unread & IMAGE_UNREAD_CONFIG)
			result = draft_service(plane, draft, image, service, UNREAD_TTL_S);
	}
	return result;
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
	struct draft draft = {0};
	arena_init(&draft.arena, 0);
	int result = draft_all(plane, &draft, image);
	struct naming_snapshot *snapshot = NULL;
	if (result == -ENOMEM)
		error_set(err, result, "out of memory");
	if (result == 0)
		result = naming_snapshot_build(&draft.input, &snapshot, err);
	if (snapshot) {
		naming_server_swap(plane->server, snapshot);
		plane->answers = true;
		plane->revision = image->revision;
		plane->sequence = image->head.sequence;
		result = 1;
	}
	arena_done(&draft.arena);
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

bool names_plane_answers(const struct names_plane *plane)
{
	return plane->answers;
}

uint32_t names_plane_serial(const struct names_plane *plane)
{
	return (uint32_t)plane->sequence;
}
