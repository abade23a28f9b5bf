/* SPDX-License-Identifier: Apache-2.0 */
#include "lab/shaper.h"

#include <stdlib.h>
#include <string.h>

#define NS_PER_SECOND 1000000000ull

bool shape_is_set(const struct shape *shape)
{
	return shape->delay_ns || shape->rate || shape->loss;
}

void shaper_init(struct shaper *shaper, const struct shape *shape, uint64_t seed,
		 struct shaper_counts *counts)
{
	*shaper = (struct shaper){.shape = *shape, .counts = counts};
	random_init_seeded(&shaper->random, seed);
}

void shaper_done(struct shaper *shaper)
{
	while (shaper->first) {
		struct shaper_frame *frame = shaper->first;
		shaper->first = frame->next;
		free(frame);
	}
	shaper->last = NULL;
}

/* How long the link is busy with so many bytes. */
static uint64_t turn_ns(const struct shape *shape, size_t length)
{
	return shape->rate ? length * 8 * NS_PER_SECOND / shape->rate : 0;
}

static void append(struct shaper *shaper, struct shaper_frame *frame)
{
	if (shaper->last)
		shaper->last->next = frame;
	else
		shaper->first = frame;
	shaper->last = frame;
	shaper->queued_bytes += frame->length;
}

void shaper_put(struct shaper *shaper, uint64_t now_ns, const void *bytes, size_t length)
{
	const struct shape *shape = &shaper->shape;
	struct shaper_counts *counts = shaper->counts;
	counts->sent++;
	if (length > shape->mtu + SHAPER_HEADER_BYTES) {
		counts->too_big++;
		return;
	}
	uint64_t start_ns = shaper->free_ns > now_ns ? shaper->free_ns : now_ns;
	if (shape->rate && start_ns - now_ns > shape->queue_ns) {
		counts->full++;
		return;
	}
	/* What is lost was sent before: it had its turn. */
	uint64_t sent_ns = start_ns + turn_ns(shape, length);
	if (random_below(&shaper->random, SHAPE_LOSS_ALL) < shape->loss) {
		shaper->free_ns = sent_ns;
		counts->lost++;
		return;
	}
	struct shaper_frame *frame = shaper->queued_bytes + length > SHAPER_MAX_BYTES
					 ? NULL
					 : malloc(sizeof(*frame) + length);
	if (!frame) {
		counts->full++;
		return;
	}
	shaper->free_ns = sent_ns;
	*frame = (struct shaper_frame){.due_ns = sent_ns + shape->delay_ns, .length = length};
	memcpy(frame->bytes, bytes, length);
	append(shaper, frame);
}

struct shaper_frame *shaper_take(struct shaper *shaper, uint64_t now_ns)
{
	struct shaper_frame *frame = shaper->first;
	if (!frame || frame->due_ns > now_ns)
		return NULL;
	shaper->first = frame->next;
	if (!shaper->first)
		shaper->last = NULL;
	shaper->queued_bytes -= frame->length;
	shaper->counts->passed++;
	return frame;
}

uint64_t shaper_next_ns(const struct shaper *shaper)
{
	return shaper->first ? shaper->first->due_ns : UINT64_MAX;
}
