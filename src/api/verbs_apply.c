/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `plan` and `apply`: a file becomes the fabric's configuration, and what it changes of a service
 * becomes the service's next version. The file is read once, and what it does is worked out once
 * (state/apply.h): that is what the plan tells of, and what is committed.
 */
#include "api/expect.h"
#include "api/order.h"
#include "api/plan_live.h"
#include "api/show.h"
#include "api/verbs.h"
#include "base/buffer.h"
#include "base/digest.h"
#include "base/memory.h"
#include "config/config.h"
#include "fabric/driver.h"
#include "fabric/merge.h"
#include "plan/plan.h"
#include "state/apply.h"
#include "state/config_records.h"
#include "state/publication.h"
#include "state/undo.h"

#include <string.h>

#define ASKS_BYTES 1200u /* of an error's text, for what clients lose */

/* --- working it out --- */

/* Is the file meant for this fabric and this node? Without the node's own site nothing could be
 * served here, and a file of another fabric would take everything down. */
static int check_meant_for_us(const struct api_host *host, const struct fabric *fabric,
			      struct error *err)
{
	const struct fabric *present = host->image->fabric;
	if (present && strcmp(present->name, fabric->name) != 0)
		return error_set(
		    err, -FL_EINVALID,
		    "the file is for the fabric \"%s\", but this node belongs to \"%s\"; "
		    "a fabric keeps its name",
		    fabric->name, present->name);
	if (fabric_site(fabric, host->site))
		return 0;
	return error_set(err, -FL_EINVALID,
			 "the file has no site \"%s\", but this node (%s) stands there; add it "
			 "under `sites`, or start the node with another --site",
			 host->site, host->node);
}

/* What the entry keeps of a service's configuration, as it was and as it is. */
static size_t undo_bytes(const struct image *image, const struct apply_item *item)
{
	const struct image_service *known = image_service(image, item->name);
	struct buffer before;
	buffer_init(&before, 0);
	if (known && known->config && (item->config.length || !item->service))
		must_succeed(config_service_put(known->config, &before));
	size_t bytes = before.length + item->config.length;
	buffer_done(&before);
	return bytes;
}

/* Each of the plan's services goes into the entry that tells of its item; both are in one order. */
static void note_items(const struct image *image, struct apply *apply, const json_t *plan)
{
	const json_t *services = json_object_get(plan, "services");
	size_t at = 0;
	for (size_t i = 0; i < apply->item_count; i++) {
		json_t *service = json_array_get(services, at);
		const char *name = json_string_value(json_object_get(service, "service"));
		apply->items[i].note_bytes = undo_bytes(image, &apply->items[i]);
		if (!name || strcmp(name, apply->items[i].name) != 0)
			continue;
		apply->items[i].note = service;
		apply->items[i].note_bytes += json_dumpb(service, NULL, 0, JSON_COMPACT);
		at++;
	}
}

/* Not all of them were found: what all that change want is found together. */
static int lacks_slots(struct order *order, struct arena *arena, struct error *err)
{
	struct api_host *host = order->host;
	const char **names =
	    must_have(arena_array(arena, order->fabric->service_count + 1, sizeof(*names)));
	size_t count = apply_wants(host->image, order->fabric, names);
	return order->only_planned ? order_explain_slots(host, names, count, err)
				   : order_lacks_slots(host, names, count, err);
}

/* What the file does, from the image as it is: the apply and its plan, which the order owns. */
static int work_out(struct order *order, struct buffer *text, struct error *err)
{
	struct api_host *host = order->host;
	struct arena arena;
	struct apply *apply = NULL;
	size_t live_count;
	struct plan *plan = NULL;
	arena_init(&arena, 0);
	const struct sights sights = driver_sights(host->driver);
	const struct publication_moment moment = {.wall_ms = clock_wall_ms(host->steady),
						  .applied_sequence = merge_applied(&sights),
						  .random = order->host->random};
	int result = apply_new(host->image, order->fabric, &moment, &apply, err);
	if (result == -FL_EEXHAUSTED && host->image->fabric)
		result = lacks_slots(order, &arena, err);
	if (result < 0)
		goto out;
	struct plan_live_service *live = plan_live_services(host, apply, &arena, &live_count);
	const struct fabric *present = plan_present(host->image, order->fabric, &arena);
	result = plan_build(present, order->fabric, live, live_count, &arena, &plan, err);
	if (result < 0) {
		apply_free(apply);
		goto out;
	}
	json_t *json = plan_json(plan);
	json_t *notes = show_pool_notes(host, order->fabric, plan);
	plan_render(plan, text);
	buffer_clear(&order->asks);
	(void)plan_asks(plan, ASKS_BYTES, &order->asks);
	must_succeed(order->asks.status);
	for (size_t i = 0; i < json_array_size(notes); i++)
		buffer_printf(text, "note: %s\n", json_string_value(json_array_get(notes, i)));
	json_object_set_new(json, "notes", notes);
	note_items(host->image, apply, json);
	apply_planned(apply);
	apply_free(order->apply);
	json_decref(order->plan);
	order->apply = apply;
	order->plan = json;
out:
	arena_done(&arena);
	return result;
}

