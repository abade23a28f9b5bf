/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What differs in one service: first what its versions hold (ports, how they are balanced,
 * backends), then what it keeps beside them (TTL, roll-out, health, drain limit).
 */
#include "plan/details.h"

#include "base/text.h"
#include "config/port.h"
#include "model/fabric.h"
#include "model/version.h"

#include <string.h>

/* --- what a version holds --- */

/* The part of a service that a version fixes, from either of the two. */
struct content {
	const struct service_port *ports;
	size_t port_count;
	const struct backend *backends;
	size_t backend_count;
};

static struct content service_content(const struct service *service)
{
	return (struct content){service->ports, service->port_count, service->backends,
				service->backend_count};
}

static struct content version_content(const struct version *version)
{
	return (struct content){version->ports, version->port_count, version->backends,
				version->backend_count};
}

static bool has_port(const struct content *content, const struct service_port *port)
{
	for (size_t i = 0; i < content->port_count; i++) {
		const struct service_port *other = &content->ports[i];
		if (other->protocol == port->protocol && other->quic == port->quic &&
		    other->first == port->first && other->last == port->last)
			return true;
	}
	return false;
}

static void compare_ports(struct plan_details *details, const struct content *before,
			  const struct content *after)
{
	char text[TEXT_BYTES];
	for (size_t i = 0; i < after->port_count; i++)
		if (!has_port(before, &after->ports[i]))
			plan_note_added(details, "port",
					plan_keep(details, port_format(&after->ports[i], text)),
					NULL);
	for (size_t i = 0; i < before->port_count; i++)
		if (!has_port(after, &before->ports[i]))
			plan_note_removed(details, "port",
					  plan_keep(details, port_format(&before->ports[i], text)),
					  NULL);
}

static const struct backend *find_backend(const struct content *content, const char *name)
{
	for (size_t i = 0; i < content->backend_count; i++)
		if (strcmp(content->backends[i].name, name) == 0)
			return &content->backends[i];
	return NULL;
}

static const char *backend_text(struct plan_details *details, const struct backend *backend)
{
	struct buffer text;
	char address[IP_TEXT_BYTES];
	buffer_init(&text, 0);
	buffer_printf(&text, "%s, %s, weight %u%s", backend->site,
		      ip_address_format(&backend->address, address), backend->weight,
		      backend->no_landing ? ", no landing: its versions never close by count" : "");
	return plan_keep_buffer(details, &text);
}

static bool has_listener(const struct backend *backend, const struct backend_listener *listener)
{
	for (size_t i = 0; i < backend->listener_count; i++) {
		const struct backend_listener *other = &backend->listeners[i];
		if (other->protocol == listener->protocol &&
		    other->service_port == listener->service_port &&
		    other->port == listener->port &&
		    ip_address_equal(&other->address, &listener->address))
			return true;
	}
	return false;
}

static bool listeners_equal(const struct backend *a, const struct backend *b)
{
	if (a->listener_count != b->listener_count)
		return false;
	for (size_t i = 0; i < a->listener_count; i++)
		if (!has_listener(b, &a->listeners[i]))
			return false;
	return true;
}

static const char *listeners_text(struct plan_details *details, const struct backend *backend)
{
	struct buffer text;
	char endpoint[TEXT_BYTES];
	buffer_init(&text, 0);
	for (size_t i = 0; i < backend->listener_count; i++) {
		const struct backend_listener *listener = &backend->listeners[i];
		buffer_printf(&text, "%s%s/%u at %s", i ? ", " : "",
			      listener->protocol == SERVICE_TCP ? "tcp" : "udp",
			      listener->service_port,
			      text_format_endpoint(&listener->address, listener->port, endpoint));
	}
	if (backend->listener_count == 0)
		buffer_puts(&text, "on the service's ports");
	return plan_keep_buffer(details, &text);
}

static const char *landing_text(const struct backend *backend)
{
	return backend->no_landing ? "none" : "reports";
}

