/* SPDX-License-Identifier: Apache-2.0 */
#include "config/plan.h"

#include "config/text.h"
#include "model/fabric.h"
#include "model/version.h"

#include <stdio.h>
#include <string.h>

/* Details grow in the arena; the first failure sticks. */
struct details {
	struct arena *arena;
	struct plan_detail *items;
	size_t count;
	size_t capacity;
	int status;
};

/* --- notes --- */

static void add_detail(struct details *details, struct plan_detail detail)
{
	if (details->status)
		return;
	if (details->count == details->capacity) {
		size_t capacity = details->capacity ? 2 * details->capacity : 8;
		struct plan_detail *items = arena_array(details->arena, capacity, sizeof(*items));
		if (!items) {
			details->status = -ENOMEM;
			return;
		}
		if (details->count)
			memcpy(items, details->items, details->count * sizeof(*items));
		details->items = items;
		details->capacity = capacity;
	}
	details->items[details->count++] = detail;
}

/* A copy in the arena of a text made on the stack. */
static const char *keep(struct details *details, const char *text)
{
	const char *copy = arena_strdup(details->arena, text);
	if (!copy) {
		details->status = -ENOMEM;
		return "";
	}
	return copy;
}

/* The text of a finished buffer, kept; the buffer is done with. */
static const char *keep_buffer(struct details *details, struct buffer *buffer)
{
	const char *copy = "";
	if (buffer->status)
		details->status = buffer->status;
	else
		copy = keep(details, buffer->data ? buffer->data : "");
	buffer_done(buffer);
	return copy;
}

static void note_added(struct details *details, const char *kind, const char *name,
		       const char *after)
{
	add_detail(details, (struct plan_detail){
				.sign = PLAN_ADD, .kind = kind, .name = name, .after = after});
}

/* The name is copied: what goes may be known from a version that was built for this plan only. */
static void note_removed(struct details *details, const char *kind, const char *name,
			 const char *before)
{
	add_detail(details, (struct plan_detail){.sign = PLAN_REMOVE,
						 .kind = kind,
						 .name = keep(details, name),
						 .before = before});
}

/* Note a change unless both sides say the same. */
static void note_change(struct details *details, const char *kind, const char *name,
			const char *attribute, const char *before, const char *after)
{
	if (strcmp(before, after) == 0)
		return;
	add_detail(details, (struct plan_detail){.sign = PLAN_CHANGE,
						 .kind = kind,
						 .name = name,
						 .attribute = attribute,
						 .before = keep(details, before),
						 .after = keep(details, after)});
}

static void note_duration(struct details *details, const char *kind, const char *attribute,
			  uint64_t before_ms, uint64_t after_ms)
{
	char before[TEXT_BYTES], after[TEXT_BYTES];
	note_change(details, kind, NULL, attribute, text_format_duration(before_ms, before),
		    text_format_duration(after_ms, after));
}

static void note_number(struct details *details, const char *kind, const char *name,
			const char *attribute, uint32_t before, uint32_t after)
{
	char before_text[TEXT_BYTES], after_text[TEXT_BYTES];
	snprintf(before_text, sizeof(before_text), "%u", before);
	snprintf(after_text, sizeof(after_text), "%u", after);
	note_change(details, kind, name, attribute, before_text, after_text);
}

/* --- the fabric's own parts --- */

static void compare_settings(struct details *details, const struct settings *before,
			     const struct settings *after)
{
	note_duration(details, "settings", "quiet", before->quiet_ms, after->quiet_ms);
	note_duration(details, "settings", "stale", before->stale_ms, after->stale_ms);
	note_duration(details, "settings", "quarantine", before->quarantine_ms,
		      after->quarantine_ms);
	note_duration(details, "settings", "report_interval", before->report_interval_ms,
		      after->report_interval_ms);
}

static const char *addresses_text(struct details *details, const struct nameserver *nameserver)
{
	struct buffer text;
	char address[IP_TEXT_BYTES];
	buffer_init(&text, 0);
	for (size_t i = 0; i < nameserver->address_count; i++)
		buffer_printf(&text, "%s%s", i ? ", " : "",
			      ip_address_format(&nameserver->addresses[i], address));
	return keep_buffer(details, &text);
}

