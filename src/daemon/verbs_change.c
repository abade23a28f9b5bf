/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs that change something. Each becomes a change: built from the image, committed with its
 * ledger entry, and answered when the image shows it.
 */
#include "base/buffer.h"
#include "base/random.h"
#include "config/config.h"
#include "config/plan.h"
#include "daemon/driver.h"
#include "daemon/reports.h"
#include "daemon/verbs.h"
#include "store/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A change that a client waits for. */
struct ordered {
	struct change change;
	struct daemon *daemon;
	struct api_call *call;
	json_t *answer; /* what to tell when it is committed */
	char service[MODEL_NAME_BYTES];
	uint32_t version; /* rollout cut */
	/* apply only: */
	const char *file;
	const char *text;
	size_t text_length;
	bool more; /* the rest of the services comes in a further entry */
	unsigned parts; /* entries that are committed */
	uint64_t sequence; /* of the last of them */
};

static void ordered_free(struct ordered *ordered)
{
	json_decref(ordered->answer);
	free(ordered);
}

static void ordered_done(struct change *change, int result, const struct error *err,
			 uint64_t sequence)
{
	struct ordered *ordered = (struct ordered *)change;
	if (result < 0) {
		api_fail(ordered->call, err);
	} else {
		json_t *answer = ordered->answer ? ordered->answer : json_object();
		ordered->answer = NULL;
		json_object_set_new(answer, "changed", json_boolean(sequence != 0));
		json_object_set_new(answer, "sequence", json_integer((json_int_t)sequence));
		api_succeed(ordered->call, answer);
	}
	ordered_free(ordered);
}

static struct ordered *ordered_new(struct daemon *daemon, struct api_call *call, const char *kind,
				   change_build_fn *build)
{
	struct ordered *ordered = calloc(1, sizeof(*ordered));
	const char *message = api_text(call, "message");
	if (!ordered) {
		struct error err;
		error_set(&err, -ENOMEM, "out of memory");
		api_fail(call, &err);
		return NULL;
	}
	ordered->daemon = daemon;
	ordered->call = call;
	ordered->change.kind = kind;
	ordered->change.build = build;
	ordered->change.done = ordered_done;
	char who[API_WHO_BYTES];
	snprintf(ordered->change.who, sizeof(ordered->change.who), "%s", api_who(call, who));
	if (message && strlen(message) >= sizeof(ordered->change.why)) {
		struct error err;
		error_set(&err, -FL_EUSAGE, "the message has more than %zu bytes",
			  sizeof(ordered->change.why) - 1);
		api_fail(call, &err);
		free(ordered);
		return NULL;
	}
	snprintf(ordered->change.why, sizeof(ordered->change.why), "%s", message ? message : "");
	return ordered;
}

static void fail_call(struct api_call *call, int code, const char *text)
{
	struct error err;
	error_set(&err, code, "%s", text);
	api_fail(call, &err);
}

/* --- pieces of a txn --- */

typedef int put_fn(const void *record, struct buffer *value);

static int put_value(struct change_draft *draft, const char *key, bool compared, uint64_t revision,
		     put_fn *put, const void *record)
{
	struct buffer value;
	buffer_init(&value, STORE_VALUE_BYTES);
	int result = put(record, &value);
	if (result == 0)
		result = compared ? draft_put(draft, key, revision, &value)
				  : draft_put_new(draft, key, &value);
	buffer_done(&value);
	return result;
}

static int put_state(const void *record, struct buffer *value)
{
	return record_service_put(record, value);
}

static int put_version(const void *record, struct buffer *value)
{
	return record_version_put(record, value);
}

static int put_placement(const void *record, struct buffer *value)
{
	return record_placement_put(record, value);
}

static int put_config(const void *record, struct buffer *value)
{
	config_emit(record, value);
	return value->status;
}

static int draft_service_state(struct change_draft *draft, const struct service_state *state)
{
	char key[RECORD_KEY_BYTES];
	const struct image_service *known = image_service(draft->image, state->name);
	return put_value(draft, record_service_key(state->name, key), true,
			 known ? known->mod_revision : 0, put_state, state);
}

