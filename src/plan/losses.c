/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients lose by a plan: names that nothing answers for any more, ports and addresses that
 * end, records that go. Flows that are there end by none of it: an address goes when the last
 * connection on it has ended.
 *
 * A loss asks when a name or a port that clients used is gone for good: that is a decision, and a
 * line that somebody lost from a file looks just like it. A record that goes while its name stays,
 * and records that lead nobody anywhere (txt, caa), are only told of.
 */
#include "plan/details.h"

#include "base/text.h"
#include "config/port.h"
#include "model/fabric.h"
#include "model/version.h"
#include "model/zone_name.h"

#include <string.h>

struct losses {
	struct arena *arena;
	const struct fabric *previous;
	const struct fabric *fabric;
	struct plan_loss *items;
	size_t count;
	size_t capacity;
	int status; /* the first failure sticks */
};

static const char *keep(struct losses *losses, struct buffer *text)
{
	const char *copy =
	    text->status ? NULL : arena_strdup(losses->arena, text->data ? text->data : "");
	buffer_done(text);
	if (!copy)
		losses->status = -ENOMEM;
	return copy;
}

/* Both texts are done with. */
static void add_loss(struct losses *losses, const char *kind, bool asks, struct buffer *name,
		     struct buffer *text)
{
	struct plan_loss loss = {
	    .kind = kind, .name = keep(losses, name), .text = keep(losses, text), .asks = asks};
	if (losses->status == 0 && losses->count == losses->capacity) {
		size_t capacity = losses->capacity ? 2 * losses->capacity : 8;
		struct plan_loss *items = arena_array(losses->arena, capacity, sizeof(*items));
		if (items && losses->count)
			memcpy(items, losses->items, losses->count * sizeof(*items));
		losses->status = items ? 0 : -ENOMEM;
		losses->items = items;
		losses->capacity = capacity;
	}
	if (losses->status == 0)
		losses->items[losses->count++] = loss;
}

/* --- names --- */

