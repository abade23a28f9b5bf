/* SPDX-License-Identifier: Apache-2.0 */
#include "config/check.h"

#include "base/arena.h"
#include "base/text.h"
#include "config/port.h"
#include "model/fabric.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- pools --- */

static unsigned host_bits(const struct pool *pool)
{
	return ip_family_bits(pool->prefix.address.family) - pool->prefix.length;
}

/* Bits that number `count` things. */
static unsigned bits_for(size_t count)
{
	unsigned bits = 0;
	while (((size_t)1 << bits) < count)
		bits++;
	return bits;
}

static void check_pool_shape(struct config_check *check, const struct yaml_node *node,
			     const struct pool *pool)
{
	const struct fabric *fabric = check->fabric;
	unsigned bits = host_bits(pool), needed = bits_for(fabric->site_count);
	struct note_span site_bits = check_place(node, "site_bits");
	if (pool->site_bits >= bits) {
		notes_error(check->notes, site_bits, "%u site bits leave no bit for slots in a /%u",
			    pool->site_bits, pool->prefix.length);
		notes_advise(check->notes, "the pool has %u bits for sites and slots together",
			     bits);
		return;
	}
	if (pool->site_bits < needed) {
		notes_error(check->notes, site_bits,
			    "%u site bits cannot number the %zu sites of the fabric",
			    pool->site_bits, fabric->site_count);
		notes_advise(check->notes, "write `site_bits: %u` or more", needed);
		return;
	}

	uint32_t slots = pool_slot_count(pool);
	uint64_t wanted = 2 * (uint64_t)fabric->service_count;
	uint64_t blocks = (uint64_t)pool->slots_per_service * fabric->service_count;
	if (pool->slots_per_service == 1) {
		notes_error(check->notes, check_place(node, "slots_per_service"),
			    "one slot per service is too few");
		notes_advise(check->notes, "a service needs one slot for its version and one for "
					   "the next");
	} else if (pool->slots_per_service > slots) {
		notes_error(check->notes, check_place(node, "slots_per_service"),
			    "the pool has only %u slots at each site", slots);
		notes_advise(check->notes,
			     "write at most %u, or leave slots_per_service out to share the slots",
			     slots);
	} else if (blocks > slots) {
		notes_error(check->notes, check_place(node, "slots_per_service"),
			    "%zu services of %u slots need %" PRIu64 " slots, and the pool has %u "
			    "at each site",
			    fabric->service_count, pool->slots_per_service, blocks, slots);
		notes_advise(check->notes,
			     "use a larger prefix or fewer site bits, or write at most %zu",
			     slots / fabric->service_count);
	} else if (wanted > slots) {
		notes_error(check->notes, check_place(node, "prefix"),
			    "%zu services need %" PRIu64 " slots, and the pool has %u at each site",
			    fabric->service_count, wanted, slots);
		notes_advise(check->notes, "every service needs one slot for its version and one "
					   "for the next; use a larger prefix or fewer site bits");
	}
}

static void check_pool_address(struct config_check *check, const struct yaml_node *node,
			       const struct pool *pool)
{
	char text[IP_TEXT_BYTES];
	const char *fault = text_check_unicast(&pool->prefix.address);
	if (!fault)
		return;
	notes_error(check->notes, check_place(node, "prefix"), "%s cannot be a pool",
		    ip_prefix_format(&pool->prefix, text));
	notes_advise(check->notes, "%s", fault);
}

static void check_pool_neighbours(struct config_check *check, const struct yaml_node *node,
				  size_t index)
{
	const struct pool *pools = check->fabric->pools;
	const struct pool *pool = &pools[index];
	char text[IP_TEXT_BYTES];
	for (size_t i = 0; i < index; i++) {
		if (!ip_prefix_overlaps(&pools[i].prefix, &pool->prefix))
			continue;
		notes_error(check->notes, check_place(node, "prefix"),
			    "this pool overlaps the pool %s",
			    ip_prefix_format(&pools[i].prefix, text));
		notes_advise(check->notes, "an address belongs to one pool only");
		return;
	}
	for (size_t i = 0; i < index; i++) {
		if (pools[i].prefix.address.family != pool->prefix.address.family)
			continue;
		notes_warning(check->notes, check_place(node, "prefix"),
			      "new versions take their addresses from the first IPv%u pool, %s",
			      pool->prefix.address.family,
			      ip_prefix_format(&pools[i].prefix, text));
		notes_advise(check->notes, "this pool only keeps the addresses that it already "
					   "gave");
		return;
	}
}