static void compare_backend(struct plan_details *details, const struct backend *was,
			    const struct backend *now)
{
	char before[IP_TEXT_BYTES], after[IP_TEXT_BYTES];
	plan_note_change(details, "backend", now->name, "site", was->site, now->site);
	plan_note_change(details, "backend", now->name, "address",
			 ip_address_format(&was->address, before),
			 ip_address_format(&now->address, after));
	plan_note_number(details, "backend", now->name, "weight", was->weight, now->weight);
	plan_note_change(details, "backend", now->name, "landing", landing_text(was),
			 landing_text(now));
	if (!listeners_equal(was, now))
		plan_note_change(details, "backend", now->name, "listen",
				 listeners_text(details, was), listeners_text(details, now));
}

static void compare_backends(struct plan_details *details, const struct content *before,
			     const struct content *after)
{
	for (size_t i = 0; i < after->backend_count; i++) {
		const struct backend *now = &after->backends[i];
		if (!find_backend(before, now->name))
			plan_note_added(details, "backend", now->name, backend_text(details, now));
	}
	for (size_t i = 0; i < before->backend_count; i++) {
		const struct backend *was = &before->backends[i];
		if (!find_backend(after, was->name))
			plan_note_removed(details, "backend", was->name,
					  backend_text(details, was));
	}
	for (size_t i = 0; i < after->backend_count; i++) {
		const struct backend *was = find_backend(before, after->backends[i].name);
		if (was)
			compare_backend(details, was, &after->backends[i]);
	}
}

static const char *balance_text(enum balance_by balance_by)
{
	return balance_by == BALANCE_SOURCE ? "source" : "flow";
}

void plan_compare_content(struct plan_details *details, const struct version *was,
			  const struct service *now)
{
	struct content before = was ? version_content(was) : (struct content){0};
	struct content after = service_content(now);
	compare_ports(details, &before, &after);
	if (was)
		plan_note_change(details, "balance_by", NULL, NULL, balance_text(was->balance_by),
				 balance_text(now->balance_by));
	else if (now->balance_by != BALANCE_FLOW)
		plan_note_added(details, "balance_by", balance_text(now->balance_by), NULL);
	compare_backends(details, &before, &after);
}

/* --- what a service keeps beside its versions --- */

static const char *shares_text(struct plan_details *details, const struct rollout_policy *rollout)
{
	struct buffer text;
	char share[TEXT_BYTES];
	buffer_init(&text, 0);
	for (size_t i = 0; i < rollout->share_count; i++)
		buffer_printf(&text, "%s%s", i ? ", " : "",
			      text_format_share(rollout->shares[i], share));
	return plan_keep_buffer(details, &text);
}

static const char *health_text(struct plan_details *details, const struct health_check *health)
{
	struct buffer text;
	char interval[TEXT_BYTES];
	if (health->kind == HEALTH_NONE)
		return "none";
	buffer_init(&text, 0);
	if (health->kind == HEALTH_HTTP)
		buffer_printf(&text, "http %u %s", health->port, health->path);
	else
		buffer_printf(&text, "tcp %u", health->port);
	buffer_printf(&text, " every %s, fall %u, rise %u",
		      text_format_duration(health->interval_ms, interval), health->fall,
		      health->rise);
	return plan_keep_buffer(details, &text);
}

static const char *drain_limit_text(uint64_t limit_ms, char *text)
{
	return limit_ms ? text_format_duration(limit_ms, text) : "none";
}

void plan_compare_policies(struct plan_details *details, const struct service *was,
			   const struct service *now)
{
	char before[TEXT_BYTES], after[TEXT_BYTES];
	plan_note_duration(details, "ttl", NULL, was->ttl_seconds * 1000ull,
			   now->ttl_seconds * 1000ull);
	plan_note_number(details, "client_subnet", NULL, "ipv4", service_client_bits(was, IP_V4),
			 service_client_bits(now, IP_V4));
	plan_note_number(details, "client_subnet", NULL, "ipv6", service_client_bits(was, IP_V6),
			 service_client_bits(now, IP_V6));
	plan_note_change(details, "rollout", NULL, "shares", shares_text(details, &was->rollout),
			 shares_text(details, &now->rollout));
	plan_note_duration(details, "rollout", "pause", was->rollout.pause_ms,
			   now->rollout.pause_ms);
	plan_note_change(details, "health", NULL, NULL, health_text(details, &was->health),
			 health_text(details, &now->health));
	plan_note_change(details, "drain_limit", NULL, NULL,
			 drain_limit_text(was->drain_limit_ms, before),
			 drain_limit_text(now->drain_limit_ms, after));
}
