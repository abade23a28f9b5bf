/* SPDX-License-Identifier: Apache-2.0 */
#include "state/config_records.h"

#include "base/text.h"
#include "config/port.h"
#include "state/record_json.h"
#include "state/records.h"

#include <stdio.h>
#include <string.h>

#define MAX_SITE_BITS 8u /* config/read.c */
#define MAX_CLIENTS 65536u

/* --- keys --- */

const struct config_setting config_settings[CONFIG_SETTINGS] = {{"quarantine", 7ull * 86400 * 1000},
								{"quiet", 3600ull * 1000},
								{"report_interval", 1000},
								{"stale", 86400ull * 1000}};

uint64_t *config_setting_of(struct settings *settings, size_t place)
{
	uint64_t *const places[CONFIG_SETTINGS] = {&settings->quarantine_ms, &settings->quiet_ms,
						   &settings->report_interval_ms,
						   &settings->stale_ms};
	return places[place];
}

const char *config_fabric_key(char *key)
{
	snprintf(key, RECORD_KEY_BYTES, "config/fabric");
	return key;
}

const char *config_pool_key(size_t place, char *key)
{
	snprintf(key, RECORD_KEY_BYTES, "config/pool/%02zu", place);
	return key;
}

const char *config_setting_key(size_t place, char *key)
{
	snprintf(key, RECORD_KEY_BYTES, "config/setting/%s", config_settings[place].name);
	return key;
}

const char *config_site_key(const char *site, char *key)
{
	snprintf(key, RECORD_KEY_BYTES, "config/site/%s", site);
	return key;
}

const char *config_service_key(const char *service, char *key)
{
	snprintf(key, RECORD_KEY_BYTES, "config/service/%s", service);
	return key;
}

/* --- the fabric's names --- */

static json_t *addresses_json(const struct ip_address *addresses, size_t count)
{
	json_t *list = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, record_json_address_text(&addresses[i]));
	return list;
}

/* By types, since each is there once: {"txt": ["…"]}. */
static json_t *sets_json(const struct zone_name *owner)
{
	json_t *sets = json_array();
	for (size_t i = 0; i < owner->set_count; i++) {
		json_t *values = json_array();
		for (size_t j = 0; j < owner->sets[i].value_count; j++)
			json_array_append_new(values, json_string(owner->sets[i].values[j]));
		json_array_append_new(sets, json_pack("{s:s, s:o}", "type",
						      zone_record_rows[owner->sets[i].type].key,
						      "values", values));
	}
	return sets;
}

static json_t *zone_settings_json(const struct zone_settings *zone)
{
	json_t *names = json_array();
	for (size_t i = 0; i < zone->name_count; i++)
		json_array_append_new(names,
				      json_pack("{s:s, s:I, s:o}", "name", zone->names[i].name,
						"ttl_s", (json_int_t)zone->names[i].ttl_s, "sets",
						sets_json(&zone->names[i])));
	return json_pack("{s:s?, s:I, s:I, s:I, s:o}", "contact", zone->contact, "ttl_s",
			 (json_int_t)zone->ttl_s, "negative_ttl_s",
			 (json_int_t)zone->negative_ttl_s, "rate", (json_int_t)zone->rate, "names",
			 names);
}

int config_fabric_put(const struct fabric *fabric, struct buffer *value)
{
	json_t *servers = json_array();
	for (size_t i = 0; i < fabric->nameserver_count; i++) {
		const struct nameserver *server = &fabric->nameservers[i];
		json_array_append_new(
		    servers, json_pack("{s:s, s:o}", "name", server->name, "addresses",
				       addresses_json(server->addresses, server->address_count)));
	}
	json_t *json = json_pack("{s:s, s:s, s:o}", "name", fabric->name, "zone", fabric->zone,
				 "nameservers", servers);
	/* Who does not know of the zone's settings would answer without them: level 2. */
	bool is_plain = zone_settings_are_default(&fabric->dns);
	if (json && !is_plain &&
	    json_object_set_new(json, "dns", zone_settings_json(&fabric->dns)) < 0) {
		json_decref(json);
		json = NULL;
	}
	return record_json_put_level(json, is_plain ? 1 : 2, value);
}

