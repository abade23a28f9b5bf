/* SPDX-License-Identifier: Apache-2.0 */
/* The edge's life in this process, and what it tells of itself. */
#include "dataplane/edge.h"
#include "base/file.h"
#include "dataplane/internal.h"
#include "kernel/load.h"
#include "kernel/sysctl_journal.h"

#include <bpf/bpf.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

_Static_assert(EDGE_INTERFACES == EDGE_MAP_INTERFACES, "the program knows as many interfaces");

static int check_options(const struct edge_options *options, struct error *err)
{
	int result = pins_check_root(options->pin_root, err);
	if (result < 0)
		return result;
	if (options->interface_count == 0 || options->interface_count > EDGE_INTERFACES)
		return error_set(err, -FL_EINVALID, "the edge takes 1 to %d interfaces, not %zu",
				 EDGE_INTERFACES, options->interface_count);
	for (size_t i = 0; i < options->interface_count; i++) {
		const char *name = options->interfaces[i];
		/* The kernel's own rule; and bpffs, which holds a pin by this name, has no dots. */
		if (name[0] == '\0' || strlen(name) >= IFNAMSIZ || strpbrk(name, "/:. \t\n"))
			return error_set(err, -FL_EINVALID, "'%.40s' cannot be an edge's interface",
					 name);
		for (size_t j = 0; j < i; j++) {
			if (strcmp(options->interfaces[j], name) == 0)
				return error_set(err, -FL_EINVALID, "interface '%s' is named twice",
						 name);
		}
	}
	return 0;
}

static struct edge *create(const struct edge_options *options)
{
	struct edge *edge = calloc(1, sizeof(*edge));
	if (!edge)
		return NULL;
	edge->clock = options->clock ? options->clock : &clock_system;
	snprintf(edge->pins.root, sizeof(edge->pins.root), "%s", options->pin_root);
	edge->pins.lock = -1;
	edge->hearing[0] = edge->hearing[1] = -1;
	attach_init(&edge->attachments, options);
	edge->source_v4 = options->source_v4;
	edge->source_v6 = options->source_v6;
	edge->lands_here = options->lands_here;
	/* The far end takes a place among the interfaces. */
	edge->calls.wanted = options->own_calls && options->interface_count < EDGE_INTERFACES;
	edge->most_pages = options->most_pages ? options->most_pages : EDGE_MOST_PAGES;
	edge->most_descriptors =
	    (options->most_addresses ? options->most_addresses : EDGE_MOST_ADDRESSES) + 1;
	return edge;
}

struct map_table {
	struct slots *slots;
	uint32_t first, count;
};

#define TABLES 8

static void list_tables(struct edge *edge, struct map_table tables[TABLES])
{
	const struct map_table all[TABLES] = {
	    {&edge->span_slots, 0, EDGE_MAP_SPANS},
	    {&edge->blocks, 0, EDGE_BLOCKS},
	    {&edge->pages, 0, edge->maps.page_count},
	    {&edge->descriptors, 1, edge->maps.descriptor_count},
	    {&edge->backends, 1, EDGE_MAP_BACKENDS},
	    {&edge->links, 1, EDGE_MAP_LINKS},
	    {&edge->pool_slots[0], 0, EDGE_MAP_POOLS},
	    {&edge->pool_slots[1], 0, EDGE_MAP_POOLS},
	};
	memcpy(tables, all, sizeof(all));
}

static int create_tables(struct edge *edge)
{
	struct map_table tables[TABLES];
	edge->spans = calloc(EDGE_MAP_SPANS, sizeof(*edge->spans));
	edge->reaches = calloc(EDGE_MAP_BACKENDS, sizeof(*edge->reaches));
	edge->backend_order = calloc(EDGE_MAP_BACKENDS, sizeof(*edge->backend_order));
	int result = edge->spans && edge->reaches && edge->backend_order ? 0 : -ENOMEM;
	list_tables(edge, tables);
	for (size_t i = 0; i < TABLES && result == 0; i++)
		result = slots_init(tables[i].slots, tables[i].first, tables[i].count);
	return result;
}

static void look_for_sources(struct edge *edge)
{
	for (size_t i = 0; i < 2; i++) {
		const struct ip_address *source = i == 0 ? &edge->source_v4 : &edge->source_v6;
		edge->source_missing[i] =
		    source->family != IP_NONE && !nexthop_is_local(edge, source);
	}
}

/* With a source that is somebody else's, or nobody's, answers to our tunnels never come back. */
static int require_sources(struct edge *edge, struct error *err)
{
	char text[IP_TEXT_BYTES];
	look_for_sources(edge);
	for (size_t i = 0; i < 2; i++) {
		const struct ip_address *source = i == 0 ? &edge->source_v4 : &edge->source_v6;
		if (edge->source_missing[i])
			return error_set(err, -EADDRNOTAVAIL,
					 "the tunnel source %s is not an address of this machine; "
					 "name one that 'ip addr' lists, and that backends can "
					 "answer to",
					 ip_address_format(source, text));
	}
	return 0;
}

