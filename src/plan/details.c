/* SPDX-License-Identifier: Apache-2.0 */
/* Noting the details of a plan, one by one, and finding what is known of a service. */
#include "plan/details.h"

#include "base/search.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>

static void add_detail(struct plan_details *details, struct plan_detail detail)
{
	if (details->status)
		return;
	if (details->count == details->capacity) {
		size_t capacity = details->capacity ? 2 * details->capacity : 8;
		struct plan_detail *items = arena_array(details->arena, capacity, sizeof(*items));
		if (!items) {
			details->status = -ENOMEM;
			return;
		}
		if (details->count)
			memcpy(items, details->items, details->count * sizeof(*items));
		details->items = items;
		details->capacity = capacity;
	}
	details->items[details->count++] = detail;
}

const char *plan_keep(struct plan_details *details, const char *text)
{
	const char *copy = arena_strdup(details->arena, text);
	if (!copy) {
		details->status = -ENOMEM;
		return "";
	}
	return copy;
}

const char *plan_keep_buffer(struct plan_details *details, struct buffer *buffer)
{
	const char *copy = "";
	if (buffer->status)
		details->status = buffer->status;
	else
		copy = plan_keep(details, buffer->data ? buffer->data : "");
	buffer_done(buffer);
	return copy;
}

void plan_note_added(struct plan_details *details, const char *kind, const char *name,
		     const char *after)
{
	add_detail(details, (struct plan_detail){
				.sign = PLAN_ADD, .kind = kind, .name = name, .after = after});
}

void plan_note_removed(struct plan_details *details, const char *kind, const char *name,
		       const char *before)
{
	add_detail(details, (struct plan_detail){.sign = PLAN_REMOVE,
						 .kind = kind,
						 .name = plan_keep(details, name),
						 .before = before});
}

void plan_note_change(struct plan_details *details, const char *kind, const char *name,
		      const char *attribute, const char *before, const char *after)
{
	if (strcmp(before, after) == 0)
		return;
	add_detail(details, (struct plan_detail){.sign = PLAN_CHANGE,
						 .kind = kind,
						 .name = name,
						 .attribute = attribute,
						 .before = plan_keep(details, before),
						 .after = plan_keep(details, after)});
}

void plan_note_duration(struct plan_details *details, const char *kind, const char *attribute,
			uint64_t before_ms, uint64_t after_ms)
{
	char before[TEXT_BYTES], after[TEXT_BYTES];
	plan_note_change(details, kind, NULL, attribute, text_format_duration(before_ms, before),
			 text_format_duration(after_ms, after));
}

void plan_note_number(struct plan_details *details, const char *kind, const char *name,
		      const char *attribute, uint32_t before, uint32_t after)
{
	char before_text[TEXT_BYTES], after_text[TEXT_BYTES];
	snprintf(before_text, sizeof(before_text), "%u", before);
	snprintf(after_text, sizeof(after_text), "%u", after);
	plan_note_change(details, kind, name, attribute, before_text, after_text);
}

static int compare_live(const void *live, size_t place, const void *name)
{
	const struct plan_live_service *list = live;
	return strcmp(list[place].name, name);
}

const struct plan_live_service *plan_find_live(const struct plan_live_service *live, size_t count,
					       const char *name)
{
	bool found;
	size_t place = search_place(live, count, name, compare_live, &found);
	return found ? &live[place] : NULL;
}
