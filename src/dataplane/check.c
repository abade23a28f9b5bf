/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The self-check: what the program reads against what this process remembers to have written. The
 * maps are open to whoever is root, and so are the links and the pins; a map that was emptied drops
 * packets without a word, while every process that filled it believes all is well.
 *
 * Settings, spans, words, backends, programs and pins are set back. Of rings and descriptors only
 * sums are remembered, since their content is large and the caller has it: they are told as
 * damaged, and the next edge_publish() writes them again. Large tables are looked at in parts.
 */
#include "dataplane/internal.h"

#include <bpf/bpf.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

/* So that a look costs well under a millisecond, and an edge of a thousand versions, with a page
 * for each half of a ring, is seen whole in 16 s. */
#define DESCRIPTORS_AT_ONCE 256
#define BACKENDS_AT_ONCE 1024
#define PAGES_AT_ONCE 32

/* Count one, and say of the first what it was. */
static void tell(unsigned *count, struct edge_check *result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void tell(unsigned *count, struct edge_check *result, const char *format, ...)
{
	if (result->repaired + result->damaged + result->standing == 0) {
		va_list arguments;
		va_start(arguments, format);
		vsnprintf(result->text, sizeof(result->text), format, arguments);
		va_end(arguments);
	}
	(*count)++;
}

/* Settings, but for the heartbeat */

static bool check_pool4(struct edge_map_pool4 *entry, const struct edge_map_pool4 *kept)
{
	if (memcmp(entry, kept, sizeof(*entry)) == 0)
		return false;
	pool4_store(entry, 0, UINT32_MAX); /* matches nothing while it is written */
	entry->first_span = kept->first_span;
	entry->site_mask = kept->site_mask;
	entry->slot_bits = kept->slot_bits;
	memcpy(entry->reserved, kept->reserved, sizeof(entry->reserved));
	pool4_store(entry, kept->prefix, kept->mask);
	return true;
}

static bool check_pool6(struct edge_map_pool6 *entry, const struct edge_map_pool6 *kept)
{
	struct edge_map_pool6 unused = *kept;
	if (memcmp(entry, kept, sizeof(*entry)) == 0)
		return false;
	__atomic_store_n(&entry->used, 0, __ATOMIC_RELEASE);
	unused.used = 0;
	memcpy(entry, &unused, sizeof(*entry));
	__atomic_store_n(&entry->used, kept->used, __ATOMIC_RELEASE);
	return true;
}

static bool check_sources(struct edge_map_settings *settings, const struct edge_map_settings *kept)
{
	if (settings->heartbeat_limit == kept->heartbeat_limit &&
	    settings->source_v4 == kept->source_v4 &&
	    memcmp(settings->source_v6, kept->source_v6, sizeof(kept->source_v6)) == 0)
		return false;
	settings->heartbeat_limit = kept->heartbeat_limit;
	settings->source_v4 = kept->source_v4;
	memcpy(settings->source_v6, kept->source_v6, sizeof(kept->source_v6));
	return true;
}

static bool check_links(struct edge_map_settings *settings, const struct edge_map_settings *kept)
{
	if (memcmp(settings->links, kept->links, sizeof(kept->links)) == 0 &&
	    memcmp(settings->direct, kept->direct, sizeof(kept->direct)) == 0)
		return false;
	memcpy(settings->links, kept->links, sizeof(kept->links));
	memcpy(settings->direct, kept->direct, sizeof(kept->direct));
	return true;
}

static void check_settings(struct edge *edge, struct edge_check *result)
{
	struct edge_map_settings *settings = edge->view.settings;
	const struct edge_map_settings *kept = &edge->published;
	bool changed = check_sources(settings, kept);
	changed |= check_links(settings, kept);
	for (uint32_t i = 0; i < EDGE_MAP_POOLS; i++) {
		changed |= check_pool4(&settings->pool4[i], &kept->pool4[i]);
		changed |= check_pool6(&settings->pool6[i], &kept->pool6[i]);
	}
	if (settings->pools4 != kept->pools4 || settings->pools6 != kept->pools6) {
		__atomic_store_n(&settings->pools4, kept->pools4, __ATOMIC_RELEASE);
		__atomic_store_n(&settings->pools6, kept->pools6, __ATOMIC_RELEASE);
		changed = true;
	}
	if (!changed)
		return;
	tell(&result->repaired, result, "the settings in the maps had been changed");
}

/* Spans and words */

static void check_span(struct edge *edge, uint32_t span, struct edge_check *result)
{
	const struct site *site = &edge->sites[span];
	uint64_t *held = &edge->view.spans[span];
	uint64_t wanted = 0;
	if (site->length > 0)
		wanted = EDGE_SPAN((uint64_t)site->first_block * EDGE_BLOCK, site->length);
	if (*held == wanted || (site->length == 0 && EDGE_SPAN_LENGTH(*held) == 0))
		return;
	store_word(held, wanted);
	tell(&result->repaired, result, "span %u in the maps had been changed", span);
}

static void check_spans(struct edge *edge, struct edge_check *result)
{
	for (unsigned family = 0; family < 2; family++) {
		for (uint32_t slot = 0; slot < EDGE_MAP_POOLS; slot++) {
			const struct pool *pool = &edge->pools[family][slot];
			uint32_t sites = pool->used ? 1u << pool->site_bits : 0;
			for (uint32_t site = 0; site < sites; site++)
				check_span(edge, pool->first_span + site, result);
		}
	}
}

static void check_words(struct edge *edge, struct edge_check *result)
{
	char text[IP_TEXT_BYTES];
	for (size_t i = 0; i < edge->bound_count; i++) {
		const struct bound *bound = &edge->bound[i];
		uint64_t *word = &edge->view.addresses[bound_index(edge, bound)];
		if (*word == bound->word)
			continue;
		store_word(word, bound->word);
		tell(&result->repaired, result,
		     "what %s means had been changed in the maps (map 'addresses')",
		     ip_address_format(&bound->address, text));
	}
}

/* Records of the large tables, a part of each in each call. */

/* How many of `total` are due now; they begin at *cursor. */
static size_t due(size_t *cursor, size_t total, size_t part)
{
	if (*cursor >= total)
		*cursor = 0;
	return total - *cursor < part ? total - *cursor : part;
}

static void check_descriptors(struct edge *edge, struct edge_check *result)
{
	char text[IP_TEXT_BYTES];
	size_t *cursor = &edge->cursors.bound;
	for (size_t left = due(cursor, edge->bound_count, DESCRIPTORS_AT_ONCE); left > 0; left--) {
		const struct bound *bound = &edge->bound[(*cursor)++];
		if (descriptor_is_whole(edge, bound->descriptor))
			continue;
		tell(&result->damaged, result,
		     "the descriptor of %s had been changed in the maps (map 'descriptors')",
		     ip_address_format(&bound->address, text));
	}
}

/* The next hop goes first and comes last: until then the kernel's routes are asked. */
static void restore_backend(struct edge *edge, uint32_t number)
{
	struct edge_map_backend *entry = &edge->view.backends[number];
	struct edge_map_backend record = edge->kept[number];
	uint64_t hop = record.hop;
	store_word((uint64_t *)&entry->hop, 0);
	record.hop = 0;
	memcpy(entry, &record, sizeof(record));
	store_word((uint64_t *)&entry->hop, hop);
}

static void check_backends(struct edge *edge, struct edge_check *result)
{
	char text[IP_TEXT_BYTES];
	size_t *cursor = &edge->cursors.backend;
	for (size_t left = due(cursor, edge->backend_count, BACKENDS_AT_ONCE); left > 0; left--) {
		uint32_t number = edge->backend_order[(*cursor)++];
		if (memcmp(&edge->view.backends[number], &edge->kept[number],
			   sizeof(*edge->kept)) == 0)
			continue;
		restore_backend(edge, number);
		struct ip_address address = backend_address(edge, number);
		tell(&result->repaired, result,
		     "how backend %s is reached had been changed in the maps (map 'backends')",
		     ip_address_format(&address, text));
	}
}

static bool has_page(const struct ring *ring, uint32_t page)
{
	return page - ring->first_page < ring->pages || page - ring->second_page < ring->pages;
}

/* An address whose ring has this page; every ring has one. */
static const struct bound *find_by_page(const struct edge *edge, uint32_t page)
{
	for (size_t i = 0; i < edge->bound_count; i++) {
		if (has_page(edge->bound[i].ring, page))
			return &edge->bound[i];
	}
	return NULL;
}

static void check_page(struct edge *edge, uint32_t page, struct edge_check *result)
{
	char text[IP_TEXT_BYTES];
	const struct bound *bound = find_by_page(edge, page);
	rings_doubt(edge); /* where one page was changed, others may have been */
	if (bound)
		tell(&result->damaged, result,
		     "the ring of %s had been changed in the maps (map 'ring_pages')",
		     ip_address_format(&bound->address, text));
}

static void check_pages(struct edge *edge, struct edge_check *result)
{
	size_t *cursor = &edge->cursors.page;
	size_t part = PAGES_AT_ONCE;
	size_t pages = edge->pages.count;
	for (size_t left = due(cursor, pages, pages); left > 0 && part > 0; left--) {
		uint32_t page = (uint32_t)(*cursor)++;
		if (!slots_used(&edge->pages, page))
			continue;
		part--;
		if (!page_is_whole(edge, page))
			check_page(edge, page, result);
	}
}

/* Programs */

/* An interface that has gone, or another one of its name, is for the news to tell, not for us. */
static bool is_there(const struct interface *interface)
{
	return interface->ifindex != 0 && if_nametoindex(interface->name) == interface->ifindex;
}

/* If it fails, `problem` says why, and the next check tries again. */
static bool attach_again(struct edge *edge, const struct interface *interface)
{
	attach_reconcile(edge);
	edge->routes_changed = true;
	return interface->link_fd >= 0;
}

static void check_program(struct edge *edge, struct interface *interface, uint32_t program_id,
			  struct edge_check *result)
{
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);
	if (!is_there(interface))
		return;
	if (interface->link_fd < 0) {
		(void)attach_again(edge, interface);
		return;
	}
	if (bpf_obj_get_info_by_fd(interface->link_fd, &info, &size) < 0)
		return;
	if (info.xdp.ifindex != interface->ifindex) {
		if (attach_again(edge, interface))
			tell(&result->repaired, result,
			     "the edge program had been taken off interface %s", interface->name);
	} else if (info.prog_id != program_id &&
		   bpf_link_update(interface->link_fd, edge_program_fd(edge), NULL) == 0) {
		tell(&result->repaired, result,
		     "another program (id %u) had been put in the edge's place on interface %s",
		     info.prog_id, interface->name);
	} else if (info.prog_id != program_id) {
		tell(&result->standing, result,
		     "another program (id %u) is in the edge's place on interface %s and cannot "
		     "be replaced: %s",
		     info.prog_id, interface->name, error_text(-errno));
	}
}

