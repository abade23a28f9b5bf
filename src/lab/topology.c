/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The form of a topology: the tree of YAML nodes → a struct topology, key by key. What a key is
 * called, what type it has and which default it takes is said here and nowhere else.
 */
#include "lab/topology.h"

#include "base/text.h"
#include "lab/topology_check.h"
#include "yaml/findings.h"
#include "yaml/form.h"
#include "yaml/phases.h"

#include <ctype.h>
#include <string.h>

#define MAX_DELAY_MS 60000u
#define MAX_QUEUE_MS 60000u
#define MAX_RATE_KBIT 100000000u /* 100 Gbit/s */
#define DEFAULT_QUEUE_MS 100u
#define MAX_TRIES 16u

/* --- values --- */

/* A name of the kernel's for an interface (dev_valid_name(), net/core/dev.c), and no more odd. */
static const char *interface_fault(const char *text)
{
	static const char CHARACTERS[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					 "0123456789-_.";
	size_t length = strlen(text);
	if (length >= IFNAMSIZ)
		return "an interface's name has at most 15 characters";
	if (length == 0 || text[strspn(text, CHARACTERS)] || !isalnum((unsigned char)*text))
		return "use letters, digits, `-`, `_` and `.`, and begin with a letter or digit";
	if (strcmp(text, "lo") == 0 || strcmp(text, "all") == 0 || strcmp(text, "default") == 0)
		return "that name is the kernel's own";
	return NULL;
}

static void read_interface_name(struct form *form, const struct yaml_node *node,
				const char **target)
{
	if (!form_expect(form, node, YAML_SCALAR))
		return;
	const char *fault = interface_fault(node->text);
	if (fault)
		form_note_value(form, node, "an interface's name", fault);
	else
		*target = form_copy_text(form, node);
}

static bool parse_address(const char *text, struct topology_address *ret_address)
{
	char address[IP_TEXT_BYTES];
	size_t slash = strcspn(text, "/");
	if (!text[slash] || slash >= sizeof(address))
		return false;
	memcpy(address, text, slash);
	address[slash] = '\0';
	return ip_address_parse(address, &ret_address->address) == 0 &&
	       !text_parse_number(text + slash + 1, ip_family_bits(ret_address->address.family),
				  &ret_address->length);
}

static void read_interface_address(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology_address *address = target;
	if (!form_expect(form, node, YAML_SCALAR))
		return;
	if (!parse_address(node->text, address)) {
		form_note_value(form, node, "an address with the length of its prefix",
				"write such as 192.0.2.10/24 or \"2001:db8::10/64\"");
		return;
	}
	const char *fault = text_check_unicast(&address->address);
	if (fault)
		form_note_value(form, node, "an address for an interface", fault);
}

static struct topology_address *
read_interface_addresses(struct form *form, const struct yaml_node *node, size_t *ret_count)
{
	return read_items(form, node, YAML_LIST, TOPOLOGY_MAX_ADDRESSES,
			  sizeof(struct topology_address), read_interface_address, ret_count);
}

/* A shell's command line: one text, or a list whose items are joined by spaces. */
static void read_command(struct form *form, const struct yaml_node *node, const char **target)
{
	if (node->kind != YAML_LIST) {
		if (form_expect(form, node, YAML_SCALAR))
			*target = form_copy_text(form, node);
		return;
	}
	struct buffer line;
	buffer_init(&line, 0);
	for (const struct yaml_node *item = node->first; item; item = item->next)
		if (form_expect(form, item, YAML_SCALAR))
			buffer_printf(&line, "%s%s", line.length ? " " : "", item->text);
	*target = arena_strdup(form->arena, line.data ? line.data : "");
	if (!*target || line.status)
		form_out_of_memory(form);
	buffer_done(&line);
	form_expect_some(form, node);
}

/* --- what a link does to packets --- */

static void read_delay(struct form *form, const struct yaml_node *node, void *target)
{
	struct shape *shape = target;
	uint64_t ms = 0;
	read_duration(form, node, 0, MAX_DELAY_MS, &ms);
	shape->delay_ns = ms * SHAPE_NS_PER_MS;
}

static void read_queue(struct form *form, const struct yaml_node *node, void *target)
{
	struct shape *shape = target;
	uint64_t ms = 0;
	read_duration(form, node, 1, MAX_QUEUE_MS, &ms);
	shape->queue_ns = ms * SHAPE_NS_PER_MS;
}

static void read_loss(struct form *form, const struct yaml_node *node, void *target)
{
	struct shape *shape = target;
	if (!form_expect(form, node, YAML_SCALAR))
		return;
	shape->loss = 0;
	if (strcmp(node->text, "0%") == 0)
		return;
	const char *fault = text_parse_share(node->text, &shape->loss);
	if (fault)
		form_note_value(form, node, "a share of the packets", fault);
}

/* Digits and a unit, as ip and tc write them: `64kbit`, `10mbit`, `1gbit`; bits a second. */
static bool parse_rate(const char *text, uint64_t *ret_rate)
{
	static const struct {
		const char *name;
		uint64_t kbit;
	} UNITS[] = {{"kbit", 1}, {"mbit", 1000}, {"gbit", 1000000}};
	char digits[16];
	uint32_t number;
	size_t length = strspn(text, "0123456789");
	if (length == 0 || length >= sizeof(digits))
		return false;
	memcpy(digits, text, length);
	digits[length] = '\0';
	for (size_t i = 0; i < COUNT(UNITS); i++) {
		if (strcmp(text + length, UNITS[i].name) != 0)
			continue;
		if (text_parse_number(digits, MAX_RATE_KBIT, &number) || number == 0 ||
		    number > MAX_RATE_KBIT / UNITS[i].kbit)
			return false;
		*ret_rate = number * UNITS[i].kbit * 1000;
		return true;
	}
	return false;
}

static void read_rate(struct form *form, const struct yaml_node *node, void *target)
{
	struct shape *shape = target;
	if (!form_expect(form, node, YAML_SCALAR))
		return;
	shape->rate = 0;
	if (strcmp(node->text, "unlimited") != 0 && !parse_rate(node->text, &shape->rate))
		form_note_value(form, node, "a rate",
				"write such as 64kbit, 10mbit or 1gbit, at most 100gbit, or "
				"unlimited");
}

/* --- links --- */

static void read_end_machine(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology_end *end = target;
	read_label(form, node, &end->machine);
}

static void read_end_interface(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology_end *end = target;
	read_interface_name(form, node, &end->interface);
}

static void read_end_bridge(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology_end *end = target;
	read_interface_name(form, node, &end->bridge);
}

static void read_end_addresses(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology_end *end = target;
	end->addresses = read_interface_addresses(form, node, &end->address_count);
}

static void read_end_xdp(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology_end *end = target;
	if (!form_expect(form, node, YAML_SCALAR))
		return;
	end->passes_xdp = strcmp(node->text, "pass") == 0;
	if (!end->passes_xdp)
		form_note_value(form, node, "what an end can have",
				"write `xdp: pass`, or leave it out");
}

static void read_end(struct form *form, const struct yaml_node *node, struct topology_end *end)
{
	static const struct form_field FIELDS[] = {
	    {.name = "machine", .read = read_end_machine, .is_required = true},
	    {.name = "interface", .read = read_end_interface, .is_required = true},
	    {.name = "bridge", .read = read_end_bridge},
	    {.name = "addresses", .read = read_end_addresses},
	    {.name = "xdp", .read = read_end_xdp}};
	read_fields(form, node, "an end of a link", FIELDS, COUNT(FIELDS), end);
}

static void read_from(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology_link *link = target;
	read_end(form, node, &link->ends[LINK_FROM]);
}

static void read_to(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology_link *link = target;
	read_end(form, node, &link->ends[LINK_TO]);
}

static void read_mtu(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology_link *link = target;
	uint32_t mtu = TOPOLOGY_DEFAULT_MTU;
	read_number(form, node, TOPOLOGY_MAX_MTU, &mtu);
	if (mtu < TOPOLOGY_MIN_MTU) {
		notes_error(form->notes, node->span, "an MTU of %u is too small", mtu);
		notes_advise(form->notes, "IPv6 needs %u or more", TOPOLOGY_MIN_MTU);
	}
	link->mtu = mtu;
}

/* `back` says what differs from the way forth, so it is read when all of that is known. */
static void read_back(struct form *form, const struct yaml_node *node, void *target)
{
	(void)target;
	(void)form_expect(form, node, YAML_MAP);
}

#define LINK_FIELD(key)                                                                            \
	static void read_link_##key(struct form *form, const struct yaml_node *node, void *target) \
	{                                                                                          \
		struct topology_link *link = target;                                               \
		read_##key(form, node, &link->shapes[LINK_FROM]);                                  \
	}
LINK_FIELD(delay)
LINK_FIELD(loss)
LINK_FIELD(rate)
LINK_FIELD(queue)

static void read_link(struct form *form, const struct yaml_node *node, void *target)
{
	static const struct form_field FIELDS[] = {
	    {.name = "from", .read = read_from, .is_required = true},
	    {.name = "to", .read = read_to, .is_required = true},
	    {.name = "mtu", .read = read_mtu},
	    {.name = "delay", .read = read_link_delay},
	    {.name = "loss", .read = read_link_loss},
	    {.name = "rate", .read = read_link_rate},
	    {.name = "queue", .read = read_link_queue},
	    {.name = "back", .read = read_back}};
	static const struct form_field BACK_FIELDS[] = {{.name = "delay", .read = read_delay},
							{.name = "loss", .read = read_loss},
							{.name = "rate", .read = read_rate},
							{.name = "queue", .read = read_queue}};
	struct topology_link *link = target;
	link->mtu = TOPOLOGY_DEFAULT_MTU;
	link->shapes[LINK_FROM].queue_ns = DEFAULT_QUEUE_MS * SHAPE_NS_PER_MS;
	read_label(form, node->key, &link->name);
	read_fields(form, node, "a link", FIELDS, COUNT(FIELDS), link);
	link->shapes[LINK_FROM].mtu = link->mtu;
	link->shapes[LINK_TO] = link->shapes[LINK_FROM];
	const struct yaml_node *back = yaml_get(node, "back");
	if (back && back->kind == YAML_MAP)
		read_fields(form, back, "the way back", BACK_FIELDS, COUNT(BACK_FIELDS),
			    &link->shapes[LINK_TO]);
}

static void read_links(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology *topology = target;
	topology->links =
	    read_items(form, node, YAML_MAP, TOPOLOGY_MAX_LINKS, sizeof(struct topology_link),
		       read_link, &topology->link_count);
}

/* --- machines --- */

static void read_forwards(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology_machine *machine = target;
	if (!form_expect(form, node, YAML_SCALAR))
		return;
	machine->forwards = strcmp(node->text, "true") == 0;
	if (!machine->forwards && strcmp(node->text, "false") != 0)
		form_note_value(form, node, "true or false", "a router writes true");
}

static void read_resolver(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology_machine *machine = target;
	read_address(form, node, &machine->resolver);
}

static void read_bridge(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology_bridge *bridge = target;
	read_interface_name(form, node->key, &bridge->name);
	bridge->addresses = read_interface_addresses(form, node, &bridge->address_count);
}

static void read_bridges(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology_machine *machine = target;
	machine->bridges =
	    read_items(form, node, YAML_MAP, TOPOLOGY_MAX_PER_MACHINE,
		       sizeof(struct topology_bridge), read_bridge, &machine->bridge_count);
}

static void read_route_to(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology_route *route = target;
	if (node->kind != YAML_SCALAR || strcmp(node->text, "default") != 0)
		read_prefix(form, node, &route->to);
}

static void read_route_via(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology_route *route = target;
	read_address(form, node, &route->via);
}

static void read_route(struct form *form, const struct yaml_node *node, void *target)
{
	static const struct form_field FIELDS[] = {
	    {.name = "to", .read = read_route_to, .is_required = true},
	    {.name = "via", .read = read_route_via, .is_required = true}};
	struct topology_route *route = target;
	read_fields(form, node, "a route", FIELDS, COUNT(FIELDS), route);
	if (route->to.address.family == IP_NONE)
		route->to.address.family = route->via.family;
}

static void read_routes(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology_machine *machine = target;
	machine->routes =
	    read_items(form, node, YAML_LIST, TOPOLOGY_MAX_PER_MACHINE,
		       sizeof(struct topology_route), read_route, &machine->route_count);
}

/* `net.ipv4.tcp_timestamps`, or with slashes when an interface's name has dots. */
static void read_setting(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology_setting *setting = target;
	if (!form_expect(form, node, YAML_SCALAR))
		return;
	const char *text = node->key->text;
	char *path = arena_strdup(form->arena, text);
	setting->value = form_copy_text(form, node);
	if (!path) {
		form_out_of_memory(form);
		return;
	}
	for (char *c = path; !strchr(text, '/') && *c; c++)
		*c = *c == '.' ? '/' : *c;
	setting->path = path;
	if (strncmp(path, "net/", 4) == 0 && !strstr(path, "..") && !strstr(path, "//"))
		return;
	notes_error(form->notes, node->key->span, "`%s` is no setting of a machine", text);
	notes_advise(form->notes, "each machine has its own below `net.`, such as "
				  "net.ipv4.tcp_timestamps; the others belong to the whole "
				  "computer");
}

static void read_settings(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology_machine *machine = target;
	machine->settings =
	    read_items(form, node, YAML_MAP, TOPOLOGY_MAX_PER_MACHINE,
		       sizeof(struct topology_setting), read_setting, &machine->setting_count);
}

static void read_process_command(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology_process *process = target;
	read_command(form, node, &process->command);
}

static void read_process_ready(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology_process *process = target;
	read_command(form, node, &process->ready);
}

static void read_process(struct form *form, const struct yaml_node *node, void *target)
{
	static const struct form_field FIELDS[] = {
	    {.name = "command", .read = read_process_command, .is_required = true},
	    {.name = "ready", .read = read_process_ready}};
	struct topology_process *process = target;
	read_label(form, node->key, &process->name);
	if (node->kind == YAML_MAP)
		read_fields(form, node, "a process", FIELDS, COUNT(FIELDS), process);
	else
		read_command(form, node, &process->command);
}

static void read_run(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology_machine *machine = target;
	machine->processes =
	    read_items(form, node, YAML_MAP, TOPOLOGY_MAX_PER_MACHINE,
		       sizeof(struct topology_process), read_process, &machine->process_count);
}

static void read_machine(struct form *form, const struct yaml_node *node, void *target)
{
	static const struct form_field FIELDS[] = {{.name = "forwards", .read = read_forwards},
						   {.name = "resolver", .read = read_resolver},
						   {.name = "bridges", .read = read_bridges},
						   {.name = "routes", .read = read_routes},
						   {.name = "sysctls", .read = read_settings},
						   {.name = "run", .read = read_run}};
	struct topology_machine *machine = target;
	read_label(form, node->key, &machine->name);
	if (!node->is_null) /* `client:` alone is a machine of which its links say all */
		read_fields(form, node, "a machine", FIELDS, COUNT(FIELDS), machine);
}

static void read_machines(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology *topology = target;
	topology->machines =
	    read_items(form, node, YAML_MAP, TOPOLOGY_MAX_MACHINES, sizeof(struct topology_machine),
		       read_machine, &topology->machine_count);
}

/* --- the file --- */

static void read_seed(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology *topology = target;
	read_number(form, node, UINT32_MAX, &topology->seed);
}

static void read_try(struct form *form, const struct yaml_node *node, void *target)
{
	const char **line = target;
	if (form_expect(form, node, YAML_SCALAR))
		*line = form_copy_text(form, node);
}

static void read_tries(struct form *form, const struct yaml_node *node, void *target)
{
	struct topology *topology = target;
	topology->tries = read_items(form, node, YAML_LIST, MAX_TRIES, sizeof(const char *),
				     read_try, &topology->try_count);
}

static void read_topology(struct notes *notes, const struct yaml_node *root, void *thing)
{
	static const struct form_field FIELDS[] = {
	    {.name = "machines", .read = read_machines, .is_required = true},
	    {.name = "links", .read = read_links},
	    {.name = "seed", .read = read_seed},
	    {.name = "try", .read = read_tries}};
	struct form form = {.notes = notes, .arena = notes->arena};
	struct topology *topology = thing;
	topology->seed = 1;
	read_fields(&form, root, "the topology", FIELDS, COUNT(FIELDS), topology);
}

static void check_meaning(struct notes *notes, const struct yaml_node *root, const void *topology,
			  struct arena *scratch)
{
	(void)scratch;
	topology_check(notes, root, topology);
}

int topology_parse(const char *text, size_t length, const char *file, struct arena *arena,
		   struct topology **ret_topology, struct findings *ret_findings)
{
	static const struct phases TOPOLOGY = {.bytes = sizeof(struct topology),
					       .needs = "a topology needs at least: machines",
					       .read = read_topology,
					       .check = check_meaning};
	void *topology;
	int result = phases_run(&TOPOLOGY, text, length, file, arena, &topology, ret_findings);
	if (result == 0)
		*ret_topology = topology;
	return result;
}

/* --- finding --- */

const struct topology_link *topology_link(const struct topology *topology, const char *name)
{
	for (size_t i = 0; i < topology->link_count; i++)
		if (strcmp(topology->links[i].name, name) == 0)
			return &topology->links[i];
	return NULL;
}

bool topology_link_is_shaped(const struct topology_link *link)
{
	return shape_is_set(&link->shapes[LINK_FROM]) || shape_is_set(&link->shapes[LINK_TO]);
}

const char *topology_address_format(const struct topology_address *address, char *text)
{
	const struct ip_prefix prefix = {.address = address->address,
					 .length = (uint8_t)address->length};
	return ip_prefix_format(&prefix, text);
}
