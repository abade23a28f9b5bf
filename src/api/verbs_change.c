/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verbs that change one service or backend. Each becomes a change: built from the image,
 * committed with its ledger entry, and answered when the image shows it.
 */
#include "api/order.h"
#include "api/show.h"
#include "api/verbs.h"
#include "base/buffer.h"
#include "base/memory.h"
#include "config/config.h"
#include "fabric/driver.h"
#include "fabric/reports.h"
#include "state/publication.h"
#include "state/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- changes of one service --- */

/* What a change of a service's versions or of their shares is about. */
#define NEED_VERSIONS (IMAGE_UNREAD_STATE | IMAGE_UNREAD_CONFIG | IMAGE_UNREAD_VERSION)

/* The service with all that the order is about: `parts` of it (enum image_unread_part) must be
 * read. NULL, and `err` says why: there is none, or it cannot be changed here. */
static const struct image_service *need_service(const struct change_draft *draft, const char *name,
						unsigned parts, struct error *err)
{
	const struct image_service *service = image_service(draft->image, name);
	if (service && service->unread & parts) {
		error_set(err, -FL_EUNSUPPORTED,
			  "service %s has a record that is not understood here; `fairlead "
			  "status` names it. Give the order on a node with a newer release, "
			  "or upgrade this one",
			  name);
		return NULL;
	}
	if (!service || !service->state || service->state->removed) {
		error_set(err, -FL_ENOTFOUND,
			  "there is no service \"%s\"; `fairlead get services` lists them", name);
		return NULL;
	}
	return service;
}

/* The service's configuration with the content of `version`, after a rollback: the file that `get
 * -o yaml` gives says what is served. */
static int put_content_of(struct change_draft *draft, const struct image_service *known,
			  const struct version *version, struct fabric *ret_fabric,
			  struct error *err)
{
	if (!known->config)
		return error_set(err, -FL_ESTATE,
				 "service %s is not in the configuration: apply a file that has it",
				 known->name);
	struct service *service = must_have(arena_alloc(&draft->arena, sizeof(*service)));
	*service = *known->config;
	memcpy(service->ports, version->ports, sizeof(service->ports));
	service->port_count = version->port_count;
	service->balance_by = version->balance_by;
	service->backends = version->backends;
	service->backend_count = version->backend_count;

	/* What the old version refers to may be gone from the file since. */
	struct fabric fabric = *draft->image->fabric;
	struct fabric *parsed;
	struct buffer text;
	fabric.services = service;
	fabric.service_count = 1;
	fabric.by_name = NULL;
	buffer_init(&text, 0);
	config_emit(&fabric, &text);
	int result = text.status ? text.status
				 : config_read(text.data ? text.data : "", text.length,
					       "the configuration after the rollback",
					       &draft->arena, &parsed, NULL, err);
	buffer_done(&text);
	if (result == 0)
		*ret_fabric = fabric;
	return result;
}

/* Clients are led to its backends again, so what one that was declared gone says counts again. */
static int expect_backends(struct change_draft *draft, const struct version *version)
{
	char key[RECORD_KEY_BYTES];
	int result = 0;
	for (size_t i = 0; i < version->backend_count && result == 0; i++) {
		const struct backend *backend = &version->backends[i];
		const struct image_forgotten *gone;
		size_t at = 0;
		while (result == 0 && (gone = image_forgotten(draft->image, backend->name,
							      &backend->address, &at)))
			result = draft_delete(
			    draft, record_forgotten_key(gone->backend, &gone->address, key));
	}
	return result;
}

/* What comes back. */
static json_t *backend_names(const struct version *version)
{
	json_t *names = json_array();
	for (size_t i = 0; i < version->backend_count; i++)
		json_array_append_new(names, json_string(version->backends[i].name));
	return names;
}

