/* SPDX-License-Identifier: Apache-2.0 */
/* Fabric → canonical YAML. What is quoted is quoted for every YAML reader, not only for ours. */
#include "base/text.h"
#include "config/config.h"
#include "config/port.h"
#include "model/fabric.h"

#include <inttypes.h>
#include <string.h>

static const char *duration(uint64_t ms, char *text)
{
	return text_format_duration(ms, text);
}

/* Labels that a YAML reader could take for a boolean, a null or a number. */
static bool needs_quotes(const char *label)
{
	static const char *const WORDS[] = {"true", "false", "null", "yes", "no",
					    "on",   "off",   "y",    "n"};
	if (label[0] < 'a' || label[0] > 'z')
		return true;
	for (size_t i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++)
		if (strcmp(label, WORDS[i]) == 0)
			return true;
	return false;
}

static void emit_name(const char *name, struct buffer *text)
{
	buffer_printf(text, needs_quotes(name) ? "\"%s\"" : "%s", name);
}

/* Any text without control characters, in double quotes. */
static void emit_quoted(const char *value, struct buffer *text)
{
	buffer_putc(text, '"');
	for (; *value; value++) {
		if (*value == '"' || *value == '\\')
			buffer_putc(text, '\\');
		buffer_putc(text, *value);
	}
	buffer_putc(text, '"');
}

/* Addresses, prefixes and endpoints: a colon asks for quotes. */
static void emit_address_text(const char *value, struct buffer *text)
{
	buffer_printf(text, strchr(value, ':') ? "\"%s\"" : "%s", value);
}

static void emit_settings(const struct settings *settings, struct buffer *text)
{
	char quiet[TEXT_BYTES], stale[TEXT_BYTES], quarantine[TEXT_BYTES], interval[TEXT_BYTES];
	buffer_printf(text,
		      "settings: {quiet: %s, stale: %s, quarantine: %s, report_interval: %s}\n",
		      duration(settings->quiet_ms, quiet), duration(settings->stale_ms, stale),
		      duration(settings->quarantine_ms, quarantine),
		      duration(settings->report_interval_ms, interval));
}

static void emit_nameserver(const struct nameserver *nameserver, struct buffer *text)
{
	char address[IP_TEXT_BYTES];
	buffer_puts(text, "  ");
	emit_name(nameserver->name, text);
	buffer_puts(text, ": [");
	for (size_t i = 0; i < nameserver->address_count; i++) {
		buffer_puts(text, i ? ", " : "");
		emit_address_text(ip_address_format(&nameserver->addresses[i], address), text);
	}
	buffer_puts(text, "]\n");
}

/* A name of the zone: what is no plain word for every reader is quoted. */
static void emit_owner(const char *name, struct buffer *text)
{
	buffer_printf(text, "    \"%s\":", name);
}

static void emit_set(const struct zone_set *set, struct buffer *text)
{
	buffer_printf(text, "      %s: [", zone_record_rows[set->type].key);
	for (size_t i = 0; i < set->value_count; i++) {
		buffer_puts(text, i ? ", " : "");
		emit_quoted(set->values[i], text);
	}
	buffer_puts(text, "]\n");
}

/* What is a default is left out: it is one of the zone's, and older programs read it so. */
static void emit_zone_settings(const struct zone_settings *zone, struct buffer *text)
{
	char value[TEXT_BYTES];
	if (zone_settings_are_default(zone))
		return;
	buffer_puts(text, "dns:\n");
	if (zone->contact) {
		buffer_puts(text, "  contact: ");
		emit_quoted(zone->contact, text);
		buffer_putc(text, '\n');
	}
	if (zone->ttl_s)
		buffer_printf(text, "  ttl: %s\n", duration(zone->ttl_s * 1000ull, value));
	if (zone->negative_ttl_s)
		buffer_printf(text, "  negative_ttl: %s\n",
			      duration(zone->negative_ttl_s * 1000ull, value));
	if (zone->rate == ZONE_RATE_NONE)
		buffer_puts(text, "  rate_limit: none\n");
	else if (zone->rate)
		buffer_printf(text, "  rate_limit: %u\n", zone->rate);
	if (zone->name_count > 0)
		buffer_puts(text, "  records:\n");
	for (size_t i = 0; i < zone->name_count; i++) {
		const struct zone_name *owner = &zone->names[i];
		emit_owner(owner->name, text);
		buffer_putc(text, '\n');
		if (owner->ttl_s)
			buffer_printf(text, "      ttl: %s\n",
				      duration(owner->ttl_s * 1000ull, value));
		for (size_t j = 0; j < owner->set_count; j++)
			emit_set(&owner->sets[j], text);
	}
}

