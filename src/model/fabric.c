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

/* --- equality --- */

static bool text_equal(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool nameserver_equal(const struct nameserver *a, const struct nameserver *b)
{
	if (!text_equal(a->name, b->name) || a->address_count != b->address_count)
		return false;
	for (size_t i = 0; i < a->address_count; i++) {
		if (!ip_address_equal(&a->addresses[i], &b->addresses[i]))
			return false;
	}
	return true;
}

bool fabric_names_equal(const struct fabric *a, const struct fabric *b)
{
	if (!text_equal(a->name, b->name) || !text_equal(a->zone, b->zone) ||
	    a->nameserver_count != b->nameserver_count || !zone_settings_equal(&a->dns, &b->dns))
		return false;
	for (size_t i = 0; i < a->nameserver_count; i++) {
		if (!nameserver_equal(&a->nameservers[i], &b->nameservers[i]))
			return false;
	}
	return true;
}

bool pool_equal(const struct pool *a, const struct pool *b)
{
	return ip_prefix_equal(&a->prefix, &b->prefix) && a->site_bits == b->site_bits &&
	       a->slots_per_service == b->slots_per_service;
}

bool site_equal(const struct site *a, const struct site *b)
{
	/* Where there is no location, both numbers are 0. */
	if (!text_equal(a->name, b->name) || a->has_location != b->has_location ||
	    a->latitude != b->latitude || a->longitude != b->longitude ||
	    a->client_count != b->client_count)
		return false;
	for (size_t i = 0; i < a->client_count; i++) {
		if (!ip_prefix_equal(&a->clients[i], &b->clients[i]))
			return false;
	}
	return true;
}

static bool listener_equal(const struct backend_listener *a, const struct backend_listener *b)
{
	return a->protocol == b->protocol && a->service_port == b->service_port &&
	       a->port == b->port && ip_address_equal(&a->address, &b->address);
}

static bool backend_equal(const struct backend *a, const struct backend *b)
{
	if (!text_equal(a->name, b->name) || !text_equal(a->site, b->site) ||
	    !ip_address_equal(&a->address, &b->address) || a->weight != b->weight ||
	    a->no_landing != b->no_landing || a->listener_count != b->listener_count)
		return false;
	for (size_t i = 0; i < a->listener_count; i++) {
		if (!listener_equal(&a->listeners[i], &b->listeners[i]))
			return false;
	}
	return true;
}

static bool ports_equal(const struct service *a, const struct service *b)
{
	if (a->port_count != b->port_count)
		return false;
	for (size_t i = 0; i < a->port_count; i++) {
		const struct service_port *one = &a->ports[i], *other = &b->ports[i];
		if (one->protocol != other->protocol || one->quic != other->quic ||
		    one->first != other->first || one->last != other->last)
			return false;
	}
	return true;
}

static bool policies_equal(const struct service *a, const struct service *b)
{
	const struct health_check *one = &a->health, *other = &b->health;
	return a->ttl_seconds == b->ttl_seconds && a->client_bits_v4 == b->client_bits_v4 &&
	       a->client_bits_v6 == b->client_bits_v6 && a->drain_limit_ms == b->drain_limit_ms &&
	       a->rollout.pause_ms == b->rollout.pause_ms &&
	       a->rollout.share_count == b->rollout.share_count &&
	       memcmp(a->rollout.shares, b->rollout.shares,
		      a->rollout.share_count * sizeof(a->rollout.shares[0])) == 0 &&
	       one->kind == other->kind && one->port == other->port &&
	       text_equal(one->path, other->path) && one->interval_ms == other->interval_ms &&
	       one->fall == other->fall && one->rise == other->rise;
}

bool service_equal(const struct service *a, const struct service *b)
{
	if (!text_equal(a->name, b->name) || !ports_equal(a, b) || a->balance_by != b->balance_by ||
	    !policies_equal(a, b) || a->backend_count != b->backend_count)
		return false;
	for (size_t i = 0; i < a->backend_count; i++) {
		if (!backend_equal(&a->backends[i], &b->backends[i]))
			return false;
	}
	return true;
}

/* --- pools --- */

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