static void check_pools(struct config_check *check, const struct yaml_node *list)
{
	size_t i = 0;
	for (const struct yaml_node *node = list->first; node; node = node->next, i++) {
		const struct pool *pool = &check->fabric->pools[i];
		check->has_family[pool->prefix.address.family] = true;
		check_pool_address(check, node, pool);
		check_pool_shape(check, node, pool);
		check_pool_neighbours(check, node, i);
	}
}

/* --- sites --- */

/* A client prefix, whose it is and where it stands. */
struct claim {
	const struct ip_prefix *prefix;
	const char *site;
	const struct yaml_node *node;
};

static int compare_claims(const void *a, const void *b)
{
	const struct claim *left = a, *right = b;
	int order = ip_address_compare(&left->prefix->address, &right->prefix->address);
	if (order)
		return order;
	if (left->prefix->length != right->prefix->length)
		return left->prefix->length < right->prefix->length ? -1 : 1;
	return left->node->span.start < right->node->span.start ? -1 : 1;
}

static struct claim *collect_claims(struct config_check *check, const struct yaml_node *map,
				    size_t *ret_count)
{
	size_t total = 0, count = 0, i = 0;
	for (size_t site = 0; site < check->fabric->site_count; site++)
		total += check->fabric->sites[site].client_count;
	struct claim *claims = arena_array(check->scratch, total, sizeof(*claims));
	if (!claims) {
		check->notes->status = -ENOMEM;
		return NULL;
	}
	for (const struct yaml_node *node = map->first; node; node = node->next, i++) {
		const struct site *site = &check->fabric->sites[i];
		const struct yaml_node *clients = yaml_get(node, "clients");
		const struct yaml_node *item = clients ? clients->first : NULL;
		for (size_t client = 0; item; item = item->next, client++)
			claims[count++] = (struct claim){&site->clients[client], site->name, item};
	}
	*ret_count = count;
	return claims;
}

/*
 * Sorted by address and then length, every prefix comes right behind those that contain it. `open`
 * is the chain of prefixes around the present one; all of a chain belong to one site, or the
 * overlap was reported already, so only its innermost has to be compared.
 */
static void check_clients(struct config_check *check, const struct yaml_node *map)
{
	size_t count = 0, depth = 0;
	struct claim *claims = collect_claims(check, map, &count);
	if (!claims)
		return;
	qsort(claims, count, sizeof(*claims), compare_claims);
	const struct claim *open[129 + 1]; /* lengths 0…128, and equals replace each other */
	for (size_t i = 0; i < count; i++) {
		const struct claim *claim = &claims[i];
		while (depth > 0 &&
		       !ip_prefix_contains(open[depth - 1]->prefix, &claim->prefix->address))
			depth--;
		if (depth > 0 && strcmp(open[depth - 1]->site, claim->site) != 0) {
			char text[IP_TEXT_BYTES];
			notes_error(check->notes, claim->node->span,
				    "these clients of site %s overlap %s of site %s", claim->site,
				    ip_prefix_format(open[depth - 1]->prefix, text),
				    open[depth - 1]->site);
			notes_advise(
			    check->notes, "the other is in line %u; a client belongs to one site",
			    notes_other_line(check->notes, open[depth - 1]->node->span.start));
		}
		if (depth > 0 && open[depth - 1]->prefix->length == claim->prefix->length)
			depth--;
		open[depth++] = claim;
	}
}

/* --- services --- */

static bool ports_overlap(const struct service_port *a, const struct service_port *b)
{
	return a->protocol == b->protocol && a->first <= b->last && b->first <= a->last;
}

static void check_ports(struct config_check *check, const struct yaml_node *node,
			const struct service *service)
{
	const struct yaml_node *item = yaml_get(node, "ports")->first;
	for (size_t i = 0; item; item = item->next, i++) {
		for (size_t j = 0; j < i; j++) {
			char text[TEXT_BYTES];
			if (!ports_overlap(&service->ports[i], &service->ports[j]))
				continue;
			notes_error(check->notes, item->span, "%s overlaps %s", item->text,
				    port_format(&service->ports[j], text));
			notes_advise(check->notes, "QUIC is UDP; each port is written once");
			break;
		}
	}
}

