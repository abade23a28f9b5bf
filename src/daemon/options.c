/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/options.h"

#include "base/memory.h"
#include "base/text.h"
#include "model/member.h"
#include "naming/server.h"
#include "routing/routing.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define PEERS_SOCKET "peers.sock"
#define DEFAULT_RUN "/run/fairlead"
#define DEFAULT_PINS "/sys/fs/bpf/fairlead"
#define DNS_PORT 53
#define ANNOUNCE_WAIT_S 3u
#define ANNOUNCE_WAIT_MOST_S 60u /* systemd kills after 90 unless told otherwise */
#define DNS_THREADS ((int)NAMING_SERVER_THREADS_MAX)

static const char *text_of(const json_t *parameters, const char *key, const char *otherwise,
			   struct arena *arena)
{
	const char *text = json_string_value(json_object_get(parameters, key));
	return text || otherwise ? must_have(arena_strdup(arena, text ? text : otherwise)) : NULL;
}

static void list_of(const json_t *parameters, const char *key, struct arena *arena,
		    const char ***ret_list, size_t *ret_count)
{
	const json_t *array = json_object_get(parameters, key);
	size_t count = json_array_size(array);
	const char **list = must_have(arena_array(arena, count ? count : 1, sizeof(*list)));
	for (size_t i = 0; i < count; i++)
		list[i] =
		    must_have(arena_strdup(arena, json_string_value(json_array_get(array, i))));
	*ret_list = list;
	*ret_count = count;
}

const char *daemon_options_channel(const struct daemon_options *options,
				   char text[CHANNEL_PLACE_BYTES])
{
	char address[IP_TEXT_BYTES];
	const bool is_v6 = options->channel_address.family == IP_V6;
	ip_address_format(&options->channel_address, address);
	if (options->channel_port == CHANNEL_PORT)
		snprintf(text, CHANNEL_PLACE_BYTES, "%s", address);
	else
		snprintf(text, CHANNEL_PLACE_BYTES, is_v6 ? "[%s]:%u" : "%s:%u", address,
			 options->channel_port);
	return text;
}

unsigned daemon_options_roles(const struct daemon_options *options)
{
	return (options->edge ? MEMBER_EDGE : 0u) | (options->names ? MEMBER_NAMES : 0u) |
	       (options->backend ? MEMBER_BACKEND : 0u);
}

static int parse_roles(const char *text, struct daemon_options *options, struct error *err)
{
	char copy[128];
	const char *wrong;
	unsigned roles;
	snprintf(copy, sizeof(copy), "%s", text);
	if (!member_roles_parse(copy, &roles, &wrong) || roles & MEMBER_VOTER)
		return error_set(err, -FL_EUSAGE,
				 "--role %s: \"%s\" is no role; there are edge, names and backend",
				 text, wrong ? wrong : member_role_name(MEMBER_VOTER));
	options->edge = roles & MEMBER_EDGE;
	options->names = roles & MEMBER_NAMES;
	options->backend = roles & MEMBER_BACKEND;
	return 0;
}

/* Names go into store keys and ledger entries: lower-case labels. */
static int parse_node(const char *name, const char **ret_node, struct arena *arena,
		      struct error *err)
{
	char host[HOST_NAME_MAX + 1] = "";
	bool is_default = !name;
	if (is_default) {
		gethostname(host, sizeof(host) - 1);
		host[strcspn(host, ".")] = '\0';
		for (char *c = host; *c; c++)
			*c = (char)tolower((unsigned char)*c);
		name = host;
	}
	size_t length = strlen(name);
	bool valid = length > 0 && length < 64 && isalnum((unsigned char)name[0]);
	for (const char *c = name; *c; c++)
		valid = valid &&
			(islower((unsigned char)*c) || isdigit((unsigned char)*c) || *c == '-');
	if (!valid)
		return error_set(err, -FL_EUSAGE,
				 "%s\"%s\" is no node name: it takes a-z, 0-9 and -, at most 63%s",
				 is_default ? "the host name " : "--node ", name,
				 is_default ? "; give one with --node" : "");
	*ret_node = must_have(arena_strdup(arena, name));
	return 0;
}

