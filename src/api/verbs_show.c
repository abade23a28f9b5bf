/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that show things, the ledger and what happens. */
#include "api/show.h"
#include "api/verbs.h"
#include "base/buffer.h"
#include "config/config.h"
#include "fabric/driver.h"
#include "fabric/reports.h"
#include "ledger/ledger.h"
#include "state/replica.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_DEFAULT_LIMIT 20

static void refuse_to_show(struct api_call *call, int code, const char *format, const char *subject)
{
	struct error err;
	char text[512];
	snprintf(text, sizeof(text), "%s%s", format, subject);
	error_set(&err, code, "%s", text);
	api_fail(call, &err);
}

/* --- get --- */

static json_t *list_versions(const struct api_host *host, bool all)
{
	json_t *list = json_array();
	for (size_t s = 0; s < host->image->state_count; s++) {
		const struct service_state *state = host->image->states[s];
		for (size_t v = 0; v < state->version_count; v++) {
			if (all || state->versions[v].state != VERSION_RETIRED)
				json_array_append_new(
				    list, show_version(host, state, &state->versions[v]));
		}
	}
	return list;
}

static json_t *versions_list(const struct api_host *host)
{
	return list_versions(host, false);
}

static json_t *all_versions_list(const struct api_host *host)
{
	return list_versions(host, true);
}

static json_t *bindings_list(const struct api_host *host)
{
	json_t *list = json_array();
	for (size_t s = 0; s < host->image->state_count; s++) {
		const struct service_state *state = host->image->states[s];
		for (size_t b = 0; b < state->binding_count; b++)
			json_array_append_new(list, show_binding(host, state, &state->bindings[b]));
	}
	return list;
}

static json_t *site_json(const struct api_host *host, const char *name)
{
	const struct image *image = host->image;
	json_int_t nodes = 0, edges = 0, names = 0, backends = 0;
	for (size_t i = 0; i < image->member_count; i++) {
		const struct member *member = image->members[i].member;
		if (strcmp(member->site, name) != 0)
			continue;
		nodes++;
		edges += member_has(member, MEMBER_EDGE);
		names += member_has(member, MEMBER_NAMES);
	}
	for (size_t s = 0; s < image->fabric->service_count; s++) {
		const struct service *service = &image->fabric->services[s];
		for (size_t b = 0; b < service->backend_count; b++)
			backends += strcmp(service->backends[b].site, name) == 0;
	}
	return json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:b}", "name", name, "number",
			 (int)placement_site(image->placement, name), "nodes", nodes, "edges",
			 edges, "names", names, "backends", backends, "own",
			 strcmp(name, host->site) == 0);
}

static json_t *sites_list(const struct api_host *host)
{
	json_t *list = json_array();
	for (size_t i = 0; i < host->image->fabric->site_count; i++)
		json_array_append_new(list, site_json(host, host->image->fabric->sites[i].name));
	return list;
}

static json_t *services_list(const struct api_host *host)
{
	return show_services(host, false);
}

static json_t *all_services_list(const struct api_host *host)
{
	return show_services(host, true);
}

static json_t *config_answer(const struct api_host *host)
{
	struct buffer text;
	buffer_init(&text, 0);
	config_emit(host->image->fabric, &text);
	json_t *json = text.status ? NULL : json_pack("{s:s}", "file", text.data);
	buffer_done(&text);
	return json;
}

/* A record of the configuration of which a file would have to say something. */
static const struct image_unread *unread_config(const struct image *image)
{
	for (size_t i = 0; i < image->unread_count; i++) {
		if (strncmp(image->unread[i].key, "config/", strlen("config/")) == 0)
			return &image->unread[i];
	}
	return NULL;
}

void verb_get(struct api_host *host, struct api_call *call)
{
	static const struct {
		const char *kind;
		json_t *(*list)(const struct api_host *host);
		json_t *(*list_all)(const struct api_host *host); /* NULL: the same */
	} kinds[] = {
	    {"services", services_list, all_services_list},
	    {"versions", versions_list, all_versions_list},
	    {"backends", show_backends, NULL},
	    {"bindings", bindings_list, NULL},
	    {"pools", show_pools, NULL},
	    {"sites", sites_list, NULL},
	};
	const char *kind = api_text(call, "kind");
	if (kind && strcmp(kind, "nodes") == 0) {
		api_succeed(call, show_nodes(host));
		return;
	}
	if (!host->image->fabric) {
		refuse_to_show(call, -FL_ENOTFOUND,
			       "nothing was applied yet: write a file and `fairlead apply` it", "");
		return;
	}
	if (!kind) {
		const struct image_unread *unread = unread_config(host->image);
		char text[IMAGE_UNREAD_TEXT];
		if (unread)
			refuse_to_show(call, -FL_EUNSUPPORTED,
				       "a file would leave out what is not understood here: ",
				       image_unread_text(unread, text));
		else
			api_succeed(call, config_answer(host));
		return;
	}
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(kinds[i].kind, kind) == 0) {
			bool all = kinds[i].list_all && api_all(call);
			api_succeed(call, all ? kinds[i].list_all(host) : kinds[i].list(host));
			return;
		}
	}
	refuse_to_show(
	    call, -FL_EUSAGE,
	    "there are services, versions, backends, bindings, pools, sites and nodes, but "
	    "no ",
	    kind);
}

