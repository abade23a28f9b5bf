/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `plan` and `apply`: a file becomes the fabric's configuration, and what it changes of a service
 * becomes the service's next version. A file that publishes more than one txn holds is committed in
 * several entries; applying it again completes what a crash interrupted.
 */
#include "base/buffer.h"
#include "base/digest.h"
#include "config/config.h"
#include "daemon/order.h"
#include "daemon/verbs.h"
#include "fabric/driver.h"
#include "plan/plan.h"
#include "state/publication.h"

#include <stdlib.h>
#include <string.h>

static json_t *published_json(const struct version *version)
{
	char digest[DIGEST_HEX_BYTES];
	hex_encode(version->digest.bytes, DIGEST_BYTES, digest);
	return json_pack("{s:s, s:i, s:s}", "service", version->service, "version",
			 (int)version->number, "digest", digest);
}

static bool is_live(const struct image_service *service)
{
	return service && service->state && !service->state->removed;
}

/* The stored file as far as it was carried out: when a daemon dies between the entries of one
 * apply, services of the file are not published yet, and others are not removed. */
static int carried_out(const struct image *image, const struct fabric *fabric, struct arena *arena,
		       const struct fabric **ret_previous)
{
	if (!image->fabric) {
		*ret_previous = NULL;
		return 0;
	}
	struct fabric *previous = arena_alloc(arena, sizeof(*previous));
	struct service *services = arena_array(
	    arena, image->fabric->service_count + image->state_count + 1, sizeof(*services));
	if (!previous || !services)
		return -ENOMEM;
	*previous = *image->fabric;
	previous->by_name = NULL;
	previous->services = services;
	previous->service_count = 0;
	for (size_t i = 0; i < image->fabric->service_count; i++) {
		const struct service *service = &image->fabric->services[i];
		if (is_live(image_service(image, service->name)))
			services[previous->service_count++] = *service;
	}
	for (size_t i = 0; i < image->state_count; i++) {
		const struct image_service *service = image_service(image, image->states[i]->name);
		/* Only its name matters for what is removed. */
		if (is_live(service) && !service->configured &&
		    !fabric_service(fabric, service->name))
			services[previous->service_count++] =
			    (struct service){.name = service->name};
	}
	*ret_previous = previous;
	return fabric_index(previous, arena);
}

static int make_plan(const struct daemon *daemon, const struct fabric *fabric, struct arena *arena,
		     struct plan **ret_plan, struct error *err)
{
	struct plan_live_service *live;
	size_t live_count;
	const struct fabric *previous = NULL;
	int result = verbs_live_services(daemon, arena, &live, &live_count);
	if (result == 0)
		result = carried_out(&daemon->image, fabric, arena, &previous);
	if (result < 0)
		return result;
	return plan_build(previous, fabric, live, live_count, arena, ret_plan, err);
}

/* Is the file meant for this fabric and this node? Without the node's own site nothing could be
 * served here, and a file of another fabric would take everything down. */
static int check_meant_for_us(const struct daemon *daemon, const struct fabric *fabric,
			      struct error *err)
{
	const struct fabric *present = daemon->image.fabric;
	if (present && strcmp(present->name, fabric->name) != 0)
		return error_set(
		    err, -FL_EINVALID,
		    "the file is for the fabric \"%s\", but this node belongs to \"%s\"; "
		    "a fabric keeps its name",
		    fabric->name, present->name);
	if (fabric_site(fabric, daemon->options->site))
		return 0;
	return error_set(err, -FL_EINVALID,
			 "the file has no site \"%s\", but this node (%s) stands there; add it "
			 "under `sites`, or start the node with another --site",
			 daemon->options->site, daemon->options->node);
}

static bool needs_version(const struct image_service *known, const struct fabric *fabric,
			  const struct service *service)
{
	if (!known || !known->state || known->state->removed)
		return true;
	const struct version *newest = image_version(known, known->state->rollout.target);
	return !newest || !version_matches(newest, fabric, service);
}

/* Is there a slot for every new version, not only for those of the first entry? A file that does
 * not fit changes nothing. */
static int check_slots(struct change_draft *draft, const struct fabric *fabric,
		       const struct placement *placement, struct error *err)
{
	struct future_states future;
	int result =
	    future_states_init(&future, draft->image, fabric->service_count, &draft->arena);
	for (size_t i = 0; i < fabric->service_count && result == 0; i++) {
		const struct service *service = &fabric->services[i];
		const struct image_service *known = image_service(draft->image, service->name);
		if (!needs_version(known, fabric, service))
			continue;
		struct service_state *state =
		    publication_state(known, service->name,
				      placement_service(placement, service->name), &draft->arena);
		if (!state)
			return -ENOMEM;
		/* Only its number matters here. */
		const struct version version = {.number = state->next_version};
		result =
		    publication_take_place(draft, fabric, &version, placement, &future, state, err);
	}
	return result;
}

