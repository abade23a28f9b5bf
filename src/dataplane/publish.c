/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publish: make the maps say what is desired. Two halves:
 *
 *   prepare  finds room for everything and writes the records that nothing refers to yet, reading
 *            each back; it may fail, and is then undone without a trace;
 *   commit   switches: spans that grew, words, pools; then withdraws in the reverse order. It
 *            consists of single stores and cannot fail half-way.
 */
#include "dataplane/internal.h"
#include "dataplane/pick_key.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A desired binding, and what its address means now; NULL: nothing. */
struct pairing {
	const struct edge_binding *binding;
	const struct bound *old;
};

struct publish {
	struct edge *edge;
	const struct edge_desired *desired;
	struct pairing *pairs; /* by address, as `bound` is; owned */
	const struct bound **olds; /* of the pairs, in the order of the desired bindings; owned */
	struct bound *bound; /* owned until the commit; sorted by address */
	size_t bound_count; /* of those prepared */
	struct span *spans; /* as they will be; owned */
	struct error *err;
};

static int bound_compare(const void *a, const void *b)
{
	const struct bound *left = a;
	const struct bound *right = b;
	return ip_address_compare(&left->address, &right->address);
}

const struct bound *bound_find(const struct edge *edge, const struct ip_address *address)
{
	struct bound key = {.address = *address};
	return edge->bound_count
		   ? bsearch(&key, edge->bound, edge->bound_count, sizeof(key), bound_compare)
		   : NULL;
}

/* Where the address's word lies. */
static uint32_t bound_index(const struct edge *edge, const struct bound *bound)
{
	return edge->spans[bound->span].first_block * EDGE_BLOCK + bound->slot;
}

static int exhausted(struct publish *p, const char *what, bool resting)
{
	return error_set(p->err, -FL_EEXHAUSTED, "the edge has no %s left%s", what,
			 resting ? "; some come free within a second" : "");
}

/* Pools */

static struct matched_pool *find_pool(struct edge *edge, const struct edge_pool *wanted)
{
	unsigned family = family_index(wanted->prefix.address.family);
	for (size_t i = 0; i < EDGE_MAP_POOLS; i++) {
		struct matched_pool *pool = &edge->pools[family][i];
		if (pool->used && pool->site_bits == wanted->site_bits &&
		    ip_prefix_equal(&pool->prefix, &wanted->prefix))
			return pool;
	}
	return NULL;
}

static int prepare_pool(struct publish *p, const struct edge_pool *wanted)
{
	struct edge *edge = p->edge;
	unsigned family = family_index(wanted->prefix.address.family);
	struct matched_pool *pool = find_pool(edge, wanted);
	if (!pool) {
		uint32_t slot;
		uint32_t span;
		bool resting = false;
		uint32_t sites = 1u << wanted->site_bits;
		if (slots_take(&edge->pool_slots[family], 1, edge_now(edge), &slot, &resting) < 0)
			return exhausted(p, "pool entries", resting);
		if (slots_take(&edge->span_slots, sites, edge_now(edge), &span, &resting) < 0) {
			slots_retire(&edge->pool_slots[family], slot, 1, edge_now(edge));
			return exhausted(p, "spans for the pools' sites", resting);
		}
		pool = &edge->pools[family][slot];
		*pool = (struct matched_pool){
		    .prefix = wanted->prefix,
		    .site_bits = wanted->site_bits,
		    .slot_bits = (uint8_t)(ip_family_bits(wanted->prefix.address.family) -
					   wanted->prefix.length - wanted->site_bits),
		    .used = true,
		    .first_span = span,
		};
		for (uint32_t i = 0; i < sites; i++) {
			edge->maps.spans[span + i] = 0;
			p->spans[span + i] = (struct span){0};
		}
	}
	pool->wanted = true;
	return 0;
}

static int prepare_pools(struct publish *p)
{
	int result = 0;
	for (size_t i = 0; i < 2 * (size_t)EDGE_MAP_POOLS; i++)
		p->edge->pools[i / EDGE_MAP_POOLS][i % EDGE_MAP_POOLS].wanted = false;
	for (size_t i = 0; i < p->desired->pool_count && result == 0; i++)
		result = prepare_pool(p, &p->desired->pools[i]);
	return result;
}

/* Slots before this one have never held a pool, or hold one that matches nothing. */
static void raise_count(uint8_t *count, uint32_t slot)
{
	if (*count <= slot)
		__atomic_store_n(count, (uint8_t)(slot + 1), __ATOMIC_RELEASE);
}