static int draft_version(struct change_draft *draft, const struct version *version)
{
	char key[RECORD_KEY_BYTES];
	return put_value(draft, record_version_key(version->service, version->number, key), true, 0,
			 put_version, version);
}

/* --- publishing a version --- */

/* The states as they will be after this txn: slots are chosen from these. */
struct future {
	const struct service_state **states;
	size_t count;
};

static int future_init(struct future *future, const struct image *image, size_t extra,
		       struct arena *arena)
{
	future->states =
	    arena_array(arena, image->state_count + extra + 1, sizeof(*future->states));
	if (!future->states)
		return -ENOMEM;
	future->count = image->state_count;
	for (size_t i = 0; i < image->state_count; i++)
		future->states[i] = image->states[i];
	return 0;
}

static void future_set(struct future *future, const struct service_state *state)
{
	for (size_t i = 0; i < future->count; i++) {
		if (strcmp(future->states[i]->name, state->name) == 0) {
			future->states[i] = state;
			return;
		}
	}
	future->states[future->count++] = state;
}

/* The version whose clients are the most: rings are built from its rings. */
static const struct version *base_of(const struct image_service *known)
{
	if (!known || !known->state)
		return NULL;
	const struct version *version = image_version(known, known->state->rollout.base);
	if (!version)
		version = image_version(known, known->state->rollout.target);
	return version;
}

static struct service_state *state_for(const struct image_service *known, const char *name,
				       uint32_t index, struct arena *arena)
{
	if (known && known->state)
		return service_state_copy(known->state, arena);
	struct service_state *state = arena_alloc(arena, sizeof(*state));
	if (state)
		*state = (struct service_state){
		    .name = arena_strdup(arena, name), .index = index, .next_version = 1};
	return state;
}

/* The next version takes its place in `state`, with slots that nobody has in `future`. */
static int take_place(struct change_draft *draft, const struct fabric *fabric,
		      const struct version *version, const struct placement *placement,
		      struct future *future, struct service_state *state, struct error *err)
{
	struct binding bindings[PLACEMENT_FAMILIES] = {0};
	size_t binding_count = 0;
	uint8_t salt[16];
	struct random random;
	const struct placement_moment moment = {.wall_ms = draft->wall_ms,
						.quarantine_ms = fabric->settings.quarantine_ms,
						.applied_sequence = image_acked(draft->image)};
	int result = placement_choose(placement, state->index, future->states, future->count,
				      &moment, bindings, &binding_count, err);
	if (result < 0)
		return error_prefix(err, "service %s", state->name);
	random_init_system(&random);
	random_fill(&random, salt, sizeof(salt));
	result = lifecycle_publish(state, version, bindings, binding_count, salt, draft->sequence,
				   draft->wall_ms, &draft->arena, err);
	if (result == 0)
		future_set(future, state);
	return result;
}

/* Publish the next version of `service` in this draft. */
static int draft_publish(struct change_draft *draft, const struct fabric *fabric,
			 const struct service *service, const struct placement *placement,
			 struct future *future, const struct version **ret_version,
			 struct error *err)
{
	const struct image_service *known = image_service(draft->image, service->name);
	struct service_state *state = state_for(
	    known, service->name, placement_service(placement, service->name), &draft->arena);
	if (!state)
		return -ENOMEM;
	struct random random;
	random_init_system(&random);
	struct version *version;
	int result = version_build(fabric, service, state->next_version, base_of(known), &random,
				   &draft->arena, &version, err);
	if (result == 0)
		result = take_place(draft, fabric, version, placement, future, state, err);
	if (result == 0) {
		result = draft_version(draft, version);
		if (result == -FL_ELIMIT)
			error_set(
			    err, result,
			    "service %s: its next version is larger than the store's limit of "
			    "%u bytes a value: it has too many backends or sites",
			    service->name, STORE_VALUE_BYTES);
	}
	if (result == 0)
		result = draft_service_state(draft, state);
	if (result < 0)
		return result;
	*ret_version = version;
	return 0;
}

