/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/fabric_view.h"

#include "base/clock.h"
#include "base/memory.h"
#include "fabric/observation.h"
#include "fabric/observation_message.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>

#define KEPT 256u /* revisions: how far apart two edges may be */
#define SAID_MS 20u /* ages are told as they were so long ago at most */

struct kept_revision {
	struct view_revision told;
	struct buffer frame;
};

/* A frame that many edges send alike. */
struct said {
	struct ledger_position position;
	uint64_t revision, at_ms;
	struct buffer frame;
};

struct view {
	struct image image;
	struct arena page_arena;
	struct store_event *events; /* of the pages; owned */
	size_t event_count;
	bool loaded;
	struct kept_revision kept[KEPT];
	struct said said[2]; /* by whether it tells of activity */
	struct activity *activity; /* sorted; the ages are times of this machine's clock */
	size_t activity_count;
	uint64_t activity_revision; /* of the image that it is of */
};

static uint64_t now_ms(void)
{
	return clock_now_ms(&clock_system);
}

static void check(int result, const struct error *err, const char *what)
{
	if (result < 0)
		errx(1, "%s: %s", what, *err->text ? err->text : error_text(result));
}

struct view *view_new(void)
{
	struct view *view = must_alloc(1, sizeof(*view));
	struct store *empty;
	struct error err = {0};
	const struct store_copy_options options = {.clock = &clock_system, .why = "it is a bench"};
	check(store_open_copy(&options, &empty, &err), &err, "an empty store");
	check(image_load(&view->image, empty, now_ms(), &err), &err, "an empty image");
	store_close(empty);
	arena_init(&view->page_arena, 0);
	for (size_t i = 0; i < KEPT; i++)
		buffer_init(&view->kept[i].frame, 0);
	buffer_init(&view->said[0].frame, 0);
	buffer_init(&view->said[1].frame, 0);
	return view;
}

void view_free(struct view *view)
{
	image_done(&view->image);
	arena_done(&view->page_arena);
	for (size_t i = 0; i < KEPT; i++)
		buffer_done(&view->kept[i].frame);
	buffer_done(&view->said[0].frame);
	buffer_done(&view->said[1].frame);
	free(view->events);
	free(view->activity);
	free(view);
}

bool view_is_loaded(const struct view *view)
{
	return view->loaded;
}

uint64_t view_interval_ms(const struct view *view)
{
	return observation_interval_ms(&view->image);
}

/* --- what is told ----------------------------------------------------------------------------- */

static struct store_record record_of(const char *key, const struct wire_bytes *value,
				     uint64_t create_revision, uint64_t mod_revision)
{
	return (struct store_record){.key = key,
				     .value = value->data,
				     .value_length = value->length,
				     .create_revision = create_revision,
				     .mod_revision = mod_revision};
}

void view_take_page(struct view *view, const struct peer_store_page *page)
{
	struct arena *arena = &view->page_arena;
	size_t count = view->event_count + page->records.count;
	view->events = must_have(realloc(view->events, (count + 1) * sizeof(*view->events)));
	for (size_t i = 0; i < page->records.count; i++) {
		const struct peer_record *row = &page->records.items[i];
		const char *key = must_have(arena_strdup(arena, row->key));
		const struct wire_bytes value = {
		    .data = must_have(arena_strndup(arena, row->value.data, row->value.length)),
		    .length = row->value.length};
		view->events[view->event_count++] = (struct store_event){
		    .kind = STORE_PUT,
		    .record = record_of(key, &value, row->create_revision, row->mod_revision)};
	}
}

void view_loaded(struct view *view, uint64_t revision)
{
	struct error err = {0};
	check(image_update(&view->image, revision, view->events, view->event_count, now_ms(), &err),
	      &err, "the voter's records");
	arena_done(&view->page_arena);
	free(view->events);
	view->events = NULL;
	view->event_count = 0;
	view->loaded = true;
}

static void note_entry(struct view_revision *told, const struct store_event *event)
{
	struct ledger_entry entry;
	if (!ledger_entry_of_event(event, &entry))
		return;
	told->has_entry = true;
	told->entry = (struct ledger_position){.sequence = entry.sequence, .digest = entry.digest};
	told->before =
	    (struct ledger_position){.sequence = entry.sequence - 1, .digest = entry.before};
	strncpy(told->kind, entry.kind, sizeof(told->kind) - 1);
	ledger_entry_done(&entry);
}

static void take_in(struct view *view, const struct peer_store_events *message,
		    struct view_revision *told)
{
	struct error err = {0};
	struct store_event *events = must_alloc(message->events.count + 1, sizeof(*events));
	for (size_t i = 0; i < message->events.count; i++) {
		const struct peer_event *row = &message->events.items[i];
		events[i] = (struct store_event){
		    .kind = row->deleted ? STORE_DELETE : STORE_PUT,
		    .record =
			record_of(row->key, &row->value, row->create_revision, row->mod_revision)};
		note_entry(told, &events[i]);
	}
	if (message->more)
		errx(1, "a revision in more than one message is not expected here");
	if (message->revision > view->image.revision)
		check(image_update(&view->image, message->revision, events, message->events.count,
				   now_ms(), &err),
		      &err, "a revision");
	free(events);
}