/* --- describe --- */

static json_t *content_json(const struct version *version)
{
	json_t *ports = json_array();
	json_t *rings = json_array();
	for (size_t i = 0; i < version->port_count; i++) {
		const struct service_port *port = &version->ports[i];
		char text[32];
		const char *protocol = port->quic                      ? "quic"
				       : port->protocol == SERVICE_TCP ? "tcp"
								       : "udp";
		if (port->first == port->last)
			snprintf(text, sizeof(text), "%s/%u", protocol, port->first);
		else
			snprintf(text, sizeof(text), "%s/%u-%u", protocol, port->first, port->last);
		json_array_append_new(ports, json_string(text));
	}
	for (size_t i = 0; i < version->ring_count; i++)
		json_array_append_new(rings,
				      json_pack("{s:s, s:i}", "site", version->rings[i].site,
						"entries", (int)version->rings[i].ring.length));
	return json_pack("{s:o, s:o}", "ports", ports, "rings", rings);
}

static json_t *describe_service(const struct api_host *host, const char *name)
{
	const struct image_service *service = image_service(host->image, name);
	return service && service->state ? show_service(host, service->state, false) : NULL;
}

static json_t *describe_whole_service(const struct api_host *host, const char *name)
{
	const struct image_service *service = image_service(host->image, name);
	return service && service->state ? show_service(host, service->state, true) : NULL;
}

/* "web/2" */
static json_t *describe_version(const struct api_host *host, const char *name)
{
	char service_name[MODEL_NAME_BYTES];
	const char *slash = strchr(name, '/');
	if (!slash)
		return NULL;
	snprintf(service_name, sizeof(service_name), "%.*s", (int)(slash - name), name);
	const struct image_service *service = image_service(host->image, service_name);
	uint32_t number = (uint32_t)strtoul(slash + 1, NULL, 10);
	if (!service || !service->state || !service_version(service->state, number))
		return NULL;
	json_t *json = show_version(host, service->state, service_version(service->state, number));
	const struct version *version = image_version(service, number);
	if (version)
		json_object_update_new(json, content_json(version));
	return json;
}

static json_t *describe_address(const struct api_host *host, const char *text)
{
	struct ip_address wanted;
	if (ip_address_parse(text, &wanted) < 0)
		return NULL;
	for (size_t s = 0; s < host->image->state_count; s++) {
		const struct service_state *state = host->image->states[s];
		for (size_t b = 0; b < state->binding_count; b++) {
			struct ip_address address = show_own_address(host, &state->bindings[b]);
			if (ip_address_equal(&address, &wanted))
				return show_binding(host, state, &state->bindings[b]);
		}
	}
	return NULL;
}

static bool names_simply(const char *name)
{
	return *name && !strchr(name, '/');
}

static bool names_backend(const char *name)
{
	return *name;
}

static bool names_version(const char *name)
{
	const char *slash = strchr(name, '/');
	return slash && slash > name && slash[1] && !slash[1 + strspn(slash + 1, "0123456789")];
}

static bool names_address(const char *name)
{
	struct ip_address address;
	return ip_address_parse(name, &address) == 0;
}

void verb_describe(struct api_host *host, struct api_call *call)
{
	static const struct {
		const char *kind;
		bool (*names)(const char *name);
		json_t *(*describe)(const struct api_host *host, const char *name);
	} kinds[] = {
	    {"service/", names_simply, describe_service},
	    {"version/", names_version, describe_version},
	    {"backend/", names_backend, show_backend},
	    {"address/", names_address, describe_address},
	};
	char named[64 + MODEL_NAME_BYTES];
	const char *thing = api_text(call, "thing");
	/* A bare name is a service's. */
	snprintf(named, sizeof(named), "service/%s", thing);
	if (!strchr(thing, '/'))
		thing = named;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t length = strlen(kinds[i].kind);
		if (strncmp(thing, kinds[i].kind, length) != 0 || !kinds[i].names(thing + length))
			continue;
		bool whole = kinds[i].describe == describe_service && api_all(call);
		json_t *json = !host->image->fabric ? NULL
			       : whole              ? describe_whole_service(host, thing + length)
						    : kinds[i].describe(host, thing + length);
		if (json)
			api_succeed(call, json);
		else
			refuse_to_show(call, -FL_ENOTFOUND, "there is no ", thing);
		return;
	}
	refuse_to_show(
	    call, -FL_EUSAGE,
	    "name it as service/NAME, version/NAME/NUMBER, backend/NAME or address/ADDRESS, not ",
	    thing);
}

