/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passing: which edges this one passes packets on to, and from whom it takes them. Peers are
 * numbered among the backends, whose next hops and MTUs are kept. Of the two lists of peers the one
 * that is not in force is written, and one store puts it in force.
 */
#include "dataplane/internal.h"
#include "kernel/load.h"

#include <bpf/bpf.h>
#include <stdlib.h>

_Static_assert(EDGE_PASSING_PEERS == EDGE_PASS_PEERS, "the program knows as many peers");
_Static_assert(EDGE_PASSING_FENCE == EDGE_PASS_FENCE, "the program knows as many edges");

static int check(const struct edge *edge, const struct edge_passing *passing, struct error *err)
{
	if (passing->peer_count > EDGE_PASSING_PEERS || passing->fence_count > EDGE_PASSING_FENCE)
		return error_set(err, -FL_EINVALID,
				 "an edge passes on to %d others at most, and takes from %d",
				 EDGE_PASSING_PEERS, EDGE_PASSING_FENCE);
	for (size_t i = 0; i < passing->peer_count; i++) {
		const struct ip_address *address = &passing->peers[i].address;
		const struct ip_address *source =
		    address->family == IP_V4 ? &edge->source_v4 : &edge->source_v6;
		if (source->family == IP_NONE || ip_address_equal(source, address))
			return error_set(err, -FL_EINVALID,
					 "this edge has no source of its own for a peer");
	}
	return 0;
}

/* --- the fence --- */

static int compare_keys(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct edge_map_fence_key));
}

static bool has_key(const struct edge_map_fence_key *keys, size_t count,
		    const struct edge_map_fence_key *key)
{
	return count && bsearch(key, keys, count, sizeof(*keys), compare_keys);
}

/* Who leaves goes first: the map holds no more than the fence may. */
static int set_fence(struct edge *edge, const struct edge_passing *passing, struct error *err)
{
	const uint32_t one = 1;
	struct edge_map_fence_key *keys = calloc(passing->fence_count + 1, sizeof(*keys));
	int result = 0;
	if (!keys)
		return out_of_memory(err);
	for (size_t i = 0; i < passing->fence_count; i++) {
		const struct ip_address *address = &passing->fence[i];
		keys[i].family = address->family == IP_V4 ? 4 : 6;
		memcpy(keys[i].address, address->bytes, address->family == IP_V4 ? 4 : 16);
	}
	qsort(keys, passing->fence_count, sizeof(*keys), compare_keys);
	for (size_t i = 0; i < edge->fence_count; i++) {
		if (!has_key(keys, passing->fence_count, &edge->fence[i]))
			(void)bpf_map_delete_elem(edge->maps.fence_fd, &edge->fence[i]);
	}
	for (size_t i = 0; i < passing->fence_count && result == 0; i++) {
		if (!has_key(edge->fence, edge->fence_count, &keys[i]) &&
		    bpf_map_update_elem(edge->maps.fence_fd, &keys[i], &one, BPF_ANY) < 0)
			result = error_set(err, -errno, "an edge cannot be let in: %s",
					   error_text(-errno));
	}
	free(edge->fence);
	edge->fence = keys;
	edge->fence_count = passing->fence_count;
	return result;
}

/* --- peers --- */

static bool is_listed(const struct edge_map_passing *held, const struct edge_map_peer *peers,
		      size_t count)
{
	return EDGE_PASS_COUNT(held->now) == count &&
	       memcmp(held->peers[EDGE_PASS_LIST(held->now)], peers, count * sizeof(*peers)) == 0;
}

/* Where the kernel finds no neighbour, packets would wait for nobody. */
static size_t keep_reached(const struct edge *edge, struct edge_map_peer peers[EDGE_PASS_PEERS],
			   size_t count)
{
	size_t reached = 0;
	for (size_t i = 0; i < count; i++)
		reached += edge->reaches[peers[i].backend].unresolved_since_ms == 0;
	if (!reached)
		return count;
	size_t kept = 0;
	for (size_t i = 0; i < count; i++) {
		if (edge->reaches[peers[i].backend].unresolved_since_ms == 0)
			peers[kept++] = peers[i];
	}
	memset(&peers[kept], 0, (EDGE_PASS_PEERS - kept) * sizeof(*peers));
	return kept;
}

static int number_peers(struct edge *edge, const struct edge_passing *passing,
			struct passing_peers *ret_numbers,
			struct edge_map_peer ret_peers[EDGE_PASS_PEERS], struct error *err)
{
	struct passing_peers numbers = {.count = passing->peer_count};
	for (size_t i = 0; i < passing->peer_count; i++) {
		int result = rings_backend_number(edge, &passing->peers[i].address,
						  &numbers.numbers[i], err);
		if (result < 0)
			return result;
		ret_peers[i] = (struct edge_map_peer){.token = passing->peers[i].token,
						      .backend = numbers.numbers[i]};
	}
	*ret_numbers = numbers;
	return 0;
}

int edge_set_passing(struct edge *edge, const struct edge_passing *passing, struct error *err)
{
	struct edge_map_passing *held = &edge->maps.settings->passing;
	struct edge_map_peer peers[EDGE_PASS_PEERS] = {0};
	struct passing_peers numbers = {0};
	int result = check(edge, passing, err);
	if (result == 0)
		result = number_peers(edge, passing, &numbers, peers, err);
	if (result < 0)
		return result;
	for (size_t i = 0; i < 2; i++) {
		if (held->tokens[i] != passing->tokens[i])
			store_word((uint64_t *)&held->tokens[i], passing->tokens[i]);
	}
	const size_t count = keep_reached(edge, peers, numbers.count);
	uint32_t list = EDGE_PASS_LIST(held->now);
	if (!is_listed(held, peers, count)) {
		list = !list;
		memcpy(held->peers[list], peers, sizeof(peers));
	}
	const uint32_t now = EDGE_PASS_NOW(list, count, passing->is_behind);
	if (held->now != now)
		__atomic_store_n(&held->now, now, __ATOMIC_RELEASE);
	edge->peers = numbers;
	rings_sweep(edge);
	return set_fence(edge, passing, err);
}

int edge_passes(const struct edge *edge, struct edge_passes *ret_passes)
{
	uint64_t *values = NULL;
	size_t cpus = 0;
	struct edge_passes sum = {0};
	int result = load_read_per_cpu(edge->maps.passes_fd, 0, sizeof(struct edge_map_passes),
				       &values, &cpus);
	if (result < 0)
		return result;
	const struct edge_map_passes *counts = (const struct edge_map_passes *)values;
	for (size_t i = 0; i < cpus; i++) {
		sum.passed += counts[i].passed;
		sum.taken += counts[i].taken;
	}
	free(values);
	*ret_passes = sum;
	return 0;
}
