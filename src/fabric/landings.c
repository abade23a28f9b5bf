/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/landings.h"

#include <stdlib.h>
#include <string.h>

static json_t *pools_json(const struct image *image)
{
	json_t *list = json_array();
	for (size_t i = 0; image->placement && i < image->placement->pool_count; i++) {
		char text[IP_TEXT_BYTES];
		if (!image->placement->pools[i].removed)
			json_array_append_new(list,
					      json_string(ip_prefix_format(
						  &image->placement->pools[i].pool.prefix, text)));
	}
	return list;
}

static json_t *address_json(const struct ip_address *address)
{
	char text[IP_TEXT_BYTES];
	return json_string(ip_address_format(address, text));
}

static json_t *edges_json(const struct image *image)
{
	json_t *list = json_array();
	for (size_t m = 0; m < image->member_count; m++) {
		const struct member *member = image->members[m].member;
		for (size_t i = 0; member_has(member, MEMBER_EDGE) && i < member->source_count; i++)
			json_array_append_new(list, address_json(&member->sources[i]));
	}
	return list;
}

static const struct backend *find_backend(const struct version *version, const char *name)
{
	for (size_t i = 0; version && i < version->backend_count; i++) {
		if (strcmp(version->backends[i].name, name) == 0)
			return &version->backends[i];
	}
	return NULL;
}

bool landing_is_wanted(const struct image *image, const char *name)
{
	if (!image->member_count)
		return false;
	for (size_t s = 0; s < image->state_count; s++) {
		const struct service_state *state = image->states[s];
		const struct image_service *service = image_service(image, state->name);
		for (size_t b = 0; b < state->binding_count; b++) {
			if (find_backend(image_version(service, state->bindings[b].version), name))
				return true;
		}
	}
	return false;
}

static void add_handing(json_t *handings, const struct ip_address *destination,
			const struct backend_listener *listener)
{
	char text[IP_TEXT_BYTES] = "";
	if (listener->address.family && listener->address.family != destination->family)
		return; /* a listener of the other family cannot take this flow */
	if (listener->address.family)
		ip_address_format(&listener->address, text);
	json_array_append_new(handings, json_pack("{s:o, s:i, s:i, s:s, s:i}", "destination",
						  address_json(destination), "protocol",
						  (int)listener->protocol, "port",
						  (int)listener->service_port, "listen_address",
						  text, "listen_port", (int)listener->port));
}

/* The addresses of one binding, with the backend's listeners; and where tunnels to it end. */
static void add_binding(const struct image *image, const struct binding *binding,
			const struct backend *backend, json_t *handings)
{
	for (size_t i = 0; i < image->placement->site_count; i++) {
		struct ip_address address =
		    placement_address(image->placement, binding, image->placement->sites[i]);
		for (size_t l = 0; address.family && l < backend->listener_count; l++)
			add_handing(handings, &address, &backend->listeners[l]);
	}
}

static json_t *configuration_json(const struct image *image, const char *name)
{
	json_t *handings = json_array();
	json_t *addresses = json_object(); /* a set */
	for (size_t s = 0; s < image->state_count; s++) {
		const struct service_state *state = image->states[s];
		const struct image_service *service = image_service(image, state->name);
		for (size_t b = 0; b < state->binding_count; b++) {
			const struct backend *backend =
			    find_backend(image_version(service, state->bindings[b].version), name);
			char text[IP_TEXT_BYTES];
			if (!backend)
				continue;
			json_object_set_new(addresses, ip_address_format(&backend->address, text),
					    json_true());
			add_binding(image, &state->bindings[b], backend, handings);
		}
	}
	json_t *list = json_array();
	const char *key;
	json_t *value;
	json_object_foreach (addresses, key, value)
		json_array_append_new(list, json_string(key));
	json_decref(addresses);
	return json_pack("{s:o, s:o, s:o, s:o}", "pools", pools_json(image), "edges",
			 edges_json(image), "addresses", list, "handings", handings);
}

static void generation_of(const json_t *configuration, char text[DIGEST_HEX_BYTES])
{
	struct digest digest = {0};
	char *bytes = json_dumps(configuration, JSON_COMPACT | JSON_SORT_KEYS);
	if (bytes)
		digest_of(bytes, strlen(bytes), &digest);
	free(bytes);
	hex_encode(digest.bytes, DIGEST_BYTES, text);
}

json_t *landing_wanted(const struct image *image, const char *name,
		       char ret_generation[DIGEST_HEX_BYTES])
{
	json_t *configuration = configuration_json(image, name);
	if (configuration)
		generation_of(configuration, ret_generation);
	return configuration;
}

/* --- readiness --- */

void landing_memory_done(struct landing_memory *memory)
{
	json_decref(memory->generations);
	*memory = (struct landing_memory){0};
}

/* What configurations are made from changes with the placement, the members and the bindings only:
 * confirming or starting a version leaves the memory as it is. Members only come and change here,
 * so the sum of their revisions never comes back. */
static void refresh(struct landing_memory *memory, const struct image *image)
{
	uint64_t last_binding = 0;
	uint64_t members_revision = 0;
	size_t bindings = 0;
	for (size_t m = 0; m < image->member_count; m++)
		members_revision += image->members[m].mod_revision;
	for (size_t s = 0; s < image->state_count; s++) {
		const struct service_state *state = image->states[s];
		bindings += state->binding_count;
		for (size_t b = 0; b < state->binding_count; b++) {
			if (state->bindings[b].sequence > last_binding)
				last_binding = state->bindings[b].sequence;
		}
	}
	if (memory->generations && memory->placement_revision == image->placement_revision &&
	    memory->members_revision == members_revision && memory->last_binding == last_binding &&
	    memory->bindings == bindings)
		return;
	landing_memory_done(memory);
	*memory = (struct landing_memory){.generations = json_object(),
					  .placement_revision = image->placement_revision,
					  .members_revision = members_revision,
					  .last_binding = last_binding,
					  .bindings = bindings};
}

static const char *wanted_generation(const struct image *image, struct landing_memory *memory,
				     const char *backend)
{
	const char *known = json_string_value(json_object_get(memory->generations, backend));
	if (known)
		return known;
	char generation[DIGEST_HEX_BYTES];
	json_t *configuration = landing_wanted(image, backend, generation);
	json_decref(configuration);
	if (!configuration ||
	    json_object_set_new(memory->generations, backend, json_string(generation)) < 0)
		return "";
	return json_string_value(json_object_get(memory->generations, backend));
}

bool landings_ready(const struct image *image, const struct reports *reports,
		    struct landing_memory *memory, const struct version *version,
		    uint64_t version_age_ms, uint64_t now_ms)
{
	uint64_t interval_ms = image_report_interval_ms(image);
	refresh(memory, image);
	for (size_t i = 0; i < version->backend_count; i++) {
		const char *name = version->backends[i].name;
		const struct report *report = reports_find(reports, name);
		if (!report) {
			if (version_age_ms <= REPORT_STALE_INTERVALS * interval_ms)
				return false;
			continue;
		}
		if (report_is_fresh(report, interval_ms, now_ms) &&
		    strcmp(report->generation, wanted_generation(image, memory, name)) != 0)
			return false;
	}
	return true;
}