/* The plan as the answer; also carries what must be said before anything is done. */
static int plan_answer(struct order *order, struct error *err)
{
	struct buffer text;
	struct buffer warnings;
	buffer_init(&text, 0);
	buffer_init(&warnings, 0);
	int result = config_read(order->text, order->text_length, order->file, &order->arena,
				 &order->fabric, &warnings, err);
	if (result == 0)
		result = check_meant_for_us(order->host, order->fabric, err);
	if (result == 0)
		result = work_out(order, &text, err);
	if (result == 0)
		order->answer = json_pack("{s:O, s:O, s:s, s:s, s:I}", "plan", order->plan, "empty",
					  json_object_get(order->plan, "empty"), "text",
					  text.data ? text.data : "", "warnings",
					  warnings.data ? warnings.data : "", "expect",
					  (json_int_t)order->host->image->head.sequence);
	buffer_done(&text);
	buffer_done(&warnings);
	return result;
}

/* --- committing it --- */

static json_t *published_json(const struct apply_item *item)
{
	char digest[DIGEST_HEX_BYTES];
	hex_encode(item->digest.bytes, DIGEST_BYTES, digest);
	return json_pack("{s:s, s:i, s:s}", "service", item->name, "version", (int)item->number,
			 "digest", digest);
}

/* What the entry says: of the plan, what this part carries out. */
static json_t *part_json(const struct order *order, const struct change_draft *draft)
{
	const struct apply *apply = order->apply;
	json_t *changed;
	json_t *published = json_array();
	json_t *removed = json_array();
	json_t *services = json_array();
	for (size_t i = 0; i < apply->part_count; i++) {
		const struct apply_item *item = apply->part[i];
		if (item->number)
			json_array_append_new(published, published_json(item));
		if (!item->service)
			json_array_append_new(removed, json_string(item->name));
		if (item->note)
			json_array_append(services, item->note);
	}
	json_t *changes =
	    order->parts ? json_array() : json_incref(json_object_get(order->plan, "changes"));
	must_succeed(undo_note(draft, &changed));
	json_t *what = json_pack("{s:o, s:o, s:i, s:s, s:o, s:{s:b, s:o, s:o}}", "published",
				 published, "removed", removed, "part", (int)order->parts + 1,
				 "file", order->file, "changed", changed, "plan", "empty",
				 !json_array_size(changes) && !json_array_size(services), "changes",
				 changes, "services", services);
	if (order->undoes)
		json_object_set_new(what, "undoes", json_integer((json_int_t)order->undoes));
	return what;
}

/* The version in which a removed service comes back. */
static void note_return(struct order *order)
{
	for (size_t i = 0; *order->service && i < order->apply->item_count; i++) {
		const struct apply_item *item = &order->apply->items[i];
		if (strcmp(item->name, order->service) == 0)
			json_object_set_new(order->answer, "published",
					    json_integer((json_int_t)item->number));
	}
}

/* What clients lose is done when somebody said yes to it. */
static int check_confirmed(const struct order *order, struct error *err)
{
	if (!order->asks.length || order->confirmed)
		return 0;
	return error_set(err, -FL_ECONFIRM, "clients lose what this %s:\n%s",
			 order->undoes ? "takes back" : "file leaves out", order->asks.data);
}

static int build_apply(struct change *change, struct change_draft *draft, struct error *err)
{
	struct order *order = (struct order *)change;
	order->has_moved = order->expects && draft->image->ordered > order->looked_up_to;
	if (order->has_moved)
		return error_set(err, -FL_ECONFLICT,
				 "another order came meanwhile, entry %llu of the ledger",
				 (unsigned long long)draft->image->ordered);
	int result = apply_part(order->apply, draft, err);
	if (result == -FL_ECONFLICT) {
		struct buffer text;
		buffer_init(&text, 0);
		*err = (struct error){0};
		draft->op_count = draft->compare_count = draft->bytes = 0;
		result = work_out(order, &text, err);
		buffer_done(&text);
		if (result == 0)
			result = check_confirmed(order, err);
		if (result == 0)
			result = apply_part(order->apply, draft, err);
	}
	if (result != CHANGE_COMMIT)
		return result;
	draft->what = part_json(order, draft);
	note_return(order);
	return CHANGE_COMMIT;
}

