/* SPDX-License-Identifier: Apache-2.0 */
#include "edge_world.h"
#include "abi/edge.h"
#include "abi/pick.h"

#include <bpf/bpf.h>
#include <net/if.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Two that the edge sends to by itself, two of them behind the other interface; two without a
 * neighbour, and one that no route leads to. */
const struct world_backend world_backends[WORLD_BACKENDS] = {
    {"10.1.0.11", 0, 1500, true, {2, 0, 0, 0, 0, 0x10}},
    {"10.2.0.12", 1, 1400, true, {2, 0, 0, 0, 0, 0x21}},
    {"fd00:1::11", 0, 1500, true, {2, 0, 0, 0, 0, 0x12}},
    {"fd00:2::12", 1, 1400, true, {2, 0, 0, 0, 0, 0x23}},
    {"10.1.0.99", 0, 1500, false, {0}},
    {"fd00:1::99", 0, 1500, false, {0}},
    {"10.9.0.1", 0, 0, false, {0}},
};

static const struct {
	const char *prefix;
	uint8_t site_bits;
} pools[WORLD_POOLS] = {
    {"198.51.100.0/26", 1},  {"203.0.113.0/24", 0},   {"192.0.2.192/26", 6},
    {"2001:db8:f::/108", 4}, {"2001:db8:e::/65", 11}, {"2001:db8:d:0:1::/80", 0},
};

/* Versions 0 and 3 have one page, 1 and 2 three; 1 is of algorithm 1, 2 picks by source. Addresses
 * of neighbouring slots, of the last slot of a site, of a slot that made the span move; of one site
 * and of several. */
static const struct {
	const char *address;
	uint8_t version;
	bool refuse_new, late;
} bindings[WORLD_BINDINGS] = {
    {"198.51.100.0", 0, false, false},     {"198.51.100.33", 1, true, false},
    {"198.51.100.34", 2, false, true},     {"198.51.100.63", 3, true, true},
    {"203.0.113.1", 0, false, false},      {"203.0.113.200", 2, false, true},
    {"192.0.2.213", 1, false, false},      {"2001:db8:f::3:100", 0, false, false},
    {"2001:db8:f::3:101", 1, true, false}, {"2001:db8:f::f:ffff", 2, false, true},
    {"2001:db8:e::", 3, false, false},     {"2001:db8:e:0:7ff0::5", 2, true, true},
    {"2001:db8:d:0:1::", 1, false, false}, {"2001:db8:d:0:1::1f0", 0, false, true},
};

static const struct edge_port few_ports[] = {
    {.low = 80, .high = 80, .protocol = IPPROTO_TCP},
    {.low = 443, .high = 443, .protocol = IPPROTO_UDP, .quic = true},
    {.low = 53, .high = 53, .protocol = IPPROTO_UDP},
};

/* As many ranges as there can be; one that is hidden behind an earlier one, and port 0. */
static const struct edge_port many_ports[EDGE_PORT_RANGES] = {
    {.low = 8000, .high = 8010, .protocol = IPPROTO_TCP},
    {.low = 0, .high = 0, .protocol = IPPROTO_UDP},
    {.low = 4000, .high = 4100, .protocol = IPPROTO_UDP, .quic = true},
    {.low = 4050, .high = 4200, .protocol = IPPROTO_UDP},
    {.low = 80, .high = 80, .protocol = IPPROTO_TCP},
    {.low = 443, .high = 443, .protocol = IPPROTO_TCP},
    {.low = 443, .high = 443, .protocol = IPPROTO_UDP, .quic = true},
    {.low = 60000, .high = 65535, .protocol = IPPROTO_TCP},
};

static void make_interfaces(struct world *world)
{
	fixture_command("ip link add edge1 address 02:00:00:00:00:02 type veth peer name wire1");
	fixture_command("ip link set edge1 mtu 1400 up && ip link set wire1 up");
	fixture_command("ip addr add 10.2.0.1/24 dev edge1");
	fixture_command("ip -6 addr add fd00:2::1/64 dev edge1 nodad");
	for (size_t i = 0; i < WORLD_BACKENDS; i++) {
		const struct world_backend *backend = &world_backends[i];
		if (backend->has_neighbour)
			fixture_command("ip neigh replace %s dev edge%u lladdr "
					"02:00:00:00:00:%02x nud permanent",
					backend->address, backend->interface, backend->link[5]);
	}
	world->ifindex[0] = if_nametoindex("edge0");
	world->ifindex[1] = if_nametoindex("edge1");
}

