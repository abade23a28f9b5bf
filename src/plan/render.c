/* SPDX-License-Identifier: Apache-2.0 */
/* A plan as people read it and as programs do. */
#include "plan/plan.h"

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
	for (size_t i = 0; i < service->version_count; i++)
		if (service->new_version || service->sign == PLAN_REMOVE)
			render_connections(&service->versions[i], text);
}

void plan_render(const struct plan *plan, struct buffer *ret_text)
{
	if (plan_is_empty(plan))
		buffer_puts(ret_text, "nothing would change\n");
	for (size_t i = 0; i < plan->detail_count; i++)
		render_detail(&plan->details[i], "", ret_text);
	for (size_t i = 0; i < plan->service_count; i++)
		render_service(&plan->services[i], ret_text);
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

static json_t *version_json(const struct plan_live_version *version)
{
	json_t *connections = version->connections_known
				  ? json_integer((json_int_t)version->connections)
				  : json_null();
	return json_pack("{s:I, s:s, s:o}", "version", (json_int_t)version->number, "state",
			 version->state, "connections", connections);
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
	json_t *moves = json_array(), *versions = json_array();
	for (size_t i = 0; i < service->move_count; i++)
		append(&moves, move_json(&service->moves[i]));
	for (size_t i = 0; i < service->version_count; i++)
		append(&versions, version_json(&service->versions[i]));
	return json_pack("{s:s, s:s, s:b, s:o, s:o, s:o, s:o, s:o}", "change",
			 sign_name(service->sign), "service", service->name, "new_version",
			 (int)service->new_version, "from_version",
			 version_number_json(service->from_version), "to_version",
			 version_number_json(service->to_version), "changes",
			 details_json(service->details, service->detail_count), "moves", moves,
			 "versions", versions);
}

struct json_t *plan_json(const struct plan *plan)
{
	json_t *services = json_array();
	for (size_t i = 0; i < plan->service_count; i++)
		append(&services, service_json(&plan->services[i]));
	return json_pack("{s:b, s:o, s:o}", "empty", (int)plan_is_empty(plan), "changes",
			 details_json(plan->details, plan->detail_count), "services", services);
}