static int parse_sources(const json_t *parameters, struct daemon_options *options,
			 struct error *err)
{
	const json_t *array = json_object_get(parameters, "source");
	size_t index;
	json_t *value;
	json_array_foreach (array, index, value) {
		const char *text = json_string_value(value);
		struct ip_address address;
		if (ip_address_parse(text, &address) < 0)
			return error_set(err, -FL_EUSAGE, "--source %s: this is no IP address",
					 text);
		const char *fault = text_check_unicast(&address);
		if (fault)
			return error_set(err, -FL_EUSAGE,
					 "--source %s: no tunnel can come from there: %s", text,
					 fault);
		struct ip_address *place =
		    address.family == IP_V4 ? &options->source_v4 : &options->source_v6;
		if (place->family)
			return error_set(err, -FL_EUSAGE,
					 "--source %s: there is one source per family already",
					 text);
		*place = address;
	}
	return 0;
}

/* "ADDRESS" or "ADDRESS@PORT"; one port for all. */
static int parse_dns_one(const char *text, struct daemon_options *options, struct error *err)
{
	char address[IP_TEXT_BYTES];
	const char *at = strchr(text, '@');
	size_t length = at ? (size_t)(at - text) : strlen(text);
	snprintf(address, sizeof(address), "%.*s", (int)length, text);
	if (ip_address_parse(address, &options->dns_addresses[options->dns_count]) < 0)
		return error_set(err, -FL_EUSAGE, "--dns %s: \"%s\" is no IP address", text,
				 address);

	unsigned long port = DNS_PORT;
	if (at) {
		char *end;
		port = strtoul(at + 1, &end, 10);
		if (at[1] < '0' || at[1] > '9' || *end || port < 1 || port > UINT16_MAX)
			return error_set(err, -FL_EUSAGE, "--dns %s: the port is 1 to 65535", text);
	}
	if (options->dns_count && port != options->dns_port)
		return error_set(err, -FL_EUSAGE, "--dns %s: all addresses share one port", text);
	options->dns_port = (uint16_t)port;
	options->dns_count++;
	return 0;
}

static int parse_dns(const json_t *parameters, struct daemon_options *options, struct arena *arena,
		     struct error *err)
{
	const json_t *array = json_object_get(parameters, "dns");
	size_t count = json_array_size(array);
	options->dns_addresses =
	    must_have(arena_array(arena, count ? count : 1, sizeof(*options->dns_addresses)));
	for (size_t i = 0; i < count; i++) {
		int result =
		    parse_dns_one(json_string_value(json_array_get(array, i)), options, err);
		if (result < 0)
			return result;
	}
	json_int_t threads = json_integer_value(json_object_get(parameters, "dns_threads"));
	if (threads > DNS_THREADS)
		return error_set(err, -FL_EUSAGE, "--dns-threads %lld: there are at most %d",
				 (long long)threads, DNS_THREADS);
	options->dns_threads = (unsigned)threads;
	return 0;
}

/* Of the node's file; a node that is alone has none. */
static int parse_channel(const json_t *parameters, struct daemon_options *options,
			 struct error *err)
{
	const char *address = json_string_value(json_object_get(parameters, "channel_address"));
	const json_int_t port = json_integer_value(json_object_get(parameters, "channel_port"));
	if (!address && !port)
		return 0;
	if (!address || ip_address_parse(address, &options->channel_address) < 0 ||
	    text_check_unicast(&options->channel_address))
		return error_set(err, -FL_EUSAGE,
				 "--address %s: this is no address by which others reach this "
				 "machine",
				 address ? address : "");
	if (port < 1 || port > UINT16_MAX)
		return error_set(err, -FL_EUSAGE, "--port %lld: the port is 1 to 65535",
				 (long long)port);
	options->channel_port = (uint16_t)port;
	return 0;
}

static unsigned number_or(const json_t *parameters, const char *key, unsigned otherwise)
{
	const json_t *typed = json_object_get(parameters, key);
	const json_int_t number = json_integer_value(typed);
	return !typed                              ? otherwise
	       : number < 0 || number > UINT16_MAX ? UINT16_MAX
						   : (unsigned)number;
}