static void read_nameserver(struct record_reading *reading, const json_t *json,
			    struct nameserver *server)
{
	server->name = record_json_text(reading, json, "name");
	const json_t *addresses = record_json_array(
	    reading, json, "addresses", MODEL_MAX_NAMESERVER_ADDRESSES, sizeof(*server->addresses),
	    &server->addresses, &server->address_count);
	for (size_t i = 0; addresses && i < server->address_count; i++) {
		const char *text = json_string_value(json_array_get(addresses, i));
		if (!text || ip_address_parse(text, &server->addresses[i]) < 0)
			record_json_fault(reading, "addresses");
	}
}

static void read_set(struct record_reading *reading, const json_t *json, struct zone_set *set)
{
	const char *type = json_string_value(json_object_get(json, "type"));
	while (type && set->type < ZONE_RECORD_TYPE_COUNT &&
	       strcmp(zone_record_rows[set->type].key, type) != 0)
		set->type++;
	if (!type || set->type == ZONE_RECORD_TYPE_COUNT) {
		record_json_fault(reading, "type");
		set->type = ZONE_RECORD_A;
	}
	const json_t *values =
	    record_json_array(reading, json, "values", ZONE_MAX_RECORD_VALUES, sizeof(*set->values),
			      &set->values, &set->value_count);
	for (size_t i = 0; values && i < set->value_count; i++) {
		const char *text = json_string_value(json_array_get(values, i));
		set->values[i] = text ? arena_strdup(reading->arena, text) : "";
		if (!text)
			record_json_fault(reading, "values");
		else if (!set->values[i])
			record_json_no_memory(reading);
	}
}

static void read_zone_name(struct record_reading *reading, const json_t *json,
			   struct zone_name *owner)
{
	owner->name = record_json_text(reading, json, "name");
	owner->ttl_s = record_json_u32(reading, json, "ttl_s");
	const json_t *sets =
	    record_json_array(reading, json, "sets", ZONE_RECORD_TYPE_COUNT, sizeof(*owner->sets),
			      &owner->sets, &owner->set_count);
	for (size_t i = 0; sets && i < owner->set_count; i++)
		read_set(reading, json_array_get(sets, i), &owner->sets[i]);
}

static void read_zone_settings(struct record_reading *reading, const json_t *json,
			       struct zone_settings *zone)
{
	if (!json)
		return; /* of the first level: all is default */
	if (!json_is_null(json_object_get(json, "contact")))
		zone->contact = record_json_text(reading, json, "contact");
	zone->ttl_s = record_json_u32(reading, json, "ttl_s");
	zone->negative_ttl_s = record_json_u32(reading, json, "negative_ttl_s");
	zone->rate = record_json_u32(reading, json, "rate");
	const json_t *names =
	    record_json_array(reading, json, "names", ZONE_MAX_RECORD_NAMES, sizeof(*zone->names),
			      &zone->names, &zone->name_count);
	for (size_t i = 0; names && i < zone->name_count; i++)
		read_zone_name(reading, json_array_get(names, i), &zone->names[i]);
}

int config_fabric_parse(const char *value, size_t length, struct arena *arena,
			struct fabric *ret_fabric, struct error *err)
{
	struct record_reading reading = {.type = RECORD_CONFIG_FABRIC, .arena = arena, .err = err};
	json_t *json = record_json_open(&reading, value, length);
	if (!json)
		return reading.status;
	struct nameserver *servers = NULL;
	struct zone_settings dns = {0};
	size_t count = 0;
	const char *name = record_json_text(&reading, json, "name");
	const char *zone = record_json_text(&reading, json, "zone");
	const json_t *list = record_json_array(&reading, json, "nameservers", MODEL_MAX_NAMESERVERS,
					       sizeof(*servers), &servers, &count);
	for (size_t i = 0; list && i < count; i++)
		read_nameserver(&reading, json_array_get(list, i), &servers[i]);
	read_zone_settings(&reading, json_object_get(json, "dns"), &dns);
	if (text_check_label(name))
		record_json_fault(&reading, "name");
	if (text_check_domain(zone))
		record_json_fault(&reading, "zone");
	json_decref(json);
	if (reading.status < 0)
		return reading.status;
	ret_fabric->name = name;
	ret_fabric->zone = zone;
	ret_fabric->nameservers = servers;
	ret_fabric->nameserver_count = count;
	ret_fabric->dns = dns;
	return 0;
}

/* --- settings and pools --- */

int config_setting_put(uint64_t ms, struct buffer *value)
{
	return record_json_put(RECORD_CONFIG_SETTING, json_pack("{s:I}", "ms", (json_int_t)ms),
			       value);
}

