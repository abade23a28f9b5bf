/* SPDX-License-Identifier: Apache-2.0 */
#include "api/show.h"

#include "base/text.h"
#include "fabric/driver.h"

#include <string.h>

struct ip_address show_own_address(const struct api_host *host, const struct binding *binding)
{
	return placement_address(host->image->placement, binding, host->site);
}

static void add_counters(const struct api_host *host, const struct ip_address *address,
			 struct api_counters *sum)
{
	struct api_counters one;
	if (!host->count(host->context, address, &one))
		return;
	sum->packets += one.packets;
	sum->bytes += one.bytes;
	sum->new_flows += one.new_flows;
	sum->late_flows += one.late_flows;
	sum->refused += one.refused;
	sum->wrong_port += one.wrong_port;
	sum->asked_fib += one.asked_fib;
	sum->to_kernel += one.to_kernel;
}

static json_t *counters_json(const struct api_counters *counters)
{
	return json_pack(
	    "{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "packets", (json_int_t)counters->packets,
	    "bytes", (json_int_t)counters->bytes, "new_flows", (json_int_t)counters->new_flows,
	    "late", (json_int_t)counters->late_flows, "refused", (json_int_t)counters->refused,
	    "wrong_port", (json_int_t)counters->wrong_port, "asked_fib",
	    (json_int_t)counters->asked_fib, "to_kernel", (json_int_t)counters->to_kernel);
}

json_t *show_version(const struct api_host *host, const struct service_state *state,
		     const struct version_status *status)
{
	char digest[DIGEST_HEX_BYTES];
	char since[CLOCK_TEXT_BYTES];
	const struct sights sights = driver_sights(host->driver);
	struct connection_sum sum = driver_connections(host->driver, state, status->number);
	struct api_counters counters = {0};
	json_t *addresses = json_array();
	json_t *late_addresses = json_array();
	for (size_t i = 0; i < state->binding_count; i++) {
		const struct binding *binding = &state->bindings[i];
		if (binding->version != status->number)
			continue;
		struct ip_address address = show_own_address(host, binding);
		json_array_append_new(binding->is_late ? late_addresses : addresses,
				      show_address(&address));
		add_counters(host, &address, &counters);
	}
	hex_encode(status->digest.bytes, DIGEST_BYTES, digest);
	clock_format(status->changed_wall_ms, since, sizeof(since));
	json_t *json = json_pack(
	    "{s:s, s:i, s:s, s:s, s:f, s:o, s:o, s:o, s:b, s:b, s:s, s:I}", "service", state->name,
	    "number", (int)status->number, "state", version_state_name(status->state), "since",
	    since, "share", text_share_number(service_share(state, status->number)), "addresses",
	    addresses, "late_addresses", late_addresses, "connections",
	    show_connections(sum.known, sum.count), "held",
	    (int)merge_is_held(&sights, status->sequence), "cut", (int)status->cut, "digest",
	    digest, "sequence", (json_int_t)status->sequence);
	if (sum.silent && status->state != VERSION_RETIRED)
		json_object_set_new(json, "silent_backend", json_string(sum.silent));
	if (sum.cookies && status->state != VERSION_RETIRED)
		json_object_set_new(json, "cookie_backend", json_string(sum.cookies));
	show_outlook(host, state, status, json);
	json_object_update_new(json, counters_json(&counters));
	return json;
}

json_t *show_binding(const struct api_host *host, const struct service_state *state,
		     const struct binding *binding)
{
	struct ip_address address = show_own_address(host, binding);
	struct binding_observation observation = driver_observe(host->driver, state, binding);
	json_t *json =
	    json_pack("{s:s, s:o, s:i, s:i, s:i, s:I, s:b, s:b, s:b, s:o}", "service", state->name,
		      "address", show_address(&address), "pool", (int)binding->pool, "slot",
		      (int)binding->slot, "version", (int)binding->version, "number",
		      (json_int_t)binding->number, "is_late", (int)binding->is_late, "refusing",
		      (int)binding->refusing, "reclaiming", (int)binding->reclaiming, "connections",
		      show_connections(observation.connections_known, observation.connections));
	struct api_counters counters = {0};
	add_counters(host, &address, &counters);
	json_object_update_new(json, counters_json(&counters));
	return json;
}

json_t *show_service(const struct api_host *host, const struct service_state *state,
		     bool with_retired)
{
	const struct service *service = fabric_service(host->image->fabric, state->name);
	json_t *versions = json_array();
	for (size_t i = 0; i < state->version_count; i++) {
		if (with_retired || state->versions[i].state != VERSION_RETIRED)
			json_array_append_new(versions,
					      show_version(host, state, &state->versions[i]));
	}
	return json_pack("{s:s, s:b, s:i, s:o, s:o}", "name", state->name, "removed",
			 (int)state->removed, "ttl_s", service ? (int)service->ttl_seconds : 0,
			 "rollout", show_rollout(host, state), "versions", versions);
}

json_t *show_services(const struct api_host *host, bool with_retired)
{
	json_t *services = json_array();
	for (size_t i = 0; i < host->image->state_count; i++)
		json_array_append_new(services,
				      show_service(host, host->image->states[i], with_retired));
	return services;
}