int edge_open(const struct edge_options *options, struct edge **ret_edge, struct error *err)
{
	int result = check_options(options, err);
	if (result < 0)
		return result;
	struct edge *edge = create(options);
	if (!edge)
		return out_of_memory(err);
	maps_build_id(edge->build_id);
	result = load_check_privileges("the edge", LOAD_PERFMON, err);
	if (result == 0)
		result = maps_lock(&edge->pins, err);
	if (result == 0)
		result = maps_open(&edge->maps, &edge->pins, err);
	if (result == 0 && create_tables(edge) < 0)
		result = out_of_memory(err);
	if (result == 0)
		result = nexthop_open(edge, err);
	if (result == 0)
		unreachable_open(edge);
	if (result == 0)
		result = require_sources(edge, err);
	if (result == 0 && held_read(&edge->held, &edge->pins, &edge->attachments) < 0)
		result = out_of_memory(err);
	if (result < 0) {
		edge_close(edge);
		return result;
	}
	edge->routes_changed = true;
	*ret_edge = edge;
	return 0;
}

void edge_close(struct edge *edge)
{
	struct map_table tables[TABLES];
	if (!edge)
		return;
	attach_close(&edge->attachments);
	nexthop_close(edge);
	unreachable_close(edge);
	maps_close(&edge->maps);
	rings_close(edge);
	list_tables(edge, tables);
	for (size_t i = 0; i < TABLES; i++)
		slots_done(tables[i].slots);
	free(edge->backend_status);
	calls_close(edge);
	free(edge->fence);
	held_forget(&edge->held);
	free(edge->bound);
	free(edge->backend_order);
	free(edge->reaches);
	free(edge->spans);
	if (edge->pins.lock >= 0)
		close(edge->pins.lock);
	free(edge);
}

bool edge_is_forwarding(const struct edge *edge)
{
	if (edge->attachments.wanted)
		return edge->bound_count > 0;
	/* What the attached program reads may be out of reach: pins that are gone, or maps of
	 * another layout. */
	return edge->held.count > 0 || edge->held.unread;
}

bool edge_each_held(const struct edge *edge, edge_held_fn *each, void *context)
{
	if (edge->attachments.wanted || edge->held.unread)
		return false;
	for (size_t i = 0; i < edge->held.count; i++)
		each(context, &edge->held.items[i].address, &edge->held.items[i].version);
	return true;
}

bool edge_holds(const struct edge *edge, const struct ip_address *address,
		const struct digest *version)
{
	if (!edge->attachments.wanted) {
		const struct held_address *held = held_find(&edge->held, address);
		return held && !held->refuses_new &&
		       memcmp(held->version.bytes, version->bytes, DIGEST_BYTES) == 0;
	}
	const struct bound *bound = bound_find(edge, address);
	return bound && !(bound->word & EDGE_WORD_REFUSE_NEW) &&
	       memcmp(bound->ring->digest.bytes, version->bytes, DIGEST_BYTES) == 0;
}

int edge_fd(const struct edge *edge)
{
	return netlink_fd(&edge->news);
}

int edge_drain_netlink(struct edge *edge, struct error *err)
{
	int result = nexthop_drain(edge, err);
	if (result < 0)
		return result;
	/* Attaching flaps carriers and adds neighbours: the news of that are for the next call. */
	if (edge->links_changed) {
		attach_reconcile(&edge->attachments, maps_program(&edge->maps));
		nexthop_look_below(edge);
	}
	if (edge->routes_changed) {
		nexthop_resolve_all(edge);
		look_for_sources(edge);
		calls_update(edge);
	}
	edge->links_changed = false;
	edge->routes_changed = false;
	return 0;
}

const char *edge_own_calls_problem(const struct edge *edge)
{
	return edge->calls.problem;
}

uint32_t edge_path_mtu(const struct edge *edge, const struct ip_address *backend)
{
	uint32_t number = nexthop_find_backend(edge, backend);
	return number ? edge->maps.backends[number].mtu : 0;
}

int edge_program_fd(const struct edge *edge)
{
	return maps_program(&edge->maps);
}

void edge_heartbeat(struct edge *edge)
{
	/* A failure leaves the heartbeat to grow old, which is what it is there for. */
	struct bpf_test_run_opts options = {.sz = sizeof(options)};
	(void)bpf_prog_test_run_opts(maps_heartbeat_program(&edge->maps), &options);
}

