/* SPDX-License-Identifier: Apache-2.0 */
/* Interfaces: whether a program is on them, how it runs, and what their offloads do to it. */
#include "base/process.h"
#include "doctor/examination.h"
#include "kernel/sock_diag.h"
#include "kernel/xdp.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

static bool ask_ethtool(const char *interface, void *question)
{
	struct ifreq request = {.ifr_data = question};
	int control = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%.15s", interface);
	const bool answered = control >= 0 && ioctl(control, SIOCETHTOOL, &request) == 0;
	if (control >= 0)
		close(control);
	return answered;
}

/* Only a virtual link's far end is a machine's XDP program; a card fills checksums in. */
static void check_checksums(struct examination *seen, const char *interface)
{
	struct ethtool_drvinfo driver = {.cmd = ETHTOOL_GDRVINFO};
	struct ethtool_value sums = {.cmd = ETHTOOL_GTXCSUM};
	if (!ask_ethtool(interface, &driver) || strcmp(driver.driver, "veth") != 0 ||
	    !ask_ethtool(interface, &sums))
		return;
	seen->looked++;
	if (sums.data)
		FINDING_PUT(seen->findings, OFFLOAD_CHECKSUM, interface, "", interface);
}

/* What the driver said when it refused. */
static const char *why_generic(const struct examination *seen, const char *interface)
{
	size_t i;
	json_t *note;
	if (json_is_true(json_object_get(seen->facts ? seen->facts : seen->parameters, "generic")))
		return "by --generic";
	json_array_foreach (json_object_get(seen->facts, "notes"), i, note) {
		const char *subject = json_string_value(json_object_get(note, "subject"));
		const char *text = json_string_value(json_object_get(note, "text"));
		if (subject && text && strncmp(subject, "interface/", 10) == 0 &&
		    strcmp(subject + 10, interface) == 0)
			return text;
	}
	return "its driver does not take it, or another interface's does not";
}

static void check_interface(struct examination *seen, const char *interface, const char *deed)
{
	uint32_t program = 0;
	const unsigned ifindex = if_nametoindex(interface);
	seen->looked++;
	switch (ifindex ? xdp_query(ifindex, &program) : XDP_MODE_NONE) {
	case XDP_MODE_NONE:
		FINDING_PUT(seen->findings, XDP_DETACHED, interface, "", interface, deed);
		break;
	case XDP_MODE_GENERIC:
		FINDING_PUT(seen->findings, XDP_GENERIC, interface, "", interface,
			    why_generic(seen, interface));
		break;
	case XDP_MODE_NATIVE:
		break;
	}
	check_checksums(seen, interface);
}

/* --- names -------------------------------------------------------------------------------------
 */

struct port_search {
	struct ip_address address;
	uint16_t port;
	uint32_t inode; /* found; 0: the port is free */
};

static int take_socket(const struct socket_seen *socket, void *context)
{
	struct port_search *search = context;
	static const struct ip_address none;
	if (!socket) {
		search->inode = 0;
		return 0;
	}
	const bool wildcard = memcmp(socket->local.bytes, none.bytes, sizeof(none.bytes)) == 0;
	if (socket->port == search->port && socket->inode &&
	    (wildcard || ip_address_equal(&socket->local, &search->address)))
		search->inode = socket->inode;
	return 0;
}

/* While no daemon answers, somebody else may have come to its port; while one does, that is an
 * alarm of its own. */
static void check_port(struct examination *seen, struct netlink *diag, const char *text)
{
	static const uint8_t protocols[] = {IPPROTO_UDP, IPPROTO_TCP};
	char address[IP_TEXT_BYTES];
	char holder[PROCESS_NAME_BYTES + 32] = "another program";
	char value[16];
	const char *at = strchr(text, '@');
	struct port_search search = {.port = 53};
	struct error err = {0};
	snprintf(address, sizeof(address), "%.*s", at ? (int)(at - text) : IP_TEXT_BYTES - 1, text);
	if (ip_address_parse(address, &search.address) < 0)
		return;
	if (at)
		search.port = (uint16_t)strtoul(at + 1, NULL, 10);
	snprintf(value, sizeof(value), "%u", search.port);
	seen->looked++;
	for (size_t i = 0; i < 2; i++) {
		search.inode = 0;
		if (sock_diag_walk(diag, protocols[i], UINT32_MAX, take_socket, &search, &err) <
		    0) {
			examination_unknown(seen, "who has port %u: %s", search.port, err.text);
			return;
		}
		if (!search.inode)
			continue;
		(void)process_of_socket(search.inode, holder, sizeof(holder));
		FINDING_PUT(seen->findings, DNS_TAKEN, "", value,
			    protocols[i] == IPPROTO_UDP ? "UDP" : "TCP", (long long)search.port,
			    holder);
		return;
	}
}

static void check_names(struct examination *seen)
{
	struct netlink diag;
	size_t i;
	json_t *name;
	if (seen->facts || !examination_has_role(seen, "names"))
		return;
	if (netlink_init(&diag, NETLINK_SOCK_DIAG) == 0) {
		json_array_foreach ((json_t *)(uintptr_t)examination_list(seen, "dns"), i, name)
			check_port(seen, &diag, json_string_value(name));
	}
	netlink_done(&diag);
}

void check_links(struct examination *seen)
{
	size_t i;
	size_t k;
	json_t *name;
	json_t *other;
	const json_t *edge =
	    examination_has_role(seen, "edge") ? examination_list(seen, "interface") : NULL;
	const json_t *underlay =
	    examination_has_role(seen, "backend") ? examination_list(seen, "underlay") : NULL;
	check_names(seen);
	/* Before the first file there is nothing to attach for. */
	if (seen->facts && !json_array_size(json_object_get(seen->facts, "pools")))
		return;
	json_array_foreach ((json_t *)(uintptr_t)edge, i, name)
		check_interface(seen, json_string_value(name), "forwarded");
	json_array_foreach ((json_t *)(uintptr_t)underlay, i, name) {
		bool looked_at = false;
		json_array_foreach ((json_t *)(uintptr_t)edge, k, other)
			looked_at = looked_at || json_equal(name, other);
		if (!looked_at)
			check_interface(seen, json_string_value(name), "landed");
	}
}
