/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings and the backends they name. A ring belongs to a version's digest and is shared by all
 * addresses of that version, and by later versions of the same content. A backend belongs to its
 * address and is shared by all rings that name it.
 */
#include "dataplane/internal.h"

#include "base/search.h"

#include <bpf/bpf.h>
#include <stdlib.h>
#include <string.h>

int record_write(int map_fd, void *view, uint32_t key, const void *record, size_t bytes,
		 struct error *err)
{
	_Alignas(8) uint8_t back[sizeof(struct edge_map_descriptor)];
	ASSERT(bytes <= sizeof(back) && bytes % 8 == 0);
	memcpy(view, record, bytes);
	if (bpf_map_lookup_elem(map_fd, &key, back) < 0)
		return error_set(err, -errno, "map entry %u cannot be read back: %s", key,
				 error_text(-errno));
	if (memcmp(back, record, bytes) != 0)
		return error_set(err, -FL_ECORRUPT,
				 "map entry %u does not read back as it was written", key);
	return 0;
}

static int page_read(const struct edge *edge, uint32_t number, struct edge_map_page *ret_page,
		     struct error *err)
{
	if (bpf_map_lookup_elem(edge->view.pages_fd, &number, ret_page) == 0)
		return 0;
	return error_set(err, -errno, "ring page %u cannot be read: %s", number,
			 error_text(-errno));
}

/* Write a page that nothing refers to yet, and read it back. */
static int page_write(const struct edge *edge, uint32_t number, const struct edge_map_page *page,
		      struct error *err)
{
	_Alignas(8) struct edge_map_page back;
	if (bpf_map_update_elem(edge->view.pages_fd, &number, page, BPF_ANY) < 0)
		return error_set(err, -errno, "ring page %u cannot be written: %s", number,
				 error_text(-errno));
	int result = page_read(edge, number, &back, err);
	if (result == 0 && memcmp(&back, page, sizeof(back)) != 0)
		return error_set(err, -FL_ECORRUPT,
				 "ring page %u does not read back as it was written", number);
	return result;
}

struct ip_address backend_address(const struct edge *edge, uint32_t number)
{
	const struct edge_map_backend *entry = &edge->view.backends[number];
	struct ip_address address = {.family = entry->family};
	memcpy(address.bytes, entry->address, entry->family == IP_V4 ? 4 : 16);
	return address;
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
	struct edge_map_backend *entry = &edge->view.backends[number];
	struct edge_map_backend record = {
	    .family = address->family,
	    .generation = entry->generation + 1,
	};
	memcpy(record.address, address->bytes, sizeof(record.address));
	result = record_write(edge->view.backends_fd, entry, number, &record, sizeof(record), err);
	if (result < 0) {
		slots_retire(&edge->backends, number, 1, edge_now(edge));
		return result;
	}
	backends_insert(edge, (uint16_t)number);
	nexthop_resolve(edge, number);
	*ret_number = (uint16_t)number;
	return 0;
}

/* The backend's number, given out now if `address` has none yet and `create` is set, else 0. */
static int backend_number(struct edge *edge, const struct ip_address *address, bool create,
			  uint16_t *ret_number, struct error *err)
{
	bool found;
	size_t position = backend_position(edge, address, &found);
	if (found)
		*ret_number = edge->backend_order[position];
	else if (create)
		return backend_create(edge, address, ret_number, err);
	else
		*ret_number = 0;
	return 0;
}

/*
 * Numbers of the version's backends by ordinal; with `create`, 0 for those that its ring never
 * names, which need no entry; without, for those that have none.
 */
