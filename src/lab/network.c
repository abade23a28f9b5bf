/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/network.h"

#include "base/buffer.h"
#include "base/memory.h"
#include "lab/pass.h"
#include "lab/room.h"

#include <inttypes.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

void network_init(struct network *network, const struct topology *topology)
{
	*network = (struct network){.topology = topology};
	network->links = must_alloc(topology->link_count + 1, sizeof(*network->links));
	for (size_t i = 0; i < topology->link_count; i++) {
		struct network_link *link = &network->links[i];
		link->link = &topology->links[i];
		link->passes[LINK_FROM] = link->passes[LINK_TO] = -1;
		if (!topology_link_is_shaped(link->link))
			continue;
		link->counts = mmap(NULL, sizeof(*link->counts), PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (link->counts == MAP_FAILED)
			memory_end();
	}
}

/* --- ip --- */

/* In the child: `ip` reads its commands from `input`, and what it says goes to `complaints`. */
__attribute__((noreturn)) static void become_ip(int input, int complaints)
{
	dup2(input, STDIN_FILENO);
	dup2(complaints, STDOUT_FILENO);
	dup2(complaints, STDERR_FILENO);
	execlp("ip", "ip", "-batch", "-", (char *)NULL);
	_exit(127);
}

static int file_of(const struct buffer *bytes)
{
	int fd = memfd_create("lab", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, bytes->data, bytes->length) != (ssize_t)bytes->length ||
	    lseek(fd, 0, SEEK_SET) < 0) {
		close(fd);
		return -EIO;
	}
	return fd;
}

/* "Command failed -:3" → the third command, behind what `ip` had to say. */
static int ip_failed(const struct buffer *commands, int complaints, const char *where,
		     struct error *err)
{
	char said[512];
	unsigned line = 1;
	ssize_t length = pread(complaints, said, sizeof(said) - 1, 0);
	said[length > 0 ? length : 0] = '\0';
	const char *at = strstr(said, "Command failed -:");
	if (at)
		line = (unsigned)strtoul(at + strlen("Command failed -:"), NULL, 10);
	const char *command = commands->data;
	for (; line > 1 && strchr(command, '\n'); line--)
		command = strchr(command, '\n') + 1;
	return error_set(err, -FL_EUNAVAILABLE, "%s: `ip %.*s` failed: %.*s", where,
			 (int)strcspn(command, "\n"), command, (int)strcspn(said, "\n"), said);
}

/* Run the commands in the present network; `where` is for the message. */
static int ip_batch(const char *where, const struct buffer *commands, struct error *err)
{
	int status = 0, input, complaints = memfd_create("lab", MFD_CLOEXEC);
	if (commands->status)
		return error_set(err, commands->status, "%s", error_text(commands->status));
	if (!commands->length)
		return 0;
	input = file_of(commands);
	if (input < 0 || complaints < 0)
		return error_set(err, -EIO, "%s: no room for commands", where);
	pid_t pid = fork();
	if (pid == 0)
		become_ip(input, complaints);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	int result = 0;
	if (pid < 0)
		result = error_set(err, -errno, "cannot start ip: %s", error_text(-errno));
	else if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		result = error_set(err, -FL_EUNAVAILABLE,
				   "there is no program `ip`: install the package iproute2");
	else if (status != 0)
		result = ip_failed(commands, complaints, where, err);
	close(input);
	close(complaints);
	return result;
}

/* The same in a machine. */
static int ip_batch_in(const char *machine, const struct buffer *commands, struct error *err)
{
	int outside;
	int result = room_enter(machine, &outside, err);
	if (result < 0)
		return result;
	result = ip_batch(machine, commands, err);
	room_leave(outside);
	return result;
}

/* --- interfaces --- */

/* An offload that cannot be turned off is off: so it is when a program was attached to the other
 * end already, by somebody who waited for the interface. */
static int set_offload(int fd, struct ifreq *request, uint32_t command, uint32_t value)
{
	struct ethtool_value setting = {.cmd = command, .data = value};
	request->ifr_data = (void *)&setting;
	int result = ioctl(fd, SIOCETHTOOL, request) < 0 ? -errno : 0;
	return result == -EOPNOTSUPP && !value ? 0 : result;
}