int edge_counters(const struct edge *edge, const struct ip_address *address,
		  struct edge_counters *ret_counters)
{
	const struct bound *bound = bound_find(edge, address);
	uint64_t *values = NULL;
	size_t cpus = 0;
	if (!bound)
		return -FL_ENOTFOUND;
	int result = load_read_per_cpu(edge->maps.counters_fd, bound->descriptor,
				       sizeof(struct edge_map_counters), &values, &cpus);
	if (result < 0)
		return result;
	struct edge_counters sum = {0};
	const struct edge_map_counters *counts = (const struct edge_map_counters *)values;
	for (size_t i = 0; i < cpus; i++) {
		sum.packets += counts[i].packets;
		sum.bytes += counts[i].bytes;
		sum.new_flows += counts[i].new_flows;
		sum.late_flows += counts[i].late_flows;
		sum.refused += counts[i].refused;
		sum.wrong_port += counts[i].wrong_port;
		sum.asked_fib += counts[i].asked_fib;
		sum.to_kernel += counts[i].to_kernel;
	}
	free(values);
	*ret_counters = sum;
	return 0;
}

int edge_drops(const struct edge *edge, uint64_t ret_drops[DROP_REASONS])
{
	uint64_t drops[DROP_REASONS] = {0};
	size_t cpus = 0;
	for (uint32_t reason = 1; reason < EDGE_MAP_DROPS; reason++) {
		uint64_t *values = NULL;
		int result =
		    load_read_per_cpu(edge->maps.drops_fd, reason, sizeof(*values), &values, &cpus);
		if (result < 0)
			return result;
		for (size_t i = 0; i < cpus; i++)
			drops[reason] += values[i];
		free(values);
	}
	memcpy(ret_drops, drops, sizeof(drops));
	return 0;
}

static void fill_interfaces(struct edge *edge)
{
	static const enum edge_mode modes[] = {[XDP_MODE_NONE] = EDGE_DETACHED,
					       [XDP_MODE_NATIVE] = EDGE_NATIVE,
					       [XDP_MODE_GENERIC] = EDGE_GENERIC};
	for (size_t i = 0; i < edge->attachments.count; i++) {
		const struct attachment *attachment = &edge->attachments.items[i];
		struct edge_interface_status *status = &edge->interface_status[i];
		if (attachment->is_calls)
			continue; /* the last one, if it is there: not the operator's */
		*status = (struct edge_interface_status){.ifindex = attachment->ifindex};
		memcpy(status->name, attachment->name, sizeof(status->name));
		memcpy(status->problem, attachment->problem, sizeof(status->problem));
		memcpy(status->merging, attachment->merging, sizeof(status->merging));
		status->refused = attachment->refused;
		status->mode =
		    modes[attach_query(&edge->attachments, attachment, &status->program_id)];
		if (status->ifindex != 0)
			status->link = nexthop_link_state(edge, status->ifindex);
	}
}

const char *edge_detached(const struct edge *edge)
{
	uint32_t program_id;
	for (size_t i = 0; i < edge->attachments.count; i++) {
		const struct attachment *attachment = &edge->attachments.items[i];
		if (attachment->is_calls)
			continue;
		if (attachment->ifindex == 0 ||
		    attach_query(&edge->attachments, attachment, &program_id) == XDP_MODE_NONE)
			return attachment->name;
	}
	return NULL;
}

static bool has_next_hop(union edge_map_hop hop)
{
	return hop.to.link == EDGE_MAP_HERE || (hop.to.link != 0 && hop.to.link < EDGE_MAP_LINKS);
}

static void fill_backend(const struct edge *edge, uint32_t number,
			 struct edge_backend_status *status)
{
	const struct edge_map_backend *entry = &edge->maps.backends[number];
	union edge_map_hop hop = {.word = entry->hop};
	*status = (struct edge_backend_status){
	    .address = backend_address(edge, number),
	    .no_route = edge->reaches[number].no_route,
	    .resolved = has_next_hop(hop),
	    .here = hop.to.link == EDGE_MAP_HERE,
	    .mtu = entry->mtu,
	};
	uint64_t since_ms = edge->reaches[number].unresolved_since_ms;
	if (!status->resolved && since_ms != 0)
		status->unresolved_ms = edge_now(edge) - since_ms;
	if (!status->resolved || status->here)
		return;
	memcpy(status->link_address, hop.to.address, sizeof(status->link_address));
	uint32_t ifindex = edge->maps.settings->links[hop.to.link].ifindex;
	if (!if_indextoname(ifindex, status->interface))
		status->interface[0] = '\0';
}

/* It is numbered because packets are passed on to it, and no version names it. */
static bool is_only_peer(const struct edge *edge, uint32_t number)
{
	for (size_t i = 0; i < edge->peers.count; i++) {
		if (edge->peers.numbers[i] == number)
			return !rings_name(edge, number);
	}
	return false;
}