static void pool4_store(struct edge_map_pool4 *pool, uint32_t prefix, uint32_t mask)
{
	const struct edge_map_pool4 both = {.prefix = prefix, .mask = mask};
	__atomic_store_n(&pool->prefix_and_mask, both.prefix_and_mask, __ATOMIC_RELEASE);
}

static void activate4(struct edge *edge, uint32_t slot, const struct matched_pool *pool)
{
	struct edge_map_settings *settings = edge->maps.settings;
	struct edge_map_pool4 *entry = &settings->pool4[slot];
	struct ip_address mask = {.family = IP_V4, .bytes = {255, 255, 255, 255}};
	uint32_t prefix_bytes;
	uint32_t mask_bytes;

	for (uint32_t i = settings->pools4; i <= slot; i++)
		pool4_store(&settings->pool4[i], 0, UINT32_MAX);
	ip_address_mask(&mask, pool->prefix.length);
	memcpy(&prefix_bytes, pool->prefix.address.bytes, sizeof(prefix_bytes));
	memcpy(&mask_bytes, mask.bytes, sizeof(mask_bytes));
	entry->first_span = (uint16_t)pool->first_span;
	entry->site_mask = (uint16_t)((1u << pool->site_bits) - 1);
	entry->slot_bits = pool->slot_bits;
	pool4_store(entry, prefix_bytes, mask_bytes);
	raise_count(&settings->pools4, slot);
}

static void activate6(struct edge *edge, uint32_t slot, const struct matched_pool *pool)
{
	struct edge_map_settings *settings = edge->maps.settings;
	struct edge_map_pool6 *entry = &settings->pool6[slot];
	struct ip_address mask = {.family = IP_V6};

	memset(mask.bytes, 255, sizeof(mask.bytes));
	ip_address_mask(&mask, pool->prefix.length);
	memcpy(entry->prefix, pool->prefix.address.bytes, sizeof(entry->prefix));
	memcpy(&entry->mask, mask.bytes + 8, sizeof(entry->mask));
	entry->first_span = (uint16_t)pool->first_span;
	entry->site_mask = (uint16_t)((1u << pool->site_bits) - 1);
	entry->slot_bits = pool->slot_bits;
	__atomic_store_n(&entry->used, 1, __ATOMIC_RELEASE);
	raise_count(&settings->pools6, slot);
}

static void commit_new_pools(struct edge *edge)
{
	for (uint32_t slot = 0; slot < EDGE_MAP_POOLS; slot++) {
		struct matched_pool *v4 = &edge->pools[0][slot];
		struct matched_pool *v6 = &edge->pools[1][slot];
		if (v4->wanted && !v4->active)
			activate4(edge, slot, v4);
		if (v6->wanted && !v6->active)
			activate6(edge, slot, v6);
		v4->active = v4->active || v4->wanted;
		v6->active = v6->active || v6->wanted;
	}
}

static void forget_pool(struct edge *edge, unsigned family, uint32_t slot)
{
	struct matched_pool *pool = &edge->pools[family][slot];
	slots_retire(&edge->pool_slots[family], slot, 1, edge_now(edge));
	slots_retire(&edge->span_slots, pool->first_span, 1u << pool->site_bits, edge_now(edge));
	*pool = (struct matched_pool){0};
}

static void commit_old_pools(struct edge *edge)
{
	for (uint32_t slot = 0; slot < EDGE_MAP_POOLS; slot++) {
		if (edge->pools[0][slot].used && !edge->pools[0][slot].wanted) {
			pool4_store(&edge->maps.settings->pool4[slot], 0, UINT32_MAX);
			forget_pool(edge, 0, slot);
		}
		if (edge->pools[1][slot].used && !edge->pools[1][slot].wanted) {
			__atomic_store_n(&edge->maps.settings->pool6[slot].used, 0,
					 __ATOMIC_RELEASE);
			forget_pool(edge, 1, slot);
		}
	}
}

/* Take back the pools that a failed preparation added. */
static void undo_pools(struct edge *edge)
{
	for (unsigned family = 0; family < 2; family++) {
		for (uint32_t slot = 0; slot < EDGE_MAP_POOLS; slot++) {
			struct matched_pool *pool = &edge->pools[family][slot];
			if (pool->used && !pool->active)
				forget_pool(edge, family, slot);
			pool->wanted = pool->used;
		}
	}
}

/* Descriptors */