static void carry_on(void *context, int result, const struct error *err, uint64_t newest);

/* A file that publishes more services than one txn holds takes several entries. */
static void apply_done(struct change *change, int result, const struct error *err,
		       uint64_t sequence)
{
	struct order *order = (struct order *)change;
	if (sequence) {
		order->parts++;
		order->sequence = order->looked_up_to = sequence;
		for (size_t i = 0; i < order->apply->part_count; i++)
			order_has_slots(order->host, order->apply->part[i]->name);
		apply_part_committed(order->apply);
	}
	if (result == 0 && order->apply->more) {
		changes_submit(order->host->changes, change);
	} else if (result < 0 && order->has_moved && !order->parts) {
		/* The ledger knows whose order it was. */
		expect_begin(order->host, order->expected, carry_on, order);
	} else if (result < 0 && order->parts) {
		struct error partial = *err;
		error_prefix(&partial,
			     "a part of the services was published, up to ledger entry %llu; apply "
			     "the same file again for the rest",
			     (unsigned long long)order->sequence);
		order_done(change, result, &partial, 0);
	} else {
		order_done(change, result, err, order->sequence);
	}
}

struct order *order_of_text(struct api_host *host, struct api_call *call,
			    const struct order_text *text, bool only_planned)
{
	struct order *order = order_new(host, call, text->undoes ? "undo" : "apply", build_apply);
	if (!order)
		return NULL;
	order->only_planned = only_planned;
	order->change.done = apply_done;
	order->file = text->file;
	order->text = text->text;
	order->text_length = text->length;
	order->undoes = text->undoes;
	order->confirmed = json_is_true(json_object_get(api_parameters(call), "yes"));
	struct error err = {0};
	/* What apply would be refused for, plan says as well. */
	if (plan_answer(order, &err) < 0) {
		api_fail(call, &err);
		order_free(order);
		return NULL;
	}
	return order;
}

void order_carry_out(struct order *order)
{
	struct error err = {0};
	if (!order->only_planned && check_confirmed(order, &err) == 0) {
		changes_submit(order->host->changes, &order->change);
		return;
	}
	if (order->only_planned) {
		json_object_set_new(order->answer, "dry_run", json_true());
		api_succeed(order->call, json_incref(order->answer));
	} else {
		api_fail(order->call, &err);
	}
	order_free(order);
}

bool order_must_wait(struct api_host *host, struct api_call *call)
{
	if (!changes_pending(host->changes, "apply") && !changes_pending(host->changes, "undo"))
		return false;
	order_refuse(call, -FL_ECONFLICT,
		     "another apply is being committed; look at what it changed with "
		     "`fairlead log` and `fairlead plan`, then apply again");
	return true;
}

/* What is expected is so, as far as the ledger went: the rest is up to build_apply(). */
static void carry_on(void *context, int result, const struct error *err, uint64_t newest)
{
	struct order *order = context;
	order->looked_up_to = newest;
	if (result == 0) {
		order_carry_out(order);
		return;
	}
	api_fail(order->call, err);
	order_free(order);
}

static struct order *file_order(struct api_host *host, struct api_call *call, bool only_planned)
{
	const json_t *text = json_object_get(api_parameters(call), "text");
	const char *file = api_text(call, "file");
	return order_of_text(host, call,
			     &(struct order_text){.file = file ? file : "the file",
						  .text = json_string_value(text),
						  .length = json_string_length(text)},
			     only_planned);
}

void verb_plan(struct api_host *host, struct api_call *call)
{
	struct order *order = file_order(host, call, true);
	if (!order)
		return;
	api_succeed(call, json_incref(order->answer));
	order_free(order);
}

void verb_apply(struct api_host *host, struct api_call *call)
{
	if (order_must_wait(host, call))
		return;
	const json_t *parameters = api_parameters(call);
	const json_t *expect = json_object_get(parameters, "expect");
	struct order *order =
	    file_order(host, call, json_is_true(json_object_get(parameters, "dry_run")));
	if (!order)
		return;
	order->expects = expect != NULL;
	order->expected = (uint64_t)json_integer_value(expect);
	if (expect)
		expect_begin(host, order->expected, carry_on, order);
	else
		carry_on(order, 0, NULL, 0);
}
