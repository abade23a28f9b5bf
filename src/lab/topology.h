/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Topology: what a lab consists of, as one YAML file says it. Machines with bridges, routes,
 * settings and processes; links between two ends, each an interface of a machine, with what the
 * link does to packets in either direction. Bytes in, values or findings out; no I/O. The reading
 * is that of the configuration (config/config.h): the same phases, the same findings.
 * docs/design/lab.md is the reference of the keys.
 */
#ifndef FAIRLEAD_LAB_TOPOLOGY_H
#define FAIRLEAD_LAB_TOPOLOGY_H

#include "base/arena.h"
#include "base/error.h"
#include "base/netaddr.h"
#include "lab/shaper.h"

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct findings;

#define TOPOLOGY_MAX_MACHINES 128u
#define TOPOLOGY_MAX_LINKS 256u
#define TOPOLOGY_MAX_PER_MACHINE 64u /* bridges, routes, settings, processes, each */
#define TOPOLOGY_MAX_ADDRESSES 8u /* of one interface */
#define TOPOLOGY_MIN_MTU 1280u /* IPv6 needs it (RFC 8200 section 5) */
#define TOPOLOGY_MAX_MTU 9000u
#define TOPOLOGY_DEFAULT_MTU 1500u

struct topology_address {
	struct ip_address address;
	uint32_t length; /* of its prefix, in bits */
};

struct topology_bridge {
	const char *name;
	struct topology_address *addresses;
	size_t address_count;
};

struct topology_route {
	struct ip_prefix to; /* length 0: the default route of its family */
	struct ip_address via;
};

struct topology_setting {
	const char *path; /* "net/ipv4/tcp_timestamps": below /proc/sys */
	const char *value;
};

struct topology_process {
	const char *name; /* unique in the lab; its log's name too */
	const char *command; /* one command, as a shell reads it */
	const char *ready; /* for `sh -c`: succeeds when the process is ready; NULL: none */
};

struct topology_machine {
	const char *name;
	bool forwards;
	struct ip_address resolver; /* family IP_NONE: none */
	struct topology_bridge *bridges;
	size_t bridge_count;
	struct topology_route *routes;
	size_t route_count;
	struct topology_setting *settings;
	size_t setting_count;
	struct topology_process *processes;
	size_t process_count;
};

struct topology_end {
	const char *machine;
	const char *interface;
	const char *bridge; /* of the machine, which the interface is a port of; NULL: none */
	bool passes_xdp; /* carries an XDP program that passes everything */
	struct topology_address *addresses;
	size_t address_count;
};

enum topology_side { LINK_FROM, LINK_TO, LINK_SIDES };

struct topology_link {
	const char *name;
	struct topology_end ends[LINK_SIDES];
	uint32_t mtu;
	struct shape shapes[LINK_SIDES]; /* of what leaves that end */
};

struct topology {
	struct topology_machine *machines;
	size_t machine_count;
	struct topology_link *links;
	size_t link_count;
	uint32_t seed; /* of the losses */
	const char **tries; /* commands to suggest once it is up */
	size_t try_count;
};

/*
 * Read `length` bytes; `file` is the name to show. Topology and findings live in `arena`; `text`
 * may be freed afterwards. Returns 0, -FL_EINVALID with at least one error found, or -ENOMEM.
 */
must_check int topology_parse(const char *text, size_t length, const char *file,
			      struct arena *arena, struct topology **ret_topology,
			      struct findings *ret_findings);

/* NULL when there is none of that name. */
static inline const struct topology_machine *topology_machine(const struct topology *topology,
							      const char *name)
{
	for (size_t i = 0; i < topology->machine_count; i++)
		if (strcmp(topology->machines[i].name, name) == 0)
			return &topology->machines[i];
	return NULL;
}

const struct topology_link *topology_link(const struct topology *topology, const char *name);

/* Does the link change packets, or only carry them? */
bool topology_link_is_shaped(const struct topology_link *link);

/* "192.0.2.10/24"; `text` holds IP_TEXT_BYTES. Returns `text`. */
const char *topology_address_format(const struct topology_address *address, char *text);

#endif