static int build_rollback(struct change *change, struct change_draft *draft, struct error *err)
{
	struct order *order = (struct order *)change;
	const struct image_service *service =
	    need_service(draft, order->service, NEED_VERSIONS, err);
	if (!service)
		return err->code;
	struct service_state *state = must_have(service_state_copy(service->state, &draft->arena));
	uint32_t from = state->rollout.target;
	uint32_t to = 0;
	uint32_t published = 0;
	struct fabric fabric = {0};
	bool is_retired = false;
	int result =
	    lifecycle_rollback(state, order->version, draft->sequence, draft->wall_ms, &to, err);
	const struct version *version = image_version(service, to);
	if (result == -FL_ENOTFOUND && version) {
		is_retired = true;
		result = 0;
	}
	if (result == 0)
		result = put_content_of(draft, service, version, &fabric, err);
	if (result < 0)
		return result;
	if (is_retired) {
		/* Its content comes back as a new version. */
		const struct version *again;
		result = publication_make_again(draft, &fabric, fabric.services, to, &again, err);
		const char *name = order->service;
		if (result == -FL_EEXHAUSTED)
			result = order_lacks_slots(order->host, &name, 1, err);
		else if (result == 0)
			order_has_slots(order->host, name);
		published = result == 0 ? again->number : 0;
	} else {
		result = publication_put_config(draft, fabric.services, err);
		if (result == 0)
			result = expect_backends(draft, version);
		if (result == 0)
			result = publication_put_state(draft, state);
	}
	if (result < 0)
		return result;

	draft->what = json_pack("{s:s, s:i, s:i, s:i, s:o}", "service", order->service, "from",
				(int)from, "to", (int)to, "published", (int)published, "backends",
				backend_names(version));
	json_decref(order->answer);
	order->answer = json_deep_copy(draft->what);
	return CHANGE_COMMIT;
}

/* A change_verdict or an error. */
typedef int service_change_fn(struct service_state *state, const struct order *order,
			      const struct change_draft *draft, struct error *err);

static int change_service(struct order *order, struct change_draft *draft, service_change_fn *apply,
			  struct error *err)
{
	const struct image_service *service =
	    need_service(draft, order->service, IMAGE_UNREAD_STATE, err);
	if (!service)
		return err->code;
	struct service_state *state = must_have(service_state_copy(service->state, &draft->arena));
	int result = apply(state, order, draft, err);
	if (result != CHANGE_COMMIT)
		return result;
	result = publication_put_state(draft, state);
	if (result < 0)
		return result;
	draft->what = json_pack("{s:s}", "service", order->service);
	if (order->version)
		json_object_set_new(draft->what, "version", json_integer(order->version));
	return CHANGE_COMMIT;
}

static int apply_pause(struct service_state *state, const struct order *order,
		       const struct change_draft *draft, struct error *err)
{
	(void)order;
	(void)draft;
	bool was_paused = state->rollout.paused;
	int result = lifecycle_pause(state, err);
	return result < 0 ? result : was_paused ? CHANGE_NOTHING : CHANGE_COMMIT;
}

static int apply_resume(struct service_state *state, const struct order *order,
			const struct change_draft *draft, struct error *err)
{
	(void)order;
	bool was_paused = state->rollout.paused;
	int result = lifecycle_resume(state, draft->wall_ms, err);
	return result < 0 ? result : was_paused ? CHANGE_COMMIT : CHANGE_NOTHING;
}

static int apply_cut(struct service_state *state, const struct order *order,
		     const struct change_draft *draft, struct error *err)
{
	(void)draft;
	const struct version_status *status = service_version(state, order->version);
	bool was_cut = status && status->cut;
	int result = lifecycle_cut(state, order->version, err);
	return result < 0 ? result : was_cut ? CHANGE_NOTHING : CHANGE_COMMIT;
}

static int build_pause(struct change *change, struct change_draft *draft, struct error *err)
{
	return change_service((struct order *)change, draft, apply_pause, err);
}

static int build_resume(struct change *change, struct change_draft *draft, struct error *err)
{
	return change_service((struct order *)change, draft, apply_resume, err);
}

/* The first share is given here and now, and the entry says what was not waited for. */
static int build_force(struct change *change, struct change_draft *draft, struct error *err)
{
	struct order *order = (struct order *)change;
	const struct driver *driver = order->host->driver;
	const struct sights sights = driver_sights(driver);
	const struct image_service *service =
	    need_service(draft, order->service, NEED_VERSIONS, err);
	if (!service)
		return err->code;
	struct service_state *state = must_have(service_state_copy(service->state, &draft->arena));
	uint32_t target = state->rollout.target;
	const struct version_status *status = service_version(state, target);
	json_t *rollout = show_rollout(order->host, service->state);
	int result;
	if (!service->config || !status) {
		result = error_set(err, -FL_ESTATE, "no rollout of %s is under way", state->name);
		goto out;
	}
	result = lifecycle_force(state, &service->config->rollout,
				 merge_is_held(&sights, status->sequence), draft->sequence,
				 draft->wall_ms, err);
	if (result == 0)
		result = publication_put_state(draft, state);
	if (result < 0)
		goto out;
	draft->what = json_pack(
	    "{s:s, s:i, s:f, s:O, s:O, s:o}", "service", order->service, "version", (int)target,
	    "share", service_share(state, target) / (double)SHARE_WHOLE, "waits",
	    json_object_get(rollout, "waits"), "waits_for", json_object_get(rollout, "waits_for"),
	    "evidence", merge_evidence(&sights, image_version(service, target)));
	result = CHANGE_COMMIT;
out:
	json_decref(rollout);
	return result;
}

