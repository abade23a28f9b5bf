/* SPDX-License-Identifier: Apache-2.0 */
/* What `fairlead run` was told: checked and complete before anything is opened. */
#ifndef FAIRLEAD_DAEMON_OPTIONS_H
#define FAIRLEAD_DAEMON_OPTIONS_H

#include "base/arena.h"
#include "base/error.h"
#include "base/netaddr.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHANNEL_PORT 7122 /* where node channels listen unless told otherwise */
#define METRICS_PLACE "127.0.0.1:7124" /* the same of metrics */
#define DEFAULT_STATE "/var/lib/fairlead" /* the state folder, likewise; the unit's, too */

struct credentials;

struct daemon_options {
	const char *node;
	const char *site;
	bool edge;
	bool names;
	bool backend;
	const char **interfaces; /* edge */
	size_t interface_count;
	struct ip_address source_v4; /* IP_NONE when not given */
	struct ip_address source_v6;
	bool generic;
	struct ip_address *dns_addresses; /* names */
	size_t dns_count;
	uint16_t dns_port;
	unsigned dns_threads;
	const char **underlays; /* backend */
	size_t underlay_count;
	const char *join; /* path of the node's local API, without "unix:" */
	const char *join_peers; /* where that node hears landings, beside it */
	const char *state_folder;
	const char *run_folder;
	const char *socket_path; /* of the local API, in run_folder */
	const char *peers_path; /* where this node hears them, beside it */
	const char *edge_pins; /* each role's own folder below --pins */
	const char *landing_pins;
	bool verbose;
	bool announces; /* edge: its addresses, by a routing daemon that reads this table */
	unsigned announce_table;
	unsigned announce_wait_s; /* before an end in order, after they were withdrawn */
	struct ip_address metrics_address;
	uint16_t metrics_port; /* 0: metrics cannot be read */
	struct ip_address channel_address; /* by which others reach the node channel */
	uint16_t channel_port;
	/* NULL: this node is alone. Set by daemon_run(); a renewal changes what it holds. */
	struct credentials *channel;
};

/* `parameters` are those of the invocation; everything is copied into `arena`.
 * -FL_EUSAGE with a sentence that names the option. */
must_check int daemon_options_parse(const json_t *parameters, struct arena *arena,
				    struct daemon_options *ret_options, struct error *err);

#define CHANNEL_PLACE_BYTES (IP_TEXT_BYTES + 8u)

/* Where others reach the node channel, as `fairlead join` takes it: the port only if it is not the
 * usual one, and then with brackets around an IPv6 address. Into `text`, which it returns. */
const char *daemon_options_channel(const struct daemon_options *options,
				   char text[CHANNEL_PLACE_BYTES]);

/* Of enum member_role: those of the flags; whether the node decides is not for them to say. */
unsigned daemon_options_roles(const struct daemon_options *options);

/* What is announced, and how: three members of `options`, which alone are set. */
must_check int daemon_options_announce(const json_t *parameters, struct daemon_options *options,
				       struct error *err);

/* Where things are. Each role pins in a folder of its own, so that neither meets the other's. */
struct daemon_folders {
	const char *state;
	const char *pins; /* PINS: --pins itself */
	const char *edge_pins; /* PINS/edge */
	const char *landing_pins; /* PINS/landing */
};

/* Only that, for commands that act without a daemon. */
void daemon_folders_parse(const json_t *parameters, struct arena *arena,
			  struct daemon_folders *ret_folders);

#endif