int config_setting_parse(const char *value, size_t length, uint64_t *ret_ms, struct error *err)
{
	struct record_reading reading = {.type = RECORD_CONFIG_SETTING, .err = err};
	json_t *json = record_json_open(&reading, value, length);
	if (!json)
		return reading.status;
	uint64_t ms = record_json_number(&reading, json, "ms", TEXT_MAX_DURATION_MS);
	json_decref(json);
	if (reading.status == 0)
		*ret_ms = ms;
	return reading.status;
}

int config_pool_put(const struct pool *pool, struct buffer *value)
{
	return record_json_put(RECORD_CONFIG_POOL,
			       json_pack("{s:o, s:i, s:I}", "prefix",
					 record_json_prefix_text(&pool->prefix), "site_bits",
					 (int)pool->site_bits, "slots_per_service",
					 (json_int_t)pool->slots_per_service),
			       value);
}

int config_pool_parse(const char *value, size_t length, struct pool *ret_pool, struct error *err)
{
	struct record_reading reading = {.type = RECORD_CONFIG_POOL, .err = err};
	struct pool pool = {0};
	json_t *json = record_json_open(&reading, value, length);
	if (!json)
		return reading.status;
	record_json_prefix(&reading, json, "prefix", &pool.prefix);
	pool.site_bits = (uint8_t)record_json_number(&reading, json, "site_bits", MAX_SITE_BITS);
	pool.slots_per_service = record_json_u32(&reading, json, "slots_per_service");
	json_decref(json);
	if (reading.status == 0)
		*ret_pool = pool;
	return reading.status;
}

/* --- sites --- */

int config_site_put(const struct site *site, struct buffer *value)
{
	char latitude[TEXT_BYTES], longitude[TEXT_BYTES];
	json_t *clients = json_array();
	for (size_t i = 0; i < site->client_count; i++)
		json_array_append_new(clients, record_json_prefix_text(&site->clients[i]));
	json_t *json = json_pack("{s:o}", "clients", clients);
	if (json && site->has_location &&
	    json_object_set_new(json, "location",
				json_pack("[s, s]", text_format_degrees(site->latitude, latitude),
					  text_format_degrees(site->longitude, longitude))) < 0) {
		json_decref(json);
		json = NULL;
	}
	return record_json_put(RECORD_CONFIG_SITE, json, value);
}

static void read_location(struct record_reading *reading, const json_t *location, struct site *site)
{
	const char *latitude = json_string_value(json_array_get(location, 0));
	const char *longitude = json_string_value(json_array_get(location, 1));
	site->has_location = true;
	if (!latitude || !longitude || text_parse_degrees(latitude, 90, &site->latitude) ||
	    text_parse_degrees(longitude, 180, &site->longitude))
		record_json_fault(reading, "location");
}

int config_site_parse(const char *value, size_t length, const char *name, struct arena *arena,
		      struct site *ret_site, struct error *err)
{
	struct record_reading reading = {.type = RECORD_CONFIG_SITE, .arena = arena, .err = err};
	struct site site = {.name = name};
	json_t *json = record_json_open(&reading, value, length);
	if (!json)
		return reading.status;
	const json_t *location = json_object_get(json, "location");
	if (location)
		read_location(&reading, location, &site);
	const json_t *clients =
	    record_json_array(&reading, json, "clients", MAX_CLIENTS, sizeof(*site.clients),
			      &site.clients, &site.client_count);
	for (size_t i = 0; clients && i < site.client_count; i++) {
		const char *text = json_string_value(json_array_get(clients, i));
		if (!text || ip_prefix_parse(text, &site.clients[i]) < 0)
			record_json_fault(&reading, "clients");
	}
	json_decref(json);
	if (reading.status == 0)
		*ret_site = site;
	return reading.status;
}

/* --- services, out --- */

static json_t *listener_json(const struct backend_listener *listener)
{
	char text[TEXT_BYTES];
	return json_pack("{s:i, s:i, s:s}", "protocol", (int)listener->protocol, "port",
			 (int)listener->service_port, "at",
			 text_format_endpoint(&listener->address, listener->port, text));
}

static json_t *backend_json(const struct backend *backend)
{
	json_t *listeners = json_array();
	for (size_t i = 0; i < backend->listener_count; i++)
		json_array_append_new(listeners, listener_json(&backend->listeners[i]));
	json_t *json =
	    json_pack("{s:s, s:s, s:o, s:i, s:o}", "name", backend->name, "site", backend->site,
		      "address", record_json_address_text(&backend->address), "weight",
		      (int)backend->weight, "listeners", listeners);
	if (backend->no_landing && json_object_set_new(json, "landing", json_false()) < 0) {
		json_decref(json);
		return NULL;
	}
	return json;
}

