/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `undo`, and `rollback` of a service that was removed: the ledger's entry is read, which says what
 * it changed (state/undo.h), and the configuration without that is applied like a file.
 */
#include "api/order.h"
#include "api/verbs.h"
#include "base/memory.h"
#include "config/config.h"
#include "ledger/ledger.h"
#include "state/apply.h"
#include "state/undo.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* While the entry is read. */
struct undo {
	struct api_host *host;
	struct api_call *call;
	uint64_t sequence;
	char service[MODEL_NAME_BYTES]; /* only what was changed of it; "": all */
};

/* What takes an entry back that holds no configuration; %s is its service or backend. */
static const struct {
	const char *kind;
	const char *way;
} other_ways[] = {
    {"backend.forget", "landings that report from %s again count again"},
    {"member.remove", "%s joins again by a new token"},
    {"rollback", "`fairlead rollback %s` goes one further back, and --to N to any other version"},
    {"rollout.cut", "flows of %s that were ended stay ended"},
    {"rollout.force", "`fairlead rollback %s` goes back to what served before"},
    {"rollout.pause", "`fairlead rollout resume %s` takes it back"},
    {"rollout.resume", "`fairlead rollout pause %s` takes it back"},
};

static int tell_other_way(const struct ledger_entry *entry, struct error *err)
{
	const char *name = json_string_value(json_object_get(entry->what, "service"));
	char way[128] = "it is none of an operator's";
	if (!name)
		name = json_string_value(json_object_get(entry->what, "backend"));
	if (!name)
		name = json_string_value(json_object_get(entry->what, "node"));
	for (size_t i = 0; i < sizeof(other_ways) / sizeof(other_ways[0]); i++) {
		const char *at = strstr(other_ways[i].way, "%s");
		if (strcmp(entry->kind, other_ways[i].kind) == 0)
			snprintf(way, sizeof(way), "%.*s%s%s", (int)(at - other_ways[i].way),
				 other_ways[i].way, name ? name : "it", at + 2);
	}
	return error_set(err, -FL_ESTATE, "entry %" PRIu64 " (%s) changed no configuration: %s",
			 entry->sequence, entry->kind, way);
}

static int text_without(const struct undo *undo, const struct ledger_entry *entry,
			struct buffer *text, struct error *err)
{
	const char *service = *undo->service ? undo->service : NULL;
	struct fabric *fabric;
	struct arena arena;
	if (strcmp(entry->kind, "apply") != 0 && strcmp(entry->kind, "undo") != 0)
		return tell_other_way(entry, err);
	arena_init(&arena, 0);
	int result = must_succeed(undo_fabric(undo->host->image, entry->sequence, entry->what,
					      service, &arena, &fabric, err));
	if (result == 0)
		config_emit(fabric, text);
	arena_done(&arena);
	return result;
}

/* What `rollback` answers, in place of the plan. */
static json_t *return_json(const struct order *order)
{
	const struct image_service *known = image_service(order->host->image, order->service);
	const struct service *service = fabric_service(order->fabric, order->service);
	json_t *backends = json_array();
	uint32_t number = 0;
	for (size_t i = 0; service && i < service->backend_count; i++)
		json_array_append_new(backends, json_string(service->backends[i].name));
	for (size_t i = 0; i < order->apply->item_count; i++) {
		if (strcmp(order->apply->items[i].name, order->service) == 0)
			number = order->apply->items[i].number;
	}
	return json_pack("{s:s, s:i, s:I, s:I, s:o}", "service", order->service, "from", 0, "to",
			 (json_int_t)known->ended.next_version - 1, "published", (json_int_t)number,
			 "backends", backends);
}

static void undo_entry(const struct undo *undo, const struct ledger_entry *entry)
{
	struct error err = {0};
	struct buffer text;
	bool is_dry = json_is_true(json_object_get(api_parameters(undo->call), "dry_run"));
	buffer_init(&text, 0);
	if (text_without(undo, entry, &text, &err) < 0) {
		api_fail(undo->call, &err);
	} else if (!order_must_wait(undo->host, undo->call)) {
		must_succeed(text.status);
		struct order *order =
		    order_of_text(undo->host, undo->call,
				  &(struct order_text){.file = "the configuration after the undo",
						       .text = text.data,
						       .length = text.length,
						       .undoes = entry->sequence},
				  is_dry);
		if (order && *undo->service) {
			snprintf(order->service, sizeof(order->service), "%s", undo->service);
			json_decref(order->answer);
			order->answer = return_json(order);
		}
		if (order)
			order_carry_out(order);
	}
	buffer_done(&text);
}

static void on_entry(void *context, int result, const struct error *err,
		     const struct ledger_page *page)
{
	struct undo *undo = context;
	struct error none;
	if (result < 0) {
		api_fail(undo->call, err);
	} else if (!page->count || page->entries[0].sequence != undo->sequence) {
		error_set(&none, -FL_ENOTFOUND,
			  "the ledger has no entry %" PRIu64 "; `fairlead log` lists them",
			  undo->sequence);
		api_fail(undo->call, &none);
	} else {
		undo_entry(undo, &page->entries[0]);
	}
	free(undo);
}

static void begin(struct api_host *host, struct api_call *call, uint64_t sequence,
		  const char *service)
{
	struct error err = {0};
	struct undo *undo = must_alloc(1, sizeof(*undo));
	*undo = (struct undo){.host = host, .call = call, .sequence = sequence};
	snprintf(undo->service, sizeof(undo->service), "%s", service);
	if (ledger_range(host->store, sequence, 1, on_entry, undo, &err) < 0) {
		api_fail(call, &err);
		free(undo);
	}
}

void verb_undo(struct api_host *host, struct api_call *call)
{
	json_int_t sequence = json_integer_value(json_object_get(api_parameters(call), "entry"));
	if (sequence < 1)
		order_refuse(call, -FL_EUSAGE, "entries of the ledger are numbered from 1");
	else
		begin(host, call, (uint64_t)sequence, "");
}

bool verb_undo_removal(struct api_host *host, struct api_call *call)
{
	const char *name = api_service(call);
	const struct image_service *known = image_service(host->image, name);
	if (!known || !known->ended.next_version || known->config ||
	    (known->state && !known->state->removed))
		return false;
	struct error err;
	error_set(&err, -FL_ESTATE,
		  json_object_get(api_parameters(call), "to")
		      ? "service %s was removed: `fairlead rollback %s` without --to brings it "
			"back as it was"
		      : "service %s was removed by an earlier release, which did not keep what it "
			"was: apply a file that has %s",
		  name, name);
	if (json_object_get(api_parameters(call), "to") || !known->ended.removed)
		api_fail(call, &err);
	else
		begin(host, call, known->ended.removed, name);
	return true;
}
