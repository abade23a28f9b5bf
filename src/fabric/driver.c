/* SPDX-License-Identifier: Apache-2.0 */
#include "fabric/driver_internal.h"

#include "base/buffer.h"
#include "base/text.h"
#include "state/publication.h"
#include "state/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is due of all services, as far as one ledger entry holds it, on its way there. */
struct driver_step {
	struct change change;
	struct driver *driver;
};

static void driver_tell(const struct driver *driver, const char *event, json_t *fields)
{
	driver->options.tell(driver->options.context, event, fields);
}

int driver_new(const struct driver_options *options, struct driver **ret_driver)
{
	struct driver *driver = calloc(1, sizeof(*driver));
	if (!driver || gate_news_new(&driver->news) < 0) {
		free(driver);
		return -ENOMEM;
	}
	driver->options = *options;
	if (options->unsafe)
		driver_tell(
		    driver, "lab.unsafe",
		    json_pack("{s:s}", "warning",
			      "versions are retired without the closing barrier: flows will "
			      "break"));
	*ret_driver = driver;
	return 0;
}

void driver_free(struct driver *driver)
{
	if (driver)
		gate_news_free(driver->news);
	free(driver);
}

struct ledger_position driver_closing(const struct driver *driver)
{
	return driver->closing;
}

/* It is told of when it lasts for longer than a landing takes to hear of a version. */
static bool observe_waits(struct driver *driver, const struct look *look,
			  const struct image_service *known)
{
	char text[GATE_TEXT];
	struct gate_wait first;
	const struct rollout_state *rollout = &known->state->rollout;
	uint32_t target = rollout->target;
	uint64_t patience_ms =
	    REPORT_STALE_INTERVALS * image_report_interval_ms(look->sights.image);
	size_t count = driver_find_waits(driver, &look->sights, known, &first, 1);
	if (count && look->moment.wall_ms < rollout->step_wall_ms + patience_ms)
		return true;
	bool news = gate_news_note(driver->news, known->name, target, count ? &first : NULL);
	if (news && count)
		driver_tell(driver, "rollout.waits",
			    json_pack("{s:s, s:s, s:o}", "service", known->name, "backend",
				      first.backend->name, "warning",
				      json_sprintf("version %u waits for %s: %s%s", target,
						   first.backend->name, gate_text(&first, text),
						   count > 1 ? " (and for others)" : "")));
	return count > 0;
}

/* What is due of one service: how many transitions, or -ENOMEM. */
static int find_due(struct driver *driver, const struct look *look,
		    const struct image_service *known, struct arena *arena,
		    struct transition *ret_transitions)
{
	struct service_sight sight;
	if (driver_see_settings(driver, look, known, arena, &sight) < 0)
		return -ENOMEM;
	if (lifecycle_is_at_rest(known->state, &sight.seen))
		return 0;
	bool waits = observe_waits(driver, look, known);
	driver_see_rest(driver, look, known, waits, &sight);
	return lifecycle_next(known->state, &sight.seen, arena, ret_transitions);
}

/* --- committing --- */

/* The latest retired versions stay, for rollback and history. */
#define KEPT_RETIRED 16u

static int forget_retired(struct change_draft *draft, const struct image_service *service,
			  struct service_state *state)
{
	lifecycle_forget_retired(state, KEPT_RETIRED);
	for (size_t i = 0; i < service->version_count; i++) {
		uint32_t number = service->versions[i]->version->number;
		char key[RECORD_KEY_BYTES];
		if (service_version(state, number))
			continue;
		int result = draft_delete(draft, record_version_key(service->name, number, key));
		if (result < 0)
			return result;
	}
	return 0;
}

/* A removed service ends with its last address: its records go, and its place among the services is
 * free again. What it was stays in the ledger, and where it stopped counting in a record. */
static bool is_over(const struct service_state *state)
{
	return state->removed && !state->binding_count;
}

static int drop_service(struct change_draft *draft, const struct image_service *service)
{
	char key[RECORD_KEY_BYTES];
	int result = 0;
	for (size_t i = 0; i < service->version_count && result == 0; i++)
		result = draft_delete(
		    draft,
		    record_version_key(service->name, service->versions[i]->version->number, key));
	/* It was removed by a release that wrote no such record, or was given numbers by a
	 * recovery. */
	if (result == 0 && service->ended.next_version < service->state->next_version)
		result = publication_put_ended(draft, service->state, service->ended.removed);
	return result < 0 ? result
			  : draft_remove(draft, record_service_key(service->name, key),
					 service->mod_revision);
}

/* What it stands on, where a flow could break by it: who had applied what, who had counted. */
static bool needs_evidence(const struct transition *transition)
{
	switch (transition->kind) {
	case TRANSITION_VERSION:
		return transition->event == VERSION_EVENT_CONFIRM ||
		       transition->event == VERSION_EVENT_START ||
		       transition->event == VERSION_EVENT_RETIRE;
	case TRANSITION_LIFT:
	case TRANSITION_FREE:
		return true;
	case TRANSITION_SHARE:
	case TRANSITION_CUT:
	case TRANSITION_RECLAIM:
	case TRANSITION_RELEASE:
		break;
	}
	return false;
}