const struct view_revision *view_take_events(struct view *view, const void *frame, size_t length)
{
	/* Behind the header: the watch's number, which all edges choose alike, and the revision. */
	uint64_t revision = 0;
	const uint8_t *at = (const uint8_t *)frame + WIRE_HEADER_BYTES + sizeof(uint64_t);
	if (length < WIRE_HEADER_BYTES + 2 * sizeof(uint64_t))
		errx(1, "a frame of events is too short");
	for (size_t i = 0; i < sizeof(revision); i++)
		revision = revision << 8 | at[i];
	struct kept_revision *kept = &view->kept[revision % KEPT];
	if (kept->told.revision == revision) {
		if (kept->frame.length != length || memcmp(kept->frame.data, frame, length) != 0)
			errx(1, "two edges are told different things of one revision");
		return &kept->told;
	}
	struct arena arena;
	struct peer_message message;
	struct error err = {0};
	arena_init(&arena, 0);
	check(peer_decode(frame, length, &arena, &message, &err), &err, "events");
	kept->told = (struct view_revision){.revision = revision, .bytes = length};
	buffer_clear(&kept->frame);
	buffer_append(&kept->frame, frame, length);
	take_in(view, &message.store_events, &kept->told);
	arena_done(&arena);
	return &kept->told;
}

/* --- what is said ----------------------------------------------------------------------------- */

static int by_address(const void *left, const void *right)
{
	const struct activity *a = left, *b = right;
	return ip_address_compare(&a->address, &b->address);
}

static void add_binding(struct view *view, const struct binding *binding, struct activity *list,
			size_t *count)
{
	const struct placement *placement = view->image.placement;
	for (size_t s = 0; s < placement->site_count; s++) {
		struct activity one = {
		    .address = placement_address(placement, binding, placement->sites[s]),
		    .new_flow_ago_ms = now_ms()};
		const struct activity *before =
		    one.address.family && view->activity_count
			? bsearch(&one, view->activity, view->activity_count, sizeof(one),
				  by_address)
			: NULL;
		if (one.address.family)
			list[(*count)++] = before ? *before : one;
	}
}

/* Every address that means something, and since when it is watched here. */
static void watch_addresses(struct view *view)
{
	const struct image *image = &view->image;
	size_t most = 0, count = 0;
	if (view->activity_revision == image->revision || !image->placement)
		return;
	for (size_t i = 0; i < image->state_count; i++)
		most += image->states[i]->binding_count * image->placement->site_count;
	struct activity *list = must_alloc(most + 1, sizeof(*list));
	for (size_t i = 0; i < image->state_count; i++)
		for (size_t b = 0; b < image->states[i]->binding_count; b++)
			add_binding(view, &image->states[i]->bindings[b], list, &count);
	qsort(list, count, sizeof(*list), by_address);
	free(view->activity);
	view->activity = list;
	view->activity_count = count;
	view->activity_revision = image->revision;
}

static void encode(struct view *view, const struct ledger_position *position, bool activity,
		   struct buffer *frame)
{
	struct arena arena;
	struct peer_message message;
	struct error err = {0};
	struct activity *ages = must_alloc(view->activity_count + 1, sizeof(*ages));
	for (size_t i = 0; activity && i < view->activity_count; i++) {
		uint64_t age_ms = now_ms() - view->activity[i].new_flow_ago_ms;
		ages[i] = (struct activity){.address = view->activity[i].address,
					    .new_flow_ago_ms = age_ms,
					    .packet_ago_ms = age_ms};
	}
	const struct observation observation = {.is_edge = true,
						.edge_applied = *position,
						.activity = activity ? ages : NULL,
						.activity_count =
						    activity ? view->activity_count : 0};
	arena_init(&arena, 0);
	must_succeed(observation_to_message(&observation, &arena, &message));
	buffer_clear(frame);
	check(peer_encode(&message, frame, &err), &err, "an observation");
	arena_done(&arena);
	free(ages);
}

struct wire_bytes view_observation(struct view *view, const struct ledger_position *position,
				   bool activity)
{
	struct said *said = &view->said[activity];
	bool same = said->position.sequence == position->sequence &&
		    memcmp(said->position.digest.bytes, position->digest.bytes, DIGEST_BYTES) == 0;
	if (!same || (activity && (now_ms() - said->at_ms > SAID_MS ||
				   said->revision != view->image.revision))) {
		watch_addresses(view);
		encode(view, position, activity, &said->frame);
		said->position = *position;
		said->at_ms = now_ms();
		said->revision = view->image.revision;
	}
	return wire_bytes_of(&said->frame);
}

size_t view_acknowledgement_bytes(const struct view *view)
{
	return view->said[false].frame.length;
}