static json_t *published_json(const struct version *version)
{
	char digest[DIGEST_HEX_BYTES];
	hex_encode(version->digest.bytes, DIGEST_BYTES, digest);
	return json_pack("{s:s, s:i, s:s}", "service", version->service, "version",
			 (int)version->number, "digest", digest);
}

/* --- plan and apply --- */

static int parse_file(const struct ordered *ordered, struct arena *arena,
		      struct fabric **ret_fabric, struct buffer *warnings, struct error *err)
{
	struct config_findings *findings = calloc(1, sizeof(*findings));
	if (!findings)
		return -ENOMEM;
	int result = config_parse(ordered->text, ordered->text_length, ordered->file, arena,
				  ret_fabric, findings);
	if (result == -FL_EINVALID)
		config_findings_error(findings, err);
	else if (result == 0 && warnings)
		config_findings_render(findings, warnings);
	free(findings);
	return result;
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
	return 0;
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
	struct future future;
	int result = future_init(&future, draft->image, fabric->service_count, &draft->arena);
	for (size_t i = 0; i < fabric->service_count && result == 0; i++) {
		const struct service *service = &fabric->services[i];
		const struct image_service *known = image_service(draft->image, service->name);
		if (!needs_version(known, fabric, service))
			continue;
		struct service_state *state =
		    state_for(known, service->name, placement_service(placement, service->name),
			      &draft->arena);
		if (!state)
			return -ENOMEM;
		/* Only its number matters here. */
		const struct version version = {.number = state->next_version};
		result = take_place(draft, fabric, &version, placement, &future, state, err);
	}
	return result;
}

#define OPS_PER_SERVICE 2u /* its state and the version */

static int apply_services(struct ordered *ordered, struct change_draft *draft,
			  const struct fabric *fabric, const struct placement *placement,
			  struct future *future, json_t *published, struct error *err)
{
	for (size_t i = 0; i < fabric->service_count; i++) {
		const struct service *service = &fabric->services[i];
		if (!needs_version(image_service(draft->image, service->name), fabric, service))
			continue;
		if (draft->op_count + OPS_PER_SERVICE > CHANGE_MAX_OPS ||
		    (draft->op_count && draft->bytes > CHANGE_MAX_BYTES)) {
			ordered->more = true;
			return 0;
		}
		const struct version *version;
		int result =
		    draft_publish(draft, fabric, service, placement, future, &version, err);
		if (result < 0)
			return result;
		json_array_append_new(published, published_json(version));
	}
	return 0;
}

static int remove_services(struct ordered *ordered, struct change_draft *draft,
			   const struct fabric *fabric, json_t *removed)
{
	for (size_t i = 0; i < draft->image->state_count; i++) {
		const struct service_state *known = draft->image->states[i];
		if (known->removed || fabric_service(fabric, known->name))
			continue;
		if (draft->op_count + 1 > CHANGE_MAX_OPS) {
			ordered->more = true;
			return 0;
		}
		struct service_state *state = service_state_copy(known, &draft->arena);
		int result =
		    state ? lifecycle_remove(state, draft->sequence, draft->wall_ms) : -ENOMEM;
		if (result == 0)
			result = draft_service_state(draft, state);
		if (result < 0)
			return result;
		json_array_append_new(removed, json_string(known->name));
	}
	return 0;
}

static int put_fabric(struct change_draft *draft, const struct fabric *fabric,
		      const struct placement *placement, struct error *err)
{
	int result = put_value(draft, RECORD_CONFIG_KEY, true, draft->image->config_revision,
			       put_config, fabric);
	if (result == 0)
		result = put_value(draft, RECORD_PLACEMENT_KEY, true,
				   draft->image->placement_revision, put_placement, placement);
	if (result == -FL_ELIMIT)
		return error_set(err, result,
				 "the configuration is larger than the store's limit of %u bytes "
				 "a value",
				 STORE_VALUE_BYTES);
	return result;
}

