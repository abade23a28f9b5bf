/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topology and tree are walked side by side: without form errors the topology's arrays are parallel
 * to the tree's maps and lists, item by item.
 */
#include "lab/topology_check.h"

#include "lab/topology.h"
#include "yaml/notes.h"
#include "yaml/yaml.h"

#include <string.h>

struct topology_check {
	struct notes *notes;
	const struct topology *topology;
	const struct yaml_node *machines; /* maps of the tree; `links` may be NULL */
	const struct yaml_node *links;
};

/* Where an address stands, and whose it is. */
struct bridge_place {
	const char *machine;
	const char *interface;
	const struct topology_address *addresses;
	size_t address_count;
	const struct yaml_node *node; /* the list in the tree; NULL when there is none */
};

/* The n-th interface that has addresses: first all bridges, then all ends. False behind the last.
 */
static bool next_place(const struct topology_check *check, size_t index,
		       struct bridge_place *ret_place)
{
	const struct topology *topology = check->topology;
	const struct yaml_node *node = check->machines->first;
	for (size_t i = 0; i < topology->machine_count; i++, node = node->next) {
		const struct topology_machine *machine = &topology->machines[i];
		if (index >= machine->bridge_count) {
			index -= machine->bridge_count;
			continue;
		}
		const struct topology_bridge *bridge = &machine->bridges[index];
		*ret_place = (struct bridge_place){
		    machine->name, bridge->name, bridge->addresses, bridge->address_count,
		    yaml_get(yaml_get(node, "bridges"), bridge->name)};
		return true;
	}
	if (index >= LINK_SIDES * topology->link_count)
		return false;
	const struct topology_link *link = &topology->links[index / LINK_SIDES];
	const struct topology_end *end = &link->ends[index % LINK_SIDES];
	const struct yaml_node *side = yaml_get(yaml_get(check->links, link->name),
						index % LINK_SIDES == LINK_FROM ? "from" : "to");
	*ret_place = (struct bridge_place){end->machine, end->interface, end->addresses,
					   end->address_count, yaml_get(side, "addresses")};
	return true;
}

/* --- addresses --- */

static bool has_address(const struct bridge_place *place, const struct ip_address *address)
{
	for (size_t i = 0; i < place->address_count; i++)
		if (ip_address_equal(&place->addresses[i].address, address))
			return true;
	return false;
}

/* The first interface before the `before`-th that has the address. */
static bool find_address(const struct topology_check *check, const struct ip_address *address,
			 size_t before, struct bridge_place *ret_place)
{
	for (size_t i = 0; i < before && next_place(check, i, ret_place); i++)
		if (has_address(ret_place, address))
			return true;
	return false;
}

static void check_addresses(struct topology_check *check)
{
	struct bridge_place place, other;
	for (size_t i = 0; next_place(check, i, &place); i++) {
		const struct yaml_node *item = place.node ? place.node->first : NULL;
		for (size_t a = 0; item; item = item->next, a++) {
			struct bridge_place mine = place;
			mine.address_count = a;
			bool is_twice = has_address(&mine, &place.addresses[a].address);
			other = place;
			if (!is_twice &&
			    !find_address(check, &place.addresses[a].address, i, &other))
				continue;
			notes_error(check->notes, item->span, "`%s` is there twice", item->text);
			notes_advise(check->notes,
				     "%s:%s has it too; an address belongs to one "
				     "interface",
				     other.machine, other.interface);
		}
	}
}

/* --- routes --- */

static bool reaches(const struct bridge_place *place, const struct ip_address *address)
{
	for (size_t i = 0; i < place->address_count; i++) {
		struct ip_prefix prefix = {.address = place->addresses[i].address,
					   .length = (uint8_t)place->addresses[i].length};
		ip_address_mask(&prefix.address, prefix.length);
		if (ip_prefix_contains(&prefix, address))
			return true;
	}
	return false;
}

static bool machine_reaches(const struct topology_check *check, const char *machine,
			    const struct ip_address *address)
{
	struct bridge_place place;
	for (size_t i = 0; next_place(check, i, &place); i++)
		if (strcmp(place.machine, machine) == 0 && reaches(&place, address))
			return true;
	return false;
}

static void check_routes(struct topology_check *check, const struct topology_machine *machine,
			 const struct yaml_node *node)
{
	const struct yaml_node *list = yaml_get(node, "routes");
	const struct yaml_node *item = list ? list->first : NULL;
	for (size_t i = 0; item; item = item->next, i++) {
		const struct topology_route *route = &machine->routes[i];
		const struct yaml_node *via = yaml_get(item, "via");
		if (route->to.address.family != route->via.family) {
			notes_error(check->notes, via->span, "`%s` is of the other family",
				    via->text);
			notes_advise(check->notes, "a route to IPv%u goes via an IPv%u address",
				     route->to.address.family, route->to.address.family);
		} else if (!machine_reaches(check, machine->name, &route->via)) {
			notes_error(check->notes, via->span, "no interface of %s reaches `%s`",
				    machine->name, via->text);
			notes_advise(check->notes, "give one of its interfaces an address of the "
						   "same prefix");
		}
	}
}

