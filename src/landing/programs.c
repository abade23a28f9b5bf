/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading the programs over their pinned maps, filling the maps and reading the counters. Attaching
 * and unpinning is programs_attach.c's.
 */
#include "landing/programs.h"

#include "abi/landing.h"
#include "base/digest.h"
#include "kernel/load.h"
#include "landing.skel.h"
#include "lookup.skel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Static_assert(LANDING_ABI_EDGES >= 2 * LANDING_EDGES_MAX, "room to add before deleting");
_Static_assert(LANDING_ABI_ADDRESSES >= 2 * LANDING_ADDRESSES_MAX, "room to add before deleting");
_Static_assert(LANDING_ABI_POOLS >= 2 * LANDING_POOLS_MAX, "room to add before deleting");

/* --- loading --- */

static bool is_shared(const struct landing_options *options, const char *name)
{
	for (unsigned i = 0; options->stages_root && i < options->admitted_count; i++) {
		if (strcmp(options->admitted[i], name) == 0)
			return true;
	}
	return false;
}

static int find_interfaces(struct programs *programs, const struct landing_options *options,
			   struct error *err)
{
	if (options->interface_count > LANDING_INTERFACES_MAX)
		return error_set(err, -FL_ELIMIT,
				 "%u underlay interfaces; landing takes at most %d",
				 options->interface_count, LANDING_INTERFACES_MAX);
	for (unsigned i = 0; i < options->interface_count; i++) {
		struct program_interface *interface = &programs->interfaces[i];
		const char *name = options->interfaces[i];
		*interface = (struct program_interface){.link = -1};
		if (strlen(name) < sizeof(interface->name))
			interface->ifindex = if_nametoindex(name);
		if (!interface->ifindex)
			return error_set(err, -FL_ENOTFOUND,
					 "%s: there is no such interface; landing was told to take "
					 "tunnels on it (underlay)",
					 name);
		memcpy(interface->name, name, strlen(name));
		interface->shared = is_shared(options, name);
		programs->interface_count++;
	}
	return 0;
}

static int set_pin_paths(const struct programs *programs, const struct bpf_object *object,
			 struct error *err)
{
	struct bpf_map *map;
	bpf_object__for_each_map(map, object)
	{
		char path[PINS_PATH_BYTES];
		if (bpf_map__is_internal(map))
			continue;
		pins_path(path, programs->pin_root, programs->layout, bpf_map__name(map));
		int result = bpf_map__set_pin_path(map, path);
		if (result < 0)
			return error_set(err, result, "%s: cannot pin: %s", path,
					 error_text(result));
	}
	return 0;
}

static int load(struct programs *programs, struct error *err)
{
	programs->landing = landing_bpf__open();
	programs->lookup = programs->landing ? lookup_bpf__open() : NULL;
	if (!programs->landing || !programs->lookup)
		return error_set(err, -errno, "cannot open the BPF programs: %s",
				 error_text(-errno));
	const struct bpf_object *const both[] = {programs->landing->obj, programs->lookup->obj};
	int result = layout_digest(both, 2, NULL, programs->layout, err);
	for (size_t i = 0; i < 2 && result == 0; i++)
		result = set_pin_paths(programs, both[i], err);
	if (result == 0)
		result = load_object(programs->landing->obj, "landing", err);
	if (result == 0)
		result = load_object(programs->lookup->obj, "landing", err);
	return result;
}

static int read_tag(struct programs *programs, struct error *err)
{
	struct bpf_prog_info info = {0};
	__u32 size = sizeof(info);
	int fd = bpf_program__fd(programs->landing->progs.landing_decapsulate);
	int result = bpf_obj_get_info_by_fd(fd, &info, &size);
	if (result < 0)
		return error_set(err, result, "cannot read back the BPF program: %s",
				 error_text(result));
	hex_encode(info.tag, sizeof(info.tag), programs->tag);
	return 0;
}