/* A kind without a path is TCP's; null is no check. */
static json_t *health_json(const struct health_check *health)
{
	if (health->kind == HEALTH_NONE)
		return json_null();
	return json_pack("{s:s?, s:i, s:I, s:I, s:I}", "path",
			 health->kind == HEALTH_HTTP ? health->path : NULL, "port",
			 (int)health->port, "interval_ms", (json_int_t)health->interval_ms, "fall",
			 (json_int_t)health->fall, "rise", (json_int_t)health->rise);
}

int config_service_put(const struct service *service, struct buffer *value)
{
	char text[TEXT_BYTES];
	json_t *ports = json_array();
	json_t *shares = json_array();
	json_t *backends = json_array();
	for (size_t i = 0; i < service->port_count; i++)
		json_array_append_new(ports, json_string(port_format(&service->ports[i], text)));
	for (size_t i = 0; i < service->rollout.share_count; i++)
		json_array_append_new(shares, json_integer(service->rollout.shares[i]));
	for (size_t i = 0; i < service->backend_count; i++)
		json_array_append_new(backends, backend_json(&service->backends[i]));
	bool complete = json_array_size(ports) == service->port_count &&
			json_array_size(shares) == service->rollout.share_count &&
			json_array_size(backends) == service->backend_count;
	json_t *json =
	    json_pack("{s:o, s:s, s:I, s:o, s:o, s:I, s:I, s:o}", "ports", ports, "balance_by",
		      service->balance_by == BALANCE_SOURCE ? "source" : "flow", "ttl_s",
		      (json_int_t)service->ttl_seconds, "health", health_json(&service->health),
		      "shares", shares, "pause_ms", (json_int_t)service->rollout.pause_ms,
		      "drain_limit_ms", (json_int_t)service->drain_limit_ms, "backends", backends);
	/* Who does not know this member would deal the clients in another way: level 2. */
	bool has_bits = service->client_bits_v4 || service->client_bits_v6;
	if (json && has_bits &&
	    json_object_set_new(json, "client_bits",
				json_pack("[i, i]", (int)service->client_bits_v4,
					  (int)service->client_bits_v6)) < 0)
		complete = false;
	if (!complete) {
		json_decref(json);
		json = NULL;
	}
	bool lacks_landing = false;
	for (size_t i = 0; i < service->backend_count; i++)
		lacks_landing |= service->backends[i].no_landing;
	return record_json_put_level(json, has_bits || lacks_landing ? 2 : 1, value);
}

/* --- services, in --- */

static void read_listener(struct record_reading *reading, const json_t *json,
			  struct backend_listener *listener)
{
	const char *at = json_string_value(json_object_get(json, "at"));
	listener->protocol = (uint8_t)record_json_number(reading, json, "protocol", UINT8_MAX);
	if (listener->protocol != SERVICE_TCP && listener->protocol != SERVICE_UDP)
		record_json_fault(reading, "protocol");
	listener->service_port = (uint16_t)record_json_number(reading, json, "port", UINT16_MAX);
	if (!at || text_parse_endpoint(at, &listener->address, &listener->port))
		record_json_fault(reading, "at");
}

static void read_backend(struct record_reading *reading, const json_t *json,
			 struct backend *backend)
{
	backend->name = record_json_text(reading, json, "name");
	backend->site = record_json_text(reading, json, "site");
	if (text_check_label(backend->name))
		record_json_fault(reading, "name");
	if (text_check_label(backend->site))
		record_json_fault(reading, "site");
	record_json_address(reading, json, "address", &backend->address);
	backend->weight = (uint32_t)record_json_number(reading, json, "weight", MODEL_MAX_WEIGHT);
	/* Only where there is none. */
	backend->no_landing =
	    json_object_get(json, "landing") && !record_json_bool(reading, json, "landing");
	const json_t *listeners = record_json_array(reading, json, "listeners", MODEL_MAX_LISTENERS,
						    sizeof(*backend->listeners),
						    &backend->listeners, &backend->listener_count);
	for (size_t i = 0; listeners && i < backend->listener_count; i++)
		read_listener(reading, json_array_get(listeners, i), &backend->listeners[i]);
}

