/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings and the backends they name. A ring is a version's effective one: it belongs to the
 * version's digest, and all addresses of that version share it. When other backends are ejected,
 * its entries change where they are, and nothing else does: the descriptor goes on naming the same
 * pages. A backend belongs to its address and is shared by all rings that name it.
 */
#include "dataplane/internal.h"

#include "base/search.h"

#include <bpf/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int record_write(int map_fd, void *view, uint32_t key, const void *record, size_t bytes,
		 struct error *err)
{
	_Alignas(8) uint8_t back[sizeof(struct edge_map_page)];
	ASSERT(bytes <= sizeof(back) && bytes % 8 == 0);
	if (view)
		memcpy(view, record, bytes);
	else if (bpf_map_update_elem(map_fd, &key, record, BPF_ANY) < 0)
		return error_set(err, -errno, "map entry %u cannot be written: %s", key,
				 error_text(-errno));
	if (bpf_map_lookup_elem(map_fd, &key, back) < 0)
		return error_set(err, -errno, "map entry %u cannot be read back: %s", key,
				 error_text(-errno));
	if (memcmp(back, record, bytes) != 0)
		return error_set(err, -FL_ECORRUPT,
				 "map entry %u does not read back as it was written", key);
	return 0;
}

static int compare_backend(const void *edge_, size_t place, const void *address)
{
	const struct edge *edge = edge_;
	struct ip_address other = backend_address(edge, edge->backend_order[place]);
	return ip_address_compare(&other, address);
}

/* Where the address is in backend_order, or where it belongs. */
static size_t backend_position(const struct edge *edge, const struct ip_address *address,
			       bool *ret_found)
{
	return search_place(edge, edge->backend_count, address, compare_backend, ret_found);
}

static void backends_insert(struct edge *edge, uint16_t number)
{
	bool found;
	struct ip_address address = backend_address(edge, number);
	size_t position = backend_position(edge, &address, &found);
	ASSERT(!found);
	memmove(edge->backend_order + position + 1, edge->backend_order + position,
		(edge->backend_count - position) * sizeof(*edge->backend_order));
	edge->backend_order[position] = number;
	edge->backend_count++;
}

static int backend_create(struct edge *edge, const struct ip_address *address, uint16_t *ret_number,
			  struct error *err)
{
	uint32_t number;
	bool resting = false;
	int result = slots_take(&edge->backends, 1, edge_now(edge), &number, &resting);
	if (result < 0)
		return error_set(err, result, "the edge's table of %u backends is full%s",
				 EDGE_MAP_BACKENDS - 1,
				 resting ? "; entries come free within a second" : "");
	struct edge_map_backend *entry = &edge->maps.backends[number];
	struct edge_map_backend record = {
	    .family = address->family,
	    .generation = entry->generation + 1,
	};
	memcpy(record.address, address->bytes, sizeof(record.address));
	result = record_write(edge->maps.backends_fd, entry, number, &record, sizeof(record), err);
	if (result < 0) {
		slots_retire(&edge->backends, number, 1, edge_now(edge));
		return result;
	}
	backends_insert(edge, (uint16_t)number);
	nexthop_resolve(edge, number);
	*ret_number = (uint16_t)number;
	return 0;
}

int rings_backend_number(struct edge *edge, const struct ip_address *address, uint16_t *ret_number,
			 struct error *err)
{
	bool found;
	size_t position = backend_position(edge, address, &found);
	if (!found)
		return backend_create(edge, address, ret_number, err);
	*ret_number = edge->backend_order[position];
	return 0;
}

/* Numbers of the version's backends by ordinal; 0 for those that its ring never names. */
static int number_backends(struct edge *edge, const struct edge_version *version,
			   uint16_t **ret_numbers, struct error *err)
{
	bool *named = calloc(version->backend_count, sizeof(*named));
	uint16_t *numbers = calloc(version->backend_count, sizeof(*numbers));
	int result = named && numbers ? 0 : out_of_memory(err);
	for (size_t i = 0; i < version->ring_length && result == 0; i++)
		named[version->ring[i]] = true;
	for (size_t i = 0; i < version->backend_count && result == 0; i++) {
		if (named[i])
			result = rings_backend_number(edge, &version->backends[i].address,
						      &numbers[i], err);
	}
	free(named);
	if (result < 0) {
		free(numbers);
		return result;
	}
	*ret_numbers = numbers;
	return 0;
}