int programs_open(struct programs *programs, const struct landing_options *options,
		  struct error *err)
{
	*programs = (struct programs){
	    .lookup_link = -1, .lock = -1, .stages = -1, .generic_only = options->generic_only};
	int result = pins_check_root(options->pin_root, err);
	if (result < 0)
		return result;
	snprintf(programs->pin_root, sizeof(programs->pin_root), "%s", options->pin_root);
	result = load_check_privileges("landing", LOAD_PLAIN, err);
	if (result == 0)
		result = find_interfaces(programs, options, err);
	if (result == 0)
		result = pins_lock_root(programs->pin_root, "this pin folder of a landing",
					&programs->lock, err);
	if (result == 0)
		result = load(programs, err);
	if (result == 0 && options->stages_root)
		result = pins_open_stages(options->stages_root, &programs->stages, err);
	return result < 0 ? result : read_tag(programs, err);
}

void programs_close_link(int *link)
{
	if (*link >= 0)
		close(*link);
	*link = -1;
}

void programs_done(struct programs *programs)
{
	for (unsigned i = 0; i < programs->interface_count; i++)
		programs_close_link(&programs->interfaces[i].link);
	programs_close_link(&programs->lookup_link);
	landing_bpf__destroy(programs->landing);
	lookup_bpf__destroy(programs->lookup);
	programs->landing = NULL;
	programs->lookup = NULL;
	programs_close_link(&programs->stages);
	programs_close_link(&programs->lock);
}

/* --- the maps --- */

/* Make the keys of `map` those of `wanted`; all values are 1. */
static int map_set(const struct bpf_map *map, const void *wanted, size_t count, struct error *err)
{
	const size_t size = bpf_map__key_size(map);
	const __u32 one = 1;
	const char *keys = wanted;
	int fd = bpf_map__fd(map);
	int result = 0;
	for (size_t i = 0; i < count && result == 0; i++)
		result = bpf_map_update_elem(fd, keys + i * size, &one, BPF_ANY);

	char present[64];
	char *surplus = calloc(bpf_map__max_entries(map), size);
	size_t surplus_count = 0;
	ASSERT(size <= sizeof(present));
	if (!surplus)
		result = -ENOMEM;
	for (const void *previous = NULL;
	     result == 0 && bpf_map_get_next_key(fd, previous, present) == 0; previous = present) {
		bool keep = false;
		for (size_t i = 0; i < count && !keep; i++)
			keep = memcmp(keys + i * size, present, size) == 0;
		if (!keep && surplus_count < bpf_map__max_entries(map))
			memcpy(surplus + surplus_count++ * size, present, size);
	}
	for (size_t i = 0; i < surplus_count && result == 0; i++)
		result = bpf_map_delete_elem(fd, surplus + i * size);
	free(surplus);
	return result < 0 ? error_set(err, result, "cannot fill the BPF map %s: %s",
				      bpf_map__name(map), error_text(result))
			  : 0;
}

static int fill_addresses(const struct bpf_map *map, const struct ip_address *addresses,
			  unsigned count, struct error *err)
{
	struct landing_address_key *keys = calloc(count ? count : 1, sizeof(*keys));
	if (!keys)
		return error_set(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < count; i++) {
		keys[i].family = addresses[i].family;
		memcpy(keys[i].bytes, addresses[i].bytes, sizeof(keys[i].bytes));
	}
	int result = map_set(map, keys, count, err);
	free(keys);
	return result;
}

int programs_fill(struct programs *programs, const struct landing_desired *desired,
		  struct error *err)
{
	struct landing_pool_key pools[LANDING_POOLS_MAX] = {0};
	for (unsigned i = 0; i < desired->pool_count; i++) {
		pools[i].length = LANDING_POOL_KEY_BITS + desired->pools[i].length;
		pools[i].family = desired->pools[i].address.family;
		memcpy(pools[i].bytes, desired->pools[i].address.bytes, sizeof(pools[i].bytes));
	}
	const struct landing_bpf *landing = programs->landing;
	int result =
	    fill_addresses(landing->maps.landing_edges, desired->edges, desired->edge_count, err);
	if (result == 0)
		result = map_set(landing->maps.landing_pools, pools, desired->pool_count, err);
	if (result == 0)
		result = fill_addresses(landing->maps.landing_addresses, desired->addresses,
					desired->address_count, err);
	return result;
}

