/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a desired state, before anything of it is written. Pure. */
#include "abi/pick.h"
#include "dataplane/internal.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define DESIRED_SITE_BITS 12
#define DESIRED_SPAN_WORDS (EDGE_MAP_ADDRESSES / 2) /* of one site, so that it can be moved */

_Static_assert(EDGE_POOLS == EDGE_MAP_POOLS, "the program looks at as many pools");
_Static_assert(EDGE_PORT_RANGES == EDGE_MAP_PORTS, "a descriptor holds as many ports");
_Static_assert(EDGE_RING_PAGE == EDGE_MAP_PAGE_ENTRIES, "a page is a page");
_Static_assert(offsetof(struct edge_map_descriptor, key6) == 96, "a packet needs 128 bytes of it");
_Static_assert(sizeof(struct edge_map_descriptor) % 128 == 0, "which are two lines side by side");

/* The low 64 bits of the address; all of an IPv4 one. */
static uint64_t low_bits(const struct ip_address *address)
{
	const uint8_t *bytes = address->family == IP_V4 ? address->bytes : address->bytes + 8;
	uint64_t value = 0;
	for (unsigned i = 0; i < ip_family_bits(address->family) / 8 && i < 8; i++)
		value = value << 8 | bytes[i];
	return value;
}

const struct matched_pool *desired_locate(const struct matched_pool *pools, size_t count,
					  const struct ip_address *address, uint32_t *ret_site,
					  uint64_t *ret_slot)
{
	for (size_t i = 0; i < count; i++) {
		const struct matched_pool *pool = &pools[i];
		if (!pool->wanted || !ip_prefix_contains(&pool->prefix, address))
			continue;
		uint64_t low = low_bits(address);
		*ret_site = (uint32_t)(low >> pool->slot_bits & ((1u << pool->site_bits) - 1));
		*ret_slot = low & (((uint64_t)1 << pool->slot_bits) - 1);
		return pool;
	}
	return NULL;
}

static int check_pool(const struct edge_pool *pool, struct error *err)
{
	char text[IP_TEXT_BYTES];
	unsigned bits = ip_family_bits(pool->prefix.address.family);

	ip_prefix_format(&pool->prefix, text);
	if (pool->prefix.address.family == IP_NONE || pool->prefix.length > bits)
		return error_set(err, -FL_EINVALID, "a pool has no prefix");
	unsigned host_bits = bits - pool->prefix.length;
	if (host_bits > (bits == 32 ? 31u : 63u))
		return error_set(err, -FL_EINVALID,
				 "pool %s is too large for the edge; IPv6 pools are longer than "
				 "/64, IPv4 ones than /0",
				 text);
	if (pool->site_bits > host_bits || pool->site_bits > DESIRED_SITE_BITS)
		return error_set(
		    err, -FL_EINVALID, "pool %s cannot give %u bits to the site; at most %u", text,
		    pool->site_bits, host_bits < DESIRED_SITE_BITS ? host_bits : DESIRED_SITE_BITS);
	return 0;
}

static int check_pools(const struct edge_desired *desired, struct error *err)
{
	size_t counts[2] = {0};
	for (size_t i = 0; i < desired->pool_count; i++) {
		const struct edge_pool *pool = &desired->pools[i];
		char text[IP_TEXT_BYTES];
		char other[IP_TEXT_BYTES];
		int result = check_pool(pool, err);
		if (result < 0)
			return result;
		if (++counts[family_index(pool->prefix.address.family)] > EDGE_POOLS)
			return error_set(err, -FL_ELIMIT,
					 "the edge holds at most %d pools of each family",
					 EDGE_POOLS);
		for (size_t j = 0; j < i; j++) {
			if (!ip_prefix_overlaps(&pool->prefix, &desired->pools[j].prefix))
				continue;
			return error_set(err, -FL_EINVALID, "pools %s and %s overlap",
					 ip_prefix_format(&pool->prefix, text),
					 ip_prefix_format(&desired->pools[j].prefix, other));
		}
	}
	return 0;
}

static int check_ports(const struct edge_version *version, struct error *err)
{
	if (version->port_count == 0 || version->port_count > EDGE_PORT_RANGES)
		return error_set(err, -FL_ELIMIT,
				 "version %llu of '%s' has %zu port ranges; the edge takes 1 to %d",
				 (unsigned long long)version->number, version->service,
				 version->port_count, EDGE_PORT_RANGES);
	for (size_t i = 0; i < version->port_count; i++) {
		const struct edge_port *port = &version->ports[i];
		bool known =
		    port->protocol == IPPROTO_UDP || (port->protocol == IPPROTO_TCP && !port->quic);
		if (!known || port->low > port->high)
			return error_set(err, -FL_EINVALID,
					 "version %llu of '%s': port range %u-%u of protocol %u%s "
					 "is none the edge can serve",
					 (unsigned long long)version->number, version->service,
					 port->low, port->high, port->protocol,
					 port->quic ? " with QUIC" : "");
	}
	return 0;
}