static int build_cut(struct change *change, struct change_draft *draft, struct error *err)
{
	return change_service((struct order *)change, draft, apply_cut, err);
}

static void submit_for_service(struct api_host *host, struct api_call *call, const char *kind,
			       change_build_fn *build)
{
	struct order *order = order_new(host, call, kind, build);
	if (!order)
		return;
	snprintf(order->service, sizeof(order->service), "%s", api_service(call));
	order->answer = json_pack("{s:s}", "service", order->service);
	changes_submit(host->changes, &order->change);
}

void verb_rollback(struct api_host *host, struct api_call *call)
{
	const json_t *parameters = api_parameters(call);
	json_int_t to = json_integer_value(json_object_get(parameters, "to"));
	if (json_object_get(parameters, "to") && (to < 1 || to > UINT32_MAX)) {
		order_refuse(call, -FL_EUSAGE, "versions are numbered from 1");
		return;
	}
	if (verb_undo_removal(host, call))
		return;
	struct order *order = order_new(host, call, "rollback", build_rollback);
	if (!order)
		return;
	snprintf(order->service, sizeof(order->service), "%s", api_service(call));
	order->version = (uint32_t)to;
	order->answer = json_object();
	if (!json_is_true(json_object_get(parameters, "dry_run"))) {
		changes_submit(host->changes, &order->change);
		return;
	}
	struct error err = {0};
	int result = must_succeed(changes_try(host->changes, &order->change, &err));
	if (result < 0) {
		api_fail(call, &err);
	} else {
		json_object_set_new(order->answer, "dry_run", json_true());
		api_succeed(call, json_incref(order->answer));
	}
	order_free(order);
}

void verb_rollout_pause(struct api_host *host, struct api_call *call)
{
	submit_for_service(host, call, "rollout.pause", build_pause);
}

void verb_rollout_resume(struct api_host *host, struct api_call *call)
{
	if (json_is_true(json_object_get(api_parameters(call), "force")))
		submit_for_service(host, call, "rollout.force", build_force);
	else
		submit_for_service(host, call, "rollout.resume", build_resume);
}

void verb_rollout_cut(struct api_host *host, struct api_call *call)
{
	const char *text = api_version(call);
	const char *slash = strrchr(text, '/');
	char *end = NULL;
	unsigned long number = slash ? strtoul(slash + 1, &end, 10) : 0;
	if (!slash || *end || !number || number > UINT32_MAX || slash - text >= MODEL_NAME_BYTES) {
		order_refuse(call, -FL_EUSAGE,
			     "name the version as SERVICE/NUMBER, for example web/1");
		return;
	}
	struct order *order = order_new(host, call, "rollout.cut", build_cut);
	if (!order)
		return;
	snprintf(order->service, sizeof(order->service), "%.*s", (int)(slash - text), text);
	order->version = (uint32_t)number;
	order->answer = json_pack("{s:s, s:i}", "service", order->service, "version", (int)number);
	changes_submit(host->changes, &order->change);
}

/* --- backends --- */

static bool is_silent(const struct api_host *host, const struct backend *backend)
{
	enum report_doubt doubt =
	    reports_doubt(host->reports, backend, image_report_interval_ms(host->image),
			  clock_now_ms(host->clock), NULL);
	return doubt == REPORT_SILENT || doubt == REPORT_ELSEWHERE || doubt == REPORT_NO_LANDING;
}

/* A name that no version has, perhaps mistyped there: nothing ever waited for it. */
static int drop_spare(const struct order *order, struct error *err)
{
	struct api_host *host = order->host;
	const struct report *report;
	bool is_there = false;
	for (size_t i = 0; (report = reports_at(host->reports, i)); i++) {
		if (strcmp(report->backend, order->service) != 0)
			continue;
		is_there = true;
		if (report_is_fresh(report, image_report_interval_ms(host->image),
				    clock_now_ms(host->clock)))
			return error_set(err, -FL_ESTATE,
					 "%s reports its connections: there is nothing to forget",
					 order->service);
	}
	if (!is_there)
		return error_set(err, -FL_ENOTFOUND,
				 "there is no backend \"%s\"; `fairlead get backends` lists them",
				 order->service);
	reports_drop(host->reports, order->service);
	return CHANGE_NOTHING;
}

