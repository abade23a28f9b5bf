/* SPDX-License-Identifier: Apache-2.0 */
/* Why a version is not at its end yet, and how far a rollout is, as sentences. */
#include "base/memory.h"
#include "control/render_parts.h"

#include <string.h>

/* --- versions --- */

/* "2026-11-30 08:15:03 UTC, in 4 min 12 s" */
static void put_due(const json_t *object, const char *at, const char *in_ms, struct buffer *text)
{
	char time[PART_BYTES];
	char due[PART_BYTES];
	buffer_printf(text, "%s UTC, %s", part_time(part_text(object, at, "?"), time),
		      part_due(part_number(object, in_ms), due));
}

#define HOLDERS_NAMED 4u

static bool is_told(const json_t *holder)
{
	return part_number(holder, "connections") > 0 ||
	       (!json_is_integer(json_object_get(holder, "connections")) &&
		!part_true(holder, "forgotten"));
}

/* Who has connections, and of whom it is not known. */
static void put_holders(const json_t *version, struct buffer *text)
{
	const json_t *backends = json_object_get(version, "backends");
	size_t told = 0;
	for (size_t i = 0; i < json_array_size(backends); i++) {
		const json_t *holder = json_array_get(backends, i);
		const json_t *count = json_object_get(holder, "connections");
		if (!is_told(holder) || told++ >= HOLDERS_NAMED)
			continue;
		buffer_printf(text, "%s%s ", told == 1 ? "; " : ", ",
			      part_text(holder, "name", "?"));
		if (json_is_integer(count))
			buffer_printf(text, "has %lld", (long long)json_integer_value(count));
		else
			buffer_printf(text, "is not known: %s", part_text(holder, "why", "?"));
	}
	if (told > HOLDERS_NAMED)
		buffer_printf(text, ", and %zu more", told - HOLDERS_NAMED);
}

static void put_packets(const json_t *version, struct buffer *text)
{
	char ago[PART_BYTES];
	const json_t *last = json_object_get(version, "last_packet_ms");
	if (json_is_integer(last))
		buffer_printf(text, "; the last packet came %s ago",
			      part_duration(json_integer_value(last), ago));
	else if (last)
		buffer_puts(text, "; when the last packet came is not known");
}

void render_why(const json_t *version, bool clock, struct buffer *text)
{
	const char *state = part_text(version, "state", "?");
	const json_t *wait = json_array_get(json_object_get(version, "waits"), 0);
	bool drains = strcmp(state, "draining") == 0;
	bool closes = strcmp(state, "closing") == 0;
	if (!wait)
		return;
	buffer_printf(text, "%s/%lld %s until %s", part_text(version, "service", "?"),
		      (long long)part_number(version, "number"),
		      drains   ? "drains"
		      : closes ? "closes"
			       : "waits",
		      part_text(wait, "text", "?"));
	if (clock && json_object_get(wait, "until")) {
		buffer_puts(text, ": ");
		put_due(wait, "until", "left_ms", text);
	}
	if (drains || closes)
		put_holders(version, text);
	if (clock)
		put_packets(version, text);
	if (clock && json_object_get(version, "cut_at")) {
		buffer_puts(text, "; what is left is cut at ");
		put_due(version, "cut_at", "cut_in_ms", text);
	}
	if (clock && json_object_get(version, "reopens_at")) {
		buffer_puts(text, "; otherwise it drains again at ");
		put_due(version, "reopens_at", "reopens_in_ms", text);
	}
}

static bool is_leaving(const json_t *version)
{
	const char *state = part_text(version, "state", "?");
	return strcmp(state, "draining") == 0 || strcmp(state, "closing") == 0;
}

void part_why_versions(const struct render *render, const json_t *versions, unsigned indent)
{
	for (size_t i = 0; i < json_array_size(versions); i++) {
		struct buffer words;
		buffer_init(&words, 0);
		if (is_leaving(json_array_get(versions, i)))
			render_why(json_array_get(versions, i), true, &words);
		must_succeed(words.status);
		if (words.data)
			part_wrap(render, indent, words.data);
		buffer_done(&words);
	}
}

/* --- rollouts --- */

void render_progress(const json_t *rollout, bool clock, struct buffer *text)
{
	char share[PART_BYTES];
	char due[PART_BYTES];
	const json_t *next = json_object_get(rollout, "next_step_in_ms");
	const json_t *wait = json_object_get(rollout, "wait");
	buffer_printf(text, "version %lld ", (long long)part_number(rollout, "target"));
	if (part_true(rollout, "under_way"))
		buffer_printf(
		    text, "has %s of the clients, step %lld of %lld",
		    part_share(json_number_value(json_object_get(rollout, "share")), share),
		    (long long)part_number(rollout, "step"),
		    (long long)part_number(rollout, "steps"));
	else
		buffer_puts(text, "has all clients");
	if (part_true(rollout, "paused")) {
		buffer_puts(text, "; paused");
	} else if (json_array_size(json_object_get(rollout, "waits"))) {
		buffer_puts(text, "; it ");
		part_waits(rollout, text);
	} else if (next && clock) {
		buffer_printf(text, "; the next is due %s",
			      part_due(json_integer_value(next), due));
	} else if (wait && !next) {
		buffer_printf(text, "; it waits until %s", part_text(wait, "text", "?"));
	}
}
