/* SPDX-License-Identifier: Apache-2.0 */
#include "model/version.h"

#include "base/search.h"

#include <stdlib.h>
#include <string.h>

static int backend_compare(const void *left, const void *right)
{
	const struct backend *a = left, *b = right;
	return strcmp(a->name, b->name);
}

static int site_compare(const void *left, const void *right)
{
	const struct version_ring *a = left, *b = right;
	return strcmp(a->site, b->site);
}

/* What makes a service impossible to build; the file's checks say the same with line and column. */
static int service_check(const struct service *service, struct error *err)
{
	if (service->backend_count > MODEL_MAX_BACKENDS)
		return error_set(err, -FL_EINVALID, "service %s has %zu backends; the limit is %d",
				 service->name, service->backend_count, MODEL_MAX_BACKENDS);
	uint64_t sum = 0;
	for (size_t i = 0; i < service->backend_count; i++)
		sum += service->backends[i].weight;
	if (!sum)
		return error_set(err, -FL_EINVALID,
				 "service %s has no backend that takes flows: give one a weight",
				 service->name);
	return 0;
}

static int backend_copy(const struct backend *from, struct arena *arena, struct backend *to)
{
	*to = *from;
	to->name = arena_strdup(arena, from->name);
	to->site = arena_strdup(arena, from->site);
	to->listeners = arena_array(arena, from->listener_count, sizeof(from->listeners[0]));
	if (!to->name || !to->site || !to->listeners)
		return -ENOMEM;
	if (from->listener_count)
		memcpy(to->listeners, from->listeners,
		       from->listener_count * sizeof(from->listeners[0]));
	return 0;
}

/* Copy the backends and sort them by name. */
static int copy_backends(struct version *version, const struct service *service,
			 struct arena *arena, struct error *err)
{
	size_t count = service->backend_count;
	version->backends = arena_array(arena, count, sizeof(version->backends[0]));
	if (!version->backends)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		int result = backend_copy(&service->backends[i], arena, &version->backends[i]);
		if (result < 0)
			return result;
	}
	version->backend_count = count;
	qsort(version->backends, count, sizeof(version->backends[0]), backend_compare);
	for (size_t i = 1; i < count; i++) {
		if (!backend_compare(&version->backends[i - 1], &version->backends[i]))
			return error_set(err, -FL_EINVALID,
					 "service %s has two backends named %s: rename one",
					 service->name, version->backends[i].name);
	}
	return 0;
}

/* Weights at one site: of its own backends, or of all when the site has none that takes flows. */
static void site_weights(const struct version *version, const char *site, uint32_t *ret_weights)
{
	bool has_own = false;
	for (size_t i = 0; i < version->backend_count; i++) {
		const struct backend *backend = &version->backends[i];
		bool is_own = !strcmp(backend->site, site);
		ret_weights[i] = is_own ? backend->weight : 0;
		has_own |= ret_weights[i] != 0;
	}
	for (size_t i = 0; !has_own && i < version->backend_count; i++)
		ret_weights[i] = version->backends[i].weight;
}

void version_carry_ordinals(const struct version *previous, const struct version *version,
			    uint16_t *ret_carried)
{
	for (size_t i = 0; i < previous->backend_count; i++) {
		const struct backend *found =
		    bsearch(&previous->backends[i], version->backends, version->backend_count,
			    sizeof(version->backends[0]), backend_compare);
		ret_carried[i] = found ? (uint16_t)(found - version->backends) : RING_NONE;
	}
}

static int build_ring(struct version *version, const struct version *previous,
		      const uint16_t *carried, struct arena *arena, struct version_ring *ring)
{
	uint32_t weights[MODEL_MAX_BACKENDS];
	site_weights(version, ring->site, weights);
	ring->ring.length = ring_length_for(weights, version->backend_count);
	ring->ring.entries = arena_array(arena, ring->ring.length, sizeof(uint16_t));
	if (!ring->ring.entries)
		return -ENOMEM;
	return ring_build(weights, version->backend_count, version->seed,
			  previous ? version_ring(previous, ring->site) : NULL, carried,
			  previous ? previous->backend_count : 0, &ring->ring);
}

static int build_rings(struct version *version, const struct fabric *fabric,
		       const struct version *previous, struct arena *arena)
{
	uint16_t carried[MODEL_MAX_BACKENDS];
	if (previous)
		version_carry_ordinals(previous, version, carried);
	version->rings = arena_array(arena, fabric->site_count, sizeof(version->rings[0]));
	if (!version->rings)
		return -ENOMEM;
	version->ring_count = fabric->site_count;
	for (size_t i = 0; i < fabric->site_count; i++) {
		version->rings[i].site = arena_strdup(arena, fabric->sites[i].name);
		if (!version->rings[i].site)
			return -ENOMEM;
	}
	qsort(version->rings, version->ring_count, sizeof(version->rings[0]), site_compare);
	for (size_t i = 0; i < version->ring_count; i++) {
		int result = build_ring(version, previous, carried, arena, &version->rings[i]);
		if (result < 0)
			return result;
	}
	return 0;
}