int edge_status(struct edge *edge, struct edge_status *ret_status)
{
	uint32_t program_id;
	int result = load_program_id(edge_program_fd(edge), &program_id);
	if (result < 0)
		return result;
	struct edge_backend_status *backends =
	    realloc(edge->backend_status, (edge->backend_count + 1) * sizeof(*backends));
	if (!backends)
		return -ENOMEM;
	edge->backend_status = backends;
	size_t backend_count = 0;
	for (size_t i = 0; i < edge->backend_count; i++) {
		if (!is_only_peer(edge, edge->backend_order[i]))
			fill_backend(edge, edge->backend_order[i], &backends[backend_count++]);
	}
	fill_interfaces(edge);
	*ret_status = (struct edge_status){
	    .program_id = program_id,
	    .addresses = edge->attachments.wanted ? edge->bound_count : edge->held.count,
	    .rings = edge->ring_count,
	    .interfaces = edge->interface_status,
	    .interface_count = edge->attachments.count - (edge->calls.wanted ? 1 : 0),
	    .backends = backends,
	    .backend_count = backend_count,
	};
	for (size_t i = 0; i < 2; i++) {
		if (edge->source_missing[i])
			ret_status->missing_sources[ret_status->missing_source_count++] =
			    i == 0 ? edge->source_v4 : edge->source_v6;
	}
	for (size_t i = 0; i < 2; i++)
		ret_status->neighbours_full[i] =
		    edge->neighbours_full_ms[i] &&
		    edge_now(edge) - edge->neighbours_full_ms[i] < EDGE_NEIGHBOURS_FULL_MS;
	memcpy(ret_status->build_id, edge->build_id, sizeof(ret_status->build_id));
	memcpy(ret_status->layout, edge->pins.layout, sizeof(ret_status->layout));
	return 0;
}

int edge_unreached(const struct edge *edge, struct ip_address **ret_addresses, size_t *ret_count)
{
	struct ip_address *list = calloc(edge->backend_count + 1, sizeof(*list));
	size_t count = 0;
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < edge->backend_count; i++) {
		uint32_t number = edge->backend_order[i];
		union edge_map_hop hop = {.word = edge->maps.backends[number].hop};
		if (!is_only_peer(edge, number) &&
		    (edge->reaches[number].no_route || !has_next_hop(hop)))
			list[count++] = backend_address(edge, number);
	}
	*ret_addresses = list;
	*ret_count = count;
	return 0;
}

int edge_attach(struct edge *edge, struct error *err)
{
	struct attachments *attachments = &edge->attachments;
	char folder[PINS_PATH_BYTES];
	pins_path(folder, edge->pins.root, "links", NULL);
	int result = file_make_folders(folder, 0700, err);
	if (result == 0 && !edge->pins.in_place)
		result = maps_pin(&edge->maps, &edge->pins, err);
	if (result < 0)
		return result;
	calls_make_pair(edge);
	attachments->wanted = true;
	held_forget(&edge->held);
	attach_reconcile(attachments, maps_program(&edge->maps));
	/* Which interfaces packets may be redirected to is known only now. */
	nexthop_resolve_all(edge);
	nexthop_look_below(edge);
	calls_update(edge);
	result = attach_require_one(attachments, err);
	if (result == 0)
		result = attach_sweep(edge->pins.root, attachments, err);
	if (result == 0 && !edge->pins.in_place)
		result = maps_take_place(&edge->pins, err);
	return result;
}

static int undo_settings(const char *pin_root, struct error *err)
{
	struct sysctl_journal journal;
	int result = sysctl_journal_open(&journal, pin_root, err);
	if (result == 0)
		result = sysctl_journal_undo(&journal, err);
	sysctl_journal_close(&journal);
	return result;
}

int edge_remove(const char *pin_root, struct error *err)
{
	int result = pins_check_root(pin_root, err);
	if (result < 0 || (access(pin_root, F_OK) < 0 && errno == ENOENT))
		return result;
	struct edge_pins pins = {.lock = -1};
	snprintf(pins.root, sizeof(pins.root), "%s", pin_root);
	result = load_check_privileges("the edge", LOAD_PERFMON, err);
	if (result == 0)
		result = maps_lock(&pins, err);
	if (result == 0)
		result = attach_sweep(pin_root, NULL, err);
	if (result == 0)
		result = undo_settings(pin_root, err);
	if (result == 0)
		result = calls_remove(err);
	if (result == 0)
		result = nexthop_remove_neighbours(err);
	if (result == 0)
		result = maps_sweep(pin_root, NULL, err);
	if (result == 0)
		result = pins_remove(pin_root, MARK_NAME, err);
	if (result == 0)
		result = pins_remove(pin_root, PINS_STAGES, err);
	if (result == 0)
		result = pins_remove_root(pin_root, err);
	if (pins.lock >= 0)
		close(pins.lock);
	return result;
}