int programs_set_own(struct programs *programs, const struct link_chain *chains, struct error *err)
{
	const __u32 zero = 0;
	struct landing_own own = {0};
	size_t count = 0;
	for (unsigned i = 0; i < programs->interface_count; i++) {
		const struct link_chain *chain = &chains[i];
		for (size_t j = 0; j < chain->count && count < LANDING_ABI_OWN; j++) {
			if (!chain->links[j].ethernet)
				continue;
			own.items[count].ifindex = chain->ifindex[0];
			memcpy(own.items[count++].address, chain->links[j].address,
			       sizeof(own.items->address));
		}
	}
	int fd = bpf_map__fd(programs->landing->maps.landing_own);
	int result = bpf_map_update_elem(fd, &zero, &own, BPF_ANY);
	return result < 0 ? error_set(err, result, "cannot set the own link addresses: %s",
				      error_text(result))
			  : 0;
}

int programs_set_mss(struct programs *programs, uint32_t v4, uint32_t v6, struct error *err)
{
	const __u32 zero = 0;
	const struct landing_mss mss = {.v4 = v4, .v6 = v6};
	int fd = bpf_map__fd(programs->landing->maps.landing_mss);
	int result = bpf_map_update_elem(fd, &zero, &mss, BPF_ANY);
	return result < 0 ? error_set(err, result, "cannot set the MSS: %s", error_text(result))
			  : 0;
}

int programs_clamp(const struct programs *programs)
{
	return bpf_program__fd(programs->landing->progs.landing_clamp);
}

int programs_places_map(const struct programs *programs)
{
	return bpf_map__fd(programs->lookup->maps.landing_places);
}

int programs_sockets_map(const struct programs *programs)
{
	return bpf_map__fd(programs->lookup->maps.landing_listeners);
}

int programs_wrong(const struct programs *programs, struct landing_wrong *ret_wrong)
{
	const __u32 zero = 0;
	return bpf_map_lookup_elem(bpf_map__fd(programs->landing->maps.landing_wrong), &zero,
				   ret_wrong);
}

int programs_counters(const struct programs *programs, struct landing_counters *ret_counters,
		      struct error *err)
{
	uint64_t *values = NULL;
	size_t cpus = 0;
	int result = load_read_per_cpu(bpf_map__fd(programs->landing->maps.landing_counts), 0,
				       sizeof(struct landing_counts), &values, &cpus);
	if (result < 0)
		return error_set(err, result, "cannot read the drop counters: %s",
				 error_text(result));
	const struct landing_counts *counts = (const struct landing_counts *)values;
	struct landing_counters sum = {0};
	for (size_t cpu = 0; cpu < cpus; cpu++) {
		const __u64 *accepted = counts[cpu].accepted;
		sum.passed += counts[cpu].passed;
		sum.clamped += counts[cpu].clamped;
		sum.unclamped += counts[cpu].unclamped;
		sum.wrong_source += counts[cpu].wrong_source;
		sum.accepted_4in4 += accepted[LANDING_TUNNEL(false, false)];
		sum.accepted_6in4 += accepted[LANDING_TUNNEL(false, true)];
		sum.accepted_4in6 += accepted[LANDING_TUNNEL(true, false)];
		sum.accepted_6in6 += accepted[LANDING_TUNNEL(true, true)];
		for (unsigned reason = 0; reason < DROP_REASONS; reason++)
			sum.drops[reason] += counts[cpu].drops[reason];
	}
	free(values);
	*ret_counters = sum;
	return 0;
}