int version_build(const struct fabric *fabric, const struct service *service, uint32_t number,
		  const struct version *previous, struct random *random, struct arena *arena,
		  struct version **ret_version, struct error *err)
{
	int result = service_check(service, err);
	if (result < 0)
		return result;

	struct version *version = arena_alloc(arena, sizeof(*version));
	if (!version)
		goto no_memory;
	version->number = number;
	version->algorithm = VERSION_MULTILINEAR;
	version->balance_by = service->balance_by;
	version->service = arena_strdup(arena, service->name);
	if (!version->service)
		goto no_memory;
	if (previous && previous->balance_by == BALANCE_SOURCE &&
	    version->balance_by == BALANCE_SOURCE)
		memcpy(version->seed, previous->seed, sizeof(version->seed));
	else
		random_fill(random, version->seed, sizeof(version->seed));
	memcpy(version->ports, service->ports, service->port_count * sizeof(service->ports[0]));
	version->port_count = service->port_count;
	if (previous)
		version->base = previous->digest;

	result = copy_backends(version, service, arena, err);
	if (!result)
		result = build_rings(version, fabric, previous, arena);
	if (!result)
		result = version_digest(version, &version->digest);
	if (result == -ENOMEM)
		goto no_memory;
	if (result < 0)
		return result;
	*ret_version = version;
	return 0;

no_memory:
	return error_set(err, -ENOMEM, "no memory to build version %u of service %s", number,
			 service->name);
}

static bool listener_equal(const struct backend_listener *a, const struct backend_listener *b)
{
	return a->protocol == b->protocol && a->service_port == b->service_port &&
	       ip_address_equal(&a->address, &b->address) && a->port == b->port;
}

static bool listeners_match(const struct backend *a, const struct backend *b)
{
	if (a->listener_count != b->listener_count)
		return false;
	for (size_t i = 0; i < a->listener_count; i++) {
		bool found = false;
		for (size_t j = 0; j < b->listener_count; j++)
			found |= listener_equal(&a->listeners[i], &b->listeners[j]);
		if (!found)
			return false;
	}
	return true;
}

static bool port_equal(const struct service_port *a, const struct service_port *b)
{
	return a->protocol == b->protocol && a->quic == b->quic && a->first == b->first &&
	       a->last == b->last;
}

static bool ports_match(const struct version *version, const struct service *service)
{
	if (version->port_count != service->port_count)
		return false;
	for (size_t i = 0; i < version->port_count; i++) {
		bool found = false;
		for (size_t j = 0; j < service->port_count; j++)
			found |= port_equal(&version->ports[i], &service->ports[j]);
		if (!found)
			return false;
	}
	return true;
}

static bool backends_match(const struct version *version, const struct service *service)
{
	if (version->backend_count != service->backend_count)
		return false;
	for (size_t i = 0; i < version->backend_count; i++) {
		const struct backend *is = &version->backends[i];
		const struct backend *wanted = service_backend(service, is->name);
		if (!wanted || strcmp(is->site, wanted->site) != 0 ||
		    is->weight != wanted->weight || is->no_landing != wanted->no_landing ||
		    !ip_address_equal(&is->address, &wanted->address) ||
		    !listeners_match(is, wanted))
			return false;
	}
	return true;
}

bool version_matches(const struct version *version, const struct fabric *fabric,
		     const struct service *service)
{
	if (strcmp(version->service, service->name) != 0 ||
	    version->balance_by != service->balance_by || version->ring_count != fabric->site_count)
		return false;
	for (size_t i = 0; i < version->ring_count; i++) {
		if (!fabric_site(fabric, version->rings[i].site))
			return false;
	}
	return ports_match(version, service) && backends_match(version, service);
}

static int compare_backend(const void *backends, size_t place, const void *name)
{
	const struct backend *list = backends;
	return strcmp(list[place].name, name);
}

const struct backend *version_backend(const struct version *version, const char *name)
{
	bool found;
	size_t at =
	    search_place(version->backends, version->backend_count, name, compare_backend, &found);
	return found ? &version->backends[at] : NULL;
}

const struct ring *version_ring(const struct version *version, const char *site)
{
	for (size_t i = 0; i < version->ring_count; i++) {
		if (!strcmp(version->rings[i].site, site))
			return &version->rings[i].ring;
	}
	return NULL;
}