/* What XDP needs of a veth end (network.h), which is up: turned on earlier, GRO brings no NAPI. */
static int prepare_veth(int fd, const char *interface)
{
	static const struct {
		uint32_t command, value;
	} OFFLOADS[] = {
	    {ETHTOOL_STXCSUM, 0}, {ETHTOOL_STSO, 0}, {ETHTOOL_SGSO, 0}, {ETHTOOL_SGRO, 1}};
	struct ifreq request = {0};
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	for (size_t i = 0; i < COUNT(OFFLOADS); i++) {
		int result = set_offload(fd, &request, OFFLOADS[i].command, OFFLOADS[i].value);
		if (result < 0)
			return result;
	}
	return 0;
}

static int set_mtu(int fd, const char *interface, uint32_t mtu)
{
	struct ifreq request = {.ifr_mtu = (int)mtu};
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	return ioctl(fd, SIOCSIFMTU, &request) < 0 ? -errno : 0;
}

static int raise_interface(int fd, const char *interface)
{
	struct ifreq request = {0};
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", interface);
	if (ioctl(fd, SIOCGIFFLAGS, &request) < 0)
		return -errno;
	request.ifr_flags |= IFF_UP;
	return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

/* Both ends are up before addresses and routes come, so that no route waits for a carrier. */
static int raise_end(struct network_link *link, enum topology_side side, struct error *err)
{
	const struct topology_end *end = &link->link->ends[side];
	int outside;
	int result = room_enter(end->machine, &outside, err);
	if (result < 0)
		return result;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	result = fd < 0 ? -errno : set_mtu(fd, end->interface, link->link->mtu);
	if (result == 0)
		result = raise_interface(fd, end->interface);
	if (result == 0 && !link->counts)
		result = prepare_veth(fd, end->interface);
	if (link->passes[side] >= 0)
		close(link->passes[side]);
	link->passes[side] = -1;
	if (result == 0 && end->passes_xdp)
		result = pass_attach(end->interface, &link->passes[side]);
	if (fd >= 0)
		close(fd);
	room_leave(outside);
	if (result < 0)
		return error_set(err, result, "cannot raise %s:%s: %s", end->machine,
				 end->interface, error_text(result));
	return 0;
}

/* --- commands --- */

/* Names stand behind `dev` and `name`: alone, `br` would be short for `broadcast`. */
static void put_addresses(const char *interface, const struct topology_address *addresses,
			  size_t count, struct buffer *commands)
{
	char text[IP_TEXT_BYTES];
	for (size_t i = 0; i < count; i++)
		buffer_printf(commands, "address add %s dev %s%s\n",
			      topology_address_format(&addresses[i], text), interface,
			      addresses[i].address.family == IP_V6 ? " nodad" : "");
}

static void put_end(const struct topology_end *end, struct buffer *commands)
{
	if (end->bridge)
		buffer_printf(commands, "link set dev %s master %s\n", end->interface, end->bridge);
	put_addresses(end->interface, end->addresses, end->address_count, commands);
}

static void put_route(const struct topology_route *route, struct buffer *commands)
{
	char to[IP_TEXT_BYTES], via[IP_TEXT_BYTES];
	buffer_printf(commands, "route replace %s via %s\n", ip_prefix_format(&route->to, to),
		      ip_address_format(&route->via, via));
}

static void put_veth(const struct topology_link *link, struct buffer *commands)
{
	const struct topology_end *from = &link->ends[LINK_FROM], *to = &link->ends[LINK_TO];
	buffer_printf(commands, "link add name %s netns %s type veth peer name %s netns %s\n",
		      from->interface, from->machine, to->interface, to->machine);
}

/*
 * A bridge has a link address of its own: one without would take the lowest of its ports', and
 * change it whenever a link is joined again, while the machines still know the old one.
 */
static void put_bridge(const struct topology_bridge *bridge, size_t number, struct buffer *commands)
{
	buffer_printf(commands,
		      "link add name %s address 02:00:00:00:00:%02zx type bridge mcast_snooping 0 "
		      "forward_delay 0\nlink set dev %s up\n",
		      bridge->name, number + 1, bridge->name);
}

/* All that a machine has of its own, when its ends of links are there and up. */
static int configure_machine(const struct network *network, const struct topology_machine *machine,
			     struct error *err)
{
	const struct topology *topology = network->topology;
	struct buffer commands;
	buffer_init(&commands, 0);
	for (size_t i = 0; i < machine->bridge_count; i++)
		put_bridge(&machine->bridges[i], i, &commands);
	for (size_t i = 0; i < topology->link_count; i++)
		for (enum topology_side side = LINK_FROM; side < LINK_SIDES; side++)
			if (strcmp(topology->links[i].ends[side].machine, machine->name) == 0)
				put_end(&topology->links[i].ends[side], &commands);
	for (size_t i = 0; i < machine->bridge_count; i++)
		put_addresses(machine->bridges[i].name, machine->bridges[i].addresses,
			      machine->bridges[i].address_count, &commands);
	for (size_t i = 0; i < machine->route_count; i++)
		put_route(&machine->routes[i], &commands);
	int result = ip_batch_in(machine->name, &commands, err);
	buffer_done(&commands);
	return result;
}

/* Settings of one interface can be written only when it is there (`must_exist`), those of later
 * interfaces only before; so this is done twice. */
static int write_settings(const struct topology_machine *machine, bool must_exist,
			  struct error *err)
{
	int outside;
	if (!machine->setting_count)
		return 0;
	int result = room_enter(machine->name, &outside, err);
	if (result < 0)
		return result;
	for (size_t i = 0; result == 0 && i < machine->setting_count; i++) {
		const struct topology_setting *setting = &machine->settings[i];
		int written = room_write_setting(setting->path, setting->value);
		if (written < 0 && (must_exist || written != -ENOENT))
			result = error_set(err, written, "%s: cannot set %s to %s: %s",
					   machine->name, setting->path, setting->value,
					   written == -ENOENT ? "this kernel has no such setting"
							      : error_text(written));
	}
	room_leave(outside);
	return result;
}

/* --- links --- */

/* `seed` differs from link to link and direction to direction. */
static int start_relay(const struct network *network, struct network_link *link, struct error *err)
{
	int fds[LINK_SIDES] = {-1, -1};
	for (enum topology_side side = LINK_FROM; side < LINK_SIDES; side++) {
		const struct topology_end *end = &link->link->ends[side];
		int outside;
		int result = room_enter(end->machine, &outside, err);
		if (result == 0) {
			result = relay_open(end->interface, &fds[side], err);
			room_leave(outside);
		}
		if (result < 0) {
			if (fds[LINK_FROM] >= 0)
				close(fds[LINK_FROM]);
			return error_prefix(err, "%s", end->machine);
		}
	}
	uint64_t seed =
	    ((uint64_t)network->topology->seed << 32) + 2 * (uint64_t)(link - network->links);
	return relay_start(link->link, seed, fds, link->counts, &link->relay, err);
}

static int raise_link(struct network_link *link, struct error *err)
{
	int result = raise_end(link, LINK_FROM, err);
	return result < 0 ? result : raise_end(link, LINK_TO, err);
}

/* All veth pairs by one run of `ip`, then the relays. */
static int make_links(struct network *network, struct error *err)
{
	struct buffer commands;
	int result = 0;
	buffer_init(&commands, 0);
	for (size_t i = 0; i < network->topology->link_count; i++)
		if (!network->links[i].counts)
			put_veth(network->links[i].link, &commands);
	result = ip_batch("links", &commands, err);
	buffer_done(&commands);
	for (size_t i = 0; result == 0 && i < network->topology->link_count; i++) {
		if (network->links[i].counts)
			result = start_relay(network, &network->links[i], err);
		if (result == 0)
			result = raise_link(&network->links[i], err);
	}
	return result;
}

int network_make(struct network *network, struct error *err)
{
	const struct topology *topology = network->topology;
	int result = 0;
	for (size_t i = 0; result == 0 && i < topology->machine_count; i++)
		result = write_settings(&topology->machines[i], false, err);
	if (result == 0)
		result = make_links(network, err);
	for (size_t i = 0; result == 0 && i < topology->machine_count; i++) {
		result = write_settings(&topology->machines[i], true, err);
		if (result == 0)
			result = configure_machine(network, &topology->machines[i], err);
	}
	return result;
}

/* --- while the lab is up --- */

static bool end_is_there(const struct topology_end *end)
{
	int outside;
	if (room_enter(end->machine, &outside, NULL) < 0)
		return false;
	bool is_there = if_nametoindex(end->interface) != 0;
	room_leave(outside);
	return is_there;
}

static bool reaches(const struct topology_address *addresses, size_t count,
		    const struct ip_address *address)
{
	for (size_t i = 0; i < count; i++) {
		struct ip_prefix prefix = {.address = addresses[i].address,
					   .length = (uint8_t)addresses[i].length};
		ip_address_mask(&prefix.address, prefix.length);
		if (ip_prefix_contains(&prefix, address))
			return true;
	}
	return false;
}

/* The end, and the routes that went with its addresses. */
static int configure_end(const struct network *network, const struct topology_end *end,
			 struct error *err)
{
	const struct topology_machine *machine = topology_machine(network->topology, end->machine);
	struct buffer commands;
	buffer_init(&commands, 0);
	put_end(end, &commands);
	for (size_t i = 0; i < machine->route_count; i++)
		if (reaches(end->addresses, end->address_count, &machine->routes[i].via))
			put_route(&machine->routes[i], &commands);
	int result = ip_batch_in(end->machine, &commands, err);
	buffer_done(&commands);
	return result;
}

static int join(const struct network *network, struct network_link *link, struct error *err)
{
	int result = 0;
	if (link->counts) {
		result = start_relay(network, link, err);
	} else {
		struct buffer commands;
		buffer_init(&commands, 0);
		put_veth(link->link, &commands);
		result = ip_batch(link->link->name, &commands, err);
		buffer_done(&commands);
	}
	if (result == 0)
		result = raise_link(link, err);
	for (enum topology_side side = LINK_FROM; result == 0 && side < LINK_SIDES; side++)
		result = configure_end(network, &link->link->ends[side], err);
	return result;
}

int network_plug(const struct network *network, struct network_link *link, bool *ret_already,
		 struct error *err)
{
	const struct topology_end *from = &link->link->ends[LINK_FROM],
				  *to = &link->link->ends[LINK_TO];
	bool from_is_there = end_is_there(from), to_is_there = end_is_there(to);
	*ret_already = from_is_there && to_is_there;
	if (*ret_already)
		return 0;
	if (from_is_there || to_is_there) {
		const struct topology_end *end = from_is_there ? from : to;
		return error_set(err, -FL_ESTATE,
				 "the link %s is there by half: %s has its interface %s; unplug it "
				 "first",
				 link->link->name, end->machine, end->interface);
	}
	return join(network, link, err);
}

/* One end takes the other with it. */
static int cut(struct network_link *link, const struct topology_end *end, struct error *err)
{
	struct buffer commands;
	if (link->relay) {
		/* The interfaces go with its descriptors, before it can be waited for. */
		if (kill(link->relay, SIGKILL) < 0 || waitpid(link->relay, NULL, 0) < 0)
			return error_set(err, -errno, "cannot end the relay of %s: %s",
					 link->link->name, error_text(-errno));
		link->relay = 0;
		return 0;
	}
	buffer_init(&commands, 0);
	buffer_printf(&commands, "link delete dev %s\n", end->interface);
	int result = ip_batch_in(end->machine, &commands, err);
	buffer_done(&commands);
	return result;
}

int network_unplug(struct network_link *link, bool *ret_already, struct error *err)
{
	*ret_already = false;
	for (enum topology_side side = LINK_FROM; side < LINK_SIDES; side++)
		if (end_is_there(&link->link->ends[side]))
			return cut(link, &link->link->ends[side], err);
	*ret_already = true;
	return 0;
}

void network_child_ended(struct network *network, pid_t pid)
{
	for (size_t i = 0; i < network->topology->link_count; i++)
		if (network->links[i].relay == pid)
			network->links[i].relay = 0;
}

/*
 * /proc/net/dev: "  eth0: bytes packets errs drop fifo frame compressed multicast", and the same
 * of what was sent (proc(5)).
 */
int network_count(const struct topology_end *end, struct shaper_counts *ret_counts, bool *ret_there,
		  struct error *err)
{
	char line[512];
	int outside;
	int result = room_enter(end->machine, &outside, err);
	if (result < 0)
		return result;
	*ret_counts = (struct shaper_counts){0};
	*ret_there = false;
	FILE *file = fopen("/proc/self/net/dev", "re");
	while (file && fgets(line, sizeof(line), file)) {
		char *colon = strchr(line, ':'), *name = line + strspn(line, " ");
		uint64_t packets, drops;
		if (!colon)
			continue;
		*colon = '\0';
		if (strcmp(name, end->interface) != 0)
			continue;
		*ret_there = true;
		if (sscanf(colon + 1,
			   "%*u %*u %*u %*u %*u %*u %*u %*u %*u %" SCNu64 " %*u %" SCNu64, &packets,
			   &drops) == 2)
			*ret_counts = (struct shaper_counts){
			    .sent = packets + drops, .passed = packets, .lost = drops};
	}
	if (file)
		(void)fclose(file);
	room_leave(outside);
	return 0;
}