/* The addresses that the name has in versions, each once: those that do not report, then the rest.
 * `ret_silent` says how many of them do not. */
static struct ip_address *addresses_of(const struct order *order, struct change_draft *draft,
				       size_t *ret_count, size_t *ret_silent)
{
	struct ip_address *list = NULL;
	const struct image *image = draft->image;
	size_t room = 0;
	*ret_count = *ret_silent = 0;
	for (size_t s = 0; s < image->service_count; s++)
		room += image->services[s]->version_count;
	list = must_have(arena_array(&draft->arena, room + 1, sizeof(*list)));
	for (size_t s = 0; s < image->service_count; s++) {
		const struct image_service *service = image->services[s];
		for (size_t v = 0; v < service->version_count; v++) {
			const struct backend *backend =
			    version_backend(service->versions[v]->version, order->service);
			size_t at = 0;
			while (backend && at < *ret_count &&
			       !ip_address_equal(&list[at], &backend->address))
				at++;
			if (!backend || at < *ret_count)
				continue;
			list[(*ret_count)++] = backend->address;
			if (is_silent(order->host, backend)) {
				list[at] = list[*ret_silent];
				list[(*ret_silent)++] = backend->address;
			}
		}
	}
	return list;
}

/* Which of the name's machines is gone: the one that was named, or the only one that is silent. */
static int choose_silent(const struct order *order, const struct ip_address *list, size_t count,
			 size_t silent, struct ip_address *ret_address, struct error *err)
{
	const char *name = order->service;
	char first[IP_TEXT_BYTES];
	char second[IP_TEXT_BYTES];
	bool is_named = order->address.family != IP_NONE;
	size_t at = 0;
	while (is_named && at < count && !ip_address_equal(&list[at], &order->address))
		at++;
	if (at == count)
		return error_set(err, -FL_ENOTFOUND,
				 "no version names %s at %s; `fairlead get backends` lists them",
				 name, ip_address_format(&order->address, first));
	if (at >= silent)
		return error_set(err, -FL_ESTATE,
				 "%s reports its connections: there is nothing to forget", name);
	if (!is_named && silent > 1)
		return error_set(err, -FL_ESTATE,
				 "%s reports neither from %s nor from %s: say which machine is "
				 "gone, by `fairlead backend forget %s ADDRESS`",
				 name, ip_address_format(&list[0], first),
				 ip_address_format(&list[1], second), name);
	*ret_address = list[at];
	return 0;
}

static int build_forget(struct change *change, struct change_draft *draft, struct error *err)
{
	struct order *order = (struct order *)change;
	struct ip_address address;
	char key[RECORD_KEY_BYTES];
	struct buffer value;
	size_t count;
	size_t silent;
	const struct ip_address *list = addresses_of(order, draft, &count, &silent);
	if (!count)
		return drop_spare(order, err);
	int result = choose_silent(order, list, count, silent, &address, err);
	if (result < 0)
		return result;
	buffer_init(&value, 64);
	buffer_printf(&value, "%llu", (unsigned long long)draft->sequence);
	result = draft_put_new(draft, record_forgotten_key(order->service, &address, key), &value);
	buffer_done(&value);
	draft->what =
	    json_pack("{s:s, s:o}", "backend", order->service, "address", show_address(&address));
	json_object_set_new(order->answer, "address", show_address(&address));
	return result < 0 ? result : CHANGE_COMMIT;
}

void verb_backend_forget(struct api_host *host, struct api_call *call)
{
	const char *text = api_text(call, "address");
	struct ip_address address = {.family = IP_NONE};
	if (text && ip_address_parse(text, &address) < 0) {
		order_refuse(call, -FL_EUSAGE, "the second argument is the backend's address");
		return;
	}
	struct order *order = order_new(host, call, "backend.forget", build_forget);
	if (!order)
		return;
	snprintf(order->service, sizeof(order->service), "%s", api_text(call, "backend"));
	order->address = address;
	order->answer = json_pack("{s:s}", "backend", order->service);
	changes_submit(host->changes, &order->change);
}