static void emit_pool(const struct pool *pool, struct buffer *text)
{
	char prefix[IP_TEXT_BYTES];
	buffer_puts(text, "  - {prefix: ");
	emit_address_text(ip_prefix_format(&pool->prefix, prefix), text);
	buffer_printf(text, ", site_bits: %u", pool->site_bits);
	if (pool->slots_per_service)
		buffer_printf(text, ", slots_per_service: %u", pool->slots_per_service);
	buffer_puts(text, "}\n");
}

static void emit_site(const struct site *site, struct buffer *text)
{
	char latitude[TEXT_BYTES], longitude[TEXT_BYTES], prefix[IP_TEXT_BYTES];
	buffer_puts(text, "  ");
	emit_name(site->name, text);
	if (!site->has_location && site->client_count == 0) {
		buffer_puts(text, ": {}\n");
		return;
	}
	buffer_puts(text, ":\n");
	if (site->has_location)
		buffer_printf(text, "    location: [%s, %s]\n",
			      text_format_degrees(site->latitude, latitude),
			      text_format_degrees(site->longitude, longitude));
	if (site->client_count > 0)
		buffer_puts(text, "    clients:\n");
	for (size_t i = 0; i < site->client_count; i++) {
		buffer_puts(text, "      - ");
		emit_address_text(ip_prefix_format(&site->clients[i], prefix), text);
		buffer_putc(text, '\n');
	}
}

/* --- services --- */

static void emit_health(const struct health_check *health, struct buffer *text)
{
	char interval[TEXT_BYTES];
	if (health->kind == HEALTH_NONE)
		return;
	if (health->kind == HEALTH_HTTP) {
		buffer_printf(text, "    health: {http: {port: %u, path: ", health->port);
		emit_quoted(health->path, text);
	} else {
		buffer_printf(text, "    health: {tcp: {port: %u", health->port);
	}
	buffer_printf(text, "}, interval: %s, fall: %u, rise: %u}\n",
		      duration(health->interval_ms, interval), health->fall, health->rise);
}

static void emit_rollout(const struct rollout_policy *rollout, struct buffer *text)
{
	char share[TEXT_BYTES], pause[TEXT_BYTES];
	buffer_puts(text, "    rollout: {shares: [");
	for (size_t i = 0; i < rollout->share_count; i++)
		buffer_printf(text, "%s%s", i ? ", " : "",
			      text_format_share(rollout->shares[i], share));
	buffer_printf(text, "], pause: %s}\n", duration(rollout->pause_ms, pause));
}

/* The key of a listener: the service's own word for the port, `quic` included. */
static void emit_listener_key(const struct service *service,
			      const struct backend_listener *listener, struct buffer *text)
{
	char port_text[TEXT_BYTES];
	struct service_port key = {.protocol = listener->protocol,
				   .first = listener->service_port,
				   .last = listener->service_port};
	for (size_t i = 0; i < service->port_count; i++) {
		const struct service_port *port = &service->ports[i];
		if (port->protocol == key.protocol && port->first <= key.first &&
		    key.first <= port->last)
			key.quic = port->quic;
	}
	buffer_puts(text, port_format(&key, port_text));
}

static bool same_port(const struct backend_listener *a, const struct backend_listener *b)
{
	return a->protocol == b->protocol && a->service_port == b->service_port;
}