#define OPS_PER_SERVICE 2u /* its state and the version */

static int apply_services(struct order *order, struct change_draft *draft,
			  const struct fabric *fabric, const struct placement *placement,
			  struct future_states *future, json_t *published, struct error *err)
{
	for (size_t i = 0; i < fabric->service_count; i++) {
		const struct service *service = &fabric->services[i];
		if (!needs_version(image_service(draft->image, service->name), fabric, service))
			continue;
		if (draft->op_count + OPS_PER_SERVICE > CHANGE_MAX_OPS ||
		    (draft->op_count && draft->bytes > CHANGE_MAX_BYTES)) {
			order->more = true;
			return 0;
		}
		const struct version *version;
		int result =
		    publication_make(draft, fabric, service, placement, future, &version, err);
		if (result < 0)
			return result;
		json_array_append_new(published, published_json(version));
	}
	return 0;
}

static int remove_services(struct order *order, struct change_draft *draft,
			   const struct fabric *fabric, json_t *removed)
{
	for (size_t i = 0; i < draft->image->state_count; i++) {
		const struct service_state *known = draft->image->states[i];
		if (known->removed || fabric_service(fabric, known->name))
			continue;
		if (draft->op_count + 1 > CHANGE_MAX_OPS) {
			order->more = true;
			return 0;
		}
		struct service_state *state = service_state_copy(known, &draft->arena);
		int result =
		    state ? lifecycle_remove(state, draft->sequence, draft->wall_ms) : -ENOMEM;
		if (result == 0)
			result = publication_put_state(draft, state);
		if (result < 0)
			return result;
		json_array_append_new(removed, json_string(known->name));
	}
	return 0;
}

static bool names(const json_t *list, const char *key, const char *name)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *item = json_array_get(list, i);
		const char *text = json_string_value(key ? json_object_get(item, key) : item);
		if (text && strcmp(text, name) == 0)
			return true;
	}
	return false;
}

/* The services that this entry concerns. The others' next versions, whose rings the plan would have
 * to build, are told of by the entries that publish them. */
static int services_of_part(const struct order *order, struct change_draft *draft,
			    const json_t *published, struct fabric *part)
{
	const struct fabric *fabric = order->fabric;
	*part = *fabric;
	part->services =
	    arena_array(&draft->arena, fabric->service_count + 1, sizeof(*part->services));
	part->service_count = 0;
	if (!part->services)
		return -ENOMEM;
	for (size_t i = 0; i < fabric->service_count; i++) {
		const struct service *service = &fabric->services[i];
		bool is_new =
		    needs_version(image_service(draft->image, service->name), fabric, service);
		if (is_new ? names(published, "service", service->name) : order->parts == 0)
			part->services[part->service_count++] = *service;
	}
	return fabric_index(part, &draft->arena);
}

/* Of the plan, what this entry carries out. */
static int plan_part(const struct order *order, struct change_draft *draft, const json_t *published,
		     const json_t *removed, json_t **ret_plan, struct error *err)
{
	struct fabric part;
	struct plan *plan = NULL;
	int result = services_of_part(order, draft, published, &part);
	if (result == 0)
		result = make_plan(order->daemon, &part, &draft->arena, &plan, err);
	if (result < 0)
		return result;
	ASSERT(plan);
	struct plan_service *services =
	    arena_array(&draft->arena, plan->service_count + 1, sizeof(*services));
	if (!services)
		return -ENOMEM;
	size_t kept = 0;
	for (size_t i = 0; i < plan->service_count; i++) {
		const struct plan_service *service = &plan->services[i];
		if (service->sign != PLAN_REMOVE || names(removed, NULL, service->name))
			services[kept++] = *service;
	}
	plan->services = services;
	plan->service_count = kept;
	*ret_plan = plan_json(plan);
	return *ret_plan ? 0 : -ENOMEM;
}

static bool is_stored(const struct order *order, const struct image *image)
{
	struct digest digest;
	if (!image->fabric || order->stored.status)
		return false;
	digest_of(order->stored.data, order->stored.length, &digest);
	return memcmp(digest.bytes, image->config_digest.bytes, sizeof(digest.bytes)) == 0;
}

/* The new configuration and its numbers, unless the stored one says the same. */
static int put_fabric(struct order *order, struct change_draft *draft,
		      const struct placement *placement, struct error *err)
{
	if (is_stored(order, draft->image))
		return 0;
	return publication_put_fabric(draft, &order->stored, placement, err);
}