static const struct nameserver *find_nameserver(const struct fabric *fabric, const char *name)
{
	for (size_t i = 0; i < fabric->nameserver_count; i++)
		if (strcmp(fabric->nameservers[i].name, name) == 0)
			return &fabric->nameservers[i];
	return NULL;
}

static void compare_nameservers(struct details *details, const struct fabric *before,
				const struct fabric *after)
{
	for (size_t i = 0; i < after->nameserver_count; i++) {
		const struct nameserver *now = &after->nameservers[i];
		const struct nameserver *was = find_nameserver(before, now->name);
		const char *addresses = addresses_text(details, now);
		if (was)
			note_change(details, "nameserver", now->name, "addresses",
				    addresses_text(details, was), addresses);
		else
			note_added(details, "nameserver", now->name, addresses);
	}
	for (size_t i = 0; i < before->nameserver_count; i++) {
		const struct nameserver *was = &before->nameservers[i];
		if (!find_nameserver(after, was->name))
			note_removed(details, "nameserver", was->name,
				     addresses_text(details, was));
	}
}

static const struct pool *find_pool(const struct fabric *fabric, const struct pool *wanted)
{
	for (size_t i = 0; i < fabric->pool_count; i++) {
		const struct ip_prefix *prefix = &fabric->pools[i].prefix;
		if (prefix->length == wanted->prefix.length &&
		    ip_address_equal(&prefix->address, &wanted->prefix.address))
			return &fabric->pools[i];
	}
	return NULL;
}

static const char *pool_text(struct details *details, const struct pool *pool)
{
	struct buffer text;
	buffer_init(&text, 0);
	buffer_printf(&text, "site_bits %u", pool->site_bits);
	if (pool->slots_per_service)
		buffer_printf(&text, ", slots_per_service %u", pool->slots_per_service);
	return keep_buffer(details, &text);
}

/* The pool that new versions take their addresses from: the first of its family. */
static const struct pool *first_pool(const struct fabric *fabric, enum ip_family family)
{
	for (size_t i = 0; i < fabric->pool_count; i++)
		if (fabric->pools[i].prefix.address.family == family)
			return &fabric->pools[i];
	return NULL;
}

static void compare_first_pools(struct details *details, const struct fabric *before,
				const struct fabric *after)
{
	static const struct {
		enum ip_family family;
		const char *name;
	} FAMILIES[] = {{IP_V4, "first of IPv4"}, {IP_V6, "first of IPv6"}};
	for (size_t i = 0; i < 2; i++) {
		char was_text[IP_TEXT_BYTES], now_text[IP_TEXT_BYTES];
		const struct pool *was = first_pool(before, FAMILIES[i].family);
		const struct pool *now = first_pool(after, FAMILIES[i].family);
		/* Where either pool is new or gone, that is said already. */
		if (was && now && find_pool(after, was) && find_pool(before, now))
			note_change(details, "pools", NULL, FAMILIES[i].name,
				    ip_prefix_format(&was->prefix, was_text),
				    ip_prefix_format(&now->prefix, now_text));
	}
}

static void compare_pools(struct details *details, const struct fabric *before,
			  const struct fabric *after)
{
	char prefix[IP_TEXT_BYTES];
	for (size_t i = 0; i < after->pool_count; i++) {
		const struct pool *now = &after->pools[i];
		const struct pool *was = find_pool(before, now);
		const char *name = keep(details, ip_prefix_format(&now->prefix, prefix));
		if (!was) {
			note_added(details, "pool", name, pool_text(details, now));
			continue;
		}
		note_number(details, "pool", name, "site_bits", was->site_bits, now->site_bits);
		note_number(details, "pool", name, "slots_per_service", was->slots_per_service,
			    now->slots_per_service);
	}
	for (size_t i = 0; i < before->pool_count; i++) {
		const struct pool *was = &before->pools[i];
		if (!find_pool(after, was))
			note_removed(details, "pool", ip_prefix_format(&was->prefix, prefix),
				     pool_text(details, was));
	}
	compare_first_pools(details, before, after);
}

#define LOCATION_BYTES ((size_t)2 * TEXT_BYTES)

/* `text` holds LOCATION_BYTES. */
static const char *location_text(const struct site *site, char *text)
{
	char latitude[TEXT_BYTES], longitude[TEXT_BYTES];
	if (!site->has_location)
		return "none";
	snprintf(text, LOCATION_BYTES, "%.60s, %.60s",
		 text_format_degrees(site->latitude, latitude),
		 text_format_degrees(site->longitude, longitude));
	return text;
}