static void read_health(struct record_reading *reading, const json_t *json,
			struct health_check *health)
{
	if (json_is_null(json))
		return;
	bool has_path = !json_is_null(json_object_get(json, "path"));
	health->kind = has_path ? HEALTH_HTTP : HEALTH_TCP;
	if (has_path)
		health->path = record_json_text(reading, json, "path");
	health->port = (uint16_t)record_json_number(reading, json, "port", UINT16_MAX);
	health->interval_ms =
	    record_json_number(reading, json, "interval_ms", TEXT_MAX_DURATION_MS);
	health->fall = record_json_u32(reading, json, "fall");
	health->rise = record_json_u32(reading, json, "rise");
}

static void read_ports(struct record_reading *reading, const json_t *json, struct service *service)
{
	const json_t *ports = json_object_get(json, "ports");
	service->port_count = json_array_size(ports);
	if (service->port_count > MODEL_MAX_PORTS || !service->port_count) {
		service->port_count = 0;
		record_json_fault(reading, "ports");
	}
	for (size_t i = 0; i < service->port_count; i++) {
		const char *text = json_string_value(json_array_get(ports, i));
		if (!text || port_parse(text, &service->ports[i]))
			record_json_fault(reading, "ports");
	}
}

static void read_balance(struct record_reading *reading, const json_t *json,
			 struct service *service)
{
	const char *text = json_string_value(json_object_get(json, "balance_by"));
	if (text && strcmp(text, "source") == 0)
		service->balance_by = BALANCE_SOURCE;
	else if (!text || strcmp(text, "flow") != 0)
		record_json_fault(reading, "balance_by");
}

/* Rising, and the last is the whole: the rollout would never end otherwise. */
static void read_shares(struct record_reading *reading, const json_t *json,
			struct rollout_policy *rollout)
{
	const json_t *shares = json_object_get(json, "shares");
	size_t count = json_array_size(shares);
	uint32_t before = 0;
	rollout->share_count = count <= MODEL_MAX_SHARES ? count : 0;
	for (size_t i = 0; i < rollout->share_count; i++) {
		json_int_t share = json_integer_value(json_array_get(shares, i));
		if (share <= before || share > SHARE_WHOLE)
			record_json_fault(reading, "shares");
		before = rollout->shares[i] = (uint32_t)share;
	}
	if (before != SHARE_WHOLE)
		record_json_fault(reading, "shares");
	rollout->pause_ms = record_json_number(reading, json, "pause_ms", TEXT_MAX_DURATION_MS);
}

/* What is left out is the default, which a reader of the first level goes by. */
static void read_client_bits(struct record_reading *reading, const json_t *json,
			     struct service *service)
{
	const json_t *bits = json_object_get(json, "client_bits");
	if (!bits)
		return;
	json_int_t v4 = json_integer_value(json_array_get(bits, 0));
	json_int_t v6 = json_integer_value(json_array_get(bits, 1));
	if (json_array_size(bits) != 2 || v4 < 0 || v4 >= MODEL_CLIENT_BITS_V4 || v6 < 0 ||
	    v6 >= MODEL_CLIENT_BITS_V6 || !(v4 || v6)) {
		record_json_fault(reading, "client_bits");
		return;
	}
	service->client_bits_v4 = (uint8_t)v4;
	service->client_bits_v6 = (uint8_t)v6;
}

int config_service_parse(const char *value, size_t length, const char *name, struct arena *arena,
			 struct service *ret_service, struct error *err)
{
	struct record_reading reading = {.type = RECORD_CONFIG_SERVICE, .arena = arena, .err = err};
	struct service service = {.name = name};
	json_t *json = record_json_open(&reading, value, length);
	if (!json)
		return reading.status;
	read_ports(&reading, json, &service);
	read_balance(&reading, json, &service);
	service.ttl_seconds = record_json_u32(&reading, json, "ttl_s");
	read_client_bits(&reading, json, &service);
	read_health(&reading, json_object_get(json, "health"), &service.health);
	read_shares(&reading, json, &service.rollout);
	service.drain_limit_ms =
	    record_json_number(&reading, json, "drain_limit_ms", TEXT_MAX_DURATION_MS);
	const json_t *backends =
	    record_json_array(&reading, json, "backends", MODEL_MAX_BACKENDS,
			      sizeof(*service.backends), &service.backends, &service.backend_count);
	for (size_t i = 0; backends && i < service.backend_count; i++)
		read_backend(&reading, json_array_get(backends, i), &service.backends[i]);
	json_decref(json);
	if (reading.status == 0)
		*ret_service = service;
	return reading.status;
}