static json_t *transition_json(const struct service_state *state,
			       const struct transition *transition)
{
	json_t *json = json_pack("{s:s, s:s}", "kind", transition_name(transition->kind), "why",
				 transition->why ? transition->why : "");
	switch (transition->kind) {
	case TRANSITION_VERSION:
		json_object_set_new(json, "event",
				    json_string(version_event_name(transition->event)));
		json_object_set_new(json, "version", json_integer(transition->version));
		break;
	case TRANSITION_SHARE:
		json_object_set_new(json, "share", json_real(text_share_number(transition->share)));
		json_object_set_new(json, "version", json_integer(transition->version));
		break;
	case TRANSITION_CUT:
		json_object_set_new(json, "version", json_integer(transition->version));
		break;
	case TRANSITION_LIFT:
	case TRANSITION_RECLAIM:
	case TRANSITION_RELEASE:
	case TRANSITION_FREE:
		json_object_set_new(json, "slot",
				    json_integer(state->bindings[transition->binding].slot));
		json_object_set_new(json, "pool",
				    json_integer(state->bindings[transition->binding].pool));
		break;
	}
	return json;
}

/* One step's draft, service by service. */
struct due_batch {
	struct driver_step *step;
	struct change_draft *draft;
	struct placement *placement; /* changed by FREE; NULL while it is not */
	json_t *services; /* borrowed from the draft */
	size_t count;
	bool full;
};

/* How far a draft had come, to go back there. */
struct batch_mark {
	size_t op_count, compare_count, bytes;
	struct placement *placement;
};

static struct batch_mark batch_mark(const struct due_batch *batch)
{
	const struct change_draft *draft = batch->draft;
	return (struct batch_mark){draft->op_count, draft->compare_count, draft->bytes,
				   batch->placement};
}

static void batch_return(struct due_batch *batch, const struct batch_mark *mark)
{
	struct change_draft *draft = batch->draft;
	draft->op_count = mark->op_count;
	draft->compare_count = mark->compare_count;
	draft->bytes = mark->bytes;
	batch->placement = mark->placement;
}

/* FREE also changes the placement, which remembers who held the slot. Every change makes a copy, so
 * that a service whose transitions fail can be left out of the step. */
static int free_slot(struct due_batch *batch, const struct service_state *state, size_t binding)
{
	struct change_draft *draft = batch->draft;
	struct placement *placement = arena_alloc(&draft->arena, sizeof(*placement));
	if (!placement)
		return -ENOMEM;
	*placement = batch->placement ? *batch->placement : *draft->image->placement;
	int result = placement_free(placement, &state->bindings[binding], state->index,
				    draft->sequence, draft->wall_ms, &draft->arena);
	if (result == 0)
		batch->placement = placement;
	return result;
}

static int apply_transitions(struct due_batch *batch, const struct sights *sights,
			     const struct image_service *service, struct service_state *state,
			     const struct transition *transitions, int count, json_t *list,
			     struct error *err)
{
	struct change_draft *draft = batch->draft;
	for (int i = 0; i < count; i++) {
		const struct transition *transition = &transitions[i];
		json_t *json = transition_json(state, transition);
		if (needs_evidence(transition))
			json_object_set_new(
			    json, "evidence",
			    merge_evidence(sights, image_version(service, transition->version)));
		json_array_append_new(list, json);
		int result = 0;
		if (transition->kind == TRANSITION_FREE)
			result = free_slot(batch, state, transition->binding);
		if (result == 0)
			result =
			    lifecycle_apply(state, transition, draft->sequence, draft->wall_ms);
		if (result < 0)
			return error_set(err, result, "%s: %s", service->name, transition->why);
	}
	if (is_over(state))
		return drop_service(draft, service);
	int result = forget_retired(draft, service, state);
	return result == 0 ? publication_put_state(draft, state) : result;
}

static void tell_failure(const struct driver_step *step, const char *service, int result,
			 const struct error *err)
{
	driver_tell(step->driver, "transition.failed",
		    json_pack("{s:s, s:s}", "service", service, "error",
			      err && err->code ? err->text : error_text(result)));
}

/* Room for the ops that one service may need, and for the placement's. */
static bool has_room(const struct due_batch *batch, size_t ops)
{
	const struct change_draft *draft = batch->draft;
	return draft->op_count + ops + 1 <= CHANGE_MAX_OPS && draft->bytes <= CHANGE_MAX_BYTES;
}

/* What is due of one service joins the step. A service that fails is told of, and left out: it
 * keeps no other from moving on. */