static int compare_ring(const void *rings, size_t place, const void *digest)
{
	struct loaded_ring *const *list = rings;
	return memcmp(&list[place]->digest, digest, sizeof(struct digest));
}

/* Where the ring of the digest is among all, or where it belongs. */
static size_t ring_position(const struct edge *edge, const struct digest *digest, bool *ret_found)
{
	return search_place(edge->rings, edge->ring_count, digest, compare_ring, ret_found);
}

struct loaded_ring *rings_find(const struct edge *edge, const struct digest *digest,
			       struct loaded_ring *likely)
{
	if (likely && memcmp(&likely->digest, digest, sizeof(*digest)) == 0)
		return likely;
	bool found;
	size_t position = ring_position(edge, digest, &found);
	return found ? edge->rings[position] : NULL;
}

static int rings_add(struct edge *edge, const struct loaded_ring *ring,
		     struct loaded_ring **ret_ring)
{
	bool found;
	size_t position = ring_position(edge, &ring->digest, &found);
	ASSERT(!found);
	struct loaded_ring **rings =
	    realloc(edge->rings, (edge->ring_count + 1) * sizeof(struct loaded_ring *));
	if (!rings)
		return -ENOMEM;
	edge->rings = rings;
	struct loaded_ring *added = malloc(sizeof(*added));
	if (!added)
		return -ENOMEM;
	*added = *ring;
	memmove(rings + position + 1, rings + position,
		(edge->ring_count - position) * sizeof(struct loaded_ring *));
	rings[position] = added;
	edge->ring_count++;
	*ret_ring = added;
	return 0;
}

/* What a publication will change in a ring that forwards. */
struct refill {
	struct edge_map_page *wanted; /* owned; as many pages as the ring has */
	struct edge_map_page *held; /* the same pages of the map, from rings_reach() on; mapped */
	uint32_t pages;
	uint16_t *backends; /* owned; the distinct numbers in `wanted`, ascending */
	size_t backend_count;
	struct digest ejections;
};

static void refill_free(struct refill *refill)
{
	if (!refill)
		return;
	if (refill->held)
		(void)munmap(refill->held, refill->pages * sizeof(*refill->held));
	free(refill->wanted);
	free(refill->backends);
	free(refill);
}

static void ring_free(struct loaded_ring *ring)
{
	refill_free(ring->refill);
	free(ring->backends);
	free(ring);
}