static int build_apply(struct change *change, struct change_draft *draft, struct error *err)
{
	struct ordered *ordered = (struct ordered *)change;
	struct fabric *fabric;
	struct placement *placement;
	struct future future;
	struct plan *plan;
	bool same = false;
	ordered->more = false;
	int result = parse_file(ordered, &draft->arena, &fabric, NULL, err);
	if (result == 0)
		result = check_meant_for_us(ordered->daemon, fabric, err);
	if (result == 0)
		result = make_plan(ordered->daemon, fabric, &draft->arena, &plan, err);
	if (result == 0)
		result =
		    placement_update(draft->image->placement, fabric, draft->image->states,
				     draft->image->state_count, &draft->arena, &placement, err);
	if (result == 0 && !ordered->parts)
		result = check_slots(draft, fabric, placement, err);
	if (result == 0)
		result = future_init(&future, draft->image, fabric->service_count, &draft->arena);
	if (result == 0 && draft->image->fabric)
		result = config_equal(draft->image->fabric, fabric, &same);
	if (result == 0 && !same)
		result = put_fabric(draft, fabric, placement, err);
	if (result < 0)
		return result;

	json_t *published = json_array();
	json_t *removed = json_array();
	draft->what = json_pack("{s:o, s:o, s:o, s:i, s:s}", "published", published, "removed",
				removed, "plan", plan_json(plan), "part", (int)ordered->parts + 1,
				"file", ordered->file);
	if (!draft->what)
		return -ENOMEM;
	result = apply_services(ordered, draft, fabric, placement, &future, published, err);
	if (result == 0 && !ordered->more)
		result = remove_services(ordered, draft, fabric, removed);
	if (result < 0)
		return result;
	return draft->op_count ? CHANGE_COMMIT : CHANGE_NOTHING;
}

/* A file that publishes more services than one txn holds takes several entries. */
static void apply_done(struct change *change, int result, const struct error *err,
		       uint64_t sequence)
{
	struct ordered *ordered = (struct ordered *)change;
	if (sequence) {
		ordered->parts++;
		ordered->sequence = sequence;
	}
	if (result == 0 && ordered->more) {
		changes_submit(ordered->daemon->changes, change);
	} else if (result < 0 && ordered->parts) {
		struct error partial = *err;
		error_prefix(&partial,
			     "a part of the services was published, up to ledger entry %llu; apply "
			     "the same file again for the rest",
			     (unsigned long long)ordered->sequence);
		ordered_done(change, result, &partial, 0);
	} else {
		ordered_done(change, result, err, ordered->sequence);
	}
}

/* The plan as the answer; also carries what must be said before anything is done. */
static int plan_answer(struct ordered *ordered, struct error *err)
{
	struct arena arena;
	struct buffer text;
	struct buffer warnings;
	struct fabric *fabric;
	struct plan *plan;
	arena_init(&arena, 0);
	buffer_init(&text, 0);
	buffer_init(&warnings, 0);
	int result = parse_file(ordered, &arena, &fabric, &warnings, err);
	if (result == 0)
		result = check_meant_for_us(ordered->daemon, fabric, err);
	if (result == 0)
		result = make_plan(ordered->daemon, fabric, &arena, &plan, err);
	if (result == 0) {
		plan_render(plan, &text);
		ordered->answer =
		    json_pack("{s:o, s:b, s:s, s:s}", "plan", plan_json(plan), "empty",
			      (int)plan_is_empty(plan), "text", text.data ? text.data : "",
			      "warnings", warnings.data ? warnings.data : "");
		if (!ordered->answer)
			result = -ENOMEM;
	}
	if (result == -ENOMEM)
		error_set(err, result, "out of memory");
	buffer_done(&text);
	buffer_done(&warnings);
	arena_done(&arena);
	return result;
}

