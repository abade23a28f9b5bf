/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The self-check: what the program reads against what this process remembers to have written. The
 * maps are open to whoever is root, and so are the links; a map that was emptied drops packets
 * without a word, while every process that filled it believes all is well.
 *
 * Settings, spans, words and programs are set back. A descriptor can only be told of: what all of
 * it said is not remembered. Rings and backends' records are not looked at: they are large.
 */
#include "dataplane/internal.h"

#include <bpf/bpf.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

/* Count one, and say of the first what it was. */
static void tell(unsigned *count, struct edge_check *result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void tell(unsigned *count, struct edge_check *result, const char *format, ...)
{
	if (result->repaired + result->standing == 0) {
		va_list arguments;
		va_start(arguments, format);
		vsnprintf(result->text, sizeof(result->text), format, arguments);
		va_end(arguments);
	}
	(*count)++;
}

/* Settings, but for the heartbeat and for what follows the kernel's news: links, direct. */

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

static void check_settings(struct edge *edge, struct edge_check *result)
{
	struct edge_map_settings *settings = edge->view.settings;
	const struct edge_map_settings *kept = &edge->published;
	bool changed = check_sources(settings, kept);
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
	/* Whoever did that may have changed links and next hops too. */
	edge->routes_changed = true;
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

static void check_descriptors(const struct edge *edge, struct edge_check *result)
{
	char text[IP_TEXT_BYTES];
	for (size_t i = 0; i < edge->bound_count; i++) {
		const struct bound *bound = &edge->bound[i];
		const struct ring *ring = bound->ring;
		const struct edge_map_descriptor *held = &edge->view.descriptors[bound->descriptor];
		size_t bytes = bound->address.family == IP_V4 ? 4 : 16;
		if (held->family == bound->address.family &&
		    memcmp(held->address, bound->address.bytes, bytes) == 0 &&
		    memcmp(held->digest, ring->digest.bytes, sizeof(held->digest)) == 0 &&
		    held->first_page == ring->first_page &&
		    held->second_page == ring->second_page && held->ring_pages == ring->pages)
			continue;
		tell(&result->standing, result,
		     "the descriptor of %s was changed in the maps (map 'descriptors'), which "
		     "cannot be set back: stop the daemon, 'fairlead detach', and start it again",
		     ip_address_format(&bound->address, text));
	}
}

/* Programs */

/* An interface that has gone, or another one of its name, is for the news to tell, not for us. */
static bool is_there(const struct interface *interface)
{
	return interface->ifindex != 0 && if_nametoindex(interface->name) == interface->ifindex;
}

static void check_program(struct edge *edge, struct interface *interface, uint32_t program_id,
			  struct edge_check *result)
{
	struct bpf_link_info info = {0};
	uint32_t size = sizeof(info);
	if (interface->link_fd < 0 || !is_there(interface) ||
	    bpf_obj_get_info_by_fd(interface->link_fd, &info, &size) < 0)
		return;
	if (info.xdp.ifindex != interface->ifindex) {
		attach_reconcile(edge);
		edge->routes_changed = true;
		/* If that failed, `problem` says why. */
		if (interface->link_fd >= 0)
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
	}
	int code = edge->attached ? check_programs(edge, &result, err) : 0;
	if (code == 0)
		*ret_result = result;
	return code;
}