static void desire(struct world *world)
{
	for (size_t i = 0; i < WORLD_POOLS; i++) {
		assert_int_equal(ip_prefix_parse(pools[i].prefix, &world->pools[i].prefix), 0);
		world->pools[i].site_bits = pools[i].site_bits;
	}
	for (size_t i = 0; i < WORLD_BACKENDS; i++)
		world->backends[i].address = fixture_address(world_backends[i].address);
	for (size_t i = 0; i < WORLD_RING; i++)
		world->ring[i] = (uint16_t)((i * 5 + i / EDGE_RING_PAGE) % WORLD_BACKENDS);
	for (size_t i = 0; i < WORLD_VERSIONS; i++) {
		bool large = i == 1 || i == 2;
		struct edge_version *version = &world->versions[i];
		*version = (struct edge_version){
		    .service = "web",
		    .number = i + 1,
		    .ports = large ? many_ports : few_ports,
		    .port_count = large ? EDGE_PORT_RANGES : 3,
		    .algorithm = i == 1 ? PICK_SIPHASH13_5TUPLE : PICK_MULTILINEAR,
		    .by_source = i == 2,
		    .backends = world->backends,
		    .backend_count = WORLD_BACKENDS,
		    .ring_length = large ? WORLD_RING : EDGE_RING_PAGE,
		    .ring = world->ring,
		};
		for (size_t j = 0; j < sizeof(version->seed); j++)
			version->seed[j] = (uint8_t)(i * 89 + j * 37 + 11);
		memset(version->digest.bytes, 0x80 + (int)i, sizeof(version->digest.bytes));
	}
	for (size_t i = 0; i < WORLD_BINDINGS; i++)
		world->bindings[i] = (struct edge_binding){
		    .address = fixture_address(bindings[i].address),
		    .version = &world->versions[bindings[i].version],
		    .number = 10 + i,
		    .refuse_new = bindings[i].refuse_new,
		    .late = bindings[i].late,
		};
	world->fixture.desired = (struct edge_desired){
	    .pools = world->pools,
	    .pool_count = WORLD_POOLS,
	    .bindings = world->bindings,
	    .binding_count = WORLD_BINDINGS,
	};
}

/* The number of the map's record that `is_it` says is meant. */
static uint32_t find_record(int map_fd, void *record,
			    bool (*is_it)(const void *record, const void *context),
			    const void *context)
{
	uint32_t number = 0;
	do {
		number++;
		assert_int_equal(bpf_map_lookup_elem(map_fd, &number, record), 0);
	} while (!is_it(record, context));
	return number;
}

static bool is_backend(const void *record, const void *context)
{
	const struct edge_map_backend *entry = record;
	const struct ip_address *address = context;
	return entry->family == address->family &&
	       memcmp(entry->address, address->bytes, sizeof(entry->address)) == 0;
}

static bool is_descriptor(const void *record, const void *context)
{
	const struct edge_map_descriptor *entry = record;
	const struct edge_binding *binding = context;
	return entry->binding == binding->number &&
	       memcmp(entry->address, binding->address.bytes, sizeof(entry->address)) == 0;
}

static void find_records(struct world *world)
{
	struct edge_map_backend backend;
	struct edge_map_descriptor descriptor;
	world->backends_fd = fixture_map(&world->fixture, "backends");
	world->descriptors_fd = fixture_map(&world->fixture, "descriptors");
	world->settings_fd = fixture_map(&world->fixture, "settings");
	world->counters_fd = fixture_map(&world->fixture, "counters");
	world->drops_fd = fixture_map(&world->fixture, "drops");
	for (size_t i = 0; i < WORLD_BACKENDS; i++) {
		world->backend_numbers[i] = find_record(world->backends_fd, &backend, is_backend,
							&world->backends[i].address);
		world->backend_hops[i] = backend.hop;
	}
	for (size_t i = 0; i < WORLD_BINDINGS; i++)
		world->descriptor_numbers[i] = find_record(world->descriptors_fd, &descriptor,
							   is_descriptor, &world->bindings[i]);
}

uint32_t world_backend_mtu(const struct world *world, size_t backend)
{
	const struct world_knobs *knobs = &world->knobs;
	if (knobs->narrow >> backend & 1)
		return (uint32_t)knobs->mtu_high << 8 | knobs->mtu_low;
	return world_backends[backend].route_mtu;
}