int daemon_options_announce(const json_t *parameters, struct daemon_options *options,
			    struct error *err)
{
	const char *how = json_string_value(json_object_get(parameters, "announce"));
	if (how && strcmp(how, "bgp") != 0)
		return error_set(err, -FL_EUSAGE, "--announce %s: it takes bgp", how);
	options->announces = how;
	options->announce_table = number_or(parameters, "announce_table", ROUTING_TABLE);
	options->announce_wait_s = number_or(parameters, "announce_wait", ANNOUNCE_WAIT_S);
	if (options->announce_table < 1 || options->announce_table > ROUTING_TABLE_MOST)
		return error_set(err, -FL_EUSAGE,
				 "--announce-table: it takes 1 to %d, a table of its own that no "
				 "rule looks up",
				 ROUTING_TABLE_MOST);
	if (options->announce_wait_s > ANNOUNCE_WAIT_MOST_S)
		return error_set(err, -FL_EUSAGE, "--announce-wait: it takes 0 to %u seconds",
				 ANNOUNCE_WAIT_MOST_S);
	return 0;
}

/* `none`, or where: a landing that reports to a socket has no replica that they could be of. */
static int parse_metrics(const json_t *parameters, bool has_replica, struct daemon_options *options,
			 struct error *err)
{
	const char *typed = json_string_value(json_object_get(parameters, "metrics"));
	const char *text = typed ? typed : METRICS_PLACE;
	if (!has_replica && typed)
		return error_set(err, -FL_EUSAGE,
				 "--metrics is not for a landing with --join: the node that it "
				 "reports to tells of it");
	if (!has_replica || strcmp(text, "none") == 0)
		return 0;
	if (text_parse_endpoint(text, &options->metrics_address, &options->metrics_port) ||
	    options->metrics_address.family == IP_NONE)
		return error_set(err, -FL_EUSAGE,
				 "--metrics %s: it takes ADDRESS:PORT, as %s, or none", text,
				 METRICS_PLACE);
	return 0;
}

/* What each role cannot do without. */
static int check_complete(const struct daemon_options *options, struct error *err)
{
	if ((options->edge || options->names) && !options->site)
		return error_set(
		    err, -FL_EUSAGE,
		    "the roles edge and names need --site: where does this node stand?");
	if (options->edge && !options->interface_count)
		return error_set(err, -FL_EUSAGE,
				 "the role edge needs --interface: where do packets come in?");
	if (options->edge && !options->source_v4.family && !options->source_v6.family)
		return error_set(
		    err, -FL_EUSAGE,
		    "the role edge needs --source: an address of this machine that its "
		    "tunnels come from");
	if (options->names && !options->dns_count)
		return error_set(err, -FL_EUSAGE,
				 "the role names needs --dns: on which address does it answer?");
	if (options->backend && !options->underlay_count)
		return error_set(err, -FL_EUSAGE,
				 "the role backend needs --underlay: where do tunnels come in?");
	if (options->join && (options->edge || options->names))
		return error_set(err, -FL_EUSAGE,
				 "--join is for a node that is only a backend: one that is more "
				 "reports to itself");
	if (options->backend && !options->join && !options->edge && !options->names &&
	    !options->channel_port)
		return error_set(err, -FL_EUSAGE,
				 "a machine that is only a backend joins a fabric first, by "
				 "`fairlead join`, or needs --join unix:PATH: the node to report "
				 "to");
	return 0;
}

/* What means nothing in this role was meant for another one. */
static int check_roles_options(const json_t *parameters, const struct daemon_options *options,
			       struct error *err)
{
	const struct {
		const char *key, *name, *role;
		bool has_role;
	} rows[] = {
	    {"site", "--site", "edge or names",
	     options->edge || options->names || options->channel_port},
	    {"interface", "--interface", "edge", options->edge},
	    {"source", "--source", "edge", options->edge},
	    {"generic", "--generic", "edge", options->edge},
	    {"announce", "--announce", "edge", options->edge},
	    {"dns", "--dns", "names", options->names},
	    {"dns_threads", "--dns-threads", "names", options->names},
	    {"underlay", "--underlay", "backend", options->backend},
	    {"join", "--join", "backend", options->backend},
	};
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!rows[i].has_role && json_object_get(parameters, rows[i].key))
			return error_set(err, -FL_EUSAGE,
					 "%s is for the role %s, which this node has not by --role",
					 rows[i].name, rows[i].role);
	}
	return 0;
}

