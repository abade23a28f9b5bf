/* SPDX-License-Identifier: Apache-2.0 */
/* What `fairlead doctor` is told: what must be true on this machine, as only this process knows it.
 * Nothing is looked for here, and nothing waits. */
#include "api/show.h"
#include "base/text.h"
#include "daemon/daemon.h"
#include "daemon/member/credentials.h"
#include "daemon/member/peers.h"
#include "daemon/names_plane.h"
#include "peer/ca.h"

#include <string.h>
#include <unistd.h>

static void append_text(json_t *list, const char *text)
{
	json_array_append_new(list, json_string(text));
}

static json_t *names(const char *const *items, size_t count)
{
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		append_text(list, items[i]);
	return list;
}

static void put_dns(const struct daemon *daemon, json_t *facts)
{
	const struct daemon_options *options = daemon->options;
	json_t *list = json_array();
	for (size_t i = 0; options->names && i < options->dns_count; i++)
		json_array_append_new(list, show_address(&options->dns_addresses[i]));
	json_object_set_new(facts, "dns_addresses", list);
	json_object_set_new(facts, "dns_port", json_integer(options->dns_port));
}

static void put_channel(const struct daemon *daemon, json_t *facts)
{
	const struct daemon_options *options = daemon->options;
	const struct credentials *own = options->channel;
	struct peer_certificate certificate;
	if (!own)
		return;
	json_t *channel =
	    json_pack("{s:o, s:i, s:s}", "address", show_address(&options->channel_address), "port",
		      (int)options->channel_port, "unreached",
		      daemon->peers ? peers_unreached(daemon->peers) : "it does not listen");
	const struct wire_bytes der = {.data = own->certificate.data,
				       .length = own->certificate.length};
	if (peer_certificate_read(&der, &certificate, NULL) == 0) {
		const int64_t wall_s = (int64_t)(clock_wall_ms(daemon->clock) / 1000);
		json_object_set_new(
		    channel, "certificate_s",
		    json_integer((json_int_t)((int64_t)certificate.ends_s - wall_s)));
		json_object_set_new(
		    channel, "certificate_life_s",
		    json_integer((json_int_t)(certificate.ends_s - certificate.begins_s)));
	}
	json_object_set_new(facts, "channel", channel);
}

static void put_members(const struct image *image, json_t *facts)
{
	json_t *list = json_array();
	for (size_t i = 0; i < image->member_count; i++) {
		const struct member *member = image->members[i].member;
		char roles[MEMBER_ROLES_BYTES];
		if (!member)
			continue;
		json_t *row = json_pack("{s:s, s:s, s:i}", "name", member->name, "roles",
					member_roles_format(member->roles, roles), "features",
					(int)member->features);
		if (member->channel_address.family)
			json_object_set_new(row, "address", show_address(&member->channel_address));
		json_array_append_new(list, row);
	}
	json_object_set_new(facts, "members", list);
	json_object_set_new(facts, "features", json_integer(MEMBER_FEATURES));
}

/* The pools, and on what ports services are asked there; of those that this node serves, as a
 * backend by its name. */
static void put_services(const struct daemon *daemon, json_t *facts)
{
	const struct fabric *fabric = daemon->image.fabric;
	json_t *pools = json_array();
	json_t *services = json_array();
	char prefix[IP_TEXT_BYTES];
	for (size_t i = 0; fabric && i < fabric->pool_count; i++)
		append_text(pools, ip_prefix_format(&fabric->pools[i].prefix, prefix));
	for (size_t i = 0; fabric && i < fabric->service_count; i++) {
		const struct service *service = &fabric->services[i];
		json_t *ports = json_array();
		bool here = false;
		for (size_t k = 0; k < service->backend_count; k++)
			here =
			    here || strcmp(service->backends[k].name, daemon->options->node) == 0;
		for (size_t k = 0; k < service->port_count; k++)
			json_array_append_new(ports,
					      json_pack("{s:i, s:i}", "protocol",
							(int)service->ports[k].protocol, "port",
							(int)service->ports[k].first));
		json_array_append_new(services, json_pack("{s:s, s:b, s:o}", "name", service->name,
							  "here", (int)here, "ports", ports));
	}
	json_object_set_new(facts, "pools", pools);
	json_object_set_new(facts, "services", services);
}

void daemon_put_doctor(void *context, json_t *facts)
{
	const struct daemon *daemon = context;
	const struct daemon_options *options = daemon->options;
	char roles[MEMBER_ROLES_BYTES];
	json_t *alarms = json_array();
	json_object_set_new(facts, "pid", json_integer((json_int_t)getpid()));
	json_object_set_new(facts, "version", json_string(FAIRLEAD_VERSION));
	json_object_set_new(facts, "role",
			    json_string(member_roles_format(
				daemon_options_roles(options) |
				    (options->channel && daemon->decides ? MEMBER_VOTER : 0u),
				roles)));
	json_object_set_new(facts, "interface",
			    names(options->interfaces, options->interface_count));
	json_object_set_new(facts, "underlay", names(options->underlays, options->underlay_count));
	json_object_set_new(facts, "generic", json_boolean(options->generic));
	put_dns(daemon, facts);
	put_channel(daemon, facts);
	put_members(&daemon->image, facts);
	put_services(daemon, facts);
	json_object_set_new(facts, "notes", json_array());
	daemon->host.put_status(context, facts);
	daemon->host.put_alarms(context, alarms);
	json_object_set_new(facts, "alarms", alarms);
}