static int check_ring(const struct edge_version *version, struct error *err)
{
	size_t length = version->ring_length;
	if (length == 0 || length % EDGE_RING_PAGE != 0 ||
	    length > (size_t)EDGE_RING_PAGE * EDGE_RING_PAGES)
		return error_set(err, -FL_EINVALID,
				 "version %llu of '%s': a ring of %zu entries; it takes a multiple "
				 "of %d, up to %d",
				 (unsigned long long)version->number, version->service, length,
				 EDGE_RING_PAGE, EDGE_RING_PAGE * EDGE_RING_PAGES);
	for (size_t i = 0; i < length; i++) {
		if (version->ring[i] < version->backend_count)
			continue;
		return error_set(err, -FL_EINVALID,
				 "version %llu of '%s': ring entry %zu names backend %u of %zu",
				 (unsigned long long)version->number, version->service, i,
				 version->ring[i], version->backend_count);
	}
	return 0;
}

static int check_backends(const struct edge *edge, const struct edge_version *version,
			  struct error *err)
{
	for (size_t i = 0; i < version->backend_count; i++) {
		const struct ip_address *address = &version->backends[i].address;
		const struct ip_address *source =
		    address->family == IP_V4 ? &edge->source_v4 : &edge->source_v6;
		char text[IP_TEXT_BYTES];
		if (address->family == IP_NONE)
			return error_set(err, -FL_EINVALID,
					 "version %llu of '%s': a backend has no address",
					 (unsigned long long)version->number, version->service);
		if (source->family == IP_NONE)
			return error_set(err, -FL_EINVALID,
					 "backend %s of '%s' cannot be reached: this edge has no "
					 "IPv%u source address; set one",
					 ip_address_format(address, text), version->service,
					 (unsigned)address->family);
	}
	return 0;
}

static int check_version(const struct edge *edge, const struct edge_version *version,
			 struct loaded_ring *likely, struct error *err)
{
	if (version->algorithm != PICK_SIPHASH13_5TUPLE && version->algorithm != PICK_MULTILINEAR)
		return error_set(
		    err, -FL_EUNSUPPORTED,
		    "version %llu of '%s' picks by algorithm %u, which this build does "
		    "not have; upgrade this node",
		    (unsigned long long)version->number, version->service, version->algorithm);
	int result = check_ports(version, err);
	if (result == 0)
		result = check_backends(edge, version, err);
	if (result == 0 && !rings_is_known(edge, version, likely))
		result = check_ring(version, err);
	return result;
}

static int check_binding(const struct edge_desired *desired, const struct edge_binding *binding,
			 struct error *err)
{
	char text[IP_TEXT_BYTES];
	for (size_t i = 0; i < desired->pool_count; i++) {
		const struct edge_pool *pool = &desired->pools[i];
		if (!ip_prefix_contains(&pool->prefix, &binding->address))
			continue;
		unsigned slot_bits =
		    ip_family_bits(binding->address.family) - pool->prefix.length - pool->site_bits;
		if ((low_bits(&binding->address) & (((uint64_t)1 << slot_bits) - 1)) <
		    DESIRED_SPAN_WORDS)
			return 0;
		return error_set(err, -FL_ELIMIT,
				 "service address %s: its slot is beyond the %u that the edge can "
				 "index; use lower slots",
				 ip_address_format(&binding->address, text), DESIRED_SPAN_WORDS);
	}
	return error_set(err, -FL_EINVALID, "service address %s is in none of the pools",
			 ip_address_format(&binding->address, text));
}

int desired_check(const struct edge *edge, const struct edge_desired *desired,
		  const struct bound *const *olds, struct error *err)
{
	const struct edge_version *checked = NULL;
	int result = check_pools(desired, err);
	for (size_t i = 0; i < desired->binding_count && result == 0; i++) {
		const struct edge_binding *binding = &desired->bindings[i];
		result = check_binding(desired, binding, err);
		/* Bindings of one version mostly come in a row; checking one twice does no harm. */
		if (result == 0 && binding->version != checked)
			result = check_version(edge, binding->version,
					       olds[i] ? olds[i]->ring : NULL, err);
		checked = binding->version;
	}
	return result;
}