static bool has_client(const struct site *site, const struct ip_prefix *client)
{
	for (size_t i = 0; i < site->client_count; i++)
		if (site->clients[i].length == client->length &&
		    ip_address_equal(&site->clients[i].address, &client->address))
			return true;
	return false;
}

static size_t count_missing(const struct site *in, const struct site *from)
{
	size_t count = 0;
	for (size_t i = 0; i < from->client_count; i++)
		count += !has_client(in, &from->clients[i]);
	return count;
}

static void compare_site(struct details *details, const struct site *was, const struct site *now)
{
	char before[LOCATION_BYTES], after[LOCATION_BYTES];
	note_change(details, "site", now->name, "location", location_text(was, before),
		    location_text(now, after));
	size_t added = count_missing(was, now), removed = count_missing(now, was);
	if (added || removed) {
		snprintf(before, sizeof(before), "%zu", was->client_count);
		snprintf(after, sizeof(after), "%zu (%zu added, %zu removed)", now->client_count,
			 added, removed);
		note_change(details, "site", now->name, "clients", before, after);
	}
}

static void compare_sites(struct details *details, const struct fabric *before,
			  const struct fabric *after)
{
	for (size_t i = 0; i < after->site_count; i++) {
		const struct site *was = fabric_site(before, after->sites[i].name);
		if (was)
			compare_site(details, was, &after->sites[i]);
		else
			note_added(details, "site", after->sites[i].name, NULL);
	}
	for (size_t i = 0; i < before->site_count; i++)
		if (!fabric_site(after, before->sites[i].name))
			note_removed(details, "site", before->sites[i].name, NULL);
}

static void compare_fabrics(struct details *details, const struct fabric *before,
			    const struct fabric *after)
{
	note_change(details, "fabric", NULL, NULL, before->name, after->name);
	note_change(details, "zone", NULL, NULL, before->zone, after->zone);
	compare_settings(details, &before->settings, &after->settings);
	compare_nameservers(details, before, after);
	compare_pools(details, before, after);
	compare_sites(details, before, after);
}

/* With nothing before, everything is an addition; settings go without saying. */
static void list_fabric(struct details *details, const struct fabric *fabric)
{
	static const struct fabric NOTHING;
	note_added(details, "fabric", fabric->name, NULL);
	note_added(details, "zone", fabric->zone, NULL);
	compare_nameservers(details, &NOTHING, fabric);
	compare_pools(details, &NOTHING, fabric);
	compare_sites(details, &NOTHING, fabric);
}

/* --- what a service's version holds --- */

/* The part of a service that a version fixes, from either of the two. */
struct content {
	const struct service_port *ports;
	size_t port_count;
	const struct backend *backends;
	size_t backend_count;
};

static struct content service_content(const struct service *service)
{
	return (struct content){service->ports, service->port_count, service->backends,
				service->backend_count};
}

static struct content version_content(const struct version *version)
{
	return (struct content){version->ports, version->port_count, version->backends,
				version->backend_count};
}

static bool has_port(const struct content *content, const struct service_port *port)
{
	for (size_t i = 0; i < content->port_count; i++) {
		const struct service_port *other = &content->ports[i];
		if (other->protocol == port->protocol && other->quic == port->quic &&
		    other->first == port->first && other->last == port->last)
			return true;
	}
	return false;
}

static void compare_ports(struct details *details, const struct content *before,
			  const struct content *after)
{
	char text[TEXT_BYTES];
	for (size_t i = 0; i < after->port_count; i++)
		if (!has_port(before, &after->ports[i]))
			note_added(details, "port",
				   keep(details, text_format_port(&after->ports[i], text)), NULL);
	for (size_t i = 0; i < before->port_count; i++)
		if (!has_port(after, &before->ports[i]))
			note_removed(details, "port",
				     keep(details, text_format_port(&before->ports[i], text)),
				     NULL);
}

static const struct backend *find_backend(const struct content *content, const char *name)
{
	for (size_t i = 0; i < content->backend_count; i++)
		if (strcmp(content->backends[i].name, name) == 0)
			return &content->backends[i];
	return NULL;
}

