/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Adopt: learn from pinned maps what an earlier process published. The way is the packet's own:
 * pools → spans → words → descriptors → ring pages → backends; what cannot be reached that way is
 * free. A publish that was cut off leaves only unreachable records, so that it never looks wrong.
 */
#include "dataplane/internal.h"

#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((format(printf, 2, 3))) static int corrupt(struct error *err, const char *format, ...)
{
	va_list arguments;
	va_start(arguments, format);
	error_vset(err, -FL_ECORRUPT, format, arguments);
	va_end(arguments);
	return error_prefix(err, "the pinned maps contradict themselves; 'fairlead detach' and "
				 "start again");
}

static uint8_t prefix_length(const uint8_t *mask, size_t bytes)
{
	uint8_t length = 0;
	for (size_t i = 0; i < bytes; i++)
		length = (uint8_t)(length + __builtin_popcount(mask[i]));
	return length;
}

static int adopt_pool(struct edge *edge, unsigned family, uint32_t slot, struct pool *pool,
		      unsigned site_mask, struct error *err)
{
	unsigned bits = ip_family_bits(family == 0 ? IP_V4 : IP_V6);
	struct ip_address masked = pool->prefix.address;
	pool->site_bits = (uint8_t)__builtin_popcount(site_mask);
	pool->used = pool->wanted = pool->active = true;
	ip_address_mask(&masked, pool->prefix.length);
	if (!ip_address_equal(&masked, &pool->prefix.address) ||
	    pool->prefix.length + pool->site_bits + pool->slot_bits != (int)bits ||
	    site_mask != (1u << pool->site_bits) - 1)
		return corrupt(err, "pool entry %u is malformed", slot);
	if (!slots_mark(&edge->pool_slots[family], slot, 1) ||
	    !slots_mark(&edge->span_slots, pool->first_span, site_mask + 1))
		return corrupt(err, "pool entry %u shares its spans", slot);
	edge->pools[family][slot] = *pool;
	return 0;
}

/*
 * While a publish exchanges pools, two of them overlap; the program takes the one that stands
 * first. If a process ended just then, the other one is leftover.
 */
static bool is_shadowed(const struct edge *edge, unsigned family, const struct pool *pool)
{
	for (uint32_t slot = 0; slot < EDGE_MAP_POOLS; slot++) {
		const struct pool *other = &edge->pools[family][slot];
		if (other->used && ip_prefix_overlaps(&other->prefix, &pool->prefix))
			return true;
	}
	return false;
}

static int adopt_pools(struct edge *edge, struct error *err)
{
	struct edge_map_settings *settings = edge->view.settings;
	int result = 0;
	if (settings->pools4 > EDGE_MAP_POOLS || settings->pools6 > EDGE_MAP_POOLS)
		return corrupt(err, "more pools than there are entries");
	for (uint32_t slot = 0; slot < settings->pools4 && result == 0; slot++) {
		struct edge_map_pool4 *entry = &settings->pool4[slot];
		struct pool pool = {.first_span = entry->first_span,
				    .slot_bits = entry->slot_bits,
				    .prefix.address.family = IP_V4};
		if (entry->prefix == 0)
			continue;
		memcpy(pool.prefix.address.bytes, &entry->prefix, sizeof(entry->prefix));
		pool.prefix.length = prefix_length((const uint8_t *)&entry->mask, 4);
		if (is_shadowed(edge, 0, &pool))
			pool4_store(entry, 0, UINT32_MAX);
		else
			result = adopt_pool(edge, 0, slot, &pool, entry->site_mask, err);
	}
	for (uint32_t slot = 0; slot < settings->pools6 && result == 0; slot++) {
		struct edge_map_pool6 *entry = &settings->pool6[slot];
		struct pool pool = {.first_span = entry->first_span,
				    .slot_bits = entry->slot_bits,
				    .prefix.address.family = IP_V6};
		if (!entry->used)
			continue;
		memcpy(pool.prefix.address.bytes, entry->prefix, sizeof(entry->prefix));
		pool.prefix.length =
		    (uint8_t)(64 + prefix_length((const uint8_t *)&entry->mask, 8));
		if (is_shadowed(edge, 1, &pool))
			entry->used = 0;
		else
			result = adopt_pool(edge, 1, slot, &pool, entry->site_mask, err);
	}
	return result;
}

/* The links that next hops lead out of are not given to others before those are found anew. */
static void adopt_link(struct edge *edge, uint16_t number)
{
	union edge_map_hop hop = {.word = edge->view.backends[number].hop};
	if (hop.to.link == 0 || hop.to.link >= EDGE_MAP_LINKS ||
	    !slots_mark(&edge->links, hop.to.link, 1))
		return;
	edge->published.links[hop.to.link] = edge->view.settings->links[hop.to.link];
}