/* All of it but the key words, which take a while to expand and follow from the seed. */
static void fill_descriptor(struct edge_map_descriptor *record, const struct edge_binding *binding,
			    const struct loaded_ring *ring)
{
	const struct edge_version *version = binding->version;
	*record = (struct edge_map_descriptor){
	    .first_page = ring->first_page,
	    .ring_pages = (uint16_t)ring->pages,
	    .algorithm = version->algorithm,
	    .port_count = (uint8_t)version->port_count,
	    .by_source = version->by_source,
	    .family = binding->address.family,
	    .version = version->number,
	    .binding = binding->number,
	};
	memcpy(record->seed, version->seed, sizeof(record->seed));
	for (size_t i = 0; i < version->port_count; i++) {
		record->ports[i] = (struct edge_map_port){
		    .low = version->ports[i].low,
		    .high = version->ports[i].high,
		    .protocol = version->ports[i].protocol,
		    .flags = version->ports[i].quic ? EDGE_PORT_QUIC : 0,
		};
	}
	memcpy(record->address, binding->address.bytes, sizeof(record->address));
	memcpy(record->digest, version->digest.bytes, sizeof(record->digest));
}

/* A descriptor that is reused starts its counts from zero. */
static int clear_counters(struct publish *p, uint32_t descriptor)
{
	size_t cpus = (size_t)libbpf_num_possible_cpus();
	struct edge_map_counters *zeros = calloc(cpus, sizeof(*zeros));
	int result = 0;
	if (!zeros)
		return out_of_memory(p->err);
	if (bpf_map_update_elem(p->edge->maps.counters_fd, &descriptor, zeros, BPF_ANY) < 0)
		result =
		    error_set(p->err, -errno, "counters cannot be cleared: %s", error_text(-errno));
	free(zeros);
	return result;
}

static int create_descriptor(struct publish *p, const struct edge_map_descriptor *record,
			     uint32_t *ret_descriptor)
{
	struct edge *edge = p->edge;
	uint32_t descriptor;
	bool resting = false;
	int result = slots_take(&edge->descriptors, 1, edge_now(edge), &descriptor, &resting);
	if (result < 0) {
		result = grow_by(edge, 0, 1, p->err);
		if (result < 0)
			return result;
		result = slots_take(&edge->descriptors, 1, edge_now(edge), &descriptor, &resting);
	}
	if (result < 0)
		return exhausted(p, "descriptors", resting);
	result = clear_counters(p, descriptor);
	if (result == 0)
		result =
		    record_write(edge->maps.descriptors_fd, &edge->maps.descriptors[descriptor],
				 descriptor, record, sizeof(*record), p->err);
	if (result < 0) {
		slots_retire(&edge->descriptors, descriptor, 1, edge_now(edge));
		return result;
	}
	*ret_descriptor = descriptor;
	return 0;
}

/* Whether both say the same of the version. Under one digest they must (invariant 2). */
static bool same_rules(const struct edge_map_descriptor *a, const struct edge_map_descriptor *b)
{
	return a->first_page == b->first_page && a->ring_pages == b->ring_pages &&
	       a->algorithm == b->algorithm && a->by_source == b->by_source &&
	       a->port_count == b->port_count &&
	       memcmp(a->ports, b->ports, sizeof(a->ports)) == 0 &&
	       memcmp(a->seed, b->seed, sizeof(a->seed)) == 0;
}

/* The descriptor of a binding: the address's own one if that says the same already. */
static int prepare_descriptor(struct publish *p, const struct edge_binding *binding,
			      const struct bound *old, struct bound *bound)
{
	struct edge_map_descriptor record;
	fill_descriptor(&record, binding, bound->ring);
	if (old && old->ring == bound->ring) {
		const struct edge_map_descriptor *held =
		    &p->edge->maps.descriptors[old->descriptor];
		ASSERT_INVARIANT(2, same_rules(held, &record));
		record.key = held->key;
		record.key6 = held->key6;
		if (memcmp(held, &record, sizeof(record)) == 0) {
			bound->descriptor = old->descriptor;
			return 0;
		}
	}
	if (record.algorithm == PICK_MULTILINEAR)
		pick_key_expand(record.seed, record.by_source, &record.key, &record.key6);
	return create_descriptor(p, &record, &bound->descriptor);
}

