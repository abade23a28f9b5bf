/* SPDX-License-Identifier: Apache-2.0 */
/* A plan as people read it and as programs do. */
#include "plan/plan.h"

#include "base/netaddr.h"
#include "base/text.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#define SITES_SHOWN 6 /* of those whose rings move by different shares */

static char sign_character(enum plan_sign sign)
{
	return sign == PLAN_ADD ? '+' : sign == PLAN_REMOVE ? '-' : '~';
}

/* --- text --- */

static void render_detail(const struct plan_detail *detail, const char *indent, struct buffer *text)
{
	buffer_printf(text, "%s%c %s", indent, sign_character(detail->sign), detail->kind);
	if (detail->name)
		buffer_printf(text, " %s", detail->name);
	switch (detail->sign) {
	case PLAN_ADD:
		if (detail->after && *detail->after)
			buffer_printf(text, " (%s)", detail->after);
		break;
	case PLAN_REMOVE:
		break;
	case PLAN_CHANGE:
		if (detail->attribute)
			buffer_printf(text, "%s %s", detail->name ? ":" : "", detail->attribute);
		buffer_printf(text, "%s %s → %s", detail->attribute ? "" : ":", detail->before,
			      detail->after);
		break;
	}
	buffer_putc(text, '\n');
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

static bool moves_alike(const struct plan_service *service)
{
	const struct plan_move *first = service->moves;
	for (size_t i = 1; i < service->move_count; i++) {
		const struct plan_move *move = &service->moves[i];
		if ((uint64_t)move->moved * first->entries !=
		    (uint64_t)first->moved * move->entries)
			return false;
	}
	return true;
}

/*
 * Entries are counted, not flows. Unless the version is balanced by source, it draws a hash seed of
 * its own, so where one client's next flow goes is not told by what moved.
 */
static void render_moves(const struct plan_service *service, struct buffer *text)
{
	uint64_t moved = 0, entries = 0;
	if (service->move_count == 0)
		return;
	for (size_t i = 0; i < service->move_count; i++) {
		moved += service->moves[i].moved;
		entries += service->moves[i].entries;
	}
	buffer_printf(text,
		      "    %" PRIu64 " of %" PRIu64 " ring entries (%.1f %%) get another backend",
		      moved, entries, percent(moved, entries));
	for (size_t i = 0; !moves_alike(service) && i < service->move_count; i++) {
		const struct plan_move *move = &service->moves[i];
		if (i == SITES_SHOWN) {
			buffer_puts(text, ", …");
			break;
		}
		buffer_printf(text, "%s %s %.1f %%", i ? "," : ":", move->site,
			      percent(move->moved, move->entries));
	}
	buffer_putc(text, '\n');
	if (service->keeps_clients)
		buffer_puts(text, "    clients of all other entries keep their backends\n");
}

/* A backend is a name and an address: under its name another machine comes to stand beside it. */
static void render_move(const struct plan_detail *detail, struct buffer *text)
{
	if (detail->sign == PLAN_CHANGE && detail->attribute &&
	    strcmp(detail->kind, "backend") == 0 && strcmp(detail->attribute, "address") == 0)
		buffer_printf(text,
			      "    flows that are there keep going to %s at %s: its landing must "
			      "report from there until they end\n",
			      detail->name, detail->before);
}

/* Will `drain_limit` end what is left of this version's flows, and when? */
enum cut { CUT_NEVER, CUT_IN, CUT_AFTER_DRAIN };

static enum cut find_cut(const struct plan_service *service,
			 const struct plan_live_version *version, uint64_t *ret_ms)
{
	uint64_t limit = service->drain_limit_ms;
	if (!limit || version->cut || service->sign == PLAN_REMOVE)
		return CUT_NEVER;
	if (version->drains) {
		*ret_ms = limit > version->drained_ms ? limit - version->drained_ms : 0;
		return CUT_IN;
	}
	*ret_ms = limit;
	return service->new_version && strcmp(version->state, "serving") == 0 ? CUT_AFTER_DRAIN
									      : CUT_NEVER;
}

static void render_cut(const struct plan_service *service, const struct plan_live_version *version,
		       struct buffer *text)
{
	char duration[TEXT_BYTES];
	uint64_t ms;
	enum cut cut = find_cut(service, version, &ms);
	if (cut == CUT_NEVER)
		return;
	/* Seconds are enough of what is hours. */
	text_format_duration(ms > 1000 ? ms / 1000 * 1000 : ms, duration);
	if (cut == CUT_AFTER_DRAIN)
		buffer_printf(text,
			      "    what is left on version %u is cut %s after DNS stopped naming "
			      "it (drain_limit)\n",
			      version->number, duration);
	else if (ms)
		buffer_printf(text, "    what is left on version %u is cut in %s (drain_limit)\n",
			      version->number, duration);
	else
		buffer_printf(text, "    what is left on version %u is cut at once (drain_limit)\n",
			      version->number);
}

static void render_waits(const struct plan_service *service, struct buffer *text)
{
	for (size_t i = 0; i < service->wait_count; i++)
		buffer_printf(text, "    waits for %s: %s\n", service->waits[i].backend,
			      service->waits[i].text);
	if (service->waits_for > service->wait_count)
		buffer_printf(text, "    waits for %zu more\n",
			      service->waits_for - service->wait_count);
}

/* What happens to the flows of a version that will no longer be the newest: nothing. */
static void render_connections(const struct plan_live_version *version, struct buffer *text)
{
	if (version->connections_known)
		buffer_printf(text, "    %" PRIu64 " connection%s on version %u; 0 move\n",
			      version->connections, version->connections == 1 ? " stays" : "s stay",
			      version->number);
	else
		buffer_printf(text,
			      "    the connections on version %u are not known, since a backend is "
			      "silent; 0 move\n",
			      version->number);
}

static void render_heading(const struct plan_service *service, struct buffer *text)
{
	buffer_printf(text, "%c service %s", sign_character(service->sign), service->name);
	if (service->sign == PLAN_REMOVE)
		buffer_puts(text, ": DNS stops naming it, and its versions drain");
	else if (!service->new_version && service->from_version)
		buffer_printf(text, ": version %u stays", service->from_version);
	else if (!service->new_version)
		buffer_puts(text, ": no new version");
	else if (!service->to_version)
		buffer_puts(text, ": a new version");
	else if (service->from_version)
		buffer_printf(text, ": version %u → %u", service->from_version,
			      service->to_version);
	else
		buffer_printf(text, ": version %u", service->to_version);
	buffer_putc(text, '\n');
}

static void render_service(const struct plan_service *service, struct buffer *text)
{
	render_heading(service, text);
	for (size_t i = 0; i < service->detail_count; i++)
		render_detail(&service->details[i], "    ", text);
	render_moves(service, text);
	for (size_t i = 0; i < service->detail_count; i++)
		render_move(&service->details[i], text);
	render_waits(service, text);
	for (size_t i = 0; i < service->version_count; i++) {
		if (service->new_version || service->sign == PLAN_REMOVE)
			render_connections(&service->versions[i], text);
		render_cut(service, &service->versions[i], text);
	}
}

void plan_render(const struct plan *plan, struct buffer *ret_text)
{
	if (plan_is_empty(plan))
		buffer_puts(ret_text, "nothing would change\n");
	for (size_t i = 0; i < plan->detail_count; i++)
		render_detail(&plan->details[i], "", ret_text);
	for (size_t i = 0; i < plan->service_count; i++)
		render_service(&plan->services[i], ret_text);
	if (plan->loss_count)
		buffer_puts(ret_text, "clients lose:\n");
	for (size_t i = 0; i < plan->loss_count; i++)
		buffer_printf(ret_text, "    %s\n", plan->losses[i].text);
}

/* --- JSON --- */

static const char *sign_name(enum plan_sign sign)
{
	return sign == PLAN_ADD ? "add" : sign == PLAN_REMOVE ? "remove" : "change";
}

static json_t *detail_json(const struct plan_detail *detail)
{
	return json_pack("{s:s, s:s, s:s*, s:s*, s:s*, s:s*}", "change", sign_name(detail->sign),
			 "kind", detail->kind, "name", detail->name, "attribute", detail->attribute,
			 "before", detail->before, "after", detail->after);
}

static json_t *move_json(const struct plan_move *move)
{
	return json_pack("{s:s, s:I, s:I}", "site", move->site, "moved", (json_int_t)move->moved,
			 "entries", (json_int_t)move->entries);
}

static json_t *address_json(const struct ip_address *address)
{
	char text[IP_TEXT_BYTES];
	return json_string(ip_address_format(address, text));
}

static json_t *wait_json(const struct plan_wait *wait)
{
	return json_pack("{s:s, s:o, s:s, s:s}", "name", wait->backend, "address",
			 address_json(wait->address), "reason", wait->reason, "text", wait->text);
}

static json_t *loss_json(const struct plan_loss *loss)
{
	return json_pack("{s:s, s:s, s:s, s:b}", "kind", loss->kind, "name", loss->name, "text",
			 loss->text, "asks", (int)loss->asks);
}

/* Append what `item` made; a failure frees the array and leaves NULL, as jansson passes on. */
static void append(json_t **array, json_t *item)
{
	if (!*array) {
		json_decref(item);
	} else if (json_array_append_new(*array, item) < 0) {
		json_decref(*array);
		*array = NULL;
	}
}

static json_t *version_json(const struct plan_service *service,
			    const struct plan_live_version *version)
{
	json_t *addresses = json_array();
	json_t *connections = version->connections_known
				  ? json_integer((json_int_t)version->connections)
				  : json_null();
	uint64_t cut_ms = 0;
	enum cut cut = find_cut(service, version, &cut_ms);
	json_t *ms = cut == CUT_NEVER ? NULL : json_integer((json_int_t)cut_ms);
	for (size_t i = 0; i < version->address_count; i++)
		append(&addresses, address_json(&version->addresses[i]));
	return json_pack("{s:I, s:s, s:o, s:o, s:o*}", "version", (json_int_t)version->number,
			 "state", version->state, "connections", connections, "addresses",
			 addresses, cut == CUT_IN ? "cut_in_ms" : "cut_after_ms", ms);
}

static json_t *details_json(const struct plan_detail *details, size_t count)
{
	json_t *array = json_array();
	for (size_t i = 0; i < count; i++)
		append(&array, detail_json(&details[i]));
	return array;
}

static json_t *version_number_json(uint32_t number)
{
	return number ? json_integer((json_int_t)number) : json_null();
}

static json_t *service_json(const struct plan_service *service)
{
	json_t *moves = json_array(), *versions = json_array(), *waits = json_array();
	for (size_t i = 0; i < service->move_count; i++)
		append(&moves, move_json(&service->moves[i]));
	for (size_t i = 0; i < service->version_count; i++)
		append(&versions, version_json(service, &service->versions[i]));
	for (size_t i = 0; i < service->wait_count; i++)
		append(&waits, wait_json(&service->waits[i]));
	return json_pack(
	    "{s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:I}", "change",
	    sign_name(service->sign), "service", service->name, "new_version",
	    (int)service->new_version, "from_version", version_number_json(service->from_version),
	    "to_version", version_number_json(service->to_version), "changes",
	    details_json(service->details, service->detail_count), "moves", moves, "versions",
	    versions, "waits", waits, "waits_for", (json_int_t)service->waits_for);
}

struct json_t *plan_json(const struct plan *plan)
{
	json_t *services = json_array(), *losses = json_array();
	for (size_t i = 0; i < plan->service_count; i++)
		append(&services, service_json(&plan->services[i]));
	for (size_t i = 0; i < plan->loss_count; i++)
		append(&losses, loss_json(&plan->losses[i]));
	return json_pack("{s:b, s:o, s:o, s:o}", "empty", (int)plan_is_empty(plan), "changes",
			 details_json(plan->details, plan->detail_count), "services", services,
			 "losses", losses);
}