static int adopt_backend(struct edge *edge, uint16_t number, struct error *err)
{
	uint8_t family = edge->view.backends[number].family;
	if (slots_used(&edge->backends, number))
		return 0;
	if ((family != IP_V4 && family != IP_V6) || !slots_mark(&edge->backends, number, 1))
		return corrupt(err, "a ring names backend %u, which is none", number);
	if (backends_insert(edge, number) < 0)
		return corrupt(err, "backend %u is there twice", number);
	adopt_link(edge, number);
	return 0;
}

/* What the ring names, number by number. */
struct naming {
	bool *named; /* by number; all false before and after */
	uint16_t *numbers; /* owned; distinct */
	size_t count;
};

static int note_named(struct edge *edge, uint32_t first, uint32_t count, struct naming *naming,
		      struct error *err)
{
	_Alignas(8) struct edge_map_page page;
	for (uint32_t i = 0; i < count; i++) {
		int result = page_read(edge, first + i, &page, err);
		if (result < 0)
			return result;
		page_keep(edge, first + i, &page);
		for (uint32_t entry = 0; entry < EDGE_MAP_PAGE_ENTRIES; entry++) {
			uint16_t number = page.backend[entry];
			if (naming->named[number])
				continue;
			naming->named[number] = true;
			naming->numbers[naming->count++] = number;
		}
	}
	return 0;
}