static int prepare_binding(struct publish *p, const struct pairing *pair, struct bound *bound)
{
	const struct edge_binding *binding = pair->binding;
	unsigned family = family_index(binding->address.family);
	uint32_t site;
	uint64_t slot;
	const struct matched_pool *pool =
	    desired_locate(p->edge->pools[family], EDGE_MAP_POOLS, &binding->address, &site, &slot);
	ASSERT(pool);
	int result = rings_take(p->edge, binding->version, pair->old ? pair->old->ring : NULL,
				&bound->ring, p->err);
	if (result == 0)
		result = prepare_descriptor(p, binding, pair->old, bound);
	if (result < 0)
		return result;
	bound->span = pool->first_span + site;
	bound->slot = (uint32_t)slot;
	bound->word = bound->descriptor | EDGE_WORD_BINDING(binding->number);
	if (binding->refuse_new)
		bound->word |= EDGE_WORD_REFUSE_NEW;
	if (binding->late)
		bound->word |= EDGE_WORD_LATE;
	return 0;
}

/*
 * Grow once for all that is new, rather than again and again while it is taken. Bindings of one
 * version mostly come in a row; counting one twice does no harm, and who takes more than there is
 * finds out then.
 */
static int prepare_room(struct publish *p)
{
	struct edge *edge = p->edge;
	const struct edge_version *last = NULL;
	uint32_t pages = 0;
	uint32_t descriptors = 0;
	for (size_t i = 0; i < p->desired->binding_count; i++) {
		const struct bound *old = p->olds[i];
		const struct edge_version *version = p->desired->bindings[i].version;
		if (version != last && !rings_find(edge, &version->digest, old ? old->ring : NULL))
			pages += (uint32_t)(version->ring_length / EDGE_MAP_PAGE_ENTRIES);
		descriptors += !old;
		last = version;
	}
	uint32_t free_pages = pages ? slots_free(&edge->pages, edge_now(edge)) : 0;
	uint32_t free_descriptors =
	    descriptors ? slots_free(&edge->descriptors, edge_now(edge)) : 0;
	return grow_by(edge, pages > free_pages ? pages - free_pages : 0,
		       descriptors > free_descriptors ? descriptors - free_descriptors : 0, p->err);
}

static int compare_pairs(const void *a, const void *b)
{
	const struct pairing *left = a;
	const struct pairing *right = b;
	return ip_address_compare(&left->binding->address, &right->binding->address);
}

/* Both sides lie by address, so that one walk over them finds all pairs. */
static int pair_bindings(struct publish *p)
{
	size_t count = p->desired->binding_count;
	const struct edge *edge = p->edge;
	size_t at = 0;
	p->pairs = calloc(count + 1, sizeof(*p->pairs));
	p->olds = calloc(count + 1, sizeof(const struct bound *));
	if (!p->pairs || !p->olds)
		return out_of_memory(p->err);
	for (size_t i = 0; i < count; i++)
		p->pairs[i].binding = &p->desired->bindings[i];
	qsort(p->pairs, count, sizeof(*p->pairs), compare_pairs);
	for (size_t i = 0; i < count; i++) {
		struct pairing *pair = &p->pairs[i];
		const struct ip_address *address = &pair->binding->address;
		char text[IP_TEXT_BYTES];
		if (i > 0 && ip_address_equal(&pair[-1].binding->address, address))
			return error_set(p->err, -FL_EINVALID, "service address %s is bound twice",
					 ip_address_format(address, text));
		while (at < edge->bound_count &&
		       ip_address_compare(&edge->bound[at].address, address) < 0)
			at++;
		if (at < edge->bound_count && ip_address_equal(&edge->bound[at].address, address))
			p->olds[pair->binding - p->desired->bindings] = pair->old =
			    &edge->bound[at];
	}
	return 0;
}

static int prepare_bindings(struct publish *p)
{
	size_t count = p->desired->binding_count;
	int result = 0;
	p->bound = calloc(count + 1, sizeof(*p->bound));
	if (!p->bound)
		return out_of_memory(p->err);
	for (size_t i = 0; i < count && result == 0; i++) {
		p->bound[i].address = p->pairs[i].binding->address;
		result = prepare_binding(p, &p->pairs[i], &p->bound[i]);
		p->bound_count += result == 0;
	}
	return result;
}

/* Spans */

static uint32_t power_of_two_from(uint32_t least)
{
	uint32_t power = EDGE_BLOCK;
	while (power < least)
		power *= 2;
	return power;
}

static uint32_t blocks_of(const struct span *span)
{
	return (span->length + EDGE_BLOCK - 1) / EDGE_BLOCK;
}