static bool ends_with(const char *text, const char *end)
{
	size_t length = strlen(text);
	size_t end_length = strlen(end);
	return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

/* Does the file leave something at this name: a service, records, names below it, or a wildcard
 * above it (RFC 4592)? Only then is it not NXDOMAIN. */
static bool name_stays(const struct fabric *fabric, const char *name)
{
	if (strcmp(name, "@") == 0 || fabric_service(fabric, name))
		return true;
	for (size_t i = 0; i < fabric->dns.name_count; i++) {
		const char *owner = fabric->dns.names[i].name;
		bool is_below = strlen(owner) > strlen(name) && ends_with(owner, name) &&
				owner[strlen(owner) - strlen(name) - 1] == '.';
		if (is_below || strcmp(owner, name) == 0 || strcmp(owner, "*") == 0 ||
		    (owner[0] == '*' && ends_with(name, owner + 1)))
			return true;
	}
	return false;
}

static void put_full_name(const struct fabric *fabric, const char *name, struct buffer *text)
{
	char full[ZONE_NAME_BYTES];
	const char *known = zone_name(fabric->zone, name, full);
	buffer_puts(text, known ? known : name);
}

static void compare_zones(struct losses *losses)
{
	const char *was = losses->previous->zone;
	const char *now = losses->fabric->zone;
	struct buffer name, text;
	if (!*was || strcmp(was, now) == 0)
		return;
	buffer_init(&name, 0);
	buffer_init(&text, 0);
	buffer_puts(&name, was);
	buffer_printf(&text,
		      "every name in %s is REFUSED from then on; only those in %s are answered",
		      was, now);
	add_loss(losses, "zone", true, &name, &text);
}

/* --- services --- */

static void put_ports(const struct service_port *ports, size_t count, struct buffer *text)
{
	char port[TEXT_BYTES];
	for (size_t i = 0; i < count; i++)
		buffer_printf(text, "%s%s", i ? ", " : "", port_format(&ports[i], port));
}

static void put_addresses(const struct plan_service *change, struct buffer *text)
{
	char address[IP_TEXT_BYTES];
	size_t count = 0;
	for (size_t i = 0; i < change->version_count; i++) {
		const struct plan_live_version *version = &change->versions[i];
		for (size_t j = 0; j < version->address_count; j++)
			buffer_printf(text, "%s%s", count++ ? ", " : "; ",
				      ip_address_format(&version->addresses[j], address));
	}
	if (count)
		buffer_printf(text, " %s when the last connection there has ended",
			      count == 1 ? "goes" : "go");
}

static void lose_service(struct losses *losses, const struct plan_service *change,
			 const struct plan_live_service *live)
{
	const struct service *was = fabric_service(losses->previous, change->name);
	const struct version *current = live ? live->current : NULL;
	struct buffer name, text;
	buffer_init(&name, 0);
	buffer_init(&text, 0);
	buffer_puts(&name, change->name);
	put_full_name(losses->previous, change->name, &text);
	buffer_puts(&text, name_stays(losses->fabric, change->name) ? " is a service's name no more"
								    : " is NXDOMAIN from then on");
	if (current ? current->port_count : was && was->port_count) {
		buffer_puts(&text, ", and nobody new reaches ");
		put_ports(current ? current->ports : was->ports,
			  current ? current->port_count : was->port_count, &text);
	}
	put_addresses(change, &text);
	add_loss(losses, "service", true, &name, &text);
}

/* --- ports --- */

/* The first port from `at` on, up to `last`, that none of these takes; 0 when there is none. What
 * it ends before goes to `ret_end`. */
static uint32_t find_gap(const struct service *service, enum service_protocol protocol, uint32_t at,
			 uint32_t last, uint32_t *ret_end)
{
	bool moved = true;
	while (moved && at <= last) {
		moved = false;
		for (size_t i = 0; i < service->port_count; i++) {
			const struct service_port *port = &service->ports[i];
			if (port->protocol == protocol && port->first <= at && port->last >= at) {
				at = port->last + 1u;
				moved = true;
			}
		}
	}
	if (at > last)
		return 0;
	*ret_end = last + 1;
	for (size_t i = 0; i < service->port_count; i++) {
		const struct service_port *port = &service->ports[i];
		if (port->protocol == protocol && port->first > at && port->first < *ret_end)
			*ret_end = port->first;
	}
	return at;
}

static void lose_port(struct losses *losses, const struct plan_service *change,
		      const struct service_port *port)
{
	char shown[TEXT_BYTES];
	struct buffer name, text;
	buffer_init(&name, 0);
	buffer_init(&text, 0);
	port_format(port, shown);
	buffer_printf(&name, "%s %s", change->name, shown);
	buffer_puts(&text, "nobody new reaches ");
	put_full_name(losses->previous, change->name, &text);
	buffer_printf(&text, " at %s", shown);
	if (change->from_version && change->to_version)
		buffer_printf(&text,
			      ": version %u does not have it; connections on version %u stay",
			      change->to_version, change->from_version);
	add_loss(losses, "port", true, &name, &text);
}

static void compare_service_ports(struct losses *losses, const struct plan_service *change,
				  const struct plan_live_service *live)
{
	const struct service *was = fabric_service(losses->previous, change->name);
	const struct service *now = fabric_service(losses->fabric, change->name);
	const struct version *current = live ? live->current : NULL;
	const struct service_port *ports = current ? current->ports : was ? was->ports : NULL;
	size_t count = current ? current->port_count : was ? was->port_count : 0;
	for (size_t i = 0; i < count; i++) {
		uint32_t at = ports[i].first, end;
		while ((at = find_gap(now, ports[i].protocol, at, ports[i].last, &end))) {
			struct service_port gone = ports[i];
			gone.first = (uint16_t)at;
			gone.last = (uint16_t)(end - 1);
			lose_port(losses, change, &gone);
			at = end;
		}
	}
}

/* --- records --- */

static void lose_set(struct losses *losses, const char *owner, enum zone_record_type type)
{
	const char *key = zone_record_rows[type].key;
	bool stays = name_stays(losses->fabric, owner);
	struct buffer name, text;
	buffer_init(&name, 0);
	buffer_init(&text, 0);
	buffer_printf(&name, "%s %s", owner, key);
	put_full_name(losses->previous, owner, &text);
	buffer_printf(
	    &text, stays ? " has no %s records any more" : " (%s) is NXDOMAIN from then on", key);
	add_loss(losses, "record", !stays && type != ZONE_RECORD_TXT && type != ZONE_RECORD_CAA,
		 &name, &text);
}

static void compare_records(struct losses *losses)
{
	const struct zone_settings *before = &losses->previous->dns;
	uint32_t ttl_s;
	for (size_t i = 0; i < before->name_count; i++) {
		const struct zone_name *owner = &before->names[i];
		for (size_t j = 0; j < owner->set_count; j++) {
			enum zone_record_type type = owner->sets[j].type;
			if (!zone_find_set(&losses->fabric->dns, owner->name, type, &ttl_s))
				lose_set(losses, owner->name, type);
		}
	}
}

int plan_find_losses(const struct fabric *previous, const struct fabric *fabric,
		     const struct plan_live_service *live, size_t live_count, struct arena *arena,
		     struct plan *plan)
{
	struct losses losses = {.arena = arena, .previous = previous, .fabric = fabric};
	compare_zones(&losses);
	compare_records(&losses);
	for (size_t i = 0; i < plan->service_count; i++) {
		const struct plan_service *change = &plan->services[i];
		const struct plan_live_service *known =
		    plan_find_live(live, live_count, change->name);
		if (change->sign == PLAN_REMOVE)
			lose_service(&losses, change, known);
		else if (change->sign == PLAN_CHANGE && change->new_version)
			compare_service_ports(&losses, change, known);
	}
	plan->losses = losses.items;
	plan->loss_count = losses.count;
	return losses.status;
}

size_t plan_asks(const struct plan *plan, size_t room, struct buffer *ret_text)
{
	size_t count = 0, told = 0;
	size_t begin = ret_text->length;
	for (size_t i = 0; i < plan->loss_count; i++) {
		const struct plan_loss *loss = &plan->losses[i];
		if (!loss->asks)
			continue;
		count++;
		if (told + 1 < count ||
		    ret_text->length - begin + strlen(loss->text) + sizeof("  \n") > room)
			continue;
		buffer_printf(ret_text, "  %s\n", loss->text);
		told++;
	}
	if (told < count)
		buffer_printf(ret_text, "  and %zu more\n", count - told);
	return count;
}