static int add_due(struct due_batch *batch, const struct sights *sights,
		   const struct image_service *service, struct service_state *state,
		   const struct transition *transitions, int count)
{
	struct error err = {0};
	struct batch_mark mark = batch_mark(batch);
	json_t *list = json_array();
	int result =
	    apply_transitions(batch, sights, service, state, transitions, count, list, &err);
	if (result == 0 && has_room(batch, 0)) {
		if (!batch->count)
			snprintf(batch->step->change.why, sizeof(batch->step->change.why), "%s",
				 transitions[0].why);
		batch->count++;
		return json_array_append_new(batch->services,
					     json_pack("{s:s, s:o}", "service", service->name,
						       "transitions", list)) < 0
			   ? -ENOMEM
			   : 0;
	}
	json_decref(list);
	batch_return(batch, &mark);
	batch->full = result == 0 || (result == -FL_ELIMIT && batch->count);
	if (result < 0 && result != -ENOMEM && !batch->full)
		tell_failure(batch->step, service->name, result, &err);
	return result == -ENOMEM ? result : 0;
}

static int add_service(struct due_batch *batch, const struct look *look,
		       const struct image_service *service)
{
	struct driver *driver = batch->step->driver;
	struct change_draft *draft = batch->draft;
	struct arena arena;
	struct transition transitions[LIFECYCLE_MAX_TRANSITIONS] = {0};
	arena_init(&arena, 0);
	int count = find_due(driver, look, service, &arena, transitions);
	int result = count < 0 ? count : 0;
	if (count > 0) {
		struct service_state *state = service_state_copy(service->state, &draft->arena);
		result = state ? add_due(batch, &look->sights, service, state, transitions, count)
			       : -ENOMEM;
	}
	arena_done(&arena);
	return result;
}

/* Asks the model, of the image as it is now. Most of the time nothing is due. */
static int build_step(struct change *change, struct change_draft *draft, struct error *err)
{
	struct driver_step *step = (struct driver_step *)change;
	const struct image *image = draft->image;
	struct look look;
	struct due_batch batch = {.step = step, .draft = draft, .services = json_array()};
	int result = driver_look_around(step->driver, &draft->arena, &look);
	(void)err;
	draft->what = json_pack("{s:o}", "services", batch.services);
	if (!draft->what)
		return -ENOMEM;
	for (size_t i = 0; i < image->service_count && result == 0 && !batch.full; i++) {
		if (driver_is_driven(image->services[i]))
			result = add_service(&batch, &look, image->services[i]);
	}
	if (result == 0 && batch.placement)
		result = publication_put_freed(draft, batch.placement);
	if (result == 0 && batch.count > 1)
		snprintf(change->why, sizeof(change->why),
			 "due of %zu services, each for its own reason", batch.count);
	return result < 0 ? result : batch.count ? CHANGE_COMMIT : CHANGE_NOTHING;
}

static void step_done(struct change *change, int result, const struct error *err, uint64_t sequence)
{
	struct driver_step *step = (struct driver_step *)change;
	struct driver *driver = step->driver;
	(void)sequence;
	/* The store's own failure is told once, and not for each step every second. */
	if (result < 0 && result != -ECANCELED && !driver->options.rests(driver->options.context))
		driver_tell(driver, "transition.failed",
			    json_pack("{s:s}", "error", err ? err->text : error_text(result)));
	free(step);
}

static void submit_step(struct driver *driver)
{
	struct driver_step *step = calloc(1, sizeof(*step));
	if (!step)
		return;
	step->driver = driver;
	step->change.kind = LEDGER_KIND_TRANSITION;
	step->change.build = build_step;
	step->change.done = step_done;
	snprintf(step->change.who, sizeof(step->change.who), "fairlead");
	changes_submit(driver->options.changes, &step->change);
}

/* The highest closing that everyone has refused for long enough. */
static uint64_t countable_closing(const struct sights *sights)
{
	uint64_t closing = 0;
	for (size_t s = 0; s < sights->image->state_count; s++) {
		const struct service_state *state = sights->image->states[s];
		for (size_t i = 0; i < state->binding_count; i++) {
			const struct binding *binding = &state->bindings[i];
			if (!binding->refusing || binding->sequence <= closing)
				continue;
			const struct binding_observation observation = {
			    .applied_by_all_ms = merge_applied_for_ms(sights, binding->sequence)};
			if (lifecycle_count_due(binding, &observation))
				closing = binding->sequence;
		}
	}
	return closing;
}

void driver_run(struct driver *driver)
{
	const struct driver_options *options = &driver->options;
	const struct sights sights = driver_sights(driver);
	if (!sights.image->fabric || !sights.image->placement)
		return;
	/* A closing that is no longer known by its hash cannot be named; it is given up in time. */
	driver->closing = (struct ledger_position){0};
	(void)image_position(sights.image, countable_closing(&sights), &driver->closing);
	/* One step at a time keeps the queue short; what else is due comes with the next call. */
	if (!changes_pending(options->changes, LEDGER_KIND_TRANSITION) &&
	    !options->rests(options->context))
		submit_step(driver);
}