static void check_rollout(struct config_check *check, const struct yaml_node *node,
			  const struct service *service)
{
	const struct rollout_policy *rollout = &service->rollout;
	const struct yaml_node *shares = yaml_get(yaml_get(node, "rollout"), "shares");
	const struct yaml_node *item = shares ? shares->first : NULL;
	for (size_t i = 0; item; item = item->next, i++) {
		if (i > 0 && rollout->shares[i] <= rollout->shares[i - 1]) {
			notes_error(check->notes, item->span,
				    "the shares must rise, and %s does not", item->text);
			notes_advise(check->notes,
				     "each step adds clients to those that already moved");
		} else if (!item->next && rollout->shares[i] != SHARE_WHOLE) {
			notes_error(check->notes, item->span, "the last share must be 100%%");
			notes_advise(check->notes, "a rollout ends with all clients; `fairlead "
						   "rollout pause` holds it before");
		}
	}
}

static void check_ttl(struct config_check *check, const struct yaml_node *node,
		      const struct service *service)
{
	uint64_t stale_ms = check->fabric->settings.stale_ms;
	char stale[TEXT_BYTES], ttl[TEXT_BYTES];
	if ((uint64_t)service->ttl_seconds * 1000 <= stale_ms)
		return;
	notes_warning(check->notes, check_place(node, "ttl"),
		      "clients may keep an address for %s, and `stale` waits only %s",
		      text_format_duration((uint64_t)service->ttl_seconds * 1000, ttl),
		      text_format_duration(stale_ms, stale));
	notes_advise(check->notes, "a stale time of several TTLs spares late flows");
}

static const struct service_port *port_of(const struct service *service,
					  const struct backend_listener *listener)
{
	for (size_t i = 0; i < service->port_count; i++) {
		const struct service_port *port = &service->ports[i];
		if (port->protocol == listener->protocol && port->first <= listener->service_port &&
		    listener->service_port <= port->last)
			return port;
	}
	return NULL;
}

/* The listeners of one key of `listen`, of which `listeners` is the first. A port has one key: it
 * is either `udp/443` or `quic/443`, as the service says. */
static void check_listener(struct config_check *check, const struct yaml_node *node,
			   const struct service *service, const struct backend_listener *listeners)
{
	size_t count = node->kind == YAML_LIST ? node->count : 1;
	const struct yaml_node *item = node->kind == YAML_LIST ? node->first : node;
	const struct service_port *port = port_of(service, listeners);
	bool is_quic = strncmp(node->key->text, "quic/", 5) == 0;
	if (!port || port->quic != is_quic) {
		notes_error(check->notes, node->key->span, "the service has no port %s",
			    node->key->text);
		notes_advise(check->notes, "listen maps a port of the service to where the "
					   "instance really listens");
		return;
	}
	bool reached[IP_V6 + 1] = {false}, is_unreachable = false;
	for (size_t i = 0; i < count; i++, item = item->next) {
		uint8_t family = listeners[i].address.family;
		if (family != IP_NONE && !check->has_family[family]) {
			is_unreachable = true;
			notes_error(check->notes, item->span,
				    "no pool is IPv%u, so no flow can reach this listener", family);
			notes_advise(check->notes, "write an address of the pools' family, or "
						   "\":PORT\" for any");
		}
		if (reached[family] || reached[IP_NONE] || (family == IP_NONE && i > 0)) {
			notes_error(check->notes, item->span,
				    "another listener already takes these flows of %s",
				    node->key->text);
			notes_advise(check->notes, "write one listener per address family");
		}
		reached[family] = true;
	}
	for (unsigned family = IP_V4; family <= IP_V6; family += IP_V6 - IP_V4) {
		if (is_unreachable || reached[IP_NONE] || reached[family] ||
		    !check->has_family[family])
			continue;
		notes_warning(check->notes, node->key->span,
			      "only IPv%u flows of %s reach this listener; IPv%u flows go to "
			      "whatever listens on that port",
			      family == IP_V4 ? 6 : 4, node->key->text, family);
		notes_advise(check->notes,
			     "write one of each family: [\"127.0.0.1:8080\", \"[::1]:8080\"]");
	}
}