static int compare_numbers(const void *a, const void *b)
{
	return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

/* Keep the distinct numbers but 0, ascending; returns how many there are. */
static size_t distinct_numbers(uint16_t *numbers, size_t count)
{
	size_t kept = 0;
	qsort(numbers, count, sizeof(*numbers), compare_numbers);
	for (size_t i = 0; i < count; i++) {
		if (numbers[i] != 0 && (kept == 0 || numbers[kept - 1] != numbers[i]))
			numbers[kept++] = numbers[i];
	}
	return kept;
}

static int take_pages(struct edge *edge, uint32_t pages, uint32_t *ret_first, struct error *err)
{
	bool resting = false;
	int result = slots_take(&edge->pages, pages, edge_now(edge), ret_first, &resting);
	if (result == 0)
		return 0;
	result = grow_by(edge, pages, 0, err);
	if (result < 0)
		return result;
	result = slots_take(&edge->pages, pages, edge_now(edge), ret_first, &resting);
	if (result < 0)
		return error_set(err, result, "the edge's %u ring pages are all in use%s",
				 edge->most_pages,
				 resting ? "; some come free within a second"
					 : "; retire versions or use smaller rings");
	return 0;
}

/* What the maps shall hold of the version's ring; `ret_refill` is for refill_free(). */
static int refill_new(struct edge *edge, const struct edge_version *version,
		      struct refill **ret_refill, struct error *err)
{
	struct refill *refill = calloc(1, sizeof(*refill));
	if (!refill)
		return out_of_memory(err);
	refill->pages = (uint32_t)(version->ring_length / EDGE_MAP_PAGE_ENTRIES);
	refill->ejections = version->ejections;
	refill->wanted = calloc(refill->pages, sizeof(*refill->wanted));
	int result = refill->wanted ? 0 : out_of_memory(err);
	if (result == 0)
		result = number_backends(edge, version, &refill->backends, err);
	if (result < 0) {
		refill_free(refill);
		return result;
	}
	for (size_t i = 0; i < version->ring_length; i++)
		refill->wanted[i / EDGE_MAP_PAGE_ENTRIES].backend[i % EDGE_MAP_PAGE_ENTRIES] =
		    refill->backends[version->ring[i]];
	refill->backend_count = distinct_numbers(refill->backends, version->backend_count);
	*ret_refill = refill;
	return 0;
}

/* The ring has its backends from now on. */
static void ring_take_refill(struct loaded_ring *ring, struct refill *refill)
{
	free(ring->backends);
	ring->backends = refill->backends;
	ring->backend_count = refill->backend_count;
	ring->ejections = refill->ejections;
	refill->backends = NULL;
	refill_free(refill);
}

static int ring_create(struct edge *edge, const struct edge_version *version,
		       struct loaded_ring **ret_ring, struct error *err)
{
	struct loaded_ring ring = {.digest = version->digest, .entries = version->ring};
	struct refill *refill;
	int result = refill_new(edge, version, &refill, err);
	if (result < 0)
		return result;
	ring.pages = refill->pages;
	result = take_pages(edge, ring.pages, &ring.first_page, err);
	if (result < 0)
		goto free_refill;
	for (uint32_t i = 0; i < ring.pages && result == 0; i++)
		result = record_write(edge->maps.pages_fd, NULL, ring.first_page + i,
				      &refill->wanted[i], sizeof(*refill->wanted), err);
	if (result < 0)
		goto retire_pages;
	result = rings_add(edge, &ring, ret_ring);
	if (result < 0) {
		error_set(err, result, "out of memory");
		goto retire_pages;
	}
	ring_take_refill(*ret_ring, refill);
	return 0;
retire_pages:
	slots_retire(&edge->pages, ring.first_page, ring.pages, edge_now(edge));
free_refill:
	refill_free(refill);
	return result;
}

static bool same_ejections(const struct loaded_ring *ring, const struct edge_version *version)
{
	return memcmp(&ring->ejections, &version->ejections, sizeof(ring->ejections)) == 0;
}

/* Find out how the ring that forwards differs from the one that is wanted. Under one digest and one
 * set of ejections it does not (invariant 2). */
static int ring_compare(struct edge *edge, struct loaded_ring *ring,
			const struct edge_version *version, struct error *err)
{
	_Alignas(8) struct edge_map_page held;
	struct refill *refill;
	bool same = true;
	int result = refill_new(edge, version, &refill, err);
	if (result < 0)
		return result;
	ASSERT_INVARIANT(2, refill->pages == ring->pages);
	for (uint32_t i = 0; i < ring->pages && same && result == 0; i++) {
		uint32_t page = ring->first_page + i;
		if (bpf_map_lookup_elem(edge->maps.pages_fd, &page, &held) < 0)
			result = error_set(err, -errno, "ring page %u cannot be read: %s", page,
					   error_text(-errno));
		else
			same = memcmp(&held, &refill->wanted[i], sizeof(held)) == 0;
	}
	if (result < 0) {
		refill_free(refill);
		return result;
	}
	ASSERT_INVARIANT(2, same || !same_ejections(ring, version));
	ring->entries = version->ring;
	if (same)
		ring_take_refill(ring, refill);
	else
		ring->refill = refill;
	return 0;
}

/* The pages are mapped for the publication alone: all of them would be most of the process's
 * memory. Not before growth is over, which puts other maps in the place of these. */
int rings_reach(struct edge *edge, struct error *err)
{
	for (size_t i = 0; i < edge->ring_count; i++) {
		const struct loaded_ring *ring = edge->rings[i];
		if (!ring->refill)
			continue;
		void *held = mmap(NULL, ring->pages * sizeof(struct edge_map_page),
				  PROT_READ | PROT_WRITE, MAP_SHARED, edge->maps.pages_fd,
				  (off_t)(ring->first_page * sizeof(struct edge_map_page)));
		if (held == MAP_FAILED)
			return error_set(err, -errno, "the ring at page %u cannot be mapped: %s",
					 ring->first_page, error_text(-errno));
		ring->refill->held = held;
	}
	return 0;
}

void rings_commit(struct edge *edge)
{
	for (size_t i = 0; i < edge->ring_count; i++) {
		struct loaded_ring *ring = edge->rings[i];
		struct refill *refill = ring->refill;
		for (uint32_t page = 0; refill && page < ring->pages; page++) {
			uint16_t *held = refill->held[page].backend;
			const uint16_t *wanted = refill->wanted[page].backend;
			for (size_t entry = 0; entry < EDGE_MAP_PAGE_ENTRIES; entry++) {
				if (held[entry] != wanted[entry])
					__atomic_store_n(&held[entry], wanted[entry],
							 __ATOMIC_RELEASE);
			}
		}
		if (refill)
			ring_take_refill(ring, refill);
		ring->refill = NULL;
	}
}

void rings_undo(struct edge *edge)
{
	for (size_t i = 0; i < edge->ring_count; i++) {
		struct loaded_ring *ring = edge->rings[i];
		if (!ring->refill)
			continue;
		ring->entries = NULL;
		refill_free(ring->refill);
		ring->refill = NULL;
	}
}

static bool is_known(const struct loaded_ring *ring, const struct edge_version *version)
{
	return ring->entries == version->ring && same_ejections(ring, version);
}

bool rings_is_known(const struct edge *edge, const struct edge_version *version,
		    struct loaded_ring *likely)
{
	const struct loaded_ring *ring = rings_find(edge, &version->digest, likely);
	return ring && is_known(ring, version);
}

int rings_take(struct edge *edge, const struct edge_version *version, struct loaded_ring *likely,
	       struct loaded_ring **ret_ring, struct error *err)
{
	struct loaded_ring *ring = rings_find(edge, &version->digest, likely);
	if (!ring)
		return ring_create(edge, version, ret_ring, err);
	int result = 0;
	if (!ring->refill && !is_known(ring, version))
		result = ring_compare(edge, ring, version, err);
	if (result == 0)
		*ret_ring = ring;
	return result;
}

bool rings_name(const struct edge *edge, uint32_t backend)
{
	const uint16_t number = (uint16_t)backend;
	for (size_t i = 0; i < edge->ring_count; i++) {
		const struct loaded_ring *ring = edge->rings[i];
		if (ring->backend_count && bsearch(&number, ring->backends, ring->backend_count,
						   sizeof(number), compare_numbers))
			return true;
	}
	return false;
}

static void sweep_backends(struct edge *edge)
{
	bool named[EDGE_MAP_BACKENDS] = {false};
	for (size_t i = 0; i < edge->ring_count; i++) {
		const struct loaded_ring *ring = edge->rings[i];
		for (size_t j = 0; j < ring->backend_count; j++)
			named[ring->backends[j]] = true;
	}
	for (size_t i = 0; i < edge->peers.count; i++)
		named[edge->peers.numbers[i]] = true;
	size_t kept = 0;
	for (size_t i = 0; i < edge->backend_count; i++) {
		uint16_t number = edge->backend_order[i];
		if (named[number]) {
			edge->backend_order[kept++] = number;
			continue;
		}
		slots_retire(&edge->backends, number, 1, edge_now(edge));
		nexthop_release(edge, number);
	}
	edge->backend_count = kept;
}

void rings_sweep(struct edge *edge)
{
	for (size_t i = 0; i < edge->ring_count; i++)
		edge->rings[i]->references = 0;
	for (size_t i = 0; i < edge->bound_count; i++)
		edge->bound[i].ring->references++;

	size_t kept = 0;
	for (size_t i = 0; i < edge->ring_count; i++) {
		struct loaded_ring *ring = edge->rings[i];
		if (ring->references > 0) {
			edge->rings[kept++] = ring;
			continue;
		}
		slots_retire(&edge->pages, ring->first_page, ring->pages, edge_now(edge));
		ring_free(ring);
	}
	edge->ring_count = kept;
	sweep_backends(edge);
}

void rings_close(struct edge *edge)
{
	for (size_t i = 0; i < edge->ring_count; i++)
		ring_free(edge->rings[i]);
	free(edge->rings);
	edge->rings = NULL;
	edge->ring_count = 0;
}