static const char *backend_text(struct details *details, const struct backend *backend)
{
	struct buffer text;
	char address[IP_TEXT_BYTES];
	buffer_init(&text, 0);
	buffer_printf(&text, "%s, %s, weight %u", backend->site,
		      ip_address_format(&backend->address, address), backend->weight);
	return keep_buffer(details, &text);
}

static bool has_listener(const struct backend *backend, const struct backend_listener *listener)
{
	for (size_t i = 0; i < backend->listener_count; i++) {
		const struct backend_listener *other = &backend->listeners[i];
		if (other->protocol == listener->protocol &&
		    other->service_port == listener->service_port &&
		    other->port == listener->port &&
		    ip_address_equal(&other->address, &listener->address))
			return true;
	}
	return false;
}

static bool listeners_equal(const struct backend *a, const struct backend *b)
{
	if (a->listener_count != b->listener_count)
		return false;
	for (size_t i = 0; i < a->listener_count; i++)
		if (!has_listener(b, &a->listeners[i]))
			return false;
	return true;
}

static const char *listeners_text(struct details *details, const struct backend *backend)
{
	struct buffer text;
	char endpoint[TEXT_BYTES];
	buffer_init(&text, 0);
	for (size_t i = 0; i < backend->listener_count; i++) {
		const struct backend_listener *listener = &backend->listeners[i];
		buffer_printf(&text, "%s%s/%u at %s", i ? ", " : "",
			      listener->protocol == SERVICE_TCP ? "tcp" : "udp",
			      listener->service_port,
			      text_format_endpoint(&listener->address, listener->port, endpoint));
	}
	if (backend->listener_count == 0)
		buffer_puts(&text, "on the service's ports");
	return keep_buffer(details, &text);
}

static void compare_backend(struct details *details, const struct backend *was,
			    const struct backend *now)
{
	char before[IP_TEXT_BYTES], after[IP_TEXT_BYTES];
	note_change(details, "backend", now->name, "site", was->site, now->site);
	note_change(details, "backend", now->name, "address",
		    ip_address_format(&was->address, before),
		    ip_address_format(&now->address, after));
	note_number(details, "backend", now->name, "weight", was->weight, now->weight);
	if (!listeners_equal(was, now))
		note_change(details, "backend", now->name, "listen", listeners_text(details, was),
			    listeners_text(details, now));
}

static void compare_content(struct details *details, const struct content *before,
			    const struct content *after)
{
	compare_ports(details, before, after);
	for (size_t i = 0; i < after->backend_count; i++) {
		const struct backend *now = &after->backends[i];
		if (!find_backend(before, now->name))
			note_added(details, "backend", now->name, backend_text(details, now));
	}
	for (size_t i = 0; i < before->backend_count; i++) {
		const struct backend *was = &before->backends[i];
		if (!find_backend(after, was->name))
			note_removed(details, "backend", was->name, backend_text(details, was));
	}
	for (size_t i = 0; i < after->backend_count; i++) {
		const struct backend *was = find_backend(before, after->backends[i].name);
		if (was)
			compare_backend(details, was, &after->backends[i]);
	}
}

/* --- what a service keeps beside its versions --- */

static const char *shares_text(struct details *details, const struct rollout_policy *rollout)
{
	struct buffer text;
	char share[TEXT_BYTES];
	buffer_init(&text, 0);
	for (size_t i = 0; i < rollout->share_count; i++)
		buffer_printf(&text, "%s%s", i ? ", " : "",
			      text_format_share(rollout->shares[i], share));
	return keep_buffer(details, &text);
}

static const char *health_text(struct details *details, const struct health_check *health)
{
	struct buffer text;
	char interval[TEXT_BYTES];
	if (health->kind == HEALTH_NONE)
		return "none";
	buffer_init(&text, 0);
	if (health->kind == HEALTH_HTTP)
		buffer_printf(&text, "http %u %s", health->port, health->path);
	else
		buffer_printf(&text, "tcp %u", health->port);
	buffer_printf(&text, " every %s, fall %u, rise %u",
		      text_format_duration(health->interval_ms, interval), health->fall,
		      health->rise);
	return keep_buffer(details, &text);
}

static const char *drain_limit_text(uint64_t limit_ms, char *text)
{
	return limit_ms ? text_format_duration(limit_ms, text) : "none";
}