static struct ordered *file_order(struct daemon *daemon, struct api_call *call)
{
	struct ordered *ordered = ordered_new(daemon, call, "apply", build_apply);
	if (!ordered)
		return NULL;
	const json_t *text = json_object_get(api_parameters(call), "text");
	const char *file = api_text(call, "file");
	ordered->change.done = apply_done;
	ordered->file = file ? file : "the file";
	ordered->text = json_string_value(text);
	ordered->text_length = json_string_length(text);
	struct error err = {0};
	/* What apply would be refused for, plan says as well. */
	if (plan_answer(ordered, &err) < 0 ||
	    changes_rehearse(daemon->changes, &ordered->change, &err) < 0) {
		api_fail(call, &err);
		ordered_free(ordered);
		return NULL;
	}
	return ordered;
}

void verb_plan(struct daemon *daemon, struct api_call *call)
{
	struct ordered *ordered = file_order(daemon, call);
	if (!ordered)
		return;
	api_succeed(call, json_incref(ordered->answer));
	ordered_free(ordered);
}

void verb_apply(struct daemon *daemon, struct api_call *call)
{
	if (changes_pending(daemon->changes, "apply")) {
		fail_call(call, -FL_ECONFLICT,
			  "another apply is being committed; look at what it changed with "
			  "`fairlead log` and `fairlead plan`, then apply again");
		return;
	}
	struct ordered *ordered = file_order(daemon, call);
	if (!ordered)
		return;
	if (json_is_true(json_object_get(api_parameters(call), "dry_run"))) {
		json_object_set_new(ordered->answer, "dry_run", json_true());
		api_succeed(call, json_incref(ordered->answer));
		ordered_free(ordered);
		return;
	}
	changes_submit(daemon->changes, &ordered->change);
}

/* --- changes of one service --- */

static const struct image_service *need_service(const struct change_draft *draft, const char *name,
						struct error *err)
{
	const struct image_service *service = image_service(draft->image, name);
	if (service && service->state && !service->state->removed)
		return service;
	error_set(err, -FL_ENOTFOUND,
		  "there is no service \"%s\"; `fairlead get services` lists them", name);
	return NULL;
}

/* The configuration with the service's content taken from `version`: after a rollback the file
 * that `get -o yaml` gives says what is served. */
static int put_config_of(struct change_draft *draft, const struct version *version,
			 struct fabric **ret_fabric, struct error *err)
{
	struct fabric *fabric = arena_alloc(&draft->arena, sizeof(*fabric));
	const struct fabric *now = draft->image->fabric;
	struct service *services =
	    arena_array(&draft->arena, now->service_count + 1, sizeof(*services));
	if (!fabric || !services)
		return -ENOMEM;
	*fabric = *now;
	fabric->services = services;
	for (size_t i = 0; i < now->service_count; i++) {
		services[i] = now->services[i];
		if (strcmp(services[i].name, version->service) != 0)
			continue;
		memcpy(services[i].ports, version->ports, sizeof(services[i].ports));
		services[i].port_count = version->port_count;
		services[i].backends = version->backends;
		services[i].backend_count = version->backend_count;
	}
	/* What the old version refers to may be gone from the file since. */
	struct buffer text;
	buffer_init(&text, STORE_VALUE_BYTES);
	config_emit(fabric, &text);
	const struct ordered check = {.file = "the configuration after the rollback",
				      .text = text.data ? text.data : "",
				      .text_length = text.length};
	struct fabric *parsed;
	int result =
	    text.status ? text.status : parse_file(&check, &draft->arena, &parsed, NULL, err);
	if (result == 0)
		result = draft_put(draft, RECORD_CONFIG_KEY, draft->image->config_revision, &text);
	buffer_done(&text);
	*ret_fabric = fabric;
	return result;
}