/* Listeners of one port stand together, as they were read, and share its key. */
static void emit_listen(const struct service *service, const struct backend *backend,
			struct buffer *text)
{
	char endpoint[TEXT_BYTES];
	buffer_puts(text, ", listen: {");
	for (size_t i = 0; i < backend->listener_count;) {
		const struct backend_listener *first = &backend->listeners[i];
		size_t count = 1;
		while (i + count < backend->listener_count && same_port(first, first + count))
			count++;
		buffer_puts(text, i ? ", " : "");
		emit_listener_key(service, first, text);
		buffer_puts(text, count > 1 ? ": [" : ": ");
		for (size_t j = 0; j < count; j++)
			buffer_printf(
			    text, "%s\"%s\"", j ? ", " : "",
			    text_format_endpoint(&first[j].address, first[j].port, endpoint));
		buffer_puts(text, count > 1 ? "]" : "");
		i += count;
	}
	buffer_puts(text, "}");
}

static void emit_backend(const struct service *service, const struct backend *backend,
			 struct buffer *text)
{
	char address[IP_TEXT_BYTES];
	buffer_puts(text, "      - {name: ");
	emit_name(backend->name, text);
	buffer_puts(text, ", site: ");
	emit_name(backend->site, text);
	buffer_puts(text, ", address: ");
	emit_address_text(ip_address_format(&backend->address, address), text);
	buffer_printf(text, ", weight: %u", backend->weight);
	if (backend->no_landing)
		buffer_puts(text, ", landing: none");
	if (backend->listener_count > 0)
		emit_listen(service, backend, text);
	buffer_puts(text, "}\n");
}

static void emit_service(const struct service *service, struct buffer *text)
{
	char value[TEXT_BYTES];
	buffer_puts(text, "  ");
	emit_name(service->name, text);
	buffer_puts(text, ":\n    ports: [");
	for (size_t i = 0; i < service->port_count; i++)
		buffer_printf(text, "%s%s", i ? ", " : "", port_format(&service->ports[i], value));
	buffer_printf(text, "]\n    ttl: %s\n",
		      duration((uint64_t)service->ttl_seconds * 1000, value));
	if (service->balance_by == BALANCE_SOURCE)
		buffer_puts(text, "    balance_by: source\n");
	if (service->client_bits_v4 || service->client_bits_v6)
		buffer_printf(text, "    client_subnet: {ipv4: %u, ipv6: %u}\n",
			      service_client_bits(service, IP_V4),
			      service_client_bits(service, IP_V6));
	emit_health(&service->health, text);
	emit_rollout(&service->rollout, text);
	if (service->drain_limit_ms)
		buffer_printf(text, "    drain_limit: %s\n",
			      duration(service->drain_limit_ms, value));
	buffer_puts(text, "    backends:\n");
	for (size_t i = 0; i < service->backend_count; i++)
		emit_backend(service, &service->backends[i], text);
}

void config_emit(const struct fabric *fabric, struct buffer *ret_text)
{
	buffer_puts(ret_text, "fabric: ");
	emit_name(fabric->name, ret_text);
	buffer_puts(ret_text, "\nzone: ");
	emit_name(fabric->zone, ret_text);
	buffer_putc(ret_text, '\n');
	emit_settings(&fabric->settings, ret_text);
	if (fabric->nameserver_count > 0)
		buffer_puts(ret_text, "nameservers:\n");
	for (size_t i = 0; i < fabric->nameserver_count; i++)
		emit_nameserver(&fabric->nameservers[i], ret_text);
	emit_zone_settings(&fabric->dns, ret_text);
	buffer_puts(ret_text, "pools:\n");
	for (size_t i = 0; i < fabric->pool_count; i++)
		emit_pool(&fabric->pools[i], ret_text);
	buffer_puts(ret_text, "sites:\n");
	for (size_t i = 0; i < fabric->site_count; i++)
		emit_site(&fabric->sites[i], ret_text);
	buffer_puts(ret_text, fabric->service_count > 0 ? "services:\n" : "services: {}\n");
	for (size_t i = 0; i < fabric->service_count; i++)
		emit_service(&fabric->services[i], ret_text);
}
