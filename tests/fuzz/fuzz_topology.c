/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a topology: refused with a place and a reason, or read with everything that building
 * relies on in its place. */
#include "config/config.h"
#include "lab/topology.h"
#include "yaml/findings.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_end(const struct topology *topology, const struct topology_end *end)
{
	ASSERT(topology_machine(topology, end->machine));
	ASSERT(strlen(end->interface) < IFNAMSIZ && !strpbrk(end->interface, " \n/"));
	for (size_t i = 0; i < end->address_count; i++)
		ASSERT(end->addresses[i].length <=
		       ip_family_bits(end->addresses[i].address.family));
}

static void check(const struct topology *topology)
{
	for (size_t i = 0; i < topology->link_count; i++) {
		const struct topology_link *link = &topology->links[i];
		ASSERT(topology_link(topology, link->name) == link);
		ASSERT(link->mtu >= TOPOLOGY_MIN_MTU && link->mtu <= TOPOLOGY_MAX_MTU);
		check_end(topology, &link->ends[LINK_FROM]);
		check_end(topology, &link->ends[LINK_TO]);
		ASSERT(link->shapes[LINK_TO].queue_ns && link->shapes[LINK_TO].mtu == link->mtu);
	}
	for (size_t i = 0; i < topology->machine_count; i++) {
		const struct topology_machine *machine = &topology->machines[i];
		for (size_t p = 0; p < machine->process_count; p++)
			ASSERT(machine->processes[p].name && machine->processes[p].command);
		for (size_t r = 0; r < machine->route_count; r++)
			ASSERT(machine->routes[r].to.address.family ==
			       machine->routes[r].via.family);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena;
	struct topology *topology;
	struct findings findings;
	arena_init(&arena, 0);
	int result =
	    topology_parse((const char *)data, size, "fuzz.yaml", &arena, &topology, &findings);
	ASSERT((result == 0) == (findings.errors == 0));
	if (result == 0)
		check(topology);
	else
		ASSERT(result == -FL_EINVALID);
	arena_done(&arena);
	return 0;
}