/* Room for `length` words at least, all zero. */
static int take_words(struct publish *p, uint32_t length, struct span *ret_span)
{
	struct edge *edge = p->edge;
	struct span span = {.length = power_of_two_from(length)};
	bool resting = false;
	int result = slots_take(&edge->blocks, blocks_of(&span), edge_now(edge), &span.first_block,
				&resting);
	if (result < 0)
		return exhausted(p, "room for service addresses", resting);
	memset(edge->maps.addresses + (size_t)span.first_block * EDGE_BLOCK, 0,
	       span.length * sizeof(uint64_t));
	*ret_span = span;
	return 0;
}

/* A span grows to a power of two, so that it seldom moves; one that holds nothing goes. */
static int prepare_spans(struct publish *p)
{
	uint32_t *needed = calloc(EDGE_MAP_SPANS, sizeof(*needed));
	int result = needed ? 0 : out_of_memory(p->err);
	for (size_t i = 0; i < p->bound_count && result == 0; i++) {
		const struct bound *bound = &p->bound[i];
		if (needed[bound->span] <= bound->slot)
			needed[bound->span] = bound->slot + 1;
	}
	for (uint32_t span = 0; span < EDGE_MAP_SPANS && result == 0; span++) {
		if (needed[span] == 0)
			p->spans[span] = (struct span){0};
		else if (needed[span] > p->spans[span].length)
			result = take_words(p, needed[span], &p->spans[span]);
	}
	free(needed);
	return result;
}

static bool span_moved(const struct publish *p, uint32_t span)
{
	const struct span *old = &p->edge->spans[span];
	const struct span *new = &p->spans[span];
	return new->length != old->length || new->first_block != old->first_block;
}

/* Move what grew: first the words, then the span, in one store. */
static void commit_grown_spans(struct publish *p)
{
	struct edge_maps *maps = &p->edge->maps;
	for (uint32_t span = 0; span < EDGE_MAP_SPANS; span++) {
		struct span *old = &p->edge->spans[span];
		struct span *new = &p->spans[span];
		uint64_t first = (uint64_t)new->first_block *EDGE_BLOCK;
		if (!span_moved(p, span) || new->length == 0)
			continue;
		memcpy(maps->addresses + first,
		       maps->addresses + (size_t)old->first_block * EDGE_BLOCK,
		       old->length * sizeof(uint64_t));
		store_word(&maps->spans[span], EDGE_SPAN(first, new->length));
		if (old->length > 0)
			slots_retire(&p->edge->blocks, old->first_block, blocks_of(old),
				     edge_now(p->edge));
		*old = *new;
	}
}

static void commit_empty_spans(struct publish *p)
{
	struct edge *edge = p->edge;
	for (uint32_t number = 0; number < EDGE_MAP_SPANS; number++) {
		struct span *span = &edge->spans[number];
		if (span->length == 0 || p->spans[number].length > 0)
			continue;
		store_word(&edge->maps.spans[number], 0);
		slots_retire(&edge->blocks, span->first_block, blocks_of(span), edge_now(edge));
		*span = (struct span){0};
	}
}

/* Words */

static void commit_words(struct publish *p)
{
	for (size_t i = 0; i < p->bound_count; i++) {
		uint64_t *word = &p->edge->maps.addresses[bound_index(p->edge, &p->bound[i])];
		if (*word != p->bound[i].word)
			store_word(word, p->bound[i].word);
	}
}

/* Addresses that mean nothing any more, or lie elsewhere now; and descriptors nobody uses. */
static void commit_withdrawals(struct publish *p)
{
	struct edge *edge = p->edge;
	size_t at = 0;
	for (size_t i = 0; i < edge->bound_count; i++) {
		const struct bound *old = &edge->bound[i];
		while (at < p->bound_count && bound_compare(&p->bound[at], old) < 0)
			at++;
		const struct bound *next =
		    at < p->bound_count && bound_compare(&p->bound[at], old) == 0 ? &p->bound[at]
										  : NULL;
		if (!next || next->span != old->span || next->slot != old->slot)
			store_word(&edge->maps.addresses[bound_index(edge, old)], 0);
		if (!next || next->descriptor != old->descriptor)
			slots_retire(&edge->descriptors, old->descriptor, 1, edge_now(edge));
	}
}

/* The coarse clock steps once a jiffy, so that its resolution says how long one is. */
static uint64_t stale_jiffies(void)
{
	struct timespec jiffy;
	ASSERT(clock_getres(CLOCK_MONOTONIC_COARSE, &jiffy) == 0 && jiffy.tv_nsec > 0);
	return EDGE_STALE_MS * UINT64_C(1000000) / (uint64_t)jiffy.tv_nsec;
}