static void compare_policies(struct details *details, const struct service *was,
			     const struct service *now)
{
	char before[TEXT_BYTES], after[TEXT_BYTES];
	note_duration(details, "ttl", NULL, was->ttl_seconds * 1000ull, now->ttl_seconds * 1000ull);
	note_change(details, "rollout", NULL, "shares", shares_text(details, &was->rollout),
		    shares_text(details, &now->rollout));
	note_duration(details, "rollout", "pause", was->rollout.pause_ms, now->rollout.pause_ms);
	note_change(details, "health", NULL, NULL, health_text(details, &was->health),
		    health_text(details, &now->health));
	note_change(details, "drain_limit", NULL, NULL,
		    drain_limit_text(was->drain_limit_ms, before),
		    drain_limit_text(now->drain_limit_ms, after));
}

/* --- services --- */

struct planner {
	const struct fabric *previous; /* NULL: none */
	const struct fabric *fabric;
	const struct plan_live_service *live;
	size_t live_count;
	struct arena *arena;
	struct error *err;
};

static const struct plan_live_service *find_live(const struct planner *planner, const char *name)
{
	for (size_t i = 0; i < planner->live_count; i++)
		if (strcmp(planner->live[i].name, name) == 0)
			return &planner->live[i];
	return NULL;
}

static uint32_t carried_ordinal(const struct version *version, const char *name)
{
	for (size_t i = 0; i < version->backend_count; i++)
		if (strcmp(version->backends[i].name, name) == 0)
			return (uint32_t)i;
	return RING_NONE;
}

/* Which sites' rings move, and how far, when `next` follows `current`. */
static int measure_moves(struct planner *planner, const struct version *current,
			 const struct version *next, struct plan_service *change)
{
	uint16_t carried[MODEL_MAX_BACKENDS];
	for (size_t i = 0; i < current->backend_count; i++)
		carried[i] = (uint16_t)carried_ordinal(next, current->backends[i].name);
	struct plan_move *moves = arena_array(planner->arena, next->ring_count, sizeof(*moves));
	if (!moves)
		return -ENOMEM;
	size_t count = 0;
	for (size_t i = 0; i < next->ring_count; i++) {
		const struct ring *was = version_ring(current, next->rings[i].site);
		const struct ring *now = &next->rings[i].ring;
		if (!was)
			continue;
		moves[count++] = (struct plan_move){
		    .site = arena_strdup(planner->arena, next->rings[i].site),
		    .moved = ring_moved(was, carried, current->backend_count, now),
		    .entries = now->length};
		if (!moves[count - 1].site)
			return -ENOMEM;
	}
	change->moves = moves;
	change->move_count = count;
	return 0;
}

static const char *site_list(struct details *details, const struct version *version)
{
	struct buffer text;
	buffer_init(&text, 0);
	for (size_t i = 0; i < version->ring_count; i++)
		buffer_printf(&text, "%s%s", i ? ", " : "", version->rings[i].site);
	return keep_buffer(details, &text);
}

/* `service` as its `current` version means it, and as the file does now. */
static int compare_version(struct planner *planner, const struct service *service,
			   const struct version *current, struct arena *scratch,
			   struct details *details, struct plan_service *change)
{
	if (version_matches(current, planner->fabric, service))
		return 0;
	struct content before = version_content(current), after = service_content(service);
	compare_content(details, &before, &after);

	/* Neither seed nor salt decides how many entries move, so a fixed seed gives the numbers
	 * that the real version will have. */
	struct random random;
	struct version *next;
	random_init_seeded(&random, 1);
	int result = version_build(planner->fabric, service, current->number + 1, current, &random,
				   scratch, &next, planner->err);
	if (result < 0)
		return result;
	note_change(details, "sites", NULL, NULL, site_list(details, current),
		    site_list(details, next));
	change->new_version = true;
	return measure_moves(planner, current, next, change);
}

/* The version that the previous file means, where the caller knows of no live one. */
static int assume_version(struct planner *planner, const struct service *service,
			  struct arena *scratch, struct version **ret_version)
{
	struct random random;
	random_init_seeded(&random, 1);
	return version_build(planner->previous, service, 1, NULL, &random, scratch, ret_version,
			     planner->err);
}