/* The version before is retired: its content comes back as a new version. */
static int republish(struct change_draft *draft, const struct version *old, uint32_t *ret_number,
		     struct error *err)
{
	struct fabric *fabric;
	struct future future;
	const struct version *version;
	int result = put_config_of(draft, old, &fabric, err);
	if (result == 0)
		result = future_init(&future, draft->image, 1, &draft->arena);
	if (result == 0)
		result = draft_publish(draft, fabric, fabric_service(fabric, old->service),
				       draft->image->placement, &future, &version, err);
	if (result == 0)
		*ret_number = version->number;
	return result;
}

static int build_rollback(struct change *change, struct change_draft *draft, struct error *err)
{
	struct ordered *ordered = (struct ordered *)change;
	const struct image_service *service = need_service(draft, ordered->service, err);
	if (!service)
		return -FL_ENOTFOUND;
	struct service_state *state = service_state_copy(service->state, &draft->arena);
	if (!state)
		return -ENOMEM;
	uint32_t from = state->rollout.target;
	uint32_t to = 0;
	uint32_t published = 0;
	int result = lifecycle_rollback(state, draft->sequence, draft->wall_ms, &to, err);
	const struct version *version = image_version(service, to);
	if (result == -FL_ENOTFOUND && version) {
		result = republish(draft, version, &published, err);
	} else if (result == 0) {
		struct fabric *fabric;
		result = put_config_of(draft, version, &fabric, err);
		if (result == 0)
			result = draft_service_state(draft, state);
	}
	if (result < 0)
		return result;

	draft->what = json_pack("{s:s, s:i, s:i, s:i}", "service", ordered->service, "from",
				(int)from, "to", (int)to, "published", (int)published);
	json_decref(ordered->answer);
	ordered->answer = json_deep_copy(draft->what);
	return draft->what && ordered->answer ? CHANGE_COMMIT : -ENOMEM;
}

typedef int service_change_fn(struct service_state *state, const struct ordered *ordered,
			      const struct change_draft *draft, struct error *err);

static int change_service(struct ordered *ordered, struct change_draft *draft,
			  service_change_fn *apply, struct error *err)
{
	const struct image_service *service = need_service(draft, ordered->service, err);
	if (!service)
		return -FL_ENOTFOUND;
	struct service_state *state = service_state_copy(service->state, &draft->arena);
	int result = state ? apply(state, ordered, draft, err) : -ENOMEM;
	if (result == 0)
		result = draft_service_state(draft, state);
	if (result < 0)
		return result;
	draft->what = json_pack("{s:s}", "service", ordered->service);
	if (ordered->version)
		json_object_set_new(draft->what, "version", json_integer(ordered->version));
	return draft->what ? CHANGE_COMMIT : -ENOMEM;
}

static int apply_pause(struct service_state *state, const struct ordered *ordered,
		       const struct change_draft *draft, struct error *err)
{
	(void)ordered;
	(void)draft;
	return lifecycle_pause(state, err);
}

static int apply_resume(struct service_state *state, const struct ordered *ordered,
			const struct change_draft *draft, struct error *err)
{
	(void)ordered;
	return lifecycle_resume(state, draft->wall_ms, err);
}

static int apply_cut(struct service_state *state, const struct ordered *ordered,
		     const struct change_draft *draft, struct error *err)
{
	(void)draft;
	return lifecycle_cut(state, ordered->version, err);
}

static int build_pause(struct change *change, struct change_draft *draft, struct error *err)
{
	return change_service((struct ordered *)change, draft, apply_pause, err);
}

static int build_resume(struct change *change, struct change_draft *draft, struct error *err)
{
	return change_service((struct ordered *)change, draft, apply_resume, err);
}

static int build_cut(struct change *change, struct change_draft *draft, struct error *err)
{
	return change_service((struct ordered *)change, draft, apply_cut, err);
}

static void submit_for_service(struct daemon *daemon, struct api_call *call, const char *kind,
			       change_build_fn *build)
{
	struct ordered *ordered = ordered_new(daemon, call, kind, build);
	if (!ordered)
		return;
	snprintf(ordered->service, sizeof(ordered->service), "%s", api_text(call, "service"));
	ordered->answer = json_pack("{s:s}", "service", ordered->service);
	changes_submit(daemon->changes, &ordered->change);
}