static void commit_sources(struct edge *edge)
{
	struct edge_map_settings *settings = edge->maps.settings;
	uint32_t source_v4;
	memcpy(&source_v4, edge->source_v4.bytes, sizeof(source_v4));
	if (settings->source_v4 != source_v4)
		settings->source_v4 = source_v4;
	if (memcmp(settings->source_v6, edge->source_v6.bytes, sizeof(settings->source_v6)) != 0)
		memcpy(settings->source_v6, edge->source_v6.bytes, sizeof(settings->source_v6));
	if (settings->heartbeat_limit != stale_jiffies())
		settings->heartbeat_limit = stale_jiffies();
}

/* Whether the address's word or its span is to be written. */
static bool is_written(const struct publish *p, const struct bound *bound, const struct bound *old)
{
	return !old || old->word != bound->word || old->span != bound->span ||
	       old->slot != bound->slot || span_moved(p, bound->span);
}

static void commit(struct publish *p)
{
	struct edge *edge = p->edge;
	for (size_t i = 0; i < p->bound_count; i++)
		p->bound[i].written = is_written(p, &p->bound[i], p->pairs[i].old);
	commit_sources(edge);
	rings_commit(edge);
	commit_grown_spans(p);
	commit_words(p);
	commit_new_pools(edge);
	commit_withdrawals(p);
	commit_old_pools(edge);
	commit_empty_spans(p);

	free(edge->bound);
	edge->bound = p->bound;
	edge->bound_count = p->bound_count;
	p->bound = NULL;
	rings_sweep(edge);
}

static void undo(struct publish *p)
{
	struct edge *edge = p->edge;
	rings_undo(edge);
	for (size_t i = 0; i < p->bound_count; i++) {
		const struct bound *old = p->pairs[i].old;
		if (!old || old->descriptor != p->bound[i].descriptor)
			slots_retire(&edge->descriptors, p->bound[i].descriptor, 1, edge_now(edge));
	}
	for (uint32_t span = 0; span < EDGE_MAP_SPANS; span++) {
		if (span_moved(p, span) && p->spans[span].length > 0)
			slots_retire(&edge->blocks, p->spans[span].first_block,
				     blocks_of(&p->spans[span]), edge_now(edge));
	}
	undo_pools(edge);
	rings_sweep(edge);
}

/* What the program will find of what was written, asked from the kernel. */
static int read_back(const struct edge *edge, struct error *err)
{
	for (size_t i = 0; i < edge->bound_count; i++) {
		const struct bound *bound = &edge->bound[i];
		uint32_t index = bound_index(edge, bound);
		uint64_t word;
		uint64_t span;
		char text[IP_TEXT_BYTES];
		if (!bound->written)
			continue;
		if (bpf_map_lookup_elem(edge->maps.spans_fd, &bound->span, &span) < 0 ||
		    bpf_map_lookup_elem(edge->maps.addresses_fd, &index, &word) < 0)
			return error_set(err, -errno, "the maps cannot be read back: %s",
					 error_text(-errno));
		if (word != bound->word || bound->slot >= EDGE_SPAN_LENGTH(span) ||
		    index != EDGE_SPAN_FIRST(span) + bound->slot)
			return error_set(err, -FL_ECORRUPT,
					 "service address %s does not read back as published",
					 ip_address_format(&bound->address, text));
	}
	return 0;
}

int edge_publish(struct edge *edge, const struct edge_desired *desired, struct error *err)
{
	struct publish p = {.edge = edge, .desired = desired, .err = err};
	int result = pair_bindings(&p);
	if (result == 0)
		result = desired_check(edge, desired, p.olds, err);
	if (result < 0)
		goto out;
	p.spans = malloc(EDGE_MAP_SPANS * sizeof(*p.spans));
	if (!p.spans) {
		result = out_of_memory(err);
		goto out;
	}
	memcpy(p.spans, edge->spans, EDGE_MAP_SPANS * sizeof(*p.spans));

	result = prepare_pools(&p);
	if (result == 0)
		result = prepare_room(&p);
	if (result == 0)
		result = prepare_bindings(&p);
	if (result == 0)
		result = prepare_spans(&p);
	if (result == 0)
		result = rings_reach(edge, err);
	if (result == 0) {
		commit(&p);
		calls_follow_pools(edge);
		result = read_back(edge, err);
	} else {
		undo(&p);
	}
out:
	free(p.bound);
	free(p.pairs);
	free(p.olds);
	free(p.spans);
	return result;
}