/* With the versions that are in the way of its end: older ones, until they are retired. */
static json_t *show_whole_rollout(const struct api_host *host, const struct service_state *state)
{
	json_t *json = show_rollout(host, state);
	json_t *older = json_array();
	for (size_t i = 0; i < state->version_count; i++) {
		const struct version_status *version = &state->versions[i];
		if (version->state == VERSION_DRAINING || version->state == VERSION_CLOSING)
			json_array_append_new(older, show_version(host, state, version));
	}
	json_object_set_new(json, "older", older);
	return json;
}

void verb_rollout_status(struct api_host *host, struct api_call *call)
{
	const char *name = api_service(call);
	json_t *list = json_array();
	for (size_t i = 0; i < host->image->state_count; i++) {
		const struct service_state *state = host->image->states[i];
		if (!name || strcmp(name, state->name) == 0)
			json_array_append_new(list, show_whole_rollout(host, state));
	}
	if (name && !json_array_size(list)) {
		json_decref(list);
		refuse_to_show(call, -FL_ENOTFOUND, "there is no service ", name);
		return;
	}
	api_succeed(call, list);
}

/* --- ledger --- */

static json_t *entry_json(const struct ledger_entry *entry)
{
	char time[CLOCK_TEXT_BYTES];
	char digest[DIGEST_HEX_BYTES];
	clock_format(entry->time_ms, time, sizeof(time));
	hex_encode(entry->digest.bytes, DIGEST_BYTES, digest);
	return json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:O, s:s}", "sequence",
			 (json_int_t)entry->sequence, "time", time, "node", entry->node, "who",
			 entry->who, "why", entry->why, "kind", entry->kind, "what", entry->what,
			 "digest", digest);
}

static void on_log(void *context, int result, const struct error *err,
		   const struct ledger_page *page)
{
	struct api_call *call = context;
	if (result < 0) {
		api_fail(call, err);
		return;
	}
	json_t *list = json_array();
	for (size_t i = 0; i < page->count; i++)
		json_array_append_new(list, entry_json(&page->entries[i]));
	api_succeed(call, list);
}

void verb_log(struct api_host *host, struct api_call *call)
{
	const json_t *parameters = api_parameters(call);
	json_int_t from = json_integer_value(json_object_get(parameters, "from"));
	json_int_t limit = json_integer_value(json_object_get(parameters, "limit"));
	struct error err = {0};
	int result;
	if (!json_object_get(parameters, "limit"))
		limit = LOG_DEFAULT_LIMIT;
	if (json_object_get(parameters, "from") && from < 1)
		result =
		    error_set(&err, -FL_EUSAGE, "the ledger has no entry %lld: it begins with 1",
			      (long long)from);
	else if (limit < 1 || limit > STORE_PAGE_RECORDS)
		result = error_set(&err, -FL_EUSAGE,
				   "the log is shown by 1 to %u entries at once, not %lld",
				   STORE_PAGE_RECORDS, (long long)limit);
	else
		result =
		    ledger_range(host->store, (uint64_t)from, (size_t)limit, on_log, call, &err);
	if (result < 0)
		api_fail(call, &err);
}

static void on_verified(void *context, int result, const struct error *err,
			const struct ledger_verdict *verdict)
{
	struct api_call *call = context;
	if (result < 0) {
		api_fail(call, err);
		return;
	}
	char digest[DIGEST_HEX_BYTES];
	hex_encode(verdict->digest.bytes, DIGEST_BYTES, digest);
	api_succeed(call, json_pack("{s:b, s:I, s:s}", "sound", 1, "entries",
				    (json_int_t)verdict->entries, "digest", digest));
}

void verb_verify(struct api_host *host, struct api_call *call)
{
	/* What this node acknowledged must be in it. */
	const struct ledger_position *mark = &host->replica->acknowledged;
	const struct ledger_verify verify = {
	    .signer = host->signer, .anchor = {.sequence = mark->sequence, .digest = mark->digest}};
	struct error err = {0};
	if (ledger_verify(host->store, &verify, on_verified, call, &err) < 0)
		api_fail(call, &err);
}

void verb_events(struct api_host *host, struct api_call *call)
{
	(void)host;
	api_follow(call);
}