static void write_backend(const struct world *world, size_t backend)
{
	const struct world_knobs *knobs = &world->knobs;
	const uint32_t *number = &world->backend_numbers[backend];
	struct edge_map_backend entry;
	assert_int_equal(bpf_map_lookup_elem(world->backends_fd, number, &entry), 0);
	entry.hop = knobs->lost >> backend & 1 ? 0 : world->backend_hops[backend];
	entry.mtu = world_backend_mtu(world, backend);
	assert_int_equal(bpf_map_update_elem(world->backends_fd, number, &entry, 0), 0);
}

/* A heartbeat that never grows old, or one that is too old. */
static void write_heartbeat(const struct world *world)
{
	const uint32_t zero = 0;
	bool stale = world->knobs.flags & WORLD_STALE;
	struct edge_map_settings settings;
	assert_int_equal(bpf_map_lookup_elem(world->settings_fd, &zero, &settings), 0);
	settings.heartbeat = 0;
	settings.heartbeat_limit = stale ? 1 : UINT64_MAX;
	assert_int_equal(bpf_map_update_elem(world->settings_fd, &zero, &settings, 0), 0);
}

static void write_algorithm(const struct world *world)
{
	struct edge_map_descriptor descriptor;
	for (size_t i = 0; i < WORLD_BINDINGS; i++) {
		const uint32_t *number = &world->descriptor_numbers[i];
		if (world->bindings[i].version != &world->versions[WORLD_FOREIGN_VERSION])
			continue;
		assert_int_equal(bpf_map_lookup_elem(world->descriptors_fd, number, &descriptor),
				 0);
		descriptor.algorithm = world->knobs.flags & WORLD_FOREIGN ? 77 : PICK_MULTILINEAR;
		assert_int_equal(bpf_map_update_elem(world->descriptors_fd, number, &descriptor, 0),
				 0);
	}
}

const uint8_t *world_own_link(const struct world *world)
{
	static const uint8_t links[2][6] = {{2, 0, 0, 0, 0, 1}, {2, 0, 0, 0, 0, 2}};
	return links[world->knobs.flags & WORLD_FROM_EDGE1 ? 1 : 0];
}

void world_turn(struct world *world, const struct world_knobs *knobs)
{
	const struct world_knobs old = world->knobs;
	bool mtu = old.mtu_high != knobs->mtu_high || old.mtu_low != knobs->mtu_low;
	unsigned changed = (unsigned)(old.lost ^ knobs->lost) |
			   (unsigned)(old.narrow ^ knobs->narrow) | (mtu ? knobs->narrow : 0u);
	world->knobs = *knobs;
	for (size_t i = 0; i < WORLD_BACKENDS; i++) {
		if (changed >> i & 1)
			write_backend(world, i);
	}
	if ((old.flags ^ knobs->flags) & WORLD_STALE)
		write_heartbeat(world);
	if ((old.flags ^ knobs->flags) & WORLD_FOREIGN)
		write_algorithm(world);
}

struct world_knobs world_random_knobs(struct random *random)
{
	struct world_knobs knobs = {0};
	uint64_t mtu = random_below(random, 1600);
	if (random_below(random, 4) == 0)
		knobs.lost = (uint8_t)random_u64(random);
	if (random_below(random, 3) == 0)
		knobs.narrow = (uint8_t)random_u64(random);
	if (random_below(random, 4) != 0) {
		knobs.mtu_high = (uint8_t)(mtu >> 8);
		knobs.mtu_low = (uint8_t)mtu;
	}
	if (random_below(random, 2) == 0)
		knobs.flags = (uint8_t)random_below(random, WORLD_FLAGS + 1);
	return knobs;
}

bool world_enter(struct world *world)
{
	static const char *const interfaces[] = {"edge0", "edge1"};
	struct error err = {0};
	memset(world, 0, sizeof(*world));
	if (!fixture_enter(&world->fixture))
		return false;
	make_interfaces(world);
	desire(world);
	world->source_v4 = fixture_address("10.1.0.1");
	world->source_v6 = fixture_address("fd00:1::1");
	fixture_open_on(&world->fixture, interfaces, 2);
	fixture_publish(&world->fixture);
	assert_int_equal(edge_attach(world->fixture.edge, &err), 0);
	fixture_drain(&world->fixture);
	find_records(world);
	write_heartbeat(world);
	return true;
}

void world_leave(struct world *world)
{
	close(world->backends_fd);
	close(world->descriptors_fd);
	close(world->settings_fd);
	close(world->counters_fd);
	close(world->drops_fd);
	fixture_reset(&world->fixture);
	fixture_leave(&world->fixture);
}
