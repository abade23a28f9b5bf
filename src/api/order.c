/* SPDX-License-Identifier: Apache-2.0 */
#include "api/order.h"

#include "api/host.h"
#include "base/memory.h"
#include "base/text.h"
#include "fabric/pool_use.h"
#include "fabric/wants.h"
#include "state/apply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void order_free(struct order *order)
{
	json_decref(order->answer);
	arena_done(&order->arena);
	apply_free(order->apply);
	json_decref(order->plan);
	buffer_done(&order->asks);
	free(order);
}

void order_done(struct change *change, int result, const struct error *err, uint64_t sequence)
{
	struct order *order = (struct order *)change;
	if (result < 0) {
		api_fail(order->call, err);
	} else {
		json_t *answer = order->answer ? order->answer : json_object();
		order->answer = NULL;
		json_object_set_new(answer, "changed", json_boolean(sequence != 0));
		json_object_set_new(answer, "sequence", json_integer((json_int_t)sequence));
		api_succeed(order->call, answer);
	}
	order_free(order);
}

/* One line, for `log` and for whoever reads it on a terminal. */
static int order_check_message(const char *message, struct error *err)
{
	size_t left = strlen(message);
	for (const char *at = message; left;) {
		size_t step = text_utf8_step(at, left);
		if (!step || text_is_control(at, step) || text_is_direction(at, step))
			return error_set(
			    err, -FL_EUSAGE,
			    "--message: it is one line of text, but its byte %zu begins a "
			    "control character%s",
			    (size_t)(at - message) + 1, *at == '\n' ? ", the end of a line" : "");
		at += step;
		left -= step;
	}
	return 0;
}

struct order *order_new(struct api_host *host, struct api_call *call, const char *kind,
			change_build_fn *build)
{
	struct order *order = must_alloc(1, sizeof(*order));
	const char *message = api_text(call, "message");
	arena_init(&order->arena, 0);
	buffer_init(&order->asks, 0);
	order->host = host;
	order->call = call;
	order->change.kind = kind;
	order->change.build = build;
	order->change.done = order_done;
	char who[API_WHO_BYTES];
	snprintf(order->change.who, sizeof(order->change.who), "%s", api_who(call, who));
	struct error fault = {0};
	if (message && order_check_message(message, &fault) < 0) {
		api_fail(call, &fault);
		free(order);
		return NULL;
	}
	if (message && strlen(message) >= sizeof(order->change.why)) {
		struct error err;
		error_set(&err, -FL_EUSAGE, "the message has more than %zu bytes",
			  sizeof(order->change.why) - 1);
		api_fail(call, &err);
		free(order);
		return NULL;
	}
	snprintf(order->change.why, sizeof(order->change.why), "%s", message ? message : "");
	return order;
}

int order_explain_slots(const struct api_host *host, const char *const *services, size_t count,
			struct error *err)
{
	struct error why = {0};
	struct arena arena;
	arena_init(&arena, 0);
	if (must_succeed(pool_use_explain(host->driver, services, count, &arena, &why)) < 0)
		*err = why;
	arena_done(&arena);
	return err->code;
}

int order_lacks_slots(struct api_host *host, const char *const *services, size_t count,
		      struct error *err)
{
	uint64_t now_ms = clock_now_ms(host->clock);
	for (size_t i = 0; i < count; i++)
		must_succeed(wants_note(host->wants, services[i], now_ms));
	return order_explain_slots(host, services, count, err);
}

void order_has_slots(struct api_host *host, const char *service)
{
	wants_drop(host->wants, service);
}

void order_refuse(struct api_call *call, int code, const char *text)
{
	struct error err;
	error_set(&err, code, "%s", text);
	api_fail(call, &err);
}