/* --- processes --- */

/* Logs are called as the processes are, so a name is there once in the lab. */
static void check_processes(struct topology_check *check, size_t index,
			    const struct yaml_node *node)
{
	const struct topology *topology = check->topology;
	const struct topology_machine *machine = &topology->machines[index];
	for (size_t i = 0; i < machine->process_count; i++) {
		const char *name = machine->processes[i].name;
		for (size_t m = 0; m < index; m++) {
			for (size_t p = 0; p < topology->machines[m].process_count; p++) {
				if (strcmp(topology->machines[m].processes[p].name, name) != 0)
					continue;
				const struct yaml_node *value =
				    yaml_get(yaml_get(node, "run"), name);
				notes_error(check->notes, value->key->span,
					    "a process `%s` is there already", name);
				notes_advise(check->notes,
					     "it runs on %s; a process's name is also that of its "
					     "log, such as `%s-%s`",
					     topology->machines[m].name, name, machine->name);
			}
		}
	}
}

/* --- links --- */

/* The topology has its interfaces in the order of the file; only those before count. */
static bool interface_taken(const struct topology_check *check, const char *machine,
			    const char *interface, size_t before)
{
	struct bridge_place place;
	for (size_t i = 0; i < before && next_place(check, i, &place); i++)
		if (strcmp(place.machine, machine) == 0 && strcmp(place.interface, interface) == 0)
			return true;
	return false;
}

static bool has_bridge(const struct topology_machine *machine, const char *name)
{
	for (size_t i = 0; i < machine->bridge_count; i++)
		if (strcmp(machine->bridges[i].name, name) == 0)
			return true;
	return false;
}

static void check_end(struct topology_check *check, const struct topology_end *end,
		      const struct yaml_node *node, size_t index)
{
	const struct topology_machine *machine = topology_machine(check->topology, end->machine);
	const struct yaml_node *interface = yaml_get(node, "interface");
	if (!machine) {
		const struct yaml_node *value = yaml_get(node, "machine");
		notes_error(check->notes, value->span, "there is no machine `%s`", value->text);
		notes_advise(check->notes, "add it under `machines`: `%s:` is enough", value->text);
		return;
	}
	if (interface_taken(check, end->machine, end->interface, index)) {
		notes_error(check->notes, interface->span, "%s has an interface `%s` already",
			    end->machine, end->interface);
		notes_advise(check->notes,
			     "an interface is the end of one link; give this one another name");
	}
	if (!end->bridge)
		return;
	const struct yaml_node *bridge = yaml_get(node, "bridge");
	if (!has_bridge(machine, end->bridge)) {
		notes_error(check->notes, bridge->span, "%s has no bridge `%s`", end->machine,
			    end->bridge);
		notes_advise(check->notes,
			     "add it: `bridges: {%s: [10.0.0.1/24]}`, or `[]` for "
			     "one without an address",
			     end->bridge);
	} else if (end->address_count) {
		notes_error(check->notes, yaml_get(node, "addresses")->key->span,
			    "a bridge's port has no addresses");
		notes_advise(check->notes, "give them to the bridge, under `bridges` of %s",
			     end->machine);
	}
}

static size_t bridge_total(const struct topology *topology)
{
	size_t total = 0;
	for (size_t i = 0; i < topology->machine_count; i++)
		total += topology->machines[i].bridge_count;
	return total;
}

void topology_check(struct notes *notes, const struct yaml_node *root,
		    const struct topology *topology)
{
	struct topology_check check = {.notes = notes,
				       .topology = topology,
				       .machines = yaml_get(root, "machines"),
				       .links = yaml_get(root, "links")};
	size_t index = bridge_total(topology), i = 0;
	const struct yaml_node *node = check.links ? check.links->first : NULL;
	for (i = 0; node; node = node->next, i++) {
		check_end(&check, &topology->links[i].ends[LINK_FROM], yaml_get(node, "from"),
			  index++);
		check_end(&check, &topology->links[i].ends[LINK_TO], yaml_get(node, "to"), index++);
	}
	check_addresses(&check);
	for (node = check.machines->first, i = 0; node; node = node->next, i++) {
		check_routes(&check, &topology->machines[i], node);
		check_processes(&check, i, node);
	}
}