static int compare_numbers(const void *a, const void *b)
{
	return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

static int adopt_number(struct edge *edge, uint16_t number, struct error *err)
{
	if (number == 0 || number >= EDGE_MAP_BACKENDS)
		return corrupt(err, "a ring names backend %u, which is none", number);
	return adopt_backend(edge, number, err);
}

/* The ring's backends, noted as in use. */
static int adopt_ring_backends(struct edge *edge, struct ring *ring, struct error *err)
{
	static bool named[UINT16_MAX + 1];
	size_t most = 2 * (size_t)ring->pages * EDGE_MAP_PAGE_ENTRIES;
	struct naming naming = {.named = named, .numbers = calloc(most, sizeof(uint16_t))};
	if (!naming.numbers)
		return out_of_memory(err);
	int result = note_named(edge, ring->first_page, ring->pages, &naming, err);
	if (result == 0)
		result = note_named(edge, ring->second_page, ring->pages, &naming, err);
	for (size_t i = 0; i < naming.count; i++) {
		named[naming.numbers[i]] = false;
		if (result == 0)
			result = adopt_number(edge, naming.numbers[i], err);
	}
	ASSERT(result < 0 || naming.count > 0); /* a ring has a page */
	uint16_t *kept =
	    result == 0 ? realloc(naming.numbers, naming.count * sizeof(uint16_t)) : NULL;
	if (!kept) {
		free(naming.numbers);
		return result < 0 ? result : out_of_memory(err);
	}
	qsort(kept, naming.count, sizeof(*kept), compare_numbers);
	ring->backends = kept;
	ring->backend_count = naming.count;
	return 0;
}

static int adopt_ring(struct edge *edge, const struct edge_map_descriptor *descriptor,
		      struct ring **ret_ring, struct error *err)
{
	struct ring ring = {
	    .first_page = descriptor->first_page,
	    .second_page = descriptor->second_page,
	    .pages = descriptor->ring_pages,
	    .adopted = true,
	};
	memcpy(ring.digest.bytes, descriptor->digest, sizeof(ring.digest.bytes));
	struct ring *held = rings_find(edge, &ring.digest);
	if (held) {
		if (held->first_page != ring.first_page || held->second_page != ring.second_page ||
		    held->pages != ring.pages)
			return corrupt(err, "two rings under one digest");
		*ret_ring = held;
		return 0;
	}
	if (ring.pages == 0 || ring.pages > EDGE_RING_PAGES ||
	    !slots_mark(&edge->pages, ring.first_page, ring.pages) ||
	    !slots_mark(&edge->pages, ring.second_page, ring.pages))
		return corrupt(err, "the ring at page %u overlaps another", ring.first_page);
	int result = adopt_ring_backends(edge, &ring, err);
	if (result < 0)
		return result;
	result = rings_add(edge, &ring, ret_ring);
	if (result < 0) {
		free(ring.backends);
		return error_set(err, result, "out of memory");
	}
	return 0;
}

static int add_bound(struct edge *edge, const struct bound *bound, struct error *err)
{
	/* Grows by doubling: the count is a power of two, or 0, when the array is full. */
	if ((edge->bound_count & (edge->bound_count - 1)) == 0) {
		size_t capacity = edge->bound_count ? 2 * edge->bound_count : 1;
		struct bound *grown = realloc(edge->bound, capacity * sizeof(*grown));
		if (!grown)
			return out_of_memory(err);
		edge->bound = grown;
	}
	edge->bound[edge->bound_count++] = *bound;
	return 0;
}

/* The word at (pool, site, slot): its descriptor must know the address it stands at. */
static int adopt_word(struct edge *edge, unsigned family, uint32_t span, uint32_t slot,
		      uint64_t word, struct error *err)
{
	uint32_t number = EDGE_WORD_DESCRIPTOR(word);
	struct bound bound = {
	    .span = span, .slot = slot, .descriptor = number, .word = word, .adopted = true};
	char text[IP_TEXT_BYTES];
	uint32_t site;
	uint64_t own_slot;
	if (!slots_mark(&edge->descriptors, number, 1))
		return corrupt(err, "descriptor %u is out of range or serves two addresses",
			       number);
	const struct edge_map_descriptor *descriptor = &edge->view.descriptors[number];
	bound.address.family = family == 0 ? IP_V4 : IP_V6;
	memcpy(bound.address.bytes, descriptor->address, family == 0 ? 4 : 16);
	const struct pool *pool =
	    plan_locate(edge->pools[family], EDGE_MAP_POOLS, &bound.address, &site, &own_slot);
	if (descriptor->family != bound.address.family || !pool ||
	    pool->first_span + site != span || own_slot != slot ||
	    descriptor->port_count > EDGE_MAP_PORTS ||
	    descriptor->service[sizeof(descriptor->service) - 1] != '\0')
		return corrupt(err, "descriptor %u of %s is not where it belongs", number,
			       ip_address_format(&bound.address, text));
	descriptor_keep(edge, number);
	int result = adopt_ring(edge, descriptor, &bound.ring, err);
	if (result == 0)
		result = add_bound(edge, &bound, err);
	return result;
}

static int adopt_span(struct edge *edge, unsigned family, uint32_t span, struct error *err)
{
	uint64_t value = edge->view.spans[span];
	uint32_t first = EDGE_SPAN_FIRST(value);
	uint32_t length = EDGE_SPAN_LENGTH(value);
	int result = 0;
	if (length == 0)
		return 0;
	if (first % EDGE_BLOCK != 0 || length % EDGE_BLOCK != 0 || length > EDGE_MAP_ADDRESSES ||
	    !slots_mark(&edge->blocks, first / EDGE_BLOCK, length / EDGE_BLOCK))
		return corrupt(err, "span %u overlaps another", span);
	edge->sites[span] = (struct site){.first_block = first / EDGE_BLOCK, .length = length};
	for (uint32_t slot = 0; slot < length && result == 0; slot++) {
		uint64_t word = edge->view.addresses[first + slot];
		if (word != 0)
			result = adopt_word(edge, family, span, slot, word, err);
	}
	return result;
}

static int adopt_spans(struct edge *edge, struct error *err)
{
	int result = 0;
	for (unsigned family = 0; family < 2; family++) {
		for (uint32_t slot = 0; slot < EDGE_MAP_POOLS; slot++) {
			const struct pool *pool = &edge->pools[family][slot];
			uint32_t sites = pool->used ? 1u << pool->site_bits : 0;
			for (uint32_t site = 0; site < sites && result == 0; site++)
				result = adopt_span(edge, family, pool->first_span + site, err);
		}
	}
	return result;
}

/*
 * The earlier process may have retired a record a moment before it ended, and a packet may still be
 * at it. MEMBARRIER_CMD_GLOBAL returns after an RCU grace period, and programs run inside one; so
 * after it no packet is. A kernel without it (nohz_full) makes us wait the usual grace.
 */
static void let_rest(struct edge *edge)
{
	uint64_t now_ms = edge_now(edge);
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) == 0)
		return;
	slots_rest(&edge->span_slots, now_ms);
	slots_rest(&edge->blocks, now_ms);
	slots_rest(&edge->descriptors, now_ms);
	slots_rest(&edge->pages, now_ms);
	slots_rest(&edge->backends, now_ms);
	slots_rest(&edge->pool_slots[0], now_ms);
	slots_rest(&edge->pool_slots[1], now_ms);
}

int adopt(struct edge *edge, struct error *err)
{
	int result = adopt_pools(edge, err);
	if (result == 0)
		result = adopt_spans(edge, err);
	if (result < 0)
		return result;
	if (edge->bound_count > 0)
		qsort(edge->bound, edge->bound_count, sizeof(*edge->bound), bound_compare);
	let_rest(edge);
	return 0;
}
