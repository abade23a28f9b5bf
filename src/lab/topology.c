/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The form of a topology: the tree of YAML nodes → a struct topology, key by key. What a key is
 * called, what type it has and which default it takes is said here and nowhere else.
 */
#include "lab/topology.h"

#include "config/phases.h"
#include "config/reader.h"
#include "config/text.h"
#include "lab/check.h"

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

static void read_interface_name(struct reader *reader, const struct yaml_node *node,
				const char **target)
{
	if (!reader_expect(reader, node, YAML_SCALAR))
		return;
	const char *fault = interface_fault(node->text);
	if (fault)
		reader_report_value(reader, node, "an interface's name", fault);
	else
		*target = reader_copy_text(reader, node);
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

static void read_interface_address(struct reader *reader, const struct yaml_node *node,
				   void *target)
{
	struct topology_address *address = target;
	if (!reader_expect(reader, node, YAML_SCALAR))
		return;
	if (!parse_address(node->text, address)) {
		reader_report_value(reader, node, "an address with the length of its prefix",
				    "write such as 192.0.2.10/24 or \"2001:db8::10/64\"");
		return;
	}
	const char *fault = text_check_unicast(&address->address);
	if (fault)
		reader_report_value(reader, node, "an address for an interface", fault);
}

static struct topology_address *
read_interface_addresses(struct reader *reader, const struct yaml_node *node, size_t *ret_count)
{
	return read_items(reader, node, YAML_LIST, TOPOLOGY_MAX_ADDRESSES,
			  sizeof(struct topology_address), read_interface_address, ret_count);
}

/* A shell's command line: one text, or a list whose items are joined by spaces. */
static void read_command(struct reader *reader, const struct yaml_node *node, const char **target)
{
	if (node->kind != YAML_LIST) {
		if (reader_expect(reader, node, YAML_SCALAR))
			*target = reader_copy_text(reader, node);
		return;
	}
	struct buffer line;
	buffer_init(&line, 0);
	for (const struct yaml_node *item = node->first; item; item = item->next)
		if (reader_expect(reader, item, YAML_SCALAR))
			buffer_printf(&line, "%s%s", line.length ? " " : "", item->text);
	*target = arena_strdup(reader->arena, line.data ? line.data : "");
	if (!*target || line.status)
		reader_out_of_memory(reader);
	buffer_done(&line);
	reader_expect_some(reader, node);
}

/* --- what a link does to packets --- */

static void read_delay(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct shape *shape = target;
	uint64_t ms = 0;
	read_duration(reader, node, 0, MAX_DELAY_MS, &ms);
	shape->delay_ns = ms * SHAPE_NS_PER_MS;
}

static void read_queue(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct shape *shape = target;
	uint64_t ms = 0;
	read_duration(reader, node, 1, MAX_QUEUE_MS, &ms);
	shape->queue_ns = ms * SHAPE_NS_PER_MS;
}

static void read_loss(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct shape *shape = target;
	if (!reader_expect(reader, node, YAML_SCALAR))
		return;
	shape->loss = 0;
	if (strcmp(node->text, "0%") == 0)
		return;
	const char *fault = text_parse_share(node->text, &shape->loss);
	if (fault)
		reader_report_value(reader, node, "a share of the packets", fault);
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

static void read_rate(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct shape *shape = target;
	if (!reader_expect(reader, node, YAML_SCALAR))
		return;
	shape->rate = 0;
	if (strcmp(node->text, "unlimited") != 0 && !parse_rate(node->text, &shape->rate))
		reader_report_value(reader, node, "a rate",
				    "write such as 64kbit, 10mbit or 1gbit, at most 100gbit, or "
				    "unlimited");
}

/* --- links --- */

static void read_end_machine(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology_end *end = target;
	read_label(reader, node, &end->machine);
}

static void read_end_interface(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology_end *end = target;
	read_interface_name(reader, node, &end->interface);
}

static void read_end_bridge(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology_end *end = target;
	read_interface_name(reader, node, &end->bridge);
}

static void read_end_addresses(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology_end *end = target;
	end->addresses = read_interface_addresses(reader, node, &end->address_count);
}

static void read_end_xdp(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology_end *end = target;
	if (!reader_expect(reader, node, YAML_SCALAR))
		return;
	end->passes_xdp = strcmp(node->text, "pass") == 0;
	if (!end->passes_xdp)
		reader_report_value(reader, node, "what an end can have",
				    "write `xdp: pass`, or leave it out");
}

static void read_end(struct reader *reader, const struct yaml_node *node, struct topology_end *end)
{
	static const struct field FIELDS[] = {
	    {.name = "machine", .read = read_end_machine, .is_required = true},
	    {.name = "interface", .read = read_end_interface, .is_required = true},
	    {.name = "bridge", .read = read_end_bridge},
	    {.name = "addresses", .read = read_end_addresses},
	    {.name = "xdp", .read = read_end_xdp}};
	read_fields(reader, node, "an end of a link", FIELDS, COUNT(FIELDS), end);
}

static void read_from(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology_link *link = target;
	read_end(reader, node, &link->ends[LINK_FROM]);
}

static void read_to(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology_link *link = target;
	read_end(reader, node, &link->ends[LINK_TO]);
}

static void read_mtu(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology_link *link = target;
	uint32_t mtu = TOPOLOGY_DEFAULT_MTU;
	read_number(reader, node, TOPOLOGY_MAX_MTU, &mtu);
	if (mtu < TOPOLOGY_MIN_MTU) {
		report_error(reader->report, node->span, "an MTU of %u is too small", mtu);
		report_advise(reader->report, "IPv6 needs %u or more", TOPOLOGY_MIN_MTU);
	}
	link->mtu = mtu;
}

/* `back` says what differs from the way forth, so it is read when all of that is known. */
static void read_back(struct reader *reader, const struct yaml_node *node, void *target)
{
	(void)target;
	(void)reader_expect(reader, node, YAML_MAP);
}

#define LINK_FIELD(key)                                                                            \
	static void read_link_##key(struct reader *reader, const struct yaml_node *node,           \
				    void *target)                                                  \
	{                                                                                          \
		struct topology_link *link = target;                                               \
		read_##key(reader, node, &link->shapes[LINK_FROM]);                                \
	}
LINK_FIELD(delay)
LINK_FIELD(loss)
LINK_FIELD(rate)
LINK_FIELD(queue)

static void read_link(struct reader *reader, const struct yaml_node *node, void *target)
{
	static const struct field FIELDS[] = {
	    {.name = "from", .read = read_from, .is_required = true},
	    {.name = "to", .read = read_to, .is_required = true},
	    {.name = "mtu", .read = read_mtu},
	    {.name = "delay", .read = read_link_delay},
	    {.name = "loss", .read = read_link_loss},
	    {.name = "rate", .read = read_link_rate},
	    {.name = "queue", .read = read_link_queue},
	    {.name = "back", .read = read_back}};
	static const struct field BACK_FIELDS[] = {{.name = "delay", .read = read_delay},
						   {.name = "loss", .read = read_loss},
						   {.name = "rate", .read = read_rate},
						   {.name = "queue", .read = read_queue}};
	struct topology_link *link = target;
	link->mtu = TOPOLOGY_DEFAULT_MTU;
	link->shapes[LINK_FROM].queue_ns = DEFAULT_QUEUE_MS * SHAPE_NS_PER_MS;
	read_label(reader, node->key, &link->name);
	read_fields(reader, node, "a link", FIELDS, COUNT(FIELDS), link);
	link->shapes[LINK_FROM].mtu = link->mtu;
	link->shapes[LINK_TO] = link->shapes[LINK_FROM];
	const struct yaml_node *back = yaml_get(node, "back");
	if (back && back->kind == YAML_MAP)
		read_fields(reader, back, "the way back", BACK_FIELDS, COUNT(BACK_FIELDS),
			    &link->shapes[LINK_TO]);
}

static void read_links(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology *topology = target;
	topology->links =
	    read_items(reader, node, YAML_MAP, TOPOLOGY_MAX_LINKS, sizeof(struct topology_link),
		       read_link, &topology->link_count);
}

/* --- machines --- */

static void read_forwards(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology_machine *machine = target;
	if (!reader_expect(reader, node, YAML_SCALAR))
		return;
	machine->forwards = strcmp(node->text, "true") == 0;
	if (!machine->forwards && strcmp(node->text, "false") != 0)
		reader_report_value(reader, node, "true or false", "a router writes true");
}

static void read_resolver(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology_machine *machine = target;
	read_address(reader, node, &machine->resolver);
}

static void read_bridge(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology_bridge *bridge = target;
	read_interface_name(reader, node->key, &bridge->name);
	bridge->addresses = read_interface_addresses(reader, node, &bridge->address_count);
}

static void read_bridges(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology_machine *machine = target;
	machine->bridges =
	    read_items(reader, node, YAML_MAP, TOPOLOGY_MAX_PER_MACHINE,
		       sizeof(struct topology_bridge), read_bridge, &machine->bridge_count);
}

static void read_route_to(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology_route *route = target;
	if (node->kind != YAML_SCALAR || strcmp(node->text, "default") != 0)
		read_prefix(reader, node, &route->to);
}

static void read_route_via(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology_route *route = target;
	read_address(reader, node, &route->via);
}

static void read_route(struct reader *reader, const struct yaml_node *node, void *target)
{
	static const struct field FIELDS[] = {
	    {.name = "to", .read = read_route_to, .is_required = true},
	    {.name = "via", .read = read_route_via, .is_required = true}};
	struct topology_route *route = target;
	read_fields(reader, node, "a route", FIELDS, COUNT(FIELDS), route);
	if (route->to.address.family == IP_NONE)
		route->to.address.family = route->via.family;
}

static void read_routes(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology_machine *machine = target;
	machine->routes =
	    read_items(reader, node, YAML_LIST, TOPOLOGY_MAX_PER_MACHINE,
		       sizeof(struct topology_route), read_route, &machine->route_count);
}

/* `net.ipv4.tcp_timestamps`, or with slashes when an interface's name has dots. */
static void read_setting(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology_setting *setting = target;
	if (!reader_expect(reader, node, YAML_SCALAR))
		return;
	const char *text = node->key->text;
	char *path = arena_strdup(reader->arena, text);
	setting->value = reader_copy_text(reader, node);
	if (!path) {
		reader_out_of_memory(reader);
		return;
	}
	for (char *c = path; !strchr(text, '/') && *c; c++)
		*c = *c == '.' ? '/' : *c;
	setting->path = path;
	if (strncmp(path, "net/", 4) == 0 && !strstr(path, "..") && !strstr(path, "//"))
		return;
	report_error(reader->report, node->key->span, "`%s` is no setting of a machine", text);
	report_advise(reader->report, "each machine has its own below `net.`, such as "
				      "net.ipv4.tcp_timestamps; the others belong to the whole "
				      "computer");
}

static void read_settings(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology_machine *machine = target;
	machine->settings =
	    read_items(reader, node, YAML_MAP, TOPOLOGY_MAX_PER_MACHINE,
		       sizeof(struct topology_setting), read_setting, &machine->setting_count);
}

static void read_process_command(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology_process *process = target;
	read_command(reader, node, &process->command);
}

static void read_process_ready(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology_process *process = target;
	read_command(reader, node, &process->ready);
}

static void read_process(struct reader *reader, const struct yaml_node *node, void *target)
{
	static const struct field FIELDS[] = {
	    {.name = "command", .read = read_process_command, .is_required = true},
	    {.name = "ready", .read = read_process_ready}};
	struct topology_process *process = target;
	read_label(reader, node->key, &process->name);
	if (node->kind == YAML_MAP)
		read_fields(reader, node, "a process", FIELDS, COUNT(FIELDS), process);
	else
		read_command(reader, node, &process->command);
}

static void read_run(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology_machine *machine = target;
	machine->processes =
	    read_items(reader, node, YAML_MAP, TOPOLOGY_MAX_PER_MACHINE,
		       sizeof(struct topology_process), read_process, &machine->process_count);
}

static void read_machine(struct reader *reader, const struct yaml_node *node, void *target)
{
	static const struct field FIELDS[] = {{.name = "forwards", .read = read_forwards},
					      {.name = "resolver", .read = read_resolver},
					      {.name = "bridges", .read = read_bridges},
					      {.name = "routes", .read = read_routes},
					      {.name = "sysctls", .read = read_settings},
					      {.name = "run", .read = read_run}};
	struct topology_machine *machine = target;
	read_label(reader, node->key, &machine->name);
	if (!node->is_null) /* `client:` alone is a machine of which its links say all */
		read_fields(reader, node, "a machine", FIELDS, COUNT(FIELDS), machine);
}

static void read_machines(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology *topology = target;
	topology->machines =
	    read_items(reader, node, YAML_MAP, TOPOLOGY_MAX_MACHINES,
		       sizeof(struct topology_machine), read_machine, &topology->machine_count);
}

/* --- the file --- */

static void read_seed(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology *topology = target;
	read_number(reader, node, UINT32_MAX, &topology->seed);
}

static void read_try(struct reader *reader, const struct yaml_node *node, void *target)
{
	const char **line = target;
	if (reader_expect(reader, node, YAML_SCALAR))
		*line = reader_copy_text(reader, node);
}

static void read_tries(struct reader *reader, const struct yaml_node *node, void *target)
{
	struct topology *topology = target;
	topology->tries = read_items(reader, node, YAML_LIST, MAX_TRIES, sizeof(const char *),
				     read_try, &topology->try_count);
}

static void read_topology(struct report *report, const struct yaml_node *root, void *thing)
{
	static const struct field FIELDS[] = {
	    {.name = "machines", .read = read_machines, .is_required = true},
	    {.name = "links", .read = read_links},
	    {.name = "seed", .read = read_seed},
	    {.name = "try", .read = read_tries}};
	struct reader reader = {.report = report, .arena = report->arena};
	struct topology *topology = thing;
	topology->seed = 1;
	read_fields(&reader, root, "the topology", FIELDS, COUNT(FIELDS), topology);
}

static void check_meaning(struct report *report, const struct yaml_node *root, const void *topology,
			  struct arena *scratch)
{
	(void)scratch;
	check_topology(report, root, topology);
}

int topology_parse(const char *text, size_t length, const char *file, struct arena *arena,
		   struct topology **ret_topology, struct config_findings *ret_findings)
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

const struct topology_machine *topology_machine(const struct topology *topology, const char *name)
{
	for (size_t i = 0; i < topology->machine_count; i++)
		if (strcmp(topology->machines[i].name, name) == 0)
			return &topology->machines[i];
	return NULL;
}

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