static int number_backends(struct edge *edge, const struct edge_version *version, bool create,
			   uint16_t **ret_numbers, struct error *err)
{
	bool *named = calloc(version->backend_count, sizeof(*named));
	uint16_t *numbers = calloc(version->backend_count, sizeof(*numbers));
	int result = named && numbers ? 0 : out_of_memory(err);
	for (size_t i = 0; create && i < version->ring_length && result == 0; i++) {
		named[version->first[i]] = true;
		named[version->second[i]] = true;
	}
	for (size_t i = 0; i < version->backend_count && result == 0; i++) {
		if (!create || named[i])
			result = backend_number(edge, &version->backends[i].address, create,
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

/* One page of `candidates`, which are ordinals, as the map holds it. */
static void fill_page(struct edge_map_page *page, const uint16_t *candidates,
		      const uint16_t *numbers)
{
	for (size_t i = 0; i < EDGE_MAP_PAGE_ENTRIES; i++)
		page->backend[i] = numbers[candidates[i]];
}

static int write_pages(struct edge *edge, uint32_t first_page, uint32_t pages,
		       const uint16_t *candidates, const uint16_t *numbers, struct error *err)
{
	_Alignas(8) struct edge_map_page page;
	int result = 0;
	for (uint32_t i = 0; i < pages && result == 0; i++) {
		fill_page(&page, candidates + (size_t)i * EDGE_MAP_PAGE_ENTRIES, numbers);
		result = page_write(edge, first_page + i, &page, err);
	}
	return result;
}

/* Whether the pages were written as `candidates` says. */
static int compare_pages(struct edge *edge, uint32_t first_page, uint32_t pages,
			 const uint16_t *candidates, const uint16_t *numbers, bool *ret_same,
			 struct error *err)
{
	_Alignas(8) struct edge_map_page held;
	_Alignas(8) struct edge_map_page page;
	bool same = true;
	for (uint32_t i = 0; i < pages && same; i++) {
		int result = page_read(edge, first_page + i, &held, err);
		if (result < 0)
			return result;
		fill_page(&page, candidates + (size_t)i * EDGE_MAP_PAGE_ENTRIES, numbers);
		same = memcmp(&page, &held, sizeof(page)) == 0;
	}
	*ret_same = same;
	return 0;
}

static int compare_ring(const void *rings, size_t place, const void *digest)
{
	struct ring *const *list = rings;
	return memcmp(&list[place]->digest, digest, sizeof(struct digest));
}

/* Where the ring of the digest is among all, or where it belongs. */
static size_t ring_position(const struct edge *edge, const struct digest *digest, bool *ret_found)
{
	return search_place(edge->rings, edge->ring_count, digest, compare_ring, ret_found);
}

struct ring *rings_find(const struct edge *edge, const struct digest *digest)
{
	bool found;
	size_t position = ring_position(edge, digest, &found);
	return found ? edge->rings[position] : NULL;
}

/* `ring->backends` is moved. */
static int rings_add(struct edge *edge, const struct ring *ring, struct ring **ret_ring)
{
	bool found;
	size_t position = ring_position(edge, &ring->digest, &found);
	ASSERT(!found);
	struct ring **rings = realloc(edge->rings, (edge->ring_count + 1) * sizeof(struct ring *));
	if (!rings)
		return -ENOMEM;
	edge->rings = rings;
	struct ring *added = malloc(sizeof(*added));
	if (!added)
		return -ENOMEM;
	*added = *ring;
	memmove(rings + position + 1, rings + position,
		(edge->ring_count - position) * sizeof(struct ring *));
	rings[position] = added;
	edge->ring_count++;
	*ret_ring = added;
	return 0;
}

static void ring_free(struct ring *ring)
{
	free(ring->backends);
	free(ring);
}

static int compare_numbers(const void *a, const void *b)
{
	return (int)*(const uint16_t *)a - (int)*(const uint16_t *)b;
}

/* The distinct numbers but 0, ascending, moved into `ring`. */
static void ring_set_backends(struct ring *ring, uint16_t *numbers, size_t count)
{
	size_t kept = 0;
	qsort(numbers, count, sizeof(*numbers), compare_numbers);
	for (size_t i = 0; i < count; i++) {
		if (numbers[i] != 0 && (kept == 0 || numbers[kept - 1] != numbers[i]))
			numbers[kept++] = numbers[i];
	}
	ring->backends = numbers;
	ring->backend_count = kept;
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

static int ring_create(struct edge *edge, const struct edge_version *version,
		       struct ring **ret_ring, struct error *err)
{
	struct ring ring = {
	    .digest = version->digest,
	    .first = version->first,
	    .second = version->second,
	    .pages = (uint32_t)(version->ring_length / EDGE_MAP_PAGE_ENTRIES),
	};
	uint16_t *numbers;
	int result = number_backends(edge, version, true, &numbers, err);
	if (result < 0)
		return result;
	result = take_pages(edge, ring.pages, &ring.first_page, err);
	if (result < 0)
		goto free_numbers;
	result = take_pages(edge, ring.pages, &ring.second_page, err);
	if (result < 0)
		goto retire_first;
	result = write_pages(edge, ring.first_page, ring.pages, version->first, numbers, err);
	if (result == 0)
		result =
		    write_pages(edge, ring.second_page, ring.pages, version->second, numbers, err);
	if (result < 0)
		goto retire_second;
	ring_set_backends(&ring, numbers, version->backend_count);
	result = rings_add(edge, &ring, ret_ring);
	if (result == 0)
		return 0;
	error_set(err, result, "out of memory");
retire_second:
	slots_retire(&edge->pages, ring.second_page, ring.pages, edge_now(edge));
retire_first:
	slots_retire(&edge->pages, ring.first_page, ring.pages, edge_now(edge));
free_numbers:
	free(numbers);
	return result;
}

/* Invariant 2: what was published under a digest is what is asked for under it now. */
static int ring_compare(struct edge *edge, struct ring *ring, const struct edge_version *version,
			struct error *err)
{
	uint16_t *numbers;
	int result = number_backends(edge, version, false, &numbers, err);
	if (result < 0)
		return result;
	bool same = version->ring_length == (size_t)ring->pages * EDGE_MAP_PAGE_ENTRIES;
	if (same)
		result = compare_pages(edge, ring->first_page, ring->pages, version->first, numbers,
				       &same, err);
	if (result == 0 && same)
		result = compare_pages(edge, ring->second_page, ring->pages, version->second,
				       numbers, &same, err);
	free(numbers);
	if (result < 0)
		return result;
	ASSERT_INVARIANT(2, same);
	ring->first = version->first;
	ring->second = version->second;
	return 0;
}

bool rings_is_known(const struct edge *edge, const struct edge_version *version)
{
	const struct ring *ring = rings_find(edge, &version->digest);
	return ring && ring->first == version->first && ring->second == version->second;
}

int rings_take(struct edge *edge, const struct edge_version *version, struct ring **ret_ring,
	       struct error *err)
{
	struct ring *ring = rings_find(edge, &version->digest);
	if (!ring)
		return ring_create(edge, version, ret_ring, err);
	int result = rings_is_known(edge, version) ? 0 : ring_compare(edge, ring, version, err);
	if (result == 0)
		*ret_ring = ring;
	return result;
}

static void sweep_backends(struct edge *edge)
{
	bool named[EDGE_MAP_BACKENDS] = {false};
	for (size_t i = 0; i < edge->ring_count; i++) {
		const struct ring *ring = edge->rings[i];
		for (size_t j = 0; j < ring->backend_count; j++)
			named[ring->backends[j]] = true;
	}
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
		struct ring *ring = edge->rings[i];
		if (ring->references > 0) {
			edge->rings[kept++] = ring;
			continue;
		}
		slots_retire(&edge->pages, ring->first_page, ring->pages, edge_now(edge));
		slots_retire(&edge->pages, ring->second_page, ring->pages, edge_now(edge));
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