static int build_changes(struct order *order, struct change_draft *draft,
			 const struct placement *placement, struct error *err)
{
	const struct fabric *fabric = order->fabric;
	struct future_states future = {0};
	json_t *published = json_array();
	json_t *removed = json_array();
	draft->what = json_pack("{s:o, s:o, s:i, s:s}", "published", published, "removed", removed,
				"part", (int)order->parts + 1, "file", order->file);
	json_t *plan = NULL;
	if (!draft->what)
		return -ENOMEM;
	int result =
	    future_states_init(&future, draft->image, fabric->service_count, &draft->arena);
	if (result == 0)
		result = apply_services(order, draft, fabric, placement, &future, published, err);
	if (result == 0 && !order->more)
		result = remove_services(order, draft, fabric, removed);
	if (result == 0)
		result = plan_part(order, draft, published, removed, &plan, err);
	if (result < 0)
		return result;
	if (json_object_set_new(draft->what, "plan", plan) < 0)
		return -ENOMEM;
	return draft->op_count ? CHANGE_COMMIT : CHANGE_NOTHING;
}

static int build_apply(struct change *change, struct change_draft *draft, struct error *err)
{
	struct order *order = (struct order *)change;
	const struct fabric *fabric = order->fabric;
	struct placement *placement = NULL;
	order->more = false;
	int result = check_meant_for_us(order->daemon, fabric, err);
	if (result == 0)
		result =
		    placement_update(draft->image->placement, fabric, draft->image->states,
				     draft->image->state_count, &draft->arena, &placement, err);
	if (result == 0 && !order->parts)
		result = check_slots(draft, fabric, placement, err);
	if (result == 0)
		result = put_fabric(order, draft, placement, err);
	return result == 0 ? build_changes(order, draft, placement, err) : result;
}

/* A file that publishes more services than one txn holds takes several entries. */
static void apply_done(struct change *change, int result, const struct error *err,
		       uint64_t sequence)
{
	struct order *order = (struct order *)change;
	if (sequence) {
		order->parts++;
		order->sequence = sequence;
	}
	if (result == 0 && order->more) {
		changes_submit(order->daemon->changes, change);
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

/* The plan as the answer; also carries what must be said before anything is done. */
static int plan_answer(struct order *order, struct error *err)
{
	struct arena arena;
	struct buffer text;
	struct buffer warnings;
	struct plan *plan;
	arena_init(&arena, 0);
	buffer_init(&text, 0);
	buffer_init(&warnings, 0);
	int result = order_parse_file(order, &order->arena, &order->fabric, &warnings, err);
	if (result == 0)
		result = check_meant_for_us(order->daemon, order->fabric, err);
	if (result == 0)
		config_emit(order->fabric, &order->stored);
	if (result == 0)
		result = make_plan(order->daemon, order->fabric, &arena, &plan, err);
	if (result == 0) {
		plan_render(plan, &text);
		order->answer =
		    json_pack("{s:o, s:b, s:s, s:s}", "plan", plan_json(plan), "empty",
			      (int)plan_is_empty(plan), "text", text.data ? text.data : "",
			      "warnings", warnings.data ? warnings.data : "");
		if (!order->answer)
			result = -ENOMEM;
	}
	if (result == -ENOMEM)
		error_set(err, result, "out of memory");
	buffer_done(&text);
	buffer_done(&warnings);
	arena_done(&arena);
	return result;
}

static struct order *file_order(struct daemon *daemon, struct api_call *call)
{
	struct order *order = order_new(daemon, call, "apply", build_apply);
	if (!order)
		return NULL;
	const json_t *text = json_object_get(api_parameters(call), "text");
	const char *file = api_text(call, "file");
	order->change.done = apply_done;
	order->file = file ? file : "the file";
	order->text = json_string_value(text);
	order->text_length = json_string_length(text);
	struct error err = {0};
	/* What apply would be refused for, plan says as well. */
	if (plan_answer(order, &err) < 0 ||
	    changes_rehearse(daemon->changes, &order->change, &err) < 0) {
		api_fail(call, &err);
		order_free(order);
		return NULL;
	}
	return order;
}

void verb_plan(struct daemon *daemon, struct api_call *call)
{
	struct order *order = file_order(daemon, call);
	if (!order)
		return;
	api_succeed(call, json_incref(order->answer));
	order_free(order);
}

void verb_apply(struct daemon *daemon, struct api_call *call)
{
	if (changes_pending(daemon->changes, "apply")) {
		order_refuse(call, -FL_ECONFLICT,
			     "another apply is being committed; look at what it changed with "
			     "`fairlead log` and `fairlead plan`, then apply again");
		return;
	}
	struct order *order = file_order(daemon, call);
	if (!order)
		return;
	if (json_is_true(json_object_get(api_parameters(call), "dry_run"))) {
		json_object_set_new(order->answer, "dry_run", json_true());
		api_succeed(call, json_incref(order->answer));
		order_free(order);
		return;
	}
	changes_submit(daemon->changes, &order->change);
}
