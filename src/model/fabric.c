/* SPDX-License-Identifier: Apache-2.0 */
#include "model/fabric.h"

#include "base/error.h"
#include "base/search.h"

#include <stdlib.h>
#include <string.h>

/* More slots than any site's first-level table would hold; see pool_slot_count(). */
#define MAX_SLOT_BITS 20u

static int compare_places(const void *a, const void *b, void *context)
{
	const struct fabric *fabric = context;
	return strcmp(fabric->services[*(const uint32_t *)a].name,
		      fabric->services[*(const uint32_t *)b].name);
}

int fabric_index(struct fabric *fabric, struct arena *arena)
{
	uint32_t *by_name = arena_array(arena, fabric->service_count + 1, sizeof(*by_name));
	if (!by_name)
		return -ENOMEM;
	for (uint32_t i = 0; i < fabric->service_count; i++)
		by_name[i] = i;
	qsort_r(by_name, fabric->service_count, sizeof(*by_name), compare_places, fabric);
	fabric->by_name = by_name;
	return 0;
}

static int compare_name(const void *fabric_, size_t place, const void *name)
{
	const struct fabric *fabric = fabric_;
	return strcmp(fabric->services[fabric->by_name[place]].name, name);
}

const struct service *fabric_service(const struct fabric *fabric, const char *name)
{
	if (fabric->by_name) {
		bool found;
		size_t place =
		    search_place(fabric, fabric->service_count, name, compare_name, &found);
		return found ? &fabric->services[fabric->by_name[place]] : NULL;
	}
	for (size_t i = 0; i < fabric->service_count; i++) {
		if (!strcmp(fabric->services[i].name, name))
			return &fabric->services[i];
	}
	return NULL;
}

const struct site *fabric_site(const struct fabric *fabric, const char *name)
{
	for (size_t i = 0; i < fabric->site_count; i++) {
		if (!strcmp(fabric->sites[i].name, name))
			return &fabric->sites[i];
	}
	return NULL;
}

const struct backend *service_backend(const struct service *service, const char *name)
{
	for (size_t i = 0; i < service->backend_count; i++) {
		if (!strcmp(service->backends[i].name, name))
			return &service->backends[i];
	}
	return NULL;
}

static unsigned pool_host_bits(const struct pool *pool)
{
	return ip_family_bits(pool->prefix.address.family) - pool->prefix.length;
}

/* Where the site number begins: directly below the prefix, so that each site's slice of the pool
 * is a prefix that routing can announce. */
static unsigned pool_site_shift(const struct pool *pool)
{
	ASSERT(pool->site_bits <= pool_host_bits(pool));
	return pool_host_bits(pool) - pool->site_bits;
}

uint32_t pool_site_count(const struct pool *pool)
{
	return pool->site_bits < 32 ? UINT32_C(1) << pool->site_bits : UINT32_MAX;
}

uint32_t pool_slot_count(const struct pool *pool)
{
	if (pool->site_bits > pool_host_bits(pool))
		return 0;
	unsigned bits = pool_site_shift(pool);
	return UINT32_C(1) << (bits < MAX_SLOT_BITS ? bits : MAX_SLOT_BITS);
}

uint32_t pool_usable_slots(const struct pool *pool)
{
	uint32_t slots = pool_slot_count(pool);
	return slots ? slots - 1 : 0;
}

struct ip_address pool_address(const struct pool *pool, uint32_t site, uint32_t slot)
{
	ASSERT(site < pool_site_count(pool) && slot < pool_slot_count(pool));
	struct ip_address address = pool->prefix.address;
	ip_address_or_low_bits(&address, site, pool_site_shift(pool));
	ip_address_or_low_bits(&address, slot, 0);
	return address;
}

/* The `count` bits of the address that begin `shift` bits above its lowest; false when they do not
 * fit into 32 bits of number. */
static bool address_bits(const struct ip_address *address, unsigned shift, unsigned count,
			 uint32_t *ret_bits)
{
	unsigned bytes = ip_family_bits(address->family) / 8;
	uint32_t bits = 0;
	for (unsigned i = count; i-- > 0;) {
		unsigned at = shift + i;
		uint8_t byte = address->bytes[bytes - 1 - at / 8];
		if (bits >> 31)
			return false;
		bits = bits << 1 | ((uint32_t)byte >> at % 8 & 1);
	}
	*ret_bits = bits;
	return true;
}

bool pool_locate(const struct pool *pool, const struct ip_address *address, uint32_t *ret_site,
		 uint32_t *ret_slot)
{
	uint32_t site, slot;
	unsigned shift = pool_site_shift(pool);
	if (!ip_prefix_contains(&pool->prefix, address) ||
	    !address_bits(address, shift, pool->site_bits, &site) ||
	    !address_bits(address, 0, shift, &slot) || slot >= pool_slot_count(pool))
		return false;
	*ret_site = site;
	*ret_slot = slot;
	return true;
}