static void check_listen(struct config_check *check, const struct yaml_node *node,
			 const struct service *service, const struct backend *backend)
{
	const struct yaml_node *listen = yaml_get(node, "listen");
	const struct backend_listener *listener = backend->listeners;
	const struct yaml_node *value = listen ? listen->first : NULL;
	for (; value; value = value->next) {
		check_listener(check, value, service, listener);
		listener += value->kind == YAML_LIST ? value->count : 1;
	}
}

static const char *nearest_site(const struct fabric *fabric, const char *name)
{
	const char *nearest = NULL;
	size_t least = strlen(name) / 3 + 2;
	for (size_t i = 0; i < fabric->site_count; i++) {
		size_t distance = text_distance(name, fabric->sites[i].name);
		if (distance < least) {
			least = distance;
			nearest = fabric->sites[i].name;
		}
	}
	return nearest;
}

static void check_backend_site(struct config_check *check, const struct yaml_node *node,
			       const struct backend *backend)
{
	if (fabric_site(check->fabric, backend->site))
		return;
	notes_error(check->notes, check_place(node, "site"), "there is no site `%s`",
		    backend->site);
	const char *nearest = nearest_site(check->fabric, backend->site);
	if (nearest)
		notes_advise(check->notes, "did you mean `%s`?", nearest);
	else
		notes_advise(check->notes, "add it under `sites`");
}

static void check_backend(struct config_check *check, const struct yaml_node *node,
			  const struct service *service, size_t index)
{
	const struct backend *backend = &service->backends[index];
	char text[IP_TEXT_BYTES];
	check_backend_site(check, node, backend);
	const struct pool *pool = check_pool_around(check, &backend->address);
	if (pool) {
		notes_error(check->notes, check_place(node, "address"),
			    "the address of a backend must not lie in the pool %s",
			    ip_prefix_format(&pool->prefix, text));
		notes_advise(check->notes, "write the machine's own address: the tunnel ends "
					   "there, and the pool's addresses lead into the tunnel");
	}
	for (size_t i = 0; i < index; i++) {
		const struct backend *other = &service->backends[i];
		if (strcmp(other->name, backend->name) == 0) {
			notes_error(check->notes, check_place(node, "name"),
				    "the service already has a backend `%s`", backend->name);
			notes_advise(check->notes, "names tell backends apart; choose another");
			break;
		}
		if (ip_address_equal(&other->address, &backend->address)) {
			notes_error(check->notes, check_place(node, "address"),
				    "the backend `%s` already has this address", other->name);
			notes_advise(check->notes, "to send it more flows, raise its weight");
			break;
		}
	}
	check_listen(check, node, service, backend);
}

static void check_backends(struct config_check *check, const struct yaml_node *node,
			   const struct service *service)
{
	uint64_t weights = 0;
	size_t i = 0;
	const struct yaml_node *list = yaml_get(node, "backends");
	for (const struct yaml_node *item = list->first; item; item = item->next, i++) {
		weights += service->backends[i].weight;
		check_backend(check, item, service, i);
	}
	if (weights == 0) {
		notes_error(check->notes, list->key->span,
			    "the weights of all backends of `%s` are 0", service->name);
		notes_advise(check->notes, "give at least one backend a weight above 0");
	}
}

static void check_service(struct config_check *check, const struct yaml_node *node,
			  const struct service *service)
{
	if (check_name_in_zone(check, node->key)) {
		for (size_t i = 0; i < check->fabric->nameserver_count; i++) {
			if (strcmp(check->fabric->nameservers[i].name, service->name) != 0)
				continue;
			notes_error(check->notes, node->key->span,
				    "`%s` is the name of a name server already", service->name);
			notes_advise(check->notes, "one name has one meaning; choose another");
		}
	}
	check_ports(check, node, service);
	check_rollout(check, node, service);
	check_ttl(check, node, service);
	check_backends(check, node, service);
}

void check_fabric(struct notes *notes, const struct yaml_node *root, const struct fabric *fabric,
		  struct arena *scratch)
{
	struct config_check check = {.notes = notes, .fabric = fabric, .scratch = scratch};
	check_pools(&check, yaml_get(root, "pools"));
	check_clients(&check, yaml_get(root, "sites"));
	check_names(&check, root);
	check_records(&check, root);
	const struct yaml_node *services = yaml_get(root, "services");
	const struct yaml_node *node = services ? services->first : NULL;
	for (size_t i = 0; node; node = node->next, i++)
		check_service(&check, node, &fabric->services[i]);
}