static int check_programs(struct edge *edge, struct edge_check *result, struct error *err)
{
	struct bpf_prog_info info = {0};
	uint32_t size = sizeof(info);
	if (bpf_obj_get_info_by_fd(edge_program_fd(edge), &info, &size) < 0)
		return error_set(err, -errno, "the edge program cannot be examined: %s",
				 error_text(-errno));
	for (size_t i = 0; i < edge->interface_count; i++)
		check_program(edge, &edge->interfaces[i], info.id, result);
	return 0;
}

/* Pins */

/* Forwarding does not need them, but the next process does; and what is not pinned ends with us. */
static void check_pins(struct edge *edge, struct edge_check *result)
{
	char name[EDGE_PATH];
	struct error err;
	if (maps_repin(edge, name, &err) < 0)
		tell(&result->standing, result,
		     "pin %s is gone and cannot be made again, so forwarding ends with this "
		     "daemon: %s",
		     name, err.text);
	else if (*name)
		tell(&result->repaired, result, "pin %s had been removed", name);
}

void check_keep(struct edge *edge)
{
	edge->published = *edge->view.settings;
	edge->has_published = true;
}

int edge_check(struct edge *edge, struct edge_check *ret_result, struct error *err)
{
	struct edge_check result = {0};
	if (edge->has_published) {
		check_spans(edge, &result);
		check_words(edge, &result);
		check_settings(edge, &result);
		check_descriptors(edge, &result);
		check_backends(edge, &result);
		check_pages(edge, &result);
	}
	if (edge->attached)
		check_pins(edge, &result);
	int code = edge->attached ? check_programs(edge, &result, err) : 0;
	if (code == 0)
		*ret_result = result;
	return code;
}
