/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/report.h"

#include "lab/room.h"

#include <stdio.h>
#include <string.h>

#define PATH_BYTES 256 /* a machine, an interface; a log */

static json_t *addresses_json(const struct topology_address *addresses, size_t count)
{
	char text[IP_TEXT_BYTES];
	json_t *array = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(array,
				      json_string(topology_address_format(&addresses[i], text)));
	return array;
}

static json_t *interface_json(const char *name, const char *link,
			      const struct topology_address *addresses, size_t count)
{
	return json_pack("{s:s, s:s*, s:o}", "name", name, "link", link, "addresses",
			 addresses_json(addresses, count));
}

static json_t *machine_json(const struct topology *topology, const struct topology_machine *machine)
{
	json_t *interfaces = json_array();
	for (size_t i = 0; i < machine->bridge_count; i++) {
		const struct topology_bridge *bridge = &machine->bridges[i];
		json_array_append_new(
		    interfaces,
		    interface_json(bridge->name, NULL, bridge->addresses, bridge->address_count));
	}
	for (size_t i = 0; i < LINK_SIDES * topology->link_count; i++) {
		const struct topology_link *link = &topology->links[i / LINK_SIDES];
		const struct topology_end *end = &link->ends[i % LINK_SIDES];
		if (strcmp(end->machine, machine->name) == 0)
			json_array_append_new(interfaces,
					      interface_json(end->interface, link->name,
							     end->addresses, end->address_count));
	}
	return json_pack("{s:s, s:b, s:o}", "name", machine->name, "forwards", machine->forwards,
			 "interfaces", interfaces);
}

static json_t *end_json(const struct topology_end *end)
{
	char text[PATH_BYTES];
	snprintf(text, sizeof(text), "%s:%s", end->machine, end->interface);
	return json_string(text);
}

/* One direction of a link: what it does to packets, and what became of them. */
static json_t *way_json(const struct network_link *link, enum topology_side side)
{
	const struct shape *shape = &link->link->shapes[side];
	struct shaper_counts counts = {0};
	bool is_there = link->relay != 0;
	if (link->counts)
		counts = link->counts->sides[side];
	else if (network_count(&link->link->ends[side], &counts, &is_there, NULL) < 0)
		is_there = false;
	json_t *way = json_pack(
	    "{s:o, s:o, s:b, s:f, s:f, s:I, s:I, s:I, s:I, s:I}", "from",
	    end_json(&link->link->ends[side]), "to", end_json(&link->link->ends[LINK_TO - side]),
	    "there", is_there, "delay_ms", (double)shape->delay_ns / (double)SHAPE_NS_PER_MS,
	    "loss", (double)shape->loss / SHAPE_LOSS_ALL, "sent", (json_int_t)counts.sent, "passed",
	    (json_int_t)counts.passed, "lost", (json_int_t)counts.lost, "full",
	    (json_int_t)counts.full, "too_big", (json_int_t)counts.too_big);
	if (way && shape->rate)
		json_object_set_new(way, "rate", json_integer((json_int_t)shape->rate));
	return way;
}

static json_t *link_json(const struct network_link *link)
{
	return json_pack("{s:s, s:i, s:[o, o]}", "name", link->link->name, "mtu",
			 (int)link->link->mtu, "ways", way_json(link, LINK_FROM),
			 way_json(link, LINK_TO));
}

static json_t *process_json(const struct lab_process *item)
{
	char state[PROCESS_STATE_BYTES], log[PATH_BYTES];
	snprintf(log, sizeof(log), ROOM_LOGS "/%s.log", item->process->name);
	return json_pack("{s:s, s:s, s:i, s:b, s:s, s:s, s:s}", "name", item->process->name,
			 "machine", item->machine->name, "pid", (int)item->pid, "alive",
			 item->pid && !item->ended, "state", process_state(item, state), "log", log,
			 "command", item->process->command);
}

json_t *report_lab(const struct holder_order *order, const struct network *network,
		   const struct processes *processes, uint64_t up_ms)
{
	const struct topology *topology = order->topology;
	json_t *machines = json_array(), *links = json_array(), *started = json_array(),
	       *tries = json_array();
	for (size_t i = 0; i < topology->machine_count; i++)
		json_array_append_new(machines, machine_json(topology, &topology->machines[i]));
	for (size_t i = 0; i < topology->link_count; i++)
		json_array_append_new(links, link_json(&network->links[i]));
	for (size_t i = 0; !order->bare && i < processes->count; i++)
		json_array_append_new(started, process_json(&processes->items[i]));
	for (size_t i = 0; i < topology->try_count; i++)
		json_array_append_new(tries, json_string(topology->tries[i]));
	return json_pack("{s:s, s:s, s:I, s:s, s:o, s:o, s:o, s:o}", "lab", order->name, "topology",
			 order->file, "up_ms", (json_int_t)up_ms, "root", ROOM_ROOT, "machines",
			 machines, "links", links, "processes", started, "try", tries);
}