int daemon_options_parse(const json_t *parameters, struct arena *arena,
			 struct daemon_options *ret_options, struct error *err)
{
	struct daemon_options options = {.dns_port = DNS_PORT};
	const char *roles = json_string_value(json_object_get(parameters, "role"));
	const char *join = json_string_value(json_object_get(parameters, "join"));
	if (join && strncmp(join, "unix:/", 6) != 0)
		return error_set(err, -FL_EUSAGE,
				 "--join %s: it takes unix:PATH; a machine joins a fabric over the "
				 "network by `fairlead join`",
				 join);
	/* libuv would cut a longer one and connect to whatever that names. */
	size_t folder = join ? (size_t)(strrchr(join, '/') - join) + 1 - strlen("unix:") : 0;
	size_t longest = join ? folder + sizeof(PEERS_SOCKET) - 1 : 0;
	if (join && strlen(join) - strlen("unix:") > longest)
		longest = strlen(join) - strlen("unix:");
	if (longest >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return error_set(err, -FL_EUSAGE,
				 "--join %s: the path of a Unix socket has at most %zu characters",
				 join, sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
	int result = parse_roles(roles ? roles : "edge,names", &options, err);
	if (result == 0)
		result = parse_node(json_string_value(json_object_get(parameters, "node")),
				    &options.node, arena, err);
	if (result == 0)
		result = parse_sources(parameters, &options, err);
	if (result == 0)
		result = parse_dns(parameters, &options, arena, err);
	if (result == 0)
		result = parse_channel(parameters, &options, err);
	if (result == 0)
		result = daemon_options_announce(parameters, &options, err);
	if (result == 0)
		result = parse_metrics(parameters, !join, &options, err);
	if (result == 0)
		result = check_roles_options(parameters, &options, err);
	if (result < 0)
		return result;

	list_of(parameters, "interface", arena, &options.interfaces, &options.interface_count);
	list_of(parameters, "underlay", arena, &options.underlays, &options.underlay_count);
	options.site = text_of(parameters, "site", NULL, arena);
	if (join) {
		const char *path = join + strlen("unix:");
		options.join = must_have(arena_strdup(arena, path));
		options.join_peers =
		    must_have(arena_printf(arena, "%.*s" PEERS_SOCKET, (int)folder, path));
	}
	options.run_folder = text_of(parameters, "run_dir", DEFAULT_RUN, arena);
	struct daemon_folders folders;
	daemon_folders_parse(parameters, arena, &folders);
	options.state_folder = folders.state;
	options.edge_pins = folders.edge_pins;
	options.landing_pins = folders.landing_pins;
	options.socket_path =
	    must_have(arena_printf(arena, "%s/fairlead.sock", options.run_folder));
	options.peers_path = must_have(arena_printf(arena, "%s/" PEERS_SOCKET, options.run_folder));
	options.generic = json_is_true(json_object_get(parameters, "generic"));
	options.verbose = json_is_true(json_object_get(parameters, "verbose"));
	result = check_complete(&options, err);
	if (result == 0)
		*ret_options = options;
	return result;
}

void daemon_folders_parse(const json_t *parameters, struct arena *arena,
			  struct daemon_folders *ret_folders)
{
	const char *pins = text_of(parameters, "pins", DEFAULT_PINS, arena);
	*ret_folders = (struct daemon_folders){
	    .state = text_of(parameters, "state", DEFAULT_STATE, arena),
	    .pins = pins,
	    .edge_pins = must_have(arena_printf(arena, "%s/edge", pins)),
	    .landing_pins = must_have(arena_printf(arena, "%s/landing", pins))};
}