void verb_rollback(struct daemon *daemon, struct api_call *call)
{
	submit_for_service(daemon, call, "rollback", build_rollback);
}

void verb_rollout_pause(struct daemon *daemon, struct api_call *call)
{
	submit_for_service(daemon, call, "rollout.pause", build_pause);
}

void verb_rollout_resume(struct daemon *daemon, struct api_call *call)
{
	submit_for_service(daemon, call, "rollout.resume", build_resume);
}

void verb_rollout_cut(struct daemon *daemon, struct api_call *call)
{
	const char *text = api_text(call, "version");
	const char *slash = strrchr(text, '/');
	char *end = NULL;
	unsigned long number = slash ? strtoul(slash + 1, &end, 10) : 0;
	if (!slash || *end || !number || number > UINT32_MAX || slash - text >= MODEL_NAME_BYTES) {
		fail_call(call, -FL_EUSAGE,
			  "name the version as SERVICE/NUMBER, for example web/1");
		return;
	}
	struct ordered *ordered = ordered_new(daemon, call, "rollout.cut", build_cut);
	if (!ordered)
		return;
	snprintf(ordered->service, sizeof(ordered->service), "%.*s", (int)(slash - text), text);
	ordered->version = (uint32_t)number;
	ordered->answer =
	    json_pack("{s:s, s:i}", "service", ordered->service, "version", (int)number);
	changes_submit(daemon->changes, &ordered->change);
}

/* --- backends --- */

static bool backend_is_known(const struct image *image, const char *name)
{
	for (size_t s = 0; s < image->service_count; s++) {
		const struct image_service *service = image->services[s];
		for (size_t v = 0; v < service->version_count; v++) {
			const struct version *version = service->versions[v]->version;
			for (size_t b = 0; b < version->backend_count; b++) {
				if (strcmp(version->backends[b].name, name) == 0)
					return true;
			}
		}
	}
	return false;
}

static int build_forget(struct change *change, struct change_draft *draft, struct error *err)
{
	struct ordered *ordered = (struct ordered *)change;
	bool is_known = backend_is_known(draft->image, ordered->service);
	if (!is_known && !reports_find(ordered->daemon->reports, ordered->service))
		return error_set(err, -FL_ENOTFOUND,
				 "there is no backend \"%s\"; `fairlead get backends` lists them",
				 ordered->service);
	const struct daemon *daemon = ordered->daemon;
	const struct report *report = reports_find(daemon->reports, ordered->service);
	if (report && report_is_fresh(report, image_report_interval_ms(draft->image),
				      clock_now_ms(daemon->clock)))
		return error_set(err, -FL_ESTATE,
				 "%s reports its connections: there is nothing to forget",
				 ordered->service);
	/* A name that no version has, perhaps mistyped there: nothing ever waited for it. */
	if (!is_known) {
		reports_drop(ordered->daemon->reports, ordered->service);
		return CHANGE_NOTHING;
	}
	char key[RECORD_KEY_BYTES];
	struct buffer value;
	buffer_init(&value, 64);
	buffer_printf(&value, "%llu", (unsigned long long)draft->sequence);
	int result = draft_put_new(draft, record_forgotten_key(ordered->service, key), &value);
	buffer_done(&value);
	draft->what = json_pack("{s:s}", "backend", ordered->service);
	return result < 0 ? result : draft->what ? CHANGE_COMMIT : -ENOMEM;
}

void verb_backend_forget(struct daemon *daemon, struct api_call *call)
{
	struct ordered *ordered = ordered_new(daemon, call, "backend.forget", build_forget);
	if (!ordered)
		return;
	snprintf(ordered->service, sizeof(ordered->service), "%s", api_text(call, "backend"));
	ordered->answer = json_pack("{s:s}", "backend", ordered->service);
	changes_submit(daemon->changes, &ordered->change);
}
