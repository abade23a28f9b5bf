/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the node says to landings. A landing reports every interval, and each report is answered
 * with what the landing shall be: its configuration when it has another one, the closing that its
 * next count shall name, the addresses whose connections the operator ordered to be cut.
 */
#include "api/show.h"
#include "api/verbs.h"
#include "base/buffer.h"
#include "fabric/driver.h"
#include "fabric/landings.h"
#include "fabric/reports.h"
#include "state/records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Addresses whose flows the operator ordered to be ended. */
static json_t *cut_json(const struct image *image)
{
	json_t *list = json_array();
	for (size_t s = 0; s < image->state_count; s++) {
		const struct service_state *state = image->states[s];
		for (size_t b = 0; b < state->binding_count; b++) {
			const struct version_status *status =
			    service_version(state, state->bindings[b].version);
			if (!status || !status->cut)
				continue;
			for (size_t i = 0; i < image->placement->site_count; i++) {
				struct ip_address address =
				    placement_address(image->placement, &state->bindings[b],
						      image->placement->sites[i]);
				if (address.family)
					json_array_append_new(list, show_address(&address));
			}
		}
	}
	return list;
}

/* A backend that was declared gone speaks again: its silence must count as use from now on. */
struct comeback {
	struct change change;
	struct api_host *host;
	char backend[MODEL_NAME_BYTES];
};

static int build_comeback(struct change *change, struct change_draft *draft, struct error *err)
{
	struct comeback *comeback = (struct comeback *)change;
	char key[RECORD_KEY_BYTES];
	(void)err;
	if (!image_forgotten(draft->image, comeback->backend))
		return CHANGE_NOTHING;
	int result = draft_delete(draft, record_forgotten_key(comeback->backend, key));
	draft->what = json_pack("{s:s}", "backend", comeback->backend);
	return result < 0 ? result : draft->what ? CHANGE_COMMIT : -ENOMEM;
}

static void comeback_done(struct change *change, int result, const struct error *err,
			  uint64_t sequence)
{
	struct comeback *comeback = (struct comeback *)change;
	if (result == 0 && sequence)
		comeback->host->tell(comeback->host->context, "backend.returned",
				     json_pack("{s:s}", "backend", comeback->backend));
	(void)err;
	free(comeback);
}

static void remember_comeback(struct api_host *host, const char *backend)
{
	static const char kind[] = "backend.return";
	struct comeback *comeback = NULL;
	if (!image_forgotten(host->image, backend) || changes_pending(host->changes, kind) ||
	    host->rests(host->context))
		return;
	comeback = calloc(1, sizeof(*comeback));
	if (!comeback)
		return;
	comeback->host = host;
	comeback->change.kind = kind;
	comeback->change.build = build_comeback;
	comeback->change.done = comeback_done;
	snprintf(comeback->change.who, sizeof(comeback->change.who), "fairlead");
	snprintf(comeback->change.why, sizeof(comeback->change.why), "it reports again");
	snprintf(comeback->backend, sizeof(comeback->backend), "%s", backend);
	changes_submit(host->changes, &comeback->change);
}

/*
 * Before the first apply there is nothing to be said, and what a landing has stays: it may be that
 * this node lost its store, while the backend's flows live. For the same reason a name that is no
 * backend gets no configuration: an empty one would end the flows of a machine whose --node was
 * mistyped. And what a landing was told by a newer state than a snapshot knows, or by more than the
 * records that can be read, stays: only one that has nothing is told what they say.
 */
static int add_configuration(struct api_host *host, const char *name, const char *has,
			     json_t *answer)
{
	char generation[DIGEST_HEX_BYTES];
	if (!host->image->fabric || !landing_is_wanted(host->image, name))
		return 0;
	json_t *configuration = landing_wanted(host->image, name, generation);
	if (!configuration)
		return -ENOMEM;
	bool lands = has && strcmp(has, generation) == 0;
	reports_set_lands(host->reports, name, lands, clock_now_ms(host->clock));
	int failed = json_object_set_new(answer, "generation", json_string(generation));
	bool is_partial = host->is_frozen(host->context) || image_unread_meaning(host->image) ||
			  image_unread_under(host->image, "member/");
	bool keeps = is_partial && has && *has;
	if (!failed && !lands && !keeps)
		failed = json_object_set(answer, "configuration", configuration);
	json_decref(configuration);
	return failed ? -ENOMEM : 0;
}

void verb_landing_report(struct api_host *host, struct api_call *call)
{
	const struct report_moment moment = {.now_ms = clock_now_ms(host->clock),
					     .interval_ms = image_report_interval_ms(host->image),
					     .image = host->image};
	struct error err = {0};
	if (reports_take(host->reports, api_parameters(call), &moment, &err) < 0) {
		api_fail(call, &err);
		return;
	}
	const char *name = api_text(call, "node");
	remember_comeback(host, name);
	const struct ledger_position closing = driver_closing(host->driver);
	char digest[DIGEST_HEX_BYTES];
	hex_encode(closing.digest.bytes, DIGEST_BYTES, digest);
	json_t *answer = json_pack("{s:I, s:s, s:I, s:o}", "closing", (json_int_t)closing.sequence,
				   "closing_digest", digest, "interval_ms",
				   (json_int_t)moment.interval_ms, "cut", cut_json(host->image));
	if (answer && add_configuration(host, name, api_text(call, "generation"), answer) < 0) {
		json_decref(answer);
		answer = NULL;
	}
	api_succeed(call, answer);
}