static int compare_service(struct planner *planner, const struct service *was,
			   const struct service *now, const struct plan_live_service *live,
			   struct details *details, struct plan_service *change)
{
	struct arena scratch;
	arena_init(&scratch, planner->arena->limit);
	const struct version *current = live ? live->current : NULL;
	int result = 0;
	if (!current && was) {
		struct version *assumed;
		result = assume_version(planner, was, &scratch, &assumed);
		if (result == 0)
			current = assumed;
	}
	if (result == 0 && current)
		result = compare_version(planner, now, current, &scratch, details, change);
	if (was)
		compare_policies(details, was, now);
	if (result == 0) {
		change->from_version = live && live->current ? live->current->number : 0;
		change->to_version =
		    change->new_version && live ? live->next_version : change->from_version;
	}
	arena_done(&scratch);
	return result;
}

static void list_service(struct details *details, const struct service *service)
{
	static const struct content NOTHING;
	struct content content = service_content(service);
	compare_content(details, &NOTHING, &content);
}

/* Fill `change`; it is of interest when it has a new version or a detail. */
static int plan_one(struct planner *planner, const struct service *now, struct plan_service *change)
{
	const struct service *was =
	    planner->previous ? fabric_service(planner->previous, now->name) : NULL;
	const struct plan_live_service *live = find_live(planner, now->name);
	struct details details = {.arena = planner->arena};
	*change = (struct plan_service){.sign = PLAN_CHANGE, .name = now->name};
	int result = 0;
	if (was || (live && live->current)) {
		result = compare_service(planner, was, now, live, &details, change);
	} else {
		list_service(&details, now);
		change->sign = PLAN_ADD;
		change->new_version = true;
		change->to_version = live && live->next_version ? live->next_version : 1;
	}
	change->details = details.items;
	change->detail_count = details.count;
	if (live) {
		change->versions = live->versions;
		change->version_count = live->version_count;
	}
	return result ? result : details.status;
}

static void plan_removal(struct planner *planner, const struct service *was,
			 struct plan_service *change)
{
	const struct plan_live_service *live = find_live(planner, was->name);
	*change = (struct plan_service){.sign = PLAN_REMOVE, .name = was->name};
	if (!live)
		return;
	change->from_version = live->current ? live->current->number : 0;
	change->versions = live->versions;
	change->version_count = live->version_count;
}

static int plan_services(struct planner *planner, struct plan *plan)
{
	const struct fabric *previous = planner->previous, *fabric = planner->fabric;
	size_t most = fabric->service_count + (previous ? previous->service_count : 0);
	struct plan_service *services = arena_array(planner->arena, most, sizeof(*services));
	if (!services)
		return -ENOMEM;
	size_t count = 0;
	for (size_t i = 0; i < fabric->service_count; i++) {
		struct plan_service *change = &services[count];
		int result = plan_one(planner, &fabric->services[i], change);
		if (result < 0)
			return result;
		if (change->new_version || change->detail_count > 0)
			count++;
	}
	for (size_t i = 0; previous && i < previous->service_count; i++)
		if (!fabric_service(fabric, previous->services[i].name))
			plan_removal(planner, &previous->services[i], &services[count++]);
	plan->services = services;
	plan->service_count = count;
	return 0;
}

int plan_build(const struct fabric *previous, const struct fabric *fabric,
	       const struct plan_live_service *live, size_t live_count, struct arena *arena,
	       struct plan **ret_plan, struct error *err)
{
	struct planner planner = {.previous = previous,
				  .fabric = fabric,
				  .live = live,
				  .live_count = live_count,
				  .arena = arena,
				  .err = err};
	struct details details = {.arena = arena};
	struct plan *plan = arena_alloc(arena, sizeof(*plan));
	if (!plan)
		return error_set(err, -ENOMEM, "no memory for the plan");
	if (previous)
		compare_fabrics(&details, previous, fabric);
	else
		list_fabric(&details, fabric);
	plan->details = details.items;
	plan->detail_count = details.count;
	int result = details.status ? details.status : plan_services(&planner, plan);
	if (result == -ENOMEM)
		return error_set(err, -ENOMEM, "no memory for the plan");
	if (result == 0)
		*ret_plan = plan;
	return result;
}

bool plan_is_empty(const struct plan *plan)
{
	return plan->detail_count == 0 && plan->service_count == 0;
}
